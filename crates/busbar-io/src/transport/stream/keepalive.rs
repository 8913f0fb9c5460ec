//! What sockets are set to, on every system: by whose silence a peer is lost, and how much may be
//! on its way.

use std::time::Duration;

use crate::options::{Heartbeat, PipeOptions};

/// How the system looks after a connection that is idle, for a peer that lost its power says no
/// goodbye.
pub(super) struct Keepalive {
    /// A peer that says nothing for this long is asked whether it is there.
    pub(super) idle: Duration,
    pub(super) interval: Duration,
    /// So often without an answer, it is lost.
    pub(super) probes: u32,
}

impl Keepalive {
    /// As quick as the heartbeat, if there is one, to whole seconds.
    pub(super) fn new(heartbeat: Option<Heartbeat>) -> Self {
        let Some(Heartbeat { interval, misses }) = heartbeat else {
            let (idle, interval) = (Duration::from_secs(15), Duration::from_secs(5));
            return Self { idle, interval, probes: 3 };
        };
        let seconds = Duration::from_secs(interval.as_secs_f64().ceil() as u64);
        Self { idle: seconds, interval: seconds, probes: misses }
    }
}

/// The kernel sizes its buffers by what the network needs. Who wants less in flight than by default
/// gets buffers of this size there too.
pub(super) fn kernel_bytes(options: &PipeOptions) -> Option<usize> {
    let is_narrow = options.ring_bytes < NARROW_BYTES;
    is_narrow.then(|| usize::try_from(options.ring_bytes).unwrap_or(usize::MAX))
}

/// The default.
const NARROW_BYTES: u64 = 1 << 20;
