//! The time as `busbar-proto` wants it: since an origin that all engines of a process share.
//!
//! Unit tests turn the clock of their thread on by `advance`.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

static ORIGIN: OnceLock<Instant> = OnceLock::new();

/// The time now.
#[cfg(not(test))]
pub(crate) fn now() -> Duration {
    ORIGIN.get_or_init(Instant::now).elapsed()
}

#[cfg(test)]
pub(crate) use controlled::{advance, now};

/// As microseconds of the machine's monotonic clock, which all its processes share.
#[cfg(target_os = "linux")]
pub(crate) fn to_machine(time: Duration) -> u64 {
    let micros = time.saturating_add(origin_of_machine()).as_micros();
    u64::try_from(micros).unwrap_or(u64::MAX)
}

/// The other way round; what was before the origin is the origin.
#[cfg(target_os = "linux")]
pub(crate) fn of_machine(micros: u64) -> Duration {
    Duration::from_micros(micros).saturating_sub(origin_of_machine())
}

/// What the machine's clock says at the origin.
#[cfg(target_os = "linux")]
fn origin_of_machine() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    static AT: OnceLock<Duration> = OnceLock::new();
    *AT.get_or_init(|| {
        let now = clock_gettime(ClockId::Monotonic);
        let since_boot = Duration::try_from(now).unwrap_or_default();
        since_boot.saturating_sub(ORIGIN.get_or_init(Instant::now).elapsed())
    })
}

/// When `instant` is, or was; not before the origin.
pub(crate) fn time(instant: Instant) -> Duration {
    instant.saturating_duration_since(*ORIGIN.get_or_init(Instant::now))
}

/// When it will be `time`, or has been; `None` if that is too far away to be reached.
pub(crate) fn instant(time: Duration) -> Option<Instant> {
    ORIGIN.get_or_init(Instant::now).checked_add(time)
}

#[cfg(test)]
mod controlled {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        static AHEAD: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    }

    pub(crate) fn now() -> Duration {
        ORIGIN.get_or_init(Instant::now).elapsed() + AHEAD.get()
    }

    /// It is so much later from now on, for this thread.
    pub(crate) fn advance(by: Duration) {
        AHEAD.set(AHEAD.get() + by);
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// [D26] the machine's time is the process' own, to the microsecond
    #[test]
    fn the_time_of_the_machine_and_back() {
        for time in [Duration::ZERO, now(), Duration::from_secs(1 << 30)] {
            let there_and_back = of_machine(to_machine(time));
            assert!(there_and_back.abs_diff(time) <= Duration::from_micros(1), "{time:?}");
        }
        assert_eq!(of_machine(0), Duration::ZERO);
        assert_eq!(to_machine(Duration::MAX), u64::MAX);
    }
}
