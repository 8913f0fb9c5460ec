//! Tests of the protocol through its public interface.

mod backoff;
mod frame;
mod golden;
mod hello;
mod session;
mod state;
mod strategy;
