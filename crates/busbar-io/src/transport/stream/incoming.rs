//! The receiving half of a stream: reads ahead, looks at every frame once as it arrives, and hands
//! messages out of the buffer they were read into.
//!
//! ```text
//! buffer   ····│ received frames ... │ part of a frame │ free
//!            start                scanned             end
//! ```
//!
//! Whole messages stay in the buffer until they are received. Fragments are taken out when they
//! are scanned; the message they make has its place where its last fragment lies.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use busbar_proto::frame::{self, Frame, Header, Kind};
use busbar_proto::session::Seq;
use busbar_proto::{CloseReason, Code, Error, Limits};
use busbar_shm::record::INLINE_MAX;

use crate::block::Block;
use crate::clock;
use crate::connection::SessionNews;
use crate::inbox::Inbox;
use crate::loan::Lease;
use crate::options::PipeOptions;

use super::assembly::{Assemblies, Progress};
use super::buffer::{BUFFER_BYTES, Buffer};
use super::plain;
use super::wire::Wire;

/// Bytes of messages put together from fragments that may wait to be received, unless it is one.
const WHOLE_BYTES_MAX: usize = 1 << 20;

/// Bytes that one call receives, and one message more, as long as reading gives new ones: a batch
/// of large ones is not to hold more memory than the call can use.
const BATCH_BYTES_MAX: u64 = 1 << 20;

/// Reads in a row before other pipes get their turn.
const READS_MAX: u32 = 16;

/// The same where an I/O thread reads, which gives way to callers after each.
const READS_SERVED_MAX: u32 = 1;

/// Payloads up to this are copied into the receiver's arena if there is room.
const COPY_MAX: usize = 16 * 1024;

pub(super) struct Incoming {
    limits: Limits,
    buffer: Buffer,
    /// Bytes that may lie in the buffer before the peer has to wait, unless no message is among
    /// them.
    ahead_max: usize,
    start: usize,
    scanned: usize,
    end: usize,
    /// Messages that can be received.
    ready: usize,
    assemblies: Assemblies,
    /// What was put together, one for each last fragment in the buffer; `None`: it was given up
    /// before.
    wholes: VecDeque<Option<Block>>,
    whole_bytes: usize,
    /// Reads are made by an I/O thread, and not by calls that find nothing.
    is_served: bool,
    /// The socket may have more to read.
    has_more: bool,
    /// The peer has ended the stream. What is left lies in the socket's own buffer, so that reading
    /// all of it, for the sake of the reason at its end, takes no more memory than is taken now.
    is_ending: bool,
    outcome: Option<Outcome>,
    is_told: bool,
    /// Present if the ends keep a session.
    session: Option<Box<Arrivals>>,
    pub(super) reads: u64,
    /// Reads that brought something.
    pub(super) arrivals: u64,
    pub(super) messages: u64,
    pub(super) bytes: u64,
    /// Messages that were of no more use when they were to be received.
    pub(super) stale: u64,
}

/// What the session is told, and what it says.
#[derive(Default)]
struct Arrivals {
    news: VecDeque<SessionNews>,
    /// Whether they are new, of the messages of the session that wait to be received; the first
    /// ones, as far as they are judged.
    verdicts: VecDeque<bool>,
}

/// How the stream has come to its end.
enum Outcome {
    Ended(CloseReason),
    Breach(Error),
}

impl Incoming {
    /// The half whose first bytes, which came with the handshake, are `early`.
    pub(super) fn new(
        limits: Limits,
        options: &PipeOptions,
        keeps_session: bool,
        early: &[u8],
    ) -> Self {
        let ahead_max = usize::try_from(options.ring_bytes).unwrap_or(usize::MAX);
        let mut buffer = Buffer::default();
        buffer.acquire();
        buffer[..early.len()].copy_from_slice(early);
        let mut incoming = Self {
            limits,
            buffer,
            ahead_max: ahead_max.min(BUFFER_BYTES),
            start: 0,
            scanned: 0,
            end: early.len(),
            ready: 0,
            assemblies: Assemblies::new(options.reassembly_bytes()),
            wholes: VecDeque::new(),
            whole_bytes: 0,
            is_served: options.is_served,
            has_more: true,
            is_ending: false,
            outcome: None,
            is_told: false,
            session: keeps_session.then(Box::default),
            reads: 0,
            arrivals: 0,
            messages: 0,
            bytes: 0,
            stale: 0,
        };
        incoming.scan();
        incoming
    }

    /// The socket has something to say.
    pub(super) fn handle_edge(&mut self, is_ending: bool) {
        self.has_more = true;
        self.is_ending |= is_ending;
    }

    /// Reads what is there and for which there is room.
    pub(super) fn fill(&mut self, wire: &mut Wire) {
        let reads_max = if self.is_served { READS_SERVED_MAX } else { READS_MAX };
        for _ in 0..reads_max {
            if !self.wants_more() {
                break;
            }
            self.make_room();
            self.reads += 1;
            let free = &mut self.buffer[self.end..];
            let room = free.len();
            match wire.read(free) {
                Ok(0) => self.end(Outcome::Ended(CloseReason::lost())),
                Ok(len) => {
                    self.end += len;
                    self.arrivals += 1;
                    // A stream that gives less than it was asked for has no more at present.
                    self.has_more = len == room || self.is_ending || wire.has_news();
                    self.scan();
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => self.has_more = false,
                    io::ErrorKind::Interrupted => {}
                    _ => self.end(ended_by(&error)),
                },
            }
        }
        self.release_memory();
    }

    /// As [`Incoming::fill`], for a call that has found nothing to receive.
    fn fill_for_call(&mut self, wire: &mut Wire) {
        if self.is_served {
            self.release_memory();
        } else {
            self.fill(wire);
        }
    }

    /// Gives back memory in which nothing lies.
    fn release_memory(&mut self) {
        if self.start == self.end {
            (self.start, self.scanned, self.end) = (0, 0, 0);
            self.buffer.release();
        }
    }

    /// Forgets what has come, and what was wrong with it. From now on only
    /// [`Incoming::discard`] may be called.
    pub(super) fn forget(&mut self) {
        (self.start, self.scanned, self.end, self.ready) = (0, 0, 0, 0);
        self.wholes = VecDeque::new();
        self.assemblies.clear();
        self.buffer.release();
        if !self.has_ended() {
            self.outcome = None;
        }
    }

    /// Reads and forgets, for the sake of the end.
    pub(super) fn discard(&mut self, wire: &mut Wire) {
        self.buffer.acquire();
        for _ in 0..READS_MAX {
            if !self.has_more || self.has_ended() {
                break;
            }
            self.reads += 1;
            match wire.read(&mut self.buffer) {
                Ok(0) => self.outcome = Some(Outcome::Ended(CloseReason::lost())),
                Ok(_) => {}
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => self.has_more = false,
                    io::ErrorKind::Interrupted => {}
                    _ => self.outcome = Some(Outcome::Ended(CloseReason::lost())),
                },
            }
        }
        self.buffer.release();
    }

    /// Whether [`Incoming::fill`] would go on.
    pub(super) fn wants_more(&self) -> bool {
        self.has_more
            && self.outcome.is_none()
            && (self.is_ending || self.end - self.start < self.ahead_max || self.ready == 0)
            && !self.is_crowded()
    }

    /// Whether the ends keep a session.
    pub(super) fn keeps_session(&self) -> bool {
        self.session.is_some()
    }

    /// See [`crate::connection::Connection::take_session_news`].
    pub(super) fn take_session_news(&mut self) -> Option<SessionNews> {
        self.session.as_mut()?.news.pop_front()
    }

    /// Whether there is some.
    pub(super) fn has_session_news(&self) -> bool {
        self.session.as_ref().is_some_and(|session| !session.news.is_empty())
    }

    /// See [`crate::connection::Connection::judge`].
    pub(super) fn judge(&mut self, is_new: bool) {
        if let Some(session) = &mut self.session {
            session.verdicts.push_back(is_new);
        }
    }

    /// Whether a message is unfinished that may expire.
    pub(super) fn has_unfinished(&self) -> bool {
        self.assemblies.has_unfinished()
    }

    /// Gives up messages of which nothing has come since the last look, unless this end did not
    /// look. One of a session is not lost with that, only its connection: its sender sends it again
    /// over the next.
    pub(super) fn expire(&mut self) {
        if !self.holds_back() && self.assemblies.expire() {
            let text = "the peer has stopped in the middle of a message".to_owned();
            let code = Some(Code::ConnectionLost);
            self.end(Outcome::Ended(CloseReason { code, status: 0, text }));
        }
    }

    /// Messages that were given up so.
    pub(super) fn expired(&self) -> u64 {
        self.assemblies.expired
    }

    /// Whether there may be more, which is not read before somebody receives.
    pub(super) fn holds_back(&self) -> bool {
        self.has_more && self.outcome.is_none() && !self.wants_more()
    }

    /// Whether the peer has ended the stream, or it is lost.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.outcome, Some(Outcome::Ended(_)))
    }

    /// How the stream came to its end, once.
    pub(super) fn take_outcome(&mut self) -> Result<Option<CloseReason>, Error> {
        if std::mem::replace(&mut self.is_told, self.outcome.is_some()) {
            return Ok(None);
        }
        match &self.outcome {
            None => Ok(None),
            Some(Outcome::Ended(reason)) => Ok(Some(reason.clone())),
            Some(Outcome::Breach(error)) => Err(error.clone()),
        }
    }

    /// The stream is over because writing to it has failed, unless reading tells more.
    pub(super) fn give_up(&mut self) {
        self.end(Outcome::Ended(CloseReason::lost()));
    }

    /// Whether [`Incoming::receive`] has something to give or to tell.
    pub(super) fn is_readable(&mut self, wire: &mut Wire) -> bool {
        if self.ready == 0 {
            // Room that was made may have let in what lies in the buffer already.
            self.scan();
            if self.wants_more() {
                self.fill_for_call(wire);
            }
        }
        self.ready > 0 || (self.outcome.is_some() && !self.is_told)
    }

    /// Moves up to `max` messages into `inbox`.
    ///
    /// # Errors
    /// `Closed` when there is nothing but the end to tell of; ask [`Incoming::take_outcome`].
    pub(super) fn receive(
        &mut self,
        wire: &mut Wire,
        inbox: &mut Inbox<'_>,
        max: usize,
    ) -> Result<(), Error> {
        let (mut count, mut looks) = (0, 0);
        let bytes_before = self.bytes;
        while count < max && inbox.slots_left() > 0 {
            if self.ready == 0 {
                if looks == READS_MAX || self.bytes - bytes_before > BATCH_BYTES_MAX {
                    break;
                }
                looks += u32::from(count == 0);
                self.scan();
                self.fill_for_call(wire);
            }
            if self.ready == 0 {
                break;
            }
            let some = self.deliver_plain(inbox, max - count);
            count += some;
            if some > 0 || self.ready == 0 {
                continue;
            }
            if self.deliver(inbox) {
                count += 1;
            } else if self.ready > 0 {
                break;
            }
            // Otherwise nothing of what was there was worth anything: there may be more.
        }
        if count == 0 && self.ready == 0 && self.outcome.is_some() && !self.is_told {
            return Err(Error::new(Code::Closed, "the stream has come to its end"));
        }
        Ok(())
    }

    /// Moves the plain messages that come first into `inbox`, at most `max`, as far as there is
    /// room; returns how many.
    fn deliver_plain(&mut self, inbox: &mut Inbox<'_>, max: usize) -> usize {
        let frames = &self.buffer[self.start..self.scanned];
        let run = plain::deliver(frames, self.limits, inbox, (max, COPY_MAX));
        self.start += run.bytes;
        self.messages += run.messages as u64;
        self.bytes += run.payload_bytes as u64;
        self.received(run.messages);
        run.messages
    }

    /// Moves the first message into `inbox`; `false` if it does not fit. There must be one.
    fn deliver(&mut self, inbox: &mut Inbox<'_>) -> bool {
        loop {
            let rest = &self.buffer[self.start..self.scanned];
            let Ok(Some((frame, len))) = frame::first(rest, self.limits) else {
                debug_assert!(false, "what was scanned is whole and valid");
                return false;
            };
            let Frame { header, payload } = frame;
            let is_last = header.fragment.is_none_or(|it| it.index + 1 == it.count);
            let is_skipped =
                is_last && header.fragment.is_some() && self.wholes.front() == Some(&None);
            if header.kind != Kind::Data || !is_last || is_skipped {
                if is_skipped {
                    self.wholes.pop_front();
                }
                self.start += len;
                continue;
            }
            let is_new = match &self.session {
                Some(session) if header.is_reliable => session.verdicts.front().copied(),
                _ => Some(true),
            };
            let Some(is_new) = is_new else { return false };
            let is_stale = header.deadline_micros.is_some_and(|at| at <= now_micros());
            if !is_new || is_stale {
                self.drop_first(&header, len, is_new);
                if self.ready == 0 {
                    return false;
                }
                continue;
            }
            let bytes = if header.fragment.is_some() {
                let whole = self.wholes.pop_front().flatten();
                let whole = whole.expect("invariant: one for each last");
                let bytes = whole.len();
                self.whole_bytes -= bytes;
                inbox.push_lease(header.channel, Lease::Block(whole));
                bytes
            } else {
                let fits = payload.len() <= COPY_MAX && inbox.push_copy(header.channel, payload);
                if !fits && payload.len() <= INLINE_MAX {
                    return false;
                }
                if !fits {
                    let copy = Block::copy_from_slice(payload);
                    inbox.push_lease(header.channel, Lease::Block(copy));
                }
                payload.len()
            };
            if header.is_reliable
                && let Some(session) = &mut self.session
            {
                session.verdicts.pop_front();
                inbox.note_seq(Seq(header.seq));
            }
            if let Some(at) = header.deadline_micros {
                inbox.note_expiry(Duration::from_micros(at));
            }
            self.start += len;
            self.received(1);
            self.messages += 1;
            self.bytes += bytes as u64;
            return true;
        }
    }

    /// Drops the first message, whose last frame this is: it has come twice, or is stale.
    fn drop_first(&mut self, header: &Header, len: usize, is_stale: bool) {
        if let Some(session) = self.session.as_mut().filter(|_| header.is_reliable) {
            session.verdicts.pop_front();
            let expired = SessionNews::Expired(header.channel, Seq(header.seq));
            session.news.extend(is_stale.then_some(expired));
        }
        if header.fragment.is_some() {
            let whole = self.wholes.pop_front().flatten();
            self.whole_bytes -= whole.map_or(0, |whole| whole.len());
        }
        self.stale += u64::from(is_stale);
        self.start += len;
        self.received(1);
    }

    /// The first messages are dealt with.
    fn received(&mut self, messages: usize) {
        self.ready -= messages;
        if self.ready == 0 {
            // What follows are fragments, which have been taken out or given up.
            self.start = self.scanned;
            self.wholes.clear();
        }
    }

    /// Looks at the frames that have arrived since the last look.
    fn scan(&mut self) {
        while self.outcome.is_none() && !self.is_crowded() {
            self.scan_plain();
            let Self { buffer, scanned, end, limits, .. } = self;
            let (frame, len) = match frame::first(&buffer[*scanned..*end], *limits) {
                Ok(Some(found)) => found,
                Ok(None) => return,
                Err(error) => return self.breach(error),
            };
            let Frame { header, payload } = frame;
            match (header.kind, header.fragment) {
                (Kind::Data, _) if header.is_reliable && self.session.is_none() => {
                    let message = "the peer sent a message of a session that is not kept";
                    return self.breach(Error::new(Code::Protocol, message));
                }
                (Kind::Data, None) => {
                    self.assemblies.give_up(header.channel);
                    self.ready += 1;
                    self.tell(&header);
                }
                (Kind::Data, Some(fragment)) => {
                    match self.assemblies.add(&header, fragment, payload) {
                        Err(error) => return self.breach(error),
                        Ok(Progress::Unfinished) => {}
                        // It stays in the buffer only behind a message.
                        Ok(Progress::Skipped) if self.ready == 0 => {}
                        Ok(Progress::Skipped) => self.wholes.push_back(None),
                        Ok(Progress::Whole(whole)) => {
                            self.whole_bytes += whole.len();
                            self.wholes.push_back(Some(whole));
                            self.ready += 1;
                            self.tell(&header);
                        }
                    }
                }
                (Kind::Ping, _) => {}
                (Kind::Ack | Kind::Skip | Kind::Probe | Kind::Pong | Kind::Leave, _)
                    if self.session.is_some() =>
                {
                    self.tell(&header);
                }
                (Kind::Close, _) => match CloseReason::decode(payload) {
                    Ok(reason) => self.outcome = Some(Outcome::Ended(reason)),
                    Err(error) => return self.breach(error),
                },
                (kind, _) => {
                    let message = format!("the peer sent {kind:?} on an established connection");
                    return self.breach(Error::new(Code::Protocol, message));
                }
            }
            if let Some(left) = header.deadline_micros {
                // From now on it says when, and no longer for how long.
                let at = now_micros().saturating_add(left);
                frame::set_deadline(&mut self.buffer[self.scanned..self.scanned + len], at);
            }
            self.scanned += len;
            if self.ready == 0 {
                // Nothing waits in front of it, and it is no message itself.
                self.start = self.scanned;
            }
        }
    }

    /// Looks at the plain messages that come next, unless one of them may replace another.
    #[inline]
    fn scan_plain(&mut self) {
        if self.assemblies.is_empty() {
            let run = plain::scan(&self.buffer[self.scanned..self.end], self.limits);
            self.scanned += run.bytes;
            self.ready += run.messages;
        }
    }

    /// Tells the session of a frame, if it is one of the session's.
    #[inline]
    fn tell(&mut self, header: &Header) {
        let Some(session) = &mut self.session else { return };
        let news = match header.kind {
            Kind::Data if header.is_reliable => SessionNews::Data(header.channel, Seq(header.seq)),
            Kind::Ack => {
                let ack = header.ack.expect("invariant: the decoder has checked");
                SessionNews::Ack(header.channel, ack)
            }
            Kind::Skip => SessionNews::Skip(header.channel, Seq(header.seq)),
            Kind::Probe => SessionNews::Probe(header.seq),
            Kind::Pong => SessionNews::Pong(header.seq),
            Kind::Leave => SessionNews::Leave,
            _ => return,
        };
        session.news.push_back(news);
    }

    /// Nothing follows what has arrived, which ends with `outcome` unless it says how itself.
    fn end(&mut self, outcome: Outcome) {
        // What had to wait for room may be in the buffer still, the reason included.
        self.is_ending = true;
        self.scan();
        self.outcome.get_or_insert(outcome);
    }

    fn breach(&mut self, error: Error) {
        self.outcome = Some(Outcome::Breach(error));
    }

    /// Whether so much is put together that the peer has to wait.
    fn is_crowded(&self) -> bool {
        self.whole_bytes > WHOLE_BYTES_MAX && !self.is_ending
    }

    /// Makes free space at the end of the buffer. Only at the end of a stream, when everything is
    /// read, does it have to grow.
    fn make_room(&mut self) {
        self.buffer.acquire();
        if self.start == self.end {
            (self.start, self.scanned, self.end) = (0, 0, 0);
        } else if self.start == 0 && self.end == self.buffer.len() {
            self.buffer.grow();
        } else if (self.end > BUFFER_BYTES / 4 * 3 && self.start >= BUFFER_BYTES / 2)
            || self.end == self.buffer.len()
        {
            self.buffer.copy_within(self.start..self.end, 0);
            self.scanned -= self.start;
            self.end -= self.start;
            self.start = 0;
        }
    }
}

/// The time now, as deadlines of received frames have it.
fn now_micros() -> u64 {
    u64::try_from(clock::now().as_micros()).unwrap_or(u64::MAX)
}

fn ended_by(error: &io::Error) -> Outcome {
    if let Some(breach) = error.get_ref().and_then(|error| error.downcast_ref::<Error>()) {
        return Outcome::Breach(breach.clone());
    }
    let text = match error.kind() {
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => return Outcome::Ended(CloseReason::lost()),
        _ => format!("the connection failed: {error}"),
    };
    Outcome::Ended(CloseReason { code: Some(Code::ConnectionLost), status: 0, text })
}
