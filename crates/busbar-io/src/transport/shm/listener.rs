//! The listening end: accepts on the rendezvous socket and begins handshakes.

use std::task::Waker;

use crate::connection::{Acceptor, Incoming};
use crate::endpoint::{Endpoint, ShmName};
use crate::options::ListenOptions;
use crate::os::os_error;
use crate::reactor::{Reactor, Token, Watch};
use crate::transport;
use crate::transport::shm::handshake::Answering;
use crate::transport::shm::rendezvous;
use crate::transport::unix_socket::Bound;
use busbar_proto::Error;

pub(super) struct ShmListener {
    bound: Bound,
    name: ShmName,
    options: ListenOptions,
}

impl ShmListener {
    pub(super) fn bind(name: &ShmName, options: &ListenOptions) -> Result<Self, Error> {
        let bound = rendezvous::bind(name)?;
        bound
            .listener
            .set_nonblocking(true)
            .map_err(|error| os_error("making the rendezvous socket non-blocking", error))?;
        Ok(Self { bound, name: name.clone(), options: options.clone() })
    }
}

impl Acceptor for ShmListener {
    fn register(&mut self, reactor: &Reactor, control: Token) -> Result<(), Error> {
        reactor.add(&self.bound.listener, control, Watch::Readable)
    }

    fn deregister(&mut self, reactor: &Reactor) {
        reactor.remove(&self.bound.listener);
    }

    fn accept(&mut self, waker: &Waker) -> Result<Option<Incoming>, Error> {
        let Some((stream, _)) = transport::accepted(|| self.bound.listener.accept())? else {
            return Ok(None);
        };
        let answering = Answering::new(stream, &self.options, waker.clone())?;
        Ok(Some(Incoming::Handshake(Box::new(answering))))
    }

    fn address(&self) -> String {
        debug_assert!(self.bound.path().is_absolute(), "dialers may run in any directory");
        Endpoint::Shm(self.name.clone()).to_string()
    }
}
