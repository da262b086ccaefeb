//! What a collector should find in options data, by the numbers of the registry and the tables of templates: every record,
//! every value.

use std::collections::HashMap;

use netflow_user::message::{Anonymised, OptionsData, OptionsKinds, SamplingMethod, Statistics};

use crate::decoder::Layout;
use crate::expected::{Fields, OWN};
use crate::random::Random;

/// Octets of a text at most.
const LONGEST_TEXT: usize = 1000;
/// Of each own element: informationElementDataType, -Semantics, -Units, -RangeEnd, -Name.
const OWN_ELEMENTS: [(u8, u8, u16, u64, &str); 12] = [
    (3, 3, 3, 0xffff_ffff, "fragmentDeltaCount"),
    (1, 5, 0, 0xff, "ipClassOfServiceUnion"),
    (3, 3, 3, 0xffff_ffff, "tcpRetransmittedPacketDeltaCount"),
    (3, 3, 3, 0xffff_ffff, "tcpOutOfOrderPacketDeltaCount"),
    (3, 1, 7, 0xffff_ffff, "tcpHandshakeRoundTripTime"),
    (1, 4, 0, 0xff, "tunnelType"),
    (3, 4, 0, 0xffff_ffff, "tunnelId"),
    (3, 3, 3, 0xffff_ffff, "reverseFragmentDeltaCount"),
    (1, 5, 0, 0xff, "reverseIpClassOfServiceUnion"),
    (3, 3, 3, 0xffff_ffff, "reverseTcpRetransmittedPacketDeltaCount"),
    (3, 3, 3, 0xffff_ffff, "reverseTcpOutOfOrderPacketDeltaCount"),
    (3, 1, 7, 0xffff_ffff, "reverseTcpHandshakeRoundTripTime"),
];

/// What a session has to tell.
pub struct Told<'a> {
    pub fields: &'a Fields<'a>,
    pub kinds: &'a OptionsKinds,
    pub data: &'a OptionsData,
    pub statistics: &'a Statistics,
    pub domain: u32,
    /// Where sysUpTime is zero, milliseconds since 1970.
    pub start: u64,
    pub with_biflows: bool,
    /// Templates of flows by id.
    pub layouts: &'a HashMap<u16, Layout>,
}

/// Any totals.
pub fn statistics(random: &mut Random) -> Statistics {
    use netflow_user::time::UnixMillis;
    let mut any = || random.next() >> (random.next() % 64);
    Statistics {
        messages: any(),
        flow_records: any(),
        octets: any(),
        observed_flows: any(),
        ignored_packets: any(),
        ignored_octets: any(),
        // Milliseconds that the decoder's own times have room for.
        ignored_at: [any() >> 16, any() >> 16].map(UnixMillis),
        selector_observed: any(),
        selector_selected: any(),
        exporting_process: any() as u32,
        not_sent_records: any(),
        not_sent_packets: any(),
        not_sent_octets: any(),
        not_sent_at: [any() >> 16, any() >> 16].map(UnixMillis),
    }
}

fn number(octets: &[u8]) -> u64 {
    octets.iter().fold(0, |number, octet| number << 8 | u64::from(*octet))
}

/// Zero-filled to the field's length, or cut between characters (TYPE-STR-1, TYPE-STR-2).
fn text(text: &str, length: u16) -> Vec<u8> {
    let is_variable = length == u16::MAX;
    let most = if is_variable { LONGEST_TEXT } else { length.into() };
    let mut octets = text.as_bytes()[..text.floor_char_boundary(most)].to_vec();
    if !is_variable {
        octets.resize(length.into(), 0);
    }
    octets
}

impl Told<'_> {
    /// A record of an Options Template: its fields (of v9 without the scope) and their octets.
    pub fn judge(&self, id: u16, layout: &Layout, values: &[Vec<u8>]) {
        assert_eq!(layout.len(), values.len());
        let found: Vec<(u16, u64)> =
            layout.iter().zip(values).map(|(((_, element), _), octets)| (*element, number(octets))).collect();
        let value =
            |element: u16| found.iter().find(|(of, _)| *of == element).map(|(_, value)| *value).unwrap();
        let octets = |element: u16| {
            let place = layout.iter().position(|((_, of), _)| *of == element).unwrap();
            (layout[place].1, values[place].as_slice())
        };
        let Statistics { messages, flow_records, octets: sent_octets, observed_flows, .. } = *self.statistics;
        let Statistics { ignored_packets, ignored_octets, ignored_at: [first, last], .. } = *self.statistics;
        let Statistics { not_sent_records, not_sent_packets, not_sent_octets, .. } = *self.statistics;
        let domain = u64::from(self.domain);
        let timeouts = self.kinds.statistics.unwrap_or_default();
        let timeouts = [(36, timeouts.active_timeout.into()), (37, timeouts.idle_timeout.into())];
        let exact: Vec<(u16, u64)> = match (self.fields.is_v9, id) {
            (true, 512) => vec![(34, self.one_in())],
            (true, 514) => {
                // STAT-CNT-1
                let most = u64::from(u32::MAX);
                [&[(41, messages.min(most)), (42, flow_records.min(most)), (40, sent_octets)][..], &timeouts]
                    .concat()
            }
            (true, 513) | (false, 522) => return self.interface(&found, octets(82), octets(83)),
            (false, 516) => vec![(149, domain), (34, self.one_in())],
            (false, 512) => [
                &[(149, domain), (143, 1), (41, messages), (42, flow_records), (40, sent_octets)][..],
                &[(163, observed_flows)],
                &timeouts,
            ]
            .concat(),
            (false, 513) => vec![
                (149, domain),
                (143, 1),
                (164, ignored_packets),
                (165, ignored_octets),
                (323, first.0),
                (323, last.0),
            ],
            (false, 514) => {
                let [first, last] = self.statistics.not_sent_at;
                vec![
                    (144, self.statistics.exporting_process.into()),
                    (166, not_sent_records),
                    (167, not_sent_packets),
                    (168, not_sent_octets),
                    (323, first.0),
                    (323, last.0),
                ]
            }
            (false, 515) => {
                let of = value(145) as u16;
                vec![(145, of.into()), (173, self.indicator(&self.layouts[&of]))]
            }
            (false, 517 | 518 | 526) => self.selector(id),
            (false, 521) => {
                let Statistics { selector_observed, selector_selected, .. } = *self.statistics;
                vec![(301, 1), (318, selector_observed), (319, selector_selected)]
            }
            (false, 527) => vec![(301, 1), (149, domain), (302, 1)],
            (false, 523) => vec![(149, domain), (160, self.start)],
            (false, 524) => return self.own_element(&found, octets(341), octets(340)),
            (false, 525) => {
                let (of, element) = (value(145) as u16, value(303) as u16);
                assert!(self.layouts[&of].iter().any(|(field, _)| *field == (0, element)));
                let said = self.kinds.anonymised.iter().find(|it| it.element_id == element).unwrap();
                let Anonymised { flags, technique, .. } = *said;
                vec![(145, of.into()), (303, element.into()), (285, flags.into()), (286, technique.into())]
            }
            (false, 528) => {
                let (length, name) = octets(300);
                assert_eq!(name, text(self.kinds.exporter_name.as_ref().unwrap(), length));
                assert_eq!((found.len(), value(149)), (2, domain));
                return;
            }
            other => panic!("nobody asked for options data {other:?}"),
        };
        assert_eq!(found, exact, "options data {id}");
    }

    fn one_in(&self) -> u64 {
        let one_in = self.data.sampled_one_in.map(|one_in| one_in.get().into());
        one_in.or(self.kinds.rate_of_one.then_some(1)).expect("a rate that was set")
    }

    fn selector(&self, id: u16) -> Vec<(u16, u64)> {
        let probability = (311, (1.0 / self.one_in() as f64).to_bits());
        assert!(!self.kinds.rate_only);
        match self.kinds.sampling.expect("something is sampled") {
            SamplingMethod::Count => {
                assert_eq!(id, 517);
                vec![(302, 1), (304, 1), (305, 1), (306, self.one_in() - 1)]
            }
            SamplingMethod::Random => {
                assert_eq!(id, 518);
                vec![(302, 1), (304, 4), probability]
            }
            SamplingMethod::FlowHash => {
                assert_eq!(id, 526);
                vec![(302, 1), (390, 4), probability]
            }
        }
    }

    /// STAT-KEY-2: bit n for field n.
    fn indicator(&self, layout: &Layout) -> u64 {
        let fields = layout.iter().take(64).enumerate();
        let keys = fields.filter(|(_, (field, _))| self.fields.is_key(*field, self.with_biflows));
        keys.fold(0, |bits, (place, _)| bits | 1 << place)
    }

    fn interface(&self, found: &[(u16, u64)], name: (u16, &[u8]), description: (u16, &[u8])) {
        if !self.fields.is_v9 {
            assert_eq!(found[0], (149, self.domain.into()));
        }
        let index = found[found.len() - 3];
        assert_eq!((index.0, found.len()), (10, if self.fields.is_v9 { 3 } else { 4 }));
        let interface = self.data.interfaces.iter().find(|interface| u64::from(interface.index) == index.1);
        let interface = interface.expect("an interface that is there");
        let said = if interface.description.is_empty() { &interface.name } else { &interface.description };
        assert_eq!((name.1, description.1), (&*text(&interface.name, name.0), &*text(said, description.0)));
    }

    /// RFC 5610.
    fn own_element(&self, found: &[(u16, u64)], name: (u16, &[u8]), description: (u16, &[u8])) {
        let id = found[0].1;
        let (data_type, semantics, units, end, expected) = OWN_ELEMENTS[id as usize - 1];
        let exact = [
            (303, id),
            (346, OWN.into()),
            (339, data_type.into()),
            (344, semantics.into()),
            (345, units.into()),
            (342, 0),
            (343, end),
        ];
        assert_eq!(found[..exact.len()], exact);
        assert_eq!(std::str::from_utf8(name.1).unwrap(), expected);
        assert!(!description.1.is_empty() && !description.1.contains(&0));
        // It is in some template.
        assert!(
            self.layouts
                .values()
                .flatten()
                .any(|((enterprise, of), _)| (*enterprise, *of) == (OWN, id as u16))
        );
    }
}
