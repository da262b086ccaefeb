//! Fields that the operator chose, read by tshark as the frames have them, and records with them by nfdump.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;
use tests::agent::{AgentProcess, Signal};
use tests::captures;
use tests::frames::{self, ETHERTYPE_IPV4, ETHERTYPE_VLAN};
use tests::judges::{IPFIX, NETFLOW_V9, Nfcapd, Tshark, TsharkCapture};
use tests::lab::{GENERATOR_INTERFACE, Lab, LabOptions, MONITOR_INTERFACE, Namespace};
use tests::raw::RawSender;

const SOURCE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const DESTINATION_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10));
const DESTINATION: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 20));
const ETHERTYPE_MPLS: u16 = 0x8847;
/// The example enterprise of RFC 5612.
const EXAMPLE: &str = "32473";

/// A capture with these frames, a second apart.
fn capture(directory: &Path, frames: &[Vec<u8>]) -> Result<PathBuf> {
    let path = directory.join("frames.pcap");
    captures::write(&path, frames, Duration::from_secs(1))?;
    Ok(path)
}

fn ethernet(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    frames::ethernet(DESTINATION_MAC, SOURCE_MAC, ether_type, payload)
}

/// An IPv4 packet with other octets in some places of its header; nobody here looks at the checksum.
fn ipv4(protocol: u8, payload: &[u8], header: &[(usize, u8)]) -> Vec<u8> {
    let mut packet = frames::ip(SOURCE, DESTINATION, protocol, payload);
    header.iter().for_each(|&(place, octet)| packet[place] = octet);
    packet
}

/// What `netflow run` exports of a frame that arrives: the values that tshark finds in each of these fields.
fn exported_live(frame: &[u8], arguments: &[&str], fields: &[&str]) -> Result<Vec<Vec<String>>> {
    let lab = Lab::new(LabOptions::default())?;
    let tshark = Tshark::start(&lab.monitor, "lo", &format!("udp dst port {}", IPFIX.1))?;
    let url = format!("udp://127.0.0.1:{}", IPFIX.1);
    let arguments = [&["-i", MONITOR_INTERFACE, "-c", &url], arguments].concat();
    let agent = AgentProcess::start(&lab.monitor, &arguments)?;
    RawSender::open(&lab.generator, GENERATOR_INTERFACE)?.send(frame)?;
    lab.wait_for_packets(1)?;
    let stopped = agent.stop(Signal::TERM)?;
    anyhow::ensure!(stopped.exit_code == Some(0), "{}", stopped.stderr);
    let capture = tshark.stop()?.decode_as_cflow(IPFIX.1);
    let complaints = capture.expert_messages()?;
    anyhow::ensure!(complaints.is_empty(), "{complaints:?}\n{}", capture.text()?);
    in_order(&capture, fields)
}

fn in_order(capture: &TsharkCapture, fields: &[&str]) -> Result<Vec<Vec<String>>> {
    let mut values = vec![Vec::new(); fields.len()];
    for packet in capture.fields(fields)? {
        for (all, found) in values.iter_mut().zip(packet) {
            all.extend(found);
        }
    }
    anyhow::ensure!(!values.iter().all(Vec::is_empty), "{}", capture.text()?);
    Ok(values)
}

/// What `netflow read` of the frames exports: the values that tshark finds in each of these fields, in the order of
/// messages.
fn exported(
    frames: &[Vec<u8>],
    arguments: &[&str],
    version: u16,
    fields: &[&str],
) -> Result<Vec<Vec<String>>> {
    let namespace = Namespace::new()?;
    let directory = TempDir::new()?;
    let (port, protocol) = if version == 9 { (NETFLOW_V9.1, "v9") } else { (IPFIX.1, "ipfix") };
    let collector = Nfcapd::start(&namespace, (Ipv4Addr::LOCALHOST, port).into())?;
    let tshark = Tshark::start(&namespace, "lo", &format!("udp port {port}"))?;
    let url = format!("udp://127.0.0.1:{port}?protocol={protocol}");
    let arguments = [arguments, &["-c", &url]].concat();
    let stopped = AgentProcess::read(&namespace, &capture(directory.path(), frames)?, &arguments)?;
    anyhow::ensure!(stopped.exit_code == Some(0), "{}", stopped.stderr);
    let capture = tshark.stop()?.decode_as_cflow(port);
    let complaints = capture.expert_messages()?;
    anyhow::ensure!(complaints.is_empty(), "{complaints:?}\n{}", capture.text()?);
    // nfdump knows few of the fields, and must find the records all the same.
    let read = collector.stop()?;
    anyhow::ensure!(
        read.summary.packets == frames.len() as u64,
        "nfdump read {} packets",
        read.summary.packets
    );
    in_order(&capture, fields)
}

/// From a file and live.
fn one(frame: Vec<u8>, groups: &str, expected: &[(&str, &str)]) {
    let fields: Vec<&str> = expected.iter().map(|(field, _)| *field).collect();
    let arguments = ["--group", groups, "--enterprise-number", EXAMPLE];
    let live = exported_live(&frame, &arguments, &fields).unwrap();
    let read = exported(&[frame], &arguments, 10, &fields).unwrap();
    for (how, values) in [("live", live), ("read", read)] {
        for ((field, expected), values) in expected.iter().zip(values) {
            assert_eq!(values, [*expected], "{field}, {how}");
        }
    }
}

#[test]
#[ignore = "needs root: network namespaces"]
fn tshark_reads_the_layer_2_fields_of_a_frame() {
    let packet = ipv4(17, &[0; 8], &[(1, 0xb8), (4, 0x12), (5, 0x34), (6, 0x40), (8, 63)]);
    let inner = frames::vlan(3 << 13 | 200, ETHERTYPE_IPV4, &packet);
    let frame = ethernet(ETHERTYPE_VLAN, &frames::vlan(5 << 13 | 100, ETHERTYPE_VLAN, &inner));
    let length = frame.len().to_string();
    one(
        frame,
        "l2,frag,size,ttl,dscp,tos,fragments",
        &[
            ("cflow.layer2_octet_delta_count", &length),
            ("cflow.srcmac", "02:00:00:00:00:01"),
            ("cflow.dstmac", "02:00:00:00:00:02"),
            ("cflow.dot1q_vlan_id", "100"),
            ("cflow.dot1q_customer_vlan_id", "200"),
            ("cflow.ip_ttl", "63"),
            ("cflow.ip_dscp", "46"),
            ("cflow.fragment_offset", "0"),
        ],
    );
}

#[test]
#[ignore = "needs root: network namespaces"]
fn tshark_reads_labels_spi_and_igmp_type() {
    let labels = [[0x00, 0x3e, 0x84, 64], [0x00, 0x7d, 0x01, 64]].concat();
    let packet = ipv4(50, &[0xde, 0xad, 0xbe, 0xef, 0, 0, 0, 1], &[]);
    one(
        ethernet(ETHERTYPE_MPLS, &[labels, packet].concat()),
        "mpls,spi",
        &[("cflow.ipsec_spi", &0xdead_beef_u32.to_string())],
    );
    one(
        ethernet(ETHERTYPE_IPV4, &ipv4(2, &[0x16, 0, 0, 0, 224, 0, 0, 9], &[])),
        "igmp",
        &[("cflow.igmp_type", "22")],
    );
}

#[test]
#[ignore = "needs root: network namespaces"]
fn netflow_v9_takes_a_key_of_choice_and_ipfix_tells_it() {
    let udp = |host: u8, port: u16| {
        let source = (Ipv4Addr::new(192, 0, 2, host), port).into();
        frames::frame(&frames::udp(source, (Ipv4Addr::new(198, 51, 100, 20), 53).into(), b"query"))
    };
    let frames = [udp(10, 1000), udp(77, 2000)];
    let arguments = ["--key", "sourceIPv4Address/24,destinationTransportPort"];
    for version in [9, 10] {
        let fields = ["cflow.srcaddr", "cflow.srcmask", "cflow.dstport", "cflow.packets", "cflow.srcport"];
        let values = exported(&frames, &arguments, version, &fields).unwrap();
        let expected: [&[&str]; 5] = [&["192.0.2.0"], &["24"], &["53"], &["2"], &[]];
        assert_eq!(values, expected, "version {version}");
    }
    let keys = exported(&frames, &arguments, 10, &["cflow.post_key"]).unwrap();
    let first = keys[0].first().context("no flow keys").unwrap();
    // Source address and destination port: fields 0 and 7 of the template.
    assert_eq!(u64::from_str_radix(first.trim_start_matches("0x"), 16).unwrap(), 0x81, "{keys:?}");
}

#[test]
#[ignore = "needs root: network namespaces"]
fn tshark_and_nfdump_read_a_template_of_the_operators_own() {
    // TYPE-RSE-1
    let packet = ipv4(17, &[0; 8], &[(8, 63)]);
    let frames = [ethernet(ETHERTYPE_IPV4, &packet), ethernet(ETHERTYPE_IPV4, &packet)];
    for (version, elements) in [
        (
            10,
            "octetDeltaCount/4,flowStartMilliseconds,flowEndMilliseconds,32473/7,sourceIPv4Address,packetDeltaCount/5,ipTTL",
        ),
        (
            9,
            "octetDeltaCount/4,flowStartSysUpTime,flowEndSysUpTime,sourceIPv4Address,packetDeltaCount/8,maximumTTL",
        ),
    ] {
        let fields = ["cflow.srcaddr", "cflow.octets", "cflow.packets", "cflow.dstaddr", "cflow.srcport"];
        let arguments = ["--template", elements, "--enterprise-number", EXAMPLE];
        let values = exported(&frames, &arguments, version, &fields).unwrap();
        let octets = (2 * packet.len()).to_string();
        let expected: [&[&str]; 5] = [&["192.0.2.10"], &[octets.as_str()], &["2"], &[], &[]];
        assert_eq!(values, expected, "version {version}");
    }
    let arguments = ["--template", "octetDeltaCount,packetDeltaCount,ipTTL,sourceMacAddress"];
    let values = exported(&frames, &arguments, 10, &["cflow.ip_ttl", "cflow.srcmac"]).unwrap();
    assert_eq!(values, [["63"], ["02:00:00:00:00:01"]]);
}
