//! The listener against dialers that are broken, hostile, slow or mute.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use busbar_io::{CloseReason, Code, ConnectionState, Error, Event, ListenOptions, ListenerId};
use busbar_proto::Versions;
use busbar_proto::frame::Kind;
use busbar_shm::Geometry;
use rustix::fs::MemfdFlags;

use crate::raw::{GEOMETRY, Honest, Raw, eventfd, frame, hello, hello_frame};
use crate::support::{Driven, PATIENCE, Scratch, is_announced};

/// A listener, and a socket connected to it.
struct Bench {
    scratch: Scratch,
    driven: Driven,
    listener: ListenerId,
    raw: Raw,
}

impl Bench {
    fn new(test: &str, options: &ListenOptions) -> Self {
        let scratch = Scratch::new(test);
        let mut driven = Driven::new();
        let listener = driven.listen(&scratch.shm(), options);
        let raw = Raw::connect(&scratch.socket());
        Self { scratch, driven, listener, raw }
    }

    /// The listener warns and goes on: whoever knows how to connect still can.
    fn expect_warning(&mut self) -> Error {
        let listener = self.listener;
        let warning = self.driven.until(|event| match event {
            Event::Warning(of, error) => Some((*of == listener).then(|| error.clone())),
            Event::Accepted { .. } => panic!("accepted"),
            _ => None,
        });
        let pipe = self.driven.dial(&self.scratch.shm(), &ListenOptions::default().pipe);
        let accepted = self.driven.accepted();
        self.driven.settle();
        assert_eq!(self.driven.engine.state(pipe), Some(ConnectionState::Connected));
        assert_eq!(self.driven.engine.state(accepted), Some(ConnectionState::Connected));
        warning.expect("the warning is about the listener")
    }
}

/// What the listener does with a dialer that says `bytes` and passes `fds`.
fn check_rejected(test: &str, bytes: &[u8], fds: &[BorrowedFd<'_>], code: Code) -> String {
    let mut bench = Bench::new(test, &ListenOptions::default());
    bench.raw.send(bytes, fds);
    let warning = bench.expect_warning();
    assert_eq!(warning.code(), code, "{test}: {warning}");
    let reject = bench.raw.receive_reject();
    assert_eq!((reject.code, &*reject.text), (Some(code), warning.message()), "{test}");
    bench.raw.expect_end();
    reject.text
}

/// [D37] a dialer of another version is told both versions and turned away
#[test]
fn another_version_is_rejected() {
    let mut other = hello(GEOMETRY);
    other.versions = Versions::new(2, 3).unwrap();
    let honest = Honest::new(GEOMETRY);
    let hello = frame(Kind::Hello, &other.encode());
    let text = check_rejected("version", &hello, &honest.fds(), Code::VersionMismatch);
    assert!(text.contains("2 to 3") && text.contains('1'), "{text}");

    let mut other = super::raw::hello(GEOMETRY);
    other.shm.as_mut().unwrap().segment_version = 2;
    let hello = frame(Kind::Hello, &other.encode());
    check_rejected("layout", &hello, &honest.fds(), Code::VersionMismatch);
}

/// [D37 D45] what is not a HELLO is refused as soon as it can be told
#[test]
fn garbage_is_rejected() {
    let check = |test, bytes: &[u8], code| check_rejected(test, bytes, &[], code);
    check("http", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", Code::Protocol);
    check("zeroes", &[0; 64], Code::Protocol);
    check("data", &frame(Kind::Data, b"two"), Code::Protocol);
    check("close", &frame(Kind::Close, &CloseReason::default().encode()), Code::Protocol);
    check("magic", &frame(Kind::Hello, &[b'X'; 60]), Code::Protocol);
    check("long", &frame(Kind::Hello, &[b'X'; 4097]), Code::MessageTooLarge);
    let mut bare = hello(GEOMETRY);
    bare.shm = None;
    check("bare", &frame(Kind::Hello, &bare.encode()), Code::Protocol);
}

/// [D37 D41 D45] a HELLO comes with a sealed segment of the announced size and an eventfd
#[test]
fn wrong_descriptors_are_rejected() {
    let honest = Honest::new(GEOMETRY);
    let [file, bell] = honest.fds();
    let other = Honest::new(Geometry { slab_bytes: 0, ..GEOMETRY });
    let unsealed = rustix::fs::memfd_create("busbar-test", MemfdFlags::ALLOW_SEALING).unwrap();
    rustix::fs::ftruncate(&unsealed, GEOMETRY.file_bytes()).unwrap();
    let plain = File::open("/proc/self/exe").unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let cases: [(&str, &[BorrowedFd<'_>], &str); 9] = [
        ("none", &[], "without the segment"),
        ("one", &[file], "without the segment"),
        ("three", &[file, bell, bell], "descriptors"),
        ("swapped", &[bell, file], "eventfd"),
        ("pipe", &[reader.as_fd(), bell], "memfd"),
        ("plain", &[plain.as_fd(), bell], "memfd"),
        ("unsealed", &[unsealed.as_fd(), bell], "sealed"),
        ("size", &[other.file.as_fd(), bell], "size"),
        ("bell", &[file, writer.as_fd()], "eventfd"),
    ];
    for (test, fds, expected) in cases {
        let text = check_rejected(test, &hello_frame(GEOMETRY), fds, Code::Protocol);
        assert!(text.contains(expected), "{test}: {text}");
    }
}

/// [D41 D45] sizes are checked before anything is mapped
#[test]
fn geometry_out_of_bounds_is_rejected() {
    let honest = Honest::new(GEOMETRY);
    for (test, geometry) in [
        ("odd", Geometry { ring_bytes: 70_000, ..GEOMETRY }),
        ("small", Geometry { ring_bytes: 4096, ..GEOMETRY }),
        ("huge", Geometry { ring_bytes: 1 << 62, ..GEOMETRY }),
        ("slab", Geometry { slab_bytes: u64::MAX, ..GEOMETRY }),
        ("entries", Geometry { release_entries: 0, ..GEOMETRY }),
    ] {
        let hello = hello_frame(geometry);
        let text = check_rejected(test, &hello, &honest.fds(), Code::Protocol);
        assert!(text.contains("out of bounds"), "{test}: {text}");
    }
}

/// [D37] bytes may come one by one
#[test]
fn a_dribbled_hello_is_accepted() {
    let mut bench = Bench::new("dribble", &ListenOptions::default());
    let honest = Honest::new(GEOMETRY);
    let wire = hello_frame(GEOMETRY);
    bench.raw.send(&wire[..1], &honest.fds());
    for byte in &wire[1..] {
        bench.driven.engine.turn(&mut bench.driven.events);
        assert!(bench.driven.events.is_empty());
        bench.raw.write(&[*byte]);
    }
    let pipe = bench.driven.accepted();
    assert_eq!(bench.driven.engine.peer(pipe).unwrap().process.unwrap().pid, std::process::id());
    let (answer, fds) = bench.raw.receive_hello();
    assert_eq!((answer.session, fds.len()), (hello(GEOMETRY).session, 2));
}

/// [D22 D37] a dialer that connects and closes at once is a connection with an end, not an error
#[test]
fn close_may_follow_hello_in_one_packet() {
    let mut bench = Bench::new("hasty", &ListenOptions::default());
    let honest = Honest::new(GEOMETRY);
    let reason = CloseReason { code: None, status: 9, text: "changed my mind".into() };
    let wire = [hello_frame(GEOMETRY), frame(Kind::Close, &reason.encode())].concat();
    bench.raw.send(&wire, &honest.fds());
    let pipe = bench.driven.accepted();
    bench.driven.closed(pipe);
    assert_eq!(bench.driven.engine.reason(pipe), Some(&reason));
    let states = [ConnectionState::Connected, ConnectionState::Closed];
    assert!(
        matches!(
            &*bench.driven.events,
            [Event::State(_, a), Event::State(_, b)] if [*a, *b] == states
        ),
        "{:?}",
        bench.driven.events
    );
}

/// [D09 D37] who says nothing, or half of it, is dropped in time with all that it passed
#[test]
fn a_mute_dialer_times_out_and_leaves_nothing() {
    let mut options = ListenOptions::default();
    options.handshake_timeout = Duration::from_millis(60);
    for part in [0, 1, 30] {
        let mut bench = Bench::new("mute", &options);
        let (mut reader, writer) = std::io::pipe().unwrap();
        if part > 0 {
            bench.raw.send(&hello_frame(GEOMETRY)[..part], &[writer.as_fd(), writer.as_fd()]);
        }
        let begin = Instant::now();
        drop(writer);
        let warning = bench.expect_warning();
        assert_eq!(warning.code(), Code::TimedOut);
        assert!(begin.elapsed() >= options.handshake_timeout);
        bench.raw.expect_end();
        // The end of the pipe: nobody holds its other end open.
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    }
}

/// [D37] hanging up before the HELLO is complete is the dialer's own business
#[test]
fn a_dialer_that_hangs_up_is_a_warning() {
    let mut bench = Bench::new("hangup", &ListenOptions::default());
    bench.raw.send(&hello_frame(GEOMETRY)[..20], &[]);
    bench.raw = Raw::connect(&bench.scratch.socket());
    assert_eq!(bench.expect_warning().code(), Code::ConnectionLost);
}

/// [D37 I30] whoever connects and says nothing makes room for those who come after
#[test]
fn the_oldest_of_too_many_strangers_is_hung_up_on() {
    let mut options = ListenOptions::default();
    options.backlog = 2;
    let mut bench = Bench::new("backlog", &options);
    let second = Raw::connect(&bench.scratch.socket());
    let third = Raw::connect(&bench.scratch.socket());
    bench.driven.settle();
    bench.raw.expect_end();
    let honest = Honest::new(GEOMETRY);
    for raw in [&second, &third] {
        raw.send(&hello_frame(GEOMETRY), &honest.fds());
        bench.driven.accepted();
        raw.receive_hello();
    }
    // A hundred that are mute keep nobody out.
    let _mute: Vec<_> = (0..100).map(|_| Raw::connect(&bench.scratch.socket())).collect();
    let pipe = bench.driven.dial(&bench.scratch.shm(), &options.pipe);
    bench.driven.accepted();
    bench.driven.settle();
    assert_eq!(bench.driven.engine.state(pipe), Some(ConnectionState::Connected));
}

/// [D45] a peer that breaks the rules on the control socket later on loses its connection
#[test]
fn garbage_after_the_handshake_ends_the_connection() {
    let late: [(&[u8], &[OwnedFd]); 3] = [
        (&frame(Kind::Data, b"two"), &[]),
        (&[0xff; 16], &[]),
        (b"x", &[eventfd(), eventfd(), eventfd()]),
    ];
    for (bytes, fds) in late {
        let mut bench = Bench::new("late", &ListenOptions::default());
        let honest = Honest::new(GEOMETRY);
        bench.raw.send(&hello_frame(GEOMETRY), &honest.fds());
        let pipe = bench.driven.accepted();
        bench.raw.receive_hello();
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        bench.raw.send(bytes, &fds);
        bench.driven.closed(pipe);
        let reason = bench.driven.engine.reason(pipe).unwrap();
        assert_eq!(reason.code, Some(Code::Protocol), "{reason}");
    }
}

/// [D45] a peer that writes to the control socket without end does not keep others from their turn
#[test]
fn a_flood_on_the_control_socket_is_read_in_portions() {
    let mut bench = Bench::new("flood", &ListenOptions::default());
    let honest = Honest::new(GEOMETRY);
    bench.raw.send(&hello_frame(GEOMETRY), &honest.fds());
    let pipe = bench.driven.accepted();
    bench.raw.receive_hello();
    let reason = CloseReason { code: None, status: 9, text: "said enough".into() };
    let pings = frame(Kind::Ping, b"").repeat(8192);
    bench.raw.write(&[pings, frame(Kind::Close, &reason.encode())].concat());
    bench.driven.engine.turn(&mut bench.driven.events);
    assert_eq!(bench.driven.engine.state(pipe), Some(ConnectionState::Connected));
    // Nothing announces the rest: it is not forgotten.
    bench.driven.closed(pipe);
    assert_eq!(bench.driven.engine.reason(pipe), Some(&reason));
}

/// [D44 D45] a peer that goes on ringing after the end wakes nobody
#[test]
fn a_closed_pipe_cannot_be_rung() {
    let mut bench = Bench::new("ringing", &ListenOptions::default());
    let honest = Honest::new(GEOMETRY);
    bench.raw.send(&hello_frame(GEOMETRY), &honest.fds());
    let pipe = bench.driven.accepted();
    let (_, fds) = bench.raw.receive_hello();
    let ring = || rustix::io::write(&fds[1], &[1, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    bench.driven.settle();
    ring();
    assert!(is_announced(&bench.driven, PATIENCE), "while it is open");
    bench.driven.settle();
    bench.driven.engine.close(pipe, &CloseReason::default());
    ring();
    assert!(!is_announced(&bench.driven, Duration::from_millis(20)));
}
