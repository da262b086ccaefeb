//! Options records, finished: they change only when what they say changes.

use std::num::NonZeroU32;

use crate::{
    message::{
        InformationElement as E, NumberSpace, Protocol, TemplateSet,
        octets::Octets,
        own_element,
        set::Set,
        template::{Field, Template},
    },
    time::UnixMillis,
};

use super::{
    InterfaceName, OptionsData, OptionsField, OptionsTemplate, SamplingMethod, Statistics,
    statistics::statistics_records, table, template,
};

/// The one selector of the domain.
pub(super) const SELECTOR_ID: u64 = 1;
/// selectorAlgorithm and flowSelectorAlgorithm have the same numbers for these.
const SYSTEMATIC_COUNT: u64 = 1;
const UNIFORM_PROBABILISTIC: u64 = 4;
/// In place of a length of one octet: it stands in the two behind (RFC 7011 section 7).
const LONG_FORM: u8 = 255;
/// Octets of a text at most, so that its record fits any message that there is.
const LONGEST_TEXT: usize = 1000;
/// flowKeyIndicator has so many bits.
const KEY_BITS: usize = 64;

/// A finished Data Record of an Options Template.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::message) struct OptionsRecord {
    pub template: &'static OptionsTemplate,
    pub octets: Box<[u8]>,
    /// It has to stand in one message with the record behind it.
    pub with_next: bool,
}

pub(super) enum Value<'a> {
    Unsigned(u64),
    Float(f64),
    Text(&'a str),
}

impl OptionsRecord {
    pub(super) fn new(template: &'static OptionsTemplate, values: &[Value<'_>]) -> Self {
        debug_assert_eq!(template.fields.len(), values.len());
        let mut octets = Octets::with_capacity(128);
        for (field, value) in template.fields.iter().zip(values) {
            match value {
                Value::Unsigned(value) => octets.put_unsigned(*value, field.length),
                Value::Float(value) => octets.put(&value.to_be_bytes()),
                Value::Text(text) => put_text(&mut octets, text, field.length),
            }
        }
        Self { template, octets: octets.as_slice().into(), with_next: false }
    }
}

/// Zero-filled and cut between characters, or behind its length (TYPE-STR-2, TYPE-VLEN-2).
fn put_text(octets: &mut Octets, text: &str, length: u16) {
    if length == OptionsField::VARIABLE {
        let text = &text.as_bytes()[..text.floor_char_boundary(LONGEST_TEXT)];
        if text.len() < usize::from(LONG_FORM) {
            octets.put(&[text.len() as u8]);
        } else {
            octets.put(&[LONG_FORM]);
            octets.put_u16(text.len() as u16);
        }
        octets.put(text);
    } else {
        let text = &text.as_bytes()[..text.floor_char_boundary(length.into())];
        octets.put(text);
        octets.put_zeros(usize::from(length) - text.len());
    }
}

/// Whom options data are about.
#[derive(Clone, Copy, Debug)]
pub(in crate::message) struct Scope {
    pub observation_domain_id: u32,
    pub exporter_address: [u8; 4],
}

/// Octets of the longest options record that a session can have, with what has to stand beside it.
pub(in crate::message) fn longest(templates: &TemplateSet) -> usize {
    let interface = InterfaceName { index: 0, name: String::new(), description: String::new() };
    let data = OptionsData { sampled_one_in: Some(NonZeroU32::MIN), interfaces: vec![interface] };
    let scope = Scope { observation_domain_id: 0, exporter_address: [0; 4] };
    let mut records = records(templates, &data, scope);
    records.extend(statistics_records(templates, &Statistics::default(), UnixMillis(0), scope));
    let with_next = |place: usize, record: &OptionsRecord| match records.get(place + 1) {
        Some(next) if record.with_next => set_len(record) + next.octets.len(),
        _ => record.octets.len(),
    };
    records.iter().enumerate().map(|(place, record)| with_next(place, record)).max().unwrap_or(0)
}

/// Octets of a Set with one options record.
pub(in crate::message) fn set_len(record: &OptionsRecord) -> usize {
    (Set::HEADER_LEN + record.octets.len()).next_multiple_of(4)
}

/// All options records of a session, in the order of sending.
pub(in crate::message) fn records(
    templates: &TemplateSet,
    data: &OptionsData,
    scope: Scope,
) -> Vec<OptionsRecord> {
    let mut records = Vec::new();
    let Scope { observation_domain_id, exporter_address } = scope;
    let exporter = u32::from_be_bytes(exporter_address);
    let kinds = templates.options_kinds();
    let one_in = data.sampled_one_in.or(kinds.rate_of_one.then_some(NonZeroU32::MIN));
    if let (Some(method), Some(one_in)) = (kinds.sampling, one_in) {
        match templates.protocol() {
            Protocol::Ipfix if kinds.rate_only => {
                let [rate, _] = sampling_records(observation_domain_id, method, one_in);
                records.push(OptionsRecord { with_next: false, ..rate });
            }
            Protocol::Ipfix => records.extend(sampling_records(observation_domain_id, method, one_in)),
            Protocol::NetflowV9 => {
                let values = [Value::Unsigned(exporter.into()), rate(one_in)];
                records.push(OptionsRecord::new(&table::V9_SAMPLING, &values));
            }
        }
    }
    if kinds.flow_keys && templates.protocol() == Protocol::Ipfix {
        records.extend(templates.templates().iter().map(flow_keys));
    }
    if kinds.interfaces {
        let (template, scope) = match templates.protocol() {
            Protocol::Ipfix => (&table::INTERFACES, observation_domain_id),
            Protocol::NetflowV9 => (&table::V9_INTERFACES, exporter),
        };
        records.extend(data.interfaces.iter().map(|interface| interface_record(template, scope, interface)));
    }
    if templates.protocol() == Protocol::Ipfix {
        if let Some(name) = &kinds.exporter_name {
            let values = [Value::Unsigned(observation_domain_id.into()), Value::Text(name)];
            records.push(OptionsRecord::new(&table::EXPORTER_NAME, &values));
        }
        if !kinds.without_types {
            records.extend(element_types(templates));
        }
        records.extend(anonymisation(templates));
    }
    records
}

fn rate(one_in: NonZeroU32) -> Value<'static> {
    Value::Unsigned(one_in.get().into())
}

/// The rate as all collectors read it, then as the standard has it, in this order and in one message (TPL-RULE-9).
fn sampling_records(domain: u32, method: SamplingMethod, one_in: NonZeroU32) -> [OptionsRecord; 2] {
    let compatible = OptionsRecord::new(&table::SAMPLING, &[Value::Unsigned(domain.into()), rate(one_in)]);
    let probability = Value::Float(1.0 / f64::from(one_in.get()));
    let id = Value::Unsigned(SELECTOR_ID);
    let selector = template::selector(method);
    let report = match method {
        // Selected in a row, skipped in a row (IE-15).
        SamplingMethod::Count => {
            let space = Value::Unsigned(u64::from(one_in.get()) - 1);
            OptionsRecord::new(selector, &[id, Value::Unsigned(SYSTEMATIC_COUNT), Value::Unsigned(1), space])
        }
        SamplingMethod::Random | SamplingMethod::FlowHash => {
            OptionsRecord::new(selector, &[id, Value::Unsigned(UNIFORM_PROBABILISTIC), probability])
        }
    };
    [OptionsRecord { with_next: true, ..compatible }, report]
}

/// Bit n, from the least significant one, stands for field n (STAT-KEY-2).
fn flow_keys(template: &Template) -> OptionsRecord {
    let keys = template.fields.iter().take(KEY_BITS).enumerate().filter(|(_, field)| field.is_key);
    let indicator = keys.fold(0, |bits, (place, _)| bits | 1 << place);
    OptionsRecord::new(&table::FLOW_KEYS, &[Value::Unsigned(template.id.into()), Value::Unsigned(indicator)])
}

fn interface_record(
    template: &'static OptionsTemplate,
    scope: u32,
    interface: &InterfaceName,
) -> OptionsRecord {
    let InterfaceName { index, name, description } = interface;
    let description = if description.is_empty() { name } else { description };
    let (scope, index) = (Value::Unsigned(scope.into()), Value::Unsigned((*index).into()));
    OptionsRecord::new(template, &[scope, index, Value::Text(name), Value::Text(description)])
}

/// A record for each element of our own in use.
fn element_types(templates: &TemplateSet) -> Vec<OptionsRecord> {
    let mut used: Vec<&Field> = Vec::new();
    let fields = templates.templates().iter().flat_map(|template| &template.fields);
    for field in fields.filter(|field| field.element.space() == NumberSpace::Own) {
        if !used.iter().any(|other| other.element == field.element) {
            used.push(field);
        }
    }
    let number = NonZeroU32::new;
    used.into_iter()
        .filter_map(|field| number(field.enterprise_number).map(|number| (field.element, number)))
        .map(|(element, number)| element_type(element, number))
        .collect()
}

pub(super) fn element_type(element: E, enterprise_number: NonZeroU32) -> OptionsRecord {
    let description = own_element::describe(element);
    let values = [
        Value::Unsigned(element.id().into()),
        Value::Unsigned(enterprise_number.get().into()),
        Value::Unsigned(element.data_type().code().into()),
        Value::Unsigned((description.semantics as u8).into()),
        Value::Unsigned((description.units as u16).into()),
        Value::Unsigned(0),
        Value::Unsigned(description.range_end),
        Value::Text(element.name()),
        Value::Text(description.text),
    ];
    OptionsRecord::new(&table::ELEMENT_TYPES, &values)
}

/// A record for each anonymised field of each template.
fn anonymisation(templates: &TemplateSet) -> Vec<OptionsRecord> {
    let mut records = Vec::new();
    for template in templates.templates() {
        for anonymised in &templates.options_kinds().anonymised {
            let is_it = |field: &&Field| field.enterprise_number == 0 && field.id() == anonymised.element_id;
            if template.fields.iter().any(|field| is_it(&field)) {
                let values = [template.id, anonymised.element_id, anonymised.flags, anonymised.technique];
                let values = values.map(|value| Value::Unsigned(value.into()));
                records.push(OptionsRecord::new(&table::ANONYMISATION, &values));
            }
        }
    }
    records
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn texts_are_cut_between_characters_and_zero_filled() {
        // TYPE-STR-2
        let text = |text: &str, length| {
            let mut octets = Octets::with_capacity(0);
            put_text(&mut octets, text, length);
            octets.as_slice().to_vec()
        };
        assert_eq!(text("eth0", 6), *b"eth0\0\0");
        assert_eq!(text("aaaé", 4), *b"aaa\0");
        assert_eq!(text("", 2), [0, 0]);
        assert_eq!(text("eth0", OptionsField::VARIABLE), *b"\x04eth0");
    }

    #[test]
    fn lengths_of_255_and_more_take_three_octets() {
        // VEC-12, TYPE-VLEN-1, TYPE-VLEN-2, TYPE-VLEN-3
        let text = |length: usize| {
            let mut octets = Octets::with_capacity(0);
            put_text(&mut octets, &"x".repeat(length), OptionsField::VARIABLE);
            octets.as_slice().to_vec()
        };
        assert_eq!(OptionsField::VARIABLE, 65_535);
        for (length, prefix) in [
            (0, &[0][..]),
            (1, &[1]),
            (254, &[254]),
            (255, &[255, 0, 255]),
            (256, &[255, 1, 0]),
            (1000, &[255, 3, 0xe8]),
        ] {
            assert_eq!(text(length), [prefix, &vec![b'x'; length]].concat());
        }
        assert_eq!(text(70_000).len(), 3 + LONGEST_TEXT);
    }

    #[test]
    fn the_probability_is_a_double() {
        // TYPE-FLT-1, PSAMP-SEL-2
        let one_in = NonZeroU32::new(100).unwrap();
        let [rate, report] = sampling_records(7, SamplingMethod::Random, one_in);
        assert_eq!(rate.octets[..], [0, 0, 0, 7, 0, 0, 0, 100]);
        assert_eq!(
            report.octets[..],
            [0, 0, 0, 0, 0, 0, 0, 1, 0, 4, 0x3f, 0x84, 0x7a, 0xe1, 0x47, 0xae, 0x14, 0x7b]
        );
        assert!(rate.with_next && !report.with_next);
    }

    #[test]
    fn every_own_element_can_be_described() {
        // TYPEINFO-1, TYPEINFO-2
        for &element in E::ALL_OWN {
            let record = element_type(element, NonZeroU32::new(32473).unwrap());
            assert_eq!(record.octets[..2], element.id().to_be_bytes());
            assert_eq!(record.octets[2..6], 32473_u32.to_be_bytes());
            assert_eq!(usize::from(record.octets[26]), element.name().len());
        }
    }
}
