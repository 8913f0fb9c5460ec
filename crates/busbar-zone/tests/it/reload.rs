//! From one version of a plugin to the next, while others call it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use busbar_zone::{Error, ErrorKind, Loader, Mode, Options, ReloadOptions, Reloaded, State};
use busbar_zone::{Watch, Zone};

use crate::fixtures::{Fixture, Gate, LONG, alive, loader, options, process, registry};
use crate::fixtures::{trusting, until};
use crate::modes::{all, all_of_files, dedicated, wait};

fn open(loader: &Loader, path: &Path, mode: Mode) -> Zone {
    // SAFETY: our own fixture.
    unsafe { loader.load(path, &options(mode)) }.expect("it loads")
}

fn reload(loader: &Loader, zone: &Zone, path: &Path) -> Result<Reloaded, Error> {
    reload_with(loader, zone, path, &ReloadOptions::default())
}

fn reload_with(
    loader: &Loader,
    zone: &Zone,
    path: &Path,
    options: &ReloadOptions,
) -> Result<Reloaded, Error> {
    // SAFETY: our own fixture.
    unsafe { loader.reload(zone, path, options) }
}

fn version(zone: &Zone) -> i32 {
    number(&wait(zone, "version", b"").expect("it says"))
}

#[expect(clippy::host_endian_bytes, reason = "the plugin is in this process")]
fn number(bytes: &[u8]) -> i32 {
    i32::from_ne_bytes(bytes.try_into().expect("4 bytes"))
}

/// What this process has that a reload could leave behind.
fn left_behind() -> (usize, usize) {
    let count = |folder: &Path, wanted: &dyn Fn(&str) -> bool| {
        let names = std::fs::read_dir(folder).expect("a folder").filter_map(Result::ok);
        names.filter(|it| wanted(&it.file_name().to_string_lossy())).count()
    };
    let files = count(&std::env::temp_dir(), &|name| name.starts_with("busbar-"));
    (count(Path::new("/proc/self/fd"), &|_| true), files)
}

/// [Z12] in every mode new calls are the next version's, once it is there; the same file again is
/// no reload; a version that is called no more is ended
#[test]
fn versions_follow_each_other() {
    for mode in all() {
        let (one, two) = (Fixture::plugin(&[]), Fixture::plugin(&["VERSION=2"]));
        let loader = loader();
        let zone = open(&loader, &one.path, mode());
        let first = open(&loader, &one.path, Mode::Inline);
        assert_eq!((version(&zone), zone.generation(), alive(&first)), (1, 1, 2));
        let same = reload(&loader, &zone, &one.path).expect("nothing to do");
        assert_eq!((same, zone.generation()), (Reloaded::Unchanged, 1));
        let next = reload(&loader, &zone, &two.path).expect("it reloads");
        assert_eq!((next, version(&zone)), (Reloaded::Generation(2), 2));
        assert_eq!(alive(&first), 1, "the first generation is gone");
        let back = reload(&loader, &zone, &one.path).expect("it reloads");
        assert_eq!((back, version(&zone), alive(&first)), (Reloaded::Generation(3), 1, 2));
        zone.close(LONG).expect("it closes");
        assert_eq!((zone.state(), alive(&first)), (State::Destroyed, 1));
        let error = reload(&loader, &zone, &two.path).expect_err("it is closed");
        assert_eq!(error.kind(), ErrorKind::Closed);
    }
}

/// [Z12] under constant load from several threads no call fails, and results change once; whatever
/// is wrong with a file, the version before it serves on; nothing is left behind
#[test]
fn no_call_fails() {
    let reloads: usize =
        std::env::var("BUSBAR_TEST_RELOADS").map_or(20, |it| it.parse().expect("count"));
    for mode in all_of_files() {
        // Each is a process, or two.
        let reloads = if mode == Mode::Process { reloads.div_ceil(4) } else { reloads };
        let versions = [Fixture::plugin(&[]), Fixture::plugin(&["VERSION=2"])];
        let broken = Fixture::plugin(&["INIT_FAILS", "VERSION=3"]);
        let cut = Fixture::plugin(&["VERSION=4"]);
        let bytes = std::fs::read(&cut.path).expect("read");
        std::fs::write(&cut.path, &bytes[..bytes.len() / 2]).expect("written");
        let loader = loader();
        let zone = open(&loader, &versions[0].path, mode);
        // What is made once: images, pools.
        for fixture in versions.iter().rev() {
            reload(&loader, &zone, &fixture.path).expect("it reloads");
        }
        let before = left_behind();
        let (done, calls) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        let version = wait(&zone, "version", b"").map(|it| number(&it));
                        assert!(matches!(version, Ok(1 | 2)), "{version:?}");
                        calls.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            for n in 1..=reloads {
                let seen = calls.load(Ordering::Relaxed);
                let next = reload(&loader, &zone, &versions[n % 2].path).expect("it reloads");
                assert!(matches!(next, Reloaded::Generation(_)));
                assert_eq!(version(&zone), (n % 2) as i32 + 1);
                let error = reload(&loader, &zone, &broken.path).expect_err("it is broken");
                assert_eq!((error.kind(), error.status().0), (ErrorKind::Failed, -1007));
                let error = reload(&loader, &zone, &cut.path).expect_err("it is cut off");
                assert_eq!(error.kind(), ErrorKind::Damaged);
                until("more calls", || calls.load(Ordering::Relaxed) > seen);
            }
            done.store(true, Ordering::Relaxed);
        });
        assert_eq!(zone.generation(), 3 + 2 * reloads as u32 - reloads as u32);
        // Told first, out then.
        until("nothing is open", || zone.open_calls() == 0);
        assert_eq!(zone.late_calls(), 0);
        zone.close(LONG).expect("it closes");
        let after = left_behind();
        // Other tests have files open, too, for moments.
        assert!(after.0 <= before.0 + 20, "{before:?} {after:?}");
    }
}

/// [Z12] calls that run are the last version's to their end, while new ones are the next one's;
/// those that do not end in time leave their instance as it is
#[test]
fn calls_that_run_end_where_they_began() {
    let (one, two) = (Fixture::plugin(&[]), Fixture::plugin(&["VERSION=2"]));
    let loader = loader();
    let key = open(&loader, &one.path, Mode::Inline);
    let zone = open(&loader, &one.path, dedicated(3));
    let [block, stuck] = ["wait", "stuck"].map(|name| zone.method(name).expect("it has it"));
    let running = zone.start(block, Vec::new()).expect("queued");
    until("it has begun", || zone.open_calls() == 1);
    std::thread::scope(|scope| {
        let reloading = scope.spawn(|| reload(&loader, &zone, &two.path));
        until("the next version", || version(&zone) == 2);
        // A call is told of a moment before it is out.
        until("it has begun", || zone.open_calls() == 1);
        wait(&key, "open", b"").expect("it opens");
        running.wait(LONG).expect("it ends");
        reloading.join().expect("no panic").expect("it reloads");
    });
    assert_eq!(alive(&key), 1);

    let never = zone.start(stuck, Vec::new()).expect("queued");
    std::thread::sleep(Duration::from_millis(20));
    let before = busbar_zone::abandoned_instances();
    let mut options = ReloadOptions::default();
    options.grace = Duration::from_millis(100);
    reload_with(&loader, &zone, &one.path, &options).expect("it reloads");
    assert_eq!(never.wait(LONG).expect_err("given up").kind(), ErrorKind::Closed);
    assert!(busbar_zone::abandoned_instances() > before);
    assert_eq!(version(&zone), 1);
}

/// [Z12] methods that are missing or of other types are no reload, unless that is wanted; then
/// their callers are told, and numbers of methods mean what they meant
#[test]
fn methods_that_change() {
    let one = Fixture::plugin(&[]);
    let two = Fixture::plugin(&["METHOD_NAME=\"repeat\"", "VERSION=2"]);
    let loader = loader();
    let zone = open(&loader, &one.path, Mode::Inline);
    let [echo, versions] = ["echo", "version"].map(|name| zone.method(name).expect("it has it"));
    let error = reload(&loader, &zone, &two.path).expect_err("echo is missing");
    assert_eq!(error.kind(), ErrorKind::SchemaMismatch);
    assert!(error.to_string().contains("echo would be missing"), "{error}");
    assert_eq!(zone.call(echo, b"abc", &mut [0; 3]).expect("it echoes"), 3);
    let mut options = ReloadOptions::default();
    options.breaking = true;
    reload_with(&loader, &zone, &two.path, &options).expect("it reloads");
    let error = zone.call(echo, b"abc", &mut [0; 3]).expect_err("it is gone");
    assert_eq!(error.kind(), ErrorKind::MethodNotFound);
    assert_eq!(zone.call(versions, b"", &mut [0; 4]).expect("as before"), 4);
    let repeat = zone.method("repeat").expect("it is new");
    assert_eq!(zone.call(repeat, b"abc", &mut [0; 3]).expect("it repeats"), 3);
    let other = Fixture::plugin(&["ID=\"fixture.other\""]);
    let error = reload(&loader, &zone, &other.path).expect_err("another plugin");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

/// [Z12] state goes from the last generation to the next, after the last call of the one and before
/// the first of the other; calls wait for that; if it cannot be read, the last one goes on with it
#[test]
fn state_is_handed_over() {
    for mode in all_of_files() {
        let one = Fixture::plugin(&["WITH_STATE"]);
        let two = Fixture::plugin(&["WITH_STATE", "VERSION=2"]);
        let other = Fixture::plugin(&["WITH_STATE", "VERSION=3", "STATE_HASH=8"]);
        let loader = loader();
        let zone = open(&loader, &one.path, mode);
        let (done, counted) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        wait(&zone, "count", b"").expect("it counts");
                        counted.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            for n in 0..10 {
                let path = if n % 2 == 0 { &two.path } else { &one.path };
                reload(&loader, &zone, path).expect("it reloads");
                let error = reload(&loader, &zone, &other.path).expect_err("another state");
                assert_eq!(error.kind(), ErrorKind::SchemaMismatch, "{error}");
            }
            done.store(true, Ordering::Relaxed);
        });
        let total = number(&wait(&zone, "counted", b"").expect("it says"));
        assert_eq!(total as u64, counted.load(Ordering::Relaxed), "no call is lost or repeated");
        let mut options = ReloadOptions::default();
        options.cold = true;
        reload_with(&loader, &zone, &other.path, &options).expect("it begins anew");
        assert_eq!(number(&wait(&zone, "counted", b"").expect("it says")), 0);
    }
}

/// [Z12 Z13] calls that waited for a thread in the last version's process failed when its state was
/// handed over: nobody else had them, and nothing was run there any more
#[cfg(target_os = "linux")]
#[test]
fn what_waits_in_the_last_process_is_run() {
    let gate = Gate::new();
    let one = Fixture::plugin(&["WITH_STATE", &gate.define()]);
    let two = Fixture::plugin(&["WITH_STATE", "VERSION=2"]);
    let loader = loader();
    let zone = open(&loader, &one.path, Mode::Process);
    wait(&zone, "count", b"").expect("it counts");
    let block = zone.method("wait").expect("it has it");
    let calls: Vec<_> = (0..5).map(|_| zone.start(block, Vec::new()).expect("queued")).collect();
    gate.await_reached();
    std::thread::scope(|scope| {
        let reloading = scope.spawn(|| reload(&loader, &zone, &two.path));
        until("calls are the next one's", || zone.generation() == 2);
        // The last one is asked to save by now, if not on a slow machine.
        std::thread::sleep(Duration::from_millis(100));
        gate.open();
        reloading.join().expect("no panic").expect("it reloads");
    });
    for call in calls {
        call.wait(LONG).expect("it is run");
    }
    assert_eq!((version(&zone), number(&wait(&zone, "counted", b"").expect("it says"))), (2, 1));
    zone.close(LONG).expect("it closes");
}

/// [Z12 Z13] one that takes too long to save in its process is told, while it still saves, that
/// nobody waits: it goes on after that, and what it says late is not taken for another state
#[cfg(target_os = "linux")]
#[test]
fn saving_takes_too_long() {
    let one = Fixture::plugin(&["WITH_STATE", "SLOW_SAVE=7000000"]);
    let two = Fixture::plugin(&["WITH_STATE", "VERSION=2"]);
    let loader = loader();
    let zone = open(&loader, &one.path, Mode::Process);
    wait(&zone, "count", b"").expect("it counts");
    let mut options = ReloadOptions::default();
    options.grace = Duration::ZERO;
    let error = reload_with(&loader, &zone, &two.path, &options).expect_err("it still saves");
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    wait(&zone, "count", b"").expect("it goes on");
    assert_eq!((version(&zone), zone.generation()), (1, 1));
    reload(&loader, &zone, &two.path).expect("it saves at once");
    assert_eq!(version(&zone), 2);
    assert_eq!(number(&wait(&zone, "counted", b"").expect("it says")), 2);
    zone.close(LONG).expect("it closes");
}

/// [Z12] a version that panics soon after its reload is replaced by what came before it
#[test]
fn a_panic_on_probation_is_rolled_back() {
    let (one, two) = (Fixture::plugin(&[]), Fixture::plugin(&["VERSION=2"]));
    for mode in all() {
        let loader = Loader::new(registry(), trusting());
        let zone = open(&loader, &one.path, mode());
        reload(&loader, &zone, &two.path).expect("it reloads");
        assert_eq!(wait(&zone, "panic", b"").expect_err("it does").kind(), ErrorKind::Panic);
        until("the next generation", || zone.generation() == 3);
        assert_eq!((version(&zone), zone.state()), (1, State::Active));
        // What came before has nothing before it.
        assert_eq!(wait(&zone, "panic", b"").expect_err("it does").kind(), ErrorKind::Panic);
        until("it is faulted", || zone.state() == State::Faulted);
        assert_eq!(wait(&zone, "version", b"").expect_err("it ends").kind(), ErrorKind::Faulted);
        reload(&loader, &zone, &two.path).expect("a reload heals");
        assert_eq!((version(&zone), zone.generation()), (2, 4));
        zone.close(LONG).expect("it closes");
    }
}

/// [Z12] a reload asked an instance for its state that had panicked, when that was to be replaced
#[test]
fn a_panic_has_no_state_to_hand_over() {
    for mode in all() {
        let one = Fixture::plugin(&["WITH_STATE"]);
        let two = Fixture::plugin(&["WITH_STATE", "VERSION=2"]);
        let loader = loader();
        let zone = open(&loader, &one.path, mode());
        wait(&zone, "count", b"").expect("it counts");
        reload(&loader, &zone, &two.path).expect("it reloads");
        assert_eq!(number(&wait(&zone, "counted", b"").expect("it says")), 1);
        assert_eq!(wait(&zone, "panic", b"").expect_err("it does").kind(), ErrorKind::Panic);
        until("the next generation", || zone.generation() == 3);
        assert_eq!(number(&wait(&zone, "counted", b"").expect("it says")), 0);
        assert_eq!(wait(&zone, "panic", b"").expect_err("it does").kind(), ErrorKind::Panic);
        reload(&loader, &zone, &two.path).expect("a reload heals");
        assert_eq!((version(&zone), zone.generation()), (2, 4));
        zone.close(LONG).expect("it closes");
    }
}

/// [Z12] a call that panics while a reload waits for it, to hand state over, is no reason to call
/// the instance once more
#[test]
fn a_panic_within_a_hand_over() {
    let gate = Gate::new();
    let one = Fixture::plugin(&["WITH_STATE", &gate.define()]);
    let two = Fixture::plugin(&["WITH_STATE", "VERSION=2"]);
    let loader = loader();
    let zone = open(&loader, &one.path, dedicated(2));
    let late = zone.method("panic_late").expect("it has it");
    let call = zone.start(late, Vec::new()).expect("queued");
    gate.await_reached();
    std::thread::scope(|scope| {
        let reloading = scope.spawn(|| reload(&loader, &zone, &two.path));
        // It waits by now, if not on a slow machine.
        std::thread::sleep(Duration::from_millis(100));
        gate.open();
        let reloaded = reloading.join().expect("no panic").expect("it reloads");
        assert_eq!(reloaded, Reloaded::Generation(2));
    });
    assert_eq!(call.wait(LONG).expect_err("it panics").kind(), ErrorKind::Panic);
    assert_eq!(version(&zone), 2);
    zone.close(LONG).expect("it closes");
}

/// [Z06 Z12] a zone that closes while its next generation is made ends the last one meanwhile: that
/// was asked for its state afterwards
#[test]
fn closing_while_the_next_one_is_made() {
    let gate = Gate::new();
    let one = Fixture::plugin(&["WITH_STATE"]);
    let two = Fixture::plugin(&["WITH_STATE", "VERSION=2", "INIT_WAITS", &gate.define()]);
    let loader = loader();
    let zone = open(&loader, &one.path, Mode::Inline);
    std::thread::scope(|scope| {
        let reloading = scope.spawn(|| reload(&loader, &zone, &two.path));
        gate.await_reached();
        zone.close(Duration::from_millis(50)).expect("it closes");
        assert_eq!(zone.state(), State::Destroyed);
        gate.open();
        let error = reloading.join().expect("no panic").expect_err("it is closed");
        assert_eq!(error.kind(), ErrorKind::Closed);
    });
    assert_eq!(alive(&open(&loader, &two.path, Mode::Inline)), 1, "the next one is gone as well");
}

/// [Z07 Z12] whoever waits for ever was a panic, as no clock tells that
#[test]
fn waiting_for_ever() {
    let one = Fixture::plugin(&["WITH_STATE"]);
    let two = Fixture::plugin(&["WITH_STATE", "VERSION=2"]);
    for mode in all_of_files() {
        let mut process = process();
        process.call_timeout = Some(Duration::MAX);
        let mut forever = Options::new(mode);
        forever.process = Some(&process);
        let loader = loader();
        // SAFETY: our own fixture.
        let zone = unsafe { loader.load(&one.path, &forever) }.expect("it loads");
        let call = zone.start(zone.method("version").expect("it has it"), Vec::new());
        assert_eq!(number(&call.expect("queued").wait(Duration::MAX).expect("it says")), 1);
        let mut options = ReloadOptions::default();
        options.grace = Duration::MAX;
        reload_with(&loader, &zone, &two.path, &options).expect("it reloads");
        assert_eq!(version(&zone), 2);
        zone.close(Duration::MAX).expect("it closes");
    }
}

/// [Z12 Z14] loading, calling, reloading and closing at once, from many threads
#[test]
fn everything_at_once() {
    let rounds = std::env::var("BUSBAR_TEST_ROUNDS").map_or(3, |it| it.parse().expect("count"));
    let versions = [Fixture::plugin(&[]), Fixture::plugin(&["VERSION=2"])];
    let loader = Arc::new(loader());
    for round in 0..rounds {
        for mode in all_of_files() {
            let zone = open(&loader, &versions[0].path, mode);
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| {
                        loop {
                            match wait(&zone, "version", b"") {
                                Ok(bytes) => assert!([1, 2].contains(&number(&bytes))),
                                Err(error) if error.kind() == ErrorKind::Again => {}
                                Err(error) => {
                                    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
                                    break;
                                }
                            }
                        }
                    });
                }
                for first in [0, 1] {
                    let (zone, versions, loader) = (&zone, &versions, &loader);
                    scope.spawn(move || {
                        for n in 0.. {
                            match reload(loader, zone, &versions[(first + n) % 2].path) {
                                Ok(_) => {}
                                Err(error) => {
                                    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
                                    break;
                                }
                            }
                        }
                    });
                }
                scope.spawn(|| {
                    let mut child = options(mode);
                    child.parent = Some(&zone);
                    // SAFETY: our own fixture.
                    while let Ok(child) = unsafe { loader.load(&versions[1].path, &child) } {
                        let _ = wait(&child, "echo", b"hello");
                    }
                });
                std::thread::sleep(Duration::from_millis(30 + 10 * (round % 4)));
                zone.close(LONG).expect("it closes");
            });
            assert_eq!((zone.state(), zone.open_calls()), (State::Destroyed, 0));
        }
    }
    let one = open(&loader, &versions[0].path, Mode::Inline);
    let two = open(&loader, &versions[1].path, Mode::Inline);
    assert_eq!((alive(&one), alive(&two)), (1, 1));
}

/// [Z12] a file that changes is loaded, however it is replaced; one that is broken is told of, and
/// the version before it goes on
#[test]
fn files_are_watched() {
    for mode in all_of_files() {
        follows_its_file(mode);
    }
}

fn follows_its_file(mode: Mode) {
    let (one, two) = (Fixture::plugin(&[]), Fixture::plugin(&["VERSION=2"]));
    let bytes = [&one, &two].map(|fixture| std::fs::read(&fixture.path).expect("read"));
    let loader = Arc::new(loader());
    let zone = open(&loader, &one.path, mode);
    let (sender, told) = std::sync::mpsc::channel();
    let listener: busbar_zone::Listener = Box::new(move |reloaded| drop(sender.send(reloaded)));
    let (options, watched) = (ReloadOptions::default(), Arc::clone(&loader));
    // SAFETY: our own fixtures.
    let watch = unsafe { Watch::new(watched, &zone, &one.path, options, listener) };
    let watch = watch.expect("it watches");
    let next = |expected: Result<Reloaded, ErrorKind>| {
        let reloaded = told.recv_timeout(LONG).expect("it is told").map_err(|error| error.kind());
        assert_eq!(reloaded, expected);
    };
    let renamed = |bytes: &[u8]| {
        let beside = one.folder.path().join("next");
        std::fs::write(&beside, bytes).expect("written");
        std::fs::rename(&beside, &one.path).expect("renamed");
    };
    renamed(&bytes[1]);
    next(Ok(Reloaded::Generation(2)));
    assert_eq!(version(&zone), 2);
    // In place: the image is a copy.
    std::fs::write(&one.path, &bytes[0]).expect("written");
    next(Ok(Reloaded::Generation(3)));
    assert_eq!(version(&zone), 1);
    renamed(&bytes[0]);
    next(Ok(Reloaded::Unchanged));
    renamed(b"no library");
    next(Err(ErrorKind::Damaged));
    assert_eq!(version(&zone), 1);
    // What lies beside it is not looked at.
    std::fs::write(one.folder.path().join("other"), "text").expect("written");
    renamed(&bytes[1]);
    next(Ok(Reloaded::Generation(4)));
    drop(watch);
    renamed(&bytes[0]);
    told.recv_timeout(LONG).expect_err("nobody watches");
    assert_eq!(version(&zone), 2);
}

/// [Z12] a method that was looked up once follows the generations
#[test]
fn bound_methods_follow() {
    let (one, two) = (Fixture::plugin(&[]), Fixture::plugin(&["VERSION=2"]));
    let loader = loader();
    let zone = open(&loader, &one.path, Mode::Inline);
    let bound = zone.bind(zone.method("version").expect("it has it")).expect("it is inline");
    let version = || bound.call(&[], &mut [0; 4]).map(|_| ());
    let mut out = [0; 4];
    for (path, expected) in [(&one.path, 1), (&two.path, 2), (&one.path, 1)] {
        reload(&loader, &zone, path).expect("it reloads");
        bound.call(&[], &mut out).expect("it says");
        assert_eq!(number(&out), expected);
    }
    zone.close(LONG).expect("it closes");
    assert_eq!(version().expect_err("it is closed").kind(), ErrorKind::Closed);
}

/// [Z03 Z12] a signal ends as a call does, and is left to `call` where something stands in the way
#[cfg(target_os = "linux")]
#[test]
fn signals_go_straight_or_not_at_all() {
    let (one, two) = (Fixture::plugin(&[]), Fixture::plugin(&["VERSION=2"]));
    let loader = loader();
    let zone = open(&loader, &one.path, Mode::Inline);
    let bind = |name| zone.bind(zone.method(name).expect("it has it")).expect("it is inline");
    let [version, fail, echo] = [bind("version"), bind("fail"), bind("echo")];
    let kind =
        |ended: Result<usize, Option<Error>>| ended.expect_err("it fails").map(|it| it.kind());
    let mut out = [0; 4];
    assert_eq!((version.signal(&mut out).ok(), number(&out)), (Some(4), 1));
    assert_eq!(echo.signal(&mut out).ok(), Some(0));
    assert_eq!(kind(fail.signal(&mut out)), Some(ErrorKind::Failed));
    assert_eq!(kind(version.signal(&mut [0; 3])), Some(ErrorKind::BufferTooSmall));

    reload(&loader, &zone, &two.path).expect("nobody is inside");
    assert_eq!((kind(version.signal(&mut out)), number(&out)), (None, 1));
    version.call(&[], &mut out).expect("it goes the next way");
    assert_eq!((version.signal(&mut out).ok(), number(&out)), (Some(4), 2));

    zone.close(LONG).expect("nobody is inside");
    assert_eq!((kind(version.signal(&mut out)), kind(echo.signal(&mut out))), (None, None));
}

/// [Z12 Z13] the next version has a process of its own beside that of the last, which is ended; a
/// version whose process crashes soon after is replaced by what came before it
#[cfg(target_os = "linux")]
#[test]
fn processes_follow_each_other() {
    let versions = [Fixture::plugin(&[]), Fixture::plugin(&["VERSION=2"])];
    let loader = loader();
    let zone = open(&loader, &versions[0].path, Mode::Process);
    let pid = || zone.process().expect("it has one").pid;
    let first = pid().expect("it runs");
    let same = reload(&loader, &zone, &versions[0].path).expect("nothing to do");
    assert_eq!((same, pid()), (Reloaded::Unchanged, Some(first)));
    let next = reload(&loader, &zone, &versions[1].path).expect("it reloads");
    assert_eq!((next, version(&zone), zone.generation()), (Reloaded::Generation(2), 2, 2));
    assert_ne!(pid(), Some(first));
    assert!(!Path::new(&format!("/proc/{first}/exe")).exists(), "the first one is gone");

    assert_eq!(wait(&zone, "panic", b"").expect_err("it does").kind(), ErrorKind::Panic);
    until("the next generation", || zone.generation() == 3);
    assert_eq!((version(&zone), zone.state()), (1, State::Active));
    // What came before has nothing before it: it is started again.
    assert_eq!(wait(&zone, "panic", b"").expect_err("it does").kind(), ErrorKind::Panic);
    until("another process", || zone.process().is_some_and(|it| it.crashes == 2 && it.starts == 4));
    assert_eq!((version(&zone), zone.generation()), (1, 3));

    let [block, key] = ["wait", "open"].map(|name| zone.method(name).expect("it has it"));
    let running = zone.start(block, Vec::new()).expect("queued");
    let mut options = ReloadOptions::default();
    options.grace = Duration::from_millis(200);
    reload_with(&loader, &zone, &versions[1].path, &options).expect("it reloads");
    let ended = running.wait(LONG).expect_err("it did not end in time").kind();
    assert_eq!(ended, ErrorKind::Closed);
    drop(zone.start(key, Vec::new()).expect("queued"));
    zone.close(LONG).expect("it closes");
    let error = reload(&loader, &zone, &versions[0].path).expect_err("it is closed");
    assert_eq!(error.kind(), ErrorKind::Closed);
}
