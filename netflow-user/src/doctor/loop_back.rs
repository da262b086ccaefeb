//! Records through the agent's own encoders, over UDP on loopback, into its own decoder: every field is compared.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, UdpSocket},
    num::NonZeroU32,
    time::Duration,
};

use netflow_common::{Address, FlowCounters, FlowKey, IpVersion, NetworkU16, Ports};

use super::finding::Finding;
use crate::{
    agent::{Exporter, chain},
    clock,
    collect::{Collector, DecodedFlow},
    config::ExportConfig,
    message::{DEFAULT_KEY, Groups},
    record::{FlowEndReason, FlowRecord},
    time::Instant,
    transport::{ExportProtocol, Target},
};

/// Flows of each kind.
const FLOWS: u16 = 64;
/// The last datagram has come when none has for so long.
const QUIET: Duration = Duration::from_millis(500);
/// For the session to send what it has.
const PATIENCE: Duration = Duration::from_secs(5);

/// Tries each protocol.
pub(super) async fn look(export: &ExportConfig) -> Vec<Finding> {
    let mut findings = Vec::new();
    for protocol in [ExportProtocol::Ipfix, ExportProtocol::NetflowV9, ExportProtocol::NetflowV5] {
        let subject = format!("loop-back {}", protocol.name());
        findings.push(match try_one(export, protocol).await {
            Ok(Compared { records, fields, wrong: None }) => Finding::ok(
                subject,
                format!("{records} records went through encoder, UDP and decoder: {fields} fields are equal"),
            ),
            Ok(Compared { wrong: Some(wrong), .. }) => Finding::fault(subject, wrong),
            Err(why) => Finding::unknown(subject, why),
        });
    }
    findings
}

/// What came of it.
struct Compared {
    records: usize,
    fields: usize,
    wrong: Option<String>,
}

async fn try_one(export: &ExportConfig, protocol: ExportProtocol) -> Result<Compared, String> {
    let socket = UdpSocket::bind("127.0.0.1:0").map_err(|error| format!("no socket on loopback: {error}"))?;
    let address = socket.local_addr().map_err(|error| error.to_string())?;
    let target = Target::parse(&format!("udp://{address}"), protocol).map_err(|error| chain(&error))?;
    // The usual records, whatever else is asked for: those of choice have no fixed fields to compare.
    let usual = ExportConfig {
        destinations: vec![target.clone()],
        collector_groups: Vec::new(),
        protocol,
        statistics: None,
        preset: None,
        key: DEFAULT_KEY.to_vec(),
        groups: Groups::default(),
        template: None,
        biflow: false,
        enterprise_number: None::<NonZeroU32>,
        sampling: None,
        anonymised: Vec::new(),
        interface_table: false,
        ..export.clone()
    };
    let now = clock::now();
    let records: Vec<FlowRecord> = (0..FLOWS).flat_map(|number| records(number, protocol, &now)).collect();
    let receiver = tokio::task::spawn_blocking(move || receive(&socket));
    let exporter = Exporter::start(&target, &usual).await.map_err(|error| chain(&error))?;
    exporter.offer(&mut records.clone());
    let (sent, _) = exporter.finish(PATIENCE).await;
    let decoded = receiver.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    if sent != records.len() as u64 {
        return Err(format!("of {} records {sent} were sent", records.len()));
    }
    Ok(compare(&records, &decoded, protocol))
}

/// Decodes what comes, until nothing does.
fn receive(socket: &UdpSocket) -> io::Result<Vec<DecodedFlow>> {
    let mut collector = Collector::new();
    let mut flows = Vec::new();
    let mut buffer = vec![0; 65_536];
    socket.set_read_timeout(Some(PATIENCE))?;
    loop {
        match socket.recv_from(&mut buffer) {
            Ok((octets, from)) => {
                let decoded = collector.decode(from, buffer.get(..octets).unwrap_or_default());
                flows.extend(decoded.into_iter().filter(|flow| flow.options_template_id.is_none()));
                socket.set_read_timeout(Some(QUIET))?;
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Ok(flows);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Records whose values all differ: IPv4 by UDP, TCP and ICMP, and IPv6 where the protocol knows it.
fn records(number: u16, protocol: ExportProtocol, now: &Instant) -> Vec<FlowRecord> {
    let n = u64::from(number) + 1;
    let low = (n % 250) as u8 + 1;
    let counters = |tcp_control_bits| FlowCounters {
        packets: n,
        octets: n * 1_000 + 7,
        first: now.monotonic.0.saturating_sub(n * 20_000_000),
        last: now.monotonic.0.saturating_sub(n * 10_000_000),
        flow_label: 0,
        tcp_control_bits,
        minimum_ttl: 60,
        maximum_ttl: 64,
    };
    let key = |protocol, from: [u8; 4], to: [u8; 4]| FlowKey {
        source_address: Address::from_ipv4(from),
        destination_address: Address::from_ipv4(to),
        interface: u32::from(number) + 1,
        source_port: NetworkU16::new(1024 + number),
        destination_port: NetworkU16::new(2048 + number),
        vlan_id: number % 4095,
        protocol,
        class_of_service: low,
        ip_version: IpVersion::V4,
        direction: 0,
        ports: Ports::PRESENT,
        reserved: 0,
    };
    let reasons =
        [FlowEndReason::IdleTimeout, FlowEndReason::ActiveTimeout, FlowEndReason::EndOfFlowDetected];
    let reason = reasons[usize::from(number) % reasons.len()];
    let icmp = FlowKey {
        source_port: NetworkU16::new(0),
        destination_port: NetworkU16::new(0x0800),
        ..key(1, [192, 0, 2, low], [203, 0, 113, low])
    };
    let mut made = vec![
        FlowRecord::new(key(FlowKey::UDP, [192, 0, 2, low], [198, 51, 100, low]), counters(0), reason, now),
        FlowRecord::new(
            key(FlowKey::TCP, [198, 51, 100, low], [192, 0, 2, low]),
            counters(0x1b),
            reason,
            now,
        ),
        FlowRecord::new(icmp, counters(0), reason, now),
    ];
    if protocol != ExportProtocol::NetflowV5 {
        let address =
            |last: u8| Address::from_ipv6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last, 1]);
        let six = FlowKey {
            source_address: address(low),
            destination_address: address(low.wrapping_add(1)),
            ip_version: IpVersion::V6,
            ..key(FlowKey::TCP, [0; 4], [0; 4])
        };
        made.push(FlowRecord::new(six, counters(0x12), reason, now));
    }
    made
}

/// What tells records apart, in both forms.
type Name = (IpAddr, IpAddr, u64, u64, u64);

fn compare(records: &[FlowRecord], decoded: &[DecodedFlow], protocol: ExportProtocol) -> Compared {
    let found: HashMap<Name, &DecodedFlow> =
        decoded.iter().filter_map(|flow| Some((name_of(flow)?, flow))).collect();
    let (mut fields, mut wrong) = (0, None);
    for record in records {
        match found.get(&name(record)) {
            Some(flow) => {
                for (field, sent, came) in values(record, flow, protocol) {
                    fields += 1;
                    if came != Some(sent) {
                        let came = came.map_or("nothing".to_owned(), |value| value.to_string());
                        wrong.get_or_insert(format!("{field} was sent as {sent} and came as {came}"));
                    }
                }
            }
            None => drop(wrong.get_or_insert(format!("a record did not come: {:?}", name(record)))),
        }
    }
    if decoded.len() != records.len() {
        wrong.get_or_insert(format!("{} records were sent, {} came", records.len(), decoded.len()));
    }
    Compared { records: records.len(), fields, wrong }
}

fn name(record: &FlowRecord) -> Name {
    let FlowKey { source_address, destination_address, source_port, destination_port, protocol, .. } =
        record.key;
    let address = |address: Address| match record.key.is_ipv4() {
        true => IpAddr::from(address.ipv4_octets()),
        false => IpAddr::from(address.octets()),
    };
    (
        address(source_address),
        address(destination_address),
        source_port.value().into(),
        destination_port.value().into(),
        protocol.into(),
    )
}

fn name_of(flow: &DecodedFlow) -> Option<Name> {
    let destination_port = match flow.protocol()? {
        1 => flow.icmp_type_code()?,
        _ => flow.destination_port()?,
    };
    Some((
        flow.source()?,
        flow.destination()?,
        flow.source_port().unwrap_or(0),
        destination_port,
        flow.protocol()?,
    ))
}

/// Field by field: what was sent, what came. The ones that name the record are equal by then, and count.
fn values(
    record: &FlowRecord,
    flow: &DecodedFlow,
    protocol: ExportProtocol,
) -> Vec<(&'static str, u64, Option<u64>)> {
    let FlowRecord { key, counters, start, end, end_reason, .. } = record;
    let number = |id: u16| flow.value(id).and_then(crate::collect::Value::as_unsigned);
    let mut values = vec![
        ("protocolIdentifier", u64::from(key.protocol), flow.protocol()),
        ("ipClassOfService", u64::from(key.class_of_service), flow.class_of_service()),
        ("tcpControlBits", u64::from(counters.tcp_control_bits), flow.tcp_control_bits()),
        ("ingressInterface", u64::from(key.interface), number(10)),
        ("egressInterface", 0, number(14)),
        ("packetDeltaCount", counters.packets, flow.packets()),
        ("octetDeltaCount", counters.octets, flow.octets()),
        ("flowStartMilliseconds", start.0, flow.start().map(|time| time.millis())),
        ("flowEndMilliseconds", end.0, flow.end().map(|time| time.millis())),
        ("sourceTransportPort", u64::from(key.source_port.value()), flow.source_port()),
    ];
    // NetFlow has no words for them: version 5 for neither, version 9 for the last.
    if protocol != ExportProtocol::NetflowV5 {
        values.push(("vlanId", u64::from(key.vlan_id), flow.vlan()));
    }
    if protocol == ExportProtocol::Ipfix {
        values.push(("flowEndReason", *end_reason as u64, flow.end_reason()));
    }
    values
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_record_that_is_missing_or_differs_is_said() {
        let now = clock::now();
        let sent = records(3, ExportProtocol::Ipfix, &now);
        let none = compare(&sent, &[], ExportProtocol::Ipfix);
        assert!(none.wrong.unwrap().contains("did not come"));
        assert_eq!((none.records, none.fields), (4, 0));
    }
}
