//! HELLO and REJECT as every transport that needs them sends and reads them, and who decides
//! which it is.

use busbar_proto::frame::{self, Header, Kind};
use busbar_proto::{Capabilities, CloseReason, Code, Error, Hello, Limits};

use crate::connection::Identity;
use crate::options::{Heartbeat, PipeOptions};
use crate::peer::Peer;

/// Whether somebody else decides about a dialer, before its HELLO is answered.
pub(super) enum Asking {
    Nobody,
    /// Once everything is known of it.
    Later,
    Now(Peer),
    Answered(Result<(), Error>),
}

impl Asking {
    pub(super) fn new(asks: bool) -> Self {
        if asks { Self::Later } else { Self::Nobody }
    }

    /// Whether `peer` may come in; `false`: that is not decided yet.
    pub(super) fn admits(&mut self, peer: &Peer) -> Result<bool, Error> {
        match self {
            Self::Nobody => Ok(true),
            Self::Answered(verdict) => verdict.clone().map(|()| true),
            Self::Now(_) => Ok(false),
            Self::Later => {
                *self = Self::Now(peer.clone());
                Ok(false)
            }
        }
    }

    /// About whom a decision is awaited.
    pub(super) fn peer(&self) -> Option<&Peer> {
        match self {
            Self::Now(peer) => Some(peer),
            _ => None,
        }
    }

    /// The decision.
    pub(super) fn settle(&mut self, verdict: Result<(), Error>) {
        *self = Self::Answered(verdict);
    }
}

/// What an end with these options says of itself.
pub(super) fn hello(
    Identity { session, epoch }: Identity,
    options: &PipeOptions,
) -> Result<Hello, Error> {
    let frame_bytes_max = Limits::default().frame_payload_bytes_max();
    let limits = Limits::new(frame_bytes_max, options.message_bytes_max as u64)?;
    let mut hello = Hello::new(session, epoch, limits);
    if options.is_driven {
        hello.capabilities = Capabilities::HEARTBEAT;
        let millis = |it: Heartbeat| u32::try_from(it.interval.as_millis()).unwrap_or(u32::MAX);
        hello.heartbeat_ms = options.heartbeat.map(millis);
    }
    Ok(match &options.resume {
        Some(resume) => hello.with_resume(resume.clone()),
        None => hello,
    })
}

/// The name of a connection that the peer has given.
pub(super) fn identity_of(hello: &Hello) -> Identity {
    Identity { session: hello.session, epoch: hello.epoch }
}

/// The frame of a sign of life.
pub(super) fn ping_frame() -> Vec<u8> {
    let mut wire = Vec::new();
    frame::encode(&Header::new(Kind::Ping), &[], Limits::CONTROL, &mut wire)
        .expect("invariant: PING is valid under all limits");
    wire
}

/// The frame that introduces an end.
pub(super) fn hello_frame(hello: &Hello) -> Result<Vec<u8>, Error> {
    let mut wire = Vec::new();
    frame::encode(&Header::new(Kind::Hello), &hello.encode(), Limits::CONTROL, &mut wire)?;
    Ok(wire)
}

/// The frame that turns a dialer away because of `error`.
pub(super) fn reject_frame(error: &Error) -> Vec<u8> {
    let reason =
        CloseReason { code: Some(error.code()), status: 0, text: error.message().to_owned() };
    closing_frame(Kind::Reject, &reason)
}

/// A frame that ends a connection, or refuses it.
pub(super) fn closing_frame(kind: Kind, reason: &CloseReason) -> Vec<u8> {
    let mut wire = Vec::new();
    frame::encode(&Header::new(kind), &reason.encode(), Limits::CONTROL, &mut wire)
        .expect("invariant: reasons are cut to a size that every frame can carry");
    wire
}

/// What a dialer reports whom the listener has sent REJECT with this payload.
pub(super) fn rejected(payload: &[u8]) -> Result<Error, Error> {
    let reason = CloseReason::decode_reject(payload)?;
    let code = reason.code.unwrap_or(Code::ConnectionRefused);
    Ok(Error::new(code, format!("the listener turned the connection away: {}", reason.text)))
}

/// The peer spoke before or instead of introducing itself.
pub(super) fn unexpected(kind: Kind) -> Error {
    Error::new(Code::Protocol, format!("the peer sent {kind:?} where HELLO was expected"))
}

/// The peer went away before it had introduced itself.
pub(super) fn left_early() -> Error {
    Error::new(Code::ConnectionLost, "the peer went away before it introduced itself")
}

/// What a dialer makes of a failure to read the answer: who hangs up has refused.
pub(super) fn unanswered(error: Error) -> Error {
    if error.code() != Code::ConnectionLost {
        return error;
    }
    let message = "the listener hung up before it answered: it is closing, busy, or not Busbar; \
                   dial again later";
    Error::new(Code::ConnectionRefused, message).with_source(error)
}
