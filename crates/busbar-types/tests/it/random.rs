//! Random values from a seed: small, full of edge cases, and the same on every machine.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// SplitMix64.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 32).expect("32 bits") % bound
    }
}

pub(crate) trait Random: Sized {
    fn random(rng: &mut Rng) -> Self;
}

pub(crate) fn any<T: Random>(rng: &mut Rng) -> T {
    T::random(rng)
}

/// One of `makers`.
pub(crate) fn one_of<T>(rng: &mut Rng, makers: &[fn(&mut Rng) -> T]) -> T {
    let index = rng.below(makers.len());
    makers[index](rng)
}

fn list<T: Random, C: FromIterator<T>>(rng: &mut Rng) -> C {
    let length = rng.below(6);
    (0..length).map(|_| any(rng)).collect()
}

macro_rules! integers {
    ($($type:ty)*) => {
        $(impl Random for $type {
            fn random(rng: &mut Rng) -> Self {
                let wide = u128::from(rng.next()) << 64 | u128::from(rng.next());
                match rng.below(8) {
                    0 => Self::MIN,
                    1 => Self::MAX,
                    2 => 0,
                    _ => wide as Self,
                }
            }
        })*
    };
}

integers!(u8 u16 u32 u64 u128 i8 i16 i32 i64 i128);

impl Random for bool {
    fn random(rng: &mut Rng) -> Self {
        rng.below(2) == 1
    }
}

impl Random for f32 {
    fn random(rng: &mut Rng) -> Self {
        [0.0, -0.0, 1.5, -3.25, Self::MAX, Self::MIN_POSITIVE, Self::INFINITY][rng.below(7)]
    }
}

impl Random for f64 {
    fn random(rng: &mut Rng) -> Self {
        [0.0, -0.0, 1.5, -3.25, Self::MAX, Self::MIN_POSITIVE, Self::INFINITY][rng.below(7)]
    }
}

impl Random for char {
    fn random(rng: &mut Rng) -> Self {
        ['a', '\0', 'ß', '漢', '🚌', Self::MAX][rng.below(6)]
    }
}

impl Random for () {
    fn random(_: &mut Rng) -> Self {}
}

/// Lengths around 8, where strings move out of line, and around 64, where their lengths grow.
impl Random for String {
    fn random(rng: &mut Rng) -> Self {
        let length = [0, 1, 7, 8, 9, 63, 64, 65, 300][rng.below(9)];
        (0..length).map(|_| if rng.below(20) == 0 { any(rng) } else { 'x' }).collect()
    }
}

impl Random for Box<str> {
    fn random(rng: &mut Rng) -> Self {
        any::<String>(rng).into()
    }
}

impl<T: Random> Random for Vec<T> {
    fn random(rng: &mut Rng) -> Self {
        list(rng)
    }
}

impl<T: Random> Random for Box<[T]> {
    fn random(rng: &mut Rng) -> Self {
        list(rng)
    }
}

impl<T: Random> Random for Box<T> {
    fn random(rng: &mut Rng) -> Self {
        Self::new(any(rng))
    }
}

impl<T: Random> Random for Option<T> {
    fn random(rng: &mut Rng) -> Self {
        (rng.below(3) > 0).then(|| any(rng))
    }
}

impl<T: Random, const N: usize> Random for [T; N] {
    fn random(rng: &mut Rng) -> Self {
        std::array::from_fn(|_| any(rng))
    }
}

impl<K: Random + Eq + Hash, V: Random> Random for HashMap<K, V> {
    fn random(rng: &mut Rng) -> Self {
        list(rng)
    }
}

impl<K: Random + Ord, V: Random> Random for BTreeMap<K, V> {
    fn random(rng: &mut Rng) -> Self {
        let length = [0, 1, 4, 5, 6, 40][rng.below(6)];
        (0..length).map(|_| any(rng)).collect()
    }
}

macro_rules! tuples {
    ($($($type:ident)*;)*) => {
        $(impl<$($type: Random),*> Random for ($($type,)*) {
            fn random(rng: &mut Rng) -> Self {
                ($(any::<$type>(rng),)*)
            }
        })*
    };
}

tuples! {
    A;
    A B;
    A B C;
    A B C D;
}
