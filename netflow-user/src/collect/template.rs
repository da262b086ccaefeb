//! Templates as a collector keeps them, and the reading of Data Records by them.
//!
//! The decoder crate reads Template Records and field values. The walk over a Set is ours: the crate's own
//! one drops the rest of a Set without a word at the first record it cannot read, refuses empty values of
//! variable length (legal by RFC 7011 section 7), and does not say which element number a value has; a
//! collector that accounts for every record needs all three.

use netflow_parser::variable_versions::{ipfix, v9};
use netflow_parser::{FieldDataType, FieldValue};
use nom_derive::Parse;

use super::element::Element;
use super::type_information::Told;
use super::value::Value;

/// The length that means: each record says it (RFC 7011 section 7).
const VARIABLE: u16 = 65_535;

/// Fields of one template that the collector is willing to keep; devices use a few dozen.
const MAX_FIELDS: usize = 2048;

/// One Data Record.
pub(super) type Fields = Vec<(Element, Value)>;

/// What a Set looks like under one Template ID.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Template {
    fields: Vec<Field>,
    /// Whether its records describe the exporter instead of flows.
    pub(super) is_options: bool,
    shortest_record: usize,
}

#[derive(Clone, PartialEq, Debug)]
struct Field {
    element: Element,
    length: u16,
    data_type: FieldDataType,
}

/// What a Template Set holds.
pub(super) enum Learned {
    /// A Template, and its Template ID.
    Template(u16, Template),
    /// A Template Withdrawal: of that id, or of all where the id is the Set's (RFC 7011 section 8.1).
    Withdrawal(u16),
}

/// A Template or Options Template Record was not readable.
pub(super) struct BadTemplate;

/// A Set's records, and whether the Set was readable to its end.
pub(super) struct Records {
    pub(super) records: Vec<Fields>,
    pub(super) whole: bool,
}

/// The four kinds of Sets with templates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TemplateSet {
    Ipfix,
    IpfixOptions,
    NetflowV9,
    NetflowV9Options,
}

impl TemplateSet {
    /// Reads the next record of the Set; none at its end or padding.
    pub(super) fn next(self, set: &mut &[u8]) -> Result<Option<Learned>, BadTemplate> {
        // Every record has at least an id and a count; less, or zeros, is padding.
        if set.len() < 4 || set.iter().all(|&octet| octet == 0) {
            *set = &[];
            return Ok(None);
        }
        // A withdrawal has nothing but the id and a count of 0.
        let withdrawal = matches!(self, Self::Ipfix | Self::IpfixOptions) && set[2..4] == [0, 0];
        if !withdrawal {
            return self.record(set).map(|(id, template)| Some(Learned::Template(id, template)));
        }
        let id = u16::from_be_bytes([set[0], set[1]]);
        *set = &set[4..];
        Ok(Some(Learned::Withdrawal(id)))
    }

    fn record(self, set: &mut &[u8]) -> Result<(u16, Template), BadTemplate> {
        let (rest, id, fields) = match self {
            Self::Ipfix => {
                let (rest, template) = ipfix::Template::parse(set).map_err(|_| BadTemplate)?;
                (rest, template.template_id, template.fields.iter().map(Field::ipfix).collect())
            }
            Self::IpfixOptions => {
                let (rest, template) = ipfix::OptionsTemplate::parse(set).map_err(|_| BadTemplate)?;
                (rest, template.template_id, template.fields.iter().map(Field::ipfix).collect())
            }
            Self::NetflowV9 => {
                let (rest, template) = v9::Template::parse(set).map_err(|_| BadTemplate)?;
                (rest, template.template_id, template.fields.iter().map(Field::netflow_v9).collect())
            }
            Self::NetflowV9Options => {
                let (rest, template) = v9::OptionsTemplate::parse(set).map_err(|_| BadTemplate)?;
                let scope = template.scope_fields.iter().map(Field::netflow_v9_scope);
                let options = template.option_fields.iter().map(Field::netflow_v9);
                (rest, template.template_id, scope.chain(options).collect::<Vec<_>>())
            }
        };
        *set = rest;
        let is_options = matches!(self, Self::IpfixOptions | Self::NetflowV9Options);
        Template::new(id, fields, is_options).map(|template| (id, template))
    }
}

impl Template {
    fn new(id: u16, fields: Vec<Field>, is_options: bool) -> Result<Self, BadTemplate> {
        let shortest_record = fields.iter().map(Field::shortest).sum();
        // A record without octets would never end.
        if id < 256 || shortest_record == 0 || fields.len() > MAX_FIELDS {
            return Err(BadTemplate);
        }
        Ok(Self { fields, is_options, shortest_record })
    }

    /// Reads elements of the exporter's own as it described them.
    pub(super) fn describe(&mut self, told: &Told) {
        for field in &mut self.fields {
            if let Some(described) = told.get(&field.element) {
                field.data_type = described.data_type;
            }
        }
    }

    /// How many fields a record has: what keeping this template costs.
    pub(super) fn cost(&self) -> usize {
        self.fields.len()
    }

    /// Reads a Set's records. What is left at the end is padding if it is shorter than any record
    /// (RFC 7011 section 3.3.1).
    pub(super) fn read(&self, mut set: &[u8]) -> Records {
        let mut records = Vec::with_capacity(set.len() / self.shortest_record);
        while set.len() >= self.shortest_record {
            match self.read_record(&mut set) {
                Some(record) => records.push(record),
                None => return Records { records, whole: false },
            }
        }
        Records { records, whole: true }
    }

    fn read_record(&self, set: &mut &[u8]) -> Option<Fields> {
        let mut record = Vec::with_capacity(self.fields.len());
        for field in &self.fields {
            let length = field.length_of_value(set)?;
            let octets = set.get(..usize::from(length))?;
            let (_, value) = FieldValue::from_field_type(octets, field.data_type, length).ok()?;
            *set = &set[octets.len()..];
            record.push((field.element, Value::new(field.element, value)));
        }
        Some(record)
    }
}

impl Field {
    fn ipfix(field: &ipfix::TemplateField) -> Self {
        let enterprise = field.enterprise_number.unwrap_or(0);
        Self::new(Element { enterprise, id: field.field_type_number }, field.field_length)
    }

    /// v9 has no variable length: 65,535 is a length that no packet can hold, so such a template never
    /// yields a record.
    fn netflow_v9(field: &v9::TemplateField) -> Self {
        Self::new(Element::iana(field.field_type_number), field.field_length)
    }

    /// Scope types have numbers of their own (RFC 3954 section 6.1).
    fn netflow_v9_scope(field: &v9::OptionsTemplateScopeField) -> Self {
        let field = Self::new(Element::netflow_v9_scope(field.field_type_number), field.field_length);
        // The whole system needs no value.
        if matches!(field.length, 1..=8) { field } else { Self { data_type: FieldDataType::Vec, ..field } }
    }

    fn new(element: Element, length: u16) -> Self {
        Self { element, length, data_type: element.data_type() }
    }

    fn shortest(&self) -> usize {
        if self.length == VARIABLE { 1 } else { usize::from(self.length) }
    }

    /// The length of the next value; takes its prefix off the Set, if it has one.
    fn length_of_value(&self, set: &mut &[u8]) -> Option<u16> {
        if self.length != VARIABLE {
            return Some(self.length);
        }
        let (length, prefix) = match **set {
            [255, high, low, ..] => (u16::from_be_bytes([high, low]), 3),
            [255, ..] | [] => return None,
            [length, ..] => (u16::from(length), 1),
        };
        *set = &set[prefix..];
        Some(length)
    }
}
