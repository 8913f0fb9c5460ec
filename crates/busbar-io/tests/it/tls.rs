//! `tls://`: who is trusted, what happens to who is not, and peers that are not ours.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use busbar_io::{
    CloseReason, Code, Credentials, Event, ListenOptions, PipeOptions, TlsOptions, TlsVersion,
};
use busbar_proto::frame::{self, Decoder, Header, Kind};
use busbar_proto::{Epoch, Hello, Limits, SessionId};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::certificates::{Authority, Issued, tls};
use crate::support::{Driven, PATIENCE, endpoint};

fn credentials(options: &TlsOptions) -> Credentials {
    Credentials::new(options).unwrap()
}

fn listening(options: &TlsOptions) -> (Driven, String) {
    let mut driven = Driven::new();
    let mut listen = ListenOptions::default();
    listen.pipe.tls = Some(credentials(options));
    let listener = driven.listen("tls://127.0.0.1:0", &listen);
    let address = driven.engine.address(listener).unwrap();
    (driven, address)
}

fn dialing(address: &str, options: &TlsOptions) -> (Driven, busbar_io::PipeId) {
    let mut driven = Driven::new();
    let mut pipe = PipeOptions::default();
    pipe.tls = Some(credentials(options));
    let id = driven.dial(address, &pipe);
    (driven, id)
}

/// Drives both until `here` knows how its dialing ended.
fn outcome(here: &mut Driven, there: &mut Driven, out: busbar_io::PipeId) -> Option<CloseReason> {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        assert!(std::time::Instant::now() < deadline, "neither connected nor refused");
        here.settle();
        there.settle();
        if let Some(reason) = here.engine.reason(out) {
            return Some(reason.clone());
        }
        let is_connected = |event: &Event| matches!(event, Event::State(..));
        if here.events.iter().any(is_connected) {
            return None;
        }
    }
}

struct Parties {
    authority: Authority,
    server: Issued,
}

impl Parties {
    fn new() -> Self {
        let authority = Authority::new();
        let server = authority.issue();
        Self { authority, server }
    }

    fn server(&self) -> TlsOptions {
        tls(Some(&self.server), Some(&self.authority))
    }

    /// The same, and dialers must show a certificate.
    fn mutual(&self) -> TlsOptions {
        let mut options = self.server();
        options.request_cert = true;
        options
    }

    fn client(&self) -> TlsOptions {
        tls(None, Some(&self.authority))
    }
}

/// Both ends' codes for a dialer that is not connected.
fn refused(server: &TlsOptions, client: &TlsOptions) -> (Code, Code) {
    let (mut there, address) = listening(server);
    let (mut here, out) = dialing(&address, client);
    let reason = outcome(&mut here, &mut there, out).expect("it must not be connected");
    let warning = there.warning();
    assert!(!reason.text.is_empty() && !warning.message().is_empty());
    assert!(there.events.is_empty(), "nobody was accepted: {:?}", there.events);
    (reason.code.unwrap(), warning.code())
}

/// [D03 D52] server and client certificates; both ends know who the other is
#[test]
fn certificates_are_checked_and_shown() {
    let parties = Parties::new();
    let client = parties.authority.issue_with(&["ada.example"], |_| ());
    let (mut there, address) = listening(&parties.mutual());
    let (mut here, out) = dialing(&address, &tls(Some(&client), Some(&parties.authority)));
    assert_eq!(outcome(&mut here, &mut there, out), None);
    let into = there.accepted();
    let shown = |driven: &mut Driven, pipe| driven.engine.peer(pipe).unwrap().tls.unwrap();
    assert_eq!(shown(&mut here, out).certificates, [der(&parties.server)]);
    assert_eq!(shown(&mut there, into).certificates, [der(&client)]);
    assert!(shown(&mut there, into).untrusted.is_none());
    assert_eq!(shown(&mut here, out).version, "TLSv1.3");
}

fn der(issued: &Issued) -> Vec<u8> {
    CertificateDer::from_pem_slice(issued.cert.as_bytes()).unwrap().to_vec()
}

/// [D03 D52] listeners whose certificate is no good: the dialer knows why, and so does the listener
#[test]
fn dialers_refuse_certificates_that_are_no_good() {
    let parties = Parties::new();
    let stranger = Authority::new();
    let expired = parties.authority.issue_expired();
    let future = parties.authority.issue_for_the_future();
    let elsewhere = parties.authority.issue_with(&["elsewhere.example"], |_| ());
    let client = parties.client();
    let show = |it: &Issued| tls(Some(it), None);
    let cases = [
        (parties.server(), tls(None, Some(&stranger)), Code::TlsUntrusted, Code::TlsUntrusted),
        (show(&expired), client.clone(), Code::TlsExpired, Code::TlsExpired),
        (show(&future), client.clone(), Code::TlsExpired, Code::TlsExpired),
        (show(&elsewhere), client, Code::TlsWrongName, Code::TlsUntrusted),
    ];
    for (server, client, here, there) in cases {
        assert_eq!(refused(&server, &client), (here, there));
    }
}

/// [D52] dialers whose certificate is no good, or that have none
#[test]
fn listeners_refuse_certificates_that_are_no_good() {
    let parties = Parties::new();
    let stranger = Authority::new().issue();
    let expired = parties.authority.issue_expired();
    let show = |it: Option<&Issued>| tls(it, Some(&parties.authority));
    let cases = [
        (show(None), Code::TlsCertificateRequired),
        (show(Some(&stranger)), Code::TlsUntrusted),
        (show(Some(&expired)), Code::TlsExpired),
    ];
    for (client, code) in cases {
        assert_eq!(refused(&parties.mutual(), &client), (code, code));
    }
}

/// [D52] `servername` is checked instead of the host, and sent as SNI
#[test]
fn another_name_can_be_asked_for() {
    let parties = Parties::new();
    let elsewhere = parties.authority.issue_with(&["elsewhere.example"], |_| ());
    let (mut there, address) = listening(&tls(Some(&elsewhere), None));
    let mut client = parties.client();
    client.server_name = Some("elsewhere.example".into());
    let (mut here, out) = dialing(&address, &client);
    assert_eq!(outcome(&mut here, &mut there, out), None);
}

/// [D52] without `reject_unauthorized`, the ends decide by what they are told
#[test]
fn untrusted_peers_are_let_in_on_request() {
    let parties = Parties::new();
    let stranger = Authority::new().issue();
    let mut server = parties.mutual();
    server.reject_unauthorized = false;
    for (identity, code) in
        [(Some(&stranger), Code::TlsUntrusted), (None, Code::TlsCertificateRequired)]
    {
        let mut client = tls(identity, None);
        client.reject_unauthorized = false;
        let (mut there, address) = listening(&server);
        let (mut here, out) = dialing(&address, &client);
        assert_eq!(outcome(&mut here, &mut there, out), None);
        let into = there.accepted();
        let untrusted = |driven: &mut Driven, id| {
            driven.engine.peer(id).unwrap().tls.unwrap().untrusted.clone()
        };
        assert_eq!(untrusted(&mut there, into).unwrap().code(), code);
        assert_eq!(untrusted(&mut here, out).unwrap().code(), Code::TlsUntrusted);
    }
}

/// [D03] an end that does not speak TLS is told so, whichever it is, and so is the other
#[test]
fn one_end_in_the_clear_is_an_error_that_says_so() {
    let parties = Parties::new();
    let (mut there, address) = listening(&parties.server());
    let (mut here, out) = Driven::dialing(&address.replace("tls://", "tcp://"));
    let reason = outcome(&mut here, &mut there, out).unwrap();
    assert_eq!(reason.code, Some(Code::TlsExpected), "{reason:?}");
    assert_eq!(there.warning().code(), Code::TlsExpected);

    let mut there = Driven::new();
    let listener = there.listen("tcp://127.0.0.1:0", &ListenOptions::default());
    let address = there.engine.address(listener).unwrap().replace("tcp://", "tls://");
    let (mut here, out) = dialing(&address, &parties.client());
    let reason = outcome(&mut here, &mut there, out).unwrap();
    assert_eq!(reason.code, Some(Code::TlsExpected), "{reason:?}");
    assert_eq!(there.warning().code(), Code::TlsExpected);
}

/// [D03] strangers get an answer of their own kind at most, and disturb nobody
#[test]
fn garbage_is_refused() {
    let parties = Parties::new();
    let (mut there, address) = listening(&parties.server());
    let cases: [(&[u8], Code); 5] = [
        (b"GET / HTTP/1.1\r\n\r\n", Code::TlsExpected),
        (&[0; 16], Code::TlsExpected),
        (&[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 7], Code::TlsHandshake),
        (&[0x16, 3, 3, 0xff, 0xff, 0, 0, 0, 0, 0], Code::TlsHandshake),
        (&[0x17, 3, 3, 0, 2, 7, 7], Code::TlsHandshake),
    ];
    for (bytes, code) in cases {
        let mut raw = connect(&address);
        raw.write_all(bytes).unwrap();
        let warning = there.warning();
        assert_eq!(warning.code(), code, "{bytes:?}: {warning}");
        let mut told = Vec::new();
        let _ = raw.read_to_end(&mut told);
        let is_alert = told.first() == Some(&0x15);
        assert_eq!(is_alert, code == Code::TlsHandshake, "{bytes:?} was told {told:?}");
    }
    let (mut here, out) = dialing(&address, &parties.client());
    assert_eq!(outcome(&mut here, &mut there, out), None);
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address.strip_prefix("tls://").unwrap()).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Passes on so many bytes in each direction and then cuts the line. Returns how many there were.
fn cut_after(
    forth_max: usize,
    back_max: usize,
    to: &str,
) -> (String, thread::JoinHandle<[usize; 2]>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tls://{}", listener.local_addr().unwrap());
    let to = to.to_owned();
    let proxy = thread::spawn(move || {
        let (near, _) = listener.accept().unwrap();
        let far = connect(&to);
        near.set_nodelay(true).unwrap();
        let copies = (near.try_clone().unwrap(), far.try_clone().unwrap());
        let back = thread::spawn(move || pass(copies.1, copies.0, back_max));
        let forth = pass(near, far, forth_max);
        [forth, back.join().unwrap()]
    });
    (address, proxy)
}

/// Copies up to `max` bytes, then ends both streams.
fn pass(mut from: TcpStream, mut to: TcpStream, max: usize) -> usize {
    let mut bytes = [0; 4096];
    let mut done = 0;
    while done < max {
        let want = bytes.len().min(max - done);
        match from.read(&mut bytes[..want]) {
            Ok(0) | Err(_) => break,
            Ok(len) if to.write_all(&bytes[..len]).is_err() => break,
            Ok(len) => done += len,
        }
    }
    for stream in [&from, &to] {
        let _ = stream.shutdown(Shutdown::Both);
    }
    done
}

/// [D03] a handshake that is cut off at any byte ends at both ends, and connects nobody
#[test]
fn a_handshake_can_be_cut_at_any_byte() {
    let parties = Parties::new();
    let (mut there, address) = listening(&parties.server());
    for (is_forth, least) in [(true, 200), (false, 500)] {
        for max in 0.. {
            let (forth, back) = if is_forth { (max, usize::MAX) } else { (usize::MAX, max) };
            let (via, proxy) = cut_after(forth, back, &address);
            let (mut here, out) = dialing(&via, &parties.client());
            let Some(reason) = outcome(&mut here, &mut there, out) else {
                assert!(max > least, "a handshake is longer than {max} bytes");
                here.engine.close(out, &CloseReason::default());
                drop(here);
                there.settle();
                proxy.join().unwrap();
                break;
            };
            let codes = [Some(Code::ConnectionRefused), Some(Code::ConnectionLost)];
            assert!(codes.contains(&reason.code), "cut at {max}: {reason:?}");
            proxy.join().unwrap();
        }
        there.events.clear();
    }
    let (mut here, out) = dialing(&address, &parties.client());
    assert_eq!(outcome(&mut here, &mut there, out), None);
}

/// [D03 D39] a line that is cut is a lost connection, even between two records; one byte that was
/// changed on the way is noticed
#[test]
fn a_cut_or_a_change_on_the_way_is_noticed() {
    let parties = Parties::new();
    for is_changed in [false, true] {
        let (mut there, address) = listening(&parties.server());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let via = format!("tls://{}", listener.local_addr().unwrap());
        let (mut here, out) = dialing(&via, &parties.client());
        let (near, _) = listener.accept().unwrap();
        let far = connect(&address);
        let (mut near_copy, far_copy) = (near.try_clone().unwrap(), far.try_clone().unwrap());
        let (near_read, mut far_write) = (near.try_clone().unwrap(), far.try_clone().unwrap());
        thread::spawn(move || pass(far_copy, near_copy.try_clone().unwrap(), usize::MAX));
        thread::spawn(move || pass(near_read, far.try_clone().unwrap(), usize::MAX));
        assert_eq!(outcome(&mut here, &mut there, out), None);
        let into = there.accepted();
        near_copy = near;
        if is_changed {
            far_write.write_all(&[0x17, 3, 3, 0, 20, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9]).unwrap();
            far_write.write_all(&[9; 8]).unwrap();
        } else {
            near_copy.shutdown(Shutdown::Both).unwrap();
            far_write.shutdown(Shutdown::Both).unwrap();
        }
        there.closed(into);
        let expected = if is_changed { Code::Protocol } else { Code::ConnectionLost };
        assert_eq!(there.engine.reason(into).unwrap().code, Some(expected));
    }
}

/// [D52] another certificate from now on; pipes that stand go on standing
#[test]
fn credentials_are_replaced_while_listening() {
    let parties = Parties::new();
    let mut there = Driven::new();
    let mut options = ListenOptions::default();
    options.pipe.tls = Some(credentials(&parties.server()));
    let listener = there.listen("tls://127.0.0.1:0", &options);
    let address = there.engine.address(listener).unwrap();
    let (mut old, old_out) = dialing(&address, &parties.client());
    assert_eq!(outcome(&mut old, &mut there, old_out), None);
    let old_into = there.accepted();

    let renewed = parties.authority.issue();
    let new = credentials(&tls(Some(&renewed), Some(&parties.authority)));
    there.engine.set_credentials(listener, new).unwrap();
    let (mut new, new_out) = dialing(&address, &parties.client());
    assert_eq!(outcome(&mut new, &mut there, new_out), None);
    let shown = new.engine.peer(new_out).unwrap().tls.unwrap();
    assert_eq!(shown.certificates, [der(&renewed)]);
    there.accepted();

    assert!(old.engine.send(old_out, 0, b"still here").unwrap());
    old.settle();
    there.settle();
    assert_eq!(there.receive(old_into), [b"still here"]);

    let no_identity = credentials(&parties.client());
    let error = there.engine.set_credentials(listener, no_identity.clone()).unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    let plain = there.listen("tcp://127.0.0.1:0", &ListenOptions::default());
    let error = there.engine.set_credentials(plain, no_identity).unwrap_err();
    assert_eq!(error.code(), Code::NotSupported);
}

/// A TLS client that is not ours.
fn foreign(
    parties: &Parties,
    address: &str,
    alpn: &[&[u8]],
    old: bool,
) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(parties.authority.pem().as_bytes()).unwrap();
    roots.add(authority).unwrap();
    let versions: &[&rustls::SupportedProtocolVersion] =
        if old { &[&rustls::version::TLS12] } else { rustls::ALL_VERSIONS };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|it| it.to_vec()).collect();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    StreamOwned::new(connection, connect(address))
}

fn hello() -> Vec<u8> {
    let hello = Hello::new(SessionId([7; 16]), Epoch(1), Limits::default());
    let mut wire = Vec::new();
    frame::encode(&Header::new(Kind::Hello), &hello.encode(), Limits::CONTROL, &mut wire).unwrap();
    wire
}

/// [D03] the bytes are TLS with our frames inside, and end as TLS should
#[test]
fn a_foreign_client_is_served_and_told_goodbye() {
    let parties = Parties::new();
    for old in [false, true] {
        let (mut there, address) = listening(&parties.server());
        let mut client = foreign(&parties, &address, &[b"busbar/1"], old);
        let talk = thread::spawn(move || {
            client.write_all(&hello()).unwrap();
            let mut all = Vec::new();
            // An error if the stream ended without close_notify.
            client.read_to_end(&mut all).unwrap();
            all
        });
        let into = there.accepted();
        let version = there.engine.peer(into).unwrap().tls.unwrap().version;
        assert_eq!(version, if old { "TLSv1.2" } else { "TLSv1.3" });
        assert!(there.engine.send(into, 3, &[5; 100_000]).unwrap());
        there.engine.close(into, &CloseReason { code: None, status: 4, text: "bye".into() });
        while !talk.is_finished() {
            there.settle();
        }
        let all = talk.join().unwrap();
        let (mut decoder, mut input) = (Decoder::new(Limits::default()), &all[..]);
        let mut kinds = Vec::new();
        while let Some(frame) = decoder.decode(&mut input).unwrap() {
            kinds.push((frame.header.kind, frame.payload.len()));
        }
        assert_eq!(kinds[0].0, Kind::Hello);
        assert_eq!(kinds.last().unwrap().0, Kind::Close);
        let data = kinds.iter().filter(|it| it.0 == Kind::Data).map(|it| it.1).sum::<usize>();
        assert_eq!(data, 100_000);
    }
}

/// [D03 D52] no protocol in common inside of TLS, or no version of it
#[test]
fn version_and_protocol_must_match() {
    let parties = Parties::new();
    let mut strict = parties.server();
    strict.min_version = TlsVersion::Tls13;
    for (server, alpn, old) in [
        (&parties.server(), &[][..], false),
        (&parties.server(), &[&b"h2"[..]][..], false),
        (&strict, &[&b"busbar/1"[..]][..], true),
    ] {
        let (mut there, address) = listening(server);
        let mut client = foreign(&parties, &address, alpn, old);
        let talk = thread::spawn(move || {
            let sent = client.write_all(&hello());
            sent.and_then(|()| client.read_to_end(&mut Vec::new()))
        });
        let warning = there.warning();
        assert_eq!(warning.code(), Code::TlsHandshake, "{warning}");
        // It is told, too, be it by an alert or by a REJECT.
        let told = talk.join().unwrap();
        assert!(told.is_ok() || told.unwrap_err().kind() != io::ErrorKind::TimedOut);
    }
}

/// [D52] what cannot work is refused before anybody connects, and the message names the option
#[test]
fn options_are_checked() {
    let parties = Parties::new();
    let good = parties.server();
    let with = |change: fn(&mut TlsOptions)| {
        let mut options = good.clone();
        change(&mut options);
        options
    };
    let other = Authority::new().issue().key;
    let mut mismatch = good.clone();
    mismatch.key = Some(other.into_bytes());
    let cases = [
        (with(|it| it.key = None), "tls.key"),
        (with(|it| it.cert = None), "tls.cert"),
        (with(|it| it.cert = Some(b"nothing".to_vec())), "tls.cert"),
        (with(|it| it.key = Some(b"nothing".to_vec())), "tls.key"),
        (with(|it| it.ca = Some(b"nothing".to_vec())), "tls.ca"),
        (
            with(|it| it.key = Some(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n".to_vec())),
            "passphrase",
        ),
        (with(|it| it.server_name = Some("no name".into())), "servername"),
        (
            with(|it| {
                it.request_cert = true;
                it.ca = None;
            }),
            "tls.ca",
        ),
        (mismatch, "tls.key"),
    ];
    for (options, word) in cases {
        let error = Credentials::new(&options).unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.message().contains(word), "{error} should speak of {word}");
    }
    let mut driven = Driven::new();
    let address = endpoint("tls://127.0.0.1:1");
    let mut options = ListenOptions::default();
    let error = driven.engine.listen(&address, &options).unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    options.pipe.tls = Some(credentials(&parties.client()));
    let error = driven.engine.listen(&address, &options).unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    let mut options = PipeOptions::default();
    options.tls = Some(credentials(&tls(Some(&parties.server), None)));
    let error = driven.engine.dial(&address, &options).unwrap_err();
    assert!(error.message().contains("tls.ca"), "{error}");
}

/// [D09 D52] a dialer that says nothing, or stops in the middle, is dropped in time
#[test]
fn a_mute_dialer_is_dropped() {
    let parties = Parties::new();
    let mut there = Driven::new();
    let mut options = ListenOptions::default();
    options.pipe.tls = Some(credentials(&parties.server()));
    options.handshake_timeout = Duration::from_millis(60);
    let listener = there.listen("tls://127.0.0.1:0", &options);
    let address = there.engine.address(listener).unwrap();
    let mut raw = connect(&address);
    raw.write_all(&[0x16, 3, 1, 1, 0, 1, 0, 0]).unwrap();
    assert_eq!(there.warning().code(), Code::TimedOut);
    assert_eq!(raw.read(&mut [0; 1]).unwrap_or(0), 0);
}
