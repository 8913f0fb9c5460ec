//! The canonical text of a type, v1: what the schema hash is a hash of. Names, kinds and layout go
//! in; docs, attributes, visibility, defaults and aliases are left out on purpose.

use std::fmt::Write;

use super::{ABI, Body, FORMAT, Field, Kind, Place, Shape, TypeSchema};

/// Answers with the hash of a mentioned type; `None` leaves hashes out.
pub(super) type Hashes<'a> = &'a dyn Fn(&str) -> Option<u64>;

/// The canonical text of a type whose layout is complete.
pub(super) fn of(schema: &TypeSchema, hashes: Hashes<'_>) -> String {
    let mut out = format!("abi{ABI};{FORMAT};");
    let word = match schema.body {
        Body::Struct { .. } => "struct",
        Body::Enum { .. } => "enum",
    };
    push(&mut out, format_args!("{word} {}({},{})", schema.name, schema.size_bytes, schema.align));
    match &schema.body {
        Body::Struct { shape, fields } => spell_fields(&mut out, *shape, fields, hashes),
        Body::Enum { variants, .. } => {
            out.push('{');
            for (index, variant) in variants.iter().enumerate() {
                let separator = if index == 0 { "" } else { ";" };
                push(&mut out, format_args!("{separator}{}={}", variant.name, variant.tag));
                spell_fields(&mut out, variant.shape, &variant.fields, hashes);
            }
            out.push('}');
        }
    }
    out
}

fn spell_fields(out: &mut String, shape: Shape, fields: &[Field], hashes: Hashes<'_>) {
    let (open, close) = match shape {
        Shape::Named => ('{', '}'),
        Shape::Tuple => ('(', ')'),
        Shape::Unit => return,
    };
    out.push(open);
    for (index, field) in fields.iter().enumerate() {
        if index > 0 {
            out.push(';');
        }
        if shape == Shape::Named {
            push(out, format_args!("{}:", field.name));
        }
        spell(out, &field.place.kind, hashes);
    }
    out.push(close);
}

/// Spells a kind.
pub(super) fn spell(out: &mut String, kind: &Kind, hashes: Hashes<'_>) {
    match kind {
        Kind::Scalar(scalar) => out.push_str(scalar.word()),
        Kind::Unit => out.push_str("()"),
        Kind::String => out.push_str("str"),
        Kind::BoxStr => out.push_str("boxstr"),
        Kind::Vec(elem) => spell_list(out, "vec<", [&**elem], ">", hashes),
        Kind::BoxSlice(elem) => spell_list(out, "boxslice<", [&**elem], ">", hashes),
        Kind::Box(elem) => spell_list(out, "box<", [&**elem], ">", hashes),
        Kind::Option(elem) => spell_list(out, "opt<", [&**elem], ">", hashes),
        Kind::Array { elem, length } => {
            spell_list(out, "[", [&**elem], "", hashes);
            push(out, format_args!(";{length}]"));
        }
        Kind::Tuple(elems) => spell_list(out, "(", elems, ")", hashes),
        Kind::HashMap { key, value } => spell_list(out, "map<", [&**key, value], ">", hashes),
        Kind::BTreeMap { key, value } => spell_list(out, "btree<", [&**key, value], ">", hashes),
        Kind::Type { name, recursive: true } => push(out, format_args!("@{name}")),
        Kind::Type { name, recursive: false } => {
            out.push_str(name);
            if let Some(hash) = hashes(name) {
                push(out, format_args!("#{hash:016x}"));
            }
        }
    }
}

fn spell_list<'a>(
    out: &mut String,
    open: &str,
    places: impl IntoIterator<Item = &'a Place>,
    close: &str,
    hashes: Hashes<'_>,
) {
    out.push_str(open);
    for (index, place) in places.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        spell(out, &place.kind, hashes);
    }
    out.push_str(close);
}

fn push(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments).expect("invariant: writing to a String cannot fail");
}
