//! Every protocol with every set of templates, all captures, read by four programs that were not written here: nfdump,
//! pmacct, tshark and netflume find the records that were sent, with the packets and octets of the reference count, and
//! (but for tshark, which is asked for more elsewhere) flow by flow. Where options data go with them, tshark and netflume
//! read the same totals there, which are those of the books. `NETFLOW_MATRIX` has words by which some rows are judged alone.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result, ensure};
use tests::agent::AgentProcess;
use tests::captures::{self, Capture, ReferenceFlow};
use tests::judges::{DecodedFlow, Netflume, NetflumeVerdict, Nfacctd, Nfcapd, Tshark, TsharkCapture};
use tests::lab::Namespace;

const NFDUMP: u16 = 9995;
const PMACCT: u16 = 9996;
const NETFLUME: u16 = 9997;

const ICMP: [u8; 2] = [1, 58];
const SCTP: u8 = 132;

/// What of a flow records show.
#[derive(Clone, Copy)]
struct Shown {
    /// Leading bits of IPv4 and IPv6 addresses.
    addresses: Option<[u32; 2]>,
    protocol: bool,
    source_port: bool,
    destination_port: bool,
}

const FIVE_TUPLE: Shown =
    Shown { addresses: Some([32, 128]), protocol: true, source_port: true, destination_port: true };
const HOST_PAIR: Shown =
    Shown { addresses: Some([32, 128]), protocol: false, source_port: false, destination_port: false };

/// A row of the matrix.
struct Case {
    name: &'static str,
    protocol: &'static str,
    arguments: &'static [&'static str],
    shown: Shown,
    /// The preset of each collector's own, in the order of their ports.
    presets: Option<[&'static str; 3]>,
}

const fn case(
    name: &'static str,
    protocol: &'static str,
    arguments: &'static [&'static str],
    shown: Shown,
) -> Case {
    Case { name, protocol, arguments, shown, presets: None }
}

const EVERY_GROUP: &str = "l2,frag,fragments,size,tcp,tos,dscp,ttl,opts,obspoint,vrf,mpls,spi,igmp,tunnel,\
                           encapsulation,route";
const OF_V9: &str = "size,mpls,igmp,route";
const OWN_TEMPLATE: &str = "octetDeltaCount,packetDeltaCount,sourceIPv4Address,sourceIPv6Address,\
                            destinationIPv4Address,destinationIPv6Address,protocolIdentifier,sourceTransportPort,\
                            destinationTransportPort,flowStartMilliseconds,flowEndMilliseconds";
const OWN_OF_V9: &str = "octetDeltaCount/4,packetDeltaCount/8,sourceIPv4Address,sourceIPv6Address,\
                         destinationIPv4Address,destinationIPv6Address,protocolIdentifier,sourceTransportPort,\
                         destinationTransportPort,flowStartSysUpTime,flowEndSysUpTime,maximumTTL";
/// Counters of fewer octets, and elements that are not in the registry. pmacct 1.7.7 reads a counter of five octets as 0.
const REDUCED: &str = "tunnelType,octetDeltaCount/4,packetDeltaCount/4,sourceIPv4Address,sourceIPv6Address,\
                       32473/2,destinationIPv4Address,destinationIPv6Address,protocolIdentifier,sourceTransportPort,\
                       destinationTransportPort,flowStartMilliseconds,flowEndMilliseconds,tcpControlBits/1,32473/7";
const SMALL: [&str; 2] = ["--message-size", "512"];
const OPTIONS: [&str; 3] = ["--interface-table", "--statistics-interval", "1s"];
/// What the innermost packets of tunnels have: the reference count has the outermost ones.
const DECAPSULATED: [&str; 2] = ["--decapsulate", "all"];
const PRESETS: [&str; 3] = ["nfdump", "pmacct", "akvorado"];
const PREFIX_PAIR: Shown = Shown { addresses: Some([24, 48]), ..HOST_PAIR };
const PROTOCOL_PORT: Shown = Shown { addresses: None, protocol: true, destination_port: true, ..HOST_PAIR };
const ANONYMISED: [&str; 4] = ["--anonymise", "ipv4=/20", "--anonymise", "ipv6=/64"];
const TRUNCATED: Shown = Shown { addresses: Some([20, 64]), ..FIVE_TUPLE };

const CASES: [Case; 33] = [
    case("default", "v5", &[], FIVE_TUPLE),
    case("key 5-tuple", "v5", &["--key", "5-tuple"], FIVE_TUPLE),
    case("anonymised", "v5", &ANONYMISED, TRUNCATED),
    case("default", "v9", &[], FIVE_TUPLE),
    case("groups", "v9", &["--group", OF_V9], FIVE_TUPLE),
    case("key 5-tuple", "v9", &["--key", "5-tuple"], FIVE_TUPLE),
    case("key 7-tuple", "v9", &["--key", "7-tuple"], FIVE_TUPLE),
    case("key host-pair", "v9", &["--key", "host-pair"], HOST_PAIR),
    case("key prefix-pair", "v9", &["--key", "prefix-pair"], PREFIX_PAIR),
    case("key protocol-port", "v9", &["--key", "protocol-port"], PROTOCOL_PORT),
    case("anonymised", "v9", &ANONYMISED, TRUNCATED),
    case("small messages", "v9", &SMALL, FIVE_TUPLE),
    case("own template", "v9", &["--template", OWN_OF_V9], FIVE_TUPLE),
    case("decapsulated", "v9", &DECAPSULATED, FIVE_TUPLE),
    case("options", "v9", &OPTIONS, FIVE_TUPLE),
    Case { presets: Some(PRESETS), ..case("presets", "v9", &OPTIONS, FIVE_TUPLE) },
    case("default", "ipfix", &[], FIVE_TUPLE),
    case("groups", "ipfix", &["--group", EVERY_GROUP, "--enterprise-number", "32473"], FIVE_TUPLE),
    case("biflow", "ipfix", &["--biflow"], FIVE_TUPLE),
    case(
        "biflow, groups",
        "ipfix",
        &["--biflow", "--group", EVERY_GROUP, "--enterprise-number", "32473"],
        FIVE_TUPLE,
    ),
    case("key 5-tuple", "ipfix", &["--key", "5-tuple"], FIVE_TUPLE),
    case("key 7-tuple", "ipfix", &["--key", "7-tuple"], FIVE_TUPLE),
    case("key host-pair", "ipfix", &["--key", "host-pair"], HOST_PAIR),
    case("key prefix-pair", "ipfix", &["--key", "prefix-pair"], PREFIX_PAIR),
    case("key protocol-port", "ipfix", &["--key", "protocol-port"], PROTOCOL_PORT),
    case("anonymised", "ipfix", &ANONYMISED, TRUNCATED),
    case("small messages", "ipfix", &SMALL, FIVE_TUPLE),
    case("own template", "ipfix", &["--template", OWN_TEMPLATE], FIVE_TUPLE),
    case("reduced, own", "ipfix", &["--template", REDUCED, "--enterprise-number", "32473"], FIVE_TUPLE),
    case("decapsulated", "ipfix", &DECAPSULATED, FIVE_TUPLE),
    case("options", "ipfix", &OPTIONS, FIVE_TUPLE),
    case("options, names", "ipfix", &["--exporter-name", "edge", "--statistics-interval", "1s"], FIVE_TUPLE),
    Case { presets: Some(PRESETS), ..case("presets", "ipfix", &OPTIONS, FIVE_TUPLE) },
];

/// What tells rows of judges apart.
type Key = (Option<[IpAddr; 2]>, u8, u16, u16);
/// Packets and octets.
type Rows = BTreeMap<Key, (u64, u64)>;

fn prefix(address: IpAddr, [ipv4, ipv6]: [u32; 2]) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            Ipv4Addr::from_bits(address.to_bits() & u32::MAX.checked_shl(32 - ipv4).unwrap_or(0)).into()
        }
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & u128::MAX.checked_shl(128 - ipv6).unwrap_or(0)).into()
        }
    }
}

impl Case {
    fn key(&self, flow: &DecodedFlow) -> Key {
        let Shown { addresses, protocol, source_port, destination_port } = self.shown;
        let pair = flow.source.zip(flow.destination);
        let pair = addresses.and_then(|bits| pair.map(|(a, b)| [prefix(a, bits), prefix(b, bits)]));
        // The reference has ICMP's type and code apart from ports, and so has nfdump. nfdump 1.7.1 also shows the
        // ICMP type and code of an IPFIX record, here 0, in the place of SCTP's destination port.
        let ports = !ICMP.contains(&flow.protocol) && flow.protocol != SCTP;
        let port = |shown: bool, port| if shown && ports { port } else { 0 };
        let protocol = if protocol { flow.protocol } else { 0 };
        (pair, protocol, port(source_port, flow.source_port), port(destination_port, flow.destination_port))
    }

    fn rows(&self, flows: impl IntoIterator<Item = DecodedFlow>) -> Rows {
        let mut rows = Rows::new();
        for flow in flows {
            let row = rows.entry(self.key(&flow)).or_default();
            *row = (row.0 + flow.packets, row.1 + flow.octets);
        }
        rows
    }

    fn has(&self, argument: &str) -> bool {
        self.arguments.contains(&argument)
    }

    /// By the reference count.
    fn expected(&self, captures: &[Capture]) -> Result<Rows> {
        let mut flows = Vec::new();
        for capture in captures {
            flows.extend(capture.flows()?.iter().map(decoded));
        }
        // v5 has IPv4 only.
        flows.retain(|flow| self.protocol != "v5" || flow.source.is_some_and(|address| address.is_ipv4()));
        Ok(self.rows(flows))
    }
}

fn decoded(flow: &ReferenceFlow) -> DecodedFlow {
    DecodedFlow {
        source: Some(flow.key.source),
        destination: Some(flow.key.destination),
        protocol: flow.key.protocol,
        source_port: flow.key.source_port,
        destination_port: flow.key.destination_port,
        packets: flow.packets,
        octets: flow.ip_octets,
    }
}

/// Records, packets, octets; what is wrong flow by flow, where it was asked.
struct Found {
    judge: &'static str,
    sums: [u64; 3],
    wrong: Vec<String>,
}

fn differences(expected: &Rows, found: &Rows) -> Vec<String> {
    let keys = expected.keys().chain(found.keys().filter(|key| !expected.contains_key(key)));
    keys.filter(|key| expected.get(key) != found.get(key))
        .map(|key| format!("{key:?}: {:?} instead of {:?}", found.get(key), expected.get(key)))
        .collect()
}

fn sums(records: u64, rows: &Rows) -> [u64; 3] {
    [records, rows.values().map(|row| row.0).sum(), rows.values().map(|row| row.1).sum()]
}

/// One agent for each capture; the sums of what was sent, and what each judge found.
fn judge(case: &Case, captures: &[Capture]) -> Result<([u64; 3], Vec<Found>)> {
    let namespace = Namespace::new()?;
    let at = |port| (Ipv4Addr::LOCALHOST, port).into();
    let nfcapd = Nfcapd::start(&namespace, at(NFDUMP))?;
    let nfacctd = Nfacctd::start(&namespace, at(PMACCT))?;
    let netflume = Netflume::start(&namespace, at(NETFLUME))?;
    let tshark = Tshark::start(&namespace, "lo", &format!("udp and dst port {NFDUMP}"))?;
    let url = |place: usize, port: u16| {
        let preset = case.presets.map(|presets| format!("&preset={}", presets[place])).unwrap_or_default();
        format!("udp://127.0.0.1:{port}?protocol={}{preset}", case.protocol)
    };
    let urls = [url(0, NFDUMP), url(1, PMACCT), url(2, NETFLUME)];
    let mut books: Vec<[u64; 3]> = Vec::new();
    for (capture, domain) in captures.iter().zip(1..) {
        let domain = domain.to_string();
        // The reference counts fragments by themselves.
        let mut arguments = vec!["--fragments", "separate", "--observation-domain", &domain];
        arguments.extend(case.arguments);
        arguments.extend(urls.iter().flat_map(|url| ["-c", url]));
        let agent = AgentProcess::read(&namespace, &capture.path, &arguments)?;
        ensure!(agent.exit_code == Some(0), "{}: {}", capture.name, agent.stderr);
        let ledger = agent.ledger.context("no ledger")?;
        let sent = |name: &str| ledger.number(&format!("/destinations/0/sent/{name}"));
        books.push([sent("records")?, sent("packets")?, sent("octets")?]);
    }
    let sent = books.iter().fold([0; 3], |sum: [u64; 3], sent| std::array::from_fn(|at| sum[at] + sent[at]));
    // Its end waits for silence, so that the others have read what came.
    let capture = tshark.stop()?.decode_as_cflow(NFDUMP);
    let mut found = Vec::new();

    let nfcapd = nfcapd.stop()?;
    let rows = case.rows(nfcapd.flows()?);
    // What the reference count does not know, all read alike, and in sum as the books have it.
    let is_counted = !case.has("--decapsulate");
    let expected = if is_counted { case.expected(captures)? } else { rows.clone() };
    let mut wrong = differences(&expected, &rows);
    if sums(sent[0], &expected) != sent {
        wrong.push(format!("{:?} expected, {sent:?} in the books", sums(sent[0], &expected)));
    }
    found.push(Found { judge: "nfdump", sums: sums(nfcapd.summary.flows, &rows), wrong });

    let nfacctd = nfacctd.stop()?;
    let rows = case.rows(nfacctd.flows());
    let mut wrong = differences(&expected, &rows);
    // pmacct 1.7.7 loses count at options data with fields of variable length: the types of own elements, names.
    if !case.has("--enterprise-number") && !case.has("--exporter-name") {
        wrong.extend(nfacctd.log.lines().filter(|line| line.contains("expecting flow")).map(str::to_owned));
    }
    found.push(Found { judge: "pmacct", sums: sums(nfacctd.records(), &rows), wrong });

    let netflume = netflume.stop()?;
    let rows = case.rows(netflume.flows());
    let mut wrong = differences(&expected, &rows);
    wrong.extend(netflume.complaints.iter().cloned());
    found.push(Found { judge: "netflume", sums: sums(netflume.records.len() as u64, &rows), wrong });

    let fields =
        capture.fields(&["cflow.packets", "cflow.octets", "cflow.flow_end_reason", "cflow.protocol"])?;
    let all = |field: usize| fields.iter().flat_map(move |packet| &packet[field]);
    let sum = |field| all(field).map(|text| text.parse::<u64>().unwrap()).sum();
    // Of a biflow tshark shows both directions under the same name: a record is counted by a field that it has once.
    let records = [0, 2, 3].map(|field| all(field).count() as u64);
    let records = if case.has("--biflow") { records[1] } else { records[0] };
    let mut wrong = capture.expert_messages()?;
    if case.has("--statistics-interval") {
        wrong.extend(options(case, &capture, &netflume, &books)?);
    }
    found.push(Found { judge: "tshark", sums: [records, sum(0), sum(1)], wrong });
    Ok((sent, found))
}

/// What is wrong with the options data: each observation domain is an agent, which says at its end how many records it
/// has sent.
fn options(
    case: &Case,
    capture: &TsharkCapture,
    netflume: &NetflumeVerdict,
    books: &[[u64; 3]],
) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let domains = || books.iter().zip(1_u64..);
    let domain = if case.protocol == "v9" { "cflow.source_id" } else { "cflow.od_id" };
    let packets = capture.fields(&[domain, "cflow.flowsexp"])?;
    // The preset for nfdump has none of it.
    let by_tshark = case.presets.is_none();
    for ([records, ..], domain) in domains() {
        let of_domain = packets.iter().filter(|packet| packet[0].first() == Some(&domain.to_string()));
        let told = of_domain.flat_map(|packet| &packet[1]).filter_map(|text| text.parse::<u64>().ok()).max();
        let of_netflume = netflume.told("exported_flows").into_iter().filter(|(of, _)| *of == domain);
        let of_netflume = of_netflume.filter_map(|(_, value)| value.as_u64()).max();
        let expected = [by_tshark.then_some(*records), Some(*records)];
        if [told, of_netflume] != expected {
            wrong.push(format!(
                "domain {domain}: exportedFlowRecordTotalCount {told:?}, to netflume {of_netflume:?}, not {records}"
            ));
        }
    }
    if case.has("--exporter-name") {
        let mut names = capture.fields(&["cflow.observation_domain_name"])?.into_iter().flatten().flatten();
        let told = netflume.told("observation_domain_name");
        let all = domains().all(|(_, domain)| told.iter().any(|(of, name)| *of == domain && name == "edge"));
        if !all || !names.all(|name| name == "edge") {
            wrong.push(format!("exporter names {told:?}"));
        }
    }
    Ok(wrong)
}

#[test]
#[ignore = "needs root: network namespaces"]
fn four_judges_read_every_protocol_and_set_of_templates_alike() {
    let Some(captures) = captures::find().unwrap() else { return };
    let mut wrong = Vec::new();
    println!("{} captures: records, packets and octets by judge", captures.len());
    let words = std::env::var("NETFLOW_MATRIX").unwrap_or_default();
    let is_asked = |case: &&Case| words.is_empty() || words.split(' ').any(|word| case.name.contains(word));
    for case in CASES.iter().filter(is_asked) {
        let (expected, found) = judge(case, &captures).unwrap();
        println!("{:>5} {:<18} sent     {expected:?}", case.protocol, case.name);
        for Found { judge, sums, wrong: complaints } in found {
            println!("{:>5} {:<18} {judge:<8} {sums:?}", case.protocol, case.name);
            let name = format!("{} {}: {judge}", case.protocol, case.name);
            if sums != expected {
                wrong.push(format!("{name}: {sums:?} instead of {expected:?}"));
            }
            wrong.extend(complaints.into_iter().take(5).map(|line| format!("{name}: {line}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
