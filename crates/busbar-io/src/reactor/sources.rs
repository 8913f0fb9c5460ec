//! What a reactor does with sockets and named pipes, on Windows: mio watches them, and has to be
//! the one who reads and writes, since it is told nothing twice.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use mio::Registry;

use super::{Reactor, Reaper, Token, poll};

impl Reactor {
    /// What sources are registered with.
    pub(crate) fn registry(&self) -> &Registry {
        self.set().registry()
    }

    /// Sets `room` with each edge of `token` that says that a write may begin.
    pub(crate) fn tell_room(&self, token: Token, room: &Arc<AtomicBool>) {
        self.set().tell_room(token, room);
    }

    /// Undoes [`Reactor::tell_room`].
    pub(crate) fn forget_room(&self, token: Token, room: &Arc<AtomicBool>) {
        self.set().forget_room(token, room);
    }

    /// To be dropped after a named pipe.
    pub(crate) fn reaper(&self) -> Reaper {
        self.set().reaper()
    }

    fn set(&self) -> &poll::Poll {
        match self {
            Self::Poll(poll) => poll,
            Self::Uring(absent) => absent.never(),
        }
    }
}
