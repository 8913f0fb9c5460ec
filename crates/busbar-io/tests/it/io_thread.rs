//! Engines that an I/O thread tends while their owners do something else.

use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use busbar_io::{
    CloseReason, Code, ConnectionState, Event, Heartbeat, HighWaterMarks, Inbox, Interest,
    IoThread, ListenOptions, META_LEASED, PipeId, PipeOptions, Qos, Readiness, SendOptions,
    SendingQos, Sent, Slot,
};
use mio::unix::SourceFd;

use crate::certificates::suited;
use crate::heartbeat::attended;
use crate::support::{Driven, PATIENCE, Scratch, endpoint};

const SCHEMES: [&str; 5] = ["inproc", "shm", "uds", "tcp", "tls"];

/// Those whose messages are read from and written to sockets.
const SOCKETS: [&str; 3] = ["uds", "tcp", "tls"];

/// An owner of an engine with a thread: what an event loop is.
struct Owner {
    io: IoThread,
    events: Vec<Event>,
    bell: mio::Poll,
    arena: Vec<u8>,
    slots: Vec<Slot>,
}

impl Owner {
    fn new() -> Self {
        let io = IoThread::start().unwrap();
        let bell = mio::Poll::new().unwrap();
        let mut fd = SourceFd(&io.as_raw_fd());
        bell.registry().register(&mut fd, mio::Token(0), mio::Interest::READABLE).unwrap();
        let (arena, slots) = (vec![0; 1 << 16], vec![Slot::default(); 256]);
        Self { io, events: vec![], bell, arena, slots }
    }

    fn dial(&self, address: &str, options: &PipeOptions) -> PipeId {
        self.io.lock().dial(&endpoint(address), &suited(address, options)).unwrap()
    }

    /// Listens at an address of `scheme`, and returns what to dial.
    fn listen(&self, scratch: &Scratch, scheme: &str, options: &PipeOptions) -> String {
        let address = scratch.address(scheme);
        let mut listening = ListenOptions::default();
        listening.pipe = suited(&address, options);
        let mut engine = self.io.lock();
        let listener = engine.listen(&endpoint(&address), &listening).unwrap();
        engine.address(listener).unwrap()
    }

    /// One round of the loop: sleeps if it may.
    fn round(&mut self) {
        if self.io.prepare_sleep(&mut self.events) == Readiness::Sleep {
            let mut events = mio::Events::with_capacity(1);
            // io_uring interrupts the thread when one of its operations has come to an end.
            while let Err(error) = self.bell.poll(&mut events, Some(PATIENCE)) {
                assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}");
            }
            assert!(!events.is_empty(), "asleep for ever; {:?}", self.events);
        }
        self.io.turn(&mut self.events);
    }

    fn until<T>(&mut self, mut wanted: impl FnMut(&Event) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.events.iter().position(|event| wanted(event).is_some()) {
                return wanted(&self.events.remove(at)).unwrap();
            }
            assert!(Instant::now() < deadline, "nothing of the kind among {:?}", self.events);
            self.round();
        }
    }

    fn accepted(&mut self) -> PipeId {
        self.until(|event| match *event {
            Event::Accepted { pipe, .. } => Some(pipe),
            _ => None,
        })
    }

    fn connected(&mut self) {
        self.until(|event| {
            matches!(event, Event::State(_, ConnectionState::Connected)).then_some(())
        });
    }

    fn wait_for(&mut self, pipe: PipeId, readable: bool, writable: bool) {
        self.io.lock().set_interest(pipe, Interest { readable, writable }).unwrap();
        self.until(|event| match *event {
            Event::Readable(of) | Event::Writable(of) if of == pipe => Some(()),
            Event::Closed(of) if of == pipe => Some(()),
            _ => None,
        });
        self.events.retain(|event| !matches!(event, Event::Readable(_) | Event::Writable(_)));
        self.io.lock().set_interest(pipe, Interest::NONE).unwrap();
    }

    fn send(&mut self, pipe: PipeId, channel: u16, payload: &[u8]) {
        loop {
            let sent = self.io.lock().send(pipe, channel, payload).unwrap();
            if sent {
                return;
            }
            self.wait_for(pipe, false, true);
        }
    }

    /// The next message; `None` at the end.
    fn receive(&mut self, pipe: PipeId) -> Option<Vec<u8>> {
        loop {
            let mut leases = Vec::new();
            let mut inbox = Inbox::new(&mut self.arena, &mut self.slots, &mut leases);
            let mut engine = self.io.lock();
            engine.receive(pipe, &mut inbox, 1).unwrap();
            if let Some(&slot) = inbox.slots().first() {
                let inline = (slot.meta & META_LEASED == 0).then(|| inbox.bytes(slot).to_vec());
                return Some(inline.unwrap_or_else(|| leases[0].to_vec()));
            }
            let is_over = engine.reason(pipe).is_some();
            drop(engine);
            if is_over {
                return None;
            }
            self.wait_for(pipe, true, false);
        }
    }
}

/// Two owners in threads of their own; `here` gets the dialed pipe, `there` the accepted one.
fn between(
    scheme: &str,
    options: &PipeOptions,
    here: impl FnOnce(&mut Owner, PipeId) + Send,
    there: impl FnOnce(&mut Owner, PipeId) + Send,
) {
    let scratch = Scratch::new("io-thread");
    let mut listening = Owner::new();
    let address = listening.listen(&scratch, scheme, options);
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut dialing = Owner::new();
            let pipe = dialing.dial(&address, options);
            dialing.connected();
            here(&mut dialing, pipe);
        });
        let pipe = listening.accepted();
        there(&mut listening, pipe);
    });
}

/// [D23] every size comes back as it was sent, whoever reads and writes
#[test]
fn echoes_every_size() {
    let sizes = [0, 1, 64, 1023, 1025, 8193, 65_536, 65_537, 1 << 20, 5 << 20];
    for scheme in SCHEMES {
        between(
            scheme,
            &PipeOptions::default(),
            |here, pipe| {
                for size in sizes {
                    let payload: Vec<u8> = (0..size).map(|n| (n * 31 + size) as u8).collect();
                    here.send(pipe, 3, &payload);
                    assert!(here.receive(pipe).unwrap() == payload, "{scheme}: {size} bytes");
                }
                here.io.lock().close(pipe, &CloseReason::default());
            },
            |there, pipe| {
                while let Some(message) = there.receive(pipe) {
                    there.send(pipe, 3, &message);
                }
            },
        );
    }
}

/// [D23 D21] order is kept under backpressure, and what was sent before the close arrives
#[test]
fn keeps_order_under_backpressure() {
    let mut options = PipeOptions::default();
    options.ring_bytes = 1 << 16;
    for scheme in SCHEMES {
        between(
            scheme,
            &options,
            |here, pipe| {
                for n in 0..20_000_u32 {
                    let size = 4 + (n as usize * 7919) % if n % 50 == 0 { 60_000 } else { 900 };
                    let mut payload = vec![n as u8; size];
                    payload[..4].copy_from_slice(&n.to_le_bytes());
                    here.send(pipe, 0, &payload);
                }
                here.io.lock().close(pipe, &CloseReason::default());
                while here.io.lock().is_lingering() {
                    here.round();
                }
            },
            |there, pipe| {
                for n in 0..20_000_u32 {
                    let message = there.receive(pipe).unwrap();
                    assert_eq!(message[..4], n.to_le_bytes());
                    assert!(message[4..].iter().all(|&byte| byte == n as u8));
                }
                assert_eq!(there.receive(pipe), None);
            },
        );
    }
}

/// A pipe between an owner and an engine that is driven as usual.
struct Ends {
    here: Owner,
    there: Driven,
    pipe: PipeId,
    accepted: PipeId,
}

fn ends(scheme: &str, options: &PipeOptions, listening: PipeOptions) -> Ends {
    let scratch = Scratch::new("io-ends");
    let mut there = Driven::new();
    let mut listen_options = ListenOptions::default();
    listen_options.pipe = listening;
    let listener = there.listen(&scratch.address(scheme), &listen_options);
    let address = there.engine.address(listener).unwrap();
    let mut here = Owner::new();
    let pipe = here.dial(&address, options);
    let accepted = there.accepted();
    here.connected();
    Ends { here, there, pipe, accepted }
}

/// [D23] calls write nothing: what they leave to the thread goes out in one write
#[test]
fn calls_leave_sockets_alone() {
    for scheme in SOCKETS {
        let Ends { here, mut there, pipe, accepted } =
            ends(scheme, &PipeOptions::default(), PipeOptions::default());
        let mut engine = here.io.lock();
        let before = engine.stats(pipe).unwrap().link;
        // As much as a loop would have written at once, and a message that it would not copy.
        for n in 0..100_u8 {
            assert!(engine.send(pipe, 0, &vec![n; if n == 50 { 100_000 } else { 1000 }]).unwrap());
        }
        thread::sleep(Duration::from_millis(20));
        let during = engine.stats(pipe).unwrap().link;
        assert_eq!((before.writes, before.reads), (during.writes, during.reads), "{scheme}");
        assert_eq!(during.messages_sent - before.messages_sent, 100);
        drop(engine);
        // The owner does nothing more.
        there.engine.set_interest(accepted, Interest { readable: true, writable: false }).unwrap();
        let mut came = Vec::new();
        while came.len() < 100 {
            there.until(|event| matches!(event, Event::Readable(_)).then_some(()));
            came.extend(there.receive(accepted));
        }
        assert!(came.iter().enumerate().all(|(n, message)| message[0] == n as u8), "{scheme}");
        let after = here.io.lock().stats(pipe).unwrap().link;
        assert!(after.writes - before.writes <= 8, "{scheme}: {} writes", after.writes);
    }
}

/// [D23] what comes is read although the owner never looks, up to a bound
#[test]
fn reads_while_the_owner_is_busy() {
    for scheme in SOCKETS {
        let Ends { mut here, mut there, pipe, accepted } =
            ends(scheme, &PipeOptions::default(), PipeOptions::default());
        for n in 0..100_u8 {
            assert!(there.engine.send(accepted, 0, &[n; 1000]).unwrap());
        }
        there.engine.flush();
        let deadline = Instant::now() + PATIENCE;
        let mut guard = here.io.lock();
        while guard.link(pipe).is_some_and(|link| !link.is_readable()) {
            assert!(Instant::now() < deadline, "{scheme}: nobody reads");
            drop(guard);
            thread::sleep(Duration::from_millis(1));
            guard = here.io.lock();
        }
        drop(guard);
        for n in 0..100_u8 {
            assert_eq!(here.receive(pipe).unwrap(), [n; 1000]);
        }
    }
}

/// [D18 D23] an owner that is busy for longer than its peer is patient is not taken for dead if it
/// has a thread, and is if it has none
#[test]
fn heartbeats_go_on_while_the_owner_is_busy() {
    let mut listening = attended();
    let interval = Duration::from_millis(60);
    listening.heartbeat = Some(Heartbeat { interval, misses: 3 });
    for scheme in ["shm", "uds", "tcp", "tls"] {
        let mut ends = ends(scheme, &attended(), listening.clone());
        // Nobody calls `here` from now on.
        let until = Instant::now() + 20 * interval;
        while Instant::now() < until {
            ends.there.drive(Instant::now() + Duration::from_millis(10));
        }
        let state = ends.there.engine.state(ends.accepted);
        assert_eq!(state, Some(ConnectionState::Connected), "{scheme}");
        assert_eq!(ends.here.io.lock().state(ends.pipe), state);

        let scratch = Scratch::new("io-control");
        let (mut here, mut there) = (Driven::new(), Driven::new());
        let mut options = ListenOptions::default();
        options.pipe = listening.clone();
        let listener = there.listen(&scratch.address(scheme), &options);
        let address = there.engine.address(listener).unwrap();
        let (_, accepted) = here.meet(&mut there, &address, &attended());
        there.closed(accepted);
        let code = there.engine.reason(accepted).unwrap().code;
        assert_eq!(code, Some(Code::ConnectionLost), "{scheme}");
    }
}

/// [D23] whoever dials is let in although the owner never looks
#[test]
fn introduces_itself_while_the_owner_is_busy() {
    for scheme in ["shm", "uds", "tcp", "tls"] {
        let scratch = Scratch::new("io-busy");
        let mut here = Owner::new();
        let address = here.listen(&scratch, scheme, &PipeOptions::default());
        let (mut there, pipe) = Driven::dialing(&address);
        there.until(|event| {
            matches!(event, Event::State(_, ConnectionState::Connected)).then_some(())
        });
        there.engine.close(pipe, &CloseReason { code: None, status: 7, text: String::new() });
        // All of it is told when the owner asks.
        let accepted = here.accepted();
        assert_eq!(here.receive(accepted), None);
        assert_eq!(here.io.lock().reason(accepted).unwrap().status, 7);
    }
}

/// [D23 D24] a queue is emptied into its link although the owner never looks
#[test]
fn queues_go_on_while_the_owner_is_busy() {
    let mut narrow = PipeOptions::default();
    narrow.ring_bytes = 1 << 16;
    for scheme in SOCKETS {
        let Ends { here, mut there, pipe, accepted } = ends(scheme, &narrow, narrow.clone());
        let mut sending = SendingQos::default();
        sending.standard.marks = HighWaterMarks::default();
        let mut qos = Qos::default();
        qos.sending = Some(sending);
        here.io.lock().shape(pipe, &qos).unwrap();
        // Far more than ring and sockets hold.
        let count = 4000_u32;
        for n in 0..count {
            let payload = [&n.to_le_bytes()[..], &[0; 996]].concat();
            let options = SendOptions::default();
            let sent = here.io.lock().send_with(pipe, 0, &payload, options).unwrap();
            assert_eq!(sent, Sent::Accepted);
        }
        assert!(here.io.lock().stats(pipe).unwrap().qos.messages_queued > 0, "{scheme}");
        there.engine.set_interest(accepted, Interest { readable: true, writable: false }).unwrap();
        let mut next = 0_u32;
        while next < count {
            there.until(|event| matches!(event, Event::Readable(_)).then_some(()));
            for message in there.receive(accepted) {
                assert_eq!(message[..4], next.to_le_bytes(), "{scheme}");
                next += 1;
            }
        }
        assert_eq!(here.io.lock().stats(pipe).unwrap().qos.messages_queued, 0);
    }
}

/// [D23] an owner that sleeps is not woken for what is not its business
#[test]
fn an_owner_without_interest_sleeps_on() {
    for scheme in SOCKETS {
        let Ends { mut here, mut there, pipe: _, accepted } =
            ends(scheme, &PipeOptions::default(), PipeOptions::default());
        while here.io.prepare_sleep(&mut here.events) != Readiness::Sleep {}
        for _ in 0..10 {
            assert!(there.engine.send(accepted, 0, &[1; 1000]).unwrap());
            there.engine.flush();
            thread::sleep(Duration::from_millis(2));
        }
        let mut events = mio::Events::with_capacity(1);
        here.bell.poll(&mut events, Some(Duration::ZERO)).unwrap();
        assert!(events.is_empty(), "{scheme}: woken for what nobody waits for");
    }
}

/// [D23 D45] the end comes at any moment, and leaves neither threads nor descriptors
#[test]
fn ends_in_the_middle_of_traffic() {
    for scheme in SCHEMES {
        let count = |what: &str| std::fs::read_dir(format!("/proc/self/{what}")).unwrap().count();
        let mut others = (0, 0);
        for round in 0..30 {
            let stop = Arc::new(AtomicBool::new(false));
            let scratch = Scratch::new("io-end");
            let mut here = Owner::new();
            let address = here.listen(&scratch, scheme, &PipeOptions::default());
            let flood = thread::spawn({
                let stop = Arc::clone(&stop);
                move || {
                    let (mut there, pipe) = Driven::dialing(&address);
                    while !stop.load(Ordering::Relaxed) {
                        there.settle();
                        // Until the other end is gone.
                        let _ = there.engine.send(pipe, 0, &[1; 3000]);
                    }
                }
            });
            let accepted = here.accepted();
            for _ in 0..round {
                let _ = here.io.lock().send(accepted, 0, &[2; 3000]).unwrap();
            }
            here.receive(accepted).unwrap();
            if round % 2 == 0 {
                here.io.lock().clear();
            }
            drop(here);
            stop.store(true, Ordering::Relaxed);
            flood.join().unwrap();
            // Other tests run beside this one: only growth without end would be a leak.
            if round == 4 {
                others = (count("fd"), count("task"));
            }
        }
        let (fds, threads) = (count("fd"), count("task"));
        assert!(fds < others.0 + 60 && threads < others.1 + 20, "{scheme}: {fds}, {threads}");
    }
}
