//! Memory to read into, which idle connections do not keep.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// Bytes of a buffer: as much as one read is asked for, and some of the largest frames.
pub(super) const BUFFER_BYTES: usize = 256 * 1024;

/// Buffers that a thread keeps for the next connection that needs one.
const SPARE_MAX: usize = 4;

thread_local! {
    static SPARE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// Nothing, or [`BUFFER_BYTES`] bytes, or more after [`Buffer::grow`].
#[derive(Default)]
pub(super) struct Buffer(Box<[u8]>);

impl Buffer {
    /// Makes sure that there is memory.
    pub(super) fn acquire(&mut self) {
        if self.0.is_empty() {
            let spare = SPARE.try_with(|spare| spare.borrow_mut().pop()).ok().flatten();
            self.0 = spare.unwrap_or_else(|| vec![0; BUFFER_BYTES].into_boxed_slice());
        }
    }

    /// Doubles the memory, which keeps its contents.
    pub(super) fn grow(&mut self) {
        let mut memory = std::mem::take(&mut self.0).into_vec();
        memory.resize(2 * memory.len().max(BUFFER_BYTES), 0);
        self.0 = memory.into_boxed_slice();
    }

    /// Gives the memory back.
    pub(super) fn release(&mut self) {
        if self.0.len() != BUFFER_BYTES {
            self.0 = Box::default();
            return;
        }
        let memory = std::mem::take(&mut self.0);
        // A thread that is ending keeps nothing.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < SPARE_MAX {
                spare.push(memory);
            }
        });
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.release();
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}
