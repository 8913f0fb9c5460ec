//! Mapped files: archives that one program writes straight into a file and others read where they
//! lie (docs/formats/mapped.md). [`write()`] and [`Mapped`] know the type, [`NewFile`] and
//! [`MappedFile`] only its hash. Nothing here looks types up, waits for changes or locks files.
//!
//! A file is never changed: a new value is a new file that takes the old one's name. So readers
//! need no locks and have the old value or the new one, whole.
//!
//! # Soundness
//!
//! Rust takes it for granted that what lies behind `&Archived<T>` does not change. Validation is
//! worth nothing either if a relative pointer changes after it was checked. But the bytes of a
//! mapping are the file's, and other programs may open files. What there is against that:
//!
//! * **Programs that keep to the format** never write to a file that has its name. The files have
//!   mode 0444, so that writing to one takes intent (or root).
//! * **Other users** must be assumed to mean harm, and promises of the file's owner are no reason
//!   to trust them. [`Mapped::open`] maps a file in place only if its owner is the process's own
//!   user or root and its mode lets nobody else write. Any other file it reads into private memory
//!   and validates there: no longer in place, still sound. [`MappedFile::is_in_place`] tells. (A
//!   descriptor for writing that another user got before the owner tightened the mode remains
//!   unseen, and so do access control lists that the mode does not show. Files that [`NewFile`]
//!   makes never had another mode.)
//! * **The same user and root** can change this process's memory and program as well. That they
//!   leave the file alone is as much a condition as that nobody writes to `/proc/self/mem`: outside
//!   of what Rust can promise anything about. Against their *mistakes* there are the mode, the
//!   guard and [`Mapped::verify`]: they make mistakes known, they do not make references sound that
//!   were used while the bytes changed. Where the same user runs programs that are trusted less,
//!   in sandboxes for instance, [`Mapped::open_copy`] asks nothing of anybody.
//! * **Truncation** of a mapped file takes pages away, and SIGBUS ends whoever touches them. A
//!   handler of that signal (installed when the first file is mapped, passing on what is not ours)
//!   puts zero pages there and marks the mapping; `verify` then answers `ArchiveInvalid`. Zeros are
//!   an archive of most types but not of all (a `Box` of zeros points to itself), so the guard is
//!   for mistakes too: whoever must live with others that truncate opens a copy.
//!
//! [`MappedFile`] makes no references, so it maps in place whoever the owner is: its pointer is for
//! readers that check each thing as they read it, such as the codecs of TypeScript. Turning it into
//! a reference is `unsafe` ([`MappedFile::bytes`], [`Mapped::open_in_place`],
//! [`Mapped::open_unchecked`]), and the promise is the caller's.
//!
//! # Where files are not mapped
//!
//! Outside of Unix there is no such guard, and no such modes: files are read into memory, and
//! written from there. The same happens to files beyond the 1,024 that can be mapped at once.

mod file;
#[cfg(unix)]
mod guard;
#[cfg(not(unix))]
#[path = "mapped/no_guard.rs"]
mod guard;
mod header;
mod new_file;

use std::fmt;
use std::marker::PhantomData;
use std::path::Path;

use rkyv::Archive;

use self::file::Mode;
pub use self::{file::MappedFile, new_file::NewFile};
use crate::{Error, ErrorKind, Type, access, access_unchecked};

/// Writes a value to a file that takes the name `path`, and says how many bytes its archive has.
/// The archive goes from the value into the file's own pages, without a buffer in between.
///
/// The file is visible when this returns; for durable, use [`NewFile`] and [`NewFile::sync`].
///
/// # Errors
/// `SerializeFailed` for a value beyond what the format can hold, otherwise as
/// [`NewFile::create`] and [`NewFile::publish`]. What had the name before is then still there.
pub fn write<T: Type>(path: impl AsRef<Path>, value: &T) -> Result<usize, Error> {
    let bytes = value.archived_size()?;
    let mut file = NewFile::create(path, T::SCHEMA_HASH, bytes)?;
    let written = value.write_to_buffer(file.archive())?;
    if written != bytes {
        // Only a value that changes by itself does that.
        let message = format!("the value took {bytes} bytes, then {written}");
        return Err(Error::new(ErrorKind::SerializeFailed, message).at(T::NAME));
    }
    file.publish()?;
    Ok(bytes)
}

/// Writes an archive that somebody else made to a file that takes the name `path`.
///
/// # Errors
/// As [`NewFile::create`] and [`NewFile::publish`]. The bytes are not looked at.
pub fn write_bytes(path: impl AsRef<Path>, schema_hash: u64, archive: &[u8]) -> Result<(), Error> {
    let mut file = NewFile::create(path, schema_hash, archive.len())?;
    file.archive().copy_from_slice(archive);
    file.publish()
}

/// A value in a file, read in place.
///
/// ```
/// use busbar_types::mapped::{self, Mapped};
///
/// #[derive(busbar_types::Type)]
/// struct Order {
///     id: u64,
///     symbol: String,
/// }
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("order");
/// mapped::write(&path, &Order { id: 7, symbol: String::from("BTC-USDT") })?;
///
/// let order = Mapped::<Order>::open(&path)?;
/// assert_eq!(order.get().symbol, "BTC-USDT");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct Mapped<T: Type> {
    file: MappedFile,
    // Sent and shared between threads as what it lends.
    archived: PhantomData<<T as Archive>::Archived>,
}

impl<T: Type> Mapped<T> {
    /// Opens a file and checks its archive, in place if that is sound (see
    /// [the module](crate::mapped)), else in a copy. Accessing it costs nothing afterwards.
    ///
    /// # Errors
    /// `NotFound`, `Io`, `SchemaMismatch` if it holds another type, `ArchiveInvalid` if it is no
    /// file of this format or its bytes are no archive of `T`.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::checked(path.as_ref(), Mode::OwnOrCopy)
    }

    /// As [`Self::open`], in a copy whoever the file belongs to: what becomes of it afterwards does
    /// not matter.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_copy(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::checked(path.as_ref(), Mode::Copy)
    }

    /// As [`Self::open`], in place whoever may change the file.
    ///
    /// # Errors
    /// As [`Self::open`].
    ///
    /// # Safety
    /// No program may change the file in place for as long as this lives.
    pub unsafe fn open_in_place(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::checked(path.as_ref(), Mode::ReadOnly)
    }

    /// As [`Self::open_in_place`], without looking at the archive: the header is checked, bytes
    /// are not read before somebody uses them.
    ///
    /// # Errors
    /// As [`Self::open`], except for archives of `T` that are none.
    ///
    /// # Safety
    /// 1. No program may change the file in place for as long as this lives.
    /// 2. The archive must be one that [`Type::write_to_buffer`] of `T` made, whole and unchanged.
    pub unsafe fn open_unchecked(path: impl AsRef<Path>) -> Result<Self, Error> {
        let mapped = Self::of_this_type(path.as_ref(), Mode::ReadOnly)?;
        if mapped.file.len() < size_of::<<T as Archive>::Archived>() {
            let message = format!("{}: too short for its type", path.as_ref().display());
            return Err(Error::new(ErrorKind::ArchiveInvalid, message).at(T::NAME));
        }
        Ok(mapped)
    }

    /// The archive, where it lies.
    #[must_use]
    pub fn get(&self) -> &<T as Archive>::Archived {
        // SAFETY: whoever opened the file made sure or promised that its bytes stay the same, and
        // nobody has a pointer for writing.
        let bytes = unsafe { self.file.bytes() };
        // SAFETY: they were checked, or whoever opened them promised that they are an archive;
        // they begin at a multiple of 64.
        unsafe { access_unchecked::<T>(bytes) }
    }

    /// Whether the file is still as it was opened.
    ///
    /// # Errors
    /// As [`MappedFile::verify`].
    pub fn verify(&self) -> Result<(), Error> {
        self.file.verify().map_err(|error| error.at(T::NAME))
    }

    /// The file without its type.
    #[must_use]
    pub fn file(&self) -> &MappedFile {
        &self.file
    }

    fn checked(path: &Path, mode: Mode) -> Result<Self, Error> {
        let mapped = Self::of_this_type(path, mode)?;
        // SAFETY: nobody has a pointer for writing. That nobody changes the file, the mode made
        // sure or the caller promised.
        let bytes = unsafe { mapped.file.bytes() };
        access::<T>(bytes)?;
        // What was checked may have been zeros in place of bytes that were gone.
        mapped.verify()?;
        Ok(mapped)
    }

    fn of_this_type(path: &Path, mode: Mode) -> Result<Self, Error> {
        let file = MappedFile::open_as(path, mode)?;
        if file.schema_hash() != T::SCHEMA_HASH {
            let (path, found, expected) = (path.display(), file.schema_hash(), T::SCHEMA_HASH);
            let message = format!(
                "{path}: it holds the type with hash {found:016x}, not this one with \
                 {expected:016x}: read it by the version that wrote it, or write it anew"
            );
            return Err(Error::new(ErrorKind::SchemaMismatch, message).at(T::NAME));
        }
        Ok(Self { file, archived: PhantomData })
    }
}

impl<T: Type> fmt::Debug for Mapped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapped").field("type", &T::NAME).field("file", &self.file).finish()
    }
}
