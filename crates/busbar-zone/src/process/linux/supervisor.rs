//! The thread behind a plugin's process: starts it, brings its answers to whom they concern, and
//! starts it again when it has ended without being asked to.
//!
//! | phase | next | by |
//! |---|---|---|
//! | `Starting` | `Running` | the plugin is active |
//! | `Starting` | `Ended` | it fails the first time; the zone is closed |
//! | `Starting`, `Running` | `Resting` | it crashed |
//! | `Resting` | `Starting` | some time |
//! | `Resting` | `GivenUp` | too many crashes |
//! | any | `Ended` | the zone is closed |

use std::collections::VecDeque;
use std::sync::mpsc::Sender;
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};

use super::ProcessOptions;
use super::calls::InFlight;
use super::child::{Child, Launched, Recipe};
use super::line::{Line, hush};
use super::live::{Phase, Probation, Shared};
use super::wire::Bound;
use crate::object::Owner;
use crate::{Error, ErrorKind, Result, Stage};

/// After the second crash; it doubles with each.
const REST_MIN: Duration = Duration::from_millis(10);
const REST_MAX: Duration = Duration::from_secs(1);

/// How often messages are taken before something else is looked at.
const PUMPS: usize = 64;

/// A host, the way to it, and whether it has state.
type Started = (Child, Line, bool);

pub(super) struct Supervisor {
    shared: Arc<Shared>,
    recipe: Recipe,
    call_timeout: Option<Duration>,
    crashes_max: usize,
    crash_window: Duration,
    memory_bytes: Option<u64>,
    crashes: VecDeque<Instant>,
    /// The host that follows the next crash: of a plugin that has crashed before.
    spare: Option<Launched>,
    /// Whether one was tried to be had since the last start.
    has_provided: bool,
}

impl Supervisor {
    pub(super) fn new(shared: Arc<Shared>, recipe: Recipe, options: &ProcessOptions) -> Self {
        let ProcessOptions { call_timeout, crashes_max, crash_window, .. } = *options;
        let memory_bytes = options.sandbox.memory_bytes;
        let (crashes_max, crashes, spare) = (crashes_max as usize, VecDeque::new(), None);
        Self {
            shared,
            recipe,
            call_timeout,
            crashes_max,
            crash_window,
            memory_bytes,
            crashes,
            spare,
            has_provided: false,
        }
    }

    /// The thread's work. `opened` is told how the first start went.
    pub(super) fn run(mut self, check: &dyn Fn(&Bound) -> Result<()>, opened: &Sender<Result<()>>) {
        let mut started = match self.start(check) {
            Ok(started) => self.install(started),
            Err(error) => {
                self.end(&error);
                let _ = opened.send(Err(error));
                return;
            }
        };
        // Not before: whoever closes it at once has to find the process.
        let _ = opened.send(Ok(()));
        loop {
            let crash = self.serve(started);
            match self.recover(crash) {
                Some(next) => started = self.install(next),
                None => return,
            }
        }
    }

    /// From here on calls go to this process.
    fn install(&self, (child, line, has_state): Started) -> Child {
        let shared = &*self.shared;
        let mut live = shared.lock();
        live.bell = Some(Arc::clone(&child.bell));
        if live.is_closing {
            // Whoever closes the zone did not find a process, and waits for none to end well.
            live.kill();
        } else {
            live.line = Some(line);
            live.has_state = has_state;
            live.phase = Phase::Running;
            live.is_doomed = false;
            if live.takes_calls() {
                live.send_waiting(&shared.pending, shared.is_timed, shared);
            }
        }
        drop(live);
        shared.changed.notify_all();
        child
    }

    fn start(&mut self, check: &dyn Fn(&Bound) -> Result<()>) -> Result<Started> {
        let (shared, spare) = (&*self.shared, self.spare.take());
        self.has_provided = false;
        let generation = shared.count_start();
        shared.lock().generation = generation;
        let owner: Weak<dyn Owner> = Weak::<Shared>::clone(&shared.this);
        shared.upcalls.begin(generation, owner);
        let born = |pid, pidfd: &Arc<_>| {
            let mut live = shared.lock();
            live.status.pid = Some(pid);
            live.status.starts += 1;
            live.pidfd = Some(Arc::clone(pidfd));
            if live.is_closing {
                live.kill();
            }
        };
        self.recipe.start(spare, generation, born, |bound| {
            check(&bound)?;
            let first = shared.bound.get_or_init(|| bound.clone());
            if *first == bound {
                return Ok(());
            }
            let message = "it says of itself what it had not said before";
            Err(Error::new(ErrorKind::Host, Stage::Bind, message)
                .of_plugin(&first.id, shared.generation))
        })
    }

    /// Until the process has ended; how it did.
    fn serve(&mut self, mut child: Child) -> String {
        let shared = Arc::clone(&self.shared);
        let mut reason = None;
        loop {
            if reason.is_none() {
                // Not for ever: there is more to look at.
                let _ = (0..PUMPS).take_while(|_| shared.pump() > 0).count();
                reason = self.overdue();
            }
            if !self.may_sleep(&mut reason) {
                continue;
            }
            if reason.is_none() {
                self.provide();
            }
            if self.sleep(&mut child, reason.is_some()) {
                break;
            }
            shared.lock().awake();
        }
        let how = child.wait();
        for printed in &mut child.printed {
            printed.read(shared.id());
        }
        if let Some(line) = &mut shared.lock().line {
            line.end();
        }
        // What it had answered, counts.
        while reason.is_none() && shared.pump() > 0 {}
        reason.unwrap_or_else(|| self.with_limits(how))
    }

    /// Has a host ready for the next crash, if there was one before and nobody waits for anything.
    /// A plugin that does not crash has no second process.
    fn provide(&mut self) {
        if self.has_provided {
            return;
        }
        let live = self.shared.lock();
        let is_wanted = live.status.crashes > 0 && live.calls.len() == 0 && !live.is_closing;
        drop(live);
        if is_wanted {
            // Without one, the next start begins at its beginning, and says what is wrong.
            (self.spare, self.has_provided) = (self.recipe.launch().ok(), true);
        }
    }

    /// Sleep is announced; `false` if there is something to do.
    fn may_sleep(&self, reason: &mut Option<String>) -> bool {
        let mut live = self.shared.lock();
        if reason.is_none() {
            *reason = live.broken.take().map(|what| format!("was ended, because {what}"));
        }
        if reason.is_some() {
            live.kill();
            return true;
        }
        // A caller that looks for its answer wakes this when it does not any longer.
        live.is_watched() || live.line.as_mut().is_none_or(Line::park)
    }

    /// Sleeps until there is something to do; whether the process has ended.
    fn sleep(&self, child: &mut Child, is_doomed: bool) -> bool {
        let Child { bell, pidfd, printed, .. } = child;
        let mut fds =
            vec![PollFd::new(&**pidfd, PollFlags::IN), PollFd::new(&**bell, PollFlags::IN)];
        let pipes: Vec<_> = printed.iter().map(|it| it.fd()).collect();
        fds.extend(pipes.iter().map(|pipe| PollFd::from_borrowed_fd(*pipe, PollFlags::IN)));
        let patience = if is_doomed { None } else { self.patience() };
        // An interrupted sleep is a short one.
        let _ = rustix::event::poll(&mut fds, patience.as_ref());
        let woken: Vec<_> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop((fds, pipes));
        if woken[1] {
            hush(bell);
        }
        let mut woken_pipes = woken[2..].iter();
        let plugin = self.shared.id();
        printed.retain_mut(|it| !woken_pipes.next().is_some_and(|&woken| woken) || it.read(plugin));
        woken[0]
    }

    /// How long nothing can be overdue.
    fn patience(&self) -> Option<Timespec> {
        let limit = self.call_timeout?;
        let oldest = self.shared.lock().calls.oldest();
        // Calls that come meanwhile wake nobody, but are not overdue before.
        let left = oldest.map_or(limit, |since| limit.saturating_sub(since.elapsed()));
        left.saturating_add(Duration::from_millis(1)).try_into().ok()
    }

    /// Ends the call that takes too long; why the process has to go, if one does.
    fn overdue(&self) -> Option<String> {
        let limit = self.call_timeout?;
        let mut live = self.shared.lock();
        let is_overdue = |since: Instant| since.elapsed() >= limit;
        let mut late = Vec::new();
        for token in live.calls.tokens() {
            if live.calls.find(token).and_then(|call| call.since).is_some_and(is_overdue) {
                late.extend(live.calls.take(token));
            }
        }
        if late.is_empty() {
            return None;
        }
        // Before anybody is told, who might call next and would be ended with it.
        live.kill();
        drop(live);
        let message = format!(
            "the call did not end within {} ms, and its process was ended",
            limit.as_millis()
        );
        self.fail(late, &Error::new(ErrorKind::TimedOut, Stage::Call, message));
        Some(format!("was ended, because a call took longer than {} ms", limit.as_millis()))
    }

    fn with_limits(&self, how: String) -> String {
        match self.memory_bytes {
            Some(bytes) => format!("{how}, limited to {bytes} bytes of memory"),
            None => how,
        }
    }

    /// After the end of a process: another one, or none any more.
    fn recover(&mut self, mut crash: String) -> Option<Started> {
        loop {
            let error = self.crashed(&crash)?;
            if self.is_rolled_back() {
                self.wait_closing();
                self.end(&error);
                return None;
            }
            let Some(rest) = self.rest_after() else {
                self.surrender(&error);
                return None;
            };
            if !self.rest(rest) {
                self.end(&error);
                return None;
            }
            match self.start(&|_| Ok(())) {
                Ok(started) => return Some(started),
                Err(error) => crash = format!("did not start again: {error}"),
            }
        }
    }

    /// Tells those whose calls ended with the process; `None` if that was how it should be.
    fn crashed(&self, how: &str) -> Option<Error> {
        let shared = &*self.shared;
        let message = format!("its process {how}");
        let error = shared.say(Error::new(ErrorKind::Crashed, Stage::Call, message));
        let mut live = shared.lock();
        if live.is_closing {
            drop(live);
            self.end(&error);
            return None;
        }
        let calls = live.part();
        live.phase = Phase::Resting;
        live.status.crashes += 1;
        live.status.last_crash = Some(how.to_owned());
        drop(live);
        shared.upcalls.lose(true);
        // Whoever waits for its state does so in vain.
        shared.changed.notify_all();
        log::warn!(target: "busbar::zone", "{error}");
        self.fail(calls, &error);
        Some(error)
    }

    /// How long to rest before the next start; `None` if there shall be none.
    fn rest_after(&mut self) -> Option<Duration> {
        let now = Instant::now();
        self.crashes.push_back(now);
        let window = self.crash_window;
        self.crashes.retain(|then| now.duration_since(*then) <= window);
        if self.crashes.len() >= self.crashes_max {
            return None;
        }
        let doublings = u32::try_from(self.crashes.len()).unwrap_or(u32::MAX).checked_sub(2);
        let rest = doublings.map_or(Duration::ZERO, |count| REST_MIN * 2_u32.pow(count.min(7)));
        Some(rest.min(REST_MAX))
    }

    /// Rests; whether to go on.
    fn rest(&self, rest: Duration) -> bool {
        let end = Instant::now() + rest;
        let mut live = self.shared.lock();
        while !live.is_closing {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                live.phase = Phase::Starting;
                return true;
            }
            live = self.shared.wait(live, left);
        }
        false
    }

    /// Starts nothing any more, until the zone is closed.
    fn surrender(&self, last: &Error) {
        let message = format!(
            "it crashed {} times within {} s and is not started again: {}",
            self.crashes.len(),
            self.crash_window.as_secs(),
            last.message()
        );
        let error = self.shared.say(Error::new(ErrorKind::Crashed, Stage::Call, message));
        log::error!(target: "busbar::zone", "{error}");
        let mut live = self.shared.lock();
        live.phase = Phase::GivenUp(error.clone());
        let calls = live.take_all();
        drop(live);
        self.fail(calls, &error);
        self.wait_closing();
        self.end(&error);
    }

    fn wait_closing(&self) {
        let mut live = self.shared.lock();
        while !live.is_closing {
            live = self.shared.wait(live, Duration::from_secs(3600));
        }
    }

    /// Whether what came before it takes its place, as it is young. Its calls wait for that.
    fn is_rolled_back(&self) -> bool {
        let probation = self.shared.probation.lock();
        let probation = probation.unwrap_or_else(PoisonError::into_inner).take();
        let Some(Probation { ends, roll_back }) = probation else { return false };
        if Instant::now() > ends {
            return false;
        }
        let thread = std::thread::Builder::new().name(String::from("busbar-rollback"));
        let spawned = thread.spawn(roll_back);
        if let Err(error) = &spawned {
            log::error!(target: "busbar::zone", "no thread for the way back: {error}");
        }
        spawned.is_ok()
    }

    /// The zone is closed, and nobody waits any more.
    fn end(&self, how: &Error) {
        let shared = &*self.shared;
        let mut live = shared.lock();
        // A process that was asked to end has said how that went; one that crashed before has not
        // been asked.
        let is_orderly = live.closed.is_some() || !matches!(live.phase, Phase::Running);
        let mut calls = live.part();
        calls.extend(live.take_all());
        drop(live);
        let left = calls.len();
        self.fail(calls, &shared.closed());
        shared.upcalls.end();
        let mut live = shared.lock();
        if !is_orderly && live.is_closing {
            let error = if left > 0 {
                let message = format!("{left} calls did not end in time: their process was ended");
                Error::new(ErrorKind::TimedOut, Stage::Close, message)
            } else {
                Error::new(ErrorKind::Crashed, Stage::Close, how.message().to_owned())
            };
            live.closed = Some(Err(shared.say(error)));
        }
        live.phase = Phase::Ended;
        drop(live);
        shared.changed.notify_all();
    }

    fn fail(&self, calls: Vec<InFlight>, error: &Error) {
        for call in calls {
            self.shared.end(&call, Err(error.clone()));
        }
    }
}
