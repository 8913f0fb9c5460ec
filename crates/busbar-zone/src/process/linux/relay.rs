//! The parent of a plugin, as its host has it: what the plugin asks goes to the process that
//! started this one, and comes back from there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use busbar_abi::Status;

use super::host::Answers;
use super::wire::{self, HEAD, MESSAGE_BYTES_MAX, answer};
use crate::ErrorKind;
use crate::upward::{Answer, NOTHING_EXPOSED, Parent, ParentCall};

pub(super) struct Relay {
    answers: Arc<Answers>,
    /// Whether there is anybody to answer.
    has_parent: bool,
    open: Mutex<HashMap<u64, Answer>>,
}

impl Relay {
    pub(super) fn new(answers: &Arc<Answers>, has_parent: bool) -> Self {
        Self { answers: Arc::clone(answers), has_parent, open: Mutex::default() }
    }

    pub(super) fn has_parent(&self) -> bool {
        self.has_parent
    }

    /// One that nobody waits for any more is of no use.
    pub(super) fn answer(&self, id: u64, status: Status, bytes: &[u8]) {
        // Without the lock: the plugin may call again from there.
        let answer = self.lock().remove(&id);
        if let Some(answer) = answer {
            answer.end(status, bytes);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Answer>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Parent for Relay {
    fn handle_call(&self, call: ParentCall<'_>) {
        let ParentCall { method, input, answer, .. } = call;
        if !self.has_parent {
            return answer.end(NOTHING_EXPOSED.0, NOTHING_EXPOSED.1.as_bytes());
        }
        let body = wire::parent_call(method, input);
        if body.len() > MESSAGE_BYTES_MAX - HEAD {
            return answer.fail(ErrorKind::InvalidArgument, "an argument of more than 1 GiB");
        }
        let id = answer.id();
        self.lock().insert(id, answer);
        self.answers.send(answer::CALL, id, &body);
    }

    fn handle_cancel(&self, id: u64) {
        if self.lock().remove(&id).is_some() {
            self.answers.send(answer::CANCEL, id, &[]);
        }
    }

    fn handle_release(&self, object: u64) {
        self.answers.send(answer::RELEASE, object, &[]);
    }

    fn handle_object(&self, object: u64) {
        self.answers.send(answer::OBJECT, object, &[]);
    }
}
