//! What an end of `tls://` needs: its own certificate, and whose certificates it trusts.
//!
//! [`TlsOptions`] are what users write; [`Credentials`] are the same, checked, cheap to hand on.
//! The handshake and the records are rustls', driven by `transport/stream/tls`. Everything runs
//! with ring, under TLS 1.2 or 1.3, and the ALPN protocol `busbar/1` is demanded of both ends, so
//! that no other server's or client's handshake can be turned into one of ours.
//!
//! Sessions are not resumed: a certificate that was replaced, or has expired, must not live on in a
//! ticket, and pipes are few and long.

mod failure;
mod verify;

use std::sync::Arc;

use busbar_proto::{Code, Error};
use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion, version};

pub(crate) use failure::failure;
use verify::{Any, Rules};

/// What both ends call the protocol inside.
pub(crate) const ALPN: &[u8] = b"busbar/1";

/// The oldest version of TLS that an end speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2 and 1.3.
    #[default]
    Tls12,
    /// TLS 1.3 only.
    Tls13,
}

/// What users choose for `tls://`. A listener needs `cert` and `key`, a dialer needs `ca`.
#[derive(Clone)]
#[non_exhaustive]
pub struct TlsOptions {
    /// This end's certificate in PEM, followed by those of its issuers.
    pub cert: Option<Vec<u8>>,
    /// The private key of the certificate in PEM, without a passphrase.
    pub key: Option<Vec<u8>>,
    /// Certificates in PEM of the authorities that the peer's certificate is checked against.
    pub ca: Option<Vec<u8>>,
    /// Dialing: the name that the listener's certificate must be for, which is also sent as SNI. By
    /// default the host that is dialed.
    pub server_name: Option<String>,
    /// Listening: whether the dialer is asked for a certificate. Not by default.
    pub request_cert: bool,
    /// Whether a peer whose certificate is not trusted is turned away; a listener that asks for one
    /// also turns away who has none. So by default.
    pub reject_unauthorized: bool,
    /// The oldest version of TLS. 1.2 by default.
    pub min_version: TlsVersion,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self {
            cert: None,
            key: None,
            ca: None,
            server_name: None,
            request_cert: false,
            reject_unauthorized: true,
            min_version: TlsVersion::default(),
        }
    }
}

/// Checked [`TlsOptions`]: for any number of listeners and dialed pipes.
#[derive(Clone, Debug)]
pub struct Credentials(Arc<Checked>);

#[derive(Debug)]
struct Checked {
    server: Option<Arc<ServerConfig>>,
    /// Whether, and by what, certificates of dialers are checked that are let in anyway.
    asks_dialers: bool,
    dialers: Option<Arc<dyn ClientCertVerifier>>,
    /// `None` where there is nothing to check listeners by.
    client: Option<Arc<ClientConfig>>,
    listeners: Option<Arc<dyn ServerCertVerifier>>,
    server_name: Option<ServerName<'static>>,
    is_strict: bool,
}

impl Credentials {
    /// Checks `options`.
    ///
    /// # Errors
    /// `InvalidArgument`, which names the option and what is wrong with it.
    pub fn new(options: &TlsOptions) -> Result<Self, Error> {
        let provider = Arc::new(ring::default_provider());
        let identity = identity(options)?;
        let roots = options.ca.as_deref().map(roots).transpose()?.map(Arc::new);
        let server_name = options.server_name.as_deref().map(name).transpose()?;
        let is_strict = options.reject_unauthorized;
        if options.request_cert && is_strict && roots.is_none() {
            return Err(invalid(
                "tls.requestCert needs tls.ca: the authorities that sign dialers' certificates",
            ));
        }
        let rules = Rules { provider, roots, is_strict, min: options.min_version };
        let (server, dialers) = match &identity {
            None => (None, None),
            Some(identity) => {
                let (config, verifier) = rules.server(identity, options.request_cert)?;
                (Some(Arc::new(config)), verifier)
            }
        };
        let (client, listeners) = rules.client(identity.as_ref())?;
        Ok(Self(Arc::new(Checked {
            server,
            asks_dialers: options.request_cert,
            dialers,
            client: client.map(Arc::new),
            listeners,
            server_name,
            is_strict,
        })))
    }

    /// What a listener works with.
    ///
    /// # Errors
    /// `InvalidArgument` without a certificate.
    pub(crate) fn server(&self) -> Result<Arc<ServerConfig>, Error> {
        let missing = || invalid("a listener at tls:// needs tls.cert and tls.key");
        self.0.server.clone().ok_or_else(missing)
    }

    /// What a dialer of `host` works with: the rules, and the name to check.
    ///
    /// # Errors
    /// `InvalidArgument` if there is nothing to check by, or `host` cannot be a certificate's name.
    pub(crate) fn client(
        &self,
        host: &str,
    ) -> Result<(Arc<ClientConfig>, ServerName<'static>), Error> {
        let missing = || invalid("dialing tls:// needs tls.ca: whose certificates are trusted");
        let config = self.0.client.clone().ok_or_else(missing)?;
        let name = match &self.0.server_name {
            Some(name) => name.clone(),
            None => name(host)?,
        };
        Ok((config, name))
    }

    /// Why the dialer's certificates are not trusted, where that was not a reason to refuse it.
    pub(crate) fn untrusted_dialer(&self, chain: &[CertificateDer<'_>]) -> Option<Error> {
        if self.0.is_strict || !self.0.asks_dialers {
            return None;
        }
        let Some((leaf, issuers)) = chain.split_first() else {
            return Some(failure(&rustls::Error::NoCertificatesPresented));
        };
        let Some(verifier) = &self.0.dialers else { return Some(nothing_to_check_by()) };
        let now = rustls::pki_types::UnixTime::now();
        verifier.verify_client_cert(leaf, issuers, now).err().map(|error| failure(&error))
    }

    /// As [`Credentials::untrusted_dialer`], of the listener that was dialed as `name`.
    pub(crate) fn untrusted_listener(
        &self,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
    ) -> Option<Error> {
        if self.0.is_strict {
            return None;
        }
        let (leaf, issuers) = chain.split_first()?;
        let Some(verifier) = &self.0.listeners else { return Some(nothing_to_check_by()) };
        let now = rustls::pki_types::UnixTime::now();
        let verified = verifier.verify_server_cert(leaf, issuers, name, &[], now);
        verified.err().map(|error| failure(&error))
    }
}

/// A certificate chain and its key.
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Rules {
    fn versions(&self) -> &'static [&'static SupportedProtocolVersion] {
        static VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];
        match self.min {
            TlsVersion::Tls12 => &VERSIONS,
            TlsVersion::Tls13 => &VERSIONS[..1],
        }
    }

    /// The rules of a listener, and what checks dialers that are let in anyway.
    fn server(
        &self,
        identity: &Identity,
        asks: bool,
    ) -> Result<(ServerConfig, Option<Arc<dyn ClientCertVerifier>>), Error> {
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(self.versions())
            .map_err(|error| refused(&error))?;
        let strict = if asks { self.dialers()? } else { None };
        let builder = match &strict {
            _ if !asks => builder.with_no_client_auth(),
            Some(strict) if self.is_strict => builder.with_client_cert_verifier(Arc::clone(strict)),
            _ => builder.with_client_cert_verifier(Arc::new(Any::new(&self.provider))),
        };
        let mut config = builder
            .with_single_cert(identity.chain.clone(), identity.key.clone_key())
            .map_err(|error| refused(&error))?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.send_tls13_tickets = 0;
        Ok((config, strict))
    }

    /// The rules of a dialer, unless it trusts nobody, and what checks listeners.
    #[expect(clippy::type_complexity, reason = "two options, each named where it is taken apart")]
    fn client(
        &self,
        identity: Option<&Identity>,
    ) -> Result<(Option<ClientConfig>, Option<Arc<dyn ServerCertVerifier>>), Error> {
        let strict = self.listeners()?;
        let verifier: Arc<dyn ServerCertVerifier> = match &strict {
            Some(strict) if self.is_strict => Arc::clone(strict),
            None if self.is_strict => return Ok((None, None)),
            _ => Arc::new(Any::new(&self.provider)),
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(self.versions())
            .map_err(|error| refused(&error))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder
                .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
                .map_err(|error| refused(&error))?,
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        Ok((Some(config), strict))
    }
}

fn identity(options: &TlsOptions) -> Result<Option<Identity>, Error> {
    let (cert, key) = match (&options.cert, &options.key) {
        (None, None) => return Ok(None),
        (Some(cert), Some(key)) => (cert, key),
        (Some(_), None) => return Err(invalid("tls.cert is given without tls.key")),
        (None, Some(_)) => return Err(invalid("tls.key is given without tls.cert")),
    };
    let chain = certificates("tls.cert", cert)?;
    if contains(key, b"ENCRYPTED") {
        return Err(invalid(
            "tls.key has a passphrase, which is not supported; decrypt it, for instance with \
             `openssl pkey -in key.pem -out plain.pem`",
        ));
    }
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|error| invalid(format!("tls.key is no private key in PEM: {error}")))?;
    Ok(Some(Identity { chain, key }))
}

fn roots(pem: &[u8]) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("tls.ca", pem)? {
        roots.add(certificate).map_err(|error| {
            invalid(format!("tls.ca has a certificate that cannot be used: {error}"))
        })?;
    }
    Ok(roots)
}

fn certificates(option: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| invalid(format!("{option} is no valid PEM: {error}")))?;
    if found.is_empty() {
        return Err(invalid(format!("{option} has no certificate in PEM")));
    }
    Ok(found)
}

fn name(host: &str) -> Result<ServerName<'static>, Error> {
    // The zone of a link-local address is this machine's affair.
    let host = host.split_once('%').map_or(host, |(ip, _)| ip);
    ServerName::try_from(host.to_owned()).map_err(|_| {
        invalid(format!("{host:?} cannot be the name in a certificate; set tls.servername"))
    })
}

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}

/// rustls will not work with what it was given.
fn refused(error: &rustls::Error) -> Error {
    invalid(format!("tls.cert and tls.key cannot be used: {error}"))
}

fn nothing_to_check_by() -> Error {
    Error::new(Code::TlsUntrusted, "there is no tls.ca to check the certificate by")
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(Code::InvalidArgument, message)
}
