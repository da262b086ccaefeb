//! Biflows in the cache: who is paired with whom, who is the source, and that nothing gets lost.

use netflow_common::{
    Address, FlowCounters, FlowKey, INITIAL_SYN, IpVersion, NetworkU16, Ports, WideCounters, WideKey,
};

use super::{super::*, FIN_ACK, TCP, UDP};
use crate::record::{BiflowDirection, FlowRecord, IntoRecord};
use crate::time::Instant;

const SECOND: u64 = 1_000_000_000;
const CLIENT: [u8; 4] = [198, 51, 100, 9];
const SERVER: [u8; 4] = [192, 0, 2, 1];
const SYN: u16 = 0x02;
const SYN_ACK: u16 = 0x12;
/// One step of the clock, nanoseconds.
const STEP: u64 = 4_000_000;

fn key(protocol: u8, from: ([u8; 4], u16), to: ([u8; 4], u16)) -> FlowKey {
    FlowKey {
        source_address: Address::from_ipv4(from.0),
        destination_address: Address::from_ipv4(to.0),
        source_port: NetworkU16::new(from.1),
        destination_port: NetworkU16::new(to.1),
        interface: 7,
        protocol,
        ip_version: IpVersion::V4,
        ports: Ports::PRESENT,
        ..FlowKey::default()
    }
}

fn there(protocol: u8) -> FlowKey {
    key(protocol, (CLIENT, 40_000), (SERVER, 443))
}

fn back(protocol: u8) -> FlowKey {
    key(protocol, (SERVER, 443), (CLIENT, 40_000))
}

/// Packets of 100 octets, times in nanoseconds.
fn packets(packets: u64, first: u64, last: u64, tcp_control_bits: u16) -> FlowCounters {
    FlowCounters { packets, octets: 100 * packets, first, last, tcp_control_bits, ..FlowCounters::default() }
}

fn one(first: u64, bits: u16) -> FlowCounters {
    packets(1, first, first, bits)
}

struct Cache {
    cache: FlowCache<FlowKey, Biflow<FlowCounters>>,
    records: Vec<FlowRecord>,
}

impl Cache {
    fn new() -> Self {
        let timeouts = Timeouts::new(
            std::time::Duration::from_secs(15),
            std::time::Duration::from_secs(60),
            std::time::Duration::from_secs(2),
        );
        let capacity = NonZeroU32::new(100).unwrap();
        Self { cache: FlowCache::new(capacity, timeouts.unwrap(), [1, 2]).unwrap(), records: Vec::new() }
    }

    fn merge(&mut self, key: FlowKey, counters: FlowCounters) -> &mut Self {
        let (key, counters) = pair(&key, &counters, STEP);
        let records = &mut self.records;
        self.cache.merge(&key, &counters, &mut |key, counters, reason| {
            records.push((key, counters).into_record(reason, &CLOCK));
        });
        self
    }

    fn expire(&mut self, now: u64) -> Vec<FlowRecord> {
        let records = &mut self.records;
        self.cache.expire(MonotonicNanos(now), &mut |key, counters, reason| {
            records.push((key, counters).into_record(reason, &CLOCK));
        });
        assert_eq!(self.cache.in_cache(), self.cache.recount());
        std::mem::take(&mut self.records)
    }

    fn flush(&mut self) -> Vec<FlowRecord> {
        let records = &mut self.records;
        self.cache.flush(FlowEndReason::ForcedEnd, &mut |key, counters, reason| {
            records.push((key, counters).into_record(reason, &CLOCK));
        });
        std::mem::take(&mut self.records)
    }

    /// The one record of what was merged.
    fn only(&mut self) -> FlowRecord {
        let records = self.flush();
        assert_eq!(records.len(), 1);
        records.into_iter().next().unwrap()
    }
}

const CLOCK: Instant = Instant { monotonic: MonotonicNanos(0), unix_nanos: 1_767_225_600_000_000_000 };

#[test]
fn both_directions_are_one_record_and_times_are_those_of_each() {
    // BIFLOW-10
    let mut cache = Cache::new();
    cache
        .merge(there(UDP), packets(3, SECOND, 3 * SECOND, 0))
        .merge(back(UDP), packets(2, 2 * SECOND, 5 * SECOND, 0));
    let record = cache.only();
    let reverse = record.reverse.as_ref().unwrap();
    assert_eq!((record.key, reverse.key), (there(UDP), back(UDP)));
    assert_eq!((record.counters.first, record.counters.last), (SECOND, 3 * SECOND));
    assert_eq!((reverse.counters.first, reverse.counters.last), (2 * SECOND, 5 * SECOND));
    assert_eq!((reverse.end.0 - record.end.0, record.packets()), (2000, 5));
}

#[test]
fn a_flow_without_reverse_packets_goes_by_itself_as_it_was_seen() {
    // BIFLOW-4
    for key in [there(UDP), back(UDP)] {
        let record = Cache::new().merge(key, one(SECOND, 0)).only();
        assert_eq!((record.key, record.reverse), (key, None));
    }
}

#[test]
fn the_one_that_sends_a_syn_without_ack_is_the_source_whatever_came_first() {
    // BIFLOW-5; from the higher port and from the lower one.
    for (client, server) in [(there(TCP), back(TCP)), (back(TCP), there(TCP))] {
        let mut cache = Cache::new();
        cache
            .merge(server, one(SECOND, SYN_ACK))
            .merge(client, packets(5, 2 * SECOND, 3 * SECOND, SYN | INITIAL_SYN | 0x10));
        let record = cache.only();
        assert_eq!(record.key, client);
        assert_eq!(record.biflow_direction, BiflowDirection::Initiator);
        assert_eq!(record.counters.tcp_control_bits, SYN_ACK, "the mark is not a control bit");
    }
}

#[test]
fn without_a_syn_the_earlier_one_is_the_source_if_a_step_of_the_clock_lies_between() {
    // BIFLOW-5, start in the middle of a connection
    let mut cache = Cache::new();
    cache.merge(back(TCP), one(SECOND, 0x10)).merge(there(TCP), one(SECOND + STEP, 0x10));
    assert_eq!(cache.only().key, back(TCP));
}

#[test]
fn in_one_step_of_the_clock_the_lower_port_is_the_servers() {
    for order in [[there(UDP), back(UDP)], [back(UDP), there(UDP)]] {
        let mut cache = Cache::new();
        cache.merge(order[0], one(SECOND, 0)).merge(order[1], one(SECOND + STEP - 1, 0));
        let record = cache.only();
        assert_eq!((record.key, record.biflow_direction), (there(UDP), BiflowDirection::Initiator));
    }
}

#[test]
fn a_source_that_nothing_tells_is_said_to_be_arbitrary() {
    // BIFLOW-7
    let (one_way, other_way) =
        (key(UDP, (CLIENT, 123), (SERVER, 123)), key(UDP, (SERVER, 123), (CLIENT, 123)));
    let mut cache = Cache::new();
    let record = cache.merge(one_way, one(SECOND, 0)).merge(other_way, one(SECOND, 0)).only();
    assert_eq!(record.biflow_direction, BiflowDirection::Arbitrary);
    assert_eq!(record.packets(), 2);
}

#[test]
fn the_source_stays_over_active_timeouts() {
    // BIFLOW-6: the first packet after the timeout is the server's.
    let mut cache = Cache::new();
    cache.merge(there(TCP), one(SECOND, SYN | INITIAL_SYN)).merge(back(TCP), one(SECOND, SYN_ACK));
    for second in (11..=61).step_by(10) {
        cache.merge(back(TCP), one(second * SECOND, 0x10));
        let records = cache.expire(second * SECOND);
        assert_eq!(records.len(), usize::from(second == 61));
        assert!(records.iter().all(|record| record.key == there(TCP)));
    }
    cache.merge(back(TCP), one(62 * SECOND, 0x10)).merge(there(TCP), one(63 * SECOND, 0x10));
    assert_eq!(cache.only().key, there(TCP));
}

#[test]
fn a_record_of_reverse_packets_alone_is_theirs() {
    let mut cache = Cache::new();
    cache
        .merge(there(TCP), one(SECOND, SYN | INITIAL_SYN))
        .merge(back(TCP), packets(9, SECOND, 61 * SECOND, 0x12));
    assert_eq!(cache.expire(61 * SECOND).len(), 1);
    let record = cache.merge(back(TCP), one(62 * SECOND, 0x10)).only();
    assert_eq!((record.key, record.reverse, record.counters.packets), (back(TCP), None, 1));
}

#[test]
fn another_flow_of_the_same_key_has_a_source_of_its_own() {
    let mut cache = Cache::new();
    cache.merge(there(UDP), one(SECOND, 0)).merge(back(UDP), one(2 * SECOND, 0));
    cache.expire(3 * SECOND);
    // A pause longer than the idle timeout, seen in one flip: the first flow is parked, the second begins.
    cache.merge(back(UDP), one(30 * SECOND, 0)).merge(there(UDP), one(31 * SECOND, 0));
    let first = cache.expire(32 * SECOND);
    assert_eq!((first.len(), first[0].key), (1, there(UDP)));
    assert_eq!(cache.only().key, back(UDP));
}

#[test]
fn class_of_service_and_direction_are_those_of_each_ones_first_packet() {
    let (mut request, mut answer, mut later) = (there(TCP), back(TCP), there(TCP));
    (request.class_of_service, answer.class_of_service, later.class_of_service) = (0x10, 0x02, 0xb8);
    (answer.direction, answer.interface) = (1, request.interface);
    let mut cache = Cache::new();
    cache.merge(later, one(9 * SECOND, 0x10)).merge(request, one(SECOND, SYN | INITIAL_SYN));
    let record = cache.merge(answer, one(SECOND, SYN_ACK)).only();
    let reverse = record.reverse.as_ref().unwrap();
    assert_eq!((record.key.class_of_service, record.key.direction), (0x10, 0));
    assert_eq!((reverse.key.class_of_service, reverse.key.direction), (0x02, 1));
    assert_eq!(record.packets(), 3);
}

#[test]
fn queries_of_icmp_are_paired_with_their_replies_and_other_messages_with_nothing() {
    let icmp = |kind: u16, from, to| key(1, (from, 0), (to, kind << 8));
    let mut cache = Cache::new();
    let record = cache
        .merge(icmp(0, SERVER, CLIENT), one(SECOND, 0))
        .merge(icmp(8, CLIENT, SERVER), one(SECOND, 0))
        .only();
    assert_eq!((record.key, record.biflow_direction), (icmp(8, CLIENT, SERVER), BiflowDirection::Initiator));
    assert_eq!(record.reverse.unwrap().key, icmp(0, SERVER, CLIENT));
    // Unreachable, both ways: nobody answers the other.
    cache.merge(icmp(3, SERVER, CLIENT), one(SECOND, 0)).merge(icmp(3, CLIENT, SERVER), one(SECOND, 0));
    assert_eq!(cache.flush().len(), 2);

    let mut six = icmp(128, CLIENT, SERVER);
    (six.protocol, six.ip_version) = (58, IpVersion::V6);
    let reply = six.reversed().unwrap();
    assert_eq!((reply.destination_port.value(), reply.source_address), (129 << 8, six.destination_address));
    assert_eq!(reply.reversed(), Some(six));
}

#[test]
fn a_fin_of_either_side_ends_the_biflow() {
    let mut cache = Cache::new();
    cache.merge(there(TCP), one(SECOND, 0x10)).merge(back(TCP), one(SECOND, FIN_ACK));
    let records = cache.expire(4 * SECOND);
    assert_eq!((records.len(), records[0].end_reason), (1, FlowEndReason::EndOfFlowDetected));
    assert_eq!(records[0].packets(), 2);
}

#[test]
fn wide_keys_exchange_mac_addresses_too() {
    let key = WideKey { flow: there(TCP), source_mac: [1; 6], destination_mac: [2; 6], ..WideKey::default() };
    let answer = key.reversed().unwrap();
    assert_eq!((answer.flow, answer.source_mac, answer.destination_mac), (back(TCP), [2; 6], [1; 6]));
    let counters = |retransmitted| WideCounters {
        flow: one(SECOND, 0x10),
        tcp_retransmitted: retransmitted,
        ..WideCounters::default()
    };
    let (cached, mut sum) = pair(&key, &counters(1), STEP);
    let (other, delta) = pair(&answer, &counters(5), STEP);
    assert_eq!(cached, other);
    sum.merge(&delta);
    let record = (cached, sum).into_record(FlowEndReason::IdleTimeout, &CLOCK);
    let retransmitted = |record: &FlowRecord| record.extras.as_ref().unwrap().counters.tcp_retransmitted;
    assert_eq!((retransmitted(&record), retransmitted(record.reverse.as_ref().unwrap())), (1, 5));
}

#[test]
fn whatever_the_order_of_deltas_the_records_are_the_same() {
    let deltas = [
        (there(TCP), packets(2, SECOND, 2 * SECOND, SYN | INITIAL_SYN)),
        (back(TCP), packets(3, SECOND, 3 * SECOND, SYN_ACK)),
        (there(TCP), packets(4, SECOND, SECOND, 0x10)),
        (back(TCP), packets(5, 5 * SECOND, 6 * SECOND, 0x18)),
    ];
    let mut expected = None;
    for rotation in 0..deltas.len() {
        for reversed in [false, true] {
            let mut order = deltas;
            order.rotate_left(rotation);
            if reversed {
                order.reverse();
            }
            let mut cache = Cache::new();
            for (key, counters) in order {
                cache.merge(key, counters);
            }
            let record = cache.only();
            assert_eq!(record.packets(), 14);
            assert_eq!(expected.get_or_insert(record.clone()), &record);
        }
    }
}
