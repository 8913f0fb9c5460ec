//! Both ends of cursors, release rings and park words on ordinary memory: for unit tests and for
//! the loom models, which cannot map anything.

use std::sync::Arc;

use crate::control::{ControlBlock, Word};
use crate::cursor::{RxCursor, TxCursor};
use crate::park::{Bell, Sleeper};
use crate::release::{ReleaseRx, ReleaseTx};
use crate::sync::AtomicU64;

/// The control blocks of two ends.
pub(crate) struct Rig {
    pub(crate) left: Arc<ControlBlock>,
    pub(crate) right: Arc<ControlBlock>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self { left: Arc::default(), right: Arc::default() }
    }

    /// A ring that the left end writes.
    pub(crate) fn ring(&self, capacity: u64, align: u64) -> (TxCursor, RxCursor) {
        let tail = || Word::of(&self.left, ControlBlock::tx_tail);
        let head = || Word::of(&self.right, ControlBlock::rx_head);
        let tx = TxCursor::new(tail(), head(), capacity);
        (tx, RxCursor::new(head(), tail(), capacity, align))
    }

    /// The release ring of the left end, which gives chunks of the right end back.
    pub(crate) fn releases(&self, entries: usize) -> (ReleaseTx, ReleaseRx) {
        let memory: Arc<Vec<AtomicU64>> =
            Arc::new((0..entries).map(|_| AtomicU64::new(0)).collect());
        let words = || Word::of(&memory, |memory| memory.as_slice());
        let tail = || Word::of(&self.left, ControlBlock::release_tail);
        let head = || Word::of(&self.right, ControlBlock::release_head);
        let capacity = entries as u64;
        let tx = ReleaseTx::new(words(), TxCursor::new(tail(), head(), capacity), 4096);
        (tx, ReleaseRx::new(words(), RxCursor::new(head(), tail(), capacity, 1)))
    }
}

/// The sleep of the end that owns `block`, and the other end's view of it.
pub(crate) fn sleep(block: &Arc<ControlBlock>) -> (Sleeper, Bell) {
    let word = || Word::of(block, ControlBlock::park);
    (Sleeper::new(word()), Bell::new(word()))
}
