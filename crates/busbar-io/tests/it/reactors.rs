//! The reactors: which one an engine has, and that all of this suite holds over the other one, too.

use std::collections::BTreeMap;
use std::env;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use busbar_io::{
    Backend, BackendChoice, Backoff, CloseReason, Code, ConnectionState, Engine, EngineOptions,
    Event, Interest, IoThread, PipeOptions, Readiness, Wait,
};
use busbar_proto::Limits;
use busbar_proto::frame::{self, HEADER_BYTES, Header, Kind};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

use crate::child::say;
use crate::support::{Driven, PATIENCE, Role, Scratch, is_announced};

const READABLE: Interest = Interest { readable: true, writable: false };

/// Of the three calls of io_uring, on every architecture.
const IO_URING_CALLS: std::ops::RangeInclusive<i64> = 425..=427;

fn options(backend: impl Into<BackendChoice>) -> EngineOptions {
    let mut options = EngineOptions::default();
    options.backend = Some(backend.into());
    options
}

/// Those that work here.
fn backends() -> Vec<Backend> {
    let works = |backend: &Backend| Engine::with(options(*backend)).is_ok();
    [Backend::Poll, Backend::Uring].into_iter().filter(works).collect()
}

fn name(backend: Backend) -> &'static str {
    match backend {
        Backend::Uring => "uring",
        _ => "poll",
    }
}

/// [D48] what this suite shows over one reactor holds over the other: multishot receives, sends
/// by the turn, multishot accepts
#[test]
fn the_suite_passes_over_the_other_reactor() {
    let own = Engine::new().unwrap().backend();
    let Some(other) = backends().into_iter().find(|backend| *backend != own) else { return };
    let mut command = Command::new(env::current_exe().unwrap());
    command.env("BUSBAR_IO", name(other)).args(["--skip", "reactors::"]);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "over {other:?}:\n{text}");
    assert!(text.contains("test conformance::tcp::echoes_every_size ... ok"), "{text}");
}

/// [D50] where io_uring is forbidden, whoever leaves the choice open gets the poll set, and
/// everything works; who insists on io_uring is told why not
#[test]
fn a_sandbox_without_io_uring_gets_the_poll_set() {
    let mut child = Role::start("sandboxed", "-");
    assert_eq!(child.hears("backend"), "Poll");
    assert_eq!(child.hears("shared"), "Poll");
    assert_eq!(child.hears("forced"), "NotSupported");
    assert_eq!(child.hears("suite"), "true");
    child.finish();
}

/// The child of the test above.
pub(crate) fn sandboxed() {
    let rules: BTreeMap<_, _> = IO_URING_CALLS.map(|call| (call, Vec::new())).collect();
    let refuse = SeccompAction::Errno(rustix::io::Errno::PERM.raw_os_error().cast_unsigned());
    let target = env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, target).unwrap();
    seccompiler::apply_filter_all_threads(&BpfProgram::try_from(filter).unwrap()).unwrap();
    let automatic = Engine::with(options(BackendChoice::Auto)).unwrap();
    say("backend", &format!("{:?}", automatic.backend()));
    let shared = IoThread::with(options(BackendChoice::Auto)).unwrap();
    say("shared", &format!("{:?}", shared.lock().backend()));
    let refused = Engine::with(options(Backend::Uring)).err().unwrap();
    assert!(refused.message().contains("io_uring does not work here"), "{refused}");
    say("forced", &format!("{:?}", refused.code()));
    // The filter goes on to whatever this process starts.
    let mut suite = Command::new(env::current_exe().unwrap());
    suite.args(["conformance::tcp::", "conformance::uds::"]).env_remove("BUSBAR_TEST_ROLE");
    suite.env("BUSBAR_IO", "auto");
    let status = suite.stdout(Stdio::null()).status().unwrap();
    say("suite", &status.success().to_string());
}

/// [D50] a variable of the environment chooses, and one that names nothing is an error
#[test]
fn the_environment_chooses() {
    let asked = |value: &str| {
        let mut command = Role::command("backend", "-");
        Role::spawn(command.env("BUSBAR_IO", value)).hears("backend")
    };
    assert_eq!(asked("poll"), "Poll");
    let best = backends().pop().unwrap();
    assert_eq!(asked("auto"), format!("{best:?}"));
    if best == Backend::Uring {
        assert_eq!(asked("uring"), "Uring");
    }
    assert_eq!(asked(""), "Poll");
    let wrong = asked("epoll");
    assert!(wrong.contains("InvalidArgument") && wrong.contains("epoll"), "{wrong}");
}

/// The child of the test above.
pub(crate) fn backend() {
    let told = match Engine::new() {
        Ok(engine) => format!("{:?}", engine.backend()),
        Err(error) => format!("{:?} {}", error.code(), error.message()),
    };
    say("backend", &told);
}

/// [D23 D50] an I/O thread has the backend that it was started with
#[test]
fn io_threads_have_backends() {
    for backend in backends() {
        let thread = IoThread::with(options(backend)).unwrap();
        assert_eq!(thread.lock().backend(), backend);
    }
    let own = Engine::new().unwrap().backend();
    assert_eq!(IoThread::start().unwrap().lock().backend(), own);
}

/// [D46 D48] a batch of 64 costs less than a tenth of a system call for each message, whoever makes
/// it; with io_uring, what many pipes send in a turn is one call
#[test]
fn system_calls_are_shared() {
    const BATCH: usize = 64;
    const ROUNDS: usize = 100;
    for backend in backends() {
        for scheme in ["uds", "tcp"] {
            let scratch = Scratch::new("shared-calls");
            let (mut here, mut there) = (Driven::with(backend), Driven::with(backend));
            let address = there.listen_on(&scratch, scheme);
            let pipes: Vec<_> =
                (0..4).map(|_| here.meet(&mut there, &address, &PipeOptions::default())).collect();
            for (_, into) in &pipes {
                there.engine.set_interest(*into, READABLE).unwrap();
            }
            there.settle();
            let calls = |driven: &mut Driven, pipe| {
                let stats = driven.engine.stats(pipe).unwrap();
                // io_uring reads and writes within the calls that the engine counts.
                let direct = stats.link.reads + stats.link.writes;
                if backend == Backend::Poll { direct } else { 0 }
            };
            let count = |here: &mut Driven, there: &mut Driven| {
                let pipes = pipes.iter();
                let direct: u64 =
                    pipes.map(|&(out, into)| calls(here, out) + calls(there, into)).sum();
                direct + here.engine.calls() + there.engine.calls()
            };
            let (before, sending) = (count(&mut here, &mut there), here.engine.calls());
            for _ in 0..ROUNDS {
                for (out, _) in &pipes {
                    for _ in 0..BATCH {
                        assert!(here.engine.send(*out, 0, &[1; 64]).unwrap());
                    }
                }
                here.engine.flush();
                receive_all(&mut there, BATCH * pipes.len());
            }
            let calls = count(&mut here, &mut there) - before;
            let messages = (ROUNDS * BATCH * pipes.len()) as u64;
            assert!(calls * 10 < messages, "{backend:?} {scheme}: {calls} for {messages} messages");
            if backend == Backend::Uring {
                let sends = here.engine.calls() - sending;
                assert!(sends <= ROUNDS as u64 + 2, "{scheme}: {sends} calls in {ROUNDS} turns");
            }
        }
    }
}

/// Receives so many messages, from any pipe.
fn receive_all(there: &mut Driven, count: usize) {
    let deadline = Instant::now() + PATIENCE;
    let mut received = 0;
    while received < count {
        assert!(Instant::now() < deadline, "{received} of {count} messages came");
        there.drive(deadline);
        for event in std::mem::take(&mut there.events) {
            if let Event::Readable(pipe) = event {
                received += there.receive(pipe).len();
            }
        }
    }
}

/// [D48] pipes that nobody receives from do not keep the shared buffers from others, lose nothing,
/// and hold their peers back
#[test]
fn who_does_not_read_keeps_nothing_from_others() {
    const PIPES: usize = 24;
    const MESSAGES: usize = 400;
    for backend in backends() {
        let scratch = Scratch::new("hoard");
        let (mut here, mut there) = (Driven::with(backend), Driven::with(backend));
        let address = there.listen_on(&scratch, "uds");
        let mut options = PipeOptions::default();
        options.ring_bytes = 1 << 20;
        let pipes: Vec<_> = (0..PIPES).map(|_| here.meet(&mut there, &address, &options)).collect();
        let message = |n: usize| vec![n as u8; 2500];
        for (out, _) in &pipes {
            for n in 0..MESSAGES {
                assert!(here.engine.send(*out, 0, &message(n)).unwrap(), "room for {n}");
            }
        }
        // One after the other: whoever comes later is looked at by nobody meanwhile.
        for (_, into) in &pipes {
            let deadline = Instant::now() + PATIENCE;
            let mut received = Vec::new();
            there.engine.set_interest(*into, READABLE).unwrap();
            while received.len() < MESSAGES {
                assert!(Instant::now() < deadline, "{} of {MESSAGES}", received.len());
                here.settle();
                there.settle();
                received.extend(there.receive(*into));
            }
            assert!((0..MESSAGES).all(|n| received[n] == message(n)), "{backend:?}");
            there.engine.set_interest(*into, Interest::NONE).unwrap();
        }
    }
}

/// [D48] what is received while something is sent is told, also while another pipe of the engine,
/// which has no descriptor, never lets it sleep
#[test]
fn a_busy_pipe_keeps_no_edge_from_others() {
    for backend in backends() {
        let scratch = Scratch::new("busy");
        let (mut here, mut there) = (Driven::with(backend), Driven::with(backend));
        let address = there.listen_on(&scratch, "uds");
        let (out, back) = here.meet(&mut there, &address, &PipeOptions::default());
        let mut options = PipeOptions::default();
        options.wait = Wait::Busy;
        let beside = there.listen_on(&scratch, "inproc");
        let (busy, _) = here.meet(&mut there, &beside, &options);
        here.engine.set_interest(busy, READABLE).unwrap();
        here.engine.set_interest(out, READABLE).unwrap();
        here.settle();
        here.events.clear();
        for _ in 0..100 {
            // Only the busy pipe is looked at after this.
            assert_eq!(here.engine.prepare_sleep(&mut here.events), Readiness::Again);
        }
        assert!(there.engine.send(back, 0, b"come").unwrap());
        there.engine.flush();
        assert!(here.engine.send(out, 0, b"gone").unwrap());
        // As an event loop goes on, which looks at the descriptor.
        let deadline = Instant::now() + PATIENCE;
        let is_told = |event: &Event| matches!(event, Event::Readable(pipe) if *pipe == out);
        while !here.events.iter().any(is_told) {
            assert!(Instant::now() < deadline, "{backend:?}: nothing is told");
            let ready = here.engine.prepare_sleep(&mut here.events);
            assert_ne!(ready, Readiness::Sleep);
            if ready == Readiness::Again && is_announced(&here, Duration::ZERO) {
                here.engine.turn(&mut here.events);
            }
        }
        assert_eq!(here.receive(out), [b"come"]);
    }
}

/// Answers a dialer with its own HELLO.
fn answer(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().unwrap();
    let mut head = [0; HEADER_BYTES];
    stream.read_exact(&mut head).unwrap();
    let mut rest = vec![0; frame::encoded_bytes(&head) - HEADER_BYTES];
    stream.read_exact(&mut rest).unwrap();
    stream.write_all(&[&head[..], &rest].concat()).unwrap();
    stream
}

/// [D48] a lost connection with a message that nobody has received does not keep the shared buffers
/// from others, whatever its peer goes on to send; the message is received
#[test]
fn a_lost_connection_keeps_nothing_from_others() {
    for backend in backends() {
        let scratch = Scratch::new("lost-flood");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (mut here, mut there) = (Driven::with(backend), Driven::with(backend));
        let mut options = PipeOptions::default();
        let mut policy = Backoff::default();
        (policy.initial, policy.max) = (Duration::from_secs(3600), Duration::from_secs(3600));
        options.reconnect = Some(policy);
        let address = format!("tcp://{}", listener.local_addr().unwrap());
        let lost = here.dial(&address, &options);
        let answering = thread::spawn(move || answer(&listener));
        while !answering.is_finished() {
            here.settle();
        }
        let mut peer = answering.join().unwrap();
        let encode = |kind, payload: &[u8]| {
            let mut out = Vec::new();
            frame::encode(&Header::new(kind), payload, Limits::default(), &mut out).unwrap();
            out
        };
        let reason = CloseReason { code: Some(Code::ConnectionLost), status: 0, text: "".into() };
        peer.write_all(&encode(Kind::Data, b"unread")).unwrap();
        peer.write_all(&encode(Kind::Close, &reason.encode())).unwrap();
        let cut = ConnectionState::Disconnected;
        here.until(|event| matches!(event, Event::State(_, to) if *to == cut).then_some(()));
        // More than all shared buffers hold.
        peer.set_nonblocking(true).unwrap();
        for _ in 0..100 {
            match peer.write(&[7; 32 * 1024]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
            here.settle();
        }
        let address = there.listen_on(&scratch, "uds");
        let (out, back) = here.meet(&mut there, &address, &PipeOptions::default());
        here.engine.set_interest(out, READABLE).unwrap();
        assert!(there.engine.send(back, 0, b"heard").unwrap());
        there.settle();
        here.until(|event| matches!(event, Event::Readable(pipe) if *pipe == out).then_some(()));
        assert_eq!(here.receive(out), [b"heard"], "{backend:?}");
        assert_eq!(here.receive(lost), [b"unread"], "{backend:?}");
    }
}
