//! A plugin's process, as its zone sees it.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use busbar_abi::method as flag;
use busbar_types::SerializeError;
use busbar_types::format::Formats;
use busbar_types::registry::{ForeignFunctions, Origin, TypeEntry};
use busbar_types::schema::Schema;

use super::ProcessStatus;
use super::calls::InFlight;
use super::child::Recipe;
use super::live::{Argument, Phase, Shared};
use super::supervisor::Supervisor;
use super::wire::{self, Bound, WireMethod};
use crate::contract::Method;
use crate::library::Types;
use crate::pending::{Completions, Reply};
use crate::source::Source;
use crate::{Error, ErrorKind, Options, Result, Stage, State, Trust};

/// How often a caller looks for an answer before somebody else may.
const LOOKS: u32 = 64;
/// How long a plugin without calls may take to end, whatever the time of grace.
const END_MIN: Duration = Duration::from_secs(5);

pub(crate) struct Remote {
    shared: Arc<Shared>,
    methods: Vec<Method>,
    types: Types,
    spin: Duration,
    supervisor: Mutex<Option<JoinHandle<()>>>,
}

impl Remote {
    /// Starts a process for the library, and waits until its plugin is active.
    ///
    /// # Errors
    /// As loading it here; `Crashed` if its process ends, `TimedOut` if it takes too long, `Host`
    /// if there is none.
    pub(crate) fn open(
        source: Source,
        trust: &Trust,
        zone: u64,
        options: &Options<'_>,
    ) -> Result<Self> {
        let Some(process) = options.process else {
            let message = "the mode process needs an executable: set the option process";
            return Err(Error::new(ErrorKind::InvalidArgument, Stage::Verify, message));
        };
        let shared = Arc::new(Shared::new(zone, process.call_timeout.is_some()));
        let recipe = Recipe::new(&source, options.config, process)?;
        let (sender, bound) = mpsc::channel();
        let supervisor = Supervisor::new(Arc::clone(&shared), recipe, process);
        let (trust, hash, sidecar) = (trust.clone(), source.hash, source.sidecar);
        let check = move |bound: &Bound| {
            trust.check_id(&bound.id, hash)?;
            sidecar.as_ref().map_or(Ok(()), |sidecar| sidecar.check(&bound.id, &bound.version))
        };
        let thread = thread::Builder::new().name(String::from("busbar-process"));
        // The process ends with the thread that starts it: this one lives as long.
        let thread = thread.spawn(move || supervisor.run(&check, &sender)).map_err(|error| {
            Error::new(ErrorKind::Io, Stage::Ready, error.to_string()).with_source(error)
        })?;
        let internal = || Error::new(ErrorKind::Internal, Stage::Ready, "its supervisor is gone");
        let opened = bound.recv().unwrap_or_else(|_| Err(internal()));
        let opened = opened.and_then(|()| {
            let bound = shared.bound.get().ok_or_else(internal)?;
            let methods = bound.methods.iter().map(Method::from).collect();
            let origin = format!("{} ({})", bound.id, source.path.display());
            Ok((methods, entries(bound, &origin)?))
        });
        let supervisor = Mutex::new(Some(thread));
        let (methods, types) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                let remote = Self {
                    shared,
                    methods: Vec::new(),
                    types: Types::new(Vec::new()),
                    spin: Duration::ZERO,
                    supervisor,
                };
                let _ = remote.close(Duration::ZERO);
                return Err(error);
            }
        };
        Ok(Self { shared, methods, types, spin: process.spin, supervisor })
    }

    fn bound(&self) -> Option<&Bound> {
        self.shared.bound.get()
    }

    pub(crate) fn zone(&self) -> u64 {
        self.shared.zone
    }

    pub(crate) fn plugin_id(&self) -> &str {
        self.shared.id()
    }

    pub(crate) fn version(&self) -> &str {
        self.bound().map_or("", |bound| &bound.version)
    }

    pub(crate) fn runtime(&self) -> u32 {
        self.bound().map_or(0, |bound| bound.runtime)
    }

    pub(crate) fn methods(&self) -> &[Method] {
        &self.methods
    }

    pub(crate) fn types(&self) -> &Types {
        &self.types
    }

    pub(crate) fn state(&self) -> State {
        let live = self.shared.lock();
        match live.phase {
            Phase::Ended => State::Destroyed,
            _ if live.is_closing => State::Draining,
            Phase::GivenUp(_) => State::Crashed,
            _ => State::Active,
        }
    }

    pub(crate) fn status(&self) -> ProcessStatus {
        self.shared.lock().status.clone()
    }

    /// Has `reply` told of the end of a call; if this fails, never.
    pub(crate) fn submit(&self, index: u32, input: Vec<u8>, reply: Reply) -> Result<()> {
        let call = self.call(index, reply, 0)?;
        self.shared.enter(call, Argument::Owned(input), false)
    }

    /// Runs a method and waits for its result: awake for a while, then asleep.
    pub(crate) fn call_waiting(
        &self,
        index: u32,
        input: &[u8],
        timeout: Duration,
    ) -> Result<Vec<u8>> {
        let waiting = Arc::new(Waiting::default());
        let sink: Arc<dyn Completions> = Arc::<Waiting>::clone(&waiting);
        let is_awake = !self.spin.is_zero();
        let flags = if is_awake { wire::WAITING } else { 0 };
        let call = self.call(index, Reply { sink, operation: 0 }, flags)?;
        self.shared.enter(call, Argument::Borrowed(input), is_awake)?;
        if is_awake {
            self.look_for(&waiting);
        }
        waiting.wait(timeout).unwrap_or_else(|| {
            let message = format!("the call did not end within {} ms", timeout.as_millis());
            Err(Error::new(ErrorKind::TimedOut, Stage::Call, message).of(self.plugin_id()))
        })
    }

    fn look_for(&self, waiting: &Waiting) {
        let begin = Instant::now();
        loop {
            self.shared.pump_awake(LOOKS);
            if waiting.is_done.load(Ordering::Acquire) || begin.elapsed() >= self.spin {
                break;
            }
        }
        self.shared.rest();
    }

    fn call(&self, index: u32, reply: Reply, flags: u32) -> Result<InFlight> {
        let method = self.methods.get(index as usize).ok_or_else(|| {
            let message = format!("it has no method with the number {index}");
            Error::new(ErrorKind::MethodNotFound, Stage::Call, message).of(self.plugin_id())
        })?;
        let may_retry = method.flags & flag::IDEMPOTENT != 0;
        Ok(InFlight::new(reply, index, flags, may_retry))
    }

    /// Has the plugin end its calls within `grace`, and itself; then its process is gone, whatever
    /// it takes.
    ///
    /// # Errors
    /// What the plugin's own end comes to; `TimedOut` if a call did not end; `Crashed` if the
    /// process did.
    pub(crate) fn close(&self, grace: Duration) -> Result<()> {
        let Shared { gate, .. } = &*self.shared;
        gate.close();
        let mut live = self.shared.lock();
        live.is_closing = true;
        let millis = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX).to_le_bytes();
        if let Some(line) = &mut live.line {
            // If it broke the rules, it ends anyway.
            let _ = line.send(wire::order::CLOSE, &millis, &[]);
        }
        live.wake();
        self.shared.changed.notify_all();
        let mut supervisor = self.supervisor.lock().unwrap_or_else(PoisonError::into_inner);
        let is_own =
            supervisor.as_ref().is_some_and(|it| it.thread().id() == thread::current().id());
        if is_own {
            // From within a completion on that thread: there is nobody else to wait for it.
            live.kill();
            return Ok(());
        }
        let begin = Instant::now();
        while !matches!(live.phase, Phase::Ended) {
            let is_idle = live.calls.len() == 0;
            let patience = if is_idle { grace.max(END_MIN) } else { grace };
            let left = patience.saturating_sub(begin.elapsed());
            if left.is_zero() {
                live.kill();
            }
            live = self.shared.wait(live, left.max(Duration::from_millis(10)));
        }
        let outcome = live.closed.take().unwrap_or(Ok(()));
        drop(live);
        if let Some(thread) = supervisor.take() {
            // It does not panic.
            let _ = thread.join();
        }
        outcome
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        let _ = self.close(Duration::ZERO);
    }
}

impl From<&WireMethod> for Method {
    fn from(method: &WireMethod) -> Self {
        let WireMethod { name, id, flags, in_hash, out_hash } = method;
        let (id, flags, in_hash, out_hash) = (*id, *flags, *in_hash, *out_hash);
        Self { name: name.clone(), id, flags, in_hash, out_hash }
    }
}

/// The types of a plugin whose functions are in another process.
fn entries(bound: &Bound, origin: &str) -> Result<Types> {
    let mut entries = Vec::new();
    for ty in &bound.types {
        let invalid = |error: busbar_types::Error| {
            let message = error.to_string();
            Error::new(ErrorKind::SchemaInvalid, Stage::Bind, message).with_source(error)
        };
        let entry = if let Some(text) = &ty.schema {
            let schema = Schema::from_json(text).map_err(invalid)?;
            TypeEntry::of_schema(schema, Origin::Plugin(origin.to_owned()))
        } else {
            let functions = Arc::new(Elsewhere(ty.name.clone()));
            TypeEntry::of_plugin(&*ty.name, ty.hash, Formats::NONE, functions, origin)
        };
        if (&*entry.type_name, entry.schema_hash) != (&*ty.name, ty.hash) {
            let message = format!("the descriptor of {} is of {}", ty.name, entry.type_name);
            return Err(Error::new(ErrorKind::SchemaInvalid, Stage::Bind, message));
        }
        entries.push(Arc::new(entry));
    }
    Ok(Types::new(entries))
}

/// The functions of a type that this process does not have.
struct Elsewhere(String);

impl ForeignFunctions for Elsewhere {
    unsafe fn serialize_into(
        &self,
        _value: *const (),
        _format: Formats,
        _out: &mut [u8],
    ) -> Result<usize, SerializeError> {
        let message = format!("the functions of {} are in another process", self.0);
        Err(SerializeError::Failed { message })
    }
}

/// Somebody who waits for the end of a call.
#[derive(Default)]
struct Waiting {
    is_done: AtomicBool,
    result: Mutex<Option<Result<Vec<u8>>>>,
    done: Condvar,
}

impl Waiting {
    /// `None` if it takes longer.
    fn wait(&self, timeout: Duration) -> Option<Result<Vec<u8>>> {
        let mut result = self.result.lock().unwrap_or_else(PoisonError::into_inner);
        if result.is_none() {
            let open = |result: &mut Option<_>| result.is_none();
            let waited = self.done.wait_timeout_while(result, timeout, open);
            result = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        mem::take(&mut *result)
    }
}

impl Completions for Waiting {
    fn complete(&self, _operation: u64, result: Result<&[u8]>) {
        let mut slot = self.result.lock().unwrap_or_else(PoisonError::into_inner);
        *slot = Some(result.map(<[u8]>::to_vec));
        self.is_done.store(true, Ordering::Release);
        drop(slot);
        self.done.notify_all();
    }
}
