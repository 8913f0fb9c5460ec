//! A connected named pipe, read and written by way of mio, which keeps what is under way.
//!
//! A write is taken as a whole and then under way until the peer has it, or the system has taken it
//! for the peer; until then there is no room. The reactor sets `has_room` when it is done, and once
//! when the pipe begins to be watched.

use std::cell::{Cell, OnceCell, RefCell};
use std::io::{self, IoSlice, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mio::Interest;
use mio::windows::NamedPipe;
use windows_sys::Win32::Foundation::ERROR_PIPE_NOT_CONNECTED;

use crate::reactor::{Reactor, Reaper, Token};

/// Bytes that are copied together to be written at once.
const GATHERED_BYTES: usize = 1 << 18;

/// See the [module](self).
pub(in crate::transport) struct PipeStream {
    pipe: RefCell<NamedPipe>,
    has_room: Arc<AtomicBool>,
    /// Once the reactor watches it.
    token: Cell<Option<Token>>,
    /// Likewise. Dropped after the pipe, whose name is not free before its handle is closed.
    reaper: OnceCell<Reaper>,
}

impl PipeStream {
    pub(super) fn new(pipe: NamedPipe) -> Self {
        let (has_room, token, reaper) = Default::default();
        Self { pipe: RefCell::new(pipe), has_room, token, reaper }
    }

    /// Whether nothing that was written is under way.
    pub(super) fn has_room(&self) -> bool {
        self.has_room.load(Ordering::Relaxed)
    }

    pub(super) fn read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        match self.pipe.borrow_mut().read(bytes) {
            Err(error) if is_disconnected(&error) => Ok(0),
            read => read,
        }
    }

    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        if !self.has_room() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        match self.pipe.borrow_mut().write(bytes) {
            Ok(len) => {
                self.has_room.store(false, Ordering::Relaxed);
                Ok(len)
            }
            Err(error) if is_disconnected(&error) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(error) => Err(error),
        }
    }

    pub(super) fn write_vectored(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut gathered = Vec::new();
        for part in parts {
            let room = GATHERED_BYTES - gathered.len();
            gathered.extend_from_slice(&part[..part.len().min(room)]);
        }
        self.write(&gathered)
    }

    /// Tells the edges to `token` from now on, those that were there already once more.
    pub(super) fn watch(&self, reactor: &Reactor, token: Token) -> io::Result<()> {
        let before = self.token.replace(Some(token));
        // What is under way says when it is done. If nothing is, watching says so.
        self.has_room.store(false, Ordering::Relaxed);
        let (pipe, its) = (&mut *self.pipe.borrow_mut(), mio::Token(token.0));
        let interest = Interest::READABLE | Interest::WRITABLE;
        match before {
            None => reactor.registry().register(pipe, its, interest)?,
            Some(before) => {
                reactor.forget_room(before, &self.has_room);
                reactor.registry().reregister(pipe, its, interest)?;
            }
        }
        reactor.tell_room(token, &self.has_room);
        self.reaper.get_or_init(|| reactor.reaper());
        Ok(())
    }

    pub(super) fn unwatch(&self, reactor: &Reactor) {
        if let Some(token) = self.token.take() {
            reactor.forget_room(token, &self.has_room);
            // Closing the handle, which follows, would often do as well.
            let _ = reactor.registry().deregister(&mut *self.pipe.borrow_mut());
        }
    }
}

fn is_disconnected(error: &io::Error) -> bool {
    error.raw_os_error() == Some(ERROR_PIPE_NOT_CONNECTED.cast_signed())
}
