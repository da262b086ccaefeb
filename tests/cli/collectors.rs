//! Collectors that cannot be had, and the built-in one: `netflow collect` prints what `netflow read` sends.

use std::net::UdpSocket;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tests::agent::binary;
use tests::process::{COMMAND_TIMEOUT, Finished, Process, command};

use crate::support::{assert_refused, flows, netflow, write_pcap};

#[test]
fn a_name_that_does_not_resolve_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let capture = directory.path().join("capture.pcap");
    write_pcap(&capture, &flows(1)).unwrap();
    // A label of 64 octets is refused before anybody asks a name server (RFC 1035 section 2.3.4).
    let host = format!("{}.invalid", "x".repeat(64));
    let refused = netflow(&["read", capture.to_str().unwrap(), "-c", &format!("udp://{host}:9995")]);
    assert_refused(&refused, 1, &[&format!("collector {host}:9995: cannot resolve '{host}'")]);
}

#[test]
fn a_port_in_use_is_named_in_both_families() {
    for (bound, listen) in [
        ("127.0.0.1:0", "udp://127.0.0.1:"),
        ("[::1]:0", "udp://[::1]:"),
        ("[::]:0", "udp://[::]:"),
        ("0.0.0.0:0", "udp://[::]:"),
    ] {
        let holder = UdpSocket::bind(bound).unwrap();
        let listen = format!("{listen}{}", holder.local_addr().unwrap().port());
        let refused = netflow(&["collect", "--listen", &listen]);
        assert_refused(&refused, 1, &[&listen["udp://".len()..], "the port is in use by another program"]);
    }
    let refused = netflow(&["collect", "--listen", "udp://192.0.2.1:4739"]);
    assert_refused(&refused, 1, &["cannot listen on 192.0.2.1:4739", "this machine has no such address"]);
}

/// Sends 30 flows by `read` to `collect`, and returns what that printed.
fn collected(host: &str, protocol: &str, format: &str) -> Finished {
    let directory = tempfile::tempdir().unwrap();
    let capture = directory.path().join("capture.pcap");
    write_pcap(&capture, &flows(30)).unwrap();
    let port = UdpSocket::bind((host.trim_matches(['[', ']']), 0)).unwrap().local_addr().unwrap().port();
    let url = format!("udp://{host}:{port}");
    let arguments = ["collect", "--listen", &url, "--format", format];
    let mut collector = Process::spawn(command(binary().unwrap().to_str().unwrap(), arguments)).unwrap();
    collector.wait_for_stderr("listening on", COMMAND_TIMEOUT).unwrap();
    let sent = netflow(&["read", capture.to_str().unwrap(), "-c", &format!("{url}?protocol={protocol}")]);
    assert!(sent.status.success() && sent.stdout.is_empty(), "{sent:?}");
    collector.signal(Signal::TERM).unwrap();
    let finished = collector.finish(Duration::from_secs(20)).unwrap();
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
    finished
}

#[test]
fn what_read_sends_is_what_collect_prints() {
    for (host, protocol, version) in
        [("127.0.0.1", "ipfix", 10), ("127.0.0.1", "v9", 9), ("127.0.0.1", "v5", 5), ("[::1]", "ipfix", 10)]
    {
        let json = collected(host, protocol, "json").stdout;
        let flows: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(flows.len(), 30, "{protocol}: {json}");
        for flow in &flows {
            assert_eq!(flow["protocolVersion"], version, "{flow}");
            assert_eq!(flow["sourceIPv4Address"], "10.1.0.1", "{flow}");
            assert_eq!(flow["destinationTransportPort"], 53, "{flow}");
            assert_eq!(flow["packetDeltaCount"], 1, "{flow}");
            assert_eq!(flow["octetDeltaCount"], 36, "{flow}");
        }
        let table = collected(host, protocol, "table").stdout;
        assert_eq!(table.lines().count(), 31, "{protocol}: {table}");
        assert_eq!(table.matches("10.1.0.1:7 -> 10.2.0.2:53").count(), 1, "{protocol}: {table}");
    }
}
