//! Archives of old versions of types as new ones, and the other way round, as rkyv reads them.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;

use busbar_types::compare::{Verdict, compare};
use busbar_types::convert::Conversion;
use busbar_types::rkyv::util::AlignedVec;
use busbar_types::schema::Schema;
use busbar_types::{ErrorKind, Limits, Type, access, read};

use crate::formats::archive;
use crate::hostile::{mutate, rounds};
use crate::random::{Random, Rng, any, one_of};
use crate::samples::for_each_sample;

/// Both versions of a type have the same name, which one module cannot hold.
mod old {
    use super::{BTreeMap, HashMap, Random, Rng, Type, any, one_of};

    #[derive(Type, Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
    #[busbar(name = "m.Side", archive_derive(PartialEq, Eq, Hash, PartialOrd, Ord))]
    pub(super) enum Side {
        Buy,
        Sell,
    }

    #[derive(Type, Debug, Clone, PartialEq)]
    #[busbar(name = "m.Shape")]
    pub(super) enum Shape {
        Empty,
        Rgb(u8, u8, u8),
        Circle { radius: f32, name: String },
    }

    #[derive(Type, Debug, Clone, PartialEq)]
    #[busbar(name = "m.Point")]
    pub(super) struct Point {
        pub(super) x: f32,
        pub(super) y: f32,
    }

    #[derive(Type, Debug, Clone, PartialEq)]
    #[busbar(name = "m.Leg")]
    pub(super) struct Leg(pub(super) u16, pub(super) String);

    #[derive(Type, Debug, Clone, PartialEq)]
    #[busbar(name = "m.Node")]
    pub(super) struct Node {
        pub(super) weight: i16,
        #[busbar(recursive)]
        pub(super) next: Option<Box<Self>>,
    }

    #[derive(Type, Debug, Clone, PartialEq)]
    #[busbar(name = "m.OldOrder")]
    pub(super) struct Order {
        pub(super) id: u32,
        pub(super) ticker: String,
        pub(super) price: f32,
        pub(super) balance: i8,
        pub(super) side: Side,
        pub(super) shape: Shape,
        pub(super) gone: Vec<String>,
        pub(super) tags: Vec<String>,
        pub(super) points: Vec<Point>,
        pub(super) path: [Point; 2],
        pub(super) legs: Box<[Leg]>,
        pub(super) maybe: Option<u16>,
        pub(super) note: String,
        pub(super) pair: (u8, Option<String>),
        pub(super) by_side: BTreeMap<Side, Vec<u8>>,
        pub(super) by_id: HashMap<u16, Leg>,
        pub(super) blob: Vec<u8>,
        pub(super) node: Node,
        pub(super) boxed: Box<(String, i32)>,
    }

    impl Random for Order {
        fn random(rng: &mut Rng) -> Self {
            Self {
                id: any(rng),
                ticker: any(rng),
                price: any(rng),
                balance: any(rng),
                side: any(rng),
                shape: any(rng),
                gone: any(rng),
                tags: any(rng),
                points: any(rng),
                path: any(rng),
                legs: any(rng),
                maybe: any(rng),
                note: any(rng),
                pair: any(rng),
                by_side: any(rng),
                by_id: any(rng),
                blob: any(rng),
                node: any(rng),
                boxed: any(rng),
            }
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
                    |rng| Self::Circle { radius: any(rng), name: any(rng) },
                ],
            )
        }
    }

    impl Random for Point {
        fn random(rng: &mut Rng) -> Self {
            Self { x: any(rng), y: any(rng) }
        }
    }

    impl Random for Leg {
        fn random(rng: &mut Rng) -> Self {
            Self(any(rng), any(rng))
        }
    }

    impl Random for Node {
        fn random(rng: &mut Rng) -> Self {
            let next = (rng.below(3) > 0).then(|| any(rng));
            Self { weight: any(rng), next }
        }
    }
}

mod new {
    use super::{BTreeMap, HashMap, Type};

    #[derive(Type, Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
    #[busbar(name = "m.Side", archive_derive(PartialEq, Eq, Hash, PartialOrd, Ord))]
    pub(super) enum Side {
        Buy,
        Sell,
        #[busbar(default_variant)]
        Unknown,
    }

    #[derive(Type, Debug, Clone, PartialEq)]
    #[busbar(name = "m.Shape")]
    pub(super) enum Shape {
        Empty,
        Rgb(u16, u8, u32),
        Circle {
            name: String,
            radius: f64,
            #[busbar(default = 1.5)]
            line: f32,
        },
        Square(f32),
    }

    #[derive(Type, Debug, Clone, PartialEq)]
    #[busbar(name = "m.Point")]
    pub(super) struct Point {
        pub(super) x: f32,
        pub(super) y: f32,
        pub(super) z: Option<f32>,
    }

    #[derive(Type, Debug, Clone, PartialEq)]
    #[busbar(name = "m.Leg")]
    pub(super) struct Leg(pub(super) i32, pub(super) Option<String>);

    #[derive(Type, Debug, Clone, PartialEq)]
    #[busbar(name = "m.Node")]
    pub(super) struct Node {
        #[busbar(recursive)]
        pub(super) next: Option<Box<Self>>,
        pub(super) weight: i128,
    }

    #[derive(Type, Debug, Clone, PartialEq)]
    #[busbar(name = "m.Order", alias = "m.OldOrder")]
    pub(super) struct Order {
        #[busbar(default = "a default out of line")]
        pub(super) text: String,
        #[busbar(default = [1, 2, 3])]
        pub(super) list: Vec<u16>,
        #[busbar(default = "Sell")]
        pub(super) other: Side,
        #[busbar(default = -9)]
        pub(super) number: Option<Option<i64>>,
        #[busbar(default = [])]
        pub(super) map: HashMap<String, u8>,
        pub(super) added: Option<String>,
        pub(super) node: Node,
        pub(super) boxed: Box<(String, i64)>,
        pub(super) id: u64,
        #[busbar(alias = "ticker")]
        pub(super) symbol: String,
        pub(super) price: f64,
        pub(super) balance: i64,
        pub(super) side: Side,
        pub(super) shape: Shape,
        pub(super) tags: Vec<Option<String>>,
        pub(super) points: Vec<Point>,
        pub(super) path: [Point; 2],
        pub(super) legs: Box<[Leg]>,
        pub(super) maybe: Option<Option<u16>>,
        pub(super) note: Option<String>,
        pub(super) pair: (u32, Option<String>),
        pub(super) by_side: BTreeMap<Side, Vec<u8>>,
        pub(super) by_id: HashMap<i32, Leg>,
        pub(super) blob: Vec<u8>,
    }
}

/// What the new version makes of each part of the old one.
mod expected {
    use super::{new, old};

    pub(super) fn order(order: &old::Order) -> new::Order {
        new::Order {
            text: String::from("a default out of line"),
            list: vec![1, 2, 3],
            other: new::Side::Sell,
            number: Some(Some(-9)),
            map: [].into(),
            added: None,
            node: node(&order.node),
            boxed: Box::new((order.boxed.0.clone(), order.boxed.1.into())),
            id: order.id.into(),
            symbol: order.ticker.clone(),
            price: order.price.into(),
            balance: order.balance.into(),
            side: side(&order.side),
            shape: shape(&order.shape),
            tags: order.tags.iter().cloned().map(Some).collect(),
            points: order.points.iter().map(point).collect(),
            path: [point(&order.path[0]), point(&order.path[1])],
            legs: order.legs.iter().map(leg).collect(),
            maybe: order.maybe.map(Some),
            note: Some(order.note.clone()),
            pair: (order.pair.0.into(), order.pair.1.clone()),
            by_side: order.by_side.iter().map(|(key, bytes)| (side(key), bytes.clone())).collect(),
            by_id: order.by_id.iter().map(|(&key, one)| (key.into(), leg(one))).collect(),
            blob: order.blob.clone(),
        }
    }

    fn side(side: &old::Side) -> new::Side {
        match side {
            old::Side::Buy => new::Side::Buy,
            old::Side::Sell => new::Side::Sell,
        }
    }

    fn shape(shape: &old::Shape) -> new::Shape {
        match shape {
            old::Shape::Empty => new::Shape::Empty,
            &old::Shape::Rgb(r, g, b) => new::Shape::Rgb(r.into(), g, b.into()),
            old::Shape::Circle { radius, name } => {
                let radius = f64::from(*radius);
                new::Shape::Circle { name: name.clone(), radius, line: 1.5 }
            }
        }
    }

    fn point(point: &old::Point) -> new::Point {
        new::Point { x: point.x, y: point.y, z: None }
    }

    fn leg(leg: &old::Leg) -> new::Leg {
        new::Leg(leg.0.into(), Some(leg.1.clone()))
    }

    fn node(old: &old::Node) -> new::Node {
        let next = old.next.as_ref().map(|next| Box::new(node(next)));
        new::Node { next, weight: old.weight.into() }
    }
}

fn conversion<From: Type, To: Type>() -> Conversion {
    let (writer, reader) = (From::schema().expect("a schema"), To::schema().expect("a schema"));
    Conversion::new(&writer, &reader).expect("a conversion")
}

/// The value in `archive`, which has to be a valid one.
fn value_of<T: Type>(archive: &[u8]) -> T {
    let mut aligned = AlignedVec::<16>::new();
    aligned.extend_from_slice(archive);
    access::<T>(&aligned).expect("a valid archive");
    read(&aligned).expect("a valid archive")
}

/// [T10 T25] 10,000 random values of an old version read as what the new one makes of them
#[test]
fn old_archives_become_new_ones() {
    let conversion = conversion::<old::Order, new::Order>();
    for seed in 0..10_000 {
        let order: old::Order = any(&mut Rng(seed));
        let converted = conversion.convert(&archive(&order)).expect("an archive");
        let expected = expected::order(&order);
        assert_eq!(value_of::<new::Order>(&converted), expected, "seed {seed}");
        if order.by_id.len() < 2 {
            assert_eq!(converted, archive(&expected), "seed {seed}: other bytes than rkyv's");
        }
    }
}

/// [T10 T25] an archive of the same version comes out as it went in
#[test]
fn the_same_version_is_copied() {
    fn check<T: Type + Random + PartialEq + Debug>() {
        let conversion = conversion::<T, T>();
        for seed in 0..100 {
            let value: T = any(&mut Rng(seed));
            let converted = conversion.convert(&archive(&value)).expect("an archive");
            assert_eq!(value_of::<T>(&converted), value, "seed {seed}");
        }
    }
    macro_rules! check {
        ($name:ty) => {
            check::<$name>();
        };
    }
    for_each_sample!(check);
}

mod swapped {
    use super::Type;

    #[derive(Type, Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
    #[busbar(name = "m.Side", archive_derive(PartialEq, Eq, Hash, PartialOrd, Ord))]
    pub(super) struct Side(pub(super) u8);
}

/// [T10] variants of newer versions read as the default, or are an error where there is none
#[test]
fn variants_of_newer_versions() {
    #[derive(Type, Debug, PartialEq)]
    #[busbar(name = "m.Side")]
    enum Newer {
        Buy,
        Sell,
        Unknown,
        Hold,
    }
    let with_default = conversion::<Newer, new::Side>();
    for (value, expected) in [
        (Newer::Buy, new::Side::Buy),
        (Newer::Sell, new::Side::Sell),
        (Newer::Unknown, new::Side::Unknown),
        (Newer::Hold, new::Side::Unknown),
    ] {
        let converted = with_default.convert(&archive(&value)).expect("an archive");
        assert_eq!(value_of::<new::Side>(&converted), expected);
    }
    let without = conversion::<Newer, old::Side>();
    let converted = without.convert(&archive(&Newer::Sell)).expect("an archive");
    assert_eq!(value_of::<old::Side>(&converted), old::Side::Sell);
    let error = without.convert(&archive(&Newer::Hold)).expect_err("unknown");
    assert_eq!(error.kind(), ErrorKind::SchemaVariant);
    let said = "m.Side: has the variant \"Hold\", which this version does not know";
    assert_eq!(error.to_string(), said);
    let error = without.convert(&[9]).expect_err("no archive of the writer's");
    assert_eq!(error.kind(), ErrorKind::ArchiveInvalid);
}

/// [T10] versions that do not fit are refused with the reasons
#[test]
fn incompatible_versions_are_refused() {
    let (old, new) = (new::Order::schema(), old::Order::schema());
    let error = Conversion::new(&old.expect("a schema"), &new.expect("a schema"));
    let error = error.map(|_| ()).expect_err("incompatible");
    assert_eq!(error.kind(), ErrorKind::SchemaMismatch);
    let (old, new) = (old::Side::schema(), swapped::Side::schema());
    let (old, new) = (old.expect("a schema"), new.expect("a schema"));
    assert_eq!(compare(&old, &new).verdict, Verdict::Incompatible);
    let error = Conversion::new(&old, &new).map(|_| ()).expect_err("incompatible");
    assert!(error.message().ends_with("a struct on one side, an enum on the other"), "{error}");
}

/// [T10 T38] mutated archives convert to valid ones, or are refused with a typed error
#[test]
fn hostile_archives_are_converted_or_refused() {
    let limits = Limits { bytes_max: 1 << 20, ..Limits::default() };
    let conversion = conversion::<old::Order, new::Order>().with_limits(limits);
    let (mut accepted, mut refused) = (0, 0);
    let mut sample = Vec::new();
    for round in 0..rounds(100_000) {
        let mut rng = Rng(round);
        if round % 200 == 0 {
            sample = archive(&any::<old::Order>(&mut rng));
        }
        let mut bytes = sample.clone();
        mutate(&mut rng, &mut bytes);
        match conversion.convert(&bytes) {
            Ok(converted) => {
                value_of::<new::Order>(&converted);
                accepted += 1;
            }
            Err(error) => {
                use ErrorKind::{ArchiveInvalid, SchemaVariant, SerializeFailed};
                let kinds = [ArchiveInvalid, SchemaVariant, SerializeFailed];
                assert!(kinds.contains(&error.kind()), "round {round}: {error:?}");
                refused += 1;
            }
        }
    }
    assert!(accepted > refused / 10 && refused > accepted / 10, "{accepted} and {refused}");
}

/// Defaults of floats, written down as integers that no float of JSON would be printed as.
mod floats {
    use busbar_types::Type;

    #[derive(Type)]
    #[busbar(name = "m.Floats")]
    pub(super) struct Older {
        pub(super) id: u8,
    }

    #[derive(Type, Debug, PartialEq)]
    #[busbar(name = "m.Floats")]
    pub(super) struct Newer {
        pub(super) id: u8,
        #[busbar(default = 10000000000000000)]
        pub(super) large: f64,
        #[busbar(default = -170141183460469231731687303715884105728)]
        pub(super) narrow: f32,
        #[busbar(default = [1, -18014398509481984])]
        pub(super) list: Vec<Option<f64>>,
        #[busbar(default = -9007199254740993)]
        pub(super) boxed: Box<f64>,
    }
}

/// [T10] integers as defaults of floats are floats, however large they are
#[test]
fn integers_are_defaults_of_floats() {
    let schema = floats::Newer::schema().expect("a schema");
    assert_eq!(Schema::from_json(&schema.to_json()).expect("our own"), schema);
    let converted = conversion::<floats::Older, floats::Newer>()
        .convert(&archive(&floats::Older { id: 3 }))
        .expect("an archive");
    let expected = floats::Newer {
        id: 3,
        large: 1e16,
        narrow: -(2_f32.powi(127)),
        list: vec![Some(1.0), Some(-18_014_398_509_481_984.0)],
        boxed: Box::new(-9_007_199_254_740_992.0),
    };
    assert_eq!(value_of::<floats::Newer>(&converted), expected);
}
