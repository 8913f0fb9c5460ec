//! A TCP connection on Windows, whose edges are made to come as they come elsewhere.
//!
//! mio tells of data, or of room, until it was told; then not before a read or a write has found
//! that there is none, which makes it ask the system anew, for everything that it was registered
//! for. Room is nearly always there, so whoever is registered for it is told of it as soon as a
//! read finds nothing. Therefore a connection asks for room only while it lacks some: from a write
//! that finds none until an edge has said that there is, for which whoever wrote may be waiting
//! even if somebody else, such as the reading half of TLS, could write meanwhile.

use std::cell::RefCell;
use std::io::{self, IoSlice, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use busbar_proto::Error;
use mio::net::TcpStream;
use mio::{Interest, Registry};
use socket2::{SockRef, TcpKeepalive};

use super::keepalive::{Keepalive, kernel_bytes};
use crate::options::PipeOptions;
use crate::os::os_error;
use crate::reactor::{Reactor, Token};

const WSAENOPROTOOPT: i32 = 10_042;

/// See the [module](self).
pub(in crate::transport) struct TcpConnection(RefCell<Inner>);

struct Inner {
    stream: TcpStream,
    watch: Option<Watch>,
    /// Until it is connected, too.
    lacks_room: bool,
    /// An edge has said that there is room, since it began to lack some.
    is_told: Arc<AtomicBool>,
}

struct Watch {
    registry: Registry,
    token: Token,
}

impl TcpConnection {
    /// A connection, or one that is being made.
    pub(super) fn new(stream: TcpStream) -> Self {
        Self(RefCell::new(Inner { stream, watch: None, lacks_room: true, is_told: Arc::default() }))
    }

    pub(super) fn read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut inner = self.0.borrow_mut();
        inner.settle()?;
        let read = inner.stream.read(bytes);
        // Whoever gets less than asked for takes it that there is no more, and reads no further.
        if matches!(read, Ok(len) if 0 < len && len < bytes.len()) {
            inner.ask()?;
        }
        read
    }

    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut inner = self.0.borrow_mut();
        let written = inner.stream.write(bytes);
        inner.note(written, bytes.len())
    }

    pub(super) fn write_vectored(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut inner = self.0.borrow_mut();
        let written = inner.stream.write_vectored(parts);
        inner.note(written, parts.iter().map(|part| part.len()).sum())
    }

    /// Prepares a connection that stands for a pipe with these options.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn set_up(&self, options: &PipeOptions) -> Result<(), Error> {
        let failed = |what| move |error: io::Error| os_error(what, error);
        let watched = self.0.borrow_mut().connected();
        watched.map_err(failed("watching a socket"))?;
        // Messages are gathered here; the kernel holding them back as well helps nobody.
        let nodelay = self.with(|stream| stream.set_nodelay(true));
        nodelay.map_err(failed("setting TCP_NODELAY"))?;
        let Keepalive { idle, interval, probes } = Keepalive::new(options.heartbeat);
        let keepalive =
            TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(probes);
        match self.with_options(|socket| socket.set_tcp_keepalive(&keepalive)) {
            // How often to ask comes last, and before Windows 10 1703 it was not to be chosen.
            Err(error) if error.raw_os_error() == Some(WSAENOPROTOOPT) => {}
            kept => kept.map_err(failed("setting SO_KEEPALIVE"))?,
        }
        let Some(bytes) = kernel_bytes(options) else { return Ok(()) };
        let sized = self.with_options(|socket| {
            socket.set_send_buffer_size(bytes)?;
            socket.set_recv_buffer_size(bytes)
        });
        sized.map_err(failed("setting the size of socket buffers"))
    }

    /// Tells the edges to `token` from now on, those that were there already once more.
    pub(super) fn watch(&self, reactor: &Reactor, token: Token) -> io::Result<()> {
        let inner = &mut *self.0.borrow_mut();
        if let Some(watch) = &mut inner.watch {
            reactor.forget_room(watch.token, &inner.is_told);
            reactor.tell_room(token, &inner.is_told);
            watch.token = token;
            return inner.ask();
        }
        let registry = reactor.registry().try_clone()?;
        let interest = inner.interest();
        registry.register(&mut inner.stream, mio::Token(token.0), interest)?;
        reactor.tell_room(token, &inner.is_told);
        inner.watch = Some(Watch { registry, token });
        Ok(())
    }

    pub(super) fn unwatch(&self, reactor: &Reactor) {
        let inner = &mut *self.0.borrow_mut();
        if let Some(Watch { registry, token }) = inner.watch.take() {
            reactor.forget_room(token, &inner.is_told);
            // Closing the socket, which follows, would often do as well.
            let _ = registry.deregister(&mut inner.stream);
        }
    }

    /// The socket itself, for anything but reading and writing.
    pub(super) fn with<T>(&self, look: impl FnOnce(&TcpStream) -> T) -> T {
        look(&self.0.borrow().stream)
    }

    fn with_options<T>(&self, set: impl FnOnce(SockRef<'_>) -> T) -> T {
        self.with(|stream| set(SockRef::from(stream)))
    }
}

impl Inner {
    fn interest(&self) -> Interest {
        if self.lacks_room { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE }
    }

    /// Has the system asked anew.
    fn ask(&mut self) -> io::Result<()> {
        let interest = self.interest();
        let Some(Watch { registry, token }) = &self.watch else { return Ok(()) };
        registry.reregister(&mut self.stream, mio::Token(token.0), interest)
    }

    /// Of `bytes` that were to be written. Whoever writes less takes it that there is no more room.
    fn note(&mut self, written: io::Result<usize>, bytes: usize) -> io::Result<usize> {
        let is_short = match &written {
            Ok(len) => *len < bytes,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        };
        if is_short {
            self.is_told.store(false, Ordering::Relaxed);
            self.lacks_room = true;
            self.ask()?;
        } else {
            self.settle()?;
        }
        written
    }

    /// Asks for room no more, if that was answered.
    fn settle(&mut self) -> io::Result<()> {
        if self.lacks_room && self.is_told.load(Ordering::Relaxed) {
            self.connected()
        } else {
            Ok(())
        }
    }

    fn connected(&mut self) -> io::Result<()> {
        self.lacks_room = false;
        self.ask()
    }
}
