//! Sessions of pipes: how they begin, go on over another connection, and end.
//!
//! ```text
//! dialer    dial, redial: begin_session ─ HELLO ─→ … ─→ answered
//! listener  Handshake::resuming ─→ resume_dialer ─ known? ─→ the pipe that it had
//!                                                └ new ───→ this pipe
//! both      cut ─→ Reliable::disconnect … Timer::Session ─→ lost
//! ```
//!
//! A listener knows the sessions of its pipes by name. A dialer that comes back gets the pipe that
//! it had, whatever has become of the connection before: who knows the session's token is its peer.
//! Sessions without a connection are bounded per listener, in number and in bytes.

use std::ops::Range;
use std::time::Instant;

use busbar_proto::session::{Event as SessionEvent, Resume, ResumeToken, Seq, Session};
use busbar_proto::{CloseReason, Code, ConnectionInput, Epoch, Error, SessionId};

use crate::connection::Identity;
use crate::engine::pipe::{Origin, Phase};
use crate::engine::reliable::Reliable;
use crate::engine::timers::Timer;
use crate::engine::{Engine, gone};
use crate::event::{Event, ListenerId, PipeId};
use crate::options::PipeOptions;
use crate::os::random;

impl Engine {
    /// The application is done with all messages of a pipe before this one, of those that
    /// [`Engine::receive`] has given out, counted from 0. Does nothing for pipes without a session.
    ///
    /// # Errors
    /// `Closed` if there is no such pipe any more.
    pub fn processed(&mut self, id: PipeId, ordinal: u64) -> Result<(), Error> {
        let entry = self.pipes.get_mut(id.0).ok_or_else(gone)?;
        if let Some(reliable) = &mut entry.reliable {
            reliable.processed(ordinal);
            self.converse(id);
        }
        Ok(())
    }

    /// The application is done with these messages, in whatever order: likewise, counted from 0.
    ///
    /// # Errors
    /// `Closed` if there is no such pipe any more.
    pub fn acknowledge(&mut self, id: PipeId, ordinals: Range<u64>) -> Result<(), Error> {
        let entry = self.pipes.get_mut(id.0).ok_or_else(gone)?;
        if let Some(reliable) = &mut entry.reliable {
            reliable.acknowledge(ordinals);
            self.converse(id);
        }
        Ok(())
    }

    /// The number that a message has in its channel of the session: the sender's, the same whenever
    /// it is sent. `None` if it belongs to no session, or the application is done with it.
    #[must_use]
    pub fn seq_of(&self, id: PipeId, ordinal: u64) -> Option<Seq> {
        self.pipes.get(id.0)?.reliable.as_ref()?.seq_of(ordinal)
    }

    /// The name of a pipe's session, and whether this end has dialed.
    #[must_use]
    pub fn session_of(&self, id: PipeId) -> Option<(SessionId, bool)> {
        let reliable = self.pipes.get(id.0)?.reliable.as_ref()?;
        Some((reliable.session.id(), reliable.has_dialed))
    }

    /// Nobody receives from a pipe any more: from now on it drops what comes in its session,
    /// without acknowledging it as processed, so that what it has sent itself can still be
    /// acknowledged. Does nothing to pipes without a session.
    pub fn discard(&mut self, id: PipeId) {
        let Some(entry) = self.pipes.get_mut(id.0) else { return };
        if let Some(reliable) = &mut entry.reliable {
            reliable.discards = true;
            self.converse(id);
            self.note_queue(id);
        }
    }

    /// As [`Engine::discard`], where the application has got so many of the messages that were
    /// given out, and never will get the others.
    pub fn stop_receiving(&mut self, id: PipeId, got: u64) {
        if let Some(reliable) = self.pipes.get_mut(id.0).and_then(|it| it.reliable.as_mut()) {
            reliable.forget_from(got);
        }
        self.discard(id);
    }

    /// Tells the peer of a pipe that is closed, over as many connections as it takes; `false` if
    /// there is nothing to tell: no session, or none that the peer knows of.
    pub(super) fn close_session(&mut self, id: PipeId, reason: &CloseReason) -> bool {
        let Some(entry) = self.pipes.get_mut(id.0) else { return false };
        let Some(reliable) = entry.reliable.as_mut().filter(|it| it.is_established()) else {
            return false;
        };
        reliable.close(reason);
        self.converse(id);
        true
    }

    /// The peer has closed the session: answers.
    pub(super) fn answer_close(&mut self, id: PipeId) {
        let Some(entry) = self.pipes.get_mut(id.0) else { return };
        let (Some(reliable), Phase::Connected(connection)) =
            (&mut entry.reliable, &mut entry.phase)
        else {
            return;
        };
        reliable.session.handle_close();
        // A connection that is over says so itself.
        let _ = reliable.pump(&mut **connection);
        self.note_work(id);
    }

    /// What a dialer says of its session in the next HELLO, and which connection it will be.
    pub(super) fn begin_session(reliable: &mut Reliable, options: &mut PipeOptions) -> Identity {
        let (epoch, resume) = reliable.session.begin_epoch(Instant::now());
        options.resume = Some(resume);
        Identity { session: reliable.session.id(), epoch }
    }

    /// A dialer's end of a new session.
    pub(super) fn dial_session(options: &PipeOptions) -> Result<Option<Box<Reliable>>, Error> {
        let Some(session) = options.reliable else { return Ok(None) };
        let (name, token) = (SessionId(random()?), ResumeToken(random()?));
        Ok(Some(Reliable::new(Session::dialing(name, token, session), None, options)))
    }

    /// A connection stands that this end has dialed: the peer has answered for the session.
    ///
    /// # Errors
    /// What is wrong with the answer.
    pub(super) fn handle_answer(&mut self, id: PipeId) -> Result<(), Error> {
        let Some(entry) = self.pipes.get_mut(id.0) else { return Ok(()) };
        let Some(reliable) = &mut entry.reliable else { return Ok(()) };
        let Phase::Connected(connection) = &mut entry.phase else { return Ok(()) };
        if reliable.has_dialed {
            let identity = connection.terms().identity;
            let epoch = identity.map_or(Epoch(0), |identity| identity.epoch);
            let missing = || Error::new(Code::Protocol, "the listener says nothing of the session");
            let resume = connection.take_resume().ok_or_else(missing)?;
            reliable.session.handle_answer(epoch, &resume)?;
        }
        self.timers.cancel(Timer::Session(id));
        Ok(())
    }

    /// Answers a dialer that names a session, if that is what a handshake waits for.
    pub(super) fn resume_dialer(&mut self, id: PipeId) {
        let Some(entry) = self.pipes.get(id.0) else { return };
        let Phase::Handshaking { handshake, origin: Origin::Accepted { listener } } = &entry.phase
        else {
            return;
        };
        let Some((identity, theirs)) = handshake.resuming() else { return };
        let (listener, theirs) = (*listener, theirs.clone());
        let answer = self.answer_dialer(id, listener, identity, &theirs);
        let Some(entry) = self.pipes.get_mut(id.0) else { return };
        if let Phase::Handshaking { handshake, .. } = &mut entry.phase {
            handshake.resume(answer);
            self.advance(id);
        }
    }

    fn answer_dialer(
        &mut self,
        id: PipeId,
        listener: ListenerId,
        Identity { session: name, epoch }: Identity,
        theirs: &Resume,
    ) -> Result<Resume, Error> {
        let entry = self.listeners.get(listener.0).ok_or_else(gone)?;
        let options = &entry.options.pipe;
        let Some(&known) = entry.sessions.get(&name) else {
            let wanted = options.reliable.unwrap_or_default();
            let mut session = Session::answering(name, theirs, wanted)?;
            let answer = session.handle_dial(epoch, theirs)?;
            let reliable = Reliable::new(session, Some(listener), options);
            let entry = self.pipes.get_mut(id.0).ok_or_else(gone)?;
            entry.reliable = Some(reliable);
            return Ok(answer);
        };
        let session = |engine: &mut Self| -> Result<(), Error> {
            let entry = engine.pipes.get(known.0).filter(|entry| entry.reason.is_none());
            let reliable = entry.and_then(|entry| entry.reliable.as_ref()).ok_or_else(forgotten)?;
            reliable.session.check_dial(epoch, theirs)
        };
        session(self)?;
        if matches!(self.pipes.get(known.0), Some(it) if matches!(it.phase, Phase::Connected(_))) {
            // Whatever still comes over it is not to be believed any more; what has come, is.
            let text = "the peer has come back over another connection".to_owned();
            let code = Some(Code::ConnectionLost);
            self.cut(known, CloseReason { code, status: 0, text });
        }
        let entry = self.pipes.get_mut(known.0).ok_or_else(forgotten)?;
        let reliable = entry.reliable.as_mut().ok_or_else(forgotten)?;
        if reliable.is_backlogged() {
            let message = "what has come over earlier connections has to be received first";
            return Err(Error::new(Code::Again, message));
        }
        let answer = reliable.session.handle_dial(epoch, theirs)?;
        if let Some(entry) = self.pipes.get_mut(id.0) {
            entry.returns_to = Some(known);
        }
        Ok(answer)
    }

    /// A handshake that was to go on with a session has failed after it was answered.
    pub(super) fn stay_away(&mut self, known: Option<PipeId>) {
        let Some(known) = known else { return };
        let Some(entry) = self.pipes.get_mut(known.0) else { return };
        if let (Some(reliable), Phase::Over) = (&mut entry.reliable, &entry.phase) {
            reliable.session.handle_disconnect(Instant::now());
            self.watch_session(known);
        }
    }

    /// The listener knows the session of a pipe that it has accepted from now on.
    pub(super) fn remember_session(&mut self, id: PipeId, listener: ListenerId) {
        let Some(entry) = self.pipes.get(id.0) else { return };
        let Some(reliable) = &entry.reliable else { return };
        if let Some(listener) = self.listeners.get_mut(listener.0) {
            listener.sessions.insert(reliable.session.id(), id);
        }
    }

    /// Nobody comes back to a pipe any more.
    pub(super) fn forget_session(&mut self, reliable: &Reliable) {
        if let Some(origin) = reliable.origin
            && let Some(listener) = self.listeners.get_mut(origin.0)
        {
            listener.sessions.remove(&reliable.session.id());
        }
    }

    /// A session has lost its connection: it is kept for its time, if there is room.
    pub(super) fn watch_session(&mut self, id: PipeId) {
        let Some(reliable) = self.pipes.get(id.0).and_then(|it| it.reliable.as_ref()) else {
            return;
        };
        let origin = reliable.origin;
        if let Some(expires) = reliable.session.poll_timeout() {
            self.timers.set(Timer::Session(id), expires);
        }
        if let Some(listener) = origin
            && !self.crowded.contains(&listener)
        {
            self.crowded.push(listener);
        }
    }

    /// Looks, once for all that were cut lately, whether listeners keep too many sessions.
    #[inline]
    pub(super) fn bound_sessions(&mut self) {
        while let Some(listener) = self.crowded.pop() {
            self.bound_sessions_of(listener);
        }
    }

    /// Ends the oldest sessions without a connection while a listener has too many.
    fn bound_sessions_of(&mut self, listener: ListenerId) {
        let Some(entry) = self.listeners.get(listener.0) else { return };
        let (sessions_max, bytes_max) =
            (entry.options.sessions_max, entry.options.session_bytes_max);
        let waiting = |&id: &PipeId| {
            let reliable = self.pipes.get(id.0)?.reliable.as_ref()?;
            let expires = reliable.session.poll_timeout()?;
            Some((expires, id, reliable.session.unconfirmed_bytes() + reliable.backlog.bytes()))
        };
        let mut waiting: Vec<_> = entry.sessions.values().filter_map(waiting).collect();
        waiting.sort_unstable();
        let mut count = waiting.len();
        let mut bytes: usize = waiting.iter().map(|&(_, _, bytes)| bytes).sum();
        for (_, oldest, its_bytes) in waiting {
            if count <= sessions_max && bytes <= bytes_max {
                break;
            }
            self.lose_session(oldest, "the listener keeps as many sessions as it may");
            (count, bytes) = (count - 1, bytes - its_bytes);
        }
    }

    /// The listener that a session's dialer would come back to is closed.
    pub(super) fn abandon_session(&mut self, id: PipeId) {
        let Some(reliable) = self.pipes.get_mut(id.0).and_then(|it| it.reliable.as_mut()) else {
            return;
        };
        reliable.origin = None;
        if !reliable.session.is_connected() {
            self.lose_session(id, "the listener was closed");
        }
    }

    /// The time of a session is over.
    pub(super) fn expire_session(&mut self, id: PipeId, now: Instant) {
        let Some(entry) = self.pipes.get_mut(id.0) else { return };
        let Some(reliable) = &entry.reliable else { return };
        match reliable.session.poll_timeout() {
            None => {}
            Some(expires) if now < expires => self.timers.set(Timer::Session(id), expires),
            Some(_) => {
                let why = "there was no connection for longer than the session is kept";
                self.lose_session(id, why);
            }
        }
    }

    /// Ends a session, and its pipe.
    pub(super) fn lose_session(&mut self, id: PipeId, why: &str) {
        self.converse(id);
        let Some(entry) = self.pipes.get_mut(id.0) else { return };
        let Some(reliable) = &mut entry.reliable else { return };
        reliable.session.lose();
        let unconfirmed = reliable.session.unconfirmed();
        let text = format!("{why}; {unconfirmed} messages were not acknowledged");
        let reason = CloseReason { code: Some(Code::SessionLost), status: 0, text };
        self.end(id, ConnectionInput::GaveUp, reason);
    }

    /// Lets the session and the connection of a pipe hear of each other, and says what came of it.
    #[inline]
    pub(super) fn converse(&mut self, id: PipeId) {
        if self.pipes.get(id.0).is_some_and(|entry| entry.reliable.is_some()) {
            self.converse_reliably(id);
        }
    }

    fn converse_reliably(&mut self, id: PipeId) {
        let Some(entry) = self.pipes.get_mut(id.0) else { return };
        let is_over = entry.reason.is_some();
        let (Some(reliable), Phase::Connected(connection)) =
            (&mut entry.reliable, &mut entry.phase)
        else {
            return;
        };
        let attended = if reliable.discards {
            reliable.discard(&mut **connection)
        } else {
            reliable.attend(&mut **connection)
        };
        if !is_over {
            reliable.leave();
            // A connection that is over says so itself.
            let _ = reliable.pump(&mut **connection);
        }
        let mut pumped = None;
        if let Some(sending) = &mut entry.sending
            && (sending.is_held() || sending.is_blocked)
            && !is_over
        {
            // An acknowledgement may have made room. Nothing else says so.
            pumped = Some(sending.pump(&mut reliable.over(&mut **connection)));
        }
        while let Some(event) = reliable.session.poll_event() {
            match event {
                SessionEvent::DeliveryFailed { .. } => {
                    reliable.failed += 1;
                    self.pending.push(Event::DeliveryFailed(id));
                }
                SessionEvent::Expired { .. } => reliable.expired += 1,
                _ => {}
            }
        }
        self.note_work(id);
        self.watch_progress(id);
        if let Some(result) = pumped {
            let _ = self.checked(id, result);
            self.note_queue(id);
        }
        self.received(id, attended);
    }
}

fn forgotten() -> Error {
    Error::new(Code::SessionLost, "the listener does not know the session any more")
}
