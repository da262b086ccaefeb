//! Whether a collector's certificate is one that records may be sent to.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};

use super::certificates::{Validity, fingerprint};
use super::error::TransportError;
use super::tls_options::{Fingerprint, TlsOptions};

/// Its name and its dates must be right; and an authority must vouch for it, or the operator by its file or its
/// fingerprint, or both if both are given.
#[derive(Debug)]
pub(super) struct Verifier {
    chain: Option<Arc<WebPkiServerVerifier>>,
    /// What the operator trusts by file. A collector that shows one of them itself needs nobody else's word: a certificate
    /// that signs itself, as `openssl req -x509` makes it, which no chain takes (it is an authority's).
    given: Vec<CertificateDer<'static>>,
    fingerprints: Vec<Fingerprint>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// A certificate that is not among those allowed.
#[derive(Debug)]
struct NotAllowed(Fingerprint);

impl fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "its certificate is none of those allowed, its fingerprint is {}", self.0)
    }
}

impl std::error::Error for NotAllowed {}

impl Verifier {
    /// Trusts these authorities.
    ///
    /// # Errors
    /// One of them is no certificate.
    pub(super) fn new(
        authorities: &[CertificateDer<'static>],
        options: &TlsOptions,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, TransportError> {
        let mut roots = RootCertStore::empty();
        let (taken, _) = roots.add_parsable_certificates(authorities.iter().cloned());
        if let (Some(path), true) = (&options.ca, taken < authorities.len()) {
            let reason = "it holds what is no certificate of an authority".to_owned();
            return Err(TransportError::Certificate { path: path.clone(), reason });
        }
        let chain = match taken {
            0 if options.fingerprints.is_empty() => return Err(TransportError::NoAuthorities),
            0 => None,
            _ => Some(
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
                    .build()
                    .map_err(|_| TransportError::NoAuthorities)?,
            ),
        };
        let algorithms = provider.signature_verification_algorithms;
        let given = if options.ca.is_some() { authorities.to_vec() } else { Vec::new() };
        Ok(Self { chain, given, fingerprints: options.fingerprints.clone(), algorithms })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = fingerprint(end_entity);
        if !self.fingerprints.is_empty() && !self.fingerprints.contains(&found) {
            let other = OtherError(Arc::new(NotAllowed(found)));
            return Err(Error::InvalidCertificate(CertificateError::Other(other)));
        }
        let is_given = self.given.iter().any(|given| given == end_entity);
        if let (Some(chain), false) = (&self.chain, is_given) {
            return chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        }
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        let refusal = match Validity::of(end_entity) {
            None => CertificateError::BadEncoding,
            Some(validity) if now.as_secs() > validity.last => CertificateError::Expired,
            Some(validity) if now.as_secs() < validity.first => CertificateError::NotValidYet,
            Some(_) => return Ok(ServerCertVerified::assertion()),
        };
        Err(Error::InvalidCertificate(refusal))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
