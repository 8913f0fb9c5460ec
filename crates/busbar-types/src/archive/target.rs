//! The memory a value is written into. Writing past its end is not an error but counted, so that
//! one pass finds the size a value takes; nothing is stored there.

use std::marker::PhantomData;
use std::ptr;

use rkyv::ser::{Positional, Writer};

/// Where an archive goes.
#[derive(Debug)]
pub struct Target<'a> {
    start: *mut u8,
    available: usize,
    position: usize,
    memory: PhantomData<&'a mut [u8]>,
}

impl<'a> Target<'a> {
    #[inline]
    pub(super) fn new(out: &'a mut [u8]) -> Self {
        let available = out.len();
        Self { start: out.as_mut_ptr(), available, position: 0, memory: PhantomData }
    }

    /// # Safety
    /// `start` must be valid for exclusive writes of `available` bytes during `'a`.
    #[inline]
    pub(super) unsafe fn from_raw(start: *mut u8, available: usize) -> Self {
        Self { start, available, position: 0, memory: PhantomData }
    }

    #[inline]
    pub(super) fn available(&self) -> usize {
        self.available
    }

    /// How many bytes were written or would have been, had there been room.
    #[inline]
    pub(super) fn written(&self) -> usize {
        self.position
    }
}

impl Positional for Target<'_> {
    #[inline]
    fn pos(&self) -> usize {
        self.position
    }
}

impl<E> Writer<E> for Target<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), E> {
        let end = self.position + bytes.len();
        if end <= self.available {
            // SAFETY: `position <= end <= available`, so it is inside the memory or at its end.
            let to = unsafe { self.start.add(self.position) };
            // SAFETY: `bytes.len()` bytes fit behind `to`, are ours alone by construction, and so
            // cannot overlap with `bytes`, which somebody else lends.
            unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
        }
        self.position = end;
        Ok(())
    }
}
