//! Plain messages one after the other, which is what a stream of small messages consists of: looked
//! at and handed out many at a time.

use busbar_proto::Limits;
use busbar_proto::frame::first_plain;

use crate::inbox::Inbox;

/// Frames one behind the other, each of them a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Run {
    /// Bytes of the frames.
    pub(super) bytes: usize,
    pub(super) messages: usize,
    /// Bytes of the messages.
    pub(super) payload_bytes: usize,
}

impl Run {
    #[inline]
    fn add(&mut self, frame_bytes: usize, payload_bytes: usize) {
        self.bytes += frame_bytes;
        self.messages += 1;
        self.payload_bytes += payload_bytes;
    }
}

/// The plain messages at the front of `received`.
pub(super) fn scan(received: &[u8], limits: Limits) -> Run {
    let mut run = Run::default();
    while let Some(plain) = first_plain(&received[run.bytes..], limits) {
        run.add(plain.frame_bytes(), plain.payload.len());
    }
    run
}

/// Copies up to `max` of the plain messages at the front of `frames` into `inbox`, while there is
/// room and none is larger than `copy_max`.
pub(super) fn deliver(
    frames: &[u8],
    limits: Limits,
    inbox: &mut Inbox<'_>,
    (max, copy_max): (usize, usize),
) -> Run {
    let mut run = Run::default();
    let max = max.min(inbox.slots_left());
    let mut filler = inbox.filler();
    while run.messages < max {
        let Some(plain) = first_plain(&frames[run.bytes..], limits) else { break };
        let len = plain.payload.len();
        if len > copy_max || !filler.push_copy(plain.channel, plain.payload) {
            break;
        }
        run.add(plain.frame_bytes(), len);
    }
    run
}
