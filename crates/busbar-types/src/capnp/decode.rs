//! A message as the values of an archive: the builder of archives asks by the schema, and is
//! answered from the message by the plan. Nothing is kept of what was read.

use super::message::{LIST_POINTERS, ListView, Message, PointerAt, Structs, View};
use super::plan::{Body, Choice, Elem, Member, NodeId, Plan, Pointee, Slot};
use super::write::list_code;
use crate::Error;
use crate::Limits;
use crate::archive::{Values, broken, build, check_bits, count, is_any_bits, unknown_variant};
use crate::schema::{Field, Kind, Place, Scalar, Schema, TypeSchema, prefix};

/// The archive of the value in `message`.
pub(super) fn decode(
    plan: &Plan,
    schema: &Schema,
    limits: Limits,
    message: &[u8],
) -> Result<Vec<u8>, Error> {
    let root = || {
        let source = Source { plan, message: Message::new(message)? };
        let view = source.message.structure(source.message.root())?;
        let value = match &plan.node(plan.root).body {
            // An enum without data has a struct around it.
            Body::Record(members) if schema.root().is_unit_enum() => open(&members[0].slot, view),
            _ => Value::Struct(plan.root, view),
        };
        Ok((source, value))
    };
    let (source, value) = root().map_err(|error| prefix(&schema.root().name, error))?;
    build(schema, limits, &source, value)
}

struct Source<'a> {
    plan: &'a Plan,
    message: Message<'a>,
}

/// A value in a message, as far as it is known without following pointers.
#[derive(Clone, Copy, Debug)]
enum Value<'a> {
    Nothing,
    Bits(u128),
    /// A value of an enum without data.
    Number(NodeId, u64),
    Option(u64, &'a Slot, View<'a>),
    Pointer(&'a Pointee, PointerAt),
    Struct(NodeId, View<'a>),
}

/// The fields of a struct, tuple or variant.
type Fields<'a> = (&'a [Member], View<'a>);

/// The elements of a list.
#[derive(Clone, Copy, Debug)]
enum Items<'a> {
    List(&'a Elem, ListView<'a>),
    Structs(NodeId, Structs),
    Bytes(&'a [u8]),
    /// No list, but an array must have elements: they are all zero.
    Zeros(Option<&'a Elem>, usize),
}

impl<'a> Values<'a> for Source<'a> {
    type Value = Value<'a>;
    type Fields = Fields<'a>;
    type Items = Items<'a>;

    fn bits(&self, scalar: Scalar, value: Value<'a>) -> Result<u128, Error> {
        match self.enter(value)? {
            Value::Bits(bits) => check_bits(scalar, bits),
            _ => Err(unlike(scalar.word())),
        }
    }

    fn text(&self, value: Value<'a>) -> Result<&'a str, Error> {
        match value {
            Value::Pointer(Pointee::Text, at) => self.message.text(at),
            _ => Err(unlike("string")),
        }
    }

    /// Boxes are nothing in a message.
    fn unboxed(&self, value: Value<'a>) -> Result<Value<'a>, Error> {
        Ok(value)
    }

    fn some(&self, _: &Place, value: Value<'a>) -> Result<Option<Value<'a>>, Error> {
        match self.enter(value)? {
            Value::Option(0, ..) => Ok(None),
            Value::Option(1, some, view) => Ok(Some(open(some, view))),
            Value::Option(tag, ..) => Err(unknown_variant(tag)),
            _ => Err(unlike("option")),
        }
    }

    fn fields(&self, value: Value<'a>) -> Result<Fields<'a>, Error> {
        let Value::Struct(node, view) = self.enter(value)? else { return Err(unlike("struct")) };
        match &self.plan.node(node).body {
            Body::Record(members) => Ok((members, view)),
            _ => Err(unlike("struct")),
        }
    }

    fn variant(&self, _: &'a TypeSchema, value: Value<'a>) -> Result<(usize, Fields<'a>), Error> {
        match self.enter(value)? {
            Value::Number(node, number) => {
                let enumeration = self.plan.enumeration(node);
                let number = known(number, enumeration.tags.len(), enumeration.default)?;
                Ok((number, (&[], View::ZEROS)))
            }
            Value::Struct(node, view) => match &self.plan.node(node).body {
                Body::Choice(choice) => {
                    let number = arm(choice, view)?;
                    Ok((number, (&choice.arms[number].members, view)))
                }
                _ => Err(unlike("enum")),
            },
            _ => Err(unlike("enum")),
        }
    }

    fn field(
        &self,
        (members, view): Fields<'a>,
        index: usize,
        _: Option<&'a Field>,
    ) -> Result<Value<'a>, Error> {
        let member = members.get(index).ok_or_else(|| unlike("field"))?;
        Ok(open(&member.slot, view))
    }

    fn items(&self, kind: &Kind, value: Value<'a>) -> Result<Items<'a>, Error> {
        let Value::Pointer(to, at) = value else { return Err(unlike(kind.word())) };
        let (items, elem) = match to {
            Pointee::Data => (self.message.list(at, 2)?.map(|list| Items::Bytes(list.bytes)), None),
            Pointee::List(elem) => (self.list(elem, at)?, Some(&**elem)),
            Pointee::Text | Pointee::Struct(_) => return Err(unlike(kind.word())),
        };
        if let Some(items) = items {
            return Ok(items);
        }
        let length = match kind {
            Kind::Array { length, .. } => count(*length),
            _ => 0,
        };
        self.message.charge(length)?;
        Ok(Items::Zeros(elem, length))
    }

    fn count(&self, items: &Items<'a>) -> usize {
        match items {
            Items::List(_, list) => list.count,
            Items::Structs(_, structs) => structs.count,
            Items::Bytes(bytes) => bytes.len(),
            Items::Zeros(_, count) => *count,
        }
    }

    fn item(&self, items: &Items<'a>, index: usize) -> Value<'a> {
        match *items {
            Items::Bytes(bytes) => Value::Bits(bytes[index].into()),
            Items::Structs(node, structs) => {
                Value::Struct(node, self.message.element(&structs, index))
            }
            Items::List(elem, list) => match elem {
                Elem::Void => Value::Nothing,
                Elem::Scalar(Scalar::Bool) => Value::Bits(list.bool(index).into()),
                Elem::Scalar(scalar) => {
                    Value::Bits(list.bits(index, count(scalar.size_bytes())).into())
                }
                Elem::Enum(node) => Value::Number(*node, list.bits(index, 2)),
                Elem::Pointer(to) => Value::Pointer(to, list.pointer(index)),
                Elem::Struct(_) => unreachable!("invariant: structs have a view of their own"),
            },
            Items::Zeros(elem, _) => match elem {
                None | Some(Elem::Scalar(_)) => Value::Bits(0),
                Some(Elem::Void) => Value::Nothing,
                Some(Elem::Enum(node)) => Value::Number(*node, 0),
                Some(Elem::Pointer(to)) => Value::Pointer(to, PointerAt::NOWHERE),
                Some(Elem::Struct(node)) => Value::Struct(*node, View::ZEROS),
            },
        }
    }

    fn entry(&self, items: &Items<'a>, index: usize) -> Result<[Value<'a>; 2], Error> {
        let fields = self.fields(self.item(items, index))?;
        Ok([self.field(fields, 0, None)?, self.field(fields, 1, None)?])
    }

    fn raw<'i>(&self, elem: &Place, items: &'i Items<'a>) -> Option<&'i [u8]> {
        match (items, &elem.kind) {
            (Items::Bytes(bytes), Kind::Scalar(_)) => Some(bytes),
            (Items::List(_, list), Kind::Scalar(scalar)) if is_any_bits(*scalar) => {
                Some(list.bytes)
            }
            // Boxes are nothing in a message, but they are in an archive.
            _ => None,
        }
    }
}

impl<'a> Source<'a> {
    fn list(&self, elem: &'a Elem, at: PointerAt) -> Result<Option<Items<'a>>, Error> {
        let code = match elem {
            Elem::Struct(node) => {
                let structs = self.message.structs(at)?;
                return Ok(structs.map(|structs| Items::Structs(*node, structs)));
            }
            Elem::Void => 0,
            Elem::Scalar(scalar) => list_code(*scalar).0,
            Elem::Enum(_) => 3,
            Elem::Pointer(_) => LIST_POINTERS,
        };
        Ok(self.message.list(at, code)?.map(|list| Items::List(elem, list)))
    }

    /// Follows a pointer to a struct, and looks into a struct that only wraps a value.
    fn enter(&self, value: Value<'a>) -> Result<Value<'a>, Error> {
        let (node, view) = match value {
            Value::Pointer(Pointee::Struct(node), at) => (*node, self.message.structure(at)?),
            Value::Struct(node, view) => (node, view),
            other => return Ok(other),
        };
        Ok(match &self.plan.node(node).body {
            Body::Record(members) if members.first().is_some_and(|one| one.name.is_empty()) => {
                open(&members[0].slot, view)
            }
            _ => Value::Struct(node, view),
        })
    }
}

/// The value in a slot of a struct.
fn open<'a>(slot: &'a Slot, view: View<'a>) -> Value<'a> {
    match slot {
        Slot::Void => Value::Nothing,
        Slot::Data { scalar: Scalar::Bool, offset } => Value::Bits(view.bool(*offset).into()),
        Slot::Data { scalar, offset } => {
            Value::Bits(view.bits(*offset, count(scalar.size_bytes())).into())
        }
        Slot::Wide { low, high, .. } => {
            Value::Bits(u128::from(view.bits(*low, 8)) | u128::from(view.bits(*high, 8)) << 64)
        }
        Slot::Enum { node, offset } => Value::Number(*node, view.bits(*offset, 2)),
        Slot::Option { tag, some } => Value::Option(view.bits(*tag, 2), some, view),
        Slot::Pointer { index, to } => Value::Pointer(to, view.pointer(*index)),
    }
}

/// The number of the variant that is set.
fn arm(choice: &Choice, view: View<'_>) -> Result<usize, Error> {
    let tag = choice.tag.map_or(0, |tag| view.bits(tag, 2));
    known(tag, choice.arms.len(), choice.default)
}

/// `number`, if it is one of `count`, or what all others read as.
fn known(number: u64, count: usize, default: Option<usize>) -> Result<usize, Error> {
    let known = usize::try_from(number).ok().filter(|&number| number < count);
    known.or(default).ok_or_else(|| unknown_variant(number))
}

/// The plan of a schema fits the schema: this is never seen, but no reason to panic.
fn unlike(word: &str) -> Error {
    broken(format!("the {word} is stored as something else"))
}
