//! Queues in front of and behind links, on every scheme.

use std::num::{NonZeroU16, NonZeroU64, NonZeroUsize};
use std::time::{Duration, Instant};

use busbar_io::{
    Backpressure, ChannelOptions, Event, HighWaterMarks, Interest, ListenOptions, PipeId,
    PipeOptions, Qos, QosStats, Rate, RateLimit, ReceivingQos, SendOptions, SendingQos, Sent,
    SharedThrottle,
};

use crate::support::{Driven, PATIENCE, SCHEMES, Scratch};

/// Two ends of a pipe, each with its engine.
struct Pair {
    here: Driven,
    client: PipeId,
    there: Driven,
    server: PipeId,
    _scratch: Scratch,
}

impl Pair {
    fn new(scheme: &str, sending: Option<SendingQos>, receiving: Option<ReceivingQos>) -> Self {
        let scratch = Scratch::new("qos");
        let (mut here, mut there) = (Driven::new(), Driven::new());
        let mut options = ListenOptions::default();
        options.pipe = narrow();
        let listener = there.listen(&scratch.address(scheme), &options);
        let mut qos = Qos::default();
        qos.receiving = receiving;
        there.engine.shape_listener(listener, qos).unwrap();
        let address = there.engine.address(listener).unwrap();
        let client = here.dial(&address, &narrow());
        let mut qos = Qos::default();
        qos.sending = sending;
        here.engine.shape(client, &qos).unwrap();
        let deadline = Instant::now() + PATIENCE;
        let server = loop {
            assert!(Instant::now() < deadline, "not connected");
            here.settle();
            there.settle();
            let accepted = there.events.iter().find_map(|event| match *event {
                Event::Accepted { pipe, .. } => Some(pipe),
                _ => None,
            });
            let is_connected = here.events.iter().any(|event| matches!(event, Event::State(..)));
            if let Some(server) = accepted.filter(|_| is_connected) {
                break server;
            }
        };
        Self { here, client, there, server, _scratch: scratch }
    }

    /// Offers a message that holds its number.
    fn send(&mut self, channel: u16, n: u32, size: usize, options: SendOptions) -> Sent {
        let mut payload = vec![0; size];
        payload[..4].copy_from_slice(&n.to_be_bytes());
        self.here.engine.send_with(self.client, channel, &payload, options).unwrap()
    }

    fn sending(&mut self) -> QosStats {
        self.here.engine.stats(self.client).unwrap().qos
    }

    fn receiving(&mut self) -> QosStats {
        self.there.engine.stats(self.server).unwrap().qos
    }

    /// Receives until nothing has come for some turns; returns the numbers.
    fn drain(&mut self) -> Vec<u32> {
        let (mut all, mut silent) = (Vec::new(), 0);
        // Where sockets are narrow, TCP may take a break with something to send.
        while silent < 50 || (silent < 1000 && self.sending().messages_queued > 0) {
            self.here.settle();
            self.there.settle();
            let some = self.there.receive(self.server);
            silent = if some.is_empty() { silent + 1 } else { 0 };
            if some.is_empty() {
                std::thread::sleep(Duration::from_micros(500));
            }
            all.extend(some.iter().map(|it| u32::from_be_bytes(*it.first_chunk().unwrap())));
        }
        all
    }
}

/// Small enough that a few messages fill it.
fn narrow() -> PipeOptions {
    let mut options = PipeOptions::default();
    options.ring_bytes = 1 << 16;
    options.slab_bytes = 1 << 16;
    options.queue_messages = NonZeroUsize::new(8);
    options
}

fn marks(messages: usize, bytes: usize) -> HighWaterMarks {
    HighWaterMarks { messages: NonZeroUsize::new(messages), bytes: NonZeroUsize::new(bytes) }
}

fn sending(marks: HighWaterMarks, backpressure: Backpressure) -> SendingQos {
    let mut sending = SendingQos::default();
    sending.standard = ChannelOptions { marks, backpressure, ..ChannelOptions::default() };
    sending
}

/// [D24] [I26] exactly as many messages and bytes wait as the marks say
#[test]
fn marks_of_sending_are_exact() {
    for &scheme in SCHEMES {
        for (messages, bytes, size, expected) in
            [(1, 0, 1000, 1), (10, 0, 1000, 10), (0, 10_000, 1000, 10), (0, 10_000, 999, 10)]
        {
            let qos = sending(marks(messages, bytes), Backpressure::Block);
            let mut pair = Pair::new(scheme, Some(qos), None);
            let mut sent = 0;
            while pair.send(0, sent, size, SendOptions::default()) == Sent::Accepted {
                assert!(pair.sending().messages_queued <= expected, "{scheme}");
                sent += 1;
            }
            let stats = pair.sending();
            assert_eq!(stats.messages_queued, expected, "{scheme}: {messages} or {bytes} bytes");
            assert_eq!(stats.bytes_queued, expected * size as u64, "{scheme}");
            let interest = Interest { readable: false, writable: true };
            pair.here.engine.set_interest(pair.client, interest).unwrap();
            let taken = pair.drain();
            assert!(taken.into_iter().eq(0..sent), "{scheme}: in order, nothing lost");
            let is_writable = |event: &Event| matches!(event, Event::Writable(_));
            assert!(pair.here.events.iter().any(is_writable), "{scheme}: told that there is room");
        }
    }
}

/// [D25] [I26] what each policy delivers, exactly, on every scheme; every drop is counted
#[test]
fn policies_deliver_what_they_say() {
    const COUNT: u32 = 6000;
    const MARK: u32 = 20;
    for &scheme in SCHEMES {
        for policy in [
            Backpressure::Block,
            Backpressure::FailFast,
            Backpressure::DropNew,
            Backpressure::DropOld,
        ] {
            // As an option of the pipe, and of each message.
            for own in [None, Some(policy)] {
                let standard = if own.is_some() { Backpressure::Block } else { policy };
                let qos = sending(marks(MARK as usize, 0), standard);
                let mut pair = Pair::new(scheme, Some(qos), None);
                let mut options = SendOptions::default();
                options.backpressure = own;
                let outcomes: Vec<Sent> =
                    (0..COUNT).map(|n| pair.send(0, n, 1000, options)).collect();
                let accepted = |n: &u32| outcomes[*n as usize] == Sent::Accepted;
                let queued = pair.sending().messages_queued;
                assert_eq!(queued, u64::from(MARK), "{scheme} {policy:?}: fills, and no more");
                let delivered = pair.drain();
                let stats = pair.sending();
                let what = format!("{scheme} {policy:?} {own:?} {stats:?}");
                let missing = u64::from(COUNT) - delivered.len() as u64;
                match policy {
                    Backpressure::DropOld => {
                        assert!((0..COUNT).all(|n| accepted(&n)), "{what}");
                        assert!(delivered.is_sorted(), "{what}");
                        let tail = &delivered[delivered.len() - MARK as usize..];
                        assert!(tail.iter().copied().eq(COUNT - MARK..COUNT), "{what}");
                        assert_eq!((stats.sends.old, stats.sends.new), (missing, 0), "{what}");
                    }
                    _ => {
                        assert!((0..COUNT).filter(accepted).eq(delivered), "{what}");
                        let dropped = if policy == Backpressure::DropNew { missing } else { 0 };
                        assert_eq!((stats.sends.new, stats.sends.old), (dropped, 0), "{what}");
                        let outcome = if dropped > 0 { Sent::Dropped } else { Sent::Refused };
                        assert_eq!(outcomes.last(), Some(&outcome), "{what}");
                    }
                }
                assert!(missing > 0, "{what}");
                let is_told = |event: &Event| matches!(event, Event::Dropped(_));
                let told = pair.here.events.iter().any(is_told);
                assert_eq!(told, stats.drops() > 0, "{what}");
            }
        }
    }
}

/// [D24] [D25] what waits to be received keeps to its marks; the rest waits, or is dropped
#[test]
fn marks_of_receiving_are_exact() {
    for &scheme in SCHEMES {
        for (backpressure, mark, bytes) in [
            (Backpressure::Block, 5, 0),
            (Backpressure::Block, 0, 5000),
            (Backpressure::DropNew, 5, 0),
            (Backpressure::DropOld, 5, 0),
            (Backpressure::DropOld, 0, 5000),
        ] {
            let mut receiving = ReceivingQos::default();
            (receiving.marks, receiving.backpressure) = (marks(mark, bytes), backpressure);
            let mut pair = Pair::new(scheme, None, Some(receiving));
            let what = format!("{scheme} {backpressure:?}");
            let mut sent = 0;
            let deadline = Instant::now() + PATIENCE;
            while sent < 200 && Instant::now() < deadline {
                let payload = [&u32::to_be_bytes(sent)[..], &[0; 996]].concat();
                let is_sent = pair.here.engine.send(pair.client, 0, &payload).unwrap();
                sent += u32::from(is_sent);
                pair.here.settle();
                pair.there.settle();
                let stats = pair.receiving();
                assert!(stats.messages_ready <= 5 && stats.bytes_ready <= 5000, "{what}");
                if !is_sent && backpressure == Backpressure::Block {
                    break;
                }
            }
            let dropped = if backpressure == Backpressure::Block { 0 } else { sent - 5 };
            while pair.receiving().drops() < u64::from(dropped) && Instant::now() < deadline {
                pair.here.settle();
                pair.there.settle();
            }
            assert_eq!(pair.receiving().messages_ready, 5, "{what}: as much as may be");
            let first: Vec<u32> = pair.drain();
            let expected = match backpressure {
                Backpressure::DropNew => 0..5,
                Backpressure::DropOld => sent - 5..sent,
                _ => 0..sent,
            };
            assert!(first.iter().copied().eq(expected), "{what}: {sent} {first:?}");
            let stats = pair.receiving().receives;
            let by_cause = match backpressure {
                Backpressure::DropNew => stats.new,
                Backpressure::DropOld => stats.old,
                _ => 0,
            };
            assert_eq!(by_cause, u64::from(dropped), "{what}");
        }
    }
}

/// [D26] a message that waits for longer than it is of use is dropped, and counted, on time
#[test]
fn stale_messages_are_not_sent() {
    for &scheme in SCHEMES {
        let qos = sending(marks(10, 0), Backpressure::Block);
        let mut pair = Pair::new(scheme, Some(qos), None);
        let mut sent = 0;
        while pair.send(0, sent, 1000, SendOptions::default()) == Sent::Accepted {
            sent += 1;
        }
        assert_eq!(pair.sending().messages_queued, 10);
        let mut terms = SendOptions::default();
        terms.ttl = Some(Duration::ZERO);
        assert_eq!(pair.send(0, sent, 4, terms), Sent::Dropped, "{scheme}");
        terms.ttl = Some(Duration::from_millis(20));
        terms.backpressure = Some(Backpressure::DropOld);
        assert_eq!(pair.send(0, sent, 4, terms), Sent::Accepted, "{scheme}");
        let deadline = Instant::now() + PATIENCE;
        while pair.sending().sends.expired < 2 && Instant::now() < deadline {
            // Nothing but the engine's own deadline wakes it.
            let until = pair.here.engine.next_deadline().expect("a message expires");
            pair.here.engine.wait(&mut pair.here.events, Some(until));
            pair.here.settle();
        }
        let stats = pair.sending();
        // TCP may have found room for some more meanwhile.
        assert!(stats.sends.expired == 2 && stats.messages_queued <= 9, "{scheme}: {stats:?}");
        let received = pair.drain();
        let left = u64::from(sent) - stats.sends.old;
        assert!(!received.contains(&sent) && received.len() as u64 == left, "{scheme}");
    }
}

/// [D27] under saturation, weights 1 to 3 give a quarter and three quarters; priority goes first
#[test]
fn channels_share_by_priority_and_weight() {
    for &scheme in SCHEMES {
        let channel = |priority, weight| ChannelOptions {
            marks: marks(2000, 0),
            priority,
            weight: NonZeroU16::new(weight).unwrap(),
            ..ChannelOptions::default()
        };
        let mut qos = SendingQos::default();
        qos.channels = vec![(1, channel(0, 1)), (2, channel(0, 3)), (3, channel(1, 1))];
        let mut pair = Pair::new(scheme, Some(qos), None);
        let mut received = Vec::new();
        while received.len() < 10_000 {
            for channel in [1, 2] {
                let n = u32::from(channel);
                while pair.send(channel, n, 500, SendOptions::default()) == Sent::Accepted {}
            }
            pair.here.settle();
            pair.there.settle();
            // Slowly, so that both always have something that waits.
            received.extend(pair.there.receive_some(pair.server, 10));
        }
        // What went out before both had a queue does not count.
        let share = |n: u8| received[4000..].iter().filter(|it| it[3] == n).count();
        let first = share(1) as f64 / (received.len() - 4000) as f64;
        assert!((0.2375..=0.2625).contains(&first), "{scheme}: {first} instead of 0.25");
        pair.drain();
        while pair.send(1, 1, 500, SendOptions::default()) == Sent::Accepted {}
        assert_eq!(pair.send(3, 3, 500, SendOptions::default()), Sent::Accepted, "{scheme}");
        let order = pair.drain();
        let at = order.iter().position(|&n| n == 3).unwrap();
        assert!(order.len() - at > 2000, "{scheme}: overtakes all that waits");
    }
}

/// [D28] rates hold on every scheme: those of a pipe, and those that pipes share
#[test]
fn rates_hold() {
    let rate = |n| {
        let number = |n| NonZeroU64::new(n).unwrap();
        Some(Rate { per_second: number(n), burst: number(n / 10) })
    };
    for &scheme in SCHEMES {
        for is_shared in [false, true] {
            let mut qos = SendingQos::default();
            let limit = RateLimit { messages: rate(2000), bytes: None };
            if is_shared {
                qos.shared_rate = Some(SharedThrottle::new(limit));
            } else {
                qos.rate = limit;
            }
            let mut pair = Pair::new(scheme, Some(qos), None);
            let mut terms = SendOptions::default();
            terms.backpressure = Some(Backpressure::DropNew);
            let begin = Instant::now();
            let mut received = 0;
            while begin.elapsed() < Duration::from_millis(500) {
                for n in 0..20 {
                    pair.send(0, n, 4, terms);
                }
                pair.here.engine.turn(&mut pair.here.events);
                pair.there.engine.turn(&mut pair.there.events);
                received += pair.there.receive(pair.server).len();
            }
            let expected = 2000.0 * begin.elapsed().as_secs_f64();
            // The machine may have stalled: then there are fewer.
            assert!(received as f64 <= 200.0 + expected * 1.03, "{scheme}: {received}, {expected}");
            assert!(received > 200, "{scheme}: {received} pass, and not only the burst");
        }
    }
}
