//! The functions called per message or per batch.
//!
//! They take integers and byte arrays, return integers (negative: an error's number) and touch
//! nothing else. The memory of an array argument is asked for at each call, because JavaScript may
//! have detached it since the last. `submit` and `receive`, which every message passes, have their
//! integers in [`Registers`]: an argument of a call costs ten times a word of shared memory.

use std::ffi::{CStr, c_void};

use busbar_io::{Code, Error, Inbox, Interest, Lease, META_LEASED, PipeId, Sent, Slot};
use napi::sys;

use crate::options;
use crate::port::memory::{Content, Refused};
use crate::port::{Port, State};
use crate::raw;

pub(super) type Function =
    unsafe extern "C" fn(sys::napi_env, sys::napi_callback_info) -> sys::napi_value;

/// Set in a slot's meta word beside [`META_LEASED`] when the payload is this end's own memory, so
/// that nobody waits for it to be given back. Blocks are not: the next message has use for them,
/// and V8 collects all garbage for each MiB of memory that is not its own.
const META_OWNED: u32 = 1 << 30;

/// Adds raw functions to an object. `data` must be the port and outlive the environment.
pub(super) fn define_functions(
    env: sys::napi_env,
    object: sys::napi_value,
    data: *mut c_void,
    functions: &[(&CStr, Function)],
) {
    for &(name, function) in functions {
        let mut value = std::ptr::null_mut();
        let len = isize::try_from(name.count_bytes()).expect("invariant: names are short");
        // SAFETY: on thread; the name is NUL-terminated and `len` long.
        unsafe {
            sys::napi_create_function(env, name.as_ptr(), len, Some(function), data, &raw mut value)
        };
        // SAFETY: on thread; both values belong to `env`.
        unsafe { sys::napi_set_named_property(env, object, name.as_ptr(), value) };
    }
}

/// Defines raw callbacks that find their port and arguments.
macro_rules! callbacks {
    ($(
        fn $name:ident($port:ident, $env:ident, $args:ident: $count:literal) $body:block
    )*) => {$(
        unsafe extern "C" fn $name(
            $env: sys::napi_env,
            info: sys::napi_callback_info,
        ) -> sys::napi_value {
            crate::raw::guard($env, || {
                let ($args, data) = crate::raw::arguments::<$count>($env, info);
                // SAFETY: `define` gave the port, which lives as long as the environment.
                let $port = unsafe { &*data.cast::<Port>() };
                $body
            })
        }
    )*};
}
pub(super) use callbacks;

pub(super) fn define(env: sys::napi_env, object: sys::napi_value, port: *mut c_void) {
    let functions: [(&CStr, Function); 17] = [
        (c"interest", interest),
        (c"submit", submit),
        (c"send", send),
        (c"sendWith", send_with),
        (c"flush", flush),
        (c"abandon", abandon),
        (c"loan", loan),
        (c"lastId", last_id),
        (c"commit", commit),
        (c"discard", discard),
        (c"receive", receive),
        (c"processed", processed),
        (c"acknowledge", acknowledge),
        (c"seqOf", seq_of),
        (c"copyLease", copy_lease),
        (c"lease", lease),
        (c"release", discard),
    ];
    define_functions(env, object, port, &functions);
}

callbacks! {
    fn interest(port, env, args: 2) {
        let pipe = PipeId::from_number(raw::uint(env, args[0]));
        let bits = raw::uint(env, args[1]);
        let interest = Interest { readable: bits & 1 != 0, writable: bits & 2 != 0 };
        let result = port.state.borrow_mut().engine.hold().set_interest(pipe, interest);
        port.after_call();
        done(env, result.map(|()| 0))
    }

    fn submit(port, env, args: 1) {
        let [pipe, start, end, _] = port.registers.arguments();
        let taken = raw::typed_array(env, args[0]).ok_or_else(detached).and_then(|(bytes, len)| {
            // SAFETY: the array is alive for the call and nothing else runs on this thread
            // meanwhile; staging is never shared memory.
            let staging = unsafe { std::slice::from_raw_parts(bytes, len) };
            let run = staging.get(start as usize..end as usize).ok_or_else(beyond)?;
            port.state.borrow_mut().engine.hold().send_run(PipeId::from_number(pipe), run)
        });
        port.after_call();
        port.registers.finish(taken)
    }

    fn send(port, env, args: 3) {
        let pipe = PipeId::from_number(raw::uint(env, args[0]));
        let channel = channel(env, args[1]);
        let Some((start, len)) = raw::typed_array(env, args[2]) else {
            return raw::failure(env, &detached());
        };
        // SAFETY: the array is alive for the call. If it is shared memory that another thread
        // writes, the message is arbitrary bytes, which are only ever copied.
        let payload = unsafe { std::slice::from_raw_parts(start, len) };
        let result = port.state.borrow_mut().engine.hold().send(pipe, channel, payload);
        port.after_call();
        done(env, result.map(i32::from))
    }

    fn send_with(port, env, args: 6) {
        let pipe = PipeId::from_number(raw::uint(env, args[0]));
        let channel = channel(env, args[1]);
        // TypeScript has looked whether it is detached: what has no memory is empty.
        let payload = match raw::typed_array(env, args[2]) {
            // SAFETY: as in `send`.
            Some((start, len)) => unsafe { std::slice::from_raw_parts(start, len) },
            None => &[],
        };
        let mut terms = options::terms(raw::double(env, args[3]), raw::double(env, args[4]));
        terms.is_once = raw::is_true(env, args[5]);
        let result = port.state.borrow_mut().engine.hold().send_with(pipe, channel, payload, terms);
        port.after_call();
        done(env, result.map(|sent| match sent {
            Sent::Refused => 0,
            Sent::Accepted => 1,
            Sent::Dropped => 2,
        }))
    }

    fn flush(port, env, _args: 0) {
        port.state.borrow_mut().engine.hold().flush();
        port.after_call();
        raw::undefined(env)
    }

    fn abandon(port, env, args: 1) {
        let pipe = PipeId::from_number(raw::uint(env, args[0]));
        let is_too_large = port.state.borrow_mut().engine.hold().abandon(pipe);
        raw::boolean(env, is_too_large)
    }

    fn loan(port, env, args: 2) {
        let pipe = PipeId::from_number(raw::uint(env, args[0]));
        let len = raw::uint(env, args[1]) as usize;
        let result = port.state.borrow_mut().engine.hold().loan(pipe, len);
        match result {
            Err(error) => raw::failure(env, &error),
            Ok(None) => raw::null(env),
            Ok(Some(loan)) => match port.memory.lend(env, Content::Loan(pipe, loan)) {
                Ok(buffer) => buffer,
                Err(_) => raw::null(env),
            },
        }
    }

    fn last_id(port, env, _args: 0) {
        raw::int(env, i32::try_from(port.memory.last()).unwrap_or(0))
    }

    fn commit(port, env, args: 4) {
        let pipe = PipeId::from_number(raw::uint(env, args[0]));
        let id = raw::uint(env, args[1]);
        let Some(loan) = port.memory.take_loan(env, id, pipe) else {
            return raw::failure(env, &detached());
        };
        let (channel, len) = (channel(env, args[2]), raw::uint(env, args[3]) as usize);
        let result = port.state.borrow_mut().engine.hold().commit(pipe, channel, loan, len);
        let sent = match result {
            Ok(Some(loan)) => {
                port.memory.restore(id, pipe, loan);
                Ok(0)
            }
            Ok(None) => Ok(1),
            Err(error) => Err(error),
        };
        if !matches!(sent, Ok(0)) {
            port.memory.sent(env, id);
        }
        port.after_call();
        done(env, sent)
    }

    fn discard(port, env, args: 1) {
        port.memory.give_back(env, raw::uint(env, args[0]));
        port.after_call();
        raw::undefined(env)
    }

    fn receive(port, env, args: 1) {
        let [pipe, start, max, copy_max] = port.registers.arguments();
        if port.registers.take_ahead() {
            port.state.borrow_mut().engine.hold().look_ahead(PipeId::from_number(pipe));
        }
        let count = raw::typed_array(env, args[0]).ok_or_else(detached).and_then(|(bytes, len)| {
            // SAFETY: the array is alive for the call and used by nothing else on this thread;
            // arenas are never shared memory.
            let arena = unsafe { std::slice::from_raw_parts_mut(bytes, len) };
            let arena = arena.get_mut(start as usize..).ok_or_else(beyond)?;
            receive_into(port, PipeId::from_number(pipe), arena, max as usize, copy_max as usize)
        });
        port.after_call();
        port.registers.finish(count)
    }

    fn processed(port, env, args: 2) {
        let pipe = PipeId::from_number(raw::uint(env, args[0]));
        let result = port.state.borrow_mut().engine.hold().processed(pipe, ordinal(env, args[1]));
        port.after_call();
        done(env, result.map(|()| 0))
    }

    fn acknowledge(port, env, args: 3) {
        let pipe = PipeId::from_number(raw::uint(env, args[0]));
        let ordinals = ordinal(env, args[1])..ordinal(env, args[2]);
        let result = port.state.borrow_mut().engine.hold().acknowledge(pipe, ordinals);
        port.after_call();
        done(env, result.map(|()| 0))
    }

    fn seq_of(port, env, args: 2) {
        let pipe = PipeId::from_number(raw::uint(env, args[0]));
        let seq = port.state.borrow_mut().engine.hold().seq_of(pipe, ordinal(env, args[1]));
        // Counted from 0: what a double cannot tell apart is out of reach.
        raw::number(env, seq.map_or(-1.0, |seq| seq.0 as f64))
    }

    fn copy_lease(port, env, args: 2) {
        let index = raw::uint(env, args[0]) as usize;
        let Some((start, len)) = raw::typed_array(env, args[1]) else {
            return raw::failure(env, &detached());
        };
        // SAFETY: as in `receive`.
        let target = unsafe { std::slice::from_raw_parts_mut(start, len) };
        let mut state = port.state.borrow_mut();
        let taken = state.leases.get_mut(index).and_then(Option::take);
        let result = taken.ok_or_else(expired).and_then(|lease| {
            let target = target.get_mut(..lease.len()).ok_or_else(|| {
                Error::new(Code::InvalidArgument, "the target is smaller than the payload")
            })?;
            target.copy_from_slice(&lease);
            Ok(0)
        });
        drop(state);
        port.after_call();
        done(env, result)
    }

    fn lease(port, env, args: 1) {
        let index = raw::uint(env, args[0]) as usize;
        let taken = port.state.borrow_mut().leases.get_mut(index).and_then(Option::take);
        let Some(lease) = taken else { return raw::failure(env, &expired()) };
        match port.memory.lend(env, Content::Lease(writable(lease))) {
            Ok(buffer) => buffer,
            Err(Refused::Forbidden(Content::Lease(lease))) => {
                // For `copyLease`, which the caller turns to.
                port.state.borrow_mut().leases[index] = Some(lease);
                raw::failure(env, &Error::new(Code::NotSupported, "no external buffers here"))
            }
            Err(_) => raw::failure(env, &Error::new(Code::OutOfMemory, "no ArrayBuffer")),
        }
    }
}

fn receive_into(
    port: &Port,
    pipe: PipeId,
    arena: &mut [u8],
    max: usize,
    copy_max: usize,
) -> Result<usize, Error> {
    let mut state = port.state.borrow_mut();
    let State { engine, leases, received, .. } = &mut *state;
    leases.clear();
    let mut array = port.slots.borrow_mut();
    // SAFETY: the array is ours: JavaScript reads it only after this call has returned.
    let words = unsafe { array.as_mut() };
    let slots = slots_in(words);
    let mut inbox = Inbox::new(arena, slots, received);
    engine.hold().receive(pipe, &mut inbox, max)?;
    let (count, used) = (inbox.len(), inbox.bytes_used());
    leases.extend(received.drain(..).map(Some));
    if !leases.is_empty() {
        copy_leases(&mut slots[..count], leases, &mut arena[used..], used, copy_max);
    }
    Ok(count)
}

/// The slots that these words are.
fn slots_in(words: &mut [u32]) -> &mut [Slot] {
    let len = words.len() / 3;
    // SAFETY: a slot is three words of any value without padding (`repr(C)`), `len` of them lie
    // within `words`, and the borrow goes over to the result.
    unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), len) }
}

/// Makes arena payloads of leases up to `copy_max` bytes, while there is room (`space`, at `base`
/// of the arena): below that, a buffer of its own costs more than the copy. The others are marked
/// with what they are.
fn copy_leases(
    slots: &mut [Slot],
    leases: &mut [Option<Lease>],
    space: &mut [u8],
    base: usize,
    copy_max: usize,
) {
    let mut used = 0;
    for slot in slots.iter_mut().filter(|slot| slot.meta & META_LEASED != 0) {
        let held = &mut leases[slot.offset as usize];
        let Some(lease) = held else { continue };
        let end = used + lease.len();
        if lease.len() > copy_max || end > space.len() {
            slot.meta |= u32::from(matches!(lease, Lease::Bytes(_))) * META_OWNED;
            continue;
        }
        space[used..end].copy_from_slice(lease);
        slot.offset = u32::try_from(base + used).expect("invariant: arenas stay below 4 GiB");
        slot.meta &= !META_LEASED;
        *held = None;
        used = end.next_multiple_of(8).min(space.len());
    }
}

/// A payload that JavaScript may write to without harm to anybody else.
fn writable(lease: Lease) -> Lease {
    match lease {
        Lease::Bytes(bytes) => match bytes.try_into_mut() {
            Ok(unique) => Lease::Bytes(unique.freeze()),
            Err(shared) => Lease::Bytes(shared.to_vec().into()),
        },
        sole => sole,
    }
}

fn channel(env: sys::napi_env, value: sys::napi_value) -> u16 {
    // TypeScript has checked the range.
    u16::try_from(raw::uint(env, value)).unwrap_or(0)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, and TypeScript counts from 0"
)]
pub(super) fn ordinal(env: sys::napi_env, value: sys::napi_value) -> u64 {
    raw::double(env, value) as u64
}

fn done(env: sys::napi_env, result: Result<i32, Error>) -> sys::napi_value {
    match result {
        Ok(number) => raw::int(env, number),
        Err(error) => raw::failure(env, &error),
    }
}

fn detached() -> Error {
    Error::new(Code::BufferDetached, "the buffer is detached")
}

fn beyond() -> Error {
    Error::new(Code::InvalidArgument, "the range is beyond the buffer")
}

fn expired() -> Error {
    Error::new(Code::LoanExpired, "the payload belongs to an earlier batch")
}
