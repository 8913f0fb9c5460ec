//! The transports, by scheme. Adding one is a module here and a line in each function.

pub mod inproc;
mod local;
#[cfg(target_os = "linux")]
pub(crate) mod shm;

use std::task::Waker;

use busbar_proto::{Code, Error};

use crate::connection::{Acceptor, Incoming};
use crate::endpoint::Endpoint;
use crate::options::{ListenOptions, PipeOptions};

/// Binds `endpoint`. `waker` wakes the listener.
pub(crate) fn listen(
    endpoint: &Endpoint,
    options: &ListenOptions,
    waker: &Waker,
) -> Result<Box<dyn Acceptor>, Error> {
    match endpoint {
        Endpoint::Inproc(name) => local::listen(name, options, waker),
        #[cfg(target_os = "linux")]
        Endpoint::Shm(name) => shm::listen(name, options),
        other => Err(unsupported(other)),
    }
}

/// Begins to connect to `endpoint`. `waker` wakes the pipe.
pub(crate) fn dial(
    endpoint: &Endpoint,
    options: &PipeOptions,
    waker: &Waker,
) -> Result<Incoming, Error> {
    match endpoint {
        Endpoint::Inproc(name) => local::dial(name, options, waker),
        #[cfg(target_os = "linux")]
        Endpoint::Shm(name) => shm::dial(name, options, waker),
        other => Err(unsupported(other)),
    }
}

fn unsupported(endpoint: &Endpoint) -> Error {
    let here = if cfg!(target_os = "linux") { "inproc:// and shm://" } else { "inproc://" };
    let message = format!(
        "{}:// is not supported by this version on {}; use {here}",
        endpoint.scheme(),
        std::env::consts::OS
    );
    Error::new(Code::NotSupported, message)
}
