//! What the two halves of one direction share besides the queue: counts, sleepers, close flags.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use busbar_proto::CloseReason;

use super::stats::{LaneStats, Ledger};
use super::wake::WakeSlot;

/// One direction of a connection.
#[derive(Debug)]
pub(super) struct Lane {
    /// What the sender has published. Written by the sender after the queue, so a count seen here
    /// means that the messages are in the queue.
    pub(super) published: Progress,
    /// What the receiver has handed out. Written by the receiver after the queue, so a count seen
    /// here means that the slots are free.
    pub(super) taken: Progress,
    /// Where the receiver waits for messages.
    pub(super) reader: WakeSlot,
    /// Where the sender waits for room.
    pub(super) writer: WakeSlot,
    /// Where the receiver waits for the sender's close alone.
    pub(super) end: WakeSlot,
    /// Set when the sending half closes.
    pub(super) sender_closed: CloseFlag,
    /// Set when the receiving half closes.
    pub(super) receiver_closed: CloseFlag,
    ledger: Option<Arc<Ledger>>,
}

impl Lane {
    pub(super) fn new(ledger: Option<Arc<Ledger>>) -> Arc<Self> {
        let lane = Arc::new(Self {
            published: Progress::default(),
            taken: Progress::default(),
            reader: WakeSlot::default(),
            writer: WakeSlot::default(),
            end: WakeSlot::default(),
            sender_closed: CloseFlag::default(),
            receiver_closed: CloseFlag::default(),
            ledger,
        });
        if let Some(ledger) = &lane.ledger {
            ledger.enter(&lane);
        }
        lane
    }

    pub(super) fn stats(&self) -> LaneStats {
        // The receiver takes what is in the queue before the sender has published its count.
        let (taken_messages, taken_bytes) = self.taken.load();
        let (messages_sent, bytes_sent) = self.published.load();
        LaneStats {
            messages_sent,
            bytes_sent,
            messages_received: taken_messages,
            messages_dropped: 0,
            messages_queued: messages_sent.saturating_sub(taken_messages),
            bytes_queued: bytes_sent.saturating_sub(taken_bytes),
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        if let Some(ledger) = &self.ledger {
            ledger.settle(self.stats());
        }
    }
}

/// Running totals of one side, on a cache line of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Progress {
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl Progress {
    /// Publishes new totals, before a look at the other side's [`WakeSlot`].
    #[inline]
    pub(super) fn store(&self, messages: u64, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
        // SYNC POINT: inproc-park. SeqCst orders this before the look at `parked`; as a release it
        // carries the bytes and the queue with it.
        self.messages.store(messages, Ordering::SeqCst);
    }

    /// Both totals, the bytes at least as new as the messages.
    #[inline]
    pub(super) fn load(&self) -> (u64, u64) {
        // SYNC POINT: inproc-park
        let messages = self.messages.load(Ordering::SeqCst);
        (messages, self.bytes.load(Ordering::Relaxed))
    }
}

/// Whether one half is gone, and why.
#[derive(Debug, Default)]
pub(super) struct CloseFlag {
    closed: AtomicBool,
    reason: OnceLock<CloseReason>,
}

impl CloseFlag {
    /// Only the first close counts.
    pub(super) fn close(&self, reason: CloseReason) {
        if self.reason.set(reason).is_ok() {
            // SYNC POINT: inproc-park
            self.closed.store(true, Ordering::SeqCst);
        }
    }

    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        // SYNC POINT: inproc-park
        self.closed.load(Ordering::SeqCst)
    }

    /// The reason, once closed.
    pub(super) fn reason(&self) -> Option<&CloseReason> {
        self.is_closed().then(|| self.reason.get()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [I27] what is received before the sender has published it is not queued
    #[test]
    fn the_receiver_may_be_ahead() {
        let lane = Lane::new(None);
        lane.published.store(3, 30);
        lane.taken.store(5, 50);
        let stats = lane.stats();
        assert_eq!((stats.messages_queued, stats.bytes_queued), (0, 0));
    }
}
