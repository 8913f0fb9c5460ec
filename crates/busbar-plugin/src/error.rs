//! Why a method failed: a status that crosses the boundary, and a text.

use std::borrow::Cow;
use std::fmt;

use busbar_abi::Status;
use busbar_types::SerializeError;

/// What methods return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something in a plugin failed. One pointer, so that what succeeds carries little.
#[derive(Clone, Debug)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    status: Status,
    message: Cow<'static, str>,
    needed: usize,
}

impl Error {
    /// An error of the plugin's own; `number` counts from 0 and reaches the caller.
    pub fn new(number: u16, message: impl Into<Cow<'static, str>>) -> Self {
        Self::of(Status(Status::PLUGIN.0 - i32::from(number)), message)
    }

    /// An error that everybody knows, such as [`Status::AGAIN`].
    pub fn of(status: Status, message: impl Into<Cow<'static, str>>) -> Self {
        let status = if status.is_error() { status } else { Status::INTERNAL };
        Self(Box::new(Inner { status, message: message.into(), needed: 0 }))
    }

    pub(crate) fn too_small(needed: usize, room: usize) -> Self {
        let message = format!("the result takes {needed} bytes, there is room for {room}");
        let mut error = Self::of(Status::BUFFER_TOO_SMALL, message);
        error.0.needed = needed;
        error
    }

    /// How it crosses the boundary.
    #[must_use]
    pub fn status(&self) -> Status {
        self.0.status
    }

    /// What it tells a person.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// For `BUFFER_TOO_SMALL`: the bytes that the result takes.
    pub(crate) fn needed(&self) -> usize {
        self.0.needed
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.message)
    }
}

impl std::error::Error for Error {}

impl From<String> for Error {
    fn from(message: String) -> Self {
        Self::new(0, message)
    }
}

impl From<&'static str> for Error {
    fn from(message: &'static str) -> Self {
        Self::new(0, message)
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::new(0, error.to_string())
    }
}

impl From<busbar_types::Error> for Error {
    fn from(error: busbar_types::Error) -> Self {
        Self::of(Status::SCHEMA_MISMATCH, error.to_string())
    }
}

impl From<SerializeError> for Error {
    fn from(error: SerializeError) -> Self {
        match error {
            SerializeError::BufferTooSmall { required, available } => {
                Self::too_small(required, available)
            }
            other => Self::of(Status::INVALID, other.to_string()),
        }
    }
}
