//! A mapped file of whatever type: opened, checked from the outside, and there as address and
//! length. Looks at no byte of the archive.

use std::fmt;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::path::Path;
use std::ptr::NonNull;
use std::time::SystemTime;

use memmap2::{MmapMut, MmapOptions, MmapRaw};

use super::guard::Guard;
use super::header::{HEADER_BYTES, Header};
use crate::{Error, ErrorKind};

/// How the bytes of a file become memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Mapped, for reading only.
    ReadOnly,
    /// Mapped; what is written stays in this process.
    CopyOnWrite,
    /// Mapped for reading if only this process's own user can change the file, else copied.
    OwnOrCopy,
    /// Copied.
    Copy,
}

/// An archive in memory, out of a file that may be anybody's.
///
/// The archive is handed out as an address and a length. They stay valid and readable for as long
/// as this lives, whatever becomes of the file; the *bytes* are the file's. If another program
/// writes to the file, they change, and if it truncates the file, zeros stand in for what is gone.
/// [`Self::verify`] says whether that has happened. So no reference to the bytes comes without a
/// promise of the caller, and a reader of the pointer must not count on what it checked before.
///
/// ```
/// use busbar_types::mapped::{self, MappedFile};
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("position");
///
/// mapped::write_bytes(&path, 0x800e_54b1_aa53_8d22, &[0; 48])?;
/// let file = MappedFile::open(&path)?;
/// assert_eq!((file.schema_hash(), file.len()), (0x800e_54b1_aa53_8d22, 48));
/// file.verify()?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct MappedFile {
    // In this order: addresses leave the guard's table before they are given back.
    guard: Option<Guard>,
    memory: MmapRaw,
    file: File,
    modified: Option<SystemTime>,
    header: Header,
    archive_bytes: usize,
    is_writable: bool,
}

impl MappedFile {
    /// Maps a file for reading. Where files cannot be mapped safely (see
    /// [the module](crate::mapped)), reads it into memory.
    ///
    /// # Errors
    /// `NotFound`, `Io`, or `ArchiveInvalid` if it is no file of this format.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_as(path.as_ref(), Mode::ReadOnly)
    }

    /// As [`Self::open`], in memory that this process may write to without changing the file: what
    /// is handed to code that cannot be kept from writing.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_copy_on_write(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_as(path.as_ref(), Mode::CopyOnWrite)
    }

    pub(super) fn open_as(path: &Path, mode: Mode) -> Result<Self, Error> {
        open(path, mode).map_err(|problem| problem.of(path))
    }

    /// The hash of the archive's type, as the file says.
    #[must_use]
    pub fn schema_hash(&self) -> u64 {
        self.header.schema_hash
    }

    /// Where the archive begins: a multiple of 64.
    #[must_use]
    pub fn as_ptr(&self) -> *const u8 {
        self.memory.as_ptr().wrapping_add(HEADER_BYTES)
    }

    /// The same, for writing to what [`Self::open_copy_on_write`] opened; `None` for others.
    #[must_use]
    pub fn as_mut_ptr(&self) -> Option<NonNull<u8>> {
        let start = self.memory.as_mut_ptr().wrapping_add(HEADER_BYTES);
        NonNull::new(start).filter(|_| self.is_writable)
    }

    /// Bytes of the archive.
    #[must_use]
    pub fn len(&self) -> usize {
        self.archive_bytes
    }

    /// Whether the archive has no bytes, as that of a type without content.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.archive_bytes == 0
    }

    /// Whether the archive lies in the file's own pages rather than in a copy.
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        self.guard.is_some()
    }

    /// The archive.
    ///
    /// # Safety
    /// For as long as the slice is used:
    /// 1. No program may change the file, unless [`Self::is_in_place`] says `false`.
    /// 2. Nobody may write through [`Self::as_mut_ptr`].
    #[must_use]
    pub unsafe fn bytes(&self) -> &[u8] {
        // SAFETY: that many bytes are readable while `self` lives, and by 1. and 2. stay the same.
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.archive_bytes) }
    }

    /// Whether the file is still as it was opened. A file that was replaced by another is: this
    /// keeps the one that it opened. Costs one system call.
    ///
    /// It finds every truncation that a reader has run into, and changes of the length. It finds
    /// other writes as far as the file's time of modification shows them, which has a granularity
    /// of milliseconds.
    ///
    /// # Errors
    /// `ArchiveInvalid` if another program truncated, extended or wrote to the file meanwhile: what
    /// was read of it counts for nothing. `Io` if the operating system does not say.
    pub fn verify(&self) -> Result<(), Error> {
        let invalid = |message: &'static str| Err(Error::new(ErrorKind::ArchiveInvalid, message));
        let Some(guard) = &self.guard else { return Ok(()) };
        let metadata = self.file.metadata().map_err(|error| {
            Error::new(ErrorKind::Io, format!("asking for a mapped file: {error}"))
                .with_source(error)
        })?;
        if guard.is_broken() {
            return invalid("bytes of the file were gone when they were read");
        }
        if metadata.len() != (HEADER_BYTES + self.archive_bytes) as u64 {
            return invalid("the file has another length than when it was opened");
        }
        if metadata.modified().ok() != self.modified {
            return invalid("the file was written to after it was opened");
        }
        Ok(())
    }
}

impl fmt::Debug for MappedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MappedFile")
            .field("schema_hash", &format_args!("{:016x}", self.schema_hash()))
            .field("len", &self.len())
            .field("is_in_place", &self.is_in_place())
            .finish_non_exhaustive()
    }
}

/// What is wrong with a file whose name need not be known here.
pub(super) enum Problem {
    Invalid(String),
    Os(&'static str, io::Error),
}

impl Problem {
    #[cold]
    pub(super) fn of(self, path: &Path) -> Error {
        let path = path.display();
        match self {
            Self::Invalid(message) => {
                Error::new(ErrorKind::ArchiveInvalid, format!("{path}: {message}"))
            }
            Self::Os(what, error) => {
                let is_missing = error.kind() == io::ErrorKind::NotFound;
                let kind = if is_missing { ErrorKind::NotFound } else { ErrorKind::Io };
                Error::new(kind, format!("{path}: {what}: {error}")).with_source(error)
            }
        }
    }
}

fn open(path: &Path, mode: Mode) -> Result<MappedFile, Problem> {
    let mut file = open_file(path).map_err(|error| Problem::Os("opening it", error))?;
    let metadata = file.metadata().map_err(|error| Problem::Os("asking for its size", error))?;
    if !metadata.is_file() {
        return Err(Problem::Invalid(String::from("it is no regular file")));
    }
    let mut bytes = [0; HEADER_BYTES];
    read_exact(&mut file, &mut bytes)?;
    let header = Header::decode(&bytes, metadata.len()).map_err(Problem::Invalid)?;
    let file_bytes = usize::try_from(metadata.len())
        .map_err(|_| Problem::Invalid(String::from("it is larger than the address space")))?;

    let in_place = match mode {
        Mode::ReadOnly | Mode::CopyOnWrite => true,
        Mode::OwnOrCopy => is_own(&metadata),
        Mode::Copy => false,
    };
    let guarded = if in_place { map(&file, file_bytes, mode)? } else { None };
    let (guard, memory) = match guarded {
        Some((guard, memory)) => (Some(guard), memory),
        None => (None, copy(&mut file, file_bytes, &bytes)?),
    };
    let is_writable = mode == Mode::CopyOnWrite;
    let (modified, archive_bytes) = (metadata.modified().ok(), file_bytes - HEADER_BYTES);
    Ok(MappedFile { guard, memory, file, modified, header, archive_bytes, is_writable })
}

#[cfg(unix)]
fn open_file(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    // A pipe by this name would otherwise keep us waiting for somebody to write to it.
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

#[cfg(not(unix))]
fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).open(path)
}

/// Whether nobody but this process's own user, and root, can change the file.
#[cfg(unix)]
fn is_own(metadata: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    const WRITABLE_BY_OTHERS: u32 = 0o022;
    let owner = metadata.uid();
    (owner == rustix::process::geteuid().as_raw() || owner == 0)
        && metadata.mode() & WRITABLE_BY_OTHERS == 0
}

#[cfg(not(unix))]
fn is_own(_: &Metadata) -> bool {
    false
}

/// Maps the file under a guard; `None` if there is none left.
fn map(file: &File, file_bytes: usize, mode: Mode) -> Result<Option<(Guard, MmapRaw)>, Problem> {
    let failed = |error| Problem::Os("mapping it", error);
    let mut options = MmapOptions::new();
    options.len(file_bytes).no_reserve_swap();
    let memory: MmapRaw = match mode {
        // SAFETY: no reference to the memory is made here; `MappedFile` says who may make one.
        Mode::CopyOnWrite => unsafe { options.map_copy(file) }.map_err(failed)?.into(),
        // SAFETY: as above.
        _ => unsafe { options.map(file) }.map_err(failed)?.into(),
    };
    Ok(Guard::new(memory.as_ptr(), file_bytes).map(|guard| (guard, memory)))
}

/// Reads the file, whose header was read already, into memory of our own.
fn copy(file: &mut File, file_bytes: usize, header: &[u8]) -> Result<MmapRaw, Problem> {
    let mut memory: MmapMut = MmapOptions::new()
        .len(file_bytes)
        .map_anon()
        .map_err(|error| Problem::Os("taking memory for it", error))?;
    let (start, archive) = memory.split_at_mut(HEADER_BYTES);
    start.copy_from_slice(header);
    read_exact(file, archive)?;
    Ok(memory.into())
}

fn read_exact(file: &mut File, bytes: &mut [u8]) -> Result<(), Problem> {
    file.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => Problem::Invalid(String::from("it ends too early")),
        _ => Problem::Os("reading it", error),
    })
}
