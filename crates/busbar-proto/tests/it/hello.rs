//! HELLO and reasons: round trips, damage, and what two HELLOs add up to.

use busbar_proto::frame::Ack;
use busbar_proto::session::{Resume, ResumeToken};
use busbar_proto::{
    Agreement, Capabilities, CloseReason, Code, Epoch, Error, Hello, Limits, SessionId,
    ShmParameters, Trust, Versions, negotiate,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::strategy;

fn plain() -> Hello {
    Hello::new(SessionId([5; 16]), Epoch(1), Limits::default())
}

fn with_shm(segment_version: u16) -> Hello {
    let shm = ShmParameters {
        segment_version,
        trust: Trust::SameUser,
        release_entries: 64,
        ring_bytes: 1 << 16,
        slab_bytes: 0,
        page_bytes: 4096,
    };
    Hello { shm: Some(shm), ..plain() }
}

fn with_resume() -> Hello {
    let ack = |cumulative| Ack { cumulative, bitmap: 0 };
    plain().with_resume(Resume {
        token: ResumeToken([7; 16]),
        timeout_ms: 30_000,
        window_messages: 1024,
        is_established: true,
        positions: vec![(0, ack(1)), (3, ack(2))],
    })
}

fn versions(min: u16, max: u16) -> Hello {
    Hello { versions: Versions::new(min, max).expect("a range"), ..plain() }
}

fn refusal(ours: &Hello, theirs: &Hello) -> (Code, String) {
    let error = negotiate(ours, theirs).expect_err("refused");
    (error.code(), error.message().to_owned())
}

/// Both ends find the same error code.
fn check_refused(ours: &Hello, theirs: &Hello, code: Code) {
    assert_eq!((refusal(ours, theirs).0, refusal(theirs, ours).0), (code, code));
}

/// [D56] what both ends can do is what they agree on, whichever of them asks
#[test]
fn agreement_is_what_both_accept() {
    let ours = Hello {
        capabilities: Capabilities(0b0110),
        limits: Limits::new(65_536, 1_000).expect("in range"),
        ..versions(1, 4)
    };
    let theirs = Hello {
        capabilities: Capabilities(1 << 63 | 0b0011),
        limits: Limits::new(8_192, 2_000).expect("in range"),
        ..versions(2, 3)
    };
    let expected = Agreement {
        version: 3,
        capabilities: Capabilities(0b0010),
        limits: Limits::new(8_192, 1_000).expect("in range"),
        heartbeat_ms: None,
    };
    assert_eq!(negotiate(&ours, &theirs).expect("agreed"), expected);
    assert_eq!(negotiate(&theirs, &ours).expect("agreed"), expected);
}

/// [D18 D54] an end says PING as often as its peer asks for, if both know what that is
#[test]
fn heartbeats_are_for_those_who_know_them() {
    let asks = |heartbeat_ms, capabilities| Hello { heartbeat_ms, capabilities, ..plain() };
    let check = |ours: &Hello, theirs: &Hello, expected| {
        assert_eq!(negotiate(ours, theirs).expect("agreed").heartbeat_ms, expected);
    };
    let (knows, new) = (Capabilities::HEARTBEAT, Capabilities(u64::MAX));
    check(&asks(None, knows), &asks(Some(200), new), Some(200));
    check(&asks(Some(200), new), &asks(None, knows), None);
    check(&asks(None, knows), &asks(Some(200), Capabilities(!1)), None);
    check(&plain(), &asks(Some(200), knows), None);
}

/// [D10] a version error names both ranges and the end to upgrade
#[test]
fn version_mismatch_says_who_should_upgrade() {
    let (code, message) = refusal(&versions(1, 1), &versions(2, 3));
    assert_eq!(code, Code::VersionMismatch);
    let expected = "no protocol version in common: this end speaks 1, the peer 2 to 3; \
                    upgrade the busbar package on this side";
    assert_eq!(message, expected);
    let (_, message) = refusal(&versions(2, 3), &versions(1, 1));
    assert!(message.ends_with("on the peer's side"), "{message}");
    let (code, message) = refusal(&with_shm(2), &with_shm(1));
    assert_eq!(code, Code::VersionMismatch);
    let expected = "no shared-memory layout in common: this end uses version 2, the peer 1; \
                    upgrade the busbar package on the peer's side";
    assert_eq!(message, expected);
}

/// [D37] ends of different sessions or transports do not connect
#[test]
fn strangers_are_refused() {
    check_refused(&plain(), &Hello { epoch: Epoch(2), ..plain() }, Code::Protocol);
    let session = SessionId([6; 16]);
    check_refused(&plain(), &Hello { session, ..plain() }, Code::Protocol);
    check_refused(&plain(), &with_shm(1), Code::Protocol);
    check_refused(&with_shm(1), &with_shm(2), Code::VersionMismatch);
    negotiate(&with_shm(1), &with_shm(1)).expect("agreed");
}

/// [D30 D54] a session that survives its connections takes two ends that know of it; ends that do
/// not are told what to do
#[test]
fn sessions_are_kept_at_both_ends_or_at_neither() {
    check_refused(&plain(), &with_resume(), Code::NotSupported);
    let (_, message) = refusal(&plain(), &with_resume());
    assert!(message.ends_with("`reliable` to both ends, or to neither"), "{message}");
    let agreed = negotiate(&with_resume(), &with_resume()).expect("agreed");
    assert!(agreed.capabilities.contains(Capabilities::SESSIONS));
    let unable = Hello { capabilities: Capabilities(!2), ..with_resume() };
    assert_eq!(refusal(&with_resume(), &unable).0, Code::Protocol);
}

/// [D30 D56] each way in which a resume section can be malformed
#[test]
fn malformed_resume_sections_are_refused() {
    let good = with_resume().encode();
    assert_eq!(good.len(), 52 + 4 + 28 + 2 * 18);
    let check = |name: &str, damage: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        damage(&mut bytes);
        let error = Hello::decode(&bytes).expect_err(name);
        assert_eq!(error.code(), Code::Protocol, "{name}: {error}");
    };
    check("window of 0", &|bytes| bytes[76..80].fill(0));
    check("window too large", &|bytes| bytes[76..80].copy_from_slice(&[0, 1, 0, 1]));
    check("unknown flag", &|bytes| bytes[80] = 2);
    check("reserved byte", &|bytes| bytes[81] = 1);
    check("fewer positions than said", &|bytes| bytes[83] = 3);
    check("more positions than said", &|bytes| bytes[83] = 1);
    check("channels out of order", &|bytes| bytes[84..86].copy_from_slice(&[0, 4]));
    check("a channel twice", &|bytes| bytes[84..86].copy_from_slice(&[0, 3]));
    check("two resume sections", &|bytes| bytes.extend_from_within(52..));
    check("too many channels", &|bytes| {
        bytes[54..56].copy_from_slice(&(28u16 + 129 * 18).to_be_bytes());
        bytes[82..84].copy_from_slice(&129u16.to_be_bytes());
        bytes.truncate(84);
        for channel in 0..129u16 {
            bytes.extend_from_slice(&channel.to_be_bytes());
            bytes.extend_from_slice(&[1; 16]);
        }
    });
    for end in 53..good.len() {
        assert_eq!(Hello::decode(&good[..end]).expect_err("cut").code(), Code::Protocol, "{end}");
    }
    assert!(!format!("{:?}", with_resume()).contains("7, 7"), "a log shows no token");
}

/// [D56] each way in which a HELLO can be malformed
#[test]
fn malformed_hellos_are_refused() {
    let good = with_shm(1).encode();
    let check = |name: &str, damage: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        damage(&mut bytes);
        let error = Hello::decode(&bytes).expect_err(name);
        assert_eq!(error.code(), Code::Protocol, "{name}: {error}");
    };
    check("magic", &|bytes| bytes[3] = b'b');
    check("version 0", &|bytes| bytes[5] = 0);
    check("range upside down", &|bytes| bytes[5] = 2);
    check("messages of 0 bytes", &|bytes| bytes[40..48].fill(0));
    check("frames too small for a HELLO", &|bytes| bytes[48..52].copy_from_slice(&[0, 0, 15, 255]));
    check("unknown trust", &|bytes| bytes[58] = 2);
    check("reserved byte", &|bytes| bytes[59] = 1);
    check("shm section too long", &|bytes| {
        bytes[55] += 1;
        bytes.push(0);
    });
    check("shm section too short", &|bytes| {
        bytes[55] -= 1;
        bytes.pop();
    });
    check("two shm sections", &|bytes| bytes.extend_from_within(52..));
    check("heartbeat too often", &|bytes| bytes.extend_from_slice(&[0, 4, 0, 4, 0, 0, 0, 49]));
    check("heartbeat too short", &|bytes| bytes.extend_from_slice(&[0, 4, 0, 3, 0, 0, 50]));
    check("heartbeat too long", &|bytes| bytes.extend_from_slice(&[0, 4, 0, 5, 0, 0, 0, 50, 0]));
    check("two heartbeats", &|bytes| {
        bytes.extend_from_slice(&[0, 4, 0, 4, 0, 0, 0, 50].repeat(2));
    });
    check("too long", &|bytes| {
        bytes.extend_from_slice(&[0x7f, 0xff, 0x0f, 0xa9]);
        bytes.resize(4097, 0);
    });
    for end in 0..good.len() {
        // A HELLO may end before its shm section: that is the HELLO of another transport.
        match Hello::decode(&good[..end]) {
            Ok(hello) => assert_eq!((end, hello), (52, plain())),
            Err(error) => assert_eq!(error.code(), Code::Protocol, "{end} bytes"),
        }
    }
}

/// [D10] limits that could not carry a HELLO or a message are the caller's mistake
#[test]
fn too_small_limits_are_refused() {
    let code = |result: Result<Limits, Error>| result.expect_err("too small").code();
    assert_eq!(code(Limits::new(4_095, 1)), Code::InvalidArgument);
    assert_eq!(code(Limits::new(4_096, 0)), Code::InvalidArgument);
    let least = Limits::new(4_096, 1).expect("the least");
    assert_eq!(least.frame_payload_bytes_max(), Limits::CONTROL.frame_payload_bytes_max());
    assert_eq!(Versions::new(0, 1).expect_err("no version 0").code(), Code::InvalidArgument);
}

proptest! {
    /// [D56] HELLOs and reasons come out as they went in, and agree with themselves
    #[test]
    fn round_trips(hello in strategy::hello(), reason in strategy::reason()) {
        let read = Hello::decode(&hello.encode()).expect("our own HELLO");
        prop_assert_eq!(&read, &hello);
        prop_assert_eq!(negotiate(&read, &hello).expect("agreed").limits, hello.limits);
        prop_assert_eq!(CloseReason::decode(&reason.encode()).expect("our own reason"), reason);
    }

    /// [D56] unknown sections are skipped wherever they stand
    #[test]
    fn unknown_sections_are_skipped(
        hello in strategy::hello(),
        tag in 5u16..,
        value in vec(any::<u8>(), 0..1500),
        in_front in any::<bool>(),
    ) {
        let mut section = tag.to_be_bytes().to_vec();
        section.extend_from_slice(&(value.len() as u16).to_be_bytes());
        section.extend_from_slice(&value);
        let mut bytes = hello.encode();
        let at = if in_front { 52 } else { bytes.len() };
        bytes.splice(at..at, section);
        prop_assert_eq!(Hello::decode(&bytes).expect("valid"), hello);
    }

    /// [D56] damaged and arbitrary payloads are read or refused, never worse
    #[test]
    fn damage_never_panics(
        hello in strategy::hello(),
        noise in vec(any::<u8>(), 0..200),
        index in any::<proptest::sample::Index>(),
        value in any::<u8>(),
    ) {
        let mut bytes = hello.encode();
        let index = index.index(bytes.len());
        bytes[index] = value;
        bytes.extend_from_slice(&noise);
        for end in 0..=bytes.len() {
            if let Err(error) = Hello::decode(&bytes[..end]) {
                prop_assert!(matches!(error.code(), Code::Protocol | Code::VersionMismatch));
            }
        }
        for payload in [&noise[..], &bytes[..]] {
            if let Ok(reason) = CloseReason::decode(payload) {
                prop_assert_eq!(CloseReason::decode(&reason.encode()).expect("ours"), reason);
            }
        }
    }
}
