//! A lane: messages in the order in which they came, bounded, and forgotten when they are too old.
//!
//! | policy | a message for which there is no room |
//! |---|---|
//! | `Block`, `FailFast` | is refused; what that means is the caller's business |
//! | `DropNew` | is dropped |
//! | `DropOld` | takes the place of as many of the oldest as it needs |
//!
//! An empty lane has room for any one message, however large: it could never be sent otherwise.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::time::Duration;

/// What becomes of a message for which there is no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backpressure {
    /// It is refused, and the sender waits.
    #[default]
    Block,
    /// It is dropped.
    DropNew,
    /// The oldest are dropped in its favour.
    DropOld,
    /// It is refused, and the sender is told so.
    FailFast,
}

/// How much may wait; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "messages and bytes are all there is to count")]
pub struct HighWaterMarks {
    /// Messages.
    pub messages: Option<NonZeroUsize>,
    /// Payload bytes.
    pub bytes: Option<NonZeroUsize>,
}

impl HighWaterMarks {
    /// Whether a message of `size` may join `messages` of `bytes` in all.
    #[must_use]
    pub fn admit(&self, messages: usize, bytes: usize, size: usize) -> bool {
        messages == 0
            || (self.messages.is_none_or(|max| messages < max.get())
                && self.bytes.is_none_or(|max| {
                    bytes.checked_add(size).is_some_and(|bytes| bytes <= max.get())
                }))
    }
}

/// What holds for one message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "callers make them")]
pub struct Terms {
    /// What to do if there is no room for it; `None`: as its lane does.
    pub backpressure: Option<Backpressure>,
    /// When it is of no more use; `None`: never.
    pub expires: Option<Duration>,
}

/// What became of a message that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "senders must handle every answer")]
pub enum Admission {
    /// It waits now.
    Queued,
    /// There is no room; nothing has happened.
    Refused,
    /// It was dropped, and counted.
    Dropped,
}

/// Messages that were dropped, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drops {
    /// Those that found no room.
    pub new: u64,
    /// Those that made room for newer ones.
    pub old: u64,
    /// Those that were of no more use.
    pub expired: u64,
}

/// A bounded queue, first in, first out.
#[derive(Debug)]
pub struct Lane<T> {
    marks: HighWaterMarks,
    backpressure: Backpressure,
    items: VecDeque<Item<T>>,
    bytes: usize,
    /// Whether no message expires before one in front of it, so that it is enough to look there.
    is_ordered: bool,
    /// No message expires before this.
    next_expiry: Option<Duration>,
    /// Size of the message that was refused since it was last asked about.
    refused: Option<usize>,
    drops: Drops,
}

#[derive(Debug)]
struct Item<T> {
    message: T,
    size: usize,
    expires: Option<Duration>,
}

impl<T> Item<T> {
    fn is_stale(&self, now: Duration) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

impl<T> Lane<T> {
    /// An empty lane.
    #[must_use]
    pub fn new(marks: HighWaterMarks, backpressure: Backpressure) -> Self {
        Self {
            marks,
            backpressure,
            items: VecDeque::new(),
            bytes: 0,
            is_ordered: true,
            next_expiry: None,
            refused: None,
            drops: Drops::default(),
        }
    }

    /// Messages that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether none does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Payload bytes of those that wait.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What was dropped so far.
    #[must_use]
    pub fn drops(&self) -> Drops {
        self.drops
    }

    /// Whether a message of `size` bytes would find room.
    #[must_use]
    pub fn admits(&self, size: usize) -> bool {
        self.marks.admit(self.items.len(), self.bytes, size)
    }

    /// Offers a message of `size` payload bytes, made by `make` if it may wait. `now` is the time.
    pub fn offer(
        &mut self,
        size: usize,
        terms: Terms,
        now: Duration,
        make: impl FnOnce() -> T,
    ) -> Admission {
        if terms.expires.is_some_and(|expires| expires <= now) {
            self.drops.expired += 1;
            return Admission::Dropped;
        }
        if !self.admits(size) {
            self.expire(now);
        }
        if !self.admits(size) {
            match terms.backpressure.unwrap_or(self.backpressure) {
                Backpressure::Block => {
                    self.refused = Some(size);
                    return Admission::Refused;
                }
                Backpressure::FailFast => return Admission::Refused,
                Backpressure::DropNew => {
                    self.drops.new += 1;
                    return Admission::Dropped;
                }
                Backpressure::DropOld => {
                    while !self.admits(size) {
                        self.drops.old += u64::from(self.take().is_some());
                    }
                }
            }
        }
        self.push(Item { message: make(), size, expires: terms.expires });
        Admission::Queued
    }

    /// The message in front, and its size. It may be stale: see [`Lane::expire`].
    #[must_use]
    pub fn peek(&self) -> Option<(&T, usize)> {
        self.items.front().map(|item| (&item.message, item.size))
    }

    /// When the message in front is of no more use.
    #[must_use]
    pub fn front_expires(&self) -> Option<Duration> {
        self.items.front()?.expires
    }

    /// The message in front, to be changed in place.
    pub fn peek_mut(&mut self) -> Option<&mut T> {
        self.items.front_mut().map(|item| &mut item.message)
    }

    /// Takes the message in front.
    pub fn take(&mut self) -> Option<T> {
        let Item { message, size, .. } = self.items.pop_front()?;
        self.bytes -= size;
        if self.items.is_empty() {
            (self.is_ordered, self.next_expiry) = (true, None);
        } else if self.is_ordered {
            self.next_expiry = self.front_expires();
        }
        Some(message)
    }

    /// Drops what is of no more use.
    pub fn expire(&mut self, now: Duration) {
        if self.next_expiry.is_none_or(|at| at > now) {
            return;
        }
        let before = self.items.len();
        if self.is_ordered {
            while self.items.front().is_some_and(|item| item.is_stale(now)) {
                self.take();
            }
        } else {
            self.items.retain(|item| !item.is_stale(now));
            self.bytes = self.items.iter().map(|item| item.size).sum();
            self.next_expiry = self.items.iter().filter_map(|item| item.expires).min();
        }
        self.drops.expired += (before - self.items.len()) as u64;
    }

    /// When [`Lane::expire`] has something to do next, or earlier.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Duration> {
        self.next_expiry
    }

    /// Whether a message that had to wait would find room now.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.refused.is_some_and(|size| self.admits(size))
    }

    /// Whoever waits for room has been told; they say again if they still wait.
    pub fn told_writable(&mut self) {
        if self.is_writable() {
            self.refused = None;
        }
    }

    fn push(&mut self, item: Item<T>) {
        // No expiry is later than any.
        let key = |expires: Option<Duration>| expires.unwrap_or(Duration::MAX);
        if let Some(last) = self.items.back() {
            self.is_ordered &= key(last.expires) <= key(item.expires);
        }
        self.next_expiry = [self.next_expiry, item.expires].into_iter().flatten().min();
        self.bytes += item.size;
        self.items.push_back(item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(messages: usize, bytes: usize, backpressure: Backpressure) -> Lane<u32> {
        let marks = HighWaterMarks {
            messages: NonZeroUsize::new(messages),
            bytes: NonZeroUsize::new(bytes),
        };
        Lane::new(marks, backpressure)
    }

    fn drain(lane: &mut Lane<u32>) -> Vec<u32> {
        std::iter::from_fn(|| lane.take()).collect()
    }

    /// Offers messages 0, 1, 2, … of `size` bytes.
    fn fill(lane: &mut Lane<u32>, count: u32, size: usize) -> Vec<Admission> {
        (0..count).map(|n| lane.offer(size, Terms::default(), Duration::ZERO, || n)).collect()
    }

    /// [D24] [I26] the mark is the number of messages that wait, and not one more or less
    #[test]
    fn the_mark_of_messages_is_exact() {
        for mark in [1, 2, 10] {
            let mut lane = lane(mark, 0, Backpressure::Block);
            let outcomes = fill(&mut lane, 12, 0);
            assert_eq!(outcomes.iter().filter(|&&o| o == Admission::Queued).count(), mark);
            assert!(!lane.is_writable());
            lane.take();
            assert!(lane.is_writable() && lane.admits(0));
            lane.told_writable();
            assert!(!lane.is_writable(), "they were told");
        }
    }

    /// [D24] [I26] bytes up to the mark may wait, one more may not; an empty lane takes any message
    #[test]
    fn the_mark_of_bytes_is_exact() {
        let mut lane = lane(0, 100, Backpressure::Block);
        fill(&mut lane, 4, 25);
        assert_eq!((lane.len(), lane.bytes()), (4, 100));
        assert!(lane.admits(0) && !lane.admits(1));
        lane.take();
        assert!(lane.admits(25) && !lane.admits(26) && !lane.admits(usize::MAX));
        drain(&mut lane);
        assert!(lane.admits(usize::MAX));
    }

    /// [D25] which messages wait, and which are counted as dropped, with each policy
    #[test]
    fn each_policy_keeps_what_it_says() {
        for (policy, kept, drops) in [
            (Backpressure::Block, [0, 1, 2], Drops::default()),
            (Backpressure::FailFast, [0, 1, 2], Drops::default()),
            (Backpressure::DropNew, [0, 1, 2], Drops { new: 5, ..Drops::default() }),
            (Backpressure::DropOld, [5, 6, 7], Drops { old: 5, ..Drops::default() }),
        ] {
            let mut lane = lane(3, 0, policy);
            let outcomes = fill(&mut lane, 8, 1);
            let refuses = matches!(policy, Backpressure::Block | Backpressure::FailFast);
            assert_eq!(outcomes[7] == Admission::Refused, refuses, "{policy:?}");
            assert_eq!((drain(&mut lane), lane.drops()), (kept.to_vec(), drops), "{policy:?}");
        }
    }

    /// [D25] a message's own policy goes before its lane's
    #[test]
    fn a_message_may_have_its_own_policy() {
        let mut lane = lane(1, 0, Backpressure::Block);
        fill(&mut lane, 1, 1);
        let terms = |backpressure| Terms { backpressure: Some(backpressure), expires: None };
        let mut offer = |policy, n| lane.offer(1, terms(policy), Duration::ZERO, || n);
        assert_eq!(offer(Backpressure::DropNew, 1), Admission::Dropped);
        assert_eq!(offer(Backpressure::FailFast, 2), Admission::Refused);
        assert_eq!(offer(Backpressure::DropOld, 3), Admission::Queued);
        assert_eq!(drain(&mut lane), [3]);
    }

    /// [D25] a large message drops as many old ones as it needs, all of them if it must
    #[test]
    fn a_large_message_makes_its_room() {
        let mut lane = lane(0, 100, Backpressure::DropOld);
        fill(&mut lane, 10, 10);
        lane.offer(35, Terms::default(), Duration::ZERO, || 10);
        assert_eq!((lane.len(), lane.bytes(), lane.drops().old), (7, 95, 4));
        lane.offer(1000, Terms::default(), Duration::ZERO, || 11);
        assert_eq!((drain(&mut lane), lane.drops().old), (vec![11], 11));
    }

    /// [D26] what is stale goes at its instant and not before, in whatever order it expires
    #[test]
    fn stale_messages_go_on_time() {
        let ms = Duration::from_millis;
        let mut lane = lane(4, 0, Backpressure::Block);
        let mut offer = |n, expires: Option<u64>| {
            let terms = Terms { backpressure: None, expires: expires.map(ms) };
            lane.offer(1, terms, ms(1), || n)
        };
        assert_eq!(offer(0, Some(1)), Admission::Dropped);
        assert_eq!(offer(1, Some(30)), Admission::Queued);
        assert_eq!(offer(2, None), Admission::Queued);
        assert_eq!(offer(3, Some(20)), Admission::Queued);
        assert_eq!(offer(4, Some(40)), Admission::Queued);
        assert_eq!(offer(5, None), Admission::Refused);
        assert_eq!(lane.next_expiry(), Some(ms(20)));
        lane.expire(ms(19));
        assert_eq!(lane.len(), 4);
        lane.expire(ms(20));
        assert_eq!((lane.len(), lane.drops().expired), (3, 2));
        assert!(lane.is_writable(), "a stale message has made room");
        assert_eq!(lane.next_expiry(), Some(ms(30)));
        lane.expire(ms(100));
        assert_eq!((drain(&mut lane), lane.drops().expired), (vec![2], 4));
        assert_eq!(lane.next_expiry(), None);
    }
}
