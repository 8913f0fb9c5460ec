//! Types of libraries, as entries of the registry.

use std::ffi::c_void;
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};

use busbar_abi::{Buf, Slice, Status, TypeDescriptor};
use busbar_types::format::Formats;
use busbar_types::registry::{ForeignFunctions, Origin, TypeEntry};
use busbar_types::schema::{Schema, hash_of};
use busbar_types::{Error as TypeError, ErrorKind as TypeErrorKind, SerializeError};

use crate::contract::{bad, text};
use crate::image::Image;
use crate::{ErrorKind, Result};

/// The functions of one type.
struct PluginType {
    name: String,
    descriptor: TypeDescriptor,
    /// Legacy libraries say nothing of threads: one call at a time.
    serial: Option<Mutex<()>>,
    /// What the functions are in; none for those compiled in.
    _image: Option<Arc<Image>>,
}

/// The entries of a library's types. Nothing is registered yet.
///
/// # Errors
/// `SchemaInvalid` for a type whose hash is not that of its text or descriptor.
///
/// # Safety
/// The descriptors are those of `image`, by the contract.
pub(crate) unsafe fn entries(
    types: Vec<(String, TypeDescriptor)>,
    schemas: &[Schema],
    image: Option<&Arc<Image>>,
    origin: &str,
    is_legacy: bool,
) -> Result<Vec<Arc<TypeEntry>>> {
    let mut entries = Vec::with_capacity(types.len());
    for (name, descriptor) in types {
        // SAFETY: as the caller promises.
        unsafe { check_text(&name, &descriptor) }?;
        let functions = PluginType {
            name: name.clone(),
            descriptor,
            serial: is_legacy.then(Mutex::default),
            _image: image.cloned(),
        };
        let formats = Formats::from_bits_truncate(descriptor.formats);
        let functions: Arc<dyn ForeignFunctions> = Arc::new(functions);
        let hash = descriptor.schema_hash;
        let mut entry = TypeEntry::of_plugin(&*name, hash, formats, functions, origin);
        if let Some(schema) = schemas.iter().find(|schema| schema.root().name == name) {
            entry = entry.with_schema(schema.clone()).map_err(lying)?;
        }
        entries.push(Arc::new(entry));
    }
    for schema in schemas {
        let root = schema.root();
        if !entries.iter().any(|entry| entry.type_name == root.name) {
            let origin = Origin::Plugin(origin.to_owned());
            entries.push(Arc::new(TypeEntry::of_schema(schema.clone(), origin)));
        }
    }
    Ok(entries)
}

/// # Safety
/// As [`entries`].
unsafe fn check_text(name: &str, descriptor: &TypeDescriptor) -> Result<()> {
    let Some(get) = descriptor.get_schema_text else { return Ok(()) };
    // SAFETY: as the caller promises.
    let schema = unsafe { get(descriptor.ctx) };
    if schema.is_null() {
        return Ok(());
    }
    // SAFETY: as the caller promises.
    let schema = unsafe { text(schema, &format!("the schema text of {name}")) }?;
    let real = hash_of(schema.as_bytes());
    if real == descriptor.schema_hash {
        return Ok(());
    }
    let said = descriptor.schema_hash;
    let message = format!(
        "the type {name} says to have the hash {said:016x}, but that of its text is {real:016x}"
    );
    Err(bad(ErrorKind::SchemaInvalid, message))
}

fn lying(error: TypeError) -> crate::Error {
    bad(ErrorKind::SchemaInvalid, error.to_string()).with_source(error)
}

impl PluginType {
    fn serially<T>(&self, work: impl FnOnce() -> T) -> T {
        let serial = self.serial.as_ref();
        let _one = serial.map(|lock| lock.lock().unwrap_or_else(PoisonError::into_inner));
        work()
    }

    fn failed(&self, status: Status) -> SerializeError {
        SerializeError::Failed {
            message: format!("the plugin's writer of {}: {status}", self.name),
        }
    }
}

impl ForeignFunctions for PluginType {
    unsafe fn serialize_into(
        &self,
        value: *const (),
        format: Formats,
        out: &mut [u8],
    ) -> Result<usize, SerializeError> {
        let Self { descriptor, .. } = self;
        if let Some(encode) = descriptor.encode {
            let mut buf = Buf::new(out);
            let ctx = descriptor.ctx;
            // SAFETY: by the contract; `value` is what the caller promises.
            let status = unsafe { encode(ctx, format.bits(), value.cast(), &raw mut buf) };
            return match status {
                Status::OK => Ok(buf.len),
                Status::BUFFER_TOO_SMALL => {
                    Err(SerializeError::BufferTooSmall { required: buf.len, available: out.len() })
                }
                other => Err(self.failed(other)),
            };
        }
        let Some(serialize) = descriptor.serialize_into else {
            return Err(self.failed(Status::UNSUPPORTED));
        };
        if format.bits() & descriptor.formats == 0 {
            return Err(self.failed(Status::UNSUPPORTED));
        }
        let (room, length) = (out.as_mut_ptr(), out.len());
        let written = self.serially(|| {
            // SAFETY: by the contract; `value` is what the caller promises.
            unsafe { serialize(descriptor.ctx, value.cast(), room, length) }
        });
        if written > 0 {
            return Ok(written);
        }
        let message = format!(
            "the plugin's writer of {} gives 0: it failed, or {length} bytes are too few",
            self.name
        );
        Err(SerializeError::Failed { message })
    }

    fn deserialize(&self, format: Formats, bytes: &[u8]) -> Result<*const (), TypeError> {
        let unsupported = || {
            let message = format!("the plugin does not read {format}");
            TypeError::new(TypeErrorKind::FormatUnsupported, message).at(self.name.clone())
        };
        let decode = self.descriptor.decode.ok_or_else(unsupported)?;
        let mut value: *mut c_void = ptr::null_mut();
        let (ctx, input) = (self.descriptor.ctx, Slice::new(bytes));
        // SAFETY: by the contract; `value` can be written.
        match unsafe { decode(ctx, format.bits(), input, &raw mut value) } {
            Status::OK if !value.is_null() => Ok(value.cast_const().cast()),
            Status::UNSUPPORTED => Err(unsupported()),
            status => {
                let message = format!("the plugin does not read it: {status}");
                Err(TypeError::new(TypeErrorKind::ArchiveInvalid, message).at(self.name.clone()))
            }
        }
    }

    unsafe fn drop_value(&self, value: *const ()) {
        if let Some(drop_value) = self.descriptor.drop_value {
            // SAFETY: by the contract; `value` is what the caller promises.
            unsafe { drop_value(self.descriptor.ctx, value.cast_mut().cast()) };
        }
    }
}

impl Drop for PluginType {
    fn drop(&mut self) {
        if let Some(ctx_drop) = self.descriptor.ctx_drop {
            // SAFETY: by the contract: once, after the last use.
            unsafe { ctx_drop(self.descriptor.ctx) };
        }
    }
}
