//! The one error type of the Rust side: a [`Code`] to branch on, a message for a person, and the
//! error underneath if there is one.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use crate::Code;

/// Why an operation failed. Cheap to clone, so that one failure can reach every waiter.
#[derive(Clone, Debug)]
pub struct Error {
    code: Code,
    message: Cow<'static, str>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error with `code`; the message says what happened and what to do about it.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), source: None }
    }

    /// The same error with `source` underneath.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// The code to branch on.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// The message, without the code and without the source.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the same call may succeed later without any change by the caller.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.code.is_retryable()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.message)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// [D10] code, retryable flag, message and cause all survive a clone
    #[test]
    fn clone_keeps_code_message_and_source() {
        let io = std::io::Error::other("disk on fire");
        let error = Error::new(Code::NotFound, "nobody listens at shm://a").with_source(io).clone();
        assert_eq!(error.code(), Code::NotFound);
        assert!(error.is_retryable());
        assert_eq!(error.to_string(), "nobody listens at shm://a");
        assert_eq!(error.source().expect("a source").to_string(), "disk on fire");
    }
}
