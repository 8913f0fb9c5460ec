//! One pipe as the engine keeps it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use busbar_proto::{CloseReason, Code, ConnectionState, Error};
use bytes::Bytes;

use crate::connection::{Connection, Handshake, Incoming};
use crate::engine::heartbeat::Pulse;
use crate::event::ListenerId;
use crate::link::Interest;
use crate::options::{Heartbeat, PipeOptions, Wait};

/// Turns of the loop for which [`Wait::Balanced`] goes on looking.
const BALANCED_TURNS: u32 = 8;

/// Fruitless spins in a row after which a [`Wait::LowLatency`] pipe spins only briefly.
const MISSES_MAX: u32 = 4;

/// How much shorter those spins are.
const SHORTENED: u32 = 8;

/// Bounds on what a peer may announce while nobody asks.
const ANNOUNCED_MAX: usize = 1024;
const ANNOUNCED_BYTES_MAX: usize = 4 << 20;

pub(super) struct PipeEntry {
    pub(super) phase: Phase,
    pub(super) state: ConnectionState,
    pub(super) interest: Interest,
    pub(super) activity: Activity,
    pub(super) reason: Option<CloseReason>,
    pub(super) wakes: u64,
    /// What the peer has announced and nobody has asked for yet.
    pub(super) announced: VecDeque<Bytes>,
    pub(super) linger: Duration,
    pub(super) heartbeat: Option<Heartbeat>,
    pub(super) pulse: Pulse,
    /// In the engine's list of pipes that have put something off.
    pub(super) is_at_work: bool,
    wait: Wait,
    idle_turns: u32,
    /// When a `LowLatency` pipe became idle; `None` while it is not.
    idle_since: Option<Instant>,
    misses: u32,
}

pub(super) enum Phase {
    Handshaking {
        handshake: Box<dyn Handshake>,
        origin: Origin,
    },
    Connected(Box<dyn Connection>),
    /// Ended before it was connected.
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
    pub(super) fn new(incoming: Incoming, origin: Origin, options: &PipeOptions) -> Self {
        let phase = match incoming {
            Incoming::Handshake(handshake) => Phase::Handshaking { handshake, origin },
            Incoming::Connected(connection) => Phase::Connected(connection),
        };
        Self {
            phase,
            state: ConnectionState::Connecting,
            interest: Interest::NONE,
            activity: Activity::Cold,
            reason: None,
            wakes: 0,
            announced: VecDeque::new(),
            linger: options.linger,
            heartbeat: options.heartbeat,
            pulse: Pulse::default(),
            is_at_work: false,
            wait: options.wait,
            idle_turns: 0,
            idle_since: None,
            misses: 0,
        }
    }

    /// Keeps announcements until somebody asks for them.
    pub(super) fn announce(&mut self, announcements: Vec<Bytes>) -> Result<(), Error> {
        self.announced.extend(announcements);
        let bytes: usize = self.announced.iter().map(Bytes::len).sum();
        if bytes <= ANNOUNCED_BYTES_MAX && self.announced.len() <= ANNOUNCED_MAX {
            return Ok(());
        }
        self.announced.clear();
        Err(Error::new(Code::Protocol, "the peer announced more types than a pipe may have"))
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
        if self.interest.is_none() {
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
        let Phase::Connected(connection) = &mut self.phase else { return Interest::NONE };
        let ready = Interest {
            readable: self.interest.readable && connection.is_readable(),
            writable: self.interest.writable && self.reason.is_none() && connection.is_writable(),
        };
        if !ready.is_none() {
            self.idle_turns = 0;
            if self.idle_since.take().is_some() {
                self.misses = 0;
            }
        }
        ready
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
        let Phase::Connected(connection) = &mut self.phase else {
            // Nothing to look at: a handshake's progress comes by descriptor.
            self.activity = Activity::Cold;
            return true;
        };
        if self.interest.is_none() {
            self.activity = Activity::Cold;
            return true;
        }
        let mut wants = self.interest;
        wants.writable &= self.reason.is_none();
        if !connection.park(wants) {
            return false;
        }
        if self.idle_since.take().is_some() {
            self.misses = self.misses.saturating_add(1);
        }
        self.activity = Activity::Parked;
        true
    }
}
