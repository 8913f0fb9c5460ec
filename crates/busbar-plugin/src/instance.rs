//! The functions behind `busbar_plugin`, for any plugin: raw on the outside, safe on the inside.
//!
//! The `unsafe extern "C"` functions share one obligation, called *the contract* below: the host
//! calls them as `include/busbar_plugin.h` says, with the instance that `create` gave it, between
//! `create` and `destroy`.

use std::ffi::{CStr, c_char, c_void};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::{Arc, OnceLock};

use busbar_abi::{self as abi, Buf, Slice, Status, extension};

use crate::cancel::Blocking;
use crate::export::{Exports, Run, unknown};
use crate::guard::{catch, guard, told};
use crate::tasks::Tasks;
use crate::{Error, Host, Output, Result};

#[repr(C)]
pub(crate) struct Instance<P> {
    /// First, so that a pointer to it is one to all of it.
    raw: abi::Plugin,
    host: Host,
    /// Empty before `init`.
    plugin: OnceLock<Arc<P>>,
    tasks: Tasks,
    blocking: Blocking,
}

impl<P: Exports> Instance<P> {
    fn plugin(&self) -> Result<&Arc<P>> {
        self.plugin.get().ok_or_else(|| Breach::BeforeInit.error())
    }
}

/// What hosts do not do.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Breach {
    BeforeInit,
    NoInput,
}

impl Breach {
    #[cold]
    fn error(self) -> Error {
        let message = match self {
            Self::BeforeInit => "called before init",
            Self::NoInput => "no input",
        };
        Error::of(Status::INVALID, message)
    }
}

/// `busbar_manifest.create`.
pub(crate) unsafe extern "C" fn create<P: Exports>(
    host: *const abi::Host,
    _plugin_id: *const c_char,
    out: *mut *const abi::Plugin,
) -> Status {
    // SAFETY: the contract.
    let Some(host) = (unsafe { Host::from_raw(host) }) else { return Status::INVALID };
    if out.is_null() {
        return Status::INVALID;
    }
    let made = catch(|| {
        let raw = abi::Plugin {
            struct_size: size_of::<abi::Plugin>() as u32,
            abi_minor: u32::from(abi::ABI_MINOR),
            plugin_data: ptr::null_mut(),
            init: Some(init::<P>),
            activate: Some(activate::<P>),
            deactivate: Some(deactivate::<P>),
            destroy: Some(destroy::<P>),
            get_extension: Some(get_extension::<P>),
            call: Some(call::<P>),
            start: Some(start::<P>),
            cancel: Some(cancel::<P>),
        };
        let plugin = OnceLock::new();
        let (tasks, blocking) = (Tasks::default(), Blocking::default());
        let instance = Instance::<P> { raw, host, plugin, tasks, blocking };
        let instance = Box::into_raw(Box::new(instance));
        // SAFETY: it was made above, and nobody else has it yet.
        unsafe { (*instance).raw.plugin_data = instance.cast() };
        Ok(instance)
    });
    match made {
        Ok(instance) => {
            // SAFETY: `instance` is alive.
            let raw = unsafe { &raw const (*instance).raw };
            // SAFETY: the contract: `out` can be written.
            unsafe { out.write(raw) };
            Status::OK
        }
        Err(error) => error.status(),
    }
}

/// # Safety
/// The contract. The result must not outlive the call.
#[inline]
unsafe fn instance<'a, P>(plugin: *const abi::Plugin) -> &'a Instance<P> {
    // SAFETY: the contract: `create` gave it, as a pointer into the whole; `destroy`, which ends
    // it, is the last call.
    unsafe { &*plugin.cast::<Instance<P>>() }
}

unsafe extern "C" fn init<P: Exports>(plugin: *const abi::Plugin) -> Status {
    // SAFETY: the contract.
    let it = unsafe { instance::<P>(plugin) };
    guard(it.host, || {
        let made = Arc::new(P::create(it.host)?);
        it.plugin.set(made).map_err(|_| Error::of(Status::INVALID, "init was called twice"))?;
        Ok(Status::OK)
    })
}

unsafe extern "C" fn activate<P: Exports>(plugin: *const abi::Plugin, config: Slice) -> Status {
    // SAFETY: the contract.
    let it = unsafe { instance::<P>(plugin) };
    // SAFETY: the contract: borrowed during the call.
    let config = unsafe { config.bytes() };
    guard(it.host, || {
        let config = str::from_utf8(config.unwrap_or_default());
        let config = config.map_err(|error| Error::of(Status::INVALID, error.to_string()))?;
        it.plugin()?.activate(config)?;
        Ok(Status::OK)
    })
}

unsafe extern "C" fn deactivate<P: Exports>(plugin: *const abi::Plugin) {
    // SAFETY: the contract.
    let it = unsafe { instance::<P>(plugin) };
    let _ = guard(it.host, || {
        it.tasks.stop(it.host);
        it.plugin()?.deactivate();
        Ok(Status::OK)
    });
}

unsafe extern "C" fn destroy<P: Exports>(plugin: *const abi::Plugin) {
    // SAFETY: the contract.
    let it = unsafe { instance::<P>(plugin) };
    let (host, data) = (it.host, it.raw.plugin_data.cast::<Instance<P>>());
    // After a panic there was no `deactivate`.
    it.tasks.stop(host);
    let _ = guard(host, || {
        // SAFETY: it is from `create`'s box, and by the contract this is the last call.
        drop(unsafe { Box::from_raw(data) });
        Ok(Status::OK)
    });
}

unsafe extern "C" fn get_extension<P: Exports>(
    _plugin: *const abi::Plugin,
    id: *const c_char,
) -> *const c_void {
    if id.is_null() {
        return ptr::null();
    }
    // SAFETY: the contract: a text that ends with NUL.
    let id = unsafe { CStr::from_ptr(id) };
    match P::STATE {
        Some(state) if id == extension::STATE => ptr::from_ref(state).cast(),
        _ if id == extension::OBJECTS => ptr::from_ref(&Tables::<P>::OBJECTS).cast(),
        _ if id == extension::BATCH => ptr::from_ref(&Tables::<P>::BATCH).cast(),
        _ => ptr::null(),
    }
}

/// The extensions that every `P` has.
struct Tables<P>(PhantomData<P>);

impl<P: Exports> Tables<P> {
    const BATCH: abi::BatchExtension = abi::BatchExtension {
        struct_size: size_of::<abi::BatchExtension>() as u32,
        reserved: 0,
        call_batch: Some(call_batch::<P>),
    };

    const OBJECTS: abi::ObjectsExtension = abi::ObjectsExtension {
        struct_size: size_of::<abi::ObjectsExtension>() as u32,
        reserved: 0,
        released: Some(released::<P>),
    };
}

unsafe extern "C" fn released<P: Exports>(plugin: *const abi::Plugin, object: u64) {
    // SAFETY: the contract.
    let it = unsafe { instance::<P>(plugin) };
    let _ = guard(it.host, || {
        it.plugin()?.released(object);
        Ok(Status::OK)
    });
}

unsafe extern "C" fn call<P: Exports>(
    plugin: *const abi::Plugin,
    method: u32,
    input: Slice,
    out: *mut Buf,
) -> Status {
    match P::ROWS.get(method as usize) {
        // SAFETY: the contract: everything is handed on as it came.
        Some(row) => unsafe { (row.call)(plugin, method, input, out) },
        // SAFETY: the contract.
        None => refuse(unsafe { instance::<P>(plugin) }.host, method),
    }
}

/// By the edge of C, so that [`call`] only jumps.
#[cold]
#[inline(never)]
extern "C" fn refuse(host: Host, method: u32) -> Status {
    guard(host, || Err(unknown(method)))
}

/// As [`call`], of one method, so that the compiler sees what of all this it needs. What is not for
/// calls that go well is read where it is needed.
pub(crate) unsafe extern "C" fn run<P: Exports, R: Run<P>>(
    plugin: *const abi::Plugin,
    _method: u32,
    input: Slice,
    out: *mut Buf,
) -> Status {
    // SAFETY: the contract.
    let it = unsafe { instance::<P>(plugin) };
    // SAFETY: the contract: borrowed during the call.
    let Some(input) = (unsafe { input.bytes() }) else { return deny(it.host, Breach::NoInput) };
    let Some(plugin) = it.plugin.get() else { return deny(it.host, Breach::BeforeInit) };
    // SAFETY: the contract: the caller's, ours alone during the call.
    let mut out = unsafe { Out::new(out) };
    match catch(|| out.fill(|output| R::run(plugin, input, output))) {
        Ok(status) => status,
        Err(error) => told(it.host, error),
    }
}

/// As [`refuse`], of a call that is none.
#[cold]
#[inline(never)]
extern "C" fn deny(host: Host, breach: Breach) -> Status {
    guard(host, || Err(breach.error()))
}

unsafe extern "C" fn call_batch<P: Exports>(
    plugin: *const abi::Plugin,
    arena: *mut u8,
    _arena_length: usize,
    records: *mut abi::Record,
    count: u32,
) -> Status {
    // SAFETY: the contract.
    let it = unsafe { instance::<P>(plugin) };
    let records = if records.is_null() {
        &mut []
    } else {
        // SAFETY: the contract: ours alone during the call.
        unsafe { std::slice::from_raw_parts_mut(records, count as usize) }
    };
    guard(it.host, || {
        let plugin = it.plugin()?;
        for record in records {
            // SAFETY: the contract: within the arena, as is the room below.
            let input = unsafe { arena.add(record.in_offset as usize) };
            let input = Slice { ptr: input, len: record.in_length as usize };
            // SAFETY: the contract: borrowed during the call.
            let input = unsafe { input.bytes() }.unwrap_or_default();
            // SAFETY: as above.
            let room = unsafe { arena.add(record.out_offset as usize) };
            let mut out = Buf { ptr: room, cap: record.out_room as usize, len: 0 };
            // SAFETY: the contract: apart from the input, and ours alone during the call.
            let mut filled = unsafe { Out::new(&raw mut out) };
            let ended = filled.fill(|output| P::call(plugin, record.method, input, output));
            record.out_length = u32::try_from(out.len).unwrap_or(u32::MAX);
            record.status = ended.as_ref().err().map_or(Status::OK, Error::status).0;
            ended?;
        }
        Ok(Status::OK)
    })
}

unsafe extern "C" fn start<P: Exports>(
    plugin: *const abi::Plugin,
    method: u32,
    input: Slice,
    token: u64,
) -> Status {
    // SAFETY: the contract.
    let it = unsafe { instance::<P>(plugin) };
    // SAFETY: the contract: borrowed during the call.
    let input = unsafe { input.bytes() };
    guard(it.host, || {
        let input = input.ok_or_else(|| Breach::NoInput.error())?;
        let plugin = it.plugin()?;
        if let Some(job) = P::start(plugin, method, input)? {
            it.tasks.spawn(it.host, token, job)?;
            return Ok(Status::PENDING);
        }
        let mut output = Output::growing();
        it.blocking.run(token, || P::call(plugin, method, input, &mut output))?;
        if output.is_empty() {
            return Ok(Status::OK);
        }
        it.host.complete(token, Status::OK, output.bytes());
        Ok(Status::PENDING)
    })
}

unsafe extern "C" fn cancel<P: Exports>(plugin: *const abi::Plugin, token: u64) {
    // SAFETY: the contract.
    let it = unsafe { instance::<P>(plugin) };
    let _ = guard(it.host, || {
        it.blocking.cancel(token);
        it.tasks.cancel(it.host, token);
        Ok(Status::OK)
    });
}

/// `busbar_ext_state.save`.
pub(crate) unsafe extern "C" fn save<P: Exports + crate::State>(
    plugin: *const abi::Plugin,
    out: *mut Buf,
    schema_hash: *mut u64,
) -> Status {
    // SAFETY: the contract.
    let it = unsafe { instance::<P>(plugin) };
    // SAFETY: the contract: the caller's, ours alone during the call.
    let mut out = unsafe { Out::new(out) };
    let status = guard(it.host, || {
        let saved = it.plugin()?.save()?;
        out.fill(|output| output.put(&saved))
    });
    if !schema_hash.is_null() {
        // SAFETY: the contract: it can be written.
        unsafe { schema_hash.write(<P::Saved as crate::Type>::SCHEMA_HASH) };
    }
    status
}

/// `busbar_ext_state.load`.
pub(crate) unsafe extern "C" fn load<P: Exports + crate::State>(
    plugin: *const abi::Plugin,
    input: Slice,
    schema_hash: u64,
) -> Status {
    // SAFETY: the contract.
    let it = unsafe { instance::<P>(plugin) };
    // SAFETY: the contract: borrowed during the call.
    let input = unsafe { input.bytes() };
    guard(it.host, || {
        let ours = <P::Saved as crate::Type>::SCHEMA_HASH;
        if schema_hash != ours {
            let message = format!("state of {schema_hash:016x}, but this version has {ours:016x}");
            return Err(Error::of(Status::SCHEMA_MISMATCH, message));
        }
        it.plugin()?.load(crate::argument::owned(input.unwrap_or_default())?)?;
        Ok(Status::OK)
    })
}

/// A caller's buffer.
pub(crate) struct Out<'a> {
    room: &'a mut [u8],
    len: Option<&'a mut usize>,
}

impl Out<'_> {
    /// # Safety
    /// `out` is null, or a buffer that this alone uses.
    #[inline]
    pub(crate) unsafe fn new(out: *mut Buf) -> Self {
        // SAFETY: as the caller promises.
        let Some(out) = (unsafe { out.as_mut() }) else { return Self { room: &mut [], len: None } };
        let room = if out.ptr.is_null() {
            &mut []
        } else {
            // SAFETY: as the caller promises. Uninitialized bytes are only written to: what reads
            // them, reads what `Output` has written.
            unsafe { std::slice::from_raw_parts_mut(out.ptr, out.cap) }
        };
        Self { room, len: Some(&mut out.len) }
    }

    /// Lets `write` fill it.
    #[inline(always)]
    pub(crate) fn fill(
        &mut self,
        write: impl FnOnce(&mut Output<'_>) -> Result<()>,
    ) -> Result<Status> {
        // Of the caller's room there is nothing to drop.
        let mut output = ManuallyDrop::new(Output::fixed(self.room));
        match write(&mut output) {
            Ok(()) => {
                let length = output.len();
                self.set_len(length);
                Ok(Status::OK)
            }
            Err(error) => Err(self.fail(error)),
        }
    }

    #[cold]
    #[inline(never)]
    fn fail(&mut self, error: Error) -> Error {
        self.set_len(error.needed());
        error
    }

    #[inline]
    fn set_len(&mut self, length: usize) {
        if let Some(len) = self.len.as_deref_mut() {
            *len = length;
        }
    }
}
