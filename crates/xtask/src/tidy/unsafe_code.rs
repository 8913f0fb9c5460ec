//! Every crate forbids unsafe code, except the few whose purpose it is.

use cargo_metadata::{Package, TargetKind};

use super::Violation;
use crate::tree::Tree;

/// Where unsafe code is the point: shared memory, raw Node-API with libuv, archives in place, and
/// both sides of the boundary to plugins.
const MAY_BE_UNSAFE: &[&str] =
    &["busbar-abi", "busbar-node", "busbar-plugin", "busbar-shm", "busbar-types", "busbar-zone"];

const FORBID: &str = "#![forbid(unsafe_code)]";

pub(super) fn check(tree: &Tree, packages: &[Package]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for package in packages {
        if MAY_BE_UNSAFE.contains(&package.name.as_str()) {
            continue;
        }
        for target in package.targets.iter().filter(|target| is_shipped(&target.kind)) {
            let path = target.src_path.strip_prefix(&tree.root).unwrap_or(&target.src_path);
            if !forbids(&tree.read(path.as_str())) {
                violations.push(Violation::new(path.as_str(), 1, format!("needs `{FORBID}`")));
            }
        }
    }
    violations
}

/// Tests and benches have crate roots of their own and may, say, kill processes.
fn is_shipped(kinds: &[TargetKind]) -> bool {
    !kinds.iter().any(|kind| matches!(kind, TargetKind::Test | TargetKind::Bench))
}

fn forbids(text: &str) -> bool {
    text.lines().any(|line| line.trim_end() == FORBID)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_attribute_must_stand_as_code() {
        assert!(forbids("//! Doc.\n\n#![forbid(unsafe_code)]\nmod a;\n"));
        assert!(!forbids("//! #![forbid(unsafe_code)]\n"));
        assert!(!forbids("#![deny(unsafe_code)]\n"));
    }

    #[test]
    fn tests_and_benches_are_not_shipped() {
        assert!(is_shipped(&[TargetKind::CDyLib]));
        assert!(is_shipped(&[TargetKind::CustomBuild]));
        assert!(!is_shipped(&[TargetKind::Bench]));
    }
}
