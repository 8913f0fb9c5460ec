//! The queue under one direction: a ring, or linked blocks when no bound is wanted.
//!
//! The queue itself neither counts nor wakes. A ring starts small, so that connecting is cheap, and
//! is succeeded by a larger one when it overflows, until it has a slot for each message that the
//! sender's limits allow; a push that the limits permit then always finds room. The old ring is
//! abandoned by the producer and left by the consumer when it has been emptied.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use crossbeam_queue::SegQueue;

use crate::clock;

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
    /// When it is of no more use, in microseconds of [`clock`].
    pub(super) expires: Option<NonZeroU64>,
}

impl Message {
    /// When it is of no more use.
    pub(super) fn expires(&self) -> Option<Duration> {
        self.expires.map(|micros| Duration::from_micros(micros.get()))
    }

    /// Whether it is of no more use.
    #[inline]
    pub(super) fn is_stale(&self) -> bool {
        self.expires().is_some_and(|expires| expires <= clock::now())
    }
}

/// The end that pushes.
pub(super) enum Producer {
    Bounded { ring: rtrb::Producer<Item>, slots_max: usize, successors: Successors },
    Unbounded(Arc<SegQueue<Item>>),
}

/// The end that pops.
pub(super) enum Consumer {
    Bounded { ring: rtrb::Consumer<Item>, successors: Successors },
    Unbounded(Arc<SegQueue<Item>>),
}

/// Larger rings that the producer uses already and the consumer has not reached. Locked only when
/// a ring is left for the next.
type Successors = Arc<Mutex<VecDeque<rtrb::Consumer<Item>>>>;

/// A queue for as many messages as `limit` says.
pub(super) fn queue(limit: QueueLimit) -> (Producer, Consumer) {
    match limit {
        QueueLimit::Messages(slots_max) => {
            let (producer, consumer) = rtrb::RingBuffer::new(slots_max.min(FIRST_SLOTS));
            let successors = Successors::default();
            let producer = Producer::Bounded {
                ring: producer,
                slots_max,
                successors: Arc::clone(&successors),
            };
            (producer, Consumer::Bounded { ring: consumer, successors })
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
            Self::Bounded { ring, slots_max, successors } => {
                if let Err(rtrb::PushError::Full(item)) = ring.push(item) {
                    grow(ring, *slots_max, successors);
                    ring.push(item).expect("invariant: the new ring is empty");
                }
            }
            Self::Unbounded(queue) => queue.push(item),
        }
    }
}

impl Consumer {
    #[inline]
    pub(super) fn pop(&mut self) -> Option<Item> {
        match self {
            Self::Bounded { ring, successors } => {
                ring.pop().ok().or_else(|| pop_successor(ring, successors))
            }
            Self::Unbounded(queue) => queue.pop(),
        }
    }
}

/// Replaces a full ring. The consumer learns of it when the old producer is dropped, which happens
/// after the successor was put where it looks.
#[cold]
fn grow(ring: &mut rtrb::Producer<Item>, slots_max: usize, successors: &Successors) {
    let slots = ring.buffer().capacity();
    assert!(slots < slots_max, "invariant: the limits count at least one message a slot");
    let (producer, consumer) = rtrb::RingBuffer::new((slots * GROWTH).min(slots_max));
    successors.lock().unwrap_or_else(PoisonError::into_inner).push_back(consumer);
    *ring = producer;
}

/// Looks again when the ring is empty: its producer may have gone on to the next one.
fn pop_successor(ring: &mut rtrb::Consumer<Item>, successors: &Successors) -> Option<Item> {
    while ring.is_abandoned() {
        // What was pushed before the ring was abandoned comes first.
        if let Ok(item) = ring.pop() {
            return Some(item);
        }
        *ring = successors.lock().unwrap_or_else(PoisonError::into_inner).pop_front()?;
    }
    ring.pop().ok()
}

const FIRST_SLOTS: usize = 64;
const GROWTH: usize = 4;
