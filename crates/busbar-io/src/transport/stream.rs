//! Pipes over byte streams: what `uds://` and `tcp://` have in common, which is everything but the
//! way in which a socket comes about.
//!
//! ```text
//! dialer   HELLO ───────────→ listener     checks version, limits, user        [handshake]
//!          connected ←─ HELLO or REJECT
//!
//! send_run, send ─→ Outgoing ─ one write for all that a turn has sent ─→ socket
//! receive  ←─ frames decoded in place ─ Incoming ←─ one read for all that is there ─ socket
//! ```
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
mod link;
mod outgoing;
mod socket;

pub(super) use handshake::{Answering, Dialing, Resolution};
pub(super) use socket::Socket;
