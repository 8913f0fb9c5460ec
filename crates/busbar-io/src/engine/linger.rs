//! What is closed and still has something to deliver.
//!
//! ```text
//! close ─→ a pipe that takes its leave: it has a queue, or a session in which not everything is
//!      │   acknowledged, and goes on as ever, unseen
//!      │    └─→ its session is closed, and the peer has not answered: it goes on until it has
//!      └─→ a connection that lingers ←─ the queue is empty
//! ```
//!
//! Nobody has a handle to either any more. A pipe goes when its queue is empty and its peer knows,
//! it has ended, or its time is up; a connection when the peer has everything, it fails, or its
//! time is up. A session is closed over as many connections as that takes: what the last one took
//! along, nobody knows.

use std::time::{Duration, Instant};

use busbar_proto::{CloseReason, Code, Error};

use crate::connection::Connection;
use crate::engine::descriptors::Role;
use crate::engine::pipe::Phase;
use crate::engine::timers::Timer;
use crate::engine::{Engine, Readiness};
use crate::event::PipeId;
use crate::link::Interest;
use crate::slots::Handle;

/// What a closed pipe tells its peer when its queue is empty.
pub(super) struct Leave {
    reason: CloseReason,
    /// `None`: for as long as it takes.
    until: Option<Instant>,
}

/// One of them.
pub(super) struct Lingering {
    connection: Box<dyn Connection>,
}

/// Delivers what closed pipes have left, on a thread of its own.
pub(crate) struct Lingerer(Engine);

impl Lingerer {
    pub(crate) fn run(mut self) {
        let mut events = Vec::new();
        while self.0.is_lingering() {
            let is_asleep = self.0.prepare_sleep(&mut events) == Readiness::Sleep;
            // What happens is nobody's business.
            events.clear();
            let until = self.0.timers.next();
            let timeout = until.map(|until| until.saturating_duration_since(Instant::now()));
            if self.0.is_lingering() {
                self.0.poll_descriptors(if is_asleep { timeout } else { Some(Duration::ZERO) });
            }
        }
    }
}

impl Engine {
    /// Whether something that was sent over a closed pipe is still being delivered. Whoever wants
    /// it to arrive goes on driving the engine.
    #[must_use]
    pub fn is_lingering(&self) -> bool {
        !self.leaving.is_empty() || self.lingering.values().next().is_some()
    }

    /// This engine, in exchange for a new one, if it has something to deliver.
    pub(crate) fn take_lingering(&mut self) -> Option<Lingerer> {
        if !self.is_lingering() {
            return None;
        }
        let fresh = Self::new().ok()?;
        Some(Lingerer(std::mem::replace(self, fresh)))
    }

    /// Closes a pipe whose queue is empty, or has to be given up; returns how many messages are
    /// given up.
    pub(super) fn part(
        &mut self,
        id: PipeId,
        reason: &CloseReason,
        until: Option<Instant>,
    ) -> usize {
        if let Some(connection) = self.connection(id) {
            connection.close(reason);
        }
        let Some(mut entry) = self.drop_pipe(id) else { return 0 };
        let given_up = entry.sending.as_mut().map_or(0, |queue| queue.drain());
        let Phase::Connected(connection) = entry.phase else { return given_up };
        let is_lost = entry.reason.is_some_and(|it| it.code == Some(Code::ConnectionLost));
        let has_time = until.is_none_or(|until| Instant::now() < until);
        if !connection.is_over() && has_time && !is_lost {
            self.linger(connection, until);
        }
        given_up
    }

    /// Lets a closed pipe go on until its queue is empty; `false` if it has none, or cannot.
    pub(super) fn take_leave(
        &mut self,
        id: PipeId,
        reason: &CloseReason,
        until: Option<Instant>,
    ) -> bool {
        self.pump(id);
        // Whoever has received will do so no more.
        self.discard(id);
        let Some(entry) = self.pipes.get_mut(id.0) else { return false };
        let has_connection = matches!(entry.phase, Phase::Connected(_)) || entry.is_cut();
        if !entry.has_undelivered() || !has_connection || entry.reason.is_some() {
            return false;
        }
        self.disappear(id, reason, until);
        true
    }

    /// Closes the session of a closed pipe, and lets it go on until the peer knows; returns how
    /// many messages are given up. `None`: there is no session.
    pub(super) fn say_goodbye(
        &mut self,
        id: PipeId,
        reason: &CloseReason,
        until: Option<Instant>,
    ) -> Option<usize> {
        self.discard(id);
        let entry = self.pipes.get_mut(id.0).filter(|entry| entry.reason.is_none())?;
        entry.reliable.as_ref().filter(|reliable| reliable.is_established())?;
        let given_up = entry.sending.take().map_or(0, |mut queue| queue.drain());
        self.disappear(id, reason, until);
        self.close_session(id, reason);
        Some(given_up)
    }

    /// From now on a pipe is nobody's, and its time is limited.
    fn disappear(&mut self, id: PipeId, reason: &CloseReason, until: Option<Instant>) {
        let Some(entry) = self.pipes.get_mut(id.0) else { return };
        entry.leave = Some(Box::new(Leave { reason: reason.clone(), until }));
        entry.receiving = None;
        entry.set_interest(Interest::NONE);
        self.pending.retain(|event| event.pipe() != Some(id));
        self.leaving.push(id);
        if let Some(until) = until {
            self.timers.set(Timer::Leave(id), until);
        }
        self.note_work(id);
        self.note_queue(id);
    }

    /// Closes the pipes whose leave is over.
    pub(super) fn end_leaves(&mut self) {
        let mut index = 0;
        while let Some(&id) = self.leaving.get(index) {
            if self.stays(id) {
                index += 1;
            } else {
                self.leave(id);
            }
        }
    }

    /// Whether a pipe that takes its leave has something left to do.
    fn stays(&mut self, id: PipeId) -> bool {
        let Some(entry) = self.pipes.get(id.0).filter(|entry| entry.reason.is_none()) else {
            return false;
        };
        if entry.has_undelivered() {
            return true;
        }
        let (Some(reliable), Some(leave)) = (&entry.reliable, &entry.leave) else { return false };
        // The answer ends the pipe.
        reliable.session.is_closing() || self.close_session(id, &leave.reason.clone())
    }

    /// Closes a pipe that takes its leave, whatever its queue still has.
    pub(super) fn leave(&mut self, id: PipeId) {
        self.leaving.retain(|&it| it != id);
        let leave = self.pipes.get_mut(id.0).and_then(|entry| entry.leave.take());
        if let Some(Leave { reason, until }) = leave.map(|leave| *leave) {
            self.part(id, &reason, until);
        }
    }

    /// Keeps a closed connection until it is over.
    pub(super) fn linger(&mut self, mut connection: Box<dyn Connection>, until: Option<Instant>) {
        let reactor = self.descriptors.reactor();
        connection.begin_lingering();
        let inserted = self.lingering.insert_with(|handle| {
            connection.register(reactor, Role::Linger.token(handle))?;
            Ok::<_, Error>(Lingering { connection })
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
            let reactor = self.descriptors.reactor();
            entry.connection.deregister(reactor);
            if entry.connection.register(reactor, Role::Linger.token(handle)).is_err() {
                self.drop_lingering(handle);
            }
        }
    }

    /// Gives up all connections.
    pub(super) fn clear_lingering(&mut self) {
        for handle in self.lingering.handles() {
            self.drop_lingering(handle);
        }
    }

    pub(super) fn drop_lingering(&mut self, handle: Handle) {
        if let Some(mut entry) = self.lingering.remove(handle) {
            entry.connection.deregister(self.descriptors.reactor());
        }
        self.timers.cancel(Timer::Linger(handle));
    }
}
