//! No wake-up is lost: two threads that fall silent at random, with every way of waiting.

use std::num::NonZeroUsize;
use std::thread;
use std::time::Duration;

use busbar_io::{Pipe, PipeOptions, Wait};

use crate::support::{PATIENCE, Random, Scratch, connected};

const WAITS: [Wait; 4] =
    [Wait::Park, Wait::Balanced, Wait::LowLatency { spin: Duration::from_micros(30) }, Wait::Busy];

/// Small queues, so that senders have to wait as often as receivers.
fn options(wait: Wait) -> PipeOptions {
    let mut options = PipeOptions::default();
    options.wait = wait;
    options.ring_bytes = 1 << 16;
    options.slab_bytes = 1 << 16;
    options.queue_messages = NonZeroUsize::new(16);
    options
}

/// Nothing, a moment, or long enough for the other end to fall asleep.
fn pause(random: &mut Random) {
    match random.below(20) {
        0 => thread::sleep(Duration::from_micros(random.below(300))),
        1..=3 => (0..random.below(3000)).for_each(|_| std::hint::spin_loop()),
        _ => {}
    }
}

/// Sends bursts of numbered messages of all sizes, with pauses.
fn talk(mut pipe: Pipe, seed: u64, messages: u32) {
    let mut random = Random::new(seed);
    let mut burst = 0;
    for n in 0..messages {
        if burst == 0 {
            pause(&mut random);
            burst = if random.below(3) == 0 { 1 + random.below(200) } else { 1 };
        }
        burst -= 1;
        let large = random.below(50) == 0;
        let size = 4 + random.below(if large { 30_000 } else { 900 });
        let mut payload = vec![n.to_le_bytes()[0]; usize::try_from(size).unwrap()];
        payload[..4].copy_from_slice(&n.to_le_bytes());
        pipe.send(0, &payload, Some(PATIENCE)).unwrap();
    }
}

/// Receives what [`talk`] sends, with pauses.
fn listen_to(mut pipe: Pipe, seed: u64, messages: u32) {
    let mut random = Random::new(seed);
    for n in 0..messages {
        let message = pipe.recv(Some(PATIENCE)).unwrap();
        assert_eq!(message[..4], n.to_le_bytes());
        assert!(message[4..].iter().all(|byte| *byte == n.to_le_bytes()[0]));
        pause(&mut random);
    }
    pipe.recv(Some(PATIENCE)).unwrap_err();
}

fn one_way(scheme: &str) {
    for (seed, wait) in (0..).zip(WAITS) {
        let scratch = Scratch::new("talk");
        let (_listener, here, there) = connected(&scratch.address(scheme), options(wait));
        let talking = thread::spawn(move || talk(here, seed, 6000));
        listen_to(there, !seed, 6000);
        talking.join().unwrap();
    }
}

/// Each message is an answer to the one before: every single wake-up counts.
fn to_and_fro(scheme: &str) {
    for (seed, wait) in (0..).zip(WAITS) {
        let scratch = Scratch::new("ball");
        let (_listener, mut here, mut there) = connected(&scratch.address(scheme), options(wait));
        let echo = thread::spawn(move || {
            let mut random = Random::new(!seed);
            while let Ok(message) = there.recv(Some(PATIENCE)) {
                pause(&mut random);
                there.send(0, &message, Some(PATIENCE)).unwrap();
            }
        });
        let mut random = Random::new(seed);
        for n in 0..3000_u32 {
            pause(&mut random);
            here.send(0, &n.to_le_bytes(), Some(PATIENCE)).unwrap();
            assert_eq!(*here.recv(Some(PATIENCE)).unwrap(), n.to_le_bytes());
        }
        drop(here);
        echo.join().unwrap();
    }
}

macro_rules! on_every_scheme {
    ($($scheme:ident),*) => {$(
        mod $scheme {
            /// [D44 D49] sparse and bursty, seeded, every way of waiting
            #[test]
            fn one_way() {
                super::one_way(stringify!($scheme));
            }

            /// [D44 D49] every single wake-up counts
            #[test]
            fn to_and_fro() {
                super::to_and_fro(stringify!($scheme));
            }
        }
    )*};
}

on_every_scheme!(inproc);

#[cfg(unix)]
on_every_scheme!(shm);
