//! From a message to an archive: bytes as rkyv would have written them for the same value.
//!
//! rkyv writes depth first: what an object points to comes before it, fields and elements in
//! order. So there are two walks over the same part of the message. [`Decoder::before`] writes what
//! comes before an object and notes where, [`Decoder::place`] writes the object itself and takes
//! the notes in the same order. Maps have a file of their own, `decode/maps.rs`.

mod maps;

use super::message::{LIST_POINTERS, ListView, Message, PointerAt, Structs, View};
use super::plan::{Arm, Body, Choice, Elem, Member, NodeId, Plan, Pointee, Slot};
use super::source::{INLINE_MAX, check_bits};
use super::write::{is_any_bits, list_code};
use super::{Limits, broken, count, too_deep};
use crate::schema::{Kind, Place, Scalar, Schema, TypeSchema, prefix};
use crate::{Error, ErrorKind};

/// The largest archive its own pointers can reach across, and the longest string.
const ARCHIVE_BYTES_MAX: usize = i32::MAX as usize;
const STRING_BYTES_MAX: usize = (1 << 30) - 1;

/// The archive of the value in `message`.
pub(super) fn decode(
    plan: &Plan,
    schema: &Schema,
    root: &TypeSchema,
    limits: Limits,
    message: &[u8],
) -> Result<Vec<u8>, Error> {
    debug_assert!(std::ptr::eq(schema.root(), root));
    let decode = || {
        let message = Message::new(message)?;
        let bytes_max = limits.message_bytes_max.min(ARCHIVE_BYTES_MAX);
        let out = Vec::new();
        let decoder =
            Decoder { plan, limits, bytes_max, message, out, notes: Vec::new(), depth: 0 };
        decoder.root(root)
    };
    decode().map_err(|error| prefix(&root.name, error))
}

pub(super) struct Decoder<'p, 'm> {
    plan: &'p Plan,
    limits: Limits,
    bytes_max: usize,
    message: Message<'m>,
    out: Vec<u8>,
    /// Where objects were written that are still to be pointed to.
    notes: Vec<usize>,
    depth: u32,
}

/// A value in a message, as far as it is known without following pointers.
#[derive(Clone, Copy, Debug)]
pub(super) enum From<'p, 'm> {
    Nothing,
    Bits(u128),
    /// A value of an enum without data.
    Number(NodeId, u64),
    Option(u64, &'p Slot, View<'m>),
    Pointer(&'p Pointee, PointerAt),
    Struct(NodeId, View<'m>),
}

/// The elements of a list.
#[derive(Clone, Copy, Debug)]
pub(super) enum Items<'p, 'm> {
    List(&'p Elem, ListView<'m>),
    Structs(NodeId, Structs),
    Bytes(&'m [u8]),
    /// No list, but an array must have elements: they are all zero.
    Zeros(Option<&'p Elem>, usize),
}

impl Items<'_, '_> {
    pub(super) fn count(&self) -> usize {
        match self {
            Self::List(_, list) => list.count,
            Self::Structs(_, structs) => structs.count,
            Self::Bytes(bytes) => bytes.len(),
            Self::Zeros(_, count) => *count,
        }
    }
}

impl<'p, 'm> Decoder<'p, 'm> {
    fn root(mut self, root: &TypeSchema) -> Result<Vec<u8>, Error> {
        let view = self.message.structure(self.message.root())?;
        let from = match &self.plan.node(self.plan.root).body {
            Body::Record(members) if root.is_unit_enum() => open(&members[0].slot, view),
            _ => From::Struct(self.plan.root, view),
        };
        let kind = Kind::Type { name: root.name.clone(), recursive: false };
        self.before(&kind, from)?;
        let at = self.alloc(root.align, count(root.size_bytes))?;
        self.place(&kind, from, at, &mut 0)?;
        Ok(self.out)
    }

    /// Writes what an object of `kind` points to.
    fn before(&mut self, kind: &Kind, from: From<'p, 'm>) -> Result<(), Error> {
        match kind {
            Kind::Unit | Kind::Scalar(_) => Ok(()),
            Kind::String | Kind::BoxStr => {
                let text = self.text(from)?;
                if *kind == Kind::String {
                    if text.len() <= INLINE_MAX {
                        return Ok(());
                    }
                    if text.len() > STRING_BYTES_MAX {
                        return Err(broken("the text is longer than a string in an archive"));
                    }
                }
                let at = self.alloc(1, text.len())?;
                self.put(at, text.as_bytes());
                self.notes.push(at);
                Ok(())
            }
            Kind::Box(elem) => {
                let base = self.notes.len();
                self.before(&elem.kind, from)?;
                let at = self.alloc(elem.align, count(elem.size_bytes))?;
                self.place(&elem.kind, from, at, &mut { base })?;
                self.note_instead(base, at);
                Ok(())
            }
            Kind::Option(elem) => match self.some(from)? {
                Some(from) => self.before(&elem.kind, from),
                None => Ok(()),
            },
            Kind::Tuple(_) | Kind::Type { .. } => match self.enter(from)? {
                From::Struct(node, view) => self.nested(|decoder| {
                    let (members, outer) = decoder.members(node, view)?;
                    members
                        .iter()
                        .try_for_each(|member| {
                            decoder
                                .before(&member.place.kind, open(&member.slot, view))
                                .map_err(|error| prefix(&member.origin, error))
                        })
                        .map_err(|error| within(outer, error))
                }),
                _ => Ok(()),
            },
            Kind::Array { elem, .. } => {
                let items = self.list(kind, from)?;
                self.nested(|decoder| decoder.items_before(elem, &items))
            }
            Kind::Vec(elem) | Kind::BoxSlice(elem) => {
                let items = self.list(kind, from)?;
                let base = self.notes.len();
                self.nested(|decoder| decoder.items_before(elem, &items))?;
                let size = items.count().checked_mul(count(elem.size_bytes));
                let at = self.alloc(elem.align, size.unwrap_or(usize::MAX))?;
                self.items_place(elem, &items, at, &mut { base })?;
                self.note_instead(base, at);
                Ok(())
            }
            Kind::HashMap { key, value } => {
                self.nested(|decoder| decoder.hash_map(key, value, from))
            }
            Kind::BTreeMap { key, value } => {
                self.nested(|decoder| decoder.tree_map(key, value, from))
            }
        }
    }

    /// Writes an object of `kind` at `at`; `note` is the first of its notes.
    fn place(
        &mut self,
        kind: &Kind,
        from: From<'p, 'm>,
        at: usize,
        note: &mut usize,
    ) -> Result<(), Error> {
        match kind {
            Kind::Unit => Ok(()),
            Kind::Scalar(scalar) => {
                let bits = self.bits(*scalar, from)?;
                self.put(at, &bits.to_le_bytes()[..count(scalar.size_bytes())]);
                Ok(())
            }
            Kind::String => self.place_string(from, at, note),
            Kind::BoxStr => {
                let len = self.text(from)?.len();
                self.place_pointer(at, Some(note));
                self.put_count(at + 4, len)
            }
            Kind::Box(_) => {
                self.place_pointer(at, Some(note));
                Ok(())
            }
            Kind::Option(elem) => match self.some(from)? {
                Some(from) => {
                    self.out[at] = 1;
                    self.place(&elem.kind, from, at + count(elem.offset), note)
                }
                None => Ok(()),
            },
            Kind::Tuple(_) | Kind::Type { .. } => match self.enter(from)? {
                From::Struct(node, view) => self.place_struct(node, view, at, note),
                From::Number(node, number) => {
                    self.out[at] = self.tag(node, number)?;
                    Ok(())
                }
                _ => Err(unlike(kind)),
            },
            Kind::Array { elem, .. } => {
                let items = self.list(kind, from)?;
                self.items_place(elem, &items, at, note)
            }
            Kind::Vec(_) | Kind::BoxSlice(_) => {
                let items = self.list(kind, from)?;
                self.place_pointer(at, Some(note));
                self.put_count(at + 4, items.count())
            }
            Kind::HashMap { .. } => {
                let len = self.list(kind, from)?.count();
                self.place_pointer(at, (len > 0).then_some(note));
                self.put_count(at + 4, len)?;
                self.put_count(at + 8, maps::buckets(len))
            }
            Kind::BTreeMap { .. } => {
                let len = self.list(kind, from)?.count();
                self.place_pointer(at, (len > 0).then_some(note));
                self.put_count(at + 4, len)
            }
        }
    }

    fn place_struct(
        &mut self,
        node: NodeId,
        view: View<'m>,
        at: usize,
        note: &mut usize,
    ) -> Result<(), Error> {
        if let Body::Choice(choice) = &self.plan.node(node).body {
            self.out[at] = arm(choice, view)?.tag;
        }
        let (members, outer) = self.members(node, view)?;
        members
            .iter()
            .try_for_each(|member| {
                let at = at + count(member.place.offset);
                self.place(&member.place.kind, open(&member.slot, view), at, note)
                    .map_err(|error| prefix(&member.origin, error))
            })
            .map_err(|error| within(outer, error))
    }

    fn place_string(
        &mut self,
        from: From<'p, 'm>,
        at: usize,
        note: &mut usize,
    ) -> Result<(), Error> {
        let text = self.text(from)?.as_bytes();
        if text.len() <= INLINE_MAX {
            self.out[at..at + INLINE_MAX].fill(0xff);
            self.put(at, text);
            return Ok(());
        }
        self.place_pointer(at + 4, Some(note));
        // The pointer counts from the start of the string, not from where it stands.
        let offset = self.notes[*note - 1] as i64 - at as i64;
        self.put(at + 4, &offset.to_le_bytes()[..4]);
        // Six bits of the length are below the two that mark it, the others above.
        let len = text.len() as u64;
        let word = (len & 0x3f) | 0x80 | (len & !0x3f) << 2;
        self.put(at, &word.to_le_bytes()[..4]);
        Ok(())
    }

    fn items_before(&mut self, elem: &Place, items: &Items<'p, 'm>) -> Result<(), Error> {
        if matches!(elem.kind, Kind::Scalar(_) | Kind::Unit) || elem.size_bytes == 0 {
            return Ok(());
        }
        (0..items.count())
            .try_for_each(|index| {
                let from = self.item(items, index);
                self.before(&elem.kind, from)
            })
            .map_err(|error| prefix("[]", error))
    }

    fn items_place(
        &mut self,
        elem: &Place,
        items: &Items<'p, 'm>,
        at: usize,
        note: &mut usize,
    ) -> Result<(), Error> {
        match (items, &elem.kind) {
            _ if elem.size_bytes == 0 => Ok(()),
            (Items::Bytes(bytes), _) => {
                self.put(at, bytes);
                Ok(())
            }
            (Items::List(Elem::Scalar(scalar), list), Kind::Scalar(_)) if is_any_bits(*scalar) => {
                self.put(at, list.bytes);
                Ok(())
            }
            (items, kind) => (0..items.count())
                .try_for_each(|index| {
                    let from = self.item(items, index);
                    self.place(kind, from, at + index * count(elem.size_bytes), note)
                })
                .map_err(|error| prefix("[]", error)),
        }
    }

    /// Writes a relative pointer to the next note, or to nowhere.
    fn place_pointer(&mut self, at: usize, note: Option<&mut usize>) {
        let offset = match note {
            None => i64::from(super::source::NOWHERE),
            Some(note) => {
                *note += 1;
                self.notes[*note - 1] as i64 - at as i64
            }
        };
        // Archives end at 2 GiB: no offset takes more than 32 bits.
        self.put(at, &offset.to_le_bytes()[..4]);
    }

    /// Forgets the notes from `base` on, whose objects are pointed to, and notes the one at `at`.
    fn note_instead(&mut self, base: usize, at: usize) {
        self.notes.truncate(base);
        self.notes.push(at);
    }

    /// What a variant's tag or number in the message is in the archive.
    fn tag(&self, node: NodeId, number: u64) -> Result<u8, Error> {
        let enumeration = self.plan.enumeration(node);
        let known = usize::try_from(number).ok().filter(|&at| at < enumeration.tags.len());
        let number = known.or(enumeration.default).ok_or_else(|| unknown(number))?;
        Ok(enumeration.tags[number])
    }

    /// The fields of a struct, tuple or variant, and the name of the variant.
    fn members(&self, node: NodeId, view: View<'m>) -> Result<(&'p [Member], &'p str), Error> {
        match &self.plan.node(node).body {
            Body::Record(members) => Ok((members, "")),
            Body::Choice(choice) => arm(choice, view).map(|arm| (&*arm.members, &*arm.name)),
            Body::Enumeration(_) => unreachable!("invariant: no struct is an enumeration"),
        }
    }

    fn nested(&mut self, walk: impl FnOnce(&mut Self) -> Result<(), Error>) -> Result<(), Error> {
        if self.depth == self.limits.depth_max {
            return Err(too_deep(self.depth));
        }
        self.depth += 1;
        walk(self)?;
        self.depth -= 1;
        Ok(())
    }

    /// Appends zeros for an object.
    fn alloc(&mut self, align: u32, size: usize) -> Result<usize, Error> {
        let at = self.out.len().next_multiple_of(count(align));
        let end = at.checked_add(size).filter(|&end| end <= self.bytes_max).ok_or_else(|| {
            broken(format!("its archive would exceed the limit of {} bytes", self.bytes_max))
        })?;
        self.out.resize(end, 0);
        Ok(at)
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

/// Values, as the walks above and the keys of maps see them.
impl<'p, 'm> Decoder<'p, 'm> {
    pub(super) fn bits(&self, scalar: Scalar, from: From<'p, 'm>) -> Result<u128, Error> {
        match self.enter(from)? {
            From::Bits(bits) => check_bits(scalar, bits),
            _ => Err(unlike(&Kind::Scalar(scalar))),
        }
    }

    pub(super) fn text(&self, from: From<'p, 'm>) -> Result<&'m str, Error> {
        match from {
            From::Pointer(Pointee::Text, at) => self.message.text(at),
            _ => Err(unlike(&Kind::String)),
        }
    }

    /// What is in an option.
    pub(super) fn some(&self, from: From<'p, 'm>) -> Result<Option<From<'p, 'm>>, Error> {
        match self.enter(from)? {
            From::Option(0, ..) => Ok(None),
            From::Option(1, some, view) => Ok(Some(open(some, view))),
            From::Option(tag, ..) => Err(unknown(tag)),
            _ => Err(broken("an option is stored as something else")),
        }
    }

    /// The fields of a tuple.
    pub(super) fn fields(&self, from: From<'p, 'm>) -> Result<Vec<From<'p, 'm>>, Error> {
        let From::Struct(node, view) = self.enter(from)? else {
            return Err(broken("a tuple is stored as something else"));
        };
        let (members, _) = self.members(node, view)?;
        Ok(members.iter().map(|member| open(&member.slot, view)).collect())
    }

    /// The elements of a vector, slice, array or map.
    pub(super) fn list(&self, kind: &Kind, from: From<'p, 'm>) -> Result<Items<'p, 'm>, Error> {
        let From::Pointer(to, at) = from else { return Err(unlike(kind)) };
        let (items, elem) = match to {
            Pointee::Data => (self.message.list(at, 2)?.map(|list| Items::Bytes(list.bytes)), None),
            Pointee::List(elem) => (self.items(elem, at)?, Some(&**elem)),
            Pointee::Text | Pointee::Struct(_) => return Err(unlike(kind)),
        };
        let length = match kind {
            Kind::Array { length, .. } => count(*length),
            _ => items.as_ref().map_or(0, Items::count),
        };
        match items {
            Some(items) if items.count() != length => {
                let found = items.count();
                Err(broken(format!("has {found} elements, but the array has {length}")))
            }
            Some(items) => Ok(items),
            None => {
                self.message.charge(length)?;
                Ok(Items::Zeros(elem, length))
            }
        }
    }

    fn items(&self, elem: &'p Elem, at: PointerAt) -> Result<Option<Items<'p, 'm>>, Error> {
        let code = match elem {
            Elem::Struct(node) => {
                let structs = self.message.structs(at)?;
                return Ok(structs.map(|structs| Items::Structs(*node, structs)));
            }
            Elem::Void => 0,
            Elem::Scalar(scalar) => list_code(*scalar).0,
            Elem::Enum(_) => 3,
            Elem::Pointer(_) => LIST_POINTERS,
        };
        Ok(self.message.list(at, code)?.map(|list| Items::List(elem, list)))
    }

    pub(super) fn item(&self, items: &Items<'p, 'm>, index: usize) -> From<'p, 'm> {
        match *items {
            Items::Bytes(bytes) => From::Bits(bytes[index].into()),
            Items::Structs(node, structs) => {
                From::Struct(node, self.message.element(&structs, index))
            }
            Items::List(elem, list) => match elem {
                Elem::Void => From::Nothing,
                Elem::Scalar(Scalar::Bool) => From::Bits(list.bool(index).into()),
                Elem::Scalar(scalar) => {
                    From::Bits(list.bits(index, count(scalar.size_bytes())).into())
                }
                Elem::Enum(node) => From::Number(*node, list.bits(index, 2)),
                Elem::Pointer(to) => From::Pointer(to, list.pointer(index)),
                Elem::Struct(_) => unreachable!("invariant: structs have a view of their own"),
            },
            Items::Zeros(elem, _) => match elem {
                None | Some(Elem::Scalar(_)) => From::Bits(0),
                Some(Elem::Void) => From::Nothing,
                Some(Elem::Enum(node)) => From::Number(*node, 0),
                Some(Elem::Pointer(to)) => From::Pointer(to, PointerAt::NOWHERE),
                Some(Elem::Struct(node)) => From::Struct(*node, View::ZEROS),
            },
        }
    }

    /// Follows a pointer to a struct, and looks into a struct that only wraps a value.
    fn enter(&self, from: From<'p, 'm>) -> Result<From<'p, 'm>, Error> {
        let (node, view) = match from {
            From::Pointer(Pointee::Struct(node), at) => (*node, self.message.structure(at)?),
            From::Struct(node, view) => (node, view),
            other => return Ok(other),
        };
        Ok(match &self.plan.node(node).body {
            Body::Record(members) if members.first().is_some_and(|one| one.name.is_empty()) => {
                open(&members[0].slot, view)
            }
            _ => From::Struct(node, view),
        })
    }
}

/// The value in a slot of a struct.
fn open<'p, 'm>(slot: &'p Slot, view: View<'m>) -> From<'p, 'm> {
    match slot {
        Slot::Void => From::Nothing,
        Slot::Data { scalar: Scalar::Bool, offset } => From::Bits(view.bool(*offset).into()),
        Slot::Data { scalar, offset } => {
            From::Bits(view.bits(*offset, count(scalar.size_bytes())).into())
        }
        Slot::Wide { low, high, .. } => {
            From::Bits(u128::from(view.bits(*low, 8)) | u128::from(view.bits(*high, 8)) << 64)
        }
        Slot::Enum { node, offset } => From::Number(*node, view.bits(*offset, 2)),
        Slot::Option { tag, some } => From::Option(view.bits(*tag, 2), some, view),
        Slot::Pointer { index, to } => From::Pointer(to, view.pointer(*index)),
    }
}

/// The variant that is set.
fn arm<'p>(choice: &'p Choice, view: View<'_>) -> Result<&'p Arm, Error> {
    let tag = choice.tag.map_or(0, |tag| view.bits(tag, 2));
    let known = usize::try_from(tag).ok().and_then(|tag| choice.arms.get(tag));
    let known = known.or_else(|| choice.default.map(|default| &choice.arms[default]));
    known.ok_or_else(|| unknown(tag))
}

fn within(outer: &str, error: Error) -> Error {
    if outer.is_empty() { error } else { prefix(outer, error) }
}

fn unknown(tag: u64) -> Error {
    let message = format!("has the variant number {tag}, which this version does not know");
    Error::new(ErrorKind::SchemaVariant, message)
}

/// The plan of a schema fits the schema: this is never seen, but no reason to panic.
fn unlike(kind: &Kind) -> Error {
    broken(format!("{} is stored as something else", kind.word()))
}
