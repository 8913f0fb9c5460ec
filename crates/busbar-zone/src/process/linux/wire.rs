//! What a process and its host say to each other. Before the first call: JSON over the control
//! socket, each text after its length. From then on: messages through shared memory, told apart by
//! their channel.
//!
//! | channel | to the host | from the host |
//! |---:|---|---|
//! | 1 | call: token (8), method (4), flags (4), argument | done: token (8), result |
//! | 2 | close: milliseconds (8) | failed: token (8), error as JSON |
//! | 3 | cancel: token (8) | log: level (8), text |
//! | 4 | answer: id (8), status (4), 0 (4), bytes | closed: error as JSON, if it is one |
//! | 5 | release: object (8), of the plugin's | call of the parent: id (8), length (4), name, bytes |
//! | 6 | save: request (8), milliseconds (8) | cancel: id (8) |
//! | 7 | load: request (8), hash (8), bytes | object: number (8) |
//! | 8 | go on: request (8) | release: object (8), of the parent's |
//! | 9 | | saved, loaded: request (8), hash (8), bytes |
//! | 10 | | neither: request (8), error as JSON |

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Instant;

use busbar_abi::Status;
use busbar_shm::Geometry;
use rustix::io::retry_on_intr;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Sandbox;
use crate::{Error, ErrorKind, Stage};

/// Both ends are of one build, or they do not talk.
pub(super) const BUILD: &str = concat!(env!("CARGO_PKG_VERSION"), "+6");

/// Messages to the host.
pub(super) mod order {
    pub(crate) const CALL: u16 = 1;
    pub(crate) const CLOSE: u16 = 2;
    pub(crate) const CANCEL: u16 = 3;
    pub(crate) const ANSWER: u16 = 4;
    pub(crate) const RELEASE: u16 = 5;
    pub(crate) const SAVE: u16 = 6;
    pub(crate) const LOAD: u16 = 7;
    pub(crate) const GO_ON: u16 = 8;
}

/// Messages from the host.
pub(super) mod answer {
    pub(crate) const DONE: u16 = 1;
    pub(crate) const FAILED: u16 = 2;
    pub(crate) const LOG: u16 = 3;
    pub(crate) const CLOSED: u16 = 4;
    pub(crate) const CALL: u16 = 5;
    pub(crate) const CANCEL: u16 = 6;
    pub(crate) const OBJECT: u16 = 7;
    pub(crate) const RELEASE: u16 = 8;
    pub(crate) const STATE: u16 = 9;
    pub(crate) const NO_STATE: u16 = 10;
}

/// Bytes before the argument of a call.
pub(super) const CALL_HEAD: usize = 16;
/// Bytes before everything else.
pub(super) const HEAD: usize = 8;

/// A flag of calls: somebody waits awake.
pub(super) const WAITING: u32 = 1;
/// A flag of calls: somebody looks for answers, and may call again soon.
pub(super) const AWAKE: u32 = 2;

/// No message is longer, whatever it holds.
pub(super) const MESSAGE_BYTES_MAX: usize = (1 << 30) + CALL_HEAD;
/// No text before the first call is.
const TEXT_BYTES_MAX: u64 = 256 << 20;

pub(super) fn call_head(token: u64, method: u32, flags: u32) -> [u8; CALL_HEAD] {
    let mut head = [0; CALL_HEAD];
    head[..8].copy_from_slice(&token.to_le_bytes());
    head[8..12].copy_from_slice(&method.to_le_bytes());
    head[12..].copy_from_slice(&flags.to_le_bytes());
    head
}

/// Token, method, flags and argument.
pub(super) fn split_call(bytes: &[u8]) -> Option<(u64, u32, u32, &[u8])> {
    let (head, input) = bytes.split_first_chunk::<CALL_HEAD>()?;
    let (token, rest) = head.split_first_chunk::<8>()?;
    let (method, flags) = rest.split_first_chunk::<4>()?;
    let flags = u32::from_le_bytes(*flags.first_chunk()?);
    Some((u64::from_le_bytes(*token), u32::from_le_bytes(*method), flags, input))
}

/// The body of a call of the parent.
pub(super) fn parent_call(method: &str, input: &[u8]) -> Vec<u8> {
    // No name is longer than a message.
    let length = (method.len() as u32).to_le_bytes();
    [&length, method.as_bytes(), input].concat()
}

/// Name and argument.
pub(super) fn split_parent_call(body: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = body.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length) as usize;
    let (name, input) = rest.split_at_checked(length)?;
    Some((str::from_utf8(name).ok()?, input))
}

/// The number before everything else.
pub(super) fn split_head(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
    Some((u64::from_le_bytes(*head), rest))
}

/// What is before the body of a message about state.
pub(super) fn state_head(request: u64, number: u64) -> [u8; 2 * HEAD] {
    let mut head = [0; 2 * HEAD];
    head[..HEAD].copy_from_slice(&request.to_le_bytes());
    head[HEAD..].copy_from_slice(&number.to_le_bytes());
    head
}

/// First of all, to the host, with [`Descriptors`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Launch {
    pub(super) build: String,
    /// Where the library was, for people.
    pub(super) path: PathBuf,
    pub(super) config: String,
    pub(super) threads: usize,
    pub(super) spin_nanos: u64,
    /// As [`log::LevelFilter`] counts.
    pub(super) log_level: usize,
    pub(super) sandbox: Sandbox,
    /// Whether the plugin may call whoever loaded the zone.
    pub(super) has_parent: bool,
    pub(super) ring_bytes: u64,
    pub(super) slab_bytes: u64,
}

impl Launch {
    pub(super) fn geometry(&self) -> Geometry {
        geometry(self.ring_bytes, self.slab_bytes)
    }
}

pub(super) fn geometry(ring_bytes: u64, slab_bytes: u64) -> Geometry {
    Geometry { ring_bytes, release_entries: 1024, slab_bytes }
}

/// What goes with [`Launch`]: the library, the parent's segment, the parent's bell, the host's.
pub(super) const LAUNCH_DESCRIPTORS: usize = 4;

/// What the host answers, in this order: `Bound` with its segment, and, once it may, `Ready`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Bound(Bound),
    /// Whether the instance has state to hand over.
    Ready {
        has_state: bool,
    },
    Failed(WireError),
}

/// To the host, once it is bound: make an instance.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Go {
    /// Of the instance: how many processes of the zone there were, with this one.
    pub(super) generation: u32,
}

/// What a library says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Bound {
    pub(super) id: String,
    pub(super) version: String,
    pub(super) runtime: u32,
    pub(super) methods: Vec<WireMethod>,
    pub(super) types: Vec<WireType>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct WireMethod {
    pub(super) name: String,
    pub(super) id: u32,
    pub(super) flags: u32,
    pub(super) in_hash: u64,
    pub(super) out_hash: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct WireType {
    pub(super) name: String,
    pub(super) hash: u64,
    /// Its descriptor.
    pub(super) schema: Option<String>,
}

/// An error of this crate.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WireError {
    kind: ErrorKind,
    stage: Stage,
    subject: String,
    /// Of the plugin; empty before it has said its id.
    plugin: String,
    method: String,
    generation: u32,
    message: String,
    status: i32,
    needed: usize,
}

impl From<&Error> for WireError {
    fn from(error: &Error) -> Self {
        Self {
            kind: error.kind(),
            stage: error.stage(),
            subject: error.subject().to_owned(),
            plugin: error.plugin_id().to_owned(),
            method: error.method().to_owned(),
            generation: error.generation(),
            message: error.message().to_owned(),
            status: error.status().0,
            needed: error.needed(),
        }
    }
}

impl From<WireError> for Error {
    fn from(error: WireError) -> Self {
        let WireError { kind, stage, subject, plugin, method, generation, message, .. } = error;
        let WireError { status, needed, .. } = error;
        let made = Self::new(kind, stage, message).with_status(Status(status)).with_needed(needed);
        let made = if subject.is_empty() { made } else { made.of(subject) };
        let made = if plugin.is_empty() { made } else { made.of_plugin(&plugin, generation) };
        if method.is_empty() { made } else { made.in_method(&method) }
    }
}

/// An error as it travels.
pub(super) fn error_text(error: &Error) -> Vec<u8> {
    serde_json::to_vec(&WireError::from(error)).unwrap_or_default()
}

pub(super) fn read_error(text: &[u8]) -> Option<Error> {
    serde_json::from_slice::<WireError>(text).ok().map(Error::from)
}

/// Sends `message`, and descriptors along with its length.
pub(super) fn send(
    mut socket: &UnixStream,
    message: &impl Serialize,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    let length = (text.len() as u64).to_le_bytes();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LAUNCH_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        let fits = ancillary.push(SendAncillaryMessage::ScmRights(fds));
        debug_assert!(fits, "space for {LAUNCH_DESCRIPTORS} descriptors");
    }
    let head = [IoSlice::new(&length)];
    // Sockets with a time limit are interrupted by signals, whatever handlers say.
    let sent =
        retry_on_intr(|| rustix::net::sendmsg(socket, &head, &mut ancillary, SendFlags::NOSIGNAL))?;
    socket.write_all(&length[sent..])?;
    socket.write_all(&text)
}

/// Receives a message and the descriptors that go with it, until `deadline`.
pub(super) fn receive<T: DeserializeOwned>(
    socket: &UnixStream,
    deadline: Option<Instant>,
) -> io::Result<(T, Vec<OwnedFd>)> {
    limit(socket, deadline)?;
    let mut length = [0; HEAD];
    let mut fds = Vec::new();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LAUNCH_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let head = &mut [IoSliceMut::new(&mut length)];
    let received = retry_on_intr(|| {
        rustix::net::recvmsg(socket, head, &mut ancillary, RecvFlags::CMSG_CLOEXEC)
    })?;
    let received = received.bytes;
    for part in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = part {
            fds.extend(rights);
        }
    }
    if received == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    read_exact(socket, &mut length[received..], deadline)?;
    let length = u64::from_le_bytes(length);
    if length > TEXT_BYTES_MAX {
        return Err(io::Error::other(format!("a text of {length} bytes")));
    }
    let mut text = Vec::new();
    let mut buffer = [0; 16 << 10];
    while (text.len() as u64) < length {
        let left = usize::try_from(length - text.len() as u64).unwrap_or(usize::MAX);
        let part = left.min(buffer.len());
        read_exact(socket, &mut buffer[..part], deadline)?;
        text.extend_from_slice(&buffer[..part]);
    }
    Ok((serde_json::from_slice(&text)?, fds))
}

fn read_exact(
    mut socket: &UnixStream,
    mut into: &mut [u8],
    deadline: Option<Instant>,
) -> io::Result<()> {
    while !into.is_empty() {
        limit(socket, deadline)?;
        match socket.read(into) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => into = &mut into[read..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn limit(socket: &UnixStream, deadline: Option<Instant>) -> io::Result<()> {
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    if left.is_some_and(|left| left.is_zero()) {
        return Err(io::ErrorKind::TimedOut.into());
    }
    socket.set_read_timeout(left)
}
