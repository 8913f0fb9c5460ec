//! Reloading when a library's file changes.
//!
//! What is watched is the folder, as builds replace files by renaming. A change counts once the
//! file has been left alone for a moment, and if it is another file than before: by its number,
//! its size or its time. Whether its content is another one, [`Loader::reload`] finds out.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use crate::reload::{ReloadOptions, Reloaded};
use crate::zone::{WeakZone, Zone};
use crate::{Error, ErrorKind, Loader, Result, Stage};

/// A file that has been left alone that long is whole.
const QUIET: Duration = Duration::from_millis(30);
/// A folder that is never quiet is looked into after this time in any case.
const QUIET_MAX: Duration = Duration::from_secs(1);
/// The file is the same so long after.
const STABLE: Duration = Duration::from_millis(10);

/// Reloads a zone when its library's file changes, until it is dropped or the zone is closed.
pub struct Watch {
    /// The thread ends when this is gone.
    _watcher: RecommendedWatcher,
    /// Events that came before are not acted upon.
    is_over: Arc<AtomicBool>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watch")
    }
}

/// Is told of what came of each reload, on a thread of its own.
pub type Listener = Box<dyn Fn(Result<Reloaded>) + Send>;

impl Watch {
    /// Watches the file at `path`, which need not be the one that the zone was loaded from.
    ///
    /// # Errors
    /// `Io` if the folder cannot be watched, or there is no thread.
    ///
    /// # Safety
    /// As [`Loader::reload`], of whatever is put at `path` from now on.
    pub unsafe fn new(
        loader: Arc<Loader>,
        zone: &Zone,
        path: &Path,
        options: ReloadOptions,
        listener: Listener,
    ) -> Result<Self> {
        let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        // One event says as much as many.
        let (sender, events) = sync_channel(1);
        let watcher = notify::recommended_watcher(move |_| {
            let _ = sender.try_send(());
        });
        let watcher = watcher.and_then(|mut watcher| {
            watcher.watch(folder, RecursiveMode::NonRecursive).map(|()| watcher)
        });
        let watcher = watcher.map_err(|error| {
            let message = format!("watching {}: {error}", folder.display());
            Error::new(ErrorKind::Io, Stage::Verify, message).with_source(error)
        })?;
        let (zone, path) = (zone.downgrade(), path.to_owned());
        let is_over = Arc::<AtomicBool>::default();
        let (ended, seen) = (Arc::clone(&is_over), Stamp::of(&path));
        let watched = Watched { loader, zone, seen, path, options, listener, is_over: ended };
        let thread = std::thread::Builder::new().name(String::from("busbar-watch"));
        // SAFETY: by this function's own contract.
        let run = move || unsafe { watched.run(&events) };
        thread.spawn(run).map_err(|error| {
            Error::new(ErrorKind::Io, Stage::Verify, error.to_string()).with_source(error)
        })?;
        Ok(Self { _watcher: watcher, is_over })
    }
}

struct Watched {
    loader: Arc<Loader>,
    zone: WeakZone,
    path: PathBuf,
    seen: Option<Stamp>,
    options: ReloadOptions,
    listener: Listener,
    is_over: Arc<AtomicBool>,
}

impl Watched {
    /// # Safety
    /// As [`Watch::new`].
    unsafe fn run(mut self, events: &Receiver<()>) {
        while events.recv().is_ok() {
            if !wait_quiet(events) {
                return;
            }
            let stamp = Stamp::settled(&self.path);
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            if stamp.is_none() || stamp == self.seen {
                continue;
            }
            self.seen = stamp;
            let Some(zone) = self.zone.upgrade() else { return };
            // SAFETY: as the caller promises.
            let reloaded = unsafe { self.loader.reload(&zone, &self.path, &self.options) };
            let is_over = reloaded.as_ref().is_err_and(|it| it.kind() == ErrorKind::Closed);
            (self.listener)(reloaded);
            if is_over {
                return;
            }
        }
    }
}

/// Waits until nothing happens; `false` if nobody watches any more.
fn wait_quiet(events: &Receiver<()>) -> bool {
    let deadline = Instant::now() + QUIET_MAX;
    while Instant::now() < deadline {
        match events.recv_timeout(QUIET) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
    true
}

/// What tells one file from another with the same name.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    number: u64,
    bytes: u64,
    changed: Option<SystemTime>,
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = path.metadata().ok().filter(std::fs::Metadata::is_file)?;
        #[cfg(unix)]
        let number = std::os::unix::fs::MetadataExt::ino(&metadata);
        #[cfg(not(unix))]
        let number = 0;
        Some(Self { number, bytes: metadata.len(), changed: metadata.modified().ok() })
    }

    /// Once it is the same twice.
    fn settled(path: &Path) -> Option<Self> {
        let mut last = Self::of(path);
        loop {
            std::thread::sleep(STABLE);
            let now = Self::of(path);
            if now == last {
                return now;
            }
            last = now;
        }
    }
}
