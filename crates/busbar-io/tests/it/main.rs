//! Pipes as programs use them: one conformance suite over every transport, and what only shared
//! memory has, down to the processes at its ends.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[cfg(unix)]
mod ahead;
#[cfg(unix)]
mod answering;
#[cfg(unix)]
mod archive;
#[cfg(unix)]
mod authorizing;
mod certificates;
#[cfg(unix)]
mod chaos;
#[cfg(unix)]
mod child;
mod conformance;
#[cfg(unix)]
mod counters;
#[cfg(unix)]
mod dialing;
#[cfg(unix)]
mod endings;
mod farewell;
#[cfg(unix)]
mod heartbeat;
#[cfg(unix)]
mod io_thread;
mod qos;
#[cfg(unix)]
mod raw;
#[cfg(target_os = "linux")]
mod reactors;
mod reconnect;
mod recorded;
mod reliable;
#[cfg(unix)]
mod rendezvous;
#[cfg(unix)]
mod stream;
mod support;
mod tls;
mod waiting;
