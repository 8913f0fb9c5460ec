//! A connected socket, as the ring has it: what has come and was not read, and what is being sent.

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;

use super::ring::{Filled, OpId, Ring};
use super::{HANGUP, Tag, Token};
use crate::slots::Handle;

/// See the [module](self).
pub(super) struct Stream {
    pub(super) fd: RawFd,
    /// `None`: nobody wants to know.
    pub(super) token: Option<Token>,
    /// It has an edge that is not told yet.
    pub(super) has_edge: bool,
    pub(super) receiving: Option<OpId>,
    pub(super) unread: VecDeque<Filled>,
    /// Bytes of the first of them that were read.
    pub(super) taken: usize,
    /// What came before them, and how much of it was read.
    pub(super) aside: Vec<u8>,
    pub(super) aside_taken: usize,
    /// Nothing is received until what has come is read.
    pub(super) is_paused: bool,
    pub(super) has_ended: bool,
    pub(super) failure: Option<io::Error>,
    pub(super) sending: Option<OpId>,
    pub(super) send_failure: Option<io::Error>,
    /// What could not be sent, and from where on.
    pub(super) unsent: Option<(Vec<u8>, usize)>,
    /// Somebody waits for the end of sending.
    pub(super) is_awaited: bool,
    pub(super) hangup: Option<OpId>,
    pub(super) room: Option<OpId>,
}

impl Stream {
    pub(super) fn new(fd: RawFd, token: Token) -> Self {
        Self {
            fd,
            token: Some(token),
            has_edge: false,
            receiving: None,
            unread: VecDeque::new(),
            taken: 0,
            aside: Vec::new(),
            aside_taken: 0,
            is_paused: false,
            has_ended: false,
            failure: None,
            sending: None,
            send_failure: None,
            unsent: None,
            is_awaited: false,
            hangup: None,
            room: None,
        }
    }

    pub(super) fn end(&mut self, failure: Option<io::Error>) {
        self.has_ended = true;
        self.failure = failure;
    }

    /// Copies out what has come, in order, as far as there is room.
    pub(super) fn read(&mut self, into: &mut [u8], ring: &mut Ring<Tag>) -> usize {
        let mut rest = into;
        let room = rest.len();
        let aside = &self.aside[self.aside_taken..];
        let len = aside.len().min(rest.len());
        rest[..len].copy_from_slice(&aside[..len]);
        rest = &mut rest[len..];
        self.aside_taken += len;
        if self.aside_taken == self.aside.len() {
            (self.aside, self.aside_taken) = (Vec::new(), 0);
        }
        while !rest.is_empty() {
            let Some(first) = self.unread.front() else { break };
            let bytes = &ring.bytes(first)[self.taken..];
            let len = bytes.len().min(rest.len());
            rest[..len].copy_from_slice(&bytes[..len]);
            rest = &mut rest[len..];
            self.taken += len;
            if len == bytes.len() {
                self.taken = 0;
                self.unread.pop_front().into_iter().for_each(|filled| ring.give_back(filled));
            }
        }
        room - rest.len()
    }

    /// Moves what was not read out of the shared buffers.
    pub(super) fn set_aside(&mut self, ring: &mut Ring<Tag>) {
        self.aside.drain(..std::mem::take(&mut self.aside_taken));
        for filled in self.unread.drain(..) {
            self.aside.extend_from_slice(&ring.bytes(&filled)[std::mem::take(&mut self.taken)..]);
            ring.give_back(filled);
        }
    }

    /// Receives nothing more, but hears of the end: whoever has ended a stream holds nothing back.
    pub(super) fn pause(&mut self, handle: Handle, ring: &mut Ring<Tag>) {
        if let Some(op) = self.receiving {
            ring.cancel(op);
        }
        if self.hangup.is_none() && !self.has_ended {
            let events = u32::from(HANGUP.bits());
            self.hangup = ring.watch(self.fd, events, false, Tag::Hangup(handle));
        }
    }
}
