//! The engine's descriptors: which is whose.

#[cfg(unix)]
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use busbar_proto::Error;

use crate::reactor::{Bell, Edge, EngineOptions, Reactor, Token};
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

impl Role {
    pub(crate) fn token(self, handle: Handle) -> Token {
        Token((handle.0 as usize) << 3 | self as usize)
    }

    /// Whose the token is.
    pub(crate) fn of(token: Token) -> (Self, Handle) {
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
    reactor: Reactor,
    edges: Vec<Edge>,
}

impl Descriptors {
    /// An empty set, and the bell that wakes whoever polls it.
    pub(crate) fn new(options: EngineOptions) -> Result<(Self, Bell), Error> {
        let (reactor, bell) = Reactor::new(options, Role::Board.token(Handle(0)))?;
        Ok((Self { reactor, edges: Vec::new() }, bell))
    }

    pub(crate) fn reactor(&self) -> &Reactor {
        &self.reactor
    }

    /// Waits up to `timeout` (`None`: for ever) for descriptors, and returns the edges of those
    /// that are ready. Give the list back with [`Descriptors::recycle`].
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> Vec<Edge> {
        let mut edges = std::mem::take(&mut self.edges);
        edges.clear();
        self.reactor.wait(timeout, &mut edges);
        edges
    }

    pub(crate) fn recycle(&mut self, edges: Vec<Edge>) {
        self.edges = edges;
    }
}

#[cfg(unix)]
impl AsRawFd for Descriptors {
    fn as_raw_fd(&self) -> RawFd {
        self.reactor.as_raw_fd()
    }
}
