//! Where there is no guard: nothing is mapped from files, everything is read and written whole.

/// Never made here.
#[derive(Debug)]
pub(super) struct Guard(std::convert::Infallible);

impl Guard {
    pub(super) fn new(_start: *const u8, _bytes: usize) -> Option<Self> {
        None
    }

    pub(super) fn is_broken(&self) -> bool {
        match self.0 {}
    }
}
