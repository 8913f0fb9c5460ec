//! The application at an end: what it sends, what it expects, and when it is done with a message.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::{Duration, Instant};

use busbar_proto::session::Seq;

use crate::Random;

/// The channel whose messages are sent without the session.
pub(super) const LOSSY: u16 = 9;

const CHANNELS: [u16; 3] = [0, 1, 0x1234];

/// A message by number: which channel, which of it.
pub(super) type Name = (u16, u32);

#[derive(Debug)]
pub(super) struct App {
    /// What is still to be sent, the last first.
    to_send: Vec<(Name, Rc<[u8]>)>,
    /// How many messages its peer was to send, by channel.
    pub(super) accepted: BTreeSet<Name>,
    /// What the session numbered the accepted messages.
    numbers: BTreeMap<(u16, u64), Name>,
    pub(super) failed: BTreeSet<Name>,
    pub(super) expired: BTreeSet<Name>,
    /// For how long every third message is of use.
    ttl: Option<Duration>,
    pub(super) delivered: BTreeSet<Name>,
    /// When each lossy message was sent.
    pub(super) lossy_sent: Vec<Instant>,
    /// When those came that the peer has sent, by number.
    pub(super) lossy_delivered: BTreeMap<u32, Instant>,
    /// When each accepted message was accepted, and when the peer's came.
    pub(super) accepted_at: BTreeMap<Name, Instant>,
    pub(super) delivered_at: BTreeMap<Name, Instant>,
    last: BTreeMap<u16, u32>,
}

impl App {
    pub(super) fn new(
        messages: u64,
        large: u64,
        ttl: Option<Duration>,
        random: &mut Random,
    ) -> Self {
        let mut counts = BTreeMap::new();
        let mut to_send: Vec<_> = (0..messages)
            .map(|_| {
                let at = random.within(0..CHANNELS.len() as u64);
                let channel = CHANNELS[usize::try_from(at).expect("invariant: of three")];
                let count = counts.entry(channel).or_insert(0u32);
                let name = (channel, *count);
                *count += 1;
                let padding = if random.chance(large) { 9_000 } else { random.within(0..200) };
                (name, payload(name.1, padding))
            })
            .collect();
        to_send.reverse();
        Self {
            to_send,
            accepted: BTreeSet::new(),
            numbers: BTreeMap::new(),
            failed: BTreeSet::new(),
            expired: BTreeSet::new(),
            ttl,
            delivered: BTreeSet::new(),
            lossy_sent: Vec::new(),
            lossy_delivered: BTreeMap::new(),
            accepted_at: BTreeMap::new(),
            delivered_at: BTreeMap::new(),
            last: BTreeMap::new(),
        }
    }

    pub(super) fn next_to_send(&self) -> Option<(u16, Rc<[u8]>)> {
        self.to_send.last().map(|((channel, _), payload)| (*channel, Rc::clone(payload)))
    }

    /// The session has taken the next message, as `seq`.
    pub(super) fn was_accepted(&mut self, seq: Seq, now: Instant) {
        let (name, _) = self.to_send.pop().expect("invariant: there was one");
        self.accepted.insert(name);
        self.accepted_at.insert(name, now);
        self.numbers.insert((name.0, seq.0), name);
    }

    /// For how long the next message is of use.
    pub(super) fn ttl_of_next(&self) -> Option<Duration> {
        self.ttl.filter(|_| self.to_send.len().is_multiple_of(3))
    }

    /// What is not sent yet never will be.
    pub(super) fn stop(&mut self) {
        self.to_send.clear();
    }

    pub(super) fn next_lossy(&mut self, now: Instant) -> Rc<[u8]> {
        let number = u32::try_from(self.lossy_sent.len()).expect("invariant: not that many");
        self.lossy_sent.push(now);
        payload(number, 20)
    }

    pub(super) fn has_sent_all(&self) -> bool {
        self.to_send.is_empty()
    }

    pub(super) fn has_failed(&mut self, channel: u16, seq: Seq) {
        let name = self.numbers[&(channel, seq.0)];
        assert!(self.failed.insert(name), "{name:?} was given up twice");
    }

    pub(super) fn has_expired(&mut self, channel: u16, seq: Seq) {
        let name = self.numbers[&(channel, seq.0)];
        assert!(self.expired.insert(name), "{name:?} has expired twice");
    }

    /// A message has come from the peer.
    pub(super) fn receive(
        &mut self,
        channel: u16,
        payload: &[u8],
        keeps_order: bool,
        now: Instant,
    ) {
        let (number, rest) = payload.split_first_chunk().expect("a number in front");
        let number = u32::from_be_bytes(*number);
        assert!(rest.iter().all(|&byte| byte == number as u8), "the payload is another");
        if channel == LOSSY {
            let is_new = self.lossy_delivered.insert(number, now).is_none();
            assert!(is_new || !keeps_order, "lossy message {number} came twice");
            return;
        }
        assert!(self.delivered.insert((channel, number)), "{number} on {channel} came twice");
        self.delivered_at.insert((channel, number), now);
        if keeps_order {
            let last = self.last.insert(channel, number);
            assert!(last < Some(number), "{number} on {channel} came after {last:?}");
        }
    }
}

fn payload(number: u32, padding: u64) -> Rc<[u8]> {
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(4 + usize::try_from(padding).expect("invariant: short"), number as u8);
    payload.into()
}
