//! Typed messages: what a type looks like in bytes, and everything that follows from it.
//!
//! A type is known in two ways: at compile time by `#[derive(Type)]`, which gives it archives, a
//! canonical text, a hash and a writer, and at run time as a [`schema::Schema`], an owned
//! description that tools, plugins and TypeScript exchange as JSON. Nothing here opens sockets,
//! starts threads or knows Node: bytes come in as slices and go out into slices. Only [`mapped`]
//! and [`library`] touch files.

// Derived code names this crate from outside; so do our own tests.
extern crate self as busbar_types;

mod archive;
pub mod capnp;
pub mod compare;
pub mod convert;
pub mod describe;
mod error;
pub mod format;
pub mod json;
pub mod library;
pub mod mapped;
pub mod registry;
pub mod schema;
pub mod transcode;

pub use archive::{
    ArchiveReader, ArchiveWriter, DEPTH_MAX, Generate, Limits, Scratch, SerializeError, Target,
    Type, access, access_unchecked, read,
};
pub use busbar_derive::Type;
pub use error::{Error, ErrorKind};
pub use rkyv;
