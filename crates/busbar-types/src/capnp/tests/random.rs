//! Random schemas from a seed.

use crate::schema::{Field, Kind, Place, Scalar, Schema, Shape, TypeSchema, Variant};

/// SplitMix64.
pub(super) struct Rng(pub(super) u64);

impl Rng {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 32).expect("32 bits") % bound
    }

    pub(super) fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// Types other types are made of.
const LEAVES: usize = 12;

/// A schema of `count` types with all kinds in them; its root mentions some of them.
pub(super) fn schema(rng: &mut Rng, count: usize) -> Schema {
    let name = |index: usize| format!("test.T{index}");
    let mut types: Vec<TypeSchema> = Vec::new();
    for index in 0..count {
        let known = index.min(LEAVES);
        types.push(if rng.below(4) == 0 || index == 0 {
            let data = rng.below(3) > 0 && index > 0;
            TypeSchema::new_enum(name(index), variants(rng, known, data))
        } else {
            TypeSchema::new_struct(name(index), Shape::Named, fields(rng, Shape::Named, known))
        });
    }
    Schema::new(name(count - 1), types).expect("a valid schema")
}

fn variants(rng: &mut Rng, known: usize, data: bool) -> Vec<Variant> {
    let count = 1 + rng.below(6);
    let mut tag = 0;
    (0..count)
        .map(|index| {
            let shapes = [Shape::Unit, Shape::Named, Shape::Tuple];
            let shape = if data { *rng.pick(&shapes) } else { Shape::Unit };
            tag += 1 + u8::try_from(rng.below(3)).expect("small");
            let fields = if shape == Shape::Unit { Vec::new() } else { fields(rng, shape, known) };
            Variant { name: format!("V{index}"), tag, shape, fields }
        })
        .collect()
}

fn fields(rng: &mut Rng, shape: Shape, known: usize) -> Vec<Field> {
    let count = rng.below(14);
    let name = |index: usize| match shape {
        Shape::Tuple => index.to_string(),
        _ => format!("a_{index}"),
    };
    (0..count).map(|index| Field::new(name(index), kind(rng, known, 3))).collect()
}

/// A kind nested at most `depth` deep, which mentions the first `known` types.
fn kind(rng: &mut Rng, known: usize, depth: usize) -> Kind {
    let is_leaf = depth == 0 || rng.below(2) == 0;
    if is_leaf {
        return match rng.below(10) {
            0 => Kind::Unit,
            1 => Kind::String,
            2 => Kind::BoxStr,
            3 | 4 if known > 0 => {
                Kind::Type { name: format!("test.T{}", rng.below(known)), recursive: false }
            }
            _ => Kind::Scalar(*rng.pick(Scalar::ALL)),
        };
    }
    let mut place = |depth| Place::new(kind(rng, known, depth));
    let elem = Box::new(place(depth - 1));
    let key = || Box::new(Place::new(Kind::Scalar(Scalar::U16)));
    match rng.below(12) {
        0 => Kind::Vec(elem),
        1 => Kind::BoxSlice(elem),
        2 => Kind::Array { elem, length: u32::try_from(rng.below(4)).expect("small") },
        3 => Kind::Tuple(vec![*elem, Place::new(kind(rng, known, 0))]),
        4 => Kind::BTreeMap { key: key(), value: elem },
        5 => Kind::HashMap { key: key(), value: elem },
        6 => Kind::Box(elem),
        _ => Kind::Option(elem),
    }
}

/// Changes a few bytes, as accidents or attackers would.
pub(super) fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..1 + rng.below(4) {
        if bytes.is_empty() {
            return;
        }
        let at = rng.below(bytes.len());
        match rng.below(8) {
            0 => bytes[at] = rng.next().to_le_bytes()[0],
            1 => bytes[at] ^= 1 << rng.below(8),
            2 => bytes[at] = *rng.pick(&[0, 1, 2, 0x7f, 0x80, 0xff]),
            3 => bytes.truncate(at),
            // Words and halves of words: pointers and lengths.
            4 | 5 => {
                let at = at / 4 * 4;
                let number = *rng.pick(&[0, 1, 2, 7, 0xffff, 0x1fff_ffff, u32::MAX, 0x8000_0000]);
                put(bytes, at, &number.to_le_bytes());
            }
            6 => {
                let from = rng.below(bytes.len()) / 8 * 8;
                let word: Vec<u8> = bytes[from..].iter().take(8).copied().collect();
                put(bytes, at / 8 * 8, &word);
            }
            _ => {
                let at = at / 4 * 4;
                if let Some(word) = bytes.get(at..at + 4) {
                    let number = u32::from_le_bytes(word.try_into().expect("four"));
                    let delta = u32::try_from(rng.below(33)).expect("small");
                    put(bytes, at, &number.wrapping_add(delta).wrapping_sub(16).to_le_bytes());
                }
            }
        }
    }
}

fn put(bytes: &mut [u8], at: usize, new: &[u8]) {
    for (old, new) in bytes[at..].iter_mut().zip(new) {
        *old = *new;
    }
}
