//! What a call of a plugin costs, by mode: `cargo bench -p busbar-zone`. The plugin is the example
//! of the SDK, built in the same profile beside this.

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use busbar_types::Type;
use busbar_types::registry::Registry;
use busbar_zone::{Loader, Mode, Options, Record, Trust, Zone};
use criterion::{Criterion, criterion_group, criterion_main};

#[derive(Type)]
struct Point {
    x: f64,
    y: f64,
}

#[derive(Type)]
struct Burn {
    ms: u32,
}

fn physics() -> PathBuf {
    let bench = std::env::current_exe().expect("a path");
    let profile = bench.ancestors().nth(2).expect("target/release").to_owned();
    let file = format!("{}physics{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    profile.join("examples").join(file)
}

fn load(mode: Mode) -> Zone {
    let mut trust = Trust::default();
    trust.allow_insecure();
    let loader = Loader::new(Registry::global(), trust);
    // SAFETY: our own example.
    unsafe { loader.load(&physics(), &Options::new(mode)) }
        .expect("build it first: cargo build --examples -p busbar-zone, in this profile")
}

fn inline(criterion: &mut Criterion) {
    let zone = load(Mode::Inline);
    let mut group = criterion.benchmark_group("inline");
    let nothing = zone.method("nothing").expect("it has it");
    group.bench_function("no arguments", |bencher| {
        bencher.iter(|| zone.call(black_box(nothing), &[], &mut []));
    });
    let bound = zone.bind(nothing).expect("it never waits");
    group.bench_function("no arguments, bound", |bencher| {
        bencher.iter(|| black_box(&bound).call(&[], &mut []));
    });
    let invert = zone.method("invert").expect("it has it");
    let (input, mut out) = ([7_u8; 64], [0_u8; 64]);
    group.bench_function("64 bytes in and out", |bencher| {
        bencher.iter(|| zone.call(black_box(invert), black_box(&input), &mut out));
    });
    let bound = zone.bind(invert).expect("it never waits");
    group.bench_function("64 bytes in and out, bound", |bencher| {
        bencher.iter(|| black_box(&bound).call(black_box(&input), &mut out));
    });
    let length = zone.method("length").expect("it has it");
    let (mut point, mut out) = ([0_u64; 2], [0_u64; 1]);
    // SAFETY: integers are bytes.
    let bytes = unsafe { point.align_to_mut::<u8>().1 };
    Point { x: 3.0, y: 4.0 }.write_to_buffer(bytes).expect("it fits");
    // SAFETY: as above.
    let out = unsafe { out.align_to_mut::<u8>().1 };
    group.bench_function("a typed value", |bencher| {
        bencher.iter(|| zone.call(black_box(length), black_box(bytes), out));
    });
    let record = Record { method: nothing.index(), ..Record::default() };
    let mut records = [record; 64];
    group.throughput(criterion::Throughput::Elements(64));
    group.bench_function("a batch of 64", |bencher| {
        bencher.iter(|| zone.call_batch(black_box(&mut records), &mut []));
    });
    group.finish();
}

/// What the direct call of a function in a library costs, with nothing in between.
fn zone_sync_call(criterion: &mut Criterion) {
    let zone = load(Mode::Inline);
    let bound = zone.bind(zone.method("nothing").expect("it has it")).expect("it never waits");
    criterion.bench_function("zone_sync_call", |bencher| {
        bencher.iter(|| black_box(&bound).call(&[], &mut []));
    });
}

/// A round trip to a zone with a thread of its own, alone and while another zone burns one.
fn isolation(criterion: &mut Criterion) {
    let dedicated = Mode::Dedicated { threads: NonZeroUsize::MIN };
    let (zone, burner) = (load(dedicated), load(dedicated));
    let nothing = zone.method("nothing").expect("it has it");
    let mut group = criterion.benchmark_group("beside a zone that");
    let round_trip = || {
        let call = zone.start(nothing, Vec::new()).expect("queued");
        call.wait(Duration::from_secs(10)).expect("it ends")
    };
    group.bench_function("is idle", |bencher| bencher.iter(round_trip));
    let (mut ms, burn) = ([0; 8], burner.method("burn").expect("it has it"));
    let length = Burn { ms: u32::MAX }.write_to_buffer(&mut ms).expect("it fits");
    let burning = burner.start(burn, ms[..length].to_vec()).expect("queued");
    group.bench_function("burns a processor", |bencher| bencher.iter(round_trip));
    burning.cancel();
    group.finish();
}

fn threads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("round trip");
    let dedicated = Mode::Dedicated { threads: NonZeroUsize::MIN };
    for (name, mode) in [("shared", Mode::Shared), ("dedicated", dedicated)] {
        let zone = load(mode);
        let nothing = zone.method("nothing").expect("it has it");
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let call = zone.start(nothing, Vec::new()).expect("queued");
                call.wait(Duration::from_secs(10)).expect("it ends")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, zone_sync_call, inline, threads, isolation);
criterion_main!(benches);
