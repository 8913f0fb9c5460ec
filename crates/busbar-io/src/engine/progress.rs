//! Whether a session gets on: who waits for an acknowledgement and hears nothing, asks.
//!
//! ```text
//! sent ─ silence ─→ PROBE ─ silence, twice as long ─→ PROBE … ─→ the connection is lost
//!   └←── anything was heard ──┘
//! ```
//!
//! How long a silence may be, `busbar_proto::session::Liveness` estimates by the times from PROBE
//! to PONG. Nothing here runs per message: one timer per connection looks now and then, while
//! something is awaited, whether anything has come since the last look.
//!
//! A dialer also asks when it has heard nothing for long, whether or not it awaits anything: its
//! listener may have found out that the connection leads nowhere, and can make no other.
//!
//! An end that holds its peer back, because nobody receives, does not read its PROBE either. It
//! gives a sign of life every now and then, unasked, and draws no conclusions itself. A loop that
//! was blocked for long asks once more before it blames its peer.

use std::time::{Duration, Instant};

use busbar_proto::frame::{Header, Kind};
use busbar_proto::session::{Liveness, RttEstimator, Session, Verdict};
use busbar_proto::{CloseReason, Code};
use bytes::Bytes;

use crate::connection::Connection;
use crate::engine::Engine;
use crate::engine::pipe::Phase;
use crate::engine::timers::Timer;
use crate::event::PipeId;

/// How often an end gives a sign of life that holds its peer back: oftener than anybody asks twice.
pub(super) const SIGN_EVERY: Duration = Duration::from_millis(250);

/// The part of the time for which a session is kept after which its dialer asks, unless it hears
/// anything.
const IDLE_PART: u32 = 4;

/// PONG with this number answers nothing.
const UNASKED: u64 = 0;

/// What is known of the connection that a session has.
#[derive(Debug)]
pub(super) struct Progress {
    liveness: Liveness,
    /// The least that is waited for.
    probe_after: Duration,
    /// How much had been heard at the last look.
    heard: u64,
    /// The number of the last PROBE.
    probe: u64,
    /// When a look is due.
    watched: Option<Instant>,
    /// For how long the connection may be silent while nothing is awaited: for ever, unless it is
    /// for this end to make another.
    idle_max: Option<Duration>,
    /// When it has been.
    idle_at: Option<Instant>,
    /// It has, so that an answer is awaited all the same.
    is_curious: bool,
    /// This end gives signs of life.
    pub(super) is_signing: bool,
}

impl Progress {
    pub(super) fn new(probe_after: Duration) -> Self {
        Self {
            liveness: Liveness::new(RttEstimator::beginning_at(probe_after)),
            probe_after,
            heard: 0,
            probe: UNASKED,
            watched: None,
            idle_max: None,
            idle_at: None,
            is_curious: false,
            is_signing: false,
        }
    }

    /// A connection stands. How long answers take was learnt on the others.
    pub(super) fn connected(
        &mut self,
        connection: &dyn Connection,
        session: &Session<Bytes>,
        is_dialer: bool,
    ) {
        let now = Instant::now();
        // A listener that has found out waits for the dialer, who has to find out in time.
        let idle_max = (session.timeout() / IDLE_PART).max(self.probe_after);
        *self = Self {
            liveness: Liveness::new(self.liveness.rtt()),
            heard: connection.heard().unwrap_or(0),
            idle_max: is_dialer.then_some(idle_max),
            ..Self::new(self.probe_after)
        };
        self.rest(now, session.is_expecting());
    }

    /// Something was sent that the peer is to acknowledge or to answer.
    #[inline]
    pub(super) fn handle_sent(&mut self, now: Instant) {
        self.liveness.handle_sent(now);
    }

    pub(super) fn handle_pong(&mut self, seq: u64) {
        if seq == self.probe && seq != UNASKED {
            self.liveness.handle_pong(Instant::now());
        }
    }

    /// When to look, unless that is known already.
    #[inline]
    fn watch(&mut self) -> Option<Instant> {
        let at = self.liveness.poll_timeout().or(self.idle_at)?;
        if self.watched.is_some_and(|watched| watched <= at) {
            return None;
        }
        self.watched = Some(at);
        Some(at)
    }

    /// What to do at `now`; `heard`: how much has come, or `None` if this end could not hear.
    fn look(&mut self, heard: Option<u64>, is_expecting: bool, now: Instant) -> Verdict {
        self.watched = None;
        if heard != Some(self.heard) {
            self.heard = heard.unwrap_or(self.heard);
            self.rest(now, is_expecting);
        } else if !is_expecting && !self.is_curious {
            self.is_curious = self.idle_at.is_some_and(|at| now >= at);
            self.liveness.handle_heard(now, self.is_curious);
        }
        let verdict = self.liveness.handle_timeout(now);
        if verdict == Verdict::Dead {
            self.idle_at = None;
        }
        verdict
    }

    /// The peer lives.
    fn rest(&mut self, now: Instant, is_expecting: bool) {
        self.is_curious = false;
        self.idle_at = self.idle_max.and_then(|idle| now.checked_add(idle));
        self.liveness.handle_heard(now, is_expecting);
    }
}

impl Engine {
    /// Sees to it that somebody looks whether the session of a pipe gets on.
    #[inline]
    pub(super) fn watch_progress(&mut self, id: PipeId) {
        let Some(entry) = self.pipes.get_mut(id.0) else { return };
        let (Some(reliable), Phase::Connected(connection)) = (&mut entry.reliable, &entry.phase)
        else {
            return;
        };
        if let Some(at) = reliable.progress.watch() {
            self.timers.set(Timer::Progress(id), at);
        }
        if connection.heard().is_none() && !reliable.progress.is_signing {
            reliable.progress.is_signing = true;
            self.timers.set_earlier(Timer::Speak(id), Instant::now() + SIGN_EVERY);
        }
    }

    /// Asks the peer for a sign of life, or gives up its connection.
    pub(super) fn look_for_progress(&mut self, id: PipeId, now: Instant) {
        let Some(entry) = self.pipes.get_mut(id.0).filter(|entry| entry.reason.is_none()) else {
            return;
        };
        let (Some(reliable), Phase::Connected(connection)) =
            (&mut entry.reliable, &mut entry.phase)
        else {
            return;
        };
        let is_expecting = reliable.session.is_expecting();
        match reliable.progress.look(connection.heard(), is_expecting, now) {
            Verdict::Wait => {}
            Verdict::Probe => {
                reliable.progress.probe += 1;
                let seq = reliable.progress.probe;
                // Where there is no room, there is something else for the peer to read.
                let _ = connection.send_control(&Header { seq, ..Header::new(Kind::Probe) });
            }
            Verdict::Dead => {
                let text = "the peer acknowledges nothing and answers nothing".to_owned();
                let code = Some(Code::ConnectionLost);
                return self.lose(id, CloseReason { code, status: 0, text });
            }
        }
        self.note_work(id);
        self.watch_progress(id);
    }
}

/// Gives a sign of life, unasked.
pub(super) fn sign(connection: &mut dyn Connection) {
    // Whoever has no room for it is about to say something else.
    let _ = connection.send_control(&Header { seq: UNASKED, ..Header::new(Kind::Pong) });
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// [D32] silence while something is awaited is asked about, three times; anything that is heard
    /// ends the questions, and an end that cannot hear does not ask
    #[test]
    fn silence_is_asked_about() {
        let start = Instant::now();
        let mut it = Progress::new(100 * MS);
        assert_eq!(it.watch(), None, "nothing is awaited");
        it.handle_sent(start);
        assert_eq!((it.watch(), it.watch()), (Some(start + 100 * MS), None));
        it.handle_sent(start + 50 * MS);
        assert_eq!(it.watch(), None, "once is enough");
        let mut now = start + 100 * MS;
        let mut look = |it: &mut Progress, heard: Option<u64>| {
            let verdict = it.look(heard, true, now);
            now = it.watch().unwrap_or(now);
            verdict
        };
        let (probe, wait) = (Verdict::Probe, Verdict::Wait);
        assert_eq!([look(&mut it, Some(0)), look(&mut it, Some(0))], [probe, probe]);
        assert_eq!([look(&mut it, Some(9)), look(&mut it, Some(9))], [wait, probe]);
        assert_eq!([look(&mut it, None), look(&mut it, None)], [wait, wait]);
        let rest = [9; 4].map(|heard| look(&mut it, Some(heard)));
        assert_eq!(rest, [probe, probe, probe, Verdict::Dead]);
        assert!(now - start > 1000 * MS, "each pause was longer than the last");
    }

    /// [D32] a dialer asks now and then, also if it awaits nothing, and is content with any answer
    #[test]
    fn dialers_ask_when_it_is_quiet() {
        let start = Instant::now();
        let mut it = Progress::new(100 * MS);
        it.idle_max = Some(1000 * MS);
        it.rest(start, false);
        assert_eq!(it.watch(), Some(start + 1000 * MS));
        it.handle_sent(start);
        assert_eq!(it.watch(), Some(start + 100 * MS), "what is awaited is looked for sooner");
        assert_eq!(it.look(Some(1), false, start + 100 * MS), Verdict::Wait);
        let mut said = Vec::new();
        while let Some(at) = it.watch() {
            said.push(((at - start).as_millis(), it.look(Some(1), false, at)));
        }
        let (probe, wait) = (Verdict::Probe, Verdict::Wait);
        let times = [1100, 1200, 1300, 1500, 1900];
        let verdicts = [wait, probe, probe, probe, Verdict::Dead];
        assert!(said.iter().copied().eq(times.into_iter().zip(verdicts)), "{said:?}");
    }

    /// [D32] only the answer to the last question says how long answers take
    #[test]
    fn only_the_answer_that_was_asked_for_is_a_sample() {
        let start = Instant::now();
        let mut it = Progress::new(10 * MS);
        it.handle_sent(start);
        assert_eq!(it.look(Some(0), true, start + 10 * MS), Verdict::Probe);
        it.probe = 1;
        it.handle_pong(UNASKED);
        it.handle_pong(7);
        assert_eq!(it.liveness.rtt().smoothed(), None);
        it.handle_pong(1);
        assert!(it.liveness.rtt().smoothed().is_some());
    }
}
