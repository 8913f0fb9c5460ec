//! The other way: plugins that call whoever loaded them, and objects between the two.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::thread::{self, ThreadId};
use std::time::Duration;

use busbar_abi::Manifest;
use busbar_types::{Type, read};
use busbar_zone::{Answer, ErrorKind, Mode, Options, Parent, ParentCall, Result, State, Zone};

use crate::fixtures::{LONG, load, loader, options, physics, until};
use crate::modes::{all, dedicated, wait};
#[cfg(target_os = "linux")]
use crate::queues::resident_bytes;
use crate::sdk::{archive, text};

/// The plugin of the example, compiled into this program.
#[path = "../../examples/physics.rs"]
mod compiled_in;

unsafe extern "C" {
    fn busbar_plugin_v1() -> *const Manifest;
}

#[derive(Type)]
struct Ask {
    method: String,
    input: Vec<u8>,
}

#[derive(Type)]
struct Number(u64);

#[derive(Type)]
struct Ms {
    ms: u32,
}

/// Answers, and writes down what it is told.
#[derive(Default)]
struct Tester {
    threads: Mutex<Vec<ThreadId>>,
    /// Calls that are answered only when somebody says so.
    kept: Mutex<Vec<Answer>>,
    cancelled: Mutex<Vec<u64>>,
    released: Mutex<Vec<u64>>,
    downs: Mutex<Vec<u32>>,
    zone: OnceLock<Zone>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no panic")
}

impl Parent for Tester {
    fn handle_call(&self, call: ParentCall<'_>) {
        let ParentCall { method, input, answer, .. } = call;
        lock(&self.threads).push(thread::current().id());
        match method {
            "invert" => answer.succeed(&input.iter().map(|byte| !byte).collect::<Vec<_>>()),
            "later" => {
                let input = input.to_vec();
                thread::spawn(move || {
                    thread::sleep(Duration::from_millis(5));
                    answer.succeed(&input);
                });
            }
            "fail" => answer.fail(ErrorKind::Parent, "on purpose"),
            "drop" => drop(answer),
            "panic" => panic!("on purpose"),
            "close" => match self.zone.get().expect("set").close_if_idle(LONG) {
                Ok(()) => answer.succeed(b"closed"),
                Err(error) => answer.fail(error.kind(), error.message()),
            },
            "shut" => match self.zone.get().expect("set").close(LONG) {
                Ok(()) => answer.succeed(b"closed"),
                Err(error) => answer.fail(error.kind(), error.message()),
            },
            "keep" => lock(&self.kept).push(answer),
            _ => answer.fail(ErrorKind::MethodNotFound, "there is no such method"),
        }
    }

    fn handle_cancel(&self, id: u64) {
        lock(&self.cancelled).push(id);
    }

    fn handle_release(&self, object: u64) {
        lock(&self.released).push(object);
    }

    fn handle_down(&self, generation: u32) {
        lock(&self.downs).push(generation);
    }
}

/// Every way to a plugin: compiled in, and loaded, in each mode.
fn every_way(mut check: impl FnMut(&Zone, &Arc<Tester>)) {
    for mode in all() {
        let (tester, parent) = tester();
        let mut options = Options::new(mode());
        options.exposed = Some(&parent);
        // SAFETY: it keeps to the contract.
        let zone = unsafe { loader().open(busbar_plugin_v1, &options) };
        check(&zone.expect("it opens"), &tester);
    }
    let modes = [Mode::Inline, Mode::Shared, dedicated(2), Mode::Process];
    for mode in modes.into_iter().filter(|mode| is_there(*mode)) {
        let (zone, tester) = open(mode);
        check(&zone, &tester);
    }
}

fn is_there(mode: Mode) -> bool {
    mode != Mode::Process || cfg!(target_os = "linux")
}

fn tester() -> (Arc<Tester>, Arc<dyn Parent>) {
    let tester = Arc::new(Tester::default());
    let parent: Arc<dyn Parent> = Arc::<Tester>::clone(&tester);
    (tester, parent)
}

fn open(mode: Mode) -> (Zone, Arc<Tester>) {
    let (tester, parent) = tester();
    let mut options = options(mode);
    options.exposed = Some(&parent);
    (load(&physics(), &options).expect("it loads"), tester)
}

fn ask(zone: &Zone, how: &str, method: &str, input: &[u8]) -> Result<Vec<u8>> {
    let ask = archive(&Ask { method: method.to_owned(), input: input.to_vec() });
    wait(zone, how, &ask)
}

fn value<T: Type>(bytes: &[u8]) -> T {
    let mut aligned = busbar_types::rkyv::util::AlignedVec::<16>::new();
    aligned.extend_from_slice(bytes);
    read::<T>(&aligned).expect("a value")
}

pub(crate) fn number(zone: &Zone, method: &str, input: &[u8]) -> Result<u64> {
    Ok(value::<Number>(&wait(zone, method, input)?).0)
}

/// How a method of the plugin may call its parent, in this mode.
fn hows(zone: &Zone) -> &'static [&'static str] {
    // Inline, nothing waits.
    if zone.mode() == Mode::Inline { &["ask"] } else { &["ask", "ask_elsewhere", "ask_later"] }
}

/// [Z05 Z07 Z21] plugins call their parent, from any of their threads, whatever way there is to
/// them: results, failures, and names that there are not
#[test]
fn children_call_their_parents() {
    every_way(|zone, tester| {
        let mode = zone.mode();
        for how in hows(zone) {
            assert_eq!(ask(zone, how, "invert", &[1, 2]).expect("answered"), [254, 253]);
            assert!(ask(zone, how, "invert", &[]).expect("answered").is_empty());
            let large = vec![3; 3 << 20];
            assert_eq!(ask(zone, how, "later", &large).expect("answered"), large, "{mode:?}");
            for (method, kind, message) in [
                ("fail", ErrorKind::Parent, "on purpose"),
                ("drop", ErrorKind::Parent, "it was not answered"),
                ("none", ErrorKind::NotSupported, "there is no such method"),
            ] {
                let error = ask(zone, how, method, b"").expect_err("it fails");
                assert_eq!((error.kind(), error.message()), (kind, message), "{mode:?} {how}");
            }
        }
        assert!(zone.state() == State::Active);
        zone.close(LONG).expect("it closes");
        assert_eq!(lock(&tester.downs).len(), 0, "a clean close is no news");
    });
}

/// [Z03 Z07] inline, the parent's method runs on the caller's thread, within the call
#[test]
fn inline_callbacks_are_direct() {
    let (zone, tester) = open(Mode::Inline);
    ask(&zone, "ask", "invert", &[1]).expect("answered");
    assert_eq!(*lock(&tester.threads), [thread::current().id()]);
}

/// [Z07 Z17] a handler that panics is a failure for the plugin, and for nobody else
#[test]
fn a_parent_that_panics() {
    let is_first = AtomicBool::new(true);
    every_way(|zone, _| {
        let error = ask(zone, "ask", "panic", b"").expect_err("it fails");
        let expected = [ErrorKind::Parent, ErrorKind::Failed];
        assert!(expected.contains(&error.kind()), "{error}");
        assert_eq!(ask(zone, "ask", "invert", &[1]).expect("the others go on"), [254]);
        is_first.store(false, Ordering::Relaxed);
    });
    assert!(!is_first.into_inner(), "there was one");
}

/// [Z07] a plugin that nothing is exposed to is told so
#[test]
fn nothing_exposed() {
    for mode in [Mode::Inline, Mode::Shared, Mode::Process] {
        if !is_there(mode) {
            continue;
        }
        let zone = load(&physics(), &options(mode)).expect("it loads");
        let error = ask(&zone, "ask", "invert", b"").expect_err("nothing is exposed");
        assert_eq!(error.kind(), ErrorKind::NotSupported, "{mode:?} {error}");
    }
}

/// [Z06 Z07] closing answers what waits for the parent, so that the calls that wait can end
#[test]
fn closing_answers_what_goes_up() {
    every_way(|zone, tester| {
        if zone.mode() == Mode::Inline {
            return;
        }
        // A zone may have no more than one thread.
        let asks: Vec<_> = ["ask_later", "ask"]
            .iter()
            .map(|how| {
                let ask = archive(&Ask { method: "keep".to_owned(), input: Vec::new() });
                zone.start(zone.method(how).expect("it has it"), ask).expect("it starts")
            })
            .collect();
        until("all ask", || lock(&tester.kept).len() == asks.len());
        zone.close(Duration::from_secs(2)).expect("nobody stays");
        for call in asks {
            assert_eq!(call.wait(LONG).expect_err("closed").kind(), ErrorKind::Closed);
        }
        let kept = std::mem::take(&mut *lock(&tester.kept));
        assert!(kept.iter().all(|answer| !answer.is_wanted()));
        let mut ids: Vec<_> = kept.iter().map(Answer::id).collect();
        until("all are cancelled", || lock(&tester.cancelled).len() == ids.len());
        ids.sort_unstable();
        lock(&tester.cancelled).sort_unstable();
        assert_eq!(*lock(&tester.cancelled), ids, "each once");
        for answer in kept {
            answer.succeed(b"too late");
        }
        assert_eq!(zone.state(), State::Destroyed);
    });
}

/// [T33] from within a call, even an inline one, its zone is in use
#[test]
fn a_zone_that_calls_its_parent_is_in_use() {
    let (zone, tester) = open(Mode::Inline);
    assert!(tester.zone.set(zone.clone()).is_ok());
    let error = ask(&zone, "ask", "close", b"").expect_err("it is in use");
    assert_eq!(error.kind(), ErrorKind::Parent);
    assert!(error.message().contains("in use"), "{error}");
    assert_eq!(ask(&zone, "ask", "invert", &[1]).expect("nothing has changed"), [254]);
    zone.close_if_idle(LONG).expect("nobody is in");
}

/// [Z07] what a cancelled call has asked is cancelled with it
#[test]
fn cancelling_goes_up() {
    for mode in [Mode::Shared, dedicated(1), Mode::Process] {
        if !is_there(mode) {
            continue;
        }
        let (zone, tester) = open(mode);
        let ask = archive(&Ask { method: "keep".to_owned(), input: Vec::new() });
        let call = zone.start(zone.method("ask_later").expect("it has it"), ask).expect("starts");
        until("it asks", || lock(&tester.kept).len() == 1);
        assert!(call.cancel());
        assert_eq!(call.wait(LONG).expect_err("cancelled").kind(), ErrorKind::Cancelled);
        until("the parent is told", || lock(&tester.cancelled).len() == 1);
        assert!(!lock(&tester.kept)[0].is_wanted());
        zone.close(LONG).expect("it closes");
    }
}

/// [Z03 Z06] a handler that closes the zone whose call waits for it waited for itself, unless the
/// call ran on a thread of the zone
#[test]
fn a_zone_is_not_closed_from_within() {
    every_way(|zone, tester| {
        if zone.mode() == Mode::Process {
            // Its handlers run on threads that nobody waits for.
            return;
        }
        tester.zone.set(zone.clone()).expect("once");
        for how in hows(zone) {
            let error = ask(zone, how, "shut", &[]).expect_err("it would wait for itself");
            assert!(error.message().contains("from within its own calls"), "{how} {error}");
        }
        assert_eq!(ask(zone, "ask", "invert", &[1]).expect("it goes on"), [254]);
        zone.close(LONG).expect("it closes");
    });
}

/// [Z02] a plugin is told once that nobody holds an object any more; stale ones say so
#[test]
fn objects_are_released_once() {
    every_way(|zone, _| {
        let make = |name: &str| number(zone, "make", &text(name)).expect("made");
        let (moon, sun) = (make("moon"), make("sun"));
        assert_ne!(moon, sun);
        let released = || number(zone, "released", &[]).expect("counted");
        let name_of = |object| wait(zone, "name_of", &archive(&Number(object)));
        let held: Vec<_> = (0..3).map(|_| zone.hold(moon).expect("it is there")).collect();
        let last = zone.hold(moon).expect("it is there");
        assert_eq!(last.number().expect("it is there"), moon);
        drop(held);
        assert_eq!(released(), 0);
        drop(last);
        until("it is told", || released() == 1);
        assert_eq!(zone.hold(moon).expect_err("gone").kind(), ErrorKind::Stale);
        assert_eq!(name_of(moon).expect_err("gone").kind(), ErrorKind::Stale);
        assert_eq!(zone.hold(sun + 1).expect_err("never was").kind(), ErrorKind::Stale);
        assert!(name_of(sun).is_ok());
        let held = zone.hold(sun).expect("it is there");
        zone.close(LONG).expect("it closes");
        assert_eq!(held.number().expect_err("closed").kind(), ErrorKind::Stale);
        assert_eq!(zone.hold(sun).expect_err("closed").kind(), ErrorKind::Stale);
    });
}

/// [Z02 Z12] what is released while a plugin lets nobody in, as its state is to be handed over, was
/// never told of; now it is, once calls go on
#[test]
fn objects_are_released_after_a_hand_over() {
    let folder = crate::fixtures::folder();
    let next = folder.path().join("next.so");
    let mut bytes = std::fs::read(physics()).expect("it is there");
    bytes.extend_from_slice(b"another file");
    std::fs::write(&next, bytes).expect("written");
    for mode in [Mode::Shared, dedicated(2), Mode::Process] {
        if !is_there(mode) {
            continue;
        }
        let loader = loader();
        // SAFETY: our own example.
        let zone = unsafe { loader.load(&physics(), &options(mode)) }.expect("it loads");
        let released = || number(&zone, "released", &[]).expect("counted");
        let held = [(); 20].map(|()| {
            let moon = number(&zone, "make", &text("moon")).expect("made");
            zone.hold(moon).expect("it is there")
        });
        let patient = zone.method("patient").expect("it has it");
        let call = zone.start(patient, archive(&Ms { ms: 60_000 })).expect("queued");
        until("it has begun", || zone.open_calls() == 1);
        let mut short = busbar_zone::ReloadOptions::default();
        short.grace = Duration::from_millis(200);
        thread::scope(|scope| {
            let reload = scope.spawn(|| {
                // SAFETY: as above.
                unsafe { loader.reload(&zone, &next, &short) }
            });
            for object in held {
                drop(object);
                thread::sleep(Duration::from_millis(15));
            }
            let error = reload.join().expect("no panic").expect_err("a call still runs");
            assert_eq!(error.kind(), ErrorKind::TimedOut, "{mode:?} {error}");
        });
        assert!(call.cancel());
        until("all are told of", || released() == 20);
        zone.close(LONG).expect("it closes");
    }
}

/// [Z07 Z13] a process that asks, and reads no answer, cannot have its parent keep them all: it is
/// ended, and this process lives on
#[test]
#[cfg(target_os = "linux")]
fn answers_that_nobody_reads_are_bounded() {
    let (tester, parent) = tester();
    let mut options = options(Mode::Process);
    options.exposed = Some(&parent);
    let zone = load(&physics(), &options).expect("it loads");
    let pid = zone.process().and_then(|it| it.pid).expect("it runs").cast_signed();
    let asks = 200;
    let calls: Vec<_> = (0..asks)
        .map(|_| {
            let ask = archive(&Ask { method: "keep".to_owned(), input: Vec::new() });
            zone.start(zone.method("ask_later").expect("it has it"), ask).expect("it starts")
        })
        .collect();
    until("all ask", || lock(&tester.kept).len() == asks);
    // SAFETY: a child of this process.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGSTOP) }, 0);
    let before = resident_bytes();
    let large = vec![7; 4 << 20];
    for answer in std::mem::take(&mut *lock(&tester.kept)) {
        answer.succeed(&large);
    }
    let more = resident_bytes().saturating_sub(before);
    assert!(more < 512 << 20, "{more} bytes wait, of 800 MiB");
    // SAFETY: as above.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGCONT) }, 0);
    let (mut whole, mut refused) = (0, 0);
    for call in calls {
        match call.wait(LONG) {
            Ok(result) => {
                assert!(result == large);
                whole += 1;
            }
            Err(error) => {
                assert!(error.message().contains("wait for the plugin to read"), "{error}");
                refused += 1;
            }
        }
    }
    assert!(whole >= 60 && refused >= 100, "{whole} {refused}");
    assert_eq!(ask(&zone, "ask", "invert", &[1]).expect("it goes on"), [254]);
    zone.close(LONG).expect("it closes");
}

/// [Z02] a parent is told once that a plugin does not need an object of its any more, by the plugin
/// or by its end
#[test]
fn lent_objects_come_back_once() {
    every_way(|zone, tester| {
        let [one, other, third] = [(); 3].map(|()| zone.lend().expect("there is room"));
        let give_back = |object| wait(zone, "give_back", &archive(&Number(object)));
        give_back(one).expect("it has it");
        until("the parent is told", || *lock(&tester.released) == [one]);
        if zone.mode() != Mode::Process {
            assert_eq!(give_back(one).expect_err("once").kind(), ErrorKind::Stale);
        }
        assert!(zone.take_back(third));
        assert!(!zone.take_back(third));
        zone.close(LONG).expect("it closes");
        assert_eq!(*lock(&tester.released), [one, other]);
        assert_eq!(zone.lend().expect_err("closed").kind(), ErrorKind::Closed);
    });
}

/// [Z02] a plugin that goes down is told of once; what was held of it is stale, and what it had
/// comes back
#[test]
fn going_down_is_told_once() {
    every_way(|zone, tester| {
        let moon = number(zone, "make", &text("moon")).expect("made");
        let held = zone.hold(moon).expect("it is there");
        let lent = zone.lend().expect("there is room");
        for _ in 0..2 {
            wait(zone, "panic", &text("on purpose")).expect_err("it panics");
        }
        // The second call may come while a process ends because of the first, or after that.
        let downs = || zone.process().map_or(1, |process| process.crashes as usize);
        until("it is told", || (1..=downs()).contains(&lock(&tester.downs).len()));
        assert_eq!(lock(&tester.downs)[0], 1);
        assert_eq!(held.number().expect_err("it is down").kind(), ErrorKind::Stale);
        if let Err(error) = zone.close(LONG) {
            // Its process was about to end because of the second call.
            assert_eq!((zone.mode(), error.kind()), (Mode::Process, ErrorKind::Crashed), "{error}");
        }
        assert_eq!(*lock(&tester.released), [lent]);
        assert_eq!(lock(&tester.downs).len(), downs());
    });
}
