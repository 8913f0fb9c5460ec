//! libuv, looked up in the running program: Node exports it, but an addon cannot link it.
//!
//! Only functions and numbers that libuv 1.x keeps stable are used; handles are opaque memory of
//! the size that libuv itself names.

use std::ffi::{c_int, c_void};

use libloading::os::unix::Library;

pub(crate) type Handle = *mut c_void;
pub(crate) type Loop = *mut napi::sys::uv_loop_s;
pub(crate) type HandleCallback = unsafe extern "C" fn(Handle);
pub(crate) type PollCallback = unsafe extern "C" fn(Handle, c_int, c_int);

/// Values of `uv_handle_type`.
pub(crate) const UV_IDLE: c_int = 6;
pub(crate) const UV_POLL: c_int = 8;
pub(crate) const UV_PREPARE: c_int = 9;
pub(crate) const UV_TIMER: c_int = 13;

/// `UV_READABLE`.
pub(crate) const READABLE: c_int = 1;

/// A handle's memory, aligned for any of them.
pub(crate) struct Memory(Box<[u64]>);

impl Memory {
    pub(crate) fn new(uv: &Libuv, kind: c_int) -> Self {
        // SAFETY: a pure function of libuv.
        let size = unsafe { (uv.handle_size)(kind) };
        Self(vec![0; size.div_ceil(8)].into_boxed_slice())
    }

    pub(crate) fn handle(&self) -> Handle {
        self.0.as_ptr().cast_mut().cast()
    }
}

macro_rules! symbols {
    ($($name:ident: $type:ty = $symbol:literal;)*) => {
        /// The functions of libuv that the driver needs.
        #[derive(Clone, Copy)]
        pub(crate) struct Libuv {
            $(pub(crate) $name: $type,)*
        }

        impl Libuv {
            /// `None` if the program does not export them all.
            pub(crate) fn load() -> Option<Self> {
                let program = Library::this();
                Some(Self {
                    $($name: {
                        // SAFETY: the type is the one that libuv 1.x declares for this symbol.
                        let symbol = unsafe { program.get::<$type>($symbol) };
                        *symbol.ok()?
                    },)*
                })
            }
        }
    };
}

symbols! {
    handle_size: unsafe extern "C" fn(c_int) -> usize = b"uv_handle_size\0";
    set_data: unsafe extern "C" fn(Handle, *mut c_void) = b"uv_handle_set_data\0";
    reference: unsafe extern "C" fn(Handle) = b"uv_ref\0";
    unreference: unsafe extern "C" fn(Handle) = b"uv_unref\0";
    backend_timeout: unsafe extern "C" fn(Loop) -> c_int = b"uv_backend_timeout\0";
    close: unsafe extern "C" fn(Handle, HandleCallback) = b"uv_close\0";
    poll_init: unsafe extern "C" fn(Loop, Handle, c_int) -> c_int = b"uv_poll_init\0";
    poll_start: unsafe extern "C" fn(Handle, c_int, PollCallback) -> c_int = b"uv_poll_start\0";
    prepare_init: unsafe extern "C" fn(Loop, Handle) -> c_int = b"uv_prepare_init\0";
    prepare_start: unsafe extern "C" fn(Handle, HandleCallback) -> c_int = b"uv_prepare_start\0";
    idle_init: unsafe extern "C" fn(Loop, Handle) -> c_int = b"uv_idle_init\0";
    idle_start: unsafe extern "C" fn(Handle, HandleCallback) -> c_int = b"uv_idle_start\0";
    idle_stop: unsafe extern "C" fn(Handle) -> c_int = b"uv_idle_stop\0";
    timer_init: unsafe extern "C" fn(Loop, Handle) -> c_int = b"uv_timer_init\0";
    timer_start: unsafe extern "C" fn(Handle, HandleCallback, u64, u64) -> c_int
        = b"uv_timer_start\0";
}
