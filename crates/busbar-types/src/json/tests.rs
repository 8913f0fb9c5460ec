//! The form of JSON by example, what is understood besides it, and what is refused.

use serde_json::json;

use super::*;
use crate::ErrorKind;
use crate::schema::{Body, Field, Place, Scalar, Shape, TypeSchema, Variant};

fn place(kind: Kind) -> Box<Place> {
    Box::new(Place::new(kind))
}

fn scalar(scalar: Scalar) -> Kind {
    Kind::Scalar(scalar)
}

fn option(kind: Kind) -> Kind {
    Kind::Option(place(kind))
}

fn mention(name: &str) -> Kind {
    Kind::Type { name: name.to_owned(), recursive: false }
}

fn variant(name: &str, tag: u8, shape: Shape, fields: Vec<Field>) -> Variant {
    Variant { name: name.to_owned(), tag, shape, fields }
}

/// A struct with these fields, which may mention `a.Side` and `a.Shape`.
fn schema(fields: Vec<Field>) -> Schema {
    let side = ["Buy", "Sell"].into_iter().zip(0..);
    let side = side.map(|(name, tag)| variant(name, tag, Shape::Unit, Vec::new()));
    let mut side = TypeSchema::new_enum("a.Side", side.collect());
    if let Body::Enum { default_variant, .. } = &mut side.body {
        *default_variant = Some(String::from("Sell"));
    }
    let radius = vec![Field::new("radius", scalar(Scalar::F32))];
    let rgb = (0..3).map(|at: u8| Field::new(at.to_string(), scalar(Scalar::U8))).collect();
    let shape = vec![
        variant("Empty", 0, Shape::Unit, Vec::new()),
        variant("Rgb", 1, Shape::Tuple, rgb),
        variant("Circle", 2, Shape::Named, radius),
    ];
    let shape = TypeSchema::new_enum("a.Shape", shape);
    let root = TypeSchema::new_struct("a.Root", Shape::Named, fields);
    Schema::new("a.Root", [root, side, shape]).expect("a schema")
}

fn one(kind: Kind) -> Schema {
    schema(vec![Field::new("v", kind)])
}

/// The value of one field of `kind`, there and back again.
fn through(kind: Kind, value: Value) -> Result<Value, Error> {
    let schema = one(kind);
    let archive = to_archive(&schema, Limits::default(), &json!({ "v": value }))?;
    let mut back = from_archive(&schema, Limits::default(), &archive)?;
    Ok(back["v"].take())
}

#[track_caller]
fn check(kind: Kind, value: Value) {
    assert_eq!(through(kind, value.clone()).expect("a value"), value);
}

#[track_caller]
fn refused(kind: Kind, value: Value, message: &str) {
    let error = through(kind, value).expect_err("no value");
    assert_eq!(error.to_string(), message);
    assert_eq!(error.kind(), ErrorKind::ArchiveInvalid);
}

/// [T11] every kind has one form, which is what TypeScript has, too
#[test]
fn every_kind_has_its_form() {
    check(Kind::Unit, json!(null));
    check(scalar(Scalar::Bool), json!(true));
    check(scalar(Scalar::U8), json!(255));
    check(scalar(Scalar::I8), json!(-128));
    check(scalar(Scalar::U64), json!(9_007_199_254_740_991_u64));
    check(scalar(Scalar::U64), json!("18446744073709551615"));
    check(scalar(Scalar::I64), json!("-9223372036854775808"));
    check(scalar(Scalar::U128), json!("340282366920938463463374607431768211455"));
    check(scalar(Scalar::I128), json!("-170141183460469231731687303715884105728"));
    check(scalar(Scalar::F32), json!(1.5));
    check(scalar(Scalar::F64), json!(0.1));
    check(scalar(Scalar::F64), json!("-Infinity"));
    check(scalar(Scalar::F32), json!("NaN"));
    check(scalar(Scalar::Char), json!("🚌"));
    check(Kind::String, json!("longer than eight bytes"));
    check(Kind::BoxStr, json!(""));
    check(Kind::Vec(place(scalar(Scalar::U8))), json!([1, 2, 3]));
    check(Kind::Array { elem: place(Kind::String), length: 2 }, json!(["a", "b"]));
    check(Kind::Box(place(Kind::String)), json!("boxed"));
    check(Kind::Tuple(vec![*place(Kind::String), *place(Kind::Unit)]), json!(["a", null]));
    let (key, value) = (place(Kind::String), place(scalar(Scalar::U8)));
    check(Kind::BTreeMap { key, value }, json!([["a", 1], ["b", 2]]));
    check(mention("a.Side"), json!("Buy"));
    check(mention("a.Shape"), json!({ "kind": "Empty" }));
    check(mention("a.Shape"), json!({ "kind": "Rgb", "value": [1, 2, 3] }));
    check(mention("a.Shape"), json!({ "kind": "Circle", "value": { "radius": 0.5 } }));
}

/// [T11] options are `null` or the value, and have a wrapper where the value may be `null`
#[test]
fn options_of_nullable_values_have_a_wrapper() {
    check(option(Kind::String), json!(null));
    check(option(Kind::String), json!("a"));
    for inner in [option(scalar(Scalar::U8)), Kind::Box(place(option(scalar(Scalar::U8))))] {
        check(option(inner.clone()), json!(null));
        check(option(inner.clone()), json!({ "some": null }));
        check(option(inner.clone()), json!({ "some": 7 }));
        // Defaults of fields say it in short.
        assert_eq!(through(option(inner), json!(7)).expect("a value"), json!({ "some": 7 }));
    }
    check(option(Kind::Unit), json!({ "some": null }));
    check(option(Kind::Unit), json!(null));
}

/// [T11] JSON of another version reads by the rules for archives of another version
#[test]
fn members_may_be_missing_renamed_or_unknown() {
    let fields = vec![
        Field::new("a", scalar(Scalar::U8)).with_alias("old_a"),
        Field::new("b", scalar(Scalar::U8)).with_default(json!(9)),
        Field::new("c", option(Kind::String)),
        Field::new("d", mention("a.Side")).with_default(json!("Buy")),
    ];
    let schema = schema(fields);
    let value = json!({ "old_a": 1, "unknown": [], "d": "Hold" });
    let archive = to_archive(&schema, Limits::default(), &value).expect("an archive");
    let back = from_archive(&schema, Limits::default(), &archive).expect("a value");
    assert_eq!(back, json!({ "a": 1, "b": 9, "c": null, "d": "Sell" }));

    let error = to_archive(&schema, Limits::default(), &json!({})).expect_err("no a");
    assert_eq!(error.to_string(), "a.Root.a: is missing");
    let kind = json!({ "kind": "Square", "value": 1 });
    let error = through(mention("a.Shape"), kind).expect_err("unknown");
    assert_eq!(error.kind(), ErrorKind::SchemaVariant);
}

/// [T11] what does not fit is refused with its path
#[test]
fn misfits_are_refused_with_their_path() {
    refused(scalar(Scalar::U8), json!(256), "a.Root.v: a number is no u8 that fits");
    refused(scalar(Scalar::U8), json!(-1), "a.Root.v: a number is no u8 that fits");
    refused(scalar(Scalar::I8), json!(128), "a.Root.v: a number is no i8 that fits");
    refused(scalar(Scalar::I8), json!("-129"), "a.Root.v: a string is no i8 that fits");
    refused(scalar(Scalar::U32), json!(1.5), "a.Root.v: a number is no u32 that fits");
    refused(scalar(Scalar::U32), json!("+1"), "a.Root.v: a string is no u32 that fits");
    refused(scalar(Scalar::U32), json!(""), "a.Root.v: a string is no u32 that fits");
    refused(scalar(Scalar::F32), json!(1e300), "a.Root.v: a number is no f32 that fits");
    refused(scalar(Scalar::Char), json!("ab"), "a.Root.v: a string is no char that fits");
    refused(scalar(Scalar::Bool), json!(1), "a.Root.v: a number is no bool that fits");
    refused(Kind::String, json!(null), "a.Root.v: null is no string that fits");
    let names = Kind::Vec(place(Kind::Tuple(vec![*place(Kind::Unit), *place(Kind::String)])));
    refused(
        names.clone(),
        json!([[null, "a"], [null, 1]]),
        "a.Root.v[].1: a number is no string that fits",
    );
    refused(names, json!([[null]]), "a.Root.v[].1: is missing");
    let array = Kind::Array { elem: place(Kind::Unit), length: 2 };
    refused(array, json!([null]), "a.Root.v: has 1 elements, but the array has 2");
    let (key, value) = (place(Kind::String), place(Kind::Unit));
    let map = Kind::HashMap { key, value };
    let doubled = json!([["a", null], ["a", null]]);
    refused(map.clone(), doubled, "a.Root.v[key]: a key of the map occurs twice");
    refused(map, json!({ "a": 1 }), "a.Root.v: an object is no array that fits");
    let misfit = json!({ "kind": "Rgb", "value": [1, 2] });
    refused(mention("a.Shape"), misfit, "a.Root.v.Rgb.2: is missing");
}

/// [T11] hash maps whose keys hash in ways that are not known here are refused, trees are not
#[test]
fn keys_that_are_maps_are_not_hashed() {
    let key = Kind::BTreeMap { key: place(Kind::Unit), value: place(Kind::Unit) };
    let value = json!([[[[null, null]], 1]]);
    let elem = || place(scalar(Scalar::U8));
    let error = through(Kind::HashMap { key: place(key.clone()), value: elem() }, value.clone());
    assert_eq!(error.expect_err("not known").kind(), ErrorKind::FormatUnsupported);
    check(Kind::BTreeMap { key: place(key), value: elem() }, value);
}

/// [T38] an archive that points at itself ends with an error, whoever reads it
#[test]
fn archives_that_contain_themselves_end() {
    let recursive = Kind::Type { name: String::from("a.One"), recursive: true };
    let fields = vec![Field::new("next", option(Kind::Box(place(recursive))))];
    let one = TypeSchema::new_struct("a.One", Shape::Named, fields);
    let schema = Schema::new("a.One", [one]).expect("a schema");
    // Some, and a pointer to four bytes before itself.
    let archive = [1, 0, 0, 0, 0xfc, 0xff, 0xff, 0xff];
    let capnp = crate::capnp::Capnp::new(&schema).expect("a plan");
    for error in [
        from_archive(&schema, Limits::default(), &archive).map(|_| ()),
        capnp.encode(&archive).map(|_| ()),
        crate::convert::convert(&schema, &schema, &archive).map(|_| ()),
    ] {
        let error = error.expect_err("no end");
        assert_eq!(error.kind(), ErrorKind::ArchiveInvalid);
        let said = "is nested more than 64 structs and lists deep";
        assert_eq!(error.message(), said, "{error}");
    }
}

/// [T38] eight bytes that say "four billion times nothing" do not become gigabytes of JSON
#[test]
fn lists_of_nothing_have_an_end() {
    let schema = one(Kind::Vec(place(Kind::Unit)));
    let archive = |count: u32| [[0; 4], count.to_le_bytes()].concat();
    let some = from_archive(&schema, Limits::default(), &archive(4096)).expect("some");
    assert_eq!(some["v"].as_array().map(Vec::len), Some(4096));
    for count in [4097, u32::MAX] {
        let error = from_archive(&schema, Limits::default(), &archive(count)).expect_err("many");
        assert_eq!(error.kind(), ErrorKind::ArchiveInvalid);
    }
}

/// [T38] names are what Rust takes as identifiers
#[test]
fn names_are_identifiers() {
    let schema = |name: &str| {
        let fields = vec![Field::new(name, scalar(Scalar::U8))];
        let root = TypeSchema::new_struct("a.Root", Shape::Named, fields);
        Schema::new("a.Root", [root])
    };
    for name in ["größe", "_", "Ⅷ", "x·y", "℘"] {
        assert!(schema(name).is_ok(), "{name}");
    }
    for name in ["", "9a", "a-b", "a b", "ⓐ", "\u{37a}", "😀"] {
        assert_eq!(schema(name).expect_err(name).kind(), ErrorKind::SchemaInvalid, "{name}");
    }
}
