//! What the halves of a stream read from and write to: a socket, or TLS over it.

use std::io::{self, IoSlice};

use busbar_proto::Error;

use crate::peer::Peer;

use super::socket::Socket;
use super::tls::Tls;

/// See the [module](self).
pub(in crate::transport) struct Wire {
    pub(super) socket: Socket,
    tls: Option<Box<Tls>>,
}

impl Wire {
    /// The socket itself.
    pub(super) fn plain(socket: Socket) -> Self {
        Self { socket, tls: None }
    }

    /// `tls`, which has said nothing yet, over a socket.
    pub(super) fn secure(socket: Socket, tls: Tls) -> Self {
        Self { socket, tls: Some(Box::new(tls)) }
    }

    /// Goes on with the handshake of TLS, if there is one; whether it is over.
    ///
    /// # Errors
    /// Why there is no TLS with this peer. It has been told.
    pub(super) fn shake_hands(&mut self) -> Result<bool, Error> {
        self.tls.as_mut().map_or(Ok(true), |tls| tls.shake_hands(&self.socket))
    }

    /// Reads what is there; less than `bytes` hold if there is no more at present, 0 at the end of
    /// the stream.
    pub(super) fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.socket.read(bytes),
            Some(tls) => tls.read(&self.socket, bytes),
        }
    }

    /// Writes the first part of `bytes`, as much as there is room for. With none, writes what
    /// [`Wire::holds_back`].
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.socket.write(bytes),
            Some(tls) => tls.write(&self.socket, &[IoSlice::new(bytes)]),
        }
    }

    /// As [`Wire::write`], from byte `from` of a queue. What is written of it may also be taken
    /// away as a whole: then it is empty.
    pub(super) fn write_queue(&mut self, queue: &mut Vec<u8>, from: usize) -> io::Result<usize> {
        match &self.tls {
            None if from < queue.len() => self.socket.write_queue(queue, from),
            _ => self.write(&queue[from..]),
        }
    }

    /// As [`Wire::write`], from several places at once.
    pub(super) fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.socket.write_vectored(parts),
            Some(tls) => tls.write(&self.socket, parts),
        }
    }

    /// Whether something that was written is still on this side of the socket.
    pub(super) fn holds_back(&self) -> bool {
        self.has_backlog() || self.socket.holds_back()
    }

    /// Whether something of it waits for another [`Wire::write`].
    pub(super) fn has_backlog(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.holds_back())
    }

    /// Writes at once what was put off; whether nothing is held back. If something is, an edge
    /// tells when it is not.
    pub(super) fn flush(&self) -> bool {
        self.socket.flush() && !self.has_backlog()
    }

    /// Lets `look` see what of a queue was taken and is not in the socket, with how much of it is.
    pub(super) fn look_unsent<T>(&self, look: impl FnOnce(&[u8], usize) -> T) -> Option<T> {
        if self.tls.is_some() { None } else { self.socket.look_unsent(look) }
    }

    /// How writing what was put off has failed, once.
    pub(super) fn take_failure(&self) -> Option<io::Error> {
        self.socket.take_failure()
    }

    /// Whether the next read has something to tell that the socket does not announce.
    pub(super) fn has_news(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.has_news())
    }

    /// Nothing more will be written. [`Wire::shut_down_writing`] follows once nothing is held back.
    pub(super) fn finish(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.finish();
        }
    }

    /// Tells the peer that nothing more will be written; what is held back is not.
    pub(super) fn shut_down_writing(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.finish();
            // What there is no room for is lost, as is the rest.
            let _ = tls.write(&self.socket, &[]);
        }
        self.socket.shut_down_writing();
    }

    /// Who is at the other end, as far as that is known by now.
    pub(super) fn peer(&self) -> Result<Peer, Error> {
        let tls = self.tls.as_ref().and_then(|tls| tls.peer());
        Ok(Peer { tls, ..self.socket.peer()? })
    }

    /// Whether a peer that is spoken to in the clear has begun with `bytes`, a record of TLS.
    pub(super) fn is_met_with_tls(&self, bytes: &[u8]) -> bool {
        self.tls.is_none() && matches!(bytes, [0x14..=0x17, 3, ..])
    }

    /// Turns the peer away with a frame, in the clear if that is how it speaks, and ends the
    /// stream.
    pub(super) fn refuse(&mut self, frame: &[u8]) {
        let is_spoken = self.tls.as_ref().is_none_or(|tls| tls.is_open());
        if is_spoken {
            let _ = self.write(frame);
        } else if self.tls.as_ref().is_some_and(|tls| tls.met_plain_text()) {
            let _ = self.socket.write(frame);
        }
        self.shut_down_writing();
        // A socket that is closed with something unread discards what is under way to the peer.
        let mut rest = [0; 4096];
        for _ in 0..UNREAD_MAX {
            if !matches!(self.socket.read(&mut rest), Ok(1..)) {
                break;
            }
        }
    }
}

/// Reads of what somebody has sent who is turned away.
const UNREAD_MAX: usize = 64;
