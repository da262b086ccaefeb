//! Flow keys of the operator's choice: from words to the elements that templates follow, and to the masks that the
//! kernel program lays over its keys.
//!
//! In: `--key`. Out: a [`KeyChoice`]. This module refuses to know where a mask is applied and how a template looks.

use std::str::FromStr;

use netflow_common::{Address, FlowKey, Group, NetworkU16, WideKey};

use crate::message::{DEFAULT_KEY, InformationElement as E, KeyElement};

/// Keys with names, and what stands for them.
const NAMED: [(&str, &str); 5] = [
    (
        "5-tuple",
        "sourceIPv4Address,destinationIPv4Address,sourceIPv6Address,destinationIPv6Address,protocolIdentifier,\
         sourceTransportPort,destinationTransportPort",
    ),
    (
        "7-tuple",
        "sourceIPv4Address,destinationIPv4Address,sourceIPv6Address,destinationIPv6Address,protocolIdentifier,\
         sourceTransportPort,destinationTransportPort,ipClassOfService,ingressInterface",
    ),
    ("host-pair", "sourceIPv4Address,destinationIPv4Address,sourceIPv6Address,destinationIPv6Address"),
    (
        "prefix-pair",
        "sourceIPv4Address/24,destinationIPv4Address/24,sourceIPv6Address/48,destinationIPv6Address/48",
    ),
    ("protocol-port", "protocolIdentifier,destinationTransportPort"),
];

/// A key that cannot be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyError {
    /// Neither a name nor an element that can be in a key.
    #[error(
        "--key {given}: not a key element; a key is default, {names}, or a list of {elements}",
        names = names(),
        elements = elements()
    )]
    Unknown {
        /// The word.
        given: String,
    },
    /// Twice the same.
    #[error("--key {given}: given twice")]
    Twice {
        /// The element.
        given: String,
    },
    /// Only addresses have prefixes.
    #[error("--key {given}: only addresses have a prefix length, of 1 to {most} bits")]
    PrefixLength {
        /// The word.
        given: String,
        /// Bits of an address.
        most: u8,
    },
}

/// What tells flows apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyChoice {
    /// The elements, for the templates.
    pub elements: Vec<KeyElement>,
    /// The masks of IPv4 and IPv6; `None` is the default key.
    pub masks: Option<[WideKey; 2]>,
    /// Groups of values that have to be read for it, by [`Group::bit`].
    pub groups: u32,
    /// Whether tunnel ids tell flows apart where tunnels are looked into.
    by_tunnel: bool,
}

impl KeyChoice {
    /// The default key.
    pub fn default_key() -> Self {
        Self { elements: DEFAULT_KEY.to_vec(), masks: None, groups: 0, by_tunnel: true }
    }

    /// With tunnels looked into, their ids are part of every key with a name.
    #[must_use]
    pub fn with_tunnels(mut self) -> Self {
        if self.by_tunnel {
            self.elements.push(KeyElement::whole(E::LAYER2_SEGMENT_ID));
            if let Some(masks) = &mut self.masks {
                masks.iter_mut().for_each(mask_tunnel);
            }
        }
        self
    }
}

impl FromStr for KeyChoice {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        if text == "default" {
            return Ok(Self::default_key());
        }
        let named = NAMED.iter().find(|(name, _)| *name == text);
        let list = named.map_or(text, |(_, list)| list);
        // The template of a record is that of its IP version: it is part of every key.
        let flow = FlowKey { ip_version: u8::MAX, ..FlowKey::default() };
        let empty = WideKey { flow, ..WideKey::default() };
        let mut key = Self { elements: Vec::new(), masks: None, groups: 0, by_tunnel: named.is_some() };
        let mut masks = [empty; 2];
        for word in list.split(',').map(str::trim) {
            let (name, prefix) = match word.split_once('/') {
                Some((name, prefix)) => (name, Some(prefix)),
                None => (word, None),
            };
            let part = PARTS
                .iter()
                .find(|part| part.element.name() == name)
                .ok_or_else(|| KeyError::Unknown { given: word.to_owned() })?;
            if key.elements.iter().any(|other| other.element == part.element) {
                return Err(KeyError::Twice { given: name.to_owned() });
            }
            let prefix_length = prefix.map(|prefix| part.prefix_length(word, prefix)).transpose()?;
            key.elements.push(KeyElement { element: part.element, prefix_length });
            key.groups |= part.needs.map_or(0, Group::bit);
            for (mask, applies) in masks.iter_mut().zip(part.versions) {
                if applies {
                    (part.mask)(mask, prefix_length.unwrap_or(u8::MAX));
                }
            }
        }
        key.masks = Some(masks);
        Ok(key)
    }
}

/// An element that can be in a key.
struct Part {
    element: E,
    /// Whether it is of IPv4, of IPv6.
    versions: [bool; 2],
    /// Sets what of the key it is: so many leading bits of an address.
    mask: fn(&mut WideKey, u8),
    /// What has to be read of a packet for it beyond the default.
    needs: Option<Group>,
}

const BOTH: [bool; 2] = [true, true];
const IPV4: [bool; 2] = [true, false];
const IPV6: [bool; 2] = [false, true];

const fn part(element: E, versions: [bool; 2], mask: fn(&mut WideKey, u8)) -> Part {
    Part { element, versions, mask, needs: None }
}

const fn reading(group: Group, element: E, mask: fn(&mut WideKey, u8)) -> Part {
    Part { needs: Some(group), ..part(element, BOTH, mask) }
}

const PARTS: [Part; 19] = [
    part(E::SOURCE_IPV4_ADDRESS, IPV4, |key, bits| key.flow.source_address = ipv4_prefix(bits)),
    part(E::DESTINATION_IPV4_ADDRESS, IPV4, |key, bits| key.flow.destination_address = ipv4_prefix(bits)),
    part(E::SOURCE_IPV6_ADDRESS, IPV6, |key, bits| key.flow.source_address = ipv6_prefix(bits)),
    part(E::DESTINATION_IPV6_ADDRESS, IPV6, |key, bits| key.flow.destination_address = ipv6_prefix(bits)),
    part(E::INGRESS_INTERFACE, BOTH, |key, _| key.flow.interface = u32::MAX),
    part(E::FLOW_DIRECTION, BOTH, |key, _| key.flow.direction = u8::MAX),
    part(E::SOURCE_TRANSPORT_PORT, BOTH, |key, _| {
        key.flow.source_port = NetworkU16::new(u16::MAX);
        key.flow.ports = u8::MAX;
    }),
    part(E::DESTINATION_TRANSPORT_PORT, BOTH, |key, _| {
        key.flow.destination_port = NetworkU16::new(u16::MAX);
        key.flow.ports = u8::MAX;
    }),
    part(E::PROTOCOL_IDENTIFIER, BOTH, |key, _| key.flow.protocol = u8::MAX),
    part(E::IP_CLASS_OF_SERVICE, BOTH, |key, _| key.flow.class_of_service = u8::MAX),
    part(E::VLAN_ID, BOTH, |key, _| key.flow.vlan_id = u16::MAX),
    part(E::IP_VERSION, BOTH, |key, _| key.flow.ip_version = u8::MAX),
    reading(Group::Layer2, E::SOURCE_MAC_ADDRESS, |key, _| key.source_mac = [u8::MAX; 6]),
    reading(Group::Layer2, E::DESTINATION_MAC_ADDRESS, |key, _| key.destination_mac = [u8::MAX; 6]),
    reading(Group::Layer2, E::DOT1Q_CUSTOMER_VLAN_ID, |key, _| key.customer_vlan_id = u16::MAX),
    reading(Group::Mpls, E::MPLS_TOP_LABEL_STACK_SECTION, |key, _| key.mpls_label = u32::MAX),
    part(E::LAYER2_SEGMENT_ID, BOTH, |key, _| mask_tunnel(key)),
    part(E::GRE_KEY, BOTH, |key, _| mask_tunnel(key)),
    part(E::GTPU_TE_ID, BOTH, |key, _| mask_tunnel(key)),
];

impl Part {
    fn prefix_length(&self, word: &str, prefix: &str) -> Result<u8, KeyError> {
        let most = match self.element {
            E::SOURCE_IPV4_ADDRESS | E::DESTINATION_IPV4_ADDRESS => 32,
            E::SOURCE_IPV6_ADDRESS | E::DESTINATION_IPV6_ADDRESS => 128,
            _ => 0,
        };
        let fail =
            || KeyError::PrefixLength { given: word.to_owned(), most: if most == 0 { 128 } else { most } };
        let length: u8 = prefix.parse().map_err(|_| fail())?;
        if (1..=most).contains(&length) { Ok(length) } else { Err(fail()) }
    }
}

fn ipv4_prefix(bits: u8) -> Address {
    let mask = u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0);
    Address::from_ipv4(mask.to_be_bytes())
}

fn ipv6_prefix(bits: u8) -> Address {
    let mask = u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0);
    Address::from_ipv6(mask.to_be_bytes())
}

fn mask_tunnel(key: &mut WideKey) {
    key.tunnel_id = u32::MAX;
    key.tunnel = u8::MAX;
}

fn names() -> String {
    NAMED.map(|(name, _)| name).join(", ")
}

fn elements() -> String {
    PARTS.each_ref().map(|part| part.element.name()).join(", ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn prefixes_become_masks_of_their_ip_version() {
        let key: KeyChoice = "sourceIPv4Address/24,destinationTransportPort".parse().unwrap();
        let [v4, v6] = key.masks.unwrap();
        assert_eq!(v4.flow.source_address, Address::from_ipv4([255, 255, 255, 0]));
        assert_eq!(v4.flow.destination_port.value(), u16::MAX);
        assert_eq!(v4.flow.source_port.value(), 0);
        assert_eq!(v6.flow.source_address, Address::default());
        assert_eq!((v4.flow.ip_version, v4.flow.ports, v4.flow.protocol), (u8::MAX, u8::MAX, 0));
        assert_eq!((key.groups, v4.tunnel_id), (0, 0));
        assert_eq!(key.elements[0].prefix_length, Some(24));
    }

    #[test]
    fn whole_addresses_and_full_prefixes_are_the_same_mask() {
        for key in ["sourceIPv6Address", "sourceIPv6Address/128"] {
            let key: KeyChoice = key.parse().unwrap();
            assert_eq!(key.masks.unwrap()[1].flow.source_address.octets(), [255; 16]);
        }
    }

    #[test]
    fn every_named_key_is_made_of_known_elements() {
        for (name, list) in NAMED {
            let key: KeyChoice = name.parse().unwrap();
            assert_eq!(key.elements.len(), list.split(',').count(), "{name}");
        }
        assert_eq!("default".parse::<KeyChoice>().unwrap(), KeyChoice::default_key());
    }

    #[test]
    fn tunnels_are_in_keys_with_a_name_and_in_lists_that_ask_for_them() {
        let named = "5-tuple".parse::<KeyChoice>().unwrap().with_tunnels();
        assert_eq!(named.masks.unwrap()[0].tunnel_id, u32::MAX);
        let list = "protocolIdentifier".parse::<KeyChoice>().unwrap().with_tunnels();
        assert_eq!(list.masks.unwrap()[0].tunnel_id, 0);
        let asked = "protocolIdentifier,layer2SegmentId".parse::<KeyChoice>().unwrap();
        assert_eq!(asked.masks.unwrap()[1].tunnel, u8::MAX);
    }

    #[test]
    fn what_needs_more_of_the_frame_says_so() {
        let key: KeyChoice = "sourceMacAddress,mplsTopLabelStackSection".parse().unwrap();
        assert_eq!(key.groups, Group::Layer2.bit() | Group::Mpls.bit());
    }

    #[test]
    fn bad_keys_are_refused_in_one_line() {
        for (key, reason) in [
            ("", "not a key element"),
            ("octetDeltaCount", "not a key element"),
            ("sourceIPv4Address,sourceIPv4Address", "given twice"),
            ("sourceIPv4Address/0", "1 to 32 bits"),
            ("sourceIPv4Address/33", "1 to 32 bits"),
            ("sourceIPv6Address/x", "1 to 128 bits"),
            ("protocolIdentifier/8", "only addresses"),
        ] {
            let error = key.parse::<KeyChoice>().unwrap_err().to_string();
            assert!(error.contains(reason) && !error.contains('\n'), "{key}: {error}");
        }
    }
}
