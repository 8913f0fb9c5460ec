//! Counts heap allocations: none per message once the channel is warm.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::task::Waker;

use busbar_shm::record::{Header, Kind};
use busbar_shm::{Channel, Geometry, PeerSegment, Received, Segment, Settings};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that is ending allocates nothing that is of interest here.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: everything is handed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's obligations are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's obligations are the same.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's obligations are the same.
        unsafe { System.realloc(at, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn pair() -> (Channel, Channel) {
    let geometry = Geometry { ring_bytes: 65_536, release_entries: 1024, slab_bytes: 4 << 20 };
    let settings = Settings { message_bytes_max: 1 << 20, hostile: false };
    let (left, left_fd) = Segment::create(geometry).unwrap();
    let (right, right_fd) = Segment::create(geometry).unwrap();
    let open = |fd| PeerSegment::open(&fd, geometry).unwrap();
    (
        Channel::new(left, open(right_fd), settings, Waker::noop()),
        Channel::new(right, open(left_fd), settings, Waker::noop()),
    )
}

/// Allocations of `rounds` calls, after as many to warm up.
fn allocations_of(rounds: u32, mut round: impl FnMut()) -> u64 {
    (0..rounds).for_each(|_| round());
    let before = ALLOCATIONS.get();
    (0..rounds).for_each(|_| round());
    ALLOCATIONS.get() - before
}

/// The counter counts; otherwise the tests below would show nothing.
#[test]
fn the_counter_counts() {
    let count = allocations_of(10, || drop(std::hint::black_box(Vec::<u8>::with_capacity(10))));
    assert_eq!(count, 10);
}

/// [D02] Small messages, one by one and as runs.
#[test]
fn inline_messages_allocate_nothing() {
    let (mut left, mut right) = pair();
    let header = Header { length: 64, channel: 0, kind: Kind::Inline };
    let run = [&header.encode()[..], &[7; 64]].concat().repeat(50);
    let mut buffer = vec![0; 65_536];
    let mut received = 0;
    let count = allocations_of(1000, || {
        assert!(left.send(0, &[1; 64]).unwrap());
        assert_eq!(left.send_run(&run).unwrap(), run.len());
        right.receive(&mut buffer, usize::MAX, |_, _| received += 1).unwrap();
    });
    assert_eq!((count, received), (0, 2 * 1000 * 51));
}

/// [D02 D43] Large messages, copied into the slab or written in place, and leases given back.
#[test]
fn large_messages_allocate_nothing() {
    let (mut left, mut right) = pair();
    let payload = vec![5; 10_000];
    let mut buffer = vec![0; 4096];
    let mut held: Vec<Received> = Vec::with_capacity(64);
    let count = allocations_of(1000, || {
        for _ in 0..20 {
            assert!(left.send(0, &payload).unwrap());
            let mut loan = left.loan(10_000).unwrap().unwrap();
            loan.fill(3);
            assert!(left.commit(0, loan, 10_000).unwrap().is_none());
        }
        // Dropped unsent.
        drop(left.loan(5000).unwrap().unwrap());
        right.receive(&mut buffer, usize::MAX, |_, received| held.push(received)).unwrap();
        assert_eq!(held.len(), 40);
        held.clear();
        right.collect().unwrap();
    });
    assert_eq!(count, 0);
}
