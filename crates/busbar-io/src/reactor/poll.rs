//! The reactor over the system's poll set.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use busbar_proto::Error;
use mio::unix::SourceFd;
use mio::{Events, Interest, Waker};

use super::{Edge, Token, Watch};
use crate::os::os_error;

/// See the [module](self).
pub(crate) struct Poll {
    poll: mio::Poll,
    events: Events,
    calls: u64,
}

/// See [`Reactor::watcher`](crate::reactor::Reactor::watcher): a set that holds the other.
pub(crate) struct Watcher {
    poll: mio::Poll,
    events: Events,
}

impl Poll {
    pub(super) fn new(bell: Token) -> Result<(Self, Waker), Error> {
        let poll = mio::Poll::new().map_err(|error| os_error("creating a poll set", error))?;
        let bell = Waker::new(poll.registry(), mio::Token(bell.0))
            .map_err(|error| os_error("creating a bell", error))?;
        Ok((Self { poll, events: Events::with_capacity(256), calls: 0 }, bell))
    }

    pub(super) fn wait(&mut self, timeout: Option<Duration>, edges: &mut Vec<Edge>) {
        self.calls += 1;
        // An interrupted wait is an empty one; other errors would mean that the set itself is gone.
        if self.poll.poll(&mut self.events, timeout).is_ok() {
            edges.extend(self.events.iter().map(|event| {
                let is_ending = event.is_read_closed() || event.is_error();
                Edge { token: Token(event.token().0), is_ending }
            }));
        }
    }

    pub(super) fn calls(&self) -> u64 {
        self.calls
    }

    pub(super) fn watcher(&self) -> io::Result<Watcher> {
        let poll = mio::Poll::new()?;
        let mut set = SourceFd(&self.as_raw_fd());
        poll.registry().register(&mut set, mio::Token(0), Interest::READABLE)?;
        Ok(Watcher { poll, events: Events::with_capacity(1) })
    }

    pub(super) fn add(&self, fd: RawFd, token: Token, watch: Watch) -> io::Result<()> {
        let registry = self.poll.registry();
        registry.register(&mut SourceFd(&fd), mio::Token(token.0), interest(watch))
    }

    pub(super) fn change(&self, fd: RawFd, token: Token, watch: Watch) -> io::Result<()> {
        let registry = self.poll.registry();
        registry.reregister(&mut SourceFd(&fd), mio::Token(token.0), interest(watch))
    }

    pub(super) fn remove(&self, fd: RawFd) {
        // Closing the descriptor, which follows, would often do as well.
        let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
    }
}

impl Watcher {
    pub(super) fn wait(&mut self, timeout: Option<Duration>) {
        // Interrupted: an early look does no harm.
        let _ = self.poll.poll(&mut self.events, timeout);
    }
}

fn interest(watch: Watch) -> Interest {
    match watch {
        Watch::Readable => Interest::READABLE,
        Watch::Both => Interest::READABLE | Interest::WRITABLE,
    }
}

impl AsRawFd for Poll {
    fn as_raw_fd(&self) -> RawFd {
        self.poll.as_raw_fd()
    }
}
