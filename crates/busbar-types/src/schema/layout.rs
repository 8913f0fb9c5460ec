//! Sizes, alignments and offsets of archives, by rkyv 0.8's rules (docs/formats, "Layout"): kinds
//! go in, numbers come out. Sizes of user types are looked up, not computed, by whoever calls.

use super::{Body, Field, Kind, Place, TypeSchema};
use crate::{Error, ErrorKind};

/// The largest archive a 32-bit relative pointer reaches across.
const SIZE_BYTES_MAX: u32 = i32::MAX as u32;

/// Size and alignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) size_bytes: u32,
    pub(super) align: u32,
}

impl Layout {
    const fn new(size_bytes: u32, align: u32) -> Self {
        Self { size_bytes, align }
    }
}

/// What lookups of user types answer with.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Layout;

/// Fills in every size, alignment and offset of a user type, given those of the types in it.
pub(super) fn complete(schema: &mut TypeSchema, lookup: Lookup<'_>) -> Result<(), Error> {
    let layout = match &mut schema.body {
        Body::Struct { fields, .. } => fields_from(Layout::new(0, 1), fields, lookup)?,
        Body::Enum { variants, .. } => {
            let mut union = Layout::new(1, 1);
            for variant in variants {
                let tag = Layout::new(1, 1);
                let layout = fields_from(tag, &mut variant.fields, lookup)
                    .map_err(|error| prefix(&variant.name, error))?;
                union.size_bytes = union.size_bytes.max(layout.size_bytes);
                union.align = union.align.max(layout.align);
            }
            padded(union)?
        }
    };
    (schema.size_bytes, schema.align) = (layout.size_bytes, layout.align);
    Ok(())
}

/// Lays out `fields` behind what is already there, as C does.
fn fields_from(start: Layout, fields: &mut [Field], lookup: Lookup<'_>) -> Result<Layout, Error> {
    let mut layout = start;
    for field in fields {
        complete_place(&mut field.place, lookup).map_err(|error| prefix(&field.name, error))?;
        append(&mut layout, &mut field.place).map_err(|error| prefix(&field.name, error))?;
    }
    padded(layout)
}

fn append(layout: &mut Layout, place: &mut Place) -> Result<(), Error> {
    place.offset = align_up(layout.size_bytes, place.align)?;
    layout.size_bytes = bounded(place.offset.checked_add(place.size_bytes))?;
    layout.align = layout.align.max(place.align);
    Ok(())
}

fn complete_place(place: &mut Place, lookup: Lookup<'_>) -> Result<(), Error> {
    let layout = match &mut place.kind {
        Kind::Scalar(scalar) => Layout::new(scalar.size_bytes(), scalar.size_bytes()),
        Kind::Unit => Layout::new(0, 1),
        Kind::String | Kind::BoxStr => Layout::new(8, 4),
        Kind::Vec(elem) | Kind::BoxSlice(elem) => {
            complete_elem(elem, lookup)?;
            Layout::new(8, 4)
        }
        Kind::Box(elem) => {
            complete_elem(elem, lookup)?;
            Layout::new(4, 4)
        }
        Kind::Option(elem) => {
            let mut layout = Layout::new(1, 1);
            complete_elem(elem, lookup)?;
            append(&mut layout, elem)?;
            padded(layout)?
        }
        Kind::Array { elem, length } => {
            complete_elem(elem, lookup)?;
            Layout::new(bounded(elem.size_bytes.checked_mul(*length))?, elem.align)
        }
        Kind::Tuple(elems) => {
            let mut layout = Layout::new(0, 1);
            for (index, elem) in elems.iter_mut().enumerate() {
                complete_place(elem, lookup)
                    .and_then(|()| append(&mut layout, elem))
                    .map_err(|error| prefix(&index.to_string(), error))?;
            }
            padded(layout)?
        }
        Kind::HashMap { key, value } => {
            complete_elem(key, lookup)?;
            complete_elem(value, lookup)?;
            Layout::new(12, 4)
        }
        Kind::BTreeMap { key, value } => {
            complete_elem(key, lookup)?;
            complete_elem(value, lookup)?;
            Layout::new(8, 4)
        }
        Kind::Type { name, .. } => lookup(name),
    };
    (place.size_bytes, place.align) = (layout.size_bytes, layout.align);
    Ok(())
}

fn complete_elem(place: &mut Place, lookup: Lookup<'_>) -> Result<(), Error> {
    place.offset = 0;
    complete_place(place, lookup).map_err(|error| prefix("[]", error))
}

fn padded(layout: Layout) -> Result<Layout, Error> {
    Ok(Layout::new(align_up(layout.size_bytes, layout.align)?, layout.align))
}

fn align_up(offset: u32, align: u32) -> Result<u32, Error> {
    bounded(offset.checked_next_multiple_of(align))
}

fn bounded(size_bytes: Option<u32>) -> Result<u32, Error> {
    size_bytes.filter(|&size| size <= SIZE_BYTES_MAX).ok_or_else(|| {
        Error::new(ErrorKind::SchemaInvalid, "takes more than 2 GiB, which no archive can hold")
    })
}

/// The same error, one level further out.
pub(crate) fn prefix(part: &str, error: Error) -> Error {
    let path = join(part, error.path());
    error.at(path)
}

/// `a` and `b` as one path: `a.b`, but `a[]` and not `a.[]`.
pub(super) fn join(outer: &str, inner: &str) -> String {
    if inner.is_empty() || inner.starts_with('[') {
        format!("{outer}{inner}")
    } else {
        format!("{outer}.{inner}")
    }
}
