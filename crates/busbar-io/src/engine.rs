//! The engine: all pipes and listeners of one thread, and what happens to them.
//!
//! It has no thread of its own. Somebody drives it: an event loop that polls its descriptor and
//! calls [`Engine::turn`], a thread that calls [`Engine::wait`], or an [`IoThread`] and its owner,
//! which take turns. Nothing here waits otherwise, and nothing calls back: what happened is
//! appended to a list of [`Event`]s.
//!
//! [`IoThread`]: crate::IoThread
//!
//! A pipe that somebody waits for (see [`Engine::set_interest`]) is in one of two lists:
//!
//! | | looked at | leaves when |
//! |---|---|---|
//! | hot | every turn | nothing came for as long as its [`Wait`](crate::Wait) allows: parked |
//! | parked | never | the peer rings its bell: hot |

mod accepting;
mod ahead;
mod announced;
mod backlog;
pub(crate) mod descriptors;
mod handed;
mod heartbeat;
mod linger;
mod pipe;
mod progress;
mod readiness;
mod receiving;
mod redial;
mod reliable;
mod sending;
mod sessions;
mod shape;
mod tending;
mod timers;
mod traffic;

use std::collections::{HashMap, VecDeque};
#[cfg(unix)]
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use busbar_proto::{CloseReason, Code, ConnectionInput, ConnectionState, Error, SessionId};

use crate::connection::{Acceptor, Connection, Identity};
use crate::endpoint::Endpoint;
use crate::event::{Event, ListenerId, PipeId};
use crate::link::{Interest, Link, LinkStats};
use crate::notice::{Board, Subject};
use crate::options::{ListenOptions, PipeOptions};
use crate::peer::Peer;
use crate::qos::{Qos, QosStats};
use crate::reactor::{Backend, EngineOptions};
use crate::slots::Slots;
use crate::tls::Credentials;
use crate::transport;

use ahead::Ahead;
use descriptors::{Descriptors, Role};
use linger::Lingering;
use pipe::{Origin, Phase, PipeEntry};
pub use readiness::Readiness;
use redial::Redial;
use tending::Chore;
use timers::{Timer, Timers};

/// See the [module](self).
pub struct Engine {
    descriptors: Descriptors,
    board: Board,
    pipes: Slots<PipeEntry>,
    listeners: Slots<ListenerEntry>,
    hot: Vec<PipeId>,
    /// Pipes that have put something off.
    at_work: Vec<PipeId>,
    /// Closed pipes whose queue is not empty.
    leaving: Vec<PipeId>,
    /// Closed connections.
    lingering: Slots<Lingering>,
    /// Listeners whose pipes have lost connections: they may keep too many sessions.
    crowded: Vec<ListenerId>,
    /// Events that came about between two turns.
    pending: Vec<Event>,
    timers: Timers,
    ahead: Ahead,
    /// An I/O thread tends it.
    is_shared: bool,
    /// What the I/O thread has yet to do, last first.
    chores: Vec<Chore>,
}

struct ListenerEntry {
    acceptor: Box<dyn Acceptor>,
    options: ListenOptions,
    /// For the pipes that come in.
    qos: Qos,
    /// Connections of this listener that are being set up, oldest first.
    handshakes: VecDeque<PipeId>,
    /// Whose dialers may come back.
    sessions: HashMap<SessionId, PipeId>,
}

/// Counters of a pipe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PipeStats {
    /// What passed through its link.
    pub link: LinkStats,
    /// Times its bell woke this engine.
    pub wakes: u64,
    /// Times it got another connection after losing one.
    pub reconnects: u64,
    /// Messages that were accepted and still waited to be written when their connection was lost.
    /// What had been written may be lost as well; nobody can tell.
    pub messages_lost: u64,
    /// Messages of its session that were accepted and are not acknowledged.
    pub messages_unconfirmed: u64,
    /// Messages of its session that were given up.
    pub deliveries_failed: u64,
    /// Messages of its session whose time was over when they could be sent, or sent again.
    pub resends_expired: u64,
    /// Messages of its session that came twice, and were received once.
    pub duplicates: u64,
    /// What its queues hold and have dropped.
    pub qos: QosStats,
}

impl Engine {
    /// An engine without pipes.
    ///
    /// # Errors
    /// `Io` or `OutOfMemory` when descriptors are short; as [`Engine::with`], if the environment
    /// asks for a backend.
    pub fn new() -> Result<Self, Error> {
        Self::with(EngineOptions::default())
    }

    /// As [`Engine::new`], with a backend of the caller's choice.
    ///
    /// # Errors
    /// As there; `NotSupported` if the backend does not work here, `InvalidArgument` if the
    /// environment asks for one that does not exist.
    pub fn with(options: EngineOptions) -> Result<Self, Error> {
        let (descriptors, bell) = Descriptors::new(options)?;
        Ok(Self {
            descriptors,
            board: Board::new(bell),
            pipes: Slots::new(),
            listeners: Slots::new(),
            hot: Vec::new(),
            at_work: Vec::new(),
            leaving: Vec::new(),
            lingering: Slots::new(),
            crowded: Vec::new(),
            pending: Vec::new(),
            timers: Timers::default(),
            ahead: Ahead::default(),
            is_shared: false,
            chores: Vec::new(),
        })
    }

    /// How it gets at its descriptors.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.descriptors.reactor().backend()
    }

    /// System calls that it has made to wait, and to read and write many sockets at once. Those of
    /// single sockets are counted with their pipes ([`LinkStats`]).
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.descriptors.reactor().calls()
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
        let mut options = options.clone();
        options.pipe.is_served = self.serves(&options.pipe);
        let (board, descriptors) = (&self.board, &self.descriptors);
        let inserted = self.listeners.insert_with(|handle| {
            let waker = board.waker(Subject::Listener(handle));
            let mut acceptor = transport::listen(endpoint, &options, &waker)?;
            acceptor.register(descriptors.reactor(), Role::Acceptor.token(handle))?;
            let qos = Qos::default();
            let (handshakes, sessions) = (VecDeque::new(), HashMap::new());
            Ok(ListenerEntry { acceptor, options, qos, handshakes, sessions })
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
        let mut options = options.clone();
        options.is_served = self.serves(&options);
        let mut reliable = Self::dial_session(&options)?;
        let identity = match &mut reliable {
            Some(reliable) => Self::begin_session(reliable, &mut options),
            None => Identity::fresh()?,
        };
        let options = &options;
        let mut refusal = None;
        let inserted = self.pipes.insert_with(|handle| {
            let waker = board.waker(Subject::Pipe(handle));
            let incoming = match transport::dial(endpoint, options, identity, &waker) {
                Err(error) if options.retry.is_some() && is_nobody_there(&error) => {
                    refusal = Some(error);
                    None
                }
                incoming => Some(incoming?),
            };
            let mut entry = PipeEntry::new(incoming, Origin::Dialed, options);
            entry.reliable = reliable.take();
            if options.retry.is_some() || options.reconnect.is_some() {
                entry.redial = Some(Redial::new(endpoint, options, identity));
            }
            Ok::<_, Error>(entry)
        });
        let id = PipeId(inserted.ok_or_else(too_many)??);
        if let Some(error) = refusal {
            self.attempt_failed(id, &error);
            return Ok(id);
        }
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
                Ok(Some(incoming)) => Ok(PipeEntry::new(Some(incoming), Origin::Dialed, options)),
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
        entry.acceptor.deregister(self.descriptors.reactor());
        self.timers.cancel(Timer::Stall(id));
        for pipe in entry.sessions.into_values() {
            self.abandon_session(pipe);
        }
        for orphan in entry.handshakes {
            self.drop_pipe(orphan);
        }
    }

    /// Closes a pipe and forgets it: the peer is told the reason and can still receive everything
    /// that was sent, for which this engine may have to be driven on ([`Engine::is_lingering`]). No
    /// event follows.
    pub fn close(&mut self, id: PipeId, reason: &CloseReason) {
        let linger = self.pipes.get(id.0).map_or(Duration::ZERO, |entry| entry.linger);
        self.close_within(id, reason, linger);
    }

    /// As [`Engine::close`], where what waits in the pipe's queue may do so for `linger` more.
    /// Returns how many messages waited and are given up.
    pub fn close_within(&mut self, id: PipeId, reason: &CloseReason, linger: Duration) -> usize {
        let Some(entry) = self.pipes.get(id.0).filter(|entry| entry.leave.is_none()) else {
            return 0;
        };
        let now = Instant::now();
        let until = now.checked_add(entry.linger);
        if reason.code == Some(Code::ConnectionLost) {
            return self.part(id, reason, until);
        }
        if !linger.is_zero() && self.take_leave(id, reason, now.checked_add(linger)) {
            return 0;
        }
        self.say_goodbye(id, reason, until).unwrap_or_else(|| self.part(id, reason, until))
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
        Some(self.pipes.get(id.0).filter(|entry| entry.leave.is_none())?.state)
    }

    /// Why the peer or a failure ended the pipe.
    #[must_use]
    pub fn reason(&self, id: PipeId) -> Option<&CloseReason> {
        self.pipes.get(id.0)?.reason.as_ref()
    }

    /// Why a pipe has no connection at present, or for good.
    #[must_use]
    pub fn failure(&self, id: PipeId) -> Option<&CloseReason> {
        let entry = self.pipes.get(id.0)?;
        let cut = || entry.reliable.as_ref()?.failure.as_ref();
        entry.reason.as_ref().or_else(|| entry.redial.as_ref()?.failure.as_ref()).or_else(cut)
    }

    /// What [`Engine::failure`] was when the pipe became `DISCONNECTED`: to be asked once for each
    /// such event, in their order. Then as it is.
    pub fn take_failure(&mut self, id: PipeId) -> Option<CloseReason> {
        let redial = self.pipes.get_mut(id.0)?.redial.as_mut();
        redial.and_then(|it| it.failures.pop_front()).or_else(|| self.failure(id).cloned())
    }

    /// Which connection a pipe has at present; `None` while it has none.
    #[must_use]
    pub fn identity(&mut self, id: PipeId) -> Option<Identity> {
        self.connection(id)?.terms().identity
    }

    /// The largest message that both ends of a pipe's connection take; `None` while it has none.
    #[must_use]
    pub fn message_bytes_max(&mut self, id: PipeId) -> Option<u64> {
        Some(self.connection(id)?.message_bytes_max())
    }

    /// Counters of a pipe.
    #[must_use]
    pub fn stats(&mut self, id: PipeId) -> Option<PipeStats> {
        let entry = self.pipes.get(id.0)?;
        let mut stats =
            PipeStats { wakes: entry.wakes, qos: entry.qos_stats(), ..Default::default() };
        if let Phase::Connected(connection) = &entry.phase {
            stats.link = connection.stats();
        }
        if let Some(redial) = &entry.redial {
            stats.link.add(&redial.past());
            stats.reconnects = redial.connects.saturating_sub(1);
            stats.messages_lost = redial.messages_lost;
        }
        if let Some(reliable) = &entry.reliable {
            stats.link.add(&reliable.past);
            stats.reconnects = reliable.connects.saturating_sub(1);
            stats.messages_unconfirmed = reliable.session.unconfirmed() as u64;
            stats.deliveries_failed = reliable.failed;
            stats.duplicates = reliable.duplicates;
            stats.resends_expired = reliable.expired;
            stats.link.messages_expired += reliable.backlog.stale;
        }
        Some(stats)
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
        for id in self.leaving.clone() {
            self.leave(id);
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
        let reactor = self.descriptors.reactor();
        match &mut entry.phase {
            Phase::Handshaking { handshake, .. } => {
                handshake.register(reactor, Role::Control.token(id.0))?;
                self.advance(id);
            }
            Phase::Connected(connection) => {
                connection.register(reactor, Role::Bell.token(id.0))?;
                self.handle_answer(id)?;
                let Some(entry) = self.pipes.get_mut(id.0) else { return Ok(()) };
                // Somebody may have been waiting for it since before it was connected.
                if entry.heat() {
                    self.hot.push(id);
                }
                self.begin(id);
                self.start_heartbeat(id);
                self.apply(id, ConnectionInput::Established);
                self.go_on(id);
                self.converse(id);
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
        let connection = match handshake.advance(self.descriptors.reactor()) {
            Ok(None) if handshake.resuming().is_some() => return self.resume_dialer(id),
            Ok(None) => {
                if let Some(at) = handshake.next_time() {
                    self.timers.set(Timer::Advance(id), at);
                }
                return self.ask(id);
            }
            Ok(Some(connection)) => connection,
            Err(error) => return self.handshake_failed(id, origin, error),
        };
        let (mut id, returns_to) = (id, entry.returns_to);
        if let Origin::Accepted { listener } = origin {
            self.handshake_over(listener, id);
            if let Some(known) = returns_to {
                self.pipes.remove(id.0);
                id = known;
                self.apply(id, ConnectionInput::RetryStarted);
            } else {
                self.remember_session(id, listener);
                self.pending.push(Event::Accepted { listener, pipe: id });
            }
        }
        self.put_through(id, connection);
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
            Origin::Dialed => self.attempt_failed(id, &error),
            Origin::Accepted { listener } => {
                if let Some(entry) = self.drop_pipe(id) {
                    self.stay_away(entry.returns_to);
                }
                self.pending.push(Event::Warning(listener, error));
            }
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
        self.note_work(id);
    }

    /// Ends the pipe if its peer has, or has broken the rules. What came before counts.
    fn handle_outcome(&mut self, id: PipeId, outcome: Result<Option<CloseReason>, Error>) {
        self.converse(id);
        match outcome {
            Ok(ended) => self.ended_by_peer(id, ended),
            Err(error) => self.fail(id, &error),
        }
    }

    fn ended_by_peer(&mut self, id: PipeId, ended: Option<CloseReason>) {
        match ended {
            None => {}
            Some(reason) if reason.code == Some(Code::ConnectionLost) => {
                self.cut(id, reason);
            }
            Some(reason) => {
                self.answer_close(id);
                self.end(id, ConnectionInput::ClosedByPeer, reason);
            }
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
            handshake.deregister(self.descriptors.reactor());
            entry.phase = Phase::Over;
        }
        entry.reason = Some(reason);
        entry.give_up_sending();
        self.apply(id, input);
        self.tell(id, Event::Closed(id));
    }

    fn apply(&mut self, id: PipeId, input: ConnectionInput) {
        let Some(entry) = self.pipes.get_mut(id.0) else { return };
        if let Some(state) = entry.state.next(input) {
            entry.state = state;
            if let (ConnectionState::Disconnected, Some(redial)) = (state, &mut entry.redial) {
                redial.disconnected();
            }
            self.tell(id, Event::State(id, state));
        }
    }

    /// Reports what happened to a pipe, unless its owner has closed it.
    fn tell(&mut self, id: PipeId, event: Event) {
        if self.pipes.get(id.0).is_some_and(|entry| entry.leave.is_none()) {
            self.pending.push(event);
        }
    }

    fn drop_pipe(&mut self, id: PipeId) -> Option<PipeEntry> {
        let mut entry = self.pipes.remove(id.0)?;
        let reactor = self.descriptors.reactor();
        match &mut entry.phase {
            Phase::Handshaking { handshake, origin } => {
                handshake.deregister(reactor);
                if let Origin::Accepted { listener } = *origin {
                    self.handshake_over(listener, id);
                }
            }
            Phase::Connected(connection) => connection.deregister(reactor),
            Phase::Over => {}
        }
        if let Some(reliable) = &entry.reliable {
            self.forget_session(reliable);
        }
        self.timers.cancel_pipe(id);
        self.hot.retain(|&hot| hot != id);
        self.pending.retain(|event| event.pipe() != Some(id));
        Some(entry)
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

/// Whether an attempt failed only because it came too early.
fn is_nobody_there(error: &Error) -> bool {
    matches!(error.code(), Code::NotFound | Code::ConnectionRefused)
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

#[cfg(test)]
mod tests;
