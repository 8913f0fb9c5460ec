//! One test for each rung, and for falling off the ladder.

use std::sync::atomic::{AtomicUsize, Ordering};

use rkyv::util::AlignedVec;
use serde_json::json;

use super::*;
use crate::Type;
use crate::registry::ForeignFunctions;

#[derive(Type)]
#[busbar(name = "market.Plain")]
struct Plain {
    price: f64,
    tags: Vec<String>,
}

#[derive(Type)]
#[busbar(name = "market.Open", generate(capnp, json))]
struct Open {
    price: f64,
}

fn plain() -> Plain {
    Plain { price: 1.5, tags: vec!["x".repeat(1000)] }
}

struct Plugin {
    calls: AtomicUsize,
}

impl ForeignFunctions for Plugin {
    unsafe fn serialize_into(
        &self,
        _: *const (),
        format: Formats,
        out: &mut [u8],
    ) -> Result<usize, SerializeError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let text = format.to_string();
        out[..text.len()].copy_from_slice(text.as_bytes());
        Ok(text.len())
    }
}

/// What is logged, kept for the one test that looks.
struct Log;

static WARNINGS: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.level() == log::Level::Warn {
            WARNINGS.lock().expect("kept").push(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

/// [T19] the first rung: the type's own writer makes archives, and room as it takes
#[test]
fn archives_are_written_by_the_type() {
    let registry = Registry::new();
    let entry = registry.register::<Plain>().expect("registered");
    let (bytes, rung) = registry.serialize(&entry, Formats::RKYV, &plain()).expect("written");
    assert_eq!(rung, Rung::Own);
    assert_eq!(crate::read::<Plain>(&aligned(&bytes)).expect("an archive").price, 1.5);
    assert_eq!(registry.downgrades(), []);
}

/// [T19] the second rung: what a plugin writes itself
#[test]
fn plugins_write_what_they_say() {
    let registry = Registry::new();
    let plugin = Arc::new(Plugin { calls: AtomicUsize::new(0) });
    let functions: Arc<dyn ForeignFunctions> = Arc::clone(&plugin) as _;
    let formats = Formats::RKYV | Formats::JSON;
    let entry = TypeEntry::of_plugin("p.Type", 1, formats, Arc::clone(&functions), "libp.so");
    // SAFETY: these functions never look at the value.
    let value = unsafe { ForeignValue::new(functions, std::ptr::null()) };
    for (format, text) in [(Formats::RKYV, "rkyv"), (Formats::JSON, "json")] {
        let written = registry.serialize(&entry, format, &value).expect("written");
        assert_eq!(written, (text.as_bytes().to_vec(), Rung::Plugin));
    }
    assert_eq!(plugin.calls.load(Ordering::Relaxed), 2);
    let error = registry.serialize(&entry, Formats::CAPNP, &value).expect_err("no rung is left");
    assert_eq!(error.kind(), ErrorKind::FormatUnsupported);
    assert!(error.to_string().contains("libp.so"), "{error}");
    assert_eq!(registry.downgrades(), []);
}

/// Numbers that live on the heap, and texts of them in JSON.
#[derive(Default)]
struct Numbers {
    alive: AtomicUsize,
}

impl ForeignFunctions for Numbers {
    unsafe fn serialize_into(
        &self,
        value: *const (),
        _: Formats,
        out: &mut [u8],
    ) -> Result<usize, SerializeError> {
        // SAFETY: the caller hands in what `deserialize` made.
        out[..8].copy_from_slice(&unsafe { *value.cast::<u64>() }.to_le_bytes());
        Ok(8)
    }

    fn deserialize(&self, _: Formats, bytes: &[u8]) -> Result<*const (), Error> {
        let invalid = || Error::new(ErrorKind::ArchiveInvalid, "no number");
        let number = u64::from_le_bytes(bytes.try_into().map_err(|_| invalid())?);
        self.alive.fetch_add(1, Ordering::Relaxed);
        Ok(Box::into_raw(Box::new(number)).cast_const().cast())
    }

    unsafe fn drop_value(&self, value: *const ()) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
        // SAFETY: it comes from the box in `deserialize`.
        drop(unsafe { Box::from_raw(value.cast_mut().cast::<u64>()) });
    }
}

/// [T09 T19] a plugin reads what it writes, by way of other formats too, and its values end
#[test]
fn plugins_read_what_they_write() {
    #[derive(Type)]
    #[busbar(name = "p.Number")]
    struct Number(u64);

    let registry = Registry::new();
    let numbers = Arc::new(Numbers::default());
    let functions: Arc<dyn ForeignFunctions> = Arc::clone(&numbers) as _;
    let hash = Number::SCHEMA_HASH;
    let entry = TypeEntry::of_plugin("p.Number", hash, Formats::RKYV, functions, "libp.so");
    let entry = entry.with_schema(Number::schema().expect("a schema")).expect("its own");
    let archive = 7_u64.to_le_bytes();
    let (value, rung) = registry.deserialize(&entry, Formats::RKYV, &archive).expect("read");
    assert_eq!((rung, numbers.alive.load(Ordering::Relaxed)), (Rung::Plugin, 1));
    let (json, rung) = registry.serialize(&entry, Formats::JSON, &*value).expect("written");
    assert_eq!((&*json, rung), (&b"[7]"[..], Rung::Converted));
    let (again, rung) = registry.deserialize(&entry, Formats::JSON, &json).expect("read");
    assert_eq!((rung, numbers.alive.load(Ordering::Relaxed)), (Rung::Converted, 2));
    let (bytes, _) = registry.serialize(&entry, Formats::RKYV, &*again).expect("written");
    assert_eq!(bytes, archive);
    let error = registry.deserialize(&entry, Formats::RKYV, &[1]).expect_err("too short");
    assert_eq!(error.kind(), ErrorKind::ArchiveInvalid);
    drop((value, again));
    assert_eq!(numbers.alive.load(Ordering::Relaxed), 0);
    let counts: Vec<_> = registry.downgrades().into_iter().map(|it| it.count).collect();
    assert_eq!(counts, [2]);
}

/// [T19] values of another plugin, and plugins that lie about lengths or only write, are errors
#[test]
fn plugins_are_not_believed() {
    struct Liar;
    impl ForeignFunctions for Liar {
        unsafe fn serialize_into(
            &self,
            _: *const (),
            _: Formats,
            out: &mut [u8],
        ) -> Result<usize, SerializeError> {
            Ok(out.len() + 1)
        }
    }

    let registry = Registry::new();
    let of = |functions: &Arc<dyn ForeignFunctions>| {
        TypeEntry::of_plugin("p.Lie", 1, Formats::RKYV, Arc::clone(functions), "libp.so")
    };
    let functions: Arc<dyn ForeignFunctions> = Arc::new(Liar);
    let other: Arc<dyn ForeignFunctions> = Arc::new(Numbers::default());
    // SAFETY: these functions never look at the value.
    let value = unsafe { ForeignValue::new(Arc::clone(&functions), std::ptr::null()) };
    let serialize = |entry: &TypeEntry, format| registry.serialize(entry, format, &value);
    let error = serialize(&of(&functions), Formats::RKYV).expect_err("more than there is room");
    assert_eq!(error.kind(), ErrorKind::SerializeFailed);
    assert!(error.message().contains("it wrote 257 bytes, into 256"), "{error}");
    let error = serialize(&of(&other), Formats::RKYV).expect_err("not its value");
    assert_eq!(error.kind(), ErrorKind::SerializeFailed);
    for format in [Formats::NONE, Formats::RKYV | Formats::JSON] {
        let error = serialize(&of(&functions), format).expect_err("not one format");
        assert_eq!(error.kind(), ErrorKind::FormatUnsupported);
    }
    let error = registry.deserialize(&of(&functions), Formats::RKYV, &[]).expect_err("no reader");
    assert_eq!(error.kind(), ErrorKind::FormatUnsupported);
}

/// [T09 T19] what was written in any format is read by the type's own code, wherever it lies
#[test]
fn values_are_read_back() {
    let registry = Registry::new();
    let entry = registry.register::<Plain>().expect("registered");
    let formats = [
        (Formats::RKYV, Rung::Own),
        (Formats::CAPNP, Rung::Converted),
        (Formats::JSON, Rung::Converted),
    ];
    for (format, expected) in formats {
        let (bytes, _) = registry.serialize(&entry, format, &plain()).expect("written");
        for offset in 0..3 {
            let moved = [&vec![0; offset][..], &bytes].concat();
            let read = registry.deserialize(&entry, format, &moved[offset..]);
            let (value, rung) = read.expect("read");
            assert_eq!(rung, expected);
            assert_eq!(value.downcast_ref::<Plain>().expect("the type").tags, plain().tags);
        }
    }
    let descriptor = Plain::schema().expect("a schema");
    let origin = crate::registry::Origin::Descriptor(String::from("the test"));
    let entry = TypeEntry::of_schema(descriptor, origin);
    let json = br#"{"price":1.5,"tags":[]}"#;
    let error = registry.deserialize(&entry, Formats::JSON, json).expect_err("no code");
    assert_eq!(error.kind(), ErrorKind::FormatUnsupported);
    let error = registry.serialize(&entry, Formats::JSON, &plain()).expect_err("no code");
    assert_eq!(error.kind(), ErrorKind::FormatUnsupported);
}

/// [T11 T19] the third rung: conversion, counted each time and told once
#[test]
fn what_nobody_writes_is_converted() {
    log::set_logger(&Log).expect("the only logger");
    log::set_max_level(log::LevelFilter::Warn);
    let registry = Registry::new();
    let entry = registry.register::<Plain>().expect("registered");
    for _ in 0..3 {
        let (bytes, rung) = registry.serialize(&entry, Formats::JSON, &plain()).expect("written");
        assert_eq!(rung, Rung::Converted);
        let value: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
        assert_eq!(value["price"], json!(1.5));
    }
    let (bytes, _) = registry.serialize(&entry, Formats::CAPNP, &plain()).expect("written");
    let capnp = entry.transcoder(Formats::CAPNP).expect("a format");
    let archive = capnp.decode(&bytes).expect("a message");
    assert_eq!(crate::read::<Plain>(&aligned(&archive)).expect("an archive").tags[0].len(), 1000);
    let counts: Vec<_> =
        registry.downgrades().into_iter().map(|it| (it.format, it.count)).collect();
    assert_eq!(counts, [(Formats::CAPNP, 1), (Formats::JSON, 3)]);
    let warnings = WARNINGS.lock().expect("kept");
    let told: Vec<_> = warnings.iter().filter(|text| text.starts_with("market.Plain")).collect();
    assert_eq!(told.len(), 2, "{told:?}");
}

/// [T08 T27] what a declaration asks for is no downgrade
#[test]
fn generated_formats_are_no_downgrade() {
    let registry = Registry::new();
    let entry = registry.register::<Open>().expect("registered");
    assert_eq!(entry.formats, Formats::RKYV | Formats::CAPNP | Formats::JSON);
    for format in [Formats::CAPNP, Formats::JSON] {
        registry.serialize(&entry, format, &Open { price: 2.5 }).expect("written");
    }
    assert_eq!(registry.downgrades(), []);
}

/// [T11 T19] without a schema there is nothing to convert by, and two formats are not one
#[test]
fn what_cannot_be_written_is_refused() {
    let registry = Registry::new();
    let mut entry = TypeEntry::of::<Plain>().expect("an entry");
    let both = registry.serialize(&entry, Formats::JSON | Formats::CAPNP, &plain());
    assert_eq!(both.expect_err("two").kind(), ErrorKind::FormatUnsupported);
    entry.schema = None;
    let error = registry.serialize(&entry, Formats::JSON, &plain()).expect_err("no schema");
    assert_eq!(error.kind(), ErrorKind::FormatUnsupported);
    let error = registry.serialize(&entry, Formats::RKYV, &5_u8).expect_err("another type");
    assert_eq!(error.kind(), ErrorKind::SerializeFailed);
}

/// [T09 T19] bytes of one format become bytes of another
#[test]
fn formats_become_each_other() {
    let registry = Registry::new();
    let entry = registry.register::<Open>().expect("registered");
    let json = br#"{"price":2.5}"#;
    let capnp = registry.transcode(&entry, Formats::JSON, Formats::CAPNP, json).expect("made");
    let back = registry.transcode(&entry, Formats::CAPNP, Formats::JSON, &capnp).expect("made");
    assert_eq!(back, json);
    let archive = registry.transcode(&entry, Formats::CAPNP, Formats::RKYV, &capnp).expect("made");
    assert_eq!(archive, 2.5_f64.to_le_bytes());
    let error =
        registry.transcode(&entry, Formats::JSON, Formats::RKYV, b"{").expect_err("no JSON");
    assert_eq!(error.kind(), ErrorKind::ArchiveInvalid);
}

fn aligned(bytes: &[u8]) -> AlignedVec {
    let mut aligned = AlignedVec::new();
    aligned.extend_from_slice(bytes);
    aligned
}
