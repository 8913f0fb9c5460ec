//! The release ring: chunk returns on their way to the slab that lent them.
//!
//! One word per return, `index | generation << 32`. It cannot overflow: the lender never has more
//! chunks out than the borrower's ring has entries. Nor more bytes than its slab has: a chunk is
//! out until the lender has taken its return, so that one and the same cannot be lent again and
//! again to a borrower who copies it each time.

use std::collections::VecDeque;

use crate::control::Word;
use crate::cursor::{RxCursor, TxCursor};
use crate::error::Breach;
use crate::loan::Return;
use crate::slab::ChunkId;
use crate::sync::{AtomicU64, Ordering};

/// Returns on their way for which there is memory from the start.
const RETURNED: usize = 32;

/// The borrower's end, in its own segment.
pub(crate) struct ReleaseTx {
    entries: Word<[AtomicU64]>,
    cursor: TxCursor,
    /// Payload bytes that are out, and how many may be.
    out_bytes: u64,
    out_bytes_max: u64,
    /// Those of the returns that the lender has not taken, as far as is known.
    returned: VecDeque<u64>,
}

impl ReleaseTx {
    /// `out_bytes_max` is the size of the lender's slab.
    pub(crate) fn new(entries: Word<[AtomicU64]>, cursor: TxCursor, out_bytes_max: u64) -> Self {
        let returned = VecDeque::with_capacity(RETURNED);
        Self { entries, cursor, out_bytes: 0, out_bytes_max, returned }
    }

    /// The peer has lent a chunk with so many bytes of payload.
    ///
    /// # Errors
    /// [`Breach::Chunk`] if it has lent more than it has; [`Breach::Position`].
    pub(crate) fn borrow(&mut self, bytes: u64) -> Result<(), Breach> {
        if self.out_bytes + bytes > self.out_bytes_max {
            self.cursor.free(u64::MAX)?;
            self.settle();
        }
        if self.out_bytes + bytes > self.out_bytes_max {
            return Err(Breach::Chunk);
        }
        self.out_bytes += bytes;
        Ok(())
    }

    /// The peer has ended: what it takes from now on stays out, so that what it has published
    /// comes to no more than its slab.
    pub(crate) fn end(&mut self) -> Result<(), Breach> {
        self.cursor.end()
    }

    /// # Errors
    /// [`Breach::Release`] if the peer lent more chunks than it may, so that the ring is full;
    /// [`Breach::Position`].
    pub(crate) fn give_back(&mut self, (chunk, bytes): Return) -> Result<(), Breach> {
        // Looks at the lender's word before more memory is taken.
        let is_full = self.returned.len() == self.returned.capacity();
        if self.cursor.free(if is_full { u64::MAX } else { 1 })? == 0 {
            return Err(Breach::Release);
        }
        self.settle();
        self.returned.push_back(bytes);
        let position = self.cursor.claim(1);
        let word = u64::from(chunk.index) | u64::from(chunk.generation) << 32;
        // Published by the cursor's Release store.
        self.entry(position).store(word, Ordering::Relaxed);
        Ok(())
    }

    /// Shows the returns to the lender; `false` if there were none.
    pub(crate) fn publish(&mut self) -> bool {
        self.cursor.publish()
    }

    /// What the lender is known to have taken is not out any more.
    fn settle(&mut self) {
        while self.returned.len() as u64 > self.cursor.in_flight() {
            self.out_bytes -= self.returned.pop_front().unwrap_or_default();
        }
    }

    fn entry(&self, position: u64) -> &AtomicU64 {
        entry(&self.entries, position)
    }
}

/// The lender's end, reading the borrower's segment.
pub(crate) struct ReleaseRx {
    entries: Word<[AtomicU64]>,
    cursor: RxCursor,
}

impl ReleaseRx {
    pub(crate) fn new(entries: Word<[AtomicU64]>, cursor: RxCursor) -> Self {
        Self { entries, cursor }
    }

    /// The next return, if one has come.
    ///
    /// # Errors
    /// [`Breach::Position`].
    pub(crate) fn take(&mut self) -> Result<Option<ChunkId>, Breach> {
        if self.cursor.available(1)? == 0 {
            return Ok(None);
        }
        // Visible since the cursor's Acquire load.
        let word = entry(&self.entries, self.cursor.position()).load(Ordering::Relaxed);
        self.cursor.consume(1);
        let [index, generation] = [word & u64::from(u32::MAX), word >> 32]
            .map(|half| u32::try_from(half).expect("invariant: half a word fits"));
        Ok(Some(ChunkId { index, generation }))
    }

    /// Lets the borrower reuse the entries taken.
    pub(crate) fn release(&mut self) {
        self.cursor.release();
    }
}

fn entry(entries: &[AtomicU64], position: u64) -> &AtomicU64 {
    let mask = entries.len() as u64 - 1;
    &entries[usize::try_from(position & mask).expect("invariant: below the length")]
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::rig::Rig;

    fn chunk(n: u32) -> ChunkId {
        ChunkId { index: n, generation: n ^ u32::MAX }
    }

    /// [D43] Returns arrive in order, each once, also round the end of the ring.
    #[test]
    fn returns_arrive_once_and_in_order() {
        let (mut tx, mut rx) = Rig::new().releases(4);
        for lap in 0..5 {
            for n in 0..3 {
                tx.give_back((chunk(lap * 3 + n), 0)).unwrap();
            }
            assert_eq!(rx.take(), Ok(None), "not published yet");
            assert!(tx.publish());
            for n in 0..3 {
                assert_eq!(rx.take(), Ok(Some(chunk(lap * 3 + n))));
            }
            assert_eq!(rx.take(), Ok(None));
            rx.release();
        }
    }

    /// [D43] [D45] A lender that lends more than it may gets no entry overwritten.
    #[test]
    fn one_return_too_many_is_a_breach() {
        let (mut tx, mut rx) = Rig::new().releases(4);
        for n in 0..4 {
            tx.give_back((chunk(n), 0)).unwrap();
        }
        assert_eq!(tx.give_back((chunk(4), 0)), Err(Breach::Release));
        tx.publish();
        assert_eq!(rx.take(), Ok(Some(chunk(0))));
        assert_eq!(tx.give_back((chunk(4), 0)), Err(Breach::Release), "taken, but not released");
        rx.release();
        assert_eq!(tx.give_back((chunk(4), 0)), Ok(()));
    }
}
