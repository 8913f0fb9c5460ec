//! A session between a pipe and its connections: what is sent is kept until the peer has
//! acknowledged it, and what comes twice is received once.
//!
//! ```text
//! send ─→ Session ─ send_reliable ─→ connection ═══ peer ─→ news ─→ Session: new or not ─→ receive
//!            └←── acknowledged ←── ACK ═══════════════════════════←── processed ←── application
//! ```
//!
//! [`Reliable`] is the pipe's, and outlives its connections. [`Durable`] is it together with the
//! connection of the moment, as one link: whoever moves messages need not know more. Channels that
//! are not reliable pass through it to the connection.
//!
//! What has come over a connection that is lost, and was not received, is kept in a backlog, since
//! the peer is told that it has arrived.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use busbar_proto::frame::{Header, Kind};
use busbar_proto::session::{Acknowledge, Arrival, Seq, Session, Transmit};
use busbar_proto::{CloseReason, Code, Error};
use busbar_shm::record::{INLINE_MAX, Kind as RecordKind, records};
use bytes::Bytes;

use crate::connection::{Connection, Numbered, SessionNews};
use crate::engine::backlog::{Backlog, Look, Passed};
use crate::engine::handed::Handed;
use crate::engine::progress::Progress;
use crate::event::ListenerId;
use crate::inbox::{ANNOUNCEMENTS, Inbox, noted};
use crate::link::{Interest, Link, LinkStats};
use crate::loan::Loan;
use crate::options::PipeOptions;
use crate::peer::Peer;
use crate::reactor::{Reactor, Token};
use crate::transport::Nowhere;

/// Looks in a row at what turns out to have come twice, before other pipes get their turn.
const LOOKS_MAX: usize = 16;

/// See the [module](self).
pub(super) struct Reliable {
    pub(super) session: Session<Bytes>,
    /// Whether this end is the dialer's, whatever becomes of the listener.
    pub(super) has_dialed: bool,
    /// Which listener it came in at, and will come back to.
    pub(super) origin: Option<ListenerId>,
    /// Channels that are not of the session.
    lossy: Arc<[u16]>,
    is_acknowledged_late: bool,
    /// Whether the connection still leads anywhere.
    pub(super) progress: Progress,
    /// The largest message that the ends have agreed on, at first that of this end.
    message_bytes_max: u64,
    /// What the connection has refused, perhaps after sending a part.
    begun: Option<Transmit<Bytes>>,
    /// Of the message that was refused last for want of room in the session: channel and bytes.
    lack: Option<(u16, usize)>,
    /// Whether the connection has refused a message that does not belong to the session.
    is_link_blocked: bool,
    /// Whether whoever offered it was not told yet to offer it again.
    is_link_awaited: bool,
    pub(super) backlog: Backlog,
    /// Nobody receives any more.
    pub(super) discards: bool,
    /// What the peer is told when the session is closed.
    farewell: CloseReason,
    handed: Handed,
    /// Whether somebody waits until everything is acknowledged.
    pub(super) is_draining: bool,
    /// Messages that came twice.
    pub(super) duplicates: u64,
    /// Messages that were given up.
    pub(super) failed: u64,
    /// Messages that were stale before they could be sent, or sent again.
    pub(super) expired: u64,
    /// Why there is no connection.
    pub(super) failure: Option<CloseReason>,
    /// Of the connections that are gone.
    pub(super) past: LinkStats,
    pub(super) connects: u64,
}

/// See the [module](self).
pub(super) struct Durable<'a> {
    reliable: &'a mut Reliable,
    below: &'a mut (dyn Connection + 'static),
}

impl Reliable {
    pub(super) fn new(
        session: Session<Bytes>,
        origin: Option<ListenerId>,
        options: &PipeOptions,
    ) -> Box<Self> {
        let acknowledge = options.reliable.map(|session| session.acknowledge);
        let probe_after = options.reliable.unwrap_or_default().probe_after;
        Box::new(Self {
            session,
            has_dialed: origin.is_none(),
            origin,
            lossy: Arc::clone(&options.lossy_channels),
            is_acknowledged_late: acknowledge == Some(Acknowledge::Processed),
            progress: Progress::new(probe_after),
            message_bytes_max: options.message_bytes_max as u64,
            begun: None,
            lack: None,
            is_link_blocked: false,
            is_link_awaited: false,
            backlog: Backlog::default(),
            discards: false,
            farewell: CloseReason::default(),
            handed: Handed::default(),
            is_draining: false,
            duplicates: 0,
            failed: 0,
            expired: 0,
            failure: None,
            past: LinkStats::default(),
            connects: 0,
        })
    }

    /// This session over a connection.
    pub(super) fn over<'a>(
        &'a mut self,
        connection: &'a mut (dyn Connection + 'static),
    ) -> Durable<'a> {
        Durable { reliable: self, below: connection }
    }

    /// What stands in for a connection while there is none.
    pub(super) fn nowhere(&self) -> Nowhere {
        Nowhere::new(self.message_bytes_max)
    }

    /// A connection stands: what it takes is accepted also while there is none.
    pub(super) fn connect(&mut self, connection: &dyn Connection) {
        self.failure = None;
        self.connects += 1;
        self.message_bytes_max = connection.message_bytes_max();
        self.progress.connected(connection, &self.session, self.has_dialed);
    }

    /// Whether it has had a connection, so that messages are accepted.
    pub(super) fn is_established(&self) -> bool {
        self.session.is_established()
    }

    /// Whether somebody has to receive before it goes on over another connection.
    pub(super) fn is_backlogged(&self) -> bool {
        self.backlog.is_full(self.message_bytes_max)
    }

    /// Whether the connection has to be looked at because it had no room.
    pub(super) fn is_blocked(&self) -> bool {
        self.begun.is_some() || self.is_link_blocked
    }

    /// Messages of which it may yet be heard that they have arrived.
    pub(super) fn awaited(&self) -> usize {
        let session = &self.session;
        let is_over = session.is_closing() || session.is_forsaken() || session.is_lost();
        if is_over { 0 } else { session.unconfirmed() }
    }

    /// Tells the peer, over this connection or the next, that this end has nothing more to say.
    pub(super) fn close(&mut self, reason: &CloseReason) {
        self.farewell = reason.clone();
        self.session.close();
    }

    /// Tells the peer so, once nothing is left that could still be acknowledged.
    pub(super) fn leave(&mut self) {
        if self.discards && self.is_acknowledged_late && self.handed.is_empty() {
            self.session.leave();
        }
    }

    /// Whether who waits for the end has waited enough: said once.
    pub(super) fn take_drained(&mut self) -> bool {
        let is_drained = self.is_draining && self.awaited() == 0;
        self.is_draining &= !is_drained;
        is_drained
    }

    /// Whether a message that was refused has a chance now, or who waits for the end has waited
    /// enough. Who waits for the end, and for nothing else, is not told of room.
    pub(super) fn is_writable(&mut self) -> bool {
        if self.take_drained() {
            return true;
        }
        if self.is_draining && self.lack.is_none() && !self.is_link_awaited {
            return false;
        }
        let has_room = |(channel, bytes)| self.session.has_room(channel, bytes).unwrap_or(true);
        let is_writable = !self.is_link_blocked && self.lack.is_none_or(has_room);
        if is_writable && self.is_draining {
            (self.lack, self.is_link_awaited) = (None, false);
        }
        is_writable
    }

    /// Messages that are not acknowledged; unless there are none, it will be writable when there
    /// are none.
    pub(super) fn drain(&mut self) -> usize {
        let count = self.awaited();
        self.is_draining = count > 0;
        count
    }

    /// The application is done with the messages before this one, of all that were given out.
    pub(super) fn processed(&mut self, ordinal: u64) {
        while let Some((channel, seq)) = self.handed.take_before(ordinal) {
            self.session.acknowledge(channel, seq);
        }
    }

    /// Of all messages that were given out, the application gets those before this one only.
    pub(super) fn forget_from(&mut self, ordinal: u64) {
        self.handed.forget_from(ordinal);
    }

    /// The application is done with these, of all that were given out.
    pub(super) fn acknowledge(&mut self, ordinals: Range<u64>) {
        for ordinal in ordinals.start..ordinals.end.min(self.handed.given()) {
            if let Some((channel, seq)) = self.handed.take(ordinal) {
                self.session.acknowledge(channel, seq);
            }
        }
    }

    /// The number of a message that was given out, in its channel of the session. `None`: it
    /// belongs to no session, or the application is done with it.
    pub(super) fn seq_of(&self, ordinal: u64) -> Option<Seq> {
        self.handed.find(ordinal).map(|(_, seq)| seq)
    }

    /// Hands what has come over the connection to the session.
    ///
    /// # Errors
    /// How the peer broke the rules.
    pub(super) fn attend(&mut self, connection: &mut dyn Connection) -> Result<(), Error> {
        while let Some(news) = connection.take_session_news() {
            match news {
                SessionNews::Data(channel, seq) => {
                    let arrival = self.session.handle_data(channel, seq);
                    self.duplicates += u64::from(matches!(arrival, Ok(Arrival::Duplicate)));
                    connection.judge(matches!(arrival, Ok(Arrival::New)));
                    arrival?;
                }
                SessionNews::Expired(channel, seq) => self.session.acknowledge(channel, seq),
                SessionNews::Ack(channel, ack) => self.session.handle_ack(channel, ack)?,
                SessionNews::Skip(channel, seq) => self.session.handle_skip(channel, seq)?,
                SessionNews::Probe(seq) => {
                    // Who asks in vain asks again. A connection that is over says so itself.
                    let _ = connection.send_control(&Header { seq, ..Header::new(Kind::Pong) });
                }
                SessionNews::Pong(seq) => self.progress.handle_pong(seq),
                SessionNews::Leave => self.session.handle_leave(),
            }
        }
        Ok(())
    }

    /// Lets the connection take what the session has to send.
    ///
    /// # Errors
    /// As [`Connection::send_reliable`]. What was not taken is still there.
    pub(super) fn pump(&mut self, connection: &mut dyn Connection) -> Result<(), Error> {
        // In the middle of another message only control frames can pass.
        let is_held = connection.has_lossy_under_way();
        let now = Instant::now();
        let poll = |session: &mut Session<Bytes>| match is_held {
            true => session.poll_control(),
            false => session.poll_transmit(now),
        };
        loop {
            let Some(next) = self.begun.take().or_else(|| poll(&mut self.session)) else {
                return Ok(());
            };
            let taken = match &next {
                &Transmit::Data { channel, seq, ref payload, expires } => {
                    self.progress.handle_sent(now);
                    connection.send_reliable(Numbered { channel, seq, expires }, payload)
                }
                Transmit::Close => {
                    self.progress.handle_sent(now);
                    connection.close(&self.farewell);
                    return Ok(());
                }
                other => connection.send_control(&other.header()),
            };
            match (taken, &next) {
                (Ok(true), _) => {}
                // The peer has come to accept less than it did. The others can be sent.
                (Err(error), &Transmit::Data { channel, seq, .. })
                    if error.code() == Code::MessageTooLarge =>
                {
                    self.session.give_up(channel, seq);
                }
                (taken, _) => {
                    self.begun = Some(next);
                    return taken.map(|_| ());
                }
            }
        }
    }

    /// The connection may have room.
    pub(super) fn unblock(&mut self) {
        self.is_link_blocked = false;
    }

    /// Drops what has come and comes, for the sake of the acknowledgements behind it. It does not
    /// count as processed.
    ///
    /// # Errors
    /// As [`Link::receive`].
    pub(super) fn discard(&mut self, connection: &mut dyn Connection) -> Result<(), Error> {
        self.backlog.clear();
        if !connection.is_readable() {
            return self.attend(connection);
        }
        let mut look = Look::new();
        for _ in 0..LOOKS_MAX {
            self.attend(connection)?;
            look.receive(connection)?;
            if !connection.is_readable() {
                break;
            }
        }
        self.attend(connection)
    }

    /// The connection is gone: keeps what came over it.
    pub(super) fn disconnect(&mut self, connection: &mut dyn Connection, now: Instant) {
        // What was not read will be sent again.
        connection.sever();
        // How it has ended is known.
        let _ = self.attend(connection);
        let mut look = Look::new();
        loop {
            let _ = look.receive(connection);
            // What was stale is not received, but acknowledged.
            let _ = self.attend(connection);
            if !look.has_any() {
                break;
            }
            self.backlog.keep(&mut look);
        }
        if self.discards {
            self.backlog.clear();
        }
        self.begun = None;
        self.is_link_blocked = false;
        self.session.handle_disconnect(now);
    }

    /// Moves what came over connections that are gone into `inbox`.
    fn receive_backlog(&mut self, inbox: &mut Inbox<'_>, max: usize) {
        let mut left = max;
        while left > 0
            && let Some(Passed { channel, seq, is_stale }) = self.backlog.pass(inbox)
        {
            if !is_stale {
                left -= 1;
                self.give(channel, seq);
            } else if let Some(seq) = seq {
                self.session.acknowledge(channel, seq);
            }
        }
    }

    /// A message is given out.
    fn give(&mut self, channel: u16, seq: Option<Seq>) {
        if channel == ANNOUNCEMENTS {
            if let Some(seq) = seq {
                self.session.acknowledge(channel, seq);
            }
            return;
        }
        self.handed.give(channel, seq);
    }

    fn is_lossy(&self, channel: u16) -> bool {
        self.lossy.contains(&channel)
    }
}

impl Durable<'_> {
    /// Offers a message that does not belong to the session.
    fn send_lossy(
        &mut self,
        send: impl FnOnce(&mut dyn Connection) -> Result<bool, Error>,
    ) -> Result<bool, Error> {
        let is_under_way = self.below.has_lossy_under_way();
        // Announcements come before what they are about.
        let _ = self.reliable.pump(self.below);
        let may_go = is_under_way || self.reliable.begun.is_none();
        let sent = if may_go { send(self.below) } else { Ok(false) };
        if matches!(sent, Ok(true)) && is_under_way {
            // What had to wait for its end goes on.
            let _ = self.reliable.pump(self.below);
        }
        self.reliable.is_link_blocked |= matches!(sent, Ok(false));
        self.reliable.is_link_awaited |= !matches!(sent, Ok(true));
        sent
    }

    fn send_in_session(
        &mut self,
        channel: u16,
        len: usize,
        expires: Option<Instant>,
        payload: impl FnOnce() -> Bytes,
    ) -> Result<bool, Error> {
        let max = self.below.message_bytes_max();
        if len as u64 > max {
            let message =
                format!("a message of {len} bytes exceeds the {max} that both ends accept");
            return Err(Error::new(Code::MessageTooLarge, message + "; raise maxMessageBytes"));
        }
        let reliable = &mut *self.reliable;
        if !reliable.session.has_room(channel, len)? {
            reliable.lack = Some((channel, len));
            return Ok(false);
        }
        reliable.lack = None;
        reliable.session.send(channel, payload(), expires)?;
        // It is accepted, whatever becomes of the connection, which says so itself.
        let _ = reliable.pump(self.below);
        Ok(true)
    }
}

impl Link for Durable<'_> {
    fn send_run(&mut self, run: &[u8]) -> Result<usize, Error> {
        let mut walk = records(run);
        let mut taken = 0;
        while let Some((header, at)) = walk.next() {
            let len = header.length as usize;
            if header.kind != RecordKind::Inline || len > INLINE_MAX {
                break;
            }
            match self.send(header.channel, &run[at..at + len]) {
                Ok(true) => taken = walk.position(),
                Ok(false) => return Ok(taken),
                // The records before are accepted: the next run gets the error.
                Err(_) if taken > 0 => return Ok(taken),
                Err(error) => return Err(error),
            }
        }
        if taken == 0 && !run.is_empty() {
            let message = "a run consists of whole inline records";
            return Err(Error::new(Code::InvalidArgument, message));
        }
        Ok(taken)
    }

    fn send(&mut self, channel: u16, payload: &[u8]) -> Result<bool, Error> {
        if self.reliable.is_lossy(channel) {
            return self.send_lossy(|link| link.send(channel, payload));
        }
        self.send_in_session(channel, payload.len(), None, || Bytes::copy_from_slice(payload))
    }

    fn send_bytes(&mut self, channel: u16, payload: &Bytes) -> Result<bool, Error> {
        if self.reliable.is_lossy(channel) {
            return self.send_lossy(|link| link.send_bytes(channel, payload));
        }
        self.send_in_session(channel, payload.len(), None, || payload.clone())
    }

    fn abandon(&mut self) -> bool {
        // What belongs to the session is under way until it has arrived.
        self.below.has_lossy_under_way() && self.below.abandon()
    }

    fn loan(&mut self, len: usize) -> Result<Option<Loan>, Error> {
        self.below.loan(len)
    }

    fn commit(&mut self, channel: u16, loan: Loan, len: usize) -> Result<Option<Loan>, Error> {
        let Some(payload) = loan.get(..len) else {
            let message = format!("{len} bytes to commit in a loan of {}", loan.len());
            return Err(Error::new(Code::InvalidArgument, message));
        };
        Ok((!self.send(channel, payload)?).then_some(loan))
    }

    fn receive(&mut self, inbox: &mut Inbox<'_>, max: usize) -> Result<(), Error> {
        let Self { reliable, below } = self;
        let before = inbox.len();
        if !reliable.is_acknowledged_late {
            reliable.handed.bound();
        }
        reliable.receive_backlog(inbox, max);
        if inbox.len() > before {
            return Ok(());
        }
        for _ in 0..LOOKS_MAX {
            // What came before a breach is received.
            let attended = reliable.attend(*below);
            let result = below.receive(inbox, max);
            let seqs = inbox.take_seqs();
            // What is given out has its place among all, and is not dropped any more.
            inbox.take_expiries();
            for at in before..inbox.len() {
                reliable.give(inbox.slots()[at].channel(), noted(&seqs, at));
            }
            // What came in the meantime waits to be judged.
            let is_done = inbox.len() > before || !below.is_readable() || result.is_err();
            let attended = attended.and(reliable.attend(*below));
            if is_done || attended.is_err() {
                return attended.and(result);
            }
        }
        Ok(())
    }

    fn is_readable(&mut self) -> bool {
        !self.reliable.backlog.is_empty() || self.below.is_readable()
    }

    fn is_writable(&mut self) -> bool {
        self.reliable.is_writable()
    }

    fn park(&mut self, wants: Interest) -> bool {
        self.below.park(wants)
    }

    fn unpark(&mut self) {
        self.below.unpark();
    }

    fn collect(&mut self) {
        self.below.collect();
    }

    fn stats(&self) -> LinkStats {
        self.below.stats()
    }
}

impl Connection for Durable<'_> {
    fn register(&mut self, reactor: &Reactor, bell: Token) -> Result<(), Error> {
        self.below.register(reactor, bell)
    }

    fn deregister(&mut self, reactor: &Reactor) {
        self.below.deregister(reactor);
    }

    fn handle_notice(&mut self) -> Option<CloseReason> {
        self.below.handle_notice()
    }

    fn handle_control(&mut self) -> Result<Option<CloseReason>, Error> {
        self.below.handle_control()
    }

    fn close(&mut self, reason: &CloseReason) {
        self.below.close(reason);
    }

    fn message_bytes_max(&self) -> u64 {
        self.below.message_bytes_max()
    }

    fn send_until(
        &mut self,
        channel: u16,
        payload: &Bytes,
        expires: Instant,
    ) -> Result<bool, Error> {
        if self.reliable.is_lossy(channel) {
            return self.send_lossy(|link| link.send_until(channel, payload, expires));
        }
        self.send_in_session(channel, payload.len(), Some(expires), || payload.clone())
    }

    fn send_once(
        &mut self,
        channel: u16,
        payload: &Bytes,
        expires: Option<Instant>,
    ) -> Result<bool, Error> {
        self.send_lossy(|link| link.send_once(channel, payload, expires))
    }

    fn has_session(&self) -> bool {
        true
    }

    fn open_channel(&mut self, channel: u16) -> Result<(), Error> {
        if self.reliable.is_lossy(channel) {
            return Ok(());
        }
        self.reliable.session.open_channel(channel)
    }

    fn refuses_by_channel(&self) -> bool {
        // In the middle of a message, the link waits for the rest of it.
        !self.below.has_lossy_under_way()
    }

    fn tells_expiry(&self) -> bool {
        true
    }

    fn peer(&self) -> Option<Peer> {
        self.below.peer()
    }
}
