//! Shared memory between two real processes: what a round trip costs awake and asleep, beside two
//! processes that do nothing but watch a word of shared memory, and how much goes one way.
//!
//! The figures depend on where the two processes run and on what else runs there, so that is
//! printed too. What counts is the ratio of `link_hot` to `raw_spin` in the same run, for the best
//! samples of each: those that nothing else disturbed.

mod pause;
mod raw;

use std::env;
use std::hint::black_box;
use std::io::{Write, stderr};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use busbar_io::{
    CloseReason, Inbox, Lease, Link, ListenOptions, Pipe, PipeOptions, Slot, Wait, dial, listen,
};
use busbar_shm::record::{Header, Kind};
use criterion::{Criterion, Throughput};

use pause::Pause;

const ROLE: &str = "BUSBAR_BENCH_ROLE";
const PLACE: &str = "BUSBAR_BENCH_PLACE";
const PATIENCE: Duration = Duration::from_secs(20);
const PAYLOAD: [u8; 64] = [7; 64];
const BATCH: u64 = 64;

/// On this channel the sender says how many messages it will send.
const ANNOUNCEMENT: u16 = 1;

fn main() {
    if let (Ok(role), Ok(place)) = (env::var(ROLE), env::var(PLACE)) {
        return play(&role, &place);
    }
    let mut criterion = Criterion::default()
        .sample_size(20)
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    round_trips(&mut criterion);
    one_way(&mut criterion);
    criterion.final_summary();
}

fn round_trips(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("shm_round_trip");
    let words = raw::Words::create();
    let mut echo = start("raw", &words.path());
    let mut floor = Best::default();
    group.bench_function("raw_spin", |bencher| {
        let mut count = words.ours();
        bencher.iter_custom(|rounds| {
            floor.of(rounds, || {
                for _ in 0..rounds {
                    count += 1;
                    words.round_trip(count);
                }
            })
        });
    });
    report("raw_spin", &floor, &echo, None);
    words.stop();
    echo.wait().expect("a child");

    let mut hot = Best::default();
    let mut ends = Ends::new("hot", Wait::Busy);
    group.bench_function("link_hot/64", |bencher| {
        bencher.iter_custom(|rounds| hot.of(rounds, || ends.hot_round_trips(rounds)));
    });
    ends.finish("link_hot/64", &hot);
    if hot.0.is_some() && floor.0.is_some() {
        say(&format!("link_hot/64 is {:.2} times raw_spin", hot.nanos() / floor.nanos()));
    }

    let mut parked = Best::default();
    let mut ends = Ends::new("parked", Wait::Park);
    group.bench_function("engine_parked/64", |bencher| {
        bencher.iter_custom(|rounds| parked.of(rounds, || ends.parked_round_trips(rounds)));
    });
    ends.finish("engine_parked/64", &parked);
    group.finish();
}

fn one_way(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("shm_one_way");
    group.throughput(Throughput::Elements(1));
    for (name, batch) in [("single/64", 1), ("run/64", BATCH)] {
        let mut best = Best::default();
        let mut ends = Ends::new("sink", Wait::Busy);
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|messages| best.of(messages, || ends.send_all(messages, batch)));
        });
        ends.finish(name, &best);
    }
    group.finish();
}

/// The shortest time of one operation, over samples long enough to tell.
#[derive(Default)]
struct Best(Option<f64>);

impl Best {
    fn of(&mut self, operations: u64, work: impl FnOnce()) -> Duration {
        let begin = Instant::now();
        work();
        let elapsed = begin.elapsed();
        if operations >= 50 {
            let nanos = elapsed.as_secs_f64() * 1e9 / operations as f64;
            self.0 = Some(self.0.map_or(nanos, |best| best.min(nanos)));
        }
        elapsed
    }

    fn nanos(&self) -> f64 {
        self.0.unwrap_or(f64::NAN)
    }
}

/// This process's end of a pipe, and the process at the other.
struct Ends {
    pipe: Pipe,
    memory: Memory,
    peer: Child,
}

impl Ends {
    fn new(role: &str, wait: Wait) -> Self {
        let place = env::temp_dir().join(format!("busbar-bench-{}.sock", std::process::id()));
        let address = format!("shm://{}", place.display());
        let mut options = ListenOptions::default();
        options.pipe.wait = wait;
        let mut listener = listen(&address, options).expect("a free name");
        let peer = start(role, &address);
        let pipe = listener.accept(Some(PATIENCE)).expect("the child dials");
        Self { pipe, memory: Memory::new(), peer }
    }

    fn hot_round_trips(&mut self, rounds: u64) {
        let (engine, id) = self.pipe.engine();
        let link = engine.link(id).expect("connected");
        for _ in 0..rounds {
            assert!(link.send(0, &PAYLOAD).expect("an honest peer"), "one message fits");
            self.memory.wait_hot(link);
        }
    }

    fn parked_round_trips(&mut self, rounds: u64) {
        for _ in 0..rounds {
            self.pipe.send(0, &PAYLOAD, Some(PATIENCE)).expect("a peer");
            black_box(self.pipe.recv(Some(PATIENCE)).expect("an echo"));
        }
    }

    /// Sends `messages` and waits until the peer has them.
    fn send_all(&mut self, messages: u64, batch: u64) {
        let (engine, id) = self.pipe.engine();
        let link = engine.link(id).expect("connected");
        assert!(link.send(ANNOUNCEMENT, &messages.to_le_bytes()).expect("an honest peer"));
        let run = run(batch);
        let stride = run.len() / usize::try_from(batch).expect("small");
        let mut left = messages;
        while left > 0 {
            let count = left.min(batch);
            let sent = if batch == 1 {
                u64::from(link.send(0, &PAYLOAD).expect("an honest peer"))
            } else {
                let bytes = stride * usize::try_from(count).expect("small");
                (link.send_run(&run[..bytes]).expect("an honest peer") / stride) as u64
            };
            if sent == 0 {
                // The peer has a whole ring to work off.
                thread::yield_now();
            }
            left -= sent;
        }
        self.memory.wait_hot(link);
    }

    fn finish(mut self, name: &str, best: &Best) {
        report(name, best, &self.peer, Some(&mut self.pipe));
        self.pipe.close(&CloseReason::default());
        self.peer.wait().expect("a child");
    }
}

/// Where messages are received to.
struct Memory {
    arena: Vec<u8>,
    slots: Vec<Slot>,
    leases: Vec<Lease>,
}

impl Memory {
    fn new() -> Self {
        let slots = vec![Slot::default(); 256];
        Self { arena: vec![0; 64 * 1024], slots, leases: Vec::new() }
    }

    fn inbox(&mut self) -> Inbox<'_> {
        Inbox::new(&mut self.arena, &mut self.slots, &mut self.leases)
    }

    /// Receives one message without ever sleeping.
    fn wait_hot(&mut self, link: &mut dyn Link) {
        let mut pause = Pause::default();
        while !link.is_readable() {
            pause.once();
        }
        let mut inbox = self.inbox();
        link.receive(&mut inbox, 1).expect("an honest peer");
        assert_eq!(black_box(inbox.len()), 1);
    }
}

/// `count` records as the engine is handed them.
fn run(count: u64) -> Vec<u8> {
    let mut run = Vec::new();
    for _ in 0..count {
        run.extend(Header { length: 64, channel: 0, kind: Kind::Inline }.encode());
        run.extend(PAYLOAD);
    }
    run
}

fn start(role: &str, place: &str) -> Child {
    let program = env::current_exe().expect("this program has a path");
    Command::new(program).env(ROLE, role).env(PLACE, place).spawn().expect("a child process")
}

/// Plays the other process.
fn play(role: &str, place: &str) {
    if role == "raw" {
        return raw::Words::open(place).echo();
    }
    let mut options = PipeOptions::default();
    options.wait = if role == "parked" { Wait::Park } else { Wait::Busy };
    let mut pipe = dial(place, options, PATIENCE).expect("the parent listens");
    match role {
        "parked" => {
            while let Ok(message) = pipe.recv(None) {
                pipe.send(0, &message, Some(PATIENCE)).expect("a peer");
            }
        }
        "hot" => answer_hot(&mut pipe, |link, inbox| {
            for &slot in inbox.slots() {
                assert!(link.send(0, inbox.bytes(slot)).expect("an honest peer"));
            }
        }),
        "sink" => {
            let mut left = 0;
            answer_hot(&mut pipe, |link, inbox| {
                for &slot in inbox.slots() {
                    if slot.meta == u32::from(ANNOUNCEMENT) {
                        let announced = inbox.bytes(slot).first_chunk().expect("eight bytes");
                        left = u64::from_le_bytes(*announced);
                    } else {
                        left -= 1;
                        if left == 0 {
                            assert!(link.send(0, &[1]).expect("an honest peer"));
                        }
                    }
                }
            });
        }
        other => panic!("no role {other}"),
    }
}

/// Receives without ever sleeping, until the peer closes.
fn answer_hot(pipe: &mut Pipe, mut answer: impl FnMut(&mut dyn Link, &Inbox<'_>)) {
    const LOOKS: u32 = 1 << 16;
    let mut pause = Pause::default();
    let mut memory = Memory::new();
    let (engine, id) = pipe.engine();
    while engine.reason(id).is_none() {
        let link = engine.link(id).expect("connected");
        for _ in 0..LOOKS {
            if link.is_readable() {
                let mut inbox = memory.inbox();
                link.receive(&mut inbox, 256).expect("an honest peer");
                answer(link, &inbox);
            } else {
                pause.once();
            }
        }
        engine.turn(&mut Vec::new());
    }
}

/// Where the two ran, and how often they slept and rang.
fn report(name: &str, best: &Best, peer: &Child, pipe: Option<&mut Pipe>) {
    if best.0.is_none() {
        // Not asked for on the command line.
        return;
    }
    let cpus = thread::available_parallelism().map_or(0, usize::from);
    let (ours, theirs) = (cpu_of("self"), cpu_of(&peer.id().to_string()));
    let mut line =
        format!("{name}: best {:.0} ns; on CPU {ours} and {theirs} of {cpus}", best.nanos());
    if let Some(pipe) = pipe {
        let stats = pipe.stats().link;
        line += &format!(
            "; sent {} received {} parks {} bells {}",
            stats.messages_sent, stats.messages_received, stats.parks, stats.bells
        );
    }
    say(&line);
}

fn say(line: &str) {
    let _ = writeln!(stderr(), "{line}");
}

/// The CPU that a process ran on last: the 39th field of its stat file.
fn cpu_of(process: &str) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    fields.split_whitespace().nth(36).unwrap_or("?").to_owned()
}
