//! Reading what a library says of itself, believing none of it: every field that is wrong has a
//! message of its own, and what is left is owned, checked and safe to use.

use std::collections::HashSet;
use std::ffi::{CStr, c_char};

use busbar_abi::{self as abi, Manifest, TypeDescriptor};

use crate::{Error, ErrorKind, Result, Stage};

/// No library has more of anything.
const COUNT_MAX: usize = 1 << 16;

/// A checked manifest.
#[derive(Debug)]
pub(crate) struct Contract {
    pub(crate) id: String,
    pub(crate) version: String,
    pub(crate) flags: u32,
    pub(crate) runtime: u32,
    pub(crate) methods: Vec<Method>,
    pub(crate) types: Vec<(String, TypeDescriptor)>,
    pub(crate) create: abi::Create,
}

/// A method, as its plugin describes it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Method {
    /// Its name.
    pub name: String,
    /// What the plugin calls it by.
    pub(crate) id: u32,
    /// Flags of [`abi::method`].
    pub flags: u32,
    /// Schema hash of its argument; 0 for raw bytes or none.
    pub in_hash: u64,
    /// Schema hash of its result, likewise.
    pub out_hash: u64,
}

impl Method {
    /// Whether callers of `other` may call it instead.
    pub(crate) fn is_as(&self, other: &Self) -> bool {
        (self.in_hash, self.out_hash) == (other.in_hash, other.out_hash)
    }
}

impl Contract {
    /// Whether it says that nothing of it stays when its instances have ended.
    pub(crate) fn is_unloadable(&self) -> bool {
        self.flags & abi::plugin_flag::UNLOADABLE != 0
    }

    /// # Errors
    /// `Null`, `Magic`, `Size`, `Version`, `Target`, `Name`, `SchemaInvalid`.
    ///
    /// # Safety
    /// `manifest` is null, or what the entry of a mapped library gave, by its contract. What it
    /// says may be wrong, but what it points to must be there.
    pub(crate) unsafe fn read(manifest: *const Manifest) -> Result<Self> {
        if manifest.is_null() {
            return Err(null(abi::ENTRY, "returns"));
        }
        // SAFETY: as the caller promises; every manifest begins with these four bytes.
        let magic = unsafe { manifest.cast::<u32>().read_unaligned() };
        if magic != abi::MAGIC {
            let message = format!(
                "its manifest begins with {magic:#010x}, and not with {:#010x}",
                abi::MAGIC
            );
            return Err(bad(ErrorKind::Magic, message));
        }
        // SAFETY: as the caller promises.
        let raw = unsafe { abi::read_growing(manifest) };
        let raw = raw.map_err(|size| bad_size("busbar_manifest", size, size_of::<Manifest>()))?;
        negotiate(&raw)?;
        // SAFETY: (all) as the caller promises.
        let target = unsafe { text(raw.target, "target") }?;
        let ours = abi::TARGET.to_str().unwrap_or_default();
        if target != ours {
            return Err(bad(ErrorKind::Target, format!("it is for {target}, and this is {ours}")));
        }
        let create = raw.create.ok_or_else(|| null("create", "is"))?;
        Ok(Self {
            // SAFETY: as the caller promises.
            id: unsafe { name(raw.id, "id") }?,
            // SAFETY: as the caller promises.
            version: unsafe { text(raw.version, "version") }?,
            flags: raw.flags,
            runtime: raw.runtime,
            // SAFETY: as the caller promises.
            methods: unsafe { methods(&raw) }?,
            // SAFETY: as the caller promises.
            types: unsafe { types(&raw) }?,
            create,
        })
    }
}

/// What has to fit before anything else is looked at.
fn negotiate(raw: &Manifest) -> Result<()> {
    if raw.abi_major != abi::ABI_MAJOR {
        let message = format!(
            "it speaks version {} of the contract, this is {}",
            raw.abi_major,
            abi::ABI_MAJOR
        );
        return Err(bad(ErrorKind::Version, message));
    }
    if raw.min_host_minor > abi::ABI_MINOR {
        let (major, needed, ours) = (abi::ABI_MAJOR, raw.min_host_minor, abi::ABI_MINOR);
        let message =
            format!("it needs a host of version {major}.{needed}, this is {major}.{ours}");
        return Err(bad(ErrorKind::Version, message));
    }
    if u32::from(raw.pointer_bits) != usize::BITS {
        let message = format!(
            "its pointers have {} bits, and here they have {}",
            raw.pointer_bits,
            usize::BITS
        );
        return Err(bad(ErrorKind::Target, message));
    }
    Ok(())
}

/// # Safety
/// As [`Contract::read`].
unsafe fn methods(raw: &Manifest) -> Result<Vec<Method>> {
    check_count(raw.n_methods, raw.methods.is_null(), "methods")?;
    let (mut methods, mut names, mut ids) = (Vec::new(), HashSet::new(), HashSet::new());
    for index in 0..raw.n_methods {
        // SAFETY: as the caller promises: there are that many.
        let method = unsafe { raw.methods.add(index) };
        // SAFETY: as above.
        let method = unsafe { method.read() };
        // SAFETY: as the caller promises.
        let name = unsafe { name(method.name, &format!("methods[{index}].name")) }?;
        if !names.insert(name.clone()) || !ids.insert(method.id) {
            let message = format!("methods[{index}] ({name}, id {}) is there twice", method.id);
            return Err(bad(ErrorKind::Name, message));
        }
        let abi::Method { id, flags, in_hash, out_hash, .. } = method;
        methods.push(Method { name, id, flags, in_hash, out_hash });
    }
    Ok(methods)
}

/// # Safety
/// As [`Contract::read`].
unsafe fn types(raw: &Manifest) -> Result<Vec<(String, TypeDescriptor)>> {
    check_count(raw.n_types, raw.types.is_null(), "types")?;
    (0..raw.n_types)
        .map(|index| {
            // SAFETY: as the caller promises: there are that many.
            let pointer = unsafe { raw.types.add(index) };
            // SAFETY: as above.
            let pointer = unsafe { pointer.read() };
            if pointer.is_null() {
                return Err(null(&format!("types[{index}]"), "is"));
            }
            // SAFETY: as the caller promises.
            let descriptor = unsafe { abi::read_growing(pointer) };
            let known = size_of::<TypeDescriptor>();
            let descriptor =
                descriptor.map_err(|size| bad_size("PluginTypeDescriptor", size, known))?;
            // SAFETY: as the caller promises.
            unsafe { named(descriptor, index) }
        })
        .collect()
}

/// A descriptor with its name.
///
/// # Safety
/// As [`Contract::read`].
pub(crate) unsafe fn named(
    descriptor: TypeDescriptor,
    index: usize,
) -> Result<(String, TypeDescriptor)> {
    // SAFETY: as the caller promises.
    let name = unsafe { name(descriptor.type_name, &format!("types[{index}].type_name")) }?;
    Ok((name, descriptor))
}

pub(crate) fn check_count(count: usize, is_null: bool, field: &str) -> Result<()> {
    if count > COUNT_MAX {
        let message = format!("it says to have {count} {field}, {COUNT_MAX} at most are allowed");
        return Err(bad(ErrorKind::Size, message));
    }
    if count > 0 && is_null { Err(null(field, "is")) } else { Ok(()) }
}

/// # Safety
/// `text` is null, or ends with NUL, and stays unchanged for the call.
pub(crate) unsafe fn text(text: *const c_char, field: &str) -> Result<String> {
    if text.is_null() {
        return Err(null(field, "is"));
    }
    // SAFETY: as the caller promises.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map(str::to_owned).map_err(|error| {
        let shown = text.to_string_lossy().into_owned();
        bad(ErrorKind::Name, format!("{field} is no UTF-8: {shown:?}")).with_source(error)
    })
}

/// # Safety
/// As [`text`].
unsafe fn name(name: *const c_char, field: &str) -> Result<String> {
    // SAFETY: as the caller promises.
    let name = unsafe { text(name, field) }?;
    if name.is_empty() || name.len() > 255 || name.chars().any(char::is_control) {
        return Err(bad(ErrorKind::Name, format!("{field} is no name: {name:?}")));
    }
    Ok(name)
}

pub(crate) fn bad(kind: ErrorKind, message: String) -> Error {
    Error::new(kind, Stage::Bind, message)
}

pub(crate) fn bad_size(what: &str, size: usize, ours: usize) -> Error {
    let message =
        format!("its {what} says to have {size} bytes, less than any version had ({ours})");
    bad(ErrorKind::Size, message)
}

pub(crate) fn null(field: &str, verb: &str) -> Error {
    bad(ErrorKind::Null, format!("{field} {verb} null"))
}
