//! What `#[plugin]` expands to rests on this; nothing else may.

use std::ffi::{CStr, c_char, c_void};
use std::sync::Arc;

use busbar_abi::{self as abi, Buf, Slice, Status, TypeDescriptor, formats};
use busbar_types::Type;
pub use futures_lite::future::block_on;

pub use crate::argument::{Placed, none, owned};
use crate::instance::{self, Out};
pub use crate::tasks::Job;
use crate::{Error, Output, Plugin, Result, State};

/// A plugin with the methods of its `impl` block.
pub trait Exports: Plugin {
    /// With the flag, [`state`].
    const STATE: Option<&'static abi::StateExtension>;

    /// What runs each method, by its number.
    const ROWS: &'static [Row<Self>];

    /// Runs a method to its end.
    ///
    /// # Errors
    /// What the method says; `UNSUPPORTED` if there is none.
    fn call(this: &Arc<Self>, method: u32, input: &[u8], out: &mut Output<'_>) -> Result<()> {
        let row = Self::ROWS.get(method as usize).ok_or_else(|| unknown(method))?;
        (row.run)(this, input, out)
    }

    /// The future of an asynchronous method; `None` for others.
    ///
    /// # Errors
    /// `SCHEMA_MISMATCH` if the input is not the method's.
    fn start(this: &Arc<Self>, method: u32, input: &[u8]) -> Result<Option<Job>>;
}

/// Runs one method of a `P`.
pub trait Run<P> {
    /// Runs it to its end.
    ///
    /// # Errors
    /// What the method says.
    fn run(this: &Arc<P>, input: &[u8], out: &mut Output<'_>) -> Result<()>;
}

/// A method of a `P`.
#[derive(Debug)]
pub struct Row<P> {
    run: fn(&Arc<P>, &[u8], &mut Output<'_>) -> Result<()>,
    /// As `busbar_plugin.call`, which only goes on here.
    pub(crate) call: Call,
}

pub(crate) type Call = unsafe extern "C" fn(*const abi::Plugin, u32, Slice, *mut Buf) -> Status;

impl<P: Exports> Row<P> {
    /// That of `R`.
    #[must_use]
    pub const fn new<R: Run<P>>() -> Self {
        Self { run: R::run, call: instance::run::<P, R> }
    }
}

/// There is no such method.
#[cold]
pub(crate) fn unknown(method: u32) -> Error {
    Error::of(Status::UNSUPPORTED, format!("there is no method {method}"))
}

/// An output for a [`Job`].
#[must_use]
pub fn growing() -> Output<'static> {
    Output::growing()
}

/// The parts of a manifest that differ between plugins.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "written by generated code")]
pub struct Parts {
    /// Its id.
    pub id: &'static CStr,
    /// Its version, ending with NUL.
    pub version: &'static str,
    /// Flags of [`abi::plugin_flag`].
    pub flags: u32,
    /// Its methods.
    pub methods: &'static [abi::Method],
    /// Its types.
    pub types: &'static [TypePointer],
}

/// The manifest of `P`.
#[must_use]
pub const fn manifest<P: Exports>(parts: &Parts) -> abi::Manifest {
    abi::Manifest {
        magic: abi::MAGIC,
        struct_size: size_of::<abi::Manifest>() as u32,
        abi_major: abi::ABI_MAJOR,
        abi_minor: abi::ABI_MINOR,
        min_host_minor: 0,
        pointer_bits: usize::BITS as u16,
        flags: parts.flags,
        runtime: abi::runtime::RUST,
        id: parts.id.as_ptr(),
        version: parts.version.as_ptr().cast(),
        target: abi::TARGET.as_ptr(),
        methods: parts.methods.as_ptr(),
        n_methods: parts.methods.len(),
        types: parts.types.as_ptr().cast(),
        n_types: parts.types.len(),
        create: Some(instance::create::<P>),
    }
}

/// The extension of a plugin with state.
#[must_use]
pub const fn state<P: Exports + State>() -> abi::StateExtension {
    abi::StateExtension {
        struct_size: size_of::<abi::StateExtension>() as u32,
        reserved: 0,
        save: Some(instance::save::<P>),
        load: Some(instance::load::<P>),
    }
}

/// Points to a descriptor.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct TypePointer(*const TypeDescriptor);

// SAFETY: what it points to is static.
unsafe impl Sync for TypePointer {}

impl TypePointer {
    /// To `descriptor`.
    #[must_use]
    pub const fn new(descriptor: &'static TypeDescriptor) -> Self {
        Self(descriptor)
    }
}

/// `text`, of `N - 1` bytes, with a NUL.
///
/// # Panics
/// In constants, if there is a NUL in it, or it has another length.
#[must_use]
pub const fn terminated<const N: usize>(text: &str) -> [u8; N] {
    let (bytes, mut out) = (text.as_bytes(), [0; N]);
    assert!(bytes.len() + 1 == N, "N is one more than the length");
    let mut index = 0;
    while index < bytes.len() {
        assert!(bytes[index] != 0, "a text for C has no NUL in it");
        out[index] = bytes[index];
        index += 1;
    }
    out
}

/// How hosts handle values of `T`. Both texts end with NUL.
#[must_use]
pub const fn descriptor<T: Type>(name: &'static [u8], text: &'static [u8]) -> TypeDescriptor {
    TypeDescriptor {
        type_name: name.as_ptr().cast(),
        schema_hash: T::SCHEMA_HASH,
        formats: formats::RKYV,
        struct_size: size_of::<TypeDescriptor>() as u32,
        serialize_into: Some(serialize_into::<T>),
        get_schema_text: Some(schema_text),
        ctx_drop: None,
        // Where `schema_text` finds it. Nobody writes there.
        ctx: text.as_ptr().cast_mut().cast(),
        schema_hash_hi: 0,
        type_flags: 0,
        type_version: 1,
        encode: Some(encode::<T>),
        decode: Some(decode::<T>),
        drop_value: Some(drop_value::<T>),
        transcode: None,
        validate: Some(validate::<T>),
    }
}

unsafe extern "C" fn schema_text(ctx: *mut c_void) -> *const c_char {
    ctx.cast()
}

unsafe extern "C" fn serialize_into<T: Type>(
    ctx: *mut c_void,
    value: *const c_void,
    out: *mut u8,
    room: usize,
) -> usize {
    let mut buf = Buf { ptr: out, cap: room, len: 0 };
    // SAFETY: this function's arguments are those of `encode`.
    let status = unsafe { encode::<T>(ctx, formats::RKYV, value, &raw mut buf) };
    if status == Status::OK { buf.len } else { 0 }
}

unsafe extern "C" fn encode<T: Type>(
    _ctx: *mut c_void,
    format: u32,
    value: *const c_void,
    out: *mut Buf,
) -> Status {
    // SAFETY: by the contract: the caller's, ours alone during the call.
    let mut out = unsafe { Out::new(out) };
    quietly(|| {
        only_rkyv(format)?;
        // SAFETY: by the contract: null, or what `decode` of the same descriptor gave.
        let value = unsafe { value.cast::<T>().as_ref() };
        let value = value.ok_or_else(|| Error::of(Status::INVALID, "no value"))?;
        out.fill(|output| output.put(value))
    })
}

unsafe extern "C" fn decode<T: Type>(
    _ctx: *mut c_void,
    format: u32,
    input: Slice,
    value: *mut *mut c_void,
) -> Status {
    // SAFETY: by the contract: borrowed during the call.
    let input = unsafe { input.bytes() };
    quietly(|| {
        only_rkyv(format)?;
        let input = input.filter(|_| !value.is_null());
        let input = input.ok_or_else(|| Error::of(Status::INVALID, "no input"))?;
        let decoded: *mut T = Box::into_raw(Box::new(owned::<T>(input)?));
        // SAFETY: by the contract: it can be written.
        unsafe { value.write(decoded.cast()) };
        Ok(Status::OK)
    })
}

unsafe extern "C" fn drop_value<T: Type>(_ctx: *mut c_void, value: *mut c_void) {
    let _ = quietly(|| {
        if !value.is_null() {
            // SAFETY: by the contract: what `decode` gave, for the last time.
            drop(unsafe { Box::from_raw(value.cast::<T>()) });
        }
        Ok(Status::OK)
    });
}

unsafe extern "C" fn validate<T: Type>(_ctx: *mut c_void, format: u32, input: Slice) -> Status {
    // SAFETY: by the contract: borrowed during the call.
    let input = unsafe { input.bytes() };
    quietly(|| {
        only_rkyv(format)?;
        Placed::new::<T>(input.unwrap_or_default()).view::<T>()?;
        Ok(Status::OK)
    })
}

fn only_rkyv(format: u32) -> Result<()> {
    if format == formats::RKYV {
        return Ok(());
    }
    Err(Error::of(Status::UNSUPPORTED, "archives only"))
}

/// Descriptors have no host to tell of an error.
fn quietly(work: impl FnOnce() -> Result<Status>) -> Status {
    crate::guard::catch(work).unwrap_or_else(|error| error.status())
}
