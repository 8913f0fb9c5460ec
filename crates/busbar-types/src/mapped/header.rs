//! The 64 bytes in front of the archive (docs/formats/mapped.md): bytes in, two numbers out, and
//! back. Touches no file.

use std::ops::Range;

/// Where the archive begins.
pub(super) const HEADER_BYTES: usize = 64;

/// Not text in any encoding, and broken by whatever converts line ends.
const MAGIC: [u8; 8] = *b"\x89busbar\n";
const VERSION: u16 = 1;

/// Relative pointers reach no further, so no archive is longer.
pub(super) const ARCHIVE_BYTES_MAX: u64 = i32::MAX as u64;

const AT_MAGIC: Range<usize> = 0..8;
const AT_VERSION: Range<usize> = 8..10;
const AT_HEADER_BYTES: Range<usize> = 10..12;
const AT_SCHEMA_HASH: Range<usize> = 16..24;
const AT_ARCHIVE_BYTES: Range<usize> = 24..32;
const AT_RESERVED: [Range<usize>; 2] = [12..16, 32..64];

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) schema_hash: u64,
    pub(super) archive_bytes: u64,
}

impl Header {
    pub(super) fn encode(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[AT_MAGIC].copy_from_slice(&MAGIC);
        bytes[AT_VERSION].copy_from_slice(&VERSION.to_le_bytes());
        bytes[AT_HEADER_BYTES].copy_from_slice(&(HEADER_BYTES as u16).to_le_bytes());
        bytes[AT_SCHEMA_HASH].copy_from_slice(&self.schema_hash.to_le_bytes());
        bytes[AT_ARCHIVE_BYTES].copy_from_slice(&self.archive_bytes.to_le_bytes());
        bytes
    }

    /// The header of a file of `file_bytes`, or what is wrong with it.
    pub(super) fn decode(bytes: &[u8; HEADER_BYTES], file_bytes: u64) -> Result<Self, String> {
        if bytes[AT_MAGIC] != MAGIC {
            return Err(String::from("it is no mapped file: its first bytes are not the magic"));
        }
        let version = number(bytes, AT_VERSION);
        if version != u64::from(VERSION) {
            return Err(format!("it has version {version}, but {VERSION} is what is known here"));
        }
        let header_bytes = number(bytes, AT_HEADER_BYTES);
        if header_bytes != HEADER_BYTES as u64 {
            return Err(format!("its header is {header_bytes} bytes long instead of 64"));
        }
        if AT_RESERVED.into_iter().any(|range| bytes[range].iter().any(|byte| *byte != 0)) {
            return Err(String::from("reserved bytes of its header are not 0"));
        }
        let schema_hash = number(bytes, AT_SCHEMA_HASH);
        let archive_bytes = number(bytes, AT_ARCHIVE_BYTES);
        if archive_bytes.checked_add(header_bytes) != Some(file_bytes) {
            return Err(format!(
                "it has {file_bytes} bytes, but its header announces 64 and {archive_bytes}"
            ));
        }
        if archive_bytes > ARCHIVE_BYTES_MAX {
            return Err(format!(
                "its archive has {archive_bytes} bytes, more than the {ARCHIVE_BYTES_MAX} that \
                 archives have at most"
            ));
        }
        Ok(Self { schema_hash, archive_bytes })
    }
}

/// The little-endian number of up to eight bytes at `range`.
fn number(bytes: &[u8; HEADER_BYTES], range: Range<usize>) -> u64 {
    bytes[range].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The golden header of docs/formats/mapped.md.
    const GOLDEN: &str = "896275736261720a 0100400000000000 228d53aab1540e80 3000000000000000";

    /// [T35] the header is, byte for byte, the one that is documented
    #[test]
    fn the_header_is_as_documented() {
        let header = Header { schema_hash: 0x800e_54b1_aa53_8d22, archive_bytes: 48 };
        let bytes = header.encode();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, GOLDEN.replace(' ', "") + &"00".repeat(32));
        assert_eq!(Header::decode(&bytes, 112), Ok(header));
    }

    /// [T35] what announces more bytes than archives have is refused before anything is mapped
    #[test]
    fn archives_end_where_pointers_do() {
        let of = |archive_bytes| Header { schema_hash: 7, archive_bytes };
        let largest = of(ARCHIVE_BYTES_MAX);
        assert_eq!(Header::decode(&largest.encode(), ARCHIVE_BYTES_MAX + 64), Ok(largest));
        for archive_bytes in [ARCHIVE_BYTES_MAX + 1, 32 << 30] {
            let refused = Header::decode(&of(archive_bytes).encode(), archive_bytes + 64);
            assert!(refused.is_err_and(|why| why.contains("at most")), "{archive_bytes}");
        }
    }

    /// [T35] a change of any byte but those of the hash is refused, and so is another length
    #[test]
    fn headers_are_refused_unless_every_byte_is_right() {
        let header = Header { schema_hash: 7, archive_bytes: 48 };
        for at in 0..HEADER_BYTES {
            let mut bytes = header.encode();
            bytes[at] ^= 0x10;
            assert_eq!(Header::decode(&bytes, 112).is_ok(), AT_SCHEMA_HASH.contains(&at), "{at}");
        }
        for file_bytes in [0, 63, 64, 111, 113, u64::MAX] {
            assert!(Header::decode(&header.encode(), file_bytes).is_err(), "{file_bytes}");
        }
        let endless = Header { archive_bytes: u64::MAX, ..header };
        assert!(Header::decode(&endless.encode(), 63).is_err(), "64 + 2^64 - 1 wraps to 63");
    }
}
