//! What callers and the supervisor of a plugin's process share: the calls under way, the line while
//! there is a process, and whoever waits.
//!
//! One lock, held for as long as it takes to copy a message, or while somebody looks for an answer
//! for some microseconds. Nobody is told of an end while it is held.

use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use busbar_shm::{Breach, Received};

use super::ProcessStatus;
use super::calls::{Calls, InFlight};
use super::line::{Line, ring};
use super::wire::{Bound, HEAD, MESSAGE_BYTES_MAX, answer, call_head, order, read_error};
use super::wire::{CALL_HEAD, split_call, split_head};
use crate::gate::Gate;
use crate::pending::Reply;
use crate::pool::QUEUE;
use crate::{Error, ErrorKind, Result, Stage};

/// Messages that are taken at a time.
const MESSAGES: usize = 64;
/// Room for what of them is small.
const BUFFER_BYTES: usize = 64 << 10;

pub(super) struct Shared {
    pub(super) zone: u64,
    /// What the library says of itself; there from the first start on.
    pub(super) bound: OnceLock<Bound>,
    pub(super) gate: Gate,
    pub(super) live: Mutex<Live>,
    /// The phase is another one.
    pub(super) changed: Condvar,
    /// Whether calls are to be timed.
    pub(super) is_timed: bool,
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
}

struct End {
    what: What,
    payload: Received,
}

enum What {
    Done(Reply),
    Failed(Reply),
    Log(u64),
    Closed,
}

impl Shared {
    pub(super) fn new(zone: u64, is_timed: bool) -> Self {
        let status =
            ProcessStatus { pid: None, starts: 0, crashes: 0, retried: 0, last_crash: None };
        let live = Live {
            phase: Phase::Starting,
            line: None,
            bell: None,
            pidfd: None,
            calls: Calls::default(),
            spinners: 0,
            broken: None,
            is_closing: false,
            closed: None,
            status,
        };
        Self {
            zone,
            bound: OnceLock::new(),
            gate: Gate::default(),
            live: Mutex::new(live),
            changed: Condvar::new(),
            is_timed,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn id(&self) -> &str {
        self.bound.get().map_or("", |bound| &bound.id)
    }

    pub(super) fn closed(&self) -> Error {
        Error::new(ErrorKind::Closed, Stage::Call, "the zone is closed").of(self.id())
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
            return Err(Error::new(ErrorKind::InvalidArgument, Stage::Call, message).of(self.id()));
        }
        self.gate.enter().map_err(|_| self.closed())?;
        let mut live = self.lock();
        let refusal = match &live.phase {
            Phase::GivenUp(error) => Some(error.clone()),
            Phase::Ended => Some(self.closed()),
            _ if live.calls.len() >= QUEUE.get() => {
                let message = "more calls wait for the process than the queue holds";
                Some(Error::new(ErrorKind::Again, Stage::Call, message).of(self.id()))
            }
            _ => None,
        };
        if let Some(refusal) = refusal {
            drop(live);
            self.gate.leave();
            return Err(refusal);
        }
        if live.line.is_some() {
            let may_retry = call.may_retry;
            let token = live.calls.insert(call);
            live.send(token, input.bytes(), self.is_timed);
            if may_retry && let Some(call) = live.calls.find(token) {
                call.input = Some(input.into_bytes());
            }
        } else {
            call.input = Some(input.into_bytes());
            live.calls.insert(call);
        }
        if is_waiting {
            live.spinners += 1;
            if let Some(line) = &mut live.line {
                line.unpark();
            }
        }
        Ok(())
    }

    /// Takes messages, and tells whom they concern; how many there were.
    pub(super) fn pump(&self) -> usize {
        thread_local!(static BATCH: Cell<Option<Batch>> = const { Cell::new(None) });
        let mut batch = BATCH.take().unwrap_or_default();
        batch.buffer.resize(BUFFER_BYTES, 0);
        self.lock().take(&mut batch);
        let count = batch.ends.len();
        if count > 0 {
            self.tell(&mut batch);
        }
        BATCH.set(Some(batch));
        count
    }

    /// As [`Self::pump`], looking until there is something, but not long.
    pub(super) fn pump_awake(&self, looks: u32) -> usize {
        {
            let mut live = self.lock();
            let Some(line) = &mut live.line else { return 0 };
            if !(0..looks).any(|_| {
                line.is_readable() || {
                    std::hint::spin_loop();
                    false
                }
            }) {
                return 0;
            }
        }
        self.pump()
    }

    /// A caller does not look for its answer any longer.
    pub(super) fn rest(&self) {
        let mut live = self.lock();
        live.spinners -= 1;
        if live.spinners == 0
            && let Some(line) = &mut live.line
            && !line.park()
        {
            live.wake();
        }
    }

    fn tell(&self, batch: &mut Batch) {
        let Batch { buffer, ends, .. } = batch;
        let mut has_leases = false;
        for End { what, payload } in ends.drain(..) {
            let message = match &payload {
                Received::Inline { start, len } => &buffer[*start..start + len],
                Received::Lease(lease) => lease,
                Received::Owned(bytes) => bytes,
            };
            has_leases |= matches!(payload, Received::Lease(_));
            let bytes = &message[HEAD..];
            match what {
                What::Done(reply) => self.end(&reply, Ok(bytes)),
                What::Failed(reply) => self.end(&reply, Err(self.said(bytes))),
                What::Log(level) => self.log(level, bytes),
                What::Closed => {
                    let closed = if bytes.is_empty() { Ok(()) } else { Err(self.said(bytes)) };
                    self.lock().closed = Some(closed);
                }
            }
        }
        if has_leases && let Some(line) = &mut self.lock().line {
            // A breach is found again by whoever looks next.
            let _ = line.collect();
        }
    }

    /// Told first, out then: whoever waits for all to be out knows that all are told.
    pub(super) fn end(&self, reply: &Reply, result: Result<&[u8]>) {
        let is_panic = result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Panic);
        // What is told may be anybody's code.
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            reply.sink.complete(reply.operation, result);
        }));
        if told.is_err() {
            log::error!(target: "busbar::zone", "who was told of the end of a call panicked");
        }
        self.gate.leave();
        if is_panic {
            self.lock().give_up("it panicked");
        }
    }

    fn said(&self, text: &[u8]) -> Error {
        read_error(text).unwrap_or_else(|| {
            let message = "its process says what is no error";
            Error::new(ErrorKind::Internal, Stage::Call, message).of(self.id())
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
        let text = String::from_utf8_lossy(text);
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
    /// Hands a call to the process.
    fn send(&mut self, token: u64, input: &[u8], is_timed: bool) {
        let (Some(line), Some(call)) = (&mut self.line, self.calls.find(token)) else { return };
        call.is_sent = true;
        if is_timed {
            call.since = Some(Instant::now());
        }
        let head = call_head(token, call.method, call.flags);
        match line.send(order::CALL, &head, input) {
            // Whoever sleeps does not know that it waits for room.
            Ok(()) if line.has_backlog() => self.wake(),
            Ok(()) => {}
            Err(breach) => self.breach(breach),
        }
    }

    /// Hands over what has waited for a process, in order.
    pub(super) fn send_waiting(&mut self, is_timed: bool) {
        for token in self.calls.tokens() {
            let Some(call) = self.calls.find(token).filter(|call| !call.is_sent) else { continue };
            let Some(input) = call.input.take() else { continue };
            let may_retry = call.may_retry;
            self.send(token, &input, is_timed);
            if may_retry && let Some(call) = self.calls.find(token) {
                call.input = Some(input);
            }
        }
    }

    fn take(&mut self, batch: &mut Batch) {
        let Some(line) = &mut self.line else { return };
        let Batch { buffer, messages, ends } = batch;
        let calls = &mut self.calls;
        let received = line.flush().and_then(|()| {
            line.receive(buffer, MESSAGES, |kind, payload| messages.push((kind, payload)))
        });
        let mut wrong = false;
        for (kind, payload) in messages.drain(..) {
            let message: &[u8] = match &payload {
                Received::Inline { start, len } => &buffer[*start..start + len],
                Received::Lease(lease) => lease,
                Received::Owned(bytes) => bytes,
            };
            let what = split_head(message).and_then(|(number, _)| match kind {
                answer::DONE => calls.take(number).map(|call| What::Done(call.reply)),
                answer::FAILED => calls.take(number).map(|call| What::Failed(call.reply)),
                answer::LOG => Some(What::Log(number)),
                answer::CLOSED => Some(What::Closed),
                _ => None,
            });
            match what {
                Some(what) => ends.push(End { what, payload }),
                None => wrong = true,
            }
        }
        match received {
            Err(breach) => self.breach(breach),
            Ok(()) if wrong => self.give_up("it answered what nobody had asked"),
            Ok(()) => {}
        }
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

    /// The supervisor looks itself again.
    pub(super) fn awake(&mut self) {
        if self.spinners == 0
            && let Some(line) = &mut self.line
        {
            line.unpark();
        }
    }

    /// Ends the process as it is.
    pub(super) fn kill(&self) {
        if let Some(pidfd) = &self.pidfd {
            // It may have ended meanwhile.
            let _ = rustix::process::pidfd_send_signal(pidfd, rustix::process::Signal::KILL);
        }
    }

    /// There is no process any more. What it cannot have begun, and what may be done twice, stays;
    /// everybody else is returned.
    pub(super) fn part(&mut self) -> Vec<Reply> {
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
                ended.extend(self.calls.take(token).map(|call| call.reply));
            }
        }
        ended
    }

    /// Everybody who still waits.
    pub(super) fn take_all(&mut self) -> Vec<Reply> {
        let tokens = self.calls.tokens();
        tokens.into_iter().filter_map(|token| self.calls.take(token)).map(|it| it.reply).collect()
    }
}
