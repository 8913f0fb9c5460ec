//! Waiting for an engine from another thread, on Windows, where it has no descriptor for that.

use std::sync::Arc;
use std::time::Duration;

use busbar_proto::Error;

use crate::engine::Engine;
use crate::io_thread::Signal;
use crate::notice::Bell;
use crate::reactor::Watcher;

/// Waits until an engine has something to do, or an I/O thread something for its owner.
pub struct Waiter(Source);

enum Source {
    Engine(Watcher),
    Thread(Arc<Signal>),
}

/// Ends a wait, or the next.
pub struct Interrupt(Bells);

enum Bells {
    Engine(Bell),
    Thread(Arc<Signal>),
}

impl Waiter {
    pub(crate) fn of_thread(event: Arc<Signal>) -> Self {
        Self(Source::Thread(event))
    }

    /// Returns when the owner has to look, after `timeout` (`None`: never), or for no reason.
    pub fn wait(&mut self, timeout: Option<Duration>) {
        match &mut self.0 {
            Source::Engine(watcher) => watcher.wait(timeout),
            Source::Thread(event) => event.wait(timeout),
        }
    }
}

impl Interrupt {
    pub(crate) fn of_thread(event: Arc<Signal>) -> Self {
        Self(Bells::Thread(event))
    }

    /// See [`Interrupt`].
    pub fn ring(&self) {
        match &self.0 {
            Bells::Engine(bell) => bell.ring(),
            Bells::Thread(event) => event.set(),
        }
    }
}

impl Engine {
    /// What tells when [`Engine::turn`] has something to do that it does not know of yet, and what
    /// ends such a wait. While one waits, the engine finds only what that wait has found.
    ///
    /// # Errors
    /// `Io` or `OutOfMemory` when handles are short.
    pub fn waiter(&self) -> Result<(Waiter, Interrupt), Error> {
        Ok((Waiter(Source::Engine(self.watcher()?)), Interrupt(Bells::Engine(self.bell()))))
    }
}
