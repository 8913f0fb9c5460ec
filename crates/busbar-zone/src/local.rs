//! A plugin in this process: on the caller's own thread, on the threads that zones share, or on
//! the zone's own.

use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use busbar_types::registry::Registry;

use crate::contract::Method;
use crate::gate::Refusal;
use crate::generations::{Generations, Numbering};
use crate::host::on_thread_of;
use crate::instance::{Birth, Instance, Target};
use crate::library::Library;
use crate::object::Owner;
use crate::pending::{CallId, GivenUp, Pending, closed};
use crate::pool::Pool;
use crate::queue::{Job, Queue, Runner};
use crate::reload::Probation;
use crate::transport::{Identity, Transport};
use crate::trust::FileHash;
use crate::upward::Parent;
use crate::{Error, ErrorKind, Mode, Object, Result, Stage, State, deadline};

/// A zone's plugin in this process.
pub(crate) struct Local {
    pub(crate) zone: u64,
    pub(crate) mode: Mode,
    pub(crate) registry: &'static Registry,
    pub(crate) config: String,
    pub(crate) generations: Generations,
    pub(crate) pending: Arc<Pending>,
    parent: Option<Arc<dyn Parent>>,
    /// Of every mode but inline.
    threads: Option<Threads>,
    pub(crate) this: Weak<Self>,
    pub(crate) probation: Mutex<Option<Probation>>,
}

/// Threads, and the zone's queue for them.
#[derive(Clone)]
pub(crate) struct Threads {
    pool: Arc<Pool>,
    running_max: usize,
    queue: Option<Arc<Queue>>,
}

impl Threads {
    /// # Errors
    /// `Io` if the system has no threads left; `NotSupported` for the mode process.
    fn of(mode: Mode, zone: u64) -> Result<Option<Self>> {
        let (pool, running_max) = match mode {
            Mode::Inline => return Ok(None),
            Mode::Shared => Pool::shared()?,
            Mode::Dedicated { threads } => {
                (Arc::new(Pool::new(&format!("busbar-zone{zone}"), threads)?), threads.get())
            }
            Mode::Process => {
                let message = "what is compiled into this process has no file for another one";
                return Err(Error::new(ErrorKind::NotSupported, Stage::Ready, message));
            }
        };
        Ok(Some(Self { pool, running_max, queue: None }))
    }
}

/// What a plugin in this process is opened with.
pub(crate) struct Plan<'a> {
    pub(crate) zone: u64,
    pub(crate) mode: Mode,
    pub(crate) registry: &'static Registry,
    pub(crate) config: &'a str,
    pub(crate) allow_versions: bool,
    pub(crate) pending: Arc<Pending>,
    pub(crate) parent: Option<Arc<dyn Parent>>,
    /// Of the first instance.
    pub(crate) generation: u32,
}

impl Local {
    /// Its first generation, active.
    ///
    /// # Errors
    /// What the plugin says; `SchemaMismatch` for its types; `InUse`.
    pub(crate) fn open(library: &Arc<Library>, plan: Plan<'_>) -> Result<Arc<Self>> {
        let mut threads = Threads::of(plan.mode, plan.zone)?;
        let numbering = Numbering::first(&library.contract.methods);
        let Plan { zone, mode, registry, config, allow_versions, pending, parent, generation } =
            plan;
        let maker = Maker {
            threads: threads.clone(),
            zone,
            generation,
            registry,
            pending: Arc::clone(&pending),
            parent: parent.clone(),
            config: config.to_owned(),
        };
        let made = maker.make(library, &numbering.targets, allow_versions);
        let first = made.inspect_err(|_| {
            end_threads(mode, threads.as_ref(), Duration::MAX);
        })?;
        let generations = Generations::new(first, numbering);
        Ok(Arc::new_cyclic(|this: &Weak<Self>| {
            if let Some(threads) = &mut threads {
                let runner: Weak<dyn Runner> = Weak::<Self>::clone(this);
                threads.queue = Some(Arc::new(Queue::new(runner, threads.running_max)));
            }
            let config = config.to_owned();
            let (this, probation) = (Weak::clone(this), Mutex::default());
            Self {
                zone,
                mode,
                registry,
                config,
                generations,
                pending,
                parent,
                threads,
                this,
                probation,
            }
        }))
    }

    /// Makes instances of this zone.
    pub(crate) fn maker(&self) -> Maker {
        Maker {
            threads: self.threads.clone(),
            zone: self.zone,
            generation: self.generations.count() + 1,
            registry: self.registry,
            pending: Arc::clone(&self.pending),
            parent: self.parent.clone(),
            config: self.config.clone(),
        }
    }

    /// Whether the file with this hash is what runs, and runs well.
    pub(crate) fn is_current(&self, hash: FileHash) -> bool {
        let instance = self.generations.last();
        instance.refusal().is_none() && instance.library().hash == Some(hash)
    }

    fn queue(&self) -> Option<(&Pool, &Arc<Queue>)> {
        let threads = self.threads.as_ref()?;
        Some((&threads.pool, threads.queue.as_ref()?))
    }

    /// No call is started until [`Self::resume`]; they wait in the queue.
    pub(crate) fn pause(&self) {
        if let Some((_, queue)) = self.queue() {
            queue.pause();
        }
    }

    pub(crate) fn resume(&self) {
        if let Some((pool, queue)) = self.queue()
            && queue.resume()
        {
            pool.list(queue);
        }
    }

    /// Nobody holds an object any more, in another process.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "for processes"))]
    pub(crate) fn release(&self, object: u64) {
        let instance = self.generations.last();
        if instance.objects().forget(object) {
            instance.release(object);
        }
    }

    /// Lets nobody into `instance` any more, waits until nobody is, and ends it.
    ///
    /// # Errors
    /// `TimedOut` if somebody stays, or no thread of the zone is free to end it: then it is left as
    /// it is. `Panic` if the plugin does: then it has ended.
    pub(crate) fn end(&self, instance: &Arc<Instance>, soft: Instant, hard: Instant) -> Result<()> {
        let maker = self.maker();
        let ended = instance.drain(soft, hard).and_then(|()| maker.end(instance));
        maker.release(instance.library());
        ended
    }
}

/// Makes and ends instances of a zone, on the thread that the contract says.
pub(crate) struct Maker {
    threads: Option<Threads>,
    zone: u64,
    /// Of the next instance.
    generation: u32,
    registry: &'static Registry,
    pending: Arc<Pending>,
    parent: Option<Arc<dyn Parent>>,
    config: String,
}

impl Maker {
    /// An active instance whose types are registered.
    pub(crate) fn make(
        &self,
        library: &Arc<Library>,
        methods: &[Option<Target>],
        allow_versions: bool,
    ) -> Result<Arc<Instance>> {
        library.add_instance()?;
        let made = {
            let (library, methods) = (Arc::clone(library), methods.to_vec());
            let (zone, generation) = (self.zone, self.generation);
            let (pending, config) = (Arc::clone(&self.pending), self.config.clone());
            let parent = self.parent.clone();
            self.on_zone_thread(move || {
                let (pending, config, methods) = (&pending, &*config, &*methods);
                let parent = parent.as_ref();
                let birth = Birth { zone, generation, pending, parent, config, methods };
                Instance::make(&library, &birth)
            })
        };
        let made = made.and_then(|made| made);
        let instance = made.inspect_err(|_| library.remove_instance())?;
        let published = library.types().publish(self.registry, allow_versions);
        if let Err(error) = published {
            let now = Instant::now();
            let ended = instance.drain(now, now).and_then(|()| self.end(&instance));
            if let Err(error) = ended {
                log::warn!(target: "busbar::zone", "{error}");
            }
            library.remove_instance();
            return Err(instance.say(error));
        }
        Ok(instance)
    }

    /// Ends a drained instance.
    ///
    /// # Errors
    /// `TimedOut` if no thread of the zone is free for that: then it is left as it is. `Panic` if
    /// the plugin does: then it has ended.
    fn end(&self, instance: &Arc<Instance>) -> Result<()> {
        let ending = Arc::clone(instance);
        let ended = self.on_zone_thread(move || ending.end());
        ended.map_err(|error| instance.abandon(error.message()))?
    }

    /// One instance less of `library`.
    pub(crate) fn release(&self, library: &Library) {
        library.types().withdraw(self.registry);
        library.remove_instance();
    }

    /// Runs what the contract says to run on a thread of the zone.
    pub(crate) fn on_zone_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let zone = self.zone;
        let work = move || on_thread_of(zone, work);
        match &self.threads {
            None => Ok(work()),
            Some(threads) => threads.pool.run(work),
        }
    }
}

/// Ends the threads that a zone has of its own; whether there were some, and all have ended.
fn end_threads(mode: Mode, threads: Option<&Threads>, grace: Duration) -> bool {
    match (mode, threads) {
        (Mode::Dedicated { .. }, Some(threads)) => threads.pool.close(grace),
        _ => false,
    }
}

impl Transport for Arc<Local> {
    fn local(&self) -> Option<&Arc<Local>> {
        Some(self)
    }

    fn identity(&self) -> Identity {
        let instance = self.generations.last();
        let contract = &instance.library().contract;
        Identity {
            id: contract.id.clone(),
            version: contract.version.clone(),
            runtime: contract.runtime,
            generation: instance.generation(),
        }
    }

    fn methods(&self) -> Arc<[Method]> {
        self.generations.methods()
    }

    fn has(&self, method: u32) -> bool {
        self.generations.now().target(method).is_ok()
    }

    fn types(&self) -> Vec<(String, u64)> {
        let instance = self.generations.last();
        instance.library().types().names().map(|(name, hash)| (name.to_owned(), hash)).collect()
    }

    fn state(&self) -> State {
        match self.generations.now().state() {
            // What waits for a thread still runs.
            State::Active if self.generations.is_closed() => State::Draining,
            state => state,
        }
    }

    fn submit(&self, method: u32, input: Vec<u8>, id: CallId) -> Result<()> {
        let instance = self.generations.now();
        let Some((pool, queue)) = self.queue() else {
            instance.inline_target(method)?;
            let inside = self.generations.enter()?;
            let instance = Arc::clone(inside.instance());
            if self.pending.attach(id, Some(inside)) {
                instance.start(method, &input, id);
            }
            return Ok(());
        };
        let is_serial = !instance.target(method)?.is_thread_safe();
        // While state is handed over it waits in the queue, and whoever calls does not.
        if let Some(refusal @ Refusal::Faulted) = instance.refusal() {
            self.generations.refused(instance, refusal)?;
        }
        let sent = pool.send(queue, Job { method, input, id, is_serial });
        sent.map_err(|error| instance.say(error))
    }

    fn hold(&self, object: u64) -> Result<Object> {
        self.generations.last().objects().hold(object)
    }

    fn lend(&self) -> Option<u64> {
        self.generations.last().upward().lend()
    }

    fn take_back(&self, object: u64) -> bool {
        self.generations.last().upward().forget(object)
    }

    fn cancel(&self, id: CallId, call: GivenUp) {
        let GivenUp::Running(Some(inside)) = call else { return };
        if let Some((pool, queue)) = self.queue() {
            pool.give_up(queue, id);
        }
        inside.instance().cancel(id);
    }

    fn close_if_idle(&self) -> bool {
        let Ok(_alone) = self.generations.begin_reload() else { return true };
        let instance = self.generations.last();
        // Inline calls that come meanwhile wait, and are not refused.
        self.generations.begin_hand_over();
        let is_idle = instance.close_if_idle();
        if !is_idle {
            self.generations.settle(&instance);
        }
        is_idle
    }

    fn close(&self, grace: Duration) -> Result<()> {
        let (soft, hard) = (deadline::after(grace / 2), deadline::after(grace));
        let instance = self.generations.close(hard);
        if let Some((_, queue)) = self.queue()
            && !self.pending.wait_empty(soft)
        {
            queue.clear();
            self.pending.fail_waiting(&instance.say(closed()));
        }
        let ended = self.end(&instance, soft, hard);
        if instance.state() == State::Destroyed {
            let left = hard.saturating_duration_since(Instant::now());
            if end_threads(self.mode, self.threads.as_ref(), left.max(THREADS_END)) {
                self.generations.each(|ended| ended.library().joined());
            }
        }
        ended
    }
}

/// What threads with nothing left to do have to end.
const THREADS_END: Duration = Duration::from_secs(1);

impl Runner for Local {
    fn run(&self, job: Job) -> Option<Job> {
        let Job { method, input, id, .. } = &job;
        match self.generations.try_enter() {
            Ok(Some(inside)) => {
                let instance = Arc::clone(inside.instance());
                if self.pending.attach(*id, Some(inside)) {
                    on_thread_of(self.zone, || instance.start(*method, input, *id));
                }
            }
            // Handing over takes a thread of the zone: this may be the only one.
            Ok(None) => return Some(job),
            Err(error) => {
                self.pending.end(*id, None, Err(error));
            }
        }
        None
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // A zone that was closed has none any more; what was not, stays mapped.
        end_threads(self.mode, self.threads.as_ref(), Duration::ZERO);
    }
}

#[cfg(all(test, not(loom)))]
#[path = "../tests/it/local.rs"]
mod compiled_in;

#[cfg(all(test, not(loom)))]
pub(crate) mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::call::Call;
    use crate::pending::Reply;

    pub(crate) fn library() -> Arc<Library> {
        // SAFETY: it keeps to the contract.
        Arc::new(unsafe { Library::compiled_in(compiled_in::entry) }.expect("it is good"))
    }

    /// A zone of it, with a thread of its own.
    pub(crate) fn local(library: &Arc<Library>, pending: &Arc<Pending>) -> Arc<Local> {
        let plan = Plan {
            zone: u64::MAX,
            mode: Mode::Dedicated { threads: NonZeroUsize::MIN },
            registry: Box::leak(Box::default()),
            config: "null",
            allow_versions: false,
            pending: Arc::clone(pending),
            parent: None,
            generation: 1,
        };
        Local::open(library, plan).expect("it opens")
    }

    /// [Z12] a thread that had taken a call as state was to be handed over waited for that, which
    /// needs a thread: with one alone, it took seconds, and the call failed
    #[test]
    fn a_call_does_not_keep_the_thread_that_hands_over() {
        let pending = Arc::<Pending>::default();
        let local = local(&library(), &pending);
        let last = local.generations.last();
        local.generations.begin_hand_over();
        last.quiesce(Instant::now()).expect("nobody is inside");
        let shared = Call::shared();
        let reply = Reply { sink: Arc::<crate::call::Shared>::clone(&shared), operation: 0 };
        let submitted = pending.submit(0, reply, |id| local.submit(0, b"echo".to_vec(), id));
        submitted.expect("it waits in the queue");
        local.pause();
        let handed_over = local.maker().on_zone_thread(|| true);
        assert!(handed_over.expect("the thread is free"));
        assert!(!shared.is_done());
        local.generations.settle(&last);
        local.resume();
        let result = local.maker().on_zone_thread(|| ());
        result.expect("the thread is free");
        let call = Call::new(shared, Weak::new(), CallId::from_number(0));
        assert_eq!(call.wait(Duration::from_secs(20)).expect("it is run"), b"echo");
        let deadline = Instant::now() + Duration::from_secs(20);
        local.end(&last, deadline, deadline).expect("it ends");
    }
}
