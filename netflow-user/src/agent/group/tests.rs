//! Who gets what, and when that changes.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use netflow_common::{FlowCounters, NetworkU16};

use super::*;
use crate::{
    agent::queue::QUEUE_RECORDS,
    ledger::{Ledger, NotSent, Tally},
    record::FlowEndReason,
};

fn second(seconds: u64) -> MonotonicNanos {
    MonotonicNanos(seconds * 1_000_000_000)
}

fn key(number: u16) -> FlowKey {
    FlowKey::of_session(FlowKey::UDP, ([10, 1, 0, 1].into(), number), ([10, 2, 0, 2].into(), 53))
}

fn reversed(key: &FlowKey) -> FlowKey {
    FlowKey {
        source_address: key.destination_address,
        destination_address: key.source_address,
        source_port: key.destination_port,
        destination_port: key.source_port,
        interface: key.interface + 1,
        direction: 1,
        ..*key
    }
}

fn record(key: FlowKey) -> FlowRecord {
    let counters = FlowCounters { packets: 1, octets: 40, ..FlowCounters::default() };
    FlowRecord::new(key, counters, FlowEndReason::IdleTimeout, &Instant::default())
}

/// A group of so many, with its ledger.
fn group(mode: CollectorMode, members: usize) -> (Dispatch, Ledger) {
    let mut ledger = Ledger::new();
    let queues: Vec<_> = (0..members)
        .map(|number| Arc::new(Queue::new(ledger.join(format!("192.0.2.{number}:4739")), QUEUE_RECORDS)))
        .collect();
    let members: Vec<usize> = (0..members).collect();
    ledger.share("x", &members);
    (Dispatch::new(queues, &[CollectorGroup { name: "x".to_owned(), mode, members }]), ledger)
}

fn offer(dispatch: &mut Dispatch, ledger: &mut Ledger, records: &[FlowRecord]) {
    for record in records {
        let tally = Tally { packets: record.packets(), octets: record.octets() };
        ledger.record(record.end_reason, tally);
    }
    dispatch.offer(&mut records.to_vec(), None);
    ledger.check_destinations().unwrap();
}

fn keys(queue: &Queue) -> Vec<FlowKey> {
    std::iter::from_fn(|| queue.take()).flat_map(|batch| batch.records.to_vec()).map(|it| it.key).collect()
}

#[test]
fn a_balanced_flow_stays_at_one_collector_in_both_directions() {
    let (mut dispatch, mut ledger) = group(CollectorMode::Balance, 3);
    let records: Vec<_> =
        (0..3000).flat_map(|number| [record(key(number)), record(reversed(&key(number)))]).collect();
    offer(&mut dispatch, &mut ledger, &records);
    offer(&mut dispatch, &mut ledger, &records);
    let shares: Vec<Vec<FlowKey>> = dispatch.queues().iter().map(|queue| keys(queue)).collect();
    assert_eq!(shares.iter().map(Vec::len).sum::<usize>(), 12_000);
    let ports = |share: &Vec<FlowKey>| -> BTreeSet<u16> {
        share
            .iter()
            .map(|key| key.source_port.value().max(key.destination_port.value()))
            .filter(|&port| port > 53)
            .collect()
    };
    let ports: Vec<_> = shares.iter().map(ports).collect();
    assert!(ports[0].is_disjoint(&ports[1]) && ports[0].is_disjoint(&ports[2]));
    assert!(ports[1].is_disjoint(&ports[2]));
    for share in &shares {
        assert!(
            (3400..=4600).contains(&share.len()),
            "{:?}",
            shares.iter().map(Vec::len).collect::<Vec<_>>()
        );
    }
}

#[test]
fn shares_are_the_same_at_every_start_and_a_further_collector_moves_only_its_own() {
    let names = ["192.0.2.1:4739", "192.0.2.2:4739", "192.0.2.3:4739"].map(name_hash);
    let of = |number: u16, seeds: &[u64]| highest(flow_hash(&key(number)), seeds);
    let mut moved = 0;
    for number in 0..3000 {
        let (before, behind) = (of(number, &names[..2]), of(number, &names));
        assert!(before == behind || behind == 2);
        moved += u32::from(before != behind);
    }
    assert!((800..=1200).contains(&moved), "{moved}");
    // Fixed: another number would move the flows of everybody who updates.
    assert_eq!(flow_hash(&key(7)), FLOW_7);
}
const FLOW_7: u64 = 9_575_563_845_146_739_520;

#[test]
fn question_and_answer_of_icmp_are_one_flow() {
    let icmp = |kind: u16| FlowKey {
        protocol: 1,
        source_port: NetworkU16::new(0),
        destination_port: NetworkU16::new(kind * 256),
        ..key(0)
    };
    let answer = FlowKey {
        source_address: icmp(0).destination_address,
        destination_address: icmp(0).source_address,
        ..icmp(0)
    };
    assert_eq!(flow_hash(&icmp(8)), flow_hash(&answer));
    assert_ne!(flow_hash(&key(1)), flow_hash(&key(2)));
}

#[test]
fn round_robin_passes_over_who_is_not_well() {
    let (mut dispatch, mut ledger) = group(CollectorMode::RoundRobin, 3);
    dispatch.queues()[1].set_good(false);
    dispatch.groups[0].look(second(1));
    for number in 0..6 {
        offer(&mut dispatch, &mut ledger, &[record(key(number))]);
    }
    let counts: Vec<usize> = dispatch.queues().iter().map(|queue| keys(queue).len()).collect();
    assert_eq!(counts, [3, 0, 3]);
}

#[test]
fn failover_goes_to_the_next_and_returns_after_a_while() {
    let (mut dispatch, mut ledger) = group(CollectorMode::Failover, 3);
    let mut gets = |dispatch: &mut Dispatch, at: u64, good: [bool; 3]| {
        for (queue, good) in dispatch.queues().iter().zip(good) {
            queue.set_good(good);
        }
        dispatch.groups[0].look(second(at));
        offer(dispatch, &mut ledger, &[record(key(at as u16))]);
        let counts: Vec<usize> = dispatch.queues().iter().map(|queue| keys(queue).len()).collect();
        counts.iter().position(|&count| count == 1).unwrap()
    };
    assert_eq!(gets(&mut dispatch, 1, [true; 3]), 0);
    assert_eq!(gets(&mut dispatch, 2, [false, true, true]), 1);
    assert_eq!(gets(&mut dispatch, 3, [false, false, true]), 2);
    assert_eq!(gets(&mut dispatch, 4, [true, false, true]), 2, "not at once");
    assert_eq!(gets(&mut dispatch, 13, [true, false, true]), 2);
    assert_eq!(gets(&mut dispatch, 14, [true, false, true]), 0, "well for 10 s");
    assert_eq!(gets(&mut dispatch, 15, [false, false, false]), 0, "there is nobody else: its books count");
    assert_eq!(gets(&mut dispatch, 16, [false, true, false]), 1);
    assert_eq!(gets(&mut dispatch, 17, [true, true, true]), 1);
    assert_eq!(gets(&mut dispatch, 18, [false, true, true]), 1, "it was well too briefly");
    assert_eq!(gets(&mut dispatch, 27, [true, true, true]), 1);
    assert_eq!(gets(&mut dispatch, 37, [true, true, true]), 0);
}

#[test]
fn what_a_full_queue_cannot_take_goes_to_the_next_and_else_is_counted() {
    let (mut dispatch, mut ledger) = group(CollectorMode::Failover, 2);
    let many = vec![record(key(1)); QUEUE_RECORDS as usize];
    offer(&mut dispatch, &mut ledger, &many);
    offer(&mut dispatch, &mut ledger, &[record(key(2))]);
    assert_eq!(dispatch.queues()[1].records(), 1);
    offer(&mut dispatch, &mut ledger, &many[1..]);
    offer(&mut dispatch, &mut ledger, &[record(key(3))]);
    let books = ledger.books();
    let not_sent = &books.destinations[0].not_sent.0[NotSent::QueueFull as usize];
    assert_eq!(not_sent.1.records, 1, "{not_sent:?}");
}
