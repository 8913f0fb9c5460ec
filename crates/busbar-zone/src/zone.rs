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
use crate::library::Library;
use crate::pending::Reply;
use crate::pool::{Pool, QUEUE};
use crate::transport::{Inline, Threads, Transport};
use crate::{Completions, Error, ErrorKind, Result, Stage, State};

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
    instance: Arc<Instance>,
    transport: Box<dyn Transport>,
    is_inline: bool,
    registry: &'static Registry,
    parent: Option<Weak<Self>>,
    depth: usize,
    /// `None` once it closes: then there are no more.
    children: Mutex<Option<Vec<Weak<Self>>>>,
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
    /// A zone of a loaded library.
    pub(crate) fn open(
        library: &Arc<Library>,
        registry: &'static Registry,
        options: &Options<'_>,
    ) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let parent = options.parent.map(|zone| Arc::downgrade(&zone.0));
        let depth = options.parent.map_or(0, |zone| zone.0.depth + 1);
        if depth > DEPTH_MAX {
            let message = format!("zones are nested {DEPTH_MAX} deep at most");
            return Err(Error::new(ErrorKind::InvalidArgument, Stage::Ready, message));
        }
        let transport: Box<dyn Transport> = match options.mode {
            Mode::Inline => Box::new(Inline),
            Mode::Shared => Box::new(Threads { pool: Pool::shared()?, mode: options.mode }),
            Mode::Dedicated { threads } => {
                let pool = Arc::new(Pool::new("busbar-zone", threads, QUEUE)?);
                Box::new(Threads { pool, mode: options.mode })
            }
        };
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let opened = activate(library, registry, id, options);
        let instance = opened.inspect_err(|_| transport.close())?;
        let zone = Self(Arc::new(Inner {
            instance,
            transport,
            is_inline: options.mode == Mode::Inline,
            registry,
            parent,
            depth,
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
        self.0.instance.zone()
    }

    /// The id of its plugin.
    #[must_use]
    pub fn plugin_id(&self) -> &str {
        self.0.instance.id()
    }

    /// The version of its plugin.
    #[must_use]
    pub fn plugin_version(&self) -> &str {
        &self.0.instance.library().contract.version
    }

    /// What its plugin is written in: one of [`busbar_abi::runtime`].
    #[must_use]
    pub fn runtime(&self) -> u32 {
        self.0.instance.library().contract.runtime
    }

    /// Which threads run its calls.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.0.transport.mode()
    }

    /// Where its instance is in its life.
    #[must_use]
    pub fn state(&self) -> State {
        self.0.instance.state()
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
        &self.0.instance.library().contract.methods
    }

    /// Names and hashes of the types of its plugin.
    pub fn types(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.instance.library().types().names()
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
        let inner = &*self.0;
        if !inner.is_inline {
            return Err(self.not_inline());
        }
        inner.instance.call(method.0, input, out)
    }

    /// A method for this thread, looked up once: calling it costs less than [`Self::call`].
    ///
    /// # Errors
    /// `NotSupported` unless the zone is [`Mode::Inline`] and the method never waits;
    /// `MethodNotFound`.
    pub fn bind(&self, method: MethodId) -> Result<Bound> {
        if !self.0.is_inline {
            return Err(self.not_inline());
        }
        Bound::new(&self.0.instance, method)
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
        if !self.0.is_inline {
            return Err(self.not_inline());
        }
        for (index, record) in records.iter().enumerate() {
            self.0.instance.inline_target(record.method)?;
            check_record(record, arena.len()).map_err(|message| {
                let message = format!("record {index}: {message}");
                Error::new(ErrorKind::InvalidArgument, Stage::Call, message).of(self.plugin_id())
            })?;
        }
        let inside = self.0.instance.inside()?;
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
        self.0.transport.submit(&self.0.instance, method.0, input, reply)
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

    #[cold]
    fn not_inline(&self) -> Error {
        let message = "its mode is not inline: submit the call instead";
        Error::new(ErrorKind::NotSupported, Stage::Call, message).of(self.plugin_id())
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
}

impl Options<'_> {
    /// A zone of this mode, with nothing special.
    #[must_use]
    pub const fn new(mode: Mode) -> Self {
        Self { mode, config: "null", parent: None, allow_versions: false }
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
            return Err(error.of(child.instance.id()));
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
        let ended = self.instance.close(grace);
        if ended.is_ok() {
            self.transport.close();
        }
        let library = self.instance.library();
        library.types().withdraw(self.registry);
        library.remove_instance();
        outcome.and(ended)
    }
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
