//! Waiting for an engine on Windows, which has no descriptor for that.

use std::io;
use std::time::Duration;

pub(super) use busbar_io::Interrupt;
use busbar_io::Waiter;

use crate::port::PortEngine;

/// The helper thread's side.
pub(super) struct Waiting(Waiter);

pub(super) fn waiting(engine: &PortEngine) -> io::Result<(Waiting, Interrupt)> {
    let (waiter, interrupt) = engine.waiter().map_err(io::Error::other)?;
    Ok((Waiting(waiter), interrupt))
}

impl Waiting {
    pub(super) fn wait(&mut self, timeout: Option<Duration>) {
        self.0.wait(timeout);
    }
}
