//! Shared memory between two processes that need not trust each other.
//!
//! Each end of a connection owns one [`Segment`] (a sealed memfd that it alone may write) and maps
//! the peer's read-only. On top of the two lie the record ring ([`Producer`], [`Consumer`]), the
//! slab for large payloads ([`Slab`], [`Loan`], [`Lease`]) and the park words ([`Sleeper`],
//! [`Bell`]).
//!
//! This crate moves bytes and wakes nobody: when a bell must be rung it says so, and the caller
//! rings it. It never waits, opens no sockets and gives nothing a name.
//!
//! All raw pointers into shared memory of the whole project are in this crate.

pub mod record;

mod channel;
mod control;
mod cursor;
mod error;
mod incoming;
mod loan;
mod outgoing;
mod park;
mod release;
#[cfg(test)]
mod rig;
mod ring;
mod segment;
mod slab;
mod sync;

#[cfg(all(test, loom))]
mod loom_tests;

pub use channel::{Channel, Counters, Settings};
pub use control::ControlBlock;
pub use cursor::{RxCursor, TxCursor};
pub use error::{Breach, Error};
pub use incoming::Received;
pub use loan::{Lease, Loan};
pub use park::{Bell, Sleeper, Wants};
pub use ring::{Consumer, Producer};
pub use segment::{Geometry, PeerSegment, Segment};
pub use slab::{ChunkId, Slab};
