//! What a reactor does with descriptors, on Unix.

use std::os::fd::{AsFd, AsRawFd, RawFd};

use busbar_proto::Error;

use super::{Accepts, Port, Reactor, Token};
use crate::os::os_error;

/// Of what to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watch {
    Readable,
    /// Also of room to write.
    Both,
}

impl Reactor {
    /// Tells the edges of a descriptor from now on, that which it has at present first. It must be
    /// removed before it is closed.
    pub(crate) fn add(&self, fd: &impl AsFd, token: Token, watch: Watch) -> Result<(), Error> {
        let fd = fd.as_fd().as_raw_fd();
        let added = match self {
            Self::Poll(poll) => poll.add(fd, token, watch),
            Self::Uring(uring) => uring.add(fd, token, watch),
        };
        added.map_err(|error| os_error("watching a descriptor", error))
    }

    /// Gives the edges of a descriptor that may have been added to another token. Those that were
    /// there already are told once more.
    pub(crate) fn change(&self, fd: &impl AsFd, token: Token, watch: Watch) -> Result<(), Error> {
        match self {
            Self::Poll(poll) => {
                let raw = fd.as_fd().as_raw_fd();
                poll.change(raw, token, watch).or_else(|_| self.add(fd, token, watch))
            }
            Self::Uring(_) => self.add(fd, token, watch),
        }
    }

    /// Forgets a descriptor, if it was added.
    pub(crate) fn remove(&self, fd: &impl AsFd) {
        let fd = fd.as_fd().as_raw_fd();
        match self {
            Self::Poll(poll) => poll.remove(fd),
            Self::Uring(uring) => uring.remove(fd),
        }
    }

    /// Has a connected socket read and written from now on, if this reactor does that.
    ///
    /// # Errors
    /// `OutOfMemory`, `Io`.
    pub(crate) fn adopt(&self, socket: &impl AsFd, token: Token) -> Result<Option<Port>, Error> {
        let Self::Uring(uring) = self else { return Ok(None) };
        let adopted = uring.adopt(socket.as_fd(), token);
        adopted.map(Some).map_err(|error| os_error("adopting a socket", error))
    }

    /// Has connections of a listening socket accepted from now on, if this reactor does that.
    ///
    /// # Errors
    /// `OutOfMemory`, `Io`.
    pub(crate) fn listen(
        &self,
        socket: &impl AsFd,
        token: Token,
    ) -> Result<Option<Accepts>, Error> {
        let Self::Uring(uring) = self else { return Ok(None) };
        let listening = uring.listen(socket.as_fd(), token);
        listening.map(Some).map_err(|error| os_error("accepting connections", error))
    }
}

impl AsRawFd for Reactor {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Poll(poll) => poll.as_raw_fd(),
            Self::Uring(uring) => uring.as_raw_fd(),
        }
    }
}
