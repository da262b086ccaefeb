//! Captures exported with other addresses: the flows of the reference count under the addresses that another
//! implementation makes of them.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;
use tests::captures;
use tests::lab::MONITOR_INTERFACE;

use crate::judge::Anonymisation;
use crate::{file, wire};

/// anonymizationTechnique (IANA 286).
const UNDEFINED: u16 = 0;
const NONE: u16 = 1;
const TRUNCATION: u16 = 2;
const PERMUTATION: u16 = 6;

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Two comment lines, the second is the key; then address and permuted address.
const CRYPTO_PAN: &str = include_str!("crypto_pan.txt");

/// The key as a file.
fn key_file() -> (TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    let key = CRYPTO_PAN.lines().nth(1).unwrap().trim_start_matches("# ");
    fs::write(&path, format!("{key}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (directory, path)
}

/// What the other implementation recorded.
fn crypto_pan() -> impl Fn(IpAddr) -> IpAddr + use<> {
    let lines = CRYPTO_PAN.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.map(|line| {
        let (address, permuted) = line.split_once(' ').unwrap();
        (address.parse().unwrap(), permuted.parse().unwrap())
    });
    let pairs: BTreeMap<IpAddr, IpAddr> = pairs.collect();
    move |address| *pairs.get(&address).unwrap_or_else(|| panic!("{address} is not recorded"))
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn every_capture_file_is_exported_under_permuted_addresses() {
    let Some(captures) = captures::find().unwrap() else { return };
    let (_directory, key) = key_file();
    let arguments =
        ["--anonymise", "ipv4=crypto-pan", "--anonymise", "ipv6=crypto-pan", "--anonymisation-key", &key];
    let anonymisation = Anonymisation { of: Box::new(crypto_pan()), techniques: [PERMUTATION; 2] };
    let wrong = file::read(&captures, LOCALHOST, &arguments, Some(&anonymisation)).unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn every_capture_file_is_exported_under_truncated_addresses() {
    let Some(captures) = captures::find().unwrap() else { return };
    let arguments = ["--anonymise", "ipv4=/20", "--anonymise", "ipv6=/68"];
    let truncated = |address| match address {
        IpAddr::V4(address) => IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() >> 12 << 12)),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 60 << 60)),
    };
    let anonymisation = Anonymisation { of: Box::new(truncated), techniques: [TRUNCATION; 2] };
    let wrong = file::read(&captures, LOCALHOST, &arguments, Some(&anonymisation)).unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
#[ignore = "needs root: network namespaces and XDP"]
fn an_interface_on_the_wire_goes_by_its_own_rule() {
    let Some(captures) = captures::find().unwrap() else { return };
    let captures: Vec<_> = captures
        .iter()
        .filter(|capture| ["zeek-wikipedia.pcap", "zeek-icmp6.pcap"].contains(&capture.name.as_str()))
        .collect();
    let (_directory, key) = key_file();
    let own = format!("{MONITOR_INTERFACE}:ipv4=crypto-pan");
    let arguments = ["--anonymise", "ipv4=/0", "--anonymise", &own, "--anonymisation-key", &key];
    let permuted = crypto_pan();
    let ipv4_permuted = move |address: IpAddr| if address.is_ipv4() { permuted(address) } else { address };
    // No statement: interfaces that have no rule of their own go by another method.
    let anonymisation = Anonymisation { of: Box::new(ipv4_permuted), techniques: [UNDEFINED, NONE] };
    let wrong = wire::replayed(1500, &captures, &arguments, Some(&anonymisation)).unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
