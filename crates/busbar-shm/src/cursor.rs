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
}

impl TxCursor {
    pub(crate) fn new(
        own_tail: Word<AtomicU64>,
        peer_head: Word<AtomicU64>,
        capacity: u64,
    ) -> Self {
        Self { own_tail, peer_head, capacity, tail: 0, published: 0, head: 0 }
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
        if free >= wanted {
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
}

impl RxCursor {
    /// `align` is what every tail must be a multiple of.
    pub(crate) fn new(
        own_head: Word<AtomicU64>,
        peer_tail: Word<AtomicU64>,
        capacity: u64,
        align: u64,
    ) -> Self {
        Self { own_head, peer_tail, capacity, align, head: 0, released: 0, tail: 0 }
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
        if known >= wanted {
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
