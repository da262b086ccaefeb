//! Random Flow Records, the same for the same seed.

use netflow_common::{Address, FlowCounters, FlowKey, IpVersion, NetworkU16, Ports};
use netflow_user::{
    record::{FlowEndReason, FlowRecord},
    time::Instant,
};

/// SplitMix64: the same records for the same seed, everywhere.
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn octets<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.next() as u8)
    }

    /// Any record that a flow of the last hour can leave.
    pub fn record(&mut self, now: Instant) -> FlowRecord {
        let ipv4 = self.below(3) > 0;
        let address = |random: &mut Self| {
            if ipv4 { Address::from_ipv4(random.octets()) } else { Address::from_ipv6(random.octets()) }
        };
        let (source_address, destination_address) = (address(self), address(self));
        let last = now.monotonic.0 - self.below(3_000_000_000);
        let key = FlowKey {
            source_address,
            destination_address,
            interface: self.next() as u32,
            source_port: NetworkU16::new(self.next() as u16),
            destination_port: NetworkU16::new(self.next() as u16),
            vlan_id: self.below(4096) as u16,
            protocol: [1, 6, 17, 58, 132, 0, 255][self.below(7) as usize],
            class_of_service: self.next() as u8,
            ip_version: if ipv4 { IpVersion::V4 } else { IpVersion::V6 },
            direction: self.below(2) as u8,
            ports: Ports::PRESENT,
            reserved: 0,
        };
        let counters = FlowCounters {
            packets: self.next(),
            octets: self.next(),
            first: last - self.below(3_600_000_000_000),
            last,
            flow_label: self.below(1 << 20) as u32,
            // The decoder knows nine flags and drops the others; `data_record.rs` tests all twelve.
            tcp_control_bits: self.below(1 << 9) as u16,
            minimum_ttl: self.next() as u8,
            maximum_ttl: self.next() as u8,
        };
        let reason = [
            FlowEndReason::IdleTimeout,
            FlowEndReason::ActiveTimeout,
            FlowEndReason::EndOfFlowDetected,
            FlowEndReason::ForcedEnd,
            FlowEndReason::LackOfResources,
        ][self.below(5) as usize];
        FlowRecord::new(key, counters, reason, &now)
    }
}
