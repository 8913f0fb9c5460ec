//! Messages that are one frame without extensions, as nearly all small ones are: read and written
//! without asking for what they do not have. What is refused here, [`super::first`] and
//! [`super::encode`] judge.

use super::{HEADER_BYTES, Kind};
use crate::limits::Limits;

/// A received message that is one frame without extensions and belongs to no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain<'a> {
    /// The channel that it came on.
    pub channel: u16,
    /// The whole of it.
    pub payload: &'a [u8],
}

impl Plain<'_> {
    /// Bytes of its frame.
    #[inline]
    #[must_use]
    pub fn frame_bytes(&self) -> usize {
        HEADER_BYTES + self.payload.len()
    }
}

/// The message at the front of `input`, if it is a plain one, within the limits, and there as a
/// whole; otherwise [`super::first`] knows what there is.
#[inline]
#[must_use]
pub fn first_plain(input: &[u8], limits: Limits) -> Option<Plain<'_>> {
    let (fixed, rest) = input.split_first_chunk::<HEADER_BYTES>()?;
    let [l0, l1, l2, l3, KIND, 0, c0, c1, ..] = *fixed else { return None };
    let payload_bytes = u32::from_be_bytes([l0, l1, l2, l3]);
    let payload = rest.get(..payload_bytes as usize)?;
    let channel = u16::from_be_bytes([c0, c1]);
    fits(payload_bytes, limits).then_some(Plain { channel, payload })
}

/// Appends a plain message to `out`; `false` if it exceeds the limits.
#[inline]
pub fn encode_plain(
    channel: u16,
    seq: u64,
    payload: &[u8],
    limits: Limits,
    out: &mut Vec<u8>,
) -> bool {
    let Ok(payload_bytes) = u32::try_from(payload.len()) else { return false };
    if !fits(payload_bytes, limits) {
        return false;
    }
    let [l0, l1, l2, l3] = payload_bytes.to_be_bytes();
    let [c0, c1] = channel.to_be_bytes();
    let [s0, s1, s2, s3, s4, s5, s6, s7] = seq.to_be_bytes();
    let head = [l0, l1, l2, l3, KIND, 0, c0, c1, s0, s1, s2, s3, s4, s5, s6, s7];
    out.reserve(HEADER_BYTES + payload.len());
    out.extend_from_slice(&head);
    out.extend_from_slice(payload);
    true
}

/// Whether a message of this size may be one frame here.
#[inline]
fn fits(payload_bytes: u32, limits: Limits) -> bool {
    let message_max = limits.message_bytes_max();
    payload_bytes <= limits.frame_payload_bytes_max()
        && u64::from(payload_bytes) <= message_max
        && message_max > 0
}

const KIND: u8 = Kind::Data as u8;
