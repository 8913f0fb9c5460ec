//! The receiving half of one direction: pops, counts what was handed out, wakes the writer.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;

use busbar_proto::{CloseReason, Code, Error};
use busbar_shm::record::records;

use super::blocking::block_on;
use super::lane::Lane;
use super::queue::{Consumer, Item, Message};
use super::sender::peer_closed;

/// Receives messages of one direction. Dropping it closes the direction: what is still queued is
/// dropped, and the sender learns that nobody reads any more.
pub struct InprocReceiver {
    lane: Arc<Lane>,
    queue: Consumer,
    /// The rest of a run that was popped; records to come, or empty.
    run: Bytes,
    /// A message that was popped and found no room with the caller.
    held: Option<Message>,
    taken_messages: u64,
    taken_bytes: u64,
    /// Messages that were of no more use when they were to be received.
    stale: u64,
    wakes: u64,
    parks: u64,
}

impl InprocReceiver {
    pub(super) fn new(lane: Arc<Lane>, queue: Consumer) -> Self {
        Self {
            lane,
            queue,
            run: Bytes::new(),
            held: None,
            taken_messages: 0,
            taken_bytes: 0,
            stale: 0,
            wakes: 0,
            parks: 0,
        }
    }

    /// The next message, or `None` if there is none yet.
    ///
    /// # Errors
    /// `Closed` once the sending half is closed and everything it sent was received, or this half
    /// is closed.
    #[inline]
    pub fn try_recv(&mut self) -> Result<Option<Bytes>, Error> {
        if let Some(message) = self.next() {
            self.settle();
            return Ok(Some(message.payload));
        }
        self.at_end()?;
        Ok(None)
    }

    /// Appends up to `max` messages to `out` and says how many. The sender learns once about the
    /// room of all of them.
    ///
    /// # Errors
    /// As [`InprocReceiver::try_recv`].
    pub fn try_recv_batch(&mut self, out: &mut Vec<Bytes>, max: usize) -> Result<usize, Error> {
        let mut count = 0;
        while count < max
            && let Some(message) = self.next()
        {
            out.push(message.payload);
            count += 1;
        }
        if count > 0 {
            self.settle();
        } else if max > 0 {
            self.at_end()?;
        }
        Ok(count)
    }

    /// The next message, once there is one.
    ///
    /// # Errors
    /// As [`InprocReceiver::try_recv`].
    pub fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Result<Bytes, Error>> {
        loop {
            if let Some(outcome) = self.try_recv().transpose() {
                return Poll::Ready(outcome);
            }
            if self.park(context.waker()) {
                return Poll::Pending;
            }
        }
    }

    /// The next message.
    ///
    /// # Errors
    /// As [`InprocReceiver::try_recv`].
    ///
    /// # Cancel safety
    /// A dropped future has received nothing; the next call gets the message.
    pub async fn recv(&mut self) -> Result<Bytes, Error> {
        poll_fn(|context| self.poll_recv(context)).await
    }

    /// The next message, parking the thread until there is one.
    ///
    /// # Errors
    /// `TimedOut`, and as [`InprocReceiver::try_recv`].
    pub fn recv_blocking(&mut self, timeout: Option<Duration>) -> Result<Bytes, Error> {
        block_on(timeout, |context| self.poll_recv(context)).unwrap_or_else(|| {
            self.lane.reader.disarm();
            Err(Error::new(Code::TimedOut, "no inproc message came within the timeout"))
        })
    }

    /// Closes this direction: nothing more is received, and sends fail. Only the first close
    /// counts.
    pub fn close(&mut self, reason: CloseReason) {
        self.lane.receiver_closed.close(reason);
        self.wakes += u64::from(self.lane.writer.wake());
        self.discard();
    }

    /// Why the sending half closed, once it has; messages may still be waiting.
    #[must_use]
    pub fn close_reason(&self) -> Option<&CloseReason> {
        self.lane.sender_closed.reason()
    }

    /// What [`InprocReceiver::front`] found first in the queue.
    #[inline]
    pub(super) fn front(&mut self) -> Option<Front<'_>> {
        if self.lane.receiver_closed.is_closed() {
            return None;
        }
        if let Some(stale) = self.held.take_if(|held| held.is_stale()) {
            self.drop_stale(&stale);
        }
        while self.run.is_empty() && self.held.is_none() {
            match self.queue.pop()? {
                Item::Message(message) if message.is_stale() => self.drop_stale(&message),
                Item::Message(message) => self.held = Some(message),
                Item::Run(run) => self.run = run,
            }
        }
        Some(if self.held.is_some() { Front::Message } else { Front::Run(&self.run) })
    }

    /// The message that [`InprocReceiver::front`] showed, even if it has expired since.
    pub(super) fn shown(&self) -> Option<&Message> {
        self.held.as_ref()
    }

    /// Takes the message that [`InprocReceiver::front`] showed.
    pub(super) fn take_message(&mut self) -> Option<Message> {
        let message = self.held.take()?;
        self.count(1, message.payload.len());
        Some(message)
    }

    /// Drops `run_bytes` from the run that [`InprocReceiver::front`] showed: `messages` records
    /// with `bytes` of payload.
    pub(super) fn take_records(&mut self, run_bytes: usize, messages: usize, bytes: usize) {
        if run_bytes == self.run.len() {
            // The arena can be reused only when nothing refers to it, not even an empty slice.
            self.run = Bytes::new();
        } else {
            drop(self.run.split_to(run_bytes));
        }
        self.count(messages as u64, bytes);
    }

    /// Tells the sender what was taken, and wakes it if it waits for room.
    #[inline]
    pub(super) fn settle(&mut self) {
        self.lane.taken.store(self.taken_messages, self.taken_bytes);
        self.wakes += u64::from(self.lane.writer.wake());
    }

    /// Whether `try_recv` would return something else than `Ok(None)`.
    pub(super) fn is_ready(&self) -> bool {
        self.lane.sender_closed.is_closed()
            || self.lane.receiver_closed.is_closed()
            || self.lane.published.load().0 != self.taken_messages
    }

    /// Asks for a wake-up when there is something to receive; `false` if there is already.
    pub(super) fn park(&mut self, waker: &Waker) -> bool {
        self.lane.reader.arm(waker);
        if self.is_ready() {
            self.lane.reader.disarm();
            return false;
        }
        self.parks += 1;
        true
    }

    /// Asks for a wake-up when the sending half closes, whatever else is asked for meanwhile;
    /// `false` if it is closed already.
    pub(super) fn watch_close(&self, waker: &Waker) -> bool {
        self.lane.end.arm(waker);
        !self.lane.sender_closed.is_closed()
    }

    pub(super) fn unpark(&self) {
        self.lane.reader.disarm();
    }

    /// To be asked when nothing was found.
    ///
    /// # Errors
    /// `Closed` when nothing will come.
    pub(super) fn at_end(&mut self) -> Result<(), Error> {
        if self.lane.receiver_closed.is_closed() {
            return Err(Error::new(Code::Closed, "this end of the inproc connection was closed"));
        }
        // The flag is read before the count: what was sent before the close is then in the count.
        match self.lane.sender_closed.reason() {
            Some(reason) if self.lane.published.load().0 == self.taken_messages => {
                Err(peer_closed(reason))
            }
            _ => Ok(()),
        }
    }

    /// Messages that were dropped because they were of no more use.
    pub(super) fn stale(&self) -> u64 {
        self.stale
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
    fn next(&mut self) -> Option<Message> {
        if self.lane.receiver_closed.is_closed() {
            return None;
        }
        while self.run.is_empty() && self.held.is_none() {
            match self.queue.pop()? {
                Item::Message(message) if message.is_stale() => self.drop_stale(&message),
                Item::Message(message) => {
                    self.count(1, message.payload.len());
                    return Some(message);
                }
                Item::Run(run) => self.run = run,
            }
        }
        self.next_held()
    }

    #[cold]
    fn next_held(&mut self) -> Option<Message> {
        match self.held.take_if(|held| held.is_stale()) {
            Some(stale) => {
                self.drop_stale(&stale);
                return self.next();
            }
            None if self.held.is_some() => return self.take_message(),
            None => {}
        }
        let (header, start) = records(&self.run).next()?;
        let payload = self.run.slice(start..start + header.length as usize);
        self.take_records(header.stride(), 1, payload.len());
        Some(Message { channel: header.channel, payload, expires: None })
    }

    #[inline]
    fn count(&mut self, messages: u64, bytes: usize) {
        self.taken_messages += messages;
        self.taken_bytes += bytes as u64;
    }

    /// Frees what is queued now. What a sender pushes at this moment goes with the queue.
    /// Drops a message that is of no more use. There is room for another.
    #[cold]
    fn drop_stale(&mut self, message: &Message) {
        self.stale += 1;
        self.count(1, message.payload.len());
        self.settle();
    }

    fn discard(&mut self) {
        self.held = None;
        self.run = Bytes::new();
        while self.queue.pop().is_some() {}
    }
}

impl Drop for InprocReceiver {
    fn drop(&mut self) {
        self.close(CloseReason::default());
    }
}

impl fmt::Debug for InprocReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InprocReceiver").field("lane", &self.lane).finish_non_exhaustive()
    }
}

/// The head of the queue.
pub(super) enum Front<'a> {
    /// See [`InprocReceiver::shown`].
    Message,
    /// Whole records, at least one.
    Run(&'a Bytes),
}
