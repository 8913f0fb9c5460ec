//! What a user may choose of the quality of service of a pipe.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use busbar_proto::qos::{
    Backpressure, ChannelOptions, Drops, HighWaterMarks, RateLimit, Terms, Throttle,
};
use busbar_proto::{Code, Error};

use crate::clock;
use crate::inbox::ANNOUNCEMENTS;

/// Most channels with options of their own.
pub const CHANNELS_MAX: usize = 256;

/// Quality of service of one pipe. Nothing by default, which costs nothing.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Qos {
    /// A queue in front of the link.
    pub sending: Option<SendingQos>,
    /// A queue behind the link.
    pub receiving: Option<ReceivingQos>,
}

/// How messages wait to be sent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SendingQos {
    /// For all channels that are not in `channels`, together.
    pub standard: ChannelOptions,
    /// Channels with a queue of their own.
    pub channels: Vec<(u16, ChannelOptions)>,
    /// How fast the pipe may send.
    pub rate: RateLimit,
    /// How fast it may send together with others.
    pub shared_rate: Option<SharedThrottle>,
}

/// How messages wait to be received.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReceivingQos {
    /// How much is taken from the transport before it is asked for.
    pub marks: HighWaterMarks,
    /// What becomes of the rest; by default it stays with the transport, and then with the peer.
    pub backpressure: Backpressure,
    /// How fast messages are handed out.
    pub rate: RateLimit,
    /// How fast they are handed out together with those of others.
    pub shared_rate: Option<SharedThrottle>,
}

/// What holds for one message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SendOptions {
    /// What to do if there is no room for it; `None`: as its channel does.
    pub backpressure: Option<Backpressure>,
    /// For how long it is of use; `None`: as its channel says.
    pub ttl: Option<Duration>,
    /// Whether it is sent outside the session of the pipe, if it has one: at most once, and without
    /// waiting for what is not acknowledged.
    pub is_once: bool,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "senders must handle every answer")]
pub enum Sent {
    /// It is on its way, or waits to be.
    Accepted,
    /// There is no room for it now.
    Refused,
    /// It was dropped, and counted.
    Dropped,
}

/// Counters and gauges of the queues of a pipe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QosStats {
    /// Messages that wait to be sent.
    pub messages_queued: u64,
    /// Payload bytes of those.
    pub bytes_queued: u64,
    /// Messages that wait to be received.
    pub messages_ready: u64,
    /// Payload bytes of those.
    pub bytes_ready: u64,
    /// Dropped instead of being sent.
    pub sends: Drops,
    /// Accepted, and lost with the connection.
    pub sends_lost: u64,
    /// Dropped instead of being received.
    pub receives: Drops,
}

/// A rate that several pipes share.
#[derive(Clone, Debug)]
pub struct SharedThrottle(Arc<Mutex<Throttle>>);

impl SharedThrottle {
    /// A throttle for all that have a clone of it.
    #[must_use]
    pub fn new(limit: RateLimit) -> Self {
        Self(Arc::new(Mutex::new(Throttle::new(limit, clock::now()))))
    }

    fn with<T>(&self, operation: impl FnOnce(&mut Throttle) -> T) -> T {
        operation(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Default for SendingQos {
    fn default() -> Self {
        let standard = ChannelOptions { marks: standard_marks(), ..ChannelOptions::default() };
        let rate = RateLimit::default();
        Self { standard, channels: Vec::new(), rate, shared_rate: None }
    }
}

impl Default for ReceivingQos {
    fn default() -> Self {
        Self {
            marks: standard_marks(),
            backpressure: Backpressure::Block,
            rate: RateLimit::default(),
            shared_rate: None,
        }
    }
}

impl Qos {
    /// Checks what types do not.
    ///
    /// # Errors
    /// `InvalidArgument`.
    pub fn validate(&self) -> Result<(), Error> {
        let channels = self.sending.as_ref().map_or(&[][..], |sending| &sending.channels);
        if channels.len() > CHANNELS_MAX {
            let message =
                format!("{} channels with options; at most {CHANNELS_MAX}", channels.len());
            return Err(Error::new(Code::InvalidArgument, message));
        }
        if channels.iter().any(|&(channel, _)| channel == ANNOUNCEMENTS) {
            let message = format!("channel {ANNOUNCEMENTS} is for announcements");
            return Err(Error::new(Code::InvalidArgument, message));
        }
        Ok(())
    }
}

impl QosStats {
    /// All that were dropped or lost.
    #[must_use]
    pub fn drops(&self) -> u64 {
        let sum = |drops: &Drops| drops.new + drops.old + drops.expired;
        sum(&self.sends) + sum(&self.receives) + self.sends_lost
    }

    /// Adds what another queue has dropped instead of sending it.
    pub(crate) fn add_sends(&mut self, drops: Drops, lost: u64) {
        self.sends.new += drops.new;
        self.sends.old += drops.old;
        self.sends.expired += drops.expired;
        self.sends_lost += lost;
    }
}

impl SendOptions {
    pub(crate) fn terms(self, now: Duration) -> Terms {
        let expires = self.ttl.and_then(|ttl| now.checked_add(ttl));
        Terms { backpressure: self.backpressure, expires }
    }
}

/// The throttles that a message has to pass.
#[derive(Debug)]
pub(crate) struct Throttles {
    own: Throttle,
    shared: Option<SharedThrottle>,
}

impl Throttles {
    pub(crate) fn new(rate: RateLimit, shared: Option<SharedThrottle>, now: Duration) -> Self {
        Self { own: Throttle::new(rate, now), shared }
    }

    /// How long a message of `size` has to wait from `now` on.
    pub(crate) fn wait(&mut self, size: usize, now: Duration) -> Duration {
        let shared = self.shared.as_ref().map(|shared| shared.with(|it| it.wait(size, now)));
        self.own.wait(size, now).max(shared.unwrap_or_default())
    }

    /// A message passes that has to wait no more.
    pub(crate) fn spend(&mut self, size: usize) {
        self.own.spend(size);
        if let Some(shared) = &self.shared {
            shared.with(|shared| shared.spend(size));
        }
    }
}

fn standard_marks() -> HighWaterMarks {
    HighWaterMarks { messages: NonZeroUsize::new(1024), bytes: NonZeroUsize::new(16 << 20) }
}
