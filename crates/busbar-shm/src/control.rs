//! The words at the front of a segment: what its owner tells the peer.
//!
//! Writer of every word: the segment's owner, and nobody else (the peer's mapping is read-only).
//! docs/formats/segment.md draws the layout; the tests below hold the code to it.

use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;

use crate::sync::{AtomicU32, AtomicU64};

/// Two cache lines: adjacent-line prefetch pulls pairs, so 64 bytes would still share.
#[derive(Debug, Default)]
#[repr(C, align(128))]
struct Padded<T>(T);

/// The control words of one segment.
#[derive(Debug, Default)]
#[repr(C)]
pub struct ControlBlock {
    tx_tail: Padded<AtomicU64>,
    rx_head: Padded<AtomicU64>,
    release_tail: Padded<AtomicU64>,
    release_head: Padded<AtomicU64>,
    park: Padded<AtomicU32>,
}

impl ControlBlock {
    /// Byte position behind the last published record of the owner's ring.
    /// Reader: the peer's consumer (Acquire); written with Release.
    pub(crate) fn tx_tail(&self) -> &AtomicU64 {
        &self.tx_tail.0
    }

    /// Byte position up to which the owner has consumed the *peer's* ring.
    /// Reader: the peer's producer (Acquire); written with Release.
    pub(crate) fn rx_head(&self) -> &AtomicU64 {
        &self.rx_head.0
    }

    /// Count of chunk returns that the owner has written to its release ring.
    /// Reader: the peer's slab (Acquire); written with Release.
    pub(crate) fn release_tail(&self) -> &AtomicU64 {
        &self.release_tail.0
    }

    /// Count of chunk returns that the owner has taken from the *peer's* release ring.
    /// Reader: the peer's release producer (Acquire); written with Release.
    pub(crate) fn release_head(&self) -> &AtomicU64 {
        &self.release_head.0
    }

    /// What the owner sleeps for; see `park.rs`. Reader: the peer's bell; both sides SeqCst.
    pub(crate) fn park(&self) -> &AtomicU32 {
        &self.park.0
    }
}

/// One control word, together with whatever keeps its memory mapped.
pub(crate) struct Word<T: ?Sized> {
    word: NonNull<T>,
    _memory: Arc<dyn Send + Sync>,
}

impl<T: ?Sized> Word<T> {
    /// The word that `pick` finds in `memory`.
    pub(crate) fn of<M: Send + Sync + 'static>(
        memory: &Arc<M>,
        pick: impl for<'a> FnOnce(&'a M) -> &'a T,
    ) -> Self {
        let memory = Arc::clone(memory);
        Self { word: NonNull::from(pick(&memory)), _memory: memory }
    }
}

impl<T: ?Sized> Deref for Word<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: `of` took the pointer from a reference into `_memory`, which is immovable
        // behind its Arc and lives as long as `self`.
        unsafe { self.word.as_ref() }
    }
}

// SAFETY: a `Word` is a shared reference to `T` plus an `Arc` of `Send + Sync` memory; it may go
// wherever `&T` may.
unsafe impl<T: Sync + ?Sized> Send for Word<T> {}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::mem::{align_of, offset_of, size_of};

    use super::*;

    /// [D42] The layout that docs/formats/segment.md shows.
    #[test]
    fn control_block_has_the_documented_layout() {
        assert_eq!(offset_of!(ControlBlock, tx_tail), 0);
        assert_eq!(offset_of!(ControlBlock, rx_head), 128);
        assert_eq!(offset_of!(ControlBlock, release_tail), 256);
        assert_eq!(offset_of!(ControlBlock, release_head), 384);
        assert_eq!(offset_of!(ControlBlock, park), 512);
        assert_eq!(size_of::<ControlBlock>(), 640);
        assert_eq!(align_of::<ControlBlock>(), 128);
        let document = include_str!("../../../docs/formats/segment.md");
        for row in ["| 0 | tx_tail |", "| 128 | rx_head |", "| 512 | park |"] {
            assert!(document.contains(row), "{row}");
        }
    }
}
