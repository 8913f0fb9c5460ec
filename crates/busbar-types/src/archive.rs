//! Writing and reading archives of derived types: the [`Type`] trait, the writer into a caller's
//! memory, and checked access. Bytes go where the caller says; nothing is kept.
//!
//! What reads and writes archives of types that are only known by their schema is in `source` and
//! `build`.

mod build;
mod empties;
mod limits;
mod scratch;
mod source;
mod target;

use std::fmt;
use std::num::NonZeroUsize;

use rkyv::api::access_with_context;
use rkyv::api::high::HighValidator;
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::{BoxedError, Strategy};
use rkyv::ser::Serializer;
use rkyv::validation::Validator;
use rkyv::validation::archive::ArchiveValidator;
use rkyv::validation::shared::SharedValidator;
use rkyv::{Archive, Deserialize, Portable, Serialize};

pub use self::limits::{DEPTH_MAX, Limits};
use self::scratch::{STACK_BYTES, StackScratch};
pub(crate) use self::{
    build::{Values, build, build_place},
    limits::Depth,
    source::{Archived, Entry, Run, broken, check_bits, count, is_any_bits, unknown_variant, utf8},
};
#[doc(hidden)]
pub use self::{scratch::Scratch, target::Target};
use crate::describe::{Describe, TypeDesc};
use crate::schema::Schema;
use crate::{Error, ErrorKind};

/// What values serialize into. An implementation detail that bounds must name.
#[doc(hidden)]
pub type ArchiveWriter<'a> = Strategy<Serializer<Target<'a>, Scratch<'a>, ()>, BoxedError>;

/// What archives deserialize with. An implementation detail that bounds must name.
#[doc(hidden)]
pub type ArchiveReader = Strategy<(), BoxedError>;

/// Why a value could not be written.
#[derive(Debug)]
#[non_exhaustive]
pub enum SerializeError {
    /// The target has too little room. Nothing was written beyond it.
    BufferTooSmall {
        /// How many bytes the value takes.
        required: usize,
        /// How many there were.
        available: usize,
    },
    /// The value cannot be archived, or a plugin's writer failed.
    Failed {
        /// What is wrong with it.
        message: String,
    },
    /// The value handed to an untyped writer is not of the writer's type.
    WrongType {
        /// The type the writer is for.
        expected: &'static str,
    },
}

impl fmt::Display for SerializeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BufferTooSmall { required, available } => {
                write!(f, "the value takes {required} bytes, but the buffer has {available}")
            }
            Self::Failed { message } => f.pad(message),
            Self::WrongType { expected } => write!(f, "the value is not of the type {expected}"),
        }
    }
}

impl std::error::Error for SerializeError {}

impl From<SerializeError> for Error {
    fn from(error: SerializeError) -> Self {
        let kind = match error {
            SerializeError::BufferTooSmall { .. } => ErrorKind::BufferTooSmall,
            SerializeError::Failed { .. } | SerializeError::WrongType { .. } => {
                ErrorKind::SerializeFailed
            }
        };
        Self::new(kind, error.to_string()).with_source(error)
    }
}

/// A type that can be sent: derived, never implemented by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a busbar type",
    note = "add `#[derive(busbar_types::Type)]` to its declaration"
)]
pub trait Type:
    Describe<InArchive = <Self as Archive>::Archived>
    + Archive<
        Archived: Portable
                      + for<'a> CheckBytes<HighValidator<'a, BoxedError>>
                      + Deserialize<Self, ArchiveReader>,
    > + for<'a> Serialize<ArchiveWriter<'a>>
    + Sized
    + 'static
{
    /// Full name, such as `market.Order`.
    const NAME: &'static str;
    /// The description of the type and its layout.
    const DESC: &'static TypeDesc;
    /// XXH64 of the canonical text.
    const SCHEMA_HASH: u64 = Self::DESC.hash;
    /// What else the declaration asks for by `generate(…)`.
    const GENERATE: Generate = Generate::NONE;

    /// The canonical text.
    #[must_use]
    fn schema_text() -> &'static str {
        Self::DESC.text
    }

    /// The owned description, with all types it mentions.
    ///
    /// # Errors
    /// `SchemaInvalid` if two different types in it have the same name.
    fn schema() -> Result<Schema, Error> {
        Self::DESC.to_schema()
    }

    /// Writes the archive to the start of `out` and says how many bytes it takes. The address of
    /// `out` may be odd; readers in place need it aligned.
    ///
    /// Does not allocate, except that lists of more than a hundred or so non-`Copy` elements
    /// borrow working memory that the thread keeps for the next time.
    ///
    /// # Errors
    /// `BufferTooSmall` with the size it takes: what lies in `out` is then undefined.
    /// `Failed` for a value beyond what the format can hold.
    #[inline]
    fn write_to_buffer(&self, out: &mut [u8]) -> Result<usize, SerializeError> {
        write(self, Target::new(out))
    }

    /// As [`Self::write_to_buffer`], into memory that may be uninitialized.
    ///
    /// # Errors
    /// As [`Self::write_to_buffer`].
    ///
    /// # Safety
    /// 1. `out` must be valid for writes of `available` bytes for the duration of the call.
    /// 2. Nothing else may read or write them meanwhile.
    #[inline]
    unsafe fn write_to_ptr(&self, out: *mut u8, available: usize) -> Result<usize, SerializeError> {
        // SAFETY: 1. and 2. are what `from_raw` asks for.
        write(self, unsafe { Target::from_raw(out, available) })
    }

    /// Size of the archive, found by writing it nowhere.
    ///
    /// # Errors
    /// `Failed` for a value beyond what the format can hold.
    fn archived_size(&self) -> Result<usize, SerializeError> {
        match self.write_to_buffer(&mut []) {
            Err(SerializeError::BufferTooSmall { required, .. }) => Ok(required),
            other => other,
        }
    }
}

/// What a declaration asks to be generated besides the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Generate {
    /// Cap'n Proto text and bytes.
    pub capnp: bool,
    /// JSON.
    pub json: bool,
    /// TypeScript.
    pub ts: bool,
}

impl Generate {
    /// Nothing.
    pub const NONE: Self = Self::new(false, false, false);

    /// Each as said.
    #[must_use]
    pub const fn new(capnp: bool, json: bool, ts: bool) -> Self {
        Self { capnp, json, ts }
    }
}

/// What all forms of writing come down to.
fn write<T: Type>(value: &T, target: Target<'_>) -> Result<usize, SerializeError> {
    let available = target.available();
    let mut stack = StackScratch::uninit();
    let mut serializer = Serializer::new(target, Scratch::new(&mut stack), ());
    let root = rkyv::api::serialize_using::<_, BoxedError>(value, &mut serializer);
    let required = serializer.writer.written();
    match root {
        Err(error) => Err(failed(&error)),
        Ok(_) if required > available => {
            Err(SerializeError::BufferTooSmall { required, available })
        }
        Ok(_) => Ok(required),
    }
}

#[cold]
fn failed(error: &BoxedError) -> SerializeError {
    SerializeError::Failed { message: error.to_string() }
}

/// The archive in `bytes`, checked: whatever the bytes are, the result is safe to use, and neither
/// checking nor reading it takes more stack or time than its size and its type explain.
///
/// # Errors
/// `ArchiveInvalid` if the bytes are no archive of `T`, their address is not aligned for it, values
/// lie behind more than [`DEPTH_MAX`] pointers, or a list has more than 4096 values of no bytes.
#[inline]
pub fn access<T: Type>(bytes: &[u8]) -> Result<&<T as Archive>::Archived, Error> {
    if const { empties::may_be_endless(T::DESC) } {
        empties::check(T::DESC, bytes).map_err(|error| error.at(T::NAME))?;
    }
    // Counted are those that it may still enter, of which the root is one, and the last is refused.
    const LEVELS: NonZeroUsize = NonZeroUsize::new(DEPTH_MAX as usize + 2).expect("not 0");
    let archive = ArchiveValidator::with_max_depth(bytes, Some(LEVELS));
    let mut validator = Validator::new(archive, SharedValidator::new());
    access_with_context::<<T as Archive>::Archived, _, BoxedError>(bytes, &mut validator)
        .map_err(|error| invalid::<T>(&error))
}

/// The archive in `bytes`, unchecked.
///
/// # Safety
/// 1. `bytes` must be an archive of `T`, whole and unchanged, as [`Type::write_to_buffer`] wrote it
///    or [`access`] accepted it.
/// 2. Its address must be aligned for `T`.
#[must_use]
pub unsafe fn access_unchecked<T: Type>(bytes: &[u8]) -> &<T as Archive>::Archived {
    // SAFETY: 1. and 2. are what rkyv asks for.
    unsafe { rkyv::access_unchecked(bytes) }
}

/// The value in an archive.
///
/// # Errors
/// `ArchiveInvalid` as [`access`]. What `T` can hold and [`Type::write_to_buffer`] writes may be
/// nested deeper than what is read.
#[inline]
pub fn read<T: Type>(bytes: &[u8]) -> Result<T, Error> {
    let archived = access::<T>(bytes)?;
    rkyv::api::deserialize_using::<T, (), BoxedError>(archived, &mut ())
        .map_err(|error| invalid::<T>(&error))
}

#[cold]
fn invalid<T: Type>(error: &BoxedError) -> Error {
    // rkyv keeps this reason to its traces, which only `Debug` shows.
    let message = if format!("{error:?}").contains("ExceededMaximumSubtreeDepth") {
        format!("the archive is nested more than {DEPTH_MAX} pointers deep")
    } else {
        format!("the bytes are no archive: {error}")
    };
    Error::new(ErrorKind::ArchiveInvalid, message).at(T::NAME)
}

const _: () = assert!(STACK_BYTES >= 1024, "what write_to_buffer promises of allocations");

#[cfg(test)]
mod tests;
