//! Keys of maps: their hash as Rust and rkyv compute it, which decides where an entry stands in an
//! archived hash map, and their order, which decides where it stands in a B-tree.
//!
//! Keys of user types hash and compare as `#[derive(Hash, Ord)]` makes them: fields in the order of
//! declaration, and the tag of an enum first. Whoever writes these impls by hand otherwise has maps
//! that only their own Rust code can look things up in.

use std::collections::BTreeSet;

use super::Values;
use crate::Error;
use crate::archive::source::broken;
use crate::schema::{Body, Field, Kind, Scalar, Schema, TypeSchema};

/// A key, digested.
#[derive(Debug, Default)]
pub(super) struct Key {
    /// As `FxHasher64` of rkyv has it.
    pub(super) hash: u64,
    /// Bytes that compare as the keys do; equal if and only if the keys are.
    pub(super) order: Vec<u8>,
}

/// Whether it is known how keys of `kind` hash and compare: they contain no maps, floats or
/// themselves.
pub(super) fn is_known(schema: &Schema, kind: &Kind) -> bool {
    is_known_inside(schema, kind, &mut BTreeSet::new())
}

fn is_known_inside<'a>(schema: &'a Schema, kind: &'a Kind, seen: &mut BTreeSet<&'a str>) -> bool {
    match kind {
        Kind::HashMap { .. }
        | Kind::BTreeMap { .. }
        | Kind::Scalar(Scalar::F32 | Scalar::F64)
        | Kind::Type { recursive: true, .. } => false,
        Kind::Type { name, .. } => {
            !seen.insert(name)
                || schema
                    .resolve(name)
                    .all_fields()
                    .all(|field| is_known_inside(schema, &field.place.kind, seen))
        }
        kind => kind.children().all(|child| is_known_inside(schema, &child.kind, seen)),
    }
}

/// Makes digests of values that come from `values`.
pub(super) struct Digest<'a, 'v, V> {
    pub(super) schema: &'a Schema,
    pub(super) values: &'v V,
    /// Longer digests are of keys that repeat themselves, because no archive has room for them.
    pub(super) order_max: usize,
}

impl<'a, V: Values<'a>> Digest<'a, '_, V> {
    /// The digest of `value`, whose `kind` is known.
    pub(super) fn of(&self, kind: &'a Kind, value: V::Value) -> Result<Key, Error> {
        let mut key = Key::default();
        self.add(&mut key, kind, value)?;
        Ok(key)
    }

    fn add(&self, key: &mut Key, kind: &'a Kind, value: V::Value) -> Result<(), Error> {
        if key.order.len() > self.order_max {
            return Err(broken("the key is longer than an archive may be"));
        }
        match kind {
            Kind::Unit => Ok(()),
            Kind::Box(elem) => self.add(key, &elem.kind, self.values.unboxed(value)?),
            Kind::Scalar(scalar) => {
                key.add_scalar(*scalar, self.values.bits(*scalar, value)?);
                Ok(())
            }
            Kind::String | Kind::BoxStr => {
                key.add_text(self.values.text(value)?.as_bytes());
                Ok(())
            }
            Kind::Option(elem) => {
                let some = self.values.some(elem, value)?;
                key.add_tag(u8::from(some.is_some()));
                some.map_or(Ok(()), |value| self.add(key, &elem.kind, value))
            }
            Kind::Tuple(places) => {
                let fields = self.values.fields(value)?;
                places.iter().enumerate().try_for_each(|(index, place)| {
                    self.add(key, &place.kind, self.values.field(fields, index, None)?)
                })
            }
            Kind::Vec(elem) | Kind::BoxSlice(elem) | Kind::Array { elem, .. } => {
                self.add_list(key, kind, &elem.kind, value)
            }
            Kind::Type { name, .. } => self.add_type(key, self.schema.resolve(name), value),
            Kind::HashMap { .. } | Kind::BTreeMap { .. } => {
                unreachable!("invariant: keys with maps in them are not known")
            }
        }
    }

    fn add_type(&self, key: &mut Key, one: &'a TypeSchema, value: V::Value) -> Result<(), Error> {
        let (fields, values): (&'a [Field], _) = match &one.body {
            Body::Struct { fields, .. } => (fields, self.values.fields(value)?),
            Body::Enum { variants, .. } => {
                let (number, values) = self.values.variant(one, value)?;
                // Where there is only one variant, derived code has nothing to tell apart.
                if variants.len() > 1 {
                    key.add_tag(variants[number].tag);
                }
                (&variants[number].fields, values)
            }
        };
        fields.iter().enumerate().try_for_each(|(index, field)| {
            self.add(key, &field.place.kind, self.values.field(values, index, Some(field))?)
        })
    }

    fn add_list(
        &self,
        key: &mut Key,
        kind: &Kind,
        elem: &'a Kind,
        value: V::Value,
    ) -> Result<(), Error> {
        let items = self.values.items(kind, value)?;
        let is_array = matches!(kind, Kind::Array { .. });
        key.word(self.values.count(&items) as u64);
        // Slices of integers are hashed by their bytes in one go, all others one by one.
        let bulk = match elem {
            Kind::Scalar(scalar) => scalar.integer().map(|_| *scalar),
            _ => None,
        };
        let mut bytes = Vec::new();
        for index in 0..self.values.count(&items) {
            // Says that there is another element, which is more than that there is none.
            if !is_array {
                key.order.push(1);
            }
            let value = self.values.item(&items, index);
            if let Some(scalar) = bulk {
                let bits = self.values.bits(scalar, value)?;
                bytes.extend(&bits.to_le_bytes()[..scalar.size_bytes() as usize]);
                key.add_order(scalar, bits);
            } else {
                self.add(key, elem, value)?;
            }
        }
        if bulk.is_some() {
            key.write(&bytes);
        }
        if !is_array {
            key.order.push(0);
        }
        Ok(())
    }
}

impl Key {
    fn add_tag(&mut self, tag: u8) {
        self.word(tag.into());
        self.order.push(tag);
    }

    fn add_text(&mut self, text: &[u8]) {
        self.write(text);
        self.word(0xff);
        // A zero is escaped so that the end, which is two of them, comes before all else.
        for &byte in text {
            self.order.push(byte);
            if byte == 0 {
                self.order.push(0xff);
            }
        }
        self.order.extend([0, 0]);
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
