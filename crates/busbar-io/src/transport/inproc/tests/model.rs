//! The pair against the simplest queue there is, under random operations.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::inbox::{Inbox, META_LEASED, Slot};
use crate::link::Link;
use crate::loan::Lease;

const QUEUE_MESSAGES: usize = 8;
const QUEUE_BYTES: usize = 6000;

#[derive(Clone, Debug)]
enum Op {
    /// One message of so many bytes.
    Send(usize),
    /// Several, as one run.
    SendRun(Vec<usize>),
    /// Through the other way in: by reference count or by loan.
    SendBytes(usize),
    Commit(usize),
    /// Up to so many messages, into an arena of so many bytes.
    Receive(usize, usize),
    /// One message, by the pair's own call.
    Recv,
    Close,
}

fn any_op() -> impl Strategy<Value = Op> {
    let small = || 0..1024_usize;
    prop_oneof![
        3 => (0..4000_usize).prop_map(Op::Send),
        3 => prop::collection::vec(small(), 0..6).prop_map(Op::SendRun),
        1 => (0..4000_usize).prop_map(Op::SendBytes),
        1 => (0..4000_usize).prop_map(Op::Commit),
        4 => (0..6_usize, 1032..4000_usize).prop_map(|(max, arena)| Op::Receive(max, arena)),
        2 => Just(Op::Recv),
    ]
}

fn any_ops() -> impl Strategy<Value = Vec<Op>> {
    (prop::collection::vec(any_op(), 0..80), prop::collection::vec(any_op(), 0..10)).prop_map(
        |(mut ops, rest)| {
            ops.push(Op::Close);
            ops.extend(rest);
            ops
        },
    )
}

/// What the queue should hold.
#[derive(Default)]
struct Model {
    queue: VecDeque<(u16, Vec<u8>)>,
    closed: bool,
    sent: u16,
}

impl Model {
    fn accepts(&self, len: usize) -> bool {
        let bytes: usize = self.queue.iter().map(|(_, payload)| payload.len()).sum();
        self.queue.len() < QUEUE_MESSAGES && (bytes == 0 || bytes + len <= QUEUE_BYTES)
    }

    /// The next message that the sender would send.
    fn next(&self, len: usize) -> (u16, Vec<u8>) {
        (self.sent, vec![self.sent.to_le_bytes()[0]; len])
    }

    fn push(&mut self, len: usize) {
        self.queue.push_back(self.next(len));
        self.sent += 1;
    }
}

/// The ends under test. The receiver is a link or a pair; a pair receives what a link sends.
struct Rig {
    sender: InprocLink,
    receiver: Receiver,
    model: Model,
}

enum Receiver {
    Link(InprocLink),
    Pair(InprocPair),
}

impl Rig {
    fn new(as_pair: bool) -> Self {
        let options = InprocOptions { queue_bytes_max: QUEUE_BYTES, ..capacity(QUEUE_MESSAGES) };
        let (a, b) = connected(options);
        let link = |pair| InprocLink::new(pair, Waker::noop().clone());
        let receiver = if as_pair { Receiver::Pair(b) } else { Receiver::Link(link(b)) };
        Self { sender: link(a), receiver, model: Model::default() }
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Send(len) => {
                self.send_one(*len, |link, channel, payload| link.send(channel, payload))
            }
            Op::SendBytes(len) => self.send_one(*len, |link, channel, payload| {
                link.send_bytes(channel, &Bytes::copy_from_slice(payload))
            }),
            Op::Commit(len) => self.send_one(*len, |link, channel, payload| {
                // Longer than what is committed: the rest must not travel.
                let mut loan = link.loan(payload.len() + 3)?.expect("heap loans never run out");
                loan[..payload.len()].copy_from_slice(payload);
                Ok(link.commit(channel, loan, payload.len())?.is_none())
            }),
            Op::SendRun(lens) => self.send_run(lens),
            Op::Receive(max, arena) => self.receive(*max, *arena),
            Op::Recv => self.receive(1, 1032),
            Op::Close => {
                self.sender.close(reason("closed by the test"));
                self.model.closed = true;
            }
        }
    }

    fn send_one(
        &mut self,
        len: usize,
        send: impl FnOnce(&mut InprocLink, u16, &[u8]) -> Result<bool, busbar_proto::Error>,
    ) {
        let (channel, payload) = self.model.next(len);
        let outcome = send(&mut self.sender, channel, &payload);
        if self.model.closed {
            assert_eq!(outcome.unwrap_err().code(), Code::Closed);
            return;
        }
        let accepted = outcome.unwrap();
        assert_eq!(accepted, self.model.accepts(len), "{len} bytes");
        if accepted {
            self.model.push(len);
        } else {
            assert!(!self.sender.is_writable());
        }
    }

    fn send_run(&mut self, lens: &[usize]) {
        let mut run = Vec::new();
        for (index, len) in lens.iter().enumerate() {
            let channel = self.model.sent + u16::try_from(index).unwrap();
            link::push_record(&mut run, channel, &vec![channel.to_le_bytes()[0]; *len]);
        }
        let outcome = self.sender.send_run(&run);
        if self.model.closed {
            assert_eq!(outcome.unwrap_err().code(), Code::Closed);
            return;
        }
        let mut expected = 0;
        for len in lens {
            if !self.model.accepts(*len) {
                break;
            }
            self.model.push(*len);
            expected += busbar_shm::record::stride(*len);
        }
        assert_eq!(outcome.unwrap(), expected);
    }

    fn receive(&mut self, max: usize, arena_bytes: usize) {
        let got = match &mut self.receiver {
            Receiver::Link(link) => {
                assert_eq!(link.is_readable(), !self.model.queue.is_empty() || self.model.closed);
                receive_through_link(link, max, arena_bytes)
            }
            Receiver::Pair(pair) => receive_through_pair(pair, max),
        };
        match got {
            Ok(messages) => {
                let room = messages.len() < max && arena_bytes >= 1032;
                assert!(!messages.is_empty() || !room || self.model.queue.is_empty());
                for (channel, payload) in messages {
                    let expected = self.model.queue.pop_front().expect("a message that was sent");
                    assert_eq!(payload, expected.1);
                    assert!(channel.is_none_or(|channel| channel == expected.0));
                }
            }
            Err(code) => {
                assert_eq!(code, Code::Closed);
                assert!(self.model.closed && self.model.queue.is_empty());
            }
        }
    }
}

type Received = Result<Vec<(Option<u16>, Vec<u8>)>, Code>;

fn receive_through_link(link: &mut InprocLink, max: usize, arena_bytes: usize) -> Received {
    let (mut arena, mut slots) = (vec![0xaa; arena_bytes], [Slot::default(); 5]);
    let mut leases = Vec::new();
    let mut inbox = Inbox::new(&mut arena, &mut slots, &mut leases);
    link.receive(&mut inbox, max).map_err(|error| error.code())?;
    let slots = inbox.slots().to_vec();
    let message = |slot: &Slot| {
        let payload = if slot.meta & META_LEASED == 0 {
            assert_eq!(slot.offset % 8, 0);
            arena[slot.offset as usize..][..slot.length as usize].to_vec()
        } else {
            let lease: &Lease = &leases[slot.offset as usize];
            assert!(lease.len() > busbar_shm::record::INLINE_MAX);
            lease.to_vec()
        };
        (u16::try_from(slot.meta & !META_LEASED).ok(), payload)
    };
    assert!(slots.len() <= max);
    Ok(slots.iter().map(message).collect())
}

fn receive_through_pair(pair: &mut InprocPair, max: usize) -> Received {
    let mut payloads = Vec::new();
    pair.try_recv_batch(&mut payloads, max).map_err(|error| error.code())?;
    Ok(payloads.into_iter().map(|payload| (None, payload.to_vec())).collect())
}

proptest! {
    /// [D01] [I16] [I26] messages, order, boundaries, channels, limits and the end of the
    /// connection are those of a plain queue, whoever sends how and whoever receives how
    #[test]
    fn behaves_like_a_queue(ops in any_ops(), as_pair in any::<bool>()) {
        let mut rig = Rig::new(as_pair);
        for op in &ops {
            rig.apply(op);
        }
        while !rig.model.queue.is_empty() {
            rig.receive(5, 4000);
        }
        if let Receiver::Link(link) = &rig.receiver {
            prop_assert_eq!(link.stats().messages_received, u64::from(rig.model.sent));
        }
    }
}
