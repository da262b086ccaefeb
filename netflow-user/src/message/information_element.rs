//! Information Elements, as the IANA registry "IPFIX Entities" has them.
//!
//! Numbers up to 127 mean the same in NetFlow v9 and in IPFIX. This module refuses to know where an
//! element stands in a template.

/// An abstract data type, RFC 7012 section 3.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DataType {
    /// An unsigned integer of 8 bits.
    Unsigned8,
    /// An unsigned integer of 16 bits.
    Unsigned16,
    /// An unsigned integer of 32 bits.
    Unsigned32,
    /// An unsigned integer of 64 bits.
    Unsigned64,
    /// Milliseconds since 1970-01-01 UTC, 64 bits.
    DateTimeMilliseconds,
    /// An IPv4 address.
    Ipv4Address,
    /// An IPv6 address.
    Ipv6Address,
}

impl DataType {
    /// Its name in the registry.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unsigned8 => "unsigned8",
            Self::Unsigned16 => "unsigned16",
            Self::Unsigned32 => "unsigned32",
            Self::Unsigned64 => "unsigned64",
            Self::DateTimeMilliseconds => "dateTimeMilliseconds",
            Self::Ipv4Address => "ipv4Address",
            Self::Ipv6Address => "ipv6Address",
        }
    }

    /// Octets of a value in full.
    pub const fn length(self) -> u16 {
        match self {
            Self::Unsigned8 => 1,
            Self::Unsigned16 => 2,
            Self::Unsigned32 | Self::Ipv4Address => 4,
            Self::Unsigned64 | Self::DateTimeMilliseconds => 8,
            Self::Ipv6Address => 16,
        }
    }

    /// Whether values may be sent in fewer octets: integers may, times and addresses never (RFC 7011
    /// section 6.2).
    pub const fn is_reducible(self) -> bool {
        matches!(self, Self::Unsigned16 | Self::Unsigned32 | Self::Unsigned64)
    }
}

/// An Information Element of the registry (RFC 7012).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InformationElement {
    id: u16,
    name: &'static str,
    data_type: DataType,
}

impl InformationElement {
    const fn new(id: u16, name: &'static str, data_type: DataType) -> Self {
        Self { id, name, data_type }
    }

    /// Element ID; in v9 the field type.
    pub const fn id(&self) -> u16 {
        self.id
    }

    /// Its name in the registry's spelling.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Its abstract data type.
    pub const fn data_type(&self) -> DataType {
        self.data_type
    }
}

/// Declares the elements in use, each with its registry row, and the list of them all.
macro_rules! elements {
    ($($constant:ident = $id:literal $name:literal $data_type:ident;)*) => {
        impl InformationElement {
            $(
                #[doc = concat!($name, ", ", stringify!($id))]
                pub const $constant: Self = Self::new($id, $name, DataType::$data_type);
            )*

            /// Every element that this exporter knows, by rising id.
            pub const ALL: &[Self] = &[$(Self::$constant),*];
        }
    };
}

elements! {
    OCTET_DELTA_COUNT = 1 "octetDeltaCount" Unsigned64;
    PACKET_DELTA_COUNT = 2 "packetDeltaCount" Unsigned64;
    PROTOCOL_IDENTIFIER = 4 "protocolIdentifier" Unsigned8;
    IP_CLASS_OF_SERVICE = 5 "ipClassOfService" Unsigned8;
    TCP_CONTROL_BITS = 6 "tcpControlBits" Unsigned16;
    SOURCE_TRANSPORT_PORT = 7 "sourceTransportPort" Unsigned16;
    SOURCE_IPV4_ADDRESS = 8 "sourceIPv4Address" Ipv4Address;
    INGRESS_INTERFACE = 10 "ingressInterface" Unsigned32;
    DESTINATION_TRANSPORT_PORT = 11 "destinationTransportPort" Unsigned16;
    DESTINATION_IPV4_ADDRESS = 12 "destinationIPv4Address" Ipv4Address;
    EGRESS_INTERFACE = 14 "egressInterface" Unsigned32;
    IP_NEXT_HOP_IPV4_ADDRESS = 15 "ipNextHopIPv4Address" Ipv4Address;
    FLOW_END_SYS_UP_TIME = 21 "flowEndSysUpTime" Unsigned32;
    FLOW_START_SYS_UP_TIME = 22 "flowStartSysUpTime" Unsigned32;
    SOURCE_IPV6_ADDRESS = 27 "sourceIPv6Address" Ipv6Address;
    DESTINATION_IPV6_ADDRESS = 28 "destinationIPv6Address" Ipv6Address;
    FLOW_LABEL_IPV6 = 31 "flowLabelIPv6" Unsigned32;
    ICMP_TYPE_CODE_IPV4 = 32 "icmpTypeCodeIPv4" Unsigned16;
    MINIMUM_TTL = 52 "minimumTTL" Unsigned8;
    MAXIMUM_TTL = 53 "maximumTTL" Unsigned8;
    VLAN_ID = 58 "vlanId" Unsigned16;
    IP_VERSION = 60 "ipVersion" Unsigned8;
    FLOW_DIRECTION = 61 "flowDirection" Unsigned8;
    IP_NEXT_HOP_IPV6_ADDRESS = 62 "ipNextHopIPv6Address" Ipv6Address;
    FLOW_END_REASON = 136 "flowEndReason" Unsigned8;
    ICMP_TYPE_CODE_IPV6 = 139 "icmpTypeCodeIPv6" Unsigned16;
    FLOW_START_MILLISECONDS = 152 "flowStartMilliseconds" DateTimeMilliseconds;
    FLOW_END_MILLISECONDS = 153 "flowEndMilliseconds" DateTimeMilliseconds;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ElementID, Name and Abstract Data Type of the registry's edition of 2026-07-22.
    const REGISTRY: &str = "
        1 octetDeltaCount unsigned64
        2 packetDeltaCount unsigned64
        4 protocolIdentifier unsigned8
        5 ipClassOfService unsigned8
        6 tcpControlBits unsigned16
        7 sourceTransportPort unsigned16
        8 sourceIPv4Address ipv4Address
        10 ingressInterface unsigned32
        11 destinationTransportPort unsigned16
        12 destinationIPv4Address ipv4Address
        14 egressInterface unsigned32
        15 ipNextHopIPv4Address ipv4Address
        21 flowEndSysUpTime unsigned32
        22 flowStartSysUpTime unsigned32
        27 sourceIPv6Address ipv6Address
        28 destinationIPv6Address ipv6Address
        31 flowLabelIPv6 unsigned32
        32 icmpTypeCodeIPv4 unsigned16
        52 minimumTTL unsigned8
        53 maximumTTL unsigned8
        58 vlanId unsigned16
        60 ipVersion unsigned8
        61 flowDirection unsigned8
        62 ipNextHopIPv6Address ipv6Address
        136 flowEndReason unsigned8
        139 icmpTypeCodeIPv6 unsigned16
        152 flowStartMilliseconds dateTimeMilliseconds
        153 flowEndMilliseconds dateTimeMilliseconds
    ";

    #[test]
    fn elements_are_those_of_the_registry() {
        // IE-17
        let ours: Vec<String> = InformationElement::ALL
            .iter()
            .map(|element| format!("{} {} {}", element.id(), element.name(), element.data_type().name()))
            .collect();
        let registry: Vec<&str> = REGISTRY.lines().map(str::trim).filter(|row| !row.is_empty()).collect();
        assert_eq!(ours, registry);
    }
}
