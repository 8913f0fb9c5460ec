//! Two channels against an oracle (a queue of messages each way) over random operations, with a
//! ring so small that it wraps, fills and fragments all the time.

use std::collections::VecDeque;

use busbar_shm::record::{self, Header, INLINE_MAX, Kind};
use busbar_shm::{Channel, Lease, Received, Settings};
use proptest::prelude::*;

use crate::pair::{copy, geometry, pair, pattern};

const MESSAGE_MAX: usize = 1 << 20;

#[derive(Clone, Debug)]
enum Op {
    /// Offers the pending message again, or a new one of so many bytes.
    Send(u16, usize),
    Run(Vec<usize>),
    /// Writes a loan and commits so many of its bytes per mille, or drops it.
    Loan(usize, Option<usize>),
    Abandon,
    Receive {
        max: usize,
        buffer: usize,
    },
    DropLease(usize),
    Collect,
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => 0..100_usize,
        3 => 0..=INLINE_MAX,
        2 => INLINE_MAX - 4..INLINE_MAX + 4,
        3 => 0..20_000_usize,
        1 => 60_000..70_000_usize,
        1 => 0..=MESSAGE_MAX,
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let lens = prop::collection::vec(0..=INLINE_MAX, 0..80);
    let max = prop_oneof![1 => Just(0_usize), 3 => 1..10_usize, 3 => Just(usize::MAX)];
    let cramped = 0..record::stride(INLINE_MAX);
    let buffer = prop_oneof![1 => cramped, 3 => 1032..4096_usize, 2 => Just(131_072_usize)];
    let loan = (size(), prop::option::weighted(0.8, 0..=1000_usize));
    prop_oneof![
        6 => (any::<u16>(), size()).prop_map(|(channel, len)| Op::Send(channel, len)),
        2 => lens.prop_map(Op::Run),
        3 => loan.prop_map(|(len, part)| Op::Loan(len, part)),
        1 => Just(Op::Abandon),
        5 => (max, buffer).prop_map(|(max, buffer)| Op::Receive { max, buffer }),
        2 => any::<usize>().prop_map(Op::DropLease),
        1 => Just(Op::Collect),
    ]
}

/// One direction: what its sender still has to send, and what its receiver has not received.
#[derive(Default)]
struct Way {
    next: u64,
    pending: Option<(u16, Vec<u8>)>,
    expected: VecDeque<(u16, Vec<u8>)>,
    leases: Vec<(Lease, Vec<u8>)>,
}

impl Way {
    fn message(&mut self, len: usize) -> Vec<u8> {
        self.next += 1;
        pattern(self.next, len)
    }

    fn send(&mut self, sender: &mut Channel, channel: u16, len: usize) {
        let (channel, payload) =
            self.pending.take().unwrap_or_else(|| (channel, self.message(len)));
        if sender.send(channel, &payload).expect("an honest peer") {
            self.expected.push_back((channel, payload));
        } else {
            assert!(!sender.is_writable(), "refused, and yet writable: the sender would spin");
            self.pending = Some((channel, payload));
        }
    }

    fn run(&mut self, sender: &mut Channel, lens: &[usize]) {
        let mut run = Vec::new();
        let mut messages = VecDeque::new();
        for &len in lens {
            let payload = self.message(len);
            let length = u32::try_from(len).unwrap();
            run.extend(Header { length, channel: 3, kind: Kind::Inline }.encode());
            run.extend(&payload);
            run.resize(run.len().next_multiple_of(record::ALIGN), 0xEE);
            messages.push_back((run.len(), payload));
        }
        let sent = sender.send_run(&run).expect("whole inline records");
        assert!(sent == run.len() || !sender.is_writable(), "refused, and yet writable");
        while let Some((_, payload)) = messages.pop_front().filter(|&(end, _)| end <= sent) {
            self.expected.push_back((3, payload));
        }
    }

    fn loan(&mut self, sender: &mut Channel, len: usize, part: Option<usize>) {
        let Some(mut loan) = sender.loan(len).expect("an honest peer") else { return };
        assert_eq!(loan.len(), len);
        let payload = self.message(len);
        loan.copy_from_slice(&payload);
        let Some(part) = part else { return };
        let sent = len * part / 1000;
        match sender.commit(9, loan, sent).expect("an honest peer") {
            None => self.expected.push_back((9, payload[..sent].to_vec())),
            Some(loan) => {
                assert!(!sender.is_writable(), "refused, and yet writable");
                assert_eq!(*loan, *payload, "a loan that comes back is unharmed");
            }
        }
    }

    fn receive(&mut self, receiver: &mut Channel, max: usize, buffer: usize) -> usize {
        let mut buffer = vec![0; buffer];
        let mut found = Vec::new();
        let used = receiver
            .receive(&mut buffer, max, |channel, received| found.push((channel, received)))
            .expect("an honest peer");
        assert!(found.len() <= max && used <= buffer.len());
        let count = found.len();
        for (channel, received) in found {
            let (sent_on, payload) = self.expected.pop_front().expect("a message that was sent");
            assert_eq!(channel, sent_on);
            assert!(copy(&buffer, &received) == payload, "{} bytes differ", payload.len());
            if let Received::Lease(lease) = received {
                self.leases.push((lease, payload));
            }
        }
        count
    }

    fn drop_lease(&mut self, n: usize) {
        if !self.leases.is_empty() {
            let (lease, payload) = self.leases.swap_remove(n % self.leases.len());
            assert!(*lease == *payload, "the payload has changed during the lease");
        }
    }

    fn apply(&mut self, op: Op, sender: &mut Channel, receiver: &mut Channel) {
        match op {
            Op::Send(channel, len) => self.send(sender, channel, len),
            Op::Abandon => {
                sender.abandon();
                self.pending = None;
            }
            // Nothing else may be sent while a message is under way.
            Op::Run(lens) if self.pending.is_none() => self.run(sender, &lens),
            Op::Loan(len, part) if self.pending.is_none() => self.loan(sender, len, part),
            Op::Run(_) | Op::Loan(..) => {}
            Op::Receive { max, buffer } => {
                self.receive(receiver, max, buffer);
            }
            Op::DropLease(n) => self.drop_lease(n),
            Op::Collect => {
                sender.collect().expect("an honest peer");
                receiver.collect().expect("an honest peer");
            }
        }
    }

    /// Everything arrives in the end, and everything borrowed comes back.
    fn finish(&mut self, sender: &mut Channel, receiver: &mut Channel, slab_bytes: u64) {
        for _ in 0..1000 {
            if self.pending.is_some() {
                self.send(sender, 0, 0);
            }
            self.receive(receiver, usize::MAX, 65_536);
            if self.pending.is_some() {
                assert!(sender.is_writable(), "the ring is empty, and yet not writable");
            } else if self.expected.is_empty() {
                break;
            }
        }
        assert!(self.pending.is_none() && self.expected.is_empty(), "messages are stuck");
        assert_eq!(self.receive(receiver, usize::MAX, 65_536), 0, "more than was sent");
        while !self.leases.is_empty() {
            self.drop_lease(0);
        }
        receiver.collect().expect("an honest peer");
        if slab_bytes > 0 {
            let all = usize::try_from(slab_bytes).unwrap();
            assert!(sender.loan(all).expect("an honest peer").is_some(), "a chunk has leaked");
        }
    }
}

fn check(slab_bytes: u64, hostile: bool, ops: Vec<(bool, Op)>) {
    let settings = Settings { message_bytes_max: MESSAGE_MAX, hostile };
    let (mut left, mut right) = pair(geometry(slab_bytes), settings);
    let mut ways = [Way::default(), Way::default()];
    for (leftward, op) in ops {
        if leftward {
            ways[1].apply(op, &mut right, &mut left);
        } else {
            ways[0].apply(op, &mut left, &mut right);
        }
    }
    ways[0].finish(&mut left, &mut right, slab_bytes);
    ways[1].finish(&mut right, &mut left, slab_bytes);
    let counters = [left.counters(), right.counters()];
    for (sender, receiver) in [(counters[0], counters[1]), (counters[1], counters[0])] {
        assert_eq!(sender.messages_sent, receiver.messages_received);
        assert_eq!(sender.bytes_sent, receiver.bytes_received);
        assert!(!hostile || receiver.leases_received == 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// [D01 D42 D43] Messages of 0 to 1 MiB arrive whole, once and in order, whatever way they
    /// take; no refusal lasts, none makes the sender spin, and no chunk is lost.
    #[test]
    fn messages_arrive_as_they_were_sent(
        slab_bytes in prop_oneof![Just(0_u64), Just(65_536), Just(1 << 20)],
        hostile in any::<bool>(),
        ops in prop::collection::vec((prop::bool::weighted(0.3), op()), 0..80),
    ) {
        check(slab_bytes, hostile, ops);
    }
}
