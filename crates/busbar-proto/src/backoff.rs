//! When to try again: delays that grow, with jitter, and begin anew after a connection that lasted.
//!
//! | | |
//! |---|---|
//! | delay before attempt n (from 0) | d = initial × factor^n, at most `max` |
//! | jitter | up to d × `jitter` on top, so that those who were cut off together do not come back together |
//! | attempts | given up after `attempts_max` in a row; 0: never |
//! | begins anew | after a connection that lasted at least as long as the delay before it |
//!
//! Time and entropy are arguments.

use std::time::Duration;

use crate::{Code, Error};

/// How to try again.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Backoff {
    /// Delay before the first attempt.
    pub initial: Duration,
    /// The longest delay, without jitter.
    pub max: Duration,
    /// By what the delay grows from attempt to attempt.
    pub factor: f64,
    /// The part of the delay that may come on top of it.
    pub jitter: f64,
    /// Attempts in a row; 0 is without end.
    pub attempts_max: u32,
}

impl Default for Backoff {
    /// From 100 ms to 30 s, twice as long each time, up to half of it on top, without end.
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(100),
            max: Duration::from_secs(30),
            factor: 2.0,
            jitter: 0.5,
            attempts_max: 0,
        }
    }
}

impl Backoff {
    /// Checks every value against its bounds.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the value and its bounds.
    pub fn validate(&self) -> Result<(), Error> {
        let invalid = |what: &'static str| Err(Error::new(Code::InvalidArgument, what));
        if self.initial.is_zero() || self.initial > self.max || self.max > DELAY_MAX {
            return invalid("reconnect: initialMs must be above 0 and maxMs from there to a day");
        }
        if !(1.0..=100.0).contains(&self.factor) {
            return invalid("reconnect: factor must be 1 to 100");
        }
        if !(0.0..=1.0).contains(&self.jitter) {
            return invalid("reconnect: jitter must be 0 to 1");
        }
        Ok(())
    }

    /// The delay before attempt `n` of a row, counted from 0.
    #[must_use]
    pub fn delay(&self, n: u32, entropy: u64) -> Duration {
        let grown = self.factor.powf(f64::from(n.min(GROWTH_MAX)));
        let delay = (self.initial.as_secs_f64() * grown).min(self.max.as_secs_f64());
        // The upper 53 bits as a number from 0 to 1.
        let part = (entropy >> 11) as f64 / ((1_u64 << 53) - 1) as f64;
        Duration::from_secs_f64(delay * (1.0 + self.jitter * part))
    }
}

/// A row of attempts.
#[derive(Clone, Copy, Debug)]
pub struct Retries {
    policy: Backoff,
    /// Attempts of this row.
    made: u32,
    last: Duration,
}

impl Retries {
    /// None made so far.
    #[must_use]
    pub const fn new(policy: Backoff) -> Self {
        Self { policy, made: 0, last: Duration::ZERO }
    }

    /// The delay before the next attempt; `None`: there is none.
    pub fn next(&mut self, entropy: u64) -> Option<Duration> {
        if self.policy.attempts_max != 0 && self.made >= self.policy.attempts_max {
            return None;
        }
        self.last = self.policy.delay(self.made, entropy);
        self.made = self.made.saturating_add(1);
        Some(self.last)
    }

    /// A connection that has `lasted` so long was lost. One that was gone at once counts as another
    /// failure, or whoever accepts and hangs up would be dialed without a pause.
    pub fn lost(&mut self, lasted: Duration) {
        if lasted >= self.last {
            self.made = 0;
        }
    }
}

/// Beyond, no delay grows any more.
const GROWTH_MAX: u32 = 1000;

const DELAY_MAX: Duration = Duration::from_secs(86_400);
