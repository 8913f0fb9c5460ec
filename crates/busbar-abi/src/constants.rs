//! Flags, levels and names.

/// Flags of methods.
pub mod method {
    /// Bounded, never blocks: may run on the thread of JavaScript.
    pub const SYNC: u32 = 1;
    /// May run on several threads at once.
    pub const THREAD_SAFE: u32 = 2;
    /// Has no result; callers do not wait.
    pub const ONEWAY: u32 = 4;
    /// Twice is as good as once: may be repeated after a crash.
    pub const IDEMPOTENT: u32 = 8;
}

/// Flags of plugins.
pub mod plugin {
    /// All its threads end in `deactivate`, and nothing else stays.
    pub const UNLOADABLE: u32 = 1;
    /// One instance in a process.
    pub const SINGLETON: u32 = 2;
    /// Has threads of its own.
    pub const OWN_RUNTIME: u32 = 4;
    /// Has the extension [`extension::STATE`](crate::extension::STATE).
    pub const STATE: u32 = 8;
}

/// What plugins are written in.
pub mod runtime {
    /// C or C++.
    pub const C: u32 = 0;
    /// Rust.
    pub const RUST: u32 = 1;
    /// Go.
    pub const GO: u32 = 2;
    /// Zig.
    pub const ZIG: u32 = 3;
}

/// Levels of log records.
pub mod log_level {
    /// Something failed.
    pub const ERROR: u32 = 1;
    /// Something may fail.
    pub const WARN: u32 = 2;
    /// Something happened.
    pub const INFO: u32 = 3;
    /// For who looks for a bug.
    pub const DEBUG: u32 = 4;
    /// Everything.
    pub const TRACE: u32 = 5;
}

/// Names of extensions.
pub mod extension {
    use core::ffi::CStr;

    /// State that outlives a reload.
    pub const STATE: &CStr = c"busbar.state/1";
    /// Many calls at once.
    pub const BATCH: &CStr = c"busbar.batch/1";
    /// HTTP requests by id.
    pub const REQUEST: &CStr = c"busbar.request-id/1";
    /// Methods of whoever loaded the zone; of hosts.
    pub const PARENT: &CStr = c"busbar.parent/1";
    /// Objects that callers hold.
    pub const OBJECTS: &CStr = c"busbar.objects/1";
}
