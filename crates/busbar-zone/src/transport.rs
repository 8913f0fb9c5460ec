//! The way from a zone to its plugin: which thread or process its calls run in. One trait, so that
//! one table of tests holds for all.
//!
//! A zone and its transport share the table of open calls ([`Pending`](crate::pending::Pending)).
//! The zone opens calls in it; the transport ends each of them there once.

use std::sync::Arc;
use std::time::Duration;

use crate::contract::Method;
use crate::local::Local;
use crate::pending::{CallId, GivenUp};
use crate::process::Remote;
use crate::{Object, ProcessStatus, Result, State};

/// How a zone reaches its plugin.
pub(crate) trait Transport: Send + Sync {
    /// The plugin, if it is in this process: then it can be called inline, or be reloaded by
    /// generations.
    fn local(&self) -> Option<&Arc<Local>>;

    /// The plugin's process, if it has one.
    fn remote(&self) -> Option<&Arc<Remote>> {
        None
    }

    /// What the plugin that is called now says of itself.
    fn identity(&self) -> Identity;

    /// Every method that the plugin has or had; its place is its number.
    fn methods(&self) -> Arc<[Method]>;

    /// Whether the plugin that is called now has the method with this number.
    fn has(&self, method: u32) -> bool;

    /// Names and hashes of the plugin's types.
    fn types(&self) -> Vec<(String, u64)>;

    /// Where the plugin is in its life.
    fn state(&self) -> State;

    /// Has the open call `id` run, and then end; if this fails, it never runs. The bytes are taken
    /// over: they are not the caller's any more.
    fn submit(&self, method: u32, input: Vec<u8>, id: CallId) -> Result<()>;

    /// As [`Self::submit`], for a caller who waits: if the call may end soon, this looks for that
    /// until `is_done`, but not long.
    fn submit_awaited(
        &self,
        method: u32,
        input: &[u8],
        id: CallId,
        _is_done: &dyn Fn() -> bool,
    ) -> Result<()> {
        self.submit(method, input.to_vec(), id)
    }

    /// Somebody is going to look for the ends of calls for a while, if that is of use.
    fn attend(&self) -> Option<Box<dyn Attendance>> {
        None
    }

    /// How the plugin's process does, if it has one.
    fn process(&self) -> Option<ProcessStatus> {
        None
    }

    /// Holds an object of the plugin that is called now.
    ///
    /// # Errors
    /// `Stale`.
    fn hold(&self, object: u64) -> Result<Object>;

    /// A number for an object that the plugin may have, until it says that it does not need it.
    fn lend(&self) -> Option<u64>;

    /// Lends an object no longer; whether it was lent.
    fn take_back(&self, object: u64) -> bool;

    /// Asks the plugin to end a call that nobody waits for any more.
    fn cancel(&self, id: CallId, call: GivenUp);

    /// Whether nobody is inside the plugin, nor will be: if so, it is to be closed. Calls of the
    /// zone's table have ended.
    fn close_if_idle(&self) -> bool {
        true
    }

    /// Ends the plugin, once its calls have ended. There are no new ones.
    ///
    /// # Errors
    /// `TimedOut` if one does not end within `grace`.
    fn close(&self, grace: Duration) -> Result<()>;
}

/// Looks for the ends of a zone's calls; see [`Zone::attend`](crate::Zone::attend).
pub trait Attendance: Send {
    /// Tells of the calls that have ended, on this thread; whether there were any.
    fn look(&self) -> bool;
}

/// What a plugin says of itself.
pub(crate) struct Identity {
    pub(crate) id: String,
    pub(crate) version: String,
    pub(crate) runtime: u32,
    /// Counts from 1.
    pub(crate) generation: u32,
}
