//! Certificates for tests, made when they run.

use std::sync::OnceLock;

use busbar_io::{Credentials, PipeOptions, TlsOptions};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, date_time_ymd,
};

/// Who signs certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key, both in PEM.
pub(crate) struct Issued {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Busbar test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for this host, by its names in these tests.
    pub(crate) fn issue(&self) -> Issued {
        self.issue_with(&["localhost", "127.0.0.1", "::1"], |_| ())
    }

    pub(crate) fn issue_with(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, "Busbar test end");
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.0).unwrap();
        Issued { cert: cert.pem(), key: key.serialize_pem() }
    }

    pub(crate) fn issue_expired(&self) -> Issued {
        self.issue_with(&["127.0.0.1"], |params| {
            params.not_before = date_time_ymd(2001, 1, 1);
            params.not_after = date_time_ymd(2002, 1, 1);
        })
    }

    pub(crate) fn issue_for_the_future(&self) -> Issued {
        self.issue_with(&["127.0.0.1"], |params| {
            params.not_before = date_time_ymd(3001, 1, 1);
            params.not_after = date_time_ymd(3002, 1, 1);
        })
    }
}

/// Options of an end that shows `identity` and trusts `authority`.
pub(crate) fn tls(identity: Option<&Issued>, authority: Option<&Authority>) -> TlsOptions {
    let mut options = TlsOptions::default();
    options.cert = identity.map(|it| it.cert.clone().into_bytes());
    options.key = identity.map(|it| it.key.clone().into_bytes());
    options.ca = authority.map(|it| it.pem().into_bytes());
    options
}

/// What both ends of a tls pipe need, where a test is not about that.
pub(crate) fn ordinary() -> Credentials {
    static ORDINARY: OnceLock<Credentials> = OnceLock::new();
    let make = || {
        let authority = Authority::new();
        let identity = authority.issue();
        Credentials::new(&tls(Some(&identity), Some(&authority))).unwrap()
    };
    ORDINARY.get_or_init(make).clone()
}

/// `options` for an end at `address`.
pub(crate) fn suited(address: &str, options: &PipeOptions) -> PipeOptions {
    let mut options = options.clone();
    if address.starts_with("tls://") && options.tls.is_none() {
        options.tls = Some(ordinary());
    }
    options
}
