//! A method that one thread calls often: everything about it that stays the same was looked up.

use std::fmt;
use std::sync::Arc;

use crate::instance::{Instance, Target};
use crate::passage::Passage;
use crate::{MethodId, Result};

/// One method of an inline zone, for the thread that asked: [`Zone::bind`](crate::Zone::bind).
pub struct Bound {
    instance: Arc<Instance>,
    passage: Passage,
    target: Target,
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound").field("plugin", &self.instance.id()).finish_non_exhaustive()
    }
}

impl Bound {
    /// # Errors
    /// `MethodNotFound`; `NotSupported` if the method may wait.
    pub(crate) fn new(instance: &Arc<Instance>, method: MethodId) -> Result<Self> {
        let target = instance.inline_target(method.index())?;
        Ok(Self { instance: Arc::clone(instance), passage: instance.passage(), target })
    }

    /// Runs the method on this thread; see [`Zone::call`](crate::Zone::call).
    ///
    /// # Errors
    /// As `Zone::call`.
    #[inline]
    pub fn call(&self, input: &[u8], out: &mut [u8]) -> Result<usize> {
        self.instance.call_by(&self.passage, self.target, input, out)
    }
}
