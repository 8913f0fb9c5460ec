//! What the engine needs of a transport beyond moving messages: setting up, ending, descriptors.
//!
//! ```text
//! dial ─→ Handshake ─advance─→ Connection        listen ─→ Acceptor ─accept─→ Incoming
//! ```

use std::task::Waker;
use std::time::{Duration, Instant};

use busbar_proto::frame::{Ack, Header};
use busbar_proto::session::{Resume, Seq};
use busbar_proto::{Agreement, Capabilities, CloseReason, Code, Epoch, Error, Hello, SessionId};
use bytes::Bytes;

use crate::link::Link;
use crate::loan::Loan;
use crate::os::random;
use crate::peer::Peer;
use crate::reactor::{Reactor, Token};
use crate::tls::Credentials;

/// An established connection.
pub(crate) trait Connection: Link {
    /// Adds to the engine's reactor what says "look at the link again". What the handshake has
    /// registered stays, and now means [`Connection::handle_control`].
    fn register(&mut self, reactor: &Reactor, bell: Token) -> Result<(), Error>;

    /// Takes them out again.
    fn deregister(&mut self, reactor: &Reactor);

    /// The descriptor that [`Connection::register`] has added is ready; `is_ending`: it has also
    /// said that the peer writes no more. Returns how the peer ended the connection, if it has.
    ///
    /// # Errors
    /// How the peer broke the rules.
    fn handle_bell(&mut self, is_ending: bool) -> Result<Option<CloseReason>, Error> {
        let _ = is_ending;
        Ok(None)
    }

    /// The waker given at set-up was woken. Returns how the peer ended the connection, if it has.
    fn handle_notice(&mut self) -> Option<CloseReason>;

    /// The control descriptor is ready, or the link has said that it is `Closed`. Returns how the
    /// peer ended the connection, if it has.
    ///
    /// # Errors
    /// How the peer broke the rules.
    fn handle_control(&mut self) -> Result<Option<CloseReason>, Error>;

    /// Goes on with what was put off: writing until the end of the turn, reading until others have
    /// had theirs. Returns how the peer ended the connection, if it has.
    ///
    /// # Errors
    /// How the peer broke the rules.
    fn work(&mut self) -> Result<Option<CloseReason>, Error> {
        Ok(None)
    }

    /// Whether [`Connection::work`] has something to do.
    fn has_work(&self) -> bool {
        false
    }

    /// Whether only the descriptor says that something has come: looking at the link does not show
    /// it by itself.
    fn is_polled(&self) -> bool {
        false
    }

    /// Whether something that was sent can only go on while this end is driven.
    fn has_unsent(&self) -> bool {
        false
    }

    /// Tells the peer, as far as that can be done without waiting, after all that was sent.
    fn close(&mut self, reason: &CloseReason);

    /// Nobody will receive from this closed connection any more: what still comes is of use only
    /// for [`Connection::is_over`].
    fn begin_lingering(&mut self) {}

    /// Whether a part of a message has come that is kept until the rest comes.
    fn has_unfinished(&self) -> bool {
        false
    }

    /// Frees parts of messages that have not grown since this was called last. Returns how the
    /// connection has ended, if it was of no use without them.
    ///
    /// # Errors
    /// How the peer broke the rules.
    fn expire_unfinished(&mut self) -> Result<Option<CloseReason>, Error> {
        Ok(None)
    }

    /// Messages that were accepted and have not left this end.
    fn unsent_messages(&self) -> usize {
        0
    }

    /// Whether a closed connection can be dropped without harm to what was sent. Until then its
    /// bells must be heard.
    fn is_over(&self) -> bool {
        true
    }

    /// Whether `loan` can be committed here, and is not memory of another connection.
    fn owns(&self, loan: &Loan) -> bool {
        matches!(loan, Loan::Heap(_))
    }

    /// The largest message that both ends accept.
    fn message_bytes_max(&self) -> u64;

    /// Who is at the other end; `None` if it is this process.
    fn peer(&self) -> Option<Peer>;

    /// What the ends have promised each other. By default nothing.
    fn terms(&self) -> Terms {
        Terms::default()
    }

    /// Grows with everything that arrives. `None`: this end holds the peer back, so that nothing
    /// can arrive.
    fn heard(&self) -> Option<u64> {
        None
    }

    /// Grows with everything that leaves.
    fn said(&self) -> u64 {
        0
    }

    /// Says that this end lives, if nothing else is on its way.
    fn ping(&mut self) {}

    /// What the peer's HELLO has said of the session, once.
    fn take_resume(&mut self) -> Option<Resume> {
        None
    }

    /// What has come that the session must know of, in the order in which it came.
    fn take_session_news(&mut self) -> Option<SessionNews> {
        None
    }

    /// Whether the first message is new of those that were told by [`SessionNews::Data`] and not
    /// judged yet. None is received before it is judged.
    fn judge(&mut self, is_new: bool) {
        let _ = is_new;
    }

    /// Whether a message that does not belong to the session is half-way through, so that no other
    /// message can begin.
    fn has_lossy_under_way(&self) -> bool {
        false
    }

    /// Offers a message that is of no more use at `expires`, as [`Link::send_bytes`]; the receiver
    /// is told, where the transport has a way to.
    ///
    /// # Errors
    /// As there.
    fn send_until(
        &mut self,
        channel: u16,
        payload: &Bytes,
        expires: Instant,
    ) -> Result<bool, Error> {
        let _ = expires;
        self.send_bytes(channel, payload)
    }

    /// As [`Link::commit`], of a message that is of no more use at `expires`.
    ///
    /// # Errors
    /// As there.
    fn commit_until(
        &mut self,
        channel: u16,
        loan: Loan,
        len: usize,
        expires: Instant,
    ) -> Result<Option<Loan>, Error> {
        let _ = expires;
        self.commit(channel, loan, len)
    }

    /// Offers a message outside the session of the connection, if it has one; `expires` as there.
    ///
    /// # Errors
    /// As [`Link::send_bytes`].
    fn send_once(
        &mut self,
        channel: u16,
        payload: &Bytes,
        expires: Option<Instant>,
    ) -> Result<bool, Error> {
        match expires {
            None => self.send_bytes(channel, payload),
            Some(expires) => self.send_until(channel, payload, expires),
        }
    }

    /// Whether messages belong to a session, unless they are sent once.
    fn has_session(&self) -> bool {
        false
    }

    /// Makes sure that a message which waits for room is not refused for its channel later.
    ///
    /// # Errors
    /// Why this connection does not take messages on the channel.
    fn open_channel(&mut self, channel: u16) -> Result<(), Error> {
        let _ = channel;
        Ok(())
    }

    /// Whether a refused message says nothing of those on other channels.
    fn refuses_by_channel(&self) -> bool {
        false
    }

    /// Whether the receiver is told when a message is of no more use, but not of a loan.
    fn tells_expiry(&self) -> bool {
        false
    }

    /// Offers a message of the session, as [`Link::send_bytes`].
    ///
    /// # Errors
    /// As there, and `NotSupported`.
    fn send_reliable(&mut self, label: Numbered, payload: &Bytes) -> Result<bool, Error> {
        let _ = (label, payload);
        Err(Error::new(Code::NotSupported, "the transport keeps no sessions"))
    }

    /// Offers a frame of the session that is not a message.
    ///
    /// # Errors
    /// As [`Link::send`], and `NotSupported`.
    fn send_control(&mut self, header: &Header) -> Result<bool, Error> {
        let _ = header;
        Err(Error::new(Code::NotSupported, "the transport keeps no sessions"))
    }

    /// The peer is taken for dead: nothing more is read or written. What was received stays.
    fn sever(&mut self) {
        self.close(&CloseReason::lost());
    }
}

/// A connection being set up.
pub(crate) trait Handshake: Send {
    /// Adds the descriptor to the engine's reactor.
    fn register(&mut self, reactor: &Reactor, control: Token) -> Result<(), Error>;

    /// Takes it out again.
    fn deregister(&mut self, reactor: &Reactor);

    /// Goes on as far as it can without waiting; `None`: not finished. Descriptors that it comes to
    /// need on the way are added to `reactor`.
    fn advance(&mut self, reactor: &Reactor) -> Result<Option<Box<dyn Connection>>, Error>;

    /// When it can go on even if no descriptor is ready.
    fn next_time(&self) -> Option<Instant> {
        None
    }

    /// Who is at the other end, if it can go on only after [`Handshake::admit`].
    fn asking(&self) -> Option<&Peer> {
        None
    }

    /// Lets the peer in, or turns it away when it goes on.
    fn admit(&mut self, verdict: Result<(), Error>) {
        let _ = verdict;
    }

    /// With which session a dialer wants to begin or to go on, if the handshake can go on only
    /// after [`Handshake::resume`].
    fn resuming(&self) -> Option<(Identity, &Resume)> {
        None
    }

    /// What to tell the dialer of the session, or why to turn it away.
    fn resume(&mut self, answer: Result<Resume, Error>) {
        let _ = answer;
    }
}

/// A bound listener.
pub(crate) trait Acceptor: Send {
    /// Adds the descriptor, if there is one, to the engine's reactor.
    fn register(&mut self, reactor: &Reactor, control: Token) -> Result<(), Error>;

    /// Takes it out again.
    fn deregister(&mut self, reactor: &Reactor);

    /// The next connection, if one is waiting. `waker` will wake the accepted pipe.
    ///
    /// # Errors
    /// A failure of this one connection, or `Closed` when the listener is.
    fn accept(&mut self, waker: &Waker) -> Result<Option<Incoming>, Error>;

    /// The address that a dialer uses.
    fn address(&self) -> String;

    /// Replaces what is shown to dialers from now on.
    ///
    /// # Errors
    /// `NotSupported` where there is no such thing; `InvalidArgument` if they do not suffice.
    fn set_credentials(&mut self, credentials: Credentials) -> Result<(), Error> {
        drop(credentials);
        let message = "only a listener at tls:// has credentials";
        Err(Error::new(Code::NotSupported, message))
    }
}

/// What [`Acceptor::accept`] and dialing give.
pub(crate) enum Incoming {
    /// Both ends must introduce themselves first.
    Handshake(Box<dyn Handshake>),
    /// Ready.
    Connected(Box<dyn Connection>),
}

/// What a session says of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numbered {
    pub(crate) channel: u16,
    pub(crate) seq: Seq,
    /// When it is of no more use.
    pub(crate) expires: Option<Instant>,
}

/// What has come that a session must know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionNews {
    /// A message, which waits to be judged.
    Data(u16, Seq),
    /// A message was new, and of no more use when it was to be received.
    Expired(u16, Seq),
    /// An acknowledgement.
    Ack(u16, Ack),
    /// What is missing of the channel below a number will not come.
    Skip(u16, Seq),
    /// To be answered with PONG.
    Probe(u64),
    /// An answer.
    Pong(u64),
    /// The peer receives no more.
    Leave,
}

/// What the ends of a connection have promised each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Terms {
    /// What the ends call the connection; `None` where they tell each other nothing.
    pub(crate) identity: Option<Identity>,
    /// The longest silence of this end's.
    pub(crate) speak_every: Option<Duration>,
    /// Whether the peer keeps the heartbeat that this end asks for.
    pub(crate) is_spoken_to: bool,
}

impl Terms {
    pub(crate) fn new(agreement: &Agreement, hello: &Hello) -> Self {
        let identity = Some(Identity { session: hello.session, epoch: hello.epoch });
        let speak_every = agreement.heartbeat_ms.map(|ms| Duration::from_millis(u64::from(ms)));
        let is_spoken_to = agreement.capabilities.contains(Capabilities::HEARTBEAT);
        Self { identity, speak_every, is_spoken_to }
    }
}

/// Which connection this is: the same at both ends, and another after each reconnect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a name and a number, as in HELLO")]
pub struct Identity {
    /// Random; the same for all connections of a pipe that dials again.
    pub session: SessionId,
    /// Counts the attempts of the session, from 1.
    pub epoch: Epoch,
}

impl Identity {
    /// That of the first connection of a new session.
    pub(crate) fn fresh() -> Result<Self, Error> {
        Ok(Self { session: SessionId(random()?), epoch: Epoch(1) })
    }

    /// That of the next attempt.
    pub(crate) fn next(self) -> Self {
        Self { epoch: Epoch(self.epoch.0 + 1), ..self }
    }
}
