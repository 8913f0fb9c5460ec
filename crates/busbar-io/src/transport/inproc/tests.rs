//! In-process connections: the namespace, the pair, waiting in three flavours, the engine's link,
//! and the queue against a model.

mod link;
mod model;
mod names;
mod pair;
mod waiting;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;

use bytes::Bytes;

use busbar_proto::{CloseReason, Code};

use super::*;

/// Ends a test that would otherwise hang; never a time that a test waits for on purpose.
const PATIENCE: Option<Duration> = Some(Duration::from_secs(20));

/// The default limits but for the number of messages.
fn capacity(messages: usize) -> InprocOptions {
    InprocOptions { queue: QueueLimit::Messages(messages), ..InprocOptions::DEFAULT }
}

fn connected(options: InprocOptions) -> (InprocPair, InprocPair) {
    InprocPair::connected(options).expect("valid options")
}

fn reason(text: &str) -> CloseReason {
    CloseReason { code: None, status: 7, text: text.to_owned() }
}

fn number(n: u64) -> Bytes {
    Bytes::copy_from_slice(&n.to_le_bytes())
}

fn as_number(payload: &[u8]) -> u64 {
    u64::from_le_bytes(payload.try_into().expect("eight bytes"))
}

/// A waker that counts.
#[derive(Default)]
struct Bells(AtomicU32);

impl Bells {
    fn new() -> (Arc<Self>, Waker) {
        let bells = Arc::new(Self::default());
        (Arc::clone(&bells), Waker::from(bells))
    }

    fn count(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Bells {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
