//! Reading option objects. TypeScript has validated them; what is odd here is a bug there, and
//! `busbar-io` validates again.

use std::ffi::CStr;
use std::num::{NonZeroU16, NonZeroU64, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use busbar_io::{
    Access, AccessList, Acknowledge, Backoff, Backpressure, ChannelOptions, Code, Credentials,
    Error, Heartbeat, HighWaterMarks, ListenOptions, PipeOptions, Qos, Rate, RateLimit,
    ReceivingQos, SendOptions, SendingQos, SessionOptions, SharedThrottle, TlsOptions, TlsVersion,
    Trust, Wait,
};
use napi::sys;

use crate::raw;

/// # Errors
/// What is wrong with certificates and keys, which only the core can read.
pub(crate) fn pipe(env: sys::napi_env, object: sys::napi_value) -> Result<PipeOptions, Error> {
    let number = |name| raw::double(env, raw::property(env, object, name));
    let mut options = PipeOptions::default();
    options.ring_bytes = whole(number(c"ringBytes"));
    options.slab_bytes = whole(number(c"slabBytes"));
    options.message_bytes_max = size(number(c"maxMessageBytes"));
    options.trust = if number(c"trust") == 0.0 { Trust::SameUser } else { Trust::Hostile };
    options.queue_messages = NonZeroUsize::new(size(number(c"queueMessages")));
    options.access = match whole(number(c"access")) {
        0 => Access::SameUser,
        1 => Access::Anyone,
        _ => {
            let ids = |name| raw::uints(env, raw::property(env, object, name));
            let mut list = AccessList::default();
            (list.uids, list.gids) = (ids(c"uids"), ids(c"gids"));
            Access::Listed(Arc::new(list))
        }
    };
    // The event loop drives the engine, whatever JavaScript waits for.
    options.is_driven = true;
    options.heartbeat = (number(c"heartbeatMs") > 0.0).then(|| Heartbeat {
        interval: Duration::from_millis(whole(number(c"heartbeatMs"))),
        misses: u32::try_from(whole(number(c"heartbeatMisses"))).unwrap_or(u32::MAX),
    });
    let reassembly_bytes = whole(number(c"maxReassemblyBytes"));
    options.reassembly_bytes_max = (reassembly_bytes > 0).then_some(reassembly_bytes);
    options.reassembly_timeout = Duration::from_millis(whole(number(c"reassemblyTimeoutMs")));
    options.wait = match whole(number(c"wait")) {
        0 => Wait::Park,
        2 => Wait::LowLatency { spin: Duration::from_micros(whole(number(c"spinMicros"))) },
        3 => Wait::Busy,
        _ => Wait::Balanced,
    };
    options.tls = credentials(env, raw::property(env, object, c"tls"))?;
    if number(c"sessionTimeoutMs") > 0.0 {
        options.reliable = Some(session(&number));
        let channels = raw::uints(env, raw::property(env, object, c"lossyChannels"));
        // TypeScript has checked the range.
        options.lossy_channels =
            channels.into_iter().filter_map(|channel| u16::try_from(channel).ok()).collect();
    }
    Ok(options)
}

fn session(number: &impl Fn(&'static CStr) -> f64) -> SessionOptions {
    let narrow = |name| u32::try_from(whole(number(name))).unwrap_or(u32::MAX);
    let mut session = SessionOptions::default();
    session.timeout = Duration::from_millis(whole(number(c"sessionTimeoutMs")));
    session.window_messages = narrow(c"windowMessages");
    session.window_bytes = size(number(c"windowBytes"));
    session.attempts_max = narrow(c"maxDeliveryAttempts");
    session.probe_after = Duration::from_millis(u64::from(narrow(c"probeAfterMs")));
    session.acknowledge = match whole(number(c"ack")) {
        1 => Acknowledge::Received,
        // In order or one by one: who says so is TypeScript's business.
        _ => Acknowledge::Processed,
    };
    session
}

/// Options of a pipe that dials.
///
/// # Errors
/// As for [`pipe`].
pub(crate) fn dial(env: sys::napi_env, object: sys::napi_value) -> Result<PipeOptions, Error> {
    let mut options = pipe(env, object)?;
    let number = |name| raw::double(env, raw::property(env, object, name));
    let millis = |name| Duration::from_millis(whole(number(name)));
    options.connect_timeout = millis(c"connectTimeoutMs");
    if number(c"retry") != 0.0 {
        // Somebody waits for it, so it is quicker than after a loss.
        let mut retry = Backoff::default();
        (retry.initial, retry.max) = (Duration::from_millis(2), Duration::from_millis(100));
        options.retry = Some(retry);
    }
    if number(c"reconnect") != 0.0 {
        let mut policy = Backoff::default();
        (policy.initial, policy.max) = (millis(c"initialMs"), millis(c"maxMs"));
        (policy.factor, policy.jitter) = (number(c"factor"), number(c"jitter"));
        let attempts = whole(number(c"maxAttempts"));
        policy.attempts_max = u32::try_from(attempts).unwrap_or(u32::MAX);
        options.reconnect = Some(policy);
    }
    Ok(options)
}

/// # Errors
/// As for [`pipe`].
pub(crate) fn listen(env: sys::napi_env, object: sys::napi_value) -> Result<ListenOptions, Error> {
    let number = |name| raw::double(env, raw::property(env, object, name));
    let mut options = ListenOptions::default();
    options.pipe = pipe(env, object)?;
    options.backlog = size(number(c"backlog"));
    options.mode = u32::try_from(whole(number(c"mode"))).unwrap_or(u32::MAX);
    options.reuse_port = number(c"reusePort") != 0.0;
    options.handshake_timeout = Duration::from_millis(whole(number(c"handshakeTimeoutMs")));
    options.authorize = number(c"authorize") != 0.0;
    if options.pipe.reliable.is_some() {
        options.sessions_max = size(number(c"maxSessions"));
        options.session_bytes_max = size(number(c"maxSessionBytes"));
    }
    Ok(options)
}

/// What TypeScript has made of `tls`; `None` without.
///
/// # Errors
/// As for [`pipe`].
pub(crate) fn credentials(
    env: sys::napi_env,
    object: sys::napi_value,
) -> Result<Option<Credentials>, Error> {
    if !raw::is_object(env, object) {
        return Ok(None);
    }
    let number = |name| raw::double(env, raw::property(env, object, name));
    let bytes = |name| raw::bytes(env, raw::property(env, object, name));
    let mut options = TlsOptions::default();
    options.cert = bytes(c"cert");
    options.key = bytes(c"key");
    options.ca = bytes(c"ca");
    let name = raw::string(env, raw::property(env, object, c"servername"));
    options.server_name = (!name.is_empty()).then_some(name);
    options.request_cert = number(c"requestCert") != 0.0;
    options.reject_unauthorized = number(c"rejectUnauthorized") != 0.0;
    if number(c"minVersion") != 0.0 {
        options.min_version = TlsVersion::Tls13;
    }
    Credentials::new(&options).map(Some)
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
    let bytes = raw::bytes(env, bytes).unwrap_or_default();
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
