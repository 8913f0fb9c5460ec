//! Constant descriptions of Rust types: what the derive emits and what the compiler evaluates into
//! canonical text and hash. Sizes and offsets come from the compiler's own layout of rkyv's
//! archived types, never from rules; `crate::schema` recomputes them from rules, so the two check
//! each other. Nothing here runs unless a [`Schema`] is asked for.

mod defaults;
mod impls;
mod reach;
mod text;

use std::collections::BTreeMap;

pub use defaults::{DefaultDesc, default_fits};
pub use impls::Recursive;
pub use reach::{has_string, has_wide_integer, may_lead_to};
pub use text::{as_str, text_bytes, text_len};

use crate::Error;
use crate::schema::{
    Body, Field, Kind, Place, Scalar, Schema, Shape, TsInteger, TypeSchema, Variant,
};

/// What may stand in a field of a type: scalars, strings, containers, and types with
/// `#[derive(Type)]`. Implemented here and by the derive, not by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be part of a busbar type",
    label = "not a busbar type",
    note = "add `#[derive(busbar_types::Type)]` to its declaration, or use one of bool, u8..u128, \
            i8..i128, f32, f64, char, (), String, Box, Vec, Option, arrays, tuples, HashMap, \
            BTreeMap"
)]
pub trait Describe {
    /// Its form in an archive.
    type InArchive;
    /// Its kind and layout.
    const PLACE: &'static PlaceDesc;
}

/// Kind, size and alignment of a value in an archive.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "emitted as a literal")]
pub struct PlaceDesc {
    /// What it is.
    pub kind: KindDesc,
    /// Size of the archived form.
    pub size_bytes: usize,
    /// Alignment of the archived form.
    pub align: usize,
}

/// What a value is. The counterpart of [`Kind`].
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "emitted as a literal")]
#[expect(missing_docs, reason = "the variants are those of Kind")]
pub enum KindDesc {
    Scalar(Scalar),
    Unit,
    String,
    BoxStr,
    Vec(&'static PlaceDesc),
    BoxSlice(&'static PlaceDesc),
    Box(&'static PlaceDesc),
    Option { elem: &'static PlaceDesc, offset: usize },
    Array { elem: &'static PlaceDesc, length: usize },
    Tuple(&'static [ElemDesc]),
    HashMap { key: &'static PlaceDesc, value: &'static PlaceDesc },
    BTreeMap { key: &'static PlaceDesc, value: &'static PlaceDesc },
    Type(&'static TypeDesc),
    Recursive { name: &'static str, desc: fn() -> &'static TypeDesc },
}

/// An element of a tuple.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "emitted as a literal")]
pub struct ElemDesc {
    /// What it is.
    pub place: &'static PlaceDesc,
    /// From the start of the tuple.
    pub offset: usize,
}

/// A field of a struct or variant.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "emitted as a literal")]
pub struct FieldDesc {
    /// Its name; the index for tuples.
    pub name: &'static str,
    /// What it is.
    pub place: &'static PlaceDesc,
    /// From the start of the struct or enum.
    pub offset: usize,
    /// Former names.
    pub aliases: &'static [&'static str],
    /// What readers take when the writer has no such field.
    pub default: Option<DefaultDesc>,
    /// What TypeScript makes of 64-bit integers in it.
    pub ts: Option<TsInteger>,
    /// Whether TypeScript shares equal strings.
    pub intern: bool,
}

/// A variant of an enum.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "emitted as a literal")]
pub struct VariantDesc {
    /// Its name.
    pub name: &'static str,
    /// Its tag byte.
    pub tag: u8,
    /// How it is declared.
    pub shape: Shape,
    /// Its fields.
    pub fields: &'static [FieldDesc],
}

/// What a user type is made of.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "emitted as a literal")]
#[expect(missing_docs, reason = "the variants are those of Body")]
pub enum BodyDesc {
    Struct { shape: Shape, fields: &'static [FieldDesc] },
    Enum { variants: &'static [VariantDesc], default_variant: Option<&'static str> },
}

/// A user type.
#[derive(Debug)]
pub struct TypeDesc {
    /// Full name.
    pub name: &'static str,
    /// What it is made of.
    pub body: BodyDesc,
    /// Size of the archived form.
    pub size_bytes: usize,
    /// Alignment of the archived form.
    pub align: usize,
    /// Schema hash.
    pub hash: u64,
    /// Canonical text.
    pub text: &'static str,
    /// Former names.
    pub aliases: &'static [&'static str],
    /// Whether it leads to mentions by name only, of others than itself: what is behind them the
    /// hash does not cover.
    pub mentions_by_name: bool,
    /// Whether it has lists of values that take no bytes, other than behind mentions by name only.
    pub lists_empties: bool,
}

impl TypeDesc {
    /// A description with its canonical text, from which the hash follows.
    #[must_use]
    pub const fn new(
        name: &'static str,
        body: BodyDesc,
        (size_bytes, align): (usize, usize),
        aliases: &'static [&'static str],
        text: &'static str,
    ) -> Self {
        let hash = crate::schema::hash_of(text.as_bytes());
        let mentions_by_name = reach::mentions_by_name(name, &body);
        let lists_empties = reach::lists_empties(&body);
        Self { name, body, size_bytes, align, hash, text, aliases, mentions_by_name, lists_empties }
    }

    /// The owned schema with this type as its root.
    ///
    /// # Errors
    /// `SchemaInvalid` if two different types in it have the same name.
    pub fn to_schema(&'static self) -> Result<Schema, Error> {
        let mut types = BTreeMap::new();
        let mut doubles = Vec::new();
        collect(self, &mut types, &mut doubles);
        let schemas = types.into_values().chain(doubles).map(type_schema);
        Schema::from_parts(self.name, schemas)
    }

    fn fields(&self) -> impl Iterator<Item = &'static FieldDesc> {
        let (fields, variants): (&[FieldDesc], &[VariantDesc]) = match self.body {
            BodyDesc::Struct { fields, .. } => (fields, &[]),
            BodyDesc::Enum { variants, .. } => (&[], variants),
        };
        fields.iter().chain(variants.iter().flat_map(|variant| variant.fields))
    }
}

type Found = BTreeMap<&'static str, &'static TypeDesc>;

fn collect(desc: &'static TypeDesc, types: &mut Found, doubles: &mut Vec<&'static TypeDesc>) {
    match types.get(desc.name) {
        Some(known) if known.text == desc.text => return,
        Some(_) => return doubles.push(desc),
        None => types.insert(desc.name, desc),
    };
    for field in desc.fields() {
        collect_place(field.place, types, doubles);
    }
}

fn collect_place(
    place: &'static PlaceDesc,
    types: &mut Found,
    doubles: &mut Vec<&'static TypeDesc>,
) {
    match place.kind {
        KindDesc::Scalar(_) | KindDesc::Unit | KindDesc::String | KindDesc::BoxStr => {}
        KindDesc::Vec(elem)
        | KindDesc::BoxSlice(elem)
        | KindDesc::Box(elem)
        | KindDesc::Option { elem, .. }
        | KindDesc::Array { elem, .. } => collect_place(elem, types, doubles),
        KindDesc::Tuple(elems) => {
            elems.iter().for_each(|elem| collect_place(elem.place, types, doubles));
        }
        KindDesc::HashMap { key, value } | KindDesc::BTreeMap { key, value } => {
            collect_place(key, types, doubles);
            collect_place(value, types, doubles);
        }
        KindDesc::Type(desc) => collect(desc, types, doubles),
        KindDesc::Recursive { desc, .. } => collect(desc(), types, doubles),
    }
}

fn type_schema(desc: &'static TypeDesc) -> TypeSchema {
    let body = match &desc.body {
        BodyDesc::Struct { shape, fields } => {
            Body::Struct { shape: *shape, fields: fields.iter().map(field).collect() }
        }
        BodyDesc::Enum { variants, default_variant } => Body::Enum {
            variants: variants.iter().map(variant).collect(),
            default_variant: default_variant.map(str::to_owned),
        },
    };
    TypeSchema {
        name: desc.name.to_owned(),
        body,
        size_bytes: narrow(desc.size_bytes),
        align: narrow(desc.align),
        hash: desc.hash,
        text: desc.text.to_owned(),
        aliases: owned(desc.aliases),
    }
}

fn variant(desc: &VariantDesc) -> Variant {
    Variant {
        name: desc.name.to_owned(),
        tag: desc.tag,
        shape: desc.shape,
        fields: desc.fields.iter().map(field).collect(),
    }
}

fn field(desc: &FieldDesc) -> Field {
    Field {
        name: desc.name.to_owned(),
        place: place_at(desc.place, desc.offset),
        aliases: owned(desc.aliases),
        default: desc.default.as_ref().map(|default| default.to_json(desc.place)),
        ts: desc.ts,
        intern: desc.intern,
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn place_at(desc: &PlaceDesc, offset: usize) -> Place {
    Place {
        kind: kind(&desc.kind),
        offset: narrow(offset),
        size_bytes: narrow(desc.size_bytes),
        align: narrow(desc.align),
    }
}

fn kind(desc: &KindDesc) -> Kind {
    let elem_at = |desc, offset| Box::new(place_at(desc, offset));
    let boxed = |desc| elem_at(desc, 0);
    match desc {
        KindDesc::Scalar(scalar) => Kind::Scalar(*scalar),
        KindDesc::Unit => Kind::Unit,
        KindDesc::String => Kind::String,
        KindDesc::BoxStr => Kind::BoxStr,
        KindDesc::Vec(elem) => Kind::Vec(boxed(elem)),
        KindDesc::BoxSlice(elem) => Kind::BoxSlice(boxed(elem)),
        KindDesc::Box(elem) => Kind::Box(boxed(elem)),
        KindDesc::Option { elem, offset } => Kind::Option(elem_at(elem, *offset)),
        KindDesc::Array { elem, length } => {
            Kind::Array { elem: boxed(elem), length: narrow(*length) }
        }
        KindDesc::Tuple(elems) => {
            Kind::Tuple(elems.iter().map(|elem| place_at(elem.place, elem.offset)).collect())
        }
        KindDesc::HashMap { key, value } => Kind::HashMap { key: boxed(key), value: boxed(value) },
        KindDesc::BTreeMap { key, value } => {
            Kind::BTreeMap { key: boxed(key), value: boxed(value) }
        }
        KindDesc::Type(desc) => Kind::Type { name: desc.name.to_owned(), recursive: false },
        KindDesc::Recursive { name, .. } => {
            Kind::Type { name: (*name).to_owned(), recursive: true }
        }
    }
}

/// What exceeds 32 bits becomes a size that the schema refuses with its path.
fn narrow(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}
