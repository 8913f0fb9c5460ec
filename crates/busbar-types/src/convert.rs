//! Archives of one version of a type as archives of another: what the reader declares, with the
//! values that the writer wrote.
//!
//! The two schemas say what goes where, by the rules of [`crate::compare`]: fields are found by
//! their name or a former one, whatever the reader does not know is left out, and whatever the
//! writer did not know takes its default or is `None`. Reading another version in place, as
//! TypeScript does, is not what Rust types can do: their offsets are fixed. So the archive is
//! written anew, once, without a value of either type in between.

mod plan;

use serde_json::Value as Json;

use self::plan::{Arm, Body, Part, Plan, Step};
use crate::archive::{Archived, Entry, Run, Values, broken, build, count, unknown_variant};
use crate::compare::{Verdict, compare};
use crate::schema::{Field, Kind, Place, Scalar, Schema, TypeSchema, prefix};
use crate::{Error, ErrorKind, Limits, json};

/// What it takes to make archives of a reader's version of those of a writer's. Made once, used
/// for any number of archives. Immutable.
///
/// ```
/// # use busbar_types::convert::Conversion;
/// # use busbar_types::schema::{Field, Kind, Scalar, Schema, Shape, TypeSchema};
/// let tick = |fields| {
///     let tick = TypeSchema::new_struct("market.Tick", Shape::Named, fields);
///     Schema::new("market.Tick", [tick])
/// };
/// let old = tick(vec![Field::new("price", Kind::Scalar(Scalar::F32))])?;
/// let new = tick(vec![
///     Field::new("volume", Kind::Scalar(Scalar::U32)).with_default(7.into()),
///     Field::new("price", Kind::Scalar(Scalar::F64)),
/// ])?;
/// let archive = Conversion::new(&old, &new)?.convert(&1.5_f32.to_le_bytes())?;
/// assert_eq!(archive[..4], 7_u32.to_le_bytes());
/// assert_eq!(archive[8..], 1.5_f64.to_le_bytes());
/// # Ok::<(), busbar_types::Error>(())
/// ```
#[derive(Debug)]
pub struct Conversion {
    plan: Plan,
    reader: Schema,
    limits: Limits,
}

impl Conversion {
    /// From what `writer` describes to what `reader` does.
    ///
    /// # Errors
    /// `SchemaMismatch` with the path, if the reader cannot read what the writer wrote;
    /// `SchemaInvalid`, if the default of a field that has to be made up is no value of it.
    pub fn new(writer: &Schema, reader: &Schema) -> Result<Self, Error> {
        let comparison = compare(writer, reader);
        if comparison.verdict == Verdict::Incompatible {
            let message = format!(
                "what {} of hash {:016x} describes cannot be read as what {:016x} does: {}",
                writer.root().name,
                writer.root().hash,
                reader.root().hash,
                comparison.reasons.join("; "),
            );
            return Err(Error::new(ErrorKind::SchemaMismatch, message));
        }
        let plan = Plan::new(writer, reader)?;
        Ok(Self { plan, reader: reader.clone(), limits: Limits::default() })
    }

    /// The same with other limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The reader's archive of the value in the writer's `archive`: as rkyv writes it, except for
    /// the order in hash maps. The archive need not be aligned and is not trusted, and neither is
    /// the result more than that: copy it to where the type's alignment is kept and access it
    /// checked.
    ///
    /// # Errors
    /// `ArchiveInvalid` with the path, if the archive is none of the writer's; `SchemaVariant` for
    /// a variant that the reader does not have, if its enum has no default; `SerializeFailed`
    /// beyond the limits; `FormatUnsupported` for hash maps with such keys that it is not known how
    /// they hash.
    pub fn convert(&self, archive: &[u8]) -> Result<Vec<u8>, Error> {
        let source = Source { plan: &self.plan, archived: Archived(archive) };
        let at = source.archived.root(self.plan.root_bytes);
        let at = at.map_err(|error| prefix(&self.reader.root().name, error))?;
        build(&self.reader, self.limits, &source, Value::Read(at, &self.plan.root))
    }
}

/// The reader's archive of the value in the writer's `archive`. Whoever converts more than one
/// makes a [`Conversion`].
///
/// # Errors
/// As [`Conversion::new`] and [`Conversion::convert`].
pub fn convert(writer: &Schema, reader: &Schema, archive: &[u8]) -> Result<Vec<u8>, Error> {
    Conversion::new(writer, reader)?.convert(archive)
}

/// The writer's archive as the values of the reader's.
struct Source<'a> {
    plan: &'a Plan,
    archived: Archived<'a>,
}

/// A value of the writer's, or a default of the reader's.
#[derive(Clone, Copy)]
enum Value<'a> {
    Read(usize, &'a Step),
    Default(&'a Json),
}

#[derive(Clone, Copy)]
enum Fields<'a> {
    Read(usize, &'a [Part]),
    Default(&'a Json),
}

enum Items<'a> {
    List { run: Run, step_bytes: usize, elem: &'a Step, raw: Option<&'a [u8]> },
    Map(Vec<Entry>, &'a [Step; 2]),
    Default(&'a [Json]),
}

impl<'a> Values<'a> for Source<'a> {
    type Value = Value<'a>;
    type Fields = Fields<'a>;
    type Items = Items<'a>;

    fn bits(&self, scalar: Scalar, value: Value<'a>) -> Result<u128, Error> {
        match value {
            Value::Default(value) => json::Source.bits(scalar, value),
            Value::Read(at, Step::Scalar(from)) => {
                self.archived.scalar(at, *from).map(|bits| widen(*from, scalar, bits))
            }
            Value::Read(..) => Err(unlike(scalar.word())),
        }
    }

    fn text(&self, value: Value<'a>) -> Result<&'a str, Error> {
        match value {
            Value::Default(value) => json::Source.text(value),
            Value::Read(at, Step::String) => self.archived.string(at),
            Value::Read(at, Step::BoxStr) => self.archived.boxed_str(at),
            Value::Read(..) => Err(unlike("string")),
        }
    }

    fn unboxed(&self, value: Value<'a>) -> Result<Value<'a>, Error> {
        match value {
            Value::Default(_) => Ok(value),
            Value::Read(at, Step::Box { size_bytes, inner }) => {
                Ok(Value::Read(self.archived.boxed(at, *size_bytes)?, inner))
            }
            Value::Read(..) => Err(unlike("box")),
        }
    }

    fn some(&self, elem: &Place, value: Value<'a>) -> Result<Option<Value<'a>>, Error> {
        match value {
            Value::Default(value) => Ok(json::Source.some(elem, value)?.map(Value::Default)),
            Value::Read(at, Step::Some(inner)) => Ok(Some(Value::Read(at, inner))),
            Value::Read(at, Step::Option { offset, inner }) => {
                let is_some = self.archived.is_some(at)?;
                Ok(is_some.then_some(Value::Read(at + count(*offset), inner)))
            }
            Value::Read(..) => Err(unlike("option")),
        }
    }

    fn fields(&self, value: Value<'a>) -> Result<Fields<'a>, Error> {
        match value {
            Value::Default(value) => Ok(Fields::Default(value)),
            Value::Read(at, Step::Tuple(parts)) => Ok(Fields::Read(at, parts)),
            Value::Read(at, Step::Type(id)) => match &self.plan.types[*id] {
                Body::Struct(parts) => Ok(Fields::Read(at, parts)),
                Body::Enum(_) => Err(unlike("struct")),
            },
            Value::Read(..) => Err(unlike("struct")),
        }
    }

    fn variant(&self, one: &'a TypeSchema, value: Value<'a>) -> Result<(usize, Fields<'a>), Error> {
        let (at, id) = match value {
            Value::Default(value) => {
                let (number, fields) = json::Source.variant(one, value)?;
                return Ok((number, Fields::Default(fields)));
            }
            Value::Read(at, Step::Type(id)) => (at, *id),
            Value::Read(..) => return Err(unlike("enum")),
        };
        let Body::Enum(arms) = &self.plan.types[id] else { return Err(unlike("enum")) };
        let tag = self.archived.byte(at)?;
        match arms.iter().find(|arm| arm.tag == tag) {
            Some(Arm { reads: Some(number), parts, .. }) => Ok((*number, Fields::Read(at, parts))),
            Some(Arm { name, .. }) => Err(unknown_variant(format_args!("{name:?}"))),
            None => Err(broken(format!("{tag} is no tag of the enum"))),
        }
    }

    fn field(
        &self,
        fields: Fields<'a>,
        index: usize,
        field: Option<&'a Field>,
    ) -> Result<Value<'a>, Error> {
        match fields {
            Fields::Default(value) => json::Source.field(value, index, field).map(Value::Default),
            Fields::Read(at, parts) => match parts.get(index) {
                Some(Part::Read { offset, step }) => Ok(Value::Read(at + count(*offset), step)),
                Some(Part::Default(value)) => Ok(Value::Default(value)),
                None => Err(unlike("field")),
            },
        }
    }

    fn items(&self, kind: &Kind, value: Value<'a>) -> Result<Items<'a>, Error> {
        let (at, step) = match value {
            Value::Default(value) => return json::Source.items(kind, value).map(Items::Default),
            Value::Read(at, step) => (at, step),
        };
        let (run, elem, inner, is_copied) = match step {
            Step::List { elem, inner, is_copied } => {
                (self.archived.slice(at, elem)?, elem, inner, *is_copied)
            }
            Step::Array { elem, length, inner, is_copied } => {
                let run = Run { start: at, count: count(*length) };
                (self.archived.checked(run, elem)?, elem, inner, *is_copied)
            }
            Step::HashMap { key, value, inner } => {
                let entries = self.archived.hash_entries(at, key, value)?;
                return Ok(Items::Map(entries, inner));
            }
            Step::TreeMap { key, value, inner } => {
                let entries = self.archived.tree_entries(at, key, value)?;
                return Ok(Items::Map(entries, inner));
            }
            _ => return Err(unlike(kind.word())),
        };
        let step_bytes = count(elem.size_bytes);
        let bytes = self.archived.bytes(run.start, run.count * step_bytes)?;
        Ok(Items::List { run, step_bytes, elem: inner, raw: is_copied.then_some(bytes) })
    }

    fn count(&self, items: &Items<'a>) -> usize {
        match items {
            Items::List { run, .. } => run.count,
            Items::Map(entries, _) => entries.len(),
            Items::Default(values) => values.len(),
        }
    }

    fn item(&self, items: &Items<'a>, index: usize) -> Value<'a> {
        match items {
            Items::List { run, step_bytes, elem, .. } => {
                Value::Read(run.start + index * step_bytes, elem)
            }
            Items::Map(entries, inner) => Value::Read(entries[index].0, &inner[0]),
            Items::Default(values) => Value::Default(&values[index]),
        }
    }

    fn entry(&self, items: &Items<'a>, index: usize) -> Result<[Value<'a>; 2], Error> {
        match items {
            Items::Map(entries, [key, value]) => {
                let (key_at, value_at) = entries[index];
                Ok([Value::Read(key_at, key), Value::Read(value_at, value)])
            }
            Items::Default(values) => Ok(json::Source.entry(values, index)?.map(Value::Default)),
            Items::List { .. } => Err(unlike("map")),
        }
    }

    fn len(&self, kind: &Kind, value: Value<'a>) -> Result<usize, Error> {
        match value {
            // No need to walk through the entries once more.
            Value::Read(at, Step::HashMap { .. } | Step::TreeMap { .. }) => {
                self.archived.length(at + 4)
            }
            value => self.items(kind, value).map(|items| self.count(&items)),
        }
    }

    fn raw<'i>(&self, _: &Place, items: &'i Items<'a>) -> Option<&'i [u8]> {
        match items {
            Items::List { raw, .. } => *raw,
            _ => None,
        }
    }
}

/// Bits of `from` as those of `to`, which has all its values.
fn widen(from: Scalar, to: Scalar, bits: u128) -> u128 {
    if from == to {
        return bits;
    }
    match from.integer() {
        Some((true, width)) => {
            let unused = 128 - width;
            let signed = (bits << unused).cast_signed() >> unused;
            let to_unused = 128 - to.size_bytes() * 8;
            signed.cast_unsigned() << to_unused >> to_unused
        }
        Some((false, _)) => bits,
        // Of the others, only one becomes another.
        None => {
            let narrow = f32::from_bits(u32::try_from(bits).unwrap_or_default());
            f64::from(narrow).to_bits().into()
        }
    }
}

/// The plan fits both schemas: this is never seen, but no reason to panic.
fn unlike(word: &str) -> Error {
    broken(format!("the {word} was written as something else"))
}
