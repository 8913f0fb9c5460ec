//! An engine that two share: an I/O thread tends it, its owner calls it and looks at what came.
//!
//! | | I/O thread | owner |
//! |---|---|---|
//! | waits for | the engine's descriptor, the next timer | its own bell |
//! | does | reads, writes, accepts, heartbeats, acknowledgements, redialing, queues | calls |
//! | hands out | nothing | events; readiness of the hot pipes |
//!
//! Only one of them has the engine at a time. So that the owner never has to wait for long, what
//! the thread does comes in chores, one descriptor or one pipe each, and between two of them it
//! gives way. Sockets of such an engine are never touched by calls (`PipeOptions::is_served`), but
//! for those of pipes that spin, which is done on the owner's thread or not at all, and for the
//! last words of a pipe that is closed.

use std::time::{Duration, Instant};

use busbar_proto::Error;

use crate::engine::ahead::Ahead;
use crate::engine::pipe::Activity;
use crate::engine::{Engine, Readiness};
use crate::event::{Event, PipeId};
use crate::notice::Bell;
use crate::options::{PipeOptions, Wait};
use crate::reactor::{Edge, EngineOptions, Watcher};

/// What the I/O thread does without giving way.
#[derive(Clone, Copy, Debug)]
pub(super) enum Chore {
    /// Timers that are due.
    Deadlines,
    /// A descriptor that is ready.
    Edge(Edge),
    /// A pipe that has put something off.
    Work(PipeId),
}

impl Engine {
    /// An engine for an I/O thread and its owner.
    pub(crate) fn shared(options: EngineOptions) -> Result<Self, Error> {
        let options = EngineOptions { single_thread: false, ..options };
        Ok(Self { is_shared: true, ..Self::with(options)? })
    }

    /// What the I/O thread waits with, while it does not have the engine.
    pub(crate) fn watcher(&self) -> Result<Watcher, Error> {
        self.descriptors.reactor().watcher()
    }

    /// Rings for whoever waits for the engine's descriptor.
    pub(crate) fn bell(&self) -> Bell {
        self.board.bell()
    }

    /// Whether the I/O thread reads and writes for pipes with these options.
    pub(super) fn serves(&self, options: &PipeOptions) -> bool {
        self.is_shared && !matches!(options.wait, Wait::LowLatency { .. } | Wait::Busy)
    }

    /// Does one chore, or finds out what there is to do. `false` if there is nothing: then wait for
    /// the descriptor or the next deadline.
    pub(crate) fn tend(&mut self) -> bool {
        match self.chores.pop() {
            None => return self.plan(),
            Some(Chore::Deadlines) => self.handle_deadlines(Instant::now()),
            Some(Chore::Edge(edge)) => self.handle_edge(edge),
            Some(Chore::Work(id)) => self.work(id),
        }
        true
    }

    fn plan(&mut self) -> bool {
        self.board.awake();
        self.handle_notices();
        self.bound_sessions();
        self.attend_hot_queues();
        if !self.leaving.is_empty() {
            self.end_leaves();
        }
        let edges = self.descriptors.wait(Some(Duration::ZERO));
        // What has arrived is heard before anybody is taken for dead.
        if self.timers.next().is_some_and(|at| at <= Instant::now()) {
            self.chores.push(Chore::Deadlines);
        }
        self.chores.extend(self.at_work.drain(..).rev().map(Chore::Work));
        self.chores.extend(edges.iter().rev().copied().map(Chore::Edge));
        self.descriptors.recycle(edges);
        !self.chores.is_empty() || !self.board.sleep()
    }

    /// Has a pipe looked at for which the I/O thread has done something, or its owner, who may do
    /// the work of all pipes for the sake of one. Such pipes sleep while there is work for them,
    /// and what it brings, no edge tells.
    pub(super) fn rouse(&mut self, id: PipeId) {
        if let Some(entry) = self.pipes.get_mut(id.0)
            && entry.activity == Activity::Parked
            && entry.heat()
        {
            self.hot.push(id);
        }
    }

    /// Queues go on even if the owner does not.
    fn attend_hot_queues(&mut self) {
        let mut index = 0;
        while let Some(&id) = self.hot.get(index) {
            if self.pipes.get(id.0).is_some_and(|entry| entry.is_shaped()) {
                self.attend_queues(id);
            }
            index += 1;
        }
    }

    /// Whether an owner that sleeps has to look. Pipes for which it would find nothing are parked.
    pub(crate) fn has_news(&mut self) -> bool {
        while let Some(&id) = self.hot.first() {
            let Some(entry) = self.pipes.get_mut(id.0) else {
                self.hot.swap_remove(0);
                continue;
            };
            // To ask a queue is to be told, which is for the owner alone.
            let is_awaited = if entry.is_shaped() {
                !entry.interest.is_none()
            } else {
                !entry.readiness().is_none()
            };
            if is_awaited || !entry.park() {
                return true;
            }
            self.hot.swap_remove(0);
        }
        !self.pending.is_empty()
    }

    /// Whether a call has left something for the I/O thread, which else wakes at `until`.
    #[inline]
    pub(crate) fn awaits_thread(&self, until: Option<Instant>) -> bool {
        let is_sooner = |at: Instant| until.is_none_or(|until| at < until);
        let has_more = self.descriptors.reactor().has_work();
        !self.at_work.is_empty() || has_more || self.timers.next().is_some_and(is_sooner)
    }

    /// As [`Engine::turn`], for the owner.
    pub(crate) fn look_around(&mut self, events: &mut Vec<Event>) {
        self.ahead = Ahead::default();
        self.look(events);
    }

    /// As [`Engine::prepare_sleep`], for the owner.
    pub(crate) fn prepare_rest(&mut self, events: &mut Vec<Event>) -> Readiness {
        self.look_around(events);
        if !events.is_empty() {
            return Readiness::Events;
        }
        if self.hot.is_empty() {
            return Readiness::Sleep;
        }
        let now = self.spin(events);
        if !events.is_empty() {
            return Readiness::Events;
        }
        self.cool(now);
        if self.hot.is_empty() { Readiness::Sleep } else { Readiness::Again }
    }

    /// Whether the owner, awake or not, has to look.
    pub(crate) fn has_to_look(&self) -> bool {
        !self.hot.is_empty() || !self.pending.is_empty()
    }
}

#[cfg(test)]
mod tests;
