//! In-process messages between two threads: throughput per way of sending, latency awake and
//! asleep, and the cost of a connection.

use std::collections::VecDeque;
use std::hint::{black_box, spin_loop};
use std::sync::Barrier;
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};

use busbar_io::transport::inproc::{
    InprocLink, InprocOptions, InprocPair, bind_inproc, connect_inproc,
};
use busbar_io::{Inbox, Link, Slot};
use busbar_shm::record::{Header, Kind};

const BATCH: usize = 64;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    throughput(&mut criterion);
    latency(&mut criterion);
    connecting(&mut criterion);
    criterion.final_summary();
}

fn throughput(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("inproc_throughput");
    group.throughput(Throughput::Elements(1));
    for size in [64, 1024, 65_536] {
        group.bench_function(BenchmarkId::new("pair_single", size), |bencher| {
            let payload = Bytes::from(vec![1; size]);
            bencher.iter_custom(|messages| pair_single(messages, &payload));
        });
        group.bench_function(BenchmarkId::new("pair_batch", size), |bencher| {
            let payload = Bytes::from(vec![1; size]);
            bencher.iter_custom(|messages| pair_batch(messages, &payload));
        });
    }
    for size in [64, 1024] {
        group.bench_function(BenchmarkId::new("link_run", size), |bencher| {
            bencher.iter_custom(|messages| link_runs(messages, size));
        });
    }
    group.bench_function("pair_static/64", |bencher| {
        let payload = Bytes::from_static(&[1; 64]);
        bencher.iter_custom(|messages| pair_single(messages, &payload));
    });
    group.finish();
}

/// Every message is published on its own.
fn pair_single(messages: u64, payload: &Bytes) -> Duration {
    let (mut a, mut b) = pair();
    timed(
        || {
            for _ in 0..messages {
                let mut message = payload.clone();
                while let Err(full) = a.try_send(message) {
                    message = full.into_bytes();
                    thread::yield_now();
                }
            }
        },
        || {
            let mut received = 0;
            while received < messages {
                match b.try_recv().expect("open") {
                    Some(message) => {
                        black_box(message.len());
                        received += 1;
                    }
                    None => thread::yield_now(),
                }
            }
        },
    )
}

fn pair_batch(messages: u64, payload: &Bytes) -> Duration {
    let (mut a, mut b) = pair();
    timed(
        || {
            let mut waiting = VecDeque::with_capacity(BATCH);
            let mut left = messages;
            while left > 0 || !waiting.is_empty() {
                while left > 0 && waiting.len() < BATCH {
                    waiting.push_back(payload.clone());
                    left -= 1;
                }
                if a.try_send_batch(&mut waiting).expect("open") == 0 {
                    thread::yield_now();
                }
            }
        },
        || {
            let (mut received, mut batch) = (0, Vec::with_capacity(BATCH));
            while received < messages {
                match b.try_recv_batch(&mut batch, BATCH).expect("open") {
                    0 => thread::yield_now(),
                    count => received += count as u64,
                }
                batch.clear();
            }
        },
    )
}

/// As the engine sends: records staged in one buffer.
fn link_runs(messages: u64, size: usize) -> Duration {
    let (a, b) = pair();
    let link = |pair| InprocLink::new(pair, Waker::noop().clone());
    let (mut a, mut b) = (link(a), link(b));
    let mut run = Vec::new();
    for _ in 0..BATCH {
        let length = u32::try_from(size).expect("small");
        run.extend(Header { length, channel: 0, kind: Kind::Inline }.encode());
        run.resize(run.len() + size.next_multiple_of(8), 1);
    }
    let stride = run.len() / BATCH;
    let (mut arena, mut leases) = (vec![0; 256 * 1024], Vec::new());
    let mut slots = [Slot::default(); 256];
    timed(
        || {
            let mut left = messages;
            while left > 0 {
                let count = left.min(BATCH as u64);
                let bytes = stride * usize::try_from(count).expect("small");
                match a.send_run(&run[..bytes]).expect("open") {
                    0 => thread::yield_now(),
                    taken => left -= (taken / stride) as u64,
                }
            }
        },
        || {
            let mut received = 0;
            while received < messages {
                let mut inbox = Inbox::new(&mut arena, &mut slots, &mut leases);
                b.receive(&mut inbox, 256).expect("open");
                match inbox.len() {
                    0 => thread::yield_now(),
                    count => received += count as u64,
                }
            }
        },
    )
}

fn latency(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("inproc_round_trip");
    group.bench_function("spinning", |bencher| {
        bencher.iter_custom(|rounds| {
            round_trips(rounds, |pair| {
                loop {
                    if let Some(message) = pair.try_recv().expect("open") {
                        return message;
                    }
                    spin_loop();
                }
            })
        });
    });
    group.bench_function("parking", |bencher| {
        bencher.iter_custom(|rounds| {
            round_trips(rounds, |pair| pair.recv_blocking(None).expect("open"))
        });
    });
    group.finish();
}

fn round_trips(rounds: u64, receive: impl Fn(&mut InprocPair) -> Bytes + Sync) -> Duration {
    let (mut a, mut b) = pair();
    let receive = &receive;
    timed(
        move || {
            for _ in 0..rounds {
                a.try_send(Bytes::from_static(&[1; 64])).expect("room");
                black_box(receive(&mut a));
            }
        },
        move || {
            for _ in 0..rounds {
                let message = receive(&mut b);
                b.try_send(message).expect("room");
            }
        },
    )
}

fn connecting(criterion: &mut Criterion) {
    let mut listener = bind_inproc("bench", InprocOptions::DEFAULT).expect("free");
    criterion.bench_function("inproc_connect_accept_close", |bencher| {
        bencher.iter(|| {
            let client = connect_inproc("bench", InprocOptions::DEFAULT).expect("bound");
            (client, listener.try_accept().expect("bound"))
        });
    });
}

fn pair() -> (InprocPair, InprocPair) {
    InprocPair::connected(InprocOptions::DEFAULT).expect("valid options")
}

/// Runs both at once and returns how long the second took.
fn timed(first: impl FnOnce() + Send, second: impl FnOnce()) -> Duration {
    let start = Barrier::new(2);
    thread::scope(|scope| {
        scope.spawn(|| {
            start.wait();
            first();
        });
        start.wait();
        let begin = Instant::now();
        second();
        begin.elapsed()
    })
}
