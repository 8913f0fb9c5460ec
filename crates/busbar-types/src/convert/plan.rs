//! What to read for each place of the reader's: made once from two schemas that were compared, so
//! that converting looks nothing up by name.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::archive::{build_place, is_any_bits};
use crate::compare::source_of;
use crate::schema::{self, Field, Kind, Place, Scalar, Schema, Variant, prefix};
use crate::{Error, ErrorKind, Limits, json};

/// Everything about reading the writer's archives.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) root: Step,
    /// Size of the writer's root.
    pub(super) root_bytes: u32,
    /// Pairs of types, which [`Step::Type`] refers to.
    pub(super) types: Vec<Body>,
}

/// How to read a value of the writer's as one of the reader's.
#[derive(Debug)]
pub(super) enum Step {
    Unit,
    /// The writer's scalar, which may be narrower.
    Scalar(Scalar),
    String,
    BoxStr,
    /// The reader has an option around it.
    Some(Box<Self>),
    Option {
        offset: u32,
        inner: Box<Self>,
    },
    Box {
        size_bytes: u32,
        inner: Box<Self>,
    },
    List {
        elem: Place,
        inner: Box<Self>,
        is_copied: bool,
    },
    Array {
        elem: Place,
        length: u32,
        inner: Box<Self>,
        is_copied: bool,
    },
    Tuple(Vec<Part>),
    HashMap {
        key: Place,
        value: Place,
        inner: Box<[Self; 2]>,
    },
    TreeMap {
        key: Place,
        value: Place,
        inner: Box<[Self; 2]>,
    },
    Type(usize),
}

/// A field of the reader's.
#[derive(Debug)]
pub(super) enum Part {
    Read { offset: u32, step: Step },
    Default(Json),
}

/// A pair of types.
#[derive(Debug)]
pub(super) enum Body {
    /// In the order of the reader.
    Struct(Vec<Part>),
    /// In the order of the writer.
    Enum(Vec<Arm>),
}

/// A variant of the writer's.
#[derive(Debug)]
pub(super) struct Arm {
    pub(super) name: String,
    pub(super) tag: u8,
    /// The number of the reader's variant, or of its default.
    pub(super) reads: Option<usize>,
    pub(super) parts: Vec<Part>,
}

impl Plan {
    /// `writer` and `reader` were found to be resolvable.
    pub(super) fn new(writer: &Schema, reader: &Schema) -> Result<Self, Error> {
        let mut planner = Planner { writer, reader, numbers: BTreeMap::new(), types: Vec::new() };
        let root = planner.types(&writer.root().name, &reader.root().name)?;
        let types = planner.types.into_iter();
        let types = types.map(|body| body.expect("invariant: what was begun was ended"));
        Ok(Self { root, root_bytes: writer.root().size_bytes, types: types.collect() })
    }
}

struct Planner<'a> {
    writer: &'a Schema,
    reader: &'a Schema,
    /// By the writer's and the reader's name.
    numbers: BTreeMap<(String, String), usize>,
    /// `None` while it is being made.
    types: Vec<Option<Body>>,
}

impl<'a> Planner<'a> {
    fn types(&mut self, writer: &str, reader: &str) -> Result<Step, Error> {
        let pair = (writer.to_owned(), reader.to_owned());
        if let Some(&number) = self.numbers.get(&pair) {
            return Ok(Step::Type(number));
        }
        let number = self.types.len();
        self.types.push(None);
        self.numbers.insert(pair, number);
        let (theirs, ours) = (self.writer.resolve(writer), self.reader.resolve(reader));
        let body = match &ours.body {
            schema::Body::Struct { fields, .. } => {
                self.parts(theirs.fields(), fields).map(Body::Struct)
            }
            schema::Body::Enum { variants, default_variant } => {
                let default = default_variant.as_deref();
                self.arms(theirs.variants(), variants, default).map(Body::Enum)
            }
        };
        self.types[number] = Some(body.map_err(|error| prefix(reader, error))?);
        Ok(Step::Type(number))
    }

    fn arms(
        &mut self,
        theirs: &[Variant],
        ours: &[Variant],
        default: Option<&str>,
    ) -> Result<Vec<Arm>, Error> {
        let find = |name: &str| ours.iter().position(|our| our.name == name);
        let arm = |their: &Variant| {
            let (name, tag) = (their.name.clone(), their.tag);
            let Some(number) = find(&name) else {
                return Ok(Arm { name, tag, reads: default.and_then(find), parts: Vec::new() });
            };
            let parts = self.parts(&their.fields, &ours[number].fields);
            let parts = parts.map_err(|error| prefix(&name, error))?;
            Ok(Arm { name, tag, reads: Some(number), parts })
        };
        theirs.iter().map(arm).collect()
    }

    fn parts(&mut self, theirs: &[Field], ours: &[Field]) -> Result<Vec<Part>, Error> {
        let part = |our: &Field| {
            let part = match source_of(our, theirs) {
                Some((_, their)) => {
                    let step = self.step(&their.place.kind, &our.place.kind)?;
                    Part::Read { offset: their.place.offset, step }
                }
                None => Part::Default(self.default(our)?),
            };
            Ok(part)
        };
        ours.iter().map(part).collect()
    }

    /// The default of a field, made sure to be one.
    fn default(&self, our: &Field) -> Result<Json, Error> {
        let value = our.default.clone().unwrap_or_default();
        match build_place(self.reader, &our.place, Limits::default(), &json::Source, &value) {
            Ok(_) => Ok(value),
            Err(error) => {
                let message = format!("its default {value} is none: {}", error.message());
                Err(Error::new(ErrorKind::SchemaInvalid, message).at(&our.name))
            }
        }
    }

    fn step(&mut self, their: &Kind, our: &Kind) -> Result<Step, Error> {
        let is_copied =
            |planner: &Self, their: &Place, our: &Place| planner.is_copied(&their.kind, &our.kind);
        Ok(match (their, our) {
            (Kind::Option(their), Kind::Option(our)) => {
                let inner = Box::new(self.step(&their.kind, &our.kind)?);
                Step::Option { offset: their.offset, inner }
            }
            (their, Kind::Option(our)) => Step::Some(Box::new(self.step(their, &our.kind)?)),
            (Kind::Box(their), Kind::Box(our)) => {
                let inner = Box::new(self.step(&their.kind, &our.kind)?);
                Step::Box { size_bytes: their.size_bytes, inner }
            }
            (Kind::Scalar(their), Kind::Scalar(_)) => Step::Scalar(*their),
            (Kind::Unit, Kind::Unit) => Step::Unit,
            (Kind::String, Kind::String) => Step::String,
            (Kind::BoxStr, Kind::BoxStr) => Step::BoxStr,
            (Kind::Vec(their), Kind::Vec(our)) | (Kind::BoxSlice(their), Kind::BoxSlice(our)) => {
                Step::List {
                    elem: (**their).clone(),
                    inner: Box::new(self.step(&their.kind, &our.kind)?),
                    is_copied: is_copied(self, their, our),
                }
            }
            (Kind::Array { elem: their, length }, Kind::Array { elem: our, .. }) => Step::Array {
                elem: (**their).clone(),
                length: *length,
                inner: Box::new(self.step(&their.kind, &our.kind)?),
                is_copied: is_copied(self, their, our),
            },
            (Kind::Tuple(their), Kind::Tuple(our)) => {
                let part = |(their, our): (&Place, &Place)| {
                    let step = self.step(&their.kind, &our.kind)?;
                    Ok(Part::Read { offset: their.offset, step })
                };
                Step::Tuple(their.iter().zip(our).map(part).collect::<Result<_, Error>>()?)
            }
            (Kind::HashMap { key, value }, Kind::HashMap { key: our_key, value: our_value }) => {
                let inner = self.pair(key, value, our_key, our_value)?;
                Step::HashMap { key: (**key).clone(), value: (**value).clone(), inner }
            }
            (Kind::BTreeMap { key, value }, Kind::BTreeMap { key: our_key, value: our_value }) => {
                let inner = self.pair(key, value, our_key, our_value)?;
                Step::TreeMap { key: (**key).clone(), value: (**value).clone(), inner }
            }
            (Kind::Type { name: their, .. }, Kind::Type { name: our, .. }) => {
                self.types(their, our)?
            }
            _ => unreachable!("invariant: compare() calls this incompatible"),
        })
    }

    fn pair(
        &mut self,
        key: &Place,
        value: &Place,
        our_key: &Place,
        our_value: &Place,
    ) -> Result<Box<[Step; 2]>, Error> {
        let key = self.step(&key.kind, &our_key.kind)?;
        Ok(Box::new([key, self.step(&value.kind, &our_value.kind)?]))
    }

    /// Whether archives of the two are the same bytes, and any bytes are one.
    fn is_copied(&self, their: &Kind, our: &Kind) -> bool {
        match (their, our) {
            (Kind::Scalar(their), Kind::Scalar(our)) => their == our && is_any_bits(*our),
            (Kind::Array { elem: their, .. }, Kind::Array { elem: our, .. }) => {
                self.is_copied(&their.kind, &our.kind)
            }
            (Kind::Tuple(their), Kind::Tuple(our)) => {
                let mut pairs = their.iter().zip(our);
                pairs.all(|(their, our)| self.is_copied(&their.kind, &our.kind))
            }
            (Kind::Type { name: their, .. }, Kind::Type { name: our, .. }) => {
                let (their, our) = (self.writer.resolve(their), self.reader.resolve(our));
                let is_struct = matches!(our.body, schema::Body::Struct { .. });
                let mut fields = their.fields().iter().zip(our.fields());
                is_struct
                    && their.text == our.text
                    && fields.all(|(their, our)| self.is_copied(&their.place.kind, &our.place.kind))
            }
            _ => false,
        }
    }
}
