//! The host's part in handing state over: apart from the thread that brings messages, one request
//! at a time, and only for as long as whoever asked waits for it.
//!
//! ```text
//! save ──→ saved, told: calls wait ──go on──→ they do not
//!   └──go on──→ given up: once it is saved, calls go on, and nobody is told
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::host::Answers;
use super::wire::{self, answer};
use crate::local::Local;

pub(super) struct HandOver {
    local: Arc<Local>,
    answers: Arc<Answers>,
    /// Held by the request that is dealt with.
    alone: Mutex<()>,
    progress: Mutex<Progress>,
}

/// By the numbers of requests, which count from 1.
#[derive(Default)]
struct Progress {
    /// The one whose state was told of, for which calls wait.
    saved: Option<u64>,
    /// That one, and all before it, nobody waits for.
    given_up: u64,
}

impl HandOver {
    pub(super) fn new(local: &Arc<Local>, answers: &Arc<Answers>) -> Arc<Self> {
        let (local, answers) = (Arc::clone(local), Arc::clone(answers));
        Arc::new(Self { local, answers, alone: Mutex::default(), progress: Mutex::default() })
    }

    pub(super) fn save(self: &Arc<Self>, request: u64, grace: Duration) {
        let this = Arc::clone(self);
        std::thread::spawn(move || {
            let _alone = this.alone.lock().unwrap_or_else(PoisonError::into_inner);
            if this.lock().given_up >= request {
                return;
            }
            let (bytes, hash) = match this.local.save(grace) {
                Ok(saved) => saved,
                Err(error) => {
                    let text = wire::error_text(&error);
                    return this.answers.send(answer::NO_STATE, request, &text);
                }
            };
            let mut progress = this.lock();
            if progress.given_up >= request {
                drop(progress);
                return this.local.go_on();
            }
            progress.saved = Some(request);
            drop(progress);
            this.tell(request, hash, &bytes);
        });
    }

    pub(super) fn load(self: &Arc<Self>, request: u64, hash: u64, bytes: Vec<u8>) {
        let this = Arc::clone(self);
        std::thread::spawn(move || {
            let _alone = this.alone.lock().unwrap_or_else(PoisonError::into_inner);
            match this.local.load(bytes, hash) {
                Ok(()) => this.tell(request, 0, &[]),
                Err(error) => {
                    this.answers.send(answer::NO_STATE, request, &wire::error_text(&error));
                }
            }
        });
    }

    /// Nobody wants the state of this request: calls go on, or will.
    pub(super) fn go_on(&self, request: u64) {
        let mut progress = self.lock();
        progress.given_up = progress.given_up.max(request);
        let is_waited_for = progress.saved.take_if(|saved| *saved <= request).is_some();
        drop(progress);
        if is_waited_for {
            self.local.go_on();
        }
    }

    fn tell(&self, request: u64, hash: u64, bytes: &[u8]) {
        self.answers.send_as(answer::STATE, &wire::state_head(request, hash), bytes);
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
