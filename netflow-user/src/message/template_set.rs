//! The templates of one Transport Session, made from what the operator asked for.
//!
//! In: protocol, Flow Key, groups. Out: templates, or why there are none. This module refuses to know how
//! records are written. A template id keeps its layout for ever: collectors cache it.

use std::num::NonZeroU32;

use crate::record::FlowRecord;

use super::{
    Group, Groups, InformationElement as E, MessageError, NumberSpace, OptionsKinds, OptionsTemplate,
    Protocol, Reported, TemplateChoice, choice,
    data_record::{self, PrefixLengths},
    field_table::{self, Row},
    group_table::{biflow_group_rows, group_rows},
    options,
    template::{AddressFamily, Field, Template},
};

/// v9 field types end here (RFC 3954 section 8); further ones mean nothing to its collectors.
const LAST_V9_FIELD_TYPE: u16 = 127;
/// Padding has up to 3 octets, which are not to look like one more record (IPFIX-SET-5, V9-FS-3).
const SHORTEST_RECORD: usize = 4;
/// Ids of the templates without groups: IPv4, IPv6, biflows of either.
const DEFAULT_IDS: u16 = 256;
/// Ids of other combinations, up to 511; those of options templates follow.
const COMBINATION_IDS: u16 = 264;
/// Templates that a combination has room for.
const IDS_PER_COMBINATION: u16 = 4;
/// How many combinations have ids of their own.
const COMBINATIONS: u32 = 62;

/// An element of the Flow Key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyElement {
    /// The element.
    pub element: E,
    /// Leading bits of an address that are in the key; `None` is all of them.
    pub prefix_length: Option<u8>,
}

impl KeyElement {
    /// The element as a whole.
    pub const fn whole(element: E) -> Self {
        Self { element, prefix_length: None }
    }
}

/// The Flow Key of every packet unless the operator says otherwise.
pub const DEFAULT_KEY: [KeyElement; 12] = [
    KeyElement::whole(E::SOURCE_IPV4_ADDRESS),
    KeyElement::whole(E::DESTINATION_IPV4_ADDRESS),
    KeyElement::whole(E::SOURCE_IPV6_ADDRESS),
    KeyElement::whole(E::DESTINATION_IPV6_ADDRESS),
    KeyElement::whole(E::INGRESS_INTERFACE),
    KeyElement::whole(E::FLOW_DIRECTION),
    KeyElement::whole(E::SOURCE_TRANSPORT_PORT),
    KeyElement::whole(E::DESTINATION_TRANSPORT_PORT),
    KeyElement::whole(E::PROTOCOL_IDENTIFIER),
    KeyElement::whole(E::IP_CLASS_OF_SERVICE),
    KeyElement::whole(E::VLAN_ID),
    KeyElement::whole(E::IP_VERSION),
];

/// What the two directions of a biflow do not have in common, so that it does not tell biflows apart.
const OF_ONE_DIRECTION: [E; 2] = [E::IP_CLASS_OF_SERVICE, E::FLOW_DIRECTION];

/// What records are to hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TemplateOptions {
    /// What is spoken.
    pub protocol: Protocol,
    /// The Flow Key, both address families'.
    pub key: Vec<KeyElement>,
    /// Further fields.
    pub groups: Groups,
    /// Both directions of a flow in one record, where both have packets (RFC 5103).
    pub biflow: bool,
    /// The enterprise number that elements of this exporter's own go by.
    pub enterprise_number: Option<NonZeroU32>,
    /// The fields, in place of those that every record has.
    pub choice: Option<TemplateChoice>,
    /// tcpControlBits have one octet in IPFIX too, the low one.
    pub low_tcp_control_bits: bool,
    /// Options data.
    pub options: OptionsKinds,
}

impl TemplateOptions {
    /// The default key and no groups.
    pub fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            key: DEFAULT_KEY.to_vec(),
            groups: Groups::default(),
            biflow: false,
            enterprise_number: None,
            choice: None,
            low_tcp_control_bits: false,
            options: OptionsKinds::default(),
        }
    }

    fn in_key(&self, element: E) -> Option<&KeyElement> {
        self.key.iter().find(|part| part.element == element)
    }

    fn prefix_length(&self, element: E) -> Option<u8> {
        self.in_key(element)?.prefix_length
    }

    fn has(&self, row: &Row) -> bool {
        let in_key = |element: &E| self.in_key(*element).is_some();
        let by_key = if row.is_derived { row.key.iter().all(in_key) } else { row.key.iter().any(in_key) };
        row.is_unconditional()
            || (by_key && !row.key.is_empty())
            || row.prefix_of.is_some_and(|address| self.prefix_length(address).is_some())
            || row.group.is_some_and(|group| self.groups.contains(group))
    }

    fn field(&self, row: &Row) -> Field {
        let is_low = self.low_tcp_control_bits
            && [E::TCP_CONTROL_BITS, E::REVERSE_TCP_CONTROL_BITS].contains(&row.element);
        let low = Row { length: 1, value: data_record::low_tcp_control_bits, ..*row };
        let row = if is_low { &low } else { row };
        // ipVersion is there whether it is in the key or not.
        let in_key = row.key.iter().chain([&row.element]).any(|&element| self.in_key(element).is_some());
        let is_shared = !row.is_reverse && (!self.biflow || !OF_ONE_DIRECTION.contains(&row.element));
        let is_key = in_key && !row.is_derived && is_shared;
        let own = self.enterprise_number.map_or(0, NonZeroU32::get);
        let field = Field::new(row.element, row.length, is_key, own, row.value);
        if row.is_reverse { field.of_reverse() } else { field }
    }

    /// Whether the protocol can say what the row says.
    fn check(&self, row: &Row) -> Result<(), MessageError> {
        let element = row.element.name();
        let is_own = row.element.space() == NumberSpace::Own;
        let group = row.group.filter(|&group| self.groups.contains(group)).map_or("", Group::name);
        if self.protocol == Protocol::NetflowV9 && (is_own || row.element.id() > LAST_V9_FIELD_TYPE) {
            return Err(MessageError::NotInNetflowV9 { group, element });
        }
        if is_own && self.enterprise_number.is_none() {
            return Err(MessageError::EnterpriseNumber { group, element });
        }
        Ok(())
    }

    /// The fields of one family's records.
    fn fields(&self, family: AddressFamily, is_biflow: bool) -> Result<Box<[Field]>, MessageError> {
        if let Some(choice) = &self.choice {
            return self.chosen_fields(choice, family, is_biflow);
        }
        let biflow = is_biflow.then(field_table::biflow_rows).into_iter().flatten();
        let biflow_groups = is_biflow.then(|| biflow_group_rows(family)).into_iter().flatten();
        let rows = field_table::rows(self.protocol, family)
            .chain(biflow)
            .chain(group_rows(family))
            .chain(biflow_groups);
        let mut fields = Vec::new();
        for row in rows.filter(|row| self.has(row)) {
            match self.check(row) {
                Ok(()) => fields.push(self.field(row)),
                // What was not asked for by name is left out where it cannot be said: the key has a tunnel id, and v9
                // has no element for it.
                Err(_) if !row.group.is_some_and(|group| self.groups.contains(group)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(fields.into())
    }

    /// Those that the operator chose, as far as this family has them.
    fn chosen_fields(
        &self,
        choice: &TemplateChoice,
        family: AddressFamily,
        is_biflow: bool,
    ) -> Result<Box<[Field]>, MessageError> {
        let mut fields = Vec::new();
        for chosen in &choice.fields {
            let element = chosen.element.name();
            let in_family = |family| choice::row(self.protocol, family, *chosen);
            let Some(row) = in_family(family) else {
                if AddressFamily::ALL.into_iter().any(|family| in_family(family).is_some()) {
                    continue;
                }
                return Err(MessageError::ChosenNotInProtocol { element, protocol: self.protocol.name() });
            };
            let is_own = row.element.space() != NumberSpace::Iana;
            if self.protocol == Protocol::NetflowV9 && (is_own || row.element.id() > LAST_V9_FIELD_TYPE) {
                return Err(MessageError::ChosenNotInProtocol { element, protocol: self.protocol.name() });
            }
            if (row.is_reverse || row.element == E::BIFLOW_DIRECTION) && !self.biflow {
                return Err(MessageError::ChosenReverse { element });
            }
            // A group is measured where a field needs it.
            if !self.has(&row) && row.group.is_none() {
                return Err(MessageError::ChosenNotInKey { element });
            }
            // A flow without reverse packets has no values there (BIFLOW-4).
            if is_biflow || !(row.is_reverse || row.element == E::BIFLOW_DIRECTION) {
                fields.push(self.field(&row));
            }
        }
        let octets: usize = fields.iter().map(|field| usize::from(field.length)).sum();
        if octets < SHORTEST_RECORD {
            return Err(MessageError::ChosenTooShort { family, octets });
        }
        let is_counter = |field: &Field| {
            [E::REVERSE_PACKET_DELTA_COUNT, E::REVERSE_OCTET_DELTA_COUNT].contains(&field.element)
        };
        let is_end = |field: &Field| {
            let ends = [
                [E::SOURCE_IPV4_ADDRESS, E::SOURCE_IPV6_ADDRESS],
                [E::DESTINATION_IPV4_ADDRESS, E::DESTINATION_IPV6_ADDRESS],
            ];
            ends.concat().contains(&field.element)
        };
        if is_biflow && !fields.iter().any(is_counter) {
            return Err(MessageError::ChosenWithoutReverse);
        }
        if is_biflow && fields.iter().filter(|field| is_end(field)).count() < 2 {
            return Err(MessageError::BiflowWithoutEndpoints);
        }
        Ok(fields.into())
    }

    fn check_biflow(&self) -> Result<(), MessageError> {
        let has = |pair: [E; 2]| pair.into_iter().all(|element| self.in_key(element).is_some());
        let has_endpoints = has([E::SOURCE_IPV4_ADDRESS, E::DESTINATION_IPV4_ADDRESS])
            && has([E::SOURCE_IPV6_ADDRESS, E::DESTINATION_IPV6_ADDRESS]);
        match self.protocol {
            _ if !self.biflow => Ok(()),
            Protocol::NetflowV9 => Err(MessageError::BiflowInNetflowV9),
            Protocol::Ipfix if has_endpoints => Ok(()),
            Protocol::Ipfix => Err(MessageError::BiflowWithoutEndpoints),
        }
    }
}

/// The templates of a session, in the order of sending.
#[derive(Clone, Debug)]
pub struct TemplateSet {
    protocol: Protocol,
    templates: Box<[Template]>,
    options_templates: Vec<&'static OptionsTemplate>,
    options_kinds: OptionsKinds,
    prefix_lengths: PrefixLengths,
}

impl TemplateSet {
    /// Makes them.
    ///
    /// # Errors
    /// If the protocol has no way to say what was asked for, or our own elements have no enterprise number.
    pub fn new(options: &TemplateOptions) -> Result<Self, MessageError> {
        options.check_biflow()?;
        let mut fields = Vec::new();
        for biflow in [false, true].into_iter().take(1 + usize::from(options.biflow)) {
            for family in AddressFamily::ALL {
                fields.push(options.fields(family, biflow)?);
            }
        }
        let is_default = options.key == DEFAULT_KEY && options.groups.is_empty() && options.choice.is_none();
        // v9 has one octet anyway.
        let is_default =
            is_default && (!options.low_tcp_control_bits || options.protocol == Protocol::NetflowV9);
        let first_id = if is_default { DEFAULT_IDS } else { combination_id(&fields) };
        let templates: Box<[Template]> =
            fields.into_iter().zip(first_id..).map(|(fields, id)| Template::new(id, fields)).collect();
        let all_fields = templates.iter().flat_map(|template| &template.fields);
        let options_templates = options::templates(options.protocol, &options.options, all_fields);
        let prefix = |element| options.prefix_length(element);
        Ok(Self {
            protocol: options.protocol,
            templates,
            options_templates,
            options_kinds: options.options.clone(),
            prefix_lengths: PrefixLengths {
                source_ipv4: prefix(E::SOURCE_IPV4_ADDRESS),
                destination_ipv4: prefix(E::DESTINATION_IPV4_ADDRESS),
                source_ipv6: prefix(E::SOURCE_IPV6_ADDRESS),
                destination_ipv6: prefix(E::DESTINATION_IPV6_ADDRESS),
            },
        })
    }

    /// What is spoken.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The templates of Flow Records, in the order of sending.
    pub fn templates(&self) -> &[Template] {
        &self.templates
    }

    /// The fields of the records of one family, in wire order; of those with one direction.
    pub fn fields(&self, family: AddressFamily) -> &[Field] {
        &self.templates[family as usize].fields
    }

    /// The Options Templates, which are sent behind the others.
    pub fn options_templates(&self) -> &[&'static OptionsTemplate] {
        &self.options_templates
    }

    /// Statistics say other timeouts, where there are statistics.
    pub(super) fn set_reported(&mut self, reported: Option<Reported>) {
        if let (Some(now), Some(said)) = (reported, &mut self.options_kinds.statistics) {
            *said = now;
        }
    }

    pub(super) fn options_kinds(&self) -> &OptionsKinds {
        &self.options_kinds
    }

    /// The place in [`TemplateSet::templates`] of the template that a record goes by.
    pub(super) fn index_of(&self, record: &FlowRecord) -> usize {
        let uniflow = AddressFamily::of(record) as usize;
        let biflow = uniflow + AddressFamily::ALL.len();
        // A flow without reverse packets goes by the template without reverse elements (BIFLOW-4).
        if record.reverse.is_some() && biflow < self.templates.len() { biflow } else { uniflow }
    }

    pub(super) fn prefix_lengths(&self) -> PrefixLengths {
        self.prefix_lengths
    }
}

/// The id of a combination's first template: always the same one, since collectors that saw an earlier run of the
/// exporter know a template by its id (TPL-RULE-17). Two combinations may share one; they are never in use together,
/// and templates are sent before data.
fn combination_id(fields: &[Box<[Field]>]) -> u16 {
    // FNV-1a over the Field Specifiers.
    let mut hash: u32 = 0x811c_9dc5;
    for field in fields.iter().flatten() {
        let [a, b] = field.id().to_be_bytes();
        let [c, d] = field.length.to_be_bytes();
        let [e, f, g, h] = field.enterprise_number.to_be_bytes();
        for octet in [a, b, c, d, e, f, g, h] {
            hash = (hash ^ u32::from(octet)).wrapping_mul(0x0100_0193);
        }
    }
    COMBINATION_IDS + IDS_PER_COMBINATION * (hash % COMBINATIONS) as u16
}

#[cfg(test)]
mod tests;
