//! What every connected transport offers to the engine: moving whole messages, never waiting.
//!
//! A link knows nothing of pipes, events or JavaScript. Messages enter as *runs* (a batch of
//! records laid out as in `docs/formats/record.md`), as single payloads, or as loans; they leave
//! into an [`Inbox`]. Waiting is the engine's business: it calls [`Link::park`] and sleeps on what
//! the transport registered with it.

use busbar_proto::Error;
use bytes::Bytes;

use crate::inbox::Inbox;
use crate::loan::Loan;

/// One end of a connection.
pub trait Link: Send {
    /// Takes as many leading records of `run` as fit and publishes them; returns the bytes taken.
    ///
    /// # Errors
    /// `InvalidArgument` if `run` is not a sequence of whole inline records; `Closed` once the
    /// connection is gone; `Protocol` if the peer broke the rules of the transport.
    fn send_run(&mut self, run: &[u8]) -> Result<usize, Error>;

    /// Offers one message of any size. `Ok(false)` means "not now": offer the *same* message again
    /// after a `Writable` event, or call [`Link::abandon`]; a large one may be half-way through.
    ///
    /// # Errors
    /// As [`Link::send_run`], and `MessageTooLarge`.
    fn send(&mut self, channel: u16, payload: &[u8]) -> Result<bool, Error>;

    /// As [`Link::send`], handing over a reference count where the transport can.
    ///
    /// # Errors
    /// As [`Link::send`].
    fn send_bytes(&mut self, channel: u16, payload: &Bytes) -> Result<bool, Error> {
        self.send(channel, payload)
    }

    /// Gives up a message that [`Link::send`] has begun; the peer discards what it has of it.
    /// `true` if the message is larger than all that the transport can hold, so that it can only
    /// be sent by offering it again and again.
    fn abandon(&mut self) -> bool;

    /// Lends memory that the peer will read in place, or `None` when there is none to lend.
    ///
    /// # Errors
    /// `MessageTooLarge`, `Closed`.
    fn loan(&mut self, len: usize) -> Result<Option<Loan>, Error>;

    /// Sends the first `len` bytes of a loan. Gives the loan back in `Ok(Some(_))` when the queue
    /// is full.
    ///
    /// # Errors
    /// `InvalidArgument` if the loan is from another link or `len` exceeds it; `Closed`.
    fn commit(&mut self, channel: u16, loan: Loan, len: usize) -> Result<Option<Loan>, Error>;

    /// Moves up to `max` messages into `inbox`, fewer when it is full.
    ///
    /// # Errors
    /// `Protocol` if the peer broke the rules; what came before the breach is in `inbox`.
    fn receive(&mut self, inbox: &mut Inbox<'_>, max: usize) -> Result<(), Error>;

    /// Whether `receive` has something to give (or a breach to report).
    fn is_readable(&mut self) -> bool;

    /// Whether a message that was refused has a chance now.
    fn is_writable(&mut self) -> bool;

    /// Asks to be woken for `wants`. Returns `false`, and stays awake, if it has already happened.
    fn park(&mut self, wants: Interest) -> bool;

    /// Withdraws [`Link::park`].
    fn unpark(&mut self);

    /// Hands loans and leases that were dropped elsewhere back to their owner.
    fn collect(&mut self);

    /// What has passed so far.
    fn stats(&self) -> LinkStats;
}

/// What a sleeper wants to be woken for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// A message can be received.
    pub readable: bool,
    /// A message can be sent.
    pub writable: bool,
}

impl Interest {
    /// Neither.
    pub const NONE: Self = Self { readable: false, writable: false };

    /// Whether there is nothing to wait for.
    #[must_use]
    pub const fn is_none(self) -> bool {
        !self.readable && !self.writable
    }
}

/// Counters of one link since it was connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkStats {
    /// Messages accepted for sending.
    pub messages_sent: u64,
    /// Payload bytes of those.
    pub bytes_sent: u64,
    /// Messages handed to the receiver.
    pub messages_received: u64,
    /// Payload bytes of those.
    pub bytes_received: u64,
    /// Messages that went out without a copy of the payload (committed loans, reference counts).
    pub loans_sent: u64,
    /// Messages that came in as a view of the sender's memory.
    pub loans_received: u64,
    /// Messages that had to be cut into fragments: for want of a slab chunk, or because they are
    /// larger than a frame.
    pub fragmented: u64,
    /// Bells rung for the peer: one system call each.
    pub bells: u64,
    /// Times this end went to sleep.
    pub parks: u64,
    /// Reads from a socket: one system call each.
    pub reads: u64,
    /// Writes to a socket: one system call each.
    pub writes: u64,
    /// Messages of which a part came and then nothing for too long.
    pub reassemblies_expired: u64,
    /// Messages that came in time and were of no more use when they were to be received.
    pub messages_expired: u64,
}

impl LinkStats {
    /// Adds what passed over another connection.
    pub(crate) fn add(&mut self, other: &Self) {
        self.messages_sent += other.messages_sent;
        self.bytes_sent += other.bytes_sent;
        self.messages_received += other.messages_received;
        self.bytes_received += other.bytes_received;
        self.loans_sent += other.loans_sent;
        self.loans_received += other.loans_received;
        self.fragmented += other.fragmented;
        self.bells += other.bells;
        self.parks += other.parks;
        self.reads += other.reads;
        self.writes += other.writes;
        self.reassemblies_expired += other.reassemblies_expired;
        self.messages_expired += other.messages_expired;
    }
}
