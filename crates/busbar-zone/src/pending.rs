//! Calls that were started and have not ended. A token is an index and a generation, so that one
//! that is completed twice, or was never given out, is known for what it is.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use busbar_abi::Status;

use crate::instance::Inside;
use crate::{Error, ErrorKind, Result, Stage};

/// Who is told of the ends of calls. Called from whatever thread a call ends on: it must not block,
/// and nothing of the zone may be waited for in it.
pub trait Completions: Send + Sync {
    /// The call that `operation` names has ended. `result` is borrowed.
    fn complete(&self, operation: u64, result: Result<&[u8]>);
}

/// Where the end of one call goes.
#[derive(Clone)]
pub(crate) struct Reply {
    pub(crate) sink: Arc<dyn Completions>,
    pub(crate) operation: u64,
}

/// A call that is inside its instance until it ends.
pub(crate) struct OpenCall {
    pub(crate) inside: Inside,
    pub(crate) reply: Reply,
}

impl OpenCall {
    /// With what the plugin says of it: `bytes` are the result, or the text of an error.
    pub(crate) fn end(self, status: Status, bytes: &[u8]) {
        match status {
            Status::OK => self.finish(Ok(bytes)),
            status if status.is_error() => {
                let text = String::from_utf8_lossy(bytes);
                let error = Error::of_status(status, Stage::Call, &text);
                self.finish(Err(self.inside.instance().judge(error)));
            }
            other => {
                let message = format!("it was completed with {other}, which is no end");
                self.finish(Err(Error::new(ErrorKind::Failed, Stage::Call, message)));
            }
        }
    }

    /// Told first, out then: whoever waits for the instance to be empty knows that all are told.
    pub(crate) fn finish(&self, result: Result<&[u8]>) {
        self.reply.sink.complete(self.reply.operation, result);
    }
}

#[derive(Default)]
pub(crate) struct Pending(Mutex<Slots>);

#[derive(Default)]
struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    call: Option<OpenCall>,
}

impl Pending {
    /// A token for `call`.
    pub(crate) fn insert(&self, call: OpenCall) -> u64 {
        let mut slots = self.lock();
        let index = slots.free.pop().unwrap_or_else(|| {
            slots.slots.push(Slot::default());
            u32::try_from(slots.slots.len() - 1).expect("invariant: no queue is that long")
        });
        let slot = &mut slots.slots[index as usize];
        slot.call = Some(call);
        u64::from(slot.generation) << 32 | u64::from(index)
    }

    /// The call of a token, for whoever asks first.
    pub(crate) fn take(&self, token: u64) -> Option<OpenCall> {
        let (index, generation) = (token as u32, (token >> 32) as u32);
        let mut slots = self.lock();
        let slot = slots.slots.get_mut(index as usize)?;
        let call = slot.call.take_if(|_| slot.generation == generation)?;
        slot.generation = slot.generation.wrapping_add(1);
        slots.free.push(index);
        Some(call)
    }

    /// All tokens there are.
    pub(crate) fn tokens(&self) -> Vec<u64> {
        let slots = self.lock();
        let open = slots.slots.iter().enumerate().filter(|(_, slot)| slot.call.is_some());
        open.map(|(index, slot)| u64::from(slot.generation) << 32 | index as u64).collect()
    }

    /// Ends all with `error`; how many there were.
    pub(crate) fn fail_all(&self, error: &Error) -> usize {
        let calls = self.tokens().into_iter().filter_map(|token| self.take(token));
        calls.map(|call| call.finish(Err(error.clone()))).count()
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
