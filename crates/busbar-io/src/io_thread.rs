//! A thread that tends an engine for an owner who may be busy for long: an event loop.
//!
//! ```text
//! owner ── lock ─→ Engine ←─ lock ── thread ←─ waits ─ descriptors, timers
//!   ↑                                  │
//!   └───────── bell, if it sleeps ─────┘
//! ```
//!
//! The lock is fair: between two chores the thread hands it to an owner that waits for it, so that
//! the owner waits for one read or one write at most. Neither waits for anything while it has the
//! lock.

#[cfg_attr(windows, path = "io_thread/signal.rs")]
mod bell;

use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use busbar_proto::{Code, Error};
use parking_lot::{Mutex, MutexGuard};

use crate::engine::{Engine, Readiness};
use crate::event::Event;
use crate::notice;
use crate::reactor::{EngineOptions, Watcher};

#[cfg(windows)]
pub(crate) use bell::Signal;
use bell::{Bell, Ringer};

/// An engine and the thread that tends it. See the [module](self).
///
/// Its descriptor (on Windows, its waiter) tells when [`IoThread::turn`] has to be called. Dropping
/// it waits for the thread, which ends after what it is just doing, and ends the engine with
/// everything in it.
pub struct IoThread {
    shared: Arc<Shared>,
    bell: Bell,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    desk: Mutex<Desk>,
    /// Wakes the owner.
    bell: Ringer,
    /// Wakes the thread.
    thread_bell: notice::Bell,
}

/// What only one of them has at a time.
struct Desk {
    engine: Engine,
    thread: State,
    /// The owner waits for its bell.
    is_owner_asleep: bool,
    /// The owner is gone.
    is_over: bool,
}

/// What the thread is about.
enum State {
    Awake,
    /// Until then, or until something happens.
    Asleep(Option<Instant>),
}

/// The engine, for as long as a call takes. What it leaves to do wakes the thread.
pub struct EngineGuard<'a> {
    desk: Option<MutexGuard<'a, Desk>>,
    shared: &'a Shared,
}

impl IoThread {
    /// Starts a thread with an engine.
    ///
    /// # Errors
    /// As [`Engine::new`]; `OutOfMemory` when threads are short.
    pub fn start() -> Result<Self, Error> {
        Self::with(EngineOptions::default())
    }

    /// As [`IoThread::start`], with a backend of the caller's choice. That the engine is driven by
    /// two threads goes without saying.
    ///
    /// # Errors
    /// As [`Engine::with`]; `OutOfMemory` when threads are short.
    pub fn with(options: EngineOptions) -> Result<Self, Error> {
        let engine = Engine::shared(options)?;
        let (bell, ringer) = Bell::new()?;
        let watcher = engine.watcher()?;
        let thread_bell = engine.bell();
        let desk = Desk { engine, thread: State::Awake, is_owner_asleep: false, is_over: false };
        let shared = Arc::new(Shared { desk: Mutex::new(desk), bell: ringer, thread_bell });
        let its = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("busbar-io".to_owned())
            .spawn(move || run(&its, watcher))
            .map_err(|error| {
                Error::new(Code::OutOfMemory, format!("starting an I/O thread: {error}"))
            })?;
        Ok(Self { shared, bell, thread: Some(thread) })
    }

    /// The engine, between two chores of the thread.
    #[inline]
    #[must_use]
    pub fn lock(&self) -> EngineGuard<'_> {
        EngineGuard { desk: Some(self.shared.desk.lock()), shared: &self.shared }
    }

    /// Looks at what the thread has left, and appends what happened to `events`. Never waits for
    /// peers.
    pub fn turn(&mut self, events: &mut Vec<Event>) {
        self.bell.clear();
        let mut guard = self.lock();
        guard.desk().is_owner_asleep = false;
        guard.look_around(events);
    }

    /// Decides, when the owner is about to wait, whether it may. After
    /// [`Sleep`](Readiness::Sleep), the bell rings for whatever happens.
    pub fn prepare_sleep(&mut self, events: &mut Vec<Event>) -> Readiness {
        let mut guard = self.lock();
        guard.desk().is_owner_asleep = false;
        let readiness = guard.prepare_rest(events);
        guard.desk().is_owner_asleep = readiness == Readiness::Sleep;
        readiness
    }

    /// Whether the owner has something to look at that the bell does not announce.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.lock().has_to_look()
    }
}

impl Drop for IoThread {
    fn drop(&mut self) {
        self.shared.desk.lock().is_over = true;
        self.shared.thread_bell.ring();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has ended the process.
            let _ = thread.join();
        }
    }
}

impl EngineGuard<'_> {
    fn desk(&mut self) -> &mut Desk {
        self.desk.as_mut().expect(HELD)
    }
}

impl Deref for EngineGuard<'_> {
    type Target = Engine;

    #[inline]
    fn deref(&self) -> &Engine {
        &self.desk.as_ref().expect(HELD).engine
    }
}

impl DerefMut for EngineGuard<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Engine {
        &mut self.desk.as_mut().expect(HELD).engine
    }
}

impl Drop for EngineGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        let desk = self.desk();
        let State::Asleep(until) = desk.thread else { return };
        if desk.engine.awaits_thread(until) {
            desk.thread = State::Awake;
            self.desk = None;
            self.shared.thread_bell.ring();
        }
    }
}

const HELD: &str = "invariant: held until dropped";

/// The thread. Panics have nobody to be reported to: they end the process with a message.
fn run(shared: &Shared, watcher: Watcher) {
    if catch_unwind(AssertUnwindSafe(|| tend(shared, watcher))).is_err() {
        std::process::abort();
    }
}

fn tend(shared: &Shared, mut watcher: Watcher) {
    while let Some(until) = tend_all(shared) {
        watcher.wait(until.map(|until| until.saturating_duration_since(Instant::now())));
    }
}

/// Does all that there is to do; until when there is nothing more, or `None` when all is over.
#[expect(clippy::option_option, reason = "there may be no deadline")]
fn tend_all(shared: &Shared) -> Option<Option<Instant>> {
    let mut desk = shared.desk.lock();
    desk.thread = State::Awake;
    let mut was_lingering = desk.engine.is_lingering();
    while !desk.is_over {
        let has_more = desk.engine.tend();
        let is_lingering = desk.engine.is_lingering();
        let has_delivered = std::mem::replace(&mut was_lingering, is_lingering) && !is_lingering;
        if desk.is_owner_asleep && (desk.engine.has_news() || has_delivered) {
            desk.is_owner_asleep = false;
            // Whoever is woken should find the lock open.
            MutexGuard::unlocked_fair(&mut desk, || shared.bell.ring());
        }
        let until = desk.engine.next_deadline();
        // The owner may have called in while it was woken.
        if !has_more && !desk.engine.awaits_thread(until) {
            desk.thread = State::Asleep(until);
            return Some(until);
        }
        MutexGuard::bump(&mut desk);
    }
    None
}
