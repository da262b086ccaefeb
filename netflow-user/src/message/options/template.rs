//! Options Templates: which scope and which values an options record has.

use crate::message::{Protocol, octets::Octets, template::Field};

use super::{OptionsKinds, SamplingMethod, table};

/// A field of an options record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OptionsField {
    /// Element ID; of a v9 scope its type (RFC 3954 section 6.1).
    pub id: u16,
    /// The element's name.
    pub name: &'static str,
    /// Octets of a value; 65535 where each value says it (RFC 7011 section 7).
    pub length: u16,
}

impl OptionsField {
    /// Octets of the specifier: options templates have no enterprise elements.
    pub const SPECIFIER_LEN: usize = 4;
    /// The length that means: each value says it.
    pub const VARIABLE: u16 = 65_535;
}

/// An Options Template.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OptionsTemplate {
    /// Template ID, and Set ID of its Data Sets.
    pub id: u16,
    /// How many of the fields, from the front, are the scope.
    pub scopes: usize,
    /// Its fields in wire order.
    pub fields: &'static [OptionsField],
    /// Whether several records may stand in one Set: some collectors read the first only (TPL-RULE-8).
    pub(in crate::message) shares_set: bool,
}

impl OptionsTemplate {
    /// Octets of the header: the same in both protocols.
    const RECORD_HEADER_LEN: usize = 6;

    /// Octets of the Options Template Record.
    pub fn template_record_len(&self) -> usize {
        Self::RECORD_HEADER_LEN + self.fields.len() * OptionsField::SPECIFIER_LEN
    }

    /// Writes the Options Template Record: RFC 7011 section 3.4.2.2, RFC 3954 section 6.1.
    pub(in crate::message) fn encode(&self, protocol: Protocol, octets: &mut Octets) {
        octets.put_u16(self.id);
        match protocol {
            Protocol::Ipfix => {
                octets.put_u16(self.fields.len() as u16);
                octets.put_u16(self.scopes as u16);
            }
            Protocol::NetflowV9 => {
                let specifiers = |fields: usize| (fields * OptionsField::SPECIFIER_LEN) as u16;
                octets.put_u16(specifiers(self.scopes));
                octets.put_u16(specifiers(self.fields.len() - self.scopes));
            }
        }
        for field in self.fields {
            octets.put_u16(field.id);
            octets.put_u16(field.length);
        }
    }
}

/// The options templates of a session whose records have these fields, in the order of sending.
pub(in crate::message) fn templates<'a>(
    protocol: Protocol,
    kinds: &OptionsKinds,
    mut fields: impl Iterator<Item = &'a Field>,
) -> Vec<&'static OptionsTemplate> {
    if protocol == Protocol::NetflowV9 {
        let of = |wanted: bool, template| wanted.then_some(template);
        let sampling = of(kinds.sampling.is_some(), &table::V9_SAMPLING);
        let interfaces = of(kinds.interfaces, &table::V9_INTERFACES);
        let totals = of(kinds.statistics.is_some(), &table::V9_TOTALS);
        return [sampling, interfaces, totals].into_iter().flatten().collect();
    }
    let mut templates: Vec<&OptionsTemplate> = Vec::new();
    if let Some(method) = kinds.sampling {
        templates.push(&table::SAMPLING);
        if !kinds.rate_only {
            templates.push(selector(method));
        }
    }
    if kinds.statistics.is_some() {
        templates.extend([&table::METERING, &table::METERING_RELIABILITY, &table::EXPORTING_RELIABILITY]);
        templates.push(&table::SYSTEM_START);
        if kinds.tells_selection() {
            templates.extend([&table::SELECTION_SEQUENCE, &table::SELECTION_STATISTICS]);
        }
    }
    let is_own = |field: &Field| field.element.space() == crate::message::NumberSpace::Own;
    let own = !kinds.without_types && fields.any(is_own);
    for (wanted, template) in [
        (kinds.flow_keys, &table::FLOW_KEYS),
        (kinds.interfaces, &table::INTERFACES),
        (kinds.exporter_name.is_some(), &table::EXPORTER_NAME),
        (own, &table::ELEMENT_TYPES),
        (!kinds.anonymised.is_empty(), &table::ANONYMISATION),
    ] {
        if wanted {
            templates.push(template);
        }
    }
    templates
}

/// The selector report of a method.
pub(super) fn selector(method: SamplingMethod) -> &'static OptionsTemplate {
    match method {
        SamplingMethod::Count => &table::COUNT_SELECTOR,
        SamplingMethod::Random => &table::RANDOM_SELECTOR,
        SamplingMethod::FlowHash => &table::FLOW_SELECTOR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn octets(template: &OptionsTemplate, protocol: Protocol) -> Vec<u8> {
        let mut octets = Octets::with_capacity(0);
        template.encode(protocol, &mut octets);
        assert_eq!(octets.len(), template.template_record_len());
        octets.as_slice().to_vec()
    }

    #[test]
    fn ipfix_counts_fields_and_scopes() {
        // VEC-6
        let of_vector = [2, 4, 0, 2, 0, 1, 0, 0x95, 0, 4, 0, 0x22, 0, 4];
        assert_eq!(octets(&table::SAMPLING, Protocol::Ipfix), of_vector);
    }

    #[test]
    fn v9_counts_octets_of_specifiers() {
        // VEC-4, V9-OPT-1, V9-OPT-2
        let of_vector = [2, 1, 0, 4, 0, 12, 0, 1, 0, 4, 0, 10, 0, 4, 0, 82, 0, 32, 0, 83, 0, 64];
        assert_eq!(octets(&table::V9_INTERFACES, Protocol::NetflowV9), of_vector);
    }

    #[test]
    fn each_options_template_has_an_id_of_its_own() {
        // IPFIX-TREC-2, V9-TMPL-1
        let mut ids: Vec<u16> = table::IPFIX.iter().map(|template| template.id).collect();
        assert!(ids.iter().all(|&id| id >= 512));
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), table::IPFIX.len());
    }

    #[test]
    fn nothing_is_said_that_was_not_asked_for() {
        for protocol in [Protocol::Ipfix, Protocol::NetflowV9] {
            assert!(templates(protocol, &OptionsKinds::default(), [].iter()).is_empty());
        }
        let kinds = OptionsKinds {
            sampling: Some(SamplingMethod::Random),
            interfaces: true,
            flow_keys: true,
            ..OptionsKinds::default()
        };
        let ids = |protocol| -> Vec<u16> {
            templates(protocol, &kinds, [].iter()).iter().map(|template| template.id).collect()
        };
        assert_eq!(ids(Protocol::Ipfix), [516, 518, 515, 522]);
        assert_eq!(ids(Protocol::NetflowV9), [512, 513]);
    }
}
