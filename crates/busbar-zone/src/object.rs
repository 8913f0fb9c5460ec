//! Objects of a plugin that callers hold: the plugin gives them out by number and is told, once,
//! when nobody holds one any more.
//!
//! ```text
//! issue ──→ known ──hold──→ held, by some ──last drop──→ released: the plugin is told
//!                                 └──the instance ends──→ stale:   nobody is
//! ```
//!
//! A number is of one instance, whose generation is part of it: another one never has it. It fits
//! into the integers of JavaScript.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::{Error, ErrorKind, Result, Stage};

/// Objects that an instance may have given out at a time.
const OBJECTS_MAX: usize = 1 << 20;
const SERIAL_BITS: u32 = 32;
/// What is left of the 53 bits.
const GENERATIONS: u32 = 1 << 21;

/// Somebody who holds an object of a plugin, from [`Zone::hold`](crate::Zone::hold). Dropped, it
/// does so no longer; the plugin is told when nobody does.
pub struct Object {
    objects: Arc<Objects>,
    number: u64,
}

impl Object {
    /// The plugin's number for it.
    ///
    /// # Errors
    /// `Stale` if its instance has ended, for whatever reason.
    pub fn number(&self) -> Result<u64> {
        match self.objects.lock().known {
            Some(_) => Ok(self.number),
            None => Err(stale(self.number, "what it was of has ended")),
        }
    }

    /// The generation that it is of.
    #[must_use]
    pub fn generation(&self) -> u32 {
        generation_of(self.number)
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        let released = {
            let mut state = self.objects.lock();
            let Some(known) = &mut state.known else { return };
            let Some(holders) = known.get_mut(&self.number) else { return };
            *holders -= 1;
            if *holders > 0 {
                return;
            }
            known.remove(&self.number);
            state.owner.as_ref().and_then(Weak::upgrade)
        };
        if let Some(owner) = released {
            owner.release(self.number);
        }
    }
}

/// Who tells the plugin.
pub(crate) trait Owner: Send + Sync {
    fn release(&self, object: u64);
}

/// The objects of one instance.
pub(crate) struct Objects {
    generation: u32,
    state: Mutex<State>,
}

struct State {
    owner: Option<Weak<dyn Owner>>,
    /// How many hold each; `None` once the instance has ended.
    known: Option<HashMap<u64, u32>>,
    serial: u32,
}

impl Objects {
    pub(crate) fn new(generation: u32) -> Arc<Self> {
        let state = State { owner: None, known: Some(HashMap::new()), serial: 0 };
        Arc::new(Self { generation, state: Mutex::new(state) })
    }

    pub(crate) fn set_owner(&self, owner: Weak<dyn Owner>) {
        self.lock().owner = Some(owner);
    }

    /// Another number; `None` if there are too many, or the instance ends.
    pub(crate) fn issue(&self) -> Option<u64> {
        let mut state = self.lock();
        let serial = state.serial.checked_add(1)?;
        let known = state.known.as_mut().filter(|known| known.len() < OBJECTS_MAX)?;
        let generation = u64::from(self.generation % GENERATIONS);
        let number = generation << SERIAL_BITS | u64::from(serial);
        known.insert(number, 0);
        state.serial = serial;
        Some(number)
    }

    /// A number that somebody else has issued; whether it can be one.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "for processes"))]
    pub(crate) fn adopt(&self, number: u64) -> bool {
        let mut state = self.lock();
        let is_ours = generation_of(number) == self.generation % GENERATIONS;
        match &mut state.known {
            Some(known) if is_ours && known.len() < OBJECTS_MAX => {
                known.insert(number, 0).is_none()
            }
            Some(_) => false,
            None => true,
        }
    }

    /// One more holds an object.
    ///
    /// # Errors
    /// `Stale`.
    pub(crate) fn hold(self: &Arc<Self>, number: u64) -> Result<Object> {
        let mut state = self.lock();
        let holders = state.known.as_mut().and_then(|known| known.get_mut(&number));
        let Some(holders) = holders else {
            return Err(stale(number, "it was released, or is of another generation"));
        };
        *holders = holders.saturating_add(1);
        Ok(Object { objects: Arc::clone(self), number })
    }

    /// Forgets an object that its holders, elsewhere, have let go; whether it was there.
    pub(crate) fn forget(&self, number: u64) -> bool {
        self.lock().known.as_mut().is_some_and(|known| known.remove(&number).is_some())
    }

    /// All of them are stale.
    pub(crate) fn end(&self) {
        self.lock().known = None;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn generation_of(number: u64) -> u32 {
    (number >> SERIAL_BITS) as u32
}

fn stale(number: u64, why: &str) -> Error {
    Error::new(ErrorKind::Stale, Stage::Call, format!("there is no object {number}: {why}"))
}
