//! Where one stream of messages goes, complete: transport, host, port and protocol; and the resolver's answer.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::time::Duration;

use super::error::TransportError;
use super::socket_options::SocketOptions;
use super::spool_options::SpoolOptions;
use super::tls_options::TlsOptions;
use super::url::ExportProtocol;

/// RFC 7011 section 10.4.4: by default a connection is not attempted more often than once a minute.
pub const DEFAULT_RETRY: Duration = Duration::from_secs(60);
/// For a connection to come about, and for octets to be acknowledged.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two looks at what a name means.
pub const DEFAULT_RESOLVE_INTERVAL: Duration = Duration::from_secs(300);

/// What carries messages to a Collector.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum TransportKind {
    /// Datagrams.
    Udp,
    /// A connection.
    Tcp,
    /// A connection, encrypted (RFC 8446, RFC 5246).
    Tls,
    /// Datagrams, encrypted (RFC 6347).
    Dtls,
    /// An association (RFC 9260).
    Sctp,
}

impl TransportKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Udp, Self::Tcp, Self::Tls, Self::Dtls, Self::Sctp];
    /// Those that have certificates.
    pub const SECURE: [Self; 2] = [Self::Tls, Self::Dtls];
    /// Those that have a beginning that may fail.
    pub const CONNECTED: [Self; 4] = [Self::Tcp, Self::Tls, Self::Dtls, Self::Sctp];

    /// Those that tell what has arrived.
    pub const RELIABLE: [Self; 3] = [Self::Tcp, Self::Tls, Self::Sctp];

    /// The scheme of URLs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Dtls => "dtls",
            Self::Sctp => "sctp",
        }
    }

    /// The transport of a scheme.
    pub fn of_scheme(scheme: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == scheme)
    }

    /// Whether peers show certificates.
    pub fn is_secure(self) -> bool {
        Self::SECURE.contains(&self)
    }

    /// The port used when none is given: 4739 is IANA's for IPFIX, 4740 for IPFIX with TLS or DTLS (RFC 7011
    /// section 10.1), 2055 the custom for NetFlow.
    pub fn default_port(self, protocol: ExportProtocol) -> u16 {
        if self.is_secure() { 4740 } else { protocol.default_port() }
    }
}

/// What may be said of a collector beside its place.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct DestinationOptions {
    /// What the socket is to be like.
    pub socket: SocketOptions,
    /// Certificates, for TLS and DTLS.
    pub tls: TlsOptions,
    /// From one attempt to connect to the next.
    pub retry: Duration,
    /// For a connection to come about, and for octets to be acknowledged: then the peer is dead.
    pub timeout: Duration,
    /// How often the name is resolved again.
    pub resolve_interval: Duration,
    /// The Collector's program, where messages are to be made for it.
    pub preset: Option<String>,
    /// Where messages wait while the Collector is away.
    pub spool: SpoolOptions,
    /// Records that wait for it at most, if that is said.
    pub queue: Option<NonZeroU64>,
}

impl Default for DestinationOptions {
    fn default() -> Self {
        Self {
            socket: SocketOptions::default(),
            tls: TlsOptions::default(),
            retry: DEFAULT_RETRY,
            timeout: DEFAULT_TIMEOUT,
            resolve_interval: DEFAULT_RESOLVE_INTERVAL,
            preset: None,
            spool: SpoolOptions::default(),
            queue: None,
        }
    }
}

/// One collector with nothing left open but the address behind its name.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Destination {
    /// What carries messages there.
    pub transport: TransportKind,
    /// A name or an address, IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What to send there.
    pub protocol: ExportProtocol,
    /// All else that may be said of it.
    pub options: DestinationOptions,
}

impl Destination {
    /// A Collector reached over UDP, all else being the default.
    pub fn udp(host: impl Into<String>, port: u16, protocol: ExportProtocol) -> Self {
        Self {
            transport: TransportKind::Udp,
            host: host.into(),
            port,
            protocol,
            options: DestinationOptions::default(),
        }
    }

    /// The addresses behind the name that can be reached from the address to bind to, best first (the resolver
    /// orders them by RFC 6724); never empty.
    pub async fn resolve(&self) -> Result<Vec<SocketAddr>, TransportError> {
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await.map_err(|source| {
            TransportError::Resolve { destination: self.to_string(), host: self.host.clone(), source }
        })?;
        let mut addresses: Vec<SocketAddr> = Vec::new();
        let mut others = 0;
        for address in found {
            if !self.options.socket.reaches(address.ip()) {
                others += 1;
            } else if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        match (addresses.is_empty(), self.options.socket.bind) {
            (false, _) => Ok(addresses),
            (true, Some(bind)) if others > 0 => Err(TransportError::NoAddressFor {
                destination: self.to_string(),
                host: self.host.clone(),
                family: if bind.is_ipv4() { "IPv4" } else { "IPv6" },
                bind,
            }),
            (true, _) => {
                Err(TransportError::NoAddress { destination: self.to_string(), host: self.host.clone() })
            }
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.transport != TransportKind::Udp {
            write!(f, "{}:", self.transport.name())?;
        }
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn destination(host: &str) -> Destination {
        Destination::udp(host, 4739, ExportProtocol::Ipfix)
    }

    #[tokio::test]
    async fn addresses_resolve_to_themselves() {
        assert_eq!(
            destination("192.0.2.7").resolve().await.unwrap(),
            ["192.0.2.7:4739".parse::<SocketAddr>().unwrap()]
        );
        assert_eq!(
            destination("2001:db8::7").resolve().await.unwrap(),
            ["[2001:db8::7]:4739".parse::<SocketAddr>().unwrap()]
        );
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_is_named_in_the_error() {
        // A label of 64 octets is refused before anybody asks a name server (RFC 1035 section 2.3.4).
        let host = format!("{}.invalid", "x".repeat(64));
        let error = destination(&host).resolve().await.unwrap_err();
        assert!(matches!(error, TransportError::Resolve { .. }), "{error}");
        assert_eq!(error.to_string(), format!("collector {host}:4739: cannot resolve '{host}'"));
    }

    #[tokio::test]
    async fn an_address_that_the_bound_one_cannot_reach_is_not_taken() {
        let mut destination = destination("192.0.2.7");
        destination.options.socket.bind = Some("192.0.2.1".parse().unwrap());
        assert_eq!(destination.resolve().await.unwrap().len(), 1);
        destination.options.socket.bind = Some("2001:db8::1".parse().unwrap());
        assert_eq!(
            destination.resolve().await.unwrap_err().to_string(),
            "collector 192.0.2.7:4739: '192.0.2.7' has no IPv6 address, and bind=2001:db8::1 reaches no other"
        );
    }

    #[test]
    fn the_name_says_the_transport_unless_it_is_udp() {
        let mut destination = destination("2001:db8::7");
        assert_eq!(destination.to_string(), "[2001:db8::7]:4739");
        for (kind, name) in [(TransportKind::Tcp, "tcp"), (TransportKind::Dtls, "dtls")] {
            destination.transport = kind;
            assert_eq!(destination.to_string(), format!("{name}:[2001:db8::7]:4739"));
        }
    }
}
