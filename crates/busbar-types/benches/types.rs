//! `write_to_buffer` against hand-derived rkyv into the same buffer, and registry lookups.
//!
//! Absolute figures depend on the machine and on what else it does. So, at the end, the ratios of
//! the two ways are printed: both are run in turns, and the best turn of each counts.

use std::any::Any;
use std::hint::black_box;
use std::io::{self, Write as _};
use std::time::Instant;

use busbar_types::registry::Registry;
use busbar_types::rkyv::rancor::BoxedError;
use busbar_types::rkyv::ser::writer::Buffer;
use busbar_types::rkyv::util::AlignedVec;
use busbar_types::{Type, rkyv};
use criterion::{Criterion, criterion_group};

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

/// Prints how long `ours` takes, as a multiple of what `theirs` takes.
fn ratio(title: &str, mut ours: impl FnMut() -> usize, mut theirs: impl FnMut() -> usize) {
    const TURNS: usize = 200;
    const TURN_NS: f64 = 200_000.0;
    let time_ns = |run: &mut dyn FnMut() -> usize, count: u32| {
        let start = Instant::now();
        for _ in 0..count {
            black_box(run());
        }
        start.elapsed().as_secs_f64() * 1e9 / f64::from(count)
    };
    // Conversion saturates, so whatever the first measurement says, the count is one.
    let count = ((TURN_NS / time_ns(&mut theirs, 1000)) as u32).max(1);
    let mut best = [f64::INFINITY; 2];
    for _ in 0..TURNS {
        best[0] = best[0].min(time_ns(&mut ours, count));
        best[1] = best[1].min(time_ns(&mut theirs, count));
    }
    let [ours, theirs] = best;
    let line = format!("{title}: {:.2}, {ours:.1} ns to {theirs:.1} ns", ours / theirs);
    writeln!(io::stdout(), "{line}").expect("stdout");
}

fn ratios() {
    let (ours, by_hand) = (make!(ours), make!(by_hand));
    let mut out = [AlignedVec::<16>::new(), AlignedVec::<16>::new()];
    out.iter_mut().for_each(|out| out.resize(1 << 20, 0));
    let [our_out, their_out] = &mut out;
    macro_rules! pair {
        ($title:literal, $index:tt) => {
            ratio(
                $title,
                || black_box(&ours.$index).write_to_buffer(our_out).expect("room"),
                || {
                    let buffer = Buffer::from(&mut their_out[..]);
                    let value = black_box(&by_hand.$index);
                    let written = rkyv::api::high::to_bytes_in::<_, BoxedError>(value, buffer);
                    written.expect("room").len()
                },
            );
        };
    }
    pair!("[T05] position, to rkyv by hand", 0);
    pair!("[T05] order, to rkyv by hand", 1);
    pair!("[T05] snapshot of 1000, to rkyv by hand", 2);
    pair!("[T05] cloud of 1000, to rkyv by hand", 3);

    let registry = Registry::new();
    let entry = registry.register::<ours::Position>().expect("no conflict");
    let (name, hash) = (ours::Position::NAME, ours::Position::SCHEMA_HASH);
    let writer = entry.writer.expect("a writer");
    let value = &ours.0;
    ratio(
        "[T13] through an entry, to directly",
        || writer(black_box(value as &dyn Any), our_out).expect("room"),
        || black_box(value).write_to_buffer(their_out).expect("room"),
    );
    ratio(
        "[T13] looked up for each value, to directly",
        || {
            let entry = registry.lookup(black_box(name), Some(hash)).expect("registered");
            entry.writer.expect("a writer")(black_box(value as &dyn Any), our_out).expect("room")
        },
        || black_box(value).write_to_buffer(their_out).expect("room"),
    );
}

criterion_group!(benches, write, lookup);

fn main() {
    benches();
    ratios();
}
