//! JSON as a format: archives to JSON values and back, by their schema.
//!
//! Structs are objects, tuples and lists are arrays, enums without data are strings and others
//! `{"kind", "value"}`; options are `null` or the value, `{"some": …}` around options in options;
//! maps are arrays of pairs. Integers beyond 2^53 are strings of digits, a `char` is a string, and
//! `"NaN"`, `"Infinity"` and `"-Infinity"` stand for what JSON has no number. Text is parsed and
//! printed by whoever calls; neither direction trusts what comes in.

mod read;
mod write;

use serde_json::Value;

use crate::archive::build;
use crate::schema::{Kind, Schema};
use crate::{Error, Limits};

#[cfg(test)]
pub(crate) use read::scalar_value;
pub(crate) use write::Source;

/// The value in `archive`, as JSON.
///
/// # Errors
/// `ArchiveInvalid` with the path, if the archive is none of this type or exceeds the limits.
pub fn from_archive(schema: &Schema, limits: Limits, archive: &[u8]) -> Result<Value, Error> {
    read::read(schema, limits, archive)
}

/// The archive of `value`: as rkyv writes it, except for the order in hash maps. Copy it to where
/// the type's alignment is kept before accessing it in Rust.
///
/// Members that the type does not have are ignored. Those that are missing take their default, or
/// are `None`; former names of fields are understood. So JSON of other versions of a type reads by
/// the same rules as their archives.
///
/// # Errors
/// `ArchiveInvalid` with the path, if the value does not fit the type; `SchemaVariant` for a
/// variant that the enum does not have, if it has no default; `SerializeFailed` beyond the limits;
/// `FormatUnsupported` for hash maps with such keys that it is not known how they hash.
pub fn to_archive(schema: &Schema, limits: Limits, value: &Value) -> Result<Vec<u8>, Error> {
    build(schema, limits, &Source, value)
}

/// Whether `null` is among the values of `kind`, so that an option of it needs a wrapper.
pub(crate) fn is_nullable(kind: &Kind) -> bool {
    match kind {
        Kind::Box(elem) => is_nullable(&elem.kind),
        kind => matches!(kind, Kind::Option(_) | Kind::Unit),
    }
}

/// An integer: a number up to 2^53, and beyond that a string, so that no reader rounds it.
pub(crate) fn integer(is_negative: bool, magnitude: u128) -> Value {
    const SAFE_MAX: u128 = (1 << 53) - 1;
    match i64::try_from(magnitude) {
        Ok(value) if magnitude <= SAFE_MAX => Value::from(if is_negative { -value } else { value }),
        _ => format!("{}{magnitude}", if is_negative { "-" } else { "" }).into(),
    }
}

#[cfg(test)]
mod tests;
