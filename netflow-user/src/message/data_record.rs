//! Data Records: where the value of each field of a template comes from.
//!
//! In: a Flow Record. Out: the octets of a Data Record (RFC 7011 section 3.4.3). This module refuses
//! to know the order of fields and their lengths: the template has both.

use crate::{record::FlowRecord, time::MonotonicNanos};

use super::{octets::Octets, sys_up_time::SysUpTime, template::Template};

/// Prefix lengths of the addresses in the Flow Key, where it has no whole ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct PrefixLengths {
    pub source_ipv4: Option<u8>,
    pub destination_ipv4: Option<u8>,
    pub source_ipv6: Option<u8>,
    pub destination_ipv6: Option<u8>,
}

/// What values need beside the record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context {
    /// That of the message's header; v9 times are relative to it.
    pub up_time: SysUpTime,
    pub prefix_lengths: PrefixLengths,
}

/// A field's value before it has a length on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Value {
    Unsigned(u64),
    MacAddress([u8; 6]),
    Ipv4Address([u8; 4]),
    Ipv6Address([u8; 16]),
}

/// Takes a field's value from a Flow Record.
pub(super) type ValueOf = fn(&FlowRecord, &Context) -> Value;

/// Writes the Data Record of `record` in the layout of `template`.
pub(super) fn encode(template: &Template, record: &FlowRecord, context: &Context, octets: &mut Octets) {
    // A record without packets the other way goes by a template without fields of them.
    let reverse = record.reverse.as_deref().unwrap_or(record);
    let mut octets = octets.fields(template.data_record_len);
    for field in &template.fields {
        match (field.value)(if field.is_reverse { reverse } else { record }, context) {
            Value::Unsigned(value) => octets.put_unsigned(value, field.length),
            Value::MacAddress(address) => octets.put(address),
            Value::Ipv4Address(address) => octets.put(address),
            Value::Ipv6Address(address) => octets.put(address),
        }
    }
}

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
/// flowDirection of packets that go out.
const EGRESS: u8 = 1;
/// Bits that an element's Range allows: no value outside it is exported (RFC 7012 section 2.1).
const TCP_CONTROL_BITS: u16 = 0x0fff;
pub(super) const VLAN_ID: u16 = 0x0fff;
const FLOW_LABEL: u32 = 0x000f_ffff;

pub(super) fn source_ipv4_address(record: &FlowRecord, _: &Context) -> Value {
    Value::Ipv4Address(record.key.source_address.ipv4_octets())
}

pub(super) fn destination_ipv4_address(record: &FlowRecord, _: &Context) -> Value {
    Value::Ipv4Address(record.key.destination_address.ipv4_octets())
}

pub(super) fn source_ipv6_address(record: &FlowRecord, _: &Context) -> Value {
    Value::Ipv6Address(record.key.source_address.octets())
}

pub(super) fn destination_ipv6_address(record: &FlowRecord, _: &Context) -> Value {
    Value::Ipv6Address(record.key.destination_address.octets())
}

/// 0.0.0.0 where it is unknown, or the destination is on the link.
pub(super) fn next_hop_ipv4_address(record: &FlowRecord, _: &Context) -> Value {
    Value::Ipv4Address(record.route.next_hop.ipv4_octets())
}

/// `::` where it is unknown, or the destination is on the link.
pub(super) fn next_hop_ipv6_address(record: &FlowRecord, _: &Context) -> Value {
    Value::Ipv6Address(record.route.next_hop.octets())
}

/// Where packets come in and where they go out: the interface that saw them is one of both; 0 unknown.
pub(super) fn interfaces(record: &FlowRecord) -> [u32; 2] {
    let FlowRecord { key, route, .. } = record;
    if key.direction == EGRESS { [0, key.interface] } else { [key.interface, route.egress_interface] }
}

/// The interface of a packet that came in; that of one that goes out is its egress interface.
pub(super) fn ingress_interface(record: &FlowRecord, _: &Context) -> Value {
    let [ingress, _] = interfaces(record);
    Value::Unsigned(ingress.into())
}

/// Where the packet goes out: seen there, or by the routing tables; 0 unknown.
pub(super) fn egress_interface(record: &FlowRecord, _: &Context) -> Value {
    let [_, egress] = interfaces(record);
    Value::Unsigned(egress.into())
}

pub(super) fn packets(record: &FlowRecord, _: &Context) -> Value {
    Value::Unsigned(record.counters.packets)
}

pub(super) fn octets(record: &FlowRecord, _: &Context) -> Value {
    Value::Unsigned(record.counters.octets)
}

pub(super) fn start_milliseconds(record: &FlowRecord, _: &Context) -> Value {
    Value::Unsigned(record.start.0)
}

pub(super) fn end_milliseconds(record: &FlowRecord, _: &Context) -> Value {
    Value::Unsigned(record.end.0)
}

pub(super) fn start_sys_up_time(record: &FlowRecord, context: &Context) -> Value {
    Value::Unsigned(context.up_time.of(MonotonicNanos(record.counters.first)).into())
}

pub(super) fn end_sys_up_time(record: &FlowRecord, context: &Context) -> Value {
    Value::Unsigned(context.up_time.of(MonotonicNanos(record.counters.last)).into())
}

pub(super) fn source_port(record: &FlowRecord, _: &Context) -> Value {
    Value::Unsigned(record.key.source_port.value().into())
}

/// For ICMP the key holds type * 256 + code here, as v5 and v9 collectors expect.
pub(super) fn destination_port(record: &FlowRecord, _: &Context) -> Value {
    Value::Unsigned(record.key.destination_port.value().into())
}

/// Type * 256 + code once more, where IPFIX collectors look for it; 0 for other protocols.
pub(super) fn icmp_type_code(record: &FlowRecord, _: &Context) -> Value {
    let icmp = if record.key.is_ipv4() { ICMP } else { ICMPV6 };
    let is_icmp = record.key.protocol == icmp;
    Value::Unsigned(if is_icmp { record.key.destination_port.value().into() } else { 0 })
}

pub(super) fn vlan_id(record: &FlowRecord, _: &Context) -> Value {
    Value::Unsigned((record.key.vlan_id & VLAN_ID).into())
}

pub(super) fn flow_label(record: &FlowRecord, _: &Context) -> Value {
    Value::Unsigned((record.counters.flow_label & FLOW_LABEL).into())
}

/// All observed bits; the four of the data offset are zero (RFC 9565 section 3).
pub(super) fn tcp_control_bits(record: &FlowRecord, _: &Context) -> Value {
    Value::Unsigned((record.counters.tcp_control_bits & TCP_CONTROL_BITS).into())
}

/// In one octet, it is the low one (RFC 9565 section 3).
pub(super) fn low_tcp_control_bits(record: &FlowRecord, _: &Context) -> Value {
    Value::Unsigned((record.counters.tcp_control_bits & 0xff).into())
}

pub(super) fn protocol(record: &FlowRecord, _: &Context) -> Value {
    Value::Unsigned(record.key.protocol.into())
}

pub(super) fn ip_version(record: &FlowRecord, _: &Context) -> Value {
    Value::Unsigned(record.key.ip_version.into())
}

pub(super) fn direction(record: &FlowRecord, _: &Context) -> Value {
    Value::Unsigned(record.key.direction.into())
}

pub(super) fn minimum_ttl(record: &FlowRecord, _: &Context) -> Value {
    Value::Unsigned(record.counters.minimum_ttl.into())
}

pub(super) fn maximum_ttl(record: &FlowRecord, _: &Context) -> Value {
    Value::Unsigned(record.counters.maximum_ttl.into())
}

/// Of the key, where it has no whole address, else of the route; the same for its fellows.
pub(super) fn source_ipv4_prefix_length(record: &FlowRecord, context: &Context) -> Value {
    let routed = record.route.source_prefix_length;
    Value::Unsigned(context.prefix_lengths.source_ipv4.unwrap_or(routed).into())
}

pub(super) fn destination_ipv4_prefix_length(record: &FlowRecord, context: &Context) -> Value {
    let routed = record.route.destination_prefix_length;
    Value::Unsigned(context.prefix_lengths.destination_ipv4.unwrap_or(routed).into())
}

pub(super) fn source_ipv6_prefix_length(record: &FlowRecord, context: &Context) -> Value {
    let routed = record.route.source_prefix_length;
    Value::Unsigned(context.prefix_lengths.source_ipv6.unwrap_or(routed).into())
}

pub(super) fn destination_ipv6_prefix_length(record: &FlowRecord, context: &Context) -> Value {
    let routed = record.route.destination_prefix_length;
    Value::Unsigned(context.prefix_lengths.destination_ipv6.unwrap_or(routed).into())
}

pub(super) fn end_reason(record: &FlowRecord, _: &Context) -> Value {
    Value::Unsigned((record.end_reason as u8).into())
}

#[cfg(test)]
mod tests {
    use netflow_common::{Address, FlowCounters, FlowKey, IpVersion, NetworkU16, Ports};

    use super::{
        super::{InformationElement, Protocol, TemplateOptions, TemplateSet},
        *,
    };
    use crate::{record::FlowEndReason, time::Instant};

    const CLOCK: Instant =
        Instant { monotonic: MonotonicNanos(3_600_000_000_000), unix_nanos: 1_767_225_600_000_000_000 };

    fn record(ip_version: u8, protocol: u8, destination_port: u16, counters: FlowCounters) -> FlowRecord {
        let key = FlowKey {
            source_address: Address::from_ipv6([7; 16]),
            destination_port: NetworkU16::new(destination_port),
            protocol,
            ip_version,
            ports: Ports::PRESENT,
            ..FlowKey::default()
        };
        FlowRecord::new(key, counters, FlowEndReason::EndOfFlowDetected, &CLOCK)
    }

    /// The octets of one field of the record, as they are on the wire.
    fn field_octets(protocol: Protocol, record: &FlowRecord, element: InformationElement) -> Vec<u8> {
        let set = TemplateSet::new(&TemplateOptions::new(protocol)).expect("the default set");
        let template = &set.templates()[set.index_of(record)];
        let mut octets = Octets::with_capacity(0);
        let up_time = SysUpTime::at_next_second(CLOCK, MonotonicNanos(0));
        encode(template, record, &Context { up_time, prefix_lengths: set.prefix_lengths() }, &mut octets);
        assert_eq!(octets.len(), template.data_record_len);
        let place =
            template.fields.iter().position(|field| field.element == element).expect("in the template");
        let start: usize = template.fields[..place].iter().map(|field| usize::from(field.length)).sum();
        octets.as_slice()[start..start + usize::from(template.fields[place].length)].to_vec()
    }

    #[test]
    fn icmp_type_and_code_stand_in_their_element_and_in_the_port() {
        // IE-3, V9-FLD-3
        use InformationElement as E;
        let port = E::DESTINATION_TRANSPORT_PORT;
        let echo = record(IpVersion::V4, 1, 0x0800, FlowCounters::default());
        let echo6 = record(IpVersion::V6, 58, 0x8000, FlowCounters::default());
        for (protocol, record, element, expected) in [
            (Protocol::Ipfix, echo.clone(), E::ICMP_TYPE_CODE_IPV4, [8, 0]),
            (Protocol::Ipfix, echo6.clone(), E::ICMP_TYPE_CODE_IPV6, [0x80, 0]),
            (Protocol::NetflowV9, echo, E::ICMP_TYPE_CODE_IPV4, [8, 0]),
            (Protocol::NetflowV9, echo6, E::ICMP_TYPE_CODE_IPV4, [0x80, 0]),
        ] {
            assert_eq!(field_octets(protocol, &record, element), expected);
            assert_eq!(field_octets(protocol, &record, port), expected);
        }
    }

    #[test]
    fn other_protocols_have_no_icmp_type() {
        let udp = record(IpVersion::V4, 17, 53, FlowCounters::default());
        assert_eq!(field_octets(Protocol::Ipfix, &udp, InformationElement::ICMP_TYPE_CODE_IPV4), [0, 0]);
        assert_eq!(field_octets(Protocol::NetflowV9, &udp, InformationElement::ICMP_TYPE_CODE_IPV4), [0, 0]);
    }

    #[test]
    fn tcp_control_bits_are_all_exported_and_v9_has_the_low_octet() {
        // IE-1: SYN, ECE, CWR and AE; the data offset's bits are not control bits.
        let counters = FlowCounters { tcp_control_bits: 0xf1c2, ..FlowCounters::default() };
        let tcp = record(IpVersion::V4, 6, 443, counters);
        let element = InformationElement::TCP_CONTROL_BITS;
        assert_eq!(field_octets(Protocol::Ipfix, &tcp, element), [0x01, 0xc2]);
        assert_eq!(field_octets(Protocol::NetflowV9, &tcp, element), [0xc2]);
    }

    #[test]
    fn values_stay_within_the_range_of_their_element() {
        // IPFIX-DATA-3
        let counters = FlowCounters { flow_label: u32::MAX, ..FlowCounters::default() };
        let mut record = record(IpVersion::V6, 17, 53, counters);
        record.key.vlan_id = u16::MAX;
        let label = InformationElement::FLOW_LABEL_IPV6;
        assert_eq!(field_octets(Protocol::Ipfix, &record, label), [0, 0x0f, 0xff, 0xff]);
        assert_eq!(field_octets(Protocol::NetflowV9, &record, label), [0x0f, 0xff, 0xff]);
        assert_eq!(field_octets(Protocol::Ipfix, &record, InformationElement::VLAN_ID), [0x0f, 0xff]);
    }

    #[test]
    fn times_are_absolute_in_ipfix_and_those_of_sys_up_time_in_v9() {
        // TYPE-TIME-2, V9-FLD-2
        let counters =
            FlowCounters { first: 3_590_000_000_000, last: 3_598_000_000_000, ..FlowCounters::default() };
        let record = record(IpVersion::V4, 17, 53, counters);
        assert_eq!(
            field_octets(Protocol::Ipfix, &record, InformationElement::FLOW_START_MILLISECONDS),
            1_767_225_590_000_u64.to_be_bytes()
        );
        assert_eq!(
            field_octets(Protocol::Ipfix, &record, InformationElement::FLOW_END_MILLISECONDS),
            1_767_225_598_000_u64.to_be_bytes()
        );
        assert_eq!(
            field_octets(Protocol::NetflowV9, &record, InformationElement::FLOW_START_SYS_UP_TIME),
            3_590_000_u32.to_be_bytes()
        );
        assert_eq!(
            field_octets(Protocol::NetflowV9, &record, InformationElement::FLOW_END_SYS_UP_TIME),
            3_598_000_u32.to_be_bytes()
        );
    }
}
