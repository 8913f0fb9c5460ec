//! Plugins from the outside: real libraries, loaded and called.
#![cfg(unix)]

mod fixtures;
mod hostile;
#[cfg(target_os = "linux")]
mod images;
mod legacy;
mod local;
mod modes;
#[cfg(target_os = "linux")]
mod process;
mod queues;
mod reload;
mod sdk;
mod stress;
mod tree;
mod trust;
mod upward;
