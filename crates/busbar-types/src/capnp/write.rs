//! From an archive to a message: one walk through the archive, which writes each struct and list
//! where it belongs as soon as it is known how large it is. No tree of values comes between.
//!
//! The message is one segment in stream framing. It goes into a slice or a growing vector; a slice
//! that is too small is filled as far as it goes while the rest is only counted, so that the error
//! can say what it takes. Archives are not trusted: see `source`.

use super::plan::{Body, Elem, Member, NodeId, Plan, Pointee, Size, Slot, list_elem};
use super::{WORD, too_large};
use crate::archive::{Archived, Depth, Run, broken, count, is_any_bits};
use crate::schema::{Kind, Place, Scalar, prefix};
use crate::{Error, ErrorKind, Limits};

/// Number of segments less one and the size of the only one, four bytes each.
pub(super) const FRAME_BYTES: usize = 8;
/// Lists have 29 bits for their length.
const LIST_MAX: usize = (1 << 29) - 1;

/// Where a message goes.
pub(super) enum Target<'o> {
    Grow(Vec<u8>),
    Fixed {
        out: &'o mut [u8],
        /// Bytes written, or that would have been.
        used: usize,
    },
}

impl Target<'_> {
    fn used(&self) -> usize {
        match self {
            Self::Grow(out) => out.len(),
            Self::Fixed { used, .. } => *used,
        }
    }

    fn alloc(&mut self, bytes: usize) {
        match self {
            Self::Grow(out) => out.resize(out.len() + bytes, 0),
            Self::Fixed { out, used } => {
                let start = (*used).min(out.len());
                *used += bytes;
                let end = (*used).min(out.len());
                out[start..end].fill(0);
            }
        }
    }

    /// `len` allocated bytes; none if they are beyond the end of a slice.
    fn bytes(&mut self, at: usize, len: usize) -> Option<&mut [u8]> {
        match self {
            Self::Grow(out) => out.get_mut(at..at + len),
            Self::Fixed { out, .. } => out.get_mut(at..at + len),
        }
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(out) = self.bytes(at, bytes.len()) {
            out.copy_from_slice(bytes);
        }
    }
}

/// A struct being written: where its data and its pointers start.
#[derive(Clone, Copy)]
struct At {
    data: usize,
    pointers: usize,
}

impl At {
    fn new(start: usize, size: Size) -> Self {
        Self { data: start, pointers: start + usize::from(size.data_words) * WORD }
    }

    fn pointer(self, index: u32) -> usize {
        self.pointers + count(index) * WORD
    }
}

/// Writes the message that `archive` is; its root takes `root_bytes`.
pub(super) fn write<'o>(
    plan: &Plan,
    root_bytes: u32,
    limits: Limits,
    archive: &[u8],
    target: Target<'o>,
) -> Result<(Target<'o>, usize), Error> {
    let source = Archived(archive);
    let at = source.root(root_bytes)?;
    let depth = Depth::new(limits);
    let mut writer = Writer { plan, source, limits, target, depth };
    writer.alloc_bytes(FRAME_BYTES + WORD)?;
    writer.structure(FRAME_BYTES, plan.root, |writer, out| writer.node(plan.root, at, out))?;
    let used = writer.target.used();
    let words = u32::try_from((used - FRAME_BYTES) / WORD);
    let words = words.map_err(|_| too_large(limits.bytes_max))?;
    writer.target.put(4, &words.to_le_bytes());
    Ok((writer.target, used))
}

struct Writer<'a, 'o> {
    plan: &'a Plan,
    source: Archived<'a>,
    limits: Limits,
    target: Target<'o>,
    depth: Depth,
}

impl Writer<'_, '_> {
    /// A struct or enum with data, whose archived form is at `at`.
    fn node(&mut self, id: NodeId, at: usize, out: At) -> Result<(), Error> {
        let plan = self.plan;
        match &plan.node(id).body {
            Body::Record(members) => self.members(members, at, out),
            Body::Choice(choice) => {
                let tag = self.source.byte(at)?;
                let number = choice.arms.iter().position(|arm| arm.tag == tag);
                let number =
                    number.ok_or_else(|| broken(format!("{tag} is no tag of the enum")))?;
                if let Some(tag) = choice.tag {
                    self.put_u16(out, tag, number);
                }
                let arm = &choice.arms[number];
                self.members(&arm.members, at, out).map_err(|error| prefix(&arm.name, error))
            }
            Body::Enumeration(_) => unreachable!("invariant: no struct is an enumeration"),
        }
    }

    fn members(&mut self, members: &[Member], at: usize, out: At) -> Result<(), Error> {
        members.iter().try_for_each(|member| {
            self.slot(&member.place.kind, at + count(member.place.offset), &member.slot, out)
                .map_err(|error| prefix(&member.origin, error))
        })
    }

    fn slot(&mut self, kind: &Kind, at: usize, slot: &Slot, out: At) -> Result<(), Error> {
        match (kind, slot) {
            (Kind::Box(elem), slot) => {
                let target = self.source.boxed(at, elem.size_bytes)?;
                self.slot(&elem.kind, target, slot, out)
            }
            (_, Slot::Void) => Ok(()),
            (_, Slot::Data { scalar, offset }) => {
                let bits = self.source.scalar(at, *scalar)?;
                self.put_scalar(out.data, *scalar, count(*offset), bits);
                Ok(())
            }
            (_, Slot::Wide { low, high, .. }) => {
                let bytes: [u8; 16] = self.source.scalar(at, Scalar::U128)?.to_le_bytes();
                self.target.put(out.data + count(*low) * WORD, &bytes[..WORD]);
                self.target.put(out.data + count(*high) * WORD, &bytes[WORD..]);
                Ok(())
            }
            (_, Slot::Enum { node, offset }) => {
                let number = self.number(*node, at)?;
                self.put_u16(out, *offset, number);
                Ok(())
            }
            (Kind::Option(elem), Slot::Option { tag, some }) => {
                if self.source.is_some(at)? {
                    self.put_u16(out, *tag, 1);
                    self.slot(&elem.kind, at + count(elem.offset), some, out)?;
                }
                Ok(())
            }
            (kind, Slot::Pointer { index, to }) => self.pointer(kind, at, out.pointer(*index), to),
            (_, Slot::Option { .. }) => unreachable!("invariant: only options are unions"),
        }
    }

    fn pointer(
        &mut self,
        kind: &Kind,
        at: usize,
        pointer: usize,
        to: &Pointee,
    ) -> Result<(), Error> {
        match (kind, to) {
            (Kind::Box(elem), to) => {
                let target = self.source.boxed(at, elem.size_bytes)?;
                self.pointer(&elem.kind, target, pointer, to)
            }
            (Kind::String, Pointee::Text) => self.text(pointer, self.source.string(at)?),
            (_, Pointee::Text) => self.text(pointer, self.source.boxed_str(at)?),
            (Kind::Tuple(_) | Kind::Type { .. }, Pointee::Struct(node)) => {
                self.structure(pointer, *node, |writer, out| writer.node(*node, at, out))
            }
            // A struct around a value is itself no kind of its own.
            (kind, Pointee::Struct(node)) => {
                let Body::Record(members) = &self.plan.node(*node).body else {
                    unreachable!("invariant: what is wrapped is in a record")
                };
                self.structure(pointer, *node, |writer, out| {
                    writer.slot(kind, at, &members[0].slot, out)
                })
            }
            (kind, Pointee::Data) => {
                let run = self.run(kind, at)?;
                let bytes = self.source.bytes(run.start, run.count)?;
                let start = self.list(pointer, 2, run.count, run.count)?;
                self.target.put(start, bytes);
                Ok(())
            }
            (kind, Pointee::List(elem)) => self.nested(|writer| match kind {
                Kind::HashMap { key, value } => {
                    let entries = writer.source.hash_entries(at, key, value)?;
                    writer.entries(pointer, elem, &entries)
                }
                Kind::BTreeMap { key, value } => {
                    let entries = writer.source.tree_entries(at, key, value)?;
                    writer.entries(pointer, elem, &entries)
                }
                kind => {
                    let run = writer.run(kind, at)?;
                    let place = list_elem(kind).expect("invariant: all else that is a list");
                    writer.elems(pointer, elem, place, run).map_err(|error| prefix("[]", error))
                }
            }),
        }
    }

    /// The elements of a vector, slice or array.
    fn run(&self, kind: &Kind, at: usize) -> Result<Run, Error> {
        match kind {
            Kind::Array { elem, length } => {
                self.source.checked(Run { start: at, count: count(*length) }, elem)
            }
            Kind::Vec(elem) | Kind::BoxSlice(elem) => self.source.slice(at, elem),
            _ => unreachable!("invariant: lists are made of these"),
        }
    }

    fn elems(&mut self, pointer: usize, elem: &Elem, place: &Place, run: Run) -> Result<(), Error> {
        let step = count(place.size_bytes);
        let at = |index: usize| run.start + index * step;
        match elem {
            Elem::Void => self.list(pointer, 0, run.count, 0).map(|_| ()),
            Elem::Scalar(scalar) => {
                let (code, bits) = list_code(*scalar);
                let start = self.list(pointer, code, run.count, (run.count * bits).div_ceil(8))?;
                if place.kind == Kind::Scalar(*scalar) && is_any_bits(*scalar) {
                    let bytes = self.source.bytes(run.start, run.count * step)?;
                    self.target.put(start, bytes);
                    return Ok(());
                }
                for index in 0..run.count {
                    let at = self.unboxed(&place.kind, at(index))?;
                    let bits = self.source.scalar(at, *scalar)?;
                    self.put_scalar(start, *scalar, index, bits);
                }
                Ok(())
            }
            Elem::Enum(node) => {
                let start = self.list(pointer, 3, run.count, run.count * 2)?;
                for index in 0..run.count {
                    let at = self.unboxed(&place.kind, at(index))?;
                    let number = self.number(*node, at)?;
                    self.put_u16(At { data: start, pointers: 0 }, number_u32(index), number);
                }
                Ok(())
            }
            Elem::Struct(node) => {
                let size = self.plan.node(*node).size;
                let start = self.composite(pointer, run.count, size)?;
                if size.words() == 0 {
                    return Ok(());
                }
                // Structs in lists are a step for readers, too.
                self.nested(|writer| {
                    (0..run.count).try_for_each(|index| {
                        let out = At::new(start + index * size.words() * WORD, size);
                        writer.element(&place.kind, at(index), *node, out)
                    })
                })
            }
            Elem::Pointer(to) => {
                let start = self.list(pointer, 6, run.count, run.count * WORD)?;
                (0..run.count).try_for_each(|index| {
                    self.pointer(&place.kind, at(index), start + index * WORD, to)
                })
            }
        }
    }

    /// A struct in a list.
    fn element(&mut self, kind: &Kind, at: usize, node: NodeId, out: At) -> Result<(), Error> {
        match (kind, &self.plan.node(node).body) {
            (Kind::Box(elem), _) => {
                let target = self.source.boxed(at, elem.size_bytes)?;
                self.element(&elem.kind, target, node, out)
            }
            (Kind::Option(_) | Kind::Scalar(_), Body::Record(members)) => {
                self.slot(kind, at, &members[0].slot, out)
            }
            _ => self.node(node, at, out),
        }
    }

    fn entries(
        &mut self,
        pointer: usize,
        elem: &Elem,
        entries: &[(usize, usize)],
    ) -> Result<(), Error> {
        let plan = self.plan;
        let Elem::Struct(node) = elem else { unreachable!("invariant: entries are structs") };
        let Body::Record(members) = &plan.node(*node).body else {
            unreachable!("invariant: entries are records")
        };
        let size = plan.node(*node).size;
        let start = self.composite(pointer, entries.len(), size)?;
        self.nested(|writer| {
            entries.iter().enumerate().try_for_each(|(index, &(key, value))| {
                let out = At::new(start + index * size.words() * WORD, size);
                members.iter().zip([key, value]).try_for_each(|(member, at)| {
                    writer
                        .slot(&member.place.kind, at, &member.slot, out)
                        .map_err(|error| prefix(&member.origin, error))
                })
            })
        })
    }

    fn unboxed(&self, mut kind: &Kind, mut at: usize) -> Result<usize, Error> {
        while let Kind::Box(elem) = kind {
            at = self.source.boxed(at, elem.size_bytes)?;
            kind = &elem.kind;
        }
        Ok(at)
    }

    /// The number of the variant at `at`.
    fn number(&self, node: NodeId, at: usize) -> Result<usize, Error> {
        let tag = self.source.byte(at)?;
        let tags = &self.plan.enumeration(node).tags;
        let number = tags.iter().position(|&one| one == tag);
        number.ok_or_else(|| broken(format!("{tag} is no tag of the enum")))
    }

    fn text(&mut self, pointer: usize, text: &str) -> Result<(), Error> {
        let start = self.list(pointer, 2, text.len() + 1, text.len() + 1)?;
        self.target.put(start, text.as_bytes());
        Ok(())
    }

    /// Allocates a struct, points to it and has it filled.
    fn structure(
        &mut self,
        pointer: usize,
        node: NodeId,
        fill: impl FnOnce(&mut Self, At) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let size = self.plan.node(node).size;
        let start = self.alloc_bytes(size.words() * WORD)?;
        // A struct without anything is told from no struct by pointing at its own pointer.
        let start_or_self = if size.words() == 0 { pointer } else { start };
        self.put_pointer(pointer, start_or_self, 0, size_bits(size))?;
        self.nested(|writer| fill(writer, At::new(start, size)))
    }

    /// Allocates a list of `bytes` bytes and points to it.
    fn list(
        &mut self,
        pointer: usize,
        code: u32,
        elems: usize,
        bytes: usize,
    ) -> Result<usize, Error> {
        let start = self.alloc_bytes(bytes)?;
        self.put_pointer(pointer, start, 1, list_bits(elems, code)?)?;
        Ok(start)
    }

    /// Allocates a list of structs, with the word in front that says how large they are.
    fn composite(&mut self, pointer: usize, elems: usize, size: Size) -> Result<usize, Error> {
        let words = elems.checked_mul(size.words()).filter(|&words| words <= LIST_MAX);
        let words = words.ok_or_else(|| too_large(self.limits.bytes_max))?;
        list_bits(elems, 7)?;
        let tag = self.alloc_bytes((words + 1) * WORD)?;
        self.put_pointer(pointer, tag, 1, list_bits(words, 7)?)?;
        self.target.put(tag, &(number_u32(elems) << 2).to_le_bytes());
        self.target.put(tag + 4, &size_bits(size).to_le_bytes());
        Ok(tag + WORD)
    }

    fn put_pointer(&mut self, at: usize, to: usize, code: i64, bits: u32) -> Result<(), Error> {
        let words = (to as i64 - at as i64) / WORD as i64 - 1;
        let first = i32::try_from(words << 2 | code);
        let first = first.map_err(|_| too_large(self.limits.bytes_max))?;
        self.target.put(at, &first.to_le_bytes());
        self.target.put(at + 4, &bits.to_le_bytes());
        Ok(())
    }

    fn put_u16(&mut self, out: At, offset: u32, number: usize) {
        let number = u16::try_from(number).expect("invariant: enums have at most 256 variants");
        self.target.put(out.data + count(offset) * 2, &number.to_le_bytes());
    }

    fn put_scalar(&mut self, start: usize, scalar: Scalar, index: usize, bits: u128) {
        if scalar == Scalar::Bool {
            if let Some([byte]) = self.target.bytes(start + index / 8, 1) {
                *byte |= u8::from(bits != 0) << (index % 8);
            }
            return;
        }
        let size = count(scalar.size_bytes());
        self.target.put(start + index * size, &bits.to_le_bytes()[..size]);
    }

    fn alloc_bytes(&mut self, bytes: usize) -> Result<usize, Error> {
        let start = self.target.used();
        let bytes = bytes.next_multiple_of(WORD);
        if bytes > self.limits.bytes_max.saturating_sub(start) {
            return Err(too_large(self.limits.bytes_max));
        }
        self.target.alloc(bytes);
        Ok(start)
    }

    fn nested(&mut self, walk: impl FnOnce(&mut Self) -> Result<(), Error>) -> Result<(), Error> {
        self.depth.enter()?;
        walk(self)?;
        self.depth.leave();
        Ok(())
    }
}

/// How lists of `scalar` are marked, and the bits of an element.
pub(super) fn list_code(scalar: Scalar) -> (u32, usize) {
    match scalar.size_bytes() {
        _ if scalar == Scalar::Bool => (1, 1),
        1 => (2, 8),
        2 => (3, 16),
        4 => (4, 32),
        8 => (5, 64),
        _ => unreachable!("invariant: wider scalars are structs"),
    }
}

fn size_bits(size: Size) -> u32 {
    u32::from(size.data_words) | u32::from(size.pointers) << 16
}

fn list_bits(count: usize, code: u32) -> Result<u32, Error> {
    if count > LIST_MAX {
        let message = format!("a list has {count} elements, but Cap'n Proto ends at {LIST_MAX}");
        return Err(Error::new(ErrorKind::SerializeFailed, message));
    }
    Ok(number_u32(count) << 3 | code)
}

fn number_u32(number: usize) -> u32 {
    u32::try_from(number).expect("invariant: checked to have 29 bits")
}
