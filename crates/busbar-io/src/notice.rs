//! How other threads reach an engine: a list of what has something to tell, and one bell.
//!
//! A [`Notice`] belongs to one pipe or listener of one engine. Waking it puts it on the engine's
//! list (once, however often it is woken) and rings the bell only if the engine sleeps. It is a
//! [`std::task::Wake`], so anything that knows wakers can wake an engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::task::{Wake, Waker};

use crossbeam_queue::SegQueue;

use crate::reactor;
use crate::slots::Handle;

/// Whom a notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Pipe(Handle),
    Listener(Handle),
}

/// The list and the bell of one engine, as the engine holds them. Wakers that outlive it do
/// nothing.
pub(crate) struct Board(Arc<Shared>);

/// See [`Board::bell`].
pub(crate) struct Bell(Arc<Shared>);

impl Bell {
    pub(crate) fn ring(&self) {
        self.0.bell.ring();
    }
}

struct Notice {
    board: Arc<Shared>,
    subject: Subject,
    /// Set by whoever puts the notice on the list, cleared by the engine before it looks.
    listed: AtomicBool,
}

struct Shared {
    list: SegQueue<Arc<Notice>>,
    /// Written by the engine before and after sleep, taken by whoever rings.
    asleep: AtomicBool,
    /// Set when the engine is gone, read by whoever has put something on the list.
    closed: AtomicBool,
    bell: reactor::Bell,
}

impl Board {
    pub(crate) fn new(bell: reactor::Bell) -> Self {
        Self(Arc::new(Shared {
            list: SegQueue::new(),
            asleep: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            bell,
        }))
    }

    pub(crate) fn waker(&self, subject: Subject) -> Waker {
        let board = Arc::clone(&self.0);
        Waker::from(Arc::new(Notice { board, subject, listed: AtomicBool::new(false) }))
    }

    #[inline]
    pub(crate) fn take(&self) -> Option<Subject> {
        if self.0.list.is_empty() {
            return None;
        }
        let notice = self.0.list.pop()?;
        // Cleared before the engine looks, so that news after the look lists it again.
        notice.listed.store(false, Ordering::SeqCst);
        Some(notice.subject)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.list.is_empty()
    }

    /// Announces sleep; `false` if something is on the list already.
    pub(crate) fn sleep(&self) -> bool {
        self.0.asleep.store(true, Ordering::Relaxed);
        // SYNC POINT: board. Against the fence in `wake_by_ref`: either we see the entry, or the
        // waking side sees `asleep`.
        fence(Ordering::SeqCst);
        let quiet = self.is_empty();
        if !quiet {
            self.awake();
        }
        quiet
    }

    /// What wakes whoever polls the engine's descriptor, whether or not it sleeps.
    pub(crate) fn bell(&self) -> Bell {
        Bell(Arc::clone(&self.0))
    }

    pub(crate) fn awake(&self) {
        self.0.asleep.store(false, Ordering::Relaxed);
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::Relaxed);
        // SYNC POINT: board-end. Against the fence in `wake_by_ref`: either we see the entry, or
        // the waking side sees `closed`.
        fence(Ordering::SeqCst);
        self.0.clear();
    }
}

impl Shared {
    /// A notice on the list owns the list: what nobody takes off any more would live for ever.
    fn clear(&self) {
        while self.list.pop().is_some() {}
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
        // SYNC POINT: board, board-end
        fence(Ordering::SeqCst);
        if self.board.closed.load(Ordering::Relaxed) {
            return self.board.clear();
        }
        if self.board.asleep.swap(false, Ordering::Relaxed) {
            self.board.bell.ring();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::thread;
    use std::time::Duration;

    use super::*;

    fn board() -> (mio::Poll, Board) {
        let poll = mio::Poll::new().unwrap();
        let bell = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
        (poll, Board::new(reactor::Bell::Poll(bell)))
    }

    /// Whether the bell rings within `timeout`.
    fn rings(poll: &mut mio::Poll, timeout: Duration) -> bool {
        let mut events = mio::Events::with_capacity(1);
        poll.poll(&mut events, Some(timeout)).unwrap();
        !events.is_empty()
    }

    /// [D44] however often a subject has news, it is listed once until it is taken
    #[test]
    fn a_subject_is_listed_once_until_it_is_taken() {
        let (_poll, board) = board();
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

    /// [D44] the bell rings for a sleeper only, and once
    #[test]
    fn the_bell_rings_once_per_sleep() {
        let (mut poll, board) = board();
        let (first, second) =
            (board.waker(Subject::Pipe(Handle(1))), board.waker(Subject::Listener(Handle(1))));
        first.wake_by_ref();
        assert!(!rings(&mut poll, Duration::ZERO), "awake");
        board.take();
        assert!(board.sleep());
        first.wake_by_ref();
        assert!(rings(&mut poll, Duration::ZERO));
        second.wake_by_ref();
        assert!(!rings(&mut poll, Duration::ZERO), "rung already");
    }

    /// [D44] news that comes while the engine falls asleep either keeps it awake or wakes it
    #[test]
    fn no_news_is_lost_between_looking_and_sleeping() {
        const NEWS: u32 = 20_000;
        let (mut poll, board) = board();
        let made = Arc::new(AtomicU32::new(0));
        let seen = Arc::new(AtomicU32::new(0));
        let waker = board.waker(Subject::Pipe(Handle(0)));
        let source = thread::spawn({
            let (made, seen) = (Arc::clone(&made), Arc::clone(&seen));
            move || {
                for n in 1..=NEWS {
                    made.store(n, Ordering::SeqCst);
                    waker.wake_by_ref();
                    // Every other time, the engine is given the time to fall asleep.
                    while n % 2 == 0 && seen.load(Ordering::SeqCst) < n {
                        thread::yield_now();
                    }
                }
            }
        });
        while seen.load(Ordering::SeqCst) < NEWS {
            if board.sleep() {
                assert!(rings(&mut poll, Duration::from_secs(20)), "asleep for ever");
            }
            board.awake();
            while board.take().is_some() {
                seen.store(made.load(Ordering::SeqCst), Ordering::SeqCst);
            }
        }
        source.join().unwrap();
    }

    /// [D45] a notice that nobody takes, or that comes after the end, keeps nothing alive
    #[test]
    fn a_board_is_freed_whatever_its_wakers_do() {
        let check = |before: bool, after: bool| {
            let (_poll, board) = board();
            let shared = Arc::downgrade(&board.0);
            let waker = board.waker(Subject::Pipe(Handle(1)));
            if before {
                waker.wake_by_ref();
            }
            drop(board);
            if after {
                waker.wake_by_ref();
            }
            drop(waker);
            assert!(shared.upgrade().is_none(), "the list and the bell's descriptor leaked");
        };
        check(true, false);
        check(false, true);
        check(true, true);
    }
}
