//! The error type of this crate: a kind to branch on, the step of a plugin's life it happened in,
//! and a message for a person. Codes are those of the table that busbar-node knows.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use busbar_abi::Status;
use serde::{Deserialize, Serialize};

/// What went wrong, as something programs may branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no room in the queue, or the plugin says to come back. Retry.
    Again,
    /// Too many images that nobody uses are left in memory. The caller is at fault.
    Budget,
    /// The result takes more room. The caller is at fault: [`Error::needed`] says how much.
    BufferTooSmall,
    /// The call was cancelled, by the caller or by the plugin.
    Cancelled,
    /// The zone is closed. The caller is at fault.
    Closed,
    /// The plugin's process ended, or was ended, by no fault of the caller's.
    Crashed,
    /// The file is no library, or not all of one. Whoever made or copied it is at fault.
    Damaged,
    /// The plugin says so: [`Error::status`] is its own.
    Failed,
    /// The plugin panicked before. It is at fault: load it anew.
    Faulted,
    /// There is no `busbar-host` to run the plugin in, or not the right one.
    Host,
    /// There is one instance already. Retry when it is closed.
    InUse,
    /// Others can change the file. Its owner is at fault.
    Insecure,
    /// Something that cannot be.
    Internal,
    /// An argument makes no sense. The caller is at fault.
    InvalidArgument,
    /// The operating system refused a call. The environment is at fault.
    Io,
    /// The manifest does not begin as one.
    Magic,
    /// The plugin has no such method. The caller is at fault.
    MethodNotFound,
    /// A name in the library is no UTF-8, or is no name.
    Name,
    /// There is no such file. The caller is at fault.
    NotFound,
    /// The mode does not do this. The caller is at fault.
    NotSupported,
    /// Something in the library is null that must not be.
    Null,
    /// There is no memory.
    OutOfMemory,
    /// The plugin panicked. It is at fault.
    Panic,
    /// A method failed that the zone's parent lets it call.
    Parent,
    /// A type of the library contradicts itself.
    SchemaInvalid,
    /// The bytes are not of the method's type, or another version of a type is registered.
    SchemaMismatch,
    /// What is beside the library contradicts it.
    Sidecar,
    /// A struct of the library has a size that no version ever had.
    Size,
    /// The object is gone, or never was there. Who holds it is at fault.
    Stale,
    /// The library has no entry.
    Symbol,
    /// The library is for other machines.
    Target,
    /// The call takes too long.
    TimedOut,
    /// Nobody vouches for the library.
    Untrusted,
    /// The library speaks a version of the contract that this host does not.
    Version,
}

impl ErrorKind {
    /// The code this kind has everywhere outside of this crate.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Again => "ERR_AGAIN",
            Self::Budget => "ERR_PLUGIN_BUDGET",
            Self::BufferTooSmall => "ERR_BUFFER_TOO_SMALL",
            Self::Cancelled => "ABORT_ERR",
            Self::Closed => "ERR_ZONE_CLOSED",
            Self::Crashed => "ERR_ZONE_CRASHED",
            Self::Damaged => "ERR_PLUGIN_DAMAGED",
            Self::Failed => "ERR_PLUGIN_FAILED",
            Self::Faulted => "ERR_ZONE_FAULTED",
            Self::Host => "ERR_ZONE_HOST",
            Self::InUse => "ERR_IN_USE",
            Self::Insecure => "ERR_PLUGIN_INSECURE",
            Self::Internal => "ERR_INTERNAL",
            Self::InvalidArgument => "ERR_INVALID_ARGUMENT",
            Self::Io => "ERR_IO",
            Self::Magic => "ERR_PLUGIN_MAGIC",
            Self::MethodNotFound => "ERR_METHOD_NOT_FOUND",
            Self::Name => "ERR_PLUGIN_NAME",
            Self::NotFound => "ERR_NOT_FOUND",
            Self::NotSupported => "ERR_NOT_SUPPORTED",
            Self::Null => "ERR_PLUGIN_NULL",
            Self::OutOfMemory => "ERR_OUT_OF_MEMORY",
            Self::Panic => "ERR_PLUGIN_PANIC",
            Self::Parent => "ERR_PARENT_FAILED",
            Self::SchemaInvalid => "ERR_SCHEMA_INVALID",
            Self::SchemaMismatch => "ERR_SCHEMA_MISMATCH",
            Self::Sidecar => "ERR_PLUGIN_SIDECAR",
            Self::Size => "ERR_PLUGIN_SIZE",
            Self::Stale => "ERR_OBJECT_STALE",
            Self::Symbol => "ERR_PLUGIN_SYMBOL",
            Self::Target => "ERR_PLUGIN_TARGET",
            Self::TimedOut => "ERR_TIMED_OUT",
            Self::Untrusted => "ERR_PLUGIN_UNTRUSTED",
            Self::Version => "ERR_PLUGIN_VERSION",
        }
    }

    /// For what a plugin returned.
    const fn of_status(status: Status) -> Self {
        match status {
            Status::BUFFER_TOO_SMALL => Self::BufferTooSmall,
            Status::UNSUPPORTED => Self::NotSupported,
            Status::SCHEMA_MISMATCH => Self::SchemaMismatch,
            Status::PANIC => Self::Panic,
            Status::CANCELLED => Self::Cancelled,
            Status::TIMEOUT => Self::TimedOut,
            Status::AGAIN => Self::Again,
            Status::CLOSED => Self::Closed,
            Status::CRASHED => Self::Crashed,
            Status::NOMEM => Self::OutOfMemory,
            Status::INVALID => Self::InvalidArgument,
            Status::PARENT => Self::Parent,
            Status::STALE => Self::Stale,
            _ => Self::Failed,
        }
    }

    /// For what a plugin is told of the parent's methods.
    pub(crate) const fn to_status(self) -> Status {
        match self {
            Self::MethodNotFound | Self::NotSupported => Status::UNSUPPORTED,
            Self::SchemaMismatch => Status::SCHEMA_MISMATCH,
            Self::Cancelled => Status::CANCELLED,
            Self::TimedOut => Status::TIMEOUT,
            Self::Again => Status::AGAIN,
            Self::Closed => Status::CLOSED,
            Self::OutOfMemory => Status::NOMEM,
            Self::InvalidArgument => Status::INVALID,
            Self::Internal => Status::INTERNAL,
            Self::Stale => Status::STALE,
            _ => Status::PARENT,
        }
    }
}

/// The step of a plugin's life in which something failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Stage {
    /// Reading the file, and who vouches for it.
    Verify,
    /// Mapping it.
    Load,
    /// Reading what it says of itself.
    Bind,
    /// Making an instance.
    Ready,
    /// Preparing it for calls.
    Activate,
    /// A call.
    Call,
    /// Ending it.
    Close,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Verify => "verify",
            Self::Load => "load",
            Self::Bind => "bind",
            Self::Ready => "init",
            Self::Activate => "activate",
            Self::Call => "call",
            Self::Close => "close",
        })
    }
}

/// Why something with a plugin failed. One pointer, so that calls that succeed carry little.
#[derive(Clone, Debug)]
pub struct Error(Arc<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    kind: ErrorKind,
    stage: Stage,
    subject: String,
    plugin: Plugin,
    message: Cow<'static, str>,
    status: Status,
    needed: usize,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// Which plugin an error is of.
#[derive(Clone, Debug, Default)]
struct Plugin {
    id: String,
    method: String,
    generation: u32,
}

/// What operations of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    #[cold]
    pub(crate) fn new(
        kind: ErrorKind,
        stage: Stage,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self(Arc::new(Inner {
            kind,
            stage,
            subject: String::new(),
            plugin: Plugin::default(),
            message: message.into(),
            status: Status::OK,
            needed: 0,
            source: None,
        }))
    }

    /// For what a plugin returned, with its text.
    #[cold]
    pub(crate) fn of_status(status: Status, stage: Stage, text: &str) -> Self {
        let text = if text.is_empty() { status.to_string() } else { text.to_owned() };
        Self::new(ErrorKind::of_status(status), stage, text).with(|it| it.status = status)
    }

    fn with(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// The same error, said of a file, plugin or method.
    #[must_use]
    pub(crate) fn of(self, subject: impl Into<String>) -> Self {
        if !self.0.subject.is_empty() {
            return self;
        }
        self.with(|it| it.subject = subject.into())
    }

    /// The same error, said of a plugin, and of this generation of it.
    #[must_use]
    pub(crate) fn of_plugin(self, id: &str, generation: u32) -> Self {
        if !self.0.plugin.id.is_empty() {
            return self;
        }
        self.of(id).with(|it| {
            id.clone_into(&mut it.plugin.id);
            it.plugin.generation = generation;
        })
    }

    /// The same error, said of a method.
    #[must_use]
    pub(crate) fn in_method(self, name: &str) -> Self {
        if !self.0.plugin.method.is_empty() {
            return self;
        }
        self.with(|it| name.clone_into(&mut it.plugin.method))
    }

    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "for processes"))]
    pub(crate) fn with_status(self, status: Status) -> Self {
        self.with(|it| it.status = status)
    }

    pub(crate) fn with_needed(self, needed: usize) -> Self {
        self.with(|it| it.needed = needed)
    }

    pub(crate) fn with_source(self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.with(|it| it.source = Some(Arc::from(source.into())))
    }

    /// The kind to branch on.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// When in a plugin's life it happened.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.0.stage
    }

    /// The file, plugin or method it is about.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// The id of the plugin it is of; empty if that is not known yet.
    #[must_use]
    pub fn plugin_id(&self) -> &str {
        &self.0.plugin.id
    }

    /// The method that was called; empty if none was.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.0.plugin.method
    }

    /// Which generation of the plugin it is of: 1 until it is reloaded; 0 if it is of none.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.0.plugin.generation
    }

    /// What a plugin returned; `OK` if none did.
    #[must_use]
    pub fn status(&self) -> Status {
        self.0.status
    }

    /// For `BufferTooSmall`: the bytes that the result takes.
    #[must_use]
    pub fn needed(&self) -> usize {
        self.0.needed
    }

    /// The message, without its subject.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Whether the same call may succeed later without any change by the caller.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.kind(),
            ErrorKind::Again
                | ErrorKind::Crashed
                | ErrorKind::InUse
                | ErrorKind::NotFound
                | ErrorKind::OutOfMemory
                | ErrorKind::TimedOut
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.subject.is_empty() {
            write!(f, "{}: ", self.0.subject)?;
        }
        f.write_str(&self.0.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.0.source {
            Some(source) => Some(&**source),
            None => None,
        }
    }
}
