//! What the operator types to listen: `udp://[::]:4739`, `tls://[::]?cert=FILE&key=FILE&client-ca=FILE`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use url::{ParseError, Url};

use super::error::CollectError;

/// IANA's ports (RFC 7011 section 10): ipfix, and ipfixs for TLS and DTLS.
const PORT: u16 = 4739;
const SECURE_PORT: u16 = 4740;

/// Where to listen, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListenUrl {
    /// How messages come.
    pub transport: Transport,
    /// An address of this machine.
    pub address: SocketAddr,
}

/// How messages come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Transport {
    /// Datagrams: NetFlow v5, v9, IPFIX.
    Udp,
    /// IPFIX over TCP (RFC 7011 section 10.4).
    Tcp,
    /// IPFIX over TLS.
    Tls(Identity),
    /// IPFIX over DTLS.
    Dtls(Identity),
}

/// Who we are to exporters, and who they have to be: files in PEM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Our certificate, those of its issuers behind it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Issuers of exporters' certificates; without them exporters need none.
    pub client_authority: Option<PathBuf>,
}

impl ListenUrl {
    /// Reads what the operator typed. Without a scheme it is UDP; ports left out are IANA's.
    ///
    /// # Errors
    /// What has no meaning, in one line.
    pub fn parse(text: &str) -> Result<Self, CollectError> {
        let malformed = |reason: &str| CollectError::Url { url: text.to_owned(), reason: reason.to_owned() };
        let typed = match text {
            _ if text.contains("://") => text.to_owned(),
            _ if text.parse::<Ipv6Addr>().is_ok() => format!("udp://[{text}]"),
            _ => format!("udp://{text}"),
        };
        let parsed = Url::parse(&typed).map_err(|error| match error {
            ParseError::InvalidPort => malformed("the port must be a number from 0 (any) to 65535"),
            other => malformed(&other.to_string()),
        })?;
        let surplus = !matches!(parsed.path(), "" | "/")
            || parsed.fragment().is_some()
            || !parsed.username().is_empty()
            || parsed.password().is_some();
        if surplus {
            return Err(malformed("a path, a user or a fragment has no meaning here"));
        }
        let (mut certificate, mut key, mut client_authority) = (None, None, None);
        let is_secure = matches!(parsed.scheme(), "tls" | "dtls");
        for (name, value) in parsed.query_pairs() {
            let file = match (name.as_ref(), is_secure) {
                ("protocol", _) => return Err(CollectError::Protocol { url: text.to_owned() }),
                ("cert", true) => &mut certificate,
                ("key", true) => &mut key,
                ("client-ca", true) => &mut client_authority,
                ("cert" | "key" | "client-ca", false) => {
                    return Err(malformed("certificates are for tls and dtls"));
                }
                (other, _) => {
                    return Err(malformed(&format!(
                        "unknown option '{other}', known are cert, key and client-ca of tls and dtls"
                    )));
                }
            };
            if value.is_empty() || file.replace(PathBuf::from(value.as_ref())).is_some() {
                return Err(malformed(&format!("{name} is one file")));
            }
        }
        let identity = || match (certificate.clone(), key.clone()) {
            (Some(certificate), Some(key)) => {
                Ok(Identity { certificate, key, client_authority: client_authority.clone() })
            }
            _ => Err(malformed("a certificate and its key are needed: ?cert=FILE&key=FILE")),
        };
        let (transport, port) = match parsed.scheme() {
            "udp" => (Transport::Udp, PORT),
            "tcp" => (Transport::Tcp, PORT),
            "tls" => (Transport::Tls(identity()?), SECURE_PORT),
            "dtls" => (Transport::Dtls(identity()?), SECURE_PORT),
            other => {
                let reason = format!("transport '{other}' is not received, use udp, tcp, tls or dtls");
                return Err(malformed(&reason));
            }
        };
        let host = parsed.host_str().unwrap_or_default();
        let host: IpAddr = host
            .trim_matches(['[', ']'])
            .parse()
            .map_err(|_| CollectError::NotAnAddress { url: text.to_owned() })?;
        Ok(Self { transport, address: SocketAddr::new(host, parsed.port().unwrap_or(port)) })
    }

    /// Datagrams there.
    pub fn udp(address: SocketAddr) -> Self {
        Self { transport: Transport::Udp, address }
    }
}

impl Transport {
    /// The word in URLs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls(_) => "tls",
            Self::Dtls(_) => "dtls",
        }
    }
}

impl fmt::Display for ListenUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.transport.name(), self.address)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn what_is_left_out_is_udp_and_the_ports_of_iana() {
        for (text, printed) in [
            ("udp://[::]", "udp://[::]:4739"),
            ("127.0.0.1", "udp://127.0.0.1:4739"),
            ("::1", "udp://[::1]:4739"),
            ("[::1]:9995", "udp://[::1]:9995"),
            ("tcp://0.0.0.0", "tcp://0.0.0.0:4739"),
            ("TCP://127.0.0.1:0", "tcp://127.0.0.1:0"),
            ("tls://[::]?cert=/c&key=/k", "tls://[::]:4740"),
            ("dtls://127.0.0.1:5000/?key=/k&cert=/c&client-ca=/a", "dtls://127.0.0.1:5000"),
        ] {
            assert_eq!(ListenUrl::parse(text).unwrap().to_string(), printed, "{text}");
        }
        let identity = Identity {
            certificate: "/c".into(),
            key: "/k".into(),
            client_authority: Some(PathBuf::from("/a b")),
        };
        let typed = "tls://[::]?cert=/c&key=/k&client-ca=/a%20b";
        assert_eq!(ListenUrl::parse(typed).unwrap().transport, Transport::Tls(identity));
    }

    #[test]
    fn what_has_no_meaning_is_refused_with_its_reason() {
        for (text, reason) in [
            ("udp://collector.example", "must be an address of this machine"),
            ("udp://", "must be an address of this machine"),
            ("udp://[::]:1?protocol=v9", "takes every protocol it knows"),
            ("udp://[::]?cert=/c", "for tls and dtls"),
            ("tls://[::]", "a certificate and its key are needed"),
            ("tls://[::]?cert=/c", "a certificate and its key are needed"),
            ("tls://[::]?cert=/c&cert=/d&key=/k", "cert is one file"),
            ("dtls://[::]?cert=&key=/k", "cert is one file"),
            ("dtls://[::]?ca=/c", "unknown option 'ca'"),
            ("sctp://[::]", "transport 'sctp' is not received"),
            ("udp://[::]:70000", "the port must be a number"),
            ("udp://[::", "invalid IPv6"),
            ("tcp://[::]/path", "a path"),
        ] {
            let error = ListenUrl::parse(text).unwrap_err().to_string();
            assert!(error.contains(reason) && !error.contains('\n'), "{text}: {error}");
            assert!(error.starts_with(&format!("cannot listen on '{text}': ")), "{error}");
        }
    }
}
