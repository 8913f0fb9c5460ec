//! Systems without sealed shared memory: there are no processes for plugins.

use std::sync::Arc;
use std::time::Duration;

use busbar_types::registry::Registry;

use crate::contract::Method;
use crate::local::Local;
use crate::pending::{CallId, GivenUp, Pending};
use crate::source::Source;
use crate::transport::{Identity, Transport};
use crate::{
    Error, ErrorKind, Object, Options, ReloadOptions, Reloaded, Result, Stage, State, Trust,
};

/// There is none.
pub(crate) enum Remote {}

impl Remote {
    pub(crate) fn open(
        _: Source,
        _: &Trust,
        _: &'static Registry,
        _: Arc<Pending>,
        _: &Options<'_>,
    ) -> Result<Arc<Self>> {
        let message = "processes for plugins need Linux: choose another mode";
        Err(Error::new(ErrorKind::NotSupported, Stage::Ready, message))
    }

    pub(crate) fn reload(&self, _: Source, _: &Trust, _: &ReloadOptions) -> Result<Reloaded> {
        match *self {}
    }
}

impl Transport for Arc<Remote> {
    fn local(&self) -> Option<&Arc<Local>> {
        match **self {}
    }

    fn identity(&self) -> Identity {
        match **self {}
    }

    fn methods(&self) -> Arc<[Method]> {
        match **self {}
    }

    fn has(&self, _: u32) -> bool {
        match **self {}
    }

    fn types(&self) -> Vec<(String, u64)> {
        match **self {}
    }

    fn state(&self) -> State {
        match **self {}
    }

    fn submit(&self, _: u32, _: Vec<u8>, _: CallId) -> Result<()> {
        match **self {}
    }

    fn hold(&self, _: u64) -> Result<Object> {
        match **self {}
    }

    fn lend(&self) -> Option<u64> {
        match **self {}
    }

    fn take_back(&self, _: u64) -> bool {
        match **self {}
    }

    fn cancel(&self, _: CallId, _: GivenUp) {
        match **self {}
    }

    fn close(&self, _: Duration) -> Result<()> {
        match **self {}
    }
}
