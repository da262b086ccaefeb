//! Every packet of every capture, every frame of the frame table and of the tunnels: keys and values as tshark reads
//! them, of the outermost and of the innermost IP packet.

#![allow(clippy::unwrap_used, reason = "tests")]

mod exceptions;
mod facts;

use std::collections::BTreeMap;
use std::env;
use std::time::Duration;

use netflow_common::Tunnel;
use netflow_ebpf::packet::LinkType;
use netflow_user::capture::CaptureFile;
use tests::captures;
use tests::frame_table::ethernet_table;
use tests::judges::{Layer, layers, tshark_is_here};
use tests::tunnels::all_tunnels;

use self::exceptions::{Exception, OF_CAPTURES, OF_TABLES};
use self::facts::{Decapsulate, Facts, found, told};

/// What the captures must have, that the judgement be one on all of it: a fact and its value, or any.
const ENCAPSULATIONS: [(&str, Option<u128>); 11] = [
    ("VLAN id", None),
    ("customer tag", None),
    ("MPLS label 1", None),
    ("EtherType", Some(0x8864)),
    ("fragments", None),
    ("IPv6 extension headers", None),
    ("tunnel", Some(Tunnel::IpInIp as u128)),
    ("tunnel", Some(Tunnel::Gre as u128)),
    ("tunnel", Some(Tunnel::Vxlan as u128)),
    ("tunnel", Some(Tunnel::Geneve as u128)),
    ("tunnel", Some(Tunnel::GtpU as u128)),
];

/// What the tables must have.
const OF_THE_TABLES: [(&str, Option<u128>); 9] = [
    ("customer tag", None),
    ("MPLS label 10", None),
    ("EtherType", Some(0x8864)),
    ("tunnel", Some(Tunnel::IpInIp as u128)),
    ("tunnel", Some(Tunnel::Gre as u128)),
    ("tunnel", Some(Tunnel::GreEthernet as u128)),
    ("tunnel", Some(Tunnel::Vxlan as u128)),
    ("tunnel", Some(Tunnel::Geneve as u128)),
    ("tunnel", Some(Tunnel::GtpU as u128)),
];

/// Whether there is somebody to judge.
fn judge_is_here() -> bool {
    if !tshark_is_here() {
        assert!(env::var_os("CI").is_none_or(|ci| ci != "true"), "no tshark");
        eprintln!("no tshark; what it would judge is not tested");
    }
    tshark_is_here()
}

#[test]
fn every_packet_has_the_keys_and_values_that_tshark_reads() {
    if !judge_is_here() {
        return;
    }
    let Some(captures) = captures::find().unwrap() else { return };
    let mut judgement = Judgement::new(OF_CAPTURES);
    for capture in &captures {
        let told_packets = layers(&capture.path).unwrap();
        assert_eq!(told_packets.len() as u64, capture.expected.packets, "{}", capture.name);
        let mut file = CaptureFile::open(&capture.path).unwrap();
        for (number, layers) in (1..).zip(&told_packets) {
            let packet = file.next_packet().unwrap().unwrap();
            assert_eq!(packet.link_type, LinkType::Ethernet);
            let place = format!("{} packet {number}", capture.name);
            judgement.enter(&place, packet.octets, packet.wire_length as usize, layers);
        }
    }
    judgement.end(&ENCAPSULATIONS);
}

#[test]
fn every_frame_of_the_tables_has_the_keys_and_values_that_tshark_reads() {
    if !judge_is_here() {
        return;
    }
    let table = ethernet_table().into_iter().map(|case| (case.name, case.frame));
    let tunnels = all_tunnels().into_iter().map(|case| (case.name.to_owned(), case.frame));
    let (names, frames): (Vec<String>, Vec<Vec<u8>>) = table.chain(tunnels).unzip();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("frames.pcap");
    captures::write(&path, &frames, Duration::from_millis(1)).unwrap();
    let told_packets = layers(&path).unwrap();
    assert_eq!(told_packets.len(), frames.len());
    let mut judgement = Judgement::new(OF_TABLES);
    for ((name, frame), layers) in names.iter().zip(&frames).zip(&told_packets) {
        judgement.enter(name, frame, frame.len(), layers);
    }
    judgement.end(&OF_THE_TABLES);
}

struct Judgement {
    exceptions: &'static [Exception],
    met: Vec<bool>,
    equal: usize,
    wrong: Vec<String>,
    /// Packets by what they are in, with decapsulation.
    encapsulations: BTreeMap<(&'static str, u128), usize>,
}

impl Judgement {
    fn new(exceptions: &'static [Exception]) -> Self {
        let met = vec![false; exceptions.len()];
        Self { exceptions, met, equal: 0, wrong: Vec::new(), encapsulations: BTreeMap::new() }
    }

    /// Judges a packet by its outermost and by its innermost IP packet.
    fn enter(&mut self, place: &str, octets: &[u8], wire_length: usize, layers: &[Layer]) {
        for decapsulate in [Decapsulate::None, Decapsulate::All] {
            let found = found(octets, wire_length, decapsulate).unwrap_or_default();
            let told = told(layers, decapsulate).unwrap_or_default();
            self.compare(place, decapsulate, &found, &told);
            if decapsulate == Decapsulate::All {
                for (name, value) in &told {
                    *self.encapsulations.entry((name, *value)).or_default() += 1;
                }
            }
        }
    }

    fn compare(&mut self, place: &str, decapsulate: Decapsulate, found: &Facts, told: &Facts) {
        let mut names: Vec<_> = found.keys().chain(told.keys()).copied().collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let (found, told) = (value(found, name), value(told, name));
            if found == told {
                self.equal += 1;
                continue;
            }
            let allows = |exception: &Exception| exception.allows(place, decapsulate, name, found, told);
            match self.exceptions.iter().position(allows) {
                Some(number) => self.met[number] = true,
                None => self.wrong.push(format!(
                    "{place}, decapsulate {decapsulate:?}: {name}: found {found:#x}, tshark {told:#x}"
                )),
            }
        }
    }

    fn end(&self, wanted: &[(&'static str, Option<u128>)]) {
        eprintln!("{} values equal, {} wrong", self.equal, self.wrong.len());
        assert!(self.wrong.is_empty(), "{}", self.wrong.join("\n"));
        for (exception, met) in self.exceptions.iter().zip(&self.met) {
            assert!(met, "needless: {}: {}", exception.place, exception.reason);
            eprintln!("{}: {}", exception.place, exception.reason);
        }
        for (name, number) in wanted {
            let all = self.encapsulations.iter();
            let these =
                all.filter(|((fact, value), _)| fact == name && number.is_none_or(|number| number == *value));
            let packets: usize = these.map(|(_, packets)| packets).sum();
            eprintln!("{name} {number:?}: {packets} packets");
            assert!(packets > 0, "no packet has {name} {number:?}");
        }
    }
}

fn value(facts: &Facts, name: &str) -> u128 {
    facts.get(name).copied().unwrap_or(0)
}
