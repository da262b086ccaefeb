//! Where the values of groups come from.
//!
//! In: a Flow Record whose entry was wide. Out: values within their element's Range. This module refuses to know
//! which groups are on; what was not measured is zero.

use netflow_common::{FirstPacket, Tunnel, WideCounters, WideKey};

use crate::record::FlowRecord;

use super::data_record::{Context, VLAN_ID, Value};

/// Type octet of layer2SegmentId.
const SEGMENT_VXLAN: u64 = 1 << 56;
/// The same of NVGRE.
const SEGMENT_NVGRE: u64 = 2 << 56;
/// A segment's id has three octets.
const SEGMENT_ID: u32 = 0x00ff_ffff;
const FRAGMENT_OFFSET: u16 = 0x1fff;

/// A value that a wide entry has; zero without one.
fn measured(record: &FlowRecord, value: fn(&WideKey, &WideCounters) -> u64) -> Value {
    Value::Unsigned(record.extras.as_ref().map_or(0, |extras| value(&extras.key, &extras.counters)))
}

/// A value of the first packet.
fn first(record: &FlowRecord, value: fn(&FirstPacket) -> u64) -> Value {
    Value::Unsigned(record.extras.as_ref().map_or(0, |extras| value(&extras.counters.first_packet)))
}

/// What the Flow Key has, else what the first packet had: an element that is not in the key is zero there.
fn key_or_first<T: Copy + Default + PartialEq>(in_key: T, in_first: T) -> T {
    if in_key == T::default() { in_first } else { in_key }
}

fn mac(record: &FlowRecord, value: fn(&WideKey, &FirstPacket) -> [u8; 6]) -> Value {
    let extras = record.extras.as_ref();
    Value::MacAddress(extras.map_or([0; 6], |extras| value(&extras.key, &extras.counters.first_packet)))
}

pub(super) fn layer2_octets(record: &FlowRecord, _: &Context) -> Value {
    measured(record, |_, counters| counters.layer2_octets)
}

pub(super) fn source_mac(record: &FlowRecord, _: &Context) -> Value {
    mac(record, |key, packet| key_or_first(key.source_mac, packet.source_mac))
}

pub(super) fn destination_mac(record: &FlowRecord, _: &Context) -> Value {
    mac(record, |key, packet| key_or_first(key.destination_mac, packet.destination_mac))
}

pub(super) fn ethernet_type(record: &FlowRecord, _: &Context) -> Value {
    first(record, |packet| packet.ethernet_type.into())
}

pub(super) fn dot1q_vlan_id(record: &FlowRecord, _: &Context) -> Value {
    measured(record, |key, counters| {
        let outer = counters.first_packet.outer_tag & VLAN_ID;
        key_or_first(key.flow.vlan_id & VLAN_ID, outer).into()
    })
}

pub(super) fn dot1q_priority(record: &FlowRecord, _: &Context) -> Value {
    first(record, |packet| (packet.outer_tag >> 13).into())
}

pub(super) fn dot1q_customer_vlan_id(record: &FlowRecord, _: &Context) -> Value {
    measured(record, |key, counters| {
        let inner = counters.first_packet.customer_tag & VLAN_ID;
        key_or_first(key.customer_vlan_id & VLAN_ID, inner).into()
    })
}

pub(super) fn dot1q_customer_priority(record: &FlowRecord, _: &Context) -> Value {
    first(record, |packet| (packet.customer_tag >> 13).into())
}

pub(super) fn fragment_identification(record: &FlowRecord, _: &Context) -> Value {
    first(record, |packet| packet.fragment_identification.into())
}

pub(super) fn fragment_offset(record: &FlowRecord, _: &Context) -> Value {
    first(record, |packet| (packet.fragment_offset & FRAGMENT_OFFSET).into())
}

pub(super) fn fragment_flags(record: &FlowRecord, _: &Context) -> Value {
    first(record, |packet| packet.fragment_flags.into())
}

pub(super) fn fragments(record: &FlowRecord, _: &Context) -> Value {
    measured(record, |_, counters| counters.fragments.into())
}

pub(super) fn minimum_ip_length(record: &FlowRecord, _: &Context) -> Value {
    measured(record, |_, counters| counters.minimum_ip_length.into())
}

pub(super) fn maximum_ip_length(record: &FlowRecord, _: &Context) -> Value {
    measured(record, |_, counters| counters.maximum_ip_length.into())
}

pub(super) fn tcp_retransmitted(record: &FlowRecord, _: &Context) -> Value {
    measured(record, |_, counters| counters.tcp_retransmitted.into())
}

pub(super) fn tcp_out_of_order(record: &FlowRecord, _: &Context) -> Value {
    measured(record, |_, counters| counters.tcp_out_of_order.into())
}

pub(super) fn round_trip_time(record: &FlowRecord, _: &Context) -> Value {
    measured(record, |_, counters| counters.round_trip_microseconds.into())
}

/// The class of the key; where it is not in the key, that of the first packet.
pub(super) fn class_of_service(record: &FlowRecord, _: &Context) -> Value {
    let of_first = record.extras.as_ref().map_or(0, |extras| extras.counters.first_packet.class_of_service);
    Value::Unsigned(key_or_first(record.key.class_of_service, of_first).into())
}

pub(super) fn class_of_service_union(record: &FlowRecord, _: &Context) -> Value {
    measured(record, |_, counters| counters.all_classes_of_service.into())
}

/// The six upper bits of the class (IE-4).
pub(super) fn dscp(record: &FlowRecord, context: &Context) -> Value {
    match class_of_service(record, context) {
        Value::Unsigned(class) => Value::Unsigned(class >> 2),
        other => other,
    }
}

pub(super) fn ttl(record: &FlowRecord, _: &Context) -> Value {
    first(record, |packet| packet.ttl.into())
}

pub(super) fn ipv4_options(record: &FlowRecord, _: &Context) -> Value {
    measured(record, |_, counters| counters.ipv4_options.into())
}

pub(super) fn ipv6_extension_headers(record: &FlowRecord, _: &Context) -> Value {
    measured(record, |_, counters| counters.ipv6_extension_headers.into())
}

pub(super) fn tcp_options(record: &FlowRecord, _: &Context) -> Value {
    measured(record, |_, counters| counters.tcp_options)
}

/// The interface is the Observation Point.
pub(super) fn observation_point(record: &FlowRecord, _: &Context) -> Value {
    Value::Unsigned(record.key.interface.into())
}

pub(super) fn ingress_vrf(record: &FlowRecord, _: &Context) -> Value {
    Value::Unsigned(record.route.ingress_vrf.into())
}

pub(super) fn egress_vrf(record: &FlowRecord, _: &Context) -> Value {
    Value::Unsigned(record.route.egress_vrf.into())
}

/// An entry of the MPLS label stack of the first packet, from the top; 0 where it had fewer.
pub(super) fn mpls_label<const PLACE: usize>(record: &FlowRecord, _: &Context) -> Value {
    measured(record, |key, counters| {
        let [a, b, c] = counters.first_packet.mpls_labels[PLACE];
        let entry = u32::from_be_bytes([0, a, b, c]);
        // A label that is only in the key stands without its traffic class.
        let label = if PLACE == 0 { (key.mpls_label & 0x000f_ffff) << 4 } else { 0 };
        key_or_first(entry, label).into()
    })
}

pub(super) fn ipsec_spi(record: &FlowRecord, _: &Context) -> Value {
    first(record, |packet| packet.ipsec_spi.into())
}

pub(super) fn igmp_type(record: &FlowRecord, _: &Context) -> Value {
    first(record, |packet| packet.igmp_type.into())
}

/// VXLAN's VNI and NVGRE's VSID; the element has no number for other overlays.
pub(super) fn layer2_segment_id(record: &FlowRecord, _: &Context) -> Value {
    measured(record, |key, _| {
        let id = u64::from(key.tunnel_id & SEGMENT_ID);
        match Tunnel::from_number(key.tunnel) {
            Some(Tunnel::Vxlan) => SEGMENT_VXLAN | id,
            Some(Tunnel::GreEthernet) => SEGMENT_NVGRE | id,
            _ => 0,
        }
    })
}

pub(super) fn gre_key(record: &FlowRecord, _: &Context) -> Value {
    measured(record, |key, _| tunnel_id_of(key, Tunnel::Gre))
}

pub(super) fn gtpu_teid(record: &FlowRecord, _: &Context) -> Value {
    measured(record, |key, _| tunnel_id_of(key, Tunnel::GtpU))
}

fn tunnel_id_of(key: &WideKey, tunnel: Tunnel) -> u64 {
    if key.tunnel == tunnel as u8 { key.tunnel_id.into() } else { 0 }
}

pub(super) fn tunnel_type(record: &FlowRecord, _: &Context) -> Value {
    measured(record, |key, _| key.tunnel.into())
}

pub(super) fn tunnel_id(record: &FlowRecord, _: &Context) -> Value {
    measured(record, |key, _| key.tunnel_id.into())
}

pub(super) fn biflow_direction(record: &FlowRecord, _: &Context) -> Value {
    Value::Unsigned(record.biflow_direction as u64)
}
