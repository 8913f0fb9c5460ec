//! Counts heap allocations on the way of in-process messages: none, once memory is warm.
//!
//! The counting allocator is why this is a test binary of its own.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Wake, Waker};
use std::thread;

use bytes::Bytes;

use busbar_io::transport::inproc::{InprocLink, InprocOptions, InprocPair};
use busbar_io::{Inbox, Link, Slot};
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

/// The counter counts: otherwise the tests above could not fail.
#[test]
fn allocations_are_counted() {
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![1_u8; 100]))), 1);
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

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting the calls of each thread.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to `System` with the caller's arguments unchanged; the counter is a
// thread-local without a destructor, so touching it neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `System` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the pointer came from `System` with this layout, and the caller keeps the
        // contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
