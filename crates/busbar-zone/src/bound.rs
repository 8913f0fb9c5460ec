//! A method that one thread calls often: everything about it that stays the same was looked up,
//! until another generation of the plugin is called.

use std::cell::UnsafeCell;
use std::fmt;
use std::sync::Arc;

use busbar_abi::{Buf, Status};

use crate::gate::{Gate, Refusal};
use crate::instance::{Entry, Instance, Target};
use crate::local::Local;
use crate::passage::Passage;
use crate::{Error, MethodId, Result};

/// One method of an inline zone, for the thread that asked: [`Zone::bind`](crate::Zone::bind).
pub struct Bound {
    local: Arc<Local>,
    method: MethodId,
    /// Replaced by its thread alone, and not while a call is on it, which may be the outer one of
    /// another.
    way: UnsafeCell<Way>,
}

/// To one generation. What a call looks at lies here, and not behind the instance: each step from
/// one place to the next costs as much as a short method.
struct Way {
    gate: &'static Gate,
    passage: Passage,
    entry: Entry,
    target: Target,
    /// Whether calls need neither a fence nor a turn.
    is_straight: bool,
    instance: Arc<Instance>,
}

impl Way {
    fn new(instance: Arc<Instance>, method: MethodId) -> Result<Self> {
        let target = instance.inline_target(method.index())?;
        let (gate, entry) = (instance.gate(), instance.entry());
        let passage = gate.passage();
        let is_straight = passage.is_light() && target.is_thread_safe();
        Ok(Self { gate, passage, entry, target, is_straight, instance })
    }

    fn call(&self, input: &[u8], out: &mut [u8]) -> Result<Result<usize>, Refusal> {
        self.gate.enter_by(&self.passage)?;
        let _leave = Leave(self);
        Ok(self.instance.call_inside(self.target, input, out))
    }

    /// Straight on, where nothing stands in the way: what the plugin said, with this still inside.
    /// `None` if something does.
    ///
    /// Nothing unwinds from here to where this leaves: plugins have an edge of C.
    #[inline(always)]
    fn run(&self, input: &[u8], out: &mut Buf) -> Option<Status> {
        if self.is_straight && self.gate.try_enter_lightly_by(&self.passage) {
            return Some(self.entry.run(self.target, input, out));
        }
        None
    }

    /// Leaves after [`Self::run`].
    #[inline(always)]
    fn leave(&self) {
        self.gate.leave_lightly_by(&self.passage);
    }

    /// As [`Self::leave`]; how it ended.
    #[cold]
    #[inline(never)]
    fn end(&self, status: Status, buf: &Buf, room: usize) -> Result<usize> {
        let _leave = Leave(self);
        if status == Status::OK && buf.len <= room {
            return Ok(buf.len);
        }
        Err(self.instance.failed(self.target, status, buf))
    }
}

struct Leave<'a>(&'a Way);

impl Drop for Leave<'_> {
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
        let way = UnsafeCell::new(Way::new(local.generations.last(), method)?);
        Ok(Self { local: Arc::clone(local), method, way })
    }

    /// Runs the method on this thread; see [`Zone::call`](crate::Zone::call).
    ///
    /// # Errors
    /// As `Zone::call`.
    #[inline(always)]
    pub fn call(&self, input: &[u8], out: &mut [u8]) -> Result<usize> {
        let (way, mut buf) = (self.way(), Buf::new(out));
        match way.run(input, &mut buf) {
            Some(Status::OK) if buf.len <= out.len() => {
                way.leave();
                Ok(buf.len)
            }
            Some(status) => way.end(status, &buf, out.len()),
            None => self.call_apart(input, out),
        }
    }

    /// As [`Self::call`] without an argument, quickest if there is no result.
    ///
    /// # Errors
    /// As `call`, or `None` if something stands in the way, and nothing was run: then it is for
    /// `call`.
    #[inline(always)]
    pub fn signal(&self, out: &mut [u8]) -> Result<usize, Option<Error>> {
        let (way, mut buf) = (self.way(), Buf::new(out));
        match way.run(&[], &mut buf) {
            Some(Status::OK) if buf.len == 0 => {
                way.leave();
                Ok(0)
            }
            Some(status) => way.end(status, &buf, out.len()).map_err(Some),
            None => Err(None),
        }
    }

    #[inline(always)]
    fn way(&self) -> &Way {
        // SAFETY: `replace` alone changes it, on this thread, while nobody is inside; and nothing
        // that could call `replace` runs while somebody uses this who is not inside.
        unsafe { &*self.way.get() }
    }

    /// As [`Self::call`], of methods that are not thread-safe, and of instances that refuse.
    #[inline(never)]
    fn call_apart(&self, input: &[u8], out: &mut [u8]) -> Result<usize> {
        loop {
            let way = self.way();
            let instance = Arc::clone(&way.instance);
            let refusal = match way.call(input, out) {
                Ok(result) => return result,
                Err(refusal) => refusal,
            };
            self.local.generations.refused(&instance, refusal)?;
            let next = Way::new(self.local.generations.last(), self.method)?;
            if !self.replace(next) {
                return self.local.generations.call(self.method.index(), input, out);
            }
        }
    }

    /// Takes another way from now on; `false` if this is a call within a call: the outer one is
    /// still on the old way.
    fn replace(&self, next: Way) -> bool {
        if self.way().passage.is_in_use() {
            return false;
        }
        // SAFETY: of this thread, which alone has this, nobody is on the way: whoever is, is inside
        // as its passage counts.
        let old = unsafe { self.way.get().replace(next) };
        // Whatever ends with the old instance finds the next way here.
        drop(old);
        true
    }
}
