//! Mapped files from anybody: a file is opened as a value or refused with a typed error, in place
//! and copied alike.
//!
//! If the first byte is even, the others are the file; if it is odd, they are the archive of one
//! whose header is right.

#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use busbar_types::mapped::{self, Mapped, MappedFile};
use busbar_types::{ErrorKind, Type};
use libfuzzer_sys::fuzz_target;

#[derive(Type, Debug, PartialEq)]
struct Track {
    id: u64,
    name: String,
    samples: Vec<u32>,
    tags: Vec<Option<Box<str>>>,
    marks: Vec<()>,
    #[busbar(recursive)]
    inner: Vec<Self>,
}

static PATH: LazyLock<PathBuf> = LazyLock::new(|| {
    std::env::temp_dir().join(format!("busbar-fuzz-mapped-{}", std::process::id()))
});

/// What a file holds, or why it is refused.
fn value(mapped: Result<Mapped<Track>, busbar_types::Error>) -> Result<String, ErrorKind> {
    let mapped = mapped.map_err(|error| error.kind())?;
    mapped.verify().expect("nobody touches it");
    // SAFETY: nobody changes the file while this runs.
    let bytes = unsafe { mapped.file().bytes() };
    let track = busbar_types::read::<Track>(bytes).expect("it was checked");
    assert_eq!(mapped.get().samples.len(), track.samples.len());
    Ok(format!("{track:?}"))
}

fuzz_target!(|data: &[u8]| {
    let Some((&first, bytes)) = data.split_first() else { return };
    let path = PATH.as_path();
    drop(fs::remove_file(path));
    if first % 2 == 0 {
        fs::write(path, bytes).expect("a file");
    } else {
        mapped::write_bytes(path, Track::SCHEMA_HASH, bytes).expect("a file");
    }
    let file = MappedFile::open(path).map(|file| (file.len(), file.schema_hash()));
    let opened = value(Mapped::open(path));
    assert_eq!(opened, value(Mapped::open_copy(path)));
    match (opened, file) {
        (Ok(_), Ok(file)) => {
            assert_eq!(file, (bytes.len() - 64 * usize::from(first % 2 == 0), Track::SCHEMA_HASH))
        }
        (Ok(_), Err(error)) => panic!("opened with a type, but not without: {error}"),
        (Err(ErrorKind::SchemaMismatch), Ok((_, hash))) => assert_ne!(hash, Track::SCHEMA_HASH),
        (Err(kind), _) => assert_eq!(kind, ErrorKind::ArchiveInvalid),
    }
    drop(fs::remove_file(path));
});
