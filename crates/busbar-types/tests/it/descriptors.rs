//! The descriptors that TypeScript makes, read and checked by Rust: two independent computations of
//! layouts, canonical texts and hashes that must agree.

use busbar_types::schema::Schema;
use serde_json::Value;

const RECORDED: &str = include_str!("../../../../__test__/fixtures/descriptors.json");

/// [T25] Sizes, offsets, texts and hashes computed in TypeScript are those computed here.
#[test]
fn descriptors_of_typescript_are_right() {
    let Value::Array(descriptors) = serde_json::from_str(RECORDED).unwrap() else {
        panic!("a list of descriptors is recorded");
    };
    assert!(descriptors.len() > 10);
    for descriptor in descriptors {
        let schema = Schema::from_json(&descriptor.to_string()).unwrap();
        let root = schema.root();
        let said = &descriptor["types"][&root.name];
        assert_eq!(said["text"], root.text);
        assert_eq!(said["hash"], format!("{:016x}", root.hash));
        assert_eq!(said["size"], root.size_bytes);
        assert_eq!(Schema::from_json(&schema.to_json()).unwrap(), schema);
    }
}

/// [T38] A descriptor with a hash that is not its own is refused.
#[test]
fn lying_hashes_are_refused() {
    let Value::Array(mut descriptors) = serde_json::from_str(RECORDED).unwrap() else {
        panic!("a list of descriptors is recorded");
    };
    let root = descriptors[0]["root"].as_str().unwrap().to_owned();
    descriptors[0]["types"][&root]["hash"] = "0123456789abcdef".into();
    let error = Schema::from_json(&descriptors[0].to_string()).unwrap_err();
    assert!(error.to_string().contains("hash"), "{error}");
}
