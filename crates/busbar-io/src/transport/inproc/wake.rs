//! Where one end sleeps: a waker that the other end calls only while somebody waits.
//!
//! No wake-up is lost, because both sides first write and then look, with sequentially consistent
//! accesses throughout (`X` is the word that the sleeper waits for: `Lane::published`,
//! `Lane::taken` or a close flag):
//!
//! | sleeper | other side |
//! |---|---|
//! | waker := mine | |
//! | parked := true | X := new |
//! | look at X again | look at parked |
//!
//! If the sleeper misses the new X, its look precedes that write in the single total order of
//! sequentially consistent operations; so does its `parked := true`, and the other side's look,
//! which follows the write, sees it. The waker was registered before `parked` was raised, and the
//! swap that lowers `parked` acquires it.
//!
//! A wake-up that was already under way when the sleeper woke by itself may reach the *next* waker
//! it registers: wake-ups can be spurious. Whoever is woken looks, and arms the slot again before
//! it goes back to sleep.

use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use atomic_waker::AtomicWaker;

/// A place for one sleeper.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct WakeSlot {
    /// Raised by the sleeper, lowered by either side. All accesses but lowering are SeqCst.
    parked: AtomicBool,
    waker: AtomicWaker,
}

impl WakeSlot {
    /// Announces sleep. The caller must look once more at what it waits for, and
    /// [`WakeSlot::disarm`] instead of sleeping if it is there.
    pub(super) fn arm(&self, waker: &Waker) {
        self.waker.register(waker);
        // SYNC POINT: inproc-park
        self.parked.store(true, Ordering::SeqCst);
    }

    /// Withdraws [`WakeSlot::arm`].
    pub(super) fn disarm(&self) {
        self.parked.store(false, Ordering::Relaxed);
    }

    /// Wakes the sleeper if there is one; says whether there was. What it waits for must have been
    /// written with `SeqCst` before.
    #[inline]
    pub(super) fn wake(&self) -> bool {
        // SYNC POINT: inproc-park
        self.parked.load(Ordering::SeqCst) && self.wake_parked()
    }

    #[cold]
    fn wake_parked(&self) -> bool {
        let parked = self.parked.swap(false, Ordering::AcqRel);
        if parked {
            self.waker.wake();
        }
        parked
    }
}
