//! Processes of plugins: their options, and how they do.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::time::Duration;

use busbar_zone::{Output, ProcessOptions, ProcessStatus};
use napi_derive::napi;

/// How the process of a plugin is run. TypeScript has checked them; what is 0 or missing is as if
/// it had not been said.
#[napi(object, object_to_js = false)]
pub struct NativeProcessOptions {
    /// The executable.
    pub host: String,
    /// Names and values in turn.
    pub env: Option<Vec<String>>,
    /// 0 inherit, 1 ignore, 2 log.
    pub output: u32,
    /// Milliseconds.
    pub start_timeout_ms: u32,
    /// Milliseconds.
    pub call_timeout_ms: Option<u32>,
    /// Before it is given up.
    pub crashes_max: u32,
    /// Milliseconds.
    pub crash_window_ms: u32,
    /// Microseconds.
    pub spin_micros: Option<u32>,
    /// Bytes.
    pub ring_bytes: u32,
    /// Bytes.
    pub slab_bytes: f64,
    /// Bytes.
    pub memory_bytes: Option<f64>,
    /// Seconds.
    pub cpu_seconds: Option<u32>,
    /// A number.
    pub files: Option<u32>,
    /// To execute programs.
    pub deny_exec: bool,
    /// To open sockets.
    pub deny_network: bool,
    /// To change files.
    pub deny_write: bool,
}

impl NativeProcessOptions {
    pub(super) fn resolve(&self, threads: NonZeroUsize) -> ProcessOptions {
        let millis = |count: u32| Duration::from_millis(count.into());
        let mut options = ProcessOptions::new(&self.host);
        options.threads = threads;
        options.env = self.env.as_ref().map(|entries| {
            let pairs = entries.chunks_exact(2);
            pairs.map(|pair| (OsString::from(&pair[0]), OsString::from(&pair[1]))).collect()
        });
        options.output = match self.output {
            0 => Output::Inherit,
            1 => Output::Ignore,
            _ => Output::Log,
        };
        options.start_timeout = millis(self.start_timeout_ms);
        options.call_timeout = self.call_timeout_ms.map(millis);
        (options.crashes_max, options.crash_window) =
            (self.crashes_max, millis(self.crash_window_ms));
        if let Some(micros) = self.spin_micros {
            options.spin = Duration::from_micros(micros.into());
        }
        // Integers, below 2^53.
        (options.ring_bytes, options.slab_bytes) = (self.ring_bytes.into(), self.slab_bytes as u64);
        let sandbox = &mut options.sandbox;
        sandbox.memory_bytes = self.memory_bytes.map(|bytes| bytes as u64);
        sandbox.cpu_seconds = self.cpu_seconds.map(u64::from);
        sandbox.files = self.files.map(u64::from);
        sandbox.deny_exec = self.deny_exec;
        sandbox.deny_network = self.deny_network;
        sandbox.deny_write = self.deny_write;
        options
    }
}

/// How a process does.
#[napi(object, object_from_js = false)]
pub struct NativeProcess {
    /// Its id.
    pub pid: Option<u32>,
    /// How often it was started.
    pub starts: f64,
    /// How often it ended without being asked to.
    pub crashes: f64,
    /// Calls that were sent once more.
    pub retried: f64,
    /// How it ended last.
    pub last_crash: Option<String>,
}

impl From<ProcessStatus> for NativeProcess {
    fn from(status: ProcessStatus) -> Self {
        let ProcessStatus { pid, last_crash, starts, crashes, retried, .. } = status;
        let [starts, crashes, retried] = [starts, crashes, retried].map(|count| count as f64);
        Self { pid, starts, crashes, retried, last_crash }
    }
}
