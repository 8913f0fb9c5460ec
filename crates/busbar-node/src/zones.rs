//! Plugin zones for JavaScript: loaded and closed on threads of their own, called on the spot or
//! through an [`outbox`] that brings results back to the environment's thread.

mod calls;
mod inline;
mod log;
pub mod object;
mod outbox;
pub mod process;
mod slots;
pub mod upward;
mod waiting;
#[cfg(target_os = "linux")]
mod watch;

use std::cell::OnceCell;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use busbar_types::registry::Registry;
use busbar_zone::{
    CallId, Error, FileHash, GoLibraries, Listener, Loader, MethodId, Mode, Options, Parent,
    ReloadOptions, Reloaded, Trust, Watch, Zone,
};
use napi::bindgen_prelude::{BigInt, Buffer, Env, FnArgs, Function, Object, Uint32Array, Unknown};
use napi::{JsValue, Status, sys};
use napi_derive::napi;

use crate::raw;
use calls::Hub;
use object::NativeObject;
use outbox::{Outbox, Outcome};
use process::{NativeProcess, NativeProcessOptions};
use upward::{JsParent, NativeUp};

/// A code of the table of errors, what went wrong, and which plugin it is of.
struct Failure {
    code: &'static str,
    message: String,
    plugin: Option<Error>,
}

impl Failure {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), plugin: None }
    }

    fn io(message: impl Into<String>) -> Self {
        Self::new("ERR_IO", message)
    }

    fn throw(&self, env: Env) -> napi::Error {
        self.throw_raw(env.raw());
        napi::Error::new(Status::PendingException, "")
    }

    fn throw_raw(&self, env: sys::napi_env) -> sys::napi_value {
        let Some(plugin) = &self.plugin else {
            return raw::throw_coded(env, self.code, &self.message);
        };
        let (status, generation) = (plugin.status().0.to_string(), plugin.generation().to_string());
        let properties = [
            ("pluginId", plugin.plugin_id()),
            ("method", plugin.method()),
            ("status", &status),
            ("generation", &generation),
        ];
        raw::throw_with(env, self.code, &self.message, &properties)
    }

    fn into_native(self) -> NativeFailure {
        let Self { code, message, plugin } = self;
        let plugin = plugin.as_ref();
        NativeFailure {
            code: code.to_owned(),
            message,
            plugin_id: plugin.map(|it| it.plugin_id().to_owned()),
            method: plugin.map(|it| it.method().to_owned()),
            status: plugin.map(|it| it.status().0.to_string()),
            generation: plugin.map(|it| it.generation().to_string()),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let failure = Self::new(error.kind().code(), error.to_string());
        let plugin = (!error.plugin_id().is_empty()).then_some(error);
        Self { plugin, ..failure }
    }
}

/// Why an operation failed.
#[napi(object, object_from_js = false)]
pub struct NativeFailure {
    /// Of the table of errors.
    pub code: String,
    /// For a person.
    pub message: String,
    /// If it is an error of a plugin's; the others then, too.
    pub plugin_id: Option<String>,
    /// Empty if no method was called.
    pub method: Option<String>,
    /// What the plugin returned, a number.
    pub status: Option<String>,
    /// A number.
    pub generation: Option<String>,
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

/// A zone, and where it is from.
struct Opened {
    zone: Zone,
    origin: Origin,
    /// What JavaScript knows the zone's parent by.
    exposed: u32,
}

/// What a zone is reloaded from.
#[derive(Clone)]
struct Origin {
    loader: Arc<Loader>,
    path: PathBuf,
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
    /// Whether there are functions for the plugin to call.
    pub exposes: bool,
}

/// A method of a plugin.
#[napi(object)]
pub struct NativeMethod {
    /// What calls name it by.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// As in `include/busbar_plugin.h`.
    pub flags: u32,
    /// Schema hash of its argument; 0 for bytes or none.
    pub in_hash: BigInt,
    /// Schema hash of its result.
    pub out_hash: BigInt,
}

impl NativeMethod {
    fn new(number: u32, method: &busbar_zone::Method) -> Self {
        Self {
            number,
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
    let methods = (0..).zip(&plugin.methods);
    let methods = methods.map(|(number, method)| NativeMethod::new(number, method)).collect();
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
    /// Of a reload: the generation that is called now; 0 if it is the one that was.
    pub generation: Option<u32>,
    /// Why it failed.
    pub error: Option<NativeFailure>,
    /// Level and text of a log record; then there is no operation.
    pub log: Option<Vec<String>>,
    /// What the plugin says whose parent the operation is.
    pub up: Option<NativeUp>,
}

/// What the calls of a zone are at, and came to.
#[napi(object, object_from_js = false)]
pub struct NativeZoneStats {
    /// Those that have not ended.
    pub open_calls: u32,
    /// Those that ended after they were given up.
    pub late_calls: f64,
}

/// The zones of this environment.
#[napi(js_name = "NativeZones")]
pub struct NativeZones {
    outbox: Arc<Outbox>,
    /// There once `calls` was asked for.
    hub: OnceCell<Rc<Hub>>,
}

/// Opens this environment's side of all zones. `onWake()` is called when operations have ended,
/// `onCall(parent, method, input)` within calls of plugins on this thread: it gives bytes, or a
/// code and a message.
///
/// # Errors
/// When memory is short.
#[napi]
pub fn open_zones(
    env: Env,
    on_wake: Function<'_, (), ()>,
    on_call: Function<'_, FnArgs<(u32, String, Buffer)>, Unknown<'static>>,
) -> napi::Result<NativeZones> {
    let outbox = Outbox::open(env.raw(), on_wake.raw(), on_call.raw());
    outbox
        .map(|outbox| NativeZones { outbox, hub: OnceCell::new() })
        .map_err(|failure| failure.throw(env))
}

#[napi]
impl NativeZones {
    /// Loads a library and opens a zone of it, whose plugin calls the parent with this number.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT`, `ERR_IO` if there can be no thread for it.
    #[napi]
    pub fn load(
        &self,
        env: Env,
        options: NativeZoneOptions,
        parent: Option<&NativeZone>,
        exposed: u32,
        operation: u32,
    ) -> napi::Result<()> {
        let parent = parent.map(|parent| Zone::clone(&parent.zone));
        let outbox = Arc::clone(&self.outbox);
        let js_parent = JsParent::new(Arc::clone(&outbox), exposed, options.exposes);
        let js_parent: Arc<dyn Parent> = Arc::new(js_parent);
        let work = move || {
            let opened = load(&options, parent.as_ref(), exposed, &js_parent);
            if let Ok(Opened { zone, .. }) = &opened {
                outbox.add_zone(zone);
            }
            outbox.push(operation, Outcome::Opened(opened));
        };
        in_background(work).map_err(|failure| failure.throw(env))
    }

    /// An object with the function that brings ends of calls, and the words that both sides know;
    /// see [`calls`]. To be asked for once, before there are zones.
    ///
    /// # Errors
    /// When memory is short.
    #[napi]
    pub fn calls<'env>(
        &self,
        env: &'env Env,
        words: Uint32Array,
        on_wake: Function<'_, (), ()>,
    ) -> napi::Result<Object<'env>> {
        let object = Object::new(env)?;
        let hub = Hub::new(env.raw(), &self.outbox, words, on_wake.raw(), object.raw());
        // It is the first one: it is asked for once.
        let _ = self.hub.set(hub.map_err(|failure| failure.throw(*env))?);
        Ok(object)
    }

    /// What ended otherwise than by a result that `collect` brings.
    #[napi]
    #[must_use]
    pub fn take(&self) -> Vec<NativeEnd> {
        let ends = self.outbox.take().into_iter();
        ends.map(|(operation, outcome)| self.end(operation, outcome)).collect()
    }

    fn end(&self, operation: u32, outcome: Outcome) -> NativeEnd {
        let mut end = NativeEnd {
            operation,
            result: None,
            zone: None,
            generation: None,
            error: None,
            log: None,
            up: None,
        };
        match outcome {
            Outcome::Up(up, input, charge) => {
                (end.up, end.result) = (Some(up), Some(input.into()));
                // From here on it is JavaScript's memory.
                drop(charge);
            }
            Outcome::Called(Ok(bytes)) => end.result = Some(bytes.into()),
            Outcome::Opened(Ok(Opened { zone, origin, exposed })) => {
                let (zone, outbox, watch) = (Held::new(&zone), Arc::clone(&self.outbox), None);
                let hub = self.hub.get().map(Rc::clone);
                end.zone = Some(NativeZone { zone, outbox, hub, origin, exposed, watch });
            }
            Outcome::Reloaded(Ok(generation)) => end.generation = Some(generation),
            Outcome::Closed(Ok(())) | Outcome::Nothing => {}
            Outcome::Logged(level, text) => end.log = Some(vec![level.to_owned(), text]),
            Outcome::Called(Err(failure))
            | Outcome::Opened(Err(failure))
            | Outcome::Reloaded(Err(failure))
            | Outcome::Closed(Err(failure)) => end.error = Some(failure.into_native()),
        }
        end
    }

    /// Answers a call of a plugin's.
    #[napi]
    pub fn answer(&self, call: f64, result: &[u8]) {
        if let Some(answer) = self.outbox.upward().take(call as u64) {
            answer.succeed(result);
        }
    }

    /// Answers it with a failure.
    #[napi]
    pub fn refuse(&self, call: f64, code: String, message: String) {
        if let Some(answer) = self.outbox.upward().take(call as u64) {
            answer.fail(upward::kind_of(&code), &message);
        }
    }

    /// The least important log records that any environment wants, from here on: 0 error to 3
    /// debug.
    #[napi]
    pub fn log_level(&self, level: u32) {
        log::want(level);
    }

    /// Closes all zones, as the process exits, for up to two seconds.
    #[napi]
    pub fn drain(&self) {
        self.outbox.drain();
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
    hub: Option<Rc<Hub>>,
    origin: Origin,
    exposed: u32,
    watch: Option<Watch>,
}

/// How a zone is reloaded.
#[napi(object)]
pub struct NativeReload {
    /// What running calls have to end, in milliseconds.
    pub grace_ms: u32,
    /// Whether methods may be missing or have other types.
    pub breaking: bool,
    /// Whether state that cannot be read is left out.
    pub cold: bool,
}

impl From<&NativeReload> for ReloadOptions {
    fn from(native: &NativeReload) -> Self {
        let mut options = Self::default();
        options.grace = Duration::from_millis(native.grace_ms.into());
        (options.breaking, options.cold) = (native.breaking, native.cold);
        options
    }
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
        self.zone.plugin_version()
    }

    /// Where its instance is in its life.
    #[napi(getter)]
    #[must_use]
    pub fn state(&self) -> String {
        format!("{:?}", self.zone.state()).to_uppercase()
    }

    /// What its calls are at.
    #[napi]
    #[must_use]
    pub fn stats(&self) -> NativeZoneStats {
        NativeZoneStats {
            open_calls: u32::try_from(self.zone.open_calls()).unwrap_or(u32::MAX),
            late_calls: self.zone.late_calls() as f64,
        }
    }

    /// Which generation of its plugin is called.
    #[napi(getter)]
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.zone.generation()
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

    /// The methods that it has now; calls name them by their number.
    #[napi]
    #[must_use]
    pub fn methods(&self) -> Vec<NativeMethod> {
        let methods = self.zone.methods();
        let numbered = (0..).zip(methods.iter());
        let methods = numbered.filter(|(number, _)| self.zone.has(MethodId::from_index(*number)));
        methods.map(|(number, method)| NativeMethod::new(number, method)).collect()
    }

    /// Its types.
    #[napi]
    #[must_use]
    pub fn types(&self) -> Vec<NativeZoneType> {
        let types = self.zone.types().into_iter();
        types.map(|(name, hash)| NativeZoneType { name, hash: hash.into() }).collect()
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

    /// A function that starts a call, `submit(method, input, operation)`, and gives its number; its
    /// end comes with the others. It throws `ERR_AGAIN` if the queue is full, `ERR_ZONE_CLOSED`,
    /// `ERR_ZONE_FAULTED`, `ERR_METHOD_NOT_FOUND`, `ERR_NOT_SUPPORTED`.
    ///
    /// # Errors
    /// Before [`NativeZones::calls`].
    #[napi]
    pub fn submitter<'env>(&self, env: &'env Env) -> napi::Result<Unknown<'env>> {
        let Some(hub) = &self.hub else { return Err(Failure::io("no calls").throw(*env)) };
        let function = hub.submit(env.raw(), &self.zone);
        // SAFETY: it was just made, and belongs to `env`.
        Ok(unsafe { Unknown::from_raw_unchecked(env.raw(), function) })
    }

    /// Gives up a call that was submitted, by its number.
    #[napi]
    pub fn cancel(&self, call: f64) {
        self.zone.cancel(CallId::from_number(call as u64));
    }

    /// Has the zone call the library at `path`, or that which it was loaded from.
    ///
    /// # Errors
    /// `ERR_IO` if there can be no thread for it.
    #[napi]
    pub fn reload(
        &self,
        env: Env,
        path: Option<String>,
        options: NativeReload,
        operation: u32,
    ) -> napi::Result<()> {
        let (zone, outbox) = (Zone::clone(&self.zone), Arc::clone(&self.outbox));
        let Origin { loader, path: origin } = self.origin.clone();
        let path = path.map_or(origin, PathBuf::from);
        let work = move || {
            // SAFETY: whoever names a library trusts it.
            let reloaded = unsafe { loader.reload(&zone, &path, &(&options).into()) };
            outbox.push(operation, Outcome::Reloaded(generation_of(reloaded)));
        };
        in_background(work).map_err(|failure| failure.throw(env))
    }

    /// Reloads the zone whenever its library changes; `operation` ends with each time.
    ///
    /// # Errors
    /// `ERR_IO` if that cannot be watched.
    #[napi]
    pub fn watch(&mut self, env: Env, options: NativeReload, operation: u32) -> napi::Result<()> {
        let outbox = Arc::clone(&self.outbox);
        let listener: Listener = Box::new(move |reloaded| {
            outbox.push(operation, Outcome::Reloaded(generation_of(reloaded)));
        });
        let Origin { loader, path } = self.origin.clone();
        let options = (&options).into();
        // SAFETY: whoever has a library watched trusts those who can change it.
        let watch = unsafe { Watch::new(loader, &self.zone, &path, options, listener) };
        let watch = watch.map_err(|error| Failure::from(error).throw(env))?;
        self.watch = Some(watch);
        Ok(())
    }

    /// Watches no longer.
    #[napi]
    pub fn unwatch(&mut self) {
        self.watch = None;
    }

    /// Holds an object of the plugin.
    ///
    /// # Errors
    /// `ERR_OBJECT_STALE`.
    #[napi]
    pub fn hold(&self, env: Env, object: f64) -> napi::Result<NativeObject> {
        let held = self.zone.hold(object as u64);
        held.map(NativeObject::new).map_err(|error| Failure::from(error).throw(env))
    }

    /// A number for an object of JavaScript's.
    ///
    /// # Errors
    /// `ERR_ZONE_CLOSED`.
    #[napi]
    pub fn lend(&self, env: Env) -> napi::Result<f64> {
        self.zone.lend().map(|it| it as f64).map_err(|error| Failure::from(error).throw(env))
    }

    /// Lends an object no longer; whether it was lent.
    #[napi]
    pub fn take_back(&self, object: f64) -> bool {
        self.zone.take_back(object as u64)
    }

    /// Starts a call whose result nobody wants; a failure is logged.
    ///
    /// # Errors
    /// As [`Self::submitter`].
    #[napi]
    pub fn post(&self, env: Env, method: u32, input: &[u8]) -> napi::Result<()> {
        let posted = self.zone.post(MethodId::from_index(method), input.to_vec());
        posted.map(drop).map_err(|error| Failure::from(error).throw(env))
    }

    /// A function that runs a method elsewhere and waits for it on this thread,
    /// `call(method, input, out, timeoutMs)`. The result lies in `out`, and its length is given;
    /// or, if it has no room there, it is given itself. It throws as [`Self::submitter`]'s, what
    /// the call fails with, and `ERR_TIMED_OUT`.
    #[napi]
    pub fn waiter<'env>(&self, env: &'env Env) -> Unknown<'env> {
        let function = waiting::waiter(env.raw(), &self.zone, &self.outbox, self.exposed);
        // SAFETY: it was just made, and belongs to `env`.
        unsafe { Unknown::from_raw_unchecked(env.raw(), function) }
    }

    /// Closes the zone and its children; running calls have `grace_ms` to end. Or, with
    /// `only_if_idle`, ends with `ERR_IN_USE` if there are any.
    ///
    /// # Errors
    /// `ERR_IO` if there can be no thread for it.
    #[napi]
    pub fn close(
        &self,
        env: Env,
        grace_ms: u32,
        only_if_idle: bool,
        operation: u32,
    ) -> napi::Result<()> {
        let (zone, outbox) = (Zone::clone(&self.zone), Arc::clone(&self.outbox));
        let work = move || {
            let grace = Duration::from_millis(grace_ms.into());
            let closed = if only_if_idle { zone.close_if_idle(grace) } else { zone.close(grace) };
            outbox.push(operation, Outcome::Closed(closed.map_err(Failure::from)));
        };
        in_background(work).map_err(|failure| failure.throw(env))
    }
}

/// Reading files, a plugin's `init` and the end of its calls are not waited for on a loop's thread.
fn in_background(work: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let thread = std::thread::Builder::new().name("busbar-load".to_owned()).spawn(work);
    thread.map(drop).map_err(|error| Failure::io(format!("starting a thread: {error}")))
}

fn generation_of(reloaded: Result<Reloaded, Error>) -> Result<u32, Failure> {
    match reloaded? {
        Reloaded::Generation(generation) => Ok(generation),
        _ => Ok(0),
    }
}

fn load(
    options: &NativeZoneOptions,
    parent: Option<&Zone>,
    exposed: u32,
    js_parent: &Arc<dyn Parent>,
) -> Result<Opened, Failure> {
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
    (how.config, how.parent, how.exposed) = (&options.config, parent, Some(js_parent));
    how.allow_versions = options.allow_versions;
    how.process = process.as_ref();
    how.go = match options.go {
        0 => GoLibraries::Refuse,
        1 => GoLibraries::Isolate,
        _ => GoLibraries::Allow,
    };
    // SAFETY: whoever names a library trusts it: its code runs with the rights of the process.
    let zone = unsafe { loader.load(&path, &how) }?;
    Ok(Opened { zone, origin: Origin { loader, path }, exposed })
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
            Failure::new("ERR_INVALID_ARGUMENT", message)
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
