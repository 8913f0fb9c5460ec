//! One generation of a plugin in its process: started, called through what it shares with its
//! supervisor, ended.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use busbar_types::SerializeError;
use busbar_types::format::Formats;
use busbar_types::registry::{ForeignFunctions, Origin, Registry, TypeEntry};
use busbar_types::schema::Schema;

use super::ProcessOptions;
use super::child::Recipe;
use super::live::{Phase, Shared};
use super::supervisor::Supervisor;
use super::wire::{self, Bound, WireMethod};
use crate::contract::Method;
use crate::generations::Numbering;
use crate::library::Types;
use crate::trust::FileHash;
use crate::{Error, ErrorKind, Result, Stage, State};

/// How long a plugin without calls may take to end, whatever the time of grace.
const END_MIN: Duration = Duration::from_secs(5);

pub(super) struct Hosted {
    pub(super) shared: Arc<Shared>,
    /// What another process is started by; `None` once it has ended, as whoever still holds the
    /// zone would keep the copy of its library.
    recipe: Mutex<Option<Recipe>>,
    hash: FileHash,
    /// `None` if they were never registered.
    types: Option<Types>,
    registry: &'static Registry,
    supervisor: Mutex<Option<JoinHandle<()>>>,
}

/// Where types go.
pub(super) struct Place {
    pub(super) registry: &'static Registry,
    pub(super) allow_versions: bool,
}

impl Hosted {
    /// Starts a process, waits until its plugin is active, and registers its types. `check` and
    /// `number` look at what the library says of itself before there is an instance.
    pub(super) fn start(
        shared: Arc<Shared>,
        recipe: Recipe,
        process: &ProcessOptions,
        place: &Place,
        check: impl Fn(&Bound) -> Result<()> + Send + 'static,
        number: impl Fn(&[Method]) -> Result<Numbering> + Send + 'static,
    ) -> Result<(Arc<Self>, Numbering)> {
        if shared.upcalls.upward.has_methods() {
            shared.upcalls.set_threads(&shared)?;
        }
        let (sender, bound) = mpsc::channel();
        let supervisor = Supervisor::new(Arc::clone(&shared), recipe.clone(), process);
        let (numbers, numbered) = mpsc::channel();
        let known = Arc::clone(&shared);
        let check = move |bound: &Bound| {
            check(bound)?;
            let methods: Vec<_> = bound.methods.iter().map(Method::from).collect();
            let numbering = number(&methods)?;
            let place = |id| bound.methods.iter().zip(0..).find(|(it, _)| it.id == id);
            let targets = numbering.targets.iter();
            let targets = targets.map(|target| Some(place((*target)?.id())?.1)).collect();
            // The first start is the only one with this check.
            let _ = known.targets.set(targets);
            let _ = numbers.send(numbering);
            Ok(())
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
            let types = entries(bound, &recipe.origin(&bound.id))?;
            types.publish(place.registry, place.allow_versions)?;
            Ok((types, numbered.try_recv().map_err(|_| internal())?))
        });
        let (supervisor, registry) = (Mutex::new(Some(thread)), place.registry);
        let (hash, recipe) = (recipe.hash, Mutex::new(Some(recipe)));
        let hosted = |types| Self { shared, recipe, hash, types, registry, supervisor };
        match opened {
            Ok((types, numbering)) => Ok((Arc::new(hosted(Some(types))), numbering)),
            Err(error) => {
                let hosted = hosted(None);
                let _ = hosted.end(Duration::ZERO);
                let is_bound = hosted.shared.bound.get().is_some();
                Err(if is_bound { hosted.shared.say(error) } else { error })
            }
        }
    }

    pub(super) fn hash(&self) -> FileHash {
        self.hash
    }

    /// Whether there is a process that is called, or soon will be.
    pub(super) fn is_well(&self) -> bool {
        let live = self.shared.lock();
        live.line.is_some() && live.broken.is_none()
    }

    pub(super) fn types(&self) -> Vec<(String, u64)> {
        let names = self.types.iter().flat_map(Types::names);
        names.map(|(name, hash)| (name.to_owned(), hash)).collect()
    }

    pub(super) fn state(&self) -> State {
        let live = self.shared.lock();
        match live.phase {
            Phase::Ended => State::Destroyed,
            _ if live.is_closing => State::Draining,
            Phase::GivenUp(_) => State::Crashed,
            _ => State::Active,
        }
    }

    /// It crashed, and nothing takes its place.
    pub(super) fn give_up(&self, why: &Error) {
        let error = self.shared.say(Error::new(
            ErrorKind::Crashed,
            Stage::Call,
            format!("it crashed soon after its reload, and there is no way back: {why}"),
        ));
        self.shared.lock().phase = Phase::GivenUp(error.clone());
        for call in self.shared.take_waiting() {
            self.shared.end(&call, Err(error.clone()));
        }
    }

    /// Has the plugin end its calls within `grace`, and itself; then its process is gone, whatever
    /// it takes.
    ///
    /// # Errors
    /// What the plugin's own end comes to; `TimedOut` if a call did not end; `Crashed` if the
    /// process did.
    pub(super) fn end(&self, grace: Duration) -> Result<()> {
        let ended = self.end_process(grace);
        *self.lock_recipe() = None;
        ended
    }

    /// How its process is started, unless it has ended.
    pub(super) fn recipe(&self) -> Option<Recipe> {
        self.lock_recipe().clone()
    }

    fn lock_recipe(&self) -> MutexGuard<'_, Option<Recipe>> {
        self.recipe.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end_process(&self, grace: Duration) -> Result<()> {
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
            if let Some(types) = &self.types {
                types.withdraw(self.registry);
            }
        }
        outcome
    }
}

impl Drop for Hosted {
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
