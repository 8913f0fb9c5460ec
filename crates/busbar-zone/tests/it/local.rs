//! A plugin that is compiled into this program, with those methods of the one in C that every way
//! to a plugin is tested by.

use std::ffi::{c_char, c_void};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use busbar_abi::{self as abi, Buf, Host, Manifest, Method, Plugin, Slice, Status};

const FAILURE: &str = "on purpose";

struct Local {
    raw: Plugin,
    host: *const Host,
    inside: AtomicU32,
}

unsafe extern "C" fn create(
    host: *const Host,
    _id: *const c_char,
    out: *mut *const Plugin,
) -> Status {
    let raw = Plugin {
        struct_size: size_of::<Plugin>() as u32,
        abi_minor: 0,
        plugin_data: std::ptr::null_mut(),
        init: None,
        activate: None,
        deactivate: None,
        destroy: Some(destroy),
        get_extension: None,
        call: Some(call),
        start: None,
        cancel: None,
    };
    let local = Box::leak(Box::new(Local { raw, host, inside: AtomicU32::new(0) }));
    local.raw.plugin_data = std::ptr::from_mut(local).cast::<c_void>();
    // SAFETY: by the contract `out` can be written.
    unsafe { out.write(&raw const local.raw) };
    Status::OK
}

/// # Safety
/// By the contract: `plugin` is what `create` gave.
unsafe fn local<'a>(plugin: *const Plugin) -> &'a Local {
    // SAFETY: as the caller promises.
    let data = unsafe { (*plugin).plugin_data };
    // SAFETY: `create` put it there.
    unsafe { &*data.cast::<Local>() }
}

unsafe extern "C" fn destroy(plugin: *const Plugin) {
    // SAFETY: by the contract.
    let data = unsafe { (*plugin).plugin_data };
    // SAFETY: `create` made it; this is the last call.
    drop(unsafe { Box::from_raw(data.cast::<Local>()) });
}

unsafe extern "C" fn call(
    plugin: *const Plugin,
    method: u32,
    input: Slice,
    out: *mut Buf,
) -> Status {
    // SAFETY: by the contract.
    let local = unsafe { local(plugin) };
    // SAFETY: by the contract.
    let out = unsafe { &mut *out };
    let large = [7; 100_000];
    let result = match method {
        // SAFETY: by the contract.
        0 => unsafe { input.bytes() }.unwrap_or_default(),
        1 => {
            // SAFETY: the host that `create` was given.
            let tell = unsafe { (*local.host).error }.expect("it has it");
            // SAFETY: by the contract.
            unsafe { tell(local.host, Status(-1042), FAILURE.as_ptr().cast(), FAILURE.len()) };
            return Status(-1042);
        }
        2 => return Status::PENDING,
        3 => &large,
        4 => {
            let before = local.inside.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_micros(200));
            local.inside.fetch_sub(1, Ordering::Relaxed);
            if before == 0 { &b"alone"[..] } else { b"beside others" }
        }
        _ => return Status::UNSUPPORTED,
    };
    out.len = result.len();
    if out.len > out.cap {
        return Status::BUFFER_TOO_SMALL;
    }
    // SAFETY: there is room.
    unsafe { std::ptr::copy_nonoverlapping(result.as_ptr(), out.ptr, result.len()) };
    Status::OK
}

const fn method(id: u32, name: &'static std::ffi::CStr, flags: u32) -> Method {
    Method { id, flags, name: name.as_ptr(), in_hash: 0, out_hash: 0 }
}

/// Its entry.
pub(crate) unsafe extern "C" fn entry() -> *const Manifest {
    const SYNC: u32 = abi::method::SYNC;
    const FAST: u32 = SYNC | abi::method::THREAD_SAFE;
    static METHODS: [Method; 5] = [
        method(0, c"echo", FAST),
        method(1, c"fail", FAST),
        method(2, c"strange", FAST),
        method(3, c"large", FAST | abi::method::IDEMPOTENT),
        method(4, c"serial", SYNC),
    ];
    static MANIFEST: Manifest = Manifest {
        magic: abi::MAGIC,
        struct_size: size_of::<Manifest>() as u32,
        abi_major: 1,
        abi_minor: 0,
        min_host_minor: 0,
        pointer_bits: usize::BITS as u16,
        flags: 0,
        runtime: abi::runtime::RUST,
        id: c"local.table".as_ptr(),
        version: c"0".as_ptr(),
        target: abi::TARGET.as_ptr(),
        methods: METHODS.as_ptr(),
        n_methods: METHODS.len(),
        types: std::ptr::null(),
        n_types: 0,
        create: Some(create),
    };
    &raw const MANIFEST
}
