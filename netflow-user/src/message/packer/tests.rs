#![allow(clippy::unwrap_used, reason = "tests")]

use netflow_common::{FlowCounters, FlowKey, IpVersion};

use super::{size::LARGEST_MESSAGE, *};
use crate::{
    message::{
        Anonymised, Group, InterfaceName, OptionsKinds, Reported, SamplingMethod, Statistics, TemplateChoice,
        TemplateOptions,
    },
    record::FlowEndReason,
};

mod numbers;

fn new_packer(protocol: Protocol, message_size: usize) -> Result<Packer, MessageError> {
    Packer::new(config(message_size), TemplateSet::new(&TemplateOptions::new(protocol)).unwrap())
}

fn config(message_size: usize) -> PackerConfig {
    PackerConfig {
        observation_domain_id: 7,
        template_refresh: Duration::from_secs(60),
        template_refresh_messages: NonZeroU32::new(20).unwrap(),
        options_refresh: Duration::from_secs(60),
        statistics_interval: Duration::from_secs(60),
        exporter_address: [192, 0, 2, 1],
        sys_up_time_origin: MonotonicNanos(0),
        message_size,
    }
}

fn records(ip_version: u8, count: usize) -> Vec<FlowRecord> {
    let key = FlowKey { ip_version, ..FlowKey::default() };
    let reason = FlowEndReason::IdleTimeout;
    vec![FlowRecord::new(key, FlowCounters::default(), reason, &Instant::default()); count]
}

/// The sequence number of the next message and how many records it takes; the message is sent.
fn send(packer: &mut Packer, records: &[FlowRecord]) -> (u32, usize) {
    let offset = match packer.templates.protocol() {
        Protocol::Ipfix => 8,
        Protocol::NetflowV9 => 12,
    };
    let message = packer.next_message(records, Instant::default()).unwrap();
    let sequence = u32::from_be_bytes(message.octets[offset..offset + 4].try_into().unwrap());
    let sent = (sequence, message.records);
    packer.commit();
    sent
}

#[test]
fn ipfix_counts_data_records_and_v9_counts_packets_modulo_2_to_the_32() {
    // IPFIX-SEQ-2, V9-HDR-3
    let records = records(IpVersion::V4, 3);
    let mut ipfix = new_packer(Protocol::Ipfix, 1472).unwrap();
    ipfix.session.sequence_number = u32::MAX - 1;
    assert_eq!(send(&mut ipfix, &records), (u32::MAX - 1, 3));
    assert_eq!(send(&mut ipfix, &records), (1, 3));

    let mut v9 = new_packer(Protocol::NetflowV9, 1472).unwrap();
    v9.session.sequence_number = u32::MAX;
    assert_eq!(send(&mut v9, &records), (u32::MAX, 3));
    assert_eq!(send(&mut v9, &records), (0, 3));
}

#[test]
fn a_session_starts_at_zero_and_templates_do_not_advance_ipfix() {
    // IPFIX-SEQ-1, IPFIX-SEQ-3, V9-HDR-3
    for (protocol, expected) in [(Protocol::Ipfix, [0, 0, 2]), (Protocol::NetflowV9, [0, 1, 2])] {
        let mut packer = new_packer(protocol, 1472).unwrap();
        let records = records(IpVersion::V6, 2);
        let sent = [&[][..], &records, &records].map(|records| send(&mut packer, records).0);
        assert_eq!(sent, expected);
    }
}

#[test]
fn a_message_that_was_not_committed_is_built_anew_and_smaller() {
    let records = records(IpVersion::V4, 50);
    let mut packer = new_packer(Protocol::Ipfix, 1472).unwrap();
    let now = Instant::default();
    assert_eq!(packer.next_message(&records, now).unwrap().records, 18);
    packer.set_message_size(484).unwrap();
    packer.commit();
    assert_eq!(packer.message_size(), 484);
    let message = packer.next_message(&records, now).unwrap();
    assert_eq!(message.records, 4);
    // Version, Length, Export Time, Sequence Number 0, domain, and the templates as before.
    assert_eq!(message.octets[..4], [0, 10, 1, 0xe0]);
    assert_eq!(message.octets[8..18], [0, 0, 0, 0, 0, 0, 0, 7, 0, 2]);
}

#[test]
fn a_commit_without_a_message_does_nothing() {
    let mut packer = new_packer(Protocol::NetflowV9, 1472).unwrap();
    packer.commit();
    assert_eq!(send(&mut packer, &[]).0, 0);
    packer.commit();
    packer.commit();
    assert!(packer.next_message(&[], Instant::default()).is_none());
    packer.commit();
    assert_eq!(send(&mut packer, &records(IpVersion::V4, 1)).0, 1);
}

#[test]
fn an_announcement_survives_the_commit_of_the_message_before() {
    let mut packer = new_packer(Protocol::Ipfix, 1472).unwrap();
    assert!(packer.next_message(&[], Instant::default()).is_some());
    packer.announce_templates();
    packer.commit();
    assert_eq!(packer.template_deadline(), MonotonicNanos(0));
    assert!(packer.next_message(&[], Instant::default()).is_some());
}

#[test]
fn a_message_size_that_cannot_hold_every_record_is_refused() {
    // UDP-MTU-5
    for (protocol, least) in [(Protocol::Ipfix, 132), (Protocol::NetflowV9, 124)] {
        let most = LARGEST_MESSAGE;
        let mut packer = new_packer(protocol, least).unwrap();
        for octets in [0, least - 1, most + 1] {
            let refused = MessageError::MessageSize { protocol, octets, least, most };
            assert_eq!(new_packer(protocol, octets).unwrap_err(), refused);
            assert_eq!(packer.set_message_size(octets), Err(refused));
        }
        assert_eq!(packer.message_size(), least);
    }
}

#[test]
fn a_template_refresh_without_length_is_refused() {
    let config = PackerConfig { template_refresh: Duration::ZERO, ..config(1472) };
    let templates = TemplateSet::new(&TemplateOptions::new(Protocol::Ipfix)).unwrap();
    assert!(matches!(Packer::new(config, templates), Err(MessageError::Refresh { .. })));
}

#[test]
fn building_messages_allocates_nothing() {
    let records = records(IpVersion::V4, 2000);
    let mut packer = new_packer(Protocol::Ipfix, LARGEST_MESSAGE).unwrap();
    let before = packer.octets.as_slice().as_ptr();
    assert_eq!(send(&mut packer, &records).1, 946);
    assert_eq!(packer.octets.as_slice().as_ptr(), before);
}

fn sampled(protocol: Protocol) -> TemplateSet {
    let sampling = Some(SamplingMethod::Count);
    let options = OptionsKinds { sampling, interfaces: true, ..OptionsKinds::default() };
    TemplateSet::new(&TemplateOptions { options, ..TemplateOptions::new(protocol) }).unwrap()
}

fn one_in(packets: u32) -> OptionsData {
    OptionsData { sampled_one_in: NonZeroU32::new(packets), ..OptionsData::default() }
}

/// The Set IDs of the next message, which is sent.
fn send_sets(packer: &mut Packer, records: &[FlowRecord]) -> Vec<u16> {
    let header = if packer.templates.protocol() == Protocol::Ipfix { 16 } else { 20 };
    let message = packer.next_message(records, Instant::default()).unwrap();
    let mut rest = &message.octets[header..];
    let mut ids = Vec::new();
    while !rest.is_empty() {
        let [a, b, c, d] = rest[..4].try_into().unwrap();
        ids.push(u16::from_be_bytes([a, b]));
        rest = &rest[usize::from(u16::from_be_bytes([c, d]))..];
    }
    packer.commit();
    ids
}

#[test]
fn a_change_of_sampling_is_announced_before_further_records() {
    // OPT-SAMP-2, TPL-RULE-9
    let records = records(IpVersion::V4, 3);
    let mut packer = Packer::new(config(1472), sampled(Protocol::Ipfix)).unwrap();
    packer.set_options_data(&one_in(100));
    assert_eq!(send_sets(&mut packer, &records), [2, 3, 3, 3, 516, 517, 256]);
    assert_eq!(send_sets(&mut packer, &records), [256]);
    packer.set_options_data(&one_in(100));
    assert_eq!(send_sets(&mut packer, &records), [256], "no change");
    packer.set_options_data(&one_in(10));
    assert_eq!(packer.template_deadline(), MonotonicNanos(0));
    assert_eq!(send_sets(&mut packer, &records), [516, 517, 256]);

    let mut packer = Packer::new(config(1472), sampled(Protocol::NetflowV9)).unwrap();
    packer.set_options_data(&one_in(100));
    assert_eq!(send_sets(&mut packer, &records), [0, 1, 1, 512, 256]);
    packer.set_options_data(&one_in(10));
    assert_eq!(send_sets(&mut packer, &records), [512, 256]);
}

#[test]
fn options_that_take_several_messages_all_go_before_the_records() {
    let records = records(IpVersion::V4, 1);
    let mut packer = Packer::new(config(484), sampled(Protocol::Ipfix)).unwrap();
    let interfaces =
        (0..7).map(|index| InterfaceName { index, name: format!("eth{index}"), description: String::new() });
    packer.set_options_data(&OptionsData { interfaces: interfaces.collect(), ..one_in(2) });
    let sent: Vec<Vec<u16>> = (0..4).map(|_| send_sets(&mut packer, &records)).collect();
    let expected: [&[u16]; 4] =
        [&[2, 3, 3, 3, 516, 517, 522], &[522, 522, 522, 522], &[522, 522, 256], &[256]];
    assert_eq!(sent, expected);
}

#[test]
fn the_message_size_allows_for_the_longest_options_record() {
    // UDP-MTU-5
    let options = OptionsKinds {
        sampling: Some(SamplingMethod::Random),
        interfaces: true,
        flow_keys: true,
        statistics: Some(Reported::default()),
        anonymised: vec![Anonymised { element_id: 8, flags: 3, technique: 6 }],
        ..OptionsKinds::default()
    };
    let groups = [Group::Encapsulation].into_iter().collect();
    let enterprise_number = NonZeroU32::new(32473);
    let options =
        TemplateOptions { groups, enterprise_number, options, ..TemplateOptions::new(Protocol::Ipfix) };
    let templates = TemplateSet::new(&options).unwrap();
    let Err(MessageError::MessageSize { least, .. }) = Packer::new(config(100), templates.clone()) else {
        panic!("no record fits 100 octets");
    };
    let mut packer = Packer::new(config(least), templates).unwrap();
    packer.set_options_data(&OptionsData {
        interfaces: vec![InterfaceName { index: 1, name: "é".repeat(40), description: String::new() }],
        ..one_in(7)
    });
    let records = records(IpVersion::V6, 1);
    let mut messages = 0;
    while packer.next_message(&records, Instant::default()).unwrap().records == 0 {
        assert!(packer.octets.len() <= least);
        packer.commit();
        messages += 1;
        assert!(messages < 20, "the records never go");
    }
    assert!((5..20).contains(&messages), "{messages}");
}

#[test]
fn a_flow_whose_counters_do_not_fit_takes_several_records_and_adds_up() {
    // TYPE-RSE-3, IPFIX-SEQ-2, V9-HDR-2
    for (protocol, header) in [(Protocol::Ipfix, 16), (Protocol::NetflowV9, 20)] {
        let choice = Some(TemplateChoice::parse("octetDeltaCount/4,packetDeltaCount/4", None).unwrap());
        let templates =
            TemplateSet::new(&TemplateOptions { choice, ..TemplateOptions::new(protocol) }).unwrap();
        let mut packer = Packer::new(config(128), templates).unwrap();
        let mut records = records(IpVersion::V4, 3);
        let octets = [1_u64, 30 * 0xffff_ffff, 2];
        for (record, octets) in records.iter_mut().zip(octets) {
            (record.counters.octets, record.counters.packets) = (octets, octets.div_ceil(1500));
        }
        let (mut waiting, mut found, mut sent) = (&records[..], Vec::new(), 0);
        while !waiting.is_empty() {
            let message = packer.next_message(waiting, Instant::default()).unwrap();
            let sequence = u32::from_be_bytes(message.octets[header - 8..header - 4].try_into().unwrap());
            if protocol == Protocol::Ipfix {
                assert_eq!(sequence, sent);
            }
            let mut sets = &message.octets[header..];
            let mut count = 0;
            while let [a, b, c, d, rest @ ..] = sets {
                let (id, length) = (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]) as usize - 4);
                for record in rest[..length].chunks_exact(8).filter(|_| id > 255) {
                    let value = |at: usize| u32::from_be_bytes(record[at..at + 4].try_into().unwrap());
                    found.push((u64::from(value(0)), u64::from(value(4))));
                    sent += 1;
                    count += 1;
                }
                count += if id < 2 { 2 } else { 0 };
                sets = &rest[length..];
            }
            if protocol == Protocol::NetflowV9 {
                assert_eq!(message.octets[2..4], u16::try_from(count).unwrap().to_be_bytes());
            }
            let taken = message.records;
            // Not committed: built anew, the same.
            assert_eq!(packer.next_message(waiting, Instant::default()).unwrap().records, taken);
            packer.commit();
            waiting = &waiting[taken..];
        }
        assert_eq!(found.len(), 32);
        assert_eq!(found.iter().map(|(octets, _)| octets).sum::<u64>(), octets.iter().sum::<u64>());
        let packets = records.iter().map(|record| record.counters.packets).sum::<u64>();
        assert_eq!(found.iter().map(|(_, packets)| packets).sum::<u64>(), packets);
    }
}

#[test]
fn statistics_have_a_period_of_their_own_and_do_not_keep_data_waiting() {
    // STAT-PER-1, STAT-CNT-1, STAT-CNT-2
    for (protocol, id) in [(Protocol::Ipfix, [512, 513, 514, 523].as_slice()), (Protocol::NetflowV9, &[514])]
    {
        let options = OptionsKinds { statistics: Some(Reported::default()), ..OptionsKinds::default() };
        let templates =
            TemplateSet::new(&TemplateOptions { options, ..TemplateOptions::new(protocol) }).unwrap();
        let config = PackerConfig { statistics_interval: Duration::from_secs(9), ..config(1472) };
        let mut packer = Packer::new(config, templates).unwrap();
        let records = records(IpVersion::V4, 1);
        let header = if protocol == Protocol::Ipfix { 16 } else { 20 };
        let mut rounds = Vec::new();
        for second in 0..30 {
            let now = Instant { monotonic: MonotonicNanos(second * NANOS_PER_SECOND), unix_nanos: 0 };
            packer.set_statistics(&Statistics { messages: second, ..Statistics::default() });
            let message = packer.next_message(&records, now).unwrap();
            assert_eq!(message.records, 1);
            let mut sets = &message.octets[header..];
            let mut found = Vec::new();
            while let [a, b, c, d, ..] = sets {
                let set_id = u16::from_be_bytes([*a, *b]);
                if set_id >= 512 {
                    found.push(set_id);
                }
                if set_id == id[0] {
                    // Behind the scopes: messages sent before this one.
                    let total = if protocol == Protocol::Ipfix { &sets[12..20] } else { &sets[8..12] };
                    assert_eq!(u64::from(*total.last().unwrap()), second);
                }
                sets = &sets[usize::from(u16::from_be_bytes([*c, *d]))..];
            }
            packer.commit();
            if !found.is_empty() {
                assert_eq!(found, id);
                rounds.push(second);
            }
        }
        assert_eq!(rounds, [0, 3, 6, 9, 18, 27]);
        packer.announce_statistics();
        assert_eq!(packer.template_deadline(), MonotonicNanos(0));
    }
}

#[test]
fn each_session_has_a_sequence_and_templates_of_its_own() {
    // V9-HDR-7, IPFIX-SEQ-8, TRANS-3
    for protocol in [Protocol::Ipfix, Protocol::NetflowV9] {
        let records = records(IpVersion::V4, 5);
        let mut first = new_packer(protocol, 1472).unwrap();
        for _ in 0..3 {
            send(&mut first, &records);
        }
        // A destination that joins later.
        let mut second = new_packer(protocol, 1472).unwrap();
        assert_eq!(send(&mut second, &records).0, 0);
        let (third, fourth) = (send(&mut first, &records).0, send(&mut second, &records).0);
        let expected = if protocol == Protocol::Ipfix { (15, 5) } else { (3, 1) };
        assert_eq!((third, fourth), expected);
    }
}

#[test]
fn no_message_is_longer_than_its_length_can_say() {
    // IPFIX-MSG-3
    assert!(new_packer(Protocol::Ipfix, 65_536).is_err());
    let mut packer = new_packer(Protocol::Ipfix, 65_535).unwrap();
    let records = records(IpVersion::V6, 2000);
    let message = packer.next_message(&records, Instant::default()).unwrap();
    assert!(message.octets.len() <= 65_535 && message.records > 590);
    assert_eq!(usize::from(u16::from_be_bytes([message.octets[2], message.octets[3]])), message.octets.len());
}
