//! Counts heap allocations on the way of in-process messages: none, once memory is warm; and the
//! bytes that reliable pipes hold while nothing is acknowledged: no more than their windows.
//!
//! The counting allocator is why this is a test binary of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Wake, Waker};
use std::thread;

use bytes::Bytes;

use busbar_io::transport::inproc::{InprocLink, InprocOptions, InprocPair};
use busbar_io::{
    ConnectionState, Endpoint, Engine, Event, Inbox, Lease, Link, ListenOptions, PipeId,
    SessionOptions, Slot,
};
use busbar_shm::record::{ALIGN, Header, Kind};

const MESSAGES: u64 = 50_000;

/// [I01 I17] bursts between two awake ends: no allocation, no wake-up
#[test]
fn pair_bursts_allocate_nothing() {
    let (mut a, mut b) = InprocPair::connected(InprocOptions::DEFAULT).unwrap();
    let payload = Bytes::from(vec![1; 64]);
    let burst = |a: &mut InprocPair, b: &mut InprocPair| {
        for _ in 0..100 {
            a.try_send(payload.clone()).unwrap();
        }
        for _ in 0..100 {
            assert_eq!(b.try_recv().unwrap().unwrap().len(), 64);
        }
    };
    // The first clone of a `Bytes` made from a `Vec` allocates its reference count.
    burst(&mut a, &mut b);
    let count = allocations(|| {
        for _ in 0..MESSAGES / 100 {
            burst(&mut a, &mut b);
        }
    });
    assert_eq!(count, 0, "{MESSAGES} messages");
    assert_eq!((a.stats().wakes, b.stats().wakes), (0, 0));
}

/// [I03] sleeping before every message: a wake-up each, and no allocation
#[test]
fn parking_allocates_nothing() {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    let (mut a, mut b) = InprocPair::connected(InprocOptions::DEFAULT).unwrap();
    let payload = Bytes::from_static(b"payload");
    let count = allocations(|| {
        for _ in 0..MESSAGES {
            assert!(b.poll_recv(&mut context).is_pending());
            a.try_send(payload.clone()).unwrap();
            assert!(b.poll_recv(&mut context).is_ready());
        }
    });
    assert_eq!((count, woken.0.load(Ordering::Relaxed)), (0, MESSAGES));
}

/// [I11] two threads that block on each other allocate nothing either
#[test]
fn blocking_threads_allocate_nothing() {
    let (mut a, mut b) = InprocPair::connected(InprocOptions::DEFAULT).unwrap();
    let ping = Bytes::from_static(b"ping");
    let rounds = MESSAGES / 10;
    let echo = thread::spawn(move || {
        let mut turn = |rounds| {
            for _ in 0..rounds {
                let message = b.recv_blocking(None).unwrap();
                b.send_blocking(message, None).unwrap();
            }
        };
        turn(1);
        allocations(|| turn(rounds))
    });
    let mut turn = |rounds| {
        for _ in 0..rounds {
            a.send_blocking(ping.clone(), None).unwrap();
            assert_eq!(a.recv_blocking(None).unwrap(), "ping");
        }
    };
    turn(1);
    assert_eq!(allocations(|| turn(rounds)), 0);
    assert_eq!(echo.join().unwrap(), 0);
}

/// [I16] the engine's way: runs and single messages are copied into memory that is used again
#[test]
fn link_allocates_nothing_after_warm_up() {
    let (a, b) = InprocPair::connected(InprocOptions::DEFAULT).unwrap();
    let link = |pair| InprocLink::new(pair, Waker::noop().clone());
    let (mut a, mut b) = (link(a), link(b));
    let mut run = Vec::new();
    for _ in 0..100 {
        run.extend(Header { length: 64, channel: 0, kind: Kind::Inline }.encode());
        run.extend([7; 64]);
        assert_eq!(run.len() % ALIGN, 0);
    }
    let (mut arena, mut slots, mut leases) = (vec![0; 64 * 1024], [Slot::default(); 256], vec![]);
    let mut turn = || {
        assert_eq!(a.send_run(&run).unwrap(), run.len());
        for size in [0, 64, 1000] {
            assert!(a.send(1, &run[..size]).unwrap());
        }
        let mut inbox = Inbox::new(&mut arena, &mut slots, &mut leases);
        b.receive(&mut inbox, 256).unwrap();
        assert_eq!(inbox.len(), 103);
    };
    for _ in 0..100 {
        turn();
    }
    let count = allocations(|| {
        for _ in 0..MESSAGES / 100 {
            turn();
        }
    });
    assert_eq!(count, 0, "{MESSAGES} messages");
    assert_eq!((a.stats().bells, b.stats().bells), (0, 0));
}

/// Two ends of a pipe over a unix socket, driven by one thread.
struct Ends {
    here: Engine,
    there: Engine,
    out: PipeId,
    back: PipeId,
    arena: Vec<u8>,
    slots: Vec<Slot>,
    leases: Vec<Lease>,
    events: Vec<Event>,
}

impl Ends {
    fn new(name: &str, ring_bytes: u64, session: Option<SessionOptions>) -> Self {
        let address = format!("uds://@busbar-{name}-{}", std::process::id());
        let endpoint: Endpoint = address.parse().unwrap();
        let mut options = ListenOptions::default();
        options.pipe.reliable = session;
        options.pipe.ring_bytes = ring_bytes;
        let (mut here, mut there) = (Engine::new().unwrap(), Engine::new().unwrap());
        there.listen(&endpoint, &options).unwrap();
        let out = here.dial(&endpoint, &options.pipe).unwrap();
        let (mut events, mut accepted) = (Vec::new(), None);
        while accepted.is_none() || here.state(out) != Some(ConnectionState::Connected) {
            here.turn(&mut events);
            events.clear();
            there.turn(&mut events);
            accepted = accepted.or(events.iter().find_map(|event| match *event {
                Event::Accepted { pipe, .. } => Some(pipe),
                _ => None,
            }));
        }
        let (arena, slots) = (vec![0; 1 << 16], vec![Slot::default(); 256]);
        let (back, leases) = (accepted.unwrap(), Vec::new());
        Self { here, there, out, back, arena, slots, leases, events }
    }

    /// Lets both ends go on, and receives, if anybody does: how many messages.
    fn turn(&mut self, receives: bool) -> usize {
        self.events.clear();
        self.here.turn(&mut self.events);
        self.there.turn(&mut self.events);
        if !receives {
            return 0;
        }
        self.leases.clear();
        let mut inbox = Inbox::new(&mut self.arena, &mut self.slots, &mut self.leases);
        self.there.receive(self.back, &mut inbox, 256).unwrap();
        inbox.len()
    }
}

/// [I16] large messages over a stream: what their fragments are put together in, and what is queued
/// while the socket is full, is memory of those before
#[test]
fn large_messages_allocate_nothing_after_warm_up() {
    const MESSAGE: usize = 1 << 20;
    let mut ends = Ends::new("large", 1 << 20, None);
    let payload = vec![7; MESSAGE];
    let mut pass = |count: usize| {
        let (mut sent, mut received) = (0, 0);
        while received < count {
            if sent < count {
                sent += usize::from(ends.here.send(ends.out, 0, &payload).unwrap());
            }
            received += ends.turn(true);
            assert!(
                ends.leases.iter().all(|lease| lease.len() == MESSAGE && lease[MESSAGE - 1] == 7)
            );
        }
    };
    pass(20);
    assert_eq!(allocations(|| pass(100)), 0);
}

/// As small as they may be, so that windows are what counts.
const RING_BYTES: u64 = 1 << 16;

/// Buffers of sockets, arenas and tables, whatever is sent.
const FIXED_BYTES: i64 = 3 << 20;

/// [D33] a peer that acknowledges nothing, whether or not it receives, costs its sender the window
/// and no more, however much is offered: in bytes, counted by the allocator; then senders wait
#[test]
fn memory_is_bounded_while_nothing_is_acknowledged() {
    const MESSAGE: usize = 4096;
    const CHANNELS: u16 = 4;
    for receives in [true, false] {
        let mut session = SessionOptions::default();
        (session.window_messages, session.window_bytes) = (4096, 1 << 20);
        let mut ends = Ends::new(&format!("bound-{receives}"), RING_BYTES, Some(session));
        let window = (session.window_bytes * usize::from(CHANNELS)) as i64;
        let before = held();
        let (mut accepted, mut received, mut most) = (0, 0, 0);
        // 64 MiB are offered on each channel.
        for _ in 0..64 * 256 {
            for channel in 0..CHANNELS {
                accepted += usize::from(ends.here.send(ends.out, channel, &[7; MESSAGE]).unwrap());
            }
            received += ends.turn(receives);
            most = most.max(held() - before);
        }
        assert_eq!(accepted * MESSAGE, window as usize, "whole windows, and not a message more");
        assert!(most >= window, "{most}: nothing was kept");
        assert!(most <= window + FIXED_BYTES, "{most} bytes are held for a window of {window}");
        assert!(!receives || received == accepted, "{received}");
        let stats = ends.here.stats(ends.out).unwrap();
        assert_eq!(stats.messages_unconfirmed, accepted as u64);
    }
}

/// [D33] the same in messages: small ones are bounded by their number
#[test]
fn small_messages_are_bounded_by_their_number() {
    let mut session = SessionOptions::default();
    session.window_messages = 1000;
    let mut ends = Ends::new("number", RING_BYTES, Some(session));
    let before = held();
    let (mut accepted, mut most) = (0, 0);
    for _ in 0..20_000 {
        accepted += usize::from(ends.here.send(ends.out, 0, b"x").unwrap());
        ends.turn(true);
        most = most.max(held() - before);
    }
    assert_eq!(accepted, 1000);
    assert!(most <= FIXED_BYTES, "{most}");
    // What is acknowledged makes room, and memory is the same afterwards.
    ends.there.processed(ends.back, 1000).unwrap();
    let is_full = |ends: &mut Ends| !ends.here.send(ends.out, 0, b"y").unwrap();
    while is_full(&mut ends) {
        ends.turn(true);
    }
    assert!(held() - before <= FIXED_BYTES);
}

/// The counter counts: otherwise the tests above could not fail.
#[test]
fn allocations_are_counted() {
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![1_u8; 100]))), 1);
    let before = held();
    let mut bytes = std::hint::black_box(vec![1_u8; 1000]);
    bytes.reserve_exact(9000);
    assert_eq!(held() - before, 10_000);
    drop(bytes);
    assert_eq!(held(), before);
}

#[derive(Default)]
struct Woken(AtomicU64);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Allocations of this thread while `work` runs.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

/// Bytes that this thread has allocated and not freed.
fn held() -> i64 {
    HELD.get()
}

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static HELD: Cell<i64> = const { Cell::new(0) };
}

fn count(more: usize, less: usize) {
    // Layouts are at most `isize::MAX` bytes.
    HELD.set(HELD.get() + more as i64 - less as i64);
}

/// The system's allocator, counting the calls of each thread.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to `System` with the caller's arguments unchanged; the counters are
// thread-locals without a destructor, so touching it neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        count(layout.size(), 0);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: the pointer came from `System` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        count(size, layout.size());
        // SAFETY: the pointer came from `System` with this layout, and the caller keeps the
        // contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
