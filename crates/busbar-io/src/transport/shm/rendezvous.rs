//! Where two ends of `shm://name` meet: a unix socket in a directory that only its user can enter.
//!
//! The directory is `$BUSBAR_RUNTIME_DIR`, `$XDG_RUNTIME_DIR/busbar` or `/tmp/busbar-<uid>`; it is
//! made with mode 0700, and refused if it belongs to somebody else or is open to others.
//! `shm:///path` names the socket itself instead, and access is up to the path's permissions; the
//! peer's user is checked in any case.
//!
//! A socket whose owner was killed stays behind as a file. Whoever next dials the name, or binds
//! any name, removes it, under a lock on the directory, so that nobody removes a living one.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use busbar_proto::{Code, Error};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::endpoint::{Endpoint, ShmName};
use crate::os::os_error;

/// Longest path that fits a unix socket address.
const PATH_BYTES_MAX: usize = 107;

/// How long to wait for the lock on a directory. Whoever has it needs it for a few system calls
/// only, but where others may enter the directory, they can hold it for as long as they like.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);

/// Files looked at when a name is bound, so that binding stays quick.
const SWEEP_MAX: usize = 256;

/// A bound socket; its file goes with it.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) listener: UnixListener,
    path: PathBuf,
    inode: u64,
}

/// Binds the socket of `name`, taking over from an owner that died.
///
/// # Errors
/// `AddrInUse`, `PermissionDenied`, `InvalidAddress` (too long), `NotFound` (no such directory).
pub(super) fn bind(name: &ShmName) -> Result<Bound, Error> {
    let path = socket_path(name)?;
    let _lock = lock_directory_of(&path)?;
    if let (ShmName::Name(_), Some(directory)) = (name, path.parent()) {
        remove_dead_in(directory);
    }
    let listener = match UnixListener::bind(&path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && remove_if_dead(&path) => {
            UnixListener::bind(&path)
        }
        bound => bound,
    };
    let listener = listener.map_err(|error| bind_error(&path, error))?;
    let inode = fs::symlink_metadata(&path).map_err(|error| os_error("stat", error))?.ino();
    Ok(Bound { listener, path, inode })
}

/// Connects to the socket of `name`.
///
/// # Errors
/// `NotFound` if nobody listens, `ConnectionRefused` if the listener's queue is full,
/// `PermissionDenied`.
pub(super) fn connect(name: &ShmName) -> Result<UnixStream, Error> {
    let path = socket_path(name)?;
    let stream = connect_without_waiting(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            sweep(&path);
            let message =
                format!("nobody listens at {}; start the listener, or dial again", shown(name));
            Error::new(Code::NotFound, message).with_source(error)
        }
        io::ErrorKind::PermissionDenied => {
            let message = format!("{} belongs to another user", path.display());
            Error::new(Code::PermissionDenied, message).with_source(error)
        }
        io::ErrorKind::WouldBlock => {
            let message = format!("too many connections wait at {}; dial again later", shown(name));
            Error::new(Code::ConnectionRefused, message).with_source(error)
        }
        _ => os_error("connecting to the rendezvous socket", error),
    })?;
    Ok(stream)
}

impl Bound {
    /// The address that a dialer in any directory can use.
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

fn shown(name: &ShmName) -> Endpoint {
    Endpoint::Shm(name.clone())
}

fn socket_path(name: &ShmName) -> Result<PathBuf, Error> {
    let path = match name {
        ShmName::Path(path) => path.clone(),
        ShmName::Name(name) => runtime_directory()?.join(format!("{name}.sock")),
    };
    if path.as_os_str().len() > PATH_BYTES_MAX {
        let message = format!(
            "{} is longer than the {PATH_BYTES_MAX} bytes that a unix socket's path may have; \
             choose a shorter name or set BUSBAR_RUNTIME_DIR",
            path.display()
        );
        return Err(Error::new(Code::InvalidAddress, message));
    }
    Ok(path)
}

fn runtime_directory() -> Result<PathBuf, Error> {
    let from = |variable| std::env::var_os(variable).filter(|v| !v.is_empty()).map(PathBuf::from);
    let uid = rustix::process::geteuid().as_raw();
    let directory = from("BUSBAR_RUNTIME_DIR")
        .or_else(|| from("XDG_RUNTIME_DIR").map(|directory| directory.join("busbar")))
        .unwrap_or_else(|| PathBuf::from(format!("/tmp/busbar-{uid}")));
    private_directory(directory, uid)
}

/// Makes `directory` if it is missing, and refuses it unless only user `uid` can enter it.
fn private_directory(directory: PathBuf, uid: u32) -> Result<PathBuf, Error> {
    match fs::DirBuilder::new().mode(0o700).create(&directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            let what = format!("creating {}", directory.display());
            return Err(os_error(&what, error));
        }
        _ => {}
    }
    let found =
        fs::symlink_metadata(&directory).map_err(|error| os_error("reading a directory", error))?;
    if !found.is_dir() || found.uid() != uid || found.mode() & 0o077 != 0 {
        let message = format!(
            "{} must be a directory of user {uid} with mode 0700, so that nobody else can pose as \
             a listener; correct it or set BUSBAR_RUNTIME_DIR",
            directory.display()
        );
        return Err(Error::new(Code::PermissionDenied, message));
    }
    Ok(directory)
}

/// Excludes others who bind, sweep or unlink in the directory of `path`; ends when dropped.
fn lock_directory_of(path: &Path) -> Result<OwnedFd, Error> {
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
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(fd),
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

fn sweep(path: &Path) {
    if let Ok(_lock) = lock_directory_of(path) {
        remove_if_dead(path);
    }
}

/// Removes a socket that nobody listens on any more. The directory must be locked.
fn remove_if_dead(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    is_socket && !has_owner(path) && fs::remove_file(path).is_ok()
}

/// Removes what killed listeners have left in the runtime directory, so that names which nobody
/// uses again do not pile up. The directory must be locked.
fn remove_dead_in(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten().take(SWEEP_MAX) {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "sock") {
            remove_if_dead(&path);
        }
    }
}

/// Whether some process still has the socket open. A datagram socket cannot connect to it, and why
/// not tells: unlike a connection, that leaves nothing in the owner's queue.
fn has_owner(path: &Path) -> bool {
    let Ok(address) = SocketAddrUnix::new(path) else { return true };
    socket(SocketType::DGRAM)
        .and_then(|socket| rustix::net::connect(&socket, &address))
        .map_or_else(|errno| errno != Errno::CONNREFUSED, |()| true)
}

fn connect_without_waiting(path: &Path) -> io::Result<UnixStream> {
    let socket = socket(SocketType::STREAM)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(UnixStream::from(socket))
}

fn socket(kind: SocketType) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, kind, flags, None)
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

#[cfg(test)]
mod tests;
