//! Archives of every sample as Cap'n Proto and as JSON, and back into archives: the same bytes as
//! rkyv wrote, and the same values.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;

use busbar_types::capnp::Capnp;
use busbar_types::rkyv::rancor::BoxedError;
use busbar_types::rkyv::util::AlignedVec;
use busbar_types::schema::{Kind, Schema};
use busbar_types::{ArchiveReader, Limits, Type, access, json, read, rkyv};

use crate::hostile::{mutate, rounds};
use crate::random::{Random, Rng, any};
use crate::samples::{Order, Side, for_each_sample};
use crate::tool::Tool;

const VALUES: u64 = 500;
/// About as many as there are.
const SAMPLES: u64 = 30;

/// The archive of `value`, as derived code writes it.
pub(crate) fn archive<T: Type>(value: &T) -> Vec<u8> {
    let mut out = vec![0; value.archived_size().expect("a size")];
    value.write_to_buffer(&mut out).expect("room enough");
    out
}

/// Whether the order of entries in it is up to the writer.
fn has_hash_map(schema: &Schema) -> bool {
    fn is_inside(kind: &Kind) -> bool {
        matches!(kind, Kind::HashMap { .. }) || kind.children().any(|child| is_inside(&child.kind))
    }
    let fields = schema.types().flat_map(|one| {
        one.fields().iter().chain(one.variants().iter().flat_map(|variant| &variant.fields))
    });
    fields.into_iter().any(|field| is_inside(&field.place.kind))
}

/// Holds what came `back` to the `value` and its `archive`.
fn check_back<T: Type + PartialEq + Debug>(
    value: &T,
    archive: &[u8],
    back: &[u8],
    is_ordered: bool,
) {
    if is_ordered {
        assert_eq!(back, archive, "{}: {value:?}", T::NAME);
    }
    let mut aligned = AlignedVec::<16>::new();
    aligned.extend_from_slice(back);
    assert_eq!(&read::<T>(&aligned).expect("a valid archive"), value, "{}", T::NAME);
}

fn check<T: Type + Random + PartialEq + Debug>(seed: u64) {
    let schema = T::schema().expect("a schema");
    let capnp = Capnp::new(&schema).expect("a plan");
    let is_ordered = !has_hash_map(&schema);
    for index in 0..VALUES {
        let value: T = any(&mut Rng(seed.wrapping_mul(VALUES) + index));
        let archive = archive(&value);

        let message = capnp.encode(&archive).expect("a message");
        let back = capnp.decode(&message).expect("an archive");
        check_back(&value, &archive, &back, is_ordered);

        let printed = capnp.archive_to_json(&archive).expect("JSON").to_string();
        let parsed = serde_json::from_str(&printed).expect("JSON");
        let back = json::to_archive(&schema, Limits::default(), &parsed).expect("an archive");
        check_back(&value, &archive, &back, is_ordered);
    }
}

/// [T08 T37] random values of every sample survive Cap'n Proto and JSON, byte for byte
#[test]
fn values_survive_other_formats() {
    let mut seed = 0;
    macro_rules! check {
        ($name:ty) => {
            seed += 1;
            check::<$name>(seed);
        };
    }
    for_each_sample!(check);
}

/// [T08 T37] whatever a mutated message is read as, rkyv accepts it as an archive
#[test]
fn hostile_messages_become_valid_archives() {
    fn check<T: Type + Random + PartialEq + Debug>() {
        let limits = Limits { bytes_max: 1 << 20, ..Limits::default() };
        let capnp = Capnp::new(&T::schema().expect("a schema")).expect("a plan");
        let capnp = capnp.with_limits(limits);
        let mut message = Vec::new();
        let mut aligned = AlignedVec::<16>::new();
        for round in 0..rounds(100_000) / SAMPLES {
            let mut rng = Rng(round);
            if round % 20 == 0 {
                message = capnp.encode(&archive(&any::<T>(&mut rng))).expect("a message");
            }
            let mut bytes = message.clone();
            mutate(&mut rng, &mut bytes);
            if let Ok(archive) = capnp.decode(&bytes) {
                aligned.clear();
                aligned.extend_from_slice(&archive);
                read::<T>(&aligned).expect("a valid archive");
            }
        }
    }
    macro_rules! check {
        ($name:ty) => {
            check::<$name>();
        };
    }
    for_each_sample!(check);
}

/// [T03] the `capnp` tool accepts the schema text of every sample, and reads what we write by it
#[test]
fn the_tool_accepts_the_text_of_every_sample() {
    fn check<T: Type + Random>() {
        let capnp = Capnp::new(&T::schema().expect("a schema")).expect("a plan");
        let Some(tool) = Tool::new(&capnp.text()) else { return };
        let compiled = tool.run(&["compile", "-o-", "schema.capnp"], &[]);
        assert!(!compiled.is_empty(), "{}", T::NAME);
        let message = capnp.encode(&archive(&any::<T>(&mut Rng(1)))).expect("a message");
        let decoded = tool.run(&["decode", "--quiet", "schema.capnp", capnp.root_name()], &message);
        assert_ne!(decoded.first(), None, "{}", T::NAME);
    }
    macro_rules! check {
        ($name:ty) => {
            check::<$name>();
        };
    }
    for_each_sample!(check);
}

/// [T03 T08] what people see: the text of a schema, and a message as the tool prints it
#[test]
fn an_order_in_the_words_of_the_tool() {
    let capnp = Capnp::new(&Order::schema().expect("a schema")).expect("a plan");
    let text = capnp.text();
    let (_, declarations) = text.split_once("\n\n").expect("a head");
    assert_eq!(
        declarations,
        "\
struct Order @0xfad2292911071c15 {
  id @0 :UInt64;
  symbol @1 :Text;
  side @2 :Side;
  price @3 :Float64;
  qty @4 :Float64;
  tags @5 :List(Text);
  note :union {
    none @6 :Void;
    some @7 :Text;
  }
}

enum Side @0xfb18dccc6ee56305 {
  buy @0;
  sell @1;
}
"
    );
    let Some(tool) = Tool::new(&text) else { return };
    let order = Order {
        id: u64::MAX,
        symbol: String::from("EUR/USD spot"),
        side: Side::Sell,
        price: 1.25,
        qty: -3.0,
        tags: vec![String::from("a"), String::new()],
        note: None,
    };
    let message = capnp.encode(&archive(&order)).expect("a message");
    let args = ["decode", "--short", "schema.capnp", "Order"];
    let printed = String::from_utf8(tool.run(&args, &message)).expect("UTF-8");
    let expected = "(id = 18446744073709551615, symbol = \"EUR/USD spot\", side = sell, \
                    price = 1.25, qty = -3, tags = [\"a\", \"\"], note = (none = void))";
    assert_eq!(printed.trim_end(), expected);
    let message = tool.run(&["encode", "schema.capnp", "Order"], expected.as_bytes());
    check_back(&order, &archive(&order), &capnp.decode(&message).expect("an archive"), true);
}

#[derive(Type, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Clone)]
#[busbar(archive_derive(PartialEq, Eq, Hash, PartialOrd, Ord))]
enum Only {
    One(i8),
}

#[derive(Type, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Clone)]
#[busbar(archive_derive(PartialEq, Eq, Hash, PartialOrd, Ord))]
enum Mixed {
    Unit,
    Tuple(u16, Option<String>),
    Named { list: Vec<i32>, only: Only },
}

impl Random for Only {
    fn random(rng: &mut Rng) -> Self {
        Self::One(any(rng))
    }
}

impl Random for Mixed {
    fn random(rng: &mut Rng) -> Self {
        match rng.below(5) {
            0 => Self::Unit,
            1 | 2 => Self::Tuple(any(rng), any(rng)),
            _ => Self::Named { list: any(rng), only: any(rng) },
        }
    }
}

macro_rules! tables {
    ($($name:ident $field:ident: $map:ident<$key:ty>;)*) => {
        $(#[derive(Type, Debug, PartialEq)]
        struct $name {
            $field: $map<$key, u8>,
        })*
    };
}

tables! {
    Bytes map: HashMap<u8>;
    Signed map: HashMap<i64>;
    Wide map: HashMap<i128>;
    Texts map: HashMap<String>;
    Onlys map: HashMap<Only>;
    Mixes map: HashMap<Mixed>;
    Lists map: HashMap<(bool, Vec<u16>, [char; 2])>;
    SignedTree map: BTreeMap<i16>;
    TextTree map: BTreeMap<String>;
    MixedTree map: BTreeMap<Mixed>;
    ListTree map: BTreeMap<(Box<str>, Vec<i8>, Option<u64>)>;
}

fn entries<K: Random, C: FromIterator<(K, u8)>>(rng: &mut Rng, length: usize) -> C {
    (0..length).map(|_| (any(rng), any(rng))).collect()
}

/// Lengths around what fills the groups of a hash table and the nodes of a tree.
fn lengths() -> impl Iterator<Item = usize> {
    (0..50).chain([63, 64, 65, 214, 215, 216, 300, 1294, 1295, 1296, 1297, 3000])
}

/// The archive of `value` by way of JSON in another order, and of a message.
fn detours<T: Type>(value: &T) -> [AlignedVec; 2] {
    let schema = T::schema().expect("a schema");
    let capnp = Capnp::new(&schema).expect("a plan");
    let archive = archive(value);
    let mut json = capnp.archive_to_json(&archive).expect("JSON");
    json["map"].as_array_mut().expect("a map").reverse();
    let by_json = capnp.json_to_archive(&json).expect("an archive");
    let message = capnp.encode(&archive).expect("a message");
    let by_message = capnp.decode(&message).expect("an archive");
    [by_json, by_message].map(|bytes| {
        let mut aligned = AlignedVec::new();
        aligned.extend_from_slice(&bytes);
        aligned
    })
}

/// [T08 T37] whatever is put into a hash map is found there by rkyv, keys of user types included
#[test]
fn entries_of_hash_maps_are_found() {
    macro_rules! check {
        ($($name:ident)*) => {
            $(for length in lengths() {
                let value = $name { map: entries(&mut Rng(length as u64), length) };
                for bytes in detours(&value) {
                    let archived = access::<$name>(&bytes).expect("a valid archive");
                    assert_eq!(archived.map.len(), value.map.len());
                    for (key, entry) in &value.map {
                        let found = archived.map.get_with(key, |key, found| is_key(found, key));
                        assert_eq!(found, Some(entry), "{length}: {key:?}");
                    }
                    assert_eq!(read::<$name>(&bytes).expect("a valid archive"), value);
                }
            })*
        };
    }
    check!(Bytes Signed Wide Texts Onlys Mixes Lists);
}

/// Whether `archived` is the archive of `key`.
fn is_key<A, K: PartialEq>(archived: &A, key: &K) -> bool
where
    A: rkyv::Deserialize<K, ArchiveReader>,
{
    let read = rkyv::api::deserialize_using::<K, (), BoxedError>(archived, &mut ());
    read.expect("a key") == *key
}

/// [T08 T37] B-trees come out byte for byte as rkyv builds them, whatever the order of what goes in
#[test]
fn trees_are_those_of_rkyv() {
    macro_rules! check {
        ($($name:ident)*) => {
            $(for length in lengths() {
                let value = $name { map: entries(&mut Rng(length as u64), length) };
                for bytes in detours(&value) {
                    assert_eq!(bytes[..], archive(&value), "{length}");
                }
            })*
        };
    }
    check!(SignedTree TextTree MixedTree ListTree);
}
