//! Busbar's pipes, as its engine is driven: messages offered until there is no room, then a wait.

use std::time::Duration;

use busbar_io::{
    Engine, Inbox, Interest, Lease, ListenOptions, Listener, META_LEASED, Pipe, PipeId,
    PipeOptions, Slot, dial, listen,
};

use crate::way::{Listening, Receiver, Sender, Way, fresh};

const PATIENCE: Duration = Duration::from_secs(20);
/// Messages between two flushes.
const FLUSHED: u64 = 64;

pub const INPROC: Way = Way {
    name: "busbar inproc",
    is_local: true,
    listen: || bind(format!("inproc://{}", fresh())),
    join,
};
pub const TCP: Way =
    Way { name: "busbar tcp", is_local: false, listen: || bind("tcp://127.0.0.1:0".into()), join };
pub const UDS: Way = Way {
    name: "busbar uds",
    is_local: false,
    listen: || bind(format!("uds://@{}", fresh())),
    join,
};

fn bind(address: String) -> (Box<dyn Listening>, String) {
    let listener = listen(&address, ListenOptions::default()).expect("a free address");
    let place = listener.local_address();
    (Box::new(listener), place)
}

impl Listening for Listener {
    fn accept(mut self: Box<Self>) -> Box<dyn Sender> {
        let pipe = Self::accept(&mut self, Some(PATIENCE)).expect("the other end dials");
        Box::new(End::new(pipe))
    }
}

fn join(place: &str) -> Box<dyn Receiver> {
    let pipe = dial(place, PipeOptions::default(), PATIENCE).expect("the other end listens");
    Box::new(End::new(pipe))
}

struct End {
    pipe: Pipe,
    arena: Vec<u8>,
    slots: Vec<Slot>,
    leases: Vec<Lease>,
}

impl End {
    fn new(pipe: Pipe) -> Self {
        let slots = vec![Slot::default(); 256];
        Self { pipe, arena: vec![0; 256 * 1024], slots, leases: Vec::new() }
    }
}

impl Sender for End {
    fn send(&mut self, payload: &[u8], count: u64) {
        let (engine, id) = self.pipe.engine();
        for index in 1..=count {
            while !engine.send(id, 0, payload).expect("connected") {
                wait(engine, id, Interest { readable: false, writable: true });
            }
            if index % FLUSHED == 0 {
                engine.flush();
            }
        }
        engine.flush();
        while engine.has_unsent(id) {
            wait(engine, id, Interest { readable: true, writable: false });
        }
    }

    fn wait_answer(&mut self) {
        self.receive(1, &mut |_| ());
    }
}

impl Receiver for End {
    fn receive(&mut self, count: u64, each: &mut dyn FnMut(&[u8])) {
        let (engine, id) = self.pipe.engine();
        let mut left = count;
        while left > 0 {
            let mut inbox = Inbox::new(&mut self.arena, &mut self.slots, &mut self.leases);
            let most = usize::try_from(left).unwrap_or(256).min(256);
            engine.receive(id, &mut inbox, most).expect("connected");
            if inbox.is_empty() {
                wait(engine, id, Interest { readable: true, writable: false });
                continue;
            }
            left -= inbox.len() as u64;
            for &slot in inbox.slots().iter().filter(|slot| slot.meta & META_LEASED == 0) {
                each(inbox.bytes(slot));
            }
            for lease in self.leases.drain(..) {
                each(&lease);
            }
        }
    }

    fn answer(&mut self) {
        Sender::send(self, &[1], 1);
    }
}

fn wait(engine: &mut Engine, id: PipeId, interest: Interest) {
    engine.set_interest(id, interest).expect("a pipe of this engine");
    engine.wait(&mut Vec::new(), None);
    engine.set_interest(id, Interest::NONE).expect("a pipe of this engine");
}
