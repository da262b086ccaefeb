//! The table of interfaces in options data, while interfaces come, are named anew and go.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tests::agent::{AgentProcess, Signal};
use tests::judges::{IPFIX, NETFLOW_V9, Netflume, Tshark, TsharkCapture};
use tests::lab::Namespace;

/// A step is told within a second, and netlink's own time.
const STEP: Duration = Duration::from_secs(3);
const NETFLUME: u16 = 4800;

fn names(table: &[(u32, &str)]) -> BTreeSet<(String, String)> {
    table.iter().map(|(index, name)| (index.to_string(), (*name).to_owned())).collect()
}

/// What the messages to a port say, one after the other, without repetitions.
fn tables(capture: &TsharkCapture, port: u16) -> Result<Vec<BTreeSet<(String, String)>>> {
    let mut tables = Vec::new();
    for packet in capture.fields(&["udp.dstport", "cflow.inputint", "cflow.if_name"])? {
        if packet[0] != [port.to_string()] || packet[2].is_empty() {
            continue;
        }
        ensure!(packet[1].len() == packet[2].len(), "{packet:?}");
        tables.push(packet[1].iter().cloned().zip(packet[2].iter().cloned()).collect());
    }
    tables.dedup();
    Ok(tables)
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn the_table_tells_of_interfaces_that_come_are_named_anew_and_go() {
    // OPT-IF-1
    followed().unwrap();
}

fn followed() -> Result<()> {
    let namespace = Namespace::new()?;
    let create = |name: &str, index: &str| -> Result<()> {
        let peer = format!("peer{index}");
        let pair = ["link", "add", name, "index", index, "type", "veth", "peer", "name", &peer];
        namespace.ip(&pair)?;
        namespace.ip(&["link", "set", &peer, "up"])?;
        namespace.ip(&["link", "set", name, "up"])?;
        Ok(())
    };
    let netflume = Netflume::start(&namespace, SocketAddr::from((Ipv4Addr::LOCALHOST, NETFLUME)))?;
    let tshark = Tshark::start(&namespace, "lo", "udp and dst portrange 2000-5000")?;
    let urls = [
        format!("udp://127.0.0.1:{}?protocol=v9", NETFLOW_V9.1),
        format!("udp://127.0.0.1:{}", IPFIX.1),
        format!("udp://127.0.0.1:{NETFLUME}"),
    ];
    create("table0", "71")?;
    let mut arguments = vec!["-i", "table*", "-i", "other", "--interface-table", "--drain-interval", "200ms"];
    urls.iter().for_each(|url| arguments.extend(["-c", url]));
    let mut agent = AgentProcess::start(&namespace, &arguments)?;
    thread::sleep(STEP);
    create("table1", "72")?;
    thread::sleep(STEP);
    // Kernels before 6.0 or so name no interface anew that is up.
    for change in [&["down"][..], &["name", "other"], &["up"]] {
        let name = if change == ["up"] { "other" } else { "table0" };
        namespace.ip(&[&["link", "set", name][..], change].concat())?;
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    while !agent.process().stderr().contains("other") {
        ensure!(Instant::now() < deadline, "{}", agent.process().stderr());
        thread::sleep(Duration::from_millis(20));
    }
    thread::sleep(STEP);
    namespace.ip(&["link", "del", "table1"])?;
    thread::sleep(STEP);
    let stopped = agent.stop(Signal::TERM)?;
    ensure!(stopped.exit_code == Some(0), "{}", stopped.stderr);
    let capture =
        [NETFLOW_V9.1, IPFIX.1, NETFLUME].into_iter().fold(tshark.stop()?, TsharkCapture::decode_as_cflow);
    let complaints = capture.expert_messages()?;
    ensure!(complaints.is_empty(), "{complaints:?}");
    let steps: [&[(u32, &str)]; 4] = [
        &[(71, "table0")],
        &[(71, "table0"), (72, "table1")],
        &[(71, "other"), (72, "table1")],
        &[(71, "other")],
    ];
    for port in [NETFLOW_V9.1, IPFIX.1, NETFLUME] {
        let told = tables(&capture, port)?;
        let mut rest = told.iter();
        let in_order = steps.iter().all(|step| rest.any(|table| *table == names(step)));
        ensure!(in_order, "{port}: {told:?}\n{}", stopped.stderr);
    }
    let netflume = netflume.stop()?;
    ensure!(netflume.complaints.is_empty(), "{:?}", netflume.complaints);
    let told: BTreeSet<String> = netflume
        .options
        .iter()
        .flat_map(|(_, record)| record.as_object().into_iter().flat_map(|fields| fields.values()))
        .filter_map(|value| value.as_str().map(|text| text.trim_end_matches('\0').to_owned()))
        .collect();
    for name in ["table0", "table1", "other"] {
        ensure!(told.contains(name), "netflume has no {name}: {:?}", netflume.options);
    }
    Ok(())
}
