//! Token buckets: how many messages and bytes may pass in a time.
//!
//! A bucket holds up to `burst` tokens and gains `per_second` of them every second. Its level is
//! kept in tokens times nanoseconds, so that nothing is rounded whatever the rate is. A message
//! passes when the bucket has its tokens; one that is larger than the bucket passes when that is
//! full, and the debt is paid before the next.

use std::num::NonZeroU64;
use std::time::Duration;

/// How many tokens a bucket gains and holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a token bucket has these two parameters")]
pub struct Rate {
    /// Tokens gained per second.
    pub per_second: NonZeroU64,
    /// Tokens that can be saved up.
    pub burst: NonZeroU64,
}

/// Rates of messages and of payload bytes; both hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "messages and bytes are all there is to count")]
pub struct RateLimit {
    /// Messages; `None` is no limit.
    pub messages: Option<Rate>,
    /// Payload bytes; `None` is no limit.
    pub bytes: Option<Rate>,
}

/// The state of a [`RateLimit`].
#[derive(Debug)]
pub struct Throttle {
    messages: Option<Bucket>,
    bytes: Option<Bucket>,
}

impl Throttle {
    /// A throttle whose buckets are full at `now`.
    #[must_use]
    pub fn new(limit: RateLimit, now: Duration) -> Self {
        let bucket = |rate| Bucket::new(rate, now);
        Self { messages: limit.messages.map(bucket), bytes: limit.bytes.map(bucket) }
    }

    /// How long a message of `size` bytes has to wait from `now` on, if nothing else passes.
    pub fn wait(&mut self, size: usize, now: Duration) -> Duration {
        let messages = self.messages.as_mut().map(|bucket| bucket.wait(1, now));
        let bytes = self.bytes.as_mut().map(|bucket| bucket.wait(size as u64, now));
        messages.max(bytes).unwrap_or(Duration::ZERO)
    }

    /// A message passes that had to wait no more.
    pub fn spend(&mut self, size: usize) {
        if let Some(bucket) = &mut self.messages {
            bucket.spend(1);
        }
        if let Some(bucket) = &mut self.bytes {
            bucket.spend(size as u64);
        }
    }
}

#[derive(Debug)]
struct Bucket {
    rate: Rate,
    /// Tokens times [`SCALE`]; below 0 after a message that was larger than the bucket.
    level: i128,
    /// When `level` was right.
    at: Duration,
}

/// Nanoseconds in a second.
const SCALE: i128 = 1_000_000_000;

impl Bucket {
    fn new(rate: Rate, at: Duration) -> Self {
        Self { rate, level: i128::from(rate.burst.get()) * SCALE, at }
    }

    fn wait(&mut self, tokens: u64, now: Duration) -> Duration {
        let (full, speed) = (i128::from(self.rate.burst.get()) * SCALE, self.speed());
        let passed = now.saturating_sub(self.at).as_nanos().cast_signed();
        self.level = passed.saturating_mul(speed).saturating_add(self.level).min(full);
        self.at = self.at.max(now);
        let lack = (i128::from(tokens) * SCALE).min(full) - self.level;
        if lack <= 0 {
            return Duration::ZERO;
        }
        // Rounded up: a waiter that comes when told finds its tokens there.
        let nanos = (lack + speed - 1) / speed;
        u64::try_from(nanos).map_or(Duration::MAX, Duration::from_nanos)
    }

    fn spend(&mut self, tokens: u64) {
        self.level -= i128::from(tokens) * SCALE;
    }

    fn speed(&self) -> i128 {
        i128::from(self.rate.per_second.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_second: u64, burst: u64) -> Option<Rate> {
        let number = |n| NonZeroU64::new(n).unwrap();
        Some(Rate { per_second: number(per_second), burst: number(burst) })
    }

    /// Sends messages of `size` for `span`, as soon as the throttle lets them; returns how many.
    fn pass(throttle: &mut Throttle, size: usize, span: Duration) -> u64 {
        let (mut now, mut count) = (Duration::ZERO, 0);
        loop {
            match throttle.wait(size, now) {
                Duration::ZERO => {
                    throttle.spend(size);
                    count += 1;
                }
                wait => now += wait,
            }
            if now >= span {
                return count;
            }
        }
    }

    /// [D28] the rate over five seconds is exact, with the burst on top
    #[test]
    fn rates_of_messages_and_bytes_hold() {
        let span = Duration::from_secs(5);
        for (per_second, burst) in [(1, 1), (7, 3), (1000, 100), (999_983, 9), (50_000, 50_000)] {
            let limit = RateLimit { messages: rate(per_second, burst), bytes: None };
            let expected = per_second * 5 + burst;
            let passed = pass(&mut Throttle::new(limit, Duration::ZERO), 10, span);
            assert!(passed.abs_diff(expected) <= 1, "{passed} of {expected} at {per_second}/s");
            let limit = RateLimit { messages: None, bytes: rate(per_second * 10, burst * 10) };
            let passed = pass(&mut Throttle::new(limit, Duration::ZERO), 10, span);
            assert!(passed.abs_diff(expected) <= 1, "{passed} of {expected} at {per_second}0 B/s");
        }
    }

    /// [D28] of two limits, the stricter one holds
    #[test]
    fn the_stricter_limit_holds() {
        let limit = RateLimit { messages: rate(100, 1), bytes: rate(1000, 1000) };
        let small = pass(&mut Throttle::new(limit, Duration::ZERO), 1, Duration::from_secs(5));
        let large = pass(&mut Throttle::new(limit, Duration::ZERO), 100, Duration::from_secs(5));
        assert!((500..=502).contains(&small), "{small}");
        assert!((59..=61).contains(&large), "{large}");
    }

    /// [D28] a message larger than the bucket passes, and is paid for afterwards
    #[test]
    fn a_message_larger_than_the_burst_passes() {
        let limit = RateLimit { messages: None, bytes: rate(1000, 100) };
        let passed = pass(&mut Throttle::new(limit, Duration::ZERO), 500, Duration::from_secs(5));
        assert!((10..=11).contains(&passed), "{passed}");
    }

    /// [D28] a long pause saves up one burst and no more; a clock that stands still gives nothing
    #[test]
    fn a_pause_saves_up_one_burst() {
        let limit = RateLimit { messages: rate(10, 4), bytes: None };
        let mut throttle = Throttle::new(limit, Duration::ZERO);
        for now in [Duration::ZERO, Duration::from_secs(1 << 60)] {
            for _ in 0..4 {
                assert_eq!(throttle.wait(0, now), Duration::ZERO);
                throttle.spend(0);
            }
            assert_eq!(throttle.wait(0, now), Duration::from_millis(100));
            assert_eq!(throttle.wait(0, now / 2), Duration::from_millis(100));
        }
    }
}
