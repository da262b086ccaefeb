//! Where the packets of a flow go, as the routing tables had it when the record was made.

use netflow_common::Address;

/// The answer of a forwarding lookup; zero is "unknown" everywhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Route {
    /// egressInterface of an ingress flow: ifIndex; 0: unknown, or consumed by this host.
    pub egress_interface: u32,
    /// ipNextHopIPv4Address or ipNextHopIPv6Address: the gateway; zero where the destination is on the link.
    pub next_hop: Address,
    /// sourceIPv4PrefixLength or sourceIPv6PrefixLength: of the longest match of the source, bits.
    pub source_prefix_length: u8,
    /// destinationIPv4PrefixLength or destinationIPv6PrefixLength, bits.
    pub destination_prefix_length: u8,
    /// ingressVRFID: the routing table of the VRF device that the packets came in by.
    pub ingress_vrf: u32,
    /// egressVRFID.
    pub egress_vrf: u32,
}
