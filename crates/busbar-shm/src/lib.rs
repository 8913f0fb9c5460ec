//! Shared memory between two processes that need not trust each other.
//!
//! Each end of a connection owns one [`Segment`] (a sealed memfd that it alone may write) and maps
//! the peer's so that it cannot change it. On top of the two lie the record ring ([`Producer`],
//! [`Consumer`]), the slab for large payloads ([`Slab`], [`Loan`], [`Lease`]) and the park words
//! ([`Sleeper`], [`Bell`]).
//!
//! This crate moves bytes and wakes nobody: when a bell must be rung it says so, and the caller
//! rings it. It never waits, opens no sockets and gives nothing a name.
//!
//! All raw pointers into shared memory of the whole project are in this crate, and two questions to
//! the system that have no sound wrapper: [`peer_groups`] and [`peer_process`].

pub mod record;

#[cfg(target_os = "linux")]
mod channel;
#[cfg(target_os = "linux")]
mod control;
#[cfg(target_os = "linux")]
mod credentials;
#[cfg(target_os = "linux")]
mod cursor;
#[cfg(target_os = "linux")]
mod error;
#[cfg(target_os = "linux")]
mod incoming;
#[cfg(target_os = "linux")]
mod loan;
#[cfg(target_os = "linux")]
mod outgoing;
#[cfg(target_os = "linux")]
mod park;
#[cfg(target_os = "linux")]
mod release;
#[cfg(all(test, target_os = "linux"))]
mod rig;
#[cfg(target_os = "linux")]
mod ring;
#[cfg(target_os = "linux")]
mod segment;
#[cfg(target_os = "linux")]
mod slab;
#[cfg(target_os = "linux")]
mod sync;

#[cfg(all(test, loom))]
mod loom_tests;

#[cfg(target_os = "linux")]
pub use channel::{Channel, Counters, Settings};
#[cfg(target_os = "linux")]
pub use control::ControlBlock;
#[cfg(target_os = "linux")]
pub use credentials::{PeerProcess, peer_groups, peer_process};
#[cfg(target_os = "linux")]
pub use cursor::{RxCursor, TxCursor};
#[cfg(target_os = "linux")]
pub use error::{Breach, Error};
#[cfg(target_os = "linux")]
pub use incoming::Received;
#[cfg(target_os = "linux")]
pub use loan::{Lease, Loan};
#[cfg(target_os = "linux")]
pub use park::{Bell, Sleeper, Wants};
#[cfg(target_os = "linux")]
pub use ring::{Consumer, Producer};
#[cfg(target_os = "linux")]
pub use segment::{Geometry, PeerSegment, Segment};
#[cfg(target_os = "linux")]
pub use slab::{ChunkId, Slab};
