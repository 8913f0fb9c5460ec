//! Driving the engine without libuv: a thread waits for the engine and rings one thread-safe
//! function, at most once until the environment's thread has had its turn.
//!
//! | who | does |
//! |---|---|
//! | helper thread | waits for the engine, for `stop`, or for the deadline; rings; waits for `resume` |
//! | environment's thread | turns the engine until it may sleep, then writes `resume` |

#[cfg_attr(windows, path = "tsfn/event.rs")]
mod waiting;

use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use busbar_io::{Code, Error, Readiness};
use napi::sys;

use crate::port::Port;
use crate::raw;

use waiting::{Interrupt, Waiting};

/// Turns in a row before other work of the loop gets its chance.
const TURNS_MAX: usize = 32;

pub(crate) struct TsfnDriver {
    port: RefCell<Option<Rc<Port>>>,
    bell: Arc<Bell>,
    helper: RefCell<Option<Helper>>,
    cleanup: Cell<sys::napi_async_cleanup_hook_handle>,
}

/// The helper thread, as the environment's thread sees it.
struct Helper {
    thread: JoinHandle<()>,
    /// Tells it to wait again, until a deadline. Dropped to end it.
    resume: Sender<Option<Instant>>,
    interrupt: Interrupt,
    /// It has rung, or never been told to wait.
    idle: Arc<AtomicBool>,
    /// Until when it was last told to wait.
    deadline: Cell<Option<Instant>>,
}

/// The thread-safe function, and whether it has been rung and has not yet run.
struct Bell {
    function: sys::napi_threadsafe_function,
    /// The driver, for the callback.
    driver: AtomicPtr<c_void>,
    rung: AtomicBool,
}

// SAFETY: a thread-safe function may be called from any thread; it is released only after the
// helper has been joined.
unsafe impl Send for Bell {}

// SAFETY: as above.
unsafe impl Sync for Bell {}

impl Bell {
    fn ring(&self) {
        if self.rung.swap(true, Ordering::AcqRel) {
            return;
        }
        let driver = self.driver.load(Ordering::Acquire);
        let mode = sys::ThreadsafeFunctionCallMode::nonblocking;
        // SAFETY: the function has not been released (see the impl of `Send`).
        unsafe { sys::napi_call_threadsafe_function(self.function, driver, mode) };
    }
}

impl TsfnDriver {
    pub(super) fn start(port: &Rc<Port>) -> Result<Rc<Self>, Error> {
        let env = port.env;
        let bell = Arc::new(Bell {
            function: create_function(env)?,
            driver: AtomicPtr::new(ptr::null_mut()),
            rung: AtomicBool::new(false),
        });
        let helper = Helper::start(port, Arc::clone(&bell))
            .map_err(|error| Error::new(Code::Io, format!("starting a wake thread: {error}")))?;
        let driver = Rc::new(Self {
            port: RefCell::new(Some(Rc::clone(port))),
            bell,
            helper: RefCell::new(Some(helper)),
            cleanup: Cell::new(ptr::null_mut()),
        });
        let data = Rc::into_raw(Rc::clone(&driver)).cast_mut().cast();
        driver.bell.driver.store(data, Ordering::Release);
        let mut cleanup = ptr::null_mut();
        // SAFETY: on the environment's thread; `on_environment_end` takes the count in `data` back.
        unsafe {
            sys::napi_add_async_cleanup_hook(env, Some(on_environment_end), data, &raw mut cleanup)
        };
        driver.cleanup.set(cleanup);
        // The first turn sends the helper to wait.
        driver.bell.ring();
        Ok(driver)
    }

    /// Has the engine something to do that no descriptor will announce, or sooner than the helper
    /// knows?
    pub(super) fn after_call(&self, port: &Port) {
        let (has_work, deadline) = {
            let engine = &port.state.borrow().engine;
            (engine.has_work(), engine.next_deadline())
        };
        if has_work {
            self.bell.ring();
        } else if let (Some(deadline), Some(helper)) = (deadline, &*self.helper.borrow()) {
            helper.hurry(deadline);
        }
    }

    pub(super) fn keep_alive(&self, env: sys::napi_env, wanted: bool) {
        if wanted {
            // SAFETY: on the environment's thread; the function is not released while it runs.
            unsafe { sys::napi_ref_threadsafe_function(env, self.bell.function) };
        } else {
            // SAFETY: as above.
            unsafe { sys::napi_unref_threadsafe_function(env, self.bell.function) };
        }
    }

    fn on_rung(&self) {
        self.bell.rung.store(false, Ordering::Release);
        let Some(port) = self.port.borrow().as_ref().map(Rc::clone) else { return };
        port.turn();
        for _ in 0..TURNS_MAX {
            if port.prepare_sleep() == Readiness::Sleep {
                let deadline = port.next_deadline();
                if let Some(helper) = &*self.helper.borrow() {
                    helper.wait_until(deadline);
                }
                return;
            }
        }
        self.bell.ring();
    }

    fn close(&self) {
        if let Some(helper) = self.helper.take() {
            helper.end();
        }
        if let Some(port) = self.port.take() {
            port.shut_down();
            port.release();
        }
        // SAFETY: on the environment's thread; the helper, the only other user, has ended.
        unsafe {
            sys::napi_release_threadsafe_function(
                self.bell.function,
                sys::ThreadsafeFunctionReleaseMode::abort,
            )
        };
        // SAFETY: the hook has run and everything it stood for is done.
        unsafe { sys::napi_remove_async_cleanup_hook(self.cleanup.get()) };
    }
}

impl Helper {
    fn start(port: &Rc<Port>, bell: Arc<Bell>) -> std::io::Result<Self> {
        let (waiting, interrupt) = waiting::waiting(&port.state.borrow().engine)?;
        let (resume, resumed) = channel();
        let idle = Arc::new(AtomicBool::new(true));
        let shared = Arc::clone(&idle);
        let thread = std::thread::Builder::new()
            .name("busbar-wake".to_owned())
            .spawn(move || watch(waiting, &resumed, &bell, &shared))?;
        Ok(Self { thread, resume, interrupt, idle, deadline: Cell::new(None) })
    }

    fn wait_until(&self, deadline: Option<Instant>) {
        if self.idle.swap(false, Ordering::AcqRel) {
            self.deadline.set(deadline);
            // Fails only if the thread has died, and then there is nobody to tell.
            let _ = self.resume.send(deadline);
        } else if let Some(deadline) = deadline {
            self.hurry(deadline);
        }
    }

    /// Interrupts a wait that would be longer: it rings, and is told anew.
    fn hurry(&self, deadline: Instant) {
        let waits = !self.idle.load(Ordering::Acquire);
        if waits && self.deadline.get().is_none_or(|until| deadline < until) {
            // What it is told next may be the same again.
            self.deadline.set(Some(deadline));
            self.interrupt.ring();
        }
    }

    fn end(self) {
        drop(self.resume);
        // If the helper is not waiting, the closed channel ends it.
        self.interrupt.ring();
        let _ = self.thread.join();
    }
}

/// The helper thread: wait, ring, until the channel closes.
fn watch(
    mut waiting: Waiting,
    resumed: &Receiver<Option<Instant>>,
    bell: &Bell,
    idle: &AtomicBool,
) {
    while let Ok(deadline) = resumed.recv() {
        let timeout = deadline.map(|it| it.saturating_duration_since(Instant::now()));
        // Interrupted or timed out: an early turn does no harm.
        waiting.wait(timeout);
        idle.store(true, Ordering::Release);
        bell.ring();
    }
}

fn create_function(env: sys::napi_env) -> Result<sys::napi_threadsafe_function, Error> {
    let mut function = ptr::null_mut();
    let name = raw::text(env, "busbar");
    // SAFETY: on the environment's thread; the name is a string value, the out-pointer a live
    // local. Without a JavaScript function the call-back alone is called.
    let status = unsafe {
        sys::napi_create_threadsafe_function(
            env,
            ptr::null_mut(),
            ptr::null_mut(),
            name,
            0,
            1,
            ptr::null_mut(),
            None,
            ptr::null_mut(),
            Some(on_rung),
            &raw mut function,
        )
    };
    if status != sys::Status::napi_ok {
        return Err(Error::new(Code::Io, "creating a thread-safe function failed"));
    }
    // SAFETY: as above. The loop is kept alive by what uses the port, not by the port.
    unsafe { sys::napi_unref_threadsafe_function(env, function) };
    Ok(function)
}

unsafe extern "C" fn on_rung(
    env: sys::napi_env,
    _: sys::napi_value,
    _: *mut c_void,
    data: *mut c_void,
) {
    if env.is_null() || data.is_null() {
        return; // the environment is ending
    }
    let data = data.cast_const().cast::<TsfnDriver>();
    // SAFETY: `start` stored a counted pointer, which only `on_environment_end` takes back; with
    // the environment alive that has not happened.
    unsafe { Rc::increment_strong_count(data) };
    // SAFETY: the count just added is ours.
    let driver = unsafe { Rc::from_raw(data) };
    super::guard(|| driver.on_rung());
}

unsafe extern "C" fn on_environment_end(_: sys::napi_async_cleanup_hook_handle, data: *mut c_void) {
    // SAFETY: `start` made the pointer for this one call.
    let driver = unsafe { Rc::from_raw(data.cast_const().cast::<TsfnDriver>()) };
    super::guard(|| driver.close());
}
