//! Frames from anybody, cut anywhere: the same frames come out however the stream was cut, and each
//! can be encoded again, to the bytes that it was.

#![no_main]

use busbar_proto::Limits;
use busbar_proto::frame::{Decoder, Header, encode};
use libfuzzer_sys::fuzz_target;

type Frames = Vec<(Header, Vec<u8>)>;

/// What comes out of a stream in pieces of so many bytes, and whether it ends in a breach.
fn decode(bytes: &[u8], piece: usize) -> (Frames, bool) {
    let mut decoder = Decoder::new(Limits::default());
    let mut frames = Vec::new();
    for mut input in bytes.chunks(piece) {
        loop {
            match decoder.decode(&mut input) {
                Ok(Some(frame)) => frames.push((frame.header, frame.payload.to_vec())),
                Ok(None) => break,
                Err(_) => return (frames, true),
            }
        }
    }
    (frames, false)
}

fuzz_target!(|data: &[u8]| {
    let whole = decode(data, data.len().max(1));
    for piece in [1, 7, 4096] {
        assert_eq!(decode(data, piece), whole);
    }
    let mut wire = Vec::new();
    for (header, payload) in &whole.0 {
        encode(header, payload, Limits::default(), &mut wire).expect("it was decoded");
    }
    assert_eq!(wire, data[..wire.len()]);
});
