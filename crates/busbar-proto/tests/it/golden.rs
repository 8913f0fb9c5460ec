//! The golden bytes in docs/formats are what is written and read: the tests take them from the
//! documents, so the two cannot drift apart.

use std::collections::BTreeMap;

use busbar_proto::frame::{Ack, Decoder, Fragment, HEADER_BYTES, Header, Kind, encode};
use busbar_proto::session::{Resume, ResumeToken};
use busbar_proto::{
    Capabilities, CloseReason, Code, Epoch, Hello, Limits, SessionId, ShmParameters, Trust,
    Versions,
};

/// The blocks marked `hex NAME` of a document.
struct Vectors(BTreeMap<String, Vec<u8>>);

impl Vectors {
    fn read(document: &str) -> Self {
        let path = format!("{}/../../docs/formats/{document}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).expect("the document is in the repository");
        let blocks = text.split("\n```hex ").skip(1).map(|block| {
            let (name, rest) = block.split_once('\n').expect("a name");
            let (digits, _) = rest.split_once("\n```").expect("a closed block");
            let byte = |digits| u8::from_str_radix(digits, 16).expect("hexadecimal bytes");
            (name.to_owned(), digits.split_whitespace().map(byte).collect())
        });
        Self(blocks.collect())
    }

    fn take(&mut self, name: &str) -> Vec<u8> {
        self.0.remove(name).unwrap_or_else(|| panic!("no block named {name}"))
    }

    /// Encodes to and decodes from the block called `name`.
    fn check(&mut self, name: &str, header: &Header, payload: &[u8]) {
        let golden = self.take(name);
        let mut wire = Vec::new();
        encode(header, payload, Limits::default(), &mut wire).expect("a valid frame");
        assert_eq!(wire, golden, "{name}");
        let mut decoder = Decoder::new(Limits::default());
        let frame = decoder.decode(&mut &*golden).expect("valid").expect("complete");
        assert_eq!((&frame.header, frame.payload), (header, payload), "{name}");
    }

    fn check_none_left(&self) {
        assert!(self.0.is_empty(), "blocks without a test: {:?}", self.0.keys());
    }
}

/// [D56 D57 D22] frame.md: header, every extension, reasons
#[test]
fn frames_match_their_document() {
    let mut vectors = Vectors::read("frame.md");
    let data = Header { channel: 7, seq: 42, ..Header::new(Kind::Data) };
    let ack = Some(Ack { cumulative: 1000, bitmap: 0x8000_0000_0000_0005 });
    let fragment = Some(Fragment { index: 2, count: 4, total_bytes: 18 });
    let deadline_micros = Some(250_000);
    let type_hash = Some(0x0123_4567_89ab_cdef);
    let far = Header { channel: 0x1234, seq: 0x0102_0304_0506_0708, ..data };
    let full = Header { channel: u16::MAX, seq: u64::MAX, ack, fragment, ..data };
    vectors.check("data-plain", &Header::new(Kind::Data), b"");
    vectors.check("data-payload", &far, b"hello");
    vectors.check("ping", &Header::new(Kind::Ping), b"");
    vectors.check("data-ack", &Header { ack, ..data }, b"");
    vectors.check("data-frag", &Header { fragment, ..data }, b"abcde");
    vectors.check("data-deadline", &Header { deadline_micros, ..data }, b"now");
    vectors.check("data-type", &Header { type_hash, ..data }, b"typed");
    let full = Header { deadline_micros, type_hash, ..full };
    vectors.check("data-every-extension", &full, b"abcde");
    vectors.check("data-reliable", &Header { is_reliable: true, ..data }, b"kept");
    vectors.check("ack", &Header { channel: 7, ack, ..Header::new(Kind::Ack) }, b"");
    vectors.check("skip", &Header { channel: 7, seq: 42, ..Header::new(Kind::Skip) }, b"");
    vectors.check("leave", &Header::new(Kind::Leave), b"");
    vectors.check("probe", &Header { seq: 3, ..Header::new(Kind::Probe) }, b"");
    vectors.check("pong", &Header { seq: 3, ..Header::new(Kind::Pong) }, b"");

    let mut check_reason = |name: &str, kind, code, status, text: &str| {
        let reason = CloseReason { code, status, text: text.to_owned() };
        let payload = reason.encode();
        vectors.check(name, &Header::new(kind), &payload);
        let read = if kind == Kind::Close {
            CloseReason::decode(&payload)
        } else {
            CloseReason::decode_reject(&payload)
        };
        assert_eq!(read.expect("valid"), reason);
    };
    check_reason("close-clean", Kind::Close, None, 0, "");
    check_reason("close-reason", Kind::Close, None, 4001, "match over ✓");
    check_reason("close-code", Kind::Close, Some(Code::Protocol), 0, "bad record");
    let denied = Some(Code::PermissionDenied);
    check_reason("reject", Kind::Reject, denied, 0, "uid 1001 is not allowed");
    vectors.check_none_left();
}

/// [D56 D57] hello.md: with and without an shm section, from later versions
#[test]
fn hellos_match_their_document() {
    let mut vectors = Vectors::read("hello.md");
    let session = SessionId(std::array::from_fn(|index| 0xa0 + index as u8));
    let shm = ShmParameters {
        segment_version: 1,
        trust: Trust::SameUser,
        release_entries: 1024,
        ring_bytes: 1 << 20,
        slab_bytes: 16 << 20,
        page_bytes: 4096,
    };
    let plain = Hello::new(session, Epoch(0), Limits::default());
    let with_shm = Hello { epoch: Epoch(7), shm: Some(shm), ..plain.clone() };
    let hostile = Hello {
        capabilities: Capabilities(1 << 63 | 1),
        epoch: Epoch(u64::MAX),
        limits: Limits::new(4096, 1 << 40).expect("in range"),
        shm: Some(ShmParameters {
            trust: Trust::Hostile,
            release_entries: 512,
            ring_bytes: 1 << 16,
            slab_bytes: 0,
            page_bytes: 16_384,
            ..shm
        }),
        ..plain.clone()
    };
    let mut check_hello = |name: &str, hello: &Hello| {
        vectors.check(name, &Header::new(Kind::Hello), &hello.encode());
        assert_eq!(&Hello::decode(&hello.encode()).expect("valid"), hello);
    };
    check_hello("hello", &plain);
    check_hello("hello-shm", &with_shm);
    let capabilities = Capabilities::HEARTBEAT;
    let heartbeat_ms = Some(10_000);
    check_hello("hello-heartbeat", &Hello { capabilities, heartbeat_ms, ..plain.clone() });
    check_hello("hello-shm-hostile", &hostile);
    let resume = Resume {
        token: ResumeToken(std::array::from_fn(|index| 0xb0 + index as u8)),
        timeout_ms: 30_000,
        window_messages: 1024,
        is_established: true,
        positions: vec![
            (0, Ack { cumulative: 1000, bitmap: 0b101 }),
            (7, Ack { cumulative: 42, bitmap: 0 }),
        ],
    };
    check_hello("hello-resume", &Hello { epoch: Epoch(2), ..plain.clone() }.with_resume(resume));

    let later = vectors.take("hello-later-version");
    let read = Hello::decode(&later[HEADER_BYTES..]).expect("readable as version 1");
    let versions = Versions::new(1, 3).expect("a range");
    assert_eq!(read, Hello { versions, capabilities: Capabilities(0xff00), ..with_shm });

    let other = vectors.take("hello-other-version");
    let error = Hello::decode(&other[HEADER_BYTES..]).expect_err("no common version");
    assert_eq!(error.code(), Code::VersionMismatch);
    vectors.check_none_left();
}
