//! A plugin's process, as its zone sees it.

use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use busbar_abi::method as flag;
use busbar_types::SerializeError;
use busbar_types::format::Formats;
use busbar_types::registry::{ForeignFunctions, Origin, Registry, TypeEntry};
use busbar_types::schema::Schema;

use super::ProcessStatus;
use super::calls::InFlight;
use super::child::Recipe;
use super::live::{Argument, Phase, Shared};
use super::supervisor::Supervisor;
use super::wire::{self, Bound, WireMethod};
use crate::contract::Method;
use crate::library::Types;
use crate::local::Local;
use crate::pending::{CallId, GivenUp, Pending};
use crate::source::Source;
use crate::transport::{Identity, Transport};
use crate::{Error, ErrorKind, Object, Options, Result, Stage, State, Trust};

/// How often a caller looks for an answer before somebody else may.
const LOOKS: u32 = 64;
/// How long a plugin without calls may take to end, whatever the time of grace.
const END_MIN: Duration = Duration::from_secs(5);

pub(crate) struct Remote {
    shared: Arc<Shared>,
    methods: Arc<[Method]>,
    types: Types,
    registry: &'static Registry,
    spin: Duration,
    supervisor: Mutex<Option<JoinHandle<()>>>,
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
    ) -> Result<Self> {
        let Some(process) = options.process else {
            let message = "the mode process needs an executable: set the option process";
            return Err(Error::new(ErrorKind::InvalidArgument, Stage::Verify, message));
        };
        let is_timed = process.call_timeout.is_some();
        let shared = Shared::new(pending, is_timed, options.exposed.cloned());
        if options.exposed.is_some_and(|parent| parent.has_methods()) {
            shared.upcalls.set_threads(&shared)?;
        }
        let has_parent = shared.upcalls.has_parent();
        let recipe = Recipe::new(&source, options.config, has_parent, process)?;
        let (sender, bound) = mpsc::channel();
        let supervisor = Supervisor::new(Arc::clone(&shared), recipe, process);
        let (trust, hash, sidecar) = (trust.clone(), source.hash, source.sidecar);
        let check = move |bound: &Bound| {
            trust.check_id(&bound.id, hash)?;
            let Some(sidecar) = &sidecar else { return Ok(()) };
            let methods = bound.methods.iter().map(|method| &*method.name);
            let types = bound.types.iter().map(|ty| (&*ty.name, ty.hash));
            sidecar.check(&bound.id, &bound.version, methods, types)
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
            let types = entries(bound, &format!("{} ({})", bound.id, source.path.display()))?;
            types.publish(registry, options.allow_versions)?;
            Ok((methods, types))
        });
        let supervisor = Mutex::new(Some(thread));
        let spin = process.spin;
        let remote = |methods, types| Self { shared, methods, types, registry, spin, supervisor };
        match opened {
            Ok((methods, types)) => Ok(remote(methods, types)),
            Err(error) => {
                let remote = remote(Arc::default(), Types::new(Vec::new()));
                let _ = remote.end(Duration::ZERO);
                Err(if remote.bound().is_some() { remote.shared.say(error) } else { error })
            }
        }
    }

    fn bound(&self) -> Option<&Bound> {
        self.shared.bound.get()
    }

    fn look_for(&self, is_done: &dyn Fn() -> bool) {
        let begin = Instant::now();
        loop {
            self.shared.pump_awake(LOOKS);
            if is_done() || begin.elapsed() >= self.spin {
                break;
            }
        }
        self.shared.rest();
    }

    fn call(&self, index: u32, id: CallId, flags: u32) -> Result<InFlight> {
        let method = self.methods.get(index as usize).ok_or_else(|| {
            let message = format!("it has no method with the number {index}");
            self.shared.say(Error::new(ErrorKind::MethodNotFound, Stage::Call, message))
        })?;
        let may_retry = method.flags & flag::IDEMPOTENT != 0;
        Ok(InFlight::new(id, index, flags, may_retry))
    }

    /// Has the plugin end its calls within `grace`, and itself; then its process is gone, whatever
    /// it takes.
    ///
    /// # Errors
    /// What the plugin's own end comes to; `TimedOut` if a call did not end; `Crashed` if the
    /// process did.
    fn end(&self, grace: Duration) -> Result<()> {
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

impl Transport for Remote {
    fn local(&self) -> Option<&Arc<Local>> {
        None
    }

    fn identity(&self) -> Identity {
        let of = |text: fn(&Bound) -> &String| self.bound().map(text).cloned().unwrap_or_default();
        Identity {
            id: of(|bound| &bound.id),
            version: of(|bound| &bound.version),
            runtime: self.bound().map_or(0, |bound| bound.runtime),
            generation: 1,
        }
    }

    fn methods(&self) -> Arc<[Method]> {
        Arc::clone(&self.methods)
    }

    fn types(&self) -> Vec<(String, u64)> {
        self.types.names().map(|(name, hash)| (name.to_owned(), hash)).collect()
    }

    fn state(&self) -> State {
        let live = self.shared.lock();
        match live.phase {
            Phase::Ended => State::Destroyed,
            _ if live.is_closing => State::Draining,
            Phase::GivenUp(_) => State::Crashed,
            _ => State::Active,
        }
    }

    fn process(&self) -> Option<ProcessStatus> {
        Some(self.shared.lock().status.clone())
    }

    fn submit(&self, method: u32, input: Vec<u8>, id: CallId) -> Result<()> {
        self.shared.enter(self.call(method, id, 0)?, Argument::Owned(input), false)
    }

    fn submit_awaited(
        &self,
        method: u32,
        input: &[u8],
        id: CallId,
        is_done: &dyn Fn() -> bool,
    ) -> Result<()> {
        let is_awake = !self.spin.is_zero();
        let call = self.call(method, id, if is_awake { wire::WAITING } else { 0 })?;
        self.shared.enter(call, Argument::Borrowed(input), is_awake)?;
        if is_awake {
            self.look_for(is_done);
        }
        Ok(())
    }

    fn hold(&self, object: u64) -> Result<Object> {
        self.shared.upcalls.objects().hold(object)
    }

    fn lend(&self) -> Option<u64> {
        self.shared.upcalls.upward.lend()
    }

    fn take_back(&self, object: u64) -> bool {
        self.shared.upcalls.upward.forget(object)
    }

    fn cancel(&self, id: CallId, _: GivenUp) {
        self.shared.cancel(id);
    }

    fn close(&self, grace: Duration) -> Result<()> {
        let ended = self.end(grace);
        self.types.withdraw(self.registry);
        ended
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        let _ = self.end(Duration::ZERO);
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
