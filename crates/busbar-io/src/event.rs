//! What an engine reports.

use busbar_proto::{ConnectionState, Error};

use crate::slots::Handle;

/// Names a pipe of one engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PipeId(pub(crate) Handle);

/// Names a listener of one engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub(crate) Handle);

macro_rules! integer_handle {
    ($($id:ident),*) => {$(
        impl $id {
            /// The handle as an integer below 2³¹.
            #[must_use]
            pub const fn number(self) -> u32 {
                self.0.0
            }

            /// The handle with this number, which may be stale or never have existed.
            #[must_use]
            pub const fn from_number(number: u32) -> Self {
                Self(Handle(number))
            }
        }
    )*};
}

integer_handle!(PipeId, ListenerId);

/// Something that happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A listener has a new, connected pipe.
    Accepted {
        /// Which listener.
        listener: ListenerId,
        /// The new pipe.
        pipe: PipeId,
    },
    /// A listener that asks who is let in has a connection that waits for [`crate::Engine::admit`].
    Asking {
        /// Which listener.
        listener: ListenerId,
        /// The pipe that it may become; [`crate::Engine::peer`] says whose.
        pipe: PipeId,
    },
    /// The pipe is over; [`crate::Engine::reason`] says why. What was received before can still be
    /// taken; then the pipe wants to be closed.
    Closed(PipeId),
    /// A message of the pipe's session was given up; [`crate::Engine::stats`] says how many were.
    DeliveryFailed(PipeId),
    /// Messages of the pipe were dropped; [`crate::Engine::stats`] says how many and why.
    Dropped(PipeId),
    /// The listener is over, without having been asked.
    ListenerClosed(ListenerId),
    /// There is something to receive.
    Readable(PipeId),
    /// The connection state changed.
    State(PipeId, ConnectionState),
    /// A connection attempt came to nothing; the listener goes on.
    Warning(ListenerId, Error),
    /// A message that was refused may be offered again.
    Writable(PipeId),
}

impl Event {
    /// The pipe that this is about.
    pub(crate) fn pipe(&self) -> Option<PipeId> {
        match *self {
            Self::Accepted { pipe, .. }
            | Self::Asking { pipe, .. }
            | Self::Closed(pipe)
            | Self::DeliveryFailed(pipe)
            | Self::Dropped(pipe)
            | Self::Readable(pipe)
            | Self::State(pipe, _)
            | Self::Writable(pipe) => Some(pipe),
            Self::ListenerClosed(_) | Self::Warning(..) => None,
        }
    }
}
