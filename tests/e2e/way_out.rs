//! `interface=` against a route that leads elsewhere: the same collector's address stands behind two interfaces.

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tests::agent::AgentProcess;
use tests::captures;
use tests::frames::{frame, udp};
use tests::judges::{IPFIX, Nfcapd};
use tests::lab::Namespace;
use tests::stream_sink::StreamSink;

const COLLECTOR: &str = "192.0.2.7";
const FLOWS: u16 = 20;

/// Two hosts that both have the collector's address; the better route leads to the first.
struct Fork {
    here: Namespace,
    hosts: [Namespace; 2],
}

impl Fork {
    fn new() -> Result<Self> {
        let (here, hosts) = (Namespace::new()?, [Namespace::new()?, Namespace::new()?]);
        for (number, host) in hosts.iter().enumerate() {
            let (way, metric) = (format!("way{number}"), (10 + number).to_string());
            let at = |last: u8| format!("10.99.{number}.{last}");
            let pair = ["link", "add", &way, "type", "veth", "peer", "name", "back", "netns", host.name()];
            here.ip(&pair)?;
            for (namespace, name, address) in [(&here, way.as_str(), at(1)), (host, "back", at(2))] {
                namespace.ip(&["addr", "add", &format!("{address}/24"), "dev", name])?;
                namespace.ip(&["link", "set", name, "up"])?;
            }
            host.ip(&["addr", "add", &format!("{COLLECTOR}/32"), "dev", "lo"])?;
            let route = ["route", "add", COLLECTOR, "via", &at(2), "dev", &way, "metric", &metric];
            here.ip(&route)?;
        }
        Ok(Self { here, hosts })
    }
}

#[test]
#[ignore = "needs root: network namespaces"]
fn messages_leave_through_the_interface_asked_for_whatever_the_routes_say() {
    for (interface, expected) in [(None, [FLOWS, 0]), (Some("way1"), [0, FLOWS])] {
        arrived(interface, expected).unwrap();
    }
}

fn arrived(interface: Option<&str>, expected: [u16; 2]) -> Result<()> {
    let (fork, directory) = (Fork::new()?, tempfile::tempdir()?);
    let address = (COLLECTOR.parse::<Ipv4Addr>()?, IPFIX.1).into();
    let mut collectors = Vec::new();
    for (number, host) in fork.hosts.iter().enumerate() {
        let sink = StreamSink::start(host, address, directory.path(), &format!("host{number}"))?;
        collectors.push((Nfcapd::start(host, address)?, sink));
    }
    let file = directory.path().join("flows.pcap");
    let packet = |port| {
        let source = (Ipv4Addr::new(10, 1, 0, 1), port).into();
        frame(&udp(source, (Ipv4Addr::new(10, 2, 0, 2), 53).into(), &[0; 72]))
    };
    captures::write(&file, &(1..=FLOWS).map(packet).collect::<Vec<_>>(), Duration::from_millis(1))?;
    let urls = ["udp", "tcp"].map(|scheme| {
        let option = interface.map(|name| format!("?interface={name}")).unwrap_or_default();
        format!("{scheme}://{address}{option}")
    });
    let stopped = AgentProcess::read(&fork.here, &file, &["-c", &urls[0], "-c", &urls[1]])?;
    ensure!(stopped.exit_code == Some(0), "{}", stopped.stderr);
    let ledger = stopped.ledger.context("no ledger")?;
    for place in 0..2 {
        let sent = ledger.number(&format!("/destinations/{place}/sent/records"))?;
        ensure!(sent == u64::from(FLOWS), "{interface:?}: {}", ledger.0);
    }
    for ((nfcapd, sink), expected) in collectors.into_iter().zip(expected) {
        let expected = u64::from(expected);
        // Connections are there before the sink has taken them.
        let deadline = Instant::now() + Duration::from_secs(10);
        while (sink.connections() as u64) < expected.min(1) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        let connections = sink.connections();
        sink.stop()?;
        let flows = nfcapd.stop()?.summary.flows;
        ensure!(
            flows == expected && connections as u64 == expected.min(1),
            "{interface:?}: {flows} flows by UDP, {connections} connections, not {expected}"
        );
    }
    Ok(())
}
