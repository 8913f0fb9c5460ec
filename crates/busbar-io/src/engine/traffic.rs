//! Messages through the engine: which pipe is meant, may it be used, and what if its peer cheats.

use busbar_proto::{Code, Error};
use bytes::Bytes;

use crate::connection::Connection;
use crate::engine::pipe::{Phase, PipeEntry};
use crate::engine::redial::Redial;
use crate::engine::sending::Sending;
use crate::engine::{Engine, closed_error, gone};
use crate::event::PipeId;
use crate::inbox::Inbox;
use crate::link::Link;
use crate::loan::Loan;
use crate::qos::{SendOptions, Sent};

/// Looks in a row that bring announcements and nothing else. A peer may announce no more.
const ANNOUNCED_LOOKS_MAX: usize = 1024;

impl Engine {
    /// See [`Link::send_run`].
    ///
    /// # Errors
    /// As there, and `Closed` with the peer's reason.
    #[inline]
    pub fn send_run(&mut self, id: PipeId, run: &[u8]) -> Result<usize, Error> {
        let result = self.open(id, |link, queue| match queue {
            None => link.send_run(run),
            Some(queue) => queue.send_run(link, run),
        })?;
        let result = self.sent(id, result);
        self.remember(id, result, 0, |redial, taken| redial.note_run(&run[..taken]))
    }

    /// See [`Link::send`].
    ///
    /// # Errors
    /// As there, and `Closed` with the peer's reason.
    #[inline]
    pub fn send(&mut self, id: PipeId, channel: u16, payload: &[u8]) -> Result<bool, Error> {
        let result = self.open(id, |link, queue| match queue {
            None => link.send(channel, payload),
            Some(queue) => queue
                .send(link, channel, payload, SendOptions::default())
                .map(|sent| sent != Sent::Refused),
        })?;
        let result = self.sent(id, result);
        self.remember(id, result, false, |redial, sent| {
            if sent {
                redial.note(channel, payload);
            }
        })
    }

    /// Offers one message under terms of its own. A pipe that has no queue gets one.
    ///
    /// # Errors
    /// As [`Link::send`], and `Closed` with the peer's reason.
    pub fn send_with(
        &mut self,
        id: PipeId,
        channel: u16,
        payload: &[u8],
        options: SendOptions,
    ) -> Result<Sent, Error> {
        self.queue_up(id)?;
        let result = self.open(id, |link, queue| {
            queue.ok_or_else(gone)?.send(link, channel, payload, options)
        })?;
        let result = self.sent(id, result);
        self.remember(id, result, Sent::Refused, |redial, sent| {
            if sent == Sent::Accepted {
                redial.note(channel, payload);
            }
        })
    }

    /// See [`Link::abandon`]. Messages of a session are not given up so.
    pub fn abandon(&mut self, id: PipeId) -> bool {
        let Some(entry) = self.pipes.get_mut(id.0) else { return false };
        let Phase::Connected(connection) = &mut entry.phase else { return false };
        let Some(reliable) = &mut entry.reliable else { return connection.abandon() };
        let is_too_large = reliable.over(&mut **connection).abandon();
        self.converse(id);
        is_too_large
    }

    /// See [`Link::loan`].
    ///
    /// # Errors
    /// As there, and `Closed` with the peer's reason.
    pub fn loan(&mut self, id: PipeId, len: usize) -> Result<Option<Loan>, Error> {
        let result = self.open(id, |link, _| link.loan(len))?;
        self.checked(id, result)
    }

    /// See [`Link::commit`].
    ///
    /// # Errors
    /// As there, and `Closed` with the peer's reason.
    pub fn commit(
        &mut self,
        id: PipeId,
        channel: u16,
        loan: Loan,
        len: usize,
    ) -> Result<Option<Loan>, Error> {
        if self.pipes.get(id.0).is_some_and(|entry| entry.has_lost(&loan)) && len <= loan.len() {
            return Ok((!self.send(id, channel, &loan[..len])?).then_some(loan));
        }
        let result = self.open(id, |link, queue| match queue {
            None => link.commit(channel, loan, len),
            Some(queue) => queue.commit(link, channel, loan, len),
        })?;
        self.sent(id, result)
    }

    /// See [`Link::receive`]. A breach by the peer ends the pipe: what came before it is received
    /// as usual, and a `Closed` event follows.
    ///
    /// # Errors
    /// `Closed` if there is no such pipe any more.
    #[inline]
    pub fn receive(&mut self, id: PipeId, inbox: &mut Inbox<'_>, max: usize) -> Result<(), Error> {
        // Announcements alone are not nothing: whoever gets nothing takes that for all there is.
        for _ in 0..ANNOUNCED_LOOKS_MAX {
            if !self.receive_some(id, inbox, max)? || !inbox.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// One look at the link; whether there were announcements.
    #[inline]
    fn receive_some(
        &mut self,
        id: PipeId,
        inbox: &mut Inbox<'_>,
        max: usize,
    ) -> Result<bool, Error> {
        let entry = self.pipes.get_mut(id.0).ok_or_else(gone)?;
        if entry.receiving.is_some() {
            self.receive_queued(id, inbox, max);
            return Ok(false);
        }
        if entry.has_left() {
            let redial = entry.redial.as_mut();
            if redial.is_some_and(|redial| redial.receive_left(inbox, max)) {
                return Ok(self.announce_some(id, inbox));
            }
            self.mark_connection(id);
        }
        let entry = self.pipes.get_mut(id.0).ok_or_else(gone)?;
        let received = match (&mut entry.reliable, &mut entry.phase) {
            (None, Phase::Connected(connection)) => connection.receive(inbox, max),
            (Some(reliable), Phase::Connected(connection)) => {
                reliable.over(&mut **connection).receive(inbox, max)
            }
            (Some(reliable), _) => {
                let mut nowhere = reliable.nowhere();
                reliable.over(&mut nowhere).receive(inbox, max)
            }
            (None, _) => return Ok(false),
        };
        self.converse(id);
        if self.is_shared {
            // There may be room to read on.
            self.note_work(id);
        }
        let has_announced = self.announce_some(id, inbox);
        let is_over = received.is_err();
        self.received(id, received);
        Ok(has_announced && !is_over)
    }

    /// After a look at the link: ends the pipe if that was the end.
    #[inline]
    pub(super) fn received(&mut self, id: PipeId, received: Result<(), Error>) {
        let Err(error) = received else { return };
        if error.code() != Code::Closed {
            return self.fail(id, &error);
        }
        if let Some(connection) = self.connection(id) {
            let outcome = connection.handle_control();
            self.handle_outcome(id, outcome);
        }
    }

    /// Writes what the pipes have put off until the end of the turn. Turns begin and sleep begins
    /// with it, so that only those need it who do neither.
    pub fn flush(&mut self) {
        if self.at_work.is_empty() {
            return;
        }
        let mut at_work = std::mem::take(&mut self.at_work);
        for id in at_work.drain(..) {
            self.work(id);
        }
        if self.at_work.is_empty() {
            self.at_work = at_work;
        }
        self.descriptors.reactor().submit();
    }

    /// Lets a pipe go on with what it has put off.
    pub(super) fn work(&mut self, id: PipeId) {
        let Some(entry) = self.pipes.get_mut(id.0) else { return };
        entry.is_at_work = false;
        let Phase::Connected(connection) = &mut entry.phase else { return };
        let outcome = connection.work();
        let has_unfinished = connection.has_unfinished();
        if entry.reason.is_none() {
            self.handle_outcome(id, outcome);
        }
        self.note_work(id);
        if has_unfinished {
            self.watch_unfinished(id);
        }
        if self.is_shared {
            self.rouse(id);
        }
    }

    /// Whether something that was sent over a pipe can only go on while this engine is driven.
    #[must_use]
    pub fn has_unsent(&mut self, id: PipeId) -> bool {
        self.connection(id).is_some_and(|connection| connection.has_unsent())
    }

    /// Sees to it that a pipe goes on with what it has put off.
    #[inline]
    pub(super) fn note_work(&mut self, id: PipeId) {
        if let Some(entry) = self.pipes.get_mut(id.0)
            && let Phase::Connected(connection) = &entry.phase
            && connection.has_work()
            && !std::mem::replace(&mut entry.is_at_work, true)
        {
            self.at_work.push(id);
        }
    }

    /// The next announcement of the peer that was not asked for yet. Announcements that lie before
    /// a message are there once the message has been received.
    pub fn take_announcement(&mut self, id: PipeId) -> Option<Bytes> {
        self.pipes.get_mut(id.0)?.announced.take()
    }

    /// Keeps the announcements of a batch for whoever asks; whether there are some, not too many.
    #[inline]
    fn announce_some(&mut self, id: PipeId, inbox: &mut Inbox<'_>) -> bool {
        if !inbox.has_announcements() {
            return false;
        }
        let Some(entry) = self.pipes.get_mut(id.0) else { return false };
        inbox.take_announcements(|announcement| entry.announced.keep(announcement));
        self.check_announced(id)
    }

    /// Ends a pipe whose peer has announced too much; whether it has not.
    pub(super) fn check_announced(&mut self, id: PipeId) -> bool {
        let Some(entry) = self.pipes.get_mut(id.0) else { return false };
        let checked = entry.announced.check();
        if let Err(error) = &checked {
            self.fail(id, error);
        }
        checked.is_ok()
    }

    /// Sends by way of the link of a pipe that may still be sent to, and of the queue in front of
    /// it, if there is one.
    #[inline]
    fn open<T>(
        &mut self,
        id: PipeId,
        send: impl FnOnce(&mut dyn Connection, Option<&mut Sending>) -> T,
    ) -> Result<T, Error> {
        let entry = self.pipes.get_mut(id.0).ok_or_else(gone)?;
        if let Some(reason) = &entry.reason {
            return Err(closed_error(reason));
        }
        if entry.leave.is_some() {
            return Err(gone());
        }
        let queue = entry.sending.as_deref_mut();
        match (&mut entry.phase, &mut entry.reliable, &mut entry.redial) {
            (Phase::Connected(connection), None, _) => Ok(send(&mut **connection, queue)),
            (Phase::Connected(connection), Some(reliable), _) => {
                Ok(send(&mut reliable.over(&mut **connection), queue))
            }
            (_, Some(reliable), _) if reliable.is_established() => {
                let mut nowhere = reliable.nowhere();
                Ok(send(&mut reliable.over(&mut nowhere), queue))
            }
            (_, None, Some(redial)) if redial.connects > 0 && queue.is_some() => {
                Ok(send(&mut redial.nowhere, queue))
            }
            _ => Err(Error::new(Code::Again, "the pipe is not connected yet")),
        }
    }

    /// After something was offered: a pipe that dials again outlives its connection, and remembers
    /// by `note` what the next one has to be told.
    #[inline]
    fn remember<T: Copy>(
        &mut self,
        id: PipeId,
        result: Result<T, Error>,
        nothing: T,
        note: impl FnOnce(&mut Redial, T),
    ) -> Result<T, Error> {
        let outlives = |entry: &PipeEntry| entry.redial.is_some() || entry.reliable.is_some();
        if !self.pipes.get(id.0).is_some_and(outlives) {
            return result;
        }
        let sent = self.survived(id, result, nothing)?;
        if let Some(redial) = self.pipes.get_mut(id.0).and_then(|entry| entry.redial.as_mut()) {
            note(redial, sent);
        }
        self.drop_own_queue(id);
        Ok(sent)
    }

    /// A connection that turns out to be gone is cut; what was offered may be offered again.
    fn survived<T>(
        &mut self,
        id: PipeId,
        result: Result<T, Error>,
        nothing: T,
    ) -> Result<T, Error> {
        match result {
            Err(error) if error.code() == Code::Closed => {
                self.received(id, Err(error.clone()));
                match self.pipes.get(id.0) {
                    Some(entry) if entry.reason.is_none() => Ok(nothing),
                    _ => Err(error),
                }
            }
            result => result,
        }
    }

    /// After something was sent: sees to it that it is written.
    #[inline]
    fn sent<T>(&mut self, id: PipeId, result: Result<T, Error>) -> Result<T, Error> {
        self.note_work(id);
        self.note_queue(id);
        self.checked(id, result)
    }

    #[inline]
    pub(super) fn checked<T>(&mut self, id: PipeId, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &result
            && error.code() == Code::Protocol
        {
            self.fail(id, error);
        }
        result
    }
}
