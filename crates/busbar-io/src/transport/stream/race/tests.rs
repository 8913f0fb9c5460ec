//! Races between loopback addresses: some answer, some refuse, some swallow everything.

use std::net::TcpListener;

use super::*;
use crate::connection::{Acceptor, Identity, Incoming};
use crate::engine::Engine;
use crate::event::{Event, PipeId};
use crate::options::{ListenOptions, PipeOptions};
use crate::reactor::EngineOptions;
use crate::transport::stream::Dialing;

const TOKEN: Token = Token(7);

/// Far longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(20);

fn listening() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// An address where nobody listens.
fn refusing() -> SocketAddr {
    listening().1
}

/// An address that answers nothing: its queue is full. With what must be kept meanwhile.
fn black_hole() -> (SocketAddr, impl Sized) {
    let (listener, address) = listening();
    rustix::net::listen(&listener, 0).unwrap();
    let waiting: Vec<_> = (0..2)
        .map(|_| mio::net::TcpStream::connect(address).unwrap())
        .inspect(|_| std::thread::sleep(Duration::from_millis(20)))
        .collect();
    (address, (listener, waiting))
}

/// A race on a clock of its own.
struct Watched {
    race: Race,
    reactor: Reactor,
    now: Instant,
}

impl Watched {
    fn new(addresses: &[SocketAddr]) -> Self {
        let race = Race::new(addresses.iter().copied().collect());
        let (reactor, _) = Reactor::new(EngineOptions::default(), Token(0)).unwrap();
        Self { race, reactor, now: Instant::now() }
    }

    fn advance(&mut self) -> Result<Option<Socket>, Error> {
        self.race.advance(&self.reactor, TOKEN, self.now)
    }

    /// Waits for what sockets have to say.
    fn finish(&mut self) -> Result<Socket, Error> {
        let begin = Instant::now();
        let mut edges = Vec::new();
        loop {
            if let Some(winner) = self.advance()? {
                return Ok(winner);
            }
            assert!(begin.elapsed() < PATIENCE);
            self.reactor.wait(Some(Duration::from_millis(10)), &mut edges);
        }
    }
}

fn met(socket: &Socket) -> SocketAddr {
    socket.peer().unwrap().address.unwrap()
}

/// [D03] the families take turns, that of the first address first
#[test]
fn families_take_turns() {
    let check = |given: &[&str], expected: &[&str]| {
        let parse = |list: &[&str]| -> VecDeque<SocketAddr> {
            list.iter().map(|text| text.parse().unwrap()).collect()
        };
        assert_eq!(by_turns(parse(given)), parse(expected));
    };
    check(&[], &[]);
    check(&["1.1.1.1:1", "2.2.2.2:1"], &["1.1.1.1:1", "2.2.2.2:1"]);
    check(
        &["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"],
        &["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"],
    );
    check(&["1.1.1.1:1", "2.2.2.2:1", "[::1]:1"], &["1.1.1.1:1", "[::1]:1", "2.2.2.2:1"]);
    let many = vec!["1.1.1.1:1"; 2 * ADDRESSES_MAX];
    check(&many, &many[..ADDRESSES_MAX]);
}

/// [D03] an address that refuses is followed by the next at once
#[test]
fn a_refusal_costs_no_time() {
    let (_listener, alive) = listening();
    let mut watched = Watched::new(&[refusing(), refusing(), alive]);
    assert_eq!(met(&watched.finish().unwrap()), alive, "without the clock having moved");
    assert!(watched.race.attempts.is_empty());
}

/// [D03] an address that does not answer costs a pause; the first to answer is taken
#[test]
fn silence_costs_a_pause() {
    let (hole, _kept) = black_hole();
    let (_listener, alive) = listening();
    let mut watched = Watched::new(&[hole, alive, refusing()]);
    assert!(watched.advance().unwrap().is_none());
    assert_eq!(watched.race.next_time(), Some(watched.now + PAUSE));
    watched.now += PAUSE - Duration::from_millis(1);
    assert!(watched.advance().unwrap().is_none());
    assert_eq!((watched.race.attempts.len(), watched.race.others.len()), (1, 2), "not yet");
    watched.now += Duration::from_millis(1);
    assert_eq!(met(&watched.finish().unwrap()), alive);
    assert!(watched.race.attempts.is_empty(), "the other is closed");
}

/// [D03] [D17] if all fail, the error says how many, and how the last one did
#[test]
fn all_may_fail() {
    let error = Watched::new(&[refusing()]).finish().map(|_| ()).unwrap_err();
    assert_eq!(error.code(), Code::ConnectionRefused);
    assert!(!error.message().contains("addresses"), "{error}");
    assert!(error.message().contains("nobody listens there; start the listener"), "{error}");
    let last = refusing();
    let error = Watched::new(&[refusing(), last]).finish().map(|_| ()).unwrap_err();
    assert_eq!(error.code(), Code::ConnectionRefused);
    let expected = format!("2 addresses failed, the last: connecting to {last}");
    assert!(error.message().starts_with(&expected), "{error}");
    let error = Watched::new(&[]).finish().map(|_| ()).unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
}

/// Gives one dialing handshake.
struct Once(Option<Dialing>);

impl Acceptor for Once {
    fn register(&mut self, _: &Reactor, _: Token) -> Result<(), Error> {
        Ok(())
    }

    fn deregister(&mut self, _: &Reactor) {}

    fn accept(&mut self, _: &std::task::Waker) -> Result<Option<Incoming>, Error> {
        Ok(self.0.take().map(|dialing| Incoming::Handshake(Box::new(dialing))))
    }

    fn address(&self) -> String {
        String::new()
    }
}

fn raced(engine: &mut Engine, addresses: &[SocketAddr]) -> PipeId {
    let options = PipeOptions::default();
    let identity = Identity::fresh().unwrap();
    let addresses = addresses.iter().copied().collect();
    let dialing = Dialing::to(addresses, options.clone(), identity, None).unwrap();
    engine.accept_from(&mut Once(Some(dialing)), &options).unwrap().unwrap()
}

/// [D03] an engine tries the next address in time, with nothing else to wake it
#[test]
fn an_engine_gets_past_a_black_hole() {
    let (hole, _kept) = black_hole();
    let mut there = Engine::new().unwrap();
    let endpoint = "tcp://127.0.0.1:0".parse().unwrap();
    let listener = there.listen(&endpoint, &ListenOptions::default()).unwrap();
    let address = there.address(listener).unwrap();
    let alive = address.strip_prefix("tcp://").unwrap().parse().unwrap();
    let mut here = Engine::new().unwrap();
    let pipe = raced(&mut here, &[hole, alive]);
    let begin = Instant::now();
    let mut events = Vec::new();
    while !matches!(events.last(), Some(Event::State(it, _)) if *it == pipe) {
        assert!(begin.elapsed() < PATIENCE);
        here.wait(&mut events, Some(Instant::now() + Duration::from_millis(5)));
        there.wait(&mut Vec::new(), Some(Instant::now() + Duration::from_millis(5)));
    }
    assert!(begin.elapsed() >= PAUSE);
    assert_eq!(here.peer(pipe).unwrap().address, Some(alive));
    assert_eq!(here.next_deadline(), None);

    let given_up = raced(&mut here, &[hole, alive]);
    assert!(here.next_deadline().is_some());
    here.close(given_up, &busbar_proto::CloseReason::default());
    assert_eq!(here.next_deadline(), None, "nothing is left of the race");
}
