//! Frames: limits, rules between fields, streams cut anywhere, and bytes that are no frames.

use busbar_proto::frame::{
    Ack, Decoder, Fragment, Frame, Header, Kind, Plain, encode, encode_plain, first, first_plain,
    set_deadline,
};
use busbar_proto::{Code, Error, Limits};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::strategy;

fn wire(header: &Header, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode(header, payload, Limits::default(), &mut out).expect("a valid frame");
    out
}

/// Feeds `chunks` one after the other and returns every frame.
fn decode_all<'a>(
    limits: Limits,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<(Header, Vec<u8>)>, Error> {
    let mut decoder = Decoder::new(limits);
    let mut frames = Vec::new();
    for mut chunk in chunks {
        while let Some(frame) = decoder.decode(&mut chunk)? {
            frames.push((frame.header, frame.payload.to_vec()));
        }
        assert!(chunk.is_empty(), "no frame means that the input is used up");
    }
    Ok(frames)
}

/// [D58] 65,536 bytes pass at both ends, 65,537 at neither
#[test]
fn default_payload_limit() {
    let limits = Limits::default();
    let header = Header::new(Kind::Data);
    let largest = wire(&header, &vec![1; 65_536]);
    assert_eq!(decode_all(limits, [&largest[..]]).expect("at the limit")[0].1.len(), 65_536);

    let mut out = vec![9];
    let error = encode(&header, &vec![1; 65_537], limits, &mut out).expect_err("beyond the limit");
    assert_eq!((error.code(), &out[..]), (Code::MessageTooLarge, &[9][..]));

    let mut announced = largest[..16].to_vec();
    announced[..4].copy_from_slice(&65_537u32.to_be_bytes());
    let error = decode_all(limits, [&announced[..]]).expect_err("refused on its header alone");
    assert_eq!(error.code(), Code::MessageTooLarge);
    announced[..4].copy_from_slice(&u32::MAX.to_be_bytes());
    let error = decode_all(limits, [&announced[..]]).expect_err("refused on its header alone");
    assert_eq!(error.code(), Code::MessageTooLarge);
}

/// [D58] a message may not exceed its limit by coming in fragments
#[test]
fn message_limit_holds_across_fragments() {
    let limits = Limits::new(65_536, 100_000).expect("in range");
    let check = |total_bytes| {
        let fragment = Some(Fragment { index: 0, count: 2, total_bytes });
        let header = Header { fragment, ..Header::new(Kind::Data) };
        let sent = encode(&header, b"x", limits, &mut Vec::new());
        let read = decode_all(limits, [&wire(&header, b"x")[..]]);
        let code = |error: Error| error.code();
        assert_eq!(sent.map_err(code), read.map(drop).map_err(code));
        encode(&header, b"x", limits, &mut Vec::new())
    };
    check(100_000).expect("at the limit");
    assert_eq!(check(100_001).expect_err("beyond").code(), Code::MessageTooLarge);
}

/// [D58] before the HELLOs are exchanged, 4,096 bytes are the most that a stranger may send
#[test]
fn control_limits() {
    let check = |kind: Kind, payload_bytes: usize| {
        let bytes = wire(&Header::new(kind), &vec![1; payload_bytes]);
        decode_all(Limits::CONTROL, [&bytes[..]]).map(|frames| frames.len()).map_err(|e| e.code())
    };
    assert_eq!(check(Kind::Hello, 4_096), Ok(1));
    assert_eq!(check(Kind::Hello, 4_097), Err(Code::MessageTooLarge));
    assert_eq!(check(Kind::Data, 1), Err(Code::Protocol));
    assert_eq!(check(Kind::Skip, 0), Err(Code::Protocol));
    assert_eq!(check(Kind::Data, 4_097), Err(Code::MessageTooLarge));
}

/// [D56 D57] every kind and flag that is unknown or reserved is refused
#[test]
fn unknown_kinds_and_flags_are_breaches() {
    let good = wire(&Header::new(Kind::Data), b"");
    let check = |offset: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[offset] = value;
        decode_all(Limits::default(), [&bytes[..]]).map(drop).map_err(|error| error.code())
    };
    for kind in 0..=u8::MAX {
        // ACK is known, but lacks its extension here.
        let is_whole = [1, 2, 3, 5, 6, 7, 8, 9, 10].contains(&kind);
        let expected = if is_whole { Ok(()) } else { Err(Code::Protocol) };
        assert_eq!(check(4, kind), expected, "kind {kind}");
    }
    for flags in 0..=u8::MAX {
        // Known flags only leave the frame waiting for its extensions.
        let expected = if flags < 0x20 { Ok(()) } else { Err(Code::Protocol) };
        assert_eq!(check(5, flags), expected, "flags {flags:#x}");
    }
}

/// [D57] rules between fields hold for sender and receiver
#[test]
fn inconsistent_headers_are_refused() {
    let check = |header: Header, payload: &[u8]| {
        let error = encode(&header, payload, Limits::default(), &mut Vec::new());
        assert_eq!(error.expect_err("refused").code(), Code::InvalidArgument, "{header:?}");
    };
    check(Header { channel: 1, ..Header::new(Kind::Hello) }, b"");
    check(Header { seq: 1, ..Header::new(Kind::Close) }, b"");
    check(Header { type_hash: Some(0), ..Header::new(Kind::Reject) }, b"");
    check(Header::new(Kind::Ping), b"x");
    check(Header { is_reliable: true, ..Header::new(Kind::Close) }, b"");
    let ack = Some(Ack { cumulative: 1, bitmap: 0 });
    check(Header::new(Kind::Ack), b"");
    check(Header { ack, ..Header::new(Kind::Ack) }, b"x");
    check(Header { ack, seq: 1, ..Header::new(Kind::Ack) }, b"");
    check(Header { ack, is_reliable: true, ..Header::new(Kind::Ack) }, b"");
    check(Header { ack, ..Header::new(Kind::Skip) }, b"");
    check(Header::new(Kind::Skip), b"x");
    check(Header { channel: 1, ..Header::new(Kind::Probe) }, b"");
    check(Header::new(Kind::Pong), b"x");
    check(Header { seq: 1, ..Header::new(Kind::Leave) }, b"");
    let check_fragment = |index: u32, count: u32, total_bytes: u64, payload: &[u8]| {
        let fragment = Some(Fragment { index, count, total_bytes });
        check(Header { fragment, ..Header::new(Kind::Data) }, payload);
        // The same as the peer would send it: valid bytes with the fragment's fields replaced.
        let valid = Some(Fragment { index: 0, count: 2, total_bytes: 1_000 });
        let mut bytes = wire(&Header { fragment: valid, ..Header::new(Kind::Data) }, b"123");
        bytes.splice(16..20, index.to_be_bytes());
        bytes.splice(20..24, count.to_be_bytes());
        bytes.splice(24..32, total_bytes.to_be_bytes());
        bytes.splice(32.., payload.iter().copied());
        bytes.splice(0..4, (payload.len() as u32).to_be_bytes());
        let error = decode_all(Limits::default(), [&bytes[..]]).expect_err("refused");
        assert_eq!(error.code(), Code::Protocol, "{fragment:?}");
    };
    check_fragment(0, 0, 3, b"123");
    check_fragment(2, 2, 9, b"123");
    check_fragment(0, 2, 9, b"");
    check_fragment(0, 2, 3, b"123");
    check_fragment(0, 1, 4, b"123");
    check_fragment(0, u32::MAX, 5_000, b"123");
}

proptest! {
    /// [D56 D57] frames come out as they went in, wherever the stream is cut into two
    #[test]
    fn round_trip_at_every_split(frames in vec(strategy::frame(), 1..4)) {
        let bytes: Vec<u8> = frames.iter().flat_map(|(h, payload)| wire(h, payload)).collect();
        for split in 0..=bytes.len() {
            let (front, back) = bytes.split_at(split);
            let decoded = decode_all(Limits::default(), [front, back]).expect("valid frames");
            prop_assert_eq!(&decoded, &frames);
        }
        let decoded = decode_all(Limits::default(), bytes.chunks(1)).expect("valid frames");
        prop_assert_eq!(&decoded, &frames);
    }

    /// [D56 D57] the short way of plain messages finds what the long one finds, and nothing else,
    /// wherever the stream is cut, and writes the same
    #[test]
    fn plain_messages_go_the_short_way(
        (header, payload) in strategy::frame(),
        changes in vec((any::<proptest::sample::Index>(), any::<u8>()), 0..2),
    ) {
        let limits = Limits::new(4096, 200).expect("valid limits");
        let mut bytes = wire(&header, &payload);
        let plain = Header { channel: header.channel, seq: header.seq, ..Header::new(Kind::Data) };
        if header == plain {
            let mut out = Vec::new();
            let fits = encode_plain(header.channel, header.seq, &payload, limits, &mut out);
            let same = if fits { &bytes[..] } else { &[] };
            prop_assert_eq!((fits, &out[..]), (payload.len() <= 200, same));
        }
        for (index, value) in changes {
            let index = index.index(bytes.len());
            bytes[index] = value;
        }
        for end in 0..=bytes.len() {
            let long = match first(&bytes[..end], limits) {
                Ok(Some((Frame { header, payload }, _))) => {
                    let Header { channel, seq, .. } = header;
                    let plain = Header { channel, seq, ..Header::new(Kind::Data) };
                    (header == plain).then_some(Plain { channel, payload })
                }
                _ => None,
            };
            prop_assert_eq!(first_plain(&bytes[..end], limits), long);
        }
        prop_assert_eq!(first_plain(&bytes, Limits::CONTROL), None);
    }

    /// [D56] a stream that stops inside a frame yields the frames before it and no other
    #[test]
    fn truncated_streams_yield_whole_frames_only(
        (first, second) in (strategy::frame(), strategy::frame()),
    ) {
        let front = wire(&first.0, &first.1);
        let back = wire(&second.0, &second.1);
        for end in 0..back.len() {
            let bytes = [&front[..], &back[..end]].concat();
            let decoded = decode_all(Limits::default(), [&bytes[..]]).expect("nothing invalid");
            prop_assert_eq!(&decoded, std::slice::from_ref(&first));
        }
    }

    /// [D56] whatever arrives and however it is cut: the same frames or the same error, no panic,
    /// and every frame within the limits
    #[test]
    fn arbitrary_and_mutated_bytes_never_panic(
        frames in vec(strategy::frame(), 1..4),
        noise in vec(any::<u8>(), 0..80),
        changes in vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut bytes: Vec<u8> = frames.iter().flat_map(|(h, payload)| wire(h, payload)).collect();
        bytes.extend(noise);
        for (index, value) in changes {
            let index = index.index(bytes.len());
            bytes[index] = value;
        }
        let outcome = |result: Result<_, Error>| result.map_err(|error| error.to_string());
        let whole = outcome(decode_all(Limits::default(), [&bytes[..]]));
        for split in 0..=bytes.len() {
            let (front, back) = bytes.split_at(split);
            prop_assert_eq!(&outcome(decode_all(Limits::default(), [front, back])), &whole);
        }
        for (header, payload) in whole.into_iter().flatten() {
            prop_assert!(encode(&header, &payload, Limits::default(), &mut Vec::new()).is_ok());
        }
    }
}

/// [D26] what a frame says of its deadline is replaced in place, behind whatever else it has, and
/// nothing is changed in a frame without one
#[test]
fn deadlines_are_replaced_in_place() {
    let ack = Some(Ack { cumulative: 7, bitmap: 9 });
    let fragment = Some(Fragment { index: 0, count: 1, total_bytes: 3 });
    for (ack, fragment) in [(None, None), (ack, None), (None, fragment), (ack, fragment)] {
        let plain = Header { ack, fragment, type_hash: Some(5), ..Header::new(Kind::Data) };
        let with = |micros| Header { deadline_micros: Some(micros), ..plain };
        let mut bytes = wire(&with(u64::MAX), b"abc");
        set_deadline(&mut bytes, 42);
        assert_eq!(bytes, wire(&with(42), b"abc"));
        let mut bytes = wire(&plain, b"abc");
        set_deadline(&mut bytes, 42);
        assert_eq!(bytes, wire(&plain, b"abc"));
    }
}
