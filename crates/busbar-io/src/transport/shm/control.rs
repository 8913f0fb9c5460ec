//! The control socket of an established connection: the close reason, and the death notice.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use busbar_proto::frame::{Decoder, Kind};
use busbar_proto::{CloseReason, Code, Error};

use crate::connection::Terms;
use crate::peer::Peer;
use crate::transport::introduction;
use crate::transport::shm::descriptors::{self, Received};

pub(super) struct Control {
    stream: UnixStream,
    decoder: Decoder,
    /// Bytes that came with the handshake and are still to be decoded.
    rest: Vec<u8>,
    peer: Peer,
    terms: Terms,
    /// Frames that came.
    heard: u64,
    ended: bool,
    /// Whether there may be more to read, which the socket will not say again.
    has_more: bool,
}

/// Reads before others get their turn: a peer may write as fast as this end reads.
const READS_MAX: usize = 16;

impl Control {
    pub(super) fn new(
        stream: UnixStream,
        decoder: Decoder,
        rest: Vec<u8>,
        peer: Peer,
        terms: Terms,
    ) -> Self {
        Self { stream, decoder, rest, peer, terms, heard: 0, ended: false, has_more: false }
    }

    pub(super) fn terms(&self) -> Terms {
        self.terms
    }

    pub(super) fn heard(&self) -> u64 {
        self.heard
    }

    /// Says that this end lives. A socket that is full says so too: the peer does not read.
    pub(super) fn ping(&self) {
        let _ = descriptors::send(&self.stream, &introduction::ping_frame(), &[]);
    }

    pub(super) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Whether [`Control::poll_ended`] has left something for another time.
    pub(super) fn has_more(&self) -> bool {
        self.has_more && !self.ended
    }

    /// Reads what there is, but not for ever; returns how the peer ended the connection, once.
    pub(super) fn poll_ended(&mut self) -> Option<CloseReason> {
        if self.ended {
            return None;
        }
        let reason = self.read().unwrap_or_else(|error| {
            Some(CloseReason { code: Some(error.code()), status: 0, text: error.to_string() })
        })?;
        self.ended = true;
        Some(reason)
    }

    fn read(&mut self) -> Result<Option<CloseReason>, Error> {
        let rest = std::mem::take(&mut self.rest);
        if let Some(reason) = self.decode(&rest)? {
            return Ok(Some(reason));
        }
        let mut bytes = [0; 2048];
        self.has_more = false;
        for _ in 0..READS_MAX {
            match descriptors::receive(&self.stream, &mut bytes, &mut Vec::new())? {
                Received::Nothing => return Ok(None),
                Received::End => return Ok(Some(CloseReason::lost())),
                Received::Bytes(len) => {
                    if let Some(reason) = self.decode(&bytes[..len])? {
                        return Ok(Some(reason));
                    }
                }
            }
        }
        self.has_more = true;
        Ok(None)
    }

    fn decode(&mut self, mut input: &[u8]) -> Result<Option<CloseReason>, Error> {
        while let Some(frame) = self.decoder.decode(&mut input)? {
            self.heard += 1;
            match frame.header.kind {
                Kind::Close => return CloseReason::decode(frame.payload).map(Some),
                Kind::Ping => {}
                kind => {
                    let message = format!("the peer sent {kind:?} on the control socket of shm://");
                    return Err(Error::new(Code::Protocol, message));
                }
            }
        }
        Ok(None)
    }

    /// Sends CLOSE. If the peer is gone or does not read, the end of the socket must do.
    pub(super) fn close(&mut self, reason: &CloseReason) {
        let wire = introduction::closing_frame(Kind::Close, reason);
        let _ = descriptors::send(&self.stream, &wire, &[]);
        self.ended = true;
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
