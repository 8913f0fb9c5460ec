//! The way from a parent to its child: which thread a call runs on. One trait, so that one table of
//! tests holds for all.

use std::sync::Arc;

use crate::instance::Instance;
use crate::pending::Reply;
use crate::pool::{Job, Pool};
use crate::{Mode, Result};

/// How a zone's calls reach its instance.
pub(crate) trait Transport: Send + Sync {
    /// The mode this is of.
    fn mode(&self) -> Mode;

    /// Has `reply` told of the end of a call, now or later; if this fails, never. The bytes are
    /// taken over: they are not the caller's any more.
    fn submit(
        &self,
        instance: &Arc<Instance>,
        method: u32,
        input: Vec<u8>,
        reply: Reply,
    ) -> Result<()>;

    /// Ends the threads of a zone whose last call has ended.
    fn close(&self) {}
}

/// The caller's own thread.
pub(crate) struct Inline;

impl Transport for Inline {
    fn mode(&self) -> Mode {
        Mode::Inline
    }

    fn submit(
        &self,
        instance: &Arc<Instance>,
        method: u32,
        input: Vec<u8>,
        reply: Reply,
    ) -> Result<()> {
        instance.inline_target(method)?;
        let call = instance.inside()?.into_call(reply);
        instance.start(method, &input, call);
        Ok(())
    }
}

/// Threads: those that all zones share, or the zone's own.
pub(crate) struct Threads {
    pub(crate) pool: Arc<Pool>,
    pub(crate) mode: Mode,
}

impl Transport for Threads {
    fn mode(&self) -> Mode {
        self.mode
    }

    fn submit(
        &self,
        instance: &Arc<Instance>,
        method: u32,
        input: Vec<u8>,
        reply: Reply,
    ) -> Result<()> {
        instance.target(method)?;
        let call = instance.inside()?.into_call(reply);
        self.pool.send(Job { method, input, call }).map_err(|error| error.of(instance.id()))
    }

    fn close(&self) {
        if matches!(self.mode, Mode::Dedicated { .. }) {
            self.pool.close();
        }
    }
}
