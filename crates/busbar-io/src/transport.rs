//! The transports, by scheme. Adding one is a module here and a line in each function.

mod foreign;
pub mod inproc;
mod introduction;
mod local;
mod nowhere;
#[cfg(windows)]
#[path = "transport/windows/pipe.rs"]
mod pipe;
#[cfg(windows)]
#[path = "transport/windows/pipe_system.rs"]
mod pipe_system;
#[cfg(target_os = "linux")]
pub(crate) mod shm;
#[cfg_attr(windows, path = "transport/windows/sockets.rs")]
mod sockets;
mod stream;
mod tcp;
#[cfg(unix)]
mod uds;
#[cfg(unix)]
mod unix_socket;

use std::io;
use std::task::Waker;

use busbar_proto::{Code, Error};

use crate::connection::{Acceptor, Identity, Incoming};
use crate::endpoint::Endpoint;
use crate::options::{ListenOptions, PipeOptions};

pub(crate) use nowhere::Nowhere;
use tcp::Speech;

/// Binds `endpoint`. `waker` wakes the listener.
pub(crate) fn listen(
    endpoint: &Endpoint,
    options: &ListenOptions,
    waker: &Waker,
) -> Result<Box<dyn Acceptor>, Error> {
    check_reliable(endpoint, &options.pipe)?;
    match endpoint {
        Endpoint::Inproc(name) => local::listen(name, options, waker),
        #[cfg(target_os = "linux")]
        Endpoint::Shm(name) => shm::listen(name, options),
        #[cfg(unix)]
        Endpoint::Uds(name) => uds::listen(name, options),
        Endpoint::Tcp { host, port } => tcp::listen(host, *port, Speech::Plain, options),
        Endpoint::Tls { host, port } => tcp::listen(host, *port, Speech::Tls, options),
        #[cfg(windows)]
        Endpoint::Pipe(name) => pipe::listen(name, options, waker),
        other => Err(unsupported(other)),
    }
}

/// Begins to connect to `endpoint`. `waker` wakes the pipe.
pub(crate) fn dial(
    endpoint: &Endpoint,
    options: &PipeOptions,
    identity: Identity,
    waker: &Waker,
) -> Result<Incoming, Error> {
    check_reliable(endpoint, options)?;
    match endpoint {
        Endpoint::Inproc(name) => local::dial(name, options, identity, waker),
        #[cfg(target_os = "linux")]
        Endpoint::Shm(name) => shm::dial(name, options, identity, waker),
        #[cfg(unix)]
        Endpoint::Uds(name) => uds::dial(name, options, identity),
        Endpoint::Tcp { host, port } => {
            tcp::dial(host, *port, Speech::Plain, options, identity, waker)
        }
        Endpoint::Tls { host, port } => {
            tcp::dial(host, *port, Speech::Tls, options, identity, waker)
        }
        #[cfg(windows)]
        Endpoint::Pipe(name) => pipe::dial(name, options, identity),
        other => Err(unsupported(other)),
    }
}

/// What to do where nobody listens, whether `retry` was given or not.
const START_IT: &str = "start the listener; with retry, dial waits for it up to timeoutMs";

/// Memory is lost only together with the process that keeps the session.
fn check_reliable(endpoint: &Endpoint, options: &PipeOptions) -> Result<(), Error> {
    let is_local = matches!(endpoint, Endpoint::Inproc(_) | Endpoint::Shm(_));
    if options.reliable.is_none() || !is_local {
        return Ok(());
    }
    let message = format!(
        "`reliable` is for uds://, pipe://, tcp:// and tls://: a connection at {}:// is lost only \
         with the process at its other end, and no session outlives that",
        endpoint.scheme()
    );
    Err(Error::new(Code::NotSupported, message))
}

fn unsupported(endpoint: &Endpoint) -> Error {
    let here = if cfg!(target_os = "linux") {
        "inproc://, shm://, uds://, tcp:// and tls://"
    } else if cfg!(unix) {
        "inproc://, uds://, tcp:// and tls://"
    } else {
        "inproc://, pipe://, tcp:// and tls://"
    };
    let scheme = endpoint.scheme();
    let instead = match endpoint {
        Endpoint::Pipe(_) => {
            "named pipes are Windows'; between processes of a machine use uds://, or"
        }
        Endpoint::Ipc(_) | Endpoint::Shm(_) | Endpoint::Uds(_) => {
            if cfg!(windows) {
                "between processes of a machine use pipe://, or"
            } else {
                "between processes of a machine use uds://, or"
            }
        }
        _ => "use",
    };
    let os = std::env::consts::OS;
    let message = format!("{scheme}:// is not supported on {os}: {instead} one of {here}");
    Error::new(Code::NotSupported, message)
}

/// The next connection of a listening socket that does not wait; `None`: not now.
fn accepted<T>(mut accept: impl FnMut() -> io::Result<T>) -> Result<Option<T>, Error> {
    loop {
        return match accept() {
            Ok(accepted) => Ok(Some(accepted)),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => Ok(None),
                // The dialer hung up in the queue.
                io::ErrorKind::Interrupted
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionReset => continue,
                _ => Err(crate::os::os_error("accepting a connection", error)),
            },
        };
    }
}
