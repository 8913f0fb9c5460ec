//! What the peer has announced and nobody has asked for yet: a copy, within bounds.

use std::collections::VecDeque;

use busbar_proto::{Code, Error};
use bytes::Bytes;

/// Bounds on what a peer may announce while nobody asks.
const ANNOUNCED_MAX: usize = 1024;
const ANNOUNCED_BYTES_MAX: usize = 4 << 20;

#[derive(Default)]
pub(super) struct Announced {
    queue: VecDeque<Bytes>,
    bytes: usize,
    is_exceeded: bool,
}

impl Announced {
    /// Copies an announcement, unless that is too much: the peer may have put the same chunk into
    /// a thousand of them.
    pub(super) fn keep(&mut self, announcement: &[u8]) {
        let has_room = self.queue.len() < ANNOUNCED_MAX
            && self.bytes + announcement.len() <= ANNOUNCED_BYTES_MAX;
        if has_room && !self.is_exceeded {
            self.bytes += announcement.len();
            self.queue.push_back(Bytes::copy_from_slice(announcement));
        } else {
            self.clear();
            self.is_exceeded = true;
        }
    }

    /// To be asked after [`Announced::keep`].
    ///
    /// # Errors
    /// `Protocol`, once, if there was too much, of which nothing is kept.
    pub(super) fn check(&mut self) -> Result<(), Error> {
        if std::mem::take(&mut self.is_exceeded) {
            let message = "the peer announced more types than a pipe may have";
            return Err(Error::new(Code::Protocol, message));
        }
        Ok(())
    }

    /// The next one; empty where another connection begins.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        let next = self.queue.pop_front()?;
        self.bytes -= next.len();
        Some(next)
    }

    /// Another connection begins: nothing can come any more of what was announced over the last.
    pub(super) fn restart(&mut self) {
        self.clear();
        self.queue.push_back(Bytes::new());
    }

    fn clear(&mut self) {
        self.queue.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [T18] Announcements beyond the bounds are not even copied, and are a breach, once.
    #[test]
    fn more_than_is_kept_is_not_copied() {
        for (one, most) in [(vec![1; 1 << 20], 4), (vec![1; 8], ANNOUNCED_MAX)] {
            let mut announced = Announced::default();
            for _ in 0..most {
                announced.keep(&one);
            }
            assert_eq!((announced.queue.len(), announced.bytes), (most, most * one.len()));
            assert!(announced.check().is_ok());
            for _ in 0..100 {
                announced.keep(&one);
                assert!(announced.take().is_none() && announced.bytes == 0);
            }
            assert_eq!(announced.check().unwrap_err().code(), Code::Protocol);
            assert!(announced.check().is_ok());
            announced.keep(&one);
            assert_eq!(announced.take().unwrap(), one);
            assert_eq!(announced.bytes, 0);
        }
    }
}
