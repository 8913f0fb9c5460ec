//! Passing bytes and descriptors over the rendezvous socket, and asking who is at its other end.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use busbar_proto::{Code, Error};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use crate::os::os_error;
use crate::peer::Peer;
use crate::transport::sockets;

/// Descriptors that go with a HELLO: the segment and the bell.
const DESCRIPTORS: usize = 2;

/// What [`receive`] found.
pub(super) enum Received {
    Bytes(usize),
    /// Nothing at present.
    Nothing,
    /// The peer is gone.
    End,
}

/// Sends `bytes`, with `fds` if there are any, without waiting. A socket that has carried nothing
/// but one HELLO has room for all that is ever sent.
pub(super) fn send(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), Error> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        let fits = ancillary.push(SendAncillaryMessage::ScmRights(fds));
        debug_assert!(fits, "space for {DESCRIPTORS} descriptors");
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    match rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut ancillary, flags) {
        Ok(sent) if sent == bytes.len() => Ok(()),
        Ok(_) | Err(Errno::AGAIN) => {
            Err(Error::new(Code::Protocol, "the peer does not read its control socket"))
        }
        Err(Errno::PIPE | Errno::CONNRESET) => {
            Err(Error::new(Code::ConnectionLost, "the peer has gone away"))
        }
        Err(errno) => Err(os_error("writing to the control socket", errno)),
    }
}

/// Receives what is there; descriptors are appended to `fds`.
pub(super) fn receive(
    socket: impl AsFd,
    bytes: &mut [u8],
    fds: &mut Vec<OwnedFd>,
) -> Result<Received, Error> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let message =
        match rustix::net::recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut ancillary, flags) {
            Ok(message) => message,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Received::Nothing),
            Err(Errno::CONNRESET | Errno::PIPE) => return Ok(Received::End),
            Err(errno) => return Err(os_error("reading from the control socket", errno)),
        };
    for part in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = part {
            fds.extend(received);
        }
    }
    let truncated = message.flags.contains(ReturnFlags::CTRUNC);
    if truncated && fds.len() < DESCRIPTORS {
        // There was room for them in the message, so it is this process that has none.
        let message = "this process has no descriptors left to receive the peer's";
        return Err(Error::new(Code::OutOfMemory, message));
    }
    if truncated || fds.len() > DESCRIPTORS {
        return Err(Error::new(
            Code::Protocol,
            "the peer sent descriptors that belong to no HELLO",
        ));
    }
    Ok(if message.bytes == 0 { Received::End } else { Received::Bytes(message.bytes) })
}

/// Makes sure that ringing the bell of a peer that plays by the rules never makes us wait. (The
/// flag is shared with the peer, which could clear it again: see SECURITY.md.)
///
/// # Errors
/// `Protocol` if it is not an eventfd, but something that a peer could leave full: a pipe, a
/// socket, a file.
pub(super) fn check_bell(fd: impl AsFd) -> Result<(), Error> {
    let stat = rustix::fs::fstat(&fd).map_err(|errno| os_error("examining a bell", errno))?;
    // Anonymous inodes have no type.
    if FileType::from_raw_mode(stat.st_mode) != FileType::Unknown {
        return Err(Error::new(Code::Protocol, "the peer's bell is not an eventfd"));
    }
    rustix::fs::fcntl_setfl(&fd, OFlags::NONBLOCK)
        .map_err(|errno| os_error("making a bell non-blocking", errno))
}

/// The process at the other end, if it runs as our user.
///
/// # Errors
/// `PermissionDenied` otherwise.
pub(super) fn peer_of_same_user(socket: impl AsFd) -> Result<Peer, Error> {
    let process = sockets::process_of(socket)?;
    let (own, uid) = (rustix::process::geteuid().as_raw(), process.uid);
    if uid != own {
        let message = format!("the peer runs as user {uid}; shm:// joins processes of user {own}");
        return Err(Error::new(Code::PermissionDenied, message));
    }
    Ok(Peer { process: Some(process), ..Peer::default() })
}
