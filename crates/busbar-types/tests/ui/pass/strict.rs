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
}
