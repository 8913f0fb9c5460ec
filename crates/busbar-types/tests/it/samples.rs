//! Thirty declarations, one of every shape the derive accepts.

use std::collections::{BTreeMap, HashMap};

use busbar_types::Type;

use crate::random::{Random, Rng, any, one_of};

/// Declares structs and how to make a random one.
macro_rules! structs {
    ($($(#[$meta:meta])* struct $name:ident { $($(#[$on_field:meta])* $field:ident: $type:ty,)* })*)
    => {
        $(#[derive(Type, Debug, PartialEq, Clone)]
        $(#[$meta])*
        pub(crate) struct $name { $($(#[$on_field])* pub(crate) $field: $type,)* }

        impl Random for $name {
            fn random(_rng: &mut Rng) -> Self {
                Self { $($field: any(_rng),)* }
            }
        })*
    };
}

structs! {
    #[busbar(name = "market.Position", generate(capnp, json, ts))]
    struct Position { id: u64, pos: [f32; 3], vel: [f32; 3], flags: u32, ts: u64, }

    #[busbar(name = "market.Order", alias = "market.OldOrder", generate(json))]
    struct Order {
        #[busbar(number)] id: u64,
        #[busbar(intern, alias = "ticker")] symbol: String,
        side: Side,
        price: f64,
        #[busbar(default = 1.0)] qty: f64,
        #[busbar(default = [])] tags: Vec<String>,
        #[busbar(default = None)] note: Option<String>,
    }

    #[busbar(name = "market.Entity")]
    struct Entity { position: Position, name: String, }

    #[busbar(name = "market.Snapshot")]
    struct Snapshot { tick: u64, entities: Vec<Entity>, }

    #[busbar(name = "market.Header")]
    struct Header { id: u64, kind: u16, }

    #[busbar(name = "market.Blob")]
    struct Blob { header: Header, bytes: Vec<u8>, }

    struct Integers { a: u8, b: u16, c: u32, d: u64, e: u128, f: i8, g: i16, h: i32, i: i64,
        j: i128, }

    struct Others { a: bool, b: f32, c: f64, d: char, e: (), }

    struct Padded { a: u8, b: u64, c: u8, d: u128, e: u8, }

    struct Texts { a: String, b: Box<str>, c: Option<String>, d: Vec<String>, e: [String; 2], }

    struct Options { a: Option<u8>, b: Option<u16>, c: Option<u64>, d: Option<Option<u16>>,
        e: Option<()>, f: Option<Side>, g: Option<Box<u64>>, }

    struct Lists { a: Vec<u8>, b: Vec<f64>, c: Vec<Vec<u16>>, d: Box<[u32]>, e: Box<[String]>,
        f: Vec<()>, }

    struct Arrays { a: [u8; 16], b: [[u16; 2]; 3], c: [Option<u32>; 2], d: [u64; 0], }

    struct Tuples { a: (u8, u32), b: (String,), c: (u8, (u64, u8), bool), d: Vec<(u8, String)>, }

    struct Boxes { a: Box<u64>, b: Box<Position>, c: Vec<Box<Side>>, d: Box<Option<String>>, }

    struct Trees { a: BTreeMap<String, u64>, b: BTreeMap<u32, Vec<String>>,
        c: BTreeMap<u8, BTreeMap<u8, u8>>, }

    struct Hashes { a: HashMap<String, u64>, b: HashMap<u32, Vec<String>>, c: HashMap<Key, Side>, }

    struct Nested { side: Side, shape: Shape, entity: Entity, shapes: Vec<Shape>,
        maybe: Option<Header>, }

    struct Node { value: u32, #[busbar(recursive)] children: Vec<Node>, }

    struct Chain { value: String, #[busbar(recursive)] next: Option<Box<Self>>, }

    struct Folder { name: String, #[busbar(recursive)] entries: Vec<Entry>, }

    struct Raw { r#type: u8, r#match: Option<u8>, }

    struct Empty { }

    struct Defaults {
        #[busbar(default = true)] a: bool,
        #[busbar(default = -5)] b: i64,
        #[busbar(bigint, default = 18446744073709551615)] c: u64,
        #[busbar(default = "Sell")] d: Side,
        #[busbar(default = ["x", "y"])] e: [String; 2],
        #[busbar(default = 'q')] f: char,
        #[busbar(default = 7)] g: Option<u8>,
        #[busbar(default = [])] h: BTreeMap<u8, u8>,
    }
}

#[derive(Type, Debug, PartialEq, Clone)]
pub(crate) struct Pair(pub(crate) u8, pub(crate) String);

#[derive(Type, Debug, PartialEq, Clone)]
pub(crate) struct Marker;

#[derive(Type, Debug, PartialEq, Eq, Hash, Clone)]
#[busbar(archive_derive(PartialEq, Eq, Hash))]
pub(crate) struct Key(pub(crate) u16, pub(crate) bool);

#[derive(Type, Debug, PartialEq, Clone)]
#[busbar(name = "market.Side")]
pub(crate) enum Side {
    #[busbar(default_variant)]
    Buy,
    Sell,
}

#[derive(Type, Debug, PartialEq, Clone)]
#[busbar(name = "market.Shape")]
pub(crate) enum Shape {
    Empty,
    Rgb(u8, u8, u8),
    Circle { radius: f32 },
    Named { name: String, at: Position },
    Wide(u128),
}

#[derive(Type, Debug, PartialEq, Clone)]
#[repr(u8)]
pub(crate) enum Tagged {
    A = 3,
    B(u64),
    C { list: Vec<u8> } = 200,
    D,
}

#[derive(Type, Debug, PartialEq, Clone)]
pub(crate) enum Entry {
    File(String),
    Folder(#[busbar(recursive)] Box<Folder>),
}

impl Random for Pair {
    fn random(rng: &mut Rng) -> Self {
        Self(any(rng), any(rng))
    }
}

impl Random for Marker {
    fn random(_: &mut Rng) -> Self {
        Self
    }
}

impl Random for Key {
    fn random(rng: &mut Rng) -> Self {
        Self(any(rng), any(rng))
    }
}

impl Random for Side {
    fn random(rng: &mut Rng) -> Self {
        one_of(rng, &[|_| Self::Buy, |_| Self::Sell])
    }
}

impl Random for Shape {
    fn random(rng: &mut Rng) -> Self {
        one_of(
            rng,
            &[
                |_| Self::Empty,
                |rng| Self::Rgb(any(rng), any(rng), any(rng)),
                |rng| Self::Circle { radius: any(rng) },
                |rng| Self::Named { name: any(rng), at: any(rng) },
                |rng| Self::Wide(any(rng)),
            ],
        )
    }
}

impl Random for Tagged {
    fn random(rng: &mut Rng) -> Self {
        one_of(
            rng,
            &[|_| Self::A, |rng| Self::B(any(rng)), |rng| Self::C { list: any(rng) }, |_| Self::D],
        )
    }
}

impl Random for Entry {
    fn random(rng: &mut Rng) -> Self {
        // Rarely a folder, so that trees end.
        if rng.below(6) == 0 { Self::Folder(any(rng)) } else { Self::File(any(rng)) }
    }
}

/// Calls `$check!(Type)` for every sample.
macro_rules! for_each_sample {
    ($check:ident) => {
        $crate::samples::for_each_sample!($check:
            Position Order Entity Snapshot Header Blob Integers Others Padded Texts Options Lists
            Arrays Tuples Boxes Trees Hashes Nested Chain Folder Raw Empty Defaults Pair Marker Key
            Side Shape Tagged Entry)
    };
    ($check:ident: $($name:ident)*) => {
        $($check!($crate::samples::$name);)*
    };
}
pub(crate) use for_each_sample;
