//! Messages that arrive in fragments, put together.
//!
//! A stream keeps its order, so the fragments of a message come one after the other, though
//! messages of several channels may be interleaved. A message that begins on a channel gives up
//! the one that is unfinished there: its sender has done so.
//!
//! What is under way is bounded in number and in bytes, before memory is taken, by what its first
//! fragments announce. Memory grows with what has come, unless there is some to be used again. What
//! does not grow for long is freed; the rest of it, should it come after all, is skipped.

use busbar_proto::frame::{Fragment, Header};
use busbar_proto::{Code, Error};

use crate::block::{self, Block};

/// Messages that may be under way at once.
const UNDER_WAY_MAX: usize = 64;

/// Memory that a message begins with.
const BYTES_MIN: usize = 64 * 1024;

/// What a fragment has made of its message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// More of it follows.
    Unfinished,
    /// This was the last of one that was given up because nothing came for too long.
    Skipped,
    Whole(Block),
}

pub(super) struct Assemblies {
    under_way: Vec<Assembly>,
    /// Bytes that they may come to together.
    bytes_max: u64,
    /// Messages that were given up because nothing came for too long.
    pub(super) expired: u64,
}

struct Assembly {
    channel: u16,
    seq: u64,
    /// Whether its sender counts on it to arrive.
    is_reliable: bool,
    /// Index of the fragment that comes next.
    next: u32,
    count: u32,
    total: usize,
    /// Bytes that have come.
    held: usize,
    /// Those, unless they were given up.
    bytes: Option<Vec<u8>>,
    /// Something has come since the last look.
    has_grown: bool,
}

impl Assemblies {
    /// With room for messages of `bytes_max` together.
    pub(super) fn new(bytes_max: u64) -> Self {
        Self { under_way: Vec::new(), bytes_max, expired: 0 }
    }

    /// Gives up all of them.
    pub(super) fn clear(&mut self) {
        self.under_way = Vec::new();
    }

    /// Whether nothing is under way.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Adds a fragment whose header the decoder has checked.
    ///
    /// # Errors
    /// `Protocol` if it does not belong here, `OutOfMemory`.
    pub(super) fn add(
        &mut self,
        header: &Header,
        fragment: Fragment,
        payload: &[u8],
    ) -> Result<Progress, Error> {
        if fragment.index == 0 {
            self.begin(header, fragment)?;
        }
        let found = self.under_way.iter().position(|it| it.channel == header.channel);
        let Some(at) = found else { return Err(stray()) };
        let assembly = &mut self.under_way[at];
        let expected = (assembly.seq, assembly.next, assembly.count, assembly.total as u64);
        if (header.seq, fragment.index, fragment.count, fragment.total_bytes) != expected {
            return Err(stray());
        }
        // Each of those that follow has a byte at least, and the last has no more than is left.
        let others = (assembly.count - 1 - fragment.index) as usize;
        let held = assembly.held + payload.len();
        if held + others > assembly.total || (others == 0 && held != assembly.total) {
            return Err(Error::new(Code::Protocol, "the peer's fragments do not add up"));
        }
        assembly.append(payload)?;
        if others > 0 {
            return Ok(Progress::Unfinished);
        }
        let bytes = self.under_way.swap_remove(at).bytes;
        Ok(bytes.map_or(Progress::Skipped, |bytes| Progress::Whole(bytes.into())))
    }

    /// Whether a message is unfinished that may expire.
    pub(super) fn has_unfinished(&self) -> bool {
        self.under_way.iter().any(|it| it.bytes.is_some())
    }

    /// Gives up what has not grown since the last look; whether a message of a session was among
    /// it.
    pub(super) fn expire(&mut self) -> bool {
        let mut has_reliable = false;
        for assembly in &mut self.under_way {
            if !std::mem::replace(&mut assembly.has_grown, false) && assembly.bytes.is_some() {
                assembly.bytes = None;
                self.expired += 1;
                has_reliable |= assembly.is_reliable;
            }
        }
        has_reliable
    }

    /// Forgets the unfinished message of a channel, if there is one.
    #[inline]
    pub(super) fn give_up(&mut self, channel: u16) {
        if !self.under_way.is_empty() {
            self.under_way.retain(|assembly| assembly.channel != channel);
        }
    }

    fn begin(&mut self, header: &Header, fragment: Fragment) -> Result<(), Error> {
        self.give_up(header.channel);
        let announced: u64 = {
            let held = self.under_way.iter().filter(|it| it.bytes.is_some());
            held.map(|it| it.total as u64).sum()
        };
        let bytes = announced.saturating_add(fragment.total_bytes);
        if self.under_way.len() == UNDER_WAY_MAX || bytes > self.bytes_max {
            let (count, max) = (self.under_way.len() + 1, self.bytes_max);
            let message = format!(
                "the peer has {count} unfinished messages of {bytes} bytes under way; a pipe may \
                 have {UNDER_WAY_MAX} of {max} (maxReassemblyBytes)"
            );
            return Err(Error::new(Code::Protocol, message));
        }
        let total =
            usize::try_from(fragment.total_bytes).map_err(|_| no_memory(fragment.total_bytes))?;
        self.under_way.push(Assembly {
            channel: header.channel,
            seq: header.seq,
            is_reliable: header.is_reliable,
            next: 0,
            count: fragment.count,
            total,
            held: 0,
            bytes: Some(block::take(total).unwrap_or_default()),
            has_grown: true,
        });
        Ok(())
    }
}

impl Assembly {
    /// Adds the next fragment, which fits.
    fn append(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.next += 1;
        self.held += payload.len();
        self.has_grown = true;
        let Some(bytes) = &mut self.bytes else { return Ok(()) };
        if bytes.capacity() < self.held {
            let grown = (2 * bytes.capacity()).max(BYTES_MIN).max(self.held).min(self.total);
            bytes
                .try_reserve_exact(grown - bytes.len())
                .map_err(|error| no_memory(self.total as u64).with_source(error))?;
        }
        bytes.extend_from_slice(payload);
        Ok(())
    }
}

fn no_memory(total_bytes: u64) -> Error {
    Error::new(Code::OutOfMemory, format!("no memory for a message of {total_bytes} bytes"))
}

fn stray() -> Error {
    Error::new(Code::Protocol, "the peer sent a fragment that continues no message")
}

#[cfg(test)]
mod tests {
    use busbar_proto::frame::Kind;

    use super::Progress::{Skipped, Unfinished};
    use super::*;

    fn add(
        assemblies: &mut Assemblies,
        (channel, seq): (u16, u64),
        (index, count, total_bytes): (u32, u32, u64),
        payload: &[u8],
    ) -> Result<Progress, Error> {
        let header = Header { channel, seq, ..Header::new(Kind::Data) };
        let fragment = Fragment { index, count, total_bytes };
        assemblies.add(&header, fragment, payload)
    }

    fn whole(bytes: &'static [u8]) -> Progress {
        Progress::Whole(bytes.to_vec().into())
    }

    fn assemblies() -> Assemblies {
        Assemblies::new(64 << 20)
    }

    /// [D59] fragments of several channels may be interleaved
    #[test]
    fn messages_of_channels_are_put_together_side_by_side() {
        let mut assemblies = assemblies();
        for index in 0..2 {
            assert_eq!(add(&mut assemblies, (1, 5), (index, 3, 6), b"ab").unwrap(), Unfinished);
            assert_eq!(add(&mut assemblies, (2, 9), (index, 3, 3), b"c").unwrap(), Unfinished);
        }
        assert_eq!(add(&mut assemblies, (1, 5), (2, 3, 6), b"ab").unwrap(), whole(b"ababab"));
        assert_eq!(add(&mut assemblies, (2, 9), (2, 3, 3), b"c").unwrap(), whole(b"ccc"));
        assert!(assemblies.under_way.is_empty());
    }

    /// [D59] a message that begins anew gives up the unfinished one of its channel
    #[test]
    fn a_new_message_replaces_an_unfinished_one() {
        let mut assemblies = assemblies();
        assert_eq!(add(&mut assemblies, (1, 0), (0, 2, 8), b"lost").unwrap(), Unfinished);
        assert_eq!(add(&mut assemblies, (1, 1), (0, 2, 4), b"ke").unwrap(), Unfinished);
        assert_eq!(add(&mut assemblies, (1, 1), (1, 2, 4), b"pt").unwrap(), whole(b"kept"));
        assert_eq!(add(&mut assemblies, (1, 2), (0, 2, 8), b"lost").unwrap(), Unfinished);
        assemblies.give_up(1);
        assert!(assemblies.under_way.is_empty());
    }

    /// [D45] [D59] fragments that fit nowhere, or not together, are a breach
    #[test]
    fn what_does_not_fit_is_refused() {
        let check = |second: (u16, u64), fragment: (u32, u32, u64), payload: &[u8]| {
            let mut assemblies = assemblies();
            add(&mut assemblies, (1, 0), (0, 3, 8), b"ab").unwrap();
            let error = add(&mut assemblies, second, fragment, payload).unwrap_err();
            assert_eq!(error.code(), Code::Protocol, "{error}");
        };
        check((2, 0), (1, 3, 8), b"c");
        check((1, 1), (1, 3, 8), b"c");
        check((1, 0), (2, 3, 8), b"cdefgh");
        check((1, 0), (1, 2, 8), b"cdefgh");
        check((1, 0), (1, 3, 9), b"c");
        check((1, 0), (1, 3, 8), b"cdefgh");
        let mut assemblies = assemblies();
        add(&mut assemblies, (1, 0), (0, 2, 8), b"ab").unwrap();
        let error = add(&mut assemblies, (1, 0), (1, 2, 8), b"c").unwrap_err();
        assert_eq!(error.code(), Code::Protocol, "too short at its end: {error}");
    }

    /// [D59] silence in the middle of a message frees it, once; its rest is skipped, others go on
    #[test]
    fn what_does_not_grow_expires() {
        let mut assemblies = assemblies();
        add(&mut assemblies, (1, 5), (0, 3, 6), b"ab").unwrap();
        add(&mut assemblies, (2, 9), (0, 3, 3), b"c").unwrap();
        assemblies.expire();
        assert_eq!((assemblies.expired, assemblies.has_unfinished()), (0, true), "just begun");
        add(&mut assemblies, (2, 9), (1, 3, 3), b"c").unwrap();
        assemblies.expire();
        assert_eq!((assemblies.expired, assemblies.has_unfinished()), (1, true));
        assert!(assemblies.under_way[0].bytes.is_none());
        assert_eq!(add(&mut assemblies, (2, 9), (2, 3, 3), b"c").unwrap(), whole(b"ccc"));
        assert_eq!(add(&mut assemblies, (1, 5), (1, 3, 6), b"ab").unwrap(), Unfinished);
        assert_eq!(add(&mut assemblies, (1, 5), (2, 3, 6), b"ab").unwrap(), Skipped);
        assemblies.expire();
        assert_eq!((assemblies.expired, assemblies.has_unfinished()), (1, false));
        assert!(assemblies.under_way.is_empty());
        assert_eq!(add(&mut assemblies, (1, 6), (0, 2, 4), b"ne").unwrap(), Unfinished);
        assert_eq!(add(&mut assemblies, (1, 6), (1, 2, 4), b"xt").unwrap(), whole(b"next"));
    }

    /// [D59] memory follows what has come, not what was announced
    #[test]
    fn announcing_a_message_takes_no_memory() {
        let mut assemblies = assemblies();
        // So much is never kept to be used again.
        add(&mut assemblies, (1, 0), (0, 2, 64 << 20), b"a").unwrap();
        let capacity = |assemblies: &Assemblies| {
            assemblies.under_way[0].bytes.as_ref().map_or(0, Vec::capacity)
        };
        assert_eq!(capacity(&assemblies), BYTES_MIN);
    }

    /// [D59] what a peer can make this end set aside is bounded, in number and in bytes
    #[test]
    fn unfinished_messages_are_bounded() {
        let check = |bytes_max: u64, total: u64, most: u16| {
            let mut assemblies = Assemblies::new(bytes_max);
            for channel in 0..most {
                add(&mut assemblies, (channel, 0), (0, 2, total), b"a").unwrap();
            }
            let error = add(&mut assemblies, (most, 0), (0, 2, total), b"a").unwrap_err();
            assert_eq!(error.code(), Code::Protocol, "{error}");
        };
        check(1 << 20, 100, 64);
        check(64 << 20, 16 << 20, 4);
        check(99, 33, 3);
        check(u64::MAX - 1, u64::MAX / 2, 2);
    }
}
