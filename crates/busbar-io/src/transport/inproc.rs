//! `inproc://`: messages between threads of one process, handed over by reference count.
//!
//! A process-wide namespace maps names to listeners. Connecting makes two queues, one for each
//! direction, keeps one end and puts the other into the listener's accept queue; nothing is
//! negotiated, framed or encoded. An end is used in one of two ways: as an [`InprocPair`], which
//! moves `Bytes`, or as an [`InprocLink`], through which the engine moves runs of small messages.
//! The two ends of a connection may differ in that.
//!
//! ```text
//!   InprocPair ─ InprocSender ──→ queue ──→ InprocReceiver ─ InprocPair     payloads: Bytes
//!   InprocLink ┘      ↑   published ─────────→   │         └ InprocLink     runs: arena slices
//!                     └────────── taken ─────────┘
//! ```
//!
//! | part | written by | read by |
//! |---|---|---|
//! | queue | sender pushes, receiver pops | |
//! | `Lane::published` | sender | receiver before it sleeps, statistics |
//! | `Lane::taken` | receiver | sender when the queue looks full, statistics |
//! | `Lane::reader` (who waits for messages) | receiver arms | sender wakes |
//! | `Lane::writer` (who waits for room) | sender arms | receiver wakes |
//!
//! There is no lock on the way of a message, no thread, and no runtime: whoever waits hands in a
//! [`std::task::Waker`], and blocking calls bring one that unparks their thread.

mod arena;
mod blocking;
mod lane;
mod link;
mod listener;
mod options;
mod pair;
mod queue;
mod receiver;
mod registry;
mod sender;
mod stats;
mod wake;

pub use link::InprocLink;
pub use listener::InprocListener;
pub use options::{InprocOptions, QueueLimit};
pub use pair::{InprocPair, InprocPairSocket};
pub use receiver::InprocReceiver;
pub use registry::{
    bind_inproc, connect_inproc, inproc_stats, list_inproc_endpoints, unbind_inproc,
    validate_and_extract_name,
};
pub use sender::{InprocSender, TrySendError};
pub use stats::{InprocPairStats, InprocStats, LaneStats};

#[cfg(test)]
mod tests;
