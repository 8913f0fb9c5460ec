//! The Busbar wire protocol without I/O: error codes, frames, HELLO, connection states, queues,
//! sessions.
//!
//! Nothing here reads a clock, a random source, a socket, a file, a thread or a lock: bytes,
//! durations and random identities come in as arguments, and bytes and decisions go out as values.
#![forbid(unsafe_code)]

mod backoff;
mod close;
mod code;
mod error;
pub mod frame;
mod hello;
mod limits;
pub mod qos;
mod reader;
pub mod session;
mod state;

pub use backoff::{Backoff, Retries};
pub use close::CloseReason;
pub use code::Code;
pub use error::Error;
pub use hello::{
    Agreement, Capabilities, Epoch, Hello, SessionId, ShmParameters, Trust, Versions, negotiate,
};
pub use limits::Limits;
pub use state::{ConnectionInput, ConnectionState};
