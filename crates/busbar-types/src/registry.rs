//! Types by name and schema hash: who wrote a type down, and how its values are written and read.
//!
//! Entries come from compiled-in types ([`TypeEntry::of`]) and from plugins, whose loader wraps
//! their functions. The registry loads nothing itself and calls nothing: whoever looks an entry up
//! calls it, and because an entry is shared, taking it out never pulls it from under a call.
//!
//! ```text
//! by_name: name → hashes, oldest first    locked first: decides who may register
//! types:   (name, hash) → entry           what the hot lookup reads
//! alone:   several at once, all or none   nobody else registers meanwhile
//! ```

mod foreign;
mod key;
mod ladder;
mod mismatch;

use std::any::Any;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry as Slot;

pub use self::foreign::{ForeignFunctions, ForeignValue};
use self::key::Key;
pub use self::ladder::{Downgrade, Rung};
pub use self::mismatch::Mismatch;
use crate::format::Formats;
use crate::library::describe_library;
use crate::schema::{Schema, hash_of};
use crate::{Error, ErrorKind, Generate, SerializeError, Type, read};

/// Writes a value of an entry's type as an rkyv archive.
pub type Writer = fn(&dyn Any, &mut [u8]) -> Result<usize, SerializeError>;

/// Reads a value of an entry's type from an rkyv archive.
pub type Reader = fn(&[u8]) -> Result<Box<dyn Any + Send>, Error>;

/// Where an entry comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// Compiled into the program, by this crate.
    Compiled(&'static str),
    /// A library loaded at run time.
    Plugin(String),
    /// A descriptor registered at run time, by whoever this says.
    Descriptor(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compiled(name) => write!(f, "compiled in ({name})"),
            Self::Plugin(path) => write!(f, "plugin {path}"),
            Self::Descriptor(who) => write!(f, "descriptor ({who})"),
        }
    }
}

/// A registered type.
#[derive(Clone)]
#[non_exhaustive]
pub struct TypeEntry {
    /// Full name.
    pub type_name: String,
    /// XXH64 of its canonical text.
    pub schema_hash: u64,
    /// What `writer` and `foreign` make without a fallback.
    pub formats: Formats,
    /// Writes archives; for plugins, of [`ForeignValue`]s.
    pub writer: Option<Writer>,
    /// Reads archives.
    pub reader: Option<Reader>,
    /// A plugin's functions. Holding them keeps its library loaded.
    pub foreign: Option<Arc<dyn ForeignFunctions>>,
    /// What the type is made of; a plugin may keep it to itself.
    pub schema: Option<Arc<Schema>>,
    /// Who registered it.
    pub origin: Origin,
    /// The formats it was asked for.
    transcoders: Arc<ladder::Transcoders>,
}

impl fmt::Debug for TypeEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypeEntry")
            .field("type_name", &self.type_name)
            .field("schema_hash", &format_args!("{:016x}", self.schema_hash))
            .field("formats", &self.formats)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

impl TypeEntry {
    /// The entry of a compiled-in type.
    ///
    /// # Errors
    /// `SchemaInvalid` as [`Type::schema`].
    pub fn of<T: Type + Send>() -> Result<Self, Error> {
        Ok(Self {
            type_name: T::NAME.to_owned(),
            schema_hash: T::SCHEMA_HASH,
            formats: formats_of(T::GENERATE),
            writer: Some(write_any::<T>),
            reader: Some(read_any::<T>),
            foreign: None,
            schema: Some(Arc::new(T::schema()?)),
            origin: Origin::Compiled(T::NAME.rsplit_once('.').map_or("", |(crate_, _)| crate_)),
            transcoders: Arc::default(),
        })
    }

    /// The entry of a type in a plugin, as the plugin describes it.
    pub fn of_plugin(
        type_name: impl Into<String>,
        schema_hash: u64,
        formats: Formats,
        functions: Arc<dyn ForeignFunctions>,
        library: impl Into<String>,
    ) -> Self {
        Self {
            type_name: type_name.into(),
            schema_hash,
            formats,
            writer: Some(write_foreign),
            reader: None,
            foreign: Some(functions),
            schema: None,
            origin: Origin::Plugin(library.into()),
            transcoders: Arc::default(),
        }
    }

    /// The entry of a type that is known by its descriptor alone: there is no Rust type, and values
    /// are written and read elsewhere.
    #[must_use]
    pub fn of_schema(schema: Schema, origin: Origin) -> Self {
        let root = schema.root();
        Self {
            type_name: root.name.clone(),
            schema_hash: root.hash,
            formats: Formats::RKYV,
            writer: None,
            reader: None,
            foreign: None,
            schema: Some(Arc::new(schema)),
            origin,
            transcoders: Arc::default(),
        }
    }

    /// The same entry with the canonical text the plugin gave.
    ///
    /// # Errors
    /// `SchemaInvalid` if the entry's hash is not the text's.
    pub fn checked_against_text(self, text: &str) -> Result<Self, Error> {
        let real = hash_of(text.as_bytes());
        if real == self.schema_hash {
            return Ok(self);
        }
        let message = format!(
            "{} gives the hash {:016x}, but that of its schema text is {real:016x}: rebuild it",
            self.origin, self.schema_hash
        );
        Err(Error::new(ErrorKind::SchemaInvalid, message).at(self.type_name))
    }

    /// The same entry with the descriptor the plugin gave.
    ///
    /// # Errors
    /// `SchemaInvalid` if it describes another type.
    pub fn with_schema(mut self, schema: Schema) -> Result<Self, Error> {
        self.schema = Some(Arc::new(schema));
        self.check_schema()?;
        Ok(self)
    }

    fn check_schema(&self) -> Result<(), Error> {
        let Some(root) = self.schema.as_deref().map(Schema::root) else { return Ok(()) };
        if (&root.name, root.hash) == (&self.type_name, self.schema_hash) {
            return Ok(());
        }
        let message = format!("its descriptor is of {} {:016x}", root.name, root.hash);
        Err(Error::new(ErrorKind::SchemaInvalid, message).at(self.type_name.clone()))
    }

    /// Whether this is the same version as `other`, which has its name and hash. A hash does not
    /// cover what a type mentions by name only; where one side keeps its schema to itself, nobody
    /// can tell.
    fn agrees_with(&self, other: &Self) -> bool {
        match (&self.schema, &other.schema) {
            (Some(ours), Some(theirs)) => ours.has_texts_of(theirs),
            _ => true,
        }
    }

    /// Whether there are functions behind it, and not just a description.
    fn has_code(&self) -> bool {
        self.writer.is_some() || self.foreign.is_some()
    }
}

/// Archives, and what the declaration asks for besides.
fn formats_of(generate: Generate) -> Formats {
    let capnp = if generate.capnp { Formats::CAPNP } else { Formats::NONE };
    let json = if generate.json { Formats::JSON } else { Formats::NONE };
    Formats::RKYV | capnp | json
}

fn write_any<T: Type>(value: &dyn Any, out: &mut [u8]) -> Result<usize, SerializeError> {
    match value.downcast_ref::<T>() {
        Some(value) => value.write_to_buffer(out),
        None => Err(SerializeError::WrongType { expected: T::NAME }),
    }
}

fn read_any<T: Type + Send>(bytes: &[u8]) -> Result<Box<dyn Any + Send>, Error> {
    read::<T>(bytes).map(|value| Box::new(value) as Box<dyn Any + Send>)
}

fn write_foreign(value: &dyn Any, out: &mut [u8]) -> Result<usize, SerializeError> {
    match value.downcast_ref::<ForeignValue>() {
        Some(value) => value.write(Formats::RKYV, out),
        None => Err(SerializeError::WrongType { expected: "ForeignValue" }),
    }
}

/// All types known to a process. Cheap to share, safe to use from every thread.
#[derive(Debug, Default)]
pub struct Registry {
    types: DashMap<(String, u64), Arc<TypeEntry>>,
    by_name: DashMap<String, Vec<u64>>,
    /// Held by whoever registers one entry, with others; by whoever registers several, alone.
    alone: RwLock<()>,
    downgrades: ladder::Downgrades,
}

impl Registry {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The process's registry.
    #[must_use]
    pub fn global() -> &'static Self {
        static GLOBAL: LazyLock<Registry> = LazyLock::new(Registry::new);
        &GLOBAL
    }

    /// Registers a compiled-in type; the entry there is, if it was registered before.
    ///
    /// # Errors
    /// `SchemaMismatch` if another version of the type is registered.
    pub fn register<T: Type + Send>(&self) -> Result<Arc<TypeEntry>, Error> {
        // What the hash covers needs no second look.
        if !T::DESC.mentions_by_name
            && let Some(entry) = self.lookup(T::NAME, Some(T::SCHEMA_HASH))
            && entry.has_code()
        {
            return Ok(entry);
        }
        self.register_compiled_type(TypeEntry::of::<T>()?)
    }

    /// Registers an entry; the entry there is, if name and hash were registered before. Only an
    /// entry without code gives way to one with code: whoever has the former keeps it.
    ///
    /// # Errors
    /// `SchemaMismatch` if another version is registered; its source is a [`Mismatch`].
    /// `SchemaInvalid` if the entry's schema is that of another type.
    pub fn register_compiled_type(&self, entry: TypeEntry) -> Result<Arc<TypeEntry>, Error> {
        self.register_entry(entry, false)
    }

    /// As [`Self::register_compiled_type`], for the entry of a plugin, which is refused if its hash
    /// is not that of the canonical text the plugin gives. Plugins may keep it to themselves.
    ///
    /// # Errors
    /// As [`Self::register_compiled_type`]; `SchemaInvalid` for a hash that is not the text's.
    pub fn register_plugin_type(
        &self,
        entry: TypeEntry,
        text: Option<&str>,
    ) -> Result<Arc<TypeEntry>, Error> {
        let entry = match text {
            Some(text) => entry.checked_against_text(text)?,
            None => entry,
        };
        self.register_entry(entry, false)
    }

    /// As [`Self::register_compiled_type`], but versions may coexist if `allow_versions`.
    ///
    /// # Errors
    /// As [`Self::register_compiled_type`]; if `allow_versions`, `SchemaMismatch` only for another
    /// version with the same hash, which differs in a type that is mentioned by name only.
    pub fn register_entry(
        &self,
        entry: TypeEntry,
        allow_versions: bool,
    ) -> Result<Arc<TypeEntry>, Error> {
        let _others = self.alone.read().unwrap_or_else(PoisonError::into_inner);
        self.insert(Arc::new(entry), allow_versions)
    }

    fn insert(&self, entry: Arc<TypeEntry>, allow_versions: bool) -> Result<Arc<TypeEntry>, Error> {
        entry.check_schema()?;
        let key = (entry.type_name.clone(), entry.schema_hash);
        // Held until the end: of two threads that register a name, one is second.
        let mut versions = self.by_name.entry(entry.type_name.clone()).or_default();
        if versions.contains(&entry.schema_hash) {
            let existing = self.by_key(&entry.type_name, entry.schema_hash);
            let existing = existing.expect("invariant: both maps change under the name's lock");
            if !existing.agrees_with(&entry) {
                return Err(Mismatch::new(&existing, &entry).into());
            }
            if existing.has_code() || !entry.has_code() {
                return Ok(existing);
            }
            self.types.insert(key, Arc::clone(&entry));
            return Ok(entry);
        }
        if let Some(&other) = versions.first().filter(|_| !allow_versions) {
            let existing = self.by_key(&entry.type_name, other);
            let existing = existing.expect("invariant: both maps change under the name's lock");
            return Err(Mismatch::new(&existing, &entry).into());
        }
        versions.push(entry.schema_hash);
        self.types.insert(key, Arc::clone(&entry));
        Ok(entry)
    }

    /// Registers the types that a library exports; the entries of all of them.
    ///
    /// # Errors
    /// As [`describe_library`], and `SchemaMismatch` as [`Self::register_entry`]; then none of them
    /// is registered that was not before.
    ///
    /// # Safety
    /// As [`describe_library`].
    pub unsafe fn load(
        &self,
        path: &Path,
        allow_versions: bool,
    ) -> Result<Vec<Arc<TypeEntry>>, Error> {
        // SAFETY: by this function's own contract.
        let schemas = unsafe { describe_library(path) }?;
        let origin = Origin::Plugin(path.display().to_string());
        let offered = schemas.into_iter().map(|it| TypeEntry::of_schema(it, origin.clone()));
        let offered: Vec<_> = offered.map(Arc::new).collect();
        self.register_all(&offered, allow_versions)
    }

    /// Registers entries, all or none; for each the one there is. Those of them that are the
    /// offered ones were not there before, and are what [`Self::unregister_all`] takes out again.
    ///
    /// # Errors
    /// As [`Self::register_entry`].
    pub fn register_all(
        &self,
        offered: &[Arc<TypeEntry>],
        allow_versions: bool,
    ) -> Result<Vec<Arc<TypeEntry>>, Error> {
        // Nothing is taken out again, which others may have been given in the meantime: what is
        // wrong is known before the first is registered.
        let _alone = self.alone.write().unwrap_or_else(PoisonError::into_inner);
        for (index, entry) in offered.iter().enumerate() {
            entry.check_schema()?;
            let other = self.other_version(entry, &offered[..index]);
            // Versions of one hash cannot coexist.
            let is_refused =
                |it: &Arc<TypeEntry>| !allow_versions || it.schema_hash == entry.schema_hash;
            if let Some(other) = other.filter(is_refused) {
                return Err(Mismatch::new(&other, entry).into());
            }
        }
        offered.iter().map(|entry| self.insert(Arc::clone(entry), true)).collect()
    }

    /// The version that stands in the way of an entry: one that is registered, or offered `before`.
    fn other_version(
        &self,
        entry: &TypeEntry,
        before: &[Arc<TypeEntry>],
    ) -> Option<Arc<TypeEntry>> {
        let registered = self.versions(&entry.type_name);
        let offered = before.iter().filter(|it| it.type_name == entry.type_name).map(Arc::clone);
        let versions: Vec<_> = registered.into_iter().chain(offered).collect();
        let mut same = versions.iter().filter(|it| it.schema_hash == entry.schema_hash).peekable();
        if same.peek().is_none() {
            return versions.into_iter().next();
        }
        same.find(|it| !it.agrees_with(entry)).map(Arc::clone)
    }

    /// Takes these very entries out, and not others of their names and hashes.
    pub fn unregister_all(&self, entries: &[Arc<TypeEntry>]) {
        for entry in entries {
            let is_this = |found: &Arc<TypeEntry>| Arc::ptr_eq(found, entry);
            self.unregister_if(&entry.type_name, entry.schema_hash, is_this);
        }
    }

    /// The entry of this name and hash. Without a hash: the compiled-in one if there is, or else
    /// the one registered last.
    #[must_use]
    pub fn lookup(&self, name: &str, hash: Option<u64>) -> Option<Arc<TypeEntry>> {
        if let Some(hash) = hash {
            return self.by_key(name, hash);
        }
        let versions = self.versions(name).into_iter();
        versions.max_by_key(|entry| matches!(entry.origin, Origin::Compiled(_)))
    }

    /// Every version of this name, in the order of registration.
    #[must_use]
    pub fn versions(&self, name: &str) -> Vec<Arc<TypeEntry>> {
        let hashes = self.by_name.get(name).map(|versions| versions.clone()).unwrap_or_default();
        hashes.iter().filter_map(|&hash| self.by_key(name, hash)).collect()
    }

    /// As [`Self::lookup`], as an error that names what was looked for.
    ///
    /// # Errors
    /// `TypeNotFound`.
    pub fn require(&self, name: &str, hash: Option<u64>) -> Result<Arc<TypeEntry>, Error> {
        self.lookup(name, hash).ok_or_else(|| {
            let version =
                hash.map(|hash| format!(" with the hash {hash:016x}")).unwrap_or_default();
            let message = format!("no type {name:?}{version} is registered: register it first");
            Error::new(ErrorKind::TypeNotFound, message)
        })
    }

    /// Takes an entry out. Calls that have it go on; its plugin's library stays until they end.
    pub fn unregister(&self, name: &str, hash: u64) -> Option<Arc<TypeEntry>> {
        self.unregister_if(name, hash, |_| true)
    }

    /// Takes out everything of one origin, such as a plugin's types before it is unloaded.
    pub fn unregister_origin(&self, origin: &Origin) -> Vec<Arc<TypeEntry>> {
        // Looked at again when it is taken out: somebody else may have registered it anew.
        let is_theirs = |entry: &Arc<TypeEntry>| entry.origin == *origin;
        let entries = self.entries().into_iter().filter(is_theirs);
        entries
            .filter_map(|it| self.unregister_if(&it.type_name, it.schema_hash, is_theirs))
            .collect()
    }

    fn unregister_if(
        &self,
        name: &str,
        hash: u64,
        is_meant: impl Fn(&Arc<TypeEntry>) -> bool,
    ) -> Option<Arc<TypeEntry>> {
        let Slot::Occupied(mut versions) = self.by_name.entry(name.to_owned()) else { return None };
        let key = Key { name, hash };
        let (_, taken) = self.types.remove_if(&key as &dyn key::AsKey, |_, it| is_meant(it))?;
        versions.get_mut().retain(|&version| version != hash);
        if versions.get().is_empty() {
            versions.remove();
        }
        Some(taken)
    }

    /// Every entry, by name and hash.
    #[must_use]
    pub fn entries(&self) -> Vec<Arc<TypeEntry>> {
        let mut entries: Vec<_> = self.types.iter().map(|one| Arc::clone(one.value())).collect();
        entries.sort_by(|a, b| (&a.type_name, a.schema_hash).cmp(&(&b.type_name, b.schema_hash)));
        entries
    }

    fn by_key(&self, name: &str, hash: u64) -> Option<Arc<TypeEntry>> {
        let entry = self.types.get(&Key { name, hash } as &dyn key::AsKey)?;
        Some(Arc::clone(entry.value()))
    }
}

#[cfg(test)]
mod tests;
