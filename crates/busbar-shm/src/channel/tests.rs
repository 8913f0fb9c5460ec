//! Two threads on one mapping of each segment, where ThreadSanitizer sees what they share.
//!
//! It reports a race here when `TxCursor::publish` or `RxCursor::release` stores Relaxed.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::thread;

use super::*;
use crate::segment::Geometry;

const COUNT: usize = 3000;

/// 0 to 200,000 bytes: by ring, slab and fragments.
fn payload(number: usize) -> Vec<u8> {
    let len = match number % 64 {
        0 => 200_000,
        1..8 => number % 9000,
        _ => number % 300,
    };
    (0..len).map(|at| u8::try_from((number + at) % 251).expect("below 251")).collect()
}

struct Exchange {
    channel: Channel,
    sent: usize,
    received: usize,
}

impl Exchange {
    fn send_next(&mut self) {
        if self.sent < COUNT && self.channel.send(1, &payload(self.sent)).unwrap() {
            self.sent += 1;
        }
    }

    fn receive(&mut self, buffer: &mut [u8]) {
        let mut found = Vec::new();
        self.channel.receive(buffer, 50, |_, received| found.push(received)).unwrap();
        for received in found {
            let expected = payload(self.received);
            match received {
                Received::Inline { start, len } => assert_eq!(buffer[start..start + len], expected),
                Received::Lease(lease) => assert_eq!(*lease, expected),
                Received::Owned(bytes) => assert_eq!(bytes, expected),
            }
            self.received += 1;
        }
    }

    fn run(mut self) {
        let mut buffer = vec![0; 4096];
        while self.sent < COUNT || self.received < COUNT {
            self.send_next();
            self.receive(&mut buffer);
            if self.channel.park(Wants::DATA) {
                thread::yield_now();
                self.channel.unpark();
            }
            let _ = self.channel.take_ring();
        }
    }
}

/// [D42] [D43] Both directions at once, with every way that a message can take.
#[test]
fn two_threads_exchange_messages_over_one_mapping() {
    let geometry = Geometry { ring_bytes: 65_536, release_entries: 64, slab_bytes: 65_536 };
    for hostile in [false, true] {
        let (left, _) = Segment::create(geometry).unwrap();
        let (right, _) = Segment::create(geometry).unwrap();
        let settings = Settings { message_bytes_max: 200_000, hostile };
        let (left_seen, right_seen) = (PeerSegment::alias(&left), PeerSegment::alias(&right));
        let waker = Waker::noop();
        let ends = [
            Channel::new(left, right_seen, settings, waker),
            Channel::new(right, left_seen, settings, waker),
        ];
        let threads = ends
            .map(|channel| thread::spawn(move || Exchange { channel, sent: 0, received: 0 }.run()));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

/// [D47] What a peer that is not trusted has copied at once is bounded by what this end announced,
/// not by the peer's slab; nothing of the rest is lost.
#[test]
fn copies_are_bounded_by_the_own_segment() {
    let small = Geometry { ring_bytes: 65_536, release_entries: 64, slab_bytes: 65_536 };
    let large = Geometry { slab_bytes: 4 << 20, ..small };
    let (left, _) = Segment::create(large).unwrap();
    let (right, _) = Segment::create(small).unwrap();
    let settings = Settings { message_bytes_max: 100_000, hostile: true };
    let (left_seen, right_seen) = (PeerSegment::alias(&left), PeerSegment::alias(&right));
    let waker = Waker::noop();
    let mut sender = Channel::new(left, right_seen, settings, waker);
    let mut receiver = Channel::new(right, left_seen, settings, waker);
    for number in 0..20 {
        assert!(sender.send(1, &[number; 60_000]).unwrap());
    }
    let (mut buffer, mut received) = (vec![0; 4096], Vec::new());
    while received.len() < 20 {
        let before = received.len();
        let mut sink = |_, message| match message {
            Received::Owned(bytes) => received.push(bytes[0]),
            _ => panic!("not copied"),
        };
        receiver.receive(&mut buffer, 50, &mut sink).unwrap();
        assert_eq!(received.len() - before, 1, "100,000 bytes hold one of them");
    }
    assert_eq!(received, (0..20).collect::<Vec<_>>());
}
