//! Waiting without a runtime: the calling thread parks until its waker unparks it.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// Polls until ready, parking the thread in between; `None` when `timeout` is over. A timeout of
/// zero polls once.
pub(super) fn block_on<T>(
    timeout: Option<Duration>,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Option<T> {
    WAKER.with(|waker| {
        let mut context = Context::from_waker(waker);
        let mut deadline = None;
        loop {
            if let Poll::Ready(value) = poll(&mut context) {
                return Some(value);
            }
            let Some(timeout) = timeout else {
                thread::park();
                continue;
            };
            let now = Instant::now();
            // A deadline beyond what the clock can say is no deadline.
            let deadline = *deadline.get_or_insert_with(|| now.checked_add(timeout));
            match deadline.map(|deadline| deadline.saturating_duration_since(now)) {
                Some(Duration::ZERO) => return None,
                Some(rest) => thread::park_timeout(rest),
                None => thread::park(),
            }
        }
    })
}

thread_local! {
    /// One waker a thread, so that waiting allocates nothing.
    static WAKER: Waker = Waker::from(Arc::new(Unpark(thread::current())));
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}
