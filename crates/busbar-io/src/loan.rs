//! Payload memory that changes hands instead of being copied.

use std::ops::{Deref, DerefMut};

use busbar_proto::Error;
use bytes::{Bytes, BytesMut};

use crate::block::Block;

/// Memory to write a message into; committing it hands it to the peer. Dropping it gives it back.
#[derive(Debug)]
#[non_exhaustive]
pub enum Loan {
    /// A chunk of this end's shared slab.
    #[cfg(target_os = "linux")]
    Chunk(busbar_shm::Loan),
    /// Memory of this process.
    Heap(BytesMut),
}

impl Loan {
    /// For transports whose loans are memory of this process.
    ///
    /// # Errors
    /// `InvalidArgument`.
    pub(crate) fn into_heap(self) -> Result<BytesMut, Error> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Chunk(_) => {
                let message = "the loan is from another transport";
                Err(Error::new(busbar_proto::Code::InvalidArgument, message))
            }
            Self::Heap(memory) => Ok(memory),
        }
    }
}

impl Deref for Loan {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            #[cfg(target_os = "linux")]
            Self::Chunk(loan) => loan,
            Self::Heap(bytes) => bytes,
        }
    }
}

impl DerefMut for Loan {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            #[cfg(target_os = "linux")]
            Self::Chunk(loan) => loan,
            Self::Heap(bytes) => bytes,
        }
    }
}

/// A received payload where the sender put it. Dropping it gives the memory back.
#[derive(Debug)]
#[non_exhaustive]
pub enum Lease {
    /// A chunk of the peer's shared slab.
    #[cfg(target_os = "linux")]
    Chunk(busbar_shm::Lease),
    /// Memory of this process, which others may refer to.
    Bytes(Bytes),
    /// Memory of this process, which nobody else refers to.
    Block(Block),
}

impl Lease {
    /// Forgets what this end has written to it since it was received. Memory of this process is
    /// nobody else's: it keeps that.
    pub fn discard_writes(&self) {
        match self {
            #[cfg(target_os = "linux")]
            Self::Chunk(lease) => lease.discard_writes(),
            Self::Bytes(_) | Self::Block(_) => {}
        }
    }
}

impl Deref for Lease {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            #[cfg(target_os = "linux")]
            Self::Chunk(lease) => lease,
            Self::Bytes(bytes) => bytes,
            Self::Block(block) => block,
        }
    }
}
