//! What a channel does not take, and that it says so without doing harm.

use busbar_shm::record::{Header, Kind, stride};
use busbar_shm::{Error, Received, Wants};

use crate::pair::{SETTINGS, geometry, pair, pattern, receive_all};

fn inline(length: u32, kind: Kind) -> Vec<u8> {
    let header = Header { length, channel: 0, kind };
    let mut bytes = header.encode().to_vec();
    bytes.resize(stride(length as usize), 7);
    bytes
}

/// [D46]
#[test]
fn runs_that_are_not_whole_inline_records_are_refused() {
    let (mut left, mut right) = pair(geometry(0), SETTINGS);
    let good = inline(5, Kind::Inline);
    let bad = [
        inline(5, Kind::Inline)[..15].to_vec(),
        inline(5, Kind::Inline)[..7].to_vec(),
        inline(16, Kind::Chunk),
        inline(16, Kind::FragmentFirst),
        inline(16, Kind::FragmentNext),
        inline(0, Kind::Abandon),
        inline(1025, Kind::Inline),
        vec![0, 0, 0, 0, 0, 0, 9, 0],
    ];
    for bad in bad {
        let run = [&good[..], &bad].concat();
        assert!(matches!(left.send_run(&run), Err(Error::Run)), "{bad:?}");
    }
    assert!(receive_all(&mut right).is_empty(), "nothing of a refused run is sent");
    assert_eq!(left.send_run(&[]).unwrap(), 0);
    assert_eq!(left.send_run(&good).unwrap(), good.len());
    assert_eq!(receive_all(&mut right).len(), 1);
}

/// [D46] A run larger than the ring goes out in parts, in order.
#[test]
fn a_run_is_cut_where_the_ring_ends() {
    let (mut left, mut right) = pair(geometry(0), SETTINGS);
    let run = inline(1000, Kind::Inline).repeat(200);
    let (mut sent, mut received) = (0, 0);
    while sent < run.len() {
        let part = left.send_run(&run[sent..]).unwrap();
        assert!(part > 0 && part <= 65_536);
        sent += part;
        received += receive_all(&mut right).len();
    }
    assert_eq!(received, 200);
}

/// [D43]
#[test]
fn loans_of_others_and_lengths_beyond_the_loan_are_refused() {
    let (mut left, mut right) = pair(geometry(65_536), SETTINGS);
    let strange = right.loan(2000).unwrap().unwrap();
    assert!(matches!(left.commit(0, strange, 10), Err(Error::Run)));
    let own = left.loan(2000).unwrap().unwrap();
    assert!(matches!(left.commit(0, own, 2001), Err(Error::Run)));
    assert!(left.loan(65_536).unwrap().is_some(), "the refused loan was given back");
    assert!(right.loan(65_536).unwrap().is_some(), "also to the other end");
    assert!(left.loan(65_537).unwrap().is_none());
}

/// [D42] A message under way must be finished or abandoned before another is sent.
#[test]
fn another_message_cannot_continue_the_one_under_way() {
    let (mut left, mut right) = pair(geometry(0), SETTINGS);
    let large = pattern(1, 200_000);
    assert!(!left.send(7, &large).unwrap());
    assert!(matches!(left.send(7, &large[1..]), Err(Error::Run)));
    assert!(matches!(left.send(8, &large), Err(Error::Run)));
    assert!(matches!(left.send(7, b"small"), Err(Error::Run)));
    assert_eq!(left.send_run(&inline(5, Kind::Inline)).unwrap(), 0);
    while !left.send(7, &large).unwrap() {
        assert!(receive_all(&mut right).is_empty());
    }
    assert!(receive_all(&mut right) == [(7, large)]);
}

/// [D42] The receiver forgets an abandoned message and goes on with the next.
#[test]
fn an_abandoned_message_is_forgotten() {
    let (mut left, mut right) = pair(geometry(0), SETTINGS);
    assert!(!left.abandon(), "nothing is under way");
    let large = pattern(1, 200_000);
    for _ in 0..3 {
        assert!(!left.send(7, &large).unwrap());
        assert!(left.abandon(), "too large to be ever sent at once");
        assert!(receive_all(&mut right).is_empty());
        assert!(left.send(1, b"next").unwrap());
        assert!(receive_all(&mut right) == [(1, b"next".to_vec())]);
    }
}

/// [D44] A refused sender sleeps until what it needs is there: neither does it spin while the ring
/// has some room but not enough, nor does it miss the room.
#[test]
fn a_sender_of_fragments_waits_for_enough_room() {
    let (mut left, mut right) = pair(geometry(0), SETTINGS);
    // Room for a small message, but not for the first fragment of a large one.
    let filler = inline(1016, Kind::Inline);
    for _ in 0..62 {
        assert_eq!(left.send_run(&filler).unwrap(), filler.len());
    }
    let large = pattern(1, 50_000);
    assert!(!left.send(0, &large).unwrap());
    assert!(!left.is_writable());
    assert!(left.park(Wants::SPACE), "parked");
    let mut buffer = vec![0; 8192];
    assert_eq!(right.receive(&mut buffer, 8, |_, _| {}).unwrap(), 8192);
    assert!(right.take_ring());
    left.unpark();
    assert!(left.is_writable());
    assert!(!left.send(0, &large).unwrap(), "begun");
    assert_eq!(receive_all(&mut right).len(), 54);
    assert!(left.is_writable());
    assert!(left.send(0, &large).unwrap());
    assert!(receive_all(&mut right) == [(0, large)]);
}

/// [D43] A sender that waits for a chunk, gives up and then waits for room is woken by room.
#[test]
fn waiting_for_a_chunk_does_not_outlast_giving_up() {
    let (mut left, mut right) = pair(geometry(1 << 20), SETTINGS);
    let spare = left.loan(2000).unwrap().unwrap();
    let mut leases = Vec::new();
    let mut buffer = vec![0; 65_536];
    for _ in 0..64 {
        let loan = left.loan(2000).unwrap().unwrap();
        assert!(left.commit(0, loan, 2000).unwrap().is_none());
        right.receive(&mut buffer, 9, |_, received| leases.push(received)).unwrap();
    }
    assert!(leases.iter().all(|lease| matches!(lease, Received::Lease(_))));
    assert!(left.loan(2000).unwrap().is_none(), "the peer holds as many as it may");
    let spare = left.commit(0, spare, 2000).unwrap().expect("refused");
    assert!(!left.is_writable());
    drop(spare);
    while left.send(0, &[1; 1000]).unwrap() {}
    assert!(!left.is_writable());
    receive_all(&mut right);
    assert!(left.is_writable(), "the leases are still held, but nobody waits for them");
    drop(leases);
}

/// [D43] With a chunk given back, a commit that was refused succeeds.
#[test]
fn a_returned_lease_makes_a_refused_commit_possible() {
    let (mut left, mut right) = pair(geometry(1 << 20), SETTINGS);
    let loan = left.loan(2000).unwrap().unwrap();
    let mut leases = Vec::new();
    let mut buffer = vec![0; 65_536];
    for _ in 0..64 {
        assert!(left.send(0, &[9; 2000]).unwrap());
        right.receive(&mut buffer, 9, |_, received| leases.push(received)).unwrap();
    }
    let loan = left.commit(0, loan, 2000).unwrap().expect("refused");
    assert!(left.park(Wants::SPACE));
    leases.pop();
    right.collect().unwrap();
    assert!(right.take_ring(), "the sender waits for the chunk");
    left.unpark();
    assert!(left.is_writable());
    assert!(left.commit(0, loan, 2000).unwrap().is_none());
}
