//! What a HELLO says of a session: who may resume it, what its sender keeps, and what has arrived
//! there. docs/formats/hello.md draws it.

use std::fmt;
use std::time::Duration;

use super::{CHANNELS_MAX, SessionOptions, WINDOW_MESSAGES_MAX};
use crate::frame::Ack;
use crate::reader::Reader;

/// Random, chosen by the dialer with the session, and never shown: who knows it may resume the
/// session.
#[derive(Clone, Copy, Eq)]
pub struct ResumeToken(pub [u8; 16]);

/// The resume section of a HELLO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The session's token.
    pub token: ResumeToken,
    /// For how long the sender keeps the session without a connection: milliseconds.
    pub timeout_ms: u32,
    /// The most messages that the sender has under way in a channel: 1 to 65,536.
    pub window_messages: u32,
    /// Whether the sender has had a connection in this session, so that there is something to lose.
    pub is_established: bool,
    /// What has arrived at the sender, by channel in ascending order: at most 128 channels. Of any
    /// other, nothing has.
    pub positions: Vec<(u16, Ack)>,
}

impl Resume {
    /// What an end says that wants to keep sessions and does not know yet which: for comparing
    /// abilities, not for sending.
    #[must_use]
    pub fn prospect(options: &SessionOptions) -> Self {
        Self {
            token: ResumeToken([0; 16]),
            timeout_ms: u32::try_from(options.timeout.as_millis()).unwrap_or(u32::MAX),
            window_messages: options.window_messages,
            is_established: false,
            positions: Vec::new(),
        }
    }

    /// For how long the sender keeps the session.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(u64::from(self.timeout_ms))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FIXED_BYTES + POSITION_BYTES * self.positions.len());
        out.extend_from_slice(&self.token.0);
        out.extend_from_slice(&self.timeout_ms.to_be_bytes());
        out.extend_from_slice(&self.window_messages.to_be_bytes());
        out.extend_from_slice(&[u8::from(self.is_established), 0]);
        let count = u16::try_from(self.positions.len()).expect("invariant: at most 128 channels");
        out.extend_from_slice(&count.to_be_bytes());
        for (channel, ack) in &self.positions {
            out.extend_from_slice(&channel.to_be_bytes());
            out.extend_from_slice(&ack.cumulative.to_be_bytes());
            out.extend_from_slice(&ack.bitmap.to_be_bytes());
        }
        out
    }

    /// `None` if it breaks a rule of docs/formats/hello.md.
    pub(crate) fn decode(value: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(value);
        let token = ResumeToken(reader.array()?);
        let timeout_ms = reader.u32()?;
        let window_messages = reader.u32()?;
        let is_established = match reader.u8()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let reserved = reader.u8()?;
        let count = usize::from(reader.u16()?);
        if reserved != 0
            || count > CHANNELS_MAX
            || value.len() != FIXED_BYTES + POSITION_BYTES * count
            || !(1..=WINDOW_MESSAGES_MAX).contains(&window_messages)
        {
            return None;
        }
        let mut positions: Vec<(u16, Ack)> = Vec::with_capacity(count);
        for _ in 0..count {
            let channel = reader.u16()?;
            if positions.last().is_some_and(|&(last, _)| last >= channel) {
                return None;
            }
            let (cumulative, bitmap) = (reader.u64()?, reader.u64()?);
            positions.push((channel, Ack { cumulative, bitmap }));
        }
        Some(Self { token, timeout_ms, window_messages, is_established, positions })
    }
}

impl PartialEq for ResumeToken {
    /// Takes the same time wherever the difference is, so that nobody can guess byte by byte.
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
    }
}

impl fmt::Debug for ResumeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResumeToken(…)")
    }
}

// docs/formats/hello.md
const FIXED_BYTES: usize = 28;
const POSITION_BYTES: usize = 18;
