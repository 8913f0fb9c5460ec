//! Connections that are closed and still have something to deliver.
//!
//! Nobody has a handle to them any more. Each goes when the peer has everything, when it fails, or
//! when its time is up.

use std::time::Instant;

use busbar_proto::Error;

use crate::connection::Connection;
use crate::engine::Engine;
use crate::engine::descriptors::Role;
use crate::engine::timers::Timer;
use crate::slots::Handle;

/// One of them.
pub(super) struct Lingering {
    connection: Box<dyn Connection>,
    /// `None`: for as long as it takes.
    until: Option<Instant>,
}

/// Delivers what closed pipes have left, on a thread of its own.
pub(crate) struct Lingerer(Engine);

impl Lingerer {
    pub(crate) fn run(mut self) {
        while self.0.is_lingering() {
            let until = self.0.timers.next();
            let timeout = until.map(|until| until.saturating_duration_since(Instant::now()));
            self.0.poll_descriptors(timeout);
        }
    }
}

impl Engine {
    /// Whether something that was sent over a closed pipe is still being delivered. Whoever wants
    /// it to arrive goes on driving the engine.
    #[must_use]
    pub fn is_lingering(&self) -> bool {
        self.lingering.values().next().is_some()
    }

    /// An engine that has nothing to do but to deliver what this one would, if there is any.
    pub(crate) fn take_lingering(&mut self) -> Option<Lingerer> {
        if !self.is_lingering() {
            return None;
        }
        let mut engine = Self::new().ok()?;
        for handle in self.lingering.handles() {
            let Some(mut entry) = self.lingering.remove(handle) else { continue };
            entry.connection.deregister(self.descriptors.registry());
            engine.linger(entry.connection, entry.until);
        }
        Some(Lingerer(engine))
    }

    /// Keeps a closed connection until it is over.
    pub(super) fn linger(&mut self, mut connection: Box<dyn Connection>, until: Option<Instant>) {
        let registry = self.descriptors.registry();
        connection.begin_lingering();
        let inserted = self.lingering.insert_with(|handle| {
            connection.register(registry, Role::Linger.token(handle))?;
            Ok::<_, Error>(Lingering { connection, until })
        });
        // Where there is no room for it, or no watching it, closing is all that can be done.
        if let (Some(Ok(handle)), Some(until)) = (inserted, until) {
            self.timers.set(Timer::Linger(handle), until);
        }
    }

    pub(super) fn handle_linger(&mut self, handle: Handle, is_ending: bool) {
        let Some(entry) = self.lingering.get_mut(handle) else { return };
        // What it still has to say interests nobody.
        let _ = entry.connection.handle_bell(is_ending);
        if entry.connection.is_over() {
            return self.drop_lingering(handle);
        }
        if entry.connection.has_work() {
            // More has come than one turn takes. The edge is used up: watching anew gives another.
            let registry = self.descriptors.registry();
            entry.connection.deregister(registry);
            if entry.connection.register(registry, Role::Linger.token(handle)).is_err() {
                self.drop_lingering(handle);
            }
        }
    }

    /// Gives up all of them.
    pub(super) fn clear_lingering(&mut self) {
        for handle in self.lingering.handles() {
            self.drop_lingering(handle);
        }
    }

    pub(super) fn drop_lingering(&mut self, handle: Handle) {
        if let Some(mut entry) = self.lingering.remove(handle) {
            entry.connection.deregister(self.descriptors.registry());
        }
        self.timers.cancel(Timer::Linger(handle));
    }
}
