//! Pipes for plain threads: [`listen`] and [`dial`] with calls that wait.
//!
//! Each [`Pipe`] and [`Listener`] has an [`Engine`] of its own and drives it while it waits.
//! Programs with an event loop use an engine directly.

use std::ops::Deref;
use std::thread;
use std::time::{Duration, Instant};

use busbar_proto::{CloseReason, Code, ConnectionState, Error};
use bytes::Bytes;

use crate::connection::Acceptor;
use crate::endpoint::Endpoint;
use crate::engine::descriptors::{Descriptors, Role};
use crate::engine::{Engine, PipeStats};
use crate::event::{Event, PipeId};
use crate::inbox::{Inbox, META_LEASED, Slot};
use crate::link::Interest;
use crate::loan::{Lease, Loan};
use crate::notice::{Board, Subject};
use crate::options::{ListenOptions, PipeOptions};
use crate::reactor::{Backend, EngineOptions};
use crate::slots::Handle;
use crate::transport;

/// Arena for the small messages of one look at the link.
const ARENA_BYTES: usize = 64 * 1024;

/// Messages of one look at the link.
const BATCH: usize = 256;

/// Binds an address.
///
/// # Errors
/// As [`Engine::listen`], and `InvalidAddress`; `NotSupported` for reliable pipes.
pub fn listen(address: &str, options: ListenOptions) -> Result<Listener, Error> {
    options.pipe.validate()?;
    if options.authorize {
        let message = "there is nobody to ask: `authorize` is for listeners of an engine";
        return Err(Error::new(Code::InvalidArgument, message));
    }
    if options.pipe.reliable.is_some() {
        let message = "dialers can come back to pipes of one engine only: listen with an engine";
        return Err(Error::new(Code::NotSupported, message));
    }
    // One listener gains nothing from anything else, and is asked for connections by hand.
    let poll = EngineOptions { backend: Some(Backend::Poll.into()), ..EngineOptions::default() };
    let (descriptors, bell) = Descriptors::new(poll)?;
    let board = Board::new(bell);
    let waker = board.waker(Subject::Listener(Handle(0)));
    let mut acceptor = transport::listen(&address.parse()?, &options, &waker)?;
    acceptor.register(descriptors.reactor(), Role::Acceptor.token(Handle(0)))?;
    Ok(Listener { acceptor, descriptors, board, options })
}

/// Connects to an address, waiting at most `timeout`, handshake included.
///
/// # Errors
/// As [`Engine::dial`], `InvalidAddress`, `TimedOut`, and whatever the listener turns it away with.
pub fn dial(address: &str, options: PipeOptions, timeout: Duration) -> Result<Pipe, Error> {
    let mut engine = Engine::new()?;
    let id = engine.dial(&address.parse::<Endpoint>()?, &options)?;
    Pipe::new(engine, id).connected(timeout)
}

/// A bound address.
pub struct Listener {
    acceptor: Box<dyn Acceptor>,
    descriptors: Descriptors,
    board: Board,
    options: ListenOptions,
}

impl Listener {
    /// The address, as a dialer uses it.
    #[must_use]
    pub fn local_address(&self) -> String {
        self.acceptor.address()
    }

    /// Waits for the next connection, including its handshake.
    ///
    /// # Errors
    /// `TimedOut`; `Closed` if the name was unbound elsewhere; what went wrong with one connection,
    /// after which the next can be accepted.
    pub fn accept(&mut self, timeout: Option<Duration>) -> Result<Pipe, Error> {
        let deadline = timeout.and_then(after);
        loop {
            while self.board.take().is_some() {}
            let mut engine = Engine::new()?;
            let accepted = engine.accept_from(&mut *self.acceptor, &self.options.pipe)?;
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if let Some(id) = accepted {
                let patience = self.options.handshake_timeout;
                let patience = left.map_or(patience, |left| left.min(patience));
                return Pipe::new(engine, id).connected(patience);
            }
            if left.is_some_and(|left| left.is_zero()) {
                return Err(Error::new(Code::TimedOut, "nobody connected in time"));
            }
            if self.board.sleep() {
                let ready = self.descriptors.wait(left);
                self.descriptors.recycle(ready);
            }
            self.board.awake();
        }
    }
}

/// One end of a connection.
pub struct Pipe {
    engine: Engine,
    id: PipeId,
    arena: Vec<u8>,
    slots: Vec<Slot>,
    /// Received and not yet handed out: a range of `slots`.
    next: usize,
    received: usize,
    leases: Vec<Lease>,
    events: Vec<Event>,
}

/// A received message. Dropping it gives large payloads back to the sender.
#[derive(Debug)]
pub struct Message {
    /// The channel it came on.
    pub channel: u16,
    payload: Lease,
}

impl Deref for Message {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.payload
    }
}

impl Pipe {
    fn new(engine: Engine, id: PipeId) -> Self {
        Self {
            engine,
            id,
            arena: vec![0; ARENA_BYTES],
            slots: vec![Slot::default(); BATCH],
            next: 0,
            received: 0,
            leases: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Waits for the handshake to end.
    fn connected(mut self, timeout: Duration) -> Result<Self, Error> {
        let deadline = after(timeout);
        let is_over = |state| matches!(state, ConnectionState::Connected | ConnectionState::Closed);
        while !self.engine.state(self.id).is_none_or(is_over) {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                let message = format!("the other end did not answer within {timeout:?}");
                return Err(Error::new(Code::TimedOut, message));
            }
            self.wait(Interest::NONE, deadline);
        }
        match self.engine.reason(self.id).cloned() {
            Some(reason) if self.engine.link(self.id).is_none() => Err(error_of(&reason)),
            // It may be over already, but what the peer has sent can still be received.
            _ => Ok(self),
        }
    }

    /// Sends a message, or says `false` when that would mean waiting.
    ///
    /// # Errors
    /// `MessageTooLarge`, also for a message that the transport cannot hold as a whole, which
    /// [`Pipe::send`] can send; and what the connection ended with.
    pub fn try_send(&mut self, channel: u16, payload: &[u8]) -> Result<bool, Error> {
        let sent = self.engine.send(self.id, channel, payload)?;
        self.engine.flush();
        if !sent && self.engine.abandon(self.id) {
            let message = "the message is larger than ring and slab, so it cannot go out at once";
            return Err(Error::new(Code::MessageTooLarge, message));
        }
        Ok(sent)
    }

    /// Sends a message, waiting for room. Once it is accepted, waits on until the transport needs
    /// no more help of this thread to deliver it, or the time is over.
    ///
    /// # Errors
    /// As [`Pipe::try_send`], and `TimedOut`, in which case the message is not sent.
    pub fn send(
        &mut self,
        channel: u16,
        payload: &[u8],
        timeout: Option<Duration>,
    ) -> Result<(), Error> {
        let deadline = timeout.and_then(after);
        while !self.engine.send(self.id, channel, payload)? {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                self.engine.abandon(self.id);
                return Err(Error::new(Code::TimedOut, "the peer did not make room in time"));
            }
            self.wait(Interest { readable: false, writable: true }, deadline);
        }
        self.engine.flush();
        self.engine.wait_unsent(self.id, deadline);
        Ok(())
    }

    /// Memory to write a message into, or `None` when there is none: then use [`Pipe::send`].
    ///
    /// # Errors
    /// `MessageTooLarge`, and what the connection ended with.
    pub fn loan(&mut self, len: usize) -> Result<Option<Loan>, Error> {
        self.engine.loan(self.id, len)
    }

    /// Sends the first `len` bytes of a loan; gives it back when the queue is full.
    ///
    /// # Errors
    /// `InvalidArgument`, and what the connection ended with.
    pub fn commit(&mut self, channel: u16, loan: Loan, len: usize) -> Result<Option<Loan>, Error> {
        let back = self.engine.commit(self.id, channel, loan, len);
        self.engine.flush();
        back
    }

    /// The next message, if it is there.
    ///
    /// # Errors
    /// What the connection ended with, once everything has been received.
    pub fn try_recv(&mut self) -> Result<Option<Message>, Error> {
        if self.next == self.received {
            self.refill()?;
        }
        if self.next == self.received {
            return match self.engine.reason(self.id) {
                Some(reason) => Err(error_of(reason)),
                None => Ok(None),
            };
        }
        let slot = self.slots[self.next];
        self.next += 1;
        let channel = u16::try_from(slot.meta & 0xffff).expect("invariant: masked");
        let payload = if slot.meta & META_LEASED != 0 {
            // The leases of a batch are taken in order, so the next one is always the first.
            self.leases.remove(0)
        } else {
            let bytes = &self.arena[slot.offset as usize..][..slot.length as usize];
            Lease::Bytes(Bytes::copy_from_slice(bytes))
        };
        Ok(Some(Message { channel, payload }))
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// As [`Pipe::try_recv`], and `TimedOut`.
    pub fn recv(&mut self, timeout: Option<Duration>) -> Result<Message, Error> {
        let deadline = timeout.and_then(after);
        loop {
            if let Some(message) = self.try_recv()? {
                return Ok(message);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(Error::new(Code::TimedOut, "no message came in time"));
            }
            self.wait(Interest { readable: true, writable: false }, deadline);
        }
    }

    /// Tells the peer the reason and ends the pipe. What was sent can still be received: what the
    /// transport has not taken yet, which it does as fast as the peer reads, is delivered by a
    /// thread in the background, for [`PipeOptions::linger`] at most.
    pub fn close(mut self, reason: &CloseReason) {
        self.engine.close(self.id, reason);
    }

    /// The engine and the pipe's id in it, for callers that want to look without waiting.
    pub fn engine(&mut self) -> (&mut Engine, PipeId) {
        (&mut self.engine, self.id)
    }

    /// Counters.
    #[must_use]
    pub fn stats(&mut self) -> PipeStats {
        self.engine.stats(self.id).unwrap_or_default()
    }

    fn refill(&mut self) -> Result<(), Error> {
        (self.next, self.received) = (0, 0);
        // So that the end of the connection is seen even by those who never wait.
        self.engine.turn(&mut self.events);
        self.events.clear();
        let mut inbox = Inbox::new(&mut self.arena, &mut self.slots, &mut self.leases);
        self.engine.receive(self.id, &mut inbox, BATCH)?;
        self.received = inbox.len();
        Ok(())
    }

    fn wait(&mut self, interest: Interest, deadline: Option<Instant>) {
        // Fails for a pipe that is gone only, which the caller's next operation reports.
        let _ = self.engine.set_interest(self.id, interest);
        self.engine.wait(&mut self.events, deadline);
        self.events.clear();
        let _ = self.engine.set_interest(self.id, Interest::NONE);
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.engine.close(self.id, &CloseReason::default());
        if let Some(lingerer) = self.engine.take_lingering() {
            // Without a thread, closing the socket is all that can be done.
            let _ = thread::Builder::new().name("busbar-linger".into()).spawn(|| lingerer.run());
        }
    }
}

/// The end of a wait; `None` if it is too far away to be reached.
fn after(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}

fn error_of(reason: &CloseReason) -> Error {
    let code = reason.code.unwrap_or(Code::Closed);
    if reason.text.is_empty() {
        return Error::new(code, "the peer closed the pipe");
    }
    Error::new(code, reason.text.clone())
}
