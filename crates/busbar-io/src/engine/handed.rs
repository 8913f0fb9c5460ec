//! Messages of a session that the application was given and is not done with: by their place among
//! all messages that a pipe has given out, which is all that the application knows of them.
//!
//! It may be done with them in order, or with any of them. What it is done with out of order leaves
//! a gap; gaps are closed when they are half of it all, so that one message that is kept for long
//! costs no memory for those behind it.

use std::collections::VecDeque;

use busbar_proto::session::Seq;

/// Messages that are remembered of which nobody says when they are done with.
const UNCLAIMED_MAX: usize = 65_536;

/// See the [module](self).
#[derive(Default)]
pub(super) struct Handed {
    /// Oldest first.
    entries: VecDeque<Entry>,
    gaps: usize,
    /// Messages given out, also those that belong to no session.
    given: u64,
}

struct Entry {
    ordinal: u64,
    channel: u16,
    seq: Seq,
    is_done: bool,
}

impl Handed {
    /// A message is given out; one without a number is only counted.
    pub(super) fn give(&mut self, channel: u16, seq: Option<Seq>) {
        if let Some(seq) = seq {
            self.entries.push_back(Entry { ordinal: self.given, channel, seq, is_done: false });
        }
        self.given += 1;
    }

    /// Which message that is, unless the application is done with it.
    pub(super) fn find(&self, ordinal: u64) -> Option<(u16, Seq)> {
        let entry = &self.entries[self.index(ordinal)?];
        (!entry.is_done).then_some((entry.channel, entry.seq))
    }

    /// The application is done with this one.
    pub(super) fn take(&mut self, ordinal: u64) -> Option<(u16, Seq)> {
        let at = self.index(ordinal)?;
        let entry = self.entries.get_mut(at).filter(|entry| !entry.is_done)?;
        let found = (entry.channel, entry.seq);
        if at == 0 {
            self.entries.pop_front();
            self.close_gaps();
            return Some(found);
        }
        entry.is_done = true;
        self.gaps += 1;
        if 2 * self.gaps > self.entries.len() {
            self.entries.retain(|entry| !entry.is_done);
            self.gaps = 0;
        }
        Some(found)
    }

    /// The oldest message before this one; the application is done with it.
    pub(super) fn take_before(&mut self, ordinal: u64) -> Option<(u16, Seq)> {
        let oldest = self.entries.front().filter(|entry| entry.ordinal < ordinal)?;
        let found = (oldest.channel, oldest.seq);
        self.entries.pop_front();
        self.close_gaps();
        Some(found)
    }

    /// Whether the application is done with all of them.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The application never gets those from this one on, and so will not say that it is done.
    pub(super) fn forget_from(&mut self, ordinal: u64) {
        while let Some(entry) = self.entries.back().filter(|entry| entry.ordinal >= ordinal) {
            self.gaps -= usize::from(entry.is_done);
            self.entries.pop_back();
        }
    }

    /// Messages given out.
    pub(super) fn given(&self) -> u64 {
        self.given
    }

    /// Forgets the oldest beyond what is remembered where the sender's window is no bound.
    pub(super) fn bound(&mut self) {
        while self.entries.len() > UNCLAIMED_MAX {
            self.entries.pop_front();
            self.close_gaps();
        }
    }

    /// The front is never a gap.
    fn close_gaps(&mut self) {
        while self.entries.front().is_some_and(|entry| entry.is_done) {
            self.entries.pop_front();
            self.gaps -= 1;
        }
    }

    fn index(&self, ordinal: u64) -> Option<usize> {
        self.entries.binary_search_by_key(&ordinal, |entry| entry.ordinal).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handed(count: u64) -> Handed {
        let mut handed = Handed::default();
        for n in 0..count {
            // Every third belongs to no session.
            handed.give(7, (n % 3 != 2).then_some(Seq(n)));
        }
        handed
    }

    /// [D35] messages are found by their place, until the application is done with them
    #[test]
    fn each_message_is_taken_once() {
        let mut it = handed(9);
        assert_eq!((it.find(4), it.find(5), it.find(9)), (Some((7, Seq(4))), None, None));
        assert_eq!((it.take(4), it.take(4)), (Some((7, Seq(4))), None));
        let before: Vec<_> = std::iter::from_fn(|| it.take_before(7)).map(|(_, n)| n.0).collect();
        assert_eq!(before, [0, 1, 3, 6]);
        assert_eq!((it.find(7), it.entries.len()), (Some((7, Seq(7))), 1));
    }

    /// [D30] [D35] what the application will never get is not waited for
    #[test]
    fn those_at_the_end_are_forgotten() {
        let mut it = handed(9);
        assert!(it.take(6).is_some());
        it.forget_from(4);
        assert_eq!((it.find(3), it.find(4), it.gaps), (Some((7, Seq(3))), None, 0));
        assert_eq!(std::iter::from_fn(|| it.take_before(9)).count(), 3);
        it.forget_from(0);
        assert!(it.is_empty());
    }

    /// [D33] [D35] a message that is kept for ever keeps nothing of those behind it
    #[test]
    fn gaps_are_closed() {
        let mut it = handed(1);
        for n in 1..100_000 {
            it.give(7, Some(Seq(n)));
            assert!(it.take(n).is_some());
            assert!(it.entries.len() <= 3, "{}", it.entries.len());
        }
        assert_eq!(it.find(0), Some((7, Seq(0))));
    }
}
