//! Peers that write nonsense into their segment while a channel works on it: whatever they do, the
//! channel answers with messages or a breach, and neither panics, hangs nor leaves its memory.
//!
//! Seeds are fixed. With one thread a seed repeats exactly; with two it repeats what is written,
//! not when.

use std::collections::HashSet;
use std::fs::{self, File};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::thread;

use busbar_shm::record::{Header, Kind, stride};
use busbar_shm::{Breach, Channel, Error, PeerSegment, Received, Settings, Wants};

use crate::forge::{
    Forge, PARK, RELEASE_HEAD, RELEASE_TAIL, RING, RX_HEAD, TX_TAIL, descriptor, first, record,
};
use crate::pair::{Random, SETTINGS, copy, geometry, pattern, segment};

/// A peer that mostly does the right thing, so that its nonsense is looked at.
struct Scribe<'a> {
    forge: &'a Forge,
    /// The segment that it reads.
    victim: OwnedFd,
    random: Random,
    tail: u64,
    returned: u64,
}

impl<'a> Scribe<'a> {
    fn new(forge: &'a Forge, seed: u64) -> (Self, Victim) {
        for word in [TX_TAIL, RX_HEAD, RELEASE_TAIL, RELEASE_HEAD, PARK] {
            forge.set(word, 0);
        }
        let (channel, victim) = forge.victim_and_segment(settings(seed));
        let random = Random::new(seed);
        (Self { forge, victim, random, tail: 0, returned: 0 }, Victim::new(channel))
    }

    fn step(&mut self) {
        match self.random.below(8) {
            0..5 => self.append(),
            5 | 6 => {
                self.forge.set(RX_HEAD, self.peek(TX_TAIL));
                self.forge.set(RELEASE_HEAD, self.peek(RELEASE_TAIL));
            }
            _ if self.random.below(4) == 0 => self.scribble(),
            _ => {}
        }
    }

    /// A word of the victim's segment.
    fn peek(&self, offset: usize) -> u64 {
        let mut word = [0; 8];
        rustix::io::pread(&self.victim, &mut word, offset as u64).unwrap();
        u64::from_le_bytes(word)
    }

    fn append(&mut self) {
        if self.tail.saturating_sub(self.peek(RX_HEAD)) > 32_768 {
            return;
        }
        let random = &mut self.random;
        let len = 1 + random.below(300);
        let bytes = pattern(random.next(), len);
        let begin = first(2 * len as u64, &bytes);
        let (channel, index) = (7, u32::try_from(random.below(64)).unwrap());
        let chunk_len = random.below(2048 * (64 - index as usize)) as u64;
        let mut bytes = match random.below(8) {
            0..4 => record(Kind::Inline, channel, &bytes),
            4 => record(Kind::Chunk, channel, &descriptor(index, 1, chunk_len)),
            5 => {
                let begin = record(Kind::FragmentFirst, channel, &begin);
                [begin, record(Kind::FragmentNext, channel, &bytes)].concat()
            }
            6 => {
                let begin = record(Kind::FragmentFirst, channel, &begin);
                [begin, record(Kind::Abandon, channel, b"")].concat()
            }
            _ => Vec::new(),
        };
        if !bytes.is_empty() && random.below(100) == 0 {
            let at = random.below(bytes.len());
            bytes[at] = random.next().to_le_bytes()[0];
        }
        self.tail = self.forge.write(self.tail, &bytes);
        self.forge.set(TX_TAIL, self.tail);
    }

    fn scribble(&mut self) {
        let random = &mut self.random;
        let value = random.next() >> random.below(64);
        match random.below(8) {
            0..3 => {
                let end = usize::try_from(self.forge.geometry.file_bytes()).unwrap();
                let (at, byte) = (RING + random.below(end - RING), value.to_le_bytes()[0]);
                self.forge.byte(at).store(byte, Ordering::Relaxed);
            }
            3 => {
                let back = random.below(256) as u64;
                self.forge.write(self.tail.wrapping_sub(back), &value.to_le_bytes()[..1]);
            }
            4 | 5 => self.forge.set(PARK, value),
            6 => self.forge.set(random.below(5) * 128, value),
            _ => {
                let mask = u64::from(self.forge.geometry.release_entries) - 1;
                let entry = usize::try_from(self.returned & mask).unwrap();
                let chunk = random.below(8) as u64 | 1 << 32;
                self.forge.set(self.forge.releases() + 8 * entry, chunk);
                self.returned += 1;
                self.forge.set(RELEASE_TAIL, self.returned);
            }
        }
    }
}

/// Does to a channel what its owner might.
struct Victim {
    channel: Channel,
    leases: Vec<Received>,
    pending: Option<usize>,
    received: usize,
}

impl Victim {
    fn new(channel: Channel) -> Self {
        Self { channel, leases: Vec::new(), pending: None, received: 0 }
    }

    fn step(&mut self, random: &mut Random) -> Result<(), Breach> {
        let done = match random.below(10) {
            0..4 => self.receive(random),
            4..6 => self.send(random),
            6 => self.lend(random),
            7 => {
                let drop_from = random.below(self.leases.len() + 1);
                self.leases.truncate(drop_from);
                self.channel.collect().map_err(Error::from)
            }
            8 => {
                self.channel.park(Wants::DATA.or(Wants::SPACE));
                self.channel.unpark();
                Ok(())
            }
            _ => {
                self.channel.abandon();
                self.pending = None;
                Ok(())
            }
        };
        let _ = self.channel.take_ring();
        match done {
            Ok(()) => Ok(()),
            Err(Error::Breach(breach)) => Err(breach),
            Err(other) => panic!("{other}"),
        }
    }

    fn receive(&mut self, random: &mut Random) -> Result<(), Error> {
        let mut buffer = vec![0; random.below(8192)];
        let mut found = Vec::new();
        let max = random.below(20);
        self.channel.receive(&mut buffer, max, |_, received| found.push(received))?;
        assert!(found.len() <= max);
        for received in found {
            self.received += 1;
            // Reads every byte: none may lie outside the mapping.
            assert!(copy(&buffer, &received).len() <= SETTINGS.message_bytes_max);
            self.leases.push(received);
        }
        Ok(())
    }

    fn send(&mut self, random: &mut Random) -> Result<(), Error> {
        let sizes = [10, 1000, 3000, 100_000];
        let len = self.pending.unwrap_or_else(|| sizes[random.below(4)]);
        let sent = self.channel.send(0, &vec![1; len])?;
        self.pending = (!sent).then_some(len);
        Ok(())
    }

    fn lend(&mut self, random: &mut Random) -> Result<(), Error> {
        if self.pending.is_some() {
            return Ok(());
        }
        if random.below(2) == 0 {
            let header = Header { length: 20, channel: 0, kind: Kind::Inline };
            let mut run = header.encode().to_vec();
            run.resize(stride(20), 0);
            return self.channel.send_run(&run.repeat(30)).map(|_| ());
        }
        if let Some(loan) = self.channel.loan(random.below(20_000))? {
            let len = loan.len();
            self.channel.commit(0, loan, len)?;
        }
        Ok(())
    }
}

fn settings(seed: u64) -> Settings {
    Settings { hostile: seed.is_multiple_of(2), ..SETTINGS }
}

/// [D41 D45] Two thousand peers that write nonsense between any two operations.
#[test]
fn nonsense_is_a_message_or_a_breach() {
    let forge = Forge::new(geometry(131_072));
    let (mut breaches, mut received) = (HashSet::new(), 0);
    for seed in 0..2000 {
        let (mut scribe, mut victim) = Scribe::new(&forge, seed);
        let mut random = Random::new(!seed);
        for _ in 0..500 {
            scribe.step();
            if let Err(breach) = victim.step(&mut random) {
                breaches.insert(breach.as_str());
                break;
            }
        }
        received += victim.received;
    }
    assert_eq!(breaches.len(), 5, "every kind of breach was come upon: {breaches:?}");
    assert!(received > 20_000, "most of it was looked at: {received}");
}

/// [D41 D45] The same with the nonsense written during the operations.
#[test]
fn nonsense_at_the_same_time_is_a_message_or_a_breach() {
    let forge = Forge::new(geometry(131_072));
    let (mut breaches, mut received) = (0, 0);
    for seed in 0..300 {
        let (mut scribe, mut victim) = Scribe::new(&forge, seed);
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let scribbler = scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    scribe.step();
                }
            });
            let mut random = Random::new(!seed);
            let broken = (0..20_000).any(|_| victim.step(&mut random).is_err());
            breaches += usize::from(broken);
            stop.store(true, Ordering::Relaxed);
            scribbler.join().expect("no panics");
        });
        received += victim.received;
    }
    assert!(breaches > 30 && received > 300, "{breaches} breaches, {received} received");
}

/// The owner's writable mapping of a segment, found by its inode.
struct Grip {
    memory: File,
    parts: Vec<Range<u64>>,
}

impl Grip {
    fn on(fd: &OwnedFd) -> Self {
        let inode = rustix::fs::fstat(fd).unwrap().st_ino.to_string();
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let parts = maps.lines().filter_map(|line| {
            let fields: Vec<_> = line.split_ascii_whitespace().collect();
            let mine = fields[1] == "rw-s" && fields[4] == inode;
            let (start, end) = fields[0].split_once('-').unwrap();
            let hex = |text| u64::from_str_radix(text, 16).unwrap();
            mine.then(|| hex(start)..hex(end))
        });
        let memory = File::options().write(true).open("/proc/self/mem").unwrap();
        Self { memory, parts: parts.collect() }
    }

    fn scribble(&self, random: &mut Random) {
        let part = &self.parts[random.below(self.parts.len())];
        let len = usize::try_from(part.end - part.start).unwrap();
        // Half of it goes to the control words, which are all at the front.
        let front = random.below(2) == 0;
        let (base, at) = if front {
            (self.parts[0].start, random.below(5) * 128 + random.below(3))
        } else {
            (part.start, random.below(len))
        };
        let bytes = random.next().to_le_bytes();
        let count = 1 + random.below(2);
        // By the kernel, so that no reference of this process is written behind its back.
        self.memory.write_all_at(&bytes[..count], base + at as u64).unwrap();
    }
}

/// [D41 D45] An honest peer at full speed, and somebody who writes into its segment.
#[test]
fn a_corrupted_peer_is_a_message_or_a_breach() {
    let geometry = geometry(131_072);
    let (mut broken, mut received) = (0, 0);
    for seed in 0..100 {
        let (left, left_fd) = segment(geometry);
        let (right, right_fd) = segment(geometry);
        let grip = Grip::on(&left_fd);
        let open = |fd| PeerSegment::open(&fd, geometry).unwrap();
        let peer = Channel::new(left, open(right_fd), settings(seed), Waker::noop());
        let channel = Channel::new(right, open(left_fd), settings(seed), Waker::noop());
        let stop = AtomicBool::new(false);
        let mut victim = Victim::new(channel);
        // Outlives the scribbler, which needs the mapping.
        let mut peer = Victim::new(peer);
        thread::scope(|scope| {
            let honest = scope.spawn(|| {
                let mut random = Random::new(seed);
                while !stop.load(Ordering::Relaxed) {
                    // The victim, misled, may well write what its peer calls a breach.
                    if peer.step(&mut random).is_err() {
                        break;
                    }
                }
            });
            let scribbler = scope.spawn(|| {
                let mut random = Random::new(!seed);
                while !stop.load(Ordering::Relaxed) {
                    grip.scribble(&mut random);
                    (0..random.below(10_000)).for_each(|_| std::hint::spin_loop());
                }
            });
            let mut random = Random::new(seed + 1000);
            broken += usize::from((0..5000).any(|_| victim.step(&mut random).is_err()));
            stop.store(true, Ordering::Relaxed);
            // By name: ThreadSanitizer does not see what a scope's end waits for.
            honest.join().expect("no panics");
            scribbler.join().expect("no panics");
        });
        received += victim.received;
    }
    assert!(broken > 10 && received > 100, "{broken} broken, {received} received");
}
