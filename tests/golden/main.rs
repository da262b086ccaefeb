//! Whole messages, octet for octet, each field with a comment in `<protocol>/<case>.hex`.
//!
//! `UPDATE_GOLDEN=1 cargo test -p tests --test golden` rewrites the files; the change is reviewed as a diff.
#![allow(clippy::unwrap_used, reason = "tests")]

mod chosen;
mod netflow_v5;
mod options;
mod render;
mod vectors;

use std::{env, fs, num::NonZeroU32, path::Path, time::Duration};

use netflow_common::{Address, FlowCounters, FlowKey, IpVersion, NetworkU16, Ports};
use netflow_user::{
    message::{Packer, PackerConfig, Protocol, TemplateOptions, TemplateSet},
    record::{FlowEndReason, FlowRecord, Route},
    time::{Instant, MonotonicNanos},
};

/// 2026-01-01 00:00:00 UTC, sysUpTime 3600000 ms.
const NOW: Instant =
    Instant { monotonic: MonotonicNanos(5_000_000_000_000), unix_nanos: 1_767_225_600_000_000_000 };

fn packer(templates: &TemplateSet) -> Packer {
    let config = PackerConfig {
        observation_domain_id: 7,
        template_refresh: Duration::from_secs(60),
        template_refresh_messages: NonZeroU32::new(20).unwrap(),
        options_refresh: Duration::from_secs(60),
        statistics_interval: Duration::from_secs(60),
        exporter_address: [192, 0, 2, 1],
        sys_up_time_origin: MonotonicNanos(NOW.monotonic.0 - 3_600_000_000_000),
        message_size: 1472,
    };
    Packer::new(config, templates.clone()).unwrap()
}

fn template_set(protocol: Protocol) -> TemplateSet {
    TemplateSet::new(&TemplateOptions::new(protocol)).unwrap()
}

/// The five flows of the vectors.
fn flows() -> [FlowRecord; 5] {
    let v4 = |host, destination, protocol, ports: [u16; 2]| FlowKey {
        source_address: Address::from_ipv4([192, 0, 2, host]),
        destination_address: Address::from_ipv4([198, 51, 100, destination]),
        ip_version: IpVersion::V4,
        interface: 2,
        source_port: NetworkU16::new(ports[0]),
        destination_port: NetworkU16::new(ports[1]),
        protocol,
        ports: Ports::PRESENT,
        ..FlowKey::default()
    };
    let v6 = |host: u128, destination: u128, protocol, ports| FlowKey {
        source_address: Address::from_ipv6((0x2001_0db8 << 96 | host).to_be_bytes()),
        destination_address: Address::from_ipv6((0x2001_0db8_0001 << 80 | destination).to_be_bytes()),
        ip_version: IpVersion::V6,
        ..v4(0, 0, protocol, ports)
    };
    let measured = |packets, octets, tcp_control_bits, [minimum_ttl, maximum_ttl]: [u8; 2]| FlowCounters {
        packets,
        octets,
        first: NOW.monotonic.0 - 10_000_000_000,
        last: NOW.monotonic.0 - 2_000_000_000,
        flow_label: 0,
        tcp_control_bits,
        minimum_ttl,
        maximum_ttl,
    };
    let key1 = FlowKey { class_of_service: 0x20, vlan_id: 100, ..v4(10, 20, 6, [51514, 443]) };
    let key4 = FlowKey { class_of_service: 0xb8, ..v6(0x10, 0x20, 6, [51515, 8443]) };
    let measured4 = FlowCounters { flow_label: 0xabcde, ..measured(7, 9_000_000_000, 0x12, [60, 62]) };
    let hop = Address::from_ipv4([203, 0, 113, 1]);
    let hop_of_v6 = Address::from_ipv6((0x2001_0db8_ffff << 80 | 1_u128).to_be_bytes());
    let none = Address::default();
    [
        (key1, measured(10, 5344, 0x1b, [63, 64]), FlowEndReason::EndOfFlowDetected, hop),
        (v4(11, 53, 17, [40000, 53]), measured(1, 70, 0, [64, 64]), FlowEndReason::IdleTimeout, hop),
        (v4(12, 1, 1, [0, 2048]), measured(5, 420, 0, [64, 64]), FlowEndReason::ActiveTimeout, none),
        (key4, measured4, FlowEndReason::ForcedEnd, hop_of_v6),
        (v6(0x11, 1, 58, [0, 32768]), measured(3, 312, 0, [255, 255]), FlowEndReason::LackOfResources, none),
    ]
    .map(|(key, counters, reason, next_hop)| {
        let route =
            Route { egress_interface: 3, next_hop, destination_prefix_length: 24, ..Route::default() };
        FlowRecord { route, ..FlowRecord::new(key, counters, reason, &NOW) }
    })
}

fn send(packer: &mut Packer, records: &[FlowRecord]) -> Vec<u8> {
    let message = packer.next_message(records, NOW).unwrap();
    assert_eq!(message.records, records.len());
    let octets = message.octets.to_vec();
    packer.commit();
    octets
}

/// The first message of a session in which nothing waits.
fn templates(protocol: Protocol) -> Vec<u8> {
    send(&mut packer(&template_set(protocol)), &[])
}

/// The five flows in a session that sent `before` flows in its first message.
fn data(protocol: Protocol, before: usize) -> Vec<u8> {
    let mut packer = packer(&template_set(protocol));
    send(&mut packer, &vec![flows()[0].clone(); before]);
    send(&mut packer, &flows())
}

/// Octets of a vector.
fn vector(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|octet| !octet.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// The vector with other octets in some places; there must be others before.
fn changed(mut octets: Vec<u8>, changes: &[(usize, &[u8])]) -> Vec<u8> {
    for &(offset, to) in changes {
        let place = &mut octets[offset..offset + to.len()];
        assert_ne!(place, to, "offset {offset} does not differ from the vector");
        place.copy_from_slice(to);
    }
    octets
}

fn check_file(name: &str, remark: &str, templates: &TemplateSet, octets: &[u8]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
    let text = render::render(templates, remark, octets);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &text).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(render::octets(&golden), octets, "{}: other octets", path.display());
    assert_eq!(golden, text, "{}: other comments", path.display());
}

#[test]
fn netflow_v9_templates_are_those_of_the_vector() {
    let octets = templates(Protocol::NetflowV9);
    // Count: 2 templates only.
    assert_eq!(octets, changed(vector(vectors::NETFLOW_V9_TEMPLATES), &[(2, &[0, 2])]));
    check_file(
        "netflow_v9/templates.hex",
        "VEC-4 without its options templates and options data. Differs in: Count (2, there 8).",
        &template_set(Protocol::NetflowV9),
        &octets,
    );
}

#[test]
fn netflow_v9_data_are_those_of_the_vector() {
    let octets = data(Protocol::NetflowV9, 1);
    assert_eq!(octets, vector(vectors::NETFLOW_V9_DATA));
    check_file("netflow_v9/data.hex", "VEC-5.", &template_set(Protocol::NetflowV9), &octets);
}

#[test]
fn ipfix_templates_are_those_of_the_vector() {
    let octets = templates(Protocol::Ipfix);
    // Length: 16 + 184.
    assert_eq!(octets, changed(vector(vectors::IPFIX_TEMPLATES), &[(2, &[0, 200])]));
    check_file(
        "ipfix/templates.hex",
        "VEC-6 without its options templates. Differs in: Length (200, there 608).",
        &template_set(Protocol::Ipfix),
        &octets,
    );
}

#[test]
fn ipfix_data_are_those_of_the_vector() {
    let octets = data(Protocol::Ipfix, 16);
    assert_eq!(octets, vector(vectors::IPFIX_DATA));
    check_file("ipfix/data.hex", "VEC-8.", &template_set(Protocol::Ipfix), &octets);
}
