//! Bare sockets that block: a length before each message, 64 messages or 64 KiB a write.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use crate::way::{Listening, Receiver, Sender, Way, fresh};

const BATCH: u64 = 64;
const BATCH_BYTES: usize = 64 * 1024;

pub const TCP: Way = Way {
    name: "bare tcp",
    is_local: false,
    listen: || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let place = listener.local_addr().expect("bound").to_string();
        (Box::new(listener), place)
    },
    join: |place| {
        let stream = TcpStream::connect(place).expect("the other end listens");
        stream.set_nodelay(true).expect("a socket");
        Box::new(End::new(stream))
    },
};
pub const UDS: Way = Way {
    name: "bare uds",
    is_local: false,
    listen: || {
        let place = fresh();
        let listener = UnixListener::bind_addr(&abstracted(&place)).expect("a free name");
        (Box::new(listener), place)
    },
    join: |place| {
        let stream = UnixStream::connect_addr(&abstracted(place)).expect("the other end listens");
        Box::new(End::new(stream))
    },
};

fn abstracted(name: &str) -> SocketAddr {
    SocketAddr::from_abstract_name(name).expect("a short name")
}

impl Listening for TcpListener {
    fn accept(self: Box<Self>) -> Box<dyn Sender> {
        let (stream, _) = Self::accept(&self).expect("the other end connects");
        stream.set_nodelay(true).expect("a socket");
        Box::new(End::new(stream))
    }
}

impl Listening for UnixListener {
    fn accept(self: Box<Self>) -> Box<dyn Sender> {
        let (stream, _) = Self::accept(&self).expect("the other end connects");
        Box::new(End::new(stream))
    }
}

struct End<S> {
    stream: S,
    /// What was read and not yet looked at begins here.
    from: usize,
    buffer: Vec<u8>,
    filled: usize,
}

impl<S: Read + Write> End<S> {
    fn new(stream: S) -> Self {
        Self { stream, from: 0, buffer: vec![0; BATCH_BYTES], filled: 0 }
    }

    /// Reads on, with room for a message of `size` bytes.
    fn fill(&mut self, size: usize) {
        self.buffer.copy_within(self.from..self.filled, 0);
        self.filled -= self.from;
        self.from = 0;
        if self.buffer.len() < size {
            self.buffer.resize(size, 0);
        }
        let read = self.stream.read(&mut self.buffer[self.filled..]).expect("connected");
        assert_ne!(read, 0, "the other end is there");
        self.filled += read;
    }
}

impl<S: Read + Write> Sender for End<S> {
    fn send(&mut self, payload: &[u8], count: u64) {
        let length = u32::try_from(payload.len()).expect("small").to_le_bytes();
        let fit = (BATCH_BYTES / (payload.len() + 4)).max(1) as u64;
        let mut batch = Vec::new();
        let mut left = count;
        while left > 0 {
            let some = left.min(BATCH).min(fit);
            batch.clear();
            for _ in 0..some {
                batch.extend_from_slice(&length);
                batch.extend_from_slice(payload);
            }
            self.stream.write_all(&batch).expect("connected");
            left -= some;
        }
    }

    fn wait_answer(&mut self) {
        self.receive(1, &mut |_| ());
    }
}

impl<S: Read + Write> Receiver for End<S> {
    fn receive(&mut self, count: u64, each: &mut dyn FnMut(&[u8])) {
        let mut left = count;
        while left > 0 {
            let there = &self.buffer[self.from..self.filled];
            let Some((length, rest)) = there.split_first_chunk() else {
                self.fill(4);
                continue;
            };
            let size = u32::from_le_bytes(*length) as usize;
            if let Some(message) = rest.get(..size) {
                each(message);
                self.from += 4 + size;
                left -= 1;
            } else {
                self.fill(4 + size);
            }
        }
    }

    fn answer(&mut self) {
        self.send(&[1], 1);
    }
}
