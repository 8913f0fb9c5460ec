//! The owned description of a type: names, kinds and layout of everything in its archive.
//!
//! A [`Schema`] is a root type and every type it mentions. It comes from a derived type or from the
//! descriptor JSON that tools and plugins exchange, and in both cases it is *checked* before
//! anybody can hold it: sizes and offsets are recomputed by rkyv's rules, texts and hashes from the
//! fields, so a descriptor that lies is refused and whoever reads an archive by a schema needs no
//! further checks of the schema itself. It does not look at archives and knows no Rust types.

mod check;
mod circles;
mod json;
mod layout;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use crate::Error;

pub(crate) use layout::prefix;

/// The version of descriptors and canonical texts.
pub const ABI: u32 = 1;

/// The archive format every descriptor and canonical text names.
pub const FORMAT: &str = "rkyv0.8/le/aligned/p32";

/// XXH64 with seed 0 of a canonical text: the schema hash.
#[must_use]
pub const fn hash_of(text: &[u8]) -> u64 {
    xxhash_rust::const_xxh64::xxh64(text, 0)
}

/// A root type with all types it mentions, checked. Immutable.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    root: String,
    types: BTreeMap<String, TypeSchema>,
}

impl Schema {
    /// A schema of `types`, of which `root` names the outermost. Offsets, sizes, alignments, texts
    /// and hashes are computed: what the arguments say of them does not matter.
    ///
    /// # Errors
    /// `SchemaInvalid` with the path, if a name is malformed, doubled or unknown, a type contains
    /// itself, or the layout exceeds 2 GiB.
    pub fn new(
        root: impl Into<String>,
        types: impl IntoIterator<Item = TypeSchema>,
    ) -> Result<Self, Error> {
        check::complete(root.into(), types)
    }

    /// A schema whose parts already carry layout, text and hash, all of which are checked.
    ///
    /// # Errors
    /// As [`Self::new`], and `SchemaInvalid` for any size, offset, text or hash that is wrong.
    pub fn from_parts(
        root: impl Into<String>,
        types: impl IntoIterator<Item = TypeSchema>,
    ) -> Result<Self, Error> {
        check::verify(root.into(), types)
    }

    /// Reads and checks descriptor JSON.
    ///
    /// # Errors
    /// `SchemaInvalid`, with the path where there is one.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        json::parse(text)
    }

    /// The descriptor JSON, on one line.
    #[must_use]
    pub fn to_json(&self) -> String {
        json::print(self)
    }

    /// The root type.
    #[must_use]
    pub fn root(&self) -> &TypeSchema {
        &self.types[&self.root]
    }

    /// The type called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&TypeSchema> {
        self.types.get(name)
    }

    /// All types, by name.
    pub fn types(&self) -> impl ExactSizeIterator<Item = &TypeSchema> {
        self.types.values()
    }

    /// The type a [`Kind::Type`] of this schema refers to.
    ///
    /// # Panics
    /// If `name` is not of this schema: mentions of a checked schema always resolve.
    #[must_use]
    pub fn resolve(&self, name: &str) -> &TypeSchema {
        self.types.get(name).expect("a mention in a checked schema resolves")
    }

    /// Whether all types that the root mentions, near and far, have the same texts in `other`. The
    /// hash of the root alone does not say so of what is mentioned by name only.
    #[must_use]
    pub fn has_texts_of(&self, other: &Self) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = vec![self.root.clone()];
        while let Some(name) = open.pop() {
            let ours = self.resolve(&name);
            // What has the same text mentions the same names, so both sides are walked to the end.
            if other.get(&name).is_none_or(|theirs| theirs.text != ours.text) {
                return false;
            }
            ours.for_each_mention(&mut |mention, _| {
                if seen.insert(mention.to_owned()) {
                    open.push(mention.to_owned());
                }
            });
        }
        true
    }

    /// The schema of one of the types in this schema, without those that it does not mention.
    #[must_use]
    pub fn subschema(&self, name: &str) -> Option<Self> {
        self.types.get(name)?;
        let mut types = BTreeMap::new();
        let mut open = vec![name.to_owned()];
        while let Some(next) = open.pop() {
            if types.contains_key(&next) {
                continue;
            }
            let schema = self.resolve(&next);
            schema.for_each_mention(&mut |mention, _| open.push(mention.to_owned()));
            types.insert(next, schema.clone());
        }
        Some(Self { root: name.to_owned(), types })
    }
}

/// A user type: a struct or an enum.
#[derive(Clone, Debug, PartialEq)]
pub struct TypeSchema {
    /// Full name with its namespace, such as `market.Order`.
    pub name: String,
    /// What it is made of.
    pub body: Body,
    /// Size of the archived form.
    pub size_bytes: u32,
    /// Alignment of the archived form.
    pub align: u32,
    /// Schema hash: XXH64 of `text`.
    pub hash: u64,
    /// Canonical text.
    pub text: String,
    /// Former names.
    pub aliases: Vec<String>,
}

impl TypeSchema {
    /// A struct whose layout, text and hash are still to be computed by [`Schema::new`].
    #[must_use]
    pub fn new_struct(name: impl Into<String>, shape: Shape, fields: Vec<Field>) -> Self {
        Self::new(name, Body::Struct { shape, fields })
    }

    /// An enum whose layout, text and hash are still to be computed by [`Schema::new`].
    #[must_use]
    pub fn new_enum(name: impl Into<String>, variants: Vec<Variant>) -> Self {
        Self::new(name, Body::Enum { variants, default_variant: None })
    }

    fn new(name: impl Into<String>, body: Body) -> Self {
        Self {
            name: name.into(),
            body,
            size_bytes: 0,
            align: 1,
            hash: 0,
            text: String::new(),
            aliases: Vec::new(),
        }
    }

    /// Whether this is an enum without any data, which values show as a mere string.
    #[must_use]
    pub fn is_unit_enum(&self) -> bool {
        matches!(&self.body, Body::Enum { variants, .. }
            if variants.iter().all(|variant| variant.shape == Shape::Unit))
    }

    /// The fields of a struct; none for an enum.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        match &self.body {
            Body::Struct { fields, .. } => fields,
            Body::Enum { .. } => &[],
        }
    }

    /// The variants of an enum; none for a struct.
    #[must_use]
    pub fn variants(&self) -> &[Variant] {
        match &self.body {
            Body::Struct { .. } => &[],
            Body::Enum { variants, .. } => variants,
        }
    }

    /// The part before the last dot of the name; empty without one.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.name.rsplit_once('.').map_or("", |(namespace, _)| namespace)
    }

    /// The part after the last dot of the name.
    #[must_use]
    pub fn ident(&self) -> &str {
        self.name.rsplit_once('.').map_or(&self.name, |(_, ident)| ident)
    }

    /// Calls `visit` with the name of every mentioned type and whether the mention is recursive.
    fn for_each_mention(&self, visit: &mut dyn FnMut(&str, bool)) {
        for field in self.all_fields() {
            field.place.kind.for_each_mention(visit);
        }
    }

    /// Fields of a struct, or of all variants of an enum.
    pub(crate) fn all_fields(&self) -> impl Iterator<Item = &Field> {
        self.fields().iter().chain(self.variants().iter().flat_map(|variant| &variant.fields))
    }
}

/// What a user type is made of.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a third body would be another format")]
pub enum Body {
    /// A struct, in declaration order.
    Struct {
        /// How it is declared.
        shape: Shape,
        /// Its fields.
        fields: Vec<Field>,
    },
    /// An enum with a tag of one byte in front.
    Enum {
        /// Its variants, in declaration order.
        variants: Vec<Variant>,
        /// What a tag that this version does not know reads as.
        default_variant: Option<String>,
    },
}

/// How a struct or a variant is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "Rust has these three")]
pub enum Shape {
    /// `{ a: A, b: B }`
    Named,
    /// `(A, B)`: its fields are called `0`, `1`, …
    Tuple,
    /// Nothing.
    Unit,
}

/// A variant of an enum.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// Its name.
    pub name: String,
    /// The byte that stands for it.
    pub tag: u8,
    /// How it is declared.
    pub shape: Shape,
    /// Its fields; offsets count from the start of the enum, tag included.
    pub fields: Vec<Field>,
}

/// A field of a struct or variant.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// What it holds and where.
    pub place: Place,
    /// Former names.
    pub aliases: Vec<String>,
    /// What readers take when the writer's version has no such field.
    pub default: Option<Value>,
    /// What TypeScript makes of a 64-bit integer in it.
    pub ts: Option<TsInteger>,
    /// Whether TypeScript should share equal strings.
    pub intern: bool,
}

impl Field {
    /// A field without options, whose layout is still to be computed.
    #[must_use]
    pub fn new(name: impl Into<String>, kind: Kind) -> Self {
        Self {
            name: name.into(),
            place: Place::new(kind),
            aliases: Vec::new(),
            default: None,
            ts: None,
            intern: false,
        }
    }

    /// The same field with a default.
    #[must_use]
    pub fn with_default(mut self, default: Value) -> Self {
        self.default = Some(default);
        self
    }

    /// The same field with a former name.
    #[must_use]
    pub fn with_alias(mut self, alias: impl Into<String>) -> Self {
        self.aliases.push(alias.into());
        self
    }
}

/// What TypeScript makes of a 64-bit integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "JavaScript has these two")]
pub enum TsInteger {
    /// `bigint`, without loss.
    Bigint,
    /// `number`, checked to be a safe integer when written.
    Number,
}

/// Where a value stands: its kind, size and alignment, and its offset in what contains it.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// What stands here.
    pub kind: Kind,
    /// From the start of the struct, enum, tuple or option; 0 where the container has no offsets
    /// (elements of vectors and arrays, keys, values, the target of a box).
    pub offset: u32,
    /// Size of the archived form.
    pub size_bytes: u32,
    /// Alignment of the archived form.
    pub align: u32,
}

impl Place {
    /// A place whose layout is still to be computed.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self { kind, offset: 0, size_bytes: 0, align: 1 }
    }
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a new kind is a new format that all code must meet")]
pub enum Kind {
    /// A number, boolean or character.
    Scalar(Scalar),
    /// `()`
    Unit,
    /// `String`
    String,
    /// `Box<str>`
    BoxStr,
    /// `Vec<T>`
    Vec(Box<Place>),
    /// `Box<[T]>`
    BoxSlice(Box<Place>),
    /// `Box<T>`
    Box(Box<Place>),
    /// `Option<T>`; the element has an offset.
    Option(Box<Place>),
    /// `[T; N]`
    Array {
        /// The element.
        elem: Box<Place>,
        /// How many there are.
        length: u32,
    },
    /// `(A, B, …)`; the elements have offsets.
    Tuple(Vec<Place>),
    /// `HashMap<K, V>`
    HashMap {
        /// The key.
        key: Box<Place>,
        /// The value.
        value: Box<Place>,
    },
    /// `BTreeMap<K, V>`
    BTreeMap {
        /// The key.
        key: Box<Place>,
        /// The value.
        value: Box<Place>,
    },
    /// A user type.
    Type {
        /// Its full name.
        name: String,
        /// Whether it is mentioned by name only, so that its hash does not enter the text.
        recursive: bool,
    },
}

impl Kind {
    /// The word for it in descriptors.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Scalar(scalar) => scalar.word(),
            Self::Unit => "unit",
            Self::String => "string",
            Self::BoxStr => "boxstr",
            Self::Vec(_) => "vec",
            Self::BoxSlice(_) => "boxslice",
            Self::Box(_) => "box",
            Self::Option(_) => "option",
            Self::Array { .. } => "array",
            Self::Tuple(_) => "tuple",
            Self::HashMap { .. } => "hashmap",
            Self::BTreeMap { .. } => "btreemap",
            Self::Type { .. } => "type",
        }
    }

    /// The places directly inside, in order.
    pub fn children(&self) -> impl Iterator<Item = &Place> {
        let (first, second, many): (_, _, &[Place]) = match self {
            Self::Vec(elem)
            | Self::BoxSlice(elem)
            | Self::Box(elem)
            | Self::Option(elem)
            | Self::Array { elem, .. } => (Some(&**elem), None, &[]),
            Self::HashMap { key, value } | Self::BTreeMap { key, value } => {
                (Some(&**key), Some(&**value), &[])
            }
            Self::Tuple(elems) => (None, None, elems),
            _ => (None, None, &[]),
        };
        first.into_iter().chain(second).chain(many)
    }

    fn for_each_mention(&self, visit: &mut dyn FnMut(&str, bool)) {
        if let Self::Type { name, recursive } = self {
            visit(name, *recursive);
        }
        for child in self.children() {
            child.kind.for_each_mention(visit);
        }
    }
}

/// As in canonical texts, but user types by bare name.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        text::spell(&mut text, self, &|_| None);
        f.pad(&text)
    }
}

macro_rules! scalars {
    ($($variant:ident $word:literal $size:literal $doc:literal;)*) => {
        /// A value of fixed size without parts.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[expect(clippy::exhaustive_enums, reason = "a new one would be another format")]
        pub enum Scalar {
            $(#[doc = $doc] $variant,)*
        }

        impl Scalar {
            /// Every scalar.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word for it in descriptors and texts.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// Size and alignment: the same number for every scalar.
            #[must_use]
            pub const fn size_bytes(self) -> u32 {
                match self { $(Self::$variant => $size,)* }
            }
        }
    };
}

scalars! {
    Bool "bool" 1 "`bool`, one byte 0 or 1";
    U8 "u8" 1 "`u8`";
    U16 "u16" 2 "`u16`";
    U32 "u32" 4 "`u32`";
    U64 "u64" 8 "`u64`";
    U128 "u128" 16 "`u128`";
    I8 "i8" 1 "`i8`";
    I16 "i16" 2 "`i16`";
    I32 "i32" 4 "`i32`";
    I64 "i64" 8 "`i64`";
    I128 "i128" 16 "`i128`";
    F32 "f32" 4 "`f32`";
    F64 "f64" 8 "`f64`";
    Char "char" 4 "`char`, as its code point";
}

impl Scalar {
    /// The integer range as signedness and bits; `None` for what is no integer.
    #[must_use]
    pub const fn integer(self) -> Option<(bool, u32)> {
        match self {
            Self::U8 | Self::U16 | Self::U32 | Self::U64 | Self::U128 => {
                Some((false, self.size_bytes() * 8))
            }
            Self::I8 | Self::I16 | Self::I32 | Self::I64 | Self::I128 => {
                Some((true, self.size_bytes() * 8))
            }
            Self::Bool | Self::F32 | Self::F64 | Self::Char => None,
        }
    }
}

#[cfg(test)]
mod tests;
