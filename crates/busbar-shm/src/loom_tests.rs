//! Models of every pair of orderings in this crate, for loom to explore.
//!
//! Run: `RUSTFLAGS="--cfg loom" cargo test -p busbar-shm --release --lib loom`.
//!
//! Each model says by which local mutations it was seen to fail; one that survives every mutation
//! proves nothing.

use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::sync::{Condvar, Mutex};
use loom::thread;

use crate::cursor::{RxCursor, TxCursor};
use crate::park::{Bell, Sleeper, Wants};
use crate::rig::{self, Rig};
use crate::slab::ChunkId;

/// Stands for the bytes of a ring: loom reports an access that is not ordered behind the one
/// before it.
struct Slots(Vec<UnsafeCell<u64>>);

// SAFETY: the models reach a slot only while a cursor grants it; loom checks that.
unsafe impl Sync for Slots {}

// SAFETY: as for `Sync`.
unsafe impl Send for Slots {}

impl Slots {
    fn new(count: u64) -> Arc<Self> {
        Arc::new(Self((0..count).map(|_| UnsafeCell::new(0)).collect()))
    }

    fn at(&self, position: u64) -> &UnsafeCell<u64> {
        let len = self.0.len() as u64;
        &self.0[usize::try_from(position % len).expect("a few slots")]
    }

    fn write(&self, position: u64, value: u64) {
        // SAFETY: loom checks that nobody else is at the slot.
        self.at(position).with_mut(|slot| unsafe { *slot = value });
    }

    fn read(&self, position: u64) -> u64 {
        // SAFETY: loom checks that nobody else writes the slot.
        self.at(position).with(|slot| unsafe { *slot })
    }
}

/// Stands for an eventfd. A sleeper that nobody rings is a deadlock, which loom reports.
#[derive(Default)]
struct EventFd {
    rung: Mutex<u64>,
    changed: Condvar,
}

impl EventFd {
    fn ring(&self) {
        *self.rung.lock().expect("no panics") += 1;
        self.changed.notify_one();
    }

    fn wait(&self) {
        let mut rung = self.rung.lock().expect("no panics");
        while *rung == 0 {
            rung = self.changed.wait(rung).expect("no panics");
        }
        *rung = 0;
    }
}

fn explore(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// [D42] No slot is lost, doubled or torn, also when the ring wraps and records are published in
/// batches.
///
/// Fails when `TxCursor::publish` or `RxCursor::release` stores Relaxed, when
/// `RxCursor::available` or `TxCursor::free` loads Relaxed, and when `free` reports one unit more.
#[test]
fn loom_ring_passes_every_slot_once() {
    explore(5, || {
        let rig = Rig::new();
        let (mut tx, mut rx) = rig.ring(2, 1);
        let slots = Slots::new(2);
        let written = Arc::clone(&slots);
        let producer = thread::spawn(move || {
            for batch in [&[1, 2][..], &[3], &[4]] {
                let wanted = batch.len() as u64;
                while tx.free(wanted).expect("an honest peer") < wanted {
                    thread::yield_now();
                }
                for &value in batch {
                    written.write(tx.claim(1), value);
                }
                assert!(tx.publish());
            }
        });
        let mut next = 1;
        while next <= 4 {
            let available = rx.available(1).expect("an honest peer");
            for _ in 0..available {
                assert_eq!(slots.read(rx.position()), next);
                rx.consume(1);
                next += 1;
            }
            if !rx.release() {
                thread::yield_now();
            }
        }
        assert_eq!(rx.available(1), Ok(0), "nothing was doubled");
        producer.join().expect("no panics");
    });
}

struct Waiter {
    sleeper: Sleeper,
    own_bell: Arc<EventFd>,
    peer: Bell,
    peer_bell: Arc<EventFd>,
    parks: u32,
    rings: u32,
}

impl Waiter {
    fn new(sleeper: Sleeper, own: &Arc<EventFd>, peer: Bell, peer_bell: &Arc<EventFd>) -> Self {
        let (own_bell, peer_bell) = (Arc::clone(own), Arc::clone(peer_bell));
        Self { sleeper, own_bell, peer, peer_bell, parks: 0, rings: 0 }
    }

    /// What `Channel::park` and its caller do.
    fn sleep_until(&mut self, wants: Wants, mut happened: impl FnMut() -> bool) {
        while !happened() {
            self.parks += 1;
            self.sleeper.park(wants);
            if !happened() {
                self.own_bell.wait();
            }
            self.sleeper.unpark();
        }
    }

    fn ring_for(&mut self, happened: Wants) {
        if self.peer.must_ring(happened) {
            self.rings += 1;
            self.peer_bell.ring();
        }
    }
}

fn produce(mut tx: TxCursor, slots: &Slots, mut waiter: Waiter, count: u64) -> (u32, u32) {
    for value in 0..count {
        waiter.sleep_until(Wants::SPACE, || tx.free(1).expect("an honest peer") > 0);
        slots.write(tx.claim(1), value);
        tx.publish();
        waiter.ring_for(Wants::DATA);
    }
    (waiter.parks, waiter.rings)
}

fn consume(mut rx: RxCursor, slots: &Slots, mut waiter: Waiter, count: u64) -> (u32, u32) {
    for value in 0..count {
        waiter.sleep_until(Wants::DATA, || rx.available(1).expect("an honest peer") > 0);
        assert_eq!(slots.read(rx.position()), value);
        rx.consume(1);
        rx.release();
        waiter.ring_for(Wants::SPACE);
    }
    (waiter.parks, waiter.rings)
}

fn sleepers(capacity: u64, count: u64) {
    let rig = Rig::new();
    let (tx, rx) = rig.ring(capacity, 1);
    let slots = Slots::new(capacity);
    let bells = [Arc::new(EventFd::default()), Arc::new(EventFd::default())];
    let (left_sleeper, left_seen) = rig::sleep(&rig.left);
    let (right_sleeper, right_seen) = rig::sleep(&rig.right);
    let left = Waiter::new(left_sleeper, &bells[0], right_seen, &bells[1]);
    let right = Waiter::new(right_sleeper, &bells[1], left_seen, &bells[0]);
    let written = Arc::clone(&slots);
    let producer = thread::spawn(move || produce(tx, &written, left, count));
    let (data_parks, space_rings) = consume(rx, &slots, right, count);
    let (space_parks, data_rings) = producer.join().expect("no panics");
    assert!(data_rings <= data_parks, "{data_rings} rings for {data_parks} sleeps");
    assert!(space_rings <= space_parks, "{space_rings} rings for {space_parks} sleeps");
}

/// [D44] A reader that sleeps is rung for data, at most once each time it sleeps.
///
/// Fails (deadlock) when either fence in park.rs is removed or made AcqRel, and when the epoch
/// stands still; fails (too many rings) when `must_ring` forgets what it rang for.
#[test]
fn loom_no_wake_up_for_data_is_lost() {
    explore(4, || sleepers(2, 3));
}

/// [D44] The same for a writer that sleeps until there is space, while the reader may sleep too.
///
/// Fails as above, and (deadlock) when the reader rings before it releases.
#[test]
fn loom_no_wake_up_for_space_is_lost() {
    explore(3, || sleepers(1, 3));
}

/// [D43] [D44] Chunk returns are seen once each, and the ring never overflows though the borrower
/// learns of free entries only through the records that lend chunks anew.
///
/// Fails (a stale entry, or `Breach::Release`) when `TxCursor::publish` stores Relaxed, when
/// `RxCursor::available` loads Relaxed, and when the lender lends before it releases what it took.
#[test]
fn loom_release_ring_returns_every_chunk_once() {
    explore(5, || {
        let rig = Rig::new();
        let (mut back, mut returned) = rig.releases(2);
        // Chunks are lent by records that the right end sends: its ring, not the left end's.
        let lending = Rig { left: Arc::clone(&rig.right), right: Arc::clone(&rig.left) };
        let (mut lend, mut lent) = lending.ring(8, 1);
        let chunk = |n| ChunkId { index: n, generation: n + 10 };
        let borrower = thread::spawn(move || {
            let mut next = 1;
            while next <= 4 {
                for _ in 0..lent.available(1).expect("an honest peer") {
                    lent.consume(1);
                    back.give_back((chunk(next), 0)).expect("the lender lends two at a time");
                    next += 1;
                }
                lent.release();
                if !back.publish() {
                    thread::yield_now();
                }
            }
        });
        lend.claim(2);
        lend.publish();
        let mut next = 1;
        while next <= 4 {
            let before = next;
            while let Some(found) = returned.take().expect("an honest peer") {
                assert_eq!(found, chunk(next));
                next += 1;
            }
            returned.release();
            let again = u64::from(next.min(3) - before.min(3));
            lend.claim(again);
            if !lend.publish() {
                thread::yield_now();
            }
        }
        assert_eq!(returned.take(), Ok(None));
        borrower.join().expect("no panics");
    });
}
