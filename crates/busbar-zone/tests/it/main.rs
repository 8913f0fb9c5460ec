//! Plugins from the outside: real libraries, loaded and called.
#![cfg(unix)]

mod fixtures;
mod hostile;
mod legacy;
mod modes;
mod queues;
mod reload;
mod sdk;
mod tree;
mod trust;
