//! One end of an in-process connection: a sender and a receiver under one name.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use busbar_proto::{CloseReason, Error};

use super::lane::Lane;
use super::options::InprocOptions;
use super::queue::queue;
use super::receiver::InprocReceiver;
use super::sender::{InprocSender, Limits, TrySendError};
use super::stats::{InprocPairStats, Ledger};

/// One end of an in-process connection. Payloads are handed over by reference count: the `Bytes`
/// that come out are the `Bytes` that went in, whatever their size.
///
/// Dropping it closes both directions; the peer still receives what was sent, then learns of the
/// close.
///
/// ```
/// # use busbar_io::transport::inproc::{InprocOptions, bind_inproc, connect_inproc};
/// # use bytes::Bytes;
/// let options = InprocOptions::DEFAULT;
/// let mut listener = bind_inproc("doc-pair", options)?;
/// let mut client = connect_inproc("doc-pair", options)?;
/// let mut server = listener.accept_blocking(None)?;
/// client.try_send(Bytes::from_static(b"hello")).map_err(|e| e.to_string())?;
/// assert_eq!(server.recv_blocking(None)?, "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct InprocPair {
    pub(super) sender: InprocSender,
    pub(super) receiver: InprocReceiver,
    name: Arc<str>,
}

/// [`InprocPair`] under the name of the socket pattern it implements.
pub type InprocPairSocket = InprocPair;

impl InprocPair {
    /// Two ends connected to each other, without a name.
    ///
    /// # Errors
    /// `InvalidArgument` if a limit is out of range.
    pub fn connected(options: InprocOptions) -> Result<(Self, Self), Error> {
        options.validate()?;
        Ok(Self::between(&Arc::from(""), [&options, &options], [None, None]))
    }

    /// The two ends of a connection, the one with the first options first. Each ledger is for what
    /// the end in its place sends.
    pub(super) fn between(
        name: &Arc<str>,
        options: [&InprocOptions; 2],
        ledgers: [Option<Arc<Ledger>>; 2],
    ) -> (Self, Self) {
        let [first, second] = options;
        let [first_ledger, second_ledger] = ledgers;
        let (there, here) = direction(first, second, first_ledger);
        let (back, home) = direction(second, first, second_ledger);
        let end = |sender, receiver| Self { sender, receiver, name: Arc::clone(name) };
        (end(there, home), end(back, here))
    }

    /// The name that the connection was made through.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// See [`InprocSender::try_send`].
    ///
    /// # Errors
    /// [`TrySendError`], which holds the payload.
    #[inline]
    pub fn try_send(&mut self, payload: Bytes) -> Result<(), TrySendError> {
        self.sender.try_send(payload)
    }

    /// See [`InprocSender::try_send_batch`].
    ///
    /// # Errors
    /// `Closed`, `MessageTooLarge`.
    pub fn try_send_batch(&mut self, payloads: &mut VecDeque<Bytes>) -> Result<usize, Error> {
        self.sender.try_send_batch(payloads)
    }

    /// See [`InprocSender::poll_send`].
    ///
    /// # Errors
    /// `Closed`, `MessageTooLarge`.
    pub fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        payload: &mut Bytes,
    ) -> Poll<Result<(), Error>> {
        self.sender.poll_send(context, payload)
    }

    /// Sends `payload`, waiting for room.
    ///
    /// # Errors
    /// `Closed`, `MessageTooLarge`.
    ///
    /// # Cancel safety
    /// As [`InprocSender::send`].
    pub async fn send(&mut self, payload: Bytes) -> Result<(), Error> {
        self.sender.send(payload).await
    }

    /// Sends `payload`, parking the thread until there is room.
    ///
    /// # Errors
    /// `TimedOut`, `Closed`, `MessageTooLarge`.
    pub fn send_blocking(
        &mut self,
        payload: Bytes,
        timeout: Option<Duration>,
    ) -> Result<(), Error> {
        self.sender.send_blocking(payload, timeout)
    }

    /// See [`InprocReceiver::try_recv`].
    ///
    /// # Errors
    /// `Closed`.
    #[inline]
    pub fn try_recv(&mut self) -> Result<Option<Bytes>, Error> {
        self.receiver.try_recv()
    }

    /// See [`InprocReceiver::try_recv_batch`].
    ///
    /// # Errors
    /// `Closed`.
    pub fn try_recv_batch(&mut self, out: &mut Vec<Bytes>, max: usize) -> Result<usize, Error> {
        self.receiver.try_recv_batch(out, max)
    }

    /// See [`InprocReceiver::poll_recv`].
    ///
    /// # Errors
    /// `Closed`.
    pub fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Result<Bytes, Error>> {
        self.receiver.poll_recv(context)
    }

    /// The next message.
    ///
    /// # Errors
    /// `Closed`.
    ///
    /// # Cancel safety
    /// As [`InprocReceiver::recv`].
    pub async fn recv(&mut self) -> Result<Bytes, Error> {
        self.receiver.recv().await
    }

    /// The next message, parking the thread until there is one.
    ///
    /// # Errors
    /// `TimedOut`, `Closed`.
    pub fn recv_blocking(&mut self, timeout: Option<Duration>) -> Result<Bytes, Error> {
        self.receiver.recv_blocking(timeout)
    }

    /// Closes both directions. The peer still receives what was sent, then `reason`; what waits
    /// to be received here is dropped.
    pub fn close(&mut self, reason: CloseReason) {
        self.sender.close(reason.clone());
        self.receiver.close(reason);
    }

    /// Why the peer closed, once it has; messages may still be waiting.
    #[must_use]
    pub fn close_reason(&self) -> Option<&CloseReason> {
        self.receiver.close_reason()
    }

    /// The two halves, for use in two places at once.
    #[must_use]
    pub fn split(self) -> (InprocSender, InprocReceiver) {
        (self.sender, self.receiver)
    }

    /// What this end has done so far.
    #[must_use]
    pub fn stats(&self) -> InprocPairStats {
        InprocPairStats {
            outgoing: self.sender.lane().stats(),
            incoming: self.receiver.lane().stats(),
            wakes: self.sender.wakes() + self.receiver.wakes(),
            parks: self.sender.parks() + self.receiver.parks(),
            bytes_copied: 0,
        }
    }
}

fn direction(
    from: &InprocOptions,
    to: &InprocOptions,
    ledger: Option<Arc<Ledger>>,
) -> (InprocSender, InprocReceiver) {
    let lane = Lane::new(ledger);
    let (producer, consumer) = queue(from.queue);
    (
        InprocSender::new(Arc::clone(&lane), producer, Limits::between(from, to)),
        InprocReceiver::new(lane, consumer),
    )
}
