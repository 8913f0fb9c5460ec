//! Quality of service: which messages wait, which are dropped, and which go next.
//!
//! ```text
//! offer ─→ Queue ─ lane of the channel ─ marks, policy, time to live
//!            └─ peek ─→ schedule: priority, then weight ─→ Throttle: may it go yet? ─→ take
//! ```
//!
//! Nothing here moves bytes: messages are whatever the caller calls them, with a size. Time is a
//! [`Duration`](std::time::Duration) since an origin of the caller's, and never goes back.

mod lane;
mod queue;
mod throttle;

pub use lane::{Admission, Backpressure, Drops, HighWaterMarks, Lane, Terms};
pub use queue::{ChannelOptions, Next, Queue};
pub use throttle::{Rate, RateLimit, Throttle};
