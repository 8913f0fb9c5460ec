//! Whose turn it is to run the methods of an instance that are not thread-safe.

use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One at a time, and never twice on one thread.
#[derive(Default)]
pub(crate) struct Serial {
    lock: Mutex<()>,
    /// The thread whose turn it is; 0 for none. Written by it alone.
    owner: AtomicUsize,
}

pub(crate) struct Turn<'a> {
    serial: &'a Serial,
    _guard: MutexGuard<'a, ()>,
}

impl Serial {
    /// `None` if it is this thread's turn already.
    pub(crate) fn take(&self) -> Option<Turn<'_>> {
        thread_local!(static HERE: Cell<u8> = const { Cell::new(0) });
        let here = HERE.with(|here| ptr::from_ref(here).addr());
        // Only this thread writes its own address.
        if self.owner.load(Ordering::Relaxed) == here {
            return None;
        }
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.owner.store(here, Ordering::Relaxed);
        Some(Turn { serial: self, _guard: guard })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.serial.owner.store(0, Ordering::Relaxed);
    }
}
