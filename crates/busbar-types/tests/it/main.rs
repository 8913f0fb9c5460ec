//! What a user of `#[derive(Type)]` sees: samples of every shape, golden texts and archives, random
//! values, what the compiler says to wrong declarations, and the descriptors of TypeScript.

mod comparisons;
mod descriptors;
mod golden;
mod library;
mod mapped;
mod random;
mod round_trip;
mod samples;
mod ui;
