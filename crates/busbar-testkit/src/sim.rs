//! Two ends of a session on a virtual network, from the first message to the last acknowledgement.
//!
//! ```text
//! App ─ Session ─ frames ─ End ──bytes──→ Network ──bytes──→ End ─ frames ─ Session ─ App
//!                                └ cuts, delays, swallows, reorders and repeats, by seed
//! ```
//!
//! The protocol is the shipped code; time, wire and applications are made up. [`run`] checks what a
//! session promises: every accepted message arrives once, in order where the wire keeps order, and
//! never if its sender was told that it was given up.

mod app;
mod end;
mod network;
mod world;

pub use world::{Farewell, Fault, Plan, Report, Strike, Wire, run};
