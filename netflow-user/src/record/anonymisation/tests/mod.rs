#![allow(clippy::unwrap_used, reason = "tests")]

mod measure;
mod vectors;

use std::net::IpAddr;

use netflow_common::{FlowCounters, FlowKey, WideCounters, WideKey};

use self::vectors::{IPV6, OTHER_KEY, SAMPLE, SAMPLE_KEY, SPECIAL_IPV4};
use super::*;
use crate::{
    record::{Extras, FlowEndReason},
    time::Instant,
};

/// Numbers that look random, the same in every run.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn wide(&mut self) -> u128 {
        u128::from(self.next()) << 64 | u128::from(self.next())
    }
}

fn transform(crypto_pan: &mut CryptoPan, address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => IpAddr::from(crypto_pan.ipv4(address.octets())),
        IpAddr::V6(address) => IpAddr::from(crypto_pan.ipv6(address.octets())),
    }
}

pub fn anonymiser(rules: &[&str]) -> Anonymiser {
    let rules: Vec<Rule> = rules.iter().map(|rule| rule.parse().unwrap()).collect();
    let needs_key = rules.iter().any(|rule| rule.method == Method::CryptoPan);
    let key = needs_key.then(|| Key::of(SAMPLE_KEY));
    Anonymiser::new(Policy::new(rules, key).unwrap().unwrap())
}

pub fn record(interface: u32, source: IpAddr, destination: IpAddr) -> FlowRecord {
    let address = |address| match address {
        IpAddr::V4(address) => Address::from_ipv4(address.octets()),
        IpAddr::V6(address) => Address::from_ipv6(address.octets()),
    };
    let key = FlowKey {
        source_address: address(source),
        destination_address: address(destination),
        interface,
        ip_version: if source.is_ipv4() { IpVersion::V4 } else { IpVersion::V6 },
        ..FlowKey::default()
    };
    FlowRecord::new(key, FlowCounters::default(), FlowEndReason::IdleTimeout, &Instant::default())
}

fn addresses(record: &FlowRecord) -> [IpAddr; 2] {
    [record.key.source_address, record.key.destination_address].map(|address| {
        if record.key.is_ipv4() { address.ipv4_octets().into() } else { address.octets().into() }
    })
}

fn parse(texts: [&str; 2]) -> [IpAddr; 2] {
    texts.map(|text| text.parse().unwrap())
}

/// What becomes of two addresses at an interface.
fn applied(anonymiser: &mut Anonymiser, interface: u32, texts: [&str; 2]) -> [IpAddr; 2] {
    let [source, destination] = parse(texts);
    let mut record = record(interface, source, destination);
    anonymiser.apply(&mut record);
    addresses(&record)
}

#[test]
fn addresses_are_permuted_as_published() {
    for (key, vectors) in [
        (SAMPLE_KEY, SAMPLE),
        (SAMPLE_KEY, SPECIAL_IPV4),
        (SAMPLE_KEY, IPV6),
        (std::array::from_fn(|i| i as u8), OTHER_KEY),
    ] {
        let mut crypto_pan = CryptoPan::new(&Key::of(key));
        // A second time from the memo.
        for (address, expected) in vectors.iter().chain(vectors) {
            let found = transform(&mut crypto_pan, address.parse().unwrap());
            assert_eq!(found, expected.parse::<IpAddr>().unwrap(), "{address}");
        }
    }
}

#[test]
fn common_prefixes_keep_exactly_their_length() {
    let mut random = Random(1);
    for _ in 0..4 {
        let key: [u8; 32] = std::array::from_fn(|_| random.next() as u8);
        let mut crypto_pan = CryptoPan::new(&Key::of(key));
        for common in 0..=128 {
            let one = random.wide();
            // The same `common` bits, then another one, then anything.
            let turned = if common == 128 { 0 } else { 1u128 << (127 - common) };
            let other = (one ^ turned) ^ (random.wide() & !leading((common + 1).min(128)));
            assert_eq!((one ^ other).leading_zeros(), common);
            let [a, b] = [one, other].map(|ip| u128::from_be_bytes(crypto_pan.ipv6(ip.to_be_bytes())));
            assert_eq!((a ^ b).leading_zeros(), common, "{one:032x} {other:032x}");

            let [one, other] = [one, other].map(|ip| (ip >> 96) as u32);
            let [a, b] = [one, other].map(|ip| u32::from_be_bytes(crypto_pan.ipv4(ip.to_be_bytes())));
            assert_eq!((a ^ b).leading_zeros(), common.min(32), "{one:08x} {other:08x}");
        }
    }
}

#[test]
fn no_two_addresses_become_one() {
    let mut crypto_pan = CryptoPan::new(&Key::of(SAMPLE_KEY));
    // All hosts of a /20: they become all hosts of another.
    let mut seen = vec![false; 1 << 12];
    let network = u32::from_be_bytes([10, 1, 0x20, 0]);
    let permuted = u32::from_be_bytes(crypto_pan.ipv4(network.to_be_bytes())) >> 12;
    for host in 0..1 << 12 {
        let address = u32::from_be_bytes(crypto_pan.ipv4((network | host).to_be_bytes()));
        assert_eq!(address >> 12, permuted);
        assert!(!std::mem::replace(&mut seen[(address & 0xfff) as usize], true), "{address:08x}");
    }
}

#[test]
fn the_memo_changes_no_result_however_full_it_is() {
    let key = Key::of(SAMPLE_KEY);
    let mut crypto_pan = CryptoPan::with_memo(&key, 16);
    let mut random = Random(2);
    // Of few networks and hosts, so that all kinds of entries are found and displace one another.
    for _ in 0..2000 {
        let (network, host) = (u128::from(random.next() % 8), u128::from(random.next() % 4));
        let address = 0xfd00 << 112 | network << 64 | host;
        let expected = CryptoPan::with_memo(&key, 1).ipv6(address.to_be_bytes());
        assert_eq!(crypto_pan.ipv6(address.to_be_bytes()), expected);
        let address = random.next() as u32 % 32;
        let expected = CryptoPan::with_memo(&key, 1).ipv4(address.to_be_bytes());
        assert_eq!(crypto_pan.ipv4(address.to_be_bytes()), expected);
    }
}

#[test]
fn an_ipv4_address_and_its_ipv6_namesake_are_not_mixed() {
    let mut crypto_pan = CryptoPan::new(&Key::of(SAMPLE_KEY));
    let v4 = crypto_pan.ipv4([1, 2, 3, 4]);
    let network = crypto_pan.ipv6([1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(v4, network[..4], "the same bits before each");
    assert_eq!(crypto_pan.ipv4([1, 2, 3, 4]), v4);
}

#[test]
fn truncation_keeps_the_leading_bits() {
    for (rule, texts, expected) in [
        ("ipv4=/24", ["192.0.2.77", "198.51.100.255"], ["192.0.2.0", "198.51.100.0"]),
        ("ipv4=/0", ["192.0.2.77", "198.51.100.255"], ["0.0.0.0", "0.0.0.0"]),
        ("ipv4=/32", ["192.0.2.77", "198.51.100.255"], ["192.0.2.77", "198.51.100.255"]),
        ("ipv4=/9", ["10.255.1.1", "10.127.1.1"], ["10.128.0.0", "10.0.0.0"]),
        ("ipv6=/48", ["2001:db8:1:2:3:4:5:6", "fe80::1"], ["2001:db8:1::", "fe80::"]),
        ("ipv6=/65", ["2001:db8::ffff:0:0:1", "::8000:0:0:0"], ["2001:db8::8000:0:0:0", "::8000:0:0:0"]),
        ("ipv6=/128", ["2001:db8::1", "::1"], ["2001:db8::1", "::1"]),
        ("ipv6=/0", ["2001:db8::1", "::1"], ["::", "::"]),
    ] {
        assert_eq!(applied(&mut anonymiser(&[rule]), 3, texts), parse(expected), "{rule}");
    }
}

#[test]
fn a_family_without_a_rule_stays() {
    let (v4, v6) = (["192.0.2.77", "198.51.100.255"], ["2001:db8::1", "fe80::1"]);
    let mut anonymiser = anonymiser(&["ipv6=/32"]);
    assert_eq!(applied(&mut anonymiser, 3, v4), parse(v4));
    assert_eq!(applied(&mut anonymiser, 3, v6), parse(["2001:db8::", "fe80::"]));
}

#[test]
fn an_interface_with_a_rule_of_its_own_goes_by_it() {
    let (texts, general, own) =
        (["192.0.2.77", "198.51.100.255"], ["192.0.2.0", "198.51.100.0"], ["192.0.0.0", "198.51.0.0"]);
    let mut anonymiser = anonymiser(&["ipv4=/24", "eth0:ipv4=/16", "lan1:ipv4=none"]);
    anonymiser.attached(7, "eth0");
    anonymiser.attached(2, "lan1");
    anonymiser.attached(5, "eth1");
    assert_eq!(applied(&mut anonymiser, 7, texts), parse(own));
    assert_eq!(applied(&mut anonymiser, 2, texts), parse(texts));
    assert_eq!(applied(&mut anonymiser, 5, texts), parse(general));
    // Its index now belongs to another interface, it comes back with another index.
    anonymiser.attached(7, "eth9");
    anonymiser.attached(8, "eth0");
    assert_eq!(applied(&mut anonymiser, 7, texts), parse(general));
    assert_eq!(applied(&mut anonymiser, 8, texts), parse(own));
    // A new name does not uncover what was covered, and takes the rules of that name where there are some.
    anonymiser.renamed(8, "uplink");
    assert_eq!(applied(&mut anonymiser, 8, texts), parse(own));
    anonymiser.renamed(5, "eth0");
    assert_eq!(applied(&mut anonymiser, 5, texts), parse(own));
    anonymiser.renamed(8, "lan1");
    assert_eq!(applied(&mut anonymiser, 8, texts), parse(texts));
}

#[test]
fn mac_addresses_keep_their_leading_bits_and_nothing_else_of_wide_entries_shows_addresses() {
    let mut record = record(3, "192.0.2.77".parse().unwrap(), "198.51.100.255".parse().unwrap());
    let mut extras =
        Extras { key: WideKey { flow: record.key, ..WideKey::default() }, counters: WideCounters::default() };
    let mac = |last| [0x02, 0x11, 0x22, 0x33, 0x44, last];
    (extras.key.source_mac, extras.key.destination_mac) = (mac(1), mac(2));
    let first = &mut extras.counters.first_packet;
    (first.source_mac, first.destination_mac) = (mac(3), mac(4));
    record.extras = Some(Box::new(extras));
    let original = record.clone();

    anonymiser(&["ipv4=/24", "mac=/24"]).apply(&mut record);
    let extras = record.extras.as_ref().unwrap();
    assert_eq!(extras.key.flow, record.key);
    let first = &extras.counters.first_packet;
    for mac in [extras.key.source_mac, extras.key.destination_mac, first.source_mac, first.destination_mac] {
        assert_eq!(mac, [0x02, 0x11, 0x22, 0, 0, 0]);
    }

    // A family at a time.
    let mut record = original.clone();
    anonymiser(&["mac=/0"]).apply(&mut record);
    assert_eq!((record.key, record.extras.unwrap().key.source_mac), (original.key, [0; 6]));
    let mut record = original.clone();
    anonymiser(&["ipv4=/0"]).apply(&mut record);
    assert_eq!(record.extras.unwrap().key.source_mac, mac(1));
}

#[test]
fn next_hop_and_prefix_lengths_tell_no_more_than_the_addresses() {
    let next_hop = Address::from_ipv4([128, 11, 68, 132]);
    let with_route = |anonymiser: &mut Anonymiser, next_hop| {
        let mut record = record(3, "128.11.68.132".parse().unwrap(), "129.118.74.4".parse().unwrap());
        record.route.next_hop = next_hop;
        (record.route.source_prefix_length, record.route.destination_prefix_length) = (30, 8);
        anonymiser.apply(&mut record);
        let route = record.route;
        (route.next_hop.ipv4_octets(), route.source_prefix_length, route.destination_prefix_length)
    };
    let mut cut = anonymiser(&["ipv4=/16"]);
    assert_eq!(with_route(&mut cut, next_hop), ([128, 11, 0, 0], 16, 8));
    let mut permuted = anonymiser(&["ipv4=crypto-pan"]);
    assert_eq!(with_route(&mut permuted, next_hop), ([135, 242, 180, 132], 30, 8));
    // There is none: that is no address.
    assert_eq!(with_route(&mut permuted, Address::default()), ([0, 0, 0, 0], 30, 8));
}
