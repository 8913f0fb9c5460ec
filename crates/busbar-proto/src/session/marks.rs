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
        while seq.since(self.base).is_some_and(|ahead| ahead > 0) {
            self.insert(self.base);
        }
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
            below in option(),
        ) {
            let mut marks = Marks::from(Seq(start));
            let mut model = BTreeSet::new();
            for n in added {
                prop_assert_eq!(marks.insert(Seq(start).plus(n)), model.insert(n));
            }
            if let Some(below) = below {
                marks.insert_below(Seq(start).plus(below));
                model.extend(0..below);
            }
            let base = (0..).find(|n| !model.contains(n)).expect("a gap");
            prop_assert_eq!(marks.base(), Seq(start).plus(base));
            for n in 0..500 {
                prop_assert_eq!(marks.has(Seq(start).plus(n)), model.contains(&n));
            }
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
