//! The reactors: which one an engine has, and that all of this suite holds over the other one, too.

use std::collections::BTreeMap;
use std::env;
use std::process::{Command, Stdio};
use std::time::Instant;

use busbar_io::{
    Backend, BackendChoice, Engine, EngineOptions, Event, Interest, IoThread, PipeOptions,
};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

use crate::child::say;
use crate::support::{Driven, PATIENCE, Role, Scratch};

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
