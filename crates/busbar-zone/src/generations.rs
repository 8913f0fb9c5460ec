//! The generations of a zone's plugin: the instance that is called now, and those before it, which
//! are kept until the zone is dropped. So whoever finds one needs no lock and no count to look at
//! it; whether it may still be called says its gate.

use std::collections::HashMap;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::contract::Method;
use crate::gate::Refusal;
use crate::instance::{Inside, Instance, Target};
use crate::pending::closed;
use crate::{Error, ErrorKind, Result, Stage};

/// Calls wait that long while state is handed over.
const HAND_OVER_MAX: Duration = Duration::from_secs(5);

/// All instances of a zone.
pub(crate) struct Generations {
    /// The last of `all`. Written by `replace`, with the lock held; read by calls.
    current: AtomicPtr<Instance>,
    list: Mutex<List>,
    /// State was handed over, or not.
    settled: Condvar,
}

struct List {
    all: Vec<Arc<Instance>>,
    /// Every method that any of them has or had; its place is its number.
    methods: Arc<[Method]>,
    is_closed: bool,
    is_handing_over: bool,
    is_reloading: bool,
}

/// The methods of the next generation, by the zone's numbers, which stay what they are.
pub(crate) struct Numbering {
    pub(crate) targets: Vec<Option<Target>>,
    methods: Arc<[Method]>,
    /// Those of the last generation that the next one lacks, or has with other types.
    pub(crate) missing: Vec<String>,
}

impl Numbering {
    /// Of a first generation.
    pub(crate) fn first(methods: &[Method]) -> Self {
        let targets = methods.iter().map(|method| Some(Target::from(method))).collect();
        Self { targets, methods: methods.into(), missing: Vec::new() }
    }

    /// Of a generation with the methods `next`, after others that had `all` methods, of which the
    /// last one `had` these.
    pub(crate) fn after(all: &[Method], had: impl Fn(u32) -> bool, next: &[Method]) -> Self {
        let by_name: HashMap<_, _> = next.iter().map(|it| (&*it.name, it)).collect();
        let same = |old: &Method| by_name.get(&*old.name).copied().filter(|new| new.is_as(old));
        let mut targets: Vec<_> = all.iter().map(|old| same(old).map(Target::from)).collect();
        let missing = all.iter().zip(0..);
        let missing = missing.filter(|(old, number)| had(*number) && same(old).is_none());
        let missing = missing.map(|(old, _)| old.name.clone()).collect();
        let mut methods = all.to_vec();
        for new in next {
            if !all.iter().any(|old| new.name == old.name && new.is_as(old)) {
                methods.push(new.clone());
                targets.push(Some(Target::from(new)));
            }
        }
        Self { targets, methods: methods.into(), missing }
    }

    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "for processes"))]
    pub(crate) fn methods(&self) -> &Arc<[Method]> {
        &self.methods
    }

    /// # Errors
    /// `SchemaMismatch` if there are methods missing.
    pub(crate) fn check(&self) -> Result<()> {
        if self.missing.is_empty() {
            return Ok(());
        }
        let message = format!("{} would be missing, or have other types", self.missing.join(", "));
        Err(Error::new(ErrorKind::SchemaMismatch, Stage::Bind, message))
    }
}

impl Generations {
    pub(crate) fn new(first: Arc<Instance>, numbering: Numbering) -> Self {
        let current = AtomicPtr::new(Arc::as_ptr(&first).cast_mut());
        let methods = numbering.methods;
        let (is_closed, is_handing_over, is_reloading) = (false, false, false);
        let list = List { all: vec![first], methods, is_closed, is_handing_over, is_reloading };
        Self { current, list: Mutex::new(list), settled: Condvar::new() }
    }

    /// The one that is called now.
    #[inline]
    pub(crate) fn now(&self) -> &Instance {
        // SYNC POINT generation: what made the instance ready is seen by who finds it.
        let current = self.current.load(Ordering::Acquire);
        // SAFETY: it points to one of `all`, which loses none as long as this is there.
        unsafe { &*current }
    }

    /// As [`Self::now`], to keep.
    pub(crate) fn last(&self) -> Arc<Instance> {
        Arc::clone(self.lock().last())
    }

    /// Inside the one that is called now.
    ///
    /// # Errors
    /// `Closed`, `Faulted`; `Again` if state is handed over for too long.
    pub(crate) fn enter(&self) -> Result<Inside> {
        loop {
            let instance = self.last();
            match instance.enter() {
                Ok(inside) => return Ok(inside),
                Err(refusal) => self.refused(&instance, refusal)?,
            }
        }
    }

    /// As [`Self::enter`], but `None` instead of waiting while state is handed over.
    ///
    /// # Errors
    /// `Closed`, `Faulted`.
    pub(crate) fn try_enter(&self) -> Result<Option<Inside>> {
        loop {
            let instance = self.last();
            let refusal = match instance.enter() {
                Ok(inside) => return Ok(Some(inside)),
                Err(refusal) => refusal,
            };
            let list = self.lock();
            if list.is_handing_over {
                return Ok(None);
            }
            list.check(&instance, refusal)?;
        }
    }

    /// Runs a method that never waits on this thread; the bytes of its result.
    ///
    /// # Errors
    /// As [`Self::enter`], and what the call says.
    #[inline]
    pub(crate) fn call(&self, method: u32, input: &[u8], out: &mut [u8]) -> Result<usize> {
        loop {
            let instance = self.now();
            match instance.call(method, input, out) {
                Ok(result) => return result,
                Err(refusal) => self.refused(instance, refusal)?,
            }
        }
    }

    /// `instance` let nobody in: an error, unless there is another one now.
    #[cold]
    pub(crate) fn refused(&self, instance: &Instance, refusal: Refusal) -> Result<()> {
        let mut list = self.lock();
        let deadline = Instant::now() + HAND_OVER_MAX;
        while list.is_handing_over {
            let left = deadline.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                let message = "its state is being handed over to a new generation";
                let error = Error::new(ErrorKind::Again, Stage::Call, message);
                return Err(instance.say(error));
            }
            let waited = self.settled.wait_timeout(list, left);
            list = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        list.check(instance, refusal)
    }

    /// Every method that there is or was, by its number.
    pub(crate) fn methods(&self) -> Arc<[Method]> {
        Arc::clone(&self.lock().methods)
    }

    /// How many generations there were.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.lock().all.len()).unwrap_or(u32::MAX)
    }

    /// The numbers for another version's methods: those that are the same keep theirs.
    pub(crate) fn renumber(&self, methods: &[Method]) -> Numbering {
        let list = self.lock();
        let last = list.last();
        Numbering::after(&list.methods, |number| last.target(number).is_ok(), methods)
    }

    /// Calls that are let in nowhere wait from now on, until [`Self::settle`] or `replace`.
    pub(crate) fn begin_hand_over(&self) {
        self.lock().is_handing_over = true;
    }

    /// They wait no longer: `last` goes on, unless the zone closes.
    pub(crate) fn settle(&self, last: &Instance) {
        let mut list = self.lock();
        if !list.is_closed {
            last.reopen();
        }
        list.is_handing_over = false;
        drop(list);
        self.settled.notify_all();
        // Without the lock: it is the plugin's code that is told.
        last.tell_released();
    }

    /// Waits for another reload to end; others wait until what this gives is dropped.
    ///
    /// # Errors
    /// `Closed`.
    pub(crate) fn begin_reload(&self) -> Result<Reloading<'_>> {
        let mut list = self.lock();
        while list.is_reloading && !list.is_closed {
            list = self.settled.wait(list).unwrap_or_else(PoisonError::into_inner);
        }
        if list.is_closed {
            return Err(closed());
        }
        list.is_reloading = true;
        Ok(Reloading(self))
    }

    /// New calls are `next`'s.
    ///
    /// # Errors
    /// `Closed`.
    pub(crate) fn replace(&self, next: &Arc<Instance>, numbering: Numbering) -> Result<()> {
        let mut list = self.lock();
        if list.is_closed {
            return Err(closed());
        }
        list.all.push(Arc::clone(next));
        list.methods = numbering.methods;
        list.is_handing_over = false;
        // SYNC POINT generation.
        self.current.store(Arc::as_ptr(next).cast_mut(), Ordering::Release);
        drop(list);
        self.settled.notify_all();
        Ok(())
    }

    /// There will be no others; the last one. A reload under way fails, and is waited for.
    pub(crate) fn close(&self, deadline: Instant) -> Arc<Instance> {
        let mut list = self.lock();
        list.is_closed = true;
        list.is_handing_over &= list.is_reloading;
        self.settled.notify_all();
        while list.is_reloading {
            let left = deadline.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                break;
            }
            let waited = self.settled.wait_timeout(list, left);
            list = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Arc::clone(list.last())
    }

    /// Every instance that there is or was.
    pub(crate) fn each(&self, look: impl FnMut(&Arc<Instance>)) {
        self.lock().all.iter().for_each(look);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nobody else reloads meanwhile.
pub(crate) struct Reloading<'a>(&'a Generations);

impl Drop for Reloading<'_> {
    fn drop(&mut self) {
        self.0.lock().is_reloading = false;
        self.0.settled.notify_all();
    }
}

impl List {
    /// Whether there is another one than `instance`, which let nobody in, or it does now.
    ///
    /// # Errors
    /// Why not.
    fn check(&self, instance: &Instance, refusal: Refusal) -> Result<()> {
        let is_last = std::ptr::eq(Arc::as_ptr(self.last()), instance);
        if self.is_closed || (is_last && instance.refusal().is_some()) {
            return Err(instance.refused(refusal));
        }
        Ok(())
    }

    fn last(&self) -> &Arc<Instance> {
        self.all.last().expect("invariant: there was a first one")
    }
}
