//! The `capnp` tool as an oracle. It is needed in tests only.

use std::ffi::OsStr;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, thread};

/// Set to 1 where the tool must be there, as on the build servers. Elsewhere, what needs it is left
/// out if it is missing.
const REQUIRED: &str = "BUSBAR_REQUIRE_CAPNP";

/// A schema in a file of its own, ready for the tool.
pub(crate) struct Tool {
    directory: PathBuf,
}

impl Tool {
    /// `None` where there is no tool.
    ///
    /// # Panics
    /// If it is missing where it is required.
    pub(crate) fn new(schema_text: &str) -> Option<Self> {
        match Command::new("capnp").arg("--version").stdout(Stdio::null()).status() {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let missing = "there is no `capnp` to compare with: apt install capnproto";
                assert!(env::var_os(REQUIRED).is_none_or(|value| value != "1"), "{missing}");
                writeln!(std::io::stderr(), "{missing}").expect("told");
                return None;
            }
            Err(error) => panic!("`capnp --version` fails: {error}"),
        }
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("busbar-capnp-{}-{number}", process::id());
        let directory = env::temp_dir().join(name);
        fs::create_dir(&directory).expect("a directory of its own");
        fs::write(directory.join("schema.capnp"), schema_text).expect("written");
        Some(Self { directory })
    }

    /// Runs `capnp` with `args` in the directory of `schema.capnp`, and returns what it prints.
    ///
    /// # Panics
    /// If it fails: with what it says about it.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, args: &[S], input: &[u8]) -> Vec<u8> {
        let mut child = Command::new("capnp")
            .args(args)
            .current_dir(&self.directory)
            .env("PWD", &self.directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("capnp starts");
        let mut stdin = child.stdin.take().expect("piped");
        let output = thread::scope(|scope| {
            // It may stop reading early; then its exit says so.
            scope.spawn(move || stdin.write_all(input));
            child.wait_with_output().expect("capnp ends")
        });
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "capnp: {}\n{said}", output.status);
        output.stdout
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.directory).unwrap_or_default();
    }
}
