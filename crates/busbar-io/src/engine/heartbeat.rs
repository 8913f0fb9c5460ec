//! Signs of life: who says nothing for too long is lost.
//!
//! Each end promises in its HELLO what the other asks for in its own: to send something at least
//! every so often, PING if there is nothing else. So the end that listens needs no answer, and a
//! peer that lives but reads slowly is not mistaken for one that is gone. An end that holds its
//! peer back, because nobody receives, hears nothing and draws no conclusions.
//!
//! Both look twice in an interval: who speaks is then never silent for longer than that, and
//! silence is found out at most half an interval late. A loop that was blocked for long has missed
//! one look and not many, so that it does not blame its peers.

use std::time::{Duration, Instant};

use busbar_proto::{CloseReason, Code};

use crate::engine::Engine;
use crate::engine::pipe::{Phase, PipeEntry};
use crate::engine::progress::{SIGN_EVERY, sign};
use crate::engine::timers::Timer;
use crate::event::PipeId;

/// What was seen at the last looks.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    heard: u64,
    said: u64,
    /// Looks in a row that have found nothing new.
    silent: u32,
}

impl Engine {
    /// Begins to listen and to speak on a connection that was just made, as far as its ends agree.
    pub(super) fn start_heartbeat(&mut self, id: PipeId) {
        let Some(entry) = self.pipes.get_mut(id.0) else { return };
        let Phase::Connected(connection) = &entry.phase else { return };
        let terms = connection.terms();
        entry.pulse = Pulse::default();
        let now = Instant::now();
        if let Some(every) = terms.speak_every {
            self.timers.set(Timer::Speak(id), now + every / 2);
        }
        if let (Some(heartbeat), true) = (entry.heartbeat, terms.is_spoken_to) {
            self.timers.set(Timer::Hear(id), now + heartbeat.interval / 2);
        }
    }

    /// Says that this end lives, unless something else was said since the last time.
    pub(super) fn speak(&mut self, id: PipeId, now: Instant) {
        let Some(entry) = self.pipes.get_mut(id.0).filter(|entry| entry.reason.is_none()) else {
            return;
        };
        let Phase::Connected(connection) = &mut entry.phase else { return };
        let every = connection.terms().speak_every.map(|every| every / 2);
        if connection.said() == entry.pulse.said {
            match every {
                Some(_) => connection.ping(),
                None => sign(&mut **connection),
            }
        }
        entry.pulse.said = connection.said();
        let mut next = every;
        if let Some(reliable) = &mut entry.reliable {
            reliable.progress.is_signing = connection.heard().is_none();
            let sign = reliable.progress.is_signing.then_some(SIGN_EVERY);
            next = [every, sign].into_iter().flatten().min();
        }
        if let Some(next) = next {
            self.timers.set(Timer::Speak(id), now + next);
        }
        self.note_work(id);
    }

    /// Ends the connection if the peer has been silent for too long.
    pub(super) fn listen_for_life(&mut self, id: PipeId, now: Instant) {
        let Some(entry) = self.pipes.get_mut(id.0).filter(|entry| entry.reason.is_none()) else {
            return;
        };
        let Some(heartbeat) = entry.heartbeat else { return };
        if !is_silent(entry) {
            entry.pulse.silent = 0;
        } else {
            entry.pulse.silent += 1;
            // Half an interval may have passed before the first look.
            if entry.pulse.silent >= 2 * heartbeat.misses - 1 {
                return self.lose(id, silence(heartbeat.interval * heartbeat.misses));
            }
        }
        self.timers.set(Timer::Hear(id), now + heartbeat.interval / 2);
    }

    /// Gives up a connection whose peer is taken for dead.
    pub(super) fn lose(&mut self, id: PipeId, reason: CloseReason) {
        if let Some(connection) = self.connection(id) {
            connection.sever();
        }
        self.ended_by_peer(id, Some(reason));
    }
}

/// Whether nothing has come since the last look.
fn is_silent(entry: &mut PipeEntry) -> bool {
    let Phase::Connected(connection) = &entry.phase else { return false };
    match connection.heard() {
        None => false,
        Some(heard) => heard == std::mem::replace(&mut entry.pulse.heard, heard),
    }
}

fn silence(patience: Duration) -> CloseReason {
    let text = format!("nothing was heard of the peer for {patience:?}");
    CloseReason { code: Some(Code::ConnectionLost), status: 0, text }
}
