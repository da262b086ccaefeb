//! Whole sessions, read by a decoder that was not written here.
#![allow(clippy::unwrap_used, reason = "tests")]

mod collector;
mod options;
mod random;

use std::{num::NonZeroU32, time::Duration};

use netflow_common::Address;
use netflow_user::{
    message::{Packer, PackerConfig, Protocol, TemplateOptions, TemplateSet},
    record::FlowRecord,
    time::{Instant, MonotonicNanos},
};

use collector::{Collector, Decoded, Fields};
use random::Random;

const PROTOCOLS: [Protocol; 2] = [Protocol::Ipfix, Protocol::NetflowV9];
/// Monotonic zero, on the wall clock: no whole second.
const OFFSET: u64 = 1_767_225_600_123_456_789;

fn at(nanos: u64) -> Instant {
    Instant { monotonic: MonotonicNanos(nanos), unix_nanos: OFFSET + nanos }
}

fn packer(protocol: Protocol, config: PackerConfig) -> Packer {
    Packer::new(config, TemplateSet::new(&TemplateOptions::new(protocol)).unwrap()).unwrap()
}

fn config() -> PackerConfig {
    PackerConfig {
        observation_domain_id: 7,
        template_refresh: Duration::from_secs(60),
        template_refresh_messages: NonZeroU32::new(20).unwrap(),
        options_refresh: Duration::from_secs(60),
        statistics_interval: Duration::from_secs(60),
        exporter_address: [192, 0, 2, 1],
        sys_up_time_origin: MonotonicNanos(1_234_567),
        message_size: 1472,
    }
}

/// The smallest message size of a protocol, see `Packer::new`.
fn least_size(protocol: Protocol) -> usize {
    match protocol {
        Protocol::Ipfix => 132,
        Protocol::NetflowV9 => 124,
    }
}

fn header_len(protocol: Protocol) -> usize {
    match protocol {
        Protocol::Ipfix => 16,
        Protocol::NetflowV9 => 20,
    }
}

fn record_len(protocol: Protocol, record: &FlowRecord) -> usize {
    match (protocol, record.key.is_ipv4()) {
        (Protocol::Ipfix, true) => 69,
        (Protocol::Ipfix, false) => 109,
        (Protocol::NetflowV9, true) => 59,
        (Protocol::NetflowV9, false) => 98,
    }
}

/// What the collector should make of a record.
fn expected(protocol: Protocol, record: &FlowRecord) -> Fields {
    let (key, counters) = (&record.key, &record.counters);
    let v9 = protocol == Protocol::NetflowV9;
    let icmp = if key.is_ipv4() { key.protocol == 1 } else { key.protocol == 58 };
    let destination_port = u128::from(key.destination_port.value());
    let mut fields = Fields::from([
        (1, counters.octets.into()),
        (2, counters.packets.into()),
        (4, key.protocol.into()),
        (5, key.class_of_service.into()),
        (6, (counters.tcp_control_bits & if v9 { 0xff } else { u16::MAX }).into()),
        (7, key.source_port.value().into()),
        (10, if key.direction == 0 { key.interface.into() } else { 0 }),
        (11, destination_port),
        (14, if key.direction == 1 { key.interface.into() } else { 0 }),
        (if key.is_ipv4() || v9 { 32 } else { 139 }, if icmp { destination_port } else { 0 }),
        (52, counters.minimum_ttl.into()),
        (53, counters.maximum_ttl.into()),
        (58, key.vlan_id.into()),
        (60, key.ip_version.into()),
        (61, key.direction.into()),
        (152, record.start.0.into()),
        (153, record.end.0.into()),
    ]);
    if key.is_ipv4() {
        let address = |address: Address| u32::from_be_bytes(address.ipv4_octets()).into();
        fields.extend([(8, address(key.source_address)), (12, address(key.destination_address)), (15, 0)]);
    } else {
        let address = |address: Address| u128::from_be_bytes(address.octets());
        fields.extend([(27, address(key.source_address)), (28, address(key.destination_address)), (62, 0)]);
        fields.insert(31, counters.flow_label.into());
    }
    if !v9 {
        fields.insert(136, record.end_reason as u128);
    }
    fields
}

/// v9 times as a collector turns them into wall-clock times, under the numbers of the IPFIX elements.
fn with_wall_clock_times(mut fields: Fields, decoded: &Decoded) -> Fields {
    for (sys_up_time, milliseconds) in [(22, 152), (21, 153)] {
        if let Some(time) = fields.remove(&sys_up_time) {
            // V5-REC-2: never after the header, in modulo arithmetic.
            let before = decoded.sys_up_time.wrapping_sub(time as u32);
            assert!(before <= i32::MAX as u32);
            fields.insert(milliseconds, u128::from(decoded.unix_secs) * 1000 - u128::from(before));
        }
    }
    fields
}

/// Walks the Sets as RFC 7011 section 3.3 and RFC 3954 section 5 have them; yields the Set IDs.
fn set_ids(protocol: Protocol, octets: &[u8], records: &[FlowRecord]) -> Vec<u16> {
    let (template_set, lengths) = match protocol {
        Protocol::Ipfix => (2, [69, 109]),
        Protocol::NetflowV9 => (0, [59, 98]),
    };
    let mut rest = &octets[header_len(protocol)..];
    let mut records = records.iter().peekable();
    let mut ids = Vec::new();
    // IPFIX-SET-2, IPFIX-SET-6, V9-FS-1: Sets fill the message exactly.
    while !rest.is_empty() {
        let id = u16::from_be_bytes([rest[0], rest[1]]);
        let length = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        assert!(length > 4);
        let (set, behind) = rest.split_at(length);
        rest = behind;
        ids.push(id);
        // V9-FS-2
        assert_eq!(length % 4, 0);
        // IPFIX-SET-3, V9-FS-4
        assert!(id == template_set || id == 256 || id == 257);
        if id != template_set {
            let record_len = lengths[usize::from(id - 256)];
            let padding = (length - 4) % record_len;
            // IPFIX-SET-4, IPFIX-SET-5, V9-FS-3
            assert!(padding < 4);
            assert!(set[length - padding..].iter().all(|&octet| octet == 0));
            // IPFIX-SET-1: one kind, and one Set for neighbours of the same kind.
            for _ in 0..(length - 4) / record_len {
                assert_eq!(records.next().unwrap().key.is_ipv4(), id == 256);
            }
            if !rest.is_empty() {
                assert_ne!(records.peek().unwrap().key.is_ipv4(), id == 256);
            }
        }
    }
    assert!(records.next().is_none());
    ids
}

/// Whether the first record left out would have fitted.
fn has_room(protocol: Protocol, size: usize, taken: &[FlowRecord], next: &FlowRecord, len: usize) -> bool {
    let room = size / 4 * 4 - len;
    let same = taken.iter().rev().take_while(|record| record.key.is_ipv4() == next.key.is_ipv4()).count();
    let len = record_len(protocol, next);
    if same == 0 { room >= 4 + len } else { room + (same * len).wrapping_neg() % 4 >= len }
}

/// Sends everything as an agent would, and checks each message.
fn check_session(protocol: Protocol, seed: u64) {
    let random = &mut Random(seed);
    let least = least_size(protocol);
    let messages = random.below(6) as u32 + 1;
    let mut size = least + random.below(1400) as usize;
    let mut packer = packer(
        protocol,
        PackerConfig {
            template_refresh_messages: NonZeroU32::new(messages).unwrap(),
            message_size: size,
            ..config()
        },
    );
    let mut collector = Collector::default();
    let mut sequence_number = 0_u32;
    let mut nanos = 4_000_000_000_000;
    for _ in 0..20 {
        nanos += random.below(30_000_000_000);
        let now = at(nanos);
        let count = [0, 1, 7, 100][random.below(4) as usize];
        let records: Vec<FlowRecord> = (0..count).map(|_| random.record(now)).collect();
        let mut rest = &records[..];
        while let Some(message) = packer.next_message(rest, now) {
            let (octets, taken) = (message.octets.to_vec(), message.records);
            if random.below(8) == 0 {
                // It was too large, or never left: it is built anew.
                size = least + random.below(1400) as usize;
                packer.set_message_size(size).unwrap();
                continue;
            }
            packer.commit();
            let (taken, left) = rest.split_at(taken);
            rest = left;

            // UDP-MTU-1
            assert!(octets.len() <= size);
            let decoded = collector.receive(&octets);
            let ids = set_ids(protocol, &octets, taken);
            assert_eq!(decoded.domain, 7);
            // IPFIX-SEQ-1, IPFIX-SEQ-2, IPFIX-SEQ-3, V9-HDR-3
            assert_eq!(decoded.sequence_number, sequence_number);
            let of_all_kinds = decoded.template_records + taken.len();
            match protocol {
                Protocol::Ipfix => {
                    // IPFIX-MSG-2
                    assert_eq!(usize::from(decoded.length_or_count), octets.len());
                    assert_eq!(u64::from(decoded.unix_secs), now.unix_nanos / 1_000_000_000);
                    sequence_number += taken.len() as u32;
                }
                Protocol::NetflowV9 => {
                    // V9-HDR-2
                    assert_eq!(usize::from(decoded.length_or_count), of_all_kinds);
                    sequence_number += 1;
                }
            }
            // IPFIX-MSG-9
            assert!(of_all_kinds > 0);
            // TMPL-ORD-2: templates stand first.
            assert!(ids[1..].iter().all(|&id| id >= 256));
            if let Some(next) = rest.first()
                && collector.knows(256)
                && collector.knows(257)
            {
                assert!(!has_room(protocol, size, taken, next, octets.len()));
            }
            assert_eq!(decoded.data_records.len(), taken.len());
            for (record, fields) in taken.iter().zip(&decoded.data_records) {
                // METER-TIME-2
                assert!(record.end.0 <= u64::from(decoded.unix_secs) * 1000 + 999);
                assert_eq!(with_wall_clock_times(fields.clone(), &decoded), expected(protocol, record));
            }
        }
        assert!(rest.is_empty());
        assert!(packer.template_deadline() > now.monotonic);
    }
}

#[test]
fn an_independent_decoder_reads_every_value_of_random_sessions() {
    for protocol in PROTOCOLS {
        for seed in 0..40 {
            check_session(protocol, seed);
        }
    }
}

/// Sends one message: how many Template Records and Data Records it holds.
fn send(packer: &mut Packer, records: &[FlowRecord], now: Instant) -> (usize, usize) {
    let protocol = if packer.next_message(records, now).unwrap().octets[1] == 9 {
        Protocol::NetflowV9
    } else {
        Protocol::Ipfix
    };
    let message = packer.next_message(records, now).unwrap();
    let octets = &message.octets[header_len(protocol)..];
    let templates = match u16::from_be_bytes([octets[0], octets[1]]) {
        0 | 2 => {
            let length = u16::from_be_bytes([octets[2], octets[3]]);
            // Template Records of 80 to 92 octets.
            usize::from(length - 4) / 80
        }
        _ => 0,
    };
    let sent = (templates, message.records);
    packer.commit();
    sent
}

#[test]
fn templates_too_long_for_one_message_take_several_and_data_still_flow() {
    // UDP-MTU-4, UDP-TMPL-4, V9-TMPL-2: the smallest message, and templates due after each message.
    for protocol in PROTOCOLS {
        let mut packer = packer(
            protocol,
            PackerConfig {
                template_refresh_messages: NonZeroU32::MIN,
                message_size: least_size(protocol),
                ..config()
            },
        );
        let now = at(4_000_000_000_000);
        let record = (0..).map(|seed| Random(seed).record(now)).find(|record| !record.key.is_ipv4()).unwrap();
        let sent: Vec<(usize, usize)> =
            (0..9).map(|_| send(&mut packer, &vec![record.clone(); 5], now)).collect();
        assert_eq!(sent, [(1, 0), (1, 0), (0, 1), (1, 0), (1, 0), (0, 1), (1, 0), (1, 0), (0, 1)]);
    }
}

#[test]
fn a_session_begins_with_templates_and_data_in_one_message() {
    // V9-TMPL-2, TMPL-ORD-5, UDP-TMPL-3
    for protocol in PROTOCOLS {
        let mut packer = packer(protocol, config());
        let now = at(4_000_000_000_000);
        let records = [Random(1).record(now)];
        let with_templates: Vec<usize> =
            (0..50).filter(|_| send(&mut packer, &records, now) == (2, 1)).collect();
        assert_eq!(with_templates, [0, 20, 40]);
    }
}

#[test]
fn an_idle_session_sends_templates_three_times_in_the_first_period_and_with_the_first_data() {
    // UDP-TMPL-1, UDP-TMPL-5, V9-TMPL-4, V9-TMPL-8
    for protocol in PROTOCOLS {
        let mut packer = packer(protocol, config());
        let second = |second: u64| at(4_000_000_000_000 + second * 1_000_000_000);
        let mut sent = Vec::new();
        for passed in 0..130 {
            if packer.template_deadline() <= second(passed).monotonic {
                assert_eq!(send(&mut packer, &[], second(passed)), (2, 0));
                sent.push(passed);
            }
            assert!(packer.next_message(&[], second(passed)).is_none());
        }
        assert_eq!(sent, [0, 20, 40, 60, 120]);
        let records = [Random(1).record(second(130))];
        assert_eq!(send(&mut packer, &records, second(130)), (2, 1));
        assert_eq!(send(&mut packer, &records, second(130)), (0, 1));
    }
}

#[test]
fn messages_hold_as_many_records_as_the_path_mtu_allows() {
    // UDP-MTU-1: MTU 1500 over IPv4 and IPv6, and 512-octet packets.
    let now = at(4_000_000_000_000);
    let of = |ipv4: bool| {
        (0..).map(|seed| Random(seed).record(now)).find(|record| record.key.is_ipv4() == ipv4).unwrap()
    };
    for (protocol, ipv4, expected) in [
        (Protocol::NetflowV9, true, [24, 24, 7, 7]),
        (Protocol::NetflowV9, false, [14, 14, 4, 4]),
        (Protocol::Ipfix, true, [21, 20, 6, 6]),
        (Protocol::Ipfix, false, [13, 13, 4, 4]),
    ] {
        let records = vec![of(ipv4); 50];
        let taken = [1472, 1452, 484, 464].map(|message_size| {
            let mut packer = packer(protocol, PackerConfig { message_size, ..config() });
            send(&mut packer, &records, now);
            send(&mut packer, &records, now).1
        });
        assert_eq!(taken, expected, "{protocol:?} {ipv4}");
    }
}
