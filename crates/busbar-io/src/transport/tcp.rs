//! `tcp://` and `tls://`: processes on any two machines.
//!
//! A host that is an address is dialed at once. A name is looked up by a thread of its own, since
//! the system's resolver waits; its addresses then race each other.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::thread;

use busbar_proto::{Code, Error};

use crate::connection::{Acceptor, Identity, Incoming};
use crate::endpoint::Endpoint;
use crate::options::{ListenOptions, PipeOptions};
use crate::os::os_error;
use crate::reactor::{Reactor, Token};
use crate::tls::Credentials;

use super::sockets;
use super::stream::{Answering, Dialing, Listening, Resolution, Tls};

/// Names that may be looked up at once in the process.
const LOOKUPS_MAX: usize = 64;

/// What is spoken on the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speech {
    Plain,
    Tls,
}

/// Binds `host` and `port`.
///
/// # Errors
/// `AddrInUse`, `AddrNotAvailable`, `PermissionDenied`, `NotFound` (no such host), `Io`;
/// `InvalidArgument` if the credentials are not enough for TLS; `NotSupported` if the system cannot
/// share ports.
pub(super) fn listen(
    host: &str,
    port: u16,
    speech: Speech,
    options: &ListenOptions,
) -> Result<Box<dyn Acceptor>, Error> {
    let tls = match speech {
        Speech::Plain => None,
        Speech::Tls => Some(checked(credentials(&options.pipe)?)?),
    };
    let listener = if host == "*" {
        // Every address of either family, or of IPv4 where there is no IPv6.
        let all = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
        sockets::bind_tcp(all, options).or_else(|error| {
            if !sockets::is_family_missing(&error) {
                return Err(error);
            }
            sockets::bind_tcp(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port), options)
        })
    } else {
        let address = match host.parse::<IpAddr>() {
            Ok(ip) => SocketAddr::new(ip, port),
            // Listening is set-up: it may wait for the resolver, which knows its own names.
            Err(_) => *look_up(host, port)?.front().ok_or_else(|| unknown(host, None))?,
        };
        sockets::bind_tcp(address, options)
    };
    let listener = listener.map_err(|error| bind_error(host, port, error))?;
    let listener = Listening::tcp(listener);
    Ok(Box::new(TcpListener { listener, tls, options: options.clone() }))
}

/// Begins to connect to `host` and `port`.
///
/// # Errors
/// What can be known at once: `InvalidAddress`, `InvalidArgument`, `Again`, `OutOfMemory`, `Io`.
pub(super) fn dial(
    host: &str,
    port: u16,
    speech: Speech,
    options: &PipeOptions,
    identity: Identity,
    waker: &Waker,
) -> Result<Incoming, Error> {
    if host == "*" || port == 0 {
        let message = format!("{host}:{port} can be listened at, but not dialed");
        return Err(Error::new(Code::InvalidAddress, message));
    }
    let tls = match speech {
        Speech::Plain => None,
        Speech::Tls => Some(Tls::client(credentials(options)?, host)?),
    };
    let options = options.clone();
    let dialing = match host.parse::<IpAddr>() {
        Ok(ip) => Dialing::to(VecDeque::from([SocketAddr::new(ip, port)]), options, identity, tls)?,
        Err(_) => Dialing::after(Lookup::start(host, port, waker)?, options, identity, tls)?,
    };
    Ok(Incoming::Handshake(Box::new(dialing)))
}

struct TcpListener {
    listener: Listening,
    tls: Option<Credentials>,
    options: ListenOptions,
}

impl Acceptor for TcpListener {
    fn register(&mut self, reactor: &Reactor, control: Token) -> Result<(), Error> {
        self.listener.register(reactor, control)
    }

    fn deregister(&mut self, reactor: &Reactor) {
        self.listener.deregister(reactor);
    }

    fn accept(&mut self, _: &Waker) -> Result<Option<Incoming>, Error> {
        let Some(socket) = self.listener.accept()? else { return Ok(None) };
        let tls = self.tls.as_ref().map(Tls::server).transpose()?;
        let answering = Answering::new(socket, tls, &self.options, |_, _| Ok(()))?;
        Ok(Some(Incoming::Handshake(Box::new(answering))))
    }

    fn address(&self) -> String {
        let bound = self.listener.local_addr();
        let scheme = if self.tls.is_some() { "tls" } else { "tcp" };
        bound.map_or_else(|_| String::new(), |address| format!("{scheme}://{address}"))
    }

    fn set_credentials(&mut self, credentials: Credentials) -> Result<(), Error> {
        if self.tls.is_none() {
            return Err(Error::new(Code::NotSupported, "a listener at tcp:// has no credentials"));
        }
        self.tls = Some(checked(&credentials)?);
        Ok(())
    }
}

fn credentials(options: &PipeOptions) -> Result<&Credentials, Error> {
    let missing = || Error::new(Code::InvalidArgument, "an end of tls:// needs the option `tls`");
    options.tls.as_ref().ok_or_else(missing)
}

/// Credentials that are enough for a listener.
fn checked(credentials: &Credentials) -> Result<Credentials, Error> {
    credentials.server().map(|_| credentials.clone())
}

fn bind_error(host: &str, port: u16, error: io::Error) -> Error {
    let shown = Endpoint::Tcp { host: host.to_owned(), port };
    let (code, message) = match error.kind() {
        io::ErrorKind::AddrInUse => (Code::AddrInUse, format!("{shown} already has a listener")),
        io::ErrorKind::AddrNotAvailable => {
            (Code::AddrNotAvailable, format!("{shown} is not an address of this machine"))
        }
        io::ErrorKind::Unsupported => (Code::NotSupported, format!("binding {shown}: {error}")),
        _ => return os_error(&format!("binding {shown}"), error),
    };
    Error::new(code, message).with_source(error)
}

/// A name that a thread looks up.
struct Lookup {
    found: Arc<OnceLock<Result<VecDeque<SocketAddr>, Error>>>,
}

impl Lookup {
    fn start(host: &str, port: u16, waker: &Waker) -> Result<Box<Self>, Error> {
        static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);
        if UNDER_WAY.fetch_add(1, Ordering::Relaxed) >= LOOKUPS_MAX {
            UNDER_WAY.fetch_sub(1, Ordering::Relaxed);
            let message = format!("{LOOKUPS_MAX} host names are being looked up already");
            return Err(Error::new(Code::Again, message));
        }
        let found = Arc::new(OnceLock::new());
        let (host, waker, finding) = (host.to_owned(), waker.clone(), Arc::clone(&found));
        let started = thread::Builder::new().name("busbar-lookup".into()).spawn(move || {
            // Nobody else sets it.
            let _ = finding.set(look_up(&host, port));
            UNDER_WAY.fetch_sub(1, Ordering::Relaxed);
            waker.wake();
        });
        if let Err(error) = started {
            UNDER_WAY.fetch_sub(1, Ordering::Relaxed);
            return Err(os_error("starting a thread to look up a host name", error));
        }
        Ok(Box::new(Self { found }))
    }
}

impl Resolution for Lookup {
    fn poll(&mut self) -> Option<Result<VecDeque<SocketAddr>, Error>> {
        self.found.get().cloned()
    }
}

/// Asks the system, which may take long.
fn look_up(host: &str, port: u16) -> Result<VecDeque<SocketAddr>, Error> {
    let found: VecDeque<_> =
        (host, port).to_socket_addrs().map_err(|error| unknown(host, Some(error)))?.collect();
    if found.is_empty() { Err(unknown(host, None)) } else { Ok(found) }
}

fn unknown(host: &str, error: Option<io::Error>) -> Error {
    let why = error.as_ref().map_or_else(String::new, |error| format!(": {error}"));
    let message = format!("the host {host} cannot be found{why}; check its name");
    let unknown = Error::new(Code::NotFound, message);
    match error {
        Some(error) => unknown.with_source(error),
        None => unknown,
    }
}
