//! What is measured of a flow: the value of the BPF hash maps, and what the flow cache sums up.

use bytemuck::{Pod, Zeroable};

/// A mark beside the bits of [`FlowCounters::tcp_control_bits`]: a SYN without ACK was among them. The program leaves it
/// where flows are paired to biflows; the agent takes it out before anybody else sees the bits.
pub const INITIAL_SYN: u16 = 0x8000;

/// The measured values of one flow since the last flip, 40 octets: five words.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
#[repr(C)]
pub struct FlowCounters {
    /// packetDeltaCount.
    pub packets: u64,
    /// octetDeltaCount: the IP lengths as the headers state them.
    pub octets: u64,
    /// Time of the first packet. In a map: ticks of the clock the program was given (jiffies, or
    /// nanoseconds of `CLOCK_MONOTONIC`); the drain turns them into nanoseconds of the kernel's
    /// monotonic clock, and every later stage holds nanoseconds.
    pub first: u64,
    /// Time of the last packet, as `first`.
    pub last: u64,
    /// flowLabelIPv6 of the first packet, 20 bits; 0 for IPv4.
    pub flow_label: u32,
    /// tcpControlBits: the OR of the 12 bits behind the data offset (RFC 9565), 0 for other protocols.
    pub tcp_control_bits: u16,
    /// minimumTTL: lowest TTL or hop limit.
    pub minimum_ttl: u8,
    /// maximumTTL: highest TTL or hop limit.
    pub maximum_ttl: u8,
}

impl FlowCounters {
    /// Adds what was measured of the same flow elsewhere. The order of merges does not matter:
    /// what belongs to the first packet is that of the earlier one (the smaller of two in one tick).
    pub fn merge(&mut self, other: &Self) {
        if (other.first, other.flow_label) < (self.first, self.flow_label) {
            self.flow_label = other.flow_label;
        }
        self.packets += other.packets;
        self.octets += other.octets;
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.tcp_control_bits |= other.tcp_control_bits;
        self.minimum_ttl = self.minimum_ttl.min(other.minimum_ttl);
        self.maximum_ttl = self.maximum_ttl.max(other.maximum_ttl);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_in_either_order_gives_the_same() {
        let a = FlowCounters {
            packets: 2,
            octets: 80,
            first: 10,
            last: 20,
            flow_label: 1,
            tcp_control_bits: 0x02,
            minimum_ttl: 60,
            maximum_ttl: 61,
        };
        let b = FlowCounters {
            packets: 3,
            octets: 120,
            first: 5,
            last: 15,
            flow_label: 2,
            tcp_control_bits: 0x11,
            minimum_ttl: 58,
            maximum_ttl: 60,
        };
        let (mut ab, mut ba) = (a, b);
        ab.merge(&b);
        ba.merge(&a);
        assert_eq!(ab, ba);
        assert_eq!((ab.packets, ab.octets, ab.first, ab.last), (5, 200, 5, 20));
        assert_eq!((ab.flow_label, ab.tcp_control_bits), (2, 0x13));
        assert_eq!((ab.minimum_ttl, ab.maximum_ttl), (58, 61));
    }
}
