//! Lanes side by side: a lane for each channel that has options of its own, one for all others, and
//! the choice of the next message.
//!
//! A lane of a higher priority goes first, always. Lanes of the same priority share by weight:
//! each message is given a place on a virtual clock that a lane of weight *w* passes at *1/w* of
//! the pace, and the lane that is furthest behind goes next (start-time fair queueing). A lane that
//! was empty joins where the others are, so that nobody saves up for later. A share is one of
//! bytes, with [`MESSAGE_COST`] on top for each message.
//!
//! What must precede everything else, on [`Queue::offer_control`], has a lane in front of them all
//! that is never full.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU16;
use std::time::Duration;

use super::lane::{Admission, Backpressure, Drops, HighWaterMarks, Lane, Terms};

/// What a message costs beside its bytes: shares of small messages are shares of their number.
const MESSAGE_COST: u128 = 64;

/// Steps of the virtual clock per unit of cost, at weight 1.
const CLOCK_SCALE: u128 = 1 << 20;

/// How the messages of one channel are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "callers make them")]
pub struct ChannelOptions {
    /// How much may wait.
    pub marks: HighWaterMarks,
    /// What becomes of the rest.
    pub backpressure: Backpressure,
    /// For how long a message is of use, unless it says so itself.
    pub ttl: Option<Duration>,
    /// Messages of a higher priority go first.
    pub priority: u8,
    /// Share among channels of the same priority.
    pub weight: NonZeroU16,
}

impl Default for ChannelOptions {
    fn default() -> Self {
        Self {
            marks: HighWaterMarks::default(),
            backpressure: Backpressure::default(),
            ttl: None,
            priority: 0,
            weight: NonZeroU16::MIN,
        }
    }
}

/// The message that goes next.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Next<'a, T> {
    /// The message.
    pub message: &'a T,
    /// Its payload bytes.
    pub size: usize,
    /// When it is of no more use.
    pub expires: Option<Duration>,
    /// Whether it goes before all others, whatever holds for them.
    pub is_control: bool,
}

/// Messages that wait, on all channels of a pipe.
#[derive(Debug)]
pub struct Queue<T> {
    control: VecDeque<T>,
    /// The first is for all channels without options of their own.
    lanes: Vec<Scheduled<T>>,
    channels: HashMap<u16, usize>,
    /// By falling priority.
    levels: Vec<Level>,
    /// Whether a lane is held.
    has_held: bool,
}

#[derive(Debug)]
struct Scheduled<T> {
    lane: Lane<T>,
    options: ChannelOptions,
    /// Index of its level.
    level: usize,
    /// Its place on the virtual clock.
    start: u128,
    /// See [`Queue::hold`].
    is_held: bool,
}

#[derive(Debug)]
struct Level {
    lanes: Vec<usize>,
    /// Where the lane that was served last stood.
    clock: u128,
}

/// Where a message was found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Control,
    Lane(usize),
}

impl<T> Queue<T> {
    /// An empty queue. Channels that are not named in `channels` share `standard`.
    pub fn new(
        standard: ChannelOptions,
        channels: impl IntoIterator<Item = (u16, ChannelOptions)>,
    ) -> Self {
        let mut all = vec![standard];
        let mut index = HashMap::new();
        for (channel, options) in channels {
            index.insert(channel, all.len());
            all.push(options);
        }
        let mut priorities: Vec<u8> = all.iter().map(|options| options.priority).collect();
        priorities.sort_unstable_by(|a, b| b.cmp(a));
        priorities.dedup();
        let mut levels: Vec<Level> =
            priorities.iter().map(|_| Level { lanes: Vec::new(), clock: 0 }).collect();
        let scheduled = all.into_iter().enumerate().map(|(at, options)| {
            let level = priorities.partition_point(|&priority| priority > options.priority);
            levels[level].lanes.push(at);
            let lane = Lane::new(options.marks, options.backpressure);
            Scheduled { lane, options, level, start: 0, is_held: false }
        });
        let lanes = scheduled.collect();
        Self { control: VecDeque::new(), lanes, channels: index, levels, has_held: false }
    }

    /// Gives a channel a lane of its own, unless it has one, that is like that of all others.
    pub fn separate(&mut self, channel: u16) {
        if self.channels.contains_key(&channel) {
            return;
        }
        let Scheduled { options, level, .. } = self.lanes[0];
        let lane = Lane::new(options.marks, options.backpressure);
        self.channels.insert(channel, self.lanes.len());
        self.levels[level].lanes.push(self.lanes.len());
        self.lanes.push(Scheduled { lane, options, level, start: 0, is_held: false });
    }

    /// How the messages of a channel are treated.
    #[must_use]
    pub fn options(&self, channel: u16) -> ChannelOptions {
        self.lanes[self.lane_of(channel)].options
    }

    /// Offers a message of `size` payload bytes on `channel`, made by `make` if it may wait.
    pub fn offer(
        &mut self,
        channel: u16,
        size: usize,
        terms: Terms,
        now: Duration,
        make: impl FnOnce() -> T,
    ) -> Admission {
        let at = self.lane_of(channel);
        let scheduled = &mut self.lanes[at];
        let ttl = scheduled.options.ttl;
        let expires = terms.expires.or_else(|| ttl.and_then(|ttl| now.checked_add(ttl)));
        let was_empty = scheduled.lane.is_empty();
        let outcome = scheduled.lane.offer(size, Terms { expires, ..terms }, now, make);
        if was_empty && !scheduled.lane.is_empty() {
            scheduled.start = scheduled.start.max(self.levels[scheduled.level].clock);
        }
        outcome
    }

    /// Whether a message of `size` bytes would find room on `channel`.
    #[must_use]
    pub fn admits(&self, channel: u16, size: usize) -> bool {
        self.lanes[self.lane_of(channel)].lane.admits(size)
    }

    /// Adds a message that goes before all others, is never dropped, and counts against no mark.
    pub fn offer_control(&mut self, message: T) {
        self.control.push_back(message);
    }

    /// The message that goes next. What is stale at `now` is dropped.
    pub fn peek(&mut self, now: Duration) -> Option<Next<'_, T>> {
        self.expire(now);
        match self.next()? {
            Place::Control => {
                let message = self.control.front()?;
                Some(Next { message, size: 0, expires: None, is_control: true })
            }
            Place::Lane(at) => {
                let lane = &self.lanes[at].lane;
                let (message, size) = lane.peek()?;
                let expires = lane.front_expires();
                Some(Next { message, size, expires, is_control: false })
            }
        }
    }

    /// The message that [`Queue::peek`] has shown, to be changed in place.
    pub fn peek_mut(&mut self) -> Option<&mut T> {
        match self.next()? {
            Place::Control => self.control.front_mut(),
            Place::Lane(at) => self.lanes[at].lane.peek_mut(),
        }
    }

    /// The message that [`Queue::peek`] has shown cannot go, and none of its lane before it; those
    /// of other lanes can. Control messages hold back everything.
    pub fn hold(&mut self) {
        if let Some(Place::Lane(at)) = self.next() {
            (self.lanes[at].is_held, self.has_held) = (true, true);
        }
    }

    /// Whether a lane is held.
    #[must_use]
    pub fn has_held(&self) -> bool {
        self.has_held
    }

    /// What was held may go again.
    pub fn release(&mut self) {
        if std::mem::take(&mut self.has_held) {
            for scheduled in &mut self.lanes {
                scheduled.is_held = false;
            }
        }
    }

    /// Takes the message that [`Queue::peek`] has shown.
    pub fn take(&mut self) -> Option<T> {
        let at = match self.next()? {
            Place::Control => return self.control.pop_front(),
            Place::Lane(at) => at,
        };
        let Scheduled { lane, options, level, start, .. } = &mut self.lanes[at];
        let (_, size) = lane.peek()?;
        self.levels[*level].clock = *start;
        let cost = (size as u128 + MESSAGE_COST) * CLOCK_SCALE;
        *start += cost / u128::from(options.weight.get());
        lane.take()
    }

    /// Drops what is stale.
    pub fn expire(&mut self, now: Duration) {
        for scheduled in &mut self.lanes {
            scheduled.lane.expire(now);
        }
    }

    /// When [`Queue::expire`] has something to do next, or earlier.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Duration> {
        self.lanes.iter().filter_map(|scheduled| scheduled.lane.next_expiry()).min()
    }

    /// Messages that wait, without those that go before all others.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lanes.iter().map(|scheduled| scheduled.lane.len()).sum()
    }

    /// Whether nothing at all waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.control.is_empty() && self.lanes.iter().all(|scheduled| scheduled.lane.is_empty())
    }

    /// Payload bytes of messages that wait.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.lanes.iter().map(|scheduled| scheduled.lane.bytes()).sum()
    }

    /// What was dropped so far.
    #[must_use]
    pub fn drops(&self) -> Drops {
        self.lanes.iter().fold(Drops::default(), |sum, scheduled| {
            let Drops { new, old, expired } = scheduled.lane.drops();
            Drops { new: sum.new + new, old: sum.old + old, expired: sum.expired + expired }
        })
    }

    /// Whether a message that had to wait would find room now.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.lanes.iter().any(|scheduled| scheduled.lane.is_writable())
    }

    /// Whoever waits for room has been told; they say again if they still wait.
    pub fn told_writable(&mut self) {
        for scheduled in &mut self.lanes {
            scheduled.lane.told_writable();
        }
    }

    fn lane_of(&self, channel: u16) -> usize {
        self.channels.get(&channel).copied().unwrap_or(0)
    }

    /// Where the next message is. The same until something is added, taken or dropped.
    fn next(&self) -> Option<Place> {
        if !self.control.is_empty() {
            return Some(Place::Control);
        }
        self.levels.iter().find_map(|level| {
            let may_go = |it: &Scheduled<T>| !it.is_held && !it.lane.is_empty();
            let waiting = level.lanes.iter().filter(|&&at| may_go(&self.lanes[at]));
            waiting.min_by_key(|&&at| self.lanes[at].start).map(|&at| Place::Lane(at))
        })
    }
}

#[cfg(test)]
mod tests;
