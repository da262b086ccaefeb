//! Mutated packets through the host parser and the kernel program: the same keys, the same values, the same reasons,
//! of default entries (fragments apart and joined) and of wide ones with everything, at every entry point.
//!
//! `NETFLOW_FUZZ_PACKETS` says how many for each width (300,000 by default), `NETFLOW_FUZZ_SEED` which ones. A
//! difference that is found becomes a row of the frame table.

#![allow(clippy::unwrap_used, reason = "tests")]

mod agreement;
mod mutation;
mod random;
mod tunnels;

use std::env;

use netflow_common::{FlowCounters, KernelStats, Note, Refusal, WideCounters};
use netflow_ebpf::packet::{
    HEADER_LIMIT, LinkType, Unobserved, Wide, common_ipv4, common_ipv6, parse, parse_inner,
};
use netflow_user::capture::CaptureFile;
use netflow_user::kernel::Measure;
use tests::captures;
use tests::frame_table::{ethernet_table, frame_table};
use tests::tunnels::all_tunnels;
use tests::wide::EVERYTHING;

use agreement::agree;
use mutation::{SHORTEST, mutate};
use random::Random;

const DEFAULT_PACKETS: u64 = 300_000;
/// Longer seeds are no better ones.
const LONGEST_SEED: usize = 1600;

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.replace('_', "").parse().unwrap())
}

fn packets() -> u64 {
    number("NETFLOW_FUZZ_PACKETS", DEFAULT_PACKETS)
}

fn seed() -> u64 {
    number("NETFLOW_FUZZ_SEED", 1)
}

/// The frame table's frames, tunnels, and the frames of all captures that are found.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = ethernet_table().into_iter().map(|case| case.frame).collect();
    seeds.extend(all_tunnels().into_iter().map(|case| case.frame));
    for capture in captures::find().unwrap().unwrap_or_default() {
        let mut file = CaptureFile::open(&capture.path).unwrap();
        // Of a long capture the first packets stand for all.
        for _ in 0..64 {
            let Some(packet) = file.next_packet().unwrap() else { break };
            seeds.push(packet.octets.to_vec());
        }
    }
    seeds.retain(|seed| (SHORTEST..=LONGEST_SEED).contains(&seed.len()));
    seeds
}

fn hex(frame: &[u8]) -> String {
    frame.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Else the packets were too tame.
fn assert_varied(totals: &KernelStats, packets: u64, notes: impl IntoIterator<Item = Note>) {
    if packets < DEFAULT_PACKETS {
        return;
    }
    for refusal in Refusal::ALL {
        let refused = totals.refused[refusal as usize];
        assert!(refused > 100, "too few packets are refused: {}", refusal.name());
    }
    for note in notes {
        assert!(totals.noted[note as usize] > 100, "too few packets are noted: {}", note.name());
    }
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn kernel_and_host_agree_on_mutated_packets() {
    let mut totals = KernelStats::default();
    for join_fragments in [false, true] {
        let measure = Measure { join_fragments, ..Measure::DEFAULT };
        totals.add(&agree::<FlowCounters>(measure, &seeds(), packets() / 2, seed()));
    }
    // The others are about tunnels that are entered.
    let notes =
        Note::ALL.into_iter().filter(|note| !matches!(note, Note::TunnelUnread | Note::TunnelTooDeep));
    assert_varied(&totals, packets(), notes);
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn kernel_and_host_agree_on_wide_entries_of_mutated_packets() {
    let totals = agree::<WideCounters>(EVERYTHING, &seeds(), packets(), seed());
    assert_varied(&totals, packets(), Note::ALL);
}

/// Makes the next frame of the seeds in place.
fn fill(frame: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    frame.clear();
    frame.extend(&seeds[random.below(seeds.len())]);
    mutate(frame, seeds, random);
}

/// No panic, no overflow (checked in this build), nothing read that is not there; on every link type.
#[test]
fn the_host_reads_mutated_packets_of_every_link_type_within_their_limits() {
    let links =
        [LinkType::Ethernet, LinkType::RawIp, LinkType::Loopback, LinkType::CookedV1, LinkType::CookedV2];
    let mut seeds = seeds();
    seeds.extend(frame_table().into_iter().map(|case| case.frame).filter(|frame| frame.len() >= SHORTEST));
    let mut random = Random(seed());
    let mut frame = Vec::new();
    let mut common = 0;
    for _ in 0..65_536 {
        fill(&mut frame, &seeds, &mut random);
        for link in links {
            let result = parse(frame.as_slice(), link);
            // Nothing behind the limit matters.
            let visible = &frame[..frame.len().min(HEADER_LIMIT)];
            assert_eq!(parse(visible, link), result, "{}", hex(&frame));
            let mut told = bytemuck::Zeroable::zeroed();
            let inner = parse_inner(frame.as_slice(), link, &mut Wide::over(EVERYTHING, &mut told));
            assert_eq!(inner.err(), result.err(), "an inner packet is no reason to refuse: {}", hex(&frame));
            // Who looks into no tunnel reads what the default reads.
            assert_eq!(parse_inner(frame.as_slice(), link, &mut Unobserved), result, "{}", hex(&frame));
            // Where there is a shorter way to read it, it leads to the same.
            let length = frame.len();
            let version_4 = common_ipv4(frame.as_slice(), link, length);
            let version_6 = common_ipv6(frame.as_slice(), link, length);
            assert!(version_4.is_none() || version_6.is_none());
            if let Some(packet) = version_4.or(version_6) {
                assert_eq!(Ok(packet), result, "{}", hex(&frame));
                common += 1;
            }
            // What the frame does not have is never made up: a longer frame says the same and no less.
            if let Ok(packet) = result {
                assert!(packet.offset as usize + 20 <= frame.len(), "{}", hex(&frame));
                let longer = [frame.as_slice(), &[0x5a; 64]].concat();
                let longer = parse(longer.as_slice(), link).unwrap();
                let of = |packet: netflow_ebpf::packet::Packet| (packet.octets, packet.offset);
                assert_eq!(of(longer), of(packet), "{}", hex(&frame));
                assert!(packet.notes.is_empty() <= longer.notes.is_empty(), "{}", hex(&frame));
            }
        }
    }
    assert!(common > 1000, "too few packets are common ones: {common}");
}
