//! Whether a connection still leads anywhere: how long an answer may take, and what to do if there
//! is none.
//!
//! The estimator is that of RFC 6298, fed with the times from PROBE to PONG. A silent connection is
//! not suspicious as long as nothing is expected of it:
//!
//! | | next | when |
//! |---|---|---|
//! | nothing expected | expecting | something was sent that is to be answered |
//! | expecting | probed | nothing was heard for as long as an answer takes |
//! | probed | probed again, waiting twice as long | nothing was heard |
//! | probed [`PROBES_MAX`] times | dead | nothing was heard |
//! | any | expecting, or nothing expected | anything was heard |

use std::time::{Duration, Instant};

/// Probes without an answer after which a connection is given up.
pub const PROBES_MAX: u32 = 3;

/// How long an answer takes, by RFC 6298.
#[derive(Clone, Copy, Debug)]
pub struct RttEstimator {
    smoothed: Option<Duration>,
    variation: Duration,
    floor: Duration,
    initial: Duration,
}

/// What is to be done about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "whoever asks must handle every answer")]
pub enum Verdict {
    /// Nothing yet.
    Wait,
    /// Ask the peer whether it is there.
    Probe,
    /// Give the connection up and make another.
    Dead,
}

/// Watches one connection.
#[derive(Clone, Copy, Debug)]
pub struct Liveness {
    rtt: RttEstimator,
    /// When something must have been heard.
    deadline: Option<Instant>,
    probes: u32,
    /// When the last probe went out, unless it is not known which probe an answer would be for.
    probed: Option<Instant>,
}

impl RttEstimator {
    /// The most that is waited for an answer.
    pub const TIMEOUT_MAX: Duration = Duration::from_secs(60);

    /// An estimator that never says less than `floor`: RFC 6298 wants a second, which is long
    /// between two processes of one machine.
    #[must_use]
    pub const fn new(floor: Duration) -> Self {
        // RFC 6298 (2.1)
        Self { smoothed: None, variation: Duration::ZERO, floor, initial: Duration::from_secs(1) }
    }

    /// The same, which also says `floor` as long as there was no answer.
    #[must_use]
    pub const fn beginning_at(floor: Duration) -> Self {
        Self { initial: floor, ..Self::new(floor) }
    }

    /// An answer took this long.
    pub fn handle_sample(&mut self, rtt: Duration) {
        match self.smoothed {
            // RFC 6298 (2.2)
            None => {
                self.smoothed = Some(rtt);
                self.variation = rtt / 2;
            }
            // RFC 6298 (2.3): β = 1/4, α = 1/8
            Some(smoothed) => {
                let off = smoothed.abs_diff(rtt);
                self.variation = self.variation * 3 / 4 + off / 4;
                self.smoothed = Some(smoothed * 7 / 8 + rtt / 8);
            }
        }
    }

    /// The smoothed time of an answer, once there was one.
    #[must_use]
    pub const fn smoothed(&self) -> Option<Duration> {
        self.smoothed
    }

    /// How long to wait for an answer before it is missing.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        // RFC 6298 (2.3)
        let timeout = self.smoothed.map_or(self.initial, |smoothed| smoothed + 4 * self.variation);
        timeout.min(Self::TIMEOUT_MAX).max(self.floor)
    }
}

impl Liveness {
    /// A new connection; what was learnt of `rtt` on an earlier one may go on being used.
    #[must_use]
    pub const fn new(rtt: RttEstimator) -> Self {
        Self { rtt, deadline: None, probes: 0, probed: None }
    }

    /// What is known of the time that answers take.
    #[must_use]
    pub const fn rtt(&self) -> RttEstimator {
        self.rtt
    }

    /// Something was sent that the peer is to answer.
    pub fn handle_sent(&mut self, now: Instant) {
        if self.deadline.is_none() {
            self.deadline = now.checked_add(self.rtt.timeout());
        }
    }

    /// Something has arrived; `is_expecting`: an answer is still to come.
    pub fn handle_heard(&mut self, now: Instant, is_expecting: bool) {
        self.probes = 0;
        self.deadline = None;
        if is_expecting {
            self.handle_sent(now);
        }
    }

    /// The answer to a probe has arrived.
    pub fn handle_pong(&mut self, now: Instant) {
        if let Some(probed) = self.probed.take() {
            self.rtt.handle_sample(now.saturating_duration_since(probed));
        }
    }

    /// When [`Liveness::handle_timeout`] has something to say.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// The time is `now`: what to do.
    pub fn handle_timeout(&mut self, now: Instant) -> Verdict {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return Verdict::Wait;
        }
        if self.probes == PROBES_MAX {
            self.deadline = None;
            return Verdict::Dead;
        }
        // Karn's algorithm, RFC 6298 (3): of a repeated probe one does not know which is answered.
        self.probed = (self.probes == 0).then_some(now);
        // RFC 6298 (5.5): back off.
        let timeout = self.rtt.timeout() * 2u32.pow(self.probes);
        self.probes += 1;
        let most = RttEstimator::TIMEOUT_MAX.max(self.rtt.timeout());
        self.deadline = now.checked_add(timeout.min(most));
        Verdict::Probe
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// [D32] RFC 6298: first sample, smoothing, floor and ceiling
    #[test]
    fn estimates_as_the_rfc_says() {
        let mut rtt = RttEstimator::new(10 * MS);
        assert_eq!(rtt.timeout(), 1000 * MS);
        rtt.handle_sample(100 * MS);
        assert_eq!((rtt.smoothed(), rtt.timeout()), (Some(100 * MS), 300 * MS));
        rtt.handle_sample(180 * MS);
        assert_eq!(rtt.smoothed(), Some(110 * MS));
        assert_eq!(rtt.timeout(), 110 * MS + 4 * (50 * MS * 3 / 4 + 20 * MS));
        for _ in 0..200 {
            rtt.handle_sample(MS);
        }
        assert_eq!(rtt.timeout(), 10 * MS);
        rtt.handle_sample(Duration::from_secs(3600));
        assert_eq!(rtt.timeout(), RttEstimator::TIMEOUT_MAX);
        let hour = Duration::from_secs(3600);
        assert_eq!(RttEstimator::beginning_at(10 * MS).timeout(), 10 * MS);
        assert_eq!(RttEstimator::beginning_at(hour).timeout(), hour, "who asks for more gets it");
    }

    /// [D32] no progress, then probes with longer and longer pauses, then the end; one sign of life
    /// resets it all
    #[test]
    fn silence_ends_a_connection_of_which_something_is_expected() {
        let start = Instant::now();
        let mut it = Liveness::new(RttEstimator::new(10 * MS));
        assert_eq!(it.poll_timeout(), None, "nothing is expected");
        it.handle_sent(start);
        it.handle_sent(start + 500 * MS);
        let mut said = Vec::new();
        while let Some(at) = it.poll_timeout() {
            assert_eq!(it.handle_timeout(at - MS), Verdict::Wait);
            said.push(((at - start).as_millis(), it.handle_timeout(at)));
        }
        let probe = Verdict::Probe;
        assert_eq!(said, [(1000, probe), (2000, probe), (4000, probe), (8000, Verdict::Dead)]);

        it.handle_heard(start, true);
        assert_eq!(it.handle_timeout(start + 1000 * MS), Verdict::Probe);
        it.handle_heard(start + 1040 * MS, false);
        it.handle_pong(start + 1040 * MS);
        assert_eq!((it.rtt().smoothed(), it.poll_timeout()), (Some(40 * MS), None));
    }

    /// [D32] the answer to a repeated probe says nothing of how long answers take
    #[test]
    fn repeated_probes_are_no_samples() {
        let start = Instant::now();
        let mut it = Liveness::new(RttEstimator::new(10 * MS));
        it.handle_sent(start);
        for _ in 0..2 {
            it.handle_timeout(it.poll_timeout().unwrap());
        }
        it.handle_pong(start + 2500 * MS);
        assert_eq!(it.rtt().smoothed(), None);
    }
}
