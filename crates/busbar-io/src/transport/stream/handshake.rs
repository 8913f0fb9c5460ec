//! Setting up a stream: a socket that connects, TLS if that was asked for, then HELLO one way and
//! HELLO or REJECT back.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use busbar_proto::frame::{Decoder, Kind};
use busbar_proto::session::Resume;
use busbar_proto::{Agreement, Code, Error, Hello, Limits, negotiate};

use crate::connection::{Connection, Handshake, Identity, Terms};
use crate::options::{ListenOptions, PipeOptions};
use crate::os::os_error;
use crate::peer::{Peer, Process};
use crate::reactor::{Reactor, Token};
use crate::transport::START_IT;
use crate::transport::foreign::Beginning;
use crate::transport::introduction::{self, Asking};

use super::link::StreamConnection;
use super::race::Race;
use super::socket::Socket;
use super::tls::Tls;
use super::wire::Wire;

/// The dialing end.
pub(in crate::transport) struct Dialing {
    stage: Stage,
    hello: Hello,
    options: PipeOptions,
    /// What is spoken on a socket once it is connected, unless it is plain.
    tls: Option<Tls>,
    /// What the engine calls it, once it does.
    token: Option<Token>,
}

/// How far it has come.
enum Stage {
    /// Waiting for host names to be looked up.
    Resolving(Box<dyn Resolution>),
    /// Waiting for the first of the host's addresses to answer.
    Connecting(Race),
    /// Waiting for the handshake of TLS, or for the first look at a socket that is plain.
    Securing(Wire),
    /// Waiting for the listener's HELLO.
    Introducing(Introduction),
    Over,
}

/// Addresses that are being looked up elsewhere.
pub(in crate::transport) trait Resolution: Send {
    /// The addresses, once they are known: at least one.
    fn poll(&mut self) -> Option<Result<VecDeque<SocketAddr>, Error>>;
}

impl Dialing {
    /// Introduces this end on a connected socket.
    pub(in crate::transport) fn over(
        socket: Socket,
        options: PipeOptions,
        identity: Identity,
    ) -> Result<Self, Error> {
        let mut dialing = Self::new(Stage::Over, options, identity, None)?;
        socket.set_up(&dialing.options)?;
        let awaits_reactor = socket.awaits_reactor();
        let wire = Wire::plain(socket);
        if awaits_reactor {
            dialing.stage = Stage::Securing(wire);
        } else {
            dialing.introduce(wire)?;
        }
        Ok(dialing)
    }

    /// Connects to the first address that answers, and speaks TLS there if it is given.
    pub(in crate::transport) fn to(
        addresses: VecDeque<SocketAddr>,
        options: PipeOptions,
        identity: Identity,
        tls: Option<Tls>,
    ) -> Result<Self, Error> {
        Self::new(Stage::Connecting(Race::new(addresses)), options, identity, tls)
    }

    /// As [`Dialing::to`], once the addresses are known.
    pub(in crate::transport) fn after(
        resolution: Box<dyn Resolution>,
        options: PipeOptions,
        identity: Identity,
        tls: Option<Tls>,
    ) -> Result<Self, Error> {
        Self::new(Stage::Resolving(resolution), options, identity, tls)
    }

    fn new(
        stage: Stage,
        options: PipeOptions,
        identity: Identity,
        tls: Option<Tls>,
    ) -> Result<Self, Error> {
        let hello = introduction::hello(identity, &options)?;
        Ok(Self { stage, hello, options, tls, token: None })
    }

    fn introduce(&mut self, wire: Wire) -> Result<(), Error> {
        let mut introduction = Introduction::new(wire)?;
        match introduction.send(&introduction::hello_frame(&self.hello)?) {
            // The listener has hung up already, perhaps saying why: `advance` reads that.
            Err(error) if error.code() == Code::ConnectionLost => {}
            sent => sent?,
        }
        self.stage = Stage::Introducing(introduction);
        Ok(())
    }

    fn socket(&mut self) -> Option<&mut Socket> {
        match &mut self.stage {
            Stage::Resolving(_) | Stage::Connecting(_) | Stage::Over => None,
            Stage::Securing(wire) => Some(&mut wire.socket),
            Stage::Introducing(introduction) => Some(&mut introduction.wire.socket),
        }
    }

    /// Takes one step; `false`: not before something happens.
    fn step(&mut self, reactor: &Reactor) -> Result<bool, Error> {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Resolving(mut resolution) => {
                let Some(addresses) = resolution.poll() else {
                    self.stage = Stage::Resolving(resolution);
                    return Ok(false);
                };
                self.stage = Stage::Connecting(Race::new(addresses?));
                Ok(true)
            }
            Stage::Connecting(mut race) => {
                let unwatched = || Error::new(Code::Io, "a handshake that nobody watches");
                let token = self.token.ok_or_else(unwatched)?;
                let Some(socket) = race.advance(reactor, token, Instant::now())? else {
                    self.stage = Stage::Connecting(race);
                    return Ok(false);
                };
                socket.set_up(&self.options)?;
                match self.tls.take() {
                    None => self.introduce(Wire::plain(socket))?,
                    Some(tls) => self.stage = Stage::Securing(Wire::secure(socket, tls)),
                }
                Ok(true)
            }
            Stage::Securing(mut wire) => {
                let is_ready = !wire.socket.awaits_reactor();
                if is_ready && wire.shake_hands().map_err(introduction::unanswered)? {
                    self.introduce(wire)?;
                } else {
                    self.stage = Stage::Securing(wire);
                }
                Ok(false)
            }
            stage => {
                self.stage = stage;
                Ok(false)
            }
        }
    }
}

impl Handshake for Dialing {
    fn register(&mut self, reactor: &Reactor, control: Token) -> Result<(), Error> {
        self.token = Some(control);
        self.socket().map_or(Ok(()), |socket| socket.register(reactor, control))
    }

    fn deregister(&mut self, reactor: &Reactor) {
        match &mut self.stage {
            Stage::Connecting(race) => race.deregister(reactor),
            _ => drop(self.socket().map(|socket| socket.deregister(reactor))),
        }
    }

    fn next_time(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Connecting(race) => race.next_time(),
            _ => None,
        }
    }

    fn advance(&mut self, reactor: &Reactor) -> Result<Option<Box<dyn Connection>>, Error> {
        while self.step(reactor)? {}
        let Stage::Introducing(introduction) = &mut self.stage else { return Ok(None) };
        let theirs = match introduction.read_frame().map_err(introduction::unanswered)? {
            None => return Ok(None),
            Some((Kind::Hello, payload)) => Hello::decode(&payload)?,
            Some((Kind::Reject, payload)) => return Err(introduction::rejected(&payload)?),
            Some((kind, _)) => return Err(introduction::unexpected(kind)),
        };
        let agreed = negotiate(&self.hello, &theirs)?;
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        let Stage::Introducing(introduction) = stage else { return Ok(None) };
        Ok(Some(introduction.join(&agreed, &self.hello, theirs.resume, &self.options)))
    }
}

/// The listening end, waiting for a dialer's HELLO.
pub(in crate::transport) struct Answering {
    introduction: Option<Introduction>,
    options: PipeOptions,
    asking: Asking,
    /// The dialer's HELLO, while it is not answered.
    theirs: Option<Hello>,
    resuming: Resuming,
}

/// Whether the session that a dialer has named is known to this end.
enum Resuming {
    NotAsked,
    Asked,
    Answered(Result<Resume, Error>),
}

impl Answering {
    /// Waits on an accepted socket, unless `admit` refuses the peer, who is then told.
    pub(in crate::transport) fn new(
        socket: Socket,
        tls: Option<Tls>,
        options: &ListenOptions,
        admit: impl FnOnce(&Socket, Option<Process>) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        socket.set_up(&options.pipe)?;
        let wire = match tls {
            None => Wire::plain(socket),
            Some(tls) => Wire::secure(socket, tls),
        };
        let mut introduction = Introduction::new(wire)?;
        if let Err(error) = admit(&introduction.wire.socket, introduction.peer.process) {
            introduction.reject(&error);
            return Err(error);
        }
        let asking = Asking::new(options.authorize);
        let options = options.pipe.clone();
        let resuming = Resuming::NotAsked;
        Ok(Self { introduction: Some(introduction), options, asking, theirs: None, resuming })
    }

    /// Goes on until the dialer can be answered, and answers; `None`: not yet.
    fn answer(
        &mut self,
        introduction: &mut Introduction,
    ) -> Result<Option<(Agreement, Hello)>, Error> {
        if introduction.wire.socket.awaits_reactor() {
            return Ok(None);
        }
        if self.theirs.is_none() {
            if !introduction.wire.shake_hands()? {
                return Ok(None);
            }
            self.theirs = match introduction.read_frame()? {
                None => return Ok(None),
                Some((Kind::Hello, payload)) => Some(Hello::decode(&payload)?),
                Some((kind, _)) => return Err(introduction::unexpected(kind)),
            };
        }
        let Some(theirs) = &self.theirs else { return Ok(None) };
        let mut ours = introduction::hello(introduction::identity_of(theirs), &self.options)?;
        if let Some(options) = &self.options.reliable {
            // What it says of the session is known later; that there is one, now.
            ours = ours.with_resume(Resume::prospect(options));
        }
        let agreed = negotiate(&ours, theirs)?;
        introduction.peer = introduction.wire.peer()?;
        if !self.asking.admits(&introduction.peer)? {
            return Ok(None);
        }
        if ours.resume.is_some() {
            match &self.resuming {
                Resuming::NotAsked | Resuming::Asked => {
                    self.resuming = Resuming::Asked;
                    return Ok(None);
                }
                Resuming::Answered(answer) => ours.resume = Some(answer.clone()?),
            }
        }
        introduction.send(&introduction::hello_frame(&ours)?)?;
        Ok(Some((agreed, ours)))
    }
}

impl Handshake for Answering {
    fn register(&mut self, reactor: &Reactor, control: Token) -> Result<(), Error> {
        let Some(introduction) = &mut self.introduction else { return Ok(()) };
        introduction.wire.socket.register(reactor, control)
    }

    fn deregister(&mut self, reactor: &Reactor) {
        if let Some(introduction) = &mut self.introduction {
            introduction.wire.socket.deregister(reactor);
        }
    }

    fn advance(&mut self, _: &Reactor) -> Result<Option<Box<dyn Connection>>, Error> {
        let Some(mut introduction) = self.introduction.take() else { return Ok(None) };
        let answered = self.answer(&mut introduction);
        if let Ok(Some((agreed, hello))) = &answered {
            let resume = self.theirs.take().and_then(|theirs| theirs.resume);
            return Ok(Some(introduction.join(agreed, hello, resume, &self.options)));
        }
        if let Err(error) = &answered {
            introduction.reject(error);
        }
        // Also for `deregister`.
        self.introduction = Some(introduction);
        answered.map(|_| None)
    }

    fn asking(&self) -> Option<&Peer> {
        self.asking.peer()
    }

    fn admit(&mut self, verdict: Result<(), Error>) {
        self.asking.settle(verdict);
    }

    fn resuming(&self) -> Option<(Identity, &Resume)> {
        let theirs = self.theirs.as_ref().filter(|_| matches!(self.resuming, Resuming::Asked))?;
        Some((introduction::identity_of(theirs), theirs.resume.as_ref()?))
    }

    fn resume(&mut self, answer: Result<Resume, Error>) {
        self.resuming = Resuming::Answered(answer);
    }
}

/// A connection while the ends introduce themselves.
struct Introduction {
    wire: Wire,
    peer: Peer,
    decoder: Decoder,
    beginning: Beginning,
    /// Bytes behind the HELLO.
    early: Vec<u8>,
}

impl Introduction {
    fn new(wire: Wire) -> Result<Self, Error> {
        let peer = wire.peer()?;
        let (decoder, beginning) = (Decoder::new(Limits::CONTROL), Beginning::default());
        Ok(Self { wire, peer, decoder, beginning, early: Vec::new() })
    }

    /// Sends a frame. A socket that has carried nothing yet has room for it.
    fn send(&mut self, wire: &[u8]) -> Result<(), Error> {
        match self.wire.write(wire) {
            Ok(sent) if sent == wire.len() => Ok(()),
            Ok(_) => Err(Error::new(Code::Io, "a new socket has no room for HELLO")),
            Err(error) => Err(lost("writing to a new connection", error)),
        }
    }

    /// Turns the peer away; it may be gone already.
    fn reject(&mut self, error: &Error) {
        self.wire.refuse(&introduction::reject_frame(error));
    }

    /// The next frame, once it is complete.
    fn read_frame(&mut self) -> Result<Option<(Kind, Vec<u8>)>, Error> {
        let mut bytes = [0; Hello::BYTES_MAX];
        loop {
            let len = match self.wire.read(&mut bytes) {
                Ok(0) => return Err(introduction::left_early()),
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(lost("reading from a new connection", error)),
            };
            if self.wire.is_met_with_tls(&bytes[..len]) {
                return Err(super::tls::not_tls());
            }
            let mut input = &bytes[..len];
            self.beginning.note(input);
            let decoded = self.decoder.decode(&mut input);
            if let Some(frame) = decoded.map_err(|breach| self.beginning.judge(breach))? {
                let complete = (frame.header.kind, frame.payload.to_vec());
                self.early = input.to_vec();
                return Ok(Some(complete));
            }
        }
    }

    fn join(
        self,
        agreed: &Agreement,
        hello: &Hello,
        resume: Option<Resume>,
        options: &PipeOptions,
    ) -> Box<dyn Connection> {
        let Self { wire, peer, early, .. } = self;
        let terms = Terms::new(agreed, hello);
        Box::new(StreamConnection::new(wire, agreed.limits, terms, resume, options, peer, &early))
    }
}

/// What kept a connection from being made, and what to do about it.
pub(super) fn connect_error(to: &dyn std::fmt::Display, error: io::Error) -> Error {
    let code = match error.kind() {
        io::ErrorKind::ConnectionRefused => Code::ConnectionRefused,
        io::ErrorKind::TimedOut => Code::TimedOut,
        io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkDown => Code::Unreachable,
        io::ErrorKind::AddrNotAvailable => Code::AddrNotAvailable,
        // Such as that descriptors are short.
        _ => return os_error(&format!("connecting to {to}"), error),
    };
    let why = match code {
        Code::ConnectionRefused => format!("nobody listens there; {START_IT}"),
        _ => error.to_string(),
    };
    Error::new(code, format!("connecting to {to}: {why}")).with_source(error)
}

fn lost(what: &str, error: io::Error) -> Error {
    if let Some(breach) = error.get_ref().and_then(|error| error.downcast_ref::<Error>()) {
        return breach.clone();
    }
    match error.kind() {
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => introduction::left_early().with_source(error),
        _ => os_error(what, error),
    }
}
