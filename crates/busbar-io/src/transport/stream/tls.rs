//! TLS over a stream socket: rustls without its own buffers or I/O, as a pair of byte queues.
//!
//! ```text
//! write ─→ encrypt ─→ output ─→ socket        socket ─→ input ─→ decrypt ─→ plain ─→ read
//! ```
//!
//! Both directions go through [`Tls::step`], which lets rustls look at `input` once and does what
//! it asks for. What is written is accepted as a whole or not at all, so that a part of its records
//! may be *held back* in `output` until the socket has room: whoever writes comes back for it.

use std::io::{self, IoSlice};
use std::sync::Arc;

use busbar_proto::{Code, Error};
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{CommonState, Error as TlsError, ProtocolVersion};

use crate::peer::TlsPeer;
use crate::tls::{ALPN, Credentials, failure};
use crate::transport::introduction;

use super::buffer::Buffer;
use super::socket::Socket;

/// Bytes that are encrypted at once, and so the most that can be held back, but for the headers.
const WRITE_MAX: usize = 128 * 1024;

/// Bytes that a record adds, generously, and of how many it carries at most.
const RECORD_EXTRA: usize = 64;
const RECORD_BYTES: usize = 16 * 1024;

/// Memory of an empty queue that is kept for the next time.
const KEPT_BYTES: usize = 2 * WRITE_MAX;

/// See the [module](self).
pub(in crate::transport) struct Tls {
    side: Side,
    credentials: Credentials,
    input: Buffer,
    start: usize,
    end: usize,
    plain: Vec<u8>,
    /// Bytes at the front of `plain` that have been read.
    taken: usize,
    output: Vec<u8>,
    /// Bytes at the front of `output` that are in the socket.
    written: usize,
    /// The handshake is over.
    is_open: bool,
    /// The peer has said that nothing follows.
    has_ended: bool,
    is_finished: bool,
    met_plain_text: bool,
    failed: Option<Error>,
    peer: Option<Arc<TlsPeer>>,
}

enum Side {
    Client(Box<UnbufferedClientConnection>, ServerName<'static>),
    Server(Box<UnbufferedServerConnection>),
}

/// What to do as soon as rustls lets us.
#[derive(Clone, Copy)]
enum Job<'a> {
    Look,
    Encrypt(&'a [u8]),
    Finish,
}

/// What rustls wants next.
enum Step {
    /// Another step.
    More,
    /// The peer to go on with the handshake.
    Handshake,
    /// Nothing; the job is done.
    Idle,
    /// Nothing ever more from the peer.
    Ended,
}

/// What reading from the socket has brought.
enum Filled {
    /// As much as was asked for.
    Some,
    /// Less: there is no more at present.
    All,
    NotNow,
    End,
}

impl Tls {
    /// The end that dials `host`.
    ///
    /// # Errors
    /// `InvalidArgument`: the credentials are not enough for that.
    pub(in crate::transport) fn client(
        credentials: &Credentials,
        host: &str,
    ) -> Result<Self, Error> {
        let (config, name) = credentials.client(host)?;
        let connection = UnbufferedClientConnection::new(config, name.clone())
            .map_err(|error| failure(&error))?;
        Ok(Self::new(Side::Client(Box::new(connection), name), credentials))
    }

    /// The end that has accepted a connection.
    ///
    /// # Errors
    /// As [`Tls::client`].
    pub(in crate::transport) fn server(credentials: &Credentials) -> Result<Self, Error> {
        let connection = UnbufferedServerConnection::new(credentials.server()?)
            .map_err(|error| failure(&error))?;
        Ok(Self::new(Side::Server(Box::new(connection)), credentials))
    }

    fn new(side: Side, credentials: &Credentials) -> Self {
        Self {
            side,
            credentials: credentials.clone(),
            input: Buffer::default(),
            start: 0,
            end: 0,
            plain: Vec::new(),
            taken: 0,
            output: Vec::new(),
            written: 0,
            is_open: false,
            has_ended: false,
            is_finished: false,
            met_plain_text: false,
            failed: None,
            peer: None,
        }
    }

    /// See [`Wire::shake_hands`](super::wire::Wire::shake_hands).
    pub(super) fn shake_hands(&mut self, socket: &Socket) -> Result<bool, Error> {
        while !self.is_open {
            match self.step(Job::Look) {
                Ok(Step::More) => {}
                Ok(Step::Ended) => return Err(introduction::left_early()),
                Ok(Step::Idle) if !self.common().is_handshaking() => {
                    self.check_protocol()?;
                    self.peer = Some(Arc::new(self.describe_peer()));
                    self.is_open = true;
                }
                Ok(Step::Idle | Step::Handshake) => {
                    self.flush(socket).map_err(lost)?;
                    match self.fill(socket).map_err(lost)? {
                        Filled::NotNow => return Ok(false),
                        Filled::End => return Err(introduction::left_early()),
                        Filled::All | Filled::Some => self.check_first_byte()?,
                    }
                }
                Err(error) => return Err(self.fail(socket, &error)),
            }
        }
        Ok(true)
    }

    /// See [`Wire::read`](super::wire::Wire::read).
    pub(super) fn read(&mut self, socket: &Socket, bytes: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        let mut is_dry = false;
        loop {
            done += self.take(&mut bytes[done..]);
            if done == bytes.len() {
                return Ok(done);
            }
            match self.advance(socket) {
                Ok(true) => continue,
                // Told by the next read: see `has_news`.
                _ if done > 0 && (is_dry || self.has_news()) => return Ok(done),
                Ok(false) if self.has_ended => return Ok(0),
                Ok(false) => {}
                Err(error) => return Err(io::Error::other(error)),
            }
            let filled = match self.fill(socket) {
                // The socket will say it again.
                Ok(Filled::NotNow | Filled::End) | Err(_) if done > 0 => return Ok(done),
                filled => filled?,
            };
            match filled {
                Filled::Some => {}
                Filled::All => is_dry = true,
                Filled::NotNow => return Err(io::ErrorKind::WouldBlock.into()),
                // Whoever cuts a connection off does not know how to end it.
                Filled::End => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }

    /// See [`Wire::write`](super::wire::Wire::write).
    pub(super) fn write(&mut self, socket: &Socket, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        if !self.flush(socket)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut done = 0;
        for part in parts {
            let text = &part[..part.len().min(WRITE_MAX - done)];
            if !text.is_empty() {
                self.encrypt(socket, text).map_err(io::Error::other)?;
            }
            done += text.len();
            if text.len() < part.len() {
                break;
            }
        }
        self.flush(socket)?;
        Ok(done)
    }

    /// See [`Wire::holds_back`](super::wire::Wire::holds_back).
    pub(super) fn holds_back(&self) -> bool {
        self.written < self.output.len()
    }

    /// See [`Wire::has_news`](super::wire::Wire::has_news).
    pub(super) fn has_news(&self) -> bool {
        self.failed.is_some() || self.has_ended
    }

    /// Says goodbye, as soon as something is written.
    pub(super) fn finish(&mut self) {
        if !self.is_open || self.failed.is_some() || self.is_finished {
            return;
        }
        self.is_finished = true;
        while matches!(self.step(Job::Finish), Ok(Step::More | Step::Ended)) {}
    }

    /// What is known of the peer, once the handshake is over.
    pub(super) fn peer(&self) -> Option<Arc<TlsPeer>> {
        self.peer.clone()
    }

    /// Whether the peer would understand what is written here.
    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Whether the peer has begun with something that is not TLS.
    pub(super) fn met_plain_text(&self) -> bool {
        self.met_plain_text
    }

    /// Moves plain text to its reader.
    fn take(&mut self, bytes: &mut [u8]) -> usize {
        let rest = &self.plain[self.taken..];
        let len = rest.len().min(bytes.len());
        bytes[..len].copy_from_slice(&rest[..len]);
        self.taken += len;
        if self.taken == self.plain.len() {
            self.plain.clear();
            self.plain.shrink_to(KEPT_BYTES);
            self.taken = 0;
        }
        len
    }

    /// Decrypts the next of what has arrived; `false` if that needs more of it.
    fn advance(&mut self, socket: &Socket) -> Result<bool, Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        match self.step(Job::Look) {
            Ok(Step::More) => Ok(true),
            Ok(Step::Ended) => {
                self.has_ended = true;
                Ok(false)
            }
            Ok(Step::Idle | Step::Handshake) => {
                // Such as the answer to new keys; if it has failed, reading tells why.
                let _ = self.flush(socket);
                Ok(false)
            }
            Err(error) => Err(self.fail(socket, &error)),
        }
    }

    fn encrypt(&mut self, socket: &Socket, text: &[u8]) -> Result<(), Error> {
        loop {
            if let Some(error) = &self.failed {
                return Err(error.clone());
            }
            match self.step(Job::Encrypt(text)) {
                Ok(Step::Idle) => return Ok(()),
                Ok(Step::More) => {}
                Ok(Step::Ended) => self.has_ended = true,
                Ok(Step::Handshake) => {
                    let message = "TLS is not ready for messages";
                    return Err(Error::new(Code::Internal, message));
                }
                Err(error) => return Err(self.fail(socket, &error)),
            }
        }
    }

    /// Lets rustls look at what has arrived, and do the job if it is ready for that.
    fn step(&mut self, job: Job<'_>) -> Result<Step, TlsError> {
        let Self { side, input, start, end, plain, output, .. } = self;
        let arrived = &mut input[*start..*end];
        let (len, step) = match side {
            Side::Client(it, _) => handle(it.process_tls_records(arrived), plain, output, job),
            Side::Server(it) => handle(it.process_tls_records(arrived), plain, output, job),
        };
        *start += len;
        if start == end {
            (*start, *end) = (0, 0);
            input.release();
        }
        step
    }

    /// Reads from the socket.
    fn fill(&mut self, socket: &Socket) -> io::Result<Filled> {
        self.input.acquire();
        if self.end == self.input.len() || self.start > self.input.len() / 2 {
            self.input.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let free = &mut self.input[self.end..];
        let room = free.len();
        if room == 0 {
            // Records and handshakes are far smaller; rustls refuses larger ones.
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        loop {
            return match socket.read(free) {
                Ok(0) => Ok(Filled::End),
                Ok(len) => {
                    self.end += len;
                    Ok(if len < room { Filled::All } else { Filled::Some })
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => continue,
                    io::ErrorKind::WouldBlock => {
                        if self.start == self.end {
                            (self.start, self.end) = (0, 0);
                            self.input.release();
                        }
                        Ok(Filled::NotNow)
                    }
                    _ => Err(error),
                },
            };
        }
    }

    /// Writes what is held back; `false`: not all of it.
    fn flush(&mut self, socket: &Socket) -> io::Result<bool> {
        while self.holds_back() {
            match socket.write(&self.output[self.written..]) {
                Ok(len) => self.written += len,
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(false),
                    io::ErrorKind::Interrupted => {}
                    _ => return Err(error),
                },
            }
        }
        self.output.clear();
        self.output.shrink_to(KEPT_BYTES);
        self.written = 0;
        Ok(true)
    }

    /// Ends TLS because of what the peer did, and tells it.
    fn fail(&mut self, socket: &Socket, error: &TlsError) -> Error {
        // The alert. rustls must not look at what it has refused once more.
        while self.common().wants_write() && matches!(self.step(Job::Look), Ok(Step::More)) {}
        let _ = self.flush(socket);
        let error = match (self.is_open, error) {
            (true, TlsError::AlertReceived(_)) | (false, _) => failure(error),
            (true, _) => {
                let message = format!("the peer broke the rules of TLS: {error}");
                Error::new(Code::Protocol, message).with_source(error.clone())
            }
        };
        self.failed = Some(error.clone());
        error
    }

    /// Finds out about a peer that does not speak TLS before it has sent as much as a record.
    fn check_first_byte(&mut self) -> Result<(), Error> {
        let first = self.input.get(self.start).copied();
        if first.is_none_or(|first| RECORD_TYPES.contains(&first)) {
            return Ok(());
        }
        self.met_plain_text = true;
        let error = not_tls();
        self.failed = Some(error.clone());
        Err(error)
    }

    /// rustls lets peers in that do not say what they want to speak.
    fn check_protocol(&mut self) -> Result<(), Error> {
        if self.common().alpn_protocol() == Some(ALPN) {
            return Ok(());
        }
        let error = failure(&TlsError::NoApplicationProtocol);
        self.failed = Some(error.clone());
        Err(error)
    }

    fn describe_peer(&self) -> TlsPeer {
        let common = self.common();
        let chain = common.peer_certificates().unwrap_or_default();
        let untrusted = match &self.side {
            Side::Client(_, name) => self.credentials.untrusted_listener(chain, name),
            Side::Server(_) => self.credentials.untrusted_dialer(chain),
        };
        let version = match common.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        };
        let certificates = chain.iter().map(|certificate| certificate.to_vec()).collect();
        TlsPeer { version, certificates, untrusted }
    }

    fn common(&self) -> &CommonState {
        match &self.side {
            Side::Client(it, _) => it,
            Side::Server(it) => it,
        }
    }
}

/// What the first byte of any record of TLS can be.
const RECORD_TYPES: std::ops::RangeInclusive<u8> = 0x14..=0x17;

/// Does what rustls asks for; returns how many bytes of what has arrived are done with.
fn handle<D>(
    status: UnbufferedStatus<'_, '_, D>,
    plain: &mut Vec<u8>,
    output: &mut Vec<u8>,
    job: Job<'_>,
) -> (usize, Result<Step, TlsError>) {
    let UnbufferedStatus { mut discard, state, .. } = status;
    let step = match state {
        Err(error) => Err(error),
        Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
            match traffic.next_record() {
                None => break Ok(Step::More),
                Some(Err(error)) => break Err(error),
                Some(Ok(record)) => {
                    discard += record.discard;
                    plain.extend_from_slice(record.payload);
                }
            }
        },
        Ok(ConnectionState::EncodeTlsData(data)) => encode(data, output),
        Ok(ConnectionState::TransmitTlsData(data)) => {
            // It is in the queue, which is as good.
            data.done();
            Ok(Step::More)
        }
        Ok(ConnectionState::BlockedHandshake) => Ok(Step::Handshake),
        Ok(ConnectionState::WriteTraffic(traffic)) => write(traffic, output, job),
        Ok(ConnectionState::PeerClosed) => Ok(Step::Ended),
        Ok(ConnectionState::Closed) => Ok(Step::Idle),
        Ok(_) => Err(TlsError::General("a state that this version does not know".into())),
    };
    (discard, step)
}

fn encode<D>(mut data: EncodeTlsData<'_, D>, output: &mut Vec<u8>) -> Result<Step, TlsError> {
    let from = output.len();
    let required = match data.encode(&mut []) {
        Err(EncodeError::InsufficientSize(size)) => size.required_size,
        Ok(_) | Err(EncodeError::AlreadyEncoded) => 0,
    };
    output.resize(from + required, 0);
    let encoded = if required == 0 { Ok(0) } else { data.encode(&mut output[from..]) };
    output.truncate(from + encoded.map_err(|error| TlsError::General(error.to_string()))?);
    Ok(Step::More)
}

fn write<D>(
    mut traffic: WriteTraffic<'_, D>,
    output: &mut Vec<u8>,
    job: Job<'_>,
) -> Result<Step, TlsError> {
    let text = match job {
        Job::Look => return Ok(Step::Idle),
        Job::Encrypt(text) => text,
        Job::Finish => &[],
    };
    let from = output.len();
    output.resize(from + text.len() + (text.len() / RECORD_BYTES + 1) * RECORD_EXTRA, 0);
    let room = &mut output[from..];
    let encrypted = match job {
        Job::Finish => traffic.queue_close_notify(room),
        Job::Look | Job::Encrypt(_) => traffic.encrypt(text, room),
    };
    let len = match &encrypted {
        Ok(len) => *len,
        Err(_) => 0,
    };
    output.truncate(from + len);
    encrypted.map_err(|error| match error {
        EncryptError::InsufficientSize(_) => TlsError::General(error.to_string()),
        EncryptError::EncryptExhausted => TlsError::EncryptError,
    })?;
    Ok(Step::Idle)
}

/// The error for a peer that does not speak TLS.
pub(super) fn not_tls() -> Error {
    Error::new(
        Code::TlsExpected,
        "one end uses tls:// and the other does not: what arrived first is not what was expected",
    )
}

/// A failure of the socket below the handshake.
fn lost(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            introduction::left_early().with_source(error)
        }
        _ => crate::os::os_error("shaking hands over TLS", error),
    }
}
