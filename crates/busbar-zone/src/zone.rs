//! Zones: an instance, the way to it, and its place in the tree. A parent owns its children: they
//! close before it, and nothing of them outlives it.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use busbar_types::registry::Registry;

use crate::batch;
use crate::bound::Bound;
use crate::call::{Call, Shared};
use crate::contract::Method;
use crate::host::is_within;
use crate::library::Library;
use crate::local::{Local, Plan};
use crate::pending::{CallId, GivenUp, Pending, Reply};
use crate::process::Remote;
use crate::source::Source;
use crate::transport::{Attendance, Transport};
use crate::{
    Completions, Error, ErrorKind, Object, Parent, ProcessOptions, ProcessStatus, Record, Result,
    Stage, State, Trust,
};

/// Zones of zones of zones: no deeper than this.
const DEPTH_MAX: usize = 16;

/// Which threads run a zone's calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// The caller's own: for methods that never wait. No copies, no queue.
    Inline,
    /// Those that all zones share.
    Shared,
    /// The zone's own.
    Dedicated {
        /// How many.
        threads: NonZeroUsize,
    },
    /// Those of a process of its own, as [`Options::process`] says: whatever its plugin does, this
    /// process lives on.
    Process,
}

/// A method of a zone, resolved once by [`Zone::method`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MethodId(u32);

impl MethodId {
    /// As a number, for other languages.
    #[must_use]
    pub fn index(self) -> u32 {
        self.0
    }

    /// From [`Self::index`]. One that no zone gave is an error when it is called.
    #[must_use]
    pub fn from_index(index: u32) -> Self {
        Self(index)
    }
}

/// A loaded plugin. Cheap to clone; the last one dropped closes it, with a second for calls to end.
#[derive(Clone)]
pub struct Zone {
    body: Arc<Body>,
    handle: Arc<Handle>,
}

/// A zone, as long as others keep it open.
#[derive(Clone)]
pub struct WeakZone(Weak<Handle>);

impl WeakZone {
    /// The zone, unless the last one was dropped.
    #[must_use]
    pub fn upgrade(&self) -> Option<Zone> {
        let handle = self.0.upgrade()?;
        Some(Zone { body: Arc::clone(&handle.0), handle })
    }

    /// Whether the last one was dropped.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}

impl fmt::Debug for WeakZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakZone")
    }
}

/// What closes the zone when it is dropped.
struct Handle(Arc<Body>);

/// The zone itself. Its parent has it until it has ended, whoever ends it.
pub(crate) struct Body {
    id: u64,
    plugin_id: String,
    mode: Mode,
    /// For calls on the caller's thread.
    inline: Option<Arc<Local>>,
    transport: Box<dyn Transport>,
    pending: Arc<Pending>,
    handle: OnceLock<Weak<Handle>>,
    parent: Option<Weak<Self>>,
    depth: usize,
    exposes: bool,
    /// `None` once it closes: then there are no more.
    children: Mutex<Option<Vec<Arc<Self>>>>,
    /// How it ended; locked while it ends, so that whoever else closes it waits for that.
    outcome: Mutex<Option<Result<()>>>,
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Zone")
            .field("id", &self.id())
            .field("plugin", &self.plugin_id())
            .field("mode", &self.mode())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

impl Zone {
    /// A zone of a library in this process.
    pub(crate) fn open(
        library: &Arc<Library>,
        registry: &'static Registry,
        options: &Options<'_>,
    ) -> Result<Self> {
        Self::new(options, |zone, pending| {
            let plan = Plan {
                zone,
                mode: options.mode,
                registry,
                config: options.config,
                allow_versions: options.allow_versions,
                pending,
                parent: options.exposed.cloned(),
                generation: options.generation,
            };
            Ok(Box::new(Local::open(library, plan)?))
        })
    }

    /// A zone of a library that a process of its own loads.
    pub(crate) fn open_process(
        source: Source,
        trust: &Trust,
        registry: &'static Registry,
        options: &Options<'_>,
    ) -> Result<Self> {
        // It may have another reason than the mode that was asked for.
        let options = &Options { mode: Mode::Process, ..*options };
        Self::new(options, |_, pending| {
            let remote = Remote::open(source, trust, registry, pending, options)?;
            Ok(Box::new(remote))
        })
    }

    /// A zone whose calls `connect` carries: it is given the zone's id and open calls.
    pub(crate) fn new(
        options: &Options<'_>,
        connect: impl FnOnce(u64, Arc<Pending>) -> Result<Box<dyn Transport>>,
    ) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let depth = options.parent.map_or(0, |zone| zone.body.depth + 1);
        if depth > DEPTH_MAX {
            let message = format!("zones are nested {DEPTH_MAX} deep at most");
            return Err(Error::new(ErrorKind::InvalidArgument, Stage::Ready, message));
        }
        let (id, pending) = (NEXT.fetch_add(1, Ordering::Relaxed), Arc::<Pending>::default());
        let transport = connect(id, Arc::clone(&pending))?;
        let body = Arc::new(Body {
            id,
            plugin_id: transport.identity().id,
            mode: options.mode,
            inline: transport.local().filter(|_| options.mode == Mode::Inline).cloned(),
            transport,
            pending,
            handle: OnceLock::new(),
            parent: options.parent.map(|zone| Arc::downgrade(&zone.body)),
            depth,
            exposes: options.exposed.is_some_and(|parent| parent.has_methods()),
            children: Mutex::new(Some(Vec::new())),
            outcome: Mutex::default(),
        });
        let handle = Arc::new(Handle(Arc::clone(&body)));
        // It is set here only.
        let _ = body.handle.set(Arc::downgrade(&handle));
        if let Some(parent) = options.parent {
            // If it has closed meanwhile, dropping the handle ends the zone.
            parent.body.adopt(&body)?;
        }
        Ok(Self { body, handle })
    }

    /// A number that no other zone of this process has or had.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.body.id
    }

    /// The id of its plugin.
    #[must_use]
    pub fn plugin_id(&self) -> &str {
        &self.body.plugin_id
    }

    /// The version of its plugin: of the generation that is called now.
    #[must_use]
    pub fn plugin_version(&self) -> String {
        self.body.transport.identity().version
    }

    /// What its plugin is written in: one of [`busbar_abi::runtime`].
    #[must_use]
    pub fn runtime(&self) -> u32 {
        self.body.transport.identity().runtime
    }

    /// Which threads run its calls.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.body.mode
    }

    /// Where its instance is in its life.
    #[must_use]
    pub fn state(&self) -> State {
        self.body.transport.state()
    }

    /// The zone it belongs to.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        self.body.parent.as_ref()?.upgrade()?.zone()
    }

    /// The zones that belong to it.
    #[must_use]
    pub fn children(&self) -> Vec<Self> {
        let children = self.body.lock_children();
        children.iter().flatten().filter_map(|child| child.zone()).collect()
    }

    /// Its methods; a [`MethodId`] is an index of these. A reload adds to them; those that are gone
    /// keep their place.
    #[must_use]
    pub fn methods(&self) -> Arc<[Method]> {
        self.body.transport.methods()
    }

    /// Names and hashes of the types of its plugin.
    #[must_use]
    pub fn types(&self) -> Vec<(String, u64)> {
        self.body.transport.types()
    }

    /// Calls that have not ended.
    #[must_use]
    pub fn open_calls(&self) -> usize {
        self.body.pending.len()
    }

    /// Calls that ended after they were cancelled: their results were dropped.
    #[must_use]
    pub fn late_calls(&self) -> u64 {
        self.body.pending.late()
    }

    /// The method with this name.
    ///
    /// # Errors
    /// `MethodNotFound`, with the names that there are.
    pub fn method(&self, name: &str) -> Result<MethodId> {
        // The last one: of several versions, it is the one that there is.
        let index = self.methods().iter().rposition(|method| method.name == name);
        index.and_then(|index| u32::try_from(index).ok()).map(MethodId).ok_or_else(|| {
            let methods = self.methods();
            let names: Vec<_> = methods.iter().map(|method| &*method.name).collect();
            let message = format!("it has no method {name:?}, but {}", names.join(", "));
            Error::new(ErrorKind::MethodNotFound, Stage::Call, message)
                .of_plugin(self.plugin_id(), 0)
        })
    }

    /// Runs a method on this thread, which borrows both slices; how many bytes its result has.
    /// Nothing is copied or allocated.
    ///
    /// # Errors
    /// What the plugin says; `BufferTooSmall` if `out` is, when the method may have had its effect;
    /// `NotSupported` unless the zone is [`Mode::Inline`] and the method never waits; `Closed`,
    /// `Faulted`, `MethodNotFound`.
    #[inline]
    pub fn call(&self, method: MethodId, input: &[u8], out: &mut [u8]) -> Result<usize> {
        match &self.body.inline {
            Some(local) => local.generations.call(method.0, input, out),
            None => Err(self.not_inline()),
        }
    }

    /// A method for this thread, looked up once: calling it costs less than [`Self::call`].
    ///
    /// # Errors
    /// `NotSupported` unless the zone is [`Mode::Inline`] and the method never waits;
    /// `MethodNotFound`.
    pub fn bind(&self, method: MethodId) -> Result<Bound> {
        match &self.body.inline {
            Some(local) => Bound::new(local, method),
            None => Err(self.not_inline()),
        }
    }

    /// Runs several methods on this thread, in order; each record says how it went, and what failed
    /// is listed by its index.
    ///
    /// # Errors
    /// As [`Self::call`], if none was run. `InvalidArgument` if a record is not within the arena or
    /// its result would lie in its input; then none was run, either.
    pub fn call_batch(
        &self,
        records: &mut [Record],
        arena: &mut [u8],
    ) -> Result<Vec<(usize, Error)>> {
        let Some(local) = &self.body.inline else { return Err(self.not_inline()) };
        batch::run(local.generations.enter()?.instance(), records, arena)
    }

    /// Has `sink` told of the end of a call, under the number `operation`; if this fails, never. In
    /// the mode inline that may be before this returns.
    ///
    /// # Errors
    /// `Again` if the queue is full; `Closed`, `Faulted`, `MethodNotFound`, `NotSupported`.
    pub fn submit(
        &self,
        method: MethodId,
        input: Vec<u8>,
        sink: Arc<dyn Completions>,
        operation: u64,
    ) -> Result<CallId> {
        self.open_call(method, sink, operation, |id| {
            self.body.transport.submit(method.0, input, id)
        })
    }

    fn open_call(
        &self,
        method: MethodId,
        sink: Arc<dyn Completions>,
        operation: u64,
        send: impl FnOnce(CallId) -> Result<()>,
    ) -> Result<CallId> {
        let id = self.body.pending.submit(method.0, Reply { sink, operation }, send);
        id.map_err(|error| error.of_plugin(self.plugin_id(), 0))
    }

    /// Gives a call up: whoever waits for it is told `Cancelled` before this returns. If it
    /// waits for a thread, it is not started; if it runs, its plugin is asked to end it, and what
    /// comes of it is dropped. `false` if it has ended, or was given up before.
    pub fn cancel(&self, id: CallId) -> bool {
        self.body.cancel(id)
    }

    /// As [`Self::cancel`], of the call that `operation` names.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "for processes"))]
    pub(crate) fn cancel_operation(&self, operation: u64) {
        if let Some(id) = self.body.pending.find_operation(operation) {
            self.cancel(id);
        }
    }

    /// Holds an object that the plugin has numbered, until what this gives is dropped. When nobody
    /// holds it any more, the plugin is told.
    ///
    /// # Errors
    /// `Stale` if the generation that is called now has no such object.
    pub fn hold(&self, object: u64) -> Result<Object> {
        let held = self.body.transport.hold(object);
        held.map_err(|error| error.of_plugin(self.plugin_id(), self.generation()))
    }

    /// A number for an object of the caller's, for the plugin, until it says, or anything says for
    /// it, that it does not need it: [`Parent::handle_release`].
    ///
    /// # Errors
    /// `Closed` if the zone is, exposes nothing, or has a million of them.
    pub fn lend(&self) -> Result<u64> {
        self.body.transport.lend().ok_or_else(|| {
            let message = "the zone is closed, exposes nothing, or has too many objects";
            Error::new(ErrorKind::Closed, Stage::Call, message).of_plugin(self.plugin_id(), 0)
        })
    }

    /// Lends an object no longer: its release by the plugin will be `E_STALE`. Whether it was lent.
    pub fn take_back(&self, object: u64) -> bool {
        self.body.transport.take_back(object)
    }

    /// Starts a call whose result nobody wants. If it fails, that is logged.
    ///
    /// # Errors
    /// As [`Self::submit`].
    pub fn post(&self, method: MethodId, input: Vec<u8>) -> Result<CallId> {
        let methods = self.methods();
        let name = methods.get(method.0 as usize).map_or("", |method| &method.name);
        let sink = Arc::new(Unanswered(format!("{}: {name}", self.plugin_id())));
        self.submit(method, input, sink, 0)
    }

    /// Runs a method on another thread or in its process, and waits for the result on this one:
    /// first awake, as long as that may pay, then asleep.
    ///
    /// # Errors
    /// The call's; `TimedOut` if it does not end in time, when it goes on without anybody waiting.
    pub fn call_waiting(
        &self,
        method: MethodId,
        input: &[u8],
        timeout: Duration,
    ) -> Result<Vec<u8>> {
        let shared = Call::shared();
        let id = self.open_call(method, Arc::<Shared>::clone(&shared), 0, |id| {
            let is_done = || shared.is_done();
            self.body.transport.submit_awaited(method.0, input, id, &is_done)
        })?;
        let call = Call::new(shared, Arc::downgrade(&self.body), id);
        call.wait(timeout).map_err(|error| error.of_plugin(self.plugin_id(), self.generation()))
    }

    /// Until what this gives is dropped, nobody else is woken when calls end: whoever has it looks
    /// for that. `None` if that is of no use: where calls end on threads of this process, by
    /// themselves, and where looking is turned off.
    #[must_use]
    pub fn attend(&self) -> Option<Box<dyn Attendance>> {
        self.body.transport.attend()
    }

    /// Whether its plugin may call whoever loaded it.
    #[must_use]
    pub fn exposes(&self) -> bool {
        self.body.exposes
    }

    /// The error for a call that somebody has waited for too long, and which goes on.
    #[doc(hidden)]
    #[must_use]
    pub fn overdue(&self, _id: CallId) -> Error {
        let error = Error::new(ErrorKind::TimedOut, Stage::Call, "the call did not end in time");
        error.of_plugin(self.plugin_id(), self.generation())
    }

    /// How its process does; `None` if it has none.
    #[must_use]
    pub fn process(&self) -> Option<ProcessStatus> {
        self.body.transport.process()
    }

    /// As [`Self::submit`], for Rust.
    ///
    /// # Errors
    /// As [`Self::submit`].
    pub fn start(&self, method: MethodId, input: Vec<u8>) -> Result<Call> {
        let shared = Call::shared();
        let id = self.submit(method, input, Arc::<Shared>::clone(&shared), 0)?;
        Ok(Call::new(shared, Arc::downgrade(&self.body), id))
    }

    /// Closes the zone, its children first. Calls that run may end within `grace`; from half of it
    /// on they are asked to. Once more gives the same result again.
    ///
    /// # Errors
    /// `TimedOut` if a call does not end, of this zone or of a child: that instance is left as it
    /// is. `Panic` if a plugin panics as it ends, which it has then. `InvalidArgument` from within
    /// a call of the zone, which would wait for itself.
    pub fn close(&self, grace: Duration) -> Result<()> {
        if self.is_running_here() {
            let message = "a zone cannot be closed from within its own calls";
            let error = Error::new(ErrorKind::InvalidArgument, Stage::Close, message);
            return Err(error.of_plugin(self.plugin_id(), 0));
        }
        self.body.close(grace)
    }

    /// As [`Self::close`], if nothing of it is in use: no call has begun and not ended, on whatever
    /// thread, and it has no children.
    ///
    /// # Errors
    /// `InUse`, when nothing has changed; else as `close`.
    pub fn close_if_idle(&self, grace: Duration) -> Result<()> {
        let body = &self.body;
        if body.outcome.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            return self.close(grace);
        }
        let deadline = Instant::now() + OUT;
        while !body.shut_if_idle() {
            if body.pending.is_awaited() || Instant::now() >= deadline {
                let calls = body.pending.len();
                let message = format!("it is in use: {calls} calls, or calls inline, or zones");
                let error = Error::new(ErrorKind::InUse, Stage::Close, message);
                return Err(error.of_plugin(self.plugin_id(), self.generation()));
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        self.close(grace)
    }

    /// Its plugin in this process.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "for processes"))]
    pub(crate) fn local(&self) -> Option<&Arc<Local>> {
        self.body.transport.local()
    }

    pub(crate) fn transport(&self) -> &dyn Transport {
        &*self.body.transport
    }

    /// Whether this thread is within a call of the zone, or a handler of what it calls in turn.
    #[must_use]
    pub fn is_running_here(&self) -> bool {
        is_within(self.id())
    }

    /// Something that does not keep it open.
    #[must_use]
    pub fn downgrade(&self) -> WeakZone {
        WeakZone(Arc::downgrade(&self.handle))
    }

    /// Whether the generation that is called now has this method.
    #[must_use]
    pub fn has(&self, method: MethodId) -> bool {
        self.body.transport.has(method.0)
    }

    /// Which generation of its plugin is called now: 1 until it is reloaded.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.body.transport.identity().generation
    }

    #[cold]
    fn not_inline(&self) -> Error {
        let message = "its mode is not inline: submit the call instead";
        Error::new(ErrorKind::NotSupported, Stage::Call, message).of_plugin(self.plugin_id(), 0)
    }
}

/// Of a call whose result nobody wants: what was called.
struct Unanswered(String);

impl Completions for Unanswered {
    fn complete(&self, _operation: u64, result: Result<&[u8]>) {
        if let Err(error) = result {
            log::warn!(target: "busbar::zone", "{}: {}", self.0, error.message());
        }
    }
}

/// How a zone is opened.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Options<'a> {
    /// Which threads run its calls.
    pub mode: Mode,
    /// JSON for the plugin.
    pub config: &'a str,
    /// The zone it belongs to.
    pub parent: Option<&'a Zone>,
    /// Whether its types may be other versions of registered ones.
    pub allow_versions: bool,
    /// How its process is run, in the mode [`Mode::Process`].
    pub process: Option<&'a ProcessOptions>,
    /// What becomes of a library in Go.
    pub go: GoLibraries,
    /// What its plugin may call, and who is told of what becomes of it.
    pub exposed: Option<&'a Arc<dyn Parent>>,
    /// Of its first instance.
    pub(crate) generation: u32,
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("mode", &self.mode)
            .field("config", &self.config)
            .field("parent", &self.parent)
            .field("allow_versions", &self.allow_versions)
            .field("process", &self.process)
            .field("go", &self.go)
            .field("exposed", &self.exposed.is_some())
            .finish_non_exhaustive()
    }
}

/// What becomes of a library in Go for which a mode within this process is asked. Its runtime
/// cannot be unloaded, a second one hangs the first, its panics end the process, and its handlers
/// of signals are not for others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum GoLibraries {
    /// It is not loaded.
    #[default]
    Refuse,
    /// It has a process of its own.
    Isolate,
    /// It is loaded, if it is the only one.
    Allow,
}

impl Options<'_> {
    /// A zone of this mode, with nothing special.
    #[must_use]
    pub const fn new(mode: Mode) -> Self {
        Self {
            mode,
            config: "null",
            parent: None,
            allow_versions: false,
            process: None,
            go: GoLibraries::Refuse,
            exposed: None,
            generation: 1,
        }
    }
}

impl Body {
    pub(crate) fn zone(self: &Arc<Self>) -> Option<Zone> {
        let handle = self.handle.get()?.upgrade()?;
        Some(Zone { body: Arc::clone(self), handle })
    }

    pub(crate) fn cancel(&self, id: CallId) -> bool {
        let message = "the call was cancelled";
        let error =
            Error::new(ErrorKind::Cancelled, Stage::Call, message).of_plugin(&self.plugin_id, 0);
        match self.pending.give_up(id, error) {
            GivenUp::Nothing => false,
            GivenUp::Waiting => true,
            call @ GivenUp::Running(_) => {
                self.transport.cancel(id, call);
                true
            }
        }
    }

    fn lock_children(&self) -> MutexGuard<'_, Option<Vec<Arc<Self>>>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn adopt(&self, child: &Arc<Self>) -> Result<()> {
        let mut children = self.lock_children();
        let Some(children) = &mut *children else {
            let error = Error::new(ErrorKind::Closed, Stage::Ready, "its parent is closed");
            return Err(error.of_plugin(&child.plugin_id, 0));
        };
        children.push(Arc::clone(child));
        Ok(())
    }

    /// Lets no calls in any more, if it is idle; whether that is so.
    fn shut_if_idle(&self) -> bool {
        let is_alone = self.lock_children().as_ref().is_none_or(Vec::is_empty);
        if !is_alone || !self.pending.close_if_empty() {
            return false;
        }
        let is_idle = self.transport.close_if_idle();
        if !is_idle {
            self.pending.reopen();
        }
        is_idle
    }

    fn close(&self, grace: Duration) -> Result<()> {
        let mut once = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(outcome) = &*once {
            return outcome.clone();
        }
        let outcome = self.end(grace);
        once.insert(outcome).clone()
    }

    fn end(&self, grace: Duration) -> Result<()> {
        let children = self.lock_children().take().unwrap_or_default();
        let mut outcome = Ok(());
        for child in children.iter().rev() {
            // One that somebody else ends is waited for.
            outcome = outcome.and(child.close(grace));
        }
        self.pending.close();
        let ended = self.transport.close(grace);
        if let Some(parent) = self.parent.as_ref().and_then(Weak::upgrade)
            && let Some(children) = &mut *parent.lock_children()
        {
            children.retain(|child| child.id != self.id);
        }
        outcome.and(ended)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Whoever was told of the end of a call may be faster than the call, which is out a moment
        // later. How it ends is told of in the log.
        if !is_within(self.0.id) {
            let _ = self.0.close(DROP_GRACE);
            return;
        }
        // This is a call of its own, which would wait for itself.
        let body = Arc::clone(&self.0);
        let thread = std::thread::Builder::new().name(String::from("busbar-close"));
        if thread.spawn(move || drop(body.close(DROP_GRACE))).is_err() {
            let _ = self.0.close(Duration::ZERO);
        }
    }
}

/// What a call whose end was told of has to be out.
const OUT: Duration = Duration::from_millis(50);

/// What calls have to end in a zone that is dropped, and not closed.
const DROP_GRACE: Duration = Duration::from_secs(1);
