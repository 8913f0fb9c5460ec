//! Working memory of a serialization: first a piece of the stack, then an arena that the thread
//! keeps. rkyv needs it only for lists whose elements point elsewhere, one resolver an element.

use std::alloc::Layout;
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use rkyv::rancor::BoxedError;
use rkyv::ser::Allocator;
use rkyv::ser::allocator::{Arena, ArenaHandle};

/// Enough for a list of 128 strings.
pub(super) const STACK_BYTES: usize = 1024;

/// A thread does not keep an arena that one enormous value made larger than this.
const KEPT_BYTES_MAX: usize = 4 << 20;

pub(super) type StackScratch = MaybeUninit<[u64; STACK_BYTES / 8]>;

thread_local! {
    static KEPT: Cell<Option<Box<Arena>>> = const { Cell::new(None) };
}

/// The working memory of one serialization.
#[derive(Debug)]
pub struct Scratch<'a> {
    /// Made once: what is lent points into the piece by this pointer, and a new borrow of the piece
    /// would end it.
    stack: NonNull<u8>,
    used: usize,
    overflow: Option<Overflow>,
    borrowed: PhantomData<&'a mut StackScratch>,
}

/// The arena, and the handle that borrows from it.
struct Overflow {
    handle: ArenaHandle<'static>,
    arena: NonNull<Arena>,
}

impl fmt::Debug for Overflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overflow").finish_non_exhaustive()
    }
}

impl Overflow {
    #[cold]
    fn new() -> Self {
        let arena = KEPT.try_with(Cell::take).ok().flatten().unwrap_or_default();
        let arena = NonNull::from(Box::leak(arena));
        // SAFETY: the arena was just leaked, is referred to by nothing else, and is taken back in
        // `drop`, when the handle is not used any more.
        let borrowed: &'static mut Arena = unsafe { &mut *arena.as_ptr() };
        Self { handle: borrowed.acquire(), arena }
    }
}

impl Drop for Overflow {
    fn drop(&mut self) {
        // SAFETY: `arena` came from a leaked box, and `handle`, which has no destructor, is not
        // used after this.
        let mut arena = unsafe { Box::from_raw(self.arena.as_ptr()) };
        if arena.shrink() <= KEPT_BYTES_MAX {
            // At the end of a thread there is no place to keep it any more: it is freed.
            KEPT.try_with(|kept| kept.set(Some(arena))).unwrap_or_default();
        }
    }
}

impl<'a> Scratch<'a> {
    #[inline]
    pub(super) fn new(stack: &'a mut StackScratch) -> Self {
        let stack = NonNull::from(stack).cast();
        Self { stack, used: 0, overflow: None, borrowed: PhantomData }
    }
}

// SAFETY: memory comes from the stack piece, whose first `used` bytes are lent, or from an arena,
// never the same bytes twice before they are given back; both kinds are given back in reverse order
// because the whole is.
unsafe impl Allocator<BoxedError> for Scratch<'_> {
    #[inline]
    unsafe fn push_alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, BoxedError> {
        let start = self.stack;
        let address = start.as_ptr().addr() + self.used;
        let from = self.used + (address.next_multiple_of(layout.align()) - address);
        if from.checked_add(layout.size()).is_some_and(|end| end <= STACK_BYTES) {
            self.used = from + layout.size();
            // SAFETY: `from` is inside the piece or at its end.
            let piece = unsafe { start.add(from) };
            return Ok(NonNull::slice_from_raw_parts(piece, layout.size()));
        }
        let overflow = self.overflow.get_or_insert_with(Overflow::new);
        // SAFETY: the caller keeps to the contract, which is the same.
        unsafe { Allocator::<BoxedError>::push_alloc(&mut overflow.handle, layout) }
    }

    #[inline]
    unsafe fn pop_alloc(&mut self, memory: NonNull<u8>, layout: Layout) -> Result<(), BoxedError> {
        let start = self.stack.as_ptr().addr();
        let address = memory.as_ptr().addr();
        if (start..start + STACK_BYTES).contains(&address) {
            self.used = address - start;
            return Ok(());
        }
        match &mut self.overflow {
            // SAFETY: what is not of the stack is of the arena; the rest is the caller's.
            Some(overflow) => unsafe {
                Allocator::<BoxedError>::pop_alloc(&mut overflow.handle, memory, layout)
            },
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [T02] pieces of working memory stay usable while others are taken and given back, from the
    /// stack and from the arena; Miri sees what is merely lucky
    #[test]
    fn pieces_outlive_those_taken_after_them() {
        let mut stack = StackScratch::uninit();
        let mut scratch = Scratch::new(&mut stack);
        let mut taken: Vec<(NonNull<u8>, Layout)> = Vec::new();
        for (index, size) in [8, 24, 1, 512, 2000, 16].into_iter().enumerate() {
            let layout = Layout::from_size_align(size, 8).expect("a layout");
            // SAFETY: the layout has a size, and what is taken is given back last first.
            let piece = unsafe { Allocator::<BoxedError>::push_alloc(&mut scratch, layout) };
            let piece = piece.expect("memory").cast::<u8>();
            // SAFETY: the piece is ours and that long.
            unsafe { piece.write_bytes(index as u8 + 1, size) };
            taken.push((piece, layout));
        }
        for (index, (piece, layout)) in taken.into_iter().enumerate().rev() {
            // SAFETY: as long as when it was filled, and not given back.
            let bytes = unsafe { std::slice::from_raw_parts(piece.as_ptr(), layout.size()) };
            assert!(bytes.iter().all(|&byte| byte == index as u8 + 1), "piece {index}");
            // SAFETY: it is the one that was taken last.
            let given = unsafe { scratch.pop_alloc(piece, layout) };
            given.expect("given back");
        }
        assert_eq!(scratch.used, 0);
    }
}
