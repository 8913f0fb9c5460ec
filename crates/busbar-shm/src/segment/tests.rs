//! What the seals forbid, what a receiver refuses, and where things lie.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs::File;
use std::os::fd::AsRawFd;

use rustix::fs::FallocateFlags;
use rustix::mm::MprotectFlags;

use super::*;

const SMALL: Geometry = Geometry { ring_bytes: 65_536, release_entries: 64, slab_bytes: 131_072 };

impl PeerSegment {
    /// The segment at the owner's own addresses. ThreadSanitizer knows memory by its address and
    /// would see no connection between two mappings of the same bytes.
    pub(crate) fn alias(segment: &Segment) -> Self {
        Self(Arc::clone(&segment.0))
    }
}

fn memfd(bytes: u64, seals: SealFlags) -> OwnedFd {
    let fd = rustix::fs::memfd_create("test", MemfdFlags::ALLOW_SEALING).unwrap();
    rustix::fs::ftruncate(&fd, bytes).unwrap();
    rustix::fs::fcntl_add_seals(&fd, seals).unwrap();
    fd
}

fn refusal(fd: &OwnedFd, geometry: Geometry) -> &'static str {
    match PeerSegment::open(fd, geometry) {
        Err(Error::Geometry(what)) => what,
        other => panic!("{other:?}"),
    }
}

/// [D41] Not even the process that holds the descriptor can write through it, or resize it.
#[test]
fn the_descriptor_gives_no_write_access() {
    let (_segment, fd) = Segment::create(SMALL).unwrap();
    let bytes = SMALL.file_bytes();
    assert_eq!(rustix::io::pwrite(&fd, b"x", 0), Err(Errno::PERM));
    assert_eq!(rustix::fs::ftruncate(&fd, bytes / 2), Err(Errno::PERM));
    assert_eq!(rustix::fs::ftruncate(&fd, bytes * 2), Err(Errno::PERM));
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    assert_eq!(rustix::fs::fallocate(&fd, punch, 0, bytes), Err(Errno::PERM));
    assert_eq!(rustix::fs::fcntl_add_seals(&fd, SealFlags::WRITE), Err(Errno::PERM));
    // Opening it anew leads to the same seals.
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let again = File::options().read(true).write(true).open(path).unwrap();
    for fd in [fd.as_fd(), again.as_fd()] {
        // SAFETY: a fresh mapping at an address of the kernel's choice.
        let mapped = unsafe {
            rustix::mm::mmap(
                ptr::null_mut(),
                4096,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                fd,
                0,
            )
        };
        assert_eq!(mapped, Err(Errno::PERM));
    }
}

/// [D41] A peer's mapping cannot be made writable afterwards.
#[test]
fn a_peers_mapping_stays_read_only() {
    let (segment, fd) = Segment::create(SMALL).unwrap();
    let peer = PeerSegment::open(&fd, SMALL).unwrap();
    let mapping = peer.mapping();
    let second_ring = to_usize(SMALL.ring_bytes);
    // SAFETY: the ring is mapped twice in a row.
    let second_ring = unsafe { mapping.ring.add(second_ring) };
    for part in [mapping.base, mapping.ring, second_ring, mapping.releases.cast()] {
        let flags = MprotectFlags::READ | MprotectFlags::WRITE;
        // SAFETY: the page is mapped; were it made writable, nobody would write it.
        let done = unsafe { rustix::mm::mprotect(part.as_ptr().cast(), 4096, flags) };
        assert_eq!(done, Err(Errno::ACCESS));
    }
    assert_eq!(peer.geometry(), segment.geometry());
}

/// [D41] [D43] A receiver's stray write to a payload reaches nobody, and can be forgotten.
#[test]
fn writes_to_a_peers_slab_stay_private() {
    let (segment, fd) = Segment::create(SMALL).unwrap();
    let peer = PeerSegment::open(&fd, SMALL).unwrap();
    let (own, theirs) = (segment.mapping().slab, peer.mapping().slab);
    let write = |to: NonNull<u8>, byte: u8| {
        // SAFETY: both mappings of the slab are writable, and this thread alone uses them.
        unsafe { to.as_ptr().write_volatile(byte) };
    };
    let read = |from: NonNull<u8>| {
        // SAFETY: as for `write`.
        unsafe { from.as_ptr().read_volatile() }
    };
    write(own, 1);
    assert_eq!(read(theirs), 1);
    write(theirs, 2);
    assert_eq!((read(own), read(theirs)), (1, 2));
    write(own, 3);
    peer.mapping().discard_writes(theirs, 1);
    assert_eq!(read(theirs), 3);
}

/// [D41]
#[test]
fn descriptors_that_are_not_sealed_memfds_are_refused() {
    let file = File::open("/proc/self/exe").unwrap();
    assert_eq!(refusal(&file.into(), SMALL), "is not a memfd");
    let bytes = SMALL.file_bytes();
    let flags = [SealFlags::SHRINK, SealFlags::GROW, SealFlags::FUTURE_WRITE, SealFlags::SEAL];
    for missing in flags {
        assert_eq!(refusal(&memfd(bytes, SEALS.difference(missing)), SMALL), "is not sealed");
    }
    assert!(PeerSegment::open(&memfd(bytes, SEALS), SMALL).is_ok());
}

/// [D41]
#[test]
fn sizes_other_than_announced_are_refused() {
    let (_segment, fd) = Segment::create(SMALL).unwrap();
    let other = Geometry { ring_bytes: 131_072, ..SMALL };
    assert_eq!(refusal(&fd, other), "has another size than it announced");
    let absurd = [
        Geometry { ring_bytes: 0, ..SMALL },
        Geometry { ring_bytes: 65_536 + 8, ..SMALL },
        Geometry { ring_bytes: 1 << 31, ..SMALL },
        Geometry { ring_bytes: 1 << 63, ..SMALL },
        Geometry { release_entries: 0, ..SMALL },
        Geometry { release_entries: 65, ..SMALL },
        Geometry { release_entries: 1 << 17, ..SMALL },
        Geometry { slab_bytes: 2048, ..SMALL },
        Geometry { slab_bytes: 1 << 33, ..SMALL },
    ];
    for geometry in absurd {
        assert_eq!(refusal(&fd, geometry), "has sizes that are out of bounds", "{geometry:?}");
    }
}

/// [D42] Regions lie where docs/formats/segment.md says, and the ring follows itself.
#[test]
fn regions_have_the_documented_offsets() {
    let (segment, fd) = Segment::create(SMALL).unwrap();
    let ring = SMALL.ring_bytes;
    let mapping = segment.mapping();
    // What is written through the mapping must be found at the file offset.
    let spots = [
        (mapping.base, 0),
        (mapping.ring, 65_536),
        (mapping.releases.cast(), 65_536 + ring),
        (mapping.slab, 65_536 + ring + 65_536),
    ];
    for (index, (start, offset)) in spots.into_iter().enumerate() {
        let mark = [0xA0 | u8::try_from(index).unwrap()];
        // SAFETY: the regions are mapped writable and nobody else uses this segment.
        unsafe { start.as_ptr().write(mark[0]) };
        let mut found = [0];
        rustix::io::pread(&fd, &mut found, offset).unwrap();
        assert_eq!(found, mark, "region {index}");
    }
    assert_eq!(SMALL.file_bytes(), 65_536 + ring + 65_536 + SMALL.slab_bytes);
    let second = to_usize(ring);
    // SAFETY: the ring is mapped twice in a row.
    let again = unsafe { mapping.ring.add(second) };
    // SAFETY: as above, and nobody else writes.
    assert_eq!(unsafe { again.as_ptr().read() }, 0xA1);
    let document = include_str!("../../../../docs/formats/segment.md");
    for text in ["| 65,536 | `ring_bytes` |", "| 65,536 + `ring_bytes` | 8 × `release_entries`"] {
        assert!(document.contains(text), "{text}");
    }
}

/// [D43] Control words and ring have their pages from the start, the slab gets them when asked.
#[test]
fn only_the_slab_is_populated_late() {
    let (segment, fd) = Segment::create(SMALL).unwrap();
    let pages = || rustix::fs::fstat(&fd).unwrap().st_blocks * 512 / 4096;
    let first = 1 + 16 + 1;
    assert_eq!(pages(), first);
    segment.populate_slab(4096, 12_288).unwrap();
    assert_eq!(pages(), first + 2);
}

/// [D45] Segments leave neither mapping nor descriptor behind.
#[test]
fn the_last_holder_unmaps() {
    let (segment, fd) = Segment::create(SMALL).unwrap();
    let peer = PeerSegment::open(&fd, SMALL).unwrap();
    let inode = format!(" {} ", rustix::fs::fstat(&fd).unwrap().st_ino);
    let maps = || std::fs::read_to_string("/proc/self/maps").unwrap().matches(&inode).count();
    let both = maps();
    let kept = segment.clone();
    drop(segment);
    assert_eq!(maps(), both, "a clone is a holder");
    drop(peer);
    assert!(maps() < both);
    drop(kept);
    assert_eq!(maps(), 0);
}
