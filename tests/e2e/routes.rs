//! Where packets go: records say what `ip route get` says of the packet, before and after routes change.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::agent::{AgentProcess, Signal};
use tests::frames::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, ethernet, udp};
use tests::judges::{IPFIX, NETFLOW_V9, Panel};
use tests::lab::{
    GENERATOR_INTERFACE, GENERATOR_MAC, Lab, LabOptions, MONITOR_INTERFACE, MONITOR_MAC, Namespace,
};
use tests::raw::RawSender;

/// A second metered interface, of a VRF where the kernel has such devices, else of a rule.
const OTHER: &str = "w0";
const OTHER_MAC: &str = "02:00:00:00:00:03";
/// The table of that interface.
const TABLE: &str = "110";

/// A flow to meter, by the number that is its source port.
struct Flow {
    interface: &'static str,
    source: &'static str,
    destination: &'static str,
}

const fn flow(interface: &'static str, source: &'static str, destination: &'static str) -> Flow {
    Flow { interface, source, destination }
}

const FLOWS: [Flow; 12] = [
    // By a gateway, by another one for a longer prefix, on the link.
    flow(MONITOR_INTERFACE, "10.77.0.1", "192.0.2.7"),
    flow(MONITOR_INTERFACE, "10.77.0.1", "192.0.2.200"),
    flow(MONITOR_INTERFACE, "10.77.0.1", "10.78.2.77"),
    // By a nexthop object, into a blackhole, to a host that is not reachable, to this host, by the lower metric.
    flow(MONITOR_INTERFACE, "10.77.0.1", "198.51.100.7"),
    flow(MONITOR_INTERFACE, "10.77.0.1", "203.0.113.7"),
    flow(MONITOR_INTERFACE, "10.77.0.1", "203.0.113.200"),
    flow(MONITOR_INTERFACE, "10.77.0.1", "10.77.0.2"),
    flow(MONITOR_INTERFACE, "10.77.0.1", "10.90.0.1"),
    // By a rule for sources, IPv6, and by the other interface's table.
    flow(MONITOR_INTERFACE, "10.77.9.1", "192.0.2.7"),
    flow(MONITOR_INTERFACE, "2001:db8:77::1", "2001:db8:1::7"),
    flow(OTHER, "10.79.0.1", "192.0.2.7"),
    flow(OTHER, "10.79.0.1", "10.90.0.1"),
];

/// ifIndex and gateway; 0 and none where it is not sent out.
type Way = (u64, Option<IpAddr>);

struct Router {
    lab: Lab,
    panel: Panel,
    agent: AgentProcess,
    senders: [RawSender; 2],
    _far: Namespace,
    sent: u64,
    expected: Vec<Way>,
}

impl Router {
    fn start() -> Result<Self> {
        let lab = Lab::new(LabOptions::default())?;
        let (router, far) = (&lab.monitor, Namespace::new()?);
        let pair = |here: &str, there: &str, to: &Namespace| {
            router.ip(&["link", "add", here, "type", "veth", "peer", "name", there, "netns", to.name()])?;
            to.ip(&["link", "set", there, "up"])
        };
        pair(OTHER, "g1", &lab.generator)?;
        for number in ["1", "2"] {
            pair(&format!("o{number}"), &format!("f{number}"), &far)?;
        }
        ip(router, &[&format!("link set {OTHER} address {OTHER_MAC}"), "link set lo up"])?;
        let settings = [
            "net.ipv4.ip_forward=1",
            "net.ipv4.conf.all.rp_filter=0",
            "net.ipv6.conf.all.forwarding=1",
            "net.ipv6.conf.m0.disable_ipv6=0",
            "net.ipv6.conf.o2.disable_ipv6=0",
        ];
        router.run("sysctl", &[&["-qw"], &settings[..]].concat())?;
        let vrf = router.ip(&["link", "add", "red", "type", "vrf", "table", TABLE]).is_ok();
        if vrf {
            ip(router, &["link set red up", &format!("link set {OTHER} master red")])?;
        } else {
            eprintln!("this kernel has no VRF devices: a rule stands for one");
            ip(router, &[&format!("rule add priority 100 iif {OTHER} lookup {TABLE}")])?;
        }
        ip(
            router,
            &[
                &format!("link set {OTHER} up"),
                "link set o1 up",
                "link set o2 up",
                &format!("addr add 10.79.0.2/16 dev {OTHER}"),
                "addr add 10.78.1.1/24 dev o1",
                "addr add 10.78.2.1/24 dev o2",
                "addr add 2001:db8:77::2/64 dev m0 nodad",
                "addr add 2001:db8:78::1/64 dev o2 nodad",
                "route add 192.0.2.0/24 via 10.78.1.9",
                "route add 192.0.2.192/26 via 10.78.2.9",
                "nexthop add id 9 via 10.78.2.8 dev o2",
                "route add 198.51.100.0/24 nhid 9",
                "route add blackhole 203.0.113.0/25",
                "route add unreachable 203.0.113.128/25",
                "route add 10.90.0.0/16 via 10.78.1.7 metric 10",
                "route add 10.90.0.0/16 via 10.78.2.7 metric 20",
                "route add 2001:db8:1::/48 via 2001:db8:78::9",
                "rule add priority 200 from 10.77.9.0/24 lookup 120",
                "route add default via 10.78.2.5 table 120",
                &format!("route add 192.0.2.0/24 via 10.78.2.6 dev o2 onlink table {TABLE}"),
                &format!("route add prohibit default table {TABLE}"),
            ],
        )?;
        for (interface, gateways) in [("o1", ["1.7", "1.9", "1.8"]), ("o2", ["2.5", "2.8", "2.9"])] {
            for gateway in gateways {
                let neighbour =
                    format!("neigh replace 10.78.{gateway} lladdr 02:00:00:00:00:11 dev {interface}");
                ip(router, &[&neighbour])?;
            }
        }
        let panel = Panel::start(router, IpAddr::V4(Ipv4Addr::LOCALHOST))?;
        let collectors = panel.collectors();
        let collectors = collectors.each_ref().map(String::as_str);
        let arguments = ["-i", MONITOR_INTERFACE, "-i", OTHER, "--idle-timeout", "1s"];
        let agent = AgentProcess::start(router, &[&arguments[..], &collectors].concat())?;
        let senders =
            [RawSender::open(&lab.generator, GENERATOR_INTERFACE)?, RawSender::open(&lab.generator, "g1")?];
        Ok(Self { lab, panel, agent, senders, _far: far, sent: 0, expected: Vec::new() })
    }

    /// Sends a packet of each flow, enters what the kernel says of it, and waits for the records.
    fn round(&mut self) -> Result<()> {
        for flow in &FLOWS {
            let way = self.way(flow)?;
            let number = self.expected.len() as u16 + 1;
            self.expected.push(way);
            let (source, destination): (IpAddr, IpAddr) = (flow.source.parse()?, flow.destination.parse()?);
            let packet = udp(SocketAddr::from((source, number)), SocketAddr::from((destination, 9)), b"way");
            let ether_type = if source.is_ipv4() { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 };
            let to = if flow.interface == OTHER { [2, 0, 0, 0, 0, 3] } else { MONITOR_MAC };
            let sender = &self.senders[usize::from(flow.interface == OTHER)];
            sender.send(&ethernet(to, GENERATOR_MAC, ether_type, &packet))?;
            self.sent += 1;
        }
        let sent = self.sent;
        self.agent.wait_for_ledger("records", |ledger| {
            Ok(ledger.number("/records/end_reason/idle_timeout")? >= sent)
        })?;
        Ok(())
    }

    /// What the kernel does with a packet of the flow.
    fn way(&self, flow: &Flow) -> Result<Way> {
        let Flow { interface, source, destination } = flow;
        let ask = ["-j", "route", "get", destination, "from", source, "iif", interface];
        // A route that refuses is told as an error.
        let Ok(told) = self.lab.monitor.ip(&ask) else { return Ok((0, None)) };
        let told: Value = serde_json::from_str(&told.stdout)?;
        if told[0]["type"] == "local" {
            return Ok((0, None));
        }
        let device = told[0]["dev"].as_str().with_context(|| format!("{told}"))?;
        let gateway = told[0]["gateway"].as_str().map(str::parse).transpose()?;
        Ok((self.index(device)?, gateway))
    }

    fn index(&self, interface: &str) -> Result<u64> {
        let told = self.lab.monitor.ip(&["-j", "link", "show", interface])?;
        let told: Value = serde_json::from_str(&told.stdout)?;
        told[0]["ifindex"].as_u64().with_context(|| format!("{told}"))
    }

    /// What each flow's record says, by protocol.
    fn told(self) -> Result<Vec<Vec<Way>>> {
        let (sent, flows) = (self.sent, self.expected.len());
        let stopped = self.agent.stop(Signal::TERM)?;
        ensure!(stopped.exit_code == Some(0), "{stopped:?}");
        ensure!(stopped.ledger.context("no ledger")?.number("/packets/metered")? == sent);
        let verdict = self.panel.stop()?;
        ensure!(verdict.complaints.is_empty(), "{:?}", verdict.complaints);
        [NETFLOW_V9, IPFIX]
            .into_iter()
            .map(|protocol| {
                let records = verdict.nfcapd(protocol).records()?;
                (1..=flows as u64)
                    .map(|number| {
                        let mut of_flow = records.iter().filter(|record| record["src_port"] == number);
                        let record = of_flow.next().with_context(|| format!("no record of flow {number}"))?;
                        ensure!(of_flow.next().is_none(), "two records of flow {number}");
                        way_of(record)
                    })
                    .collect()
            })
            .collect()
    }
}

/// nfdump leaves out what is 0.
fn way_of(record: &Value) -> Result<Way> {
    let interface = record["output_snmp"].as_u64().unwrap_or(0);
    let hop = record["ip4_next_hop"].as_str().or(record["ip6_next_hop"].as_str());
    let hop: Option<IpAddr> = hop.map(str::parse).transpose()?;
    Ok((interface, hop.filter(|hop| !hop.is_unspecified())))
}

fn ip(namespace: &Namespace, commands: &[&str]) -> Result<()> {
    for command in commands {
        let words: Vec<&str> = match command {
            // Of addresses, `ip` tells the family itself, but not of prefixes of IPv6 routes.
            command if command.contains("2001:") => ["-6"].into_iter().chain(command.split(' ')).collect(),
            command => command.split(' ').collect(),
        };
        namespace.ip(&words).with_context(|| format!("ip {command}"))?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn records_say_where_packets_go_also_when_routes_change() {
    let mut router = Router::start().unwrap();
    let forwarded = |router: &Router| {
        let sent = |interface| router.lab.monitor.counters(interface).unwrap().tx_packets;
        sent("o1") + sent("o2")
    };
    let before = forwarded(&router);
    router.round().unwrap();
    // Some of them really have gone on.
    assert!(forwarded(&router) >= before + 5);
    let first = router.expected.clone();
    assert_eq!(first.iter().filter(|way| way.1.is_some()).count(), 7, "{first:?}");

    // Told by the kernel: replaced, gone, made.
    ip(
        &router.lab.monitor,
        &[
            "route replace 192.0.2.0/24 via 10.78.2.9",
            "route del 192.0.2.192/26",
            "nexthop replace id 9 via 10.78.1.8 dev o1",
            "route del blackhole 203.0.113.0/25",
            "route add 203.0.113.0/25 via 10.78.1.7",
            "route del 10.90.0.0/16 metric 10",
            "route replace 2001:db8:1::/48 via 2001:db8:78::8",
            "rule del priority 200",
            &format!("route replace 192.0.2.0/24 via 10.78.1.6 dev o1 onlink table {TABLE}"),
        ],
    )
    .unwrap();
    router.round().unwrap();
    let second = router.expected[FLOWS.len()..].to_vec();
    let changed = first.iter().zip(&second).filter(|(first, second)| first != second).count();
    assert_eq!(changed, 7, "{first:?} {second:?}");

    // Untold: the routes of an interface that is down and of a nexthop object that is gone.
    ip(&router.lab.monitor, &["link set o2 down", "nexthop del id 9"]).unwrap();
    router.round().unwrap();
    let third = &router.expected[2 * FLOWS.len()..];
    assert!(third[0] == (0, None) && third[3] == (0, None), "{third:?}");

    let expected = router.expected.clone();
    for told in router.told().unwrap() {
        assert_eq!(told, expected);
    }
}
