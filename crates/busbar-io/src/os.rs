//! Failures of the operating system, as errors of ours.

use std::io;

use busbar_proto::{Code, Error};
use rustix::io::Errno;

pub(crate) fn os_error(what: &str, error: impl Into<io::Error>) -> Error {
    let error = error.into();
    let code = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOMEM | Errno::NOSPC | Errno::MFILE | Errno::NFILE) => Code::OutOfMemory,
        Some(Errno::ACCESS | Errno::PERM) => Code::PermissionDenied,
        _ => Code::Io,
    };
    Error::new(code, format!("{what}: {error}")).with_source(error)
}
