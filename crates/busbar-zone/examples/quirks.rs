//! A plugin as a `dylib` that does what few plugins do: its results cannot always be written, it
//! calls whoever loaded it as an object is released, it panics where no status is returned, and a
//! file shows whether it is active.

use std::cell::Cell;
use std::collections::HashMap;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use busbar_plugin::{Host, Objects, Output, Plugin, Result, Type, plugin};

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

struct Quirks {
    host: Host,
    keepsakes: Objects<()>,
    /// What it is loaded with: the function in which it panics, or, as a path, a file that is there
    /// while it is active. It becomes active once there is another one, whose name ends with `.go`.
    config: OnceLock<String>,
    calls: AtomicU32,
}

impl Quirks {
    fn panic_in(&self, function: &str) {
        assert!(self.config.get().is_none_or(|it| it != function), "asked to, in {function}");
    }

    fn file(&self) -> Option<&Path> {
        self.config.get().map(Path::new).filter(|path| path.is_absolute())
    }
}

impl Plugin for Quirks {
    fn create(host: Host) -> Result<Self> {
        let (keepsakes, config, calls) = (Objects::new(host), OnceLock::new(), AtomicU32::new(0));
        Ok(Self { host, keepsakes, config, calls })
    }

    fn activate(&self, config: &str) -> Result<()> {
        self.config.set(config.trim_matches('"').to_owned()).map_err(|_| "twice")?;
        if let Some(file) = self.file() {
            fs::write(file, "").map_err(|error| error.to_string())?;
            while !file.with_extension("go").exists() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    }

    fn released(&self, object: u64) {
        self.panic_in("released");
        self.keepsakes.remove(object);
        // Whoever exposes nothing does not want to know.
        let _ = self.host.call("released", &[]);
    }

    fn deactivate(&self) {
        self.panic_in("deactivate");
        // Whoever looks for it sees that it is still there.
        let _ = self.file().map(fs::remove_file);
    }
}

impl Drop for Quirks {
    fn drop(&mut self) {
        self.panic_in("destroy");
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

    /// An object that callers may hold.
    #[method(sync)]
    fn keepsake(&self) -> Result<u64> {
        self.keepsakes.insert(())
    }

    /// Of every three calls, the first gives nothing, the second bytes, the third an error.
    #[method(sync)]
    fn fickle(&self, out: &mut Output<'_>) -> Result<()> {
        match self.calls.fetch_add(1, Ordering::Relaxed) % 3 {
            0 => Ok(()),
            1 => out.put_bytes(b"bytes"),
            _ => Err("the third".into()),
        }
    }
}
