//! Calls that run elsewhere, by raw functions: one call of a zone is one native call and no object,
//! and one native call brings all ends that there are.
//!
//! | word | |
//! |---:|---|
//! | 0 | operations under way; TypeScript writes it |
//! | 1 | calls among them; TypeScript writes it |
//! | 2 | whether the loop is kept alive for them |
//! | 3 | whether a hook looks before the loop sleeps, and lets the loop end |
//! | 4… | of the ends that were collected, operation and length in turn |

use std::cell::{Cell, RefCell};
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;

use busbar_zone::{Completions, MethodId, Mode, Zone};
use napi::bindgen_prelude::Uint32Array;
use napi::sys;

use super::inline::{function, property};
use super::outbox::{OTHER, Outbox, Packed};
use super::{Failure, Held};
use crate::raw;

/// Words before those of ends.
const WORDS: usize = 4;
/// Of each end.
const END_WORDS: usize = 2;

/// The array of words that both sides know.
pub(super) struct SharedWords {
    /// Keeps them where they are.
    _array: Uint32Array,
    words: *const [Cell<u32>],
}

impl SharedWords {
    fn new(mut array: Uint32Array) -> Option<Self> {
        if array.len() < WORDS + END_WORDS {
            return None;
        }
        // SAFETY: only this thread has the array, and no JavaScript runs meanwhile.
        let words = Cell::from_mut(unsafe { array.as_mut() }).as_slice_of_cells();
        let words = ptr::from_ref(words);
        Some(Self { _array: array, words })
    }

    fn cells(&self) -> &[Cell<u32>] {
        // SAFETY: the array is there as long as this is, and only this thread has it.
        unsafe { &*self.words }
    }
}

#[cfg(target_os = "linux")]
impl super::watch::Words for SharedWords {
    fn has_calls(&self) -> bool {
        self.cells()[1].get() > 0
    }

    fn has_operations(&self) -> bool {
        self.cells()[0].get() > 0
    }

    fn is_referenced(&self) -> bool {
        self.cells()[2].get() > 0
    }

    fn set_referenced(&self, is: bool) {
        self.cells()[2].set(is.into());
    }
}

#[cfg(target_os = "linux")]
type Watcher = super::watch::Watcher;
/// Nobody looks where libuv cannot be reached.
#[cfg(not(target_os = "linux"))]
enum Watcher {}

#[cfg(not(target_os = "linux"))]
impl Watcher {
    fn expect(&self, _: &Zone, _: bool) {
        match *self {}
    }

    fn delivered(&self) {
        match *self {}
    }
}

/// What all zones of an environment share.
pub(super) struct Hub {
    outbox: Arc<Outbox>,
    words: Rc<SharedWords>,
    watcher: Option<Rc<Watcher>>,
    /// What was taken from the outbox, and how much of it JavaScript has.
    packed: RefCell<(Packed, usize, usize)>,
}

impl Hub {
    /// Defines `collect(target, from)` on `object`: the ends that come next, whose results lie in
    /// `target` from there on, each at a multiple of 8; how many there are.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` for an array that is too short.
    pub(super) fn new(
        env: sys::napi_env,
        outbox: &Arc<Outbox>,
        words: Uint32Array,
        on_wake: sys::napi_value,
        object: sys::napi_value,
    ) -> Result<Rc<Self>, Failure> {
        let words = SharedWords::new(words);
        let words = words.ok_or_else(|| Failure::new("ERR_INVALID_ARGUMENT", "no words"))?;
        let words = Rc::new(words);
        #[cfg(target_os = "linux")]
        let watcher = {
            let words: Rc<dyn super::watch::Words> = Rc::<SharedWords>::clone(&words);
            Watcher::start(env, outbox, words, on_wake)
        };
        #[cfg(not(target_os = "linux"))]
        let watcher = None;
        let _ = on_wake;
        words.cells()[3].set(watcher.is_some().into());
        let packed = RefCell::default();
        let hub = Rc::new(Self { outbox: Arc::clone(outbox), words, watcher, packed });
        let collect = function(env, "collect", collect, Rc::clone(&hub));
        property(env, object, "collect", collect);
        Ok(hub)
    }

    /// `submit(method, input, operation)`: starts a call; its number.
    pub(super) fn submit(self: &Rc<Self>, env: sys::napi_env, zone: &Zone) -> sys::napi_value {
        // Who answers functions of JavaScript's is its own thread, which cannot look meanwhile.
        let needs_looks = zone.mode() == Mode::Process && !zone.exposes();
        let caller = Caller { zone: Held::new(zone), hub: Rc::clone(self), needs_looks };
        function(env, "submit", submit, caller)
    }

    /// How many ends there are in the words.
    fn fill(&self, target: &mut [u8], from: usize) -> usize {
        let mut packed = self.packed.borrow_mut();
        let (packed, record, byte) = &mut *packed;
        if *record == packed.records.len() {
            (*record, *byte) = (0, 0);
            self.outbox.take_packed(packed);
        }
        let (ends, _) = self.words.cells()[WORDS..].as_chunks::<END_WORDS>();
        let (mut at, mut count) = (from, 0);
        for (one, [operation, length]) in packed.records[*record..].iter().zip(ends) {
            if one.length != OTHER {
                let bytes = &packed.bytes[*byte..*byte + one.length as usize];
                let Some(room) = target.get_mut(at..at + bytes.len()) else { break };
                room.copy_from_slice(bytes);
                *byte += bytes.len();
                at = (at + bytes.len()).next_multiple_of(8);
            }
            operation.set(one.operation);
            length.set(one.length);
            count += 1;
        }
        *record += count;
        count
    }
}

struct Caller {
    zone: Held,
    hub: Rc<Hub>,
    needs_looks: bool,
}

unsafe extern "C" fn collect(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    raw::guard(env, || {
        let ([target, from], data) = raw::arguments::<2>(env, info);
        // SAFETY: `Hub::new` made it, and it lives as long as this function.
        let hub = unsafe { &*data.cast::<Rc<Hub>>() };
        if let Some(watcher) = &hub.watcher {
            watcher.delivered();
        }
        let Some((target, room)) = raw::typed_array(env, target) else {
            return raw::throw_coded(env, "ERR_INVALID_ARGUMENT", "there is no room for results");
        };
        // SAFETY: memory of a typed array of ours, and no JavaScript runs meanwhile.
        let target = unsafe { std::slice::from_raw_parts_mut(target, room) };
        let count = hub.fill(target, raw::uint(env, from) as usize);
        raw::int(env, count as i32)
    })
}

unsafe extern "C" fn submit(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    raw::guard(env, || {
        let ([method, input, operation], data) = raw::arguments::<3>(env, info);
        // SAFETY: `Hub::submit` made it, and it lives as long as this function.
        let Caller { zone, hub, needs_looks } = unsafe { &*data.cast::<Caller>() };
        let method = MethodId::from_index(raw::uint(env, method));
        let input = raw::bytes(env, input).unwrap_or_default();
        if let Some(watcher) = &hub.watcher {
            watcher.expect(zone, *needs_looks);
        }
        let sink: Arc<dyn Completions> = Arc::<Outbox>::clone(&hub.outbox);
        let operation = raw::uint(env, operation);
        match zone.submit(method, input, sink, operation.into()) {
            // Below 2^48.
            Ok(id) => raw::number(env, id.number() as f64),
            Err(error) => Failure::from(error).throw_raw(env),
        }
    })
}
