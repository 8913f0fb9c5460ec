//! Plugin zones for JavaScript: loaded and closed on threads of their own, called on the spot or
//! through an [`outbox`] that brings results back to the environment's thread.

mod inline;
mod log;
mod outbox;
pub mod process;

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use busbar_types::registry::Registry;
use busbar_zone::{Error, FileHash, GoLibraries, Loader, MethodId, Mode, Options, Trust, Zone};
use napi::bindgen_prelude::{
    BigInt, Buffer, BufferSlice, Either, Env, Function, Object, Uint32Array,
};
use napi::{JsValue, Status};
use napi_derive::napi;

use crate::raw;
use outbox::{Outbox, Outcome};
use process::{NativeProcess, NativeProcessOptions};

/// A code of the table of errors, and what went wrong.
struct Failure(&'static str, String);

impl Failure {
    fn io(message: impl Into<String>) -> Self {
        Self("ERR_IO", message.into())
    }

    fn throw(&self, env: Env) -> napi::Error {
        raw::throw_coded(env.raw(), self.0, &self.1);
        napi::Error::new(Status::PendingException, "")
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(error.kind().code(), error.to_string())
    }
}

/// A zone that JavaScript holds. When it is collected, the end of its plugin is waited for
/// elsewhere.
struct Held(Option<Zone>);

impl Held {
    fn new(zone: &Zone) -> Self {
        Self(Some(zone.clone()))
    }
}

impl Deref for Held {
    type Target = Zone;

    fn deref(&self) -> &Zone {
        self.0.as_ref().expect("invariant: taken only when dropped")
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let zone = self.0.take();
        // Where there can be no thread, the zone ends here: it is dropped with the closure.
        let _ = in_background(move || drop(zone));
    }
}

/// How a zone is opened.
#[napi(object, object_to_js = false)]
pub struct NativeZoneOptions {
    /// A path, or a name to look for.
    pub library: String,
    /// Whether `library` is a name.
    pub is_name: bool,
    /// Where names are looked for.
    pub folders: Vec<String>,
    /// 0 inline, 1 shared, 2 dedicated, 3 process.
    pub mode: u32,
    /// Libraries in Go in this process: 0 refuse, 1 give them a process, 2 allow.
    pub go: u32,
    /// In the mode process.
    pub process: Option<NativeProcessOptions>,
    /// Of a dedicated zone.
    pub threads: u32,
    /// JSON for the plugin.
    pub config: String,
    /// Whether its types may be other versions of registered ones.
    pub allow_versions: bool,
    /// Ids of plugins and SHA-256 of their files in turn.
    pub allow: Vec<String>,
    /// Ed25519 keys.
    pub keys: Vec<String>,
    /// Whether files that others can change are loaded.
    pub insecure: bool,
}

/// A method of a plugin.
#[napi(object)]
pub struct NativeMethod {
    /// Its name.
    pub name: String,
    /// As in `include/busbar_plugin.h`.
    pub flags: u32,
    /// Schema hash of its argument; 0 for bytes or none.
    pub in_hash: BigInt,
    /// Schema hash of its result.
    pub out_hash: BigInt,
}

impl From<&busbar_zone::Method> for NativeMethod {
    fn from(method: &busbar_zone::Method) -> Self {
        Self {
            name: method.name.clone(),
            flags: method.flags,
            in_hash: method.in_hash.into(),
            out_hash: method.out_hash.into(),
        }
    }
}

/// A type of a plugin.
#[napi(object)]
pub struct NativeZoneType {
    /// Its name.
    pub name: String,
    /// Its schema hash.
    pub hash: BigInt,
}

/// A plugin that was not loaded.
#[napi(object)]
pub struct NativePlugin {
    /// Its id.
    pub id: String,
    /// Its methods.
    pub methods: Vec<NativeMethod>,
}

/// What the library at `path` says of itself; nothing of it is called but its entry.
///
/// # Errors
/// One code for each thing that can be wrong with a library.
#[napi]
pub fn describe_plugin(env: Env, path: String) -> napi::Result<NativePlugin> {
    let mut trust = Trust::default();
    trust.allow_insecure();
    let loader = Loader::new(Registry::global(), trust);
    // SAFETY: whoever names a library trusts it: its code runs with the rights of the process.
    let described = unsafe { loader.describe(&PathBuf::from(path)) };
    let plugin = described.map_err(|error| Failure::from(error).throw(env))?;
    let methods = plugin.methods.iter().map(NativeMethod::from).collect();
    Ok(NativePlugin { id: plugin.id, methods })
}

/// How an operation ended: with one of the last three, or with nothing to say.
#[napi(object, object_from_js = false)]
pub struct NativeEnd {
    /// The number it was started under.
    pub operation: u32,
    /// Of a call.
    pub result: Option<Buffer>,
    /// Of a load.
    pub zone: Option<NativeZone>,
    /// Code and message.
    pub error: Option<Vec<String>>,
    /// Level and text of a log record; then there is no operation.
    pub log: Option<Vec<String>>,
}

/// The zones of this environment.
#[napi(js_name = "NativeZones")]
pub struct NativeZones {
    outbox: Arc<Outbox>,
}

/// Opens this environment's side of all zones. `onWake()` is called when operations have ended.
///
/// # Errors
/// When memory is short.
#[napi]
pub fn open_zones(env: Env, on_wake: Function<'_, (), ()>) -> napi::Result<NativeZones> {
    let outbox = Outbox::open(env.raw(), on_wake.raw());
    outbox.map(|outbox| NativeZones { outbox }).map_err(|failure| failure.throw(env))
}

#[napi]
impl NativeZones {
    /// Loads a library and opens a zone of it.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT`, `ERR_IO` if there can be no thread for it.
    #[napi]
    pub fn load(
        &self,
        env: Env,
        options: NativeZoneOptions,
        parent: Option<&NativeZone>,
        operation: u32,
    ) -> napi::Result<()> {
        let parent = parent.map(|parent| Zone::clone(&parent.zone));
        let outbox = Arc::clone(&self.outbox);
        let work = move || {
            let opened = load(&options, parent.as_ref());
            outbox.push(operation, Outcome::Opened(opened));
        };
        in_background(work).map_err(|failure| failure.throw(env))
    }

    /// What has ended since it was last asked.
    #[napi]
    #[must_use]
    pub fn take(&self) -> Vec<NativeEnd> {
        let ends = self.outbox.take().into_iter();
        ends.map(|(operation, outcome)| self.end(operation, outcome)).collect()
    }

    fn end(&self, operation: u32, outcome: Outcome) -> NativeEnd {
        let mut end = NativeEnd { operation, result: None, zone: None, error: None, log: None };
        match outcome {
            Outcome::Called(Ok(bytes)) => end.result = Some(bytes.into()),
            Outcome::Opened(Ok(zone)) => {
                let outbox = Arc::clone(&self.outbox);
                end.zone = Some(NativeZone { zone: Held::new(&zone), outbox });
            }
            Outcome::Closed(Ok(())) => {}
            Outcome::Logged(level, text) => end.log = Some(vec![level.to_owned(), text]),
            Outcome::Called(Err(Failure(code, message)))
            | Outcome::Opened(Err(Failure(code, message)))
            | Outcome::Closed(Err(Failure(code, message))) => {
                end.error = Some(vec![code.to_owned(), message]);
            }
        }
        end
    }

    /// The least important log records that any environment wants, from here on: 0 error to 3
    /// debug.
    #[napi]
    pub fn log_level(&self, level: u32) {
        log::want(level);
    }

    /// Whether the process shall live on for what has not ended.
    #[napi]
    pub fn keep_alive(&self, env: Env, wanted: bool) {
        self.outbox.keep_alive(env.raw(), wanted);
    }
}

/// An open zone.
#[napi]
pub struct NativeZone {
    zone: Held,
    outbox: Arc<Outbox>,
}

#[napi]
impl NativeZone {
    /// The plugin's id.
    #[napi(getter)]
    #[must_use]
    pub fn id(&self) -> String {
        self.zone.plugin_id().to_owned()
    }

    /// The plugin's version.
    #[napi(getter)]
    #[must_use]
    pub fn version(&self) -> String {
        self.zone.plugin_version().to_owned()
    }

    /// Where its instance is in its life.
    #[napi(getter)]
    #[must_use]
    pub fn state(&self) -> String {
        format!("{:?}", self.zone.state()).to_uppercase()
    }

    /// Which threads run its calls, as [`NativeZoneOptions::mode`].
    #[napi(getter)]
    #[must_use]
    pub fn mode(&self) -> u32 {
        match self.zone.mode() {
            Mode::Inline => 0,
            Mode::Shared => 1,
            Mode::Process => 3,
            _ => 2,
        }
    }

    /// How its process does; nothing if it has none.
    #[napi]
    #[must_use]
    pub fn process(&self) -> Option<NativeProcess> {
        self.zone.process().map(NativeProcess::from)
    }

    /// Its methods; calls name them by their index.
    #[napi]
    #[must_use]
    pub fn methods(&self) -> Vec<NativeMethod> {
        self.zone.methods().iter().map(NativeMethod::from).collect()
    }

    /// Its types.
    #[napi]
    #[must_use]
    pub fn types(&self) -> Vec<NativeZoneType> {
        let types = self.zone.types();
        types
            .map(|(name, hash)| NativeZoneType { name: name.to_owned(), hash: hash.into() })
            .collect()
    }

    /// An object with the functions that call on this thread; see [`inline`].
    ///
    /// # Errors
    /// When memory is short.
    #[napi]
    pub fn inline<'env>(
        &self,
        env: &'env Env,
        registers: Uint32Array,
        room: u32,
    ) -> napi::Result<Object<'env>> {
        let object = Object::new(env)?;
        inline::define(env, object.raw(), &self.zone, registers, room)?;
        Ok(object)
    }

    /// Starts a call; its end comes with the others.
    ///
    /// # Errors
    /// `ERR_AGAIN` if the queue is full, `ERR_ZONE_CLOSED`, `ERR_ZONE_FAULTED`,
    /// `ERR_METHOD_NOT_FOUND`, `ERR_NOT_SUPPORTED`.
    #[napi]
    pub fn submit(&self, env: Env, method: u32, input: &[u8], operation: u32) -> napi::Result<()> {
        let sink = Arc::clone(&self.outbox) as Arc<dyn busbar_zone::Completions>;
        let method = MethodId::from_index(method);
        let submitted = self.zone.submit(method, input.to_vec(), sink, operation.into());
        submitted.map_err(|error| Failure::from(error).throw(env))
    }

    /// Starts a call whose result nobody wants; a failure is logged.
    ///
    /// # Errors
    /// As [`Self::submit`].
    #[napi]
    pub fn post(&self, env: Env, method: u32, input: &[u8]) -> napi::Result<()> {
        let posted = self.zone.post(MethodId::from_index(method), input.to_vec());
        posted.map_err(|error| Failure::from(error).throw(env))
    }

    /// Runs a method elsewhere and waits for it on this thread. The result lies in `out`, and its
    /// length is given; or, if it has no room there, it is given itself.
    ///
    /// # Errors
    /// As [`Self::submit`], what the call fails with, and `ERR_TIMED_OUT`.
    #[napi]
    pub fn call_waiting(
        &self,
        env: Env,
        method: u32,
        input: BufferSlice<'_>,
        mut out: BufferSlice<'_>,
        timeout_ms: u32,
    ) -> napi::Result<Either<u32, Buffer>> {
        let timeout = Duration::from_millis(timeout_ms.into());
        let result = self.zone.call_waiting(MethodId::from_index(method), &input, timeout);
        let result = result.map_err(|error| Failure::from(error).throw(env))?;
        let Some(room) = out.get_mut(..result.len()) else {
            return Ok(Either::B(result.into()));
        };
        room.copy_from_slice(&result);
        // No array of JavaScript is longer than 2^32.
        Ok(Either::A(result.len() as u32))
    }

    /// Closes the zone and its children; running calls have `grace_ms` to end.
    ///
    /// # Errors
    /// `ERR_IO` if there can be no thread for it.
    #[napi]
    pub fn close(&self, env: Env, grace_ms: u32, operation: u32) -> napi::Result<()> {
        let (zone, outbox) = (Zone::clone(&self.zone), Arc::clone(&self.outbox));
        let work = move || {
            let closed = zone.close(Duration::from_millis(grace_ms.into())).map_err(Failure::from);
            outbox.push(operation, Outcome::Closed(closed));
        };
        in_background(work).map_err(|failure| failure.throw(env))
    }
}

/// Reading files, a plugin's `init` and the end of its calls are not waited for on a loop's thread.
fn in_background(work: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let thread = std::thread::Builder::new().name("busbar-load".to_owned()).spawn(work);
    thread.map(drop).map_err(|error| Failure::io(format!("starting a thread: {error}")))
}

fn load(options: &NativeZoneOptions, parent: Option<&Zone>) -> Result<Zone, Failure> {
    let loader = loader(options)?;
    let path = match options.is_name {
        true => loader.find(&options.library)?,
        false => PathBuf::from(&options.library),
    };
    let threads = NonZeroUsize::new(options.threads as usize).unwrap_or(NonZeroUsize::MIN);
    let mode = match options.mode {
        0 => Mode::Inline,
        1 => Mode::Shared,
        2 => Mode::Dedicated { threads },
        _ => Mode::Process,
    };
    let process = options.process.as_ref().map(|process| process.resolve(threads));
    let mut how = Options::new(mode);
    (how.config, how.parent) = (&options.config, parent);
    how.allow_versions = options.allow_versions;
    how.process = process.as_ref();
    how.go = match options.go {
        0 => GoLibraries::Refuse,
        1 => GoLibraries::Isolate,
        _ => GoLibraries::Allow,
    };
    // SAFETY: whoever names a library trusts it: its code runs with the rights of the process.
    Ok(unsafe { loader.load(&path, &how) }?)
}

/// The loader that trusts and looks as `options` says. Each file is mapped once by each of them.
fn loader(options: &NativeZoneOptions) -> Result<Arc<Loader>, Failure> {
    type Key = (Vec<String>, Vec<String>, Vec<String>, bool);
    static LOADERS: OnceLock<Mutex<HashMap<Key, Arc<Loader>>>> = OnceLock::new();
    let key =
        (options.folders.clone(), options.allow.clone(), options.keys.clone(), options.insecure);
    let loaders = LOADERS.get_or_init(Mutex::default);
    let mut loaders = loaders.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(loader) = loaders.get(&key) {
        return Ok(Arc::clone(loader));
    }
    let mut trust = Trust::default();
    for pair in options.allow.chunks_exact(2) {
        let hash = FileHash::parse(&pair[1]).ok_or_else(|| {
            let message = format!("{:?} is no SHA-256 of 64 hexadecimal digits", pair[1]);
            Failure("ERR_INVALID_ARGUMENT", message)
        })?;
        trust.allow(&pair[0], hash);
    }
    for key in &options.keys {
        trust.allow_key(key)?;
    }
    if options.insecure {
        trust.allow_insecure();
    }
    let mut loader = Loader::new(Registry::global(), trust);
    for folder in &options.folders {
        loader.add_folder(folder);
    }
    let loader = Arc::new(loader);
    loaders.insert(key, Arc::clone(&loader));
    Ok(loader)
}
