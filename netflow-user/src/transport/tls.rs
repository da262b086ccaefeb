//! TLS as a client, versions 1.2 and 1.3 (RFC 7011 section 11): who is there is checked before anything is sent, and
//! nothing is ever sent in clear text instead.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::certificates::{Identity, authorities};
use super::destination::Destination;
use super::error::TransportError;
use super::tls_reason::reason;
use super::tls_verifier::Verifier;
use crate::clock;

/// How long a server may take to refuse after a handshake that this end takes for complete: TLS 1.3 has it check the
/// client's certificate later (RFC 8446 section 4.4.2.4). One that issues tickets does not make anybody wait.
const OBJECTION: Duration = Duration::from_secs(1);

/// What makes secure connections to one Collector.
pub struct TlsClient {
    connector: TlsConnector,
    name: ServerName<'static>,
    timeout: Duration,
}

impl TlsClient {
    /// Reads the files that the destination names. Done anew for each connection, new certificates hold from then on.
    ///
    /// # Errors
    /// A file that is no use.
    pub fn new(destination: &Destination) -> Result<Self, TransportError> {
        let options = &destination.options.tls;
        let name = options.name.as_ref().unwrap_or(&destination.host);
        let name = ServerName::try_from(name.clone())
            .map_err(|_| TransportError::NoReferenceIdentity { destination: destination.to_string() })?;
        let provider = Arc::new(default_provider());
        let verifier = Verifier::new(&authorities(options)?, options, &provider)?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|source| TransportError::TlsSettings { source })?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match Identity::read(options)? {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let now = clock::now().unix_nanos / 1_000_000_000;
                if let Some(complaint) = identity.complaint(now) {
                    tracing::warn!("collector {destination}: {complaint}");
                }
                builder
                    .with_client_auth_cert(identity.chain, identity.key)
                    .map_err(|source| TransportError::TlsSettings { source })?
            }
        };
        // Each connection is to see the certificate.
        config.resumption = Resumption::disabled();
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            name,
            timeout: destination.options.timeout,
        })
    }

    /// Shakes hands over a connection to `peer`; returns once the peer has had the time to refuse.
    ///
    /// # Errors
    /// The handshake failed; nothing was sent.
    pub async fn connect<S>(&self, stream: S, peer: SocketAddr) -> Result<TlsStream<S>, TransportError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let shaking = async {
            let mut stream = self.connector.connect(self.name.clone(), stream).await?;
            if stream.get_ref().1.protocol_version() == Some(ProtocolVersion::TLSv1_3) {
                match tokio::time::timeout(OBJECTION, accepted(&mut stream)).await {
                    Ok(result) => result?,
                    Err(_) => tracing::debug!("collector {peer}: issues no tickets"),
                }
            }
            Ok(stream)
        };
        let result = tokio::time::timeout(self.timeout, shaking).await;
        result.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into())).map_err(|error: io::Error| {
            TransportError::Handshake { peer, protocol: "TLS", reason: reason(&error, &self.name.to_str()) }
        })
    }
}

/// Completes when the server says something that it would not say to a stranger.
async fn accepted<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut TlsStream<S>) -> io::Result<()> {
    poll_fn(|context| {
        let mut octet = [0];
        let mut buffer = ReadBuf::new(&mut octet);
        let polled = Pin::new(&mut *stream).poll_read(context, &mut buffer);
        match polled {
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                Poll::Ready(Err(ErrorKind::UnexpectedEof.into()))
            }
            Poll::Pending if stream.get_ref().1.tls13_tickets_received() == 0 => Poll::Pending,
            Poll::Pending => Poll::Ready(Ok(())),
            done => done,
        }
    })
    .await
}

#[cfg(test)]
mod tests;
