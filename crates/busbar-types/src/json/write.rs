//! JSON as the values of an archive: the builder of archives asks by the schema.

use serde_json::Value;

use super::is_nullable;
use crate::archive::{Values, broken, unknown_variant};
use crate::schema::{Body, Field, Kind, Place, Scalar, TypeSchema};
use crate::{Error, ErrorKind};

/// JSON values, which carry all there is to know.
#[derive(Debug)]
pub(crate) struct Source;

static NULL: Value = Value::Null;

impl<'a> Values<'a> for Source {
    type Value = &'a Value;
    type Fields = &'a Value;
    type Items = &'a [Value];

    fn bits(&self, scalar: Scalar, value: &'a Value) -> Result<u128, Error> {
        let bits = match scalar {
            Scalar::Bool => value.as_bool().map(u128::from),
            Scalar::Char => value.as_str().and_then(one_char).map(|one| u32::from(one).into()),
            Scalar::F32 => float(value).and_then(narrow).map(|value| value.to_bits().into()),
            Scalar::F64 => float(value).map(|value| value.to_bits().into()),
            scalar => integer(scalar, value),
        };
        bits.ok_or_else(|| unfit(scalar.word(), value))
    }

    fn text(&self, value: &'a Value) -> Result<&'a str, Error> {
        value.as_str().ok_or_else(|| unfit("string", value))
    }

    fn unboxed(&self, value: &'a Value) -> Result<&'a Value, Error> {
        Ok(value)
    }

    fn some(&self, elem: &Place, value: &'a Value) -> Result<Option<&'a Value>, Error> {
        // Defaults of fields have no wrapper, because none of them says Some(None).
        let wrapped = is_nullable(&elem.kind).then(|| value.get("some")).flatten();
        Ok(wrapped.or_else(|| (!value.is_null()).then_some(value)))
    }

    fn fields(&self, value: &'a Value) -> Result<&'a Value, Error> {
        Ok(value)
    }

    fn variant(&self, one: &'a TypeSchema, value: &'a Value) -> Result<(usize, &'a Value), Error> {
        let Body::Enum { variants, default_variant } = &one.body else {
            unreachable!("invariant: only enums have variants")
        };
        let kind = if one.is_unit_enum() { None } else { value.get("kind") };
        let name = kind.unwrap_or(value).as_str();
        let name = name.ok_or_else(|| unfit("variant of an enum", value))?;
        let fields = value.get("value");
        let find = |name: &str| variants.iter().position(|variant| variant.name == name);
        let known = find(name).map(|number| (number, fields.unwrap_or(&NULL)));
        let default = || default_variant.as_deref().and_then(find).map(|number| (number, &NULL));
        known.or_else(default).ok_or_else(|| unknown_variant(format_args!("{name:?}")))
    }

    fn field(
        &self,
        fields: &'a Value,
        index: usize,
        field: Option<&'a Field>,
    ) -> Result<&'a Value, Error> {
        // Fields of tuples are called by their numbers.
        let named = field.filter(|field| field.name.parse() != Ok(index));
        let Some(field) = named else {
            let items = fields.as_array().ok_or_else(|| unfit("array", fields))?;
            return items.get(index).map_or_else(|| absent(field), Ok);
        };
        let members = fields.as_object().ok_or_else(|| unfit("object", fields))?;
        let names = [&field.name].into_iter().chain(&field.aliases);
        let found = names.filter_map(|name| members.get(name)).next();
        found.map_or_else(|| absent(Some(field)), Ok)
    }

    fn items(&self, _: &Kind, value: &'a Value) -> Result<&'a [Value], Error> {
        value.as_array().map(Vec::as_slice).ok_or_else(|| unfit("array", value))
    }

    fn count(&self, items: &&'a [Value]) -> usize {
        items.len()
    }

    fn item(&self, items: &&'a [Value], index: usize) -> &'a Value {
        &items[index]
    }

    fn entry(&self, items: &&'a [Value], index: usize) -> Result<[&'a Value; 2], Error> {
        match items[index].as_array().map(Vec::as_slice) {
            Some([key, value]) => Ok([key, value]),
            _ => Err(unfit("pair of a key and a value", &items[index])),
        }
    }
}

/// What a field reads as that is not there.
fn absent(field: Option<&Field>) -> Result<&Value, Error> {
    match field {
        Some(Field { default: Some(default), .. }) => Ok(default),
        Some(Field { place: Place { kind: Kind::Option(_), .. }, .. }) => Ok(&NULL),
        _ => Err(broken("is missing")),
    }
}

fn one_char(text: &str) -> Option<char> {
    let mut chars = text.chars();
    chars.next().filter(|_| chars.next().is_none())
}

fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

/// Rounds, but not to infinity.
fn narrow(value: f64) -> Option<f32> {
    let narrow = value as f32;
    (narrow.is_infinite() == value.is_infinite()).then_some(narrow)
}

/// The bits of an integer that is within the range of `scalar`, from a number or from digits.
fn integer(scalar: Scalar, value: &Value) -> Option<u128> {
    let (is_signed, width) = scalar.integer()?;
    let (is_negative, magnitude) = match value {
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => (false, number.into()),
            (None, Some(number)) => (true, number.unsigned_abs().into()),
            (None, None) => return None,
        },
        Value::String(text) => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            (digits.len() < text.len(), digits.parse::<u128>().ok()?)
        }
        _ => return None,
    };
    let max = u128::MAX >> (128 - width + u32::from(is_signed));
    match (is_negative, is_signed) {
        (false, _) if magnitude <= max => Some(magnitude),
        (true, true) if magnitude <= max + 1 => {
            Some(magnitude.wrapping_neg() & (u128::MAX >> (128 - width)))
        }
        (true, false) if magnitude == 0 => Some(0),
        _ => None,
    }
}

fn unfit(wanted: &str, found: &Value) -> Error {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    Error::new(ErrorKind::ArchiveInvalid, format!("{found} is no {wanted} that fits"))
}
