//! What a plugin's process asks of whoever loaded the zone, and the objects between them.
//!
//! Each process of a zone has a generation of its own, so that what an earlier one has asked, given
//! or borrowed is never taken for a later one's. Handlers run on the threads that zones share: they
//! may block, and whoever brings messages must not.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use busbar_abi::Status;

use super::live::Shared;
use super::wire::{self, order};
use crate::Result;
use crate::object::{Objects, Owner};
use crate::pending::CallId;
use crate::pool::Pool;
use crate::queue::{Job, Queue, Runner};
use crate::upward::{Parent, Sink, Upward};

/// Bytes that wait for a handler, unless it is one call alone.
const WAITING_BYTES_MAX: usize = 64 << 20;

pub(super) struct Upcalls {
    pub(super) upward: Arc<Upward>,
    threads: OnceLock<(Arc<Pool>, Arc<Queue>)>,
    waiting_bytes: AtomicUsize,
    state: Mutex<State>,
}

struct State {
    generation: u32,
    objects: Arc<Objects>,
    /// The process's number of each call that has not ended, and ours, once it has begun.
    open: HashMap<u64, Option<u64>>,
}

impl Upcalls {
    pub(super) fn new(parent: Option<Arc<dyn Parent>>) -> Self {
        let state = State { generation: 0, objects: Objects::new(0), open: HashMap::new() };
        // Its handlers run on threads that nobody waits for.
        let upward = Upward::new(0, parent);
        upward.set_ready();
        let threads = OnceLock::new();
        Self { upward, threads, waiting_bytes: AtomicUsize::new(0), state: Mutex::new(state) }
    }

    /// Handlers of `shared` run on these threads.
    ///
    /// # Errors
    /// `Io` if the system has no threads left.
    pub(super) fn set_threads(&self, shared: &Arc<Shared>) -> Result<()> {
        let (pool, most) = Pool::shared()?;
        let runner: Weak<dyn Runner> = Arc::<Shared>::downgrade(shared);
        // Nobody else does.
        let _ = self.threads.set((pool, Arc::new(Queue::new(runner, most))));
        Ok(())
    }

    /// From here on there is another process.
    pub(super) fn begin(&self, generation: u32, owner: Weak<dyn Owner>) {
        let objects = Objects::new(generation);
        objects.set_owner(owner);
        let mut state = self.lock();
        (state.generation, state.objects) = (generation, objects);
    }

    /// The process has ended, well or not.
    pub(super) fn lose(&self, is_crash: bool) {
        let mut state = self.lock();
        state.open.clear();
        let generation = state.generation;
        state.objects.end();
        drop(state);
        self.upward.fail_all(Status::CRASHED, "the process that asked has ended");
        self.upward.release_all();
        if is_crash {
            self.upward.tell_down(generation);
        }
    }

    /// The zone has ended.
    pub(super) fn end(&self) {
        self.lose(false);
        self.upward.end_all(Instant::now() + Duration::from_secs(1));
    }

    pub(super) fn objects(&self) -> Arc<Objects> {
        Arc::clone(&self.lock().objects)
    }

    /// The process of `generation` has numbered an object; whether it may.
    pub(super) fn handle_object(&self, generation: u32, number: u64) -> bool {
        let state = self.lock();
        state.generation != generation || state.objects.adopt(number)
    }

    /// The process of `generation` asks.
    pub(super) fn handle_call(&self, shared: &Shared, generation: u32, id: u64, body: &[u8]) {
        let mut state = self.lock();
        if state.generation != generation {
            return;
        }
        state.open.insert(id, None);
        drop(state);
        let before = self.waiting_bytes.fetch_add(body.len(), Ordering::Relaxed);
        let is_room = before == 0 || before + body.len() <= WAITING_BYTES_MAX;
        let job = Job {
            method: generation,
            input: if is_room { body.to_vec() } else { Vec::new() },
            id: CallId::from_number(id),
            is_serial: false,
        };
        let threads = self.threads.get().filter(|_| is_room);
        if threads.is_none_or(|(pool, queue)| pool.send(queue, job).is_err()) {
            self.waiting_bytes.fetch_sub(body.len(), Ordering::Relaxed);
            let text = b"too many calls of the parent wait";
            self.answer(shared, generation, id, Status::AGAIN, text);
        }
    }

    /// The process does not want an answer any more.
    pub(super) fn handle_cancel(&self, generation: u32, id: u64) {
        let mut state = self.lock();
        if state.generation != generation {
            return;
        }
        let ours = state.open.remove(&id).flatten();
        drop(state);
        if let Some(ours) = ours {
            self.upward.give_up(ours, Status::CANCELLED, b"the plugin cancelled it");
        }
    }

    fn run(&self, shared: &Arc<Shared>, generation: u32, id: u64, body: &[u8]) {
        let is_wanted = |state: &State| state.generation == generation;
        if !Some(self.lock()).is_some_and(|it| is_wanted(&it) && it.open.contains_key(&id)) {
            return;
        }
        let Some((method, input)) = wire::split_parent_call(body) else {
            return self.answer(shared, generation, id, Status::INVALID, b"a call of nothing");
        };
        let weak = Arc::downgrade(shared);
        let sink: Sink = Box::new(move |status, bytes| {
            if let Some(shared) = weak.upgrade() {
                shared.upcalls.answer(&shared, generation, id, status, bytes);
            }
        });
        let named = |ours| {
            let mut state = self.lock();
            if is_wanted(&state)
                && let Some(open) = state.open.get_mut(&id)
            {
                *open = Some(ours);
                return;
            }
            drop(state);
            // It was cancelled meanwhile, or its process is gone.
            self.upward.give_up(ours, Status::CANCELLED, b"the plugin cancelled it");
        };
        if let Err((status, text)) = self.upward.start(method, input, false, named, sink) {
            self.answer(shared, generation, id, status, text.as_bytes());
        }
    }

    /// Tells the process, if it is still there and wants to know.
    fn answer(&self, shared: &Shared, generation: u32, id: u64, status: Status, bytes: &[u8]) {
        let mut state = self.lock();
        if state.generation != generation || state.open.remove(&id).is_none() {
            return;
        }
        drop(state);
        let mut live = shared.lock();
        if live.generation == generation {
            live.answer(id, status, bytes);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Runner for Shared {
    fn run(&self, job: Job) -> Option<Job> {
        let Job { method: generation, input, id, .. } = job;
        // Not before the handler has taken them, or has bounds of its own for what it keeps.
        let _charge = Charge(&self.upcalls.waiting_bytes, input.len());
        let this = self.this.upgrade()?;
        self.upcalls.run(&this, generation, id.number(), &input);
        None
    }
}

/// Bytes that wait until this is dropped.
struct Charge<'a>(&'a AtomicUsize, usize);

impl Drop for Charge<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::Relaxed);
    }
}

impl Owner for Shared {
    fn release(&self, object: u64) {
        self.lock().order(order::RELEASE, &object.to_le_bytes(), &[]);
    }
}
