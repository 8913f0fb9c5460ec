//! Whether anybody still wants what a blocking method is about.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use busbar_abi::Status;

use crate::{Error, Result};

/// Of the call that asked for it: from [`Cancellation::current`]. Clones are of the same call, and
/// may go to other threads.
///
/// Asynchronous methods need none: their futures are dropped. Inline calls cannot be cancelled.
#[derive(Clone, Debug)]
pub struct Cancellation(Option<Arc<Flag>>);

#[derive(Debug, Default)]
struct Flag {
    is_set: Mutex<bool>,
    set: Condvar,
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<Flag>>> = const { RefCell::new(None) };
}

impl Cancellation {
    /// Of the call that this thread runs.
    #[must_use]
    pub fn current() -> Self {
        Self(CURRENT.with_borrow(Clone::clone))
    }

    /// Whether the caller has given the call up, or the zone closes.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.as_ref().is_some_and(|flag| *flag.lock())
    }

    /// For `?` in loops.
    ///
    /// # Errors
    /// [`Status::CANCELLED`] once it is.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::of(Status::CANCELLED, "cancelled")) } else { Ok(()) }
    }

    /// Sleeps for `duration`, or until it is cancelled; whether it is.
    #[must_use]
    pub fn wait(&self, duration: Duration) -> bool {
        let Some(flag) = &self.0 else {
            std::thread::sleep(duration);
            return false;
        };
        let deadline = Instant::now().checked_add(duration);
        let mut is_set = flag.lock();
        while !*is_set {
            let left = deadline.map_or(duration, |it| it.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                break;
            }
            let waited = flag.set.wait_timeout(is_set, left);
            is_set = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *is_set
    }
}

impl Flag {
    fn lock(&self) -> MutexGuard<'_, bool> {
        self.is_set.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The blocking calls of an instance.
#[derive(Debug, Default)]
pub(crate) struct Blocking(Mutex<Tokens>);

#[derive(Debug, Default)]
struct Tokens {
    running: HashMap<u64, Arc<Flag>>,
    /// The last ones that were cancelled and are not known: they may be about to run. No token is
    /// used twice.
    early: VecDeque<u64>,
}

/// More calls than that are not about to run at the same time.
const EARLY_MAX: usize = 1024;

impl Blocking {
    /// Runs `work` as the call of `token`.
    pub(crate) fn run<T>(&self, token: u64, work: impl FnOnce() -> T) -> T {
        struct Restore<'a>(&'a Blocking, u64, Option<Arc<Flag>>);
        impl Drop for Restore<'_> {
            fn drop(&mut self) {
                CURRENT.set(self.2.take());
                self.0.lock().running.remove(&self.1);
            }
        }
        let flag = Arc::<Flag>::default();
        let mut tokens = self.lock();
        if let Some(at) = tokens.early.iter().position(|early| *early == token) {
            tokens.early.remove(at);
            *flag.lock() = true;
        }
        tokens.running.insert(token, Arc::clone(&flag));
        drop(tokens);
        let _restore = Restore(self, token, CURRENT.replace(Some(flag)));
        work()
    }

    /// Whoever runs `token` may know.
    pub(crate) fn cancel(&self, token: u64) {
        let mut tokens = self.lock();
        let Some(flag) = tokens.running.get(&token) else {
            if tokens.early.len() == EARLY_MAX {
                tokens.early.pop_front();
            }
            return tokens.early.push_back(token);
        };
        *flag.lock() = true;
        flag.set.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Tokens> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [Z17] a call that was cancelled before the plugin knew of it was never told
    #[test]
    fn what_is_cancelled_early_begins_cancelled() {
        let blocking = Blocking::default();
        blocking.cancel(7);
        assert!(!blocking.run(6, || Cancellation::current().is_cancelled()));
        assert!(blocking.run(7, || Cancellation::current().wait(Duration::from_secs(60))));
        assert!(!blocking.run(8, || Cancellation::current().is_cancelled()));
        for token in 10..10 + 2 * EARLY_MAX as u64 {
            blocking.cancel(token);
        }
        assert_eq!(blocking.lock().early.len(), EARLY_MAX);
        assert!(!Cancellation::current().is_cancelled(), "outside of calls");
    }
}
