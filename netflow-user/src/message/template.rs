//! Templates: which fields a record has, in which order and how long.
//!
//! In: fields. Out: Template Records (RFC 7011 section 3.4.1, RFC 3954 section 5.2), and the layouts that
//! Data Records are written by. This module refuses to know which fields were asked for.

use crate::record::FlowRecord;

use super::{InformationElement as E, NumberSpace, data_record::ValueOf, octets::Octets, split::Limits};

/// Enterprise number of reverse elements (RFC 5103 section 6.1).
pub(super) const REVERSE: u32 = 29305;
/// Says that an enterprise number follows (RFC 7011 section 3.2).
const ENTERPRISE_BIT: u16 = 0x8000;

/// Which addresses a record has: each family has its own template, since collectors take zero-filled
/// addresses of the other family for real.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum AddressFamily {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl AddressFamily {
    /// Both, in the order of their templates.
    pub const ALL: [Self; 2] = [Self::Ipv4, Self::Ipv6];

    /// That of a Flow Record's addresses.
    pub fn of(record: &FlowRecord) -> Self {
        if record.key.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }
}

/// One field of a template: its Field Specifier and where its values come from.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The Information Element.
    pub element: E,
    /// Octets of a value.
    pub length: u16,
    /// Whose element it is; 0 is IANA.
    pub enterprise_number: u32,
    /// Whether it is a field of the Flow Key.
    pub is_key: bool,
    /// Whether it is of the packets from destination to source.
    pub is_reverse: bool,
    pub(super) value: ValueOf,
}

impl Field {
    /// `own` is the enterprise number that this exporter's own elements go by.
    pub(super) const fn new(element: E, length: u16, is_key: bool, own: u32, value: ValueOf) -> Self {
        let enterprise_number = match element.space() {
            NumberSpace::Iana => 0,
            NumberSpace::Reverse => REVERSE,
            NumberSpace::Own => own,
        };
        Self { element, length, enterprise_number, is_key, is_reverse: false, value }
    }

    /// Of the packets from destination to source.
    pub(super) const fn of_reverse(self) -> Self {
        Self { is_reverse: true, ..self }
    }

    /// Element ID; in v9 the field type.
    pub const fn id(&self) -> u16 {
        self.element.id()
    }

    /// The element's name in the registry.
    pub const fn name(&self) -> &'static str {
        self.element.name()
    }

    /// Octets of the Field Specifier.
    pub const fn specifier_len(&self) -> usize {
        if self.enterprise_number == 0 { 4 } else { 8 }
    }

    /// Writes the Field Specifier, RFC 7011 section 3.2.
    fn encode(&self, octets: &mut Octets) {
        let is_enterprise = self.enterprise_number != 0;
        octets.put_u16(if is_enterprise { self.id() | ENTERPRISE_BIT } else { self.id() });
        octets.put_u16(self.length);
        if is_enterprise {
            octets.put_u32(self.enterprise_number);
        }
    }
}

/// A template: drives the Template Record and every Data Record, so that they cannot disagree.
#[derive(Clone, Debug)]
pub struct Template {
    /// Template ID, and Set ID of its Data Sets.
    pub id: u16,
    /// Its fields in wire order.
    pub fields: Box<[Field]>,
    /// Octets of a Data Record.
    pub data_record_len: usize,
    /// Octets of the Template Record.
    pub template_record_len: usize,
    /// What its counters hold.
    pub(super) limits: Limits,
}

impl Template {
    const RECORD_HEADER_LEN: usize = 4;

    /// The caller takes care that a record is longer than 3 octets, so that padding does not look like one more
    /// record (conformance IPFIX-SET-5, V9-FS-3), and that ids below 256, which are Set IDs, are not used (RFC 7011
    /// section 3.4.1).
    pub(super) fn new(id: u16, fields: Box<[Field]>) -> Self {
        let data_record_len = fields.iter().map(|field| usize::from(field.length)).sum();
        debug_assert!(data_record_len > 3 && id >= 256);
        let specifiers: usize = fields.iter().map(Field::specifier_len).sum();
        let (template_record_len, limits) = (Self::RECORD_HEADER_LEN + specifiers, Limits::of(&fields));
        Self { id, fields, data_record_len, template_record_len, limits }
    }

    /// Writes the Template Record: the same octets in IPFIX and in v9.
    pub(super) fn encode(&self, octets: &mut Octets) {
        octets.put_u16(self.id);
        octets.put_u16(self.fields.len() as u16);
        for field in &self.fields {
            field.encode(octets);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::data_record::packets;

    #[test]
    fn a_field_specifier_has_an_enterprise_number_unless_the_element_is_ianas() {
        // IPFIX-FLD-1, IPFIX-TREC-3
        let own = E::new(7, "ours", crate::message::DataType::Unsigned64, NumberSpace::Own);
        let fields = [E::PACKET_DELTA_COUNT, E::REVERSE_PACKET_DELTA_COUNT, own]
            .map(|element| Field::new(element, 8, false, 32473, packets));
        let template = Template::new(300, Box::new(fields));
        let mut octets = Octets::with_capacity(0);
        template.encode(&mut octets);
        assert_eq!(octets.len(), template.template_record_len);
        let expected: [&[u8]; 4] = [
            &[1, 44, 0, 3],
            &[0, 2, 0, 8],
            &[0x80, 2, 0, 8, 0, 0, 0x72, 0x79],
            &[0x80, 7, 0, 8, 0, 0, 0x7e, 0xd9],
        ];
        assert_eq!(octets.as_slice(), expected.concat());
    }
}
