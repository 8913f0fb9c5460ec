//! `cargo xtask tidy`: every house rule that a compiler or linter cannot hold the code to.
//!
//! Each check is a module with one function from the tree to its violations. All of them run, so
//! that one run names everything there is to fix.

mod dependencies;
mod functions;
mod generated;
mod layout;
mod module_docs;
mod requirements;
mod sizes;
mod unsafe_code;

use std::fmt;
use std::io::{self, Write};

use crate::tree::Tree;

/// A rule broken somewhere.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Violation {
    path: String,
    line: usize,
    message: String,
}

impl Violation {
    fn new(path: impl Into<String>, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.into(), line, message: message.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// Prints all violations; `true` when there is none.
pub(crate) fn run() -> io::Result<bool> {
    let tree = Tree::load()?;
    let metadata = cargo_metadata::MetadataCommand::new()
        .current_dir(&tree.root)
        .no_deps()
        .exec()
        .map_err(io::Error::other)?;

    let mut violations = Vec::new();
    violations.extend(dependencies::check(&metadata.packages));
    violations.extend(unsafe_code::check(&tree, &metadata.packages));
    violations.extend(sizes::check(&tree));
    violations.extend(functions::check(&tree));
    violations.extend(module_docs::check(&tree));
    violations.extend(layout::check(&tree)?);
    violations.extend(generated::check(&tree)?);
    violations.extend(requirements::check(&tree));
    violations.sort_unstable();

    let mut out = io::stdout().lock();
    for violation in &violations {
        writeln!(out, "{violation}")?;
    }
    writeln!(out, "tidy: {} files, {} violations", tree.paths.len(), violations.len())?;
    Ok(violations.is_empty())
}
