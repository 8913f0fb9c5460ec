//! `inproc://` as the engine drives it: [`inproc`] pairs behind the engine's traits.

use std::task::{Context, Poll, Waker};
use std::time::Instant;

use busbar_proto::{CloseReason, Code, Error};
use bytes::Bytes;

use crate::connection::{Acceptor, Connection, Identity, Incoming, Terms};
use crate::endpoint::Endpoint;
use crate::inbox::Inbox;
use crate::link::{Interest, Link, LinkStats};
use crate::loan::Loan;
use crate::options::{ListenOptions, PipeOptions};
use crate::peer::Peer;
use crate::reactor::{Reactor, Token};
use crate::transport::inproc::{
    self, InprocLink, InprocListener, InprocOptions, InprocPair, QueueLimit,
};

pub(super) fn listen(
    name: &str,
    options: &ListenOptions,
    waker: &Waker,
) -> Result<Box<dyn Acceptor>, Error> {
    if options.authorize {
        let message = "peers at inproc:// are this process: there is nobody to authorize";
        return Err(Error::new(Code::InvalidArgument, message));
    }
    let backlog = options.backlog;
    let listener = inproc::bind_inproc(name, InprocOptions { backlog, ..limits(&options.pipe) })?;
    Ok(Box::new(LocalListener { listener, waker: waker.clone() }))
}

pub(super) fn dial(
    name: &str,
    options: &PipeOptions,
    identity: Identity,
    waker: &Waker,
) -> Result<Incoming, Error> {
    let pair = inproc::connect_inproc(name, limits(options))?;
    Ok(connected(pair, identity, waker))
}

fn connected(pair: InprocPair, identity: Identity, waker: &Waker) -> Incoming {
    let link = InprocLink::new(pair, waker.clone());
    let waker = waker.clone();
    Incoming::Connected(Box::new(LocalConnection { link, identity, waker, ended: false }))
}

fn limits(options: &PipeOptions) -> InprocOptions {
    let queue = options
        .queue_messages
        .map_or(QueueLimit::Unbounded, |messages| QueueLimit::Messages(messages.get()));
    InprocOptions {
        queue,
        message_bytes_max: options.message_bytes_max,
        ..InprocOptions::default()
    }
}

struct LocalListener {
    listener: InprocListener,
    waker: Waker,
}

impl Acceptor for LocalListener {
    fn register(&mut self, _: &Reactor, _: Token) -> Result<(), Error> {
        // The engine then asks for connections, which arms the waker.
        self.waker.wake_by_ref();
        Ok(())
    }

    fn deregister(&mut self, _: &Reactor) {
        self.listener.close();
    }

    fn accept(&mut self, waker: &Waker) -> Result<Option<Incoming>, Error> {
        match self.listener.poll_accept(&mut Context::from_waker(&self.waker)) {
            Poll::Ready(pair) => Ok(Some(connected(pair?, Identity::fresh()?, waker))),
            Poll::Pending => Ok(None),
        }
    }

    fn address(&self) -> String {
        Endpoint::Inproc(self.listener.name().to_owned()).to_string()
    }
}

struct LocalConnection {
    link: InprocLink,
    /// This end's own: nothing is exchanged before messages are.
    identity: Identity,
    waker: Waker,
    ended: bool,
}

impl Link for LocalConnection {
    #[inline]
    fn send_run(&mut self, run: &[u8]) -> Result<usize, Error> {
        self.link.send_run(run)
    }

    #[inline]
    fn send(&mut self, channel: u16, payload: &[u8]) -> Result<bool, Error> {
        self.link.send(channel, payload)
    }

    fn send_bytes(&mut self, channel: u16, payload: &Bytes) -> Result<bool, Error> {
        self.link.send_bytes(channel, payload)
    }

    fn abandon(&mut self) -> bool {
        self.link.abandon()
    }

    fn loan(&mut self, len: usize) -> Result<Option<Loan>, Error> {
        self.link.loan(len)
    }

    fn commit(&mut self, channel: u16, loan: Loan, len: usize) -> Result<Option<Loan>, Error> {
        self.link.commit(channel, loan, len)
    }

    #[inline]
    fn receive(&mut self, inbox: &mut Inbox<'_>, max: usize) -> Result<(), Error> {
        self.link.receive(inbox, max)
    }

    #[inline]
    fn is_readable(&mut self) -> bool {
        self.link.is_readable()
    }

    fn is_writable(&mut self) -> bool {
        self.link.is_writable()
    }

    fn park(&mut self, wants: Interest) -> bool {
        self.link.park(wants)
    }

    fn unpark(&mut self) {
        self.link.unpark();
    }

    fn collect(&mut self) {
        self.link.collect();
    }

    fn stats(&self) -> LinkStats {
        self.link.stats()
    }
}

impl Connection for LocalConnection {
    fn register(&mut self, _: &Reactor, _: Token) -> Result<(), Error> {
        // Messages are looked for when somebody waits for them; the close must be heard of always.
        if !self.link.watch_close() {
            self.waker.wake_by_ref();
        }
        Ok(())
    }

    fn deregister(&mut self, _: &Reactor) {
        self.link.unpark();
    }

    fn handle_notice(&mut self) -> Option<CloseReason> {
        if self.ended {
            return None;
        }
        let reason = self.link.close_reason()?.clone();
        self.ended = true;
        Some(reason)
    }

    fn handle_control(&mut self) -> Result<Option<CloseReason>, Error> {
        Ok(self.handle_notice())
    }

    fn close(&mut self, reason: &CloseReason) {
        self.ended = true;
        self.link.close(reason.clone());
    }

    fn send_until(
        &mut self,
        channel: u16,
        payload: &Bytes,
        expires: Instant,
    ) -> Result<bool, Error> {
        self.link.send_shared(channel, payload, Some(expires))
    }

    fn commit_until(
        &mut self,
        channel: u16,
        loan: Loan,
        len: usize,
        expires: Instant,
    ) -> Result<Option<Loan>, Error> {
        self.link.commit_shared(channel, loan, len, Some(expires))
    }

    fn message_bytes_max(&self) -> u64 {
        self.link.message_bytes_max()
    }

    fn peer(&self) -> Option<Peer> {
        None
    }

    fn terms(&self) -> Terms {
        Terms { identity: Some(self.identity), ..Terms::default() }
    }
}
