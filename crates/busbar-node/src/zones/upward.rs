//! Functions of JavaScript that plugins call: from the environment's own thread on the spot, from
//! all others by way of the outbox, or of a call that this thread waits for.
//!
//! Plugins run on the environment's thread only within calls of JavaScript, so that calling back is
//! allowed there; what ends zones never runs on it.

use std::collections::{HashMap, VecDeque};
use std::ptr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use busbar_zone::{Answer, CallId, Completions, ErrorKind, MethodId, Parent, ParentCall, Zone};
use napi::sys;
use napi_derive::napi;

use super::Failure;
use super::outbox::{Outbox, Outcome};
use crate::raw;

/// What a plugin says to whoever loaded it.
#[napi(object, object_from_js = false)]
pub struct NativeUp {
    /// 0 a call, 1 nobody waits for it any more, 2 an object is released, 3 the plugin is down.
    pub kind: u32,
    /// Of the call, or the object; or the generation that is down. Below 2^53.
    pub number: f64,
    /// What is called, with the argument as the end's result.
    pub method: Option<String>,
}

/// The environment's side of all that goes up.
pub(super) struct Upward {
    thread: ThreadId,
    env: sys::napi_env,
    on_call: sys::napi_ref,
    /// `None` once the environment has ended.
    open: Mutex<Option<HashMap<u64, Answer>>>,
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

// SAFETY: `env` and `on_call` are used on `thread` only, which is looked at before.
unsafe impl Send for Upward {}
// SAFETY: as above.
unsafe impl Sync for Upward {}

/// What reaches the environment's thread while it waits for a call.
#[derive(Default)]
struct Waiting {
    /// Whose calls are waited for, the innermost last. What others ask is not waited for.
    zones: Vec<u32>,
    calls: VecDeque<Asked>,
    /// Of each call that is waited for, its end, once it is there.
    ends: HashMap<u64, Option<busbar_zone::Result<Vec<u8>>>>,
}

/// A call that JavaScript has not got yet.
struct Asked {
    lane: Arc<Lane>,
    method: String,
    input: Vec<u8>,
    answer: Answer,
    charge: Option<Charge>,
}

/// One zone's way into JavaScript.
struct Lane {
    outbox: Arc<Outbox>,
    /// What JavaScript knows its parent by.
    operation: u32,
    undelivered_bytes: AtomicUsize,
}

/// Bytes that wait for JavaScript until this is dropped.
pub(super) struct Charge(Arc<Lane>, usize);

impl Charge {
    fn new(lane: &Arc<Lane>, bytes: usize) -> Option<Self> {
        let before = lane.undelivered_bytes.fetch_add(bytes, Ordering::Relaxed);
        let charge = Self(Arc::clone(lane), bytes);
        (before == 0 || before + bytes <= UNDELIVERED_BYTES_MAX).then_some(charge)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.0.undelivered_bytes.fetch_sub(self.1, Ordering::Relaxed);
    }
}

impl Upward {
    /// On the thread of `env`.
    pub(super) fn new(env: sys::napi_env, on_call: sys::napi_value) -> Result<Self, Failure> {
        let on_call = raw::reference(env, on_call, false)
            .ok_or_else(|| Failure::io("keeping a function failed"))?;
        Ok(Self {
            thread: thread::current().id(),
            env,
            on_call,
            open: Mutex::new(Some(HashMap::new())),
            waiting: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// The environment has ended: nobody answers any more.
    pub(super) fn close(&self) {
        let open = lock(&self.open).take();
        for answer in open.into_iter().flatten().map(|(_, answer)| answer) {
            answer.fail(ErrorKind::Closed, GONE);
        }
    }

    pub(super) fn take(&self, id: u64) -> Option<Answer> {
        lock(&self.open).as_mut()?.remove(&id)
    }

    fn is_here(&self) -> bool {
        thread::current().id() == self.thread
    }

    /// Runs the function on this thread, which is the environment's, within a call of JavaScript.
    fn run(&self, asked: &Asked) -> Result<Vec<u8>, (ErrorKind, String)> {
        let env = self.env;
        let mut scope = ptr::null_mut();
        // SAFETY: on thread, within a call by Node; the out-pointer is a live local.
        unsafe { sys::napi_open_handle_scope(env, &raw mut scope) };
        let result = self.run_scoped(env, asked);
        // SAFETY: on thread; it was opened above, and all opened since are closed.
        unsafe { sys::napi_close_handle_scope(env, scope) };
        result
    }

    fn run_scoped(
        &self,
        env: sys::napi_env,
        asked: &Asked,
    ) -> Result<Vec<u8>, (ErrorKind, String)> {
        let gone = || (ErrorKind::Closed, GONE.to_owned());
        let function = raw::referenced(env, self.on_call).ok_or_else(gone)?;
        let arguments = [
            raw::number(env, asked.lane.operation.into()),
            raw::text(env, &asked.method),
            raw::buffer(env, &asked.input),
        ];
        let mut result = ptr::null_mut();
        let this = raw::undefined(env);
        // SAFETY: on thread; all values belong to `env`, the out-pointer is a live local.
        let status = unsafe {
            let (count, values) = (arguments.len(), arguments.as_ptr());
            sys::napi_call_function(env, this, function, count, values, &raw mut result)
        };
        if status != sys::Status::napi_ok {
            // It catches what functions throw: this is a stack without room, or the end.
            let mut thrown = ptr::null_mut();
            // SAFETY: on thread; the out-pointer is a live local.
            let cleared = unsafe { sys::napi_get_and_clear_last_exception(env, &raw mut thrown) };
            let is_thrown = cleared == sys::Status::napi_ok && !thrown.is_null();
            let failed = || (ErrorKind::Parent, String::from("JavaScript cannot run any deeper"));
            return Err(if is_thrown { failed() } else { gone() });
        }
        if let Some(bytes) = raw::bytes(env, result) {
            return Ok(bytes);
        }
        let [code, message] = [0, 1].map(|index| raw::string(env, element(env, result, index)));
        // An empty array of bytes has no memory, and is no failure.
        if code.is_empty() { Ok(Vec::new()) } else { Err((kind_of(&code), message)) }
    }

    fn run_and_answer(&self, asked: Asked) {
        match self.run(&asked) {
            Ok(bytes) => asked.answer.succeed(&bytes),
            Err((kind, message)) => asked.answer.fail(kind, &message),
        }
    }

    fn lock_waiting(&self) -> MutexGuard<'_, Waiting> {
        lock(&self.waiting)
    }

    /// Leaves a call to JavaScript, however it gets there.
    fn offer(&self, asked: Asked) {
        let mut waiting = self.lock_waiting();
        if !waiting.zones.contains(&asked.lane.operation) {
            drop(waiting);
            return self.post(asked);
        }
        // With the lock held: whoever cancels it from here on will find it.
        if !asked.answer.is_wanted() {
            return;
        }
        waiting.calls.push_back(asked);
        drop(waiting);
        self.changed.notify_all();
    }

    /// As [`Self::offer`], by way of the outbox.
    fn post(&self, asked: Asked) {
        let Asked { lane, method, input, answer, charge } = asked;
        let number = answer.id();
        let mut open = lock(&self.open);
        let Some(answers) = &mut *open else {
            drop(open);
            return answer.fail(ErrorKind::Closed, GONE);
        };
        // As above.
        if !answer.is_wanted() {
            return;
        }
        answers.insert(number, answer);
        let up = NativeUp { kind: CALL, number: number as f64, method: Some(method) };
        lane.outbox.push(lane.operation, Outcome::Up(up, input, charge));
    }

    /// Nobody waits for a call any more; whether it is JavaScript that has to be told.
    fn forget(&self, lane: &Lane, id: u64) -> bool {
        let mut waiting = self.lock_waiting();
        let place = waiting.calls.iter().position(|asked| asked.answer.id() == id);
        let asked = place.and_then(|place| waiting.calls.remove(place));
        drop(waiting);
        asked.is_none() && self.take(id).is_some() && !lane.outbox.take_call_back(id as f64)
    }

    /// As [`Zone::call_waiting`] on the environment's thread, which runs meanwhile what the plugin
    /// calls whose parent has the number `zone_parent`.
    pub(super) fn call_waiting(
        self: &Arc<Self>,
        zone: &Zone,
        zone_parent: u32,
        method: MethodId,
        input: &[u8],
        timeout: Duration,
    ) -> busbar_zone::Result<Vec<u8>> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut waiting = self.lock_waiting();
        waiting.zones.push(zone_parent);
        waiting.ends.insert(number, None);
        drop(waiting);
        let deadline = Instant::now() + timeout;
        let sink: Arc<dyn Completions> = Arc::new(End(Arc::clone(self)));
        let submitted = zone.submit(method, input.to_vec(), sink, number);
        let outcome = submitted.and_then(|id| self.wait(zone, id, number, deadline));
        let mut waiting = self.lock_waiting();
        waiting.zones.pop();
        // One that ends after it was given up is nobody's.
        waiting.ends.remove(&number);
        let Waiting { zones, calls, .. } = &mut *waiting;
        let is_waited_for = |asked: &Asked| zones.contains(&asked.lane.operation);
        let (stay, left) = std::mem::take(calls).into_iter().partition(is_waited_for);
        *calls = stay;
        drop(waiting);
        let left: VecDeque<Asked> = left;
        left.into_iter().for_each(|asked| self.post(asked));
        outcome
    }

    fn wait(
        &self,
        zone: &Zone,
        id: CallId,
        number: u64,
        deadline: Instant,
    ) -> busbar_zone::Result<Vec<u8>> {
        let mut waiting = self.lock_waiting();
        loop {
            if let Some(end) = waiting.ends.get_mut(&number).and_then(Option::take) {
                return end;
            }
            // Before the calls: they may never stop to come.
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(waiting);
                return Err(zone.overdue(id));
            }
            if let Some(asked) = waiting.calls.pop_front() {
                drop(waiting);
                self.run_and_answer(asked);
                waiting = self.lock_waiting();
                continue;
            }
            let waited = self.changed.wait_timeout(waiting, left);
            waiting = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Where the end of a call goes that the environment's thread waits for.
struct End(Arc<Upward>);

impl End {
    fn set(&self, operation: u64, result: busbar_zone::Result<Vec<u8>>) {
        if let Some(end) = self.0.lock_waiting().ends.get_mut(&operation) {
            *end = Some(result);
        }
        self.0.changed.notify_all();
    }
}

impl Completions for End {
    fn complete(&self, operation: u64, result: busbar_zone::Result<&[u8]>) {
        self.set(operation, result.map(<[u8]>::to_vec));
    }

    fn complete_owned(&self, operation: u64, result: Vec<u8>) {
        self.set(operation, Ok(result));
    }
}

/// The parent of one zone.
pub(super) struct JsParent {
    lane: Arc<Lane>,
    has_functions: bool,
}

impl JsParent {
    pub(super) fn new(outbox: Arc<Outbox>, operation: u32, has_functions: bool) -> Self {
        let lane = Lane { outbox, operation, undelivered_bytes: AtomicUsize::new(0) };
        Self { lane: Arc::new(lane), has_functions }
    }

    fn tell(&self, kind: u32, number: u64) {
        let up = NativeUp { kind, number: number as f64, method: None };
        self.lane.outbox.push(self.lane.operation, Outcome::Up(up, Vec::new(), None));
    }
}

impl Parent for JsParent {
    fn has_methods(&self) -> bool {
        self.has_functions
    }

    fn handle_call(&self, call: ParentCall<'_>) {
        let ParentCall { method, input, is_awaited, answer, .. } = call;
        let (upward, lane) = (self.lane.outbox.upward(), Arc::clone(&self.lane));
        let is_direct = is_awaited && upward.is_here();
        let charge = if is_direct { None } else { Charge::new(&lane, input.len()) };
        if charge.is_none() && !is_direct {
            let message = "arguments of 256 MiB wait for JavaScript";
            return answer.fail(ErrorKind::Again, message);
        }
        let (method, input) = (method.to_owned(), input.to_vec());
        let asked = Asked { lane, method, input, answer, charge };
        if is_direct { upward.run_and_answer(asked) } else { upward.offer(asked) }
    }

    fn handle_cancel(&self, id: u64) {
        if self.lane.outbox.upward().forget(&self.lane, id) {
            self.tell(1, id);
        }
    }

    fn handle_release(&self, object: u64) {
        self.tell(2, object);
    }

    fn handle_down(&self, generation: u32) {
        self.tell(3, generation.into());
    }
}

/// Codes that plugins are told apart.
pub(super) fn kind_of(code: &str) -> ErrorKind {
    match code {
        "ERR_METHOD_NOT_FOUND" => ErrorKind::MethodNotFound,
        "ERR_NOT_SUPPORTED" => ErrorKind::NotSupported,
        "ERR_AGAIN" => ErrorKind::Again,
        "ABORT_ERR" => ErrorKind::Cancelled,
        "ERR_TIMED_OUT" => ErrorKind::TimedOut,
        "ERR_OBJECT_STALE" => ErrorKind::Stale,
        _ => ErrorKind::Parent,
    }
}

/// The kind of a call.
pub(super) const CALL: u32 = 0;
/// Bytes of a zone's calls that JavaScript has not got yet, unless it is one alone.
const UNDELIVERED_BYTES_MAX: usize = 256 << 20;
const GONE: &str = "the environment of JavaScript has ended";

fn element(env: sys::napi_env, array: sys::napi_value, index: u32) -> sys::napi_value {
    let mut value = ptr::null_mut();
    // SAFETY: on thread; the out-pointer is a live local, which stays null for what is no array.
    unsafe { sys::napi_get_element(env, array, index, &raw mut value) };
    value
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
