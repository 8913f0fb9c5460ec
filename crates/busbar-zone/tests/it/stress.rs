//! Everything at once, for sanitizers to look at: `cargo asan -p busbar-zone -- stress`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use busbar_zone::{ErrorKind, Loader, Mode, ReloadOptions, State, Zone};

use crate::fixtures::{Fixture, alive, inline, options, physics, registry, trusting};
#[cfg(target_os = "linux")]
use crate::images::mappings;
#[cfg(target_os = "linux")]
use crate::modes::dedicated;
use crate::modes::{all_of_files, wait};

const LONG: Duration = Duration::from_secs(60);
const CALLERS: usize = 8;
const RELOADS: usize = 12;

/// [T33 Z06 Z11] load, call from 8 threads, reload, register and unregister types, hold and drop
/// zones, close in the middle of it: each call ends once, with what was asked for
#[test]
fn everything_at_once() {
    let versions =
        [Fixture::plugin(&["WITH_STATE"]), Fixture::plugin(&["VERSION=2", "WITH_STATE"])];
    let registry = registry();
    let loader = Arc::new(Loader::new(registry, trusting()));
    for mode in all_of_files() {
        // SAFETY: our own fixture.
        let zone = unsafe { loader.load(&versions[0].path, &options(mode)) };
        let zone = zone.expect("it loads");
        let (ended, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for caller in 0..CALLERS {
                let (zone, ended) = (&zone, &ended);
                scope.spawn(move || {
                    while call(zone, caller).is_some() {
                        ended.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    // SAFETY: our own fixture.
                    let types = unsafe { loader.load_types(&physics(), true) };
                    let types = types.expect("they load");
                    assert!(registry.lookup("physics.Point", None).is_some());
                    drop(types);
                }
            });
            for round in 0..RELOADS {
                let path = &versions[(round + 1) % 2].path;
                let options = ReloadOptions::default();
                // SAFETY: our own fixtures.
                unsafe { loader.reload(&zone, path, &options) }.expect("it reloads");
                let before = ended.load(Ordering::Relaxed);
                while ended.load(Ordering::Relaxed) < before + 2 * CALLERS {
                    std::thread::yield_now();
                }
            }
            zone.close(LONG).expect("it closes");
            is_over.store(true, Ordering::Relaxed);
        });
        assert_eq!((zone.state(), zone.open_calls()), (State::Destroyed, 0));
    }
    let zones = [&versions[0], &versions[1]].map(|fixture| inline(&fixture.path));
    assert_eq!(zones.each_ref().map(alive), [1, 1], "all others were destroyed");
}

/// [T33 Z06] libraries that leave nothing behind, called by 8 threads, reloaded, and closed in the
/// middle of it: they are unmapped then, each time, and nobody runs what is gone
#[test]
#[cfg(target_os = "linux")]
fn everything_at_once_until_it_is_unmapped() {
    let versions = ["VERSION=1", "VERSION=2"].map(|version| {
        let flags = "FLAGS=BUSBAR_PLUGIN_UNLOADABLE";
        Fixture::plugin(&[flags, version, "TYPE_COUNT=0", "ID=\"fixture.gone\""])
    });
    let loader = Loader::new(registry(), trusting());
    for threads in [1, 2, 4, 1, 2, 4] {
        // SAFETY: our own fixture.
        let zone = unsafe { loader.load(&versions[0].path, &options(dedicated(threads))) };
        let zone = zone.expect("it loads");
        let ended = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for caller in 0..CALLERS {
                let (zone, ended) = (&zone, &ended);
                scope.spawn(move || {
                    while call(zone, caller).is_some() {
                        ended.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            for round in 0..4 {
                let path = &versions[(round + 1) % 2].path;
                // SAFETY: our own fixtures.
                unsafe { loader.reload(&zone, path, &ReloadOptions::default()) }
                    .expect("it reloads");
                let before = ended.load(Ordering::Relaxed);
                while ended.load(Ordering::Relaxed) < before + CALLERS {
                    std::thread::yield_now();
                }
            }
            zone.close(LONG).expect("it closes");
        });
        drop(zone);
        for Fixture { path, .. } in &versions {
            assert_eq!(mappings(path), 0);
        }
    }
}

/// One call, in one of the ways there are; `None` once the zone is closed.
fn call(zone: &Zone, caller: usize) -> Option<()> {
    let input = vec![caller as u8; 1 + caller * 700];
    let outcome = match zone.method("echo") {
        Ok(method) if zone.mode() == Mode::Inline && caller.is_multiple_of(2) => {
            let mut out = vec![0; input.len()];
            zone.call(method, &input, &mut out).map(|length| out[..length].to_vec())
        }
        Ok(method) if caller == 1 => {
            let call = zone.start(method, input.clone());
            call.and_then(|call| {
                call.cancel();
                call.wait(LONG)
            })
        }
        _ => wait(zone, "echo", &input),
    };
    match outcome {
        Ok(output) => assert!(output == input),
        Err(error) => match error.kind() {
            ErrorKind::Again | ErrorKind::Cancelled => {}
            kind => {
                assert_eq!(kind, ErrorKind::Closed, "{error}");
                return None;
            }
        },
    }
    Some(())
}
