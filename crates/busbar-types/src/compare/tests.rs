//! One pair of versions for each rule.

use serde_json::json;

use super::*;
use crate::schema::{Place, TypeSchema};

fn scalar(scalar: Scalar) -> Kind {
    Kind::Scalar(scalar)
}

fn option(kind: Kind) -> Kind {
    Kind::Option(Box::new(Place::new(kind)))
}

fn list(kind: Kind) -> Kind {
    Kind::Vec(Box::new(Place::new(kind)))
}

fn schema(fields: Vec<Field>) -> Schema {
    let order = TypeSchema::new_struct("market.Order", Shape::Named, fields);
    Schema::new("market.Order", [order]).expect("valid")
}

fn one(kind: Kind) -> Schema {
    schema(vec![Field::new("a", kind)])
}

fn variant(name: &str, tag: u8) -> Variant {
    Variant { name: name.to_owned(), tag, shape: Shape::Unit, fields: Vec::new() }
}

fn sides(variants: Vec<Variant>) -> Schema {
    Schema::new("m.Side", [TypeSchema::new_enum("m.Side", variants)]).expect("valid")
}

#[track_caller]
fn check(writer: &Schema, reader: &Schema, verdict: Verdict, reasons: &[&str]) {
    let comparison = compare(writer, reader);
    assert_eq!(comparison.reasons, reasons);
    assert_eq!(comparison.verdict, verdict);
    let path = reasons.first().and_then(|reason| reason.split_once(": ")).map(|(path, _)| path);
    assert_eq!(comparison.first_difference.as_deref(), path);
}

use Verdict::{Identical, Incompatible, Resolvable};

/// [T25] the same schema is identical, and other defaults do not change that
#[test]
fn identical() {
    check(&one(Kind::String), &one(Kind::String), Identical, &[]);
    let other = schema(vec![Field::new("a", Kind::String).with_default(json!("x"))]);
    check(&one(Kind::String), &other, Identical, &[]);
}

/// [T10] fields come and go, move and change names
#[test]
fn fields_added_removed_moved_renamed() {
    let (a, b) = (|| Field::new("a", Kind::String), || Field::new("b", Kind::String));
    let (only_a, both) = (schema(vec![a()]), schema(vec![a(), b()]));
    check(&only_a, &both, Incompatible, &["Order.b: added without a default"]);
    check(&both, &only_a, Resolvable, &["Order.b: removed"]);
    check(&both, &schema(vec![b(), a()]), Resolvable, &["Order: fields reordered"]);

    let with_default = schema(vec![a(), b().with_default(json!(""))]);
    check(&only_a, &with_default, Resolvable, &["Order.b: added with a default"]);
    let with_option = schema(vec![a(), Field::new("b", option(Kind::String))]);
    check(&only_a, &with_option, Resolvable, &["Order.b: added, reads as None"]);
    let renamed = schema(vec![b().with_alias("a")]);
    check(&only_a, &renamed, Resolvable, &["Order.b: renamed from a"]);
}

/// [T10] numbers widen where nothing is lost; `T` becomes `Option<T>`
#[test]
fn kinds_that_widen() {
    use Scalar::{F32, F64, I8, I16, I64, U8, U16, U32, U64};
    for (from, to, verdict) in [
        (U8, U64, Resolvable),
        (I8, I64, Resolvable),
        (U32, I64, Resolvable),
        (F32, F64, Resolvable),
        (U16, I16, Incompatible),
        (I8, U64, Incompatible),
        (U64, U32, Incompatible),
        (F64, F32, Incompatible),
        (U8, F64, Incompatible),
        (Scalar::Char, U32, Incompatible),
    ] {
        let reason = format!("Order.a: {} → {}", from.word(), to.word());
        check(&one(scalar(from)), &one(scalar(to)), verdict, &[&reason]);
    }
    let reader = one(option(Kind::String));
    check(&one(Kind::String), &reader, Resolvable, &["Order.a: str → opt<str>"]);
    check(&reader, &one(Kind::String), Incompatible, &["Order.a: opt<str> → str"]);
}

/// [T10] the path leads into containers
#[test]
fn the_path_of_an_element() {
    let (writer, reader) = (one(list(Kind::String)), one(list(scalar(Scalar::U32))));
    check(&writer, &reader, Incompatible, &["Order.a[]: str → u32"]);
}

/// [T10] variants may be appended, in either direction, but tags never change their meaning
#[test]
fn variants_may_be_appended() {
    let old = sides(vec![variant("Buy", 0), variant("Sell", 1)]);
    let new = sides(vec![variant("Buy", 0), variant("Sell", 1), variant("Hold", 2)]);
    check(&old, &new, Resolvable, &["Side.Hold: variant added"]);
    let reason = "Side.Hold: unknown variant, an error when it comes";
    check(&new, &old, Resolvable, &[reason]);

    let moved = sides(vec![variant("Sell", 0), variant("Buy", 1)]);
    check(&old, &moved, Incompatible, &["Side.Sell: tag 1 → 0", "Side.Buy: tag 0 → 1"]);
    let replaced = sides(vec![variant("Buy", 0), variant("Hold", 1)]);
    check(&old, &replaced, Incompatible, &["Side.Hold: its tag stood for another variant"]);
}

/// [T10] recursive types end
#[test]
fn recursive_types_are_compared_once() {
    let node = |value| {
        let mention = Kind::Type { name: String::from("a.Node"), recursive: true };
        let fields = vec![Field::new("v", scalar(value)), Field::new("n", list(mention))];
        let node = TypeSchema::new_struct("a.Node", Shape::Named, fields);
        Schema::new("a.Node", [node]).expect("valid")
    };
    check(&node(Scalar::U8), &node(Scalar::U8), Identical, &[]);
    check(&node(Scalar::U8), &node(Scalar::U16), Resolvable, &["Node.v: u8 → u16"]);
}
