//! A listening socket on Windows.

use std::io;
use std::net::SocketAddr;

use busbar_proto::Error;
use mio::Interest;
use mio::net::TcpListener;

use super::socket::Socket;
use crate::os::os_error;
use crate::reactor::{Reactor, Token};
use crate::transport;

/// See the [module](self).
pub(in crate::transport) struct Listening(TcpListener);

impl Listening {
    pub(in crate::transport) fn tcp(listener: std::net::TcpListener) -> Self {
        Self(TcpListener::from_std(listener))
    }

    pub(in crate::transport) fn register(
        &mut self,
        reactor: &Reactor,
        token: Token,
    ) -> Result<(), Error> {
        let registry = reactor.registry();
        let registered = registry.register(&mut self.0, mio::Token(token.0), Interest::READABLE);
        registered.map_err(|error| os_error("watching a socket", error))
    }

    pub(in crate::transport) fn deregister(&mut self, reactor: &Reactor) {
        // Fails only if it was not registered.
        let _ = reactor.registry().deregister(&mut self.0);
    }

    /// The next connection, if one waits.
    ///
    /// # Errors
    /// A failure of this one connection.
    pub(in crate::transport) fn accept(&self) -> Result<Option<Socket>, Error> {
        transport::accepted(|| self.0.accept().map(|(stream, _)| Socket::tcp(stream)))
    }

    /// Where it is bound.
    pub(in crate::transport) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}
