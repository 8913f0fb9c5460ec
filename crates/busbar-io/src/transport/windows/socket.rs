//! A connected stream on Windows that never waits: a TCP socket, or a named pipe.

use std::io::{self, IoSlice};
use std::net::Shutdown;

use busbar_proto::Error;
use mio::net::TcpStream;
use mio::windows::NamedPipe;

use super::pipe_stream::PipeStream;
use super::tcp_stream::TcpConnection;
use crate::options::PipeOptions;
use crate::os::os_error;
use crate::peer::Peer;
use crate::reactor::{Reactor, Token};

/// See the [module](self).
pub(in crate::transport) enum Socket {
    Tcp(TcpConnection),
    Pipe(PipeStream),
}

impl Socket {
    pub(in crate::transport) fn tcp(stream: TcpStream) -> Self {
        Self::Tcp(TcpConnection::new(stream))
    }

    pub(in crate::transport) fn pipe(pipe: NamedPipe) -> Self {
        Self::Pipe(PipeStream::new(pipe))
    }

    /// Whether nothing can be written before the reactor has said so: an edge tells.
    pub(super) fn awaits_reactor(&self) -> bool {
        matches!(self, Self::Pipe(stream) if !stream.has_room())
    }

    /// Reads what is there; 0 at the end of the stream.
    pub(super) fn read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(bytes),
            Self::Pipe(stream) => stream.read(bytes),
        }
    }

    /// Writes the first part of `bytes`, as much as there is room for.
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Pipe(stream) => stream.write(bytes),
        }
    }

    /// As [`Socket::write`], from byte `from` of a queue.
    #[expect(clippy::ptr_arg, reason = "elsewhere the queue may be taken away")]
    pub(super) fn write_queue(&self, queue: &mut Vec<u8>, from: usize) -> io::Result<usize> {
        self.write(&queue[from..])
    }

    /// As [`Socket::write`], from several places at once.
    pub(super) fn write_vectored(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write_vectored(parts),
            Self::Pipe(stream) => stream.write_vectored(parts),
        }
    }

    /// Whether something that was written is not in the socket yet.
    pub(super) fn holds_back(&self) -> bool {
        matches!(self, Self::Pipe(stream) if !stream.has_room())
    }

    /// Whether everything that was written is in the socket. If not, an edge tells when it is.
    pub(super) fn flush(&self) -> bool {
        !self.holds_back()
    }

    /// Lets `look` see what of a queue was taken and is not in the socket: here, nothing.
    pub(super) fn look_unsent<T>(&self, _: impl FnOnce(&[u8], usize) -> T) -> Option<T> {
        None
    }

    /// How writing what was put off has failed.
    pub(super) fn take_failure(&self) -> Option<io::Error> {
        None
    }

    /// Tells the peer that nothing more will be written. A named pipe has no way to.
    pub(super) fn shut_down_writing(&self) {
        if let Self::Tcp(stream) = self {
            // Fails only where the connection is gone, of which reading will tell.
            let _ = stream.with(|stream| stream.shutdown(Shutdown::Write));
        }
    }

    /// Whether what was written reaches the peer even if the socket is closed now. A TCP socket
    /// that is closed answers what still arrives with a reset, which discards what is under way.
    pub(super) fn keeps_what_was_written(&self) -> bool {
        matches!(self, Self::Pipe(_))
    }

    /// Prepares a connected socket for a pipe with these options.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn set_up(&self, options: &PipeOptions) -> Result<(), Error> {
        match self {
            Self::Tcp(stream) => stream.set_up(options),
            Self::Pipe(_) => Ok(()),
        }
    }

    /// The failure of a connection attempt, if it has failed.
    pub(super) fn take_error(&self) -> io::Result<Option<io::Error>> {
        match self {
            Self::Tcp(stream) => stream.with(TcpStream::take_error),
            Self::Pipe(_) => Ok(None),
        }
    }

    /// Whether the connection stands.
    pub(super) fn is_connected(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.with(|stream| stream.peer_addr().is_ok()),
            Self::Pipe(_) => true,
        }
    }

    /// Whether both ends of the connection are this socket: TCP allows two ends that connect to
    /// each other at the same time, and one that does so alone.
    pub(super) fn is_its_own_peer(&self) -> bool {
        let Self::Tcp(stream) = self else { return false };
        let ends = stream.with(|stream| (stream.local_addr(), stream.peer_addr()));
        matches!(ends, (Ok(ours), Ok(theirs)) if ours == theirs)
    }

    /// Who is at the other end, as the system has it.
    #[expect(clippy::unnecessary_wraps, reason = "other systems may fail to tell")]
    pub(super) fn peer(&self) -> Result<Peer, Error> {
        let Self::Tcp(stream) = self else { return Ok(Peer::default()) };
        let address = stream.with(|stream| stream.peer_addr().ok());
        Ok(Peer { address, ..Peer::default() })
    }

    /// Tells the edges of a socket on which the ends introduce themselves.
    pub(super) fn register(&self, reactor: &Reactor, token: Token) -> Result<(), Error> {
        let watched = match self {
            Self::Tcp(stream) => stream.watch(reactor, token),
            Self::Pipe(stream) => stream.watch(reactor, token),
        };
        watched.map_err(|error| os_error("watching a socket", error))
    }

    /// Gives the edges to another token. Those that were there already are told once more.
    pub(super) fn adopt(&mut self, reactor: &Reactor, token: Token) -> Result<(), Error> {
        self.register(reactor, token)
    }

    pub(super) fn deregister(&self, reactor: &Reactor) {
        match self {
            Self::Tcp(stream) => stream.unwatch(reactor),
            Self::Pipe(stream) => stream.unwatch(reactor),
        }
    }
}
