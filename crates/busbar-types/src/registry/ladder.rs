//! Values of registered types in the format that somebody asks for: by the best way there is. Each
//! rung that is missing is a step down to a slower one, which is counted and told once.
//!
//! ```text
//! writer     the type's own, straight into an archive      RKYV
//! plugin     the functions of the library it came from     whatever they say
//! converted  an archive, made into the format by schema    all, if the type is described
//! ```

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::{ForeignValue, Registry, TypeEntry};
use crate::format::Formats;
use crate::transcode::{Transcoder, transcoder};
use crate::{Error, ErrorKind, SerializeError};

/// Room that a value is given at first.
const ROOM_BYTES: usize = 256;

/// The way a value was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rung {
    /// By the type's own writer.
    Writer,
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
        let (Some(schema), 1) = (&self.schema, format.bits().count_ones()) else {
            return Err(unsupported(self, format));
        };
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
        let foreign = value.downcast_ref::<ForeignValue>();
        let own = entry.writer.filter(|_| format == Formats::RKYV && foreign.is_none());
        if let Some(writer) = own {
            return Ok((written(|out| writer(value, out))?, Rung::Writer));
        }
        if let Some(value) = foreign.filter(|_| entry.formats.contains(format)) {
            return Ok((written(|out| value.write(format, out))?, Rung::Plugin));
        }
        let Some(writer) = entry.writer.filter(|_| entry.schema.is_some()) else {
            return Err(unsupported(entry, format));
        };
        let transcoder = entry.transcoder(format)?;
        let archive = written(|out| writer(value, out))?;
        self.downgraded(entry, format);
        Ok((transcoder.encode(&archive)?, Rung::Converted))
    }

    /// Bytes of `entry`'s type in one format as bytes in another.
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
        let result = into.encode(&from.decode(bytes)?)?;
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

fn unsupported(entry: &TypeEntry, format: Formats) -> Error {
    let message = format!("nothing writes {format} for {}, {}", entry.type_name, entry.origin);
    Error::new(ErrorKind::FormatUnsupported, message)
}

#[cfg(test)]
mod tests;
