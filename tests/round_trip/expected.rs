//! What a collector should find in a record, by the numbers of the registry (IANA 2026-07-22) and README's tables.

use std::collections::BTreeSet;

use netflow_common::Address;
use netflow_user::message::{Group, Groups, KeyElement};
use netflow_user::record::FlowRecord;

use crate::flow::Flow;

/// A field: enterprise number (0: IANA), element id.
pub type Field = (u32, u16);

/// RFC 5103 section 6.1.
pub const REVERSE: u32 = 29_305;
/// The enterprise that elements of the exporter's own go by here.
pub const OWN: u32 = 32_473;

/// What a session's templates are made of.
pub struct Fields<'a> {
    pub is_v9: bool,
    pub key: &'a [KeyElement],
    pub groups: Groups,
    /// Those of the operator's own template, in its order; else all.
    pub choice: Option<Vec<Field>>,
}

impl Fields<'_> {
    /// Whether the field of a record is part of the Flow Key; of biflows what both directions have in common.
    pub fn is_key(&self, (enterprise, id): Field, with_biflows: bool) -> bool {
        enterprise == 0 && self.has(id) && !(with_biflows && [5, 61].contains(&id))
    }

    fn has(&self, id: u16) -> bool {
        self.key.iter().any(|part| part.element.id() == id)
    }

    fn prefix(&self, id: u16) -> Option<u8> {
        self.key.iter().find(|part| part.element.id() == id)?.prefix_length
    }

    /// The fields of a record of this family.
    pub fn of(&self, ipv4: bool, biflow: bool) -> BTreeSet<Field> {
        let mut ids: Vec<u16> = if ipv4 { vec![15] } else { vec![62, 31] };
        ids.extend([14, 2, 1, 6, 60, 52, 53]);
        ids.extend(if self.is_v9 { &[22, 21][..] } else { &[152, 153, 136] });
        let keys = if ipv4 { [8, 12] } else { [27, 28] };
        ids.extend(keys.into_iter().chain([10, 7, 11, 58, 4, 5, 61]).filter(|&id| self.has(id)));
        if self.has(4) && self.has(11) {
            ids.push(if ipv4 || self.is_v9 { 32 } else { 139 });
        }
        ids.extend([56, 80, 245, 70].into_iter().filter(|&id| self.has(id) && (id < 128 || !self.is_v9)));
        let prefixes = if ipv4 { [(8, 9), (12, 13)] } else { [(27, 29), (28, 30)] };
        ids.extend(prefixes.iter().filter(|(of, _)| self.prefix(*of).is_some()).map(|(_, length)| length));
        let mut fields: BTreeSet<Field> = ids.into_iter().map(|id| (0, id)).collect();
        for group in self.groups.iter() {
            let (ids, own): (&[u16], &[u16]) = match group {
                Group::L2 => (&[352, 56, 80, 256, 243, 244, 245, 246], &[]),
                Group::Frag => (&[54, 88, 197], &[]),
                Group::Fragments => (&[], &[1]),
                Group::Size => (&[25, 26], &[]),
                Group::Tcp => (&[], &[3, 4, 5]),
                Group::Tos => (&[5], &[2]),
                Group::Dscp => (&[195], &[]),
                Group::Ttl => (&[192], &[]),
                Group::Obspoint => (&[138], &[]),
                Group::Vrf => (&[234, 235], &[]),
                Group::Mpls => (&[70, 71, 72, 73, 74, 75, 76, 77, 78, 79], &[]),
                Group::Opts => (if ipv4 { &[208, 520] } else { &[515, 520] }, &[]),
                Group::Spi => (&[295], &[]),
                Group::Igmp => (&[33], &[]),
                Group::Tunnel => (&[351, 296, 507], &[]),
                Group::Encapsulation => (&[], &[6, 7]),
                Group::Route => (if ipv4 { &[9, 13] } else { &[29, 30] }, &[]),
            };
            fields.extend(ids.iter().map(|&id| (0, id)));
            fields.extend(own.iter().map(|&id| (OWN, id)));
        }
        if self.choice.is_some() {
            let icmp: &[u16] = if ipv4 { &[176, 177] } else { &[178, 179] };
            fields.extend(icmp.iter().chain(&[150, 151, 161]).map(|&id| (0, id)));
        }
        if biflow {
            self.add_reverse(&mut fields);
        }
        if let Some(choice) = &self.choice {
            fields.retain(|field| choice.contains(field));
        }
        fields
    }

    /// BIFLOW-1: what is measured of each direction by itself.
    fn add_reverse(&self, fields: &mut BTreeSet<Field>) {
        const OF_ONE_DIRECTION: [u16; 17] =
            [2, 1, 152, 153, 6, 5, 52, 53, 352, 25, 26, 195, 192, 295, 208, 515, 520];
        let own = [(1, 8), (2, 9), (3, 10), (4, 11), (5, 12)];
        let reverse: Vec<Field> = fields
            .iter()
            .filter_map(|&(enterprise, id)| match enterprise {
                0 if OF_ONE_DIRECTION.contains(&id) => Some((REVERSE, id)),
                OWN => own.iter().find(|(forward, _)| *forward == id).map(|(_, reverse)| (OWN, *reverse)),
                _ => None,
            })
            .collect();
        fields.insert((0, 239));
        fields.extend(reverse);
        if self.groups.contains(Group::Mpls) {
            fields.insert((REVERSE, 70));
        }
    }

    /// A field's value; times of v9 are those of 152 and 153.
    pub fn value(&self, field: Field, flow: &Flow) -> u128 {
        let reverse = flow.record.reverse.as_deref();
        match field {
            (0, 239) => flow.record.biflow_direction as u128,
            (0, 9 | 29) => {
                let of = if flow.record.key.is_ipv4() { 8 } else { 27 };
                self.prefix(of).unwrap_or(flow.record.route.source_prefix_length).into()
            }
            (0, 13 | 30) => {
                let of = if flow.record.key.is_ipv4() { 12 } else { 28 };
                self.prefix(of).unwrap_or(flow.record.route.destination_prefix_length).into()
            }
            (0, id) => self.of_direction(id, &flow.record, flow.whole.flow.class_of_service),
            (REVERSE, id) => {
                let record = reverse.expect("reverse fields are there with a reverse direction only");
                self.of_direction(id, record, flow.reverse_whole.flow.class_of_service)
            }
            (OWN, id @ 8..=12) => own(id - 7, reverse.expect("as above")),
            (OWN, id) => own(id, &flow.record),
            other => panic!("{other:?} was not asked for"),
        }
    }

    fn of_direction(&self, id: u16, record: &FlowRecord, class_of_service: u8) -> u128 {
        let FlowRecord { key, counters, route, .. } = record;
        let ipv4 = key.is_ipv4();
        let icmp = key.protocol == if ipv4 { 1 } else { 58 };
        let in_32 = |address: Address| u128::from(u32::from_be_bytes(address.ipv4_octets()));
        let in_128 = |address: Address| u128::from_be_bytes(address.octets());
        let goes_out = key.direction == 1;
        match id {
            1 => counters.octets.into(),
            2 => counters.packets.into(),
            4 => key.protocol.into(),
            5 => class_of_service.into(),
            6 => (counters.tcp_control_bits & if self.is_v9 { 0xff } else { 0xfff }).into(),
            7 => key.source_port.value().into(),
            8 => in_32(key.source_address),
            10 => {
                if goes_out {
                    0
                } else {
                    key.interface.into()
                }
            }
            11 => key.destination_port.value().into(),
            12 => in_32(key.destination_address),
            14 => if goes_out { key.interface } else { route.egress_interface }.into(),
            15 => in_32(route.next_hop),
            22 | 152 => record.start.0.into(),
            21 | 153 => record.end.0.into(),
            27 => in_128(key.source_address),
            28 => in_128(key.destination_address),
            31 => counters.flow_label.into(),
            32 | 139 => {
                if icmp {
                    key.destination_port.value().into()
                } else {
                    0
                }
            }
            52 => counters.minimum_ttl.into(),
            53 => counters.maximum_ttl.into(),
            58 => key.vlan_id.into(),
            60 => key.ip_version.into(),
            61 => key.direction.into(),
            62 => in_128(route.next_hop),
            136 => record.end_reason as u128,
            150 => (record.start.0 / 1000).into(),
            151 => (record.end.0 / 1000).into(),
            161 => (record.end.0 - record.start.0).min(u32::MAX.into()).into(),
            176 | 178 => self.of_direction(32, record, class_of_service) >> 8,
            177 | 179 => self.of_direction(32, record, class_of_service) & 0xff,
            138 => key.interface.into(),
            195 => (class_of_service >> 2).into(),
            234 => route.ingress_vrf.into(),
            235 => route.egress_vrf.into(),
            id => of_first_packet(id, record),
        }
    }
}

fn of_first_packet(id: u16, record: &FlowRecord) -> u128 {
    let extras = record.extras.as_ref().expect("the records are wide");
    let (key, counters) = (&extras.key, &extras.counters);
    let packet = &counters.first_packet;
    let number = |octets: &[u8]| octets.iter().fold(0, |number, octet| number << 8 | u128::from(*octet));
    match id {
        25 => counters.minimum_ip_length.into(),
        26 => counters.maximum_ip_length.into(),
        33 => packet.igmp_type.into(),
        54 => packet.fragment_identification.into(),
        56 => number(&packet.source_mac),
        70..=79 => number(&packet.mpls_labels[usize::from(id) - 70]),
        80 => number(&packet.destination_mac),
        88 => packet.fragment_offset.into(),
        192 => packet.ttl.into(),
        197 => packet.fragment_flags.into(),
        243 => (packet.outer_tag & 0x0fff).into(),
        244 => (packet.outer_tag >> 13).into(),
        245 => (packet.customer_tag & 0x0fff).into(),
        246 => (packet.customer_tag >> 13).into(),
        256 => packet.ethernet_type.into(),
        208 => counters.ipv4_options.into(),
        295 => packet.ipsec_spi.into(),
        // Tunnels by the numbers of tunnelType; the segment's first octet says VXLAN or NVGRE.
        296 if key.tunnel == 2 => key.tunnel_id.into(),
        351 if key.tunnel == 4 => 1 << 56 | u128::from(key.tunnel_id & 0x00ff_ffff),
        351 if key.tunnel == 3 => 2 << 56 | u128::from(key.tunnel_id & 0x00ff_ffff),
        507 if key.tunnel == 6 => key.tunnel_id.into(),
        296 | 351 | 507 => 0,
        515 => counters.ipv6_extension_headers.into(),
        520 => counters.tcp_options.into(),
        352 => counters.layer2_octets.into(),
        other => panic!("element {other} was not asked for"),
    }
}

fn own(id: u16, record: &FlowRecord) -> u128 {
    let extras = record.extras.as_ref().expect("the records are wide");
    match id {
        1 => extras.counters.fragments.into(),
        2 => extras.counters.all_classes_of_service.into(),
        3 => extras.counters.tcp_retransmitted.into(),
        4 => extras.counters.tcp_out_of_order.into(),
        5 => extras.counters.round_trip_microseconds.into(),
        6 => extras.key.tunnel.into(),
        7 => extras.key.tunnel_id.into(),
        other => panic!("own element {other} was not asked for"),
    }
}
