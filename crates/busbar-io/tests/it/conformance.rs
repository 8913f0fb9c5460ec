//! The same behaviour on every scheme.

use std::thread;
use std::time::Duration;

use busbar_io::{
    CloseReason, Code, ListenOptions, Listener, Pipe, PipeOptions, Trust, dial, listen,
};

const PATIENCE: Duration = Duration::from_secs(10);

/// An address that no other test uses.
fn address(scheme: &str, test: &str) -> String {
    format!("{scheme}://conformance-{test}-{}", std::process::id())
}

fn connected(scheme: &str, test: &str, options: PipeOptions) -> (Listener, Pipe, Pipe) {
    let address = address(scheme, test);
    let mut listen_options = ListenOptions::default();
    listen_options.pipe = options;
    let mut listener = listen(&address, listen_options).unwrap();
    assert_eq!(listener.local_address(), address);
    let accepting = thread::spawn(move || {
        let accepted = listener.accept(Some(PATIENCE)).unwrap();
        (listener, accepted)
    });
    let dialed = dial(&address, options, PATIENCE).unwrap();
    let (listener, accepted) = accepting.join().unwrap();
    (listener, dialed, accepted)
}

fn echoes_every_size(scheme: &str, options: PipeOptions) {
    let (_listener, mut here, mut there) = connected(scheme, "echo", options);
    let echo = thread::spawn(move || {
        loop {
            match there.recv(Some(PATIENCE)) {
                Ok(message) => there.send(message.channel, &message, Some(PATIENCE)).unwrap(),
                Err(error) => return error,
            }
        }
    });
    for size in [0, 1, 7, 8, 64, 1023, 1024, 1025, 4096, 65_535, 65_536, 65_537, 1 << 20] {
        let payload: Vec<u8> = (0..size).map(|n: usize| (n * 31 + size) as u8).collect();
        here.send(3, &payload, Some(PATIENCE)).unwrap();
        let back = here.recv(Some(PATIENCE)).unwrap();
        assert_eq!(back.channel, 3);
        assert!(*back == payload, "{size} bytes came back changed");
    }
    here.close(&CloseReason { code: None, status: 7, text: "done".into() });
    let error = echo.join().unwrap();
    assert_eq!((error.code(), error.message()), (Code::Closed, "done"));
}

fn in_order_under_backpressure(scheme: &str, options: PipeOptions) {
    let (_listener, mut here, mut there) = connected(scheme, "order", options);
    let sender = thread::spawn(move || {
        for n in 0..20_000_u32 {
            let size = 4 + (n as usize * 7919) % if n % 50 == 0 { 60_000 } else { 900 };
            let mut payload = vec![n as u8; size];
            payload[..4].copy_from_slice(&n.to_le_bytes());
            here.send(0, &payload, Some(PATIENCE)).unwrap();
        }
        here.close(&CloseReason::default());
    });
    for n in 0..20_000_u32 {
        let message = there.recv(Some(PATIENCE)).unwrap();
        assert_eq!(message[..4], n.to_le_bytes());
        assert!(message[4..].iter().all(|&byte| byte == n as u8));
    }
    assert_eq!(there.recv(Some(PATIENCE)).unwrap_err().code(), Code::Closed);
    sender.join().unwrap();
}

fn variants() -> Vec<PipeOptions> {
    let default = PipeOptions::default();
    let mut tight = default;
    tight.ring_bytes = 1 << 16;
    tight.slab_bytes = 0;
    let mut hostile = default;
    hostile.trust = Trust::Hostile;
    hostile.slab_bytes = 1 << 17;
    vec![default, tight, hostile]
}

macro_rules! on_every_scheme {
    ($($scheme:ident),*) => {$(
        mod $scheme {
            /// [D01] [D06] [D22] message boundaries, contents and the close reason
            #[test]
            fn echoes_every_size() {
                for options in super::variants() {
                    super::echoes_every_size(stringify!($scheme), options);
                }
            }

            /// [D01] [D21] order is kept, nothing sent before close is lost
            #[test]
            fn in_order_under_backpressure() {
                for options in super::variants() {
                    super::in_order_under_backpressure(stringify!($scheme), options);
                }
            }
        }
    )*};
}

on_every_scheme!(inproc, shm);
