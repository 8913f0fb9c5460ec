//! Pipes over byte streams: what `uds://`, `tcp://` and `tls://` have in common, which is
//! everything but the way in which a socket comes about.
//!
//! ```text
//! dialer   HELLO ───────────→ listener     checks version, limits, user        [handshake]
//!                                          asks `authorize`, if it is set
//!          connected ←─ HELLO or REJECT
//!
//! send_run, send ─→ Outgoing ─ one write for all that a turn has sent ─→ socket
//! receive  ←─ frames decoded in place ─ Incoming ←─ one read for all that is there ─ socket
//! ```
//!
//! Between the halves and the socket is a [`wire`], which is where TLS is, if it is.
//!
//! The socket is watched edge by edge: an edge sets "there may be more" ([`incoming`]) and "there
//! may be room" ([`outgoing`]), and only the socket itself, by saying that it would block, clears
//! them. Nothing is ever registered anew for waiting, so going to sleep costs no system call.
//!
//! What arrives is read ahead, whether or not somebody waits for messages, because the close of
//! the peer is among it: up to a bound, beyond which the peer is held back by the transport.

mod assembly;
mod buffer;
mod handshake;
mod incoming;
mod keepalive;
mod link;
#[cfg_attr(windows, path = "windows/listening.rs")]
mod listening;
mod outgoing;
#[cfg(windows)]
#[path = "windows/pipe_stream.rs"]
mod pipe_stream;
mod plain;
mod race;
#[cfg_attr(windows, path = "windows/socket.rs")]
mod socket;
#[cfg(windows)]
#[path = "windows/tcp_stream.rs"]
mod tcp_stream;
mod tls;
mod wire;

pub(super) use handshake::{Answering, Dialing, Resolution};
pub(super) use listening::Listening;
pub(super) use socket::Socket;
pub(super) use tls::Tls;
