//! Native functions that know by their own code what they are for. Asking Node-API for the data of
//! a function takes longer than a short method does; a function of which there is one for each
//! number finds it in a table. There are as many as a program has methods that are called often;
//! functions without such a number ask.

use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use napi::sys;

use super::inline::{Callback, call_method};

const SLOTS: usize = 64;

/// Of each number in use, its [`Method`](super::inline::Method). Written and read by the thread
/// that has the number.
static DATA: [AtomicPtr<c_void>; SLOTS] = [const { AtomicPtr::new(ptr::null_mut()) }; SLOTS];

/// Numbers in use, a bit each.
static TAKEN: Mutex<u64> = Mutex::new(0);

/// A number, until this is dropped.
pub(super) struct Slot(usize);

impl Slot {
    /// One for `data`, a `Method` that is there as long as what this gives; `None` if there is none
    /// left.
    pub(super) fn take(data: *mut c_void) -> Option<Self> {
        let mut taken = lock();
        let number = taken.trailing_ones() as usize;
        if number == SLOTS {
            return None;
        }
        *taken |= 1 << number;
        DATA[number].store(data, Ordering::Relaxed);
        Some(Self(number))
    }

    /// The function with this number.
    pub(super) fn callback(&self) -> Callback {
        FUNCTIONS[self.0 / 8][self.0 % 8]
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *lock() &= !(1 << self.0);
    }
}

fn lock() -> MutexGuard<'static, u64> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

unsafe extern "C" fn numbered<const N: usize>(
    env: sys::napi_env,
    _: sys::napi_callback_info,
) -> sys::napi_value {
    let data = DATA[N].load(Ordering::Relaxed);
    // SAFETY: who took the number gave a `Method`, which lives as long as this function does.
    unsafe { call_method(env, data) }
}

macro_rules! eight {
    ($first:literal) => {
        [
            numbered::<$first>,
            numbered::<{ $first + 1 }>,
            numbered::<{ $first + 2 }>,
            numbered::<{ $first + 3 }>,
            numbered::<{ $first + 4 }>,
            numbered::<{ $first + 5 }>,
            numbered::<{ $first + 6 }>,
            numbered::<{ $first + 7 }>,
        ]
    };
}

static FUNCTIONS: [[Callback; 8]; SLOTS / 8] =
    [eight!(0), eight!(8), eight!(16), eight!(24), eight!(32), eight!(40), eight!(48), eight!(56)];

#[cfg(test)]
mod tests {
    use super::*;

    /// [Z03] numbers are given out once, come back, and end
    #[test]
    fn numbers_come_back() {
        let data = ptr::dangling_mut();
        let mut slots: Vec<_> = std::iter::from_fn(|| Slot::take(data)).collect();
        let mut numbers: Vec<_> = slots.iter().map(|slot| slot.0).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..SLOTS).collect::<Vec<_>>());
        let freed = slots.swap_remove(7).0;
        let again = Slot::take(data).map(|slot| slot.0);
        assert_eq!(again, Some(freed));
    }
}
