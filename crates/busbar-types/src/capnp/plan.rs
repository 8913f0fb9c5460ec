//! The Cap'n Proto side of a schema: which struct or enum stands for each type, and where in it
//! each field is. Made once from a [`Schema`]; the text is printed from it, and messages are
//! written and read by it. It holds no values and no bytes.

use std::collections::{BTreeMap, BTreeSet};

use super::invalid;
use super::layout::{Layout, Scope};
use super::names::{Names, camel, pascal, type_name};
use crate::Error;
use crate::schema::{self, Field, Kind, Place, Scalar, Schema, TypeSchema, prefix};

/// Ids and the numbers of what is declared in a struct have 16 bits, and one value is taken.
const COUNT_MAX: u32 = 65_534;

/// One of the nodes of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NodeId(usize);

/// Everything about a schema in Cap'n Proto.
#[derive(Debug)]
pub(super) struct Plan {
    nodes: Vec<Node>,
    /// What a message holds.
    pub(super) root: NodeId,
    /// The id of the file.
    pub(super) file_id: u64,
}

/// A struct or an enum.
#[derive(Debug)]
pub(super) struct Node {
    /// Its own name.
    pub(super) name: String,
    /// Its name from the file's scope on, such as `.Order.TagsEntry`.
    pub(super) path: String,
    pub(super) id: u64,
    /// What is declared inside of it.
    pub(super) nested: Vec<NodeId>,
    pub(super) body: Body,
    pub(super) size: Size,
}

/// How large a struct is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) data_words: u16,
    pub(super) pointers: u16,
}

impl Size {
    /// Data and pointers together.
    pub(super) fn words(self) -> usize {
        usize::from(self.data_words) + usize::from(self.pointers)
    }
}

#[derive(Debug)]
pub(super) enum Body {
    /// A struct, a tuple, an entry of a map, or a value that needs a struct around it.
    Record(Vec<Member>),
    /// An enum with data.
    Choice(Choice),
    /// An enum without data.
    Enumeration(Enumeration),
}

/// An enum with data: a union of groups.
#[derive(Debug)]
pub(super) struct Choice {
    /// Where the tag is, in multiples of 16 bits; an enum with one variant has none.
    pub(super) tag: Option<u32>,
    pub(super) arms: Vec<Arm>,
    /// What an unknown tag reads as.
    pub(super) default: Option<usize>,
}

/// A variant with data.
#[derive(Debug)]
pub(super) struct Arm {
    pub(super) name: String,
    /// The tag in the archive.
    pub(super) tag: u8,
    pub(super) members: Vec<Member>,
}

/// An enum without data; its values are numbered in declaration order.
#[derive(Debug)]
pub(super) struct Enumeration {
    pub(super) names: Vec<String>,
    /// The tags in the archive.
    pub(super) tags: Vec<u8>,
    /// What an unknown number reads as.
    pub(super) default: Option<usize>,
}

/// A field on both sides.
#[derive(Debug)]
pub(super) struct Member {
    /// Its name in Cap'n Proto; empty where a struct is only there to hold it.
    pub(super) name: String,
    /// Its name in the schema.
    pub(super) origin: String,
    /// Where it is in the archive.
    pub(super) place: Place,
    /// Where it is in the struct.
    pub(super) slot: Slot,
}

/// Where a value is in a struct.
#[derive(Debug)]
pub(super) enum Slot {
    Void,
    /// A scalar of at most a word; the offset is in multiples of its size, bits for `bool`.
    Data {
        scalar: Scalar,
        offset: u32,
    },
    /// A scalar of 128 bits, as two words.
    Wide {
        low: u32,
        high: u32,
        is_signed: bool,
    },
    /// An enum without data; the offset is in multiples of 16 bits.
    Enum {
        node: NodeId,
        offset: u32,
    },
    /// `union { none :Void; some :T; }`; the tag is in multiples of 16 bits.
    Option {
        tag: u32,
        some: Box<Self>,
    },
    Pointer {
        index: u32,
        to: Pointee,
    },
}

/// What a pointer points to.
#[derive(Debug)]
pub(super) enum Pointee {
    Text,
    Data,
    Struct(NodeId),
    List(Box<Elem>),
}

/// What a list holds.
#[derive(Debug)]
pub(super) enum Elem {
    Void,
    Scalar(Scalar),
    Enum(NodeId),
    Struct(NodeId),
    Pointer(Pointee),
}

impl Plan {
    pub(super) fn new(schema: &Schema) -> Result<Self, Error> {
        let mut planner = Planner {
            schema,
            nodes: Vec::new(),
            types: BTreeMap::new(),
            ids: BTreeSet::new(),
            files: Names::default(),
        };
        let file_id = planner.take_id(&format!("{}.capnp", schema.root().name))?;
        for one in schema.types() {
            let id = planner.declare(one).map_err(|error| prefix(&one.name, error))?;
            planner.types.insert(one.name.clone(), id);
        }
        for one in schema.types() {
            let id = planner.types[&one.name];
            planner.fill(id, one).map_err(|error| prefix(&one.name, error))?;
        }
        let root = planner.root()?;
        Ok(Self { nodes: planner.nodes, root, file_id })
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    #[cfg(test)]
    pub(super) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter()
    }

    /// The enum without data that `id` is.
    pub(super) fn enumeration(&self, id: NodeId) -> &Enumeration {
        match &self.nodes[id.0].body {
            Body::Enumeration(enumeration) => enumeration,
            _ => unreachable!("invariant: slots of enums name enums"),
        }
    }

    /// What is declared in the file itself.
    pub(super) fn top_level(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.path.rfind('.') == Some(0))
    }

    /// What is declared inside of something else.
    pub(super) fn nested(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.path.rfind('.') != Some(0))
    }
}

/// The element of what becomes a list; `None` for all else. Bytes are no list but data.
pub(super) fn list_elem(kind: &Kind) -> Option<&Place> {
    match kind {
        Kind::Vec(elem) | Kind::BoxSlice(elem) | Kind::Array { elem, .. } => Some(elem),
        _ => None,
    }
}

/// `kind` without boxes around it, which are nothing in Cap'n Proto.
fn unboxed(mut kind: &Kind) -> &Kind {
    while let Kind::Box(elem) = kind {
        kind = &elem.kind;
    }
    kind
}

fn is_wide(kind: &Kind) -> bool {
    matches!(kind, Kind::Scalar(Scalar::U128 | Scalar::I128))
}

struct Planner<'a> {
    schema: &'a Schema,
    nodes: Vec<Node>,
    types: BTreeMap<String, NodeId>,
    ids: BTreeSet<u64>,
    files: Names,
}

/// A struct being filled.
struct Draft {
    node: NodeId,
    layout: Layout,
    /// Names of types and groups in it.
    types: Names,
    ordinals: u32,
}

/// Where in a struct a value is to be put, and what types made for it are called.
struct Spot<'a> {
    scope: Scope,
    prefix: &'a str,
}

impl Planner<'_> {
    /// Ids depend on names alone: they stay when a type gains fields.
    fn take_id(&mut self, full_name: &str) -> Result<u64, Error> {
        let id = schema::hash_of(full_name.as_bytes()) | 1 << 63;
        if self.ids.insert(id) {
            return Ok(id);
        }
        Err(invalid(format!(
            "{full_name:?} has the same Cap'n Proto id as another name: rename it"
        )))
    }

    /// Adds the node of a user type, still empty.
    fn declare(&mut self, one: &TypeSchema) -> Result<NodeId, Error> {
        let mut name = type_name(one.ident())?;
        if one.namespace() != self.schema.root().namespace() {
            let words = one.namespace().split('.').filter(|word| !word.is_empty());
            let words = words.map(pascal).collect::<Result<String, _>>()?;
            name = words + &name;
        }
        self.files.add(&name, &one.name)?;
        let id = self.take_id(&one.name)?;
        Ok(self.push(name.clone(), format!(".{name}"), id))
    }

    fn push(&mut self, name: String, path: String, id: u64) -> NodeId {
        let body = Body::Record(Vec::new());
        let node = Node { name, path, id, nested: Vec::new(), body, size: Size::default() };
        self.nodes.push(node);
        NodeId(self.nodes.len() - 1)
    }

    /// A message is a struct: an enum without data as the root gets one around it.
    fn root(&mut self) -> Result<NodeId, Error> {
        let root = self.schema.root();
        if !root.is_unit_enum() {
            return Ok(self.types[&root.name]);
        }
        let name = format!("{}Message", self.nodes[self.types[&root.name].0].name);
        self.files.add(&name, &format!("{} as a message", root.name))?;
        let id = self.take_id(&format!("{}.Message", root.name))?;
        let node = self.push(name.clone(), format!(".{name}"), id);
        let place = Place {
            kind: Kind::Type { name: root.name.clone(), recursive: false },
            offset: 0,
            size_bytes: root.size_bytes,
            align: root.align,
        };
        self.fill_record(node, vec![("value", "value", place)])?;
        Ok(node)
    }

    fn fill(&mut self, id: NodeId, one: &TypeSchema) -> Result<(), Error> {
        match &one.body {
            schema::Body::Struct { fields, .. } => {
                let names = camel_names(fields)?;
                let fields = names.iter().zip(fields);
                let fields =
                    fields.map(|(name, field)| (&**name, &*field.name, field.place.clone()));
                self.fill_record(id, fields.collect())
            }
            schema::Body::Enum { variants, default_variant } => {
                let mut names = Names::default();
                for variant in variants {
                    let name = camel(&variant.name)?;
                    names.add(&name, &variant.name)?;
                }
                let default = default_variant
                    .as_ref()
                    .and_then(|name| variants.iter().position(|one| one.name == *name));
                self.nodes[id.0].body = if one.is_unit_enum() {
                    let names = variants.iter().map(|variant| camel(&variant.name));
                    let tags = variants.iter().map(|variant| variant.tag).collect();
                    let names = names.collect::<Result<_, _>>()?;
                    Body::Enumeration(Enumeration { names, tags, default })
                } else {
                    self.choice(id, variants, default)?
                };
                Ok(())
            }
        }
    }

    fn fill_record(&mut self, id: NodeId, fields: Vec<(&str, &str, Place)>) -> Result<(), Error> {
        let mut draft = Draft::new(id);
        let mut members = Vec::with_capacity(fields.len());
        for (name, origin, place) in fields {
            let types = pascal(if name.is_empty() { "value" } else { name })?;
            let spot = Spot { scope: Scope::TOP, prefix: &types };
            let member = self.member(&mut draft, &spot, name, origin, place);
            members.push(member.map_err(|error| prefix(origin, error))?);
        }
        self.nodes[id.0].size = draft.size()?;
        self.nodes[id.0].body = Body::Record(members);
        Ok(())
    }

    fn choice(
        &mut self,
        id: NodeId,
        variants: &[schema::Variant],
        default: Option<usize>,
    ) -> Result<Body, Error> {
        let mut draft = Draft::new(id);
        let union = draft.layout.add_union(Scope::TOP);
        let mut arms = Vec::with_capacity(variants.len());
        for variant in variants {
            let scope = draft.layout.add_member(union);
            let name = camel(&variant.name)?;
            let types = pascal(&variant.name)?;
            let mut members = Vec::with_capacity(variant.fields.len());
            if variant.fields.is_empty() {
                draft.layout.add_void(scope);
                draft.ordinals += 1;
            } else {
                draft.types.add(&types, &variant.name)?;
            }
            for (name, field) in camel_names(&variant.fields)?.iter().zip(&variant.fields) {
                let types = format!("{types}{}", pascal(name)?);
                let spot = Spot { scope, prefix: &types };
                let place = field.place.clone();
                let member = self.member(&mut draft, &spot, name, &field.name, place);
                let member = member.map_err(|error| prefix(&field.name, error));
                members.push(member.map_err(|error| prefix(&variant.name, error))?);
            }
            arms.push(Arm { name, tag: variant.tag, members });
        }
        self.nodes[id.0].size = draft.size()?;
        let tag = draft.layout.tag(union);
        Ok(Body::Choice(Choice { tag, arms, default }))
    }

    fn member(
        &mut self,
        draft: &mut Draft,
        spot: &Spot<'_>,
        name: &str,
        origin: &str,
        place: Place,
    ) -> Result<Member, Error> {
        let slot = self.slot(draft, spot, &place.kind)?;
        let is_group = matches!(slot, Slot::Option { .. } | Slot::Wide { .. });
        if is_group && spot.scope == Scope::TOP && !name.is_empty() {
            draft.types.add(spot.prefix, origin)?;
        }
        Ok(Member { name: name.to_owned(), origin: origin.to_owned(), place, slot })
    }

    fn slot(&mut self, draft: &mut Draft, spot: &Spot<'_>, kind: &Kind) -> Result<Slot, Error> {
        let scope = spot.scope;
        let kind = unboxed(kind);
        if !matches!(kind, Kind::Option(_)) {
            draft.ordinals += if is_wide(kind) { 2 } else { 1 };
        }
        Ok(match kind {
            Kind::Unit => {
                draft.layout.add_void(scope);
                Slot::Void
            }
            Kind::Scalar(scalar @ (Scalar::U128 | Scalar::I128)) => Slot::Wide {
                low: draft.layout.add_data(scope, 6),
                high: draft.layout.add_data(scope, 6),
                is_signed: *scalar == Scalar::I128,
            },
            Kind::Scalar(scalar) => {
                Slot::Data { scalar: *scalar, offset: draft.layout.add_data(scope, lg(*scalar)) }
            }
            Kind::Type { name, .. } if self.schema.resolve(name).is_unit_enum() => {
                Slot::Enum { node: self.types[name], offset: draft.layout.add_data(scope, 4) }
            }
            Kind::Option(elem) => {
                let union = draft.layout.add_union(scope);
                let none = draft.layout.add_member(union);
                draft.layout.add_void(none);
                draft.ordinals += 1;
                let inner = Spot { scope: draft.layout.add_member(union), ..*spot };
                let some = if matches!(unboxed(&elem.kind), Kind::Option(_)) {
                    // Unions in unions in unions are where schema compilers have had bugs.
                    draft.ordinals += 1;
                    let index = draft.layout.add_pointer(inner.scope);
                    Slot::Pointer { index, to: Pointee::Struct(self.wrap(draft, spot, elem)?) }
                } else {
                    self.slot(draft, &inner, &elem.kind)?
                };
                let tag = draft.layout.tag(union).expect("invariant: it has two members");
                Slot::Option { tag, some: Box::new(some) }
            }
            kind => {
                let index = draft.layout.add_pointer(scope);
                Slot::Pointer { index, to: self.pointee(draft, spot, kind)? }
            }
        })
    }

    fn pointee(
        &mut self,
        draft: &mut Draft,
        spot: &Spot<'_>,
        kind: &Kind,
    ) -> Result<Pointee, Error> {
        if let Some(elem) = list_elem(kind) {
            return Ok(match elem.kind {
                Kind::Scalar(Scalar::U8) => Pointee::Data,
                _ => Pointee::List(Box::new(self.elem(draft, spot, elem)?)),
            });
        }
        Ok(match kind {
            Kind::String | Kind::BoxStr => Pointee::Text,
            Kind::Type { name, .. } => Pointee::Struct(self.types[name]),
            Kind::Tuple(places) => {
                let names: Vec<(String, String)> =
                    (0..places.len()).map(|at| (format!("f{at}"), at.to_string())).collect();
                let fields = names.iter().zip(places);
                let fields =
                    fields.map(|((name, origin), place)| (&**name, &**origin, place.clone()));
                Pointee::Struct(self.nest(draft, spot, "Tuple", fields.collect())?)
            }
            Kind::HashMap { key, value } | Kind::BTreeMap { key, value } => {
                let fields =
                    vec![("key", "[key]", Place::clone(key)), ("value", "[]", Place::clone(value))];
                let entry = self.nest(draft, spot, "Entry", fields)?;
                Pointee::List(Box::new(Elem::Struct(entry)))
            }
            _ => unreachable!("invariant: all other kinds are stored without a pointer"),
        })
    }

    fn elem(&mut self, draft: &mut Draft, spot: &Spot<'_>, place: &Place) -> Result<Elem, Error> {
        Ok(match unboxed(&place.kind) {
            Kind::Unit => Elem::Void,
            kind if is_wide(kind) => Elem::Struct(self.wrap(draft, spot, place)?),
            Kind::Option(_) => Elem::Struct(self.wrap(draft, spot, place)?),
            Kind::Scalar(scalar) => Elem::Scalar(*scalar),
            Kind::Type { name, .. } if self.schema.resolve(name).is_unit_enum() => {
                Elem::Enum(self.types[name])
            }
            kind => match self.pointee(draft, spot, kind)? {
                Pointee::Struct(node) => Elem::Struct(node),
                pointee => Elem::Pointer(pointee),
            },
        })
    }

    /// A struct around a value that cannot be in a list by itself.
    fn wrap(&mut self, draft: &mut Draft, spot: &Spot<'_>, place: &Place) -> Result<NodeId, Error> {
        let suffix = if is_wide(unboxed(&place.kind)) { "Wide" } else { "Option" };
        let place = Place { offset: 0, ..place.clone() };
        self.nest(draft, spot, suffix, vec![("", "", place)])
    }

    /// A struct declared inside of the one that `draft` is.
    fn nest(
        &mut self,
        draft: &mut Draft,
        spot: &Spot<'_>,
        suffix: &str,
        fields: Vec<(&str, &str, Place)>,
    ) -> Result<NodeId, Error> {
        let name = format!("{}{suffix}", spot.prefix);
        draft.types.add(&name, &name)?;
        let path = format!("{}.{name}", self.nodes[draft.node.0].path);
        let owner = self.owner(&path);
        let id = self.take_id(&owner)?;
        let node = self.push(name, path, id);
        self.nodes[draft.node.0].nested.push(node);
        self.fill_record(node, fields)?;
        Ok(node)
    }

    /// The full name of something nested: that of the user type around it, then its path.
    fn owner(&self, path: &str) -> String {
        let (first, rest) = path[1..].split_once('.').unwrap_or((&path[1..], ""));
        let owner = self.types.iter().find(|(_, id)| self.nodes[id.0].name == first);
        let owner = owner.map_or(first, |(name, _)| name);
        format!("{owner}.{rest}")
    }
}

impl Draft {
    fn new(node: NodeId) -> Self {
        Self { node, layout: Layout::default(), types: Names::default(), ordinals: 0 }
    }

    fn size(&self) -> Result<Size, Error> {
        let data_words = u16::try_from(self.layout.data_words());
        let pointers = u16::try_from(self.layout.pointers());
        match (data_words, pointers) {
            (Ok(data_words), Ok(pointers)) if self.ordinals <= COUNT_MAX => {
                Ok(Size { data_words, pointers })
            }
            _ => Err(invalid("has more fields than a struct in Cap'n Proto can have")),
        }
    }
}

/// The size of a scalar as a power of two in bits.
fn lg(scalar: Scalar) -> usize {
    match scalar {
        Scalar::Bool => 0,
        scalar => scalar.size_bytes().trailing_zeros() as usize + 3,
    }
}

fn camel_names(fields: &[Field]) -> Result<Vec<String>, Error> {
    let mut names = Names::default();
    fields
        .iter()
        .map(|field| {
            let name = camel(&field.name).map_err(|error| prefix(&field.name, error))?;
            names.add(&name, &field.name)?;
            Ok(name)
        })
        .collect()
}
