//! Schemas: layout, text, hash and JSON of samples whose numbers are known from rkyv itself.

use serde_json::{Value, json};

use super::*;
use crate::ErrorKind;

fn scalar(scalar: Scalar) -> Kind {
    Kind::Scalar(scalar)
}

fn place(kind: Kind) -> Box<Place> {
    Box::new(Place::new(kind))
}

fn mention(name: &str) -> Kind {
    Kind::Type { name: name.to_owned(), recursive: false }
}

fn recursive(name: &str) -> Kind {
    Kind::Type { name: name.to_owned(), recursive: true }
}

fn position() -> TypeSchema {
    let triple = || Kind::Array { elem: place(scalar(Scalar::F32)), length: 3 };
    TypeSchema::new_struct(
        "market.Position",
        Shape::Named,
        vec![
            Field::new("id", scalar(Scalar::U64)),
            Field::new("pos", triple()),
            Field::new("vel", triple()),
            Field::new("flags", scalar(Scalar::U32)),
            Field::new("ts", scalar(Scalar::U64)),
        ],
    )
}

fn order() -> Schema {
    let side = |name: &str, tag| Variant {
        name: name.to_owned(),
        tag,
        shape: Shape::Unit,
        fields: Vec::new(),
    };
    let order = TypeSchema::new_struct(
        "market.Order",
        Shape::Named,
        vec![
            Field::new("id", scalar(Scalar::U64)),
            Field::new("symbol", Kind::String).with_default(Value::Null),
            Field::new("side", mention("market.Side")).with_alias("direction"),
            Field::new("price", scalar(Scalar::F64)),
            Field::new("qty", scalar(Scalar::F64)),
            Field::new("tags", Kind::Vec(place(Kind::String))),
            Field::new("note", Kind::Option(place(Kind::String))),
        ],
    );
    let sides = TypeSchema::new_enum("market.Side", vec![side("Buy", 0), side("Sell", 1)]);
    Schema::new("market.Order", [order, sides]).expect("a valid schema")
}

/// Applies `change` to the descriptor of an order and says what is said of the result.
#[track_caller]
fn refused(change: impl FnOnce(&mut Value)) -> Error {
    let mut descriptor: Value = serde_json::from_str(&order().to_json()).expect("JSON");
    change(&mut descriptor);
    let error = Schema::from_json(&descriptor.to_string()).expect_err("a lie");
    assert_eq!(error.kind(), ErrorKind::SchemaInvalid);
    error
}

/// [T25] the canonical text of the published example has the published hash
#[test]
fn the_published_vector_holds() {
    let schema = Schema::new("market.Position", [position()]).expect("a valid schema");
    assert_eq!(
        schema.root().text,
        "abi1;rkyv0.8/le/aligned/p32;struct market.Position(48,8)\
         {id:u64;pos:[f32;3];vel:[f32;3];flags:u32;ts:u64}"
    );
    assert_eq!(schema.root().hash, 0x800e_54b1_aa53_8d22);
}

/// [T25] nested types enter a text by name and hash
#[test]
fn a_nested_type_is_named_with_its_hash() {
    let schema = order();
    let side = schema.resolve("market.Side");
    assert_eq!(side.text, "abi1;rkyv0.8/le/aligned/p32;enum market.Side(1,1){Buy=0;Sell=1}");
    let mention = format!("side:market.Side#{:016x};", side.hash);
    assert!(schema.root().text.contains(&mention), "{}", schema.root().text);
}

/// [T07] offsets are those that rkyv gives the same struct
#[test]
fn offsets_are_those_of_rkyv() {
    let schema = order();
    let offsets: Vec<u32> = schema.root().fields().iter().map(|field| field.place.offset).collect();
    assert_eq!(offsets, [0, 8, 16, 24, 32, 40, 48]);
    assert_eq!((schema.root().size_bytes, schema.root().align), (64, 8));
    let Kind::Option(elem) = &schema.root().fields()[6].place.kind else { panic!("an option") };
    assert_eq!((elem.offset, schema.root().fields()[6].place.size_bytes), (4, 12));
}

/// [T01] a descriptor survives the way through JSON, null defaults and aliases included
#[test]
fn descriptor_round_trip() {
    let schema = order();
    let json = schema.to_json();
    let back = Schema::from_json(&json).expect("our own descriptor");
    assert_eq!(back, schema);
    assert_eq!(back.to_json(), json);
    assert_eq!(back.root().fields()[1].default, Some(Value::Null));
    assert_eq!(back.root().fields()[2].aliases, ["direction"]);
    assert_eq!(back.subschema("market.Side").expect("a part").types().len(), 1);
}

/// [T38] a descriptor that lies about layout, text or hash is refused, with the path
#[test]
fn lying_descriptors_are_refused() {
    let error = refused(|json| {
        json["types"]["market.Order"]["fields"][3]["offset"] = json!(16);
    });
    assert_eq!(error.path(), "market.Order.price");
    assert_eq!(error.message(), "its offset is 16, but should be 24");

    let error = refused(|json| {
        json["types"]["market.Order"]["fields"][6]["elem"]["offset"] = json!(1);
    });
    assert_eq!(error.path(), "market.Order.note[]");

    let error = refused(|json| json["types"]["market.Side"]["size"] = json!(4));
    assert_eq!(error.path(), "market.Side");

    let error = refused(|json| {
        json["types"]["market.Side"]["hash"] = json!("0000000000000000");
    });
    assert!(error.message().starts_with("its hash is"), "{error}");

    let error = refused(|json| json["types"]["market.Side"]["text"] = json!("abi1"));
    assert!(error.message().starts_with("its text is"), "{error}");
}

/// [T38] names, kinds and mentions that make no sense are refused, with the path
#[test]
fn malformed_descriptors_are_refused() {
    let error = refused(|json| json["root"] = json!("market.Nothing"));
    assert!(error.message().contains("market.Nothing"), "{error}");

    let error = refused(|json| {
        json["types"]["market.Order"]["fields"][0]["kind"] = json!("usize");
    });
    assert_eq!(error.to_string(), "market.Order.id: the kind \"usize\" is unknown");

    let error = refused(|json| {
        json["types"]["market.Order"]["fields"][2]["type"] = json!("market.Gone");
    });
    assert!(error.message().contains("market.Gone"), "{error}");

    let error = refused(|json| {
        json["types"]["market.Order"]["fields"][1]["name"] = json!("a:b");
    });
    assert_eq!(error.path(), "market.Order.a:b");

    let error = refused(|json| json["types"]["market.Side"]["variants"][1]["tag"] = json!(0));
    assert_eq!(error.path(), "market.Side.Sell");

    let error = refused(|json| json["format"] = json!("rkyv0.8/be/aligned/p32"));
    assert!(error.message().contains("archives"), "{error}");
    refused(|json| json["types"]["market.Order"]["fields"][5]["elem"] = Value::Null);
}

/// [T06] types may mention themselves behind a pointer, marked; anything else is refused
#[test]
fn circles_need_a_pointer_and_a_mark() {
    let node = |kind| TypeSchema::new_struct("a.Node", Shape::Named, vec![Field::new("n", kind)]);
    let good = Schema::new("a.Node", [node(Kind::Vec(place(recursive("a.Node"))))]).expect("fine");
    assert_eq!(good.root().text, "abi1;rkyv0.8/le/aligned/p32;struct a.Node(8,4){n:vec<@a.Node>}");
    let Kind::Vec(elem) = &good.root().fields()[0].place.kind else { panic!("a vec") };
    assert_eq!((elem.size_bytes, elem.align), (8, 4));
    assert_eq!(Schema::from_json(&good.to_json()).expect("our own"), good);

    for (kind, word) in [
        (recursive("a.Node"), "contains itself"),
        (Kind::Option(place(recursive("a.Node"))), "contains itself"),
        (Kind::Vec(place(mention("a.Node"))), "marked recursive"),
    ] {
        let error = Schema::new("a.Node", [node(kind)]).expect_err("a circle");
        assert!(error.message().contains(word), "{error}");
        assert_eq!(error.path(), "a.Node");
    }
}

/// [T06 T38] what is marked as part of a circle, and is in none, is refused, also where it leads to
/// a circle or comes from one
#[test]
fn marks_without_a_circle_are_refused() {
    let holds = |name: &str, kinds: Vec<Kind>| {
        let fields = kinds.into_iter().enumerate();
        let fields = fields.map(|(i, kind)| Field::new(format!("f{i}"), Kind::Vec(place(kind))));
        TypeSchema::new_struct(name, Shape::Named, fields.collect())
    };
    let leaf = || holds("a.Leaf", vec![scalar(Scalar::U8)]);
    let node = |more: Vec<Kind>| holds("a.Node", [vec![recursive("a.Node")], more].concat());
    for types in [
        vec![holds("a.Root", vec![recursive("a.Leaf")]), leaf()],
        vec![holds("a.Root", vec![recursive("a.Node")]), node(vec![])],
        vec![holds("a.Root", vec![mention("a.Node")]), node(vec![recursive("a.Leaf")]), leaf()],
    ] {
        let error = Schema::new("a.Root", types).expect_err("a mark too many");
        assert!(error.message().contains("does not lead back"), "{error}");
        assert!(["a.Root", "a.Node"].contains(&error.path()), "{error}");
    }
    // The same without those marks, and with a circle by way of two others.
    let types = [holds("a.Root", vec![mention("a.Node")]), node(vec![mention("a.Leaf")]), leaf()];
    let good = Schema::new("a.Root", types).expect("fine");
    let json =
        good.to_json().replace("\"type\":\"a.Leaf\"", "\"type\":\"a.Leaf\",\"recursive\":true");
    assert_ne!(json, good.to_json());
    let error = Schema::from_json(&json).expect_err("a mark too many");
    assert!(error.message().contains("marks \"a.Leaf\" recursive"), "{error}");
    let ring = [
        holds("a.Root", vec![mention("a.One")]),
        holds("a.One", vec![mention("a.Two")]),
        holds("a.Two", vec![recursive("a.Root")]),
    ];
    Schema::new("a.Root", ring).expect("it leads back");
}

/// [T06] mutually recursive types get their real sizes in every order
#[test]
fn circles_of_two_are_laid_out() {
    let a = TypeSchema::new_struct(
        "m.A",
        Shape::Tuple,
        vec![
            Field::new("0", scalar(Scalar::U64)),
            Field::new("1", Kind::Vec(place(recursive("m.B")))),
        ],
    );
    let b = TypeSchema::new_struct(
        "m.B",
        Shape::Tuple,
        vec![Field::new("0", Kind::Option(place(mention("m.A"))))],
    );
    for types in [[a.clone(), b.clone()], [b, a]] {
        let schema = Schema::new("m.A", types).expect("valid");
        assert_eq!(schema.resolve("m.A").size_bytes, 16);
        assert_eq!(schema.resolve("m.B").size_bytes, 24);
        let Kind::Vec(elem) = &schema.resolve("m.A").fields()[1].place.kind else { panic!() };
        assert_eq!((elem.size_bytes, elem.align), (24, 8));
    }
}

/// [T38] sizes that no archive can have are refused, not wrapped around
#[test]
fn enormous_arrays_are_refused() {
    let kind = Kind::Array { elem: place(scalar(Scalar::U64)), length: u32::MAX };
    let schema = TypeSchema::new_struct("a.Big", Shape::Tuple, vec![Field::new("0", kind)]);
    let error = Schema::new("a.Big", [schema]).expect_err("too big");
    assert_eq!(error.path(), "a.Big.0");
}

/// [T25] enums of all shapes are spelled as the format says
#[test]
fn the_text_of_an_enum() {
    let variant =
        |name: &str, tag, shape, fields| Variant { name: name.to_owned(), tag, shape, fields };
    let byte = |name: &str| Field::new(name, scalar(Scalar::U8));
    let radius = vec![Field::new("radius", scalar(Scalar::F32))];
    let shape = TypeSchema::new_enum(
        "market.Shape",
        vec![
            variant("Empty", 0, Shape::Unit, Vec::new()),
            variant("Rgb", 1, Shape::Tuple, vec![byte("0"), byte("1"), byte("2")]),
            variant("Circle", 2, Shape::Named, radius),
        ],
    );
    let schema = Schema::new("market.Shape", [shape]).expect("valid");
    assert_eq!(
        schema.root().text,
        "abi1;rkyv0.8/le/aligned/p32;\
         enum market.Shape(8,4){Empty=0;Rgb=1(u8;u8;u8);Circle=2{radius:f32}}"
    );
}
