//! Messages one way between two processes, and between two threads of one: Busbar, libzmq, and what
//! a bare socket does with 64 messages a write, in turns, in one run.
//!
//! ```sh
//! cargo bench --manifest-path benches/rust/Cargo.toml             # all
//! cargo bench --manifest-path benches/rust/Cargo.toml -- tcp/64   # what contains this
//! ```
//!
//! The receiver is told how many messages there will be and answers the last one, which ends the
//! time. Medians of the rounds; the process that receives has another core if there is one.

mod busbar;
mod libzmq;
mod socket;
mod way;

use std::env;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use way::{Receiver, Sender, Way};

const ROLE: &str = "BUSBAR_BENCH_ROLE";
const PLACE: &str = "BUSBAR_BENCH_PLACE";
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(300);
const SIZES: [usize; 6] = [16, 64, 1 << 10, 4 << 10, 64 << 10, 1 << 20];

/// By scheme, ours first.
const WAYS: [(&str, &[Way]); 3] = [
    ("inproc", &[busbar::INPROC, libzmq::INPROC]),
    ("tcp", &[busbar::TCP, libzmq::TCP, socket::TCP]),
    ("ipc", &[busbar::UDS, libzmq::IPC, socket::UDS]),
];

fn main() {
    if let (Ok(role), Ok(place)) = (env::var(ROLE), env::var(PLACE)) {
        let way = WAYS.iter().flat_map(|(_, ways)| *ways).find(|way| way.name == role);
        return receive((way.expect("a way of this program").join)(&place));
    }
    let filter = env::args().skip(1).find(|argument| !argument.starts_with('-'));
    println!("| case | contender | messages/s | bytes/s | Busbar against it |");
    println!("|---|---|---:|---:|---:|");
    for (scheme, ways) in WAYS {
        for size in SIZES {
            let name = format!("{scheme}/{size}");
            if filter.as_ref().is_none_or(|filter| name.contains(filter.as_str())) {
                compare(&name, ways, size);
            }
        }
    }
}

/// Runs all ways in turns and prints a line for each.
fn compare(name: &str, ways: &[Way], size: usize) {
    let mut pairs: Vec<_> = ways.iter().map(|way| Pair::new(way, size)).collect();
    for _ in 0..ROUNDS {
        for pair in &mut pairs {
            pair.round();
        }
    }
    let rates: Vec<_> = pairs.into_iter().map(Pair::end).collect();
    for (way, rate) in ways.iter().zip(&rates) {
        let bytes = rate * size as f64;
        let ratio = rates[0] / rate;
        println!("| {name} | {} | {rate:.0} | {bytes:.3e} | {ratio:.2} |", way.name);
    }
}

/// A sender here and a receiver elsewhere.
struct Pair {
    sender: Box<dyn Sender>,
    payload: Vec<u8>,
    peer: Peer,
    /// Messages of a round.
    count: u64,
    rates: Vec<f64>,
}

/// What receives.
enum Peer {
    Process(Child),
    Thread(std::thread::JoinHandle<()>),
}

impl Pair {
    fn new(way: &Way, size: usize) -> Self {
        let (listening, place) = (way.listen)();
        let peer = if way.is_local {
            let join = way.join;
            Peer::Thread(std::thread::spawn(move || receive(join(&place))))
        } else {
            let program = env::current_exe().expect("this program has a path");
            let mut command = Command::new(program);
            Peer::Process(
                command.env(ROLE, way.name).env(PLACE, &place).spawn().expect("a process"),
            )
        };
        let mut pair = Self {
            sender: listening.accept(),
            payload: vec![7; size],
            peer,
            count: 64,
            rates: Vec::new(),
        };
        // Warms up, and finds out how many messages fill a round.
        loop {
            let elapsed = pair.send(pair.count);
            if elapsed >= ROUND / 4 {
                let more = ROUND.as_secs_f64() / elapsed.as_secs_f64();
                pair.count = ((pair.count as f64 * more) as u64).max(1);
                return pair;
            }
            pair.count *= 2;
        }
    }

    fn round(&mut self) {
        let elapsed = self.send(self.count);
        self.rates.push(self.count as f64 / elapsed.as_secs_f64());
    }

    fn send(&mut self, count: u64) -> Duration {
        let begin = Instant::now();
        self.sender.send(&count.to_le_bytes(), 1);
        self.sender.send(&self.payload, count);
        self.sender.wait_answer();
        begin.elapsed()
    }

    /// The median of the rounds.
    fn end(mut self) -> f64 {
        self.sender.send(&0_u64.to_le_bytes(), 1);
        match self.peer {
            Peer::Process(mut child) => drop(child.wait()),
            Peer::Thread(thread) => drop(thread.join()),
        }
        self.rates.sort_by(f64::total_cmp);
        self.rates[self.rates.len() / 2]
    }
}

/// Plays the other end: a number, so many messages, an answer; until the number is 0.
fn receive(mut receiver: Box<dyn Receiver>) {
    loop {
        let mut count = 0;
        receiver.receive(1, &mut |message| {
            count = u64::from_le_bytes(*message.first_chunk().expect("eight bytes"));
        });
        if count == 0 {
            return;
        }
        let mut sum = 0;
        receiver.receive(count, &mut |message| sum += u64::from(message[message.len() - 1]));
        assert_eq!(sum, 7 * count, "messages arrive as they were");
        receiver.answer();
    }
}
