//! What waiting costs, in bells, parks and wake-ups: counted, not timed.

use std::time::{Duration, Instant};

use busbar_io::{
    CloseReason, Event, Interest, ListenOptions, PipeId, PipeOptions, Readiness, Wait,
};

use crate::support::{Driven, PATIENCE, Scratch, is_announced};

const READABLE: Interest = Interest { readable: true, writable: false };

/// Two engines with a pipe between them, which the second receives from.
struct Ends {
    _scratch: Scratch,
    here: Driven,
    there: Driven,
    out: PipeId,
    into: PipeId,
}

impl Ends {
    fn new(scheme: &str, test: &str, wait: Wait) -> Self {
        let scratch = Scratch::new(test);
        let address = scratch.address(scheme);
        let mut options = ListenOptions::default();
        options.pipe.wait = wait;
        options.pipe.slab_bytes = 1 << 16;
        options.pipe.ring_bytes = 1 << 17;
        let (mut here, mut there) = (Driven::new(), Driven::new());
        let listener = there.listen(&address, &options);
        let address = there.engine.address(listener).unwrap();
        let out = here.dial(&address, &options.pipe);
        let into = there.accepted();
        here.until(|event| matches!(event, Event::State(..)).then_some(()));
        here.settle();
        there.settle();
        here.events.clear();
        there.events.clear();
        Self { _scratch: scratch, here, there, out, into }
    }

    fn wait_to_receive(&mut self) {
        self.there.engine.set_interest(self.into, READABLE).unwrap();
    }

    fn send(&mut self, count: usize) {
        for _ in 0..count {
            assert!(self.here.engine.send(self.out, 0, &[1; 64]).unwrap());
        }
    }

    fn bells(&mut self) -> u64 {
        self.here.engine.stats(self.out).unwrap().link.bells
    }

    fn parks(&mut self) -> u64 {
        self.there.engine.stats(self.into).unwrap().link.parks
    }

    fn wakes(&mut self) -> u64 {
        self.there.engine.stats(self.into).unwrap().wakes
    }

    fn readable(&mut self) {
        let into = self.into;
        self.there.until(|event| matches!(event, Event::Readable(of) if *of == into).then_some(()));
    }
}

fn hot_receivers_cost_no_bell(scheme: &str) {
    let mut ends = Ends::new(scheme, "hot", Wait::Busy);
    ends.wait_to_receive();
    let before = ends.bells();
    for _ in 0..100 {
        ends.there.engine.turn(&mut ends.there.events);
        ends.send(10);
        ends.readable();
        assert_eq!(ends.there.receive(ends.into).len(), 10);
        ends.there.events.clear();
    }
    assert_eq!((ends.bells() - before, ends.wakes()), (0, 0));
}

fn a_parked_receiver_is_rung_once(scheme: &str) {
    for wait in [Wait::Park, Wait::Balanced, Wait::LowLatency { spin: Duration::from_micros(50) }] {
        let mut ends = Ends::new(scheme, "parked", wait);
        let (bells, parks, wakes) = (ends.bells(), ends.parks(), ends.wakes());
        for round in 1..=20 {
            ends.wait_to_receive();
            ends.there.fall_asleep();
            assert!(!is_announced(&ends.there, Duration::ZERO));
            ends.send(5);
            assert!(is_announced(&ends.there, PATIENCE));
            ends.readable();
            assert_eq!(ends.there.receive(ends.into).len(), 5);
            ends.there.engine.turn(&mut ends.there.events);
            ends.there.events.clear();
            let costs = (ends.bells() - bells, ends.parks() - parks, ends.wakes() - wakes);
            assert_eq!(costs, (round, round, round), "bells, parks, wakes with {wait:?}");
        }
    }
}

fn sleep_is_undisturbed(scheme: &str) {
    let mut ends = Ends::new(scheme, "idle", Wait::Balanced);
    ends.wait_to_receive();
    ends.there.fall_asleep();
    // What the sleeper does not wait for is no reason to wake it either.
    let here = Interest { readable: true, writable: false };
    ends.here.engine.set_interest(ends.out, here).unwrap();
    ends.here.fall_asleep();
    assert!(!is_announced(&ends.there, Duration::from_millis(200)));
    assert!(!is_announced(&ends.here, Duration::ZERO));
    assert_eq!(ends.there.engine.next_deadline(), None);
    assert!(!ends.there.engine.has_work());
}

/// The full queue is what it waits for; that it also has something to receive must not keep it
/// awake.
fn a_blocked_sender_sleeps(scheme: &str) {
    let mut ends = Ends::new(scheme, "blocked", Wait::Balanced);
    assert!(ends.there.engine.send(ends.into, 0, b"unread").unwrap());
    while ends.here.engine.send(ends.out, 0, &[1; 1000]).unwrap() {}
    let writable = Interest { readable: false, writable: true };
    ends.here.engine.set_interest(ends.out, writable).unwrap();
    ends.here.fall_asleep();
    assert!(!is_announced(&ends.here, Duration::ZERO));
    ends.there.settle();
    ends.there.receive(ends.into);
    assert!(is_announced(&ends.here, PATIENCE));
    let out = ends.out;
    ends.here.until(|event| matches!(event, Event::Writable(of) if *of == out).then_some(()));
    assert!(ends.here.engine.send(ends.out, 0, &[1; 1000]).unwrap());
}

/// Nobody waits for the pipe, something unread lies in it, the engine sleeps: the close comes
/// through, and nothing before it.
fn close_is_heard_without_interest(scheme: &str) {
    let mut ends = Ends::new(scheme, "deaf", Wait::Balanced);
    ends.send(1);
    ends.there.fall_asleep();
    ends.send(1);
    assert!(!is_announced(&ends.there, Duration::ZERO), "messages are not waited for");
    let reason = CloseReason { code: None, status: 4, text: "bye".into() };
    ends.here.engine.close(ends.out, &reason);
    assert!(is_announced(&ends.there, PATIENCE));
    ends.there.closed(ends.into);
    assert_eq!(ends.there.engine.reason(ends.into), Some(&reason));
    assert_eq!(ends.there.receive(ends.into).len(), 2);
}

/// Interest that was declared before the connection was there counts once it is.
fn interest_may_precede_the_connection(scheme: &str) {
    let scratch = Scratch::new("early");
    let address = scratch.address(scheme);
    let (mut here, mut there) = (Driven::new(), Driven::new());
    let listener = there.listen(&address, &ListenOptions::default());
    let address = there.engine.address(listener).unwrap();
    let id = here.dial(&address, &PipeOptions::default());
    here.engine.set_interest(id, READABLE).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while here.engine.prepare_sleep(&mut here.events) != Readiness::Sleep {
        here.events.clear();
        assert!(Instant::now() < deadline);
    }
    let accepted = there.accepted();
    here.settle();
    assert!(there.engine.send(accepted, 0, b"welcome").unwrap());
    there.engine.flush();
    here.until(|event| matches!(event, Event::Readable(of) if *of == id).then_some(()));
    assert_eq!(here.receive(id), [b"welcome"]);
}

macro_rules! on_every_scheme {
    ($($scheme:ident),*) => {$(
        mod $scheme {
            /// [D44 D49] no bell is rung while the receiver looks
            #[test]
            fn hot_receivers_cost_no_bell() {
                super::hot_receivers_cost_no_bell(stringify!($scheme));
            }

            /// [D44] one bell and one wake-up for each time the receiver goes to sleep
            #[test]
            fn a_parked_receiver_is_rung_once() {
                super::a_parked_receiver_is_rung_once(stringify!($scheme));
            }

            /// [D44 D49] an idle engine is not woken, by nothing and nobody
            #[test]
            fn sleep_is_undisturbed() {
                super::sleep_is_undisturbed(stringify!($scheme));
            }

            /// [D25 D44] waiting for room is sleep, whatever there is to receive
            #[test]
            fn a_blocked_sender_sleeps() {
                super::a_blocked_sender_sleeps(stringify!($scheme));
            }

            /// [D22 D39] a pipe that nobody waits for still ends when its peer closes
            #[test]
            fn close_is_heard_without_interest() {
                super::close_is_heard_without_interest(stringify!($scheme));
            }

            /// [D08] who waits while the pipe is being connected is not forgotten
            #[test]
            fn interest_may_precede_the_connection() {
                super::interest_may_precede_the_connection(stringify!($scheme));
            }
        }
    )*};
}

on_every_scheme!(inproc, shm);

macro_rules! on_every_stream {
    ($($scheme:ident),*) => {$(
        mod $scheme {
            /// [D44] an idle engine is not woken, by nothing and nobody
            #[test]
            fn sleep_is_undisturbed() {
                super::sleep_is_undisturbed(stringify!($scheme));
            }

            /// [D25] [D44] waiting for room is sleep, until the peer reads
            #[test]
            fn a_blocked_sender_sleeps() {
                super::a_blocked_sender_sleeps(stringify!($scheme));
            }

            /// [D08] who waits while the pipe is being connected is not forgotten
            #[test]
            fn interest_may_precede_the_connection() {
                super::interest_may_precede_the_connection(stringify!($scheme));
            }
        }
    )*};
}

on_every_stream!(uds, tcp);
