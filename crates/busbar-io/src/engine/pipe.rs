//! One pipe as the engine keeps it.

use std::hint;
use std::time::{Duration, Instant};

use busbar_proto::{CloseReason, ConnectionState};

use crate::clock;
use crate::connection::{Connection, Handshake, Incoming};
use crate::engine::announced::Announced;
use crate::engine::heartbeat::Pulse;
use crate::engine::linger::Leave;
use crate::engine::receiving::Receiving;
use crate::engine::redial::Redial;
use crate::engine::reliable::Reliable;
use crate::engine::sending::Sending;
use crate::event::{ListenerId, PipeId};
use crate::link::Interest;
use crate::loan::Loan;
use crate::options::{Heartbeat, PipeOptions, Wait};
use crate::qos::QosStats;

/// Turns of the loop for which [`Wait::Balanced`] goes on looking.
const BALANCED_TURNS: u32 = 8;

/// Fruitless spins in a row after which a [`Wait::LowLatency`] pipe spins only briefly.
const MISSES_MAX: u32 = 4;

/// How much shorter those spins are.
const SHORTENED: u32 = 8;

/// One look ahead in so many is made of a pipe whose answers do not come soon.
const AHEAD_RETRY: u32 = 64;

pub(super) struct PipeEntry {
    pub(super) phase: Phase,
    pub(super) state: ConnectionState,
    pub(super) interest: Interest,
    pub(super) activity: Activity,
    pub(super) reason: Option<CloseReason>,
    pub(super) wakes: u64,
    pub(super) announced: Announced,
    pub(super) linger: Duration,
    pub(super) reassembly_timeout: Duration,
    pub(super) heartbeat: Option<Heartbeat>,
    pub(super) pulse: Pulse,
    /// In the engine's list of pipes that have put something off.
    pub(super) is_at_work: bool,
    /// What a pipe knows that dials again.
    pub(super) redial: Option<Box<Redial>>,
    /// The session of a pipe that has one.
    pub(super) reliable: Option<Box<Reliable>>,
    /// While a dialer introduces itself: the pipe whose session it goes on with.
    pub(super) returns_to: Option<PipeId>,
    /// Somebody has been asked whether it is let in.
    pub(super) is_asked: bool,
    /// Queues between the user and the link, if options ask for them.
    pub(super) sending: Option<Box<Sending>>,
    pub(super) receiving: Option<Box<Receiving>>,
    /// It is closed, and its queue is not empty.
    pub(super) leave: Option<Box<Leave>>,
    /// Drops that were told of.
    pub(super) drops_told: u64,
    /// What the link was last asked to wake for.
    parked_for: Interest,
    wait: Wait,
    idle_turns: u32,
    /// When a `LowLatency` pipe became idle; `None` while it is not.
    idle_since: Option<Instant>,
    misses: u32,
    /// Fruitless looks ahead in a row, and those that were spared since.
    ahead_misses: u32,
}

pub(super) enum Phase {
    Handshaking {
        handshake: Box<dyn Handshake>,
        origin: Origin,
    },
    Connected(Box<dyn Connection>),
    /// No connection: ended before there was one, or between two.
    Over,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Origin {
    /// Dialed, or accepted outside this engine: its failure is its own.
    Dialed,
    Accepted {
        listener: ListenerId,
    },
}

/// Whether somebody looks at the pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activity {
    /// Nobody waits for it.
    Cold,
    /// In the engine's hot list.
    Hot,
    /// The peer will ring.
    Parked,
}

impl PipeEntry {
    /// A pipe with what it begins with; with nothing if it is to dial again.
    pub(super) fn new(incoming: Option<Incoming>, origin: Origin, options: &PipeOptions) -> Self {
        let phase = match incoming {
            Some(Incoming::Handshake(handshake)) => Phase::Handshaking { handshake, origin },
            Some(Incoming::Connected(connection)) => Phase::Connected(connection),
            None => Phase::Over,
        };
        Self {
            phase,
            state: ConnectionState::Connecting,
            interest: Interest::NONE,
            activity: Activity::Cold,
            reason: None,
            wakes: 0,
            announced: Announced::default(),
            linger: options.linger,
            reassembly_timeout: options.reassembly_timeout,
            heartbeat: options.heartbeat,
            pulse: Pulse::default(),
            is_at_work: false,
            redial: None,
            reliable: None,
            returns_to: None,
            is_asked: false,
            sending: None,
            receiving: None,
            leave: None,
            drops_told: 0,
            parked_for: Interest::NONE,
            wait: options.wait,
            idle_turns: 0,
            idle_since: None,
            misses: 0,
            ahead_misses: 0,
        }
    }

    /// Changes the interest; `true` if the pipe must now be put in the hot list.
    #[inline]
    pub(super) fn set_interest(&mut self, interest: Interest) -> bool {
        if self.interest == interest {
            return false;
        }
        self.interest = interest;
        self.heat()
    }

    /// Makes a pipe that somebody waits for hot; `true` if it was not.
    pub(super) fn heat(&mut self) -> bool {
        if self.activity == Activity::Parked
            && let Phase::Connected(connection) = &mut self.phase
        {
            connection.unpark();
        }
        self.idle_turns = 0;
        self.idle_since = None;
        if self.is_unwanted() {
            // A hot pipe without interest leaves the list at the next turn.
            if self.activity == Activity::Parked {
                self.activity = Activity::Cold;
            }
            return false;
        }
        std::mem::replace(&mut self.activity, Activity::Hot) != Activity::Hot
    }

    /// What of the interest can be served now.
    #[inline]
    pub(super) fn readiness(&mut self) -> Interest {
        let has_left = self.has_left();
        let wants_room = self.interest.writable && self.reason.is_none();
        let is_queued = self.sending.is_some();
        let has_room = self.reliable.as_mut().map(|reliable| match (wants_room, is_queued) {
            (false, _) => false,
            // Room in the session is the queue's business.
            (true, true) => reliable.take_drained(),
            (true, false) => reliable.is_writable(),
        });
        let Phase::Connected(connection) = &mut self.phase else {
            let writable = wants_room && has_room == Some(true);
            return Interest { readable: self.interest.readable && has_left, writable };
        };
        let ready = Interest {
            readable: self.interest.readable && (has_left || connection.is_readable()),
            writable: wants_room && has_room.unwrap_or_else(|| connection.is_writable()),
        };
        self.note_readiness(ready);
        ready
    }

    /// Whether a lost connection has messages that nobody has received.
    #[inline]
    pub(super) fn has_left(&self) -> bool {
        self.redial.as_ref().is_some_and(|redial| redial.has_left())
            || self.reliable.as_ref().is_some_and(|reliable| !reliable.backlog.is_empty())
    }

    /// Whether it has lost its connection and not got another.
    pub(super) fn is_cut(&self) -> bool {
        let has_been = self.redial.as_ref().is_some_and(|redial| redial.connects > 0)
            || self.reliable.as_ref().is_some_and(|reliable| reliable.is_established());
        !matches!(self.phase, Phase::Connected(_)) && has_been
    }

    /// Whether something waits to be sent, or to be acknowledged.
    pub(super) fn has_undelivered(&self) -> bool {
        let is_queued = self.sending.as_ref().is_some_and(|queue| !queue.is_empty());
        match &self.reliable {
            None => is_queued,
            Some(it) => it.awaited() > 0 || (is_queued && !it.session.is_forsaken()),
        }
    }

    /// Whether a loan is, or may be, memory of a connection that was lost; or plain memory, which a
    /// connection that turns out to be lost would take along.
    pub(super) fn has_lost(&self, loan: &Loan) -> bool {
        let is_plain = matches!(loan, Loan::Heap(_));
        match &self.phase {
            Phase::Connected(connection) => {
                self.redial.is_some() && (is_plain || !connection.owns(loan))
            }
            Phase::Handshaking { .. } | Phase::Over => self.is_cut(),
        }
    }

    #[inline]
    pub(super) fn note_readiness(&mut self, ready: Interest) {
        if !ready.is_none() {
            self.idle_turns = 0;
            if self.idle_since.take().is_some() {
                self.misses = 0;
            }
        }
    }

    /// Whether the pipe is looked at without pause while it is idle.
    pub(super) fn spins(&self) -> bool {
        matches!(self.wait, Wait::LowLatency { .. } | Wait::Busy)
    }

    /// See [`Connection::is_polled`].
    pub(super) fn is_polled(&self) -> bool {
        matches!(&self.phase, Phase::Connected(connection) if connection.is_polled())
    }

    /// Whether something can be received.
    #[inline]
    pub(super) fn is_readable(&mut self) -> bool {
        let Phase::Connected(connection) = &mut self.phase else { return false };
        connection.is_readable()
    }

    /// Whether to look ahead: always if that was of use lately, now and then otherwise; never past
    /// a queue of this end.
    pub(super) fn may_look_ahead(&mut self) -> bool {
        if !self.spins() || self.reason.is_some() || self.is_shaped() {
            return false;
        }
        if self.ahead_misses < MISSES_MAX {
            return true;
        }
        self.ahead_misses = self.ahead_misses.wrapping_add(1).max(MISSES_MAX);
        self.ahead_misses.is_multiple_of(AHEAD_RETRY)
    }

    /// Looks up to `count` times whether something can be received.
    #[inline]
    pub(super) fn look(&mut self, count: u32) -> bool {
        let Phase::Connected(connection) = &mut self.phase else { return false };
        (0..count).any(|_| {
            hint::spin_loop();
            connection.is_readable()
        })
    }

    /// How looking ahead has turned out.
    pub(super) fn looked_ahead(&mut self, is_there: bool) {
        self.ahead_misses = if is_there { 0 } else { self.ahead_misses.saturating_add(1) };
    }

    /// The instant until which to look at an idle pipe without pause.
    pub(super) fn spin_until(&mut self, now: Instant) -> Option<Instant> {
        let Wait::LowLatency { spin } = self.wait else { return None };
        let since = *self.idle_since.get_or_insert(now);
        let spin = if self.misses >= MISSES_MAX { spin / SHORTENED } else { spin };
        Some(since + spin)
    }

    /// One more turn has passed with nothing to do: parks if that was long enough. `false` if the
    /// pipe must stay hot.
    pub(super) fn cool(&mut self, now: Option<Instant>) -> bool {
        self.idle_turns = self.idle_turns.saturating_add(1);
        let enough = match self.wait {
            Wait::Park => true,
            Wait::Balanced => self.idle_turns >= BALANCED_TURNS,
            Wait::LowLatency { .. } => {
                now.is_none_or(|now| self.spin_until(now).is_none_or(|until| now >= until))
            }
            Wait::Busy => false,
        };
        enough && self.park()
    }

    /// Goes to sleep; `false` if there is something to do after all.
    pub(super) fn park(&mut self) -> bool {
        let wants = self.wants();
        let Phase::Connected(connection) = &mut self.phase else {
            // Nothing to look at: a handshake's progress comes by descriptor.
            self.activity = Activity::Cold;
            return true;
        };
        if wants.is_none() && self.interest.is_none() {
            self.activity = Activity::Cold;
            return true;
        }
        if !connection.park(wants) {
            return false;
        }
        self.parked_for = wants;
        if self.idle_since.take().is_some() {
            self.misses = self.misses.saturating_add(1);
        }
        self.activity = Activity::Parked;
        true
    }
}

/// Queues between the user and the link.
impl PipeEntry {
    /// Whether there are any.
    #[inline]
    pub(super) fn is_shaped(&self) -> bool {
        self.sending.is_some() || self.receiving.is_some() || self.reliable.is_some()
    }

    /// What the link has to be looked at for: what the user waits for, or what a queue in between
    /// does.
    #[inline]
    pub(super) fn wants(&self) -> Interest {
        let readable = match &self.receiving {
            None => self.interest.readable,
            // Once the pipe is over, only who asks for more looks for it.
            Some(receiving) => {
                receiving.wants_more() && (self.reason.is_none() || self.interest.readable)
            }
        };
        let discards = self.reliable.as_ref().is_some_and(|reliable| reliable.discards);
        let readable = readable || (discards && self.reason.is_none());
        let writable = match (&self.sending, &self.reliable) {
            (_, Some(reliable)) => reliable.is_blocked(),
            (None, None) => self.interest.writable,
            (Some(sending), None) => sending.is_blocked,
        };
        Interest { readable, writable: writable && self.reason.is_none() }
    }

    /// Whether neither the user nor a queue waits for anything.
    #[inline]
    pub(super) fn is_unwanted(&self) -> bool {
        self.interest.is_none() && (!self.is_shaped() || self.wants().is_none())
    }

    /// Whether a queue has come to wait for what the link does not watch for.
    pub(super) fn is_neglected(&self) -> bool {
        let wants = self.wants();
        match self.activity {
            Activity::Hot => false,
            Activity::Cold => !wants.is_none(),
            Activity::Parked => {
                (wants.readable && !self.parked_for.readable)
                    || (wants.writable && !self.parked_for.writable)
            }
        }
    }

    /// When a queue has something to do even if nothing happens.
    pub(super) fn queue_deadline(&self) -> Option<Instant> {
        let sending = self.sending.as_ref().and_then(|sending| sending.next_time());
        let receiving = self.receiving.as_ref().and_then(|receiving| receiving.next_time());
        [sending, receiving].into_iter().flatten().min().and_then(clock::instant)
    }

    pub(super) fn qos_stats(&self) -> QosStats {
        let mut stats = QosStats::default();
        if let Some(sending) = &self.sending {
            sending.add_stats(&mut stats);
        }
        if let Some(receiving) = &self.receiving {
            receiving.add_stats(&mut stats);
        }
        if let Some(redial) = &self.redial {
            redial.add_stats(&mut stats);
        }
        stats
    }

    /// Nobody takes what waits to be sent any more.
    pub(super) fn give_up_sending(&mut self) {
        if let Some(sending) = &mut self.sending {
            sending.give_up();
        }
        if let Some(reliable) = &mut self.reliable {
            reliable.session.lose();
        }
    }
}
