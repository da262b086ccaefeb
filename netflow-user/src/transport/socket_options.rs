//! What a socket to a Collector is to be like: where it starts, through which interface, and what its packets say.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU8;

use rustix::io::Errno;
use socket2::Socket;

use super::error::TransportError;

/// Options of a socket; what is `None` is left to the kernel.
#[derive(Clone, PartialEq, Eq, Debug, Hash, Default)]
pub struct SocketOptions {
    /// The source address.
    pub bind: Option<IpAddr>,
    /// The interface that packets leave through, whatever the routing table says (SO_BINDTODEVICE).
    pub interface: Option<String>,
    /// Differentiated Services Code Point, 0 to 63 (RFC 2474).
    pub dscp: Option<u8>,
    /// Time To Live, the hop limit of IPv6.
    pub ttl: Option<NonZeroU8>,
}

impl SocketOptions {
    /// Whether a socket with these options can have this peer: the source address is of the same family.
    pub fn reaches(&self, peer: IpAddr) -> bool {
        self.bind.is_none_or(|bind| bind.is_ipv4() == peer.is_ipv4())
    }

    /// Makes a new socket like this, before it connects to `peer`.
    ///
    /// # Errors
    /// What the kernel refuses, by the option's name.
    pub fn apply(&self, socket: &Socket, peer: SocketAddr) -> Result<(), TransportError> {
        let refused = |option: &'static str, value: String| {
            move |source: io::Error| {
                let reason = match Errno::from_io_error(&source) {
                    Some(Errno::NODEV) => "there is no such interface",
                    Some(Errno::PERM) => "it takes CAP_NET_RAW on this kernel",
                    Some(Errno::AFNOSUPPORT | Errno::INVAL) => "the collector's address is of another kind",
                    _ if source.kind() == ErrorKind::AddrNotAvailable => "this host has no such address",
                    _ => "the kernel refuses it",
                };
                TransportError::SocketOption { peer, option, value, reason, source }
            }
        };
        if let Some(interface) = &self.interface {
            socket
                .bind_device(Some(interface.as_bytes()))
                .map_err(refused("interface", interface.clone()))?;
        }
        if let Some(bind) = self.bind {
            let address = SocketAddr::new(bind, 0);
            socket.bind(&address.into()).map_err(refused("bind", bind.to_string()))?;
        }
        if let Some(dscp) = self.dscp {
            // The octet's low two bits are ECN's (RFC 3168 section 5).
            let octet = u32::from(dscp) << 2;
            let result = match peer {
                SocketAddr::V4(_) => socket.set_tos_v4(octet),
                SocketAddr::V6(_) => socket.set_tclass_v6(octet),
            };
            result.map_err(refused("dscp", dscp.to_string()))?;
        }
        if let Some(ttl) = self.ttl {
            let result = match peer {
                SocketAddr::V4(_) => socket.set_ttl_v4(ttl.get().into()),
                SocketAddr::V6(_) => socket.set_unicast_hops_v6(ttl.get().into()),
            };
            result.map_err(refused("ttl", ttl.to_string()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use socket2::{Domain, Type};

    use super::*;

    fn refusal(options: &SocketOptions, peer: &str) -> String {
        let peer: SocketAddr = peer.parse().unwrap();
        let socket = Socket::new(Domain::for_address(peer), Type::DGRAM, None).unwrap();
        options.apply(&socket, peer).unwrap_err().to_string()
    }

    #[test]
    fn what_the_kernel_refuses_is_told_by_its_name() {
        let none = SocketOptions::default();
        let interface = SocketOptions { interface: Some("no-such-port".to_owned()), ..none.clone() };
        assert_eq!(
            refusal(&interface, "127.0.0.1:4739"),
            "collector 127.0.0.1:4739: interface=no-such-port: there is no such interface"
        );
        let foreign = SocketOptions { bind: Some("192.0.2.1".parse().unwrap()), ..none.clone() };
        assert_eq!(
            refusal(&foreign, "127.0.0.1:4739"),
            "collector 127.0.0.1:4739: bind=192.0.2.1: this host has no such address"
        );
        let other = SocketOptions { bind: Some("::1".parse().unwrap()), ..none };
        assert_eq!(
            refusal(&other, "127.0.0.1:4739"),
            "collector 127.0.0.1:4739: bind=::1: the collector's address is of another kind"
        );
    }

    #[test]
    fn what_the_kernel_takes_is_on_the_socket() {
        let peer: SocketAddr = "127.0.0.1:4739".parse().unwrap();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let options = SocketOptions {
            bind: Some("127.83.2.1".parse().unwrap()),
            interface: Some("lo".to_owned()),
            dscp: Some(46),
            ttl: NonZeroU8::new(7),
        };
        options.apply(&socket, peer).unwrap();
        assert_eq!(socket.local_addr().unwrap().as_socket().unwrap().ip().to_string(), "127.83.2.1");
        assert_eq!((socket.tos_v4().unwrap(), socket.ttl_v4().unwrap()), (46 << 2, 7));
        assert_eq!(socket.device().unwrap().as_deref(), Some(b"lo".as_slice()));
    }
}
