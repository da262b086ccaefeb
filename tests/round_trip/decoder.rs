//! The decoder, which was not written here: what it reads of a message, without a thought of what it means.

use std::collections::HashMap;

use netflow_parser::variable_versions::field_value::{FieldDataType, FieldValue};
use netflow_parser::variable_versions::{ipfix, v9};
use netflow_parser::{EnterpriseFieldDef, NetflowPacket, NetflowParser, static_versions::v5::V5};

use crate::expected::{Field, OWN};

/// A value that is no text.
pub type Values = Vec<u128>;

/// The layout of a template: fields with their lengths.
pub type Layout = Vec<(Field, u16)>;

/// A decoded message of v9 or IPFIX.
#[derive(Debug, Default)]
pub struct Decoded {
    pub sequence_number: u32,
    pub domain: u32,
    /// Export Time or UNIX Secs.
    pub unix_secs: u32,
    /// v9 only.
    pub sys_up_time: u32,
    /// IPFIX: Length; v9: Count.
    pub length_or_count: u16,
    /// Template Records and Options Template Records.
    pub template_records: usize,
    /// Template id, values.
    pub records: Vec<(u16, Values)>,
    /// Records of Options Templates: template id, number of fields.
    pub options: Vec<(u16, Vec<FieldValue>)>,
}

/// Elements that the crate does not know, so that it would read no record with them. It is handed others of their type in
/// their place, which this exporter never sends.
const STAND_INS: [(u16, u16); 3] = [(507, 148), (515, 85), (520, 86)];
const REVERSE_BIT: u16 = 0x8000;

/// The message with the stand-ins in its Template Sets.
fn with_stand_ins(message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    let number = |message: &[u8], at: usize| u16::from_be_bytes([message[at], message[at + 1]]);
    let mut set = 16;
    while set < message.len() {
        let end = set + usize::from(number(&message, set + 2));
        let mut at = set + 4;
        // A Set is padded with less than a header.
        while number(&message, set) == 2 && at + 4 <= end {
            let fields = number(&message, at + 2);
            at += 4;
            for _ in 0..fields {
                let id = number(&message, at);
                let is_enterprise = id & REVERSE_BIT != 0;
                let is_own = is_enterprise && message[at + 4..at + 8] == OWN.to_be_bytes();
                let stand_in = STAND_INS.iter().find(|(real, _)| !is_own && *real == id & !REVERSE_BIT);
                if let Some((_, other)) = stand_in {
                    message[at..at + 2].copy_from_slice(&(other | id & REVERSE_BIT).to_be_bytes());
                }
                at += if is_enterprise { 8 } else { 4 };
            }
        }
        set = end;
    }
    message
}

/// One Transport Session.
pub struct Decoder {
    parser: NetflowParser,
    /// Templates of flows by id.
    pub layouts: HashMap<u16, Layout>,
    /// Options templates: the fields behind v9's scopes.
    pub options_layouts: HashMap<u16, Layout>,
}

impl Decoder {
    pub fn new() -> Self {
        let own = (1..=12).map(|id| {
            EnterpriseFieldDef::new(OWN, id, format!("own{id}"), FieldDataType::UnsignedDataNumber)
        });
        let parser = NetflowParser::builder().register_enterprise_fields(own).build().unwrap();
        Self { parser, layouts: HashMap::new(), options_layouts: HashMap::new() }
    }

    fn packet(&mut self, octets: &[u8]) -> NetflowPacket {
        let mut result = self.parser.parse_bytes(octets);
        assert!(result.error.is_none(), "{:?}", result.error);
        assert_eq!(result.packets.len(), 1);
        result.packets.remove(0)
    }

    pub fn v5(&mut self, octets: &[u8]) -> V5 {
        match self.packet(octets) {
            NetflowPacket::V5(packet) => packet,
            other => panic!("{other:?}"),
        }
    }

    /// Anything that the decoder takes exception to is a failure.
    pub fn receive(&mut self, octets: &[u8]) -> Decoded {
        let is_ipfix = octets[..2] == [0, 10];
        let read = if is_ipfix { self.packet(&with_stand_ins(octets)) } else { self.packet(octets) };
        match read {
            NetflowPacket::V9(packet) => self.v9(&packet),
            NetflowPacket::IPFix(message) => self.ipfix(&message),
            other => panic!("{other:?}"),
        }
    }

    fn v9(&mut self, packet: &v9::V9) -> Decoded {
        let header = &packet.header;
        let mut decoded = Decoded {
            sequence_number: header.sequence_number,
            domain: header.source_id,
            unix_secs: header.unix_secs,
            sys_up_time: header.sys_up_time,
            length_or_count: header.count,
            ..Decoded::default()
        };
        for flow_set in &packet.flowsets {
            let id = flow_set.header.flowset_id;
            match &flow_set.body {
                v9::FlowSetBody::Template(set) => {
                    for template in &set.templates {
                        let field = |f: &v9::TemplateField| ((0, f.field_type_number), f.field_length);
                        let layout = template.fields.iter().map(field).collect();
                        learn(&mut self.layouts, template.template_id, layout, &mut decoded);
                    }
                }
                v9::FlowSetBody::OptionsTemplate(set) => {
                    for template in &set.templates {
                        let field = |f: &v9::TemplateField| ((0, f.field_type_number), f.field_length);
                        let layout = template.option_fields.iter().map(field).collect();
                        learn(&mut self.options_layouts, template.template_id, layout, &mut decoded);
                    }
                }
                v9::FlowSetBody::Data(data) => {
                    for record in &data.fields {
                        let values = record.iter().map(|(_, value)| number(value)).collect();
                        decoded.records.push((id, values));
                    }
                }
                v9::FlowSetBody::OptionsData(data) => {
                    for record in &data.fields {
                        assert_eq!(record.scope_fields.len(), 1);
                        let values = record.options_fields.iter().map(|(_, value)| value.clone()).collect();
                        decoded.options.push((id, values));
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        decoded
    }

    fn ipfix(&mut self, message: &ipfix::IPFix) -> Decoded {
        let header = &message.header;
        let mut decoded = Decoded {
            sequence_number: header.sequence_number,
            domain: header.observation_domain_id,
            unix_secs: header.export_time,
            length_or_count: header.length,
            ..Decoded::default()
        };
        for set in &message.flowsets {
            let id = set.header.header_id;
            match &set.body {
                ipfix::FlowSetBody::Template(template) => {
                    self.learn_template(template, &mut decoded);
                }
                ipfix::FlowSetBody::Templates(templates) => {
                    templates.iter().for_each(|template| self.learn_template(template, &mut decoded));
                }
                ipfix::FlowSetBody::OptionsTemplate(template) => {
                    self.learn_options(template, &mut decoded);
                }
                ipfix::FlowSetBody::OptionsTemplates(templates) => {
                    templates.iter().for_each(|template| self.learn_options(template, &mut decoded));
                }
                ipfix::FlowSetBody::Data(data) => {
                    for record in &data.fields {
                        let values = record.iter().map(|(_, value)| number(value)).collect();
                        decoded.records.push((id, values));
                    }
                }
                ipfix::FlowSetBody::OptionsData(data) => {
                    for record in &data.fields {
                        let values = record.iter().map(|(_, value)| value.clone()).collect();
                        decoded.options.push((id, values));
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        decoded
    }

    fn learn_template(&mut self, template: &ipfix::Template, decoded: &mut Decoded) {
        let layout = template.fields.iter().map(specifier).collect();
        learn(&mut self.layouts, template.template_id, layout, decoded);
    }

    fn learn_options(&mut self, template: &ipfix::OptionsTemplate, decoded: &mut Decoded) {
        let layout = template.fields.iter().map(specifier).collect();
        learn(&mut self.options_layouts, template.template_id, layout, decoded);
    }
}

fn specifier(field: &ipfix::TemplateField) -> (Field, u16) {
    let id = field.field_type_number;
    let stood_in = STAND_INS.iter().find(|(_, other)| field.enterprise_number != Some(OWN) && *other == id);
    ((field.enterprise_number.unwrap_or(0), stood_in.map_or(id, |(real, _)| *real)), field.field_length)
}

fn learn(known: &mut HashMap<u16, Layout>, id: u16, layout: Layout, decoded: &mut Decoded) {
    // V9-TMPL-1, V9-TMPL-6
    assert!(id >= 256);
    let before = known.entry(id).or_insert_with(|| layout.clone());
    assert_eq!(*before, layout, "template {id} has changed");
    decoded.template_records += 1;
}

/// Of up to 16 octets.
pub fn number(value: &FieldValue) -> u128 {
    octets(value).iter().fold(0, |number, &octet| number << 8 | u128::from(octet))
}

/// As they are in the message.
pub fn octets(value: &FieldValue) -> Vec<u8> {
    let mut octets = Vec::new();
    value.write_be_bytes(&mut octets).unwrap();
    octets
}
