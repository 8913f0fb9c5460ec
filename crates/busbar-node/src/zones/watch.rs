//! Looking for ends of calls before the loop sleeps, in a `uv_prepare` hook: being woken takes
//! longer than most calls. What comes while it looks is handed to JavaScript there and then, which
//! often calls again.
//!
//! It looks only if calls are under way and the loop has nothing else to do, and only as long as
//! that was of use lately ([`Patience`]). A loop that has something else to do is not going to
//! sleep: then one glance is enough, and nobody has to ring. Where libuv cannot be reached, the
//! outbox's thread-safe function tells of all ends.

use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use busbar_zone::{Attendance, Patience, Zone};
use napi::sys;

use super::outbox::Outbox;
use crate::driver::guard;
use crate::driver::uv::libuv::{self, Handle, Libuv, Loop, Memory};
use crate::raw;

/// Deliveries in one hook, so that other work gets its turn.
const DELIVERIES_MAX: usize = 16;

/// What JavaScript and this side both know.
pub(super) trait Words {
    /// Whether calls are under way.
    fn has_calls(&self) -> bool;
    /// Whether operations of any kind are.
    fn has_operations(&self) -> bool;
    /// Whether the loop is kept alive for them.
    fn is_referenced(&self) -> bool;
    fn set_referenced(&self, is: bool);
}

pub(super) struct Watcher {
    uv: Libuv,
    uv_loop: Loop,
    env: sys::napi_env,
    outbox: Arc<Outbox>,
    words: Rc<dyn Words>,
    on_wake: sys::napi_ref,
    prepare: Memory,
    /// While it is active, the loop does not wait.
    idle: Memory,
    is_idle: Cell<bool>,
    patience: Cell<Patience>,
    /// Since when the loop may be asleep, if calls are under way.
    asleep: Cell<Option<Instant>>,
    /// Whether ends ring.
    is_ringing: Cell<bool>,
    /// Zones whose ends have to be looked for, by their number.
    attended: RefCell<Vec<(u64, Box<dyn Attendance>)>>,
    cleanup: Cell<sys::napi_async_cleanup_hook_handle>,
    has_ended: Cell<bool>,
    /// Handles that libuv has.
    handles: Cell<u32>,
}

impl Watcher {
    /// `None` if libuv cannot be reached.
    pub(super) fn start(
        env: sys::napi_env,
        outbox: &Arc<Outbox>,
        words: Rc<dyn Words>,
        on_wake: sys::napi_value,
    ) -> Option<Rc<Self>> {
        if std::env::var_os("BUSBAR_WAKE").is_some_and(|kind| kind == "tsfn") {
            return None;
        }
        let uv = Libuv::load()?;
        let mut uv_loop = ptr::null_mut();
        // SAFETY: on the environment's thread; the out-pointer is a live local.
        let status = unsafe { sys::napi_get_uv_event_loop(env, &raw mut uv_loop) };
        if status != sys::Status::napi_ok {
            return None;
        }
        let watcher = Rc::new(Self {
            uv,
            uv_loop,
            env,
            outbox: Arc::clone(outbox),
            words,
            on_wake: raw::reference(env, on_wake, false)?,
            prepare: Memory::new(&uv, libuv::UV_PREPARE),
            idle: Memory::new(&uv, libuv::UV_IDLE),
            is_idle: Cell::new(false),
            patience: Cell::default(),
            asleep: Cell::new(None),
            is_ringing: Cell::new(false),
            attended: RefCell::default(),
            cleanup: Cell::new(ptr::null_mut()),
            has_ended: Cell::new(false),
            handles: Cell::new(2),
        });
        // SAFETY: on the loop's thread; the memory is as large as libuv asked for, zeroed, and
        // stays until `on_closed`. Neither can fail.
        unsafe { (uv.prepare_init)(uv_loop, watcher.prepare.handle()) };
        // SAFETY: as above.
        unsafe { (uv.idle_init)(uv_loop, watcher.idle.handle()) };
        for handle in watcher.handles() {
            // It lives until `on_closed` takes this count back.
            let data = Rc::into_raw(Rc::clone(&watcher)).cast_mut().cast();
            // SAFETY: the handle is initialised.
            unsafe { (uv.set_data)(handle, data) };
            // SAFETY: as above.
            unsafe { (uv.unreference)(handle) };
        }
        // SAFETY: as above; the callback finds the watcher in the handle's data.
        unsafe { (uv.prepare_start)(watcher.prepare.handle(), on_prepare) };
        let data = Rc::into_raw(Rc::clone(&watcher)).cast_mut().cast();
        let mut cleanup = ptr::null_mut();
        // SAFETY: on the environment's thread; `on_environment_end` takes the count back.
        unsafe {
            sys::napi_add_async_cleanup_hook(env, Some(on_environment_end), data, &raw mut cleanup)
        };
        watcher.cleanup.set(cleanup);
        outbox.watch();
        Some(watcher)
    }

    /// A call of `zone` is about to be made by JavaScript, after which the hook runs before the
    /// loop sleeps.
    #[inline]
    pub(super) fn expect(&self, zone: &Zone, needs_looks: bool) {
        if self.is_ringing.replace(false) {
            self.outbox.watch();
        }
        if needs_looks {
            self.attend(zone);
        }
    }

    fn attend(&self, zone: &Zone) {
        let mut attended = self.attended.borrow_mut();
        let is_known = attended.iter().any(|(id, _)| *id == zone.id());
        if is_known || self.has_ended.get() || !self.patience.get().is_left() {
            return;
        }
        attended.extend(zone.attend().map(|attendance| (zone.id(), attendance)));
    }

    /// Ends are being delivered.
    pub(super) fn delivered(&self) {
        if let Some(since) = self.asleep.take() {
            let mut patience = self.patience.get();
            patience.found(since.elapsed());
            self.patience.set(patience);
        }
    }

    fn handles(&self) -> [Handle; 2] {
        [&self.prepare, &self.idle].map(Memory::handle)
    }

    fn before_wait(&self) {
        if self.has_ended.get() {
            return;
        }
        self.set_idle(false);
        let mut deliveries = 0;
        while deliveries < DELIVERIES_MAX && (self.outbox.has_ends() || self.look()) {
            deliveries += 1;
            if !raw::call_back(self.env, self.on_wake) {
                break;
            }
        }
        if self.has_ended.get() {
            return;
        }
        if self.words.has_calls() && (deliveries == DELIVERIES_MAX || self.is_busy()) {
            // Other work gets its turn, and this comes back at once.
            return self.set_idle(true);
        }
        // From here on it is for others to wake this thread.
        self.attended.borrow_mut().clear();
        if !self.words.has_operations() && self.words.is_referenced() {
            self.outbox.keep_alive(self.env, false);
            self.words.set_referenced(false);
        }
        if self.asleep.get().is_none() && self.words.has_calls() {
            self.asleep.set(Some(Instant::now()));
        }
        self.is_ringing.set(true);
        self.outbox.sleep();
    }

    /// Looks for ends, as long as that may be of use.
    fn look(&self) -> bool {
        if !self.words.has_calls() {
            return false;
        }
        let attended = self.attended.borrow();
        let is_there =
            || self.outbox.has_ends() || attended.iter().any(|(_, attendance)| attendance.look());
        let mut patience = self.patience.get();
        if !patience.is_left() || self.is_busy() {
            return is_there();
        }
        let is_found = patience.look(is_there);
        self.patience.set(patience);
        is_found
    }

    /// Whether the loop has other things to do before it sleeps.
    fn is_busy(&self) -> bool {
        // SAFETY: on the loop's thread; it only reads.
        unsafe { (self.uv.backend_timeout)(self.uv_loop) == 0 }
    }

    fn set_idle(&self, is_idle: bool) {
        if self.is_idle.replace(is_idle) == is_idle {
            return;
        }
        if is_idle {
            // SAFETY: on the loop's thread; the handle is initialised and not closed.
            unsafe { (self.uv.idle_start)(self.idle.handle(), on_idle) };
        } else {
            // SAFETY: as above.
            unsafe { (self.uv.idle_stop)(self.idle.handle()) };
        }
    }

    fn close(&self) {
        self.has_ended.set(true);
        self.attended.borrow_mut().clear();
        for handle in self.handles() {
            // SAFETY: on the loop's thread; each is closed once, here.
            unsafe { (self.uv.close)(handle, on_closed) };
        }
    }
}

unsafe extern "C" fn on_prepare(handle: Handle) {
    // SAFETY: `data` is the first, public member of every libuv handle, and `start` set it.
    let data = unsafe { *handle.cast::<*const Watcher>() };
    // SAFETY: `start` stored a counted pointer, which only `on_closed` takes back.
    unsafe { Rc::increment_strong_count(data) };
    // SAFETY: the count just added is ours.
    let watcher = unsafe { Rc::from_raw(data) };
    guard(|| watcher.before_wait());
}

unsafe extern "C" fn on_idle(_: Handle) {}

unsafe extern "C" fn on_environment_end(_: sys::napi_async_cleanup_hook_handle, data: *mut c_void) {
    // SAFETY: `start` made the pointer for this one call.
    let watcher = unsafe { Rc::from_raw(data.cast_const().cast::<Watcher>()) };
    guard(|| watcher.close());
}

unsafe extern "C" fn on_closed(handle: Handle) {
    // SAFETY: as in `on_prepare`.
    let data = unsafe { *handle.cast::<*const Watcher>() };
    // SAFETY: libuv forgets the handle now, so the count that it had is taken back.
    let watcher = unsafe { Rc::from_raw(data) };
    let left = watcher.handles.get() - 1;
    watcher.handles.set(left);
    if left == 0 {
        // SAFETY: the hook has run and everything it stood for is done.
        unsafe { sys::napi_remove_async_cleanup_hook(watcher.cleanup.get()) };
    }
}
