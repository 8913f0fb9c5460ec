//! The derive passes in a crate that forbids unsafe code and warns of everything.

#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, unreachable_pub, elided_lifetimes_in_paths)]

use busbar_types::Type;

/// A type.
#[derive(Type)]
pub struct Documented {
    /// A field.
    pub id: u64,
    private: Vec<Inner>,
}

/// An enum.
#[derive(Type)]
pub enum Choice {
    /// Something.
    Some(u8),
    /// Nothing.
    None,
}

#[derive(Type)]
enum Inner {
    Unit,
    Tuple(u8, String),
    Named { deep: Option<Box<str>> },
}

fn main() {
    let inner = [Inner::Unit, Inner::Tuple(1, String::new()), Inner::Named { deep: None }];
    let value = Documented { id: 1, private: Vec::from(inner) };
    assert!(value.archived_size().is_ok());
    assert!(Choice::Some(1).archived_size().is_ok());
    assert!(Choice::None.archived_size().is_ok());
}
