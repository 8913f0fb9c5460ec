//! Who vouches for a library: lists of hashes, signatures, and the text beside it.

use std::fs;
use std::path::Path;

use busbar_zone::{Error, ErrorKind, FileHash, Loader, Mode, Options, Stage, Trust, Zone};
use ed25519_dalek::{Signer, SigningKey};
use sha2::{Digest, Sha256};

use crate::fixtures::{Fixture, registry};

fn load(path: &Path, trust: Trust) -> Result<Zone, Error> {
    // SAFETY: our own fixture.
    unsafe { Loader::new(registry(), trust).load(path, &Options::new(Mode::Inline)) }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hash(path: &Path) -> FileHash {
    let digest = Sha256::digest(fs::read(path).expect("read"));
    FileHash::parse(&hex(&digest)).expect("a hash")
}

fn sidecar(fixture: &Fixture, id: &str, hash: FileHash) -> String {
    let target = busbar_abi::TARGET.to_str().expect("UTF-8");
    let text = format!(
        "{{\"id\":\"{id}\",\"version\":\"1.2.3\",\"target\":\"{target}\",\"sha256\":\"{hash}\"}}"
    );
    fs::write(fixture.folder.path().join("fixture.plugin.json"), &text).expect("written");
    text
}

/// [Z13] with a list, only what is on it is loaded, and only as the plugin it is listed for
#[test]
fn lists() {
    let fixture = Fixture::plugin(&[]);
    let hash = hash(&fixture.path);
    let mut trust = Trust::default();
    trust.allow("fixture.c", hash);
    load(&fixture.path, trust.clone()).expect("it is listed");

    let other = Fixture::plugin(&["ID=\"fixture.other\""]);
    let error = load(&other.path, trust).expect_err("it is not");
    assert_eq!((error.kind(), error.stage()), (ErrorKind::Untrusted, Stage::Verify));
    assert!(error.to_string().contains("on no list, and it has no signature"), "{error}");

    let mut trust = Trust::default();
    trust.allow("fixture.else", hash);
    let error = load(&fixture.path, trust).expect_err("listed as another");
    assert_eq!((error.kind(), error.stage()), (ErrorKind::Untrusted, Stage::Bind));
}

/// [Z13] with a key, what its owner signed is loaded: not what was changed, nor what others signed
#[test]
fn signatures() {
    let fixture = Fixture::plugin(&[]);
    let (ours, theirs) = (SigningKey::from_bytes(&[7; 32]), SigningKey::from_bytes(&[9; 32]));
    let mut trust = Trust::default();
    trust.allow_key(&hex(ours.verifying_key().as_bytes())).expect("a key");
    let error = load(&fixture.path, trust.clone()).expect_err("unsigned");
    assert_eq!(error.kind(), ErrorKind::Untrusted);

    let text = sidecar(&fixture, "fixture.c", hash(&fixture.path));
    let sign = |key: &SigningKey, text: &str| {
        let signature = hex(&key.sign(text.as_bytes()).to_bytes());
        let path = fixture.folder.path().join("fixture.plugin.json.sig");
        fs::write(path, signature + "\n").expect("written");
    };
    sign(&ours, &text);
    load(&fixture.path, trust.clone()).expect("signed");
    sign(&theirs, &text);
    let error = load(&fixture.path, trust.clone()).expect_err("by others");
    assert!(error.message().contains("of no key that is trusted"), "{error}");
    sign(&ours, "something else");
    assert_eq!(
        load(&fixture.path, trust.clone()).expect_err("not this").kind(),
        ErrorKind::Untrusted
    );

    // Signed, but the library was changed since.
    sign(&ours, &text);
    let changed = Fixture::plugin(&["ID=\"fixture.changed\""]);
    fs::copy(&changed.path, &fixture.path).expect("copied");
    let error = load(&fixture.path, trust).expect_err("changed");
    assert_eq!((error.kind(), error.stage()), (ErrorKind::Sidecar, Stage::Verify));
    assert!(Trust::default().allow_key("123").is_err());
}

/// [Z17] the text beside a library is believed only as far as it is right
#[test]
fn sidecars() {
    let fixture = Fixture::plugin(&[]);
    let hash = hash(&fixture.path);
    sidecar(&fixture, "fixture.c", hash);
    load(&fixture.path, Trust::default()).expect("it is right");
    sidecar(&fixture, "fixture.d", hash);
    let error = load(&fixture.path, Trust::default()).expect_err("another plugin");
    assert_eq!((error.kind(), error.stage()), (ErrorKind::Sidecar, Stage::Bind));
    fs::write(fixture.folder.path().join("fixture.plugin.json"), "{").expect("written");
    let error = load(&fixture.path, Trust::default()).expect_err("no JSON");
    assert_eq!((error.kind(), error.stage()), (ErrorKind::Sidecar, Stage::Verify));
}

/// [Z13] what was verified is what is loaded, and nothing is left of the copy
#[test]
fn copies_leave_nothing_behind() {
    let fixture = Fixture::plugin(&["ID=\"fixture.copied\""]);
    let zone = load(&fixture.path, Trust::default()).expect("it loads");
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let original = fixture.path.to_string_lossy().into_owned();
    assert!(!maps.contains(&original), "the original is not mapped");
    let short = hash(&fixture.path).short();
    let copies: Vec<_> = maps.lines().filter(|line| line.contains(&short)).collect();
    if cfg!(target_os = "linux") {
        assert!(!copies.is_empty() && copies.iter().all(|line| line.ends_with("(deleted)")));
    }
    // So overwriting the original does no harm to what runs.
    fs::write(&fixture.path, b"gone").expect("written");
    let mut out = [0; 4];
    let echo = zone.method("echo").expect("it has it");
    assert_eq!(zone.call(echo, b"here", &mut out).expect("it echoes"), 4);
}

/// [T31 Z13] what the text beside a library says is what the library says, field by field
#[test]
fn texts_that_lie() {
    let fixture = Fixture::plugin(&[]);
    let (zone, sum) = (crate::fixtures::inline(&fixture.path), hash(&fixture.path));
    let target = busbar_abi::TARGET.to_str().expect("UTF-8");
    let methods: Vec<_> = zone.methods().iter().map(|method| method.name.clone()).collect();
    let types: std::collections::BTreeMap<_, _> =
        zone.types().into_iter().map(|(name, hash)| (name, format!("{hash:016x}"))).collect();
    let honest = serde_json::json!({
        "id": "fixture.c", "version": "1.2.3", "target": target, "sha256": sum.to_string(),
        "types": types, "methods": methods,
    });
    let try_with = |field: &str, value: serde_json::Value| {
        let mut text = honest.clone();
        text[field] = value;
        let file = fixture.folder.path().join("fixture.plugin.json");
        fs::write(file, text.to_string()).expect("written");
        load(&fixture.path, Trust::default())
    };
    try_with("version", "1.2.3".into()).expect("it is honest");
    try_with("methods", serde_json::json!([])).expect("what is left out is not compared");
    for (field, lie) in [
        ("id", "fixture.d".into()),
        ("version", "1.2.4".into()),
        ("target", "sparc-solaris".into()),
        ("types", serde_json::json!({ "fixture.Pair": "0000000000000001" })),
        ("methods", serde_json::json!(["echo", "fly"])),
    ] {
        let error = try_with(field, lie).expect_err("it lies");
        assert_eq!((error.kind(), error.stage()), (ErrorKind::Sidecar, Stage::Bind), "{error}");
        assert!(error.message().starts_with(&format!("its {field} is ")), "{error}");
    }
}
