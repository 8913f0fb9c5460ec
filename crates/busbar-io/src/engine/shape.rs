//! Pipes with queues between the user and the link: setting up, looking at, times.
//!
//! Such a pipe is looked at for what its queues wait for, whether or not the user waits; the user
//! is told of room in, and of messages from, the queues.

use std::time::Instant;

use busbar_proto::{Code, Error};

use crate::engine::pipe::Phase;
use crate::engine::receiving::Receiving;
use crate::engine::sending::Sending;
use crate::engine::timers::Timer;
use crate::engine::{Engine, gone};
use crate::event::{Event, ListenerId, PipeId};
use crate::inbox::Inbox;
use crate::link::Interest;
use crate::qos::{Qos, SendingQos};

impl Engine {
    /// Gives a pipe its quality of service. To be called before messages pass.
    ///
    /// # Errors
    /// `InvalidArgument`; `Closed` if there is no such pipe any more.
    pub fn shape(&mut self, id: PipeId, qos: &Qos) -> Result<(), Error> {
        qos.validate()?;
        self.pipes.get(id.0).ok_or_else(gone)?;
        self.install(id, qos);
        self.note_queue(id);
        Ok(())
    }

    /// Gives all pipes that come in at a listener from now on their quality of service.
    ///
    /// # Errors
    /// `InvalidArgument`; `Closed` if there is no such listener any more.
    pub fn shape_listener(&mut self, id: ListenerId, qos: Qos) -> Result<(), Error> {
        qos.validate()?;
        self.listeners.get_mut(id.0).ok_or_else(gone)?.qos = qos;
        Ok(())
    }

    /// How many messages wait in the queue of a pipe, or, if it has a session, to be acknowledged.
    /// Unless none do, the pipe will be reported as writable when none do any more.
    pub fn drain(&mut self, id: PipeId) -> usize {
        let entry = self.pipes.get_mut(id.0);
        entry.map_or(0, |entry| {
            if entry.reliable.as_ref().is_some_and(|reliable| reliable.session.is_forsaken()) {
                return 0;
            }
            let queued = entry.sending.as_mut().map_or(0, |sending| sending.drain());
            queued + entry.reliable.as_mut().map_or(0, |reliable| reliable.drain())
        })
    }

    /// Whether neither end of a pipe with a session receives any more, so that nothing is worth
    /// waiting for.
    #[must_use]
    pub fn is_forsaken(&self, id: PipeId) -> bool {
        let reliable = self.pipes.get(id.0).and_then(|entry| entry.reliable.as_ref());
        reliable.is_some_and(|reliable| reliable.session.is_forsaken())
    }

    pub(super) fn install(&mut self, id: PipeId, qos: &Qos) {
        let Some(entry) = self.pipes.get_mut(id.0) else { return };
        entry.sending = qos.sending.as_ref().map(|qos| Box::new(Sending::new(qos)));
        entry.receiving = qos.receiving.as_ref().map(|qos| Box::new(Receiving::new(qos)));
    }

    /// Sees to it that a pipe has a queue in front of its link.
    pub(super) fn queue_up(&mut self, id: PipeId) -> Result<(), Error> {
        let entry = self.pipes.get_mut(id.0).ok_or_else(gone)?;
        if entry.sending.is_none() {
            let mut sending = Sending::new(&SendingQos::default());
            // Whoever waits for room in the link waits for room in the queue from now on.
            sending.is_draining = true;
            entry.sending = Some(Box::new(sending));
        }
        Ok(())
    }

    /// After something has happened to the queues of a pipe: sees to it that it goes on, and that
    /// drops are told of.
    #[inline]
    pub(super) fn note_queue(&mut self, id: PipeId) {
        if self.pipes.get(id.0).is_some_and(|entry| entry.is_shaped()) {
            self.watch_queue(id);
        }
    }

    fn watch_queue(&mut self, id: PipeId) {
        let Some(entry) = self.pipes.get_mut(id.0) else { return };
        let failure = entry.sending.as_mut().and_then(|sending| sending.take_failure());
        if let Some(error) = failure {
            if error.code() == Code::Closed {
                self.received(id, Err(error));
            } else {
                let _ = self.checked::<()>(id, Err(error));
            }
        }
        self.watch_progress(id);
        let Some(entry) = self.pipes.get_mut(id.0) else { return };
        if entry.is_neglected() && entry.heat() {
            self.hot.push(id);
        }
        if let Some(at) = entry.queue_deadline() {
            self.timers.set_earlier(Timer::Queue(id), at);
        }
        let drops = entry.qos_stats().drops();
        if drops > entry.drops_told {
            entry.drops_told = drops;
            let is_this = |event: &Event| matches!(event, Event::Dropped(it) if *it == id);
            if !self.pending.iter().any(is_this) {
                self.tell(id, Event::Dropped(id));
            }
        }
    }

    /// Lets the queues of a pipe go on.
    pub(super) fn attend_queues(&mut self, id: PipeId) {
        if !self.fill(id) {
            // Looking at the link may have read what is for the session only.
            self.converse(id);
        }
        self.pump(id);
        self.note_work(id);
        self.watch_queue(id);
    }

    /// The same, and says what the user can be told.
    pub(super) fn shaped_readiness(&mut self, id: PipeId) -> Interest {
        self.attend_queues(id);
        let Some(entry) = self.pipes.get_mut(id.0) else { return Interest::NONE };
        let direct = entry.readiness();
        let is_over = entry.reason.is_some();
        let readable = match &mut entry.receiving {
            None => direct.readable,
            Some(receiving) => entry.interest.readable && receiving.is_readable(is_over),
        };
        let writable = match &mut entry.sending {
            None => direct.writable,
            Some(sending) if entry.reliable.is_some() => {
                let is_writable = entry.interest.writable
                    && !is_over
                    && (sending.is_writable() || direct.writable);
                if is_writable {
                    sending.told_writable();
                }
                is_writable
            }
            Some(sending) => {
                let is_writable = entry.interest.writable && !is_over && sending.is_writable();
                if is_writable {
                    sending.told_writable();
                }
                is_writable
            }
        };
        let ready = Interest { readable, writable };
        entry.note_readiness(ready);
        self.drop_own_queue(id);
        ready
    }

    /// [`Engine::receive`] of a pipe with a queue.
    pub(super) fn receive_queued(&mut self, id: PipeId, inbox: &mut Inbox<'_>, max: usize) {
        self.fill(id);
        while let Some(entry) = self.pipes.get_mut(id.0) {
            let Some(receiving) = &mut entry.receiving else { break };
            let before = inbox.len();
            receiving.deliver(inbox, max - before, entry.reason.is_some());
            let has_delivered = inbox.len() > before;
            // What the link still has has its turn now that there is room.
            if !has_delivered || inbox.len() >= max || !self.fill(id) {
                break;
            }
        }
        self.watch_queue(id);
    }

    /// Takes what the link has into the queue; `false` if there was nothing.
    fn fill(&mut self, id: PipeId) -> bool {
        let Some(entry) = self.pipes.get_mut(id.0) else { return false };
        let Some(receiving) = entry.receiving.as_mut().filter(|it| it.wants_more()) else {
            return false;
        };
        let announced = &mut entry.announced;
        if let Some(redial) = &mut entry.redial
            && let Some(left) = redial.readable_left()
        {
            // How that connection has ended was told.
            let filled = receiving.fill(&mut **left, announced);
            if filled.result.is_err() {
                redial.drop_left();
            }
            self.check_announced(id);
            self.mark_connection(id);
            return filled.has_messages;
        }
        let filled = match (&mut entry.reliable, &mut entry.phase) {
            (None, Phase::Connected(connection)) => {
                if !connection.is_readable() {
                    return false;
                }
                receiving.fill(&mut **connection, announced)
            }
            (Some(reliable), Phase::Connected(connection)) => {
                receiving.fill(&mut reliable.over(&mut **connection), announced)
            }
            (Some(reliable), _) => {
                let mut nowhere = reliable.nowhere();
                receiving.fill(&mut reliable.over(&mut nowhere), announced)
            }
            _ => return false,
        };
        self.converse(id);
        self.check_announced(id);
        self.received(id, filled.result);
        filled.has_messages
    }

    /// Lets the link take what waits in the queue.
    pub(super) fn pump(&mut self, id: PipeId) {
        let Some(entry) = self.pipes.get_mut(id.0) else { return };
        if entry.reason.is_some() {
            return;
        }
        if entry.reliable.is_some() {
            return self.pump_session(id);
        }
        let (Phase::Connected(connection), Some(sending)) = (&mut entry.phase, &mut entry.sending)
        else {
            return;
        };
        if sending.is_blocked && !connection.is_writable() {
            return;
        }
        let result = sending.pump(&mut **connection);
        // Whatever else is wrong, the link will say so itself.
        let _ = self.checked(id, result);
    }

    /// The same of a pipe with a session, which also takes while there is no connection.
    fn pump_session(&mut self, id: PipeId) {
        let Some(entry) = self.pipes.get_mut(id.0) else { return };
        let Some(reliable) = &mut entry.reliable else { return };
        let result = match (&mut entry.phase, &mut entry.sending) {
            (Phase::Connected(connection), sending) => {
                if connection.is_writable() {
                    reliable.unblock();
                }
                // Whatever is wrong with it, the connection will say so itself.
                let _ = reliable.pump(&mut **connection);
                match sending {
                    Some(sending) => sending.pump(&mut reliable.over(&mut **connection)),
                    None => Ok(()),
                }
            }
            (_, Some(sending)) if reliable.is_established() => {
                let mut nowhere = reliable.nowhere();
                sending.pump(&mut reliable.over(&mut nowhere))
            }
            _ => Ok(()),
        };
        let _ = self.checked(id, result);
    }

    /// Does what the queues of a pipe have to do at their time.
    pub(super) fn handle_time(&mut self, id: PipeId, now: Instant) {
        let Some(entry) = self.pipes.get_mut(id.0) else { return };
        let Some(deadline) = entry.queue_deadline() else { return };
        if deadline > now {
            return self.timers.set(Timer::Queue(id), deadline);
        }
        if let Some(sending) = &mut entry.sending {
            sending.expire();
        }
        if let Some(receiving) = &mut entry.receiving {
            receiving.expire();
        }
        self.pump(id);
        self.note_work(id);
        self.watch_queue(id);
        // Whoever waits for room or messages may have them now.
        if let Some(entry) = self.pipes.get_mut(id.0)
            && !entry.interest.is_none()
            && entry.heat()
        {
            self.hot.push(id);
        }
    }
}
