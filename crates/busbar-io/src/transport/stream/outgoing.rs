//! The sending half of a stream: a queue of encoded frames, bounded in bytes and in messages, that
//! leaves in as few writes as the socket allows.
//!
//! | payload | way |
//! |---|---|
//! | up to [`COPY_MAX`] | copied behind what is queued; written when the turn is over or enough has come together |
//! | larger | gathered from where it lies, cut into frames, together with what is queued |
//! | larger, socket full | copied into the queue as far as that has room |
//!
//! Where an I/O thread writes, everything goes by way of the queue.
//!
//! What is queued is always whole frames, but for the front, of which a part may be written. A
//! large message of which some frames are on their way stays *under way* until the caller offers
//! it again or abandons it; the peer recognises an abandoned message by the next one.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::mem;
use std::time::Instant;

use busbar_proto::frame::{self, Fragment, HEAD_BYTES_MAX, HEADER_BYTES, Header, Kind};
use busbar_proto::session::Seq;
use busbar_proto::{CloseReason, Code, Error, Limits};
use busbar_shm::record::{INLINE_MAX, Kind as RecordKind, records};

use crate::block;
use crate::inbox::ANNOUNCEMENTS;
use crate::options::PipeOptions;
use crate::transport::introduction;

use super::wire::Wire;

/// Queued bytes that are written without waiting for the end of the turn.
const WRITE_BYTES: usize = 64 * 1024;

/// Bytes that an I/O thread writes before it gives way to callers.
const WRITE_SERVED_BYTES: usize = 128 * 1024;

/// The largest payload that is copied; gathering a larger one is cheaper.
const COPY_MAX: usize = 8 * 1024;

/// Frames of a large message in one write.
const GATHER_MAX: usize = 32;

/// Written bytes at the front of the queue that are left there before the rest is moved up.
const SLACK_BYTES: usize = 64 * 1024;

pub(super) struct Outgoing {
    limits: Limits,
    queue: Vec<u8>,
    /// Bytes at the front of `queue` that are written.
    written: usize,
    /// Where the first frame begins of which nothing or not everything is written, unless only its
    /// rest was ever queued.
    front: usize,
    /// What `front` was of a queue that was taken as a whole.
    taken_front: usize,
    /// Frames in `queue` from `front` on.
    frames: usize,
    bytes_max: usize,
    frames_max: usize,
    seqs: Seqs,
    under_way: Option<UnderWay>,
    /// Writes are made by an I/O thread, and not by calls that send.
    is_served: bool,
    /// Bytes of the frame that was refused last.
    lack: usize,
    /// The socket has no room.
    is_blocked: bool,
    has_failed: bool,
    /// Messages that were in the queue when that happened.
    lost: usize,
    is_closing: bool,
    /// The stream is not ended before the peer has answered: there are networks that end both
    /// directions with one.
    awaits_answer: bool,
    is_shut: bool,
    heads: Vec<u8>,
    pub(super) writes: u64,
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) fragmented: u64,
}

/// What a message's frames say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label {
    pub(super) channel: u16,
    /// Its number in the session; `None`: it is no message of a session, and numbered here.
    pub(super) seq: Option<Seq>,
    /// When it is of no more use.
    pub(super) expires: Option<Instant>,
}

impl Label {
    /// That of a message outside the session.
    #[inline]
    pub(super) fn plain(channel: u16) -> Self {
        Self { channel, seq: None, expires: None }
    }

    /// How long it is of use from now on.
    #[inline]
    fn deadline_micros(self) -> Option<u64> {
        let left = self.expires?.saturating_duration_since(Instant::now());
        Some(u64::try_from(left.as_micros()).unwrap_or(u64::MAX))
    }

    /// Bytes that precede it in a frame of its own.
    #[inline]
    fn head_bytes(self) -> usize {
        if self.expires.is_some() { HEAD_BYTES_MAX } else { HEADER_BYTES }
    }
}

/// A large message of which the first `done` bytes are written or queued.
#[derive(Clone, Copy)]
struct UnderWay {
    label: Label,
    seq: u64,
    total: usize,
    done: usize,
}

/// A frame of a large message: its head ends there in the memory of heads, its payload is
/// `start..end` of the message.
#[derive(Clone, Copy, Default)]
struct Piece {
    head_end: usize,
    start: usize,
    end: usize,
}

impl Outgoing {
    pub(super) fn new(limits: Limits, options: &PipeOptions) -> Self {
        Self {
            limits,
            queue: Vec::new(),
            written: 0,
            front: 0,
            taken_front: 0,
            frames: 0,
            bytes_max: usize::try_from(options.ring_bytes).unwrap_or(usize::MAX),
            frames_max: options.queue_messages.map_or(usize::MAX, usize::from),
            seqs: Seqs::default(),
            under_way: None,
            is_served: options.is_served,
            lack: 0,
            is_blocked: false,
            has_failed: false,
            lost: 0,
            is_closing: false,
            awaits_answer: false,
            is_shut: false,
            heads: Vec::new(),
            writes: 0,
            messages: 0,
            bytes: 0,
            fragmented: 0,
        }
    }

    /// Takes as many leading records of `run` as there is room for; returns their bytes.
    pub(super) fn send_run(&mut self, wire: &mut Wire, run: &[u8]) -> Result<usize, Error> {
        self.check_open()?;
        if self.under_way.is_some() {
            return Ok(0);
        }
        let mut walk = records(run);
        let mut taken = 0;
        let mut stop = 0;
        while let Some((header, at)) = walk.next() {
            let len = header.length as usize;
            if header.kind != RecordKind::Inline || len > INLINE_MAX {
                return if taken > 0 { Ok(taken) } else { Err(not_a_run()) };
            }
            if len as u64 > self.limits.message_bytes_max() {
                return if taken > 0 { Ok(taken) } else { Err(self.too_large(len)) };
            }
            if self.queue.len() + HEADER_BYTES + len > stop || self.frames >= self.frames_max {
                if !self.makes_room(wire, HEADER_BYTES + len) {
                    return Ok(taken);
                }
                let is_put_off = self.is_blocked || self.is_served;
                let most =
                    if is_put_off { self.bytes_max } else { WRITE_BYTES.min(self.bytes_max) };
                stop = self.written + most;
            }
            self.push(Label::plain(header.channel), &run[at..at + len])?;
            taken = walk.position();
        }
        if taken < run.len() && taken == 0 { Err(not_a_run()) } else { Ok(taken) }
    }

    /// Takes one message of any size; `false`: offer it again, or abandon it.
    pub(super) fn send(
        &mut self,
        wire: &mut Wire,
        label: Label,
        payload: &[u8],
    ) -> Result<bool, Error> {
        self.check_open()?;
        if payload.len() as u64 > self.limits.message_bytes_max() {
            return Err(self.too_large(payload.len()));
        }
        let begun = match self.under_way {
            Some(it) if (it.label, it.total) == (label, payload.len()) => it,
            Some(_) => {
                let message = "another message is half-way through: offer it again or abandon it";
                return Err(Error::new(Code::InvalidArgument, message));
            }
            None if payload.len() <= COPY_MAX => {
                let fits = self.makes_room(wire, label.head_bytes() + payload.len());
                return if fits { self.push(label, payload).map(|()| true) } else { Ok(false) };
            }
            None => {
                let seq = label.seq.map_or_else(|| self.seqs.peek(label.channel), |seq| seq.0);
                UnderWay { label, seq, total: payload.len(), done: 0 }
            }
        };
        let now = self.send_large(wire, begun, payload)?;
        self.under_way = (now.done > 0 && now.done < now.total).then_some(now);
        if begun.done == 0 && now.done > 0 && label.seq.is_none() {
            self.seqs.take(label.channel);
        }
        if now.done < now.total {
            return Ok(false);
        }
        self.count(payload.len());
        self.fragmented += u64::from(payload.len() > self.frame_max());
        Ok(true)
    }

    /// Whether a message is half-way through that does not belong to the session.
    pub(super) fn has_lossy_under_way(&self) -> bool {
        self.under_way.is_some_and(|it| it.label.seq.is_none())
    }

    /// Takes a frame of the session that is not a message.
    pub(super) fn send_control(&mut self, wire: &mut Wire, header: &Header) -> Result<bool, Error> {
        self.check_open()?;
        if !self.makes_room(wire, HEAD_BYTES_MAX) {
            return Ok(false);
        }
        frame::encode(header, &[], self.limits, &mut self.queue)?;
        self.frames += 1;
        Ok(true)
    }

    /// Gives up the message under way; `true` if it is larger than the queue, so that it goes out
    /// only while the peer reads.
    pub(super) fn abandon(&mut self) -> bool {
        self.under_way.take().is_some_and(|it| it.total > self.bytes_max)
    }

    /// Says that this end lives, unless something that says so is on its way.
    pub(super) fn ping(&mut self, wire: &mut Wire) {
        if self.queued() == 0 && !self.is_closing && !self.has_failed {
            self.queue.extend(introduction::ping_frame());
            self.frames += 1;
            self.flush(wire);
        }
    }

    /// The socket may have room.
    pub(super) fn handle_edge(&mut self) {
        self.is_blocked = false;
    }

    /// Writes what is queued, as far as the socket takes it, or as one turn of an I/O thread does.
    pub(super) fn go_on(&mut self, wire: &mut Wire) {
        if self.is_served && self.queued() > WRITE_SERVED_BYTES {
            self.write_queue(wire, WRITE_SERVED_BYTES);
        } else {
            self.flush(wire);
        }
    }

    /// Writes what is queued, as far as the socket takes it.
    pub(super) fn flush(&mut self, wire: &mut Wire) {
        self.write_queue(wire, usize::MAX);
        let is_ending = self.is_closing && !self.awaits_answer;
        if is_ending && self.queued() == 0 && !self.is_shut {
            wire.finish();
            self.write_queue(wire, usize::MAX);
            if self.has_failed || wire.flush() {
                self.is_shut = true;
                wire.shut_down_writing();
            }
        }
    }

    fn write_queue(&mut self, wire: &mut Wire, max: usize) {
        if let Some(error) = wire.take_failure() {
            self.note(wire, Err(error));
        }
        let mut left = max;
        while left > 0 && self.wants_flush(wire) {
            self.writes += 1;
            let some = left.min(self.queued());
            let written = if some == self.queued() {
                wire.write_queue(&mut self.queue, self.written)
            } else {
                wire.write(&self.queue[self.written..self.written + some])
            };
            match self.note(wire, written) {
                None => {}
                Some(_) if self.queue.is_empty() => {
                    self.taken_front = self.front;
                    (self.written, self.front, self.frames) = (0, 0, 0);
                }
                Some(len) => {
                    self.advance(len);
                    left -= len;
                }
            }
        }
    }

    /// Whether [`Outgoing::flush`] has something to do.
    pub(super) fn wants_flush(&self, wire: &Wire) -> bool {
        (self.queued() > 0 || wire.has_backlog()) && !self.has_failed && !self.is_blocked
    }

    /// Whether something is queued, here or below.
    pub(super) fn has_unsent(&self, wire: &Wire) -> bool {
        (self.queued() > 0 || wire.holds_back()) && !self.has_failed
    }

    /// Messages that were accepted and of which nothing or not everything was written.
    pub(super) fn unsent_messages(&self, wire: &Wire) -> usize {
        if self.has_failed {
            return self.lost;
        }
        let taken = |bytes: &[u8], sent| self.messages_in(bytes, self.taken_front, sent);
        let taken = wire.look_unsent(taken).unwrap_or(0);
        taken + self.messages_in(&self.queue, self.front, self.written)
    }

    /// Messages among the frames from `front` on of which not everything is written.
    fn messages_in(&self, queue: &[u8], front: usize, written: usize) -> usize {
        let (mut at, mut count) = (front, 0);
        while let Ok(Some((frame, len))) =
            frame::first(queue.get(at..).unwrap_or_default(), self.limits)
        {
            let Header { kind, channel, fragment, is_reliable, .. } = frame.header;
            let is_last = fragment.is_none_or(|it| it.index + 1 == it.count);
            let is_message = kind == Kind::Data && channel != ANNOUNCEMENTS && !is_reliable;
            at += len;
            count += usize::from(is_message && is_last && at > written);
        }
        count
    }

    /// Whether what was refused last has a chance, and a sender that waits is worth waking.
    pub(super) fn is_writable(&self) -> bool {
        let queued = self.queued();
        self.has_failed
            || queued == 0
            || (queued + self.lack.max(self.bytes_max / 2) <= self.bytes_max
                && self.frames <= self.frames_max / 2)
    }

    /// Says why, as the last thing, and ends the stream when everything is written; but not yet if
    /// it `awaits_answer`. Called again, it goes on with that.
    pub(super) fn close(&mut self, wire: &mut Wire, reason: &CloseReason, awaits_answer: bool) {
        self.awaits_answer = awaits_answer;
        if !mem::replace(&mut self.is_closing, true) {
            self.under_way = None;
            self.queue.extend(introduction::closing_frame(Kind::Close, reason));
            self.frames += 1;
        }
        self.flush(wire);
    }

    /// Gives up what is queued: nobody reads any more.
    pub(super) fn give_up(&mut self, wire: &mut Wire) {
        self.fail(wire);
        if !mem::replace(&mut self.is_shut, true) {
            wire.shut_down_writing();
        }
    }

    /// Whether writing has failed.
    pub(super) fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// Whether everything is written, the close included, or never will be.
    pub(super) fn is_over(&self) -> bool {
        self.is_shut || self.has_failed
    }

    fn queued(&self) -> usize {
        self.queue.len() - self.written
    }

    fn frame_max(&self) -> usize {
        self.limits.frame_payload_bytes_max() as usize
    }

    /// Makes sure that there is memory for the frames of so many bytes, as far as they may be
    /// queued: taken at once, it is neither moved nor too large in the end.
    fn reserve(&mut self, bytes: usize) {
        let heads = bytes.div_ceil(self.frame_max()) * HEAD_BYTES_MAX;
        let len = self.queue.len() + (bytes + heads).min(self.bytes_max);
        if len <= self.queue.capacity() {
            return;
        }
        let mut memory = block::take(len).unwrap_or_else(|| Vec::with_capacity(len));
        memory.extend_from_slice(&self.queue);
        block::keep(mem::replace(&mut self.queue, memory));
    }

    fn has_room(&self, bytes: usize) -> bool {
        let queued = self.queued();
        queued == 0 || (queued + bytes <= self.bytes_max && self.frames < self.frames_max)
    }

    /// Whether a frame of so many bytes may be queued, if necessary after a write.
    fn makes_room(&mut self, wire: &mut Wire, bytes: usize) -> bool {
        let is_due = self.queued() >= WRITE_BYTES || !self.has_room(bytes);
        if is_due && !self.is_served {
            self.flush(wire);
        }
        let fits = self.has_room(bytes);
        if !fits {
            self.lack = bytes;
        }
        fits
    }

    /// Queues a message that is one frame.
    #[inline]
    fn push(&mut self, label: Label, payload: &[u8]) -> Result<(), Error> {
        let Label { channel, seq, .. } = label;
        let is_reliable = seq.is_some();
        let seq = seq.map_or_else(|| self.seqs.take(channel), |seq| seq.0);
        if !is_reliable
            && label.expires.is_none()
            && frame::encode_plain(channel, seq, payload, self.limits, &mut self.queue)
        {
            self.frames += 1;
            self.count(payload.len());
            return Ok(());
        }
        let deadline_micros = label.deadline_micros();
        let header =
            Header { channel, seq, is_reliable, deadline_micros, ..Header::new(Kind::Data) };
        frame::encode(&header, payload, self.limits, &mut self.queue)?;
        self.frames += 1;
        self.count(payload.len());
        Ok(())
    }

    #[inline]
    fn count(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes as u64;
    }

    /// Goes on with a large message; returns how far it came.
    fn send_large(
        &mut self,
        wire: &mut Wire,
        mut it: UnderWay,
        payload: &[u8],
    ) -> Result<UnderWay, Error> {
        while it.done < it.total && !self.has_failed {
            if !self.is_blocked && !self.is_served {
                it.done += self.gather(wire, it, payload)?;
                continue;
            }
            let piece = self.piece(it.total - it.done);
            if !self.has_room(HEAD_BYTES_MAX + piece) {
                self.lack = HEAD_BYTES_MAX + piece;
                break;
            }
            self.reserve(it.total - it.done);
            let header = self.fragment(it, it.done);
            let payload = &payload[it.done..it.done + piece];
            frame::encode(&header, payload, self.limits, &mut self.queue)?;
            self.frames += 1;
            it.done += piece;
        }
        Ok(it)
    }

    /// Writes what is queued and the next frames of a message in one call; returns how many bytes
    /// of the message are on their way. The rest of a frame that was cut is queued.
    fn gather(&mut self, wire: &mut Wire, it: UnderWay, payload: &[u8]) -> Result<usize, Error> {
        let mut heads = mem::take(&mut self.heads);
        heads.clear();
        let mut frames = [Piece::default(); GATHER_MAX];
        let mut count = 0;
        let mut at = it.done;
        for slot in &mut frames {
            if at == it.total {
                break;
            }
            let piece = self.piece(it.total - at);
            frame::encode_head(&self.fragment(it, at), piece, self.limits, &mut heads)?;
            *slot = Piece { head_end: heads.len(), start: at, end: at + piece };
            at += piece;
            count += 1;
        }
        let frames = &frames[..count];
        let mut parts = [IoSlice::new(&[]); 1 + 2 * GATHER_MAX];
        parts[0] = IoSlice::new(&self.queue[self.written..]);
        let mut head = 0;
        for (frame, pair) in frames.iter().zip(parts[1..].chunks_exact_mut(2)) {
            pair[0] = IoSlice::new(&heads[head..frame.head_end]);
            pair[1] = IoSlice::new(&payload[frame.start..frame.end]);
            head = frame.head_end;
        }
        let parts = &parts[usize::from(self.queued() == 0)..1 + 2 * count];
        self.writes += 1;
        let written = wire.write_vectored(parts);
        let mut sent = 0;
        if let Some(len) = self.note(wire, written) {
            sent = self.settle(len, frames, &heads, payload) - it.done;
        }
        self.heads = heads;
        Ok(sent)
    }

    /// Accounts for `len` written bytes of the queue and `frames`; returns how far the message has
    /// come.
    fn settle(&mut self, len: usize, frames: &[Piece], heads: &[u8], payload: &[u8]) -> usize {
        let of_queue = len.min(self.queued());
        self.advance(of_queue);
        let (mut left, mut head, mut done) = (len - of_queue, 0, frames[0].start);
        for &Piece { head_end, start, end } in frames {
            if left == 0 {
                break;
            }
            let head_bytes = head_end - head;
            let frame_bytes = head_bytes + (end - start);
            if left < frame_bytes {
                let from = start + left.saturating_sub(head_bytes);
                self.reserve(payload.len() - from);
                self.queue.extend_from_slice(&heads[head + left.min(head_bytes)..head_end]);
                self.queue.extend_from_slice(&payload[from..end]);
                self.front = self.queue.len();
            }
            left -= left.min(frame_bytes);
            head = head_end;
            done = end;
        }
        done
    }

    fn piece(&self, left: usize) -> usize {
        left.min(self.frame_max())
    }

    /// The header of the frame of a large message that begins at byte `at` of it.
    fn fragment(&self, it: UnderWay, at: usize) -> Header {
        let max = self.frame_max();
        let narrow = |n: usize| u32::try_from(n).expect("invariant: messages are below 4 GiB");
        let fragment = (it.total > max).then(|| Fragment {
            index: narrow(at / max),
            count: narrow(it.total.div_ceil(max)),
            total_bytes: it.total as u64,
        });
        let is_last = it.total - at <= max;
        Header {
            channel: it.label.channel,
            seq: it.seq,
            is_reliable: it.label.seq.is_some(),
            fragment,
            deadline_micros: it.label.deadline_micros().filter(|_| is_last),
            ..Header::new(Kind::Data)
        }
    }

    /// The outcome of a write: the bytes it took, if any.
    fn note(&mut self, wire: &Wire, written: io::Result<usize>) -> Option<usize> {
        match written {
            Ok(len) => return Some(len),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => self.is_blocked = true,
                io::ErrorKind::Interrupted => {}
                _ => self.fail(wire),
            },
        }
        None
    }

    fn fail(&mut self, wire: &Wire) {
        self.lost = self.unsent_messages(wire);
        self.has_failed = true;
        self.under_way = None;
        self.queue = Vec::new();
        (self.written, self.front, self.frames) = (0, 0, 0);
    }

    /// `len` more bytes of the queue are written.
    fn advance(&mut self, len: usize) {
        self.written += len;
        if self.queued() == 0 {
            self.queue.clear();
            (self.written, self.front, self.frames) = (0, 0, 0);
            if self.queue.capacity() > 2 * WRITE_BYTES {
                block::keep(mem::take(&mut self.queue));
            }
            return;
        }
        while let Some(head) = self.queue.get(self.front..).and_then(|rest| rest.first_chunk()) {
            let end = self.front + frame::encoded_bytes(head);
            if end > self.written {
                break;
            }
            self.front = end;
            self.frames -= 1;
        }
        // The head of the frame at the front is needed until all of it is written.
        let done = self.written.min(self.front);
        if done >= SLACK_BYTES && done >= self.queued() {
            self.queue.drain(..done);
            self.front -= done;
            self.written -= done;
        }
    }

    fn check_open(&self) -> Result<(), Error> {
        if self.is_closing || self.has_failed {
            return Err(Error::new(Code::Closed, "the connection is over"));
        }
        Ok(())
    }

    fn too_large(&self, len: usize) -> Error {
        let max = self.limits.message_bytes_max();
        let message = format!(
            "a message of {len} bytes exceeds the {max} that both ends accept; raise \
             maxMessageBytes"
        );
        Error::new(Code::MessageTooLarge, message)
    }
}

/// The next sequence number of every channel; the channel used last is at hand.
#[derive(Default)]
struct Seqs {
    channel: u16,
    next: u64,
    others: HashMap<u16, u64>,
}

impl Seqs {
    #[inline]
    fn take(&mut self, channel: u16) -> u64 {
        let seq = self.peek(channel);
        self.next = seq + 1;
        seq
    }

    #[inline]
    fn peek(&mut self, channel: u16) -> u64 {
        if channel != self.channel {
            self.others.insert(self.channel, self.next);
            self.next = self.others.get(&channel).copied().unwrap_or(0);
            self.channel = channel;
        }
        self.next
    }
}

fn not_a_run() -> Error {
    let message =
        format!("a run must consist of whole inline records of at most {INLINE_MAX} bytes");
    Error::new(Code::InvalidArgument, message)
}
