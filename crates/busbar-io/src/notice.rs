//! How other threads reach an engine: a list of what has something to tell, and one bell.
//!
//! A [`Notice`] belongs to one pipe or listener of one engine. Waking it puts it on the engine's
//! list (once, however often it is woken) and rings the bell only if the engine sleeps. It is a
//! [`std::task::Wake`], so anything that knows wakers can wake an engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::task::{Wake, Waker};

use crossbeam_queue::SegQueue;

use crate::slots::Handle;

/// Whom a notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Pipe(Handle),
    Listener(Handle),
}

pub(crate) struct Notice {
    board: Arc<Board>,
    subject: Subject,
    /// Set by whoever puts the notice on the list, cleared by the engine before it looks.
    listed: AtomicBool,
}

/// The list and the bell of one engine.
pub(crate) struct Board {
    list: SegQueue<Arc<Notice>>,
    /// Written by the engine before and after sleep, taken by whoever rings.
    asleep: AtomicBool,
    bell: mio::Waker,
}

impl Board {
    pub(crate) fn new(bell: mio::Waker) -> Arc<Self> {
        Arc::new(Self { list: SegQueue::new(), asleep: AtomicBool::new(false), bell })
    }

    pub(crate) fn waker(self: &Arc<Self>, subject: Subject) -> Waker {
        let board = Arc::clone(self);
        Waker::from(Arc::new(Notice { board, subject, listed: AtomicBool::new(false) }))
    }

    #[inline]
    pub(crate) fn take(&self) -> Option<Subject> {
        if self.list.is_empty() {
            return None;
        }
        let notice = self.list.pop()?;
        // Cleared before the engine looks, so that news after the look lists it again.
        notice.listed.store(false, Ordering::SeqCst);
        Some(notice.subject)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Announces sleep; `false` if something is on the list already.
    pub(crate) fn sleep(&self) -> bool {
        self.asleep.store(true, Ordering::Relaxed);
        // SYNC POINT: board. Against the fence in `wake_by_ref`: either we see the entry, or the
        // waking side sees `asleep`.
        fence(Ordering::SeqCst);
        let quiet = self.list.is_empty();
        if !quiet {
            self.awake();
        }
        quiet
    }

    pub(crate) fn awake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }
}

impl Wake for Notice {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.listed.swap(true, Ordering::SeqCst) {
            return;
        }
        self.board.list.push(Arc::clone(self));
        // SYNC POINT: board
        fence(Ordering::SeqCst);
        if self.board.asleep.swap(false, Ordering::Relaxed) {
            // Fails only when the descriptor is gone, that is, when the engine is.
            let _ = self.board.bell.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_listed_once_until_it_is_taken() {
        let poll = mio::Poll::new().unwrap();
        let board = Board::new(mio::Waker::new(poll.registry(), mio::Token(0)).unwrap());
        let subject = Subject::Pipe(Handle(7));
        let waker = board.waker(subject);
        waker.wake_by_ref();
        waker.wake_by_ref();
        assert!(!board.sleep(), "news forbids sleep");
        assert_eq!((board.take(), board.take()), (Some(subject), None));
        assert!(board.sleep());
        waker.wake_by_ref();
        assert_eq!(board.take(), Some(subject));
    }
}
