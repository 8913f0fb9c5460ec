//! Cap'n Proto for any type that has a [`Schema`]: its schema text, and its messages made straight
//! from archives and read back into archives or JSON. No generated code and no compiler is needed.
//!
//! | Rust | Cap'n Proto |
//! |---|---|
//! | integers, floats, `bool` | the same |
//! | `u128`, `i128` | a group (in lists a struct) of two words, `low` and `high` |
//! | `char` | `UInt32` |
//! | `()` | `Void` |
//! | `String`, `Box<str>` | `Text` |
//! | `Vec<u8>`, `Box<[u8]>`, `[u8; N]` | `Data` |
//! | `Vec<T>`, `Box<[T]>`, `[T; N]` | `List(T)` |
//! | `Box<T>` | as `T` |
//! | `Option<T>` | `union { none :Void; some :T; }` (in lists and options a struct with it) |
//! | tuple | a struct with the fields `f0`, `f1`, … |
//! | `HashMap<K, V>`, `BTreeMap<K, V>` | `List` of structs with `key` and `value` |
//! | struct | a struct; ordinals are the order of declaration |
//! | enum without data | an enum; as the root of a message, with a struct around it |
//! | enum with data | a struct with a union of `Void`s and groups |
//!
//! Type ids are XXH64 of the full name with the highest bit set: they outlast changes of a type.
//! Without breaking readers in Cap'n Proto, a type may append fields to a struct and variants to an
//! enum; fields appended to any but the last variant move what follows. An absent field reads as
//! zero, empty or none, as in Cap'n Proto; defaults of the schema are for archives. Archives and
//! messages may come from anybody: every reference is checked, and [`Limits`] bound depth, size and
//! work.

mod decode;
mod layout;
mod message;
mod names;
mod plan;
mod text;
mod write;

use std::borrow::Cow;

use serde_json::Value;

use self::plan::Plan;
use self::write::Target;
pub use crate::Limits;
use crate::schema::Schema;
use crate::{Error, ErrorKind, json};

/// The unit of Cap'n Proto.
const WORD: usize = 8;

/// A type in Cap'n Proto. Made once, used for any number of messages. Immutable.
///
/// ```
/// # use busbar_types::schema::{Field, Kind, Scalar, Schema, Shape, TypeSchema};
/// # use busbar_types::capnp::Capnp;
/// let fields = vec![Field::new("user_id", Kind::Scalar(Scalar::U32))];
/// let tick = TypeSchema::new_struct("market.Tick", Shape::Named, fields);
/// let capnp = Capnp::new(&Schema::new("market.Tick", [tick])?)?;
/// assert!(capnp.text().contains("userId @0 :UInt32;"));
/// let message = capnp.encode(&7_u32.to_le_bytes())?;
/// assert_eq!(capnp.decode(&message)?, 7_u32.to_le_bytes());
/// assert_eq!(capnp.to_json(&message)?["user_id"], 7);
/// # Ok::<(), busbar_types::Error>(())
/// ```
#[derive(Debug)]
pub struct Capnp {
    schema: Schema,
    plan: Plan,
    limits: Limits,
}

impl Capnp {
    /// The root of `schema` and everything in it.
    ///
    /// # Errors
    /// `SchemaInvalid` with the path, if names are not ASCII or two of them become the same, or a
    /// type has more fields than a struct in Cap'n Proto can have.
    pub fn new(schema: &Schema) -> Result<Self, Error> {
        let plan = Plan::new(schema)?;
        Ok(Self { schema: schema.clone(), plan, limits: Limits::default() })
    }

    /// The same with other limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The schema as text, for the `capnp` tool and the generators of other languages.
    #[must_use]
    pub fn text(&self) -> String {
        text::print(&self.schema, &self.plan)
    }

    /// What messages hold, by its name in [`Self::text`].
    #[must_use]
    pub fn root_name(&self) -> &str {
        &self.plan.node(self.plan.root).name
    }

    /// The id of the type that messages hold.
    #[must_use]
    pub fn root_id(&self) -> u64 {
        self.plan.node(self.plan.root).id
    }

    /// The message with the value in `archive`, as one segment in stream framing.
    ///
    /// # Errors
    /// `ArchiveInvalid` with the path, if the archive is none of this type; `SerializeFailed`, if
    /// the message would exceed the limits.
    pub fn encode(&self, archive: &[u8]) -> Result<Vec<u8>, Error> {
        let room = archive.len().saturating_mul(2).min(self.limits.bytes_max);
        match self.write(archive, Target::Grow(Vec::with_capacity(room)))? {
            (Target::Grow(message), _) => Ok(message),
            (Target::Fixed { .. }, _) => unreachable!("invariant: targets come back as given"),
        }
    }

    /// Writes the message with the value in `archive` into `out`, without allocating for it, and
    /// returns how many bytes it takes.
    ///
    /// # Errors
    /// As [`Self::encode`], and `BufferTooSmall`, which says what it takes; `out` then holds
    /// nothing of use.
    pub fn encode_into(&self, archive: &[u8], out: &mut [u8]) -> Result<usize, Error> {
        let available = out.len();
        let (_, required) = self.write(archive, Target::Fixed { out, used: 0 })?;
        if required > available {
            let message = format!("the message takes {required} bytes, there are {available}");
            return Err(Error::new(ErrorKind::BufferTooSmall, message));
        }
        Ok(required)
    }

    /// The archive of the value in `message`: as rkyv writes it, except for the order in hash
    /// maps. Copy it to where the type's alignment is kept before accessing it in Rust.
    ///
    /// # Errors
    /// `ArchiveInvalid` with the path, if the message is none of this type; `SchemaVariant`, if it
    /// has a variant of a newer version and the enum has no default; `SerializeFailed`, if the
    /// archive would exceed the limits; `FormatUnsupported` for hash maps with such keys that it is
    /// not known how they hash.
    pub fn decode(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        decode::decode(&self.plan, &self.schema, self.limits, message)
    }

    /// The value in `message` as JSON, in the form that [`crate::json`] describes.
    ///
    /// # Errors
    /// As [`Self::decode`], and `ArchiveInvalid` for more values than the limits allow.
    pub fn to_json(&self, message: &[u8]) -> Result<Value, Error> {
        self.archive_to_json(&self.decode(message)?)
    }

    /// The value in `archive` as JSON, as [`Self::to_json`] has it.
    ///
    /// # Errors
    /// `ArchiveInvalid` with the path, if the archive is none of this type or exceeds the limits.
    pub fn archive_to_json(&self, archive: &[u8]) -> Result<Value, Error> {
        json::from_archive(&self.schema, self.limits, archive)
    }

    /// The message with the value in `json`, which has the form of [`Self::to_json`].
    ///
    /// # Errors
    /// As [`Self::json_to_archive`] and [`Self::encode`].
    pub fn from_json(&self, json: &Value) -> Result<Vec<u8>, Error> {
        self.encode(&self.json_to_archive(json)?)
    }

    /// The archive of the value in `json`, which has the form of [`Self::to_json`].
    ///
    /// # Errors
    /// As [`json::to_archive`].
    pub fn json_to_archive(&self, json: &Value) -> Result<Vec<u8>, Error> {
        json::to_archive(&self.schema, self.limits, json)
    }

    fn write<'o>(&self, archive: &[u8], out: Target<'o>) -> Result<(Target<'o>, usize), Error> {
        let root = self.schema.root();
        write::write(&self.plan, root.size_bytes, self.limits, archive, out)
            .map_err(|error| crate::schema::prefix(&root.name, error))
    }
}

fn invalid(message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::SchemaInvalid, message)
}

fn too_large(bytes_max: usize) -> Error {
    let message = format!("the message would exceed the limit of {bytes_max} bytes");
    Error::new(ErrorKind::SerializeFailed, message)
}

#[cfg(test)]
mod tests;
