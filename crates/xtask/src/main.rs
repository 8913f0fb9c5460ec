//! Repository chores, run as `cargo xtask <command>`.
//!
//! * `tidy` checks what neither rustc nor clippy nor oxlint can: layering, sizes, generated files,
//!   requirements and their tests. It reads the tree and changes nothing.
//! * `generate` writes the files that follow from Rust sources.
//! * `tsan` and `asan` run the tests of the unsafe crates under a sanitizer.

#![forbid(unsafe_code)]

mod generate;
mod sanitize;
mod tidy;
mod tree;

use std::io::{self, Write};
use std::process::ExitCode;

use sanitize::Sanitizer;

const USAGE: &str = "usage: cargo xtask tidy | generate | tsan [test args] | asan [test args]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = arguments.split_first().map_or(("", &[][..]), |(c, r)| (c.as_str(), r));
    let outcome = match command {
        "tidy" => tidy::run(),
        "generate" => generate::run(),
        "tsan" => sanitize::run(Sanitizer::Thread, rest),
        "asan" => sanitize::run(Sanitizer::Address, rest),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, USAGE)),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nothing is left to do when standard error itself is gone.
            let _ = writeln!(io::stderr(), "xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
