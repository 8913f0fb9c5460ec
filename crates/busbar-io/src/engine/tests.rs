//! What takes a clock that the test controls.

use std::num::NonZeroUsize;
use std::time::Duration;

use busbar_proto::qos::ChannelOptions;
use busbar_proto::{CloseReason, Code, ConnectionState};

use crate::clock;
use crate::endpoint::Endpoint;
use crate::engine::Engine;
use crate::engine::pipe::Phase;
use crate::engine::sending::Sending;
use crate::event::{Event, PipeId};
use crate::inbox::{Inbox, META_LEASED, Slot};
use crate::options::ListenOptions;
use crate::qos::{Qos, ReceivingQos, SendOptions, SendingQos, Sent};

const TTL: Duration = Duration::from_secs(3600);

/// An engine with both ends of a pipe.
struct Ends {
    engine: Engine,
    out: PipeId,
    back: PipeId,
}

impl Ends {
    fn new(address: &str, slab_bytes: u64) -> Self {
        let endpoint: Endpoint = address.parse().unwrap();
        let mut engine = Engine::new().unwrap();
        let mut options = ListenOptions::default();
        options.pipe.slab_bytes = slab_bytes;
        engine.listen(&endpoint, &options).unwrap();
        let out = engine.dial(&endpoint, &options.pipe).unwrap();
        let (mut events, mut back) = (Vec::new(), None);
        while back.is_none() || engine.state(out) != Some(ConnectionState::Connected) {
            engine.turn(&mut events);
            back = events.iter().find_map(|event| match *event {
                Event::Accepted { pipe, .. } => Some(pipe),
                _ => None,
            });
        }
        Self { engine, out, back: back.unwrap() }
    }

    fn send(&mut self, payload: &[u8], ttl: Option<Duration>) {
        let options = SendOptions { ttl, ..SendOptions::default() };
        let sent = self.engine.send_with(self.out, 5, payload, options).unwrap();
        assert_eq!(sent, Sent::Accepted);
    }

    /// The first byte and the length of everything that can be received.
    fn received(&mut self) -> Vec<(u8, usize)> {
        self.received_at_once(64)
    }

    /// The same of up to `max` messages.
    fn received_at_once(&mut self, max: usize) -> Vec<(u8, usize)> {
        let (mut arena, mut slots, mut leases) =
            (vec![0; 1 << 16], vec![Slot::default(); 64], Vec::new());
        let mut inbox = Inbox::new(&mut arena, &mut slots, &mut leases);
        self.engine.receive(self.back, &mut inbox, max).unwrap();
        let slots = inbox.slots().to_vec();
        let inline: Vec<_> = slots
            .iter()
            .map(|&slot| (slot.meta & META_LEASED == 0).then(|| inbox.bytes(slot)[0]))
            .collect();
        let first = |slot: &Slot, inline: Option<u8>| {
            inline.unwrap_or_else(|| leases[slot.offset as usize][0])
        };
        slots
            .iter()
            .zip(inline)
            .map(|(slot, byte)| (first(slot, byte), slot.length as usize))
            .collect()
    }

    fn expired(&mut self) -> u64 {
        let stats = self.engine.stats(self.back).unwrap();
        stats.link.messages_expired + stats.qos.receives.expired
    }
}

/// Every way in which a message travels: in a ring or an arena, in a slab, in fragments.
const LENGTHS: [usize; 3] = [10, 20_000, 200_000];

/// Addresses that no other test uses, with the size of the slab.
fn schemes(test: &str) -> Vec<(String, u64)> {
    let name = |scheme: &str, at: u64| format!("{scheme}://{test}-{}-{at}", std::process::id());
    let mut all = vec![(name("inproc", 0), 0)];
    if cfg!(target_os = "linux") {
        // Without a slab, large messages are fragments.
        all.extend([0, 16 << 20].map(|slab| (name("shm", slab), slab)));
    }
    all
}

/// [D26] what nobody has received in time is dropped by the receiver and counted; the others pass
#[test]
fn receivers_drop_what_is_stale() {
    for (address, slab_bytes) in schemes("stale") {
        let mut ends = Ends::new(&address, slab_bytes);
        for (round, len) in (0..).zip(LENGTHS) {
            ends.send(&vec![1; len], Some(TTL));
            ends.send(&vec![2; len], None);
            ends.send(&vec![3; len], Some(2 * TTL));
            clock::advance(TTL);
            assert_eq!(ends.received(), [(2, len), (3, len)], "{address}");
            assert_eq!(ends.expired(), round + 1, "{address}");
        }
        ends.send(&[1; 100], Some(TTL));
        assert_eq!(ends.received(), [(1, 100)], "{address}: in time");
        // Memory and room of what was dropped are there again.
        for _ in 0..100 {
            ends.send(&[1; 200_000], Some(TTL));
            clock::advance(TTL);
            assert_eq!(ends.received(), [], "{address}");
        }
        assert_eq!(ends.expired(), 103, "{address}");
    }
}

/// [D26] whoever gets nothing has got everything, however much of it was stale
#[test]
fn what_lies_behind_stale_messages_is_received() {
    for (address, slab_bytes) in schemes("behind") {
        for (case, (len, max, is_over)) in
            [(10, 8, false), (3000, 8, false), (10, 1, true), (3000, 1, true)]
                .into_iter()
                .enumerate()
        {
            let mut ends = Ends::new(&format!("{address}-{case}"), slab_bytes);
            for _ in 0..40 {
                ends.send(&vec![1; len], Some(TTL));
            }
            ends.send(&[2; 10], None);
            if is_over {
                ends.engine.close(ends.out, &CloseReason::default());
                let mut events = Vec::new();
                while ends.engine.state(ends.back) != Some(ConnectionState::Closed) {
                    ends.engine.turn(&mut events);
                }
            }
            clock::advance(TTL);
            assert_eq!(ends.received_at_once(max), [(2, 10)], "{address} {len} {is_over}");
            assert_eq!(ends.expired(), 40, "{address}");
        }
    }
}

/// [D26] loans have a time to live as well
#[test]
fn loans_that_are_stale_are_dropped() {
    let has_loans = |(address, slab): &(String, u64)| address.starts_with("inproc") || *slab > 0;
    for (address, slab_bytes) in schemes("loans").into_iter().filter(has_loans) {
        let mut ends = Ends::new(&address, slab_bytes);
        let mortal = ChannelOptions { ttl: Some(TTL), ..ChannelOptions::default() };
        let channels = vec![(6, mortal)];
        let sending = Some(SendingQos { channels, ..SendingQos::default() });
        let qos = Qos { sending, ..Qos::default() };
        ends.engine.shape(ends.out, &qos).unwrap();
        for channel in [5, 6, 5] {
            let mut loan = ends.engine.loan(ends.out, 5000).unwrap().unwrap();
            loan[0] = channel as u8;
            assert!(ends.engine.commit(ends.out, channel, loan, 5000).unwrap().is_none());
        }
        clock::advance(TTL);
        assert_eq!(ends.received(), [(5, 5000), (5, 5000)], "{address}");
        assert_eq!(ends.expired(), 1, "{address}");
    }
}

/// [D26] what is not stale yet when it is taken into a queue may become so there
#[test]
fn receiving_queues_drop_what_is_stale() {
    for (address, slab_bytes) in schemes("queued") {
        let mut ends = Ends::new(&address, slab_bytes);
        let qos = Qos { receiving: Some(ReceivingQos::default()), ..Qos::default() };
        ends.engine.shape(ends.back, &qos).unwrap();
        ends.send(b"\x01", None);
        ends.send(b"\x02", Some(TTL));
        ends.send(b"\x03", None);
        ends.engine
            .set_interest(ends.back, crate::link::Interest { readable: true, writable: false })
            .unwrap();
        let mut events = Vec::new();
        while !events.iter().any(|event| matches!(event, Event::Readable(_))) {
            ends.engine.turn(&mut events);
        }
        clock::advance(TTL);
        assert_eq!(ends.received(), [(1, 1), (3, 1)], "{address}");
        assert_eq!(ends.expired(), 1, "{address}");
    }
}

/// [D19 D25] who finds no room because the link has failed, which nobody has seen yet, is told when
/// there is room
#[test]
fn who_is_refused_by_a_link_that_has_failed_is_told_of_room() {
    let mut ends = Ends::new("inproc://failed-unseen", 0);
    let entry = ends.engine.pipes.get_mut(ends.out.0).unwrap();
    let Phase::Connected(link) = &mut entry.phase else { panic!("it is connected") };
    let mut qos = SendingQos::default();
    qos.standard.marks.messages = NonZeroUsize::new(1);
    let mut queue = Sending::new(&qos);
    queue.is_blocked = true;
    let options = SendOptions::default();
    assert_eq!(queue.send(&mut **link, 0, b"waits", options).unwrap(), Sent::Accepted);
    link.close(&CloseReason::default());
    assert_eq!(queue.send(&mut **link, 0, b"refused", options).unwrap(), Sent::Refused);
    assert_eq!(queue.take_failure().unwrap().code(), Code::Closed);
    assert!(!queue.is_writable());
    queue.give_up();
    assert!(queue.is_writable());
}
