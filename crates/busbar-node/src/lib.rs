//! The Node-API edge of Busbar: one [`port`] per environment, conversions, and nothing else.
//!
//! What is decided, is decided in `busbar-io` or in TypeScript. `lib/internal/binding.ts` describes
//! the functions made here; hot ones are raw Node-API functions on integer handles, because
//! generated glue costs more than their work.

mod driver;
pub mod mapped;
mod options;
mod port;
mod raw;
pub mod types;
pub mod zones;

use std::path::Path;

use busbar_io::{Endpoint, ShmName, UdsName};
use napi::bindgen_prelude::{Env, Function, Int32Array, Object, Uint32Array};
use napi::{JsValue, sys};
use napi_derive::napi;

use port::Arrays;

/// Opens the port of this environment, with an I/O thread if `hasThread`. `backend` may be empty.
/// `onWake()` is called with entries in `events`, their number in `registers[0]`. The arrays are
/// kept for the life of the environment and must never reach users.
///
/// # Errors
/// When descriptors or memory are short, or the backend does not work here.
#[napi(
    ts_args_type = "onWake: () => void, events: Uint32Array, slots: Uint32Array, \
                    registers: Int32Array, hasThread: boolean, backend: string",
    ts_return_type = "import('../lib/internal/binding.js').NativePort"
)]
pub fn open_port<'env>(
    env: Env,
    on_wake: Function<'env, (), ()>,
    events: Uint32Array,
    slots: Uint32Array,
    registers: Int32Array,
    has_thread: bool,
    backend: String,
) -> napi::Result<Object<'env>> {
    let port = Object::new(&env)?;
    // The buffers were created by the caller, so their JavaScript objects are what `port` keeps.
    let arrays = Arrays { events, slots, registers };
    port::open(env.raw(), on_wake.raw(), arrays, has_thread, &backend, port.raw())?;
    Ok(port)
}

/// The parts of an address: its scheme, then names and values in turn.
///
/// # Errors
/// `ERR_INVALID_ADDRESS`.
#[napi]
pub fn parse_address(env: Env, address: String) -> napi::Result<Vec<String>> {
    let endpoint: Endpoint = match address.parse() {
        Ok(endpoint) => endpoint,
        Err(error) => {
            raw::throw(env.raw(), &error);
            return Err(napi::Error::new(napi::Status::PendingException, ""));
        }
    };
    let path = |path: &Path| ("path", path.display().to_string());
    let parts = match &endpoint {
        Endpoint::Inproc(name) | Endpoint::Pipe(name) | Endpoint::Shm(ShmName::Name(name)) => {
            vec![("name", name.clone())]
        }
        Endpoint::Uds(UdsName::Abstract(name)) => vec![("abstract", name.clone())],
        Endpoint::Shm(ShmName::Path(at)) | Endpoint::Uds(UdsName::Path(at)) => vec![path(at)],
        Endpoint::Ipc(at) => vec![path(at)],
        Endpoint::Tcp { host, port, .. } | Endpoint::Tls { host, port, .. } => {
            vec![("host", host.clone()), ("port", port.to_string())]
        }
        _ => Vec::new(),
    };
    let parts = parts.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
    Ok(std::iter::once(endpoint.scheme().to_owned()).chain(parts).collect())
}

/// The names that are bound in this process.
#[napi]
#[must_use]
pub fn list_inproc_endpoints() -> Vec<String> {
    busbar_io::transport::inproc::list_inproc_endpoints()
}

/// What has passed through a name that is bound: connections, those that wait to be accepted, then
/// for messages to the listener and for those from it: sent, their bytes, received, dropped,
/// waiting, their bytes.
///
/// # Errors
/// `ERR_NOT_FOUND`, `ERR_INVALID_ADDRESS`.
#[napi]
pub fn inproc_stats(env: Env, name: String) -> napi::Result<Vec<f64>> {
    let stats = match busbar_io::transport::inproc::inproc_stats(&name) {
        Ok(stats) => stats,
        Err(error) => {
            raw::throw(env.raw(), &error);
            return Err(napi::Error::new(napi::Status::PendingException, ""));
        }
    };
    let lanes = [stats.from_clients, stats.to_clients].into_iter().flat_map(|lane| {
        [
            lane.messages_sent,
            lane.bytes_sent,
            lane.messages_received,
            lane.messages_dropped,
            lane.messages_queued,
            lane.bytes_queued,
        ]
    });
    #[expect(clippy::cast_precision_loss, reason = "counters stay below 2^53")]
    Ok([stats.connections as u64, stats.pending as u64]
        .into_iter()
        .chain(lanes)
        .map(|count| count as f64)
        .collect())
}

/// The version of the addon.
#[napi]
#[must_use]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// What raw functions return when they have thrown.
const THREW: sys::napi_value = std::ptr::null_mut();
