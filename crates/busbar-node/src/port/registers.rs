//! Integers that pass between JavaScript and native code beside a call instead of in it.
//!
//! JavaScript writes arguments to an array before a call and reads the result from it afterwards.
//! A word of it costs about a nanosecond, an argument or result of a Node-API call about ten.
//!
//! | word | holds | written by |
//! |---|---|---|
//! | 0–3 | arguments of a call; then 0 is its result | JavaScript; native code |
//! | 4 | whether native code will look at word 5 soon, as JavaScript runs on its behalf | native code |
//! | 5 | whether messages are staged that nobody else will submit | JavaScript |
//! | 6 | whether the next `receive` may look ahead, see `Engine::look_ahead` | both |
//! | 7 | whether JavaScript has dealt with the events of the last call | both |

use std::cell::RefCell;

use busbar_io::Error;
use napi::bindgen_prelude::Int32Array;
use napi::sys;

/// Words for arguments.
const ARGUMENTS: usize = 4;

const CALLING: usize = 4;
const STAGED: usize = 5;
const AHEAD: usize = 6;
const DISPATCHED: usize = 7;

/// Words in the array.
const COUNT: usize = 8;

pub(super) struct Registers(RefCell<Int32Array>);

impl Registers {
    /// `None` if the array is too short. It is ours from now on: see `Arrays`.
    pub(super) fn new(array: Int32Array) -> Option<Self> {
        (array.len() >= COUNT).then(|| Self(RefCell::new(array)))
    }

    /// What JavaScript has written.
    #[inline]
    pub(super) fn arguments(&self) -> [u32; ARGUMENTS] {
        let words = self.0.borrow();
        std::array::from_fn(|at| words[at].cast_unsigned())
    }

    /// Leaves a count, or an error's number negated, as a call's result; to be returned.
    #[inline]
    pub(super) fn finish(&self, result: Result<usize, Error>) -> sys::napi_value {
        let word = match result {
            Ok(count) => i32::try_from(count).unwrap_or(i32::MAX),
            Err(error) => -i32::from(error.code().number()),
        };
        self.set(0, word);
        std::ptr::null_mut()
    }

    /// JavaScript is about to be called with so many events.
    #[inline]
    pub(super) fn begin_call(&self, events: usize) {
        self.set(0, i32::try_from(events).expect("invariant: the array of events is small"));
        self.set(DISPATCHED, 0);
        self.set(CALLING, 1);
    }

    /// JavaScript has returned, and everything that followed from it is done. Whether it has left
    /// messages to be submitted, and will submit them when it is called again: a worker that is
    /// being terminated runs nothing, ever. That something which followed threw is no such end.
    #[inline]
    pub(super) fn end_call(&self) -> bool {
        self.set(CALLING, 0);
        let words = self.0.borrow();
        words[STAGED] != 0 && words[DISPATCHED] != 0
    }

    /// Whether the call that begins may look ahead; the next one may not by itself.
    #[inline]
    pub(super) fn take_ahead(&self) -> bool {
        let ahead = self.0.borrow()[AHEAD] != 0;
        if ahead {
            self.set(AHEAD, 0);
        }
        ahead
    }

    #[inline]
    fn set(&self, at: usize, word: i32) {
        let mut array = self.0.borrow_mut();
        // SAFETY: the array is ours: JavaScript reads it only after we have returned to it.
        let words = unsafe { array.as_mut() };
        words[at] = word;
    }
}
