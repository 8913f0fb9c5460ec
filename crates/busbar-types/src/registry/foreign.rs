//! Values that live in plugins, and the functions by which plugins write and read them. Loaders
//! implement the functions; what they answer is checked here as far as it can be.

use std::fmt;
use std::ptr;
use std::sync::Arc;

use crate::format::Formats;
use crate::{Error, ErrorKind, SerializeError};

/// A plugin's functions for one type, tamed by its loader: panics and error codes of the other
/// side are errors here.
pub trait ForeignFunctions: Send + Sync {
    /// Writes `value` in `format` into `out`.
    ///
    /// # Errors
    /// As [`Type::write_to_buffer`](crate::Type::write_to_buffer).
    ///
    /// # Safety
    /// `value` must be one of this plugin's, alive and unchanged during the call.
    unsafe fn serialize_into(
        &self,
        value: *const (),
        format: Formats,
        out: &mut [u8],
    ) -> Result<usize, SerializeError>;

    /// Makes the value that `bytes` hold in `format`: one that [`Self::serialize_into`] takes, and
    /// that lives until [`Self::drop_value`].
    ///
    /// # Errors
    /// `ArchiveInvalid` if the bytes hold none; `FormatUnsupported` if the plugin does not read
    /// this format, as those that only write read none.
    fn deserialize(&self, format: Formats, bytes: &[u8]) -> Result<*const (), Error> {
        let _ = bytes;
        Err(Error::new(ErrorKind::FormatUnsupported, format!("the plugin does not read {format}")))
    }

    /// Ends a value.
    ///
    /// # Safety
    /// 1. `value` must come from [`Self::deserialize`] of the same functions.
    /// 2. It is not used after this.
    unsafe fn drop_value(&self, value: *const ()) {
        let _ = value;
    }
}

/// A value that lives in a plugin: what the [`Writer`](super::Writer) of a plugin's entry expects
/// as its `Any`.
pub struct ForeignValue {
    functions: Arc<dyn ForeignFunctions>,
    value: *const (),
    is_ours: bool,
}

impl ForeignValue {
    /// A value that `functions` can write, and that somebody else ends.
    ///
    /// # Safety
    /// 1. `value` must be what `functions` expects.
    /// 2. It must stay so, unchanged by others, for as long as this lives.
    #[must_use]
    pub unsafe fn new(functions: Arc<dyn ForeignFunctions>, value: *const ()) -> Self {
        Self { functions, value, is_ours: false }
    }

    /// The value that `bytes` hold in `format`; it ends with this.
    ///
    /// # Errors
    /// As [`ForeignFunctions::deserialize`].
    pub fn read(
        functions: Arc<dyn ForeignFunctions>,
        format: Formats,
        bytes: &[u8],
    ) -> Result<Self, Error> {
        let value = functions.deserialize(format, bytes)?;
        Ok(Self { functions, value, is_ours: true })
    }

    /// Where it is in the plugin's memory.
    #[must_use]
    pub fn as_ptr(&self) -> *const () {
        self.value
    }

    /// Writes it in `format`.
    ///
    /// # Errors
    /// As [`Type::write_to_buffer`](crate::Type::write_to_buffer).
    pub fn write(&self, format: Formats, out: &mut [u8]) -> Result<usize, SerializeError> {
        let room = out.len();
        // SAFETY: by `new` or `read`, the value is one of these functions' and alive.
        let length = unsafe { self.functions.serialize_into(self.value, format, out) }?;
        if length > room {
            let message = format!("the plugin says that it wrote {length} bytes, into {room}");
            return Err(SerializeError::Failed { message });
        }
        Ok(length)
    }

    /// Whether it is a value of these functions, and not of those of another type.
    pub(super) fn is_of(&self, functions: Option<&Arc<dyn ForeignFunctions>>) -> bool {
        functions.is_some_and(|functions| {
            ptr::addr_eq(Arc::as_ptr(functions), Arc::as_ptr(&self.functions))
        })
    }
}

impl Drop for ForeignValue {
    fn drop(&mut self) {
        if self.is_ours {
            // SAFETY: it comes from `deserialize` of these functions, and this was the last use.
            unsafe { self.functions.drop_value(self.value) };
        }
    }
}

impl fmt::Debug for ForeignValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForeignValue").finish_non_exhaustive()
    }
}
