//! Every crate forbids unsafe code, except the few whose purpose it is.

use cargo_metadata::{Package, TargetKind};

use super::Violation;
use crate::tree::Tree;

/// Where unsafe code is the point: shared memory, raw Node-API with libuv, archives in place, and
/// both sides of the boundary to plugins.
const MAY_BE_UNSAFE: &[&str] =
    &["busbar-abi", "busbar-node", "busbar-plugin", "busbar-shm", "busbar-types", "busbar-zone"];

/// Crates with unsafe code in a few files, which say why; everything else is denied it.
const FEW_FILES: &[(&str, &[&str])] = &[(
    "busbar-io",
    &[
        "crates/busbar-io/src/reactor/uring/ring.rs",
        "crates/busbar-io/src/transport/windows/pipe_system.rs",
    ],
)];

const DENY: &str = "#![deny(unsafe_code)]";

const FORBID: &str = "#![forbid(unsafe_code)]";

pub(super) fn check(tree: &Tree, packages: &[Package]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for package in packages {
        if MAY_BE_UNSAFE.contains(&package.name.as_str()) {
            continue;
        }
        let few_files = FEW_FILES.iter().find(|(name, _)| *name == package.name.as_str());
        let needed = if few_files.is_some() { DENY } else { FORBID };
        if let Some((_, files)) = few_files {
            violations.extend(excused_elsewhere(tree, package, files));
        }
        for target in package.targets.iter().filter(|target| is_shipped(&target.kind)) {
            let path = target.src_path.strip_prefix(&tree.root).unwrap_or(&target.src_path);
            if !says(&tree.read(path.as_str()), needed) {
                violations.push(Violation::new(path.as_str(), 1, format!("needs `{needed}`")));
            }
        }
    }
    violations
}

/// Other files that excuse themselves from what the crate's root denies.
fn excused_elsewhere(tree: &Tree, package: &Package, files: &[&str]) -> Vec<Violation> {
    let root = package.manifest_path.strip_prefix(&tree.root).unwrap_or(&package.manifest_path);
    let sources = root.parent().map(|parent| parent.join("src")).unwrap_or_default();
    let is_excused = |text: &str| {
        ["expect(unsafe_code", "allow(unsafe_code"].iter().any(|excuse| text.contains(excuse))
    };
    let others = tree.sources.iter().filter(|source| source.path.starts_with(sources.as_str()));
    others
        .filter(|source| !files.contains(&source.path.as_str()) && is_excused(&source.text))
        .map(|source| {
            let message = format!("unsafe code is for {}", files.join(" and "));
            Violation::new(&source.path, 1, message)
        })
        .collect()
}

/// Tests and benches have crate roots of their own and may, say, kill processes.
fn is_shipped(kinds: &[TargetKind]) -> bool {
    !kinds.iter().any(|kind| matches!(kind, TargetKind::Test | TargetKind::Bench))
}

fn says(text: &str, attribute: &str) -> bool {
    text.lines().any(|line| line.trim_end() == attribute)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_attribute_must_stand_as_code() {
        assert!(says("//! Doc.\n\n#![forbid(unsafe_code)]\nmod a;\n", FORBID));
        assert!(!says("//! #![forbid(unsafe_code)]\n", FORBID));
        assert!(!says("#![deny(unsafe_code)]\n", FORBID));
    }

    #[test]
    fn tests_and_benches_are_not_shipped() {
        assert!(is_shipped(&[TargetKind::CDyLib]));
        assert!(is_shipped(&[TargetKind::CustomBuild]));
        assert!(!is_shipped(&[TargetKind::Bench]));
    }
}
