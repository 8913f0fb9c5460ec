//! Plugins in a process of their own, `busbar-host`: whatever they do, this process lives on.
//!
//! ```text
//! this process                                             busbar-host
//! remote ─ submit, call_waiting ─→ line ═ ring, slab ═→ line ─→ host ─→ a zone of its own
//! supervisor, a thread      ends ← line ═ ring, slab ═← line ←─ its completions
//!  └ child: spawned, given what it needs, waited for            └ sandbox
//! ```
//!
//! The library is verified here and travels as a sealed memfd, so what was verified is what runs
//! there. Nothing of the plugin is mapped or run in this process, and nothing that it says or
//! writes is believed: `wire` checks it.

#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod linux;

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

#[cfg(not(target_os = "linux"))]
pub(crate) use elsewhere::Remote;
#[cfg(target_os = "linux")]
pub(crate) use linux::Remote;
#[cfg(target_os = "linux")]
pub use linux::run_host;

/// How the process of a plugin is run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProcessOptions {
    /// The executable `busbar-host`.
    pub host: PathBuf,
    /// Threads that run methods which may wait. 1.
    pub threads: NonZeroUsize,
    /// Its environment. Nothing of this process's but `LD_LIBRARY_PATH`, `LANG` and `TZ`.
    pub env: Option<Vec<(OsString, OsString)>>,
    /// Where goes what it prints. To where this process prints.
    pub output: Output,
    /// What it is kept from. Nothing.
    pub sandbox: Sandbox,
    /// How long loading and starting the plugin may take. 10 s.
    pub start_timeout: Duration,
    /// How long a call may take, waiting for its turn included, before the process is ended. Any
    /// time.
    pub call_timeout: Option<Duration>,
    /// After so many crashes within [`Self::crash_window`] it is not started again. 3.
    pub crashes_max: u32,
    /// 5 minutes.
    pub crash_window: Duration,
    /// How long the process looks for another call before it sleeps, after one that somebody looks
    /// for the end of; who calls and waits looks for up to four times as long, as the process may
    /// have to be woken. 50 µs; nothing on machines with one processor.
    pub spin: Duration,
    /// Bytes of shared memory each way for what is small. 256 KiB.
    pub ring_bytes: u64,
    /// Bytes of shared memory each way for what is large, which take memory once they are used.
    /// 16 MiB.
    pub slab_bytes: u64,
}

impl ProcessOptions {
    /// A process of this executable, with nothing special.
    #[must_use]
    pub fn new(host: impl Into<PathBuf>) -> Self {
        let is_alone = std::thread::available_parallelism().is_ok_and(|count| count.get() == 1);
        Self {
            host: host.into(),
            threads: NonZeroUsize::MIN,
            env: None,
            output: Output::default(),
            sandbox: Sandbox::default(),
            start_timeout: Duration::from_secs(10),
            call_timeout: None,
            crashes_max: 3,
            crash_window: Duration::from_secs(300),
            spin: if is_alone { Duration::ZERO } else { Duration::from_micros(50) },
            ring_bytes: 256 << 10,
            slab_bytes: 16 << 20,
        }
    }
}

/// Where goes what a plugin's process prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// To where this process prints.
    #[default]
    Inherit,
    /// Nowhere.
    Ignore,
    /// Line by line to the log, of the target `busbar::plugin`.
    Log,
}

/// What a plugin's process is kept from, by the operating system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Sandbox {
    /// Bytes of memory that it may allocate (`RLIMIT_DATA`), stacks of threads included.
    pub memory_bytes: Option<u64>,
    /// Seconds of processor time that it may use in all (`RLIMIT_CPU`).
    pub cpu_seconds: Option<u64>,
    /// Files that it may have open at a time (`RLIMIT_NOFILE`).
    pub files: Option<u64>,
    /// Whether it can execute no programs.
    pub deny_exec: bool,
    /// Whether it can open no sockets.
    pub deny_network: bool,
    /// Whether it can create, change and remove no files, nor bind sockets, which makes files.
    pub deny_write: bool,
}

/// How a plugin's process does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessStatus {
    /// Its id; `None` while there is none.
    pub pid: Option<u32>,
    /// How often it was started.
    pub starts: u64,
    /// How often it ended without being asked to.
    pub crashes: u64,
    /// Calls that were sent once more, as their methods say that this does no harm.
    pub retried: u64,
    /// How it ended last.
    pub last_crash: Option<String>,
}
