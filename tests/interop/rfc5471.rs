//! The tests of RFC 5471 section 3 that concern an Exporting Process, over UDP and TCP,
//! with tshark as the Collecting Process. What stands
//! elsewhere is named here: elements of every type and length in `round_trip`, templates and options of every kind in
//! `matrix` and `chosen`, security in `secured`, overload in e2e's `pacing` and `conservation`, and failures of the
//! network and of collectors in e2e's `faults`, `collectors` and `spool`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use tempfile::TempDir;
use tests::agent::AgentProcess;
use tests::captures;
use tests::frames::{frame, udp};
use tests::judges::{ExportedMessage, IPFIX, NETFLOW_V9, Tshark, TsharkCapture, sequence_errors};
use tests::lab::{GENERATOR_INTERFACE, Lab, LabOptions, Namespace};
use tests::stream_sink::StreamSink;

const FLOWS: u16 = 2500;

/// A capture file of one packet of each flow.
fn flows(directory: &Path) -> Result<std::path::PathBuf> {
    let to = "10.2.0.2:53".parse()?;
    let frame = |port: u16| frame(&udp((Ipv4Addr::new(10, 1, 0, 1), port).into(), to, &[0; 72]));
    let path = directory.join("flows.pcap");
    captures::write(&path, &(1..=FLOWS).map(frame).collect::<Vec<_>>(), Duration::from_millis(1))?;
    Ok(path)
}

/// What goes to nobody's port when the flows are exported, run after run, with these arguments.
fn exported(protocol: &str, (_, port): (u16, u16), arguments: &[&[&str]]) -> Result<TsharkCapture> {
    let (namespace, directory) = (Namespace::new()?, TempDir::new()?);
    let tshark = Tshark::start(&namespace, "lo", &format!("udp and dst port {port}"))?;
    let file = flows(directory.path())?;
    for arguments in arguments {
        let url = format!("udp://127.0.0.1:{port}?protocol={protocol}");
        let stopped = AgentProcess::read(&namespace, &file, &[arguments, &["-c", &url][..]].concat())?;
        ensure!(stopped.exit_code == Some(0), "{}", stopped.stderr);
    }
    Ok(tshark.stop()?.decode_as_cflow(port))
}

/// What each connection brought when the flows are exported over TCP, run after run, with these arguments.
fn over_tcp(arguments: &[&[&str]]) -> Result<Vec<TsharkCapture>> {
    let (namespace, directory) = (Namespace::new()?, TempDir::new()?);
    let address = (Ipv4Addr::LOCALHOST, IPFIX.1).into();
    let sink = StreamSink::start(&namespace, address, directory.path(), "run")?;
    let (file, url) = (flows(directory.path())?, format!("tcp://{address}"));
    for arguments in arguments {
        let stopped = AgentProcess::read(&namespace, &file, &[arguments, &["-c", &url][..]].concat())?;
        ensure!(stopped.exit_code == Some(0), "{}", stopped.stderr);
    }
    ensure!(sink.connections() == arguments.len(), "{} connections", sink.connections());
    sink.stop()?;
    let file = |number| directory.path().join(format!("run-{number}.ipfix"));
    (1..=arguments.len()).map(|number| TsharkCapture::of_file(&file(number))).collect()
}

/// The messages of each source port, a Transport Session each, in order.
fn sessions(capture: &TsharkCapture) -> Result<Vec<Vec<ExportedMessage>>> {
    let ports = capture.fields(&["udp.srcport"])?;
    let mut sessions: Vec<(String, Vec<ExportedMessage>)> = Vec::new();
    for (message, port) in capture.messages()?.into_iter().zip(ports) {
        let port = port[0][0].clone();
        match sessions.iter_mut().find(|(other, _)| *other == port) {
            Some((_, messages)) => messages.push(message),
            None => sessions.push((port, vec![message])),
        }
    }
    Ok(sessions.into_iter().map(|(_, messages)| messages).collect())
}

#[test]
#[ignore = "needs root: network namespaces"]
fn templates_come_before_data_and_again_and_do_not_advance_the_sequence() {
    // RFC 5471 section 3.2 (transmission of templates); IPFIX-SEQ-2, IPFIX-SEQ-3, V9-HDR-3, UDP-TMPL-3, V9-TMPL-2
    for (protocol, judge) in [("ipfix", IPFIX), ("v9", NETFLOW_V9)] {
        let refresh = ["--template-refresh-packets", "5"];
        let capture = exported(protocol, judge, &[&refresh]).unwrap();
        assert_eq!(capture.expert_messages().unwrap(), [""; 0], "{protocol}");
        let messages = capture.messages().unwrap();
        assert_eq!(sequence_errors(&messages), [""; 0], "{protocol}");
        let records: usize = messages.iter().map(|message| message.records.len()).sum();
        assert_eq!(records, usize::from(FLOWS), "{protocol}");
        assert!(!messages[0].templates.is_empty(), "{protocol}");
        let with_templates: Vec<usize> =
            (0..messages.len()).filter(|&number| !messages[number].templates.is_empty()).collect();
        assert!(with_templates.len() > 10, "{protocol}: {with_templates:?}");
        assert!(
            with_templates.windows(2).all(|pair| pair[1] - pair[0] <= 6),
            "{protocol}: {with_templates:?}"
        );
    }
}

#[test]
#[ignore = "needs root: network namespaces"]
fn no_template_is_withdrawn_over_udp_and_none_changes() {
    // RFC 5471 section 3.2.5; RFC 7011 section 8.4; TMPL-WD-2, TMPL-WD-4, V9-TMPL-6
    let groups: [&[&str]; 2] = [&[], &["--group", "size,ttl"]];
    let capture = exported("ipfix", IPFIX, &groups).unwrap();
    assert_eq!(capture.expert_messages().unwrap(), [""; 0]);
    let fields = capture.fields(&["cflow.template_id", "cflow.template_field_count"]).unwrap();
    let mut layouts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for [ids, counts] in fields.into_iter().filter_map(|packet| <[Vec<String>; 2]>::try_from(packet).ok()) {
        for (id, count) in ids.into_iter().zip(counts) {
            // A withdrawal is a template without fields.
            assert_ne!(count, "0", "template {id} is withdrawn");
            layouts.entry(id).or_default().insert(count);
        }
    }
    assert!(layouts.len() >= 4, "{layouts:?}");
    assert!(layouts.values().all(|counts| counts.len() == 1), "{layouts:?}");
}

#[test]
#[ignore = "needs root: network namespaces"]
fn every_datagram_has_a_checksum_and_it_is_right() {
    // UDP-CSUM-1
    let (lab, directory) = (Lab::new(LabOptions::default()).unwrap(), TempDir::new().unwrap());
    // Nothing on this way leaves checksums to the hardware.
    let tshark =
        Tshark::start(&lab.generator, GENERATOR_INTERFACE, "udp and dst portrange 2000-5000").unwrap();
    let urls = [IPFIX, NETFLOW_V9].map(|(version, port)| {
        format!("udp://10.77.0.1:{port}?protocol={}", if version == 9 { "v9" } else { "ipfix" })
    });
    let arguments = ["-c", &urls[0], "-c", &urls[1]];
    let stopped = AgentProcess::read(&lab.monitor, &flows(directory.path()).unwrap(), &arguments).unwrap();
    assert_eq!(stopped.exit_code, Some(0), "{}", stopped.stderr);
    let capture = tshark.stop().unwrap();
    let packets = capture.fields(&["udp.checksum", "udp.checksum.status"]).unwrap();
    assert!(packets.len() > 100, "{} datagrams", packets.len());
    for packet in packets {
        // Status 1 is "good"; 0x0000 would be "none".
        assert!(packet[0] != ["0x0000"] && packet[1] == ["1"], "{packet:?}");
    }
}

#[test]
#[ignore = "needs root: network namespaces"]
fn an_exporter_that_is_started_again_begins_a_new_session_with_templates() {
    // RFC 5471 section 3 (restart of the exporter); UDP-RST-1, IPFIX-SEQ-1
    for (protocol, judge) in [("ipfix", IPFIX), ("v9", NETFLOW_V9)] {
        let capture = exported(protocol, judge, &[&[], &[]]).unwrap();
        let sessions = sessions(&capture).unwrap();
        assert_eq!(sessions.len(), 2, "{protocol}");
        for messages in &sessions {
            // The first has sequence number 0 and the templates.
            assert_eq!(sequence_errors(messages), [""; 0], "{protocol}");
            let records: usize = messages.iter().map(|message| message.records.len()).sum();
            assert_eq!(records, usize::from(FLOWS), "{protocol}");
        }
        let ids = |messages: &[ExportedMessage]| messages[0].templates.clone();
        assert_eq!(ids(&sessions[0]), ids(&sessions[1]), "{protocol}: the same fields have the same ids");
    }
}

#[test]
#[ignore = "needs root: network namespaces"]
fn over_tcp_each_connection_is_a_session_with_templates_once_and_a_sequence_of_its_own() {
    // RFC 5471 sections 3.1.1 (connectivity), 3.2 (templates), 3 (restart, several exporters); TCP-TMPL-1, TMPL-SES-2,
    // IPFIX-SEQ-6, IPFIX-SEQ-8
    let runs: [&[&str]; 3] = [
        // What would be a refresh after each message, over UDP.
        &["--template-refresh-packets", "1", "--observation-domain", "7"],
        &["--observation-domain", "7"],
        &["--observation-domain", "4294967295"],
    ];
    let sessions = over_tcp(&runs).unwrap();
    let mut templates = Vec::new();
    for (capture, domain) in sessions.iter().zip([7, 7, u32::MAX]) {
        assert_eq!(capture.expert_messages().unwrap(), [""; 0], "{domain}");
        let messages = capture.messages().unwrap();
        // The first has sequence number 0 and the templates, no other has any: they came for sure.
        assert_eq!(sequence_errors(&messages), [""; 0], "{domain}");
        assert!(messages.len() > 10 && messages.iter().all(|message| message.domain == domain));
        assert!(messages[1..].iter().all(|message| message.templates.is_empty()), "{domain}");
        let records: usize = messages.iter().map(|message| message.records.len()).sum();
        assert_eq!(records, usize::from(FLOWS), "{domain}");
        let counts = capture.fields(&["cflow.template_field_count"]).unwrap();
        assert!(counts.iter().flatten().flatten().all(|count| count != "0"), "a template is withdrawn");
        templates.push(messages[0].templates.clone());
    }
    assert!(!templates[0].is_empty() && templates.iter().all(|ids| *ids == templates[0]), "{templates:?}");
}

#[test]
#[ignore = "needs root: network namespaces"]
fn several_observation_domains_of_one_host_are_told_apart() {
    // RFC 5471 section 3 (several exporters); IPFIX-SEQ-8, V9-HDR-7
    for (protocol, judge) in [("ipfix", IPFIX), ("v9", NETFLOW_V9)] {
        let domains: [&[&str]; 2] = [&["--observation-domain", "7"], &["--observation-domain", "4294967295"]];
        let capture = exported(protocol, judge, &domains).unwrap();
        assert_eq!(capture.expert_messages().unwrap(), [""; 0], "{protocol}");
        let messages = capture.messages().unwrap();
        for domain in [7, u32::MAX] {
            let of: Vec<_> = messages.iter().filter(|message| message.domain == domain).collect();
            assert_eq!(sequence_errors(of.iter().copied()), [""; 0], "{protocol} {domain}");
            let records: usize = of.iter().map(|message| message.records.len()).sum();
            assert_eq!(records, usize::from(FLOWS), "{protocol} {domain}");
        }
    }
}
