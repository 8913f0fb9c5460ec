//! The calls of one zone that wait for a thread, and which of them may run now.
//!
//! Methods that are not thread-safe run one at a time, in the order they were called in; they never
//! keep a thread waiting for their turn. All others run as threads come.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, Weak};

use crate::pending::CallId;
use crate::sync::{Mutex, MutexGuard};
use crate::{Error, ErrorKind, Result, Stage};

/// Calls of a zone that may wait for a thread; in the models, so few that some are refused.
pub(crate) const WAITING_MAX: usize = if cfg!(loom) { 1 } else { 4096 };

/// A call that was accepted.
pub(crate) struct Job {
    pub(crate) method: u32,
    pub(crate) input: Vec<u8>,
    pub(crate) id: CallId,
    /// Whether it runs alone.
    pub(crate) is_serial: bool,
}

/// Whoever runs the jobs of a queue.
pub(crate) trait Runner: Send + Sync {
    /// On a thread of the pool, which may be the only one: it does not wait for others. A job that
    /// cannot be run now is given back, to be run later.
    fn run(&self, job: Job) -> Option<Job>;
}

/// The queue of one zone.
pub(crate) struct Queue {
    runner: Weak<dyn Runner>,
    /// How many of its jobs run at the same time.
    running_max: usize,
    lanes: Mutex<Lanes>,
}

#[derive(Default)]
struct Lanes {
    serial: VecDeque<(u64, Job)>,
    free: VecDeque<(u64, Job)>,
    /// How many came before the next one: of the two lanes, who came first runs first.
    count: u64,
    /// Calls on threads, and which of them nobody waits for any more, so that others took the place
    /// of their threads.
    running: Vec<(CallId, bool)>,
    is_serial_running: bool,
    is_paused: bool,
    /// Whether its pool knows that there is something to run.
    is_listed: bool,
}

impl Queue {
    pub(crate) fn new(runner: Weak<dyn Runner>, running_max: usize) -> Self {
        Self { runner, running_max, lanes: Mutex::default() }
    }

    pub(crate) fn runner(&self) -> Option<Arc<dyn Runner>> {
        self.runner.upgrade()
    }

    /// Adds a job; whether its pool is to be told.
    ///
    /// # Errors
    /// `Again` if the queue is full.
    pub(crate) fn push(&self, job: Job) -> Result<bool> {
        let mut lanes = self.lock();
        if lanes.serial.len() + lanes.free.len() >= WAITING_MAX {
            let message = format!("{WAITING_MAX} calls of the zone wait for a thread");
            return Err(Error::new(ErrorKind::Again, Stage::Call, message));
        }
        let number = lanes.count;
        lanes.count += 1;
        let lane = if job.is_serial { &mut lanes.serial } else { &mut lanes.free };
        lane.push_back((number, job));
        Ok(self.list(&mut lanes))
    }

    /// The next job, and its number, for the thread that found the queue in its pool's list; and
    /// whether it goes back there, for others.
    pub(crate) fn pop(&self) -> (Option<(u64, Job)>, bool) {
        let mut lanes = self.lock();
        lanes.is_listed = false;
        let job = self.take(&mut lanes);
        let is_listed = self.list(&mut lanes);
        (job, is_listed)
    }

    /// A job was given back: it is the next one of its lane again. [`Self::done`] is to follow.
    pub(crate) fn put_back(&self, number: u64, job: Job) {
        let mut lanes = self.lock();
        let lane = if job.is_serial { &mut lanes.serial } else { &mut lanes.free };
        let place = lane.partition_point(|(before, _)| *before < number);
        lane.insert(place, (number, job));
    }

    /// A job has run, or was put back; whether the pool is to be told, and whether its thread was
    /// replaced.
    pub(crate) fn done(&self, id: CallId, was_serial: bool) -> (bool, bool) {
        let mut lanes = self.lock();
        let at = lanes.running.iter().position(|(running, _)| *running == id);
        let was_replaced = at.is_some_and(|at| lanes.running.swap_remove(at).1);
        if was_serial {
            lanes.is_serial_running = false;
        }
        (self.list(&mut lanes), was_replaced)
    }

    /// Nobody waits for a call any more; if it runs on a thread, that is replaced if `replace` can.
    pub(crate) fn give_up(&self, id: CallId, replace: impl FnOnce() -> bool) {
        let mut lanes = self.lock();
        let running = lanes.running.iter_mut().find(|(running, _)| *running == id);
        if let Some((_, is_replaced)) = running.filter(|(_, is_replaced)| !is_replaced) {
            *is_replaced = replace();
        }
    }

    /// Nothing is started until [`Self::resume`].
    pub(crate) fn pause(&self) {
        self.lock().is_paused = true;
    }

    /// Whether the pool is to be told.
    pub(crate) fn resume(&self) -> bool {
        let mut lanes = self.lock();
        lanes.is_paused = false;
        self.list(&mut lanes)
    }

    /// Forgets what waits. Who called was told.
    pub(crate) fn clear(&self) {
        let mut lanes = self.lock();
        let waiting = (std::mem::take(&mut lanes.serial), std::mem::take(&mut lanes.free));
        drop(lanes);
        drop(waiting);
    }

    fn list(&self, lanes: &mut Lanes) -> bool {
        let is_new = !lanes.is_listed && lanes.next(self.running_max).is_some();
        lanes.is_listed |= is_new;
        is_new
    }

    fn take(&self, lanes: &mut Lanes) -> Option<(u64, Job)> {
        let lane = lanes.next(self.running_max)?;
        let (number, job) = match lane {
            Lane::Serial => {
                lanes.is_serial_running = true;
                lanes.serial.pop_front()
            }
            Lane::Free => lanes.free.pop_front(),
        }?;
        lanes.running.push((job.id, false));
        Some((number, job))
    }

    fn lock(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Lane {
    Serial,
    Free,
}

impl Lanes {
    /// Where the next job is that may run.
    fn next(&self, running_max: usize) -> Option<Lane> {
        if self.is_paused || self.running.len() >= running_max {
            return None;
        }
        let serial = self.serial.front().filter(|_| !self.is_serial_running);
        match (serial, self.free.front()) {
            (Some((serial, _)), Some((free, _))) if free < serial => Some(Lane::Free),
            (Some(_), _) => Some(Lane::Serial),
            (None, Some(_)) => Some(Lane::Free),
            (None, None) => None,
        }
    }
}
