//! Calls on the environment's own thread, by raw functions: generated glue would cost more than the
//! call. A bound one takes nothing and gives nothing, since its numbers are in registers and its
//! bytes in an arena that both sides know: the argument in the first half, the result in the other.
//!
//! | register | before | after |
//! |---:|---|---|
//! | 0 | bytes of the argument | |
//! | 1 | room for the result | |
//! | 2 | | bytes of the result |

use std::cell::Cell;
use std::ffi::c_void;
use std::rc::Rc;
use std::{ptr, slice};

use busbar_zone::{Bound, Error, MethodId, Record, Zone};
use napi::JsValue;
use napi::bindgen_prelude::{ArrayBuffer, Env, Uint32Array};
use napi::sys;

use super::slots::Slot;
use super::{Failure, Held};
use crate::raw;

const REGISTERS: usize = 3;
/// The last of them.
const RESULT_BYTES: usize = 2;

/// Aligned as any archive needs it.
type Block = u128;

/// What the functions of one zone share.
struct Shared {
    zone: Held,
    /// Keeps the numbers where they are.
    _registers: Uint32Array,
    numbers: *mut [u32; REGISTERS],
    /// Outlives the `ArrayBuffer` over it, which JavaScript can detach.
    _arena: Rc<[Cell<Block>]>,
    argument: *mut u8,
    result: *mut u8,
    /// Bytes of each half.
    room: u32,
    /// Whether JavaScript may run during a call, and so could change or free what is borrowed.
    is_nested: bool,
}

impl Shared {
    /// A call on copies, so that nothing is borrowed while JavaScript runs, which may use the arena
    /// for calls of its own.
    #[cold]
    #[inline(never)]
    fn call_apart(
        &self,
        bound: &Bound,
        in_length: usize,
        out_room: usize,
    ) -> busbar_zone::Result<usize> {
        // SAFETY: the first half of the arena, which is there as long as this is.
        let input = unsafe { slice::from_raw_parts(self.argument, in_length) }.to_vec();
        let mut result = vec![0; out_room];
        let length = bound.call(&input, &mut result)?;
        // SAFETY: the second half, and there was so much room.
        unsafe { ptr::copy_nonoverlapping(result.as_ptr(), self.result, length) };
        Ok(length)
    }
}

/// What a bound function has.
struct Method {
    shared: Rc<Shared>,
    bound: Bound,
    takes: Takes,
    /// A signal that may write where results are read.
    is_short: bool,
    _slot: Option<Slot>,
}

impl Method {
    /// Says how the call ended.
    #[inline(always)]
    fn end(&self, env: sys::napi_env, called: busbar_zone::Result<usize>) -> sys::napi_value {
        match called {
            Ok(0) if matches!(self.takes, Takes::Signal) => raw::NOTHING,
            Ok(length) => {
                let result = self.shared.numbers.cast::<u32>().wrapping_add(RESULT_BYTES);
                // SAFETY: the registers are there as long as this. The room was 32 bits wide.
                unsafe { result.write(length as u32) };
                if matches!(self.takes, Takes::Signal) {
                    raw::boolean(env, true)
                } else {
                    raw::NOTHING
                }
            }
            Err(error) => throw(env, error),
        }
    }
}

/// What there is to know before a call.
#[derive(Clone, Copy)]
enum Takes {
    /// The bytes of its argument, and the room for its result.
    Bytes,
    /// The bytes of its argument; its result may have all the room there is.
    Value,
    /// Nothing: it has no argument.
    Nothing,
    /// Nothing, and it gives nothing, as far as is known: the function gives `true` if it does.
    Signal,
}

pub(super) type Callback =
    unsafe extern "C" fn(sys::napi_env, sys::napi_callback_info) -> sys::napi_value;

/// Defines on `object`, which keeps what they need: the `ArrayBuffer` `arena`, two halves of `room`
/// bytes; `bind(method, takes)`, which gives a function; `callBytes(method, input, out)`;
/// `callBatch(records)`, which gives the failures.
pub(super) fn define(
    env: &Env,
    object: sys::napi_value,
    zone: &Zone,
    mut registers: Uint32Array,
    room: u32,
) -> napi::Result<()> {
    if registers.len() < REGISTERS || room == 0 || !room.is_multiple_of(BLOCK) {
        return Err(napi::Error::from_reason("no registers, or no arena"));
    }
    let arena: Rc<[Cell<Block>]> =
        (0..2 * (room / BLOCK)).map(|_| Cell::new(0)).collect::<Vec<_>>().into();
    let start = arena.as_ptr().cast_mut().cast::<u8>();
    let kept = Rc::clone(&arena);
    // SAFETY: `kept`, which the finalizer drops, keeps that many bytes.
    let buffer = unsafe {
        ArrayBuffer::from_external(env, start, 2 * room as usize, kept, |_, kept| drop(kept))
    }?;
    // Where external memory is forbidden, this is the engine's copy of it, which `object` keeps.
    let argument = buffer.as_ptr().cast_mut();
    // SAFETY: only this thread has the array, and no JavaScript runs meanwhile.
    let numbers = unsafe { registers.as_mut() }.as_mut_ptr().cast();
    let shared = Rc::new(Shared {
        zone: Held::new(zone),
        _registers: registers,
        numbers,
        _arena: arena,
        argument,
        result: argument.wrapping_add(room as usize),
        room,
        is_nested: zone.exposes(),
    });
    let env = env.raw();
    property(env, object, "arena", buffer.raw());
    let bind = function(env, "bind", bind, Rc::clone(&shared));
    let call_bytes = function(env, "callBytes", call_bytes, Rc::clone(&shared));
    let call_batch = function(env, "callBatch", call_batch, shared);
    for (name, value) in [("bind", bind), ("callBytes", call_bytes), ("callBatch", call_batch)] {
        property(env, object, name, value);
        // A function that outlives the object's last mention keeps it, and so the arena.
        property(env, value, "zone", object);
    }
    Ok(())
}

pub(super) fn property(
    env: sys::napi_env,
    object: sys::napi_value,
    name: &str,
    value: sys::napi_value,
) {
    let key = raw::text(env, name);
    // SAFETY: on thread; all values belong to `env`.
    unsafe { sys::napi_set_property(env, object, key, value) };
}

/// A function with `data` of its own.
pub(super) fn function<T>(
    env: sys::napi_env,
    name: &str,
    callback: Callback,
    data: T,
) -> sys::napi_value {
    let data = Box::into_raw(Box::new(data));
    // SAFETY: it was leaked for this.
    unsafe { function_with(env, name, callback, data) }
}

/// # Safety
/// `data` is of a box, which nobody else frees.
unsafe fn function_with<T>(
    env: sys::napi_env,
    name: &str,
    callback: Callback,
    data: *mut T,
) -> sys::napi_value {
    let mut function = ptr::null_mut();
    let (text, length) = (name.as_ptr().cast(), name.len().cast_signed());
    // SAFETY: on thread; `data` lives until the function's finalizer, which `release` is.
    unsafe {
        sys::napi_create_function(env, text, length, Some(callback), data.cast(), &raw mut function)
    };
    let (release, none) = (Some(release::<T> as _), ptr::null_mut());
    // SAFETY: on thread; the box was leaked and nobody else frees it.
    unsafe { sys::napi_add_finalizer(env, function, data.cast(), release, none, ptr::null_mut()) };
    function
}

unsafe extern "C" fn release<T>(_: sys::napi_env, data: *mut c_void, _: *mut c_void) {
    // SAFETY: `function` leaked the box for this one call.
    drop(unsafe { Box::from_raw(data.cast::<T>()) });
}

/// `bind(method, takes)`: a function for a method that never waits. It takes bytes (0), a value
/// (1), nothing (2), or nothing and gives nothing (3).
unsafe extern "C" fn bind(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    raw::guard(env, || {
        let ([method, takes], data) = raw::arguments::<2>(env, info);
        // SAFETY: `define` made it, and it lives as long as this function.
        let shared = unsafe { &*data.cast::<Rc<Shared>>() };
        let takes = match raw::uint(env, takes) {
            0 => Takes::Bytes,
            1 => Takes::Value,
            2 => Takes::Nothing,
            _ => Takes::Signal,
        };
        match shared.zone.bind(MethodId::from_index(raw::uint(env, method))) {
            Ok(bound) => {
                let is_short = matches!(takes, Takes::Signal) && !shared.is_nested;
                let shared = Rc::clone(shared);
                let method = Method { shared, bound, takes, is_short, _slot: None };
                let data = Box::into_raw(Box::new(method));
                let slot = Slot::take(data.cast());
                let callback = slot.as_ref().map_or(call_bound as Callback, Slot::callback);
                // SAFETY: it was made above, and nobody else has it.
                unsafe { (*data)._slot = slot };
                // SAFETY: it was leaked for this.
                unsafe { function_with(env, "method", callback, data) }
            }
            Err(error) => throw(env, error),
        }
    })
}

unsafe extern "C" fn call_bound(
    env: sys::napi_env,
    info: sys::napi_callback_info,
) -> sys::napi_value {
    // SAFETY: `bind` made it, and it lives as long as this function.
    unsafe { call_method(env, raw::data(env, info)) }
}

/// A callback by its edge, so that one that only looks for `method` jumps here. What most calls do
/// not need is in functions of its own, so that these have little to save.
///
/// # Safety
/// On the thread of `env`, within one of its calls; `method` is a [`Method`] that lives meanwhile.
pub(super) unsafe extern "C" fn call_method(
    env: sys::napi_env,
    method: *mut c_void,
) -> sys::napi_value {
    // SAFETY: as the caller promises.
    let method = unsafe { &*method.cast::<Method>() };
    if !method.is_short {
        return call_sized(env, method);
    }
    raw::guard(env, || {
        let shared = &*method.shared;
        // SAFETY: the second half of the arena, which is there as long as `shared`.
        let out = unsafe { slice::from_raw_parts_mut(shared.result, shared.room as usize) };
        match method.bound.signal(out) {
            Ok(0) => raw::NOTHING,
            ended => end_signal(env, method, ended),
        }
    })
}

#[cold]
#[inline(never)]
fn end_signal(
    env: sys::napi_env,
    method: &Method,
    ended: Result<usize, Option<Error>>,
) -> sys::napi_value {
    match ended {
        Ok(length) => method.end(env, Ok(length)),
        Err(Some(error)) => method.end(env, Err(error)),
        Err(None) => call_sized(env, method),
    }
}

#[inline(never)]
extern "C" fn call_sized(env: sys::napi_env, method: &Method) -> sys::napi_value {
    raw::guard(env, || {
        let Method { shared, bound, takes, .. } = method;
        // SAFETY: the registers are there as long as `shared`; only this thread has them.
        let [in_length, out_room, _] = unsafe { shared.numbers.read() };
        let (in_length, out_room) = match takes {
            Takes::Bytes => (in_length, out_room),
            Takes::Value => (in_length, shared.room),
            Takes::Nothing | Takes::Signal => (0, shared.room),
        };
        if in_length > shared.room || out_room > shared.room {
            let message = "argument or result are larger than the arena";
            return raw::throw_coded(env, "ERR_INVALID_ARGUMENT", message);
        }
        let (in_length, out_room) = (in_length as usize, out_room as usize);
        if shared.is_nested {
            return method.end(env, shared.call_apart(bound, in_length, out_room));
        }
        // SAFETY: the first half of the arena, which is there as long as `shared`.
        let input = unsafe { slice::from_raw_parts(shared.argument, in_length) };
        // SAFETY: as above, of the second half.
        let out = unsafe { slice::from_raw_parts_mut(shared.result, out_room) };
        method.end(env, bound.call(input, out))
    })
}

unsafe extern "C" fn call_bytes(
    env: sys::napi_env,
    info: sys::napi_callback_info,
) -> sys::napi_value {
    raw::guard(env, || {
        let ([method, input, out_value], data) = raw::arguments::<3>(env, info);
        // SAFETY: `define` made it, and it lives as long as this function.
        let shared = unsafe { &*data.cast::<Rc<Shared>>() };
        let method = MethodId::from_index(raw::uint(env, method));
        // Without memory there is nothing to read or to write.
        let empty = (ptr::NonNull::<u8>::dangling().as_ptr(), 0);
        let (input, in_length) = raw::typed_array(env, input).unwrap_or(empty);
        let (out, room) = raw::typed_array(env, out_value).unwrap_or(empty);
        let is_apart = in_length == 0
            || room == 0
            || input.addr() + in_length <= out.addr()
            || out.addr() + room <= input.addr();
        if !is_apart {
            let message = "the result would lie in the argument";
            return raw::throw_coded(env, "ERR_INVALID_ARGUMENT", message);
        }
        if shared.is_nested {
            // SAFETY: memory of typed arrays, as long as no JavaScript runs.
            let input = unsafe { slice::from_raw_parts(input, in_length) }.to_vec();
            let mut result = vec![0; room];
            let called = shared.zone.call(method, &input, &mut result);
            return match called {
                // Where `out` lies is asked again: it may have moved or gone.
                Ok(length) => match raw::typed_array(env, out_value) {
                    Some((out, room)) if length <= room => {
                        // SAFETY: there is room, and no JavaScript runs.
                        unsafe { ptr::copy_nonoverlapping(result.as_ptr(), out, length) };
                        raw::number(env, length as f64)
                    }
                    _ if length == 0 => raw::number(env, 0.0),
                    _ => raw::throw_coded(env, "ERR_INVALID_ARGUMENT", "out was given away"),
                },
                Err(error) => throw(env, error),
            };
        }
        // SAFETY: memory of typed arrays; the caller sees to it that no other thread shares it.
        let input = unsafe { slice::from_raw_parts(input, in_length) };
        // SAFETY: as above, and apart from the input.
        let out = unsafe { slice::from_raw_parts_mut(out, room) };
        match shared.zone.call(method, input, out) {
            Ok(length) => raw::number(env, length as f64),
            Err(error) => throw(env, error),
        }
    })
}

/// `callBatch(records)`: for each that failed its index, a code and a message; `undefined` if none
/// did. The records are bytes, each a [`Record`] whose places are in the arena.
unsafe extern "C" fn call_batch(
    env: sys::napi_env,
    info: sys::napi_callback_info,
) -> sys::napi_value {
    raw::guard(env, || {
        let ([records], data) = raw::arguments::<1>(env, info);
        // SAFETY: `define` made it, and it lives as long as this function.
        let shared = unsafe { &*data.cast::<Rc<Shared>>() };
        let Some((records, bytes)) = raw::typed_array(env, records) else { return raw::NOTHING };
        let records = records.cast::<Record>();
        if !records.is_aligned() || bytes % size_of::<Record>() != 0 {
            return raw::throw_coded(env, "ERR_INVALID_ARGUMENT", "these are no records");
        }
        let count = bytes / size_of::<Record>();
        // SAFETY: aligned memory of a typed array of ours, which no other thread has; any bits are
        // a record.
        let records = unsafe { slice::from_raw_parts_mut(records, count) };
        if shared.is_nested {
            let message = "callBatch() is not for zones that expose functions";
            return raw::throw_coded(env, "ERR_NOT_SUPPORTED", message);
        }
        // SAFETY: the whole arena, which is there as long as `shared`.
        let arena = unsafe { slice::from_raw_parts_mut(shared.argument, 2 * shared.room as usize) };
        match shared.zone.call_batch(records, arena) {
            Ok(failed) if failed.is_empty() => raw::NOTHING,
            Ok(failed) => raw::array(
                env,
                failed.iter().map(|(index, error)| {
                    let texts = [error.kind().code(), &*error.to_string()];
                    let [code, message] = texts.map(|text| raw::text(env, text));
                    raw::array(env, [raw::number(env, *index as f64), code, message].into_iter())
                }),
            ),
            Err(error) => throw(env, error),
        }
    })
}

#[cold]
#[inline(never)]
fn throw(env: sys::napi_env, error: Error) -> sys::napi_value {
    Failure::from(error).throw_raw(env)
}

const BLOCK: u32 = size_of::<Block>() as u32;
