//! The slab: a buddy allocator over the large-payload region of one's own segment.
//!
//! All its state is private memory: the peer sees payloads, never metadata. The unit is a block of
//! [`BLOCK_BYTES`]; a chunk is 2ⁿ blocks, aligned to its size. Freeing merges buddies at once, so a
//! slab that is all free can again lend its full size.

/// Bytes of the smallest chunk.
pub(crate) const BLOCK_BYTES: u64 = 2048;

const NIL: u32 = u32::MAX;

/// Names one use of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "it is the wire format of a chunk return")]
pub struct ChunkId {
    /// Index of the chunk's first block.
    pub index: u32,
    /// Which use of that block this is.
    pub generation: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Inside a chunk that is named by another block.
    Inner,
    Free,
    /// In the hands of the writer.
    Loaned,
    /// Sent to the peer, not yet given back.
    Lent,
}

#[derive(Clone, Copy, Debug)]
struct Block {
    state: State,
    order: u8,
    generation: u32,
    next: u32,
    previous: u32,
}

/// Allocator of chunks.
#[derive(Debug)]
pub struct Slab {
    blocks: Vec<Block>,
    /// Heads of the free lists, by order.
    free: Vec<u32>,
    /// Blocks from here on were never used.
    untouched: u32,
    lent: u32,
    lent_max: u32,
}

impl Slab {
    /// A slab of `bytes` (0 or a power of two), of which at most `lent_max` chunks may be with the
    /// peer at once.
    #[must_use]
    pub fn new(bytes: u64, lent_max: u32) -> Self {
        let count = u32::try_from(bytes / BLOCK_BYTES).expect("invariant: slabs end at 4 GiB");
        let block =
            Block { state: State::Inner, order: 0, generation: 0, next: NIL, previous: NIL };
        let mut slab = Self {
            blocks: vec![block; count as usize],
            free: Vec::new(),
            untouched: 0,
            lent: 0,
            lent_max,
        };
        if count > 0 {
            let top = count.ilog2();
            slab.free = vec![NIL; top as usize + 1];
            slab.push_free(0, top);
        }
        slab
    }

    /// A chunk of at least `len` bytes, or `None`.
    pub fn allocate(&mut self, len: u64) -> Option<ChunkId> {
        let blocks = len.max(1).div_ceil(BLOCK_BYTES).checked_next_power_of_two()?;
        let wanted = blocks.ilog2();
        let found = (wanted..u32::try_from(self.free.len()).ok()?)
            .find(|&order| self.free[order as usize] != NIL)?;
        let index = self.free[found as usize];
        self.unlink(index);
        for order in (wanted..found).rev() {
            self.push_free(index + (1 << order), order);
        }
        let block = &mut self.blocks[index as usize];
        block.state = State::Loaned;
        block.order = order_u8(wanted);
        block.generation = block.generation.wrapping_add(1);
        Some(ChunkId { index, generation: block.generation })
    }

    /// The byte range that must get its pages before `chunk` may be written, if any. Call
    /// [`Slab::mark_used`] once it has them.
    #[must_use]
    pub fn first_use(&self, chunk: ChunkId) -> Option<(u64, u64)> {
        let end = self.end(chunk);
        (end > self.untouched)
            .then(|| (u64::from(self.untouched) * BLOCK_BYTES, u64::from(end) * BLOCK_BYTES))
    }

    /// Everything up to the end of `chunk` has its pages.
    pub fn mark_used(&mut self, chunk: ChunkId) {
        self.untouched = self.untouched.max(self.end(chunk));
    }

    fn end(&self, chunk: ChunkId) -> u32 {
        chunk.index + (1 << self.blocks[chunk.index as usize].order)
    }

    /// Bytes that a chunk holds.
    #[must_use]
    pub fn bytes(&self, chunk: ChunkId) -> u64 {
        BLOCK_BYTES << self.blocks[chunk.index as usize].order
    }

    /// Whether one more chunk may go to the peer.
    #[must_use]
    pub fn may_lend(&self) -> bool {
        self.lent < self.lent_max
    }

    /// Marks a chunk as sent to the peer.
    pub fn lend(&mut self, chunk: ChunkId) {
        self.blocks[chunk.index as usize].state = State::Lent;
        self.lent += 1;
    }

    /// Frees a chunk that was never sent.
    pub fn discard(&mut self, chunk: ChunkId) {
        debug_assert_eq!(self.blocks[chunk.index as usize].state, State::Loaned);
        self.merge(chunk.index);
    }

    /// Whether the peer has this chunk, in this generation.
    #[must_use]
    pub fn is_lent(&self, chunk: ChunkId) -> bool {
        self.blocks
            .get(chunk.index as usize)
            .is_some_and(|block| block.state == State::Lent && block.generation == chunk.generation)
    }

    /// Frees a chunk that the peer has done with.
    pub fn give_back(&mut self, chunk: ChunkId) {
        debug_assert!(self.is_lent(chunk), "the caller asks first");
        self.lent -= 1;
        self.merge(chunk.index);
    }

    /// Chunks that are with the peer.
    #[must_use]
    pub fn lent(&self) -> u32 {
        self.lent
    }

    fn merge(&mut self, mut index: u32) {
        let mut order = u32::from(self.blocks[index as usize].order);
        while (order as usize) < self.free.len() - 1 {
            let buddy = index ^ (1 << order);
            let other = &self.blocks[buddy as usize];
            if other.state != State::Free || u32::from(other.order) != order {
                break;
            }
            self.unlink(buddy);
            self.blocks[buddy as usize].state = State::Inner;
            self.blocks[index as usize].state = State::Inner;
            index = index.min(buddy);
            order += 1;
        }
        self.push_free(index, order);
    }

    fn push_free(&mut self, index: u32, order: u32) {
        let head = std::mem::replace(&mut self.free[order as usize], index);
        if head != NIL {
            self.blocks[head as usize].previous = index;
        }
        let block = &mut self.blocks[index as usize];
        block.state = State::Free;
        block.order = order_u8(order);
        block.next = head;
        block.previous = NIL;
    }

    fn unlink(&mut self, index: u32) {
        let Block { order, next, previous, .. } = self.blocks[index as usize];
        if previous == NIL {
            self.free[order as usize] = next;
        } else {
            self.blocks[previous as usize].next = next;
        }
        if next != NIL {
            self.blocks[next as usize].previous = previous;
        }
    }
}

fn order_u8(order: u32) -> u8 {
    u8::try_from(order).expect("invariant: a slab has at most 2^21 blocks")
}

#[cfg(all(test, not(loom)))]
mod tests;
