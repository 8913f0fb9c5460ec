//! Silence and death: peers that stop without their system saying so.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use busbar_io::{
    Code, ConnectionState, Event, Heartbeat, Interest, ListenOptions, PipeId, PipeOptions,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Driven, PATIENCE, Role, Scratch};

const INTERVAL: Duration = Duration::from_millis(60);
const MISSES: u32 = 3;

/// Transports whose peers may be other processes.
const SCHEMES: [&str; 3] = ["shm", "uds", "tcp"];

/// An end that keeps its peer's heartbeat and asks for none itself.
pub(crate) fn attended() -> PipeOptions {
    let mut options = PipeOptions::default();
    options.is_driven = true;
    options
}

fn listening_for_life() -> PipeOptions {
    let mut options = attended();
    options.heartbeat = Some(Heartbeat { interval: INTERVAL, misses: MISSES });
    options
}

/// Two engines with a connection: the first dialed, and has the first options.
struct Ends {
    here: Driven,
    there: Driven,
    dialed: PipeId,
    accepted: PipeId,
}

impl Ends {
    fn new(scheme: &str, dialing: PipeOptions, listening: PipeOptions) -> Self {
        let scratch = Scratch::new("beat");
        let (mut here, mut there) = (Driven::new(), Driven::new());
        let mut options = ListenOptions::default();
        options.pipe = listening;
        let listener = there.listen(&scratch.address(scheme), &options);
        let dialed = here.dial(&there.engine.address(listener).unwrap(), &dialing);
        let deadline = Instant::now() + PATIENCE;
        let accepted = loop {
            here.engine.turn(&mut here.events);
            there.engine.turn(&mut there.events);
            let accepted = there.events.iter().find_map(|event| match *event {
                Event::Accepted { pipe, .. } => Some(pipe),
                _ => None,
            });
            if let (Some(accepted), Some(ConnectionState::Connected)) =
                (accepted, here.engine.state(dialed))
            {
                break accepted;
            }
            assert!(Instant::now() < deadline);
        };
        Self { here, there, dialed, accepted }
    }

    fn drive_both(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            for driven in [&mut self.here, &mut self.there] {
                driven.drive(Instant::now() + Duration::from_millis(5));
            }
        }
    }

    fn are_connected(&self) -> bool {
        let connected = Some(ConnectionState::Connected);
        self.here.engine.state(self.dialed) == connected
            && self.there.engine.state(self.accepted) == connected
    }
}

/// [D18] ends that live and have nothing to say stay connected; whoever is not asked says nothing
#[test]
fn silence_is_bridged() {
    for scheme in SCHEMES {
        let mut ends = Ends::new(scheme, listening_for_life(), attended());
        let asked = ends.there.engine.stats(ends.accepted).unwrap().link.writes;
        let unasked = ends.here.engine.stats(ends.dialed).unwrap().link.writes;
        ends.drive_both(INTERVAL * MISSES * 4);
        assert!(ends.are_connected(), "{scheme}");
        assert_eq!(ends.here.receive(ends.dialed), Vec::<Vec<u8>>::new(), "{scheme}: no message");
        if scheme != "shm" {
            assert!(ends.there.engine.stats(ends.accepted).unwrap().link.writes > asked);
            assert_eq!(ends.here.engine.stats(ends.dialed).unwrap().link.writes, unasked);
        }
    }
}

/// [D18] who stops is lost: within interval × misses of its last word, and not after one silence
#[test]
fn a_stopped_peer_is_found_out() {
    for scheme in SCHEMES {
        let mut ends = Ends::new(scheme, listening_for_life(), attended());
        ends.drive_both(INTERVAL * 2);
        let begin = Instant::now();
        let dialed = ends.dialed;
        ends.here.events.clear();
        ends.here.closed(dialed);
        assert!(begin.elapsed() >= INTERVAL * (MISSES - 2), "{scheme}: {:?}", begin.elapsed());
        let reason = ends.here.engine.reason(dialed).unwrap();
        assert_eq!(reason.code, Some(Code::ConnectionLost), "{scheme}");
        assert!(reason.text.contains("180ms"), "{scheme}: {}", reason.text);
        use ConnectionState::{Closed, Disconnected};
        assert_eq!(ends.here.states(), [Disconnected, Closed], "{scheme}");
        // When it wakes up, it learns that it was given up.
        let accepted = ends.accepted;
        ends.there.closed(accepted);
        let reason = ends.there.engine.reason(accepted).unwrap();
        assert_eq!(reason.code, Some(Code::ConnectionLost), "{scheme}");
    }
}

/// [D18] a process that was stopped (SIGSTOP) is lost although its sockets stand
#[test]
fn a_stopped_process_is_found_out() {
    for scheme in SCHEMES {
        let scratch = Scratch::new("stop");
        let mut driven = Driven::new();
        let mut options = ListenOptions::default();
        options.pipe = listening_for_life();
        let listener = driven.listen(&scratch.address(scheme), &options);
        let address = driven.engine.address(listener).unwrap();
        let peer = Role::start("attend", &address);
        let pipe = driven.accepted();
        let until = Instant::now() + INTERVAL * MISSES * 3;
        while Instant::now() < until {
            driven.drive(until);
        }
        assert_eq!(driven.engine.state(pipe), Some(ConnectionState::Connected), "{scheme}");
        let pid = Pid::from_child(&peer.process);
        kill_process(pid, Signal::STOP).unwrap();
        driven.closed(pipe);
        assert_eq!(driven.engine.reason(pipe).unwrap().code, Some(Code::ConnectionLost));
        kill_process(pid, Signal::CONT).unwrap();
    }
}

/// [D18] a connection that carries nothing any more, while both of its ends stand, is lost to both
#[test]
fn a_black_hole_is_found_out() {
    let scratch = Scratch::new("hole");
    let (mut here, mut there) = (Driven::new(), Driven::new());
    let mut options = ListenOptions::default();
    options.pipe = listening_for_life();
    let listener = there.listen(&scratch.address("tcp"), &options);
    let behind = there.engine.address(listener).unwrap();
    let (proxy, is_open) = proxy(behind.strip_prefix("tcp://").unwrap().to_owned());
    let dialed = here.dial(&proxy, &listening_for_life());
    let mut ends = Ends { here, there, dialed, accepted: PipeId::from_number(u32::MAX >> 1) };
    let accepted = |event: &Event| match *event {
        Event::Accepted { pipe, .. } => Some(pipe),
        _ => None,
    };
    let deadline = Instant::now() + PATIENCE;
    ends.accepted = loop {
        ends.drive_both(Duration::from_millis(10));
        if let Some(pipe) = ends.there.events.iter().find_map(accepted) {
            break pipe;
        }
        assert!(Instant::now() < deadline);
    };
    ends.drive_both(INTERVAL * MISSES * 2);
    assert!(ends.are_connected(), "through the proxy");
    is_open.store(false, Ordering::Relaxed);
    let deadline = Instant::now() + PATIENCE;
    let is_closed = |driven: &Driven| driven.events.iter().any(|it| matches!(it, Event::Closed(_)));
    while !is_closed(&ends.here) || !is_closed(&ends.there) {
        ends.drive_both(Duration::from_millis(10));
        assert!(Instant::now() < deadline);
    }
    assert_eq!(ends.here.engine.reason(dialed).unwrap().code, Some(Code::ConnectionLost));
    let lost = ends.there.engine.reason(ends.accepted).unwrap().code;
    assert_eq!(lost, Some(Code::ConnectionLost));
}

/// Passes one connection on while it is open, then holds it and passes nothing.
fn proxy(to: String) -> (String, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let is_open = Arc::new(AtomicBool::new(true));
    let open = Arc::clone(&is_open);
    thread::spawn(move || {
        let near = listener.accept().unwrap().0;
        let far = TcpStream::connect(to).unwrap();
        let pump = |mut from: TcpStream, mut to: TcpStream, open: Arc<AtomicBool>| {
            let mut bytes = [0; 4096];
            while let Ok(len @ 1..) = from.read(&mut bytes) {
                if open.load(Ordering::Relaxed) && to.write_all(&bytes[..len]).is_err() {
                    break;
                }
            }
        };
        let back = (far.try_clone().unwrap(), near.try_clone().unwrap(), Arc::clone(&open));
        let pumping = thread::spawn(move || pump(back.0, back.1, back.2));
        pump(near, far, open);
        pumping.join().unwrap();
    });
    (address, is_open)
}

/// [D18] a peer whose program does not receive, and one that is not allowed to send, live
#[test]
fn a_full_pipe_is_not_dead() {
    for scheme in SCHEMES {
        let mut narrow = listening_for_life();
        narrow.ring_bytes = 1 << 16;
        let mut ends = Ends::new(scheme, narrow.clone(), narrow);
        let payload = [7; 1000];
        let mut sent = 0;
        let until = Instant::now() + INTERVAL * MISSES * 5;
        while Instant::now() < until {
            while ends.here.engine.send(ends.dialed, 0, &payload).unwrap() {
                sent += 1;
            }
            ends.drive_both(Duration::from_millis(5));
        }
        assert!(sent > 0 && ends.are_connected(), "{scheme}");
        let mut received = 0;
        let deadline = Instant::now() + PATIENCE;
        while received < sent {
            received += ends.there.receive(ends.accepted).len();
            ends.drive_both(Duration::from_millis(1));
            assert!(Instant::now() < deadline, "{scheme}: {received} of {sent}");
        }
    }
}

/// [D18] who was busy elsewhere for long does not blame its peer for what it has not heard
#[test]
fn a_blocked_loop_loses_nobody() {
    for scheme in SCHEMES {
        let mut ends = Ends::new(scheme, listening_for_life(), attended());
        for _ in 0..3 {
            let blocked = Instant::now() + INTERVAL * MISSES * 3;
            while Instant::now() < blocked {
                ends.there.drive(blocked);
            }
            ends.drive_both(Duration::from_millis(20));
            assert!(ends.are_connected(), "{scheme}");
        }
    }
}

/// [D18 D54] a peer that knows no heartbeats, or cannot keep any, is not held to them
#[test]
fn who_promises_nothing_is_not_missed() {
    for scheme in SCHEMES {
        let mut ends = Ends::new(scheme, listening_for_life(), PipeOptions::default());
        assert_eq!(ends.here.engine.next_deadline(), None, "{scheme}: nothing to wait for");
        assert_eq!(ends.there.engine.next_deadline(), None, "{scheme}: nothing to say");
        ends.drive_both(INTERVAL * MISSES * 2);
        assert!(ends.are_connected(), "{scheme}");
    }
}

/// [D18] a closed pipe leaves no timer behind
#[test]
fn a_closed_pipe_is_not_listened_for() {
    for scheme in SCHEMES {
        let mut ends = Ends::new(scheme, listening_for_life(), attended());
        assert!(ends.here.engine.next_deadline().is_some());
        ends.here.engine.set_interest(ends.dialed, Interest::NONE).unwrap();
        ends.here.engine.close(ends.dialed, &busbar_io::CloseReason::default());
        let accepted = ends.accepted;
        ends.there.closed(accepted);
        ends.there.engine.close(accepted, &busbar_io::CloseReason::default());
        ends.drive_both(Duration::from_millis(50));
        assert_eq!(ends.here.engine.next_deadline(), None, "{scheme}");
        assert_eq!(ends.there.engine.next_deadline(), None, "{scheme}");
    }
}
