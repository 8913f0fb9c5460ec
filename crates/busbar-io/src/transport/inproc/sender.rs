//! The sending half of one direction: counts against the limits, pushes, wakes the reader.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;

use busbar_proto::{CloseReason, Code, Error};

use super::blocking::block_on;
use super::lane::Lane;
use super::options::{InprocOptions, QueueLimit};
use super::queue::{Item, Message, Producer};

/// Sends messages of one direction. Dropping it closes the direction: the receiver still gets
/// what was sent.
pub struct InprocSender {
    lane: Arc<Lane>,
    queue: Producer,
    limits: Limits,
    sent_messages: u64,
    sent_bytes: u64,
    /// `Lane::taken` when last looked at.
    taken_messages: u64,
    taken_bytes: u64,
    wakes: u64,
    parks: u64,
}

impl InprocSender {
    pub(super) fn new(lane: Arc<Lane>, queue: Producer, limits: Limits) -> Self {
        Self {
            lane,
            queue,
            limits,
            sent_messages: 0,
            sent_bytes: 0,
            taken_messages: 0,
            taken_bytes: 0,
            wakes: 0,
            parks: 0,
        }
    }

    /// Hands `payload` over if there is room.
    ///
    /// # Errors
    /// The payload comes back with each: [`TrySendError::Full`] (retryable),
    /// [`TrySendError::TooLarge`], [`TrySendError::Closed`].
    #[inline]
    pub fn try_send(&mut self, payload: Bytes) -> Result<(), TrySendError> {
        self.offer(0, payload, None)?;
        self.publish();
        Ok(())
    }

    /// Hands over messages from the front of `payloads` while there is room, and says how many.
    /// The reader is woken once for all of them.
    ///
    /// # Errors
    /// `Closed`, or `MessageTooLarge` if the message now at the front is; those before it are sent.
    pub fn try_send_batch(&mut self, payloads: &mut VecDeque<Bytes>) -> Result<usize, Error> {
        let mut count = 0;
        let mut outcome = Ok(());
        while let Some(payload) = payloads.front_mut() {
            match self.offer(0, mem::take(payload), None) {
                Ok(()) => {
                    payloads.pop_front();
                    count += 1;
                }
                Err(TrySendError::Full(back)) => {
                    *payload = back;
                    break;
                }
                Err(TrySendError::Closed(back)) => {
                    *payload = back;
                    outcome = Err(self.closed_error());
                    break;
                }
                Err(TrySendError::TooLarge(back)) => {
                    outcome = Err(self.too_large(back.len()));
                    *payload = back;
                    break;
                }
            }
        }
        if count > 0 {
            self.publish();
        }
        outcome.map(|()| count)
    }

    /// Sends `payload` once there is room and leaves it empty, or leaves it as it is.
    ///
    /// # Errors
    /// `Closed`, `MessageTooLarge`.
    pub fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        payload: &mut Bytes,
    ) -> Poll<Result<(), Error>> {
        // The second look follows the arming: see `wake`.
        for armed in [false, true] {
            match self.try_send(mem::take(payload)) {
                Ok(()) => {
                    if armed {
                        self.lane.writer.disarm();
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(error) => {
                    let full = matches!(error, TrySendError::Full(_));
                    let reason = (!full).then(|| self.describe(&error));
                    *payload = error.into_bytes();
                    if let Some(reason) = reason {
                        return Poll::Ready(Err(reason));
                    }
                }
            }
            if !armed {
                self.lane.writer.arm(context.waker());
            }
        }
        self.parks += 1;
        Poll::Pending
    }

    /// Sends `payload`, waiting for room.
    ///
    /// # Errors
    /// `Closed`, `MessageTooLarge`.
    ///
    /// # Cancel safety
    /// A dropped future has sent nothing, and the payload is dropped with it.
    pub async fn send(&mut self, mut payload: Bytes) -> Result<(), Error> {
        poll_fn(|context| self.poll_send(context, &mut payload)).await
    }

    /// Sends `payload`, parking the thread until there is room.
    ///
    /// # Errors
    /// `TimedOut`, `Closed`, `MessageTooLarge`.
    pub fn send_blocking(
        &mut self,
        mut payload: Bytes,
        timeout: Option<Duration>,
    ) -> Result<(), Error> {
        block_on(timeout, |context| self.poll_send(context, &mut payload)).unwrap_or_else(|| {
            self.lane.writer.disarm();
            Err(Error::new(Code::TimedOut, "the inproc queue stayed full for the whole timeout"))
        })
    }

    /// Closes this direction. What was sent is still received; only the first close counts.
    pub fn close(&mut self, reason: CloseReason) {
        self.lane.sender_closed.close(reason);
        self.wakes += u64::from(self.lane.reader.wake());
        self.wakes += u64::from(self.lane.end.wake());
    }

    /// Why the receiving half closed, once it has.
    #[must_use]
    pub fn close_reason(&self) -> Option<&CloseReason> {
        self.lane.receiver_closed.reason()
    }

    /// Puts one message into the queue without telling the reader: [`InprocSender::publish`] does.
    /// It `expires` as [`Message`] has it.
    #[inline]
    pub(super) fn offer(
        &mut self,
        channel: u16,
        payload: Bytes,
        expires: Option<NonZeroU64>,
    ) -> Result<(), TrySendError> {
        if payload.len() as u64 > self.limits.message_bytes {
            return Err(TrySendError::TooLarge(payload));
        }
        if self.is_closed() {
            return Err(TrySendError::Closed(payload));
        }
        if !self.has_room(payload.len() as u64) {
            return Err(TrySendError::Full(payload));
        }
        self.sent_messages += 1;
        self.sent_bytes += payload.len() as u64;
        self.queue.push(Item::Message(Message { channel, payload, expires }));
        Ok(())
    }

    /// Puts a run of `messages` records with `bytes` of payload into the queue. The caller has
    /// asked [`InprocSender::room`] and publishes.
    pub(super) fn push_run(&mut self, run: Bytes, messages: u64, bytes: u64) {
        self.sent_messages += messages;
        self.sent_bytes += bytes;
        self.queue.push(Item::Run(run));
    }

    /// Makes everything offered visible, and wakes the reader if it sleeps.
    #[inline]
    pub(super) fn publish(&mut self) {
        self.lane.published.store(self.sent_messages, self.sent_bytes);
        self.wakes += u64::from(self.lane.reader.wake());
    }

    /// Whether a message of `len` bytes fits the queue now.
    #[inline]
    pub(super) fn has_room(&mut self, len: u64) -> bool {
        self.fits(len) || {
            (self.taken_messages, self.taken_bytes) = self.lane.taken.load();
            self.fits(len)
        }
    }

    /// Messages and bytes that the queue takes now; a first message may exceed the bytes.
    pub(super) fn room(&mut self) -> Room {
        (self.taken_messages, self.taken_bytes) = self.lane.taken.load();
        let queued = self.sent_bytes - self.taken_bytes;
        Room {
            messages: self.limits.messages - (self.sent_messages - self.taken_messages),
            bytes: self.limits.bytes.saturating_sub(queued),
            empty: queued == 0,
        }
    }

    /// Asks for a wake-up when a message of `len` bytes fits; `false` if it does already.
    pub(super) fn park(&mut self, waker: &Waker, len: u64) -> bool {
        self.lane.writer.arm(waker);
        if self.is_closed() || self.has_room(len) {
            self.lane.writer.disarm();
            return false;
        }
        self.parks += 1;
        true
    }

    pub(super) fn unpark(&self) {
        self.lane.writer.disarm();
    }

    /// Whether either half of this direction is closed.
    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        self.lane.receiver_closed.is_closed() || self.lane.sender_closed.is_closed()
    }

    pub(super) fn closed_error(&self) -> Error {
        match self.close_reason() {
            Some(reason) => peer_closed(reason),
            None => Error::new(Code::Closed, "this end of the inproc connection was closed"),
        }
    }

    pub(super) fn too_large(&self, len: usize) -> Error {
        Error::new(
            Code::MessageTooLarge,
            format!(
                "the message has {len} bytes, at most {} are allowed",
                self.message_bytes_max()
            ),
        )
    }

    pub(super) fn message_bytes_max(&self) -> u64 {
        self.limits.message_bytes
    }

    pub(super) fn lane(&self) -> &Lane {
        &self.lane
    }

    pub(super) fn wakes(&self) -> u64 {
        self.wakes
    }

    pub(super) fn parks(&self) -> u64 {
        self.parks
    }

    #[inline]
    fn fits(&self, len: u64) -> bool {
        let queued = self.sent_bytes - self.taken_bytes;
        self.sent_messages - self.taken_messages < self.limits.messages
            && (queued == 0 || queued + len <= self.limits.bytes)
    }

    fn describe(&self, error: &TrySendError) -> Error {
        match error {
            TrySendError::Full(_) => Error::new(Code::Again, "the inproc queue is full"),
            TrySendError::Closed(_) => self.closed_error(),
            TrySendError::TooLarge(payload) => self.too_large(payload.len()),
        }
    }
}

impl Drop for InprocSender {
    fn drop(&mut self) {
        self.close(CloseReason::default());
    }
}

impl fmt::Debug for InprocSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InprocSender").field("lane", &self.lane).finish_non_exhaustive()
    }
}

/// Why a payload was not taken, and the payload.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrySendError {
    /// One of the halves of this direction is closed.
    Closed(Bytes),
    /// There is no room now. Retryable.
    Full(Bytes),
    /// The payload exceeds the limit for a message.
    TooLarge(Bytes),
}

impl TrySendError {
    /// The code that this failure has as an [`Error`].
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Closed(_) => Code::Closed,
            Self::Full(_) => Code::Again,
            Self::TooLarge(_) => Code::MessageTooLarge,
        }
    }

    /// The payload.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Closed(payload) | Self::Full(payload) | Self::TooLarge(payload) => payload,
        }
    }
}

impl fmt::Display for TrySendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed(_) => "the inproc connection is closed",
            Self::Full(_) => "the inproc queue is full",
            Self::TooLarge(_) => "the message exceeds the limit of the inproc connection",
        })
    }
}

impl std::error::Error for TrySendError {}

impl From<TrySendError> for Error {
    fn from(error: TrySendError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

/// Limits of one direction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    messages: u64,
    bytes: u64,
    message_bytes: u64,
}

impl Limits {
    /// What holds for the messages from `sender` to `receiver`.
    pub(super) fn between(sender: &InprocOptions, receiver: &InprocOptions) -> Self {
        let message_bytes = sender.message_bytes_max.min(receiver.message_bytes_max) as u64;
        match sender.queue {
            QueueLimit::Messages(messages) => Self {
                messages: messages as u64,
                bytes: sender.queue_bytes_max as u64,
                message_bytes,
            },
            QueueLimit::Unbounded => Self { messages: u64::MAX, bytes: u64::MAX, message_bytes },
        }
    }
}

/// What [`InprocSender::room`] found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    messages: u64,
    bytes: u64,
    empty: bool,
}

impl Room {
    /// Takes the place of one message; `false` if there is none.
    #[inline]
    pub(super) fn take(&mut self, len: u64) -> bool {
        if self.messages == 0 || (self.bytes < len && !self.empty) {
            return false;
        }
        self.messages -= 1;
        self.bytes = self.bytes.saturating_sub(len);
        self.empty &= len == 0;
        true
    }
}

/// The error for an operation on a connection that the other side closed.
pub(super) fn peer_closed(reason: &CloseReason) -> Error {
    let said = if reason.text.is_empty() { String::new() } else { format!(": {}", reason.text) };
    Error::new(Code::Closed, format!("the peer closed the inproc connection{said}"))
}
