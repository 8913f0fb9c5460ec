//! The receiving half of a channel: records become messages.
//!
//! Bytes are copied out of the ring first and judged afterwards. Inline payloads stay in the
//! caller's buffer, chunk payloads become leases (or copies, if the peer is not trusted), fragments
//! are put together in memory of our own, whose size was agreed before it was allocated.

use std::sync::Arc;

use crate::control::Word;
use crate::cursor::TxCursor;
use crate::error::Breach;
use crate::loan::{Lease, Returns};
use crate::record::{HEADER_BYTES, Header, INLINE_MAX, Kind, records};
use crate::release::ReleaseTx;
use crate::ring::Consumer;
use crate::segment::{PeerSegment, Segment, to_usize};
use crate::slab::{BLOCK_BYTES, ChunkId};

/// A received payload.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "receivers must treat every kind")]
pub enum Received {
    /// `len` bytes at `start` of the buffer that was passed to `receive`.
    Inline {
        /// Offset in that buffer.
        start: usize,
        /// Payload bytes.
        len: usize,
    },
    /// The payload in the peer's slab.
    Lease(Lease),
    /// The payload in memory of its own.
    Owned(Vec<u8>),
}

struct Reassembly {
    channel: u16,
    total: usize,
    bytes: Vec<u8>,
    deadline: Option<u64>,
}

pub(crate) struct Incoming {
    peer: PeerSegment,
    consumer: Consumer,
    releases: ReleaseTx,
    leases_dropped: Arc<Returns>,
    reassembly: Option<Reassembly>,
    /// That of the message which comes next.
    deadline: Option<u64>,
    message_bytes_max: usize,
    copy_chunks: bool,
    /// Chunk bytes that one call of `receive` may copy, by what this end has announced: the peer's
    /// announcements are no bound, and its descriptors may overlap.
    copied_bytes_max: u64,
    /// What is left of that in this call.
    copies_left: u64,
}

/// What one look at the copied bytes came to.
struct Walk {
    /// Bytes dealt with.
    consumed: usize,
    /// A fragment record begins there; its payload is to be taken from the ring directly.
    fragment: Option<Header>,
}

impl Incoming {
    pub(crate) fn new(
        own: &Segment,
        peer: PeerSegment,
        leases_dropped: Arc<Returns>,
        message_bytes_max: usize,
        copy_chunks: bool,
    ) -> Self {
        let entries = Word::of(own.mapping(), |m| m.releases());
        let cursor = TxCursor::new(
            Word::of(own.mapping(), |m| m.control().release_tail()),
            Word::of(peer.mapping(), |m| m.control().release_head()),
            u64::from(own.geometry().release_entries),
        );
        let slab_bytes = peer.geometry().slab_bytes;
        let copied_bytes_max = own.geometry().slab_bytes.max(message_bytes_max as u64);
        Self {
            consumer: Consumer::new(own, &peer),
            peer,
            releases: ReleaseTx::new(entries, cursor, slab_bytes),
            leases_dropped,
            reassembly: None,
            deadline: None,
            message_bytes_max,
            copy_chunks,
            copied_bytes_max,
            copies_left: 0,
        }
    }

    /// The peer has ended: what it publishes from now on is not received.
    pub(crate) fn end(&mut self) -> Result<(), Breach> {
        // In this order: what it has lent anew was given back before.
        self.consumer.end()?;
        self.releases.end()
    }

    pub(crate) fn is_readable(&mut self) -> Result<bool, Breach> {
        self.consumer.is_readable()
    }

    /// Takes up to `max` messages, calling `sink(channel, payload, deadline)` for each. Inline
    /// payloads lie in `buffer`. Returns the bytes of `buffer` in use and whether ring space was
    /// freed.
    pub(crate) fn receive(
        &mut self,
        buffer: &mut [u8],
        max: usize,
        sink: &mut impl FnMut(u16, Received, Option<u64>),
    ) -> Result<(usize, bool), Breach> {
        let mut used = 0;
        let mut left = max;
        self.copies_left = self.copied_bytes_max;
        let result = loop {
            if left == 0 {
                break Ok(());
            }
            // Amid a message only its next header is of use: payloads of fragments are not copied
            // to `buffer`.
            let limit = match self.reassembly {
                Some(_) => HEADER_BYTES,
                None => left.saturating_mul(HEADER_BYTES + INLINE_MAX),
            };
            let space = &mut buffer[used..];
            let space_len = space.len().min(limit);
            let space = &mut space[..space_len];
            let copied = match self.consumer.copy_out(space) {
                Ok(copied) => copied,
                Err(breach) => break Err(breach),
            };
            let whole = copied < space_len;
            match self.walk(&space[..copied], used, whole, &mut left, sink) {
                Err(breach) => break Err(breach),
                Ok(Walk { consumed, fragment: Some(header) }) => {
                    used += consumed;
                    if let Err(breach) = self.fragment(header, &mut left, sink) {
                        break Err(breach);
                    }
                }
                Ok(Walk { consumed, fragment: None }) => {
                    used += consumed;
                    if consumed == 0 || whole {
                        break Ok(());
                    }
                }
            }
        };
        let freed = self.consumer.release();
        result.map(|()| (used, freed))
    }

    /// Deals with the records in `copied`, which begins at `base` of the caller's buffer. `whole`
    /// says that the ring holds nothing beyond it.
    fn walk(
        &mut self,
        copied: &[u8],
        base: usize,
        whole: bool,
        left: &mut usize,
        sink: &mut impl FnMut(u16, Received, Option<u64>),
    ) -> Result<Walk, Breach> {
        let mut walk = records(copied);
        let mut consumed = 0;
        while *left > 0 {
            let Some((header, at)) = walk.next() else { break };
            let len = header.length as usize;
            match header.kind {
                Kind::Inline if len > INLINE_MAX => return Err(Breach::Record),
                Kind::FragmentFirst | Kind::FragmentNext => {
                    self.consumer.consume(consumed);
                    return Ok(Walk { consumed, fragment: Some(header) });
                }
                Kind::Abandon if len > 0 => return Err(Breach::Record),
                Kind::Abandon if self.reassembly.take().is_none() => return Err(Breach::Fragment),
                Kind::Abandon => {}
                _ if self.reassembly.is_some() => return Err(Breach::Fragment),
                Kind::Inline => {
                    let received = Received::Inline { start: base + at, len };
                    sink(header.channel, received, self.deadline.take());
                    *left -= 1;
                }
                Kind::Chunk => {
                    let payload = copied[at..at + len].first_chunk().ok_or(Breach::Record)?;
                    let Some(received) = self.chunk(payload)? else {
                        // It is for the next call.
                        *left = 0;
                        break;
                    };
                    sink(header.channel, received, self.deadline.take());
                    *left -= 1;
                }
                Kind::Deadline => {
                    let bytes = copied[at..at + len].try_into().map_err(|_| Breach::Record)?;
                    let is_second = self.deadline.replace(u64::from_le_bytes(bytes)).is_some();
                    if is_second {
                        return Err(Breach::Record);
                    }
                }
            }
            consumed = walk.position();
        }
        self.consumer.consume(consumed);
        if *left == 0 {
            return Ok(Walk { consumed, fragment: None });
        }
        self.judge_rest(&copied[consumed..], whole, consumed)
    }

    /// Why the walk stopped: out of bytes, a cut record, a fragment that the copy cut, or a breach.
    fn judge_rest(&self, rest: &[u8], whole: bool, consumed: usize) -> Result<Walk, Breach> {
        let Some(header) = rest.first_chunk::<HEADER_BYTES>() else {
            return Ok(Walk { consumed, fragment: None });
        };
        let header = Header::decode(*header).ok_or(Breach::Record)?;
        match header.kind {
            Kind::FragmentFirst | Kind::FragmentNext => {
                Ok(Walk { consumed, fragment: Some(header) })
            }
            _ if self.reassembly.is_some() => Err(Breach::Fragment),
            // Published bytes end with a whole record.
            _ if whole || header.length as usize > INLINE_MAX => Err(Breach::Record),
            _ => Ok(Walk { consumed, fragment: None }),
        }
    }

    /// Takes one fragment straight from the ring.
    fn fragment(
        &mut self,
        header: Header,
        left: &mut usize,
        sink: &mut impl FnMut(u16, Received, Option<u64>),
    ) -> Result<(), Breach> {
        self.consumer.consume(HEADER_BYTES);
        let mut len = header.length as usize;
        let padding = header.stride() - HEADER_BYTES - len;
        if header.kind == Kind::FragmentFirst {
            let mut total = [0; 8];
            if len < total.len() || self.consumer.copy_out(&mut total)? < total.len() {
                return Err(Breach::Record);
            }
            self.consumer.consume(total.len());
            len -= total.len();
            let total = usize::try_from(u64::from_le_bytes(total)).unwrap_or(usize::MAX);
            if self.reassembly.is_some() || total > self.message_bytes_max {
                return Err(Breach::Fragment);
            }
            let bytes = memory_for(total)?;
            let (channel, deadline) = (header.channel, self.deadline.take());
            self.reassembly = Some(Reassembly { channel, total, bytes, deadline });
        }
        let reassembly = self.reassembly.as_mut().ok_or(Breach::Fragment)?;
        let start = reassembly.bytes.len();
        let channel_kept = reassembly.channel == header.channel;
        if len == 0 || len > reassembly.total - start || !channel_kept {
            return Err(Breach::Fragment);
        }
        reassembly.bytes.resize(start + len, 0);
        if self.consumer.copy_out(&mut reassembly.bytes[start..])? < len {
            return Err(Breach::Record);
        }
        self.consumer.consume(len);
        if self.consumer.copy_out(&mut [0; 8][..padding])? < padding {
            return Err(Breach::Record);
        }
        self.consumer.consume(padding);
        if reassembly.bytes.len() == reassembly.total {
            let Reassembly { channel, bytes, deadline, .. } =
                self.reassembly.take().expect("invariant: just borrowed");
            sink(channel, Received::Owned(bytes), deadline);
            *left -= 1;
        }
        Ok(())
    }

    /// What a descriptor is of; `None` if copying it would be too much for one call.
    fn chunk(&mut self, descriptor: &[u8; 16]) -> Result<Option<Received>, Breach> {
        let [index, generation] = [0, 4].map(|at| {
            u32::from_le_bytes(*descriptor[at..].first_chunk().expect("invariant: 16 bytes"))
        });
        let len = u64::from_le_bytes(*descriptor.last_chunk().expect("invariant: 16 bytes"));
        let start = u64::from(index) * BLOCK_BYTES;
        let slab_bytes = self.peer.geometry().slab_bytes;
        let fits = start.checked_add(len).is_some_and(|end| end <= slab_bytes);
        if !fits || len > self.message_bytes_max as u64 {
            return Err(Breach::Chunk);
        }
        let chunk = ChunkId { index, generation };
        let memory = self.peer.mapping();
        // SAFETY: `start` is within the peer's slab, as just checked.
        let start = unsafe { memory.slab().add(to_usize(start)) };
        if self.copy_chunks {
            let Some(copies_left) = self.copies_left.checked_sub(len) else { return Ok(None) };
            self.releases.borrow(len)?;
            self.copies_left = copies_left;
            let mut bytes = memory_for(to_usize(len))?;
            bytes.resize(to_usize(len), 0);
            // SAFETY: the range is within the slab. The peer may be changing it; the copy is
            // arbitrary bytes and only the copy is used.
            unsafe { start.as_ptr().copy_to_nonoverlapping(bytes.as_mut_ptr(), bytes.len()) };
            self.releases.give_back((chunk, len))?;
            return Ok(Some(Received::Owned(bytes)));
        }
        self.releases.borrow(len)?;
        let returns = Arc::clone(&self.leases_dropped);
        // SAFETY: 1. checked above. 2. `copy_chunks` is off, so the peer is trusted to that extent.
        let lease = unsafe { Lease::new(Arc::clone(memory), start, to_usize(len), chunk, returns) };
        Ok(Some(Received::Lease(lease)))
    }

    /// Gives dropped leases back to the peer; `true` if there were any.
    pub(crate) fn collect(&mut self) -> Result<bool, Breach> {
        while let Some(returned) = self.leases_dropped.pop() {
            self.releases.give_back(returned)?;
        }
        Ok(self.releases.publish())
    }

    pub(crate) fn has_returns(&self) -> bool {
        !self.leases_dropped.is_empty()
    }
}

/// Room for a payload whose size was checked; having none is an error and not the end.
fn memory_for(len: usize) -> Result<Vec<u8>, Breach> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| Breach::Memory)?;
    Ok(bytes)
}
