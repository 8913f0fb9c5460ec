//! A mapped file in the making: bytes are reserved, written through a mapping, and then take the
//! name that readers know. Until then nobody else sees them; if that never comes, they are gone.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use memmap2::{MmapMut, MmapOptions};
use tempfile::NamedTempFile;

use super::file::Problem;
use super::guard::Guard;
use super::header::{ARCHIVE_BYTES_MAX, HEADER_BYTES, Header};
use crate::Error;

/// A file for an archive of known size: [`create`](Self::create), write into
/// [`archive`](Self::archive), [`publish`](Self::publish).
///
/// ```
/// use busbar_types::Type;
/// use busbar_types::mapped::{Mapped, NewFile};
///
/// #[derive(busbar_types::Type)]
/// struct Position {
///     latitude: f64,
///     longitude: f64,
/// }
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("position");
/// let position = Position { latitude: 48.1, longitude: 11.6 };
/// let bytes = position.archived_size()?;
/// let mut file = NewFile::create(&path, Position::SCHEMA_HASH, bytes)?;
/// position.write_to_buffer(file.archive())?;
/// file.publish()?;
///
/// let mapped = Mapped::<Position>::open(&path)?;
/// assert_eq!(mapped.get().latitude.to_native(), 48.1);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct NewFile {
    // In this order: addresses leave the guard's table before they are given back.
    guard: Option<Guard>,
    memory: MmapMut,
    file: NamedTempFile,
    path: PathBuf,
}

impl NewFile {
    /// Makes a file of the right size next to `path`, so that a full disk shows here. The archive
    /// is zeros at first.
    ///
    /// # Errors
    /// `NotFound` if there is no such folder, `Io` if there is no room or no permission.
    pub fn create(
        path: impl AsRef<Path>,
        schema_hash: u64,
        archive_bytes: usize,
    ) -> Result<Self, Error> {
        let path = path.as_ref();
        create(path, Header { schema_hash, archive_bytes: archive_bytes as u64 })
            .map_err(|problem| problem.of(path))
    }

    /// Where the archive goes: all of it, its root at the end.
    #[must_use]
    pub fn archive(&mut self) -> &mut [u8] {
        &mut self.memory[HEADER_BYTES..]
    }

    /// Waits until the bytes are on the disk. Without it, [`Self::publish`] makes them visible, but
    /// a crash of the machine may leave a file of the right length without its bytes.
    ///
    /// # Errors
    /// `Io` if the disk fails.
    pub fn sync(&self) -> Result<(), Error> {
        let sync = || {
            if self.guard.is_some() {
                self.memory.flush()?;
            } else {
                write_all(self.file.as_file(), &self.memory)?;
            }
            self.file.as_file().sync_all()
        };
        sync().map_err(|error| Problem::Os("syncing it", error).of(&self.path))
    }

    /// Gives the file its name. Whoever opens that from now on has the new file; whoever has the
    /// old one open keeps it.
    ///
    /// # Errors
    /// `Io` if the name cannot be taken, or bytes of the file were lost: it is then as it was.
    pub fn publish(self) -> Result<(), Error> {
        let Self { guard, memory, file, path } = self;
        publish(guard, memory, file, &path).map_err(|problem| problem.of(&path))
    }
}

impl fmt::Debug for NewFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewFile").field("path", &self.path).finish_non_exhaustive()
    }
}

fn create(path: &Path, header: Header) -> Result<NewFile, Problem> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let file = make_file(folder.unwrap_or(Path::new(".")))
        .map_err(|error| Problem::Os("making a file next to it", error))?;
    let too_large = || Problem::Os("reserving its bytes", io::ErrorKind::FileTooLarge.into());
    // Also of 32 bits, where a mapping is no longer than what is signed.
    let file_bytes = usize::try_from(header.archive_bytes)
        .ok()
        .filter(|_| header.archive_bytes <= ARCHIVE_BYTES_MAX)
        .and_then(|bytes| bytes.checked_add(HEADER_BYTES))
        .filter(|bytes| isize::try_from(*bytes).is_ok())
        .ok_or_else(too_large)?;
    reserve(file.as_file(), file_bytes as u64)
        .map_err(|error| Problem::Os("reserving its bytes", error))?;
    let (guard, mut memory) =
        map(file.as_file(), file_bytes).map_err(|error| Problem::Os("mapping it", error))?;
    memory[..HEADER_BYTES].copy_from_slice(&header.encode());
    Ok(NewFile { guard, memory, file, path: path.to_owned() })
}

#[cfg(unix)]
fn make_file(folder: &Path) -> io::Result<NamedTempFile> {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;
    // From the first moment on, nobody can open it for writing, not even its owner by mistake.
    let read_only = Permissions::from_mode(0o444);
    tempfile::Builder::new().prefix(PREFIX).permissions(read_only).tempfile_in(folder)
}

#[cfg(not(unix))]
fn make_file(folder: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new().prefix(PREFIX).tempfile_in(folder)
}

/// Gives the file its bytes, all zeros, so that writing to a mapping of it cannot run out of disk.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::{Errno, retry_on_intr};
    // Large files take long enough for a signal to come.
    match retry_on_intr(|| fallocate(file, FallocateFlags::empty(), 0, bytes)) {
        // Not every file system can.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_zeros(file, bytes),
        result => Ok(result?),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    write_zeros(file, bytes)
}

fn write_zeros(mut file: &File, bytes: u64) -> io::Result<()> {
    io::copy(&mut io::Read::take(io::repeat(0), bytes), &mut file).map(drop)
}

/// Maps the file under a guard. Without one, what is written gets into the file later.
fn map(file: &File, file_bytes: usize) -> io::Result<(Option<Guard>, MmapMut)> {
    // SAFETY: the file is new, its name is a secret, and its mode lets nobody else open it for
    // writing: see "Soundness" in the module's doc.
    let memory = unsafe { MmapOptions::new().len(file_bytes).map_mut(file) }?;
    match Guard::new(memory.as_ptr(), file_bytes) {
        Some(guard) => Ok((Some(guard), memory)),
        None => Ok((None, MmapOptions::new().len(file_bytes).map_anon()?)),
    }
}

fn write_all(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    io::Seek::rewind(&mut file)?;
    file.write_all(bytes)
}

fn publish(
    guard: Option<Guard>,
    memory: MmapMut,
    file: NamedTempFile,
    path: &Path,
) -> Result<(), Problem> {
    match &guard {
        None => {
            write_all(file.as_file(), &memory).map_err(|error| Problem::Os("writing it", error))?
        }
        Some(guard) if guard.is_broken() => {
            let error = io::Error::other("bytes of it were lost while they were written");
            return Err(Problem::Os("writing it", error));
        }
        Some(_) => {}
    }
    // Nothing of ours can change the file any more when the first reader opens it.
    drop((guard, memory));
    let file = file.into_temp_path();
    file.persist(path).map_err(|error| Problem::Os("giving it its name", error.error))
}

/// Of the names of files in the making. What a crash leaves behind can be told by it.
const PREFIX: &str = ".busbar-";
