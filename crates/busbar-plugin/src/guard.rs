//! The edge: every function that a host calls runs in here, so that nothing unwinds into it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use busbar_abi::Status;

use crate::{Error, Host, Result};

/// Runs `work`; its error, or panic, becomes a status, with its text given to the host.
#[inline(always)]
pub(crate) fn guard(host: Host, work: impl FnOnce() -> Result<Status>) -> Status {
    match catch(work) {
        Ok(status) => status,
        Err(error) => told(host, error),
    }
}

/// Takes the error, so that callers have nothing to drop.
#[cold]
#[inline(never)]
#[expect(clippy::needless_pass_by_value, reason = "see above")]
pub(crate) fn told(host: Host, error: Error) -> Status {
    host.error(error.status(), error.message());
    error.status()
}

/// Runs `work`, a panic of which is an error.
#[inline(always)]
pub(crate) fn catch<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    // After a panic the host calls nothing of the instance but its end, so nobody sees what `work`
    // left half done.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| Err(panicked(payload)))
}

/// The error for a panic.
#[cold]
#[inline(never)]
pub(crate) fn panicked(payload: Box<dyn Any + Send>) -> Error {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    // Dropping what somebody panicked with may panic again.
    std::mem::forget(payload);
    Error::of(Status::PANIC, text.unwrap_or_else(|| String::from("it panicked without a text")))
}
