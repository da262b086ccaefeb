//! What this exporter sends over connections is what this collector reads, options data included; and its packets on the wire.

use serde_json::Value;
use tests::agent::{AgentProcess, Signal, binary};
use tests::certificates::{Authority, Leaf};
use tests::judges::Tshark;
use tests::lab::Namespace;
use tests::process::COMMAND_TIMEOUT;

use crate::support::{flows, write_pcap};

const FLOWS: u16 = 2000;
const PORT: u16 = 24_739;

#[test]
#[ignore = "needs root: network namespaces"]
fn over_tcp_tls_and_dtls_the_own_collector_reads_all_and_packets_have_source_dscp_and_ttl() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name).display().to_string();
    let capture = directory.path().join("capture.pcap");
    write_pcap(&capture, &flows(FLOWS)).unwrap();
    let authority = Authority::new("authority").unwrap();
    authority.write(directory.path(), "ca").unwrap();
    for (leaf, name) in [(&Leaf::SERVER, "server"), (&Leaf::CLIENT, "client")] {
        authority.issue(leaf).unwrap().write(directory.path(), name).unwrap();
    }
    let (ca, server, client) = (file("ca.pem"), file("server.pem"), file("client.pem"));
    let namespace = Namespace::new().unwrap();
    for scheme in ["tcp", "tls", "dtls"] {
        let [listening, sending] = match scheme {
            "tcp" => [String::new(), String::new()],
            _ => [format!("?cert={server}&key={server}&client-ca={ca}"), format!("&ca={ca}&cert={client}")],
        };
        let listen = format!("{scheme}://127.0.0.1:{PORT}{listening}");
        let arguments = ["collect", "--listen", &listen, "--format", "json"];
        let mut collector = namespace.spawn(binary().unwrap().to_str().unwrap(), &arguments).unwrap();
        collector.wait_for_stderr("listening on", COMMAND_TIMEOUT).unwrap();
        let tshark = Tshark::start(&namespace, "lo", "src host 127.0.0.9 and (tcp or udp)").unwrap();
        let url = format!(
            "{scheme}://127.0.0.1:{PORT}?bind=127.0.0.9&interface=lo&dscp=46&ttl=9&retry=1s{sending}"
        );
        let stopped =
            AgentProcess::read(&namespace, &capture, &["-c", &url, "--statistics-interval", "60s"]).unwrap();
        assert_eq!(stopped.exit_code, Some(0), "{scheme}: {}", stopped.stderr);
        let ledger = stopped.ledger.unwrap();
        let sent = |what: &str| ledger.number(&format!("/destinations/0/sent/{what}")).unwrap();
        assert_eq!(sent("records"), u64::from(FLOWS), "{scheme}: {}", stopped.stderr);
        collector.signal(Signal::TERM).unwrap();
        let collected = collector.finish(COMMAND_TIMEOUT).unwrap();
        assert!(collected.stderr.contains("nothing lost"), "{scheme}: {}", collected.stderr);
        let lines = collected.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let (options, records): (Vec<_>, Vec<_>) = lines.partition(|line| line["optionsTemplateId"].is_u64());
        let packets: u64 = records.iter().map(|record| record["packetDeltaCount"].as_u64().unwrap()).sum();
        assert_eq!((records.len() as u64, packets), (sent("records"), sent("packets")), "{scheme}");
        let told = options.iter().filter_map(|line| line["exportedFlowRecordTotalCount"].as_u64()).max();
        assert_eq!(told, Some(FLOWS.into()), "{scheme}: {options:?}");

        let wire = tshark.stop().unwrap();
        let fields = ["ip.dst", "ip.proto", "ip.dsfield.dscp", "ip.ttl", "tcp.len", "tcp.flags.syn"];
        let protocol = if scheme == "dtls" { "17" } else { "6" };
        let mut whole = 0;
        for packet in wire.fields(&fields).unwrap() {
            let value = |place: usize| packet[place].first().map_or("", String::as_str);
            // The last acknowledgements of a connection are the kernel's, not the socket's.
            let is_of_socket = value(4) != "0" || ["1", "True"].contains(&value(5));
            if is_of_socket {
                let found = [value(0), value(1), value(2), value(3)];
                assert_eq!(found, ["127.0.0.1", protocol, "46", "9"], "{scheme}: {packet:?}");
                whole += 1;
            }
        }
        assert!(whole > 5, "{scheme}: {whole} packets");
    }
}
