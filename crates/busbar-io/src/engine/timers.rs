//! The deadlines of an engine, in order: one queue for everything that waits for time to pass.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use crate::event::{ListenerId, PipeId};
use crate::slots::Handle;

/// What is due at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A handshake goes on by itself.
    Advance(PipeId),
    /// An attempt to reconnect has taken too long.
    Attempt(PipeId),
    /// An accepted peer has not introduced itself.
    Handshake(PipeId),
    /// Has the peer been heard of?
    Hear(PipeId),
    /// A pipe is closed, and its queue is not empty.
    Leave(PipeId),
    /// Closed, and not everything delivered.
    Linger(Handle),
    /// Has an acknowledgement come, or anything else?
    Progress(PipeId),
    /// Something in a queue expires or may go on.
    Queue(PipeId),
    /// Have unfinished messages grown?
    Reassembly(PipeId),
    /// The next attempt to reconnect is due.
    Redial(PipeId),
    /// A session has been without a connection for as long as it is kept.
    Session(PipeId),
    /// Has this end said anything?
    Speak(PipeId),
    /// A listener that ran out of resources is asked again.
    Stall(ListenerId),
}

/// See the [module](self). Nothing in it is late by more than one turn, and nothing is set twice.
#[derive(Debug, Default)]
pub(super) struct Timers {
    order: BTreeSet<(Instant, Timer)>,
    due: HashMap<Timer, Instant>,
    /// While what is due is dealt with: what is set meanwhile is due after that, or a timer that is
    /// always due would be dealt with for ever.
    floor: Option<Instant>,
}

impl Timers {
    /// Sets a timer, in place of what it was set for.
    pub(super) fn set(&mut self, timer: Timer, at: Instant) {
        let at = self.floor.map_or(at, |floor| at.max(floor));
        if let Some(before) = self.due.insert(timer, at) {
            self.order.remove(&(before, timer));
        }
        self.order.insert((at, timer));
    }

    /// Sets a timer unless it is set for an earlier time.
    pub(super) fn set_earlier(&mut self, timer: Timer, at: Instant) {
        if self.due.get(&timer).is_none_or(|&set| at < set) {
            self.set(timer, at);
        }
    }

    pub(super) fn is_set(&self, timer: Timer) -> bool {
        self.due.contains_key(&timer)
    }

    pub(super) fn cancel(&mut self, timer: Timer) {
        if let Some(at) = self.due.remove(&timer) {
            self.order.remove(&(at, timer));
        }
    }

    /// Cancels everything about a pipe.
    pub(super) fn cancel_pipe(&mut self, id: PipeId) {
        if self.due.is_empty() {
            return;
        }
        let all = [
            Timer::Advance,
            Timer::Attempt,
            Timer::Handshake,
            Timer::Hear,
            Timer::Leave,
            Timer::Progress,
            Timer::Queue,
            Timer::Reassembly,
            Timer::Redial,
            Timer::Session,
            Timer::Speak,
        ];
        for timer in all.map(|timer| timer(id)) {
            self.cancel(timer);
        }
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        self.order.first().map(|&(at, _)| at)
    }

    /// Takes out the first timer that is due at `now`; to be called until there is none.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Timer> {
        self.floor = None;
        let &(_, timer) = self.order.first().filter(|&&(at, _)| at <= now)?;
        self.floor = now.checked_add(Duration::from_nanos(1));
        self.order.pop_first();
        self.due.remove(&timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [D18] one queue tells what is due, in order, each timer once
    #[test]
    fn timers_are_due_in_order() {
        let mut timers = Timers::default();
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let pipe = PipeId::from_number;
        timers.set(Timer::Hear(pipe(1)), at(30));
        timers.set(Timer::Speak(pipe(1)), at(10));
        timers.set(Timer::Hear(pipe(2)), at(20));
        timers.set(Timer::Hear(pipe(1)), at(5));
        timers.set(Timer::Stall(ListenerId::from_number(1)), at(40));
        assert_eq!(timers.next(), Some(at(5)));
        assert_eq!(timers.take_due(at(4)), None);
        assert_eq!(timers.take_due(at(15)), Some(Timer::Hear(pipe(1))));
        assert_eq!(timers.take_due(at(15)), Some(Timer::Speak(pipe(1))));
        assert_eq!(timers.take_due(at(15)), None);
        timers.cancel_pipe(pipe(2));
        timers.cancel_pipe(pipe(1));
        assert_eq!(timers.next(), Some(at(40)));
        timers.cancel(Timer::Stall(ListenerId::from_number(1)));
        assert!(timers.next().is_none() && timers.due.is_empty() && timers.order.is_empty());
    }

    /// [D28] a timer that is set for the past while it is dealt with comes again, but later
    #[test]
    fn a_timer_that_is_always_due_holds_nobody_up() {
        let mut timers = Timers::default();
        let (begin, pipe) = (Instant::now(), PipeId::from_number(1));
        let now = begin + Duration::from_millis(1);
        timers.set(Timer::Queue(pipe), begin);
        assert_eq!(timers.take_due(now), Some(Timer::Queue(pipe)));
        timers.set_earlier(Timer::Queue(pipe), begin);
        assert_eq!(timers.take_due(now), None);
        timers.set(Timer::Hear(pipe), begin);
        assert_eq!(timers.next(), Some(begin));
        assert_eq!(timers.take_due(now + Duration::from_millis(1)), Some(Timer::Hear(pipe)));
    }
}
