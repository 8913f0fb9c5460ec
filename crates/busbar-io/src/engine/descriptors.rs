//! The engine's poll set: which descriptor is whose.

#[cfg(unix)]
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use busbar_proto::Error;
use mio::{Events, Poll, Registry, Token, Waker};

use crate::os::os_error;
use crate::slots::Handle;

/// What a token stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Bell,
    Control,
    Acceptor,
    /// The notice board's bell.
    Board,
    /// A closed connection's.
    Linger,
}

/// A descriptor that is ready.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    pub(crate) role: Role,
    pub(crate) handle: Handle,
    /// It has also said that nothing will follow.
    pub(crate) is_ending: bool,
}

impl Role {
    pub(crate) fn token(self, handle: Handle) -> Token {
        Token((handle.0 as usize) << 3 | self as usize)
    }

    fn of(token: Token) -> (Self, Handle) {
        let role = match token.0 & 7 {
            0 => Self::Bell,
            1 => Self::Control,
            2 => Self::Acceptor,
            3 => Self::Board,
            _ => Self::Linger,
        };
        let handle = u32::try_from(token.0 >> 3).expect("invariant: made by `token`");
        (role, Handle(handle))
    }
}

pub(crate) struct Descriptors {
    poll: Poll,
    events: Events,
    ready: Vec<Ready>,
}

impl Descriptors {
    /// An empty set, and the bell that wakes whoever polls it.
    pub(crate) fn new() -> Result<(Self, Waker), Error> {
        let poll = Poll::new().map_err(|error| os_error("creating a poll set", error))?;
        let bell = Waker::new(poll.registry(), Role::Board.token(Handle(0)))
            .map_err(|error| os_error("creating a bell", error))?;
        Ok((Self { poll, events: Events::with_capacity(256), ready: Vec::new() }, bell))
    }

    pub(crate) fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    /// Waits up to `timeout` (`None`: for ever) for descriptors, and returns those that are ready.
    /// Give the list back with [`Descriptors::recycle`].
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> Vec<Ready> {
        let mut ready = std::mem::take(&mut self.ready);
        ready.clear();
        // An interrupted wait is an empty one; other errors would mean that the set itself is gone.
        if self.poll.poll(&mut self.events, timeout).is_ok() {
            ready.extend(self.events.iter().map(|event| {
                let (role, handle) = Role::of(event.token());
                let is_ending = event.is_read_closed() || event.is_error();
                Ready { role, handle, is_ending }
            }));
        }
        ready
    }

    pub(crate) fn recycle(&mut self, ready: Vec<Ready>) {
        self.ready = ready;
    }
}

#[cfg(unix)]
impl AsRawFd for Descriptors {
    fn as_raw_fd(&self) -> RawFd {
        self.poll.as_raw_fd()
    }
}
