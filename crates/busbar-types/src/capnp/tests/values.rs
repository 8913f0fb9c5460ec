//! Random values of random schemas as JSON in our form, and the JSON that the `capnp` tool makes of
//! the same values.

use serde_json::{Map, Value, json};

use super::random::Rng;
use crate::capnp::names::camel;
use crate::schema::{Body, Field, Kind, Scalar, Schema, Shape, TypeSchema};

/// A random value of `one`.
pub(super) fn of_type(rng: &mut Rng, schema: &Schema, one: &TypeSchema) -> Value {
    match &one.body {
        Body::Struct { shape, fields } => of_fields(rng, schema, *shape, fields),
        Body::Enum { variants, .. } => {
            let variant = rng.pick(variants);
            if one.is_unit_enum() {
                return json!(variant.name);
            }
            let mut value = json!({ "kind": variant.name });
            if variant.shape != Shape::Unit {
                value["value"] = of_fields(rng, schema, variant.shape, &variant.fields);
            }
            value
        }
    }
}

fn of_fields(rng: &mut Rng, schema: &Schema, shape: Shape, fields: &[Field]) -> Value {
    let mut value = |field: &Field| of_kind(rng, schema, &field.place.kind);
    match shape {
        Shape::Tuple => fields.iter().map(value).collect(),
        _ => fields.iter().map(|field| (field.name.clone(), value(field))).collect(),
    }
}

fn of_kind(rng: &mut Rng, schema: &Schema, kind: &Kind) -> Value {
    match kind {
        Kind::Unit => Value::Null,
        Kind::Scalar(scalar) => of_scalar(rng, *scalar),
        Kind::String | Kind::BoxStr => {
            let texts = ["", "a", "\u{0}\"\\\n", "12345678", "ninebytes", "käse 漢字 🚌"];
            json!(rng.pick(&texts).repeat(if rng.below(8) == 0 { 40 } else { 1 }))
        }
        Kind::Box(elem) => of_kind(rng, schema, &elem.kind),
        Kind::Option(_) if rng.below(3) == 0 => Value::Null,
        Kind::Option(elem) => {
            let value = of_kind(rng, schema, &elem.kind);
            if crate::json::is_nullable(&elem.kind) { json!({ "some": value }) } else { value }
        }
        Kind::Array { elem, length } => {
            (0..*length).map(|_| of_kind(rng, schema, &elem.kind)).collect()
        }
        Kind::Vec(elem) | Kind::BoxSlice(elem) => {
            (0..rng.below(4)).map(|_| of_kind(rng, schema, &elem.kind)).collect()
        }
        Kind::Tuple(places) => {
            places.iter().map(|place| of_kind(rng, schema, &place.kind)).collect()
        }
        Kind::HashMap { value, .. } | Kind::BTreeMap { value, .. } => {
            let length = *rng.pick(&[0, 1, 4, 6, 40]);
            let mut key = rng.below(10);
            let mut pair = || {
                key += 1 + rng.below(1000);
                json!([key, of_kind(rng, schema, &value.kind)])
            };
            (0..length).map(|_| pair()).collect()
        }
        Kind::Type { name, .. } => of_type(rng, schema, schema.resolve(name)),
    }
}

fn of_scalar(rng: &mut Rng, scalar: Scalar) -> Value {
    match scalar {
        Scalar::Bool => json!(rng.below(2) == 1),
        Scalar::Char => json!(rng.pick(&["a", "\u{0}", "ß", "漢", "🚌", "\u{10ffff}"])),
        Scalar::F32 | Scalar::F64 => {
            let values = [json!(0.0), json!(1.5), json!(-3.25), json!("Infinity"), json!("NaN")];
            rng.pick(&values).clone()
        }
        _ => {
            let (_, bits) = scalar.integer().expect("what is left");
            let random = u128::from(rng.next()) << 64 | u128::from(rng.next());
            let value = *rng.pick(&[0, 1, u128::MAX, 1 << (bits - 1), random, random]);
            crate::json::scalar_value(scalar, value & (u128::MAX >> (128 - bits)))
        }
    }
}

/// What the tool prints for a `value` of the root.
pub(super) fn expected(schema: &Schema, value: &Value) -> Value {
    let printed = type_expected(schema, schema.root(), value);
    if schema.root().is_unit_enum() { json!({ "value": printed }) } else { printed }
}

fn type_expected(schema: &Schema, one: &TypeSchema, value: &Value) -> Value {
    match &one.body {
        Body::Struct { fields, .. } => fields_expected(schema, fields, value),
        Body::Enum { .. } if one.is_unit_enum() => json!(name(value.as_str().expect("a name"))),
        Body::Enum { variants, .. } => {
            let kind = value["kind"].as_str().expect("a kind");
            let variant = variants.iter().find(|variant| variant.name == kind);
            let fields = &variant.expect("a variant").fields;
            let inner = match &fields[..] {
                [] => Value::Null,
                fields => fields_expected(schema, fields, &value["value"]),
            };
            Map::from_iter([(name(kind), inner)]).into()
        }
    }
}

fn fields_expected(schema: &Schema, fields: &[Field], value: &Value) -> Value {
    let member = |(index, field): (usize, &Field)| {
        let value = value.get(&field.name).or_else(|| value.get(index)).expect("a member");
        (name(&field.name), kind_expected(schema, &field.place.kind, value))
    };
    fields.iter().enumerate().map(member).collect()
}

fn kind_expected(schema: &Schema, kind: &Kind, value: &Value) -> Value {
    let each = |elem: &Kind| {
        let items = value.as_array().expect("an array");
        items.iter().map(|item| kind_expected(schema, elem, item)).collect()
    };
    match kind {
        Kind::Scalar(scalar) => scalar_expected(*scalar, value),
        Kind::Unit | Kind::String | Kind::BoxStr => value.clone(),
        Kind::Box(elem) => kind_expected(schema, &elem.kind, value),
        Kind::Option(_) if value.is_null() => json!({ "none": null }),
        Kind::Option(elem) => {
            let nullable = crate::json::is_nullable(&elem.kind);
            let inner = if nullable { &value["some"] } else { value };
            json!({ "some": kind_expected(schema, &elem.kind, inner) })
        }
        Kind::Vec(elem) | Kind::BoxSlice(elem) | Kind::Array { elem, .. } => each(&elem.kind),
        Kind::Tuple(places) => {
            let parts = places.iter().zip(value.as_array().expect("an array")).enumerate();
            parts
                .map(|(index, (place, part))| {
                    (format!("f{index}"), kind_expected(schema, &place.kind, part))
                })
                .collect()
        }
        Kind::HashMap { key, value: elem } | Kind::BTreeMap { key, value: elem } => {
            let entry = |pair: &Value| {
                json!({
                    "key": kind_expected(schema, &key.kind, &pair[0]),
                    "value": kind_expected(schema, &elem.kind, &pair[1]),
                })
            };
            value.as_array().expect("an array").iter().map(entry).collect()
        }
        Kind::Type { name, .. } => type_expected(schema, schema.resolve(name), value),
    }
}

/// 64 bits are always strings there, 128 bits are two of them, and a `char` is a number.
fn scalar_expected(scalar: Scalar, value: &Value) -> Value {
    let digits = || match value {
        Value::String(digits) => digits.clone(),
        value => value.to_string(),
    };
    match scalar {
        Scalar::Char => {
            json!(u32::from(value.as_str().expect("a char").chars().next().expect("one")))
        }
        Scalar::U64 | Scalar::I64 => json!(digits()),
        Scalar::U128 => {
            let wide: u128 = digits().parse().expect("digits");
            json!({ "low": low(wide).to_string(), "high": low(wide >> 64).to_string() })
        }
        Scalar::I128 => {
            let wide: i128 = digits().parse().expect("digits");
            let low = low(wide.cast_unsigned());
            json!({ "low": low.to_string(), "high": (wide >> 64).to_string() })
        }
        _ => value.clone(),
    }
}

fn low(wide: u128) -> u64 {
    (wide & u128::from(u64::MAX)) as u64
}

fn name(name: &str) -> String {
    camel(name).expect("a name")
}

/// Where two values differ first, however their numbers are spelled and their maps are ordered.
pub(super) fn difference(a: &Value, b: &Value) -> Option<String> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => None,
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let (a, b) = (sorted(a), sorted(b));
            a.iter().zip(b).find_map(|(a, b)| difference(a, b)).map(|path| format!("[]{path}"))
        }
        (Value::Object(a), Value::Object(b)) if a.keys().eq(b.keys()) => {
            let members = a.iter().zip(b.values());
            members
                .into_iter()
                .find_map(|((name, a), b)| difference(a, b).map(|path| format!(".{name}{path}")))
        }
        (a, b) if a == b => None,
        (a, b) => Some(format!(": {a} → {b}")),
    }
}

/// The entries of a map by their keys, and other lists as they are.
fn sorted(list: &[Value]) -> Vec<&Value> {
    let key = |item: &Value| match item {
        Value::Array(pair) if pair.len() == 2 => pair[0].as_f64(),
        item => item.get("key").and_then(Value::as_f64),
    };
    let mut sorted: Vec<&Value> = list.iter().collect();
    if list.iter().all(|item| key(item).is_some()) {
        sorted.sort_by(|a, b| key(a).partial_cmp(&key(b)).expect("numbers"));
    }
    sorted
}
