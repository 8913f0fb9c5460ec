//! The namespace of `inproc://`: one for the process, shared by every thread and Node worker.
//!
//! Names are given with or without `inproc://`. A name belongs to the listener that bound it until
//! that listener closes or somebody unbinds the name. No lock of the map is held while a
//! connection is made or closed.

use std::sync::{Arc, LazyLock};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use busbar_proto::{Code, Error};

use crate::endpoint::inproc_name;

use super::listener::{Binding, InprocListener};
use super::options::InprocOptions;
use super::pair::InprocPair;
use super::stats::InprocStats;

/// Binds `name`; the listener accepts what connects to it.
///
/// # Errors
/// `AddrInUse` if the name is bound, whose listener is left alone; `InvalidAddress` for a name that
/// cannot be one; `InvalidArgument` for a limit out of range.
pub fn bind_inproc(name: &str, options: InprocOptions) -> Result<InprocListener, Error> {
    let name = plain(name)?;
    options.validate()?;
    let binding = Arc::new(Binding::new(name, options));
    match NAMESPACE.entry(Box::from(name)) {
        Entry::Occupied(_) => {
            Err(Error::new(Code::AddrInUse, format!("inproc://{name} is bound already")))
        }
        Entry::Vacant(free) => {
            free.insert(Arc::clone(&binding));
            Ok(InprocListener::new(binding))
        }
    }
}

/// Connects to `name` at once: the connection can be used before it is accepted.
///
/// # Errors
/// `NotFound` (retryable) if nobody has bound the name; `ConnectionRefused` (retryable) if too many
/// connections wait to be accepted; `InvalidAddress` and `InvalidArgument` as for binding.
pub fn connect_inproc(name: &str, options: InprocOptions) -> Result<InprocPair, Error> {
    let name = plain(name)?;
    options.validate()?;
    lookup(name)?.connect(&options)
}

/// Frees `name` and closes its listener. Connections that were accepted live on.
///
/// # Errors
/// `NotFound` if nobody has bound the name, `InvalidAddress` if it cannot be one.
pub fn unbind_inproc(name: &str) -> Result<(), Error> {
    let name = plain(name)?;
    let (_, binding) = NAMESPACE.remove(name).ok_or_else(|| unbound(name))?;
    binding.close();
    Ok(())
}

/// The bound names, sorted, without `inproc://`.
#[must_use]
pub fn list_inproc_endpoints() -> Vec<String> {
    let mut names: Vec<_> = NAMESPACE.iter().map(|entry| entry.key().to_string()).collect();
    names.sort_unstable();
    names
}

/// The name in `inproc://name`.
///
/// # Errors
/// `InvalidAddress` if the address has another scheme or the name is empty, longer than 255 bytes
/// or contains control characters.
pub fn validate_and_extract_name(address: &str) -> Result<&str, Error> {
    match address.strip_prefix(PREFIX) {
        Some(name) => inproc_name(name),
        None => Err(Error::new(
            Code::InvalidAddress,
            format!("{address:?} is not an inproc address; expected inproc://name"),
        )),
    }
}

/// The traffic of all connections made through `name` since it was bound.
///
/// # Errors
/// `NotFound` if nobody has bound the name, `InvalidAddress` if it cannot be one.
pub fn inproc_stats(name: &str) -> Result<InprocStats, Error> {
    Ok(lookup(plain(name)?)?.stats())
}

/// Closes `binding` and frees its name, unless the name has a new owner by now.
pub(super) fn release(binding: &Arc<Binding>) {
    NAMESPACE.remove_if(binding.name(), |_, owner| Arc::ptr_eq(owner, binding));
    binding.close();
}

static NAMESPACE: LazyLock<DashMap<Box<str>, Arc<Binding>>> = LazyLock::new(DashMap::new);

const PREFIX: &str = "inproc://";

fn plain(name: &str) -> Result<&str, Error> {
    inproc_name(name.strip_prefix(PREFIX).unwrap_or(name))
}

fn lookup(name: &str) -> Result<Arc<Binding>, Error> {
    NAMESPACE.get(name).map(|entry| Arc::clone(entry.value())).ok_or_else(|| unbound(name))
}

fn unbound(name: &str) -> Error {
    Error::new(
        Code::NotFound,
        format!(
            "inproc://{name} is not bound: a listener must bind before connect, in this process; \
             between processes use shm://"
        ),
    )
}
