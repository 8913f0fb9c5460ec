//! Sections at the end of a HELLO, each a tag, a length and a value, and two of them: the
//! shared-memory parameters and the heartbeat. Sections with another tag are skipped.

use super::{Hello, invalid};
use crate::Error;
use crate::reader::Reader;

/// What an end says of its shared-memory segment, so that the peer can map it. The numbers are the
/// peer's word: the transport holds them against the segment itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShmParameters {
    /// Layout of the segment; both ends must use the same.
    pub segment_version: u16,
    /// How the sender treats what this end writes.
    pub trust: Trust,
    /// Slots of the release ring.
    pub release_entries: u32,
    /// Bytes of the record ring.
    pub ring_bytes: u64,
    /// Bytes of the slab.
    pub slab_bytes: u64,
    /// Page size that the segment's parts are aligned to.
    pub page_bytes: u32,
}

/// How much an end relies on its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u8)]
pub enum Trust {
    /// The peer runs as the same user: its memory may be read in place.
    SameUser = 0,
    /// The peer may change memory while it is read: everything is copied out first.
    Hostile = 1,
}

impl ShmParameters {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SHM_BYTES);
        out.extend_from_slice(&self.segment_version.to_be_bytes());
        out.extend_from_slice(&[self.trust as u8, 0]);
        out.extend_from_slice(&self.release_entries.to_be_bytes());
        out.extend_from_slice(&self.ring_bytes.to_be_bytes());
        out.extend_from_slice(&self.slab_bytes.to_be_bytes());
        out.extend_from_slice(&self.page_bytes.to_be_bytes());
        out
    }

    pub(super) fn decode(value: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(value);
        Self::read(&mut reader)
            .filter(|_| reader.is_empty())
            .ok_or_else(|| invalid(format!("malformed shm section of {} bytes", value.len())))
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let segment_version = reader.u16()?;
        let trust = match reader.u8()? {
            0 => Trust::SameUser,
            1 => Trust::Hostile,
            _ => return None,
        };
        if reader.u8()? != 0 {
            return None;
        }
        Some(Self {
            segment_version,
            trust,
            release_entries: reader.u32()?,
            ring_bytes: reader.u64()?,
            slab_bytes: reader.u64()?,
            page_bytes: reader.u32()?,
        })
    }
}

/// How long a silence the peer puts up with, in milliseconds.
pub(super) fn decode_heartbeat(value: &[u8]) -> Result<u32, Error> {
    let mut reader = Reader::new(value);
    match reader.u32() {
        Some(ms) if reader.is_empty() && ms >= Hello::HEARTBEAT_MS_MIN => Ok(ms),
        Some(ms) if reader.is_empty() => {
            Err(invalid(format!("it wants a heartbeat every {ms} ms, which is too often")))
        }
        _ => Err(invalid(format!("malformed heartbeat section of {} bytes", value.len()))),
    }
}

/// Appends a section to `out`.
pub(super) fn put(out: &mut Vec<u8>, tag: u16, value: &[u8]) {
    let len = u16::try_from(value.len()).expect("invariant: a HELLO has at most 4096 bytes");
    out.extend_from_slice(&tag.to_be_bytes());
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(value);
}

/// The next section; `None` if it is cut short.
pub(super) fn take<'a>(reader: &mut Reader<'a>) -> Option<(u16, &'a [u8])> {
    let tag = reader.u16()?;
    let len = reader.u16()?;
    Some((tag, reader.bytes(usize::from(len))?))
}

// docs/formats/hello.md: tags
pub(super) const TAG_SHM: u16 = 1;
pub(super) const TAG_RESUME: u16 = 3;
pub(super) const TAG_HEARTBEAT: u16 = 4;

const SHM_BYTES: usize = 28;
