//! Payload memory outside the ring: loans (mine, to be written) and leases (the peer's, to be
//! read).
//!
//! Both may be dropped on any thread. Dropping puts the chunk on a list that the channel's owner
//! works off ([`Returns`]); the owner is told through a waker.

use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;
use std::task::Waker;

use crossbeam_queue::{ArrayQueue, SegQueue};

use crate::segment::Mapping;
use crate::slab::ChunkId;

/// A chunk that nobody holds any more, and the bytes of its payload.
pub(crate) type Return = (ChunkId, u64);

/// So many returns wait without a heap allocation; more are rare.
const ROOM: usize = 256;

/// Chunks on their way back to the channel that they came from, in no particular order.
#[derive(Debug)]
pub(crate) struct Returns {
    queue: ArrayQueue<Return>,
    overflow: SegQueue<Return>,
    waker: Waker,
}

impl Returns {
    pub(crate) fn new(waker: Waker) -> Arc<Self> {
        Arc::new(Self { queue: ArrayQueue::new(ROOM), overflow: SegQueue::new(), waker })
    }

    #[inline]
    pub(crate) fn pop(&self) -> Option<Return> {
        // Asking first spares the common case the locked instructions.
        if self.is_empty() { None } else { self.queue.pop().or_else(|| self.overflow.pop()) }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.overflow.is_empty()
    }

    fn push(&self, returned: Return) {
        if let Err(returned) = self.queue.push(returned) {
            self.overflow.push(returned);
        }
        self.waker.wake_by_ref();
    }
}

/// The bytes of one chunk, with what keeps them alive and takes them back.
#[derive(Debug)]
struct Held {
    memory: Arc<Mapping>,
    start: NonNull<u8>,
    len: usize,
    chunk: ChunkId,
    /// `None` once there is nothing to give back any more.
    returns: Option<Arc<Returns>>,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(returns) = self.returns.take() {
            returns.push((self.chunk, self.len as u64));
        }
    }
}

// SAFETY: `Held` is an address range inside a `Send + Sync` mapping, and its return list is a
// concurrent queue.
unsafe impl Send for Held {}

// SAFETY: as for `Send`; `&Held` gives nothing away.
unsafe impl Sync for Held {}

/// A chunk of one's own slab: write it, then commit it. Dropping it gives it back unsent.
#[derive(Debug)]
pub struct Loan(Held);

impl Loan {
    /// # Safety
    /// 1. `start..start + len` lies inside the slab of `memory`, which is mapped writable.
    /// 2. The slab has allocated that range as `chunk` and gives it to nobody else until the chunk
    ///    comes back through `returns`.
    /// 3. The peer has not been told of the chunk in its present generation.
    pub(crate) unsafe fn new(
        memory: Arc<Mapping>,
        start: NonNull<u8>,
        len: usize,
        chunk: ChunkId,
        returns: Arc<Returns>,
    ) -> Self {
        Self(Held { memory, start, len, chunk, returns: Some(returns) })
    }

    pub(crate) fn belongs_to(&self, returns: &Arc<Returns>) -> bool {
        self.0.returns.as_ref().is_some_and(|own| Arc::ptr_eq(own, returns))
    }

    pub(crate) fn chunk(&self) -> ChunkId {
        self.0.chunk
    }

    /// Ends the loan without giving the chunk back: the peer has it now.
    pub(crate) fn into_sent(mut self) {
        self.0.returns = None;
    }
}

impl Deref for Loan {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: by the contract of `new` the range is ours alone, and mapped while `memory` is.
        unsafe { std::slice::from_raw_parts(self.0.start.as_ptr(), self.0.len) }
    }
}

impl DerefMut for Loan {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `deref`, and `&mut self` makes it exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.0.start.as_ptr(), self.0.len) }
    }
}

/// A payload in the peer's slab, readable until dropped.
///
/// A well-behaved peer leaves the bytes alone until the lease is returned. A hostile one may change
/// them at any time, which is why channels with a hostile peer copy and never hand out leases.
#[derive(Debug)]
pub struct Lease(Held);

impl Lease {
    /// # Safety
    /// 1. `start..start + len` lies inside the slab of `memory`.
    /// 2. The peer is trusted to leave those bytes alone until the chunk comes back.
    pub(crate) unsafe fn new(
        memory: Arc<Mapping>,
        start: NonNull<u8>,
        len: usize,
        chunk: ChunkId,
        returns: Arc<Returns>,
    ) -> Self {
        Self(Held { memory, start, len, chunk, returns: Some(returns) })
    }
}

impl Lease {
    /// Forgets what this process has written over the payload, as JavaScript may: to be called
    /// before the lease is dropped if it was handed to somebody who can write.
    pub fn discard_writes(&self) {
        self.0.memory.discard_writes(self.0.start, self.0.len);
    }
}

impl Deref for Lease {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: by the contract of `new` the range is mapped and unchanging while on lease.
        unsafe { std::slice::from_raw_parts(self.0.start.as_ptr(), self.0.len) }
    }
}
