//! What a message costs, beside what the hardware and the operating system make of the same.
//!
//! `cargo bench -p busbar-shm`. Round trips are printed with the number of sleeps and bells per
//! iteration: without them a figure says nothing, because a thread that never sleeps and one that
//! always does differ by a factor of twenty.

#![expect(clippy::print_stderr, reason = "figures that criterion has no column for")]

use std::hint::{black_box, spin_loop};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

use busbar_shm::record::{Header, Kind};
use busbar_shm::{Channel, Geometry, PeerSegment, Received, Segment, Settings, Wants};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rustix::event::EventfdFlags;

const MIB: usize = 1 << 20;

fn pair() -> (Channel, Channel) {
    let geometry = Geometry { ring_bytes: 1 << 20, release_entries: 1024, slab_bytes: 16 << 20 };
    let settings = Settings { message_bytes_max: 16 << 20, hostile: false };
    let (left, left_fd) = Segment::create(geometry).expect("memory");
    let (right, right_fd) = Segment::create(geometry).expect("memory");
    let open = |fd| PeerSegment::open(&fd, geometry).expect("an honest peer");
    let waker = Waker::noop();
    (
        Channel::new(left, open(right_fd), settings, waker),
        Channel::new(right, open(left_fd), settings, waker),
    )
}

fn drain(channel: &mut Channel, buffer: &mut [u8]) -> u64 {
    let mut count = 0;
    let received = channel.receive(buffer, usize::MAX, |_, received| {
        black_box(&received);
        count += 1;
    });
    received.expect("an honest peer");
    count
}

/// 64-byte messages, written and read by one thread: the work alone.
fn one_thread(c: &mut Criterion) {
    let mut group = c.benchmark_group("64 B, one thread");
    group.throughput(Throughput::Elements(100));
    let mut buffer = vec![0; 64 * 1024];
    let (mut left, mut right) = pair();
    group.bench_function("send one by one", |b| {
        b.iter(|| {
            for _ in 0..100 {
                assert!(left.send(0, black_box(&[7; 64])).expect("an honest peer"));
            }
            assert_eq!(drain(&mut right, &mut buffer), 100);
        });
    });
    let header = Header { length: 64, channel: 0, kind: Kind::Inline };
    let run = [&header.encode()[..], &[7; 64]].concat().repeat(100);
    group.bench_function("send as a run", |b| {
        b.iter(|| {
            assert_eq!(left.send_run(black_box(&run)).expect("a valid run"), run.len());
            assert_eq!(drain(&mut right, &mut buffer), 100);
        });
    });
    group.finish();
}

/// 64-byte messages from one thread to another, both polling.
fn two_threads(c: &mut Criterion) {
    let header = Header { length: 64, channel: 0, kind: Kind::Inline };
    let run = [&header.encode()[..], &[7; 64]].concat().repeat(64);
    let mut group = c.benchmark_group("64 B, two threads");
    group.throughput(Throughput::Elements(64));
    for (name, batch) in [("send one by one", 1), ("send as runs of 64", 64)] {
        group.bench_function(name, |b| {
            b.iter_custom(|iterations| {
                let (mut left, mut right) = pair();
                let bytes = run[..72 * batch].to_vec();
                let count = iterations * 64;
                let start = Instant::now();
                let sender = thread::spawn(move || {
                    for _ in 0..count / batch as u64 {
                        let mut done = 0;
                        while done < bytes.len() {
                            done += left.send_run(&bytes[done..]).expect("a valid run");
                        }
                    }
                });
                let (mut buffer, mut received) = (vec![0; 64 * 1024], 0);
                while received < count {
                    received += drain(&mut right, &mut buffer);
                }
                let elapsed = start.elapsed();
                sender.join().expect("no panics");
                elapsed
            });
        });
    }
    group.finish();
}

/// A thread that answers each message until told to stop.
fn spawn_echo(mut channel: Channel, stop: &Arc<AtomicBool>) -> thread::JoinHandle<()> {
    let stop = Arc::clone(stop);
    thread::spawn(move || {
        let mut buffer = vec![0; 4096];
        while !stop.load(Ordering::Relaxed) {
            for _ in 0..drain(&mut channel, &mut buffer) {
                channel.send(0, &buffer[8..72]).expect("an honest peer");
            }
            spin_loop();
        }
    })
}

/// A round trip between two polling threads, and the least that one can take: a counter that goes
/// forth and back between two cache lines.
fn polling_round_trip(c: &mut Criterion) {
    #[repr(align(128))]
    struct Line(AtomicU64);

    let mut group = c.benchmark_group("64 B round trip, polling");
    let stop = Arc::new(AtomicBool::new(false));
    let lines = Arc::new([Line(AtomicU64::new(0)), Line(AtomicU64::new(0))]);
    let (theirs, ended) = (Arc::clone(&lines), Arc::clone(&stop));
    let probe = thread::spawn(move || {
        while !ended.load(Ordering::Relaxed) {
            let seen = theirs[0].0.load(Ordering::Acquire);
            theirs[1].0.store(seen, Ordering::Release);
            spin_loop();
        }
    });
    let mut next = 0;
    group.bench_function("raw atomics", |b| {
        b.iter(|| {
            next += 1;
            lines[0].0.store(next, Ordering::Release);
            while lines[1].0.load(Ordering::Acquire) != next {
                spin_loop();
            }
        });
    });
    stop.store(true, Ordering::Relaxed);
    probe.join().expect("no panics");

    let (mut left, right) = pair();
    let stop = Arc::new(AtomicBool::new(false));
    let echo = spawn_echo(right, &stop);
    let mut buffer = vec![0; 4096];
    group.bench_function("channel", |b| {
        b.iter(|| {
            left.send(0, black_box(&[7; 64])).expect("an honest peer");
            while drain(&mut left, &mut buffer) == 0 {
                spin_loop();
            }
        });
    });
    stop.store(true, Ordering::Relaxed);
    echo.join().expect("no panics");
    group.finish();
}

/// A channel with its bells, whose owner sleeps whenever there is nothing to read.
struct Sleepy {
    channel: Channel,
    own: OwnedFd,
    peer: OwnedFd,
    buffer: Vec<u8>,
}

impl Sleepy {
    fn send(&mut self) {
        assert!(self.channel.send(0, &[7; 64]).expect("an honest peer"));
        if self.channel.take_ring() {
            ring(&self.peer);
        }
    }

    fn receive(&mut self) {
        while drain(&mut self.channel, &mut self.buffer) == 0 {
            if self.channel.park(Wants::DATA) {
                sleep(&self.own);
                self.channel.unpark();
            }
        }
    }
}

fn ring(bell: &OwnedFd) {
    rustix::io::write(bell, &1_u64.to_le_bytes()).expect("an eventfd takes eight bytes");
}

fn sleep(bell: &OwnedFd) {
    rustix::io::read(bell, &mut [0; 8]).expect("an eventfd gives eight bytes");
}

fn bells() -> [OwnedFd; 2] {
    [(); 2].map(|()| rustix::event::eventfd(0, EventfdFlags::CLOEXEC).expect("a descriptor"))
}

/// A round trip between two sleepers, and the same two eventfds without a channel.
fn sleeping_round_trip(c: &mut Criterion) {
    let mut group = c.benchmark_group("64 B round trip, sleeping");
    group.measurement_time(Duration::from_secs(3));
    group.bench_function("raw eventfds", |b| {
        b.iter_custom(|iterations| {
            let [one, two] = bells();
            let (their_one, their_two) = (one.try_clone(), two.try_clone());
            let echo = thread::spawn(move || {
                let (one, two) = (their_one.expect("a descriptor"), their_two.expect("likewise"));
                for _ in 0..iterations {
                    sleep(&one);
                    ring(&two);
                }
            });
            let start = Instant::now();
            for _ in 0..iterations {
                ring(&one);
                sleep(&two);
            }
            let elapsed = start.elapsed();
            echo.join().expect("no panics");
            elapsed
        });
    });
    let (mut trips, mut parks, mut rings) = (0, 0, 0);
    group.bench_function("channel", |b| {
        b.iter_custom(|iterations| {
            let ((left, right), [one, two]) = (pair(), bells());
            let again = |fd: &OwnedFd| fd.try_clone().expect("a descriptor");
            let (own, peer, buffer) = (again(&two), again(&one), vec![0; 4096]);
            let mut left = Sleepy { channel: left, own: one, peer: two, buffer: buffer.clone() };
            let mut right = Sleepy { channel: right, own, peer, buffer };
            let echo = thread::spawn(move || {
                for _ in 0..iterations {
                    right.receive();
                    right.send();
                }
                right.channel.counters()
            });
            let start = Instant::now();
            for _ in 0..iterations {
                left.send();
                left.receive();
            }
            let elapsed = start.elapsed();
            let (here, there) = (left.channel.counters(), echo.join().expect("no panics"));
            trips += iterations;
            parks += here.parks + there.parks;
            rings += here.bells + there.bells;
            elapsed
        });
    });
    group.finish();
    if trips > 0 {
        let per_trip = |n: u64| f64::from(u32::try_from(n * 100 / trips).unwrap_or(0)) / 100.0;
        eprintln!(
            "sleeping channel: parks {}, bells {} per trip",
            per_trip(parks),
            per_trip(rings)
        );
    }
}

/// 1 MiB handed over: written in place, copied in, and copied in and out.
fn one_mebibyte(c: &mut Criterion) {
    let mut group = c.benchmark_group("1 MiB");
    group.throughput(Throughput::Bytes(MIB as u64));
    let (mut left, mut right) = pair();
    let payload = vec![7; MIB];
    let mut buffer = vec![0; 4096];
    let mut copied = vec![0; MIB];
    let mut hand_over = |left: &mut Channel, copied: Option<&mut Vec<u8>>| {
        let mut lease = None;
        let used = right.receive(&mut buffer, 1, |_, received| lease = Some(received));
        used.expect("an honest peer");
        let Some(Received::Lease(lease)) = lease else { panic!("no lease") };
        if let Some(copied) = copied {
            copied.copy_from_slice(&lease);
        }
        drop(lease);
        right.collect().expect("an honest peer");
        left.collect().expect("an honest peer");
    };
    group.bench_function("loan handed over", |b| {
        b.iter(|| {
            let loan = left.loan(MIB).expect("an honest peer").expect("a free chunk");
            assert!(left.commit(0, loan, MIB).expect("an honest peer").is_none());
            hand_over(&mut left, None);
        });
    });
    group.bench_function("copied in", |b| {
        b.iter(|| {
            assert!(left.send(0, black_box(&payload)).expect("an honest peer"));
            hand_over(&mut left, None);
        });
    });
    group.bench_function("copied in and out", |b| {
        b.iter(|| {
            assert!(left.send(0, black_box(&payload)).expect("an honest peer"));
            hand_over(&mut left, Some(&mut copied));
            black_box(&copied);
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = one_thread, two_threads, polling_round_trip, sleeping_round_trip, one_mebibyte
}
criterion_main!(benches);
