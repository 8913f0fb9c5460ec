//! HELLO: what each end says of itself before anything else, and what follows from the two.
//!
//! docs/formats/hello.md draws the payload. The dialer speaks first and names the session; the
//! listener answers with a HELLO of the same session or with REJECT. What only one transport
//! needs travels in sections that others skip.

mod agreement;
mod section;

pub use agreement::{Agreement, negotiate};
pub use section::{ShmParameters, Trust};

use std::fmt;

use crate::limits::Limits;
use crate::reader::Reader;
use crate::session::Resume;
use crate::{Code, Error};

/// The payload of a HELLO frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Protocol versions that this end speaks.
    pub versions: Versions,
    /// Optional abilities of this end.
    pub capabilities: Capabilities,
    /// The session that this connection belongs to, chosen by the dialer.
    pub session: SessionId,
    /// Which connection of the session this is, counted by the dialer.
    pub epoch: Epoch,
    /// What this end accepts.
    pub limits: Limits,
    /// How long a silence this end puts up with, in milliseconds: whoever knows
    /// [`Capabilities::HEARTBEAT`] sends something at least so often. Absent if it does not care.
    pub heartbeat_ms: Option<u32>,
    /// Present on `shm://`.
    pub shm: Option<ShmParameters>,
    /// Present if this end wants the session to survive its connections; then
    /// [`Capabilities::SESSIONS`] is set too.
    pub resume: Option<Resume>,
}

/// A range of protocol versions, never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    min: u16,
    max: u16,
}

/// Optional abilities, one bit each; bits without a meaning to this version are ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(pub u64);

/// Names a session across its connections; random.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(pub [u8; 16]);

/// Number of a connection within its session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl Hello {
    /// The largest payload of a HELLO frame.
    pub const BYTES_MAX: usize = 4096;

    /// The shortest silence that an end may ask for, in milliseconds.
    pub const HEARTBEAT_MS_MIN: u32 = 50;

    /// What this library says by default: the versions it speaks, nothing optional.
    #[must_use]
    pub fn new(session: SessionId, epoch: Epoch, limits: Limits) -> Self {
        Self {
            versions: Versions::SPOKEN,
            capabilities: Capabilities::default(),
            session,
            epoch,
            limits,
            heartbeat_ms: None,
            shm: None,
            resume: None,
        }
    }

    /// The same with a resume section, and the ability that it needs.
    #[must_use]
    pub fn with_resume(mut self, resume: Resume) -> Self {
        self.capabilities.0 |= Capabilities::SESSIONS.0;
        self.resume = Some(resume);
        self
    }

    /// The payload of the HELLO frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.versions.min.to_be_bytes());
        out.extend_from_slice(&self.versions.max.to_be_bytes());
        out.extend_from_slice(&self.capabilities.0.to_be_bytes());
        out.extend_from_slice(&self.session.0);
        out.extend_from_slice(&self.epoch.0.to_be_bytes());
        out.extend_from_slice(&self.limits.message_bytes_max().to_be_bytes());
        out.extend_from_slice(&self.limits.frame_payload_bytes_max().to_be_bytes());
        if let Some(shm) = &self.shm {
            section::put(&mut out, section::TAG_SHM, &shm.encode());
        }
        if let Some(resume) = &self.resume {
            section::put(&mut out, section::TAG_RESUME, &resume.encode());
        }
        if let Some(heartbeat_ms) = self.heartbeat_ms {
            section::put(&mut out, section::TAG_HEARTBEAT, &heartbeat_ms.to_be_bytes());
        }
        out
    }

    /// Reads the payload of a HELLO frame.
    ///
    /// # Errors
    /// `VersionMismatch` if the peer speaks no version that this library does, in which case only
    /// the first eight bytes were looked at; `Protocol` if the payload is not a valid HELLO.
    pub fn decode(payload: &[u8]) -> Result<Self, Error> {
        if payload.len() > Self::BYTES_MAX {
            let (bytes, max) = (payload.len(), Self::BYTES_MAX);
            return Err(invalid(format!("it has {bytes} bytes, at most {max} are allowed")));
        }
        let mut reader = Reader::new(payload);
        let short = || invalid(format!("it ends after {} bytes", payload.len()));
        if reader.bytes(MAGIC.len()).ok_or_else(short)? != MAGIC {
            return Err(invalid("it does not begin with BUSB: the peer is not Busbar".into()));
        }
        let versions = Versions::decode(&mut reader).ok_or_else(short)??;
        Versions::SPOKEN.highest_common(versions)?;
        let mut hello = Self::decode_fixed(versions, &mut reader).ok_or_else(short)??;
        while !reader.is_empty() {
            let (tag, value) = section::take(&mut reader).ok_or_else(short)?;
            let is_second = match tag {
                section::TAG_SHM => hello.shm.replace(ShmParameters::decode(value)?).is_some(),
                section::TAG_RESUME => hello.resume.replace(decode_resume(value)?).is_some(),
                section::TAG_HEARTBEAT => {
                    hello.heartbeat_ms.replace(section::decode_heartbeat(value)?).is_some()
                }
                _ => false,
            };
            if is_second {
                return Err(invalid(format!("it has two sections with tag {tag}")));
            }
        }
        Ok(hello)
    }

    /// The part after the versions that is always there; `None` if it is cut short.
    fn decode_fixed(versions: Versions, reader: &mut Reader<'_>) -> Option<Result<Self, Error>> {
        let capabilities = Capabilities(reader.u64()?);
        let session = SessionId(reader.array()?);
        let epoch = Epoch(reader.u64()?);
        let message_bytes_max = reader.u64()?;
        let frame_payload_bytes_max = reader.u32()?;
        let limits = Limits::new(frame_payload_bytes_max, message_bytes_max)
            .map_err(|error| invalid(error.message().to_owned()));
        Some(limits.map(|limits| Self {
            versions,
            capabilities,
            session,
            epoch,
            limits,
            heartbeat_ms: None,
            shm: None,
            resume: None,
        }))
    }
}

impl Versions {
    /// What this library speaks.
    pub const SPOKEN: Self = Self { min: 1, max: 1 };

    /// The versions from `min` to `max`, both included.
    ///
    /// # Errors
    /// `InvalidArgument` if `min` is 0 or above `max`.
    pub fn new(min: u16, max: u16) -> Result<Self, Error> {
        if min == 0 || min > max {
            let message = format!("{min} to {max} is not a range of protocol versions");
            return Err(Error::new(Code::InvalidArgument, message));
        }
        Ok(Self { min, max })
    }

    /// The highest version in both ranges; `self` is this end's.
    ///
    /// # Errors
    /// `VersionMismatch` if there is none: the message names both ranges and the end to upgrade.
    pub fn highest_common(self, peer: Self) -> Result<u16, Error> {
        let highest = self.max.min(peer.max);
        if highest >= self.min.max(peer.min) {
            return Ok(highest);
        }
        let older = if peer.max < self.min { "the peer's side" } else { "this side" };
        let message = format!(
            "no protocol version in common: this end speaks {self}, the peer {peer}; \
             upgrade the busbar package on {older}"
        );
        Err(Error::new(Code::VersionMismatch, message))
    }

    fn decode(reader: &mut Reader<'_>) -> Option<Result<Self, Error>> {
        let (min, max) = (reader.u16()?, reader.u16()?);
        Some(Self::new(min, max).map_err(|error| invalid(error.message().to_owned())))
    }
}

impl Capabilities {
    /// It takes PING, and sends something at least as often as the peer's HELLO asks for.
    pub const HEARTBEAT: Self = Self(1);
    /// Sessions: ACK, SKIP, PROBE and PONG, the RELIABLE flag and the resume section.
    pub const SESSIONS: Self = Self(2);

    /// Whether all of `other` are among these.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// What both ends can do.
    #[must_use]
    pub const fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max {
            return write!(f, "{}", self.min);
        }
        write!(f, "{} to {}", self.min, self.max)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

fn decode_resume(value: &[u8]) -> Result<Resume, Error> {
    let malformed = || invalid(format!("malformed resume section of {} bytes", value.len()));
    Resume::decode(value).ok_or_else(malformed)
}

fn invalid(what: String) -> Error {
    Error::new(Code::Protocol, format!("invalid HELLO from the peer: {what}"))
}

// docs/formats/hello.md
const MAGIC: &[u8; 4] = b"BUSB";
