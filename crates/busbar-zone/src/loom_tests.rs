//! Models of the queue between zones, from the call that is submitted to its end being told: table
//! of open calls, queue, threads, and whoever closes them.
//!
//! Run: `RUSTFLAGS="--cfg loom" cargo test -p busbar-zone --release --lib loom`.
//!
//! Each model says by which local mutations it was seen to fail; one that survives every mutation
//! proves nothing.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use loom::thread;

use crate::pending::{Pending, Reply, closed};
use crate::pool::Pool;
use crate::queue::{Job, Queue, Runner};
use crate::{Completions, ErrorKind, Result};

/// Longer than any model takes. There is no time in models: who waits, waits until it is told.
const LONG: Duration = Duration::from_secs(3600);

fn explore(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// A zone without a plugin: its calls end as soon as they run.
struct Rig {
    pending: Pending,
    /// How many of them run that are to run alone.
    alone: AtomicUsize,
}

impl Runner for Rig {
    fn run(&self, job: Job) -> Option<Job> {
        if !self.pending.attach(job.id, None) {
            return None;
        }
        if job.is_serial {
            assert_eq!(self.alone.fetch_add(1, Relaxed), 0);
            thread::yield_now();
            self.alone.fetch_sub(1, Relaxed);
        }
        self.pending.end(job.id, None, Ok(&[]));
        None
    }
}

/// How calls ended, and how often.
#[derive(Default)]
struct Ends(std::sync::Mutex<Vec<(u64, Option<ErrorKind>)>>);

impl Completions for Ends {
    fn complete(&self, operation: u64, result: Result<&[u8]>) {
        let error = result.err().map(|error| error.kind());
        self.0.lock().expect("no panics").push((operation, error));
    }
}

/// A zone with threads, and its parts.
#[derive(Clone)]
struct Zone {
    rig: Arc<Rig>,
    pool: Arc<Pool>,
    queue: Arc<Queue>,
    ends: Arc<Ends>,
}

impl Zone {
    fn new(threads: usize, running_max: usize) -> Self {
        let rig = Arc::new(Rig { pending: Pending::default(), alone: AtomicUsize::new(0) });
        let runner: Weak<dyn Runner> = Arc::<Rig>::downgrade(&rig);
        let threads = NonZeroUsize::new(threads).expect("some");
        let pool = Arc::new(Pool::new("model", threads).expect("threads"));
        let queue = Arc::new(Queue::new(runner, running_max));
        Self { rig, pool, queue, ends: Arc::default() }
    }

    fn submit(&self, operation: u64, is_serial: bool) -> Result<()> {
        let sink: Arc<dyn Completions> = Arc::<Ends>::clone(&self.ends);
        let submitted = self.rig.pending.submit(0, Reply { sink, operation }, |id| {
            self.pool.send(&self.queue, Job { method: 0, input: Vec::new(), id, is_serial })
        });
        submitted.map(drop)
    }

    /// Has another thread submit calls; those that were accepted.
    fn submit_elsewhere(&self, calls: &'static [(u64, bool)]) -> thread::JoinHandle<Vec<u64>> {
        let zone = self.clone();
        thread::spawn(move || {
            let accepted = calls.iter().filter(|(operation, is_serial)| {
                let submitted = zone.submit(*operation, *is_serial);
                // So that what was accepted runs before the next, without a preemption.
                thread::yield_now();
                match &submitted {
                    Ok(()) => true,
                    Err(error) => {
                        assert!([ErrorKind::Again, ErrorKind::Closed].contains(&error.kind()));
                        false
                    }
                }
            });
            accepted.map(|(operation, _)| *operation).collect()
        })
    }

    /// Every call that was accepted has ended once, and none that was refused.
    fn has_told(&self, mut accepted: Vec<u64>) -> Vec<Option<ErrorKind>> {
        let ends = self.ends.0.lock().expect("no panics");
        let mut told: Vec<_> = ends.iter().map(|(operation, _)| *operation).collect();
        told.sort_unstable();
        accepted.sort_unstable();
        assert_eq!(told, accepted);
        assert_eq!(self.rig.pending.len(), 0);
        ends.iter().map(|(_, end)| *end).collect()
    }
}

/// [Z18] A zone that closes lets nothing in any more and runs what it has accepted, each call once;
/// a queue that is full refuses. Nobody sleeps while there is something to run.
///
/// Fails when `Queue::done` leaves `is_serial_running` set.
#[test]
fn loom_what_was_accepted_runs_once() {
    explore(2, || {
        let zone = Zone::new(1, 1);
        let caller = zone.submit_elsewhere(&[(1, false), (2, true), (3, true)]);
        zone.rig.pending.close();
        assert!(zone.rig.pending.wait_empty(Instant::now() + LONG));
        zone.pool.close(LONG);
        let ends = zone.has_told(caller.join().expect("no panics"));
        assert!(ends.iter().all(Option::is_none), "nothing was given up");
    });
}

/// [Z18] A zone that is closed and does not wait tells of every call that it had accepted, whether
/// it ran or not, and never of one that it refused.
///
/// Fails when `Pending::submit` gives the error of a call that was ended meanwhile.
#[test]
fn loom_what_waits_is_told_of_once() {
    explore(2, || {
        let zone = Zone::new(1, 1);
        let callers = [&[(1, false)], &[(2, false)]].map(|calls| zone.submit_elsewhere(calls));
        zone.rig.pending.close();
        zone.queue.clear();
        zone.rig.pending.fail_waiting(&closed());
        assert!(zone.rig.pending.wait_empty(Instant::now() + LONG));
        zone.pool.close(LONG);
        let accepted = callers.map(|caller| caller.join().expect("no panics")).concat();
        let ends = zone.has_told(accepted);
        assert!(ends.iter().all(|end| end.is_none_or(|kind| kind == ErrorKind::Closed)));
    });
}

/// [Z04 Z18] Two threads and two callers: serial calls run one at a time.
///
/// Fails when `Queue::take` does not set `is_serial_running`.
#[test]
fn loom_serial_calls_run_alone() {
    explore(2, || {
        let zone = Zone::new(2, 2);
        let caller = zone.submit_elsewhere(&[(1, true)]);
        let mut accepted: Vec<_> = (2..3).filter(|n| zone.submit(*n, true).is_ok()).collect();
        accepted.extend(caller.join().expect("no panics"));
        zone.rig.pending.close();
        assert!(zone.rig.pending.wait_empty(Instant::now() + LONG));
        zone.pool.close(LONG);
        zone.has_told(accepted);
    });
}
