//! Templates: which fields a record has, in which order and how long.
//!
//! In: nothing. Out: Template Records (RFC 7011 section 3.4.1, RFC 3954 section 5.2), and the field
//! tables that Data Records are written by. A template id keeps its layout for ever: collectors cache it.

use crate::record::FlowRecord;

use super::{
    InformationElement as E, Protocol,
    data_record::{self as value, ValueOf},
    octets::Octets,
};

/// Which addresses a record has: each family has its own template, since collectors take zero-filled
/// addresses of the other family for real.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum AddressFamily {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl AddressFamily {
    /// That of a Flow Record's addresses.
    pub fn of(record: &FlowRecord) -> Self {
        if record.key.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }
}

/// One field of a template: its Field Specifier and where its values come from.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The Information Element.
    pub element: E,
    /// Octets of a value.
    pub length: u16,
    pub(super) value: ValueOf,
}

impl Field {
    /// Element ID; in v9 the field type.
    pub const fn id(&self) -> u16 {
        self.element.id()
    }

    /// The element's name in the registry.
    pub const fn name(&self) -> &'static str {
        self.element.name()
    }
}

/// A template: drives the Template Record and every Data Record, so that they cannot disagree.
#[derive(Clone, Copy, Debug)]
pub struct Template {
    /// Template ID, and Set ID of its Data Sets.
    pub id: u16,
    /// Its fields in wire order.
    pub fields: &'static [Field],
    /// Octets of a Data Record.
    pub data_record_len: usize,
    /// Octets of the Template Record.
    pub template_record_len: usize,
}

impl Template {
    const RECORD_HEADER_LEN: usize = 4;
    const FIELD_SPECIFIER_LEN: usize = 4;

    const fn new(id: u16, fields: &'static [Field]) -> Self {
        let mut data_record_len = 0;
        let mut index = 0;
        while index < fields.len() {
            data_record_len += fields[index].length as usize;
            index += 1;
        }
        // Padding of up to 3 octets must not look like one more record (conformance IPFIX-SET-5, V9-FS-3).
        assert!(data_record_len > 3, "a data record is longer than any padding");
        assert!(id >= 256, "ids below 256 are Set IDs (RFC 7011 section 3.4.1)");
        let template_record_len = Self::RECORD_HEADER_LEN + fields.len() * Self::FIELD_SPECIFIER_LEN;
        Self { id, fields, data_record_len, template_record_len }
    }

    /// Writes the Template Record: the same octets in IPFIX and in v9.
    pub(super) fn encode(&self, octets: &mut Octets) {
        octets.put_u16(self.id);
        octets.put_u16(self.fields.len() as u16);
        for field in self.fields {
            octets.put_u16(field.element.id());
            octets.put_u16(field.length);
        }
    }
}

/// The templates of a protocol, in the order of sending: IPv4, IPv6.
pub fn templates(protocol: Protocol) -> &'static [Template; 2] {
    match protocol {
        Protocol::Ipfix => &IPFIX,
        Protocol::NetflowV9 => &NETFLOW_V9,
    }
}

/// The fields of a protocol's records of one family, in wire order.
pub fn fields(protocol: Protocol, family: AddressFamily) -> &'static [Field] {
    templates(protocol)[index(family)].fields
}

/// The place of a family's template in [`templates`].
pub(super) fn index(family: AddressFamily) -> usize {
    match family {
        AddressFamily::Ipv4 => 0,
        AddressFamily::Ipv6 => 1,
    }
}

const fn field(element: E, length: u16, value: ValueOf) -> Field {
    let full = element.data_type().length();
    let reduced = length < full && length > 0 && element.data_type().is_reducible();
    assert!(
        length == full || reduced,
        "only integers have fewer octets than their type (RFC 7011 section 6.2)"
    );
    Field { element, length, value }
}

static IPFIX: [Template; 2] = [
    Template::new(
        256,
        &[
            field(E::SOURCE_IPV4_ADDRESS, 4, value::source_ipv4_address),
            field(E::DESTINATION_IPV4_ADDRESS, 4, value::destination_ipv4_address),
            field(E::IP_NEXT_HOP_IPV4_ADDRESS, 4, value::next_hop_ipv4_address),
            field(E::INGRESS_INTERFACE, 4, value::ingress_interface),
            field(E::EGRESS_INTERFACE, 4, value::egress_interface),
            field(E::PACKET_DELTA_COUNT, 8, value::packets),
            field(E::OCTET_DELTA_COUNT, 8, value::octets),
            field(E::FLOW_START_MILLISECONDS, 8, value::start_milliseconds),
            field(E::FLOW_END_MILLISECONDS, 8, value::end_milliseconds),
            field(E::SOURCE_TRANSPORT_PORT, 2, value::source_port),
            field(E::DESTINATION_TRANSPORT_PORT, 2, value::destination_port),
            field(E::ICMP_TYPE_CODE_IPV4, 2, value::icmp_type_code),
            field(E::VLAN_ID, 2, value::vlan_id),
            field(E::TCP_CONTROL_BITS, 2, value::tcp_control_bits),
            field(E::PROTOCOL_IDENTIFIER, 1, value::protocol),
            field(E::IP_CLASS_OF_SERVICE, 1, value::class_of_service),
            field(E::IP_VERSION, 1, value::ip_version),
            field(E::FLOW_DIRECTION, 1, value::direction),
            field(E::MINIMUM_TTL, 1, value::minimum_ttl),
            field(E::MAXIMUM_TTL, 1, value::maximum_ttl),
            field(E::FLOW_END_REASON, 1, value::end_reason),
        ],
    ),
    Template::new(
        257,
        &[
            field(E::SOURCE_IPV6_ADDRESS, 16, value::source_ipv6_address),
            field(E::DESTINATION_IPV6_ADDRESS, 16, value::destination_ipv6_address),
            field(E::IP_NEXT_HOP_IPV6_ADDRESS, 16, value::next_hop_ipv6_address),
            field(E::INGRESS_INTERFACE, 4, value::ingress_interface),
            field(E::EGRESS_INTERFACE, 4, value::egress_interface),
            field(E::PACKET_DELTA_COUNT, 8, value::packets),
            field(E::OCTET_DELTA_COUNT, 8, value::octets),
            field(E::FLOW_START_MILLISECONDS, 8, value::start_milliseconds),
            field(E::FLOW_END_MILLISECONDS, 8, value::end_milliseconds),
            field(E::SOURCE_TRANSPORT_PORT, 2, value::source_port),
            field(E::DESTINATION_TRANSPORT_PORT, 2, value::destination_port),
            field(E::ICMP_TYPE_CODE_IPV6, 2, value::icmp_type_code),
            field(E::VLAN_ID, 2, value::vlan_id),
            field(E::FLOW_LABEL_IPV6, 4, value::flow_label),
            field(E::TCP_CONTROL_BITS, 2, value::tcp_control_bits),
            field(E::PROTOCOL_IDENTIFIER, 1, value::protocol),
            field(E::IP_CLASS_OF_SERVICE, 1, value::class_of_service),
            field(E::IP_VERSION, 1, value::ip_version),
            field(E::FLOW_DIRECTION, 1, value::direction),
            field(E::MINIMUM_TTL, 1, value::minimum_ttl),
            field(E::MAXIMUM_TTL, 1, value::maximum_ttl),
            field(E::FLOW_END_REASON, 1, value::end_reason),
        ],
    ),
];

/// v9 has no flowEndReason (its field types end at 127), takes its times from sysUpTime, and its
/// TCP_FLAGS have one octet and IPV6_FLOW_LABEL three (RFC 3954 section 8).
static NETFLOW_V9: [Template; 2] = [
    Template::new(
        256,
        &[
            field(E::SOURCE_IPV4_ADDRESS, 4, value::source_ipv4_address),
            field(E::DESTINATION_IPV4_ADDRESS, 4, value::destination_ipv4_address),
            field(E::IP_NEXT_HOP_IPV4_ADDRESS, 4, value::next_hop_ipv4_address),
            field(E::INGRESS_INTERFACE, 4, value::ingress_interface),
            field(E::EGRESS_INTERFACE, 4, value::egress_interface),
            field(E::PACKET_DELTA_COUNT, 8, value::packets),
            field(E::OCTET_DELTA_COUNT, 8, value::octets),
            field(E::FLOW_START_SYS_UP_TIME, 4, value::start_sys_up_time),
            field(E::FLOW_END_SYS_UP_TIME, 4, value::end_sys_up_time),
            field(E::SOURCE_TRANSPORT_PORT, 2, value::source_port),
            field(E::DESTINATION_TRANSPORT_PORT, 2, value::destination_port),
            field(E::ICMP_TYPE_CODE_IPV4, 2, value::icmp_type_code),
            field(E::VLAN_ID, 2, value::vlan_id),
            field(E::PROTOCOL_IDENTIFIER, 1, value::protocol),
            field(E::TCP_CONTROL_BITS, 1, value::low_tcp_control_bits),
            field(E::IP_CLASS_OF_SERVICE, 1, value::class_of_service),
            field(E::IP_VERSION, 1, value::ip_version),
            field(E::FLOW_DIRECTION, 1, value::direction),
            field(E::MINIMUM_TTL, 1, value::minimum_ttl),
            field(E::MAXIMUM_TTL, 1, value::maximum_ttl),
        ],
    ),
    Template::new(
        257,
        &[
            field(E::SOURCE_IPV6_ADDRESS, 16, value::source_ipv6_address),
            field(E::DESTINATION_IPV6_ADDRESS, 16, value::destination_ipv6_address),
            field(E::IP_NEXT_HOP_IPV6_ADDRESS, 16, value::next_hop_ipv6_address),
            field(E::INGRESS_INTERFACE, 4, value::ingress_interface),
            field(E::EGRESS_INTERFACE, 4, value::egress_interface),
            field(E::PACKET_DELTA_COUNT, 8, value::packets),
            field(E::OCTET_DELTA_COUNT, 8, value::octets),
            field(E::FLOW_START_SYS_UP_TIME, 4, value::start_sys_up_time),
            field(E::FLOW_END_SYS_UP_TIME, 4, value::end_sys_up_time),
            field(E::SOURCE_TRANSPORT_PORT, 2, value::source_port),
            field(E::DESTINATION_TRANSPORT_PORT, 2, value::destination_port),
            // ICMP_TYPE, 32, stands for ICMPv6 too: 139 is not a v9 field type.
            field(E::ICMP_TYPE_CODE_IPV4, 2, value::icmp_type_code),
            field(E::VLAN_ID, 2, value::vlan_id),
            field(E::FLOW_LABEL_IPV6, 3, value::flow_label),
            field(E::PROTOCOL_IDENTIFIER, 1, value::protocol),
            field(E::TCP_CONTROL_BITS, 1, value::low_tcp_control_bits),
            field(E::IP_CLASS_OF_SERVICE, 1, value::class_of_service),
            field(E::IP_VERSION, 1, value::ip_version),
            field(E::FLOW_DIRECTION, 1, value::direction),
            field(E::MINIMUM_TTL, 1, value::minimum_ttl),
            field(E::MAXIMUM_TTL, 1, value::maximum_ttl),
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::{super::DataType, *};

    #[test]
    fn records_have_the_lengths_that_collectors_were_tested_with() {
        let lengths = |protocol| {
            templates(protocol)
                .each_ref()
                .map(|template| (template.id, template.data_record_len, template.template_record_len))
        };
        assert_eq!(lengths(Protocol::Ipfix), [(256, 69, 88), (257, 109, 92)]);
        assert_eq!(lengths(Protocol::NetflowV9), [(256, 59, 84), (257, 98, 88)]);
    }

    #[test]
    fn a_template_record_states_its_fields() {
        // IPFIX-TREC-1, IPFIX-TREC-3, IPFIX-FLD-1
        let mut octets = Octets::with_capacity(0);
        templates(Protocol::NetflowV9)[1].encode(&mut octets);
        assert_eq!(octets.len(), 88);
        assert_eq!(octets.as_slice()[..8], [1, 1, 0, 21, 0, 27, 0, 16]);
        assert_eq!(octets.as_slice()[84..], [0, 53, 0, 1]);
    }

    #[test]
    fn v9_uses_the_field_types_it_shares_with_ipfix() {
        // V9-TMPL-10, V9-FLD-2, V9-FLD-3
        for family in [AddressFamily::Ipv4, AddressFamily::Ipv6] {
            let fields = fields(Protocol::NetflowV9, family);
            assert!(fields.iter().all(|field| field.id() <= 127));
            assert!(fields.iter().all(|field| field.element.data_type() != DataType::DateTimeMilliseconds));
        }
    }

    #[test]
    fn counters_are_never_reduced() {
        // TPL-RULE-1: some collectors read 0 from other sizes.
        for protocol in [Protocol::Ipfix, Protocol::NetflowV9] {
            for template in templates(protocol) {
                let counters = template.fields.iter().filter(|field| matches!(field.id(), 1 | 2));
                assert_eq!(counters.map(|field| field.length).collect::<Vec<_>>(), [8, 8]);
            }
        }
    }
}
