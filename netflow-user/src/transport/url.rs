//! What the operator types as a collector: `udp://host:port?protocol=v9`, or just `host:port`.
//!
//! Ports and protocols left out are filled in later, when the general `--protocol` is known.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use url::{Host, ParseError, Url};

use super::destination::Destination;
use super::error::TransportError;

/// The protocol a collector is to receive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum ExportProtocol {
    /// IPFIX (RFC 7011).
    Ipfix,
    /// NetFlow version 9 (RFC 3954).
    NetflowV9,
    /// NetFlow version 5.
    NetflowV5,
}

impl ExportProtocol {
    /// The port used when none is given: 4739 is IANA's for IPFIX (RFC 7011 section 10.1), 2055 is the
    /// custom for NetFlow.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Ipfix => 4739,
            Self::NetflowV9 | Self::NetflowV5 => 2055,
        }
    }

    /// The word used in URLs and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ipfix => "ipfix",
            Self::NetflowV9 => "v9",
            Self::NetflowV5 => "v5",
        }
    }
}

/// A collector as it was typed.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct CollectorUrl {
    /// A name or an address, IPv6 without brackets.
    pub host: String,
    /// The port, if one was given.
    pub port: Option<u16>,
    /// The protocol, if one was given.
    pub protocol: Option<ExportProtocol>,
}

impl CollectorUrl {
    /// The destination this URL means where `protocol` is the general choice.
    pub fn destination(&self, protocol: ExportProtocol) -> Destination {
        let protocol = self.protocol.unwrap_or(protocol);
        let port = self.port.unwrap_or(protocol.default_port());
        Destination { host: self.host.clone(), port, protocol }
    }
}

impl FromStr for CollectorUrl {
    type Err = TransportError;

    fn from_str(text: &str) -> Result<Self, TransportError> {
        let typed = || text.to_owned();
        let parsed = Url::parse(&with_scheme(text)).map_err(|error| match error {
            ParseError::EmptyHost => TransportError::MissingHost { url: typed() },
            ParseError::InvalidPort => TransportError::BadPort { url: typed() },
            other => TransportError::Malformed { url: typed(), reason: other.to_string() },
        })?;
        match parsed.scheme() {
            "udp" => {}
            scheme @ ("tcp" | "sctp" | "tls" | "dtls") => {
                return Err(TransportError::UnsupportedScheme { url: typed(), scheme: scheme.to_owned() });
            }
            scheme => return Err(TransportError::UnknownScheme { url: typed(), scheme: scheme.to_owned() }),
        }
        let host = match parsed.host() {
            None | Some(Host::Domain("")) => return Err(TransportError::MissingHost { url: typed() }),
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
        };
        if parsed.port() == Some(0) {
            return Err(TransportError::BadPort { url: typed() });
        }
        let surplus = !matches!(parsed.path(), "" | "/")
            || parsed.fragment().is_some()
            || !parsed.username().is_empty()
            || parsed.password().is_some();
        if surplus {
            let reason = "a path, a user or a fragment has no meaning here".to_owned();
            return Err(TransportError::Malformed { url: typed(), reason });
        }
        let mut protocol = None;
        for (key, value) in parsed.query_pairs() {
            protocol = Some(match (key.as_ref(), value.as_ref()) {
                ("protocol", "ipfix") => ExportProtocol::Ipfix,
                ("protocol", "v9") => ExportProtocol::NetflowV9,
                ("protocol", "v5") => ExportProtocol::NetflowV5,
                ("protocol", other) => {
                    return Err(TransportError::UnknownProtocol { url: typed(), protocol: other.to_owned() });
                }
                (other, _) => {
                    return Err(TransportError::UnknownOption { url: typed(), key: other.to_owned() });
                }
            });
        }
        Ok(Self { host, port: parsed.port(), protocol })
    }
}

/// Completes what was typed without a scheme; a bare IPv6 address gets its brackets.
fn with_scheme(text: &str) -> String {
    if text.contains("://") {
        text.to_owned()
    } else if text.parse::<Ipv6Addr>().is_ok() {
        format!("udp://[{text}]")
    } else {
        format!("udp://{text}")
    }
}

impl fmt::Display for CollectorUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "udp://[{}]", self.host)?;
        } else {
            write!(f, "udp://{}", self.host)?;
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        if let Some(protocol) = self.protocol {
            write!(f, "?protocol={}", protocol.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn good_urls_give_host_port_and_protocol() {
        use ExportProtocol::{Ipfix, NetflowV9};
        let cases = [
            ("udp://collector.example:9995", "collector.example", Some(9995), None),
            ("udp://collector.example", "collector.example", None, None),
            ("udp://192.0.2.1:2055/?protocol=v9", "192.0.2.1", Some(2055), Some(NetflowV9)),
            ("udp://[2001:db8::1]:4739?protocol=ipfix", "2001:db8::1", Some(4739), Some(Ipfix)),
            ("UDP://Host:1", "Host", Some(1), None),
            ("192.0.2.1:9995", "192.0.2.1", Some(9995), None),
            ("localhost", "localhost", None, None),
            ("localhost?protocol=v9", "localhost", None, Some(NetflowV9)),
            ("2001:db8::1", "2001:db8::1", None, None),
            ("[2001:db8::1]:65535", "2001:db8::1", Some(65535), None),
        ];
        for (text, host, port, protocol) in cases {
            let url: CollectorUrl = text.parse().unwrap();
            assert_eq!(url, CollectorUrl { host: host.to_owned(), port, protocol }, "{text}");
            assert_eq!(
                url.to_string().parse::<CollectorUrl>().unwrap(),
                url,
                "{text} printed and read again"
            );
        }
    }

    #[test]
    fn bad_urls_are_refused_with_their_reason() {
        let cases = [
            ("", "the host is missing"),
            ("udp://", "the host is missing"),
            ("udp://:4739", "the host is missing"),
            (":4739", "the host is missing"),
            ("udp:///path", "the host is missing"),
            ("udp://host:0", "the port must be a number from 1 to 65535"),
            ("host:65536", "the port must be a number from 1 to 65535"),
            ("host:flow", "the port must be a number from 1 to 65535"),
            ("tcp://host:4739", "transport 'tcp' is not supported yet, use udp"),
            ("sctp://host", "transport 'sctp' is not supported yet"),
            ("tls://host", "transport 'tls' is not supported yet"),
            ("dtls://host", "transport 'dtls' is not supported yet"),
            ("http://host", "unknown transport 'http', use udp"),
            ("udp://host?protocol=v8", "unknown protocol 'v8', known are ipfix, v9 and v5"),
            ("udp://host?protocol", "unknown protocol '', known are ipfix, v9 and v5"),
            ("udp://host?color=red", "unknown option 'color', known is protocol"),
            ("udp://host?protocol=v9&mtu=1", "unknown option 'mtu'"),
            ("udp://[2001:db8::1", "invalid IPv6 address"),
            ("udp://[fe80::g]:1", "invalid IPv6 address"),
            ("udp://ho st:1", "invalid"),
            ("udp://host:1/path", "a path, a user or a fragment has no meaning here"),
            ("udp://user:word@host", "a path, a user or a fragment has no meaning here"),
        ];
        for (text, reason) in cases {
            let error = text.parse::<CollectorUrl>().unwrap_err().to_string();
            assert!(error.contains(reason), "'{text}' gave: {error}");
            assert!(error.starts_with(&format!("collector '{text}': ")), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn what_is_left_out_follows_the_general_protocol() {
        let bare: CollectorUrl = "host".parse().unwrap();
        assert_eq!(bare.destination(ExportProtocol::Ipfix).port, 4739);
        assert_eq!(bare.destination(ExportProtocol::NetflowV9).port, 2055);
        let own: CollectorUrl = "host?protocol=v9".parse().unwrap();
        let destination = own.destination(ExportProtocol::Ipfix);
        assert_eq!((destination.port, destination.protocol), (2055, ExportProtocol::NetflowV9));
        let v5: CollectorUrl = "h?protocol=v5".parse().unwrap();
        assert_eq!(v5.destination(ExportProtocol::Ipfix).port, 2055);
    }
}
