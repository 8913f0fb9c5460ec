//! Golden files: archives that rkyv made of hand-derived types, and schema texts with hashes.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use busbar_types::rkyv::rancor::BoxedError;
use busbar_types::rkyv::to_bytes;
use busbar_types::rkyv::util::AlignedVec;
use busbar_types::schema::{Schema, hash_of};
use busbar_types::{Type, read};

use crate::samples::{self, for_each_sample};

fn path(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/it/golden", name].iter().collect()
}

fn vector(name: &str) -> AlignedVec {
    let text = fs::read_to_string(path("rkyv-vectors.json")).expect("the vectors");
    let vectors: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let hex = vectors[name].as_str().expect("a vector of this name");
    let mut bytes = AlignedVec::new();
    for pair in hex.as_bytes().chunks(2) {
        let pair = str::from_utf8(pair).expect("ASCII");
        bytes.push(u8::from_str_radix(pair, 16).expect("hex"));
    }
    bytes
}

/// Reads a golden archive and writes the same bytes.
#[track_caller]
fn check<T: Type>(name: &str) -> T {
    let golden = vector(name);
    let value = read::<T>(&golden).expect("a valid archive");
    let mut out = vec![0xee; golden.len()];
    assert_eq!(value.write_to_buffer(&mut out).expect("room enough"), golden.len());
    assert_eq!(out, golden[..], "{name}");
    value
}

/// [T02 T07] archives are those of types with rkyv's own derive, byte for byte
#[test]
fn archives_are_rkyvs_own() {
    let position = check::<samples::Position>("position");
    assert_eq!(
        (position.id, position.pos, position.flags),
        (1_000_001, [0.5, 1.25, -3.5], 0xdead_0001)
    );

    let order = check::<samples::Order>("order0");
    assert_eq!((&*order.symbol, &order.side), ("BTC-USDT", &samples::Side::Buy));
    assert_eq!(
        (order.price, order.tags),
        (60000.25, ["algo", "ioc", "desk7", "eu"].map(str::to_owned).to_vec())
    );
    assert_eq!(order.note.as_deref(), Some("note for order 0"));
    let order = check::<samples::Order>("order1");
    assert_eq!((order.side, order.note), (samples::Side::Sell, None));

    let snapshot = check::<samples::Snapshot>("snapshot3");
    assert_eq!((snapshot.tick, snapshot.entities.len()), (42, 3));
    assert_eq!(snapshot.entities[2].name, "entity-00002");
}

/// The same declarations with rkyv's own derive, as one writes them by hand.
mod by_hand {
    use busbar_types::rkyv;

    #[derive(rkyv::Archive, rkyv::Serialize)]
    pub(super) struct Header {
        pub(super) id: u64,
        pub(super) kind: u16,
    }

    #[derive(rkyv::Archive, rkyv::Serialize)]
    pub(super) struct Blob {
        pub(super) header: Header,
        pub(super) bytes: Vec<u8>,
    }

    #[derive(rkyv::Archive, rkyv::Serialize)]
    #[repr(u8)]
    pub(super) enum Tagged {
        A = 3,
        B(u64),
        C { list: Vec<u8> } = 200,
        D,
    }
}

/// [T02 T07] types for which no vector was made agree with hand-derived twins
#[test]
fn archives_are_those_of_hand_derived_twins() {
    let bytes: Vec<u8> = (0..200).collect();
    let by_hand = by_hand::Header { id: 5, kind: 9 };
    let by_hand = by_hand::Blob { header: by_hand, bytes: bytes.clone() };
    let ours = samples::Blob { header: samples::Header { id: 5, kind: 9 }, bytes };
    let expected = to_bytes::<BoxedError>(&by_hand).expect("an archive");
    let mut out = vec![0xee; expected.len()];
    ours.write_to_buffer(&mut out).expect("room enough");
    assert_eq!(out, expected[..]);

    let list = vec![1, 2, 3];
    for (by_hand, ours) in [
        (by_hand::Tagged::A, samples::Tagged::A),
        (by_hand::Tagged::B(7), samples::Tagged::B(7)),
        (by_hand::Tagged::C { list: list.clone() }, samples::Tagged::C { list }),
        (by_hand::Tagged::D, samples::Tagged::D),
    ] {
        let expected = to_bytes::<BoxedError>(&by_hand).expect("an archive");
        let mut out = vec![0xee; expected.len()];
        ours.write_to_buffer(&mut out).expect("room enough");
        assert_eq!(out, expected[..]);
    }
}

/// [T01 T39] texts and hashes of all samples are those in the golden file; BLESS=1 rewrites it
#[test]
fn texts_and_hashes_are_golden() {
    let mut lines = String::new();
    let mut samples = 0;
    macro_rules! line {
        ($name:ty) => {
            let hash = <$name>::SCHEMA_HASH;
            assert_eq!(hash, hash_of(<$name>::schema_text().as_bytes()));
            writeln!(lines, "{hash:016x} {}", <$name>::schema_text()).expect("a string");
            samples += 1;
        };
    }
    for_each_sample!(line);
    assert_eq!(samples, 30);
    if env::var_os("BLESS").is_some() {
        fs::write(path("schemas.txt"), &lines).expect("the golden file");
    }
    assert_eq!(lines, fs::read_to_string(path("schemas.txt")).expect("the golden file"));
}

/// [T01 T07] the compiler's layout and the layout rules agree, and descriptors survive JSON
#[test]
fn derived_schemas_are_accepted_by_the_rules() {
    macro_rules! check {
        ($name:ty) => {
            let schema = <$name>::schema().expect("a schema that holds");
            assert_eq!(schema.root().name, <$name>::NAME);
            assert_eq!(schema.root().hash, <$name>::SCHEMA_HASH);
            assert_eq!(Schema::from_json(&schema.to_json()).expect("our own"), schema);
        };
    }
    for_each_sample!(check);
    check!(samples::Node);
}

/// [T26 T27] options reach the schema
#[test]
fn options_reach_the_schema() {
    let schema = samples::Order::schema().expect("a schema");
    let json: serde_json::Value = serde_json::from_str(&schema.to_json()).expect("JSON");
    let order = &json["types"]["market.Order"];
    assert_eq!(order["aliases"], serde_json::json!(["market.OldOrder"]));
    assert_eq!(order["fields"][0]["ts"], "number");
    assert_eq!(order["fields"][1]["intern"], true);
    assert_eq!(order["fields"][1]["aliases"], serde_json::json!(["ticker"]));
    assert_eq!(order["fields"][4]["default"], 1.0);
    assert!(order["fields"][6]["default"].is_null());
    assert!(order["fields"][6].as_object().expect("a field").contains_key("default"));
    assert_eq!(json["types"]["market.Side"]["defaultVariant"], "Buy");
    assert_eq!(<samples::Order as Type>::GENERATE, busbar_types::Generate::new(false, true, false));

    let schema = samples::Defaults::schema().expect("a schema");
    let default = |index: usize| schema.root().fields()[index].default.clone().expect("a default");
    assert_eq!(default(1), -5);
    assert_eq!(default(2), "18446744073709551615");
    assert_eq!(default(4), serde_json::json!(["x", "y"]));
}
