//! Looking ahead: answers are seen in the call that waits for them, within bounds.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use busbar_io::{ListenOptions, PipeId, PipeOptions, Wait, dial};

use crate::support::{Driven, PATIENCE, Scratch};

/// An engine with an accepted pipe that waits in this way; its peer sends "answer" when asked to.
fn asked(scheme: &str, wait: Wait) -> (Scratch, Driven, PipeId, mpsc::Sender<()>) {
    let scratch = Scratch::new("ahead");
    let mut driven = Driven::new();
    let mut options = ListenOptions::default();
    options.pipe.wait = wait;
    let listener = driven.listen(&scratch.address(scheme), &options);
    let address = driven.engine.address(listener).unwrap();
    let (ask, asked) = mpsc::channel();
    thread::spawn(move || {
        let mut pipe = dial(&address, PipeOptions::default(), PATIENCE).unwrap();
        while asked.recv().is_ok() {
            pipe.send(0, b"answer", Some(PATIENCE)).unwrap();
        }
    });
    let pipe = driven.accepted();
    driven.settle();
    (scratch, driven, pipe, ask)
}

/// What is received within a second or so by looking ahead only.
fn look(driven: &mut Driven, pipe: PipeId) -> Vec<Vec<u8>> {
    for _ in 0..30 {
        driven.engine.look_ahead(pipe);
        let received = driven.receive(pipe);
        if !received.is_empty() {
            return received;
        }
        thread::sleep(Duration::from_millis(30));
    }
    Vec::new()
}

/// [D49] a pipe that spins sees an answer without a turn of the engine, on every transport
#[test]
fn an_answer_is_seen_without_a_turn() {
    for scheme in ["inproc", "shm", "uds", "tcp"] {
        for wait in [Wait::Busy, Wait::LowLatency { spin: Duration::from_micros(50) }] {
            let (_scratch, mut driven, pipe, ask) = asked(scheme, wait);
            ask.send(()).unwrap();
            assert_eq!(look(&mut driven, pipe), [b"answer"], "{scheme}");
        }
    }
}

/// [D49] pipes that do not spin cost no system call for looking ahead
#[test]
fn a_pipe_that_sleeps_does_not_look_ahead() {
    for scheme in ["uds", "tcp"] {
        let (_scratch, mut driven, pipe, ask) = asked(scheme, Wait::Balanced);
        ask.send(()).unwrap();
        assert!(look(&mut driven, pipe).is_empty(), "{scheme}");
        driven.settle();
        assert_eq!(driven.receive(pipe), [b"answer"], "{scheme}");
    }
}

/// [D49] looking ahead for what does not come ends, again and again
#[test]
fn nothing_is_looked_for_without_end() {
    let (_scratch, mut driven, pipe, ask) = asked("shm", Wait::Busy);
    for _ in 0..10_000 {
        driven.engine.look_ahead(pipe);
        assert!(driven.receive(pipe).is_empty());
    }
    driven.settle();
    ask.send(()).unwrap();
    assert_eq!(look(&mut driven, pipe), [b"answer"]);
}
