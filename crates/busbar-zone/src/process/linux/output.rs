//! What a plugin's process prints, line by line into the log.

use std::io::ErrorKind;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Child;

use log::Level;

/// Lines are cut here.
const LINE_BYTES_MAX: usize = 8 << 10;
/// No more is read at a time: calls go first.
const READ_BYTES: usize = 16 << 10;

/// One of the two streams.
pub(super) struct Printed {
    pipe: std::fs::File,
    level: Level,
    line: Vec<u8>,
}

impl Printed {
    /// The streams of a process that prints into pipes.
    pub(super) fn of(process: &mut Child) -> Vec<Self> {
        let out = process.stdout.take().map(|pipe| (OwnedFd::from(pipe), Level::Info));
        let err = process.stderr.take().map(|pipe| (OwnedFd::from(pipe), Level::Warn));
        let pipes = out.into_iter().chain(err);
        pipes
            .filter_map(|(pipe, level)| {
                rustix::io::ioctl_fionbio(&pipe, true).ok()?;
                Some(Self { pipe: pipe.into(), level, line: Vec::new() })
            })
            .collect()
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// Logs what is there; whether there may be more later.
    pub(super) fn read(&mut self, plugin: &str) -> bool {
        let mut buffer = [0; READ_BYTES];
        match self.pipe.read(&mut buffer) {
            Ok(0) => {
                self.tell(plugin);
                false
            }
            Ok(length) => {
                for part in buffer[..length].split_inclusive(|&byte| byte == b'\n') {
                    self.line.extend_from_slice(part);
                    if part.ends_with(b"\n") || self.line.len() >= LINE_BYTES_MAX {
                        self.tell(plugin);
                    }
                }
                true
            }
            Err(error) => {
                matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
            }
        }
    }

    fn tell(&mut self, plugin: &str) {
        let line = String::from_utf8_lossy(&self.line);
        let line = line.trim_end();
        if !line.is_empty() {
            log::log!(target: "busbar::plugin", self.level, "{plugin}: {line}");
        }
        self.line.clear();
    }
}
