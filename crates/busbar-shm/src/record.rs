//! The record: how one message lies in a ring, and in the runs that callers hand over.
//!
//! docs/formats/record.md draws the layout. Parsing works on private bytes only; nothing here
//! looks at memory that a peer can write.

/// Bytes of a record header.
pub const HEADER_BYTES: usize = 8;

/// Records start at multiples of this.
pub const ALIGN: usize = 8;

/// The largest payload that travels inside a ring record; larger ones go through the slab.
pub const INLINE_MAX: usize = 1024;

/// What the payload of a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a new kind is a new segment version")]
#[repr(u8)]
pub enum Kind {
    /// The message itself.
    Inline = 0,
    /// A slab chunk that holds the message.
    Chunk = 1,
    /// The first piece of a large message, after its total length (u64).
    FragmentFirst = 2,
    /// A following piece.
    FragmentNext = 3,
    /// The message under way was given up.
    Abandon = 4,
    /// When the message that follows is of no more use.
    Deadline = 5,
}

/// The eight bytes in front of every payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Payload bytes, without padding.
    pub length: u32,
    /// The channel the message belongs to.
    pub channel: u16,
    /// What the payload is.
    pub kind: Kind,
}

impl Header {
    /// The header as it lies in memory.
    #[must_use]
    #[inline]
    pub fn encode(self) -> [u8; HEADER_BYTES] {
        let [l0, l1, l2, l3] = self.length.to_le_bytes();
        let [c0, c1] = self.channel.to_le_bytes();
        [l0, l1, l2, l3, c0, c1, self.kind as u8, 0]
    }

    /// Reads a header; `None` if the kind is unknown or the reserved byte is set.
    #[must_use]
    #[inline]
    pub fn decode(bytes: [u8; HEADER_BYTES]) -> Option<Self> {
        let [l0, l1, l2, l3, c0, c1, kind, reserved] = bytes;
        let kind = match kind {
            0 => Kind::Inline,
            1 => Kind::Chunk,
            2 => Kind::FragmentFirst,
            3 => Kind::FragmentNext,
            4 => Kind::Abandon,
            5 => Kind::Deadline,
            _ => return None,
        };
        (reserved == 0).then(|| Self {
            length: u32::from_le_bytes([l0, l1, l2, l3]),
            channel: u16::from_le_bytes([c0, c1]),
            kind,
        })
    }

    /// Bytes from the start of this record to the start of the next.
    #[must_use]
    #[inline]
    pub fn stride(self) -> usize {
        stride(self.length as usize)
    }
}

/// Bytes that a record with a payload of `len` takes.
#[must_use]
#[inline]
pub const fn stride(len: usize) -> usize {
    HEADER_BYTES + len.next_multiple_of(ALIGN)
}

/// The whole records at the front of `bytes`, and nothing after the first that is cut or invalid.
#[must_use]
pub fn records(bytes: &[u8]) -> Records<'_> {
    Records { bytes, at: 0 }
}

/// Iterator of [`records`]: headers with the offset of their payload.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Records<'_> {
    /// Offset of the first byte not yet taken as a record.
    #[must_use]
    #[inline]
    pub fn position(&self) -> usize {
        self.at
    }
}

impl Iterator for Records<'_> {
    type Item = (Header, usize);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let header = self.bytes.get(self.at..)?.first_chunk::<HEADER_BYTES>()?;
        let header = Header::decode(*header)?;
        let payload = self.at + HEADER_BYTES;
        let end = self.at.checked_add(header.stride())?;
        (end <= self.bytes.len()).then(|| {
            self.at = end;
            (header, payload)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [D42] [D57] The golden bytes that docs/formats/record.md shows.
    #[test]
    fn header_has_the_documented_bytes() {
        let header = Header { length: 0x0102_0304, channel: 0x0506, kind: Kind::Chunk };
        assert_eq!(header.encode(), [4, 3, 2, 1, 6, 5, 1, 0]);
        assert_eq!(Header::decode(header.encode()), Some(header));
        let document = include_str!("../../../docs/formats/record.md");
        assert!(document.contains("`04 03 02 01 06 05 01 00`"));
    }

    /// [D42]
    #[test]
    fn unknown_kinds_and_reserved_bits_are_refused() {
        assert_eq!(Header::decode([0, 0, 0, 0, 0, 0, 6, 0]), None);
        assert_eq!(Header::decode([0, 0, 0, 0, 0, 0, 0, 1]), None);
    }

    /// [D42]
    #[test]
    fn strides_are_multiples_of_eight() {
        for (len, bytes) in [(0, 8), (1, 16), (8, 16), (9, 24), (1024, 1032)] {
            assert_eq!(stride(len), bytes, "{len}");
        }
        let longest = Header { length: u32::MAX, channel: 0, kind: Kind::Inline };
        assert_eq!(longest.stride(), HEADER_BYTES + (1 << 32));
        assert_eq!(records(&longest.encode()).next(), None);
    }

    /// [D42]
    #[test]
    fn iteration_stops_at_a_cut_record() {
        let mut run = Vec::new();
        for payload in [&b"abc"[..], b"", b"0123456789"] {
            let length = u32::try_from(payload.len()).unwrap();
            run.extend(Header { length, channel: 7, kind: Kind::Inline }.encode());
            run.extend(payload);
            run.resize(run.len().next_multiple_of(ALIGN), 0);
        }
        let mut all = records(&run);
        assert_eq!(
            all.by_ref().map(|(h, at)| (h.length, at)).collect::<Vec<_>>(),
            [(3, 8), (0, 24), (10, 32)]
        );
        assert_eq!(all.position(), run.len());
        assert_eq!(records(&run[..run.len() - 1]).count(), 2);
        assert_eq!(records(&run[..20]).count(), 1);
    }
}
