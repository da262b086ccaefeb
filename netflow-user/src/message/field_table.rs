//! Which fields a record can have, in wire order, and when it has them: the one table that drives
//! Template Records and Data Records.
//!
//! In: nothing. Out: rows. This module refuses to know ids of templates and what the operator asked for.

use super::{
    Group, InformationElement as E, Protocol,
    data_record::{self as value, ValueOf},
    group_value,
    template::AddressFamily,
};

/// A field that a record may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub element: E,
    /// Octets of a value.
    pub length: u16,
    pub value: ValueOf,
    /// It is there if one of these is in the Flow Key, a derived one if all are.
    pub key: &'static [E],
    /// It does not stand in the key itself, but follows from what does.
    pub is_derived: bool,
    /// It is there if this address is in the Flow Key with a prefix length.
    pub prefix_of: Option<E>,
    /// It is there if this group was asked for.
    pub group: Option<Group>,
    /// It is of the packets from destination to source.
    pub is_reverse: bool,
}

impl Row {
    /// Whether the field is there whatever was asked for.
    pub fn is_unconditional(&self) -> bool {
        self.key.is_empty() && self.group.is_none()
    }

    /// Also if this group was asked for.
    pub(super) const fn or(self, group: Group) -> Self {
        Self { group: Some(group), ..self }
    }
}

/// A field that every record has.
pub(super) const fn always(element: E, length: u16, value: ValueOf) -> Row {
    if let Some(full) = element.data_type().length() {
        let reduced = length < full && length > 0 && element.data_type().is_reducible();
        assert!(
            length == full || reduced,
            "only integers have fewer octets than their type (RFC 7011 section 6.2)"
        );
    }
    Row {
        element,
        length,
        value,
        key: &[],
        is_derived: false,
        prefix_of: None,
        group: None,
        is_reverse: false,
    }
}

/// A field of the Flow Key, the first of these elements; it is there if one of them is in the key.
pub(super) const fn key(elements: &'static [E], length: u16, value: ValueOf) -> Row {
    Row { key: elements, ..always(elements[0], length, value) }
}

/// A field that follows from these elements of the Flow Key together.
pub(super) const fn derived(element: E, from: &'static [E], length: u16, value: ValueOf) -> Row {
    Row { key: from, is_derived: true, ..always(element, length, value) }
}

/// The rows of every record of a protocol and family.
pub(super) fn rows(protocol: Protocol, family: AddressFamily) -> impl Iterator<Item = &'static Row> {
    let rows: &[Row] = match (protocol, family) {
        (Protocol::Ipfix, AddressFamily::Ipv4) => &IPFIX_IPV4,
        (Protocol::Ipfix, AddressFamily::Ipv6) => &IPFIX_IPV6,
        (Protocol::NetflowV9, AddressFamily::Ipv4) => &NETFLOW_V9_IPV4,
        (Protocol::NetflowV9, AddressFamily::Ipv6) => &NETFLOW_V9_IPV6,
    };
    rows.iter()
}

/// The rows that biflows have after them (RFC 5103); IPFIX only.
pub(super) fn biflow_rows() -> impl Iterator<Item = &'static Row> {
    BIFLOW.iter()
}

/// A field that every biflow has, of the packets from destination to source.
pub(super) const fn reverse(element: E, length: u16, value: ValueOf) -> Row {
    Row { is_reverse: true, ..always(element, length, value) }
}

/// What tells the type and code of ICMP.
pub(super) const ICMP_KEY: &[E] = &[E::PROTOCOL_IDENTIFIER, E::DESTINATION_TRANSPORT_PORT];

/// IPFIX, IPv4.
static IPFIX_IPV4: [Row; 21] = [
    key(&[E::SOURCE_IPV4_ADDRESS], 4, value::source_ipv4_address),
    key(&[E::DESTINATION_IPV4_ADDRESS], 4, value::destination_ipv4_address),
    always(E::IP_NEXT_HOP_IPV4_ADDRESS, 4, value::next_hop_ipv4_address),
    key(&[E::INGRESS_INTERFACE], 4, value::ingress_interface),
    always(E::EGRESS_INTERFACE, 4, value::egress_interface),
    always(E::PACKET_DELTA_COUNT, 8, value::packets),
    always(E::OCTET_DELTA_COUNT, 8, value::octets),
    always(E::FLOW_START_MILLISECONDS, 8, value::start_milliseconds),
    always(E::FLOW_END_MILLISECONDS, 8, value::end_milliseconds),
    key(&[E::SOURCE_TRANSPORT_PORT], 2, value::source_port),
    key(&[E::DESTINATION_TRANSPORT_PORT], 2, value::destination_port),
    derived(E::ICMP_TYPE_CODE_IPV4, ICMP_KEY, 2, value::icmp_type_code),
    key(&[E::VLAN_ID], 2, value::vlan_id),
    always(E::TCP_CONTROL_BITS, 2, value::tcp_control_bits),
    key(&[E::PROTOCOL_IDENTIFIER], 1, value::protocol),
    key(&[E::IP_CLASS_OF_SERVICE], 1, group_value::class_of_service).or(Group::Tos),
    always(E::IP_VERSION, 1, value::ip_version),
    key(&[E::FLOW_DIRECTION], 1, value::direction),
    always(E::MINIMUM_TTL, 1, value::minimum_ttl),
    always(E::MAXIMUM_TTL, 1, value::maximum_ttl),
    always(E::FLOW_END_REASON, 1, value::end_reason),
];

/// IPFIX, IPv6.
static IPFIX_IPV6: [Row; 22] = [
    key(&[E::SOURCE_IPV6_ADDRESS], 16, value::source_ipv6_address),
    key(&[E::DESTINATION_IPV6_ADDRESS], 16, value::destination_ipv6_address),
    always(E::IP_NEXT_HOP_IPV6_ADDRESS, 16, value::next_hop_ipv6_address),
    key(&[E::INGRESS_INTERFACE], 4, value::ingress_interface),
    always(E::EGRESS_INTERFACE, 4, value::egress_interface),
    always(E::PACKET_DELTA_COUNT, 8, value::packets),
    always(E::OCTET_DELTA_COUNT, 8, value::octets),
    always(E::FLOW_START_MILLISECONDS, 8, value::start_milliseconds),
    always(E::FLOW_END_MILLISECONDS, 8, value::end_milliseconds),
    key(&[E::SOURCE_TRANSPORT_PORT], 2, value::source_port),
    key(&[E::DESTINATION_TRANSPORT_PORT], 2, value::destination_port),
    derived(E::ICMP_TYPE_CODE_IPV6, ICMP_KEY, 2, value::icmp_type_code),
    key(&[E::VLAN_ID], 2, value::vlan_id),
    always(E::FLOW_LABEL_IPV6, 4, value::flow_label),
    always(E::TCP_CONTROL_BITS, 2, value::tcp_control_bits),
    key(&[E::PROTOCOL_IDENTIFIER], 1, value::protocol),
    key(&[E::IP_CLASS_OF_SERVICE], 1, group_value::class_of_service).or(Group::Tos),
    always(E::IP_VERSION, 1, value::ip_version),
    key(&[E::FLOW_DIRECTION], 1, value::direction),
    always(E::MINIMUM_TTL, 1, value::minimum_ttl),
    always(E::MAXIMUM_TTL, 1, value::maximum_ttl),
    always(E::FLOW_END_REASON, 1, value::end_reason),
];

/// NetFlow v9, IPv4. v9 has no flowEndReason (its field types end at 127), takes its times from sysUpTime, and
/// its TCP_FLAGS have one octet (RFC 3954 section 8).
static NETFLOW_V9_IPV4: [Row; 20] = [
    key(&[E::SOURCE_IPV4_ADDRESS], 4, value::source_ipv4_address),
    key(&[E::DESTINATION_IPV4_ADDRESS], 4, value::destination_ipv4_address),
    always(E::IP_NEXT_HOP_IPV4_ADDRESS, 4, value::next_hop_ipv4_address),
    key(&[E::INGRESS_INTERFACE], 4, value::ingress_interface),
    always(E::EGRESS_INTERFACE, 4, value::egress_interface),
    always(E::PACKET_DELTA_COUNT, 8, value::packets),
    always(E::OCTET_DELTA_COUNT, 8, value::octets),
    always(E::FLOW_START_SYS_UP_TIME, 4, value::start_sys_up_time),
    always(E::FLOW_END_SYS_UP_TIME, 4, value::end_sys_up_time),
    key(&[E::SOURCE_TRANSPORT_PORT], 2, value::source_port),
    key(&[E::DESTINATION_TRANSPORT_PORT], 2, value::destination_port),
    derived(E::ICMP_TYPE_CODE_IPV4, ICMP_KEY, 2, value::icmp_type_code),
    key(&[E::VLAN_ID], 2, value::vlan_id),
    key(&[E::PROTOCOL_IDENTIFIER], 1, value::protocol),
    always(E::TCP_CONTROL_BITS, 1, value::low_tcp_control_bits),
    key(&[E::IP_CLASS_OF_SERVICE], 1, group_value::class_of_service).or(Group::Tos),
    always(E::IP_VERSION, 1, value::ip_version),
    key(&[E::FLOW_DIRECTION], 1, value::direction),
    always(E::MINIMUM_TTL, 1, value::minimum_ttl),
    always(E::MAXIMUM_TTL, 1, value::maximum_ttl),
];

/// NetFlow v9, IPv6; its IPV6_FLOW_LABEL has three octets (RFC 3954 section 8).
static NETFLOW_V9_IPV6: [Row; 21] = [
    key(&[E::SOURCE_IPV6_ADDRESS], 16, value::source_ipv6_address),
    key(&[E::DESTINATION_IPV6_ADDRESS], 16, value::destination_ipv6_address),
    always(E::IP_NEXT_HOP_IPV6_ADDRESS, 16, value::next_hop_ipv6_address),
    key(&[E::INGRESS_INTERFACE], 4, value::ingress_interface),
    always(E::EGRESS_INTERFACE, 4, value::egress_interface),
    always(E::PACKET_DELTA_COUNT, 8, value::packets),
    always(E::OCTET_DELTA_COUNT, 8, value::octets),
    always(E::FLOW_START_SYS_UP_TIME, 4, value::start_sys_up_time),
    always(E::FLOW_END_SYS_UP_TIME, 4, value::end_sys_up_time),
    key(&[E::SOURCE_TRANSPORT_PORT], 2, value::source_port),
    key(&[E::DESTINATION_TRANSPORT_PORT], 2, value::destination_port),
    // ICMP_TYPE, 32, stands for ICMPv6 too: 139 is not a v9 field type.
    derived(E::ICMP_TYPE_CODE_IPV4, ICMP_KEY, 2, value::icmp_type_code),
    key(&[E::VLAN_ID], 2, value::vlan_id),
    always(E::FLOW_LABEL_IPV6, 3, value::flow_label),
    key(&[E::PROTOCOL_IDENTIFIER], 1, value::protocol),
    always(E::TCP_CONTROL_BITS, 1, value::low_tcp_control_bits),
    key(&[E::IP_CLASS_OF_SERVICE], 1, group_value::class_of_service).or(Group::Tos),
    always(E::IP_VERSION, 1, value::ip_version),
    key(&[E::FLOW_DIRECTION], 1, value::direction),
    always(E::MINIMUM_TTL, 1, value::minimum_ttl),
    always(E::MAXIMUM_TTL, 1, value::maximum_ttl),
];

static BIFLOW: [Row; 9] = [
    always(E::BIFLOW_DIRECTION, 1, group_value::biflow_direction),
    reverse(E::REVERSE_PACKET_DELTA_COUNT, 8, value::packets),
    reverse(E::REVERSE_OCTET_DELTA_COUNT, 8, value::octets),
    reverse(E::REVERSE_FLOW_START_MILLISECONDS, 8, value::start_milliseconds),
    reverse(E::REVERSE_FLOW_END_MILLISECONDS, 8, value::end_milliseconds),
    reverse(E::REVERSE_TCP_CONTROL_BITS, 2, value::tcp_control_bits),
    Row {
        key: &[E::IP_CLASS_OF_SERVICE],
        ..reverse(E::REVERSE_IP_CLASS_OF_SERVICE, 1, group_value::class_of_service).or(Group::Tos)
    },
    reverse(E::REVERSE_MINIMUM_TTL, 1, value::minimum_ttl),
    reverse(E::REVERSE_MAXIMUM_TTL, 1, value::maximum_ttl),
];
