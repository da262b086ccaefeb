//! Records that the operator chose: groups, a key, biflows.

use std::num::NonZeroU32;

use netflow_common::{Address, FirstPacket, FlowCounters, Tunnel, WideCounters, WideKey};
use netflow_user::{
    message::{
        Group, InformationElement as E, KeyElement, Protocol, TemplateChoice, TemplateOptions, TemplateSet,
    },
    record::{BiflowDirection, Extras, FlowRecord, Route},
};

use crate::{NOW, changed, check_file, flows, packer, send, vector, vectors};

/// The example enterprise of RFC 5612.
const EXAMPLE: u32 = 32473;

fn options(protocol: Protocol, groups: &[Group]) -> TemplateOptions {
    TemplateOptions {
        groups: groups.iter().copied().collect(),
        enterprise_number: NonZeroU32::new(EXAMPLE),
        ..TemplateOptions::new(protocol)
    }
}

/// A record whose every value differs from the others of its size.
fn wide(record: FlowRecord, tunnel: Tunnel) -> FlowRecord {
    let key = WideKey {
        flow: record.key,
        tunnel_id: 0x00_1234,
        customer_vlan_id: 0,
        tunnel: tunnel as u8,
        ..WideKey::default()
    };
    let first_packet = FirstPacket {
        ipsec_spi: 0x0a0b_0c0d,
        fragment_identification: 0x0001_0203,
        source_mac: [2, 0, 0, 0, 0, 1],
        destination_mac: [2, 0, 0, 0, 0, 2],
        ethernet_type: 0x0800,
        outer_tag: 5 << 13 | 100,
        customer_tag: 3 << 13 | 1 << 12 | 200,
        fragment_offset: 185,
        class_of_service: 0x20,
        ttl: 63,
        igmp_type: 0x16,
        fragment_flags: 0x20,
        mpls_depth: 2,
        mpls_labels: std::array::from_fn(|place| {
            [[0x00, 0x10, 0x04], [0x00, 0x20, 0x01], [0; 3]][place.min(2)]
        }),
        ..FirstPacket::default()
    };
    let counters = WideCounters {
        flow: record.counters,
        layer2_octets: 5484,
        tcp_options: 0b1_0001_1110,
        ipv4_options: 1 << 20,
        ipv6_extension_headers: 0b11_0011,
        minimum_ip_length: 40,
        maximum_ip_length: 1500,
        fragments: 4,
        tcp_retransmitted: 1,
        tcp_out_of_order: 2,
        round_trip_microseconds: 12_345,
        first_packet,
        all_classes_of_service: 0x22,
        ..WideCounters::default()
    };
    let route = Route {
        egress_interface: 3,
        next_hop: if record.key.is_ipv4() {
            Address::from_ipv4([203, 0, 113, 1])
        } else {
            Address::from_ipv6((0x2001_0db8_ffff << 80 | 1_u128).to_be_bytes())
        },
        source_prefix_length: 24,
        destination_prefix_length: 16,
        ingress_vrf: 10,
        egress_vrf: 11,
    };
    FlowRecord { extras: Some(Box::new(Extras { key, counters })), route, ..record }
}

#[test]
fn ipfix_has_a_field_for_every_value_of_every_group() {
    let templates = TemplateSet::new(&options(Protocol::Ipfix, &Group::ALL)).unwrap();
    let [first, _, _, fourth, _] = flows();
    let records = [
        wide(first.clone(), Tunnel::Vxlan),
        wide(first.clone(), Tunnel::Gre),
        wide(first, Tunnel::GtpU),
        wide(fourth, Tunnel::GreEthernet),
    ];
    let mut packer = packer(&templates);
    check_file(
        "ipfix/groups_templates.hex",
        "All groups; own elements under the example enterprise number.",
        &templates,
        &send(&mut packer, &[]),
    );
    // With the first data everything is announced once more, which takes several messages.
    while packer.next_message(&records[..1], NOW).unwrap().records == 0 {
        packer.commit();
    }
    packer.commit();
    check_file(
        "ipfix/groups_data.hex",
        "All groups. The records differ in their tunnels: VXLAN, GRE, GTP-U, NVGRE.",
        &templates,
        &send(&mut packer, &records),
    );
}

#[test]
fn netflow_v9_has_the_groups_it_has_field_types_for() {
    let groups = [Group::Size, Group::Mpls, Group::Igmp, Group::Route];
    let templates = TemplateSet::new(&options(Protocol::NetflowV9, &groups)).unwrap();
    let [first, _, _, fourth, _] = flows();
    let records = [wide(first, Tunnel::Vxlan), wide(fourth, Tunnel::Geneve)];
    check_file(
        "netflow_v9/groups.hex",
        "The groups size, mpls, igmp and route.",
        &templates,
        &send(&mut packer(&templates), &records),
    );
}

#[test]
fn a_key_of_choice_leaves_out_what_is_not_in_it_and_tells_prefix_lengths() {
    let prefix = |element, prefix_length| KeyElement { element, prefix_length: Some(prefix_length) };
    let key = vec![
        prefix(E::SOURCE_IPV4_ADDRESS, 24),
        prefix(E::SOURCE_IPV6_ADDRESS, 48),
        KeyElement::whole(E::DESTINATION_TRANSPORT_PORT),
        KeyElement::whole(E::PROTOCOL_IDENTIFIER),
        KeyElement::whole(E::SOURCE_MAC_ADDRESS),
    ];
    for (protocol, name) in [(Protocol::Ipfix, "ipfix/key.hex"), (Protocol::NetflowV9, "netflow_v9/key.hex")]
    {
        let templates =
            TemplateSet::new(&TemplateOptions { key: key.clone(), ..options(protocol, &[]) }).unwrap();
        let records = flows().map(|mut record| {
            record.key.source_address = match record.key.is_ipv4() {
                true => Address::from_ipv4([192, 0, 2, 0]),
                false => Address::from_ipv6((0x2001_0db8_u128 << 96).to_be_bytes()),
            };
            let key = WideKey { flow: record.key, source_mac: [2, 0, 0, 0, 0, 9], ..WideKey::default() };
            let counters = WideCounters { flow: record.counters, ..WideCounters::default() };
            FlowRecord { extras: Some(Box::new(Extras { key, counters })), ..record }
        });
        check_file(
            name,
            "The key is sourceIPv4Address/24, sourceIPv6Address/48, destinationTransportPort, protocolIdentifier,\n\
             sourceMacAddress.",
            &templates,
            &send(&mut packer(&templates), &records),
        );
    }
}

#[test]
fn ipfix_biflows_are_those_of_the_vector() {
    // BIFLOW-1, BIFLOW-7, BIFLOW-10
    let biflow = TemplateOptions { biflow: true, ..TemplateOptions::new(Protocol::Ipfix) };
    let templates = TemplateSet::new(&biflow).unwrap();
    let records = flows().map(|record| {
        let counters = FlowCounters { packets: 8, octets: 4242, ..record.counters };
        let mut reverse = FlowRecord { counters, ..record.clone() };
        reverse.start.0 += 5;
        FlowRecord {
            biflow_direction: BiflowDirection::Initiator,
            reverse: Some(Box::new(reverse)),
            ..record
        }
    });
    let mut packer = packer(&templates);
    // The vector's session has sent 21 Data Records.
    for _ in 0..2 {
        send(&mut packer, &vec![flows()[1].clone(); 8]);
    }
    let uniflows = send(&mut packer, &flows());
    assert_eq!(uniflows[16..18], [1, 0], "a record without reverse packets goes by template 256");
    let octets = send(&mut packer, &records);
    // The vector has the templates in the same message: header, Template Set of 320 octets.
    let mut vector = vector(vectors::IPFIX_BIFLOWS);
    vector.drain(16..16 + 320);
    let length = u16::try_from(vector.len()).unwrap().to_be_bytes();
    assert_eq!(octets, changed(vector, &[(2, &length)]));
    check_file("ipfix/biflows.hex", "VEC-9 without its templates. Differs in: Length.", &templates, &octets);
    let mut announced = packer;
    announced.announce_templates();
    let message = announced.next_message(&[], NOW).unwrap().octets.to_vec();
    let of_vector = &self::vector(vectors::IPFIX_BIFLOWS)[20..16 + 320];
    assert_eq!(message[message.len() - of_vector.len()..], *of_vector, "templates 258 and 259");
}

/// The fields of the examples of both standards.
const EXAMPLE_FIELDS: &str =
    "sourceIPv4Address,destinationIPv4Address,ipNextHopIPv4Address,packetDeltaCount/4,octetDeltaCount/4";

#[test]
fn the_examples_of_both_standards_are_templates_of_choice() {
    // VEC-1, VEC-2, V9-FLD-1
    let choice = TemplateChoice::parse(EXAMPLE_FIELDS, None).unwrap();
    for (protocol, name, example, header, data, addresses) in [
        (
            Protocol::NetflowV9,
            "netflow_v9",
            vectors::NETFLOW_V9_EXAMPLE,
            20,
            48..112,
            [[198, 168, 1, 12], [10, 5, 12, 254], [192, 168, 1, 1]],
        ),
        (
            Protocol::Ipfix,
            "ipfix",
            vectors::IPFIX_EXAMPLE,
            16,
            44..108,
            [[192, 0, 2, 12], [192, 0, 2, 254], [192, 0, 2, 1]],
        ),
    ] {
        let options = TemplateOptions { choice: Some(choice.clone()), ..TemplateOptions::new(protocol) };
        let templates = TemplateSet::new(&options).unwrap();
        let example = vector(example);
        let octets_at = |at: usize| -> [u8; 4] { example[at..at + 4].try_into().unwrap() };
        let records: Vec<FlowRecord> = (0..3)
            .map(|place| {
                let at = data.start + 4 + 20 * place;
                let mut record = flows()[0].clone();
                record.key.source_address = Address::from_ipv4(octets_at(at));
                record.key.destination_address = Address::from_ipv4(octets_at(at + 4));
                record.route.next_hop = Address::from_ipv4(octets_at(at + 8));
                record.counters.packets = u32::from_be_bytes(octets_at(at + 12)).into();
                record.counters.octets = u32::from_be_bytes(octets_at(at + 16)).into();
                record
            })
            .collect();
        assert_eq!(records[0].key.source_address, Address::from_ipv4(addresses[0]));
        assert_eq!(records[0].key.destination_address, Address::from_ipv4(addresses[1]));
        assert_eq!(records[0].route.next_hop, Address::from_ipv4(addresses[2]));
        let octets = send(&mut packer(&templates), &records);
        // Set ID, Length and Template ID apart: ours has two templates, and the ids of a combination.
        assert_eq!(octets[header + 6..header + 28], example[header + 6..header + 28], "the Template Record");
        let behind = octets.len() - (data.end - data.start);
        assert_eq!(octets[behind + 2..], example[data.start + 2..data.end], "Length and Data Records");
        check_file(
            &format!("{name}/example.hex"),
            "The records of the standard's example. Differs in: Template ID, and a template for IPv6.",
            &templates,
            &octets,
        );
    }
}
