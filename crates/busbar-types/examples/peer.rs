//! The Rust end of `__test__/schema-peer.spec.ts`: makes archives of random values of the sample
//! types, and judges archives that were made or damaged elsewhere. Everything goes through standard
//! input and output, archives as a little-endian u32 of their length and their bytes.
//!
//! ```text
//! peer types                    descriptors of all samples, as a JSON array
//! peer make NAME COUNT SEED     archives of random values
//! peer judge NAME               a byte for each archive: whether it is valid
//! peer compare NAME             a byte for each archive: 0 none, 1 valid, 2 what rkyv writes
//! ```

#[path = "../tests/it/random.rs"]
mod random;
#[path = "../tests/it/samples.rs"]
mod samples;

use std::error::Error;
use std::io::{self, Read, Write};

use busbar_types::rkyv::util::AlignedVec;
use busbar_types::{Type, access, read};

use random::{Random, Rng, any};
use samples::for_each_sample;

/// What this program does for one type.
struct Sample {
    name: &'static str,
    descriptor: fn() -> String,
    make: fn(&mut Rng) -> AlignedVec,
    judge: fn(&[u8]) -> u8,
    compare: fn(&[u8]) -> u8,
}

fn sample<T: Type + Random>() -> Sample {
    Sample {
        name: T::NAME,
        descriptor: || T::schema().expect("invariant: derived schemas are valid").to_json(),
        make: |rng| archive_of(&any::<T>(rng)),
        judge: |bytes| u8::from(access::<T>(bytes).is_ok()),
        compare: |bytes| match read::<T>(bytes) {
            Err(_) => 0,
            Ok(value) if archive_of(&value)[..] == *bytes => 2,
            Ok(_) => 1,
        },
    }
}

fn archive_of<T: Type>(value: &T) -> AlignedVec {
    let size = value.archived_size().expect("invariant: samples can be written");
    let mut out = AlignedVec::new();
    out.resize(size, 0);
    value.write_to_buffer(&mut out).expect("invariant: there is room");
    out
}

fn samples() -> Vec<Sample> {
    let mut all = Vec::new();
    macro_rules! push {
        ($name:ty) => {
            all.push(sample::<$name>());
        };
    }
    for_each_sample!(push);
    all
}

fn find(name: &str) -> Result<Sample, String> {
    let found = samples().into_iter().find(|sample| sample.name == name);
    found.ok_or_else(|| format!("there is no sample {name}"))
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut out = io::BufWriter::new(io::stdout().lock());
    match args[..] {
        ["types"] => {
            let all: Vec<_> = samples().iter().map(|sample| (sample.descriptor)()).collect();
            writeln!(out, "[{}]", all.join(",\n"))?;
        }
        ["make", name, count, seed] => {
            let sample = find(name)?;
            let mut rng = Rng(seed.parse()?);
            for _ in 0..count.parse::<u32>()? {
                let archive = (sample.make)(&mut rng);
                out.write_all(&u32::try_from(archive.len())?.to_le_bytes())?;
                out.write_all(&archive)?;
            }
        }
        [verb @ ("judge" | "compare"), name] => {
            let sample = find(name)?;
            let verdict = if verb == "judge" { sample.judge } else { sample.compare };
            let mut input = io::BufReader::new(io::stdin().lock());
            while let Some(archive) = next_archive(&mut input)? {
                out.write_all(&[verdict(&archive)])?;
            }
        }
        _ => return Err("see the documentation of this file for what to say".into()),
    }
    Ok(out.flush()?)
}

/// The next archive, where an archive may be: at a multiple of 16.
fn next_archive(input: &mut impl Read) -> io::Result<Option<AlignedVec>> {
    let mut length = [0; 4];
    match input.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let length = u64::from(u32::from_le_bytes(length));
    let mut archive = AlignedVec::new();
    archive.resize(usize::try_from(length).map_err(io::Error::other)?, 0);
    input.read_exact(&mut archive)?;
    Ok(Some(archive))
}
