//! Archives from anybody, of any of the sample types: whatever the bytes are, they are a value or a
//! typed error, for rkyv's readers and for those that go by the schema. A value can be written, and
//! is the same when it is read again.
//!
//! The first byte says which sample, the others are the archive.

#![no_main]

#[path = "../../crates/busbar-types/tests/it/random.rs"]
#[allow(dead_code)]
mod random;
#[path = "../../crates/busbar-types/tests/it/samples.rs"]
#[allow(dead_code)]
mod samples;

use busbar_types::capnp::Capnp;
use busbar_types::convert::Conversion;
use busbar_types::rkyv::util::AlignedVec;
use busbar_types::schema::Schema;
use busbar_types::{Error, ErrorKind, Limits, Type, access, json, read};
use libfuzzer_sys::fuzz_target;
use samples::for_each_sample;
use std::sync::LazyLock;

/// What is done with an archive of one type.
struct Sample {
    schema: Schema,
    capnp: Capnp,
    conversion: Conversion,
    try_type: fn(&[u8]) -> Option<AlignedVec>,
}

const LIMITS: Limits = Limits { depth_max: 64, bytes_max: 1 << 20, values_max: 1 << 16 };

fn sample<T: Type>() -> Sample {
    let schema = T::schema().expect("derived");
    Sample {
        capnp: Capnp::new(&schema).expect("a plan").with_limits(LIMITS),
        conversion: Conversion::new(&schema, &schema).expect("the same").with_limits(LIMITS),
        schema,
        try_type: try_type::<T>,
    }
}

static SAMPLES: LazyLock<Vec<Sample>> = LazyLock::new(|| {
    let mut all = vec![sample::<samples::Node>()];
    macro_rules! push {
        ($name:ty) => {
            all.push(sample::<$name>());
        };
    }
    for_each_sample!(push);
    all
});

fn archive_of<T: Type>(value: &T) -> AlignedVec {
    let mut out = AlignedVec::new();
    out.resize(value.archived_size().expect("a size"), 0);
    value.write_to_buffer(&mut out).expect("there is room");
    out
}

/// What is written of the value that was read, if there is one.
fn try_type<T: Type>(bytes: &[u8]) -> Option<AlignedVec> {
    let is_valid = access::<T>(bytes).is_ok();
    let value = match read::<T>(bytes) {
        Ok(value) => value,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ArchiveInvalid, "{error}");
            assert!(!is_valid, "it can be accessed but not read: {error}");
            return None;
        }
    };
    assert!(is_valid, "it can be read but not accessed");
    let written = archive_of(&value);
    let again = archive_of(&read::<T>(&written).expect("our own"));
    // The order of hash maps is up to the map.
    assert_eq!(written.len(), again.len());
    Some(written)
}

/// The archive that something by the schema made, which has to be one.
fn made(sample: &Sample, made: Result<Vec<u8>, Error>) {
    use ErrorKind::{ArchiveInvalid, SchemaVariant, SerializeFailed};
    match made {
        Ok(archive) => {
            let mut aligned = AlignedVec::<16>::new();
            aligned.extend_from_slice(&archive);
            assert!((sample.try_type)(&aligned).is_some(), "what was made is no archive");
        }
        Err(error) => {
            let known = [ArchiveInvalid, SchemaVariant, SerializeFailed];
            assert!(known.contains(&error.kind()), "{error}");
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&first, bytes)) = data.split_first() else { return };
    let sample = &SAMPLES[usize::from(first) % SAMPLES.len()];
    let mut archive = AlignedVec::<16>::new();
    archive.extend_from_slice(bytes);
    if let Some(written) = (sample.try_type)(&archive) {
        // Sound values that are too large for other formats are an error there, too.
        made(sample, sample.conversion.convert(&written));
    }
    made(sample, sample.conversion.convert(&archive));
    made(sample, sample.capnp.encode(&archive).and_then(|it| sample.capnp.decode(&it)));
    let json = json::from_archive(&sample.schema, LIMITS, &archive);
    made(sample, json.and_then(|it| json::to_archive(&sample.schema, LIMITS, &it)));
});
