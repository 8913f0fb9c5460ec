//! An established shared-memory connection: a channel, two bells and the control socket.

use std::os::fd::OwnedFd;
use std::time::Instant;

use busbar_proto::{CloseReason, Code, Error};
use busbar_shm::{Breach, Channel, Received, Wants};
use bytes::Bytes;

use crate::clock;
use crate::connection::{Connection, Terms};
use crate::inbox::Inbox;
use crate::link::{Interest, Link, LinkStats};
use crate::loan::{Lease, Loan};
use crate::peer::Peer;
use crate::reactor::{Reactor, Token, Watch};
use crate::transport::shm::control::Control;
use crate::transport::shm::from_shm;

pub(super) struct ShmConnection {
    channel: Channel,
    message_bytes_max: usize,
    /// Rung by the peer.
    bell: OwnedFd,
    peer_bell: OwnedFd,
    control: Control,
    /// Messages that were of no more use when they were to be received.
    stale: u64,
    /// The peer can add nothing any more.
    is_over: bool,
}

/// Looks in a row that bring nothing but stale messages, while the peer may go on adding such.
const STALE_LOOKS_MAX: usize = 16;

impl ShmConnection {
    pub(super) fn new(
        channel: Channel,
        message_bytes_max: usize,
        bell: OwnedFd,
        peer_bell: OwnedFd,
        control: Control,
    ) -> Self {
        Self { channel, message_bytes_max, bell, peer_bell, control, stale: 0, is_over: false }
    }

    /// Rings the peer's bell if the last operation calls for it.
    #[inline]
    fn ring(&mut self) {
        if self.channel.take_ring() {
            #[expect(clippy::host_endian_bytes, reason = "eventfd counts in host order")]
            let one = 1_u64.to_ne_bytes();
            // A full counter means that the bell has been rung already.
            let _ = rustix::io::write(&self.peer_bell, &one);
        }
    }

    /// One look at the ring: may bring nothing but stale messages, which are dropped.
    #[inline]
    fn receive_some(&mut self, inbox: &mut Inbox<'_>, max: usize) -> Result<(), Error> {
        let (before, max) = (inbox.len(), max.min(inbox.slots_left()));
        let mut space = inbox.space();
        let free = space.free.len();
        let stale = &mut self.stale;
        let used = self.channel.receive_dated(space.free, max, |channel, received, deadline| {
            let expires = deadline.map(clock::of_machine);
            if expires.is_some_and(|expires| expires <= clock::now()) {
                *stale += 1;
                return;
            }
            match received {
                Received::Inline { start, len } => space.slots.push_filled(channel, start, len),
                Received::Lease(lease) => space.slots.push_lease(channel, Lease::Chunk(lease)),
                Received::Owned(bytes) => {
                    space.slots.push_lease(channel, Lease::Bytes(Bytes::from(bytes)));
                }
            }
            if let Some(expires) = expires {
                space.slots.note_expiry(expires);
            }
        });
        self.ring();
        if inbox.len() > before {
            // What came before a breach lies somewhere in the free space: nothing may go there.
            inbox.advance(*used.as_ref().unwrap_or(&free));
        }
        used.map(|_| ()).map_err(breach)
    }

    /// The peer is gone, or nobody listens to it any more.
    fn end(&mut self) {
        self.channel.end();
        self.is_over = true;
    }

    fn check_size(&self, len: usize) -> Result<(), Error> {
        if len <= self.message_bytes_max {
            return Ok(());
        }
        let message = format!(
            "a message of {len} bytes exceeds the {} that both ends accept; raise maxMessageBytes",
            self.message_bytes_max
        );
        Err(Error::new(Code::MessageTooLarge, message))
    }
}

fn chunk_of(loan: Loan) -> Result<busbar_shm::Loan, Error> {
    if let Loan::Chunk(loan) = loan {
        return Ok(loan);
    }
    let message = "the loan comes from a pipe of another transport";
    Err(Error::new(Code::InvalidArgument, message))
}

fn breach(breach: Breach) -> Error {
    from_shm(busbar_shm::Error::Breach(breach))
}

impl Link for ShmConnection {
    #[inline]
    fn send_run(&mut self, run: &[u8]) -> Result<usize, Error> {
        let sent = self.channel.send_run(run).map_err(from_shm)?;
        self.ring();
        Ok(sent)
    }

    #[inline]
    fn send(&mut self, channel: u16, payload: &[u8]) -> Result<bool, Error> {
        self.check_size(payload.len())?;
        let sent = self.channel.send(channel, payload).map_err(from_shm)?;
        self.ring();
        Ok(sent)
    }

    fn abandon(&mut self) -> bool {
        self.channel.abandon()
    }

    fn loan(&mut self, len: usize) -> Result<Option<Loan>, Error> {
        self.check_size(len)?;
        Ok(self.channel.loan(len).map_err(from_shm)?.map(Loan::Chunk))
    }

    fn commit(&mut self, channel: u16, loan: Loan, len: usize) -> Result<Option<Loan>, Error> {
        let back = self.channel.commit(channel, chunk_of(loan)?, len).map_err(from_shm)?;
        self.ring();
        Ok(back.map(Loan::Chunk))
    }

    #[inline]
    fn receive(&mut self, inbox: &mut Inbox<'_>, max: usize) -> Result<(), Error> {
        let (before, mut stale) = (inbox.len(), self.stale);
        for look in 1.. {
            self.receive_some(inbox, max)?;
            if inbox.len() > before || self.stale == stale || !self.channel.is_readable() {
                break;
            }
            // Whoever gets nothing at the end takes that for all there is.
            if look >= STALE_LOOKS_MAX && !self.is_over {
                break;
            }
            stale = self.stale;
        }
        Ok(())
    }

    #[inline]
    fn is_readable(&mut self) -> bool {
        self.channel.is_readable()
    }

    fn is_writable(&mut self) -> bool {
        self.channel.is_writable()
    }

    fn park(&mut self, wants: Interest) -> bool {
        let data = if wants.readable { Wants::DATA } else { Wants::NOTHING };
        let space = if wants.writable { Wants::SPACE } else { Wants::NOTHING };
        self.channel.park(data.or(space))
    }

    fn unpark(&mut self) {
        self.channel.unpark();
    }

    fn collect(&mut self) {
        // The channel remembers a breach: the next send or receive reports it.
        let _ = self.channel.collect();
        self.ring();
    }

    fn stats(&self) -> LinkStats {
        let counters = self.channel.counters();
        LinkStats {
            messages_sent: counters.messages_sent,
            bytes_sent: counters.bytes_sent,
            messages_received: counters.messages_received,
            bytes_received: counters.bytes_received,
            loans_sent: counters.loans_sent,
            loans_received: counters.leases_received,
            fragmented: counters.fragmented,
            bells: counters.bells,
            parks: counters.parks,
            messages_expired: self.stale,
            ..LinkStats::default()
        }
    }
}

impl Connection for ShmConnection {
    fn register(&mut self, reactor: &Reactor, bell: Token) -> Result<(), Error> {
        reactor.add(&self.bell, bell, Watch::Readable)
    }

    fn deregister(&mut self, reactor: &Reactor) {
        // The peer holds a copy of the bell, so closing it would not do.
        reactor.remove(&self.bell);
        reactor.remove(&self.control);
    }

    fn handle_notice(&mut self) -> Option<CloseReason> {
        None
    }

    fn handle_control(&mut self) -> Result<Option<CloseReason>, Error> {
        let ended = self.control.poll_ended();
        if ended.is_some() {
            self.end();
        }
        Ok(ended)
    }

    fn work(&mut self) -> Result<Option<CloseReason>, Error> {
        if self.control.has_more() { self.handle_control() } else { Ok(None) }
    }

    fn has_work(&self) -> bool {
        self.control.has_more()
    }

    fn close(&mut self, reason: &CloseReason) {
        self.control.close(reason);
    }

    fn send_until(
        &mut self,
        channel: u16,
        payload: &Bytes,
        expires: Instant,
    ) -> Result<bool, Error> {
        self.check_size(payload.len())?;
        let deadline = clock::to_machine(clock::time(expires));
        let sent = self.channel.send_until(channel, payload, deadline).map_err(from_shm)?;
        self.ring();
        Ok(sent)
    }

    fn commit_until(
        &mut self,
        channel: u16,
        loan: Loan,
        len: usize,
        expires: Instant,
    ) -> Result<Option<Loan>, Error> {
        let loan = chunk_of(loan)?;
        let deadline = clock::to_machine(clock::time(expires));
        let back = self.channel.commit_until(channel, loan, len, deadline).map_err(from_shm)?;
        self.ring();
        Ok(back.map(Loan::Chunk))
    }

    fn owns(&self, loan: &Loan) -> bool {
        matches!(loan, Loan::Chunk(loan) if self.channel.owns(loan))
    }

    fn message_bytes_max(&self) -> u64 {
        self.message_bytes_max as u64
    }

    fn peer(&self) -> Option<Peer> {
        Some(self.control.peer().clone())
    }

    fn terms(&self) -> Terms {
        self.control.terms()
    }

    fn heard(&self) -> Option<u64> {
        Some(self.control.heard() + self.channel.counters().messages_received)
    }

    fn ping(&mut self) {
        self.control.ping();
    }

    fn sever(&mut self) {
        // Should it live after all, it learns that it was given up.
        self.control.close(&CloseReason::lost());
        self.end();
    }
}
