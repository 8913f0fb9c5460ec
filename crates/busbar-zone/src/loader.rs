//! From a name or path to a zone: finding, verifying, loading, once for each file.

use std::collections::BTreeSet;
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use busbar_abi as abi;
use busbar_types::registry::Registry;

use crate::image::{Image, is_go};
use crate::library::{Library, Types, types_of};
use crate::reload::{ReloadOptions, Reloaded};
use crate::source::Source;
use crate::trust::FileHash;
use crate::zone::{GoLibraries, Mode, Options, Zone};
use crate::{Error, ErrorKind, LegacyEntries, Method, Result, Sidecar, Stage, Trust};

/// Folders of libraries, beside those that are configured.
pub const PATH_VARIABLE: &str = "BUSBAR_PLUGIN_PATH";

/// Finds and loads libraries.
#[derive(Debug)]
pub struct Loader {
    registry: &'static Registry,
    trust: Trust,
    folders: Vec<PathBuf>,
    legacy: LegacyEntries,
    known: Mutex<Known>,
}

/// What is loaded. Images are rarely unmapped, so each file is mapped once for what it is wanted
/// for, unless an instance of it panicked.
#[derive(Debug, Default)]
struct Known {
    libraries: Vec<(FileHash, Arc<Library>)>,
    /// Of libraries that stay, with how many bytes these have.
    types: Vec<(FileHash, Arc<Types>, usize)>,
    /// Files that were mapped and are not what was wanted: why not.
    failed: Vec<Failed>,
}

#[derive(Debug)]
struct Failed {
    hash: FileHash,
    /// The types alone, not a plugin.
    is_types: bool,
    error: Error,
    image_bytes: usize,
}

impl Known {
    /// Whether another image may be mapped for a file that is not known.
    ///
    /// # Errors
    /// Why it failed before; `Budget`.
    fn check_new(&self, hash: FileHash, is_types: bool) -> Result<()> {
        let is_it = |failed: &&Failed| failed.hash == hash && failed.is_types == is_types;
        if let Some(failed) = self.failed.iter().find(is_it) {
            return Err(failed.error.clone());
        }
        let libraries = self.libraries.iter().filter_map(|(_, library)| library.idle_bytes());
        let types = self.types.iter().filter(|(_, types, _)| types.are_idle());
        let types = types.map(|(.., bytes)| *bytes);
        let failed = self.failed.iter().map(|failed| failed.image_bytes);
        check_budget(libraries.chain(types).chain(failed))
    }

    /// It was mapped, and is not loaded again.
    fn fail(&mut self, source: &Source, is_types: bool, error: Error) -> Error {
        let (hash, image_bytes) = (source.hash, source.bytes.len());
        self.failed.push(Failed { hash, is_types, error: error.clone(), image_bytes });
        error
    }
}

/// What lies in a folder of plugins.
#[derive(Debug)]
#[non_exhaustive]
pub struct Found {
    /// Where it is.
    pub path: PathBuf,
    /// What the text beside it says; nothing if there is none.
    pub sidecar: Option<Sidecar>,
}

impl Loader {
    /// A loader that registers types in `registry`.
    #[must_use]
    pub fn new(registry: &'static Registry, trust: Trust) -> Self {
        let (folders, legacy, known) = Default::default();
        Self { registry, trust, folders, legacy, known }
    }

    /// Looks for libraries in this folder, too, before the ones of [`PATH_VARIABLE`].
    pub fn add_folder(&mut self, folder: impl Into<PathBuf>) -> &mut Self {
        self.folders.push(folder.into());
        self
    }

    /// Other names for the legacy entries.
    pub fn set_legacy_entries(&mut self, entries: LegacyEntries) -> &mut Self {
        self.legacy = entries;
        self
    }

    /// The configured folders, then those of [`PATH_VARIABLE`]. Never the working directory.
    #[must_use]
    pub fn folders(&self) -> Vec<PathBuf> {
        let variable = std::env::var_os(PATH_VARIABLE).unwrap_or_default();
        let more = std::env::split_paths(&variable).filter(|folder| folder.is_absolute());
        self.folders.iter().cloned().chain(more).collect()
    }

    /// The library called `name` in the first of the folders that has one.
    ///
    /// # Errors
    /// `NotFound`, with the folders; `InvalidArgument` for what is no name.
    pub fn find(&self, name: &str) -> Result<PathBuf> {
        if name.is_empty() || name.contains(['/', '\\', '\0']) || name.starts_with('.') {
            let message = format!("{name:?} is no name of a library: give a path instead");
            return Err(Error::new(ErrorKind::InvalidArgument, Stage::Verify, message));
        }
        let folders = self.folders();
        let candidates = [format!("{DLL_PREFIX}{name}{DLL_SUFFIX}"), format!("{name}{DLL_SUFFIX}")];
        let paths = folders.iter().flat_map(|it| candidates.iter().map(|file| it.join(file)));
        paths.into_iter().find(|path| path.is_file()).ok_or_else(|| {
            let folders: Vec<_> = folders.iter().map(|it| it.display().to_string()).collect();
            let message = format!("no library {name:?} in [{}]", folders.join(", "));
            Error::new(ErrorKind::NotFound, Stage::Verify, message)
        })
    }

    /// The libraries in all folders, verified. None of their code runs. A folder that cannot be
    /// read, and a file that is not to be loaded, is an error among the others.
    #[must_use]
    pub fn scan(&self) -> Vec<Result<Found>> {
        let mut found = Vec::new();
        for folder in self.folders() {
            match libraries_in(&folder) {
                Ok(paths) => found.extend(paths.iter().map(|path| {
                    let Source { path, sidecar, .. } = Source::read(path, &self.trust)?;
                    Ok(Found { path, sidecar })
                })),
                Err(error) => {
                    let message = error.to_string();
                    let error = Error::new(ErrorKind::Io, Stage::Verify, message);
                    found.push(Err(error.of(folder.display().to_string())));
                }
            }
        }
        found
    }

    /// Opens a zone of the library at `path`. This reads files and runs the plugin's `init`: it is
    /// nothing for the thread of an event loop.
    ///
    /// # Errors
    /// One kind for each thing that can be wrong with a library: see [`ErrorKind`].
    ///
    /// # Safety
    /// The library's code runs, and must be trusted to do no harm and to keep to the contract.
    pub unsafe fn load(&self, path: &Path, options: &Options<'_>) -> Result<Zone> {
        let source = Source::read(path, &self.trust)?;
        let subject = source.path.display().to_string();
        if place(&source, options).map_err(|error| error.of(&*subject))? == Mode::Process {
            let zone = Zone::open_process(source, &self.trust, self.registry, options);
            return zone.map_err(|error| error.of(subject));
        }
        // SAFETY: by this function's own contract.
        let library = unsafe { self.library(&source) };
        let library = library.map_err(|error| error.of(&*subject))?;
        Zone::open(&library, self.registry, options).map_err(|error| error.of(subject))
    }

    /// Has the zone call the library at `path` from now on, without a call failing: see
    /// [`ReloadOptions`]. This reads files, runs the plugin's `init` and waits for the calls of the
    /// last generation: it is nothing for the thread of an event loop.
    ///
    /// # Errors
    /// As [`Self::load`]; `SchemaMismatch` if its methods, or its state, are not those of the last
    /// generation. Then the last generation goes on.
    ///
    /// # Safety
    /// As [`Self::load`].
    pub unsafe fn reload(
        &self,
        zone: &Zone,
        path: &Path,
        options: &ReloadOptions,
    ) -> Result<Reloaded> {
        let source = Source::read(path, &self.trust)?;
        let subject = || source.path.display().to_string();
        let transport = zone.transport();
        if let Some(remote) = transport.remote() {
            let reloaded = remote.reload(source, &self.trust, options);
            return reloaded.map_err(|error| error.of(path.display().to_string()));
        }
        let Some(local) = transport.local() else {
            let message = "there is no plugin behind this zone that could be reloaded";
            return Err(Error::new(ErrorKind::NotSupported, Stage::Call, message));
        };
        if local.is_current(source.hash) {
            return Ok(Reloaded::Unchanged);
        }
        // SAFETY: by this function's own contract.
        let library = unsafe { self.library(&source) };
        let library = library.map_err(|error| error.of(subject()))?;
        let generation = local.reload(&library, options);
        generation.map(Reloaded::Generation).map_err(|error| error.of(subject()))
    }

    /// What the library at `path` says of itself; nothing of it is called but its entry.
    ///
    /// # Errors
    /// As [`Self::load`]; `Symbol` for a library that is no plugin.
    ///
    /// # Safety
    /// As [`Self::load`].
    pub unsafe fn describe(&self, path: &Path) -> Result<Description> {
        let source = Source::read(path, &self.trust)?;
        // SAFETY: by this function's own contract.
        let library = unsafe { self.library(&source) };
        let library = library.map_err(|error| error.of(source.path.display().to_string()))?;
        let contract = &library.contract;
        Ok(Description { id: contract.id.clone(), methods: contract.methods.clone() })
    }

    /// Opens a zone of a plugin that is compiled into this program.
    ///
    /// # Errors
    /// As [`Self::load`].
    ///
    /// # Safety
    /// `entry` keeps to the contract.
    pub unsafe fn open(&self, entry: abi::ManifestEntry, options: &Options<'_>) -> Result<Zone> {
        // SAFETY: by this function's own contract.
        let library = unsafe { Library::compiled_in(entry) }?;
        Zone::open(&Arc::new(library), self.registry, options)
    }

    /// Registers the types of the library at `path`, a plugin or a legacy library, until
    /// [`LoadedTypes`] is dropped.
    ///
    /// # Errors
    /// As [`Self::load`].
    ///
    /// # Safety
    /// As [`Self::load`].
    pub unsafe fn load_types(&self, path: &Path, allow_versions: bool) -> Result<LoadedTypes> {
        let source = Source::read(path, &self.trust)?;
        let subject = || source.path.display().to_string();
        // SAFETY: by this function's own contract.
        let types = unsafe { self.types(&source) }.map_err(|error| error.of(subject()))?;
        let published = types.publish(self.registry, allow_versions);
        published.map_err(|error| error.of(subject()))?;
        Ok(LoadedTypes { types, registry: self.registry })
    }

    /// # Safety
    /// As [`Self::load`].
    unsafe fn library(&self, source: &Source) -> Result<Arc<Library>> {
        // Held while loading: of two threads that load a file, one finds it loaded.
        let mut known = self.lock_known();
        known.libraries.retain(|(_, library)| !library.is_unloaded());
        let is_it = |(hash, library): &&(FileHash, Arc<Library>)| {
            *hash == source.hash && library.is_reusable()
        };
        let library = match known.libraries.iter().find(is_it) {
            Some((_, library)) => Arc::clone(library),
            None => {
                known.check_new(source.hash, false)?;
                // SAFETY: by this function's own contract.
                let image = unsafe { Image::load(source, &[abi::ENTRY]) }?;
                // SAFETY: as above.
                let library = unsafe { Library::of_file(image, source) };
                let library = Arc::new(library.map_err(|error| known.fail(source, false, error))?);
                known.libraries.push((source.hash, Arc::clone(&library)));
                library
            }
        };
        library.check(source.sidecar.as_ref())?;
        self.trust.check_id(&library.contract.id, source.hash)?;
        Ok(library)
    }

    /// # Safety
    /// As [`Self::load`].
    unsafe fn types(&self, source: &Source) -> Result<Arc<Types>> {
        let mut known = self.lock_known();
        if let Some((_, types, _)) = known.types.iter().find(|(hash, ..)| *hash == source.hash) {
            return Ok(Arc::clone(types));
        }
        known.check_new(source.hash, true)?;
        let symbols = [abi::ENTRY, &self.legacy.get_descriptors, &self.legacy.register];
        // SAFETY: by this function's own contract.
        let image = unsafe { Image::load(source, &symbols) }?;
        // SAFETY: as above.
        let types = unsafe { types_of(image, source, &self.legacy) };
        let (types, stays) = types.map_err(|error| known.fail(source, true, error))?;
        let types = Arc::new(types);
        if stays {
            known.types.push((source.hash, Arc::clone(&types), source.bytes.len()));
        }
        Ok(types)
    }

    fn lock_known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Images that nobody uses, by a loader: no more of them.
const IDLE_IMAGES_MAX: usize = 64;
/// And not with more bytes.
const IDLE_BYTES_MAX: usize = 64 << 20;

/// Whether one more image may be mapped beside those that nobody uses.
///
/// # Errors
/// `Budget`.
fn check_budget(idle: impl Iterator<Item = usize>) -> Result<()> {
    let (count, bytes) = idle.fold((0, 0), |(count, sum), bytes| (count + 1, sum + bytes));
    let message = format!(
        "{count} images of {} KiB that nobody uses are left in memory, where {IDLE_IMAGES_MAX} of \
         {} KiB may be: run such plugins in a process of their own",
        bytes >> 10,
        IDLE_BYTES_MAX >> 10
    );
    if count >= IDLE_IMAGES_MAX || bytes >= IDLE_BYTES_MAX {
        return Err(Error::new(ErrorKind::Budget, Stage::Load, message));
    }
    if count >= IDLE_IMAGES_MAX / 2 || bytes >= IDLE_BYTES_MAX / 2 {
        log::warn!(target: "busbar::zone", "{message}");
    }
    Ok(())
}

/// The mode that a library gets: the one that is asked for, unless Go made it.
fn place(source: &Source, options: &Options<'_>) -> Result<Mode> {
    /// The library in Go that this process has.
    static GO: Mutex<Option<FileHash>> = Mutex::new(None);

    if options.mode == Mode::Process || !is_go(&source.bytes) {
        return Ok(options.mode);
    }
    let refused = |message| Err(Error::new(ErrorKind::NotSupported, Stage::Verify, message));
    match options.go {
        GoLibraries::Isolate => Ok(Mode::Process),
        GoLibraries::Refuse => {
            refused("it is in Go, and so for the mode process, unless Go is allowed in this one")
        }
        GoLibraries::Allow => {
            let mut go = GO.lock().unwrap_or_else(PoisonError::into_inner);
            if *go.get_or_insert(source.hash) == source.hash {
                return Ok(options.mode);
            }
            refused("it is in Go, and this process has another library in Go already")
        }
    }
}

/// What a plugin says of itself.
#[derive(Debug)]
#[non_exhaustive]
pub struct Description {
    /// Its id.
    pub id: String,
    /// Its methods.
    pub methods: Vec<Method>,
}

/// Types of a library that are registered as long as this is there. Whoever has an entry keeps it.
#[derive(Debug)]
pub struct LoadedTypes {
    types: Arc<Types>,
    registry: &'static Registry,
}

impl LoadedTypes {
    /// Names and hashes.
    pub fn names(&self) -> impl Iterator<Item = (&str, u64)> {
        self.types.names()
    }
}

impl Drop for LoadedTypes {
    fn drop(&mut self) {
        self.types.withdraw(self.registry);
    }
}

/// Each once, though several names may lead to one file.
fn libraries_in(folder: &Path) -> std::io::Result<BTreeSet<PathBuf>> {
    let mut paths = BTreeSet::new();
    for entry in folder.read_dir()? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(DLL_SUFFIX) {
            // One that leads nowhere is told of by whoever reads it.
            paths.insert(path.canonicalize().unwrap_or(path));
        }
    }
    Ok(paths)
}
