//! The formats behind one trait. What they have in common is the archive: every format can be made
//! of one, and gives one back, by the schema alone.

use std::fmt::Debug;
use std::sync::Arc;

use crate::capnp::Capnp;
use crate::format::Formats;
use crate::schema::Schema;
use crate::{Error, ErrorKind, Limits, json};

/// A type in one format: archives in, bytes of the format out, and back.
pub trait Transcoder: Debug + Send + Sync {
    /// Which format it is.
    fn format(&self) -> Formats;

    /// The bytes of the value in `archive`, which need not be aligned.
    ///
    /// # Errors
    /// `ArchiveInvalid` with the path, if the archive is none of the type; `SerializeFailed` for a
    /// value that the format cannot hold.
    fn encode(&self, archive: &[u8]) -> Result<Vec<u8>, Error>;

    /// The archive of the value in `bytes`.
    ///
    /// # Errors
    /// `ArchiveInvalid` with the path, if they are none of the type; `SchemaVariant` for a variant
    /// of a newer version.
    fn decode(&self, bytes: &[u8]) -> Result<Vec<u8>, Error>;
}

/// The type that `schema` describes, in `format`.
///
/// # Errors
/// `FormatUnsupported` for a set of formats that is not one; `SchemaInvalid` for a type that the
/// format has no names or no room for.
pub fn transcoder(schema: &Arc<Schema>, format: Formats) -> Result<Arc<dyn Transcoder>, Error> {
    match format {
        Formats::RKYV => Ok(Arc::new(Rkyv)),
        Formats::CAPNP => Ok(Arc::new(Capnp::new(schema)?)),
        Formats::JSON => Ok(Arc::new(Json { schema: Arc::clone(schema) })),
        other => {
            let message = format!("{other:?} is not one format");
            Err(Error::new(ErrorKind::FormatUnsupported, message))
        }
    }
}

/// Archives are what they are.
#[derive(Debug)]
struct Rkyv;

impl Transcoder for Rkyv {
    fn format(&self) -> Formats {
        Formats::RKYV
    }

    fn encode(&self, archive: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(archive.to_vec())
    }

    fn decode(&self, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(bytes.to_vec())
    }
}

impl Transcoder for Capnp {
    fn format(&self) -> Formats {
        Formats::CAPNP
    }

    fn encode(&self, archive: &[u8]) -> Result<Vec<u8>, Error> {
        Self::encode(self, archive)
    }

    fn decode(&self, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        Self::decode(self, bytes)
    }
}

#[derive(Debug)]
struct Json {
    schema: Arc<Schema>,
}

impl Transcoder for Json {
    fn format(&self) -> Formats {
        Formats::JSON
    }

    fn encode(&self, archive: &[u8]) -> Result<Vec<u8>, Error> {
        let value = json::from_archive(&self.schema, Limits::default(), archive)?;
        serde_json::to_vec(&value)
            .map_err(|error| Error::new(ErrorKind::SerializeFailed, error.to_string()))
    }

    fn decode(&self, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        let value = serde_json::from_slice(bytes)
            .map_err(|error| Error::new(ErrorKind::ArchiveInvalid, error.to_string()))?;
        json::to_archive(&self.schema, Limits::default(), &value)
    }
}
