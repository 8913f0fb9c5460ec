//! Frames: the unit of every byte stream between two ends, and its encoding.
//!
//! A frame is a fixed header, the extensions that the header's flags announce, and a payload:
//! docs/formats/frame.md. What the payload means is not known here. The shared-memory transport
//! uses frames on its bootstrap socket only; its rings hold records.

mod decoder;
mod plain;

pub use decoder::Decoder;
pub use plain::{Plain, encode_plain, first_plain};

use crate::limits::Limits;
use crate::reader::Reader;
use crate::{Code, Error};

/// What a frame is for. Numbers that are missing here are reserved in docs/formats/frame.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Kind {
    /// Opens a connection: [`crate::Hello`].
    Hello = 1,
    /// Turns a connection away: [`crate::CloseReason`].
    Reject = 2,
    /// A message, or a fragment of one.
    Data = 3,
    /// Acknowledges messages of a session: its ACK extension is all it has.
    Ack = 4,
    /// Says that its sender lives. No payload.
    Ping = 5,
    /// Answers a PROBE: it has the same `seq`.
    Pong = 6,
    /// Ends a connection: [`crate::CloseReason`].
    Close = 7,
    /// What is missing of a session's channel below `seq` will not come.
    Skip = 8,
    /// Is to be answered at once with PONG.
    Probe = 9,
    /// Says that its sender receives no more of the session.
    Leave = 10,
}

/// Everything in a frame but its payload. The flags byte is not a field: it says which of the
/// optional fields are present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the frame is for.
    pub kind: Kind,
    /// The channel of the message; 0 for kinds that are not about a channel.
    pub channel: u16,
    /// The message's place in its channel; a number that says which PROBE it is.
    pub seq: u64,
    /// Whether the message belongs to the connection's session, which counts its channels apart:
    /// see [`crate::session`].
    pub is_reliable: bool,
    /// What the sender of this frame has received.
    pub ack: Option<Ack>,
    /// Which part of a message the payload is; absent if it is the whole of it.
    pub fragment: Option<Fragment>,
    /// Microseconds left until the message is of no more use, counted from now: a duration, so
    /// that the two ends need no common clock.
    pub deadline_micros: Option<u64>,
    /// Hash of the schema that the payload was written with.
    pub type_hash: Option<u64>,
}

/// Acknowledgement of messages on the frame's channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Every sequence number below this one has been received.
    pub cumulative: u64,
    /// Bit `i` set: `cumulative + 1 + i` has been received as well.
    pub bitmap: u64,
}

/// One part of a message that does not fit into a frame. No part is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Which part this is, from 0.
    pub index: u32,
    /// How many parts there are.
    pub count: u32,
    /// Bytes of the whole message.
    pub total_bytes: u64,
}

/// A received frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its header and extensions.
    pub header: Header,
    /// Its payload, within the limits the decoder was made with.
    pub payload: &'a [u8],
}

/// Bytes of the fixed header.
pub const HEADER_BYTES: usize = 16;

/// The most that comes before a payload: the header and every extension.
pub const HEAD_BYTES_MAX: usize = HEADER_BYTES + 16 + 16 + 8 + 8;

/// Appends one frame to `out`.
///
/// # Errors
/// `MessageTooLarge` if the payload exceeds `limits`, `InvalidArgument` if the header breaks a
/// rule of docs/formats/frame.md. `out` is then unchanged.
pub fn encode(
    header: &Header,
    payload: &[u8],
    limits: Limits,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    out.reserve(HEAD_BYTES_MAX + payload.len());
    encode_head(header, payload.len(), limits, out)?;
    out.extend_from_slice(payload);
    Ok(())
}

/// Appends what comes before a payload of `payload_bytes`, for senders that leave the payload
/// where it is.
///
/// # Errors
/// As [`encode`].
pub fn encode_head(
    header: &Header,
    payload_bytes: usize,
    limits: Limits,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let payload_bytes = check_payload(payload_bytes, limits)?;
    check(header, payload_bytes, limits, Code::InvalidArgument)?;
    out.extend_from_slice(&payload_bytes.to_be_bytes());
    out.extend_from_slice(&[header.kind as u8, header.flags()]);
    out.extend_from_slice(&header.channel.to_be_bytes());
    out.extend_from_slice(&header.seq.to_be_bytes());
    if let Some(ack) = header.ack {
        out.extend_from_slice(&ack.cumulative.to_be_bytes());
        out.extend_from_slice(&ack.bitmap.to_be_bytes());
    }
    if let Some(fragment) = header.fragment {
        out.extend_from_slice(&fragment.index.to_be_bytes());
        out.extend_from_slice(&fragment.count.to_be_bytes());
        out.extend_from_slice(&fragment.total_bytes.to_be_bytes());
    }
    for word in [header.deadline_micros, header.type_hash].into_iter().flatten() {
        out.extend_from_slice(&word.to_be_bytes());
    }
    Ok(())
}

/// The frame at the front of `input` and its bytes, head included; `None` if it is not there as a
/// whole. For receivers that hold what has arrived in one piece; others use a [`Decoder`].
///
/// # Errors
/// As [`Decoder::decode`], except `OutOfMemory`.
#[inline]
pub fn first(input: &[u8], limits: Limits) -> Result<Option<(Frame<'_>, usize)>, Error> {
    let Head::Complete { header, head_bytes, payload_bytes } = parse_head(input, limits)? else {
        return Ok(None);
    };
    let end = head_bytes + payload_bytes;
    let frame = input.get(head_bytes..end).map(|payload| Frame { header, payload });
    Ok(frame.map(|frame| (frame, end)))
}

/// Bytes of the frame that begins with `fixed`, which this end has encoded itself.
#[must_use]
#[inline]
pub fn encoded_bytes(fixed: &[u8; HEADER_BYTES]) -> usize {
    let [l0, l1, l2, l3, _, flags, ..] = *fixed;
    HEADER_BYTES + extension_bytes(flags) + u32::from_be_bytes([l0, l1, l2, l3]) as usize
}

/// Replaces what the DEADLINE extension of a whole, valid frame says, if it has one: for a receiver
/// that keeps the frame, and counts from another instant.
pub fn set_deadline(frame: &mut [u8], micros: u64) {
    let Some(&flags) = frame.get(FLAGS_AT).filter(|&flags| flags & FLAG_DEADLINE != 0) else {
        return;
    };
    let at = HEADER_BYTES + extension_bytes(flags & (FLAG_ACK | FLAG_FRAG));
    if let Some(place) = frame.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *place = micros.to_be_bytes();
    }
}

impl Header {
    /// A header of this kind on channel 0 without extensions.
    #[must_use]
    pub const fn new(kind: Kind) -> Self {
        Self {
            kind,
            channel: 0,
            seq: 0,
            is_reliable: false,
            ack: None,
            fragment: None,
            deadline_micros: None,
            type_hash: None,
        }
    }

    fn flags(&self) -> u8 {
        let flag = |present: bool, bit: u8| if present { bit } else { 0 };
        flag(self.ack.is_some(), FLAG_ACK)
            | flag(self.fragment.is_some(), FLAG_FRAG)
            | flag(self.deadline_micros.is_some(), FLAG_DEADLINE)
            | flag(self.type_hash.is_some(), FLAG_TYPE)
            | flag(self.is_reliable, FLAG_RELIABLE)
    }
}

impl Kind {
    fn from_number(number: u8) -> Option<Self> {
        let kind = match number {
            1 => Self::Hello,
            2 => Self::Reject,
            3 => Self::Data,
            4 => Self::Ack,
            5 => Self::Ping,
            6 => Self::Pong,
            7 => Self::Close,
            8 => Self::Skip,
            9 => Self::Probe,
            10 => Self::Leave,
            _ => return None,
        };
        Some(kind)
    }
}

/// Header and extensions as far as they have arrived.
enum Head {
    /// The frame cannot be judged further before it has this many bytes.
    Incomplete { needed: usize },
    /// The header is valid; the payload begins at `head_bytes`.
    Complete { header: Header, head_bytes: usize, payload_bytes: usize },
}

/// Reads the head of a frame from its first bytes. Each part is judged as soon as it is there, so
/// that nothing is buffered on the word of a bad header.
fn parse_head(bytes: &[u8], limits: Limits) -> Result<Head, Error> {
    let Some((fixed, extensions)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Ok(Head::Incomplete { needed: HEADER_BYTES });
    };
    let (mut header, flags, payload_bytes) = parse_fixed(fixed)?;
    check_payload(payload_bytes as usize, limits)?;
    let Some(head_bytes) = parse_extensions(extensions, flags, &mut header) else {
        return Ok(Head::Incomplete { needed: HEADER_BYTES + extension_bytes(flags) });
    };
    check(&header, payload_bytes, limits, Code::Protocol)?;
    Ok(Head::Complete { header, head_bytes, payload_bytes: payload_bytes as usize })
}

/// The fixed header, its flags and the announced payload length.
fn parse_fixed(fixed: &[u8; HEADER_BYTES]) -> Result<(Header, u8, u32), Error> {
    let [l0, l1, l2, l3, kind, flags, c0, c1, seq @ ..] = *fixed;
    let Some(known) = Kind::from_number(kind) else {
        return Err(broken(format!("unknown kind {kind}")));
    };
    if flags & !FLAGS_KNOWN != 0 {
        return Err(broken(format!("unknown flags {:#04x}", flags & !FLAGS_KNOWN)));
    }
    let header = Header {
        channel: u16::from_be_bytes([c0, c1]),
        seq: u64::from_be_bytes(seq),
        is_reliable: flags & FLAG_RELIABLE != 0,
        ..Header::new(known)
    };
    Ok((header, flags, u32::from_be_bytes([l0, l1, l2, l3])))
}

/// Reads the extensions that `flags` announce into `header` and returns where the payload begins;
/// `None` if they have not all arrived.
fn parse_extensions(bytes: &[u8], flags: u8, header: &mut Header) -> Option<usize> {
    let mut reader = Reader::new(bytes.get(..extension_bytes(flags))?);
    if flags & FLAG_ACK != 0 {
        header.ack = Some(Ack { cumulative: reader.u64()?, bitmap: reader.u64()? });
    }
    if flags & FLAG_FRAG != 0 {
        header.fragment = Some(Fragment {
            index: reader.u32()?,
            count: reader.u32()?,
            total_bytes: reader.u64()?,
        });
    }
    if flags & FLAG_DEADLINE != 0 {
        header.deadline_micros = Some(reader.u64()?);
    }
    if flags & FLAG_TYPE != 0 {
        header.type_hash = Some(reader.u64()?);
    }
    Some(HEADER_BYTES + extension_bytes(flags))
}

const fn extension_bytes(flags: u8) -> usize {
    let mut bytes = 0;
    if flags & FLAG_ACK != 0 {
        bytes += 16;
    }
    if flags & FLAG_FRAG != 0 {
        bytes += 16;
    }
    if flags & FLAG_DEADLINE != 0 {
        bytes += 8;
    }
    if flags & FLAG_TYPE != 0 {
        bytes += 8;
    }
    bytes
}

fn check_payload(payload_bytes: usize, limits: Limits) -> Result<u32, Error> {
    let max = limits.frame_payload_bytes_max();
    match u32::try_from(payload_bytes) {
        Ok(bytes) if bytes <= max => Ok(bytes),
        _ => Err(Error::new(
            Code::MessageTooLarge,
            format!("a frame's payload of {payload_bytes} bytes exceeds the limit of {max}"),
        )),
    }
}

/// The rules of docs/formats/frame.md that hold between fields; `breach` is whose fault it is.
fn check(header: &Header, payload_bytes: u32, limits: Limits, breach: Code) -> Result<(), Error> {
    let fail = |message: &'static str| Err(Error::new(breach, message));
    let Header { kind, channel, seq, ack, .. } = *header;
    let is_plain = match kind {
        Kind::Data => true,
        Kind::Ack => {
            let plain = Header { channel, ack, ..Header::new(kind) };
            *header == plain && ack.is_some() && payload_bytes == 0
        }
        Kind::Skip => *header == Header { channel, seq, ..Header::new(kind) } && payload_bytes == 0,
        Kind::Probe | Kind::Pong => {
            *header == Header { seq, ..Header::new(kind) } && payload_bytes == 0
        }
        Kind::Ping | Kind::Leave => *header == Header::new(kind) && payload_bytes == 0,
        Kind::Hello | Kind::Reject | Kind::Close => *header == Header::new(kind),
    };
    if !is_plain {
        return fail("invalid frame: it has fields that its kind does not have, or lacks one");
    }
    if matches!(kind, Kind::Hello | Kind::Reject | Kind::Ping | Kind::Close) {
        return Ok(());
    }
    if limits.message_bytes_max() == 0 {
        return fail("invalid frame: its kind has no place where no messages are carried");
    }
    let message_bytes = header.fragment.map_or(u64::from(payload_bytes), |f| f.total_bytes);
    if message_bytes > limits.message_bytes_max() {
        let max = limits.message_bytes_max();
        let message = format!("a message of {message_bytes} bytes exceeds the limit of {max}");
        return Err(Error::new(Code::MessageTooLarge, message));
    }
    let Some(fragment) = header.fragment else { return Ok(()) };
    if fragment.index >= fragment.count {
        return fail("invalid frame: a fragment's index must be below its count");
    }
    // Every other fragment has at least one byte, so this also bounds the count.
    let others = u64::from(fragment.count - 1);
    if payload_bytes == 0 || u64::from(payload_bytes) + others > fragment.total_bytes {
        return fail("invalid frame: fragments must be non-empty and no longer than their message");
    }
    if others == 0 && u64::from(payload_bytes) != fragment.total_bytes {
        return fail("invalid frame: an only fragment must be the whole message");
    }
    Ok(())
}

fn broken(what: String) -> Error {
    Error::new(Code::Protocol, format!("invalid frame from the peer: {what}"))
}

/// Where the flags are.
const FLAGS_AT: usize = 5;

// docs/formats/frame.md: flags, in the order of their extensions.
const FLAG_ACK: u8 = 0x01;
const FLAG_FRAG: u8 = 0x02;
const FLAG_DEADLINE: u8 = 0x04;
const FLAG_TYPE: u8 = 0x08;
// Announces no extension.
const FLAG_RELIABLE: u8 = 0x10;
const FLAGS_KNOWN: u8 = FLAG_ACK | FLAG_FRAG | FLAG_DEADLINE | FLAG_TYPE | FLAG_RELIABLE;

const _: () = assert!(HEADER_BYTES + extension_bytes(FLAGS_KNOWN) == HEAD_BYTES_MAX);
