//! Asynchronous methods: futures on one thread of the instance, from the first of them until
//! `deactivate`.
//!
//! A token is in `open` from `spawn` until somebody takes it out, and whoever takes it out
//! completes it: so each is completed once, whatever comes first of the end, a cancellation and a
//! shutdown.

use std::collections::HashMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use async_executor::{Executor, Task};
use busbar_abi::Status;
use futures_lite::{FutureExt, future};

use crate::guard::panicked;
use crate::{Error, Host, Output, Result};

/// What an asynchronous method makes of its argument.
#[doc(hidden)]
pub type Job = std::pin::Pin<Box<dyn Future<Output = Result<Output<'static>>> + Send>>;

/// The futures of an instance.
pub(crate) struct Tasks {
    executor: Arc<Executor<'static>>,
    open: Arc<Mutex<HashMap<u64, Task<()>>>>,
    runner: Mutex<Option<Runner>>,
}

struct Runner {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Tasks {
    pub(crate) fn new() -> Self {
        Self { executor: Arc::new(Executor::new()), open: Arc::default(), runner: Mutex::default() }
    }

    /// Runs `job`, whose end completes `token`.
    ///
    /// # Errors
    /// `AGAIN` if there is no thread to be had; `INVALID` if the token is taken.
    pub(crate) fn spawn(&self, host: Host, token: u64, job: Job) -> Result<()> {
        self.ensure_runner()?;
        // Held until the task is in the map, where its end looks for it.
        let mut open = lock(&self.open);
        if open.contains_key(&token) {
            return Err(Error::of(Status::INVALID, format!("the token {token} is in use")));
        }
        let all = Arc::clone(&self.open);
        let task = self.executor.spawn(async move {
            let outcome = AssertUnwindSafe(job).catch_unwind().await;
            let outcome = outcome.unwrap_or_else(|payload| Err(panicked(payload)));
            if let Some(task) = lock(&all).remove(&token) {
                task.detach();
                complete(host, token, &outcome);
            }
        });
        open.insert(token, task);
        Ok(())
    }

    /// Ends `token` as cancelled, if it has not ended.
    pub(crate) fn cancel(&self, host: Host, token: u64) {
        // Dropped last, and without the lock: that runs code of the method.
        let task = lock(&self.open).remove(&token);
        if task.is_some() {
            host.complete(token, Status::CANCELLED, b"cancelled");
        }
    }

    /// Ends all tokens and the thread.
    pub(crate) fn stop(&self, host: Host) {
        let left: Vec<_> = lock(&self.open).drain().collect();
        for (token, task) in left {
            host.complete(token, Status::CLOSED, b"the zone closes");
            drop(task);
        }
        if let Some(Runner { stop, thread }) = lock(&self.runner).take() {
            stop.store(true, Ordering::Release);
            // What it looks for the flag after.
            self.executor.spawn(async {}).detach();
            // A panic has been told of where it was.
            let _ = thread.join();
        }
    }

    fn ensure_runner(&self) -> Result<()> {
        let mut runner = lock(&self.runner);
        if runner.is_some() {
            return Ok(());
        }
        let stop = Arc::new(AtomicBool::new(false));
        let (executor, stopped) = (Arc::clone(&self.executor), Arc::clone(&stop));
        let run = move || {
            future::block_on(async {
                while !stopped.load(Ordering::Acquire) {
                    executor.tick().await;
                }
            });
        };
        let thread = std::thread::Builder::new().name(String::from("busbar-plugin")).spawn(run);
        let thread = thread.map_err(|error| Error::of(Status::AGAIN, error.to_string()))?;
        *runner = Some(Runner { stop, thread });
        Ok(())
    }
}

fn complete(host: Host, token: u64, outcome: &Result<Output<'static>>) {
    match outcome {
        Ok(output) => host.complete(token, Status::OK, output.bytes()),
        Err(error) => host.complete(token, error.status(), error.message().as_bytes()),
    }
}

/// What is behind it is whole between any two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
