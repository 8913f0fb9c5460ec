//! Lists of values that take no bytes, such as `Vec<()>`: the size of an archive bounds everything
//! else in it, but eight bytes can announce four billion of these. Types that may have such lists
//! are walked before rkyv looks at every element; this looks at nothing but the lengths of lists,
//! and leaves it to rkyv whether what it finds on its way is right.

use super::limits::{DEPTH_MAX, Depth, Limits};
use super::source::{Archived, Run, broken};
use crate::Error;
use crate::describe::{BodyDesc, FieldDesc, KindDesc, PlaceDesc, TypeDesc};
use crate::schema::{Kind, Place};

/// A list of values that take no bytes may say any length: a few bytes must not become gigabytes.
pub(crate) const EMPTIES_MAX: usize = 4096;

/// All such lists of an archive together: each of them is only eight bytes.
const ALL_EMPTIES_MAX: usize = 65_536;

/// The error of a list with more of them.
#[cold]
pub(crate) fn too_many_empties(count: usize) -> Error {
    broken(format!("a list has {count} values of no bytes, more than {EMPTIES_MAX}"))
}

/// Whether archives of `desc` need [`check`].
pub(super) const fn may_be_endless(desc: &TypeDesc) -> bool {
    desc.lists_empties || desc.mentions_by_name
}

/// Refuses an archive with more values of no bytes than a list should have.
pub(super) fn check(desc: &TypeDesc, bytes: &[u8]) -> Result<(), Error> {
    let limits = Limits { depth_max: DEPTH_MAX, ..Limits::default() };
    let mut walk = Walk {
        archived: Archived(bytes),
        left: bytes.len(),
        depth: Depth::new(limits),
        empties: 0,
    };
    let root = walk.archived.root(narrow(desc.size_bytes))?;
    walk.body(root, &desc.body)
}

struct Walk<'a> {
    archived: Archived<'a>,
    /// Bytes of the archive that can still be pointed to, if none is pointed to twice: without it,
    /// lists that share their elements could keep this busy for ever.
    left: usize,
    depth: Depth,
    /// Values of no bytes so far.
    empties: usize,
}

impl Walk<'_> {
    fn body(&mut self, at: usize, body: &BodyDesc) -> Result<(), Error> {
        match body {
            BodyDesc::Struct { fields, .. } => self.fields(at, fields),
            BodyDesc::Enum { variants, .. } => {
                let tag = self.archived.byte(at)?;
                let variant = variants.iter().find(|variant| variant.tag == tag);
                variant.map_or(Ok(()), |variant| self.fields(at, variant.fields))
            }
        }
    }

    fn fields(&mut self, at: usize, fields: &[FieldDesc]) -> Result<(), Error> {
        fields.iter().try_for_each(|field| self.place(at + field.offset, field.place))
    }

    fn place(&mut self, at: usize, place: &PlaceDesc) -> Result<(), Error> {
        match &place.kind {
            KindDesc::Scalar(_) | KindDesc::Unit | KindDesc::String | KindDesc::BoxStr => Ok(()),
            KindDesc::Vec(elem) | KindDesc::BoxSlice(elem) => {
                let run = self.archived.slice(at, &outline(elem))?;
                if elem.size_bytes == 0 {
                    self.claim_empties(run.count)?;
                }
                self.behind(run.count.saturating_mul(elem.size_bytes), |walk| walk.run(run, elem))
            }
            KindDesc::Box(elem) => {
                let target = self.archived.boxed(at, narrow(elem.size_bytes))?;
                self.behind(elem.size_bytes, |walk| walk.place(target, elem))
            }
            KindDesc::Option { elem, offset } => match self.archived.byte(at)? {
                0 => Ok(()),
                _ => self.place(at + offset, elem),
            },
            KindDesc::Array { elem, length } => self.run(Run { start: at, count: *length }, elem),
            KindDesc::Tuple(elems) => {
                elems.iter().try_for_each(|elem| self.place(at + elem.offset, elem.place))
            }
            KindDesc::HashMap { key, value } => {
                let entries = self.archived.hash_entries(at, &outline(key), &outline(value))?;
                self.entries(&entries, key, value)
            }
            KindDesc::BTreeMap { key, value } => {
                let entries = self.archived.tree_entries(at, &outline(key), &outline(value))?;
                self.entries(&entries, key, value)
            }
            KindDesc::Type(desc) => self.body(at, &desc.body),
            KindDesc::Recursive { desc, .. } => self.body(at, &desc().body),
        }
    }

    fn claim_empties(&mut self, count: usize) -> Result<(), Error> {
        self.empties += count;
        if self.empties <= ALL_EMPTIES_MAX {
            return Ok(());
        }
        Err(broken(format!("lists have more than {ALL_EMPTIES_MAX} values of no bytes in all")))
    }

    fn run(&mut self, run: Run, elem: &PlaceDesc) -> Result<(), Error> {
        let is_plain = matches!(elem.kind, KindDesc::Scalar(_) | KindDesc::String);
        if is_plain || elem.size_bytes == 0 {
            return Ok(());
        }
        (0..run.count).try_for_each(|index| self.place(run.start + index * elem.size_bytes, elem))
    }

    fn entries(
        &mut self,
        entries: &[(usize, usize)],
        key: &PlaceDesc,
        value: &PlaceDesc,
    ) -> Result<(), Error> {
        let bytes = entries.len().saturating_mul(key.size_bytes + value.size_bytes);
        self.behind(bytes, |walk| {
            entries.iter().try_for_each(|&(key_at, value_at)| {
                walk.place(key_at, key)?;
                walk.place(value_at, value)
            })
        })
    }

    /// Goes on behind a pointer to so many bytes.
    fn behind(
        &mut self,
        bytes: usize,
        go_on: impl FnOnce(&mut Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.left = self.left.checked_sub(bytes).ok_or_else(|| broken("points twice to bytes"))?;
        self.depth.enter()?;
        go_on(self)?;
        self.depth.leave();
        Ok(())
    }
}

/// Size and alignment of a place, which are all that finding entries and elements takes.
fn outline(desc: &PlaceDesc) -> Place {
    let (size_bytes, align) = (narrow(desc.size_bytes), narrow(desc.align));
    Place { kind: Kind::Unit, offset: 0, size_bytes, align }
}

/// Nothing of 4 GiB fits into an archive: such a size is refused as too large either way.
fn narrow(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}
