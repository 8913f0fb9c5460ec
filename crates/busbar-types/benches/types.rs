//! `write_to_buffer` against hand-derived rkyv into the same buffer, and registry lookups.
//!
//! The figures to look at are the ratios within one run: absolute ones depend on the machine.

use std::any::Any;
use std::hint::black_box;

use busbar_types::registry::Registry;
use busbar_types::rkyv::rancor::BoxedError;
use busbar_types::rkyv::ser::writer::Buffer;
use busbar_types::rkyv::util::AlignedVec;
use busbar_types::{Type, rkyv};
use criterion::{Criterion, criterion_group, criterion_main};

macro_rules! twins {
    ($($name:ident { $($field:ident: $type:ty,)* })*) => {
        mod ours {
            $(#[derive(super::Type)]
            pub(crate) struct $name { $(pub(crate) $field: $type,)* })*
        }
        mod by_hand {
            use busbar_types::rkyv;
            $(#[derive(rkyv::Archive, rkyv::Serialize)]
            pub(crate) struct $name { $(pub(crate) $field: $type,)* })*
        }
    };
}

twins! {
    Position { id: u64, pos: [f32; 3], vel: [f32; 3], flags: u32, ts: u64, }
    Order { id: u64, symbol: String, price: f64, tags: Vec<String>, note: Option<String>, }
    Entity { position: Position, name: String, }
    Snapshot { tick: u64, entities: Vec<Entity>, }
    Cloud { positions: Vec<Position>, }
}

/// The same value in both forms.
macro_rules! make {
    ($module:ident) => {{
        let position =
            || $module::Position { id: 1, pos: [0.5; 3], vel: [1.5; 3], flags: 3, ts: 4 };
        let order = $module::Order {
            id: 1,
            symbol: String::from("BTC-USDT"),
            price: 1.5,
            tags: ["algo", "ioc", "desk7", "eu"].map(String::from).to_vec(),
            note: Some(String::from("a note for the order")),
        };
        let entity =
            |index| $module::Entity { position: position(), name: format!("entity-{index:05}") };
        let snapshot = $module::Snapshot { tick: 1, entities: (0..1000).map(entity).collect() };
        let cloud = $module::Cloud { positions: (0..1000).map(|_| position()).collect() };
        (position(), order, snapshot, cloud)
    }};
}

fn write(c: &mut Criterion) {
    let (ours, by_hand) = (make!(ours), make!(by_hand));
    let mut out = AlignedVec::<16>::new();
    out.resize(1 << 20, 0);
    macro_rules! pair {
        ($name:literal, $index:tt) => {
            let mut group = c.benchmark_group(concat!("write/", $name));
            group.bench_function("busbar", |b| {
                b.iter(|| black_box(&ours.$index).write_to_buffer(&mut out).expect("room"))
            });
            group.bench_function("rkyv", |b| {
                b.iter(|| {
                    let buffer = Buffer::from(&mut out[..]);
                    rkyv::api::high::to_bytes_in::<_, BoxedError>(
                        black_box(&by_hand.$index),
                        buffer,
                    )
                    .expect("room")
                    .len()
                })
            });
            group.finish();
        };
    }
    pair!("position", 0);
    pair!("order", 1);
    pair!("snapshot-1000", 2);
    pair!("cloud-1000", 3);
}

fn lookup(c: &mut Criterion) {
    let registry = Registry::new();
    registry.register::<ours::Position>().expect("no conflict");
    registry.register::<ours::Order>().expect("no conflict");
    let (name, hash) = (ours::Position::NAME, ours::Position::SCHEMA_HASH);
    let (value, ..) = make!(ours);
    let mut out = [0; 64];
    let mut group = c.benchmark_group("registry");
    group.bench_function("lookup", |b| b.iter(|| registry.lookup(black_box(name), Some(hash))));
    group.bench_function("lookup by name", |b| b.iter(|| registry.lookup(black_box(name), None)));
    let entry = registry.require(name, Some(hash)).expect("registered");
    let writer = entry.writer.expect("a writer");
    group.bench_function("write through the entry", |b| {
        b.iter(|| writer(black_box(&value as &dyn Any), &mut out).expect("room"))
    });
    group.bench_function("write directly", |b| {
        b.iter(|| black_box(&value).write_to_buffer(&mut out).expect("room"))
    });
    group.finish();
}

criterion_group!(benches, write, lookup);
criterion_main!(benches);
