//! What a call of a plugin in another process costs, awake and asleep, and how long a crash keeps
//! it from answering: `cargo bench -p busbar-zone --bench process`. The plugin is the example of
//! the SDK, built in the same profile beside this.

#[cfg(target_os = "linux")]
fn main() {
    linux::main();
}

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
mod linux {
    use std::hint::black_box;
    use std::path::PathBuf;
    use std::time::{Duration, Instant};

    use busbar_types::registry::Registry;
    use busbar_zone::{Loader, Mode, Options, ProcessOptions, Trust, Zone};
    use criterion::{Criterion, Throughput};

    const LONG: Duration = Duration::from_secs(20);

    pub(super) fn main() {
        let mut criterion = Criterion::default().configure_from_args();
        calls(&mut criterion);
        crashes(&mut criterion);
        criterion.final_summary();
    }

    fn physics() -> PathBuf {
        let bench = std::env::current_exe().expect("a path");
        let profile = bench.ancestors().nth(2).expect("target/release").to_owned();
        let (prefix, suffix) = (std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
        profile.join("examples").join(format!("{prefix}physics{suffix}"))
    }

    fn load(change: impl FnOnce(&mut ProcessOptions)) -> Zone {
        let mut trust = Trust::default();
        trust.allow_insecure();
        let mut process = ProcessOptions::new(env!("CARGO_BIN_EXE_busbar-host"));
        change(&mut process);
        let mut options = Options::new(Mode::Process);
        options.process = Some(&process);
        // SAFETY: our own example.
        unsafe { Loader::new(Registry::global(), trust).load(&physics(), &options) }
            .expect("build it first: cargo build --examples -p busbar-zone, in this profile")
    }

    fn calls(criterion: &mut Criterion) {
        let mut group = criterion.benchmark_group("process");
        let awake = load(|process| process.spin = Duration::from_millis(5));
        let asleep = load(|process| process.spin = Duration::ZERO);
        for (name, zone) in [("sync, awake", &awake), ("sync, asleep", &asleep)] {
            let method = zone.method("nothing").expect("it has it");
            group.bench_function(name, |bencher| {
                bencher.iter(|| zone.call_waiting(black_box(method), &[], LONG).expect("it runs"));
            });
        }
        let invert = awake.method("invert").expect("it has it");
        for length in [64, 1 << 10, 64 << 10] {
            let input = vec![7; length];
            group.throughput(Throughput::Bytes(length as u64));
            group.bench_function(format!("sync, awake, {length} bytes in and out"), |bencher| {
                bencher.iter(|| awake.call_waiting(invert, black_box(&input), LONG));
            });
        }
        group.throughput(Throughput::Elements(1));
        let nothing = asleep.method("nothing").expect("it has it");
        group.bench_function("async", |bencher| {
            bencher.iter(|| {
                let call = asleep.start(nothing, Vec::new()).expect("sent");
                call.wait(LONG).expect("it ends")
            });
        });
        group.throughput(Throughput::Elements(64));
        group.bench_function("async, 64 at a time", |bencher| {
            bencher.iter(|| {
                let start = |_| asleep.start(nothing, Vec::new()).expect("sent");
                let calls: Vec<_> = (0..64).map(start).collect();
                calls.into_iter().for_each(|call| drop(call.wait(LONG).expect("it ends")));
            });
        });
        group.finish();
    }

    /// From the signal to the next answer, by the process that follows.
    fn crashes(criterion: &mut Criterion) {
        let zone = load(|process| {
            (process.crashes_max, process.crash_window) = (u32::MAX, Duration::ZERO);
        });
        let nothing = zone.method("nothing").expect("it has it");
        let mut group = criterion.benchmark_group("process");
        group.sample_size(20).bench_function("crash to the next answer", |bencher| {
            bencher.iter_custom(|rounds| {
                let mut all = Duration::ZERO;
                for _ in 0..rounds {
                    let status = zone.process().expect("it has one");
                    let pid = status.pid.expect("it runs").cast_signed();
                    let begin = Instant::now();
                    // SAFETY: a child of this process.
                    unsafe { libc::kill(pid, libc::SIGKILL) };
                    while zone.process().is_some_and(|it| it.starts == status.starts) {
                        // Calls that the dead process had are repeated, or fail.
                        let _ = zone.call_waiting(nothing, &[], LONG);
                    }
                    zone.call_waiting(nothing, &[], LONG).expect("it runs again");
                    all += begin.elapsed();
                }
                all
            });
        });
        group.finish();
    }
}
