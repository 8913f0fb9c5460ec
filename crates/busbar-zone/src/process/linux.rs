//! Processes by sealed memfds, shared memory, pidfds and seccomp, which Linux alone has.

mod calls;
mod child;
mod hand_over;
mod host;
mod hosted;
mod line;
mod live;
mod output;
mod relay;
mod remote;
mod sandbox;
mod supervisor;
mod upcalls;
mod wire;

pub use host::run as run_host;
pub(crate) use remote::Remote;

use super::{Output, ProcessOptions, ProcessStatus, Sandbox};
