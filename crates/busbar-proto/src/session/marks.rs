//! A set of sequence numbers that grows towards having no gaps: everything below a number, and a
//! bitmap of what is beyond.

use std::collections::VecDeque;

use super::Seq;
use crate::frame::Ack;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// Everything before it is in the set, it itself is not.
    base: Seq,
    /// Bit `offset + i`: whether `base + i` is in the set. Empty if nothing from `base` on is.
    words: VecDeque<u64>,
    /// Below 64.
    offset: u64,
}

impl Marks {
    pub(super) fn from(base: Seq) -> Self {
        Self { base, ..Self::default() }
    }

    /// The first number that is not in the set.
    pub(super) fn base(&self) -> Seq {
        self.base
    }

    pub(super) fn has(&self, seq: Seq) -> bool {
        seq.since(self.base).is_none_or(|ahead| self.bit(ahead))
    }

    /// Adds `seq`, which the caller knows to be near the base; `false` if it was there.
    pub(super) fn insert(&mut self, seq: Seq) -> bool {
        let Some(ahead) = seq.since(self.base) else { return false };
        if self.bit(ahead) {
            return false;
        }
        if ahead == 0 && self.words.is_empty() {
            self.base = self.base.plus(1);
            return true;
        }
        let at = self.offset + ahead;
        let word = usize::try_from(at / 64).expect("invariant: near the base");
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (at % 64);
        self.settle();
        true
    }

    /// Adds everything before `seq`, which the caller knows to be near the base.
    pub(super) fn insert_below(&mut self, seq: Seq) {
        self.insert_range(self.base, seq);
    }

    /// Adds everything from `from` up to `to`, which the caller knows to be near the base, without
    /// looking at each.
    pub(super) fn insert_range(&mut self, from: Seq, to: Seq) {
        let start = from.since(self.base).unwrap_or(0);
        let Some(end) = to.since(self.base).filter(|&end| end > start) else { return };
        if start == 0 && self.words.is_empty() {
            self.base = to;
            return;
        }
        let (mut at, end) = (self.offset + start, self.offset + end);
        let words = usize::try_from(end.div_ceil(64)).expect("invariant: near the base");
        self.words.resize(self.words.len().max(words), 0);
        for word in self.words.range_mut(at as usize / 64..words) {
            let bit = at % 64;
            let count = (64 - bit).min(end - at);
            *word |= (u64::MAX >> (64 - count)) << bit;
            at += count;
        }
        self.settle();
    }

    /// What is missing before `to`, from and up to which numbers.
    pub(super) fn gaps(&self, to: Seq) -> Vec<(Seq, Seq)> {
        let end = to.since(self.base).unwrap_or(0);
        let (mut gaps, mut at) = (Vec::new(), 0);
        while let Some(from) = self.seek(at, false).filter(|&from| from < end) {
            at = self.seek(from, true).map_or(end, |to| to.min(end));
            gaps.push((self.base.plus(from), self.base.plus(at)));
        }
        gaps
    }

    /// The set as far as 64 bits go.
    pub(super) fn to_ack(&self) -> Ack {
        let bitmap = (0..64).fold(0, |bits, i| bits | u64::from(self.bit(i + 1)) << i);
        Ack { cumulative: self.base.0, bitmap }
    }

    fn bit(&self, ahead: u64) -> bool {
        let at = self.offset + ahead;
        let word = usize::try_from(at / 64).ok().and_then(|word| self.words.get(word));
        word.is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    /// How far the first number after `base + ahead - 1` is from the base that is in the set, or
    /// that is not.
    fn seek(&self, ahead: u64, is_in: bool) -> Option<u64> {
        let mut at = self.offset + ahead;
        while let Some(&word) = usize::try_from(at / 64).ok().and_then(|it| self.words.get(it)) {
            let rest = (if is_in { word } else { !word }) >> (at % 64);
            if rest != 0 {
                return Some(at + u64::from(rest.trailing_zeros()) - self.offset);
            }
            at = (at / 64 + 1) * 64;
        }
        (!is_in).then_some(at - self.offset)
    }

    /// Moves the base to the first gap.
    fn settle(&mut self) {
        while let Some(&first) = self.words.front() {
            let run = u64::from((first >> self.offset).trailing_ones()).min(64 - self.offset);
            self.base = self.base.plus(run);
            self.offset += run;
            if self.offset < 64 {
                break;
            }
            self.offset = 0;
            self.words.pop_front();
        }
        if self.words.is_empty() {
            self.offset = 0;
        } else if self.words.iter().all(|&word| word == 0) || self.is_spent() {
            self.words.clear();
            self.offset = 0;
        }
    }

    /// Whether no bit from the base on is set.
    fn is_spent(&self) -> bool {
        let mut words = self.words.iter();
        words.next().is_none_or(|first| first >> self.offset == 0) && words.all(|&word| word == 0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// [D31] [D34] whatever the order, and across the end of the range: the set holds what was
        /// added, and says so in an acknowledgement
        #[test]
        fn holds_what_was_added(
            start in prop_oneof![Just(0u64), u64::MAX - 200..=u64::MAX],
            added in vec(0u64..400, 0..400),
            ranges in vec((0u64..400, 0u64..200), 0..4),
            below in option(),
        ) {
            let mut marks = Marks::from(Seq(start));
            let mut model = BTreeSet::new();
            for n in added {
                prop_assert_eq!(marks.insert(Seq(start).plus(n)), model.insert(n));
            }
            for (from, len) in ranges {
                marks.insert_range(Seq(start).plus(from), Seq(start).plus(from + len));
                model.extend(from..from + len);
            }
            if let Some(below) = below {
                marks.insert_below(Seq(start).plus(below));
                model.extend(0..below);
            }
            let base = (0..).find(|n| !model.contains(n)).expect("a gap");
            prop_assert_eq!(marks.base(), Seq(start).plus(base));
            for n in 0..700 {
                prop_assert_eq!(marks.has(Seq(start).plus(n)), model.contains(&n));
            }
            let gaps = marks.gaps(Seq(start).plus(550));
            let missing = gaps.iter().flat_map(|(from, to)| {
                let from = from.since(Seq(start)).expect("not before the start");
                from..to.since(Seq(start)).expect("nor this")
            });
            prop_assert!(missing.eq((0..550).filter(|n| !model.contains(n))), "{:?}", gaps);
            let ack = marks.to_ack();
            prop_assert_eq!(ack.cumulative, marks.base().0);
            for i in 0..64 {
                prop_assert_eq!(ack.bitmap >> i & 1 == 1, model.contains(&(base + 1 + i)));
            }
        }
    }

    fn option() -> impl Strategy<Value = Option<u64>> {
        proptest::option::of(0u64..450)
    }

    /// [D33] memory follows the gaps, not what has passed
    #[test]
    fn keeps_no_words_without_gaps() {
        let mut marks = Marks::default();
        for n in 0..100_000 {
            marks.insert(Seq(n ^ 1));
            assert!(marks.words.len() <= 2, "{}", marks.words.len());
        }
        assert!(marks.words.is_empty());
    }
}
