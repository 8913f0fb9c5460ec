//! Structured messages without a copy: written into the slab, read in the slab.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use busbar_io::{Event, Interest, Lease, ListenOptions, Loan, PipeOptions, Trust};
use rkyv::rancor::Error;
use rkyv::ser::writer::Buffer;
use rkyv::{Archive, Deserialize, Serialize};

use crate::support::{Driven, PATIENCE, Scratch, connected};

#[derive(Archive, Serialize, Deserialize, Debug, PartialEq)]
struct Snapshot {
    tick: u64,
    players: Vec<Player>,
}

#[derive(Archive, Serialize, Deserialize, Debug, PartialEq)]
struct Player {
    name: String,
    position: [f32; 3],
}

fn snapshot() -> Snapshot {
    let player = |n: u16| Player {
        name: format!("player {n}"),
        position: [f32::from(n), 0.5, -f32::from(n)],
    };
    Snapshot { tick: 77, players: (0..500).map(player).collect() }
}

/// Serializes straight into the loan; returns the bytes used.
fn write(snapshot: &Snapshot, loan: &mut Loan) -> usize {
    rkyv::api::high::to_bytes_in::<_, Error>(snapshot, Buffer::from(&mut **loan)).unwrap().len()
}

/// Whether `pointer` lies in a mapping of shared memory that this process did not make.
fn in_segment(pointer: *const u8) -> bool {
    let address = pointer as usize;
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains("memfd:busbar")).any(|line| {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let bound = |hex| usize::from_str_radix(hex, 16).unwrap();
        (bound(from)..bound(to)).contains(&address)
    })
}

/// [D02 D43 M02] an archive is written into the loan and accessed in the lease: no copy of it
/// is made on the way
#[test]
fn an_archive_is_read_where_it_was_written() {
    let scratch = Scratch::new("archive");
    let (_listener, mut here, mut there) = connected(&scratch.shm(), PipeOptions::default());
    let sent = snapshot();
    let mut loan = here.loan(64 * 1024).unwrap().unwrap();
    assert!(in_segment(loan.as_ptr()));
    let len = write(&sent, &mut loan);
    assert!(len > 1024, "large enough for the slab");
    assert!(here.commit(5, loan, len).unwrap().is_none());

    let message = there.recv(Some(PATIENCE)).unwrap();
    assert_eq!((message.channel, message.len()), (5, len));
    assert!(in_segment(message.as_ptr()));
    let seen = rkyv::access::<ArchivedSnapshot, Error>(&message).unwrap();
    assert!(in_segment(seen.players[499].name.as_ptr()));
    assert_eq!(seen.players[499].name, "player 499");
    assert_eq!(rkyv::deserialize::<Snapshot, Error>(seen).unwrap(), sent);

    let (sending, receiving) = (here.stats().link, there.stats().link);
    assert_eq!((sending.messages_sent, sending.loans_sent, sending.fragmented), (1, 1, 0));
    assert_eq!((receiving.messages_received, receiving.loans_received), (1, 1));
}

/// [D43] a lease outlives its pipe and its engine, and so does the memory
#[test]
fn a_lease_outlives_its_pipe() {
    let scratch = Scratch::new("outlive");
    let (listener, mut here, mut there) = connected(&scratch.shm(), PipeOptions::default());
    here.send(0, &[9; 5000], Some(PATIENCE)).unwrap();
    let message = there.recv(Some(PATIENCE)).unwrap();
    drop((listener, here, there));
    assert!(in_segment(message.as_ptr()));
    assert_eq!(*message, [9; 5000]);
}

/// [D43] a peer that may not be trusted cannot change what was received
#[test]
fn hostile_payloads_are_copied_out() {
    let scratch = Scratch::new("hostile");
    let mut options = PipeOptions::default();
    options.trust = Trust::Hostile;
    let (_listener, mut here, mut there) = connected(&scratch.shm(), options);
    here.send(0, &[9; 5000], Some(PATIENCE)).unwrap();
    let message = there.recv(Some(PATIENCE)).unwrap();
    assert!(!in_segment(message.as_ptr()));
    assert_eq!(there.stats().link.loans_received, 0);
}

/// [D43] a lease dropped by another thread goes back to the sender while this end sleeps
#[test]
fn leases_dropped_elsewhere_are_returned_in_sleep() {
    let scratch = Scratch::new("return");
    let mut options = PipeOptions::default();
    options.slab_bytes = 1 << 16;
    let mut sender = Driven::new();
    let mut receiver = Driven::new();
    receiver.listen(&scratch.shm(), &ListenOptions::default());
    let out = sender.dial(&scratch.shm(), &options);
    let into = receiver.accepted();
    sender.until(|event| matches!(event, Event::State(..)).then_some(()));
    // The whole slab.
    assert!(sender.engine.send(out, 0, &vec![3; 1 << 16]).unwrap());
    let lease: Lease = receiver.receive_lease(into);
    assert!(sender.engine.loan(out, 1 << 16).unwrap().is_none());
    receiver.settle();
    receiver.events.clear();
    for interest in [false, true] {
        let readable = Interest { readable: interest, writable: false };
        receiver.engine.set_interest(into, readable).unwrap();
        receiver.fall_asleep();
    }
    let sleeping = thread::spawn(move || {
        let mut events = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        receiver.engine.wait(&mut events, Some(deadline));
        (receiver, events)
    });
    thread::sleep(Duration::from_millis(20));
    thread::spawn(move || drop(lease)).join().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while sender.engine.loan(out, 1 << 16).unwrap().is_none() {
        assert!(Instant::now() < deadline, "the chunk never came back");
        thread::yield_now();
    }
    assert!(sender.engine.send(out, 0, b"wake up").unwrap());
    let (mut receiver, events) = sleeping.join().unwrap();
    assert!(matches!(&*events, [Event::Readable(_)]), "{events:?}");
    assert_eq!(receiver.receive(into), [b"wake up"]);
}
