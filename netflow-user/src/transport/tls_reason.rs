//! Why a handshake failed, in words for operators; "it" is the collector.

use std::io::{self, ErrorKind};

use rustls::{AlertDescription, CertificateError, Error};

/// The reason, in one line. `name` is what the collector's certificate was to be for.
pub(super) fn reason(error: &io::Error, name: &str) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::InvalidCertificate(refusal)) => of_certificate(refusal, name),
        Some(Error::AlertReceived(alert)) => of_alert(*alert),
        Some(Error::PeerIncompatible(why)) => {
            format!("it speaks neither TLS 1.2 nor TLS 1.3 as this exporter does ({why:?})")
        }
        Some(Error::InvalidMessage(_)) => "it does not answer in TLS".to_owned(),
        Some(other) => other.to_string(),
        None => match error.kind() {
            ErrorKind::TimedOut => "it did not answer in time".to_owned(),
            ErrorKind::UnexpectedEof => "it closed the connection".to_owned(),
            _ => error.to_string(),
        },
    }
}

fn of_certificate(refusal: &CertificateError, name: &str) -> String {
    match refusal {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet".to_owned()
        }
        CertificateError::UnknownIssuer => {
            "no authority that is trusted vouches for its certificate (ca=FILE)".to_owned()
        }
        CertificateError::NotValidForNameContext { presented, .. } if !presented.is_empty() => {
            format!("its certificate is not for '{name}' but for {} (name=NAME)", presented.join(", "))
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("its certificate is not for '{name}': no subjectAltName says so (name=NAME)")
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "its certificate is not one for servers".to_owned()
        }
        // What webpki says, whose errors have no other name here.
        CertificateError::Other(other) if other.to_string() == "CaUsedAsEndEntity" => {
            "its certificate is one of an authority, as `openssl req -x509` makes them: trust that very certificate (ca=FILE)".to_owned()
        }
        CertificateError::Other(other) => other.to_string(),
        other => format!("its certificate is refused: {other}"),
    }
}

fn of_alert(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::ProtocolVersion => "it speaks neither TLS 1.2 nor TLS 1.3".to_owned(),
        AlertDescription::CertificateRequired => {
            "it wants a certificate of this exporter (cert=FILE)".to_owned()
        }
        AlertDescription::HandshakeFailure => {
            "it sees no common way, or wants a certificate of this exporter (cert=FILE)".to_owned()
        }
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::AccessDenied => {
            format!("it refuses the certificate of this exporter (alert {alert:?})")
        }
        other => format!("it answers with alert {other:?}"),
    }
}
