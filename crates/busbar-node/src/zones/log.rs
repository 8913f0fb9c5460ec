//! What plugins and zones log, for the loggers of all environments: each gets all of it, through
//! its outbox.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError, Weak};

use log::{Level, LevelFilter, Log, Metadata, Record};

use super::outbox::Outbox;

/// Whoever listens.
static OUTBOXES: Mutex<Vec<Weak<Outbox>>> = Mutex::new(Vec::new());

/// What is told, as a number: error, warn and info until somebody wants more.
static LEVEL: AtomicU32 = AtomicU32::new(2);

struct Forward;

/// From here on `outbox` is told of what is logged.
pub(super) fn listen(outbox: &Arc<Outbox>) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Nobody else in this library sets one.
        let _ = log::set_logger(&Forward);
        log::set_max_level(LevelFilter::Info);
    });
    let mut outboxes = OUTBOXES.lock().unwrap_or_else(PoisonError::into_inner);
    outboxes.retain(|outbox| outbox.strong_count() > 0);
    outboxes.push(Arc::downgrade(outbox));
}

/// Somebody wants records of this level, too.
pub(super) fn want(level: u32) {
    if LEVEL.fetch_max(level, Ordering::Relaxed) < level {
        log::set_max_level(LevelFilter::Debug);
    }
}

impl Log for Forward {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level() && metadata.target().starts_with("busbar::")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = match record.level() {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            _ => "debug",
        };
        let outboxes = OUTBOXES.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for outbox in outboxes.iter().filter_map(Weak::upgrade) {
            outbox.try_push_log(level, record.args().to_string());
        }
    }

    fn flush(&self) {}
}
