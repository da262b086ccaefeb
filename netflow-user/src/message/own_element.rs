//! Elements for which the registry has none, under the enterprise number that the operator gives.
//!
//! In: nothing. Out: elements. This module refuses to know the enterprise number.
//! A number keeps its meaning for ever.

use super::information_element::elements;

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
}

#[cfg(test)]
mod tests {
    use super::super::InformationElement as E;

    #[test]
    fn own_elements_are_numbered_without_gaps_and_have_names_of_their_own() {
        // IPFIX-FLD-2
        assert!(E::ALL_OWN.iter().map(E::id).eq(1..=7));
        for element in E::ALL_OWN {
            assert!(!E::ALL.iter().any(|other| other.name() == element.name()), "{}", element.name());
        }
    }
}
