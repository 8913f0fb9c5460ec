//! One end: a session, the connection it has at the moment, and its application.

use std::rc::Rc;
use std::time::{Duration, Instant};

use busbar_proto::frame::{self, Decoder, Frame, Header, Kind};
use busbar_proto::session::{
    Acknowledge, Arrival, Event, Liveness, RttEstimator, Seq, Session, SessionOptions, Transmit,
    Verdict,
};
use busbar_proto::{CloseReason, Code, Error, Hello, Limits, SessionId, negotiate};

use super::app::{App, LOSSY};

/// Bytes that an end encodes ahead of what the network takes.
const AHEAD_BYTES: usize = 4096;

/// How long a dialer waits for an answer to its HELLO.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(200);

/// The shortest time after which a silent connection is asked.
const SILENCE_MIN: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct End {
    pub(super) session: Option<Session<Rc<[u8]>>>,
    pub(super) app: App,
    pub(super) options: SessionOptions,
    pub(super) link: Option<Link>,
    /// Connections of a listener that have not introduced themselves.
    pub(super) strangers: Vec<Link>,
    /// Whether messages of a channel arrive in the order in which they were sent.
    pub(super) keeps_order: bool,
    pub(super) lost: Option<usize>,
    /// How it ends.
    pub(super) stage: Stage,
    /// Messages of the peer that were acknowledged.
    pub(super) acknowledged: usize,
}

/// What an end has in mind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// To go on.
    Open,
    /// To receive no more, and to close when everything is acknowledged that will be.
    Leaving,
    /// To close.
    Closing,
    /// Nothing: the peer has said that it knows of no session, which is as good as an answer.
    Told,
}

/// A connection as one of its ends sees it.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) connection: usize,
    decoder: Decoder,
    /// Both ends have introduced themselves.
    pub(super) is_open: bool,
    pub(super) out: Vec<u8>,
    hello: Option<Hello>,
    liveness: Liveness,
    answer_by: Option<Instant>,
    lossy_seq: u64,
    probes: u64,
}

/// What an end wants of the world.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    /// Connections to close.
    pub(super) close: Vec<usize>,
    /// Messages that the application was given.
    pub(super) process: Vec<(u16, Seq)>,
}

impl Link {
    pub(super) fn new(connection: usize) -> Self {
        Self {
            connection,
            decoder: Decoder::new(Limits::default()),
            is_open: false,
            out: Vec::new(),
            hello: None,
            liveness: Liveness::new(RttEstimator::new(SILENCE_MIN)),
            answer_by: None,
            lossy_seq: 0,
            probes: 0,
        }
    }

    fn put(&mut self, header: &Header, payload: &[u8]) {
        frame::encode(header, payload, Limits::default(), &mut self.out).expect("a valid frame");
    }

    pub(super) fn introduce(&mut self, hello: Hello) {
        self.put(&Header::new(Kind::Hello), &hello.encode());
        self.hello = Some(hello);
    }
}

impl End {
    pub(super) fn new(app: App, options: SessionOptions, keeps_order: bool) -> Self {
        Self {
            session: None,
            app,
            options,
            link: None,
            strangers: Vec::new(),
            keeps_order,
            lost: None,
            stage: Stage::Open,
            acknowledged: 0,
        }
    }

    pub(super) fn dial(&mut self, connection: usize, now: Instant) {
        let session = self.session.as_mut().expect("invariant: a dialer has one");
        let (epoch, resume) = session.begin_epoch(now);
        let hello = Hello::new(session.id(), epoch, Limits::default()).with_resume(resume);
        let mut link = Link::new(connection);
        link.introduce(hello);
        link.answer_by = Some(now + ANSWER_TIMEOUT);
        self.link = Some(link);
    }

    /// The connection is gone, if it is one of this end's.
    pub(super) fn handle_gone(&mut self, connection: usize, now: Instant) {
        self.strangers.retain(|stranger| stranger.connection != connection);
        if self.link.as_ref().is_some_and(|link| link.connection == connection) {
            self.link = None;
            if let Some(session) = &mut self.session {
                session.handle_disconnect(now);
            }
        }
    }

    /// Bytes have arrived.
    pub(super) fn handle_bytes(
        &mut self,
        connection: usize,
        bytes: &[u8],
        now: Instant,
        wishes: &mut Wishes,
    ) {
        let mut input = bytes;
        if let Some(at) = self.strangers.iter().position(|it| it.connection == connection) {
            let mut stranger = self.strangers.swap_remove(at);
            match stranger.decoder.decode(&mut input).expect("an honest peer") {
                None => return self.strangers.push(stranger),
                Some(frame) => {
                    assert_eq!(frame.header.kind, Kind::Hello);
                    let theirs = Hello::decode(frame.payload).expect("an honest peer");
                    self.answer(stranger, &theirs, now, wishes);
                }
            }
        }
        while let Some(mut link) = self.link.take() {
            if link.connection != connection {
                self.link = Some(link);
                return;
            }
            let is_over = match link.decoder.decode(&mut input).expect("an honest peer") {
                None => {
                    self.link = Some(link);
                    return;
                }
                Some(Frame { header, payload }) => {
                    let payload = payload.to_vec();
                    self.handle_frame(&mut link, &header, &payload, now, wishes)
                }
            };
            if is_over {
                wishes.close.push(link.connection);
            } else {
                self.link = Some(link);
            }
        }
    }

    /// A listener answers a dialer's HELLO.
    fn answer(&mut self, mut link: Link, theirs: &Hello, now: Instant, wishes: &mut Wishes) {
        let resume = theirs.resume.as_ref().expect("a dialer that keeps sessions");
        let known = self.session.as_ref().is_some_and(|it| it.id() == theirs.session);
        let answer = if known {
            let session = self.session.as_mut().expect("invariant: known");
            session.handle_dial(theirs.epoch, resume)
        } else {
            Session::answering(theirs.session, resume, self.options).and_then(|mut session| {
                let answer = session.handle_dial(theirs.epoch, resume);
                self.session = Some(session);
                answer
            })
        };
        match answer {
            Ok(resume) => {
                let ours = Hello::new(theirs.session, theirs.epoch, Limits::default());
                let ours = ours.with_resume(resume);
                negotiate(&ours, theirs).expect("the ends agree");
                link.introduce(ours);
                link.is_open = true;
                if let Some(old) = self.link.replace(link) {
                    wishes.close.push(old.connection);
                }
                let _ = now;
            }
            Err(error) if error.code() == Code::SessionLost => {
                let reason = CloseReason { code: Some(error.code()), ..CloseReason::default() };
                link.put(&Header::new(Kind::Reject), &reason.encode());
                self.link = Some(link);
            }
            Err(error) => {
                assert!(expected(&error), "{error}");
                wishes.close.push(link.connection);
            }
        }
    }

    /// `true`: the connection is of no more use.
    fn handle_frame(
        &mut self,
        link: &mut Link,
        header: &Header,
        payload: &[u8],
        now: Instant,
        wishes: &mut Wishes,
    ) -> bool {
        let session = self.session.as_mut().expect("invariant: a link has one");
        let (channel, seq) = (header.channel, Seq(header.seq));
        match header.kind {
            Kind::Hello => {
                let theirs = Hello::decode(payload).expect("an honest peer");
                let ours = link.hello.as_ref().expect("invariant: the dialer spoke first");
                negotiate(ours, &theirs).expect("the ends agree");
                let resume = theirs.resume.expect("negotiated");
                session.handle_answer(theirs.epoch, &resume).expect("an honest peer");
                link.is_open = true;
                link.answer_by = None;
            }
            Kind::Reject => {
                let reason = CloseReason::decode_reject(payload).expect("an honest peer");
                if reason.code == Some(Code::SessionLost) {
                    if session.is_closing() {
                        self.stage = Stage::Told;
                    } else {
                        session.lose();
                    }
                }
                return true;
            }
            Kind::Data if header.is_reliable => {
                let arrival = session.handle_data(channel, seq).expect("an honest peer");
                let is_late = self.options.acknowledge == Acknowledge::Processed;
                if arrival == Arrival::New {
                    // Nothing follows CLOSE, so that nobody hears of it any more.
                    self.acknowledged += usize::from(!is_late && !session.is_closing());
                    if !(is_late && self.stage == Stage::Leaving) {
                        self.app.receive(channel, payload, self.keeps_order, now);
                        wishes.process.push((channel, seq));
                    }
                }
            }
            Kind::Data => self.app.receive(channel, payload, self.keeps_order, now),
            Kind::Ack => {
                let ack = header.ack.expect("checked");
                session.handle_ack(channel, ack).expect("an honest peer");
            }
            Kind::Skip => session.handle_skip(channel, seq).expect("an honest peer"),
            Kind::Probe => link.put(&Header { kind: Kind::Pong, ..*header }, b""),
            Kind::Pong => link.liveness.handle_pong(now),
            Kind::Leave => session.handle_leave(),
            Kind::Close => session.handle_close(),
            kind => panic!("an honest peer sends no {kind:?}"),
        }
        link.liveness.handle_heard(now, session.is_expecting());
        false
    }

    /// Does what time and the session ask for. Returns a connection that is to be closed.
    pub(super) fn work(&mut self, now: Instant, has_lossy: bool) -> Option<usize> {
        let session = self.session.as_mut()?;
        session.handle_timeout(now);
        while let Some((channel, payload)) = self.app.next_to_send() {
            let expires = self.app.ttl_of_next().map(|ttl| now + ttl);
            match session.send(channel, payload, expires) {
                Ok(Some(seq)) => self.app.was_accepted(seq, now),
                Ok(None) => break,
                Err(error) => {
                    let is_over = matches!(error.code(), Code::SessionLost | Code::Closed);
                    assert!(is_over, "{error}");
                    break;
                }
            }
        }
        let is_settled = session.unconfirmed() == 0 || session.is_forsaken();
        match self.stage {
            Stage::Leaving if session.is_established() && is_settled => session.close(),
            Stage::Leaving if self.options.acknowledge == Acknowledge::Processed => session.leave(),
            Stage::Closing => session.close(),
            _ => {}
        }
        while let Some(event) = session.poll_event() {
            match event {
                Event::DeliveryFailed { channel, seq } => self.app.has_failed(channel, seq),
                Event::Expired { channel, seq } => self.app.has_expired(channel, seq),
                Event::Lost { unconfirmed } => self.lost = Some(unconfirmed),
                event => panic!("an unknown event: {event:?}"),
            }
        }
        let link = self.link.as_mut()?;
        if session.is_lost() || link.answer_by.is_some_and(|by| now >= by) {
            return Some(link.connection);
        }
        if !link.is_open {
            return None;
        }
        match link.liveness.handle_timeout(now) {
            Verdict::Wait => {}
            Verdict::Probe => {
                link.probes += 1;
                let seq = link.probes;
                link.put(&Header { seq, ..Header::new(Kind::Probe) }, b"");
            }
            Verdict::Dead => return Some(link.connection),
        }
        if has_lossy {
            let (channel, seq) = (LOSSY, link.lossy_seq);
            link.lossy_seq += 1;
            let payload = self.app.next_lossy(now);
            link.put(&Header { channel, seq, ..Header::new(Kind::Data) }, &payload);
        }
        while link.out.len() < AHEAD_BYTES
            && let Some(transmit) = session.poll_transmit(now)
        {
            let header = transmit.header();
            match transmit {
                Transmit::Data { payload, expires, .. } => {
                    assert!(expires.is_none_or(|expires| now < expires), "stale at {now:?}");
                    link.put(&header, &payload);
                    link.liveness.handle_sent(now);
                }
                Transmit::Close => {
                    let reason = CloseReason::default();
                    link.put(&header, &reason.encode());
                    link.liveness.handle_sent(now);
                }
                _ => link.put(&header, b""),
            }
        }
        None
    }

    pub(super) fn acknowledge(&mut self, channel: u16, seq: Seq) {
        let is_late = self.options.acknowledge == Acknowledge::Processed;
        if let Some(session) = self.session.as_mut().filter(|_| is_late)
            && self.stage == Stage::Open
        {
            session.acknowledge(channel, seq);
            self.acknowledged += 1;
        }
    }

    /// When [`End::work`] must be called.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let session = self.session.as_ref().and_then(Session::poll_timeout);
        let link = self.link.as_ref();
        let answer = link.and_then(|link| link.answer_by);
        let liveness = link.and_then(|link| link.liveness.poll_timeout());
        [session, answer, liveness].into_iter().flatten().min()
    }

    /// The application receives no more, and sends no more.
    pub(super) fn leave(&mut self) {
        self.stage = Stage::Leaving;
        self.app.stop();
    }

    /// Whether it has nothing more to do with the session.
    pub(super) fn is_over(&self) -> bool {
        let is_over = self.session.as_ref().is_some_and(Session::is_over);
        is_over || self.stage == Stage::Told
    }

    /// Whether it has closed, and waits for the answer.
    pub(super) fn awaits_answer(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.is_closing() && !session.is_over())
    }

    /// Whether nothing is left to do.
    pub(super) fn is_done(&self) -> bool {
        let settled = self.session.as_ref().is_some_and(|it| it.unconfirmed() == 0);
        self.app.has_sent_all() && settled
    }

    pub(super) fn session_id(&self) -> Option<SessionId> {
        self.session.as_ref().map(Session::id)
    }
}

/// What may happen between honest ends: an attempt that came late.
fn expected(error: &Error) -> bool {
    error.code() == Code::ConnectionRefused
}
