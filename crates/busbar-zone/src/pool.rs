//! Threads that run calls: one queue, as many threads as asked for. The threads of one pool are
//! shared by all zones that ask for no threads of their own.
//!
//! Plain threads, and no asynchronous runtime: a method may block, and plugins that do not want to
//! block bring their executor along.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::host::on_thread_of;
use crate::pending::OpenCall;
use crate::{Error, ErrorKind, Result, Stage, State};

/// A call that has not been started. It is inside its instance: closing waits for it.
pub(crate) struct Job {
    pub(crate) method: u32,
    pub(crate) input: Vec<u8>,
    pub(crate) call: OpenCall,
}

impl Job {
    pub(crate) fn run(self) {
        let Self { method, input, call } = self;
        let instance = Arc::clone(call.inside.instance());
        if instance.state() == State::Zombie {
            // It was given up while this waited.
            let closed = Error::new(ErrorKind::Closed, Stage::Call, "the zone is closed");
            return call.finish(Err(closed.of(instance.id())));
        }
        on_thread_of(instance.zone(), || instance.start(method, &input, call));
    }
}

enum Order {
    Run(Job),
    Stop,
}

/// Threads and their queue.
pub(crate) struct Pool {
    queue: Sender<Order>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Pool {
    /// # Errors
    /// `Io` if the system has no threads left.
    pub(crate) fn new(name: &str, threads: NonZeroUsize, queue: NonZeroUsize) -> Result<Self> {
        let (sender, orders) = bounded(queue.get());
        let pool = Self { queue: sender, threads: Mutex::default() };
        for _ in 0..threads.get() {
            let orders = orders.clone();
            let builder = std::thread::Builder::new().name(name.to_owned());
            let thread = builder.spawn(move || work(&orders)).map_err(|error| {
                Error::new(ErrorKind::Io, Stage::Ready, error.to_string()).with_source(error)
            });
            match thread {
                Ok(thread) => pool.lock_threads().push(thread),
                Err(error) => {
                    pool.close();
                    return Err(error);
                }
            }
        }
        Ok(pool)
    }

    /// The pool of all zones without threads of their own: as many threads as the machine has.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(crate) fn shared() -> Result<Arc<Self>> {
        static SHARED: Mutex<Option<Arc<Pool>>> = Mutex::new(None);
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = &*shared {
            return Ok(Arc::clone(pool));
        }
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let pool = Arc::new(Self::new("busbar-shared", threads, QUEUE)?);
        Ok(Arc::clone(shared.insert(pool)))
    }

    /// Has a thread run `job`. One that is refused is dropped, without anybody being told.
    ///
    /// # Errors
    /// `Again` if the queue is full.
    pub(crate) fn send(&self, job: Job) -> Result<()> {
        self.queue.try_send(Order::Run(job)).map_err(|error| {
            let message = match error {
                TrySendError::Full(_) => "more calls wait for a thread than the queue holds",
                TrySendError::Disconnected(_) => "its threads have ended",
            };
            Error::new(ErrorKind::Again, Stage::Call, message)
        })
    }

    /// Ends the threads, once they have run what is in the queue.
    pub(crate) fn close(&self) {
        let threads = std::mem::take(&mut *self.lock_threads());
        for _ in &threads {
            // It waits for room; if the threads have ended, there is nobody to tell.
            let _ = self.queue.send(Order::Stop);
        }
        for thread in threads {
            // They do not panic.
            let _ = thread.join();
        }
    }

    fn lock_threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Calls that may wait for a thread.
pub(crate) const QUEUE: NonZeroUsize = NonZeroUsize::new(4096).expect("invariant: not zero");

fn work(orders: &Receiver<Order>) {
    while let Ok(Order::Run(job)) = orders.recv() {
        // Whoever is told of ends may panic; that costs nobody else a thread.
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job.run()));
        if run.is_err() {
            log::error!(target: "busbar::zone", "who was told of the end of a call panicked");
        }
    }
}
