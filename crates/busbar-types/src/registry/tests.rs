//! Registration, conflicts and lookups, alone and from many threads.

use std::error::Error as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::*;
use crate::Type;

#[derive(Type, Debug, PartialEq)]
#[busbar(name = "market.Pos")]
struct Pos {
    x: u32,
    tags: Vec<String>,
}

#[derive(Type, Debug, PartialEq)]
#[busbar(name = "market.Side")]
enum Side {
    Buy,
    Sell,
}

mod newer {
    use crate::Type;

    #[derive(Type)]
    #[busbar(name = "market.Pos")]
    pub(super) struct Pos {
        pub(super) x: u32,
        pub(super) tags: Vec<u32>,
    }
}

/// Two versions of a circle: all that differs is in a type that the first mentions by name only.
mod circles {
    macro_rules! circle {
        ($name:ident $x:ident $y:ident) => {
            pub(crate) mod $name {
                use crate::Type;

                #[derive(Type, Debug)]
                #[busbar(name = "graph.Node")]
                pub(crate) struct Node {
                    id: u32,
                    #[busbar(recursive)]
                    edges: Vec<Edge>,
                }

                #[derive(Type, Debug)]
                #[busbar(name = "graph.Edge")]
                pub(crate) struct Edge {
                    $x: u32,
                    $y: u32,
                    nodes: Vec<Node>,
                }
            }
        };
    }
    circle!(older x y);
    circle!(newer y x);
}

/// Writes the number that the pointer points to.
struct Numbers {
    calls: AtomicUsize,
}

impl ForeignFunctions for Numbers {
    unsafe fn serialize_into(
        &self,
        value: *const (),
        _: Formats,
        out: &mut [u8],
    ) -> Result<usize, SerializeError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller hands in a pointer to a live u32.
        let number = unsafe { *value.cast::<u32>() };
        let available = out.len();
        let Some(room) = out.get_mut(..4) else {
            return Err(SerializeError::BufferTooSmall { required: 4, available });
        };
        room.copy_from_slice(&number.to_le_bytes());
        Ok(4)
    }
}

fn plugin(name: &str, hash: u64) -> (Arc<Numbers>, TypeEntry) {
    let functions = Arc::new(Numbers { calls: AtomicUsize::new(0) });
    let shared: Arc<dyn ForeignFunctions> = Arc::clone(&functions) as _;
    (functions, TypeEntry::of_plugin(name, hash, Formats::RKYV, shared, "libpos.so"))
}

fn pos() -> Pos {
    Pos { x: 7, tags: vec![String::from("a tag out of line")] }
}

/// [T09 T28] an entry writes and reads values that only it knows the type of
#[test]
fn an_entry_writes_and_reads() {
    let registry = Registry::new();
    registry.register::<Pos>().expect("no conflict");
    let entry = registry.require("market.Pos", Some(Pos::SCHEMA_HASH)).expect("registered");
    let (writer, reader) = (entry.writer.expect("a writer"), entry.reader.expect("a reader"));
    let mut out = rkyv::util::AlignedVec::<16>::new();
    out.resize(256, 0);
    let size = writer(&pos(), &mut out).expect("room enough");
    let value = reader(&out[..size]).expect("a valid archive");
    assert_eq!(value.downcast_ref::<Pos>(), Some(&pos()));
    assert!(matches!(writer(&7_u32, &mut out), Err(SerializeError::WrongType { .. })));
    let error = reader(&[0; 3]).expect_err("too short");
    assert_eq!(error.kind(), ErrorKind::ArchiveInvalid);
}

/// [T28] a plugin's entry is called through the same signature
#[test]
fn a_plugin_entry_has_the_same_writer() {
    let (functions, entry) = plugin("plugin.Number", 1);
    let number = 0x0403_0201_u32;
    let shared = Arc::clone(entry.foreign.as_ref().expect("functions"));
    // SAFETY: the functions take pointers to u32, and `number` outlives the value.
    let value = unsafe { ForeignValue::new(shared, (&raw const number).cast()) };
    let mut out = [0; 8];
    let writer = entry.writer.expect("a writer");
    assert_eq!(writer(&value, &mut out).expect("room enough"), 4);
    assert_eq!(out[..4], [1, 2, 3, 4]);
    assert!(matches!(
        writer(&value, &mut out[..2]),
        Err(SerializeError::BufferTooSmall { required: 4, available: 2 })
    ));
    assert_eq!(functions.calls.load(Ordering::Relaxed), 2);
}

/// [T30] registering twice gives the same entry, from many threads at once as well
#[test]
fn registration_is_idempotent() {
    let registry = Registry::new();
    let entries: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> =
            (0..8).map(|_| scope.spawn(|| registry.register::<Pos>().expect("fine"))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(entries.iter().all(|entry| Arc::ptr_eq(entry, &entries[0])));
    let again = registry.register_compiled_type(TypeEntry::of::<Pos>().expect("valid"));
    assert!(Arc::ptr_eq(&again.expect("fine"), &entries[0]));
}

/// [T10] another version is refused with everything there is to know, and leaves no trace
#[test]
fn another_version_is_a_mismatch() {
    let registry = Registry::new();
    let first = registry.register::<Pos>().expect("fine");
    let mut offered = TypeEntry::of::<newer::Pos>().expect("valid");
    offered.origin = Origin::Plugin(String::from("libpos.so"));
    let error = registry.register_compiled_type(offered.clone()).expect_err("another version");
    assert_eq!(error.kind(), ErrorKind::SchemaMismatch);
    let mismatch: &Mismatch = error.source().and_then(|e| e.downcast_ref()).expect("the data");
    assert_eq!(mismatch.existing_hash, Pos::SCHEMA_HASH);
    assert_eq!(mismatch.offered_hash, newer::Pos::SCHEMA_HASH);
    assert_eq!(mismatch.existing_origin, Origin::Compiled("market"));
    assert_eq!(mismatch.offered_origin, offered.origin);
    assert_eq!(mismatch.first_difference.as_deref(), Some("Pos.tags[]: u32 → str"));
    assert!(error.message().contains("libpos.so"), "{error}");
    assert_eq!(registry.entries().len(), 1);

    let second = registry.register_entry(offered, true).expect("versions are allowed");
    assert_eq!(registry.entries().len(), 2);
    // Compiled in wins, however late others come.
    let found = registry.lookup("market.Pos", None).expect("registered");
    assert!(Arc::ptr_eq(&found, &first) && !Arc::ptr_eq(&found, &second));
}

/// [T38] an entry whose hash is not that of its text is refused
#[test]
fn lying_hashes_are_refused() {
    let (_, entry) = plugin("market.Pos", Pos::SCHEMA_HASH);
    let entry = entry.checked_against_text(Pos::schema_text()).expect("true");
    assert!(entry.clone().with_schema(Pos::schema().expect("valid")).is_ok());
    let other = newer::Pos::schema().expect("valid");
    assert_eq!(
        entry.clone().with_schema(other).expect_err("a lie").kind(),
        ErrorKind::SchemaInvalid
    );
    let error = entry.checked_against_text("abi1;other").expect_err("a lie");
    assert_eq!((error.kind(), error.path()), (ErrorKind::SchemaInvalid, "market.Pos"));
}

/// [T38] an entry that lies about its hash is not registered
#[test]
fn lies_are_not_registered() {
    let registry = Registry::new();
    let (_, entry) = plugin("market.Pos", Pos::SCHEMA_HASH);
    let refused = registry.register_plugin_type(entry.clone(), Some("abi1;other"));
    assert_eq!(refused.expect_err("a lie").kind(), ErrorKind::SchemaInvalid);
    let mut other = TypeEntry::of::<Pos>().expect("valid");
    other.schema_hash ^= 1;
    let refused = registry.register_compiled_type(other).expect_err("not its schema");
    assert_eq!((refused.kind(), refused.path()), (ErrorKind::SchemaInvalid, "market.Pos"));
    assert!(registry.entries().is_empty());
    registry.register_plugin_type(entry, Some(Pos::schema_text())).expect("the truth");
}

/// [T10 T30] a description gives way to code, code never to a description
#[test]
fn code_takes_the_place_of_descriptions() {
    let registry = Registry::new();
    let origin = Origin::Descriptor(String::from("the test"));
    let described = || TypeEntry::of_schema(Pos::schema().expect("valid"), origin.clone());
    let first = registry.register_entry(described(), false).expect("fine");
    let compiled = registry.register::<Pos>().expect("fine");
    assert!(first.writer.is_none() && compiled.writer.is_some());
    let again = registry.register_entry(described(), false).expect("fine");
    assert!(Arc::ptr_eq(&again, &compiled));
    assert!(Arc::ptr_eq(&registry.register::<Pos>().expect("fine"), &compiled));
    assert!(registry.unregister_origin(&origin).is_empty());
    assert_eq!(registry.entries().len(), 1);
    assert!(registry.unregister("market.Pos", Pos::SCHEMA_HASH).is_some());
    assert!(registry.lookup("market.Pos", None).is_none());
}

/// [T10 T17] of two loads at once, the one that fails takes nothing from the one that succeeds
#[test]
fn a_failed_load_takes_nothing_from_another() {
    let registry = Registry::new();
    registry.register::<Pos>().expect("fine");
    let described = |schema| Arc::new(TypeEntry::of_schema(schema, Origin::Plugin("a.so".into())));
    let side = || described(Side::schema().expect("valid"));
    let spoiled = || vec![side(), described(newer::Pos::schema().expect("valid"))];
    thread::scope(|scope| {
        let failing = scope.spawn(|| {
            for _ in 0..2_000 {
                let error = registry.register_all(&spoiled(), false).expect_err("a conflict");
                assert_eq!(error.kind(), ErrorKind::SchemaMismatch);
            }
        });
        while !failing.is_finished() {
            let mine = side();
            let got = registry.register_all(std::slice::from_ref(&mine), false).expect("fine");
            assert!(Arc::ptr_eq(&got[0], &mine), "nobody else ever registers it");
            thread::yield_now();
            let found = registry.lookup("market.Side", None).expect("it was registered");
            assert!(Arc::ptr_eq(&found, &mine));
            registry.unregister_all(&got);
        }
    });
    assert!(registry.lookup("market.Side", None).is_none());
}

/// [T10] a load that fails leaves what gave way to it in place, and no half of itself
#[test]
fn a_failed_load_leaves_what_there_was() {
    let registry = Registry::new();
    let described = |schema| Arc::new(TypeEntry::of_schema(schema, Origin::Plugin("a.so".into())));
    let before = described(Side::schema().expect("valid"));
    registry.register_all(std::slice::from_ref(&before), false).expect("fine");
    let pair = [
        Arc::new(TypeEntry::of::<Side>().expect("valid")),
        described(Pos::schema().expect("valid")),
        described(newer::Pos::schema().expect("valid")),
    ];
    let error = registry.register_all(&pair, false).expect_err("two versions of one type");
    assert_eq!(error.kind(), ErrorKind::SchemaMismatch);
    let found = registry.lookup("market.Side", None).expect("it was there before");
    assert!(Arc::ptr_eq(&found, &before));
    assert!(registry.lookup("market.Pos", None).is_none());
    let entries = registry.register_all(&pair, true).expect("versions are allowed");
    assert_eq!((entries.len(), registry.versions("market.Pos").len()), (3, 2));
}

/// [T10 T25] a version with the same hash, whose difference is in a type that is mentioned by name
/// only, is a mismatch, in whatever way it comes and even where versions may coexist
#[test]
fn what_a_hash_does_not_cover_is_compared() {
    use circles::{newer, older};
    assert_eq!(older::Node::SCHEMA_HASH, newer::Node::SCHEMA_HASH);
    assert_ne!(older::Edge::SCHEMA_HASH, newer::Edge::SCHEMA_HASH);
    let registry = Registry::new();
    let entry = registry.register::<older::Node>().expect("the first");
    let again = registry.register::<older::Node>().expect("the same");
    assert!(Arc::ptr_eq(&entry, &again));

    let offer = || {
        let schema = newer::Node::schema().expect("valid");
        TypeEntry::of_schema(schema, Origin::Descriptor(String::from("test")))
    };
    let refusals = [
        registry.register::<newer::Node>().err(),
        registry.register_entry(offer(), false).err(),
        registry.register_entry(offer(), true).err(),
        registry.register_all(&[Arc::new(offer())], false).err(),
        registry.register_all(&[Arc::new(offer())], true).err(),
    ];
    for error in refusals {
        let error = error.expect("refused");
        assert_eq!(error.kind(), ErrorKind::SchemaMismatch);
        assert!(error.message().contains("by name only"), "{error}");
        let mismatch: &Mismatch = error.source().and_then(|e| e.downcast_ref()).expect("the data");
        assert_eq!(mismatch.first_difference.as_deref(), Some("Node.edges[]: fields reordered"));
    }
    // Two of one offer, neither of which is registered then.
    let fresh = Registry::new();
    let older = Arc::new(TypeEntry::of::<older::Node>().expect("valid"));
    fresh
        .register_all(&[Arc::clone(&older), Arc::new(offer())], true)
        .expect_err("two of one hash");
    assert!(fresh.entries().is_empty());
    fresh.register_all(&[Arc::clone(&older), older], true).expect("the same twice");
}

/// [T41] after unregistering, lookups find nothing and calls under way go on
#[test]
fn unregistering_leaves_calls_alone() {
    let registry = Registry::new();
    let (functions, entry) = plugin("plugin.Number", 1);
    registry.register_entry(entry, false).expect("fine");
    let held = registry.lookup("plugin.Number", None).expect("registered");
    let origin = held.origin.clone();
    assert_eq!(registry.unregister_origin(&origin).len(), 1);
    assert!(registry.lookup("plugin.Number", None).is_none());
    assert!(registry.lookup("plugin.Number", Some(1)).is_none());
    let error = registry.require("plugin.Number", Some(1)).expect_err("gone");
    assert_eq!(error.kind(), ErrorKind::TypeNotFound);
    // Ours, and the one in the entry that is still held: the library would still be loaded.
    assert_eq!(Arc::strong_count(&functions), 2);
    drop(held);
    assert_eq!(Arc::strong_count(&functions), 1);
    assert!(registry.unregister("plugin.Number", 1).is_none());
}

/// A plugin whose library is gone when its last entry is.
struct Fleeting {
    is_loaded: Arc<AtomicUsize>,
}

impl ForeignFunctions for Fleeting {
    unsafe fn serialize_into(
        &self,
        _: *const (),
        _: Formats,
        out: &mut [u8],
    ) -> Result<usize, SerializeError> {
        for _ in 0..10 {
            assert_eq!(self.is_loaded.load(Ordering::Acquire), 1, "called after the library went");
            thread::yield_now();
        }
        out[0] = 1;
        Ok(1)
    }
}

impl Drop for Fleeting {
    fn drop(&mut self) {
        self.is_loaded.fetch_sub(1, Ordering::AcqRel);
    }
}

/// [T41] 8 threads look up and call what another registers and takes out: calls under way finish,
/// and the library goes when the last of them has
#[test]
fn entries_outlive_their_registration_while_they_are_called() {
    let registry = Registry::new();
    let loaded: Vec<_> = (0..500).map(|_| Arc::new(AtomicUsize::new(1))).collect();
    let is_over = AtomicUsize::new(0);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let mut calls = 0;
                    while is_over.load(Ordering::Relaxed) == 0 {
                        let Some(entry) = registry.lookup("plugin.Fleeting", None) else {
                            continue;
                        };
                        let functions = Arc::clone(entry.foreign.as_ref().expect("functions"));
                        // SAFETY: these functions never look at the value.
                        let value = unsafe { ForeignValue::new(functions, std::ptr::null()) };
                        let written = registry.serialize(&entry, Formats::RKYV, &value);
                        assert_eq!(written.expect("loaded").0, [1]);
                        calls += 1;
                    }
                    calls
                })
            })
            .collect();
        for (hash, is_loaded) in (0..).zip(&loaded) {
            let functions: Arc<dyn ForeignFunctions> =
                Arc::new(Fleeting { is_loaded: Arc::clone(is_loaded) });
            let name = "plugin.Fleeting";
            let entry = TypeEntry::of_plugin(name, hash, Formats::RKYV, functions, "libf.so");
            registry.register_plugin_type(entry, None).expect("the only version");
            thread::sleep(std::time::Duration::from_micros(100));
            assert!(registry.unregister(name, hash).is_some());
            assert!(registry.lookup(name, Some(hash)).is_none());
        }
        is_over.store(1, Ordering::Relaxed);
        let calls: usize = threads.into_iter().map(|thread| thread.join().expect("no panic")).sum();
        assert!(calls > 0, "nobody met an entry");
    });
    assert!(loaded.iter().all(|is_loaded| is_loaded.load(Ordering::Acquire) == 0), "all are gone");
}

/// [T17 T41] 16 threads, a million operations: no deadlock, no entry under a wrong key
#[test]
fn stress() {
    const THREADS: usize = 16;
    const OPERATIONS: usize = 1_000_000 / THREADS;
    let registry = Registry::new();
    let names: Vec<String> = (0..8).map(|index| format!("stress.T{index}")).collect();
    let (_, entry) = plugin("", 0);
    thread::scope(|scope| {
        for seed in 0..THREADS {
            let (registry, names, entry) = (&registry, &names, &entry);
            scope.spawn(move || {
                let mut state = seed as u64 + 1;
                for _ in 0..OPERATIONS {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let name = &names[(state >> 33) as usize % names.len()];
                    let hash = (state >> 40) % 3;
                    match (state >> 50) % 8 {
                        0 => {
                            let mut entry = entry.clone();
                            entry.type_name.clone_from(name);
                            entry.schema_hash = hash;
                            let found = registry.register_entry(entry, true).expect("allowed");
                            assert_eq!((&found.type_name, found.schema_hash), (name, hash));
                        }
                        1 => {
                            if let Some(taken) = registry.unregister(name, hash) {
                                assert_eq!((&taken.type_name, taken.schema_hash), (name, hash));
                            }
                        }
                        2 => {
                            if let Some(found) = registry.lookup(name, None) {
                                assert_eq!(found.type_name, *name);
                            }
                        }
                        _ => {
                            if let Some(found) = registry.lookup(name, Some(hash)) {
                                assert_eq!((&found.type_name, found.schema_hash), (name, hash));
                            }
                        }
                    }
                }
            });
        }
    });
    // Both maps agree: everything listed can be taken out, and then nothing is left.
    for entry in registry.entries() {
        assert!(registry.unregister(&entry.type_name, entry.schema_hash).is_some());
    }
    assert!(registry.entries().is_empty() && registry.by_name.is_empty());
}
