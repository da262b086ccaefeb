//! The elements in use: rows of the IANA registry "IPFIX Entities", and their reverse twins.
//!
//! In: nothing. Out: constants of [`InformationElement`](super::InformationElement). This module refuses to
//! know what they are used for.

use super::information_element::elements;

elements! {
    /// Every element of IANA's registry that this exporter knows, by rising id.
    ALL Iana
    OCTET_DELTA_COUNT = 1 "octetDeltaCount" Unsigned64;
    PACKET_DELTA_COUNT = 2 "packetDeltaCount" Unsigned64;
    PROTOCOL_IDENTIFIER = 4 "protocolIdentifier" Unsigned8;
    IP_CLASS_OF_SERVICE = 5 "ipClassOfService" Unsigned8;
    TCP_CONTROL_BITS = 6 "tcpControlBits" Unsigned16;
    SOURCE_TRANSPORT_PORT = 7 "sourceTransportPort" Unsigned16;
    SOURCE_IPV4_ADDRESS = 8 "sourceIPv4Address" Ipv4Address;
    SOURCE_IPV4_PREFIX_LENGTH = 9 "sourceIPv4PrefixLength" Unsigned8;
    INGRESS_INTERFACE = 10 "ingressInterface" Unsigned32;
    DESTINATION_TRANSPORT_PORT = 11 "destinationTransportPort" Unsigned16;
    DESTINATION_IPV4_ADDRESS = 12 "destinationIPv4Address" Ipv4Address;
    DESTINATION_IPV4_PREFIX_LENGTH = 13 "destinationIPv4PrefixLength" Unsigned8;
    EGRESS_INTERFACE = 14 "egressInterface" Unsigned32;
    IP_NEXT_HOP_IPV4_ADDRESS = 15 "ipNextHopIPv4Address" Ipv4Address;
    FLOW_END_SYS_UP_TIME = 21 "flowEndSysUpTime" Unsigned32;
    FLOW_START_SYS_UP_TIME = 22 "flowStartSysUpTime" Unsigned32;
    MINIMUM_IP_TOTAL_LENGTH = 25 "minimumIpTotalLength" Unsigned64;
    MAXIMUM_IP_TOTAL_LENGTH = 26 "maximumIpTotalLength" Unsigned64;
    SOURCE_IPV6_ADDRESS = 27 "sourceIPv6Address" Ipv6Address;
    DESTINATION_IPV6_ADDRESS = 28 "destinationIPv6Address" Ipv6Address;
    SOURCE_IPV6_PREFIX_LENGTH = 29 "sourceIPv6PrefixLength" Unsigned8;
    DESTINATION_IPV6_PREFIX_LENGTH = 30 "destinationIPv6PrefixLength" Unsigned8;
    FLOW_LABEL_IPV6 = 31 "flowLabelIPv6" Unsigned32;
    ICMP_TYPE_CODE_IPV4 = 32 "icmpTypeCodeIPv4" Unsigned16;
    IGMP_TYPE = 33 "igmpType" Unsigned8;
    SAMPLING_INTERVAL = 34 "samplingInterval" Unsigned32;
    FLOW_ACTIVE_TIMEOUT = 36 "flowActiveTimeout" Unsigned16;
    FLOW_IDLE_TIMEOUT = 37 "flowIdleTimeout" Unsigned16;
    EXPORTED_OCTET_TOTAL_COUNT = 40 "exportedOctetTotalCount" Unsigned64;
    EXPORTED_MESSAGE_TOTAL_COUNT = 41 "exportedMessageTotalCount" Unsigned64;
    EXPORTED_FLOW_RECORD_TOTAL_COUNT = 42 "exportedFlowRecordTotalCount" Unsigned64;
    MINIMUM_TTL = 52 "minimumTTL" Unsigned8;
    MAXIMUM_TTL = 53 "maximumTTL" Unsigned8;
    FRAGMENT_IDENTIFICATION = 54 "fragmentIdentification" Unsigned32;
    SOURCE_MAC_ADDRESS = 56 "sourceMacAddress" MacAddress;
    VLAN_ID = 58 "vlanId" Unsigned16;
    IP_VERSION = 60 "ipVersion" Unsigned8;
    FLOW_DIRECTION = 61 "flowDirection" Unsigned8;
    IP_NEXT_HOP_IPV6_ADDRESS = 62 "ipNextHopIPv6Address" Ipv6Address;
    MPLS_TOP_LABEL_STACK_SECTION = 70 "mplsTopLabelStackSection" OctetArray;
    MPLS_LABEL_STACK_SECTION2 = 71 "mplsLabelStackSection2" OctetArray;
    MPLS_LABEL_STACK_SECTION3 = 72 "mplsLabelStackSection3" OctetArray;
    MPLS_LABEL_STACK_SECTION4 = 73 "mplsLabelStackSection4" OctetArray;
    MPLS_LABEL_STACK_SECTION5 = 74 "mplsLabelStackSection5" OctetArray;
    MPLS_LABEL_STACK_SECTION6 = 75 "mplsLabelStackSection6" OctetArray;
    MPLS_LABEL_STACK_SECTION7 = 76 "mplsLabelStackSection7" OctetArray;
    MPLS_LABEL_STACK_SECTION8 = 77 "mplsLabelStackSection8" OctetArray;
    MPLS_LABEL_STACK_SECTION9 = 78 "mplsLabelStackSection9" OctetArray;
    MPLS_LABEL_STACK_SECTION10 = 79 "mplsLabelStackSection10" OctetArray;
    DESTINATION_MAC_ADDRESS = 80 "destinationMacAddress" MacAddress;
    INTERFACE_NAME = 82 "interfaceName" String;
    INTERFACE_DESCRIPTION = 83 "interfaceDescription" String;
    FRAGMENT_OFFSET = 88 "fragmentOffset" Unsigned16;
    FLOW_END_REASON = 136 "flowEndReason" Unsigned8;
    OBSERVATION_POINT_ID = 138 "observationPointId" Unsigned64;
    ICMP_TYPE_CODE_IPV6 = 139 "icmpTypeCodeIPv6" Unsigned16;
    METERING_PROCESS_ID = 143 "meteringProcessId" Unsigned32;
    EXPORTING_PROCESS_ID = 144 "exportingProcessId" Unsigned32;
    TEMPLATE_ID = 145 "templateId" Unsigned16;
    OBSERVATION_DOMAIN_ID = 149 "observationDomainId" Unsigned32;
    FLOW_START_SECONDS = 150 "flowStartSeconds" DateTimeSeconds;
    FLOW_END_SECONDS = 151 "flowEndSeconds" DateTimeSeconds;
    FLOW_START_MILLISECONDS = 152 "flowStartMilliseconds" DateTimeMilliseconds;
    FLOW_END_MILLISECONDS = 153 "flowEndMilliseconds" DateTimeMilliseconds;
    SYSTEM_INIT_TIME_MILLISECONDS = 160 "systemInitTimeMilliseconds" DateTimeMilliseconds;
    FLOW_DURATION_MILLISECONDS = 161 "flowDurationMilliseconds" Unsigned32;
    OBSERVED_FLOW_TOTAL_COUNT = 163 "observedFlowTotalCount" Unsigned64;
    IGNORED_PACKET_TOTAL_COUNT = 164 "ignoredPacketTotalCount" Unsigned64;
    IGNORED_OCTET_TOTAL_COUNT = 165 "ignoredOctetTotalCount" Unsigned64;
    NOT_SENT_FLOW_TOTAL_COUNT = 166 "notSentFlowTotalCount" Unsigned64;
    NOT_SENT_PACKET_TOTAL_COUNT = 167 "notSentPacketTotalCount" Unsigned64;
    NOT_SENT_OCTET_TOTAL_COUNT = 168 "notSentOctetTotalCount" Unsigned64;
    FLOW_KEY_INDICATOR = 173 "flowKeyIndicator" Unsigned64;
    ICMP_TYPE_IPV4 = 176 "icmpTypeIPv4" Unsigned8;
    ICMP_CODE_IPV4 = 177 "icmpCodeIPv4" Unsigned8;
    ICMP_TYPE_IPV6 = 178 "icmpTypeIPv6" Unsigned8;
    ICMP_CODE_IPV6 = 179 "icmpCodeIPv6" Unsigned8;
    IP_TTL = 192 "ipTTL" Unsigned8;
    IP_DIFF_SERV_CODE_POINT = 195 "ipDiffServCodePoint" Unsigned8;
    FRAGMENT_FLAGS = 197 "fragmentFlags" Unsigned8;
    IPV4_OPTIONS = 208 "ipv4Options" Unsigned32;
    INGRESS_VRF_ID = 234 "ingressVRFID" Unsigned32;
    EGRESS_VRF_ID = 235 "egressVRFID" Unsigned32;
    BIFLOW_DIRECTION = 239 "biflowDirection" Unsigned8;
    DOT1Q_VLAN_ID = 243 "dot1qVlanId" Unsigned16;
    DOT1Q_PRIORITY = 244 "dot1qPriority" Unsigned8;
    DOT1Q_CUSTOMER_VLAN_ID = 245 "dot1qCustomerVlanId" Unsigned16;
    DOT1Q_CUSTOMER_PRIORITY = 246 "dot1qCustomerPriority" Unsigned8;
    ETHERNET_TYPE = 256 "ethernetType" Unsigned16;
    ANONYMIZATION_FLAGS = 285 "anonymizationFlags" Unsigned16;
    ANONYMIZATION_TECHNIQUE = 286 "anonymizationTechnique" Unsigned16;
    IP_SEC_SPI = 295 "IPSecSPI" Unsigned32;
    GRE_KEY = 296 "greKey" Unsigned32;
    OBSERVATION_DOMAIN_NAME = 300 "observationDomainName" String;
    SELECTION_SEQUENCE_ID = 301 "selectionSequenceId" Unsigned64;
    SELECTOR_ID = 302 "selectorId" Unsigned64;
    INFORMATION_ELEMENT_ID = 303 "informationElementId" Unsigned16;
    SELECTOR_ALGORITHM = 304 "selectorAlgorithm" Unsigned16;
    SAMPLING_PACKET_INTERVAL = 305 "samplingPacketInterval" Unsigned32;
    SAMPLING_PACKET_SPACE = 306 "samplingPacketSpace" Unsigned32;
    SAMPLING_PROBABILITY = 311 "samplingProbability" Float64;
    SELECTOR_ID_TOTAL_PKTS_OBSERVED = 318 "selectorIdTotalPktsObserved" Unsigned64;
    SELECTOR_ID_TOTAL_PKTS_SELECTED = 319 "selectorIdTotalPktsSelected" Unsigned64;
    OBSERVATION_TIME_MILLISECONDS = 323 "observationTimeMilliseconds" DateTimeMilliseconds;
    INFORMATION_ELEMENT_DATA_TYPE = 339 "informationElementDataType" Unsigned8;
    INFORMATION_ELEMENT_DESCRIPTION = 340 "informationElementDescription" String;
    INFORMATION_ELEMENT_NAME = 341 "informationElementName" String;
    INFORMATION_ELEMENT_RANGE_BEGIN = 342 "informationElementRangeBegin" Unsigned64;
    INFORMATION_ELEMENT_RANGE_END = 343 "informationElementRangeEnd" Unsigned64;
    INFORMATION_ELEMENT_SEMANTICS = 344 "informationElementSemantics" Unsigned8;
    INFORMATION_ELEMENT_UNITS = 345 "informationElementUnits" Unsigned16;
    PRIVATE_ENTERPRISE_NUMBER = 346 "privateEnterpriseNumber" Unsigned32;
    LAYER2_SEGMENT_ID = 351 "layer2SegmentId" Unsigned64;
    LAYER2_OCTET_DELTA_COUNT = 352 "layer2OctetDeltaCount" Unsigned64;
    FLOW_SELECTOR_ALGORITHM = 390 "flowSelectorAlgorithm" Unsigned16;
    GTPU_TE_ID = 507 "gtpuTEid" Unsigned32;
    IPV6_EXTENSION_HEADERS_FULL = 515 "ipv6ExtensionHeadersFull" Unsigned256;
    TCP_OPTIONS_FULL = 520 "tcpOptionsFull" Unsigned256;
}

elements! {
    /// The reverse elements in use (RFC 5103 section 6.1), in the order of the records.
    ALL_REVERSE Reverse
    REVERSE_PACKET_DELTA_COUNT = 2 "reversePacketDeltaCount" Unsigned64;
    REVERSE_OCTET_DELTA_COUNT = 1 "reverseOctetDeltaCount" Unsigned64;
    REVERSE_FLOW_START_MILLISECONDS = 152 "reverseFlowStartMilliseconds" DateTimeMilliseconds;
    REVERSE_FLOW_END_MILLISECONDS = 153 "reverseFlowEndMilliseconds" DateTimeMilliseconds;
    REVERSE_TCP_CONTROL_BITS = 6 "reverseTcpControlBits" Unsigned16;
    REVERSE_IP_CLASS_OF_SERVICE = 5 "reverseIpClassOfService" Unsigned8;
    REVERSE_MINIMUM_TTL = 52 "reverseMinimumTTL" Unsigned8;
    REVERSE_MAXIMUM_TTL = 53 "reverseMaximumTTL" Unsigned8;
    REVERSE_LAYER2_OCTET_DELTA_COUNT = 352 "reverseLayer2OctetDeltaCount" Unsigned64;
    REVERSE_MINIMUM_IP_TOTAL_LENGTH = 25 "reverseMinimumIpTotalLength" Unsigned64;
    REVERSE_MAXIMUM_IP_TOTAL_LENGTH = 26 "reverseMaximumIpTotalLength" Unsigned64;
    REVERSE_IP_DIFF_SERV_CODE_POINT = 195 "reverseIpDiffServCodePoint" Unsigned8;
    REVERSE_IP_TTL = 192 "reverseIpTTL" Unsigned8;
    REVERSE_IPV4_OPTIONS = 208 "reverseIpv4Options" Unsigned32;
    REVERSE_IPV6_EXTENSION_HEADERS_FULL = 515 "reverseIpv6ExtensionHeadersFull" Unsigned256;
    REVERSE_TCP_OPTIONS_FULL = 520 "reverseTcpOptionsFull" Unsigned256;
    REVERSE_MPLS_TOP_LABEL_STACK_SECTION = 70 "reverseMplsTopLabelStackSection" OctetArray;
    REVERSE_IP_SEC_SPI = 295 "reverseIPSecSPI" Unsigned32;
}

#[cfg(test)]
mod tests {
    use super::super::{InformationElement as E, NumberSpace};

    /// ElementID, Name and Abstract Data Type of the registry's edition of 2026-07-22.
    const REGISTRY: &str = include_str!("../collect/information_elements.txt");

    #[test]
    fn elements_are_those_of_the_registry() {
        // IE-17
        for element in E::ALL {
            let row = format!("{} {} {}", element.id(), element.name(), element.data_type().name());
            assert!(REGISTRY.lines().any(|line| line == row), "{row} is not in the registry");
        }
        assert!(E::ALL.is_sorted_by_key(|element| element.id()));
    }

    #[test]
    fn reverse_elements_have_the_number_and_type_of_the_forward_one() {
        // BIFLOW-1
        for reverse in E::ALL_REVERSE {
            let forward = E::ALL.iter().find(|element| element.id() == reverse.id());
            let forward = forward.expect("the forward element is in use");
            assert_eq!(forward.data_type(), reverse.data_type());
            assert_eq!(reverse.name()[7..].to_lowercase(), forward.name().to_lowercase());
            assert_eq!(reverse.space(), NumberSpace::Reverse);
        }
    }
}
