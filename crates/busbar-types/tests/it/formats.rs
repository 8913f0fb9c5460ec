//! Archives of every sample as Cap'n Proto and as JSON, and back into archives: the same bytes as
//! rkyv wrote, and the same values.

use std::fmt::Debug;

use busbar_types::capnp::Capnp;
use busbar_types::rkyv::util::AlignedVec;
use busbar_types::schema::{Kind, Schema};
use busbar_types::{Limits, Type, json, read};

use crate::random::{Random, Rng, any};
use crate::samples::for_each_sample;

const VALUES: u64 = 500;

/// The archive of `value`, as derived code writes it.
fn archive<T: Type>(value: &T) -> Vec<u8> {
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
