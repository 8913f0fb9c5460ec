//! Sessions: messages that survive their connection.
//!
//! A session has two ends, and at any time at most one connection. On the channels that are sent
//! with it, every accepted message reaches the peer once, however often connections end in the
//! middle: the sender keeps it until the peer has acknowledged it, a new connection begins by
//! telling what has arrived, and what arrives twice is recognised.
//!
//! ```text
//! send ─→ window ─ poll_transmit ─→ connection ─→ handle_data ─→ application
//!         └ handle_ack ←──────────────────────── poll_transmit ←─ acknowledge
//!
//! connection lost: handle_disconnect at both ends; then
//! dialer  begin_epoch ─ HELLO(positions) ─→ handle_dial   listener
//!         handle_answer ←── HELLO(positions) ─┘           resend what has not arrived
//! ```
//!
//! | state | input | next |
//! |---|---|---|
//! | new, or disconnected | `handle_answer`, `handle_dial` | connected |
//! | connected | `handle_disconnect` | disconnected |
//! | connected | `handle_dial` of a later epoch | connected, over the new connection |
//! | disconnected | the session's time is over | lost |
//! | any but lost | `close`, and then `handle_close`, or the other way round | over |
//!
//! Nothing here reads a clock or sends anything: the time is an argument, and what is to be sent is
//! asked for. Payloads are of any type that is cheap to clone, and leave as they came. Arriving
//! messages are not kept: the caller hands them on, or not. Order within a channel is that of the
//! transport; what is sent again is sent in the order in which it was accepted, over all channels.

mod ending;
mod liveness;
mod marks;
mod receive_window;
mod resume;
mod send_window;
mod seq;

pub use liveness::{Liveness, PROBES_MAX, RttEstimator, Verdict};
pub use resume::{Resume, ResumeToken};
pub use seq::Seq;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::frame::{Ack, Header, Kind};
use crate::{Code, Epoch, Error, SessionId};

use ending::Ending;
use receive_window::ReceiveWindow;
use send_window::{SendWindow, Turn};

/// Channels of a session per direction: their positions have room in a HELLO.
pub const CHANNELS_MAX: usize = 128;

/// The largest window, in messages of a channel.
pub const WINDOW_MESSAGES_MAX: u32 = 65_536;

/// What an end of a session may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionOptions {
    /// Messages of a channel that may be unacknowledged: 1 to 65,536. 1,024 by default.
    pub window_messages: u32,
    /// Payload bytes of those; a message alone may be larger. 4 MiB by default.
    pub window_bytes: usize,
    /// What an acknowledgement means.
    pub acknowledge: Acknowledge,
    /// For how long the session is kept without a connection; that of both ends that is shorter
    /// holds. 30 s by default.
    pub timeout: Duration,
    /// How often a message is transmitted before it is given up: at least 1. 16 by default.
    pub attempts_max: u32,
    /// How long a connection may at least be silent, while an acknowledgement is awaited, before
    /// the peer is asked whether it is there: at least 100 ms. 1 s by default, as RFC 6298 has it.
    pub probe_after: Duration,
}

/// When a message counts as delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a choice of two")]
pub enum Acknowledge {
    /// When the receiving application says that it is done with it.
    #[default]
    Processed,
    /// When it has arrived at the receiving end.
    Received,
}

/// One end of a session. See the [module](self).
#[derive(Debug)]
pub struct Session<P> {
    id: SessionId,
    token: ResumeToken,
    options: SessionOptions,
    epoch: Epoch,
    state: State,
    is_established: bool,
    /// How much the peer may have under way in a channel.
    peer_window: u32,
    timeout: Duration,
    sending: BTreeMap<u16, SendWindow<P>>,
    receiving: BTreeMap<u16, ReceiveWindow>,
    /// Place of the next message among those of all channels.
    order: u64,
    unsent: VecDeque<(u16, Seq)>,
    acks_due: VecDeque<u16>,
    ending: Ending,
    /// Messages of which it was not known what became of them when the session was lost.
    abandoned: usize,
    events: VecDeque<Event>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    New,
    Connected,
    Disconnected { expires: Option<Instant> },
    Lost,
}

/// Something to send over the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transmit<P> {
    /// An ACK frame.
    Ack(u16, Ack),
    /// A SKIP frame.
    Skip(u16, Seq),
    /// A DATA frame with the RELIABLE flag, or several if the message is larger than a frame.
    Data {
        /// Its channel.
        channel: u16,
        /// Its number there.
        seq: Seq,
        /// What it is.
        payload: P,
        /// When it is of no more use.
        expires: Option<Instant>,
    },
    /// A LEAVE frame.
    Leave,
    /// A CLOSE frame, after which the connection takes no more. Why is for the caller to say.
    Close,
}

/// What became of a message that has come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "it is new or it is not")]
pub enum Arrival {
    /// Hand it to the application, once.
    New,
    /// It was there before: drop it.
    Duplicate,
}

/// Something that the application wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The message was transmitted as often as allowed without arriving, and is given up.
    DeliveryFailed {
        /// Its channel.
        channel: u16,
        /// Its number there.
        seq: Seq,
    },
    /// The time of the message was over before it was transmitted, or transmitted again. It is
    /// given up.
    Expired {
        /// Its channel.
        channel: u16,
        /// Its number there.
        seq: Seq,
    },
    /// There was no connection for longer than the session is kept. It is over.
    Lost {
        /// Accepted messages of which it is not known whether they arrived.
        unconfirmed: usize,
    },
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            window_messages: 1024,
            window_bytes: 4 << 20,
            acknowledge: Acknowledge::default(),
            timeout: Duration::from_secs(30),
            attempts_max: 16,
            probe_after: Duration::from_secs(1),
        }
    }
}

impl SessionOptions {
    /// Checks every value against its bounds.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the option, its value and the bounds.
    pub fn validate(&self) -> Result<(), Error> {
        let invalid = |name: &str, value: u128, bounds: &str| {
            let message = format!("{name} is {value}; it must be {bounds}");
            Err(Error::new(Code::InvalidArgument, message))
        };
        if !(1..=WINDOW_MESSAGES_MAX).contains(&self.window_messages) {
            return invalid("windowMessages", self.window_messages.into(), "1 to 65,536");
        }
        if self.window_bytes == 0 {
            return invalid("windowBytes", 0, "at least 1");
        }
        if self.attempts_max == 0 {
            return invalid("maxDeliveryAttempts", 0, "at least 1");
        }
        let millis = self.probe_after.as_millis();
        if !(PROBE_AFTER_MS_MIN..=u128::from(u32::MAX)).contains(&millis) {
            return invalid("probeAfterMs", millis, "100 to 4,294,967,295");
        }
        let millis = self.timeout.as_millis();
        if millis == 0 || millis > u128::from(u32::MAX) {
            return invalid("sessionTimeoutMs", millis, "1 to 4,294,967,295");
        }
        Ok(())
    }
}

impl<P: AsRef<[u8]> + Clone> Session<P> {
    /// The dialer's end of a new session. Both `id` and `token` are random.
    #[must_use]
    pub fn dialing(id: SessionId, token: ResumeToken, options: SessionOptions) -> Self {
        Self {
            id,
            token,
            options,
            epoch: Epoch(0),
            state: State::New,
            is_established: false,
            peer_window: 0,
            timeout: options.timeout,
            sending: BTreeMap::new(),
            receiving: BTreeMap::new(),
            order: 0,
            unsent: VecDeque::new(),
            acks_due: VecDeque::new(),
            ending: Ending::default(),
            abandoned: 0,
            events: VecDeque::new(),
        }
    }

    /// The listener's end of a session that it does not know; [`Session::handle_dial`] is next.
    ///
    /// # Errors
    /// `SessionLost` if the dialer has been connected in it before: this end has lost it.
    pub fn answering(
        id: SessionId,
        resume: &Resume,
        options: SessionOptions,
    ) -> Result<Self, Error> {
        if resume.is_established {
            let message = "the listener does not know the session any more: it was restarted, or \
                           there was no connection for too long";
            return Err(Error::new(Code::SessionLost, message));
        }
        Ok(Self::dialing(id, resume.token, options))
    }

    /// The session's name.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// The number of its connection, the present or the last.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// For how long it is kept without a connection, as far as that is known.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Whether there is a connection.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.state == State::Connected
    }

    /// Whether there has been one.
    #[must_use]
    pub fn is_established(&self) -> bool {
        self.is_established
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.state == State::Lost
    }

    /// The dialer makes a new attempt: what its HELLO says. Earlier connections and attempts are
    /// over for this end, and nothing that still comes from them may be handed in.
    pub fn begin_epoch(&mut self, now: Instant) -> (Epoch, Resume) {
        self.handle_disconnect(now);
        self.epoch = Epoch(self.epoch.0 + 1);
        (self.epoch, self.introduction())
    }

    /// The listener has answered the attempt with number `epoch`.
    ///
    /// # Errors
    /// `Protocol` if the answer does not belong to the session, or contradicts what was sent;
    /// `SessionLost`, if time was faster. The connection is then of no use.
    pub fn handle_answer(&mut self, epoch: Epoch, answer: &Resume) -> Result<(), Error> {
        self.check_token(answer)?;
        if epoch != self.epoch {
            return Err(Error::new(Code::Protocol, "the answer is to another attempt"));
        }
        self.connected(answer)
    }

    /// A dialer wants to go on with this session over a new connection, which is the only one from
    /// now on: nothing that still comes from an earlier one may be handed in. Returns what the
    /// listener's HELLO says.
    ///
    /// # Errors
    /// `PermissionDenied` if the token is not the session's, `ConnectionRefused` if a later attempt
    /// is known, `Protocol` if the dialer contradicts what was sent, `SessionLost`. The connection
    /// is to be turned away, and the session is as it was.
    pub fn handle_dial(&mut self, epoch: Epoch, dial: &Resume) -> Result<Resume, Error> {
        self.check_dial(epoch, dial)?;
        self.connected(dial)?;
        self.epoch = epoch;
        Ok(self.introduction())
    }

    /// Whether a dialer may go on with this session. Changes nothing, so that a present connection
    /// can be looked after before [`Session::handle_dial`].
    ///
    /// # Errors
    /// As there, but for `Protocol`.
    pub fn check_dial(&self, epoch: Epoch, dial: &Resume) -> Result<(), Error> {
        self.check_token(dial)?;
        if epoch <= self.epoch {
            let message = "the dialer has made a later attempt to connect";
            return Err(Error::new(Code::ConnectionRefused, message));
        }
        Ok(())
    }

    /// The connection is gone.
    pub fn handle_disconnect(&mut self, now: Instant) {
        if self.state == State::Connected {
            self.state = State::Disconnected { expires: now.checked_add(self.timeout) };
        }
    }

    /// Accepts a message, which is of no more use at `expires`; `None`: not now, the channel's
    /// window is full.
    ///
    /// # Errors
    /// `SessionLost`; `Closed`; `ChannelsExhausted` if more than 128 channels would be in use.
    pub fn send(
        &mut self,
        channel: u16,
        payload: P,
        expires: Option<Instant>,
    ) -> Result<Option<Seq>, Error> {
        if !self.has_room(channel, payload.as_ref().len())? {
            return Ok(None);
        }
        let window = self.sending.entry(channel).or_insert_with(|| SendWindow::new(FIRST));
        let seq = window.push(payload, self.order, expires);
        self.order += 1;
        self.unsent.push_back((channel, seq));
        Ok(Some(seq))
    }

    /// Whether [`Session::send`] would accept a message of so many bytes.
    ///
    /// # Errors
    /// As there.
    pub fn has_room(&self, channel: u16, bytes: usize) -> Result<bool, Error> {
        if self.is_lost() {
            return Err(Error::new(Code::SessionLost, "the session is over"));
        }
        if self.is_closing() {
            return Err(Error::new(Code::Closed, "the session is closed"));
        }
        let Some(window) = self.sending.get(&channel) else {
            if self.sending.len() == CHANNELS_MAX {
                let message = format!("a session has at most {CHANNELS_MAX} channels");
                return Err(Error::new(Code::ChannelsExhausted, message));
            }
            return Ok(true);
        };
        let is_free = window.len() < self.options.window_messages as usize;
        let fits = window.bytes() == 0 || window.bytes() + bytes <= self.options.window_bytes;
        Ok(is_free && fits)
    }

    /// Makes a channel one of the session's, for a message that waits elsewhere until there is room
    /// for it.
    ///
    /// # Errors
    /// As [`Session::send`].
    pub fn open_channel(&mut self, channel: u16) -> Result<(), Error> {
        self.has_room(channel, 0)?;
        self.sending.entry(channel).or_insert_with(|| SendWindow::new(FIRST));
        Ok(())
    }

    /// This end receives no more, and will acknowledge no more than it has: the peer is told, over
    /// this connection and each later one.
    pub fn leave(&mut self) {
        self.ending.leave();
    }

    /// The peer has said so.
    pub fn handle_leave(&mut self) {
        self.ending.handle_leave();
    }

    /// Whether nobody receives any more, at either end: nothing more will be acknowledged.
    #[must_use]
    pub fn is_forsaken(&self) -> bool {
        self.ending.is_forsaken()
    }

    /// This end has nothing more to send, whatever became of what it has sent: the peer is told,
    /// over this connection and each later one, until it has answered.
    pub fn close(&mut self) {
        self.unsent.clear();
        self.ending.close();
    }

    /// A CLOSE frame has come, which is answered in kind.
    pub fn handle_close(&mut self) {
        self.close();
        self.ending.handle_close();
    }

    /// Whether [`Session::close`] was called, or the peer has closed.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.ending.is_closing()
    }

    /// Whether the peer is to be heard of: it has something to acknowledge, or to answer.
    #[must_use]
    pub fn is_expecting(&self) -> bool {
        let awaits_answer = self.is_closing() && !self.is_over();
        !self.is_lost() && (awaits_answer || self.unconfirmed() > 0)
    }

    /// Whether both ends have closed, as far as this one can do anything for it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.ending.is_over()
    }

    /// Messages that were accepted and are neither acknowledged nor given up. Of a session that is
    /// lost, those that never will be.
    #[must_use]
    pub fn unconfirmed(&self) -> usize {
        self.abandoned + self.sending.values().map(SendWindow::held).sum::<usize>()
    }

    /// Payload bytes of those.
    #[must_use]
    pub fn unconfirmed_bytes(&self) -> usize {
        self.sending.values().map(SendWindow::bytes).sum()
    }

    /// Whether [`Session::poll_transmit`] has something.
    #[must_use]
    pub fn wants_transmit(&self) -> bool {
        let has_some = !(self.acks_due.is_empty() && self.unsent.is_empty());
        self.is_connected() && (has_some || self.ending.is_due())
    }

    /// The next thing to send over the connection, at `now`.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit<P>> {
        if !self.is_connected() {
            return None;
        }
        if let Some(control) = self.poll_control() {
            return Some(control);
        }
        while let Some((channel, seq)) = self.unsent.pop_front() {
            let Some(window) = self.sending.get_mut(&channel) else { continue };
            match window.transmit(seq, now) {
                Turn::Message(payload, expires) => {
                    return Some(Transmit::Data { channel, seq, payload, expires });
                }
                Turn::Skip { is_over } => {
                    self.events.extend(is_over.then_some(Event::Expired { channel, seq }));
                    return Some(Transmit::Skip(channel, seq.plus(1)));
                }
                Turn::Nothing => {}
            }
        }
        self.ending.poll_close().then_some(Transmit::Close)
    }

    /// The same, but nothing that has its place among the messages.
    pub fn poll_control(&mut self) -> Option<Transmit<P>> {
        if !self.is_connected() {
            return None;
        }
        let Some(channel) = self.acks_due.pop_front() else {
            return self.ending.poll_leave().then_some(Transmit::Leave);
        };
        let window = self.receiving.get_mut(&channel)?;
        window.is_ack_due = false;
        Some(Transmit::Ack(channel, window.to_ack()))
    }

    /// The message that [`Session::poll_transmit`] has given last can never be sent: the peer is
    /// told to pass over it.
    pub fn give_up(&mut self, channel: u16, seq: Seq) {
        if self.sending.get_mut(&channel).is_some_and(|window| window.give_up(seq)) {
            // In its place: what came before it on the channel is on its way.
            self.unsent.push_front((channel, seq));
            self.events.push_back(Event::DeliveryFailed { channel, seq });
        }
    }

    /// A message has come over the connection.
    ///
    /// # Errors
    /// `Protocol` if it is on too many channels or beyond the window.
    pub fn handle_data(&mut self, channel: u16, seq: Seq) -> Result<Arrival, Error> {
        let width = self.peer_window;
        let acknowledge = self.options.acknowledge;
        self.receive(channel, |window| {
            let arrival = window.handle_data(seq, width)?;
            if acknowledge == Acknowledge::Received {
                window.acknowledge(seq);
            }
            Ok(arrival)
        })
    }

    /// A SKIP frame has come: the peer gave up what is missing below `seq`.
    ///
    /// # Errors
    /// As [`Session::handle_data`].
    pub fn handle_skip(&mut self, channel: u16, seq: Seq) -> Result<(), Error> {
        let width = self.peer_window;
        self.receive(channel, |window| window.handle_skip(seq, width))
    }

    /// An acknowledgement has come, in a frame of its own or with a message.
    ///
    /// # Errors
    /// `Protocol` if it acknowledges what was never sent.
    pub fn handle_ack(&mut self, channel: u16, ack: Ack) -> Result<(), Error> {
        if self.is_lost() {
            // What it is about is forgotten.
            return Ok(());
        }
        match self.sending.get_mut(&channel) {
            Some(window) => window.handle_ack(ack),
            None if ack.cumulative == FIRST.0 && ack.bitmap == 0 => Ok(()),
            None => {
                let message = "the peer acknowledged messages of a channel that has none";
                Err(Error::new(Code::Protocol, message))
            }
        }
    }

    /// The application is done with a message. Once is enough, in any order; for messages that
    /// count as delivered on arrival it changes nothing.
    pub fn acknowledge(&mut self, channel: u16, seq: Seq) {
        // Only channels that are there can be acknowledged, so this cannot fail.
        if self.receiving.contains_key(&channel) {
            let _ = self.receive(channel, |window| {
                window.acknowledge(seq);
                Ok(())
            });
        }
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Session::handle_timeout`] must be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Disconnected { expires } => expires,
            State::New | State::Connected | State::Lost => None,
        }
    }

    /// The time is `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|expires| now >= expires) {
            self.lose();
        }
    }

    /// Nobody will resume it: the peer has said so, or its time is over. What has come already can
    /// still be told from what has come twice.
    pub fn lose(&mut self) {
        if std::mem::replace(&mut self.state, State::Lost) == State::Lost {
            return;
        }
        self.abandoned = self.unconfirmed();
        self.events.push_back(Event::Lost { unconfirmed: self.abandoned });
        (self.unsent, self.acks_due) = Default::default();
        self.sending.clear();
    }

    fn check_token(&self, theirs: &Resume) -> Result<(), Error> {
        if self.is_lost() || self.is_over() {
            return Err(Error::new(Code::SessionLost, "the session is over"));
        }
        if theirs.token == self.token {
            return Ok(());
        }
        let message = "the session belongs to somebody else: the peer does not know its token";
        Err(Error::new(Code::PermissionDenied, message))
    }

    fn introduction(&self) -> Resume {
        let position = |(&channel, window): (&u16, &ReceiveWindow)| (channel, window.position());
        let nothing = Ack { cumulative: FIRST.0, bitmap: 0 };
        Resume {
            token: self.token,
            timeout_ms: u32::try_from(self.options.timeout.as_millis()).unwrap_or(u32::MAX),
            window_messages: self.options.window_messages,
            is_established: self.is_established,
            positions: self
                .receiving
                .iter()
                .map(position)
                .filter(|&(_, ack)| ack != nothing)
                .collect(),
        }
    }

    /// A connection stands, and the peer has said what has arrived.
    fn connected(&mut self, theirs: &Resume) -> Result<(), Error> {
        let position = |channel: u16| {
            let at = theirs.positions.binary_search_by_key(&channel, |&(channel, _)| channel);
            at.map_or(Ack { cumulative: FIRST.0, bitmap: 0 }, |at| theirs.positions[at].1)
        };
        let unknown =
            theirs.positions.iter().any(|(channel, _)| !self.sending.contains_key(channel));
        if unknown {
            let message = "the peer has received messages of a channel that has none";
            return Err(Error::new(Code::Protocol, message));
        }
        for (&channel, window) in &self.sending {
            window.check_position(position(channel))?;
        }
        let attempts_max = self.options.attempts_max;
        let mut resend = Vec::new();
        for (&channel, window) in &mut self.sending {
            let rest = window.handle_position(position(channel), attempts_max);
            resend.extend(rest.resend.into_iter().map(|(order, seq)| (order, (channel, seq))));
            let failed = |seq| Event::DeliveryFailed { channel, seq };
            self.events.extend(rest.given_up.into_iter().map(failed));
        }
        if self.is_closing() {
            resend.clear();
        }
        resend.sort_unstable_by_key(|&(order, _)| order);
        self.unsent = resend.into_iter().map(|(_, message)| message).collect();
        self.ending.connected();
        // Acknowledgements may have been lost with the last connection.
        self.acks_due = self.receiving.keys().copied().collect();
        self.receiving.values_mut().for_each(|window| window.is_ack_due = true);
        self.peer_window = self.peer_window.max(theirs.window_messages);
        self.timeout = self.options.timeout.min(theirs.timeout());
        self.is_established = true;
        self.state = State::Connected;
        Ok(())
    }

    /// Changes a receiving channel, and sees to its acknowledgement.
    fn receive<T>(
        &mut self,
        channel: u16,
        change: impl FnOnce(&mut ReceiveWindow) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if !self.receiving.contains_key(&channel) && self.receiving.len() == CHANNELS_MAX {
            let message = format!("the peer uses more than {CHANNELS_MAX} channels of a session");
            return Err(Error::new(Code::Protocol, message));
        }
        let window = self.receiving.entry(channel).or_insert_with(|| ReceiveWindow::new(FIRST));
        let was_due = window.is_ack_due;
        let result = change(window);
        if window.is_ack_due && !was_due {
            self.acks_due.push_back(channel);
        }
        result
    }
}

impl<P> Transmit<P> {
    /// The header of its frame, for messages that fit into one.
    #[must_use]
    pub fn header(&self) -> Header {
        match *self {
            Self::Ack(channel, ack) => Header { channel, ack: Some(ack), ..Header::new(Kind::Ack) },
            Self::Skip(channel, Seq(seq)) => Header { channel, seq, ..Header::new(Kind::Skip) },
            Self::Data { channel, seq: Seq(seq), .. } => {
                Header { channel, seq, is_reliable: true, ..Header::new(Kind::Data) }
            }
            Self::Leave => Header::new(Kind::Leave),
            Self::Close => Header::new(Kind::Close),
        }
    }
}

/// Less than that would be a flood of questions.
const PROBE_AFTER_MS_MIN: u128 = 100;

/// Where every channel begins.
const FIRST: Seq = Seq(0);
