//! Who is at the other end of a unix socket, beyond what safe wrappers of the system tell.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Groups that are asked for at first. Most users are in fewer.
const GROUPS: usize = 32;

/// More than Linux allows a process to be in.
const GROUPS_MAX: usize = 1 << 17;

/// The supplementary groups of the process that connected or bound a unix socket's other end, as
/// they were then.
///
/// # Errors
/// What the system says; kernels without `SO_PEERGROUPS` say `ENOPROTOOPT`.
pub fn peer_groups(socket: impl AsFd) -> io::Result<Vec<u32>> {
    let fd = socket.as_fd().as_raw_fd();
    let mut groups = vec![0_u32; GROUPS];
    loop {
        let bytes = size_of_val(groups.as_slice());
        let mut len = libc::socklen_t::try_from(bytes).map_err(io::Error::other)?;
        let target = groups.as_mut_ptr().cast();
        // SAFETY: `target` points to `len` writable bytes, and `len` to a live local; the system
        // writes no more than it is told there is room for.
        let status = unsafe {
            libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_PEERGROUPS, target, &raw mut len)
        };
        let count = len as usize / size_of::<u32>();
        if status == 0 {
            groups.truncate(count);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        // It says how much room it wants.
        if error.raw_os_error() != Some(libc::ERANGE) || count <= groups.len() {
            return Err(error);
        }
        groups.resize(count.min(GROUPS_MAX), 0);
    }
}

/// A process, as it was when it connected or bound its end of a unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "it is what the system tells")]
pub struct PeerProcess {
    /// Process id; 0 if this process does not see the other, which is in another PID namespace.
    pub pid: u32,
    /// User id.
    pub uid: u32,
    /// Its primary group's id.
    pub gid: u32,
}

/// The process at the other end of a unix socket. Safe wrappers take its id for one above 0.
///
/// # Errors
/// What the system says.
pub fn peer_process(socket: impl AsFd) -> io::Result<PeerProcess> {
    let fd = socket.as_fd().as_raw_fd();
    let mut found = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut len = libc::socklen_t::try_from(size_of_val(&found)).map_err(io::Error::other)?;
    let target = (&raw mut found).cast();
    // SAFETY: `target` points to `len` writable bytes, and `len` to a live local; every value of
    // them is a valid `ucred`.
    let status =
        unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_PEERCRED, target, &raw mut len) };
    if status != 0 {
        return Err(io::Error::last_os_error());
    }
    let libc::ucred { pid, uid, gid } = found;
    Ok(PeerProcess { pid: u32::try_from(pid).unwrap_or(0), uid, gid })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    /// [D51] the groups of the process at the other end
    #[test]
    fn groups_are_those_of_the_peer() {
        let (socket, _peer) = UnixStream::pair().unwrap();
        let mut groups = peer_groups(&socket).unwrap();
        let own = std::fs::read_to_string("/proc/self/status").unwrap();
        let own = own.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap();
        let mut own: Vec<u32> = own.split_whitespace().map(|it| it.parse().unwrap()).collect();
        groups.sort_unstable();
        own.sort_unstable();
        assert_eq!(groups, own);
        let (file, _) = io::pipe().unwrap();
        assert!(peer_groups(file).is_err());
    }

    /// [D51] the process at the other end
    #[test]
    fn the_process_is_the_peer() {
        let (socket, _peer) = UnixStream::pair().unwrap();
        let own = PeerProcess {
            pid: std::process::id(),
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
        };
        assert_eq!(peer_process(&socket).unwrap(), own);
        let (file, _) = io::pipe().unwrap();
        assert!(peer_process(file).is_err());
    }

    /// [D51] Linux says 0 of a peer that it cannot name
    #[test]
    fn nobody_is_process_0() {
        let socket = std::os::unix::net::UnixDatagram::unbound().unwrap();
        assert_eq!(peer_process(&socket).unwrap().pid, 0);
    }
}
