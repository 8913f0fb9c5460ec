//! Plugin libraries: found, verified, loaded, called, closed.
//!
//! ```text
//! loader    a name or path
//! source    the file, read once: hash, signature, the text beside it    no code has run yet
//! image     what kind of file it is; a private copy, mapped for ever
//! contract  what it says of itself, believed in nothing
//! library   contract and types, shared by all zones of a file
//! instance  the plugin's functions: made, called, ended                 state, gate, host
//! zone      an instance, the way to it, its place in the tree           transport, pool, call
//! reload    from one instance to the next, while calls go on            generations, watch
//! upward    the other way: methods of whoever loaded a zone        object
//! process   the same in another process, which may crash                 busbar-host
//! bound     one method for one thread: what can be done once is done    passage
//! batch     many calls by one
//! ```
//!
//! In-process plugins can do anything that the program can: what is refused here is refused because
//! it would go wrong by accident. A library that is trusted and keeps to `include/busbar_plugin.h`
//! cannot make this crate do what its safe functions do not say.

mod batch;
mod bound;
mod call;
mod contract;
mod deadline;
mod error;
mod extension;
mod gate;
mod generations;
mod host;
mod image;
mod instance;
mod library;
mod loader;
mod local;
mod object;
mod passage;
mod patience;
mod pending;
mod pool;
mod process;
mod queue;
mod reload;
mod serial;
mod source;
mod state;
mod sync;
mod transport;
mod trust;
mod types;
mod upward;
mod watch;
mod zone;

#[cfg(all(test, loom))]
mod loom_tests;

pub use bound::Bound;
pub use busbar_abi::Record;
pub use call::Call;
pub use contract::Method;
pub use error::{Error, ErrorKind, Result, Stage};
pub use library::LegacyEntries;
pub use loader::{Description, Found, LoadedTypes, Loader, PATH_VARIABLE};
pub use object::Object;
pub use patience::Patience;
pub use pending::{CallId, Completions};
#[cfg(target_os = "linux")]
#[doc(hidden)]
pub use process::run_host;
pub use process::{Output, ProcessOptions, ProcessStatus, Sandbox};
pub use reload::{ReloadOptions, Reloaded};
pub use source::Sidecar;
pub use state::State;
pub use transport::Attendance;
pub use trust::{FileHash, Trust};
pub use upward::{Answer, Parent, ParentCall};
pub use watch::{Listener, Watch};
pub use zone::{GoLibraries, MethodId, Mode, Options, WeakZone, Zone};

/// How many instances were left as they are because a call of them never ended.
#[must_use]
pub fn abandoned_instances() -> usize {
    instance::abandoned()
}
