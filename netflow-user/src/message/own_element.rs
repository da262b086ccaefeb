//! Elements for which the registry has none, under the enterprise number that the operator gives.
//!
//! In: nothing. Out: elements and what RFC 5610 says of them. This module refuses to know the enterprise number.
//! A number keeps its meaning for ever.

use super::{InformationElement as E, information_element::elements};

elements! {
    /// Every element of this exporter's own, by rising id.
    ALL_OWN Own
    FRAGMENT_DELTA_COUNT = 1 "fragmentDeltaCount" Unsigned32;
    IP_CLASS_OF_SERVICE_UNION = 2 "ipClassOfServiceUnion" Unsigned8;
    TCP_RETRANSMITTED_PACKET_DELTA_COUNT = 3 "tcpRetransmittedPacketDeltaCount" Unsigned32;
    TCP_OUT_OF_ORDER_PACKET_DELTA_COUNT = 4 "tcpOutOfOrderPacketDeltaCount" Unsigned32;
    TCP_HANDSHAKE_ROUND_TRIP_TIME = 5 "tcpHandshakeRoundTripTime" Unsigned32;
    TUNNEL_TYPE = 6 "tunnelType" Unsigned8;
    TUNNEL_ID = 7 "tunnelId" Unsigned32;
    REVERSE_FRAGMENT_DELTA_COUNT = 8 "reverseFragmentDeltaCount" Unsigned32;
    REVERSE_IP_CLASS_OF_SERVICE_UNION = 9 "reverseIpClassOfServiceUnion" Unsigned8;
    REVERSE_TCP_RETRANSMITTED_PACKET_DELTA_COUNT = 10 "reverseTcpRetransmittedPacketDeltaCount" Unsigned32;
    REVERSE_TCP_OUT_OF_ORDER_PACKET_DELTA_COUNT = 11 "reverseTcpOutOfOrderPacketDeltaCount" Unsigned32;
    REVERSE_TCP_HANDSHAKE_ROUND_TRIP_TIME = 12 "reverseTcpHandshakeRoundTripTime" Unsigned32;
}

/// informationElementSemantics, by its registry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Semantics {
    Quantity = 1,
    DeltaCounter = 3,
    Identifier = 4,
    Flags = 5,
}

/// informationElementUnits, by its registry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub(super) enum Units {
    None = 0,
    Packets = 3,
    Microseconds = 7,
}

/// What RFC 5610 says of an element beside its name and type.
#[derive(Clone, Copy, Debug)]
pub(super) struct Description {
    pub semantics: Semantics,
    pub units: Units,
    pub range_end: u64,
    pub text: &'static str,
}

/// The description of one of [`E::ALL_OWN`].
pub(super) fn describe(element: E) -> Description {
    use {Semantics as S, Units as U};
    let (semantics, units, text) = match element {
        E::FRAGMENT_DELTA_COUNT => (S::DeltaCounter, U::Packets, "packets that were IP fragments"),
        E::REVERSE_FRAGMENT_DELTA_COUNT => {
            (S::DeltaCounter, U::Packets, "fragmentDeltaCount of the other way")
        }
        E::REVERSE_IP_CLASS_OF_SERVICE_UNION => (S::Flags, U::None, "ipClassOfServiceUnion of the other way"),
        E::REVERSE_TCP_RETRANSMITTED_PACKET_DELTA_COUNT => {
            (S::DeltaCounter, U::Packets, "tcpRetransmittedPacketDeltaCount of the other way")
        }
        E::REVERSE_TCP_OUT_OF_ORDER_PACKET_DELTA_COUNT => {
            (S::DeltaCounter, U::Packets, "tcpOutOfOrderPacketDeltaCount of the other way")
        }
        E::REVERSE_TCP_HANDSHAKE_ROUND_TRIP_TIME => {
            (S::Quantity, U::Microseconds, "tcpHandshakeRoundTripTime of the other way")
        }
        E::IP_CLASS_OF_SERVICE_UNION => (S::Flags, U::None, "OR of ipClassOfService over the packets"),
        E::TCP_RETRANSMITTED_PACKET_DELTA_COUNT => {
            (S::DeltaCounter, U::Packets, "TCP segments whose octets had been seen before")
        }
        E::TCP_OUT_OF_ORDER_PACKET_DELTA_COUNT => {
            (S::DeltaCounter, U::Packets, "TCP segments that filled a gap")
        }
        E::TCP_HANDSHAKE_ROUND_TRIP_TIME => {
            (S::Quantity, U::Microseconds, "from the SYN of the other direction to this SYN-ACK, 0 unknown")
        }
        E::TUNNEL_TYPE => (
            S::Identifier,
            U::None,
            "innermost tunnel: 0 none, 1 IP in IP, 2 GRE, 3 GRE with Ethernet, 4 VXLAN, 5 Geneve, 6 GTP-U",
        ),
        _ => (S::Identifier, U::None, "VNI, GRE key or GTP-U TEID of the innermost tunnel"),
    };
    let octets = element.data_type().length().unwrap_or(8).min(8);
    Description { semantics, units, range_end: u64::MAX >> (64 - 8 * u32::from(octets)), text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_elements_are_numbered_without_gaps_and_described() {
        // IPFIX-FLD-2, TYPEINFO-1
        assert!(E::ALL_OWN.iter().map(E::id).eq(1..=12));
        for &element in E::ALL_OWN {
            assert!(!E::ALL.iter().any(|other| other.name() == element.name()), "{}", element.name());
            assert!(describe(element).text.len() < 200);
        }
        // TYPEINFO-4, TYPEINFO-5: ours are all unsigned, for which every semantics is allowed; no NUL.
        for &element in E::ALL_OWN {
            assert!(element.data_type().name().starts_with("unsigned"));
            assert!(![element.name(), describe(element).text].concat().contains('\0'));
        }
        assert_eq!(describe(E::TUNNEL_ID).range_end, u64::from(u32::MAX));
        assert_eq!(describe(E::TUNNEL_TYPE).range_end, 255);
    }
}
