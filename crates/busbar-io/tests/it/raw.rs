//! An end of `shm://` made by hand from a unix socket, which may say what it likes.

use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use busbar_proto::frame::{self, Decoder, Header, Kind};
use busbar_proto::{CloseReason, Epoch, Hello, Limits, SessionId, ShmParameters, Trust};
use busbar_shm::{Geometry, Segment};
use rustix::event::EventfdFlags;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use crate::support::PATIENCE;

pub(crate) const GEOMETRY: Geometry =
    Geometry { ring_bytes: 1 << 16, release_entries: 64, slab_bytes: 1 << 16 };

/// Most descriptors that a test sends at once.
const DESCRIPTORS_MAX: usize = 4;

pub(crate) struct Raw(pub(crate) UnixStream);

impl Raw {
    pub(crate) fn connect(path: &Path) -> Self {
        Self::new(UnixStream::connect(path).unwrap())
    }

    pub(crate) fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    /// Sends `bytes` and `fds` in one packet.
    pub(crate) fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            assert!(ancillary.push(SendAncillaryMessage::ScmRights(fds)));
        }
        let bytes = [IoSlice::new(bytes)];
        rustix::net::sendmsg(&self.0, &bytes, &mut ancillary, SendFlags::NOSIGNAL).unwrap();
    }

    /// Receives one frame, and the descriptors that come with it.
    pub(crate) fn receive(&self) -> (Kind, Vec<u8>, Vec<OwnedFd>) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut bytes = [0; 8192];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = rustix::net::recvmsg(
            &self.0,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut ancillary,
            flags,
        )
        .unwrap();
        let mut fds = Vec::new();
        for part in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = part {
                fds.extend(received);
            }
        }
        let mut decoder = Decoder::new(Limits::CONTROL);
        let mut input = &bytes[..received.bytes];
        let frame = decoder.decode(&mut input).unwrap().expect("a whole frame in one packet");
        assert!(input.is_empty(), "nothing follows it");
        (frame.header.kind, frame.payload.to_vec(), fds)
    }

    pub(crate) fn receive_reject(&self) -> CloseReason {
        let (kind, payload, fds) = self.receive();
        assert_eq!((kind, fds.len()), (Kind::Reject, 0));
        CloseReason::decode_reject(&payload).unwrap()
    }

    pub(crate) fn receive_hello(&self) -> (Hello, Vec<OwnedFd>) {
        let (kind, payload, fds) = self.receive();
        assert_eq!(kind, Kind::Hello);
        (Hello::decode(&payload).unwrap(), fds)
    }

    /// Waits until the other end has closed the socket.
    pub(crate) fn expect_end(&mut self) {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => assert!(rest.is_empty(), "it said {rest:?}"),
            // It had not read everything that was sent to it.
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }
}

/// A well-formed HELLO.
pub(crate) fn hello(geometry: Geometry) -> Hello {
    let mut hello = Hello::new(SessionId([7; 16]), Epoch(1), Limits::default());
    hello.shm = Some(ShmParameters {
        segment_version: 1,
        trust: Trust::SameUser,
        release_entries: geometry.release_entries,
        ring_bytes: geometry.ring_bytes,
        slab_bytes: geometry.slab_bytes,
        page_bytes: 4096,
    });
    hello
}

pub(crate) fn frame(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    frame::encode(&Header::new(kind), payload, Limits::default(), &mut wire).unwrap();
    wire
}

pub(crate) fn hello_frame(geometry: Geometry) -> Vec<u8> {
    frame(Kind::Hello, &hello(geometry).encode())
}

/// The descriptors of an honest end, and what keeps its memory.
pub(crate) struct Honest {
    _segment: Segment,
    pub(crate) file: OwnedFd,
    pub(crate) bell: OwnedFd,
}

impl Honest {
    pub(crate) fn new(geometry: Geometry) -> Self {
        let (segment, file) = Segment::create(geometry).unwrap();
        Self { _segment: segment, file, bell: eventfd() }
    }

    pub(crate) fn fds(&self) -> [BorrowedFd<'_>; 2] {
        [self.file.as_fd(), self.bell.as_fd()]
    }
}

pub(crate) fn eventfd() -> OwnedFd {
    rustix::event::eventfd(0, EventfdFlags::CLOEXEC).unwrap()
}
