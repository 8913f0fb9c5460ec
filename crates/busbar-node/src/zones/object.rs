//! Objects of plugins that JavaScript holds.

use std::cell::RefCell;

use napi::bindgen_prelude::Env;
use napi_derive::napi;

use super::{Failure, in_background};

/// Somebody who holds an object of a plugin; nothing of it is borrowed while a plugin runs, which
/// may call JavaScript, which has this.
#[napi]
pub struct NativeObject(RefCell<Option<busbar_zone::Object>>);

impl NativeObject {
    pub(super) fn new(held: busbar_zone::Object) -> Self {
        Self(RefCell::new(Some(held)))
    }
}

#[napi]
impl NativeObject {
    /// The generation that it is of; 0 once it was let go.
    #[napi(getter)]
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.0.borrow().as_ref().map_or(0, busbar_zone::Object::generation)
    }

    /// The plugin's number for it, below 2^53.
    ///
    /// # Errors
    /// `ERR_OBJECT_STALE`.
    #[napi]
    pub fn number(&self, env: Env) -> napi::Result<f64> {
        let Some(number) = self.0.borrow().as_ref().map(busbar_zone::Object::number) else {
            return Err(Failure::new("ERR_OBJECT_STALE", "the object was let go").throw(env));
        };
        number.map(|it| it as f64).map_err(|error| Failure::from(error).throw(env))
    }

    /// Holds it no longer.
    #[napi]
    pub fn release(&self) {
        drop(self.0.take());
    }
}

impl Drop for NativeObject {
    fn drop(&mut self) {
        // This may be a finalizer, in which no plugin may run.
        if let Some(held) = self.0.take() {
            let _ = in_background(move || drop(held));
        }
    }
}
