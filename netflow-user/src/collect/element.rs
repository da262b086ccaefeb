//! The names and types of Information Elements, so that flows of any exporter print in words.

use std::borrow::Cow;
use std::sync::LazyLock;

use netflow_parser::FieldDataType;

/// IANA's registry (last updated 2026-07-22): number, name and abstract data type of every element.
const REGISTRY: &str = include_str!("information_elements.txt");

/// The enterprise number that turns an element around: measured in the reverse direction (RFC 5103
/// section 6.1).
const REVERSE: u32 = 29305;

/// Stands for an enterprise number where a scope of NetFlow v9 is meant; the real one is reserved.
const V9_SCOPE: u32 = u32::MAX;
/// Names of v9's scopes (RFC 3954 section 6.1, field 1 to 5).
const V9_SCOPES: [&str; 5] =
    ["scopeSystem", "scopeInterface", "scopeLineCard", "scopeCache", "scopeTemplate"];

static BY_NUMBER: LazyLock<Vec<Option<Entry>>> = LazyLock::new(|| {
    let mut table: Vec<Option<Entry>> = Vec::new();
    for line in REGISTRY.lines() {
        let mut words = line.split(' ');
        let (Some(id), Some(name), Some(data_type)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let Ok(id) = id.parse::<usize>() else { continue };
        if table.len() <= id {
            table.resize_with(id + 1, || None);
        }
        table[id] = Some(Entry { name, data_type: decoder_type(data_type), is_time: is_time(data_type) });
    }
    table
});

struct Entry {
    name: &'static str,
    data_type: FieldDataType,
    is_time: bool,
}

/// An Information Element by number. NetFlow v9 field types are the IANA elements of the same number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Element {
    /// The Enterprise Number; 0 for IANA's own elements.
    pub enterprise: u32,
    /// The Information Element identifier.
    pub id: u16,
}

impl Element {
    /// An element of IANA's registry.
    pub const fn iana(id: u16) -> Self {
        Self { enterprise: 0, id }
    }

    /// A scope of NetFlow v9's options data.
    pub(super) const fn netflow_v9_scope(id: u16) -> Self {
        Self { enterprise: V9_SCOPE, id }
    }

    /// The registry's name, with `reverse` in front for the reverse direction; numbers for what the
    /// registry does not know.
    pub fn name(self) -> Cow<'static, str> {
        match (self.enterprise, self.entry()) {
            (0, Some(entry)) => Cow::Borrowed(entry.name),
            (0, None) => Cow::Owned(format!("element{}", self.id)),
            (REVERSE, Some(entry)) => {
                let (first, rest) = entry.name.split_at(1);
                Cow::Owned(format!("reverse{}{rest}", first.to_ascii_uppercase()))
            }
            (V9_SCOPE, _) => match V9_SCOPES.get(usize::from(self.id).wrapping_sub(1)) {
                Some(name) => Cow::Borrowed(name),
                None => Cow::Owned(format!("scope{}", self.id)),
            },
            (enterprise, _) => Cow::Owned(format!("enterprise{enterprise}element{}", self.id)),
        }
    }

    /// How the decoder reads the value.
    pub(super) fn data_type(self) -> FieldDataType {
        match self.enterprise {
            V9_SCOPE => FieldDataType::UnsignedDataNumber,
            _ => self.entry().map_or(FieldDataType::Vec, |entry| entry.data_type),
        }
    }

    /// Whether the value is a point in time (dateTime*, RFC 7012 section 3.1.15 ff.).
    pub(super) fn is_time(self) -> bool {
        self.entry().is_some_and(|entry| entry.is_time)
    }

    fn entry(self) -> Option<&'static Entry> {
        match self.enterprise {
            0 | REVERSE => BY_NUMBER.get(usize::from(self.id))?.as_ref(),
            _ => None,
        }
    }
}

fn is_time(data_type: &str) -> bool {
    data_type.starts_with("dateTime")
}

/// The decoder's own choice per element is not used: it knows fewer elements and narrows some of them
/// (tcpControlBits loses its upper bits).
fn decoder_type(data_type: &str) -> FieldDataType {
    match data_type {
        "unsigned8" | "unsigned16" | "unsigned32" | "unsigned64" | "boolean" => {
            FieldDataType::UnsignedDataNumber
        }
        "signed8" | "signed16" | "signed32" | "signed64" => FieldDataType::SignedDataNumber,
        "float64" => FieldDataType::Float64,
        "ipv4Address" => FieldDataType::Ip4Addr,
        "ipv6Address" => FieldDataType::Ip6Addr,
        "macAddress" => FieldDataType::MacAddr,
        "string" => FieldDataType::String,
        "dateTimeSeconds" => FieldDataType::DurationSeconds,
        "dateTimeMilliseconds" => FieldDataType::DurationMillis,
        "dateTimeMicroseconds" => FieldDataType::DurationMicrosNTP,
        "dateTimeNanoseconds" => FieldDataType::DurationNanosNTP,
        _ => FieldDataType::Vec,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_have_the_registrys_names() {
        assert_eq!(Element::iana(1).name(), "octetDeltaCount");
        assert_eq!(Element::iana(152).name(), "flowStartMilliseconds");
        assert!(Element::iana(152).is_time() && !Element::iana(22).is_time());
        assert_eq!(BY_NUMBER.iter().flatten().count(), 502);
    }

    #[test]
    fn reverse_elements_and_unknown_ones_have_names_of_their_own() {
        let name = |enterprise, id| Element { enterprise, id }.name().into_owned();
        assert_eq!(name(REVERSE, 1), "reverseOctetDeltaCount");
        assert_eq!(name(REVERSE, 32000), "enterprise29305element32000");
        assert_eq!(name(32473, 1), "enterprise32473element1");
        assert_eq!(name(0, 60000), "element60000");
    }
}
