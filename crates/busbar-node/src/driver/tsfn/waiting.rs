//! Waiting for an engine's descriptor, on Unix.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};

use crate::port::PortEngine;

/// The helper thread's side.
pub(super) struct Waiting {
    engine: OwnedFd,
    interrupted: UnixStream,
}

/// Written to interrupt a wait.
pub(super) struct Interrupt(UnixStream);

pub(super) fn waiting(engine: &PortEngine) -> io::Result<(Waiting, Interrupt)> {
    // SAFETY: the engine, and with it the descriptor, lives while it is borrowed.
    let engine = unsafe { BorrowedFd::borrow_raw(engine.as_raw_fd()) }.try_clone_to_owned()?;
    let (interrupt, interrupted) = UnixStream::pair()?;
    interrupted.set_nonblocking(true)?;
    Ok((Waiting { engine, interrupted }, Interrupt(interrupt)))
}

impl Waiting {
    pub(super) fn wait(&mut self, timeout: Option<Duration>) {
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let mut descriptors = [
            PollFd::new(&self.engine, PollFlags::IN),
            PollFd::from_borrowed_fd(self.interrupted.as_fd(), PollFlags::IN),
        ];
        let _ = rustix::event::poll(&mut descriptors, timeout.as_ref());
        let _ = self.interrupted.read(&mut [0; 16]);
    }
}

impl Interrupt {
    pub(super) fn ring(&self) {
        let _ = (&self.0).write(&[0]);
    }
}
