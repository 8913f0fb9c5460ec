//! Values of registered types to and from the format that somebody asks for: by the best way there
//! is. Each rung that is missing is a step down to a slower one, which is counted and told once.
//!
//! ```text
//! own        the type's own code, straight to an archive   RKYV
//! plugin     the functions of the library it came from     whatever they say
//! converted  by way of an archive and the schema           all, if the type is described
//! ```

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rkyv::util::AlignedVec;

use super::{ForeignValue, Registry, TypeEntry};
use crate::format::Formats;
use crate::transcode::{Transcoder, transcoder};
use crate::{Error, ErrorKind, SerializeError};

/// Room that a value is given at first.
const ROOM_BYTES: usize = 256;

/// No archive needs more.
const ALIGN_MAX: usize = 16;

/// The way a value was written or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rung {
    /// By the type's own code.
    Own,
    /// By the functions of its plugin.
    Plugin,
    /// By way of an archive and the schema.
    Converted,
}

/// How often a type was written in a format that it has no writer for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Downgrade {
    /// Full name of the type.
    pub type_name: String,
    /// Its hash.
    pub schema_hash: u64,
    /// The format.
    pub format: Formats,
    /// How often.
    pub count: u64,
}

/// Counters of downgrades by type and format.
#[derive(Debug, Default)]
pub(super) struct Downgrades(Mutex<HashMap<(String, u64, u32), u64>>);

impl Downgrades {
    /// Counts one; whether it is the first.
    fn count(&self, entry: &TypeEntry, format: Formats) -> bool {
        let key = (entry.type_name.clone(), entry.schema_hash, format.bits());
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(key).or_default();
        *count += 1;
        *count == 1
    }
}

/// The formats of a type, each prepared when first asked for.
#[derive(Default)]
pub(super) struct Transcoders([OnceLock<Arc<dyn Transcoder>>; 3]);

impl fmt::Debug for Transcoders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transcoders").finish_non_exhaustive()
    }
}

impl TypeEntry {
    /// The type in `format`, by its schema.
    ///
    /// # Errors
    /// `FormatUnsupported`, if it has no schema or the format is not one; `SchemaInvalid` for a
    /// type that the format has no names for.
    pub fn transcoder(&self, format: Formats) -> Result<Arc<dyn Transcoder>, Error> {
        check_single(format)?;
        let schema = self.schema.as_ref().ok_or_else(|| unsupported(self, "converts", format))?;
        let slot = &self.transcoders.0[format.bits().trailing_zeros() as usize];
        if let Some(known) = slot.get() {
            return Ok(Arc::clone(known));
        }
        let made = transcoder(schema, format)?;
        Ok(Arc::clone(slot.get_or_init(|| made)))
    }
}

impl Registry {
    /// Writes a value of `entry`'s type in `format`, and says how.
    ///
    /// # Errors
    /// `FormatUnsupported`, if nothing writes that format for this type; what the writer says, if
    /// it fails.
    pub fn serialize(
        &self,
        entry: &TypeEntry,
        format: Formats,
        value: &dyn Any,
    ) -> Result<(Vec<u8>, Rung), Error> {
        check_single(format)?;
        if let Some(value) = value.downcast_ref::<ForeignValue>() {
            return self.serialize_foreign(entry, format, value);
        }
        let writer = entry.writer.ok_or_else(|| unsupported(entry, "writes", format))?;
        let archive = || written(|out| writer(value, out));
        if format == Formats::RKYV {
            return Ok((archive()?, Rung::Own));
        }
        self.converted(entry, format, archive)
    }

    fn serialize_foreign(
        &self,
        entry: &TypeEntry,
        format: Formats,
        value: &ForeignValue,
    ) -> Result<(Vec<u8>, Rung), Error> {
        // Of another type, it would go out under this one's name.
        if !value.is_of(entry.foreign.as_ref()) {
            let message = format!("the value is not one of {}, {}", entry.type_name, entry.origin);
            return Err(Error::new(ErrorKind::SerializeFailed, message));
        }
        if entry.formats.contains(format) {
            return Ok((written(|out| value.write(format, out))?, Rung::Plugin));
        }
        if !entry.formats.contains(Formats::RKYV) {
            return Err(unsupported(entry, "writes", format));
        }
        self.converted(entry, format, || written(|out| value.write(Formats::RKYV, out)))
    }

    fn converted(
        &self,
        entry: &TypeEntry,
        format: Formats,
        archive: impl FnOnce() -> Result<Vec<u8>, Error>,
    ) -> Result<(Vec<u8>, Rung), Error> {
        let transcoder = entry.transcoder(format)?;
        let bytes = transcoder.encode(&archive()?)?;
        self.downgraded(entry, format);
        Ok((bytes, Rung::Converted))
    }

    /// Reads a value of `entry`'s type from `bytes` in `format`, and says how: a value of the Rust
    /// type, or a [`ForeignValue`] if the type is a plugin's.
    ///
    /// # Errors
    /// `FormatUnsupported`, if nothing reads that format for this type; `ArchiveInvalid` and what
    /// else the reader says of the bytes.
    pub fn deserialize(
        &self,
        entry: &TypeEntry,
        format: Formats,
        bytes: &[u8],
    ) -> Result<(Box<dyn Any>, Rung), Error> {
        check_single(format)?;
        let by_plugin = entry.foreign.is_some() && entry.formats.contains(format);
        if by_plugin || format == Formats::RKYV {
            return read(entry, format, bytes);
        }
        let archive = entry.transcoder(format)?.decode(bytes)?;
        let (value, _) = read(entry, Formats::RKYV, &archive)?;
        self.downgraded(entry, format);
        Ok((value, Rung::Converted))
    }

    /// Bytes of `entry`'s type in one format as bytes in another, or in the same, once they have
    /// turned out to be of it.
    ///
    /// # Errors
    /// As [`TypeEntry::transcoder`], and what the formats say of the bytes.
    pub fn transcode(
        &self,
        entry: &TypeEntry,
        from: Formats,
        to: Formats,
        bytes: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let (from, into) = (entry.transcoder(from)?, entry.transcoder(to)?);
        let archive = from.decode(bytes)?;
        if [from.format(), into.format()] == [Formats::RKYV; 2] {
            // Whatever else is made of an archive, or the other way round, is made by reading it.
            entry.transcoder(Formats::JSON)?.encode(&archive)?;
        }
        let result = into.encode(&archive)?;
        for format in [from.format(), into.format()] {
            self.downgraded(entry, format);
        }
        Ok(result)
    }

    /// How often types were written in formats that they have no writer for.
    #[must_use]
    pub fn downgrades(&self) -> Vec<Downgrade> {
        let counts = self.downgrades.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = counts.iter().map(|((name, hash, format), &count)| Downgrade {
            type_name: name.clone(),
            schema_hash: *hash,
            format: Formats::from_bits_truncate(*format),
            count,
        });
        let mut all: Vec<_> = all.collect();
        all.sort_by(|a, b| {
            let key = |it: &Downgrade| (it.type_name.clone(), it.schema_hash, it.format.bits());
            key(a).cmp(&key(b))
        });
        all
    }

    fn downgraded(&self, entry: &TypeEntry, format: Formats) {
        if entry.formats.contains(format) || !self.downgrades.count(entry, format) {
            return;
        }
        log::warn!(
            "{} ({:016x}) has no {format} writer of its own: it is converted by way of an archive",
            entry.type_name,
            entry.schema_hash,
        );
    }
}

/// What a writer writes, given as much room as it takes.
fn written(
    mut write: impl FnMut(&mut [u8]) -> Result<usize, SerializeError>,
) -> Result<Vec<u8>, Error> {
    let mut out = vec![0; ROOM_BYTES];
    loop {
        match write(&mut out) {
            Ok(length) => {
                out.truncate(length);
                return Ok(out);
            }
            Err(SerializeError::BufferTooSmall { required, .. }) if required > out.len() => {
                out.resize(required, 0);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// What a type's own code or its plugin reads, without detours.
fn read(entry: &TypeEntry, format: Formats, bytes: &[u8]) -> Result<(Box<dyn Any>, Rung), Error> {
    if let Some(functions) = &entry.foreign {
        let value = ForeignValue::read(Arc::clone(functions), format, bytes)?;
        return Ok((Box::new(value), Rung::Plugin));
    }
    let reader = entry.reader.ok_or_else(|| unsupported(entry, "reads", format))?;
    if bytes.as_ptr().addr().is_multiple_of(ALIGN_MAX) {
        return Ok((reader(bytes)?, Rung::Own));
    }
    let mut aligned = AlignedVec::<ALIGN_MAX>::new();
    aligned.extend_from_slice(bytes);
    Ok((reader(&aligned)?, Rung::Own))
}

fn check_single(format: Formats) -> Result<(), Error> {
    if format.bits().count_ones() == 1 {
        return Ok(());
    }
    let message = format!("{format:?} is not one format");
    Err(Error::new(ErrorKind::FormatUnsupported, message))
}

fn unsupported(entry: &TypeEntry, what: &str, format: Formats) -> Error {
    let message = format!("nothing {what} {format} for {}, {}", entry.type_name, entry.origin);
    Error::new(ErrorKind::FormatUnsupported, message)
}

#[cfg(test)]
mod tests;
