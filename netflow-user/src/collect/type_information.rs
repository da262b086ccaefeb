//! What an exporter tells of elements that the registry does not have (RFC 5610).
//!
//! In: options records. Out: names and types. This module refuses to take names that would garble a line.

use std::{collections::HashMap, sync::Arc};

use netflow_parser::FieldDataType;

use super::{element::Element, template::Fields, value::Value};

/// Elements remembered of one session; exporters have a few dozen.
const MAX_ELEMENTS: usize = 1024;
const MAX_NAME: usize = 64;

const INFORMATION_ELEMENT_ID: u16 = 303;
const INFORMATION_ELEMENT_DATA_TYPE: u16 = 339;
const INFORMATION_ELEMENT_NAME: u16 = 341;
const PRIVATE_ENTERPRISE_NUMBER: u16 = 346;

/// What is known, by element.
pub(super) type Told = Arc<HashMap<Element, Described>>;

/// An element as its exporter describes it.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Described {
    pub(super) name: String,
    pub(super) data_type: FieldDataType,
}

impl Described {
    /// Of a type record; `None` for other records and for IANA's own elements, whose names are known.
    pub(super) fn of(record: &Fields) -> Option<(Element, Self)> {
        let value = |id| record.iter().find(|(of, _)| *of == Element::iana(id)).map(|(_, value)| value);
        let number = |id| value(id)?.as_unsigned();
        let enterprise =
            u32::try_from(number(PRIVATE_ENTERPRISE_NUMBER)?).ok().filter(|&number| number > 0)?;
        let id = u16::try_from(number(INFORMATION_ELEMENT_ID)?).ok()?;
        let data_type = number(INFORMATION_ELEMENT_DATA_TYPE)?;
        let Value::Text(name) = value(INFORMATION_ELEMENT_NAME)? else { return None };
        let is_word = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let described = || Self { name: name.clone(), data_type: decoder_type(data_type) };
        (is_word && name.len() <= MAX_NAME).then(|| (Element { enterprise, id }, described()))
    }

    /// Keeps it; false if it is known, or there are too many.
    pub(super) fn keep(self, element: Element, told: &mut Told) -> bool {
        let is_new = match told.get(&element) {
            Some(known) => *known != self,
            None => told.len() < MAX_ELEMENTS,
        };
        if is_new {
            Arc::make_mut(told).insert(element, self);
        }
        is_new
    }
}

/// By the registry of data types (RFC 5610 section 3.1); times stay octets.
fn decoder_type(code: u64) -> FieldDataType {
    match code {
        1..=4 | 11 => FieldDataType::UnsignedDataNumber,
        5..=8 => FieldDataType::SignedDataNumber,
        10 => FieldDataType::Float64,
        12 => FieldDataType::MacAddr,
        13 => FieldDataType::String,
        18 => FieldDataType::Ip4Addr,
        19 => FieldDataType::Ip6Addr,
        _ => FieldDataType::Vec,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(enterprise: u64, name: &str) -> Fields {
        [
            (INFORMATION_ELEMENT_ID, Value::Unsigned(3)),
            (PRIVATE_ENTERPRISE_NUMBER, Value::Unsigned(enterprise)),
            (INFORMATION_ELEMENT_DATA_TYPE, Value::Unsigned(3)),
            (INFORMATION_ELEMENT_NAME, Value::Text(name.to_owned())),
        ]
        .map(|(id, value)| (Element::iana(id), value))
        .into()
    }

    #[test]
    fn names_are_words_of_enterprise_elements() {
        for (enterprise, name, kept) in [
            (32473, "tcpRetransmittedPacketDeltaCount", true),
            (0, "octetDeltaCount", false),
            (32473, "", false),
            (32473, "two words", false),
            (1 << 32, "name", false),
        ] {
            assert_eq!(Described::of(&record(enterprise, name)).is_some(), kept, "{enterprise} {name}");
        }
        assert!(Described::of(&record(32473, &"x".repeat(65))).is_none());
    }

    #[test]
    fn an_exporter_cannot_fill_the_memory_with_names() {
        let mut told = Told::default();
        for id in 0..2000 {
            let element = Element { enterprise: 1, id };
            let described = Described { data_type: FieldDataType::Vec, name: "x".to_owned() };
            assert_eq!(described.clone().keep(element, &mut told), usize::from(id) < MAX_ELEMENTS);
            assert!(!described.keep(element, &mut told), "known or one too many");
        }
        assert_eq!(told.len(), MAX_ELEMENTS);
    }
}
