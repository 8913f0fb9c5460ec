//! What a user of `#[derive(Type)]` sees: samples of every shape, golden texts and archives, random
//! values, what the compiler says to wrong declarations, and the descriptors of TypeScript.

mod comparisons;
mod conversions;
mod descriptors;
mod formats;
mod golden;
mod hostile;
mod library;
mod mapped;
mod nesting;
mod random;
mod round_trip;
mod samples;
#[path = "../../src/capnp/tests/tool.rs"]
mod tool;
mod ui;
