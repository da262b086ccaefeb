//! What packets to a collector look like on the wire, and options of sockets that cannot be had.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tests::agent::{AgentProcess, Signal, binary};
use tests::judges::{Nfcapd, Tshark};
use tests::lab::{MONITOR_INTERFACE, Namespace};
use tests::sctp_sink;

use crate::support::{
    TEN_FLOWS_PACKETS, assert_refused, assert_stopped, flows, lab, netflow, send_ten_flows, write_pcap,
};

#[test]
#[ignore = "needs root: network namespaces"]
fn datagrams_have_the_source_dscp_and_ttl_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let capture = directory.path().join("capture.pcap");
    write_pcap(&capture, &flows(3)).unwrap();
    let namespace = Namespace::new().unwrap();
    let tshark = Tshark::start(&namespace, "lo", "udp dst port 9995").unwrap();
    let options = "interface=lo&dscp=46&ttl=9";
    let urls = [
        format!("udp://127.0.0.1:9995?bind=127.0.0.9&{options}"),
        format!("udp://[::1]:9995?bind=::1&{options}"),
        "udp://127.0.0.2:9995".to_owned(),
    ];
    let urls = urls.each_ref().map(String::as_str);
    let stopped =
        AgentProcess::read(&namespace, &capture, &["-c", urls[0], "-c", urls[1], "-c", urls[2]]).unwrap();
    assert_eq!(stopped.exit_code, Some(0), "{}", stopped.stderr);
    let wire = tshark.stop().unwrap();
    let of_ipv4 = wire.fields(&["ip.src", "ip.dst", "ip.dsfield.dscp", "ip.ttl"]).unwrap();
    let of_ipv6 = wire.fields(&["ipv6.src", "ipv6.tclass.dscp", "ipv6.hlim"]).unwrap();
    let [mut asked, mut plain, mut ipv6] = [0; 3];
    for (four, six) in of_ipv4.iter().zip(&of_ipv6) {
        let four: Vec<&str> = four.iter().flatten().map(String::as_str).collect();
        let six: Vec<&str> = six.iter().flatten().map(String::as_str).collect();
        match (four.as_slice(), six.as_slice()) {
            (["127.0.0.9", "127.0.0.1", "46", "9"], []) => asked += 1,
            ([_, "127.0.0.2", "0", "64"], []) => plain += 1,
            ([], ["::1", "46", "9"]) => ipv6 += 1,
            other => panic!("{other:?}\n{}", wire.text().unwrap()),
        }
    }
    assert!(asked > 0 && asked == plain && plain == ipv6, "{asked} {plain} {ipv6}");
}

#[test]
fn options_that_the_kernel_refuses_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let capture = directory.path().join("capture.pcap");
    write_pcap(&capture, &flows(1)).unwrap();
    let capture = capture.to_str().unwrap();
    for (options, reason) in [
        ("bind=192.0.2.1", "bind=192.0.2.1: this host has no such address"),
        ("interface=no-such-port", "interface=no-such-port: there is no such interface"),
    ] {
        let refused = netflow(&["read", capture, "-c", &format!("udp://127.0.0.1:9995?{options}")]);
        assert_refused(&refused, 1, &["collector 127.0.0.1:9995", reason]);
    }
    let refused = netflow(&["read", capture, "-c", "udp://localhost:9995?bind=2001:db8::1"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn a_name_that_gets_another_address_is_followed_by_a_new_session() {
    // UDP-RST-1
    let lab = lab();
    let directory = tempfile::tempdir().unwrap();
    let hosts = directory.path().join("hosts");
    fs::write(&hosts, "127.0.0.2 collector.test\n").unwrap();
    let nfcapd = |host: [u8; 4]| Nfcapd::start(&lab.monitor, (host, 9995).into()).unwrap();
    let (before, after) = (nfcapd([127, 0, 0, 2]), nfcapd([127, 0, 0, 3]));

    // The agent in a mount namespace with a hosts file of its own.
    let (hosts_path, binary) = (hosts.to_str().unwrap(), binary().unwrap());
    let script = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
    let words = ["--mount", "sh", "-c", script, hosts_path, binary.to_str().unwrap()];
    let arguments = ["-i", MONITOR_INTERFACE, "--idle-timeout", "1s", "-c", "collector.test:9995?resolve=1s"];
    let unshare = Path::new("/usr/bin/unshare");
    let mut agent = AgentProcess::start_program(unshare, &lab.monitor, &words, &arguments).unwrap();
    let sent = |records: u64| {
        move |ledger: &tests::ledger::Ledger| Ok(ledger.number("/destinations/0/sent/records")? == records)
    };
    send_ten_flows(&lab);
    agent.wait_for_ledger("records", sent(10)).unwrap();
    fs::write(&hosts, "127.0.0.3 collector.test\n").unwrap();
    let said = "collector collector.test:9995: its address is 127.0.0.3:9995 now";
    agent.process().wait_for_stderr(said, Duration::from_secs(30)).unwrap();
    send_ten_flows(&lab);
    agent.wait_for_ledger("records", sent(20)).unwrap();
    assert_stopped(&agent.stop(Signal::TERM).unwrap(), 2 * TEN_FLOWS_PACKETS);
    for nfcapd in [before, after] {
        let summary = nfcapd.stop().unwrap().summary;
        assert_eq!((summary.flows, summary.packets), (10, TEN_FLOWS_PACKETS), "{summary:?}");
        assert_eq!((summary.sequence_errors, summary.bad_packets), (0, 0), "{summary:?}");
    }
}

#[test]
fn a_kernel_without_sctp_is_told_at_the_start() {
    // SCTP-11
    if sctp_sink::is_here() {
        eprintln!("skipped: this kernel has SCTP");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let capture = directory.path().join("capture.pcap");
    write_pcap(&capture, &flows(1)).unwrap();
    let refused = netflow(&["read", capture.to_str().unwrap(), "-c", "sctp://127.0.0.1"]);
    let reason = "collector sctp:127.0.0.1:4739: this kernel has no SCTP: load its module (modprobe sctp)";
    assert_refused(&refused, 1, &[reason]);
}
