//! Driving the engine from libuv's loop: no thread, no queue in between.
//!
//! | handle | does |
//! |---|---|
//! | `uv_poll` on the engine's descriptor | a peer rang, a socket is ready: turn |
//! | `uv_prepare` | before the loop waits: look at hot pipes, spin, park |
//! | `uv_idle` | while active, the loop does not wait; its callback does nothing |
//! | `uv_timer` | deadlines: handshakes, heartbeats, lingering |
//!
//! Only the poll handle keeps the loop alive, and only while JavaScript wants that. When the
//! environment ends, the handles are closed first and the memory goes when libuv has let go of it.

pub(crate) mod libuv;

use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_void};
use std::os::fd::AsRawFd;
use std::ptr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use busbar_io::Readiness;
use napi::sys;

use crate::port::Port;
use libuv::{Handle, Libuv, Memory};

/// Batches handed to JavaScript in one prepare hook.
const DELIVERIES_MAX: usize = 16;

pub(crate) struct UvDriver {
    uv: Libuv,
    port: RefCell<Option<Rc<Port>>>,
    poll: Memory,
    prepare: Memory,
    idle: Memory,
    timer: Memory,
    idle_active: Cell<bool>,
    /// What the timer is set for.
    deadline: Cell<Option<Instant>>,
    /// Handles that libuv still holds after the environment began to end.
    closing: Cell<u32>,
    cleanup: Cell<sys::napi_async_cleanup_hook_handle>,
}

impl UvDriver {
    /// `None` if libuv cannot be reached, or refuses.
    pub(super) fn start(port: &Rc<Port>) -> Option<Rc<Self>> {
        let uv = Libuv::load()?;
        let mut uv_loop = ptr::null_mut();
        // SAFETY: on the environment's thread; the out-pointer is a live local.
        let status = unsafe { sys::napi_get_uv_event_loop(port.env, &raw mut uv_loop) };
        if status != sys::Status::napi_ok {
            return None;
        }
        let driver = Rc::new(Self {
            uv,
            port: RefCell::new(Some(Rc::clone(port))),
            poll: Memory::new(&uv, libuv::UV_POLL),
            prepare: Memory::new(&uv, libuv::UV_PREPARE),
            idle: Memory::new(&uv, libuv::UV_IDLE),
            timer: Memory::new(&uv, libuv::UV_TIMER),
            idle_active: Cell::new(false),
            deadline: Cell::new(None),
            closing: Cell::new(0),
            cleanup: Cell::new(ptr::null_mut()),
        });
        let fd = port.state.borrow().engine.as_raw_fd();
        // SAFETY: on the loop's thread; the memory is as large as libuv asked for, zeroed, and
        // stays until `on_closed`. The descriptor lives as long as the port, which we hold.
        if unsafe { (uv.poll_init)(uv_loop, driver.poll.handle(), fd) } != 0 {
            return None;
        }
        // SAFETY: as above; these three cannot fail.
        unsafe { (uv.prepare_init)(uv_loop, driver.prepare.handle()) };
        // SAFETY: as above.
        unsafe { (uv.idle_init)(uv_loop, driver.idle.handle()) };
        // SAFETY: as above.
        unsafe { (uv.timer_init)(uv_loop, driver.timer.handle()) };
        for handle in driver.handles() {
            // The driver itself lives until `on_closed` takes this count back.
            let data = Rc::into_raw(Rc::clone(&driver)).cast_mut().cast();
            // SAFETY: the handle is initialised.
            unsafe { (uv.set_data)(handle, data) };
            // SAFETY: as above.
            unsafe { (uv.unreference)(handle) };
        }
        // SAFETY: as above; the callback finds the driver in the handle's data.
        unsafe { (uv.poll_start)(driver.poll.handle(), libuv::READABLE, on_readable) };
        // SAFETY: as above.
        unsafe { (uv.prepare_start)(driver.prepare.handle(), on_prepare) };
        driver.add_cleanup_hook(port.env);
        Some(driver)
    }

    pub(super) fn keep_alive(&self, wanted: bool) {
        let change = if wanted { self.uv.reference } else { self.uv.unreference };
        // SAFETY: on the loop's thread; the handle is initialised and not closed, since JavaScript
        // still runs.
        unsafe { change(self.poll.handle()) };
    }

    fn handles(&self) -> [Handle; 4] {
        [&self.poll, &self.prepare, &self.idle, &self.timer].map(Memory::handle)
    }

    fn add_cleanup_hook(self: &Rc<Self>, env: sys::napi_env) {
        let data = Rc::into_raw(Rc::clone(self)).cast_mut().cast();
        let mut cleanup = ptr::null_mut();
        // SAFETY: on the environment's thread; `on_environment_end` takes the count in `data` back.
        unsafe {
            sys::napi_add_async_cleanup_hook(env, Some(on_environment_end), data, &raw mut cleanup)
        };
        self.cleanup.set(cleanup);
    }

    /// The port, unless the environment is ending.
    fn port(&self) -> Option<Rc<Port>> {
        self.port.borrow().as_ref().map(Rc::clone)
    }

    fn before_wait(&self) {
        let Some(port) = self.port() else { return };
        // A quick answer is often followed by the next question: looking again costs less than a
        // round through the loop's own system call. Bounded, so that other work gets its turn.
        let mut readiness = port.prepare_sleep();
        for _ in 1..DELIVERIES_MAX {
            if readiness != Readiness::Events {
                break;
            }
            readiness = port.prepare_sleep();
        }
        self.set_idle(readiness != Readiness::Sleep);
        self.set_timer(port.next_deadline());
    }

    /// While the idle handle is active the loop does not wait.
    fn set_idle(&self, active: bool) {
        if self.idle_active.replace(active) == active || self.closing.get() > 0 {
            return;
        }
        if active {
            // SAFETY: on the loop's thread; the handle is initialised and not closed.
            unsafe { (self.uv.idle_start)(self.idle.handle(), on_idle) };
        } else {
            // SAFETY: as above.
            unsafe { (self.uv.idle_stop)(self.idle.handle()) };
        }
    }

    fn set_timer(&self, deadline: Option<Instant>) {
        if self.deadline.replace(deadline) == deadline {
            return;
        }
        let Some(deadline) = deadline else { return };
        let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        let left = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        // SAFETY: on the loop's thread; the handle is initialised and not closed.
        unsafe { (self.uv.timer_start)(self.timer.handle(), on_timer, left, 0) };
    }

    fn close(&self) {
        if let Some(port) = self.port.borrow().as_ref() {
            port.shut_down();
        }
        self.closing.set(4);
        for handle in self.handles() {
            // SAFETY: on the loop's thread; each handle is closed once, here.
            unsafe { (self.uv.close)(handle, on_closed) };
        }
    }

    /// libuv has let go of one handle.
    fn closed(&self) {
        self.closing.set(self.closing.get() - 1);
        if self.closing.get() == 0 {
            if let Some(port) = self.port.take() {
                port.release();
            }
            // SAFETY: the hook has run and everything it stood for is done.
            unsafe { sys::napi_remove_async_cleanup_hook(self.cleanup.get()) };
        }
    }
}

/// The driver that a handle belongs to, for the length of a callback.
///
/// # Safety
/// 1. `handle` is one of a driver's, not yet reported to `on_closed`.
/// 2. The call is made on the loop's thread.
unsafe fn driver_of(handle: Handle) -> Rc<UvDriver> {
    // SAFETY: `data` is the first, public member of every libuv handle, and set by obligation 1.
    let data = unsafe { *handle.cast::<*const UvDriver>() };
    // SAFETY: `start` stored a counted pointer, which only `on_closed` takes back.
    unsafe { Rc::increment_strong_count(data) };
    // SAFETY: the count just added is ours.
    unsafe { Rc::from_raw(data) }
}

unsafe extern "C" fn on_readable(handle: Handle, _: c_int, _: c_int) {
    // SAFETY: libuv calls back with a live handle, on its thread.
    let driver = unsafe { driver_of(handle) };
    super::guard(|| {
        if let Some(port) = driver.port() {
            port.turn();
        }
    });
}

unsafe extern "C" fn on_prepare(handle: Handle) {
    // SAFETY: as in `on_readable`.
    let driver = unsafe { driver_of(handle) };
    super::guard(|| driver.before_wait());
}

unsafe extern "C" fn on_idle(_: Handle) {}

unsafe extern "C" fn on_timer(handle: Handle) {
    // SAFETY: as in `on_readable`.
    let driver = unsafe { driver_of(handle) };
    driver.deadline.set(None);
    super::guard(|| {
        if let Some(port) = driver.port() {
            port.turn();
        }
    });
}

unsafe extern "C" fn on_environment_end(_: sys::napi_async_cleanup_hook_handle, data: *mut c_void) {
    // SAFETY: `add_cleanup_hook` made the pointer for this one call.
    let driver = unsafe { Rc::from_raw(data.cast_const().cast::<UvDriver>()) };
    super::guard(|| driver.close());
}

unsafe extern "C" fn on_closed(handle: Handle) {
    // SAFETY: as in `on_readable`.
    let driver = unsafe { driver_of(handle) };
    // SAFETY: takes back the count that `start` gave to this handle; libuv forgets it now.
    unsafe { Rc::decrement_strong_count(Rc::as_ptr(&driver)) };
    super::guard(|| driver.closed());
}
