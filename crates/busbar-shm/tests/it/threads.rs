//! Two threads, two channels: everything at once and at full speed.

use std::os::fd::OwnedFd;
use std::thread;

use busbar_shm::record::{Header, Kind, stride};
use busbar_shm::{Channel, Settings, Wants};
use rustix::event::EventfdFlags;

use crate::pair::{Random, SETTINGS, copy, geometry, pair, pattern};

/// What a transport adds to a channel: the bells.
struct End {
    channel: Channel,
    own: OwnedFd,
    peer: OwnedFd,
}

fn ends(slab_bytes: u64, settings: Settings) -> [End; 2] {
    let (left, right) = pair(geometry(slab_bytes), settings);
    let bell = || rustix::event::eventfd(0, EventfdFlags::CLOEXEC).unwrap();
    let (one, two) = (bell(), bell());
    let [one_again, two_again] = [&one, &two].map(|fd| fd.try_clone().unwrap());
    [
        End { channel: left, own: one, peer: two },
        End { channel: right, own: two_again, peer: one_again },
    ]
}

impl End {
    fn ring_if_needed(&mut self) {
        if self.channel.take_ring() {
            rustix::io::write(&self.peer, &1_u64.to_le_bytes()).unwrap();
        }
    }

    /// Looks a few more times, then sleeps until the peer rings.
    fn wait(&mut self, wants: Wants, spins: u32) {
        for _ in 0..spins {
            let done = if wants == Wants::DATA {
                self.channel.is_readable()
            } else {
                self.channel.is_writable()
            };
            if done {
                return;
            }
            std::hint::spin_loop();
        }
        if self.channel.park(wants) {
            rustix::io::read(&self.own, &mut [0; 8]).unwrap();
            self.channel.unpark();
        }
    }

    fn send(&mut self, payload: &[u8], spins: u32) {
        while !self.channel.send(0, payload).unwrap() {
            self.ring_if_needed();
            self.wait(Wants::SPACE, spins);
        }
        self.ring_if_needed();
    }

    /// Calls `each` with messages until it has had `count`.
    fn receive(&mut self, count: u64, spins: u32, mut each: impl FnMut(u64, &[u8])) {
        let mut buffer = vec![0; 65_536];
        let mut number = 0;
        while number < count {
            let mut found = Vec::new();
            self.channel
                .receive(&mut buffer, usize::MAX, |_, payload| found.push(payload))
                .unwrap();
            self.ring_if_needed();
            if found.is_empty() {
                self.wait(Wants::DATA, spins);
            }
            for payload in found {
                each(number, &copy(&buffer, &payload));
                number += 1;
            }
        }
    }
}

fn lens(seed: u64, count: u64) -> impl Iterator<Item = usize> {
    let mut random = Random::new(seed);
    (0..count).map(move |_| {
        let end = [100, 1100, 5000, 200_000][[0, 0, 0, 0, 1, 1, 2, 3][random.below(8)]];
        random.below(end)
    })
}

fn stream(slab_bytes: u64, hostile: bool, count: u64, spins: u32) {
    let [mut left, mut right] = ends(slab_bytes, Settings { hostile, ..SETTINGS });
    let sender = thread::spawn(move || {
        for (number, len) in lens(1, count).enumerate() {
            left.send(&pattern(number as u64, len), spins);
        }
        left
    });
    let mut expected = lens(1, count);
    right.receive(count, spins, |number, payload| {
        let len = expected.next().expect("no more than were sent");
        assert!(*payload == *pattern(number, len), "message {number}");
    });
    let left = sender.join().expect("no panics");
    let (sent, received) = (left.channel.counters(), right.channel.counters());
    assert_eq!(sent.bytes_sent, received.bytes_received);
    assert!(sent.bells <= received.parks, "at most one bell each time the reader sleeps");
    assert!(received.bells <= sent.parks, "at most one bell each time the writer sleeps");
}

/// [D01 D42 D43 D44] Messages of all sizes, both ends going to sleep at once when idle.
#[test]
fn messages_of_all_sizes_pass_between_threads() {
    for (slab_bytes, hostile) in [(0, false), (65_536, false), (4 << 20, false), (1 << 20, true)] {
        stream(slab_bytes, hostile, 3000, 0);
    }
}

/// [D42] The same with both ends polling for a while.
#[test]
fn messages_of_all_sizes_pass_between_polling_threads() {
    stream(1 << 20, false, 3000, 1000);
}

/// [D44] Under load bells are rare: the reader sleeps only when it has found nothing for a while.
#[test]
fn bells_are_rare_under_load() {
    const COUNT: u64 = 300_000;
    let [mut left, mut right] = ends(0, SETTINGS);
    let record = [&Header { length: 64, channel: 0, kind: Kind::Inline }.encode()[..], &[7; 64]];
    let run = record.concat().repeat(50);
    let sender = thread::spawn(move || {
        for _ in 0..COUNT / 50 {
            let mut done = 0;
            while done < run.len() {
                done += left.channel.send_run(&run[done..]).unwrap();
                left.ring_if_needed();
                if done < run.len() {
                    left.wait(Wants::SPACE, 2000);
                }
            }
        }
        left.channel.counters()
    });
    assert_eq!(stride(64), 72);
    right.receive(COUNT, 2000, |_, payload| assert_eq!(payload, [7; 64]));
    let (sent, received) = (sender.join().expect("no panics"), right.channel.counters());
    assert_eq!((sent.messages_sent, received.messages_received), (COUNT, COUNT));
    let (bells, messages) = (sent.bells + received.bells, COUNT);
    assert!(bells * 20 < messages, "{bells} bells for {messages} messages");
}

/// [D44] Each message of a round trip between sleepers costs one bell, never two.
#[test]
fn a_round_trip_between_sleepers_costs_one_bell_each_way() {
    const COUNT: u64 = 2000;
    let [mut left, mut right] = ends(0, SETTINGS);
    let echo = thread::spawn(move || {
        for _ in 0..COUNT {
            right.receive(1, 0, |_, _| {});
            right.send(b"back", 0);
        }
        right.channel.counters()
    });
    for _ in 0..COUNT {
        left.send(b"forth", 0);
        left.receive(1, 0, |_, payload| assert_eq!(payload, b"back"));
    }
    let (here, there) = (left.channel.counters(), echo.join().expect("no panics"));
    assert!(here.bells <= COUNT && there.bells <= COUNT, "{here:?} {there:?}");
    assert!(here.bells <= there.parks && there.bells <= here.parks, "{here:?} {there:?}");
}
