//! What speaks at the other end, if it is not Busbar: said in the error, as the usual reason is an
//! address with another port.

use busbar_proto::{Code, Error};

/// So many bytes are enough to know a protocol by, and to show.
const SHOWN_BYTES: usize = 24;

// docs/formats/frame.md: where the kind is, and which there are.
const KIND_AT: usize = 4;
const KINDS: std::ops::RangeInclusive<u8> = 1..=10;

/// How the first bytes of others begin, and what they are.
const KNOWN: &[(&[u8], &str)] = &[
    (b"HTTP/", "HTTP"),
    (b"GET ", "HTTP"),
    (b"POST ", "HTTP"),
    (b"PUT ", "HTTP"),
    (b"HEAD ", "HTTP"),
    (b"OPTIONS ", "HTTP"),
    (b"PRI * HTTP/2", "HTTP/2"),
    (b"SSH-", "SSH"),
    (b"220 ", "SMTP or FTP"),
    (b"220-", "SMTP or FTP"),
    (b"-ERR", "Redis or POP3"),
    (b"+OK", "Redis or POP3"),
    // The signature of ZMTP 2 and later: a length of eight bytes between 0xff and 0x7f.
    (b"\xff\0\0\0\0\0\0\0", "ZeroMQ"),
    (b"AMQP", "AMQP"),
];

/// How a connection has begun, as far as that is of interest.
#[derive(Default)]
pub(super) struct Beginning(Vec<u8>);

impl Beginning {
    /// Notes what has come.
    pub(super) fn note(&mut self, bytes: &[u8]) {
        let more = SHOWN_BYTES - self.0.len();
        self.0.extend_from_slice(bytes.get(..more).unwrap_or(bytes));
    }

    /// The error for a peer that broke the rules of frames before it had introduced itself: with
    /// what it said instead, unless that was a frame.
    pub(super) fn judge(&self, breach: Error) -> Error {
        let is_frame = self.0.get(KIND_AT).is_some_and(|kind| KINDS.contains(kind));
        let known = KNOWN.iter().find(|(beginning, _)| self.0.starts_with(beginning));
        if breach.code() != Code::Protocol || (is_frame && known.is_none()) {
            return breach;
        }
        foreign(&self.0, known.map(|(_, name)| *name), &breach)
    }
}

fn foreign(first: &[u8], known: Option<&str>, breach: &Error) -> Error {
    let shown = first.escape_ascii();
    let looks = known.map_or_else(String::new, |name| format!(", which looks like {name}"));
    let message = format!(
        "the peer does not speak Busbar: it began with \"{shown}\"{looks}; is the address right? \
         ({breach})",
        breach = breach.message()
    );
    Error::new(Code::Protocol, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_named() {
        let breach = Error::new(Code::Protocol, "unknown kind 47");
        let said = |first: &[u8]| {
            let mut beginning = Beginning::default();
            // It may come in pieces.
            first.chunks(7).for_each(|piece| beginning.note(piece));
            beginning.judge(breach.clone()).message().to_owned()
        };
        let http = said(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n");
        assert!(http.contains("\"HTTP/1.1 400 Bad Request\", which looks like HTTP;"), "{http}");
        assert!(http.ends_with("(unknown kind 47)"), "{http}");
        let zmtp = said(b"\xff\0\0\0\0\0\0\0\x01\x7f\x03");
        assert!(zmtp.contains(r"\xff\x00") && zmtp.contains("ZeroMQ"), "{zmtp}");
        let other = said(b"hi\r\n");
        assert!(other.contains(r#""hi\r\n"; is the address right?"#), "{other}");
        assert_eq!(said(b"\0\0\0\0\x03\0\0\0"), breach.message(), "a frame, if a wrong one");
        let mut silent = Beginning::default();
        silent.note(b"HTTP/1.1 400 Bad Request");
        let large = Error::new(Code::MessageTooLarge, "a frame of 2 GiB");
        assert_eq!(silent.judge(large).code(), Code::MessageTooLarge);
    }
}
