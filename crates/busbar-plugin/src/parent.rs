//! What a plugin may call of whoever loaded its zone: the parent's methods, by name.

use std::ffi::c_void;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use busbar_abi::{self as abi, ParentExtension, Slice, Status};

use crate::{Error, Host, Result};

/// How long [`Host::call`] waits.
const TIMEOUT: Duration = Duration::from_secs(5);

impl Host {
    /// Runs a method of the parent, and waits for its end on this thread, 5 seconds at most. From
    /// `activate` on, on any thread.
    ///
    /// # Errors
    /// [`Status::UNSUPPORTED`] if the parent exposes no such method; [`Status::PARENT`] with the
    /// text of its failure; [`Status::TIMEOUT`]; [`Status::CLOSED`] when the zone ends;
    /// [`Status::AGAIN`] if 4096 calls have not ended.
    pub fn call(&self, method: &str, input: &[u8]) -> Result<Vec<u8>> {
        self.call_within(method, input, TIMEOUT)
    }

    /// As [`Self::call`], with another limit, of 49 days at most.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub fn call_within(&self, method: &str, input: &[u8], timeout: Duration) -> Result<Vec<u8>> {
        unsafe extern "C" fn answer(context: *mut c_void, status: Status, bytes: Slice) {
            // SAFETY: `call_within` put it there, and waits.
            let Some(outcome) = (unsafe { context.cast::<Option<Outcome>>().as_mut() }) else {
                return;
            };
            // SAFETY: by the contract: borrowed during the call.
            *outcome = Some(unsafe { outcome_of(status, bytes) });
        }
        let call = self.parent().and_then(|table| table.call).ok_or_else(unsupported)?;
        let mut outcome: Option<Outcome> = None;
        let timeout_ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        let (method, input) = (Slice::new(method.as_bytes()), Slice::new(input));
        let context = (&raw mut outcome).cast();
        // SAFETY: all of it is there during the call, in which the answer is given.
        let status = unsafe { call(self.raw(), method, input, timeout_ms, Some(answer), context) };
        outcome.unwrap_or_else(|| Err(Error::of(status, status.to_string())))
    }

    /// Runs a method of the parent, which ends later: dropping the future cancels it.
    ///
    /// # Errors
    /// As [`Self::call`], but for its limit of time.
    pub fn start(&self, method: &str, input: &[u8]) -> ParentCall {
        let shared = Arc::<Shared>::default();
        let mut id = 0;
        let status = match self.parent().and_then(|table| table.start) {
            None => Status::UNSUPPORTED,
            Some(start) => {
                let context = Arc::into_raw(Arc::clone(&shared)).cast_mut().cast::<c_void>();
                let (method, input) = (Slice::new(method.as_bytes()), Slice::new(input));
                // SAFETY: slices that are there during the call; the context until it is answered.
                let status = unsafe {
                    start(self.raw(), method, input, Some(answer_later), context, &raw mut id)
                };
                if status != Status::OK {
                    // SAFETY: it is never answered: the count is still ours.
                    drop(unsafe { Arc::from_raw(context.cast_const().cast::<Shared>()) });
                }
                status
            }
        };
        if status != Status::OK {
            shared.lock().outcome = Some(Err(Error::of(status, status.to_string())));
        }
        ParentCall { host: *self, shared, id }
    }

    /// The parent does not need to keep an object any longer that it lent by this number.
    ///
    /// # Errors
    /// [`Status::STALE`] if it lends no such object, or no longer.
    pub fn release(&self, object: u64) -> Result<()> {
        let release = self.parent().and_then(|table| table.release).ok_or_else(unsupported)?;
        // SAFETY: it takes nothing but the host and a number.
        match unsafe { release(self.raw(), object) } {
            Status::OK => Ok(()),
            status => Err(Error::of(status, format!("there is no object {object}"))),
        }
    }

    /// A number for an object of this instance, for callers to hold.
    pub(crate) fn object(&self) -> Result<u64> {
        let object = self.parent().and_then(|table| table.object).ok_or_else(unsupported)?;
        // SAFETY: it takes nothing but the host.
        match unsafe { object(self.raw()) } {
            0 => Err(Error::of(Status::AGAIN, "there are too many objects, or the zone ends")),
            number => Ok(number),
        }
    }

    fn parent(&self) -> Option<ParentExtension> {
        let table = self.extension(abi::extension::PARENT).cast::<ParentExtension>();
        if table.is_null() {
            return None;
        }
        // SAFETY: what hosts have under this name is this.
        unsafe { abi::read_growing(table) }.ok()
    }
}

type Outcome = Result<Vec<u8>>;

/// A call of the parent that was started; see [`Host::start`].
pub struct ParentCall {
    host: Host,
    shared: Arc<Shared>,
    id: u64,
}

impl fmt::Debug for ParentCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParentCall").field("id", &self.id).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Shared(Mutex<State>);

#[derive(Default)]
struct State {
    outcome: Option<Outcome>,
    is_over: bool,
    waker: Option<Waker>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

unsafe extern "C" fn answer_later(context: *mut c_void, status: Status, bytes: Slice) {
    // SAFETY: `start` made the pointer for this one call.
    let shared = unsafe { Arc::from_raw(context.cast_const().cast::<Shared>()) };
    // SAFETY: by the contract: borrowed during the call.
    let outcome = unsafe { outcome_of(status, bytes) };
    let mut state = shared.lock();
    (state.outcome, state.is_over) = (Some(outcome), true);
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        // Executors do not panic here; if one does, it is not the host's concern.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| waker.wake()));
    }
}

impl Future for ParentCall {
    type Output = Result<Vec<u8>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.shared.lock();
        match state.outcome.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for ParentCall {
    fn drop(&mut self) {
        if self.id == 0 || self.shared.lock().is_over {
            return;
        }
        if let Some(cancel) = self.host.parent().and_then(|table| table.cancel) {
            // SAFETY: it takes nothing but the host and a number.
            unsafe { cancel(self.host.raw(), self.id) };
        }
    }
}

/// # Safety
/// `bytes` are borrowed during the call.
unsafe fn outcome_of(status: Status, bytes: Slice) -> Outcome {
    // SAFETY: as the caller promises.
    let bytes = unsafe { bytes.bytes() }.unwrap_or_default();
    if status == Status::OK {
        return Ok(bytes.to_vec());
    }
    Err(Error::of(status, String::from_utf8_lossy(bytes).into_owned()))
}

#[cold]
fn unsupported() -> Error {
    Error::of(Status::UNSUPPORTED, "this host has no methods for plugins")
}
