//! One session of v9 or IPFIX with everything at random: what it is asked for, what it sends, and how it is judged.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use netflow_user::message::{
    MessageError, OptionsData, Packer, PackerConfig, Protocol, Statistics, TemplateOptions, TemplateSet,
};
use netflow_user::time::{Instant, MonotonicNanos};

use crate::asked::{self, COUNTERS};
use crate::decoder::{Decoded, Decoder, Layout, Values, octets};
use crate::expected::{Field, Fields, OWN};
use crate::flow::{self, Flow, Kind};
use crate::options::{self, Told};
use crate::random::Random;
use crate::walk::walk;

const LARGEST_MESSAGE: usize = 65_535;

/// How much of what a run had.
#[derive(Default, Debug)]
pub struct Tally {
    pub sessions: u64,
    pub messages: u64,
    pub records: u64,
    pub options_records: u64,
    pub biflows: u64,
    /// Sessions with a template of the operator's own.
    pub chosen: u64,
    /// Flows that took several records.
    pub split: u64,
    pub templates: BTreeSet<Layout>,
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
    options: &'a TemplateOptions,
    /// Where sysUpTime is zero, milliseconds since 1970.
    start: u64,
    decoder: Decoder,
    sequence_number: u32,
    /// Of the message before.
    unix_secs: u32,
    /// UNIX Secs without sysUpTime, in milliseconds modulo 2^32.
    boot: Option<u32>,
    data: OptionsData,
    /// What was to be told in the message.
    statistics: Statistics,
    tally: &'a mut Tally,
}

/// A Data Record that has come: its fields, its values, and what times of v9 are relative to.
struct Arrived {
    layout: Layout,
    values: Values,
    unix_secs: u32,
    sys_up_time: u32,
}

/// Sends some hundred records, as an agent would, and judges each message.
pub fn run(random: &mut Random, protocol: Protocol, tally: &mut Tally) {
    let (mut options, key) = asked::template_options(random, protocol);
    let choice = if random.one_in(3) { asked::choose(random, &mut options) } else { None };
    if choice.is_none() {
        options.choice = None;
    }
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
    let is_split = choice.is_some();
    let kind = Kind { masks: key.masks, is_wide, biflow: options.biflow, is_v5: false, is_split };
    let is_v9 = protocol == Protocol::NetflowV9;
    let mut session = Session {
        protocol,
        domain: config.observation_domain_id,
        fields: Fields { is_v9, key: &options.key, groups: options.groups, choice },
        options: &options,
        start: (offset + config.sys_up_time_origin.0) / 1_000_000,
        decoder: Decoder::new(),
        sequence_number: 0,
        unix_secs: 0,
        boot: None,
        data: OptionsData::default(),
        statistics: Statistics::default(),
        tally,
    };
    for _ in 0..10 {
        now.0 += random.next() % 60_000_000_000;
        if random.one_in(3) {
            session.data = asked::options_data(random);
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
        let (mut done, mut arrived) = (0, Vec::new());
        loop {
            session.statistics = options::statistics(random);
            packer.set_statistics(&session.statistics);
            let Some(message) = packer.next_message(&records[done..], at(now)) else { break };
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
            let before = arrived.len();
            session.judge(&octets, at(now), &mut arrived);
            // Only a template of choice has counters that a flow may not fit into.
            assert!(is_split || arrived.len() == before + taken);
            done += taken;
        }
        assert_eq!(done, records.len());
        let mut arrived = arrived.iter();
        flows.iter().for_each(|flow| session.flow(flow, &mut arrived));
        assert!(arrived.next().is_none(), "a record of no flow");
        session.tally.biflows += flows.iter().filter(|flow| flow.record.reverse.is_some()).count() as u64;
        session.tally.records += done as u64;
    }
    session.tally.sessions += 1;
    session.tally.chosen += u64::from(is_split);
    let layouts = session.decoder.layouts.into_values();
    session.tally.templates.extend(layouts);
}

impl Session<'_> {
    /// Appends the records of flows.
    fn judge(&mut self, message: &[u8], now: Instant, arrived: &mut Vec<Arrived>) {
        let mut decoded = self.decoder.receive(message);
        self.header(message, &decoded, now);
        let lengths = |id| {
            let layout = self.decoder.layouts.get(&id).or_else(|| self.decoder.options_layouts.get(&id));
            layout.map(|layout| layout.iter().map(|(_, length)| *length).collect::<Vec<_>>())
        };
        walk(self.protocol, message, lengths);
        let Decoded { unix_secs, sys_up_time, .. } = decoded;
        arrived.extend(std::mem::take(&mut decoded.records).into_iter().map(|(id, values)| Arrived {
            layout: self.decoder.layouts[&id].clone(),
            values,
            unix_secs,
            sys_up_time,
        }));
        let told = Told {
            fields: &self.fields,
            kinds: &self.options.options,
            data: &self.data,
            statistics: &self.statistics,
            domain: self.domain,
            start: self.start,
            with_biflows: self.options.biflow,
            layouts: &self.decoder.layouts,
        };
        for (id, values) in &decoded.options {
            let values: Vec<Vec<u8>> = values.iter().map(octets).collect();
            told.judge(*id, &self.decoder.options_layouts[id], &values);
        }
        self.tally.messages += 1;
        self.tally.options_records += decoded.options.len() as u64;
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

    /// The records of one flow are the next ones: as few as their counters have room for, and equal to it in sum.
    fn flow<'r>(&mut self, flow: &Flow, arrived: &mut impl Iterator<Item = &'r Arrived>) {
        let first = arrived.next().expect("a record of the flow");
        let layout = &first.layout;
        let ipv4 = flow.record.key.is_ipv4();
        let fields: BTreeSet<Field> = layout.iter().map(|(field, _)| *field).collect();
        assert_eq!(fields, self.fields.of(ipv4, flow.record.reverse.is_some()));
        assert_eq!(layout.len(), fields.len());
        if let Some(choice) = &self.fields.choice {
            let in_order = choice.iter().filter(|field| fields.contains(field));
            assert!(in_order.eq(layout.iter().map(|(field, _)| field)), "{layout:?}");
        }
        let is_counter = |(enterprise, id): Field| enterprise != OWN && COUNTERS.contains(&id);
        let parts = layout.iter().filter(|(field, length)| is_counter(*field) && *length < 8);
        let parts =
            parts.map(|(field, length)| self.fields.value(*field, flow).div_ceil((1 << (8 * length)) - 1));
        let parts = parts.fold(1, u128::max);
        self.tally.split += u64::from(parts > 1);
        let rest = (1..parts).map(|_| arrived.next().expect("a record for each part"));
        let records: Vec<&Arrived> = std::iter::once(first).chain(rest).collect();
        for (place, &(field, length)) in layout.iter().enumerate() {
            let expected = self.fields.value(field, flow);
            // In one octet they are the low one.
            let expected =
                if field.1 == 6 && field.0 != OWN && length == 1 { expected & 0xff } else { expected };
            if is_counter(field) {
                // TYPE-RSE-3
                let sum: u128 = records.iter().map(|record| record.values[place]).sum();
                assert_eq!(sum, expected, "{field:?} of {:?}", flow.record);
                continue;
            }
            for record in &records {
                assert_eq!((&record.layout, record.values.len()), (layout, layout.len()));
                let value = match field {
                    (0, 21 | 22) => {
                        // V5-REC-2, V9-TIME-1: never after the header, in modulo arithmetic.
                        let before = record.sys_up_time.wrapping_sub(record.values[place] as u32);
                        assert!(before <= i32::MAX as u32, "{before} ms before the header");
                        u128::from(record.unix_secs) * 1000 - u128::from(before)
                    }
                    _ => record.values[place],
                };
                assert_eq!(value, expected, "{field:?} of {:?}", flow.record);
            }
        }
    }
}
