//! The reactor over io_uring: what is received and accepted has happened already when it is told.
//!
//! ```text
//! socket ─ multishot recv ─→ shared buffers ─→ Stream::unread ─→ read: copied out, buffer reused
//! write ─→ Stream::sending ─ with those of all other sockets, one call ─→ socket
//! other descriptors ─ multishot poll ─→ edges
//! ```
//!
//! To its users a stream is a socket that reports edges, as with the other reactor: data that came,
//! the end, room after there was none. An idle stream holds no buffer: the kernel picks one of a
//! few shared ones when something comes. What a connection does not read in its turn is moved out
//! of them into memory of its own (*set aside*), and nothing more is received for it until it has
//! been read, so that the transport holds the peer back and nobody keeps the buffers from others.

mod port;
mod ring;
mod selftest;
mod stream;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFlags};
use rustix::io::Errno;

use super::{Edge, Token, Watch};
use crate::block;
use crate::slots::{Handle, Slots};
pub(crate) use port::{Accepts, Bell, Port, Watcher};
use ring::{Done, OpId, Ring, mask};
pub(super) use selftest::check;
use stream::Stream;

/// Bytes that are sent at once, unless they were queued in one piece.
const SEND_BYTES_MAX: usize = 256 * 1024;

/// Parts of what a socket is given in a row before others get their turn.
const SENDS_MAX: usize = 16;

/// Connections that are accepted ahead of whoever takes them.
const ACCEPTED_MAX: usize = 256;

/// Memory for sending that is kept for the next connection that needs some.
const SPARE_MAX: usize = 8;
const SPARE_BYTES_MAX: usize = 128 * 1024;

/// `POLLRDHUP`: the peer writes no more.
const HANGUP: PollFlags = PollFlags::RDHUP;

/// See the [module](self). Shared by the engine and its sockets, which one thread at a time uses.
#[derive(Clone)]
pub(crate) struct Uring(Arc<Mutex<State>>);

struct State {
    ring: Ring<Tag>,
    watches: Slots<Watched>,
    /// Which of them is a descriptor's.
    by_fd: HashMap<RawFd, Handle>,
    streams: Slots<Stream>,
    acceptors: Slots<Accepting>,
    edges: Vec<(Edge, Option<Handle>)>,
    /// Streams whose edges were told in the last turn.
    told: Vec<Handle>,
    /// Streams that have to receive anew.
    unarmed: Vec<Handle>,
    spares: Vec<Vec<u8>>,
}

/// Whose an operation is.
#[derive(Clone, Copy, Debug)]
enum Tag {
    Watch(Handle),
    Accept(Handle),
    Receive(Handle),
    Send(Handle),
    /// The end of a stream from which nothing is received.
    Hangup(Handle),
    /// Room in a socket that was written to directly.
    Room(Handle),
}

struct Watched {
    fd: RawFd,
    events: PollFlags,
    token: Token,
    op: OpId,
}

struct Accepting {
    fd: RawFd,
    token: Token,
    op: Option<OpId>,
    accepted: VecDeque<io::Result<OwnedFd>>,
}

impl Uring {
    /// A ring for one engine. See [`Ring::new`].
    pub(super) fn new(single_thread: bool) -> io::Result<Self> {
        Ok(Self(Arc::new(Mutex::new(State {
            ring: Ring::new(single_thread)?,
            watches: Slots::new(),
            by_fd: HashMap::new(),
            streams: Slots::new(),
            acceptors: Slots::new(),
            edges: Vec::new(),
            told: Vec::new(),
            unarmed: Vec::new(),
            spares: Vec::new(),
        }))))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What wakes this ring, by an edge.
    pub(super) fn bell(&self, token: Token) -> io::Result<Bell> {
        let fd = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        self.add(fd.as_raw_fd(), token, Watch::Readable)?;
        Ok(Bell(fd))
    }

    /// Reports edges of a descriptor. It must be removed before it is closed.
    pub(super) fn add(&self, fd: RawFd, token: Token, watch: Watch) -> io::Result<()> {
        self.lock().add(fd, token, watch)
    }

    /// Forgets a descriptor, which may then be closed.
    pub(super) fn remove(&self, fd: RawFd) {
        let mut state = self.lock();
        if state.forget(fd) {
            state.enter(Some(Duration::ZERO));
        }
    }

    /// Reads and writes a connected socket from now on.
    pub(super) fn adopt(&self, socket: BorrowedFd<'_>, token: Token) -> io::Result<Port> {
        // To io_uring, a socket that does not wait is one that wants to be told so.
        rustix::io::ioctl_fionbio(socket, false)?;
        let fd = socket.as_raw_fd();
        let mut state = self.lock();
        state.forget(fd);
        let inserted = state.streams.insert_with(|_| Ok::<_, io::Error>(Stream::new(fd, token)));
        let handle = inserted.ok_or(io::ErrorKind::OutOfMemory)??;
        state.arm(handle);
        // Whoever looks finds what came before.
        state.tell(handle, false);
        Ok(Port { uring: self.clone(), handle })
    }

    /// Accepts connections from now on.
    pub(super) fn listen(&self, socket: BorrowedFd<'_>, token: Token) -> io::Result<Accepts> {
        rustix::io::ioctl_fionbio(socket, false)?;
        let fd = socket.as_raw_fd();
        let mut state = self.lock();
        let accepting = Accepting { fd, token, op: None, accepted: VecDeque::new() };
        let inserted = state.acceptors.insert_with(|_| Ok::<_, io::Error>(accepting));
        let handle = inserted.ok_or(io::ErrorKind::OutOfMemory)??;
        state.arm_acceptor(handle);
        Ok(Accepts { uring: self.clone(), handle })
    }

    /// Appends the edges that there are to `edges`, after waiting up to `timeout` (`None`: for
    /// ever) if there is none.
    pub(super) fn wait(&self, timeout: Option<Duration>, edges: &mut Vec<Edge>) {
        let mut state = self.lock();
        state.settle();
        let timeout = if state.edges.is_empty() { timeout } else { Some(Duration::ZERO) };
        if timeout != Some(Duration::ZERO) || state.ring.wants_enter() {
            state.enter(timeout);
        } else {
            state.reap();
        }
        let State { edges: pending, streams, told, .. } = &mut *state;
        for (edge, handle) in pending.drain(..) {
            if let Some(handle) = handle
                && let Some(stream) = streams.get_mut(handle)
                && std::mem::take(&mut stream.has_edge)
            {
                told.push(handle);
            }
            edges.push(edge);
        }
    }

    /// What waits for completions beside whoever uses this ring.
    pub(super) fn watcher(&self) -> io::Result<Watcher> {
        self.lock().ring.as_fd().try_clone_to_owned().map(Watcher)
    }

    /// Submits what was begun, if anything was; whether there is something to tell, or to submit
    /// once more: a send that came short goes on with the rest.
    pub(super) fn submit(&self) -> bool {
        let mut state = self.lock();
        state.settle();
        if state.ring.wants_enter() {
            state.enter(Some(Duration::ZERO));
        }
        state.has_work()
    }

    /// Whether there are edges that were not told, something has to begin anew, or was begun and
    /// not submitted.
    pub(super) fn has_work(&self) -> bool {
        self.lock().has_work()
    }

    /// Calls of the kernel so far.
    pub(super) fn enters(&self) -> u64 {
        self.lock().ring.enters
    }
}

impl AsRawFd for Uring {
    fn as_raw_fd(&self) -> RawFd {
        self.lock().ring.as_fd().as_raw_fd()
    }
}

impl State {
    fn add(&mut self, fd: RawFd, token: Token, watch: Watch) -> io::Result<()> {
        self.forget(fd);
        let events = match watch {
            Watch::Readable => PollFlags::IN | HANGUP,
            Watch::Both => PollFlags::IN | PollFlags::OUT | HANGUP,
        };
        let Self { watches, ring, .. } = self;
        let inserted = watches.insert_with(|handle| {
            let op = ring.watch(fd, mask(events), true, Tag::Watch(handle));
            let op = op.ok_or(io::ErrorKind::OutOfMemory)?;
            Ok::<_, io::Error>(Watched { fd, events, token, op })
        });
        let handle = inserted.ok_or(io::ErrorKind::OutOfMemory)??;
        self.by_fd.insert(fd, handle);
        Ok(())
    }

    /// Ends watching a descriptor, if it is watched.
    fn forget(&mut self, fd: RawFd) -> bool {
        let watched = self.by_fd.remove(&fd).and_then(|handle| self.watches.remove(handle));
        if let Some(watched) = &watched {
            self.ring.cancel(watched.op);
        }
        watched.is_some()
    }

    fn arm(&mut self, handle: Handle) {
        let Some(stream) = self.streams.get_mut(handle) else { return };
        if stream.receiving.is_some() || stream.is_paused || stream.has_ended {
            return;
        }
        stream.receiving = self.ring.receive(stream.fd, Tag::Receive(handle));
        if stream.receiving.is_none() {
            stream.end(Some(io::ErrorKind::OutOfMemory.into()));
            self.tell(handle, true);
        }
    }

    fn arm_acceptor(&mut self, handle: Handle) {
        let Some(it) = self.acceptors.get_mut(handle).filter(|it| it.op.is_none()) else { return };
        it.op = self.ring.accept(it.fd, Tag::Accept(handle));
    }

    /// Calls the kernel, and takes what has come of it.
    fn enter(&mut self, timeout: Option<Duration>) {
        let entered = self.ring.enter(timeout);
        debug_assert!(entered.is_ok(), "{entered:?}: a ring of another thread?");
        self.reap();
    }

    fn reap(&mut self) {
        while let Some(done) = self.ring.next() {
            self.handle(done);
        }
    }

    /// Puts the turn behind: sets aside what was told and not read, and receives anew where the
    /// kernel has stopped.
    fn settle(&mut self) {
        let mut told = std::mem::take(&mut self.told);
        for handle in told.drain(..) {
            let Some(stream) = self.streams.get(handle) else { continue };
            if !stream.unread.is_empty() && !stream.has_edge {
                self.hold(handle);
            }
        }
        self.told = told;
        let mut unarmed = std::mem::take(&mut self.unarmed);
        for handle in unarmed.drain(..) {
            self.arm(handle);
        }
        self.unarmed = unarmed;
    }

    /// Whether whoever falls asleep now would miss something: an edge; what a stream would receive,
    /// as receiving can stop without one; or the end of what the kernel does not know of yet.
    fn has_work(&mut self) -> bool {
        !self.edges.is_empty() || !self.unarmed.is_empty() || self.ring.wants_enter()
    }

    /// Sets aside what has come, and receives nothing more until it is read.
    fn hold(&mut self, handle: Handle) {
        let Some(stream) = self.streams.get_mut(handle) else { return };
        stream.set_aside(&mut self.ring);
        if !std::mem::replace(&mut stream.is_paused, true) {
            stream.pause(handle, &mut self.ring);
        }
    }

    /// Notes an edge of a stream.
    fn tell(&mut self, handle: Handle, is_ending: bool) {
        let Some(stream) = self.streams.get_mut(handle) else { return };
        let Some(token) = stream.token else { return };
        if !std::mem::replace(&mut stream.has_edge, true) || is_ending {
            self.edges.push((Edge { token, is_ending }, Some(handle)));
        }
    }

    fn handle(&mut self, done: Done<Tag>) {
        match done.tag {
            Tag::Watch(handle) => self.handle_watch(handle, &done),
            Tag::Accept(handle) => self.handle_accept(handle, done),
            Tag::Receive(handle) => self.handle_receive(handle, done),
            Tag::Send(handle) => self.handle_send(handle, done),
            Tag::Hangup(handle) => {
                let Some(stream) = self.streams.get_mut(handle) else { return };
                stream.hangup = None;
                if done.result.is_ok() {
                    self.tell(handle, true);
                }
            }
            Tag::Room(handle) => {
                let Some(stream) = self.streams.get_mut(handle) else { return };
                stream.room = None;
                // Also after a failure, which writing will show.
                self.tell(handle, false);
            }
        }
    }

    fn handle_watch(&mut self, handle: Handle, done: &Done<Tag>) {
        // One that was removed is being cancelled.
        let Some(watched) = self.watches.get_mut(handle) else { return };
        let is_cancelled = done.result.as_ref().is_err_and(is_cancelled);
        if !is_cancelled {
            let ready = done.result.as_ref().copied().unwrap_or(u32::MAX);
            let ending = PollFlags::HUP | PollFlags::ERR | HANGUP;
            let is_ending = ready & mask(ending) != 0;
            self.edges.push((Edge { token: watched.token, is_ending }, None));
        }
        if done.is_over && (is_cancelled || done.result.is_ok()) {
            // The thread that began it has ended, or there were too many completions.
            let events = mask(watched.events);
            if let Some(op) = self.ring.watch(watched.fd, events, true, Tag::Watch(handle)) {
                watched.op = op;
            }
        }
    }

    fn handle_accept(&mut self, handle: Handle, done: Done<Tag>) {
        let Some(accepting) = self.acceptors.get_mut(handle) else { return };
        if done.is_over {
            accepting.op = None;
        }
        match (done.result, done.accepted) {
            (Ok(_), Some(socket)) => accepting.accepted.push_back(Ok(socket)),
            (Err(error), _) if !is_cancelled(&error) => accepting.accepted.push_back(Err(error)),
            _ => {}
        }
        if accepting.accepted.is_empty() {
            return self.arm_acceptor(handle);
        }
        if accepting.accepted.len() == ACCEPTED_MAX
            && let Some(op) = accepting.op
        {
            // The rest waits in the socket until somebody takes these.
            self.ring.cancel(op);
        }
        // Who was told of the first takes the others as well, or asks again.
        if accepting.accepted.len() == 1 {
            self.edges.push((Edge { token: accepting.token, is_ending: false }, None));
        }
    }

    fn handle_receive(&mut self, handle: Handle, done: Done<Tag>) {
        let Done { result, is_over, received, .. } = done;
        let Some(stream) = self.streams.get_mut(handle) else {
            // It was dropped while this was under way.
            if let Some(filled) = received {
                self.ring.give_back(filled);
            }
            return;
        };
        if is_over {
            stream.receiving = None;
        }
        let mut has_news = true;
        match result {
            Ok(0) => stream.end(None),
            Ok(_) => {}
            Err(error) => {
                // All buffers were full, or the thread that began it has ended.
                has_news = !is_cancelled(&error) && errno(&error) != Some(Errno::NOBUFS);
                if has_news {
                    stream.end(Some(error));
                }
            }
        }
        match received {
            Some(filled) if filled.is_empty() => self.ring.give_back(filled),
            Some(filled) => stream.unread.push_back(filled),
            None => {}
        }
        if stream.token.is_none() {
            // Nobody is told, and nobody may come to read it for long.
            return self.hold(handle);
        }
        let has_ended = stream.has_ended;
        if is_over && !has_ended && !stream.is_paused {
            self.unarmed.push(handle);
        }
        if has_news {
            self.tell(handle, has_ended);
        }
    }

    fn handle_send(&mut self, handle: Handle, done: Done<Tag>) {
        let Some((bytes, from)) = done.sent else { return };
        let Some(stream) = self.streams.get_mut(handle) else { return };
        stream.sending = None;
        let sent = match done.result {
            Ok(sent) => sent as usize,
            Err(error) if is_cancelled(&error) || is_for_now(&error) => 0,
            Err(error) => {
                stream.send_failure = Some(error);
                stream.unsent = Some((bytes, from));
                return self.tell(handle, false);
            }
        };
        if from + sent < bytes.len() {
            // The socket is full, or the thread that began it has ended.
            let fd = stream.fd;
            stream.sending = self.ring.send(fd, bytes, from + sent, Tag::Send(handle));
            return;
        }
        let is_awaited = std::mem::take(&mut stream.is_awaited);
        self.keep(bytes);
        if is_awaited {
            self.tell(handle, false);
        }
    }

    /// Memory to send from.
    fn memory(&mut self) -> Vec<u8> {
        self.spares.pop().unwrap_or_default()
    }

    /// Keeps memory for the next who needs some.
    fn keep(&mut self, mut memory: Vec<u8>) {
        if self.spares.len() < SPARE_MAX && memory.capacity() <= SPARE_BYTES_MAX {
            memory.clear();
            self.spares.push(memory);
        } else {
            block::keep(memory);
        }
    }

    fn read(&mut self, handle: Handle, into: &mut [u8]) -> io::Result<usize> {
        let Some(stream) = self.streams.get_mut(handle) else { return Ok(0) };
        let mut len = stream.read(into, &mut self.ring);
        if len < into.len() && stream.is_paused {
            // The peer has been held back: more may be there.
            stream.is_paused = false;
            self.arm(handle);
            self.enter(Some(Duration::ZERO));
            let Some(stream) = self.streams.get_mut(handle) else { return Ok(0) };
            len += stream.read(&mut into[len..], &mut self.ring);
        }
        if len > 0 || into.is_empty() {
            return Ok(len);
        }
        let Some(stream) = self.streams.get_mut(handle) else { return Ok(0) };
        match stream.failure.take() {
            Some(error) => Err(error),
            None if stream.has_ended => Ok(0),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Whether nothing is being sent for a stream any more. If something is, its end is told.
    fn flush(&mut self, handle: Handle) -> bool {
        // As long as the kernel does not know of it, or has something to say: most is sent before
        // the first call returns.
        for _ in 0..SENDS_MAX {
            if !self.is_sending(handle) || !self.ring.wants_enter() {
                break;
            }
            self.enter(Some(Duration::ZERO));
        }
        let is_sending = self.is_sending(handle);
        if let Some(stream) = self.streams.get_mut(handle) {
            stream.is_awaited |= is_sending;
        }
        !is_sending
    }

    fn is_sending(&self, handle: Handle) -> bool {
        self.streams.get(handle).is_some_and(|stream| stream.sending.is_some())
    }

    /// Makes sure that what is sent next comes after all that was sent before.
    fn clear(&mut self, handle: Handle) -> io::Result<()> {
        let is_clear = self.flush(handle);
        let failure = self.streams.get_mut(handle).and_then(|stream| stream.send_failure.take());
        match failure {
            Some(error) => Err(error),
            None if is_clear => Ok(()),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn send(&mut self, handle: Handle, bytes: Vec<u8>, from: usize) -> io::Result<()> {
        let Some(stream) = self.streams.get_mut(handle) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        stream.sending = self.ring.send(stream.fd, bytes, from, Tag::Send(handle));
        if stream.sending.is_some() { Ok(()) } else { Err(io::ErrorKind::OutOfMemory.into()) }
    }

    fn drop_stream(&mut self, handle: Handle) {
        let Some(stream) = self.streams.remove(handle) else { return };
        let ops = [stream.receiving, stream.sending, stream.hangup, stream.room];
        for op in ops.into_iter().flatten() {
            self.ring.cancel(op);
        }
        for filled in stream.unread {
            self.ring.give_back(filled);
        }
        // The kernel has to know before the socket is closed.
        self.enter(Some(Duration::ZERO));
    }
}

fn errno(error: &io::Error) -> Option<Errno> {
    Errno::from_io_error(error)
}

/// What an operation says that was cancelled, be it by the end of the thread that began it.
fn is_cancelled(error: &io::Error) -> bool {
    errno(error) == Some(Errno::CANCELED)
}

fn is_for_now(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests;
