//! Hostile input: mutations of good input, from a seed.

use crate::random::{Rng, any};

/// Changes a few bytes, as accidents or attackers would.
pub(crate) fn mutate(rng: &mut Rng, bytes: &mut [u8]) {
    for _ in 0..1 + rng.below(3) {
        let at = rng.below(bytes.len());
        match rng.below(5) {
            0 => bytes[at] = any(rng),
            1 => bytes[at] ^= 1 << rng.below(8),
            2 => bytes[at] = bytes[at].wrapping_add(4),
            3 => bytes[at] = 0,
            _ => {
                let from = rng.below(bytes.len());
                let len = (bytes.len() - at.max(from)).min(8);
                bytes.copy_within(from..from + len, at);
            }
        }
    }
}

/// How many mutations hostile input is tried with, over all types.
pub(crate) fn rounds(usually: u64) -> u64 {
    let rounds = std::env::var("BUSBAR_FUZZ_ROUNDS").ok();
    rounds.map_or(usually, |rounds| rounds.parse().expect("a number of rounds"))
}
