//! Plugins that crash, hang, leak and scribble in a process of their own: an error for their
//! callers, another process, and nothing left behind.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use busbar_zone::{
    Completions, Error, ErrorKind, GoLibraries, Mode, Options, Output, ProcessOptions, Result,
    Stage,
};
use busbar_zone::{State, Zone};

use crate::fixtures::{Fixture, LONG, address_sanitizer, load, options, process, until};

/// What these tests count, tests that run beside them would count, too.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn plugin() -> Fixture {
    Fixture::new(include_str!("fixtures/crash.c"), &[])
}

fn open_with(fixture: &Fixture, process: &ProcessOptions, config: &str) -> Result<Zone> {
    let mut options = Options::new(Mode::Process);
    (options.process, options.config) = (Some(process), config);
    load(&fixture.path, &options)
}

/// One that is started again as often as it takes, and at once.
fn open(fixture: &Fixture) -> Zone {
    let mut process = process();
    (process.crashes_max, process.crash_window) = (1000, Duration::ZERO);
    open_with(fixture, &process, "null").expect("it starts")
}

fn call(zone: &Zone, method: &str, input: &[u8]) -> Result<Vec<u8>> {
    zone.start(zone.method(method)?, input.to_vec())?.wait(LONG)
}

fn call_waiting(zone: &Zone, method: &str, input: &[u8]) -> Result<Vec<u8>> {
    zone.call_waiting(zone.method(method)?, input, LONG)
}

#[expect(clippy::host_endian_bytes, reason = "the plugin is on this machine")]
fn number(bytes: &[u8]) -> i64 {
    i64::from_ne_bytes(bytes.try_into().expect("8 bytes"))
}

fn crashed(result: Result<Vec<u8>>, how: &str) -> Error {
    let error = result.expect_err("its process is gone");
    assert_eq!(error.kind(), ErrorKind::Crashed, "{error}");
    assert!(error.message().contains(how), "{error} lacks {how}");
    error
}

fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z")))
}

/// Open descriptors, threads and children of this process.
fn belongings() -> (usize, usize, usize) {
    let count = |path: &str| fs::read_dir(path).map_or(0, Iterator::count);
    let children = fs::read_dir("/proc/self/task").expect("there is one").map(|task| {
        let path = task.expect("an entry").path().join("children");
        fs::read_to_string(path).unwrap_or_default().split_whitespace().count()
    });
    (count("/proc/self/fd"), count("/proc/self/task"), children.sum())
}

/// The other processes that the thread behind the process `pid` has started.
fn beside(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir("/proc/self/task").expect("there is one");
    let lists = tasks.map(|task| {
        let children = task.expect("an entry").path().join("children");
        let children = fs::read_to_string(children).unwrap_or_default();
        children.split_whitespace().filter_map(|it| it.parse().ok()).collect::<Vec<u32>>()
    });
    let mut list = lists.into_iter().find(|list| list.contains(&pid)).unwrap_or_default();
    list.retain(|child| *child != pid);
    list
}

/// [Z13 T40] whatever ends the process, the call fails and says how; the next one succeeds in
/// another process, and this one lives on
#[test]
fn a_crash_costs_an_error() {
    let _alone = alone();
    let fixture = plugin();
    let zone = open(&fixture);
    let mut pids = BTreeSet::new();
    for (method, how) in [
        ("segfault", "killed by signal 11 (SIGSEGV)"),
        ("abort", "killed by signal 6 (SIGABRT)"),
        ("exit", "exited with code 3"),
    ] {
        for run in [call, call_waiting] {
            let pid = number(&run(&zone, "pid", b"").expect("it runs"));
            assert!(pids.insert(pid), "another process each time");
            let error = crashed(run(&zone, method, b""), how);
            assert_eq!((error.subject(), error.stage()), ("fixture.crash", Stage::Call));
            let of = (error.plugin_id(), error.method(), error.generation());
            assert_eq!(of, ("fixture.crash", method, 1));
            assert!(error.is_retryable());
            assert_eq!(run(&zone, "echo", b"alive").expect("it runs again"), b"alive");
        }
    }
    let status = zone.process().expect("it has one");
    assert_eq!((status.starts, status.crashes), (7, 6));
    assert_eq!(zone.state(), State::Active);
    zone.close(LONG).expect("it closes");
}

/// [Z13] results of every size, by every way there is: ring, slab, parts
#[test]
fn arguments_and_results_of_any_size() {
    let _alone = alone();
    let fixture = plugin();
    let mut process = process();
    (process.ring_bytes, process.slab_bytes) = (64 << 10, 1 << 20);
    let zone = open_with(&fixture, &process, "null").expect("it starts");
    for length in [0, 1, 1000, 1008, 1009, 1024, 65_536, 1 << 20, (1 << 20) + 1, 5_000_001] {
        let input: Vec<u8> = (0..length).map(|at| (at * 31 % 251) as u8).collect();
        for run in [call, call_waiting] {
            let output = run(&zone, "echo", &input).expect("it echoes");
            assert!(output == input, "{length}");
        }
    }
    // All at once, more than ring and slab hold.
    let echo = zone.method("echo").expect("it has it");
    let calls: Vec<_> = (0..300_usize)
        .map(|n| (n, zone.start(echo, vec![n as u8; n * 100]).expect("queued")))
        .collect();
    for (n, call) in calls {
        assert!(call.wait(LONG).expect("it echoes") == vec![n as u8; n * 100], "{n}");
    }
    zone.close(LONG).expect("it closes");
}

/// [Z13] of the calls in flight, those that may be repeated are, once; all others fail
#[test]
fn calls_in_flight() {
    let _alone = alone();
    let fixture = plugin();
    let zone = open(&fixture);
    let mark = |name: &str| fixture.folder.path().join(name).into_os_string().into_encoded_bytes();
    let again = call(&zone, "once", &mark("a")).expect("it is repeated");
    assert_eq!(again, b"again");
    let again = call_waiting(&zone, "once", &mark("b")).expect("it is repeated");
    assert_eq!(again, b"again");
    crashed(call(&zone, "once_for_all", &mark("c")), "SIGSEGV");
    let status = zone.process().expect("it has one");
    assert_eq!((status.crashes, status.retried), (3, 2));
    // Not for ever: what kills every process is repeated once.
    crashed(call(&zone, "suicide", b""), "SIGKILL");
    assert_eq!(zone.process().expect("it has one").crashes, 5);

    // What has not begun goes to the next process, whatever it is.
    let (stuck, abort) = ("stuck", zone.method("abort").expect("it has it"));
    let stuck = zone.start(zone.method(stuck).expect("it has it"), Vec::new()).expect("sent");
    let crash = zone.start(abort, Vec::new()).expect("sent");
    crashed(stuck.wait(LONG), "SIGABRT");
    crashed(crash.wait(LONG), "SIGABRT");
    zone.close(LONG).expect("it closes");
}

/// [Z13] three crashes within five minutes are enough: then calls fail at once, until it is loaded
/// anew
#[test]
fn the_circuit_breaks() {
    let _alone = alone();
    let fixture = plugin();
    let zone = open_with(&fixture, &process(), "null").expect("it starts");
    for _ in 0..3 {
        crashed(call(&zone, "segfault", b""), "SIGSEGV");
    }
    until("it is given up", || zone.state() == State::Crashed);
    for run in [call, call_waiting] {
        let error = crashed(run(&zone, "echo", b"x"), "crashed 3 times within 300 s");
        assert!(error.message().contains("SIGSEGV"), "{error}");
    }
    let status = zone.process().expect("it had one");
    assert_eq!((status.pid, status.starts, status.crashes), (None, 3, 3));
    zone.close(LONG).expect("there is nothing to end");
    assert_eq!(zone.state(), State::Destroyed);
    let error = call(&zone, "echo", b"x").expect_err("closed");
    assert_eq!(error.kind(), ErrorKind::Closed);
}

/// [Z13] crashes that are longer ago than the window do not count
#[test]
fn old_crashes_are_forgotten() {
    let _alone = alone();
    let fixture = plugin();
    let mut process = process();
    (process.crashes_max, process.crash_window) = (2, Duration::ZERO);
    let zone = open_with(&fixture, &process, "null").expect("it starts");
    for _ in 0..5 {
        crashed(call(&zone, "abort", b""), "SIGABRT");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(call(&zone, "echo", b"on").expect("it goes on"), b"on");
    zone.close(LONG).expect("it closes");
}

/// [Z13] a plugin that fails to start is an error of loading, and leaves nothing behind
#[test]
fn crashes_at_the_start() {
    let _alone = alone();
    let fixture = plugin();
    let mapped = Fixture::new(include_str!("fixtures/crash.c"), &["CRASH_WHEN_MAPPED"]);
    let before = belongings();
    let mut process = process();
    let error = open_with(&fixture, &process, "\"crash\"").expect_err("it crashes");
    assert_eq!((error.kind(), error.stage()), (ErrorKind::Crashed, Stage::Ready), "{error}");
    assert!(error.message().contains("SIGSEGV"), "{error}");
    let error = open_with(&fixture, &process, "\"exit\"").expect_err("it exits");
    assert!(error.message().contains("exited with code 9"), "{error}");
    let error = open_with(&mapped, &process, "null").expect_err("it crashes");
    assert!(error.message().contains("SIGSEGV"), "{error}");
    process.start_timeout = Duration::from_millis(200);
    let error = open_with(&fixture, &process, "\"hang\"").expect_err("it hangs");
    assert_eq!((error.kind(), error.stage()), (ErrorKind::TimedOut, Stage::Ready), "{error}");
    assert_eq!(belongings(), before);
}

/// [Z17] the executable is missing, cannot be run, or is another one: each says so
#[test]
fn wrong_executables() {
    let _alone = alone();
    let fixture = plugin();
    let file = fixture.folder.path().join("host");
    let start = || {
        let mut process = ProcessOptions::new(&file);
        process.start_timeout = Duration::from_secs(5);
        open_with(&fixture, &process, "null").expect_err("it is wrong")
    };
    let error = start();
    assert_eq!(error.kind(), ErrorKind::Host, "{error}");
    assert!(error.to_string().contains(&*file.to_string_lossy()), "{error}");
    fs::write(&file, "#!/bin/sh\nexit 0\n").expect("written");
    assert_eq!(start().kind(), ErrorKind::Host, "it is not executable");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("allowed");
    let error = start();
    assert_eq!(error.kind(), ErrorKind::Crashed, "it says nothing: {error}");
    assert!(error.message().contains("exited with code 0"), "{error}");
    let mut none = Options::new(Mode::Process);
    none.config = "null";
    assert_eq!(load(&fixture.path, &none).expect_err("none").kind(), ErrorKind::InvalidArgument);
}

/// [Z17] the executable, run by a person, says what it is for
#[test]
fn the_executable_alone() {
    let host = env!("CARGO_BIN_EXE_busbar-host");
    let output = Command::new(host).stdin(Stdio::null()).output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("Busbar"));
}

/// [Z13 Z17] a call that never ends: its caller is told, and with a limit its process is ended
#[test]
fn calls_that_never_end() {
    let _alone = alone();
    let fixture = plugin();
    let zone = open(&fixture);
    for method in ["stuck", "spin"] {
        let method = zone.method(method).expect("it has it");
        let error = zone.call_waiting(method, b"", Duration::from_millis(30));
        let error = error.expect_err("it never ends");
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    }
    let pid = zone.process().and_then(|it| it.pid).expect("it runs");
    let error = zone.close(Duration::from_millis(100)).expect_err("two are inside");
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    assert!(!is_alive(pid), "it was ended");
    assert_eq!(zone.state(), State::Destroyed);

    let mut process = process();
    process.call_timeout = Some(Duration::from_millis(100));
    process.crashes_max = 100;
    let zone = open_with(&fixture, &process, "null").expect("it starts");
    for run in [call, call_waiting] {
        for method in ["stuck", "spin"] {
            let error = run(&zone, method, b"").expect_err("it never ends");
            assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
            assert!(error.message().contains("100 ms"), "{error}");
            // Nothing that comes then goes to the process that is ended, and would have to be
            // repeated, which this must not.
            run(&zone, "descriptors", b"").expect("the next process runs it");
            assert_eq!(run(&zone, "echo", b"next").expect("it runs again"), b"next");
        }
    }
    assert_eq!(zone.process().expect("it has one").crashes, 4);
    zone.close(LONG).expect("it closes");
}

/// [Z13] a plugin that takes more memory than it may have ends its own process only
#[test]
fn memory_is_limited() {
    // A sanitizer's own memory, which it takes at the start, is beyond any limit.
    if address_sanitizer().is_some() {
        return;
    }
    let _alone = alone();
    let fixture = plugin();
    let mut process = process();
    process.sandbox.memory_bytes = Some(64 << 20);
    let zone = open_with(&fixture, &process, "null").expect("it starts");
    crashed(call(&zone, "leak", b""), "limited to 67108864 bytes of memory");
    assert_eq!(call(&zone, "echo", b"next").expect("it runs again"), b"next");
    zone.close(LONG).expect("it closes");
}

/// [Z13] whatever a plugin writes into the shared words, it ends itself only
#[test]
fn garbage_in_shared_memory() {
    let _alone = alone();
    let fixture = plugin();
    let zone = open(&fixture);
    let mut seen = [0; 2];
    until("somebody looks while there is garbage", || {
        for (run, seen) in [call, call_waiting].into_iter().zip(&mut seen) {
            // Its next word in order may come before anybody has looked.
            if let Err(error) = run(&zone, "scribble", b"") {
                assert_eq!(error.kind(), ErrorKind::Crashed, "{error}");
                assert!(error.message().contains("was ended, because it"), "{error}");
                *seen += 1;
            }
            match run(&zone, "echo", b"next") {
                Ok(output) => assert_eq!(output, b"next"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Crashed, "{error}"),
            }
        }
        seen[1] >= 3
    });
    zone.close(LONG).expect("it closes");
}

/// [Z13] a process has nothing of its parent's but what it is given: no descriptor, no variable
#[test]
fn nothing_is_inherited() {
    let _alone = alone();
    let fixture = plugin();
    // One that a careless library of this process leaves open for all.
    // SAFETY: a file of its own.
    let leaked = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY) };
    // SAFETY: as above.
    assert!(unsafe { libc::dup2(leaked, 60) } == 60);
    let mut process = process();
    // Nor what a sanitizer is to know: nothing crashes here.
    process.env = None;
    let zone = open_with(&fixture, &process, "null").expect("it starts");
    let bits = number(&call(&zone, "descriptors", b"").expect("it counts"));
    assert_eq!(bits >> 60 & 1, 0, "{bits:b}");
    // Standard streams, control socket, bells, and what maps the library or waits.
    assert!(bits.count_ones() <= 8, "{bits:b}");
    for fd in [leaked, 60] {
        // SAFETY: opened above.
        unsafe { libc::close(fd) };
    }
    let text = call(&zone, "environment", b"").expect("it says");
    let text = String::from_utf8(text).expect("text");
    let names: Vec<_> = text.lines().filter_map(|line| line.split('=').next()).collect();
    let known = |name: &&str| ["LD_LIBRARY_PATH", "LANG", "TZ"].contains(name);
    assert!(names.iter().all(known), "{names:?}");
    zone.close(LONG).expect("it closes");
    process.env = Some(vec![("GREETING".into(), "hello".into())]);
    let zone = open_with(&fixture, &process, "null").expect("it starts");
    assert_eq!(call(&zone, "environment", b"").expect("it says"), b"GREETING=hello\n");
    zone.close(LONG).expect("it closes");
}

/// [Z13] what the sandbox denies, fails; all else goes on
#[test]
fn sandboxes() {
    let _alone = alone();
    let fixture = plugin();
    let file = fixture.folder.path().join("written").into_os_string().into_encoded_bytes();
    let run = |change: &dyn Fn(&mut ProcessOptions)| {
        let mut process = process();
        change(&mut process);
        let zone = open_with(&fixture, &process, "null").expect("it starts");
        let of = |method: &str, input: &[u8]| number(&call(&zone, method, input).expect("it runs"));
        let outcomes = [of("execute", b""), of("socket", b""), of("write", &file)];
        assert_eq!(call(&zone, "echo", b"all else").expect("it runs"), b"all else");
        zone.close(LONG).expect("it closes");
        outcomes
    };
    let eperm = -i64::from(libc::EPERM);
    assert_eq!(run(&|_| {}), [0, 0, 0]);
    assert_eq!(run(&|it| it.sandbox.deny_exec = true), [eperm, 0, 0]);
    assert_eq!(run(&|it| it.sandbox.deny_network = true), [0, eperm, 0]);
    assert_eq!(run(&|it| it.sandbox.deny_write = true), [0, 0, eperm]);
}

/// [Z13] what was opened to be read could be changed, sockets bound, and others signalled
#[test]
fn sandboxes_have_no_ways_around() {
    let _alone = alone();
    let fixture = plugin();
    let file = fixture.folder.path().join("there");
    fs::write(&file, "").expect("written");
    let file = file.into_os_string().into_encoded_bytes();
    let run = |deny_write: bool| {
        let mut process = process();
        process.sandbox.deny_write = deny_write;
        let zone = open_with(&fixture, &process, "null").expect("it starts");
        let of = |method: &str, input: &[u8]| -> Vec<i64> {
            let outcomes = call(&zone, method, input).expect("it runs");
            outcomes.chunks_exact(8).map(number).collect()
        };
        let outcomes = (of("change", &file), of("signal", b""));
        crashed(call(&zone, "abort", b""), "SIGABRT");
        zone.close(LONG).expect("it closes");
        outcomes
    };
    let eperm = -i64::from(libc::EPERM);
    let (change, signal) = run(false);
    // Not every file system has attributes.
    assert_eq!((change[0], change[1], change[3]), (0, 0, 0));
    assert_eq!(signal[3], 0);
    assert_eq!(run(true), (vec![eperm; 4], vec![eperm, eperm, eperm, 0]));
}

/// [Z06] a process that was closed as soon as it was open was killed, and said to have crashed
#[test]
fn closed_at_once() {
    let _alone = alone();
    let fixture = plugin();
    for _ in 0..20 {
        open(&fixture).close(LONG).expect("it closes");
    }
}

/// [Z13] whoever sleeps on a call is woken, though its own thread is said to look for answers, as
/// that of an event loop is
#[test]
fn who_looks_for_answers_may_sleep_on_one() {
    let _alone = alone();
    let fixture = plugin();
    let zone = open(&fixture);
    for _ in 0..3 {
        let attendance = zone.attend().expect("looking is of use here");
        assert_eq!(call_waiting(&zone, "slow", &[1]).expect("it is woken"), [1]);
        drop(attendance);
    }
}

/// [Z06] closing runs the plugin's own end, in its process
#[test]
fn closing_is_orderly() {
    let _alone = alone();
    let fixture = plugin();
    let mark = fixture.folder.path().join("destroyed");
    let mut process = process();
    process.env = Some(vec![("DESTROYED".into(), mark.clone().into())]);
    let zone = open_with(&fixture, &process, "null").expect("it starts");
    let slow = zone.start(zone.method("slow").expect("it has it"), vec![1]).expect("sent");
    zone.close(LONG).expect("it waits for calls");
    assert_eq!(slow.wait(LONG).expect("it ended"), [1]);
    assert!(mark.exists());
    fs::remove_file(&mark).expect("removed");
    drop(open_with(&fixture, &process, "null").expect("it starts"));
    assert!(mark.exists(), "dropping is closing");
}

/// [Z13] processes come and go, killed at random under load: every call ends, and nothing is left
#[test]
fn killed_at_random() {
    let _alone = alone();
    let fixture = plugin();
    // Threads and descriptors that come once are there.
    open(&fixture).close(LONG).expect("it closes");
    let before = belongings();
    let zone = open(&fixture);
    let (ended, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let is_over =
        || ended.load(Ordering::Relaxed) > 500 && zone.process().is_some_and(|it| it.crashes >= 12);
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let (zone, ended, failed, is_over) = (&zone, &ended, &failed, &is_over);
            scope.spawn(move || {
                let methods = ["echo", "pid", "slow"].map(|it| zone.method(it).expect("it has it"));
                for n in 0_usize.. {
                    if is_over() {
                        break;
                    }
                    let (method, input) = (methods[n % 3], vec![thread; n % 3000]);
                    let result = if thread == 0 {
                        zone.call_waiting(method, &input, LONG)
                    } else {
                        zone.start(method, input.clone()).and_then(|call| call.wait(LONG))
                    };
                    match result {
                        Ok(output) => assert!(n % 3 == 1 || output == input),
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::Crashed, "{error}");
                            failed.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    ended.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut rounds = 0_u64;
        while !is_over() {
            rounds = rounds.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040);
            std::thread::sleep(Duration::from_micros(2000 + (rounds >> 33) % 20_000));
            if let Some(pid) = zone.process().and_then(|it| it.pid) {
                // SAFETY: a child of this process, or, once in a lifetime, nobody.
                unsafe { libc::kill(pid.cast_signed(), libc::SIGKILL) };
            }
        }
    });
    assert!(failed.load(Ordering::Relaxed) > 0);
    if let Err(error) = zone.close(LONG) {
        assert_eq!(error.kind(), ErrorKind::Crashed, "killed last of all: {error}");
    }
    drop(zone);
    assert_eq!(belongings(), before);
}

/// [Z13] a plugin that has crashed has another process ready, which serves after the next crash; if
/// that is gone, another one does; and none is left when the zone is closed
#[test]
fn the_next_process_is_ready() {
    let _alone = alone();
    let zone = open(&plugin());
    let pid = || zone.process().and_then(|it| it.pid).expect("it runs");
    let serves = || assert_eq!(call(&zone, "echo", b"here").expect("it runs"), b"here");
    // Looked for after each call: who has nothing to do provides.
    let spare = || {
        until("another process", || beside(pid()).len() == 1);
        beside(pid())[0]
    };
    serves();
    assert!(beside(pid()).is_empty(), "one that never crashed has no other process");
    crashed(call(&zone, "segfault", b""), "SIGSEGV");
    serves();
    let first = spare();
    crashed(call(&zone, "abort", b""), "SIGABRT");
    serves();
    assert_eq!(pid(), first);
    let second = spare();
    // SAFETY: a child of this process, which nobody has waited for.
    unsafe { libc::kill(second.cast_signed(), libc::SIGKILL) };
    until("it is gone", || !is_alive(second));
    crashed(call(&zone, "segfault", b""), "SIGSEGV");
    serves();
    assert_ne!(pid(), second);
    let (last, third) = (pid(), spare());
    assert_ne!(third, second);
    let status = zone.process().expect("it has one");
    assert_eq!((status.starts, status.crashes), (4, 3));
    zone.close(LONG).expect("it closes");
    assert!(!is_alive(last) && !is_alive(third));
}

/// [Z13] what a plugin has started ends with its process, whether that crashes or is closed
#[test]
fn what_a_plugin_starts() {
    let _alone = alone();
    let fixture = plugin();
    let zone = open(&fixture);
    let fork =
        || u32::try_from(number(&call(&zone, "fork", b"").expect("it forks"))).expect("a pid");
    let first = fork();
    assert!(is_alive(first));
    crashed(call(&zone, "segfault", b""), "SIGSEGV");
    until("it is gone", || !is_alive(first));
    let second = fork();
    zone.close(LONG).expect("it closes");
    until("it is gone", || !is_alive(second));
}

/// [Z13] whoever starts a process may be killed at any time: the process ends with it, even in the
/// middle of a call that runs in circles
#[test]
fn the_parent_is_killed() {
    let _alone = alone();
    for method in ["echo", "spin"] {
        let fixture = plugin();
        let test = std::env::current_exe().expect("a path");
        let mut parent = Command::new(test)
            .args(["--exact", "process::play_parent", "--nocapture"])
            .env("BUSBAR_PLUGIN", &fixture.path)
            .env("BUSBAR_METHOD", method)
            .stdout(Stdio::null())
            .spawn()
            .expect("it starts");
        let mark = fixture.folder.path().join("pid");
        until("it says its pid", || mark.exists());
        let pid = fs::read_to_string(&mark).expect("a number").parse().expect("a number");
        assert!(is_alive(pid));
        parent.kill().expect("killed");
        parent.wait().expect("gone");
        until("it is gone, too", || !is_alive(pid));
    }
}

/// The process that the test above kills.
#[test]
fn play_parent() {
    let Some(path) = std::env::var_os("BUSBAR_PLUGIN").map(std::path::PathBuf::from) else {
        return;
    };
    let zone = load(&path, &options(Mode::Process)).expect("it starts");
    let method = std::env::var("BUSBAR_METHOD").expect("it is said");
    let pid = zone.process().and_then(|it| it.pid).expect("it runs");
    let folder = path.parent().expect("it is in one");
    let started = zone.start(zone.method(&method).expect("it has it"), Vec::new());
    std::thread::sleep(Duration::from_millis(20));
    fs::write(folder.join("new"), pid.to_string()).expect("written");
    fs::rename(folder.join("new"), folder.join("pid")).expect("renamed");
    std::thread::sleep(LONG);
    drop(started);
}

/// [Z13] a library in Go gets a process, or is refused in this one, unless it is the only one and
/// allowed
#[test]
fn libraries_in_go() {
    let _alone = alone();
    // What tells them from others, so that this needs no Go.
    let made_by_go = |id: &str| {
        let mark =
            "__attribute__((section(\".go.buildinfo\"), used)) static const char go[] = \"x\";";
        let source = format!("{mark}\n{}", include_str!("fixtures/crash.c"));
        Fixture::new(&source.replace("fixture.crash", id), &[])
    };
    let (first, second) = (made_by_go("first.go"), made_by_go("second.go"));
    let open = |fixture: &Fixture, go| {
        let mut options = options(Mode::Shared);
        options.go = go;
        load(&fixture.path, &options)
    };
    let error = open(&first, GoLibraries::Refuse).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::NotSupported);
    assert!(error.to_string().contains("mode process"), "{error}");
    let zone = open(&first, GoLibraries::Isolate).expect("it starts");
    assert_eq!(zone.mode(), Mode::Process);
    zone.close(LONG).expect("it closes");
    for _ in 0..2 {
        let zone = open(&first, GoLibraries::Allow).expect("allowed");
        assert_eq!(zone.mode(), Mode::Shared);
    }
    let error = open(&second, GoLibraries::Allow).expect_err("there is one");
    assert!(error.to_string().contains("another library in Go"), "{error}");
}

/// [Z13 T40] what a plugin logs and prints is in the log of this process
#[test]
fn logs_and_prints() {
    static SEEN: Mutex<Vec<(log::Level, String)>> = Mutex::new(Vec::new());
    struct Seen;
    impl log::Log for Seen {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &log::Record<'_>) {
            if record.target() == "busbar::plugin" {
                let entry = (record.level(), record.args().to_string());
                SEEN.lock().expect("no panic").push(entry);
            }
        }
        fn flush(&self) {}
    }
    let _alone = alone();
    log::set_logger(&Seen).expect("the only one");
    log::set_max_level(log::LevelFilter::Info);
    let fixture = plugin();
    let mut process = process();
    process.output = Output::Log;
    let zone = open_with(&fixture, &process, "null").expect("it starts");
    call(&zone, "log", b"a word of warning").expect("it logs");
    call(&zone, "print", b"").expect("it prints");
    for (level, line) in [
        (log::Level::Warn, "fixture.crash: a word of warning"),
        (log::Level::Info, "fixture.crash: to stdout"),
        (log::Level::Info, "fixture.crash: and a second line"),
        (log::Level::Warn, "fixture.crash: to stderr"),
    ] {
        until(line, || SEEN.lock().expect("no panic").contains(&(level, line.to_owned())));
    }
    zone.close(LONG).expect("it closes");
}

/// [Z13 Z11] a large result lay in memory that the process could change while others read it
#[test]
fn results_are_out_of_reach() {
    struct Look(mpsc::Sender<(usize, bool)>);
    impl Completions for Look {
        fn complete(&self, _operation: u64, result: Result<&[u8]>) {
            let result = result.expect("it echoes");
            let told = self.0.send((result.len(), is_shared(result.as_ptr().addr())));
            told.expect("it is waited for");
        }
    }
    let fixture = Fixture::plugin(&[]);
    let zone = load(&fixture.path, &options(Mode::Process)).expect("it starts");
    let echo = zone.method("echo").expect("it has it");
    let (sender, told) = mpsc::channel();
    for length in [10, 1000, 40_000] {
        let sink: Arc<dyn Completions> = Arc::new(Look(sender.clone()));
        zone.submit(echo, vec![7; length], sink, 0).expect("sent");
        assert_eq!(told.recv_timeout(LONG).expect("it ends"), (length, false));
    }
    zone.close(LONG).expect("it closes");
}

/// Whether other processes may have what is at this address.
fn is_shared(address: usize) -> bool {
    let maps = fs::read_to_string("/proc/self/maps").expect("Linux");
    let holds = |line: &&str| {
        let (from, to) = line.split_whitespace().next()?.split_once('-')?;
        let [from, to] = [from, to].map(|it| usize::from_str_radix(it, 16));
        Some((from.ok()?..to.ok()?).contains(&address))
    };
    let map = maps.lines().find(|line| holds(line) == Some(true)).expect("it is mapped");
    map.split_whitespace().nth(1).expect("permissions").ends_with('s')
}
