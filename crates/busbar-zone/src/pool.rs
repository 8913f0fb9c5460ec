//! Threads that run calls: those of one zone, or those that all zones share which ask for no
//! threads of their own. Queues with something to run take turns, a job each; and no zone can have
//! all shared threads, so that one whose methods block does not keep the others waiting.
//!
//! A shared thread that waits for a zone's parent, or runs a call that nobody waits for any more,
//! has another one in its place meanwhile, so that zones which block cannot stop all others.
//!
//! Plain threads, and no asynchronous runtime: a method may block, and plugins that do not want to
//! block bring their executor along.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
// Of statics, which models do not share.
use std::sync::Mutex as StaticMutex;
use std::sync::{Arc, PoisonError};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use crate::patience::Patience;
use crate::pending::CallId;
use crate::queue::{Job, Queue};
use crate::sync::thread::JoinHandle;
use crate::sync::{Condvar, Mutex, MutexGuard, thread, thread_local};
use crate::{Error, ErrorKind, Result, Stage};

/// Threads, and the queues that have work for them.
pub(crate) struct Pool {
    inner: Arc<Inner>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Inner {
    state: Mutex<State>,
    work: Condvar,
    ended: Condvar,
    /// How often something was added for threads to do. Written with the lock held; read by the one
    /// who looks without it.
    news: AtomicU64,
    /// Whether threads that do nothing for others are replaced, and so what they are called.
    name: Option<String>,
}

#[derive(Default)]
struct State {
    /// Each once.
    ready: VecDeque<Arc<Queue>>,
    /// The beginnings and ends of instances, before any call.
    orders: VecDeque<Box<dyn FnOnce() + Send>>,
    idle: usize,
    /// Whether one thread looks for something to do, so that one thing needs no other woken.
    is_looked_for: bool,
    patience: Patience,
    live: usize,
    /// Threads that took the place of others, and live.
    replacing: usize,
    /// Threads that are to end, as those whose place they took are back.
    surplus: usize,
    is_closing: bool,
}

thread_local! {
    /// The same, if its threads are replaced.
    static REPLACED: RefCell<Option<Arc<Inner>>> = RefCell::default();
    /// The pool whose thread this is, by its address; 0 for none.
    static POOL: Cell<usize> = Cell::default();
}

impl Pool {
    /// # Errors
    /// `Io` if the system has no threads left.
    pub(crate) fn new(name: &str, threads: NonZeroUsize) -> Result<Self> {
        Self::start(name, threads, None)
    }

    fn start(name: &str, threads: NonZeroUsize, replaced: Option<String>) -> Result<Self> {
        let (state, work, ended, news) = Default::default();
        let inner = Arc::new(Inner { state, work, ended, news, name: replaced });
        let pool = Self { inner, threads: Mutex::default() };
        for _ in 0..threads.get() {
            let inner = Arc::clone(&pool.inner);
            inner.lock().live += 1;
            let builder = thread::Builder::new().name(name.to_owned());
            let thread = builder.spawn(move || inner.work()).map_err(|error| {
                Error::new(ErrorKind::Io, Stage::Ready, error.to_string()).with_source(error)
            });
            match thread {
                Ok(thread) => pool.lock_threads().push(thread),
                Err(error) => {
                    pool.inner.lock().live -= 1;
                    pool.close(Duration::MAX);
                    return Err(error);
                }
            }
        }
        Ok(pool)
    }

    /// The pool of all zones without threads of their own, and how many of its threads one of them
    /// may have: as many as the machine has. There is one more.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(crate) fn shared() -> Result<(Arc<Self>, usize)> {
        static SHARED: StaticMutex<Option<(Arc<Pool>, usize)>> = StaticMutex::new(None);
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = &*shared {
            return Ok(shared.clone());
        }
        let most = available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let name = "busbar-shared";
        let pool = Arc::new(Self::start(name, most.saturating_add(1), Some(name.to_owned()))?);
        Ok(shared.insert((pool, most.get())).clone())
    }

    /// Adds a job to a queue of this pool's.
    ///
    /// # Errors
    /// `Again` if the queue is full.
    pub(crate) fn send(&self, queue: &Arc<Queue>, job: Job) -> Result<()> {
        if queue.push(job)? {
            self.list(queue);
        }
        Ok(())
    }

    /// There is something to run in `queue`.
    pub(crate) fn list(&self, queue: &Arc<Queue>) {
        self.inner.list(queue);
    }

    /// A call of `queue` is not waited for any more: if it runs, its thread is replaced.
    pub(crate) fn give_up(&self, queue: &Queue, id: CallId) {
        queue.give_up(id, || self.inner.replace());
    }

    /// Runs `work` on a thread of the pool, and waits for it; from a thread of the pool, here.
    ///
    /// # Errors
    /// `Closed` if the pool ends before that; `TimedOut` if no thread is free for [`PATIENCE`].
    pub(crate) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        if self.inner.is_here() {
            return Ok(work());
        }
        let (done, result) = sync_channel(1);
        // Who sets it first decides whether the work is done.
        let decided = Arc::new(AtomicBool::new(false));
        let mut state = self.inner.lock();
        if !state.is_closing {
            let decided = Arc::clone(&decided);
            state.orders.push_back(Box::new(move || {
                if !decided.swap(true, Ordering::Relaxed) {
                    let _ = done.send(work());
                }
            }));
            self.inner.news.fetch_add(1, Ordering::Relaxed);
        } else {
            drop(done);
        }
        drop(state);
        self.inner.work.notify_one();
        let ended = |_| Error::new(ErrorKind::Closed, Stage::Ready, "its threads have ended");
        match result.recv_timeout(PATIENCE) {
            Ok(done) => Ok(done),
            Err(RecvTimeoutError::Timeout) if !decided.swap(true, Ordering::Relaxed) => {
                let message = format!("no thread of the zone is free for {} s", PATIENCE.as_secs());
                Err(Error::new(ErrorKind::TimedOut, Stage::Ready, message))
            }
            Err(_) => result.recv().map_err(ended),
        }
    }

    /// Ends the threads, once they have run what waits, and waits for them as long as `grace`;
    /// whether all have ended.
    pub(crate) fn close(&self, grace: Duration) -> bool {
        let deadline = Instant::now().checked_add(grace);
        let mut state = self.inner.lock();
        state.is_closing = true;
        self.inner.news.fetch_add(1, Ordering::Relaxed);
        self.inner.work.notify_all();
        if self.inner.is_here() {
            // This one of them ends when what it runs does.
            return false;
        }
        while state.live > 0 {
            let left = deadline.map(|it| it.saturating_duration_since(Instant::now()));
            let left = left.unwrap_or(Duration::from_secs(3600));
            if left == Duration::ZERO {
                log::warn!(target: "busbar::zone", "{} threads of a zone stay", state.live);
                return false;
            }
            let waited = self.inner.ended.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(state);
        for thread in std::mem::take(&mut *self.lock_threads()) {
            // They do not panic, and have nothing left to do.
            let _ = thread.join();
        }
        true
    }

    fn lock_threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Beginnings and ends of instances wait that long for a thread.
const PATIENCE: Duration = Duration::from_secs(10);

/// No more threads than that take the places of others.
const REPLACING_MAX: usize = 256;

/// Runs `wait`, which does nothing but that: if this is one of the shared threads, others go on.
pub(crate) fn while_waiting<T>(wait: impl FnOnce() -> T) -> T {
    struct Back(Arc<Inner>);
    impl Drop for Back {
        fn drop(&mut self) {
            self.0.lock().surplus += 1;
            // Whoever is idle may be it.
            self.0.work.notify_one();
        }
    }
    let pool = REPLACED.with(|pool| pool.borrow().clone());
    let _back = pool.filter(Inner::replace).map(Back);
    wait()
}

/// What a thread does next.
enum Next {
    Order(Box<dyn FnOnce() + Send>),
    Queue(Arc<Queue>),
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Whether this is one of its threads.
    fn is_here(&self) -> bool {
        POOL.with(Cell::get) == self.address()
    }

    /// One thread more, unless there are too many; whether there is.
    fn replace(self: &Arc<Self>) -> bool {
        let Some(name) = &self.name else { return false };
        let mut state = self.lock();
        if state.surplus > 0 {
            // One that was to end goes on.
            state.surplus -= 1;
            return true;
        }
        if state.replacing >= REPLACING_MAX {
            return false;
        }
        (state.replacing, state.live) = (state.replacing + 1, state.live + 1);
        drop(state);
        let inner = Arc::clone(self);
        let thread = thread::Builder::new().name(name.clone()).spawn(move || inner.work());
        if let Err(error) = &thread {
            let mut state = self.lock();
            (state.replacing, state.live) = (state.replacing - 1, state.live - 1);
            log::warn!(target: "busbar::zone", "no thread in the place of another: {error}");
        }
        thread.is_ok()
    }

    fn list(&self, queue: &Arc<Queue>) {
        let mut state = self.lock();
        state.ready.push_back(Arc::clone(queue));
        self.news.fetch_add(1, Ordering::Relaxed);
        let is_found = state.is_looked_for && state.ready.len() == 1;
        let is_asleep = state.idle > 0 && !is_found;
        drop(state);
        if is_asleep {
            self.work.notify_one();
        }
    }

    fn work(self: &Arc<Self>) {
        POOL.with(|pool| pool.set(self.address()));
        REPLACED.with(|pool| pool.replace(self.name.is_some().then(|| Arc::clone(self))));
        while let Some(next) = self.next() {
            // Whoever is told of ends may panic; that costs nobody else a thread.
            let run = catch_unwind(AssertUnwindSafe(|| match next {
                Next::Order(order) => order(),
                Next::Queue(queue) => self.run_one(&queue),
            }));
            if run.is_err() {
                log::error!(target: "busbar::zone", "who was told of the end of a call panicked");
            }
        }
        // Nobody is told of before this thread has nothing left to do but to end.
        self.lock().live -= 1;
        self.ended.notify_all();
    }

    fn next(&self) -> Option<Next> {
        let mut state = self.lock();
        let mut has_looked = false;
        loop {
            if let Some(order) = state.orders.pop_front() {
                return Some(Next::Order(order));
            }
            if let Some(queue) = state.ready.pop_front() {
                return Some(Next::Queue(queue));
            }
            if state.is_closing {
                return None;
            }
            if state.surplus > 0 {
                (state.surplus, state.replacing) = (state.surplus - 1, state.replacing - 1);
                return None;
            }
            if !has_looked && !state.is_looked_for && state.patience.is_left() {
                has_looked = true;
                state = self.look(state);
                // Whoever added something relied on this thread.
                continue;
            }
            state.idle += 1;
            let begin = Instant::now();
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
            state.patience.found(begin.elapsed());
        }
    }

    /// Looks for something to do without the lock.
    fn look<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let (seen, mut patience) = (self.news.load(Ordering::Relaxed), state.patience);
        state.is_looked_for = true;
        drop(state);
        patience.look(|| self.news.load(Ordering::Relaxed) != seen);
        let mut state = self.lock();
        (state.is_looked_for, state.patience) = (false, patience);
        state
    }

    fn run_one(&self, queue: &Arc<Queue>) {
        struct Done<'a>(&'a Inner, &'a Arc<Queue>, CallId, bool);
        impl Drop for Done<'_> {
            fn drop(&mut self) {
                let (is_listed, was_replaced) = self.1.done(self.2, self.3);
                if was_replaced {
                    self.0.lock().surplus += 1;
                }
                if is_listed {
                    self.0.list(self.1);
                }
            }
        }
        let (job, is_listed) = queue.pop();
        if is_listed {
            self.list(queue);
        }
        let Some((number, job)) = job else { return };
        let _done = Done(self, queue, job.id, job.is_serial);
        if let Some(runner) = queue.runner()
            && let Some(job) = runner.run(job)
        {
            queue.put_back(number, job);
        }
    }
}
