//! What the users of a ring hold of it: sockets, listeners, and what wakes it.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};

use super::ring::mask;
use super::{SEND_BYTES_MAX, State, Tag, Token, Uring};
use crate::slots::Handle;

/// Wakes whoever waits for a ring. Nobody reads it: each write is an edge.
#[derive(Debug)]
pub(crate) struct Bell(pub(super) OwnedFd);

/// See [`Reactor::watcher`](crate::reactor::Reactor::watcher): the ring's descriptor once more.
pub(crate) struct Watcher(pub(super) OwnedFd);

/// A socket that the ring reads and writes. Ends everything when dropped.
pub(crate) struct Port {
    pub(super) uring: Uring,
    pub(super) handle: Handle,
}

/// A listening socket that the ring accepts from.
pub(crate) struct Accepts {
    pub(super) uring: Uring,
    pub(super) handle: Handle,
}

impl Bell {
    #[expect(clippy::host_endian_bytes, reason = "a number for this kernel")]
    pub(crate) fn ring(&self) {
        // Fails only after 2^64 times.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }
}

impl Watcher {
    pub(crate) fn wait(&self, timeout: Option<Duration>) {
        // Longer than a number of seconds can be: for ever.
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let mut ring = [PollFd::new(&self.0, PollFlags::IN)];
        // Interrupted: an early look does no harm.
        let _ = rustix::event::poll(&mut ring, timeout.as_ref());
    }
}

impl Port {
    /// Copies out what has come; 0 at the end of the stream. Less than `into` holds: there is no
    /// more at present.
    pub(crate) fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        self.uring.lock().read(self.handle, into)
    }

    /// Sends the first part of `bytes`, at the end of the turn.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.uring.lock();
        state.clear(self.handle)?;
        let bytes = &bytes[..bytes.len().min(SEND_BYTES_MAX)];
        if !bytes.is_empty() {
            let mut memory = state.memory();
            memory.extend_from_slice(bytes);
            state.send(self.handle, memory, 0)?;
        }
        Ok(bytes.len())
    }

    /// As [`Port::write`], all of `queue` but its first `from` bytes; in its place is other memory,
    /// which is empty.
    pub(crate) fn write_queue(&self, queue: &mut Vec<u8>, from: usize) -> io::Result<()> {
        let mut state = self.uring.lock();
        state.clear(self.handle)?;
        let bytes = std::mem::replace(queue, state.memory());
        state.send(self.handle, bytes, from)
    }

    /// Makes sure that the socket may be written to directly.
    pub(crate) fn clear(&self) -> io::Result<()> {
        self.uring.lock().clear(self.handle)
    }

    /// The socket had no room: reports when it has.
    pub(crate) fn await_room(&self) {
        let mut state = self.uring.lock();
        let State { streams, ring, .. } = &mut *state;
        if let Some(stream) = streams.get_mut(self.handle)
            && stream.room.is_none()
        {
            let events = mask(PollFlags::OUT);
            stream.room = ring.watch(stream.fd, events, false, Tag::Room(self.handle));
        }
    }

    /// Whether something that was written is not in the socket yet.
    pub(crate) fn is_sending(&self) -> bool {
        self.uring.lock().is_sending(self.handle)
    }

    /// Sends at once what was written; whether all of it is in the socket. If not, its end is
    /// reported.
    pub(crate) fn flush(&self) -> bool {
        self.uring.lock().flush(self.handle)
    }

    /// Lets `look` see what is being sent, or could not be sent, and how much of it is sent.
    pub(crate) fn look_unsent<T>(&self, look: impl FnOnce(&[u8], usize) -> T) -> Option<T> {
        let state = self.uring.lock();
        let stream = state.streams.get(self.handle)?;
        let sending = stream.sending.and_then(|op| state.ring.sends(op));
        let failed = || stream.unsent.as_ref().map(|(bytes, sent)| (bytes.as_slice(), *sent));
        sending.or_else(failed).map(|(bytes, sent)| look(bytes, sent))
    }

    /// How sending has failed, once.
    pub(crate) fn take_send_failure(&self) -> Option<io::Error> {
        self.uring.lock().streams.get_mut(self.handle)?.send_failure.take()
    }

    /// Reports to another token, at once, or to nobody.
    pub(crate) fn set_token(&self, token: Option<Token>) {
        let mut state = self.uring.lock();
        state.edges.retain(|(_, of)| *of != Some(self.handle));
        if let Some(stream) = state.streams.get_mut(self.handle) {
            stream.token = token;
            stream.has_edge = false;
            let has_ended = stream.has_ended;
            match token {
                Some(_) => state.tell(self.handle, has_ended),
                None => state.hold(self.handle),
            }
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.uring.lock().drop_stream(self.handle);
    }
}

impl Accepts {
    /// The next connection, if one has come.
    pub(crate) fn accept(&self) -> io::Result<OwnedFd> {
        let mut state = self.uring.lock();
        let next = state.acceptors.get_mut(self.handle).and_then(|it| it.accepted.pop_front());
        next.unwrap_or_else(|| {
            state.arm_acceptor(self.handle);
            Err(io::ErrorKind::WouldBlock.into())
        })
    }
}

impl Drop for Accepts {
    fn drop(&mut self) {
        let mut state = self.uring.lock();
        if let Some(accepting) = state.acceptors.remove(self.handle) {
            accepting.op.into_iter().for_each(|op| state.ring.cancel(op));
            state.enter(Some(Duration::ZERO));
        }
    }
}
