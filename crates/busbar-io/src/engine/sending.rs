//! The queue in front of a link: what waits there, and how it goes on.
//!
//! A message that the link refuses stays in the queue, where it can still be overtaken, dropped or
//! expire. Only a large one, of which the link may have sent a part, is taken out.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use busbar_proto::qos::{Admission, ChannelOptions, Queue, Terms};
use busbar_proto::{Code, Error};
use busbar_shm::record::{INLINE_MAX, Kind, records};
use bytes::Bytes;

use crate::clock;
use crate::connection::Connection;
use crate::inbox::ANNOUNCEMENTS;
use crate::loan::Loan;
use crate::qos::{QosStats, SendOptions, SendingQos, Sent, Throttles};

/// The lane of messages that are sent outside a session, one by one: no message has this channel.
const ONCE: u16 = ANNOUNCEMENTS;

pub(super) struct Sending {
    queue: Queue<Outbound>,
    throttles: Throttles,
    /// What a new connection has to be told before anything else, even before a message that was
    /// begun on the one before.
    ahead: VecDeque<Outbound>,
    /// A message of which the link may have sent a part.
    begun: Option<Outbound>,
    /// Whether the link has refused a message since it was last asked whether it is writable.
    pub(super) is_blocked: bool,
    /// When the throttles let the next message pass.
    resume_at: Option<Duration>,
    /// Whether somebody waits for the queue to be empty.
    pub(super) is_draining: bool,
    /// What the link has said of itself when a message was queued already.
    failure: Option<Error>,
    lost: u64,
}

struct Outbound {
    channel: u16,
    payload: Payload,
    /// When it is of no more use, once it is offered.
    expires: Option<Instant>,
    /// Whether it goes outside the session, whatever holds for its channel.
    is_once: bool,
}

enum Payload {
    Bytes(Bytes),
    /// A loan, `None` only while it is offered, and how much of it is the message.
    Loan(Option<Loan>, usize),
}

impl Outbound {
    /// Offers it to the link.
    fn send(&mut self, link: &mut dyn Connection) -> Result<bool, Error> {
        if let Payload::Loan(Some(loan), len) = &self.payload
            && (!link.owns(loan) || (self.expires.is_some() && link.tells_expiry()))
        {
            // Its connection is lost, and the next one has its own; or it is plain memory.
            self.payload = Payload::Bytes(Bytes::copy_from_slice(&loan[..*len]));
        }
        match &mut self.payload {
            Payload::Bytes(bytes) if self.is_once => {
                link.send_once(self.channel, bytes, self.expires)
            }
            Payload::Bytes(bytes) => match self.expires {
                None => link.send_bytes(self.channel, bytes),
                Some(expires) => link.send_until(self.channel, bytes, expires),
            },
            Payload::Loan(held, len) => {
                let Some(loan) = held.take() else { return Ok(true) };
                *held = match self.expires {
                    None => link.commit(self.channel, loan, *len)?,
                    Some(expires) => link.commit_until(self.channel, loan, *len, expires)?,
                };
                Ok(held.is_none())
            }
        }
    }

    /// Whether the link may have sent a part when it refuses the message.
    fn is_divisible(&self) -> bool {
        matches!(&self.payload, Payload::Bytes(bytes) if bytes.len() > INLINE_MAX)
    }
}

impl Sending {
    pub(super) fn new(qos: &SendingQos) -> Self {
        Self {
            queue: Queue::new(qos.standard, qos.channels.iter().copied()),
            throttles: Throttles::new(qos.rate, qos.shared_rate.clone(), clock::now()),
            ahead: VecDeque::new(),
            begun: None,
            is_blocked: false,
            resume_at: None,
            is_draining: false,
            failure: None,
            lost: 0,
        }
    }

    /// As [`crate::Link::send_run`]: stops at the first record that has to wait.
    pub(super) fn send_run(
        &mut self,
        link: &mut dyn Connection,
        run: &[u8],
    ) -> Result<usize, Error> {
        let mut walk = records(run);
        let mut taken = 0;
        while let Some((header, at)) = walk.next() {
            let len = header.length as usize;
            if header.kind != Kind::Inline || len > INLINE_MAX {
                break;
            }
            let payload = &run[at..at + len];
            match self.send(link, header.channel, payload, SendOptions::default()) {
                Ok(Sent::Refused) => return Ok(taken),
                // The records before are in the queue: the next run gets the error.
                Err(_) if taken > 0 => return Ok(taken),
                Err(error) => return Err(error),
                Ok(Sent::Accepted | Sent::Dropped) => {}
            }
            taken = walk.position();
        }
        if taken == 0 && !run.is_empty() {
            return Err(Error::new(
                Code::InvalidArgument,
                "a run consists of whole inline records",
            ));
        }
        Ok(taken)
    }

    /// Offers a copy of a message.
    pub(super) fn send(
        &mut self,
        link: &mut dyn Connection,
        channel: u16,
        payload: &[u8],
        options: SendOptions,
    ) -> Result<Sent, Error> {
        let max = link.message_bytes_max();
        if payload.len() as u64 > max {
            let len = payload.len();
            let message =
                format!("a message of {len} bytes exceeds the {max} that both ends accept");
            return Err(Error::new(Code::MessageTooLarge, message + "; raise maxMessageBytes"));
        }
        let bytes = || Payload::Bytes(Bytes::copy_from_slice(payload));
        self.offer(link, channel, payload.len(), options, bytes)
    }

    /// Offers the first `len` bytes of a loan; gives it back if it has to wait.
    pub(super) fn commit(
        &mut self,
        link: &mut dyn Connection,
        channel: u16,
        loan: Loan,
        len: usize,
    ) -> Result<Option<Loan>, Error> {
        if len > loan.len() {
            let message = format!("{len} bytes to commit in a loan of {}", loan.len());
            return Err(Error::new(Code::InvalidArgument, message));
        }
        let mut held = Some(loan);
        let payload = || Payload::Loan(held.take(), len);
        let sent = self.offer(link, channel, len, SendOptions::default(), payload)?;
        Ok(held.filter(|_| sent == Sent::Refused))
    }

    /// Goes on sending as far as link and throttles let it.
    pub(super) fn pump(&mut self, link: &mut dyn Connection) -> Result<(), Error> {
        let now = clock::now();
        (self.is_blocked, self.resume_at) = (false, None);
        self.queue.release();
        loop {
            if let Some(first) = self.ahead.front_mut() {
                if !first.send(link)? {
                    self.is_blocked = true;
                    return Ok(());
                }
                self.ahead.pop_front();
                continue;
            }
            if let Some(begun) = &mut self.begun {
                if !begun.send(link)? {
                    self.is_blocked = true;
                    return Ok(());
                }
                self.begun = None;
            }
            let Some(next) = self.queue.peek(now) else { return Ok(()) };
            let (size, is_control, expires) = (next.size, next.is_control, next.expires);
            let wait = self.throttles.wait(size, now);
            if !is_control && !wait.is_zero() {
                self.resume_at = now.checked_add(wait);
                return Ok(());
            }
            let Some(message) = self.queue.peek_mut() else { return Ok(()) };
            message.expires = expires.and_then(clock::instant);
            match message.send(link) {
                Ok(true) => drop(self.take(size, is_control)),
                Ok(false) if !is_control && link.refuses_by_channel() => self.queue.hold(),
                Ok(false) if message.is_divisible() => self.begun = self.take(size, is_control),
                Ok(false) => {
                    self.is_blocked = true;
                    return Ok(());
                }
                // This one can never be sent; the others can.
                Err(error) if is_of_message(&error) => {
                    self.lost += 1;
                    self.queue.take();
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Puts messages in front of all others, for a connection that knows nothing yet.
    pub(super) fn repeat(&mut self, channel: u16, messages: &[Bytes]) {
        self.ahead.clear();
        self.ahead.extend(messages.iter().map(|message| {
            let payload = Payload::Bytes(message.clone());
            Outbound { channel, payload, expires: None, is_once: false }
        }));
    }

    /// Whether something waits for room that the link has only for others.
    pub(super) fn is_held(&self) -> bool {
        self.queue.has_held()
    }

    /// Whether nothing is in it, and nobody waits to be told so.
    pub(super) fn is_idle(&self) -> bool {
        self.is_empty() && !self.is_writable()
    }

    /// The time has come that [`Sending::next_time`] spoke of.
    pub(super) fn expire(&mut self) {
        let now = clock::now();
        self.queue.expire(now);
        self.resume_at = self.resume_at.filter(|&at| at > now);
    }

    /// What is wrong with the link, if that was no reason to refuse a message; once.
    pub(super) fn take_failure(&mut self) -> Option<Error> {
        self.failure.take()
    }

    /// When there is something to do even if nothing happens.
    pub(super) fn next_time(&self) -> Option<Duration> {
        [self.resume_at, self.queue.next_expiry()].into_iter().flatten().min()
    }

    /// Whether senders that wait should try again, or who waits for the end has waited enough.
    pub(super) fn is_writable(&self) -> bool {
        self.queue.is_writable() || (self.is_draining && self.is_empty())
    }

    /// They were told.
    pub(super) fn told_writable(&mut self) {
        self.queue.told_writable();
        self.is_draining &= !self.is_empty();
    }

    /// How many messages wait; unless none do, it will be writable when none do.
    pub(super) fn drain(&mut self) -> usize {
        self.is_draining = !self.is_empty();
        self.len()
    }

    /// Forgets what waits: nobody will take it.
    pub(super) fn give_up(&mut self) {
        while self.queue.take().is_some() {
            self.lost += 1;
        }
        self.ahead.clear();
        self.lost += u64::from(self.begun.take().is_some());
        (self.is_blocked, self.resume_at) = (false, None);
    }

    pub(super) fn add_stats(&self, stats: &mut QosStats) {
        stats.messages_queued = self.len() as u64;
        stats.bytes_queued = self.queue.bytes() as u64;
        stats.add_sends(self.queue.drops(), self.lost);
    }

    /// Takes the message that goes next.
    fn take(&mut self, size: usize, is_control: bool) -> Option<Outbound> {
        if !is_control {
            self.throttles.spend(size);
        }
        self.queue.take()
    }

    fn len(&self) -> usize {
        self.queue.len() + usize::from(self.begun.is_some())
    }

    /// Whether nothing is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.begun.is_none() && self.ahead.is_empty()
    }

    /// The lane of what is sent once, so that it does not wait for others on `channel`; it is
    /// treated as those.
    fn once_lane(&mut self, channel: u16, options: &mut SendOptions) -> u16 {
        let ChannelOptions { backpressure, ttl, .. } = self.queue.options(channel);
        options.backpressure = options.backpressure.or(Some(backpressure));
        options.ttl = options.ttl.or(ttl);
        self.queue.separate(ONCE);
        ONCE
    }

    fn offer(
        &mut self,
        link: &mut dyn Connection,
        channel: u16,
        size: usize,
        mut options: SendOptions,
        payload: impl FnOnce() -> Payload,
    ) -> Result<Sent, Error> {
        let is_once = options.is_once && link.has_session();
        if !is_once {
            link.open_channel(channel)?;
        }
        let lane = if is_once { self.once_lane(channel, &mut options) } else { channel };
        let make = || Outbound { channel, payload: payload(), expires: None, is_once };
        if channel == ANNOUNCEMENTS {
            self.queue.offer_control(make());
            self.failure = self.pump(link).err();
            return Ok(Sent::Accepted);
        }
        if !self.queue.admits(lane, size) {
            // Before somebody is refused or dropped, what can go goes. Who is refused is told of
            // room later, also if the link has failed: there may be another.
            self.failure = self.pump(link).err();
        }
        let now = clock::now();
        let terms: Terms = options.terms(now);
        let sent = match self.queue.offer(lane, size, terms, now, make) {
            Admission::Queued => Sent::Accepted,
            Admission::Refused => Sent::Refused,
            Admission::Dropped => Sent::Dropped,
        };
        if sent == Sent::Accepted && !self.is_blocked {
            // It is in the queue now, whatever becomes of the link.
            self.failure = self.pump(link).err();
        }
        Ok(sent)
    }
}

/// Whether an error is of the message that was offered, and not of the connection.
fn is_of_message(error: &Error) -> bool {
    matches!(error.code(), Code::MessageTooLarge | Code::InvalidArgument)
}
