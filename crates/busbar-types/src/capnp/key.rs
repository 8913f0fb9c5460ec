//! Keys of maps in a message: their hash as Rust and rkyv compute it, which decides where an entry
//! stands in an archived hash map, and their order, which decides where it stands in a B-tree.
//!
//! Both depend on the Rust code of user types, which nobody has here: keys with user types in them
//! have neither.

use super::decode::{Decoder, From};
use super::plan::list_elem;
use crate::Error;
use crate::schema::{Kind, Scalar};

/// A key, digested.
#[derive(Debug, Default)]
pub(super) struct Key {
    /// As `FxHasher64` of rkyv has it.
    pub(super) hash: u64,
    /// Bytes that compare as the keys do; equal if and only if the keys are.
    pub(super) order: Vec<u8>,
}

/// Whether keys of `kind` hash and compare as the standard library says.
pub(super) fn is_known(kind: &Kind) -> bool {
    match kind {
        Kind::Type { .. } | Kind::HashMap { .. } | Kind::BTreeMap { .. } => false,
        Kind::Scalar(Scalar::F32 | Scalar::F64) => false,
        kind => kind.children().all(|child| is_known(&child.kind)),
    }
}

impl Key {
    pub(super) fn of(
        decoder: &mut Decoder<'_, '_>,
        kind: &Kind,
        from: From<'_, '_>,
    ) -> Result<Self, Error> {
        let mut key = Self::default();
        key.add(decoder, kind, from)?;
        Ok(key)
    }

    fn add(
        &mut self,
        decoder: &mut Decoder<'_, '_>,
        kind: &Kind,
        from: From<'_, '_>,
    ) -> Result<(), Error> {
        match kind {
            Kind::Unit => Ok(()),
            Kind::Box(elem) => self.add(decoder, &elem.kind, from),
            Kind::Scalar(scalar) => {
                let bits = decoder.bits(*scalar, from)?;
                self.add_scalar(*scalar, bits);
                Ok(())
            }
            Kind::String | Kind::BoxStr => {
                let text = decoder.text(from)?;
                self.write(text.as_bytes());
                self.word(0xff);
                // A zero is escaped so that the end, which is two of them, comes before all else.
                for &byte in text.as_bytes() {
                    self.order.push(byte);
                    if byte == 0 {
                        self.order.push(0xff);
                    }
                }
                self.order.extend([0, 0]);
                Ok(())
            }
            Kind::Option(elem) => {
                let some = decoder.some(from)?;
                self.word(u64::from(some.is_some()));
                self.order.push(u8::from(some.is_some()));
                some.map_or(Ok(()), |from| self.add(decoder, &elem.kind, from))
            }
            Kind::Tuple(places) => {
                let fields = decoder.fields(from)?;
                places
                    .iter()
                    .zip(fields)
                    .try_for_each(|(place, from)| self.add(decoder, &place.kind, from))
            }
            kind => self.add_list(decoder, kind, from),
        }
    }

    fn add_list(
        &mut self,
        decoder: &mut Decoder<'_, '_>,
        kind: &Kind,
        from: From<'_, '_>,
    ) -> Result<(), Error> {
        let Some(elem) = list_elem(kind) else {
            unreachable!("invariant: maps and user types are no known keys")
        };
        let items = decoder.list(kind, from)?;
        self.word(items.count() as u64);
        // Slices of integers are hashed by their bytes in one go, all others one by one.
        let bulk = match elem.kind {
            Kind::Scalar(scalar) => scalar.integer().map(|_| scalar),
            _ => None,
        };
        let mut bytes = Vec::new();
        for index in 0..items.count() {
            if !matches!(kind, Kind::Array { .. }) {
                self.order.push(1);
            }
            let from = decoder.item(&items, index);
            if let Some(scalar) = bulk {
                let bits = decoder.bits(scalar, from)?;
                bytes.extend(&bits.to_le_bytes()[..scalar.size_bytes() as usize]);
                self.add_order(scalar, bits);
            } else {
                self.add(decoder, &elem.kind, from)?;
            }
        }
        if bulk.is_some() {
            self.write(&bytes);
        }
        if !matches!(kind, Kind::Array { .. }) {
            self.order.push(0);
        }
        Ok(())
    }

    fn add_scalar(&mut self, scalar: Scalar, bits: u128) {
        self.word(low(bits));
        if matches!(scalar, Scalar::U128 | Scalar::I128) {
            self.word(low(bits >> 64));
        }
        self.add_order(scalar, bits);
    }

    fn add_order(&mut self, scalar: Scalar, bits: u128) {
        let size = scalar.size_bytes() as usize;
        let mut bytes = bits.to_be_bytes();
        let bytes = &mut bytes[16 - size..];
        if let Some((true, _)) = scalar.integer() {
            bytes[0] ^= 0x80;
        }
        self.order.extend_from_slice(bytes);
    }

    /// `Hasher::write` of `FxHasher64`: words, then what is left in halves.
    fn write(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        for size in [8, 4, 2, 1] {
            while rest.len() >= size {
                let (first, others) = rest.split_at(size);
                let mut word = [0; 8];
                word[..size].copy_from_slice(first);
                self.word(u64::from_le_bytes(word));
                rest = others;
            }
        }
    }

    fn word(&mut self, word: u64) {
        const SEED: u64 = 0x517c_c1b7_2722_0a95;
        self.hash = (self.hash.rotate_left(5) ^ word).wrapping_mul(SEED);
    }
}

fn low(bits: u128) -> u64 {
    (bits & u128::from(u64::MAX)) as u64
}
