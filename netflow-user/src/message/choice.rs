//! Templates of the operator's own: from words to elements.
//!
//! In: `element[/octets],...`. Out: a [`TemplateChoice`], every element of which this exporter has a value for. This
//! module refuses to know what a protocol can say and what is in the Flow Key.

use std::num::NonZeroU32;

use super::{
    Groups, InformationElement as E, KeyElement, NumberSpace, Protocol,
    choice_table::choice_rows,
    data_record,
    field_table::{self, Row},
    group_table::{biflow_group_rows, group_rows},
    split,
    template::{AddressFamily, REVERSE},
};

/// ElementID, Name and Abstract Data Type of every element of the registry.
const REGISTRY: &str = include_str!("../collect/information_elements.txt");

/// Why a list of elements is no template.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ChoiceError {
    /// No element has this name.
    #[error("--template {given}: no such element; is {nearest} meant?")]
    Unknown {
        /// The word.
        given: String,
        /// What is most like it.
        nearest: &'static str,
    },
    /// No element has this number.
    #[error("--template {given}: no element that this exporter knows has this number")]
    UnknownNumber {
        /// The word.
        given: String,
    },
    /// The registry knows it, and nothing here measures it.
    #[error("--template {given}: an element of the registry that this exporter has no value for")]
    NotMeasured {
        /// The word.
        given: String,
    },
    /// Enterprise numbers are IANA's (0), that of reverse elements and the operator's.
    #[error(
        "--template {given}: elements have the enterprise number 0, 29305 (reverse) or that of --enterprise-number"
    )]
    Enterprise {
        /// The word.
        given: String,
    },
    /// The registry has no element for it (RFC 7011 section 3.2).
    #[error(
        "--template {given}: no element of the registry but one of this exporter's own: give --enterprise-number"
    )]
    EnterpriseNumber {
        /// The word.
        given: String,
    },
    /// Twice the same.
    #[error("--template {given}: given twice")]
    Twice {
        /// The word.
        given: String,
    },
    /// It would be cut, or is more than the element has (RFC 7011 section 6.2).
    #[error("--template {given}: its values take {least} to {most} octets")]
    Length {
        /// The word.
        given: String,
        /// The fewest octets that hold every value.
        least: u16,
        /// Octets of the element's type.
        most: u16,
    },
}

/// One field of a template of the operator's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ChosenField {
    pub element: E,
    /// Octets, where they were given.
    pub length: Option<u16>,
}

/// The fields of the operator's choice, of both address families: each family's template has those that it can have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TemplateChoice {
    pub(super) fields: Vec<ChosenField>,
}

impl TemplateChoice {
    /// Reads `element,element/octets,...`: an element by its name, or as `enterprise:name` or `enterprise/number`.
    ///
    /// # Errors
    /// The word that is no field, and why.
    pub fn parse(text: &str, enterprise_number: Option<NonZeroU32>) -> Result<Self, ChoiceError> {
        let mut fields: Vec<ChosenField> = Vec::new();
        for word in text.split(',').map(str::trim) {
            let given = || word.to_owned();
            let (element, octets) = element(word, enterprise_number)?;
            if element.space() == NumberSpace::Own && enterprise_number.is_none() {
                return Err(ChoiceError::EnterpriseNumber { given: given() });
            }
            if fields.iter().any(|field| field.element == element) {
                return Err(ChoiceError::Twice { given: given() });
            }
            let length = octets.map(|octets| length(word, element, octets)).transpose()?;
            fields.push(ChosenField { element, length });
        }
        Ok(Self { fields })
    }

    /// The groups whose values the fields need: what is in the key is there without.
    pub fn groups(&self, key: &[KeyElement]) -> Groups {
        let in_key =
            |row: &Row| row.key.iter().any(|element| key.iter().any(|part| part.element == *element));
        let rows = self.fields.iter().filter_map(|field| any_row(field.element));
        rows.filter(|row| !in_key(row)).filter_map(|row| row.group).collect::<Groups>()
    }
}

/// The row of an element in the records of a protocol and family, and how many octets its field has.
pub(super) fn row(protocol: Protocol, family: AddressFamily, field: ChosenField) -> Option<Row> {
    let row = *rows(protocol, family).find(|row| row.element == field.element)?;
    let length = field.length.unwrap_or(row.length);
    // In one octet they are the low one (RFC 9565 section 3).
    let low = row.element == E::TCP_CONTROL_BITS && length == 1;
    Some(Row { length, value: if low { data_record::low_tcp_control_bits } else { row.value }, ..row })
}

/// Every row that a record of a protocol and family can have.
fn rows(protocol: Protocol, family: AddressFamily) -> impl Iterator<Item = &'static Row> {
    // Their elements have an enterprise number, so no v9 template takes them.
    let biflow = field_table::biflow_rows().chain(biflow_group_rows(family));
    field_table::rows(protocol, family)
        .chain(choice_rows(protocol, family))
        .chain(group_rows(family))
        .chain(biflow)
}

fn any_row(element: E) -> Option<&'static Row> {
    [Protocol::Ipfix, Protocol::NetflowV9]
        .into_iter()
        .flat_map(|protocol| AddressFamily::ALL.into_iter().flat_map(move |family| rows(protocol, family)))
        .find(|row| row.element == element)
}

/// Every element that a record can have.
fn known() -> impl Iterator<Item = E> {
    [E::ALL, E::ALL_REVERSE, E::ALL_OWN].into_iter().flatten().copied()
}

/// The element of a word, and the octets behind it.
fn element(word: &str, enterprise_number: Option<NonZeroU32>) -> Result<(E, Option<&str>), ChoiceError> {
    let given = || word.to_owned();
    let space = |number: &str| match number.parse::<u32>() {
        Ok(0) => Ok(NumberSpace::Iana),
        Ok(REVERSE) => Ok(NumberSpace::Reverse),
        Ok(number) if enterprise_number.is_some_and(|own| own.get() == number) => Ok(NumberSpace::Own),
        _ => Err(ChoiceError::Enterprise { given: given() }),
    };
    let of_space = |space, id: u16| known().find(|element| element.space() == space && element.id() == id);
    let (found, octets) = if let Some((number, rest)) = word.split_once(':') {
        let space = space(number)?;
        let (name, octets) = name_and_octets(rest);
        let plain = by_name(name, word)?;
        // A reverse element has the number of the one that it turns around (RFC 5103 section 6.1).
        let found = match (space, plain.space()) {
            (NumberSpace::Reverse, NumberSpace::Iana) => of_space(space, plain.id()),
            (wanted, there) if wanted == there => Some(plain),
            _ => return Err(ChoiceError::Enterprise { given: given() }),
        };
        (found.ok_or_else(|| ChoiceError::NotMeasured { given: given() })?, octets)
    } else if word.starts_with(|first: char| first.is_ascii_digit()) {
        let (number, rest) =
            word.split_once('/').ok_or_else(|| ChoiceError::UnknownNumber { given: given() })?;
        let space = space(number)?;
        let (id, octets) = name_and_octets(rest);
        let found = id.parse().ok().and_then(|id| of_space(space, id));
        (found.ok_or_else(|| ChoiceError::UnknownNumber { given: given() })?, octets)
    } else {
        let (name, octets) = name_and_octets(word);
        (by_name(name, word)?, octets)
    };
    if any_row(found).is_none() {
        return Err(ChoiceError::NotMeasured { given: given() });
    }
    Ok((found, octets))
}

fn name_and_octets(text: &str) -> (&str, Option<&str>) {
    text.split_once('/').map_or((text, None), |(name, octets)| (name, Some(octets)))
}

fn by_name(name: &str, word: &str) -> Result<E, ChoiceError> {
    if let Some(element) = known().find(|element| element.name() == name) {
        return Ok(element);
    }
    let given = word.to_owned();
    if registry_names().any(|known| known == name) {
        return Err(ChoiceError::NotMeasured { given });
    }
    let own = known().map(|element| element.name());
    let nearest =
        registry_names().chain(own).min_by_key(|known| distance(known, name)).unwrap_or("octetDeltaCount");
    Err(ChoiceError::Unknown { given, nearest })
}

fn registry_names() -> impl Iterator<Item = &'static str> {
    REGISTRY.lines().filter_map(|line| line.split(' ').nth(1))
}

/// Octets that a field may have: what holds every value, up to those of its type (RFC 7011 section 6.2).
fn length(word: &str, element: E, octets: &str) -> Result<u16, ChoiceError> {
    let in_table = any_row(element).map_or(0, |row| row.length);
    let (least, most) = match element.data_type().length() {
        Some(full) if element.data_type().is_reducible() => {
            let least = match element {
                // 20 bits.
                E::FLOW_LABEL_IPV6 => 3,
                E::TCP_CONTROL_BITS => 1,
                // Measured in 32 bits.
                E::MINIMUM_IP_TOTAL_LENGTH | E::MAXIMUM_IP_TOTAL_LENGTH => 4,
                E::REVERSE_TCP_CONTROL_BITS => 2,
                E::REVERSE_MINIMUM_IP_TOTAL_LENGTH | E::REVERSE_MAXIMUM_IP_TOTAL_LENGTH => 4,
                counter if split::is_counter(counter) => split::LEAST_LENGTH,
                _ => in_table,
            };
            (least, full)
        }
        _ => (in_table, in_table),
    };
    octets.parse().ok().filter(|length| (least..=most).contains(length)).ok_or_else(|| ChoiceError::Length {
        given: word.to_owned(),
        least,
        most,
    })
}

/// How many letters two names differ by (Levenshtein), whatever their case.
fn distance(one: &str, other: &str) -> usize {
    let (one, other) = (one.to_ascii_lowercase(), other.to_ascii_lowercase());
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in other.bytes().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::message::{DEFAULT_KEY, Group};

    fn refused(text: &str, enterprise: u32) -> String {
        TemplateChoice::parse(text, NonZeroU32::new(enterprise)).unwrap_err().to_string()
    }

    #[test]
    fn elements_are_told_by_name_and_by_number() {
        // IE-17
        let names = |text: &str| -> Vec<&'static str> {
            let choice = TemplateChoice::parse(text, NonZeroU32::new(32473)).unwrap();
            choice.fields.iter().map(|field| field.element.name()).collect()
        };
        assert_eq!(
            names("sourceIPv4Address, octetDeltaCount/4,0/2,0:protocolIdentifier"),
            ["sourceIPv4Address", "octetDeltaCount", "packetDeltaCount", "protocolIdentifier"]
        );
        for word in ["reversePacketDeltaCount", "29305:packetDeltaCount", "29305/2", "29305/2/8"] {
            assert_eq!(names(word), ["reversePacketDeltaCount"]);
        }
        for word in ["tunnelType", "32473:tunnelType", "32473/6"] {
            assert_eq!(names(word), ["tunnelType"]);
        }
    }

    #[test]
    fn what_is_no_field_is_refused_with_the_reason() {
        // IPFIX-FLD-2, IPFIX-FLD-3, IE-REQ-1
        for (text, reason) in [
            ("sourceIpv4Adress", "no such element; is sourceIPv4Address meant?"),
            ("octetDeltaCounts", "is octetDeltaCount meant?"),
            ("", "no such element"),
            ("octetTotalCount", "has no value for"),
            ("samplingInterval", "has no value for"),
            ("29305:sourceIPv4Address", "has no value for"),
            ("29305:octetDeltacount", "is octetDeltaCount meant?"),
            ("octetDeltaCount,octetDeltaCount/4", "octetDeltaCount/4: given twice"),
            ("7:octetDeltaCount", "0, 29305 (reverse) or that of --enterprise-number"),
            ("99999999999/2", "0, 29305 (reverse) or that of --enterprise-number"),
            ("0/32768", "no element that this exporter knows"),
            ("0/0", "no element that this exporter knows"),
            ("12", "no element that this exporter knows"),
            ("tunnelType", "give --enterprise-number"),
        ] {
            let error = refused(text, 0);
            assert!(
                error.starts_with(&format!("--template {}", text.split(',').next_back().unwrap())),
                "{error}"
            );
            assert!(error.contains(reason) && !error.contains('\n'), "{text}: {error}");
        }
        assert!(refused("32473/13", 32473).contains("no element"));
    }

    #[test]
    fn no_field_is_shorter_than_its_values_or_longer_than_its_type() {
        // TYPE-RSE-1, TYPE-RSE-2, TYPE-RSE-3, TYPE-ADDR-1, TYPE-U256-1
        for text in [
            "octetDeltaCount/4",
            "packetDeltaCount/5",
            "tcpControlBits/1",
            "flowLabelIPv6/3",
            "minimumIpTotalLength/4",
            "observationPointId/8",
            "tcpOptionsFull/32",
            "reverseOctetDeltaCount/4",
        ] {
            assert!(TemplateChoice::parse(text, None).is_ok(), "{text}");
        }
        for (text, lengths) in [
            ("octetDeltaCount/3", "4 to 8"),
            ("octetDeltaCount/9", "4 to 8"),
            ("octetDeltaCount/x", "4 to 8"),
            ("octetDeltaCount/", "4 to 8"),
            ("sourceIPv4Address/3", "4 to 4"),
            ("sourceMacAddress/8", "6 to 6"),
            ("flowStartMilliseconds/6", "8 to 8"),
            ("flowStartSeconds/3", "4 to 4"),
            ("ingressInterface/2", "4 to 4"),
            ("sourceTransportPort/1", "2 to 2"),
            ("protocolIdentifier/2", "1 to 1"),
            ("mplsTopLabelStackSection/4", "3 to 3"),
            ("layer2SegmentId/4", "8 to 8"),
        ] {
            assert!(refused(text, 0).contains(&format!("take {lengths} octets")), "{}", refused(text, 0));
        }
    }

    #[test]
    fn values_that_have_to_be_measured_are_known() {
        let groups = |text: &str| -> Vec<Group> {
            let choice = TemplateChoice::parse(text, NonZeroU32::new(1)).unwrap();
            choice.groups(&DEFAULT_KEY).iter().collect()
        };
        assert_eq!(groups("octetDeltaCount,ipClassOfService,sourceIPv6Address"), []);
        assert_eq!(
            groups("layer2OctetDeltaCount,sourceMacAddress,ipTTL,1/2,reverseIpTTL"),
            [Group::L2, Group::Tos, Group::Ttl]
        );
        let choice = TemplateChoice::parse("sourceMacAddress", None).unwrap();
        assert!(choice.groups(&[KeyElement::whole(E::SOURCE_MAC_ADDRESS)]).is_empty());
    }
}
