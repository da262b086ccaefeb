//! The Flow Key: what two packets must have in common to be one flow (RFC 7011 section 2).

use core::net::IpAddr;

use bytemuck::{Pod, Zeroable};

use crate::{Address, NetworkU16};

/// The default Flow Key, 48 octets: six words, the key of the BPF hash maps and of the flow cache.
///
/// Addresses and ports are in network order, everything else in host order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, Pod, Zeroable)]
#[repr(C)]
pub struct FlowKey {
    /// sourceIPv4Address or sourceIPv6Address.
    pub source_address: Address,
    /// destinationIPv4Address or destinationIPv6Address.
    pub destination_address: Address,
    /// ingressInterface: ifIndex of the Observation Point; 0 for a capture file.
    pub interface: u32,
    /// sourceTransportPort; 0 for ICMP and wherever `ports` is not [`Ports::PRESENT`].
    pub source_port: NetworkU16,
    /// destinationTransportPort; ICMP and ICMPv6: type * 256 + code.
    pub destination_port: NetworkU16,
    /// vlanId: the 12 bits of the outermost tag; 0 without a tag.
    pub vlan_id: u16,
    /// protocolIdentifier: the upper-layer protocol, behind IPv6 extension headers.
    pub protocol: u8,
    /// ipClassOfService: the whole octet (DSCP and ECN).
    pub class_of_service: u8,
    /// ipVersion: 4 or 6, see [`IpVersion`].
    pub ip_version: u8,
    /// flowDirection (IANA 61): 0 ingress, 1 egress.
    pub direction: u8,
    /// Whether the packet had ports, and if not why: see [`Ports`].
    pub ports: u8,
    /// Zero.
    pub reserved: u8,
}

/// Values of [`FlowKey::ip_version`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IpVersion;

impl IpVersion {
    /// IPv4.
    pub const V4: u8 = 4;
    /// IPv6.
    pub const V6: u8 = 6;
}

/// Values of [`FlowKey::ports`]. A packet whose ports cannot be known is never put into one flow with
/// a packet that really has port 0 (RFC 6728 section 4.3.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ports;

impl Ports {
    /// The protocol has no ports that this meter reads.
    pub const NONE: u8 = 0;
    /// Ports, or the ICMP type and code, were read.
    pub const PRESENT: u8 = 1;
    /// A fragment other than the first: the ports are in another packet.
    pub const LATER_FRAGMENT: u8 = 2;
    /// The frame or the IP length ends before the ports.
    pub const CUT: u8 = 3;
}

impl FlowKey {
    /// Whether the addresses are IPv4.
    pub fn is_ipv4(&self) -> bool {
        self.ip_version == IpVersion::V4
    }

    /// What a Transport Session's packets have in common: addresses, ports, protocol, IP version. The rest, which
    /// depends on where they are seen, is zero.
    #[inline(always)]
    pub fn session(&self) -> Self {
        const PORTS: u64 = u64::from_ne_bytes([0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
        const PROTOCOL: u64 = u64::from_ne_bytes([0, 0, 0xff, 0, 0xff, 0, 0xff, 0]);
        let [a, b, c, d, ports, protocol]: [u64; 6] = bytemuck::cast(*self);
        bytemuck::cast([a, b, c, d, ports & PORTS, protocol & PROTOCOL])
    }

    /// [`Self::session`] of the packets of a protocol with ports from one end to the other (addresses of one IP version).
    pub fn of_session(protocol: u8, from: (IpAddr, u16), to: (IpAddr, u16)) -> Self {
        let address = |address| match address {
            IpAddr::V4(address) => Address::from_ipv4(address.octets()),
            IpAddr::V6(address) => Address::from_ipv6(address.octets()),
        };
        Self {
            source_address: address(from.0),
            destination_address: address(to.0),
            source_port: NetworkU16::new(from.1),
            destination_port: NetworkU16::new(to.1),
            protocol,
            ip_version: if from.0.is_ipv4() { IpVersion::V4 } else { IpVersion::V6 },
            ports: Ports::PRESENT,
            ..Self::default()
        }
    }

    /// protocolIdentifier of TCP.
    pub const TCP: u8 = 6;
    /// protocolIdentifier of UDP.
    pub const UDP: u8 = 17;
    /// protocolIdentifier of SCTP.
    pub const SCTP: u8 = 132;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_session_stays_what_its_ends_know() {
        let (from, to) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let key = FlowKey::of_session(FlowKey::UDP, (from, 40_000), (to, 4739));
        let seen = FlowKey { interface: 7, vlan_id: 5, class_of_service: 0xb8, direction: 1, ..key };
        assert_eq!(seen.session(), key);
        assert_ne!(FlowKey { destination_port: NetworkU16::new(4740), ..seen }.session(), key);
        assert_ne!(FlowKey { protocol: 6, ..seen }.session(), key);
        assert_ne!(FlowKey { ports: Ports::LATER_FRAGMENT, ..seen }.session(), key);
    }
}
