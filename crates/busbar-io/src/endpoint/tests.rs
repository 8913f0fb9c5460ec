//! Addresses: each accepted form, each refusal with what it says, and the round trip.

use proptest::prelude::*;

use super::*;

fn check(address: &str, expected: Endpoint) {
    let parsed: Endpoint = address.parse().unwrap_or_else(|e| panic!("{address}: {e}"));
    assert_eq!(parsed, expected, "{address}");
    assert_eq!(parsed.to_string().parse::<Endpoint>().unwrap(), expected, "{address}");
}

fn refused(address: &str, says: &str) {
    let error = address.parse::<Endpoint>().expect_err(address);
    assert_eq!(error.code(), Code::InvalidAddress, "{address:?}");
    assert!(error.message().contains(says), "{address:?} says {:?}", error.message());
}

fn tcp(host: &str, port: u16) -> Endpoint {
    Endpoint::Tcp { host: host.to_owned(), port }
}

/// [I07] [D07] [D40] every scheme has its form
#[test]
fn each_scheme_is_parsed() {
    check("inproc://orders/eu west", Endpoint::Inproc("orders/eu west".into()));
    check("shm://game.state-1_a", Endpoint::Shm(ShmName::Name("game.state-1_a".into())));
    check("shm:///run/game.sock", Endpoint::Shm(ShmName::Path("/run/game.sock".into())));
    check("uds:///run/game.sock", Endpoint::Uds(UdsName::Path("/run/game.sock".into())));
    check("uds://@game", Endpoint::Uds(UdsName::Abstract("game".into())));
    check("ipc:///tmp/feed", Endpoint::Ipc("/tmp/feed".into()));
    check("tcp://example.org:443", tcp("example.org", 443));
    check("tls://example.org:443", Endpoint::Tls { host: "example.org".into(), port: 443 });
    check("pipe://game", Endpoint::Pipe("game".into()));
}

/// [D07] an address without a scheme is TCP
#[test]
fn bare_host_and_port_is_tcp() {
    check("localhost:7000", tcp("localhost", 7000));
    check("10.0.0.1:0", tcp("10.0.0.1", 0));
    check("*:7000", tcp("*", 7000));
    check("[::1]:7000", tcp("::1", 7000));
}

/// [D07] IPv6 needs brackets and is shown with them
#[test]
fn ipv6_is_in_brackets() {
    check("tcp://[::1]:80", tcp("::1", 80));
    check("tls://[fe80::1%eth0]:80", Endpoint::Tls { host: "fe80::1%eth0".into(), port: 80 });
    assert_eq!(tcp("::1", 80).to_string(), "tcp://[::1]:80");
    refused("tcp://::1:80", "needs brackets");
    refused("tcp://[::g]:80", "not an IPv6 address");
    refused("tcp://[::1%]:80", "not an IPv6 address");
    refused("tcp://[::1:80", "needs brackets");
}

/// [I07] an empty name is refused by every scheme
#[test]
fn empty_names_are_refused() {
    refused("inproc://", "inproc name is empty");
    refused("shm://", "shm name is empty");
    refused("uds://", "expected uds:///absolute/path");
    refused("uds://@", "abstract socket name is empty");
    refused("ipc://", "expected ipc:///absolute/path");
    refused("tcp://", "has no port");
    refused("tcp://:80", "not a host name");
    refused("tls://", "expected tls://host:port");
    refused("pipe://", "pipe name is empty");
    refused("", "has no scheme");
}

/// [I07] control characters are refused by every scheme
#[test]
fn control_characters_are_refused() {
    for address in ["inproc://a\0b", "uds://@a\nb", "uds:///a\tb", "ipc:///a\x1bb", "pipe://a\rb"] {
        refused(address, "control character");
    }
    refused("shm://a\0", "'\\0' is not allowed");
    refused("tcp://a\n:80", "not a host name");
}

/// [I07] names end where the system's limits do
#[test]
fn long_names_are_refused() {
    let name = |len| "n".repeat(len);
    check(&format!("inproc://{}", name(255)), Endpoint::Inproc(name(255)));
    refused(&format!("inproc://{}", name(256)), "at most 255");
    refused(&format!("inproc://{}", "ü".repeat(128)), "has 256 bytes");
    check(&format!("shm://{}", name(64)), Endpoint::Shm(ShmName::Name(name(64))));
    refused(&format!("shm://{}", name(65)), "at most 64");
    refused(&format!("shm:///{}", name(107)), "at most 107");
    refused(&format!("uds://@{}", name(108)), "at most 107");
    refused(&format!("ipc:///{}", name(107)), "at most 107");
    refused(&format!("pipe://{}", name(248)), "at most 247");
    refused(&format!("{}:1", name(254)), "at most 253");
}

/// [D07] the message for an unknown scheme lists the known ones
#[test]
fn unknown_schemes_are_answered_with_the_known_ones() {
    refused("udp://host:1", "inproc:// shm:// uds:// ipc:// tcp:// tls:// pipe://");
    refused("TCP://host:1", "unknown scheme \"TCP\"");
    refused("://x", "unknown scheme \"\"");
    refused("localhost", "expected host:port or one of inproc://…");
    refused("localhost", "such as shm://localhost");
}

/// [D07] ports are decimal and in range
#[test]
fn ports_are_checked() {
    check("tcp://h:65535", tcp("h", 65535));
    for address in ["tcp://h:65536", "tcp://h:", "tcp://h:-1", "tcp://h:+1", "tcp://h:http", "a:b"]
    {
        refused(address, "not a number from 0 to 65535");
    }
    refused("tcp://host", "has no port");
}

/// [D07] shapes that look like another scheme's
#[test]
fn misplaced_parts_are_refused() {
    refused("shm://a/b", "'/' is not allowed");
    refused("shm:///dir/", "not the absolute path of a file");
    refused("uds://relative", "not the absolute path");
    refused("ipc://relative", "not the absolute path");
    refused("tcp://host/path:80", "not a host name");
    refused("tcp://user@host:80", "not a host name");
    refused("pipe://a\\b", "no slashes");
    refused("inproc://inproc://a", "given twice");
}

/// [I07] `is_inproc` and `scheme`
#[test]
fn scheme_and_is_inproc_agree_with_the_text() {
    for (address, inproc) in [
        ("inproc://a", true),
        ("shm://a", false),
        ("uds://@a", false),
        ("ipc:///a", false),
        ("tcp://a:1", false),
        ("tls://a:1", false),
        ("pipe://a", false),
    ] {
        let endpoint: Endpoint = address.parse().unwrap();
        assert_eq!(endpoint.is_inproc(), inproc, "{address}");
        assert!(SCHEMES.contains(&endpoint.scheme()));
        assert!(address.starts_with(&format!("{}://", endpoint.scheme())));
    }
}

fn any_endpoint() -> impl Strategy<Value = Endpoint> {
    let name = r"[^\p{Cc}/@][^\p{Cc}]{0,20}";
    let path = r"/[^\p{Cc}/][^\p{Cc}]{0,20}[^\p{Cc}/]";
    let plain = "[A-Za-z0-9._-]{1,64}";
    let host = prop_oneof![
        "[a-z0-9._-]{1,30}",
        any::<u128>().prop_map(|ip| Ipv6Addr::from(ip).to_string()),
        Just("*".to_owned()),
    ];
    prop_oneof![
        name.prop_map(Endpoint::Inproc),
        plain.prop_map(|name| Endpoint::Shm(ShmName::Name(name))),
        path.prop_map(|path| Endpoint::Shm(ShmName::Path(path.into()))),
        path.prop_map(|path| Endpoint::Uds(UdsName::Path(path.into()))),
        name.prop_map(|name| Endpoint::Uds(UdsName::Abstract(name))),
        path.prop_map(|path| Endpoint::Ipc(path.into())),
        (host.clone(), any::<u16>()).prop_map(|(host, port)| Endpoint::Tcp { host, port }),
        (host, any::<u16>()).prop_map(|(host, port)| Endpoint::Tls { host, port }),
        r"[^\p{Cc}/\\]{1,60}".prop_map(Endpoint::Pipe),
    ]
}

proptest! {
    /// [I07] parse(display(e)) == e
    #[test]
    fn display_parses_back(endpoint in any_endpoint()) {
        prop_assert_eq!(endpoint.to_string().parse::<Endpoint>().unwrap(), endpoint);
    }

    /// [I07] no text panics, and what parses is stable
    #[test]
    fn any_text_is_parsed_or_refused(text in r"((inproc|shm|uds|ipc|tcp|tls|pipe)://)?.{0,40}") {
        if let Ok(endpoint) = text.parse::<Endpoint>() {
            prop_assert_eq!(endpoint.to_string().parse::<Endpoint>().unwrap(), endpoint);
        }
    }
}
