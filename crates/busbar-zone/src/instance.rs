//! One instance of a plugin: made, called, ended. All raw calls into plugins but those for types
//! are in this file.

use std::ffi::CString;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use busbar_abi::{
    self as abi, BatchExtension, Buf, ObjectsExtension, Plugin, Record, Slice, StateExtension,
    Status, method as flag,
};

use crate::contract::{Method, bad_size, null};
use crate::extension::Extension;
use crate::gate::{Gate, Refusal};
use crate::host::{Core, error_of, forget_error, panic_of};
use crate::library::Library;
use crate::object::{Objects, Owner};
use crate::pending::{CallId, Pending, closed};
use crate::serial::{Serial, Turn};
use crate::state::{State, Step};
use crate::upward::{Parent, Upward};
use crate::{Error, ErrorKind, Result, Stage};

/// Room for results of plugins that are not asked to complete later.
const RESULT_BYTES: usize = 64 << 10;
/// No result is larger.
const RESULT_BYTES_MAX: usize = 1 << 30;

pub(crate) struct Instance {
    library: Arc<Library>,
    core: &'static Core,
    plugin: *const Plugin,
    table: Plugin,
    entry: Entry,
    /// What calls need of the methods, beside what else they need.
    /// By the zone's numbers.
    methods: Box<[Option<Target>]>,
    /// Of methods that are not thread-safe, one runs at a time.
    serial: Serial,
    state: Mutex<State>,
    /// Who is told of a panic.
    watcher: OnceLock<Weak<dyn Watcher>>,
    /// What the plugin is told by that nobody holds an object.
    released: Option<Released>,
    /// What runs many calls at once.
    batch: Option<CallBatch>,
    /// What hands its state over.
    state_functions: Option<(Save, Load)>,
    /// What it is to be told of once others are let in again.
    unreleased: Mutex<Vec<u64>>,
}

/// Who is told of the panic of an instance. It must not wait for anything of the zone.
pub(crate) trait Watcher: Send + Sync {
    fn handle_fault(&self, instance: &Instance);
}

/// What a call needs to know of a method.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    id: u32,
    flags: u32,
}

/// Where calls of an instance go: all that is looked at for one.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    call: Call,
    plugin: *const Plugin,
}

impl Entry {
    /// Runs a method of `instance`, once inside, when it is its turn.
    #[inline(always)]
    pub(crate) fn call(
        self,
        instance: &Instance,
        method: Target,
        input: &[u8],
        out: &mut [u8],
    ) -> Result<usize> {
        let mut buf = Buf::new(out);
        let status = self.run(method, input, &mut buf);
        if status == Status::OK && buf.len <= out.len() {
            return Ok(buf.len);
        }
        Err(instance.failed(method, status, &buf))
    }

    /// As [`Self::call`]; what the plugin says, and what it makes of `out`.
    #[inline(always)]
    pub(crate) fn run(self, method: Target, input: &[u8], out: &mut Buf) -> Status {
        // SAFETY: by the contract: the instance is active, as somebody is inside; `input` and the
        // room of `out` are there during the call.
        unsafe { (self.call)(self.plugin, method.id, Slice::new(input), out) }
    }
}

/// What an instance is made with.
pub(crate) struct Birth<'a> {
    pub(crate) zone: u64,
    /// Counts from 1.
    pub(crate) generation: u32,
    pub(crate) pending: &'a Arc<Pending>,
    /// Who loads the zone.
    pub(crate) parent: Option<&'a Arc<dyn Parent>>,
    pub(crate) config: &'a str,
    /// Its methods, by the zone's numbers.
    pub(crate) methods: &'a [Option<Target>],
}

type CallBatch = unsafe extern "C" fn(*const Plugin, *mut u8, usize, *mut Record, u32) -> Status;
type Released = unsafe extern "C" fn(*const Plugin, u64);
type Save = unsafe extern "C" fn(*const Plugin, *mut Buf, *mut u64) -> Status;
type Load = unsafe extern "C" fn(*const Plugin, Slice, u64) -> Status;
type Call = unsafe extern "C" fn(*const Plugin, u32, Slice, *mut Buf) -> Status;

// SAFETY: by the contract, what is called from several threads at once may be: `call` and `start`
// of thread-safe methods, `cancel`, `get_extension`; `serial` and `state` see to the others.
unsafe impl Send for Instance {}
// SAFETY: as above.
unsafe impl Sync for Instance {}

impl Instance {
    /// Makes and activates an instance.
    ///
    /// # Errors
    /// What the plugin says at `Ready` or `Activate`; `Null` and `Size` for what it gives.
    pub(crate) fn make(library: &Arc<Library>, birth: &Birth<'_>) -> Result<Arc<Self>> {
        let core = Core::leak(&library.contract.id, birth);
        let generation = birth.generation;
        let said = |error: Error| error.of_plugin(&library.contract.id, generation);
        let plugin = create(library, core).map_err(said)?;
        // SAFETY: by the contract: `create` gave it.
        let table = unsafe { abi::read_growing(plugin) };
        let table = table.map_err(|size| bad_size("busbar_plugin", size, size_of::<Plugin>()));
        let table = table.map_err(said)?;
        let call = required(&table).map_err(said).inspect_err(|_| {
            if let Some(destroy) = table.destroy {
                // SAFETY: by the contract: the last call there is.
                unsafe { destroy(plugin) };
            }
        })?;
        let mut instance = Self {
            library: Arc::clone(library),
            core,
            plugin,
            table,
            entry: Entry { call, plugin },
            methods: birth.methods.into(),
            serial: Serial::default(),
            state: Mutex::new(State::Bound),
            watcher: OnceLock::new(),
            released: None,
            batch: None,
            state_functions: None,
            unreleased: Mutex::default(),
        };
        if let Err(error) = instance.bring_up(birth.config) {
            // Nobody was let out, and so nobody is in.
            let _ = instance.end_ways(Instant::now() + WAYS_END);
            // A panic of that is told of in the log; what came first, counts.
            let _ = instance.destroy();
            return Err(error);
        }
        instance.released = instance.extension::<ObjectsExtension>().and_then(|it| it.released);
        instance.batch = instance.extension::<BatchExtension>().and_then(|it| it.call_batch);
        let state = instance.extension::<StateExtension>();
        instance.state_functions = state.and_then(|it| Some((it.save?, it.load?)));
        let instance = Arc::new(instance);
        let owner: Weak<dyn Owner> = Arc::<Self>::downgrade(&instance);
        core.objects.set_owner(owner);
        core.upward.set_ready();
        Ok(instance)
    }

    fn bring_up(&self, config: &str) -> Result<()> {
        self.advance(Step::Init)?;
        if let Some(init) = self.table.init {
            // SAFETY: by the contract: first of all.
            self.check(Stage::Ready, || unsafe { init(self.plugin) })?;
        }
        if let Some(activate) = self.table.activate {
            let config = Slice::new(config.as_bytes());
            // SAFETY: by the contract: after `init`.
            self.check(Stage::Activate, || unsafe { activate(self.plugin, config) })?;
        }
        self.advance(Step::Activate)
    }

    /// Runs one step; its status as an error.
    fn check(&self, stage: Stage, run: impl FnOnce() -> Status) -> Result<()> {
        forget_error();
        match run() {
            Status::OK => Ok(()),
            status if status.is_error() => Err(self.judge(error_of(status, stage))),
            other => {
                let message = format!("{stage} returned {other}");
                Err(Error::new(ErrorKind::Failed, stage, message)
                    .of_plugin(self.id(), self.core.generation))
            }
        }
    }

    /// Runs a function that returns nothing; its panic as an error.
    fn check_panic(&self, stage: Stage, run: impl FnOnce()) -> Result<()> {
        forget_error();
        run();
        panic_of(stage).map_or(Ok(()), |error| Err(self.judge(error)))
    }

    /// An error of this instance's; a panic ends its life.
    pub(crate) fn judge(&self, error: Error) -> Error {
        if error.kind() == ErrorKind::Panic && self.core.gate.fault() {
            log::error!(target: "busbar::zone", "{}: {error}: it is not called again", self.id());
            self.library.distrust();
            // It may have ended by now.
            let _ = self.advance(Step::Panic);
            self.core.objects.end();
            self.core.upward.tell_down(self.core.generation);
            if let Some(watcher) = self.watcher.get().and_then(Weak::upgrade) {
                watcher.handle_fault(self);
            }
        }
        error.of_plugin(self.id(), self.core.generation)
    }

    fn advance(&self, step: Step) -> Result<()> {
        let mut state = self.lock_state();
        let next = state.after(step).ok_or_else(|| {
            let message = format!("{step:?} in the state {:?}", *state);
            Error::new(ErrorKind::Closed, Stage::Close, message)
                .of_plugin(self.id(), self.core.generation)
        })?;
        *state = next;
        Ok(())
    }

    fn lock_state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn state(&self) -> State {
        *self.lock_state()
    }

    pub(crate) fn id(&self) -> &str {
        &self.library.contract.id
    }

    pub(crate) fn library(&self) -> &Arc<Library> {
        &self.library
    }

    /// Whether calls are started, and end whenever the plugin says so.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "for processes"))]
    pub(crate) fn is_asynchronous(&self) -> bool {
        self.table.start.is_some()
    }

    #[inline]
    pub(crate) fn target(&self, index: u32) -> Result<Target> {
        match self.methods.get(index as usize) {
            Some(Some(target)) => Ok(*target),
            _ => Err(self.no_method(index)),
        }
    }

    /// As [`Self::target`], of a method that never waits.
    #[inline]
    pub(crate) fn inline_target(&self, index: u32) -> Result<Target> {
        let target = self.target(index)?;
        if target.flags & flag::SYNC != 0 { Ok(target) } else { Err(self.may_wait(target)) }
    }

    #[cold]
    fn may_wait(&self, target: Target) -> Error {
        let message = format!("{} may wait, so it is not for the mode inline", self.name(target));
        Error::new(ErrorKind::NotSupported, Stage::Call, message)
            .of_plugin(self.id(), self.core.generation)
    }

    fn name(&self, target: Target) -> &str {
        let methods = &self.library.contract.methods;
        methods.iter().find(|method| method.id == target.id).map_or("", |method| &method.name)
    }

    #[cold]
    fn no_method(&self, index: u32) -> Error {
        let message = format!("it has no method with the number {index}");
        Error::new(ErrorKind::MethodNotFound, Stage::Call, message)
            .of_plugin(self.id(), self.core.generation)
    }

    /// Inside until what this gives is dropped.
    ///
    /// # Errors
    /// As the gate says.
    pub(crate) fn enter(self: &Arc<Self>) -> Result<Inside, Refusal> {
        self.core.gate.enter()?;
        Ok(Inside(Arc::clone(self)))
    }

    /// Why calls are refused now, if they are.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.core.gate.refusal()
    }

    #[cold]
    pub(crate) fn refused(&self, refusal: Refusal) -> Error {
        let (kind, message) = match refusal {
            Refusal::Closed => (ErrorKind::Closed, "the zone is closed"),
            Refusal::Faulted => (ErrorKind::Faulted, "it panicked before: load it anew"),
        };
        Error::new(kind, Stage::Call, message).of_plugin(self.id(), self.core.generation)
    }

    /// Runs a method that never waits on this thread; the bytes of its result.
    ///
    /// # Errors
    /// The outer one if nobody may enter, the inner one as the call says.
    #[inline]
    pub(crate) fn call(
        &self,
        index: u32,
        input: &[u8],
        out: &mut [u8],
    ) -> Result<Result<usize>, Refusal> {
        let target = match self.inline_target(index) {
            Ok(target) => target,
            Err(error) => return Ok(Err(error)),
        };
        self.core.gate.enter()?;
        let _leave = Leave(self);
        Ok(self.call_inside(target, input, out))
    }

    /// Where calls go.
    pub(crate) fn entry(&self) -> Entry {
        self.entry
    }

    /// Who is inside.
    pub(crate) fn gate(&self) -> &'static Gate {
        &self.core.gate
    }

    /// As [`Self::call`], once inside.
    #[inline]
    pub(crate) fn call_inside(
        &self,
        method: Target,
        input: &[u8],
        out: &mut [u8],
    ) -> Result<usize> {
        let _one = self.turn(method)?;
        self.entry.call(self, method, input, out)
    }

    /// Whether the plugin runs many calls at once.
    pub(crate) fn has_batch(&self) -> bool {
        self.batch.is_some()
    }

    /// Has the plugin run calls, once inside; `serial` is one of them that is not thread-safe. What
    /// it returned: the records say which of them ran.
    ///
    /// # Errors
    /// `NotSupported` if it has no such function; `InUse`.
    pub(crate) fn call_batch(
        &self,
        serial: Option<Target>,
        records: &mut [Record],
        arena: &mut [u8],
    ) -> Result<Status> {
        let _one = serial.map(|method| self.turn(method)).transpose()?;
        let batch = self.batch.ok_or_else(|| {
            Error::new(ErrorKind::NotSupported, Stage::Call, "it runs calls one by one")
        })?;
        let count = u32::try_from(records.len()).unwrap_or(u32::MAX);
        let (arena, length, records) = (arena.as_mut_ptr(), arena.len(), records.as_mut_ptr());
        // SAFETY: by the contract: the instance is active, as somebody is inside; the arena, and so
        // many records within it, are there during the call.
        Ok(unsafe { batch(self.plugin, arena, length, records, count) })
    }

    #[cold]
    pub(crate) fn failed(&self, method: Target, status: Status, buf: &Buf) -> Error {
        let error = if status.is_error() {
            let error = self.judge(error_of(status, Stage::Call));
            let is_too_small = status == Status::BUFFER_TOO_SMALL;
            if is_too_small { error.with_needed(buf.len) } else { error }
        } else {
            let name = self.name(method);
            let message = if status == Status::OK {
                format!("{name} says that it wrote {} bytes into {}", buf.len, buf.cap)
            } else {
                format!("{name} returned {status}")
            };
            self.say(Error::new(ErrorKind::Failed, Stage::Call, message))
        };
        error.in_method(self.name(method))
    }

    /// `error` as one of this instance.
    pub(crate) fn say(&self, error: Error) -> Error {
        error.of_plugin(self.id(), self.core.generation)
    }

    /// `error` as one of a call of the method with this number.
    pub(crate) fn say_of(&self, error: Error, method: u32) -> Error {
        match self.target(method) {
            Ok(target) => self.say(error).in_method(self.name(target)),
            Err(_) => self.say(error),
        }
    }

    /// The turn of a method on this thread.
    #[inline]
    fn turn(&self, method: Target) -> Result<Option<Turn<'_>>> {
        if method.is_thread_safe() {
            return Ok(None);
        }
        self.serial.take().map(Some).ok_or_else(|| {
            let message = format!("{} is called by a call of its own", self.name(method));
            Error::new(ErrorKind::InUse, Stage::Call, message)
                .of_plugin(self.id(), self.core.generation)
        })
    }

    /// Runs the method of a call that is inside from this thread, and has it end, now or later.
    pub(crate) fn start(&self, index: u32, input: &[u8], id: CallId) {
        let ended = self.try_start(index, input, id);
        if let Err(mut error) = ended {
            if error.kind() == ErrorKind::Cancelled && self.core.pending.is_closed() {
                // The plugin was asked to end it, as the zone closes.
                error = self.say_of(closed(), index);
            }
            self.core.pending.end(id, Some(self.core), Err(error));
        }
    }

    fn try_start(&self, index: u32, input: &[u8], id: CallId) -> Result<()> {
        let method = self.target(index)?;
        let Some(start) = self.table.start else { return self.run(method, input, id) };
        let turn = self.turn(method)?;
        forget_error();
        // The token may be completed, and so be out, while this thread is still in `start`.
        self.core.gate.enter_again();
        let _leave = Leave(self);
        // SAFETY: by the contract: the instance is active, as the call is inside; `input` is there
        // during the call.
        let status = unsafe { start(self.plugin, method.id, Slice::new(input), id.number()) };
        drop(turn);
        match status {
            Status::PENDING => {
                // The plugin may have been asked to end it before it knew of it.
                if self.core.pending.is_given_up(id) {
                    self.cancel(id);
                }
            }
            Status::OK => {
                // Not there if it was completed besides, against the contract: what came first,
                // counts.
                self.core.pending.end(id, Some(self.core), Ok(&[]));
            }
            status => return Err(self.failed(method, status, &Buf::new(&mut []))),
        }
        Ok(())
    }

    /// As [`Self::try_start`], for plugins that have no `start`.
    fn run(&self, method: Target, input: &[u8], id: CallId) -> Result<()> {
        let mut room = vec![0; RESULT_BYTES];
        let mut result = self.call_inside(method, input, &mut room);
        if method.flags & flag::IDEMPOTENT != 0
            && let Err(error) = &result
            && (room.len() + 1..=RESULT_BYTES_MAX).contains(&error.needed())
        {
            room = vec![0; error.needed()];
            result = self.call_inside(method, input, &mut room);
        }
        let length = result?;
        self.core.pending.end(id, Some(self.core), Ok(&room[..length]));
        Ok(())
    }

    /// Asks the plugin to end a call. Whoever asks is inside, or is the one who ends the instance.
    pub(crate) fn cancel(&self, id: CallId) {
        let Some(cancel) = self.table.cancel else { return };
        // SAFETY: by the contract: from any thread; tokens that have ended are ignored. There is an
        // instance, as long as somebody is inside.
        let asked = self.check_panic(Stage::Call, || unsafe { cancel(self.plugin, id.number()) });
        // It is told of in the log; the call ends as it will.
        drop(asked);
    }

    /// Lets nobody in any more, if nobody is inside; whether that is so.
    pub(crate) fn close_if_idle(&self) -> bool {
        self.core.gate.close_if_empty()
    }

    /// Lets nobody in any more, and waits until nobody is inside. From `soft` on those who are are
    /// asked to end.
    ///
    /// # Errors
    /// `TimedOut` if somebody stays inside until `hard`: then the instance is left alone for ever.
    /// `Closed` if somebody else ends it.
    pub(crate) fn drain(&self, soft: Instant, hard: Instant) -> Result<()> {
        self.core.gate.close();
        if self.state() != State::Faulted {
            // A panic may come now: then it is faulted, and this fails.
            let drained = self.advance(Step::Drain);
            drained.or_else(|it| if self.state() == State::Faulted { Ok(()) } else { Err(it) })?;
        }
        if self.core.gate.wait_empty(soft) {
            return self
                .end_ways(hard.max(Instant::now() + WAYS_END))
                .map_err(|()| self.abandon(LATE));
        }
        // A call may wait for its parent.
        self.core.upward.close();
        // More than once: a plugin may be asked to end a call while it begins with it.
        let step = hard.saturating_duration_since(soft) / CANCELS;
        for n in 1..=CANCELS {
            for id in self.core.pending.running_in(self.core) {
                self.cancel(id);
            }
            if self.core.gate.wait_empty(if n == CANCELS { hard } else { soft + step * n }) {
                let ended = self.end_ways(hard.max(Instant::now() + WAYS_END));
                return ended.map_err(|()| self.abandon(LATE));
            }
        }
        Err(self.abandon(LATE))
    }

    /// What goes up has ended, and what is held is stale; an error if a handler of the parent's, or
    /// the plugin's end of an answer, does not come back in time.
    fn end_ways(&self, deadline: Instant) -> Result<(), ()> {
        self.core.objects.end();
        if self.core.upward.end_all(deadline) { Ok(()) } else { Err(()) }
    }

    pub(crate) fn upward(&self) -> &Arc<Upward> {
        &self.core.upward
    }

    pub(crate) fn objects(&self) -> &Arc<Objects> {
        &self.core.objects
    }

    /// An extension of the plugin, if it has it. Not once others can end it.
    fn extension<T: Extension>(&self) -> Option<T> {
        let get = self.table.get_extension?;
        // SAFETY: by the contract: from any thread; the name ends with NUL.
        let extension = unsafe { get(self.plugin, T::NAME.as_ptr()) };
        if extension.is_null() {
            return None;
        }
        // SAFETY: by the contract: what has this name is this.
        unsafe { abi::read_growing(extension.cast::<T>()) }.ok()
    }

    /// Has `watcher` told of a panic, from now on.
    pub(crate) fn watch(&self, watcher: Weak<dyn Watcher>) {
        // The first one is the only one.
        let _ = self.watcher.set(watcher);
    }

    /// Lets nobody in any more, and waits until nobody else is inside than the one who asks.
    ///
    /// # Errors
    /// `TimedOut`: then who is inside goes on, and nobody else gets in. `Faulted` if one of them
    /// panicked.
    pub(crate) fn quiesce(&self, deadline: Instant) -> Result<()> {
        self.core.gate.close();
        if self.core.gate.wait_alone(deadline) {
            // From here on nothing of it runs that could panic.
            let faulted = self.refusal().filter(|it| *it == Refusal::Faulted);
            return faulted.map_or(Ok(()), |refusal| Err(self.refused(refusal)));
        }
        Err(self.in_use())
    }

    /// Why its state is not handed over.
    pub(crate) fn in_use(&self) -> Error {
        let message = "a call did not end in time, and state is handed over between calls only";
        self.say(Error::new(ErrorKind::TimedOut, Stage::Close, message))
    }

    /// Lets others in again, after [`Self::quiesce`]. [`Self::tell_released`] is to follow.
    pub(crate) fn reopen(&self) {
        self.core.gate.reopen();
    }

    /// Tells the plugin which objects nobody holds any more, if it lets anybody in.
    pub(crate) fn tell_released(&self) {
        let Ok(()) = self.core.gate.enter() else { return };
        let _leave = Leave(self);
        let objects = std::mem::take(&mut *self.lock_unreleased());
        let Some(released) = self.released else { return };
        for object in objects {
            // SAFETY: by the contract: the instance is active, as this is inside.
            let told = self.check_panic(Stage::Call, || unsafe { released(self.plugin, object) });
            if told.is_err() {
                return;
            }
        }
    }

    fn lock_unreleased(&self) -> MutexGuard<'_, Vec<u64>> {
        self.unreleased.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn generation(&self) -> u32 {
        self.core.generation
    }

    /// Whether its state can be handed over.
    pub(crate) fn has_state(&self) -> bool {
        self.state_functions.is_some()
    }

    /// Its state, and the hash of what that is. [zone, no call in flight, somebody inside]
    ///
    /// # Errors
    /// What the plugin says.
    pub(crate) fn save_state(&self) -> Result<(Vec<u8>, u64)> {
        let Some((save, _)) = self.state_functions else { return Ok((Vec::new(), 0)) };
        let (mut room, mut hash) = (vec![0; RESULT_BYTES], 0);
        loop {
            let mut buf = Buf::new(&mut room);
            forget_error();
            // SAFETY: by the contract; both can be written.
            let status = unsafe { save(self.plugin, &raw mut buf, &raw mut hash) };
            let (length, capacity) = (buf.len, buf.cap);
            if status == Status::OK && length <= capacity {
                room.truncate(length);
                return Ok((room, hash));
            }
            let is_more = (capacity + 1..=RESULT_BYTES_MAX).contains(&length);
            if status != Status::BUFFER_TOO_SMALL || !is_more {
                let status = if status.is_error() { status } else { Status::INTERNAL };
                return Err(self.judge(error_of(status, Stage::Close)));
            }
            room = vec![0; length];
        }
    }

    /// Takes state over. [zone, no call in flight, somebody inside]
    ///
    /// # Errors
    /// What the plugin says; `SchemaMismatch` if it is of another version.
    pub(crate) fn load_state(&self, bytes: &[u8], hash: u64) -> Result<()> {
        let Some((_, load)) = self.state_functions else { return Ok(()) };
        // SAFETY: by the contract: the bytes are there during the call.
        self.check(Stage::Activate, || unsafe { load(self.plugin, Slice::new(bytes), hash) })
    }

    /// Ends a drained instance. [zone]
    ///
    /// # Errors
    /// `Panic` if the plugin does. Then it has ended as well.
    pub(crate) fn end(&self) -> Result<()> {
        let mut deactivated = Ok(());
        if self.advance(Step::Deactivate).is_ok()
            && let Some(deactivate) = self.table.deactivate
        {
            // SAFETY: by the contract: nobody is inside, and nobody enters any more.
            deactivated = self.check_panic(Stage::Close, || unsafe { deactivate(self.plugin) });
        }
        deactivated.and(self.destroy())
    }

    /// Leaves a drained instance, or one that cannot be drained, as it is for ever; the error that
    /// says so, and why.
    pub(crate) fn abandon(&self, why: &str) -> Error {
        let _ = self.advance(Step::Abandon);
        self.library.keep();
        self.core.objects.end();
        self.core.upward.end_all(Instant::now());
        ABANDONED.fetch_add(1, Ordering::Relaxed);
        let closed = closed().of_plugin(self.id(), self.core.generation);
        let open = self.core.pending.fail_all(Some(self.core), &closed);
        let message = format!("{why} ({open} calls were ended): the instance is left as it is");
        let error = Error::new(ErrorKind::TimedOut, Stage::Close, message)
            .of_plugin(self.id(), self.core.generation);
        log::warn!(target: "busbar::zone", "{error}");
        error
    }

    fn destroy(&self) -> Result<()> {
        if self.advance(Step::Destroy).is_ok()
            && let Some(destroy) = self.table.destroy
        {
            // SAFETY: by the contract: the last call there is.
            return self.check_panic(Stage::Close, || unsafe { destroy(self.plugin) });
        }
        Ok(())
    }
}

impl Owner for Instance {
    fn release(&self, object: u64) {
        self.lock_unreleased().push(object);
        // If nobody is let in at present: whoever reopens it comes after that.
        self.tell_released();
    }
}

/// Why most instances are left alone.
const LATE: &str = "a call did not end in time";
/// What answers that are on their way have to arrive, whatever the time of grace.
const WAYS_END: Duration = Duration::from_secs(1);
/// How often those inside are asked to end.
const CANCELS: u32 = 5;

/// How many instances were left alone because a call of them never ended.
static ABANDONED: AtomicUsize = AtomicUsize::new(0);

pub(crate) fn abandoned() -> usize {
    ABANDONED.load(Ordering::Relaxed)
}

fn create(library: &Library, core: &'static Core) -> Result<*const Plugin> {
    let id = &*library.contract.id;
    let c_id = CString::new(id).unwrap_or_default();
    let mut plugin = ptr::null();
    forget_error();
    // SAFETY: by the contract.
    let status = unsafe { (library.contract.create)(core.raw(), c_id.as_ptr(), &raw mut plugin) };
    if status != Status::OK {
        let status = if status.is_error() { status } else { Status::INTERNAL };
        return Err(error_of(status, Stage::Ready));
    }
    if plugin.is_null() { Err(null("the plugin that create gives", "is")) } else { Ok(plugin) }
}

/// What must be there, once it is known that there is an instance.
fn required(table: &Plugin) -> Result<Call> {
    if table.destroy.is_none() {
        return Err(null("busbar_plugin.destroy", "is"));
    }
    if table.start.is_some() != table.cancel.is_some() {
        let lacking = if table.start.is_some() { "cancel" } else { "start" };
        return Err(null(&format!("busbar_plugin.{lacking}"), "alone is"));
    }
    table.call.ok_or_else(|| null("busbar_plugin.call", "is"))
}

impl Target {
    /// As the plugin numbers it.
    pub(crate) fn id(self) -> u32 {
        self.id
    }

    pub(crate) fn is_thread_safe(self) -> bool {
        self.flags & flag::THREAD_SAFE != 0
    }
}

impl From<&Method> for Target {
    fn from(method: &Method) -> Self {
        Self { id: method.id, flags: method.flags }
    }
}

struct Leave<'a>(&'a Instance);

impl Drop for Leave<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.core.gate.leave();
    }
}

/// Somebody inside an instance.
pub(crate) struct Inside(Arc<Instance>);

impl Inside {
    /// Inside twice.
    pub(crate) fn again(&self) -> Self {
        self.0.core.gate.enter_again();
        Self(Arc::clone(&self.0))
    }

    pub(crate) fn instance(&self) -> &Arc<Instance> {
        &self.0
    }

    pub(crate) fn is_of(&self, core: &Core) -> bool {
        ptr::eq(self.0.core, core)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.core.gate.leave();
    }
}
