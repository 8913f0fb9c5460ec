//! Memory of large messages, used again.
//!
//! The system's allocator gives large pieces back to the system, which then hands out pages that
//! are not there yet: 256 faults for each message of 1 MiB, which cost more than to copy it. So a
//! few pieces are kept, for the whole process and bounded in bytes: what one pipe has received
//! serves the next message of any other, on whatever thread it is dropped.

use std::mem;
use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Smaller pieces are the allocator's business: those it keeps.
const BYTES_MIN: usize = 32 * 1024;

/// Bytes that are kept, all pieces together.
const KEPT_BYTES_MAX: usize = 16 << 20;

/// Pieces that are kept.
const KEPT_MAX: usize = 64;

static KEPT: Mutex<Kept> = Mutex::new(Kept::new());

/// A received message that was put together in this process. To keep it for long is to keep its
/// memory from others: copy it then.
#[derive(Debug, PartialEq, Eq)]
pub struct Block(Vec<u8>);

impl Block {
    /// A copy of `bytes`.
    pub(crate) fn copy_from_slice(bytes: &[u8]) -> Self {
        let mut memory = take(bytes.len()).unwrap_or_else(|| Vec::with_capacity(bytes.len()));
        memory.extend_from_slice(bytes);
        Self(memory)
    }
}

impl From<Vec<u8>> for Block {
    fn from(memory: Vec<u8>) -> Self {
        Self(memory)
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        keep(mem::take(&mut self.0));
    }
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// Memory for `len` bytes, with nothing in it, if some is kept that is not much larger.
pub(crate) fn take(len: usize) -> Option<Vec<u8>> {
    if len < BYTES_MIN { None } else { kept().take(len) }
}

/// Keeps memory for the next who needs some, or frees it.
pub(crate) fn keep(mut memory: Vec<u8>) {
    memory.clear();
    if (BYTES_MIN..=KEPT_BYTES_MAX).contains(&memory.capacity()) {
        // What is in excess is freed when nobody waits for it.
        let _excess = kept().keep(memory);
    }
}

fn kept() -> MutexGuard<'static, Kept> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is kept, that of the last user at the end.
struct Kept {
    pieces: Vec<Vec<u8>>,
    bytes: usize,
}

impl Kept {
    const fn new() -> Self {
        Self { pieces: Vec::new(), bytes: 0 }
    }

    fn take(&mut self, len: usize) -> Option<Vec<u8>> {
        // The last user's is in the processor's caches.
        let fits = |piece: &Vec<u8>| (len..=2 * len).contains(&piece.capacity());
        let at = self.pieces.iter().rposition(fits)?;
        let piece = self.pieces.remove(at);
        self.bytes -= piece.capacity();
        Some(piece)
    }

    /// Returns what had to go for it.
    fn keep(&mut self, piece: Vec<u8>) -> Vec<Vec<u8>> {
        self.bytes += piece.capacity();
        self.pieces.push(piece);
        let mut excess = 0;
        while self.bytes > KEPT_BYTES_MAX || self.pieces.len() - excess > KEPT_MAX {
            self.bytes -= self.pieces[excess].capacity();
            excess += 1;
        }
        self.pieces.drain(..excess).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(capacity: usize) -> Vec<u8> {
        Vec::with_capacity(capacity)
    }

    /// [D55] memory of a size that is asked for again is used again, the last user's first
    #[test]
    fn memory_is_used_again() {
        let mut kept = Kept::new();
        let (first, second) = (piece(1 << 20), piece(1 << 20));
        let places = [first.as_ptr(), second.as_ptr()];
        assert!(kept.keep(first).is_empty() && kept.keep(second).is_empty());
        let again = [kept.take(1 << 20).unwrap(), kept.take((1 << 20) - 9).unwrap()];
        assert_eq!([again[1].as_ptr(), again[0].as_ptr()], places);
        assert_eq!((kept.take(1 << 20), kept.bytes), (None, 0));
    }

    /// [D59] a small message does not hold the memory of a large one
    #[test]
    fn memory_that_is_much_larger_is_left() {
        let mut kept = Kept::new();
        kept.keep(piece(1 << 20));
        assert_eq!(kept.take((1 << 19) - 1), None);
        assert_eq!(kept.take((1 << 20) + 1), None, "nor is it too small");
        assert!(kept.take(1 << 19).is_some());
    }

    /// [D59] what is kept is bounded in bytes and in number; what was not asked for goes first
    #[test]
    fn what_is_kept_is_bounded() {
        let mut kept = Kept::new();
        for _ in 0..20 {
            kept.keep(piece(1 << 20));
        }
        assert_eq!((kept.pieces.len(), kept.bytes), (16, 16 << 20));
        let excess = kept.keep(piece(3 << 20));
        assert_eq!((excess.len(), kept.bytes), (3, 16 << 20));
        for _ in 0..100 {
            kept.keep(piece(BYTES_MIN));
        }
        assert_eq!((kept.pieces.len(), kept.bytes), (KEPT_MAX, KEPT_MAX * BYTES_MIN));
    }

    /// [D55] a message that was dropped leaves its memory, and none of its bytes, to the next
    #[test]
    fn a_dropped_message_leaves_its_memory() {
        // A size that no other test asks for: the memory is that of the process.
        let len = (7 << 20) + 12_345;
        let place = {
            let block = Block::copy_from_slice(&vec![7; len]);
            block.as_ptr()
        };
        let again = take(len).expect("it was kept");
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
    }
}
