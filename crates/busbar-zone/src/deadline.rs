//! When a wait ends that callers have bounded.

use std::time::{Duration, Instant};

/// Longer than any process runs.
const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The moment so long from now. Callers may mean "for ever" by more than clocks can tell.
pub(crate) fn after(duration: Duration) -> Instant {
    Instant::now() + duration.min(FAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [Z07] a wait for ever was a panic
    #[test]
    fn for_ever_is_far_away() {
        assert!(after(Duration::MAX) > after(Duration::from_secs(3600)));
        assert!(after(Duration::ZERO) <= Instant::now());
    }
}
