//! Plugins for Busbar in Rust: an `impl` block whose methods TypeScript calls.
//!
//! ```
//! use busbar_plugin::{Host, Plugin, Result, Type, plugin};
//!
//! #[derive(Type)]
//! struct Point {
//!     x: f64,
//!     y: f64,
//! }
//!
//! struct Geometry;
//!
//! impl Plugin for Geometry {
//!     fn create(_host: Host) -> Result<Self> {
//!         Ok(Self)
//!     }
//! }
//!
//! #[plugin(id = "example.geometry")]
//! impl Geometry {
//!     #[method(sync)]
//!     fn length(&self, point: Point) -> f64 {
//!         point.x.hypot(point.y)
//!     }
//! }
//! ```
//!
//! The library is a `cdylib`. [`plugin`] writes its entry, the manifest with methods and types, and
//! the functions behind it. Arguments and results travel as archives of
//! [`busbar_types`](types); a panic never leaves the library: it becomes an error, after which the
//! instance is not called again.
//!
//! An `async fn` runs in a tokio runtime of the instance, on one thread beside those of its
//! callers: it may await tokio's timers, and its sockets where the plugin depends on tokio 1 with
//! feature `net`. What blocks belongs into a method that is not `async`, or into `spawn_blocking`.
//!
//! This crate knows nothing of hosts but the C contract.

// Generated code names this crate from outside; so do our own tests.
extern crate self as busbar_plugin;

mod argument;
mod cancel;
mod error;
#[doc(hidden)]
pub mod export;
mod guard;
mod host;
mod instance;
mod objects;
mod output;
mod parent;
mod tasks;

pub use argument::View;
pub use busbar_abi as abi;
pub use busbar_derive::{method, plugin};
pub use busbar_types as types;
pub use busbar_types::Type;
pub use cancel::Cancellation;
pub use error::{Error, Result};
pub use host::{Host, Level};
pub use objects::Objects;
pub use output::Output;
pub use parent::ParentCall;

/// What lives in the library: made when a zone is loaded, dropped when it is closed.
///
/// Methods take `&self` and may run on several threads at once.
pub trait Plugin: Send + Sync + Sized + 'static {
    /// Makes the instance. It starts no threads yet.
    ///
    /// # Errors
    /// Whatever keeps it from being made; the zone is then not loaded.
    fn create(host: Host) -> Result<Self>;

    /// Prepares for calls; `config` is the JSON that the zone was loaded with.
    ///
    /// # Errors
    /// Whatever keeps it from working; the zone is then not loaded.
    fn activate(&self, config: &str) -> Result<()> {
        let _ = config;
        Ok(())
    }

    /// Nobody holds an object any more whose number was given out, nor will again.
    fn released(&self, object: u64) {
        let _ = object;
    }

    /// There will be no more calls: ends every thread that was started.
    fn deactivate(&self) {}
}

/// State that a reload hands from the old instance to the new one: `#[plugin(state)]`.
pub trait State: Plugin {
    /// What is handed over.
    type Saved: Type;

    /// The state, after the last call.
    ///
    /// # Errors
    /// Whatever keeps it from being saved; the old instance then stays.
    fn save(&self) -> Result<Self::Saved>;

    /// Takes the state over, before the first call.
    ///
    /// # Errors
    /// Whatever keeps it from being used; the old instance then stays.
    fn load(&self, saved: Self::Saved) -> Result<()>;
}
