//! Counts system calls the hard way: two threads that may make none pass messages for a while.
//!
//! The kernel's strict seccomp mode kills a thread at its first system call other than read, write
//! and exit, so that the messages which get through were passed without any. Threads in that mode
//! cannot end; the test therefore runs itself again as a child process, which ends as a whole.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};
use std::{env, thread};

use busbar_shm::{Channel, Geometry, PeerSegment, Received, Segment, Settings};
use rustix::thread::SecureComputingMode;

const MESSAGES: u64 = 200_000;
const CHILD: &str = "BUSBAR_SHM_SYSCALLS_CHILD";

/// What the child's threads do besides passing messages.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Also {
    Nothing,
    /// One forbidden call: shows that it would be noticed.
    OneCall,
}

fn pair() -> (Channel, Channel) {
    let geometry = Geometry { ring_bytes: 65_536, release_entries: 64, slab_bytes: 1 << 20 };
    let settings = Settings { message_bytes_max: 1 << 20, hostile: false };
    let (left, left_fd) = Segment::create(geometry).unwrap();
    let (right, right_fd) = Segment::create(geometry).unwrap();
    let open = |fd| PeerSegment::open(&fd, geometry).unwrap();
    (
        Channel::new(left, open(right_fd), settings, Waker::noop()),
        Channel::new(right, open(left_fd), settings, Waker::noop()),
    )
}

/// Passes messages from left to right: mostly small, some through the slab.
fn send(left: &mut Channel, payload: &[u8], numbers: std::ops::Range<u64>) {
    for number in numbers {
        let len = if number.is_multiple_of(100) { payload.len() } else { 64 };
        while !left.send(0, &payload[..len]).unwrap() {
            std::hint::spin_loop();
        }
        assert!(!left.take_ring(), "the reader is awake");
    }
}

fn receive(right: &mut Channel, buffer: &mut [u8], held: &mut Vec<Received>, count: u64) {
    let mut received = 0;
    while received < count {
        right
            .receive(buffer, usize::MAX, |_, payload| {
                received += 1;
                held.push(payload);
            })
            .unwrap();
        held.clear();
    }
}

fn child(also: Also) -> ! {
    let (mut left, mut right) = pair();
    let (payload, mut buffer) = (vec![7; 5000], vec![0; 65_536]);
    let mut held = Vec::with_capacity(65_536);
    // Every page of the slab comes into use, in turn, before none may be asked for any more.
    let loan = left.loan(1 << 20).unwrap().unwrap();
    drop(loan);
    for _ in 0..200 {
        send(&mut left, &payload, 0..200);
        receive(&mut right, &mut buffer, &mut held, 200);
    }
    let done = Arc::new(AtomicU32::new(0));
    let (sent, received) = (Arc::clone(&done), Arc::clone(&done));
    let strict = || rustix::thread::set_secure_computing_mode(SecureComputingMode::Strict).unwrap();
    let finish = move |done: Arc<AtomicU32>| -> ! {
        if also == Also::OneCall {
            thread::yield_now();
        }
        done.fetch_add(1, Ordering::Release);
        loop {
            std::hint::spin_loop();
        }
    };
    thread::spawn(move || {
        strict();
        send(&mut left, &payload, 0..MESSAGES);
        finish(sent)
    });
    thread::spawn(move || {
        strict();
        receive(&mut right, &mut buffer, &mut held, MESSAGES);
        finish(received)
    });
    let limit = if also == Also::Nothing { 60 } else { 1 };
    let deadline = Instant::now() + Duration::from_secs(limit);
    while done.load(Ordering::Acquire) < 2 && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(1));
    }
    std::process::exit(if done.load(Ordering::Acquire) == 2 { 0 } else { 42 });
}

fn run_child(also: &str) -> io::Result<ExitStatus> {
    let name = "the_child_of_the_others";
    let mut command = Command::new(env::current_exe()?);
    command.args(["--exact", name]).env(CHILD, also).stdout(Stdio::null()).status()
}

/// Does nothing unless the tests below run it.
#[test]
fn the_child_of_the_others() {
    match env::var(CHILD).as_deref() {
        Ok("nothing") => child(Also::Nothing),
        Ok(_) => child(Also::OneCall),
        Err(_) => {}
    }
}

/// [D02 D46] While both ends are busy, messages of both kinds pass without one system call.
#[test]
fn messages_need_no_system_calls() {
    // The runtimes of the sanitizers make calls of their own.
    if ["ASAN_OPTIONS", "TSAN_OPTIONS"].iter().any(|name| env::var_os(name).is_some()) {
        return;
    }
    assert_eq!(run_child("nothing").unwrap().code(), Some(0));
}

/// The same child with a single system call is found out.
#[test]
fn a_single_system_call_is_noticed() {
    assert_ne!(run_child("one call").unwrap().code(), Some(0));
}
