//! The octets of NetFlow v5: a header and fixed records of IPv4 flows.
//!
//! No RFC describes it; the layout is that of Cisco's documentation ("NetFlow Export Datagram Format"), as every
//! collector reads it.

use crate::record::FlowRecord;

use super::{data_record::interfaces, octets::Octets, sys_up_time::SysUpTime};
use crate::time::MonotonicNanos;

/// The header of an export datagram.
pub(super) struct PacketHeader {
    /// Records that follow, 1 to 30.
    pub count: u16,
    /// Milliseconds since the clock's origin, modulo 2^32.
    pub sys_up_time: u32,
    /// The same instant in whole seconds since 1970 UTC, modulo 2^32 ...
    pub unix_secs: u32,
    /// ... and the nanoseconds behind them.
    pub unix_nsecs: u32,
    /// Records sent before this datagram, modulo 2^32.
    pub flow_sequence: u32,
    /// engine_type and engine_id: who sends, on this host.
    pub engine: u16,
    /// The mode of sampling in two bits, one in how many packets in 14.
    pub sampling: u16,
}

impl PacketHeader {
    pub const LEN: usize = 24;
    /// Most records of a datagram.
    pub const MOST_RECORDS: usize = 30;
    const VERSION: u16 = 5;

    pub fn encode(&self, octets: &mut Octets) {
        octets.put_u16(Self::VERSION);
        octets.put_u16(self.count);
        octets.put_u32(self.sys_up_time);
        octets.put_u32(self.unix_secs);
        octets.put_u32(self.unix_nsecs);
        octets.put_u32(self.flow_sequence);
        octets.put_u16(self.engine);
        octets.put_u16(self.sampling);
    }
}

/// A flow record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Record {
    /// srcaddr.
    pub source_address: [u8; 4],
    /// dstaddr.
    pub destination_address: [u8; 4],
    /// nexthop; 0.0.0.0 unknown.
    pub next_hop: [u8; 4],
    /// input: an ifIndex of 16 bits; 0 unknown, or longer.
    pub input: u16,
    /// output, as `input`.
    pub output: u16,
    /// dPkts.
    pub packets: u32,
    /// dOctets.
    pub octets: u32,
    /// First, in sysUpTime.
    pub first: u32,
    /// Last, in sysUpTime.
    pub last: u32,
    /// srcport.
    pub source_port: u16,
    /// dstport; ICMP: type * 256 + code.
    pub destination_port: u16,
    /// tcp_flags: the low octet.
    pub tcp_flags: u8,
    /// prot.
    pub protocol: u8,
    /// tos.
    pub class_of_service: u8,
    /// src_mask, bits.
    pub source_mask: u8,
    /// dst_mask, bits.
    pub destination_mask: u8,
}

impl Record {
    pub const LEN: usize = 48;

    /// How many records a flow takes: its counters must not pass 32 bits in any of them (V5-REC-4).
    pub fn parts_of(record: &FlowRecord) -> u64 {
        let most = u64::from(u32::MAX);
        record.counters.packets.div_ceil(most).max(record.counters.octets.div_ceil(most)).max(1)
    }

    /// The record of one part of the flow.
    pub fn new(
        record: &FlowRecord,
        part: u64,
        up_time: &SysUpTime,
        [source_mask, destination_mask]: [u8; 2],
    ) -> Self {
        let FlowRecord { key, counters, route, .. } = record;
        let parts = Self::parts_of(record);
        let share = |all: u64| match parts {
            1 => all as u32,
            _ => (all / parts + u64::from(part < all % parts)) as u32,
        };
        // What does not fit is unknown and not another interface's (V5-REC-5).
        let index = |index: u32| u16::try_from(index).unwrap_or(0);
        let [input, output] = interfaces(record);
        Self {
            source_address: key.source_address.ipv4_octets(),
            destination_address: key.destination_address.ipv4_octets(),
            next_hop: route.next_hop.ipv4_octets(),
            input: index(input),
            output: index(output),
            packets: share(counters.packets),
            octets: share(counters.octets),
            first: up_time.of(MonotonicNanos(counters.first)),
            last: up_time.of(MonotonicNanos(counters.last)),
            source_port: key.source_port.value(),
            destination_port: key.destination_port.value(),
            tcp_flags: counters.tcp_control_bits as u8,
            protocol: key.protocol,
            class_of_service: key.class_of_service,
            source_mask,
            destination_mask,
        }
    }

    pub fn encode(&self, octets: &mut Octets) {
        let mut fields = octets.fields(Self::LEN);
        fields.put(self.source_address);
        fields.put(self.destination_address);
        fields.put(self.next_hop);
        fields.put(self.input.to_be_bytes());
        fields.put(self.output.to_be_bytes());
        fields.put(self.packets.to_be_bytes());
        fields.put(self.octets.to_be_bytes());
        fields.put(self.first.to_be_bytes());
        fields.put(self.last.to_be_bytes());
        fields.put(self.source_port.to_be_bytes());
        fields.put(self.destination_port.to_be_bytes());
        // pad1, tcp_flags, prot, tos.
        fields.put([0, self.tcp_flags, self.protocol, self.class_of_service]);
        // src_as and dst_as are not known.
        fields.put([0; 4]);
        // src_mask, dst_mask, pad2.
        fields.put([self.source_mask, self.destination_mask, 0, 0]);
    }
}

#[cfg(test)]
mod tests {
    use netflow_common::{Address, FlowCounters, FlowKey, IpVersion, NetworkU16};

    use super::*;
    use crate::{record::FlowEndReason, time::Instant};

    const NOW: Instant =
        Instant { monotonic: MonotonicNanos(100_000_000_000), unix_nanos: 1_767_225_600_000_000_000 };

    fn flow(packets: u64, octets: u64) -> FlowRecord {
        let key = FlowKey {
            source_address: Address::from_ipv4([192, 0, 2, 10]),
            destination_port: NetworkU16::new(443),
            interface: 70_000,
            ip_version: IpVersion::V4,
            ..FlowKey::default()
        };
        let counters = FlowCounters { packets, octets, first: 1, last: 2, ..FlowCounters::default() };
        FlowRecord::new(key, counters, FlowEndReason::IdleTimeout, &NOW)
    }

    fn parts(record: &FlowRecord) -> Vec<Record> {
        let up_time = SysUpTime::at_next_millisecond(NOW, MonotonicNanos(0));
        (0..Record::parts_of(record)).map(|part| Record::new(record, part, &up_time, [24, 24])).collect()
    }

    #[test]
    fn counters_beyond_32_bits_are_split_and_add_up() {
        // V5-REC-4
        for (packets, octets, expected) in [
            (1, 40, 1),
            (4_000_000_000, u64::from(u32::MAX), 1),
            (3, 1 << 32, 2),
            (u64::from(u32::MAX) + 1, 1 << 33, 3),
            (9_000_000_000, 9_000_000_000_000, 2096),
        ] {
            let parts = parts(&flow(packets, octets));
            assert_eq!(parts.len(), expected);
            assert_eq!(parts.iter().map(|part| u64::from(part.packets)).sum::<u64>(), packets);
            assert_eq!(parts.iter().map(|part| u64::from(part.octets)).sum::<u64>(), octets);
        }
    }

    #[test]
    fn an_interface_beyond_16_bits_is_none() {
        // V5-REC-5
        assert_eq!(parts(&flow(1, 40))[0].input, 0);
        let mut record = flow(1, 40);
        record.key.interface = 65_535;
        assert_eq!((parts(&record)[0].input, parts(&record)[0].output), (65_535, 0));
        record.key.direction = 1;
        assert_eq!((parts(&record)[0].input, parts(&record)[0].output), (0, 65_535));
    }

    #[test]
    fn a_record_has_48_octets_and_a_header_24() {
        // V5-HDR-1, V5-REC-1
        let mut octets = Octets::with_capacity(0);
        let header = PacketHeader {
            count: 1,
            sys_up_time: 0x0102_0304,
            unix_secs: 5,
            unix_nsecs: 6,
            flow_sequence: 7,
            engine: 0x0102,
            sampling: 0x4064,
        };
        header.encode(&mut octets);
        assert_eq!(octets.len(), PacketHeader::LEN);
        parts(&flow(1, 40))[0].encode(&mut octets);
        assert_eq!(octets.len(), PacketHeader::LEN + Record::LEN);
        assert_eq!(
            octets.as_slice()[..24],
            [0, 5, 0, 1, 1, 2, 3, 4, 0, 0, 0, 5, 0, 0, 0, 6, 0, 0, 0, 7, 1, 2, 0x40, 0x64]
        );
        let record = &octets.as_slice()[24..];
        assert_eq!((record[36], record[46], record[47]), (0, 0, 0));
    }
}
