//! What a spool keeps, gives back and gives up.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{num::NonZeroU32, path::Path, time::Duration};

use netflow_common::{FlowCounters, FlowKey, IpVersion};

use super::*;
use crate::{
    collect::Collector,
    ledger::Ledger,
    message::{Packer, PackerConfig, Protocol, TemplateOptions, TemplateSet},
    record::FlowEndReason,
    time::MonotonicNanos,
};

const NOW: Instant =
    Instant { monotonic: MonotonicNanos(1_000_000_000), unix_nanos: 1_767_225_600_000_000_000 };

fn spool(directory: &Path, size: u64) -> (Spool, Arc<DestinationBooks>) {
    let options = SpoolOptions { directory: Some(directory.to_owned()), size, rate: 1 };
    let books = Ledger::new().join("tcp:collector:4739");
    let messages = |message_size| {
        let config = PackerConfig {
            observation_domain_id: 1,
            template_refresh: Duration::from_secs(100_000_000),
            template_refresh_messages: NonZeroU32::MAX,
            options_refresh: Duration::from_secs(100_000_000),
            statistics_interval: Duration::from_secs(60),
            exporter_address: [0; 4],
            sys_up_time_origin: MonotonicNanos(0),
            message_size,
        };
        let templates = TemplateSet::new(&TemplateOptions::new(Protocol::Ipfix)).unwrap();
        Ok(Messages::Templates(Box::new(Packer::new(config, templates).unwrap())))
    };
    let spool =
        Spool::open(&options, "tcp:collector:4739", Some(1500), messages, Arc::clone(&books)).unwrap();
    (spool, books)
}

fn records(packets: std::ops::Range<u64>) -> Vec<FlowRecord> {
    let record = |packets| {
        let key = FlowKey { ip_version: IpVersion::V4, ..FlowKey::default() };
        let counters = FlowCounters { packets, octets: 40 * packets, ..FlowCounters::default() };
        FlowRecord::new(key, counters, FlowEndReason::IdleTimeout, &NOW)
    };
    packets.map(record).collect()
}

/// Takes records that are in the queue, as the books say.
fn put(spool: &mut Spool, books: &DestinationBooks, records: &[FlowRecord]) {
    books.queued(volume(records));
    spool.put(records, NOW);
    let numbers = books.read();
    assert_eq!(numbers.queued, Volume::default());
    assert!(numbers.check("spool").next().is_none());
}

/// Reads up to so many messages of the oldest file as one connection would carry them; they arrive. Returns the packets of
/// each record.
fn give_back(spool: &mut Spool, books: &DestinationBooks, messages: usize) -> Vec<u64> {
    let mut replay = spool.begin_replay().unwrap();
    let mut collector = Collector::new();
    let mut packets = Vec::new();
    for _ in 0..messages {
        let Some(message) = replay.next_message() else { break };
        let flows = collector.decode("192.0.2.1:1".parse().unwrap(), message);
        packets.extend(flows.iter().map(|flow| flow.packets().unwrap()));
        let (octets, volume) = replay.deliver().unwrap();
        books.replayed(octets, volume);
    }
    let counters = collector.counters();
    assert_eq!((counters.malformed, counters.unknown_template, counters.sequence_gaps), (0, 0, 0));
    spool.end_replay(replay);
    packets
}

#[test]
fn records_come_back_in_order_and_what_is_delivered_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let (mut spool, books) = spool(directory.path(), 1 << 30);
    assert!(spool.is_empty() && spool.begin_replay().is_none());
    put(&mut spool, &books, &records(1..100));
    put(&mut spool, &books, &records(100..200));
    assert_eq!(give_back(&mut spool, &books, usize::MAX), (1..200).collect::<Vec<_>>());
    assert!(spool.is_empty());
    assert_eq!(books.read().sent.records, 199);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn what_was_delivered_of_a_file_does_not_go_again_and_its_sequence_numbers_have_no_gap() {
    let directory = tempfile::tempdir().unwrap();
    let (mut spool, books) = spool(directory.path(), 1 << 30);
    put(&mut spool, &books, &records(1..200));
    let mut packets = Vec::new();
    // Templates alone; then some records at a time: each time a whole session with its templates.
    for messages in [1, 4, 3, usize::MAX] {
        packets.extend(give_back(&mut spool, &books, messages));
    }
    assert_eq!(packets, (1..200).collect::<Vec<_>>());
    assert!(spool.is_empty());
    let numbers = books.read();
    assert_eq!((numbers.sent.records, numbers.spooled.records), (199, 0));
}

#[test]
fn the_next_run_finds_what_is_left_and_counts_it_as_inherited() {
    let directory = tempfile::tempdir().unwrap();
    let (mut first, books) = spool(directory.path(), 1 << 30);
    put(&mut first, &books, &records(1..50));
    first.complete_open();
    put(&mut first, &books, &records(50..60));
    assert_eq!(books.read().spooled.records, 59);
    // It dies: the file that was open has not its name.
    drop(first);
    let (mut second, books) = spool(directory.path(), 1 << 30);
    let numbers = books.read();
    assert_eq!((numbers.inherited.records, numbers.inherited.packets), (59, (1..60).sum()));
    assert_eq!(numbers.spooled, numbers.inherited);
    put(&mut second, &books, &records(60..70));
    let mut packets = Vec::new();
    while !second.is_empty() {
        packets.extend(give_back(&mut second, &books, usize::MAX));
    }
    assert_eq!(packets, (1..70).collect::<Vec<_>>());
}

#[test]
fn beyond_the_bound_the_oldest_go_and_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    let (mut spool, books) = spool(directory.path(), 300_000);
    for round in 0..20 {
        put(&mut spool, &books, &records(1 + 500 * round..501 + 500 * round));
        assert!(spool.octets() <= 300_000);
    }
    let numbers = books.read();
    let lost = numbers.not_sent[NotSent::SpoolFull as usize].records;
    assert!(lost > 0);
    assert_eq!(lost + numbers.spooled.records, 10_000);
    let mut packets = Vec::new();
    while !spool.is_empty() {
        packets.extend(give_back(&mut spool, &books, usize::MAX));
    }
    assert_eq!(packets, (1 + lost..10_001).collect::<Vec<_>>());
}

#[test]
fn a_disk_that_takes_nothing_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let (mut spool, books) = spool(directory.path(), 1 << 30);
    drop(directory);
    put(&mut spool, &books, &records(1..4));
    assert_eq!(books.read().not_sent[NotSent::SpoolFailed as usize].records, 3);
    assert!(spool.is_empty());
}
