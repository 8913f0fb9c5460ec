//! What only streams have: a peer that says what it likes, byte by byte, over a socket of its own;
//! and what they cost in system calls.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use busbar_io::{
    Access, AccessList, CloseReason, Code, ConnectionState, Event, Interest, ListenOptions, PipeId,
    PipeOptions, dial, listen,
};
use busbar_proto::frame::{self, Decoder, Fragment, Header, Kind};
use busbar_proto::{Epoch, Hello, Limits, SessionId};

use crate::child::{LARGE, LARGE_BYTES};
use crate::support::{Driven, PATIENCE, Role, Scratch};

const READABLE: Interest = Interest { readable: true, writable: false };

/// A dialer made by hand.
struct Raw(TcpStream);

impl Raw {
    fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address.strip_prefix("tcp://").unwrap()).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// What the other end says until it ends the stream.
    fn frames(&mut self) -> Vec<(Kind, Vec<u8>)> {
        let mut wire = Vec::new();
        self.0.read_to_end(&mut wire).unwrap();
        let mut decoder = Decoder::new(Limits::default());
        let (mut input, mut frames) = (&wire[..], Vec::new());
        while let Some(frame) = decoder.decode(&mut input).unwrap() {
            frames.push((frame.header.kind, frame.payload.to_vec()));
        }
        frames
    }
}

fn wire(header: &Header, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let limits = Limits::new(1 << 20, 1 << 30).unwrap();
    frame::encode(header, payload, limits, &mut out).unwrap();
    out
}

fn hello() -> Vec<u8> {
    let hello = Hello::new(SessionId([7; 16]), Epoch(1), Limits::default());
    wire(&Header::new(Kind::Hello), &hello.encode())
}

fn data(channel: u16, payload: &[u8]) -> Vec<u8> {
    wire(&Header { channel, ..Header::new(Kind::Data) }, payload)
}

fn fragment(index: u32, count: u32, total_bytes: u64, payload: &[u8]) -> Vec<u8> {
    let fragment = Some(Fragment { index, count, total_bytes });
    wire(&Header { fragment, ..Header::new(Kind::Data) }, payload)
}

fn close(text: &str) -> Vec<u8> {
    let reason = CloseReason { code: None, status: 9, text: text.into() };
    wire(&Header::new(Kind::Close), &reason.encode())
}

/// Takes everything that comes until the pipe is over.
fn drain(driven: &mut Driven, pipe: PipeId) -> (Vec<Vec<u8>>, CloseReason) {
    driven.engine.set_interest(pipe, READABLE).unwrap();
    let mut received = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while driven.engine.reason(pipe).is_none() {
        assert!(Instant::now() < deadline, "the pipe does not end");
        driven.engine.wait(&mut Vec::new(), Some(Instant::now() + Duration::from_millis(20)));
        received.append(&mut driven.receive(pipe));
    }
    received.append(&mut driven.receive(pipe));
    (received, driven.engine.reason(pipe).unwrap().clone())
}

/// [D45 D56] however a stream is cut on its way, the messages are the same
#[test]
fn every_way_of_cutting_a_stream_gives_the_same_messages() {
    let whole = [
        hello(),
        data(3, b"first"),
        data(3, b""),
        fragment(0, 3, 7, b"abc"),
        data(4, &[5; 100]),
        fragment(0, 2, 6, b"abc"),
        fragment(1, 2, 6, b"def"),
        close("enough"),
    ]
    .concat();
    let expected: [&[u8]; 4] = [b"first", b"", &[5; 100], b"abcdef"];
    let mut driven = Driven::new();
    let address = driven.listen_on(&Scratch::new("cut"), "tcp");
    let mut check = |pieces: &[&[u8]]| {
        let mut raw = Raw::connect(&address);
        for piece in pieces {
            raw.send(piece);
            driven.settle();
        }
        let pipe = driven.accepted();
        let (received, reason) = drain(&mut driven, pipe);
        assert_eq!(received, expected, "{pieces:?}");
        assert_eq!((reason.code, reason.status, &*reason.text), (None, 9, "enough"));
        driven.engine.close(pipe, &CloseReason::default());
        driven.events.clear();
        drop(raw);
    };
    for cut in 0..=whole.len() {
        let (head, tail) = whole.split_at(cut);
        check(&[head, tail]);
    }
    check(&whole.chunks(1).collect::<Vec<_>>());
}

/// [D39 D45] a stream that ends anywhere gives the whole messages before, and is lost
#[test]
fn a_stream_that_ends_within_a_frame_is_lost() {
    let whole = [hello(), data(0, b"one"), fragment(0, 2, 6, b"abc"), data(1, b"two")].concat();
    let ends = [hello().len(), hello().len() + data(0, b"one").len(), whole.len()];
    let mut driven = Driven::new();
    let address = driven.listen_on(&Scratch::new("ends"), "tcp");
    for cut in hello().len()..=whole.len() {
        let mut raw = Raw::connect(&address);
        raw.send(&whole[..cut]);
        drop(raw);
        let pipe = driven.accepted();
        let (received, reason) = drain(&mut driven, pipe);
        assert_eq!(received.len(), ends[1..].iter().filter(|&&end| end <= cut).count(), "{cut}");
        assert_eq!(reason.code, Some(Code::ConnectionLost), "{cut}");
        driven.engine.close(pipe, &CloseReason::default());
        driven.events.clear();
    }
}

/// [D45 D56 D58] whatever breaks the rules ends the connection, says why to its peer, and takes
/// nothing from what came before
#[test]
fn breaches_end_the_connection_and_nothing_else() {
    let oversize = [&(1_u32 << 31).to_be_bytes()[..], &[3, 0, 0, 0], &[0; 8]].concat();
    let mut unknown = data(0, b"?");
    unknown[4] = 99;
    let mut flags = data(0, b"?");
    flags[5] = 0x80;
    let cases: [(&str, Vec<u8>, Code); 9] = [
        ("garbage", b"GET / HTTP/1.1\r\n\r\n".to_vec(), Code::Protocol),
        ("a length of 2 GiB", oversize, Code::MessageTooLarge),
        ("one byte above a frame", data(0, &[0; 65_537]), Code::MessageTooLarge),
        ("an unknown kind", unknown, Code::Protocol),
        ("an unknown flag", flags, Code::Protocol),
        ("a second HELLO", hello(), Code::Protocol),
        ("a fragment of nothing", fragment(1, 3, 9, b"abc"), Code::Protocol),
        ("more than a message", fragment(0, 2, (16 << 20) + 1, b"a"), Code::MessageTooLarge),
        ("a CLOSE of one byte", wire(&Header::new(Kind::Close), &[1]), Code::Protocol),
    ];
    let mut driven = Driven::new();
    let address = driven.listen_on(&Scratch::new("breach"), "tcp");
    for (what, bytes, code) in cases {
        let mut raw = Raw::connect(&address);
        raw.send(&[hello(), data(0, b"good"), bytes].concat());
        let pipe = driven.accepted();
        let (received, reason) = drain(&mut driven, pipe);
        assert_eq!(received, [b"good"], "{what}");
        assert_eq!(reason.code, Some(code), "{what}: {reason}");
        let told = thread::spawn(move || raw.frames());
        driven.engine.close(pipe, &CloseReason::default());
        while !told.is_finished() {
            driven.settle();
        }
        let told = told.join().unwrap();
        assert_eq!(told.len(), 2, "{what}: {told:?}");
        assert_eq!((told[0].0, told[1].0), (Kind::Hello, Kind::Close), "{what}");
        assert_eq!(CloseReason::decode(&told[1].1).unwrap().code, Some(code), "{what}");
        driven.events.clear();
    }
}

/// [D45] what came before a breach can be received after it, whatever else the peer does meanwhile
#[test]
fn a_breach_takes_nothing_from_who_receives_later() {
    let mut driven = Driven::new();
    let address = driven.listen_on(&Scratch::new("later"), "tcp");
    let mut raw = Raw::connect(&address);
    raw.send(&[hello(), data(0, b"good"), b"garbage that is no frame".to_vec()].concat());
    let pipe = driven.accepted();
    driven.closed(pipe);
    raw.send(b"more of it");
    raw.0.shutdown(std::net::Shutdown::Write).unwrap();
    driven.settle();
    assert_eq!(driven.receive(pipe), [b"good"]);
    driven.engine.close(pipe, &CloseReason::default());
    driven.settle();
    assert!(!driven.engine.is_lingering());
    assert_eq!(raw.frames().last().unwrap().0, Kind::Close);
}

/// [D37 D54] who does not introduce itself properly is told, and nobody else is disturbed
#[test]
fn strangers_are_turned_away() {
    let mut driven = Driven::new();
    let address = driven.listen_on(&Scratch::new("stranger"), "tcp");
    let mut later = Hello::new(SessionId([7; 16]), Epoch(1), Limits::default()).encode();
    later[4..8].copy_from_slice(&[0, 2, 0, 3]);
    let cases = [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), Code::Protocol),
        (data(0, b"too early"), Code::Protocol),
        (wire(&Header::new(Kind::Hello), &later), Code::VersionMismatch),
    ];
    for (bytes, code) in cases {
        let mut raw = Raw::connect(&address);
        raw.send(&bytes);
        assert_eq!(driven.warning().code(), code);
        let told = raw.frames();
        assert_eq!(told[0].0, Kind::Reject);
        assert_eq!(CloseReason::decode_reject(&told[0].1).unwrap().code, Some(code));
    }
    driven.dial(&address, &PipeOptions::default());
    driven.accepted();
}

/// [D09] a dialer that connects and says nothing is dropped in time
#[test]
fn a_mute_dialer_is_dropped() {
    let mut driven = Driven::new();
    let mut options = ListenOptions::default();
    options.handshake_timeout = Duration::from_millis(60);
    let listener = driven.listen("tcp://127.0.0.1:0", &options);
    let mut raw = Raw::connect(&driven.engine.address(listener).unwrap());
    raw.send(&hello()[..20]);
    assert_eq!(driven.warning().code(), Code::TimedOut);
    assert_eq!(raw.0.read(&mut [0; 1]).unwrap_or(0), 0);
}

/// [D08 D09 D15] dialing what never answers ends when the dialer has enough, at once
#[test]
fn a_black_hole_holds_nobody() {
    // A queue that is full: what comes is not answered.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let _waiting: Vec<_> = (0..2).map(|_| Driven::dialing(&address)).collect();
    let begin = Instant::now();
    let mut dialer = Driven::dialing(&address);
    dialer.0.settle();
    assert_eq!(dialer.0.engine.state(dialer.1), Some(ConnectionState::Connecting));
    dialer.0.engine.close(dialer.1, &CloseReason::default());
    assert!(!dialer.0.engine.is_lingering());
    let timeout = Duration::from_millis(100);
    let error = dial(&address, PipeOptions::default(), timeout).err().unwrap();
    assert_eq!(error.code(), Code::TimedOut, "{error}");
    assert!(begin.elapsed() >= timeout && begin.elapsed() < Duration::from_secs(2));
}

/// [D07] hosts have names; what cannot be found says so
#[test]
fn names_are_looked_up() {
    let mut driven = Driven::new();
    let listener = driven.listen("tcp://localhost:0", &ListenOptions::default());
    let address = driven.engine.address(listener).unwrap();
    let (_, port) = address.rsplit_once(':').unwrap();
    driven.dial(&format!("tcp://localhost:{port}"), &PipeOptions::default());
    driven.accepted();
    let nowhere = format!("tcp://no-such-host.invalid:{port}");
    let error = dial(&nowhere, PipeOptions::default(), PATIENCE).err().unwrap();
    assert_eq!(error.code(), Code::NotFound, "{error}");
    for address in ["tcp://*:1", "tcp://127.0.0.1:0"] {
        let error = dial(address, PipeOptions::default(), PATIENCE).err().unwrap();
        assert_eq!(error.code(), Code::InvalidAddress, "{error}");
    }
    let elsewhere = "tcp://192.0.2.1:0".parse().unwrap();
    let error = driven.engine.listen(&elsewhere, &ListenOptions::default()).unwrap_err();
    assert_eq!(error.code(), Code::AddrNotAvailable, "{error}");
}

/// [D39] a killed peer is noticed at once, and what it has sent is not lost
#[test]
fn kill_9_ends_the_connection_and_keeps_what_was_sent() {
    for scheme in ["uds", "tcp"] {
        let scratch = Scratch::new("kill");
        let mut driven = Driven::new();
        let address = driven.listen_on(&scratch, scheme);
        let mut peer = Role::start("flood", &address);
        let pipe = driven.accepted();
        let hearing = thread::spawn(move || {
            peer.hears("sent");
            peer
        });
        while !hearing.is_finished() {
            // Reads ahead; nothing is received yet.
            driven.settle();
        }
        hearing.join().unwrap().kill();
        let begin = Instant::now();
        let (received, reason) = drain(&mut driven, pipe);
        assert!(begin.elapsed() < Duration::from_secs(2));
        assert_eq!(reason.code, Some(Code::ConnectionLost));
        assert_eq!(received.len(), crate::child::FLOOD as usize);
        assert!((0..).zip(&received).all(|(n, it)| *it == crate::child::flood_message(n)));
    }
}

/// [D36 D51] permissions of the socket's file, and who is let in
#[test]
fn a_socket_file_has_the_mode_that_was_asked_for() {
    use std::os::unix::fs::MetadataExt;
    for mode in [0o600, 0o660, 0o666] {
        let scratch = Scratch::new("mode");
        let mut options = ListenOptions::default();
        options.mode = mode;
        options.pipe.access = Access::Anyone;
        let mut driven = Driven::new();
        let listener = driven.listen(&scratch.address("uds"), &options);
        let found = std::fs::metadata(scratch.socket()).unwrap().mode();
        assert_eq!(found & 0o777, mode);
        driven.engine.close_listener(listener);
        assert!(!scratch.socket().exists(), "the file goes with its listener");
    }
}

/// [D21 D22] what lies behind a message that fills all room is not lost when the stream ends
#[test]
fn the_end_does_not_overtake_what_waits_for_room() {
    let mut driven = Driven::new();
    let address = driven.listen_on(&Scratch::new("behind"), "tcp");
    let mut raw = Raw::connect(&address);
    raw.send(&hello());
    let pipe = driven.accepted();
    let large = vec![5; (17 << 16) + 1];
    let mut pieces = large.chunks(1 << 16).enumerate();
    let mut piece = || {
        let (index, piece) = pieces.next()?;
        Some(fragment(index as u32, 18, large.len() as u64, piece))
    };
    for _ in 0..17 {
        raw.send(&piece().unwrap());
        driven.settle();
    }
    raw.send(&[piece().unwrap(), data(3, b"last"), close("bye")].concat());
    for _ in 0..20 {
        driven.settle();
        thread::sleep(Duration::from_millis(2));
    }
    raw.0.shutdown(std::net::Shutdown::Write).unwrap();
    driven.closed(pipe);
    let reason = driven.engine.reason(pipe).unwrap();
    assert_eq!((reason.code, reason.status, &*reason.text), (None, 9, "bye"));
    let received = driven.receive(pipe);
    assert!(received == [large, b"last".to_vec()], "{} messages", received.len());
}

/// [D21 D22] what was sent before the close arrives, though the sender's engine has to go on for
/// that, and the reason with it
#[test]
fn a_closed_pipe_lingers_until_everything_is_there() {
    for scheme in ["uds", "tcp", "tls"] {
        let scratch = Scratch::new("linger");
        let (mut here, mut there) = (Driven::new(), Driven::new());
        let address = there.listen_on(&scratch, scheme);
        let mut options = PipeOptions::default();
        options.ring_bytes = 1 << 25;
        let (out, into) = here.meet(&mut there, &address, &options);
        let large = vec![7; 15 << 20];
        for _ in 0..2 {
            assert!(here.engine.send(out, 1, &large).unwrap());
        }
        here.engine.close(out, &CloseReason { code: None, status: 1, text: "done".into() });
        assert!(here.engine.is_lingering(), "more than the system's buffers hold");
        let lingering = thread::spawn(move || {
            while here.engine.is_lingering() {
                let soon = Instant::now() + Duration::from_millis(20);
                here.engine.wait(&mut Vec::new(), Some(soon));
            }
        });
        let (received, reason) = drain(&mut there, into);
        assert!(received.len() == 2 && received.iter().all(|it| *it == large));
        assert_eq!((reason.code, reason.status), (None, 1));
        there.engine.close(into, &CloseReason::default());
        lingering.join().unwrap();
    }
}

/// [D22 D39] who reads nothing is still told of the end, and why, once the system has all of it
#[test]
fn the_end_is_heard_by_who_does_not_read() {
    for scheme in ["uds", "tcp", "tls"] {
        let scratch = Scratch::new("unread");
        let (mut here, mut there) = (Driven::new(), Driven::new());
        let mut options = ListenOptions::default();
        // Reads 64 KiB ahead; as much again lies in the system's buffers.
        options.pipe.ring_bytes = 1 << 16;
        let listener = there.listen(&scratch.address(scheme), &options);
        let address = there.engine.address(listener).unwrap();
        let (out, into) = here.meet(&mut there, &address, &PipeOptions::default());
        for _ in 0..120 {
            assert!(here.engine.send(out, 0, &[3; 1000]).unwrap());
        }
        let reason = CloseReason { code: None, status: 2, text: "no hard feelings".into() };
        here.engine.close(out, &reason);
        let deadline = Instant::now() + PATIENCE;
        while there.engine.reason(into).is_none() {
            assert!(Instant::now() < deadline, "{scheme}");
            here.settle();
            there.settle();
        }
        assert_eq!(there.engine.reason(into), Some(&reason));
        assert_eq!(there.receive(into), vec![[3; 1000]; 120]);
    }
}

/// [D46 D47] a batch of 64 costs one write and one read
#[test]
fn system_calls_are_shared_by_a_batch() {
    const BATCH: usize = 64;
    const ROUNDS: u64 = 200;
    for scheme in ["uds", "tcp", "tls"] {
        let scratch = Scratch::new("calls");
        let (mut here, mut there) = (Driven::new(), Driven::new());
        let address = there.listen_on(&scratch, scheme);
        let (out, into) = here.meet(&mut there, &address, &PipeOptions::default());
        there.engine.set_interest(into, READABLE).unwrap();
        let calls = |driven: &mut Driven, pipe| {
            let stats = driven.engine.stats(pipe).unwrap();
            // Each wake-up is a look at the poll set.
            stats.link.reads + stats.link.writes + stats.wakes
        };
        let before = calls(&mut here, out) + calls(&mut there, into);
        for _ in 0..ROUNDS {
            for _ in 0..BATCH {
                assert!(here.engine.send(out, 0, &[1; 64]).unwrap());
            }
            here.engine.flush();
            let mut received = 0;
            while received < BATCH {
                there.until(|event| matches!(event, Event::Readable(_)).then_some(()));
                received += there.receive(into).len();
            }
            there.events.clear();
        }
        let calls = calls(&mut here, out) + calls(&mut there, into) - before;
        let messages = ROUNDS * BATCH as u64;
        assert!(calls * 10 < messages, "{scheme}: {calls} calls for {messages} messages");
    }
}

/// [D59] a message that stops half-way is freed after a while and counted; whatever else comes goes
/// on, and so does its channel
#[test]
fn half_a_message_and_silence_is_freed() {
    let mut options = ListenOptions::default();
    options.pipe.reassembly_timeout = Duration::from_millis(40);
    let mut driven = Driven::new();
    let listener = driven.listen("tcp://127.0.0.1:0", &options);
    let mut raw = Raw::connect(&driven.engine.address(listener).unwrap());
    raw.send(&[hello(), fragment(0, 3, 1 << 20, b"abc"), data(1, b"other")].concat());
    let pipe = driven.accepted();
    let deadline = Instant::now() + PATIENCE;
    let mut received = Vec::new();
    while driven.engine.stats(pipe).unwrap().link.reassemblies_expired == 0 {
        assert!(Instant::now() < deadline);
        driven.drive(Instant::now() + Duration::from_millis(20));
        received.append(&mut driven.receive(pipe));
    }
    assert_eq!(driven.engine.next_deadline(), None, "there is nothing more to free");
    raw.send(&[fragment(1, 3, 1 << 20, b"def"), data(0, b"next"), close("")].concat());
    let (rest, reason) = drain(&mut driven, pipe);
    received.extend(rest);
    assert_eq!(received, [&b"other"[..], b"next"]);
    assert_eq!(reason.code, None);
    assert_eq!(driven.engine.stats(pipe).unwrap().link.reassemblies_expired, 1);
}

/// [D59] the last part of a message that was freed is no message, also where it lies between
/// messages that nobody has received yet
#[test]
fn the_rest_of_a_freed_message_is_passed_over() {
    let mut options = ListenOptions::default();
    options.pipe.reassembly_timeout = Duration::from_millis(40);
    let mut driven = Driven::new();
    let listener = driven.listen("tcp://127.0.0.1:0", &options);
    let mut raw = Raw::connect(&driven.engine.address(listener).unwrap());
    let freed = |index: u32| {
        let mut frame = fragment(index, 2, 12, b"frag#0");
        frame[6..8].copy_from_slice(&9_u16.to_be_bytes());
        frame
    };
    raw.send(&[hello(), freed(0), data(1, b"first")].concat());
    let pipe = driven.accepted();
    let deadline = Instant::now() + PATIENCE;
    while driven.engine.stats(pipe).unwrap().link.reassemblies_expired == 0 {
        assert!(Instant::now() < deadline);
        driven.drive(Instant::now() + Duration::from_millis(20));
    }
    let whole = [fragment(0, 2, 6, b"abc"), fragment(1, 2, 6, b"def")].concat();
    raw.send(&[freed(1), whole, data(1, b"last"), close("")].concat());
    driven.closed(pipe);
    assert_eq!(driven.receive(pipe), [&b"first"[..], b"abcdef", b"last"]);
    assert_eq!(driven.engine.reason(pipe).unwrap().code, None);
}

/// [D59] who begins more than the option allows is cut off, and everything is freed
#[test]
fn unfinished_messages_are_bounded_by_an_option() {
    let mut options = ListenOptions::default();
    options.pipe.reassembly_bytes_max = Some(20 << 20);
    let mut driven = Driven::new();
    let listener = driven.listen("tcp://127.0.0.1:0", &options);
    let mut raw = Raw::connect(&driven.engine.address(listener).unwrap());
    let begun = |channel: u16| {
        let mut frame = fragment(0, 3, 8 << 20, b"abc");
        frame[6..8].copy_from_slice(&channel.to_be_bytes());
        frame
    };
    raw.send(&[hello(), begun(1), begun(2), data(4, b"other")].concat());
    let pipe = driven.accepted();
    let mut received = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while received.is_empty() {
        assert!(Instant::now() < deadline);
        driven.drive(Instant::now() + Duration::from_millis(20));
        received = driven.receive(pipe);
    }
    assert_eq!(received, [b"other"], "two of them fit");
    raw.send(&begun(3));
    driven.closed(pipe);
    let reason = driven.engine.reason(pipe).unwrap();
    assert_eq!(reason.code, Some(Code::Protocol));
    assert!(reason.text.contains("maxReassemblyBytes"), "{}", reason.text);

    let mut options = PipeOptions::default();
    options.reassembly_bytes_max = Some(options.message_bytes_max as u64 - 1);
    let error = dial("tcp://127.0.0.1:1", options, PATIENCE).err().unwrap();
    assert_eq!(error.code(), Code::InvalidArgument);
}

/// [D47] as the system sees it: header and payload of a message leave by one call, from two places
#[test]
fn a_large_message_leaves_by_one_gathering_call() {
    use std::io::Write;
    use std::process::Command;
    let Ok(_) = Command::new("strace").arg("-V").output() else {
        let _ = writeln!(std::io::stderr(), "skipped: strace is not installed");
        return;
    };
    for scheme in ["uds", "tcp"] {
        let scratch = Scratch::new("strace");
        let mut listener = listen(&scratch.address(scheme), ListenOptions::default()).unwrap();
        let log = scratch.path().join("calls");
        let plain = Role::command("large", &listener.local_address());
        let mut traced = Command::new("strace");
        traced.args(["-f", "-qq", "-s", "0", "-e", "trace=sendmsg,sendto,write,writev", "-o"]);
        traced.arg(&log).arg(plain.get_program()).args(plain.get_args());
        traced.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        traced.stdout(std::process::Stdio::piped());
        let child = Role::spawn(&mut traced);
        let mut pipe = listener.accept(Some(PATIENCE)).unwrap();
        for _ in 0..LARGE {
            assert_eq!(pipe.recv(Some(PATIENCE)).unwrap().len(), LARGE_BYTES);
            pipe.send(0, b"next", Some(PATIENCE)).unwrap();
        }
        assert_eq!(pipe.recv(Some(PATIENCE)).unwrap_err().code(), Code::Closed);
        child.finish();
        let calls = std::fs::read_to_string(log).unwrap();
        let iovecs = |line: &str| {
            let (_, rest) = line.split_once("msg_iovlen=")?;
            rest.split(',').next()?.parse::<u32>().ok()
        };
        let gathered = calls.lines().filter(|line| iovecs(line).is_some_and(|n| n >= 2)).count();
        assert_eq!(gathered, LARGE as usize, "{scheme}: one call for each message:\n{calls}");
        let copied = calls.lines().filter(|line| line.contains(&format!("= {LARGE_BYTES}")));
        assert_eq!(copied.count(), 0, "{scheme}: no payload by itself:\n{calls}");
    }
}

/// [D06] [D23] who floods a listener takes a part of each turn, and everybody is answered
#[cfg(unix)]
#[test]
fn connections_are_accepted_in_portions() {
    let scratch = Scratch::new("flood");
    let mut options = ListenOptions::default();
    options.backlog = 256;
    // Each is turned away at once, which is an event.
    options.pipe.access = Access::Listed(Arc::new(AccessList::default()));
    let mut driven = Driven::new();
    driven.listen(&scratch.address("uds"), &options);
    let connect = |_| std::os::unix::net::UnixStream::connect(scratch.socket()).unwrap();
    let strangers: Vec<_> = (0..200).map(connect).collect();
    driven.engine.turn(&mut driven.events);
    let refused = driven.events.len();
    assert!(refused > 0 && refused < strangers.len(), "{refused} in one turn");
    for _ in &strangers {
        driven.warning();
    }
}
