//! The functions called a few times in the life of a pipe. They throw.

use std::ffi::{CStr, c_void};
use std::time::Duration;

use busbar_io::{Backend, CloseReason, Code, Endpoint, Error, ListenerId, Peer, PipeId};
use napi::sys;

use crate::options;
use crate::port::Port;
use crate::port::hot::{Function, callbacks, define_functions, ordinal};
use crate::raw;

pub(super) fn define(env: sys::napi_env, object: sys::napi_value, port: *mut c_void) {
    let functions: [(&CStr, Function); 23] = [
        (c"listen", listen),
        (c"closeListener", close_listener),
        (c"dial", dial),
        (c"close", close),
        (c"refuse", refuse),
        (c"shape", shape),
        (c"shapeListener", shape_listener),
        (c"stopReceiving", stop_receiving),
        (c"drain", drain),
        (c"takeReason", take_reason),
        (c"connectionId", connection_id),
        (c"sessionOf", session_of),
        (c"takeWarning", take_warning),
        (c"takeAnnouncement", take_announcement),
        (c"listenerAddress", listener_address),
        (c"peer", peer),
        (c"admit", admit),
        (c"setCredentials", set_credentials),
        (c"messageBytesMax", message_bytes_max),
        (c"stats", stats),
        (c"ref", keep_alive),
        (c"backend", backend),
        (c"wakeKind", wake_kind),
    ];
    define_functions(env, object, port, &functions);
}

callbacks! {
    fn listen(port, env, args: 2) {
        let address = raw::string(env, args[0]);
        let result = address.parse::<Endpoint>().and_then(|endpoint| {
            let options = options::listen(env, args[1])?;
            port.state.borrow_mut().engine.hold().listen(&endpoint, &options)
        });
        port.after_call();
        returned(env, result.map(|listener| raw::number(env, f64::from(listener.number()))))
    }

    fn close_listener(port, env, args: 1) {
        let listener = ListenerId::from_number(raw::uint(env, args[0]));
        port.state.borrow_mut().engine.hold().close_listener(listener);
        port.after_call();
        raw::undefined(env)
    }

    fn dial(port, env, args: 2) {
        let address = raw::string(env, args[0]);
        let result = address.parse::<Endpoint>().and_then(|endpoint| {
            let options = options::dial(env, args[1])?;
            port.state.borrow_mut().engine.hold().dial(&endpoint, &options)
        });
        port.after_call();
        returned(env, result.map(|pipe| raw::number(env, f64::from(pipe.number()))))
    }

    fn shape(port, env, args: 2) {
        let pipe = PipeId::from_number(raw::uint(env, args[0]));
        let result = options::qos(env, args[1])
            .and_then(|qos| port.state.borrow_mut().engine.hold().shape(pipe, &qos));
        port.after_call();
        returned(env, result.map(|()| raw::undefined(env)))
    }

    fn shape_listener(port, env, args: 2) {
        let listener = ListenerId::from_number(raw::uint(env, args[0]));
        let result = options::qos(env, args[1])
            .and_then(|qos| port.state.borrow_mut().engine.hold().shape_listener(listener, qos));
        returned(env, result.map(|()| raw::undefined(env)))
    }

    fn stop_receiving(port, env, args: 2) {
        let pipe = PipeId::from_number(raw::uint(env, args[0]));
        let got = ordinal(env, args[1]);
        port.state.borrow_mut().engine.hold().stop_receiving(pipe, got);
        port.after_call();
        raw::undefined(env)
    }

    fn drain(port, env, args: 1) {
        let pipe = PipeId::from_number(raw::uint(env, args[0]));
        let mut state = port.state.borrow_mut();
        let mut engine = state.engine.hold();
        let waiting = engine.drain(pipe);
        if engine.is_forsaken(pipe) {
            return raw::int(env, -1);
        }
        raw::int(env, i32::try_from(waiting).unwrap_or(i32::MAX))
    }

    fn close(port, env, args: 4) {
        let pipe = PipeId::from_number(raw::uint(env, args[0]));
        let status = raw::uint(env, args[1]);
        let reason = CloseReason { code: None, status, text: raw::string(env, args[2]) };
        let linger = Duration::from_millis(u64::from(raw::uint(env, args[3])));
        let given_up = port.state.borrow_mut().engine.hold().close_within(pipe, &reason, linger);
        port.after_call();
        port.keep_alive_for(linger);
        raw::int(env, i32::try_from(given_up).unwrap_or(i32::MAX))
    }

    fn refuse(port, env, args: 2) {
        let pipe = PipeId::from_number(raw::uint(env, args[0]));
        let (code, text) = (Some(Code::ConnectionRefused), raw::string(env, args[1]));
        port.state.borrow_mut().engine.hold().close(pipe, &CloseReason { code, status: 0, text });
        port.after_call();
        raw::undefined(env)
    }

    fn take_announcement(port, env, args: 1) {
        let pipe = PipeId::from_number(raw::uint(env, args[0]));
        let announcement = port.state.borrow_mut().engine.hold().take_announcement(pipe);
        announcement.map_or_else(|| raw::null(env), |bytes| raw::buffer(env, &bytes))
    }

    fn take_reason(port, env, args: 1) {
        let pipe = PipeId::from_number(raw::uint(env, args[0]));
        let reason = port.state.borrow_mut().engine.hold().take_failure(pipe).unwrap_or_default();
        let code = reason.code.unwrap_or(Code::Closed);
        raw::object(env, &[
            (c"code", raw::text(env, code.as_str())),
            (c"message", raw::text(env, &reason.text)),
            (c"status", raw::number(env, f64::from(reason.status))),
            (c"clean", raw::boolean(env, reason.code.is_none())),
        ])
    }

    fn connection_id(port, env, args: 1) {
        let pipe = PipeId::from_number(raw::uint(env, args[0]));
        let identity = port.state.borrow_mut().engine.hold().identity(pipe);
        identity.map_or_else(|| raw::null(env), |identity| {
            raw::text(env, &format!("{}/{}", identity.session, identity.epoch.0))
        })
    }

    fn session_of(port, env, args: 1) {
        let pipe = PipeId::from_number(raw::uint(env, args[0]));
        let session = port.state.borrow_mut().engine.hold().session_of(pipe);
        session.map_or_else(|| raw::null(env), |(name, has_dialed)| {
            // Which end has sent what this end receives.
            raw::text(env, &format!("{name}/{}", if has_dialed { 'l' } else { 'd' }))
        })
    }

    fn take_warning(port, env, _args: 0) {
        match port.state.borrow_mut().warnings.pop_front() {
            None => raw::null(env),
            Some(error) => raw::object(env, &[
                (c"code", raw::text(env, error.code().as_str())),
                (c"message", raw::text(env, error.message())),
            ]),
        }
    }

    fn listener_address(port, env, args: 1) {
        let listener = ListenerId::from_number(raw::uint(env, args[0]));
        let address = port.state.borrow_mut().engine.hold().address(listener);
        returned(env, address.map(|address| raw::text(env, &address)).ok_or_else(gone))
    }

    fn peer(port, env, args: 1) {
        let pipe = PipeId::from_number(raw::uint(env, args[0]));
        let peer = port.state.borrow_mut().engine.hold().peer(pipe);
        peer.map_or_else(|| raw::null(env), |peer| peer_object(env, &peer))
    }

    fn admit(port, env, args: 3) {
        let pipe = PipeId::from_number(raw::uint(env, args[0]));
        let verdict = match raw::uint(env, args[1]) {
            0 => Err(Error::new(Code::PermissionDenied, raw::string(env, args[2]))),
            _ => Ok(()),
        };
        port.state.borrow_mut().engine.hold().admit(pipe, verdict);
        port.after_call();
        raw::undefined(env)
    }

    fn set_credentials(port, env, args: 2) {
        let listener = ListenerId::from_number(raw::uint(env, args[0]));
        let result = options::credentials(env, args[1]).and_then(|credentials| {
            let missing = || Error::new(Code::InvalidArgument, "credentials must be an object");
            let credentials = credentials.ok_or_else(missing)?;
            port.state.borrow_mut().engine.hold().set_credentials(listener, credentials)
        });
        returned(env, result.map(|()| raw::undefined(env)))
    }

    fn stats(port, env, args: 2) {
        let pipe = PipeId::from_number(raw::uint(env, args[0]));
        let stats = port.state.borrow_mut().engine.hold().stats(pipe);
        returned(env, stats.ok_or_else(gone).map(|stats| {
            let link = stats.link;
            let counters = [
                link.messages_sent,
                link.bytes_sent,
                link.messages_received,
                link.bytes_received,
                link.loans_sent,
                link.loans_received,
                link.fragmented,
                link.bells,
                link.parks,
                stats.wakes,
                link.reads,
                link.writes,
                stats.reconnects,
                stats.messages_lost,
                link.reassemblies_expired,
                stats.qos.sends.new,
                stats.qos.sends.old,
                stats.qos.sends.expired,
                stats.qos.sends_lost,
                stats.qos.receives.new,
                stats.qos.receives.old,
                stats.qos.receives.expired + link.messages_expired,
                stats.resends_expired,
                stats.deliveries_failed,
                stats.duplicates,
                stats.qos.messages_queued,
                stats.qos.bytes_queued,
                stats.qos.messages_ready,
                stats.qos.bytes_ready,
                stats.messages_unconfirmed,
            ];
            write_counters(env, args[1], &counters);
            raw::undefined(env)
        }))
    }

    fn keep_alive(port, env, args: 1) {
        port.is_wanted.set(raw::uint(env, args[0]) > 0);
        port.keep_alive();
        raw::undefined(env)
    }

    fn message_bytes_max(port, env, args: 1) {
        let pipe = PipeId::from_number(raw::uint(env, args[0]));
        let max = port.state.borrow_mut().engine.hold().message_bytes_max(pipe);
        raw::number(env, max.unwrap_or(0) as f64)
    }

    fn backend(port, env, _args: 0) {
        let backend = port.state.borrow_mut().engine.hold().backend();
        raw::text(env, if backend == Backend::Uring { "uring" } else { "poll" })
    }

    fn wake_kind(port, env, _args: 0) {
        let driver = port.driver.borrow();
        raw::text(env, driver.as_ref().map_or("none", |driver| driver.kind()))
    }
}

/// A peer as `NativePeer` in `lib/internal/binding.ts`.
fn peer_object(env: sys::napi_env, peer: &Peer) -> sys::napi_value {
    let mut fields = Vec::new();
    if let Some(process) = &peer.process {
        fields.push((c"pid", raw::number(env, f64::from(process.pid))));
        fields.push((c"uid", raw::number(env, f64::from(process.uid))));
        fields.push((c"gid", raw::number(env, f64::from(process.gid))));
    }
    if let Some(address) = &peer.address {
        // What came over IPv4 to a socket for both looks like IPv6, to nobody's benefit.
        let ip = address.ip().to_canonical();
        fields.push((c"remoteAddress", raw::text(env, &ip.to_string())));
        fields.push((c"remotePort", raw::number(env, f64::from(address.port()))));
    }
    if let Some(tls) = &peer.tls {
        fields.push((c"protocol", raw::text(env, tls.version)));
        if let Some(certificate) = tls.certificates.first() {
            fields.push((c"certificate", raw::buffer(env, certificate)));
        }
        if let Some(error) = &tls.untrusted {
            fields.push((c"code", raw::text(env, error.code().as_str())));
            fields.push((c"message", raw::text(env, error.message())));
        }
    }
    raw::object(env, &fields)
}

fn returned(env: sys::napi_env, result: Result<sys::napi_value, Error>) -> sys::napi_value {
    result.unwrap_or_else(|error| raw::throw(env, &error))
}

/// Fills a `Float64Array`, as far as it reaches.
fn write_counters(env: sys::napi_env, target: sys::napi_value, counters: &[u64]) {
    for (index, &counter) in (0..).zip(counters) {
        #[expect(clippy::cast_precision_loss, reason = "counters stay below 2^53")]
        let value = raw::number(env, counter as f64);
        // SAFETY: on thread; setting an element past the end of a typed array does nothing.
        unsafe { sys::napi_set_element(env, target, index, value) };
    }
}

fn gone() -> Error {
    Error::new(Code::Closed, "it was closed")
}
