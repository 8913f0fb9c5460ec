//! Addresses: what users write, as one value per scheme.
//!
//! Parsing checks the form only. It resolves no host name, touches no file and does not say
//! whether this platform has the transport; that is found out on `listen` and `dial`. What was
//! parsed prints as an address that parses to the same value.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::str::FromStr;

use busbar_proto::{Code, Error};

/// Every scheme an address may start with.
pub(crate) const SCHEMES: [&str; 7] = ["inproc", "shm", "uds", "ipc", "tcp", "tls", "pipe"];

/// A parsed address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Endpoint {
    /// `inproc://name`: another thread of this process.
    Inproc(String),
    /// `shm://name` or `shm:///path`: another process on this machine, through shared memory.
    Shm(ShmName),
    /// `uds:///path` or `uds://@name`: a Unix domain socket.
    Uds(UdsName),
    /// `ipc:///path`: a Unix domain socket that speaks ZMTP.
    Ipc(PathBuf),
    /// `tcp://host:port`, or just `host:port`.
    Tcp {
        /// Name or IP address, without the brackets of IPv6; `*` for every interface.
        host: String,
        /// Port; 0 lets the system choose.
        port: u16,
    },
    /// `tls://host:port`.
    Tls {
        /// As for TCP.
        host: String,
        /// As for TCP.
        port: u16,
    },
    /// `pipe://name`: a named pipe of Windows.
    Pipe(String),
}

/// Where the two sides of an `shm://` connection meet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ShmName {
    /// A name that every process of this user shares.
    Name(String),
    /// The absolute path of the socket over which the segments are exchanged.
    Path(PathBuf),
}

/// The two kinds of Unix domain socket addresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UdsName {
    /// An absolute path.
    Path(PathBuf),
    /// A name in Linux' abstract namespace, without the `@`.
    Abstract(String),
}

impl Endpoint {
    /// The part in front of `://`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        match self {
            Self::Inproc(_) => "inproc",
            Self::Shm(_) => "shm",
            Self::Uds(_) => "uds",
            Self::Ipc(_) => "ipc",
            Self::Tcp { .. } => "tcp",
            Self::Tls { .. } => "tls",
            Self::Pipe(_) => "pipe",
        }
    }

    /// Whether this names an endpoint within the process.
    #[must_use]
    pub fn is_inproc(&self) -> bool {
        matches!(self, Self::Inproc(_))
    }
}

impl FromStr for Endpoint {
    type Err = Error;

    /// # Errors
    /// `InvalidAddress`; the message says what is wrong and what a good address looks like.
    fn from_str(address: &str) -> Result<Self, Error> {
        let Some((scheme, rest)) = address.split_once("://") else {
            return parse_bare(address);
        };
        match scheme {
            "inproc" => inproc_name(rest).map(|name| Self::Inproc(name.to_owned())),
            "shm" => shm_name(rest).map(Self::Shm),
            "uds" => uds_name(rest).map(Self::Uds),
            "ipc" => absolute_path("ipc", rest).map(Self::Ipc),
            "tcp" => host_port("tcp", rest).map(|(host, port)| Self::Tcp { host, port }),
            "tls" => host_port("tls", rest).map(|(host, port)| Self::Tls { host, port }),
            "pipe" => pipe_name(rest).map(Self::Pipe),
            _ => Err(invalid(format!(
                "unknown scheme {scheme:?} in {address:?}; the schemes are {}",
                SCHEMES.map(|s| format!("{s}://")).join(" ")
            ))),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme())?;
        match self {
            Self::Inproc(name) | Self::Pipe(name) => f.write_str(name),
            Self::Shm(ShmName::Name(name)) => f.write_str(name),
            Self::Uds(UdsName::Abstract(name)) => write!(f, "@{name}"),
            Self::Shm(ShmName::Path(path)) | Self::Uds(UdsName::Path(path)) | Self::Ipc(path) => {
                path.display().fmt(f)
            }
            Self::Tcp { host, port } | Self::Tls { host, port } => {
                if host.contains(':') {
                    write!(f, "[{host}]:{port}")
                } else {
                    write!(f, "{host}:{port}")
                }
            }
        }
    }
}

/// Checks what follows `inproc://`.
pub(crate) fn inproc_name(name: &str) -> Result<&str, Error> {
    let form = "expected inproc://name";
    if name.is_empty() {
        return Err(invalid(format!("the inproc name is empty; {form}")));
    }
    if name.starts_with("inproc://") {
        return Err(invalid(format!("the scheme is given twice in {name:?}; {form}")));
    }
    no_control(name, form)?;
    at_most(INPROC_NAME_BYTES_MAX, name, form)?;
    Ok(name)
}

const INPROC_NAME_BYTES_MAX: usize = 255;
const SHM_NAME_BYTES_MAX: usize = 64;
/// `sun_path` has 108 bytes, one of which ends a path or starts an abstract name.
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// A pipe name has 256 characters, nine of which are `\\.\pipe\`.
const PIPE_NAME_BYTES_MAX: usize = 247;
/// The longest DNS name in text form.
const HOST_BYTES_MAX: usize = 253;

fn parse_bare(address: &str) -> Result<Endpoint, Error> {
    if !address.contains(':') {
        let schemes = SCHEMES.map(|scheme| format!("{scheme}://…")).join(" ");
        let guess = if address.is_empty() { "…" } else { address };
        return Err(invalid(format!(
            "{address:?} has no scheme; expected host:port or one of {schemes}, such as shm://{guess}"
        )));
    }
    host_port("tcp", address).map(|(host, port)| Endpoint::Tcp { host, port })
}

fn shm_name(rest: &str) -> Result<ShmName, Error> {
    if rest.starts_with('/') {
        return absolute_path("shm", rest).map(ShmName::Path);
    }
    let form = "expected shm://name or shm:///absolute/path";
    if rest.is_empty() {
        return Err(invalid(format!("the shm name is empty; {form}")));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if let Some(odd) = rest.chars().find(|&c| !plain(c)) {
        return Err(invalid(format!(
            "{odd:?} is not allowed in an shm name, only A-Z a-z 0-9 . _ -; {form}"
        )));
    }
    at_most(SHM_NAME_BYTES_MAX, rest, form)?;
    Ok(ShmName::Name(rest.to_owned()))
}

fn uds_name(rest: &str) -> Result<UdsName, Error> {
    let Some(name) = rest.strip_prefix('@') else {
        return absolute_path("uds", rest).map(UdsName::Path);
    };
    let form = "expected uds://@name";
    if name.is_empty() {
        return Err(invalid(format!("the abstract socket name is empty; {form}")));
    }
    no_control(name, form)?;
    at_most(SOCKET_PATH_BYTES_MAX, name, form)?;
    Ok(UdsName::Abstract(name.to_owned()))
}

fn absolute_path(scheme: &str, path: &str) -> Result<PathBuf, Error> {
    let form = format!("expected {scheme}:///absolute/path");
    if !path.starts_with('/') || path.ends_with('/') {
        return Err(invalid(format!("{path:?} is not the absolute path of a file; {form}")));
    }
    no_control(path, &form)?;
    at_most(SOCKET_PATH_BYTES_MAX, path, &form)?;
    Ok(PathBuf::from(path))
}

fn pipe_name(name: &str) -> Result<String, Error> {
    let form = "expected pipe://name";
    if name.is_empty() {
        return Err(invalid(format!("the pipe name is empty; {form}")));
    }
    if name.contains(['\\', '/']) {
        return Err(invalid(format!("a pipe name has no slashes, {name:?} does; {form}")));
    }
    no_control(name, form)?;
    at_most(PIPE_NAME_BYTES_MAX, name, form)?;
    Ok(name.to_owned())
}

fn host_port(scheme: &str, rest: &str) -> Result<(String, u16), Error> {
    let form = format!("expected {scheme}://host:port, IPv6 as {scheme}://[::1]:port");
    let Some((host, port)) = rest.rsplit_once(':') else {
        return Err(invalid(format!("{rest:?} has no port; {form}")));
    };
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let Some(port) = digits.then(|| port.parse().ok()).flatten() else {
        return Err(invalid(format!("the port {port:?} is not a number from 0 to 65535; {form}")));
    };
    if let Some(inner) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        let (ip, zone) = inner.split_once('%').unwrap_or((inner, "0"));
        if ip.parse::<Ipv6Addr>().is_err() || zone.is_empty() || !zone.bytes().all(is_host_byte) {
            return Err(invalid(format!("{inner:?} is not an IPv6 address; {form}")));
        }
        return Ok((inner.to_owned(), port));
    }
    if host.contains(':') {
        return Err(invalid(format!("the IPv6 address {host:?} needs brackets; {form}")));
    }
    if host != "*" && (host.is_empty() || !host.bytes().all(is_host_byte)) {
        return Err(invalid(format!("{host:?} is not a host name or IP address; {form}")));
    }
    at_most(HOST_BYTES_MAX, host, &form)?;
    Ok((host.to_owned(), port))
}

/// Letters of any script are left to the resolver; what could confuse a reader is not.
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_') || !byte.is_ascii()
}

fn no_control(name: &str, form: &str) -> Result<(), Error> {
    match name.chars().find(|c| c.is_control()) {
        Some(c) => Err(invalid(format!("the control character {c:?} is not allowed; {form}"))),
        None => Ok(()),
    }
}

fn at_most(limit: usize, name: &str, form: &str) -> Result<(), Error> {
    if name.len() > limit {
        return Err(invalid(format!(
            "the name has {} bytes, at most {limit} are allowed; {form}",
            name.len()
        )));
    }
    Ok(())
}

fn invalid(message: String) -> Error {
    Error::new(Code::InvalidAddress, message)
}

#[cfg(test)]
mod tests;
