//! Counters of in-process connections and of the names they were made through.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::lane::Lane;

/// What one end of a connection has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InprocPairStats {
    /// What this end sends.
    pub outgoing: LaneStats,
    /// What this end receives.
    pub incoming: LaneStats,
    /// Wakers this end called: each may have cost the system a call.
    pub wakes: u64,
    /// Times this end went to sleep.
    pub parks: u64,
    /// Payload bytes this end copied; `Bytes` are handed over and do not count.
    pub bytes_copied: u64,
}

/// What has passed in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneStats {
    /// Messages accepted for sending.
    pub messages_sent: u64,
    /// Payload bytes of those.
    pub bytes_sent: u64,
    /// Messages received.
    pub messages_received: u64,
    /// Messages that nobody received before the connection was closed.
    pub messages_dropped: u64,
    /// Messages sent and not yet received.
    pub messages_queued: u64,
    /// Payload bytes of those.
    pub bytes_queued: u64,
}

/// A name and the traffic of all connections made through it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InprocStats {
    /// Connections of which at least one end is open.
    pub connections: usize,
    /// Of those, connections that wait to be accepted.
    pub pending: usize,
    /// From those who connected to the one who listens.
    pub from_clients: LaneStats,
    /// The other way.
    pub to_clients: LaneStats,
}

/// The lanes of one direction of one name: the open ones, and the sum of the others.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    open: Mutex<Vec<Weak<Lane>>>,
    messages_sent: AtomicU64,
    bytes_sent: AtomicU64,
    messages_dropped: AtomicU64,
}

impl Ledger {
    /// A lane opens.
    pub(super) fn enter(&self, lane: &Arc<Lane>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // Sweeping only when the list would grow, and growing unless half of it could go, keeps
        // the cost of a connection constant.
        if open.len() == open.capacity() {
            open.retain(|lane| lane.strong_count() > 0);
            let still_open = open.len();
            open.reserve(still_open);
        }
        open.push(Arc::downgrade(lane));
    }

    /// A lane is gone with this total; what was still queued is gone too.
    pub(super) fn settle(&self, last: LaneStats) {
        self.messages_sent.fetch_add(last.messages_sent, Ordering::Relaxed);
        self.bytes_sent.fetch_add(last.bytes_sent, Ordering::Relaxed);
        self.messages_dropped.fetch_add(last.messages_queued, Ordering::Relaxed);
    }

    /// The number of open lanes and the sum of all.
    pub(super) fn sum(&self) -> (usize, LaneStats) {
        // Lanes are dropped after the lock is: the last reference may be ours.
        let open: Vec<_> = {
            let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.iter().filter_map(Weak::upgrade).collect()
        };
        let mut sum = LaneStats {
            messages_sent: self.messages_sent.load(Ordering::Relaxed),
            bytes_sent: self.bytes_sent.load(Ordering::Relaxed),
            messages_dropped: self.messages_dropped.load(Ordering::Relaxed),
            ..LaneStats::default()
        };
        for lane in &open {
            let lane = lane.stats();
            sum.messages_sent += lane.messages_sent;
            sum.bytes_sent += lane.bytes_sent;
            sum.messages_queued += lane.messages_queued;
            sum.bytes_queued += lane.bytes_queued;
        }
        // The totals are not of one instant.
        let gone = sum.messages_queued + sum.messages_dropped;
        sum.messages_received = sum.messages_sent.saturating_sub(gone);
        (open.len(), sum)
    }
}
