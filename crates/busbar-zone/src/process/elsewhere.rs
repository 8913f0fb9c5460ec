//! Systems without sealed shared memory: there are no processes for plugins.

use std::time::Duration;

use super::ProcessStatus;
use crate::contract::Method;
use crate::library::Types;
use crate::pending::Reply;
use crate::source::Source;
use crate::{Error, ErrorKind, Options, Result, Stage, State, Trust};

/// There is none.
pub(crate) enum Remote {}

impl Remote {
    pub(crate) fn open(_: Source, _: &Trust, _: u64, _: &Options<'_>) -> Result<Self> {
        let message = "processes for plugins need Linux: choose another mode";
        Err(Error::new(ErrorKind::NotSupported, Stage::Ready, message))
    }

    pub(crate) fn zone(&self) -> u64 {
        match *self {}
    }

    pub(crate) fn plugin_id(&self) -> &str {
        match *self {}
    }

    pub(crate) fn version(&self) -> &str {
        match *self {}
    }

    pub(crate) fn runtime(&self) -> u32 {
        match *self {}
    }

    pub(crate) fn methods(&self) -> &[Method] {
        match *self {}
    }

    pub(crate) fn types(&self) -> &Types {
        match *self {}
    }

    pub(crate) fn state(&self) -> State {
        match *self {}
    }

    pub(crate) fn status(&self) -> ProcessStatus {
        match *self {}
    }

    pub(crate) fn submit(&self, _: u32, _: Vec<u8>, _: Reply) -> Result<()> {
        match *self {}
    }

    pub(crate) fn call_waiting(&self, _: u32, _: &[u8], _: Duration) -> Result<Vec<u8>> {
        match *self {}
    }

    pub(crate) fn close(&self, _: Duration) -> Result<()> {
        match *self {}
    }
}
