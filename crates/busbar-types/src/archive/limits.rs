//! How far hostile input can drive whoever walks archives, messages and JSON by a schema.

use super::source::broken;
use crate::Error;

/// Pointers behind pointers in an archive that is read as a Rust type. A level takes some hundred
/// bytes of the stack, a few thousand without optimization, and strangers say how many there are.
pub const DEPTH_MAX: u32 = 128;

/// Bounds on one message, archive or JSON document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "meant to be written as a literal")]
pub struct Limits {
    /// Structs and lists inside each other. Other implementations of Cap'n Proto stop at 64, too.
    pub depth_max: u32,
    /// The largest message and the largest archive that is made.
    pub bytes_max: usize,
    /// Values in the JSON that is made.
    pub values_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth_max: 64, bytes_max: 64 << 20, values_max: 4 << 20 }
    }
}

/// How deep a walk is.
#[derive(Debug)]
pub(crate) struct Depth {
    now: u32,
    max: u32,
}

impl Depth {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { now: 0, max: limits.depth_max }
    }

    /// One step further in.
    pub(crate) fn enter(&mut self) -> Result<(), Error> {
        if self.now == self.max {
            return Err(broken(format!("is nested more than {} structs and lists deep", self.max)));
        }
        self.now += 1;
        Ok(())
    }

    /// One step out. A walk that ends with an error need not take it.
    pub(crate) fn leave(&mut self) {
        self.now -= 1;
    }
}
