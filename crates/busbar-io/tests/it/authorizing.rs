//! Listeners that ask before they let somebody in.

use std::time::Duration;

use busbar_io::{
    Code, Endpoint, Error, Event, ListenOptions, PipeId, PipeOptions, TlsOptions, listen,
};

use crate::certificates::{Authority, tls};
use crate::support::{Driven, Scratch, endpoint};

const SCHEMES: [&str; 4] = ["shm", "uds", "tcp", "tls"];

fn asking() -> ListenOptions {
    let mut options = ListenOptions::default();
    options.authorize = true;
    options
}

/// The pipe about which the listener asks.
fn asked(driven: &mut Driven) -> PipeId {
    driven.until(|event| match *event {
        Event::Asking { pipe, .. } => Some(pipe),
        _ => None,
    })
}

fn listening(options: &ListenOptions, scheme: &str) -> (Driven, String, Scratch) {
    let scratch = Scratch::new("asking");
    let mut driven = Driven::new();
    let listener = driven.listen(&scratch.address(scheme), options);
    let address = driven.engine.address(listener).unwrap();
    (driven, address, scratch)
}

/// [D52] who is let in is told so only then; who is not is told why
#[test]
fn the_dialer_waits_for_the_verdict_and_is_told_why() {
    for scheme in SCHEMES {
        let (mut there, address, _scratch) = listening(&asking(), scheme);
        for verdict in [Ok(()), Err(Error::new(Code::PermissionDenied, "not on the list"))] {
            let (mut here, out) = Driven::dialing(&address);
            for _ in 0..3 {
                here.settle();
                there.settle();
            }
            let pipe = asked(&mut there);
            let asks = |event: &Event| matches!(event, Event::Asking { .. });
            assert!(!there.events.iter().any(asks), "{scheme}: it asks once");
            here.settle();
            assert!(here.events.is_empty(), "{scheme}: {:?}", here.events);
            let peer = there.engine.peer(pipe).unwrap();
            let is_local = peer.process.is_some_and(|it| it.pid == std::process::id());
            assert_eq!(is_local, scheme == "shm" || scheme == "uds", "{scheme}");
            assert_eq!(peer.address.is_some(), !is_local, "{scheme}");
            assert_eq!(peer.tls.is_some(), scheme == "tls");

            there.engine.admit(pipe, verdict.clone());
            let Err(error) = verdict else {
                assert_eq!(there.accepted(), pipe);
                here.until(|event| matches!(event, Event::State(..)).then_some(()));
                assert!(here.engine.send(out, 0, b"thanks").unwrap());
                here.settle();
                there.until(|event| matches!(event, Event::State(..)).then_some(()));
                there.settle();
                assert_eq!(there.receive(pipe), [b"thanks"], "{scheme}");
                there.events.clear();
                continue;
            };
            assert_eq!(there.warning().code(), error.code());
            here.closed(out);
            let reason = here.engine.reason(out).unwrap();
            assert_eq!(reason.code, Some(Code::PermissionDenied), "{scheme}");
            assert!(reason.text.contains("not on the list"), "{scheme}: {reason:?}");
        }
    }
}

/// [D52] a verdict that never comes is no hold on the listener
#[test]
fn a_verdict_has_to_come_in_time() {
    for scheme in SCHEMES {
        let mut options = asking();
        options.handshake_timeout = Duration::from_millis(60);
        let (mut there, address, _scratch) = listening(&options, scheme);
        let (mut here, out) = Driven::dialing(&address);
        here.settle();
        let pipe = loop {
            here.settle();
            there.settle();
            if there.events.iter().any(|event| matches!(event, Event::Asking { .. })) {
                break asked(&mut there);
            }
        };
        assert_eq!(there.warning().code(), Code::TimedOut, "{scheme}");
        // Too late, and nobody is confused by it.
        there.engine.admit(pipe, Ok(()));
        there.settle();
        assert!(there.events.is_empty(), "{scheme}: {:?}", there.events);
        here.closed(out);
    }
}

/// [D52] the certificate that is shown to `authorize` is the dialer's
#[test]
fn the_certificate_is_shown() {
    let authority = Authority::new();
    let (server, client) = (authority.issue(), authority.issue_with(&["ada.example"], |_| ()));
    let mut options = asking();
    let mut server = tls(Some(&server), Some(&authority));
    server.request_cert = true;
    options.pipe.tls = Some(busbar_io::Credentials::new(&server).unwrap());
    let (mut there, address, _scratch) = listening(&options, "tls");
    let mut dialing = PipeOptions::default();
    let client_options: TlsOptions = tls(Some(&client), Some(&authority));
    dialing.tls = Some(busbar_io::Credentials::new(&client_options).unwrap());
    let mut here = Driven::new();
    here.dial(&address, &dialing);
    let pipe = loop {
        here.settle();
        there.settle();
        if !there.events.is_empty() {
            break asked(&mut there);
        }
    };
    let shown = there.engine.peer(pipe).unwrap().tls.unwrap();
    assert_eq!((shown.version, shown.untrusted.is_none()), ("TLSv1.3", true));
    let expected = rcgen_der(&client.cert);
    assert_eq!(shown.certificates, [expected]);
}

fn rcgen_der(pem: &str) -> Vec<u8> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}

/// [D52] where nobody could be asked, asking is refused
#[test]
fn some_listeners_cannot_ask() {
    let mut driven = Driven::new();
    let inproc: Endpoint = endpoint("inproc://authorizing");
    let error = driven.engine.listen(&inproc, &asking()).unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument, "{error}");
    let error = listen("tcp://127.0.0.1:0", asking()).err().unwrap();
    assert_eq!(error.code(), Code::InvalidArgument, "{error}");
}
