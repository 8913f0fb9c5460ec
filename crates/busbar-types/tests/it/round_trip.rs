//! Random values of every sample through an archive and back.

use std::fmt::Debug;

use busbar_types::rkyv::rancor::BoxedError;
use busbar_types::rkyv::util::AlignedVec;
use busbar_types::{Type, access, read, rkyv};

use crate::random::{Random, Rng, any};
use crate::samples::for_each_sample;

const VALUES: u64 = 10_000;

fn check<T: Type + Random + PartialEq + Debug>(seed: u64) {
    let mut out = AlignedVec::<16>::new();
    for index in 0..VALUES {
        let value: T = any(&mut Rng(seed.wrapping_mul(VALUES) + index));
        let size = value.archived_size().expect("a size");
        out.resize(size, 0xee);
        let written = value.write_to_buffer(&mut out).expect("room enough");
        assert_eq!(written, size, "{} {index}", T::NAME);
        access::<T>(&out).expect("a valid archive");
        assert_eq!(read::<T>(&out).expect("a valid archive"), value, "{} {index}", T::NAME);
    }
}

/// The same bytes as rkyv's own serializer writes through the bridged impls.
fn check_rkyv<T>(seed: u64)
where
    T: Type + Random,
    T: for<'a> rkyv::Serialize<
            rkyv::api::high::HighSerializer<
                AlignedVec,
                rkyv::ser::allocator::ArenaHandle<'a>,
                BoxedError,
            >,
        >,
{
    for index in 0..200 {
        let value: T = any(&mut Rng(seed + index));
        let expected = rkyv::to_bytes::<BoxedError>(&value).expect("an archive");
        let mut out = vec![0; expected.len()];
        value.write_to_buffer(&mut out).expect("room enough");
        assert_eq!(out, expected[..], "{} {index}", T::NAME);
    }
}

/// [T02 T06 T26] 10,000 random values of every sample come back as they were
#[test]
fn random_values_come_back() {
    let mut seed = 0;
    macro_rules! check {
        ($name:ty) => {
            seed += 1;
            check::<$name>(seed);
        };
    }
    for_each_sample!(check);
}

/// [T05] our writer writes what rkyv's serializer writes
#[test]
fn the_writer_agrees_with_rkyvs() {
    macro_rules! check {
        ($name:ty) => {
            check_rkyv::<$name>(77);
        };
    }
    for_each_sample!(check);
}
