//! Options data, against the vectors that hold one record of each kind.

use std::num::NonZeroU32;

use netflow_user::message::{
    Anonymised, DEFAULT_KEY, Group, InformationElement as E, InterfaceName, OptionsData, OptionsKinds,
    Packer, Preset, Protocol, Reported, SamplingMethod, Statistics, TemplateOptions, TemplateSet,
};
use netflow_user::time::UnixMillis;

use crate::{NOW, check_file, packer, send, vector, vectors};

fn kinds(method: SamplingMethod) -> OptionsKinds {
    OptionsKinds {
        sampling: Some(method),
        interfaces: true,
        flow_keys: true,
        statistics: None,
        anonymised: vec![Anonymised { element_id: 8, flags: 1, technique: 2 }],
        ..OptionsKinds::default()
    }
}

/// The timeouts of the vectors.
const REPORTED: Option<Reported> = Some(Reported { active_timeout: 60, idle_timeout: 15 });

/// The totals of the vectors.
fn statistics() -> Statistics {
    Statistics {
        messages: 12,
        flow_records: 345,
        octets: 67_890,
        observed_flows: 400,
        ignored_packets: 9,
        ignored_octets: 900,
        ignored_at: [0x019b_76d9_bda0, 0x019b_76da_a418].map(UnixMillis),
        selector_observed: 100_000,
        selector_selected: 1000,
        exporting_process: 1,
        not_sent_records: 3,
        not_sent_packets: 30,
        not_sent_octets: 300,
        not_sent_at: [0x019b_76d9_e4b0, 0x019b_76da_a60c].map(UnixMillis),
    }
}

fn data() -> OptionsData {
    let interface = |index, name: &str, description: &str| InterfaceName {
        index,
        name: name.to_owned(),
        description: description.to_owned(),
    };
    let interfaces = vec![interface(2, "eth0", "uplink eth0"), interface(3, "eth1", "lan eth1")];
    OptionsData { sampled_one_in: NonZeroU32::new(100), interfaces }
}

fn session(options: &TemplateOptions, data: &OptionsData) -> (TemplateSet, Packer) {
    let templates = TemplateSet::new(options).unwrap();
    let mut packer = packer(&templates);
    packer.set_options_data(data);
    (templates, packer)
}

/// The Sets of a message, behind a header of this length.
fn sets(message: &[u8], header: usize) -> Vec<&[u8]> {
    let mut rest = &message[header..];
    let mut sets = Vec::new();
    while !rest.is_empty() {
        let length = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        let (set, behind) = rest.split_at(length);
        sets.push(set);
        rest = behind;
    }
    sets
}

/// Which of our Sets stand in none of these messages.
fn missing<'a>(ours: &'a [u8], header: usize, vectors: &[Vec<u8>]) -> Vec<&'a [u8]> {
    let known: Vec<&[u8]> = vectors.iter().flat_map(|message| sets(message, header)).collect();
    sets(ours, header).into_iter().filter(|set| !known.contains(set)).collect()
}

#[test]
fn netflow_v9_options_are_those_of_the_vector() {
    // VEC-4, V9-OPT-1, V9-OPT-4, V9-HDR-2
    let method = SamplingMethod::Count;
    let options = OptionsKinds { statistics: REPORTED, ..kinds(method) };
    let options = TemplateOptions { options, ..TemplateOptions::new(Protocol::NetflowV9) };
    let mut data = data();
    data.interfaces.truncate(1);
    let (templates, mut packer) = session(&options, &data);
    packer.set_statistics(&statistics());
    let octets = send(&mut packer, &[]);
    assert_eq!(octets, vector(vectors::NETFLOW_V9_OPTIONS));
    check_file("netflow_v9/options.hex", "VEC-4.", &templates, &octets);
}

#[test]
fn ipfix_options_are_those_of_the_vectors() {
    // IPFIX-SEQ-4, STAT-KEY-1, STAT-KEY-2, TPL-RULE-5, TPL-RULE-8, TPL-RULE-9
    let method = SamplingMethod::Count;
    // The vector's key has no direction and no version.
    let not_there = [E::FLOW_DIRECTION, E::IP_VERSION];
    let key = DEFAULT_KEY.into_iter().filter(|part| !not_there.contains(&part.element)).collect();
    let options = TemplateOptions { options: kinds(method), key, ..TemplateOptions::new(Protocol::Ipfix) };
    let (templates, mut packer) = session(&options, &data());
    let octets = send(&mut packer, &[]);
    let vectors = [vector(vectors::IPFIX_OPTIONS_TEMPLATES), vector(vectors::IPFIX_OPTIONS_DATA)];
    let ids = |sets: Vec<&[u8]>| -> Vec<u16> {
        sets.iter().map(|set| u16::from_be_bytes([set[0], set[1]])).collect()
    };
    assert_eq!(ids(sets(&octets, 16)), [2, 3, 3, 3, 3, 3, 516, 517, 515, 522, 522, 525]);
    // Templates of a key without direction have other ids, of which the flow keys and anonymisation speak.
    assert_eq!(ids(missing(&octets, 16, &vectors)), [2, 515, 525]);
    assert_eq!(octets[8..12], [0; 4]);
    let next = packer.next_message(&crate::flows()[..1], NOW).unwrap();
    assert_eq!(next.octets[8..12], [0, 0, 0, 7], "options records count as Data Records");
    // The worked values of keys without direction.
    let indicators: Vec<&[u8]> =
        sets(&octets, 16)[8][4..].chunks_exact(10).map(|record| &record[2..]).collect();
    assert_eq!(indicators, [[0, 0, 0, 0, 0, 0, 0xd6, 0x0b], [0, 0, 0, 0, 0, 1, 0x96, 0x0b]]);
    check_file(
        "ipfix/options.hex",
        "Sets of VEC-6 and VEC-7, but for the ids of templates.",
        &templates,
        &octets,
    );
}

#[test]
fn ipfix_statistics_are_those_of_the_vectors() {
    // VEC-6, VEC-7, STAT-MP-1, STAT-MP-2, STAT-MPR-1, STAT-EPR-1, METER-EP-1
    let options = OptionsKinds { statistics: REPORTED, ..OptionsKinds::default() };
    let options = TemplateOptions { options, ..TemplateOptions::new(Protocol::Ipfix) };
    let (templates, mut packer) = session(&options, &OptionsData::default());
    packer.set_statistics(&statistics());
    let octets = send(&mut packer, &[]);
    let vectors = [vector(vectors::IPFIX_OPTIONS_TEMPLATES), vector(vectors::IPFIX_OPTIONS_DATA)];
    // The vector's sysUpTime is zero an hour before.
    assert!(missing(&octets, 16, &vectors).is_empty());
    check_file("ipfix/statistics.hex", "Sets of VEC-6 and VEC-7.", &templates, &octets);
}

#[test]
fn statistics_of_a_selection_are_those_of_the_vectors() {
    // VEC-6, VEC-7, PSAMP-STAT-1, PSAMP-SEQ-1
    let options = OptionsKinds {
        sampling: Some(SamplingMethod::Count),
        statistics: REPORTED,
        ..OptionsKinds::default()
    };
    let options = TemplateOptions { options, ..TemplateOptions::new(Protocol::Ipfix) };
    let (templates, mut packer) = session(&options, &data());
    packer.set_statistics(&statistics());
    let octets = send(&mut packer, &[]);
    let vectors = [vector(vectors::IPFIX_OPTIONS_TEMPLATES), vector(vectors::IPFIX_OPTIONS_DATA)];
    let missing = missing(&octets, 16, &vectors);
    // The vectors' sequence is that of one interface.
    assert!(
        missing.iter().all(|set| [[0, 3], 527_u16.to_be_bytes()].contains(&[set[0], set[1]])),
        "{missing:?}"
    );
    assert!(missing.len() <= 2, "{missing:?}");
    check_file(
        "ipfix/statistics_of_selection.hex",
        "Sets of VEC-6 and VEC-7, and a report.",
        &templates,
        &octets,
    );
}

#[test]
fn the_anonymisation_of_the_default_templates_is_that_of_the_vectors() {
    // VEC-6, VEC-7
    let options =
        OptionsKinds { anonymised: kinds(SamplingMethod::Count).anonymised, ..OptionsKinds::default() };
    let options = TemplateOptions { options, ..TemplateOptions::new(Protocol::Ipfix) };
    let (_, mut packer) = session(&options, &OptionsData::default());
    let octets = send(&mut packer, &[]);
    let vectors = [vector(vectors::IPFIX_OPTIONS_TEMPLATES), vector(vectors::IPFIX_OPTIONS_DATA)];
    assert_eq!(sets(&octets, 16).len(), 3);
    assert!(missing(&octets, 16, &vectors).is_empty());
}

#[test]
fn ipfix_says_what_the_exporter_is_called() {
    // TYPE-VLEN-1
    let options = OptionsKinds { exporter_name: Some("edge".to_owned()), ..OptionsKinds::default() };
    let options = TemplateOptions { options, ..TemplateOptions::new(Protocol::Ipfix) };
    let (templates, mut packer) = session(&options, &OptionsData::default());
    let octets = send(&mut packer, &[]);
    check_file("ipfix/exporter_name.hex", "The exporter's name.", &templates, &octets);
}

#[test]
fn ipfix_says_how_packets_are_chosen_and_what_own_elements_are() {
    // VEC-6, VEC-7. Not sent: Set 519, since no meter here picks n of each N packets; Set 520, in place of which 527 tells
    // the selection sequence of a domain, not of one interface (TPL-RULE-11).
    for (method, name, not_in_vectors) in [
        // Templates of groups have ids and fields of their own.
        (SamplingMethod::Random, "random", &[2, 524][..]),
        // Flows are chosen, which no vector has.
        (SamplingMethod::FlowHash, "flow_hash", &[2, 3, 526, 524]),
    ] {
        let options = TemplateOptions {
            groups: [Group::Tos, Group::Tcp].into_iter().collect(),
            enterprise_number: NonZeroU32::new(32473),
            options: OptionsKinds { sampling: Some(method), ..OptionsKinds::default() },
            ..TemplateOptions::new(Protocol::Ipfix)
        };
        let (templates, mut packer) = session(&options, &data());
        let octets = send(&mut packer, &[]);
        let mut of_vectors = vector(vectors::IPFIX_OPTIONS_DATA);
        // The vector's probability is that of its second selector, ours is the only one.
        let selector = of_vectors.windows(4).position(|four| four == [2, 6, 0, 24]).unwrap();
        of_vectors[selector + 11] = 1;
        let known = [vector(vectors::IPFIX_OPTIONS_TEMPLATES), of_vectors];
        let mut ids: Vec<u16> =
            missing(&octets, 16, &known).iter().map(|set| u16::from_be_bytes([set[0], set[1]])).collect();
        ids.dedup();
        assert_eq!(ids, not_in_vectors, "{name}");
        // Each type record is laid out as the vector's: all but the texts at the same place, with one-octet lengths.
        for set in sets(&octets, 16).into_iter().filter(|set| set[..2] == 524_u16.to_be_bytes()) {
            let record = &set[4..];
            assert_eq!(
                (record[2..6].to_vec(), record[10..18].to_vec()),
                (32473_u32.to_be_bytes().into(), vec![0; 8])
            );
            let name = usize::from(record[26]);
            let text = usize::from(record[27 + name]);
            assert!(record[27..27 + name].iter().all(u8::is_ascii_alphabetic));
            assert!(record.len() - (28 + name + text) < 4);
        }
        check_file(
            &format!("ipfix/options_{name}.hex"),
            "Sampling, and the types of own elements under the example enterprise number (RFC 5610).",
            &templates,
            &octets,
        );
    }
}

#[test]
fn presets_have_templates_of_their_own() {
    for preset in [Preset::Nfdump, Preset::Pmacct, Preset::Goflow2] {
        let options = OptionsKinds { statistics: REPORTED, ..kinds(SamplingMethod::Count) };
        let options = TemplateOptions { options, ..TemplateOptions::new(Protocol::Ipfix) };
        let (templates, mut packer) = session(&preset.apply(options).unwrap(), &data());
        check_file(
            &format!("ipfix/preset_{}.hex", preset.name()),
            "Templates and options data with everything asked for, as the preset leaves them.",
            &templates,
            &send(&mut packer, &[]),
        );
    }
}
