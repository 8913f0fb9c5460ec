//! Whether a reader's version of a type can read what a writer's version wrote: two schemas in, a
//! verdict with reasons out. Looks at schemas only; reading and converting are done elsewhere.
//!
//! Resolvable are: a field added with a default or as an `Option`, removed, reordered, or renamed
//! with the old name as an alias in the reader; integers widened without loss, `f32` to `f64`;
//! `T` to `Option<T>`; enum variants appended. Everything else is incompatible.

use std::collections::BTreeSet;

use crate::schema::{Body, Field, Kind, Scalar, Schema, Shape, TypeSchema, Variant};

/// What [`compare`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Comparison {
    /// Whether the reader can read it.
    pub verdict: Verdict,
    /// Every difference, as `Order.tags[]: str → u32`; what makes it incompatible comes first.
    pub reasons: Vec<String>,
    /// The path of the first of them, as `Order.tags[]`.
    pub first_difference: Option<String>,
}

/// Whether a reader can read what a writer wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(clippy::exhaustive_enums, reason = "part of the contract with TypeScript")]
pub enum Verdict {
    /// The schemas say the same of every byte.
    Identical,
    /// What differs can be bridged field by field.
    Resolvable,
    /// Reading would lose or invent data.
    Incompatible,
}

/// Compares what a writer wrote by `writer` with what a reader expects by `reader`.
#[must_use]
pub fn compare(writer: &Schema, reader: &Schema) -> Comparison {
    let mut walk = Walk { writer, reader, seen: BTreeSet::new(), found: Vec::new() };
    let (ours, theirs) = (reader.root(), writer.root());
    walk.types(ours.ident(), &theirs.name, &ours.name);
    // Stable: within one verdict, in the order of the reader's declaration.
    walk.found.sort_by_key(|found| std::cmp::Reverse(found.verdict));
    Comparison {
        verdict: walk.found.first().map_or(Verdict::Identical, |found| found.verdict),
        first_difference: walk.found.first().map(|found| found.path.clone()),
        reasons: walk.found.iter().map(|found| format!("{}: {}", found.path, found.what)).collect(),
    }
}

/// The field of the writer's that a field of the reader's reads: of the same name, or else of one
/// of the reader's aliases.
#[must_use]
pub fn source_of<'a>(field: &Field, writers: &'a [Field]) -> Option<(usize, &'a Field)> {
    let names = [&field.name].into_iter().chain(&field.aliases);
    names
        .into_iter()
        .find_map(|name| writers.iter().enumerate().find(|(_, candidate)| candidate.name == *name))
}

struct Found {
    verdict: Verdict,
    path: String,
    what: String,
}

struct Walk<'a> {
    writer: &'a Schema,
    reader: &'a Schema,
    /// Pairs of types that were or are being compared: recursive types end here.
    seen: BTreeSet<(String, String)>,
    found: Vec<Found>,
}

impl Walk<'_> {
    fn resolvable(&mut self, path: &str, what: impl Into<String>) {
        let verdict = Verdict::Resolvable;
        self.found.push(Found { verdict, path: path.to_owned(), what: what.into() });
    }

    fn incompatible(&mut self, path: &str, what: impl Into<String>) {
        let verdict = Verdict::Incompatible;
        self.found.push(Found { verdict, path: path.to_owned(), what: what.into() });
    }

    fn types(&mut self, path: &str, writer: &str, reader: &str) {
        if !self.seen.insert((writer.to_owned(), reader.to_owned())) {
            return;
        }
        let (writers, readers) = (self.writer, self.reader);
        let (theirs, ours) = (writers.resolve(writer), readers.resolve(reader));
        if theirs.name != ours.name {
            let what = format!("{} → {}", theirs.name, ours.name);
            if !ours.aliases.contains(&theirs.name) {
                return self.incompatible(path, what);
            }
            self.resolvable(path, format!("{what}, an alias"));
        }
        match (&theirs.body, &ours.body) {
            (
                Body::Struct { shape: their_shape, fields: their_fields },
                Body::Struct { shape, fields },
            ) => self.parts(path, (*their_shape, their_fields), (*shape, fields)),
            (Body::Enum { variants: their_variants, .. }, Body::Enum { variants, .. }) => {
                self.variants(path, their_variants, variants, ours);
            }
            _ => self.incompatible(path, "a struct on one side, an enum on the other"),
        }
    }

    fn variants(&mut self, path: &str, theirs: &[Variant], ours: &[Variant], reader: &TypeSchema) {
        for variant in ours {
            let inner = format!("{path}.{}", variant.name);
            let Some(their) = theirs.iter().find(|their| their.name == variant.name) else {
                if theirs.iter().any(|their| their.tag == variant.tag) {
                    self.incompatible(&inner, "its tag stood for another variant");
                } else {
                    self.resolvable(&inner, "variant added");
                }
                continue;
            };
            if their.tag != variant.tag {
                self.incompatible(&inner, format!("tag {} → {}", their.tag, variant.tag));
                continue;
            }
            self.parts(&inner, (their.shape, &their.fields), (variant.shape, &variant.fields));
        }
        let Body::Enum { default_variant, .. } = &reader.body else { return };
        for their in theirs.iter().filter(|their| ours.iter().all(|our| our.name != their.name)) {
            let inner = format!("{path}.{}", their.name);
            // Where the tag means something else here, that was said above.
            if ours.iter().any(|our| our.tag == their.tag) {
                continue;
            }
            match default_variant {
                Some(default) => {
                    self.resolvable(&inner, format!("unknown variant, reads as {default}"));
                }
                None => self.resolvable(&inner, "unknown variant, an error when it comes"),
            }
        }
    }

    fn parts(&mut self, path: &str, theirs: (Shape, &[Field]), ours: (Shape, &[Field])) {
        if theirs.0 != ours.0 {
            return self.incompatible(path, "declared in another shape");
        }
        let mut sources = Vec::new();
        for field in ours.1 {
            let inner = format!("{path}.{}", field.name);
            match source_of(field, theirs.1) {
                Some((index, their)) => {
                    if their.name != field.name {
                        self.resolvable(&inner, format!("renamed from {}", their.name));
                    }
                    sources.push(index);
                    self.kinds(&inner, &their.place.kind, &field.place.kind);
                }
                None if field.default.is_some() => self.resolvable(&inner, "added with a default"),
                None if matches!(field.place.kind, Kind::Option(_)) => {
                    self.resolvable(&inner, "added, reads as None");
                }
                None => self.incompatible(&inner, "added without a default"),
            }
        }
        if !sources.is_sorted() {
            self.resolvable(path, "fields reordered");
        }
        for (index, their) in theirs.1.iter().enumerate() {
            if !sources.contains(&index) {
                self.resolvable(&format!("{path}.{}", their.name), "removed");
            }
        }
    }

    fn kinds(&mut self, path: &str, theirs: &Kind, ours: &Kind) {
        let elem = |suffix: &str| format!("{path}{suffix}");
        match (theirs, ours) {
            (Kind::Option(their), Kind::Option(our)) | (Kind::Box(their), Kind::Box(our)) => {
                self.kinds(path, &their.kind, &our.kind);
            }
            (their, Kind::Option(our)) => {
                self.resolvable(path, format!("{their} → {ours}"));
                self.kinds(path, their, &our.kind);
            }
            (Kind::Scalar(their), Kind::Scalar(our)) if their == our => {}
            (Kind::Scalar(their), Kind::Scalar(our)) if is_widening(*their, *our) => {
                self.resolvable(path, format!("{theirs} → {ours}"));
            }
            (Kind::Unit, Kind::Unit)
            | (Kind::String, Kind::String)
            | (Kind::BoxStr, Kind::BoxStr) => {}
            (Kind::Vec(their), Kind::Vec(our)) | (Kind::BoxSlice(their), Kind::BoxSlice(our)) => {
                self.kinds(&elem("[]"), &their.kind, &our.kind);
            }
            (Kind::Array { elem: their, length: a }, Kind::Array { elem: our, length: b })
                if a == b =>
            {
                self.kinds(&elem("[]"), &their.kind, &our.kind);
            }
            (Kind::Tuple(their), Kind::Tuple(our)) if their.len() == our.len() => {
                for (index, (their, our)) in their.iter().zip(our).enumerate() {
                    self.kinds(&elem(&format!(".{index}")), &their.kind, &our.kind);
                }
            }
            (
                Kind::HashMap { key: their_key, value: their_value },
                Kind::HashMap { key, value },
            )
            | (
                Kind::BTreeMap { key: their_key, value: their_value },
                Kind::BTreeMap { key, value },
            ) => {
                self.kinds(&elem("[key]"), &their_key.kind, &key.kind);
                self.kinds(&elem("[]"), &their_value.kind, &value.kind);
            }
            (Kind::Type { name: their, .. }, Kind::Type { name: our, .. }) => {
                self.types(path, their, our);
            }
            _ => self.incompatible(path, format!("{theirs} → {ours}")),
        }
    }
}

/// Whether every value of `from` is one of `to`.
#[must_use]
pub fn is_widening(from: Scalar, to: Scalar) -> bool {
    match (from.integer(), to.integer()) {
        (Some((from_signed, from_bits)), Some((to_signed, to_bits))) => {
            from_bits < to_bits && (from_signed == to_signed || to_signed)
        }
        _ => (from, to) == (Scalar::F32, Scalar::F64),
    }
}

#[cfg(test)]
mod tests;
