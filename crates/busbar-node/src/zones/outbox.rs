//! What ends on other threads, on its way to the environment's: a list, and one thread-safe
//! function that is rung when the list stops being empty, unless that thread looks by itself.
//!
//! Results of calls that are not large lie one behind the other, so that there is no allocation and
//! no object for each; everything else is an [`Outcome`]. Records say what came in which order.

use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use busbar_zone::{Completions, WeakZone, Zone};
use napi::sys;

use super::upward::{CALL, Charge, NativeUp, Upward};
use super::{Failure, Opened, in_background, log};
use crate::raw;

/// Log records wait only while less than this does.
const LOGS_MAX: usize = 4096;

/// What the zones of an environment have to end when that does.
const DRAIN: Duration = Duration::from_secs(2);
/// And their calls, within it.
const DRAIN_GRACE: Duration = Duration::from_millis(1500);

/// How an operation ended.
pub(super) enum Outcome {
    Opened(Result<Opened, Failure>),
    Called(Result<Vec<u8>, Failure>),
    Closed(Result<(), Failure>),
    /// The generation that is called now; 0 if it is the one that was.
    Reloaded(Result<u32, Failure>),
    Logged(&'static str, String),
    /// What a plugin says, with the argument of a call, which counts as long as it waits here.
    Up(NativeUp, Vec<u8>, Option<Charge>),
    /// It was taken back.
    Nothing,
}

/// The result of a call, or, with [`OTHER`], that the next outcome of the list is next.
#[derive(Clone, Copy)]
pub(super) struct Record {
    pub(super) operation: u32,
    pub(super) length: u32,
}

pub(super) const OTHER: u32 = u32::MAX;
/// Longer results are outcomes.
pub(super) const PACKED_BYTES_MAX: usize = 16 * 1024;

/// Records, and the results of those that have one.
#[derive(Default)]
pub(super) struct Packed {
    pub(super) records: Vec<Record>,
    pub(super) bytes: Vec<u8>,
}

pub(super) struct Outbox {
    ends: Mutex<Ends>,
    /// How many records there are. Written with the lock held; read by who looks without it.
    count: AtomicUsize,
    /// Whether the environment's thread looks before it sleeps, and says so: see [`Self::sleep`].
    is_watched: AtomicBool,
    /// `None` once the environment has ended: then nobody asks any more.
    bell: Mutex<Option<Bell>>,
    upward: Arc<Upward>,
    /// Those that were opened for this environment.
    zones: Mutex<Vec<WeakZone>>,
}

#[derive(Default)]
struct Ends {
    packed: Packed,
    list: Vec<(u32, Outcome)>,
    /// Whether the environment's thread was told since it looked, or is going to look.
    is_rung: bool,
    /// Whether the environment has ended: then nobody takes anything any more.
    is_over: bool,
}

struct Bell(sys::napi_threadsafe_function);

// SAFETY: a thread-safe function may be called from any thread; it is called and released only
// with the lock around it held, and never again after it was released or said that it is closing.
unsafe impl Send for Bell {}

impl Outbox {
    /// On the thread of `env`, where `on_wake` and `on_call` will be called.
    pub(super) fn open(
        env: sys::napi_env,
        on_wake: sys::napi_value,
        on_call: sys::napi_value,
    ) -> Result<Arc<Self>, Failure> {
        let upward = Arc::new(Upward::new(env, on_call)?);
        let mut function = ptr::null_mut();
        let name = raw::text(env, "busbar-zones");
        // SAFETY: on thread; both values belong to `env`, the out-pointer is a live local. Without
        // a callback of its own it calls `on_wake` without arguments.
        let status = unsafe {
            sys::napi_create_threadsafe_function(
                env,
                on_wake,
                ptr::null_mut(),
                name,
                0,
                1,
                ptr::null_mut(),
                None,
                ptr::null_mut(),
                None,
                &raw mut function,
            )
        };
        if status != sys::Status::napi_ok {
            return Err(Failure::io("creating a thread-safe function failed"));
        }
        // SAFETY: on thread. Operations keep the loop alive, the outbox does not.
        unsafe { sys::napi_unref_threadsafe_function(env, function) };
        let bell = Mutex::new(Some(Bell(function)));
        let (ends, count, is_watched, zones) = Default::default();
        let outbox = Arc::new(Self { ends, count, is_watched, bell, upward, zones });
        let data = Arc::into_raw(Arc::clone(&outbox)).cast_mut().cast();
        log::listen(&outbox);
        // SAFETY: on thread; `on_environment_end` takes the count in `data` back.
        unsafe { sys::napi_add_env_cleanup_hook(env, Some(on_environment_end), data) };
        Ok(outbox)
    }

    pub(super) fn upward(&self) -> &Arc<Upward> {
        &self.upward
    }

    /// Ends `zone` with the environment, at the latest.
    pub(super) fn add_zone(&self, zone: &Zone) {
        let mut zones = self.zones.lock().unwrap_or_else(PoisonError::into_inner);
        zones.retain(|zone| !zone.is_gone());
        zones.push(zone.downgrade());
    }

    /// Closes all zones, as no more JavaScript will run; not for longer than [`DRAIN`]. Plugins
    /// that wait for JavaScript wait no longer.
    pub(super) fn drain(&self) {
        self.upward.close();
        let zones = mem::take(&mut *self.zones.lock().unwrap_or_else(PoisonError::into_inner));
        let deadline = Instant::now() + DRAIN;
        let (ending, ended) = mpsc::channel::<()>();
        // One whose call this is would wait for it: it is left as it is.
        for zone in zones.iter().filter_map(WeakZone::upgrade).filter(|it| !it.is_running_here()) {
            let ending = ending.clone();
            let _ = in_background(move || {
                // How it ends is told of in the log.
                let _ = zone.close(DRAIN_GRACE);
                drop(ending);
            });
        }
        drop(ending);
        // Nothing is sent: it fails once all have ended.
        let _ = ended.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }

    /// From any thread. Once the environment has ended, a zone that was opened for it ends here.
    pub(super) fn push(&self, operation: u32, outcome: Outcome) {
        self.add(|ends| {
            ends.packed.records.push(Record { operation, length: OTHER });
            ends.list.push((operation, outcome));
        });
    }

    fn add(&self, add: impl FnOnce(&mut Ends)) {
        let mut ends = self.lock_ends();
        if ends.is_over {
            // What `add` has is dropped without the lock: it may be a zone, and plugins may log.
            return drop(ends);
        }
        add(&mut ends);
        self.count.store(ends.packed.records.len(), Ordering::Relaxed);
        let is_rung = mem::replace(&mut ends.is_rung, true);
        drop(ends);
        if !is_rung {
            self.ring();
        }
    }

    /// Whether there is something to be taken.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "there is nobody to watch"))]
    #[inline]
    pub(super) fn has_ends(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// From here on nothing rings but after [`Self::sleep`].
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "there is nobody to watch"))]
    pub(super) fn watch(&self) {
        self.is_watched.store(true, Ordering::Relaxed);
        self.lock_ends().is_rung = true;
    }

    /// The environment's thread may sleep: whatever comes rings.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "there is nobody to watch"))]
    pub(super) fn sleep(&self) {
        let mut ends = self.lock_ends();
        let is_late = !ends.packed.records.is_empty();
        ends.is_rung = is_late;
        drop(ends);
        if is_late {
            self.ring();
        }
    }

    /// All records, and what they say, in exchange for memory that was used for earlier ones.
    pub(super) fn take_packed(&self, packed: &mut Packed) {
        packed.records.clear();
        packed.bytes.clear();
        let mut ends = self.lock_ends();
        mem::swap(&mut ends.packed, packed);
        self.count.store(0, Ordering::Relaxed);
        if !self.is_watched.load(Ordering::Relaxed) {
            ends.is_rung = false;
        }
    }

    /// As [`Self::push`], unless too much waits already: what is logged may be lost, calls not.
    pub(super) fn try_push_log(&self, level: &'static str, text: String) {
        if self.lock_ends().list.len() < LOGS_MAX {
            self.push(0, Outcome::Logged(level, text));
        }
    }

    /// The list, whose records were taken before or are on their way.
    pub(super) fn take(&self) -> Vec<(u32, Outcome)> {
        mem::take(&mut self.lock_ends().list)
    }

    /// A call of a plugin's is not wanted any more; whether it was still here.
    pub(super) fn take_call_back(&self, number: f64) -> bool {
        let mut ends = self.lock_ends();
        let is_it = |(_, outcome): &(u32, Outcome)| match outcome {
            Outcome::Up(up, ..) => up.kind == CALL && up.number == number,
            _ => false,
        };
        // What was asked last is given up first, by those who do much of it.
        let place = ends.list.iter().rposition(is_it);
        let call = place.map(|place| mem::replace(&mut ends.list[place].1, Outcome::Nothing));
        drop(ends);
        call.is_some()
    }

    fn lock_ends(&self) -> MutexGuard<'_, Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn keep_alive(&self, env: sys::napi_env, wanted: bool) {
        let bell = self.bell.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Bell(function)) = &*bell else { return };
        if wanted {
            // SAFETY: on thread; it has not been released.
            unsafe { sys::napi_ref_threadsafe_function(env, *function) };
        } else {
            // SAFETY: as above.
            unsafe { sys::napi_unref_threadsafe_function(env, *function) };
        }
    }

    fn ring(&self) {
        let mut bell = self.bell.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Bell(function)) = &*bell else { return };
        let mode = sys::ThreadsafeFunctionCallMode::nonblocking;
        // SAFETY: it has not been released: the lock is held.
        let status =
            unsafe { sys::napi_call_threadsafe_function(*function, ptr::null_mut(), mode) };
        if status == sys::Status::napi_closing {
            // That was our share in it.
            *bell = None;
        }
    }
}

impl Completions for Outbox {
    fn complete(&self, operation: u64, result: busbar_zone::Result<&[u8]>) {
        // Operations are numbered with 32 bits by whoever starts them.
        let operation = operation as u32;
        match result {
            Ok(bytes) if bytes.len() <= PACKED_BYTES_MAX => self.add(|ends| {
                let length = bytes.len() as u32;
                ends.packed.records.push(Record { operation, length });
                ends.packed.bytes.extend_from_slice(bytes);
            }),
            result => {
                let result = result.map(<[u8]>::to_vec).map_err(Failure::from);
                self.push(operation, Outcome::Called(result));
            }
        }
    }

    fn complete_owned(&self, operation: u64, result: Vec<u8>) {
        if result.len() <= PACKED_BYTES_MAX {
            return self.complete(operation, Ok(&result));
        }
        self.push(operation as u32, Outcome::Called(Ok(result)));
    }
}

unsafe extern "C" fn on_environment_end(data: *mut std::ffi::c_void) {
    // SAFETY: `open` made the pointer for this one call.
    let outbox = unsafe { Arc::from_raw(data.cast_const().cast::<Outbox>()) };
    let bell = outbox.bell.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(Bell(function)) = bell {
        let mode = sys::ThreadsafeFunctionReleaseMode::abort;
        // SAFETY: nobody else has it: it was taken out with the lock held.
        unsafe { sys::napi_release_threadsafe_function(function, mode) };
    }
    outbox.drain();
    let mut ends = outbox.lock_ends();
    ends.is_over = true;
    let left = mem::take(&mut ends.list);
    drop(ends);
    // Zones that were opened for nobody end here, not on a thread that outlives the environment.
    drop(left);
}
