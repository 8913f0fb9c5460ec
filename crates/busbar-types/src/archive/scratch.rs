//! Working memory of a serialization: first a piece of the stack, then an arena that the thread
//! keeps. rkyv needs it only for lists whose elements point elsewhere, one resolver an element.

use std::alloc::Layout;
use std::cell::Cell;
use std::fmt;
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
    stack: &'a mut StackScratch,
    used: usize,
    overflow: Option<Overflow>,
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
        Self { stack, used: 0, overflow: None }
    }

    fn stack_start(&mut self) -> NonNull<u8> {
        NonNull::from(&mut *self.stack).cast()
    }
}

// SAFETY: memory comes from the stack piece, whose first `used` bytes are lent, or from an arena,
// never the same bytes twice before they are given back; both kinds are given back in reverse order
// because the whole is.
unsafe impl Allocator<BoxedError> for Scratch<'_> {
    #[inline]
    unsafe fn push_alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, BoxedError> {
        let start = self.stack_start();
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
        let start = self.stack_start().as_ptr().addr();
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
