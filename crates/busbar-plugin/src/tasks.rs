//! Asynchronous methods: futures in a tokio runtime on one thread of the instance, from the first
//! of them until `deactivate`.
//!
//! A token is in `open` from `spawn` until somebody takes it out, and whoever takes it out
//! completes it: so each is completed once, whatever comes first of the end, a cancellation and a
//! shutdown.

use std::collections::HashMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use busbar_abi::Status;
use futures_lite::FutureExt;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::guard::panicked;
use crate::{Error, Host, Output, Result};

/// What an asynchronous method makes of its argument.
#[doc(hidden)]
pub type Job = std::pin::Pin<Box<dyn Future<Output = Result<Output<'static>>> + Send>>;

/// The futures of an instance.
#[derive(Default)]
pub(crate) struct Tasks {
    open: Arc<Mutex<HashMap<u64, AbortHandle>>>,
    runner: Mutex<Option<Runner>>,
}

/// The thread that polls them.
struct Runner {
    runtime: Handle,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Tasks {
    /// Runs `job`, whose end completes `token`.
    ///
    /// # Errors
    /// `AGAIN` if there is no thread to be had; `INVALID` if the token is taken.
    pub(crate) fn spawn(&self, host: Host, token: u64, job: Job) -> Result<()> {
        // Held until the task is in the map: a runtime that stops meanwhile drops it unheard.
        let mut runner = lock(&self.runner);
        if runner.is_none() {
            *runner = Some(Runner::start()?);
        }
        let runner = runner.as_ref().expect("invariant: made above");
        // Held until the task is in the map, where its end looks for it.
        let mut open = lock(&self.open);
        if open.contains_key(&token) {
            return Err(Error::of(Status::INVALID, format!("the token {token} is in use")));
        }
        let all = Arc::clone(&self.open);
        let task = runner.runtime.spawn(async move {
            let outcome = AssertUnwindSafe(job).catch_unwind().await;
            let outcome = outcome.unwrap_or_else(|payload| Err(panicked(payload)));
            let is_open = lock(&all).remove(&token).is_some();
            if is_open {
                complete(host, token, &outcome);
            }
        });
        open.insert(token, task.abort_handle());
        Ok(())
    }

    /// Ends `token` as cancelled, if it has not ended. Its future is dropped by the runtime, soon.
    pub(crate) fn cancel(&self, host: Host, token: u64) {
        let task = lock(&self.open).remove(&token);
        if let Some(task) = task {
            task.abort();
            host.complete(token, Status::CANCELLED, b"cancelled");
        }
    }

    /// Ends all tokens and the thread, which drops their futures.
    pub(crate) fn stop(&self, host: Host) {
        let runner = lock(&self.runner).take();
        // Before the thread ends: a method that does not give it away holds up nobody else's token.
        let left: Vec<_> = lock(&self.open).drain().collect();
        for (token, _) in left {
            host.complete(token, Status::CLOSED, b"the zone closes");
        }
        if let Some(Runner { runtime: _, stop, thread }) = runner {
            // It may have ended by a panic, which has been told of where it was.
            let _ = stop.send(());
            let _ = thread.join();
        }
    }
}

impl Runner {
    /// # Errors
    /// `AGAIN` if there is no thread or no descriptor to be had.
    fn start() -> Result<Self> {
        let again = |error: std::io::Error| Error::of(Status::AGAIN, error.to_string());
        let runtime = Builder::new_current_thread().enable_all().build().map_err(again)?;
        let (stop, stopped) = oneshot::channel();
        let handle = runtime.handle().clone();
        // The runtime is dropped on its thread, and with it all tasks; what methods gave to
        // `spawn_blocking` is waited for, because it runs code of this library.
        let run = move || {
            let _ = runtime.block_on(stopped);
        };
        let thread = std::thread::Builder::new().name(String::from("busbar-plugin")).spawn(run);
        Ok(Self { runtime: handle, stop, thread: thread.map_err(again)? })
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
