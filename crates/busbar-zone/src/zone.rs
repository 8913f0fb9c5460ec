//! Zones: an instance, the way to it, and its place in the tree. A parent owns its children: they
//! close before it, and nothing of them outlives it.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use busbar_types::registry::Registry;

use crate::bound::Bound;
use crate::call::Call;
use crate::contract::Method;
use crate::host::is_thread_of;
use crate::instance::Instance;
use crate::library::{Library, Types};
use crate::pending::Reply;
use crate::pool::{Pool, QUEUE};
use crate::process::Remote;
use crate::source::Source;
use crate::transport::{Inline, Threads, Transport};
use crate::{
    Completions, Error, ErrorKind, ProcessOptions, ProcessStatus, Result, Stage, State, Trust,
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

/// One call of a batch: where in an arena its input is, and where its result goes.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
#[expect(clippy::exhaustive_structs, reason = "callers make it; `busbar.batch/1` has this layout")]
pub struct Record {
    /// [`MethodId::index`].
    pub method: u32,
    /// Where its input begins.
    pub in_offset: u32,
    /// Bytes of it.
    pub in_length: u32,
    /// Where its result begins; not within its input.
    pub out_offset: u32,
    /// Room for it.
    pub out_room: u32,
    /// Set: bytes of the result, or how much room it takes.
    pub out_length: u32,
    /// Set: 0, or what the call returned.
    pub status: i32,
    /// 0.
    pub reserved: u32,
}

/// A loaded plugin. Cheap to clone; the last one dropped closes it, without waiting for calls.
#[derive(Clone)]
pub struct Zone(Arc<Inner>);

struct Inner {
    home: Home,
    registry: &'static Registry,
    parent: Option<Weak<Self>>,
    depth: usize,
    /// `None` once it closes: then there are no more.
    children: Mutex<Option<Vec<Weak<Self>>>>,
    /// How it ended; locked while it ends, so that whoever else closes it waits for that.
    outcome: Mutex<Option<Result<()>>>,
}

/// Where a zone's plugin is.
enum Home {
    /// In this process.
    Here { instance: Arc<Instance>, transport: Box<dyn Transport>, is_inline: bool },
    /// In one of its own.
    Process(Remote),
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
    /// A zone of a loaded library.
    pub(crate) fn open(
        library: &Arc<Library>,
        registry: &'static Registry,
        options: &Options<'_>,
    ) -> Result<Self> {
        check_depth(options)?;
        let transport: Box<dyn Transport> = match options.mode {
            Mode::Inline => Box::new(Inline),
            Mode::Shared => Box::new(Threads { pool: Pool::shared()?, mode: options.mode }),
            Mode::Dedicated { threads } => {
                let pool = Arc::new(Pool::new("busbar-zone", threads, QUEUE)?);
                Box::new(Threads { pool, mode: options.mode })
            }
            Mode::Process => {
                let message = "what is compiled into this process has no file for another one";
                return Err(Error::new(ErrorKind::NotSupported, Stage::Ready, message));
            }
        };
        let opened = activate(library, registry, next_id(), options);
        let instance = opened.inspect_err(|_| transport.close())?;
        let is_inline = options.mode == Mode::Inline;
        Self::settle(Home::Here { instance, transport, is_inline }, registry, options)
    }

    /// A zone of a library that a process of its own loads.
    pub(crate) fn open_process(
        source: Source,
        trust: &Trust,
        registry: &'static Registry,
        options: &Options<'_>,
    ) -> Result<Self> {
        check_depth(options)?;
        let remote = Remote::open(source, trust, next_id(), options)?;
        // What is dropped ends its process.
        let published = remote.types().publish(registry, options.allow_versions);
        published.map_err(|error| error.of(remote.plugin_id()))?;
        Self::settle(Home::Process(remote), registry, options)
    }

    fn settle(home: Home, registry: &'static Registry, options: &Options<'_>) -> Result<Self> {
        let zone = Self(Arc::new(Inner {
            home,
            registry,
            parent: options.parent.map(|zone| Arc::downgrade(&zone.0)),
            depth: options.parent.map_or(0, |zone| zone.0.depth + 1),
            children: Mutex::new(Some(Vec::new())),
            outcome: Mutex::default(),
        }));
        if let Some(parent) = options.parent {
            // If it has closed meanwhile, dropping the zone ends it.
            parent.0.adopt(&zone.0)?;
        }
        Ok(zone)
    }

    /// A number that no other zone of this process has or had.
    #[must_use]
    pub fn id(&self) -> u64 {
        match &self.0.home {
            Home::Here { instance, .. } => instance.zone(),
            Home::Process(remote) => remote.zone(),
        }
    }

    /// The id of its plugin.
    #[must_use]
    pub fn plugin_id(&self) -> &str {
        self.0.plugin_id()
    }

    /// The version of its plugin.
    #[must_use]
    pub fn plugin_version(&self) -> &str {
        match &self.0.home {
            Home::Here { instance, .. } => &instance.library().contract.version,
            Home::Process(remote) => remote.version(),
        }
    }

    /// What its plugin is written in: one of [`busbar_abi::runtime`].
    #[must_use]
    pub fn runtime(&self) -> u32 {
        match &self.0.home {
            Home::Here { instance, .. } => instance.library().contract.runtime,
            Home::Process(remote) => remote.runtime(),
        }
    }

    /// Which threads run its calls.
    #[must_use]
    pub fn mode(&self) -> Mode {
        match &self.0.home {
            Home::Here { transport, .. } => transport.mode(),
            Home::Process(_) => Mode::Process,
        }
    }

    /// Where its instance is in its life.
    #[must_use]
    pub fn state(&self) -> State {
        match &self.0.home {
            Home::Here { instance, .. } => instance.state(),
            Home::Process(remote) => remote.state(),
        }
    }

    /// The zone it belongs to.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        self.0.parent.as_ref()?.upgrade().map(Self)
    }

    /// The zones that belong to it.
    #[must_use]
    pub fn children(&self) -> Vec<Self> {
        let children = self.0.lock_children();
        children.iter().flatten().filter_map(Weak::upgrade).map(Self).collect()
    }

    /// Its methods; a [`MethodId`] is an index of these.
    #[must_use]
    pub fn methods(&self) -> &[Method] {
        match &self.0.home {
            Home::Here { instance, .. } => &instance.library().contract.methods,
            Home::Process(remote) => remote.methods(),
        }
    }

    /// Names and hashes of the types of its plugin.
    pub fn types(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.types().names()
    }

    /// The method with this name.
    ///
    /// # Errors
    /// `MethodNotFound`, with the names that there are.
    pub fn method(&self, name: &str) -> Result<MethodId> {
        let index = self.methods().iter().position(|method| method.name == name);
        index.and_then(|index| u32::try_from(index).ok()).map(MethodId).ok_or_else(|| {
            let names: Vec<_> = self.methods().iter().map(|method| &*method.name).collect();
            let message = format!("it has no method {name:?}, but {}", names.join(", "));
            Error::new(ErrorKind::MethodNotFound, Stage::Call, message).of(self.plugin_id())
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
        self.inline_instance()?.call(method.0, input, out)
    }

    /// A method for this thread, looked up once: calling it costs less than [`Self::call`].
    ///
    /// # Errors
    /// `NotSupported` unless the zone is [`Mode::Inline`] and the method never waits;
    /// `MethodNotFound`.
    pub fn bind(&self, method: MethodId) -> Result<Bound> {
        Bound::new(self.inline_instance()?, method)
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
        let instance = self.inline_instance()?;
        for (index, record) in records.iter().enumerate() {
            instance.inline_target(record.method)?;
            check_record(record, arena.len()).map_err(|message| {
                let message = format!("record {index}: {message}");
                Error::new(ErrorKind::InvalidArgument, Stage::Call, message).of(self.plugin_id())
            })?;
        }
        let inside = instance.inside()?;
        let mut failed = Vec::new();
        for (index, record) in records.iter_mut().enumerate() {
            let method = inside.instance().target(record.method)?;
            let (input, out) = split(record, arena);
            match inside.instance().call_inside(method, input, out) {
                Ok(length) => (record.out_length, record.status) = (length as u32, 0),
                Err(error) => {
                    let needed = u32::try_from(error.needed()).unwrap_or(u32::MAX);
                    let status = error.status().0;
                    let status = if status < 0 { status } else { busbar_abi::Status::INTERNAL.0 };
                    (record.out_length, record.status) = (needed, status);
                    if inside.instance().state() == State::Faulted {
                        return Err(error);
                    }
                    failed.push((index, error));
                }
            }
        }
        Ok(failed)
    }

    /// Has `sink` told of the end of a call, under the number `operation`; if this fails, never. In
    /// the mode inline that is before this returns.
    ///
    /// # Errors
    /// `Again` if the queue is full; `Closed`, `Faulted`, `MethodNotFound`, `NotSupported`.
    pub fn submit(
        &self,
        method: MethodId,
        input: Vec<u8>,
        sink: Arc<dyn Completions>,
        operation: u64,
    ) -> Result<()> {
        let reply = Reply { sink, operation };
        match &self.0.home {
            Home::Here { instance, transport, .. } => {
                transport.submit(instance, method.0, input, reply)
            }
            Home::Process(remote) => remote.submit(method.0, input, reply),
        }
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
        match &self.0.home {
            Home::Here { .. } => self.start(method, input.to_vec())?.wait(timeout),
            Home::Process(remote) => remote.call_waiting(method.0, input, timeout),
        }
    }

    /// How its process does; `None` if it has none.
    #[must_use]
    pub fn process(&self) -> Option<ProcessStatus> {
        match &self.0.home {
            Home::Here { .. } => None,
            Home::Process(remote) => Some(remote.status()),
        }
    }

    /// Starts a call whose result nobody wants. If it fails, that is logged.
    ///
    /// # Errors
    /// As [`Self::submit`].
    pub fn post(&self, method: MethodId, input: Vec<u8>) -> Result<()> {
        let name = self.methods().get(method.0 as usize).map_or("", |method| &method.name);
        let sink = Arc::new(Unanswered(format!("{}: {name}", self.plugin_id())));
        self.submit(method, input, sink, 0)
    }

    /// As [`Self::submit`], for Rust.
    ///
    /// # Errors
    /// As [`Self::submit`].
    pub fn start(&self, method: MethodId, input: Vec<u8>) -> Result<Call> {
        let (call, shared) = Call::new();
        self.submit(method, input, shared, 0)?;
        Ok(call)
    }

    /// Closes the zone, its children first. Calls that run may end within `grace`; from half of it
    /// on they are asked to. Once more gives the same result again.
    ///
    /// # Errors
    /// `TimedOut` if a call does not end, of this zone or of a child: that instance is left as it
    /// is. `InvalidArgument` from within a call of the zone, which would wait for itself.
    pub fn close(&self, grace: Duration) -> Result<()> {
        if is_thread_of(self.id()) {
            let message = "a zone cannot be closed from within its own calls";
            let error = Error::new(ErrorKind::InvalidArgument, Stage::Close, message);
            return Err(error.of(self.plugin_id()));
        }
        self.0.close(grace)
    }

    /// Its instance, if that is in this process.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "for processes"))]
    pub(crate) fn instance(&self) -> Option<&Arc<Instance>> {
        match &self.0.home {
            Home::Here { instance, .. } => Some(instance),
            Home::Process(_) => None,
        }
    }

    #[inline]
    fn inline_instance(&self) -> Result<&Arc<Instance>> {
        match &self.0.home {
            Home::Here { instance, is_inline: true, .. } => Ok(instance),
            _ => Err(self.not_inline()),
        }
    }

    #[cold]
    fn not_inline(&self) -> Error {
        let message = "its mode is not inline: submit the call instead";
        Error::new(ErrorKind::NotSupported, Stage::Call, message).of(self.plugin_id())
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
#[derive(Clone, Copy, Debug)]
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
        }
    }
}

/// An active instance whose types are registered.
fn activate(
    library: &Arc<Library>,
    registry: &'static Registry,
    id: u64,
    options: &Options<'_>,
) -> Result<Arc<Instance>> {
    library.add_instance()?;
    let instance = Instance::make(library, id, options.config);
    let instance = instance.inspect_err(|_| library.remove_instance())?;
    let published = library.types().publish(registry, options.allow_versions);
    if let Err(error) = published {
        let _ = instance.close(Duration::ZERO);
        library.remove_instance();
        return Err(error.of(instance.id()));
    }
    Ok(instance)
}

impl Inner {
    fn lock_children(&self) -> MutexGuard<'_, Option<Vec<Weak<Self>>>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn adopt(&self, child: &Arc<Self>) -> Result<()> {
        let mut children = self.lock_children();
        let Some(children) = &mut *children else {
            let error = Error::new(ErrorKind::Closed, Stage::Ready, "its parent is closed");
            return Err(error.of(child.plugin_id()));
        };
        children.retain(|child| child.strong_count() > 0);
        children.push(Arc::downgrade(child));
        Ok(())
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
        for child in children.iter().rev().filter_map(Weak::upgrade) {
            outcome = outcome.and(child.close(grace));
        }
        let ended = match &self.home {
            Home::Here { instance, transport, .. } => {
                let ended = instance.close(grace);
                if ended.is_ok() {
                    transport.close();
                }
                instance.library().remove_instance();
                ended
            }
            Home::Process(remote) => remote.close(grace),
        };
        self.types().withdraw(self.registry);
        outcome.and(ended)
    }

    fn plugin_id(&self) -> &str {
        match &self.home {
            Home::Here { instance, .. } => instance.id(),
            Home::Process(remote) => remote.plugin_id(),
        }
    }

    fn types(&self) -> &Types {
        match &self.home {
            Home::Here { instance, .. } => instance.library().types(),
            Home::Process(remote) => remote.types(),
        }
    }
}

fn check_depth(options: &Options<'_>) -> Result<()> {
    if options.parent.is_none_or(|zone| zone.0.depth < DEPTH_MAX) {
        return Ok(());
    }
    let message = format!("zones are nested {DEPTH_MAX} deep at most");
    Err(Error::new(ErrorKind::InvalidArgument, Stage::Ready, message))
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Drop for Inner {
    fn drop(&mut self) {
        // What runs keeps its instance; it is told of in the log.
        let _ = self.close(Duration::ZERO);
    }
}

fn check_record(record: &Record, arena: usize) -> Result<(), String> {
    let end = |offset: u32, length: u32| offset as usize + length as usize;
    let (in_end, out_end) =
        (end(record.in_offset, record.in_length), end(record.out_offset, record.out_room));
    if in_end > arena || out_end > arena {
        return Err(format!("it ends at {}, the arena at {arena}", in_end.max(out_end)));
    }
    let is_apart = in_end <= record.out_offset as usize || out_end <= record.in_offset as usize;
    if is_apart || record.in_length == 0 || record.out_room == 0 {
        return Ok(());
    }
    Err(String::from("its result would lie in its input"))
}

/// Input and room of a checked record.
fn split<'a>(record: &Record, arena: &'a mut [u8]) -> (&'a [u8], &'a mut [u8]) {
    let (input, in_length) = (record.in_offset as usize, record.in_length as usize);
    let (out, room) = (record.out_offset as usize, record.out_room as usize);
    if in_length == 0 {
        return (&[], &mut arena[out..out + room]);
    }
    if room == 0 {
        return (&arena[input..input + in_length], &mut []);
    }
    if input < out {
        let (before, after) = arena.split_at_mut(out);
        return (&before[input..input + in_length], &mut after[..room]);
    }
    let (before, after) = arena.split_at_mut(input);
    (&after[..in_length], &mut before[out..out + room])
}
