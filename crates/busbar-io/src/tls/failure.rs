//! What rustls says, as errors of ours: one code for each thing that a person would do about it.
//!
//! | code | what is wrong | who says so |
//! |---|---|---|
//! | `TlsUntrusted` | the issuer, a signature, the purpose | this end, or an alert |
//! | `TlsExpired` | the certificate's time | this end, or an alert |
//! | `TlsWrongName` | it is for another host | this end |
//! | `TlsCertificateRequired` | the dialer has no certificate | this end, or an alert |
//! | `TlsExpected` | the peer does not speak TLS | `transport/stream/tls` |
//! | `TlsHandshake` | no common version, cipher or protocol; anything else | either |

use busbar_proto::{Code, Error};
use rustls::{AlertDescription, CertificateError, Error as TlsError};

/// The error that users see for what rustls reports.
pub(crate) fn failure(error: &TlsError) -> Error {
    let (code, message) = match error {
        TlsError::InvalidCertificate(reason) => untrusted(reason),
        TlsError::NoCertificatesPresented => {
            let message = "the peer gave no certificate; set tls.cert and tls.key there";
            (Code::TlsCertificateRequired, message.to_owned())
        }
        TlsError::AlertReceived(alert) => refused(*alert),
        TlsError::NoApplicationProtocol => (Code::TlsHandshake, other_protocol()),
        TlsError::PeerIncompatible(reason) => {
            let message = format!(
                "the peer and this end have no version or cipher of TLS in common ({reason:?}); \
                 see tls.minVersion"
            );
            (Code::TlsHandshake, message)
        }
        _ => (Code::TlsHandshake, format!("the TLS handshake failed: {error}")),
    };
    Error::new(code, message).with_source(error.clone())
}

/// What is wrong with a peer that speaks something else inside of TLS.
fn other_protocol() -> String {
    "the other end speaks TLS, but not the protocol busbar/1 inside (ALPN)".to_owned()
}

fn untrusted(reason: &CertificateError) -> (Code, String) {
    use CertificateError as Reason;
    match reason {
        Reason::Expired | Reason::ExpiredContext { .. } => {
            (Code::TlsExpired, format!("the peer's certificate has expired: {reason}"))
        }
        Reason::NotValidYet | Reason::NotValidYetContext { .. } => {
            (Code::TlsExpired, format!("the peer's certificate is not valid yet: {reason}"))
        }
        Reason::NotValidForName | Reason::NotValidForNameContext { .. } => {
            let message = format!("the peer's certificate is for another name: {reason}");
            (Code::TlsWrongName, message)
        }
        Reason::UnknownIssuer => {
            let message = "the peer's certificate is not signed by an authority in tls.ca";
            (Code::TlsUntrusted, message.to_owned())
        }
        Reason::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            let message = "the peer's certificate is an authority's own (CA:TRUE), which must not \
                           be used by an end; issue one with `basicConstraints=CA:FALSE`";
            (Code::TlsUntrusted, message.to_owned())
        }
        _ => (Code::TlsUntrusted, format!("the peer's certificate is not trusted: {reason}")),
    }
}

/// What an alert of the peer says about this end.
fn refused(alert: AlertDescription) -> (Code, String) {
    use AlertDescription as Alert;
    match alert {
        Alert::CertificateRequired => {
            let message = "the listener demands a certificate; set tls.cert and tls.key";
            (Code::TlsCertificateRequired, message.to_owned())
        }
        Alert::CertificateExpired => {
            (Code::TlsExpired, "the peer says that this end's certificate has expired".to_owned())
        }
        Alert::UnknownCA
        | Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateUnknown
        | Alert::CertificateRevoked
        | Alert::DecryptError
        | Alert::AccessDenied => {
            let message = format!("the peer does not trust this end's certificate ({alert:?})");
            (Code::TlsUntrusted, message)
        }
        Alert::NoApplicationProtocol => (Code::TlsHandshake, other_protocol()),
        Alert::ProtocolVersion | Alert::HandshakeFailure | Alert::InsufficientSecurity => {
            let message = format!(
                "the peer and this end have no version or cipher of TLS in common ({alert:?})"
            );
            (Code::TlsHandshake, message)
        }
        _ => (Code::TlsHandshake, format!("the peer has refused the TLS handshake ({alert:?})")),
    }
}
