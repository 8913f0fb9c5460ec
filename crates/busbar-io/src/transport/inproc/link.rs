//! [`Link`] over an in-process connection: runs of small messages are copied once into an arena and
//! travel as one item; larger payloads travel by reference count.
//!
//! The link waits for nothing: [`InprocLink::park`] arms the wake slots with the waker that the
//! engine gave. Wake-ups may be spurious, so after one the engine looks and parks again.

use std::num::NonZeroU64;
use std::task::Waker;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use busbar_proto::{CloseReason, Code, Error};
use busbar_shm::record::{HEADER_BYTES, INLINE_MAX, Kind, records};

use crate::clock;
use crate::inbox::Inbox;
use crate::link::{Interest, Link, LinkStats};
use crate::loan::{Lease, Loan};

use super::arena::{Arena, PIECE_BYTES_MAX};
use super::pair::InprocPair;
use super::receiver::Front;
use super::sender::{Room, TrySendError};
use super::stats::InprocPairStats;

/// One end of an in-process connection as the engine drives it.
#[derive(Debug)]
pub struct InprocLink {
    pair: InprocPair,
    waker: Waker,
    arena: Arena,
    /// Payload bytes of the message that was refused last, for which the engine would wait.
    refused_bytes: u64,
    messages_received: u64,
    bytes_received: u64,
    loans_sent: u64,
    loans_received: u64,
}

impl InprocLink {
    /// A link over `pair` that wakes through `waker`.
    #[must_use]
    pub fn new(pair: InprocPair, waker: Waker) -> Self {
        Self {
            pair,
            waker,
            arena: Arena::new(),
            refused_bytes: 0,
            messages_received: 0,
            bytes_received: 0,
            loans_sent: 0,
            loans_received: 0,
        }
    }

    /// Closes both directions, see [`InprocPair::close`].
    pub fn close(&mut self, reason: CloseReason) {
        self.pair.close(reason);
    }

    /// Why the peer closed, once it has. Messages may still be waiting: when all are received,
    /// [`Link::receive`] fails with `Closed`.
    #[must_use]
    pub fn close_reason(&self) -> Option<&CloseReason> {
        self.pair.close_reason()
    }

    /// Asks for one wake-up when the peer closes, parked or not; `false` if it has closed already.
    pub fn watch_close(&mut self) -> bool {
        self.pair.receiver.watch_close(&self.waker)
    }

    /// The largest message this end may send.
    #[must_use]
    pub fn message_bytes_max(&self) -> u64 {
        self.pair.sender.message_bytes_max()
    }

    /// The counters of the connection, including what this link copied.
    #[must_use]
    pub fn pair_stats(&self) -> InprocPairStats {
        InprocPairStats { bytes_copied: self.arena.bytes_copied(), ..self.pair.stats() }
    }

    /// Whether a payload of `len` bytes may be sent now; remembers what was refused.
    fn admit(&mut self, len: usize) -> Result<bool, Error> {
        let sender = &mut self.pair.sender;
        if sender.is_closed() {
            return Err(sender.closed_error());
        }
        let bytes = len as u64;
        if bytes > sender.message_bytes_max() {
            return Err(sender.too_large(len));
        }
        let room = sender.has_room(bytes);
        if !room {
            self.refused_bytes = bytes;
        }
        Ok(room)
    }

    /// Sends what [`InprocLink::admit`] let pass.
    fn hand_over(
        &mut self,
        channel: u16,
        payload: Bytes,
        expires: Option<Instant>,
    ) -> Result<(), Error> {
        // What expires at the origin of all time is as stale as what expires right after it.
        let micros = |at| u64::try_from(clock::time(at).as_micros()).unwrap_or(u64::MAX);
        let expires = expires.map(|at| NonZeroU64::new(micros(at)).unwrap_or(NonZeroU64::MIN));
        match self.pair.sender.offer(channel, payload, expires) {
            Ok(()) => {
                self.pair.sender.publish();
                Ok(())
            }
            Err(TrySendError::Closed(_)) => Err(self.pair.sender.closed_error()),
            Err(refused) => Err(refused.into()),
        }
    }

    /// As [`Link::send_bytes`], of what is of no more use at `expires`.
    pub(crate) fn send_shared(
        &mut self,
        channel: u16,
        payload: &Bytes,
        expires: Option<Instant>,
    ) -> Result<bool, Error> {
        if !self.admit(payload.len())? {
            return Ok(false);
        }
        self.hand_over(channel, payload.clone(), expires)?;
        self.loans_sent += 1;
        Ok(true)
    }

    /// As [`Link::commit`], of what is of no more use at `expires`.
    pub(crate) fn commit_shared(
        &mut self,
        channel: u16,
        loan: Loan,
        len: usize,
        expires: Option<Instant>,
    ) -> Result<Option<Loan>, Error> {
        let mut memory = loan.into_heap()?;
        if len > memory.len() {
            return Err(Error::new(
                Code::InvalidArgument,
                format!("{len} bytes to commit in a loan of {}", memory.len()),
            ));
        }
        if !self.admit(len)? {
            return Ok(Some(Loan::Heap(memory)));
        }
        memory.truncate(len);
        self.hand_over(channel, memory.freeze(), expires)?;
        self.loans_sent += 1;
        Ok(None)
    }

    /// The leading records of `run` that may go as one item.
    fn next_piece(&self, run: &[u8], room: &mut Room) -> Result<Piece, Error> {
        let limit = self.pair.sender.message_bytes_max();
        let mut piece = Piece::default();
        let mut walk = records(run);
        while let Some((header, _)) = walk.next() {
            let length = header.length as usize;
            let first = piece.messages == 0;
            if header.kind != Kind::Inline || length > INLINE_MAX {
                return if first { Err(not_a_run()) } else { Ok(piece) };
            }
            if u64::from(header.length) > limit {
                return if first { Err(self.pair.sender.too_large(length)) } else { Ok(piece) };
            }
            if walk.position() > PIECE_BYTES_MAX {
                return Ok(piece);
            }
            if !room.take(u64::from(header.length)) {
                piece.refused_bytes = Some(u64::from(header.length));
                return Ok(piece);
            }
            piece.run_bytes = walk.position();
            piece.messages += 1;
            piece.payload_bytes += u64::from(header.length);
        }
        if piece.messages == 0 && !run.is_empty() { Err(not_a_run()) } else { Ok(piece) }
    }

    /// Moves the message in front into the inbox; `false` if it does not fit.
    fn receive_message(&mut self, inbox: &mut Inbox<'_>) -> bool {
        let Some(message) = self.pair.receiver.shown() else { return false };
        let (channel, len) = (message.channel, message.payload.len());
        let leased = len > INLINE_MAX;
        if leased {
            if inbox.slots_left() == 0 {
                return false;
            }
        } else if !inbox.push_copy(channel, &message.payload) {
            return false;
        }
        let message = self.pair.receiver.take_message().expect("invariant: it is in front");
        let expires = message.expires();
        if leased {
            inbox.push_lease(channel, Lease::Bytes(message.payload));
            self.loans_received += 1;
        }
        if let Some(expires) = expires {
            inbox.note_expiry(expires);
        }
        self.messages_received += 1;
        self.bytes_received += len as u64;
        true
    }

    /// Moves up to `max` records of the run in front into the inbox with one copy; returns how
    /// many.
    fn receive_run(&mut self, inbox: &mut Inbox<'_>, max: usize) -> usize {
        let Some(Front::Run(run)) = self.pair.receiver.front() else { return 0 };
        let space = inbox.free_space().len();
        let max = max.min(inbox.slots_left());
        let (mut messages, mut run_bytes, mut payload_bytes) = (0, 0, 0);
        for (header, start) in records(run).take(max) {
            let end = start - HEADER_BYTES + header.stride();
            if end > space {
                break;
            }
            inbox.push_filled(header.channel, start, header.length as usize);
            messages += 1;
            run_bytes = end;
            payload_bytes += header.length as usize;
        }
        inbox.free_space()[..run_bytes].copy_from_slice(&run[..run_bytes]);
        inbox.advance(run_bytes);
        self.pair.receiver.take_records(run_bytes, messages, payload_bytes);
        self.messages_received += messages as u64;
        self.bytes_received += payload_bytes as u64;
        messages
    }
}

impl Link for InprocLink {
    fn send_run(&mut self, run: &[u8]) -> Result<usize, Error> {
        if self.pair.sender.is_closed() {
            return Err(self.pair.sender.closed_error());
        }
        let mut room = self.pair.sender.room();
        let mut taken = 0;
        while taken < run.len() {
            let piece = match self.next_piece(&run[taken..], &mut room) {
                // What precedes the fault is sent; the caller meets it at the front next time.
                Err(_) if taken > 0 => break,
                piece => piece?,
            };
            if piece.messages > 0 {
                let records = self.arena.copy(&run[taken..][..piece.run_bytes]);
                self.pair.sender.push_run(records, piece.messages, piece.payload_bytes);
                taken += piece.run_bytes;
            }
            if let Some(bytes) = piece.refused_bytes {
                self.refused_bytes = bytes;
                break;
            }
        }
        if taken > 0 {
            self.pair.sender.publish();
        }
        Ok(taken)
    }

    fn send(&mut self, channel: u16, payload: &[u8]) -> Result<bool, Error> {
        if !self.admit(payload.len())? {
            return Ok(false);
        }
        let copy = self.arena.copy(payload);
        self.hand_over(channel, copy, None)?;
        Ok(true)
    }

    fn send_bytes(&mut self, channel: u16, payload: &Bytes) -> Result<bool, Error> {
        self.send_shared(channel, payload, None)
    }

    /// Messages pass whole, so there is never a part of one to give up.
    fn abandon(&mut self) -> bool {
        false
    }

    fn loan(&mut self, len: usize) -> Result<Option<Loan>, Error> {
        let sender = &self.pair.sender;
        if sender.is_closed() {
            return Err(sender.closed_error());
        }
        if len as u64 > sender.message_bytes_max() {
            return Err(sender.too_large(len));
        }
        Ok(Some(Loan::Heap(BytesMut::zeroed(len))))
    }

    fn commit(&mut self, channel: u16, loan: Loan, len: usize) -> Result<Option<Loan>, Error> {
        self.commit_shared(channel, loan, len, None)
    }

    /// Fails with `Closed` when the peer has closed and nothing is left to receive.
    fn receive(&mut self, inbox: &mut Inbox<'_>, max: usize) -> Result<(), Error> {
        let mut received = 0;
        let mut empty = false;
        while received < max {
            let moved = match self.pair.receiver.front() {
                Some(Front::Run(_)) => self.receive_run(inbox, max - received),
                Some(Front::Message) => usize::from(self.receive_message(inbox)),
                None => {
                    empty = true;
                    0
                }
            };
            if moved == 0 {
                break;
            }
            received += moved;
        }
        if received > 0 {
            self.pair.receiver.settle();
        } else if empty {
            self.pair.receiver.at_end()?;
        }
        Ok(())
    }

    fn is_readable(&mut self) -> bool {
        self.pair.receiver.is_ready()
    }

    fn is_writable(&mut self) -> bool {
        self.pair.sender.is_closed() || self.pair.sender.has_room(self.refused_bytes)
    }

    fn park(&mut self, wants: Interest) -> bool {
        if wants.readable && !self.pair.receiver.park(&self.waker) {
            return false;
        }
        if wants.writable && !self.pair.sender.park(&self.waker, self.refused_bytes) {
            self.pair.receiver.unpark();
            return false;
        }
        true
    }

    fn unpark(&mut self) {
        self.pair.receiver.unpark();
        self.pair.sender.unpark();
    }

    /// Reference counts return memory by themselves.
    fn collect(&mut self) {}

    fn stats(&self) -> LinkStats {
        let pair = self.pair.stats();
        LinkStats {
            messages_sent: pair.outgoing.messages_sent,
            bytes_sent: pair.outgoing.bytes_sent,
            messages_received: self.messages_received,
            bytes_received: self.bytes_received,
            loans_sent: self.loans_sent,
            loans_received: self.loans_received,
            fragmented: 0,
            bells: pair.wakes,
            parks: pair.parks,
            messages_expired: self.pair.receiver.stale(),
            ..LinkStats::default()
        }
    }
}

/// Leading records of a run.
#[derive(Default)]
struct Piece {
    run_bytes: usize,
    messages: u64,
    payload_bytes: u64,
    /// Set when the next record found no room: its payload bytes.
    refused_bytes: Option<u64>,
}

fn not_a_run() -> Error {
    Error::new(
        Code::InvalidArgument,
        format!("a run must consist of whole inline records of at most {INLINE_MAX} bytes"),
    )
}
