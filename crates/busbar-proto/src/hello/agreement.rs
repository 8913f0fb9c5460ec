//! What two HELLOs add up to. Both ends compute it and come to the same result.

use super::{Capabilities, Hello};
use crate::limits::Limits;
use crate::{Code, Error};

/// The terms of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// The protocol version spoken.
    pub version: u16,
    /// Abilities that both ends have.
    pub capabilities: Capabilities,
    /// What both ends accept.
    pub limits: Limits,
    /// How often the peer wants to hear from this end, in milliseconds; `None` if it does not care.
    pub heartbeat_ms: Option<u32>,
}

/// Compares this end's HELLO with the peer's.
///
/// # Errors
/// `VersionMismatch` if the ends have no protocol version in common or lay out shared memory
/// differently; `NotSupported` if only one wants a session that survives its connections;
/// `Protocol` if the HELLOs are not of the same session and epoch, or only one has
/// shared-memory parameters. None is retryable.
pub fn negotiate(ours: &Hello, theirs: &Hello) -> Result<Agreement, Error> {
    let version = ours.versions.highest_common(theirs.versions)?;
    if (ours.session, ours.epoch) != (theirs.session, theirs.epoch) {
        let message = "the peer's HELLO is of another session or epoch than ours";
        return Err(Error::new(Code::Protocol, message));
    }
    match (&ours.shm, &theirs.shm) {
        (Some(ours), Some(theirs)) if ours.segment_version != theirs.segment_version => {
            return Err(segment_mismatch(ours.segment_version, theirs.segment_version));
        }
        (Some(_), Some(_)) | (None, None) => {}
        (Some(_), None) => {
            let message = "the peer's HELLO has no shm section: it is no shm:// endpoint";
            return Err(Error::new(Code::Protocol, message));
        }
        (None, Some(_)) => {
            let message =
                "the peer's HELLO has an shm section, which this transport has no use for";
            return Err(Error::new(Code::Protocol, message));
        }
    }
    let capabilities = ours.capabilities.common(theirs.capabilities);
    let knows = capabilities.contains(Capabilities::HEARTBEAT);
    match (&ours.resume, &theirs.resume) {
        (Some(_), Some(_)) if !theirs.capabilities.contains(Capabilities::SESSIONS) => {
            let message = "the peer's HELLO has a resume section, but not the ability for it";
            return Err(Error::new(Code::Protocol, message));
        }
        (Some(_), Some(_)) | (None, None) => {}
        (Some(_), None) => return Err(one_sided("the peer keeps no session")),
        (None, Some(_)) => return Err(one_sided("this end keeps no session")),
    }
    Ok(Agreement {
        version,
        capabilities,
        limits: ours.limits.smaller(theirs.limits),
        heartbeat_ms: theirs.heartbeat_ms.filter(|_| knows),
    })
}

fn one_sided(what: &str) -> Error {
    let message = format!("{what}: give the option `reliable` to both ends, or to neither");
    Error::new(Code::NotSupported, message)
}

fn segment_mismatch(ours: u16, theirs: u16) -> Error {
    let older = if theirs < ours { "the peer's side" } else { "this side" };
    let message = format!(
        "no shared-memory layout in common: this end uses version {ours}, the peer {theirs}; \
         upgrade the busbar package on {older}"
    );
    Error::new(Code::VersionMismatch, message)
}
