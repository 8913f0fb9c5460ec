//! Looking up `(String, u64)` by a borrowed name: no allocation in the hot lookup.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};

/// A key that borrows its name.
pub(super) struct Key<'a> {
    pub(super) name: &'a str,
    pub(super) hash: u64,
}

/// What owned and borrowed keys have in common.
pub(super) trait AsKey {
    fn as_key(&self) -> Key<'_>;
}

impl AsKey for Key<'_> {
    fn as_key(&self) -> Key<'_> {
        Key { name: self.name, hash: self.hash }
    }
}

impl AsKey for (String, u64) {
    fn as_key(&self) -> Key<'_> {
        Key { name: &self.0, hash: self.1 }
    }
}

impl<'a> Borrow<dyn AsKey + 'a> for (String, u64) {
    fn borrow(&self) -> &(dyn AsKey + 'a) {
        self
    }
}

/// Exactly as tuples are hashed: the map hashes both kinds of keys.
impl Hash for dyn AsKey + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Key { name, hash } = self.as_key();
        (name, hash).hash(state);
    }
}

impl PartialEq for dyn AsKey + '_ {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (self.as_key(), other.as_key());
        a.hash == b.hash && a.name == b.name
    }
}

impl Eq for dyn AsKey + '_ {}
