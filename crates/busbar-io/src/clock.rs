//! The time as `busbar-proto` wants it: since an origin that all engines of a process share.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

static ORIGIN: OnceLock<Instant> = OnceLock::new();

/// The time now.
pub(crate) fn now() -> Duration {
    ORIGIN.get_or_init(Instant::now).elapsed()
}

/// When it will be `time`, or has been; `None` if that is too far away to be reached.
pub(crate) fn instant(time: Duration) -> Option<Instant> {
    ORIGIN.get_or_init(Instant::now).checked_add(time)
}
