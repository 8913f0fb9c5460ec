//! Looking at pipes, spinning, parking and sleeping: the engine's turn.

use std::hint;
use std::time::{Duration, Instant};

use crate::engine::Engine;
use crate::engine::ahead::Ahead;
use crate::engine::descriptors::Role;
use crate::engine::pipe::{Activity, Phase};
use crate::engine::timers::Timer;
use crate::event::{Event, ListenerId, PipeId};
use crate::notice::Subject;
use crate::reactor::Edge;

/// Longest time spent spinning before other work of the loop gets its turn.
pub(super) const SPIN_SLICE: Duration = Duration::from_micros(20);

/// Looks at the rings between two looks at the clock.
const LOOKS_PER_CLOCK: u32 = 16;

/// What the driver of an engine should do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a driver must handle every answer")]
pub enum Readiness {
    /// There are events to handle.
    Events,
    /// Do other work without waiting, then ask again.
    Again,
    /// Wait for the descriptor, for other work, or for the deadline.
    Sleep,
}

impl Engine {
    /// Handles what descriptors and other threads have to say, looks at hot pipes, and appends what
    /// happened to `events`. Never waits.
    pub fn turn(&mut self, events: &mut Vec<Event>) {
        self.ahead = Ahead::default();
        self.poll_descriptors(Some(Duration::ZERO));
        self.poll_hot(events);
    }

    /// Decides, when a loop is about to wait, whether it may: looks at hot pipes, spins as far as
    /// their options ask for, and parks those that have been idle for long enough.
    pub fn prepare_sleep(&mut self, events: &mut Vec<Event>) -> Readiness {
        self.ahead = Ahead::default();
        self.poll_hot(events);
        if !events.is_empty() {
            return Readiness::Events;
        }
        if self.hot.is_empty() {
            return self.sleep(events);
        }
        let now = self.spin(events);
        if !events.is_empty() {
            return Readiness::Events;
        }
        self.cool(now);
        if self.hot.is_empty() {
            return self.sleep(events);
        }
        // What came while something was sent is known here, and the descriptor does not tell.
        if self.descriptors.reactor().has_work() {
            self.poll_descriptors(Some(Duration::ZERO));
            self.poll_hot(events);
        }
        if events.is_empty() { Readiness::Again } else { Readiness::Events }
    }

    /// Waits until something happens or `deadline` passes, and appends it to `events`.
    pub fn wait(&mut self, events: &mut Vec<Event>, deadline: Option<Instant>) {
        let seen = events.len();
        loop {
            match self.prepare_sleep(events) {
                Readiness::Events => return,
                Readiness::Again => self.poll_descriptors(Some(Duration::ZERO)),
                Readiness::Sleep => {
                    let until = [deadline, self.timers.next()].into_iter().flatten().min();
                    let timeout =
                        until.map(|until| until.saturating_duration_since(Instant::now()));
                    self.poll_descriptors(timeout);
                }
            }
            self.poll_hot(events);
            if events.len() > seen || deadline.is_some_and(|at| Instant::now() >= at) {
                return;
            }
        }
    }

    /// Waits until what was sent over a pipe goes on without this engine, or `deadline` passes.
    /// What happens meanwhile is reported later.
    pub(crate) fn wait_unsent(&mut self, id: PipeId, deadline: Option<Instant>) {
        while self.has_unsent(id) && deadline.is_none_or(|at| Instant::now() < at) {
            let until = [deadline, self.timers.next()].into_iter().flatten().min();
            let timeout = until.map(|until| until.saturating_duration_since(Instant::now()));
            self.poll_descriptors(timeout);
            self.flush();
        }
    }

    /// When [`Engine::turn`] must be called even if nothing happens.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Whether there is something to do that the descriptor does not announce.
    #[must_use]
    pub fn has_work(&self) -> bool {
        let is_idle = self.hot.is_empty() && self.at_work.is_empty();
        let has_more = self.descriptors.reactor().has_work();
        !is_idle || !self.pending.is_empty() || !self.board.is_empty() || has_more
    }

    fn sleep(&mut self, events: &mut Vec<Event>) -> Readiness {
        if !self.at_work.is_empty() {
            return Readiness::Again;
        }
        // What was begun must be known to the kernel, which may have an answer at once.
        if self.descriptors.reactor().submit() {
            self.poll_descriptors(Some(Duration::ZERO));
        } else if self.board.sleep() {
            return Readiness::Sleep;
        }
        self.poll_hot(events);
        if events.is_empty() { Readiness::Again } else { Readiness::Events }
    }

    pub(super) fn poll_descriptors(&mut self, timeout: Option<Duration>) {
        let edges = self.descriptors.wait(timeout);
        if !self.is_shared {
            self.board.awake();
        }
        for &edge in &edges {
            self.handle_edge(edge);
        }
        self.descriptors.recycle(edges);
        if self.timers.next().is_some() {
            self.handle_deadlines(Instant::now());
        }
    }

    pub(super) fn handle_edge(&mut self, Edge { token, is_ending }: Edge) {
        let (role, handle) = Role::of(token);
        match role {
            Role::Bell => self.handle_bell(PipeId(handle), is_ending),
            Role::Linger => self.handle_linger(handle, is_ending),
            Role::Control => self.handle_control(PipeId(handle)),
            Role::Acceptor => self.accept(ListenerId(handle)),
            Role::Board => {}
        }
    }

    fn handle_bell(&mut self, id: PipeId, is_ending: bool) {
        let Some(entry) = self.pipes.get_mut(id.0) else { return };
        let Phase::Connected(connection) = &mut entry.phase else { return };
        let outcome = connection.handle_bell(is_ending);
        let has_unfinished = connection.has_unfinished();
        entry.wakes += 1;
        if entry.heat() {
            self.hot.push(id);
        }
        if entry.reason.is_none() {
            self.handle_outcome(id, outcome);
        } else {
            self.converse(id);
        }
        self.note_work(id);
        if has_unfinished {
            self.watch_unfinished(id);
        }
    }

    /// Sees to it that a part of a message is not kept for ever.
    pub(super) fn watch_unfinished(&mut self, id: PipeId) {
        let Some(entry) = self.pipes.get(id.0) else { return };
        if !self.timers.is_set(Timer::Reassembly(id)) {
            let at = Instant::now() + entry.reassembly_timeout;
            self.timers.set(Timer::Reassembly(id), at);
        }
    }

    fn expire_unfinished(&mut self, id: PipeId, now: Instant) {
        let Some(entry) = self.pipes.get_mut(id.0) else { return };
        let Phase::Connected(connection) = &mut entry.phase else { return };
        let outcome = connection.expire_unfinished();
        if connection.has_unfinished() {
            self.timers.set(Timer::Reassembly(id), now + entry.reassembly_timeout);
        }
        if entry.reason.is_none() {
            self.handle_outcome(id, outcome);
        }
    }

    pub(super) fn handle_notices(&mut self) {
        while let Some(subject) = self.board.take() {
            match subject {
                Subject::Listener(handle) => self.accept(ListenerId(handle)),
                Subject::Pipe(handle) => {
                    let id = PipeId(handle);
                    let Some(entry) = self.pipes.get_mut(handle) else { continue };
                    let connection = match &mut entry.phase {
                        Phase::Connected(connection) => connection,
                        Phase::Handshaking { .. } => {
                            self.advance(id);
                            continue;
                        }
                        Phase::Over => continue,
                    };
                    connection.collect();
                    let ended = connection.handle_notice();
                    if entry.activity == Activity::Parked {
                        entry.wakes += 1;
                    }
                    if entry.heat() {
                        self.hot.push(id);
                    }
                    if entry.reason.is_none() {
                        self.ended_by_peer(id, ended);
                    }
                }
            }
        }
    }

    fn poll_hot(&mut self, events: &mut Vec<Event>) {
        self.flush();
        self.look(events);
    }

    /// Hands out what has happened, and looks at hot pipes.
    pub(super) fn look(&mut self, events: &mut Vec<Event>) {
        self.handle_notices();
        self.bound_sessions();
        events.append(&mut self.pending);
        let mut index = 0;
        while let Some(&id) = self.hot.get(index) {
            let Some(entry) = self.pipes.get_mut(id.0) else {
                self.hot.swap_remove(index);
                continue;
            };
            if entry.is_unwanted() && entry.park() {
                self.hot.swap_remove(index);
                continue;
            }
            let is_shaped = entry.is_shaped();
            let ready = if is_shaped { self.shaped_readiness(id) } else { entry.readiness() };
            if self.is_shared {
                self.note_work(id);
            }
            if ready.readable {
                events.push(Event::Readable(id));
            }
            if ready.writable {
                events.push(Event::Writable(id));
            }
            index += 1;
        }
        if !self.leaving.is_empty() {
            self.end_leaves();
        }
    }

    /// Looks at the hot pipes without pause for as long as one of them wants that, at most one
    /// slice. Returns the time, if any pipe needs it.
    pub(super) fn spin(&mut self, events: &mut Vec<Event>) -> Option<Instant> {
        let mut now = Instant::now();
        let slice = now + SPIN_SLICE;
        let is_polled = self
            .hot
            .iter()
            .any(|id| self.pipes.get(id.0).is_some_and(|entry| entry.spins() && entry.is_polled()));
        let wanted =
            self.hot.iter().filter_map(|id| self.pipes.get_mut(id.0)?.spin_until(now)).max()?;
        let until = wanted.min(slice);
        while now < until {
            for _ in 0..LOOKS_PER_CLOCK {
                self.poll_hot(events);
                if !events.is_empty() {
                    return Some(now);
                }
                hint::spin_loop();
            }
            if is_polled {
                self.poll_descriptors(Some(Duration::ZERO));
            }
            now = Instant::now();
        }
        Some(now)
    }

    pub(super) fn cool(&mut self, now: Option<Instant>) {
        let pipes = &mut self.pipes;
        self.hot.retain(|id| pipes.get_mut(id.0).is_some_and(|entry| !entry.cool(now)));
    }

    pub(super) fn handle_deadlines(&mut self, now: Instant) {
        while let Some(timer) = self.timers.take_due(now) {
            match timer {
                Timer::Advance(pipe) => self.advance(pipe),
                Timer::Attempt(pipe) => self.expire_attempt(pipe),
                Timer::Handshake(pipe) => self.expire_handshake(pipe),
                Timer::Hear(pipe) => self.listen_for_life(pipe, now),
                Timer::Leave(pipe) => self.leave(pipe),
                Timer::Linger(handle) => self.drop_lingering(handle),
                Timer::Progress(pipe) => self.look_for_progress(pipe, now),
                Timer::Queue(pipe) => self.handle_time(pipe, now),
                Timer::Reassembly(pipe) => self.expire_unfinished(pipe, now),
                Timer::Redial(pipe) => self.redial(pipe),
                Timer::Session(pipe) => self.expire_session(pipe, now),
                Timer::Speak(pipe) => self.speak(pipe, now),
                Timer::Stall(listener) => self.accept(listener),
            }
        }
    }
}
