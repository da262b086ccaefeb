//! What the operator types as a collector: `udp://host:port?protocol=v9`, or just `host:port`.
//!
//! Ports and protocols left out are filled in later, when the general `--protocol` is known.

use std::net::Ipv6Addr;
use std::str::FromStr;

use url::{Host, ParseError, Url};

use super::destination::{Destination, DestinationOptions, TransportKind};
use super::error::TransportError;
use super::spool_options::SpoolOptions;
use super::url_key::{self, KEYS};

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
    /// What carries messages there.
    pub transport: TransportKind,
    /// A name or an address, IPv6 without brackets.
    pub host: String,
    /// The port, if one was given.
    pub port: Option<u16>,
    /// The protocol, if one was given.
    pub protocol: Option<ExportProtocol>,
    /// All else.
    pub options: DestinationOptions,
}

impl CollectorUrl {
    /// `host` alone, all else being the default.
    fn new(transport: TransportKind, host: String) -> Self {
        Self { transport, host, port: None, protocol: None, options: DestinationOptions::default() }
    }

    /// The destination this URL means where `protocol` is the general choice.
    ///
    /// # Errors
    /// The transport does not carry the protocol.
    pub fn destination(self, protocol: ExportProtocol) -> Result<Destination, TransportError> {
        let protocol = self.protocol.unwrap_or(protocol);
        let destination = Destination {
            transport: self.transport,
            port: self.port.unwrap_or(self.transport.default_port(protocol)),
            host: self.host,
            protocol,
            options: self.options,
        };
        if self.transport == TransportKind::Udp || protocol == ExportProtocol::Ipfix {
            return Ok(destination);
        }
        Err(TransportError::IpfixOnly {
            destination: destination.to_string(),
            transport: self.transport.name(),
            protocol: protocol.name(),
        })
    }

    /// Takes what stands behind the question mark.
    fn take(&mut self, pairs: url::form_urlencoded::Parse<'_>) -> Result<(), String> {
        let mut seen: Vec<&str> = Vec::new();
        let transport = self.transport;
        for (name, value) in pairs {
            let Some(key) = KEYS.iter().find(|key| key.name == name) else {
                return Err(format!("unknown option '{name}', known are {}", url_key::names(transport)));
            };
            if !key.of.contains(&transport) {
                let known = url_key::names(transport);
                return Err(format!(
                    "option '{name}' has no meaning for {}, known are {known}",
                    transport.name()
                ));
            }
            if seen.contains(&key.name) && !key.repeats {
                return Err(format!("option '{name}' is given twice"));
            }
            seen.push(key.name);
            (key.set)(self, &value)?;
        }
        if self.options.tls.key.is_some() && self.options.tls.cert.is_none() {
            return Err("key is the private key of a certificate, and cert is missing".to_owned());
        }
        if self.options.spool.directory.is_none() && self.options.spool != SpoolOptions::default() {
            return Err("spool-size and spool-rate are those of a spool, and spool is missing".to_owned());
        }
        Ok(())
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
        let Some(transport) = TransportKind::of_scheme(parsed.scheme()) else {
            return Err(TransportError::UnknownScheme { url: typed(), scheme: parsed.scheme().to_owned() });
        };
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
        let mut url = Self { port: parsed.port(), ..Self::new(transport, host) };
        url.take(parsed.query_pairs())
            .map_err(|reason| TransportError::BadOption { url: typed(), reason })?;
        Ok(url)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::time::Duration;

    use super::*;
    use crate::transport::SocketOptions;

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
            let plain = CollectorUrl::new(TransportKind::Udp, host.to_owned());
            assert_eq!(url, CollectorUrl { port, protocol, ..plain }, "{text}");
        }
    }

    #[test]
    fn options_say_what_socket_and_certificates_are_like() {
        let print = "ab".repeat(32);
        let text = format!(
            "tls://h:1?bind=[2001:db8::9]&interface=eth0.7&dscp=46&ttl=3&retry=2m&timeout=5s&resolve=1h\
             &ca=/etc/ca.pem&cert=c.pem&key=%2Fk%20.pem&name=c.example&fingerprint={print}&fingerprint={print}"
        );
        let url: CollectorUrl = text.parse().unwrap();
        assert_eq!(url.transport, TransportKind::Tls);
        let socket = SocketOptions {
            bind: Some("2001:db8::9".parse().unwrap()),
            interface: Some("eth0.7".to_owned()),
            dscp: Some(46),
            ttl: Some(3.try_into().unwrap()),
        };
        assert_eq!(url.options.socket, socket);
        let times = [url.options.retry, url.options.timeout, url.options.resolve_interval];
        assert_eq!(times, [120, 5, 3600].map(Duration::from_secs));
        assert_eq!(url.options.tls.ca, Some("/etc/ca.pem".into()));
        assert_eq!(
            (url.options.tls.cert, url.options.tls.key),
            (Some("c.pem".into()), Some("/k .pem".into()))
        );
        assert_eq!(url.options.tls.name.as_deref(), Some("c.example"));
        assert_eq!(url.options.tls.fingerprints.len(), 2);
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
            ("http://host", "unknown transport 'http', known are udp, tcp, tls, dtls, sctp, file and json"),
            ("udp://host?protocol=v8", "unknown protocol 'v8', known are ipfix, v9 and v5"),
            ("udp://host?protocol", "unknown protocol '', known are ipfix, v9 and v5"),
            (
                "udp://host?color=red",
                "unknown option 'color', known are protocol, preset, queue, bind, interface, dscp, ttl and resolve",
            ),
            ("udp://host?protocol=v9&mtu=1", "unknown option 'mtu'"),
            ("udp://host?dscp=1&dscp=1", "option 'dscp' is given twice"),
            ("udp://host?dscp=64", "dscp is a number from 0 to 63, not '64'"),
            ("udp://host?ttl=0", "ttl is a number from 1 to 255, not '0'"),
            ("udp://host?ttl=256", "ttl is a number from 1 to 255"),
            ("udp://host?bind=eth0", "bind is an address of this host, 'eth0' is none"),
            ("udp://192.0.2.1?bind=::1", "one is IPv4, the other IPv6"),
            ("udp://[2001:db8::1]?bind=192.0.2.1", "one is IPv4, the other IPv6"),
            ("udp://host?interface=", "'' cannot be one"),
            ("udp://host?interface=a/b", "'a/b' cannot be one"),
            ("udp://host?interface=sixteencharacter", "cannot be one"),
            ("udp://host?cert=a", "option 'cert' has no meaning for udp"),
            ("tcp://host?ca=a", "option 'ca' has no meaning for tcp"),
            ("sctp://host?name=a", "option 'name' has no meaning for sctp"),
            ("udp://host?retry=1m", "option 'retry' has no meaning for udp"),
            ("tcp://host?queue=0", "queue is a number of records from 2048 on, not '0'"),
            ("tcp://host?retry=0", "retry is a time from 1s to 30days as 90s, not '0'"),
            ("tcp://host?timeout=1y", "timeout is a time from 1s"),
            ("tcp://host?resolve=often", "resolve is a time from 1s"),
            ("tls://host?ca=", "ca is the path of a PEM file"),
            ("tls://host?key=k.pem", "cert is missing"),
            ("tls://host?name=a..b", "'a..b' is neither"),
            ("dtls://host?name=*.b", "'*.b' is neither"),
            ("dtls://host?fingerprint=12", "64 hexadecimal digits, not '12'"),
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
        let destination = |text: &str, protocol| {
            let url: CollectorUrl = text.parse().unwrap();
            url.destination(protocol).unwrap()
        };
        assert_eq!(destination("host", ExportProtocol::Ipfix).port, 4739);
        assert_eq!(destination("host", ExportProtocol::NetflowV9).port, 2055);
        let own = destination("host?protocol=v9", ExportProtocol::Ipfix);
        assert_eq!((own.port, own.protocol), (2055, ExportProtocol::NetflowV9));
        assert_eq!(destination("h?protocol=v5", ExportProtocol::Ipfix).port, 2055);
    }

    #[test]
    fn ports_left_out_are_those_of_the_transport() {
        // TRANS-2.
        for (scheme, port) in [("udp", 4739), ("tcp", 4739), ("sctp", 4739), ("tls", 4740), ("dtls", 4740)] {
            let url: CollectorUrl = format!("{scheme}://host").parse().unwrap();
            assert_eq!(url.destination(ExportProtocol::Ipfix).unwrap().port, port, "{scheme}");
        }
    }

    #[test]
    fn what_is_not_ipfix_goes_over_udp_only() {
        for transport in ["tcp", "tls", "dtls", "sctp"] {
            for protocol in [ExportProtocol::NetflowV9, ExportProtocol::NetflowV5] {
                let text = format!("{transport}://host:1");
                let general = text.parse::<CollectorUrl>().unwrap().destination(protocol).unwrap_err();
                assert_eq!(
                    general.to_string(),
                    format!(
                        "collector {transport}:host:1: {transport} carries ipfix only, for {} use udp",
                        protocol.name()
                    )
                );
            }
        }
    }
}
