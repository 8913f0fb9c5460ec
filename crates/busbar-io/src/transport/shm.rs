//! `shm://`: two processes of one user on one machine, over shared memory.
//!
//! The ends meet at a unix socket ([`rendezvous`]), exchange HELLO and descriptors over it
//! ([`handshake`]) and keep it open: it carries the close reason, and its end is the death notice
//! ([`control`]). Messages go through two segments and never through the socket ([`link`]).

mod control;
mod descriptors;
mod handshake;
mod link;
mod listener;
mod rendezvous;

use std::task::Waker;

use busbar_proto::Error;

use crate::connection::{Acceptor, Identity, Incoming};
use crate::endpoint::ShmName;
use crate::options::{ListenOptions, PipeOptions};

pub(crate) fn listen(name: &ShmName, options: &ListenOptions) -> Result<Box<dyn Acceptor>, Error> {
    Ok(Box::new(listener::ShmListener::bind(name, options)?))
}

pub(crate) fn dial(
    name: &ShmName,
    options: &PipeOptions,
    identity: Identity,
    waker: &Waker,
) -> Result<Incoming, Error> {
    let stream = rendezvous::connect(name)?;
    let options = options.clone();
    let dialing = handshake::Dialing::begin(stream, options, identity, waker.clone())?;
    Ok(Incoming::Handshake(Box::new(dialing)))
}

/// How this crate reports a failure of the segments.
fn from_shm(error: busbar_shm::Error) -> Error {
    use busbar_proto::Code;
    use busbar_shm::Error as Shm;
    use rustix::io::Errno;

    let code = match &error {
        Shm::Run => Code::InvalidArgument,
        Shm::Os(_, Errno::NOMEM | Errno::NOSPC | Errno::MFILE | Errno::NFILE | Errno::AGAIN) => {
            Code::OutOfMemory
        }
        Shm::Os(..) => Code::Io,
        _ => Code::Protocol,
    };
    Error::new(code, error.to_string()).with_source(error)
}
