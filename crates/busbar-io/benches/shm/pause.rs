//! How everything here looks without sleeping, so that the figures can be compared.

use std::hint::spin_loop;
use std::thread;

/// Looks between two offers to let something else run, which matters only where processes share a
/// CPU.
const LOOKS: u32 = 4096;

#[derive(Default)]
pub(crate) struct Pause(u32);

impl Pause {
    #[inline]
    pub(crate) fn once(&mut self) {
        self.0 = self.0.wrapping_add(1);
        if self.0.is_multiple_of(LOOKS) {
            thread::yield_now();
        } else {
            spin_loop();
        }
    }
}
