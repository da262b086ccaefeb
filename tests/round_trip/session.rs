//! One session of v9 or IPFIX with everything at random: what it is asked for, what it sends, and how it is judged.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use netflow_user::key::KeyChoice;
use netflow_user::message::{
    Anonymised, Group, InterfaceName, MessageError, OptionsData, OptionsKinds, Packer, PackerConfig,
    Protocol, Reported, SamplingMethod, TemplateOptions, TemplateSet,
};
use netflow_user::time::{Instant, MonotonicNanos};

use crate::decoder::{Decoded, Decoder, Layout, octets};
use crate::expected::{Field, Fields, OWN};
use crate::flow::{self, Flow, Kind};
use crate::random::Random;
use crate::walk::walk;

/// Elements that the decoder does not know (515, 520, 507), so that it reads no record with them.
const UNREAD: [Group; 2] = [Group::Opts, Group::Tunnel];
const NAMED_KEYS: [&str; 5] = ["5-tuple", "7-tuple", "host-pair", "prefix-pair", "protocol-port"];
const KEY_ELEMENTS: [&str; 16] = [
    "sourceIPv4Address",
    "destinationIPv4Address",
    "sourceIPv6Address",
    "destinationIPv6Address",
    "ingressInterface",
    "flowDirection",
    "sourceTransportPort",
    "destinationTransportPort",
    "protocolIdentifier",
    "ipClassOfService",
    "vlanId",
    "ipVersion",
    "sourceMacAddress",
    "destinationMacAddress",
    "dot1qCustomerVlanId",
    "mplsTopLabelStackSection",
];
const LARGEST_MESSAGE: usize = 65_535;

/// How much of what a run had.
#[derive(Default, Debug)]
pub struct Tally {
    pub sessions: u64,
    pub messages: u64,
    pub records: u64,
    pub options_records: u64,
    pub biflows: u64,
    pub templates: BTreeSet<Layout>,
}

/// The key of the operator's choice.
pub fn key(random: &mut Random) -> KeyChoice {
    match random.below(4) {
        0 => random.of(&NAMED_KEYS).parse().unwrap(),
        1 => {
            let chosen = KEY_ELEMENTS.iter().filter(|_| random.one_in(2));
            let mut words: Vec<String> = chosen.map(|&name| name.to_owned()).collect();
            for word in &mut words {
                let bits = if word.contains("IPv4") { 32 } else { 128 };
                if word.contains("Address") && word.contains("IPv") && random.one_in(3) {
                    word.push_str(&format!("/{}", 1 + random.below(bits)));
                }
            }
            if words.is_empty() { KeyChoice::default_key() } else { words.join(",").parse().unwrap() }
        }
        _ => KeyChoice::default_key(),
    }
}

fn options_kinds(random: &mut Random) -> OptionsKinds {
    let methods = [SamplingMethod::Count, SamplingMethod::Random, SamplingMethod::FlowHash];
    let anonymised = [8, 12, 27, 28].map(|element_id| Anonymised { element_id, flags: 3, technique: 6 });
    OptionsKinds {
        sampling: random.one_in(2).then(|| random.of(&methods)),
        interfaces: random.one_in(2),
        flow_keys: random.one_in(2),
        exporter_name: random.one_in(2).then(|| "n".repeat(1 + random.below(254))),
        statistics: random.one_in(2).then(Reported::default),
        anonymised: if random.one_in(2) { anonymised.into() } else { Vec::new() },
        ..OptionsKinds::default()
    }
}

fn options_data(random: &mut Random) -> OptionsData {
    let interfaces = (0..random.below(5)).map(|index| InterfaceName {
        index: index as u32,
        name: "n".repeat(random.below(40)),
        // Cut behind a whole character (TYPE-STR-2).
        description: "é".repeat(random.below(50)),
    });
    OptionsData {
        interfaces: interfaces.collect(),
        sampled_one_in: NonZeroU32::new(random.of(&[0, 1, 2, 100, u32::MAX])),
    }
}

/// Templates of a protocol, with whatever of the groups it has words for.
fn template_options(random: &mut Random, protocol: Protocol) -> (TemplateOptions, KeyChoice) {
    let key = key(random);
    let mut options = TemplateOptions {
        key: key.elements.clone(),
        enterprise_number: NonZeroU32::new(OWN),
        options: options_kinds(random),
        ..TemplateOptions::new(protocol)
    };
    let many = random.below(4);
    for group in Group::ALL.into_iter().filter(|group| !UNREAD.contains(group)) {
        if random.below(4) < many {
            let groups = options.groups;
            options.groups = groups.iter().chain([group]).collect();
            if TemplateSet::new(&options).is_err() {
                options.groups = groups;
            }
        }
    }
    options.biflow = random.one_in(3);
    options.biflow &= TemplateSet::new(&options).is_ok();
    (options, key)
}

/// The smallest message of a set of templates.
fn least_size(config: PackerConfig, templates: &TemplateSet) -> usize {
    match Packer::new(PackerConfig { message_size: 0, ..config }, templates.clone()) {
        Err(MessageError::MessageSize { least, .. }) => least,
        other => panic!("{other:?}"),
    }
}

fn message_size(random: &mut Random, least: usize) -> usize {
    let size = match random.below(5) {
        0 => least,
        1 => random.of(&[464, 484, 1232, 1452, 1472, LARGEST_MESSAGE]),
        _ => least + random.below(1500),
    };
    size.clamp(least, LARGEST_MESSAGE)
}

struct Session<'a> {
    protocol: Protocol,
    domain: u32,
    fields: Fields<'a>,
    decoder: Decoder,
    sequence_number: u32,
    /// Of the message before.
    unix_secs: u32,
    /// UNIX Secs without sysUpTime, in milliseconds modulo 2^32.
    boot: Option<u32>,
    data: OptionsData,
    tally: &'a mut Tally,
}

/// Sends some hundred records, as an agent would, and judges each message.
pub fn run(random: &mut Random, protocol: Protocol, tally: &mut Tally) {
    let (options, key) = template_options(random, protocol);
    let templates = TemplateSet::new(&options).unwrap();
    let mut now = MonotonicNanos(5_000_000_000_000_000 + random.next() % 5_000_000_000_000_000);
    let offset = 1_700_000_000_000_000_000 + random.next() % (1 << 60);
    let at = |now: MonotonicNanos| Instant { monotonic: now, unix_nanos: (offset + now.0) };
    let config = PackerConfig {
        observation_domain_id: random.next() as u32,
        template_refresh: Duration::from_millis(1 + random.below(100_000) as u64),
        template_refresh_messages: NonZeroU32::new(1 + random.below(30) as u32).unwrap(),
        options_refresh: Duration::from_millis(1 + random.below(100_000) as u64),
        statistics_interval: Duration::from_millis(1 + random.below(100_000) as u64),
        exporter_address: [192, 0, 2, 1],
        sys_up_time_origin: MonotonicNanos(random.next() % now.0),
        message_size: 0,
    };
    let least = least_size(config, &templates);
    let mut size = message_size(random, least);
    let mut packer = Packer::new(PackerConfig { message_size: size, ..config }, templates).unwrap();
    let is_wide = !options.groups.is_empty() || key.masks.is_some();
    let kind = Kind { masks: key.masks, is_wide, biflow: options.biflow, is_v5: false };
    let is_v9 = protocol == Protocol::NetflowV9;
    let mut session = Session {
        protocol,
        domain: config.observation_domain_id,
        fields: Fields { is_v9, key: &options.key, groups: options.groups },
        decoder: Decoder::new(),
        sequence_number: 0,
        unix_secs: 0,
        boot: None,
        data: OptionsData::default(),
        tally,
    };
    for _ in 0..10 {
        now.0 += random.next() % 60_000_000_000;
        if random.one_in(3) {
            session.data = options_data(random);
            packer.set_options_data(&session.data);
        }
        if random.one_in(10) {
            packer.announce_templates();
        }
        if random.one_in(10) {
            // A new Transport Session: its collector knows nothing, its numbers begin at 0 (IPFIX-SEQ-6).
            packer.restart();
            (session.decoder, session.sequence_number) = (Decoder::new(), 0);
        }
        let flows = random.of(&[0, 1, 7, 100]);
        let flows: Vec<Flow> = (0..flows).map(|_| flow::any(random, &kind, at(now))).collect();
        let records: Vec<_> = flows.iter().map(|flow| flow.record.clone()).collect();
        let mut done = 0;
        while let Some(message) = packer.next_message(&records[done..], at(now)) {
            let (octets, taken) = (message.octets.to_vec(), message.records);
            // UDP-MTU-1
            assert!(octets.len() <= size, "{} octets of {size}", octets.len());
            if random.one_in(10) {
                // It was too long, or never left: it is built anew.
                size = message_size(random, least);
                packer.set_message_size(size).unwrap();
                continue;
            }
            packer.commit();
            session.judge(&octets, &flows[done..done + taken], at(now));
            done += taken;
        }
        assert_eq!(done, records.len());
        session.tally.records += done as u64;
    }
    session.tally.sessions += 1;
    let layouts = session.decoder.layouts.into_values();
    session.tally.templates.extend(layouts);
}

impl Session<'_> {
    fn judge(&mut self, message: &[u8], flows: &[Flow], now: Instant) {
        let decoded = self.decoder.receive(message);
        self.header(message, &decoded, now);
        let lengths = |id| {
            let layout = self.decoder.layouts.get(&id).or_else(|| self.decoder.options_layouts.get(&id));
            layout.map(|layout| layout.iter().map(|(_, length)| *length).collect::<Vec<_>>())
        };
        walk(self.protocol, message, lengths);
        assert_eq!(decoded.records.len(), flows.len());
        for (flow, (id, values)) in flows.iter().zip(&decoded.records) {
            self.record(flow, &self.decoder.layouts[id], values, &decoded);
        }
        for (id, values) in &decoded.options {
            let layout = &self.decoder.options_layouts[id];
            assert_eq!(layout.len(), values.len());
            for (((_, element), length), value) in layout.iter().zip(values) {
                self.option(*element, *length, &octets(value));
            }
        }
        self.tally.messages += 1;
        self.tally.options_records += decoded.options.len() as u64;
        self.tally.biflows += flows.iter().filter(|flow| flow.record.reverse.is_some()).count() as u64;
    }

    fn header(&mut self, message: &[u8], decoded: &Decoded, now: Instant) {
        assert_eq!(decoded.domain, self.domain);
        // IPFIX-SEQ-1, V9-HDR-3
        assert_eq!(decoded.sequence_number, self.sequence_number);
        let of_data = decoded.records.len() + decoded.options.len();
        // IPFIX-MSG-9
        assert!(decoded.template_records + of_data > 0);
        // TMPL-ORD-3: what a message has data of was described in it or in an earlier one, which left before.
        assert!(decoded.unix_secs >= self.unix_secs, "{} behind {}", decoded.unix_secs, self.unix_secs);
        self.unix_secs = decoded.unix_secs;
        let second = 1_000_000_000;
        match self.protocol {
            Protocol::Ipfix => {
                // IPFIX-MSG-2, IPFIX-MSG-4, IPFIX-MSG-5
                assert_eq!(usize::from(decoded.length_or_count), message.len());
                assert_eq!(decoded.unix_secs, (now.unix_nanos / second) as u32);
                // IPFIX-SEQ-2, IPFIX-SEQ-3, IPFIX-SEQ-4
                self.sequence_number = self.sequence_number.wrapping_add(of_data as u32);
            }
            Protocol::NetflowV9 => {
                // V9-HDR-2, V9-HDR-4
                assert_eq!(usize::from(decoded.length_or_count), decoded.template_records + of_data);
                assert_eq!(decoded.unix_secs, now.unix_nanos.div_ceil(second) as u32);
                let boot = decoded.unix_secs.wrapping_mul(1000).wrapping_sub(decoded.sys_up_time);
                assert!(boot.wrapping_sub(*self.boot.get_or_insert(boot)).wrapping_add(1) <= 2);
                self.sequence_number = self.sequence_number.wrapping_add(1);
            }
        }
    }

    fn record(&self, flow: &Flow, layout: &Layout, values: &[u128], decoded: &Decoded) {
        let ipv4 = flow.record.key.is_ipv4();
        let fields: BTreeSet<Field> = layout.iter().map(|(field, _)| *field).collect();
        assert_eq!(fields, self.fields.of(ipv4, flow.record.reverse.is_some()));
        assert_eq!((layout.len(), layout.len()), (fields.len(), values.len()));
        for ((field, _), value) in layout.iter().zip(values) {
            let value = match field {
                (0, 21 | 22) => {
                    // V5-REC-2, V9-TIME-1: never after the header, in modulo arithmetic.
                    let before = decoded.sys_up_time.wrapping_sub(*value as u32);
                    assert!(before <= i32::MAX as u32, "{before} ms before the header");
                    u128::from(decoded.unix_secs) * 1000 - u128::from(before)
                }
                _ => *value,
            };
            assert_eq!(value, self.fields.value(*field, flow), "{field:?} of {:?}", flow.record);
        }
    }

    /// What can be told of a value of options data, whichever template it stands in.
    fn option(&self, element: u16, length: u16, octets: &[u8]) {
        match element {
            34 => {
                let one_in = self.data.sampled_one_in.expect("a rate that was set");
                assert_eq!(octets, one_in.get().to_be_bytes());
            }
            82 | 83 => {
                let said = |interface: &InterfaceName| {
                    let InterfaceName { name, description, .. } = interface;
                    let text = if element == 82 || description.is_empty() { name } else { description };
                    // TYPE-STR-1, TYPE-STR-2
                    let mut padded = text.as_bytes()[..text.floor_char_boundary(length.into())].to_vec();
                    padded.resize(length.into(), 0);
                    padded
                };
                let all: BTreeSet<Vec<u8>> = self.data.interfaces.iter().map(said).collect();
                assert!(all.contains(octets), "{:?}", String::from_utf8_lossy(octets));
            }
            _ => {}
        }
    }
}
