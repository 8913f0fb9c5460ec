//! The dialer against listeners that are broken, hostile, slow or mute.

use std::os::unix::net::UnixListener;
use std::thread;
use std::time::{Duration, Instant};

use busbar_io::{CloseReason, Code, Error, Pipe, PipeOptions, dial};
use busbar_proto::frame::Kind;
use busbar_proto::{Hello, SessionId};
use busbar_shm::Geometry;

use crate::raw::{GEOMETRY, Honest, Raw, frame, hello};
use crate::support::{PATIENCE, Scratch};

/// Dials a listener that treats its one connection as `serve` does.
fn dialed<T: Send + 'static>(
    test: &str,
    serve: impl FnOnce(Raw) -> T + Send + 'static,
) -> (Result<Pipe, Error>, T) {
    let scratch = Scratch::new(test);
    let listener = UnixListener::bind(scratch.socket()).unwrap();
    let serving = thread::spawn(move || serve(Raw::new(listener.accept().unwrap().0)));
    let result = dial(&scratch.shm(), PipeOptions::default(), PATIENCE);
    (result, serving.join().unwrap())
}

fn refused(result: Result<Pipe, Error>) -> Error {
    match result {
        Ok(_) => panic!("connected"),
        Err(error) => error,
    }
}

/// The answer to a dialer's HELLO.
fn answer(theirs: &Hello, geometry: Geometry) -> Hello {
    Hello { session: theirs.session, epoch: theirs.epoch, ..hello(geometry) }
}

/// [D09 D37] a listener that accepts and says nothing, and one that does not even accept
#[test]
fn a_mute_listener_times_out_in_time() {
    let scratch = Scratch::new("mute");
    let _bound = UnixListener::bind(scratch.socket()).unwrap();
    let timeout = Duration::from_millis(120);
    let begin = Instant::now();
    let error = refused(dial(&scratch.shm(), PipeOptions::default(), timeout));
    assert_eq!((error.code(), error.is_retryable()), (Code::TimedOut, true));
    assert!(begin.elapsed() >= timeout && begin.elapsed() < PATIENCE);
}

/// [D10 D37] nobody at the address
#[test]
fn an_absent_listener_is_not_found() {
    let scratch = Scratch::new("absent");
    for address in [scratch.shm(), format!("shm://{}/no/such.sock", scratch.path().display())] {
        let error = refused(dial(&address, PipeOptions::default(), PATIENCE));
        assert_eq!((error.code(), error.is_retryable()), (Code::NotFound, true), "{error}");
    }
}

/// [D10 D37] a listener that hangs up has refused, whether before or after it read the HELLO
#[test]
fn a_listener_that_hangs_up_refuses() {
    for round in 0..40 {
        let (result, ()) = dialed("hangup", move |raw| {
            if round % 2 == 0 {
                raw.receive();
            }
        });
        let error = refused(result);
        assert_eq!(
            (error.code(), error.is_retryable()),
            (Code::ConnectionRefused, true),
            "{error}"
        );
    }
}

/// [D10 D37] a listener that dies with the connection in its queue has refused too
#[test]
fn a_listener_that_never_accepts_refuses_when_it_goes() {
    let scratch = Scratch::new("queue");
    let bound = UnixListener::bind(scratch.socket()).unwrap();
    let going = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        drop(bound);
    });
    let error = refused(dial(&scratch.shm(), PipeOptions::default(), PATIENCE));
    assert_eq!(error.code(), Code::ConnectionRefused, "{error}");
    going.join().unwrap();
}

/// [D10 D22 D37] REJECT carries a code and a text, also if it comes before the HELLO was read
#[test]
fn a_reject_gives_its_code_and_text() {
    for round in 0..40 {
        let (result, ()) = dialed("reject", move |raw| {
            if round % 2 == 0 {
                raw.receive();
            }
            let code = Some(Code::PermissionDenied);
            let reason = CloseReason { code, status: 0, text: "members only".into() };
            raw.send(&frame(Kind::Reject, &reason.encode()), &[]);
        });
        let error = refused(result);
        assert_eq!(error.code(), Code::PermissionDenied, "{error}");
        assert!(error.message().ends_with("members only"), "{error}");
    }
}

/// [D37 D45] whatever else it answers is a breach
#[test]
fn a_wrong_answer_is_a_protocol_error() {
    let garbage = |wire: Vec<u8>| move |raw: &Raw, _: Hello| raw.send(&wire, &[]);
    let unlike = |change: fn(&mut Hello), fds: usize| {
        move |raw: &Raw, theirs: Hello| {
            let honest = Honest::new(GEOMETRY);
            let mut ours = answer(&theirs, GEOMETRY);
            change(&mut ours);
            raw.send(&frame(Kind::Hello, &ours.encode()), &honest.fds()[..fds]);
        }
    };
    type Answer = Box<dyn FnOnce(&Raw, Hello) + Send>;
    let answers: [(&str, Code, Answer); 7] = [
        ("zeroes", Code::Protocol, Box::new(garbage(vec![0; 16]))),
        ("data", Code::Protocol, Box::new(garbage(frame(Kind::Data, b"")))),
        ("reject", Code::Protocol, Box::new(garbage(frame(Kind::Reject, b"?")))),
        (
            "session",
            Code::Protocol,
            Box::new(unlike(|hello| hello.session = SessionId([0; 16]), 2)),
        ),
        ("bare", Code::Protocol, Box::new(unlike(|hello| hello.shm = None, 2))),
        ("fds", Code::Protocol, Box::new(unlike(|_| {}, 1))),
        (
            "layout",
            Code::VersionMismatch,
            Box::new(unlike(|hello| hello.shm.as_mut().unwrap().segment_version = 9, 2)),
        ),
    ];
    for (test, code, answer) in answers {
        let (result, ()) = dialed(test, move |mut raw| {
            let (theirs, _fds) = raw.receive_hello();
            answer(&raw, theirs);
            raw.expect_end();
        });
        let error = refused(result);
        assert_eq!(error.code(), code, "{test}: {error}");
    }
}

/// [D22 D37] a listener that answers and closes in one packet was connected, then closed
#[test]
fn close_may_follow_the_answer_in_one_packet() {
    let (result, _raw) = dialed("hasty", |raw| {
        let (theirs, _fds) = raw.receive_hello();
        let reason = CloseReason { code: None, status: 3, text: "not today".into() };
        let ours = answer(&theirs, GEOMETRY).encode();
        let wire = [frame(Kind::Hello, &ours), frame(Kind::Close, &reason.encode())].concat();
        raw.send(&wire, &Honest::new(GEOMETRY).fds());
        raw
    });
    let mut pipe = result.unwrap();
    let error = pipe.recv(Some(PATIENCE)).unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::Closed, "not today"));
}

/// [D39] a connection that is lost as soon as it is made was made: what came over it is not lost
#[test]
fn an_answer_and_death_is_a_connection_and_its_loss() {
    let (result, ()) = dialed("brief", |raw| {
        let (theirs, _fds) = raw.receive_hello();
        let ours = answer(&theirs, GEOMETRY).encode();
        raw.send(&frame(Kind::Hello, &ours), &Honest::new(GEOMETRY).fds());
    });
    let mut pipe = result.unwrap();
    assert_eq!(pipe.recv(Some(PATIENCE)).unwrap_err().code(), Code::ConnectionLost);
}

/// [D37 I30] when too many wait to be accepted, the next is refused at once
#[test]
fn a_full_queue_refuses() {
    let scratch = Scratch::new("full");
    let bound = UnixListener::bind(scratch.socket()).unwrap();
    rustix::net::listen(&bound, 1).unwrap();
    let mut waiting = Vec::new();
    let error = loop {
        let flags = rustix::net::SocketFlags::NONBLOCK;
        let family = rustix::net::AddressFamily::UNIX;
        let kind = rustix::net::SocketType::STREAM;
        let socket = rustix::net::socket_with(family, kind, flags, None).unwrap();
        let address = rustix::net::SocketAddrUnix::new(scratch.socket()).unwrap();
        if rustix::net::connect(&socket, &address).is_err() {
            break refused(dial(&scratch.shm(), PipeOptions::default(), PATIENCE));
        }
        waiting.push(socket);
        assert!(waiting.len() < 10_000);
    };
    assert_eq!((error.code(), error.is_retryable()), (Code::ConnectionRefused, true), "{error}");
    assert!(scratch.socket().exists(), "the listener lives");
}
