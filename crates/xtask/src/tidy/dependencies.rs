//! Dependencies between workspace crates point one way, and some foreign crates have one home.

use cargo_metadata::{DependencyKind, Package};

use super::Violation;

/// What each crate may depend on within the workspace: the complete list.
const ALLOWED: &[(&str, &[&str])] = &[
    ("busbar-abi", &[]),
    ("busbar-derive", &[]),
    ("busbar-gateway", &["busbar-abi", "busbar-zone"]),
    ("busbar-io", &["busbar-proto", "busbar-shm"]),
    ("busbar-node", &["busbar-gateway", "busbar-io", "busbar-types", "busbar-zone"]),
    ("busbar-plugin", &["busbar-abi", "busbar-derive", "busbar-types"]),
    ("busbar-proto", &[]),
    ("busbar-shm", &[]),
    ("busbar-testkit", &["busbar-io", "busbar-proto"]),
    ("busbar-types", &["busbar-abi", "busbar-derive"]),
    ("busbar-zone", &["busbar-abi", "busbar-io", "busbar-shm", "busbar-types"]),
    // Reads the table of error codes.
    ("xtask", &["busbar-proto"]),
];

/// Besides, what tests of a crate may depend on.
const ALLOWED_IN_TESTS: &[(&str, &str)] = &[("busbar-zone", "busbar-plugin")];

/// Tests of any crate may use it.
const FOR_TESTS: &str = "busbar-testkit";

/// Foreign crates that may appear in one crate only.
const HOMES: &[(&str, &str)] = &[
    ("hyper", "busbar-gateway"),
    ("napi", "busbar-node"),
    ("napi-build", "busbar-node"),
    ("napi-derive", "busbar-node"),
    ("napi-sys", "busbar-node"),
];

/// Crates that must work without I/O, clocks and threads use nothing foreign at all.
const SELF_CONTAINED: &[&str] = &["busbar-proto"];

/// One edge of the graph.
#[derive(Debug)]
struct Edge<'a> {
    from: &'a str,
    to: &'a str,
    is_for_tests: bool,
}

pub(super) fn check(packages: &[Package]) -> Vec<Violation> {
    let names: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let mut violations = Vec::new();
    for package in packages {
        for dependency in &package.dependencies {
            let edge = Edge {
                from: &package.name,
                to: &dependency.name,
                is_for_tests: dependency.kind == DependencyKind::Development,
            };
            if let Some(message) = judge(&edge, names.contains(&edge.to)) {
                let path = format!("crates/{}/Cargo.toml", package.name);
                violations.push(Violation::new(path, 1, message));
            }
        }
    }
    violations
}

/// What is wrong with a dependency.
fn judge(edge: &Edge<'_>, is_internal: bool) -> Option<String> {
    let Edge { from, to, is_for_tests } = *edge;
    if is_internal {
        let allowed = ALLOWED.iter().find(|(name, _)| *name == from).map(|(_, allowed)| *allowed);
        return match allowed {
            None => Some(format!("{from} has no row in the list of allowed dependencies")),
            Some(allowed) if allowed.contains(&to) => None,
            Some(_) if is_for_tests && (to == FOR_TESTS || to == from) => None,
            Some(_) if is_for_tests && ALLOWED_IN_TESTS.contains(&(from, to)) => None,
            Some(_) => Some(format!("{from} must not depend on {to}")),
        };
    }
    if let Some((_, home)) = HOMES.iter().find(|(name, home)| *name == to && *home != from) {
        return Some(format!("{to} belongs in {home} only"));
    }
    (SELF_CONTAINED.contains(&from) && !is_for_tests)
        .then(|| format!("{from} must stay free of foreign crates such as {to}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(from: &str, to: &str, is_internal: bool) -> Option<String> {
        judge(&Edge { from, to, is_for_tests: false }, is_internal)
    }

    #[test]
    fn dependencies_point_down() {
        assert_eq!(verdict("busbar-node", "busbar-io", true), None);
        assert_eq!(verdict("busbar-io", "busbar-shm", true), None);
        let upwards = verdict("busbar-shm", "busbar-io", true);
        assert_eq!(upwards.as_deref(), Some("busbar-shm must not depend on busbar-io"));
        assert!(verdict("busbar-node", "busbar-shm", true).is_some(), "a layer is skipped");
        assert!(verdict("busbar-new", "busbar-shm", true).is_some(), "an unlisted crate");
    }

    #[test]
    fn foreign_crates_stay_home() {
        assert_eq!(verdict("busbar-node", "napi", false), None);
        assert!(verdict("busbar-io", "napi", false).is_some());
        assert!(verdict("busbar-proto", "bytes", false).is_some());
        assert_eq!(verdict("busbar-io", "bytes", false), None);
    }

    #[test]
    fn tests_may_use_the_testkit_and_what_they_like_from_outside() {
        let testkit = Edge { from: "busbar-io", to: FOR_TESTS, is_for_tests: true };
        assert_eq!(judge(&testkit, true), None);
        let oracle = Edge { from: "busbar-proto", to: "proptest", is_for_tests: true };
        assert_eq!(judge(&oracle, false), None);
    }

    #[test]
    fn the_list_itself_has_no_cycle() {
        fn reaches(from: &str, to: &str) -> bool {
            let (_, next) = ALLOWED.iter().find(|(name, _)| *name == from).expect("listed");
            next.iter().any(|name| *name == to || reaches(name, to))
        }
        for (name, _) in ALLOWED {
            assert!(!reaches(name, name), "{name} reaches itself");
        }
    }
}
