//! Pipes whose messages outlive their connections: every message once, whatever is cut.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use busbar_io::{
    ANNOUNCEMENTS, Acknowledge, Backoff, ChannelOptions, CloseReason, Code, ConnectionState, Event,
    Interest, ListenOptions, PipeId, PipeOptions, Qos, SendOptions, SendingQos, Sent,
    SessionOptions,
};

use crate::support::{Driven, PATIENCE, Random, Scratch};

fn quick() -> Backoff {
    let mut policy = Backoff::default();
    (policy.initial, policy.max) = (Duration::from_millis(2), Duration::from_millis(10));
    policy
}

pub(crate) fn reliable(session: SessionOptions) -> PipeOptions {
    let mut options = PipeOptions::default();
    options.reliable = Some(session);
    options.reconnect = Some(quick());
    options
}

/// Hands bytes on between dialers and a listener, until it is told to cut.
pub(crate) struct Relay {
    address: String,
    target: Arc<Mutex<String>>,
    live: Arc<Mutex<Vec<TcpStream>>>,
    /// Percent of the pieces that are lost. What follows would make no sense, so the connection is
    /// lost with each.
    loss: Arc<AtomicU64>,
    /// Whether what the dialer says, and what the listener says, is read and forgotten.
    hushed: Arc<[AtomicBool; 2]>,
    /// Bytes that it still hands on; what comes after them waits for more.
    budget: Arc<AtomicU64>,
}

impl Relay {
    fn to(target: &str) -> Self {
        let target = Arc::new(Mutex::new(target.to_owned()));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("tcp://{}", listener.local_addr().unwrap());
        let live = Arc::new(Mutex::new(Vec::new()));
        let (all, to) = (Arc::clone(&live), Arc::clone(&target));
        let loss = Arc::new(AtomicU64::new(0));
        let budget = Arc::new(AtomicU64::new(u64::MAX));
        let (losing, spending, mut seed) = (Arc::clone(&loss), Arc::clone(&budget), 0);
        let hushed = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
        let hushing = Arc::clone(&hushed);
        // Both end with the process.
        thread::spawn(move || {
            for inner in listener.incoming() {
                let target = to.lock().unwrap().strip_prefix("tcp://").unwrap().to_owned();
                let (Ok(inner), Ok(outer)) = (inner, TcpStream::connect(target)) else { continue };
                let mut all = all.lock().unwrap();
                for (side, (from, to)) in
                    [(&inner, &outer), (&outer, &inner)].into_iter().enumerate()
                {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let faults = (Arc::clone(&losing), Arc::clone(&spending), Arc::clone(&hushing));
                    seed += 1;
                    let random = Random::new(seed);
                    thread::spawn(move || {
                        let (loss, budget, hushed) = &faults;
                        hand_on(from, to, loss, budget, &hushed[side], random);
                    });
                }
                all.extend([inner, outer]);
            }
        });
        Self { address, target, live, loss, budget, hushed }
    }

    /// From now on forgets what the dialer says, and what the listener says.
    pub(crate) fn hush(&self, sides: [bool; 2]) {
        for (hushed, is_hushed) in self.hushed.iter().zip(sides) {
            hushed.store(is_hushed, Ordering::Relaxed);
        }
    }

    pub(crate) fn cut(&self) {
        for stream in self.live.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn hand_on(
    mut from: TcpStream,
    mut to: TcpStream,
    loss: &AtomicU64,
    budget: &AtomicU64,
    hushed: &AtomicBool,
    mut random: Random,
) {
    let mut bytes = [0; 4096];
    while let Ok(len @ 1..) = from.read(&mut bytes) {
        if hushed.load(Ordering::Relaxed) {
            continue;
        }
        let spend = |left: u64| (left == u64::MAX).then_some(left).or(left.checked_sub(len as u64));
        while budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).is_err() {
            thread::sleep(Duration::from_millis(1));
        }
        if random.below(100) < loss.load(Ordering::Relaxed) {
            let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
            break;
        }
        if to.write_all(&bytes[..len]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// Two ends of one pipe, and what is between them.
pub(crate) struct Ends {
    pub(crate) here: Driven,
    pub(crate) there: Driven,
    pub(crate) out: PipeId,
    pub(crate) back: PipeId,
    pub(crate) relay: Relay,
    _scratch: Scratch,
}

impl Ends {
    fn new(session: SessionOptions) -> Self {
        Self::with(&reliable(session))
    }

    pub(crate) fn with(pipe: &PipeOptions) -> Self {
        Self::between(pipe, pipe)
    }

    fn between(pipe: &PipeOptions, listening: &PipeOptions) -> Self {
        let scratch = Scratch::new("reliable");
        let mut there = Driven::new();
        let mut options = ListenOptions::default();
        options.pipe = listening.clone();
        let listener = there.listen(&scratch.address("tcp"), &options);
        let relay = Relay::to(&there.engine.address(listener).unwrap());
        let mut here = Driven::new();
        let (out, back) = here.meet(&mut there, &relay.address, pipe);
        Self { here, there, out, back, relay, _scratch: scratch }
    }

    pub(crate) fn until(&mut self, mut is_done: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_done(self) {
            let events = (&self.here.events, &self.there.events);
            assert!(Instant::now() < deadline, "{events:?}");
            self.here.drive(Instant::now() + Duration::from_millis(1));
            self.there.drive(Instant::now() + Duration::from_millis(1));
        }
    }

    /// What `there` receives until there are `count`, each acknowledged.
    pub(crate) fn received_there(&mut self, count: usize) -> Vec<Vec<u8>> {
        let (mut all, back) = (Vec::new(), self.back);
        self.until(|ends| {
            all.extend(ends.there.receive(back));
            all.len() >= count
        });
        all
    }

    pub(crate) fn unconfirmed(&mut self) -> u64 {
        self.here.engine.stats(self.out).unwrap().messages_unconfirmed
    }
}

/// [D20 D30] both ends keep their pipe over a cut, with a new epoch; what was sent while there was
/// no connection arrives, once
#[test]
fn a_session_goes_on_over_another_connection() {
    let mut ends = Ends::new(SessionOptions::default());
    use ConnectionState::{Connected, Disconnected, Reconnecting};
    let first = ends.here.engine.identity(ends.out).unwrap();
    assert!(ends.here.engine.send(ends.out, 1, b"before").unwrap());
    assert_eq!(ends.received_there(1), [b"before"]);
    ends.relay.cut();
    let out = ends.out;
    ends.until(|ends| ends.here.engine.state(out) != Some(Connected));
    assert!(ends.here.engine.send(ends.out, 1, b"between").unwrap());
    assert_eq!(ends.received_there(1), [b"between"]);
    assert!(ends.there.engine.send(ends.back, 1, b"answer").unwrap());
    let mut answers = Vec::new();
    ends.until(|ends| {
        answers.extend(ends.here.receive(out));
        !answers.is_empty()
    });
    assert_eq!(answers, [b"answer"]);
    let second = ends.here.engine.identity(ends.out).unwrap();
    assert_eq!(ends.there.engine.identity(ends.back), Some(second));
    assert_eq!(first.session, second.session);
    assert!(second.epoch > first.epoch);
    let there = ends.there.states();
    assert!(there.ends_with(&[Disconnected, Reconnecting, Connected]), "{there:?}");
    let accepted = |event: &&Event| matches!(event, Event::Accepted { .. });
    assert_eq!(ends.there.events.iter().filter(accepted).count(), 0, "it is the same pipe");
    assert_eq!(ends.there.engine.stats(ends.back).unwrap().reconnects, 1);
}

/// [D31] a message is acknowledged when the application says that it is done with it, not before
#[test]
fn processed_is_not_received() {
    let mut ends = Ends::new(SessionOptions::default());
    for n in 0..3 {
        assert!(ends.here.engine.send(ends.out, 0, &[n]).unwrap());
    }
    assert_eq!(ends.received_there(3).len(), 3);
    for done in 1..=3 {
        ends.there.engine.processed(ends.back, done).unwrap();
        ends.until(|ends| ends.unconfirmed() == 3 - done);
    }
    let mut session = SessionOptions::default();
    session.acknowledge = Acknowledge::Received;
    let mut ends = Ends::new(session);
    assert!(ends.here.engine.send(ends.out, 0, b"unread").unwrap());
    ends.until(|ends| ends.unconfirmed() == 0);
}

/// [D31 D32 D34] random traffic both ways, on several channels and in all sizes, over connections
/// that are cut at random: every message once, in the order of its channel
#[test]
fn nothing_is_lost_or_doubled_by_cuts() {
    for seed in 0..6 {
        let mut session = SessionOptions::default();
        session.window_messages = 40;
        session.attempts_max = 1000;
        if seed % 3 == 0 {
            session.acknowledge = Acknowledge::Received;
        }
        let mut random = Random::new(seed);
        let mut ends = Ends::new(session);
        let mut sent = [0u32; 2];
        let mut received = [Vec::new(), Vec::new()];
        let mut totals = [0u64; 2];
        let message = |n: u32| {
            let len = [4, 40, 1500, 9000, 100_000][n as usize % 5];
            let mut bytes = vec![n as u8; len];
            bytes[..4].copy_from_slice(&n.to_be_bytes());
            bytes
        };
        const MESSAGES: u32 = 300;
        let (out, back) = (ends.out, ends.back);
        let deadline = Instant::now() + PATIENCE;
        while received.iter().any(|all: &Vec<Vec<u8>>| all.len() < MESSAGES as usize) {
            assert!(Instant::now() < deadline, "seed {seed}: {sent:?}");
            match random.below(20) {
                0 => ends.relay.cut(),
                1..=9 => {
                    let side = random.below(2) as usize;
                    let n = sent[side];
                    let (end, pipe) = [(&mut ends.here, out), (&mut ends.there, back)]
                        .into_iter()
                        .nth(side)
                        .unwrap();
                    if n < MESSAGES && end.engine.send(pipe, 0, &message(n)).unwrap() {
                        sent[side] += 1;
                    }
                }
                _ => {
                    for (side, (end, pipe)) in
                        [(&mut ends.there, back), (&mut ends.here, out)].into_iter().enumerate()
                    {
                        end.drive(Instant::now() + Duration::from_micros(200));
                        let some = end.receive_some(pipe, 1 + random.below(20) as usize);
                        totals[side] += some.len() as u64;
                        received[side].extend(some);
                        end.engine.processed(pipe, totals[side]).unwrap();
                    }
                }
            }
        }
        for all in &received {
            assert!((0..MESSAGES).map(message).eq(all.iter().cloned()), "seed {seed}");
        }
        ends.until(|ends| ends.unconfirmed() == 0);
        let failed = ends.here.engine.stats(out).unwrap().deliveries_failed;
        assert_eq!(failed, 0, "seed {seed}");
    }
}

/// [D31] [D59] a message of the session that stops half-way takes its connection with it, and
/// arrives over the next: nobody waits for an acknowledgement for ever
#[test]
fn a_reliable_message_that_stops_half_way_is_sent_again() {
    let mut session = SessionOptions::default();
    session.attempts_max = u32::MAX;
    let mut options = reliable(session);
    options.reassembly_timeout = Duration::from_millis(100);
    let mut ends = Ends::with(&options);
    let (out, back) = (ends.out, ends.back);
    // Some of its fragments come, and not all.
    ends.relay.budget.store(300_000, Ordering::Relaxed);
    let message = vec![9; 1 << 20];
    assert!(ends.here.engine.send(out, 0, &message).unwrap());
    assert!(ends.here.engine.send(out, 0, b"next").unwrap());
    ends.until(|ends| {
        assert!(ends.there.receive(back).is_empty());
        ends.there.engine.state(back) != Some(ConnectionState::Connected)
    });
    ends.relay.budget.store(u64::MAX, Ordering::Relaxed);
    assert!(ends.received_there(2) == [message, b"next".to_vec()]);
    ends.there.engine.processed(back, 2).unwrap();
    ends.until(|ends| ends.unconfirmed() == 0);
    let stats = ends.there.engine.stats(back).unwrap();
    assert!(stats.link.reassemblies_expired >= 1 && stats.duplicates == 0, "{stats:?}");
}

/// For how long messages are of use in tests in which they must arrive in time.
const TTL: Duration = Duration::from_secs(1);

fn mortal() -> SendOptions {
    let mut options = SendOptions::default();
    options.ttl = Some(TTL);
    options
}

/// [D26] what waited at the receiver until it was stale is dropped there and counted; a session's
/// is acknowledged, so that nobody sends it again. Small ones, fragments, and over a cut
#[test]
fn stale_messages_are_dropped_at_the_receiver() {
    for (is_reliable, is_cut) in [(true, false), (true, true), (false, false)] {
        let mut options = reliable(SessionOptions::default());
        if !is_reliable {
            options.reliable = None;
        }
        let mut ends = Ends::with(&options);
        let (out, back) = (ends.out, ends.back);
        for len in [10, 20_000, 200_000] {
            let payload = vec![7; len];
            assert!(ends.here.engine.send(out, 0, b"for ever").unwrap());
            let sent = ends.here.engine.send_with(out, 0, &payload, mortal()).unwrap();
            assert_eq!(sent, Sent::Accepted);
        }
        // Everything is on its way before it is stale, and read before it is received.
        let start = Instant::now();
        while start.elapsed() < TTL / 2 {
            ends.here.drive(Instant::now() + Duration::from_millis(5));
            ends.there.drive(Instant::now() + Duration::from_millis(5));
        }
        if is_cut {
            ends.relay.cut();
            ends.until(|ends| ends.here.engine.stats(out).unwrap().reconnects > 0);
        }
        thread::sleep((start + TTL + TTL / 10).saturating_duration_since(Instant::now()));
        assert_eq!(ends.received_there(3), [b"for ever"; 3]);
        assert!(ends.there.receive(back).is_empty());
        assert_eq!(ends.there.engine.stats(back).unwrap().link.messages_expired, 3);
        ends.there.engine.processed(back, 3).unwrap();
        ends.until(|ends| ends.unconfirmed() == 0);
        assert_eq!(ends.there.engine.stats(back).unwrap().duplicates, 0);
    }
}

/// Channels with lanes of their own.
fn lanes(channels: &[u16]) -> Qos {
    let mut qos = Qos::default();
    let mut sending = SendingQos::default();
    sending.channels = channels.iter().map(|&it| (it, ChannelOptions::default())).collect();
    qos.sending = Some(sending);
    qos
}

/// [D04] a full window holds back its own lane and no other: what is sent once on a channel of its
/// own, or by itself, goes on; nothing reliable is lost
#[test]
fn lanes_do_not_wait_for_each_other() {
    let mut session = SessionOptions::default();
    session.window_messages = 4;
    let mut options = reliable(session);
    options.lossy_channels = Arc::from([7]);
    let mut ends = Ends::with(&options);
    let (out, back) = (ends.out, ends.back);
    ends.here.engine.shape(out, &lanes(&[7, 8])).unwrap();
    for n in 0..20u8 {
        assert!(ends.here.engine.send(out, 0, &[n]).unwrap());
    }
    let mut once = SendOptions::default();
    once.is_once = true;
    // Each arrives while the window of channel 0 is full; the other reliable channel has its own.
    let mut received = ends.received_there(4);
    for round in 0..30 {
        let (channel, options) =
            [(7, SendOptions::default()), (0, once), (8, SendOptions::default())][round % 3];
        let sent = ends.here.engine.send_with(out, channel, &[100], options).unwrap();
        assert_eq!(sent, Sent::Accepted);
        if round % 3 < 2 || round < 12 {
            assert_eq!(ends.received_there(1), [[100]], "round {round}");
        }
    }
    // Channel 8 has filled its window, too.
    assert_eq!(ends.here.engine.stats(out).unwrap().qos.messages_queued, 16 + 6);
    let mut done = 4 + 20 + 4;
    while received.len() < 20 + 6 {
        ends.there.engine.processed(back, done).unwrap();
        let more = ends.received_there(1);
        done += more.len() as u64;
        received.extend(more);
    }
    let of_channel_0: Vec<_> = received.iter().filter(|it| it[0] < 100).flatten().collect();
    assert!(of_channel_0.into_iter().copied().eq(0..20));
    ends.there.engine.processed(back, done).unwrap();
    ends.until(|ends| ends.unconfirmed() == 0);
}

/// [D04] [D30] a message on one channel more than a session has is refused when it is offered, be
/// there a queue or not; nothing that was accepted is lost, and lossy channels do not count
#[test]
fn one_channel_too_many_is_refused_at_once() {
    for is_queued in [true, false] {
        let mut options = reliable(SessionOptions::default());
        options.lossy_channels = Arc::from([700]);
        let mut ends = Ends::with(&options);
        let out = ends.out;
        if is_queued {
            ends.here.engine.shape(out, &lanes(&[7])).unwrap();
        }
        for channel in 0..128 {
            assert!(ends.here.engine.send(out, channel, &[1]).unwrap());
        }
        let error = ends.here.engine.send(out, 500, &[2]).unwrap_err();
        assert_eq!(error.code(), Code::ChannelsExhausted, "{error}");
        assert!(ends.here.engine.send(out, 700, &[1]).unwrap());
        let mut once = SendOptions::default();
        once.is_once = true;
        let sent = ends.here.engine.send_with(out, 500, &[1], once).unwrap();
        assert_eq!(sent, Sent::Accepted);
        assert!(ends.here.engine.send(out, 127, &[1]).unwrap());
        assert_eq!(ends.received_there(131), vec![[1]; 131]);
        assert_eq!(ends.here.engine.stats(out).unwrap().qos.sends_lost, 0);
    }
}

/// [D04] an announcement that has to wait for room in the session holds the queue up only until
/// there is some
#[test]
fn a_queue_goes_on_behind_an_announcement_that_waits() {
    let mut session = SessionOptions::default();
    session.window_messages = 4;
    let mut ends = Ends::with(&reliable(session));
    let (out, back) = (ends.out, ends.back);
    ends.here.engine.shape(out, &lanes(&[7])).unwrap();
    for n in 0..6 {
        assert!(ends.here.engine.send(out, ANNOUNCEMENTS, &[n]).unwrap());
    }
    assert!(ends.here.engine.send(out, 7, b"behind").unwrap());
    assert_eq!(ends.received_there(1), [b"behind"]);
    for n in 0..6 {
        assert_eq!(ends.there.engine.take_announcement(back).unwrap(), [n].as_slice());
    }
}

/// [D04] one in ten pieces is lost on the way, a connection with each: lossy messages arrive, or
/// are lost with their connection, while nothing reliable is acknowledged at all; then, still under
/// loss, everything reliable arrives, once and in order
#[test]
fn lossy_messages_flow_under_loss_and_reliable_ones_arrive() {
    let mut session = SessionOptions::default();
    (session.window_messages, session.attempts_max) = (8, u32::MAX);
    let mut options = reliable(session);
    options.lossy_channels = Arc::from([7]);
    let mut ends = Ends::with(&options);
    let (out, back) = (ends.out, ends.back);
    ends.here.engine.shape(out, &lanes(&[7])).unwrap();
    for n in 0..60u8 {
        assert!(ends.here.engine.send(out, 0, &[n]).unwrap());
    }
    ends.relay.loss.store(10, Ordering::Relaxed);
    let (mut received, mut struck) = (Vec::new(), 0);
    for n in 0..100u8 {
        let engine = &mut ends.here.engine;
        let is_connected = engine.state(out) == Some(ConnectionState::Connected);
        // The connection that it goes over is this one, or the next.
        let over = engine.stats(out).unwrap().reconnects + u64::from(!is_connected);
        assert!(engine.send(out, 7, &[n, n]).unwrap());
        ends.until(|ends| {
            received.extend(ends.there.receive(back));
            let is_lost = ends.here.engine.stats(out).unwrap().reconnects > over;
            is_lost || received.contains(&vec![n, n])
        });
        struck += usize::from(!received.contains(&vec![n, n]));
    }
    let is_lossy = |it: &&Vec<u8>| it.len() == 2;
    let lossy = received.iter().filter(is_lossy).count();
    assert!(struck > 0 && lossy >= 100 - struck && lossy > 50, "{lossy} of 100, {struck} struck");
    assert!(received.len() - lossy <= 8, "no more than a window, since nothing was acknowledged");
    ends.until(|ends| {
        received.extend(ends.there.receive(back));
        ends.there.engine.processed(back, received.len() as u64).unwrap();
        received.iter().filter(|it| it.len() == 1).count() >= 60 && ends.unconfirmed() == 0
    });
    let all: Vec<u8> = received.iter().filter(|it| it.len() == 1).map(|it| it[0]).collect();
    assert!(all.into_iter().eq(0..60));
}

/// [D04] what is sent once waits for the connection, and what is reliable does not wait for that
#[test]
fn lossy_messages_hold_nothing_up_while_there_is_no_connection() {
    let mut options = reliable(SessionOptions::default());
    options.lossy_channels = Arc::from([7]);
    let mut ends = Ends::with(&options);
    let (out, back) = (ends.out, ends.back);
    ends.here.engine.shape(out, &lanes(&[7])).unwrap();
    ends.relay.cut();
    ends.until(|ends| ends.here.engine.state(out) != Some(ConnectionState::Connected));
    for n in 0..10u8 {
        assert!(ends.here.engine.send(out, 7, &[100]).unwrap());
        assert!(ends.here.engine.send(out, 0, &[n]).unwrap());
    }
    assert_eq!(ends.unconfirmed(), 10);
    let received = ends.received_there(20);
    assert!(received.iter().filter(|it| it[0] < 100).map(|it| it[0]).eq(0..10));
    ends.there.engine.processed(back, 20).unwrap();
    ends.until(|ends| ends.unconfirmed() == 0);
}

/// [D26] what became stale while there was no connection is not sent over the next one
#[test]
fn stale_messages_are_not_sent_again() {
    let mut ends = Ends::new(SessionOptions::default());
    let (out, back) = (ends.out, ends.back);
    ends.relay.cut();
    ends.until(|ends| ends.here.engine.state(out) != Some(ConnectionState::Connected));
    let mut short = SendOptions::default();
    short.ttl = Some(Duration::from_millis(20));
    for n in 0..6 {
        let options = if n % 2 == 0 { short } else { SendOptions::default() };
        assert_eq!(ends.here.engine.send_with(out, 0, &[n], options).unwrap(), Sent::Accepted);
    }
    thread::sleep(Duration::from_millis(30));
    assert_eq!(ends.received_there(3), [[1], [3], [5]]);
    ends.there.engine.processed(back, 3).unwrap();
    ends.until(|ends| ends.unconfirmed() == 0);
    assert_eq!(ends.here.engine.stats(out).unwrap().resends_expired, 3);
}

/// [D33] a full window refuses, and says when there is room; also while there is no connection
#[test]
fn a_full_window_holds_the_sender_back() {
    let mut session = SessionOptions::default();
    session.window_messages = 5;
    let mut ends = Ends::new(session);
    let (out, back) = (ends.out, ends.back);
    let fill =
        |ends: &mut Ends| (0..10).filter(|_| ends.here.engine.send(out, 0, b"x").unwrap()).count();
    assert_eq!(fill(&mut ends), 5);
    ends.here.engine.set_interest(out, Interest { readable: false, writable: true }).unwrap();
    assert_eq!(ends.received_there(5).len(), 5);
    let writable = |event: &Event| matches!(event, Event::Writable(_));
    assert!(!ends.here.events.iter().any(writable), "nothing is acknowledged");
    ends.there.engine.processed(back, 2).unwrap();
    ends.until(|ends| ends.here.events.iter().any(writable));
    assert_eq!(fill(&mut ends), 2);
    ends.here.events.clear();
    ends.relay.cut();
    ends.until(|ends| ends.here.engine.stats(out).unwrap().reconnects > 0);
    assert_eq!(fill(&mut ends), 0, "the cut has freed nothing");
    assert_eq!(ends.received_there(2).len(), 2);
    ends.there.engine.processed(back, 7).unwrap();
    ends.until(|ends| ends.here.events.iter().any(writable));
    assert_eq!(fill(&mut ends), 5);
}

/// [T18] types are announced once in a session, and before what they are about
#[test]
fn announcements_survive_with_the_session() {
    let mut ends = Ends::new(SessionOptions::default());
    let (out, back) = (ends.out, ends.back);
    assert!(ends.here.engine.send(out, ANNOUNCEMENTS, b"a type").unwrap());
    for n in 0..3 {
        assert!(ends.here.engine.send(out, 0, &[n]).unwrap());
        assert_eq!(ends.received_there(1), [[n]]);
        let announced = ends.there.engine.take_announcement(back);
        assert_eq!(announced.as_deref(), (n == 0).then_some(&b"a type"[..]));
        ends.relay.cut();
        ends.until(|ends| ends.here.engine.state(out) != Some(ConnectionState::Connected));
    }
}

/// [D30] a dialer that stays away for too long has lost its session, at both ends
#[test]
fn sessions_are_kept_for_their_time() {
    let mut session = SessionOptions::default();
    session.timeout = Duration::from_millis(60);
    let mut ends = Ends::new(session);
    let (out, back) = (ends.out, ends.back);
    assert!(ends.here.engine.send(out, 0, b"arrives").unwrap());
    assert_eq!(ends.received_there(1).len(), 1);
    assert!(ends.there.engine.send(back, 0, b"does not").unwrap());
    ends.there.engine.flush();
    ends.relay.cut();
    // Nobody drives `here`, so that it does not come back.
    ends.there.closed(back);
    let reason = ends.there.engine.reason(back).unwrap().clone();
    assert_eq!(reason.code, Some(Code::SessionLost));
    assert!(reason.text.contains("1 message"), "{}", reason.text);
    ends.here.closed(out);
    assert_eq!(ends.here.engine.reason(out).unwrap().code, Some(Code::SessionLost));
    let error = ends.here.engine.send(out, 0, b"x").unwrap_err();
    assert_eq!(error.code(), Code::SessionLost);
}

/// [D30] a listener that was started anew says that the session is lost
#[test]
fn a_new_listener_knows_no_old_session() {
    let mut ends = Ends::new(SessionOptions::default());
    let out = ends.out;
    assert!(ends.here.engine.send(out, 0, b"never read").unwrap());
    let mut anew = Driven::new();
    let mut options = ListenOptions::default();
    options.pipe = reliable(SessionOptions::default());
    let listener = anew.listen("tcp://127.0.0.1:0", &options);
    *ends.relay.target.lock().unwrap() = anew.engine.address(listener).unwrap();
    ends.relay.cut();
    let closed = |event: &Event| matches!(event, Event::Closed(pipe) if *pipe == out);
    ends.until(|ends| {
        anew.drive(Instant::now() + Duration::from_millis(1));
        ends.here.events.iter().any(closed)
    });
    let reason = ends.here.engine.reason(out).unwrap();
    assert_eq!(reason.code, Some(Code::SessionLost), "{reason:?}");
    assert!(reason.text.contains("1 message"), "{}", reason.text);
}

/// [D30] both ends must want it, and the one that does not is told so
#[test]
fn a_session_needs_both_ends() {
    let with = reliable(SessionOptions::default());
    let check = |listen: &PipeOptions, dial: &PipeOptions| {
        let scratch = Scratch::new("sided");
        let mut there = Driven::new();
        let mut options = ListenOptions::default();
        options.pipe = listen.clone();
        let listener = there.listen(&scratch.address("tcp"), &options);
        let address = there.engine.address(listener).unwrap();
        let (mut here, out) = Driven::dialing_with(&address, dial);
        let warned = thread::scope(|scope| {
            let warned = scope.spawn(|| there.warning());
            here.closed(out);
            warned.join().unwrap()
        });
        let reason = here.engine.reason(out).unwrap();
        assert_eq!(reason.code, Some(Code::NotSupported), "{reason:?}");
        assert!(reason.text.contains("`reliable`"), "{}", reason.text);
        assert_eq!(warned.code(), Code::NotSupported);
    };
    check(&with, &PipeOptions::default());
    check(&PipeOptions::default(), &with);
}

/// [D04] channels that are not of the session pass by a full window, and end with their connection
#[test]
fn lossy_channels_wait_for_no_window() {
    let mut session = SessionOptions::default();
    session.window_messages = 2;
    let mut options = reliable(session);
    options.lossy_channels = Arc::new([9]);
    let mut ends = Ends::with(&options);
    let out = ends.out;
    for _ in 0..2 {
        assert!(ends.here.engine.send(out, 0, b"reliable").unwrap());
    }
    assert!(!ends.here.engine.send(out, 0, b"no room").unwrap());
    for _ in 0..50 {
        assert!(ends.here.engine.send(out, 9, b"lossy").unwrap());
    }
    assert_eq!(ends.received_there(52).len(), 52);
    assert_eq!(ends.unconfirmed(), 2);
    ends.relay.cut();
    ends.until(|ends| ends.here.engine.state(out) != Some(ConnectionState::Connected));
    assert!(!ends.here.engine.send(out, 9, b"there is nobody").unwrap());
    ends.until(|ends| ends.here.engine.stats(out).unwrap().reconnects == 1);
    assert!(ends.here.engine.send(out, 9, b"lossy again").unwrap());
    assert_eq!(ends.received_there(1), [b"lossy again"], "and nothing twice");
}

/// Two ends without anything in between, so that what one writes is read at once.
fn direct(here: &PipeOptions, there: &PipeOptions) -> (Driven, PipeId, Driven, PipeId, Scratch) {
    let scratch = Scratch::new("direct");
    let mut far = Driven::new();
    let mut options = ListenOptions::default();
    options.pipe = there.clone();
    let listener = far.listen(&scratch.address("tcp"), &options);
    let address = far.engine.address(listener).unwrap();
    let mut near = Driven::new();
    let (out, back) = near.meet(&mut far, &address, here);
    (near, out, far, back, scratch)
}

/// [D31] messages that lie before the peer's orderly end are received, and so are the
/// acknowledgements between them
#[test]
fn an_orderly_end_destroys_nothing_that_came_before() {
    let mut session = SessionOptions::default();
    session.acknowledge = Acknowledge::Received;
    let options = reliable(session);
    let (mut here, out, mut there, back, _scratch) = direct(&options, &options);
    assert!(here.engine.send(out, 0, b"question").unwrap());
    here.settle();
    assert!(there.engine.send(back, 0, b"unread").unwrap());
    let deadline = Instant::now() + PATIENCE;
    let mut asked = Vec::new();
    while asked.is_empty() {
        assert!(Instant::now() < deadline);
        there.settle();
        asked = there.receive(back);
    }
    assert!(there.engine.send(back, 3, &[7; 1000]).unwrap());
    there.engine.close_within(back, &CloseReason::default(), Duration::ZERO);
    there.settle();
    here.closed(out);
    assert_eq!(here.receive(out), [b"unread".to_vec(), vec![7; 1000]]);
    assert_eq!(here.engine.reason(out).unwrap().code, None);
}

/// [D33] what the peer does not accept is refused also while there is no connection
#[test]
fn the_smaller_limit_holds_while_there_is_no_connection() {
    let small = reliable(SessionOptions::default());
    let mut large = small.clone();
    large.message_bytes_max = 4 << 20;
    let mut small = small;
    small.message_bytes_max = 1 << 20;
    let mut ends = Ends::between(&large, &small);
    let out = ends.out;
    ends.relay.cut();
    ends.until(|ends| ends.here.engine.state(out) != Some(ConnectionState::Connected));
    let error = ends.here.engine.send(out, 0, &vec![1; 2 << 20]).unwrap_err();
    assert_eq!(error.code(), Code::MessageTooLarge);
    assert!(ends.here.engine.send(out, 0, b"fits").unwrap());
    assert_eq!(ends.received_there(1), [b"fits"]);
}

/// [D33] who waits until everything is acknowledged is not told of room all the time
#[test]
fn draining_is_quiet() {
    let mut ends = Ends::new(SessionOptions::default());
    let (out, back) = (ends.out, ends.back);
    assert!(ends.here.engine.send(out, 0, b"x").unwrap());
    assert_eq!(ends.here.engine.drain(out), 1);
    ends.here.engine.set_interest(out, Interest { readable: false, writable: true }).unwrap();
    let writable = |event: &Event| matches!(event, Event::Writable(_));
    assert_eq!(ends.received_there(1).len(), 1);
    ends.here.settle();
    assert!(!ends.here.events.iter().any(writable));
    ends.there.engine.processed(back, 1).unwrap();
    ends.until(|ends| ends.here.events.iter().any(writable));
    assert_eq!(ends.here.engine.drain(out), 0);
}

/// [D04] a large message of each kind, half-way through while the other is sent: both arrive
#[test]
fn large_messages_of_both_kinds_do_not_block_each_other() {
    let mut options = reliable(SessionOptions::default());
    options.lossy_channels = Arc::new([9]);
    let (mut here, out, mut there, back, _scratch) = direct(&options, &options);
    let large = vec![5; 15 << 20];
    assert!(!here.engine.send(out, 9, &large).unwrap(), "it is half-way through");
    assert!(here.engine.send(out, 0, b"first").unwrap());
    assert!(here.engine.send(out, 0, &vec![1; 100_000]).unwrap());
    let mut received = Vec::new();
    let mut is_sent = false;
    let deadline = Instant::now() + PATIENCE;
    while received.len() < 3 {
        assert!(Instant::now() < deadline, "{}", received.len());
        is_sent = is_sent || here.engine.send(out, 9, &large).unwrap();
        here.settle();
        there.settle();
        received.extend(there.receive(back));
    }
    assert_eq!(received.iter().map(Vec::len).collect::<Vec<_>>(), [15 << 20, 5, 100_000]);
    // What the session has begun cannot be abandoned, and what is abandoned lets it go on.
    assert!(!here.engine.send(out, 9, &large).unwrap());
    assert!(here.engine.send(out, 0, &vec![2; 3 << 20]).unwrap());
    here.engine.abandon(out);
    here.settle();
    assert!(!here.engine.abandon(out));
    received.clear();
    while received.is_empty() {
        assert!(Instant::now() < deadline);
        here.settle();
        there.settle();
        received.extend(there.receive(back));
    }
    assert_eq!(received, [vec![2; 3 << 20]]);
}

/// [D18] closing waits for acknowledgements, also when they come behind more than anybody reads
#[test]
fn closing_reads_past_what_nobody_receives() {
    let options = reliable(SessionOptions::default());
    let (mut here, out, mut there, back, _scratch) = direct(&options, &options);
    let sent = (0..1000).filter(|_| there.engine.send(back, 0, &[3; 4000]).unwrap()).count();
    assert_eq!(sent, 1000);
    there.settle();
    assert!(here.engine.send(out, 0, b"last words").unwrap());
    here.settle();
    let closed = |event: &Event| matches!(event, Event::Closed(of) if *of == back);
    let mut received = Vec::new();
    here.engine.close_within(out, &CloseReason::default(), Duration::from_secs(3600));
    let deadline = Instant::now() + PATIENCE;
    while !there.events.iter().any(closed) {
        assert!(Instant::now() < deadline, "{received:?}");
        here.drive(Instant::now() + Duration::from_millis(1));
        there.drive(Instant::now() + Duration::from_millis(1));
        received.extend(there.receive(back));
        there.engine.processed(back, received.len() as u64).unwrap();
    }
    assert_eq!(received, [b"last words"]);
}

/// [D32 D33] what has come over many connections and nobody receives is bounded, and not lost
#[test]
fn a_backlog_is_bounded() {
    let mut session = SessionOptions::default();
    (session.window_messages, session.window_bytes) = (64, 64 << 20);
    session.attempts_max = 1000;
    let mut options = reliable(session);
    options.message_bytes_max = 1 << 20;
    let mut ends = Ends::with(&options);
    let (out, back) = (ends.out, ends.back);
    let message = |n: u8| vec![n; 700_000];
    for n in 0..20 {
        assert!(ends.here.engine.send(out, 0, &message(n)).unwrap());
    }
    let deadline = Instant::now() + PATIENCE;
    let is_refused = |ends: &Ends| {
        let reason = ends.here.engine.failure(out);
        reason.is_some_and(|reason| reason.text.contains("has to be received first"))
    };
    while !is_refused(&ends) {
        assert!(Instant::now() < deadline, "{:?}", ends.here.engine.failure(out));
        for _ in 0..20 {
            ends.here.drive(Instant::now() + Duration::from_millis(1));
            ends.there.drive(Instant::now() + Duration::from_millis(1));
        }
        ends.relay.cut();
    }
    let received = ends.received_there(20);
    assert!((0..20).map(message).eq(received));
    ends.there.engine.processed(back, 20).unwrap();
    ends.until(|ends| ends.unconfirmed() == 0);
}

/// A pipe that soon asks whether its peer is there.
fn curious() -> SessionOptions {
    let mut session = SessionOptions::default();
    session.probe_after = Duration::from_millis(100);
    session
}

/// [D32] a connection that swallows everything, without a heartbeat: whoever awaits an
/// acknowledgement finds out, and another connection brings what was sent
#[test]
fn a_black_hole_is_found_out() {
    for is_by_dialer in [true, false] {
        let mut session = curious();
        // The dialer that awaits nothing asks after a quarter of it.
        session.timeout = Duration::from_secs(8);
        let mut ends = Ends::new(session);
        let (out, back) = (ends.out, ends.back);
        ends.relay.hush([true, true]);
        let (end, pipe) =
            if is_by_dialer { (&mut ends.here, out) } else { (&mut ends.there, back) };
        assert!(end.engine.send(pipe, 0, b"into the dark").unwrap());
        ends.until(|ends| ends.here.engine.state(out) != Some(ConnectionState::Connected));
        let reason = ends.here.engine.failure(out).unwrap().clone();
        assert_eq!(reason.code, Some(Code::ConnectionLost), "{reason:?}");
        ends.relay.cut();
        ends.relay.hush([false, false]);
        let mut received = Vec::new();
        ends.until(|ends| {
            received.extend(ends.there.receive(back));
            received.extend(ends.here.receive(out));
            !received.is_empty()
        });
        assert_eq!(received, [b"into the dark"]);
    }
}

/// [D32] an end that does not read, because nobody receives there, is not taken for dead: it says
/// that it lives
#[test]
fn who_holds_its_peer_back_gives_signs_of_life() {
    let mut session = curious();
    (session.window_bytes, session.window_messages) = (64 << 20, 60_000);
    let (mut here, out, mut there, back, _scratch) = direct(&reliable(session), &reliable(session));
    // More than buffers hold, so that some of it waits for somebody to receive.
    let sent = (0..3000).filter(|_| here.engine.send(out, 0, &[1; 10_000]).unwrap()).count();
    assert_eq!(sent, 3000);
    let start = Instant::now();
    // Several times as long as it takes to find out that nobody is there.
    while start.elapsed() < Duration::from_secs(3) {
        here.drive(Instant::now() + Duration::from_millis(1));
        there.drive(Instant::now() + Duration::from_millis(1));
    }
    assert_eq!(here.engine.stats(out).unwrap().reconnects, 0);
    assert_eq!(there.engine.stats(back).unwrap().reconnects, 0);
    let mut received = 0;
    let deadline = Instant::now() + PATIENCE;
    while received < sent {
        assert!(Instant::now() < deadline, "{received} of {sent}");
        here.settle();
        there.settle();
        received += there.receive(back).len();
    }
}
