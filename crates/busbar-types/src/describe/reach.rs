//! What can be told of a type from all that it mentions, by the compiler: mentions by name only end
//! the walk there, because a constant cannot follow them round a circle.

use super::{BodyDesc, FieldDesc, KindDesc, PlaceDesc};
use crate::schema::Scalar;

/// Whether a type called `name` that is made of `body` mentions others by name only, itself or in
/// what it mentions. Its hash does not cover those.
pub(super) const fn mentions_by_name(name: &str, body: &BodyDesc) -> bool {
    any_field(body, Question::MentionsByName { name })
}

/// Whether an archive of `body` can hold lists of values that take no bytes, as far as this sees:
/// what is mentioned by name only is not looked into.
pub(super) const fn lists_empties(body: &BodyDesc) -> bool {
    any_field(body, Question::ListsEmpties)
}

/// Whether a type called `name` may be among what `place` mentions. What is mentioned there by name
/// only may lead anywhere.
#[must_use]
pub const fn may_lead_to(place: &PlaceDesc, name: &str) -> bool {
    any(place, Question::MayLeadTo { name })
}

/// Whether the option `number` or `bigint` says anything about `place`: it holds `u64` or `i64`,
/// itself or in containers, but not in other user types, which have options of their own.
#[must_use]
pub const fn has_wide_integer(place: &PlaceDesc) -> bool {
    any(place, Question::HasWideInteger)
}

/// Whether the option `intern` says anything about `place`.
#[must_use]
pub const fn has_string(place: &PlaceDesc) -> bool {
    any(place, Question::HasString)
}

#[derive(Clone, Copy)]
enum Question<'a> {
    HasWideInteger,
    HasString,
    MentionsByName { name: &'a str },
    ListsEmpties,
    MayLeadTo { name: &'a str },
}

const fn any_field(body: &BodyDesc, question: Question<'_>) -> bool {
    match body {
        BodyDesc::Struct { fields, .. } => any_of(fields, question),
        BodyDesc::Enum { variants, .. } => {
            let mut index = 0;
            while index < variants.len() {
                if any_of(variants[index].fields, question) {
                    return true;
                }
                index += 1;
            }
            false
        }
    }
}

const fn any_of(fields: &[FieldDesc], question: Question<'_>) -> bool {
    let mut index = 0;
    while index < fields.len() {
        if any(fields[index].place, question) {
            return true;
        }
        index += 1;
    }
    false
}

const fn any(place: &PlaceDesc, question: Question<'_>) -> bool {
    match &place.kind {
        KindDesc::Scalar(Scalar::U64 | Scalar::I64) => matches!(question, Question::HasWideInteger),
        KindDesc::String | KindDesc::BoxStr => matches!(question, Question::HasString),
        KindDesc::Scalar(_) | KindDesc::Unit => false,
        KindDesc::Vec(elem) | KindDesc::BoxSlice(elem) => {
            (elem.size_bytes == 0 && matches!(question, Question::ListsEmpties))
                || any(elem, question)
        }
        KindDesc::Box(elem) | KindDesc::Option { elem, .. } | KindDesc::Array { elem, .. } => {
            any(elem, question)
        }
        KindDesc::Tuple(elems) => {
            let mut index = 0;
            while index < elems.len() {
                if any(elems[index].place, question) {
                    return true;
                }
                index += 1;
            }
            false
        }
        KindDesc::HashMap { key, value } | KindDesc::BTreeMap { key, value } => {
            any(key, question) || any(value, question)
        }
        // Each type answers once, so that types in types in types cost the compiler no more.
        KindDesc::Type(desc) => match question {
            Question::HasWideInteger | Question::HasString => false,
            Question::MentionsByName { .. } => desc.mentions_by_name,
            Question::ListsEmpties => desc.lists_empties,
            Question::MayLeadTo { name } => is_same(desc.name, name) || desc.mentions_by_name,
        },
        KindDesc::Recursive { name: mention, .. } => match question {
            Question::MentionsByName { name } => !is_same(mention, name),
            Question::HasWideInteger | Question::HasString | Question::ListsEmpties => false,
            Question::MayLeadTo { .. } => true,
        },
    }
}

pub(super) const fn is_same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut index = 0;
    while index < a.len() {
        if a[index] != b[index] {
            return false;
        }
        index += 1;
    }
    true
}
