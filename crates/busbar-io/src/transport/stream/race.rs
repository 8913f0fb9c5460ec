//! Connecting to a host that has several addresses: Happy Eyeballs (RFC 8305).
//!
//! The addresses are tried in the resolver's order, the two families by turns. The next one is
//! tried as soon as one has failed, and after [`PAUSE`] even if none has; the first that answers is
//! taken, and the others are closed. So an address that swallows everything costs a pause, not a
//! timeout.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use busbar_proto::{Code, Error};

use super::handshake::connect_error;
use super::socket::Socket;
use crate::reactor::{Reactor, Token};

/// How long an address has to answer before the next is tried as well (RFC 8305 §5).
const PAUSE: Duration = Duration::from_millis(250);

/// Addresses that are tried at most. A name with more is not worth waiting for.
const ADDRESSES_MAX: usize = 16;

pub(super) struct Race {
    attempts: Vec<Attempt>,
    /// Those that were not tried yet, next first.
    others: VecDeque<SocketAddr>,
    /// When the next is tried, whatever becomes of those before.
    next_at: Option<Instant>,
    failure: Option<Error>,
    /// Addresses that have failed.
    failed: usize,
}

struct Attempt {
    address: SocketAddr,
    socket: Socket,
}

impl Race {
    /// Between these addresses, in the order in which the resolver prefers them.
    pub(super) fn new(addresses: VecDeque<SocketAddr>) -> Self {
        let others = by_turns(addresses);
        Self { attempts: Vec::new(), others, next_at: None, failure: None, failed: 0 }
    }

    /// Goes on as far as it can without waiting; returns the first socket that is connected. It
    /// stays registered.
    ///
    /// # Errors
    /// How the last address failed, if all have.
    pub(super) fn advance(
        &mut self,
        reactor: &Reactor,
        token: Token,
        now: Instant,
    ) -> Result<Option<Socket>, Error> {
        loop {
            if let Some(winner) = self.look(reactor, now) {
                self.deregister(reactor);
                self.attempts.clear();
                return Ok(Some(winner));
            }
            let is_due = self.attempts.is_empty() || self.next_at.is_some_and(|at| at <= now);
            let Some(address) = self.others.front().copied().filter(|_| is_due) else { break };
            self.others.pop_front();
            self.next_at = (!self.others.is_empty()).then_some(now + PAUSE);
            self.attempt(address, reactor, token, now);
        }
        if self.attempts.is_empty() { Err(self.all_failed()) } else { Ok(None) }
    }

    /// When [`Race::advance`] has something to do even if no socket has.
    pub(super) fn next_time(&self) -> Option<Instant> {
        self.next_at
    }

    pub(super) fn deregister(&mut self, reactor: &Reactor) {
        for attempt in &mut self.attempts {
            attempt.socket.deregister(reactor);
        }
    }

    fn attempt(&mut self, address: SocketAddr, reactor: &Reactor, token: Token, now: Instant) {
        let connected = mio::net::TcpStream::connect(address)
            .map_err(|error| connect_error(&address, error))
            .and_then(|stream| {
                let socket = Socket::tcp(stream);
                socket.register(reactor, token).map(|()| socket)
            });
        match connected {
            Ok(socket) => self.attempts.push(Attempt { address, socket }),
            Err(error) => self.fail(error, now),
        }
    }

    /// Takes the first socket that is connected, and lets go of those that never will be.
    fn look(&mut self, reactor: &Reactor, now: Instant) -> Option<Socket> {
        let mut index = 0;
        while let Some(Attempt { address, socket }) = self.attempts.get_mut(index) {
            let error = match socket.take_error() {
                Ok(None) if !socket.is_connected() => {
                    index += 1;
                    continue;
                }
                Ok(None) if !socket.is_its_own_peer() => {
                    return Some(self.attempts.remove(index).socket);
                }
                Ok(None) => nobody_but_itself(address),
                Ok(Some(error)) | Err(error) => connect_error(address, error),
            };
            socket.deregister(reactor);
            self.attempts.remove(index);
            self.fail(error, now);
        }
        None
    }

    /// An address has failed: the next has its turn at once.
    fn fail(&mut self, error: Error, now: Instant) {
        self.failed += 1;
        self.failure = Some(error);
        self.next_at = (!self.others.is_empty()).then_some(now);
    }

    fn all_failed(&mut self) -> Error {
        let nowhere = || Error::new(Code::NotFound, "the host has no address");
        let last = self.failure.take().unwrap_or_else(nowhere);
        if self.failed < 2 {
            return last;
        }
        let message = format!("{} addresses failed, the last: {}", self.failed, last.message());
        Error::new(last.code(), message).with_source(last)
    }
}

/// The addresses with the families by turns, each in its order, and that of the first address first
/// (RFC 8305 §4).
fn by_turns(addresses: VecDeque<SocketAddr>) -> VecDeque<SocketAddr> {
    let is_first_v6 = addresses.front().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == is_first_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let turns = std::iter::from_fn(|| Some([first.next(), second.next()]));
    let turns = turns.take_while(|turn| turn.iter().any(Option::is_some));
    turns.flatten().flatten().take(ADDRESSES_MAX).collect()
}

/// What comes of a port that nobody listens at being lent to the very socket that connects to it.
fn nobody_but_itself(address: &SocketAddr) -> Error {
    let message = format!("connecting to {address}: nobody listens there, the socket met itself");
    Error::new(Code::ConnectionRefused, message)
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
