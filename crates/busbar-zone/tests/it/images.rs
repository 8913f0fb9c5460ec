//! How long the code of a library stays where it is.

use std::path::Path;

use busbar_zone::{ErrorKind, Loader, Mode, Options, ReloadOptions, Zone};
use sha2::{Digest, Sha256};

use crate::fixtures::{Fixture, Gate, LONG, loader, registry, trusting, until};
use crate::modes::{dedicated, wait};

/// How many mappings there are of a file's private copies, by the name that these have.
pub(crate) fn mappings(path: &Path) -> usize {
    let bytes = std::fs::read(path).expect("it is there");
    let digest = Sha256::digest(bytes);
    let name: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let maps = std::fs::read_to_string("/proc/self/maps").expect("Linux");
    maps.lines().filter(|line| line.contains(&format!("/{name}."))).count()
}

fn open(loader: &Loader, fixture: &Fixture, mode: Mode) -> Zone {
    // SAFETY: our own fixture.
    unsafe { loader.load(&fixture.path, &Options::new(mode)) }.expect("it loads")
}

/// [Z06 Z09] a library that leaves nothing behind is mapped as long as a zone with threads of its
/// own needs it, and not once the last one of them is closed; then it can be loaded anew
#[test]
fn closed_dedicated_zones_are_unmapped() {
    let defines = ["FLAGS=BUSBAR_PLUGIN_UNLOADABLE", "TYPE_COUNT=0", "ID=\"fixture.unloadable\""];
    let (fixture, loader) = (Fixture::plugin(&defines), loader());
    for _ in 0..20 {
        let zones = [1, 3].map(|threads| open(&loader, &fixture, dedicated(threads)));
        for zone in &zones {
            assert_eq!(wait(zone, "echo", b"abc").expect("it echoes"), b"abc");
        }
        let [first, second] = zones;
        let held = first.clone();
        first.close(LONG).expect("it closes");
        assert!(mappings(&fixture.path) > 0, "the other one needs it");
        assert_eq!(wait(&second, "echo", b"abc").expect("it echoes"), b"abc");
        second.close(LONG).expect("it closes");
        assert_eq!(mappings(&fixture.path), 0);
        // What is left of them has an error, and no code.
        for zone in [held, second] {
            assert!(wait(&zone, "echo", b"abc").is_err());
            assert_eq!(zone.plugin_id(), "fixture.unloadable");
        }
    }
    // Threads of others ran it: nobody knows when these are done with it.
    for mode in [Mode::Inline, Mode::Shared] {
        let (inline, own) = (open(&loader, &fixture, mode), open(&loader, &fixture, dedicated(1)));
        for zone in [inline, own] {
            wait(&zone, "echo", b"").expect("it echoes");
            zone.close(LONG).expect("it closes");
        }
        assert!(mappings(&fixture.path) > 0, "{mode:?}");
    }
}

/// [Z06] one that does not say that it leaves nothing stays, as does one that a call never leaves
#[test]
fn others_stay_mapped() {
    for (id, flags, method) in [
        ("ID=\"fixture.stays\"", "FLAGS=0", "echo"),
        ("ID=\"fixture.stuck\"", "FLAGS=BUSBAR_PLUGIN_UNLOADABLE", "stuck"),
    ] {
        let (fixture, loader) = (Fixture::plugin(&[id, flags, "TYPE_COUNT=0"]), loader());
        let zone = open(&loader, &fixture, dedicated(2));
        let call = zone.start(zone.method(method).expect("it has it"), Vec::new());
        let grace = std::time::Duration::from_millis(50);
        let closed = zone.close(if method == "stuck" { grace } else { LONG });
        assert_eq!(closed.is_err(), method == "stuck");
        drop((call, zone));
        assert!(mappings(&fixture.path) > 0, "{id}");
    }
}

/// [Z06 Z12] a generation for whose end no thread of the zone was free, as the next one kept them
/// all, was taken for ended: its code was unmapped though it had never been told to end
#[test]
fn what_could_not_be_ended_stays_mapped() {
    let defines = ["FLAGS=BUSBAR_PLUGIN_UNLOADABLE", "TYPE_COUNT=0", "ID=\"fixture.busy\""];
    let (gates, loader) = ([Gate::new(), Gate::new()], loader());
    let [one, two] = gates.each_ref().map(Gate::define);
    let one = Fixture::plugin(&[&defines[..], &["WITH_START", "KEEPS", &one]].concat());
    let two = Fixture::plugin(&[&defines[..], &["VERSION=2", &two]].concat());
    let zone = open(&loader, &one, dedicated(1));
    let block = zone.method("wait").expect("it has it");
    let kept = zone.start(block, Vec::new()).expect("queued");
    gates[0].await_reached();
    let before = busbar_zone::abandoned_instances();
    let mut options = ReloadOptions::default();
    options.grace = LONG;
    std::thread::scope(|scope| {
        let reloading = scope.spawn(|| {
            // SAFETY: our own fixture.
            unsafe { loader.reload(&zone, &two.path, &options) }
        });
        until("the next generation", || zone.generation() == 2);
        let busy = zone.start(block, Vec::new()).expect("queued");
        gates[1].await_reached();
        gates[0].open();
        kept.wait(LONG).expect("it ends");
        reloading.join().expect("no panic").expect("the next one serves");
        gates[1].open();
        busy.wait(LONG).expect("it ends");
    });
    assert!(busbar_zone::abandoned_instances() > before);
    zone.close(LONG).expect("it closes");
    assert_eq!(mappings(&two.path), 0);
    assert!(mappings(&one.path) > 0, "nobody has ended it");
}

/// [Z17] a file that is no plugin, and one whose types are loaded, left an image each time it was
/// loaded, beside all bounds
#[test]
fn each_file_is_mapped_once() {
    let (wrong, types) = (
        Fixture::plugin(&["MAJOR=2", "ID=\"fixture.wrong\""]),
        Fixture::plugin(&["ID=\"fixture.once\""]),
    );
    let loader = loader();
    let counts = [(); 3].map(|()| {
        // SAFETY: our own fixture.
        let error = unsafe { loader.load(&wrong.path, &Options::new(Mode::Inline)) };
        assert_eq!(error.expect_err("it is").kind(), ErrorKind::Version);
        // SAFETY: as above.
        drop(unsafe { loader.load_types(&types.path, false) }.expect("it loads"));
        (mappings(&wrong.path), mappings(&types.path))
    });
    assert!(counts[0].0 > 0 && counts[0].1 > 0, "{counts:?}");
    assert_eq!(counts, [counts[0]; 3]);
    // What has failed, and types that nobody uses, are no less than plugins that nobody uses.
    let bytes = std::fs::read(&wrong.path).expect("read");
    let failed = (0..100_u8).map(|n| {
        std::fs::write(&wrong.path, [&bytes[..], &[n]].concat()).expect("written");
        // SAFETY: as above.
        let error = unsafe { loader.load(&wrong.path, &Options::new(Mode::Inline)) };
        error.expect_err("it is wrong").kind()
    });
    assert_eq!(failed.take_while(|kind| *kind == ErrorKind::Version).count(), 62);
}

/// [T32] types of a library stay callable when all handles are dropped, as long as anybody has one;
/// then, if it leaves nothing behind, the library is unmapped
#[test]
fn types_hold_their_library() {
    use busbar_types::format::Formats;
    use busbar_types::registry::ForeignValue;

    let defines = ["FLAGS=BUSBAR_PLUGIN_UNLOADABLE", "ID=\"fixture.types\""];
    let (fixture, registry) = (Fixture::plugin(&defines), registry());
    let loader = Loader::new(registry, trusting());
    // SAFETY: our own fixture.
    let types = unsafe { loader.load_types(&fixture.path, false) }.expect("it loads");
    let entry = registry.lookup("fixture.Pair", None).expect("it is registered");
    drop((types, loader));
    assert!(registry.entries().is_empty(), "it is registered no longer");
    assert!(mappings(&fixture.path) > 0);
    let functions = entry.foreign.clone().expect("functions");
    drop(entry);
    let pair = [1_u32, 2];
    // SAFETY: the library takes eight bytes, and these stay.
    let value = unsafe { ForeignValue::new(functions, pair.as_ptr().cast()) };
    let mut out = [0; 8];
    assert_eq!(value.write(Formats::RKYV, &mut out).expect("it fits"), 8);
    assert_eq!(out[0], 1);
    drop(value);
    assert_eq!(mappings(&fixture.path), 0);
}
