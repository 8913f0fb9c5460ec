//! How an I/O thread wakes its owner, on Windows: by whoever waits for that.

use std::sync::Arc;
use std::time::Duration;

use busbar_proto::Error;
use parking_lot::{Condvar, Mutex};

use super::IoThread;
use crate::waiter::{Interrupt, Waiter};

/// The owner's side.
pub(super) struct Bell(Arc<Signal>);

/// The thread's side.
pub(super) struct Ringer(Arc<Signal>);

/// Whether somebody has rung since it was cleared.
#[derive(Default)]
pub(crate) struct Signal {
    is_set: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    #[expect(clippy::unnecessary_wraps, reason = "other systems may fail to")]
    pub(super) fn new() -> Result<(Self, Ringer), Error> {
        let event = Arc::new(Signal::default());
        Ok((Self(Arc::clone(&event)), Ringer(event)))
    }

    /// It has done its work.
    pub(super) fn clear(&mut self) {
        *self.0.is_set.lock() = false;
    }
}

impl Ringer {
    pub(super) fn ring(&self) {
        self.0.set();
    }
}

impl Signal {
    pub(crate) fn set(&self) {
        *self.is_set.lock() = true;
        self.changed.notify_all();
    }

    /// Returns once it is set, or after `timeout` (`None`: never).
    pub(crate) fn wait(&self, timeout: Option<Duration>) {
        let is_unset = |is_set: &mut bool| !*is_set;
        let mut is_set = self.is_set.lock();
        match timeout {
            Some(timeout) => {
                self.changed.wait_while_for(&mut is_set, is_unset, timeout);
            }
            None => self.changed.wait_while(&mut is_set, is_unset),
        }
    }
}

impl IoThread {
    /// What tells when [`IoThread::turn`] has to be called, and what ends such a wait.
    #[must_use]
    pub fn waiter(&self) -> (Waiter, Interrupt) {
        let event = || Arc::clone(&self.bell.0);
        (Waiter::of_thread(event()), Interrupt::of_thread(event()))
    }
}
