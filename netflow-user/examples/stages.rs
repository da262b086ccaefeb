//! The agent's stages, each alone, over flows made up here: drained deltas -> flow cache -> record -> message.
//!
//! `stages time` prints nanoseconds per flow on this machine; `stages count CASE FLOWS` runs one case once, for a
//! program that counts instructions in [`counted`]. Nothing here depends on time, chance or threads.

use std::{
    hint::black_box,
    num::NonZeroU32,
    process::ExitCode,
    time::{Duration, Instant as Stopwatch},
};

use netflow_common::{Address, FlowCounters, FlowKey, IpVersion, NetworkU16, Ports};
use netflow_user::{
    flow_cache::{FlowCache, Timeouts},
    message::{Packer, PackerConfig, Protocol, TemplateOptions, TemplateSet, V5Packer, V5PackerConfig},
    record::{FlowEndReason, FlowRecord, IntoRecord},
    time::{Instant, MonotonicNanos},
};

const SECOND: u64 = 1_000_000_000;
const SEED: [u64; 2] = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210];
/// Of a message in an Ethernet frame over IPv4.
const MESSAGE_SIZE: usize = 1472;
/// What the drain hands on at once.
const DELTAS: usize = 1024;
/// Records that are encoded again and again: a few batches, which stay in the processor's cache.
const RECORDS: usize = 4096;
const CLOCK: Instant =
    Instant { monotonic: MonotonicNanos(100 * SECOND), unix_nanos: 1_767_225_600_000_000_000 };

type Cache = FlowCache<FlowKey, FlowCounters>;
type Deltas = Vec<(FlowKey, FlowCounters)>;

/// What a case does with so many flows; it returns how many it came to.
type Case = fn(&mut Counted, u32) -> u64;

/// All cases, by name.
const CASES: [(&str, Case); 9] = [
    ("merge-new", merge_new),
    ("merge-known", merge_known),
    ("expire", expire),
    ("new-flow-to-message", new_flow_to_message),
    ("encode-ipfix-ipv4", |counted, flows| encode(counted, Protocol::Ipfix, IpVersion::V4, flows)),
    ("encode-ipfix-ipv6", |counted, flows| encode(counted, Protocol::Ipfix, IpVersion::V6, flows)),
    ("encode-v9-ipv4", |counted, flows| encode(counted, Protocol::NetflowV9, IpVersion::V4, flows)),
    ("encode-v9-ipv6", |counted, flows| encode(counted, Protocol::NetflowV9, IpVersion::V6, flows)),
    ("encode-v5", encode_v5),
];

/// How long the counted part took.
#[derive(Default)]
struct Counted(Duration);

impl Counted {
    /// What is to be counted, and nothing else.
    fn run<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let clock = Stopwatch::now();
        let result = counted(work);
        self.0 = clock.elapsed();
        result
    }
}

/// Instructions are counted from the call to the return.
#[inline(never)]
fn counted<T>(work: impl FnOnce() -> T) -> T {
    black_box(work())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["time"] => time(""),
        ["time", case] => time(case),
        ["count", name, flows] => {
            let case = CASES.iter().find(|(known, _)| *known == name);
            let (Some((_, case)), Ok(flows)) = (case, flows.parse()) else { return usage() };
            println!("{}", case(&mut Counted::default(), flows));
        }
        _ => return usage(),
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    let cases = CASES.map(|(name, _)| name).join(", ");
    eprintln!("usage: stages time [CASE] | stages count CASE FLOWS; cases: {cases}");
    ExitCode::from(2)
}

/// Nanoseconds per flow: least and median of some runs.
fn time(only: &str) {
    for (name, case) in CASES.iter().filter(|(name, _)| name.contains(only)) {
        for flows in [1_000, 100_000, 1_000_000] {
            let mut nanos: Vec<f64> = (0..9)
                .map(|_| {
                    let mut counted = Counted::default();
                    let flows = case(&mut counted, flows);
                    counted.0.as_nanos() as f64 / flows as f64
                })
                .collect();
            nanos.sort_by(f64::total_cmp);
            println!("{name:20} {flows:8} flows: {:6.1} to {:6.1} ns", nanos[0], nanos[4]);
        }
    }
}

fn cache(flows: u32) -> Cache {
    let timeouts = Timeouts::new(Duration::from_secs(15), Duration::from_secs(1800), Duration::from_secs(2));
    let capacity = NonZeroU32::new(flows).unwrap_or(NonZeroU32::MIN);
    let cache = timeouts.and_then(|timeouts| FlowCache::new(capacity, timeouts, SEED));
    cache.expect("a cache of up to a million flows fits any machine that builds this")
}

fn key(number: u32, ip_version: u8) -> FlowKey {
    let octets = number.to_be_bytes();
    let address = |first: u8| match ip_version {
        IpVersion::V4 => Address::from_ipv4([first, octets[1], octets[2], octets[3]]),
        _ => Address::from_words([u64::from(first), u64::from(number)]),
    };
    FlowKey {
        source_address: address(10),
        destination_address: address(192),
        interface: 2,
        source_port: NetworkU16::new(1024 + (number % 50_000) as u16),
        destination_port: NetworkU16::new(443),
        protocol: if number.is_multiple_of(4) { FlowKey::UDP } else { FlowKey::TCP },
        ip_version,
        ports: Ports::PRESENT,
        ..FlowKey::default()
    }
}

fn counters(at: u64) -> FlowCounters {
    FlowCounters {
        packets: 3,
        octets: 1500,
        first: at,
        last: at + SECOND / 10,
        tcp_control_bits: 0x18,
        minimum_ttl: 64,
        maximum_ttl: 64,
        ..FlowCounters::default()
    }
}

/// Deltas of one second, each flow once: in an order that has nothing to do with the numbers, nor with another second's.
fn deltas(flows: u32, second: u64) -> Deltas {
    // It has no factor in common with a power of ten, which numbers of flows are here.
    let step = 7_368_787 + 1_234_560 * second;
    (0..u64::from(flows))
        .map(|n| {
            let at = second * SECOND + n * 800_000_000 / u64::from(flows);
            (key((n * step % u64::from(flows)) as u32, IpVersion::V4), counters(at))
        })
        .collect()
}

fn merge(cache: &mut Cache, deltas: &Deltas) {
    for deltas in deltas.chunks(DELTAS) {
        cache.merge_all(deltas, &mut |_, _, _| {});
    }
}

fn merge_new(counted: &mut Counted, flows: u32) -> u64 {
    let (mut cache, deltas) = (warm(flows), deltas(flows, 200));
    counted.run(|| merge(&mut cache, &deltas));
    cache.flows() as u64
}

/// A cache whose slots have been in use.
fn warm(flows: u32) -> Cache {
    let mut cache = cache(flows);
    merge(&mut cache, &deltas(flows, 100));
    cache.expire(MonotonicNanos(150 * SECOND), &mut |_, _, _| {});
    cache
}

fn merge_known(counted: &mut Counted, flows: u32) -> u64 {
    let mut cache = warm(flows);
    merge(&mut cache, &deltas(flows, 200));
    cache.expire(MonotonicNanos(201 * SECOND), &mut |_, _, _| {});
    let deltas = deltas(flows, 202);
    counted.run(|| merge(&mut cache, &deltas));
    cache.flows() as u64
}

fn expire(counted: &mut Counted, flows: u32) -> u64 {
    let mut cache = warm(flows);
    merge(&mut cache, &deltas(flows, 200));
    cache.expire(MonotonicNanos(201 * SECOND), &mut |_, _, _| {});
    let mut sum = 0;
    counted.run(|| {
        cache.expire(MonotonicNanos(250 * SECOND), &mut |_, counters, _| sum += counters.packets);
    });
    sum / 3
}

/// What a flow costs that has one packet only: merged, ended, made a record, written.
fn new_flow_to_message(counted: &mut Counted, flows: u32) -> u64 {
    let (mut cache, deltas) = (warm(flows), deltas(flows, 200));
    let mut packer = packer(Protocol::Ipfix);
    let mut written = 0;
    counted.run(|| {
        merge(&mut cache, &deltas);
        let mut records: Vec<FlowRecord> = Vec::with_capacity(DELTAS);
        cache.expire(MonotonicNanos(250 * SECOND), &mut |key, counters, reason| {
            records.push((key, counters).into_record(reason, &CLOCK));
            if records.len() == DELTAS {
                written += pack(&mut packer, &records);
                records.clear();
            }
        });
        written += pack(&mut packer, &records);
    });
    written
}

fn packer(protocol: Protocol) -> Packer {
    let config = PackerConfig {
        observation_domain_id: 1,
        template_refresh: Duration::from_secs(600),
        template_refresh_messages: NonZeroU32::MAX,
        options_refresh: Duration::from_secs(600),
        statistics_interval: Duration::from_secs(600),
        exporter_address: [192, 0, 2, 1],
        sys_up_time_origin: MonotonicNanos(0),
        message_size: MESSAGE_SIZE,
    };
    let packer = TemplateSet::new(&TemplateOptions::new(protocol)).and_then(|set| Packer::new(config, set));
    packer.expect("the default templates fit a message")
}

fn pack(packer: &mut Packer, mut records: &[FlowRecord]) -> u64 {
    let all = records.len();
    while let Some(message) = packer.next_message(records, CLOCK) {
        black_box(message.octets);
        records = &records[message.records..];
        packer.commit();
    }
    all as u64
}

fn records(ip_version: u8, flows: u32) -> Vec<FlowRecord> {
    let records = 0..flows.min(RECORDS as u32);
    let record = |n| (key(n, ip_version), counters(90 * SECOND + u64::from(n)));
    records.map(|n| record(n).into_record(FlowEndReason::IdleTimeout, &CLOCK)).collect()
}

/// Encodes the same few records until there were `flows`.
fn encode_all(
    counted: &mut Counted,
    flows: u32,
    records: &[FlowRecord],
    mut pack: impl FnMut(&[FlowRecord]) -> u64,
) -> u64 {
    let rounds = (flows as usize / records.len().max(1)).max(1);
    counted.run(|| (0..rounds).map(|_| pack(records)).sum())
}

fn encode(counted: &mut Counted, protocol: Protocol, ip_version: u8, flows: u32) -> u64 {
    let (mut packer, records) = (packer(protocol), records(ip_version, flows));
    encode_all(counted, flows, &records, |records| pack(&mut packer, records))
}

fn encode_v5(counted: &mut Counted, flows: u32) -> u64 {
    let config = V5PackerConfig {
        observation_domain_id: 1,
        sampling: None,
        prefix_lengths: [None; 2],
        sys_up_time_origin: MonotonicNanos(0),
        message_size: MESSAGE_SIZE,
    };
    let mut packer = V5Packer::new(config).expect("a record fits a datagram");
    encode_all(counted, flows, &records(IpVersion::V4, flows), |mut records| {
        let all = records.len() as u64;
        while let Some(message) = packer.next_message(records, CLOCK) {
            black_box(message.octets);
            records = &records[message.records..];
            packer.commit();
        }
        all
    })
}
