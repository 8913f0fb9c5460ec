//! Building archives by a schema: values come from a [`Values`], which may be a message, JSON or
//! another archive, and the bytes are as rkyv would have written them for the same value.
//!
//! rkyv writes depth first: what an object points to comes before it, fields and elements in
//! order. So there are two walks over each value. [`Builder::before`] writes what comes before an
//! object and notes where, [`Builder::place`] writes the object itself and takes the notes in the
//! same order. Maps have a file of their own, `build/maps.rs`, and their keys, too.

mod key;
mod maps;

use super::empties::{EMPTIES_MAX, too_many_empties};
use super::limits::Depth;
use super::source::{INLINE_MAX, NOWHERE, broken, count};
use crate::schema::{Body, Field, Kind, Place, Scalar, Schema, TypeSchema, prefix};
use crate::{Error, ErrorKind, Limits};

/// The largest archive its own pointers can reach across, and the longest string.
const ARCHIVE_BYTES_MAX: usize = i32::MAX as usize;
const STRING_BYTES_MAX: usize = (1 << 30) - 1;

/// Where the values of an archive come from. The builder walks the schema of the archive and asks
/// for what it needs there; it asks about each value twice.
pub(crate) trait Values<'a> {
    /// A value, as far as it is known without following it.
    type Value: Copy;
    /// The fields of a struct, a tuple or a variant.
    type Fields: Copy;
    /// The elements of a list, or the entries of a map.
    type Items;

    /// The bits of a scalar, zero-extended, and ones that the scalar can have.
    fn bits(&self, scalar: Scalar, value: Self::Value) -> Result<u128, Error>;

    /// A string.
    fn text(&self, value: Self::Value) -> Result<&'a str, Error>;

    /// What is in a box.
    fn unboxed(&self, value: Self::Value) -> Result<Self::Value, Error>;

    /// What is in an option of `elem`.
    fn some(&self, elem: &Place, value: Self::Value) -> Result<Option<Self::Value>, Error>;

    /// The fields of a struct or tuple.
    fn fields(&self, value: Self::Value) -> Result<Self::Fields, Error>;

    /// The number of the variant of `one`, and its fields.
    fn variant(
        &self,
        one: &'a TypeSchema,
        value: Self::Value,
    ) -> Result<(usize, Self::Fields), Error>;

    /// The field number `index`; tuples, unlike structs, have no [`Field`] for it.
    fn field(
        &self,
        fields: Self::Fields,
        index: usize,
        field: Option<&'a Field>,
    ) -> Result<Self::Value, Error>;

    /// What is in a list or map.
    fn items(&self, kind: &Kind, value: Self::Value) -> Result<Self::Items, Error>;

    /// How many elements or entries there are.
    fn count(&self, items: &Self::Items) -> usize;

    /// An element of a list.
    fn item(&self, items: &Self::Items, index: usize) -> Self::Value;

    /// The key and the value of an entry of a map.
    fn entry(&self, items: &Self::Items, index: usize) -> Result<[Self::Value; 2], Error>;

    /// How many elements or entries a value has that was looked into before.
    fn len(&self, kind: &Kind, value: Self::Value) -> Result<usize, Error> {
        self.items(kind, value).map(|items| self.count(&items))
    }

    /// All elements of a list of `elem` as they are in an archive, if they can be copied.
    fn raw<'i>(&self, _elem: &Place, _items: &'i Self::Items) -> Option<&'i [u8]> {
        None
    }
}

/// The archive of `value`, by the root of `schema`.
pub(crate) fn build<'a, V: Values<'a>>(
    schema: &'a Schema,
    limits: Limits,
    values: &V,
    value: V::Value,
) -> Result<Vec<u8>, Error> {
    let root = schema.root();
    let mut builder = Builder::new(schema, limits, values);
    let built = builder.type_before(root, value).and_then(|()| {
        let at = builder.alloc(root.align, count(root.size_bytes))?;
        builder.place_type(root, value, at, &mut 0)
    });
    built.map_err(|error| prefix(&root.name, error))?;
    Ok(builder.out)
}

/// The archive of `value`, which `schema` has in `place`.
pub(crate) fn build_place<'a, V: Values<'a>>(
    schema: &'a Schema,
    place: &'a Place,
    limits: Limits,
    values: &V,
    value: V::Value,
) -> Result<Vec<u8>, Error> {
    let mut builder = Builder::new(schema, limits, values);
    builder.boxed(place, value)?;
    Ok(builder.out)
}

/// An archive being built.
struct Builder<'a, 'v, V: Values<'a>> {
    schema: &'a Schema,
    values: &'v V,
    depth: Depth,
    bytes_max: usize,
    out: Vec<u8>,
    /// Where objects were written that are still to be pointed to.
    notes: Vec<usize>,
}

/// A struct, or the variant of an enum that a value is.
struct Shown<'a, F> {
    tag: Option<u8>,
    /// The variant's name; a struct has none.
    name: &'a str,
    fields: &'a [Field],
    values: F,
}

impl<'a, 'v, V: Values<'a>> Builder<'a, 'v, V> {
    fn new(schema: &'a Schema, limits: Limits, values: &'v V) -> Self {
        Self {
            schema,
            values,
            depth: Depth::new(limits),
            bytes_max: limits.bytes_max.min(ARCHIVE_BYTES_MAX),
            out: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Writes a whole object, and notes where.
    fn boxed(&mut self, place: &'a Place, value: V::Value) -> Result<(), Error> {
        let base = self.notes.len();
        self.before(&place.kind, value)?;
        let at = self.alloc(place.align, count(place.size_bytes))?;
        self.place(&place.kind, value, at, &mut { base })?;
        self.note_instead(base, at);
        Ok(())
    }

    /// Writes what an object of `kind` points to.
    fn before(&mut self, kind: &'a Kind, value: V::Value) -> Result<(), Error> {
        match kind {
            Kind::Unit | Kind::Scalar(_) => Ok(()),
            Kind::String | Kind::BoxStr => {
                let text = self.values.text(value)?;
                if matches!(kind, Kind::String) && text.len() <= INLINE_MAX {
                    return Ok(());
                }
                if text.len() > STRING_BYTES_MAX {
                    return Err(broken("the text is longer than a string in an archive"));
                }
                let at = self.alloc(1, text.len())?;
                self.put(at, text.as_bytes());
                self.notes.push(at);
                Ok(())
            }
            Kind::Box(elem) => self.boxed(elem, self.values.unboxed(value)?),
            Kind::Option(elem) => match self.values.some(elem, value)? {
                Some(value) => self.before(&elem.kind, value),
                None => Ok(()),
            },
            Kind::Tuple(places) => {
                let fields = self.values.fields(value)?;
                self.nested(|builder| {
                    places.iter().enumerate().try_for_each(|(index, place)| {
                        let value = builder.values.field(fields, index, None);
                        value
                            .and_then(|value| builder.before(&place.kind, value))
                            .map_err(|error| prefix(&index.to_string(), error))
                    })
                })
            }
            Kind::Type { name, .. } => self.type_before(self.schema.resolve(name), value),
            Kind::Array { elem, .. } if matches!(elem.kind, Kind::Scalar(_)) => Ok(()),
            Kind::Array { elem, .. } => {
                let items = self.items(kind, value)?;
                self.nested(|builder| builder.items_before(elem, &items))
            }
            Kind::Vec(elem) | Kind::BoxSlice(elem) => {
                let items = self.items(kind, value)?;
                let size = self.values.count(&items).saturating_mul(count(elem.size_bytes));
                self.check_room(self.out.len(), size)?;
                let base = self.notes.len();
                self.nested(|builder| builder.items_before(elem, &items))?;
                let at = self.alloc(elem.align, size)?;
                self.items_place(elem, &items, at, &mut { base })?;
                self.note_instead(base, at);
                Ok(())
            }
            Kind::HashMap { key, value: elem } => {
                let items = self.items(kind, value)?;
                self.nested(|builder| builder.hash_map(key, elem, &items))
            }
            Kind::BTreeMap { key, value: elem } => {
                let items = self.items(kind, value)?;
                self.nested(|builder| builder.tree_map(key, elem, &items))
            }
        }
    }

    /// Writes an object of `kind` at `at`; `note` is the first of its notes.
    fn place(
        &mut self,
        kind: &'a Kind,
        value: V::Value,
        at: usize,
        note: &mut usize,
    ) -> Result<(), Error> {
        match kind {
            Kind::Unit => Ok(()),
            Kind::Scalar(scalar) => {
                let bits = self.values.bits(*scalar, value)?;
                self.put(at, &bits.to_le_bytes()[..count(scalar.size_bytes())]);
                Ok(())
            }
            Kind::String => self.place_string(value, at, note),
            Kind::BoxStr => {
                let len = self.values.text(value)?.len();
                self.place_pointer(at, Some(note));
                self.put_count(at + 4, len)
            }
            Kind::Box(_) => {
                self.place_pointer(at, Some(note));
                Ok(())
            }
            Kind::Option(elem) => match self.values.some(elem, value)? {
                Some(value) => {
                    self.out[at] = 1;
                    self.place(&elem.kind, value, at + count(elem.offset), note)
                }
                None => Ok(()),
            },
            Kind::Tuple(places) => {
                let fields = self.values.fields(value)?;
                places.iter().enumerate().try_for_each(|(index, place)| {
                    let value = self.values.field(fields, index, None);
                    value
                        .and_then(|value| {
                            self.place(&place.kind, value, at + count(place.offset), note)
                        })
                        .map_err(|error| prefix(&index.to_string(), error))
                })
            }
            Kind::Type { name, .. } => self.place_type(self.schema.resolve(name), value, at, note),
            Kind::Array { elem, .. } => {
                let items = self.items(kind, value)?;
                self.items_place(elem, &items, at, note)
            }
            Kind::Vec(_) | Kind::BoxSlice(_) => {
                self.place_pointer(at, Some(note));
                let len = self.values.len(kind, value)?;
                self.put_count(at + 4, len)
            }
            Kind::HashMap { .. } => {
                let len = self.values.len(kind, value)?;
                self.place_pointer(at, (len > 0).then_some(note));
                self.put_count(at + 4, len)?;
                self.put_count(at + 8, maps::buckets(len))
            }
            Kind::BTreeMap { .. } => {
                let len = self.values.len(kind, value)?;
                self.place_pointer(at, (len > 0).then_some(note));
                self.put_count(at + 4, len)
            }
        }
    }

    fn show(&self, one: &'a TypeSchema, value: V::Value) -> Result<Shown<'a, V::Fields>, Error> {
        match &one.body {
            Body::Struct { fields, .. } => {
                let values = self.values.fields(value)?;
                Ok(Shown { tag: None, name: "", fields, values })
            }
            Body::Enum { variants, .. } => {
                let (number, values) = self.values.variant(one, value)?;
                let variant = &variants[number];
                let (name, fields) = (variant.name.as_str(), &*variant.fields);
                Ok(Shown { tag: Some(variant.tag), name, fields, values })
            }
        }
    }

    fn type_before(&mut self, one: &'a TypeSchema, value: V::Value) -> Result<(), Error> {
        let shown = self.show(one, value)?;
        if shown.fields.is_empty() {
            return Ok(());
        }
        self.nested(|builder| {
            shown.each(|index, field| {
                let value = builder.values.field(shown.values, index, Some(field))?;
                builder.before(&field.place.kind, value)
            })
        })
    }

    fn place_type(
        &mut self,
        one: &'a TypeSchema,
        value: V::Value,
        at: usize,
        note: &mut usize,
    ) -> Result<(), Error> {
        let shown = self.show(one, value)?;
        if let Some(tag) = shown.tag {
            self.out[at] = tag;
        }
        shown.each(|index, field| {
            let value = self.values.field(shown.values, index, Some(field))?;
            self.place(&field.place.kind, value, at + count(field.place.offset), note)
        })
    }

    fn place_string(&mut self, value: V::Value, at: usize, note: &mut usize) -> Result<(), Error> {
        let text = self.values.text(value)?.as_bytes();
        if text.len() <= INLINE_MAX {
            self.out[at..at + INLINE_MAX].fill(0xff);
            self.put(at, text);
            return Ok(());
        }
        // The pointer counts from the start of the string, not from where it stands.
        let offset = self.next_note(note) as i64 - at as i64;
        self.put(at + 4, &offset.to_le_bytes()[..4]);
        // Six bits of the length are below the two that mark it, the others above.
        let len = text.len() as u64;
        let word = (len & 0x3f) | 0x80 | (len & !0x3f) << 2;
        self.put(at, &word.to_le_bytes()[..4]);
        Ok(())
    }

    /// What is in the list or map `value`; of an array, as many elements as it has.
    fn items(&self, kind: &Kind, value: V::Value) -> Result<V::Items, Error> {
        let items = self.values.items(kind, value)?;
        let found = self.values.count(&items);
        match kind {
            Kind::Array { length, .. } if found != count(*length) => {
                Err(broken(format!("has {found} elements, but the array has {length}")))
            }
            Kind::Vec(elem) | Kind::BoxSlice(elem)
                if elem.size_bytes == 0 && found > EMPTIES_MAX =>
            {
                Err(too_many_empties(found))
            }
            _ => Ok(items),
        }
    }

    fn items_before(&mut self, elem: &'a Place, items: &V::Items) -> Result<(), Error> {
        if matches!(elem.kind, Kind::Scalar(_)) || elem.size_bytes == 0 {
            return Ok(());
        }
        (0..self.values.count(items))
            .try_for_each(|index| self.before(&elem.kind, self.values.item(items, index)))
            .map_err(|error| prefix("[]", error))
    }

    fn items_place(
        &mut self,
        elem: &'a Place,
        items: &V::Items,
        at: usize,
        note: &mut usize,
    ) -> Result<(), Error> {
        if elem.size_bytes == 0 {
            return Ok(());
        }
        if let Some(bytes) = self.values.raw(elem, items) {
            self.put(at, bytes);
            return Ok(());
        }
        (0..self.values.count(items))
            .try_for_each(|index| {
                let value = self.values.item(items, index);
                self.place(&elem.kind, value, at + index * count(elem.size_bytes), note)
            })
            .map_err(|error| prefix("[]", error))
    }

    /// Writes a relative pointer to the next note, or to nowhere.
    fn place_pointer(&mut self, at: usize, note: Option<&mut usize>) {
        let offset = match note {
            None => i64::from(NOWHERE),
            Some(note) => self.next_note(note) as i64 - at as i64,
        };
        // Archives end at 2 GiB: no offset takes more than 32 bits.
        self.put(at, &offset.to_le_bytes()[..4]);
    }

    fn next_note(&self, note: &mut usize) -> usize {
        *note += 1;
        self.notes[*note - 1]
    }

    /// Forgets the notes from `base` on, whose objects are pointed to, and notes the one at `at`.
    fn note_instead(&mut self, base: usize, at: usize) {
        self.notes.truncate(base);
        self.notes.push(at);
    }

    fn nested(&mut self, walk: impl FnOnce(&mut Self) -> Result<(), Error>) -> Result<(), Error> {
        self.depth.enter()?;
        walk(self)?;
        self.depth.leave();
        Ok(())
    }

    /// Appends zeros for an object.
    fn alloc(&mut self, align: u32, size: usize) -> Result<usize, Error> {
        let at = self.out.len().next_multiple_of(count(align));
        self.check_room(at, size)?;
        self.out.resize(at + size, 0);
        Ok(at)
    }

    fn check_room(&self, at: usize, size: usize) -> Result<(), Error> {
        if at.saturating_add(size) <= self.bytes_max {
            return Ok(());
        }
        let message = format!("the archive would exceed the limit of {} bytes", self.bytes_max);
        Err(Error::new(ErrorKind::SerializeFailed, message))
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.out[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn put_count(&mut self, at: usize, count: usize) -> Result<(), Error> {
        let count = u32::try_from(count).map_err(|_| broken("a list is too long"))?;
        self.put(at, &count.to_le_bytes());
        Ok(())
    }
}

impl<'a, F> Shown<'a, F> {
    fn each(
        &self,
        mut visit: impl FnMut(usize, &'a Field) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.fields.iter().enumerate().try_for_each(|(index, field)| {
            visit(index, field).map_err(|error| {
                let error = prefix(&field.name, error);
                if self.name.is_empty() { error } else { prefix(self.name, error) }
            })
        })
    }
}
