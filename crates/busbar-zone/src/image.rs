//! Libraries as files and in memory: looked into before any code of them runs, mapped from a
//! private copy, and not unmapped: code that ran once may have left threads, thread-locals or
//! handlers behind. But for libraries that say that they leave nothing, once every thread is joined
//! that ran their code.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::Write;
use std::mem::ManuallyDrop;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use libloading::Library;
use object::read::NameOrOrdinal;
use object::{Architecture, BinaryFormat, Object, ObjectKind, ObjectSegment};

use crate::source::Source;
use crate::{Error, ErrorKind, Result, Stage};

/// A mapped library. It stays mapped when this is dropped, unless it may be unloaded.
#[derive(Debug)]
pub(crate) struct Image {
    library: ManuallyDrop<Library>,
    /// Where its entry is, if that was claimed; 0 if not.
    entry: AtomicUsize,
    may_unload: AtomicBool,
}

impl Image {
    /// Maps what was verified.
    ///
    /// # Errors
    /// `Damaged`, `Target`, `Symbol`, `Io`.
    ///
    /// # Safety
    /// The library's code runs, and must be trusted to do no harm.
    pub(crate) unsafe fn load(source: &Source, entries: &[&str]) -> Result<Self> {
        inspect(&source.bytes, entries)?;
        // Removed with all that is in it as soon as the library is mapped: however this process
        // ends, it leaves nothing behind.
        let folder = private_folder().map_err(io_error)?;
        let extension = source.path.extension().unwrap_or(OsStr::new("so"));
        let copy = folder.path().join(source.hash.short()).with_extension(extension);
        write_new(&copy, &source.bytes).map_err(io_error)?;
        // SAFETY: by this function's own contract.
        let image = unsafe { Self::map(&copy) };
        // Windows does not remove what is mapped; its temporary files are cleaned up elsewhere.
        drop(folder);
        image
    }

    /// Maps a file that [`inspect`] has seen and nobody can change.
    ///
    /// # Errors
    /// `Damaged` if the system does not load it.
    ///
    /// # Safety
    /// As [`Self::load`].
    pub(crate) unsafe fn map(path: &Path) -> Result<Self> {
        // SAFETY: by this function's own contract.
        let library = unsafe { open(path) }.map_err(|error| {
            let reason = std::error::Error::source(&error).map(ToString::to_string);
            let reason = reason.unwrap_or_else(|| error.to_string());
            let message = format!("the system does not load it: {reason}");
            Error::new(ErrorKind::Damaged, Stage::Load, message).with_source(error)
        })?;
        let library = ManuallyDrop::new(library);
        Ok(Self { library, entry: AtomicUsize::new(0), may_unload: AtomicBool::new(false) })
    }

    /// The function `name`.
    ///
    /// # Safety
    /// If it is there, it must be of the type `T`, a function pointer.
    pub(crate) unsafe fn symbol<T: Copy>(&self, name: &str) -> Option<T> {
        // SAFETY: by this function's own contract.
        unsafe { self.library.get::<T>(name.as_bytes()) }.ok().map(|symbol| *symbol)
    }

    /// Refuses an entry that somebody has already: then the system gave the code of another copy.
    pub(crate) fn claim_entry(&self, address: usize) -> Result<()> {
        if lock_entries().insert(address) {
            self.entry.store(address, Ordering::Relaxed);
            return Ok(());
        }
        let message = "the system gave the code of a library that is loaded already";
        Err(Error::new(ErrorKind::Internal, Stage::Load, message))
    }

    /// Unmaps it when this is dropped.
    ///
    /// # Safety
    /// Whoever refers to anything of the library has this, too; and no thread that has run its code
    /// needs it then.
    pub(crate) unsafe fn unload_when_dropped(&self) {
        self.may_unload.store(true, Ordering::Relaxed);
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        if !*self.may_unload.get_mut() {
            return;
        }
        lock_entries().remove(self.entry.get_mut());
        // SAFETY: it is not used again. That nobody needs it, `unload_when_dropped` was promised.
        let library = unsafe { ManuallyDrop::take(&mut self.library) };
        if let Err(error) = library.close() {
            log::warn!(target: "busbar::zone", "a library is not unloaded: {error}");
        }
    }
}

/// The entries of what is mapped.
fn lock_entries() -> MutexGuard<'static, BTreeSet<usize>> {
    static ENTRIES: Mutex<BTreeSet<usize>> = Mutex::new(BTreeSet::new());
    ENTRIES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What libraries of this system are.
const FORMAT: BinaryFormat = if cfg!(windows) {
    BinaryFormat::Pe
} else if cfg!(target_vendor = "apple") {
    BinaryFormat::MachO
} else {
    BinaryFormat::Elf
};

fn private_folder() -> std::io::Result<tempfile::TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("busbar-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o700));
    }
    builder.tempdir()
}

fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o500);
    }
    options.open(path)?.write_all(bytes)
}

/// Whether Go made it: then a runtime of its own starts as soon as it is mapped, so this is asked
/// before. Files that cannot be read are told of by [`inspect`].
pub(crate) fn is_go(bytes: &[u8]) -> bool {
    let file = object::File::parse(bytes);
    let has = |file: &object::File<'_>, name| file.section_by_name(name).is_some();
    file.is_ok_and(|file| GO_SECTIONS.iter().any(|name| has(&file, name)))
}

/// What Go leaves in every library, stripped ones included.
const GO_SECTIONS: [&str; 2] = [".go.buildinfo", "__go_buildinfo"];

pub(crate) fn io_error(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Io, Stage::Load, error.to_string()).with_source(error)
}

/// Whether the system's loader may have it: one that believes a damaged file may crash.
///
/// # Errors
/// `Damaged`, `Target`, `Symbol`.
pub(crate) fn inspect(bytes: &[u8], entries: &[&str]) -> Result<()> {
    let damaged = |message: String| Error::new(ErrorKind::Damaged, Stage::Load, message);
    let file = object::File::parse(bytes)
        .map_err(|error| damaged(format!("it is no library, or not all of one: {error}")))?;
    let architecture = match std::env::consts::ARCH {
        "x86_64" => Architecture::X86_64,
        "aarch64" => Architecture::Aarch64,
        _ => file.architecture(),
    };
    if file.format() != FORMAT || file.architecture() != architecture {
        let found = format!("{:?} of {:?}", file.architecture(), file.format());
        let message = format!("it is for {found}, and this machine is {architecture:?}");
        return Err(Error::new(ErrorKind::Target, Stage::Load, message.to_lowercase()));
    }
    if file.kind() != ObjectKind::Dynamic {
        return Err(damaged(format!("it is no dynamic library, but {:?}", file.kind())));
    }
    for segment in file.segments() {
        let (start, length) = segment.file_range();
        if start.checked_add(length).is_none_or(|end| end > bytes.len() as u64) {
            let message = format!("it is cut off: {} bytes of more", bytes.len());
            return Err(damaged(message));
        }
    }
    let exports = file.exports().map_err(|error| damaged(format!("its exports: {error}")))?;
    let mut shows_none = true;
    for export in exports {
        let export = export.map_err(|error| damaged(format!("its exports: {error}")))?;
        let NameOrOrdinal::Name(name) = export.name() else { continue };
        // Mach-O begins every name with an underscore.
        let plain = name.strip_prefix(b"_").unwrap_or_default();
        if entries.iter().any(|entry| [name, plain].contains(&entry.as_bytes())) {
            return Ok(());
        }
        shows_none = false;
    }
    if !shows_none {
        return Err(no_entry(entries));
    }
    // Without section headers nothing shows what it exports: the system's loader will.
    Ok(())
}

pub(crate) fn no_entry(entries: &[&str]) -> Error {
    let message = format!("it exports none of {}: it is no plugin", entries.join(", "));
    Error::new(ErrorKind::Symbol, Stage::Load, message)
}

#[cfg(unix)]
unsafe fn open(path: &Path) -> Result<Library, libloading::Error> {
    use libloading::os::unix::{Library as Unix, RTLD_LOCAL, RTLD_NOW};
    let flags = RTLD_NOW | RTLD_LOCAL;
    // SAFETY: by the contract of `Image::load`.
    unsafe { Unix::open(Some(path), flags).map(Into::into) }
}

#[cfg(not(unix))]
unsafe fn open(path: &Path) -> Result<Library, libloading::Error> {
    // SAFETY: by the contract of `Image::load`.
    unsafe { Library::new(path) }
}
