//! Two segments made into one connection: messages out, messages in, and when to ring.
//!
//! A channel is single-threaded and passive. After each operation [`Channel::take_ring`] says
//! whether the caller must ring the peer's bell (an eventfd that the transport holds).

use std::task::Waker;

use crate::control::Word;
use crate::error::{Breach, Error};
use crate::incoming::{Incoming, Received};
use crate::loan::{Loan, Returns};
use crate::outgoing::{Outgoing, Sent};
use crate::park::{Bell, Sleeper, Wants};
use crate::segment::{PeerSegment, Segment};

/// What both ends agreed on, and how far this end trusts the other.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "plain parameters of `Channel::new`")]
pub struct Settings {
    /// Largest message that either end may send.
    pub message_bytes_max: usize,
    /// Copy payloads out before handing them on, and zero chunks before reuse.
    pub hostile: bool,
}

/// What has passed through a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Messages appended to the ring.
    pub messages_sent: u64,
    /// Their payload bytes.
    pub bytes_sent: u64,
    /// Messages taken from the ring.
    pub messages_received: u64,
    /// Their payload bytes.
    pub bytes_received: u64,
    /// Messages sent by committing a loan.
    pub loans_sent: u64,
    /// Messages received as leases.
    pub leases_received: u64,
    /// Messages sent as fragments.
    pub fragmented: u64,
    /// Times [`Channel::take_ring`] said yes.
    pub bells: u64,
    /// Times [`Channel::park`] was called.
    pub parks: u64,
}

/// One end of a shared-memory connection.
pub struct Channel {
    outgoing: Outgoing,
    incoming: Incoming,
    sleeper: Sleeper,
    bell: Bell,
    ring: bool,
    /// The first breach by the peer: every later operation reports it again.
    broken: Option<Breach>,
    counters: Counters,
}

impl Channel {
    /// Joins the two segments. `waker` is woken when a loan or a lease is dropped, wherever that
    /// happens; [`Channel::collect`] must be called some time after.
    #[must_use]
    pub fn new(own: Segment, peer: PeerSegment, settings: Settings, waker: &Waker) -> Self {
        let Settings { message_bytes_max, hostile } = settings;
        let returns = || Returns::new(waker.clone());
        Self {
            sleeper: Sleeper::new(Word::of(own.mapping(), |m| m.control().park())),
            bell: Bell::new(Word::of(peer.mapping(), |m| m.control().park())),
            incoming: Incoming::new(&own, peer.clone(), returns(), message_bytes_max, hostile),
            outgoing: Outgoing::new(own, &peer, returns(), hostile),
            ring: false,
            broken: None,
            counters: Counters::default(),
        }
    }

    /// Sends the leading records of `run` that fit and returns how many bytes of it they are.
    ///
    /// # Errors
    /// [`Error::Run`] if `run` is not a sequence of whole inline records (nothing is sent then);
    /// [`Error::Breach`].
    pub fn send_run(&mut self, run: &[u8]) -> Result<usize, Error> {
        let result = self.outgoing.run(run);
        let (bytes, messages, payload) = self.noted(result)?;
        self.counters.messages_sent += messages;
        self.counters.bytes_sent += payload;
        self.publish();
        Ok(bytes)
    }

    /// Sends one message; `false` if it has to be offered again (or abandoned), and nothing else in
    /// between. The caller keeps to [`Settings::message_bytes_max`].
    ///
    /// # Errors
    /// [`Error::Run`] if it is another message than the one under way; [`Error::Breach`].
    pub fn send(&mut self, channel: u16, payload: &[u8]) -> Result<bool, Error> {
        self.send_dated(channel, payload, None)
    }

    /// As [`Channel::send`], of a message that is of no more use at `deadline`, in microseconds of
    /// the machine's monotonic clock.
    ///
    /// # Errors
    /// As there.
    pub fn send_until(
        &mut self,
        channel: u16,
        payload: &[u8],
        deadline: u64,
    ) -> Result<bool, Error> {
        self.send_dated(channel, payload, Some(deadline))
    }

    fn send_dated(
        &mut self,
        channel: u16,
        payload: &[u8],
        deadline: Option<u64>,
    ) -> Result<bool, Error> {
        let result = self.outgoing.message(channel, payload, deadline);
        let sent = self.noted(result)?;
        self.publish();
        if sent == Sent::NotNow {
            return Ok(false);
        }
        self.counters.messages_sent += 1;
        self.counters.bytes_sent += payload.len() as u64;
        self.counters.fragmented += u64::from(sent == Sent::Fragmented);
        Ok(true)
    }

    /// Gives up the message that [`Channel::send`] has begun; `true` if it is too large to be ever
    /// sent by one call.
    pub fn abandon(&mut self) -> bool {
        self.outgoing.abandon()
    }

    /// Slab memory to write a message into, or `None` when there is none.
    ///
    /// # Errors
    /// [`Error::Breach`].
    pub fn loan(&mut self, len: usize) -> Result<Option<Loan>, Error> {
        let result = self.outgoing.loan(len);
        self.noted(result)
    }

    /// Whether a loan is of this channel's memory.
    #[must_use]
    pub fn owns(&self, loan: &Loan) -> bool {
        self.outgoing.owns(loan)
    }

    /// Sends the first `len` bytes of a loan, or gives it back if the ring is full.
    ///
    /// # Errors
    /// [`Error::Run`] if the loan is from another channel or shorter than `len`;
    /// [`Error::Breach`].
    pub fn commit(&mut self, channel: u16, loan: Loan, len: usize) -> Result<Option<Loan>, Error> {
        self.commit_dated(channel, loan, len, None)
    }

    /// As [`Channel::commit`], with `deadline` as in [`Channel::send_until`].
    ///
    /// # Errors
    /// As there.
    pub fn commit_until(
        &mut self,
        channel: u16,
        loan: Loan,
        len: usize,
        deadline: u64,
    ) -> Result<Option<Loan>, Error> {
        self.commit_dated(channel, loan, len, Some(deadline))
    }

    fn commit_dated(
        &mut self,
        channel: u16,
        loan: Loan,
        len: usize,
        deadline: Option<u64>,
    ) -> Result<Option<Loan>, Error> {
        if !self.outgoing.owns(&loan) || len > loan.len() {
            return Err(Error::Run);
        }
        let result = self.outgoing.commit(channel, loan, len, deadline);
        let back = self.noted(result)?;
        self.publish();
        if back.is_none() {
            self.counters.messages_sent += 1;
            self.counters.bytes_sent += len as u64;
            self.counters.loans_sent += 1;
        }
        Ok(back)
    }

    /// Takes up to `max` messages, calling `sink(channel, payload)` for each; inline payloads lie
    /// in `buffer`. Returns the bytes of `buffer` in use. The next message is certain to come only
    /// if `buffer` holds the largest record, `stride(INLINE_MAX)` bytes.
    ///
    /// # Errors
    /// A [`Breach`]; messages before it have been handed to `sink`.
    pub fn receive(
        &mut self,
        buffer: &mut [u8],
        max: usize,
        mut sink: impl FnMut(u16, Received),
    ) -> Result<usize, Breach> {
        self.receive_dated(buffer, max, |channel, received, _| sink(channel, received))
    }

    /// As [`Channel::receive`], where `sink` gets the message's deadline as well, if it has one.
    ///
    /// # Errors
    /// As there.
    pub fn receive_dated(
        &mut self,
        buffer: &mut [u8],
        max: usize,
        mut sink: impl FnMut(u16, Received, Option<u64>),
    ) -> Result<usize, Breach> {
        if let Some(breach) = self.broken {
            // What came before it was handed over once.
            return Err(breach);
        }
        let counters = &mut self.counters;
        let mut counting = |channel, received: Received, deadline| {
            let (len, leased) = match &received {
                Received::Inline { len, .. } => (*len, false),
                Received::Lease(lease) => (lease.len(), true),
                Received::Owned(bytes) => (bytes.len(), false),
            };
            counters.messages_received += 1;
            counters.bytes_received += len as u64;
            counters.leases_received += u64::from(leased);
            sink(channel, received, deadline);
        };
        let result = self.incoming.receive(buffer, max, &mut counting);
        let gave_back = self.incoming.collect();
        let (used, freed) = self.noted(result)?;
        let gave_back = self.noted(gave_back)?;
        if freed || gave_back {
            self.ring |= self.bell.must_ring(Wants::SPACE);
        }
        Ok(used)
    }

    /// Whether [`Channel::receive`] has something to give or to report.
    pub fn is_readable(&mut self) -> bool {
        let result = self.incoming.is_readable();
        self.noted(result).unwrap_or(true)
    }

    /// Whether the message refused last has a chance now (or the refusal a breach to report).
    pub fn is_writable(&mut self) -> bool {
        let result = self.outgoing.is_writable();
        self.noted(result).unwrap_or(true)
    }

    /// The peer has ended: what it has published by now can still be received, and no more.
    pub fn end(&mut self) {
        let result = self.incoming.end();
        // `receive` reports it.
        let _ = self.noted(result);
    }

    /// Works off dropped loans and leases, here and at the peer.
    ///
    /// # Errors
    /// A [`Breach`].
    pub fn collect(&mut self) -> Result<(), Breach> {
        let result = self.outgoing.collect();
        self.noted(result)?;
        let gave_back =
            if self.incoming.has_returns() { self.incoming.collect() } else { Ok(false) };
        if self.noted(gave_back)? {
            self.ring |= self.bell.must_ring(Wants::SPACE);
        }
        Ok(())
    }

    /// Announces sleep until `wants`; `false` (and awake) if it has already happened.
    pub fn park(&mut self, wants: Wants) -> bool {
        self.counters.parks += 1;
        self.sleeper.park(wants);
        let happened = (wants.contains(Wants::DATA) && self.is_readable())
            || (wants.contains(Wants::SPACE) && self.is_writable());
        if happened {
            self.sleeper.unpark();
        }
        !happened
    }

    /// Withdraws [`Channel::park`].
    pub fn unpark(&mut self) {
        self.sleeper.unpark();
    }

    /// Whether the peer's bell must be rung; asking resets the answer.
    #[inline]
    #[must_use]
    pub fn take_ring(&mut self) -> bool {
        self.counters.bells += u64::from(self.ring);
        std::mem::take(&mut self.ring)
    }

    /// What has passed so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Remembers the first breach and reports it ever after.
    #[inline]
    fn noted<T, E: From<Breach> + Reported>(&mut self, result: Result<T, E>) -> Result<T, E> {
        if let Some(breach) = self.broken {
            return Err(E::from(breach));
        }
        if let Err(error) = &result {
            self.broken = error.breach();
        }
        result
    }

    #[inline]
    fn publish(&mut self) {
        if self.outgoing.publish() {
            self.ring |= self.bell.must_ring(Wants::DATA);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;

/// Errors that may be a breach.
trait Reported {
    fn breach(&self) -> Option<Breach>;
}

impl Reported for Breach {
    fn breach(&self) -> Option<Breach> {
        Some(*self)
    }
}

impl Reported for Error {
    fn breach(&self) -> Option<Breach> {
        if let Self::Breach(breach) = self { Some(*breach) } else { None }
    }
}
