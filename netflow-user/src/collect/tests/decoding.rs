//! Whole messages: every field, every counter.

use super::super::line;
use super::*;
use crate::collect::CollectorCounters;

/// What every kind of message must say about the five flows of the vectors.
const FLOWS: [[&str; 11]; 5] = [
    ["192.0.2.10", "198.51.100.20", "6", "51514", "443", "10", "5344", "27", "32", "100", "63"],
    ["192.0.2.11", "198.51.100.53", "17", "40000", "53", "1", "70", "0", "0", "0", "64"],
    ["192.0.2.12", "198.51.100.1", "1", "0", "2048", "5", "420", "0", "0", "0", "64"],
    ["2001:db8::10", "2001:db8:1::20", "6", "51515", "8443", "7", "9000000000", "18", "184", "0", "60"],
    ["2001:db8::11", "2001:db8:1::1", "58", "0", "32768", "3", "312", "0", "0", "0", "255"],
];

fn assert_flows(flows: &[DecodedFlow], version: u16) {
    assert_eq!(flows.len(), FLOWS.len());
    for (number, (flow, expected)) in flows.iter().zip(FLOWS).enumerate() {
        assert_eq!(
            (flow.exporter, flow.protocol_version, flow.observation_domain_id),
            (exporter(), version, 7)
        );
        let family = if number < 3 { "IPv4" } else { "IPv6" };
        let (source, destination) = (format!("source{family}Address"), format!("destination{family}Address"));
        let names = [
            source.as_str(),
            destination.as_str(),
            "protocolIdentifier",
            "sourceTransportPort",
            "destinationTransportPort",
            "packetDeltaCount",
            "octetDeltaCount",
            "tcpControlBits",
            "ipClassOfService",
            "vlanId",
            "minimumTTL",
        ];
        assert_eq!(names.map(|name| text(flow, name)), expected.map(str::to_owned), "flow {}", number + 1);
        assert_eq!(text(flow, "flowStartMilliseconds"), "2025-12-31T23:59:50.000Z");
        assert_eq!(text(flow, "flowEndMilliseconds"), "2025-12-31T23:59:58.000Z");
        assert_eq!((text(flow, "ingressInterface"), text(flow, "egressInterface")), ("2".into(), "3".into()));
        if version == 10 {
            assert_eq!(text(flow, "flowEndReason"), ["3", "1", "2", "4", "5"][number]);
        }
    }
    assert_eq!(text(&flows[3], "flowLabelIPv6"), "703710", "0xabcde");
}

#[test]
fn records_of_netflow_v5_decode_with_their_sequence() {
    // VEC-3, V5-HDR-3
    let (mut collector, flows) = heard(&[3]);
    for ((flow, expected), host) in flows.iter().zip(FLOWS).zip(["203.0.113.1", "203.0.113.1", "0.0.0.0"]) {
        assert_eq!((flow.protocol_version, flow.observation_domain_id), (5, 0x0102));
        let names = [
            "sourceIPv4Address",
            "destinationIPv4Address",
            "protocolIdentifier",
            "sourceTransportPort",
            "destinationTransportPort",
            "packetDeltaCount",
            "octetDeltaCount",
            "tcpControlBits",
            "ipClassOfService",
        ];
        assert_eq!(names.map(|name| text(flow, name)), expected[..9]);
        assert_eq!(text(flow, "flowStartMilliseconds"), "2025-12-31T23:59:50.123Z");
        assert_eq!(text(flow, "ipNextHopIPv4Address"), host);
        assert_eq!((text(flow, "ingressInterface"), text(flow, "egressInterface")), ("2".into(), "3".into()));
        assert_eq!(
            (text(flow, "sourceIPv4PrefixLength"), text(flow, "bgpSourceAsNumber")),
            ("24".into(), "0".into())
        );
    }
    assert_eq!(flows.len(), 3);
    // The same again: three records before it are those of the first.
    let mut second = vector(3);
    second[16..20].copy_from_slice(&5u32.to_be_bytes());
    assert_eq!(collector.decode(exporter(), &second).len(), 3);
    let counters = collector.counters();
    assert_eq!((counters.sequence_gaps, counters.missing_records, counters.malformed), (1, 2, 0));
    // Cut, and with more than it says.
    assert_eq!(collector.decode(exporter(), &second[..100]).len(), 0);
    second.push(0);
    second[16..20].copy_from_slice(&8u32.to_be_bytes());
    assert_eq!(collector.decode(exporter(), &second).len(), 3);
    assert_eq!(collector.counters().malformed, 2);
}

#[test]
fn the_example_of_rfc_3954_decodes() {
    // VEC-1: templates, three flows, options template and options in one packet.
    let (collector, flows) = heard(&[1]);
    let expected = [
        ("198.168.1.12", "10.5.12.254", 5009, 5_344_385),
        ("192.168.1.27", "10.5.12.23", 748, 388_934),
        ("192.168.1.56", "10.5.12.65", 5, 6534),
    ];
    assert_eq!(flows.len(), 3);
    for (flow, (source, destination, packets, octets)) in flows.iter().zip(expected) {
        assert_eq!(
            (text(flow, "sourceIPv4Address"), text(flow, "destinationIPv4Address")),
            (source.into(), destination.into())
        );
        assert_eq!((flow.packets(), flow.octets()), (Some(packets), Some(octets)));
    }
    let counters = collector.counters();
    assert_eq!((counters.records, counters.options_records, counters.malformed), (3, 2, 0));
}

#[test]
fn the_example_of_rfc_7011_decodes() {
    let (collector, flows) = heard(&[2]);
    assert_eq!(flows.len(), 3);
    assert_eq!(line::endpoints(&flows[2]), "192.0.2.56 -> 192.0.2.65");
    assert_eq!(text(&flows[2], "ipNextHopIPv4Address"), "192.0.2.3");
    let counters = collector.counters();
    assert_eq!((counters.records, counters.options_records, counters.malformed), (3, 2, 0));
    assert_eq!(counters.packets, 5009 + 748 + 5);
}

#[test]
fn netflow_v9_flows_decode_with_times_of_day() {
    // VEC-4, VEC-5.
    let (collector, flows) = heard(&[4, 5]);
    assert_flows(&flows, 9);
    assert_eq!(text(&flows[0], "flowStartSysUpTime"), "no flowStartSysUpTime");
    let expected = CollectorCounters {
        datagrams: 2,
        records: 5,
        options_records: 3,
        packets: 26,
        octets: 9_000_006_146,
        ..CollectorCounters::default()
    };
    assert_eq!(collector.counters(), expected);
}

#[test]
fn ipfix_flows_decode_and_options_count_in_the_sequence() {
    // VEC-6, VEC-7, VEC-8: 16 options records, so VEC-8 has sequence number 16.
    let (collector, flows) = heard(&[6, 7, 8]);
    assert_flows(&flows, 10);
    let expected = CollectorCounters {
        datagrams: 3,
        records: 5,
        options_records: 16,
        packets: 26,
        octets: 9_000_006_146,
        ..CollectorCounters::default()
    };
    assert_eq!(collector.counters(), expected);
}

#[test]
fn ipfix_uptimes_become_times_of_day_once_the_exporter_tells_when_it_started() {
    // systemInitTimeMilliseconds is in VEC-7's options (template 523): an hour before the Export Time.
    let (mut collector, _) = heard(&[6]);
    let template = [0, 2, 0, 12, 1, 44, 0, 1, 0, 22, 0, 4];
    let data = [1, 44, 0, 8, 0, 0x36, 0xc7, 0x70];
    let message =
        [&[0, 10, 0, 36, 0x69, 0x55, 0xb9, 0][..], &[0, 0, 0, 0, 0, 0, 0, 7], &template, &data].concat();
    let start = |collector: &mut Collector| collector.decode(exporter(), &message)[0].start();
    assert_eq!(start(&mut collector), None);
    collector.decode(exporter(), &vector(7));
    assert_eq!(start(&mut collector).unwrap().to_string(), "2025-12-31T23:59:50.000Z");
}

#[test]
fn reverse_elements_keep_apart_from_forward_ones() {
    // VEC-9.
    let (collector, flows) = heard(&[6, 7, 8, 9]);
    assert_flows(&flows, 10);
    for flow in &flows {
        assert_eq!(
            (text(flow, "reversePacketDeltaCount"), text(flow, "reverseOctetDeltaCount")),
            ("8".into(), "4242".into())
        );
        assert_eq!(text(flow, "reverseFlowStartMilliseconds"), "2025-12-31T23:59:50.005Z");
        assert_eq!(text(flow, "biflowDirection"), "1");
    }
    let counters = collector.counters();
    assert_eq!((counters.malformed, counters.sequence_gaps, counters.records), (0, 0, 10));
}

#[test]
fn empty_values_of_variable_length_are_values() {
    // VEC-12: both forms of an empty string, and one of 255 octets.
    let (collector, flows) = heard(&[12]);
    let names = |flow: &DecodedFlow| (text(flow, "interfaceName"), text(flow, "interfaceDescription"));
    assert_eq!(flows.len(), 2);
    assert_eq!(names(&flows[0]), ("eth0".into(), "x".repeat(255)));
    assert_eq!(names(&flows[1]), (String::new(), String::new()));
    assert_eq!((flows[0].protocol(), flows[1].protocol()), (Some(6), Some(17)));
    assert_eq!(collector.counters().malformed, 0);
}

#[test]
fn data_before_its_template_is_reported_and_decodes_once_the_template_is_there() {
    for (templates, data) in [(4, 5), (6, 8)] {
        let (mut collector, flows) = heard(&[data]);
        assert!(flows.is_empty());
        let before = collector.counters();
        assert_eq!((before.unknown_template, before.malformed, before.records), (2, 0, 0));
        collector.decode(exporter(), &vector(templates));
        assert_eq!(collector.decode(exporter(), &vector(data)).len(), 5);
        assert_eq!(collector.counters().unknown_template, 2);
    }
}

#[test]
fn templates_belong_to_their_session_and_domain() {
    let (mut collector, _) = heard(&[6]);
    let elsewhere = "192.0.2.99:40001".parse().unwrap();
    assert!(collector.decode(elsewhere, &vector(8)).is_empty());
    let mut other_domain = vector(8);
    other_domain[15] = 8;
    assert!(collector.decode(exporter(), &other_domain).is_empty());
    assert_eq!(collector.counters().unknown_template, 4);
    assert_eq!(collector.sessions(), 3);
}

/// The message with another sequence number.
fn numbered(number: u32, sequence: u32) -> Vec<u8> {
    let mut message = vector(number);
    let at = if message[1] == 9 { 12 } else { 8 };
    message[at..at + 4].copy_from_slice(&sequence.to_be_bytes());
    message
}

#[test]
fn missing_messages_show_by_each_protocols_own_rule() {
    // NetFlow v9 counts packets, IPFIX Data Records: either way two messages of five flows are missing.
    for (templates, data, sequences, missing) in [(4, 5, [1, 4, 5], (2, 0)), (6, 8, [0, 15, 20], (0, 10))] {
        let (mut collector, _) = heard(&[templates]);
        for sequence in sequences {
            collector.decode(exporter(), &numbered(data, sequence));
        }
        let counters = collector.counters();
        assert_eq!((counters.missing_datagrams, counters.missing_records), missing);
        assert_eq!((counters.sequence_gaps, counters.records), (1, 15));
    }
}

#[test]
fn a_late_message_is_found_again_and_a_restart_is_one_gap() {
    let (mut collector, _) = heard(&[6]);
    for sequence in [0, 10, 5, 15] {
        collector.decode(exporter(), &numbered(8, sequence));
    }
    let counters = collector.counters();
    assert_eq!((counters.sequence_gaps, counters.missing_records), (1, 0), "{counters:?}");
    collector.decode(exporter(), &numbered(8, 0));
    collector.decode(exporter(), &numbered(8, 5));
    let counters = collector.counters();
    assert_eq!((counters.sequence_gaps, counters.missing_records), (2, 0), "{counters:?}");
}

#[test]
fn elements_of_an_exporters_own_have_the_names_it_tells() {
    // RFC 5610: a template with element 7 of enterprise 32473, its options template, type record, then a flow.
    let from = exporter();
    let message = |sequence: u8, sets: &[&[u8]]| {
        let sets = sets.concat();
        let length = u8::try_from(16 + sets.len()).unwrap();
        let header = [0, 10, 0, length, 0, 0, 0, 1, 0, 0, 0, sequence, 0, 0, 0, 7];
        [&header, &sets[..]].concat()
    };
    let template = [0, 2, 0, 16, 1, 0, 0, 1, 0x80, 7, 0, 4, 0, 0, 0x7e, 0xd9];
    let types =
        [0, 3, 0, 28, 2, 12, 0, 4, 0, 2, 1, 47, 0, 2, 1, 90, 0, 4, 1, 83, 0, 1, 1, 85, 255, 255, 0, 0];
    let record = [2, 12, 0, 20, 0, 7, 0, 0, 0x7e, 0xd9, 3, 8, b't', b'u', b'n', b'n', b'e', b'l', b'I', b'd'];
    let flow = [1, 0, 0, 8, 0, 0, 1, 2];
    let mut collector = Collector::new();
    let flows = collector.decode(from, &message(0, &[&template, &flow]));
    assert_eq!(serde_json::to_value(&flows[0]).unwrap()["enterprise32473element7"], "0x00000102");
    // The template comes again after the type record.
    for (sequence, sets) in [(1, vec![&types[..], &record, &flow]), (3, vec![&template[..], &flow])] {
        let flows = collector.decode(from, &message(sequence, &sets));
        assert_eq!(serde_json::to_value(&flows[0]).unwrap()["tunnelId"], 258);
    }
    let counters = collector.counters();
    assert_eq!((counters.options_records, counters.malformed, counters.sequence_gaps), (1, 0, 0));
}
