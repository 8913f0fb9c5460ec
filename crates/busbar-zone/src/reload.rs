//! From one generation of a plugin to the next, while calls go on.
//!
//! ```text
//! make      the next one, active, while the last one serves      fails: the last one goes on
//! compare   its methods with those that callers know             fails: likewise
//! hand over only if both have state: new calls wait, the last
//!           one's end, it saves, the next one loads              fails: likewise, with its state
//! swap      one store: new calls are the next one's
//! drain     the last one's calls end, or are asked to at half
//!           of the grace, or it is left as it is at its end
//! ```
//!
//! Without state no call ever waits or fails. What loads the next library, and decides about
//! whether there is one, is elsewhere.

use std::sync::{Arc, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::gate::Refusal;
use crate::generations::Numbering;
use crate::instance::{Instance, Watcher};
use crate::library::Library;
use crate::local::Local;
use crate::{Error, ErrorKind, Result, Stage, State, deadline};

/// How a plugin is reloaded.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ReloadOptions {
    /// Calls of the last generation have that long to end; from half of it on they are asked to.
    pub grace: Duration,
    /// Whether methods may be missing or have other types. Who calls those gets `MethodNotFound`.
    pub breaking: bool,
    /// Whether the next generation begins without state, rather than not at all, if it cannot read
    /// that of the last one.
    pub cold: bool,
}

impl Default for ReloadOptions {
    fn default() -> Self {
        Self { grace: Duration::from_secs(5), breaking: false, cold: false }
    }
}

/// What came of a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reloaded {
    /// The file is the one that runs.
    Unchanged,
    /// This generation is called now.
    Generation(u32),
}

impl Local {
    /// Calls an instance of `library` from now on. One reload at a time: others wait.
    ///
    /// # Errors
    /// `Closed`; `SchemaMismatch` if its methods are not those of the last one, or its state is
    /// not; what the plugin says. The last generation goes on in any case.
    pub(crate) fn reload(&self, library: &Arc<Library>, options: &ReloadOptions) -> Result<u32> {
        let _alone = self.generations.begin_reload()?;
        self.next(library, options)
    }

    /// As [`Self::reload`], while nobody else does that.
    fn next(&self, library: &Arc<Library>, options: &ReloadOptions) -> Result<u32> {
        let last = self.generations.last();
        check_id(&last, library)?;
        let numbering = self.generations.renumber(&library.contract.methods);
        if !options.breaking {
            numbering.check().map_err(|error| last.say(error))?;
        }
        let maker = self.maker();
        let next = maker.make(library, &numbering.targets, true)?;
        let swapped = self.swap(&last, &next, numbering, options);
        if let Err(error) = swapped {
            let ended = self.end(&next, Instant::now(), deadline::after(options.grace));
            if let Err(error) = ended {
                log::warn!(target: "busbar::zone", "{error}");
            }
            return Err(error);
        }
        self.put_on_probation(&last, &next);
        let (soft, hard) = (deadline::after(options.grace / 2), deadline::after(options.grace));
        if let Err(error) = self.end(&last, soft, hard) {
            // It is told of in the log; the next one serves.
            log::warn!(target: "busbar::zone", "generation {}: {error}", next.generation() - 1);
        }
        Ok(next.generation())
    }

    fn swap(
        &self,
        last: &Arc<Instance>,
        next: &Arc<Instance>,
        numbering: Numbering,
        options: &ReloadOptions,
    ) -> Result<()> {
        if !last.has_state() || !next.has_state() {
            return self.generations.replace(next, numbering);
        }
        // Inside: who closes the zone waits for this. One that panicked has nothing to hand over.
        let Ok(inside) = last.enter() else { return self.generations.replace(next, numbering) };
        self.pause();
        self.generations.begin_hand_over();
        let handed_over = match self.hand_over(last, next, options) {
            Err(error) if error.kind() == ErrorKind::Faulted => Ok(()),
            handed_over => handed_over,
        };
        let swapped = handed_over.and_then(|()| self.generations.replace(next, numbering));
        if swapped.is_err() {
            self.generations.settle(last);
        }
        drop(inside);
        self.resume();
        swapped
    }

    /// The state of `last`, whose calls have ended, becomes that of `next`.
    fn hand_over(
        &self,
        last: &Arc<Instance>,
        next: &Arc<Instance>,
        options: &ReloadOptions,
    ) -> Result<()> {
        last.quiesce(deadline::after(options.grace))?;
        let (from, to) = (Arc::clone(last), Arc::clone(next));
        let cold = options.cold;
        self.maker().on_zone_thread(move || {
            let (bytes, hash) = from.save_state()?;
            match to.load_state(&bytes, hash) {
                Err(error) if cold && error.kind() == ErrorKind::SchemaMismatch => {
                    log::warn!(target: "busbar::zone", "{error}: it begins without state");
                    Ok(())
                }
                loaded => loaded,
            }
        })?
    }
}

/// How often whoever saves state looks for calls that wait.
#[cfg(target_os = "linux")]
const LOOK: Duration = Duration::from_millis(1);

/// The halves of handing state over, for whoever has the other one in another process.
#[cfg(target_os = "linux")]
impl Local {
    /// Its state, once its calls have ended; no call is started any more, until [`Self::go_on`].
    ///
    /// # Errors
    /// `TimedOut`, and what the plugin says: then it goes on.
    pub(crate) fn save(&self, grace: Duration) -> Result<(Vec<u8>, u64)> {
        let deadline = deadline::after(grace);
        // What waits for a thread was sent here, and nobody else has it; new calls are sent to the
        // next one. Nobody is woken when none are left, as that would cost every call.
        let last = self.generations.last();
        while self.pending.len() > 0 {
            if Instant::now() >= deadline {
                return Err(last.in_use());
            }
            std::thread::sleep(LOOK);
        }
        let inside = last.enter().map_err(|refusal| last.refused(refusal))?;
        self.pause();
        self.generations.begin_hand_over();
        let saved = last.quiesce(deadline).and_then(|()| {
            let from = Arc::clone(&last);
            self.maker().on_zone_thread(move || from.save_state())?
        });
        drop(inside);
        if saved.is_err() {
            self.go_on();
        }
        saved
    }

    pub(crate) fn go_on(&self) {
        self.generations.settle(&self.generations.last());
        self.resume();
    }

    /// Takes over the state of another one, before any call.
    ///
    /// # Errors
    /// `Closed`, `Faulted`, and what the plugin says.
    pub(crate) fn load(&self, bytes: Vec<u8>, hash: u64) -> Result<()> {
        let to = self.generations.last();
        let inside = to.enter().map_err(|refusal| to.refused(refusal))?;
        self.maker().on_zone_thread(move || inside.instance().load_state(&bytes, hash))?
    }
}

/// A generation that is young, and what came before it.
pub(crate) struct Probation {
    generation: u32,
    ends: Instant,
    before: Arc<Library>,
}

/// A generation that panics within that time of a reload is replaced by what came before it.
pub(crate) const PROBATION: Duration = Duration::from_secs(5);

impl Local {
    fn put_on_probation(&self, last: &Arc<Instance>, next: &Arc<Instance>) {
        if last.state() == State::Faulted {
            return;
        }
        let before = Arc::clone(last.library());
        let ends = Instant::now() + PROBATION;
        let probation = Probation { generation: next.generation(), ends, before };
        *self.lock_probation() = Some(probation);
        let watcher: Weak<dyn Watcher> = Weak::<Self>::clone(&self.this);
        next.watch(watcher);
        // It is called already. Whoever finds the watcher later has been seen to fault it here.
        if next.refusal() == Some(Refusal::Faulted) {
            self.handle_fault(next);
        }
    }

    fn lock_probation(&self) -> MutexGuard<'_, Option<Probation>> {
        self.probation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn roll_back(&self, faulted: u32, library: &Arc<Library>) {
        let rolled_back = self.generations.begin_reload().and_then(|_alone| {
            if self.generations.last().generation() != faulted {
                // It was replaced already.
                return Ok(faulted);
            }
            let (breaking, cold) = (true, true);
            self.next(library, &ReloadOptions { breaking, cold, ..ReloadOptions::default() })
        });
        log_roll_back(faulted, "panicked", rolled_back);
    }
}

/// Says what came of rolling a generation back, which did `what` soon after its reload.
pub(crate) fn log_roll_back(generation: u32, what: &str, rolled_back: Result<u32>) {
    match rolled_back {
        Ok(last) => log::warn!(
            target: "busbar::zone",
            "generation {generation} {what} soon after its reload: generation {last} is what came \
             before it"
        ),
        Err(error) => log::error!(target: "busbar::zone", "no way back: {error}"),
    }
}

impl Watcher for Local {
    fn handle_fault(&self, instance: &Instance) {
        let young = self.lock_probation().take_if(|it| it.generation == instance.generation());
        let Some(Probation { generation, ends, before }) = young else { return };
        let Some(this) = self.this.upgrade() else { return };
        if Instant::now() > ends || !before.is_reusable() || this.generations.is_closed() {
            return;
        }
        // Not here: this is inside a call of it.
        let roll_back = move || this.roll_back(generation, &before);
        let thread = std::thread::Builder::new().name(String::from("busbar-rollback"));
        if let Err(error) = thread.spawn(roll_back) {
            log::error!(target: "busbar::zone", "no thread for the way back: {error}");
        }
    }
}

fn check_id(last: &Instance, library: &Library) -> Result<()> {
    let (id, next) = (last.id(), &library.contract.id);
    if id == next {
        return Ok(());
    }
    let message = format!("the file is of the plugin {next}");
    Err(last.say(Error::new(ErrorKind::InvalidArgument, Stage::Bind, message)))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::local::tests::{library, local};
    use crate::pending::Pending;

    /// [Z12] a generation that panicked as soon as it was called, before anybody watched, was never
    /// rolled back
    #[test]
    fn a_panic_before_it_is_watched_is_rolled_back() {
        let pending = Arc::<Pending>::default();
        let local = local(&library(), &pending);
        let (last, options) = (local.generations.last(), ReloadOptions::default());
        let next = library();
        let numbering = local.generations.renumber(&next.contract.methods);
        let next = local.maker().make(&next, &numbering.targets, true).expect("it is made");
        local.swap(&last, &next, numbering, &options).expect("it is called");
        let error = next.judge(Error::new(ErrorKind::Panic, Stage::Call, "on purpose"));
        assert_eq!(error.kind(), ErrorKind::Panic);
        local.put_on_probation(&last, &next);
        let deadline = deadline::after(Duration::from_secs(20));
        while local.generations.count() < 3 {
            assert!(Instant::now() < deadline, "there is no way back");
            std::thread::yield_now();
        }
        assert_eq!(local.generations.last().state(), State::Active);
    }
}
