//! How a listening socket is made on Windows.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};

use socket2::{Domain, Socket, Type};

use crate::options::ListenOptions;

/// A listening socket that does not wait.
///
/// # Errors
/// The system's; `Unsupported` for ports that are to be shared.
pub(super) fn bind_tcp(address: SocketAddr, options: &ListenOptions) -> io::Result<TcpListener> {
    if options.reuse_port {
        // SO_REUSEADDR would let any program of the user take the port away.
        let message = "Windows does not share a port among listeners; leave reusePort away";
        return Err(io::Error::new(io::ErrorKind::Unsupported, message));
    }
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

/// Whether [`bind_tcp`] has failed because the machine has no addresses of that family.
pub(super) fn is_family_missing(error: &io::Error) -> bool {
    const WSAEPROTONOSUPPORT: i32 = 10043;
    const WSAEAFNOSUPPORT: i32 = 10047;
    const WSAEADDRNOTAVAIL: i32 = 10049;
    let missing = [WSAEPROTONOSUPPORT, WSAEAFNOSUPPORT, WSAEADDRNOTAVAIL];
    error.raw_os_error().is_some_and(|code| missing.contains(&code))
}
