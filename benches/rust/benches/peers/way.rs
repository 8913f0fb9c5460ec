//! What a contender is: two ends that are made by address.

/// One way to move messages.
pub struct Way {
    /// Of the contender; it also tells the receiving process what to be.
    pub name: &'static str,
    /// Whether the receiver is a thread of this process.
    pub is_local: bool,
    /// The sending end, and where the other one finds it.
    pub listen: fn() -> (Box<dyn Listening>, String),
    pub join: fn(&str) -> Box<dyn Receiver>,
}

/// The sending end before the other one is there.
pub trait Listening {
    fn accept(self: Box<Self>) -> Box<dyn Sender>;
}

pub trait Sender {
    /// Sends `payload` so many times, as fast as it goes.
    fn send(&mut self, payload: &[u8], count: u64);
    /// Waits for what [`Receiver::answer`] sends.
    fn wait_answer(&mut self);
}

pub trait Receiver {
    /// Receives so many messages.
    fn receive(&mut self, count: u64, each: &mut dyn FnMut(&[u8]));
    fn answer(&mut self);
}

/// A name that no other run has.
pub fn fresh() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("busbar-bench-{}-{count}", std::process::id())
}
