//! What a user may choose for a pipe or a listener. `lib/options.ts` has the same defaults.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use busbar_proto::session::{Resume, SessionOptions};
use busbar_proto::{Backoff, Code, Error, Hello};

use crate::tls::Credentials;

/// Options of one pipe. Both ends choose their own; the smaller message limit holds.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PipeOptions {
    /// Bytes of the ring that this end writes, or, on uds and tcp, of its send queue: a power of
    /// two, 64 KiB to 1 GiB. 1 MiB by default.
    pub ring_bytes: u64,
    /// Bytes of the slab for payloads above 1 KiB: 0, or a power of two, 64 KiB to 4 GiB. 16 MiB by
    /// default; memory is taken when first used.
    pub slab_bytes: u64,
    /// Largest message. 16 MiB by default.
    pub message_bytes_max: usize,
    /// Whether payloads may be read in the peer's memory.
    pub trust: Trust,
    /// inproc, uds, tcp: messages queued per direction; `None` is unbounded. 16,384 by default.
    pub queue_messages: Option<NonZeroUsize>,
    /// How to wait for the peer.
    pub wait: Wait,
    /// uds: which processes may be at the other end.
    pub access: Access,
    /// shm, uds, tcp: how long a silence of the peer means that it is lost; not looked for by
    /// default.
    pub heartbeat: Option<Heartbeat>,
    /// Whether the engine of this end is driven at all times, so that it can promise signs of life
    /// to its peers. Not so by default: a pipe of a plain thread is driven while it waits.
    pub is_driven: bool,
    /// uds, tcp: bytes that unfinished messages of the peer may come to together, at least those of
    /// the largest message. Four times that by default.
    pub reassembly_bytes_max: Option<u64>,
    /// uds, tcp: how long a part of a message is kept when nothing of it comes any more. 30 s by
    /// default.
    pub reassembly_timeout: Duration,
    /// How a dialed pipe gets another connection when it loses one; not at all by default.
    pub reconnect: Option<Backoff>,
    /// How dialing goes on while nobody listens there yet; not at all by default. Who dials sets
    /// the deadline.
    pub retry: Option<Backoff>,
    /// How long each attempt to reconnect may take. 10 s by default.
    pub connect_timeout: Duration,
    /// For how long after the close what was sent is still being delivered. 30 s by default.
    pub linger: Duration,
    /// tls: who this end is, and whom it trusts. Needed there.
    pub tls: Option<Credentials>,
    /// uds, tcp, tls: whether messages survive their connection, each reaching the peer once. Both
    /// ends must choose it. Not by default.
    pub reliable: Option<SessionOptions>,
    /// With `reliable`: channels whose messages are sent once, and lost with their connection.
    pub lossy_channels: Arc<[u16]>,
    /// An I/O thread reads and writes, so that calls need not; the engine's to set.
    pub(crate) is_served: bool,
    /// What the next HELLO says of the session; the engine's to set.
    pub(crate) resume: Option<Resume>,
}

/// How silence is told from death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The longest silence that the peer is asked to keep, 50 ms to 1 h.
    pub interval: Duration,
    /// So many of them in a row, 2 to 100, and the peer is lost.
    pub misses: u32,
}

/// Which users' processes an end talks to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Access {
    /// Those of the user that this process runs as.
    #[default]
    SameUser,
    /// All that the socket's permissions let in.
    Anyone,
    /// Those that run as one of these users, or belong to one of these groups, and no others: not
    /// even this process' own user, unless it is among them.
    Listed(Arc<AccessList>),
}

/// See [`Access::Listed`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccessList {
    /// User ids.
    pub uids: Vec<u32>,
    /// Group ids.
    pub gids: Vec<u32>,
}

/// How far this end relies on its peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trust {
    /// The peer does not change what it has sent: large payloads are read in place.
    #[default]
    SameUser,
    /// It might: everything is copied out before use, and memory is zeroed before reuse.
    Hostile,
}

/// How to wait when there is nothing to do: what an idle moment costs against what a wake-up costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wait {
    /// Sleep at once.
    Park,
    /// Look for a few turns of the loop, then sleep. Uses no processor time when idle.
    Balanced,
    /// Look without pause for `spin` after the last message, then sleep.
    LowLatency {
        /// How long a silence is bridged.
        spin: Duration,
    },
    /// Never sleep: one core is busy as long as the pipe is waited for.
    Busy,
}

impl Default for PipeOptions {
    fn default() -> Self {
        Self {
            ring_bytes: 1 << 20,
            slab_bytes: 16 << 20,
            message_bytes_max: 16 << 20,
            trust: Trust::default(),
            queue_messages: NonZeroUsize::new(16_384),
            wait: Wait::Balanced,
            access: Access::default(),
            heartbeat: None,
            is_driven: false,
            reassembly_bytes_max: None,
            reassembly_timeout: Duration::from_secs(30),
            reconnect: None,
            retry: None,
            connect_timeout: Duration::from_secs(10),
            linger: Duration::from_secs(30),
            tls: None,
            reliable: None,
            lossy_channels: Arc::new([]),
            is_served: false,
            resume: None,
        }
    }
}

impl PipeOptions {
    /// Checks every value against its bounds.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the option, its value and the bounds.
    pub fn validate(&self) -> Result<(), Error> {
        let sized = |n: u64, max: u64| n.is_power_of_two() && (1 << 16..=max).contains(&n);
        if !sized(self.ring_bytes, 1 << 30) {
            return Err(invalid("ringBytes", self.ring_bytes, "a power of two, 64 KiB to 1 GiB"));
        }
        if self.slab_bytes != 0 && !sized(self.slab_bytes, 1 << 32) {
            let bounds = "0, or a power of two, 64 KiB to 4 GiB";
            return Err(invalid("slabBytes", self.slab_bytes, bounds));
        }
        if let Some(Heartbeat { interval, misses }) = self.heartbeat {
            let millis = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
            if !(u64::from(Hello::HEARTBEAT_MS_MIN)..=HEARTBEAT_MS_MAX).contains(&millis) {
                let bounds = "50 to 3600000 milliseconds";
                return Err(invalid("heartbeat.intervalMs", millis, bounds));
            }
            if !(2..=100).contains(&misses) {
                return Err(invalid("heartbeat.misses", misses.into(), "2 to 100"));
            }
        }
        if let Some(session) = &self.reliable {
            session.validate()?;
        }
        for policy in [self.reconnect, self.retry].into_iter().flatten() {
            policy.validate()?;
        }
        if !(1..=1 << 31).contains(&self.message_bytes_max) {
            let value = self.message_bytes_max as u64;
            return Err(invalid("maxMessageBytes", value, "between 1 byte and 2 GiB"));
        }
        if self.reassembly_bytes() < self.message_bytes_max as u64 {
            let bounds = "at least maxMessageBytes, or no message of that size could come";
            return Err(invalid("maxReassemblyBytes", self.reassembly_bytes(), bounds));
        }
        Ok(())
    }

    /// Bytes that unfinished messages may come to together.
    pub(crate) fn reassembly_bytes(&self) -> u64 {
        let standard = 4 * self.message_bytes_max as u64;
        self.reassembly_bytes_max.unwrap_or(standard)
    }
}

/// Options of a listener, and of the pipes that it accepts.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ListenOptions {
    /// Options of accepted pipes.
    pub pipe: PipeOptions,
    /// Connections that may be waiting to be accepted. 128 by default.
    pub backlog: usize,
    /// How long a connecting peer may take to introduce itself. 5 s by default.
    pub handshake_timeout: Duration,
    /// uds: permissions of the socket's file. 0600 by default.
    pub mode: u32,
    /// tcp: whether several listeners of this user may share the port. Not by default.
    pub reuse_port: bool,
    /// shm, uds, tcp, tls: whether to ask, by [`Event::Asking`](crate::Event), who is let in. Only
    /// for listeners of an [`Engine`](crate::Engine). Not by default.
    pub authorize: bool,
    /// With `reliable`: sessions without a connection that are kept, each for its time. When one
    /// more loses its connection, the oldest is lost. 1,024 by default.
    pub sessions_max: usize,
    /// With `reliable`: payload bytes that those hold together, likewise. 64 MiB by default.
    pub session_bytes_max: usize,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            pipe: PipeOptions::default(),
            backlog: 128,
            handshake_timeout: Duration::from_secs(5),
            mode: 0o600,
            reuse_port: false,
            authorize: false,
            sessions_max: 1024,
            session_bytes_max: 64 << 20,
        }
    }
}

const HEARTBEAT_MS_MAX: u64 = 3_600_000;

fn invalid(option: &str, value: u64, bounds: &str) -> Error {
    Error::new(Code::InvalidArgument, format!("{option} is {value}; it must be {bounds}"))
}
