//! `cargo xtask tsan` and `asan`: tests of the crates with unsafe code, under a sanitizer.
//!
//! Stable rustc ships the sanitizer runtimes; `RUSTC_BOOTSTRAP` admits the flags. AddressSanitizer
//! does not mind that the standard library is not instrumented. ThreadSanitizer does: what orders
//! two threads inside std, as a contended `std::sync::Mutex`, would look like a race. Where the
//! component `rust-src` is installed, std is built with it; elsewhere `tsan.supp` names the places
//! of that kind, and zones, which are full of them, are left out.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::{env, io};

use crate::tree;

/// The crates that hold, or directly drive, unsafe code.
const PACKAGES: &[&str] = &["busbar-shm", "busbar-io"];
const ZONES: &str = "busbar-zone";

/// Which sanitizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sanitizer {
    Address,
    Thread,
}

impl Sanitizer {
    fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Thread => "thread",
        }
    }

    /// The environment variable with the sanitizer's options, and its value.
    fn options(self) -> (&'static str, String) {
        match self {
            // Looking for leaks means to ptrace oneself, which a test that is traced cannot do.
            // Tests of bounds on memory count on most of what is freed being given back.
            Self::Address => ("ASAN_OPTIONS", "detect_leaks=0:quarantine_size_mb=32".to_owned()),
            Self::Thread => {
                let suppressions = concat!(env!("CARGO_MANIFEST_DIR"), "/tsan.supp");
                ("TSAN_OPTIONS", format!("halt_on_error=0:suppressions='{suppressions}'"))
            }
        }
    }
}

/// Runs the tests; `true` when they pass and the sanitizer reported nothing. Arguments go to
/// `cargo test`.
pub(crate) fn run(sanitizer: Sanitizer, arguments: &[String]) -> io::Result<bool> {
    let compiler = Compiler::ask()?;
    let builds_std = sanitizer == Sanitizer::Thread && compiler.has_source;
    let command = |what: &str| {
        let mut command = cargo(sanitizer);
        command.args([what, "--target", &compiler.host]);
        if builds_std {
            command.arg("-Zbuild-std");
        }
        command
    };
    // Examples are what tests of plugins load; `cargo test --tests` would leave them out.
    let built = command("build").args(["--examples", "--package", ZONES]).status()?.success();
    let mut tests = command("test");
    tests.arg("--tests");
    if !names_packages(arguments) {
        tests.args(PACKAGES.iter().flat_map(|package| ["--package", package]));
        if sanitizer == Sanitizer::Address || builds_std {
            tests.args(["--package", ZONES]);
        } else {
            let note =
                format!("tsan: {ZONES} is left out; install the component rust-src for it\n");
            io::stderr().write_all(note.as_bytes())?;
        }
    }
    Ok(built && tests.args(arguments).status()?.success())
}

/// cargo, with the sanitizer.
fn cargo(sanitizer: Sanitizer) -> Command {
    let (variable, options) = sanitizer.options();
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(tree::root())
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", rustc_flags(sanitizer))
        .env("CARGO_TARGET_DIR", target_dir(sanitizer))
        .env(variable, options);
    command
}

fn names_packages(arguments: &[String]) -> bool {
    arguments.iter().any(|argument| argument == "-p" || argument.starts_with("--package"))
}

fn rustc_flags(sanitizer: Sanitizer) -> String {
    let name = sanitizer.name();
    [
        &format!("-Zsanitizer={name}"),
        // Or rustc would refuse the precompiled std, which is not instrumented.
        "-Cunsafe-allow-abi-mismatch=sanitizer",
        // The sanitizers intercept libc's mmap and munmap. Unseen system calls would leave them
        // believing that memory mapped anew is still what it was before.
        "--cfg=rustix_use_libc",
        // Libraries that are loaded find the sanitizer in the program.
        "-Clink-arg=-Wl,--export-dynamic",
    ]
    .join(" ")
}

/// A directory of its own, beside that of ordinary builds.
fn target_dir(sanitizer: Sanitizer) -> PathBuf {
    let parent =
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| tree::root().join("target"), Into::into);
    parent.join(sanitizer.name())
}

/// What there is to compile with.
struct Compiler {
    /// The triple of this machine. Given explicitly, so that build scripts and proc macros, which
    /// run inside rustc, are built without the sanitizer.
    host: String,
    /// Whether it has the source of std.
    has_source: bool,
}

impl Compiler {
    fn ask() -> io::Result<Self> {
        let host = host_in(&rustc(&["-vV"])?)
            .ok_or_else(|| io::Error::other("`rustc -vV` names no host"))?;
        let sysroot = rustc(&["--print", "sysroot"])?;
        let source = PathBuf::from(sysroot.trim()).join("lib/rustlib/src/rust/library/Cargo.lock");
        Ok(Self { host, has_source: source.exists() })
    }
}

fn rustc(arguments: &[&str]) -> io::Result<String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).args(arguments).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn host_in(version: &str) -> Option<String> {
    version.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_read_from_rustc() {
        let version = "rustc 1.95.0\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\nrelease: 1\n";
        assert_eq!(host_in(version).as_deref(), Some("x86_64-unknown-linux-gnu"));
        assert_eq!(host_in("rustc 1.95.0\n"), None);
    }
}
