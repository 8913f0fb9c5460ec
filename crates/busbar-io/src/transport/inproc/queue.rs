//! The queue under one direction: a ring of fixed size, or linked blocks when asked for.
//!
//! The queue itself neither counts nor wakes. Its ring has one slot for each message that the
//! sender's limits allow, so a push that the limits permit always finds room.

use std::sync::Arc;

use bytes::Bytes;
use crossbeam_queue::SegQueue;

use super::options::QueueLimit;

/// What travels in one slot.
#[derive(Debug)]
pub(super) enum Item {
    /// One message.
    Message(Message),
    /// Several small messages, as whole inline records (docs/formats/record.md), never none.
    Run(Bytes),
}

/// A payload and the channel it belongs to.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) channel: u16,
    pub(super) payload: Bytes,
}

/// The end that pushes.
pub(super) enum Producer {
    Bounded(rtrb::Producer<Item>),
    Unbounded(Arc<SegQueue<Item>>),
}

/// The end that pops.
pub(super) enum Consumer {
    Bounded(rtrb::Consumer<Item>),
    Unbounded(Arc<SegQueue<Item>>),
}

/// A queue for as many messages as `limit` says.
pub(super) fn queue(limit: QueueLimit) -> (Producer, Consumer) {
    match limit {
        QueueLimit::Messages(messages) => {
            let (producer, consumer) = rtrb::RingBuffer::new(messages);
            (Producer::Bounded(producer), Consumer::Bounded(consumer))
        }
        QueueLimit::Unbounded => {
            let queue = Arc::new(SegQueue::new());
            (Producer::Unbounded(Arc::clone(&queue)), Consumer::Unbounded(queue))
        }
    }
}

impl Producer {
    #[inline]
    pub(super) fn push(&mut self, item: Item) {
        match self {
            Self::Bounded(ring) => {
                ring.push(item).expect("invariant: the limits count at least one message a slot");
            }
            Self::Unbounded(queue) => queue.push(item),
        }
    }
}

impl Consumer {
    #[inline]
    pub(super) fn pop(&mut self) -> Option<Item> {
        match self {
            Self::Bounded(ring) => ring.pop().ok(),
            Self::Unbounded(queue) => queue.pop(),
        }
    }
}
