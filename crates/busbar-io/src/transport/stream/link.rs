//! An established stream: the two halves, behind the engine's traits.

use std::time::Instant;

use busbar_proto::frame::Header;
use busbar_proto::session::Resume;
use busbar_proto::{CloseReason, Code, Error, Limits};
use bytes::{Bytes, BytesMut};

use crate::connection::{Connection, Numbered, SessionNews, Terms};
use crate::inbox::Inbox;
use crate::link::{Interest, Link, LinkStats};
use crate::loan::Loan;
use crate::options::PipeOptions;
use crate::peer::Peer;
use crate::reactor::{Reactor, Token};

use super::incoming::Incoming;
use super::outgoing::{Label, Outgoing};
use super::wire::Wire;

pub(super) struct StreamConnection {
    wire: Wire,
    incoming: Incoming,
    outgoing: Outgoing,
    limits: Limits,
    peer: Peer,
    terms: Terms,
    resume: Option<Resume>,
    /// What there is to do is seen to by an I/O thread.
    is_served: bool,
    is_lingering: bool,
    parks: u64,
}

impl StreamConnection {
    /// A connection under terms that both ends have agreed on; `resume` is what the peer has said
    /// of their session, if they keep one, and `early` came with the handshake.
    pub(super) fn new(
        wire: Wire,
        limits: Limits,
        terms: Terms,
        resume: Option<Resume>,
        options: &PipeOptions,
        peer: Peer,
        early: &[u8],
    ) -> Self {
        Self {
            wire,
            incoming: Incoming::new(limits, options, resume.is_some(), early),
            outgoing: Outgoing::new(limits, options),
            limits,
            peer,
            terms,
            resume,
            is_served: options.is_served,
            is_lingering: false,
            parks: 0,
        }
    }

    /// Reads ahead, and says how the peer ended the connection, once.
    fn look(&mut self) -> Result<Option<CloseReason>, Error> {
        if self.is_lingering {
            self.incoming.discard(&mut self.wire);
            return Ok(None);
        }
        self.incoming.fill(&mut self.wire);
        if self.outgoing.has_failed() && !self.incoming.wants_more() {
            // The reason may still lie in the socket: reading comes first.
            self.incoming.give_up();
        }
        let outcome = self.incoming.take_outcome();
        if let Ok(Some(reason)) = &outcome {
            // The end of a session is answered, which is for the engine to do.
            let is_answered =
                self.incoming.keeps_session() && reason.code != Some(Code::ConnectionLost);
            if !is_answered {
                self.outgoing.give_up(&mut self.wire);
            }
        }
        outcome
    }
}

impl Link for StreamConnection {
    #[inline]
    fn send_run(&mut self, run: &[u8]) -> Result<usize, Error> {
        self.outgoing.send_run(&mut self.wire, run)
    }

    #[inline]
    fn send(&mut self, channel: u16, payload: &[u8]) -> Result<bool, Error> {
        self.outgoing.send(&mut self.wire, Label::plain(channel), payload)
    }

    fn abandon(&mut self) -> bool {
        self.outgoing.abandon()
    }

    fn loan(&mut self, len: usize) -> Result<Option<Loan>, Error> {
        if len as u64 > self.limits.message_bytes_max() {
            let max = self.limits.message_bytes_max();
            let message = format!(
                "a message of {len} bytes exceeds the {max} that both ends accept; raise \
                 maxMessageBytes"
            );
            return Err(Error::new(Code::MessageTooLarge, message));
        }
        Ok(Some(Loan::Heap(BytesMut::zeroed(len))))
    }

    fn commit(&mut self, channel: u16, loan: Loan, len: usize) -> Result<Option<Loan>, Error> {
        let memory = loan.into_heap()?;
        let Some(payload) = memory.get(..len) else {
            let message = format!("{len} bytes to commit in a loan of {}", memory.len());
            return Err(Error::new(Code::InvalidArgument, message));
        };
        let sent = self.outgoing.send(&mut self.wire, Label::plain(channel), payload)?;
        Ok((!sent).then_some(Loan::Heap(memory)))
    }

    #[inline]
    fn receive(&mut self, inbox: &mut Inbox<'_>, max: usize) -> Result<(), Error> {
        self.incoming.receive(&mut self.wire, inbox, max)
    }

    #[inline]
    fn is_readable(&mut self) -> bool {
        self.incoming.is_readable(&mut self.wire)
    }

    fn is_writable(&mut self) -> bool {
        self.outgoing.is_writable()
    }

    /// The socket reports its edges whether or not somebody sleeps.
    fn park(&mut self, wants: Interest) -> bool {
        let is_ready = (wants.readable && self.is_readable())
            || (wants.writable && self.is_writable())
            || self.incoming.has_session_news()
            || (self.has_work() && !self.is_served);
        self.parks += u64::from(!is_ready);
        !is_ready
    }

    fn unpark(&mut self) {}

    fn collect(&mut self) {}

    fn stats(&self) -> LinkStats {
        LinkStats {
            messages_sent: self.outgoing.messages,
            bytes_sent: self.outgoing.bytes,
            messages_received: self.incoming.messages,
            bytes_received: self.incoming.bytes,
            fragmented: self.outgoing.fragmented,
            parks: self.parks,
            reads: self.incoming.reads,
            writes: self.outgoing.writes,
            reassemblies_expired: self.incoming.expired(),
            messages_expired: self.incoming.stale,
            ..LinkStats::default()
        }
    }
}

impl Connection for StreamConnection {
    /// The handshake has registered the socket already; one that lingers comes from elsewhere.
    fn register(&mut self, reactor: &Reactor, bell: Token) -> Result<(), Error> {
        self.wire.socket.adopt(reactor, bell)
    }

    fn deregister(&mut self, reactor: &Reactor) {
        self.wire.socket.deregister(reactor);
    }

    fn handle_bell(&mut self, is_ending: bool) -> Result<Option<CloseReason>, Error> {
        self.incoming.handle_edge(is_ending);
        self.outgoing.handle_edge();
        self.outgoing.go_on(&mut self.wire);
        self.look()
    }

    fn handle_notice(&mut self) -> Option<CloseReason> {
        None
    }

    fn handle_control(&mut self) -> Result<Option<CloseReason>, Error> {
        self.look()
    }

    fn work(&mut self) -> Result<Option<CloseReason>, Error> {
        self.outgoing.go_on(&mut self.wire);
        if self.incoming.wants_more() { self.look() } else { Ok(None) }
    }

    fn has_work(&self) -> bool {
        self.outgoing.wants_flush(&self.wire) || self.incoming.wants_more()
    }

    fn is_polled(&self) -> bool {
        true
    }

    fn has_unsent(&self) -> bool {
        self.outgoing.has_unsent(&self.wire)
    }

    fn has_unfinished(&self) -> bool {
        self.incoming.has_unfinished()
    }

    fn expire_unfinished(&mut self) -> Result<Option<CloseReason>, Error> {
        self.incoming.expire();
        if self.incoming.has_ended() { self.look() } else { Ok(None) }
    }

    fn unsent_messages(&self) -> usize {
        self.outgoing.unsent_messages(&self.wire)
    }

    fn close(&mut self, reason: &CloseReason) {
        if self.incoming.has_ended() && self.outgoing.has_failed() {
            return;
        }
        let awaits_answer = self.incoming.keeps_session() && !self.incoming.has_ended();
        self.outgoing.close(&mut self.wire, reason, awaits_answer);
    }

    fn begin_lingering(&mut self) {
        self.is_lingering = true;
        if self.incoming.keeps_session() {
            // It has said why already.
            self.outgoing.close(&mut self.wire, &CloseReason::default(), false);
        }
        self.incoming.forget();
    }

    fn is_over(&self) -> bool {
        let is_heard = self.wire.socket.keeps_what_was_written() || self.incoming.has_ended();
        self.outgoing.has_failed() || (self.outgoing.is_over() && is_heard)
    }

    fn message_bytes_max(&self) -> u64 {
        self.limits.message_bytes_max()
    }

    fn peer(&self) -> Option<Peer> {
        Some(self.peer.clone())
    }

    fn terms(&self) -> Terms {
        self.terms
    }

    fn heard(&self) -> Option<u64> {
        (!self.incoming.holds_back()).then_some(self.incoming.arrivals)
    }

    fn said(&self) -> u64 {
        self.outgoing.writes
    }

    fn ping(&mut self) {
        self.outgoing.ping(&mut self.wire);
    }

    fn take_resume(&mut self) -> Option<Resume> {
        self.resume.take()
    }

    fn take_session_news(&mut self) -> Option<SessionNews> {
        self.incoming.take_session_news()
    }

    fn judge(&mut self, is_new: bool) {
        self.incoming.judge(is_new);
    }

    fn has_lossy_under_way(&self) -> bool {
        self.outgoing.has_lossy_under_way()
    }

    fn send_until(
        &mut self,
        channel: u16,
        payload: &Bytes,
        expires: Instant,
    ) -> Result<bool, Error> {
        let label = Label { expires: Some(expires), ..Label::plain(channel) };
        self.outgoing.send(&mut self.wire, label, payload)
    }

    fn tells_expiry(&self) -> bool {
        true
    }

    fn send_reliable(&mut self, label: Numbered, payload: &Bytes) -> Result<bool, Error> {
        let Numbered { channel, seq, expires } = label;
        self.outgoing.send(&mut self.wire, Label { channel, seq: Some(seq), expires }, payload)
    }

    fn send_control(&mut self, header: &Header) -> Result<bool, Error> {
        self.outgoing.send_control(&mut self.wire, header)
    }

    fn sever(&mut self) {
        self.incoming.give_up();
        self.outgoing.give_up(&mut self.wire);
    }
}
