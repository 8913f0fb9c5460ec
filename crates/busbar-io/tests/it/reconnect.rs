//! Pipes that outlive their connections, over every transport.

use std::net::TcpListener;
use std::num::{NonZeroU64, NonZeroUsize};
use std::time::{Duration, Instant};

use busbar_io::{
    ANNOUNCEMENTS, Backoff, CloseReason, Code, ConnectionState, Event, Interest, ListenOptions,
    PipeId, PipeOptions, Qos, Rate, SendingQos,
};
use busbar_proto::ConnectionInput;

use crate::support::{Driven, PATIENCE, Random, SCHEMES, Scratch};

fn quick() -> Backoff {
    let mut policy = Backoff::default();
    (policy.initial, policy.max) = (Duration::from_millis(2), Duration::from_millis(10));
    policy
}

fn reconnecting() -> PipeOptions {
    let mut options = PipeOptions::default();
    options.reconnect = Some(quick());
    options
}

/// One message at once, then so many in a second.
fn throttled(per_second: u64) -> Qos {
    let number = |n| NonZeroU64::new(n).unwrap();
    let mut sending = SendingQos::default();
    sending.rate.messages = Some(Rate { per_second: number(per_second), burst: number(1) });
    let mut qos = Qos::default();
    qos.sending = Some(sending);
    qos
}

/// A dialed pipe, and the engine of its peer, which comes and goes.
struct Ends {
    here: Driven,
    there: Option<Driven>,
    address: String,
    pipe: PipeId,
    accepted: Option<PipeId>,
    /// Goes last.
    _scratch: Scratch,
}

impl Ends {
    fn new(scheme: &str, options: &PipeOptions) -> Self {
        let scratch = Scratch::new("again");
        let mut there = Driven::new();
        let listener = there.listen(&scratch.address(scheme), &ListenOptions::default());
        let address = there.engine.address(listener).unwrap();
        let mut here = Driven::new();
        let pipe = here.dial(&address, options);
        let there = Some(there);
        let mut ends = Self { here, there, address, pipe, accepted: None, _scratch: scratch };
        ends.meet();
        ends
    }

    /// Drives both until they are connected.
    fn meet(&mut self) {
        self.accepted = None;
        self.until(|ends| {
            let there = ends.there.as_mut().unwrap();
            let accepted = |event: &Event| match *event {
                Event::Accepted { pipe, .. } => Some(pipe),
                _ => None,
            };
            ends.accepted = ends.accepted.or(there.events.iter().find_map(accepted));
            let state = ends.here.engine.state(ends.pipe);
            ends.accepted.is_some() && state == Some(ConnectionState::Connected)
        });
    }

    fn until(&mut self, mut is_done: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_done(self) {
            assert!(Instant::now() < deadline, "{:?}", self.here.events);
            self.here.drive(Instant::now() + Duration::from_millis(2));
            if let Some(there) = &mut self.there {
                there.drive(Instant::now() + Duration::from_millis(2));
            }
        }
    }

    /// The peer goes without having closed.
    fn crash(&mut self) {
        let mut there = self.there.take().unwrap();
        there.engine.clear();
        drop(there);
    }

    fn come_back(&mut self) {
        let mut there = Driven::new();
        there.listen(&self.address, &ListenOptions::default());
        self.there = Some(there);
    }

    fn await_state(&mut self, state: ConnectionState) {
        self.until(|ends| ends.here.engine.state(ends.pipe) == Some(state));
    }

    /// What the peer has received once there are `count`.
    fn received_there(&mut self, count: usize) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        self.until(|ends| {
            let accepted = ends.accepted.unwrap();
            all.extend(ends.there.as_mut().unwrap().receive(accepted));
            all.len() >= count
        });
        all
    }

    /// Those that changed, attempts that failed left out.
    fn states(&self) -> Vec<ConnectionState> {
        let mut states = self.here.states();
        while let Some(at) = states.windows(3).position(|it| {
            it == [ConnectionState::Disconnected, ConnectionState::Reconnecting, it[0]]
        }) {
            states.drain(at..at + 2);
        }
        states
    }
}

/// [D12 D13 D16 D20] the states of a pipe that loses its connection and gets another
#[test]
fn a_lost_connection_is_replaced() {
    for &scheme in SCHEMES {
        let mut ends = Ends::new(scheme, &reconnecting());
        let first = ends.here.engine.identity(ends.pipe).unwrap();
        ends.crash();
        use ConnectionState::{Connected, Disconnected, Reconnecting};
        ends.await_state(Disconnected);
        assert_eq!(ends.here.engine.identity(ends.pipe), None, "{scheme}");
        let failure = ends.here.engine.failure(ends.pipe).unwrap().code;
        assert!(failure.is_some(), "{scheme}");
        ends.come_back();
        ends.meet();
        let expected = [Connected, Disconnected, Reconnecting, Connected];
        assert_eq!(ends.states(), expected, "{scheme}");
        let second = ends.here.engine.identity(ends.pipe).unwrap();
        assert_eq!(second.session, first.session, "{scheme}");
        assert!(second.epoch > first.epoch, "{scheme}");
        if scheme != "inproc" {
            let accepted = ends.accepted.unwrap();
            assert_eq!(ends.there.as_mut().unwrap().engine.identity(accepted), Some(second));
        }
        let stats = ends.here.engine.stats(ends.pipe).unwrap();
        assert_eq!((stats.reconnects, stats.messages_lost), (1, 0), "{scheme}");
        assert!(!ends.here.events.iter().any(|it| matches!(it, Event::Closed(_))), "{scheme}");
        let pipe = ends.pipe;
        assert!(ends.here.engine.send(pipe, 3, b"again").unwrap());
        assert_eq!(ends.received_there(1), [b"again"], "{scheme}");
    }
}

/// [D19] what is sent while down waits, bounded, and arrives in order, once
#[test]
fn messages_wait_for_the_next_connection() {
    for &scheme in SCHEMES {
        let mut options = reconnecting();
        options.queue_messages = NonZeroUsize::new(100);
        options.ring_bytes = 1 << 16;
        let mut ends = Ends::new(scheme, &options);
        ends.crash();
        ends.await_state(ConnectionState::Disconnected);
        let message = |n: u32| [&n.to_be_bytes()[..], &[7; 300]].concat();
        let pipe = ends.pipe;
        let mut sent = 0;
        while ends.here.engine.send(pipe, 0, &message(sent)).unwrap() {
            sent += 1;
            assert!(sent <= 100, "{scheme}: bounded");
        }
        assert_eq!(sent, 100, "{scheme}");
        let writable = Interest { readable: false, writable: true };
        ends.here.engine.set_interest(pipe, writable).unwrap();
        ends.here.settle();
        assert!(!ends.here.events.iter().any(|it| matches!(it, Event::Writable(_))), "{scheme}");
        ends.come_back();
        ends.meet();
        ends.until(|ends| ends.here.events.iter().any(|it| matches!(it, Event::Writable(_))));
        ends.here.engine.set_interest(pipe, Interest::NONE).unwrap();
        let mut received = ends.received_there(100);
        let mut after = 0;
        while after < 500 {
            if ends.here.engine.send(pipe, 0, &message(sent)).unwrap() {
                sent += 1;
                after += 1;
            } else {
                received.extend(ends.received_there(0));
                ends.here.settle();
                ends.there.as_mut().unwrap().settle();
            }
        }
        let missing = sent as usize - received.len();
        received.extend(ends.received_there(missing));
        assert!((0..sent).map(message).eq(received), "{scheme}");
    }
}

/// [D19] a message larger than the queue waits too, and loans that were made before are not lost
#[test]
fn large_messages_and_loans_wait() {
    for &scheme in SCHEMES {
        let mut ends = Ends::new(scheme, &reconnecting());
        let pipe = ends.pipe;
        let loan = ends.here.engine.loan(pipe, 5000).unwrap();
        ends.crash();
        ends.await_state(ConnectionState::Disconnected);
        if let Some(mut loan) = loan {
            loan.fill(9);
            assert!(ends.here.engine.commit(pipe, 1, loan, 5000).unwrap().is_none());
        } else {
            assert!(ends.here.engine.send(pipe, 1, &[9; 5000]).unwrap());
        }
        assert!(
            ends.here.engine.loan(pipe, 5000).unwrap().is_none(),
            "{scheme}: no memory to lend"
        );
        let too_large = vec![1; (16 << 20) + 1];
        let error = ends.here.engine.send(pipe, 1, &too_large).unwrap_err();
        assert_eq!(error.code(), Code::MessageTooLarge, "{scheme}");
        ends.come_back();
        ends.meet();
        assert_eq!(ends.received_there(1), [vec![9; 5000]], "{scheme}");
        let large = vec![3; 3 << 20];
        let mut received = Vec::new();
        ends.until(|ends| {
            let sent = ends.here.engine.send(pipe, 1, &large).unwrap();
            received.extend(ends.there.as_mut().unwrap().receive(ends.accepted.unwrap()));
            sent
        });
        if received.is_empty() {
            received = ends.received_there(1);
        }
        assert!(received == [large], "{scheme}");
    }
}

/// [D19 T18] types are announced anew, before everything else
#[test]
fn announcements_go_first_on_every_connection() {
    for &scheme in SCHEMES {
        let mut ends = Ends::new(scheme, &reconnecting());
        let pipe = ends.pipe;
        let large = vec![b'x'; 10_000];
        for announcement in [b"small", &large[..]] {
            assert!(ends.here.engine.send(pipe, ANNOUNCEMENTS, announcement).unwrap());
        }
        assert!(ends.here.engine.send(pipe, 0, b"value").unwrap());
        let announced = |ends: &mut Ends| {
            let accepted = ends.accepted.unwrap();
            let engine = &mut ends.there.as_mut().unwrap().engine;
            let all: Vec<_> = std::iter::from_fn(|| engine.take_announcement(accepted)).collect();
            all
        };
        assert_eq!(ends.received_there(1), [b"value"]);
        assert_eq!(announced(&mut ends), [b"small", &large[..]], "{scheme}");
        for _ in 0..2 {
            ends.crash();
            ends.await_state(ConnectionState::Disconnected);
            assert!(ends.here.engine.send(pipe, 0, b"another value").unwrap());
            ends.come_back();
            ends.meet();
            assert_eq!(ends.received_there(1), [b"another value"], "{scheme}");
            assert_eq!(announced(&mut ends), [b"small", &large[..]], "{scheme}");
        }
    }
}

/// [D19] what had come over the lost connection is received first; then that the types are new
#[test]
fn what_had_arrived_comes_first() {
    for &scheme in SCHEMES {
        let mut ends = Ends::new(scheme, &reconnecting());
        let (pipe, accepted) = (ends.pipe, ends.accepted.unwrap());
        let there = &mut ends.there.as_mut().unwrap().engine;
        for n in 0..10 {
            assert!(there.send(accepted, 0, &[n]).unwrap());
        }
        there.flush();
        ends.crash();
        ends.await_state(ConnectionState::Disconnected);
        ends.come_back();
        ends.meet();
        let accepted = ends.accepted.unwrap();
        assert!(ends.there.as_mut().unwrap().engine.send(accepted, 0, &[10]).unwrap());
        let mut received = Vec::new();
        ends.until(|ends| {
            received.extend(ends.here.receive(pipe));
            received.len() == 11
        });
        assert!((0..11).map(|n| vec![n]).eq(received), "{scheme}");
        assert!(ends.here.engine.take_announcement(pipe).unwrap().is_empty(), "{scheme}: forget");
        let stats = ends.here.engine.stats(pipe).unwrap().link;
        assert_eq!(stats.messages_received, 11, "{scheme}: counted over both connections");
    }
}

/// [D19 D43] a loan of a lost connection goes out over the next one as a copy, whether it was
/// committed before, between or after
#[test]
fn loans_of_a_lost_connection_are_copied() {
    for &scheme in SCHEMES {
        let mut ends = Ends::new(scheme, &reconnecting());
        let pipe = ends.pipe;
        let mut loan = |byte| {
            let mut loan = ends.here.engine.loan(pipe, 5000).unwrap().unwrap();
            loan.fill(byte);
            loan
        };
        let loans = [loan(1), loan(2)];
        let queued = loan(0);
        // A queue in front of the link, that a throttle holds back.
        ends.here.engine.shape(pipe, &throttled(4)).unwrap();
        assert!(ends.here.engine.send(pipe, 0, b"takes the token").unwrap());
        assert!(ends.here.engine.commit(pipe, 0, queued, 5000).unwrap().is_none());
        ends.crash();
        ends.await_state(ConnectionState::Disconnected);
        ends.come_back();
        ends.meet();
        for loan in loans {
            assert!(ends.here.engine.commit(pipe, 0, loan, 4000).unwrap().is_none(), "{scheme}");
        }
        let expected = [vec![0; 5000], vec![1; 4000], vec![2; 4000]];
        assert!(ends.received_there(3) == expected, "{scheme}");
        assert_eq!(ends.here.engine.stats(pipe).unwrap().qos.sends_lost, 0, "{scheme}");
    }
}

/// [D19 D43] a loan is not lost with a connection of which writing finds out first that it is gone
#[test]
fn a_loan_outlives_a_connection_that_has_failed_unseen() {
    for scheme in ["uds", "tcp", "tls"] {
        let mut ends = Ends::new(scheme, &reconnecting());
        let pipe = ends.pipe;
        let mut loan = ends.here.engine.loan(pipe, 5000).unwrap().unwrap();
        loan.fill(7);
        ends.crash();
        let deadline = Instant::now() + PATIENCE;
        while ends.here.engine.send(pipe, 0, &[0; 20_000]).unwrap() {
            assert!(Instant::now() < deadline, "{scheme}");
        }
        let back = ends.here.engine.commit(pipe, 0, loan, 5000).unwrap();
        ends.come_back();
        ends.meet();
        if let Some(loan) = back {
            assert!(ends.here.engine.commit(pipe, 0, loan, 5000).unwrap().is_none(), "{scheme}");
        }
        assert!(ends.received_there(1) == [[7; 5000]], "{scheme}");
    }
}

/// [D19 D21] what the queue still has when the pipe is closed goes out before the reason does
#[test]
fn a_closed_pipe_delivers_its_queue() {
    for &scheme in SCHEMES {
        for is_down in [false, true] {
            let mut options = reconnecting();
            options.ring_bytes = 1 << 16;
            options.queue_messages = NonZeroUsize::new(32);
            let mut ends = Ends::new(scheme, &options);
            let pipe = ends.pipe;
            ends.crash();
            ends.await_state(ConnectionState::Disconnected);
            // More than the next connection takes at once.
            let large = vec![7; 1 << 20];
            for n in 0..20 {
                assert!(ends.here.engine.send(pipe, 0, &[n]).unwrap());
            }
            assert!(ends.here.engine.send(pipe, 0, &large[..50_000]).unwrap());
            let bye = CloseReason { code: None, status: 7, text: "done".into() };
            if is_down {
                ends.here.engine.close(pipe, &bye);
                ends.come_back();
            } else {
                ends.come_back();
                ends.meet();
                ends.here.engine.close(pipe, &bye);
            }
            ends.here.events.clear();
            assert_eq!(ends.here.engine.state(pipe), None, "{scheme}");
            assert!(ends.here.engine.send(pipe, 0, b"late").is_err(), "{scheme}");
            let mut received = Vec::new();
            let reason = loop {
                ends.here.drive(Instant::now() + Duration::from_millis(2));
                let there = ends.there.as_mut().unwrap();
                there.drive(Instant::now() + Duration::from_millis(2));
                let accepted = there.events.iter().find_map(|event| match *event {
                    Event::Accepted { pipe, .. } => Some(pipe),
                    _ => None,
                });
                ends.accepted = ends.accepted.filter(|_| !is_down).or(accepted);
                let Some(accepted) = ends.accepted else { continue };
                received.extend(there.receive(accepted));
                if let Some(reason) = there.engine.reason(accepted) {
                    break reason.clone();
                }
            };
            received.extend(ends.there.as_mut().unwrap().receive(ends.accepted.unwrap()));
            assert_eq!(received.len(), 21, "{scheme}, {is_down}");
            assert!((0..20).map(|n| vec![n]).eq(received[..20].iter().cloned()), "{scheme}");
            assert_eq!(reason, bye, "{scheme}");
            let deadline = Instant::now() + PATIENCE;
            while ends.here.engine.is_lingering() {
                assert!(Instant::now() < deadline, "{scheme}: lingers for ever");
                ends.here.drive(Instant::now() + Duration::from_millis(2));
            }
            assert!(ends.here.events.is_empty(), "{scheme}: {:?}", ends.here.events);
            assert_eq!(ends.here.engine.next_deadline(), None, "{scheme}");
        }
    }
}

/// [D15 D19 D21] a queue that nobody takes is given up when its time is up
#[test]
fn lingering_without_a_connection_is_bounded() {
    let mut ends = Ends::new("tcp", &reconnecting());
    let pipe = ends.pipe;
    ends.crash();
    ends.await_state(ConnectionState::Disconnected);
    for _ in 0..3 {
        assert!(ends.here.engine.send(pipe, 0, b"nobody").unwrap());
    }
    let reason = CloseReason::default();
    let linger = Duration::from_millis(30);
    assert_eq!(ends.here.engine.close_within(pipe, &reason, linger), 0);
    assert_eq!(ends.here.engine.close_within(pipe, &reason, linger), 0, "twice");
    assert!(ends.here.engine.is_lingering());
    let deadline = Instant::now() + PATIENCE;
    while ends.here.engine.is_lingering() {
        assert!(Instant::now() < deadline);
        ends.here.drive(Instant::now() + Duration::from_millis(5));
    }
    assert_eq!((ends.here.engine.next_deadline(), ends.here.engine.has_work()), (None, false));

    let mut ends = Ends::new("tcp", &reconnecting());
    let pipe = ends.pipe;
    ends.crash();
    ends.await_state(ConnectionState::Disconnected);
    assert!(ends.here.engine.send(pipe, 0, b"nobody").unwrap());
    assert_eq!(ends.here.engine.close_within(pipe, &reason, Duration::ZERO), 1, "given up");
    assert!(!ends.here.engine.is_lingering());
}

/// [D19 T18] a large message of which a part went out over the lost connection does not overtake
/// the types that the next one has to be told
#[test]
fn announcements_go_before_a_message_that_was_begun() {
    for &scheme in SCHEMES {
        let mut options = reconnecting();
        options.ring_bytes = 1 << 16;
        options.slab_bytes = 0;
        options.queue_messages = NonZeroUsize::new(4);
        let mut ends = Ends::new(scheme, &options);
        let pipe = ends.pipe;
        let mut qos = Qos::default();
        qos.sending = Some(SendingQos::default());
        ends.here.engine.shape(pipe, &qos).unwrap();
        assert!(ends.here.engine.send(pipe, ANNOUNCEMENTS, b"type").unwrap());
        let large = vec![3; 12 << 20];
        // The peer does not read: one is begun and others wait.
        for _ in 0..8 {
            if !ends.here.engine.send(pipe, 1, &large).unwrap() {
                break;
            }
        }
        ends.here.settle();
        ends.crash();
        ends.await_state(ConnectionState::Disconnected);
        ends.come_back();
        ends.meet();
        let first = ends.received_there(1);
        assert!(first[0] == large, "{scheme}");
        let accepted = ends.accepted.unwrap();
        let announced = ends.there.as_mut().unwrap().engine.take_announcement(accepted);
        assert_eq!(announced.as_deref(), Some(&b"type"[..]), "{scheme}: known before the message");
    }
}

/// [D19] messages that waited to be written when the connection was lost are counted, each once
#[test]
fn messages_lost_with_a_connection_are_counted() {
    for scheme in ["uds", "tcp"].into_iter().filter(|scheme| SCHEMES.contains(scheme)) {
        let mut options = reconnecting();
        options.ring_bytes = 1 << 22;
        let mut ends = Ends::new(scheme, &options);
        let pipe = ends.pipe;
        // Nobody reads there: what the socket does not take stays in the queue.
        let large = vec![5; 300_000];
        let mut sent = 0_u64;
        while ends.here.engine.send(pipe, 0, &large).unwrap() {
            ends.here.engine.flush();
            sent += 1;
        }
        ends.here.engine.abandon(pipe);
        let mut small = 0_u64;
        while small < 50 && ends.here.engine.send(pipe, 1, b"small").unwrap() {
            small += 1;
        }
        assert_eq!(small, 50, "{scheme}");
        ends.crash();
        ends.await_state(ConnectionState::Disconnected);
        let lost = ends.here.engine.stats(pipe).unwrap().messages_lost;
        assert!(lost > small && lost <= sent + small, "{scheme}: {lost} of {sent} + {small}");
    }
}

/// [D12] each DISCONNECTED event has the reason of its own, however late it is looked at
#[test]
fn each_loss_keeps_its_reason() {
    let mut options = reconnecting();
    options.reconnect.as_mut().unwrap().attempts_max = 3;
    let mut ends = Ends::new("tcp", &options);
    ends.crash();
    let pipe = ends.pipe;
    ends.here.until(|event| matches!(event, Event::Closed(it) if *it == pipe).then_some(()));
    let mut reason = || ends.here.engine.take_failure(pipe).unwrap().code.unwrap();
    assert_eq!(reason(), Code::ConnectionLost);
    assert_eq!([reason(), reason(), reason()], [Code::ConnectionRefused; 3]);
    assert_eq!(reason(), Code::ConnectionRefused, "the last stays");
}

/// [D09] a thread that dials with retries waits for its listener, and for as long as it said
#[test]
fn dialing_from_a_thread_waits_for_its_listener() {
    for &scheme in SCHEMES {
        let scratch = Scratch::new("patient");
        let mut first = Driven::new();
        let listener = first.listen(&scratch.address(scheme), &ListenOptions::default());
        let address = first.engine.address(listener).unwrap();
        first.engine.close_listener(listener);
        drop(first);
        let mut options = PipeOptions::default();
        options.retry = Some(quick());
        let error = busbar_io::dial(&address, options.clone(), Duration::from_millis(40));
        assert_eq!(error.map(drop).unwrap_err().code(), Code::TimedOut, "{scheme}");
        let there = address.clone();
        let listening = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(40));
            let mut listener = busbar_io::listen(&there, ListenOptions::default()).unwrap();
            listener.accept(Some(PATIENCE)).unwrap()
        });
        let mut pipe = busbar_io::dial(&address, options, PATIENCE).unwrap();
        pipe.send(0, b"met", Some(PATIENCE)).unwrap();
        let mut accepted = listening.join().unwrap();
        assert_eq!(*accepted.recv(Some(PATIENCE)).unwrap(), *b"met", "{scheme}");
    }
}

/// [D21] a pipe of a plain thread delivers its queue from the background
#[cfg(target_os = "linux")]
#[test]
fn a_dropped_pipe_delivers_its_queue() {
    let scratch = Scratch::new("background");
    let mut listener = busbar_io::listen(&scratch.shm(), ListenOptions::default()).unwrap();
    let address = listener.local_address();
    let accepting = std::thread::spawn(move || listener.accept(Some(PATIENCE)).unwrap());
    let mut pipe = busbar_io::dial(&address, PipeOptions::default(), PATIENCE).unwrap();
    let mut accepted = accepting.join().unwrap();
    let (engine, id) = pipe.engine();
    engine.shape(id, &throttled(200)).unwrap();
    for n in 0..10 {
        pipe.send(0, &[n], Some(PATIENCE)).unwrap();
    }
    pipe.close(&CloseReason { code: None, status: 3, text: "all".into() });
    for n in 0..10 {
        assert_eq!(*accepted.recv(Some(PATIENCE)).unwrap(), [n]);
    }
    let error = accepted.recv(Some(PATIENCE)).unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::Closed, "all"));
}

/// [D13 D17 D19] attempts are bounded if they are to be; the pipe then ends with why they failed
#[test]
fn attempts_end() {
    for &scheme in SCHEMES {
        let mut options = reconnecting();
        options.reconnect.as_mut().unwrap().attempts_max = 3;
        let mut ends = Ends::new(scheme, &options);
        ends.here.events.clear();
        ends.crash();
        let pipe = ends.pipe;
        ends.here.until(|event| matches!(event, Event::Closed(it) if *it == pipe).then_some(()));
        use ConnectionState::{Closed, Disconnected, Reconnecting};
        let states = ends.here.states();
        let attempt = [Disconnected, Reconnecting];
        let expected = [&attempt.repeat(3)[..], &[Disconnected, Closed]].concat();
        assert_eq!(states, expected, "{scheme}");
        let code = ends.here.engine.reason(pipe).unwrap().code;
        let nobody = if scheme == "tcp" { Code::ConnectionRefused } else { Code::NotFound };
        assert_eq!(code, Some(nobody), "{scheme}");
        assert_eq!(ends.here.engine.next_deadline(), None, "{scheme}");
        assert!(ends.here.engine.send(pipe, 0, b"x").is_err(), "{scheme}");
    }
}

/// [D13 D22] an orderly close by the peer is an end, and no loss
#[test]
fn an_orderly_close_is_final() {
    for &scheme in SCHEMES {
        let mut ends = Ends::new(scheme, &reconnecting());
        let accepted = ends.accepted.unwrap();
        let bye = CloseReason { code: None, status: 4, text: "bye".into() };
        ends.there.as_mut().unwrap().engine.close(accepted, &bye);
        let pipe = ends.pipe;
        ends.here.closed(pipe);
        assert_eq!(ends.here.engine.reason(pipe), Some(&bye), "{scheme}");
        assert_eq!(ends.here.engine.state(pipe), Some(ConnectionState::Closed));
    }
}

/// [D15] a pipe is closed at once whatever its attempt waits for, and leaves nothing behind
#[test]
fn close_does_not_wait_for_an_attempt() {
    let mut ends = Ends::new("tcp", &reconnecting());
    ends.crash();
    // Whoever connects now waits in a queue that nobody looks into.
    let mute = TcpListener::bind(ends.address.strip_prefix("tcp://").unwrap()).unwrap();
    ends.await_state(ConnectionState::Reconnecting);
    let pipe = ends.pipe;
    assert!(ends.here.engine.next_deadline().is_some(), "the attempt is bounded");
    ends.here.engine.close(pipe, &CloseReason::default());
    assert_eq!(ends.here.engine.state(pipe), None);
    assert_eq!((ends.here.engine.next_deadline(), ends.here.engine.has_work()), (None, false));
    drop(mute);
}

/// [D13 D15] an attempt that nobody answers is given up for the next
#[test]
fn an_attempt_is_bounded() {
    let mut options = reconnecting();
    options.connect_timeout = Duration::from_millis(50);
    let mut ends = Ends::new("tcp", &options);
    ends.crash();
    let mute = TcpListener::bind(ends.address.strip_prefix("tcp://").unwrap()).unwrap();
    ends.await_state(ConnectionState::Reconnecting);
    ends.await_state(ConnectionState::Disconnected);
    drop(mute);
    ends.until(|ends| {
        let failure = ends.here.engine.failure(ends.pipe).unwrap().code;
        failure == Some(Code::ConnectionRefused)
    });
    ends.come_back();
    ends.meet();
}

/// [D09 D13] dialing goes on until somebody listens; without a loss there is no other connection
#[test]
fn dialing_waits_for_its_listener() {
    for &scheme in SCHEMES {
        let scratch = Scratch::new("early");
        let mut there = Driven::new();
        let listener = there.listen(&scratch.address(scheme), &ListenOptions::default());
        let address = there.engine.address(listener).unwrap();
        there.engine.close_listener(listener);
        let mut options = PipeOptions::default();
        options.retry = Some(quick());
        let mut here = Driven::new();
        let pipe = here.dial(&address, &options);
        let until = Instant::now() + Duration::from_millis(40);
        while Instant::now() < until {
            here.drive(until);
        }
        assert_ne!(here.engine.state(pipe), Some(ConnectionState::Connected));
        there.listen(&address, &ListenOptions::default());
        let mut ends =
            Ends { here, there: Some(there), address, pipe, accepted: None, _scratch: scratch };
        ends.meet();
        ends.crash();
        ends.here.closed(pipe);
        assert_eq!(ends.here.engine.reason(pipe).unwrap().code, Some(Code::ConnectionLost));
    }
}

/// [D16] whatever happens, no pipe goes from one state to another in a way that the table does
/// not have
#[test]
fn random_events_make_legal_transitions_only() {
    for &scheme in SCHEMES {
        for seed in 0..6 {
            let mut random = Random::new(seed);
            let mut options = reconnecting();
            options.reconnect.as_mut().unwrap().attempts_max = random.below(2) as u32 * 20;
            let mut ends = Ends::new(scheme, &options);
            for _ in 0..60 {
                match random.below(6) {
                    0 if ends.there.is_some() => ends.crash(),
                    1 if ends.there.is_none() => ends.come_back(),
                    2 => drop(ends.here.engine.send(ends.pipe, 0, &[1; 2000])),
                    3 => drop(ends.here.receive(ends.pipe)),
                    _ => {
                        ends.here.drive(Instant::now() + Duration::from_millis(random.below(6)));
                        if let Some(there) = &mut ends.there {
                            there.drive(Instant::now() + Duration::from_millis(random.below(3)));
                        }
                    }
                }
            }
            let mut state = ConnectionState::Connecting;
            for next in ends.here.states() {
                let is_legal = |&input: &ConnectionInput| state.next(input) == Some(next);
                assert!(
                    ConnectionInput::ALL.iter().any(is_legal),
                    "{scheme}, seed {seed}: {state} to {next}"
                );
                state = next;
            }
            assert_eq!(Some(state), ends.here.engine.state(ends.pipe), "{scheme}, seed {seed}");
        }
    }
}
