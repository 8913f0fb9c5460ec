//! One end of the shared memory between a process and its host: whole messages of any size, in
//! order, and nobody waits. What has no room at present is kept until it has.

use std::collections::VecDeque;
use std::hint::spin_loop;
use std::os::fd::OwnedFd;
use std::task::Waker;

use busbar_shm::record::INLINE_MAX;
use busbar_shm::{Breach, Channel, Error, PeerSegment, Received, Segment, Settings, Wants};
use rustix::event::EventfdFlags;
use rustix::io::Errno;

use super::wire::MESSAGE_BYTES_MAX;

/// More than there are kinds of messages.
const KINDS: usize = 16;

pub(super) struct Line {
    channel: Channel,
    /// What waits for room; the first may be under way.
    backlog: VecDeque<Frame>,
    /// Of each kind of it, how many messages and bytes.
    waiting: [(usize, usize); KINDS],
    peer_bell: OwnedFd,
    /// Where small messages are put together.
    scratch: Vec<u8>,
}

/// A message that waits for room.
pub(super) struct Frame {
    pub(super) kind: u16,
    pub(super) bytes: Vec<u8>,
}

impl Line {
    pub(super) fn new(own: Segment, peer: PeerSegment, peer_bell: OwnedFd) -> Self {
        // What comes in large is copied once and given back at once.
        let settings = Settings { message_bytes_max: MESSAGE_BYTES_MAX, hostile: false };
        let channel = Channel::new(own, peer, settings, Waker::noop());
        let (backlog, scratch) = (VecDeque::new(), Vec::new());
        Self { channel, backlog, waiting: [(0, 0); KINDS], peer_bell, scratch }
    }

    /// Sends `head` and `body` as one message, now or later.
    ///
    /// # Errors
    /// A breach by the peer.
    pub(super) fn send(&mut self, kind: u16, head: &[u8], body: &[u8]) -> Result<(), Breach> {
        let length = head.len() + body.len();
        if !self.backlog.is_empty() {
            self.keep(kind, [head, body].concat());
            return Ok(());
        }
        if length <= INLINE_MAX {
            self.scratch.clear();
            self.scratch.extend_from_slice(head);
            self.scratch.extend_from_slice(body);
            if breach(self.channel.send(kind, &self.scratch))?.unwrap_or(false) {
                self.ring();
                return Ok(());
            }
            // A small message is never sent in part.
            self.keep(kind, self.scratch.clone());
        } else if let Some(mut loan) = breach(self.channel.loan(length))?.flatten() {
            loan[..head.len()].copy_from_slice(head);
            loan[head.len()..length].copy_from_slice(body);
            if let Some(loan) = breach(self.channel.commit(kind, loan, length))?.flatten() {
                self.keep(kind, loan[..length].to_vec());
            }
        } else {
            // There is no chunk for it: it goes through the ring, in parts.
            self.keep(kind, [head, body].concat());
            self.flush()?;
        }
        self.ring();
        Ok(())
    }

    /// Sends what has waited, as far as there is room.
    ///
    /// # Errors
    /// A breach by the peer.
    pub(super) fn flush(&mut self) -> Result<(), Breach> {
        while let Some(Frame { kind, bytes }) = self.backlog.front() {
            let sent = breach(self.channel.send(*kind, bytes))?;
            if sent == Some(false) {
                break;
            }
            let (count, waiting) = &mut self.waiting[usize::from(*kind)];
            (*count, *waiting) = (*count - 1, *waiting - bytes.len());
            self.backlog.pop_front();
        }
        self.ring();
        Ok(())
    }

    fn keep(&mut self, kind: u16, bytes: Vec<u8>) {
        let (count, waiting) = &mut self.waiting[usize::from(kind)];
        (*count, *waiting) = (*count + 1, *waiting + bytes.len());
        self.backlog.push_back(Frame { kind, bytes });
    }

    /// How many messages of a kind wait for room, and their bytes.
    pub(super) fn waiting(&self, kind: u16) -> (usize, usize) {
        self.waiting[usize::from(kind)]
    }

    /// How many messages wait for room.
    pub(super) fn backlog(&self) -> usize {
        self.backlog.len()
    }

    /// Whether messages wait for room.
    pub(super) fn has_backlog(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// What has never arrived at the other end.
    pub(super) fn take_backlog(&mut self) -> VecDeque<Frame> {
        self.waiting = [(0, 0); KINDS];
        std::mem::take(&mut self.backlog)
    }

    /// Takes up to `max` messages; small ones lie in `buffer`.
    ///
    /// # Errors
    /// A breach by the peer.
    pub(super) fn receive(
        &mut self,
        buffer: &mut [u8],
        max: usize,
        sink: impl FnMut(u16, Received),
    ) -> Result<(), Breach> {
        self.channel.receive(buffer, max, sink)?;
        self.ring();
        Ok(())
    }

    /// Gives back what was received large and is not needed any more.
    ///
    /// # Errors
    /// A breach by the peer.
    pub(super) fn collect(&mut self) -> Result<(), Breach> {
        self.channel.collect()?;
        self.ring();
        Ok(())
    }

    /// Looks for messages up to so many times; whether there are any.
    pub(super) fn look(&mut self, looks: u32) -> bool {
        for _ in 0..looks {
            if self.channel.is_readable() {
                return true;
            }
            spin_loop();
        }
        false
    }

    /// The other end is gone: what it has said can still be received.
    pub(super) fn end(&mut self) {
        self.channel.end();
    }

    /// Announces sleep; `false` if there is something to do.
    pub(super) fn park(&mut self) -> bool {
        let wants = if self.backlog.is_empty() { Wants::NOTHING } else { Wants::SPACE };
        self.channel.park(Wants::DATA.or(wants))
    }

    pub(super) fn unpark(&mut self) {
        self.channel.unpark();
    }

    fn ring(&mut self) {
        if self.channel.take_ring() {
            ring(&self.peer_bell);
        }
    }
}

/// A bell that can be waited for with `poll`.
pub(super) fn bell() -> Result<OwnedFd, Errno> {
    rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
}

/// Whoever sleeps on `bell` wakes.
pub(super) fn ring(bell: &OwnedFd) {
    #[expect(clippy::host_endian_bytes, reason = "eventfd counts in host order")]
    let one = 1_u64.to_ne_bytes();
    // A full counter means that the bell has been rung already.
    let _ = rustix::io::write(bell, &one);
}

/// Sleep on `bell` is possible again.
pub(super) fn hush(bell: &OwnedFd) {
    // Not rung is as good.
    let _ = rustix::io::read(bell, &mut [0; 8]);
}

/// `None` for what only a mistake of this end's could bring about: a message between the parts of
/// another one. Nobody logs here: what is logged in a host is sent by its line.
fn breach<T>(result: Result<T, Error>) -> Result<Option<T>, Breach> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Error::Breach(breach)) => Err(breach),
        Err(error) => {
            debug_assert!(false, "{error}");
            Ok(None)
        }
    }
}
