//! Every packet of every capture: keys and values as tshark reads them, of the outermost and of the innermost IP packet.

#![allow(clippy::unwrap_used, reason = "tests")]

mod facts;

use std::collections::BTreeMap;
use std::env;

use netflow_common::Tunnel;
use netflow_ebpf::packet::LinkType;
use netflow_user::capture::CaptureFile;
use tests::captures;
use tests::judges::{layers, tshark_is_here};

use self::facts::{Decapsulate, Facts, found, told};

/// A value that this project reads otherwise than tshark, on purpose.
struct Exception {
    capture: &'static str,
    /// Counted from 1.
    packet: usize,
    value: &'static str,
    found: u128,
    told: u128,
    /// Why; said by the test.
    reason: &'static str,
}

const GARBAGE: &str = "ndpi-ip-fragmented-garbage.pcap";
const FUZZED: &str = "ndpi-fuzz-2006-09-29-28586.pcap";
const CONTROL_BITS: &str = "TCP control bits";

const EXCEPTIONS: [Exception; 4] = [
    Exception {
        capture: FUZZED,
        packet: 16,
        value: "TCP options",
        found: 0x12,
        told: 0x02,
        reason: "option kind 4 states a length beyond the header's end: tshark names it in a text alone, here it is seen",
    },
    Exception {
        capture: FUZZED,
        packet: 111,
        value: CONTROL_BITS,
        found: 0x010,
        told: 0,
        reason: "the IP length leaves 15 octets of the TCP header: the control bits are among them, tshark wants all 20",
    },
    Exception {
        capture: GARBAGE,
        packet: 1,
        value: CONTROL_BITS,
        found: 0x023,
        told: 0,
        reason: "its TCP data offset is 4: tshark reads nothing behind it, here the bits are as observed (RFC 9565)",
    },
    Exception {
        capture: GARBAGE,
        packet: 940,
        value: CONTROL_BITS,
        found: 0xa26,
        told: 0,
        reason: "its TCP data offset is 2: tshark reads nothing behind it, here the bits are as observed (RFC 9565)",
    },
];

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

#[test]
fn every_packet_has_the_keys_and_values_that_tshark_reads() {
    if !tshark_is_here() {
        assert!(env::var_os("CI").is_none_or(|ci| ci != "true"), "no tshark");
        eprintln!("no tshark; what it would judge is not tested");
        return;
    }
    let Some(captures) = captures::find().unwrap() else { return };
    let mut judgement = Judgement::default();
    for capture in &captures {
        let told_packets = layers(&capture.path).unwrap();
        assert_eq!(told_packets.len() as u64, capture.expected.packets, "{}", capture.name);
        let mut file = CaptureFile::open(&capture.path).unwrap();
        for (number, layers) in (1..).zip(&told_packets) {
            let packet = file.next_packet().unwrap().unwrap();
            assert_eq!(packet.link_type, LinkType::Ethernet);
            for decapsulate in [Decapsulate::None, Decapsulate::All] {
                let found = found(packet.octets, packet.wire_length as usize, decapsulate);
                judgement.enter(&capture.name, number, found, told(layers, decapsulate), decapsulate);
            }
        }
    }
    for (encapsulation, packets) in &judgement.encapsulations {
        eprintln!("{encapsulation:?}: {packets} packets");
    }
    eprintln!("{} values equal, {} wrong", judgement.equal, judgement.wrong.len());
    assert!(judgement.wrong.is_empty(), "{}", judgement.wrong.join("\n"));
    assert_eq!(judgement.exceptions_met, 2 * EXCEPTIONS.len(), "each with both");
    let missing = ENCAPSULATIONS.iter().find(|wanted| !judgement.encapsulations.contains_key(wanted));
    assert_eq!(missing, None, "no packet has it");
}

#[derive(Default)]
struct Judgement {
    equal: usize,
    wrong: Vec<String>,
    exceptions_met: usize,
    /// Packets by what they are in, with decapsulation.
    encapsulations: BTreeMap<(&'static str, Option<u128>), usize>,
}

impl Judgement {
    fn enter(
        &mut self,
        capture: &str,
        number: usize,
        found: Option<Facts>,
        told: Option<Facts>,
        decapsulate: Decapsulate,
    ) {
        let place = format!("{capture} packet {number}, decapsulate {decapsulate:?}");
        let (mut found, told) = match (found, told) {
            (Some(found), Some(told)) => (found, told),
            (None, None) => return,
            (Some(_), None) => return self.wrong.push(format!("{place}: tshark sees no IP header")),
            (None, Some(_)) => return self.wrong.push(format!("{place}: only tshark sees an IP header")),
        };
        for exception in EXCEPTIONS.iter().filter(|e| e.capture == capture && e.packet == number) {
            if value(&found, exception.value) == exception.found
                && value(&told, exception.value) == exception.told
            {
                found.insert(exception.value, exception.told);
                self.exceptions_met += 1;
                eprintln!("{place}: {}", exception.reason);
            }
        }
        let mut names: Vec<_> = found.keys().chain(told.keys()).copied().collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let (found, told) = (value(&found, name), value(&told, name));
            if found == told {
                self.equal += 1;
            } else {
                self.wrong.push(format!("{place}: {name}: found {found:#x}, tshark {told:#x}"));
            }
        }
        if decapsulate == Decapsulate::All {
            for wanted in ENCAPSULATIONS {
                let (name, number) = wanted;
                let value = value(&told, name);
                if number.map_or(value != 0, |number| value == number) {
                    *self.encapsulations.entry(wanted).or_default() += 1;
                }
            }
        }
    }
}

fn value(facts: &Facts, name: &str) -> u128 {
    facts.get(name).copied().unwrap_or(0)
}
