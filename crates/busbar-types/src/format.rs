//! The formats a value can be written in, as the flags that registry entries and plugins carry.

use std::fmt;
use std::ops::{BitAnd, BitOr};

/// A set of formats. The bits are part of the plugin ABI.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Formats(u32);

impl Formats {
    /// No format.
    pub const NONE: Self = Self(0);
    /// rkyv archives, read in place.
    pub const RKYV: Self = Self(1);
    /// Cap'n Proto messages.
    pub const CAPNP: Self = Self(2);
    /// JSON.
    pub const JSON: Self = Self(4);

    const NAMES: [(Self, &'static str); 3] =
        [(Self::RKYV, "rkyv"), (Self::CAPNP, "capnp"), (Self::JSON, "json")];

    /// The set with these bits; unknown ones are dropped.
    #[must_use]
    pub const fn from_bits_truncate(bits: u32) -> Self {
        Self(bits & 7)
    }

    /// The format with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(format, _)| *format)
    }

    /// The bits, as plugins carry them.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether all of `other` are in it.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Formats {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for Formats {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// The names, joined by `|`.
impl fmt::Display for Formats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Self::NAMES.iter().filter(|(format, _)| self.contains(*format));
        f.pad(&names.map(|(_, name)| *name).collect::<Vec<_>>().join("|"))
    }
}
