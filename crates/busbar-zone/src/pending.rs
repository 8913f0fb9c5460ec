//! The calls of a zone that were accepted and have not ended, whichever generation of its plugin
//! runs them.
//!
//! ```text
//! open ──→ waiting ──attach──→ running ──end──→ told, free
//!             │                   └─give_up──→ told, running for nobody ──end──→ late, free
//!             └─────────────────────give_up──→ told, free
//! ```
//!
//! A token is an index and a generation, so that one that is completed twice, late or never given
//! out is known for what it is. Each call is told of once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use busbar_abi::Status;

use crate::gate::Gate;
use crate::host::Core;
use crate::instance::Inside;
use crate::sync::{Mutex, MutexGuard};
use crate::{Error, ErrorKind, Result, Stage};

/// No zone has more calls that have not ended.
pub(crate) const OPEN_MAX: usize = 1 << 16;
const INDEX_BITS: u32 = 16;

/// Who is told of the ends of calls. Called from whatever thread a call ends on: it must not block,
/// and nothing of the zone may be waited for in it.
pub trait Completions: Send + Sync {
    /// The call that `operation` names has ended. `result` is borrowed.
    fn complete(&self, operation: u64, result: Result<&[u8]>);

    /// As [`Self::complete`], with a result that is this one's to keep.
    fn complete_owned(&self, operation: u64, result: Vec<u8>) {
        self.complete(operation, Ok(&result));
    }
}

/// A call of a zone, from [`Zone::submit`](crate::Zone::submit) on. Below 2^48.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallId(u64);

impl CallId {
    /// As a number, for other languages and processes.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }

    /// From [`Self::number`]. One that no zone gave names nothing.
    #[must_use]
    pub fn from_number(number: u64) -> Self {
        Self(number)
    }

    fn new(index: usize, generation: u32) -> Self {
        Self(u64::from(generation) << INDEX_BITS | index as u64)
    }

    fn parts(self) -> (usize, u64) {
        ((self.0 & (OPEN_MAX as u64 - 1)) as usize, self.0 >> INDEX_BITS)
    }
}

/// Where the end of one call goes.
#[derive(Clone)]
pub(crate) struct Reply {
    pub(crate) sink: Arc<dyn Completions>,
    pub(crate) operation: u64,
}

/// The open calls of a zone.
#[derive(Default)]
pub(crate) struct Pending {
    /// Each open call is inside.
    gate: Gate,
    slots: Mutex<Slots>,
    /// Ends that nobody waited for any more.
    late: AtomicU64,
}

#[derive(Default)]
struct Slots {
    slots: Vec<Slot>,
    free: Vec<u16>,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    call: Option<Open>,
}

struct Open {
    /// `None` once it was told of.
    reply: Option<Reply>,
    /// `None` while it waits, and in other processes.
    inside: Option<Inside>,
    is_running: bool,
    /// For errors.
    method: u32,
}

/// What [`Pending::give_up`] found.
pub(crate) enum GivenUp {
    /// It has ended, or was given up before.
    Nothing,
    /// It was not started, and will not be.
    Waiting,
    /// It goes on: inside an instance, which cannot end as long as this is there, or elsewhere.
    Running(Option<Inside>),
}

impl Pending {
    /// A new call.
    ///
    /// # Errors
    /// `Closed`; `Again` if there are too many.
    pub(crate) fn open(&self, method: u32, reply: Reply) -> Result<CallId> {
        self.gate.enter().map_err(|_| closed())?;
        let mut slots = self.lock();
        let index = match slots.free.pop() {
            Some(index) => usize::from(index),
            None if slots.slots.len() < OPEN_MAX => {
                slots.slots.push(Slot::default());
                slots.slots.len() - 1
            }
            None => {
                drop(slots);
                self.gate.leave();
                let message = format!("{OPEN_MAX} calls of the zone have not ended");
                return Err(Error::new(ErrorKind::Again, Stage::Call, message));
            }
        };
        let slot = &mut slots.slots[index];
        slot.call = Some(Open { reply: Some(reply), inside: None, is_running: false, method });
        Ok(CallId::new(index, slot.generation))
    }

    /// A new call, which `send` has run and end later; if it cannot, nobody is told.
    ///
    /// # Errors
    /// As [`Self::open`], and what `send` says. Not what it says of a call that was ended
    /// meanwhile, as the zone closes: that was told of.
    pub(crate) fn submit(
        &self,
        method: u32,
        reply: Reply,
        send: impl FnOnce(CallId) -> Result<()>,
    ) -> Result<CallId> {
        let id = self.open(method, reply)?;
        match send(id) {
            Err(error) if self.retract(id) => Err(error),
            _ => Ok(id),
        }
    }

    /// Takes a call back of whose end nobody was told; whether it is one.
    fn retract(&self, id: CallId) -> bool {
        let is_open = self.lock().take(id, None).is_some();
        if is_open {
            self.gate.leave();
        }
        is_open
    }

    /// The call starts, in `inside` or elsewhere; `false` if it was given up.
    pub(crate) fn attach(&self, id: CallId, inside: Option<Inside>) -> bool {
        let mut slots = self.lock();
        let Some(open) = slots.find(id) else {
            drop(slots);
            // Without the lock: `inside` is dropped here.
            return false;
        };
        (open.inside, open.is_running) = (inside, true);
        true
    }

    /// The call has ended; `false` if it had before, or is not `by`'s.
    pub(crate) fn end(&self, id: CallId, by: Option<&Core>, result: Result<&[u8]>) -> bool {
        let Some(ended) = self.take(id, by) else { return false };
        ended.tell(result);
        true
    }

    /// As [`Self::end`], with a result that goes to whoever is told.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "for processes"))]
    pub(crate) fn end_owned(&self, id: CallId, result: Vec<u8>) {
        if let Some(ended) = self.take(id, None) {
            ended.tell_by(|sink, operation| sink.complete_owned(operation, result));
        }
    }

    /// As [`Self::end`], with what a plugin says: `bytes` are the result, or an error's text.
    pub(crate) fn end_with(&self, id: CallId, by: &Core, status: Status, bytes: &[u8]) -> bool {
        let Some(ended) = self.take(id, Some(by)) else { return false };
        let is_closing = status == Status::CANCELLED && self.is_closed();
        let error = match status {
            Status::OK => None,
            _ if is_closing => Some(closed()),
            status if status.is_error() => {
                Some(Error::of_status(status, Stage::Call, &String::from_utf8_lossy(bytes)))
            }
            other => {
                let message = format!("it was completed with {other}, which is no end");
                Some(Error::new(ErrorKind::Failed, Stage::Call, message))
            }
        };
        let judged = error.map(|error| match &ended.inside {
            Some(inside) => {
                let instance = inside.instance();
                instance.say_of(instance.judge(error), ended.method)
            }
            None => error,
        });
        ended.tell(judged.map_or(Ok(bytes), Err));
        true
    }

    fn take(&self, id: CallId, by: Option<&Core>) -> Option<Ended<'_>> {
        let Open { reply, inside, method, .. } = self.lock().take(id, by)?;
        Some(Ended { reply, inside, table: Leave(self), method })
    }

    /// Tells with `error` whoever waits for the call.
    pub(crate) fn give_up(&self, id: CallId, error: Error) -> GivenUp {
        let mut slots = self.lock();
        let Some(open) = slots.find(id) else { return GivenUp::Nothing };
        let Some(reply) = open.reply.take() else { return GivenUp::Nothing };
        let found = if open.is_running {
            GivenUp::Running(open.inside.as_ref().map(Inside::again))
        } else {
            slots.take(id, None);
            GivenUp::Waiting
        };
        drop(slots);
        reply.sink.complete(reply.operation, Err(error));
        if matches!(found, GivenUp::Waiting) {
            self.gate.leave();
        }
        found
    }

    /// Whether the call runs for nobody.
    pub(crate) fn is_given_up(&self, id: CallId) -> bool {
        self.lock().find(id).is_some_and(|open| open.reply.is_none())
    }

    /// The call whose end is told of as that of `operation`.
    pub(crate) fn find_operation(&self, operation: u64) -> Option<CallId> {
        let is_it = |reply: &Reply| reply.operation == operation;
        self.ids(|open| open.reply.as_ref().is_some_and(is_it)).first().copied()
    }

    /// The calls that `instance` runs.
    pub(crate) fn running_in(&self, instance: &Core) -> Vec<CallId> {
        self.ids(|open| open.inside.as_ref().is_some_and(|it| it.is_of(instance)))
    }

    /// Ends all calls of `instance` or, without one, all there are; how many there were.
    pub(crate) fn fail_all(&self, instance: Option<&Core>, error: &Error) -> usize {
        let ids = match instance {
            Some(instance) => self.running_in(instance),
            None => self.ids(|_| true),
        };
        ids.into_iter().filter(|id| self.end(*id, instance, Err(error.clone()))).count()
    }

    /// Ends all calls that have not been started.
    pub(crate) fn fail_waiting(&self, error: &Error) {
        for id in self.ids(|open| !open.is_running) {
            self.end(id, None, Err(error.clone()));
        }
    }

    fn ids(&self, wanted: impl Fn(&Open) -> bool) -> Vec<CallId> {
        let slots = self.lock();
        let open = slots.slots.iter().enumerate();
        open.filter(|(_, slot)| slot.call.as_ref().is_some_and(&wanted))
            .map(|(index, slot)| CallId::new(index, slot.generation))
            .collect()
    }

    /// No more calls.
    pub(crate) fn close(&self) {
        self.gate.close();
    }

    /// Whether anybody waits for the end of a call.
    pub(crate) fn is_awaited(&self) -> bool {
        !self.ids(|open| open.reply.is_some()).is_empty()
    }

    /// Whether there will be no more calls.
    pub(crate) fn is_closed(&self) -> bool {
        self.gate.is_closed()
    }

    /// As [`Self::close`], if there are none; whether it is closed.
    pub(crate) fn close_if_empty(&self) -> bool {
        self.gate.close_if_empty()
    }

    /// There may be calls again.
    pub(crate) fn reopen(&self) {
        self.gate.reopen();
    }

    /// Waits until all calls of a closed table have ended; whether that came to be.
    pub(crate) fn wait_empty(&self, deadline: Instant) -> bool {
        self.gate.wait_empty(deadline)
    }

    /// How many calls there are.
    pub(crate) fn len(&self) -> usize {
        self.gate.inside()
    }

    /// How many calls ended after they were given up.
    pub(crate) fn late(&self) -> u64 {
        self.late.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that is out of the table. Told first, out then: whoever waits for the instance, or for
/// the table, to be empty knows that all are told.
struct Ended<'a> {
    reply: Option<Reply>,
    inside: Option<Inside>,
    table: Leave<'a>,
    method: u32,
}

impl Ended<'_> {
    fn tell(self, result: Result<&[u8]>) {
        self.tell_by(|sink, operation| sink.complete(operation, result));
    }

    fn tell_by(self, tell: impl FnOnce(&dyn Completions, u64)) {
        // Dropped in this order, whatever panics.
        let Self { reply, table, .. } = &self;
        match reply {
            Some(Reply { sink, operation }) => tell(&**sink, *operation),
            None => {
                table.0.late.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

struct Leave<'a>(&'a Pending);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.gate.leave();
    }
}

impl Slots {
    fn find(&mut self, id: CallId) -> Option<&mut Open> {
        let (index, generation) = id.parts();
        let slot = self.slots.get_mut(index)?;
        slot.call.as_mut().filter(|_| u64::from(slot.generation) == generation)
    }

    fn take(&mut self, id: CallId, by: Option<&Core>) -> Option<Open> {
        let (index, generation) = id.parts();
        let slot = self.slots.get_mut(index)?;
        let call = slot.call.take_if(|open| {
            let is_theirs = by.is_none_or(|it| open.inside.as_ref().is_some_and(|i| i.is_of(it)));
            u64::from(slot.generation) == generation && is_theirs
        })?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(index as u16);
        Some(call)
    }
}

pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, Stage::Call, "the zone is closed")
}
