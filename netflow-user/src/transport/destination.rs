//! Where one stream of messages goes, complete: host, port and protocol; and the resolver's answer.

use std::fmt;
use std::net::SocketAddr;

use super::error::TransportError;
use super::url::ExportProtocol;

/// One collector with nothing left open but the address behind its name.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Destination {
    /// A name or an address, IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What to send there.
    pub protocol: ExportProtocol,
}

impl Destination {
    /// The addresses behind the name, best first (the resolver orders them by RFC 6724); never empty.
    pub async fn resolve(&self) -> Result<Vec<SocketAddr>, TransportError> {
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await.map_err(|source| {
            TransportError::Resolve { destination: self.to_string(), host: self.host.clone(), source }
        })?;
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for address in found {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            return Err(TransportError::NoAddress { destination: self.to_string(), host: self.host.clone() });
        }
        Ok(addresses)
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
        Destination { host: host.to_owned(), port: 4739, protocol: ExportProtocol::Ipfix }
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
}
