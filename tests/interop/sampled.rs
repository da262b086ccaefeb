//! Sampling, as collectors learn of it: they multiply, the exporter does not.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result, ensure};
use tests::agent::{AgentProcess, Signal};
use tests::frames::{frame, udp};
use tests::judges::{IPFIX, NETFLOW_V9, Netflume, Nfacctd, Nfcapd, Tshark};
use tests::lab::{GENERATOR_INTERFACE, Lab, LabOptions, MONITOR_INTERFACE};
use tests::raw::RawSender;

const PACKETS: u64 = 2000;
/// Where pmacct and netflume listen.
const PMACCT: u16 = 4001;
const NETFLUME: u16 = 4002;

/// What one run with `--sampling` gave.
struct Sampled {
    metered: u64,
    sampled_out: u64,
    /// What nfdump makes of it.
    collected: [u64; 2],
    /// The rates that pmacct and netflume tell of each row, or record, and their packets, not multiplied.
    told: [(Vec<u64>, u64); 2],
    /// What tshark finds: sampling intervals, algorithms, packets of records.
    intervals: Vec<String>,
    algorithms: Vec<String>,
    exported: u64,
}

fn run(sampling: &str) -> Result<Sampled> {
    let lab = Lab::new(LabOptions::default())?;
    let ports = [NETFLOW_V9.1, IPFIX.1];
    let [v9, ipfix] = ports.map(|port| Nfcapd::start(&lab.monitor, (Ipv4Addr::LOCALHOST, port).into()));
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let (pmacct, netflume) =
        (Nfacctd::start(&lab.monitor, at(PMACCT))?, Netflume::start(&lab.monitor, at(NETFLUME))?);
    let tshark =
        Tshark::start(&lab.monitor, "lo", "udp and (dst portrange 2000-3000 or dst portrange 4700-4800)")?;
    let urls = [
        format!("udp://127.0.0.1:{}?protocol=v9", ports[0]),
        format!("udp://127.0.0.1:{}", ports[1]),
        format!("udp://127.0.0.1:{PMACCT}"),
        format!("udp://127.0.0.1:{NETFLUME}"),
    ];
    let mut arguments = vec!["-i", MONITOR_INTERFACE, "--sampling", sampling];
    urls.iter().for_each(|url| arguments.extend(["-c", url]));
    let agent = AgentProcess::start(&lab.monitor, &arguments)?;
    let sender = RawSender::open(&lab.generator, GENERATOR_INTERFACE)?;
    let to: SocketAddr = (Ipv4Addr::new(10, 2, 0, 2), 53).into();
    for packet in 0..PACKETS {
        let port = 1000 + (packet % 50) as u16;
        sender.send(&frame(&udp((Ipv4Addr::new(10, 1, 0, 1), port).into(), to, &[0; 72])))?;
    }
    lab.wait_for_packets(PACKETS)?;
    let stopped = agent.stop(Signal::TERM)?;
    ensure!(stopped.exit_code == Some(0), "{}", stopped.stderr);
    let capture = tshark.stop()?.decode_as_cflow(ports[0]).decode_as_cflow(ports[1]);
    let complaints = capture.expert_messages()?;
    ensure!(complaints.is_empty(), "{complaints:?}");
    let of = |field| -> Result<Vec<String>> {
        Ok(capture.fields(&[field])?.into_iter().flatten().flatten().collect())
    };
    let ledger = stopped.ledger.unwrap();
    ensure!(ledger.number("/packets/seen")? == PACKETS, "{}", ledger.0);
    let (pmacct, netflume) = (pmacct.stop()?, netflume.stop()?);
    ensure!(netflume.complaints.is_empty(), "{:?}", netflume.complaints);
    let number = |value: &serde_json::Value| {
        value.as_u64().or_else(|| value.as_str()?.parse().ok()).with_context(|| format!("no number: {value}"))
    };
    let rates = pmacct.rows.iter().map(|row| number(&row["sampling_rate"])).collect::<Result<_>>()?;
    let packets_read = netflume.flows().iter().map(|flow| flow.packets).sum();
    let packets: Vec<u64> = of("cflow.packets")?.iter().map(|packets| packets.parse().unwrap()).collect();
    Ok(Sampled {
        metered: ledger.number("/packets/metered")?,
        sampled_out: ledger.number("/packets/sampled_out")?,
        collected: [v9?.stop()?.summary.packets, ipfix?.stop()?.summary.packets],
        told: [(rates, pmacct.sum("packets")), (netflume.rates, packets_read)],
        intervals: of("cflow.sampling_interval")?,
        algorithms: of("cflow.selector_algorithm")?,
        exported: packets.iter().sum(),
    })
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn collectors_learn_the_rate_before_the_records_and_multiply_by_it() {
    // OPT-SAMP-1, OPT-SAMP-3
    for (sampling, rate, algorithm) in [("count:10", 10, "1"), ("random:4", 4, "4")] {
        let sampled = run(sampling).unwrap();
        assert_eq!(sampled.metered + sampled.sampled_out, PACKETS, "{sampling}");
        assert!(sampled.metered > 0 && sampled.sampled_out > 0, "{sampling}");
        // To both, as they were metered.
        assert_eq!(sampled.exported, 2 * sampled.metered, "{sampling}");
        assert_eq!(sampled.collected, [sampled.metered * rate; 2], "{sampling}");
        for (rates, packets) in &sampled.told {
            assert!(!rates.is_empty() && rates.iter().all(|told| *told == rate), "{sampling}: {rates:?}");
            assert_eq!(*packets, sampled.metered, "{sampling}");
        }
        assert!(sampled.intervals.len() >= 2, "{sampling}");
        assert!(sampled.intervals.iter().all(|interval| *interval == rate.to_string()), "{sampling}");
        let in_other_form = |algorithm: &String| u64::from_str_radix(algorithm.trim_start_matches("0x"), 16);
        let algorithms: Vec<_> = sampled.algorithms.iter().map(in_other_form).collect();
        assert!(!algorithms.is_empty() && algorithms.iter().all(|it| *it == Ok(algorithm.parse().unwrap())));
    }
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn each_report_says_of_one_instant_how_many_packets_came_to_the_selector_and_how_many_it_took() {
    // PSAMP-STAT-1, PSAMP-STAT-2, PSAMP-SEQ-1
    const ONE_IN: u64 = 10;
    let lab = Lab::new(LabOptions::default()).unwrap();
    let collector = Nfcapd::start(&lab.monitor, (Ipv4Addr::LOCALHOST, IPFIX.1).into()).unwrap();
    let tshark = Tshark::start(&lab.monitor, "lo", "udp and dst portrange 2000-5000").unwrap();
    let (sampling, url) = (format!("count:{ONE_IN}"), format!("udp://127.0.0.1:{}", IPFIX.1));
    let arguments = ["-i", MONITOR_INTERFACE, "--sampling", &sampling, "--statistics-interval", "300ms"];
    let arguments: Vec<&str> =
        arguments.into_iter().chain(["--drain-interval", "100ms", "-c", &url]).collect();
    let agent = AgentProcess::start(&lab.monitor, &arguments).unwrap();
    let sender = RawSender::open(&lab.generator, GENERATOR_INTERFACE).unwrap();
    let to: SocketAddr = (Ipv4Addr::new(10, 2, 0, 2), 53).into();
    // They come while reports are made.
    for packet in 0..PACKETS {
        let port = 1000 + (packet % 50) as u16;
        sender.send(&frame(&udp((Ipv4Addr::new(10, 1, 0, 1), port).into(), to, &[0; 72]))).unwrap();
        if packet % 100 == 0 {
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }
    lab.wait_for_packets(PACKETS).unwrap();
    let stopped = agent.stop(Signal::TERM).unwrap();
    assert_eq!(stopped.exit_code, Some(0), "{}", stopped.stderr);
    let ledger = stopped.ledger.unwrap();
    let metered = ledger.number("/packets/metered").unwrap();
    let read = collector.stop().unwrap();
    assert_eq!(read.summary.packets, metered * ONE_IN, "{}", read.log);
    let capture = tshark.stop().unwrap().decode_as_cflow(IPFIX.1);
    assert_eq!(capture.expert_messages().unwrap(), [""; 0]);
    let fields = [
        "cflow.selection_sequence_id",
        "cflow.selector_id_total_pkts_observed",
        "cflow.selector_id_total_pkts_selected",
    ];
    let reports: Vec<[u64; 2]> = capture
        .fields(&fields)
        .unwrap()
        .iter()
        .filter(|packet| !packet[1].is_empty())
        .map(|packet| {
            // The report of the sequence, and its statistics.
            assert_eq!(packet[0], ["1", "1"]);
            [&packet[1], &packet[2]].map(|values| values[0].parse().unwrap())
        })
        .collect();
    assert_eq!(reports.last(), Some(&[PACKETS, metered]), "{}", ledger.0);
    // Each CPU counts by itself.
    let slack = ONE_IN * std::thread::available_parallelism().unwrap().get() as u64;
    for [observed, selected] in &reports {
        assert!(observed.abs_diff(selected * ONE_IN) <= slack, "{reports:?}");
    }
    assert!(reports.iter().any(|[observed, _]| (1..PACKETS).contains(observed)), "{reports:?}");
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn interfaces_have_their_names_in_options_data_and_a_new_alias_is_told() {
    // OPT-IF-1
    let lab = Lab::new(LabOptions::default()).unwrap();
    let alias = |text: &str| {
        lab.monitor.ip(&["link", "set", MONITOR_INTERFACE, "alias", text]).unwrap();
    };
    alias("uplink");
    let ports = [NETFLOW_V9.1, IPFIX.1];
    let collectors =
        ports.map(|port| Nfcapd::start(&lab.monitor, (Ipv4Addr::LOCALHOST, port).into()).unwrap());
    let tshark = Tshark::start(&lab.monitor, "lo", "udp and dst portrange 2000-5000").unwrap();
    let urls = [format!("udp://127.0.0.1:{}?protocol=v9", ports[0]), format!("udp://127.0.0.1:{}", ports[1])];
    let told = ["--interface-table", "--exporter-name", "wache an der Brücke"];
    let arguments = [&["-i", MONITOR_INTERFACE][..], &told, &["-c", &urls[0], "-c", &urls[1]]].concat();
    let agent = AgentProcess::start(&lab.monitor, &arguments).unwrap();
    let sender = RawSender::open(&lab.generator, GENERATOR_INTERFACE).unwrap();
    let to: SocketAddr = (Ipv4Addr::new(10, 2, 0, 2), 53).into();
    sender.send(&frame(&udp((Ipv4Addr::new(10, 1, 0, 1), 1000).into(), to, &[0; 72]))).unwrap();
    lab.wait_for_packets(1).unwrap();
    let octets = |ledger: &tests::ledger::Ledger| ledger.sum("/destinations/1/sent");
    agent.wait_for_ledger("first table", |ledger| Ok(octets(ledger)? > 0)).unwrap();
    alias("way out");
    // It is told within a second, and netlink's own time.
    std::thread::sleep(std::time::Duration::from_secs(3));
    let stopped = agent.stop(Signal::TERM).unwrap();
    assert_eq!(stopped.exit_code, Some(0), "{}", stopped.stderr);
    for collector in collectors {
        assert_eq!(collector.stop().unwrap().summary.packets, 1);
    }
    let capture = tshark.stop().unwrap().decode_as_cflow(ports[0]).decode_as_cflow(ports[1]);
    assert_eq!(capture.expert_messages().unwrap(), [""; 0]);
    let of = |field| -> Vec<String> {
        capture.fields(&[field]).unwrap().into_iter().flatten().flatten().collect()
    };
    let exporters = of("cflow.observation_domain_name");
    assert!(!exporters.is_empty() && exporters.iter().all(|name| name == told[2]), "{exporters:?}");
    let (names, descriptions) = (of("cflow.if_name"), of("cflow.if_descr"));
    assert!(!names.is_empty() && names.iter().all(|name| name == MONITOR_INTERFACE), "{names:?}");
    for text in ["uplink", "way out"] {
        assert!(descriptions.iter().filter(|told| *told == text).count() >= 2, "{descriptions:?}");
    }
}
