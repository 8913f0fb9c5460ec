//! Unix sockets that have a path: binding, connecting, and what killed listeners leave behind.
//!
//! A socket whose owner was killed stays as a file. Whoever next dials or binds the path removes
//! it, under a lock on the directory, so that nobody removes a living one.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use busbar_proto::{Code, Error};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};

use crate::endpoint::Endpoint;
use crate::os::os_error;

use super::{START_IT, sockets};

/// How long to wait for the lock on a directory. Whoever has it needs it for a few system calls
/// only, but where others may enter the directory, they can hold it for as long as they like.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);

/// A bound socket; its file goes with it.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) listener: UnixListener,
    path: PathBuf,
    inode: u64,
}

/// The lock on a directory; ends when dropped.
pub(super) struct Locked {
    _directory: OwnedFd,
}

/// How a listener's socket is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Binding {
    /// Connections that may wait to be accepted.
    pub(super) backlog: usize,
    /// Permissions of the file; `None` leaves that to the process' umask.
    pub(super) mode: Option<u32>,
}

/// Binds `path`, taking over from an owner that died. Its directory must be locked.
///
/// # Errors
/// `AddrInUse`, `PermissionDenied`, `NotFound` (no such directory), `Io`.
pub(super) fn bind(path: PathBuf, _: &Locked, binding: Binding) -> Result<Bound, Error> {
    let bound = match bind_once(&path, binding) {
        Err(Errno::ADDRINUSE) if remove_if_dead(&path) => bind_once(&path, binding),
        bound => bound,
    };
    let socket = bound.map_err(|errno| bind_error(&path, errno.into()))?;
    let inode = fs::symlink_metadata(&path).map_err(|error| os_error("stat", error))?.ino();
    Ok(Bound { listener: UnixListener::from(socket), path, inode })
}

/// Connects to the socket at `path`, which users know as `shown`.
///
/// # Errors
/// `NotFound` if nobody listens, `ConnectionRefused` if the listener's queue is full,
/// `PermissionDenied`.
pub(super) fn connect(path: &Path, shown: &Endpoint) -> Result<UnixStream, Error> {
    let address = SocketAddrUnix::new(path).map_err(|errno| os_error("naming a socket", errno))?;
    connect_to(&address, shown).inspect_err(|error| {
        if error.code() == Code::NotFound {
            sweep(path);
        }
    })
}

/// As [`connect`], for a socket of any name.
pub(super) fn connect_to(address: &SocketAddrUnix, shown: &Endpoint) -> Result<UnixStream, Error> {
    let socket =
        socket(SocketType::STREAM).map_err(|errno| os_error("creating a unix socket", errno))?;
    let Err(errno) = rustix::net::connect(&socket, address) else {
        return Ok(UnixStream::from(socket));
    };
    let (code, message) = match errno {
        Errno::NOENT | Errno::CONNREFUSED => {
            (Code::NotFound, format!("nobody listens at {shown}; {START_IT}"))
        }
        Errno::ACCESS | Errno::PERM => {
            (Code::PermissionDenied, format!("the socket of {shown} belongs to another user"))
        }
        Errno::AGAIN => (
            Code::ConnectionRefused,
            format!("too many connections wait at {shown}; dial again later"),
        ),
        _ => return Err(os_error(&format!("connecting to {shown}"), errno)),
    };
    Err(Error::new(code, message).with_source(errno))
}

/// A new socket, bound and listening. Nobody can connect before it listens, so that its
/// permissions are right from the beginning.
fn bind_once(path: &Path, binding: Binding) -> Result<OwnedFd, Errno> {
    let socket = socket(SocketType::STREAM)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    let listening = match binding.mode {
        Some(mode) => fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO)),
        None => Ok(()),
    };
    let listening = listening.and_then(|()| rustix::net::listen(&socket, backlog(binding)));
    if listening.is_err() {
        let _ = fs::remove_file(path);
    }
    listening.map(|()| socket)
}

/// The backlog as the system wants it.
pub(super) fn backlog(binding: Binding) -> i32 {
    i32::try_from(binding.backlog).unwrap_or(i32::MAX)
}

impl Bound {
    /// The address that a dialer in any directory can use.
    #[cfg(target_os = "linux")]
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let Ok(_lock) = lock_directory_of(&self.path) else { return };
        // Somebody may have removed our file and bound the name anew.
        if fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode) {
            // If that fails, the next binder or dialer removes it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Excludes others who bind, sweep or unlink in the directory of `path`; ends when dropped.
pub(super) fn lock_directory_of(path: &Path) -> Result<Locked, Error> {
    lock_within(path, LOCK_PATIENCE)
}

fn lock_within(path: &Path, patience: Duration) -> Result<Locked, Error> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let failed = |error: Errno| {
        let code = match error {
            Errno::NOENT => Code::NotFound,
            Errno::ACCESS => Code::PermissionDenied,
            _ => Code::Io,
        };
        let message = format!("opening {}: {error}", directory.display());
        Error::new(code, message).with_source(error)
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(directory, flags, Mode::empty()).map_err(failed)?;
    let deadline = Instant::now() + patience;
    loop {
        match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Locked { _directory: fd }),
            Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < deadline => {
                thread::sleep(Duration::from_micros(200));
            }
            Err(Errno::WOULDBLOCK | Errno::INTR) => {
                let message = format!("another process keeps {} locked", directory.display());
                return Err(Error::new(Code::Io, message));
            }
            Err(error) => return Err(failed(error)),
        }
    }
}

/// Tidies up for others: not worth waiting for a lock.
fn sweep(path: &Path) {
    if let Ok(_lock) = lock_within(path, Duration::ZERO) {
        remove_if_dead(path);
    }
}

/// Removes a socket that nobody listens on any more. The directory must be locked.
pub(super) fn remove_if_dead(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    is_socket && !has_owner(path) && fs::remove_file(path).is_ok()
}

/// Whether some process still has the socket open. A datagram socket cannot connect to it, and why
/// not tells: unlike a connection, that leaves nothing in the owner's queue.
pub(super) fn has_owner(path: &Path) -> bool {
    let Ok(address) = SocketAddrUnix::new(path) else { return true };
    socket(SocketType::DGRAM)
        .and_then(|socket| rustix::net::connect(&socket, &address))
        .map_or_else(|errno| errno != Errno::CONNREFUSED, |()| true)
}

pub(super) fn socket(kind: SocketType) -> Result<OwnedFd, Errno> {
    sockets::socket(AddressFamily::UNIX, kind)
}

fn bind_error(path: &Path, error: io::Error) -> Error {
    let code = match error.kind() {
        io::ErrorKind::AddrInUse => {
            let message = format!("{} already has a listener", path.display());
            return Error::new(Code::AddrInUse, message).with_source(error);
        }
        io::ErrorKind::PermissionDenied => Code::PermissionDenied,
        io::ErrorKind::NotFound => Code::NotFound,
        _ => Code::Io,
    };
    Error::new(code, format!("binding {}: {error}", path.display())).with_source(error)
}
