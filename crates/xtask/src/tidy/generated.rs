//! Generated files that are committed say what their sources say.

use std::io;
use std::process::Command;

use super::Violation;
use crate::generate;
use crate::tree::Tree;

/// Written by `napi build`, so it can only be compared after a build with what git holds.
const TYPINGS: &str = "binding/index.d.ts";

pub(super) fn check(tree: &Tree) -> io::Result<Vec<Violation>> {
    let mut violations: Vec<_> = generate::files()
        .iter()
        .filter(|file| tree.read(file.path) != file.text)
        .map(|file| Violation::new(file.path, 1, "out of date: run `cargo xtask generate`"))
        .collect();
    let git = |arguments: &[&str]| {
        Command::new("git").current_dir(&tree.root).args(arguments).arg(TYPINGS).output()
    };
    if git(&["ls-files", "--"])?.stdout.is_empty() {
        violations.push(Violation::new(TYPINGS, 1, "not tracked: build, then `git add` it"));
    } else if !git(&["diff", "--quiet", "--"])?.status.success() {
        violations.push(Violation::new(TYPINGS, 1, "the build changed it: `git add` the new one"));
    }
    Ok(violations)
}
