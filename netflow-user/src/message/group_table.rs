//! The fields of groups, in wire order, and those that are in the Flow Key on request only.
//!
//! In: nothing. Out: rows that follow those of every record. This module refuses to know what the operator asked
//! for.

use super::{
    Group as G, InformationElement as E, data_record as value,
    data_record::ValueOf,
    field_table::{Row, always, key, reverse},
    group_value::{self as of, mpls_label},
    template::AddressFamily,
};

/// What tells a tunnel apart; each of them names it as part of the key.
const TUNNEL: [&[E]; 3] = [
    &[E::LAYER2_SEGMENT_ID, E::GRE_KEY, E::GTPU_TE_ID],
    &[E::GRE_KEY, E::LAYER2_SEGMENT_ID, E::GTPU_TE_ID],
    &[E::GTPU_TE_ID, E::LAYER2_SEGMENT_ID, E::GRE_KEY],
];

/// A field that a group has.
const fn group(group: G, element: E, length: u16, value: ValueOf) -> Row {
    always(element, length, value).or(group)
}

/// A field that a group has of the packets from destination to source.
const fn other_way(group: G, element: E, length: u16, value: ValueOf) -> Row {
    reverse(element, length, value).or(group)
}

/// A field that says how many leading bits of an address are in the key, or in the route.
const fn prefix(element: E, of: E, value: ValueOf) -> Row {
    Row { prefix_of: Some(of), ..group(G::Route, element, 1, value) }
}

/// The rows that follow where they were asked for.
pub(super) fn group_rows(family: AddressFamily) -> impl Iterator<Item = &'static Row> {
    let (options, prefix_lengths) = match family {
        AddressFamily::Ipv4 => (&OPTIONS_IPV4, &PREFIX_LENGTHS_IPV4),
        AddressFamily::Ipv6 => (&OPTIONS_IPV6, &PREFIX_LENGTHS_IPV6),
    };
    COMMON.iter().chain(options).chain(&PLACE).chain(prefix_lengths)
}

/// The rows that biflows have behind those: what is measured of each direction by itself.
pub(super) fn biflow_group_rows(family: AddressFamily) -> impl Iterator<Item = &'static Row> {
    let options = match family {
        AddressFamily::Ipv4 => &BIFLOW_OPTIONS_IPV4,
        AddressFamily::Ipv6 => &BIFLOW_OPTIONS_IPV6,
    };
    BIFLOW.iter().chain(options)
}

static COMMON: [Row; 20] = [
    group(G::L2, E::LAYER2_OCTET_DELTA_COUNT, 8, of::layer2_octets),
    key(&[E::SOURCE_MAC_ADDRESS], 6, of::source_mac).or(G::L2),
    key(&[E::DESTINATION_MAC_ADDRESS], 6, of::destination_mac).or(G::L2),
    group(G::L2, E::ETHERNET_TYPE, 2, of::ethernet_type),
    group(G::L2, E::DOT1Q_VLAN_ID, 2, of::dot1q_vlan_id),
    group(G::L2, E::DOT1Q_PRIORITY, 1, of::dot1q_priority),
    key(&[E::DOT1Q_CUSTOMER_VLAN_ID], 2, of::dot1q_customer_vlan_id).or(G::L2),
    group(G::L2, E::DOT1Q_CUSTOMER_PRIORITY, 1, of::dot1q_customer_priority),
    group(G::Frag, E::FRAGMENT_IDENTIFICATION, 4, of::fragment_identification),
    group(G::Frag, E::FRAGMENT_OFFSET, 2, of::fragment_offset),
    group(G::Frag, E::FRAGMENT_FLAGS, 1, of::fragment_flags),
    group(G::Fragments, E::FRAGMENT_DELTA_COUNT, 4, of::fragments),
    group(G::Size, E::MINIMUM_IP_TOTAL_LENGTH, 8, of::minimum_ip_length),
    group(G::Size, E::MAXIMUM_IP_TOTAL_LENGTH, 8, of::maximum_ip_length),
    group(G::Tcp, E::TCP_RETRANSMITTED_PACKET_DELTA_COUNT, 4, of::tcp_retransmitted),
    group(G::Tcp, E::TCP_OUT_OF_ORDER_PACKET_DELTA_COUNT, 4, of::tcp_out_of_order),
    group(G::Tcp, E::TCP_HANDSHAKE_ROUND_TRIP_TIME, 4, of::round_trip_time),
    group(G::Tos, E::IP_CLASS_OF_SERVICE_UNION, 1, of::class_of_service_union),
    group(G::Dscp, E::IP_DIFF_SERV_CODE_POINT, 1, of::dscp),
    group(G::Ttl, E::IP_TTL, 1, of::ttl),
];

/// Kinds of TCP options above 63 are not measured.
static OPTIONS_IPV4: [Row; 2] = [
    group(G::Opts, E::IPV4_OPTIONS, 4, of::ipv4_options),
    group(G::Opts, E::TCP_OPTIONS_FULL, 8, of::tcp_options),
];

/// Reduced from 32 octets: 14 extension headers have a bit (RFC 9740).
static OPTIONS_IPV6: [Row; 2] = [
    group(G::Opts, E::IPV6_EXTENSION_HEADERS_FULL, 4, of::ipv6_extension_headers),
    group(G::Opts, E::TCP_OPTIONS_FULL, 8, of::tcp_options),
];

static PLACE: [Row; 20] = [
    group(G::Obspoint, E::OBSERVATION_POINT_ID, 4, of::observation_point),
    group(G::Vrf, E::INGRESS_VRF_ID, 4, of::ingress_vrf),
    group(G::Vrf, E::EGRESS_VRF_ID, 4, of::egress_vrf),
    key(&[E::MPLS_TOP_LABEL_STACK_SECTION], 3, mpls_label::<0>).or(G::Mpls),
    group(G::Mpls, E::MPLS_LABEL_STACK_SECTION2, 3, mpls_label::<1>),
    group(G::Mpls, E::MPLS_LABEL_STACK_SECTION3, 3, mpls_label::<2>),
    group(G::Mpls, E::MPLS_LABEL_STACK_SECTION4, 3, mpls_label::<3>),
    group(G::Mpls, E::MPLS_LABEL_STACK_SECTION5, 3, mpls_label::<4>),
    group(G::Mpls, E::MPLS_LABEL_STACK_SECTION6, 3, mpls_label::<5>),
    group(G::Mpls, E::MPLS_LABEL_STACK_SECTION7, 3, mpls_label::<6>),
    group(G::Mpls, E::MPLS_LABEL_STACK_SECTION8, 3, mpls_label::<7>),
    group(G::Mpls, E::MPLS_LABEL_STACK_SECTION9, 3, mpls_label::<8>),
    group(G::Mpls, E::MPLS_LABEL_STACK_SECTION10, 3, mpls_label::<9>),
    group(G::Spi, E::IP_SEC_SPI, 4, of::ipsec_spi),
    group(G::Igmp, E::IGMP_TYPE, 1, of::igmp_type),
    key(TUNNEL[0], 8, of::layer2_segment_id).or(G::Tunnel),
    key(TUNNEL[1], 4, of::gre_key).or(G::Tunnel),
    key(TUNNEL[2], 4, of::gtpu_teid).or(G::Tunnel),
    group(G::Encapsulation, E::TUNNEL_TYPE, 1, of::tunnel_type),
    group(G::Encapsulation, E::TUNNEL_ID, 4, of::tunnel_id),
];

static PREFIX_LENGTHS_IPV4: [Row; 2] = [
    prefix(E::SOURCE_IPV4_PREFIX_LENGTH, E::SOURCE_IPV4_ADDRESS, value::source_ipv4_prefix_length),
    prefix(
        E::DESTINATION_IPV4_PREFIX_LENGTH,
        E::DESTINATION_IPV4_ADDRESS,
        value::destination_ipv4_prefix_length,
    ),
];

static PREFIX_LENGTHS_IPV6: [Row; 2] = [
    prefix(E::SOURCE_IPV6_PREFIX_LENGTH, E::SOURCE_IPV6_ADDRESS, value::source_ipv6_prefix_length),
    prefix(
        E::DESTINATION_IPV6_PREFIX_LENGTH,
        E::DESTINATION_IPV6_ADDRESS,
        value::destination_ipv6_prefix_length,
    ),
];

static BIFLOW: [Row; 12] = [
    other_way(G::L2, E::REVERSE_LAYER2_OCTET_DELTA_COUNT, 8, of::layer2_octets),
    other_way(G::Fragments, E::REVERSE_FRAGMENT_DELTA_COUNT, 4, of::fragments),
    other_way(G::Size, E::REVERSE_MINIMUM_IP_TOTAL_LENGTH, 8, of::minimum_ip_length),
    other_way(G::Size, E::REVERSE_MAXIMUM_IP_TOTAL_LENGTH, 8, of::maximum_ip_length),
    other_way(G::Tcp, E::REVERSE_TCP_RETRANSMITTED_PACKET_DELTA_COUNT, 4, of::tcp_retransmitted),
    other_way(G::Tcp, E::REVERSE_TCP_OUT_OF_ORDER_PACKET_DELTA_COUNT, 4, of::tcp_out_of_order),
    other_way(G::Tcp, E::REVERSE_TCP_HANDSHAKE_ROUND_TRIP_TIME, 4, of::round_trip_time),
    other_way(G::Tos, E::REVERSE_IP_CLASS_OF_SERVICE_UNION, 1, of::class_of_service_union),
    other_way(G::Dscp, E::REVERSE_IP_DIFF_SERV_CODE_POINT, 1, of::dscp),
    other_way(G::Ttl, E::REVERSE_IP_TTL, 1, of::ttl),
    other_way(G::Mpls, E::REVERSE_MPLS_TOP_LABEL_STACK_SECTION, 3, mpls_label::<0>),
    other_way(G::Spi, E::REVERSE_IP_SEC_SPI, 4, of::ipsec_spi),
];

static BIFLOW_OPTIONS_IPV4: [Row; 2] = [
    other_way(G::Opts, E::REVERSE_IPV4_OPTIONS, 4, of::ipv4_options),
    other_way(G::Opts, E::REVERSE_TCP_OPTIONS_FULL, 8, of::tcp_options),
];

static BIFLOW_OPTIONS_IPV6: [Row; 2] = [
    other_way(G::Opts, E::REVERSE_IPV6_EXTENSION_HEADERS_FULL, 4, of::ipv6_extension_headers),
    other_way(G::Opts, E::REVERSE_TCP_OPTIONS_FULL, 8, of::tcp_options),
];
