//! The sending half of a channel: chooses between ring, slab and fragments.
//!
//! | payload | way |
//! |---|---|
//! | ≤ [`INLINE_MAX`] | a record in the ring |
//! | larger, chunk free | copied (or written in place, see [`Outgoing::loan`]) into the slab, descriptor in the ring |
//! | larger, no chunk free | cut into fragments through the ring |
//!
//! Sends never wait. A fragmented message that stalls stays under way until the caller offers it
//! again or abandons it; nothing else may be sent in between.

use std::sync::Arc;

use crate::control::Word;
use crate::cursor::RxCursor;
use crate::error::{Breach, Error};
use crate::loan::{Loan, Returns};
use crate::record::{ALIGN, HEADER_BYTES, Header, INLINE_MAX, Kind, records, stride};
use crate::release::ReleaseRx;
use crate::ring::Producer;
use crate::segment::{PeerSegment, Segment, to_usize};
use crate::slab::{BLOCK_BYTES, ChunkId, Slab};

/// Largest piece of a fragmented message: small enough that the two ends work in step.
const FRAGMENT_MAX: usize = 16 * 1024;

/// Smaller pieces are not worth a record while more of the message is to come.
const FRAGMENT_MIN: usize = 2 * 1024;

/// Bytes of a chunk record.
const CHUNK_STRIDE: usize = HEADER_BYTES + 16;

/// Bytes of a deadline record.
const DEADLINE_STRIDE: usize = HEADER_BYTES + 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UnderWay {
    Nothing,
    /// The first `done` bytes of a message of `total` have been sent as fragments.
    Fragments {
        channel: u16,
        total: usize,
        done: usize,
    },
    /// A message was given up and the peer does not know yet.
    Abandoned,
}

/// What the last refusal was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lack {
    /// So many free bytes in the ring.
    Space(usize),
    /// One chunk back from the peer, which holds as many as it may.
    Chunk,
}

pub(crate) struct Outgoing {
    own: Segment,
    producer: Producer,
    slab: Option<Slab>,
    lent_max: u32,
    releases: ReleaseRx,
    loans_dropped: Arc<Returns>,
    scrub: bool,
    under_way: UnderWay,
    lack: Lack,
}

/// How a message went out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    Copied,
    Fragmented,
    NotNow,
}

impl Outgoing {
    pub(crate) fn new(
        own: Segment,
        peer: &PeerSegment,
        loans_dropped: Arc<Returns>,
        scrub: bool,
    ) -> Self {
        let entries = Word::of(peer.mapping(), |m| m.releases());
        let cursor = RxCursor::new(
            Word::of(own.mapping(), |m| m.control().release_head()),
            Word::of(peer.mapping(), |m| m.control().release_tail()),
            u64::from(peer.geometry().release_entries),
            1,
        );
        Self {
            producer: Producer::new(&own, peer),
            own,
            slab: None,
            lent_max: peer.geometry().release_entries,
            releases: ReleaseRx::new(entries, cursor),
            loans_dropped,
            scrub,
            under_way: UnderWay::Nothing,
            lack: Lack::Space(0),
        }
    }

    /// Appends the leading records of `run` that fit; returns their bytes and number.
    pub(crate) fn run(&mut self, run: &[u8]) -> Result<(usize, u64, u64), Error> {
        if !self.settle()? {
            return Ok((0, 0, 0));
        }
        let free = self.producer.free(run.len())?;
        let (mut end, mut count, mut payload) = (0, 0, 0);
        let mut walk = records(run);
        for (header, _) in walk.by_ref() {
            if header.kind != Kind::Inline || header.length as usize > INLINE_MAX {
                return Err(Error::Run);
            }
            if end + header.stride() <= free {
                end += header.stride();
                count += 1;
                payload += u64::from(header.length);
            } else {
                // What follows must not overtake it, even if it fits.
                self.lack = Lack::Space(header.stride());
                return Ok(self.append_run(&run[..end], count, payload));
            }
        }
        if walk.position() != run.len() {
            return Err(Error::Run);
        }
        Ok(self.append_run(&run[..end], count, payload))
    }

    fn append_run(&mut self, run: &[u8], count: u64, payload: u64) -> (usize, u64, u64) {
        self.producer.push_run(run);
        (run.len(), count, payload)
    }

    /// Appends one message of any size, of no more use at `deadline`, if it has one.
    pub(crate) fn message(
        &mut self,
        channel: u16,
        payload: &[u8],
        deadline: Option<u64>,
    ) -> Result<Sent, Error> {
        if let UnderWay::Fragments { channel: begun, total, done } = self.under_way {
            if (channel, payload.len()) != (begun, total) {
                return Err(Error::Run);
            }
            return self.fragments(channel, payload, done, None);
        }
        if !self.settle()? {
            return Ok(Sent::NotNow);
        }
        if payload.len() <= INLINE_MAX {
            let header = Header { length: narrow(payload.len()), channel, kind: Kind::Inline };
            let fits = self.dated(header, deadline)? && self.producer.push(header, payload, &[])?;
            return Ok(if fits { Sent::Copied } else { self.not_now(dated(header, deadline)) });
        }
        let wanted = CHUNK_STRIDE + deadline.map_or(0, |_| DEADLINE_STRIDE);
        if self.producer.free(wanted)? < wanted {
            return Ok(self.not_now(wanted));
        }
        let Some(mut loan) = self.loan(payload.len())? else {
            return self.fragments(channel, payload, 0, deadline);
        };
        loan[..payload.len()].copy_from_slice(payload);
        match self.commit(channel, loan, payload.len(), deadline)? {
            None => Ok(Sent::Copied),
            Some(_) => Ok(Sent::NotNow),
        }
    }

    /// Appends the deadline of a record, if it has one and there is room for both; whether the
    /// record may follow.
    #[inline]
    fn dated(&mut self, header: Header, deadline: Option<u64>) -> Result<bool, Breach> {
        let Some(deadline) = deadline else { return Ok(true) };
        let wanted = header.stride() + DEADLINE_STRIDE;
        if self.producer.free(wanted)? < wanted {
            return Ok(false);
        }
        let header = Header { length: 8, channel: header.channel, kind: Kind::Deadline };
        self.producer.push(header, &deadline.to_le_bytes(), &[])
    }

    fn fragments(
        &mut self,
        channel: u16,
        payload: &[u8],
        mut done: usize,
        deadline: Option<u64>,
    ) -> Result<Sent, Error> {
        while done < payload.len() {
            let (kind, total) = if done == 0 {
                (Kind::FragmentFirst, (payload.len() as u64).to_le_bytes())
            } else {
                (Kind::FragmentNext, [0; 8])
            };
            let prefix = if done == 0 { &total[..] } else { &[] };
            let left = payload.len() - done;
            let dating = deadline.filter(|_| done == 0).map_or(0, |_| DEADLINE_STRIDE);
            let overhead = dating + HEADER_BYTES + prefix.len() + ALIGN;
            let room = self.producer.free(overhead + left.min(FRAGMENT_MAX))?;
            let piece = left.min(FRAGMENT_MAX).min(room.saturating_sub(overhead));
            if piece < left.min(FRAGMENT_MIN) {
                return Ok(self.not_now(overhead + left.min(FRAGMENT_MIN)));
            }
            let header = Header { length: narrow(prefix.len() + piece), channel, kind };
            let fits = self.dated(header, deadline.filter(|_| done == 0))?
                && self.producer.push(header, prefix, &payload[done..done + piece])?;
            debug_assert!(fits, "room was measured");
            done += piece;
            self.under_way = UnderWay::Fragments { channel, total: payload.len(), done };
        }
        self.under_way = UnderWay::Nothing;
        Ok(Sent::Fragmented)
    }

    fn not_now(&mut self, wanted: usize) -> Sent {
        self.lack = Lack::Space(wanted);
        Sent::NotNow
    }

    /// Gives up the message under way, if there is one; `true` if neither ring nor slab can ever
    /// hold the whole of it, so that it goes out only while the peer reads.
    pub(crate) fn abandon(&mut self) -> bool {
        let UnderWay::Fragments { total, .. } = self.under_way else { return false };
        self.under_way = UnderWay::Abandoned;
        let geometry = self.own.geometry();
        total as u64 > geometry.ring_bytes.max(geometry.slab_bytes)
    }

    /// Whether a new message may begin.
    fn settle(&mut self) -> Result<bool, Error> {
        match self.under_way {
            UnderWay::Nothing => Ok(true),
            UnderWay::Fragments { .. } => Ok(false),
            UnderWay::Abandoned => {
                let header = Header { length: 0, channel: 0, kind: Kind::Abandon };
                let told = self.producer.push(header, &[], &[])?;
                if told {
                    self.under_way = UnderWay::Nothing;
                } else {
                    self.lack = Lack::Space(header.stride());
                }
                Ok(told)
            }
        }
    }

    /// A chunk of at least `len` bytes to be written in place, or `None` if there is none.
    pub(crate) fn loan(&mut self, len: usize) -> Result<Option<Loan>, Error> {
        self.collect()?;
        let bytes = self.own.geometry().slab_bytes;
        let lent_max = self.lent_max;
        if len as u64 > bytes {
            return Ok(None);
        }
        let slab = self.slab.get_or_insert_with(|| Slab::new(bytes, lent_max));
        if !slab.may_lend() {
            return Ok(None);
        }
        // Whole pages, because receivers keep and forget stray writes to a payload by pages
        // (`Lease::discard_writes`): no two messages may share one.
        let wanted = len.max(rustix::param::page_size());
        let Some(chunk) = slab.allocate(wanted as u64) else { return Ok(None) };
        if let Some((start, end)) = slab.first_use(chunk) {
            if self.own.populate_slab(start, end).is_err() {
                // No memory for the slab: the ring has its pages, so fragments still work.
                slab.discard(chunk);
                return Ok(None);
            }
            slab.mark_used(chunk);
        }
        let memory = self.own.mapping();
        let at = to_usize(u64::from(chunk.index) * BLOCK_BYTES);
        // SAFETY: the allocator's chunks lie inside the slab.
        let start = unsafe { memory.slab().add(at) };
        let returns = Arc::clone(&self.loans_dropped);
        // SAFETY: 1. `len` is at most the chunk's size, and our own mapping is writable. 2. The
        // slab keeps the chunk allocated until `collect` finds it. 3. Its generation is new.
        Ok(Some(unsafe { Loan::new(Arc::clone(memory), start, len, chunk, returns) }))
    }

    /// Sends the first `len` bytes of a loan, or gives it back if the ring is full.
    pub(crate) fn commit(
        &mut self,
        channel: u16,
        loan: Loan,
        len: usize,
        deadline: Option<u64>,
    ) -> Result<Option<Loan>, Error> {
        debug_assert!(self.owns(&loan) && len <= loan.len(), "the caller checks the loan");
        if !self.settle()? {
            return Ok(Some(loan));
        }
        if !self.slab.as_ref().is_some_and(Slab::may_lend) {
            self.lack = Lack::Chunk;
            return Ok(Some(loan));
        }
        let chunk = loan.chunk();
        let mut descriptor = [0; 16];
        descriptor[..4].copy_from_slice(&chunk.index.to_le_bytes());
        descriptor[4..8].copy_from_slice(&chunk.generation.to_le_bytes());
        descriptor[8..].copy_from_slice(&(len as u64).to_le_bytes());
        let header = Header { length: 16, channel, kind: Kind::Chunk };
        if !(self.dated(header, deadline)? && self.producer.push(header, &descriptor, &[])?) {
            self.lack = Lack::Space(dated(header, deadline));
            return Ok(Some(loan));
        }
        if let Some(slab) = &mut self.slab {
            slab.lend(chunk);
        }
        loan.into_sent();
        Ok(None)
    }

    pub(crate) fn owns(&self, loan: &Loan) -> bool {
        loan.belongs_to(&self.loans_dropped)
    }

    /// Takes back dropped loans and returned chunks.
    pub(crate) fn collect(&mut self) -> Result<(), Breach> {
        while let Some((chunk, _)) = self.loans_dropped.pop() {
            self.scrub(chunk);
            if let Some(slab) = &mut self.slab {
                slab.discard(chunk);
            }
        }
        while let Some(chunk) = self.releases.take()? {
            let known = self.slab.as_mut().is_some_and(|slab| slab.is_lent(chunk));
            if !known {
                return Err(Breach::Release);
            }
            self.scrub(chunk);
            if let Some(slab) = &mut self.slab {
                slab.give_back(chunk);
            }
        }
        self.releases.release();
        Ok(())
    }

    /// Zeroes a chunk before its next use, where the peer may not see what was in it.
    fn scrub(&self, chunk: ChunkId) {
        let Some(slab) = self.slab.as_ref().filter(|_| self.scrub) else { return };
        let at = to_usize(u64::from(chunk.index) * BLOCK_BYTES);
        // SAFETY: the allocator's chunks lie inside the slab.
        let start = unsafe { self.own.mapping().slab().add(at) };
        // SAFETY: nobody of ours refers to a chunk that has come back; it is inside the slab.
        unsafe { start.write_bytes(0, to_usize(slab.bytes(chunk))) };
    }

    /// Shows what was appended to the peer; `false` if there was nothing new.
    pub(crate) fn publish(&mut self) -> bool {
        self.producer.publish()
    }

    /// Whether what was refused last has a chance now. Never true while it has none: the caller
    /// would try again and again instead of sleeping.
    pub(crate) fn is_writable(&mut self) -> Result<bool, Breach> {
        match self.lack {
            Lack::Space(wanted) => {
                // Room for any small message, so that a waiting sender is not woken for one byte.
                let wanted = wanted.max(stride(INLINE_MAX));
                Ok(self.producer.free(wanted)? >= wanted)
            }
            Lack::Chunk => {
                self.collect()?;
                Ok(self.slab.as_ref().is_some_and(Slab::may_lend))
            }
        }
    }
}

/// Bytes of a record, with its deadline.
fn dated(header: Header, deadline: Option<u64>) -> usize {
    header.stride() + deadline.map_or(0, |_| DEADLINE_STRIDE)
}

fn narrow(len: usize) -> u32 {
    u32::try_from(len).expect("invariant: record payloads are far below 4 GiB")
}
