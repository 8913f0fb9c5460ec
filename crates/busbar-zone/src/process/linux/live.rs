//! What callers and the supervisor of a plugin's process share: the calls under way, the line while
//! there is a process, and whoever waits.
//!
//! One lock, held for as long as it takes to copy a message, or while somebody looks for an answer
//! for some microseconds. Nobody is told of an end while it is held.

use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use busbar_abi::Status;
use busbar_shm::{Breach, Received};

use super::ProcessStatus;
use super::calls::{Calls, InFlight};
use super::line::{Line, ring};
use super::upcalls::Upcalls;
use super::wire::{AWAKE, Bound, HEAD, MESSAGE_BYTES_MAX, answer, call_head, order, read_error};
use super::wire::{CALL_HEAD, split_call, split_head, split_parent_call, state_head};
use crate::pending::{CallId, Pending, closed};
use crate::queue::WAITING_MAX;
use crate::{Error, ErrorKind, Parent, Result, Stage, deadline};

/// Messages that are taken at a time.
const MESSAGES: usize = 64;
/// Room for what of them is small.
const BUFFER_BYTES: usize = 64 << 10;
/// Answers that wait until the process reads: more than it can have asked for without reading.
const ANSWERS_MAX: usize = 16 << 10;
/// Bytes of such answers, unless it is one alone.
const ANSWERS_BYTES_MAX: usize = 256 << 20;

pub(super) struct Shared {
    /// What the library says of itself; there from the first start on.
    pub(super) bound: OnceLock<Bound>,
    /// The zone's calls, in which all of them end.
    pub(super) pending: Arc<Pending>,
    pub(super) live: Mutex<Live>,
    /// The phase is another one.
    pub(super) changed: Condvar,
    /// Whether calls are to be timed.
    pub(super) is_timed: bool,
    /// What goes the other way.
    pub(super) upcalls: Upcalls,
    pub(super) this: Weak<Self>,
    /// Which generation of the zone's plugin it is, from 1.
    pub(super) generation: u32,
    /// Of each of the zone's methods, what the plugin numbers it.
    pub(super) targets: OnceLock<Vec<Option<u32>>>,
    /// How often a process of the zone was started.
    starts: Arc<AtomicU32>,
    /// Who is told of a crash, as long as it is young.
    pub(super) probation: Mutex<Option<Probation>>,
}

/// What is done if a generation crashes until this moment.
pub(super) struct Probation {
    pub(super) ends: Instant,
    pub(super) roll_back: Box<dyn FnOnce() + Send>,
}

/// Where the process is in its life.
pub(super) enum Phase {
    /// It starts. Calls wait for it.
    Starting,
    Running,
    /// It crashed, and is to be started again. Calls wait for it.
    Resting,
    /// It crashed too often.
    GivenUp(Error),
    /// It was closed, and is gone.
    Ended,
}

pub(super) struct Live {
    pub(super) phase: Phase,
    /// Which process of the zone's it is, from 1.
    pub(super) generation: u32,
    pub(super) line: Option<Line>,
    /// The supervisor's.
    pub(super) bell: Option<Arc<OwnedFd>>,
    pub(super) pidfd: Option<Arc<OwnedFd>>,
    pub(super) calls: Calls,
    /// How many callers look for answers themselves.
    pub(super) spinners: u32,
    /// Why the process has to go.
    pub(super) broken: Option<String>,
    pub(super) is_closing: bool,
    /// Whether calls wait, although there is a process: it has to be given state first.
    pub(super) is_held: bool,
    /// Its process is being ended: calls wait for the next.
    pub(super) is_doomed: bool,
    pub(super) has_state: bool,
    /// The last request for state that there was, from 1, and whether somebody waits for it.
    request: (u64, bool),
    /// What it said of that one.
    state: Option<Result<(u64, Vec<u8>)>>,
    /// What the plugin's own end came to.
    pub(super) closed: Option<Result<()>>,
    pub(super) status: ProcessStatus,
}

/// What was received, until whom it concerns is told.
#[derive(Default)]
pub(super) struct Batch {
    buffer: Vec<u8>,
    messages: Vec<(u16, Received)>,
    ends: Vec<End>,
    /// Whose messages they are.
    generation: u32,
}

struct End {
    what: What,
    payload: Received,
}

enum What {
    Done(InFlight),
    Failed(InFlight),
    Log(u64),
    Closed,
    Call(u64),
    Cancel(u64),
    /// It was dealt with.
    Object,
    Release(u64),
    State(u64),
    NoState(u64),
}

impl Shared {
    pub(super) fn new(
        pending: Arc<Pending>,
        is_timed: bool,
        parent: Option<Arc<dyn Parent>>,
        generation: u32,
        starts: Arc<AtomicU32>,
    ) -> Arc<Self> {
        let status =
            ProcessStatus { pid: None, starts: 0, crashes: 0, retried: 0, last_crash: None };
        let live = Live {
            phase: Phase::Starting,
            generation: 0,
            line: None,
            bell: None,
            pidfd: None,
            calls: Calls::default(),
            spinners: 0,
            broken: None,
            is_closing: false,
            is_held: false,
            is_doomed: false,
            has_state: false,
            request: (0, false),
            state: None,
            closed: None,
            status,
        };
        Arc::new_cyclic(|this| Self {
            bound: OnceLock::new(),
            pending,
            live: Mutex::new(live),
            changed: Condvar::new(),
            is_timed,
            upcalls: Upcalls::new(parent),
            this: Weak::clone(this),
            generation,
            targets: OnceLock::new(),
            starts,
            probation: Mutex::default(),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn id(&self) -> &str {
        self.bound.get().map_or("", |bound| &bound.id)
    }

    pub(super) fn closed(&self) -> Error {
        self.say(closed())
    }

    /// `error` as one of this plugin.
    pub(super) fn say(&self, error: Error) -> Error {
        error.of_plugin(self.id(), self.generation)
    }

    /// `error` as one of a call of the method with this number.
    fn say_of(&self, error: Error, method: u32) -> Error {
        let error = self.say(error);
        let methods = self.bound.get().map_or(&[][..], |bound| &bound.methods);
        match self.target(method).and_then(|target| methods.get(target as usize)) {
            Some(method) => error.in_method(&method.name),
            None => error,
        }
    }

    /// What the plugin numbers a method of the zone's.
    pub(super) fn target(&self, method: u32) -> Option<u32> {
        *self.targets.get()?.get(method as usize)?
    }

    /// Another number for a process of the zone's.
    pub(super) fn count_start(&self) -> u32 {
        self.starts.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A number for [`Self::exchange`].
    pub(super) fn number_request(&self) -> u64 {
        let mut live = self.lock();
        live.request = (live.request.0 + 1, false);
        live.request.0
    }

    /// Has the process save or load state, and waits for what it says to this request.
    ///
    /// # Errors
    /// What the plugin says; `Crashed`, `TimedOut`, `Closed`.
    pub(super) fn exchange(
        &self,
        kind: u16,
        request: u64,
        number: u64,
        bytes: &[u8],
        patience: Duration,
    ) -> Result<(u64, Vec<u8>)> {
        let mut live = self.lock();
        (live.request, live.state) = ((request, true), None);
        live.order(kind, &state_head(request, number), bytes);
        let (mut live, state) = self.wait_for_state(live, patience);
        (live.request, live.state) = ((request, false), None);
        state
    }

    fn wait_for_state<'a>(
        &'a self,
        mut live: MutexGuard<'a, Live>,
        patience: Duration,
    ) -> (MutexGuard<'a, Live>, Result<(u64, Vec<u8>)>) {
        let deadline = deadline::after(patience);
        let generation = live.generation;
        let failed =
            |kind, message: &'static str| Err(self.say(Error::new(kind, Stage::Close, message)));
        loop {
            if let Some(state) = live.state.take() {
                return (live, state);
            }
            if live.is_closing {
                return (live, Err(self.closed()));
            }
            if live.line.is_none() || live.generation != generation {
                let message = "its process ended while state was handed over";
                return (live, failed(ErrorKind::Crashed, message));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let message = "it did not hand its state over in time";
                return (live, failed(ErrorKind::TimedOut, message));
            }
            live = self.wait(live, left);
        }
    }

    /// Calls go to the process from here on.
    pub(super) fn let_go(&self) {
        let mut live = self.lock();
        live.is_held = false;
        if live.takes_calls() {
            live.send_waiting(&self.pending, self.is_timed, self);
        }
    }

    /// The calls that no process has begun, for another one.
    pub(super) fn take_waiting(&self) -> Vec<InFlight> {
        self.lock().take_waiting()
    }

    /// Takes such calls over.
    pub(super) fn adopt(&self, calls: Vec<InFlight>) {
        let is_there = |call: &InFlight| self.target(call.method).is_some();
        let (calls, gone): (Vec<_>, Vec<_>) = calls.into_iter().partition(is_there);
        for call in gone {
            let message = "the plugin that takes the place of another one has no such method";
            let error = Error::new(ErrorKind::MethodNotFound, Stage::Call, message);
            self.end(&call, Err(error));
        }
        let mut live = self.lock();
        for call in calls {
            live.calls.insert(call);
        }
        if live.takes_calls() {
            live.send_waiting(&self.pending, self.is_timed, self);
        }
    }

    /// Takes over a call. With `is_waiting` its caller looks for the answer itself, until it says
    /// [`Self::rest`].
    pub(super) fn enter(
        &self,
        mut call: InFlight,
        input: Argument<'_>,
        is_waiting: bool,
    ) -> Result<()> {
        let length = input.bytes().len();
        if length > MESSAGE_BYTES_MAX - CALL_HEAD {
            let message = format!("an argument of {length} bytes; 1 GiB is the most");
            let error = Error::new(ErrorKind::InvalidArgument, Stage::Call, message);
            return Err(self.say_of(error, call.method));
        }
        let mut live = self.lock();
        match &live.phase {
            Phase::GivenUp(error) => return Err(error.clone()),
            Phase::Ended => return Err(self.closed()),
            _ if live.calls.len() >= WAITING_MAX => {
                let message = format!("{WAITING_MAX} calls of the zone wait for its process");
                let error = Error::new(ErrorKind::Again, Stage::Call, message);
                return Err(self.say_of(error, call.method));
            }
            _ => {}
        }
        if live.takes_calls() {
            // Nobody can have given it up yet: its number is not known.
            self.pending.attach(call.id, None);
            let may_retry = call.may_retry;
            let token = live.calls.insert(call);
            live.send(token, input.bytes(), self.is_timed, self);
            if may_retry && let Some(call) = live.calls.find(token) {
                call.input = Some(input.into_bytes());
            }
        } else {
            call.input = Some(input.into_bytes());
            live.calls.insert(call);
        }
        if is_waiting {
            live.attend();
        }
        Ok(())
    }

    /// Takes messages, and tells whom they concern; how many there were.
    pub(super) fn pump(&self) -> usize {
        self.pump_from(self.lock())
    }

    /// As [`Self::pump`], looking until there is something, but not long.
    pub(super) fn pump_awake(&self, looks: u32) -> usize {
        let mut live = self.lock();
        let Some(line) = &mut live.line else { return 0 };
        if line.look(looks) { self.pump_from(live) } else { 0 }
    }

    fn pump_from(&self, mut live: MutexGuard<'_, Live>) -> usize {
        thread_local!(static BATCH: Cell<Option<Batch>> = const { Cell::new(None) });
        let mut batch = BATCH.take().unwrap_or_default();
        batch.buffer.resize(BUFFER_BYTES, 0);
        live.take(&mut batch, &self.upcalls);
        drop(live);
        let count = batch.ends.len();
        if count > 0 {
            self.tell(&mut batch);
        }
        BATCH.set(Some(batch));
        count
    }

    /// Somebody looks for answers until they [`Self::rest`].
    pub(super) fn attend(&self) {
        self.lock().attend();
    }

    /// Somebody does not look for answers any longer.
    pub(super) fn rest(&self) {
        self.lock().rest();
    }

    /// As [`Self::rest`], for a caller that sleeps until its call has ended. Whoever looks besides
    /// may be this very thread, which cannot: the answer has to wake the supervisor.
    pub(super) fn sleep_on(&self, id: CallId) {
        let mut live = self.lock();
        live.calls.sleep_on(id);
        live.rest();
    }

    /// Asks the plugin to end a call that was sent; one that was not, because its process is gone,
    /// ends here.
    pub(super) fn cancel(&self, id: CallId) {
        let mut live = self.lock();
        let Some(token) = live.calls.token_of(id) else { return };
        let is_sent = live.calls.find(token).is_some_and(|call| call.is_sent);
        if is_sent {
            live.order(order::CANCEL, &token.to_le_bytes(), &[]);
            return;
        }
        let call = live.calls.take(token);
        drop(live);
        if let Some(call) = call {
            self.end(&call, Err(self.closed()));
        }
    }

    /// Tells whom messages concern. Large ones lie in memory that the process can change: they are
    /// copied before anybody else looks at them.
    fn tell(&self, batch: &mut Batch) {
        let Batch { buffer, ends, generation, .. } = batch;
        let (generation, upcalls) = (*generation, &self.upcalls);
        let (mut has_leases, mut is_state) = (false, false);
        for End { what, payload } in ends.drain(..) {
            let message = match &payload {
                Received::Inline { start, len } => &buffer[*start..start + len],
                Received::Lease(lease) => lease,
                Received::Owned(bytes) => bytes,
            };
            has_leases |= matches!(payload, Received::Lease(_));
            let bytes = &message[HEAD..];
            is_state |= matches!(what, What::State(_) | What::NoState(_));
            match what {
                What::Done(call) if matches!(payload, Received::Lease(_)) => {
                    let result = bytes.to_vec();
                    guard_told(|| self.pending.end_owned(call.id, result));
                }
                What::Done(call) => self.end(&call, Ok(bytes)),
                What::Failed(call) => self.end(&call, Err(self.said(bytes))),
                What::Log(level) => self.log(level, bytes),
                What::Closed => {
                    let closed = if bytes.is_empty() { Ok(()) } else { Err(self.said(bytes)) };
                    self.lock().closed = Some(closed);
                }
                What::Call(id) => upcalls.handle_call(self, generation, id, bytes),
                What::Cancel(id) => upcalls.handle_cancel(generation, id),
                What::Object => {}
                What::State(request) => self.take_state(request, || {
                    let (hash, state) = split_head(bytes).ok_or_else(|| self.said(&[]))?;
                    Ok((hash, state.to_vec()))
                }),
                What::NoState(request) => self.take_state(request, || Err(self.said(bytes))),
                What::Release(object) => {
                    upcalls.upward.release(object);
                }
            }
        }
        if is_state {
            self.changed.notify_all();
        }
        if has_leases && let Some(line) = &mut self.lock().line {
            // A breach is found again by whoever looks next.
            let _ = line.collect();
        }
    }

    /// What the process says of state; of no use if it is late.
    fn take_state(&self, request: u64, state: impl FnOnce() -> Result<(u64, Vec<u8>)>) {
        let mut live = self.lock();
        if live.request == (request, true) {
            live.state = Some(state());
        }
    }

    /// Tells of the end of a call.
    pub(super) fn end(&self, call: &InFlight, result: Result<&[u8]>) {
        let is_panic = result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Panic);
        let result = result.map_err(|error| self.say_of(error, call.method));
        guard_told(|| {
            self.pending.end(call.id, None, result);
        });
        if is_panic {
            self.lock().give_up("it panicked");
        }
    }

    fn said(&self, text: &[u8]) -> Error {
        let text = text.to_vec();
        read_error(&text).unwrap_or_else(|| {
            let message = "its process says what is no error";
            Error::new(ErrorKind::Internal, Stage::Call, message)
        })
    }

    fn log(&self, level: u64, text: &[u8]) {
        let level = match level {
            1 => log::Level::Error,
            2 => log::Level::Warn,
            3 => log::Level::Info,
            4 => log::Level::Debug,
            _ => log::Level::Trace,
        };
        let text = text.to_vec();
        let text = String::from_utf8_lossy(&text);
        log::log!(target: "busbar::plugin", level, "{text}");
    }

    /// Waits for another phase, `patience` at most.
    pub(super) fn wait<'a>(
        &self,
        live: MutexGuard<'a, Live>,
        patience: Duration,
    ) -> MutexGuard<'a, Live> {
        self.changed.wait_timeout(live, patience).unwrap_or_else(PoisonError::into_inner).0
    }
}

/// What is told may be anybody's code.
fn guard_told(tell: impl FnOnce()) {
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(tell)).is_err() {
        log::error!(target: "busbar::zone", "who was told of the end of a call panicked");
    }
}

/// The argument of a call: the caller's, or taken over.
pub(super) enum Argument<'a> {
    Borrowed(&'a [u8]),
    Owned(Vec<u8>),
}

impl Argument<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }

    fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Borrowed(bytes) => bytes.to_vec(),
            Self::Owned(bytes) => bytes,
        }
    }
}

impl Live {
    /// Whether there is a process that calls may be sent to.
    pub(super) fn takes_calls(&self) -> bool {
        self.line.is_some() && !self.is_held && !self.is_doomed
    }

    /// Hands a call to the process.
    fn send(&mut self, token: u64, input: &[u8], is_timed: bool, shared: &Shared) {
        let Some(call) = self.calls.find(token) else { return };
        let Some(target) = shared.target(call.method) else { return };
        call.is_sent = true;
        if is_timed {
            call.since = Some(Instant::now());
        }
        let awake = if self.spinners > 0 { AWAKE } else { 0 };
        let head = call_head(token, target, call.flags | awake);
        self.order(order::CALL, &head, input);
    }

    pub(super) fn order(&mut self, kind: u16, head: &[u8], body: &[u8]) {
        let Some(line) = &mut self.line else { return };
        match line.send(kind, head, body) {
            // Whoever sleeps does not know that it waits for room.
            Ok(()) if line.has_backlog() => self.wake(),
            Ok(()) => {}
            Err(breach) => self.breach(breach),
        }
    }

    /// Hands over what has waited for a process, in order.
    pub(super) fn send_waiting(&mut self, pending: &Pending, is_timed: bool, shared: &Shared) {
        for token in self.calls.tokens() {
            let Some(call) = self.calls.find(token).filter(|call| !call.is_sent) else { continue };
            let id = call.id;
            if !pending.attach(id, None) || pending.is_given_up(id) {
                // Nobody wants it any more, nor is anybody told.
                self.calls.take(token);
                pending.end(id, None, Ok(&[]));
                continue;
            }
            let Some(input) = call.input.take() else { continue };
            let may_retry = call.may_retry;
            self.send(token, &input, is_timed, shared);
            if may_retry && let Some(call) = self.calls.find(token) {
                call.input = Some(input);
            }
        }
    }

    fn take(&mut self, batch: &mut Batch, upcalls: &Upcalls) {
        let Some(line) = &mut self.line else { return };
        let Batch { buffer, messages, ends, generation } = batch;
        *generation = self.generation;
        let calls = &mut self.calls;
        let received = line.flush().and_then(|()| {
            line.receive(buffer, MESSAGES, |kind, payload| messages.push((kind, payload)))
        });
        let mut wrong = None;
        for (kind, payload) in messages.drain(..) {
            let message: &[u8] = match &payload {
                Received::Inline { start, len } => &buffer[*start..start + len],
                Received::Lease(lease) => lease,
                Received::Owned(bytes) => bytes,
            };
            let what = split_head(message).and_then(|(number, body)| match kind {
                answer::DONE => calls.take(number).map(What::Done),
                answer::FAILED => calls.take(number).map(What::Failed),
                answer::LOG => Some(What::Log(number)),
                answer::CLOSED => Some(What::Closed),
                answer::CALL => split_parent_call(body).map(|_| What::Call(number)),
                answer::CANCEL => Some(What::Cancel(number)),
                // Now: whoever takes the next batch may hold it at once.
                answer::OBJECT if upcalls.handle_object(*generation, number) => Some(What::Object),
                answer::RELEASE => Some(What::Release(number)),
                answer::STATE => Some(What::State(number)),
                answer::NO_STATE => Some(What::NoState(number)),
                _ => None,
            });
            match what {
                Some(what) => ends.push(End { what, payload }),
                None if kind == answer::OBJECT => {
                    wrong = Some("it numbered an object that cannot be");
                }
                None => wrong = Some("it answered what nobody had asked"),
            }
        }
        match received {
            Err(breach) => self.breach(breach),
            Ok(()) => wrong.into_iter().for_each(|what| self.give_up(what)),
        }
    }

    /// Answers a call of the process, which may be so slow to read that there is no room for more.
    pub(super) fn answer(&mut self, id: u64, status: Status, bytes: &[u8]) {
        let Some(line) = &self.line else { return };
        let (count, waiting) = line.waiting(order::ANSWER);
        if count >= ANSWERS_MAX {
            return self.give_up("it does not read what it is sent");
        }
        let (status, bytes) = if bytes.len() > MESSAGE_BYTES_MAX - CALL_HEAD {
            (Status::PARENT, &b"a result of more than 1 GiB"[..])
        } else if waiting > 0 && waiting + bytes.len() > ANSWERS_BYTES_MAX {
            (Status::AGAIN, &b"results of 256 MiB wait for the plugin to read them"[..])
        } else {
            (status, bytes)
        };
        let head = call_head(id, status.0.cast_unsigned(), 0);
        self.order(order::ANSWER, &head, bytes);
    }

    fn breach(&mut self, breach: Breach) {
        self.give_up(&format!("it {}", breach.as_str()));
    }

    /// The process has to go, for this reason.
    pub(super) fn give_up(&mut self, reason: &str) {
        if self.broken.is_none() {
            self.broken = Some(reason.to_owned());
            self.wake();
        }
    }

    /// The supervisor looks what there is to do.
    pub(super) fn wake(&self) {
        if let Some(bell) = &self.bell {
            ring(bell);
        }
    }

    /// Somebody looks: nobody has to be woken.
    pub(super) fn awake(&mut self) {
        if let Some(line) = &mut self.line {
            line.unpark();
        }
    }

    /// Whether others look for whatever comes, so that nobody has to be woken.
    pub(super) fn is_watched(&self) -> bool {
        self.spinners > 0 && !self.calls.are_slept_on()
    }

    fn attend(&mut self) {
        self.spinners += 1;
        if self.is_watched() {
            self.awake();
        }
    }

    fn rest(&mut self) {
        self.spinners -= 1;
        if !self.is_watched() && self.line.as_mut().is_some_and(|line| !line.park()) {
            self.wake();
        }
    }

    /// Ends the process as it is.
    pub(super) fn kill(&mut self) {
        self.is_doomed = true;
        if let Some(pidfd) = &self.pidfd {
            // It may have ended meanwhile.
            let _ = rustix::process::pidfd_send_signal(pidfd, rustix::process::Signal::KILL);
        }
    }

    /// There is no process any more. What it cannot have begun, and what may be done twice, stays;
    /// everybody else is returned.
    pub(super) fn part(&mut self) -> Vec<InFlight> {
        let backlog = self.line.take().map(|mut line| line.take_backlog()).unwrap_or_default();
        for frame in backlog.iter().filter(|frame| frame.kind == order::CALL) {
            let Some((token, _, _, input)) = split_call(&frame.bytes) else { continue };
            if let Some(call) = self.calls.find(token) {
                (call.is_sent, call.input) = (false, Some(input.to_vec()));
            }
        }
        (self.bell, self.pidfd, self.broken) = (None, None, None);
        self.status.pid = None;
        let mut ended = Vec::new();
        for token in self.calls.tokens() {
            let Some(call) = self.calls.find(token) else { continue };
            call.since = None;
            if call.is_sent && call.may_retry && call.input.is_some() {
                (call.is_sent, call.may_retry) = (false, false);
                self.status.retried += 1;
            }
            if call.is_sent {
                ended.extend(self.calls.take(token));
            }
        }
        ended
    }

    fn take_waiting(&mut self) -> Vec<InFlight> {
        let tokens = self.calls.tokens();
        let is_waiting =
            |calls: &mut Calls, token| calls.find(token).is_some_and(|call| !call.is_sent);
        let waiting: Vec<_> =
            tokens.into_iter().filter(|token| is_waiting(&mut self.calls, *token)).collect();
        waiting.into_iter().filter_map(|token| self.calls.take(token)).collect()
    }

    /// Everybody who still waits.
    pub(super) fn take_all(&mut self) -> Vec<InFlight> {
        let tokens = self.calls.tokens();
        tokens.into_iter().filter_map(|token| self.calls.take(token)).collect()
    }
}
