//! What can go wrong with shared memory.

use std::fmt;

/// A failure of this crate.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The peer wrote something into its segment that no correct peer writes. The connection must
    /// be given up. Not retryable.
    Breach(Breach),
    /// The peer's segment is not what it announced: wrong size, not sealed, not a memfd. Not
    /// retryable.
    Geometry(&'static str),
    /// The caller offers what the call does not take: a run that is not a sequence of whole inline
    /// records, a loan that is too short or of another channel, or another message while one is
    /// under way. Nothing was sent.
    Run,
    /// The operating system refused. Retryable when it lacked memory or descriptors.
    Os(&'static str, rustix::io::Errno),
}

/// How a peer broke the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Breach {
    /// A chunk descriptor points outside the slab.
    Chunk,
    /// Fragments out of order, too many bytes, or a record between them.
    Fragment,
    /// A message that this process has no memory for, though its size was agreed.
    Memory,
    /// A position moved backwards, beyond the other end, or off its alignment.
    Position,
    /// A record is cut, too long, or of an unknown kind.
    Record,
    /// A chunk was given back that is not on loan, or twice.
    Release,
}

impl Breach {
    /// What the peer did, to follow "the peer".
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chunk => "sent a chunk descriptor that points outside its slab",
            Self::Fragment => "sent fragments that do not add up to one message",
            Self::Memory => "sent a message that this process has no memory for",
            Self::Position => "moved a ring position to where it cannot be",
            Self::Record => "wrote a record that is cut, too long or of an unknown kind",
            Self::Release => "gave back a chunk that it did not have",
        }
    }
}

impl From<Breach> for Error {
    fn from(breach: Breach) -> Self {
        Self::Breach(breach)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Breach(breach) => write!(f, "the peer {}", breach.as_str()),
            Self::Geometry(what) => write!(f, "the peer's segment {what}"),
            Self::Run => {
                f.write_str("the run, loan or message is not one that may be sent here and now")
            }
            Self::Os(what, errno) => write!(f, "{what}: {errno}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Os(_, errno) => Some(errno),
            Self::Breach(_) | Self::Geometry(_) | Self::Run => None,
        }
    }
}
