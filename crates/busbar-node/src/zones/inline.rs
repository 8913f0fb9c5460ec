//! Calls on the environment's own thread, by raw functions: generated glue would cost more than the
//! call. One of them takes nothing and gives nothing, since its numbers are in registers and its
//! bytes in an arena that both sides know:
//!
//! | register | before | after |
//! |---:|---|---|
//! | 0 | method | |
//! | 1, 2 | where the argument begins in the arena, and its bytes | |
//! | 3, 4 | where the result goes, and the room for it; not within the argument | |
//! | 5 | | bytes of the result |

use std::ffi::{c_char, c_void};
use std::{ptr, slice};

use busbar_zone::{Error, MethodId, Record, Zone};
use napi::bindgen_prelude::{Uint8Array, Uint32Array};
use napi::sys;

use super::{Failure, Held};
use crate::raw;

const REGISTERS: usize = 6;

/// What the functions of one zone share.
struct Shared {
    zone: Held,
    registers: Uint32Array,
    arena: Uint8Array,
}

/// Defines `call()` and `callBytes(method, input, out)` on `object`, which keeps what they need.
pub(super) fn define(
    env: sys::napi_env,
    object: sys::napi_value,
    zone: &Zone,
    registers: Uint32Array,
    arena: Uint8Array,
) -> napi::Result<()> {
    if registers.len() < REGISTERS {
        return Err(napi::Error::from_reason("the registers are too few"));
    }
    let shared = Box::into_raw(Box::new(Shared { zone: Held::new(zone), registers, arena }));
    let functions: [(&str, sys::napi_callback); 2] =
        [("call", Some(call)), ("callBytes", Some(call_bytes))];
    for (name, callback) in functions {
        let mut function = ptr::null_mut();
        let text: *const c_char = name.as_ptr().cast();
        let length = name.len().cast_signed();
        // SAFETY: on thread; `shared` lives until the finalizer of `object`, which `release` is.
        unsafe {
            sys::napi_create_function(env, text, length, callback, shared.cast(), &raw mut function)
        };
        let key = raw::text(env, name);
        // SAFETY: on thread; all values belong to `env`.
        unsafe { sys::napi_set_property(env, object, key, function) };
        let key = raw::text(env, "zone");
        // SAFETY: as above. A function that outlives the object's last mention keeps it so.
        unsafe { sys::napi_set_property(env, function, key, object) };
    }
    // SAFETY: on thread; the box was leaked above and nobody else frees it.
    unsafe {
        sys::napi_add_finalizer(
            env,
            object,
            shared.cast(),
            Some(release),
            ptr::null_mut(),
            ptr::null_mut(),
        )
    };
    Ok(())
}

unsafe extern "C" fn release(_: sys::napi_env, data: *mut c_void, _: *mut c_void) {
    // SAFETY: `define` leaked the box for this one call.
    drop(unsafe { Box::from_raw(data.cast::<Shared>()) });
}

unsafe extern "C" fn call(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    raw::guard(env, || {
        let (_, data) = raw::arguments::<0>(env, info);
        // SAFETY: `define` made it, and the object that keeps it is kept by this function. Nobody
        // else has it now: a method that runs here cannot call JavaScript.
        let shared = unsafe { &mut *data.cast::<Shared>() };
        // SAFETY: only this thread has the arrays, and no JavaScript runs meanwhile.
        let registers = unsafe { shared.registers.as_mut() };
        let [method, in_offset, in_length, out_offset, out_room] =
            [registers[0], registers[1], registers[2], registers[3], registers[4]];
        let record = Record {
            method,
            in_offset,
            in_length,
            out_offset,
            out_room,
            out_length: 0,
            status: 0,
            reserved: 0,
        };
        // SAFETY: as above.
        let arena = unsafe { shared.arena.as_mut() };
        match shared.zone.call_record(&record, arena) {
            Ok(length) => {
                registers[5] = u32::try_from(length).unwrap_or(u32::MAX);
                raw::undefined(env)
            }
            Err(error) => throw(env, &error),
        }
    })
}

unsafe extern "C" fn call_bytes(
    env: sys::napi_env,
    info: sys::napi_callback_info,
) -> sys::napi_value {
    raw::guard(env, || {
        let ([method, input, out], data) = raw::arguments::<3>(env, info);
        // SAFETY: as in `call`.
        let shared = unsafe { &*data.cast::<Shared>() };
        let method = MethodId::from_index(raw::uint(env, method));
        // Without memory there is nothing to read or to write.
        let empty = (ptr::NonNull::<u8>::dangling().as_ptr(), 0);
        let (input, in_length) = raw::typed_array(env, input).unwrap_or(empty);
        let (out, room) = raw::typed_array(env, out).unwrap_or(empty);
        let is_apart = in_length == 0
            || room == 0
            || input.addr() + in_length <= out.addr()
            || out.addr() + room <= input.addr();
        if !is_apart {
            let message = "the result would lie in the argument";
            return raw::throw_coded(env, "ERR_INVALID_ARGUMENT", message);
        }
        // SAFETY: memory of typed arrays; the caller sees to it that no other thread shares it.
        let input = unsafe { slice::from_raw_parts(input, in_length) };
        // SAFETY: as above, and apart from the input.
        let out = unsafe { slice::from_raw_parts_mut(out, room) };
        match shared.zone.call(method, input, out) {
            Ok(length) => raw::number(env, length as f64),
            Err(error) => throw(env, &error),
        }
    })
}

fn throw(env: sys::napi_env, error: &Error) -> sys::napi_value {
    Failure::from(error.clone()).throw_raw(env)
}
