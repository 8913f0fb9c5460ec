//! What the tests share: addresses, connected pairs, engines driven by hand, child processes.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use busbar_io::{
    ConnectionState, Endpoint, Engine, Event, Inbox, Lease, ListenOptions, Listener, ListenerId,
    META_LEASED, Pipe, PipeId, PipeOptions, Slot, dial, listen,
};

use crate::certificates::suited;

/// Far longer than anything takes; ends a test that would hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// One of each kind: without a copy, in shared memory, over each kind of stream.
pub(crate) const SCHEMES: &[&str] =
    if cfg!(unix) { &["inproc", "shm", "uds", "tcp"] } else { &["inproc", "pipe", "tcp"] };

/// Says in a child process which part it plays.
pub(crate) const ROLE: &str = "BUSBAR_TEST_ROLE";

/// Where a child process meets its parent.
pub(crate) const ADDRESS: &str = "BUSBAR_TEST_ADDRESS";

/// A directory of its own, removed with everything in it.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(test: &str) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("busbar-it-{}-{test}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The socket file of [`Scratch::shm`].
    pub(crate) fn socket(&self) -> PathBuf {
        self.0.join("s.sock")
    }

    pub(crate) fn shm(&self) -> String {
        format!("shm://{}", self.socket().display())
    }

    /// An address of this scheme to listen at that no other test uses. Where the port is the
    /// system's choice, only the listener knows what to dial.
    pub(crate) fn address(&self, scheme: &str) -> String {
        match scheme {
            "shm" => self.shm(),
            "uds" => format!("uds://{}", self.socket().display()),
            "tcp" => "tcp://127.0.0.1:0".to_owned(),
            "tls" => "tls://127.0.0.1:0".to_owned(),
            "tcp6" => "tcp://[::1]:0".to_owned(),
            "abstract_name" => format!("uds://@{}", self.0.file_name().unwrap().to_str().unwrap()),
            _ => format!("{scheme}://{}", self.0.file_name().unwrap().to_str().unwrap()),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A dialed and an accepted pipe, each with an engine of its own.
pub(crate) fn connected(address: &str, options: PipeOptions) -> (Listener, Pipe, Pipe) {
    let options = suited(address, &options);
    let mut listen_options = ListenOptions::default();
    listen_options.pipe = options.clone();
    let mut listener = listen(address, listen_options).unwrap();
    let bound = listener.local_address();
    assert!(bound == address || address.ends_with(":0"), "{bound}");
    let accepting = thread::spawn(move || {
        let accepted = listener.accept(Some(PATIENCE)).unwrap();
        (listener, accepted)
    });
    let dialed = dial(&bound, options, PATIENCE).unwrap();
    let (listener, accepted) = accepting.join().unwrap();
    (listener, dialed, accepted)
}

/// An engine and what it has reported.
pub(crate) struct Driven {
    pub(crate) engine: Engine,
    pub(crate) events: Vec<Event>,
    arena: Vec<u8>,
    slots: Vec<Slot>,
}

impl Driven {
    pub(crate) fn new() -> Self {
        Self::over(Engine::new().unwrap())
    }

    /// Over this reactor, whatever the others have.
    #[cfg(target_os = "linux")]
    pub(crate) fn with(backend: busbar_io::Backend) -> Self {
        let mut options = busbar_io::EngineOptions::default();
        options.backend = Some(backend.into());
        options.single_thread = true;
        Self::over(Engine::with(options).unwrap())
    }

    fn over(engine: Engine) -> Self {
        Self { engine, events: vec![], arena: vec![0; 1 << 16], slots: vec![Slot::default(); 256] }
    }

    pub(crate) fn listen(&mut self, address: &str, options: &ListenOptions) -> ListenerId {
        let mut options = options.clone();
        options.pipe = suited(address, &options.pipe);
        self.engine.listen(&endpoint(address), &options).unwrap()
    }

    /// Listens at an address of `scheme`, and returns what to dial.
    pub(crate) fn listen_on(&mut self, scratch: &Scratch, scheme: &str) -> String {
        let listener = self.listen(&scratch.address(scheme), &ListenOptions::default());
        self.engine.address(listener).unwrap()
    }

    pub(crate) fn dial(&mut self, address: &str, options: &PipeOptions) -> PipeId {
        self.engine.dial(&endpoint(address), &suited(address, options)).unwrap()
    }

    /// An engine that has begun to dial, and the pipe.
    pub(crate) fn dialing(address: &str) -> (Self, PipeId) {
        Self::dialing_with(address, &PipeOptions::default())
    }

    pub(crate) fn dialing_with(address: &str, options: &PipeOptions) -> (Self, PipeId) {
        let mut driven = Self::new();
        let pipe = driven.dial(address, options);
        (driven, pipe)
    }

    /// Dials `there`, and drives both ends until they are connected.
    pub(crate) fn meet(
        &mut self,
        there: &mut Self,
        address: &str,
        options: &PipeOptions,
    ) -> (PipeId, PipeId) {
        let out = self.dial(address, options);
        let deadline = Instant::now() + PATIENCE;
        while self.engine.state(out) != Some(ConnectionState::Connected) {
            assert!(Instant::now() < deadline, "not connected: {:?}", self.engine.reason(out));
            self.settle();
            there.settle();
        }
        self.until(|event| matches!(event, Event::State(..)).then_some(()));
        (out, there.accepted())
    }

    /// Takes the first event that `wanted` recognises, waiting for it; others stay.
    pub(crate) fn until<T>(&mut self, mut wanted: impl FnMut(&Event) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.events.iter().position(|event| wanted(event).is_some()) {
                return wanted(&self.events.remove(at)).unwrap();
            }
            assert!(Instant::now() < deadline, "nothing of the kind among {:?}", self.events);
            self.drive(Instant::now() + Duration::from_millis(50));
        }
    }

    /// Waits for events until `deadline`, or the first.
    pub(crate) fn drive(&mut self, deadline: Instant) {
        let mut news = Vec::new();
        self.engine.wait(&mut news, Some(deadline));
        self.events.append(&mut news);
    }

    pub(crate) fn accepted(&mut self) -> PipeId {
        self.until(|event| match *event {
            Event::Accepted { pipe, .. } => Some(pipe),
            _ => None,
        })
    }

    /// Waits for the end of `pipe`.
    pub(crate) fn closed(&mut self, pipe: PipeId) {
        self.until(|event| matches!(event, Event::Closed(of) if *of == pipe).then_some(()));
    }

    pub(crate) fn warning(&mut self) -> busbar_io::Error {
        self.until(|event| match event {
            Event::Warning(_, error) => Some(error.clone()),
            _ => None,
        })
    }

    /// Turns until nothing more happens.
    pub(crate) fn settle(&mut self) {
        for _ in 0..20 {
            self.engine.turn(&mut self.events);
        }
    }

    /// Goes on as an event loop does before it waits, until the engine says that it may sleep.
    pub(crate) fn fall_asleep(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while self.engine.prepare_sleep(&mut self.events) != busbar_io::Readiness::Sleep {
            assert!(self.events.is_empty(), "{:?}", self.events);
            assert!(Instant::now() < deadline, "the engine never sleeps");
        }
    }

    /// The states that pipes have come to, as far as they were reported.
    pub(crate) fn states(&self) -> Vec<ConnectionState> {
        let state = |event: &Event| match *event {
            Event::State(_, state) => Some(state),
            _ => None,
        };
        self.events.iter().filter_map(state).collect()
    }

    /// Everything that can be received now.
    pub(crate) fn receive(&mut self, pipe: PipeId) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            let some = self.receive_some(pipe, 256);
            if some.is_empty() {
                return all;
            }
            all.extend(some);
        }
    }

    /// What one look gives, at most `max` messages.
    pub(crate) fn receive_some(&mut self, pipe: PipeId, max: usize) -> Vec<Vec<u8>> {
        let mut leases = Vec::new();
        let mut inbox = Inbox::new(&mut self.arena, &mut self.slots, &mut leases);
        self.engine.receive(pipe, &mut inbox, max).unwrap();
        let bytes = |slot: &Slot| inbox.bytes(*slot).to_vec();
        let slots = inbox.slots().to_vec();
        let inline: Vec<_> =
            slots.iter().map(|slot| (slot.meta & META_LEASED == 0).then(|| bytes(slot))).collect();
        let payload = |(slot, inline): (&Slot, Option<Vec<u8>>)| {
            inline.unwrap_or_else(|| leases[slot.offset as usize].to_vec())
        };
        slots.iter().zip(inline).map(payload).collect()
    }

    /// One message as the lease that it came in.
    pub(crate) fn receive_lease(&mut self, pipe: PipeId) -> Lease {
        let mut leases = Vec::new();
        let mut inbox = Inbox::new(&mut self.arena, &mut self.slots, &mut leases);
        self.engine.receive(pipe, &mut inbox, 1).unwrap();
        assert_eq!(leases.len(), 1);
        leases.remove(0)
    }
}

/// Whether an event loop that waits for the engine would be woken within `timeout`.
#[cfg(unix)]
pub(crate) fn is_announced(driven: &Driven, timeout: Duration) -> bool {
    use std::os::fd::AsRawFd;

    use mio::unix::SourceFd;

    let mut poll = mio::Poll::new().unwrap();
    let mut events = mio::Events::with_capacity(1);
    let fd = driven.engine.as_raw_fd();
    poll.registry().register(&mut SourceFd(&fd), mio::Token(0), mio::Interest::READABLE).unwrap();
    poll.poll(&mut events, Some(timeout)).unwrap();
    !events.is_empty()
}

pub(crate) fn endpoint(address: &str) -> Endpoint {
    address.parse().unwrap()
}

/// A process of this test binary that plays `role` (see `child.rs`) at `address`. Killed when
/// dropped.
pub(crate) struct Role {
    pub(crate) process: Child,
    lines: BufReader<ChildStdout>,
}

impl Role {
    pub(crate) fn start(role: &str, address: &str) -> Self {
        Self::spawn(&mut Self::command(role, address))
    }

    pub(crate) fn command(role: &str, address: &str) -> Command {
        Self::command_of(&std::env::current_exe().unwrap(), role, address)
    }

    /// The same with a copy of this binary, which may lie where others can execute it.
    pub(crate) fn command_of(binary: &Path, role: &str, address: &str) -> Command {
        let mut command = Command::new(binary);
        command.args(["child::plays_its_role", "--exact", "--nocapture", "--test-threads=1"]);
        command.env(ROLE, role).env(ADDRESS, address).stdout(Stdio::piped());
        command
    }

    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut process = command.spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap());
        Self { process, lines }
    }

    /// Waits until the child says `word`, and returns the rest of that line.
    pub(crate) fn hears(&mut self, word: &str) -> String {
        let mut heard = String::new();
        loop {
            let from = heard.len();
            let len = self.lines.read_line(&mut heard).unwrap();
            assert_ne!(len, 0, "the child ended without saying {word:?}; it said {heard:?}");
            // The test harness has begun a line of its own by then.
            if let Some((_, rest)) = heard[from..].split_once(&format!("#{word}#")) {
                return rest.trim().to_owned();
            }
        }
    }

    /// `kill -9`, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Waits for it to end by itself, well.
    pub(crate) fn finish(mut self) {
        assert!(self.process.wait().unwrap().success());
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Numbers from a seed, for tests that run the same way each time.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % end
    }
}
