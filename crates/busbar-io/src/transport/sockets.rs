//! What Unix systems do differently about sockets: how one is made that neither waits nor is
//! inherited, how writing to a closed one is kept from raising SIGPIPE, and who is at the other
//! end.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};

use busbar_proto::Error;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketType, sockopt};

use crate::options::ListenOptions;
use crate::os::os_error;
use crate::peer::Process;

pub(super) use system::{SEND_FLAGS, keep_quiet, process_of, socket};

/// A listening socket that does not wait.
///
/// # Errors
/// The system's.
pub(super) fn bind_tcp(address: SocketAddr, options: &ListenOptions) -> io::Result<TcpListener> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = socket(family, SocketType::STREAM)?;
    // A port whose connections are still being wound up is free.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if options.reuse_port {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
    Ok(TcpListener::from(socket))
}

/// Whether [`bind_tcp`] has failed because the machine has no addresses of that family.
pub(super) fn is_family_missing(error: &io::Error) -> bool {
    let missing = [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL];
    Errno::from_io_error(error).is_some_and(|errno| missing.contains(&errno))
}

#[cfg(target_os = "linux")]
mod system {
    use rustix::net::SocketFlags;

    use super::*;

    /// Of every write.
    pub(in crate::transport) const SEND_FLAGS: SendFlags =
        SendFlags::NOSIGNAL.union(SendFlags::DONTWAIT);

    pub(in crate::transport) fn socket(
        family: AddressFamily,
        kind: SocketType,
    ) -> Result<OwnedFd, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        rustix::net::socket_with(family, kind, flags, None)
    }

    /// Nothing to do: every write says so.
    #[expect(clippy::unnecessary_wraps, reason = "other systems may fail to")]
    pub(in crate::transport) fn keep_quiet(_: impl AsFd) -> Result<(), Errno> {
        Ok(())
    }

    /// The process at the other end of a connected unix socket.
    pub(in crate::transport) fn process_of(socket: impl AsFd) -> Result<Process, Error> {
        let busbar_shm::PeerProcess { pid, uid, gid } = busbar_shm::peer_process(socket)
            .map_err(|error| os_error("asking for the peer's credentials", error))?;
        Ok(Process { pid, uid, gid })
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use nix::unistd::getpeereid;
    use rustix::io::{FdFlags, fcntl_setfd, ioctl_fionbio};

    use super::*;

    /// Of every write. Sockets are made not to raise SIGPIPE instead.
    pub(in crate::transport) const SEND_FLAGS: SendFlags = SendFlags::DONTWAIT;

    /// A thread that starts a program between the two calls hands the socket down to it: there
    /// is no call that does both.
    pub(in crate::transport) fn socket(
        family: AddressFamily,
        kind: SocketType,
    ) -> Result<OwnedFd, Errno> {
        let socket = rustix::net::socket(family, kind, None)?;
        fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
        ioctl_fionbio(&socket, true)?;
        Ok(socket)
    }

    pub(in crate::transport) fn keep_quiet(socket: impl AsFd) -> Result<(), Errno> {
        sockopt::set_socket_nosigpipe(socket, true)
    }

    /// The user and group at the other end of a connected unix socket. These systems do not tell
    /// the process: its number is 0.
    pub(in crate::transport) fn process_of(socket: impl AsFd) -> Result<Process, Error> {
        let (uid, gid) = getpeereid(socket).map_err(|errno| {
            os_error("asking for the peer's credentials", std::io::Error::from(errno))
        })?;
        Ok(Process { pid: 0, uid: uid.as_raw(), gid: gid.as_raw() })
    }
}
