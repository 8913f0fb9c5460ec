//! Whether io_uring does here what this reactor needs of it: not by the kernel's version, of which
//! sandboxes and vendors make what they like, but by trying.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, PollFlags, Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::ring::{BUFFER_BYTES, BUFFERS, Done, Ring, mask};

/// Far longer than any of it takes.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Receive,
    Send,
    Accept,
    Watch,
}

/// Tries each kind of ring once for the process; why not, if it does not work.
pub(in crate::reactor) fn check(single_thread: bool) -> Result<(), String> {
    static OUTCOMES: [OnceLock<Result<(), String>>; 2] = [const { OnceLock::new() }; 2];
    let outcome = &OUTCOMES[usize::from(single_thread)];
    outcome.get_or_init(|| try_all(single_thread).map_err(|error| error.to_string())).clone()
}

fn try_all(single_thread: bool) -> io::Result<()> {
    let mut ring = Ring::new(single_thread)?;
    let (here, there) = UnixStream::pair()?;
    exchanges(&mut ring, &here, &there)?;
    accepts(&mut ring)?;
    watches(&mut ring)?;
    ends(&mut ring, there)
}

/// What is sent is received, over and over, each time into one of the shared buffers.
fn exchanges(ring: &mut Ring<Step>, here: &UnixStream, there: &UnixStream) -> io::Result<()> {
    ring.receive(here.as_raw_fd(), Step::Receive).ok_or(io::ErrorKind::OutOfMemory)?;
    ring.enter(Some(Duration::ZERO))?;
    for round in 0..BUFFERS + 2 {
        let bytes = vec![round as u8; BUFFER_BYTES / 4];
        ring.send(there.as_raw_fd(), bytes.clone(), 1, Step::Send);
        let sent = expect(ring, Step::Send)?;
        is_so(sent.is_over && sent.result? as usize == bytes.len() - 1)?;
        let mut received = Vec::new();
        while received.len() < bytes.len() - 1 {
            let done = expect(ring, Step::Receive)?;
            is_so(!done.is_over)?;
            let filled = done.received.ok_or(io::ErrorKind::Unsupported)?;
            received.extend_from_slice(ring.bytes(&filled));
            ring.give_back(filled);
        }
        is_so(received == bytes[1..])?;
    }
    Ok(())
}

/// Connections are accepted, one after the other.
fn accepts(ring: &mut Ring<Step>) -> io::Result<()> {
    let socket = || {
        let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
        rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)
    };
    let listener = socket()?;
    // The system picks a name.
    rustix::net::bind(&listener, &SocketAddrUnix::new_unnamed())?;
    rustix::net::listen(&listener, 4)?;
    let listener = UnixListener::from(listener);
    let name = rustix::net::getsockname(listener.as_fd())?;
    let op = ring.accept(listener.as_raw_fd(), Step::Accept).ok_or(io::ErrorKind::OutOfMemory)?;
    ring.enter(Some(Duration::ZERO))?;
    for _ in 0..2 {
        rustix::net::connect(socket()?, &name)?;
        let done = expect(ring, Step::Accept)?;
        is_so(!done.is_over && done.accepted.is_some())?;
    }
    ring.cancel(op);
    is_so(expect(ring, Step::Accept)?.is_over)
}

/// Each time that a descriptor becomes ready is told, and wakes a loop that waits for the ring and
/// has found nothing before.
#[expect(clippy::host_endian_bytes, reason = "a number for this kernel")]
fn watches(ring: &mut Ring<Step>) -> io::Result<()> {
    let bell: OwnedFd = rustix::event::eventfd(0, EventfdFlags::CLOEXEC)?;
    let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let (at_once, one_second) = (Timespec::default(), Timespec { tv_sec: 1, tv_nsec: 0 });
    epoll::add(&set, &*ring, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
    let events = mask(PollFlags::IN);
    let op = ring.watch(bell.as_raw_fd(), events, true, Step::Watch);
    ring.enter(Some(Duration::ZERO))?;
    for _ in 0..2 {
        is_so(waits(&set, &at_once)? == 0)?;
        rustix::io::write(&bell, &1_u64.to_ne_bytes())?;
        is_so(waits(&set, &one_second)? == 1)?;
        is_so(!expect(ring, Step::Watch)?.is_over)?;
    }
    op.into_iter().for_each(|op| ring.cancel(op));
    is_so(expect(ring, Step::Watch)?.is_over)
}

/// How many descriptors a loop finds ready, as often as io_uring interrupts it.
fn waits(set: &OwnedFd, timeout: &Timespec) -> io::Result<usize> {
    let mut told = Vec::with_capacity(1);
    loop {
        match epoll::wait(set, spare_capacity(&mut told), Some(timeout)) {
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
            Ok(_) => return Ok(told.len()),
        }
    }
}

/// The end of a stream is told.
fn ends(ring: &mut Ring<Step>, there: UnixStream) -> io::Result<()> {
    drop(there);
    let done = expect(ring, Step::Receive)?;
    is_so(done.is_over && done.result? == 0)
}

/// The next completion, which must be of this step.
fn expect(ring: &mut Ring<Step>, step: Step) -> io::Result<Done<Step>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(done) = ring.next() {
            is_so(done.tag == step)?;
            return Ok(done);
        }
        is_so(Instant::now() < deadline)?;
        ring.enter(Some(PATIENCE))?;
    }
}

fn is_so(holds: bool) -> io::Result<()> {
    if holds { Ok(()) } else { Err(io::Error::other("io_uring does not do what it should")) }
}
