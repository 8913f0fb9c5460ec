//! What a user of `#[derive(Type)]` sees: samples of every shape, golden texts and archives, random
//! values, and what the compiler says to wrong declarations.

mod golden;
mod random;
mod round_trip;
mod samples;
mod ui;
