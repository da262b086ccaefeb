//! A flow as any judge shows it.

use std::net::IpAddr;

/// Key and counters. What the record does not have is absent, or zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DecodedFlow {
    /// Source address.
    pub source: Option<IpAddr>,
    /// Destination address.
    pub destination: Option<IpAddr>,
    /// Protocol.
    pub protocol: u8,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Packets.
    pub packets: u64,
    /// IP octets.
    pub octets: u64,
}

impl DecodedFlow {
    /// This flow, and the one that a biflow has in the other direction.
    pub fn with_reverse(self, packets: u64, octets: u64) -> Vec<Self> {
        let reverse = Self {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
            packets,
            octets,
            ..self
        };
        [self].into_iter().chain((packets > 0).then_some(reverse)).collect()
    }
}
