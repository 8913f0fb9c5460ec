//! One instance of a plugin: made, called, ended. All raw calls into plugins but those for types
//! are in this file.

use std::cell::Cell;
use std::ffi::CString;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use busbar_abi::{self as abi, Buf, Plugin, Slice, Status, method as flag};

use crate::contract::{Method, bad_size, null};
use crate::gate::Refusal;
use crate::host::{Core, error_of, forget_error};
use crate::library::Library;
use crate::passage::Passage;
use crate::pending::{OpenCall, Reply};
use crate::state::{State, Step};
use crate::{Error, ErrorKind, Result, Stage};

/// Room for results of plugins that are not asked to complete later.
const RESULT_BYTES: usize = 64 << 10;
/// No result is larger.
const RESULT_BYTES_MAX: usize = 1 << 30;

pub(crate) struct Instance {
    library: Arc<Library>,
    core: &'static Core,
    plugin: *const Plugin,
    table: Plugin,
    call: Call,
    /// What calls need of the methods, beside what else they need.
    methods: Box<[Target]>,
    /// Of methods that are not thread-safe, one runs at a time.
    serial: Serial,
    state: Mutex<State>,
}

/// What a call needs to know of a method.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    id: u32,
    flags: u32,
}

type Call = unsafe extern "C" fn(*const Plugin, u32, Slice, *mut Buf) -> Status;

// SAFETY: by the contract, what is called from several threads at once may be: `call` and `start`
// of thread-safe methods, `cancel`, `get_extension`; `serial` and `state` see to the others.
unsafe impl Send for Instance {}
// SAFETY: as above.
unsafe impl Sync for Instance {}

impl Instance {
    /// Makes and activates an instance.
    ///
    /// # Errors
    /// What the plugin says at `Ready` or `Activate`; `Null` and `Size` for what it gives.
    pub(crate) fn make(library: &Arc<Library>, zone: u64, config: &str) -> Result<Arc<Self>> {
        let core = Core::leak(&library.contract.id, zone);
        let plugin = create(library, core)?;
        // SAFETY: by the contract: `create` gave it.
        let table = unsafe { abi::read_growing(plugin) };
        let table = table.map_err(|size| bad_size("busbar_plugin", size, size_of::<Plugin>()))?;
        let call = required(&table).inspect_err(|_| {
            if let Some(destroy) = table.destroy {
                // SAFETY: by the contract: the last call there is.
                unsafe { destroy(plugin) };
            }
        })?;
        let instance = Self {
            library: Arc::clone(library),
            core,
            plugin,
            table,
            call,
            methods: library.contract.methods.iter().map(Target::from).collect(),
            serial: Serial::default(),
            state: Mutex::new(State::Bound),
        };
        if let Err(error) = instance.bring_up(config) {
            instance.destroy();
            return Err(error);
        }
        Ok(Arc::new(instance))
    }

    fn bring_up(&self, config: &str) -> Result<()> {
        self.advance(Step::Init)?;
        if let Some(init) = self.table.init {
            // SAFETY: by the contract: first of all.
            self.check(Stage::Ready, || unsafe { init(self.plugin) })?;
        }
        if let Some(activate) = self.table.activate {
            let config = Slice::new(config.as_bytes());
            // SAFETY: by the contract: after `init`.
            self.check(Stage::Activate, || unsafe { activate(self.plugin, config) })?;
        }
        self.advance(Step::Activate)
    }

    /// Runs one step; its status as an error.
    fn check(&self, stage: Stage, run: impl FnOnce() -> Status) -> Result<()> {
        forget_error();
        match run() {
            Status::OK => Ok(()),
            status if status.is_error() => Err(self.judge(error_of(status, stage))),
            other => {
                let message = format!("{stage} returned {other}");
                Err(Error::new(ErrorKind::Failed, stage, message).of(self.id()))
            }
        }
    }

    /// An error of this instance's; a panic ends its life.
    pub(crate) fn judge(&self, error: Error) -> Error {
        if error.kind() == ErrorKind::Panic && self.core.gate.fault() {
            log::error!(target: "busbar::zone", "{}: {error}: it is not called again", self.id());
            self.library.distrust();
            // It may have ended by now.
            let _ = self.advance(Step::Panic);
        }
        error.of(self.id())
    }

    fn advance(&self, step: Step) -> Result<()> {
        let mut state = self.lock_state();
        let next = state.after(step).ok_or_else(|| {
            let message = format!("{step:?} in the state {:?}", *state);
            Error::new(ErrorKind::Closed, Stage::Close, message).of(self.id())
        })?;
        *state = next;
        Ok(())
    }

    fn lock_state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn state(&self) -> State {
        *self.lock_state()
    }

    pub(crate) fn id(&self) -> &str {
        &self.library.contract.id
    }

    pub(crate) fn library(&self) -> &Arc<Library> {
        &self.library
    }

    pub(crate) fn zone(&self) -> u64 {
        self.core.zone
    }

    /// Whether calls are started, and end whenever the plugin says so.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "for processes"))]
    pub(crate) fn is_asynchronous(&self) -> bool {
        self.table.start.is_some()
    }

    #[inline]
    pub(crate) fn target(&self, index: u32) -> Result<Target> {
        match self.methods.get(index as usize) {
            Some(target) => Ok(*target),
            None => Err(self.no_method(index)),
        }
    }

    /// As [`Self::target`], of a method that never waits.
    #[inline]
    pub(crate) fn inline_target(&self, index: u32) -> Result<Target> {
        let target = self.target(index)?;
        if target.flags & flag::SYNC != 0 { Ok(target) } else { Err(self.may_wait(target)) }
    }

    #[cold]
    fn may_wait(&self, target: Target) -> Error {
        let message = format!("{} may wait, so it is not for the mode inline", self.name(target));
        Error::new(ErrorKind::NotSupported, Stage::Call, message).of(self.id())
    }

    fn name(&self, target: Target) -> &str {
        let methods = &self.library.contract.methods;
        methods.iter().find(|method| method.id == target.id).map_or("", |method| &method.name)
    }

    #[cold]
    fn no_method(&self, index: u32) -> Error {
        let message = format!("it has no method with the number {index}");
        Error::new(ErrorKind::MethodNotFound, Stage::Call, message).of(self.id())
    }

    #[inline]
    fn enter(&self) -> Result<()> {
        self.core.gate.enter().map_err(|refusal| self.refused(refusal))
    }

    /// Inside until what this gives is dropped.
    pub(crate) fn inside(self: &Arc<Self>) -> Result<Inside> {
        self.enter()?;
        Ok(Inside(Arc::clone(self)))
    }

    #[cold]
    fn refused(&self, refusal: Refusal) -> Error {
        let (kind, message) = match refusal {
            Refusal::Closed => (ErrorKind::Closed, "the zone is closed"),
            Refusal::Faulted => (ErrorKind::Faulted, "it panicked before: load it anew"),
        };
        Error::new(kind, Stage::Call, message).of(self.id())
    }

    /// Runs a method that never waits on this thread; the bytes of its result.
    #[inline]
    pub(crate) fn call(&self, index: u32, input: &[u8], out: &mut [u8]) -> Result<usize> {
        let target = self.inline_target(index)?;
        self.enter()?;
        let _leave = Leave(self);
        self.call_inside(target, input, out)
    }

    /// A way into this instance for the calling thread.
    pub(crate) fn passage(&self) -> Passage {
        self.core.gate.passage()
    }

    /// As [`Self::call`], by a passage of this instance.
    #[inline]
    pub(crate) fn call_by(
        &self,
        passage: &Passage,
        method: Target,
        input: &[u8],
        out: &mut [u8],
    ) -> Result<usize> {
        self.core.gate.enter_by(passage).map_err(|refusal| self.refused(refusal))?;
        let _leave = LeaveBy(self, passage);
        if method.flags & flag::THREAD_SAFE != 0 {
            return self.call_now(method, input, out);
        }
        self.call_inside(method, input, out)
    }

    /// As [`Self::call`], once inside.
    #[inline]
    pub(crate) fn call_inside(
        &self,
        method: Target,
        input: &[u8],
        out: &mut [u8],
    ) -> Result<usize> {
        let _one = self.turn(method)?;
        self.call_now(method, input, out)
    }

    /// As [`Self::call_inside`], when it is the method's turn.
    #[inline(always)]
    fn call_now(&self, method: Target, input: &[u8], out: &mut [u8]) -> Result<usize> {
        let mut buf = Buf::new(out);
        // SAFETY: by the contract: the instance is active, as somebody is inside; `input` and `out`
        // are there during the call.
        let status =
            unsafe { (self.call)(self.plugin, method.id, Slice::new(input), &raw mut buf) };
        if status == Status::OK && buf.len <= out.len() {
            return Ok(buf.len);
        }
        Err(self.failed(method, status, &buf))
    }

    #[cold]
    fn failed(&self, method: Target, status: Status, buf: &Buf) -> Error {
        if status.is_error() {
            let error = self.judge(error_of(status, Stage::Call)).of(self.id());
            return if status == Status::BUFFER_TOO_SMALL {
                error.with_needed(buf.len)
            } else {
                error
            };
        }
        let message = if status == Status::OK {
            let name = self.name(method);
            format!("{name} says that it wrote {} bytes into {}", buf.len, buf.cap)
        } else {
            format!("{} returned {status}", self.name(method))
        };
        Error::new(ErrorKind::Failed, Stage::Call, message).of(self.id())
    }

    /// The turn of a method on this thread.
    #[inline]
    fn turn(&self, method: Target) -> Result<Option<Turn<'_>>> {
        if method.flags & flag::THREAD_SAFE != 0 {
            return Ok(None);
        }
        self.serial.take().map(Some).ok_or_else(|| {
            let message = format!("{} is called by a call of its own", self.name(method));
            Error::new(ErrorKind::InUse, Stage::Call, message).of(self.id())
        })
    }

    /// Runs a method from this thread, and has `call` told of its end, now or later.
    pub(crate) fn start(&self, index: u32, input: &[u8], call: OpenCall) {
        let method = match self.target(index) {
            Ok(method) => method,
            Err(error) => return call.finish(Err(error)),
        };
        let Some(start) = self.table.start else { return self.run(method, input, &call) };
        let turn = match self.turn(method) {
            Ok(turn) => turn,
            Err(error) => return call.finish(Err(error)),
        };
        forget_error();
        // The token may be completed, and so be out, while this thread is still in `start`.
        self.core.gate.enter_again();
        let _leave = Leave(self);
        let token = self.core.pending.insert(call);
        // SAFETY: by the contract: the instance is active, as `call` is inside; `input` is there
        // during the call.
        let status = unsafe { start(self.plugin, method.id, Slice::new(input), token) };
        drop(turn);
        if status == Status::PENDING {
            return;
        }
        // Not there if it was completed besides, against the contract: what came first, counts.
        let Some(call) = self.core.pending.take(token) else { return };
        match status {
            Status::OK => call.finish(Ok(&[])),
            status => {
                let buf = Buf::new(&mut []);
                call.finish(Err(self.failed(method, status, &buf)));
            }
        }
    }

    /// As [`Self::start`], for plugins that have no `start`.
    fn run(&self, method: Target, input: &[u8], call: &OpenCall) {
        let mut room = vec![0; RESULT_BYTES];
        let mut result = self.call_inside(method, input, &mut room);
        if method.flags & flag::IDEMPOTENT != 0
            && let Err(error) = &result
            && (room.len() + 1..=RESULT_BYTES_MAX).contains(&error.needed())
        {
            room = vec![0; error.needed()];
            result = self.call_inside(method, input, &mut room);
        }
        call.finish(result.map(|length| &room[..length]));
    }

    /// Ends the instance: nobody enters any more, those inside may end until `deadline`, from half
    /// time on they are asked to.
    ///
    /// # Errors
    /// `TimedOut` if somebody stays inside: then the instance is left alone for ever. `Closed` if
    /// somebody else ends it.
    pub(crate) fn close(&self, grace: Duration) -> Result<()> {
        self.core.gate.close();
        if self.state() != State::Faulted {
            // A panic may come now: then it is faulted, and this fails.
            let drained = self.advance(Step::Drain);
            drained.or_else(|error| self.faulted().ok_or(error))?;
        }
        let now = Instant::now();
        if !self.core.gate.wait_empty(now + grace / 2) {
            self.cancel_all();
            if !self.core.gate.wait_empty(now + grace) {
                return Err(self.abandon());
            }
        }
        if self.advance(Step::Deactivate).is_ok()
            && let Some(deactivate) = self.table.deactivate
        {
            // SAFETY: by the contract: nobody is inside, and nobody enters any more.
            unsafe { deactivate(self.plugin) };
        }
        self.destroy();
        Ok(())
    }

    fn faulted(&self) -> Option<()> {
        (self.state() == State::Faulted).then_some(())
    }

    fn cancel_all(&self) {
        let Some(cancel) = self.table.cancel else { return };
        for token in self.core.pending.tokens() {
            // SAFETY: by the contract: from any thread; tokens that have ended are ignored.
            unsafe { cancel(self.plugin, token) };
        }
    }

    fn abandon(&self) -> Error {
        let _ = self.advance(Step::Abandon);
        ABANDONED.fetch_add(1, Ordering::Relaxed);
        let closed = Error::new(ErrorKind::Closed, Stage::Call, "the zone is closed").of(self.id());
        let open = self.core.pending.fail_all(&closed);
        let message = format!(
            "a call did not end in time ({open} others were ended): the instance is left as it is"
        );
        let error = Error::new(ErrorKind::TimedOut, Stage::Close, message).of(self.id());
        log::warn!(target: "busbar::zone", "{error}");
        error
    }

    fn destroy(&self) {
        if self.advance(Step::Destroy).is_ok()
            && let Some(destroy) = self.table.destroy
        {
            // SAFETY: by the contract: the last call there is.
            unsafe { destroy(self.plugin) };
        }
    }
}

/// How many instances were left alone because a call of them never ended.
static ABANDONED: AtomicUsize = AtomicUsize::new(0);

pub(crate) fn abandoned() -> usize {
    ABANDONED.load(Ordering::Relaxed)
}

fn create(library: &Library, core: &'static Core) -> Result<*const Plugin> {
    let id = &*library.contract.id;
    let c_id = CString::new(id).unwrap_or_default();
    let mut plugin = ptr::null();
    forget_error();
    // SAFETY: by the contract.
    let status = unsafe { (library.contract.create)(core.raw(), c_id.as_ptr(), &raw mut plugin) };
    if status != Status::OK {
        let status = if status.is_error() { status } else { Status::INTERNAL };
        return Err(error_of(status, Stage::Ready).of(id));
    }
    if plugin.is_null() {
        Err(null("the plugin that create gives", "is").of(id))
    } else {
        Ok(plugin)
    }
}

/// What must be there, once it is known that there is an instance.
fn required(table: &Plugin) -> Result<Call> {
    if table.destroy.is_none() {
        return Err(null("busbar_plugin.destroy", "is"));
    }
    if table.start.is_some() != table.cancel.is_some() {
        let lacking = if table.start.is_some() { "cancel" } else { "start" };
        return Err(null(&format!("busbar_plugin.{lacking}"), "alone is"));
    }
    table.call.ok_or_else(|| null("busbar_plugin.call", "is"))
}

impl From<&Method> for Target {
    fn from(method: &Method) -> Self {
        Self { id: method.id, flags: method.flags }
    }
}

struct Leave<'a>(&'a Instance);

impl Drop for Leave<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.core.gate.leave();
    }
}

struct LeaveBy<'a>(&'a Instance, &'a Passage);

impl Drop for LeaveBy<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.core.gate.leave_by(self.1);
    }
}

/// Somebody inside an instance.
pub(crate) struct Inside(Arc<Instance>);

impl Inside {
    pub(crate) fn instance(&self) -> &Arc<Instance> {
        &self.0
    }

    pub(crate) fn into_call(self, reply: Reply) -> OpenCall {
        OpenCall { inside: self, reply }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.core.gate.leave();
    }
}

/// One at a time, and never twice on one thread.
#[derive(Default)]
struct Serial {
    lock: Mutex<()>,
    /// The thread whose turn it is; 0 for none. Written by it alone.
    owner: AtomicUsize,
}

struct Turn<'a> {
    serial: &'a Serial,
    _guard: MutexGuard<'a, ()>,
}

impl Serial {
    /// `None` if it is this thread's turn already.
    fn take(&self) -> Option<Turn<'_>> {
        thread_local!(static HERE: Cell<u8> = const { Cell::new(0) });
        let here = HERE.with(|here| ptr::from_ref(here).addr());
        // Only this thread writes its own address.
        if self.owner.load(Ordering::Relaxed) == here {
            return None;
        }
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.owner.store(here, Ordering::Relaxed);
        Some(Turn { serial: self, _guard: guard })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.serial.owner.store(0, Ordering::Relaxed);
    }
}
