//! Binding, connecting, listing, unbinding; who owns a name when.

use std::sync::Barrier;
use std::thread;

use busbar_proto::Error;

use super::*;

/// [I04] [I05] what may be a name
#[test]
fn names_are_validated_and_extracted() {
    assert_eq!(validate_and_extract_name("inproc://a/b c").unwrap(), "a/b c");
    for (address, says) in [
        ("inproc://", "empty"),
        ("inproc://a\0", "control character"),
        ("tcp://a:1", "expected inproc://name"),
        ("plain", "expected inproc://name"),
        ("inproc://inproc://a", "given twice"),
    ] {
        let error = validate_and_extract_name(address).unwrap_err();
        assert_eq!(error.code(), Code::InvalidAddress, "{address:?}");
        assert!(error.message().contains(says), "{address:?}: {error}");
    }
    assert!(validate_and_extract_name(&format!("inproc://{}", "n".repeat(256))).is_err());
    assert_eq!(bind_inproc("", capacity(1)).unwrap_err().code(), Code::InvalidAddress);
    assert_eq!(connect_inproc("\n", capacity(1)).unwrap_err().code(), Code::InvalidAddress);
}

/// [I04] [I05] [I12] a connection can be used before it is accepted, and in both directions
#[test]
fn bind_connect_and_talk() {
    let mut listener = bind_inproc("talk", capacity(4)).unwrap();
    let mut client = connect_inproc("inproc://talk", capacity(4)).unwrap();
    client.try_send(Bytes::from_static(b"before")).unwrap();
    let mut server = listener.try_accept().unwrap().expect("a connection");
    assert_eq!((listener.name(), client.name(), server.name()), ("talk", "talk", "talk"));
    assert_eq!(server.try_recv().unwrap().unwrap(), "before");
    server.try_send(Bytes::from_static(b"back")).unwrap();
    assert_eq!(client.try_recv().unwrap().unwrap(), "back");
    assert!(listener.try_accept().unwrap().is_none());
}

/// [I05] binding a bound name fails, and its first owner notices nothing
#[test]
fn first_binder_still_receives_after_a_duplicate_bind() {
    let mut first = bind_inproc("taken", capacity(4)).unwrap();
    for _ in 0..3 {
        let error = bind_inproc("inproc://taken", capacity(4)).unwrap_err();
        assert_eq!((error.code(), error.is_retryable()), (Code::AddrInUse, false));
    }
    let mut client = connect_inproc("taken", capacity(4)).unwrap();
    client.try_send(Bytes::from_static(b"hello")).unwrap();
    let mut server = first.accept_blocking(PATIENCE).unwrap();
    assert_eq!(server.recv_blocking(PATIENCE).unwrap(), "hello");
}

/// [I04] nobody there: bind comes before connect
#[test]
fn connect_to_an_unbound_name_is_not_found() {
    let error = connect_inproc("nobody", capacity(4)).unwrap_err();
    assert_eq!((error.code(), error.is_retryable()), (Code::NotFound, true));
    assert!(error.message().contains("must bind before connect"), "{error}");
    assert_eq!(inproc_stats("nobody").unwrap_err().code(), Code::NotFound);
}

/// [I04] [I05] the list has what is bound, sorted, for as long as it is bound
#[test]
fn bound_names_are_listed() {
    let listed = || {
        let mut names = list_inproc_endpoints();
        names.retain(|name| name.starts_with("list-"));
        names
    };
    let kept = bind_inproc("list-b", capacity(1)).unwrap();
    let dropped = bind_inproc("list-a", capacity(1)).unwrap();
    assert_eq!(listed(), ["list-a", "list-b"]);
    drop(dropped);
    assert_eq!(listed(), ["list-b"]);
    unbind_inproc("list-b").unwrap();
    assert!(listed().is_empty());
    drop(kept);
}

/// [I04] unbinding closes the listener, keeps connections, and frees the name
#[test]
fn unbind_frees_the_name_and_keeps_connections() {
    let mut old = bind_inproc("rebound", capacity(4)).unwrap();
    let mut client = connect_inproc("rebound", capacity(4)).unwrap();
    let mut server = old.try_accept().unwrap().unwrap();
    unbind_inproc("inproc://rebound").unwrap();
    assert_eq!(unbind_inproc("rebound").unwrap_err().code(), Code::NotFound);
    assert_eq!(old.try_accept().unwrap_err().code(), Code::Closed);
    assert_eq!(old.accept_blocking(PATIENCE).unwrap_err().code(), Code::Closed);

    let mut new = bind_inproc("rebound", capacity(4)).unwrap();
    // The late drop of the old listener must leave the name to the new one.
    drop(old);
    connect_inproc("rebound", capacity(4)).unwrap();
    assert!(new.try_accept().unwrap().is_some());
    client.try_send(Bytes::from_static(b"still here")).unwrap();
    assert_eq!(server.try_recv().unwrap().unwrap(), "still here");
}

/// [I16] connections that nobody accepts are closed with the listener
#[test]
fn dropped_listener_closes_what_waits() {
    let listener = bind_inproc("waiting", capacity(4)).unwrap();
    let mut client = connect_inproc("waiting", capacity(4)).unwrap();
    client.try_send(Bytes::new()).unwrap();
    drop(listener);
    assert_eq!(client.try_recv().unwrap_err().code(), Code::Closed);
    assert_eq!(client.try_send(Bytes::new()), Err(TrySendError::Closed(Bytes::new())));
    assert_eq!(connect_inproc("waiting", capacity(4)).unwrap_err().code(), Code::NotFound);
}

/// [I16] the accept queue is bounded; accepting makes room
#[test]
fn full_backlog_refuses() {
    let options = InprocOptions { backlog: 2, ..capacity(4) };
    let mut listener = bind_inproc("backlog", options).unwrap();
    let _first = connect_inproc("backlog", capacity(4)).unwrap();
    let _second = connect_inproc("backlog", capacity(4)).unwrap();
    let error = connect_inproc("backlog", capacity(4)).unwrap_err();
    assert_eq!((error.code(), error.is_retryable()), (Code::ConnectionRefused, true));
    listener.try_accept().unwrap().unwrap();
    connect_inproc("backlog", capacity(4)).unwrap();
}

/// [I11] limits of zero and beyond reason are refused
#[test]
fn limits_are_checked() {
    let refused = |options| {
        let error = bind_inproc("limits", options).unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{options:?}");
        assert!(list_inproc_endpoints().iter().all(|name| name != "limits"));
        assert_eq!(connect_inproc("limits", options).unwrap_err().code(), Code::InvalidArgument);
    };
    refused(capacity(0));
    refused(capacity((1 << 24) + 1));
    refused(InprocOptions { backlog: 0, ..capacity(1) });
    refused(InprocOptions { backlog: (1 << 16) + 1, ..capacity(1) });
    refused(InprocOptions { queue_bytes_max: 0, ..capacity(1) });
    refused(InprocOptions { message_bytes_max: 0, ..capacity(1) });
}

/// [I16] many clients of one name each have their own two queues
#[test]
fn every_client_gets_its_own_replies() {
    const CLIENTS: u64 = 16;
    let mut listener = bind_inproc("many", capacity(8)).unwrap();
    let clients = (0..CLIENTS).map(|client| {
        thread::spawn(move || {
            let mut pair = connect_inproc("many", capacity(8)).unwrap();
            for n in 0..100 {
                pair.send_blocking(number(client << 32 | n), PATIENCE).unwrap();
                let reply = as_number(&pair.recv_blocking(PATIENCE).unwrap());
                assert_eq!(reply, !(client << 32 | n), "client {client}");
            }
        })
    });
    let clients: Vec<_> = clients.collect();
    let servers: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let mut pair = listener.accept_blocking(PATIENCE).unwrap();
            thread::spawn(move || {
                while let Ok(request) = pair.recv_blocking(PATIENCE) {
                    pair.send_blocking(number(!as_number(&request)), PATIENCE).unwrap();
                }
            })
        })
        .collect();
    for thread in clients.into_iter().chain(servers) {
        thread.join().unwrap();
    }
}

/// [I02] [I13] one namespace for the main thread and every other
#[test]
fn threads_share_the_namespace() {
    let mut listener = bind_inproc("shared", capacity(4)).unwrap();
    thread::spawn(|| {
        assert_eq!(bind_inproc("shared", capacity(4)).unwrap_err().code(), Code::AddrInUse);
        let mut client = connect_inproc("shared", capacity(4)).unwrap();
        client.try_send(Bytes::from_static(b"from a thread")).unwrap();
    })
    .join()
    .unwrap();
    let mut server = listener.try_accept().unwrap().unwrap();
    assert_eq!(server.try_recv().unwrap().unwrap(), "from a thread");
}

/// [I02] [I13] 64 threads bind, connect and unbind the same few names at once: every outcome is one
/// of the documented ones, every accepted connection works, and nothing is left over
#[test]
fn sixty_four_threads_bind_connect_and_unbind() {
    let start = Barrier::new(64);
    let answered: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..64)
            .map(|thread| {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    (0..200).filter(|round| stress(thread, *round)).count()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!(answered > 0, "no request was ever answered");
    assert!(list_inproc_endpoints().iter().all(|name| !name.starts_with("stress-")));
}

/// One thing that a thread does to one of the names; says whether a request was answered.
fn stress(thread: u64, round: u64) -> bool {
    let name = format!("stress-{}", (thread * 31 + round * 7) % 5);
    match (thread + round) % 4 {
        0 => {
            let bound = bind_inproc(&name, capacity(2));
            bound
                .and_then(serve_once)
                .map_err(|e| expect(&e, &[Code::AddrInUse, Code::Closed, Code::TimedOut]))
                .is_ok()
        }
        1 => {
            let _ = unbind_inproc(&name).map_err(|e| expect(&e, &[Code::NotFound]));
            false
        }
        _ => {
            let connected = connect_inproc(&name, capacity(2));
            let reply = connected.and_then(|client| ask_once(client, thread));
            let expected = [Code::NotFound, Code::ConnectionRefused, Code::Closed];
            reply.map(|reply| assert_eq!(reply, thread)).map_err(|e| expect(&e, &expected)).is_ok()
        }
    }
}

fn serve_once(mut listener: InprocListener) -> Result<(), Error> {
    let mut server = listener.accept_blocking(Some(Duration::from_micros(200)))?;
    let request = server.recv_blocking(PATIENCE)?;
    server.send_blocking(request, PATIENCE)
}

fn ask_once(mut client: InprocPair, request: u64) -> Result<u64, Error> {
    client.send_blocking(number(request), PATIENCE)?;
    client.recv_blocking(PATIENCE).map(|reply| as_number(&reply))
}

fn expect(error: &Error, codes: &[Code]) {
    assert!(codes.contains(&error.code()), "{error}");
}

/// [I27] traffic by name: open connections, those waiting, and the totals of closed ones
#[test]
fn stats_by_name_equal_the_traffic() {
    let mut listener = bind_inproc("counted", capacity(8)).unwrap();
    let mut gone = connect_inproc("counted", capacity(8)).unwrap();
    gone.try_send(Bytes::from_static(b"12345")).unwrap();
    let mut other_end = listener.try_accept().unwrap().unwrap();
    other_end.try_recv().unwrap().unwrap();
    drop((gone, other_end));

    let mut client = connect_inproc("counted", capacity(8)).unwrap();
    for _ in 0..3 {
        client.try_send(Bytes::from_static(b"1234567")).unwrap();
    }
    let waiting = inproc_stats("counted").unwrap();
    assert_eq!((waiting.connections, waiting.pending), (1, 1));
    let mut server = listener.try_accept().unwrap().unwrap();
    server.try_recv().unwrap().unwrap();
    server.try_send(Bytes::from_static(b"ok")).unwrap();

    let stats = inproc_stats("inproc://counted").unwrap();
    assert_eq!(stats, listener.stats());
    assert_eq!((stats.connections, stats.pending), (1, 0));
    let lane = |(messages_sent, bytes_sent), (messages_queued, bytes_queued), messages_dropped| {
        let messages_received = messages_sent - messages_queued - messages_dropped;
        LaneStats {
            messages_sent,
            bytes_sent,
            messages_received,
            messages_dropped,
            messages_queued,
            bytes_queued,
        }
    };
    assert_eq!(stats.from_clients, lane((4, 26), (2, 14), 0));
    assert_eq!(stats.to_clients, lane((1, 2), (1, 2), 0));
    drop((client, server));
    let stats = inproc_stats("counted").unwrap();
    assert_eq!(stats.connections, 0);
    assert_eq!(stats.from_clients, lane((4, 26), (0, 0), 2), "two that nobody received");
    assert_eq!(stats.to_clients, lane((1, 2), (0, 0), 1));
}
