//! A way into an instance for one thread that goes often: it says that it is inside by plain
//! stores, where [`Gate::enter`](crate::gate::Gate::enter) needs two atomic additions, which cost
//! more than a short call. Whoever closes the gate pays instead, by a barrier on all threads of the
//! process.
//!
//! ```text
//! inside = 1                          word |= CLOSED
//! (barrier: compiler only)            (barrier: every thread, by the kernel)
//! word is open? go in                 inside = 0? then nobody is, and nobody will be
//! ```
//!
//! Of two threads that each write and then read what the other writes, one must see the other's:
//! that takes a full barrier on both sides, or one on all threads by one of them. Where the kernel
//! has none, both sides have a fence, which is still half of what `enter` costs.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU32, Ordering, compiler_fence, fence};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// How often its thread is inside: once more for each call within a call.
#[derive(Debug, Default)]
struct Inside(
    /// Written by the passage's thread, read by whoever waits for a gate to be empty.
    AtomicU32,
);

/// For the thread that made it alone.
#[derive(Debug)]
pub(crate) struct Passage {
    inside: Arc<Inside>,
    /// Whether who closes a gate has a barrier for all threads.
    is_light: bool,
    _thread: PhantomData<*const ()>,
}

impl Passage {
    /// Before the gate's word is read.
    #[inline]
    pub(crate) fn enter(&self) {
        self.count_in();
        self.barrier();
    }

    /// Before the gate's word is read, once more.
    #[inline]
    pub(crate) fn leave(&self) {
        self.count_out();
        self.barrier();
    }

    /// Whether a barrier for the compiler is enough here: then so are the two below.
    pub(crate) fn is_light(&self) -> bool {
        self.is_light
    }

    /// As [`Self::enter`] of one that is light, without asking whether it is.
    #[inline(always)]
    pub(crate) fn enter_lightly(&self) {
        debug_assert!(self.is_light);
        self.count_in();
        compiler_fence(Ordering::SeqCst);
    }

    /// As [`Self::leave`], likewise.
    #[inline(always)]
    pub(crate) fn leave_lightly(&self) {
        debug_assert!(self.is_light);
        self.count_out();
        compiler_fence(Ordering::SeqCst);
    }

    /// Whether its thread is in a call that came this way.
    pub(crate) fn is_in_use(&self) -> bool {
        self.inside.0.load(Ordering::Relaxed) != 0
    }

    #[inline(always)]
    fn count_in(&self) {
        let inside = self.inside.0.load(Ordering::Relaxed);
        self.inside.0.store(inside + 1, Ordering::Relaxed);
    }

    #[inline(always)]
    fn count_out(&self) {
        let inside = self.inside.0.load(Ordering::Relaxed);
        // SYNC POINT passage-empty: what was done inside is seen by who waits for the last.
        self.inside.0.store(inside - 1, Ordering::Release);
    }

    #[inline]
    fn barrier(&self) {
        if self.is_light { compiler_fence(Ordering::SeqCst) } else { fence(Ordering::SeqCst) }
    }
}

/// The passages of a gate.
#[derive(Debug, Default)]
pub(crate) struct Passages(Mutex<Vec<Weak<Inside>>>);

impl Passages {
    /// One more, for this thread.
    pub(crate) fn open(&self) -> Passage {
        let inside = Arc::new(Inside::default());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| one.strong_count() > 0);
        all.push(Arc::downgrade(&inside));
        Passage { inside, is_light: barrier::is_there(), _thread: PhantomData }
    }

    /// After the gate's word was written: whoever enters from here on reads it.
    pub(crate) fn settle(&self) {
        if barrier::is_there() { barrier::run() } else { fence(Ordering::SeqCst) }
    }

    /// Whether nobody is inside. Of passages that are gone nobody is.
    pub(crate) fn are_empty(&self) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // SYNC POINT passage-empty.
        let is_empty = |one: Arc<Inside>| one.0.load(Ordering::Acquire) == 0;
        all.iter().filter_map(Weak::upgrade).all(is_empty)
    }
}

/// A barrier on all threads of the process that are running.
#[cfg(target_os = "linux")]
mod barrier {
    use std::sync::OnceLock;

    /// Whether there is one; to be asked before `run`.
    pub(super) fn is_there() -> bool {
        static IS_THERE: OnceLock<bool> = OnceLock::new();
        *IS_THERE.get_or_init(|| call(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0)
    }

    pub(super) fn run() {
        let outcome = call(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED);
        // It fails for processes that have not registered, and for no other reason.
        debug_assert_eq!(outcome, 0);
    }

    fn call(command: libc::c_int) -> libc::c_long {
        // SAFETY: the system call takes three integers and touches no memory of ours.
        unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) }
    }
}

#[cfg(not(target_os = "linux"))]
mod barrier {
    pub(super) fn is_there() -> bool {
        false
    }

    pub(super) fn run() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [Z06] a passage that is gone keeps nobody waiting
    #[test]
    fn what_is_gone_is_empty() {
        let passages = Passages::default();
        let (passage, other) = (passages.open(), passages.open());
        passage.enter();
        other.enter();
        other.leave();
        assert!(!passages.are_empty());
        passage.enter();
        passage.leave();
        assert!(!passages.are_empty());
        drop(passage);
        assert!(passages.are_empty());
    }
}
