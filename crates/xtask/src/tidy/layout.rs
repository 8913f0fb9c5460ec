//! The root of the repository has its fixed names, and no large file hides anywhere.

use std::{fs, io};

use super::Violation;
use crate::tree::Tree;

/// Files of the root; those up to `.github/` are what requirement M03 lists.
const FILES: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "index.d.ts",
    "index.js",
    "package.json",
    ".ci/run",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "SECURITY.md",
    "package-lock.json",
];

/// Folders of the root that hold at least one file.
const FOLDERS: &[&str] = &[
    ".cargo", ".github", "__test__", "benches", "crates", "examples", "npm", "binding", "docs",
    "lib", "scripts",
];

const FILE_BYTES_MAX: u64 = 1 << 20;

pub(super) fn check(tree: &Tree) -> io::Result<Vec<Violation>> {
    let mut violations = missing(&tree.paths);
    for path in &tree.paths {
        let bytes = fs::metadata(tree.root.join(path))?.len();
        if bytes > FILE_BYTES_MAX {
            let message = format!("{bytes} bytes, at most {FILE_BYTES_MAX}");
            violations.push(Violation::new(path.as_str(), 1, message));
        }
    }
    Ok(violations)
}

fn missing(paths: &[String]) -> Vec<Violation> {
    let has_file = |name: &str| paths.iter().any(|path| path == name);
    let has_folder = |name: &str| {
        paths.iter().any(|path| path.split_once('/').is_some_and(|(first, _)| first == name))
    };
    let files = FILES.iter().filter(|name| !has_file(name));
    let folders = FOLDERS.iter().filter(|name| !has_folder(name));
    files
        .chain(folders)
        .map(|name| Violation::new(*name, 1, "missing from the root, or ignored by git"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete() -> Vec<String> {
        let folders = FOLDERS.iter().map(|name| format!("{name}/something"));
        FILES.iter().map(|name| (*name).to_owned()).chain(folders).collect()
    }

    /// [M03] the fixed names of the root are demanded one by one
    #[test]
    fn each_missing_name_is_a_violation() {
        assert_eq!(missing(&complete()), []);
        for index in 0..complete().len() {
            let mut paths = complete();
            let name = paths.remove(index);
            let found = missing(&paths);
            assert_eq!(found.len(), 1, "without {name}");
            assert!(name.starts_with(&found[0].path), "without {name}");
        }
    }
}
