//! Sequence numbers, which count on over the end of their range.

/// The place of a message in its channel. Numbers wrap: compare them with [`Seq::since`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Seq(pub u64);

impl Seq {
    /// The number `n` after this one.
    #[must_use]
    pub const fn plus(self, n: u64) -> Self {
        Self(self.0.wrapping_add(n))
    }

    /// How far this number is after `earlier`; `None` if it is before it, which is what every
    /// number is said to be that is half of the range or more ahead.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Option<u64> {
        let ahead = self.0.wrapping_sub(earlier.0);
        if ahead <= u64::MAX / 2 { Some(ahead) } else { None }
    }
}
