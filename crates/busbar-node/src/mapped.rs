//! Mapped files for JavaScript: the archive as an `ArrayBuffer` over the file's pages. JavaScript
//! cannot be kept from writing to it, so the pages are copied when it does.

use std::sync::Arc;

use busbar_types::mapped::{MappedFile, write_bytes};
use busbar_types::{Error, ErrorKind};
use napi::bindgen_prelude::{ArrayBuffer, BigInt, Env};
use napi_derive::napi;

use crate::types::thrown;

/// A file that is open. It stays mapped for as long as this or its buffer lives.
#[napi(js_name = "NativeMappedFile")]
pub struct Mapped {
    file: Arc<MappedFile>,
}

#[napi]
impl Mapped {
    /// The hash of the archive's type, as the file says.
    #[napi(getter)]
    #[must_use]
    pub fn hash(&self) -> BigInt {
        BigInt::from(self.file.schema_hash())
    }

    /// The archive. To be called once: two buffers of one memory are one too many for V8.
    ///
    /// # Errors
    /// When memory is short.
    #[napi]
    pub fn buffer<'env>(&self, env: &'env Env) -> napi::Result<ArrayBuffer<'env>> {
        let Some(start) = self.file.as_mut_ptr().filter(|_| !self.file.is_empty()) else {
            return ArrayBuffer::from_data(env, Vec::new());
        };
        let file = Arc::clone(&self.file);
        let len = self.file.len();
        // SAFETY: `file`, which the finalizer drops, keeps that many bytes mapped, and nobody else
        // makes references to them.
        unsafe { ArrayBuffer::from_external(env, start.as_ptr(), len, file, |_, file| drop(file)) }
    }

    /// Throws if another program changed the file since it was opened.
    ///
    /// # Errors
    /// `ERR_ARCHIVE_INVALID`, `ERR_IO`.
    #[napi]
    pub fn verify(&self, env: Env) -> napi::Result<()> {
        self.file.verify().map_err(|error| thrown(env, &error))
    }
}

/// Opens a mapped file.
///
/// # Errors
/// `ERR_NOT_FOUND`, `ERR_IO`, `ERR_ARCHIVE_INVALID`.
#[napi]
pub fn open_mapped(env: Env, path: String) -> napi::Result<Mapped> {
    let file = MappedFile::open_copy_on_write(path).map_err(|error| thrown(env, &error))?;
    Ok(Mapped { file: Arc::new(file) })
}

/// Writes an archive to a file that takes the name `path`.
///
/// # Errors
/// `ERR_NOT_FOUND`, `ERR_IO`.
#[napi]
pub fn write_mapped(env: Env, path: String, hash: BigInt, archive: &[u8]) -> napi::Result<()> {
    let (is_negative, hash, is_exact) = hash.get_u64();
    if is_negative || !is_exact {
        let error = Error::new(ErrorKind::SchemaInvalid, "a hash has 64 bits");
        return Err(thrown(env, &error));
    }
    write_bytes(path, hash, archive).map_err(|error| thrown(env, &error))
}
