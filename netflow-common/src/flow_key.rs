//! The Flow Key: what two packets must have in common to be one flow (RFC 7011 section 2).

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
}
