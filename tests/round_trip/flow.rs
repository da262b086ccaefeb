//! Random flows: Flow Records as the flow cache hands them to the messages, and the packets they come from.

use bytemuck::{bytes_of, bytes_of_mut};
use netflow_common::{
    Address, FirstPacket, FlowCounters, FlowKey, IpVersion, NetworkU16, Ports, WideCounters, WideKey,
};
use netflow_user::{
    record::{BiflowDirection, Extras, FlowEndReason, FlowRecord, Route},
    time::Instant,
};

use crate::random::Random;

/// Flow times reach so far back: sysUpTime is compared in signed arithmetic of 32 bits (V5-REC-2).
const LONGEST_NANOS: u64 = (1 << 31) * 1_000_000;
/// No flow has more: v5 needs a record for each 2^32.
const MOST_OF_V5: u64 = 70 << 32;

/// A record, and what its packets had before the Flow Key left some of it out.
pub struct Flow {
    pub record: FlowRecord,
    /// The key with all that a packet has.
    pub whole: WideKey,
    /// The same of the packets from destination to source.
    pub reverse_whole: WideKey,
}

/// What flows of a session have in common.
pub struct Kind {
    /// What of a key tells flows apart, of IPv4 and of IPv6; `None`: all of the default.
    pub masks: Option<[WideKey; 2]>,
    /// Records have what wide entries have.
    pub is_wide: bool,
    pub biflow: bool,
    /// IPv4 only, and counters are such as v5 says in a few records.
    pub is_v5: bool,
    /// Counters are such as fields of four octets say in a few records.
    pub is_split: bool,
}

/// 0, 1, the largest, or anything: the ends are where encoders err.
fn extreme(random: &mut Random) -> u64 {
    match random.below(8) {
        0 => 0,
        1 => 1,
        2 => u64::MAX,
        3 => 1 << random.below(64),
        4 => (1 << random.below(64)) - 1,
        _ => random.next(),
    }
}

fn octets<const N: usize>(random: &mut Random) -> [u8; N] {
    match random.below(8) {
        0 => [0; N],
        1 => [u8::MAX; N],
        _ => std::array::from_fn(|_| random.octet()),
    }
}

fn counter(random: &mut Random, kind: &Kind) -> u64 {
    let any = extreme(random);
    if kind.is_v5 || kind.is_split { any % [MOST_OF_V5, 1 << 32, 1500][random.below(3)] } else { any }
}

fn first_packet(random: &mut Random, class_of_service: u8) -> FirstPacket {
    FirstPacket {
        ipsec_spi: extreme(random) as u32,
        fragment_identification: extreme(random) as u32,
        source_mac: octets(random),
        destination_mac: octets(random),
        ethernet_type: extreme(random) as u16,
        outer_tag: extreme(random) as u16,
        customer_tag: extreme(random) as u16,
        // 13 bits.
        fragment_offset: extreme(random) as u16 & 0x1fff,
        class_of_service,
        ttl: random.octet(),
        igmp_type: random.octet(),
        fragment_flags: random.of(&[0, 0x20, 0x40, 0x60]),
        mpls_depth: random.below(11) as u8,
        mpls_labels: std::array::from_fn(|_| octets(random)),
        reserved: 0,
    }
}

/// Key and counters of the packets of one direction.
fn wide(random: &mut Random, kind: &Kind, now: Instant, ipv4: bool) -> (WideKey, WideCounters) {
    let address = |random: &mut Random| {
        if ipv4 { Address::from_ipv4(octets(random)) } else { Address::from_ipv6(octets(random)) }
    };
    let class_of_service = random.octet();
    let first_packet = first_packet(random, class_of_service);
    let [a, b, c] = first_packet.mpls_labels[0];
    let flow = FlowKey {
        source_address: address(random),
        destination_address: address(random),
        interface: extreme(random) as u32,
        source_port: NetworkU16::new(extreme(random) as u16),
        destination_port: NetworkU16::new(extreme(random) as u16),
        vlan_id: first_packet.outer_tag & 0x0fff,
        protocol: random.of(&[1, 6, 17, 58, 132, 0, 255]),
        class_of_service,
        ip_version: if ipv4 { IpVersion::V4 } else { IpVersion::V6 },
        direction: random.below(2) as u8,
        ports: Ports::PRESENT,
        reserved: 0,
    };
    let last = now.monotonic.0 - random.below(3_000_000_000) as u64;
    let age = random.of(&[0, 1, 1_000_000_000, 3_600_000_000_000, LONGEST_NANOS - 4_000_000_000]);
    let counters = FlowCounters {
        packets: counter(random, kind),
        octets: counter(random, kind),
        first: last - random.below(age as usize) as u64,
        last,
        flow_label: extreme(random) as u32 & 0x000f_ffff,
        // The decoder knows nine flags and drops the others; `message` tests all twelve.
        tcp_control_bits: extreme(random) as u16 & 0x01ff,
        minimum_ttl: random.octet(),
        maximum_ttl: random.octet(),
    };
    let key = WideKey {
        flow,
        tunnel_id: extreme(random) as u32,
        mpls_label: u32::from_be_bytes([0, a, b, c]) >> 4,
        source_mac: first_packet.source_mac,
        destination_mac: first_packet.destination_mac,
        customer_vlan_id: first_packet.customer_tag & 0x0fff,
        tunnel: random.below(7) as u8,
        reserved: 0,
    };
    let counters = WideCounters {
        flow: counters,
        tcp_options: extreme(random),
        layer2_octets: counter(random, kind),
        ipv4_options: extreme(random) as u32,
        minimum_ip_length: extreme(random) as u32,
        ipv6_extension_headers: extreme(random) as u32,
        maximum_ip_length: extreme(random) as u32,
        fragments: extreme(random) as u32,
        tcp_retransmitted: extreme(random) as u32,
        tcp_out_of_order: extreme(random) as u32,
        round_trip_microseconds: extreme(random) as u32,
        first_packet,
        all_classes_of_service: random.octet(),
        reserved: [0; 7],
    };
    (key, counters)
}

/// What the kernel's maps tell flows apart by.
fn masked(mut key: WideKey, kind: &Kind) -> WideKey {
    if let Some([ipv4, ipv6]) = &kind.masks {
        let mask = if key.flow.is_ipv4() { ipv4 } else { ipv6 };
        bytes_of_mut(&mut key).iter_mut().zip(bytes_of(mask)).for_each(|(octet, mask)| *octet &= mask);
    }
    key
}

/// A record of one direction, and its key with all that a packet has.
fn direction(random: &mut Random, kind: &Kind, now: Instant, ipv4: bool) -> (FlowRecord, WideKey) {
    let reason = random.of(&[
        FlowEndReason::IdleTimeout,
        FlowEndReason::ActiveTimeout,
        FlowEndReason::EndOfFlowDetected,
        FlowEndReason::ForcedEnd,
        FlowEndReason::LackOfResources,
    ]);
    let (whole, counters) = wide(random, kind, now, ipv4);
    let key = masked(whole, kind);
    let mut record = FlowRecord::new(key.flow, counters.flow, reason, &now);
    record.extras = kind.is_wide.then(|| Box::new(Extras { key, counters }));
    let next_hop = if ipv4 { Address::from_ipv4(octets(random)) } else { Address::from_ipv6(octets(random)) };
    record.route = Route {
        egress_interface: extreme(random) as u32,
        next_hop,
        source_prefix_length: random.octet(),
        destination_prefix_length: random.octet(),
        ingress_vrf: extreme(random) as u32,
        egress_vrf: extreme(random) as u32,
    };
    (record, whole)
}

/// Any flow of this kind that can be there now.
pub fn any(random: &mut Random, kind: &Kind, now: Instant) -> Flow {
    let ipv4 = kind.is_v5 || random.below(3) > 0;
    let (mut record, whole) = direction(random, kind, now, ipv4);
    let (reverse, reverse_whole) = direction(random, kind, now, ipv4);
    if kind.biflow && random.one_in(2) {
        record.reverse = Some(Box::new(reverse));
        record.biflow_direction = random.of(&[BiflowDirection::Arbitrary, BiflowDirection::Initiator]);
    }
    Flow { record, whole, reverse_whole }
}
