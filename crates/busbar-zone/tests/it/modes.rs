//! One table of tests for every way to a plugin: compiled in, inline, shared, dedicated, process.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use busbar_zone::{Completions, ErrorKind, Mode, Options, Record, Result, State, Zone};

use crate::fixtures::{
    Fixture, LONG, alive, inline, load, loader, options, registry, trusting, until, word,
};

pub(crate) fn dedicated(threads: usize) -> Mode {
    Mode::Dedicated { threads: NonZeroUsize::new(threads).expect("some") }
}

pub(crate) const fn all() -> [fn() -> Mode; 3] {
    [|| Mode::Inline, || Mode::Shared, || dedicated(2)]
}

/// The modes that need a file.
pub(crate) fn all_of_files() -> Vec<Mode> {
    let mut modes: Vec<_> = all().iter().map(|mode| mode()).collect();
    if cfg!(target_os = "linux") {
        modes.push(Mode::Process);
    }
    modes
}

pub(crate) fn wait(zone: &Zone, method: &str, input: &[u8]) -> Result<Vec<u8>> {
    zone.start(zone.method(method)?, input.to_vec())?.wait(LONG)
}

/// What holds for every zone of the plugin in C, whatever way there is to it.
fn conforms(zone: &Zone) {
    let mode = zone.mode();
    assert_eq!(zone.state(), State::Active, "{mode:?}");
    assert_eq!(wait(zone, "echo", b"hello").expect("it echoes"), b"hello", "{mode:?}");
    assert_eq!(wait(zone, "echo", b"").expect("it echoes"), b"", "{mode:?}");
    let error = wait(zone, "fail", b"").expect_err("it fails");
    assert_eq!((error.kind(), error.message()), (ErrorKind::Failed, "on purpose"), "{mode:?}");
    assert_eq!(wait(zone, "strange", b"").expect_err("it is").kind(), ErrorKind::Failed);
    assert_eq!(wait(zone, "large", b"").expect("repeated with room").len(), 100_000, "{mode:?}");
    let none = zone.start(busbar_zone::MethodId::from_index(99), Vec::new());
    assert_eq!(none.err().expect("none").kind(), ErrorKind::MethodNotFound, "{mode:?}");
    serial_methods_run_alone(zone);
    zone.close(LONG).expect("it closes");
    assert_eq!(zone.state(), State::Destroyed, "{mode:?}");
    let error = wait(zone, "echo", b"hello").expect_err("it is closed");
    assert_eq!(error.kind(), ErrorKind::Closed, "{mode:?}");
    let error = zone.call(zone.method("echo").expect("it has it"), b"", &mut []);
    let is_inline = mode == Mode::Inline;
    let expected = if is_inline { ErrorKind::Closed } else { ErrorKind::NotSupported };
    assert_eq!(error.expect_err("it is closed").kind(), expected);
    zone.close(LONG).expect("once more is no error");
}

fn serial_methods_run_alone(zone: &Zone) {
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10 {
                    assert_eq!(wait(zone, "serial", b"").expect("alone"), b"alone");
                }
            });
        }
    });
}

/// [Z01 Z07 Z13 Z21 Z19] the same plugin behaves the same inline, on shared and own threads, and
/// in a process of its own
#[test]
fn every_mode_conforms() {
    let fixture = Fixture::plugin(&[]);
    for mode in all_of_files() {
        conforms(&load(&fixture.path, &options(mode)).expect("it loads"));
    }
}

/// [Z01 Z07 Z21] … and without a library at all, compiled into the program
#[test]
fn local_plugins_conform_as_well() {
    for mode in all() {
        // SAFETY: it keeps to the contract.
        let zone = unsafe { loader().open(crate::local::entry, &Options::new(mode())) };
        conforms(&zone.expect("it opens"));
    }
}

/// [Z03 Z10] inline calls run on the caller's thread, on the caller's memory, whatever its size
#[test]
fn inline_borrows() {
    let fixture = Fixture::plugin(&[]);
    let zone = inline(&fixture.path);
    let place = zone.method("where").expect("it has it");
    let input = vec![1; 1 << 20];
    let mut out = [0; 16];
    zone.call(place, &input, &mut out).expect("it says where");
    let address = word(&out[..8]);
    assert_eq!(address, input.as_ptr().addr());
    let thread = word(&out[8..]);
    // SAFETY: it takes nothing and cannot fail.
    assert_eq!(thread, unsafe { libc::pthread_self() } as usize);
}

/// [Z04 Z08 Z09] other threads, which are the zone's own or the shared ones
#[test]
fn threads_of_others() {
    let fixture = Fixture::plugin(&[]);
    let thread_of = |zone: &Zone| {
        let out = wait(zone, "where", b"").expect("it says where");
        word(&out[8..])
    };
    // SAFETY: it takes nothing and cannot fail.
    let here = unsafe { libc::pthread_self() } as usize;
    let own = load(&fixture.path, &Options::new(dedicated(1))).expect("it loads");
    let first = thread_of(&own);
    assert_ne!(first, here);
    assert!((0..20).all(|_| thread_of(&own) == first), "there is one only");
    let shared = load(&fixture.path, &Options::new(Mode::Shared)).expect("it loads");
    assert!((0..20).all(|_| ![first, here].contains(&thread_of(&shared))));
}

/// [Z11] the caller's bytes are its own again at once, also for calls that wait in the queue
#[test]
fn submitted_bytes_are_copies() {
    let fixture = Fixture::plugin(&[]);
    let zone = load(&fixture.path, &Options::new(dedicated(1))).expect("it loads");
    let echo = zone.method("echo").expect("it has it");
    let mut bytes = [0; 64];
    let calls: Vec<_> = (0..200)
        .map(|n| {
            bytes.fill(n);
            let call = zone.start(echo, bytes.to_vec()).expect("queued");
            bytes.fill(255);
            (n, call)
        })
        .collect();
    for (n, call) in calls {
        assert_eq!(call.wait(LONG).expect("it echoes"), [n; 64]);
    }
}

/// [Z18] a queue that is full says so, nothing that was accepted is lost, and closing waits for it
#[test]
fn queues_are_bounded_and_drained() {
    #[derive(Default)]
    struct Ends(Mutex<Vec<u64>>);
    impl Completions for Ends {
        fn complete(&self, operation: u64, result: Result<&[u8]>) {
            assert!(result.is_ok());
            self.0.lock().expect("no panic").push(operation);
        }
    }
    let fixture = Fixture::plugin(&[]);
    let zone = load(&fixture.path, &Options::new(dedicated(1))).expect("it loads");
    let serial = zone.method("serial").expect("it has it");
    let (ends, mut accepted) = (Arc::new(Ends::default()), Vec::new());
    let refused = (0..40_000).find(|&operation| {
        let sink: Arc<dyn Completions> = Arc::<Ends>::clone(&ends);
        let submitted = zone.submit(serial, Vec::new(), sink, operation);
        if submitted.is_ok() {
            accepted.push(operation);
        }
        submitted.is_err_and(|error| error.kind() == ErrorKind::Again && error.is_retryable())
    });
    assert!(refused.is_some(), "it is bounded");
    zone.close(LONG).expect("it drains");
    assert_eq!(*ends.0.lock().expect("no panic"), accepted, "each once, in order");
}

/// [Z17] a plugin that completes twice, and what nobody asked for, is told so
#[test]
fn completions_count_once() {
    let fixture = Fixture::plugin(&["WITH_START"]);
    for mode in all_of_files() {
        let zone = load(&fixture.path, &options(mode)).expect("it loads");
        for n in 0..100_u32 {
            let bytes = n.to_le_bytes();
            assert_eq!(wait(&zone, "echo", &bytes).expect("it echoes"), bytes);
        }
        zone.close(LONG).expect("nobody is left inside");
    }
}

/// [Z06] an instance was destroyed while a thread was still in its `start`, as the call that it was
/// for had been completed already
#[test]
fn a_start_that_returns_after_its_completion() {
    let fixture = Fixture::plugin(&["WITH_START", "SLOW_START"]);
    for mode in [Mode::Shared, dedicated(1), Mode::Process] {
        let zone = load(&fixture.path, &options(mode)).expect("it loads");
        assert_eq!(wait(&zone, "echo", b"early").expect("it echoes"), b"early");
        zone.close(LONG).expect("it waits for the thread");
        assert_eq!(zone.state(), State::Destroyed);
    }
}

/// [Z17 T33] a call that never ends is a timeout for its caller, and closing does not wait for it
#[test]
fn a_call_that_never_ends() {
    let fixture = Fixture::plugin(&[]);
    let zone = load(&fixture.path, &Options::new(dedicated(2))).expect("it loads");
    let stuck = zone.start(zone.method("stuck").expect("it has it"), Vec::new()).expect("queued");
    let error = stuck.wait(Duration::from_millis(50)).expect_err("it never ends");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(wait(&zone, "echo", b"others").expect("go on"), b"others");
    let before = busbar_zone::abandoned_instances();
    let start = Instant::now();
    let error = zone.close(Duration::from_millis(100)).expect_err("somebody is inside");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(start.elapsed() < LONG);
    assert_eq!(zone.state(), State::Zombie);
    assert_eq!(busbar_zone::abandoned_instances(), before + 1);
    assert_eq!(wait(&zone, "echo", b"").expect_err("closed").kind(), ErrorKind::Closed);
}

/// [Z06] closing while many call: each call ends or is refused, and then there is no instance
#[test]
fn closing_under_load() {
    let fixture = Fixture::plugin(&[]);
    let loader = busbar_zone::Loader::new(registry(), trusting());
    for mode in all_of_files() {
        for _ in 0..10 {
            // SAFETY: our own fixture.
            let zone = unsafe { loader.load(&fixture.path, &options(mode)) };
            let zone = zone.expect("it loads");
            let done = AtomicUsize::new(0);
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| {
                        loop {
                            match wait(&zone, "echo", b"12345678") {
                                Ok(bytes) => assert_eq!(bytes, b"12345678"),
                                Err(error) if error.kind() == ErrorKind::Again => {}
                                Err(error) => {
                                    assert_eq!(error.kind(), ErrorKind::Closed);
                                    break;
                                }
                            }
                            done.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                }
                while done.load(Ordering::Relaxed) < 100 {
                    std::thread::yield_now();
                }
                zone.close(LONG).expect("it closes");
            });
            assert_eq!(zone.state(), State::Destroyed);
        }
    }
    let zone = inline(&fixture.path);
    assert_eq!(alive(&zone), 1, "made and destroyed as often, but for this one");
}

/// [Z03] many calls in one: results where they belong, errors in their records, and records that
/// would do harm refused before any call
#[test]
fn batches() {
    for (defines, calls) in [(&[][..], 0), (&["WITH_BATCH"], 3)] {
        let fixture = Fixture::plugin(defines);
        batches_of(&inline(&fixture.path), calls);
    }
}

fn record(method: u32, input: (u32, u32), out: (u32, u32)) -> Record {
    let ((in_offset, in_length), (out_offset, out_room)) = (input, out);
    let (out_length, status, reserved) = (77, 77, 0);
    Record { method, in_offset, in_length, out_offset, out_room, out_length, status, reserved }
}

/// What holds whether the plugin runs batches itself, by so many `calls`, or is called for each.
fn batches_of(zone: &Zone, calls: usize) {
    let index = |name| zone.method(name).expect("it has it").index();
    let (echo, fail) = (index("echo"), index("fail"));
    let mut arena = *b"abcd............";
    let mut records = [
        record(echo, (0, 4), (8, 8)),
        record(fail, (0, 0), (0, 0)),
        record(echo, (8, 4), (4, 2)),
        record(echo, (8, 2), (0, 4)),
    ];
    let failed = zone.call_batch(&mut records, &mut arena).expect("they run");
    let failed: Vec<_> =
        failed.iter().map(|(index, error)| (*index, error.kind(), error.message())).collect();
    let expected = (1, ErrorKind::Failed, "on purpose");
    assert_eq!((failed.len(), failed[0]), (2, expected));
    assert_eq!((failed[1].0, failed[1].1), (2, ErrorKind::BufferTooSmall));
    assert_eq!(&arena, b"abcd....abcd....");
    let ends: Vec<_> = records.iter().map(|it| (it.status, it.out_length)).collect();
    assert_eq!(ends, [(0, 4), (-1042, 0), (-2, 4), (0, 2)]);
    let mut count = [0; 8];
    let batches = zone.method("batches").expect("it has it");
    zone.call(batches, &[], &mut count).expect("it counts");
    assert_eq!(word(&count), calls);

    for wrong in [
        record(echo, (0, 17), (0, 0)),
        record(echo, (0, 0), (16, 1)),
        record(echo, (u32::MAX, 8), (0, 0)),
        record(echo, (0, 4), (3, 4)),
        record(99, (0, 0), (0, 0)),
        record(index("stuck"), (0, 0), (0, 0)),
    ] {
        let mut records = [record(echo, (0, 4), (8, 8)), wrong];
        let error = zone.call_batch(&mut records, &mut arena).expect_err("it would do harm");
        assert!(!matches!(error.kind(), ErrorKind::Internal), "{error}");
        assert_eq!(records[0].status, 77, "none was run");
    }
    // More than go together, and methods that run alone, from several threads.
    let mut many: Vec<_> = (0..300).map(|n| record(echo, (n, 4), (300 + 4 * n, 4))).collect();
    let mut arena: Vec<_> = (0..1600_u32).map(|n| n as u8).collect();
    assert!(zone.call_batch(&mut many, &mut arena).expect("they run").is_empty());
    assert!(many.iter().all(|it| (it.status, it.out_length) == (0, 4)));
    assert!((0..300).all(|n| arena[300 + 4 * n] == n as u8));
    let serial = index("serial");
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut arena = [0; 50];
                let mut alone: Vec<_> =
                    (0..10).map(|n| record(serial, (0, 0), (5 * n, 5))).collect();
                zone.call_batch(&mut alone, &mut arena).expect("they run");
                assert_eq!(arena, *b"alone".repeat(10));
            });
        }
    });
}

/// [Z17] batches that a plugin says to have run and has not, or wrote beyond their rooms, are no
/// results; nothing is run twice because of it
#[test]
fn batches_that_lie() {
    for (define, kind) in [("BATCH_SKIPS", "returned"), ("BATCH_LIES", "says that it wrote")] {
        let fixture = Fixture::plugin(&["WITH_BATCH", define]);
        let zone = inline(&fixture.path);
        let count = zone.method("count").expect("it has it").index();
        let mut records = [record(count, (0, 0), (0, 0)); 3];
        let failed = zone.call_batch(&mut records, &mut []).expect("they run");
        assert!(!failed.is_empty());
        for (_, error) in failed {
            assert!(error.message().contains(kind), "{error}");
        }
        let mut counted = [0; 4];
        let method = zone.method("counted").expect("it has it");
        zone.call(method, &[], &mut counted).expect("it says");
        assert_eq!(counted[0], 3, "each once");
    }
}

/// [Z03] nothing is encoded on the way of an inline call: the plugin's own functions for that are
/// never called
#[test]
fn inline_calls_encode_nothing() {
    let fixture = Fixture::plugin(&[]);
    let zone = inline(&fixture.path);
    let mut out = [0; 8];
    for _ in 0..1000 {
        zone.call(zone.method("echo").expect("it has it"), b"12345678", &mut out).expect("runs");
    }
    let bound = zone.bind(zone.method("encoded").expect("it has it")).expect("it never waits");
    assert_eq!(bound.call(&[], &mut out).expect("it counts"), 8);
    assert_eq!(word(&out), 0);
}

/// [T33] closing what is in use waits, or is refused without any change, as one asks for
#[test]
fn closing_if_idle() {
    let fixture = Fixture::plugin(&[]);
    for mode in all_of_files() {
        let loader = busbar_zone::Loader::new(registry(), trusting());
        // SAFETY: our own fixture.
        let open = |mode| unsafe { loader.load(&fixture.path, &options(mode)) };
        let zone = open(mode).expect("it loads");
        if mode != Mode::Inline {
            let method = zone.method("wait").expect("it has it");
            let call = zone.start(method, Vec::new()).expect("it starts");
            if mode == Mode::Process {
                // One that has not begun could be cancelled.
                until("it has begun", || {
                    wait(&zone, "waits", b"").expect("it says") == [1, 0, 0, 0]
                });
            }
            let error = zone.close_if_idle(LONG).expect_err("it is in use");
            assert_eq!(error.kind(), ErrorKind::InUse, "{mode:?}");
            assert_eq!(zone.state(), State::Active, "{mode:?}");
            if mode == Mode::Process {
                call.cancel();
                zone.close(Duration::ZERO).expect_err("it waits for ever");
                continue;
            }
            wait(&zone, "echo", b"").expect("nothing has changed");
            wait(&open(Mode::Inline).expect("it loads"), "open", b"").expect("it opens");
            call.wait(LONG).expect("it ends");
        }
        let mut child = options(mode);
        child.parent = Some(&zone);
        // SAFETY: our own fixture.
        let child = unsafe { loader.load(&fixture.path, &child) }.expect("it loads");
        assert_eq!(zone.close_if_idle(LONG).expect_err("it has one").kind(), ErrorKind::InUse);
        child.close_if_idle(LONG).expect("nobody is in");
        zone.close_if_idle(LONG).expect("nobody is in");
        assert_eq!(zone.state(), State::Destroyed);
        zone.close_if_idle(LONG).expect("once more is no error");
    }
}
