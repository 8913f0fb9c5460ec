//! Calls that run elsewhere while the environment's thread waits, by a raw function: the glue that
//! is generated for methods of classes costs more than such a call does.

use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use busbar_zone::{MethodId, Zone};
use napi::sys;

use super::inline::function;
use super::outbox::Outbox;
use super::{Failure, Held};
use crate::raw;

struct Caller {
    zone: Held,
    outbox: Arc<Outbox>,
    /// What JavaScript knows the zone's parent by.
    exposed: u32,
    /// Whether JavaScript may run meanwhile, and so change arguments, or give their memory away.
    is_nested: bool,
}

/// `call(method, input, out, timeoutMs)`: the length of the result, which lies in `out`; or the
/// result, if it has no room there.
pub(super) fn waiter(
    env: sys::napi_env,
    zone: &Zone,
    outbox: &Arc<Outbox>,
    exposed: u32,
) -> sys::napi_value {
    let (outbox, is_nested) = (Arc::clone(outbox), zone.exposes());
    let caller = Caller { zone: Held::new(zone), outbox, exposed, is_nested };
    function(env, "callWaiting", call_waiting, caller)
}

unsafe extern "C" fn call_waiting(
    env: sys::napi_env,
    info: sys::napi_callback_info,
) -> sys::napi_value {
    raw::guard(env, || {
        let ([method, input, out, timeout], data) = raw::arguments::<4>(env, info);
        // SAFETY: `waiter` made it, and it lives as long as this function.
        let caller = unsafe { &*data.cast::<Caller>() };
        let method = MethodId::from_index(raw::uint(env, method));
        let timeout = Duration::from_millis(raw::uint(env, timeout).into());
        // Without memory there is nothing to read.
        let none = (ptr::NonNull::<u8>::dangling().as_ptr(), 0);
        let (input, length) = raw::typed_array(env, input).unwrap_or(none);
        // SAFETY: memory of a typed array that no other thread shares, and no JavaScript runs as
        // long as it is looked at.
        let input = unsafe { std::slice::from_raw_parts(input, length) };
        let result = if caller.is_nested {
            let (own, upward) = (input.to_vec(), caller.outbox.upward());
            upward.call_waiting(&caller.zone, caller.exposed, method, &own, timeout)
        } else {
            caller.zone.call_waiting(method, input, timeout)
        };
        let result = match result {
            Ok(result) => result,
            Err(error) => return Failure::from(error).throw_raw(env),
        };
        if result.is_empty() {
            return raw::int(env, 0);
        }
        // Where it lies is asked for now: it may have moved or gone meanwhile.
        match raw::typed_array(env, out) {
            Some((out, room)) if result.len() <= room => {
                // SAFETY: there is room, and no JavaScript runs.
                unsafe { ptr::copy_nonoverlapping(result.as_ptr(), out, result.len()) };
                raw::number(env, result.len() as f64)
            }
            _ => raw::buffer(env, &result),
        }
    })
}
