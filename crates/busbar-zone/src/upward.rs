//! Calls that go up: from a plugin to whoever loaded its zone.
//!
//! ```text
//! start ──→ open ──answer──→ told, free
//!             │───cancel───→ told E_CANCELLED, free; the parent is told as well
//!             └───close────→ told E_CLOSED, free;    likewise
//! ```
//!
//! One of these for each instance: when it ends, its calls have ended, and the answers that are on
//! their way into the plugin are out of it again.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use busbar_abi::Status;

use crate::ErrorKind;
use crate::gate::Gate;
use crate::host::asked_by;
use crate::pool::while_waiting;

/// No instance has more calls of its parent that have not ended.
const OPEN_MAX: usize = 4096;
/// No instance has more objects of its parent.
const LENT_MAX: usize = 1 << 20;

/// Whoever loads a zone, as the zone's plugin sees it: methods by name, and objects by number.
///
/// In this process, all of it is called on whatever thread the plugin asks from, and may be called
/// on several at once; while it runs, the plugin's call waits, so that the zone cannot be closed in
/// it. For a plugin in a process of its
/// own it is called on the threads that zones share.
pub trait Parent: Send + Sync {
    /// Whether there is anything to call: what plugins call of a parent without, is refused.
    fn has_methods(&self) -> bool {
        true
    }

    /// The plugin calls. It waits for the answer, which may be given now, later, or elsewhere.
    fn handle_call(&self, call: ParentCall<'_>);

    /// Nobody waits any longer for the answer to the call with this id.
    fn handle_cancel(&self, id: u64) {
        let _ = id;
    }

    /// The plugin does not need an object any more that [`Zone::lend`](crate::Zone::lend) numbered,
    /// or has ended without saying so.
    fn handle_release(&self, object: u64) {
        let _ = object;
    }

    /// The plugin has numbered an object.
    #[doc(hidden)]
    fn handle_object(&self, object: u64) {
        let _ = object;
    }

    /// A generation of the plugin has ended without being asked to: it panicked, or its process
    /// crashed. Once for each that does.
    fn handle_down(&self, generation: u32) {
        let _ = generation;
    }
}

/// A call of a plugin's.
#[non_exhaustive]
pub struct ParentCall<'a> {
    /// What it calls.
    pub method: &'a str,
    /// Borrowed until the handler returns.
    pub input: &'a [u8],
    /// Whether the plugin's thread waits: if it is the handler's own, it has to answer at once.
    pub is_awaited: bool,
    /// Where its result goes. Dropped, it is a failure.
    pub answer: Answer,
}

/// Owed to a plugin that called.
pub struct Answer {
    upward: Arc<Upward>,
    id: u64,
}

impl Answer {
    /// Which call it is of; no two of a process have the same.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whether anybody still waits for it.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.upward.lock().calls.contains_key(&self.id)
    }

    /// The result. The plugin takes it on this thread.
    pub fn succeed(self, result: &[u8]) {
        self.upward.end(self.id, Status::OK, result);
    }

    /// A failure. Plugins are told the kinds that the contract knows; all others are
    /// [`ErrorKind::Parent`] to them.
    pub fn fail(self, kind: ErrorKind, message: &str) {
        self.upward.end(self.id, kind.to_status(), message.as_bytes());
    }

    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "for processes"))]
    pub(crate) fn end(self, status: Status, bytes: &[u8]) {
        self.upward.end(self.id, status, bytes);
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.upward.end(self.id, Status::PARENT, b"it was not answered");
    }
}

/// Who is told of the end of a call.
pub(crate) type Sink = Box<dyn FnOnce(Status, &[u8]) + Send>;

/// Where the end of a call goes that a thread waits for.
type Slot = (Mutex<Option<(Status, Vec<u8>)>>, Condvar);

/// Why a call was not started.
pub(crate) type Refused = (Status, &'static str);

/// One instance's way up.
#[derive(Default)]
pub(crate) struct Upward {
    /// Whose handlers may be called within calls of it; 0 if they never are.
    zone: u64,
    /// Each call is inside until its sink is through.
    gate: Gate,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    /// `None` once it is closed: instances are never freed, their parents are.
    parent: Option<Arc<dyn Parent>>,
    calls: HashMap<u64, Sink>,
    /// Objects of the parent's that the plugin has.
    lent: HashSet<u64>,
    /// Whether the parent knows alone what was lent.
    is_relay: bool,
    /// Whether the plugin is active.
    is_ready: bool,
}

impl Upward {
    pub(crate) fn new(zone: u64, parent: Option<Arc<dyn Parent>>) -> Arc<Self> {
        let (calls, lent) = Default::default();
        let open = Mutex::new(Open { parent, calls, lent, is_relay: false, is_ready: false });
        Arc::new(Self { zone, gate: Gate::default(), open })
    }

    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "for processes"))]
    pub(crate) fn has_methods(&self) -> bool {
        self.lock().parent.as_ref().is_some_and(|parent| parent.has_methods())
    }

    /// The plugin may call.
    pub(crate) fn set_ready(&self) {
        self.lock().is_ready = true;
    }

    /// The parent is in another process.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "for processes"))]
    pub(crate) fn set_relay(&self) {
        self.lock().is_relay = true;
    }

    /// Has `sink` told of the end of a call; it may be before this returns. `named` is told its id
    /// first.
    pub(crate) fn start(
        self: &Arc<Self>,
        method: &str,
        input: &[u8],
        is_awaited: bool,
        named: impl FnOnce(u64),
        sink: Sink,
    ) -> Result<(), Refused> {
        self.gate.enter().map_err(|_| CLOSED)?;
        let id = number();
        let parent = match self.add(id, sink) {
            Ok(parent) => parent,
            Err(refused) => {
                self.gate.leave();
                return Err(refused);
            }
        };
        named(id);
        let answer = Answer { upward: Arc::clone(self), id };
        let call = ParentCall { method, input, is_awaited, answer };
        asked_by(self.zone, || parent.handle_call(call));
        Ok(())
    }

    fn add(&self, id: u64, sink: Sink) -> Result<Arc<dyn Parent>, Refused> {
        let mut open = self.lock();
        // Whoever closes it ends afterwards what is open.
        if self.gate.is_closed() { Err(CLOSED) } else { open.add(id, sink) }
    }

    /// Waits for the end of a call on this thread.
    pub(crate) fn call(
        self: &Arc<Self>,
        method: &str,
        input: &[u8],
        timeout: Duration,
    ) -> (Status, Vec<u8>) {
        let slot = Arc::<Slot>::default();
        let end = Arc::clone(&slot);
        let sink: Sink = Box::new(move |status, bytes| {
            let mut slot = end.0.lock().unwrap_or_else(PoisonError::into_inner);
            *slot = Some((status, bytes.to_vec()));
            end.1.notify_all();
        });
        let mut id = 0;
        if let Err((status, text)) = self.start(method, input, true, |named| id = named, sink) {
            return (status, text.as_bytes().to_vec());
        }
        let wait = || self.wait(&slot, id, method, timeout);
        // Handlers that answer at once are not waited for.
        let is_ended = slot.0.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if is_ended { wait() } else { while_waiting(wait) }
    }

    fn wait(&self, slot: &Slot, id: u64, method: &str, timeout: Duration) -> (Status, Vec<u8>) {
        let deadline = Instant::now().checked_add(timeout);
        let mut ended = slot.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(end) = ended.take() {
                return end;
            }
            let left = deadline.map_or(timeout, |it| it.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                drop(ended);
                let text = format!("{method} did not answer within {} ms", timeout.as_millis());
                self.give_up(id, Status::TIMEOUT, text.as_bytes());
                // Told by this or by whoever was faster, who may not be through yet.
                ended = slot.0.lock().unwrap_or_else(PoisonError::into_inner);
                while ended.is_none() {
                    ended = slot.1.wait(ended).unwrap_or_else(PoisonError::into_inner);
                }
                continue;
            }
            let waited = slot.1.wait_timeout(ended, left);
            ended = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends a call that nobody wants any more, and tells the parent so.
    pub(crate) fn give_up(&self, id: u64, status: Status, text: &[u8]) {
        let parent = self.lock().parent.clone();
        if self.end(id, status, text)
            && let Some(parent) = parent
        {
            parent.handle_cancel(id);
        }
    }

    /// Whether it had not ended before.
    fn end(&self, id: u64, status: Status, bytes: &[u8]) -> bool {
        let Some(sink) = self.lock().calls.remove(&id) else { return false };
        let _leave = Leave(&self.gate);
        sink(status, bytes);
        true
    }

    /// Ends all calls there are.
    pub(crate) fn fail_all(&self, status: Status, text: &str) {
        let ids: Vec<_> = self.lock().calls.keys().copied().collect();
        for id in ids {
            self.give_up(id, status, text.as_bytes());
        }
    }

    /// A number for an object of the parent's; `None` if there are too many, or the plugin ends.
    pub(crate) fn lend(&self) -> Option<u64> {
        let mut open = self.lock();
        if open.parent.is_none() || open.lent.len() >= LENT_MAX {
            return None;
        }
        let object = number();
        open.lent.insert(object);
        Some(object)
    }

    /// The plugin does not need an object any more; whether it had it.
    pub(crate) fn release(&self, object: u64) -> bool {
        let mut open = self.lock();
        let had = open.lent.remove(&object) || open.is_relay;
        let parent = open.parent.clone();
        drop(open);
        match parent {
            Some(parent) if had => {
                parent.handle_release(object);
                true
            }
            _ => false,
        }
    }

    /// An object is lent no longer, though the plugin has not said so; whether it had it.
    pub(crate) fn forget(&self, object: u64) -> bool {
        self.lock().lent.remove(&object)
    }

    /// Takes back all that was lent.
    pub(crate) fn release_all(&self) {
        let mut open = self.lock();
        let lent = std::mem::take(&mut open.lent);
        let parent = open.parent.clone();
        drop(open);
        for object in lent {
            if let Some(parent) = &parent {
                parent.handle_release(object);
            }
        }
    }

    /// For parents that know of objects on their own.
    pub(crate) fn tell_object(&self, object: u64) {
        let parent = self.lock().parent.clone();
        if let Some(parent) = parent {
            parent.handle_object(object);
        }
    }

    /// The generation that has this is down.
    pub(crate) fn tell_down(&self, generation: u32) {
        let parent = self.lock().parent.clone();
        if let Some(parent) = parent {
            // What is told may be anybody's code.
            let told = std::panic::AssertUnwindSafe(|| parent.handle_down(generation));
            let _ = std::panic::catch_unwind(told);
        }
    }

    /// There are no more calls; all that there are end.
    pub(crate) fn close(&self) {
        self.gate.close();
        self.fail_all(CLOSED.0, CLOSED.1);
    }

    /// As [`Self::close`]; whether all answers are out of the plugin, and nothing of it is here.
    pub(crate) fn end_all(&self, deadline: Instant) -> bool {
        self.close();
        let is_empty = self.gate.wait_empty(deadline);
        self.release_all();
        self.lock().parent = None;
        is_empty
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn add(&mut self, id: u64, sink: Sink) -> Result<Arc<dyn Parent>, Refused> {
        let Some(parent) = self.parent.as_ref().filter(|it| it.has_methods()) else {
            return Err(NOTHING_EXPOSED);
        };
        if !self.is_ready {
            return Err((Status::AGAIN, "the plugin is not active yet"));
        }
        if self.calls.len() >= OPEN_MAX {
            return Err((Status::AGAIN, "4096 calls of the parent have not ended"));
        }
        self.calls.insert(id, sink);
        Ok(Arc::clone(parent))
    }
}

pub(crate) const NOTHING_EXPOSED: Refused =
    (Status::UNSUPPORTED, "whoever loaded the zone lets it call nothing");
const CLOSED: Refused = (Status::CLOSED, "the zone is closed");

/// That no other call, or object, of this process has or had.
fn number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

struct Leave<'a>(&'a Gate);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}
