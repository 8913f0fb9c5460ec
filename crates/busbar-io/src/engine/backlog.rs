//! What has come over connections that are gone and nobody has received yet.
//!
//! The peer is told that the messages of the session have arrived, so they are all kept; of others
//! only as many as there is room for.

use std::collections::VecDeque;
use std::time::Duration;

use busbar_proto::Error;
use busbar_proto::session::Seq;
use busbar_shm::record::INLINE_MAX;
use bytes::Bytes;

use crate::clock;
use crate::connection::Connection;
use crate::inbox::{Inbox, META_LEASED, Notes, Slot, noted};
use crate::loan::Lease;

/// Bytes of messages outside the session that are kept; and of all messages, beside one as large as
/// may be, with which it can still go on over another connection.
const BYTES_MAX: usize = 4 << 20;

/// What a message counts beside its payload.
const MESSAGE_BYTES: usize = 64;

/// Arena for the small messages of one look at a connection, and how many are taken at once.
const ARENA_BYTES: usize = 64 * 1024;
const BATCH: usize = 256;

/// See the [module](self).
#[derive(Default)]
pub(super) struct Backlog {
    entries: VecDeque<Inbound>,
    bytes: usize,
    /// Those of messages that do not belong to the session.
    lossy_bytes: usize,
    /// Messages that nobody has received in time.
    pub(super) stale: u64,
}

struct Inbound {
    channel: u16,
    seq: Option<Seq>,
    payload: Lease,
    /// When it is of no more use.
    expires: Option<Duration>,
}

/// What became of a message.
pub(super) struct Passed {
    pub(super) channel: u16,
    pub(super) seq: Option<Seq>,
    pub(super) is_stale: bool,
}

impl Inbound {
    fn cost(&self) -> usize {
        MESSAGE_BYTES + self.payload.len()
    }
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there is too much of it, beside a message of `one` bytes.
    pub(super) fn is_full(&self, one: u64) -> bool {
        self.bytes > BYTES_MAX.saturating_add(usize::try_from(one).unwrap_or(usize::MAX))
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        (self.bytes, self.lossy_bytes) = (0, 0);
    }

    /// Keeps what has come over a connection.
    pub(super) fn keep(&mut self, look: &mut Look) {
        let Look { arena, slots, leases, count, seqs, expiries } = look;
        let mut large = leases.drain(..);
        for (at, slot) in slots[..*count].iter().enumerate() {
            let payload = if slot.meta & META_LEASED != 0 {
                large.next()
            } else {
                let bytes = &arena[slot.offset as usize..][..slot.length as usize];
                Some(Lease::Bytes(Bytes::copy_from_slice(bytes)))
            };
            let Some(payload) = payload else { break };
            let (channel, seq, expires) = (slot.channel(), noted(seqs, at), noted(expiries, at));
            let inbound = Inbound { channel, seq, payload, expires };
            if seq.is_none() {
                if self.lossy_bytes + inbound.cost() > BYTES_MAX {
                    continue;
                }
                self.lossy_bytes += inbound.cost();
            }
            self.bytes += inbound.cost();
            self.entries.push_back(inbound);
        }
    }

    /// Moves a message into `inbox`, or drops it because it is stale. `None`: there is no message,
    /// or no room for it.
    pub(super) fn pass(&mut self, inbox: &mut Inbox<'_>) -> Option<Passed> {
        let next = self.entries.front()?;
        let is_small = next.payload.len() <= INLINE_MAX;
        let is_stale = next.expires.is_some_and(|expires| expires <= clock::now());
        if !is_stale && !inbox.has_room(if is_small { next.payload.len() } else { 0 }) {
            return None;
        }
        let next = self.entries.pop_front()?;
        self.bytes -= next.cost();
        self.lossy_bytes -= if next.seq.is_none() { next.cost() } else { 0 };
        let Inbound { channel, seq, payload, .. } = next;
        if is_stale {
            self.stale += 1;
        } else if is_small {
            inbox.push_copy(channel, &payload);
        } else {
            inbox.push_lease(channel, payload);
        }
        Some(Passed { channel, seq, is_stale })
    }
}

/// Memory to look at connections with whose messages nobody has asked for.
pub(super) struct Look {
    arena: Vec<u8>,
    slots: Vec<Slot>,
    leases: Vec<Lease>,
    count: usize,
    seqs: Notes<Seq>,
    expiries: Notes<Duration>,
}

impl Look {
    pub(super) fn new() -> Self {
        Self {
            arena: vec![0; ARENA_BYTES],
            slots: vec![Slot::default(); BATCH],
            leases: Vec::new(),
            count: 0,
            seqs: Notes::new(),
            expiries: Notes::new(),
        }
    }

    /// Receives what there is room for, instead of what was there before; whether it is anything.
    ///
    /// # Errors
    /// As [`crate::Link::receive`].
    pub(super) fn receive(&mut self, connection: &mut dyn Connection) -> Result<bool, Error> {
        self.leases.clear();
        let mut inbox = Inbox::new(&mut self.arena, &mut self.slots, &mut self.leases);
        let received = connection.receive(&mut inbox, BATCH);
        self.count = inbox.len();
        (self.seqs, self.expiries) = (inbox.take_seqs(), inbox.take_expiries());
        received.map(|()| self.count > 0)
    }

    /// Whether the last look has brought anything.
    pub(super) fn has_any(&self) -> bool {
        self.count > 0
    }
}
