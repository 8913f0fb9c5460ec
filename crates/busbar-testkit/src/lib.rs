//! What tests of several crates need, and nothing else does: a network that fails on purpose, with
//! a clock of its own.
//!
//! A run is a function of its seed. A test that goes through seeds asks [`seeds`] for them, and
//! says the seed when it fails; `BUSBAR_SIM_SEED=seed` runs that one alone.
#![forbid(unsafe_code)]

pub mod sim;

mod random;

pub use random::Random;

use std::ops::Range;

/// The seeds of a test: the first `count`, or as many as `BUSBAR_SIM_SEEDS` says, or just the one
/// that `BUSBAR_SIM_SEED` names.
///
/// # Panics
/// If one of the variables is not a number.
#[must_use]
pub fn seeds(count: u64) -> Range<u64> {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        let parsed = text.parse::<u64>();
        Some(parsed.unwrap_or_else(|_| panic!("{name} is {text}; it must be a number")))
    };
    match number("BUSBAR_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("BUSBAR_SIM_SEEDS").unwrap_or(count),
    }
}
