//! io_uring where there is none: values that cannot exist.

use std::convert::Infallible;
use std::io;
#[cfg(unix)]
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

#[cfg(unix)]
use super::Watch;
use super::{Edge, Token};

pub(crate) struct Uring(Infallible);

#[derive(Debug)]
pub(crate) struct Bell(Infallible);

pub(crate) struct Watcher(Infallible);

#[cfg(unix)]
pub(crate) struct Port(Infallible);

#[cfg(unix)]
pub(crate) struct Accepts(Infallible);

pub(super) fn check(_: bool) -> Result<(), String> {
    Err("only Linux has it".to_owned())
}

impl Uring {
    pub(super) fn new(_: bool) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn bell(&self, _: Token) -> io::Result<Bell> {
        match self.0 {}
    }

    pub(super) fn watcher(&self) -> io::Result<Watcher> {
        match self.0 {}
    }

    pub(super) fn wait(&self, _: Option<Duration>, _: &mut Vec<Edge>) {
        match self.0 {}
    }

    pub(super) fn submit(&self) -> bool {
        match self.0 {}
    }

    pub(super) fn has_work(&self) -> bool {
        match self.0 {}
    }

    pub(super) fn enters(&self) -> u64 {
        match self.0 {}
    }

    #[cfg(windows)]
    pub(super) fn never(&self) -> ! {
        match self.0 {}
    }
}

#[cfg(unix)]
impl Uring {
    pub(super) fn add(&self, _: RawFd, _: Token, _: Watch) -> io::Result<()> {
        match self.0 {}
    }

    pub(super) fn remove(&self, _: RawFd) {
        match self.0 {}
    }

    pub(super) fn adopt(&self, _: BorrowedFd<'_>, _: Token) -> io::Result<Port> {
        match self.0 {}
    }

    pub(super) fn listen(&self, _: BorrowedFd<'_>, _: Token) -> io::Result<Accepts> {
        match self.0 {}
    }
}

#[cfg(unix)]
impl AsRawFd for Uring {
    fn as_raw_fd(&self) -> RawFd {
        match self.0 {}
    }
}

impl Bell {
    pub(crate) fn ring(&self) {
        match self.0 {}
    }
}

impl Watcher {
    pub(crate) fn wait(&self, _: Option<Duration>) {
        match self.0 {}
    }
}

#[cfg(unix)]
impl Port {
    pub(crate) fn read(&self, _: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }

    pub(crate) fn write(&self, _: &[u8]) -> io::Result<usize> {
        match self.0 {}
    }

    pub(crate) fn write_queue(&self, _: &mut Vec<u8>, _: usize) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn clear(&self) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn await_room(&self) {
        match self.0 {}
    }

    pub(crate) fn is_sending(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn flush(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn look_unsent<T>(&self, _: impl FnOnce(&[u8], usize) -> T) -> Option<T> {
        match self.0 {}
    }

    pub(crate) fn take_send_failure(&self) -> Option<io::Error> {
        match self.0 {}
    }

    pub(crate) fn set_token(&self, _: Option<Token>) {
        match self.0 {}
    }
}

#[cfg(unix)]
impl Accepts {
    pub(crate) fn accept(&self) -> io::Result<OwnedFd> {
        match self.0 {}
    }
}
