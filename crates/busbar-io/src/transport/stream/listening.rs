//! A listening socket, of either family, from which this end or its reactor accepts.

use std::io;
use std::net::{SocketAddr, TcpStream as StdTcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;

use busbar_proto::Error;
use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::socket::Socket;
use crate::reactor::{Accepts, Reactor, Token, Watch};
use crate::transport;

/// See the [module](self).
pub(in crate::transport) struct Listening {
    /// Once the reactor accepts for it. Dropped first: the reactor has to let go.
    accepts: Option<Accepts>,
    listener: Listener,
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listening {
    pub(in crate::transport) fn tcp(listener: std::net::TcpListener) -> Self {
        Self { accepts: None, listener: Listener::Tcp(TcpListener::from_std(listener)) }
    }

    pub(in crate::transport) fn unix(listener: std::os::unix::net::UnixListener) -> Self {
        Self { accepts: None, listener: Listener::Unix(UnixListener::from_std(listener)) }
    }

    pub(in crate::transport) fn register(
        &mut self,
        reactor: &Reactor,
        token: Token,
    ) -> Result<(), Error> {
        self.accepts = reactor.listen(self, token)?;
        if self.accepts.is_some() { Ok(()) } else { reactor.add(self, token, Watch::Readable) }
    }

    pub(in crate::transport) fn deregister(&mut self, reactor: &Reactor) {
        if self.accepts.take().is_none() {
            reactor.remove(self);
        }
    }

    /// The next connection, if one waits.
    ///
    /// # Errors
    /// A failure of this one connection.
    pub(in crate::transport) fn accept(&self) -> Result<Option<Socket>, Error> {
        transport::accepted(|| match (&self.accepts, &self.listener) {
            (Some(accepts), listener) => accepts.accept().map(|fd| listener.socket(fd)),
            (None, Listener::Tcp(listener)) => listener.accept().map(|(it, _)| Socket::tcp(it)),
            (None, Listener::Unix(listener)) => listener.accept().map(|(it, _)| Socket::unix(it)),
        })
    }

    /// Where it is bound, if that is an address of the internet's.
    pub(in crate::transport) fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.listener {
            Listener::Tcp(listener) => listener.local_addr(),
            Listener::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

impl Listener {
    fn socket(&self, fd: OwnedFd) -> Socket {
        match self {
            Self::Tcp(_) => Socket::tcp(TcpStream::from_std(StdTcpStream::from(fd))),
            Self::Unix(_) => Socket::unix(UnixStream::from_std(StdUnixStream::from(fd))),
        }
    }
}

impl AsFd for Listening {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.listener {
            Listener::Tcp(listener) => listener.as_fd(),
            Listener::Unix(listener) => listener.as_fd(),
        }
    }
}
