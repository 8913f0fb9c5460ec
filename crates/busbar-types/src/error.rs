//! The error type of this crate: a kind to branch on, where in a type or value it happened, and a
//! message for a person. The Node-API edge turns [`ErrorKind::code`] into the `ERR_*` code that
//! JavaScript sees; nothing here knows that table.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// What went wrong, as something programs may branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Bytes are not a valid archive of the type. Whoever made them is at fault.
    ArchiveInvalid,
    /// The target has too little room. The caller is at fault: the message says how much it takes.
    BufferTooSmall,
    /// No writer and no fallback makes this format for this type. The caller is at fault.
    FormatUnsupported,
    /// A registered type is in use and cannot be taken out now. Retry when its calls are done.
    InUse,
    /// What is named does not exist. The caller is at fault, or came too early.
    NotFound,
    /// The operating system refused a call. The environment is at fault.
    Io,
    /// A descriptor or a schema text contradicts itself. Whoever made it is at fault.
    SchemaInvalid,
    /// Two versions of a type do not fit together. Neither is broken: deploy the same version.
    SchemaMismatch,
    /// An enum value of a newer version has a variant this version does not know.
    SchemaVariant,
    /// A value cannot be written. The value or its writer is at fault: the message says why.
    SerializeFailed,
    /// No type with this name and hash is registered. The caller is at fault.
    TypeNotFound,
}

impl ErrorKind {
    /// The code this kind has everywhere outside of this crate, such as `ERR_SCHEMA_INVALID`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::ArchiveInvalid => "ERR_ARCHIVE_INVALID",
            Self::BufferTooSmall => "ERR_BUFFER_TOO_SMALL",
            Self::FormatUnsupported => "ERR_FORMAT_UNSUPPORTED",
            Self::InUse => "ERR_IN_USE",
            Self::Io => "ERR_IO",
            Self::NotFound => "ERR_NOT_FOUND",
            Self::SchemaInvalid => "ERR_SCHEMA_INVALID",
            Self::SchemaMismatch => "ERR_SCHEMA_MISMATCH",
            Self::SchemaVariant => "ERR_SCHEMA_VARIANT",
            Self::SerializeFailed => "ERR_SERIALIZE_FAILED",
            Self::TypeNotFound => "ERR_TYPE_NOT_FOUND",
        }
    }
}

/// Why an operation on types failed. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Error {
    kind: ErrorKind,
    path: String,
    message: Cow<'static, str>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind`; the message says what happened and what to do about it.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, path: String::new(), message: message.into(), source: None }
    }

    /// The same error, said of the place `path`, such as `market.Order.tags[]`.
    #[must_use]
    pub fn at(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// The same error with `source` underneath.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// The kind to branch on.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Where in the type or value it happened; empty where no single place is to blame.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The message, without the path and without the source.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the same call may succeed later without any change by the caller.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.kind == ErrorKind::InUse
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            return f.pad(&self.message);
        }
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.source {
            Some(source) => Some(&**source),
            None => None,
        }
    }
}
