//! The reactor over a completion port of Windows, by way of mio, which makes edges of completions.
//!
//! A port cannot be waited for by way of another. So a [`Watcher`] waits with the set itself, while
//! the reactor's user does without; what it finds is told when the user looks next.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use busbar_proto::Error;
use mio::{Events, Registry, Waker};
use parking_lot::Mutex;

use super::{Edge, Token};
use crate::os::os_error;

/// See the [module](self).
pub(crate) struct Poll {
    shared: Arc<Shared>,
    registry: Registry,
    /// Named pipes that are told when a write is done.
    rooms: RefCell<HashMap<usize, Arc<AtomicBool>>>,
    found: Vec<Found>,
    calls: u64,
}

/// See [`Reactor::watcher`](crate::reactor::Reactor::watcher).
pub(crate) struct Watcher(Arc<Shared>);

/// Has the system's answers taken to what was cancelled, when it is dropped itself: only then is a
/// handle closed that was given up.
pub(crate) struct Reaper(Arc<Shared>);

struct Shared {
    set: Mutex<Set>,
    /// What watchers have found.
    found: Mutex<Vec<Found>>,
}

struct Set {
    poll: mio::Poll,
    events: Events,
}

struct Found {
    edge: Edge,
    is_writable: bool,
}

impl Poll {
    pub(super) fn new(bell: Token) -> Result<(Self, Waker), Error> {
        let failed = |error| os_error("creating a poll set", error);
        let poll = mio::Poll::new().map_err(failed)?;
        let registry = poll.registry().try_clone().map_err(failed)?;
        let bell = Waker::new(&registry, mio::Token(bell.0))
            .map_err(|error| os_error("creating a bell", error))?;
        let set = Mutex::new(Set { poll, events: Events::with_capacity(256) });
        let shared = Arc::new(Shared { set, found: Mutex::default() });
        let rooms = RefCell::default();
        Ok((Self { shared, registry, rooms, found: Vec::new(), calls: 0 }, bell))
    }

    pub(super) fn wait(&mut self, timeout: Option<Duration>, edges: &mut Vec<Edge>) {
        self.calls += 1;
        self.found.append(&mut self.shared.found.lock());
        let timeout = if self.found.is_empty() { timeout } else { Some(Duration::ZERO) };
        let set = match timeout {
            Some(timeout) => self.shared.set.try_lock_for(timeout),
            None => Some(self.shared.set.lock()),
        };
        // A watcher that has the set tells what it finds.
        if let Some(mut set) = set {
            set.wait(timeout, &mut self.found);
        }
        let rooms = self.rooms.get_mut();
        edges.extend(self.found.drain(..).map(|Found { edge, is_writable }| {
            if let Some(room) = rooms.get(&edge.token.0).filter(|_| is_writable) {
                room.store(true, Ordering::Relaxed);
            }
            edge
        }));
    }

    pub(super) fn watcher(&self) -> io::Result<Watcher> {
        Ok(Watcher(Arc::clone(&self.shared)))
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(super) fn reaper(&self) -> Reaper {
        Reaper(Arc::clone(&self.shared))
    }

    pub(super) fn tell_room(&self, token: Token, room: &Arc<AtomicBool>) {
        self.rooms.borrow_mut().insert(token.0, Arc::clone(room));
    }

    pub(super) fn forget_room(&self, token: Token, room: &Arc<AtomicBool>) {
        let mut rooms = self.rooms.borrow_mut();
        // The next connection of a pipe has the same token, and may be there already.
        if rooms.get(&token.0).is_some_and(|its| Arc::ptr_eq(its, room)) {
            rooms.remove(&token.0);
        }
    }

    pub(super) fn calls(&self) -> u64 {
        self.calls
    }
}

impl Set {
    fn wait(&mut self, timeout: Option<Duration>, found: &mut Vec<Found>) {
        // An interrupted wait is an empty one; other errors would mean that the set itself is gone.
        if self.poll.poll(&mut self.events, timeout).is_ok() {
            found.extend(self.events.iter().map(|event| {
                let is_ending = event.is_read_closed() || event.is_error();
                let edge = Edge { token: Token(event.token().0), is_ending };
                Found { edge, is_writable: event.is_writable() }
            }));
        }
    }
}

impl Watcher {
    pub(super) fn wait(&mut self, timeout: Option<Duration>) {
        if !self.0.found.lock().is_empty() {
            return;
        }
        let mut found = Vec::new();
        self.0.set.lock().wait(timeout, &mut found);
        self.0.found.lock().append(&mut found);
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        // A watcher that has the set takes them anyway.
        if let Some(mut set) = self.0.set.try_lock() {
            set.wait(Some(Duration::ZERO), &mut self.0.found.lock());
        }
    }
}
