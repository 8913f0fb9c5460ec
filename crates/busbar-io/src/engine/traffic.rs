//! Messages through the engine: which pipe is meant, may it be used, and what if its peer cheats.

use busbar_proto::{Code, Error};
use bytes::Bytes;

use crate::connection::Connection;
use crate::engine::pipe::Phase;
use crate::engine::{Engine, closed_error, gone};
use crate::event::PipeId;
use crate::inbox::Inbox;
use crate::link::Link;
use crate::loan::Loan;

impl Engine {
    /// See [`Link::send_run`].
    ///
    /// # Errors
    /// As there, and `Closed` with the peer's reason.
    #[inline]
    pub fn send_run(&mut self, id: PipeId, run: &[u8]) -> Result<usize, Error> {
        let result = self.open_link(id)?.send_run(run);
        self.checked(id, result)
    }

    /// See [`Link::send`].
    ///
    /// # Errors
    /// As there, and `Closed` with the peer's reason.
    #[inline]
    pub fn send(&mut self, id: PipeId, channel: u16, payload: &[u8]) -> Result<bool, Error> {
        let result = self.open_link(id)?.send(channel, payload);
        self.checked(id, result)
    }

    /// See [`Link::abandon`].
    pub fn abandon(&mut self, id: PipeId) -> bool {
        self.connection(id).is_some_and(Link::abandon)
    }

    /// See [`Link::loan`].
    ///
    /// # Errors
    /// As there, and `Closed` with the peer's reason.
    pub fn loan(&mut self, id: PipeId, len: usize) -> Result<Option<Loan>, Error> {
        let result = self.open_link(id)?.loan(len);
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
        let result = self.open_link(id)?.commit(channel, loan, len);
        self.checked(id, result)
    }

    /// See [`Link::receive`]. A breach by the peer ends the pipe: what came before it is received
    /// as usual, and a `Closed` event follows.
    ///
    /// # Errors
    /// `Closed` if there is no such pipe any more.
    #[inline]
    pub fn receive(&mut self, id: PipeId, inbox: &mut Inbox<'_>, max: usize) -> Result<(), Error> {
        let Some(connection) = self.connection(id) else {
            return if self.pipes.get(id.0).is_some() { Ok(()) } else { Err(gone()) };
        };
        let received = connection.receive(inbox, max);
        let announcements = inbox.take_announcements();
        if !announcements.is_empty() {
            self.announce(id, announcements);
        }
        let Some(connection) = self.connection(id) else { return Ok(()) };
        match received {
            Ok(()) => {}
            Err(error) if error.code() == Code::Closed => {
                let ended = connection.handle_control();
                self.ended_by_peer(id, ended);
            }
            Err(error) => self.fail(id, &error),
        }
        Ok(())
    }

    /// The next announcement of the peer that was not asked for yet. Announcements that lie before
    /// a message are there once the message has been received.
    pub fn take_announcement(&mut self, id: PipeId) -> Option<Bytes> {
        self.pipes.get_mut(id.0)?.announced.pop_front()
    }

    fn announce(&mut self, id: PipeId, announcements: Vec<Bytes>) {
        let Some(entry) = self.pipes.get_mut(id.0) else { return };
        if let Err(error) = entry.announce(announcements) {
            self.fail(id, &error);
        }
    }

    /// The link of a pipe that may still be sent to.
    #[inline]
    fn open_link(&mut self, id: PipeId) -> Result<&mut dyn Connection, Error> {
        let entry = self.pipes.get_mut(id.0).ok_or_else(gone)?;
        if let Some(reason) = &entry.reason {
            return Err(closed_error(reason));
        }
        match &mut entry.phase {
            Phase::Connected(connection) => Ok(&mut **connection),
            Phase::Handshaking { .. } | Phase::Over => {
                Err(Error::new(Code::Again, "the pipe is not connected yet"))
            }
        }
    }

    #[inline]
    fn checked<T>(&mut self, id: PipeId, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &result
            && error.code() == Code::Protocol
        {
            self.fail(id, error);
        }
        result
    }
}
