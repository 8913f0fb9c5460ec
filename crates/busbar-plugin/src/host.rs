//! What a plugin can ask of its host.

use std::ffi::{CStr, c_void};
use std::fmt;
use std::ptr::NonNull;

use busbar_abi::{self as abi, Slice, Status, log_level};

/// How much a log record matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
#[non_exhaustive]
pub enum Level {
    /// Something failed.
    Error = log_level::ERROR,
    /// Something may fail.
    Warn = log_level::WARN,
    /// Something happened.
    Info = log_level::INFO,
    /// For who looks for a bug.
    Debug = log_level::DEBUG,
    /// Everything.
    Trace = log_level::TRACE,
}

/// The host of an instance. Hosts keep it for as long as the library is loaded.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Host(NonNull<abi::Host>);

// SAFETY: every function of a host that is used here may be called from any thread, or, as that for
// errors, acts on the calling thread alone.
unsafe impl Send for Host {}
// SAFETY: as above.
unsafe impl Sync for Host {}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Host")
    }
}

impl Host {
    /// # Safety
    /// `host` must be what a host gave to `create`.
    pub(crate) unsafe fn from_raw(host: *const abi::Host) -> Option<Self> {
        NonNull::new(host.cast_mut()).map(Self)
    }

    pub(crate) fn raw(&self) -> &abi::Host {
        // SAFETY: hosts outlive their plugins, and do not change.
        unsafe { self.0.as_ref() }
    }

    /// Writes a record to the host's log.
    pub fn log(&self, level: Level, message: &str) {
        if let Some(log) = self.raw().log {
            // SAFETY: a text that is there during the call.
            unsafe { log(self.0.as_ptr(), level as u32, message.as_ptr().cast(), message.len()) };
        }
    }

    /// What the host has under this name; null if it has nothing.
    #[must_use]
    pub fn extension(&self, name: &CStr) -> *const c_void {
        let Some(get) = self.raw().get_extension else { return std::ptr::null() };
        // SAFETY: a name that is there during the call.
        unsafe { get(self.0.as_ptr(), name.as_ptr()) }
    }

    /// Whether this thread is one of the zone's. Inline calls run on threads of others.
    #[must_use]
    pub fn is_zone_thread(&self) -> bool {
        // SAFETY: it takes nothing but the host.
        self.raw().on_zone_thread.is_some_and(|ask| unsafe { ask(self.0.as_ptr()) } == 1)
    }

    /// The text for the status that is about to be returned on this thread.
    pub(crate) fn error(&self, status: Status, message: &str) {
        if let Some(error) = self.raw().error {
            // SAFETY: a text that is there during the call.
            unsafe { error(self.0.as_ptr(), status, message.as_ptr().cast(), message.len()) };
        }
    }

    /// Ends what was started under `token`; the bytes are the result, or the text of an error.
    pub(crate) fn complete(&self, token: u64, status: Status, bytes: &[u8]) {
        if let Some(complete) = self.raw().complete {
            // SAFETY: bytes that are there during the call. That nobody waits any more is no error.
            let _ = unsafe { complete(self.0.as_ptr(), token, status, Slice::new(bytes)) };
        }
    }
}
