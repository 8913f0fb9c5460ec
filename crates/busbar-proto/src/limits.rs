//! How large a frame and a message may be. Each end announces what it accepts in its HELLO; the
//! smaller of the two holds for the connection.

use crate::{Code, Error};

/// Bounds on what a connection carries, checked before anything is allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    frame_payload_bytes_max: u32,
    message_bytes_max: u64,
}

impl Limits {
    /// A connection must at least carry a HELLO of the largest size, which is also the least that
    /// may be announced.
    pub const FRAME_PAYLOAD_BYTES_MIN: u32 = 4096;

    /// For a connection that carries nothing but HELLO, REJECT and CLOSE, and for any connection
    /// until the HELLOs have been exchanged: a stranger can make an end hold 4 KiB, no more, and
    /// DATA is a breach.
    pub const CONTROL: Self =
        Self { frame_payload_bytes_max: Self::FRAME_PAYLOAD_BYTES_MIN, message_bytes_max: 0 };

    /// Limits of this size.
    ///
    /// # Errors
    /// `InvalidArgument` if frames could not carry a HELLO or messages not a single byte.
    pub fn new(frame_payload_bytes_max: u32, message_bytes_max: u64) -> Result<Self, Error> {
        if frame_payload_bytes_max < Self::FRAME_PAYLOAD_BYTES_MIN || message_bytes_max == 0 {
            let message = format!(
                "limits of {frame_payload_bytes_max} bytes a frame and {message_bytes_max} a \
                 message are too small: at least {} and 1 are needed",
                Self::FRAME_PAYLOAD_BYTES_MIN
            );
            return Err(Error::new(Code::InvalidArgument, message));
        }
        Ok(Self { frame_payload_bytes_max, message_bytes_max })
    }

    /// The largest payload of one frame.
    #[must_use]
    pub const fn frame_payload_bytes_max(self) -> u32 {
        self.frame_payload_bytes_max
    }

    /// The largest message, whole or put together from fragments.
    #[must_use]
    pub const fn message_bytes_max(self) -> u64 {
        self.message_bytes_max
    }

    /// What both ends accept.
    #[must_use]
    pub fn smaller(self, other: Self) -> Self {
        Self {
            frame_payload_bytes_max: self
                .frame_payload_bytes_max
                .min(other.frame_payload_bytes_max),
            message_bytes_max: self.message_bytes_max.min(other.message_bytes_max),
        }
    }
}

impl Default for Limits {
    /// 64 KiB a frame, 16 MiB a message.
    fn default() -> Self {
        Self { frame_payload_bytes_max: 65_536, message_bytes_max: 16 << 20 }
    }
}
