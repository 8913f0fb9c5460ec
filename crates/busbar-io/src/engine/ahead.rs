//! Looking ahead: waiting for an answer in the very call that wants it.
//!
//! Where answers come within a microsecond or two, leaving the caller, going round its loop and
//! calling it again takes longer than the answer does. Only pipes that spin ([`Wait::LowLatency`],
//! [`Wait::Busy`](crate::Wait::Busy)) look ahead, and only within bounds for each turn, since
//! nothing else of the loop goes on meanwhile.
//!
//! [`Wait::LowLatency`]: crate::Wait::LowLatency

use std::time::{Duration, Instant};

use crate::engine::Engine;
use crate::engine::readiness::SPIN_SLICE;
use crate::event::PipeId;

/// Times to look ahead in one turn.
const AHEADS_MAX: u32 = 32;

/// Looks before the clock is read.
const LOOKS_PER_CLOCK: u32 = 32;

/// What was looked ahead in this turn.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ahead {
    count: u32,
    until: Option<Instant>,
}

impl Engine {
    /// Waits, without sleeping, for something to receive from a pipe, if its options ask for that
    /// and it has been of use lately; a slice in a turn at most.
    pub fn look_ahead(&mut self, id: PipeId) {
        self.flush();
        let Some(entry) = self.pipes.get_mut(id.0) else { return };
        if self.ahead.count >= AHEADS_MAX || entry.is_readable() || !entry.may_look_ahead() {
            return;
        }
        self.ahead.count += 1;
        let is_polled = entry.is_polled();
        let mut is_first = true;
        loop {
            let Some(entry) = self.pipes.get_mut(id.0) else { return };
            if entry.look(if is_polled { 1 } else { LOOKS_PER_CLOCK }) {
                return entry.looked_ahead(true);
            }
            if is_polled {
                self.poll_descriptors(Some(Duration::ZERO));
            }
            let now = Instant::now();
            if now >= *self.ahead.until.get_or_insert(now + SPIN_SLICE) {
                // Time that others have used up says nothing about this pipe.
                if let Some(entry) = self.pipes.get_mut(id.0).filter(|_| !is_first) {
                    entry.looked_ahead(false);
                }
                return;
            }
            is_first = false;
        }
    }
}
