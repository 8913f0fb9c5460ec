//! A method that one thread calls often: everything about it that stays the same was looked up,
//! until another generation of the plugin is called.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use crate::gate::{Gate, Refusal};
use crate::instance::{Entry, Instance, Target};
use crate::local::Local;
use crate::passage::Passage;
use crate::{MethodId, Result};

/// One method of an inline zone, for the thread that asked: [`Zone::bind`](crate::Zone::bind).
pub struct Bound {
    local: Arc<Local>,
    method: MethodId,
    /// Not changed while a call is on it, which may be the outer one of another.
    way: RefCell<Way>,
}

/// To one generation. What a call looks at lies here, and not behind the instance: each step from
/// one place to the next costs as much as a short method.
struct Way {
    gate: &'static Gate,
    passage: Passage,
    entry: Entry,
    target: Target,
    instance: Arc<Instance>,
}

impl Way {
    fn new(instance: Arc<Instance>, method: MethodId) -> Result<Self> {
        let target = instance.inline_target(method.index())?;
        let (gate, entry) = (instance.gate(), instance.entry());
        Ok(Self { gate, passage: gate.passage(), entry, target, instance })
    }

    #[inline(always)]
    fn call(&self, input: &[u8], out: &mut [u8]) -> Result<Result<usize>, Refusal> {
        self.gate.enter_by(&self.passage)?;
        let _leave = Leave(self);
        if self.target.is_thread_safe() {
            return Ok(self.entry.call(&self.instance, self.target, input, out));
        }
        Ok(self.instance.call_inside(self.target, input, out))
    }
}

struct Leave<'a>(&'a Way);

impl Drop for Leave<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.gate.leave_by(&self.0.passage);
    }
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound").field("method", &self.method).finish_non_exhaustive()
    }
}

impl Bound {
    /// # Errors
    /// `MethodNotFound`; `NotSupported` if the method may wait.
    pub(crate) fn new(local: &Arc<Local>, method: MethodId) -> Result<Self> {
        let way = RefCell::new(Way::new(local.generations.last(), method)?);
        Ok(Self { local: Arc::clone(local), method, way })
    }

    /// Runs the method on this thread; see [`Zone::call`](crate::Zone::call).
    ///
    /// # Errors
    /// As `Zone::call`.
    #[inline(always)]
    pub fn call(&self, input: &[u8], out: &mut [u8]) -> Result<usize> {
        let way = self.way.borrow();
        match way.call(input, out) {
            Ok(result) => result,
            Err(refusal) => {
                let instance = Arc::clone(&way.instance);
                drop(way);
                self.call_next(&instance, refusal, input, out)
            }
        }
    }

    /// As [`Self::call`], once `instance` has refused.
    #[cold]
    fn call_next(
        &self,
        instance: &Instance,
        refusal: Refusal,
        input: &[u8],
        out: &mut [u8],
    ) -> Result<usize> {
        self.local.generations.refused(instance, refusal)?;
        let next = Way::new(self.local.generations.last(), self.method)?;
        match self.way.try_borrow_mut() {
            Ok(mut way) => *way = next,
            // A call within a call: the outer one is still on the old way.
            Err(_) => return self.local.generations.call(self.method.index(), input, out),
        }
        self.call(input, out)
    }
}
