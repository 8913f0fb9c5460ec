//! Why a connection ended or was turned away: the payload of CLOSE and REJECT frames, drawn in
//! docs/formats/frame.md. Code, status and text reach the peer's program as they were given.

use std::fmt;

use crate::reader::Reader;
use crate::{Code, Error};

/// The reason of a CLOSE or a REJECT.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloseReason {
    /// What went wrong; `None` for an orderly close.
    pub code: Option<Code>,
    /// A number whose meaning belongs to the application; 0 if it gave none.
    pub status: u32,
    /// For a person; what exceeds [`CloseReason::TEXT_BYTES_MAX`] is cut off when it is sent.
    pub text: String,
}

impl CloseReason {
    /// What an end is told whose peer was not able to say why it ended.
    #[must_use]
    pub fn lost() -> Self {
        let text = "the peer ended without closing: it crashed, was killed or exited";
        Self { code: Some(Code::ConnectionLost), status: 0, text: text.to_owned() }
    }

    /// The longest text that is sent, in bytes of UTF-8.
    pub const TEXT_BYTES_MAX: usize = 1024;

    /// The payload of the CLOSE or REJECT frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let text = truncated(&self.text, Self::TEXT_BYTES_MAX);
        let mut out = Vec::with_capacity(6 + text.len());
        out.extend_from_slice(&self.code.map_or(0, Code::number).to_be_bytes());
        out.extend_from_slice(&self.status.to_be_bytes());
        out.extend_from_slice(text.as_bytes());
        out
    }

    /// Reads the payload of a CLOSE frame. A code that a newer peer knows and this version does
    /// not is read as [`Code::Closed`].
    ///
    /// # Errors
    /// `Protocol` if the payload is cut short, too long or not UTF-8.
    pub fn decode(payload: &[u8]) -> Result<Self, Error> {
        Self::parse(payload, "CLOSE", |number| match number {
            0 => None,
            _ => Some(Code::from_number(number).unwrap_or(Code::Closed)),
        })
    }

    /// Reads the payload of a REJECT frame. A missing or unknown code is read as
    /// [`Code::ConnectionRefused`]: nobody is turned away in an orderly manner.
    ///
    /// # Errors
    /// As [`CloseReason::decode`].
    pub fn decode_reject(payload: &[u8]) -> Result<Self, Error> {
        Self::parse(payload, "REJECT", |number| {
            Some(Code::from_number(number).unwrap_or(Code::ConnectionRefused))
        })
    }

    fn parse(
        payload: &[u8],
        frame: &str,
        code: impl FnOnce(u16) -> Option<Code>,
    ) -> Result<Self, Error> {
        let invalid =
            |what| Error::new(Code::Protocol, format!("invalid {frame} from the peer: {what}"));
        let mut reader = Reader::new(payload);
        let (Some(number), Some(status)) = (reader.u16(), reader.u32()) else {
            return Err(invalid("it is cut short"));
        };
        let text = reader.rest();
        if text.len() > Self::TEXT_BYTES_MAX {
            return Err(invalid("its text is longer than 1024 bytes"));
        }
        let text = str::from_utf8(text)
            .map_err(|error| invalid("its text is not UTF-8").with_source(error))?;
        Ok(Self { code: code(number), status, text: text.to_owned() })
    }
}

impl fmt::Display for CloseReason {
    /// `closed`, or as much of `ERR_IO: "text" (status 7)` as there is. The text is quoted and its
    /// control characters are escaped, since it may come from elsewhere.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code.map_or("closed", Code::as_str))?;
        if !self.text.is_empty() {
            write!(f, ": {:?}", self.text)?;
        }
        if self.status != 0 {
            write!(f, " (status {})", self.status)?;
        }
        Ok(())
    }
}

/// The longest prefix of at most `bytes_max` bytes that ends between characters.
fn truncated(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [D22] a long text is cut between characters, and the rest arrives
    #[test]
    fn long_text_is_cut_at_a_character() {
        let cut = |text: String| {
            let sent = CloseReason { text, ..CloseReason::default() }.encode();
            CloseReason::decode(&sent).expect("our own payload").text.len()
        };
        assert_eq!(cut("x".repeat(1024)), 1024);
        assert_eq!(cut("x".repeat(1025)), 1024);
        assert_eq!(cut("é".repeat(600)), 1024);
        assert_eq!(cut(format!("x{}", "é".repeat(600))), 1023);
        assert_eq!(cut(format!("xx{}", "🚌".repeat(300))), 1022);
    }

    /// [D22] what the peer may not send
    #[test]
    fn malformed_payloads_are_protocol_errors() {
        let check = |payload: &[u8]| {
            let error = CloseReason::decode(payload).expect_err("malformed");
            assert_eq!(error.code(), Code::Protocol);
            CloseReason::decode_reject(payload).expect_err("malformed");
        };
        check(&[]);
        check(&[0; 5]);
        check(&[0, 0, 0, 0, 0, 0, 0xff]);
        check(&[0; 6 + 1025]);
    }

    /// [D22] a newer peer's code does not make its reason unreadable
    #[test]
    fn unknown_codes() {
        let payload = [0xff, 0xff, 0, 0, 0, 9, b'o', b'h'];
        let close = CloseReason::decode(&payload).expect("valid");
        assert_eq!(close.to_string(), "ERR_CLOSED: \"oh\" (status 9)");
        let reject = CloseReason::decode_reject(&payload).expect("valid");
        assert_eq!(reject.code, Some(Code::ConnectionRefused));
        let reject = CloseReason::decode_reject(&[0; 6]).expect("valid");
        assert_eq!(reject.code, Some(Code::ConnectionRefused));
    }

    /// [D22] reasons as a person reads them; a peer's text cannot forge a line of a log
    #[test]
    fn display() {
        let text = |code, status, text: &str| {
            CloseReason { code, status, text: text.to_owned() }.to_string()
        };
        assert_eq!(text(None, 0, ""), "closed");
        assert_eq!(text(None, 3, "bye"), "closed: \"bye\" (status 3)");
        assert_eq!(text(Some(Code::Io), 0, "a\nb"), "ERR_IO: \"a\\nb\"");
    }
}
