//! The record ring: [`Producer`] writes records, [`Consumer`] copies them out.
//!
//! The ring's memory is mapped twice in a row, so every copy is one `memcpy`, also across the end.
//! The consumer copies bytes to private memory before anybody looks at them: the peer may be
//! scribbling, but what has been copied no longer changes.

use std::ptr::NonNull;
use std::sync::Arc;

use crate::control::Word;
use crate::cursor::{RxCursor, TxCursor};
use crate::error::Breach;
use crate::record::{self, HEADER_BYTES, Header};
use crate::segment::{Mapping, PeerSegment, Segment, to_usize};

/// Consumed space goes back to the writer in such parts of the ring.
const RELEASE_PART: u64 = 8;

/// A position's place in the doubly mapped ring.
struct Bytes {
    memory: Arc<Mapping>,
    mask: u64,
}

impl Bytes {
    fn new(memory: &Arc<Mapping>) -> Self {
        Self { memory: Arc::clone(memory), mask: memory.geometry().ring_bytes - 1 }
    }

    #[inline]
    fn at(&self, position: u64) -> NonNull<u8> {
        // SAFETY: the masked position is below the ring's size, and the ring is mapped.
        unsafe { self.memory.ring().add(to_usize(position & self.mask)) }
    }
}

/// The writing end of a ring. Whoever holds it is the only writer.
pub struct Producer {
    bytes: Bytes,
    cursor: TxCursor,
}

impl Producer {
    pub(crate) fn new(own: &Segment, peer: &PeerSegment) -> Self {
        let cursor = TxCursor::new(
            Word::of(own.mapping(), |m| m.control().tx_tail()),
            Word::of(peer.mapping(), |m| m.control().rx_head()),
            own.geometry().ring_bytes,
        );
        Self { bytes: Bytes::new(own.mapping()), cursor }
    }

    /// Free bytes, looking at the peer's position only if fewer than `wanted` are known.
    ///
    /// # Errors
    /// [`Breach::Position`].
    #[inline]
    pub fn free(&mut self, wanted: usize) -> Result<usize, Breach> {
        Ok(to_usize(self.cursor.free(wanted as u64)?))
    }

    /// Appends a record whose payload is `first` followed by `second`; `false` if it does not fit
    /// now. Not visible to the peer before [`Producer::publish`].
    ///
    /// # Errors
    /// [`Breach::Position`].
    #[inline]
    pub fn push(&mut self, header: Header, first: &[u8], second: &[u8]) -> Result<bool, Breach> {
        debug_assert_eq!(header.length as usize, first.len() + second.len());
        let stride = header.stride();
        if self.free(stride)? < stride {
            return Ok(false);
        }
        let position = self.cursor.claim(stride as u64);
        self.write(position, &header.encode());
        self.write(position + HEADER_BYTES as u64, first);
        self.write(position + (HEADER_BYTES + first.len()) as u64, second);
        Ok(true)
    }

    /// Appends bytes that are whole records already; the caller has asked [`Producer::free`].
    #[inline]
    pub fn push_run(&mut self, records: &[u8]) {
        debug_assert_eq!(records.len() % record::ALIGN, 0);
        let position = self.cursor.claim(records.len() as u64);
        self.write(position, records);
    }

    /// Shows what was appended to the peer; `false` if there was nothing new.
    #[inline]
    pub fn publish(&mut self) -> bool {
        self.cursor.publish()
    }

    #[inline]
    fn write(&self, position: u64, bytes: &[u8]) {
        // SAFETY: the range was claimed, so no reader looks at it before the next publish; it is at
        // most one ring long and the ring is mapped twice, so it does not leave the mapping; and
        // private memory does not overlap it.
        unsafe {
            self.bytes.at(position).as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
    }
}

/// The reading end of a ring. Whoever holds it is the only reader.
pub struct Consumer {
    bytes: Bytes,
    cursor: RxCursor,
}

impl Consumer {
    pub(crate) fn new(own: &Segment, peer: &PeerSegment) -> Self {
        let cursor = RxCursor::new(
            Word::of(own.mapping(), |m| m.control().rx_head()),
            Word::of(peer.mapping(), |m| m.control().tx_tail()),
            peer.geometry().ring_bytes,
            record::ALIGN as u64,
        );
        Self { bytes: Bytes::new(peer.mapping()), cursor }
    }

    /// Whether there is anything to read.
    ///
    /// # Errors
    /// [`Breach::Position`].
    #[inline]
    pub fn is_readable(&mut self) -> Result<bool, Breach> {
        Ok(self.cursor.available(1)? > 0)
    }

    /// Copies unread bytes, as many as there are and fit, and returns how many. They stay unread
    /// until [`Consumer::consume`].
    ///
    /// # Errors
    /// [`Breach::Position`].
    #[inline]
    pub fn copy_out(&mut self, target: &mut [u8]) -> Result<usize, Breach> {
        let available = to_usize(self.cursor.available(target.len() as u64)?);
        let len = available.min(target.len());
        let from = self.bytes.at(self.cursor.position());
        // SAFETY: the range is published and not released, at most one ring long in a doubly mapped
        // ring. An honest peer does not write there; if a hostile one does, we copy arbitrary
        // bytes to private memory and judge only the copy.
        unsafe { from.as_ptr().copy_to_nonoverlapping(target.as_mut_ptr(), len) };
        Ok(len)
    }

    /// The peer has ended: what it publishes from now on is not read.
    ///
    /// # Errors
    /// [`Breach::Position`].
    pub fn end(&mut self) -> Result<(), Breach> {
        self.cursor.end()
    }

    /// Steps over bytes that were copied out.
    #[inline]
    pub fn consume(&mut self, len: usize) {
        self.cursor.consume(len as u64);
    }

    /// Gives the consumed bytes back to the writer once they are an eighth of the ring; `false` if
    /// there is nothing to give yet.
    ///
    /// Each return costs a fence and a cache line, a round trip of small messages needs none. No
    /// writer waits for what is held back: one that sees too little space has unread records here,
    /// because an eighth less than the ring is more than any writer waits for.
    #[inline]
    pub fn release(&mut self) -> bool {
        self.cursor.unreleased() > self.bytes.mask / RELEASE_PART && self.cursor.release()
    }
}
