//! The pair: hand-over without copies, limits, closing.

use std::collections::VecDeque;

use super::*;

/// [I01] the bytes that come out are the bytes that went in, for every size
#[test]
fn payloads_are_handed_over_not_copied() {
    let options = InprocOptions { message_bytes_max: 100_000_000, ..capacity(4) };
    let (mut a, mut b) = connected(options);
    for size in [1, 64, 1024, 1025, 100_000, 100_000_000] {
        let payload = Bytes::from(vec![7; size]);
        let address = payload.as_ptr();
        a.try_send(payload).unwrap();
        let received = b.try_recv().unwrap().expect("a message");
        assert_eq!((received.as_ptr(), received.len()), (address, size));
        assert!(received.is_unique(), "nobody else holds the {size} bytes");
    }
}

/// [I17] no frame is encoded: nothing is added to a payload and nothing of it is copied, whereas
/// the same counter shows what the engine's link copies
#[test]
fn pair_socket_encodes_nothing() {
    let (mut a, mut b): (InprocPairSocket, InprocPairSocket) = connected(capacity(4));
    for payload in [&b""[..], b"x", &[0; 5000]] {
        a.try_send(Bytes::copy_from_slice(payload)).unwrap();
        assert_eq!(b.try_recv().unwrap().unwrap(), payload);
    }
    let (sent, received) = (a.stats(), b.stats());
    assert_eq!((sent.bytes_copied, received.bytes_copied), (0, 0));
    assert_eq!((sent.outgoing.messages_sent, sent.outgoing.bytes_sent), (3, 5001));
    assert_eq!(sent.outgoing, received.incoming);

    let (_, waker) = Bells::new();
    let mut link = InprocLink::new(a, waker);
    assert!(crate::link::Link::send(&mut link, 0, b"copied").unwrap());
    assert_eq!(link.pair_stats().bytes_copied, 6);
    assert_eq!(b.try_recv().unwrap().unwrap(), "copied");
}

/// [I11] [I26] bounded in messages by default; a refused payload comes back unharmed
#[test]
fn full_queue_gives_the_payload_back() {
    assert_eq!(InprocOptions::default().queue, QueueLimit::Messages(16_384));
    let (mut a, mut b) = connected(capacity(2));
    a.try_send(Bytes::from_static(b"1")).unwrap();
    a.try_send(Bytes::from_static(b"2")).unwrap();
    let third = Bytes::from(vec![3; 100]);
    let address = third.as_ptr();
    let Err(TrySendError::Full(back)) = a.try_send(third) else { panic!("there is no room") };
    assert_eq!(back.as_ptr(), address);
    assert_eq!(TrySendError::Full(back.clone()).code(), Code::Again);
    assert_eq!(b.try_recv().unwrap().unwrap(), "1");
    a.try_send(back).unwrap();
    assert_eq!(b.try_recv().unwrap().unwrap(), "2");
    assert_eq!(b.try_recv().unwrap().unwrap().as_ptr(), address);
    assert_eq!(b.try_recv().unwrap(), None);
}

/// [I26] bounded in bytes; a single message above the limit passes when nothing else waits
#[test]
fn queue_is_bounded_in_bytes() {
    let (mut a, mut b) = connected(InprocOptions { queue_bytes_max: 100, ..capacity(16) });
    a.try_send(Bytes::from(vec![0; 60])).unwrap();
    a.try_send(Bytes::from(vec![0; 40])).unwrap();
    assert!(matches!(a.try_send(Bytes::from_static(b"x")), Err(TrySendError::Full(_))));
    a.try_send(Bytes::new()).unwrap();
    assert_eq!(b.try_recv().unwrap().unwrap().len(), 60);
    assert!(matches!(a.try_send(Bytes::from(vec![0; 61])), Err(TrySendError::Full(_))));
    a.try_send(Bytes::from(vec![0; 60])).unwrap();
    for len in [40, 0, 60] {
        assert_eq!(b.try_recv().unwrap().unwrap().len(), len);
    }
    a.try_send(Bytes::from(vec![0; 1000])).unwrap();
    assert!(matches!(a.try_send(Bytes::from_static(b"x")), Err(TrySendError::Full(_))));
}

/// [I26] a deep queue grows up to its limit, exactly, and keeps order while it does
#[test]
fn deep_queue_grows_to_its_limit() {
    const LIMIT: u64 = 10_000;
    let (mut a, mut b) = connected(capacity(10_000));
    let (mut sent, mut received) = (0, 0);
    for drained in [1, 300, 1500, 7000, 10_000] {
        while a.try_send(number(sent)).is_ok() {
            sent += 1;
        }
        assert_eq!(sent - received, LIMIT);
        for _ in 0..drained {
            assert_eq!(as_number(&b.try_recv().unwrap().unwrap()), received);
            received += 1;
        }
    }
    assert_eq!(b.try_recv().unwrap(), None);
}

/// [I11] unbounded only on request
#[test]
fn unbounded_on_request() {
    let options = InprocOptions {
        queue: QueueLimit::Unbounded,
        queue_bytes_max: 1,
        ..InprocOptions::DEFAULT
    };
    let (mut a, mut b) = connected(options);
    for n in 0..100_000 {
        a.try_send(number(n)).unwrap();
    }
    assert_eq!(a.stats().outgoing.messages_queued, 100_000);
    for n in 0..100_000 {
        assert_eq!(as_number(&b.try_recv().unwrap().unwrap()), n);
    }
}

/// [I16] of two limits for a message the smaller one holds, both ways
#[test]
fn smaller_message_limit_holds() {
    let listening = InprocOptions { message_bytes_max: 10, ..capacity(4) };
    let mut listener = bind_inproc("pair-limits", listening).unwrap();
    let mut client = connect_inproc("pair-limits", capacity(4)).unwrap();
    let mut server = listener.try_accept().unwrap().unwrap();
    let (fits, exceeds) = (Bytes::from(vec![0; 10]), Bytes::from(vec![0; 11]));
    for end in [&mut client, &mut server] {
        end.try_send(fits.clone()).unwrap();
        assert_eq!(end.try_send(exceeds.clone()), Err(TrySendError::TooLarge(exceeds.clone())));
        let error = end.send_blocking(exceeds.clone(), PATIENCE).unwrap_err();
        assert_eq!(error.code(), Code::MessageTooLarge);
        assert!(error.message().contains("11 bytes, at most 10"), "{error}");
    }
}

/// [I16] what was sent before a close is received, then the reason
#[test]
fn close_comes_after_what_was_sent() {
    let (mut a, mut b) = connected(capacity(8));
    a.try_send(Bytes::from_static(b"1")).unwrap();
    a.try_send(Bytes::from_static(b"2")).unwrap();
    b.try_send(Bytes::from_static(b"never read")).unwrap();
    a.close(reason("done"));
    a.close(reason("only the first close counts"));

    assert_eq!(b.close_reason(), Some(&reason("done")));
    let lost = Bytes::from_static(b"x");
    assert_eq!(b.try_send(lost.clone()), Err(TrySendError::Closed(lost)));
    assert_eq!(b.try_recv().unwrap().unwrap(), "1");
    assert_eq!(b.recv_blocking(PATIENCE).unwrap(), "2");
    for _ in 0..2 {
        let error = b.try_recv().unwrap_err();
        assert_eq!((error.code(), error.is_retryable()), (Code::Closed, false));
        assert!(error.message().contains("done"), "{error}");
    }
    assert_eq!(b.try_recv_batch(&mut Vec::new(), 8).unwrap_err().code(), Code::Closed);

    assert_eq!(a.try_recv().unwrap_err().code(), Code::Closed, "the closing end reads no more");
    assert_eq!(a.try_send(Bytes::new()).unwrap_err().code(), Code::Closed);
}

/// [I16] dropping an end is closing it, and frees what nobody will read
#[test]
fn drop_closes_and_frees() {
    let (mut a, mut b) = connected(capacity(8));
    let unread = Bytes::from(vec![1; 100]);
    a.try_send(Bytes::from_static(b"last words")).unwrap();
    b.try_send(unread.clone()).unwrap();
    drop(a);
    assert!(unread.is_unique(), "the queue must let go of the payload");
    assert_eq!(b.try_recv().unwrap().unwrap(), "last words");
    assert_eq!(b.try_recv().unwrap_err().code(), Code::Closed);
    assert_eq!(b.close_reason(), Some(&CloseReason::default()));
}

/// [I16] one direction can end before the other
#[test]
fn halves_close_one_direction() {
    let (a, mut b) = connected(capacity(8));
    let (mut sender, mut receiver) = a.split();
    sender.try_send(Bytes::from_static(b"question")).unwrap();
    sender.close(reason("no more questions"));
    drop(sender);
    assert_eq!(b.try_recv().unwrap().unwrap(), "question");
    assert_eq!(b.try_recv().unwrap_err().code(), Code::Closed);
    b.try_send(Bytes::from_static(b"answer")).unwrap();
    assert_eq!(receiver.try_recv().unwrap().unwrap(), "answer");
    drop(receiver);
    assert!(matches!(b.try_send(Bytes::new()), Err(TrySendError::Closed(_))));
}

/// [I17] batches: order kept, the rest stays with the caller
#[test]
fn batches_keep_order_and_leave_the_rest() {
    let options = InprocOptions { message_bytes_max: 8, ..capacity(3) };
    let (mut a, mut b) = connected(options);
    let mut waiting: VecDeque<_> = (0..5).map(number).collect();
    assert_eq!(a.try_send_batch(&mut waiting).unwrap(), 3);
    assert_eq!(waiting.iter().map(|p| as_number(p)).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(a.try_send_batch(&mut waiting).unwrap(), 0);

    let mut received = Vec::new();
    assert_eq!(b.try_recv_batch(&mut received, 2).unwrap(), 2);
    assert_eq!(b.try_recv_batch(&mut received, 2).unwrap(), 1);
    assert_eq!(b.try_recv_batch(&mut received, 2).unwrap(), 0);
    assert_eq!(received.iter().map(|p| as_number(p)).collect::<Vec<_>>(), [0, 1, 2]);

    waiting.push_back(Bytes::from(vec![0; 9]));
    assert_eq!(a.try_send_batch(&mut waiting).unwrap_err().code(), Code::MessageTooLarge);
    assert_eq!(waiting.len(), 1, "what came before it is sent");
    waiting.clear();
    waiting.push_back(number(9));
    drop(b);
    assert_eq!(a.try_send_batch(&mut waiting).unwrap_err().code(), Code::Closed);
    assert_eq!(waiting.len(), 1);
}

/// [I11] between two threads, every message once and in order, through a queue of every kind
#[test]
fn threads_keep_order() {
    for queue in [1, 7, 5000].map(QueueLimit::Messages).into_iter().chain([QueueLimit::Unbounded]) {
        let (mut a, mut b) = connected(InprocOptions { queue, ..InprocOptions::DEFAULT });
        let sender = std::thread::spawn(move || {
            for n in 0..20_000 {
                a.send_blocking(number(n), PATIENCE).unwrap();
            }
        });
        for n in 0..20_000 {
            assert_eq!(as_number(&b.recv_blocking(PATIENCE).unwrap()), n, "{queue:?}");
        }
        sender.join().unwrap();
        assert_eq!(b.recv_blocking(PATIENCE).unwrap_err().code(), Code::Closed);
    }
}
