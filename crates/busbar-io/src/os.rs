//! Failures of the operating system, as errors of ours.

use std::io;

use busbar_proto::{Code, Error};

pub(crate) fn os_error(what: &str, error: impl Into<io::Error>) -> Error {
    let error = error.into();
    let code = match error.kind() {
        io::ErrorKind::OutOfMemory | io::ErrorKind::StorageFull => Code::OutOfMemory,
        io::ErrorKind::PermissionDenied => Code::PermissionDenied,
        _ if lacks_descriptors(&error) => Code::OutOfMemory,
        _ => Code::Io,
    };
    Error::new(code, format!("{what}: {error}")).with_source(error)
}

/// Bytes that nobody can foresee.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| os_error("asking for random bytes", error))?;
    Ok(bytes)
}

/// `EMFILE` or `ENFILE`, for which std has no kind; `ERROR_TOO_MANY_OPEN_FILES`, `WSAEMFILE` or
/// `WSAENOBUFS` on Windows.
fn lacks_descriptors(error: &io::Error) -> bool {
    let codes: &[i32] = if cfg!(windows) { &[4, 10_024, 10_055] } else { &[23, 24] };
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}
