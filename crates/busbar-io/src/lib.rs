//! Transports, links and the engine that drives them.
//!
//! ```text
//! Engine ── pipes ── Connection: Link ──→ transport/{inproc, shm, uds, pipe, tcp, tls}
//!   │  └── listeners ── Acceptor
//!   └── poll set, notice board ──→ Events
//! ```
//!
//! An [`Engine`] belongs to one thread and is driven by it, or by an [`IoThread`] beside it.
//! Programs in Rust that want to block use [`Pipe`] and [`Listener`], which bring an engine of
//! their own.
#![deny(unsafe_code)]

pub mod transport;

mod block;
mod clock;
mod connection;
mod endpoint;
mod engine;
mod event;
mod inbox;
mod io_thread;
mod link;
mod loan;
mod notice;
mod options;
mod os;
mod peer;
mod pipe;
mod qos;
mod reactor;
mod slots;
mod tls;
#[cfg(windows)]
mod waiter;

pub use block::Block;
pub use busbar_proto::qos::{Backpressure, ChannelOptions, Drops, HighWaterMarks, Rate, RateLimit};
pub use busbar_proto::session::{Acknowledge, SessionOptions};
pub use busbar_proto::{Backoff, CloseReason, Code, ConnectionState, Error};
pub use connection::Identity;
pub use endpoint::{Endpoint, ShmName, UdsName};
pub use engine::{Engine, PipeStats, Readiness};
pub use event::{Event, ListenerId, PipeId};
pub use inbox::{ANNOUNCEMENTS, Inbox, META_LEASED, Slot};
pub use io_thread::{EngineGuard, IoThread};
pub use link::{Interest, Link, LinkStats};
pub use loan::{Lease, Loan};
pub use options::{Access, AccessList, Heartbeat, ListenOptions, PipeOptions, Trust, Wait};
pub use peer::{Peer, Process, TlsPeer};
pub use pipe::{Listener, Message, Pipe, dial, listen};
pub use qos::{
    CHANNELS_MAX, Qos, QosStats, ReceivingQos, SendOptions, SendingQos, Sent, SharedThrottle,
};
pub use reactor::{Backend, BackendChoice, EngineOptions};
pub use tls::{Credentials, TlsOptions, TlsVersion};
#[cfg(windows)]
pub use waiter::{Interrupt, Waiter};
