//! Typed messages: what a type looks like in bytes, and everything that follows from it.
//!
//! A type is known in two ways: at compile time, and at run time as a [`schema::Schema`], an owned
//! description that tools, plugins and TypeScript exchange as JSON. Nothing here opens sockets,
//! starts threads or knows Node: bytes come in as slices and go out into slices.

pub mod capnp;
mod error;
pub mod schema;

pub use error::{Error, ErrorKind};
