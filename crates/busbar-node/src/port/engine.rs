//! The engine of a port, and who drives it: the event loop, or an I/O thread beside it.

use std::ops::{Deref, DerefMut};
#[cfg(unix)]
use std::os::fd::{AsRawFd, RawFd};
use std::time::Instant;

use busbar_io::{
    BackendChoice, Engine, EngineGuard, EngineOptions, Error, Event, IoThread, Readiness,
};
#[cfg(windows)]
use busbar_io::{Interrupt, Waiter};

/// See the [module](self). What it is asked in every turn has the same meaning for both.
#[expect(clippy::large_enum_variant, reason = "there is one, and calls look at it often")]
pub(crate) enum PortEngine {
    /// The loop does everything itself.
    Loop(Engine),
    /// A thread does what need not wait for the loop.
    Thread(IoThread),
}

/// The engine, for one call: with a lock if it is shared.
pub(crate) enum Held<'a> {
    Loop(&'a mut Engine),
    Thread(EngineGuard<'a>),
}

impl PortEngine {
    pub(super) fn new(has_thread: bool, backend: Option<BackendChoice>) -> Result<Self, Error> {
        let mut options = EngineOptions::default();
        options.backend = backend;
        if has_thread {
            return IoThread::with(options).map(Self::Thread);
        }
        // The environment's.
        options.single_thread = true;
        Engine::with(options).map(Self::Loop)
    }

    /// The engine itself. What was held before must have been let go.
    #[inline]
    pub(crate) fn hold(&mut self) -> Held<'_> {
        match self {
            Self::Loop(engine) => Held::Loop(engine),
            Self::Thread(thread) => Held::Thread(thread.lock()),
        }
    }

    pub(super) fn turn(&mut self, events: &mut Vec<Event>) {
        match self {
            Self::Loop(engine) => engine.turn(events),
            Self::Thread(thread) => thread.turn(events),
        }
    }

    pub(super) fn prepare_sleep(&mut self, events: &mut Vec<Event>) -> Readiness {
        match self {
            Self::Loop(engine) => engine.prepare_sleep(events),
            Self::Thread(thread) => thread.prepare_sleep(events),
        }
    }

    /// When the loop must give the engine its turn even if nothing happens.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        match self {
            Self::Loop(engine) => engine.next_deadline(),
            Self::Thread(_) => None,
        }
    }

    /// Whether the loop has something to do that the descriptor does not announce.
    pub(crate) fn has_work(&self) -> bool {
        match self {
            Self::Loop(engine) => engine.has_work(),
            Self::Thread(thread) => thread.has_work(),
        }
    }
}

#[cfg(unix)]
impl AsRawFd for PortEngine {
    /// Readable when the loop has something to do.
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Loop(engine) => engine.as_raw_fd(),
            Self::Thread(thread) => thread.as_raw_fd(),
        }
    }
}

#[cfg(windows)]
impl PortEngine {
    /// What tells when the loop has something to do, and what ends such a wait.
    pub(crate) fn waiter(&self) -> Result<(Waiter, Interrupt), Error> {
        match self {
            Self::Loop(engine) => engine.waiter(),
            Self::Thread(thread) => Ok(thread.waiter()),
        }
    }
}

impl Deref for Held<'_> {
    type Target = Engine;

    #[inline]
    fn deref(&self) -> &Engine {
        match self {
            Self::Loop(engine) => engine,
            Self::Thread(guard) => guard,
        }
    }
}

impl DerefMut for Held<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Engine {
        match self {
            Self::Loop(engine) => engine,
            Self::Thread(guard) => guard,
        }
    }
}
