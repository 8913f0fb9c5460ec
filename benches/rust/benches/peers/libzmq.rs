//! libzmq's PAIR sockets, which are what pipes are; with its defaults but for the high-water mark,
//! which at 1,000 messages makes it sleep more often.

use std::sync::OnceLock;

use zmq::{Context, Socket};

use crate::way::{Listening, Receiver, Sender, Way, fresh};

const HIGH_WATER_MARK: i32 = 100_000;

pub const INPROC: Way = Way {
    name: "libzmq inproc",
    is_local: true,
    listen: || bind(&format!("inproc://{}", fresh())),
    join,
};
pub const TCP: Way =
    Way { name: "libzmq tcp", is_local: false, listen: || bind("tcp://127.0.0.1:*"), join };
pub const IPC: Way = Way {
    name: "libzmq ipc",
    is_local: false,
    listen: || bind(&format!("ipc://@{}", fresh())),
    join,
};

/// Threads find each other only within one.
fn context() -> &'static Context {
    static CONTEXT: OnceLock<Context> = OnceLock::new();
    CONTEXT.get_or_init(Context::new)
}

fn socket() -> Socket {
    let socket = context().socket(zmq::PAIR).expect("a socket");
    socket.set_sndhwm(HIGH_WATER_MARK).expect("a number");
    socket.set_rcvhwm(HIGH_WATER_MARK).expect("a number");
    socket
}

fn bind(address: &str) -> (Box<dyn Listening>, String) {
    let socket = socket();
    socket.bind(address).expect("a free address");
    let place = socket.get_last_endpoint().expect("bound").expect("text");
    (Box::new(End(socket)), place)
}

fn join(place: &str) -> Box<dyn Receiver> {
    let socket = socket();
    socket.connect(place).expect("an address");
    Box::new(End(socket))
}

struct End(Socket);

impl Listening for End {
    fn accept(self: Box<Self>) -> Box<dyn Sender> {
        self
    }
}

impl Sender for End {
    fn send(&mut self, payload: &[u8], count: u64) {
        for _ in 0..count {
            self.0.send(payload, 0).expect("connected");
        }
    }

    fn wait_answer(&mut self) {
        self.0.recv_msg(0).expect("connected");
    }
}

impl Receiver for End {
    fn receive(&mut self, count: u64, each: &mut dyn FnMut(&[u8])) {
        let mut message = zmq::Message::new();
        for _ in 0..count {
            self.0.recv(&mut message, 0).expect("connected");
            each(&message);
        }
    }

    fn answer(&mut self) {
        self.0.send(&[1][..], 0).expect("connected");
    }
}
