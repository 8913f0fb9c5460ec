//! A library that is loaded and understood: its contract, its types, and who uses it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use busbar_abi::{self as abi, LegacyTypeDescriptor, TypeDescriptor};
use busbar_types::ErrorKind as TypeErrorKind;
use busbar_types::library::{Entry, SYMBOL, describe_entry};
use busbar_types::registry::{Registry, TypeEntry};
use busbar_types::schema::Schema;

use crate::contract::{Contract, bad, check_count, named, null};
use crate::image::{Image, no_entry};
use crate::source::Source;
use crate::trust::FileHash;
use crate::types;
use crate::{Error, ErrorKind, Result, Sidecar, Stage};

/// Slots that a legacy library is given at first.
const SLOTS: usize = 64;
/// No legacy library has more types.
const SLOTS_MAX: usize = 4096;

/// A loaded plugin library.
#[derive(Debug)]
pub(crate) struct Library {
    pub(crate) contract: Contract,
    types: Types,
    /// An instance panicked: what its statics hold is anybody's guess.
    distrusted: AtomicBool,
    users: Mutex<LibraryUsers>,
    /// Of its file; none if it is compiled in.
    pub(crate) hash: Option<FileHash>,
    /// Of its file.
    image_bytes: usize,
}

#[derive(Debug, Default)]
struct LibraryUsers {
    /// How many instances there are.
    instances: usize,
    /// How many instances there are or were whose threads have not been joined: as far as those of
    /// this program, or of zones without threads of their own, never are.
    unjoined: usize,
    /// What was mapped; `None` if it is compiled in, or was unloaded. The types have it, too.
    image: Option<Arc<Image>>,
    is_unloaded: bool,
    /// Whether there is an instance that was left as it is.
    is_kept: bool,
}

/// The ids of plugins that allow one instance in a process, and have it: of whatever image.
static SINGLETONS: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// The types of a library, in a registry while somebody uses them.
#[derive(Debug)]
pub(crate) struct Types {
    entries: Vec<Arc<TypeEntry>>,
    users: Mutex<Users>,
}

#[derive(Debug, Default)]
struct Users {
    count: usize,
    /// What is registered for them, by this library or by another one with the same types.
    held: Vec<Arc<TypeEntry>>,
}

/// How many libraries hold each entry that one of them has registered: the last one takes it out.
static HOLDERS: Mutex<BTreeMap<usize, usize>> = Mutex::new(BTreeMap::new());

fn address_of(entry: &Arc<TypeEntry>) -> usize {
    Arc::as_ptr(entry).addr()
}

impl Types {
    pub(crate) fn new(entries: Vec<Arc<TypeEntry>>) -> Self {
        Self { entries, users: Mutex::default() }
    }

    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "for processes"))]
    pub(crate) fn entries(&self) -> &[Arc<TypeEntry>] {
        &self.entries
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = (&str, u64)> {
        self.entries.iter().map(|entry| (&*entry.type_name, entry.schema_hash))
    }

    /// Registers them, if nobody uses them yet.
    pub(crate) fn publish(&self, registry: &Registry, allow_versions: bool) -> Result<()> {
        let mut users = lock(&self.users);
        if users.count == 0 {
            let mut holders = lock(&HOLDERS);
            let registered = registry.register_all(&self.entries, allow_versions);
            let registered = registered.map_err(|error| {
                let kind = match error.kind() {
                    TypeErrorKind::SchemaMismatch => ErrorKind::SchemaMismatch,
                    _ => ErrorKind::SchemaInvalid,
                };
                Error::new(kind, Stage::Activate, error.to_string()).with_source(error)
            })?;
            // What somebody else registered, such as the program itself, is not ours to take out.
            for (entry, offered) in registered.into_iter().zip(&self.entries) {
                let is_ours = Arc::ptr_eq(&entry, offered);
                if !is_ours && !holders.contains_key(&address_of(&entry)) {
                    continue;
                }
                *holders.entry(address_of(&entry)).or_insert(0) += 1;
                users.held.push(entry);
            }
        }
        users.count += 1;
        Ok(())
    }

    /// Whether nobody uses them.
    pub(crate) fn are_idle(&self) -> bool {
        lock(&self.users).count == 0
    }

    /// Takes them out, if nobody else uses them.
    pub(crate) fn withdraw(&self, registry: &Registry) {
        let mut users = lock(&self.users);
        users.count -= 1;
        if users.count > 0 {
            return;
        }
        let mut holders = lock(&HOLDERS);
        for entry in users.held.drain(..) {
            let left = holders.get_mut(&address_of(&entry)).map(|count| {
                *count -= 1;
                *count
            });
            if left == Some(0) {
                holders.remove(&address_of(&entry));
                registry.unregister_all(&[entry]);
            }
        }
    }
}

impl Library {
    /// Has the mapped library of a file say what it is.
    ///
    /// # Errors
    /// As [`Contract::read`].
    ///
    /// # Safety
    /// As [`Image::load`].
    pub(crate) unsafe fn of_file(image: Image, source: &Source) -> Result<Self> {
        // SAFETY: by this function's own contract.
        let mut library = unsafe { Self::of_image(image, &source.path) }?;
        (library.hash, library.image_bytes) = (Some(source.hash), source.bytes.len());
        Ok(library)
    }

    /// Whether it is what the text beside it says.
    ///
    /// # Errors
    /// `Sidecar`.
    pub(crate) fn check(&self, sidecar: Option<&Sidecar>) -> Result<()> {
        let Some(sidecar) = sidecar else { return Ok(()) };
        let Contract { id, version, methods, .. } = &self.contract;
        let methods = methods.iter().map(|method| &*method.name);
        sidecar.check(id, version, methods, self.types.names())
    }

    /// Has a mapped library say what it is.
    ///
    /// # Errors
    /// As [`Contract::read`].
    ///
    /// # Safety
    /// As [`Image::load`].
    pub(crate) unsafe fn of_image(image: Image, path: &Path) -> Result<Self> {
        let image = Arc::new(image);
        // SAFETY: what exports this name has this type; that is what the name is for.
        let entry = unsafe { image.symbol::<abi::ManifestEntry>(abi::ENTRY) };
        let entry = entry.ok_or_else(|| no_entry(&[abi::ENTRY]))?;
        image.claim_entry(entry as usize)?;
        // SAFETY: as above.
        let schemas = unsafe { schemas(&image) }?;
        // SAFETY: as above.
        let library = unsafe { Self::bind(entry, &schemas, Some(&image), path) }?;
        lock(&library.users).image = Some(image);
        Ok(library)
    }

    /// A plugin that is compiled in.
    ///
    /// # Errors
    /// As [`Contract::read`].
    ///
    /// # Safety
    /// `entry` and all that it gives are as the contract says.
    pub(crate) unsafe fn compiled_in(entry: abi::ManifestEntry) -> Result<Self> {
        // SAFETY: by this function's own contract.
        unsafe { Self::bind(entry, &[], None, Path::new("compiled in")) }
    }

    /// # Safety
    /// `entry` is that of `image`, by the contract.
    unsafe fn bind(
        entry: abi::ManifestEntry,
        schemas: &[Schema],
        image: Option<&Arc<Image>>,
        path: &Path,
    ) -> Result<Self> {
        // SAFETY: as the caller promises.
        let manifest = unsafe { entry() };
        // SAFETY: as the caller promises.
        let mut contract = unsafe { Contract::read(manifest) }?;
        let origin = format!("{} ({})", contract.id, path.display());
        let types = std::mem::take(&mut contract.types);
        // SAFETY: as the caller promises.
        let entries = unsafe { types::entries(types, schemas, image, &origin, false) }?;
        Ok(Self {
            contract,
            types: Types::new(entries),
            distrusted: AtomicBool::new(false),
            users: Mutex::default(),
            hash: None,
            image_bytes: 0,
        })
    }

    pub(crate) fn types(&self) -> &Types {
        &self.types
    }

    /// One more instance, unless the plugin allows one only. So it cannot be reloaded within a
    /// process, where the next one is made while the last one serves.
    pub(crate) fn add_instance(&self) -> Result<()> {
        let mut users = lock(&self.users);
        if users.is_unloaded {
            let message = "it was unloaded just now: load it once more";
            return Err(Error::new(ErrorKind::Again, Stage::Ready, message));
        }
        if self.is_singleton() && !lock(&SINGLETONS).insert(self.contract.id.clone()) {
            let message = "it allows one instance in a process, and there is one";
            return Err(Error::new(ErrorKind::InUse, Stage::Ready, message));
        }
        (users.instances, users.unjoined) = (users.instances + 1, users.unjoined + 1);
        Ok(())
    }

    pub(crate) fn remove_instance(&self) {
        let mut users = lock(&self.users);
        users.instances -= 1;
        if self.is_singleton() && !users.is_kept {
            lock(&SINGLETONS).remove(&self.contract.id);
        }
    }

    fn is_singleton(&self) -> bool {
        self.contract.flags & abi::plugin_flag::SINGLETON != 0
    }

    /// Every thread has been joined on which the host called an instance that has ended. If that
    /// holds for all there were, and the plugin says that it leaves nothing behind, it is unmapped
    /// as soon as nobody has types of it.
    pub(crate) fn joined(&self) {
        let mut users = lock(&self.users);
        users.unjoined -= 1;
        if users.unjoined > 0 || !self.contract.is_unloadable() || !self.is_reusable() {
            return;
        }
        let Some(image) = users.image.take() else { return };
        users.is_unloaded = true;
        // SAFETY: its instances have ended, as have the threads that were inside; its types have
        // the image. By the contract it has left nothing.
        unsafe { image.unload_when_dropped() };
    }

    /// It stays mapped for ever: something of it may still run.
    pub(crate) fn keep(&self) {
        let mut users = lock(&self.users);
        users.is_kept = true;
        // As others may let go of it.
        std::mem::forget(users.image.take());
    }

    /// It is not loaded from memory again.
    pub(crate) fn distrust(&self) {
        self.distrusted.store(true, Ordering::Relaxed);
    }

    /// What its image takes, if nobody uses it and it stays: that is lost.
    pub(crate) fn idle_bytes(&self) -> Option<usize> {
        let users = lock(&self.users);
        let is_idle = users.instances == 0 || !self.is_reusable();
        (is_idle && !users.is_unloaded).then_some(self.image_bytes)
    }

    pub(crate) fn is_unloaded(&self) -> bool {
        lock(&self.users).is_unloaded
    }

    /// Whether another zone may have an instance of this image.
    pub(crate) fn is_reusable(&self) -> bool {
        !self.distrusted.load(Ordering::Relaxed)
    }
}

/// The types of a mapped library without instances, by a legacy entry, or by what a plugin says;
/// and whether it stays mapped without them.
///
/// # Errors
/// As [`Library::of_image`].
///
/// # Safety
/// As [`Image::load`].
pub(crate) unsafe fn types_of(
    image: Image,
    source: &Source,
    entries: &LegacyEntries,
) -> Result<(Types, bool)> {
    let image = Arc::new(image);
    // SAFETY: what exports this name has this type; that is what the name is for.
    if let Some(entry) = unsafe { image.symbol::<abi::ManifestEntry>(abi::ENTRY) } {
        // SAFETY: as above.
        let schemas = unsafe { schemas(&image) }?;
        // SAFETY: as above.
        let library = unsafe { Library::bind(entry, &schemas, Some(&image), &source.path) }?;
        let stays = !library.contract.is_unloadable();
        if !stays {
            // SAFETY: there are no instances, and its types have the image. By the contract they
            // leave nothing behind.
            unsafe { image.unload_when_dropped() };
        }
        return Ok((library.types, stays));
    }
    // SAFETY: as above.
    let descriptors = unsafe { legacy_descriptors(&image, entries) }?;
    let named = descriptors.into_iter().enumerate().map(|(index, descriptor)| {
        // SAFETY: the library's, by the contract.
        unsafe { named(descriptor, index) }
    });
    let types = named.collect::<Result<Vec<_>>>()?;
    let origin = source.path.display().to_string();
    // SAFETY: as above.
    let entries = unsafe { types::entries(types, &[], Some(&image), &origin, true) }?;
    Ok((Types::new(entries), true))
}

/// The names of the legacy entries, which libraries of one system may have changed for theirs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LegacyEntries {
    /// Gives an array.
    pub get_descriptors: String,
    /// Fills slots.
    pub register: String,
}

impl Default for LegacyEntries {
    fn default() -> Self {
        Self {
            get_descriptors: abi::LEGACY_GET_DESCRIPTORS.to_owned(),
            register: abi::LEGACY_REGISTER.to_owned(),
        }
    }
}

/// # Safety
/// What `image` exports under these names is of the types in the header.
unsafe fn legacy_descriptors(
    image: &Image,
    entries: &LegacyEntries,
) -> Result<Vec<TypeDescriptor>> {
    // SAFETY: as the caller promises.
    let get = unsafe { image.symbol::<abi::LegacyGetDescriptors>(&entries.get_descriptors) };
    if let Some(get) = get {
        let mut count = 0;
        // SAFETY: as the caller promises.
        let array = unsafe { get(&raw mut count) };
        check_count(count, array.is_null(), "types")?;
        if count == 0 {
            return Ok(Vec::new());
        }
        // SAFETY: as the caller promises: there are that many.
        let array = unsafe { std::slice::from_raw_parts(array, count) };
        return Ok(array.iter().copied().map(TypeDescriptor::from).collect());
    }
    // SAFETY: as the caller promises.
    let register = unsafe { image.symbol::<abi::LegacyRegister>(&entries.register) };
    let register =
        register.ok_or_else(|| no_entry(&[&entries.get_descriptors, &entries.register]))?;
    let mut slots: Vec<*const LegacyTypeDescriptor> = Vec::new();
    let mut room = SLOTS;
    while room <= SLOTS_MAX {
        slots = vec![std::ptr::null(); room];
        // SAFETY: as the caller promises; there are that many slots.
        unsafe { register(slots.as_mut_ptr(), room) };
        if slots.iter().any(|slot| slot.is_null()) {
            break;
        }
        room *= 8;
    }
    // SAFETY: as the caller promises: what a slot points to, stays.
    let read = |slot: &*const LegacyTypeDescriptor| unsafe { slot.read() };
    let filled = slots.iter().take_while(|slot| !slot.is_null());
    let descriptors: Vec<_> = filled.map(read).map(TypeDescriptor::from).collect();
    if descriptors.is_empty() {
        Err(null(&entries.register, "left its first slot"))
    } else {
        Ok(descriptors)
    }
}

/// What a library says of its types, besides the functions for them.
///
/// # Safety
/// What `image` exports as [`SYMBOL`] is an [`Entry`].
unsafe fn schemas(image: &Image) -> Result<Vec<Schema>> {
    // SAFETY: as the caller promises.
    let Some(entry) = (unsafe { image.symbol::<Entry>(SYMBOL) }) else { return Ok(Vec::new()) };
    // SAFETY: as the caller promises; the image is mapped as long as anything of it is used.
    unsafe { describe_entry(entry) }
        .map_err(|error| bad(ErrorKind::SchemaInvalid, error.to_string()).with_source(error))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
