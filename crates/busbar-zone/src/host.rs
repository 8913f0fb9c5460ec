//! The host that one instance sees: functions for the plugin, and what they need. It outlives
//! everything of the plugin, as threads that a plugin forgot may call it at any time: so it is
//! never freed. That costs some hundred bytes for each instance there ever was.

use std::alloc::Layout;
use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_char, c_void};
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use busbar_abi::{self as abi, Host, ParentExtension, Slice, Status, log_level};

use crate::gate::Gate;
use crate::instance::Birth;
use crate::object::Objects;
use crate::pending::{CallId, Pending};
use crate::upward::{Sink, Upward};
use crate::{Error, Stage};

/// Texts of errors are cut here.
const TEXT_BYTES_MAX: usize = 4096;

/// What an instance and its host have in common.
pub(crate) struct Core {
    raw: Host,
    /// For log records.
    plugin_id: String,
    pub(crate) zone: u64,
    pub(crate) generation: u32,
    pub(crate) gate: Gate,
    /// The calls of its zone: of this instance, and of others.
    pub(crate) pending: Arc<Pending>,
    /// What it may call.
    pub(crate) upward: Arc<Upward>,
    /// What of it callers hold.
    pub(crate) objects: Arc<Objects>,
}

// SAFETY: `raw` points to nothing but this itself, and does not change once it is made.
unsafe impl Sync for Core {}

thread_local! {
    /// Whether `ERROR` holds the text of the call that runs.
    static HAS_ERROR: Cell<bool> = const { Cell::new(false) };
    /// The last text that a plugin gave on this thread.
    static ERROR: RefCell<(Status, String)> = const { RefCell::new((Status::OK, String::new())) };
    /// The zone whose thread this is; 0 for none.
    static ZONE: Cell<u64> = const { Cell::new(0) };
    /// The zones whose parents' handlers run on this thread, the innermost last. Inline calls have
    /// no thread of the zone, and are not slowed down by saying that they run.
    static ASKING: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

impl Core {
    pub(crate) fn leak(plugin_id: &str, birth: &Birth<'_>) -> &'static Self {
        let raw = Host {
            struct_size: size_of::<Host>() as u32,
            abi_minor: u32::from(abi::ABI_MINOR),
            host_data: ptr::null_mut(),
            get_extension: Some(get_extension),
            alloc: Some(alloc),
            dealloc: Some(dealloc),
            log: Some(log),
            error: Some(error),
            complete: Some(complete),
            request_get: Some(request_get),
            response_put: Some(response_put),
            on_zone_thread: Some(on_zone_thread),
        };
        let core = Self {
            raw,
            plugin_id: plugin_id.to_owned(),
            zone: birth.zone,
            generation: birth.generation,
            gate: Gate::default(),
            pending: Arc::clone(birth.pending),
            upward: Upward::new(birth.zone, birth.parent.cloned()),
            objects: Objects::new(birth.generation),
        };
        let core = Box::leak(Box::new(core));
        core.raw.host_data = ptr::from_mut(core).cast();
        core
    }

    pub(crate) fn raw(&'static self) -> &'static Host {
        &self.raw
    }
}

/// Runs `work` as on a thread of `zone`.
pub(crate) fn on_thread_of<T>(zone: u64, work: impl FnOnce() -> T) -> T {
    struct Restore(u64);
    impl Drop for Restore {
        fn drop(&mut self) {
            ZONE.set(self.0);
        }
    }
    let _restore = Restore(ZONE.replace(zone));
    work()
}

/// Whether this thread runs a call of `zone` for it.
pub(crate) fn is_thread_of(zone: u64) -> bool {
    ZONE.get() == zone
}

/// Runs a handler of the parent of `zone`, 0 for none, while a call of the zone, or a thread of its
/// plugin, waits for it.
pub(crate) fn asked_by<T>(zone: u64, handle: impl FnOnce() -> T) -> T {
    struct Restore;
    impl Drop for Restore {
        fn drop(&mut self) {
            ASKING.with_borrow_mut(Vec::pop);
        }
    }
    ASKING.with_borrow_mut(|asking| asking.push(zone));
    let _restore = Restore;
    handle()
}

/// Whether this thread is within something that the end of `zone` waits for.
pub(crate) fn is_within(zone: u64) -> bool {
    is_thread_of(zone) || ASKING.with_borrow(|asking| asking.contains(&zone))
}

/// Before something that is not done often: no text of what came earlier is its own. Inline calls
/// do without; a plugin that gives a text and then returns `OK` confuses the reader of the next.
pub(crate) fn forget_error() {
    HAS_ERROR.set(false);
}

/// The error for a status that a call returned on this thread, with the text that it gave.
#[cold]
pub(crate) fn error_of(status: Status, stage: Stage) -> Error {
    if HAS_ERROR.replace(false) {
        return ERROR.with_borrow(|(of, text)| {
            let text = if *of == status { &**text } else { "" };
            Error::of_status(status, stage, text)
        });
    }
    Error::of_status(status, stage, "")
}

/// The panic of a function that returns no status: all that it leaves is the text it gave on this
/// thread, since [`forget_error`].
pub(crate) fn panic_of(stage: Stage) -> Option<Error> {
    let is_panic = HAS_ERROR.get() && ERROR.with_borrow(|(of, _)| *of == Status::PANIC);
    is_panic.then(|| error_of(Status::PANIC, stage))
}

/// # Safety
/// `host` is null or a [`Core::raw`].
unsafe fn core(host: *const Host) -> Option<&'static Core> {
    // SAFETY: as the caller promises.
    let host = unsafe { host.as_ref() }?;
    // SAFETY: `leak` put it there, for ever.
    unsafe { host.host_data.cast::<Core>().as_ref() }
}

/// What a plugin says, as text.
///
/// # Safety
/// `len` bytes can be read, if `text` is not null.
unsafe fn said<'a>(text: *const c_char, len: usize) -> std::borrow::Cow<'a, str> {
    let slice = Slice { ptr: text.cast(), len: len.min(TEXT_BYTES_MAX) };
    // SAFETY: as the caller promises.
    String::from_utf8_lossy(unsafe { slice.bytes() }.unwrap_or_default())
}

unsafe extern "C" fn get_extension(_host: *const Host, id: *const c_char) -> *const c_void {
    if id.is_null() {
        return ptr::null();
    }
    // SAFETY: by the contract: a text that ends with NUL.
    let id = unsafe { CStr::from_ptr(id) };
    if id == abi::extension::PARENT { ptr::from_ref(&PARENT).cast() } else { ptr::null() }
}

static PARENT: ParentExtension = ParentExtension {
    struct_size: size_of::<ParentExtension>() as u32,
    reserved: 0,
    call: Some(parent_call),
    start: Some(parent_start),
    cancel: Some(parent_cancel),
    object: Some(object),
    release: Some(release),
};

/// Where an answer goes, once.
struct Asker {
    answer: abi::Answer,
    context: *mut c_void,
}

// SAFETY: by the contract, the answer may be given on any thread.
unsafe impl Send for Asker {}

impl Asker {
    fn tell(self, status: Status, bytes: &[u8]) {
        // SAFETY: by the contract: called once, with bytes that are there during the call.
        unsafe { (self.answer)(self.context, status, Slice::new(bytes)) };
    }
}

/// A call of the parent, as the plugin asks for it.
struct Asked<'a> {
    core: &'static Core,
    method: &'a str,
    input: &'a [u8],
}

impl<'a> Asked<'a> {
    /// # Safety
    /// `host` is null or a [`Core::raw`]; the slices are borrowed during `'a`.
    unsafe fn read(host: *const Host, method: Slice, input: Slice) -> Option<Self> {
        // SAFETY: as the caller promises.
        let core = unsafe { core(host) }?;
        // SAFETY: as the caller promises.
        let method = str::from_utf8(unsafe { method.bytes() }?).ok()?;
        // SAFETY: as the caller promises.
        let input = unsafe { input.bytes() }?;
        Some(Self { core, method, input })
    }
}

/// What the parent does may be anybody's code.
fn guard<T>(otherwise: T, work: impl FnOnce() -> T) -> T {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or(otherwise)
}

unsafe extern "C" fn parent_call(
    host: *const Host,
    method: Slice,
    input: Slice,
    timeout_ms: u32,
    answer: Option<abi::Answer>,
    context: *mut c_void,
) -> Status {
    let Some(answer) = answer else { return Status::INVALID };
    let asker = Asker { answer, context };
    // SAFETY: by the contract: borrowed during the call.
    let Some(Asked { core, method, input }) = (unsafe { Asked::read(host, method, input) }) else {
        asker.tell(Status::INVALID, b"no host, no name of a method, or no input");
        return Status::INVALID;
    };
    let timeout = Duration::from_millis(timeout_ms.into());
    let failed = (Status::INTERNAL, b"the parent panicked".to_vec());
    let (status, bytes) = guard(failed, || core.upward.call(method, input, timeout));
    asker.tell(status, &bytes);
    status
}

unsafe extern "C" fn parent_start(
    host: *const Host,
    method: Slice,
    input: Slice,
    answer: Option<abi::Answer>,
    context: *mut c_void,
    id: *mut u64,
) -> Status {
    // SAFETY: by the contract: borrowed during the call.
    let asked = unsafe { Asked::read(host, method, input) };
    let (Some(Asked { core, method, input }), Some(answer)) = (asked, answer) else {
        return Status::INVALID;
    };
    let asker = Asker { answer, context };
    let sink: Sink = Box::new(move |status, bytes| asker.tell(status, bytes));
    let named = |number| {
        if !id.is_null() {
            // SAFETY: by the contract: it can be written.
            unsafe { id.write(number) };
        }
    };
    // A handler that panics has dropped its answer, which is then one: the call was started.
    let started = guard(Ok(()), || core.upward.start(method, input, false, named, sink));
    started.map_or_else(|(status, _)| status, |()| Status::OK)
}

unsafe extern "C" fn parent_cancel(host: *const Host, id: u64) {
    // SAFETY: by the contract.
    let Some(core) = (unsafe { core(host) }) else { return };
    guard((), || core.upward.give_up(id, Status::CANCELLED, b"the plugin cancelled it"));
}

unsafe extern "C" fn object(host: *const Host) -> u64 {
    // SAFETY: by the contract.
    let Some(core) = (unsafe { core(host) }) else { return 0 };
    let Some(number) = core.objects.issue() else { return 0 };
    guard((), || core.upward.tell_object(number));
    number
}

unsafe extern "C" fn release(host: *const Host, object: u64) -> Status {
    // SAFETY: by the contract.
    let Some(core) = (unsafe { core(host) }) else { return Status::INVALID };
    if guard(true, || core.upward.release(object)) { Status::OK } else { Status::STALE }
}

unsafe extern "C" fn alloc(_host: *const Host, size: usize, align: usize) -> *mut c_void {
    match Layout::from_size_align(size.max(1), align.max(1)) {
        // SAFETY: its size is not zero.
        Ok(layout) => unsafe { std::alloc::alloc(layout) }.cast(),
        Err(_) => ptr::null_mut(),
    }
}

unsafe extern "C" fn dealloc(_host: *const Host, at: *mut c_void, size: usize, align: usize) {
    let layout = Layout::from_size_align(size.max(1), align.max(1)).ok();
    if let Some(layout) = layout.filter(|_| !at.is_null()) {
        // SAFETY: by the contract, `alloc` gave it for the same size and alignment.
        unsafe { std::alloc::dealloc(at.cast(), layout) };
    }
}

unsafe extern "C" fn log(host: *const Host, level: u32, text: *const c_char, len: usize) {
    let level = match level {
        log_level::ERROR => log::Level::Error,
        log_level::WARN => log::Level::Warn,
        log_level::INFO => log::Level::Info,
        log_level::DEBUG => log::Level::Debug,
        _ => log::Level::Trace,
    };
    // SAFETY: by the contract.
    let Some(core) = (unsafe { core(host) }) else { return };
    // SAFETY: by the contract.
    let text = unsafe { said(text, len) };
    // A logger of somebody else's may panic.
    let _ = std::panic::catch_unwind(|| {
        log::log!(target: "busbar::plugin", level, "{}: {text}", core.plugin_id);
    });
}

unsafe extern "C" fn error(_host: *const Host, status: Status, text: *const c_char, len: usize) {
    // SAFETY: by the contract.
    let text = unsafe { said(text, len) };
    let _ = ERROR.try_with(|last| {
        if let Ok(mut last) = last.try_borrow_mut() {
            last.0 = status;
            last.1.clear();
            last.1.push_str(&text);
            HAS_ERROR.set(true);
        }
    });
}

unsafe extern "C" fn complete(
    host: *const Host,
    token: u64,
    status: Status,
    result: Slice,
) -> Status {
    // SAFETY: by the contract.
    let Some(core) = (unsafe { core(host) }) else { return Status::INVALID };
    // SAFETY: by the contract: borrowed during the call.
    let Some(bytes) = (unsafe { result.bytes() }) else { return Status::INVALID };
    let id = CallId::from_number(token);
    // What is told may be anybody's code.
    let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        core.pending.end_with(id, core, status, bytes)
    }));
    match told {
        Ok(true) => Status::OK,
        Ok(false) => Status::INVALID,
        Err(_) => Status::INTERNAL,
    }
}

unsafe extern "C" fn request_get(_host: *const Host, _id: i64, _out: *mut Slice) -> Status {
    Status::UNSUPPORTED
}

unsafe extern "C" fn response_put(_host: *const Host, _id: i64, _body: Slice) -> Status {
    Status::UNSUPPORTED
}

unsafe extern "C" fn on_zone_thread(host: *const Host) -> u32 {
    // SAFETY: by the contract.
    let core = unsafe { core(host) };
    core.is_some_and(|core| is_thread_of(core.zone)).into()
}
