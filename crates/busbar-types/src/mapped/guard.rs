//! The guard of mappings: what happens when the bytes behind one of them are gone.
//!
//! Touching a page of a mapping that the file has no bytes for any more, or that the disk cannot
//! give, raises SIGBUS, which by default ends the process. Here it puts zeros in place of that page
//! and of those behind it, marks the mapping as broken, and lets the program go on. Bytes that were
//! there stay as they were. Whose address is not in the table goes to whoever handled the signal
//! before.
//!
//! The handler is installed once, when the first file is mapped, and stays. A program that replaces
//! it afterwards without calling it is on its own again.
//!
//! The table is read in the handler, so it has a fixed size and no locks. Each slot is a seqlock:
//!
//! | `version` | `end` | the slot is | next |
//! |---|---|---|---|
//! | even | 0 | free | `new` makes `version` odd, by compare-and-swap |
//! | odd | any | being changed; the handler passes over it | its changer makes `version` even |
//! | even | not 0 | in use | `drop` makes `version` odd |
//!
//! Passing over is right: a mapping that somebody touches is in use, and while it is, its own slot
//! does not change. For the same reason no other mapping can have taken its addresses when the
//! handler replaces pages of it.

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Once, OnceLock};

use rustix::mm::{MapFlags, ProtFlags};

/// How many mappings can be guarded at once. What is more is read instead of mapped.
pub(super) const GUARDS_MAX: usize = 1024;

/// `si_code` for an address whose bytes do not exist, on every Unix that has a name for it.
const BUS_ADRERR: c_int = 2;

/// The code of signals that a process sends, which is positive only on macOS (`signal.h`).
const SI_USER: c_int = if cfg!(target_vendor = "apple") { 0x1_0001 } else { 0 };

static SLOTS: [Slot; GUARDS_MAX] = [const { Slot::new() }; GUARDS_MAX];

/// Who handled SIGBUS before. Written once, before the handler is installed.
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

/// Whether the handler is installed. Written once, by whoever installs it; read by `Guard::new`
/// behind the same `Once`, so no order is needed.
static INSTALLED: AtomicBool = AtomicBool::new(false);

/// A page, in bytes. Written before the handler is installed, which orders it.
static PAGE_BYTES: AtomicUsize = AtomicUsize::new(0);

/// A row of the table. Written by the [`Guard`] that has it, except for `broken`; read by the
/// handler.
struct Slot {
    version: AtomicUsize,
    start: AtomicUsize,
    end: AtomicUsize,
    /// Written by the handler, read by the guard: an answer to "so far", so the order with the
    /// bytes themselves does not matter between threads; in one thread, the handler came first.
    broken: AtomicBool,
}

impl Slot {
    const fn new() -> Self {
        Self {
            version: AtomicUsize::new(0),
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            broken: AtomicBool::new(false),
        }
    }

    /// Takes the slot if it is free.
    fn try_claim(&self, start: usize, end: usize) -> bool {
        let version = self.version.load(Ordering::Acquire);
        let is_free = version.is_multiple_of(2) && self.end.load(Ordering::Relaxed) == 0;
        let (success, failure) = (Ordering::Acquire, Ordering::Relaxed);
        if !is_free
            || self.version.compare_exchange(version, version + 1, success, failure).is_err()
        {
            return false;
        }
        self.change(version + 1, start, end);
        true
    }

    /// Sets the range; `version` is odd, so that nobody reads it meanwhile.
    fn change(&self, version: usize, start: usize, end: usize) {
        // SYNC POINT: slot. Who sees what follows sees `version` odd or newer.
        fence(Ordering::Release);
        self.start.store(start, Ordering::Relaxed);
        self.end.store(end, Ordering::Relaxed);
        self.broken.store(false, Ordering::Relaxed);
        // SYNC POINT: slot. Who sees `version` even sees the range.
        self.version.store(version.wrapping_add(1), Ordering::Release);
    }

    /// The end of the range if `address` is in it.
    fn end_around(&self, address: usize) -> Option<usize> {
        // SYNC POINT: slot.
        let version = self.version.load(Ordering::Acquire);
        let start = self.start.load(Ordering::Relaxed);
        let end = self.end.load(Ordering::Relaxed);
        // SYNC POINT: slot.
        fence(Ordering::Acquire);
        let is_whole = version.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == version;
        (is_whole && (start..end).contains(&address)).then_some(end)
    }
}

/// A mapping in the table. Must go before its addresses are given back.
#[derive(Debug)]
pub(super) struct Guard(usize);

impl Guard {
    /// Guards the pages of a mapping; `None` if the table is full or the handler cannot be
    /// installed.
    pub(super) fn new(start: *const u8, bytes: usize) -> Option<Self> {
        static ONCE: Once = Once::new();
        ONCE.call_once(install);
        if !INSTALLED.load(Ordering::Relaxed) {
            return None;
        }
        let start = start.addr();
        let end = start.checked_add(bytes)?.next_multiple_of(PAGE_BYTES.load(Ordering::Relaxed));
        (0..GUARDS_MAX).find(|index| SLOTS[*index].try_claim(start, end)).map(Self)
    }

    /// Whether zeros stand in for bytes that were gone.
    pub(super) fn is_broken(&self) -> bool {
        SLOTS[self.0].broken.load(Ordering::Acquire)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let slot = &SLOTS[self.0];
        // Nobody else changes the version of a slot in use.
        let version = slot.version.load(Ordering::Relaxed).wrapping_add(1);
        slot.version.store(version, Ordering::Relaxed);
        slot.change(version, 0, 0);
    }
}

/// Installs the handler.
fn install() {
    PAGE_BYTES.store(rustix::param::page_size(), Ordering::Relaxed);
    let Some(previous) = current_action() else { return };
    // The handler may run from the moment it is installed, so this comes first.
    let previous = PREVIOUS.get_or_init(|| previous);
    let mut action = *previous;
    action.sa_sigaction = on_bus_error as *const () as usize;
    // On the alternate stack if the thread has one: whom we pass on to may count on it.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | (previous.sa_flags & libc::SA_NODEFER);
    // SAFETY: the action is initialized and its handler calls nothing but what handlers may.
    let result = unsafe { libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut()) };
    INSTALLED.store(result == 0, Ordering::Relaxed);
}

/// Who handles SIGBUS now.
fn current_action() -> Option<libc::sigaction> {
    let mut action = MaybeUninit::uninit();
    // SAFETY: asks for the action only, and there is room for it.
    let result = unsafe { libc::sigaction(libc::SIGBUS, ptr::null(), action.as_mut_ptr()) };
    // SAFETY: on success it was written.
    (result == 0).then(|| unsafe { action.assume_init() })
}

/// The handler. Calls nothing that allocates, locks or unwinds.
extern "C" fn on_bus_error(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel hands valid information to a handler with SA_SIGINFO.
    let what_happened = unsafe { &*info };
    let code = what_happened.si_code;
    if code == BUS_ADRERR {
        // SAFETY: this code comes with an address.
        let address = unsafe { what_happened.si_addr() };
        if put_zeros(address.addr()) {
            return;
        }
    }
    pass_on(signal, info, context, code);
}

/// Replaces the page at `address` and those behind it; `false` if it is in none of our mappings.
fn put_zeros(address: usize) -> bool {
    let page_bytes = PAGE_BYTES.load(Ordering::Relaxed);
    let page = address & !(page_bytes - 1);
    for slot in &SLOTS {
        let Some(end) = slot.end_around(address) else { continue };
        slot.broken.store(true, Ordering::Release);
        // Those behind are gone too if the file was truncated. Where memory for all of them cannot
        // be promised, for one it can.
        return put_zero_pages(page, end - page) || put_zero_pages(page, page_bytes);
    }
    false
}

/// Maps zeros over pages of one of our mappings. A plain system call, as a handler may make.
fn put_zero_pages(start: usize, bytes: usize) -> bool {
    let start: *mut c_void = ptr::without_provenance_mut(start);
    // Writable, because the mapping may have been.
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    let flags = MapFlags::FIXED | MapFlags::PRIVATE;
    // SAFETY: the pages belong to a mapping that whoever touched it keeps alive, so they are not
    // anybody else's. Readers of it allow that its bytes change, or their callers promised that
    // the file stays whole.
    unsafe { rustix::mm::mmap_anonymous(start, bytes, protection, flags) }.is_ok()
}

/// Does what would have happened without us.
fn pass_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void, code: c_int) {
    let was_sent = code <= 0 || code == SI_USER;
    let previous = PREVIOUS.get().filter(|previous| previous.sa_sigaction != libc::SIG_DFL);
    match previous {
        // Only signals that were sent can be ignored.
        Some(previous) if previous.sa_sigaction == libc::SIG_IGN && was_sent => {}
        Some(previous) if previous.sa_sigaction != libc::SIG_IGN => {
            if previous.sa_flags & libc::SA_SIGINFO != 0 {
                type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);
                // SAFETY: an action with SA_SIGINFO has a handler of this type.
                let handler: Handler = unsafe { std::mem::transmute(previous.sa_sigaction) };
                handler(signal, info, context);
            } else {
                // SAFETY: an action without it has a handler of this type.
                let handler: extern "C" fn(c_int) =
                    unsafe { std::mem::transmute(previous.sa_sigaction) };
                handler(signal);
            }
        }
        _ => end_by_default(signal, was_sent),
    }
}

/// Lets the signal end the process.
fn end_by_default(signal: c_int, was_sent: bool) {
    // SAFETY: all zeros is an action: the default, no flags, nothing masked.
    let action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: the action is initialized.
    unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
    if was_sent {
        // Delivered when the handler returns. A fault repeats itself instead.
        // SAFETY: raising a signal is allowed in handlers.
        unsafe { libc::raise(signal) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [T35] the table takes as many mappings as it says, refuses the next, and reuses slots
    #[test]
    fn the_table_is_bounded() {
        let page = rustix::param::page_size();
        let address = |index: usize| ptr::without_provenance::<u8>(page * (2 * index + 1));
        let mut guards: Vec<_> = (0..GUARDS_MAX)
            .map(|index| Guard::new(address(index), page / 2).expect("room"))
            .collect();
        assert!(Guard::new(address(GUARDS_MAX), 1).is_none());

        let slot = &SLOTS[guards[7].0];
        let start = address(7).addr();
        assert_eq!(slot.end_around(start), Some(start + page), "whole pages");
        assert_eq!(slot.end_around(start + page), None);
        assert_eq!(slot.end_around(start - 1), None);
        slot.broken.store(true, Ordering::Release);
        assert!(guards[7].is_broken());
        drop(guards.swap_remove(7));
        assert_eq!(slot.end_around(start), None);

        let again = Guard::new(address(GUARDS_MAX), 1).expect("the one that was freed");
        assert!(!again.is_broken(), "nothing is left of the one before");
    }

    /// [T35] the handler never takes a slot for one that it is not while others change it
    #[test]
    fn slots_are_read_whole() {
        let slot = Slot::new();
        let is_done = AtomicBool::new(false);
        // Ranges of two kinds: [1, 10) and [1000, 1010). A torn read would see [1, 1010).
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for (start, end) in [(1, 10), (1000, 1010)].into_iter().cycle() {
                    if is_done.load(Ordering::Relaxed) {
                        return;
                    }
                    assert!(slot.try_claim(start, end));
                    let version = slot.version.load(Ordering::Relaxed).wrapping_add(1);
                    slot.version.store(version, Ordering::Relaxed);
                    slot.change(version, 0, 0);
                }
            });
            let (mut seen, mut torn) = (0, 0);
            // Long enough for the two to meet, however few processors there are.
            while seen < 100_000 {
                seen += usize::from(slot.end_around(5).is_some());
                torn += usize::from(slot.end_around(500).is_some());
            }
            is_done.store(true, Ordering::Relaxed);
            assert_eq!(torn, 0);
        });
    }
}
