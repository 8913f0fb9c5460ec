//! Names as Cap'n Proto wants them: `camelCase` for fields, `PascalCase` for types, ASCII letters
//! and digits only. Rust names go in; two that become the same are an error of the schema.

use std::collections::BTreeMap;

use super::invalid;
use crate::Error;

/// What Cap'n Proto itself calls types.
const OWN_TYPES: [&str; 20] = [
    "AnyList",
    "AnyPointer",
    "AnyStruct",
    "Bool",
    "Capability",
    "Data",
    "Float32",
    "Float64",
    "Int16",
    "Int32",
    "Int64",
    "Int8",
    "List",
    "Object",
    "Text",
    "UInt16",
    "UInt32",
    "UInt64",
    "UInt8",
    "Void",
];

/// `side_effect` as `sideEffect`, `0` as `f0`.
pub(super) fn camel(name: &str) -> Result<String, Error> {
    let mut words = words(name)?;
    let first = words.next().unwrap_or_default();
    let mut out = with_first(first, |c| c.to_ascii_lowercase());
    for word in words {
        out.push_str(&with_first(word, |c| c.to_ascii_uppercase()));
    }
    if !out.starts_with(|c: char| c.is_ascii_lowercase()) {
        out.insert(0, 'f');
    }
    Ok(out)
}

/// `side_effect` as `SideEffect`.
pub(super) fn pascal(name: &str) -> Result<String, Error> {
    camel(name).map(|camel| with_first(&camel, |c| c.to_ascii_uppercase()))
}

/// `side_effect` as `SideEffect`, but `Data` as `DataType`: a type called as one of Cap'n Proto's
/// own would stand in for that in the whole file.
pub(super) fn type_name(name: &str) -> Result<String, Error> {
    let name = pascal(name)?;
    Ok(if OWN_TYPES.contains(&&*name) { name + "Type" } else { name })
}

/// The names of one scope.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<String, String>);

impl Names {
    /// Adds `name`, which stands for `origin`.
    pub(super) fn add(&mut self, name: &str, origin: &str) -> Result<(), Error> {
        match self.0.insert(name.to_owned(), origin.to_owned()) {
            None => Ok(()),
            Some(other) => Err(invalid(format!(
                "{other:?} and {origin:?} are both called {name:?} in Cap'n Proto: rename one"
            ))),
        }
    }
}

fn words(name: &str) -> Result<impl Iterator<Item = &str>, Error> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !name.chars().all(is_fine) || name.chars().all(|c| c == '_') {
        let message = format!("{name:?} is no name in Cap'n Proto: it has ASCII letters only");
        return Err(invalid(message));
    }
    Ok(name.split('_').filter(|word| !word.is_empty()))
}

fn with_first(word: &str, change: impl Fn(char) -> char) -> String {
    let mut chars = word.chars();
    chars.next().map(change).into_iter().chain(chars).collect()
}
