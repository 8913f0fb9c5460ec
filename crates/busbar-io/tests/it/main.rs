//! Pipes as programs use them: one conformance suite over every transport, and what only shared
//! memory has, down to the processes at its ends.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod ahead;
mod answering;
mod archive;
mod authorizing;
mod certificates;
mod chaos;
mod child;
mod conformance;
mod counters;
mod dialing;
mod endings;
mod farewell;
mod heartbeat;
mod io_thread;
mod qos;
mod raw;
#[cfg(target_os = "linux")]
mod reactors;
mod reconnect;
mod recorded;
mod reliable;
mod rendezvous;
mod stream;
mod support;
mod tls;
mod waiting;
