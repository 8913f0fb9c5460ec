//! Where two ends of `shm://name` meet: a unix socket in a directory that only its user can enter.
//!
//! The directory is `$BUSBAR_RUNTIME_DIR`, `$XDG_RUNTIME_DIR/busbar` or `/tmp/busbar-<uid>`; it is
//! made with mode 0700, and refused if it belongs to somebody else or is open to others.
//! `shm:///path` names the socket itself instead, and access is up to the path's permissions; the
//! peer's user is checked in any case.
//!
//! What killed listeners leave behind is removed by whoever next dials the name or binds any.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use busbar_proto::{Code, Error};

use crate::endpoint::{Endpoint, ShmName};
use crate::os::os_error;
use crate::transport::unix_socket::{self, Binding, Bound, lock_directory_of, remove_if_dead};

/// Longest path that fits a unix socket address.
const PATH_BYTES_MAX: usize = 107;

/// Files looked at when a name is bound, so that binding stays quick.
const SWEEP_MAX: usize = 256;

/// Connections that may wait to be accepted by the process.
const BACKLOG: usize = 128;

/// Binds the socket of `name`, taking over from an owner that died.
///
/// # Errors
/// `AddrInUse`, `PermissionDenied`, `InvalidAddress` (too long), `NotFound` (no such directory).
pub(super) fn bind(name: &ShmName) -> Result<Bound, Error> {
    let path = socket_path(name)?;
    let lock = lock_directory_of(&path)?;
    if let (ShmName::Name(_), Some(directory)) = (name, path.parent()) {
        remove_dead_in(directory);
    }
    unix_socket::bind(path, &lock, Binding { backlog: BACKLOG, mode: None })
}

/// Connects to the socket of `name`.
///
/// # Errors
/// As [`unix_socket::connect`].
pub(super) fn connect(name: &ShmName) -> Result<UnixStream, Error> {
    unix_socket::connect(&socket_path(name)?, &Endpoint::Shm(name.clone()))
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

#[cfg(test)]
mod tests;
