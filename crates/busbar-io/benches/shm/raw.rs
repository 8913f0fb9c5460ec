//! The floor: two processes that watch a word of shared memory each, with nothing around it.

use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{MemfdFlags, Mode, OFlags};
use rustix::mm::{MapFlags, ProtFlags};

use crate::pause::Pause;

/// Each word on two cache lines of its own, as in a segment.
#[repr(C, align(128))]
struct Word(AtomicU64);

#[repr(C)]
struct Page {
    ping: Word,
    pong: Word,
}

/// Tells the echoing side that it is over.
const STOP: u64 = u64::MAX;

/// One page that two processes share, mapped for as long as the process lives.
pub(crate) struct Words {
    fd: OwnedFd,
    page: &'static Page,
}

impl Words {
    pub(crate) fn create() -> Self {
        let fd = rustix::fs::memfd_create("busbar-bench", MemfdFlags::CLOEXEC).expect("a memfd");
        rustix::fs::ftruncate(&fd, size_of::<Page>() as u64).expect("a page");
        Self::map(fd)
    }

    /// Opens what another process has created, by [`Words::path`].
    pub(crate) fn open(path: &str) -> Self {
        let fd = rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        Self::map(fd.expect("the creator lives"))
    }

    fn map(fd: OwnedFd) -> Self {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        let bytes = size_of::<Page>();
        // SAFETY: the address is the kernel's choice, so nothing else is mapped over.
        let mapped =
            unsafe { rustix::mm::mmap(ptr::null_mut(), bytes, prot, MapFlags::SHARED, &fd, 0) };
        let page: *const Page = mapped.expect("a page").cast();
        // SAFETY: the page is mapped, never unmapped, aligned, and holds atomics only, for which
        // any bytes are valid and other processes may write.
        let page = unsafe { &*page };
        Self { fd, page }
    }

    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.fd.as_raw_fd())
    }

    pub(crate) fn ours(&self) -> u64 {
        self.page.ping.0.load(Ordering::Relaxed)
    }

    pub(crate) fn round_trip(&self, count: u64) {
        self.page.ping.0.store(count, Ordering::Release);
        let mut pause = Pause::default();
        while self.page.pong.0.load(Ordering::Acquire) != count {
            pause.once();
        }
    }

    pub(crate) fn stop(&self) {
        self.page.ping.0.store(STOP, Ordering::Release);
    }

    /// Answers until told to stop.
    pub(crate) fn echo(&self) {
        let (mut last, mut pause) = (0, Pause::default());
        loop {
            let count = self.page.ping.0.load(Ordering::Acquire);
            if count == STOP {
                return;
            }
            if count != last {
                last = count;
                self.page.pong.0.store(count, Ordering::Release);
            }
            pause.once();
        }
    }
}
