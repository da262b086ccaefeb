//! The frames that are varied.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ::tests::frames::{self, ACK};

/// IP version of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Version {
    /// As a heading.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    fn ends(self) -> (SocketAddr, SocketAddr) {
        let (from, to) = match self {
            Self::V4 => (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), IpAddr::V4(Ipv4Addr::new(10, 77, 0, 2))),
            Self::V6 => {
                let prefix = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 0);
                let to = Ipv6Addr::new(0x2001, 0xdb8, 0, 2, 0, 0, 0, 2);
                (IpAddr::V6(prefix), IpAddr::V6(to))
            }
        };
        (SocketAddr::new(from, 1024), SocketAddr::new(to, 443))
    }
}

/// A UDP datagram in the shortest frame that holds it, or in the shortest frame there is.
pub fn udp(version: Version) -> Vec<u8> {
    let (from, to) = version.ends();
    let payload = match version {
        // 60 octets and the check sequence.
        Version::V4 => 18,
        Version::V6 => 4,
    };
    frames::frame(&frames::udp(from, to, &vec![0; payload]))
}

/// A TCP segment with six octets in it.
pub fn tcp() -> Vec<u8> {
    let (from, to) = Version::V4.ends();
    frames::frame(&frames::tcp(from, to, ACK, 1, &[0; 6]))
}
