//! Pairs of versions that TypeScript compared: `__test__/schema-versions.spec.ts` records them.

use busbar_types::compare::{Verdict, compare};
use busbar_types::schema::Schema;
use serde_json::Value;

/// [T10] TypeScript and Rust say the same of every recorded pair, reason for reason
#[test]
fn typescript_compares_the_same() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../__test__/fixtures/comparisons.json");
    let text = std::fs::read_to_string(path).expect("recorded");
    let pairs: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    assert!(pairs.len() > 25, "only {} pairs", pairs.len());
    for pair in pairs {
        let schema = |side: &str| {
            Schema::from_json(&pair[side].to_string()).unwrap_or_else(|error| panic!("{error}"))
        };
        let comparison = compare(&schema("writer"), &schema("reader"));
        let kind = match comparison.verdict {
            Verdict::Identical => "identical",
            Verdict::Resolvable => "resolvable",
            Verdict::Incompatible => "incompatible",
        };
        assert_eq!(pair["reasons"], serde_json::json!(comparison.reasons));
        assert_eq!(pair["kind"], kind);
    }
}
