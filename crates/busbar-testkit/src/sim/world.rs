//! The virtual clock, what happens at which time, and what must be true in the end.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use busbar_proto::SessionId;
use busbar_proto::session::{Acknowledge, ResumeToken, Seq, Session, SessionOptions};

use super::app::{App, Name};
use super::end::{End, Link, Stage, Wishes};
use super::network::{Connection, Written};
use crate::Random;

pub use super::network::{Fault, Strike};

/// Steps after which a run that has not come to its end is stuck.
const STEPS_MAX: u64 = 200_000;

/// How bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a test chooses one of them")]
pub enum Wire {
    /// In order, in pieces of any size.
    Stream,
    /// Frame by frame, some late, some twice.
    Datagrams,
}

/// What a run is made of.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "tests write plans")]
pub struct Plan {
    /// How bytes travel.
    pub wire: Wire,
    /// Messages that each end sends with the session.
    pub messages: u64,
    /// Percent of them that are larger than what an end encodes ahead.
    pub large: u64,
    /// What goes wrong with the first connections, one each; later ones hold.
    pub strikes: VecDeque<Option<Strike>>,
    /// The dialer's and the listener's choices.
    pub options: [SessionOptions; 2],
    /// How often the dialer forgets an attempt that is not answered yet, to begin another.
    pub impatience: u64,
    /// How long the dialer waits until it dials again: microseconds.
    pub redial_micros: u64,
    /// For how long every third message is of use.
    pub ttl: Option<Duration>,
    /// How it ends.
    pub farewell: Farewell,
    /// Percent of the pieces on any connection that are lost. What follows would make no sense, so
    /// that a connection is lost with each.
    pub loss: u64,
    /// How often each end sends a message without the session, beside those at random.
    pub lossy_every: Option<Duration>,
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a test chooses one of them")]
pub enum Farewell {
    /// When everything is delivered, with the session as it is.
    None,
    /// When everything is delivered, these ends close, and both must learn of it.
    Orderly([bool; 2]),
    /// Each end stops sending and receiving at its time, if it has one, in microseconds, and then
    /// closes.
    Abrupt([Option<u64>; 2]),
}

/// What a run was like.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Connections that were made.
    pub connections: usize,
    /// Messages accepted at the ends.
    pub accepted: [usize; 2],
    /// Those that were delivered to the other end.
    pub delivered: [usize; 2],
    /// Those that were given up.
    pub failed: [usize; 2],
    /// Those whose time was over before they were sent, or sent again.
    pub expired: [usize; 2],
    /// Set if the end lost the session: messages of which it does not know what became of them.
    pub lost: [Option<usize>; 2],
    /// Bytes that each end wrote to the first connection.
    pub first_bytes: [u64; 2],
    /// How long it took.
    pub took: Duration,
    /// Messages sent without the session, by both ends.
    pub lossy_sent: usize,
    /// How long those took that arrived, shortest first.
    pub lossy_latencies: Vec<Duration>,
    /// How long messages of the session took from when they were accepted, likewise.
    pub latencies: Vec<Duration>,
}

impl Plan {
    /// A plan with faults of every kind, drawn by lot.
    pub fn random(random: &mut Random) -> Self {
        let wire = if random.chance(75) { Wire::Stream } else { Wire::Datagrams };
        let strike = |random: &mut Random| {
            let fault = if random.chance(85) { Fault::Cut } else { Fault::Swallow };
            let by = usize::from(random.chance(50));
            let far = if random.chance(50) { 300 } else { 6_000 };
            Some(Strike { fault, by, after: random.within(0..far) })
        };
        let options = |random: &mut Random| {
            let mut options = SessionOptions::default();
            options.window_messages = u32::try_from(random.within(1..40)).unwrap_or(1);
            options.window_bytes = usize::try_from(random.within(1..20_000)).unwrap_or(1);
            if random.chance(30) {
                options.acknowledge = Acknowledge::Received;
            }
            if random.chance(30) {
                options.attempts_max = u32::try_from(random.within(1..4)).unwrap_or(1);
            }
            options
        };
        // Passing over what lies between others takes a wire that keeps order.
        let is_mortal = wire == Wire::Stream && random.chance(30);
        let ttl = is_mortal.then(|| Duration::from_micros(random.within(0..30_000)));
        Self {
            wire,
            ttl,
            messages: random.within(0..60),
            large: 5,
            strikes: (0..random.within(0..8)).map(|_| strike(random)).collect(),
            options: [options(random), options(random)],
            impatience: random.within(0..6),
            redial_micros: 20_000,
            farewell: Farewell::None,
            loss: 0,
            lossy_every: None,
        }
    }
}

/// Runs a plan to its end, and checks what a session promises.
///
/// # Panics
/// If it breaks a promise, or does not come to an end.
pub fn run(plan: Plan, random: &mut Random) -> Report {
    let mut world = World::new(plan, random.clone());
    world.wake(0, 0);
    world.wake(1, 0);
    (0..2).for_each(|end| world.plan_lossy(end));
    if let Farewell::Abrupt(times) = world.plan.farewell {
        for (end, at) in times.into_iter().enumerate() {
            at.into_iter().for_each(|at| world.plan(at, Happening::Leave(end)));
        }
    }
    for _ in 0..STEPS_MAX {
        let Some(((at, _), happening)) = world.queue.pop_first() else { break };
        world.now = at;
        world.handle(happening);
        if world.is_over() {
            *random = world.random.clone();
            return world.report();
        }
    }
    panic!("the run does not come to an end: at {} µs, {:#?}", world.now, world.ends);
}

struct World {
    start: Instant,
    /// Microseconds since then.
    now: u64,
    /// What happens when; among what happens at once, what was planned first.
    queue: BTreeMap<(u64, u64), Happening>,
    planned: u64,
    connections: Vec<Connection>,
    ends: [End; 2],
    plan: Plan,
    random: Random,
    redial_at: u64,
    /// The ends have begun to close.
    is_ending: bool,
    /// When each end is woken next.
    wakes: [BTreeSet<Reverse<u64>>; 2],
}

enum Happening {
    Arrival { connection: usize, to: usize, bytes: Vec<u8> },
    Gone { connection: usize, to: usize },
    Processed { by: usize, channel: u16, seq: Seq },
    Leave(usize),
    Lossy(usize),
    Wake(usize),
}

impl World {
    fn new(plan: Plan, mut random: Random) -> Self {
        let keeps_order = plan.wire == Wire::Stream;
        let mut end = |options| {
            let app = App::new(plan.messages, plan.large, plan.ttl, &mut random);
            End::new(app, options, keeps_order)
        };
        let mut ends = [end(plan.options[0]), end(plan.options[1])];
        let (id, token) = (SessionId([1; 16]), ResumeToken([2; 16]));
        ends[0].session = Some(Session::dialing(id, token, plan.options[0]));
        Self {
            start: Instant::now(),
            now: 0,
            queue: BTreeMap::new(),
            planned: 0,
            connections: Vec::new(),
            ends,
            plan,
            random,
            redial_at: 0,
            is_ending: false,
            wakes: Default::default(),
        }
    }

    /// Whether nothing is left to do. An end that closes when there is nothing left is woken to.
    fn is_over(&mut self) -> bool {
        if self.ends.iter().any(|end| end.lost.is_some()) {
            return self.ends.iter().all(|end| end.is_done() || end.lost.is_some());
        }
        let is_done = self.ends.iter().all(End::is_done);
        match self.plan.farewell {
            Farewell::None => return is_done,
            Farewell::Orderly(_) if !is_done => return false,
            Farewell::Orderly(who) if !std::mem::replace(&mut self.is_ending, true) => {
                for end in (0..2).filter(|&end| who[end]) {
                    self.ends[end].stage = Stage::Closing;
                    self.wake(end, self.now + 1);
                }
                return false;
            }
            Farewell::Orderly(_) | Farewell::Abrupt(_) => {}
        }
        let [dialer, listener] = &self.ends;
        // A listener whose dialer is over has only lost the answer, and nobody to ask for another.
        dialer.is_over() && (listener.is_over() || listener.awaits_answer())
            || listener.is_over() && dialer.stage == Stage::Told
    }

    fn instant(&self) -> Instant {
        self.start + Duration::from_micros(self.now)
    }

    fn plan(&mut self, at: u64, happening: Happening) {
        self.planned += 1;
        self.queue.insert((at, self.planned), happening);
    }

    /// Sees to it that an end is woken at `at`.
    fn wake(&mut self, end: usize, at: u64) {
        if self.wakes[end].insert(Reverse(at)) {
            self.plan(at, Happening::Wake(end));
        }
    }

    fn plan_lossy(&mut self, end: usize) {
        if let Some(every) = self.plan.lossy_every {
            let micros = u64::try_from(every.as_micros()).expect("invariant: not for ever");
            self.plan(self.now + micros, Happening::Lossy(end));
        }
    }

    fn soon(&mut self) -> u64 {
        self.now + self.random.within(1..3_000)
    }

    fn handle(&mut self, happening: Happening) {
        let now = self.instant();
        match happening {
            Happening::Arrival { connection, to, bytes } => {
                let mut wishes = Wishes::default();
                self.ends[to].handle_bytes(connection, &bytes, now, &mut wishes);
                for connection in wishes.close {
                    self.close(connection, to);
                }
                for (channel, seq) in wishes.process {
                    let slow = if self.random.chance(10) { 40_000 } else { 1_000 };
                    let at = self.now + self.random.within(0..slow);
                    self.plan(at, Happening::Processed { by: to, channel, seq });
                }
                self.drive(to);
            }
            Happening::Gone { connection, to } => {
                self.ends[to].handle_gone(connection, now);
                self.drive(to);
            }
            Happening::Processed { by, channel, seq } => {
                self.ends[by].acknowledge(channel, seq);
                self.drive(by);
            }
            Happening::Leave(end) => {
                self.ends[end].leave();
                self.drive(end);
            }
            Happening::Lossy(end) => {
                self.drive_with(end, true);
                self.plan_lossy(end);
            }
            Happening::Wake(end) => {
                self.wakes[end].remove(&Reverse(self.now));
                self.drive(end);
            }
        }
    }

    /// Lets an end do what there is to do.
    fn drive(&mut self, at: usize) {
        let has_lossy = self.random.chance(10);
        self.drive_with(at, has_lossy);
    }

    fn drive_with(&mut self, at: usize, has_lossy: bool) {
        if at == 0 {
            self.dial();
        }
        let now = self.instant();
        if let Some(connection) = self.ends[at].work(now, has_lossy) {
            self.close(connection, at);
            self.ends[at].handle_gone(connection, now);
        }
        self.write(at);
        if at == 0 && self.ends[0].link.is_none() {
            if self.redial_at <= self.now {
                self.redial_at = self.now + self.random.within(1..self.plan.redial_micros + 1);
            }
            self.wake(0, self.redial_at);
        }
        if let Some(timeout) = self.ends[at].next_timeout() {
            let micros = timeout.saturating_duration_since(self.start).as_micros();
            let micros = u64::try_from(micros).expect("invariant: not for ever");
            self.wake(at, micros.max(self.now + 1));
        }
    }

    /// The dialer makes an attempt, if it is time, or one more.
    fn dial(&mut self) {
        let end = &self.ends[0];
        let is_lost = end.lost.is_some() || end.session.as_ref().is_none_or(Session::is_lost);
        if is_lost || end.is_over() {
            return;
        }
        let is_due = match &end.link {
            None => self.now >= self.redial_at,
            Some(link) => {
                let is_tired = !link.is_open && self.plan.impatience > 0 && self.random.chance(20);
                self.plan.impatience -= u64::from(is_tired);
                is_tired
            }
        };
        if !is_due {
            return;
        }
        let connection = self.connections.len();
        let strike = self.plan.strikes.pop_front().flatten();
        self.connections.push(Connection::new(strike));
        let now = self.instant();
        // The attempt before is not closed: its HELLO may still arrive, even later.
        self.ends[0].dial(connection, now);
        self.ends[1].strangers.push(Link::new(connection));
    }

    /// Hands what an end has encoded to the network.
    fn write(&mut self, by: usize) {
        let Some(link) = &mut self.ends[by].link else { return };
        if link.out.is_empty() {
            return;
        }
        let connection = link.connection;
        let wire = self.plan.wire;
        let Written { taken, pieces, struck } =
            self.connections[connection].write(by, &link.out, self.now, wire, &mut self.random);
        let is_lost = self.plan.loss > 0 && self.random.chance(self.plan.loss);
        let struck = struck.or((is_lost && taken > 0).then(|| self.connections[connection].cut()));
        let pieces = if is_lost { Vec::new() } else { pieces };
        link.out.drain(..taken);
        let wants_more = !link.out.is_empty();
        for piece in pieces {
            let arrival = Happening::Arrival { connection, to: 1 - by, bytes: piece.bytes };
            self.plan(piece.at, arrival);
        }
        for to in [0, 1] {
            let delay = match struck {
                None => break,
                Some(Fault::Cut) => 1..3_000,
                Some(Fault::Swallow) => 2_000_000..12_000_000,
            };
            let at = self.now + self.random.within(delay);
            self.plan(at, Happening::Gone { connection, to });
        }
        if struck.is_none() && wants_more {
            let at = self.now + self.random.within(0..500);
            self.wake(by, at.max(self.now + 1));
        }
    }

    /// An end closes a connection; the other learns of it, unless nothing gets through.
    fn close(&mut self, connection: usize, by: usize) {
        let at = self.soon() + 3_000;
        if !self.connections[connection].is_swallowing() {
            self.plan(at, Happening::Gone { connection, to: 1 - by });
        }
    }

    fn report(&self) -> Report {
        let [dialer, listener] = &self.ends;
        assert!(listener.session_id().is_none_or(|id| Some(id) == dialer.session_id()));
        let is_lost = self.ends.iter().any(|end| end.lost.is_some());
        let pairs = || [(dialer, listener), (listener, dialer)].into_iter();
        for (from, to) in pairs() {
            let (sent, arrived) = (&from.app, &to.app);
            assert!(sent.failed.is_disjoint(&arrived.delivered), "given up, but delivered");
            assert!(sent.expired.is_disjoint(&arrived.delivered), "stale, but delivered");
            assert!(arrived.delivered.is_subset(&sent.accepted), "delivered, but never sent");
            let missing: Vec<_> = sent
                .accepted
                .iter()
                .filter(|name| {
                    let known = [&arrived.delivered, &sent.failed, &sent.expired];
                    !known.iter().any(|set| set.contains(name))
                })
                .collect();
            let left = from.session.as_ref().map_or(0, Session::unconfirmed);
            let unconfirmed = from.lost.unwrap_or(left);
            assert!(missing.len() <= unconfirmed || is_lost, "never delivered: {missing:?}");
            assert!(missing.len() <= unconfirmed || from.lost.is_none(), "{missing:?}");
            let known = sent.accepted.len() - sent.failed.len() - sent.expired.len() - left;
            let is_told = self.plan.farewell == Farewell::None || known >= to.acknowledged;
            assert!(is_told || is_lost, "{} acknowledged, {known} known to be", to.acknowledged);
        }
        let count = |what: fn(&End) -> usize| [what(dialer), what(listener)];
        let first = self.connections.first();
        let delivered = count(|end| end.app.delivered.len());
        Report {
            connections: self.connections.len(),
            accepted: count(|end| end.app.accepted.len()),
            delivered: [delivered[1], delivered[0]],
            failed: count(|end| end.app.failed.len()),
            expired: count(|end| end.app.expired.len()),
            lost: [dialer.lost, listener.lost],
            first_bytes: [0, 1].map(|by| first.map_or(0, |connection| connection.written(by))),
            took: Duration::from_micros(self.now),
            lossy_sent: count(|end| end.app.lossy_sent.len()).iter().sum(),
            lossy_latencies: sorted(pairs().flat_map(|(from, to)| {
                let sent = &from.app.lossy_sent;
                let took = |(&n, &at): (&u32, &Instant)| at - sent[n as usize];
                to.app.lossy_delivered.iter().map(took)
            })),
            latencies: sorted(pairs().flat_map(|(from, to)| {
                let accepted = &from.app.accepted_at;
                let took = |(name, &at): (&Name, &Instant)| at - accepted[name];
                to.app.delivered_at.iter().map(took)
            })),
        }
    }
}

fn sorted(latencies: impl Iterator<Item = Duration>) -> Vec<Duration> {
    let mut all: Vec<_> = latencies.collect();
    all.sort_unstable();
    all
}
