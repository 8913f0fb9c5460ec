//! The allocator against an oracle: a plain list of the ranges that are out.

use proptest::prelude::*;

use super::*;

const SLAB_BYTES: u64 = 64 * BLOCK_BYTES;

#[derive(Clone, Debug)]
enum Op {
    Allocate(u64),
    /// Discards, lends or gives back the n-th chunk that is out, modulo their number.
    Discard(usize),
    Lend(usize),
    GiveBack(usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let sizes = prop_oneof![
        4 => 0..=4 * BLOCK_BYTES,
        2 => 0..=16 * BLOCK_BYTES,
        1 => SLAB_BYTES / 2..=2 * SLAB_BYTES,
        1 => Just(u64::MAX),
    ];
    let op = prop_oneof![
        4 => sizes.prop_map(Op::Allocate),
        1 => any::<usize>().prop_map(Op::Discard),
        2 => any::<usize>().prop_map(Op::Lend),
        2 => any::<usize>().prop_map(Op::GiveBack),
    ];
    prop::collection::vec(op, 0..200)
}

#[derive(Default)]
struct Oracle {
    loaned: Vec<(ChunkId, u64)>,
    lent: Vec<(ChunkId, u64)>,
}

impl Oracle {
    fn ranges(&self) -> Vec<(u64, u64)> {
        let out = self.loaned.iter().chain(&self.lent);
        let mut ranges: Vec<_> = out
            .map(|&(chunk, bytes)| {
                let start = u64::from(chunk.index) * BLOCK_BYTES;
                (start, start + bytes)
            })
            .collect();
        ranges.sort_unstable();
        ranges
    }

    /// Whether an aligned power-of-two range that holds `len` bytes is free.
    fn has_room(&self, len: u64) -> bool {
        let Some(size) = len.max(BLOCK_BYTES).checked_next_power_of_two() else { return false };
        let taken = self.ranges();
        (0..SLAB_BYTES / size.min(2 * SLAB_BYTES)).any(|n| {
            let (start, end) = (n * size, (n + 1) * size);
            taken.iter().all(|&(from, to)| to <= start || end <= from)
        })
    }
}

fn pick<T>(list: &[T], n: usize) -> Option<usize> {
    (!list.is_empty()).then(|| n % list.len())
}

fn check(ops: Vec<Op>) {
    let mut slab = Slab::new(SLAB_BYTES, 5);
    let mut oracle = Oracle::default();
    let mut done: Vec<ChunkId> = Vec::new();
    for op in ops {
        match op {
            Op::Allocate(len) => {
                let room = oracle.has_room(len);
                let Some(chunk) = slab.allocate(len) else {
                    assert!(!room, "{len} bytes would have fitted");
                    continue;
                };
                let bytes = slab.bytes(chunk);
                assert!(bytes >= len && bytes.is_power_of_two());
                assert!((u64::from(chunk.index) * BLOCK_BYTES).is_multiple_of(bytes));
                oracle.loaned.push((chunk, bytes));
            }
            Op::Discard(n) => {
                let Some(n) = pick(&oracle.loaned, n) else { continue };
                let (chunk, _) = oracle.loaned.swap_remove(n);
                slab.discard(chunk);
                done.push(chunk);
            }
            Op::Lend(n) => {
                let Some(n) = pick(&oracle.loaned, n).filter(|_| slab.may_lend()) else { continue };
                let lent = oracle.loaned.swap_remove(n);
                slab.lend(lent.0);
                oracle.lent.push(lent);
            }
            Op::GiveBack(n) => {
                let Some(n) = pick(&oracle.lent, n) else { continue };
                let (chunk, _) = oracle.lent.swap_remove(n);
                slab.give_back(chunk);
                done.push(chunk);
            }
        }
        let ranges = oracle.ranges();
        assert!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0), "chunks overlap");
        assert!(ranges.iter().all(|range| range.1 <= SLAB_BYTES), "a chunk leaves the slab");
        assert_eq!(slab.lent() as usize, oracle.lent.len());
        assert_eq!(slab.may_lend(), oracle.lent.len() < 5);
        assert!(oracle.lent.iter().all(|&(chunk, _)| slab.is_lent(chunk)));
        assert!(oracle.loaned.iter().all(|&(chunk, _)| !slab.is_lent(chunk)));
        assert!(done.iter().all(|&chunk| !slab.is_lent(chunk)), "a return is taken twice");
    }
    oracle.loaned.into_iter().for_each(|(chunk, _)| slab.discard(chunk));
    oracle.lent.into_iter().for_each(|(chunk, _)| slab.give_back(chunk));
    assert!(slab.allocate(SLAB_BYTES).is_some(), "all that is free has not merged");
}

proptest! {
    /// [D43] Chunks never overlap, are refused only when nothing fits, and merge when freed.
    #[test]
    fn chunks_are_disjoint_and_merge(ops in ops()) {
        check(ops);
    }
}

/// [D43] [D45] Returns that name another use, another block or nothing at all are not known.
#[test]
fn strange_returns_are_not_known() {
    let mut slab = Slab::new(SLAB_BYTES, 64);
    let chunk = slab.allocate(3 * BLOCK_BYTES).unwrap();
    assert!(!slab.is_lent(chunk), "not sent yet");
    slab.lend(chunk);
    assert!(slab.is_lent(chunk));
    let ChunkId { index, generation } = chunk;
    for (index, generation) in [
        (index, generation.wrapping_add(1)),
        (index, generation.wrapping_sub(1)),
        (index + 1, generation),
        (index + 4, generation),
        (64, generation),
        (u32::MAX, generation),
    ] {
        assert!(!slab.is_lent(ChunkId { index, generation }), "{index} {generation}");
    }
    slab.give_back(chunk);
    assert!(!slab.is_lent(chunk), "returned");
    let again = slab.allocate(3 * BLOCK_BYTES).unwrap();
    slab.lend(again);
    assert_eq!(again.index, index);
    assert!(!slab.is_lent(chunk), "the next use of the block is another chunk");
}

/// [D43] Pages are asked for once, and before a chunk that needs them is written.
#[test]
fn first_use_covers_every_block_once() {
    let mut slab = Slab::new(SLAB_BYTES, 64);
    let mut covered = 0;
    for len in [1, 2 * BLOCK_BYTES, 1, 16 * BLOCK_BYTES, 4 * BLOCK_BYTES, 1] {
        let chunk = slab.allocate(len).unwrap();
        if let Some((start, end)) = slab.first_use(chunk) {
            assert_eq!(start, covered);
            covered = end;
            slab.mark_used(chunk);
        }
        assert!(u64::from(chunk.index) * BLOCK_BYTES + slab.bytes(chunk) <= covered);
        assert_eq!(slab.first_use(chunk), None);
    }
}

/// [D43] A slab of no bytes has nothing to give.
#[test]
fn an_empty_slab_is_always_exhausted() {
    let mut slab = Slab::new(0, 64);
    assert_eq!(slab.allocate(0), None);
    assert_eq!(slab.allocate(1), None);
}
