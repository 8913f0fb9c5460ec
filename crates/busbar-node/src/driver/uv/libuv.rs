//! libuv, looked up in the running program: Node exports it, but an addon cannot link it.
//!
//! Only functions and numbers that libuv 1.x keeps stable are used; handles are opaque memory of
//! the size that libuv itself names.

use std::ffi::{c_int, c_void};

use libloading::os::unix::Library;

pub(super) type Handle = *mut c_void;
pub(super) type Loop = *mut napi::sys::uv_loop_s;
pub(super) type HandleCallback = unsafe extern "C" fn(Handle);
pub(super) type PollCallback = unsafe extern "C" fn(Handle, c_int, c_int);

/// Values of `uv_handle_type`.
pub(super) const UV_IDLE: c_int = 6;
pub(super) const UV_POLL: c_int = 8;
pub(super) const UV_PREPARE: c_int = 9;
pub(super) const UV_TIMER: c_int = 13;

/// `UV_READABLE`.
pub(super) const READABLE: c_int = 1;

macro_rules! symbols {
    ($($name:ident: $type:ty = $symbol:literal;)*) => {
        /// The functions of libuv that the driver needs.
        #[derive(Clone, Copy)]
        pub(super) struct Libuv {
            $(pub(super) $name: $type,)*
        }

        impl Libuv {
            /// `None` if the program does not export them all.
            pub(super) fn load() -> Option<Self> {
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
