//! Archives as JSON, by their schema. The archive is not trusted, see `source`; how many values the
//! JSON may have is limited, because they take far more room than their archive.

use serde_json::{Map, Number, Value};

use super::is_nullable;
use crate::archive::{Archived, Depth, Run, broken, count};
use crate::schema::{Body, Field, Kind, Place, Scalar, Schema, Shape, TypeSchema, prefix};
use crate::{Error, Limits};

pub(super) fn read(schema: &Schema, limits: Limits, archive: &[u8]) -> Result<Value, Error> {
    let source = Archived(archive);
    let root = schema.root();
    let mut reader =
        Reader { schema, source, limits, values: 0, text_bytes: 0, depth: Depth::new(limits) };
    let value = source.root(root.size_bytes).and_then(|at| reader.user_type(root, at));
    value.map_err(|error| prefix(&root.name, error))
}

struct Reader<'a> {
    schema: &'a Schema,
    source: Archived<'a>,
    limits: Limits,
    values: usize,
    text_bytes: usize,
    depth: Depth,
}

impl Reader<'_> {
    fn value(&mut self, kind: &Kind, at: usize) -> Result<Value, Error> {
        self.values += 1;
        if self.values > self.limits.values_max {
            let message = format!("has more than {} values", self.limits.values_max);
            return Err(broken(message));
        }
        Ok(match kind {
            Kind::Unit => Value::Null,
            Kind::Scalar(scalar) => scalar_value(*scalar, self.source.scalar(at, *scalar)?),
            Kind::String => self.text(self.source.string(at)?)?,
            Kind::BoxStr => self.text(self.source.boxed_str(at)?)?,
            Kind::Box(elem) => {
                let target = self.source.boxed(at, elem.size_bytes)?;
                self.value(&elem.kind, target)?
            }
            Kind::Option(elem) => {
                if !self.source.is_some(at)? {
                    return Ok(Value::Null);
                }
                let value = self.value(&elem.kind, at + count(elem.offset))?;
                if is_nullable(&elem.kind) {
                    Map::from_iter([(String::from("some"), value)]).into()
                } else {
                    value
                }
            }
            Kind::Tuple(places) => self.nested(|reader| {
                let values = places.iter().enumerate().map(|(index, place)| {
                    reader
                        .value(&place.kind, at + count(place.offset))
                        .map_err(|error| prefix(&index.to_string(), error))
                });
                values.collect::<Result<_, _>>().map(Value::Array)
            })?,
            Kind::Type { name, .. } => {
                let schema = self.schema;
                self.user_type(schema.resolve(name), at)?
            }
            Kind::HashMap { key, value } => {
                let entries = self.source.hash_entries(at, key, value)?;
                self.entries(key, value, &entries)?
            }
            Kind::BTreeMap { key, value } => {
                let entries = self.source.tree_entries(at, key, value)?;
                self.entries(key, value, &entries)?
            }
            Kind::Array { elem, length } => {
                self.list(elem, Run { start: at, count: count(*length) })?
            }
            Kind::Vec(elem) | Kind::BoxSlice(elem) => {
                self.list(elem, self.source.slice(at, elem)?)?
            }
        })
    }

    /// A text. Many may be the same bytes of the archive: what they take together is limited.
    fn text(&mut self, text: &str) -> Result<Value, Error> {
        self.text_bytes += text.len();
        if self.text_bytes > self.limits.bytes_max {
            let message = format!("has more than {} bytes of text", self.limits.bytes_max);
            return Err(broken(message));
        }
        Ok(text.into())
    }

    fn list(&mut self, elem: &Place, run: Run) -> Result<Value, Error> {
        self.nested(|reader| {
            (0..run.count)
                .map(|index| reader.value(&elem.kind, run.start + index * count(elem.size_bytes)))
                .collect::<Result<_, _>>()
                .map(Value::Array)
                .map_err(|error| prefix("[]", error))
        })
    }

    fn entries(
        &mut self,
        key: &Place,
        value: &Place,
        entries: &[(usize, usize)],
    ) -> Result<Value, Error> {
        self.nested(|reader| {
            let pair = |&(key_at, value_at): &(usize, usize)| {
                let key = reader.value(&key.kind, key_at);
                let key = key.map_err(|error| prefix("[key]", error))?;
                let value = reader.value(&value.kind, value_at);
                let value = value.map_err(|error| prefix("[]", error))?;
                Ok(Value::Array(vec![key, value]))
            };
            entries.iter().map(pair).collect::<Result<_, _>>().map(Value::Array)
        })
    }

    fn user_type(&mut self, schema: &TypeSchema, at: usize) -> Result<Value, Error> {
        match &schema.body {
            Body::Struct { shape, fields } => self.fields(*shape, fields, at),
            Body::Enum { variants, .. } => {
                let tag = self.source.byte(at)?;
                let variant = variants.iter().find(|variant| variant.tag == tag);
                let variant = variant.ok_or_else(|| broken(format!("{tag} is no tag of it")))?;
                let name = variant.name.as_str();
                if schema.is_unit_enum() {
                    return Ok(name.into());
                }
                let mut value = Map::from_iter([(String::from("kind"), name.into())]);
                if variant.shape != Shape::Unit {
                    let fields = self.fields(variant.shape, &variant.fields, at);
                    let fields = fields.map_err(|error| prefix(name, error))?;
                    value.insert(String::from("value"), fields);
                }
                Ok(value.into())
            }
        }
    }

    fn fields(&mut self, shape: Shape, fields: &[Field], at: usize) -> Result<Value, Error> {
        self.nested(|reader| {
            let members = fields.iter().map(|field| {
                reader
                    .value(&field.place.kind, at + count(field.place.offset))
                    .map(|value| (field.name.clone(), value))
                    .map_err(|error| prefix(&field.name, error))
            });
            if shape == Shape::Tuple {
                let values = members.map(|member| member.map(|(_, value)| value));
                return values.collect::<Result<_, _>>().map(Value::Array);
            }
            members.collect::<Result<_, _>>().map(Value::Object)
        })
    }

    fn nested(
        &mut self,
        walk: impl FnOnce(&mut Self) -> Result<Value, Error>,
    ) -> Result<Value, Error> {
        self.depth.enter()?;
        let value = walk(self)?;
        self.depth.leave();
        Ok(value)
    }
}

pub(crate) fn scalar_value(scalar: Scalar, bits: u128) -> Value {
    match scalar {
        Scalar::Bool => (bits == 1).into(),
        Scalar::Char => {
            let code = u32::try_from(bits).unwrap_or_default();
            char::from_u32(code).unwrap_or_default().to_string().into()
        }
        Scalar::F32 => {
            let value = f32::from_bits(u32::try_from(bits).unwrap_or_default());
            float_value(value.into())
        }
        Scalar::F64 => float_value(f64::from_bits(u64::try_from(bits).unwrap_or_default())),
        _ => {
            let unused = 128 - scalar.size_bytes() * 8;
            let signed = (bits << unused).cast_signed() >> unused;
            let is_negative = matches!(scalar.integer(), Some((true, _))) && signed < 0;
            let magnitude = if is_negative { signed.unsigned_abs() } else { bits };
            super::integer(is_negative, magnitude)
        }
    }
}

fn float_value(value: f64) -> Value {
    match Number::from_f64(value) {
        Some(number) => Value::Number(number),
        None if value.is_nan() => "NaN".into(),
        None if value > 0.0 => "Infinity".into(),
        None => "-Infinity".into(),
    }
}
