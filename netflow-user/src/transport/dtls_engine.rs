//! OpenSSL's DTLS without a socket: datagrams go in and come out.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::IpAddr;

use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::ssl::{
    Error, ErrorCode, Ssl, SslContext, SslMethod, SslOptions, SslRef, SslStream, SslVerifyMode, SslVersion,
};
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::{X509CheckFlags, X509VerifyFlags};
use openssl::x509::{X509, X509VerifyResult};

use super::certificates::{Identity, authorities, fingerprint};
use super::destination::Destination;
use super::error::TransportError;
use super::tls_options::Fingerprint;
use crate::clock;

/// Octets that a record has beyond its message: 13 of the header (RFC 6347 section 4.1), 8 of the explicit nonce and 16 of
/// the tag (RFC 5288 section 3); the other cipher suites have fewer.
pub(super) const OVERHEAD: usize = 13 + 8 + 16;
/// Authenticated encryption, and keys that are not kept (TLS-4).
const CIPHERS: &str = "ECDHE+AESGCM:ECDHE+CHACHA20";

/// What a handshake is made of.
pub(super) struct Settings {
    context: SslContext,
    name: String,
    fingerprints: Vec<Fingerprint>,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Engine {
    stream: SslStream<Datagrams>,
    name: String,
    fingerprints: Vec<Fingerprint>,
}

/// How far a handshake is.
pub(super) enum Step {
    /// Both know each other.
    Done,
    /// The peer has the word.
    Wait,
}

/// The network, as OpenSSL sees it.
#[derive(Debug, Default)]
struct Datagrams {
    arrived: VecDeque<Vec<u8>>,
    outgoing: Vec<Vec<u8>>,
}

impl Settings {
    /// Reads the files that the destination names. Done anew for each connection, new certificates hold from then on.
    pub(super) fn new(destination: &Destination) -> Result<Self, TransportError> {
        let options = &destination.options.tls;
        let name = options.name.clone().unwrap_or_else(|| destination.host.clone());
        let (authorities, identity) = (authorities(options)?, Identity::read(options)?);
        if let Some(identity) = &identity
            && let Some(complaint) = identity.complaint(clock::now().unix_nanos / 1_000_000_000)
        {
            tracing::warn!("collector {destination}: {complaint}");
        }
        let trusts_by_list_alone = authorities.is_empty();
        let mut trusted = 0;
        let mut build = || -> Result<SslContext, ErrorStack> {
            let mut builder = SslContext::builder(SslMethod::dtls_client())?;
            builder.set_min_proto_version(Some(SslVersion::DTLS1_2))?;
            builder.set_cipher_list(CIPHERS)?;
            builder
                .set_options(SslOptions::NO_QUERY_MTU | SslOptions::NO_RENEGOTIATION | SslOptions::NO_TICKET);
            let mut store = X509StoreBuilder::new()?;
            for certificate in &authorities {
                // The system's may hold some that this library does not take.
                if let Ok(certificate) = X509::from_der(certificate) {
                    store.add_cert(certificate)?;
                    trusted += 1;
                }
            }
            store.set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
            builder.set_cert_store(store.build());
            if let Some(identity) = &identity {
                for (i, certificate) in identity.chain.iter().enumerate() {
                    let certificate = X509::from_der(certificate)?;
                    if i == 0 {
                        builder.set_certificate(&certificate)?;
                    } else {
                        builder.add_extra_chain_cert(certificate)?;
                    }
                }
                let key = PKey::private_key_from_der(identity.key.secret_der())?;
                builder.set_private_key(&key)?;
            }
            builder.set_verify_callback(SslVerifyMode::PEER, move |is_good, context| {
                // Its fingerprint is looked at when the handshake is through.
                is_good || (trusts_by_list_alone && is_about_authorities(context.error()))
            });
            Ok(builder.build())
        };
        let context =
            build().map_err(|source| TransportError::DtlsSettings { source: io::Error::from(source) })?;
        if let (Some(path), true) = (&options.ca, trusted < authorities.len()) {
            let reason = "it holds what is no certificate of an authority".to_owned();
            return Err(TransportError::Certificate { path: path.clone(), reason });
        }
        Ok(Self { context, name, fingerprints: options.fingerprints.clone() })
    }

    /// A connection whose datagrams have up to so many octets; or why there can be none.
    pub(super) fn engine(&self, datagram: usize) -> Result<Engine, String> {
        let build = || -> Result<SslStream<Datagrams>, ErrorStack> {
            let mut ssl = Ssl::new(&self.context)?;
            ssl.set_connect_state();
            ssl.set_mtu(u32::try_from(datagram).unwrap_or(u32::MAX))?;
            let param = ssl.param_mut();
            param.set_hostflags(X509CheckFlags::NO_PARTIAL_WILDCARDS | X509CheckFlags::NEVER_CHECK_SUBJECT);
            match self.name.parse::<IpAddr>() {
                Ok(address) => param.set_ip(address)?,
                Err(_) => {
                    param.set_host(&self.name)?;
                    ssl.set_hostname(&self.name)?;
                }
            }
            SslStream::new(ssl, Datagrams::default())
        };
        let stream = build().map_err(|error| error.to_string())?;
        Ok(Engine { stream, name: self.name.clone(), fingerprints: self.fingerprints.clone() })
    }
}

impl Engine {
    /// Goes on with the handshake, or says why it failed.
    pub(super) fn shake(&mut self) -> Result<Step, String> {
        match self.stream.do_handshake() {
            Ok(()) => self.look_at_the_list().map(|()| Step::Done),
            Err(error) if waits(&error) => Ok(Step::Wait),
            Err(error) => Err(reason(&error, self.stream.ssl(), &self.name)),
        }
    }

    fn look_at_the_list(&self) -> Result<(), String> {
        if self.fingerprints.is_empty() {
            return Ok(());
        }
        let certificate = self.stream.ssl().peer_certificate().and_then(|it| it.to_der().ok());
        let found = certificate.map(|certificate| fingerprint(&certificate));
        match found {
            Some(found) if self.fingerprints.contains(&found) => Ok(()),
            Some(found) => {
                Err(format!("its certificate is none of those allowed, its fingerprint is {found}"))
            }
            None => Err("it has no certificate".to_owned()),
        }
    }

    /// A datagram has arrived.
    pub(super) fn arrived(&mut self, datagram: &[u8]) {
        self.stream.get_mut().arrived.push_back(datagram.to_vec());
    }

    /// Datagrams to send.
    pub(super) fn outgoing(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.stream.get_mut().outgoing)
    }

    /// The one datagram that a message goes in.
    pub(super) fn seal(&mut self, message: &[u8]) -> io::Result<Vec<u8>> {
        self.outgoing();
        self.stream.ssl_write(message).map_err(into_io)?;
        let mut datagrams = self.outgoing();
        match (datagrams.pop(), datagrams.is_empty()) {
            (Some(datagram), true) => Ok(datagram),
            _ => Err(io::Error::other("a message is not one record")),
        }
    }

    /// Reads what a collector says: nothing that matters, unless it says goodbye.
    pub(super) fn open(&mut self, datagram: &[u8]) -> io::Result<()> {
        self.arrived(datagram);
        let mut ignored = [0; 1024];
        loop {
            match self.stream.ssl_read(&mut ignored) {
                Ok(_) => {}
                Err(error) if waits(&error) => return Ok(()),
                Err(error) => return Err(into_io(error)),
            }
        }
    }

    /// The datagrams of a goodbye.
    pub(super) fn close(&mut self) -> Vec<Vec<u8>> {
        let _ = self.stream.shutdown();
        self.outgoing()
    }
}

impl Read for Datagrams {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let datagram = self.arrived.pop_front().ok_or(ErrorKind::WouldBlock)?;
        datagram.as_slice().read(buffer)
    }
}

impl Write for Datagrams {
    fn write(&mut self, datagram: &[u8]) -> io::Result<usize> {
        self.outgoing.push(datagram.to_vec());
        Ok(datagram.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn waits(error: &Error) -> bool {
    matches!(error.code(), ErrorCode::WANT_READ | ErrorCode::WANT_WRITE)
}

fn into_io(error: Error) -> io::Error {
    if error.code() == ErrorCode::ZERO_RETURN {
        return io::Error::new(ErrorKind::UnexpectedEof, "the collector closed the connection");
    }
    error.into_io_error().unwrap_or_else(io::Error::other)
}

/// X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, SELF_SIGNED_CERT_IN_CHAIN, UNABLE_TO_GET_ISSUER_CERT_LOCALLY and
/// UNABLE_TO_VERIFY_LEAF_SIGNATURE.
fn is_about_authorities(result: X509VerifyResult) -> bool {
    matches!(result.as_raw(), 18..=21)
}

/// Why a handshake failed, in words for operators; "it" is the collector.
fn reason(error: &Error, ssl: &SslRef, name: &str) -> String {
    let verified = ssl.verify_result();
    match verified.as_raw() {
        0 => {}
        9 => return "its certificate is not valid yet".to_owned(),
        10 => return "its certificate has expired".to_owned(),
        26 => return "its certificate is not one for servers".to_owned(),
        62 | 64 => return format!("its certificate is not for '{name}' (name=NAME)"),
        _ if is_about_authorities(verified) => {
            return "no authority that is trusted vouches for its certificate (ca=FILE)".to_owned();
        }
        _ => return format!("its certificate is refused: {verified}"),
    }
    let said = error.ssl_error().and_then(|stack| stack.errors().last()).and_then(|error| error.reason());
    match said {
        Some(said) if said.contains("handshake failure") || said.contains("certificate required") => {
            "it sees no common way, which is DTLS 1.2 here, or wants a certificate of this exporter (cert=FILE)".to_owned()
        }
        Some(said)
            if said.contains("alert") && (said.contains("certificate") || said.contains("unknown ca")) =>
        {
            format!("it refuses the certificate of this exporter ({said})")
        }
        Some(said) if said.contains("protocol version") || said.contains("unsupported protocol") => {
            "it does not speak DTLS 1.2".to_owned()
        }
        Some(said) => said.to_owned(),
        None => error.to_string(),
    }
}
