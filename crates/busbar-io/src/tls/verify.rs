//! Whose certificates are accepted: those that webpki finds a way from to the given authorities,
//! or, where the user has asked for that, any.

use std::sync::Arc;

use busbar_proto::{Code, Error};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};

use super::TlsVersion;

/// What both roles are built from.
pub(super) struct Rules {
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) roots: Option<Arc<RootCertStore>>,
    pub(super) is_strict: bool,
    pub(super) min: TlsVersion,
}

impl Rules {
    /// What checks dialers; `None` without authorities.
    pub(super) fn dialers(&self) -> Result<Option<Arc<dyn ClientCertVerifier>>, Error> {
        let Some(roots) = &self.roots else { return Ok(None) };
        let (roots, provider) = (Arc::clone(roots), Arc::clone(&self.provider));
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
        Ok(Some(verifier.map_err(|error| unusable(&error))?))
    }

    /// What checks listeners; `None` without authorities.
    pub(super) fn listeners(&self) -> Result<Option<Arc<dyn ServerCertVerifier>>, Error> {
        let Some(roots) = &self.roots else { return Ok(None) };
        let (roots, provider) = (Arc::clone(roots), Arc::clone(&self.provider));
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
        Ok(Some(verifier.map_err(|error| unusable(&error))?))
    }
}

fn unusable(error: &dyn std::fmt::Display) -> Error {
    Error::new(Code::InvalidArgument, format!("tls.ca cannot be used: {error}"))
}

/// Accepts any certificate, or none, but only of who has its key.
#[derive(Debug)]
pub(super) struct Any {
    algorithms: WebPkiSupportedAlgorithms,
}

impl Any {
    pub(super) fn new(provider: &CryptoProvider) -> Self {
        Self { algorithms: provider.signature_verification_algorithms }
    }
}

/// The part that the traits of both roles have in common, word for word.
macro_rules! verify_signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.algorithms.supported_schemes()
        }
    };
}

impl ServerCertVerifier for Any {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    verify_signatures!();
}

impl ClientCertVerifier for Any {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    verify_signatures!();
}
