//! The states of a connection and the only ways from one to another.
//!
//! | input \ state | `CONNECTING` | `CONNECTED` | `DISCONNECTED` | `RECONNECTING` | `CLOSED` |
//! |---|---|---|---|---|---|
//! | Established | `CONNECTED` | | | `CONNECTED` | |
//! | AttemptFailed | `DISCONNECTED` | | | `DISCONNECTED` | |
//! | Lost | | `DISCONNECTED` | | | |
//! | RetryStarted | | | `RECONNECTING` | | |
//! | GaveUp | `CLOSED` | | `CLOSED` | `CLOSED` | |
//! | ClosedLocally | `CLOSED` | `CLOSED` | `CLOSED` | `CLOSED` | |
//! | ClosedByPeer | `CLOSED` | `CLOSED` | | `CLOSED` | |
//!
//! An empty cell is an input that cannot happen in that state: whoever applies it has a bug.
//! Timers, attempts and back-off live with the caller.

use std::fmt;

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a sixth state would break every state event handler")]
#[repr(u8)]
pub enum ConnectionState {
    /// The first attempt is under way.
    Connecting = 0,
    /// Messages flow.
    Connected = 1,
    /// The connection is gone and no attempt to replace it is under way.
    Disconnected = 2,
    /// A later attempt is under way.
    Reconnecting = 3,
    /// It is over, for good.
    Closed = 4,
}

/// What happens to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectionInput {
    /// The transport is connected and the HELLOs agree.
    Established,
    /// An attempt failed; there may be another.
    AttemptFailed,
    /// The connection ended without a CLOSE.
    Lost,
    /// A new attempt begins.
    RetryStarted,
    /// There will be no further attempt.
    GaveUp,
    /// This end closed, and its lingering is over.
    ClosedLocally,
    /// The peer sent CLOSE or REJECT.
    ClosedByPeer,
}

impl ConnectionState {
    /// Every state, by number.
    pub const ALL: &'static [Self] =
        &[Self::Connecting, Self::Connected, Self::Disconnected, Self::Reconnecting, Self::Closed];

    /// The state that `input` leads to; `None` if it cannot happen in this state.
    #[must_use]
    pub const fn next(self, input: ConnectionInput) -> Option<Self> {
        use ConnectionInput as I;
        match (self, input) {
            (Self::Connecting | Self::Reconnecting, I::Established) => Some(Self::Connected),
            (Self::Connecting | Self::Reconnecting, I::AttemptFailed) => Some(Self::Disconnected),
            (Self::Connected, I::Lost) => Some(Self::Disconnected),
            (Self::Disconnected, I::RetryStarted) => Some(Self::Reconnecting),
            (Self::Connecting | Self::Disconnected | Self::Reconnecting, I::GaveUp)
            | (Self::Connecting | Self::Connected | Self::Reconnecting, I::ClosedByPeer)
            | (
                Self::Connecting | Self::Connected | Self::Disconnected | Self::Reconnecting,
                I::ClosedLocally,
            ) => Some(Self::Closed),
            _ => None,
        }
    }

    /// The name that programs see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "CONNECTING",
            Self::Connected => "CONNECTED",
            Self::Disconnected => "DISCONNECTED",
            Self::Reconnecting => "RECONNECTING",
            Self::Closed => "CLOSED",
        }
    }

    /// The number that crosses the Node-API edge.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }
}

impl ConnectionInput {
    /// Every input.
    pub const ALL: &'static [Self] = &[
        Self::Established,
        Self::AttemptFailed,
        Self::Lost,
        Self::RetryStarted,
        Self::GaveUp,
        Self::ClosedLocally,
        Self::ClosedByPeer,
    ];
}

impl fmt::Display for ConnectionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
