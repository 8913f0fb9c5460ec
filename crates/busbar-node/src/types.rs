//! The process's registry of types, for JavaScript: descriptors go in and out as JSON. All threads
//! of a process see the same one.

use busbar_types::registry::{Origin, Registry, TypeEntry};
use busbar_types::schema::Schema;
use busbar_types::{Error, ErrorKind};
use napi::bindgen_prelude::{BigInt, Env};
use napi_derive::napi;

use crate::raw;

/// An entry of the registry.
#[napi(object)]
pub struct NativeType {
    /// Full name.
    pub name: String,
    /// XXH64 of the canonical text.
    pub hash: BigInt,
    /// The formats that are written without a fallback, joined by `|`.
    pub formats: String,
    /// Who registered it.
    pub origin: String,
    /// The descriptor as JSON; a plugin may keep it to itself.
    pub descriptor: Option<String>,
}

impl NativeType {
    fn new(entry: &TypeEntry) -> Self {
        Self {
            name: entry.type_name.clone(),
            hash: BigInt::from(entry.schema_hash),
            formats: entry.formats.to_string(),
            origin: entry.origin.to_string(),
            descriptor: entry.schema.as_ref().map(|schema| schema.to_json()),
        }
    }
}

/// Registers the root type of a descriptor; the entry there is, if it was registered before.
///
/// # Errors
/// `ERR_SCHEMA_INVALID`, and `ERR_SCHEMA_MISMATCH` if another version is registered.
#[napi]
pub fn register_type(
    env: Env,
    descriptor: String,
    origin: String,
    allow_versions: bool,
) -> napi::Result<NativeType> {
    let registered = Schema::from_json(&descriptor).and_then(|schema| {
        let entry = TypeEntry::of_schema(schema, Origin::Descriptor(origin));
        Registry::global().register_entry(entry, allow_versions)
    });
    registered.map(|entry| NativeType::new(&entry)).map_err(|error| thrown(env, &error))
}

/// The entry of this name and hash; without a hash, the only one of this name.
///
/// # Errors
/// `ERR_TYPE_NOT_FOUND`, and `ERR_SCHEMA_MISMATCH` if there are several and no hash is given.
#[napi]
pub fn lookup_type(env: Env, name: String, hash: Option<BigInt>) -> napi::Result<NativeType> {
    let registry = Registry::global();
    let versions = registry.versions(&name);
    if hash.is_none() && versions.len() > 1 {
        let hashes: Vec<_> = versions.iter().map(|it| format!("{:016x}", it.schema_hash)).collect();
        let message = format!("{name} has the versions {}: say which", hashes.join(", "));
        return Err(thrown(env, &Error::new(ErrorKind::SchemaMismatch, message)));
    }
    let entry = registry.require(&name, hash.map(|hash| hash.get_u64().1));
    entry.map(|entry| NativeType::new(&entry)).map_err(|error| thrown(env, &error))
}

/// Every entry, by name and hash.
#[napi]
#[must_use]
pub fn list_types() -> Vec<NativeType> {
    Registry::global().entries().iter().map(|entry| NativeType::new(entry)).collect()
}

/// Takes an entry out; whether there was one.
#[napi]
#[must_use]
pub fn unregister_type(name: String, hash: BigInt) -> bool {
    Registry::global().unregister(&name, hash.get_u64().1).is_some()
}

/// Throws an error of `busbar-types`, and says to napi that it was thrown.
fn thrown(env: Env, error: &Error) -> napi::Error {
    raw::throw_coded(env.raw(), error.kind().code(), &error.to_string());
    napi::Error::new(napi::Status::PendingException, "")
}
