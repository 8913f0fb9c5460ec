//! Cuts a byte stream back into frames, however the stream was cut on its way.
//!
//! A frame that lies whole in the input is handed out in place. One that does not is put together
//! in a buffer of the decoder's own, which grows with what has arrived and never beyond one frame.

use super::{Frame, Head, Header, parse_head};
use crate::limits::Limits;
use crate::{Code, Error};

/// Decodes the frames of one direction of one connection.
///
/// ```
/// use busbar_proto::Limits;
/// use busbar_proto::frame::{Decoder, Header, Kind, encode};
///
/// let mut wire = Vec::new();
/// encode(&Header::new(Kind::Data), b"one", Limits::default(), &mut wire)?;
/// encode(&Header::new(Kind::Data), b"two", Limits::default(), &mut wire)?;
///
/// let mut decoder = Decoder::new(Limits::default());
/// let mut input = &wire[..];
/// let mut payloads = Vec::new();
/// while let Some(frame) = decoder.decode(&mut input)? {
///     payloads.push(frame.payload.to_vec());
/// }
/// assert_eq!(payloads, [b"one", b"two"]);
/// # Ok::<(), busbar_proto::Error>(())
/// ```
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    /// The beginning of a frame whose end is still to come, or a frame handed out last.
    partial: Vec<u8>,
    handed_out: bool,
    failed: Option<Error>,
}

impl Decoder {
    /// A decoder at the beginning of a stream.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self { limits, partial: Vec::new(), handed_out: false, failed: None }
    }

    /// Takes bytes off the front of `input` up to the end of the next frame, and returns that
    /// frame. `None`: all of `input` is taken and the frame is not complete.
    ///
    /// # Errors
    /// `MessageTooLarge` if a frame or its message exceeds the limits, `Protocol` if a frame is
    /// malformed, `OutOfMemory`. Where the next frame would begin is then unknown, so every later
    /// call returns the same error.
    pub fn decode<'f, 'i: 'f>(
        &'f mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<Frame<'f>>, Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        match self.advance(input) {
            Ok(None) => Ok(None),
            Ok(Some((header, Place::Input(payload)))) => Ok(Some(Frame { header, payload })),
            Ok(Some((header, Place::Partial { start }))) => {
                Ok(Some(Frame { header, payload: &self.partial[start..] }))
            }
            Err(error) => {
                self.partial = Vec::new();
                self.failed = Some(error.clone());
                Err(error)
            }
        }
    }

    fn advance<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<(Header, Place<'i>)>, Error> {
        if self.handed_out {
            self.handed_out = false;
            self.partial.clear();
        }
        if self.partial.is_empty()
            && let Head::Complete { header, head_bytes, payload_bytes } =
                parse_head(input, self.limits)?
            && let Some((frame, rest)) = input.split_at_checked(head_bytes + payload_bytes)
        {
            *input = rest;
            return Ok(Some((header, Place::Input(&frame[head_bytes..]))));
        }
        loop {
            let needed = match parse_head(&self.partial, self.limits)? {
                Head::Incomplete { needed } => needed,
                Head::Complete { header, head_bytes, payload_bytes } => {
                    let frame_bytes = head_bytes + payload_bytes;
                    if self.partial.len() == frame_bytes {
                        self.handed_out = true;
                        return Ok(Some((header, Place::Partial { start: head_bytes })));
                    }
                    frame_bytes
                }
            };
            if input.is_empty() {
                return Ok(None);
            }
            self.gather(needed, input)?;
        }
    }

    /// Moves bytes from `input` to the buffer until that holds `needed` or the input is empty.
    fn gather(&mut self, needed: usize, input: &mut &[u8]) -> Result<(), Error> {
        let held = self.partial.len();
        let (taken, rest) = input.split_at(input.len().min(needed - held));
        if self.partial.capacity() - held < taken.len() {
            // Room in proportion to what has arrived: an announced length alone costs nothing.
            let room = (2 * held).clamp(held + taken.len(), needed);
            self.partial.try_reserve_exact(room - held).map_err(|error| {
                let message = format!("no memory for a frame of {needed} bytes");
                Error::new(Code::OutOfMemory, message).with_source(error)
            })?;
        }
        self.partial.extend_from_slice(taken);
        *input = rest;
        Ok(())
    }
}

/// Where the payload of a decoded frame lies.
enum Place<'i> {
    Input(&'i [u8]),
    Partial { start: usize },
}

#[cfg(test)]
mod tests {
    use super::super::{HEAD_BYTES_MAX, HEADER_BYTES, Kind, encode};
    use super::*;

    fn data(payload: &[u8]) -> Vec<u8> {
        let mut wire = Vec::new();
        encode(&Header::new(Kind::Data), payload, Limits::default(), &mut wire)
            .expect("a valid frame");
        wire
    }

    /// [D58] an announced length alone reserves nothing, and no frame makes the buffer outgrow it
    #[test]
    fn buffer_grows_with_what_arrives_and_never_past_one_frame() {
        let payload_max = Limits::default().frame_payload_bytes_max() as usize;
        let wire = data(&vec![7; payload_max]);
        let mut decoder = Decoder::new(Limits::default());
        for (index, byte) in wire.chunks(1).enumerate() {
            let frame = decoder.decode(&mut &*byte).expect("a valid stream");
            assert_eq!(frame.is_some(), index + 1 == wire.len());
            let capacity = decoder.partial.capacity();
            assert!(capacity <= (2 * (index + 1)).max(HEADER_BYTES), "{capacity} at {index}");
            assert!(capacity <= HEAD_BYTES_MAX + payload_max);
        }
    }

    /// [D56] a frame that is whole in the input is not copied
    #[test]
    fn whole_frames_are_handed_out_in_place() {
        let wire = data(b"in place");
        let mut decoder = Decoder::new(Limits::default());
        let mut input = &wire[..];
        let frame = decoder.decode(&mut input).expect("valid").expect("complete");
        assert_eq!(frame.payload.as_ptr(), wire[HEADER_BYTES..].as_ptr());
        assert!(input.is_empty() && decoder.partial.capacity() == 0);
    }

    /// [D56] after a breach the decoder stays failed and holds no memory
    #[test]
    fn a_failed_decoder_stays_failed() {
        let mut wire = data(b"fine");
        wire[4] = 0xee;
        let mut decoder = Decoder::new(Limits::default());
        assert!(decoder.decode(&mut &wire[..10]).expect("no breach yet").is_none());
        let first = decoder.decode(&mut &wire[10..]).expect_err("kind 238").to_string();
        assert_eq!(decoder.decode(&mut &data(b"fine")[..]).expect_err("stays").to_string(), first);
        assert_eq!(decoder.partial.capacity(), 0);
    }
}
