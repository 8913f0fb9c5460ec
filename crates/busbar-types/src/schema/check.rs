//! What makes a schema one that others may rely on: names are well-formed and resolve, no type
//! contains itself, and layout, text and hash are what the rules say. Types come in as declared
//! and go out as a [`Schema`].

use std::collections::{BTreeMap, BTreeSet};

use unicode_ident::{is_xid_continue, is_xid_start};

use super::circles::circles;
use super::layout::{self, Layout, join, prefix};
use super::{Body, Field, Kind, Place, Schema, Shape, TypeSchema, hash_of, text};
use crate::{Error, ErrorKind};

/// More types than this in one schema are a mistake or an attack.
const TYPES_MAX: usize = 4096;
/// More fields or variants in one type are a mistake or an attack.
const FIELDS_MAX: usize = 4096;
/// Kinds nested deeper are a mistake or an attack.
const DEPTH_MAX: usize = 64;
/// Types mentioning types deeper than this would exhaust the stack of whoever walks them.
const MENTIONS_DEEP_MAX: usize = 256;

/// By name.
pub(super) type Types = BTreeMap<String, TypeSchema>;

/// Computes layout, texts and hashes of `types`.
pub(super) fn complete(
    root: String,
    types: impl IntoIterator<Item = TypeSchema>,
) -> Result<Schema, Error> {
    let declared = collect(&root, types)?;
    // What stands behind a pointer does not change the size of what holds the pointer: all sizes
    // follow from the inner ones without it, and circles go through pointers only.
    let mut layouts: BTreeMap<String, Layout> = BTreeMap::new();
    for name in inner_first(&declared)? {
        let mut schema = declared[&name].clone();
        strip_pointers(&mut schema);
        layout::complete(&mut schema, &|mention| layouts[mention])
            .map_err(|error| prefix(&name, error))?;
        layouts.insert(name, Layout { size_bytes: schema.size_bytes, align: schema.align });
    }
    let mut done = declared;
    for (name, schema) in &mut done {
        layout::complete(schema, &|mention| layouts[mention])
            .map_err(|error| prefix(name, error))?;
    }
    for name in hashes_first(&done)? {
        let schema = &done[&name];
        let text = text::of(schema, &|mention| done.get(mention).map(|inner| inner.hash));
        let schema = done.get_mut(&name).expect("invariant: the order names what is there");
        schema.hash = hash_of(text.as_bytes());
        schema.text = text;
    }
    Ok(Schema { root, types: done })
}

/// Checks `types` against what [`complete`] makes of them.
pub(super) fn verify(
    root: String,
    types: impl IntoIterator<Item = TypeSchema>,
) -> Result<Schema, Error> {
    let claimed: Vec<TypeSchema> = types.into_iter().collect();
    let schema = complete(root, claimed.iter().cloned())?;
    for claim in &claimed {
        compare(claim, schema.resolve(&claim.name))?;
    }
    Ok(schema)
}

/// Replaces what stands behind pointers by nothing.
fn strip_pointers(schema: &mut TypeSchema) {
    let fields: Vec<&mut Field> = match &mut schema.body {
        Body::Struct { fields, .. } => fields.iter_mut().collect(),
        Body::Enum { variants, .. } => {
            variants.iter_mut().flat_map(|variant| &mut variant.fields).collect()
        }
    };
    for field in fields {
        strip(&mut field.place);
    }
}

fn strip(place: &mut Place) {
    match &mut place.kind {
        Kind::Vec(elem) | Kind::BoxSlice(elem) | Kind::Box(elem) => elem.kind = Kind::Unit,
        Kind::HashMap { key, value } | Kind::BTreeMap { key, value } => {
            key.kind = Kind::Unit;
            value.kind = Kind::Unit;
        }
        Kind::Option(elem) | Kind::Array { elem, .. } => strip(elem),
        Kind::Tuple(elems) => elems.iter_mut().for_each(strip),
        Kind::Scalar(_) | Kind::Unit | Kind::String | Kind::BoxStr | Kind::Type { .. } => {}
    }
}

/// Everything about single types and their names.
fn collect(root: &str, types: impl IntoIterator<Item = TypeSchema>) -> Result<Types, Error> {
    let mut declared = Types::new();
    for schema in types {
        check_type(&schema).map_err(|error| prefix(&schema.name, error))?;
        if declared.len() == TYPES_MAX {
            return Err(invalid(format!("mentions more than {TYPES_MAX} types")).at(root));
        }
        if let Some(double) = declared.insert(schema.name.clone(), schema) {
            return Err(invalid("is declared twice").at(double.name));
        }
    }
    if !declared.contains_key(root) {
        return Err(invalid(format!("the root type {root:?} is not among the types")));
    }
    check_mentions(&declared)?;
    Ok(declared)
}

/// Whatever is mentioned is there; by name only, what leads back to the type that mentions it.
fn check_mentions(types: &Types) -> Result<(), Error> {
    let mut named = Vec::new();
    for schema in types.values() {
        let mut missing = None;
        schema.for_each_mention(&mut |mention, is_recursive| {
            if !types.contains_key(mention) {
                missing = Some(mention.to_owned());
            } else if is_recursive {
                named.push((schema.name.as_str(), mention.to_owned()));
            }
        });
        if let Some(missing) = missing {
            let message = format!("mentions {missing:?}, which is not among the types");
            return Err(invalid(message).at(&schema.name));
        }
    }
    if named.is_empty() {
        return Ok(());
    }
    let numbers = circles(types);
    match named.into_iter().find(|(name, mention)| numbers[name] != numbers[mention.as_str()]) {
        None => Ok(()),
        Some((name, mention)) => {
            let message = format!(
                "marks {mention:?} recursive, which does not lead back to it: without the mark, \
                 the hash covers it"
            );
            Err(invalid(message).at(name))
        }
    }
}

fn check_type(schema: &TypeSchema) -> Result<(), Error> {
    for name in schema.aliases.iter().chain([&schema.name]) {
        if !name.split('.').all(is_ident) {
            let message = format!(
                "{name:?} is no type name: use identifiers joined by dots, such as market.Order"
            );
            return Err(invalid(message));
        }
    }
    match &schema.body {
        Body::Struct { shape, fields } => check_fields(*shape, fields),
        Body::Enum { variants, default_variant } => {
            if variants.is_empty() || variants.len() > 256 {
                return Err(invalid("an enum has from 1 to 256 variants: its tag is one byte"));
            }
            let mut names = BTreeSet::new();
            let mut tags = BTreeSet::new();
            for variant in variants {
                if !is_ident(&variant.name) || !names.insert(&variant.name) {
                    return Err(
                        invalid("the variant's name is malformed or doubled").at(&variant.name)
                    );
                }
                if !tags.insert(variant.tag) {
                    return Err(
                        invalid(format!("the tag {} is doubled", variant.tag)).at(&variant.name)
                    );
                }
                check_fields(variant.shape, &variant.fields)
                    .map_err(|error| prefix(&variant.name, error))?;
            }
            let Some(default) = default_variant else { return Ok(()) };
            match variants.iter().find(|variant| variant.name == *default) {
                Some(variant) if variant.shape == Shape::Unit => Ok(()),
                _ => Err(invalid(format!("the default variant {default:?} is no unit variant"))),
            }
        }
    }
}

fn check_fields(shape: Shape, fields: &[Field]) -> Result<(), Error> {
    if fields.len() > FIELDS_MAX {
        return Err(invalid(format!("has more than {FIELDS_MAX} fields")));
    }
    if shape == Shape::Unit && !fields.is_empty() {
        return Err(invalid("a unit shape has no fields"));
    }
    let mut names = BTreeSet::new();
    for (index, field) in fields.iter().enumerate() {
        let is_good = match shape {
            Shape::Tuple => field.name == index.to_string(),
            Shape::Named | Shape::Unit => is_ident(&field.name),
        };
        if !is_good || !names.insert(&field.name) {
            return Err(invalid("the field's name is malformed or doubled").at(&field.name));
        }
        let is_good = |alias: &String| match shape {
            Shape::Tuple => alias.bytes().all(|byte| byte.is_ascii_digit()) && !alias.is_empty(),
            Shape::Named | Shape::Unit => is_ident(alias),
        };
        if !field.aliases.iter().all(is_good) {
            return Err(invalid("an alias is malformed").at(&field.name));
        }
        if field.aliases.iter().any(|alias| !names.insert(alias)) {
            return Err(invalid("an alias is the name of another field").at(&field.name));
        }
        check_place(&field.place, 0).map_err(|error| prefix(&field.name, error))?;
    }
    Ok(())
}

fn check_place(place: &Place, depth: usize) -> Result<(), Error> {
    if depth > DEPTH_MAX {
        return Err(invalid(format!("is nested more than {DEPTH_MAX} kinds deep")));
    }
    if matches!(&place.kind, Kind::Tuple(elems) if elems.is_empty() || elems.len() > 12) {
        return Err(invalid("a tuple has from 1 to 12 elements; () is the kind unit"));
    }
    place.kind.children().try_for_each(|child| check_place(child, depth + 1))
}

/// Whether Rust would take `name` as an identifier, keywords aside.
fn is_ident(name: &str) -> bool {
    let is_start = |c: char| is_xid_start(c) || c == '_';
    name.starts_with(is_start) && name.chars().all(is_xid_continue)
}

/// The types in an order in which whatever a type holds inline comes before it.
fn inner_first(types: &Types) -> Result<Vec<String>, Error> {
    order(types, "contains itself without a Box, Vec or map between", &|schema, visit| {
        for field in schema.all_fields() {
            inline_mentions(&field.place.kind, visit);
        }
    })
}

/// The types in an order in which whatever a text names with a hash comes before it.
fn hashes_first(types: &Types) -> Result<Vec<String>, Error> {
    let message = "mentions itself, so its hash would depend on itself: a mention in the circle \
                   must be marked recursive";
    order(types, message, &|schema, visit| {
        schema.for_each_mention(&mut |mention, recursive| {
            if !recursive {
                visit(mention);
            }
        });
    })
}

fn inline_mentions(kind: &Kind, visit: &mut dyn FnMut(&str)) {
    match kind {
        Kind::Type { name, .. } => visit(name),
        Kind::Option(_) | Kind::Array { .. } | Kind::Tuple(_) => {
            kind.children().for_each(|child| inline_mentions(&child.kind, visit));
        }
        _ => {}
    }
}

type Edges<'a> = &'a dyn Fn(&TypeSchema, &mut dyn FnMut(&str));

/// Depth-first order along `edges`; a circle is an error.
fn order(types: &Types, on_circle: &'static str, edges: Edges<'_>) -> Result<Vec<String>, Error> {
    let mut walk = Walk { types, on_circle, edges, path: Vec::new(), order: Vec::new() };
    let mut done = BTreeSet::new();
    for name in types.keys() {
        walk.visit(name, &mut done)?;
    }
    Ok(walk.order)
}

struct Walk<'a> {
    types: &'a Types,
    on_circle: &'static str,
    edges: Edges<'a>,
    path: Vec<String>,
    order: Vec<String>,
}

impl Walk<'_> {
    fn visit(&mut self, name: &str, done: &mut BTreeSet<String>) -> Result<(), Error> {
        if done.contains(name) {
            return Ok(());
        }
        if self.path.iter().any(|outer| outer == name) {
            return Err(invalid(self.on_circle).at(name));
        }
        if self.path.len() == MENTIONS_DEEP_MAX {
            let message = format!("types are nested more than {MENTIONS_DEEP_MAX} deep");
            return Err(invalid(message).at(name));
        }
        self.path.push(name.to_owned());
        let mut mentions = Vec::new();
        (self.edges)(&self.types[name], &mut |mention| mentions.push(mention.to_owned()));
        for mention in mentions {
            self.visit(&mention, done)?;
        }
        self.path.pop();
        done.insert(name.to_owned());
        self.order.push(name.to_owned());
        Ok(())
    }
}

/// Finds the first lie of `claim` about what is `real`.
fn compare(claim: &TypeSchema, real: &TypeSchema) -> Result<(), Error> {
    let compare_fields = |outer: &str, claimed: &[Field], real: &[Field]| {
        claimed.iter().zip(real).try_for_each(|(claim, real)| {
            compare_places(&claim.place, &real.place)
                .map_err(|error| prefix(&join(outer, &claim.name), error))
        })
    };
    compare_fields(&claim.name, claim.fields(), real.fields())?;
    for (claimed, real) in claim.variants().iter().zip(real.variants()) {
        let outer = join(&claim.name, &claimed.name);
        compare_fields(&outer, &claimed.fields, &real.fields)?;
    }
    let at = |error: Error| error.at(&claim.name);
    equal("size", claim.size_bytes, real.size_bytes).map_err(at)?;
    equal("align", claim.align, real.align).map_err(at)?;
    if claim.text != real.text {
        let message = format!("its text is {:?}, but should be {:?}", claim.text, real.text);
        return Err(invalid(message).at(&claim.name));
    }
    if claim.hash != real.hash {
        let message = format!("its hash is {:016x}, but should be {:016x}", claim.hash, real.hash);
        return Err(invalid(message).at(&claim.name));
    }
    Ok(())
}

fn compare_places(claim: &Place, real: &Place) -> Result<(), Error> {
    equal("offset", claim.offset, real.offset)?;
    equal("size", claim.size_bytes, real.size_bytes)?;
    equal("align", claim.align, real.align)?;
    let is_tuple = matches!(claim.kind, Kind::Tuple(_));
    for (index, (claimed, real)) in claim.kind.children().zip(real.kind.children()).enumerate() {
        let part = if is_tuple { index.to_string() } else { String::from("[]") };
        compare_places(claimed, real).map_err(|error| prefix(&part, error))?;
    }
    Ok(())
}

fn equal(what: &str, claim: u32, real: u32) -> Result<(), Error> {
    if claim == real {
        return Ok(());
    }
    Err(invalid(format!("its {what} is {claim}, but should be {real}")))
}

pub(super) fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::SchemaInvalid, message)
}
