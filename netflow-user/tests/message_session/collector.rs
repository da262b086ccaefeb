//! A collector made of a decoder that was not written here.

use std::collections::{BTreeMap, HashMap};

use netflow_parser::{
    FieldValue, NetflowPacket, NetflowParser,
    variable_versions::{ipfix, v9},
};

/// A decoded Data Record: element id -> value.
pub type Fields = BTreeMap<u16, u128>;

/// A decoded message.
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
    pub template_records: usize,
    pub data_records: Vec<Fields>,
    /// Options Template Records.
    pub options_templates: usize,
    /// Records of Options Templates, without v9's scopes: template id, fields.
    pub options_records: Vec<(u16, Fields)>,
}

#[derive(Default)]
pub struct Collector {
    parser: NetflowParser,
    /// Template ID -> element ids.
    templates: HashMap<u16, Vec<u16>>,
}

impl Collector {
    pub fn knows(&self, template: u16) -> bool {
        self.templates.contains_key(&template)
    }

    /// Decodes a datagram; anything that the decoder takes exception to is a failure.
    pub fn receive(&mut self, octets: &[u8]) -> Decoded {
        let result = self.parser.parse_bytes(octets);
        assert!(result.error.is_none(), "{:?}", result.error);
        let [packet] = &result.packets[..] else { panic!("{} packets", result.packets.len()) };
        match packet {
            NetflowPacket::V9(packet) => self.v9(packet),
            NetflowPacket::IPFix(message) => self.ipfix(message),
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
            match &flow_set.body {
                v9::FlowSetBody::Template(set) => {
                    for template in &set.templates {
                        let ids = template.fields.iter().map(|field| field.field_type_number).collect();
                        self.learn(template.template_id, ids, &mut decoded);
                    }
                }
                v9::FlowSetBody::Data(data) => {
                    let id = flow_set.header.flowset_id;
                    for record in &data.fields {
                        decoded.data_records.push(self.fields(id, record.iter().map(|(_, value)| value)));
                    }
                }
                v9::FlowSetBody::OptionsTemplate(set) => {
                    for template in &set.templates {
                        let ids =
                            template.option_fields.iter().map(|field| field.field_type_number).collect();
                        self.learn_options(template.template_id, ids, &mut decoded);
                    }
                }
                v9::FlowSetBody::OptionsData(data) => {
                    let id = flow_set.header.flowset_id;
                    for record in &data.fields {
                        assert_eq!(record.scope_fields.len(), 1);
                        let fields = self.fields(id, record.options_fields.iter().map(|(_, value)| value));
                        decoded.options_records.push((id, fields));
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
            let templates = match &set.body {
                ipfix::FlowSetBody::Template(template) => std::slice::from_ref(template),
                ipfix::FlowSetBody::Templates(templates) => templates,
                ipfix::FlowSetBody::Data(data) => {
                    let id = set.header.header_id;
                    for record in &data.fields {
                        decoded.data_records.push(self.fields(id, record.iter().map(|(_, value)| value)));
                    }
                    continue;
                }
                ipfix::FlowSetBody::OptionsTemplate(template) => {
                    let ids = template.fields.iter().map(|field| field.field_type_number).collect();
                    self.learn_options(template.template_id, ids, &mut decoded);
                    continue;
                }
                ipfix::FlowSetBody::OptionsData(data) => {
                    let id = set.header.header_id;
                    for record in &data.fields {
                        let fields = self.fields(id, record.iter().map(|(_, value)| value));
                        decoded.options_records.push((id, fields));
                    }
                    continue;
                }
                other => panic!("{other:?}"),
            };
            for template in templates {
                let ids = template.fields.iter().map(|field| field.field_type_number).collect();
                self.learn(template.template_id, ids, &mut decoded);
            }
        }
        decoded
    }

    fn learn_options(&mut self, id: u16, ids: Vec<u16>, decoded: &mut Decoded) {
        self.learn(id, ids, decoded);
        decoded.template_records -= 1;
        decoded.options_templates += 1;
    }

    fn learn(&mut self, id: u16, ids: Vec<u16>, decoded: &mut Decoded) {
        // V9-TMPL-6: an id keeps its layout.
        let known = self.templates.entry(id).or_insert_with(|| ids.clone());
        assert_eq!(*known, ids);
        decoded.template_records += 1;
    }

    fn fields<'a>(&self, template: u16, values: impl ExactSizeIterator<Item = &'a FieldValue>) -> Fields {
        let ids = &self.templates[&template];
        assert_eq!(ids.len(), values.len());
        ids.iter().copied().zip(values.map(number)).collect()
    }
}

fn number(value: &FieldValue) -> u128 {
    let mut octets = Vec::new();
    value.write_be_bytes(&mut octets).unwrap();
    octets.iter().fold(0, |number, &octet| number << 8 | u128::from(octet))
}
