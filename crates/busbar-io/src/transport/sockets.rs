//! What systems do differently about sockets: how one is made that neither waits nor is inherited,
//! how writing to a closed one is kept from raising SIGPIPE, and who is at the other end.

use std::os::fd::{AsFd, OwnedFd};

use busbar_proto::Error;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketType};

use crate::os::os_error;
use crate::peer::Process;

pub(super) use system::{SEND_FLAGS, keep_quiet, process_of, socket};

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
        let credentials = rustix::net::sockopt::socket_peercred(socket)
            .map_err(|errno| os_error("asking for the peer's credentials", errno))?;
        let pid = u32::try_from(credentials.pid.as_raw_pid()).unwrap_or(0);
        let (uid, gid) = (credentials.uid.as_raw(), credentials.gid.as_raw());
        Ok(Process { pid, uid, gid })
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use nix::unistd::getpeereid;
    use rustix::io::{FdFlags, fcntl_setfd, ioctl_fionbio};
    use rustix::net::sockopt::set_socket_nosigpipe;

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
        set_socket_nosigpipe(socket, true)
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
