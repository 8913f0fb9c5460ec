//! Limits of an in-process connection.

use busbar_proto::{Code, Error};

/// How many messages may wait in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueueLimit {
    /// At most this many, and at most [`InprocOptions::queue_bytes_max`].
    Messages(usize),
    /// As many as memory holds: a receiver that stops reading then takes the process down.
    Unbounded,
}

/// Limits that one end brings to its connections. The queue limits govern what *this* end sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InprocOptions {
    /// Messages sent and not yet received.
    pub queue: QueueLimit,
    /// Payload bytes sent and not yet received. A single larger message passes when nothing else
    /// waits.
    pub queue_bytes_max: usize,
    /// The largest message; of two ends with different limits the smaller one holds.
    pub message_bytes_max: usize,
    /// Connections that may wait to be accepted; a listener's only.
    pub backlog: usize,
}

impl InprocOptions {
    /// 16 384 messages or 64 MiB in the queue, 16 MiB in a message, 128 connections waiting.
    pub const DEFAULT: Self = Self {
        queue: QueueLimit::Messages(16_384),
        queue_bytes_max: 64 << 20,
        message_bytes_max: 16 << 20,
        backlog: 128,
    };

    /// # Errors
    /// `InvalidArgument` for a limit of zero, or more than 2^24 messages or 65 536 connections.
    pub(super) fn validate(&self) -> Result<(), Error> {
        let wrong = |what: String| Err(Error::new(Code::InvalidArgument, what));
        match self.queue {
            QueueLimit::Messages(n) if n == 0 || n > QUEUE_MESSAGES_MAX => {
                return wrong(format!("an inproc queue holds 1 to {QUEUE_MESSAGES_MAX} messages"));
            }
            _ => {}
        }
        if self.backlog == 0 || self.backlog > BACKLOG_MAX {
            return wrong(format!("backlog must be 1 to {BACKLOG_MAX}, not {}", self.backlog));
        }
        if self.queue_bytes_max == 0 || self.message_bytes_max == 0 {
            return wrong("the byte limits of an inproc queue must not be 0".to_owned());
        }
        Ok(())
    }
}

impl Default for InprocOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

const QUEUE_MESSAGES_MAX: usize = 1 << 24;
const BACKLOG_MAX: usize = 1 << 16;
