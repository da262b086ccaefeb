//! What a socket to a Collector is to be like: where it starts, through which interface, and what its packets say.

use std::net::IpAddr;
use std::num::NonZeroU8;

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
}
