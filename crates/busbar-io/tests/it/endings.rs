//! How connections end when a process does.

use std::time::{Duration, Instant};

use busbar_io::{Code, ConnectionState, ListenOptions, PipeOptions};

use crate::child::{FLOOD, flood_message};
use crate::support::{Driven, PATIENCE, Role, Scratch};

/// Far above what it takes, far below what a person calls hanging.
const SOON: Duration = Duration::from_secs(2);

/// [D12 D16 D39] a killed peer is noticed at once, and what it has sent is not lost
#[test]
fn kill_9_ends_the_connection_and_keeps_what_was_sent() {
    let scratch = Scratch::new("kill");
    let mut driven = Driven::new();
    driven.listen(&scratch.shm(), &ListenOptions::default());
    let mut peer = Role::start("flood", &scratch.shm());
    let pipe = driven.accepted();
    assert_eq!(driven.engine.peer(pipe).unwrap().process.unwrap().pid, peer.process.id());
    peer.hears("sent");
    let begin = Instant::now();
    peer.kill();
    driven.closed(pipe);
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    let reason = driven.engine.reason(pipe).unwrap().clone();
    assert_eq!(reason.code, Some(Code::ConnectionLost));
    use ConnectionState::{Closed, Connected, Disconnected};
    assert_eq!(driven.states(), [Connected, Disconnected, Closed]);

    let received = driven.receive(pipe);
    assert_eq!(received.len(), FLOOD as usize);
    assert!((0..).zip(&received).all(|(n, message)| *message == flood_message(n)));
    let error = driven.engine.send(pipe, 0, b"anybody?").unwrap_err();
    assert_eq!((error.code(), error.is_retryable()), (Code::ConnectionLost, true));
}

/// [D08 D39] a receiver that waits is woken by its peer's death
#[test]
fn kill_9_wakes_a_blocked_receiver() {
    let scratch = Scratch::new("wake");
    let mut listener = busbar_io::listen(&scratch.shm(), ListenOptions::default()).unwrap();
    let mut peer = Role::start("half", &scratch.shm());
    let mut pipe = listener.accept(Some(PATIENCE)).unwrap();
    peer.hears("half");
    let killing = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        peer.kill();
        Instant::now()
    });
    for n in 0..10_u32 {
        assert_eq!(*pipe.recv(Some(PATIENCE)).unwrap(), n.to_le_bytes());
    }
    let error = pipe.recv(Some(PATIENCE)).unwrap_err();
    let woken = Instant::now();
    assert_eq!(error.code(), Code::ConnectionLost, "{error}");
    let killed = killing.join().unwrap();
    assert!(woken.saturating_duration_since(killed) < SOON);
}

/// [D39 D45] death in the middle of a message: the whole ones arrive, the part does not
#[test]
fn kill_9_within_a_message_leaves_only_whole_ones() {
    let scratch = Scratch::new("half");
    let mut driven = Driven::new();
    driven.listen(&scratch.shm(), &ListenOptions::default());
    let mut peer = Role::start("half", &scratch.shm());
    let pipe = driven.accepted();
    peer.hears("half");
    peer.kill();
    driven.closed(pipe);
    let received = driven.receive(pipe);
    assert_eq!(received, (0..10_u32).map(|n| n.to_le_bytes().to_vec()).collect::<Vec<_>>());
    assert_eq!(driven.engine.reason(pipe).unwrap().code, Some(Code::ConnectionLost));
    assert!(driven.receive(pipe).is_empty());
}

/// [D37 D39] a listener that dies takes the connections down, and its name is free again
#[test]
fn a_killed_listener_is_succeeded() {
    let scratch = Scratch::new("heir");
    let mut first = Role::start("serve", &scratch.shm());
    first.hears("listening");
    let mut pipe = busbar_io::dial(&scratch.shm(), PipeOptions::default(), PATIENCE).unwrap();
    first.kill();
    let error = loop {
        if let Err(error) = pipe.recv(Some(PATIENCE)) {
            break error;
        }
    };
    assert_eq!(error.code(), Code::ConnectionLost);
    assert!(scratch.socket().exists(), "nobody has swept yet");
    let mut second = Role::start("serve", &scratch.shm());
    second.hears("listening");
    let mut pipe = busbar_io::dial(&scratch.shm(), PipeOptions::default(), PATIENCE).unwrap();
    pipe.recv(Some(PATIENCE)).unwrap();
}
