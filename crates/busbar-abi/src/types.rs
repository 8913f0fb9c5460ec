//! Borrowed bytes, and types as plugins describe them.

use core::ffi::{c_char, c_void};
use core::ptr;

use crate::{Growing, Status};

/// The bits of `busbar_formats_t`.
pub mod formats {
    /// rkyv archives.
    pub const RKYV: u32 = 1;
    /// Cap'n Proto messages.
    pub const CAPNP: u32 = 2;
    /// JSON.
    pub const JSON: u32 = 4;
    /// MessagePack.
    pub const MSGPACK: u32 = 8;
    /// Bytes that only the plugin knows.
    pub const RAW: u32 = 16;
}

/// `busbar_slice`: borrowed until the callee returns.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Slice {
    /// Where it begins; anything if it is empty.
    pub ptr: *const u8,
    /// Its bytes.
    pub len: usize,
}

impl Slice {
    /// No bytes.
    pub const EMPTY: Self = Self { ptr: ptr::null(), len: 0 };

    /// `bytes`, for as long as the caller keeps them.
    #[must_use]
    pub const fn new(bytes: &[u8]) -> Self {
        Self { ptr: bytes.as_ptr(), len: bytes.len() }
    }

    /// The bytes; `None` for what cannot be a slice.
    ///
    /// # Safety
    /// If `ptr` is not null, `len` bytes from there must be readable, and nobody may change them,
    /// during `'a`.
    #[must_use]
    pub const unsafe fn bytes<'a>(self) -> Option<&'a [u8]> {
        if self.len == 0 {
            return Some(&[]);
        }
        if self.ptr.is_null() || self.len > isize::MAX as usize {
            return None;
        }
        // SAFETY: as the caller promises; null and too much are excluded.
        Some(unsafe { core::slice::from_raw_parts(self.ptr, self.len) })
    }
}

/// `busbar_buf`: the caller's memory, of which the callee sets `len`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Buf {
    /// Where it begins; anything if there is no room.
    pub ptr: *mut u8,
    /// Room.
    pub cap: usize,
    /// Bytes written, or needed.
    pub len: usize,
}

impl Buf {
    /// `bytes`, for as long as the caller keeps them.
    #[must_use]
    pub const fn new(bytes: &mut [u8]) -> Self {
        Self { ptr: bytes.as_mut_ptr(), cap: bytes.len(), len: 0 }
    }
}

/// `size_t (*serialize_into)(void *ctx, const void *typed_ptr, uint8_t *out_buf, size_t out_len)`
pub type SerializeInto = unsafe extern "C" fn(*mut c_void, *const c_void, *mut u8, usize) -> usize;
/// `const char *(*get_schema_text)(void *ctx)`
pub type SchemaText = unsafe extern "C" fn(*mut c_void) -> *const c_char;
/// `void (*ctx_drop)(void *ctx)`
pub type ContextDrop = unsafe extern "C" fn(*mut c_void);

/// The legacy descriptor: an exact prefix of [`TypeDescriptor`].
#[derive(Clone, Copy, Debug)]
#[repr(C)]
#[expect(missing_docs, reason = "the header says what the fields are")]
pub struct LegacyTypeDescriptor {
    pub type_name: *const c_char,
    pub schema_hash: u64,
    pub formats: u32,
    pub serialize_into: Option<SerializeInto>,
    pub get_schema_text: Option<SchemaText>,
    pub ctx_drop: Option<ContextDrop>,
    pub ctx: *mut c_void,
}

/// `PluginTypeDescriptor`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
#[expect(missing_docs, reason = "the header says what the fields are")]
pub struct TypeDescriptor {
    pub type_name: *const c_char,
    pub schema_hash: u64,
    pub formats: u32,
    pub struct_size: u32,
    pub serialize_into: Option<SerializeInto>,
    pub get_schema_text: Option<SchemaText>,
    pub ctx_drop: Option<ContextDrop>,
    pub ctx: *mut c_void,
    pub schema_hash_hi: u64,
    pub type_flags: u32,
    pub type_version: u32,
    pub encode: Option<unsafe extern "C" fn(*mut c_void, u32, *const c_void, *mut Buf) -> Status>,
    pub decode: Option<unsafe extern "C" fn(*mut c_void, u32, Slice, *mut *mut c_void) -> Status>,
    pub drop_value: Option<unsafe extern "C" fn(*mut c_void, *mut c_void)>,
    pub transcode: Option<unsafe extern "C" fn(*mut c_void, u32, Slice, u32, *mut Buf) -> Status>,
    pub validate: Option<unsafe extern "C" fn(*mut c_void, u32, Slice) -> Status>,
}

// SAFETY: what it points to is static, and what its functions may be called on, the header says.
unsafe impl Sync for TypeDescriptor {}
// SAFETY: as above.
unsafe impl Send for TypeDescriptor {}

// SAFETY: integers, pointers and functions that may be null.
unsafe impl Growing for TypeDescriptor {
    const SIZE_AT: usize = core::mem::offset_of!(Self, struct_size);
    const SIZE_MIN: usize = size_of::<LegacyTypeDescriptor>();
}

impl From<LegacyTypeDescriptor> for TypeDescriptor {
    fn from(legacy: LegacyTypeDescriptor) -> Self {
        Self {
            type_name: legacy.type_name,
            schema_hash: legacy.schema_hash,
            formats: legacy.formats,
            // What lies there is padding, which says nothing.
            struct_size: size_of::<LegacyTypeDescriptor>() as u32,
            serialize_into: legacy.serialize_into,
            get_schema_text: legacy.get_schema_text,
            ctx_drop: legacy.ctx_drop,
            ctx: legacy.ctx,
            schema_hash_hi: 0,
            type_flags: 0,
            type_version: 0,
            encode: None,
            decode: None,
            drop_value: None,
            transcode: None,
            validate: None,
        }
    }
}
