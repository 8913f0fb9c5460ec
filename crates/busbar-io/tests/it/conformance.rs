//! The same behaviour on every scheme.

use std::num::NonZeroUsize;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use busbar_io::{
    ANNOUNCEMENTS, CloseReason, Code, ConnectionState, Event, ListenOptions, Pipe, PipeId,
    PipeOptions, Trust, dial,
};

use crate::certificates::suited;
use crate::support::{Driven, PATIENCE, Scratch, connected};

fn echoes_every_size(scheme: &str, options: PipeOptions) {
    let scratch = Scratch::new("echo");
    let (_listener, mut here, mut there) = connected(&scratch.address(scheme), options);
    let echo = thread::spawn(move || {
        loop {
            match there.recv(Some(PATIENCE)) {
                Ok(message) => there.send(message.channel, &message, Some(PATIENCE)).unwrap(),
                Err(error) => return error,
            }
        }
    });
    for size in [0, 1, 7, 8, 64, 1023, 1024, 1025, 4096, 65_535, 65_536, 65_537, 1 << 20] {
        let payload: Vec<u8> = (0..size).map(|n: usize| (n * 31 + size) as u8).collect();
        here.send(3, &payload, Some(PATIENCE)).unwrap();
        let back = here.recv(Some(PATIENCE)).unwrap();
        assert_eq!(back.channel, 3);
        assert!(*back == payload, "{size} bytes came back changed");
    }
    here.close(&CloseReason { code: None, status: 7, text: "done".into() });
    let error = echo.join().unwrap();
    assert_eq!((error.code(), error.message()), (Code::Closed, "done"));
}

fn in_order_under_backpressure(scheme: &str, options: PipeOptions) {
    let scratch = Scratch::new("order");
    let (_listener, mut here, mut there) = connected(&scratch.address(scheme), options);
    let sender = thread::spawn(move || {
        for n in 0..20_000_u32 {
            let size = 4 + (n as usize * 7919) % if n % 50 == 0 { 60_000 } else { 900 };
            let mut payload = vec![n as u8; size];
            payload[..4].copy_from_slice(&n.to_le_bytes());
            here.send(0, &payload, Some(PATIENCE)).unwrap();
        }
        here.close(&CloseReason::default());
    });
    for n in 0..20_000_u32 {
        let message = there.recv(Some(PATIENCE)).unwrap();
        assert_eq!(message[..4], n.to_le_bytes());
        assert!(message[4..].iter().all(|&byte| byte == n as u8));
    }
    assert_eq!(there.recv(Some(PATIENCE)).unwrap_err().code(), Code::Closed);
    sender.join().unwrap();
}

/// What is blocked at one end while the other closes.
fn close_wakes(scheme: &str, operation: fn(&mut Pipe) -> Result<(), busbar_io::Error>) {
    let scratch = Scratch::new("close");
    let (_listener, here, mut there) = connected(&scratch.address(scheme), narrow());
    let closing = thread::spawn(move || {
        thread::sleep(Duration::from_millis(40));
        here.close(&CloseReason { code: None, status: 7, text: "last orders".into() });
    });
    let error = loop {
        if let Err(error) = operation(&mut there) {
            break error;
        }
    };
    assert_eq!(error.code(), Code::Closed, "{error}");
    assert!(error.message().contains("last orders"), "{error}");
    let (engine, id) = there.engine();
    assert_eq!(engine.reason(id).map(|reason| reason.status), Some(7));
    closing.join().unwrap();
}

fn timeouts_hold(scheme: &str) {
    let scratch = Scratch::new("timeout");
    let (mut listener, mut here, mut there) = connected(&scratch.address(scheme), narrow());
    let limit = Duration::from_millis(40);
    let late = |begin: Instant, error: busbar_io::Error| {
        assert_eq!((error.code(), error.is_retryable()), (Code::TimedOut, true), "{error}");
        assert!(begin.elapsed() >= limit && begin.elapsed() < PATIENCE);
    };
    let begin = Instant::now();
    late(begin, listener.accept(Some(limit)).err().unwrap());
    let begin = Instant::now();
    late(begin, there.recv(Some(limit)).unwrap_err());
    // The message that timed out is not sent; those before and after it are whole.
    let payload = |n: u8| vec![n; 50_000];
    let mut sent = 0;
    let begin = loop {
        let begin = Instant::now();
        if let Err(error) = here.send(0, &payload(sent), Some(limit)) {
            late(begin, error);
            break sent;
        }
        sent += 1;
    };
    let last = thread::spawn(move || {
        here.send(0, &payload(200), Some(PATIENCE)).unwrap();
        here
    });
    for n in 0..begin {
        assert_eq!(*there.recv(Some(PATIENCE)).unwrap(), payload(n));
    }
    assert_eq!(*there.recv(Some(PATIENCE)).unwrap(), payload(200));
    last.join().unwrap();
}

/// Small enough that a few messages fill it.
fn narrow() -> PipeOptions {
    let mut options = PipeOptions::default();
    options.ring_bytes = 1 << 16;
    options.slab_bytes = 0;
    options.queue_messages = NonZeroUsize::new(4);
    options
}

fn states_in_order(scheme: &str) {
    let scratch = Scratch::new("states");
    let (mut here, mut there) = (Driven::new(), Driven::new());
    let listener = there.listen(&scratch.address(scheme), &ListenOptions::default());
    let address = there.engine.address(listener).unwrap();
    let dialed = here.dial(&address, &PipeOptions::default());
    let deadline = Instant::now() + PATIENCE;
    let is_connected = |event: &Event| matches!(event, Event::State(..));
    while !here.events.iter().any(is_connected) || !there.events.iter().any(is_connected) {
        assert!(Instant::now() < deadline, "{:?} {:?}", here.events, there.events);
        here.settle();
        there.settle();
    }
    let [Event::Accepted { listener: by, pipe: accepted }, Event::State(..)] = *there.events else {
        panic!("{:?}", there.events);
    };
    assert_eq!(by, listener);
    assert!(matches!(*here.events, [Event::State(_, ConnectionState::Connected)]));
    assert_eq!(here.engine.state(dialed), Some(ConnectionState::Connected));
    assert!(here.engine.send(dialed, 0, b"before").unwrap());

    let reason = CloseReason { code: None, status: 12, text: "done".into() };
    here.engine.close(dialed, &reason);
    assert_eq!(here.engine.state(dialed), None);
    there.events.clear();
    there.closed(accepted);
    assert_eq!(state_events(&there, accepted), [ConnectionState::Closed]);
    assert_eq!(there.engine.reason(accepted), Some(&reason));
    assert_eq!(there.receive(accepted), [b"before"]);
    assert_eq!(there.engine.send(accepted, 0, b"after").unwrap_err().code(), Code::Closed);
    there.engine.close(accepted, &CloseReason::default());

    here.events.clear();
    there.events.clear();
    here.settle();
    there.settle();
    assert!(here.events.is_empty() && there.events.is_empty(), "nothing follows a close");
    assert_eq!(
        there.engine.set_interest(accepted, busbar_io::Interest::NONE).unwrap_err().code(),
        Code::Closed
    );
}

fn state_events(driven: &Driven, pipe: PipeId) -> Vec<ConnectionState> {
    let of_pipe = |event: &Event| match *event {
        Event::State(of, state) if of == pipe => Some(state),
        _ => None,
    };
    driven.events.iter().filter_map(of_pipe).collect()
}

/// A pipe that is closed before anybody has heard of it is not heard of.
fn a_pipe_closed_at_once_is_silent(scheme: &str) {
    let scratch = Scratch::new("silent");
    let mut driven = Driven::new();
    let mut there = Driven::new();
    let address = there.listen_on(&scratch, scheme);
    let pipe = driven.dial(&address, &PipeOptions::default());
    driven.engine.close(pipe, &CloseReason::default());
    driven.settle();
    assert!(driven.events.is_empty(), "{:?}", driven.events);
}

fn a_closed_listener_is_gone(scheme: &str) {
    let scratch = Scratch::new("gone");
    let mut address = scratch.address(scheme);
    let mut driven = Driven::new();
    for _ in 0..3 {
        let listener = driven.listen(&address, &ListenOptions::default());
        let bound = driven.engine.address(listener).unwrap();
        assert!(bound == address || address.ends_with(":0"), "{bound}");
        address = bound;
        driven.engine.close_listener(listener);
        assert_eq!(driven.engine.address(listener), None);
        let options = suited(&address, &PipeOptions::default());
        let error = dial(&address, options, PATIENCE).err().unwrap();
        let expected = if scheme.starts_with("tcp") || scheme == "tls" {
            // Nobody but the host itself could say more.
            Code::ConnectionRefused
        } else {
            Code::NotFound
        };
        assert_eq!((error.code(), error.is_retryable()), (expected, true), "{error}");
    }
}

fn an_address_has_one_listener(scheme: &str) {
    let scratch = Scratch::new("one");
    let (mut first, mut second) = (Driven::new(), Driven::new());
    let address = first.listen_on(&scratch, scheme);
    let endpoint = address.parse().unwrap();
    let mut options = ListenOptions::default();
    options.pipe = suited(&address, &options.pipe);
    let error = second.engine.listen(&endpoint, &options).unwrap_err();
    assert_eq!((error.code(), error.is_retryable()), (Code::AddrInUse, false), "{error}");
    first.dial(&address, &PipeOptions::default());
    first.accepted();
}

/// Sixteen mebibytes, of which the transport holds a part at most.
fn the_largest_message_passes(scheme: &str) {
    for options in variants() {
        let scratch = Scratch::new("large");
        let (_listener, mut here, mut there) = connected(&scratch.address(scheme), options);
        let sender = thread::spawn(move || {
            for size in [16 << 20, 1, (16 << 20) - 1] {
                here.send(1, &pattern(size), Some(PATIENCE)).unwrap();
            }
            let error = here.send(1, &pattern((16 << 20) + 1), Some(PATIENCE)).unwrap_err();
            assert_eq!(error.code(), Code::MessageTooLarge, "{error}");
            here.send(1, b"last", Some(PATIENCE)).unwrap();
            here.close(&CloseReason::default());
        });
        for size in [16 << 20, 1, (16 << 20) - 1] {
            assert!(*there.recv(Some(PATIENCE)).unwrap() == pattern(size)[..], "{size} bytes");
        }
        assert_eq!(*there.recv(Some(PATIENCE)).unwrap(), *b"last");
        assert_eq!(there.recv(Some(PATIENCE)).unwrap_err().code(), Code::Closed);
        sender.join().unwrap();
    }
}

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|n| (n.wrapping_mul(0x9E37) >> 7) as u8).collect()
}

/// A large message that was begun and given up leaves no trace.
fn leaves_no_trace(scheme: &str) {
    let scratch = Scratch::new("abandon");
    let (_listener, mut here, mut there) = connected(&scratch.address(scheme), narrow());
    let (stalled, has_stalled) = mpsc::channel();
    let sender = thread::spawn(move || {
        let limit = Duration::from_millis(30);
        for round in 0..3_u8 {
            let error = here.send(7, &vec![1; 15 << 20], Some(limit)).unwrap_err();
            assert_eq!(error.code(), Code::TimedOut, "{error}");
            stalled.send(()).unwrap();
            here.send(u16::from(round), &[round; 3000], Some(PATIENCE)).unwrap();
        }
    });
    for round in 0..3_u8 {
        // Nothing is read before: each of them must stall.
        has_stalled.recv_timeout(PATIENCE).unwrap();
        let message = there.recv(Some(PATIENCE)).unwrap();
        assert_eq!((message.channel, &message[..]), (u16::from(round), &[round; 3000][..]));
    }
    sender.join().unwrap();
}

fn announcements_are_kept_apart(scheme: &str) {
    for options in variants() {
        let scratch = Scratch::new("announce");
        let (_listener, mut here, mut there) = connected(&scratch.address(scheme), options);
        let large = vec![7; 5000];
        for (channel, payload) in
            [(1, &b"first"[..]), (ANNOUNCEMENTS, b"small"), (ANNOUNCEMENTS, &large), (2, &large)]
        {
            here.send(channel, payload, Some(PATIENCE)).unwrap();
        }
        here.close(&CloseReason::default());
        let first = there.recv(Some(PATIENCE)).unwrap();
        assert_eq!((first.channel, &first[..]), (1, &b"first"[..]));
        let second = there.recv(Some(PATIENCE)).unwrap();
        assert_eq!((second.channel, &second[..]), (2, &large[..]));
        assert_eq!(there.recv(Some(PATIENCE)).unwrap_err().code(), Code::Closed);
        let (engine, id) = there.engine();
        assert_eq!(engine.take_announcement(id).unwrap(), "small");
        assert_eq!(engine.take_announcement(id).unwrap(), large);
        assert_eq!(engine.take_announcement(id), None);
    }
}

fn announcements_are_bounded(scheme: &str) {
    let scratch = Scratch::new("flood");
    let (_listener, mut here, mut there) =
        connected(&scratch.address(scheme), PipeOptions::default());
    let sender = thread::spawn(move || {
        for _ in 0..1025 {
            here.send(ANNOUNCEMENTS, b"a type", Some(PATIENCE)).unwrap();
        }
        here
    });
    let error = there.recv(Some(PATIENCE)).unwrap_err();
    sender.join().unwrap();
    assert_eq!(error.code(), Code::Protocol, "{error}");
}

fn variants() -> Vec<PipeOptions> {
    let default = PipeOptions::default();
    let mut tight = default.clone();
    tight.ring_bytes = 1 << 16;
    tight.slab_bytes = 0;
    let mut hostile = default.clone();
    hostile.trust = Trust::Hostile;
    hostile.slab_bytes = 1 << 17;
    vec![default, tight, hostile]
}

macro_rules! on_every_scheme {
    ($($scheme:ident),*) => {$(
        mod $scheme {
            /// [D01 D06 D22] message boundaries, contents and the close reason
            #[test]
            fn echoes_every_size() {
                for options in super::variants() {
                    super::echoes_every_size(stringify!($scheme), options);
                }
            }

            /// [D01 D21] order is kept, nothing sent before close is lost
            #[test]
            fn in_order_under_backpressure() {
                for options in super::variants() {
                    super::in_order_under_backpressure(stringify!($scheme), options);
                }
            }

            /// [D08 D22] a receiver that waits is told who closed and why
            #[test]
            fn close_wakes_a_blocked_receiver() {
                super::close_wakes(stringify!($scheme), |pipe| {
                    pipe.recv(Some(super::PATIENCE)).map(drop)
                });
            }

            /// [D08 D22] so is a sender
            #[test]
            fn close_wakes_a_blocked_sender() {
                super::close_wakes(stringify!($scheme), |pipe| {
                    pipe.send(0, &[1; 30_000], Some(super::PATIENCE))
                });
            }

            /// [D08] whatever waits stops waiting in time
            #[test]
            fn timeouts_hold() {
                super::timeouts_hold(stringify!($scheme));
            }

            /// [D12 D16 D22] the states of both ends, from first to last
            #[test]
            fn states_in_order() {
                super::states_in_order(stringify!($scheme));
            }

            /// [D12] no event follows a close
            #[test]
            fn a_pipe_closed_at_once_is_silent() {
                super::a_pipe_closed_at_once_is_silent(stringify!($scheme));
            }

            /// [T18] what announces types is not among the messages, whatever way it came
            #[test]
            fn announcements_are_kept_apart() {
                super::announcements_are_kept_apart(stringify!($scheme));
            }

            /// [T18 D45] a peer cannot make this end hold announcements without bound
            #[test]
            fn announcements_are_bounded() {
                super::announcements_are_bounded(stringify!($scheme));
            }

            /// [I30] a second listener is refused, and the first is left alone
            #[test]
            fn an_address_has_one_listener() {
                super::an_address_has_one_listener(stringify!($scheme));
            }

            /// [D01] [D59] messages far larger than what the transport holds
            #[test]
            fn the_largest_message_passes() {
                super::the_largest_message_passes(stringify!($scheme));
            }

            /// [I30] a closed listener's name can be bound again, and is not found before
            #[test]
            fn a_closed_listener_is_gone() {
                super::a_closed_listener_is_gone(stringify!($scheme));
            }
        }
    )*};
}

on_every_scheme!(inproc, tcp, tcp6, tls);

#[cfg(unix)]
on_every_scheme!(shm, uds, abstract_name);

#[cfg(windows)]
on_every_scheme!(pipe);

/// [D59] what was begun and given up leaves no trace, where messages travel in parts
#[test]
fn an_abandoned_message_leaves_no_trace() {
    let local: &[_] = if cfg!(unix) { &["shm", "uds"] } else { &["pipe"] };
    for scheme in local.iter().chain(&["tcp", "tls"]) {
        leaves_no_trace(scheme);
    }
}
