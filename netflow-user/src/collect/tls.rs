//! TLS as a server (RFC 7011 section 11): versions 1.2 and 1.3, exporters' certificates where they are asked for.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::TlsAcceptor;

use super::error::CollectError;
use super::listen_url::Identity;

/// What accepts handshakes.
///
/// # Errors
/// The files cannot be read, or do not belong together.
pub(super) fn acceptor(identity: &Identity) -> Result<TlsAcceptor, CollectError> {
    let wrong = |path: &Path, reason: String| CollectError::Identity { path: path.to_owned(), reason };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certificates = certificates(&identity.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&identity.key)
        .map_err(|error| wrong(&identity.key, error.to_string()))?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&identity.certificate, error.to_string()))?;
    let builder = match &identity.client_authority {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in self::certificates(path)? {
                roots.add(certificate).map_err(|error| wrong(path, error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| wrong(path, error.to_string()))?)
        }
    };
    let config = builder
        .with_single_cert(certificates, key)
        .map_err(|error| wrong(&identity.certificate, error.to_string()))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CollectError> {
    let wrong = |reason: String| CollectError::Identity { path: path.to_owned(), reason };
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| wrong(error.to_string()))?;
    if found.is_empty() {
        return Err(wrong("there is no certificate in it".to_owned()));
    }
    Ok(found)
}
