//! Memory for small payloads on their way: blocks that are filled piece by piece and used again
//! when every piece has been dropped by the receiver.

use std::collections::VecDeque;
use std::mem;

use bytes::{BufMut, Bytes, BytesMut};

/// The largest piece that goes into a block.
pub(super) const PIECE_BYTES_MAX: usize = 16 * 1024;

/// Copies payloads into recycled blocks. After warm-up it allocates nothing as long as the
/// receiver keeps up to within [`BLOCKS_MAX`] blocks.
#[derive(Debug)]
pub(super) struct Arena {
    /// The unused rest of a block.
    block: BytesMut,
    /// Full blocks, the one filled first in front.
    full: VecDeque<BytesMut>,
    bytes_copied: u64,
}

impl Arena {
    pub(super) fn new() -> Self {
        Self { block: BytesMut::new(), full: VecDeque::with_capacity(BLOCKS_MAX), bytes_copied: 0 }
    }

    /// A copy of `bytes`; larger ones than [`PIECE_BYTES_MAX`] get memory of their own.
    pub(super) fn copy(&mut self, bytes: &[u8]) -> Bytes {
        self.bytes_copied += bytes.len() as u64;
        if bytes.len() > PIECE_BYTES_MAX {
            return Bytes::copy_from_slice(bytes);
        }
        if self.block.capacity() < bytes.len() {
            self.next_block();
        }
        self.block.put_slice(bytes);
        self.block.split().freeze()
    }

    pub(super) fn bytes_copied(&self) -> u64 {
        self.bytes_copied
    }

    #[cold]
    fn next_block(&mut self) {
        let worn = mem::take(&mut self.block);
        if worn.capacity() > 0 {
            if self.full.len() == BLOCKS_MAX {
                // Its memory goes when its last piece does.
                self.full.pop_front();
            }
            self.full.push_back(worn);
        }
        if self.full.front_mut().is_some_and(|oldest| oldest.try_reclaim(BLOCK_BYTES)) {
            self.block = self.full.pop_front().expect("invariant: it was just looked at");
        } else {
            self.block = BytesMut::with_capacity(BLOCK_BYTES);
        }
    }
}

const BLOCK_BYTES: usize = 64 * 1024;

/// 4 MiB in blocks that wait for the receiver.
const BLOCKS_MAX: usize = 64;
