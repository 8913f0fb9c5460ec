//! How an I/O thread wakes its owner, on Unix: by a descriptor.

use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use busbar_proto::Error;
use mio::{Events, Poll, Token, Waker};

use super::IoThread;
use crate::os::os_error;

/// The owner's side: what ringing makes readable.
pub(super) struct Bell {
    poll: Poll,
    rung: Events,
}

/// The thread's side.
pub(super) struct Ringer(Waker);

impl Bell {
    pub(super) fn new() -> Result<(Self, Ringer), Error> {
        let poll = Poll::new().map_err(|error| os_error("creating a poll set", error))?;
        let bell = Waker::new(poll.registry(), Token(0))
            .map_err(|error| os_error("creating a bell", error))?;
        Ok((Self { poll, rung: Events::with_capacity(1) }, Ringer(bell)))
    }

    /// It has done its work.
    pub(super) fn clear(&mut self) {
        // An interrupted wait leaves it for the next time.
        let _ = self.poll.poll(&mut self.rung, Some(Duration::ZERO));
    }
}

impl Ringer {
    pub(super) fn ring(&self) {
        // A full pipe of bells has woken the owner.
        let _ = self.0.wake();
    }
}

impl AsRawFd for IoThread {
    fn as_raw_fd(&self) -> RawFd {
        self.bell.poll.as_raw_fd()
    }
}
