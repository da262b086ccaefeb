//! Addresses that must not be seen, and a key that nobody may see.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use crate::support::{assert_refused, flows, netflow, write_pcap};

const KEY: &str = "f7d2a1904c3b5e68f7d2a1904c3b5e68f7d2a1904c3b5e68f7d2a1904c3b5e68";

fn key(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn neither_flows_nor_log_show_original_addresses_or_the_key() {
    let directory = tempfile::tempdir().unwrap();
    let (capture, key_file) = (directory.path().join("capture.pcap"), directory.path().join("key"));
    let (capture_text, key_text) = (capture.to_str().unwrap(), key_file.to_str().unwrap());
    write_pcap(&capture, &flows(5)).unwrap();
    key(&key_file, KEY, 0o600);
    let permuted = ["--anonymise", "ipv4=crypto-pan", "--anonymisation-key", key_text];
    let truncated = ["--anonymise", "ipv4=/12"];
    for format in ["json", "table"] {
        for rules in [&permuted[..], &truncated] {
            let options = ["--format", format, "--log-level", "trace"];
            let finished = netflow(&[&["read", capture_text][..], rules, &options].concat());
            assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
            assert!(finished.stdout.lines().count() >= 5, "{}", finished.stdout);
            for text in [&finished.stdout, &finished.stderr] {
                for secret in ["10.1.0.1", "10.2.0.2", KEY, "247, 210, 161"] {
                    assert!(!text.contains(secret), "{secret} is in: {text}");
                }
            }
            assert!(finished.stderr.contains("anonymisation: IPv4 addresses "), "{}", finished.stderr);
            assert!(
                finished.stderr.contains("IPv6 addresses are exported as they are"),
                "{}",
                finished.stderr
            );
        }
    }
    let options = ["--format", "json", "--anonymise", "ipv4=/12"];
    let finished = netflow(&[&["read", capture_text][..], &options].concat());
    for line in finished.stdout.lines() {
        let flow: Value = serde_json::from_str(line).unwrap();
        let addresses = (&flow["sourceIPv4Address"], &flow["destinationIPv4Address"]);
        assert_eq!(addresses, (&"10.0.0.0".into(), &"10.0.0.0".into()));
    }
}

/// Whether a collector sees the exporter's own address in what comes of a capture.
fn shows_the_exporter(protocol: &str, capture: &str, options: &[&str]) -> bool {
    let collector = UdpSocket::bind("127.0.0.1:0").unwrap();
    collector.set_nonblocking(true).unwrap();
    let url = format!("udp://{}?protocol={protocol}", collector.local_addr().unwrap());
    let asked = ["--statistics-interval", "1s", "-c", &url];
    let finished = netflow(&[&["read", capture][..], &asked, options].concat());
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
    let (mut octets, mut buffer) = (Vec::new(), [0; 2000]);
    while let Ok(length) = collector.recv(&mut buffer) {
        octets.extend_from_slice(&buffer[..length]);
    }
    assert!(octets.len() > 200, "{} octets", octets.len());
    octets.windows(4).any(|window| window == [127, 0, 0, 1])
}

#[test]
fn the_exporters_own_address_is_left_out_with_the_others() {
    // ANON-5
    let directory = tempfile::tempdir().unwrap();
    let capture = directory.path().join("capture.pcap");
    write_pcap(&capture, &flows(5)).unwrap();
    let capture = capture.to_str().unwrap();
    for protocol in ["v9", "ipfix"] {
        assert!(!shows_the_exporter(protocol, capture, &["--anonymise", "ipv4=/12"]), "{protocol}");
    }
    assert!(shows_the_exporter("v9", capture, &[]));
}

#[test]
fn a_key_that_others_may_read_or_of_another_length_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    let text = path.to_str().unwrap();
    let arguments = ["read", "capture", "--anonymise", "ipv6=crypto-pan", "--anonymisation-key", text];
    key(&path, KEY, 0o640);
    assert_refused(&netflow(&arguments), 2, &[text, "has mode 0640", "chmod 600"]);
    key(&path, &KEY[1..], 0o600);
    assert_refused(&netflow(&arguments), 2, &[text, "neither 32 octets nor 64 hexadecimal digits"]);
    let unused = ["read", "capture", "--anonymise", "ipv6=/48", "--anonymisation-key", text];
    key(&path, KEY, 0o600);
    assert_refused(&netflow(&unused), 2, &["--anonymisation-key is for crypto-pan"]);
}
