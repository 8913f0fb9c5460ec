//! Setting up a connection: HELLO and descriptors one way, HELLO and descriptors back.
//!
//! ```text
//! dialer    HELLO + {segment, bell} ─────────────→  listener   checks user, version, sizes, seals
//!           maps, connected ←──── HELLO + {segment, bell}      maps, connected
//!                                 or REJECT {code, text}
//! ```
//!
//! The listener answers only once it has mapped the dialer's segment, so that its HELLO is the
//! acknowledgement that `dial` waits for.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::task::Waker;

use busbar_proto::frame::{Decoder, Kind};
use busbar_proto::{Code, Error, Hello, Limits, ShmParameters, Trust as WireTrust, negotiate};
use busbar_shm::{Channel, Geometry, PeerSegment, Segment, Settings};
use rustix::event::EventfdFlags;

use crate::connection::{Connection, Handshake, Identity, Terms};
use crate::options::{ListenOptions, PipeOptions, Trust};
use crate::os::os_error;
use crate::peer::Peer;
use crate::reactor::{Reactor, Token, Watch};
use crate::transport::foreign::Beginning;
use crate::transport::introduction::{self, Asking};
use crate::transport::shm::control::Control;
use crate::transport::shm::descriptors::{self, Received};
use crate::transport::shm::from_shm;
use crate::transport::shm::link::ShmConnection;

/// Layout of segments, docs/formats/segment.md.
const SEGMENT_VERSION: u16 = 1;

/// Chunks that the peer may have on loan to us at once.
const RELEASE_ENTRIES: u32 = 4096;

/// The dialing end, waiting for the listener's HELLO.
pub(super) struct Dialing {
    introduction: Introduction,
    own: Option<Own>,
    hello: Hello,
    settings: Settings,
    waker: Waker,
}

impl Dialing {
    /// Introduces this end on a connected socket.
    pub(super) fn begin(
        stream: UnixStream,
        options: PipeOptions,
        identity: Identity,
        waker: Waker,
    ) -> Result<Self, Error> {
        let introduction = Introduction::new(stream)?;
        let own = Own::create(&options)?;
        let hello = own.hello(identity, &options)?;
        match introduction.send_hello(&hello, &own) {
            // The listener has hung up already, perhaps saying why: `advance` reads that.
            Err(error) if error.code() == Code::ConnectionLost => {}
            sent => sent?,
        }
        let settings = settings(&options);
        Ok(Self { introduction, own: Some(own), hello, settings, waker })
    }
}

impl Handshake for Dialing {
    fn register(&mut self, reactor: &Reactor, control: Token) -> Result<(), Error> {
        self.introduction.register(reactor, control)
    }

    fn deregister(&mut self, reactor: &Reactor) {
        self.introduction.deregister(reactor);
    }

    fn advance(&mut self, _: &Reactor) -> Result<Option<Box<dyn Connection>>, Error> {
        let frame = self.introduction.read_frame().map_err(introduction::unanswered)?;
        let theirs = match frame {
            None => return Ok(None),
            Some((Kind::Hello, payload)) => Hello::decode(&payload)?,
            Some((Kind::Reject, payload)) => return Err(introduction::rejected(&payload)?),
            Some((kind, _)) => return Err(introduction::unexpected(kind)),
        };
        let own = self.own.take().expect("invariant: a handshake ends once");
        let connection =
            self.introduction.connect(own, &self.hello, &theirs, self.settings, &self.waker)?;
        Ok(Some(connection))
    }
}

/// The listening end, waiting for a dialer's HELLO.
pub(super) struct Answering {
    introduction: Introduction,
    options: PipeOptions,
    waker: Waker,
    asking: Asking,
    /// The dialer's HELLO, while it is not answered.
    theirs: Option<Hello>,
}

impl Answering {
    pub(super) fn new(
        stream: UnixStream,
        options: &ListenOptions,
        waker: Waker,
    ) -> Result<Self, Error> {
        stream
            .set_nonblocking(true)
            .map_err(|error| os_error("making a control socket non-blocking", error))?;
        let peer =
            descriptors::peer_of_same_user(&stream).inspect_err(|error| reject(&stream, error))?;
        let introduction = Introduction::of(stream, peer);
        let asking = Asking::new(options.authorize);
        Ok(Self { introduction, options: options.pipe.clone(), waker, asking, theirs: None })
    }

    /// Goes on until the dialer can be answered, and answers; `None`: not yet.
    fn answer(&mut self) -> Result<Option<Box<dyn Connection>>, Error> {
        if self.theirs.is_none() {
            self.theirs = match self.introduction.read_frame()? {
                None => return Ok(None),
                Some((Kind::Hello, payload)) => Some(Hello::decode(&payload)?),
                Some((kind, _)) => return Err(introduction::unexpected(kind)),
            };
        }
        if !self.asking.admits(&self.introduction.peer)? {
            return Ok(None);
        }
        let Some(theirs) = self.theirs.take() else { return Ok(None) };
        self.join(&theirs).map(Some)
    }

    fn join(&mut self, theirs: &Hello) -> Result<Box<dyn Connection>, Error> {
        let own = Own::create(&self.options)?;
        let hello = own.hello(introduction::identity_of(theirs), &self.options)?;
        let introduction = &mut self.introduction;
        // The answer goes out before our descriptors move into the connection, but after all
        // checks: what `connect` checks, `accepts` checks first.
        let peer_segment = introduction.accepts(&hello, theirs)?;
        introduction.send_hello(&hello, &own)?;
        introduction.join(own, peer_segment, &hello, theirs, settings(&self.options), &self.waker)
    }
}

impl Handshake for Answering {
    fn register(&mut self, reactor: &Reactor, control: Token) -> Result<(), Error> {
        self.introduction.register(reactor, control)
    }

    fn deregister(&mut self, reactor: &Reactor) {
        self.introduction.deregister(reactor);
    }

    fn advance(&mut self, _: &Reactor) -> Result<Option<Box<dyn Connection>>, Error> {
        let answer = self.answer();
        if let (Err(error), Some(stream)) = (&answer, &self.introduction.stream) {
            reject(stream, error);
        }
        answer
    }

    fn asking(&self) -> Option<&Peer> {
        self.asking.peer()
    }

    fn admit(&mut self, verdict: Result<(), Error>) {
        self.asking.settle(verdict);
    }
}

/// This end's share of a connection.
struct Own {
    segment: Segment,
    file: OwnedFd,
    bell: OwnedFd,
}

impl Own {
    fn create(options: &PipeOptions) -> Result<Self, Error> {
        let geometry = Geometry {
            ring_bytes: options.ring_bytes,
            release_entries: RELEASE_ENTRIES,
            slab_bytes: options.slab_bytes,
        };
        let (segment, file) = Segment::create(geometry).map_err(from_shm)?;
        let bell = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| os_error("creating an eventfd", errno))?;
        Ok(Self { segment, file, bell })
    }

    fn hello(&self, identity: Identity, options: &PipeOptions) -> Result<Hello, Error> {
        let geometry = self.segment.geometry();
        let mut hello = introduction::hello(identity, options)?;
        hello.shm = Some(ShmParameters {
            segment_version: SEGMENT_VERSION,
            trust: match options.trust {
                Trust::SameUser => WireTrust::SameUser,
                Trust::Hostile => WireTrust::Hostile,
            },
            release_entries: geometry.release_entries,
            ring_bytes: geometry.ring_bytes,
            slab_bytes: geometry.slab_bytes,
            page_bytes: u32::try_from(rustix::param::page_size())
                .expect("invariant: pages are far below 4 GiB"),
        });
        Ok(hello)
    }
}

/// The control socket while the ends introduce themselves.
struct Introduction {
    /// `None` once it has become the connection's.
    stream: Option<UnixStream>,
    decoder: Decoder,
    beginning: Beginning,
    /// Bytes behind the HELLO.
    rest: Vec<u8>,
    fds: Vec<OwnedFd>,
    peer: Peer,
}

impl Introduction {
    fn new(stream: UnixStream) -> Result<Self, Error> {
        let peer = descriptors::peer_of_same_user(&stream)?;
        Ok(Self::of(stream, peer))
    }

    fn of(stream: UnixStream, peer: Peer) -> Self {
        let decoder = Decoder::new(Limits::CONTROL);
        let (beginning, rest, fds) = (Beginning::default(), Vec::new(), Vec::new());
        Self { stream: Some(stream), decoder, beginning, rest, fds, peer }
    }

    fn register(&self, reactor: &Reactor, control: Token) -> Result<(), Error> {
        let Some(stream) = &self.stream else { return Ok(()) };
        reactor.add(stream, control, Watch::Readable)
    }

    fn deregister(&self, reactor: &Reactor) {
        if let Some(stream) = &self.stream {
            reactor.remove(stream);
        }
    }

    fn send_hello(&self, hello: &Hello, own: &Own) -> Result<(), Error> {
        let Some(stream) = &self.stream else { return Ok(()) };
        let wire = introduction::hello_frame(hello)?;
        descriptors::send(stream, &wire, &[own.file.as_fd(), own.bell.as_fd()])
    }

    /// The next frame, once it is complete.
    fn read_frame(&mut self) -> Result<Option<(Kind, Vec<u8>)>, Error> {
        let Some(stream) = &self.stream else { return Ok(None) };
        let mut bytes = [0; Hello::BYTES_MAX];
        loop {
            match descriptors::receive(stream, &mut bytes, &mut self.fds)? {
                Received::Nothing => return Ok(None),
                Received::End => return Err(introduction::left_early()),
                Received::Bytes(len) => {
                    let mut input = &bytes[..len];
                    self.beginning.note(input);
                    let decoded = self.decoder.decode(&mut input);
                    if let Some(frame) = decoded.map_err(|breach| self.beginning.judge(breach))? {
                        let complete = (frame.header.kind, frame.payload.to_vec());
                        self.rest = input.to_vec();
                        return Ok(Some(complete));
                    }
                }
            }
        }
    }

    /// Checks everything about the peer's HELLO and descriptors, and maps its segment.
    fn accepts(&mut self, ours: &Hello, theirs: &Hello) -> Result<PeerSegment, Error> {
        negotiate(ours, theirs)?;
        let shm = theirs.shm.ok_or_else(|| {
            Error::new(Code::Protocol, "the peer's HELLO lacks its segment's parameters")
        })?;
        let [_, bell] = &self.fds[..] else {
            let message = "the peer's HELLO came without the segment and the bell";
            return Err(Error::new(Code::Protocol, message));
        };
        descriptors::check_bell(bell)?;
        let geometry = Geometry {
            ring_bytes: shm.ring_bytes,
            release_entries: shm.release_entries,
            slab_bytes: shm.slab_bytes,
        };
        PeerSegment::open(&self.fds.remove(0), geometry).map_err(from_shm)
    }

    fn connect(
        &mut self,
        own: Own,
        ours: &Hello,
        theirs: &Hello,
        settings: Settings,
        waker: &Waker,
    ) -> Result<Box<dyn Connection>, Error> {
        let peer_segment = self.accepts(ours, theirs)?;
        self.join(own, peer_segment, ours, theirs, settings, waker)
    }

    fn join(
        &mut self,
        own: Own,
        peer_segment: PeerSegment,
        ours: &Hello,
        theirs: &Hello,
        mut settings: Settings,
        waker: &Waker,
    ) -> Result<Box<dyn Connection>, Error> {
        let agreed = negotiate(ours, theirs)?;
        settings.message_bytes_max =
            usize::try_from(agreed.limits.message_bytes_max()).unwrap_or(usize::MAX);
        let peer_bell = self.fds.pop().expect("invariant: `accepts` counted the descriptors");
        let stream = self.stream.take().expect("invariant: a handshake ends once");
        let decoder = std::mem::replace(&mut self.decoder, Decoder::new(Limits::CONTROL));
        let rest = std::mem::take(&mut self.rest);
        let terms = Terms::new(&agreed, ours);
        let control = Control::new(stream, decoder, rest, self.peer.clone(), terms);
        let max = settings.message_bytes_max;
        let channel = Channel::new(own.segment, peer_segment, settings, waker);
        Ok(Box::new(ShmConnection::new(channel, max, own.bell, peer_bell, control)))
    }
}

fn settings(options: &PipeOptions) -> Settings {
    Settings {
        message_bytes_max: options.message_bytes_max,
        hostile: options.trust == Trust::Hostile,
    }
}

/// Turns the dialer away; it may be gone already.
fn reject(stream: &UnixStream, error: &Error) {
    let _ = descriptors::send(stream, &introduction::reject_frame(error), &[]);
}
