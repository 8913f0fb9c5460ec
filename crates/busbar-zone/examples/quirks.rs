//! A plugin as a `dylib`, whose results cannot always be written: what tests of hosts load.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use busbar_plugin::{Host, Plugin, Result, Type, plugin};

thread_local! {
    static IS_BROKEN: Cell<bool> = const { Cell::new(false) };
}

/// Hashed when it is put into a map, and once more when the map is written.
#[derive(Type, PartialEq, Eq)]
#[busbar(name = "quirks.Key")]
#[busbar(archive_derive(PartialEq, Eq, Hash))]
struct Key(u32);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        assert!(!IS_BROKEN.get(), "key {} cannot be written", self.0);
        self.0.hash(state);
    }
}

/// A map that may be written or not.
#[derive(Type)]
#[busbar(name = "quirks.Table")]
struct Table {
    entries: HashMap<Key, u32>,
}

struct Quirks;

impl Plugin for Quirks {
    fn create(_host: Host) -> Result<Self> {
        Ok(Self)
    }
}

#[plugin(id = "example.quirks")]
impl Quirks {
    /// One entry, whose writing panics if it is to be broken.
    #[method(sync)]
    fn table(&self, key: u32, is_broken: bool) -> Table {
        IS_BROKEN.set(false);
        let entries = HashMap::from([(Key(key), key)]);
        IS_BROKEN.set(is_broken);
        Table { entries }
    }
}
