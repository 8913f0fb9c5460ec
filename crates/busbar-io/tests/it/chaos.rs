//! Connecting, dying and running out of things over and over: nothing may be left behind.
//!
//! `BUSBAR_CHAOS_ROUNDS` says how many times a process is killed, 100 by default. What is left is
//! counted in a child process, which has no other tests running beside it.

use std::fs;
use std::io::{Write, stderr};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use busbar_io::{
    CloseReason, Code, ListenOptions, Message, Pipe, PipeOptions, Readiness, dial, listen,
};
use rustix::process::{Resource, Rlimit};

use crate::raw::{GEOMETRY, Honest, Raw, hello_frame};
use crate::support::{Driven, PATIENCE, Random, Role, Scratch, connected};

const CYCLES: u32 = 300;

fn rounds() -> u32 {
    std::env::var("BUSBAR_CHAOS_ROUNDS").map_or(100, |rounds| rounds.parse().unwrap())
}

/// [D37 D38 D45] neither orderly ends nor kills leave descriptors, mappings or files
#[test]
fn nothing_is_left_behind() {
    Role::start("leaks", "").finish();
}

/// [D45] a listener without descriptors recovers when there are some again
#[test]
fn a_listener_survives_running_out_of_descriptors() {
    let scratch = Scratch::new("starve");
    Role::start("starve", &scratch.shm()).finish();
}

/// What a process holds that outlives a connection's end if something is wrong.
#[derive(Debug, PartialEq, Eq)]
struct Holdings {
    descriptors: Vec<String>,
    mappings: usize,
    threads: usize,
}

impl Holdings {
    fn now() -> Self {
        let descriptors = fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| {
            // The directory itself is open while it is read.
            let target = fs::read_link(entry.unwrap().path()).ok()?;
            let target = target.to_string_lossy().into_owned();
            (!target.starts_with("/proc/")).then(|| target.split(':').next().unwrap().to_owned())
        });
        let mut descriptors: Vec<_> = descriptors.collect();
        descriptors.sort_unstable();
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let mappings = maps.lines().filter(|line| line.contains("memfd:busbar")).count();
        let threads = fs::read_dir("/proc/self/task").unwrap().count();
        Self { descriptors, mappings, threads }
    }
}

impl Holdings {
    /// As [`Holdings::now`], or `expected` as soon as that is so: what closed streams still deliver
    /// goes a moment later.
    fn settled(expected: &Self) -> Self {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let now = Self::now();
            if now == *expected || Instant::now() >= deadline {
                return now;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Plays in a child process.
pub(crate) fn leaks() {
    let scratch = Scratch::new("leaks");
    let mut kept = None;
    for scheme in ["inproc", "shm", "uds", "tcp"] {
        cycle(&scratch.address(scheme), 0, &mut kept);
    }
    kept = None;
    thread::sleep(Duration::from_millis(100));
    let before = Holdings::now();
    assert_eq!(before.mappings, 0);
    for n in 0..CYCLES {
        for scheme in ["inproc", "shm", "uds", "tcp"] {
            cycle(&scratch.address(scheme), n, &mut kept);
        }
    }
    drop(kept);
    assert_eq!(Holdings::settled(&before), before, "after {CYCLES} orderly ends");

    let mut random = Random::new(45);
    for round in 0..rounds() {
        let delay = Duration::from_micros(random.below(3000));
        if round % 2 == 0 {
            killed_dialer(&scratch, delay);
        } else {
            killed_listener(&scratch, delay);
        }
        if round % 1000 == 999 {
            let _ = writeln!(stderr(), "{} kills", round + 1);
        }
    }
    // The last listener that was killed could not remove its socket; the next to ask does.
    let error = dial(&scratch.shm(), PipeOptions::default(), PATIENCE).err().unwrap();
    assert_eq!(error.code(), Code::NotFound);
    assert_eq!(Holdings::settled(&before), before, "after {} kills", rounds());
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
}

/// One connection with a few messages, ended in one of several ways. A message is kept beyond the
/// end of its pipe.
fn cycle(address: &str, n: u32, kept: &mut Option<Message>) {
    let mut options = PipeOptions::default();
    options.ring_bytes = 1 << 16;
    options.slab_bytes = 1 << 16;
    let (listener, mut here, mut there) = connected(address, options);
    for size in [10, 5000, 5000] {
        here.send(0, &vec![1; size], Some(PATIENCE)).unwrap();
    }
    assert_eq!(there.recv(Some(PATIENCE)).unwrap().len(), 10);
    let large = there.recv(Some(PATIENCE)).unwrap();
    match n % 3 {
        0 => here.close(&CloseReason::default()),
        1 => there.close(&CloseReason::default()),
        _ => drop(listener),
    }
    *kept = Some(large);
}

fn killed_dialer(scratch: &Scratch, delay: Duration) {
    let mut listener = listen(&scratch.shm(), ListenOptions::default()).unwrap();
    let mut peer = Role::start("chat", &scratch.shm());
    let pipe = listener.accept(Some(PATIENCE)).unwrap();
    outlives(pipe, &mut peer, delay);
}

/// The name is taken over from the one killed before.
fn killed_listener(scratch: &Scratch, delay: Duration) {
    let mut peer = Role::start("serve", &scratch.shm());
    peer.hears("listening");
    let pipe = dial(&scratch.shm(), PipeOptions::default(), PATIENCE).unwrap();
    outlives(pipe, &mut peer, delay);
}

/// Sends and receives until the peer is killed in the middle of it: every message that arrives is
/// whole, and the end is noticed.
fn outlives(mut pipe: Pipe, peer: &mut Role, delay: Duration) {
    let pid = rustix::process::Pid::from_child(&peer.process);
    let killing = thread::spawn(move || {
        thread::sleep(delay);
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    });
    let error = loop {
        let _ = pipe.try_send(0, &[5; 5]);
        match pipe.recv(Some(PATIENCE)) {
            Ok(message) => {
                assert!(message.iter().all(|byte| *byte == message.len().to_le_bytes()[0]));
            }
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), Code::ConnectionLost, "{error}");
    killing.join().unwrap();
    peer.process.wait().unwrap();
}

/// Plays in a child process, whose limits it may change.
pub(crate) fn starve(address: &str) {
    let mut driven = Driven::new();
    driven.listen(address, &ListenOptions::default());
    let path = std::path::Path::new(address.strip_prefix("shm://").unwrap());
    let honest = Honest::new(GEOMETRY);
    let introduced = || {
        let raw = Raw::connect(path);
        raw.send(&hello_frame(GEOMETRY), &honest.fds());
        raw
    };
    let mut raw = introduced();
    let limit = Rlimit { current: Some(64), maximum: Some(64) };
    rustix::process::setrlimit(Resource::Nofile, limit).unwrap();
    let mut hoard: Vec<OwnedFd> = Vec::new();
    let fill = |hoard: &mut Vec<_>| {
        while let Ok(fd) = honest.bell.try_clone() {
            hoard.push(fd);
        }
    };
    fill(&mut hoard);
    let warning = driven.warning();
    assert_eq!((warning.code(), warning.is_retryable()), (Code::OutOfMemory, true), "{warning}");
    assert_eq!(driven.engine.prepare_sleep(&mut driven.events), Readiness::Sleep, "no busy loop");
    assert!(driven.engine.next_deadline().is_some(), "it will try again");

    // Five are needed: the socket, two that the dialer passes, two that it is passed. With fewer it
    // is turned away and told why.
    for spare in 1..5 {
        hoard.truncate(hoard.len() - spare);
        while driven.warning().message().starts_with("accepting") {}
        let reject = raw.receive_reject();
        assert_eq!(reject.code, Some(Code::OutOfMemory), "{spare} to spare: {reject}");
        drop(raw);
        fill(&mut hoard);
        hoard.truncate(hoard.len() - 1);
        raw = introduced();
        fill(&mut hoard);
    }
    hoard.truncate(hoard.len() - 5);
    driven.accepted();
    raw.receive_hello();
}
