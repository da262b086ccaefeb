//! What can go wrong between a URL and the wire.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use thiserror::Error;

/// A step of the transport that failed.
#[derive(Debug, Error)]
pub enum TransportError {
    /// The kernel was built without SCTP, or its module is not loaded.
    #[error("collector {destination}: this kernel has no SCTP: load its module (modprobe sctp), or use tcp")]
    NoSctp {
        /// The destination, with its port.
        destination: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The scheme is none of ours.
    #[error(
        "collector '{url}': unknown transport '{scheme}', known are udp, tcp, tls, dtls, sctp, file and json"
    )]
    UnknownScheme {
        /// What was typed.
        url: String,
        /// Its scheme.
        scheme: String,
    },
    /// NetFlow v9 and v5 have no way to tell where a message ends in a stream, and no security.
    #[error("collector {destination}: {transport} carries ipfix only, for {protocol} use udp")]
    IpfixOnly {
        /// The destination, with its port.
        destination: String,
        /// Its scheme.
        transport: &'static str,
        /// What was to be sent.
        protocol: &'static str,
    },
    /// Nothing stands where the host belongs.
    #[error("collector '{url}': the host is missing, write udp://host:port")]
    MissingHost {
        /// What was typed.
        url: String,
    },
    /// The port is not a number from 1 to 65535.
    #[error("collector '{url}': the port must be a number from 1 to 65535")]
    BadPort {
        /// What was typed.
        url: String,
    },
    /// The host is neither a name nor an address, or a part stands where none belongs.
    #[error("collector '{url}': {reason}, write udp://host:port or udp://[address]:port")]
    Malformed {
        /// What was typed.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A query key nobody knows, or a value that means nothing.
    #[error("collector '{url}': {reason}")]
    BadOption {
        /// What was typed.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A `file:` URL that means nothing.
    #[error(
        "collector '{url}': {reason}, write file:///directory/prefix?rotate-size=100MiB&rotate-time=1h, json: as file:, or json:-"
    )]
    FileUrl {
        /// What was typed.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file cannot be made, written or completed.
    #[error("cannot write {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Standard output takes nothing.
    #[error("cannot write to standard output")]
    Output {
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The name does not resolve.
    #[error("collector {destination}: cannot resolve '{host}'")]
    Resolve {
        /// The destination, with its port.
        destination: String,
        /// The name.
        host: String,
        /// What the resolver said.
        #[source]
        source: io::Error,
    },
    /// The resolver knows the name but no address for it.
    #[error("collector {destination}: '{host}' has no address")]
    NoAddress {
        /// The destination, with its port.
        destination: String,
        /// The name.
        host: String,
    },
    /// None of the name's addresses can be reached from the address to bind to.
    #[error("collector {destination}: '{host}' has no {family} address, and bind={bind} reaches no other")]
    NoAddressFor {
        /// The destination, with its port.
        destination: String,
        /// The name.
        host: String,
        /// IPv4 or IPv6.
        family: &'static str,
        /// The source address asked for.
        bind: IpAddr,
    },
    /// The socket could not be made.
    #[error("collector {peer}: cannot open a UDP socket")]
    OpenSocket {
        /// The Collector.
        peer: SocketAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// No route, or no permission, to the Collector.
    #[error("collector {peer}: cannot connect")]
    Connect {
        /// The Collector.
        peer: SocketAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The kernel does not take an option of the socket.
    #[error("collector {peer}: {option}={value}: {reason}")]
    SocketOption {
        /// The Collector.
        peer: SocketAddr,
        /// The URL's key.
        option: &'static str,
        /// Its value.
        value: String,
        /// What that means.
        reason: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A connection that was there is there no more.
    #[error("collector {peer}: the connection is lost")]
    ConnectionLost {
        /// The Collector.
        peer: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The datagram exceeds the path MTU; nothing was sent.
    #[error("collector {peer}: datagram of {length} octets exceeds the path's limit of {limit}")]
    TooLong {
        /// The Collector.
        peer: SocketAddr,
        /// Octets of the datagram.
        length: usize,
        /// The longest datagram the path takes now.
        limit: usize,
    },
    /// The kernel had no buffer for the datagram, several times in a row.
    #[error("collector {peer}: the kernel has no buffers for the datagram")]
    NoBuffers {
        /// The Collector.
        peer: SocketAddr,
        /// The last answer.
        #[source]
        source: io::Error,
    },
    /// The kernel refused the datagram: no route, a local filter, the interface is down.
    #[error("collector {peer}: cannot send the datagram")]
    Send {
        /// The Collector.
        peer: SocketAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A file of certificates or keys cannot be read.
    #[error("cannot read {}", path.display())]
    CertificateFile {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A file of certificates or keys does not hold what it should.
    #[error("cannot use {}: {reason}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody is trusted.
    #[error("this host trusts no certificate authority: name those of the collector, ca=FILE")]
    NoAuthorities,
    /// A host that no certificate can be for.
    #[error("collector {destination}: no certificate can be for that host, name another one, name=NAME")]
    NoReferenceIdentity {
        /// The destination, with its port.
        destination: String,
    },
    /// The library does not take what was asked for.
    #[error("cannot set up TLS")]
    TlsSettings {
        /// The cause.
        #[source]
        source: rustls::Error,
    },
    /// The library does not take what was asked for.
    #[error("cannot set up DTLS")]
    DtlsSettings {
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// It was built without the feature `dtls`.
    #[error(
        "collector {destination}: this build has no DTLS: build it with OpenSSL's development files and without --no-default-features"
    )]
    WithoutDtls {
        /// The destination, with its port.
        destination: String,
    },
    /// The peer is not who it should be, or does not take this exporter; no record was sent.
    #[error("collector {peer}: the {protocol} handshake failed: {reason}")]
    Handshake {
        /// The Collector.
        peer: SocketAddr,
        /// TLS or DTLS.
        protocol: &'static str,
        /// Why.
        reason: String,
    },
}
