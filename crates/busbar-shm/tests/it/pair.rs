//! A connected pair of channels in one process.

use std::os::fd::OwnedFd;
use std::task::Waker;

use busbar_shm::{Channel, Geometry, PeerSegment, Received, Segment, Settings};

pub(crate) const SETTINGS: Settings = Settings { message_bytes_max: 1 << 20, hostile: false };

/// The smallest ring there is, so that it wraps and fills.
pub(crate) fn geometry(slab_bytes: u64) -> Geometry {
    Geometry { ring_bytes: 65_536, release_entries: 64, slab_bytes }
}

pub(crate) fn segment(geometry: Geometry) -> (Segment, OwnedFd) {
    Segment::create(geometry).expect("memory for a segment")
}

pub(crate) fn pair(geometry: Geometry, settings: Settings) -> (Channel, Channel) {
    let (left, left_fd) = segment(geometry);
    let (right, right_fd) = segment(geometry);
    let open = |fd| PeerSegment::open(&fd, geometry).expect("an honest segment");
    let waker = Waker::noop();
    (
        Channel::new(left, open(right_fd), settings, waker),
        Channel::new(right, open(left_fd), settings, waker),
    )
}

/// The bytes of message number `seed`: different for each, and at every place in it.
pub(crate) fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 8);
    let mut word = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    while bytes.len() < len {
        word = word.wrapping_mul(0xD129_42F0_5C5B_8A3D).wrapping_add(0x1405_7B7E_F767_814F);
        bytes.extend(word.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Everything that can be received now, copied.
pub(crate) fn receive_all(channel: &mut Channel) -> Vec<(u16, Vec<u8>)> {
    let mut buffer = vec![0; 65_536];
    let mut all = Vec::new();
    loop {
        let mut found = Vec::new();
        channel
            .receive(&mut buffer, usize::MAX, |number, received| found.push((number, received)))
            .expect("an honest peer");
        if found.is_empty() {
            return all;
        }
        all.extend(found.into_iter().map(|(number, received)| (number, copy(&buffer, &received))));
    }
}

/// The bytes of a received payload.
pub(crate) fn copy(buffer: &[u8], received: &Received) -> Vec<u8> {
    match received {
        Received::Inline { start, len } => buffer[*start..start + len].to_vec(),
        Received::Lease(lease) => lease.to_vec(),
        Received::Owned(bytes) => bytes.clone(),
    }
}

/// Numbers from a seed, for tests that run the same way each time.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).expect("31 bits") % end
    }
}
