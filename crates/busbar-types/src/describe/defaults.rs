//! Default values of fields as literals, and the compile-time check that a default fits its field.

use serde_json::{Number, Value};

use super::reach::is_same;
use super::{BodyDesc, KindDesc, PlaceDesc};
use crate::json;
use crate::schema::{Scalar, Shape};

/// A default value as it was written down.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "emitted as a literal")]
pub enum DefaultDesc {
    /// `None` or `()`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// An integer.
    Int {
        /// Whether a minus sign stands in front.
        negative: bool,
        /// The digits.
        magnitude: u128,
    },
    /// A number with a point or exponent.
    Float(f64),
    /// A string, a character, or the name of a unit variant.
    Str(&'static str),
    /// `[a, b]`
    List(&'static [Self]),
}

impl DefaultDesc {
    /// The value of `place` as descriptors carry it.
    #[must_use]
    pub fn to_json(&self, place: &PlaceDesc) -> Value {
        match (self, &place.kind) {
            (_, KindDesc::Option { elem, .. } | KindDesc::Box(elem))
                if !matches!(self, Self::Null) =>
            {
                self.to_json(elem)
            }
            // As an integer it would be a string, where it is large, and that is no float.
            (Self::Int { .. }, KindDesc::Scalar(Scalar::F32 | Scalar::F64)) => {
                Number::from_f64(self.to_f64()).map_or(Value::Null, Value::Number)
            }
            (
                Self::List(values),
                KindDesc::Vec(elem) | KindDesc::BoxSlice(elem) | KindDesc::Array { elem, .. },
            ) => Value::Array(values.iter().map(|value| value.to_json(elem)).collect()),
            _ => self.as_written(),
        }
    }

    fn as_written(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Int { negative, magnitude } => json::integer(*negative, *magnitude),
            Self::Float(value) => Number::from_f64(*value).map_or(Value::Null, Value::Number),
            Self::Str(value) => Value::String((*value).to_owned()),
            Self::List(values) => Value::Array(values.iter().map(Self::as_written).collect()),
        }
    }

    /// A number as a float; not a number for what is none.
    const fn to_f64(&self) -> f64 {
        match self {
            Self::Int { negative: false, magnitude } => *magnitude as f64,
            Self::Int { negative: true, magnitude } => -(*magnitude as f64),
            Self::Float(value) => *value,
            _ => f64::NAN,
        }
    }
}

/// Whether `default` is a value of `place`. For the compile-time assertion in derived code.
#[must_use]
pub const fn default_fits(place: &PlaceDesc, default: &DefaultDesc) -> bool {
    match (&place.kind, default) {
        (KindDesc::Scalar(scalar), default) => scalar_fits(*scalar, default),
        (KindDesc::String | KindDesc::BoxStr, DefaultDesc::Str(_))
        | (KindDesc::Unit | KindDesc::Option { .. }, DefaultDesc::Null) => true,
        (KindDesc::Option { elem, .. } | KindDesc::Box(elem), default) => {
            default_fits(elem, default)
        }
        (KindDesc::Vec(elem) | KindDesc::BoxSlice(elem), DefaultDesc::List(values)) => {
            all_fit(elem, values)
        }
        (KindDesc::Array { elem, length }, DefaultDesc::List(values)) => {
            *length == values.len() && all_fit(elem, values)
        }
        (KindDesc::HashMap { .. } | KindDesc::BTreeMap { .. }, DefaultDesc::List(values)) => {
            values.is_empty()
        }
        (KindDesc::Type(desc), DefaultDesc::Str(name)) => has_unit_variant(&desc.body, name),
        _ => false,
    }
}

const fn all_fit(elem: &PlaceDesc, values: &[DefaultDesc]) -> bool {
    let mut index = 0;
    while index < values.len() {
        if !default_fits(elem, &values[index]) {
            return false;
        }
        index += 1;
    }
    true
}

const fn scalar_fits(scalar: Scalar, default: &DefaultDesc) -> bool {
    match (scalar, default) {
        (Scalar::Bool, DefaultDesc::Bool(_)) => true,
        (Scalar::F64, number) => number.to_f64().is_finite(),
        // What rounds to infinity is beyond it.
        (Scalar::F32, number) => (number.to_f64() as f32).is_finite(),
        (Scalar::Char, DefaultDesc::Str(text)) => is_one_char(text.as_bytes()),
        (_, DefaultDesc::Int { negative, magnitude }) => {
            let Some((signed, bits)) = scalar.integer() else { return false };
            let max = if signed { u128::MAX >> (129 - bits) } else { u128::MAX >> (128 - bits) };
            match (*negative, signed) {
                (false, _) => *magnitude <= max,
                (true, true) => *magnitude <= max + 1,
                (true, false) => *magnitude == 0,
            }
        }
        _ => false,
    }
}

const fn is_one_char(bytes: &[u8]) -> bool {
    let mut chars = 0;
    let mut index = 0;
    while index < bytes.len() {
        chars += (bytes[index] & 0xc0 != 0x80) as usize;
        index += 1;
    }
    chars == 1
}

const fn has_unit_variant(body: &BodyDesc, name: &str) -> bool {
    let BodyDesc::Enum { variants, .. } = body else { return false };
    let mut index = 0;
    while index < variants.len() {
        if is_same(variants[index].name, name) {
            // An enum with data shows as an object: a mere name is not its value in JSON.
            return is_all_unit(body) && matches!(variants[index].shape, Shape::Unit);
        }
        index += 1;
    }
    false
}

const fn is_all_unit(body: &BodyDesc) -> bool {
    let BodyDesc::Enum { variants, .. } = body else { return false };
    let mut index = 0;
    while index < variants.len() {
        if !matches!(variants[index].shape, Shape::Unit) {
            return false;
        }
        index += 1;
    }
    true
}
