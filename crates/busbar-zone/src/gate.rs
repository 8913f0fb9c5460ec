//! Who is inside an instance, and whether anybody may still enter: one word, so that entering costs
//! one atomic addition and cannot race with closing.
//!
//! ```text
//! bit 63     closed     nobody enters any more
//! bit 62     faulted    closed because of a panic
//! bits 0–61  inside     calls, and tokens that are not completed
//! ```

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use crate::passage::{Passage, Passages};
use crate::sync::{AtomicU64, Condvar, Mutex, Ordering};

const CLOSED: u64 = 1 << 63;
const FAULTED: u64 = 1 << 62;
const INSIDE: u64 = FAULTED - 1;

/// Why somebody may not enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Closed,
    Faulted,
}

/// The word, and where the one waits who closes it.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    word: AtomicU64,
    /// Ways in beside the word's count.
    passages: Passages,
    /// Whoever leaves a closed gate last, or last but one, says so while holding it.
    lock: Mutex<()>,
    empty: Condvar,
}

impl Gate {
    /// One more is inside, until [`Self::leave`].
    #[inline]
    pub(crate) fn enter(&self) -> Result<(), Refusal> {
        // SYNC POINT gate-open: what was made ready before calls is seen by who enters.
        let before = self.word.fetch_add(1, Ordering::Acquire);
        let Some(refusal) = refusal(before) else { return Ok(()) };
        self.leave();
        Err(refusal)
    }

    /// A way in for this thread that costs no atomic addition.
    pub(crate) fn passage(&self) -> Passage {
        self.passages.open()
    }

    /// As [`Self::enter`], by a passage of this gate, until [`Self::leave_by`].
    #[inline]
    pub(crate) fn enter_by(&self, passage: &Passage) -> Result<(), Refusal> {
        passage.enter();
        // SYNC POINT gate-open.
        let Some(refusal) = refusal(self.word.load(Ordering::Acquire)) else { return Ok(()) };
        self.leave_by(passage);
        Err(refusal)
    }

    /// Out, by the passage that was entered.
    #[inline]
    pub(crate) fn leave_by(&self, passage: &Passage) {
        passage.leave();
        if self.word.load(Ordering::Relaxed) & CLOSED != 0 {
            self.wake();
        }
    }

    /// As [`Self::enter_by`], by a passage that is light; whether this is inside, until
    /// [`Self::leave_lightly_by`].
    #[inline(always)]
    pub(crate) fn try_enter_lightly_by(&self, passage: &Passage) -> bool {
        passage.enter_lightly();
        // SYNC POINT gate-open.
        let is_open = self.word.load(Ordering::Acquire) < FAULTED;
        if !is_open {
            self.turn_back(passage);
        }
        is_open
    }

    #[cold]
    #[inline(never)]
    fn turn_back(&self, passage: &Passage) {
        self.leave_by(passage);
    }

    /// As [`Self::leave_by`], by a passage that is light.
    #[inline(always)]
    pub(crate) fn leave_lightly_by(&self, passage: &Passage) {
        passage.leave_lightly();
        if self.word.load(Ordering::Relaxed) & CLOSED != 0 {
            self.wake();
        }
    }

    /// Who is inside counts once more, whether or not others may enter.
    pub(crate) fn enter_again(&self) {
        self.word.fetch_add(1, Ordering::Relaxed);
    }

    /// One is out.
    #[inline]
    pub(crate) fn leave(&self) {
        // SYNC POINT gate-empty: what was done inside is seen by who waits for the last.
        let before = self.word.fetch_sub(1, Ordering::Release);
        if before & CLOSED != 0 && before & INSIDE <= 2 {
            self.wake();
        }
    }

    #[cold]
    #[inline(never)]
    fn wake(&self) {
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
        self.empty.notify_all();
    }

    /// Nobody enters any more.
    pub(crate) fn close(&self) {
        self.word.fetch_or(CLOSED, Ordering::AcqRel);
        self.passages.settle();
    }

    /// As [`Self::close`], if nobody is inside; whether it is closed.
    pub(crate) fn close_if_empty(&self) -> bool {
        let word = &self.word;
        if word.compare_exchange(0, CLOSED, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return self.is_closed();
        }
        self.passages.settle();
        let is_empty = self.passages.are_empty();
        if !is_empty {
            self.reopen();
        }
        is_empty
    }

    /// As [`Self::close`], because of a panic; whether it is the first.
    pub(crate) fn fault(&self) -> bool {
        self.word.fetch_or(CLOSED | FAULTED, Ordering::AcqRel) & FAULTED == 0
    }

    /// Whether nobody may enter any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.refusal().is_some()
    }

    /// Why nobody may, if so.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        refusal(self.word.load(Ordering::Acquire))
    }

    /// How many are inside.
    pub(crate) fn inside(&self) -> usize {
        (self.word.load(Ordering::Relaxed) & INSIDE) as usize
    }

    /// Whoever may enter again what was closed; not after a panic.
    pub(crate) fn reopen(&self) {
        self.word.fetch_and(!CLOSED, Ordering::AcqRel);
    }

    /// Waits until nobody is inside a closed gate; whether that came to be.
    pub(crate) fn wait_empty(&self, deadline: Instant) -> bool {
        self.wait_for(0, deadline)
    }

    /// As [`Self::wait_empty`], for one who is inside: until there are no others.
    pub(crate) fn wait_alone(&self, deadline: Instant) -> bool {
        self.wait_for(1, deadline)
    }

    fn wait_for(&self, most: u64, deadline: Instant) -> bool {
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        // SYNC POINT gate-empty.
        while self.word.load(Ordering::Acquire) & INSIDE > most || !self.passages.are_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                return false;
            }
            let waited = self.empty.wait_timeout(guard, left);
            guard = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

#[inline]
fn refusal(word: u64) -> Option<Refusal> {
    match (word & CLOSED != 0, word & FAULTED != 0) {
        (false, false) => None,
        (_, true) => Some(Refusal::Faulted),
        (true, false) => Some(Refusal::Closed),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;

    /// [Z06] a closed gate lets nobody in, and says when the last is out
    #[test]
    fn a_closed_gate_empties() {
        let gate = Arc::new(Gate::default());
        assert_eq!(gate.enter(), Ok(()));
        gate.close();
        assert_eq!(gate.enter(), Err(Refusal::Closed));
        assert!(!gate.wait_empty(Instant::now() + Duration::from_millis(5)));
        let other = thread::spawn({
            let gate = Arc::clone(&gate);
            move || gate.leave()
        });
        assert!(gate.wait_empty(Instant::now() + Duration::from_secs(20)));
        other.join().expect("no panic");
    }

    /// [Z17] of several panics one is the first, and all others are told
    #[test]
    fn a_fault_closes() {
        let gate = Gate::default();
        assert!(gate.fault());
        assert!(!gate.fault());
        assert_eq!(gate.enter(), Err(Refusal::Faulted));
        assert!(gate.wait_empty(Instant::now()));
    }

    /// [Z06] as below, of threads with passages, and with calls within calls
    #[test]
    fn nobody_passes_an_empty_gate() {
        for round in 0..400 {
            let (gate, inside) = (Arc::new(Gate::default()), Arc::new(AtomicU64::new(0)));
            let threads: Vec<_> = (0..3)
                .map(|_| {
                    let (gate, inside) = (Arc::clone(&gate), Arc::clone(&inside));
                    thread::spawn(move || {
                        let passage = gate.passage();
                        while gate.enter_by(&passage).is_ok() {
                            inside.fetch_add(1, Ordering::Relaxed);
                            if gate.enter_by(&passage).is_ok() {
                                gate.leave_by(&passage);
                            }
                            inside.fetch_sub(1, Ordering::Relaxed);
                            gate.leave_by(&passage);
                        }
                    })
                })
                .collect();
            for _ in 0..round % 8 {
                thread::yield_now();
            }
            gate.close();
            assert!(gate.wait_empty(Instant::now() + Duration::from_secs(20)));
            assert_eq!(inside.load(Ordering::Relaxed), 0);
            for thread in threads {
                thread.join().expect("no panic");
            }
        }
    }

    /// [Z06] nobody is inside after it was found empty, whatever threads come and go
    #[test]
    fn nobody_is_inside_an_empty_gate() {
        for _ in 0..200 {
            let (gate, inside) = (Arc::new(Gate::default()), Arc::new(AtomicU64::new(0)));
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    let (gate, inside) = (Arc::clone(&gate), Arc::clone(&inside));
                    thread::spawn(move || {
                        while gate.enter().is_ok() {
                            inside.fetch_add(1, Ordering::Relaxed);
                            inside.fetch_sub(1, Ordering::Relaxed);
                            gate.leave();
                        }
                    })
                })
                .collect();
            thread::yield_now();
            gate.close();
            assert!(gate.wait_empty(Instant::now() + Duration::from_secs(20)));
            assert_eq!(inside.load(Ordering::Relaxed), 0);
            for thread in threads {
                thread.join().expect("no panic");
            }
        }
    }
}
