//! Types out of libraries: a library says what types it has, and this reads it. Nothing of a type
//! but its description crosses; functions of plugins are the business of their loader.
//!
//! [`export_types!`](crate::export_types) gives a library its one function, [`SYMBOL`]. A library
//! that was read stays mapped for ever: code that ran once may have left threads, thread-locals or
//! handlers behind, and unmapping it would pull the ground from under them.

use std::ffi::OsStr;
use std::io;
use std::mem::ManuallyDrop;
use std::path::Path;
use std::sync::OnceLock;

use libloading::Library;

use crate::schema::Schema;
use crate::{Error, ErrorKind};

/// The function that [`export_types!`](crate::export_types) exports.
pub const SYMBOL: &str = "busbar_types_v1";

/// UTF-8 that lives as long as its library: a JSON array of descriptors.
#[repr(C)]
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "part of the ABI")]
pub struct Text {
    /// Where it begins.
    pub ptr: *const u8,
    /// Its bytes.
    pub len: usize,
}

// SAFETY: it points to text that nobody changes.
unsafe impl Sync for Text {}
// SAFETY: as above.
unsafe impl Send for Text {}

/// The type of [`SYMBOL`]. Null means that the library could not say.
pub type Entry = unsafe extern "C" fn() -> *const Text;

/// Exports the descriptions of types from a library, for `busbar gen`, `busbar inspect` and
/// `registry.load()`.
///
/// ```
/// #[derive(busbar_types::Type)]
/// struct Hit {
///     points: u32,
/// }
///
/// busbar_types::export_types!(Hit);
/// ```
#[macro_export]
macro_rules! export_types {
    ($($type:ty),+ $(,)?) => {
        /// The descriptors of the types of this library; see `busbar_types::library`.
        #[unsafe(no_mangle)]
        pub extern "C" fn busbar_types_v1() -> *const $crate::library::Text {
            static TEXT: $crate::library::Once = $crate::library::Once::new();
            $crate::library::exported(&TEXT, &[$(<$type as $crate::Type>::schema),+])
        }
    };
}

/// The text of a library, once it has been asked for; `None` if a type cannot be described.
#[doc(hidden)]
pub type Once = OnceLock<Option<Text>>;

/// What [`export_types!`](crate::export_types) expands to.
#[doc(hidden)]
pub fn exported(text: &'static Once, types: &[fn() -> Result<Schema, Error>]) -> *const Text {
    let describe = || {
        let schemas = types.iter().map(|schema| schema().map(|schema| schema.to_json()));
        let json = schemas.collect::<Result<Vec<_>, _>>().ok()?.join(",\n");
        let bytes: &'static [u8] = Box::leak(format!("[{json}]").into_bytes().into_boxed_slice());
        Some(Text { ptr: bytes.as_ptr(), len: bytes.len() })
    };
    // Nothing may unwind into the caller, which may be anything.
    let text = std::panic::catch_unwind(|| text.get_or_init(describe).as_ref());
    text.ok().flatten().map_or(std::ptr::null(), std::ptr::from_ref)
}

/// The types that a library exports, each with all that it mentions.
///
/// # Errors
/// `NotFound` if there is no such file, `Io` if it is no library of this platform, `TypeNotFound`
/// if it exports no types, `SchemaInvalid` if what it says of them is wrong.
///
/// # Safety
/// Loading a library runs its code, which must be trusted to do no harm.
pub unsafe fn describe_library(path: impl AsRef<Path>) -> Result<Vec<Schema>, Error> {
    let path = path.as_ref();
    let fail = |kind, message: String| Error::new(kind, format!("{}: {message}", path.display()));
    // Absolute: a bare name would be looked for wherever the system has libraries.
    let absolute = path.canonicalize().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => fail(ErrorKind::NotFound, String::from("there is no such file")),
        _ => fail(ErrorKind::Io, error.to_string()),
    })?;
    // SAFETY: by this function's own contract.
    let library = unsafe { open(absolute.as_os_str()) };
    // Its code has run, if only to initialize: from here on it stays, whatever else goes wrong.
    let library = ManuallyDrop::new(library.map_err(|error| {
        fail(ErrorKind::Io, format!("cannot be loaded: {error}")).with_source(error)
    })?);
    // SAFETY: what exports this name has this type; that is what the name is for.
    let entry = unsafe { library.get::<Entry>(SYMBOL.as_bytes()) }.map_err(|_| {
        let advice = "write busbar_types::export_types!(…) in it";
        fail(ErrorKind::TypeNotFound, format!("no types: it does not export {SYMBOL}; {advice}"))
    })?;
    // SAFETY: the library stays mapped.
    let schemas = unsafe { describe_entry(*entry) };
    schemas.map_err(|error| fail(error.kind(), error.to_string()).with_source(error))
}

/// The types of a library that is open already, by what it exports as [`SYMBOL`].
///
/// # Errors
/// `SchemaInvalid` if what it says of them is wrong.
///
/// # Safety
/// 1. `entry` must be what the library exports under that name.
/// 2. The library must stay mapped for ever.
pub unsafe fn describe_entry(entry: Entry) -> Result<Vec<Schema>, Error> {
    // SAFETY: 1.
    let text = unsafe { entry() };
    // SAFETY: 2.; null, or a text of the library.
    let bytes = unsafe { text.as_ref() }.and_then(bytes_of).ok_or_else(|| {
        let message = format!("{SYMBOL} gives no text: a type of it cannot be described");
        Error::new(ErrorKind::SchemaInvalid, message)
    })?;
    parse(bytes)
}

/// `None` for what cannot be the text of a library.
fn bytes_of(text: &'static Text) -> Option<&'static [u8]> {
    if text.ptr.is_null() || isize::try_from(text.len).is_err() {
        return None;
    }
    // SAFETY: so the library says, which stays mapped.
    Some(unsafe { std::slice::from_raw_parts(text.ptr, text.len) })
}

fn parse(bytes: &[u8]) -> Result<Vec<Schema>, Error> {
    let invalid =
        |message: String| Error::new(ErrorKind::SchemaInvalid, format!("its text {message}"));
    let text = str::from_utf8(bytes).map_err(|error| {
        invalid(format!("is not UTF-8 from byte {} on", error.valid_up_to())).with_source(error)
    })?;
    let descriptors: Vec<serde_json::Value> = serde_json::from_str(text).map_err(|error| {
        invalid(format!("is no array of descriptors: {error}")).with_source(error)
    })?;
    descriptors.into_iter().map(|descriptor| Schema::from_json(&descriptor.to_string())).collect()
}

#[cfg(unix)]
unsafe fn open(path: &OsStr) -> Result<Library, libloading::Error> {
    use libloading::os::unix::{Library as Unix, RTLD_LOCAL, RTLD_NOW};
    // SAFETY: by the contract of `describe_library`.
    unsafe { Unix::open(Some(path), RTLD_NOW | RTLD_LOCAL).map(Into::into) }
}

#[cfg(not(unix))]
unsafe fn open(path: &OsStr) -> Result<Library, libloading::Error> {
    // SAFETY: by the contract of `describe_library`.
    unsafe { Library::new(path) }
}
