//! The conflict of two versions of a type in one registry, as data and as a sentence.

use std::fmt;

use super::{Origin, TypeEntry};
use crate::compare::compare;
use crate::{Error, ErrorKind};

/// Two versions of a type that were not allowed to coexist.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mismatch {
    /// The name of both.
    pub type_name: String,
    /// The hash of the registered version.
    pub existing_hash: u64,
    /// Who registered it.
    pub existing_origin: Origin,
    /// The hash of the refused version: another, unless all that differs is mentioned by name only.
    pub offered_hash: u64,
    /// Who offered it.
    pub offered_origin: Origin,
    /// Where they first differ, as `Order.tags[]: str → u32`; `None` if a plugin keeps its schema
    /// to itself.
    pub first_difference: Option<String>,
}

impl Mismatch {
    pub(super) fn new(existing: &TypeEntry, offered: &TypeEntry) -> Self {
        let comparison = match (&existing.schema, &offered.schema) {
            (Some(existing), Some(offered)) => {
                compare(offered, existing).reasons.into_iter().next()
            }
            _ => None,
        };
        Self {
            type_name: existing.type_name.clone(),
            existing_hash: existing.schema_hash,
            existing_origin: existing.origin.clone(),
            offered_hash: offered.schema_hash,
            offered_origin: offered.origin.clone(),
            first_difference: comparison,
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is registered as {:016x}, {}, and cannot also be {:016x}, {}",
            self.type_name,
            self.existing_hash,
            self.existing_origin,
            self.offered_hash,
            self.offered_origin
        )?;
        if self.existing_hash == self.offered_hash {
            f.write_str("; types that it mentions by name only are others")?;
        }
        match &self.first_difference {
            Some(difference) => write!(f, "; first difference: {difference}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Mismatch {}

impl From<Mismatch> for Error {
    fn from(mismatch: Mismatch) -> Self {
        Self::new(ErrorKind::SchemaMismatch, mismatch.to_string()).with_source(mismatch)
    }
}
