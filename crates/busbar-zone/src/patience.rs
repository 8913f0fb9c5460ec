//! How long to look for something before sleeping until it comes. On another core, whoever sleeps
//! is woken tens of microseconds later, and whoever looks finds it within one; but looking takes a
//! core. So it is done only as long as it was of use lately.
//!
//! | | |
//! |---|---|
//! | it came while somebody looked | as long again |
//! | it did not | half as long, and soon not at all |
//! | it came soon after somebody slept | as long as ever |

use std::hint::spin_loop;
use std::sync::OnceLock;
use std::thread::yield_now;
use std::time::{Duration, Instant};

/// As long as it takes another thread to be woken, and a little more.
const LONGEST: Duration = Duration::from_micros(100);
/// What is shorter is not worth a look at the clock.
const SHORTEST: Duration = Duration::from_micros(2);
/// Looks between two looks at the clock.
const LOOKS: u32 = 16;

/// How long its owner looks the next time.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    next: Duration,
    most: Duration,
}

impl Default for Patience {
    /// None where there is one processor: then what is looked for cannot come meanwhile.
    fn default() -> Self {
        static PROCESSORS: OnceLock<usize> = OnceLock::new();
        let processors = *PROCESSORS
            .get_or_init(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
        Self::of(if processors > 1 { LONGEST } else { Duration::ZERO })
    }
}

impl Patience {
    fn of(most: Duration) -> Self {
        Self { next: most, most }
    }

    /// Whether looking may be of use.
    #[must_use]
    pub fn is_left(&self) -> bool {
        !self.next.is_zero()
    }

    /// Looks until `is_there`, or as long as it may be of use; whether it is there.
    pub fn look(&mut self, mut is_there: impl FnMut() -> bool) -> bool {
        if self.next.is_zero() {
            return is_there();
        }
        let begin = Instant::now();
        loop {
            for _ in 0..LOOKS {
                if is_there() {
                    return true;
                }
                spin_loop();
            }
            if begin.elapsed() >= self.next {
                break;
            }
            // Whoever is to bring it may wait for this very core.
            yield_now();
        }
        let half = self.next / 2;
        self.next = if half < SHORTEST { Duration::ZERO } else { half };
        false
    }

    /// It came `after` so much time: looking is of use again, if that was soon.
    pub fn found(&mut self, after: Duration) {
        if after <= 2 * self.most {
            self.next = self.most;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [Z09] who looks in vain soon sleeps at once, and looks again once that is of use
    #[test]
    fn patience_ends_and_comes_back() {
        let mut patience = Patience::of(LONGEST);
        let looks = (0..).take_while(|_| patience.is_left() && !patience.look(|| false)).count();
        assert_eq!(looks, 6);
        assert!(!patience.is_left());
        patience.found(Duration::from_millis(10));
        assert!(!patience.is_left());
        patience.found(LONGEST);
        assert!(patience.is_left());
        assert!(patience.look(|| true));
    }

    /// [Z09] on one processor nobody looks
    #[test]
    fn one_processor_has_no_patience() {
        let mut patience = Patience::of(Duration::ZERO);
        let mut looks = 0;
        assert!(!patience.look(|| {
            looks += 1;
            false
        }));
        assert_eq!(looks, 1);
        patience.found(Duration::from_micros(1));
        assert!(!patience.is_left());
    }
}
