//! Reading option objects. TypeScript has validated them; what is odd here is a bug there, and
//! `busbar-io` validates again.

use std::num::{NonZeroU16, NonZeroU64, NonZeroUsize};
use std::time::Duration;

use busbar_io::{
    Access, Backpressure, ChannelOptions, Code, Error, HighWaterMarks, ListenOptions, PipeOptions,
    Qos, Rate, RateLimit, ReceivingQos, SendOptions, SendingQos, SharedThrottle, Trust, Wait,
};
use napi::sys;

use crate::raw;

pub(crate) fn pipe(env: sys::napi_env, object: sys::napi_value) -> PipeOptions {
    let number = |name| raw::double(env, raw::property(env, object, name));
    let mut options = PipeOptions::default();
    options.ring_bytes = whole(number(c"ringBytes"));
    options.slab_bytes = whole(number(c"slabBytes"));
    options.message_bytes_max = size(number(c"maxMessageBytes"));
    options.trust = if number(c"trust") == 0.0 { Trust::SameUser } else { Trust::Hostile };
    options.queue_messages = NonZeroUsize::new(size(number(c"queueMessages")));
    options.access = if number(c"access") == 0.0 { Access::SameUser } else { Access::Anyone };
    options.wait = match whole(number(c"wait")) {
        0 => Wait::Park,
        2 => Wait::LowLatency { spin: Duration::from_micros(whole(number(c"spinMicros"))) },
        3 => Wait::Busy,
        _ => Wait::Balanced,
    };
    options
}

pub(crate) fn listen(env: sys::napi_env, object: sys::napi_value) -> ListenOptions {
    let number = |name| raw::double(env, raw::property(env, object, name));
    let mut options = ListenOptions::default();
    options.pipe = pipe(env, object);
    options.backlog = size(number(c"backlog"));
    options.mode = u32::try_from(whole(number(c"mode"))).unwrap_or(u32::MAX);
    options.reuse_port = number(c"reusePort") != 0.0;
    options.handshake_timeout = Duration::from_millis(whole(number(c"handshakeTimeoutMs")));
    options
}

/// What holds for one message: the number of a policy, and milliseconds; below 0 is absent.
pub(crate) fn terms(policy: f64, ttl_ms: f64) -> SendOptions {
    let mut terms = SendOptions::default();
    terms.backpressure = (policy >= 0.0).then(|| backpressure(policy));
    terms.ttl = (ttl_ms >= 0.0).then(|| millis(ttl_ms));
    terms
}

/// Quality of service, from the numbers that lib/internal/qos.ts writes one after the other.
pub(crate) fn qos(env: sys::napi_env, bytes: sys::napi_value) -> Result<Qos, Error> {
    let bytes = raw::bytes(env, bytes);
    let mut numbers = bytes.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes));
    read_qos(&mut numbers)
        .ok_or_else(|| Error::new(Code::InvalidArgument, "malformed quality of service"))
}

fn read_qos(numbers: &mut impl Iterator<Item = f64>) -> Option<Qos> {
    let mut qos = Qos::default();
    if numbers.next()? != 0.0 {
        let mut sending = SendingQos::default();
        sending.standard = channel(numbers)?;
        sending.rate = rate_limit(numbers)?;
        sending.shared_rate = shared(rate_limit(numbers)?);
        for _ in 0..whole(numbers.next()?) {
            let number = u16::try_from(whole(numbers.next()?)).ok()?;
            sending.channels.push((number, channel(numbers)?));
        }
        qos.sending = Some(sending);
    }
    if numbers.next()? != 0.0 {
        let mut receiving = ReceivingQos::default();
        receiving.marks = marks(numbers)?;
        receiving.backpressure = backpressure(numbers.next()?);
        receiving.rate = rate_limit(numbers)?;
        receiving.shared_rate = shared(rate_limit(numbers)?);
        qos.receiving = Some(receiving);
    }
    Some(qos)
}

fn channel(numbers: &mut impl Iterator<Item = f64>) -> Option<ChannelOptions> {
    let marks = marks(numbers)?;
    let backpressure = backpressure(numbers.next()?);
    let ttl = numbers.next().map(|ms| (ms >= 0.0).then(|| millis(ms)))?;
    let priority = u8::try_from(whole(numbers.next()?)).ok()?;
    let weight = NonZeroU16::new(u16::try_from(whole(numbers.next()?)).ok()?)?;
    Some(ChannelOptions { marks, backpressure, ttl, priority, weight })
}

fn marks(numbers: &mut impl Iterator<Item = f64>) -> Option<HighWaterMarks> {
    let messages = NonZeroUsize::new(size(numbers.next()?));
    Some(HighWaterMarks { messages, bytes: NonZeroUsize::new(size(numbers.next()?)) })
}

fn rate_limit(numbers: &mut impl Iterator<Item = f64>) -> Option<RateLimit> {
    let mut rate = || {
        let (per_second, burst) = (whole(numbers.next()?), whole(numbers.next()?));
        let rate = NonZeroU64::new(per_second).zip(NonZeroU64::new(burst));
        Some(rate.map(|(per_second, burst)| Rate { per_second, burst }))
    };
    Some(RateLimit { messages: rate()?, bytes: rate()? })
}

fn shared(limit: RateLimit) -> Option<SharedThrottle> {
    (limit != RateLimit::default()).then(|| SharedThrottle::new(limit))
}

fn backpressure(number: f64) -> Backpressure {
    match whole(number) {
        1 => Backpressure::DropNew,
        2 => Backpressure::DropOld,
        3 => Backpressure::FailFast,
        _ => Backpressure::Block,
    }
}

fn millis(ms: f64) -> Duration {
    Duration::from_micros(whole(ms * 1000.0))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, and what is out of bounds is refused by validation"
)]
fn whole(number: f64) -> u64 {
    number as u64
}

fn size(number: f64) -> usize {
    usize::try_from(whole(number)).unwrap_or(usize::MAX)
}
