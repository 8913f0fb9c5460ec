//! Descriptor JSON to and from [`Schema`]: the raw structs here are the JSON, member for member.
//! Members that this version does not know are ignored; what it knows is checked in `check`.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::check::invalid;
use super::layout::prefix;
use super::{
    ABI, Body, FORMAT, Field, Kind, Place, Scalar, Schema, Shape, TsInteger, TypeSchema, Variant,
};
use crate::Error;

#[derive(Serialize, Deserialize)]
struct RawSchema {
    abi: u32,
    format: String,
    root: String,
    types: BTreeMap<String, RawType>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawType {
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shape: Option<String>,
    size: u32,
    align: u32,
    hash: String,
    text: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    aliases: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fields: Option<Vec<RawPlace>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    variants: Option<Vec<RawVariant>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    default_variant: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct RawVariant {
    name: String,
    tag: u8,
    shape: String,
    fields: Vec<RawPlace>,
}

#[derive(Default, Serialize, Deserialize)]
struct RawPlace {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    kind: String,
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    type_name: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    recursive: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    offset: Option<u32>,
    size: u32,
    align: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    length: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    elem: Option<Box<Self>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    elems: Option<Vec<Self>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<Box<Self>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<Box<Self>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ts: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    intern: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    aliases: Vec<String>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    default: Option<Value>,
}

/// `null` is a default, too: only an absent member is none.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

pub(super) fn parse(text: &str) -> Result<Schema, Error> {
    let raw: RawSchema = serde_json::from_str(text).map_err(|error| {
        invalid(format!("the descriptor is no descriptor JSON: {error}")).with_source(error)
    })?;
    if raw.abi != ABI {
        return Err(invalid(format!("the descriptor has abi {}, this is {ABI}", raw.abi)));
    }
    if raw.format != FORMAT {
        let message = format!("the descriptor is of {:?} archives, not {FORMAT:?}", raw.format);
        return Err(invalid(message));
    }
    let types: Vec<TypeSchema> = raw
        .types
        .into_iter()
        .map(|(name, raw)| type_from(&name, raw).map_err(|error| prefix(&name, error)))
        .collect::<Result<_, _>>()?;
    Schema::from_parts(raw.root, types)
}

fn type_from(name: &str, raw: RawType) -> Result<TypeSchema, Error> {
    let body = match (raw.kind.as_str(), raw.fields, raw.variants) {
        ("struct", Some(fields), None) => {
            let shape = raw.shape.ok_or_else(|| invalid("a struct needs a shape"))?;
            Body::Struct { shape: shape_from(&shape)?, fields: fields_from(fields)? }
        }
        ("enum", None, Some(variants)) => {
            if raw.tag.as_deref() != Some("u8") {
                return Err(invalid("the tag of an enum is \"u8\""));
            }
            let variants = variants.into_iter().map(variant_from).collect::<Result<_, _>>()?;
            Body::Enum { variants, default_variant: raw.default_variant }
        }
        (kind, ..) => {
            let message = format!(
                "{kind:?} is neither a struct with fields nor an enum with \
                                   variants"
            );
            return Err(invalid(message));
        }
    };
    Ok(TypeSchema {
        name: name.to_owned(),
        body,
        size_bytes: raw.size,
        align: raw.align,
        hash: hash_from(&raw.hash)?,
        text: raw.text,
        aliases: raw.aliases,
    })
}

fn hash_from(text: &str) -> Result<u64, Error> {
    let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let hash = u64::from_str_radix(text, 16).ok();
    hash.filter(|_| text.len() == 16 && text.chars().all(is_hex))
        .ok_or_else(|| invalid(format!("its hash {text:?} is not 16 hexadecimal digits")))
}

fn variant_from(raw: RawVariant) -> Result<Variant, Error> {
    let name = raw.name;
    let parts = || Ok((shape_from(&raw.shape)?, fields_from(raw.fields)?));
    let (shape, fields) = parts().map_err(|error| prefix(&name, error))?;
    Ok(Variant { name, tag: raw.tag, shape, fields })
}

fn shape_from(word: &str) -> Result<Shape, Error> {
    match word {
        "named" => Ok(Shape::Named),
        "tuple" => Ok(Shape::Tuple),
        "unit" => Ok(Shape::Unit),
        _ => Err(invalid(format!("the shape {word:?} is none of named, tuple, unit"))),
    }
}

fn fields_from(raw: Vec<RawPlace>) -> Result<Vec<Field>, Error> {
    raw.into_iter()
        .map(|raw| {
            let name = raw.name.clone().ok_or_else(|| invalid("a field has no name"))?;
            field_from(name.clone(), raw).map_err(|error| prefix(&name, error))
        })
        .collect()
}

fn field_from(name: String, mut raw: RawPlace) -> Result<Field, Error> {
    let ts = match raw.ts.as_deref() {
        None => None,
        Some("number") => Some(TsInteger::Number),
        Some("bigint") => Some(TsInteger::Bigint),
        Some(other) => {
            return Err(invalid(format!("ts is {other:?}, neither number nor bigint")));
        }
    };
    let (aliases, default) = (std::mem::take(&mut raw.aliases), raw.default.take());
    let intern = raw.intern;
    if raw.offset.is_none() {
        return Err(invalid("a field needs an offset"));
    }
    Ok(Field { name, place: place_from(raw)?, aliases, default, ts, intern })
}

fn place_from(raw: RawPlace) -> Result<Place, Error> {
    let (offset, size_bytes, align) = (raw.offset.unwrap_or(0), raw.size, raw.align);
    Ok(Place { kind: kind_from(raw)?, offset, size_bytes, align })
}

fn kind_from(raw: RawPlace) -> Result<Kind, Error> {
    let word = raw.kind;
    if let Some(&scalar) = Scalar::ALL.iter().find(|scalar| scalar.word() == word) {
        return Ok(Kind::Scalar(scalar));
    }
    let needs = |member: &str| invalid(format!("the kind {word:?} needs {member:?}"));
    let boxed = |place: Option<Box<RawPlace>>, member: &str| match place {
        Some(place) => place_from(*place).map(Box::new).map_err(|error| prefix("[]", error)),
        None => Err(needs(member)),
    };
    Ok(match word.as_str() {
        "unit" => Kind::Unit,
        "string" => Kind::String,
        "boxstr" => Kind::BoxStr,
        "vec" => Kind::Vec(boxed(raw.elem, "elem")?),
        "boxslice" => Kind::BoxSlice(boxed(raw.elem, "elem")?),
        "box" => Kind::Box(boxed(raw.elem, "elem")?),
        "option" => Kind::Option(boxed(raw.elem, "elem")?),
        "array" => Kind::Array {
            elem: boxed(raw.elem, "elem")?,
            length: raw.length.ok_or_else(|| needs("length"))?,
        },
        "tuple" => {
            let elems = raw.elems.ok_or_else(|| needs("elems"))?;
            Kind::Tuple(elems.into_iter().map(place_from).collect::<Result<_, _>>()?)
        }
        "hashmap" => {
            Kind::HashMap { key: boxed(raw.key, "key")?, value: boxed(raw.value, "value")? }
        }
        "btreemap" => {
            Kind::BTreeMap { key: boxed(raw.key, "key")?, value: boxed(raw.value, "value")? }
        }
        "type" => Kind::Type {
            name: raw.type_name.ok_or_else(|| needs("type"))?,
            recursive: raw.recursive,
        },
        _ => return Err(invalid(format!("the kind {word:?} is unknown"))),
    })
}

pub(super) fn print(schema: &Schema) -> String {
    let types = schema.types().map(|one| (one.name.clone(), raw_type(one))).collect();
    let raw = RawSchema { abi: ABI, format: FORMAT.to_owned(), root: schema.root.clone(), types };
    serde_json::to_string(&raw).expect("invariant: all keys are strings and nothing else can fail")
}

fn raw_type(schema: &TypeSchema) -> RawType {
    let (kind, tag, shape, fields, variants, default_variant) = match &schema.body {
        Body::Struct { shape, fields } => {
            let shape = Some(shape_word(*shape).to_owned());
            ("struct", None, shape, Some(fields.iter().map(raw_field).collect()), None, None)
        }
        Body::Enum { variants, default_variant } => {
            let variants = variants.iter().map(raw_variant).collect();
            let tag = Some(String::from("u8"));
            ("enum", tag, None, None, Some(variants), default_variant.clone())
        }
    };
    RawType {
        kind: kind.to_owned(),
        tag,
        shape,
        size: schema.size_bytes,
        align: schema.align,
        hash: format!("{:016x}", schema.hash),
        text: schema.text.clone(),
        aliases: schema.aliases.clone(),
        fields,
        variants,
        default_variant,
    }
}

fn raw_variant(variant: &Variant) -> RawVariant {
    RawVariant {
        name: variant.name.clone(),
        tag: variant.tag,
        shape: shape_word(variant.shape).to_owned(),
        fields: variant.fields.iter().map(raw_field).collect(),
    }
}

fn shape_word(shape: Shape) -> &'static str {
    match shape {
        Shape::Named => "named",
        Shape::Tuple => "tuple",
        Shape::Unit => "unit",
    }
}

fn raw_field(field: &Field) -> RawPlace {
    let ts = field.ts.map(|ts| match ts {
        TsInteger::Bigint => String::from("bigint"),
        TsInteger::Number => String::from("number"),
    });
    RawPlace {
        name: Some(field.name.clone()),
        ts,
        intern: field.intern,
        aliases: field.aliases.clone(),
        default: field.default.clone(),
        ..raw_inside(&field.place)
    }
}

/// A place in something that has offsets.
fn raw_inside(place: &Place) -> RawPlace {
    RawPlace { offset: Some(place.offset), ..raw_place(place) }
}

fn raw_place(place: &Place) -> RawPlace {
    let mut raw = RawPlace {
        kind: place.kind.word().to_owned(),
        size: place.size_bytes,
        align: place.align,
        ..RawPlace::default()
    };
    let boxed = |place: &Place| Some(Box::new(raw_place(place)));
    match &place.kind {
        Kind::Scalar(_) | Kind::Unit | Kind::String | Kind::BoxStr => {}
        Kind::Vec(elem) | Kind::BoxSlice(elem) | Kind::Box(elem) => raw.elem = boxed(elem),
        Kind::Option(elem) => raw.elem = Some(Box::new(raw_inside(elem))),
        Kind::Array { elem, length } => {
            raw.elem = boxed(elem);
            raw.length = Some(*length);
        }
        Kind::Tuple(elems) => raw.elems = Some(elems.iter().map(raw_inside).collect()),
        Kind::HashMap { key, value } | Kind::BTreeMap { key, value } => {
            raw.key = boxed(key);
            raw.value = boxed(value);
        }
        Kind::Type { name, recursive } => {
            raw.type_name = Some(name.clone());
            raw.recursive = *recursive;
        }
    }
    raw
}
