//! A peer that writes into its segment whatever it likes: the memory that a hostile process has.

use std::os::fd::OwnedFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::Waker;

use busbar_shm::record::{Header, Kind, stride};
use busbar_shm::{Channel, Geometry, PeerSegment, Settings};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};

use crate::pair::segment;

/// Offsets of docs/formats/segment.md.
pub(crate) const TX_TAIL: usize = 0;
pub(crate) const RX_HEAD: usize = 128;
pub(crate) const RELEASE_TAIL: usize = 256;
pub(crate) const RELEASE_HEAD: usize = 384;
pub(crate) const PARK: usize = 512;
pub(crate) const RING: usize = 65_536;

/// A segment in the hands of somebody who does not use this crate.
pub(crate) struct Forge {
    fd: OwnedFd,
    memory: NonNull<u8>,
    pub(crate) geometry: Geometry,
}

// SAFETY: the memory is reached through atomics only, and never unmapped.
unsafe impl Sync for Forge {}

impl Forge {
    pub(crate) fn new(geometry: Geometry) -> Self {
        let fd = rustix::fs::memfd_create("forged", MemfdFlags::ALLOW_SEALING).unwrap();
        rustix::fs::ftruncate(&fd, geometry.file_bytes()).unwrap();
        // SAFETY: a fresh mapping at an address of the kernel's choice.
        let memory = unsafe {
            rustix::mm::mmap(
                ptr::null_mut(),
                usize::try_from(geometry.file_bytes()).unwrap(),
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                &fd,
                0,
            )
        };
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::FUTURE_WRITE | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&fd, seals).unwrap();
        let memory = NonNull::new(memory.unwrap().cast()).unwrap();
        Self { fd, memory, geometry }
    }

    /// A channel whose peer is this segment.
    pub(crate) fn victim(&self, settings: Settings) -> Channel {
        self.victim_and_segment(settings).0
    }

    /// The same, with the descriptor of its own segment, which its peer would have.
    pub(crate) fn victim_and_segment(&self, settings: Settings) -> (Channel, OwnedFd) {
        self.victim_with(self.geometry, settings)
    }

    /// The same, of a segment of another size.
    pub(crate) fn victim_with(&self, own: Geometry, settings: Settings) -> (Channel, OwnedFd) {
        let (own, fd) = segment(own);
        let peer = PeerSegment::open(&self.fd, self.geometry).unwrap();
        (Channel::new(own, peer, settings, Waker::noop()), fd)
    }

    pub(crate) fn releases(&self) -> usize {
        RING + usize::try_from(self.geometry.ring_bytes).unwrap()
    }

    pub(crate) fn word(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8), "words are aligned");
        // SAFETY: mapped and aligned; atomics may be shared.
        unsafe { self.at(offset).cast().as_ref() }
    }

    pub(crate) fn byte(&self, offset: usize) -> &AtomicU8 {
        // SAFETY: mapped; atomics may be shared.
        unsafe { self.at(offset).cast().as_ref() }
    }

    fn at(&self, offset: usize) -> NonNull<u8> {
        assert!((offset as u64) < self.geometry.file_bytes(), "within the mapping");
        // SAFETY: as just checked.
        unsafe { self.memory.add(offset) }
    }

    pub(crate) fn set(&self, offset: usize, value: u64) {
        self.word(offset).store(value, Ordering::Release);
    }

    /// Writes records to the ring from `position` on, and returns the position behind them.
    pub(crate) fn write(&self, position: u64, bytes: &[u8]) -> u64 {
        let mask = self.geometry.ring_bytes - 1;
        for (n, &byte) in bytes.iter().enumerate() {
            let place = usize::try_from(position.wrapping_add(n as u64) & mask).unwrap();
            self.byte(RING + place).store(byte, Ordering::Relaxed);
        }
        position + bytes.len() as u64
    }

    /// Publishes `bytes` as the first that this peer ever sent.
    pub(crate) fn publish(&self, bytes: &[u8]) {
        let tail = self.write(0, bytes);
        self.set(TX_TAIL, tail);
    }
}

pub(crate) fn record(kind: Kind, channel: u16, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap();
    let mut bytes = Header { length, channel, kind }.encode().to_vec();
    bytes.extend(payload);
    bytes.resize(stride(payload.len()), 0);
    bytes
}

pub(crate) fn descriptor(index: u32, generation: u32, len: u64) -> Vec<u8> {
    let mut payload = index.to_le_bytes().to_vec();
    payload.extend(generation.to_le_bytes());
    payload.extend(len.to_le_bytes());
    payload
}

/// The payload of a fragment-first record.
pub(crate) fn first(total: u64, bytes: &[u8]) -> Vec<u8> {
    [&total.to_le_bytes()[..], bytes].concat()
}
