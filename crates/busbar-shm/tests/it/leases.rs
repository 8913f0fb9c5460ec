//! Large payloads in place: nothing is copied, and nothing is pulled from under a reader.

use busbar_shm::{Channel, Lease, Received, Settings};

use crate::pair::{SETTINGS, geometry, pair, pattern};

fn receive_lease(channel: &mut Channel) -> Lease {
    let mut lease = None;
    let used = channel
        .receive(&mut [0; 2048], 1, |_, received| match received {
            Received::Lease(received) => lease = Some(received),
            other => panic!("{other:?}"),
        })
        .unwrap();
    assert_eq!(used, 24, "only the descriptor was copied");
    lease.expect("a message")
}

/// Inode and file offset of what is mapped at an address.
fn place(bytes: &[u8]) -> (u64, usize) {
    let address = bytes.as_ptr().addr();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines()
        .find_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let (start, end) = fields.next()?.split_once('-')?;
            let hex = |text| usize::from_str_radix(text, 16).unwrap();
            let offset = hex(fields.nth(1)?);
            let inode = fields.nth(1)?.parse().unwrap();
            let range = hex(start)..hex(end);
            range.contains(&address).then(|| (inode, offset + address - range.start))
        })
        .expect("a mapping")
}

/// [D02 D43] A loan and the lease that becomes of it are the same bytes of the same memfd.
#[test]
fn a_committed_loan_is_not_copied() {
    let (mut left, mut right) = pair(geometry(4 << 20), SETTINGS);
    for len in [0, 1, 1025, 4096, 1 << 20] {
        let mut loan = left.loan(len).unwrap().unwrap();
        loan.copy_from_slice(&pattern(len as u64, len));
        let (from, address) = (place(&loan), loan.as_ptr());
        assert!(left.commit(0, loan, len).unwrap().is_none());
        let lease = receive_lease(&mut right);
        assert_eq!(place(&lease), from);
        assert_ne!(lease.as_ptr(), address, "each end has its own mapping");
        assert!(*lease == *pattern(len as u64, len));
    }
    assert_eq!((left.counters().loans_sent, right.counters().leases_received), (5, 5));
}

/// [D43] Payloads start at multiples of 2,048 bytes, as docs/formats/segment.md says.
#[test]
fn leases_are_aligned() {
    let (mut left, mut right) = pair(geometry(1 << 20), SETTINGS);
    let mut leases = Vec::new();
    for len in [1025, 5000, 1025, 100_000] {
        assert!(left.send(0, &pattern(1, len)).unwrap());
        leases.push(receive_lease(&mut right));
    }
    assert!(leases.iter().all(|lease| lease.as_ptr().addr().is_multiple_of(2048)));
}

/// [D45] A lease outlives both channels, whoever goes first.
#[test]
fn leases_survive_both_channels() {
    for own_end_first in [false, true] {
        let (mut left, mut right) = pair(geometry(1 << 20), SETTINGS);
        let payload = pattern(4, 300_000);
        assert!(left.send(0, &payload).unwrap());
        let lease = receive_lease(&mut right);
        let ends = if own_end_first { [right, left] } else { [left, right] };
        for end in ends {
            drop(end);
            assert!(*lease == *payload);
        }
        std::thread::spawn(move || drop(lease)).join().unwrap();
    }
}

/// [D43] A loan outlives its channel too.
#[test]
fn loans_survive_their_channel() {
    let (mut left, _right) = pair(geometry(1 << 20), SETTINGS);
    let mut loan = left.loan(5000).unwrap().unwrap();
    drop(left);
    loan.fill(3);
    assert!(loan.iter().all(|&byte| byte == 3));
}

/// [D43] Chunks come back, whichever thread drops them, and however many at once.
#[test]
fn dropped_leases_and_loans_return_their_chunks() {
    let (mut left, mut right) = pair(geometry(1 << 20), SETTINGS);
    for _ in 0..20 {
        let loans: Vec<_> = (0..200).map(|_| left.loan(3000).unwrap().unwrap()).collect();
        std::thread::spawn(move || drop(loans)).join().unwrap();
        let mut leases = Vec::new();
        for _ in 0..64 {
            assert!(left.send(0, &[1; 3000]).unwrap());
            leases.push(receive_lease(&mut right));
        }
        std::thread::spawn(move || drop(leases)).join().unwrap();
        right.collect().unwrap();
        assert!(left.loan(1 << 20).unwrap().is_some(), "a chunk has leaked");
    }
}

/// [D43] More returns than their queue has room for are kept all the same.
#[test]
fn four_hundred_loans_come_back_at_once() {
    let (mut left, _right) = pair(geometry(4 << 20), SETTINGS);
    let loans: Vec<_> = (0..400).map(|_| left.loan(3000).unwrap().unwrap()).collect();
    drop(loans);
    assert!(left.loan(4 << 20).unwrap().is_some(), "a chunk has leaked");
}

/// [D43] What a receiver does to a payload in place reaches no other message.
#[test]
fn stray_writes_to_a_lease_touch_nothing_else() {
    let (mut left, mut right) = pair(geometry(65_536), SETTINGS);
    let payload = pattern(1, 1500);
    assert!(left.send(0, &payload).unwrap());
    let first = receive_lease(&mut right);
    let scribble = |lease: &Lease| {
        let start = lease.as_ptr().cast_mut();
        // SAFETY: what JavaScript does with a received buffer: the mapping is writable, and the
        // slice is not read while it is written.
        unsafe { start.write_bytes(0xFF, lease.len()) };
    };
    scribble(&first);
    // Sent after the page was written: it must not come out of the same page.
    assert!(left.send(0, &payload).unwrap());
    let second = receive_lease(&mut right);
    assert!(*second == *payload);
    first.discard_writes();
    assert!(*first == *payload, "the sender's bytes again");
    drop(first);
    drop(second);
    right.collect().unwrap();
    assert!(left.send(0, &pattern(2, 1500)).unwrap());
    assert!(*receive_lease(&mut right) == *pattern(2, 1500));
}

/// [D43 D45] A hostile peer's payloads are copied, and what it gives back is zeroed.
#[test]
fn nothing_is_shared_with_a_hostile_peer() {
    let settings = Settings { hostile: true, ..SETTINGS };
    let (mut left, mut right) = pair(geometry(65_536), settings);
    assert!(left.send(0, &[0xAB; 60_000]).unwrap());
    let mut bytes = Vec::new();
    right
        .receive(&mut [0; 2048], 1, |_, received| match received {
            Received::Owned(owned) => bytes = owned,
            other => panic!("{other:?}"),
        })
        .unwrap();
    assert_eq!(bytes, [0xAB; 60_000]);
    let mut loan = left.loan(65_536).unwrap().expect("given back on receipt");
    assert!(loan.iter().all(|&byte| byte == 0), "after a message");
    loan.fill(0xCD);
    drop(loan);
    let loan = left.loan(65_536).unwrap().unwrap();
    assert!(loan.iter().all(|&byte| byte == 0), "after an unsent loan");
}
