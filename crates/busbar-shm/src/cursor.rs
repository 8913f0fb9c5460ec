//! Positions of a single-producer, single-consumer queue whose two ends do not trust each other.
//!
//! A cursor is one end: it owns one word and reads the other. It hands out ranges of positions and
//! knows nothing of what lies there, so that the record ring and the release ring (and the loom
//! models) share it. Positions count up for ever; 2⁶⁴ bytes last longer than the hardware.
//!
//! | word | written by | read by | order |
//! |---|---|---|---|
//! | tail | [`TxCursor::publish`] | [`RxCursor::available`] | Release / Acquire: SYNC POINT: ring data |
//! | head | [`RxCursor::release`] | [`TxCursor::free`] | Release / Acquire: SYNC POINT: ring space |

use crate::control::Word;
use crate::error::Breach;
use crate::sync::{AtomicU64, Ordering};

/// The producing end. Whoever holds it is the only producer.
pub struct TxCursor {
    own_tail: Word<AtomicU64>,
    peer_head: Word<AtomicU64>,
    capacity: u64,
    tail: u64,
    published: u64,
    head: u64,
    /// The peer's word is not looked at any more.
    ended: bool,
}

impl TxCursor {
    pub(crate) fn new(
        own_tail: Word<AtomicU64>,
        peer_head: Word<AtomicU64>,
        capacity: u64,
    ) -> Self {
        Self { own_tail, peer_head, capacity, tail: 0, published: 0, head: 0, ended: false }
    }

    /// Units that may be claimed. Looks at the peer's word only when the known space is below
    /// `wanted`.
    ///
    /// # Errors
    /// [`Breach::Position`] if the peer claims to have consumed what was never published, or to
    /// have un-consumed.
    #[inline]
    pub fn free(&mut self, wanted: u64) -> Result<u64, Breach> {
        let free = self.capacity - (self.tail - self.head);
        if free >= wanted || self.ended {
            return Ok(free);
        }
        // SYNC POINT: ring space
        let head = self.peer_head.load(Ordering::Acquire);
        if head < self.head || head > self.published {
            return Err(Breach::Position);
        }
        self.head = head;
        Ok(self.capacity - (self.tail - head))
    }

    /// Takes a last look at the peer's word: what it gives back later does not count.
    ///
    /// # Errors
    /// As [`TxCursor::free`].
    pub(crate) fn end(&mut self) -> Result<(), Breach> {
        let looked = self.free(u64::MAX).map(|_| ());
        self.ended = true;
        looked
    }

    /// Takes `units`, which [`TxCursor::free`] has shown to be free, and returns their position.
    #[inline]
    pub fn claim(&mut self, units: u64) -> u64 {
        debug_assert!(self.tail + units - self.head <= self.capacity, "claimed without asking");
        let position = self.tail;
        self.tail += units;
        position
    }

    /// Makes everything claimed visible to the consumer; `false` if there was nothing new.
    #[inline]
    pub fn publish(&mut self) -> bool {
        if self.published == self.tail {
            return false;
        }
        self.published = self.tail;
        // SYNC POINT: ring data
        self.own_tail.store(self.tail, Ordering::Release);
        true
    }

    /// Units that the consumer has not released yet, as far as is known.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.tail - self.head
    }
}

/// The consuming end. Whoever holds it is the only consumer.
pub struct RxCursor {
    own_head: Word<AtomicU64>,
    peer_tail: Word<AtomicU64>,
    capacity: u64,
    align: u64,
    head: u64,
    released: u64,
    tail: u64,
    /// The peer's word is not looked at any more.
    ended: bool,
}

impl RxCursor {
    /// `align` is what every tail must be a multiple of.
    pub(crate) fn new(
        own_head: Word<AtomicU64>,
        peer_tail: Word<AtomicU64>,
        capacity: u64,
        align: u64,
    ) -> Self {
        let (head, released, tail) = (0, 0, 0);
        Self { own_head, peer_tail, capacity, align, head, released, tail, ended: false }
    }

    /// Units that can be consumed. Looks at the peer's word only when fewer than `wanted` are
    /// known.
    ///
    /// # Errors
    /// [`Breach::Position`] if the peer's tail went back, ran more than the capacity ahead, or is
    /// misaligned.
    #[inline]
    pub fn available(&mut self, wanted: u64) -> Result<u64, Breach> {
        let known = self.tail - self.head;
        if known >= wanted || self.ended {
            return Ok(known);
        }
        // SYNC POINT: ring data
        let tail = self.peer_tail.load(Ordering::Acquire);
        if tail == self.tail {
            return Ok(known);
        }
        let ahead = tail.wrapping_sub(self.released);
        if tail < self.tail || ahead > self.capacity || !tail.is_multiple_of(self.align) {
            return Err(Breach::Position);
        }
        self.tail = tail;
        Ok(tail - self.head)
    }

    /// Takes a last look at the peer's word: what is published later is not there. Without this, a
    /// peer that has ended could go on writing, and its end would never be reached.
    ///
    /// # Errors
    /// As [`RxCursor::available`].
    pub fn end(&mut self) -> Result<(), Breach> {
        let looked = self.available(u64::MAX).map(|_| ());
        self.ended = true;
        looked
    }

    /// The position that [`RxCursor::consume`] goes on from.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.head
    }

    /// Steps over `units`, which [`RxCursor::available`] has shown to be there.
    #[inline]
    pub fn consume(&mut self, units: u64) {
        debug_assert!(self.head + units <= self.tail, "consumed without asking");
        self.head += units;
    }

    /// Units consumed that the producer may not reuse yet.
    #[inline]
    #[must_use]
    pub fn unreleased(&self) -> u64 {
        self.head - self.released
    }

    /// Lets the producer reuse everything consumed; `false` if there was nothing new.
    #[inline]
    pub fn release(&mut self) -> bool {
        if self.released == self.head {
            return false;
        }
        self.released = self.head;
        // SYNC POINT: ring space
        self.own_head.store(self.head, Ordering::Release);
        true
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::rig::Rig;

    /// [D42] Space and data move from end to end, round and round.
    #[test]
    fn positions_go_round() {
        let (mut tx, mut rx) = Rig::new().ring(64, 8);
        for lap in 0..10 {
            assert_eq!(tx.free(64), Ok(64));
            assert_eq!(tx.claim(40), lap * 40);
            assert_eq!(rx.available(1), Ok(0), "not published yet");
            assert!(tx.publish());
            assert!(!tx.publish(), "nothing new");
            assert_eq!(tx.in_flight(), 40);
            assert_eq!(rx.available(1), Ok(40));
            assert_eq!(rx.position(), lap * 40);
            rx.consume(40);
            assert_eq!(tx.free(64), Ok(24), "not released yet");
            assert!(rx.release());
            assert!(!rx.release(), "nothing new");
        }
    }

    /// [D42] The other end's word is read only when what is known does not do.
    #[test]
    fn known_space_and_data_are_used_up_first() {
        let (mut tx, mut rx) = Rig::new().ring(64, 8);
        tx.claim(32);
        tx.publish();
        assert_eq!(rx.available(8), Ok(32));
        tx.claim(32);
        tx.publish();
        assert_eq!(rx.available(32), Ok(32));
        assert_eq!(rx.available(33), Ok(64));
        rx.consume(64);
        rx.release();
        assert_eq!(tx.free(0), Ok(0));
        assert_eq!(tx.free(1), Ok(64));
    }

    /// [D42] [D45]
    #[test]
    fn impossible_tails_are_breaches() {
        for tail in [0, 8, 12, 16 + 64 + 8, u64::MAX, u64::MAX - 7, 1 << 63] {
            let rig = Rig::new();
            let (_, mut rx) = rig.ring(64, 8);
            rig.left.tx_tail().store(16, Ordering::Relaxed);
            assert_eq!(rx.available(1), Ok(16));
            rx.consume(16);
            rx.release();
            rig.left.tx_tail().store(tail, Ordering::Relaxed);
            assert_eq!(rx.available(1), Err(Breach::Position), "{tail}");
        }
    }

    /// [D42] [D45] What is consumed but not released yet is still the consumer's.
    #[test]
    fn a_tail_may_not_enter_what_was_not_released() {
        let rig = Rig::new();
        let (_, mut rx) = rig.ring(64, 8);
        rig.left.tx_tail().store(64, Ordering::Relaxed);
        assert_eq!(rx.available(64), Ok(64));
        rx.consume(64);
        rig.left.tx_tail().store(72, Ordering::Relaxed);
        assert_eq!(rx.available(1), Err(Breach::Position));
    }

    /// [D42] [D45]
    #[test]
    fn impossible_heads_are_breaches() {
        for head in [0, 15, 25, 32, 1 << 63, u64::MAX] {
            let rig = Rig::new();
            let (mut tx, _) = rig.ring(64, 8);
            tx.claim(24);
            tx.publish();
            tx.claim(8); // not published: nobody can have consumed it
            rig.right.rx_head().store(16, Ordering::Relaxed);
            assert_eq!(tx.free(48), Ok(48));
            rig.right.rx_head().store(head, Ordering::Relaxed);
            assert_eq!(tx.free(64), Err(Breach::Position), "{head}");
        }
    }
}
