//! Segments: sealed memfds that one process writes and the other only reads.
//!
//! The owner creates, maps, prefaults and seals ([`Segment::create`]); the descriptor travels over
//! the bootstrap socket; the peer checks seals and size before it maps ([`PeerSegment::open`]).
//! The ring is mapped twice in a row, so that no record is ever split in the address space.
//!
//! docs/formats/segment.md draws the layout. A mapping lives as long as any `Arc` of it: rings,
//! loans and leases hold one, so no pointer outlives its memory.

use std::os::fd::{AsFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags};

use crate::control::ControlBlock;
use crate::error::Error;
use crate::sync::AtomicU64;

/// Regions begin at multiples of this: the largest page size in use.
const UNIT: u64 = 64 * 1024;

/// What a segment must carry, so that its owner cannot change under the reader's feet.
const SEALS: SealFlags =
    SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::FUTURE_WRITE).union(SealFlags::SEAL);

/// Sizes of a segment's regions, announced in HELLO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a new region is a new segment version")]
pub struct Geometry {
    /// Bytes of the record ring: a power of two, 64 KiB to 1 GiB.
    pub ring_bytes: u64,
    /// Entries of the release ring: a power of two, 64 to 65,536. As many chunks of the *peer* can
    /// be on loan to the owner at once.
    pub release_entries: u32,
    /// Bytes of the slab: 0, or a power of two, 64 KiB to 4 GiB.
    pub slab_bytes: u64,
}

impl Geometry {
    /// Whether every size is within its bounds.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let sized = |n: u64, max: u64| n.is_power_of_two() && (UNIT..=max).contains(&n);
        sized(self.ring_bytes, 1 << 30)
            && (self.slab_bytes == 0 || sized(self.slab_bytes, 1 << 32))
            && self.release_entries.is_power_of_two()
            && (64..=65_536).contains(&self.release_entries)
    }

    fn release_bytes(&self) -> u64 {
        (u64::from(self.release_entries) * 8).next_multiple_of(UNIT)
    }

    fn releases_at(&self) -> u64 {
        UNIT + self.ring_bytes
    }

    fn slab_at(&self) -> u64 {
        self.releases_at() + self.release_bytes()
    }

    /// Size of the memfd.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.slab_at() + self.slab_bytes
    }
}

/// The segment that this process writes.
#[derive(Clone, Debug)]
pub struct Segment(Arc<Mapping>);

impl Segment {
    /// Creates, maps and seals a segment, and returns it with the descriptor to pass on. Control
    /// words, ring and release ring have their pages; the slab gets them when first used.
    ///
    /// # Errors
    /// [`Error::Os`] when memory or descriptors are short.
    ///
    /// # Panics
    /// If the geometry is not valid.
    pub fn create(geometry: Geometry) -> Result<(Self, OwnedFd), Error> {
        assert!(geometry.is_valid(), "the caller checks the geometry");
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = rustix::fs::memfd_create("busbar", flags | MemfdFlags::NOEXEC_SEAL)
            .or_else(|_| rustix::fs::memfd_create("busbar", flags)) // before Linux 6.3
            .map_err(|errno| Error::Os("memfd_create", errno))?;
        rustix::fs::ftruncate(&fd, geometry.file_bytes())
            .map_err(|errno| Error::Os("ftruncate", errno))?;
        let mapping = Mapping::new(&fd, geometry, Access::Owner)?;
        rustix::fs::fcntl_add_seals(&fd, SEALS).map_err(|errno| Error::Os("F_ADD_SEALS", errno))?;
        let segment = Self(Arc::new(mapping));
        segment.populate(segment.0.control.cast(), 4096)?;
        segment.populate(segment.0.ring, geometry.ring_bytes)?;
        segment.populate(segment.0.releases.cast(), u64::from(geometry.release_entries) * 8)?;
        Ok((segment, fd))
    }

    /// Gives the slab bytes `[start, end)` their pages, so that writing them cannot fail.
    ///
    /// # Errors
    /// [`Error::Os`] when memory is short.
    pub fn populate_slab(&self, start: u64, end: u64) -> Result<(), Error> {
        assert!(start <= end && end <= self.0.geometry.slab_bytes, "range within the slab");
        // SAFETY: the sum stays within the slab region, as just checked.
        let at = unsafe { self.0.slab.add(to_usize(start)) };
        self.populate(at, end - start)
    }

    fn populate(&self, at: NonNull<u8>, bytes: u64) -> Result<(), Error> {
        // SAFETY: populating writes no byte; the range lies in our own live mapping.
        let done = unsafe {
            rustix::mm::madvise(at.as_ptr().cast(), to_usize(bytes), Advice::LinuxPopulateWrite)
        };
        match done {
            // Before Linux 5.14 pages come when touched, as everywhere else.
            Ok(()) | Err(Errno::INVAL) => Ok(()),
            Err(errno) => Err(Error::Os("reserving shared memory", errno)),
        }
    }

    pub(crate) fn mapping(&self) -> &Arc<Mapping> {
        &self.0
    }

    /// The announced sizes.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        self.0.geometry
    }
}

/// The segment that the peer writes and this process reads.
#[derive(Clone, Debug)]
pub struct PeerSegment(Arc<Mapping>);

impl PeerSegment {
    /// Maps a descriptor that a peer sent, not for writing to it, after checking that it is a memfd
    /// of the announced size which nobody can shrink, grow or map for writing again.
    ///
    /// # Errors
    /// [`Error::Geometry`] if it is something else, [`Error::Os`] if it cannot be mapped.
    pub fn open(fd: &OwnedFd, geometry: Geometry) -> Result<Self, Error> {
        if !geometry.is_valid() {
            return Err(Error::Geometry("has sizes that are out of bounds"));
        }
        let seals =
            rustix::fs::fcntl_get_seals(fd).map_err(|_| Error::Geometry("is not a memfd"))?;
        if !seals.contains(SEALS) {
            return Err(Error::Geometry("is not sealed"));
        }
        let size = rustix::fs::fstat(fd).map_err(|errno| Error::Os("fstat", errno))?.st_size;
        if u64::try_from(size) != Ok(geometry.file_bytes()) {
            return Err(Error::Geometry("has another size than it announced"));
        }
        Ok(Self(Arc::new(Mapping::new(fd, geometry, Access::Peer)?)))
    }

    pub(crate) fn mapping(&self) -> &Arc<Mapping> {
        &self.0
    }

    /// The announced sizes.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        self.0.geometry
    }
}

/// Who maps.
#[derive(Clone, Copy)]
enum Access {
    Owner,
    Peer,
}

impl Access {
    /// Control words and rings.
    fn words(self) -> (ProtFlags, MapFlags) {
        match self {
            Self::Owner => (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED),
            Self::Peer => (ProtFlags::READ, MapFlags::SHARED),
        }
    }

    /// The slab. JavaScript has no read-only buffers, so a peer maps it copy-on-write: a stray
    /// write to a received payload changes a private copy of the page, which `discard_writes`
    /// forgets, instead of ending the process.
    fn slab(self) -> (ProtFlags, MapFlags) {
        let writable = ProtFlags::READ | ProtFlags::WRITE;
        match self {
            Self::Owner => (writable, MapFlags::SHARED),
            Self::Peer => (writable, MapFlags::PRIVATE | MapFlags::NORESERVE),
        }
    }
}

/// One mapped segment. Unmapped when the last `Arc` goes.
#[derive(Debug)]
pub(crate) struct Mapping {
    geometry: Geometry,
    base: NonNull<u8>,
    bytes: usize,
    control: NonNull<ControlBlock>,
    ring: NonNull<u8>,
    releases: NonNull<AtomicU64>,
    slab: NonNull<u8>,
}

impl Mapping {
    fn new(fd: &OwnedFd, geometry: Geometry, access: Access) -> Result<Self, Error> {
        // Address space: control, ring, ring again, releases, slab.
        let bytes = to_usize(geometry.file_bytes() + geometry.ring_bytes);
        // SAFETY: a fresh reservation at an address of the kernel's choice, touching nothing.
        let base = unsafe {
            rustix::mm::mmap_anonymous(
                ptr::null_mut(),
                bytes,
                ProtFlags::empty(),
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        }
        .map_err(|errno| Error::Os("reserving address space", errno))?;
        let base = NonNull::new(base.cast::<u8>()).expect("invariant: mmap returns no null");
        let second_ring = UNIT + geometry.ring_bytes;
        let at = |offset: u64| {
            // SAFETY: every offset below is within the reservation of `bytes`.
            unsafe { base.add(to_usize(offset)) }
        };
        // From here on Drop unmaps the reservation, whatever was mapped into it.
        let mapping = Self {
            geometry,
            base,
            bytes,
            control: base.cast(),
            ring: at(UNIT),
            releases: at(second_ring + geometry.ring_bytes).cast(),
            slab: at(second_ring + geometry.ring_bytes + geometry.release_bytes()),
        };
        let (rest, slab) = (second_ring + geometry.ring_bytes, access.slab());
        let words = access.words();
        mapping.map(fd, words, 0, 0, UNIT + geometry.ring_bytes)?;
        mapping.map(fd, words, second_ring, UNIT, geometry.ring_bytes)?;
        mapping.map(fd, words, rest, geometry.releases_at(), geometry.release_bytes())?;
        if geometry.slab_bytes > 0 {
            let at = rest + geometry.release_bytes();
            mapping.map(fd, slab, at, geometry.slab_at(), geometry.slab_bytes)?;
        }
        Ok(mapping)
    }

    fn map(
        &self,
        fd: &OwnedFd,
        (prot, flags): (ProtFlags, MapFlags),
        at: u64,
        offset: u64,
        bytes: u64,
    ) -> Result<(), Error> {
        // SAFETY: `at..at + bytes` is within the reservation.
        let address = unsafe { self.base.add(to_usize(at)) };
        // SAFETY: MAP_FIXED replaces a part of our own reservation that nothing refers to yet.
        let mapped = unsafe {
            rustix::mm::mmap(
                address.as_ptr().cast(),
                to_usize(bytes),
                prot,
                flags | MapFlags::FIXED,
                fd.as_fd(),
                offset,
            )
        };
        mapped.map(|_| ()).map_err(|errno| Error::Os("mapping a segment", errno))
    }

    pub(crate) fn control(&self) -> &ControlBlock {
        // SAFETY: `control` points at the first page of a live mapping, aligned to a page; the
        // block holds atomics only, for which any bytes (also changing ones) are valid.
        unsafe { self.control.as_ref() }
    }

    /// The ring: `ring_bytes`, followed in the address space by the same bytes again.
    pub(crate) fn ring(&self) -> NonNull<u8> {
        self.ring
    }

    /// The release ring: `release_entries` words.
    pub(crate) fn releases(&self) -> &[AtomicU64] {
        let len = self.geometry.release_entries as usize;
        // SAFETY: the region holds that many words, page-aligned and mapped; atomics may be
        // shared with a writer in another process.
        unsafe { std::slice::from_raw_parts(self.releases.as_ptr(), len) }
    }

    /// The slab: `slab_bytes`.
    pub(crate) fn slab(&self) -> NonNull<u8> {
        self.slab
    }

    pub(crate) fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Of a peer's segment: shows the peer's bytes again where this process has written over them.
    pub(crate) fn discard_writes(&self, start: NonNull<u8>, len: usize) {
        let page = rustix::param::page_size();
        let address = start.as_ptr().addr();
        let from = address - address % page;
        let bytes = (address + len).next_multiple_of(page) - from;
        let from = start.as_ptr().with_addr(from);
        // SAFETY: `start..start + len` is in the slab, which begins and ends at page boundaries.
        // Dropping pages of a private file mapping shows the file again; no Rust reference to
        // bytes that this process has written exists, because leases give out shared ones only.
        let done = unsafe { rustix::mm::madvise(from.cast(), bytes, Advice::LinuxDontNeed) };
        debug_assert!(done.is_ok(), "forgetting pages of our own mapping");
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this is the whole reservation, and with the last `Arc` no pointer into it is
        // left.
        let done = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.bytes) };
        debug_assert!(done.is_ok(), "unmapping our own reservation");
    }
}

// SAFETY: the struct is a set of addresses; who may write where is decided by the types that hold
// it (`Producer`, `Slab`, …), not by the thread.
unsafe impl Send for Mapping {}

// SAFETY: as for `Send`; through `&Mapping` only atomics and raw addresses are reachable.
unsafe impl Sync for Mapping {}

/// Sizes are at most a few GiB, which a 64-bit address space holds.
pub(crate) fn to_usize(n: u64) -> usize {
    usize::try_from(n).expect("invariant: segments exist on 64-bit targets only")
}

#[cfg(all(test, not(loom)))]
mod tests;
