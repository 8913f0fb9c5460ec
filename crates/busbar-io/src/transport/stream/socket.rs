//! A connected stream socket, of either family, that never waits.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};

use mio::net::{TcpStream, UnixStream};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, Shutdown, sockopt};

use busbar_proto::Error;

use crate::options::{Heartbeat, PipeOptions};
use crate::os::os_error;
use crate::peer::Peer;
use crate::reactor::{Port, Reactor, Token, Watch};
use crate::transport::sockets::{self, SEND_FLAGS};

use super::keepalive::{Keepalive, kernel_bytes};

/// What a unix socket takes before its writer has to wait: twice as much as by default, so that who
/// writes much waits a fifth as often. Linux lets everybody ask for half of it, and doubles that.
const UNIX_SEND_MAX: usize = 2 * 208 * 1024;

/// See the [module](self).
pub(in crate::transport) struct Socket {
    /// Once the reactor reads and writes for it. Dropped first: the reactor has to let go.
    port: Option<Port>,
    stream: Stream,
    /// The pipe's options leave the kernel's buffers small.
    is_narrow: Cell<bool>,
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    pub(in crate::transport) fn tcp(stream: TcpStream) -> Self {
        Self { port: None, stream: Stream::Tcp(stream), is_narrow: Cell::new(false) }
    }

    pub(in crate::transport) fn unix(stream: UnixStream) -> Self {
        Self { port: None, stream: Stream::Unix(stream), is_narrow: Cell::new(false) }
    }

    /// Whether nothing can be written before the reactor has said so. Of no socket of Unix.
    pub(super) fn awaits_reactor(&self) -> bool {
        false
    }

    /// Reads what is there; 0 at the end of the stream.
    pub(super) fn read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        match &self.port {
            None => Ok(rustix::net::recv(self, bytes, RecvFlags::DONTWAIT)?.0),
            Some(port) => port.read(bytes),
        }
    }

    /// Writes the first part of `bytes`, as much as there is room for.
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match &self.port {
            None => Ok(rustix::net::send(self, bytes, SEND_FLAGS)?),
            Some(port) => port.write(bytes),
        }
    }

    /// As [`Socket::write`], from byte `from` of a queue. What is written of it may also be taken
    /// away as a whole: then it is empty.
    pub(super) fn write_queue(&self, queue: &mut Vec<u8>, from: usize) -> io::Result<usize> {
        match &self.port {
            None => self.write(&queue[from..]),
            Some(port) => {
                let len = queue.len() - from;
                port.write_queue(queue, from).map(|()| len)
            }
        }
    }

    /// As [`Socket::write`], from several places at once, without copying.
    pub(super) fn write_vectored(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        if let Some(port) = &self.port {
            port.clear()?;
        }
        let mut ancillary = SendAncillaryBuffer::default();
        let written = rustix::net::sendmsg(self, parts, &mut ancillary, SEND_FLAGS);
        if let (Some(port), Err(Errno::AGAIN)) = (&self.port, &written) {
            port.await_room();
        }
        Ok(written?)
    }

    /// Whether something that was written is not in the socket yet. An edge tells when it is, if it
    /// was asked for by [`Socket::flush`].
    pub(super) fn holds_back(&self) -> bool {
        self.port.as_ref().is_some_and(Port::is_sending)
    }

    /// Writes at once what was put off until the end of the turn; whether that was all.
    pub(super) fn flush(&self) -> bool {
        self.port.as_ref().is_none_or(Port::flush)
    }

    /// Lets `look` see what of a queue was taken and is not in the socket, with how much of it is.
    pub(super) fn look_unsent<T>(&self, look: impl FnOnce(&[u8], usize) -> T) -> Option<T> {
        self.port.as_ref()?.look_unsent(look)
    }

    /// How writing what was put off has failed, once.
    pub(super) fn take_failure(&self) -> Option<io::Error> {
        self.port.as_ref()?.take_send_failure()
    }

    /// Tells the peer that nothing more will be written.
    pub(super) fn shut_down_writing(&self) {
        self.flush();
        // Fails only where the connection is gone, of which reading will tell.
        let _ = rustix::net::shutdown(self, Shutdown::Write);
    }

    /// Whether what was written reaches the peer even if the socket is closed now. A TCP socket
    /// that is closed answers what still arrives with a reset, which discards what is under way.
    pub(super) fn keeps_what_was_written(&self) -> bool {
        matches!(self.stream, Stream::Unix(_))
    }

    /// Prepares a connected socket for a pipe with these options.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn set_up(&self, options: &PipeOptions) -> Result<(), Error> {
        sockets::keep_quiet(self).map_err(|errno| os_error("setting SO_NOSIGPIPE", errno))?;
        if let Stream::Tcp(_) = self.stream {
            // Messages are gathered here; the kernel holding them back as well helps nobody.
            sockopt::set_tcp_nodelay(self, true)
                .map_err(|errno| os_error("setting TCP_NODELAY", errno))?;
            self.keep_alive(options.heartbeat)
                .map_err(|errno| os_error("setting SO_KEEPALIVE", errno))?;
        }
        if let Some(bytes) = kernel_bytes(options) {
            sockopt::set_socket_send_buffer_size(self, bytes)
                .and_then(|()| sockopt::set_socket_recv_buffer_size(self, bytes))
                .map_err(|errno| os_error("setting the size of socket buffers", errno))?;
        }
        self.is_narrow.set(kernel_bytes(options).is_some());
        Ok(())
    }

    /// Has the system look after a connection that is idle.
    fn keep_alive(&self, heartbeat: Option<Heartbeat>) -> rustix::io::Result<()> {
        let Keepalive { idle, interval, probes } = Keepalive::new(heartbeat);
        sockopt::set_socket_keepalive(self, true)?;
        sockopt::set_tcp_keepidle(self, idle)?;
        sockopt::set_tcp_keepintvl(self, interval)?;
        sockopt::set_tcp_keepcnt(self, probes)
    }

    /// The failure of a connection attempt, if it has failed.
    pub(super) fn take_error(&self) -> io::Result<Option<io::Error>> {
        match &self.stream {
            Stream::Tcp(stream) => stream.take_error(),
            Stream::Unix(stream) => stream.take_error(),
        }
    }

    /// Whether the connection stands.
    pub(super) fn is_connected(&self) -> bool {
        match &self.stream {
            Stream::Tcp(stream) => stream.peer_addr().is_ok(),
            Stream::Unix(_) => true,
        }
    }

    /// Whether both ends of the connection are this socket: TCP allows two ends that connect to
    /// each other at the same time, and one that does so alone.
    pub(super) fn is_its_own_peer(&self) -> bool {
        let Stream::Tcp(stream) = &self.stream else { return false };
        let ends = (stream.local_addr(), stream.peer_addr());
        matches!(ends, (Ok(ours), Ok(theirs)) if ours == theirs)
    }

    /// Who is at the other end, as the system has it.
    pub(super) fn peer(&self) -> Result<Peer, Error> {
        Ok(match &self.stream {
            Stream::Tcp(stream) => Peer { address: stream.peer_addr().ok(), ..Peer::default() },
            Stream::Unix(stream) => {
                Peer { process: Some(sockets::process_of(stream)?), ..Peer::default() }
            }
        })
    }

    /// Tells the edges of a socket on which the ends introduce themselves.
    pub(super) fn register(&self, reactor: &Reactor, token: Token) -> Result<(), Error> {
        reactor.add(self, token, Watch::Both)
    }

    /// Has the reactor read and write, if it does, and gives the edges to another token. Those that
    /// were there already are told once more.
    pub(super) fn adopt(&mut self, reactor: &Reactor, token: Token) -> Result<(), Error> {
        if let Some(port) = &self.port {
            port.set_token(Some(token));
            return Ok(());
        }
        self.widen();
        self.port = reactor.adopt(self, token)?;
        if self.port.is_some() { Ok(()) } else { reactor.change(self, token, Watch::Both) }
    }

    /// Lets a writer put more into the socket before it has to wait.
    fn widen(&self) {
        let is_small = || sockopt::socket_send_buffer_size(self).is_ok_and(|it| it < UNIX_SEND_MAX);
        if matches!(self.stream, Stream::Unix(_)) && !self.is_narrow.get() && is_small() {
            // Without it everything works as well, if not as fast.
            let _ = sockopt::set_socket_send_buffer_size(self, UNIX_SEND_MAX / 2);
        }
    }

    pub(super) fn deregister(&self, reactor: &Reactor) {
        match &self.port {
            None => reactor.remove(self),
            Some(port) => port.set_token(None),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.stream {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;
    use crate::reactor::{Backend, EngineOptions};

    fn connected() -> (TcpListener, Socket) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (listener, Socket::tcp(TcpStream::from_std(stream)))
    }

    /// [D14] the heartbeat decides how the system looks after an idle connection
    #[test]
    fn keepalive_follows_the_heartbeat() {
        let check = |heartbeat, idle, interval, probes| {
            let (_listener, socket) = connected();
            let options = PipeOptions { heartbeat, ..PipeOptions::default() };
            socket.set_up(&options).unwrap();
            assert!(sockopt::socket_keepalive(&socket).unwrap());
            assert_eq!(sockopt::tcp_keepidle(&socket).unwrap(), Duration::from_secs(idle));
            assert_eq!(sockopt::tcp_keepintvl(&socket).unwrap(), Duration::from_secs(interval));
            assert_eq!(sockopt::tcp_keepcnt(&socket).unwrap(), probes);
        };
        let heartbeat =
            |millis, misses| Some(Heartbeat { interval: Duration::from_millis(millis), misses });
        check(None, 15, 5, 3);
        check(heartbeat(50, 2), 1, 1, 2);
        check(heartbeat(2500, 4), 3, 3, 4);
        check(heartbeat(3_600_000, 100), 3600, 3600, 100);
    }

    /// [D33] a unix socket takes more than by default, unless the pipe's queue is to be small
    #[test]
    fn unix_sockets_take_as_much_as_the_queue_allows() {
        let send_bytes = |reactor: &Reactor, ring_bytes| {
            let (stream, _peer) = UnixStream::pair().unwrap();
            let mut socket = Socket::unix(stream);
            socket.set_up(&PipeOptions { ring_bytes, ..PipeOptions::default() }).unwrap();
            socket.register(reactor, Token(0)).unwrap();
            socket.adopt(reactor, Token(1)).unwrap();
            sockopt::socket_send_buffer_size(&socket).unwrap()
        };
        for backend in [Backend::Poll, Backend::Uring] {
            let backend = Some(backend.into());
            let options = EngineOptions { backend, ..EngineOptions::default() };
            // Not every system has both.
            let Ok((reactor, _bell)) = Reactor::new(options, Token(9)) else { continue };
            let ring_bytes = PipeOptions::default().ring_bytes;
            assert!(send_bytes(&reactor, ring_bytes) >= UNIX_SEND_MAX / 2);
            assert!(send_bytes(&reactor, 64 * 1024) <= 128 * 1024);
        }
    }
}
