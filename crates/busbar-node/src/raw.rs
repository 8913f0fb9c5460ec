//! Node-API calls with their results checked, for functions that are too hot for generated glue.
//!
//! Every function here must be called on the thread of `env`, from within a call by Node, which is
//! what makes its values and scopes valid: this is the obligation (*on thread*) that the unsafe
//! blocks refer to.

use std::any::Any;
use std::ffi::{CStr, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use busbar_io::{Code, Error};
use napi::sys;

/// Runs the body of a native callback; a panic becomes ERR_INTERNAL and never crosses the edge.
#[inline]
pub(crate) fn guard(env: sys::napi_env, body: impl FnOnce() -> sys::napi_value) -> sys::napi_value {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| panicked(env, payload))
}

#[cold]
#[inline(never)]
fn panicked(env: sys::napi_env, payload: Box<dyn Any + Send>) -> sys::napi_value {
    drop(payload);
    throw(env, &Error::new(Code::Internal, "a native function panicked; please report it"))
}

/// The arguments of a call and the data pointer of its function.
#[inline]
pub(crate) fn arguments<const N: usize>(
    env: sys::napi_env,
    info: sys::napi_callback_info,
) -> ([sys::napi_value; N], *mut c_void) {
    let mut values = [ptr::null_mut(); N];
    let (mut count, mut data) = (N, ptr::null_mut());
    // SAFETY: on thread; the out-pointers are live locals and `values` has room for `count`.
    unsafe {
        sys::napi_get_cb_info(
            env,
            info,
            &raw mut count,
            values.as_mut_ptr(),
            ptr::null_mut(),
            &raw mut data,
        )
    };
    (values, data)
}

/// The data pointer of a function without arguments.
#[inline]
pub(crate) fn data(env: sys::napi_env, info: sys::napi_callback_info) -> *mut c_void {
    let mut data = ptr::null_mut();
    let none = ptr::null_mut();
    // SAFETY: on thread; the out-pointer is a live local, what is not asked for may be null.
    unsafe {
        sys::napi_get_cb_info(env, info, none, ptr::null_mut(), ptr::null_mut(), &raw mut data)
    };
    data
}

/// What a function returns that has no result: `undefined`, without asking for it.
pub(crate) const NOTHING: sys::napi_value = ptr::null_mut();

/// A number argument; 0 if it is not one, which no handle is confused by (it is checked).
#[inline]
pub(crate) fn uint(env: sys::napi_env, value: sys::napi_value) -> u32 {
    let mut number = 0;
    // SAFETY: on thread; the out-pointer is a live local.
    unsafe { sys::napi_get_value_uint32(env, value, &raw mut number) };
    number
}

/// A number argument.
pub(crate) fn double(env: sys::napi_env, value: sys::napi_value) -> f64 {
    let mut number = 0.0;
    // SAFETY: on thread; the out-pointer is a live local.
    unsafe { sys::napi_get_value_double(env, value, &raw mut number) };
    number
}

/// A boolean argument.
pub(crate) fn is_true(env: sys::napi_env, value: sys::napi_value) -> bool {
    let mut is = false;
    // SAFETY: on thread; the out-pointer is a live local.
    unsafe { sys::napi_get_value_bool(env, value, &raw mut is) };
    is
}

/// A string argument.
pub(crate) fn string(env: sys::napi_env, value: sys::napi_value) -> String {
    let mut len = 0;
    // SAFETY: on thread; a null buffer asks for the length.
    unsafe { sys::napi_get_value_string_utf8(env, value, ptr::null_mut(), 0, &raw mut len) };
    let mut bytes = vec![0_u8; len + 1];
    // SAFETY: on thread; the buffer has the given size, terminator included.
    unsafe {
        sys::napi_get_value_string_utf8(
            env,
            value,
            bytes.as_mut_ptr().cast(),
            bytes.len(),
            &raw mut len,
        )
    };
    bytes.truncate(len);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Start and length of a typed array of bytes; a detached one has none.
#[inline]
pub(crate) fn typed_array(env: sys::napi_env, value: sys::napi_value) -> Option<(*mut u8, usize)> {
    let (mut kind, mut len, mut data) = (-1, 0, ptr::null_mut());
    // SAFETY: on thread; the out-pointers are live locals.
    let status = unsafe {
        sys::napi_get_typedarray_info(
            env,
            value,
            &raw mut kind,
            &raw mut len,
            &raw mut data,
            ptr::null_mut(),
            ptr::null_mut(),
        )
    };
    let is_bytes = kind == sys::TypedarrayType::uint8_array;
    (status == sys::Status::napi_ok && is_bytes && !data.is_null()).then_some((data.cast(), len))
}

/// A copy of the bytes of a typed array; `None` if it is something else.
pub(crate) fn bytes(env: sys::napi_env, value: sys::napi_value) -> Option<Vec<u8>> {
    let (data, len) = typed_array(env, value)?;
    // SAFETY: the array has `len` bytes there, and no JavaScript runs that could detach it.
    Some(unsafe { std::slice::from_raw_parts(data, len) }.to_vec())
}

/// A copy of an array of numbers; empty if it is something else.
pub(crate) fn uints(env: sys::napi_env, array: sys::napi_value) -> Vec<u32> {
    let mut len = 0;
    // SAFETY: on thread; the out-pointer is a live local, which stays 0 for what is no array.
    unsafe { sys::napi_get_array_length(env, array, &raw mut len) };
    let element = |index| {
        let mut value = ptr::null_mut();
        // SAFETY: on thread; the out-pointer is a live local.
        unsafe { sys::napi_get_element(env, array, index, &raw mut value) };
        uint(env, value)
    };
    (0..len).map(element).collect()
}

/// Whether an argument is an object, and not `null`.
pub(crate) fn is_object(env: sys::napi_env, value: sys::napi_value) -> bool {
    let mut kind = sys::ValueType::napi_undefined;
    // SAFETY: on thread; the out-pointer is a live local.
    unsafe { sys::napi_typeof(env, value, &raw mut kind) };
    kind == sys::ValueType::napi_object
}

/// An integer result.
#[inline]
pub(crate) fn int(env: sys::napi_env, number: i32) -> sys::napi_value {
    let mut value = ptr::null_mut();
    // SAFETY: on thread; the out-pointer is a live local.
    unsafe { sys::napi_create_int32(env, number, &raw mut value) };
    value
}

/// A number result.
pub(crate) fn number(env: sys::napi_env, number: f64) -> sys::napi_value {
    let mut value = ptr::null_mut();
    // SAFETY: on thread; the out-pointer is a live local.
    unsafe { sys::napi_create_double(env, number, &raw mut value) };
    value
}

/// A boolean result.
pub(crate) fn boolean(env: sys::napi_env, is: bool) -> sys::napi_value {
    let mut value = ptr::null_mut();
    // SAFETY: on thread; the out-pointer is a live local.
    unsafe { sys::napi_get_boolean(env, is, &raw mut value) };
    value
}

/// A string result.
pub(crate) fn text(env: sys::napi_env, text: &str) -> sys::napi_value {
    let mut value = ptr::null_mut();
    let len = isize::try_from(text.len()).expect("invariant: texts fit an isize");
    // SAFETY: on thread; the bytes are live, UTF-8 and `len` long.
    unsafe { sys::napi_create_string_utf8(env, text.as_ptr().cast(), len, &raw mut value) };
    value
}

/// A Buffer with a copy of `bytes`; `null` if there is no memory for it.
pub(crate) fn buffer(env: sys::napi_env, bytes: &[u8]) -> sys::napi_value {
    let mut value = ptr::null_mut();
    let data = bytes.as_ptr().cast();
    // SAFETY: on thread; the bytes are live and `len` long; where they were copied to is not asked.
    let status = unsafe {
        sys::napi_create_buffer_copy(env, bytes.len(), data, ptr::null_mut(), &raw mut value)
    };
    if status == sys::Status::napi_ok { value } else { null(env) }
}

/// `null`.
pub(crate) fn null(env: sys::napi_env) -> sys::napi_value {
    let mut value = ptr::null_mut();
    // SAFETY: on thread; the out-pointer is a live local.
    unsafe { sys::napi_get_null(env, &raw mut value) };
    value
}

/// `undefined`.
pub(crate) fn undefined(env: sys::napi_env) -> sys::napi_value {
    let mut value = ptr::null_mut();
    // SAFETY: on thread; the out-pointer is a live local.
    unsafe { sys::napi_get_undefined(env, &raw mut value) };
    value
}

/// An array of these values.
pub(crate) fn array(
    env: sys::napi_env,
    values: impl Iterator<Item = sys::napi_value>,
) -> sys::napi_value {
    let mut array = ptr::null_mut();
    // SAFETY: on thread; the out-pointer is a live local.
    unsafe { sys::napi_create_array(env, &raw mut array) };
    for (index, value) in (0..).zip(values) {
        // SAFETY: on thread; both values belong to `env`.
        unsafe { sys::napi_set_element(env, array, index, value) };
    }
    array
}

/// A plain object with these properties.
pub(crate) fn object(
    env: sys::napi_env,
    properties: &[(&CStr, sys::napi_value)],
) -> sys::napi_value {
    let mut value = ptr::null_mut();
    // SAFETY: on thread; the out-pointer is a live local.
    unsafe { sys::napi_create_object(env, &raw mut value) };
    for (name, property) in properties {
        // SAFETY: on thread; both values belong to `env`.
        unsafe { sys::napi_set_named_property(env, value, name.as_ptr(), *property) };
    }
    value
}

/// A property of an object argument.
pub(crate) fn property(
    env: sys::napi_env,
    object: sys::napi_value,
    name: &CStr,
) -> sys::napi_value {
    let mut value = ptr::null_mut();
    // SAFETY: on thread; the name ends with a NUL.
    unsafe { sys::napi_get_named_property(env, object, name.as_ptr(), &raw mut value) };
    value
}

/// What a hot function returns for an error: its number, negated.
pub(crate) fn failure(env: sys::napi_env, error: &Error) -> sys::napi_value {
    int(env, -i32::from(error.code().number()))
}

/// Throws `{ code, message }`, which TypeScript makes a `BusbarError` of.
pub(crate) fn throw(env: sys::napi_env, error: &Error) -> sys::napi_value {
    throw_coded(env, error.code().as_str(), error.message())
}

/// Throws an error with one of the codes of the table.
pub(crate) fn throw_coded(env: sys::napi_env, code: &str, message: &str) -> sys::napi_value {
    throw_with(env, code, message, &[])
}

/// As [`throw_coded`], with more properties of the error.
pub(crate) fn throw_with(
    env: sys::napi_env,
    code: &str,
    message: &str,
    properties: &[(&str, &str)],
) -> sys::napi_value {
    let mut value = ptr::null_mut();
    let (code, message) = (text(env, code), text(env, message));
    // SAFETY: on thread; the values belong to `env`.
    unsafe { sys::napi_create_error(env, code, message, &raw mut value) };
    for (name, property) in properties {
        let (name, property) = (text(env, name), text(env, property));
        // SAFETY: as above.
        unsafe { sys::napi_set_property(env, value, name, property) };
    }
    // SAFETY: as above.
    unsafe { sys::napi_throw(env, value) };
    crate::THREW
}

/// A handle on a value that outlives the call. A weak one does not keep it alive.
pub(crate) fn reference(
    env: sys::napi_env,
    value: sys::napi_value,
    weak: bool,
) -> Option<sys::napi_ref> {
    let mut reference = ptr::null_mut();
    // SAFETY: on thread; the value belongs to `env`.
    let status =
        unsafe { sys::napi_create_reference(env, value, u32::from(!weak), &raw mut reference) };
    (status == sys::Status::napi_ok).then_some(reference)
}

/// What a reference refers to, unless it has been collected.
pub(crate) fn referenced(env: sys::napi_env, reference: sys::napi_ref) -> Option<sys::napi_value> {
    let mut value = ptr::null_mut();
    // SAFETY: on thread; the reference was made by `reference` and not deleted.
    unsafe { sys::napi_get_reference_value(env, reference, &raw mut value) };
    (!value.is_null()).then_some(value)
}

/// Calls the function behind a reference, without arguments and from outside of JavaScript, as Node
/// calls its own; `false` if it did not run to its end.
pub(crate) fn call_back(env: sys::napi_env, function: sys::napi_ref) -> bool {
    let mut scope = ptr::null_mut();
    // SAFETY: on the environment's thread; the out-pointer is a live local.
    if unsafe { sys::napi_open_handle_scope(env, &raw mut scope) } != sys::Status::napi_ok {
        return false;
    }
    let is_done = referenced(env, function).is_some_and(|function| call_scoped(env, function));
    // SAFETY: as above; the scope was opened here.
    unsafe { sys::napi_close_handle_scope(env, scope) };
    is_done
}

fn call_scoped(env: sys::napi_env, function: sys::napi_value) -> bool {
    let (none, no_context) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: on thread, within a handle scope. There are no arguments, and the receiver, which
    // must be an object, is the function itself. A null context means that nobody follows this
    // callback in async hooks.
    let status = unsafe {
        sys::napi_make_callback(env, no_context, function, function, 0, ptr::null(), none)
    };
    if status == sys::Status::napi_pending_exception {
        rethrow(env);
    }
    status == sys::Status::napi_ok
}

/// An exception of a user's callback is uncaught, as it is in any callback of Node's own.
fn rethrow(env: sys::napi_env) {
    let mut exception = ptr::null_mut();
    // SAFETY: on thread; the out-pointer is a live local.
    let status = unsafe { sys::napi_get_and_clear_last_exception(env, &raw mut exception) };
    if status == sys::Status::napi_ok {
        // SAFETY: on thread; the value belongs to `env`.
        unsafe { sys::napi_fatal_exception(env, exception) };
    }
}
