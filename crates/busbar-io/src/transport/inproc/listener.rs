//! The accept queue of a bound name, and the end of it that listens.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::task::{Context, Poll};
use std::time::Duration;

use crossbeam_queue::ArrayQueue;

use busbar_proto::{Code, Error};

use super::blocking::block_on;
use super::options::InprocOptions;
use super::pair::InprocPair;
use super::registry;
use super::stats::{InprocStats, Ledger};
use super::wake::WakeSlot;

/// Accepts the connections made to a name. Dropping it frees the name and closes the connections
/// that were not accepted; accepted ones live on.
pub struct InprocListener {
    binding: Arc<Binding>,
}

impl InprocListener {
    pub(super) fn new(binding: Arc<Binding>) -> Self {
        Self { binding }
    }

    /// The bound name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.binding.name
    }

    /// The next connection, or `None` if there is none yet.
    ///
    /// # Errors
    /// `Closed` once the name was unbound.
    pub fn try_accept(&mut self) -> Result<Option<InprocPair>, Error> {
        match self.binding.waiting.pop() {
            Some(pair) => Ok(Some(pair)),
            None if self.binding.is_closed() => {
                Err(Error::new(Code::Closed, format!("inproc://{} was unbound", self.name())))
            }
            None => Ok(None),
        }
    }

    /// The next connection, once there is one.
    ///
    /// # Errors
    /// `Closed` once the name was unbound.
    pub fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<Result<InprocPair, Error>> {
        if let Some(outcome) = self.try_accept().transpose() {
            return Poll::Ready(outcome);
        }
        self.binding.acceptor.arm(context.waker());
        // SYNC POINT: inproc-accept
        fence(Ordering::SeqCst);
        match self.try_accept().transpose() {
            Some(outcome) => {
                self.binding.acceptor.disarm();
                Poll::Ready(outcome)
            }
            None => Poll::Pending,
        }
    }

    /// The next connection.
    ///
    /// # Errors
    /// `Closed` once the name was unbound.
    ///
    /// # Cancel safety
    /// A dropped future has accepted nothing.
    pub async fn accept(&mut self) -> Result<InprocPair, Error> {
        poll_fn(|context| self.poll_accept(context)).await
    }

    /// The next connection, parking the thread until there is one.
    ///
    /// # Errors
    /// `TimedOut`, and `Closed` once the name was unbound.
    pub fn accept_blocking(&mut self, timeout: Option<Duration>) -> Result<InprocPair, Error> {
        block_on(timeout, |context| self.poll_accept(context)).unwrap_or_else(|| {
            self.binding.acceptor.disarm();
            Err(Error::new(Code::TimedOut, "nobody connected within the timeout"))
        })
    }

    /// The traffic of all connections made so far.
    #[must_use]
    pub fn stats(&self) -> InprocStats {
        self.binding.stats()
    }

    /// Frees the name, as dropping does.
    pub fn close(&mut self) {
        registry::release(&self.binding);
    }
}

impl Drop for InprocListener {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for InprocListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InprocListener").field("name", &self.name()).finish_non_exhaustive()
    }
}

/// What the namespace holds for a name; shared by the listener and those who connect.
pub(super) struct Binding {
    name: Arc<str>,
    options: InprocOptions,
    waiting: ArrayQueue<InprocPair>,
    /// Where the listener waits for connections.
    acceptor: WakeSlot,
    /// Raised once, by the listener or by unbinding.
    closed: AtomicBool,
    from_clients: Arc<Ledger>,
    to_clients: Arc<Ledger>,
}

impl Binding {
    pub(super) fn new(name: &str, options: InprocOptions) -> Self {
        Self {
            name: Arc::from(name),
            options,
            waiting: ArrayQueue::new(options.backlog),
            acceptor: WakeSlot::default(),
            closed: AtomicBool::new(false),
            from_clients: Arc::default(),
            to_clients: Arc::default(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Makes a connection and queues the listener's end of it.
    ///
    /// # Errors
    /// `ConnectionRefused` (retryable) when the accept queue is full or the listener just left.
    pub(super) fn connect(&self, options: &InprocOptions) -> Result<InprocPair, Error> {
        let ledgers = [&self.from_clients, &self.to_clients].map(|l| Some(Arc::clone(l)));
        let (client, server) = InprocPair::between(&self.name, [options, &self.options], ledgers);
        let refuse = |why| {
            let message = format!("inproc://{} refused the connection: {why}", self.name);
            Err(Error::new(Code::ConnectionRefused, message))
        };
        if self.waiting.push(server).is_err() {
            return refuse("its accept queue is full");
        }
        // SYNC POINT: inproc-accept. Push, fence, look at the flag here; flag, fence, empty the
        // queue there: one of the two sees the other, so that no connection is left behind.
        fence(Ordering::SeqCst);
        if self.is_closed() {
            while self.waiting.pop().is_some() {}
            return refuse("its listener is closing");
        }
        self.acceptor.wake();
        Ok(client)
    }

    /// Ends accepting; connections that wait are closed.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        // SYNC POINT: inproc-accept
        fence(Ordering::SeqCst);
        while self.waiting.pop().is_some() {}
        self.acceptor.wake();
    }

    pub(super) fn stats(&self) -> InprocStats {
        let (connections, from_clients) = self.from_clients.sum();
        let (_, to_clients) = self.to_clients.sum();
        InprocStats { connections, pending: self.waiting.len(), from_clients, to_clients }
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }
}
