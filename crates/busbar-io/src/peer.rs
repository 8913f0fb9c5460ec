//! Who is at the other end of a pipe, as far as the transport knows.

use std::net::SocketAddr;
use std::sync::Arc;

use busbar_proto::Error;

/// The other end. Which fields there are depends on the transport.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Peer {
    /// shm, uds: its process, as the system has it.
    pub process: Option<Process>,
    /// tcp, tls: its address.
    pub address: Option<SocketAddr>,
    /// tls: what was agreed on, and its certificate.
    pub tls: Option<Arc<TlsPeer>>,
}

/// A process of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Process {
    /// Process id, as this process sees it.
    pub pid: u32,
    /// User id.
    pub uid: u32,
    /// Its primary group's id.
    pub gid: u32,
}

/// What TLS says of the other end.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TlsPeer {
    /// The version, such as `TLSv1.3`.
    pub version: &'static str,
    /// Its certificate in DER, followed by those of its issuers; empty if it has none.
    pub certificates: Vec<Vec<u8>>,
    /// Why the certificate is not trusted, where it was let in all the same.
    pub untrusted: Option<Error>,
}
