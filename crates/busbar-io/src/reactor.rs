//! What an engine waits with: descriptors that report edges, and sockets that are read and written.
//!
//! | backend | descriptors | sockets |
//! |---|---|---|
//! | [`Poll`](Backend::Poll) | the system's poll set: epoll, kqueue, IOCP | read and written when there is an edge |
//! | [`Uring`](Backend::Uring) | multishot polls | completions: what came has been received already |
//!
//! Either way an edge means "look again", is told once, and may be told for nothing; the
//! transports know no difference but that a socket is *adopted* ([`Reactor::adopt`]) once its ends
//! have introduced themselves.

#[cfg_attr(windows, path = "reactor/sources.rs")]
mod descriptors;
#[cfg_attr(windows, path = "reactor/iocp.rs")]
mod poll;
#[cfg_attr(not(target_os = "linux"), path = "reactor/absent.rs")]
mod uring;

use std::env;
use std::time::Duration;

use busbar_proto::{Code, Error};

use crate::os::os_error;
#[cfg(unix)]
pub(crate) use descriptors::Watch;
#[cfg(windows)]
pub(crate) use poll::Reaper;
use uring::Uring;
#[cfg(unix)]
pub(crate) use uring::{Accepts, Port};

/// Says which backend engines use that are not told: `auto`, `poll` or `uring`.
const VARIABLE: &str = "BUSBAR_IO";

/// How an engine gets at its descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backend {
    /// The system's poll set: epoll, kqueue or, on Windows, a completion port. Everywhere.
    Poll,
    /// io_uring, on Linux from about 6.1, unless the system or a sandbox forbids it.
    Uring,
}

/// Which backend to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BackendChoice {
    /// io_uring if a self-test of all that is needed of it passes, or else the poll set.
    Auto,
    /// This one and no other.
    Only(Backend),
}

/// How to make an [`Engine`](crate::Engine).
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct EngineOptions {
    /// The backend; `None`: what the environment variable `BUSBAR_IO` says (`auto`, `poll` or
    /// `uring`), or else the poll set.
    pub backend: Option<BackendChoice>,
    /// Whether only the thread that makes the engine will ever drive it. With `Uring` that saves
    /// interruptions; driven by another thread, such an engine stands still.
    pub single_thread: bool,
}

/// What the reactor calls a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token(pub(crate) usize);

/// A descriptor that is to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) token: Token,
    /// It has also said that nothing will follow.
    pub(crate) is_ending: bool,
}

/// See the [module](self).
pub(crate) enum Reactor {
    Poll(poll::Poll),
    Uring(Uring),
}

/// Wakes whoever waits, from any thread.
#[derive(Debug)]
pub(crate) enum Bell {
    Poll(mio::Waker),
    Uring(uring::Bell),
}

/// Waits for a reactor that others may use meanwhile.
pub(crate) enum Watcher {
    Poll(poll::Watcher),
    Uring(uring::Watcher),
}

impl EngineOptions {
    /// What the caller wants, or else the environment.
    ///
    /// # Errors
    /// `InvalidArgument` if the environment asks for something that does not exist.
    fn choice(&self) -> Result<BackendChoice, Error> {
        match (self.backend, env::var(VARIABLE)) {
            (Some(choice), _) => Ok(choice),
            (None, Ok(name)) if !name.is_empty() => name.parse(),
            (None, _) => Ok(Backend::Poll.into()),
        }
    }
}

impl From<Backend> for BackendChoice {
    fn from(backend: Backend) -> Self {
        Self::Only(backend)
    }
}

impl std::str::FromStr for BackendChoice {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "auto" => Ok(Self::Auto),
            "poll" => Ok(Self::Only(Backend::Poll)),
            "uring" => Ok(Self::Only(Backend::Uring)),
            _ => {
                let message =
                    format!("no backend is called {name:?}: `auto`, `poll` and `uring` are");
                Err(Error::new(Code::InvalidArgument, message))
            }
        }
    }
}

impl Reactor {
    /// A reactor that watches nothing, and the bell that wakes it by an edge with the token `bell`.
    ///
    /// # Errors
    /// As [`EngineOptions::choice`]; `NotSupported` if the only backend that is wanted does not
    /// work here; `Io` or `OutOfMemory` when descriptors are short.
    pub(crate) fn new(options: EngineOptions, bell: Token) -> Result<(Self, Bell), Error> {
        match options.choice()? {
            BackendChoice::Only(Backend::Poll) => Self::poll(bell),
            BackendChoice::Only(Backend::Uring) => Self::uring(options.single_thread, bell),
            BackendChoice::Auto => {
                Self::uring(options.single_thread, bell).or_else(|_| Self::poll(bell))
            }
        }
    }

    fn poll(bell: Token) -> Result<(Self, Bell), Error> {
        let (poll, bell) = poll::Poll::new(bell)?;
        Ok((Self::Poll(poll), Bell::Poll(bell)))
    }

    fn uring(single_thread: bool, bell: Token) -> Result<(Self, Bell), Error> {
        uring::check(single_thread).map_err(|why| {
            let message = format!("io_uring does not work here: {why}; use `poll` or `auto`");
            Error::new(Code::NotSupported, message)
        })?;
        let failed = |error| os_error("creating an io_uring", error);
        let uring = Uring::new(single_thread).map_err(failed)?;
        let bell = uring.bell(bell).map_err(failed)?;
        Ok((Self::Uring(uring), Bell::Uring(bell)))
    }

    pub(crate) fn backend(&self) -> Backend {
        match self {
            Self::Poll(_) => Backend::Poll,
            Self::Uring(_) => Backend::Uring,
        }
    }

    /// What waits for edges beside whoever uses this reactor.
    ///
    /// # Errors
    /// `Io` or `OutOfMemory` when descriptors are short.
    pub(crate) fn watcher(&self) -> Result<Watcher, Error> {
        let made = match self {
            Self::Poll(poll) => poll.watcher().map(Watcher::Poll),
            Self::Uring(uring) => uring.watcher().map(Watcher::Uring),
        };
        made.map_err(|error| os_error("watching an engine", error))
    }

    /// Waits up to `timeout` (`None`: for ever) for edges, and appends them to `edges`.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>, edges: &mut Vec<Edge>) {
        match self {
            Self::Poll(poll) => poll.wait(timeout, edges),
            Self::Uring(uring) => uring.wait(timeout, edges),
        }
    }

    /// Has what was written in this turn sent; whether there are edges of which the descriptor does
    /// not tell.
    pub(crate) fn submit(&self) -> bool {
        match self {
            Self::Poll(_) => false,
            Self::Uring(uring) => uring.submit(),
        }
    }

    /// Whether there is something to tell or to do of which the descriptor does not tell.
    pub(crate) fn has_work(&self) -> bool {
        match self {
            Self::Poll(_) => false,
            Self::Uring(uring) => uring.has_work(),
        }
    }

    /// System calls made to wait and, if they are made here, to read and write.
    pub(crate) fn calls(&self) -> u64 {
        match self {
            Self::Poll(poll) => poll.calls(),
            Self::Uring(uring) => uring.enters(),
        }
    }
}

impl Watcher {
    /// Returns when [`Reactor::wait`] has something to tell, after `timeout` (`None`: never), or
    /// for no reason.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) {
        match self {
            Self::Poll(watcher) => watcher.wait(timeout),
            Self::Uring(watcher) => watcher.wait(timeout),
        }
    }
}

impl Bell {
    pub(crate) fn ring(&self) {
        match self {
            // Fails only when the descriptor is gone, that is, when the engine is.
            Self::Poll(waker) => drop(waker.wake()),
            Self::Uring(bell) => bell.ring(),
        }
    }
}
