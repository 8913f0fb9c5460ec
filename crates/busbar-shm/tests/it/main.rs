//! The crate as its users see it: pairs of channels, honest and not.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bells;
mod breaches;
mod forge;
mod leases;
mod model;
mod pair;
mod refusals;
mod scribbler;
mod threads;
