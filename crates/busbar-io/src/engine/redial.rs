//! Pipes that outlive their connections: what happens between two of them.
//!
//! ```text
//! CONNECTED ─ cut ─→ DISCONNECTED ─ after a delay ─→ RECONNECTING ─ put_through ─→ CONNECTED
//!                         ↑                              │
//!                         └──────── attempt_failed ──────┘        no attempt left: CLOSED
//! ```
//!
//! [`Engine::cut`] takes the connection from under a pipe and [`Engine::put_through`] puts another
//! there; nothing else does. In between the pipe has a queue, bounded as its transport's is, and a
//! link that takes nothing. A lost connection is kept until what came over it has been received,
//! which comes before what the next one brings. What the pipe has announced goes out first on each
//! connection. What was sent over the lost one and may not have arrived is not repeated, unless the
//! pipe has a session, which then also is its queue.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use busbar_proto::qos::HighWaterMarks;
use busbar_proto::{Backoff, CloseReason, Code, ConnectionInput, ConnectionState, Error, Retries};
use busbar_shm::record::records;
use bytes::Bytes;

use crate::connection::{Connection, Identity, Incoming};
use crate::endpoint::Endpoint;
use crate::engine::pipe::{Activity, Origin, Phase, PipeEntry};
use crate::engine::sending::Sending;
use crate::engine::timers::Timer;
use crate::engine::{Engine, reason_of};
use crate::event::PipeId;
use crate::inbox::{ANNOUNCEMENTS, Inbox};
use crate::link::LinkStats;
use crate::notice::Subject;
use crate::options::PipeOptions;
use crate::os::random;
use crate::qos::{QosStats, SendingQos};
use crate::transport::{self, Nowhere};

/// Lost connections that may hold messages nobody has received. While there are so many, no
/// attempt is made to get another.
const LEFT_MAX: usize = 4;

/// The part of the time for which a session is kept that passes between two attempts at most: with
/// one of them the network is there again before it is over.
const SESSION_PART: u32 = 8;

/// Failures that nobody has asked for.
const FAILURES_MAX: usize = 16;

/// Announcements that are repeated, and their bytes.
const ANNOUNCED_MAX: usize = 1024;
const ANNOUNCED_BYTES_MAX: usize = 4 << 20;

/// What a pipe that dials again knows.
pub(super) struct Redial {
    endpoint: Endpoint,
    options: PipeOptions,
    identity: Identity,
    retries: Option<Retries>,
    /// The last connection stands, or stood, since then.
    since: Option<Instant>,
    /// Why there is no connection.
    pub(super) failure: Option<CloseReason>,
    /// What it was whenever the pipe became `DISCONNECTED`, until asked.
    pub(super) failures: VecDeque<CloseReason>,
    /// The link of a pipe that has none.
    pub(super) nowhere: Nowhere,
    /// Lost connections, first lost first received from.
    left: VecDeque<Box<dyn Connection>>,
    announced: Vec<Bytes>,
    announced_bytes: usize,
    /// See [`Engine::mark_connection`].
    is_mark_due: bool,
    /// The queue in front of the link is there because of a cut, and goes when it is empty.
    is_queue_ours: bool,
    /// Of the connections that are gone.
    past: LinkStats,
    /// What queues have dropped that are gone.
    dropped: QosStats,
    pub(super) connects: u64,
    pub(super) messages_lost: u64,
}

impl Redial {
    pub(super) fn new(endpoint: &Endpoint, options: &PipeOptions, identity: Identity) -> Box<Self> {
        Box::new(Self {
            endpoint: endpoint.clone(),
            options: options.clone(),
            identity,
            retries: options.retry.map(Retries::new),
            since: None,
            failure: None,
            failures: VecDeque::new(),
            nowhere: Nowhere::new(options.message_bytes_max as u64),
            left: VecDeque::new(),
            announced: Vec::new(),
            announced_bytes: 0,
            is_mark_due: false,
            is_queue_ours: false,
            past: LinkStats::default(),
            dropped: QosStats::default(),
            connects: 0,
            messages_lost: 0,
        })
    }

    /// Remembers the announcements among records that were sent.
    pub(super) fn note_run(&mut self, run: &[u8]) {
        for (header, at) in records(run) {
            if header.channel == ANNOUNCEMENTS {
                self.note(header.channel, &run[at..at + header.length as usize]);
            }
        }
    }

    /// Remembers an announcement.
    pub(super) fn note(&mut self, channel: u16, payload: &[u8]) {
        let is_new = || !self.announced.iter().any(|known| known == payload);
        if channel != ANNOUNCEMENTS || !is_new() {
            return;
        }
        self.announced_bytes += payload.len();
        if self.announced.len() < ANNOUNCED_MAX && self.announced_bytes <= ANNOUNCED_BYTES_MAX {
            self.announced.push(Bytes::copy_from_slice(payload));
        }
    }

    /// Whether a lost connection may have something to receive.
    pub(super) fn has_left(&self) -> bool {
        !self.left.is_empty()
    }

    /// Receives from lost connections; `false` if they have nothing more.
    pub(super) fn receive_left(&mut self, inbox: &mut Inbox<'_>, max: usize) -> bool {
        while let Some(connection) = self.left.front_mut() {
            // Its end was told; a breach behind its last message interests nobody any more.
            let _ = connection.receive(inbox, max);
            if !inbox.is_empty() {
                return true;
            }
            self.drop_left();
        }
        false
    }

    /// The lost connection to receive from before all others, if one still has something.
    pub(super) fn readable_left(&mut self) -> Option<&mut Box<dyn Connection>> {
        while self.left.front_mut().is_some_and(|connection| !connection.is_readable()) {
            self.drop_left();
        }
        self.left.front_mut()
    }

    /// Nothing more is to be had of the first lost connection.
    pub(super) fn drop_left(&mut self) {
        if let Some(connection) = self.left.pop_front() {
            self.past.add(&connection.stats());
        }
    }

    /// The pipe has become `DISCONNECTED`.
    pub(super) fn disconnected(&mut self) {
        if self.failures.len() == FAILURES_MAX {
            // The first is kept: it is the loss, and the others are attempts.
            self.failures.pop_back();
        }
        self.failures.extend(self.failure.clone());
    }

    /// Adds what was dropped by queues that are gone.
    pub(super) fn add_stats(&self, stats: &mut QosStats) {
        stats.add_sends(self.dropped.sends, self.dropped.sends_lost);
    }

    /// Counters of the connections before the present one.
    pub(super) fn past(&self) -> LinkStats {
        let mut sum = self.past;
        self.left.iter().for_each(|connection| sum.add(&connection.stats()));
        sum
    }

    /// Whether an attempt that came to this is worth repeating: the first ones only wait for
    /// somebody to listen, later ones for the network to recover.
    fn is_worth_repeating(&self, code: Code) -> bool {
        match code {
            Code::NotFound | Code::ConnectionRefused => true,
            Code::AddrNotAvailable | Code::Io => self.connects > 0,
            _ => self.connects > 0 && code.is_retryable(),
        }
    }
}

impl Engine {
    /// Takes a lost connection from under a pipe. Whatever can be repeated is kept; the pipe ends
    /// if it is not one that dials again.
    pub(super) fn cut(&mut self, id: PipeId, reason: CloseReason) {
        if let Some(redial) = self.pipes.get_mut(id.0).and_then(|entry| entry.redial.as_mut()) {
            redial.failure = Some(reason.clone());
        }
        self.apply(id, ConnectionInput::Lost);
        let Some(entry) = self.pipes.get_mut(id.0) else { return };
        let redial = entry.redial.as_mut().filter(|it| it.options.reconnect.is_some());
        let is_awaited = entry.reliable.as_ref().is_some_and(|it| it.origin.is_some());
        if redial.is_none() && !is_awaited {
            if entry.reliable.is_some() {
                return self.lose_session(id, &reason.text);
            }
            return self.end(id, ConnectionInput::GaveUp, reason);
        }
        let Phase::Connected(mut connection) = std::mem::replace(&mut entry.phase, Phase::Over)
        else {
            return;
        };
        connection.deregister(self.descriptors.reactor());
        if let Some(reliable) = &mut entry.reliable {
            reliable.disconnect(&mut *connection, Instant::now());
            reliable.past.add(&connection.stats());
            reliable.failure = Some(reason.clone());
        } else if let Some(redial) = &mut entry.redial {
            redial.messages_lost += connection.unsent_messages() as u64;
            if connection.is_readable() {
                redial.left.push_back(connection);
            } else {
                redial.past.add(&connection.stats());
            }
            if entry.sending.is_none() {
                redial.is_queue_ours = true;
                entry.sending = Some(Box::new(Sending::new(&downtime(&redial.options))));
            }
        }
        if let Some(redial) = &mut entry.redial {
            let lasted = redial.since.take().map_or(Duration::ZERO, |since| since.elapsed());
            if let Some(retries) = &mut redial.retries {
                retries.lost(lasted);
            }
        }
        entry.activity = match entry.activity {
            Activity::Parked => Activity::Cold,
            other => other,
        };
        if entry.heat() {
            self.hot.push(id);
        }
        self.timers.cancel(Timer::Hear(id));
        self.timers.cancel(Timer::Speak(id));
        self.timers.cancel(Timer::Progress(id));
        self.watch_session(id);
        self.try_later(id, reason);
    }

    /// Puts a connection under a pipe: the first, or the one after a cut.
    pub(super) fn put_through(&mut self, id: PipeId, connection: Box<dyn Connection>) {
        let Some(entry) = self.pipes.get_mut(id.0) else { return };
        self.timers.cancel(Timer::Advance(id));
        self.timers.cancel(Timer::Attempt(id));
        entry.phase = Phase::Connected(connection);
    }

    /// A connection begins: what is to be said first is put in front of what waits.
    pub(super) fn begin(&mut self, id: PipeId) {
        let Some(entry) = self.pipes.get_mut(id.0) else { return };
        let keeps_session = entry.reliable.is_some();
        if let (Some(reliable), Phase::Connected(connection)) = (&mut entry.reliable, &entry.phase)
        {
            reliable.connect(&**connection);
        }
        let Some(redial) = &mut entry.redial else { return };
        if redial.connects == 0 {
            let kept = entry.reliable.as_ref().map(|reliable| reliable.session.timeout());
            let policy = redial.options.reconnect;
            redial.retries = policy.map(|policy| Retries::new(within(policy, kept)));
        }
        redial.connects += 1;
        (redial.since, redial.failure) = (Some(Instant::now()), None);
        if redial.connects > 1 && !keeps_session {
            redial.is_mark_due = true;
            if let (Some(queue), Some(redial)) = (&mut entry.sending, &entry.redial) {
                queue.repeat(ANNOUNCEMENTS, &redial.announced);
            }
            self.mark_connection(id);
        }
    }

    /// Says, once all of the connections before has been received, that what the peer has announced
    /// was about those.
    pub(super) fn mark_connection(&mut self, id: PipeId) {
        let Some(entry) = self.pipes.get_mut(id.0) else { return };
        let Some(redial) = &mut entry.redial else { return };
        if redial.is_mark_due && !redial.has_left() {
            redial.is_mark_due = false;
            entry.announced.restart();
        }
    }

    /// Lets what has waited go out, now that the pipe is connected.
    pub(super) fn go_on(&mut self, id: PipeId) {
        if self.pipes.get(id.0).is_some_and(|entry| entry.sending.is_some()) {
            self.pump(id);
            self.note_work(id);
            self.drop_own_queue(id);
        }
    }

    /// Takes out the queue that a cut has put in front of the link, once it is empty.
    pub(super) fn drop_own_queue(&mut self, id: PipeId) {
        let Some(entry) = self.pipes.get_mut(id.0) else { return };
        let PipeEntry { redial: Some(redial), sending, phase: Phase::Connected(_), .. } = entry
        else {
            return;
        };
        if redial.is_queue_ours && sending.as_ref().is_some_and(|queue| queue.is_idle()) {
            redial.is_queue_ours = false;
            if let Some(queue) = sending.take() {
                queue.add_stats(&mut redial.dropped);
            }
        }
    }

    /// An attempt to connect came to nothing.
    pub(super) fn attempt_failed(&mut self, id: PipeId, error: &Error) {
        let Some(entry) = self.pipes.get_mut(id.0) else { return };
        if let Phase::Handshaking { handshake, .. } = &mut entry.phase {
            handshake.deregister(self.descriptors.reactor());
            entry.phase = Phase::Over;
        }
        self.timers.cancel(Timer::Advance(id));
        self.timers.cancel(Timer::Attempt(id));
        let reason = reason_of(error);
        let Some(redial) = &mut entry.redial else {
            return self.end(id, ConnectionInput::GaveUp, reason);
        };
        redial.failure = Some(reason.clone());
        if error.code() == Code::SessionLost {
            return self.lose_session(id, error.message());
        }
        let Some(redial) = &mut entry.redial else { return };
        if !redial.is_worth_repeating(error.code()) || redial.retries.is_none() {
            return self.end(id, ConnectionInput::GaveUp, reason);
        }
        self.apply(id, ConnectionInput::AttemptFailed);
        self.try_later(id, reason);
    }

    /// Makes the next attempt to connect.
    pub(super) fn redial(&mut self, id: PipeId) {
        let Some(entry) = self.pipes.get_mut(id.0) else { return };
        if entry.state != ConnectionState::Disconnected {
            return;
        }
        let Some(redial) = &mut entry.redial else { return };
        let is_backlogged = entry.reliable.as_ref().is_some_and(|it| it.is_backlogged());
        if redial.left.len() >= LEFT_MAX || is_backlogged {
            // Somebody has to receive first.
            let pause = redial.options.reconnect.unwrap_or_default().initial;
            return self.timers.set(Timer::Redial(id), Instant::now() + pause);
        }
        let (endpoint, mut options) = (redial.endpoint.clone(), redial.options.clone());
        redial.identity = match &mut entry.reliable {
            Some(reliable) => Self::begin_session(reliable, &mut options),
            None if redial.connects > 0 => redial.identity.next(),
            None => redial.identity,
        };
        let identity = redial.identity;
        self.apply(id, ConnectionInput::RetryStarted);
        let waker = self.board.waker(Subject::Pipe(id.0));
        let incoming = transport::dial(&endpoint, &options, identity, &waker);
        let Some(entry) = self.pipes.get_mut(id.0) else { return };
        let begun = match incoming {
            Err(error) => Err(error),
            Ok(Incoming::Handshake(handshake)) => {
                entry.phase = Phase::Handshaking { handshake, origin: Origin::Dialed };
                self.timers.set(Timer::Attempt(id), Instant::now() + options.connect_timeout);
                self.start(id)
            }
            Ok(Incoming::Connected(connection)) => {
                self.put_through(id, connection);
                self.start(id)
            }
        };
        if let Err(error) = begun {
            self.attempt_failed(id, &error);
        }
    }

    /// The attempt has taken too long.
    pub(super) fn expire_attempt(&mut self, id: PipeId) {
        let message = "the listener did not answer in time";
        self.attempt_failed(id, &Error::new(Code::TimedOut, message));
    }

    fn try_later(&mut self, id: PipeId, reason: CloseReason) {
        let Some(redial) = self.pipes.get_mut(id.0).and_then(|entry| entry.redial.as_mut()) else {
            return;
        };
        let delay = redial.retries.as_mut().and_then(|retries| retries.next(entropy()));
        match delay.and_then(|delay| Instant::now().checked_add(delay)) {
            Some(at) => self.timers.set(Timer::Redial(id), at),
            None => self.end(id, ConnectionInput::GaveUp, reason),
        }
    }
}

/// The queue of a pipe without a connection: as much as one with a connection holds.
fn downtime(options: &PipeOptions) -> SendingQos {
    let mut qos = SendingQos::default();
    qos.standard.marks = HighWaterMarks {
        messages: options.queue_messages,
        bytes: NonZeroUsize::new(usize::try_from(options.ring_bytes).unwrap_or(usize::MAX)),
    };
    qos
}

/// How to try again if a session is `kept` for so long without a connection.
fn within(mut policy: Backoff, kept: Option<Duration>) -> Backoff {
    if let Some(kept) = kept {
        policy.max = policy.max.min((kept / SESSION_PART).max(policy.initial));
    }
    policy
}

/// What spreads attempts. Without it they are made all the same, only not spread.
fn entropy() -> u64 {
    random().map_or(0, u64::from_be_bytes)
}
