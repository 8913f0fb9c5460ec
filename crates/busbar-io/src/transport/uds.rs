//! `uds://`: processes of one machine over a unix socket, named by a path or in Linux' abstract
//! namespace.
//!
//! Both ends ask the system who is at the other one. Unless they were told otherwise
//! ([`Access`](crate::Access)), only processes of their own user are welcome: an abstract name has
//! no permissions of its own, so anybody could bind or dial it.

use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::task::Waker;

use busbar_proto::{Code, Error};
use rustix::net::{SocketAddrUnix, SocketType};

use crate::connection::{Acceptor, Identity, Incoming};
use crate::endpoint::{Endpoint, UdsName};
use crate::options::{Access, ListenOptions, PipeOptions};
use crate::os::os_error;
use crate::peer::Process;
use crate::reactor::{Reactor, Token};

use super::sockets;
use super::stream::{Answering, Dialing, Listening, Socket};
use super::unix_socket::{self, Binding, Bound};

/// Binds `name`.
///
/// # Errors
/// `AddrInUse`, `PermissionDenied`, `NotFound` (no such directory), `Io`.
pub(super) fn listen(name: &UdsName, options: &ListenOptions) -> Result<Box<dyn Acceptor>, Error> {
    let binding = Binding { backlog: options.backlog, mode: Some(options.mode) };
    let (std, bound) = match name {
        UdsName::Path(path) => {
            let lock = unix_socket::lock_directory_of(path)?;
            let bound = unix_socket::bind(path.clone(), &lock, binding)?;
            let copy = bound.listener.try_clone();
            (copy.map_err(|error| os_error("copying a descriptor", error))?, Some(bound))
        }
        UdsName::Abstract(name) => (bind_abstract(name, binding)?, None),
    };
    let listener = Listening::unix(std);
    Ok(Box::new(UdsListener {
        listener,
        _bound: bound,
        name: name.clone(),
        options: options.clone(),
    }))
}

/// Connects to `name`.
///
/// # Errors
/// `NotFound` if nobody listens, `ConnectionRefused` if the listener's queue is full,
/// `PermissionDenied`.
pub(super) fn dial(
    name: &UdsName,
    options: &PipeOptions,
    identity: Identity,
) -> Result<Incoming, Error> {
    let shown = Endpoint::Uds(name.clone());
    let stream = match name {
        UdsName::Path(path) => unix_socket::connect(path, &shown)?,
        UdsName::Abstract(name) => unix_socket::connect_to(&abstract_address(name)?, &shown)?,
    };
    admit(&options.access, Some(sockets::process_of(&stream)?), &stream)?;
    let socket = Socket::unix(mio::net::UnixStream::from_std(stream));
    let dialing = Dialing::over(socket, options.clone(), identity)?;
    Ok(Incoming::Handshake(Box::new(dialing)))
}

struct UdsListener {
    listener: Listening,
    /// Removes the file in the end.
    _bound: Option<Bound>,
    name: UdsName,
    options: ListenOptions,
}

impl Acceptor for UdsListener {
    fn register(&mut self, reactor: &Reactor, control: Token) -> Result<(), Error> {
        self.listener.register(reactor, control)
    }

    fn deregister(&mut self, reactor: &Reactor) {
        self.listener.deregister(reactor);
    }

    fn accept(&mut self, _: &Waker) -> Result<Option<Incoming>, Error> {
        let Some(socket) = self.listener.accept()? else { return Ok(None) };
        let access = &self.options.pipe.access;
        let answering = Answering::new(socket, None, &self.options, |socket, peer| {
            admit(access, peer, socket)
        })?;
        Ok(Some(Incoming::Handshake(Box::new(answering))))
    }

    fn address(&self) -> String {
        Endpoint::Uds(self.name.clone()).to_string()
    }
}

fn bind_abstract(name: &str, binding: Binding) -> Result<UnixListener, Error> {
    let failed = |errno| {
        let message = format!("uds://@{name} already has a listener");
        match errno {
            rustix::io::Errno::ADDRINUSE => Error::new(Code::AddrInUse, message),
            _ => os_error(&format!("binding uds://@{name}"), errno),
        }
    };
    let socket = unix_socket::socket(SocketType::STREAM).map_err(failed)?;
    rustix::net::bind(&socket, &abstract_address(name)?).map_err(failed)?;
    rustix::net::listen(&socket, unix_socket::backlog(binding)).map_err(failed)?;
    Ok(UnixListener::from(socket))
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &str) -> Result<SocketAddrUnix, Error> {
    SocketAddrUnix::new_abstract_name(name.as_bytes()).map_err(|errno| {
        Error::new(Code::InvalidAddress, format!("the socket name @{name} is too long: {errno}"))
    })
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(name: &str) -> Result<SocketAddrUnix, Error> {
    let message = format!("uds://@{name}: only Linux has abstract names; use a path");
    Err(Error::new(Code::NotSupported, message))
}

/// Groups of the peer's process beside its first. Where the system does not tell, there are none.
#[cfg(target_os = "linux")]
fn other_groups(socket: &impl AsFd) -> Vec<u32> {
    busbar_shm::peer_groups(socket).unwrap_or_default()
}

#[cfg(not(target_os = "linux"))]
fn other_groups(_: &impl AsFd) -> Vec<u32> {
    Vec::new()
}

/// Whether `access` lets `peer`, at the other end of `socket`, in.
fn admit(access: &Access, peer: Option<Process>, socket: &impl AsFd) -> Result<(), Error> {
    let own = rustix::process::geteuid().as_raw();
    let (is_welcome, allowed) = match access {
        Access::Anyone => return Ok(()),
        Access::SameUser => {
            let is_welcome = peer.is_some_and(|peer| peer.uid == own);
            (is_welcome, format!("processes of user {own}"))
        }
        Access::Listed(list) => {
            let belongs = || other_groups(socket).iter().any(|group| list.gids.contains(group));
            let is_listed = |Process { uid, gid, .. }: Process| {
                list.uids.contains(&uid) || list.gids.contains(&gid) || belongs()
            };
            (peer.is_some_and(is_listed), "those on its list".to_owned())
        }
    };
    if is_welcome {
        return Ok(());
    }
    let who = peer.map_or("an unknown user".into(), |peer| {
        format!("user {} and group {}", peer.uid, peer.gid)
    });
    let message = format!(
        "the peer runs as {who}; only {allowed} are allowed unless `access` says otherwise"
    );
    Err(Error::new(Code::PermissionDenied, message))
}
