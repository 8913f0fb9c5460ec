//! The generations of a zone's plugin, each in a process of its own: which one is called, and how
//! the next takes its place.

use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, Weak};
use std::time::{Duration, Instant};

use busbar_abi::method as flag;
use busbar_types::registry::Registry;

use super::ProcessStatus;
use super::calls::InFlight;
use super::child::Recipe;
use super::hosted::{Hosted, Place};
use super::live::{Argument, Probation, Shared};
use super::wire;
use crate::contract::Method;
use crate::generations::Numbering;
use crate::local::Local;
use crate::pending::{CallId, GivenUp, Pending, closed};
use crate::reload::{PROBATION, log_roll_back};
use crate::source::Source;
use crate::transport::{Attendance, Identity, Transport};
use crate::{
    Error, ErrorKind, Object, Options, Parent, ProcessOptions, ReloadOptions, Reloaded, Result,
    Stage, State, Trust,
};

/// How often a caller looks for an answer before somebody else may.
const LOOKS: u32 = 64;
/// A caller looks longer than the process does, which may be asleep: if it did not, both might
/// always find each other asleep.
const CALLER_SPINS: u32 = 4;
/// What handing state over takes besides waiting for calls.
const STATE_TIME: Duration = Duration::from_secs(5);

pub(crate) struct Remote {
    this: Weak<Self>,
    registry: &'static Registry,
    pending: Arc<Pending>,
    parent: Option<Arc<dyn Parent>>,
    config: String,
    process: ProcessOptions,
    starts: Arc<AtomicU32>,
    /// Whoever submits reads it; whoever replaces the current one writes, and so no call is handed
    /// to one that was replaced.
    list: RwLock<List>,
    /// One reload at a time. `false` once it is closed.
    is_open: Mutex<bool>,
}

struct List {
    current: Arc<Hosted>,
    /// The one before, as long as its calls end.
    draining: Option<Arc<Hosted>>,
    /// Every method that any of them has or had; its place is its number.
    methods: Arc<[Method]>,
    /// Of those before.
    ended: ProcessStatus,
}

impl Remote {
    /// Starts a process for the library, waits until its plugin is active, and registers its types.
    ///
    /// # Errors
    /// As loading it here; `Crashed` if its process ends, `TimedOut` if it takes too long, `Host`
    /// if there is none.
    pub(crate) fn open(
        source: Source,
        trust: &Trust,
        registry: &'static Registry,
        pending: Arc<Pending>,
        options: &Options<'_>,
    ) -> Result<Arc<Self>> {
        let Some(process) = options.process else {
            let message = "the mode process needs an executable: set the option process";
            return Err(Error::new(ErrorKind::InvalidArgument, Stage::Verify, message));
        };
        let (parent, starts) = (options.exposed.cloned(), Arc::default());
        let is_timed = process.call_timeout.is_some();
        let (table, up) = (Arc::clone(&pending), parent.clone());
        let shared = Shared::new(table, is_timed, up, 1, Arc::clone(&starts));
        let has_methods = parent.as_ref().is_some_and(|parent| parent.has_methods());
        let recipe = Recipe::new(&source, options.config, has_methods, process)?;
        let place = Place { registry, allow_versions: options.allow_versions };
        let first = |methods: &[Method]| Ok(Numbering::first(methods));
        let check = check_of(source, trust);
        let (current, numbering) = Hosted::start(shared, recipe, process, &place, check, first)?;
        let ended =
            ProcessStatus { pid: None, starts: 0, crashes: 0, retried: 0, last_crash: None };
        let methods = Arc::clone(numbering.methods());
        let list = RwLock::new(List { current, draining: None, methods, ended });
        let (config, process) = (options.config.to_owned(), process.clone());
        Ok(Arc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            registry,
            pending,
            parent,
            config,
            process,
            starts,
            list,
            is_open: Mutex::new(true),
        }))
    }

    /// Calls the library of `source` from now on, in another process. One reload at a time.
    ///
    /// # Errors
    /// As [`Self::open`]; `SchemaMismatch` if its methods or its state are not those of the last
    /// one; `Closed`. Then the last one goes on.
    pub(crate) fn reload(
        &self,
        source: Source,
        trust: &Trust,
        options: &ReloadOptions,
    ) -> Result<Reloaded> {
        let is_open = self.begin_reload()?;
        let last = self.current();
        if last.hash() == source.hash && last.is_well() {
            return Ok(Reloaded::Unchanged);
        }
        let has_methods = self.parent.as_ref().is_some_and(|parent| parent.has_methods());
        let recipe = Recipe::new(&source, &self.config, has_methods, &self.process)?;
        let generation = self.next(&last, recipe, check_of(source, trust), options)?;
        drop(is_open);
        Ok(Reloaded::Generation(generation))
    }

    /// Nobody else reloads as long as what this gives is there.
    fn begin_reload(&self) -> Result<MutexGuard<'_, bool>> {
        let is_open = self.is_open.lock().unwrap_or_else(PoisonError::into_inner);
        if *is_open { Ok(is_open) } else { Err(closed()) }
    }

    fn next(
        &self,
        last: &Arc<Hosted>,
        recipe: Recipe,
        check: impl Fn(&wire::Bound) -> Result<()> + Send + 'static,
        options: &ReloadOptions,
    ) -> Result<u32> {
        let generation = last.shared.generation + 1;
        let (is_timed, starts) = (self.process.call_timeout.is_some(), Arc::clone(&self.starts));
        let (table, up) = (Arc::clone(&self.pending), self.parent.clone());
        let shared = Shared::new(table, is_timed, up, generation, starts);
        shared.lock().is_held = true;
        let place = Place { registry: self.registry, allow_versions: true };
        let id = last.shared.id().to_owned();
        let check = move |bound: &wire::Bound| {
            if bound.id != id {
                let message = format!("the file is of the plugin {}", bound.id);
                return Err(Error::new(ErrorKind::InvalidArgument, Stage::Bind, message));
            }
            check(bound)
        };
        let (all, had) = (Arc::clone(&self.read().methods), Arc::clone(&last.shared));
        let breaking = options.breaking;
        let number = move |methods: &[Method]| {
            let had = |number| had.target(number).is_some();
            let numbering = Numbering::after(&all, had, methods);
            if breaking { Ok(numbering) } else { numbering.check().map(|()| numbering) }
        };
        let (next, numbering) =
            Hosted::start(shared, recipe, &self.process, &place, check, number)?;
        self.replace(&next, Some(numbering));
        if let Err(error) = self.hand_over(last, &next, options) {
            self.replace(last, None);
            last.shared.adopt(next.shared.take_waiting());
            if let Err(error) = next.end(options.grace) {
                log::warn!(target: "busbar::zone", "{error}");
            }
            self.count(&next);
            return Err(error);
        }
        self.put_on_probation(last, &next);
        next.shared.let_go();
        next.shared.adopt(last.shared.take_waiting());
        let ended = last.end(options.grace);
        self.count(last);
        if let Err(error) = ended {
            // It is told of in the log; the next one serves.
            log::warn!(target: "busbar::zone", "generation {}: {error}", generation - 1);
        }
        Ok(generation)
    }

    /// Calls are `hosted`'s from now on.
    fn replace(&self, hosted: &Arc<Hosted>, numbering: Option<Numbering>) {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        let last = std::mem::replace(&mut list.current, Arc::clone(hosted));
        list.draining = Some(last);
        if let Some(numbering) = numbering {
            list.methods = Arc::clone(numbering.methods());
        }
    }

    /// The state of `last`, if both have any, becomes that of `next`, for which calls wait.
    fn hand_over(&self, last: &Hosted, next: &Hosted, options: &ReloadOptions) -> Result<()> {
        let has_state = |hosted: &Hosted| hosted.shared.lock().has_state;
        if !has_state(last) || !has_state(next) || !last.is_well() {
            return Ok(());
        }
        let grace = u64::try_from(options.grace.as_millis()).unwrap_or(u64::MAX);
        let patience = options.grace.saturating_add(STATE_TIME);
        let request = last.shared.number_request();
        let saved = last.shared.exchange(wire::order::SAVE, request, grace, &[], patience);
        let loaded = saved.and_then(|(hash, bytes)| {
            let (shared, request) = (&next.shared, next.shared.number_request());
            match shared.exchange(wire::order::LOAD, request, hash, &bytes, STATE_TIME) {
                Err(error) if options.cold && error.kind() == ErrorKind::SchemaMismatch => {
                    log::warn!(target: "busbar::zone", "{error}: it begins without state");
                    Ok(())
                }
                loaded => loaded.map(drop),
            }
        });
        if loaded.is_err() {
            // Even if it has not saved yet: then it goes on as soon as it has.
            last.shared.lock().order(wire::order::GO_ON, &request.to_le_bytes(), &[]);
        }
        loaded
    }

    fn put_on_probation(&self, last: &Hosted, next: &Hosted) {
        let Some(recipe) = last.recipe().filter(|_| last.is_well()) else { return };
        let (remote, generation) = (Weak::clone(&self.this), next.shared.generation);
        let roll_back = Box::new(move || {
            if let Some(remote) = remote.upgrade() {
                remote.roll_back(generation, recipe);
            }
        });
        let ends = Instant::now() + PROBATION;
        let mut probation = next.shared.probation.lock().unwrap_or_else(PoisonError::into_inner);
        *probation = Some(Probation { ends, roll_back });
    }

    fn roll_back(&self, crashed: u32, recipe: Recipe) {
        let rolled_back = self.begin_reload().and_then(|_alone| {
            let last = self.current();
            if last.shared.generation != crashed {
                // It was replaced already.
                return Ok(crashed);
            }
            let (breaking, cold) = (true, true);
            let options = ReloadOptions { breaking, cold, ..ReloadOptions::default() };
            let next = self.next(&last, recipe, |_| Ok(()), &options);
            next.inspect_err(|error| last.give_up(error))
        });
        log_roll_back(crashed, "crashed", rolled_back);
    }

    fn count(&self, hosted: &Hosted) {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        list.ended = sum(&list.ended, &hosted.shared.lock().status);
        list.draining = None;
    }

    fn read(&self) -> RwLockReadGuard<'_, List> {
        self.list.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn current(&self) -> Arc<Hosted> {
        Arc::clone(&self.read().current)
    }

    fn enter(
        &self,
        index: u32,
        id: CallId,
        flags: u32,
        input: Argument<'_>,
    ) -> Result<Arc<Hosted>> {
        let list = self.read();
        let shared = &list.current.shared;
        let method = list.methods.get(index as usize);
        let method = method.filter(|_| shared.target(index).is_some()).ok_or_else(|| {
            let message = format!("it has no method with the number {index}");
            shared.say(Error::new(ErrorKind::MethodNotFound, Stage::Call, message))
        })?;
        let may_retry = method.flags & flag::IDEMPOTENT != 0;
        let call = InFlight::new(id, index, flags, may_retry);
        shared.enter(call, input, flags & wire::WAITING != 0)?;
        Ok(Arc::clone(&list.current))
    }

    fn look_for(&self, shared: &Shared, id: CallId, is_done: &dyn Fn() -> bool) {
        shared.pump_awake(LOOKS);
        // A process that is awake has answered by now: the clock is for one that is not.
        let begin = Instant::now();
        while !is_done() && begin.elapsed() < self.process.spin.saturating_mul(CALLER_SPINS) {
            // The process may wait for this very core.
            std::thread::yield_now();
            shared.pump_awake(LOOKS);
        }
        if is_done() {
            shared.rest();
        } else {
            shared.sleep_on(id);
        }
    }
}

/// The process that was called when this was made.
struct Attending(Arc<Hosted>);

impl Attendance for Attending {
    fn look(&self) -> bool {
        self.0.shared.pump_awake(1) > 0
    }
}

impl Drop for Attending {
    fn drop(&mut self) {
        self.0.shared.rest();
    }
}

/// Who vouches for a library, and what is written beside it.
fn check_of(
    source: Source,
    trust: &Trust,
) -> impl Fn(&wire::Bound) -> Result<()> + Send + use<> + 'static {
    let (trust, hash, sidecar) = (trust.clone(), source.hash, source.sidecar);
    move |bound| {
        trust.check_id(&bound.id, hash)?;
        let Some(sidecar) = &sidecar else { return Ok(()) };
        let methods = bound.methods.iter().map(|method| &*method.name);
        let types = bound.types.iter().map(|ty| (&*ty.name, ty.hash));
        sidecar.check(&bound.id, &bound.version, methods, types)
    }
}

fn sum(ended: &ProcessStatus, last: &ProcessStatus) -> ProcessStatus {
    ProcessStatus {
        pid: last.pid,
        starts: ended.starts + last.starts,
        crashes: ended.crashes + last.crashes,
        retried: ended.retried + last.retried,
        last_crash: last.last_crash.clone().or_else(|| ended.last_crash.clone()),
    }
}

impl Transport for Arc<Remote> {
    fn local(&self) -> Option<&Arc<Local>> {
        None
    }

    fn remote(&self) -> Option<&Arc<Remote>> {
        Some(self)
    }

    fn identity(&self) -> Identity {
        let hosted = self.current();
        let bound = hosted.shared.bound.get();
        Identity {
            id: bound.map(|it| it.id.clone()).unwrap_or_default(),
            version: bound.map(|it| it.version.clone()).unwrap_or_default(),
            runtime: bound.map_or(0, |it| it.runtime),
            generation: hosted.shared.generation,
        }
    }

    fn methods(&self) -> Arc<[Method]> {
        Arc::clone(&self.read().methods)
    }

    fn has(&self, method: u32) -> bool {
        self.current().shared.target(method).is_some()
    }

    fn types(&self) -> Vec<(String, u64)> {
        self.current().types()
    }

    fn state(&self) -> State {
        self.current().state()
    }

    fn process(&self) -> Option<ProcessStatus> {
        let list = self.read();
        let status = list.current.shared.lock().status.clone();
        Some(sum(&list.ended, &status))
    }

    fn submit(&self, method: u32, input: Vec<u8>, id: CallId) -> Result<()> {
        self.enter(method, id, 0, Argument::Owned(input)).map(drop)
    }

    fn submit_awaited(
        &self,
        method: u32,
        input: &[u8],
        id: CallId,
        is_done: &dyn Fn() -> bool,
    ) -> Result<()> {
        let is_awake = !self.process.spin.is_zero();
        let flags = if is_awake { wire::WAITING } else { 0 };
        let hosted = self.enter(method, id, flags, Argument::Borrowed(input))?;
        if is_awake {
            self.look_for(&hosted.shared, id, is_done);
        }
        Ok(())
    }

    fn attend(&self) -> Option<Box<dyn Attendance>> {
        if self.process.spin.is_zero() {
            return None;
        }
        let hosted = self.current();
        hosted.shared.attend();
        Some(Box::new(Attending(hosted)))
    }

    fn hold(&self, object: u64) -> Result<Object> {
        self.current().shared.upcalls.objects().hold(object)
    }

    fn lend(&self) -> Option<u64> {
        self.current().shared.upcalls.upward.lend()
    }

    fn take_back(&self, object: u64) -> bool {
        self.current().shared.upcalls.upward.forget(object)
    }

    fn cancel(&self, id: CallId, _: GivenUp) {
        let list = self.read();
        let hosts = [Some(Arc::clone(&list.current)), list.draining.clone()];
        drop(list);
        // Only the one that has it knows it.
        hosts.into_iter().flatten().for_each(|hosted| hosted.shared.cancel(id));
    }

    fn close(&self, grace: Duration) -> Result<()> {
        // A reload under way ends first.
        *self.is_open.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.current().end(grace)
    }
}
