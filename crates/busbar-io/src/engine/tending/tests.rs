//! An I/O thread and its owner, one after the other as the test wants it.

use std::num::NonZero;

use busbar_proto::ConnectionState;

use crate::endpoint::Endpoint;
use crate::engine::{Engine, Readiness};
use crate::event::{Event, PipeId};
use crate::link::Interest;
use crate::options::{ListenOptions, PipeOptions};
use crate::reactor::{Backend, EngineOptions};

/// Far longer than anything takes.
#[cfg(target_os = "linux")]
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

#[cfg(target_os = "linux")]
const READABLE: Interest = Interest { readable: true, writable: false };
const WRITABLE: Interest = Interest { readable: false, writable: true };

/// Two engines over each reactor that works here, and what they may meet at.
fn meetings(test: &str) -> Vec<([Engine; 2], Endpoint)> {
    let mut meetings = Vec::new();
    for backend in [Backend::Poll, Backend::Uring] {
        let options = EngineOptions { backend: Some(backend.into()), ..EngineOptions::default() };
        let mut addresses = vec!["tcp://127.0.0.1:0".to_owned()];
        if cfg!(target_os = "linux") {
            let process = std::process::id();
            addresses.push(format!("uds://@tending-{test}-{backend:?}-{process}"));
        }
        for address in addresses {
            let Ok(here) = Engine::shared(options) else {
                assert_eq!(backend, Backend::Uring);
                continue;
            };
            let engines = [here, Engine::shared(options).unwrap()];
            meetings.push((engines, address.parse().unwrap()));
        }
    }
    meetings
}

/// What the I/O thread does until it sleeps.
fn tend(engine: &mut Engine) {
    while engine.tend() || engine.awaits_thread(engine.next_deadline()) {}
}

/// The ends of a pipe; the second is `there`'s.
fn connect(
    [here, there]: [&mut Engine; 2],
    endpoint: &Endpoint,
    options: &PipeOptions,
) -> (PipeId, PipeId) {
    let listening = ListenOptions { pipe: options.clone(), ..ListenOptions::default() };
    let listener = there.listen(endpoint, &listening).unwrap();
    let address: Endpoint = there.address(listener).unwrap().parse().unwrap();
    let out = here.dial(&address, options).unwrap();
    let (mut events, mut accepted) = (Vec::new(), None);
    while accepted.is_none() || here.state(out) != Some(ConnectionState::Connected) {
        tend(here);
        tend(there);
        there.look_around(&mut events);
        accepted = accepted.or(events.drain(..).find_map(|event| match event {
            Event::Accepted { pipe, .. } => Some(pipe),
            _ => None,
        }));
    }
    here.look_around(&mut events);
    (out, accepted.unwrap())
}

/// [D23] an owner that waits for room in a pipe is told when its own flush has made it, be it for
/// the sake of another pipe: the thread has nothing left to do that would tell it later
#[test]
fn room_that_the_owner_makes_itself_is_told() {
    for ([mut here, mut there], endpoint) in meetings("room") {
        let backend = here.backend();
        let options = PipeOptions { queue_messages: NonZero::new(1), ..PipeOptions::default() };
        let (out, _) = connect([&mut here, &mut there], &endpoint, &options);
        assert!(here.send(out, 0, b"first").unwrap());
        assert!(!here.send(out, 0, b"second").unwrap(), "the queue holds one message");
        here.set_interest(out, WRITABLE).unwrap();
        let mut events = Vec::new();
        while here.prepare_rest(&mut events) == Readiness::Again {}
        assert!(events.is_empty(), "{backend:?} {endpoint}: there is no room");
        here.flush();
        assert_eq!(here.prepare_rest(&mut events), Readiness::Events, "{backend:?} {endpoint}");
        assert!(matches!(events[..], [Event::Writable(pipe)] if pipe == out), "{events:?}");
    }
}

/// [D23 D48] what comes is announced although the thread that began to receive has ended, and
/// nothing else came of that
#[cfg(target_os = "linux")]
#[test]
fn receiving_begins_anew_without_an_edge() {
    for ([mut here, mut there], endpoint) in meetings("anew") {
        let backend = here.backend();
        // The bell is watched by this thread.
        tend(&mut here);
        let ends = [&mut here, &mut there];
        let connecting = || connect(ends, &endpoint, &PipeOptions::default());
        let (out, back) = std::thread::scope(|scope| scope.spawn(connecting).join()).unwrap();
        tend(&mut here);
        tend(&mut there);
        assert!(there.send(back, 0, b"come").unwrap());
        tend(&mut there);
        here.set_interest(out, READABLE).unwrap();
        while !here.has_news() {
            assert!(is_announced(&here), "{backend:?} {endpoint}: asleep for ever");
            tend(&mut here);
        }
        let mut events = Vec::new();
        assert_eq!(here.prepare_rest(&mut events), Readiness::Events);
        assert!(matches!(events[..], [Event::Readable(pipe)] if pipe == out), "{events:?}");
    }
}

/// Whether the engine's descriptor tells its thread to look.
#[cfg(target_os = "linux")]
fn is_announced(engine: &Engine) -> bool {
    let mut set = mio::Poll::new().unwrap();
    let mut fd = mio::unix::SourceFd(&std::os::fd::AsRawFd::as_raw_fd(engine));
    set.registry().register(&mut fd, mio::Token(0), mio::Interest::READABLE).unwrap();
    let mut told = mio::Events::with_capacity(1);
    // io_uring interrupts the thread when one of its operations has come to an end.
    while set.poll(&mut told, Some(PATIENCE)).is_err() {}
    !told.is_empty()
}
