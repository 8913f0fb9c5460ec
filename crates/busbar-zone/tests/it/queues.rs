//! Who runs when and on which thread, and what becomes of calls that are given up.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use busbar_types::Type;
use busbar_zone::{Completions, ErrorKind, Loader, Mode, Options, Result, State, Zone};

use crate::fixtures::{Fixture, Gate, LONG, load, loader, options, physics, until, word};
use crate::modes::{dedicated, wait};
use crate::sdk::archive;

fn open(loader: &Loader, fixture: &Fixture, mode: Mode) -> Zone {
    // SAFETY: our own fixture.
    unsafe { loader.load(&fixture.path, &Options::new(mode)) }.expect("it loads")
}

/// No zone can have all shared threads, but two can: one test at a time blocks them.
fn only_blocker() -> MutexGuard<'static, ()> {
    static ONLY: Mutex<()> = Mutex::new(());
    ONLY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// [Z04 Z08] a zone whose methods block kept all shared threads from the others
#[test]
fn a_blocking_zone_does_not_starve_others() {
    let _only = only_blocker();
    let (fixture, quiet, loader) = (Fixture::plugin(&[]), Fixture::plugin(&[]), loader());
    let key = open(&loader, &fixture, Mode::Inline);
    let busy = open(&loader, &fixture, Mode::Shared);
    let method = busy.method("wait").expect("it has it");
    let blocked: Vec<_> =
        (0..200).map(|_| busy.start(method, Vec::new()).expect("queued")).collect();
    // Loading and closing need a thread, too.
    for _ in 0..3 {
        let quiet = load(&quiet.path, &Options::new(Mode::Shared)).expect("it loads");
        for n in 0..100_u32 {
            let bytes = n.to_le_bytes();
            assert_eq!(wait(&quiet, "echo", &bytes).expect("it echoes"), bytes);
        }
        quiet.close(LONG).expect("it closes");
    }
    assert_eq!(busy.open_calls(), 200);
    wait(&key, "open", b"").expect("it opens");
    for call in blocked {
        call.wait(LONG).expect("it ends");
    }
    busy.close(LONG).expect("it closes");
}

/// [Z18] each zone has a queue of its own: one that is full refuses its own calls only
#[test]
fn a_full_queue_is_one_zones() {
    let _only = only_blocker();
    let (fixture, loader) = (Fixture::plugin(&[]), loader());
    let key = open(&loader, &fixture, Mode::Inline);
    let [busy, other] = [(); 2].map(|()| open(&loader, &fixture, Mode::Shared));
    let method = busy.method("wait").expect("it has it");
    let mut calls = Vec::new();
    let refused = loop {
        match busy.start(method, Vec::new()) {
            Ok(call) => calls.push(call),
            Err(error) => break error,
        }
        assert!(calls.len() < 10_000, "it is bounded");
    };
    assert_eq!((refused.kind(), refused.subject()), (ErrorKind::Again, "fixture.c"));
    assert_eq!(wait(&other, "echo", b"abc").expect("it echoes"), b"abc");
    wait(&key, "open", b"").expect("it opens");
    let count = calls.len();
    assert_eq!(calls.into_iter().filter_map(|call| call.wait(LONG).ok()).count(), count);
}

/// [Z04 Z11] methods that are not thread-safe run alone, in the order of their calls, on however
/// many threads; and they keep no thread from the others
#[test]
fn serial_methods_run_in_order() {
    for mode in [Mode::Shared, dedicated(4)] {
        let fixture = Fixture::plugin(&[]);
        let zone = load(&fixture.path, &Options::new(mode)).expect("it loads");
        let [note, echo] = ["note", "echo"].map(|name| zone.method(name).expect("it has it"));
        let calls: Vec<_> = (0..1000_u32)
            .map(|n| {
                drop(zone.start(echo, vec![0; 8]).expect("queued"));
                zone.start(note, n.to_le_bytes().to_vec()).expect("queued")
            })
            .collect();
        for call in calls {
            call.wait(LONG).expect("it ends");
        }
        let noted = wait(&zone, "noted", b"").expect("it says");
        let expected: Vec<_> = (0..1000_u32).flat_map(u32::to_le_bytes).collect();
        assert!(noted == expected, "{mode:?}");
    }
}

/// [Z08 Z09] instances were made and ended on threads that are not the zone's
#[test]
fn instances_begin_and_end_on_threads_of_the_zone() {
    for mode in [Mode::Inline, Mode::Shared, dedicated(3), dedicated(1)] {
        let (fixture, loader) = (Fixture::plugin(&[]), loader());
        for _ in 0..10 {
            let zone = open(&loader, &fixture, mode);
            wait(&zone, "echo", b"").expect("it echoes");
            zone.close(LONG).expect("it closes");
            // The last one dropped, on another thread.
            let zone = open(&loader, &fixture, mode);
            std::thread::spawn(move || drop(zone)).join().expect("no panic");
        }
        let watch = open(&loader, &fixture, Mode::Inline);
        let counts = wait(&watch, "strays", b"").expect("it says");
        assert_eq!(counts[..4], [0; 4], "{mode:?}");
        if mode == dedicated(1) {
            assert_eq!(counts[4..], [0; 4], "there is one thread only");
        }
    }
}

/// [Z17] a call that is given up is told of at once; if it waits, it never runs; if it runs, its
/// plugin is asked to end it, and what comes of it is dropped and counted
#[test]
fn calls_are_cancelled() {
    let (fixture, loader) = (Fixture::plugin(&[]), loader());
    let key = open(&loader, &fixture, Mode::Inline);
    let zone = open(&loader, &fixture, dedicated(1));
    let [block, note] = ["wait", "note"].map(|name| zone.method(name).expect("it has it"));
    let running = zone.start(block, Vec::new()).expect("queued");
    let waiting = zone.start(note, 7_u32.to_le_bytes().to_vec()).expect("queued");
    assert!(waiting.cancel());
    assert!(!waiting.cancel(), "once");
    assert_eq!(waiting.wait(LONG).expect_err("given up").kind(), ErrorKind::Cancelled);
    assert_eq!((zone.open_calls(), zone.late_calls()), (1, 0));
    until("nothing is open", || key.open_calls() == 0);
    std::thread::sleep(Duration::from_millis(20));
    assert!(running.cancel());
    assert_eq!(running.wait(LONG).expect_err("given up").kind(), ErrorKind::Cancelled);
    assert_eq!(zone.open_calls(), 1, "it goes on, for nobody");
    wait(&key, "open", b"").expect("it opens");
    until("nothing is open", || zone.open_calls() == 0);
    assert_eq!(zone.late_calls(), 1);
    assert_eq!(wait(&zone, "noted", b"").expect("it says"), b"", "what waited did not run");
    zone.close(LONG).expect("nobody is inside");
}

/// [Z17] asynchronous methods end when they are cancelled, whenever that is, and leave nothing
#[test]
fn asynchronous_calls_are_cancelled() {
    let mut modes = vec![Mode::Shared, dedicated(2)];
    if cfg!(target_os = "linux") {
        modes.push(Mode::Process);
    }
    for mode in modes {
        let zone = load(&physics(), &options(mode)).expect("it loads");
        let never = zone.method("never").expect("it has it");
        for n in 0..200 {
            let call = zone.start(never, Vec::new()).expect("queued");
            if n % 2 == 0 {
                std::thread::yield_now();
            }
            assert!(call.cancel(), "{mode:?}");
            assert_eq!(call.wait(LONG).expect_err("given up").kind(), ErrorKind::Cancelled);
        }
        until("nothing is open", || zone.open_calls() == 0);
        zone.close(Duration::from_secs(60)).expect("nobody is inside");
        assert_eq!(zone.state(), State::Destroyed);
    }
}

/// [Z17 Z18] of calls that end, are cancelled and are refused at random, each is told of once
#[test]
fn each_call_is_told_of_once() {
    #[derive(Default)]
    struct Ends(Mutex<Vec<u64>>);
    impl Completions for Ends {
        fn complete(&self, operation: u64, _result: Result<&[u8]>) {
            self.0.lock().expect("no panic").push(operation);
        }
    }
    let fixture = Fixture::plugin(&["WITH_START"]);
    for mode in [Mode::Shared, dedicated(3)] {
        let zone = load(&fixture.path, &Options::new(mode)).expect("it loads");
        let (echo, ends) = (zone.method("echo").expect("it has it"), Arc::<Ends>::default());
        let mut accepted: Vec<_> = std::thread::scope(|scope| {
            let threads = [0, 1, 2, 3].map(|thread| {
                let (zone, ends) = (&zone, &ends);
                scope.spawn(move || {
                    (0..2000)
                        .filter_map(|n| {
                            let sink: Arc<dyn Completions> = Arc::<Ends>::clone(ends);
                            let operation = thread * 10_000 + n;
                            let call = zone.submit(echo, vec![1; 9], sink, operation).ok()?;
                            if n % 3 == 0 {
                                zone.cancel(call);
                            }
                            Some(operation)
                        })
                        .collect::<Vec<_>>()
                })
            });
            threads.into_iter().flat_map(|it| it.join().expect("no panic")).collect()
        });
        zone.close(LONG).expect("it closes");
        let mut told = ends.0.lock().expect("no panic").clone();
        told.sort_unstable();
        accepted.sort_unstable();
        assert_eq!(told, accepted, "{mode:?}");
        assert_eq!(zone.open_calls(), 0);
    }
}

/// [Z04 Z08] two zones whose calls block, and were given up, had all shared threads for ever; now
/// others take their places, and end when they are back
#[test]
fn calls_that_were_given_up_take_no_threads() {
    let _only = only_blocker();
    let (fixture, loader) = (Fixture::plugin(&[]), loader());
    let key = open(&loader, &fixture, Mode::Inline);
    let most = std::thread::available_parallelism().expect("some").get();
    let blockers = [(); 3].map(|()| open(&loader, &fixture, Mode::Shared));
    for zone in &blockers {
        let method = zone.method("wait").expect("it has it");
        let calls: Vec<_> =
            (0..most).map(|_| zone.start(method, Vec::new()).expect("queued")).collect();
        let waits = zone.method("waits").expect("it has it");
        // Those before have given their threads away.
        until("all wait", || count(&key, waits) >= most);
        for call in calls {
            assert!(call.cancel());
            assert_eq!(call.wait(LONG).expect_err("given up").kind(), ErrorKind::Cancelled);
        }
        wait(&key, "forget", b"").expect("it forgets");
    }
    let quiet = load(&fixture.path, &Options::new(Mode::Shared)).expect("it loads");
    assert_eq!(wait(&quiet, "echo", b"abc").expect("it echoes"), b"abc");
    wait(&key, "open", b"").expect("it opens");
    for zone in &blockers {
        zone.close(LONG).expect("all have ended");
    }
    if cfg!(target_os = "linux") {
        until("as many threads", || threads("busbar-shared") <= most + 1);
    }
}

/// [Z08] however many zones share threads, there are as many threads as before, and their calls run
/// on these
#[test]
#[cfg(target_os = "linux")]
fn shared_zones_share_threads() {
    let _only = only_blocker();
    let (fixture, loader) = (Fixture::plugin(&[]), loader());
    let most = std::thread::available_parallelism().expect("some").get() + 1;
    let zones: Vec<_> = (0..20).map(|_| open(&loader, &fixture, Mode::Shared)).collect();
    let mut ids = std::collections::HashSet::new();
    for zone in zones.iter().cycle().take(400) {
        let place = wait(zone, "where", b"").expect("it says where");
        ids.insert(word(&place[8..]));
    }
    // Others of these tests may wait for their parents.
    until("as many threads", || threads("busbar-shared") == most);
    assert!(!ids.is_empty());
    drop(zones);
    until("as many threads", || threads("busbar-shared") == most);
}

/// [Z09] a dedicated zone has threads of its own, as many as asked for, until it is closed; while
/// all of them are busy, those of other zones are not
#[test]
#[cfg(target_os = "linux")]
fn dedicated_zones_have_their_own_threads() {
    let (fixture, loader) = (Fixture::plugin(&[]), loader());
    let key = open(&loader, &fixture, Mode::Inline);
    let busy = open(&loader, &fixture, dedicated(3));
    let name = format!("busbar-zone{}", busy.id());
    until("as many threads", || threads(&name) == 3);
    let method = busy.method("wait").expect("it has it");
    let calls: Vec<_> = (0..9).map(|_| busy.start(method, Vec::new()).expect("queued")).collect();
    let waits = key.method("waits").expect("it has it");
    until("all wait", || count(&key, waits) == 3);
    let other = open(&loader, &fixture, dedicated(1));
    for _ in 0..1000 {
        assert_eq!(wait(&other, "echo", b"abc").expect("it echoes"), b"abc");
    }
    assert_eq!(count(&key, waits), 3, "no more than it has threads");
    wait(&key, "open", b"").expect("it opens");
    for call in calls {
        call.wait(LONG).expect("it ends");
    }
    busy.close(LONG).expect("it closes");
    until("as many threads", || threads(&name) == 0);
}

#[expect(clippy::host_endian_bytes, reason = "the plugin is in this process")]
fn count(zone: &Zone, method: busbar_zone::MethodId) -> usize {
    let mut count = [0; 4];
    zone.call(method, &[], &mut count).expect("it counts");
    usize::try_from(i32::from_ne_bytes(count)).expect("a count")
}

/// How many threads have this name, as the system counts them.
fn threads(wanted: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
    let names = tasks.filter_map(|task| {
        // It may have ended meanwhile.
        std::fs::read_to_string(task.expect("an entry").path().join("comm")).ok()
    });
    names.filter(|name| name.trim() == wanted).count()
}

/// [Z04 Z17] blocking methods see that they were cancelled, in every mode with threads; and that
/// their zone closes
#[test]
fn blocking_methods_see_cancellation() {
    #[derive(Type)]
    struct Patience {
        ms: u32,
    }
    let _only = only_blocker();
    let input = archive(&Patience { ms: 60_000 });
    let mut modes = vec![Mode::Shared, dedicated(1)];
    if cfg!(target_os = "linux") {
        modes.push(Mode::Process);
    }
    for mode in modes {
        let zone = load(&physics(), &options(mode)).expect("it loads");
        let patient = zone.method("patient").expect("it has it");
        let call = zone.start(patient, input.clone()).expect("queued");
        until("it has begun", || zone.open_calls() == 1);
        assert!(call.cancel());
        assert_eq!(call.wait(LONG).expect_err("given up").kind(), ErrorKind::Cancelled);
        // Long before its minute is over, whether it had begun or not.
        until("nothing is open", || zone.open_calls() == 0);
        // One that has not begun when it is cancelled, and one that has.
        let second = zone.start(patient, input.clone()).expect("queued");
        let begin = Instant::now();
        zone.close(Duration::from_secs(10)).expect("it hears of it");
        assert!(begin.elapsed() < LONG, "not as long as it would");
        assert_eq!(second.wait(LONG).expect_err("closed").kind(), ErrorKind::Closed);
    }
}

/// [Z18] ten times as many calls as a queue has room for: what waits is bounded, in number and in
/// memory, and what was accepted runs
#[test]
fn overload_takes_bounded_memory() {
    const BYTES: usize = 16 << 10;
    let (fixture, loader) = (Fixture::plugin(&[]), loader());
    let key = open(&loader, &fixture, Mode::Inline);
    let zone = open(&loader, &fixture, dedicated(1));
    let method = zone.method("wait").expect("it has it");
    let before = resident_bytes();
    let (mut calls, mut refused) = (Vec::new(), 0);
    for _ in 0..10 * 4096 {
        match zone.start(method, vec![7; BYTES]) {
            Ok(call) => calls.push(call),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Again);
                assert!(error.is_retryable());
                refused += 1;
            }
        }
    }
    // One more than that may run.
    assert!((4096..=4097).contains(&calls.len()), "{}", calls.len());
    assert_eq!((calls.len() + refused, zone.open_calls()), (10 * 4096, calls.len()));
    // Other tests run meanwhile; without a bound it were 640 MiB.
    let more = resident_bytes().saturating_sub(before);
    assert!(more < 4 * 4096 * BYTES, "{more} bytes");
    wait(&key, "open", b"").expect("it opens");
    for call in calls {
        call.wait(LONG).expect("it ends");
    }
    assert_eq!(wait(&zone, "echo", b"abc").expect("there is room again"), b"abc");
    zone.close(LONG).expect("it closes");
}

/// Of this process; 0 where there is no such file.
pub(crate) fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split_whitespace().nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0_usize) * 4096
}

/// [Z09] while a zone burns all that its own threads can get, those of another zone serve it, and
/// run none of its calls
#[test]
fn a_zone_that_burns_keeps_no_other_from_its_threads() {
    #[derive(Type)]
    struct Ms {
        ms: u32,
    }
    let burner = load(&physics(), &options(dedicated(2))).expect("it loads");
    let other = load(&physics(), &options(dedicated(1))).expect("it loads");
    let burn = burner.method("burn").expect("it has it");
    let input = archive(&Ms { ms: 60_000 });
    let burning: Vec<_> =
        (0..2).map(|_| burner.start(burn, input.clone()).expect("queued")).collect();
    for _ in 0..200 {
        wait(&other, "nothing", b"").expect("it runs");
    }
    assert_eq!(burner.open_calls(), 2, "they burn still");
    for call in burning {
        assert!(call.cancel());
        assert_eq!(call.wait(LONG).expect_err("given up").kind(), ErrorKind::Cancelled);
    }
    until("it burns no longer", || burner.open_calls() == 0);
}

/// [Z17] a plugin that panics as it is asked to end a call is not called again
#[test]
fn a_panic_while_a_call_is_cancelled() {
    let gate = Gate::new();
    let fixture = Fixture::plugin(&["WITH_START", "KEEPS", "CANCEL_PANICS", &gate.define()]);
    let zone = load(&fixture.path, &Options::new(Mode::Shared)).expect("it loads");
    let call = zone.start(zone.method("wait").expect("it has it"), Vec::new()).expect("queued");
    gate.await_reached();
    assert!(call.cancel());
    assert_eq!(zone.state(), State::Faulted);
    assert_eq!(wait(&zone, "echo", b"").expect_err("no more").kind(), ErrorKind::Faulted);
    gate.open();
    zone.close(LONG).expect("it closes");
}
