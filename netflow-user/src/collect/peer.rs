//! Who sends: an address, and the way its messages take.

use std::net::{Ipv6Addr, SocketAddr};

/// Where messages of one Transport Session come from (RFC 7011 section 2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Peer {
    /// The Exporter's end.
    pub address: SocketAddr,
    /// How its messages come.
    pub way: Way,
}

/// How messages come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Way {
    /// Datagrams at one of our sockets.
    Datagrams {
        /// The number of the socket.
        socket: usize,
    },
    /// A connection of TCP, TLS or DTLS: what is known of its sender ends with it.
    Connection {
        /// No two connections have the same.
        number: u64,
    },
}

impl Peer {
    /// Who sends datagrams to the first of our sockets.
    pub fn by_datagrams(address: SocketAddr) -> Self {
        Self { address, way: Way::Datagrams { socket: 0 } }
    }

    /// Who exported it is not in a file.
    pub(super) fn of_file() -> Self {
        Self::by_datagrams(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0))
    }

    /// Whether it is a connection.
    pub(super) fn is_connection(self) -> bool {
        matches!(self.way, Way::Connection { .. })
    }
}
