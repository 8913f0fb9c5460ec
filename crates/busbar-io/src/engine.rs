//! The engine: all pipes and listeners of one thread, and what happens to them.
//!
//! It has no thread of its own. Somebody drives it: an event loop that polls its descriptor and
//! calls [`Engine::turn`], or a thread that calls [`Engine::wait`]. Nothing here waits otherwise,
//! and nothing calls back: what happened is appended to a list of [`Event`]s.
//!
//! A pipe that somebody waits for (see [`Engine::set_interest`]) is in one of two lists:
//!
//! | | looked at | leaves when |
//! |---|---|---|
//! | hot | every turn | nothing came for as long as its [`Wait`](crate::Wait) allows: parked |
//! | parked | never | the peer rings its bell: hot |

mod ahead;
pub(crate) mod descriptors;
mod linger;
mod pipe;
mod readiness;
mod receiving;
mod sending;
mod shape;
mod traffic;

#[cfg(unix)]
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use busbar_proto::{CloseReason, Code, ConnectionInput, ConnectionState, Error};

use crate::connection::{Acceptor, Connection};
use crate::endpoint::Endpoint;
use crate::event::{Event, ListenerId, PipeId};
use crate::link::{Interest, Link, LinkStats};
use crate::notice::{Board, Subject};
use crate::options::{ListenOptions, PipeOptions};
use crate::peer::Peer;
use crate::qos::{Qos, QosStats};
use crate::slots::Slots;
use crate::tls::Credentials;
use crate::transport;

use ahead::Ahead;
use descriptors::{Descriptors, Role};
use linger::Lingering;
use pipe::{Origin, Phase, PipeEntry};
pub use readiness::Readiness;

/// How long a listener that ran out of descriptors or memory pauses.
const STALL: Duration = Duration::from_millis(100);

/// See the [module](self).
pub struct Engine {
    descriptors: Descriptors,
    board: Board,
    pipes: Slots<PipeEntry>,
    listeners: Slots<ListenerEntry>,
    hot: Vec<PipeId>,
    /// Pipes that have put something off.
    at_work: Vec<PipeId>,
    /// Pipes with queues of their own.
    shaped: Vec<PipeId>,
    lingering: Slots<Lingering>,
    /// Events that came about between two turns.
    pending: Vec<Event>,
    /// Listeners whose connections could not be accepted for want of resources.
    stalled: Vec<ListenerId>,
    /// The earliest deadline of a handshake or a stalled listener, or earlier.
    next_deadline: Option<Instant>,
    ahead: Ahead,
}

struct ListenerEntry {
    acceptor: Box<dyn Acceptor>,
    options: ListenOptions,
    /// For the pipes that come in.
    qos: Qos,
    /// Connections of this listener that are being set up.
    handshakes: usize,
}

/// Counters of a pipe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PipeStats {
    /// What passed through its link.
    pub link: LinkStats,
    /// Times its bell woke this engine.
    pub wakes: u64,
    /// What its queues hold and have dropped.
    pub qos: QosStats,
}

impl Engine {
    /// An engine without pipes.
    ///
    /// # Errors
    /// `Io` or `OutOfMemory` when descriptors are short.
    pub fn new() -> Result<Self, Error> {
        let (descriptors, bell) = Descriptors::new()?;
        Ok(Self {
            descriptors,
            board: Board::new(bell),
            pipes: Slots::new(),
            listeners: Slots::new(),
            hot: Vec::new(),
            at_work: Vec::new(),
            shaped: Vec::new(),
            lingering: Slots::new(),
            pending: Vec::new(),
            stalled: Vec::new(),
            next_deadline: None,
            ahead: Ahead::default(),
        })
    }

    /// Binds `endpoint`.
    ///
    /// # Errors
    /// `AddrInUse`, `NotSupported`, `PermissionDenied`, `InvalidArgument`, `Io`.
    pub fn listen(
        &mut self,
        endpoint: &Endpoint,
        options: &ListenOptions,
    ) -> Result<ListenerId, Error> {
        options.pipe.validate()?;
        let (board, descriptors) = (&self.board, &self.descriptors);
        let inserted = self.listeners.insert_with(|handle| {
            let waker = board.waker(Subject::Listener(handle));
            let mut acceptor = transport::listen(endpoint, options, &waker)?;
            acceptor.register(descriptors.registry(), Role::Acceptor.token(handle))?;
            let (options, qos) = (options.clone(), Qos::default());
            Ok(ListenerEntry { acceptor, options, qos, handshakes: 0 })
        });
        inserted.ok_or_else(too_many)?.map(ListenerId)
    }

    /// Begins to connect to `endpoint`. The pipe is `CONNECTING` until a `State` event says
    /// otherwise; the caller sets the deadline, by closing it.
    ///
    /// # Errors
    /// What can be known at once: `NotFound`, `NotSupported`, `ConnectionRefused`,
    /// `PermissionDenied`, `InvalidArgument`, `OutOfMemory`, `Io`.
    pub fn dial(&mut self, endpoint: &Endpoint, options: &PipeOptions) -> Result<PipeId, Error> {
        options.validate()?;
        let board = &self.board;
        let inserted = self.pipes.insert_with(|handle| {
            let waker = board.waker(Subject::Pipe(handle));
            let incoming = transport::dial(endpoint, options, &waker)?;
            Ok::<_, Error>(PipeEntry::new(incoming, Origin::Dialed, options))
        });
        let id = PipeId(inserted.ok_or_else(too_many)??);
        self.started(id)
    }

    /// Takes the next connection of a listener that is not this engine's own, if one waits.
    ///
    /// # Errors
    /// A failure of this one connection, or `Closed` when the listener is.
    pub(crate) fn accept_from(
        &mut self,
        acceptor: &mut dyn Acceptor,
        options: &PipeOptions,
    ) -> Result<Option<PipeId>, Error> {
        let board = &self.board;
        let inserted = self.pipes.insert_with(|handle| {
            match acceptor.accept(&board.waker(Subject::Pipe(handle))) {
                Ok(Some(incoming)) => Ok(PipeEntry::new(incoming, Origin::Dialed, options)),
                Ok(None) => Err(None),
                Err(error) => Err(Some(error)),
            }
        });
        match inserted.ok_or_else(too_many)? {
            Ok(handle) => self.started(PipeId(handle)).map(Some),
            Err(None) => Ok(None),
            Err(Some(error)) => Err(error),
        }
    }

    /// Closes a listener. Connections that it has not reported are turned away.
    pub fn close_listener(&mut self, id: ListenerId) {
        let Some(mut entry) = self.listeners.remove(id.0) else { return };
        entry.acceptor.deregister(self.descriptors.registry());
        for handle in self.pipes.handles() {
            let orphan = self.pipes.get(handle).is_some_and(|pipe| pipe.is_handshake_of(id));
            if orphan {
                self.drop_pipe(PipeId(handle));
            }
        }
    }

    /// Closes a pipe and forgets it: the peer is told the reason and can still receive everything
    /// that was sent, for which this engine may have to be driven on ([`Engine::is_lingering`]). No
    /// event follows.
    pub fn close(&mut self, id: PipeId, reason: &CloseReason) {
        if let Some(connection) = self.connection(id) {
            connection.close(reason);
        }
        let Some(entry) = self.drop_pipe(id) else { return };
        let Phase::Connected(connection) = entry.phase else { return };
        if !connection.is_over() && !entry.linger.is_zero() {
            self.linger(connection, Instant::now().checked_add(entry.linger));
        }
    }

    /// The address of a listener, as a dialer uses it.
    #[must_use]
    pub fn address(&self, id: ListenerId) -> Option<String> {
        Some(self.listeners.get(id.0)?.acceptor.address())
    }

    /// Who is at the other end of a pipe; `None` if it is this process, or not known yet.
    #[must_use]
    pub fn peer(&mut self, id: PipeId) -> Option<Peer> {
        match &self.pipes.get(id.0)?.phase {
            Phase::Handshaking { handshake, .. } => handshake.asking().cloned(),
            Phase::Connected(connection) => connection.peer(),
            Phase::Over => None,
        }
    }

    /// Answers [`Event::Asking`]: lets the peer in, or tells it the error. Does nothing to a pipe
    /// that has given up meanwhile.
    pub fn admit(&mut self, id: PipeId, verdict: Result<(), Error>) {
        let Some(entry) = self.pipes.get_mut(id.0) else { return };
        if let Phase::Handshaking { handshake, .. } = &mut entry.phase
            && handshake.asking().is_some()
        {
            handshake.admit(verdict);
            self.advance(id);
        }
    }

    /// Replaces what a listener at `tls://` shows to dialers from now on. Pipes that it has
    /// accepted stay as they are.
    ///
    /// # Errors
    /// `NotSupported` at other listeners, `InvalidArgument` without a certificate, `Closed`.
    pub fn set_credentials(
        &mut self,
        id: ListenerId,
        credentials: Credentials,
    ) -> Result<(), Error> {
        let entry = self.listeners.get_mut(id.0).ok_or_else(gone)?;
        entry.acceptor.set_credentials(credentials)
    }

    /// Where a pipe stands; `None` once it is closed by [`Engine::close`].
    #[must_use]
    pub fn state(&self, id: PipeId) -> Option<ConnectionState> {
        Some(self.pipes.get(id.0)?.state)
    }

    /// Why the peer or a failure ended the pipe.
    #[must_use]
    pub fn reason(&self, id: PipeId) -> Option<&CloseReason> {
        self.pipes.get(id.0)?.reason.as_ref()
    }

    /// Counters of a pipe.
    #[must_use]
    pub fn stats(&mut self, id: PipeId) -> Option<PipeStats> {
        let entry = self.pipes.get(id.0)?;
        let link = match &entry.phase {
            Phase::Connected(connection) => connection.stats(),
            Phase::Handshaking { .. } | Phase::Over => LinkStats::default(),
        };
        Some(PipeStats { link, wakes: entry.wakes, qos: entry.qos_stats() })
    }

    /// The link itself, for callers that move messages without the engine in between.
    #[must_use]
    pub fn link(&mut self, id: PipeId) -> Option<&mut dyn Link> {
        let connection = self.connection(id)?;
        Some(connection)
    }

    /// Says what to report of a pipe from now on.
    ///
    /// # Errors
    /// `Closed` if there is no such pipe any more.
    #[inline]
    pub fn set_interest(&mut self, id: PipeId, interest: Interest) -> Result<(), Error> {
        let entry = self.pipes.get_mut(id.0).ok_or_else(gone)?;
        if entry.set_interest(interest) {
            self.hot.push(id);
        }
        Ok(())
    }

    /// Ends everything at once, because its owner ends without having closed it: peers see a lost
    /// connection and not an orderly end.
    pub fn clear(&mut self) {
        for handle in self.listeners.handles() {
            self.close_listener(ListenerId(handle));
        }
        for handle in self.pipes.handles() {
            self.close(PipeId(handle), &CloseReason::lost());
        }
        self.clear_lingering();
        self.pending.clear();
    }

    fn connection(&mut self, id: PipeId) -> Option<&mut dyn Connection> {
        match &mut self.pipes.get_mut(id.0)?.phase {
            Phase::Connected(connection) => Some(&mut **connection),
            Phase::Handshaking { .. } | Phase::Over => None,
        }
    }

    /// Starts a new pipe, or takes it back.
    fn started(&mut self, id: PipeId) -> Result<PipeId, Error> {
        if let Err(error) = self.start(id) {
            self.drop_pipe(id);
            return Err(error);
        }
        Ok(id)
    }

    /// Registers a pipe's descriptors and lets it go as far as it can at once.
    fn start(&mut self, id: PipeId) -> Result<(), Error> {
        let Some(entry) = self.pipes.get_mut(id.0) else { return Ok(()) };
        let registry = self.descriptors.registry();
        match &mut entry.phase {
            Phase::Handshaking { handshake, .. } => {
                handshake.register(registry, Role::Control.token(id.0))?;
                self.advance(id);
            }
            Phase::Connected(connection) => {
                connection.register(registry, Role::Bell.token(id.0))?;
                // Somebody may have been waiting for it since before it was connected.
                if entry.heat() {
                    self.hot.push(id);
                }
                self.apply(id, ConnectionInput::Established);
            }
            Phase::Over => {}
        }
        Ok(())
    }

    /// Goes on with a handshake.
    fn advance(&mut self, id: PipeId) {
        let Some(entry) = self.pipes.get_mut(id.0) else { return };
        let Phase::Handshaking { handshake, origin } = &mut entry.phase else { return };
        let origin = *origin;
        let connection = match handshake.advance(self.descriptors.registry()) {
            Ok(None) => return self.ask(id),
            Ok(Some(connection)) => connection,
            Err(error) => return self.handshake_failed(id, origin, error),
        };
        entry.phase = Phase::Connected(connection);
        if let Origin::Accepted { listener, .. } = origin {
            self.handshake_over(listener);
            self.pending.push(Event::Accepted { listener, pipe: id });
        }
        match self.start(id) {
            // The peer may have spoken on already.
            Ok(()) => self.handle_control(id),
            Err(error) => self.fail(id, &error),
        }
    }

    /// Asks, once, whether a handshake that waits for it may go on.
    fn ask(&mut self, id: PipeId) {
        let Some(entry) = self.pipes.get_mut(id.0) else { return };
        let Phase::Handshaking { handshake, origin: Origin::Accepted { listener, .. } } =
            &entry.phase
        else {
            return;
        };
        if handshake.asking().is_some() && !std::mem::replace(&mut entry.is_asked, true) {
            self.pending.push(Event::Asking { listener: *listener, pipe: id });
        }
    }

    fn handshake_failed(&mut self, id: PipeId, origin: Origin, error: Error) {
        match origin {
            Origin::Dialed => self.end(id, ConnectionInput::GaveUp, reason_of(&error)),
            Origin::Accepted { listener, .. } => {
                self.drop_pipe(id);
                self.pending.push(Event::Warning(listener, error));
            }
        }
    }

    fn handshake_over(&mut self, listener: ListenerId) {
        if let Some(entry) = self.listeners.get_mut(listener.0) {
            entry.handshakes -= 1;
        }
        self.relax();
    }

    /// Forgets the next deadline if nothing has one: whoever sleeps need not wake for what is over.
    fn relax(&mut self) {
        let is_idle = self.stalled.is_empty() && !self.is_lingering() && self.shaped.is_empty();
        if is_idle && self.listeners.values().all(|entry| entry.handshakes == 0) {
            self.next_deadline = None;
        }
    }

    fn handle_control(&mut self, id: PipeId) {
        let Some(entry) = self.pipes.get_mut(id.0) else { return };
        let outcome = match &mut entry.phase {
            Phase::Handshaking { .. } => return self.advance(id),
            Phase::Connected(connection) => connection.handle_control(),
            Phase::Over => return,
        };
        self.handle_outcome(id, outcome);
    }

    /// Ends the pipe if its peer has, or has broken the rules.
    fn handle_outcome(&mut self, id: PipeId, outcome: Result<Option<CloseReason>, Error>) {
        match outcome {
            Ok(ended) => self.ended_by_peer(id, ended),
            Err(error) => self.fail(id, &error),
        }
    }

    fn ended_by_peer(&mut self, id: PipeId, ended: Option<CloseReason>) {
        match ended {
            None => {}
            Some(reason) if reason.code == Some(Code::ConnectionLost) => {
                self.apply(id, ConnectionInput::Lost);
                self.end(id, ConnectionInput::GaveUp, reason);
            }
            Some(reason) => self.end(id, ConnectionInput::ClosedByPeer, reason),
        }
    }

    /// Ends a pipe from this side because of a failure, and tells the peer.
    fn fail(&mut self, id: PipeId, error: &Error) {
        if self.reason(id).is_some() {
            return;
        }
        let reason = reason_of(error);
        if let Some(connection) = self.connection(id) {
            connection.close(&reason);
        }
        self.end(id, ConnectionInput::ClosedLocally, reason);
    }

    /// Records how a pipe ended. What was received stays there to be taken.
    fn end(&mut self, id: PipeId, input: ConnectionInput, reason: CloseReason) {
        let Some(entry) = self.pipes.get_mut(id.0) else { return };
        if entry.reason.is_some() {
            return;
        }
        if let Phase::Handshaking { handshake, .. } = &mut entry.phase {
            handshake.deregister(self.descriptors.registry());
            entry.phase = Phase::Over;
        }
        entry.reason = Some(reason);
        entry.give_up_sending();
        self.apply(id, input);
        self.pending.push(Event::Closed(id));
    }

    fn apply(&mut self, id: PipeId, input: ConnectionInput) {
        let Some(entry) = self.pipes.get_mut(id.0) else { return };
        if let Some(state) = entry.state.next(input) {
            entry.state = state;
            self.pending.push(Event::State(id, state));
        }
    }

    fn drop_pipe(&mut self, id: PipeId) -> Option<PipeEntry> {
        let mut entry = self.pipes.remove(id.0)?;
        let registry = self.descriptors.registry();
        match &mut entry.phase {
            Phase::Handshaking { handshake, origin } => {
                handshake.deregister(registry);
                if let Origin::Accepted { listener, .. } = *origin {
                    self.handshake_over(listener);
                }
            }
            Phase::Connected(connection) => connection.deregister(registry),
            Phase::Over => {}
        }
        self.hot.retain(|&hot| hot != id);
        self.shaped.retain(|&shaped| shaped != id);
        self.pending.retain(|event| event.pipe() != Some(id));
        Some(entry)
    }

    /// Takes every connection that waits at a listener.
    fn accept(&mut self, id: ListenerId) {
        loop {
            let Some(entry) = self.listeners.get_mut(id.0) else { return };
            let deadline = Instant::now() + entry.options.handshake_timeout;
            let (options, qos) = (entry.options.pipe.clone(), entry.qos.clone());
            let full = entry.handshakes >= entry.options.backlog;
            let origin = Origin::Accepted { listener: id, deadline };
            let board = &self.board;
            let accepted = self.pipes.insert_with(|handle| {
                let waker = board.waker(Subject::Pipe(handle));
                match entry.acceptor.accept(&waker) {
                    Ok(Some(incoming)) => Ok(PipeEntry::new(incoming, origin, &options)),
                    Ok(None) => Err(None),
                    Err(error) => Err(Some(error)),
                }
            });
            match accepted {
                None => {
                    self.pending.push(Event::Warning(id, too_many()));
                    return self.stall(id);
                }
                Some(Err(None)) => return,
                Some(Err(Some(error))) if error.code() == Code::Closed => {
                    self.close_listener(id);
                    return self.pending.push(Event::ListenerClosed(id));
                }
                Some(Err(Some(error))) => {
                    let out_of_resources = matches!(error.code(), Code::OutOfMemory | Code::Io);
                    self.pending.push(Event::Warning(id, error));
                    if out_of_resources {
                        return self.stall(id);
                    }
                }
                Some(Ok(handle)) => {
                    self.install(PipeId(handle), &qos);
                    self.accepted(id, PipeId(handle), deadline, full);
                }
            }
        }
    }

    /// Asks a listener again after a pause: what waits there is not announced twice.
    fn stall(&mut self, id: ListenerId) {
        if !self.stalled.contains(&id) {
            self.stalled.push(id);
        }
        self.expire_by(Instant::now() + STALL);
    }

    /// Makes sure that [`Engine::next_deadline`] is not later than `deadline`.
    fn expire_by(&mut self, deadline: Instant) {
        self.next_deadline = Some(self.next_deadline.map_or(deadline, |d| d.min(deadline)));
    }

    fn accepted(&mut self, listener: ListenerId, pipe: PipeId, deadline: Instant, full: bool) {
        let Some(entry) = self.pipes.get(pipe.0) else { return };
        let connected = matches!(entry.phase, Phase::Connected(_));
        if connected {
            self.pending.push(Event::Accepted { listener, pipe });
        } else {
            if let Some(entry) = self.listeners.get_mut(listener.0) {
                entry.handshakes += 1;
            }
            self.expire_by(deadline);
        }
        if full && !connected {
            // Dropping the socket is an answer the dialer understands: refused, try again.
            self.drop_pipe(pipe);
            return;
        }
        if let Err(error) = self.start(pipe) {
            self.drop_pipe(pipe);
            self.pending.push(Event::Warning(listener, error));
        }
    }
}

#[cfg(unix)]
impl AsRawFd for Engine {
    /// Readable when [`Engine::turn`] has something to do that it does not know of yet. Closed with
    /// the engine.
    fn as_raw_fd(&self) -> RawFd {
        self.descriptors.as_raw_fd()
    }
}

fn reason_of(error: &Error) -> CloseReason {
    CloseReason { code: Some(error.code()), status: 0, text: error.message().to_owned() }
}

/// What operations on a pipe report once it has ended.
fn closed_error(reason: &CloseReason) -> Error {
    let code = reason.code.unwrap_or(Code::Closed);
    if reason.text.is_empty() {
        Error::new(code, "the pipe is closed")
    } else {
        Error::new(code, format!("the pipe is closed: {}", reason.text))
    }
}

fn gone() -> Error {
    Error::new(Code::Closed, "there is no such pipe any more: it was closed")
}

fn too_many() -> Error {
    let message = format!("an engine holds at most {} pipes", Slots::<()>::MAX);
    Error::new(Code::OutOfMemory, message)
}
