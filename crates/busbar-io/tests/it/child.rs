//! The parts that child processes play: this test binary runs itself with a role in the
//! environment.

use std::io::{Write, stdout};
use std::thread;
use std::time::{Duration, Instant};

use busbar_io::{
    Access, CloseReason, Code, ListenOptions, Listener, Pipe, PipeOptions, dial, listen,
};

use crate::chaos;
use crate::heartbeat::attended;
#[cfg(target_os = "linux")]
use crate::reactors;
use crate::support::{ADDRESS, Driven, PATIENCE, ROLE, Random};

/// Not a test of its own: does nothing unless a test has started it as a child process.
#[test]
fn plays_its_role() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let address = std::env::var(ADDRESS).unwrap();
    match &*role {
        "flood" => flood(&address),
        "half" => half(&address),
        "listen" => hold(&listening(&address)),
        "serve" => serve(&mut listening(&address)),
        "attend" => attend(&address),
        "chat" => chat(&mut dialed(&address, PipeOptions::default())),
        "stranger" => stranger(&address, PipeOptions::default()),
        "guest" => {
            let mut options = PipeOptions::default();
            options.access = Access::Anyone;
            stranger(&address, options);
        }
        "large" => large(&address),
        "leaks" => chaos::leaks(),
        #[cfg(target_os = "linux")]
        "backend" => reactors::backend(),
        #[cfg(target_os = "linux")]
        "sandboxed" => reactors::sandboxed(),
        "starve" => chaos::starve(&address),
        other => panic!("no role {other}"),
    }
}

/// Tells the parent.
pub(crate) fn say(word: &str, rest: &str) {
    let mut out = stdout().lock();
    writeln!(out, "#{word}# {rest}").unwrap();
    out.flush().unwrap();
}

/// Messages of a flood, as many as fit without anybody reading.
pub(crate) const FLOOD: u32 = 1000;

/// Size and contents of message `n`: inline, in the slab, in between.
pub(crate) fn flood_message(n: u32) -> Vec<u8> {
    let mut message = vec![n.to_le_bytes()[0]; if n.is_multiple_of(100) { 5000 } else { 100 }];
    message[..4].copy_from_slice(&n.to_le_bytes());
    message
}

/// Sends and waits to be killed.
fn flood(address: &str) {
    let mut pipe = dialed(address, PipeOptions::default());
    for n in 0..FLOOD {
        pipe.send(0, &flood_message(n), Some(PATIENCE)).unwrap();
    }
    say("sent", "");
    hold(&pipe);
}

/// Sends ten messages and half of another, and waits to be killed.
fn half(address: &str) {
    let mut options = PipeOptions::default();
    options.ring_bytes = 1 << 16;
    options.slab_bytes = 0;
    let mut pipe = dialed(address, options);
    for n in 0..10_u32 {
        assert!(pipe.try_send(0, &n.to_le_bytes()).unwrap());
    }
    let (engine, id) = pipe.engine();
    assert!(!engine.send(id, 0, &vec![1; 1 << 20]).unwrap(), "more than the ring holds");
    say("half", "");
    hold(&pipe);
}

/// Sends and receives messages of all sizes until the connection ends.
fn chat(pipe: &mut Pipe) {
    let mut random = Random::new(u64::from(std::process::id()));
    let mut payload = vec![0; 200_000];
    loop {
        let end =
            [100, 1024, 10_000, payload.len() as u64][usize::try_from(random.below(4)).unwrap()];
        let size = usize::try_from(random.below(end)).unwrap();
        payload[..size].fill(size.to_le_bytes()[0]);
        let sent = pipe.send(1, &payload[..size], Some(PATIENCE));
        let heard = sent.and_then(|()| {
            while let Some(message) = pipe.try_recv()? {
                assert!(message.iter().all(|byte| *byte == message.len().to_le_bytes()[0]));
            }
            Ok(())
        });
        if heard.is_err() {
            return;
        }
    }
}

/// Connects, says nothing of itself, and does what the engine has to.
fn attend(address: &str) {
    let (mut driven, _) = Driven::dialing_with(address, &attended());
    let until = Instant::now() + 4 * PATIENCE;
    while Instant::now() < until {
        driven.drive(until);
    }
}

/// Accepts one after the other, and chats.
fn serve(listener: &mut Listener) {
    loop {
        chat(&mut listener.accept(None).unwrap());
    }
}

/// Large messages that are sent one at a time, and their size.
pub(crate) const LARGE: u32 = 10;
pub(crate) const LARGE_BYTES: usize = 20_000;

/// Sends each when the one before it has been answered.
fn large(address: &str) {
    let mut pipe = dialed(address, PipeOptions::default());
    for _ in 0..LARGE {
        pipe.send(0, &[7; LARGE_BYTES], Some(PATIENCE)).unwrap();
        pipe.recv(Some(PATIENCE)).unwrap();
    }
    pipe.close(&CloseReason::default());
}

/// Tells the parent how dialing went.
fn stranger(address: &str, options: PipeOptions) {
    match dial(address, options, PATIENCE) {
        Ok(_) => say("outcome", "connected"),
        Err(error) => say("outcome", error.code().as_str()),
    }
}

fn dialed(address: &str, options: PipeOptions) -> Pipe {
    let pipe = loop {
        match dial(address, options.clone(), PATIENCE) {
            Err(error) if error.code() == Code::NotFound => thread::sleep(Duration::from_millis(2)),
            result => break result.unwrap(),
        }
    };
    say("connected", "");
    pipe
}

fn listening(address: &str) -> Listener {
    let listener = listen(address, ListenOptions::default()).unwrap();
    say("listening", "");
    listener
}

/// Keeps `what` until the parent kills this process; gives up should it have forgotten.
fn hold<T>(what: &T) {
    thread::sleep(4 * PATIENCE);
    let _ = what;
}
