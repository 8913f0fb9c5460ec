//! How calls across the boundary end.

use core::fmt;

/// `busbar_status`: 0 is done, 1 pending, negative failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Status(pub i32);

impl Status {
    /// Done.
    pub const OK: Self = Self(0);
    /// Will be completed later.
    pub const PENDING: Self = Self(1);
    /// An argument makes no sense.
    pub const INVALID: Self = Self(-1);
    /// The result takes more room; `len` says how much. The call may have had its effect.
    pub const BUFFER_TOO_SMALL: Self = Self(-2);
    /// The plugin does not do this.
    pub const UNSUPPORTED: Self = Self(-3);
    /// The bytes are no value of the type.
    pub const SCHEMA_MISMATCH: Self = Self(-4);
    /// A bug in the plugin: its instance is never called again.
    pub const PANIC: Self = Self(-5);
    /// The call was cancelled.
    pub const CANCELLED: Self = Self(-6);
    /// The call took too long.
    pub const TIMEOUT: Self = Self(-7);
    /// The same call may succeed later.
    pub const AGAIN: Self = Self(-8);
    /// What was called is closed.
    pub const CLOSED: Self = Self(-9);
    /// There is no memory.
    pub const NOMEM: Self = Self(-10);
    /// The process of the plugin ended.
    pub const CRASHED: Self = Self(-11);
    /// Something that cannot be.
    pub const INTERNAL: Self = Self(-12);
    /// A method of the parent failed.
    pub const PARENT: Self = Self(-13);
    /// An object that is gone, or was never there.
    pub const STALE: Self = Self(-14);
    /// The first of the plugin's own: all below are, too.
    pub const PLUGIN: Self = Self(-1000);

    /// Whether it is a failure.
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.0 < 0
    }

    /// Whether it is a failure whose meaning is the plugin's.
    #[must_use]
    pub const fn is_plugin_defined(self) -> bool {
        self.0 <= Self::PLUGIN.0
    }

    /// Its name in the header, without prefix.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::OK => "OK",
            Self::PENDING => "PENDING",
            Self::INVALID => "E_INVALID",
            Self::BUFFER_TOO_SMALL => "E_BUFFER_TOO_SMALL",
            Self::UNSUPPORTED => "E_UNSUPPORTED",
            Self::SCHEMA_MISMATCH => "E_SCHEMA_MISMATCH",
            Self::PANIC => "E_PANIC",
            Self::CANCELLED => "E_CANCELLED",
            Self::TIMEOUT => "E_TIMEOUT",
            Self::AGAIN => "E_AGAIN",
            Self::CLOSED => "E_CLOSED",
            Self::NOMEM => "E_NOMEM",
            Self::CRASHED => "E_CRASHED",
            Self::INTERNAL => "E_INTERNAL",
            Self::PARENT => "E_PARENT",
            Self::STALE => "E_STALE",
            _ => return None,
        })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => write!(f, "status {}", self.0),
        }
    }
}
