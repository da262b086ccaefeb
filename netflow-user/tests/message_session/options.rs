//! Sessions with options data, groups and biflows.

use std::num::NonZeroU32;

use netflow_common::{WideCounters, WideKey};
use netflow_user::{
    message::{
        Anonymised, Group, Groups, InterfaceName, OptionsData, OptionsKinds, Packer, PackerConfig, Protocol,
        Reported, SamplingMethod, TemplateOptions, TemplateSet,
    },
    record::{BiflowDirection, Extras, FlowRecord},
};

use crate::{
    at,
    collector::{Collector, Decoded, Fields},
    config,
    random::Random,
};

/// They have elements of our own or of late: the decoder reads no record with an element that it does not know.
const UNREAD: [Group; 6] =
    [Group::Fragments, Group::Tcp, Group::Tos, Group::Opts, Group::Tunnel, Group::Encapsulation];

fn options(protocol: Protocol) -> TemplateOptions {
    let v9 = protocol == Protocol::NetflowV9;
    let groups: Groups = if v9 {
        [Group::Size, Group::Mpls, Group::Igmp, Group::Route].into_iter().collect()
    } else {
        Group::ALL.into_iter().filter(|group| !UNREAD.contains(group)).collect()
    };
    TemplateOptions {
        groups,
        biflow: !v9,
        enterprise_number: NonZeroU32::new(32473),
        options: OptionsKinds {
            sampling: Some(SamplingMethod::Random),
            interfaces: true,
            flow_keys: true,
            statistics: Some(Reported { active_timeout: 1800, idle_timeout: 15 }),
            anonymised: [8, 12, 27, 28]
                .map(|element_id| Anonymised { element_id, flags: 3, technique: 6 })
                .into(),
            ..OptionsKinds::default()
        },
        ..TemplateOptions::new(protocol)
    }
}

fn data(one_in: u32, interfaces: u32) -> OptionsData {
    let interface =
        |index| InterfaceName { index, name: format!("eth{index}"), description: "é".repeat(50) };
    OptionsData {
        sampled_one_in: NonZeroU32::new(one_in),
        interfaces: (1..=interfaces).map(interface).collect(),
    }
}

/// A record with everything that a wide entry, and now and then a reverse direction, adds.
fn record(random: &mut Random, now: netflow_user::time::Instant) -> FlowRecord {
    let reverse = (random.below(2) == 0).then(|| Box::new(wide(random, now)));
    FlowRecord { biflow_direction: BiflowDirection::Initiator, reverse, ..wide(random, now) }
}

fn wide(random: &mut Random, now: netflow_user::time::Instant) -> FlowRecord {
    let record = random.record(now);
    let key = WideKey {
        flow: record.key,
        tunnel_id: random.below(1 << 24) as u32,
        tunnel: random.below(7) as u8,
        ..WideKey::default()
    };
    let mut counters = WideCounters {
        flow: record.counters,
        layer2_octets: random.below(u64::MAX),
        minimum_ip_length: random.below(1 << 16) as u32,
        maximum_ip_length: random.below(1 << 16) as u32,
        tcp_retransmitted: random.below(1 << 32) as u32,
        ..WideCounters::default()
    };
    counters.first_packet.mpls_labels = std::array::from_fn(|_| [random.below(256) as u8, 0x12, 0x31]);
    counters.first_packet.igmp_type = random.below(256) as u8;
    FlowRecord { extras: Some(Box::new(Extras { key, counters })), ..record }
}

/// What is looked at of a record: the rest is that of records without groups.
fn check(protocol: Protocol, record: &FlowRecord, fields: &Fields) {
    let wide = &record.extras.as_ref().unwrap().counters;
    // The collector keeps the last of two fields with one number: forward and reverse, or ours and IANA's.
    let reverse = record.reverse.as_deref().filter(|_| protocol == Protocol::Ipfix);
    let last = reverse.unwrap_or(record);
    let last_wide = &last.extras.as_ref().unwrap().counters;
    let number = |octets: [u8; 3]| octets.iter().fold(0, |number, &octet| number << 8 | u128::from(octet));
    assert_eq!(fields[&25], last_wide.minimum_ip_length.into());
    assert_eq!(fields[&26], last_wide.maximum_ip_length.into());
    assert_eq!(fields[&79], number(wide.first_packet.mpls_labels[9]));
    assert_eq!(fields[&33], wide.first_packet.igmp_type.into());
    if protocol == Protocol::Ipfix {
        assert_eq!(fields[&352], last_wide.layer2_octets.into());
        assert_eq!(fields.contains_key(&239), record.reverse.is_some());
        assert_eq!(fields[&153], last.end.0.into());
    }
}

fn count_and_sequence(protocol: Protocol, decoded: &Decoded, sequence: &mut u32) {
    let data = decoded.options_records.len() + decoded.data_records.len();
    assert_eq!(decoded.sequence_number, *sequence);
    match protocol {
        // IPFIX-SEQ-4
        Protocol::Ipfix => *sequence += data as u32,
        // V9-HDR-2
        Protocol::NetflowV9 => {
            let all = decoded.template_records + decoded.options_templates + data;
            assert_eq!(usize::from(decoded.length_or_count), all);
            *sequence += 1;
        }
    }
}

/// What options records said last, by template and scope.
fn sampled_one_in(decoded: &Decoded) -> Option<u128> {
    decoded.options_records.iter().filter_map(|(_, fields)| fields.get(&34).copied()).next_back()
}

fn check_session(protocol: Protocol, seed: u64) {
    let random = &mut Random(seed);
    let size = 1000 + random.below(480) as usize;
    let templates = TemplateSet::new(&options(protocol)).unwrap();
    let mut packer = Packer::new(PackerConfig { message_size: size, ..config() }, templates).unwrap();
    let mut collector = Collector::default();
    let mut sequence = 0;
    let mut nanos = 4_000_000_000_000;
    let mut said = None;
    for round in 0..20 {
        nanos += random.below(30_000_000_000);
        let now = at(nanos);
        let (one_in, interfaces) = (1 + round / 5, 1 + random.below(5) as u32);
        packer.set_options_data(&data(one_in, interfaces));
        let records: Vec<FlowRecord> = (0..random.below(40)).map(|_| record(random, now)).collect();
        let mut rest = &records[..];
        while let Some(message) = packer.next_message(rest, now) {
            let (octets, taken) = (message.octets.to_vec(), message.records);
            assert!(octets.len() <= size);
            packer.commit();
            let decoded = collector.receive(&octets);
            count_and_sequence(protocol, &decoded, &mut sequence);
            said = sampled_one_in(&decoded).or(said);
            // OPT-SAMP-2: whatever is sent, its sampling is known.
            if taken > 0 {
                assert_eq!(said, Some(one_in.into()));
            }
            let (taken, left) = rest.split_at(taken);
            rest = left;
            assert_eq!(decoded.data_records.len(), taken.len());
            for (record, fields) in taken.iter().zip(&decoded.data_records) {
                check(protocol, record, fields);
            }
        }
        assert!(rest.is_empty());
    }
}

#[test]
fn an_independent_decoder_reads_options_groups_and_biflows_of_random_sessions() {
    for protocol in [Protocol::Ipfix, Protocol::NetflowV9] {
        for seed in 0..20 {
            check_session(protocol, seed);
        }
    }
}

#[test]
fn an_idle_session_sends_options_data_three_times_in_the_first_period() {
    // V9-OPT-3, UDP-TMPL-7
    for protocol in [Protocol::Ipfix, Protocol::NetflowV9] {
        let templates = TemplateSet::new(&options(protocol)).unwrap();
        let refresh = std::time::Duration::from_secs(30);
        let mut packer =
            Packer::new(PackerConfig { options_refresh: refresh, ..config() }, templates).unwrap();
        packer.set_options_data(&data(100, 1));
        let mut collector = Collector::default();
        let mut sent = Vec::new();
        for second in 0..100 {
            let now = at(4_000_000_000_000 + second * 1_000_000_000);
            let mut rates = 0;
            while let Some(message) = packer.next_message(&[], now) {
                let decoded = collector.receive(message.octets);
                rates += usize::from(sampled_one_in(&decoded).is_some());
                packer.commit();
            }
            assert!(packer.template_deadline() > now.monotonic);
            assert!(rates <= 1);
            sent.extend((rates == 1).then_some(second));
        }
        assert_eq!(sent, [0, 10, 20, 30, 60, 90]);
    }
}
