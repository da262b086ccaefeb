//! Mutated packets through the host parser and the kernel program: the same keys, the same values, the same reasons.
//!
//! `NETFLOW_FUZZ_PACKETS` says how many (300,000 by default), `NETFLOW_FUZZ_SEED` which ones. A difference that is
//! found becomes a row of the frame table.

#![allow(clippy::unwrap_used, reason = "tests")]

mod mutation;
mod random;

use std::env;
use std::time::Instant;

use netflow_common::{KernelStats, Note, Refusal};
use netflow_ebpf::packet::{HEADER_LIMIT, LinkType, parse};
use netflow_user::capture::CaptureFile;
use tests::captures;
use tests::frame_table::{ethernet_table, frame_table};
use tests::meter::{HostMeter, KernelMeter, LOAD_OPTIONS, XDP_PASS};

use mutation::{SHORTEST, mutate};
use random::Random;

/// Packets between two comparisons: fewer flows than the map has room for.
const BATCH: usize = 4096;
const DEFAULT_PACKETS: u64 = 300_000;
/// Longer seeds are no better ones.
const LONGEST_SEED: usize = 1600;

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.replace('_', "").parse().unwrap())
}

/// The frame table's frames, and those of all captures that are found.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = ethernet_table().into_iter().map(|case| case.frame).collect();
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

/// A frame, and how much of it is in the linear part; `None`: all.
type Sample = (Vec<u8>, Option<usize>);

/// Makes the next batch in place.
fn fill(batch: &mut [Sample], seeds: &[Vec<u8>], splits: bool, random: &mut Random) {
    for (frame, linear) in batch {
        frame.clear();
        frame.extend(&seeds[random.below(seeds.len())]);
        mutate(frame, seeds, random);
        *linear = None;
        if splits && random.one_in(4) {
            let bound = if random.one_in(4) { frame.len() } else { frame.len().min(120) };
            *linear = Some(random.below(bound));
        }
    }
}

fn enter(kernel: &mut KernelMeter, host: &mut HostMeter, (frame, linear): &Sample) {
    let returned = match linear {
        Some(linear) => kernel.enter_split(frame, *linear),
        None => kernel.enter(frame),
    };
    assert_eq!(returned.unwrap(), XDP_PASS, "{}", hex(frame));
    host.enter(frame);
}

/// Names the packets that make the difference, or says that none does alone.
fn explain(kernel: &mut KernelMeter, host: &mut HostMeter, batch: &[Sample], whole: &str) -> String {
    let mut guilty = Vec::new();
    for sample in batch {
        enter(kernel, host, sample);
        if let Some(difference) = kernel.take().unwrap().difference(&host.take()) {
            guilty.push(format!("linear {:?} of {}\n{difference}", sample.1, hex(&sample.0)));
        }
    }
    if guilty.is_empty() {
        return format!("kernel and host differ over {} packets, over none alone:\n{whole}", batch.len());
    }
    guilty.truncate(5);
    format!("kernel and host differ:\n{}", guilty.join("\n"))
}

fn hex(frame: &[u8]) -> String {
    frame.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[test]
#[ignore = "needs root: loads the kernel program"]
fn kernel_and_host_agree_on_mutated_packets() {
    let (packets, seed) = (number("NETFLOW_FUZZ_PACKETS", DEFAULT_PACKETS), number("NETFLOW_FUZZ_SEED", 1));
    let seeds = seeds();
    let mut random = Random(seed);
    let mut kernels = [true, false].map(|fragments| KernelMeter::load(&LOAD_OPTIONS, fragments).unwrap());
    let can_split = kernels[0].splits();
    let mut host = HostMeter::default();
    let mut batch: Vec<Sample> = vec![(Vec::new(), None); BATCH];
    let (mut totals, mut flows, mut split) = (KernelStats::default(), 0, 0);
    let start = Instant::now();
    let mut turn = 0u64;
    while totals.seen_packets < packets {
        // Every fourth batch goes to the program for older kernels, which sees linear frames alone.
        let fragments = turn % 4 != 3;
        let kernel = &mut kernels[usize::from(!fragments)];
        let size = usize::try_from(packets - totals.seen_packets).unwrap().min(BATCH);
        let batch = &mut batch[..size];
        fill(batch, &seeds, can_split && fragments, &mut random);
        for sample in &*batch {
            enter(kernel, &mut host, sample);
            split += u64::from(sample.1.is_some());
        }
        let (found, expected) = (kernel.take().unwrap(), host.take());
        if let Some(difference) = found.difference(&expected) {
            panic!("seed {seed}, batch {turn}: {}", explain(kernel, &mut host, batch, &difference));
        }
        assert!(found.balanced(), "seed {seed}, batch {turn}");
        totals.add(&found.stats);
        flows += found.flows.len();
        turn += 1;
        if turn.is_multiple_of(256) {
            eprintln!("{} packets in {:?}", totals.seen_packets, start.elapsed());
        }
    }
    eprintln!(
        "{packets} mutated packets of {} seeds agree (seed {seed}, {split} of them split, {flows} flows) in {:?}\n{totals:?}",
        seeds.len(),
        start.elapsed()
    );
    if packets >= DEFAULT_PACKETS {
        for refusal in Refusal::ALL {
            assert!(
                totals.refused[refusal as usize] > 100,
                "too few packets are refused: {}",
                refusal.name()
            );
        }
        // The others are about fragments that are joined and tunnels that are entered, which are off here.
        let noted = [Note::ShortFrame, Note::TransportCut, Note::LaterFragment, Note::Ipv6HeadersUnread];
        for note in noted {
            assert!(totals.noted[note as usize] > 100, "too few packets are noted: {}", note.name());
        }
    }
}

/// No panic, no overflow (checked in this build), nothing read that is not there; on every link type.
#[test]
fn the_host_reads_mutated_packets_of_every_link_type_within_their_limits() {
    let links =
        [LinkType::Ethernet, LinkType::RawIp, LinkType::Loopback, LinkType::CookedV1, LinkType::CookedV2];
    let mut seeds = seeds();
    seeds.extend(frame_table().into_iter().map(|case| case.frame).filter(|frame| frame.len() >= SHORTEST));
    let mut random = Random(number("NETFLOW_FUZZ_SEED", 1));
    let mut batch: Vec<Sample> = vec![(Vec::new(), None); BATCH];
    for _ in 0..16 {
        fill(&mut batch, &seeds, false, &mut random);
        for (frame, _) in &batch {
            for link in links {
                let result = parse(frame.as_slice(), link);
                // Nothing behind the limit matters.
                let visible = &frame[..frame.len().min(HEADER_LIMIT)];
                assert_eq!(parse(visible, link), result, "{}", hex(frame));
                // What the frame does not have is never made up: a longer frame says the same and no less.
                if let Ok(packet) = result {
                    assert!(packet.offset as usize + 20 <= frame.len(), "{}", hex(frame));
                    let longer = [frame.as_slice(), &[0x5a; 64]].concat();
                    let longer = parse(longer.as_slice(), link).unwrap();
                    assert_eq!(
                        (longer.octets, longer.offset),
                        (packet.octets, packet.offset),
                        "{}",
                        hex(frame)
                    );
                    assert!(packet.notes.is_empty() <= longer.notes.is_empty(), "{}", hex(frame));
                }
            }
        }
    }
}
