//! The process's registry of types, for JavaScript: descriptors go in and out as JSON. All threads
//! of a process see the same one.

use std::path::Path;
use std::sync::Arc;

use busbar_types::capnp::Capnp;
use busbar_types::format::Formats;
use busbar_types::registry::{Origin, Registry, TypeEntry};
use busbar_types::schema::Schema;
use busbar_types::{Error, ErrorKind};
use napi::bindgen_prelude::{BigInt, Buffer, Env};
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
#[napi(catch_unwind)]
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
    find(env, &name, hash).map(|entry| NativeType::new(&entry))
}

/// Registers the types that a library exports. Its code runs, and stays loaded for ever.
///
/// # Errors
/// `ERR_NOT_FOUND`, `ERR_IO`, `ERR_TYPE_NOT_FOUND`, `ERR_SCHEMA_INVALID`, `ERR_SCHEMA_MISMATCH`.
#[napi(catch_unwind)]
pub fn load_types(env: Env, path: String, allow_versions: bool) -> napi::Result<Vec<NativeType>> {
    // SAFETY: whoever names a library trusts it: its code runs with the rights of the process.
    let entries = unsafe { Registry::global().load(Path::new(&path), allow_versions) };
    let entries = entries.map_err(|error| thrown(env, &error))?;
    Ok(entries.iter().map(|entry| NativeType::new(entry)).collect())
}

/// The descriptors of the types that a library exports, as JSON.
///
/// # Errors
/// As [`load_types`].
#[napi(catch_unwind)]
pub fn describe_library(env: Env, path: String) -> napi::Result<Vec<String>> {
    // SAFETY: as above.
    let schemas = unsafe { busbar_types::library::describe_library(&path) };
    let schemas = schemas.map_err(|error| thrown(env, &error))?;
    Ok(schemas.iter().map(|schema| schema.to_json()).collect())
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

/// Bytes of a registered type in one format as bytes in another.
///
/// # Errors
/// As [`lookup_type`], `ERR_FORMAT_UNSUPPORTED`, and what the formats say of the bytes.
#[napi(catch_unwind)]
pub fn convert_type(
    env: Env,
    name: String,
    hash: Option<BigInt>,
    formats: (String, String),
    bytes: &[u8],
) -> napi::Result<Buffer> {
    let entry = find(env, &name, hash)?;
    let formats = Formats::named(&formats.0).zip(Formats::named(&formats.1));
    let (from, to) = formats.unwrap_or((Formats::NONE, Formats::NONE));
    let converted = Registry::global().transcode(&entry, from, to, bytes);
    converted.map(Buffer::from).map_err(|error| thrown(env, &error))
}

/// A format that types were written in by conversion, for want of a writer.
#[napi(object)]
pub struct NativeDowngrade {
    /// Full name of the type.
    pub name: String,
    /// Its hash.
    pub hash: BigInt,
    /// The format.
    pub format: String,
    /// How often.
    pub count: f64,
}

/// How often types were written in formats that they have no writer for.
#[napi]
#[must_use]
pub fn list_downgrades() -> Vec<NativeDowngrade> {
    let downgrades = Registry::global().downgrades().into_iter();
    let all = downgrades.map(|it| NativeDowngrade {
        name: it.type_name,
        hash: BigInt::from(it.schema_hash),
        format: it.format.to_string(),
        #[expect(clippy::cast_precision_loss, reason = "nobody counts to 2^53")]
        count: it.count as f64,
    });
    all.collect()
}

/// The Cap'n Proto schema of a descriptor's root type and all that it mentions.
///
/// # Errors
/// `ERR_SCHEMA_INVALID`.
#[napi(catch_unwind)]
pub fn capnp_text(env: Env, descriptor: String) -> napi::Result<String> {
    let capnp = Schema::from_json(&descriptor).and_then(|schema| Capnp::new(&schema));
    capnp.map(|capnp| capnp.text()).map_err(|error| thrown(env, &error))
}

fn find(env: Env, name: &str, hash: Option<BigInt>) -> napi::Result<Arc<TypeEntry>> {
    let registry = Registry::global();
    let versions = registry.versions(name);
    if hash.is_none() && versions.len() > 1 {
        let hashes: Vec<_> = versions.iter().map(|it| format!("{:016x}", it.schema_hash)).collect();
        let message = format!("{name} has the versions {}: say which", hashes.join(", "));
        return Err(thrown(env, &Error::new(ErrorKind::SchemaMismatch, message)));
    }
    let entry = registry.require(name, hash.map(|hash| hash.get_u64().1));
    entry.map_err(|error| thrown(env, &error))
}

/// Throws an error of `busbar-types`, and says to napi that it was thrown.
pub(crate) fn thrown(env: Env, error: &Error) -> napi::Error {
    raw::throw_coded(env.raw(), error.kind().code(), &error.to_string());
    napi::Error::new(napi::Status::PendingException, "")
}
