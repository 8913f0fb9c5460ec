//! The queue behind a link: what has come and nobody has asked for yet.

use std::time::Duration;

use busbar_proto::Error;
use busbar_proto::qos::{Backpressure, HighWaterMarks, Lane, Terms};
use busbar_shm::record::INLINE_MAX;
use bytes::Bytes;

use crate::clock;
use crate::connection::Connection;
use crate::engine::announced::Announced;
use crate::inbox::{Inbox, META_LEASED, Slot, noted};
use crate::loan::Lease;
use crate::qos::{QosStats, ReceivingQos, Throttles};

/// Arena for the small messages of one look at the link.
const ARENA_BYTES: usize = 64 * 1024;

/// Messages of one look at the link.
const BATCH: usize = 256;

/// Looks in a row before other pipes get their turn.
const LOOKS_MAX: usize = 16;

pub(super) struct Receiving {
    lane: Lane<Inbound>,
    marks: HighWaterMarks,
    backpressure: Backpressure,
    throttles: Throttles,
    /// When the throttles let the next message pass.
    resume_at: Option<Duration>,
    arena: Vec<u8>,
    slots: Vec<Slot>,
    leases: Vec<Lease>,
}

struct Inbound {
    channel: u16,
    payload: Lease,
}

/// What looks at the link have brought.
pub(super) struct Filled {
    pub(super) has_messages: bool,
    pub(super) result: Result<(), Error>,
}

impl Receiving {
    pub(super) fn new(qos: &ReceivingQos) -> Self {
        // What has been taken from the link has to be kept, so that the marks hold before.
        let marks = if drops(qos.backpressure) { qos.marks } else { HighWaterMarks::default() };
        Self {
            lane: Lane::new(marks, qos.backpressure),
            marks: qos.marks,
            backpressure: qos.backpressure,
            throttles: Throttles::new(qos.rate, qos.shared_rate.clone(), clock::now()),
            resume_at: None,
            arena: vec![0; ARENA_BYTES],
            slots: vec![Slot::default(); BATCH],
            leases: Vec::new(),
        }
    }

    /// Whether [`Receiving::fill`] may take something from the link.
    pub(super) fn wants_more(&self) -> bool {
        self.appetite() > 0
    }

    /// Takes what the link has and there is room for, or is not needed for.
    pub(super) fn fill(&mut self, link: &mut dyn Connection, announced: &mut Announced) -> Filled {
        let mut filled = Filled { has_messages: false, result: Ok(()) };
        for _ in 0..LOOKS_MAX {
            let max = self.appetite();
            if max == 0 {
                break;
            }
            let mut inbox = Inbox::new(&mut self.arena, &mut self.slots, &mut self.leases);
            filled.result = link.receive(&mut inbox, max);
            let has_announced = inbox.has_announcements();
            inbox.take_announcements(|announcement| announced.keep(announcement));
            let expiries = inbox.take_expiries();
            let count = inbox.len();
            let is_idle = count == 0 && !has_announced;
            filled.has_messages |= count > 0;
            let now = clock::now();
            // The leases of a batch are in the order of its slots.
            let mut leases = self.leases.drain(..);
            for (at, slot) in self.slots[..count].iter().enumerate() {
                let payload = if slot.meta & META_LEASED != 0 {
                    leases.next()
                } else {
                    let bytes = &self.arena[slot.offset as usize..][..slot.length as usize];
                    Some(Lease::Bytes(Bytes::copy_from_slice(bytes)))
                };
                let Some(payload) = payload else { break };
                let channel = (slot.meta & 0xffff) as u16;
                let size = slot.length as usize;
                let terms = Terms { expires: noted(&expiries, at), ..Terms::default() };
                self.lane.offer(size, terms, now, || Inbound { channel, payload });
            }
            drop(leases);
            if filled.result.is_err() || is_idle {
                break;
            }
        }
        filled
    }

    /// Moves up to `max` messages into `inbox`; all that there are if the pipe `is_over`, however
    /// fast that is.
    pub(super) fn deliver(&mut self, inbox: &mut Inbox<'_>, max: usize, is_over: bool) {
        let now = clock::now();
        self.lane.expire(now);
        self.resume_at = None;
        for _ in 0..max {
            let Some((message, size)) = self.lane.peek() else { return };
            let is_small = size <= INLINE_MAX;
            if !inbox.has_room(if is_small { size } else { 0 }) {
                return;
            }
            let wait = self.throttles.wait(size, now);
            if !is_over && !wait.is_zero() {
                self.resume_at = now.checked_add(wait);
                return;
            }
            self.throttles.spend(size);
            let channel = message.channel;
            if is_small {
                inbox.push_copy(channel, &message.payload);
                self.lane.take();
            } else if let Some(message) = self.lane.take() {
                inbox.push_lease(channel, message.payload);
            }
        }
    }

    /// Whether [`Receiving::deliver`] has something to give.
    pub(super) fn is_readable(&mut self, is_over: bool) -> bool {
        let now = clock::now();
        self.lane.expire(now);
        let Some((_, size)) = self.lane.peek() else { return false };
        let wait = if is_over { Duration::ZERO } else { self.throttles.wait(size, now) };
        self.resume_at = if wait.is_zero() { None } else { now.checked_add(wait) };
        wait.is_zero()
    }

    /// When there is something to do even if nothing happens.
    pub(super) fn next_time(&self) -> Option<Duration> {
        [self.resume_at, self.lane.next_expiry()].into_iter().flatten().min()
    }

    pub(super) fn expire(&mut self) {
        let now = clock::now();
        self.lane.expire(now);
        self.resume_at = self.resume_at.filter(|&at| at > now);
    }

    pub(super) fn add_stats(&self, stats: &mut QosStats) {
        stats.messages_ready = self.lane.len() as u64;
        stats.bytes_ready = self.lane.bytes() as u64;
        stats.receives = self.lane.drops();
    }

    /// How many messages to take from the link at most.
    fn appetite(&self) -> usize {
        if drops(self.backpressure) {
            return BATCH;
        }
        let HighWaterMarks { messages, bytes } = self.marks;
        // How large a message is, is known when it has been taken.
        let by_bytes = bytes.map_or(BATCH, |max| usize::from(self.lane.bytes() < max.get()));
        let by_messages = messages.map_or(BATCH, |max| max.get().saturating_sub(self.lane.len()));
        by_bytes.min(by_messages).min(BATCH)
    }
}

fn drops(backpressure: Backpressure) -> bool {
    matches!(backpressure, Backpressure::DropNew | Backpressure::DropOld)
}
