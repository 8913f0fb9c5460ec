//! Sessions through their public interface: who may resume them, what fills and frees their
//! windows, and peers that say what cannot be. `busbar-testkit` has the honest peers, in bulk.

use std::time::{Duration, Instant};

use busbar_proto::frame::Ack;
use busbar_proto::session::{
    Acknowledge, Arrival, CHANNELS_MAX, Event, Resume, ResumeToken, Seq, Session, SessionOptions,
    Transmit,
};
use busbar_proto::{Code, Epoch, Error, SessionId};

type Bytes = Vec<u8>;

const ID: SessionId = SessionId([1; 16]);
const TOKEN: ResumeToken = ResumeToken([2; 16]);

fn options(change: impl FnOnce(&mut SessionOptions)) -> SessionOptions {
    let mut options = SessionOptions::default();
    change(&mut options);
    options
}

/// A dialer and a listener with a connection between them.
struct Pair {
    now: Instant,
    dialer: Session<Bytes>,
    listener: Session<Bytes>,
}

impl Pair {
    fn new(dialing: SessionOptions, listening: SessionOptions) -> Self {
        let now = Instant::now();
        let mut dialer = Session::dialing(ID, TOKEN, dialing);
        let (epoch, hello) = dialer.begin_epoch(now);
        let mut listener = Session::answering(ID, &hello, listening).expect("a new session");
        let answer = listener.handle_dial(epoch, &hello).expect("the first connection");
        dialer.handle_answer(epoch, &answer).expect("an honest listener");
        Self { now, dialer, listener }
    }

    fn standard() -> Self {
        Self::new(SessionOptions::default(), SessionOptions::default())
    }

    /// The connection breaks, and another is made.
    fn reconnect(&mut self) {
        self.listener.handle_disconnect(self.now);
        let (epoch, hello) = self.dialer.begin_epoch(self.now);
        let answer = self.listener.handle_dial(epoch, &hello).expect("the next connection");
        self.dialer.handle_answer(epoch, &answer).expect("an honest listener");
    }

    /// Hands over everything that the dialer has to send; returns the messages that were new.
    fn carry(&mut self) -> Vec<(u16, Seq)> {
        let mut new = Vec::new();
        while let Some(transmit) = self.dialer.poll_transmit(self.now) {
            match transmit {
                Transmit::Data { channel, seq, .. } => {
                    let arrival = self.listener.handle_data(channel, seq).expect("in the window");
                    new.extend((arrival == Arrival::New).then_some((channel, seq)));
                }
                Transmit::Skip(channel, seq) => {
                    self.listener.handle_skip(channel, seq).expect("in the window");
                }
                Transmit::Ack(..) => {}
                other => panic!("unknown: {other:?}"),
            }
        }
        new
    }

    /// Hands over the listener's acknowledgements.
    fn acknowledge(&mut self) {
        while let Some(transmit) = self.listener.poll_transmit(self.now) {
            if let Transmit::Ack(channel, ack) = transmit {
                self.dialer.handle_ack(channel, ack).expect("what was sent");
            }
        }
    }
}

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> Code {
    result.expect_err("refused").code()
}

/// [D20] [D30] every attempt has an epoch of its own; the session keeps its name
#[test]
fn epochs_count_attempts() {
    let mut pair = Pair::standard();
    assert_eq!((pair.dialer.epoch(), pair.listener.epoch()), (Epoch(1), Epoch(1)));
    pair.dialer.begin_epoch(pair.now);
    pair.reconnect();
    assert_eq!((pair.dialer.epoch(), pair.listener.epoch()), (Epoch(3), Epoch(3)));
    assert_eq!((pair.dialer.id(), pair.listener.id()), (ID, ID));
}

/// [D30] an attempt that arrives after a later one, and one by somebody else, change nothing
#[test]
fn late_and_foreign_attempts_are_turned_away() {
    let mut pair = Pair::standard();
    let (late, hello) = pair.dialer.begin_epoch(pair.now);
    pair.reconnect();
    assert_eq!(code(pair.listener.handle_dial(late, &hello)), Code::ConnectionRefused);
    assert_eq!(code(pair.listener.handle_dial(Epoch(3), &hello)), Code::ConnectionRefused);
    let foreign = Resume { token: ResumeToken([3; 16]), ..hello.clone() };
    assert_eq!(code(pair.listener.handle_dial(Epoch(9), &foreign)), Code::PermissionDenied);
    assert_eq!(code(pair.dialer.handle_answer(Epoch(3), &foreign)), Code::PermissionDenied);
    assert_eq!(code(pair.dialer.handle_answer(Epoch(2), &hello)), Code::Protocol);
    assert!(pair.listener.is_connected());
    assert_eq!(pair.listener.epoch(), Epoch(3));
}

/// [D30] a listener that was restarted says that it has lost the session; one that never answered
/// begins it
#[test]
fn a_forgotten_session_is_lost_not_begun_anew() {
    let mut pair = Pair::standard();
    let (_, hello) = pair.dialer.begin_epoch(pair.now);
    let restarted = Session::<Bytes>::answering(ID, &hello, SessionOptions::default());
    assert_eq!(code(restarted), Code::SessionLost);
    let mut dialer = Session::<Bytes>::dialing(ID, TOKEN, SessionOptions::default());
    dialer.begin_epoch(pair.now);
    let (_, hello) = dialer.begin_epoch(pair.now);
    Session::<Bytes>::answering(ID, &hello, SessionOptions::default()).expect("begun");
}

/// [D30] the shorter patience of both ends holds, counted from the loss of the connection
#[test]
fn sessions_are_kept_for_the_agreed_time() {
    let short = options(|it| it.timeout = Duration::from_secs(5));
    let mut pair = Pair::new(SessionOptions::default(), short);
    pair.dialer.send(0, vec![1], None).expect("open");
    let lost = pair.now + Duration::from_secs(100);
    assert_eq!(pair.dialer.poll_timeout(), None, "there is a connection");
    pair.dialer.handle_disconnect(lost);
    let end = lost + Duration::from_secs(5);
    assert_eq!(pair.dialer.poll_timeout(), Some(end));
    pair.dialer.handle_timeout(end - Duration::from_millis(1));
    assert!(!pair.dialer.is_lost());
    pair.dialer.handle_timeout(end);
    assert_eq!(pair.dialer.poll_event(), Some(Event::Lost { unconfirmed: 1 }));
    assert_eq!(pair.dialer.poll_event(), None);
    assert_eq!(code(pair.dialer.send(0, vec![2], None)), Code::SessionLost);
}

/// [D33] a window bounds messages and bytes of its channel, and of no other; a larger message
/// goes alone
#[test]
fn windows_hold_back_their_channel_only() {
    let small = options(|it| (it.window_messages, it.window_bytes) = (3, 100));
    let mut pair = Pair::new(small, SessionOptions::default());
    for n in 0..3 {
        assert_eq!(pair.dialer.send(0, vec![0; 10], None).expect("open"), Some(Seq(n)));
    }
    assert_eq!(pair.dialer.send(0, vec![0; 10], None).expect("open"), None);
    assert_eq!(pair.dialer.send(1, vec![0; 90], None).expect("open"), Some(Seq(0)));
    assert!(!pair.dialer.has_room(1, 11).expect("open"));
    assert!(pair.dialer.has_room(1, 10).expect("open"));
    assert_eq!(pair.dialer.send(2, vec![0; 5000], None).expect("open"), Some(Seq(0)));
    assert_eq!(pair.dialer.send(2, vec![0; 1], None).expect("open"), None);
    assert_eq!(pair.carry().len(), 5);
    pair.listener.acknowledge(0, Seq(1));
    pair.acknowledge();
    assert!(!pair.dialer.has_room(0, 10).expect("open"), "the first one is not acknowledged");
    pair.listener.acknowledge(0, Seq(0));
    pair.acknowledge();
    assert_eq!(pair.dialer.send(0, vec![0; 10], None).expect("open"), Some(Seq(3)));
    assert_eq!(pair.dialer.unconfirmed(), 4);
}

/// [D31] received is acknowledged by itself, processed by the application, once or more
#[test]
fn the_receiver_says_what_delivered_means() {
    let received = options(|it| it.acknowledge = Acknowledge::Received);
    let mut pair = Pair::new(SessionOptions::default(), received);
    pair.dialer.send(0, vec![1], None).expect("open");
    pair.carry();
    pair.acknowledge();
    assert_eq!(pair.dialer.unconfirmed(), 0);

    let mut pair = Pair::standard();
    pair.dialer.send(0, vec![1], None).expect("open");
    pair.carry();
    assert!(!pair.listener.wants_transmit(), "nobody has processed it");
    for _ in 0..2 {
        pair.listener.acknowledge(0, Seq(0));
    }
    pair.listener.acknowledge(5, Seq(0));
    pair.acknowledge();
    assert_eq!(pair.dialer.unconfirmed(), 0);
    assert!(!pair.listener.wants_transmit());
}

/// [D32] [D34] after a cut, what has not arrived is sent again in the order of acceptance over all
/// channels, and acknowledgements that were lost are repeated
#[test]
fn resuming_repeats_what_is_missing() {
    let mut pair = Pair::standard();
    let accepted = [(7, 0), (0, 0), (7, 1), (0, 1), (3, 0)].map(|(ch, seq)| (ch, Seq(seq)));
    for (channel, seq) in accepted {
        assert_eq!(pair.dialer.send(channel, vec![9], None).expect("open"), Some(seq));
    }
    // Two arrive, of which one is processed; the acknowledgement is lost with the rest.
    for _ in 0..2 {
        let Some(Transmit::Data { channel, seq, .. }) = pair.dialer.poll_transmit(pair.now) else {
            panic!("there is more");
        };
        pair.listener.handle_data(channel, seq).expect("in the window");
    }
    pair.listener.acknowledge(7, Seq(0));
    while pair.dialer.poll_transmit(pair.now).is_some() {}
    pair.reconnect();
    assert_eq!(pair.carry(), accepted[2..]);
    pair.acknowledge();
    assert_eq!(pair.dialer.unconfirmed(), 4);
}

/// [D32] what is given up is told to the application, and to the peer
#[test]
fn failed_deliveries_are_events() {
    let twice = options(|it| it.attempts_max = 2);
    let mut pair = Pair::new(twice, SessionOptions::default());
    pair.dialer.send(4, vec![1], None).expect("open");
    for _ in 0..2 {
        while pair.dialer.poll_transmit(pair.now).is_some() {}
        assert_eq!(pair.dialer.poll_event(), None);
        pair.reconnect();
    }
    let failed = Event::DeliveryFailed { channel: 4, seq: Seq(0) };
    assert_eq!(pair.dialer.poll_event(), Some(failed));
    assert_eq!(pair.dialer.send(4, vec![2], None).expect("open"), Some(Seq(1)));
    assert_eq!(pair.carry(), [(4, Seq(1))]);
    pair.listener.acknowledge(4, Seq(1));
    pair.acknowledge();
    assert_eq!(pair.dialer.unconfirmed(), 0);
}

/// [D26] [D32] what has become stale is not sent, and not sent again; the peer is told to pass over
/// it, wherever it lies, and on every connection until it has
#[test]
fn stale_messages_are_passed_over() {
    let ms = Duration::from_millis;
    let mut pair = Pair::standard();
    let start = pair.now;
    let ttls = [None, Some(ms(10)), None, Some(ms(30)), Some(ms(20))];
    for (n, ttl) in ttls.into_iter().enumerate() {
        let expires = ttl.map(|ttl| start + ttl);
        assert_eq!(pair.dialer.send(3, vec![1], expires).expect("open"), Some(Seq(n as u64)));
    }
    // At its instant, and not before.
    pair.now = start + ms(10);
    let Some(Transmit::Data { seq: Seq(0), expires: None, .. }) =
        pair.dialer.poll_transmit(pair.now)
    else {
        panic!("the first one lives for ever");
    };
    assert_eq!(pair.dialer.poll_transmit(pair.now), Some(Transmit::Skip(3, Seq(2))));
    assert_eq!(pair.dialer.poll_event(), Some(Event::Expired { channel: 3, seq: Seq(1) }));
    // Nothing of this arrives; on the next connection the fifth is stale, too.
    while pair.dialer.poll_transmit(pair.now).is_some() {}
    pair.now = start + ms(29);
    pair.reconnect();
    assert_eq!(pair.carry(), [0, 2, 3].map(|n| (3, Seq(n))));
    assert_eq!(pair.dialer.poll_event(), Some(Event::Expired { channel: 3, seq: Seq(4) }));
    assert_eq!(pair.dialer.poll_event(), None);
    for n in [0, 2, 3] {
        pair.listener.acknowledge(3, Seq(n));
    }
    pair.acknowledge();
    assert_eq!(pair.dialer.unconfirmed(), 0);
    // All numbers are used up, and none is waited for.
    assert_eq!(pair.dialer.send(3, vec![2], None).expect("open"), Some(Seq(5)));
    pair.reconnect();
    assert_eq!(pair.carry(), [(3, Seq(5))]);
}

/// [D26] [D33] what was given up keeps its place in the window only until the peer has passed it
#[test]
fn stale_messages_leave_the_window() {
    let mut pair = Pair::new(options(|it| it.window_messages = 2), SessionOptions::default());
    for round in 0..10 {
        for _ in 0..2 {
            assert!(pair.dialer.send(0, vec![1], Some(pair.now)).expect("open").is_some());
        }
        assert_eq!(pair.dialer.send(0, vec![1], None).expect("open"), None, "{round}");
        assert!(pair.carry().is_empty());
        pair.acknowledge();
    }
}

/// [D32] a message that can never be sent is passed over in its place, also after a resume
#[test]
fn what_cannot_be_sent_is_passed_over() {
    let mut pair = Pair::standard();
    for n in 0..3 {
        pair.dialer.send(0, vec![n], None).expect("open");
    }
    pair.dialer.poll_transmit(pair.now);
    pair.dialer.poll_transmit(pair.now);
    pair.dialer.give_up(0, Seq(1));
    let failed = Event::DeliveryFailed { channel: 0, seq: Seq(1) };
    assert_eq!(pair.dialer.poll_event(), Some(failed));
    assert_eq!(pair.dialer.poll_transmit(pair.now), Some(Transmit::Skip(0, Seq(2))));
    pair.reconnect();
    assert_eq!(pair.carry(), [0, 2].map(|n| (0, Seq(n))));
    for n in [0, 2] {
        pair.listener.acknowledge(0, Seq(n));
    }
    pair.acknowledge();
    assert_eq!(pair.dialer.unconfirmed(), 0);
    pair.reconnect();
    assert_eq!(pair.dialer.poll_transmit(pair.now), None);
}

/// [D45] peers that know what was never sent, or use more than they may, are found out
#[test]
fn lying_peers_are_refused() {
    let mut pair = Pair::standard();
    pair.dialer.send(0, vec![1], None).expect("open");
    let ack = |cumulative, bitmap| Ack { cumulative, bitmap };
    assert_eq!(code(pair.dialer.handle_ack(0, ack(1, 0))), Code::Protocol, "not sent yet");
    assert_eq!(code(pair.dialer.handle_ack(9, ack(1, 0))), Code::Protocol, "no such channel");
    pair.dialer.handle_ack(9, ack(0, 0)).expect("it says nothing");

    let width = u64::from(SessionOptions::default().window_messages);
    assert_eq!(code(pair.listener.handle_data(0, Seq(width))), Code::Protocol);
    assert_eq!(code(pair.listener.handle_skip(0, Seq(width + 1))), Code::Protocol);
    for channel in 0..CHANNELS_MAX as u16 {
        pair.listener.handle_data(channel, Seq(0)).expect("not too many");
    }
    assert_eq!(code(pair.listener.handle_data(999, Seq(0))), Code::Protocol);

    let (epoch, hello) = pair.dialer.begin_epoch(pair.now);
    for positions in [vec![(0, ack(1, 0))], vec![(3, ack(0, 1))]] {
        let lie = Resume { positions, ..hello.clone() };
        assert_eq!(code(pair.listener.handle_dial(epoch, &lie)), Code::Protocol);
    }
    assert_eq!(pair.listener.epoch(), Epoch(1), "nothing has changed");
    pair.listener.handle_dial(epoch, &hello).expect("the truth");
}

/// [D30] as many channels as a session may have fit into a HELLO
#[test]
fn channels_are_bounded() {
    let mut pair = Pair::standard();
    for channel in 0..CHANNELS_MAX as u16 {
        pair.dialer.send(channel, vec![0], None).expect("not too many");
    }
    assert_eq!(code(pair.dialer.send(999, vec![0], None)), Code::ChannelsExhausted);
    assert_eq!(code(pair.dialer.open_channel(999)), Code::ChannelsExhausted);
    pair.dialer.open_channel(1).expect("it is open");
    assert_eq!(pair.carry().len(), CHANNELS_MAX);
    pair.reconnect();
    assert!(pair.carry().is_empty(), "the positions say that all has arrived");
}

/// [D10] options out of range are the caller's mistake, and named
#[test]
fn options_are_checked() {
    let check = |name: &str, change: fn(&mut SessionOptions)| {
        let error = options(change).validate().expect_err(name);
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.message().starts_with(name), "{error}");
    };
    SessionOptions::default().validate().expect("the defaults");
    check("windowMessages", |it| it.window_messages = 0);
    check("windowMessages", |it| it.window_messages = 65_537);
    check("windowBytes", |it| it.window_bytes = 0);
    check("maxDeliveryAttempts", |it| it.attempts_max = 0);
    check("sessionTimeoutMs", |it| it.timeout = Duration::ZERO);
    check("sessionTimeoutMs", |it| it.timeout = Duration::from_secs(1 << 32));
}
