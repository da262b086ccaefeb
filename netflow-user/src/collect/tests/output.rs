//! What comes out, octet by octet, and the loop around it.

use std::io;
use std::net::UdpSocket;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::super::line;
use super::super::screen::Screen;
use super::super::summary::Totals;
use super::*;
use crate::collect::{CollectorCounters, Element, Format, ListenUrl, Listener, Value, run};
use crate::time::MonotonicNanos;

#[test]
fn json_has_one_object_per_flow_with_the_registrys_names_in_a_fixed_order() {
    let flow = |numbers: &[u32], index: usize| serde_json::to_string(&heard(numbers).1[index]).unwrap();
    assert_eq!(
        flow(&[6, 7, 8], 0),
        concat!(
            r#"{"exporter":"192.0.2.99","observationDomainId":7,"protocolVersion":10,"#,
            r#""flowStartMilliseconds":"2025-12-31T23:59:50.000Z","flowEndMilliseconds":"2025-12-31T23:59:58.000Z","#,
            r#""sourceIPv4Address":"192.0.2.10","destinationIPv4Address":"198.51.100.20","#,
            r#""sourceTransportPort":51514,"destinationTransportPort":443,"protocolIdentifier":6,"#,
            r#""icmpTypeCodeIPv4":0,"vlanId":100,"ipClassOfService":32,"tcpControlBits":27,"#,
            r#""packetDeltaCount":10,"octetDeltaCount":5344,"flowEndReason":3,"ingressInterface":2,"#,
            r#""egressInterface":3,"flowDirection":0,"ipNextHopIPv4Address":"203.0.113.1","#,
            r#""ipVersion":4,"minimumTTL":63,"maximumTTL":64}"#
        )
    );
    // The same flow in v9: no reason, else the same words.
    assert_eq!(
        flow(&[4, 5], 0),
        flow(&[6, 7, 8], 0).replace(r#""flowEndReason":3,"#, "").replace(":10,\"flowS", ":9,\"flowS")
    );
}

#[test]
fn an_element_that_comes_twice_gets_a_number() {
    let mut flow = heard(&[2]).1.remove(0);
    flow.fields = vec![(Element::iana(4), Value::Unsigned(6)), (Element::iana(4), Value::Unsigned(17))];
    let json = serde_json::to_string(&flow).unwrap();
    assert!(json.ends_with(r#""protocolIdentifier":6,"protocolIdentifier_2":17}"#), "{json}");
}

#[test]
fn the_lines_of_a_pipe_are_golden() {
    let flows = heard(&[6, 7, 8]).1;
    let lines: Vec<String> = std::iter::once(line::header()).chain(flows.iter().map(line::line)).collect();
    let expected = "\
START                      SECONDS PROTO  SOURCE -> DESTINATION                           VLAN  TOS FLAGS       PACKETS       OCTETS END
2025-12-31T23:59:50.000Z     8.000 tcp    192.0.2.10:51514 -> 198.51.100.20:443            100 0x20 ...AP.SF         10         5344 end
2025-12-31T23:59:50.000Z     8.000 udp    192.0.2.11:40000 -> 198.51.100.53:53               0 0x00 -                 1           70 idle
2025-12-31T23:59:50.000Z     8.000 icmp   192.0.2.12 -> 198.51.100.1:8.0                     0 0x00 -                 5          420 active
2025-12-31T23:59:50.000Z     8.000 tcp    [2001:db8::10]:51515 -> [2001:db8:1::20]:8443      0 0xb8 ...A..S.          7   9000000000 forced
2025-12-31T23:59:50.000Z     8.000 icmp6  [2001:db8::11] -> [2001:db8:1::1]:128.0            0 0x00 -                 3          312 resources";
    assert_eq!(lines.join("\n"), expected);
}

/// A frame without the control sequences.
fn plain(frame: &str) -> String {
    frame.replace("\x1b[H", "").replace("\x1b[K\r", "").replace("\x1b[J", "")
}

#[test]
fn the_screen_shows_the_largest_flows_of_the_last_minute() {
    let second = |seconds: u64| MonotonicNanos(seconds * 1_000_000_000);
    let (collector, flows) = heard(&[6, 7, 8]);
    let mut screen = Screen::default();
    for flow in flows.iter().chain(&flows[..1]) {
        screen.add(flow, second(10));
    }
    let totals = Totals::of(&collector);
    let frame = plain(&screen.frame(&totals, 110, 8, second(12)));
    let expected = "\
5 records, 26 packets, 8.3 GiB and 16 options records in 3 datagrams; sessions: 1; flows of the last minute: 5
nothing lost

    OCTETS   PACKETS PROTO  FLAGS    SOURCE -> DESTINATION                         VLAN  TOS END        AGO
   8.3 GiB         7 tcp    ...A..S. [2001:db8::10]:51515 -> [2001:db8:1::20]:8443    0 0xb8 forced      2s
  10.4 KiB        20 tcp    ...AP.SF 192.0.2.10:51514 -> 198.51.100.20:443          100 0x20 end         2s
     420 B         5 icmp   -        192.0.2.12 -> 198.51.100.1:8.0                   0 0x00 active      2s
";
    assert_eq!(frame, expected);
    let lost = CollectorCounters { missing_records: 3, malformed: 1, ..collector.counters() };
    let frame = plain(&screen.frame(&Totals { counters: lost, ..totals.clone() }, 110, 8, second(12)));
    assert!(frame.contains("\n3 records missing (IPFIX), 1 datagrams malformed\n"), "{frame}");
    let undecoded = Totals { not_decoded: vec!["3 sets".to_owned()], ..totals.clone() };
    let frame = plain(&screen.frame(&undecoded, 110, 8, second(12)));
    assert!(frame.contains("\nnot decoded: 3 sets\n\n"), "{frame}");
    let later = plain(&screen.frame(&totals, 110, 8, second(70)));
    assert!(later.contains("no flow yet"), "{later}");
}

/// An output that the test can read, and that can lose its reader.
#[derive(Clone, Default)]
pub struct Pipe(pub Arc<Mutex<Vec<u8>>>, bool);

impl io::Write for Pipe {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        if self.1 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.0.lock().unwrap().write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A collector on loopback that has to tell its flows from everything sent to it before the stop.
async fn collected(format: Format, output: Pipe) -> String {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap().without_options();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    for number in [6, 7, 8] {
        sender.send_to(&vector(number), listener.address()).unwrap();
    }
    let (stop, stopped) = watch::channel(false);
    stop.send(true).unwrap();
    let summary = run(listener, format, stopped, output, MonotonicNanos::default).await.unwrap();
    summary.to_string()
}

#[tokio::test]
async fn what_arrived_before_the_stop_is_shown_after_it() {
    let pipe = Pipe::default();
    let summary = collected(Format::Json, pipe.clone()).await;
    let text = String::from_utf8(pipe.0.lock().unwrap().clone()).unwrap();
    assert_eq!(text.lines().count(), 5);
    for line in text.lines() {
        let object: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(object["exporter"], "127.0.0.1");
    }
    assert_eq!(
        summary,
        "collected 5 records, 26 packets, 8.3 GiB and 16 options records in 3 datagrams; nothing lost"
    );
}

#[tokio::test]
async fn lines_begin_with_their_header() {
    let pipe = Pipe::default();
    collected(Format::Lines, pipe.clone()).await;
    let text = String::from_utf8(pipe.0.lock().unwrap().clone()).unwrap();
    assert_eq!(text.lines().count(), 6);
    assert!(text.starts_with("START "), "{text}");
}

#[tokio::test]
async fn a_reader_that_leaves_ends_the_collector_quietly() {
    let pipe = Pipe(Arc::default(), true);
    let summary = collected(Format::Json, pipe).await;
    assert!(summary.starts_with("collected "), "{summary}");
}

#[test]
fn a_port_in_use_and_a_bad_address_are_told_in_one_line() {
    let first = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let error = Listener::bind(first.address()).err().unwrap().to_string();
    assert_eq!(error, format!("cannot listen on {}: the port is in use by another program", first.address()));
    let foreign = ListenUrl::parse("192.0.2.1:4739").unwrap();
    let error = Listener::open(&[foreign]).err().unwrap().to_string();
    assert_eq!(error, "cannot listen on 192.0.2.1:4739: this machine has no such address");
}

#[test]
fn options_data_are_records_of_their_own_with_scopes_first() {
    let options = |numbers: &[u32]| {
        let mut collector = Collector::new();
        let mut last = Vec::new();
        for &number in numbers {
            last = collector.decode_all(Peer::by_datagrams(exporter()), &vector(number)).collect();
        }
        last.retain(|record: &DecodedFlow| record.options_template_id.is_some());
        last
    };
    let ipfix = options(&[6, 7]);
    let lines: Vec<String> = ipfix.iter().map(line::line).collect();
    let json: Vec<String> = ipfix.iter().map(|record| serde_json::to_string(record).unwrap()).collect();
    assert_eq!(lines.len(), 16);
    for expected in [
        "options template 512 of domain 7: observationDomainId=7 meteringProcessId=1 exportedMessageTotalCount=12 exportedFlowRecordTotalCount=345 exportedOctetTotalCount=67890 observedFlowTotalCount=400 flowActiveTimeout=60 flowIdleTimeout=15",
        "options template 515 of domain 7: templateId=256 flowKeyIndicator=54795",
        "options template 518 of domain 7: selectorId=2 selectorAlgorithm=4 samplingProbability=0.01",
        "options template 522 of domain 7: observationDomainId=7 ingressInterface=2 interfaceName=\"eth0\" interfaceDescription=\"uplink eth0\"",
        "options template 525 of domain 7: templateId=256 informationElementId=8 anonymizationFlags=1 anonymizationTechnique=2",
    ] {
        assert!(lines.iter().any(|line| line == expected), "{expected} is not in {lines:#?}");
    }
    assert_eq!(
        json[0],
        r#"{"exporter":"192.0.2.99","observationDomainId":7,"protocolVersion":10,"optionsTemplateId":516,"observationDomainId_2":7,"samplingInterval":100}"#
    );
    let netflow_v9: Vec<String> = options(&[4]).iter().map(line::line).collect();
    assert_eq!(
        netflow_v9,
        [
            "options template 512 of domain 7: scopeSystem=3221225985 samplingInterval=100",
            "options template 513 of domain 7: scopeSystem=3221225985 ingressInterface=2 interfaceName=\"eth0\" interfaceDescription=\"uplink eth0\"",
            "options template 514 of domain 7: scopeSystem=3221225985 exportedMessageTotalCount=12 exportedFlowRecordTotalCount=345 exportedOctetTotalCount=67890 flowActiveTimeout=60 flowIdleTimeout=15",
        ]
    );
}
