//! Setting up a stream: a socket that connects, then HELLO one way and HELLO or REJECT back.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use busbar_proto::frame::{Decoder, Kind};
use busbar_proto::{Agreement, Code, Error, Hello, Limits, negotiate};
use mio::{Registry, Token};

use crate::connection::{Connection, Handshake, Identity, Peer, Terms};
use crate::options::PipeOptions;
use crate::os::os_error;
use crate::transport::introduction;

use super::link::StreamConnection;
use super::socket::Socket;

/// The dialing end.
pub(in crate::transport) struct Dialing {
    stage: Stage,
    hello: Hello,
    options: PipeOptions,
    token: Option<Token>,
}

/// How far it has come.
enum Stage {
    /// Waiting for host names to be looked up.
    Resolving(Box<dyn Resolution>),
    /// Waiting for the socket; the other addresses of the host are tried after this one.
    Connecting {
        socket: Socket,
        others: VecDeque<SocketAddr>,
    },
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
        let mut dialing = Self::new(Stage::Over, options, identity)?;
        dialing.introduce(socket)?;
        Ok(dialing)
    }

    /// Connects to the first address that answers.
    pub(in crate::transport) fn to(
        addresses: VecDeque<SocketAddr>,
        options: PipeOptions,
        identity: Identity,
    ) -> Result<Self, Error> {
        let mut dialing = Self::new(Stage::Over, options, identity)?;
        dialing.connect(addresses, None)?;
        Ok(dialing)
    }

    /// As [`Dialing::to`], once the addresses are known.
    pub(in crate::transport) fn after(
        resolution: Box<dyn Resolution>,
        options: PipeOptions,
        identity: Identity,
    ) -> Result<Self, Error> {
        Self::new(Stage::Resolving(resolution), options, identity)
    }

    fn new(stage: Stage, options: PipeOptions, identity: Identity) -> Result<Self, Error> {
        let hello = introduction::hello(identity, &options)?;
        Ok(Self { stage, hello, options, token: None })
    }

    /// Begins to connect to the next of `addresses`; with none left, `failure` is what came of it.
    fn connect(
        &mut self,
        mut addresses: VecDeque<SocketAddr>,
        mut failure: Option<Error>,
    ) -> Result<(), Error> {
        while let Some(address) = addresses.pop_front() {
            match mio::net::TcpStream::connect(address) {
                Ok(stream) => {
                    let socket = Socket::Tcp(stream);
                    self.stage = Stage::Connecting { socket, others: addresses };
                    return Ok(());
                }
                Err(error) => failure = Some(connect_error(&address, error)),
            }
        }
        Err(failure.unwrap_or_else(|| Error::new(Code::NotFound, "the host has no address")))
    }

    fn introduce(&mut self, socket: Socket) -> Result<(), Error> {
        let introduction = Introduction::new(socket, &self.options)?;
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
            Stage::Resolving(_) | Stage::Over => None,
            Stage::Connecting { socket, .. } => Some(socket),
            Stage::Introducing(introduction) => Some(&mut introduction.socket),
        }
    }

    /// Takes one step; `false`: not before something happens.
    fn step(&mut self, registry: &Registry) -> Result<bool, Error> {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Resolving(mut resolution) => {
                let Some(addresses) = resolution.poll() else {
                    self.stage = Stage::Resolving(resolution);
                    return Ok(false);
                };
                self.connect(addresses?, None)?;
                self.watch(registry)?;
                Ok(false)
            }
            Stage::Connecting { mut socket, others } => {
                let failure = socket.take_error();
                match failure.and_then(|failure| failure.map_or(Ok(()), Err)) {
                    Ok(()) if socket.is_connected() => {
                        if socket.is_its_own_peer() {
                            return Err(nobody_but_itself());
                        }
                        self.introduce(socket)?;
                        Ok(true)
                    }
                    Ok(()) => {
                        self.stage = Stage::Connecting { socket, others };
                        Ok(false)
                    }
                    Err(error) => {
                        socket.deregister(registry);
                        self.connect(others, Some(connect_error(&"the listener", error)))?;
                        self.watch(registry)?;
                        Ok(false)
                    }
                }
            }
            stage => {
                self.stage = stage;
                Ok(false)
            }
        }
    }

    fn watch(&mut self, registry: &Registry) -> Result<(), Error> {
        let Some(token) = self.token else { return Ok(()) };
        self.socket().map_or(Ok(()), |socket| socket.register(registry, token))
    }
}

impl Handshake for Dialing {
    fn register(&mut self, registry: &Registry, control: Token) -> Result<(), Error> {
        self.token = Some(control);
        self.watch(registry)
    }

    fn deregister(&mut self, registry: &Registry) {
        if let Some(socket) = self.socket() {
            socket.deregister(registry);
        }
    }

    fn advance(&mut self, registry: &Registry) -> Result<Option<Box<dyn Connection>>, Error> {
        while self.step(registry)? {}
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
        Ok(Some(introduction.join(&agreed, &self.hello, &self.options)))
    }
}

/// The listening end, waiting for a dialer's HELLO.
pub(in crate::transport) struct Answering {
    introduction: Option<Introduction>,
    options: PipeOptions,
}

impl Answering {
    /// Waits on an accepted socket, unless `admit` refuses the peer, who is then told.
    pub(in crate::transport) fn new(
        socket: Socket,
        options: PipeOptions,
        admit: impl FnOnce(Option<Peer>) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let introduction = Introduction::new(socket, &options)?;
        if let Err(error) = admit(introduction.peer) {
            introduction.reject(&error);
            return Err(error);
        }
        Ok(Self { introduction: Some(introduction), options })
    }

    fn answer(
        introduction: &Introduction,
        options: &PipeOptions,
        kind: Kind,
        payload: &[u8],
    ) -> Result<(Agreement, Hello), Error> {
        if kind != Kind::Hello {
            return Err(introduction::unexpected(kind));
        }
        let theirs = Hello::decode(payload)?;
        let ours = introduction::hello(introduction::identity_of(&theirs), options)?;
        let agreed = negotiate(&ours, &theirs)?;
        introduction.send(&introduction::hello_frame(&ours)?)?;
        Ok((agreed, ours))
    }
}

impl Handshake for Answering {
    fn register(&mut self, registry: &Registry, control: Token) -> Result<(), Error> {
        let Some(introduction) = &mut self.introduction else { return Ok(()) };
        introduction.socket.register(registry, control)
    }

    fn deregister(&mut self, registry: &Registry) {
        if let Some(introduction) = &mut self.introduction {
            introduction.socket.deregister(registry);
        }
    }

    fn advance(&mut self, _: &Registry) -> Result<Option<Box<dyn Connection>>, Error> {
        let Some(mut introduction) = self.introduction.take() else { return Ok(None) };
        let agreed = match introduction.read_frame() {
            Ok(None) => {
                self.introduction = Some(introduction);
                return Ok(None);
            }
            Ok(Some((kind, payload))) => Self::answer(&introduction, &self.options, kind, &payload),
            Err(error) => Err(error),
        };
        match agreed {
            Ok((agreed, hello)) => Ok(Some(introduction.join(&agreed, &hello, &self.options))),
            Err(error) => {
                introduction.reject(&error);
                // For `deregister`.
                self.introduction = Some(introduction);
                Err(error)
            }
        }
    }
}

/// A connected socket while the ends introduce themselves.
struct Introduction {
    socket: Socket,
    peer: Option<Peer>,
    decoder: Decoder,
    /// Bytes behind the HELLO.
    early: Vec<u8>,
}

impl Introduction {
    fn new(socket: Socket, options: &PipeOptions) -> Result<Self, Error> {
        socket.set_up(options)?;
        let peer = socket.peer()?;
        Ok(Self { socket, peer, decoder: Decoder::new(Limits::CONTROL), early: Vec::new() })
    }

    /// Sends a frame. A socket that has carried nothing yet has room for it.
    fn send(&self, wire: &[u8]) -> Result<(), Error> {
        match self.socket.write(wire) {
            Ok(sent) if sent == wire.len() => Ok(()),
            Ok(_) => Err(Error::new(Code::Io, "a new socket has no room for HELLO")),
            Err(error) => Err(lost("writing to a new connection", error)),
        }
    }

    /// Turns the peer away; it may be gone already.
    fn reject(&self, error: &Error) {
        let _ = self.send(&introduction::reject_frame(error));
        self.socket.shut_down_writing();
    }

    /// The next frame, once it is complete.
    fn read_frame(&mut self) -> Result<Option<(Kind, Vec<u8>)>, Error> {
        let mut bytes = [0; Hello::BYTES_MAX];
        loop {
            let len = match self.socket.read(&mut bytes) {
                Ok(0) => return Err(introduction::left_early()),
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(lost("reading from a new connection", error)),
            };
            let mut input = &bytes[..len];
            if let Some(frame) = self.decoder.decode(&mut input)? {
                let complete = (frame.header.kind, frame.payload.to_vec());
                self.early = input.to_vec();
                return Ok(Some(complete));
            }
        }
    }

    fn join(self, agreed: &Agreement, hello: &Hello, options: &PipeOptions) -> Box<dyn Connection> {
        let Self { socket, peer, early, .. } = self;
        let terms = Terms::new(agreed, hello);
        Box::new(StreamConnection::new(socket, agreed.limits, terms, options, peer, &early))
    }
}

/// What comes of a port that nobody listens at being lent to the very socket that connects to it.
fn nobody_but_itself() -> Error {
    let message = "connecting to the listener: nobody listens there, the socket met itself";
    Error::new(Code::ConnectionRefused, message)
}

fn connect_error(to: &dyn std::fmt::Display, error: io::Error) -> Error {
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
    Error::new(code, format!("connecting to {to}: {error}")).with_source(error)
}

fn lost(what: &str, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            introduction::left_early().with_source(error)
        }
        _ => os_error(what, error),
    }
}
