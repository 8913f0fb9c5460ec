//! The link: runs, limits, parking, memory reuse.

use busbar_shm::record::{ALIGN, Header, INLINE_MAX, Kind, stride};

use super::*;
use crate::inbox::{Inbox, META_LEASED, Slot};
use crate::link::{Interest, Link};
use crate::loan::{Lease, Loan};

/// Appends a record to a run.
pub(super) fn push_record(run: &mut Vec<u8>, channel: u16, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap();
    run.extend(Header { length, channel, kind: Kind::Inline }.encode());
    run.extend(payload);
    run.resize(run.len().next_multiple_of(ALIGN), 0);
}

fn run_of(count: usize, payload: &[u8]) -> Vec<u8> {
    let mut run = Vec::new();
    for _ in 0..count {
        push_record(&mut run, 5, payload);
    }
    run
}

fn links(options: InprocOptions) -> (InprocLink, InprocLink) {
    let (a, b) = connected(options);
    let link = |pair| InprocLink::new(pair, Waker::noop().clone());
    (link(a), link(b))
}

/// Receives up to `max` and returns (channel, payload) of each.
fn drain(link: &mut InprocLink, max: usize) -> Vec<(u32, Vec<u8>)> {
    let (mut arena, mut slots) = (vec![0; 1 << 20], vec![Slot::default(); 4096]);
    let mut leases = Vec::new();
    let mut inbox = Inbox::new(&mut arena, &mut slots, &mut leases);
    link.receive(&mut inbox, max).unwrap();
    let slots = inbox.slots().to_vec();
    slots
        .iter()
        .map(|slot| match slot.meta & META_LEASED {
            0 => (slot.meta, arena[slot.offset as usize..][..slot.length as usize].to_vec()),
            _ => (slot.meta & !META_LEASED, leases[slot.offset as usize].to_vec()),
        })
        .collect()
}

/// [I16] a run longer than one piece arrives whole and in order
#[test]
fn long_runs_are_taken_in_pieces() {
    let (mut a, mut b) = links(InprocOptions::DEFAULT);
    let mut run = Vec::new();
    for n in 0..1000_u16 {
        push_record(&mut run, n, &vec![n.to_le_bytes()[0]; usize::from(n) % 200]);
    }
    assert_eq!(a.send_run(&run).unwrap(), run.len());
    let received = drain(&mut b, 4096);
    assert_eq!(received.len(), 1000);
    for (n, (channel, payload)) in received.iter().enumerate() {
        assert_eq!((*channel as usize, payload.len()), (n, n % 200));
        assert!(payload.iter().all(|&byte| byte == n.to_le_bytes()[0]));
    }
    assert_eq!(a.stats().messages_sent, 1000);
    assert_eq!(b.stats().bytes_received, a.stats().bytes_sent);
}

/// [I26] a run stops where the queue is full and goes on later
#[test]
fn run_stops_at_the_limit() {
    let (mut a, mut b) = links(capacity(3));
    let run = run_of(5, b"12345678");
    let first = a.send_run(&run).unwrap();
    assert_eq!(first, 3 * stride(8));
    assert!(!a.is_writable());
    assert!(a.park(Interest { readable: false, writable: true }));
    assert_eq!(drain(&mut b, 2).len(), 2);
    assert!(a.is_writable());
    assert_eq!(b.stats().bells, 1, "the sender was waiting");
    assert_eq!(a.send_run(&run[first..]).unwrap(), run.len() - first);
    assert_eq!(drain(&mut b, 9).len(), 3);
}

/// [I16] what is not a run is refused, after what precedes it
#[test]
fn malformed_runs_are_refused() {
    let (mut a, mut b) = links(capacity(64));
    let refused = |a: &mut InprocLink, run: &[u8]| {
        assert_eq!(a.send_run(run).unwrap_err().code(), Code::InvalidArgument);
    };
    refused(&mut a, &[0; 7]);
    refused(&mut a, &[0, 0, 0, 0, 0, 0, 1, 0]);
    refused(&mut a, &run_of(1, b"12345678")[..15]);
    refused(&mut a, &run_of(1, &[0; INLINE_MAX + 1]));

    let mut run = run_of(2, b"fine");
    run.extend([1; 3]);
    assert_eq!(a.send_run(&run).unwrap(), 2 * stride(4));
    refused(&mut a, &run[2 * stride(4)..]);
    assert_eq!(drain(&mut b, 9).len(), 2);
    assert_eq!(a.send_run(&[]).unwrap(), 0);
}

/// [I16] the limit for a message holds on every way in
#[test]
fn message_limit_holds_on_every_way() {
    let (mut a, _b) = links(InprocOptions { message_bytes_max: 10, ..capacity(4) });
    let payload = [0; 11];
    let code = |error: busbar_proto::Error| error.code();
    assert_eq!(code(a.send(0, &payload).unwrap_err()), Code::MessageTooLarge);
    assert_eq!(
        code(a.send_bytes(0, &Bytes::copy_from_slice(&payload)).unwrap_err()),
        Code::MessageTooLarge
    );
    assert_eq!(code(a.loan(11).unwrap_err()), Code::MessageTooLarge);
    assert_eq!(code(a.send_run(&run_of(1, &payload)).unwrap_err()), Code::MessageTooLarge);
    assert!(a.send(0, &payload[..10]).unwrap());
}

/// [I01] large payloads travel by reference count, as bytes and as loans
#[test]
fn large_payloads_are_not_copied() {
    let (mut a, mut b) = links(capacity(8));
    let payload = Bytes::from(vec![1; 100_000]);
    assert!(a.send_bytes(3, &payload).unwrap());
    let loan = a.loan(5000).unwrap().unwrap();
    let loaned = loan.as_ptr();
    assert!(a.commit(4, loan, 4000).unwrap().is_none());

    let (mut arena, mut slots, mut leases) = (vec![0; 4096], [Slot::default(); 4], Vec::new());
    let mut inbox = Inbox::new(&mut arena, &mut slots, &mut leases);
    b.receive(&mut inbox, 4).unwrap();
    assert_eq!((inbox.len(), inbox.bytes_used()), (2, 0));
    assert_eq!(inbox.slots()[0], Slot { offset: 0, length: 100_000, meta: 3 | META_LEASED });
    let [Lease::Bytes(sent), Lease::Bytes(committed)] = &leases[..] else { panic!("two leases") };
    assert_eq!(sent.as_ptr(), payload.as_ptr());
    assert_eq!((committed.as_ptr(), committed.len()), (loaned, 4000));
    assert_eq!(a.pair_stats().bytes_copied, 0);
    assert_eq!((a.stats().loans_sent, b.stats().loans_received), (2, 2));
}

/// [I16] a loan comes back when the queue is full; more than was lent cannot be committed
#[test]
fn loans_come_back_when_full() {
    let (mut a, mut b) = links(capacity(1));
    assert!(a.send(0, b"first").unwrap());
    let mut loan = a.loan(3).unwrap().unwrap();
    loan.copy_from_slice(b"abc");
    let loan = a.commit(1, loan, 3).unwrap().expect("the queue is full");
    assert_eq!(drain(&mut b, 9).len(), 1);
    assert!(a.commit(1, loan, 3).unwrap().is_none());
    assert_eq!(drain(&mut b, 9), [(1, b"abc".to_vec())]);

    let Loan::Heap(memory) = a.loan(3).unwrap().unwrap() else { panic!("memory of this process") };
    let error = a.commit(0, Loan::Heap(memory), 4).unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
}

/// [I03] parking: refused when there is something already, woken once when there is
#[test]
fn park_and_wake() {
    let (bells, waker) = Bells::new();
    let (a, b) = connected(capacity(2));
    let (mut a, mut b) = (InprocLink::new(a, waker.clone()), InprocLink::new(b, waker));
    let readable = Interest { readable: true, writable: false };

    assert!(b.park(readable));
    a.send(0, b"1").unwrap();
    a.send(0, b"2").unwrap();
    assert_eq!(bells.count(), 1, "one sleep, one bell");
    assert!(!b.park(readable), "two messages are there");
    assert!(!a.send(0, b"3").unwrap());
    assert!(a.park(Interest { readable: true, writable: true }));
    drain(&mut b, 1);
    assert_eq!(bells.count(), 2);
    a.unpark();
    a.send(0, b"3").unwrap();
    drain(&mut b, 9);
    assert_eq!(bells.count(), 2, "an end that is awake is left alone");

    assert!(b.park(readable));
    a.close(reason("bye"));
    assert_eq!(bells.count(), 3);
    assert!(b.is_readable() && b.is_writable() && !b.park(readable));
    let (mut slots, mut leases) = ([Slot::default(); 1], Vec::new());
    let mut inbox = Inbox::new(&mut [], &mut slots, &mut leases);
    assert_eq!(b.receive(&mut inbox, 1).unwrap_err().code(), Code::Closed);
    assert_eq!(b.close_reason(), Some(&reason("bye")));
}

/// [I16] a message that has no room in the inbox waits there for the next one
#[test]
fn full_inbox_loses_nothing() {
    let (mut a, mut b) = links(capacity(16));
    a.send(1, &[1; 600]).unwrap();
    a.send_run(&run_of(2, &[2; 600])).unwrap();
    a.send(3, &[3; 5000]).unwrap();
    let mut seen = Vec::new();
    for _ in 0..4 {
        let (mut arena, mut slots) = ([0; 1032], [Slot::default(); 1]);
        let mut leases = Vec::new();
        let mut inbox = Inbox::new(&mut arena, &mut slots, &mut leases);
        b.receive(&mut inbox, 16).unwrap();
        assert!(inbox.len() <= 1);
        seen.extend(inbox.slots().iter().map(|slot| slot.length));
    }
    assert_eq!(seen, [600, 600, 600, 5000]);
    assert!(!b.is_readable());
}

/// [I26] memory for small payloads is reused once the receiver has dropped them, and only then
#[test]
fn arena_is_reused_after_release() {
    let mut arena = arena::Arena::new();
    let mut held: Vec<(usize, Bytes)> = Vec::new();
    for round in 0..2000_usize {
        let fill = round.to_le_bytes()[0];
        held.push((round, arena.copy(&vec![fill; 1 + round * 37 % 3000])));
        if held.len() > 50 {
            held.remove(round % 50);
        }
        for (round, bytes) in &held {
            assert!(bytes.iter().all(|&byte| byte == round.to_le_bytes()[0]), "overwritten");
        }
    }
}
