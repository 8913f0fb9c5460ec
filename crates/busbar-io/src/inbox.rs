//! Where received messages are put: small ones copied into an arena, large ones as leases.
//!
//! The caller owns the memory and reuses it from batch to batch, so that receiving allocates
//! nothing. Each message is described by a [`Slot`], three words that JavaScript reads directly.

use std::time::Duration;

use busbar_proto::session::Seq;

use crate::loan::Lease;

/// The channel of announcements, by which one end tells the other about what follows. Users of a
/// pipe neither send nor receive on it; see docs/formats/announcement.md.
pub const ANNOUNCEMENTS: u16 = u16::MAX;

/// Set in [`Slot::meta`] when the payload is a lease and [`Slot::offset`] its index in the batch.
pub const META_LEASED: u32 = 1 << 31;

/// The channel in [`Slot::meta`].
const CHANNEL_MASK: u32 = 0xffff;

/// Payloads start at multiples of this in the arena.
const ALIGN: usize = 8;

/// One received message: `[offset, length, meta]`, meta = channel | flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Slot {
    /// Byte offset in the arena, or index of the lease.
    pub offset: u32,
    /// Payload length in bytes.
    pub length: u32,
    /// Bits 0..16 channel, bit 31 [`META_LEASED`].
    pub meta: u32,
}

impl Slot {
    /// The channel that the message came on.
    #[must_use]
    pub const fn channel(self) -> u16 {
        (self.meta & CHANNEL_MASK) as u16
    }
}

/// What is to be known of some messages of a batch, by their index there.
pub(crate) type Notes<T> = Vec<(usize, T)>;

/// What was noted of the message at this index.
pub(crate) fn noted<T: Copy>(notes: &[(usize, T)], at: usize) -> Option<T> {
    let found = notes.binary_search_by_key(&at, |&(index, _)| index).ok()?;
    Some(notes[found].1)
}

/// A batch being filled.
#[derive(Debug)]
pub struct Inbox<'a> {
    arena: &'a mut [u8],
    used: usize,
    slots: &'a mut [Slot],
    count: usize,
    leases: &'a mut Vec<Lease>,
    /// Whether one of the messages is an announcement.
    announced: bool,
    /// The messages of a session among them, by index, and their numbers there.
    seqs: Notes<Seq>,
    /// Those that are of no more use at some time, likewise.
    expiries: Notes<Duration>,
}

impl<'a> Inbox<'a> {
    /// An empty batch over the caller's memory. `leases` keeps what it holds; indices go on from
    /// there.
    pub fn new(arena: &'a mut [u8], slots: &'a mut [Slot], leases: &'a mut Vec<Lease>) -> Self {
        Self {
            arena,
            used: 0,
            slots,
            count: 0,
            leases,
            announced: false,
            seqs: Vec::new(),
            expiries: Vec::new(),
        }
    }

    /// Messages in the batch.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether nothing was received.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Arena bytes in use.
    #[must_use]
    pub fn bytes_used(&self) -> usize {
        self.used
    }

    /// The messages' slots.
    #[must_use]
    pub fn slots(&self) -> &[Slot] {
        &self.slots[..self.count]
    }

    /// The payload of a slot that is not leased.
    #[must_use]
    pub fn bytes(&self, slot: Slot) -> &[u8] {
        &self.arena[slot.offset as usize..][..slot.length as usize]
    }

    /// Whether there are announcements in the batch.
    #[inline]
    pub(crate) fn has_announcements(&self) -> bool {
        self.announced
    }

    /// Takes the announcements out of the batch, each after a call of `keep`.
    pub(crate) fn take_announcements(&mut self, mut keep: impl FnMut(&[u8])) {
        if !std::mem::take(&mut self.announced) {
            return;
        }
        let (mut kept, mut leases_taken) = (0, 0);
        let mut expiries = self.expiries.iter_mut().peekable();
        for at in 0..self.count {
            let mut slot = self.slots[at];
            let leased = slot.meta & META_LEASED != 0;
            slot.offset -= u32::from(leased) * leases_taken;
            if slot.meta & CHANNEL_MASK != u32::from(ANNOUNCEMENTS) {
                self.slots[kept] = slot;
                if let Some((index, _)) = expiries.next_if(|(index, _)| *index == at) {
                    *index = kept;
                }
                kept += 1;
            } else if leased {
                leases_taken += 1;
                keep(&self.leases.remove(slot.offset as usize));
            } else {
                keep(&self.arena[slot.offset as usize..][..slot.length as usize]);
            }
        }
        self.count = kept;
    }

    /// The message that was put in last belongs to a session, and has this number there.
    pub(crate) fn note_seq(&mut self, seq: Seq) {
        self.seqs.push((self.count - 1, seq));
    }

    /// Takes the numbers of messages of a session out of the batch.
    pub(crate) fn take_seqs(&mut self) -> Notes<Seq> {
        std::mem::take(&mut self.seqs)
    }

    /// The message that was put in last is of no more use at `expires` of [`crate::clock`].
    pub(crate) fn note_expiry(&mut self, expires: Duration) {
        self.space().slots.note_expiry(expires);
    }

    /// Takes these times out of the batch.
    pub(crate) fn take_expiries(&mut self) -> Notes<Duration> {
        std::mem::take(&mut self.expiries)
    }

    /// How many more messages have a slot.
    pub(crate) fn slots_left(&self) -> usize {
        self.slots.len() - self.count
    }

    /// Whether a payload of `len` bytes can be copied in.
    pub(crate) fn has_room(&self, len: usize) -> bool {
        self.slots_left() > 0 && self.arena.len() - self.used >= len
    }

    /// The unused rest of the arena, to be written, and the slots, to describe what was written;
    /// then call [`Inbox::advance`].
    pub(crate) fn space(&mut self) -> Space<'_> {
        let Self { arena, used, slots, count, leases, announced, expiries, .. } = self;
        let base = *used;
        let messages = Messages { slots, count, announced };
        let slots = Describer { base, messages, leases, expiries };
        Space { free: &mut arena[base..], slots }
    }

    /// The unused rest of the arena.
    pub(crate) fn free_space(&mut self) -> &mut [u8] {
        &mut self.arena[self.used..]
    }

    /// A payload of `len` bytes lies at `start` of the free space. There must be a slot left.
    pub(crate) fn push_filled(&mut self, channel: u16, start: usize, len: usize) {
        self.space().slots.push_filled(channel, start, len);
    }

    /// Copies an inline payload in; `false` if there is no room for it.
    pub(crate) fn push_copy(&mut self, channel: u16, payload: &[u8]) -> bool {
        self.filler().push_copy(channel, payload)
    }

    /// For several of them in a row.
    #[inline]
    pub(crate) fn filler(&mut self) -> Filler<'_> {
        let Self { arena, used, slots, count, announced, .. } = self;
        Filler { arena, used, messages: Messages { slots, count, announced } }
    }

    /// Adds a payload that stays where it is. There must be a slot left.
    pub(crate) fn push_lease(&mut self, channel: u16, lease: Lease) {
        self.space().slots.push_lease(channel, lease);
    }

    /// `len` bytes of the free space are taken.
    pub(crate) fn advance(&mut self, len: usize) {
        self.used = (self.used + len).next_multiple_of(ALIGN).min(self.arena.len());
    }
}

/// Copies payloads into a batch.
pub(crate) struct Filler<'a> {
    arena: &'a mut [u8],
    used: &'a mut usize,
    messages: Messages<'a>,
}

impl Filler<'_> {
    /// Copies an inline payload in; `false` if there is no room for it.
    #[inline]
    pub(crate) fn push_copy(&mut self, channel: u16, payload: &[u8]) -> bool {
        let end = *self.used + payload.len();
        let Some(place) = self.arena.get_mut(*self.used..end) else { return false };
        if !self.messages.push(*self.used, payload.len(), u32::from(channel)) {
            return false;
        }
        place.copy_from_slice(payload);
        *self.used = end.next_multiple_of(ALIGN).min(self.arena.len());
        true
    }
}

/// The free part of a batch.
pub(crate) struct Space<'a> {
    /// Arena bytes that may be written.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "for shared memory"))]
    pub(crate) free: &'a mut [u8],
    /// Where to say what they are.
    pub(crate) slots: Describer<'a>,
}

/// Fills in slots.
pub(crate) struct Describer<'a> {
    base: usize,
    messages: Messages<'a>,
    leases: &'a mut Vec<Lease>,
    expiries: &'a mut Notes<Duration>,
}

impl Describer<'_> {
    /// A payload of `len` bytes lies at `start` of the free space. There must be a slot left, as
    /// for all of them.
    #[inline]
    pub(crate) fn push_filled(&mut self, channel: u16, start: usize, len: usize) {
        let has_slot = self.messages.push(self.base + start, len, u32::from(channel));
        assert!(has_slot, "{NO_SLOT}");
    }

    /// A payload stays where it is.
    pub(crate) fn push_lease(&mut self, channel: u16, lease: Lease) {
        let meta = u32::from(channel) | META_LEASED;
        assert!(self.messages.push(self.leases.len(), lease.len(), meta), "{NO_SLOT}");
        self.leases.push(lease);
    }

    /// As [`Inbox::note_expiry`].
    pub(crate) fn note_expiry(&mut self, expires: Duration) {
        self.expiries.push((*self.messages.count - 1, expires));
    }
}

const NO_SLOT: &str = "invariant: there is a slot for each message";

/// The slots of a batch, of which so many are in use.
struct Messages<'a> {
    slots: &'a mut [Slot],
    count: &'a mut usize,
    announced: &'a mut bool,
}

impl Messages<'_> {
    /// Adds one; `false` if there is no slot for it.
    #[inline]
    fn push(&mut self, offset: usize, length: usize, meta: u32) -> bool {
        let Some(slot) = self.slots.get_mut(*self.count) else { return false };
        let narrow = |n: usize| u32::try_from(n).expect("invariant: arenas stay below 4 GiB");
        *slot = Slot { offset: narrow(offset), length: narrow(length), meta };
        *self.count += 1;
        *self.announced |= meta & CHANNEL_MASK == u32::from(ANNOUNCEMENTS);
        true
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// [T18] Announcements leave no trace among the messages around them.
    #[test]
    fn announcements_are_taken_out() {
        let (mut arena, mut slots, mut leases) = (vec![0; 256], [Slot::default(); 8], Vec::new());
        let mut inbox = Inbox::new(&mut arena, &mut slots, &mut leases);
        let large = |text: &'static str| Lease::Bytes(Bytes::from_static(text.as_bytes()));
        assert!(inbox.push_copy(1, b"one"));
        inbox.push_lease(2, large("two"));
        assert!(inbox.push_copy(ANNOUNCEMENTS, b"small"));
        inbox.push_lease(ANNOUNCEMENTS, large("large"));
        inbox.push_lease(3, large("three"));
        assert!(inbox.push_copy(4, b"four"));
        let mut taken = Vec::new();
        inbox.take_announcements(|announcement| taken.push(announcement.to_vec()));
        assert_eq!(taken, [b"small", b"large"]);
        assert!(!inbox.has_announcements());
        inbox.take_announcements(|_| panic!("they were taken"));
        let left: Vec<(u32, &[u8])> = inbox
            .slots()
            .iter()
            .map(|slot| {
                let is_leased = slot.meta & META_LEASED != 0;
                let lease = |at: u32| &inbox.leases[at as usize][..];
                let bytes = if is_leased { lease(slot.offset) } else { inbox.bytes(*slot) };
                (slot.meta & CHANNEL_MASK, bytes)
            })
            .collect();
        assert_eq!(left, [(1, &b"one"[..]), (2, b"two"), (3, b"three"), (4, b"four")]);
    }
}
