//! A call that ends later, for Rust: a future, and something to wait for.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::patience::Patience;
use crate::zone::Body;
use crate::{CallId, Completions, Error, ErrorKind, Result, Stage, deadline};

/// A call that was submitted. Dropping it does not end the call; [`Self::cancel`] does.
///
/// # Cancel safety
/// As a future it can be dropped and polled again at any time; the result is taken once.
pub struct Call {
    shared: Arc<Shared>,
    zone: Weak<Body>,
    id: CallId,
}

#[derive(Default)]
pub(crate) struct Shared {
    state: Mutex<State>,
    ended: Condvar,
    /// Set once there is a result; read by who looks without the lock.
    is_done: AtomicBool,
}

#[derive(Default)]
struct State {
    result: Option<Result<Vec<u8>>>,
    waker: Option<Waker>,
    /// Whether a thread sleeps until there is a result: waking takes a system call, even of nobody.
    is_slept_on: bool,
}

impl Call {
    /// Who is to be told of the end of a call.
    pub(crate) fn shared() -> Arc<Shared> {
        Arc::default()
    }

    pub(crate) fn new(shared: Arc<Shared>, zone: Weak<Body>, id: CallId) -> Self {
        Self { shared, zone, id }
    }

    /// Gives the call up, as [`Zone::cancel`](crate::Zone::cancel); its result is then `Cancelled`.
    pub fn cancel(&self) -> bool {
        self.zone.upgrade().is_some_and(|zone| zone.cancel(self.id))
    }

    /// Waits for the result on this thread.
    ///
    /// # Errors
    /// The call's; `TimedOut` if it does not end in time, when it goes on without anybody waiting.
    pub fn wait(self, timeout: Duration) -> Result<Vec<u8>> {
        if self.shared.is_done()
            && let Some(result) = self.shared.lock().result.take()
        {
            return result;
        }
        let deadline = deadline::after(timeout);
        Patience::default().look(|| self.shared.is_done());
        let mut state = self.shared.lock();
        loop {
            if let Some(result) = state.result.take() {
                return result;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                let message = format!("the call did not end within {} ms", timeout.as_millis());
                return Err(Error::new(ErrorKind::TimedOut, Stage::Call, message));
            }
            state.is_slept_on = true;
            let waited = self.shared.ended.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Future for Call {
    type Output = Result<Vec<u8>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.shared.lock();
        if let Some(result) = state.result.take() {
            return Poll::Ready(result);
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Shared {
    /// Whether the call has ended.
    pub(crate) fn is_done(&self) -> bool {
        self.is_done.load(Ordering::Relaxed)
    }

    fn end(&self, result: Result<Vec<u8>>) {
        let mut state = self.lock();
        state.result = Some(result);
        self.is_done.store(true, Ordering::Relaxed);
        let (waker, is_slept_on) = (state.waker.take(), state.is_slept_on);
        drop(state);
        if is_slept_on {
            self.ended.notify_all();
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Completions for Shared {
    fn complete(&self, _operation: u64, result: Result<&[u8]>) {
        self.end(result.map(<[u8]>::to_vec));
    }

    fn complete_owned(&self, _operation: u64, result: Vec<u8>) {
        self.end(Ok(result));
    }
}
