//! Manifest, instance and host, and the extensions of instances.

use core::ffi::{c_char, c_void};

use crate::{Buf, Growing, LegacyTypeDescriptor, Slice, Status, TypeDescriptor};

/// `busbar_method`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
#[expect(missing_docs, reason = "the header says what the fields are")]
pub struct Method {
    pub id: u32,
    pub flags: u32,
    pub name: *const c_char,
    pub in_hash: u64,
    pub out_hash: u64,
}

// SAFETY: what it points to is static.
unsafe impl Sync for Method {}
// SAFETY: as above.
unsafe impl Send for Method {}

/// `busbar_host`. Plugins that were built for an older version know less of it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
#[expect(missing_docs, reason = "the header says what the fields are")]
pub struct Host {
    pub struct_size: u32,
    pub abi_minor: u32,
    pub host_data: *mut c_void,
    pub get_extension: Option<unsafe extern "C" fn(*const Self, *const c_char) -> *const c_void>,
    pub alloc: Option<unsafe extern "C" fn(*const Self, usize, usize) -> *mut c_void>,
    pub dealloc: Option<unsafe extern "C" fn(*const Self, *mut c_void, usize, usize)>,
    pub log: Option<unsafe extern "C" fn(*const Self, u32, *const c_char, usize)>,
    pub error: Option<unsafe extern "C" fn(*const Self, Status, *const c_char, usize)>,
    pub complete: Option<unsafe extern "C" fn(*const Self, u64, Status, Slice) -> Status>,
    pub request_get: Option<unsafe extern "C" fn(*const Self, i64, *mut Slice) -> Status>,
    pub response_put: Option<unsafe extern "C" fn(*const Self, i64, Slice) -> Status>,
    pub on_zone_thread: Option<unsafe extern "C" fn(*const Self) -> u32>,
}

/// `busbar_plugin`: an instance.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
#[expect(missing_docs, reason = "the header says what the fields are")]
pub struct Plugin {
    pub struct_size: u32,
    pub abi_minor: u32,
    pub plugin_data: *mut c_void,
    pub init: Option<unsafe extern "C" fn(*const Self) -> Status>,
    pub activate: Option<unsafe extern "C" fn(*const Self, Slice) -> Status>,
    pub deactivate: Option<unsafe extern "C" fn(*const Self)>,
    pub destroy: Option<unsafe extern "C" fn(*const Self)>,
    pub get_extension: Option<unsafe extern "C" fn(*const Self, *const c_char) -> *const c_void>,
    pub call: Option<unsafe extern "C" fn(*const Self, u32, Slice, *mut Buf) -> Status>,
    pub start: Option<unsafe extern "C" fn(*const Self, u32, Slice, u64) -> Status>,
    pub cancel: Option<unsafe extern "C" fn(*const Self, u64)>,
}

/// The type of `busbar_manifest.create`.
pub type Create = unsafe extern "C" fn(*const Host, *const c_char, *mut *const Plugin) -> Status;

/// `busbar_manifest`: static data.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
#[expect(missing_docs, reason = "the header says what the fields are")]
pub struct Manifest {
    pub magic: u32,
    pub struct_size: u32,
    pub abi_major: u16,
    pub abi_minor: u16,
    pub min_host_minor: u16,
    pub pointer_bits: u16,
    pub flags: u32,
    pub runtime: u32,
    pub id: *const c_char,
    pub version: *const c_char,
    pub target: *const c_char,
    pub methods: *const Method,
    pub n_methods: usize,
    pub types: *const *const TypeDescriptor,
    pub n_types: usize,
    pub create: Option<Create>,
}

// SAFETY: what it points to is static.
unsafe impl Sync for Manifest {}
// SAFETY: as above.
unsafe impl Send for Manifest {}

/// The type of the function [`ENTRY`](crate::ENTRY).
pub type ManifestEntry = unsafe extern "C" fn() -> *const Manifest;

/// The legacy entry that gives an array of descriptors.
pub const LEGACY_GET_DESCRIPTORS: &str = "com_my_plugin_get_descriptors";
/// The type of [`LEGACY_GET_DESCRIPTORS`].
pub type LegacyGetDescriptors = unsafe extern "C" fn(*mut usize) -> *const LegacyTypeDescriptor;

/// The legacy entry that fills slots with pointers to descriptors.
pub const LEGACY_REGISTER: &str = "com_my_plugin_register";
/// The type of [`LEGACY_REGISTER`].
pub type LegacyRegister = unsafe extern "C" fn(*mut *const LegacyTypeDescriptor, usize);

/// `busbar_ext_state`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
#[expect(missing_docs, reason = "the header says what the fields are")]
pub struct StateExtension {
    pub struct_size: u32,
    pub reserved: u32,
    pub save: Option<unsafe extern "C" fn(*const Plugin, *mut Buf, *mut u64) -> Status>,
    pub load: Option<unsafe extern "C" fn(*const Plugin, Slice, u64) -> Status>,
}

/// `busbar_record`: one call of a batch, where in an arena its input is, and where its result goes.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Record {
    /// Of hosts, a number of theirs; of plugins, [`Method::id`].
    pub method: u32,
    /// Where its input begins.
    pub in_offset: u32,
    /// Bytes of it.
    pub in_length: u32,
    /// Where its result begins; not within its input.
    pub out_offset: u32,
    /// Room for it.
    pub out_room: u32,
    /// Set: bytes of the result, or how much room it takes.
    pub out_length: u32,
    /// Set: 0, or what the call returned.
    pub status: i32,
    /// 0.
    pub reserved: u32,
}

/// `busbar_ext_batch`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
#[expect(missing_docs, reason = "the header says what the fields are")]
pub struct BatchExtension {
    pub struct_size: u32,
    pub reserved: u32,
    pub call_batch:
        Option<unsafe extern "C" fn(*const Plugin, *mut u8, usize, *mut Record, u32) -> Status>,
}

/// `busbar_ext_request`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
#[expect(missing_docs, reason = "the header says what the fields are")]
pub struct RequestExtension {
    pub struct_size: u32,
    pub reserved: u32,
    pub handle_request: Option<unsafe extern "C" fn(*const Plugin, i64) -> Status>,
}

/// `busbar_answer`.
pub type Answer = unsafe extern "C" fn(*mut c_void, Status, Slice);

/// `busbar_ext_parent`: of hosts.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
#[expect(missing_docs, reason = "the header says what the fields are")]
pub struct ParentExtension {
    pub struct_size: u32,
    pub reserved: u32,
    pub call: Option<
        unsafe extern "C" fn(*const Host, Slice, Slice, u32, Option<Answer>, *mut c_void) -> Status,
    >,
    pub start: Option<
        unsafe extern "C" fn(
            *const Host,
            Slice,
            Slice,
            Option<Answer>,
            *mut c_void,
            *mut u64,
        ) -> Status,
    >,
    pub cancel: Option<unsafe extern "C" fn(*const Host, u64)>,
    pub object: Option<unsafe extern "C" fn(*const Host) -> u64>,
    pub release: Option<unsafe extern "C" fn(*const Host, u64) -> Status>,
}

/// `busbar_ext_objects`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
#[expect(missing_docs, reason = "the header says what the fields are")]
pub struct ObjectsExtension {
    pub struct_size: u32,
    pub reserved: u32,
    pub released: Option<unsafe extern "C" fn(*const Plugin, u64)>,
}

macro_rules! growing {
    ($($ty:ident)*) => {
        $(// SAFETY: integers, pointers and functions that may be null.
        unsafe impl Growing for $ty {
            const SIZE_AT: usize = core::mem::offset_of!(Self, struct_size);
            const SIZE_MIN: usize = size_of::<Self>();
        })*
    };
}

// All of it is version 1.0: what is appended is not in `SIZE_MIN`.
growing! { Host Plugin Manifest StateExtension BatchExtension RequestExtension
ParentExtension ObjectsExtension }
