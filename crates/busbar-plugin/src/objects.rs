//! Objects that callers hold by number.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use busbar_abi::Status;

use crate::{Error, Host, Result};

/// What callers may hold, until nobody does: give out numbers by [`Self::insert`], look them up in
/// methods by [`Self::find`], and have [`Plugin::released`](crate::Plugin::released) call
/// [`Self::remove`].
pub struct Objects<T> {
    host: Host,
    all: Mutex<HashMap<u64, Arc<T>>>,
}

impl<T> fmt::Debug for Objects<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objects").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl<T> Objects<T> {
    /// None yet.
    #[must_use]
    pub fn new(host: Host) -> Self {
        Self { host, all: Mutex::default() }
    }

    /// Keeps an object; its number, which no other has or had.
    ///
    /// # Errors
    /// [`Status::AGAIN`] if there are a million, or the zone ends.
    pub fn insert(&self, object: T) -> Result<u64> {
        let number = self.host.object()?;
        self.lock().insert(number, Arc::new(object));
        Ok(number)
    }

    /// The object with this number.
    ///
    /// # Errors
    /// [`Status::STALE`].
    pub fn find(&self, number: u64) -> Result<Arc<T>> {
        self.lock().get(&number).cloned().ok_or_else(|| {
            Error::of(Status::STALE, format!("there is no object {number}, or no longer"))
        })
    }

    /// Keeps an object no longer.
    pub fn remove(&self, number: u64) -> Option<Arc<T>> {
        self.lock().remove(&number)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<T>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
