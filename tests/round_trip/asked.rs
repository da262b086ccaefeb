//! What a session is asked for, at random: a key, templates, options data, presets.

use std::num::NonZeroU32;

use netflow_user::key::KeyChoice;
use netflow_user::message::{
    Anonymised, Group, InterfaceName, OptionsData, OptionsKinds, Preset, Protocol, Reported, SamplingMethod,
    TemplateChoice, TemplateOptions, TemplateSet,
};

use crate::expected::{Field, OWN};
use crate::random::Random;

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
    let most = random.of(&[130, 700]);
    let methods = [SamplingMethod::Count, SamplingMethod::Random, SamplingMethod::FlowHash];
    let anonymised = [8, 12, 27, 28].map(|element_id| Anonymised { element_id, flags: 3, technique: 6 });
    OptionsKinds {
        sampling: random.one_in(2).then(|| random.of(&methods)),
        interfaces: random.one_in(2),
        flow_keys: random.one_in(2),
        // Cut behind a whole character; up to 254 octets have a short length (TYPE-VLEN-2).
        exporter_name: random.one_in(2).then(|| "é".repeat(1 + random.below(most))),
        statistics: random
            .one_in(2)
            .then(|| Reported { active_timeout: random.next() as u16, idle_timeout: random.next() as u16 }),
        anonymised: if random.one_in(2) { anonymised.into() } else { Vec::new() },
        ..OptionsKinds::default()
    }
}

/// What of it changes while the exporter runs.
pub fn options_data(random: &mut Random) -> OptionsData {
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
pub fn template_options(random: &mut Random, protocol: Protocol) -> (TemplateOptions, KeyChoice) {
    let key = key(random);
    let mut options = TemplateOptions {
        key: key.elements.clone(),
        enterprise_number: NonZeroU32::new(OWN),
        options: options_kinds(random),
        ..TemplateOptions::new(protocol)
    };
    let many = random.below(4);
    for group in Group::ALL {
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
    if random.one_in(3) {
        let preset = random.of(&Preset::ALL);
        options = preset.apply(options.clone()).unwrap_or(options);
    }
    (options, key)
}

/// Counters, whose flows take several records where a field is too short.
pub const COUNTERS: [u16; 3] = [1, 2, 352];
/// Elements that only a template of the operator's own has.
const CHOSEN_ONLY: [(&str, u16); 7] = [
    ("flowStartSeconds", 150),
    ("flowEndSeconds", 151),
    ("flowDurationMilliseconds", 161),
    ("icmpTypeIPv4", 176),
    ("icmpCodeIPv4", 177),
    ("icmpTypeIPv6", 178),
    ("icmpCodeIPv6", 179),
];

/// A template of the operator's own: some of the fields that there would be, in any order, and some more; `None` where it
/// is refused.
pub fn choose(random: &mut Random, options: &mut TemplateOptions) -> Option<Vec<Field>> {
    let all = TemplateSet::new(options).unwrap();
    let mut chosen: Vec<(String, Field)> = Vec::new();
    for field in all.templates().iter().flat_map(|template| &template.fields) {
        let id = (field.enterprise_number, field.id());
        if random.one_in(3) && !chosen.iter().any(|(_, other)| *other == id) {
            let mut word = field.element.name().to_owned();
            if COUNTERS.contains(&id.1) && id.0 != OWN {
                word.push_str(&format!("/{}", random.of(&[4, 8])));
            }
            chosen.insert(random.below(chosen.len() + 1), (word, id));
        }
    }
    if options.protocol == Protocol::Ipfix {
        let more = CHOSEN_ONLY.iter().filter(|_| random.one_in(4));
        chosen.extend(more.map(|(name, id)| ((*name).to_owned(), (0, *id))));
    }
    let words: Vec<&str> = chosen.iter().map(|(word, _)| word.as_str()).collect();
    options.choice = Some(TemplateChoice::parse(&words.join(","), options.enterprise_number).ok()?);
    TemplateSet::new(options).ok()?;
    Some(chosen.into_iter().map(|(_, field)| field).collect())
}
