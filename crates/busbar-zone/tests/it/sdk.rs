//! Plugins that the SDK makes, called with values of busbar-types.

use std::time::Duration;

use busbar_types::registry::Origin;
use busbar_types::{Type, read};
use busbar_zone::{ErrorKind, Mode, Options, State, Zone};

use crate::fixtures::{LONG, inline, load, loader, options, physics, quirks, registry, trusting};
use crate::modes::{all_of_files, dedicated, wait};
use crate::upward::number;

#[derive(Type)]
#[busbar(name = "physics.Point")]
pub(crate) struct Point {
    pub(crate) x: f64,
    pub(crate) y: f64,
}

#[derive(Type)]
#[busbar(name = "physics.Path")]
struct Path {
    name: String,
    points: Vec<Point>,
}

#[derive(Type)]
struct Text {
    text: String,
}

#[derive(Type)]
struct Pair {
    a: u64,
    b: u64,
}

#[derive(Type)]
struct Number(u64);

#[derive(Type)]
struct Float(f64);

#[derive(Type)]
struct Later {
    turns: u32,
    value: String,
}

#[derive(Type)]
struct One(String);

#[derive(Type)]
struct Small {
    more: u32,
}

pub(crate) fn archive<T: Type>(value: &T) -> Vec<u8> {
    let mut bytes = vec![0; value.archived_size().expect("it fits")];
    value.write_to_buffer(&mut bytes).expect("it fits");
    bytes
}

/// The argument of a method that takes one string.
pub(crate) fn text(text: &str) -> Vec<u8> {
    archive(&Text { text: text.to_owned() })
}

fn call<T: Type>(zone: &Zone, method: &str, input: &[u8]) -> T {
    // Aligned for any value.
    let mut out = busbar_types::rkyv::util::AlignedVec::<16>::new();
    out.resize(256, 0);
    let method = zone.method(method).expect("it has it");
    let length = zone.call(method, input, &mut out).expect("it works");
    read::<T>(&out[..length]).expect("a value")
}

/// [Z01 Z03 T14] typed arguments and results, inline, in every form that methods have
#[test]
fn typed_calls() {
    let zone = inline(&physics());
    assert_eq!(zone.plugin_id(), "example.physics");
    let length: Float = call(&zone, "length", &archive(&Point { x: 3.0, y: 4.0 }));
    assert_eq!(length.0, 5.0);
    let sum: Number = call(&zone, "add", &archive(&Pair { a: 40, b: 2 }));
    assert_eq!(sum.0, 42);
    let points = vec![Point { x: 1.0, y: 5.0 }, Point { x: 3.0, y: 7.0 }];
    let path = archive(&Path { name: String::from("a way"), points });
    let center: Point = call(&zone, "center", &path);
    assert_eq!((center.x, center.y), (2.0, 6.0));
    let config: One = call(&zone, "config", &[]);
    assert_eq!(config.0, "null");
    let mut out = [0; 3];
    let invert = zone.method("invert").expect("it has it");
    assert_eq!(zone.call(invert, &[0, 1, 255], &mut out).expect("it works"), 3);
    assert_eq!(out, [255, 254, 0]);
}

/// [Z17] arguments at any address are read, and those that are none are refused
#[test]
fn odd_addresses_and_wrong_bytes() {
    let zone = inline(&physics());
    let (mut room, input) = (vec![0; 64], archive(&Point { x: 3.0, y: 4.0 }));
    for shift in 0..16 {
        room[shift..shift + input.len()].copy_from_slice(&input);
        let length: Float = call(&zone, "length", &room[shift..shift + input.len()]);
        assert_eq!(length.0, 5.0, "{shift}");
    }
    let error = |method: &str, input: &[u8]| {
        let method = zone.method(method).expect("it has it");
        zone.call(method, input, &mut [0; 64]).expect_err("wrong").kind()
    };
    assert_eq!(error("length", &input[1..]), ErrorKind::SchemaMismatch);
    assert_eq!(error("center", &[1, 2, 3]), ErrorKind::SchemaMismatch);
    assert_eq!(error("nothing", &input), ErrorKind::InvalidArgument);
    let overflow = archive(&Pair { a: u64::MAX, b: 1 });
    assert_eq!(error("add", &overflow), ErrorKind::Failed);
    // A method's own check, with a text that quotes its argument.
    let nowhere = archive(&Path { name: String::from("nowhere"), points: Vec::new() });
    let center = zone.method("center").expect("it has it");
    let error = zone.call(center, &nowhere, &mut [0; 64]).expect_err("no points");
    assert_eq!(error.to_string(), "example.physics: nowhere has no points");
    // Too little room: how much it takes.
    let add = zone.method("add").expect("it has it");
    let error = zone.call(add, &archive(&Pair { a: 1, b: 2 }), &mut [0; 7]).expect_err("too small");
    assert_eq!((error.kind(), error.needed()), (ErrorKind::BufferTooSmall, 8));
}

/// [T04 Z06] types are unknown before a zone is opened, known with layout, functions and origin
/// while it is, and gone after the last one of its library is closed
#[test]
fn types_come_and_go() {
    let registry = registry();
    let loader = busbar_zone::Loader::new(registry, trusting());
    let options = Options::new(Mode::Inline);
    // SAFETY: our own fixture.
    let load = || unsafe { loader.load(&physics(), &options) }.expect("it loads");
    assert!(registry.entries().is_empty());
    let (first, second) = (load(), load());
    let entry = registry.lookup("physics.Point", Some(Point::SCHEMA_HASH)).expect("registered");
    assert!(matches!(&entry.origin, Origin::Plugin(it) if it.starts_with("example.physics (")));
    assert_eq!(entry.schema.as_deref(), Some(&Point::schema().expect("a schema")));
    assert!(registry.lookup("physics.Saved", None).is_some(), "listed, but used by no method");
    first.close(LONG).expect("it closes");
    assert!(registry.lookup("physics.Point", None).is_some(), "there is another zone");
    second.close(LONG).expect("it closes");
    assert!(registry.entries().is_empty());

    // Whoever has an entry keeps it, and the library behind it.
    let functions = entry.foreign.clone().expect("functions");
    let bytes = archive(&Point { x: 1.5, y: -2.0 });
    let rkyv = busbar_types::format::Formats::RKYV;
    let value =
        busbar_types::registry::ForeignValue::read(functions, rkyv, &bytes).expect("a value");
    let mut copy = vec![0; bytes.len()];
    assert_eq!(value.write(rkyv, &mut copy).expect("it fits"), bytes.len());
    assert_eq!(copy, bytes);
}

/// [T10] a plugin with another version of a registered type is refused, and leaves nothing behind
#[test]
fn another_version_of_a_type() {
    #[derive(Type)]
    #[busbar(name = "physics.Point")]
    struct Flat {
        x: f32,
    }
    let registry = registry();
    registry.register::<Flat>().expect("registered");
    let loader = busbar_zone::Loader::new(registry, trusting());
    let mut options = Options::new(Mode::Inline);
    // SAFETY: our own fixture.
    let error = unsafe { loader.load(&physics(), &options) }.expect_err("two versions");
    assert_eq!(error.kind(), ErrorKind::SchemaMismatch);
    assert!(error.to_string().contains("physics.Point"), "{error}");
    assert_eq!(registry.entries().len(), 1);
    options.allow_versions = true;
    // SAFETY: our own fixture.
    let zone = unsafe { loader.load(&physics(), &options) }.expect("side by side");
    assert_eq!(registry.versions("physics.Point").len(), 2);
    drop(zone);
    assert_eq!(registry.entries().len(), 1);
    assert_eq!(Flat { x: 1.0 }.x, 1.0);
}

/// [Z04] asynchronous methods, those that fail, and those that panic
#[test]
fn asynchronous_methods() {
    // SAFETY: our own fixture.
    let zone = unsafe { loader().load(&physics(), &Options::new(Mode::Shared)) }.expect("it loads");
    let later = zone.method("later").expect("it has it");
    let start = |turns, value: &str| {
        let value = String::from(value);
        zone.start(later, archive(&Later { turns, value })).expect("started")
    };
    let (slow, fast) = (start(100, "slow"), start(0, "fast"));
    let empty = start(3, "");
    let long = start(1, &"x".repeat(1 << 20));
    let value = |bytes: Vec<u8>| {
        let mut aligned = busbar_types::rkyv::util::AlignedVec::<16>::new();
        aligned.extend_from_slice(&bytes);
        read::<One>(&aligned).expect("a value").0
    };
    assert_eq!(value(slow.wait(LONG).expect("it ends")), "slow");
    assert_eq!(value(fast.wait(LONG).expect("it ends")), "fast");
    assert_eq!(value(long.wait(LONG).expect("it ends")).len(), 1 << 20);
    let error = empty.wait(LONG).expect_err("it fails");
    assert_eq!((error.kind(), error.status().0), (ErrorKind::Failed, -1001));
    assert_eq!(error.message(), "there is no value");

    let never = zone.method("never").expect("it has it");
    let never = zone.start(never, Vec::new()).expect("started");
    let panics = zone.method("panic_later").expect("it has it");
    let error = zone.start(panics, Vec::new()).expect("started").wait(LONG).expect_err("a panic");
    assert_eq!((error.kind(), error.message()), (ErrorKind::Panic, "later"));
    assert_eq!(zone.start(later, Vec::new()).err().expect("faulted").kind(), ErrorKind::Faulted);
    zone.close(Duration::from_millis(200)).expect("what waits for ever is cancelled");
    assert_eq!(never.wait(LONG).expect_err("cancelled").kind(), ErrorKind::Closed);
}

/// [Z04 M02] asynchronous methods run in tokio, whose timers they await on one thread
#[test]
fn timers_of_tokio() {
    // SAFETY: our own fixture.
    let zone = unsafe { loader().load(&physics(), &Options::new(Mode::Shared)) }.expect("it loads");
    let asleep = zone.method("asleep").expect("it has it");
    let start = |more| zone.start(asleep, archive(&Small { more })).expect("started");
    let (long, naps) = (start(60_000), [5; 100].map(start));
    for nap in naps {
        let bytes = nap.wait(LONG).expect("it ends");
        let mut aligned = busbar_types::rkyv::util::AlignedVec::<16>::new();
        aligned.extend_from_slice(&bytes);
        assert_eq!(read::<Small>(&aligned).expect("a value").more, 5);
    }
    zone.close(Duration::from_millis(10)).expect("what sleeps is dropped");
    assert_eq!(long.wait(LONG).expect_err("closed").kind(), ErrorKind::Closed);
}

/// [Z11] what is counted without an answer is counted
#[test]
fn oneway() {
    let mut options = Options::new(Mode::Dedicated { threads: 1.try_into().expect("one") });
    options.config = "{\"name\":\"x\"}";
    // SAFETY: our own fixture.
    let zone = unsafe { loader().load(&physics(), &options) }.expect("it loads");
    let count = zone.method("count").expect("it has it");
    for more in 0..100 {
        drop(zone.start(count, archive(&Small { more })).expect("queued"));
    }
    let total = zone.method("total").expect("it has it");
    // One thread: what was sent before has run.
    let bytes = zone.start(total, Vec::new()).expect("queued").wait(LONG).expect("it ends");
    let mut aligned = busbar_types::rkyv::util::AlignedVec::<16>::new();
    aligned.extend_from_slice(&bytes);
    assert_eq!(read::<Number>(&aligned).expect("a value").0, 4950);
}

/// [T14 T40] a `dylib` loads as a `cdylib` does; a panic while a result is written is one of the
/// plugin, with its text, in every mode, and nobody else notices
#[test]
fn a_panic_while_writing_the_result() {
    #[derive(Type)]
    struct Wanted {
        key: u32,
        is_broken: bool,
    }
    let table =
        |zone: &Zone, is_broken| wait(zone, "table", &archive(&Wanted { key: 7, is_broken }));
    let mut modes = vec![Mode::Inline, Mode::Shared, dedicated(1)];
    if cfg!(target_os = "linux") {
        modes.push(Mode::Process);
    }
    let other = inline(&physics());
    for mode in modes {
        let zone = load(&quirks(), &options(mode)).expect("it loads");
        assert!(!table(&zone, false).expect("it is written").is_empty(), "{mode:?}");
        let error = table(&zone, true).expect_err("it cannot be written");
        assert_eq!(error.kind(), ErrorKind::Panic, "{mode:?}");
        assert_eq!(error.message(), "key 7 cannot be written", "{mode:?}");
        assert_eq!(call::<Number>(&other, "add", &archive(&Pair { a: 2, b: 3 })).0, 5);
        match mode {
            // Another process takes its place; a call may still meet the end of the last one.
            Mode::Process => {
                crate::fixtures::until("it is there again", || table(&zone, false).is_ok())
            }
            _ => assert_eq!(table(&zone, false).expect_err("no more").kind(), ErrorKind::Faulted),
        }
        zone.close(LONG).expect("it closes");
        let zone = load(&quirks(), &options(mode)).expect("it loads again");
        assert!(table(&zone, false).is_ok(), "{mode:?}");
    }
}

/// [Z17 Z06] a panic where no status is returned was swallowed: now it is an error of the zone's
/// end, or the end of the instance
#[test]
fn panics_where_no_status_is_returned() {
    for mode in all_of_files() {
        for function in ["deactivate", "destroy"] {
            let mut options = options(mode);
            let config = format!("{function:?}");
            options.config = &config;
            let zone = load(&quirks(), &options).expect("it loads");
            let error = zone.close(LONG).expect_err("it panics");
            assert_eq!(error.kind(), ErrorKind::Panic, "{mode:?} {error}");
            assert_eq!(error.message(), format!("asked to, in {function}"), "{mode:?}");
            assert_eq!(zone.state(), State::Destroyed, "{mode:?}");
        }
    }
    for mode in [Mode::Inline, Mode::Shared, dedicated(1)] {
        let mut options = options(mode);
        options.config = "\"released\"";
        let zone = load(&quirks(), &options).expect("it loads");
        let keepsake = number(&zone, "keepsake", &[]).expect("made");
        drop(zone.hold(keepsake).expect("it is there"));
        assert_eq!(zone.state(), State::Faulted, "{mode:?}");
        let error = wait(&zone, "keepsake", &[]).expect_err("it panicked");
        assert_eq!(error.kind(), ErrorKind::Faulted, "{mode:?}");
        zone.close(LONG).expect("it closes");
    }
}
