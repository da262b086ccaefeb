//! The elements that can be asked for, and where their values stand in a flow.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netflow_common::{Address, FlowKey};

use super::{Cell, QueryError};
use crate::record::FlowRecord;

/// What its values are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Addresses of one version, or of both.
    Address,
    /// Numbers.
    Number,
    /// protocolIdentifier, which has names.
    Protocol,
}

/// An element, or a word for two of them.
#[derive(Clone, Copy, Debug)]
pub struct Word {
    /// Its name: that of the registry for elements.
    pub name: &'static str,
    /// What its values are.
    pub kind: Kind,
    /// Its value.
    pub of: fn(&FlowRecord) -> Cell,
    /// Its other value, where it stands for both ends of a flow.
    pub or: Option<fn(&FlowRecord) -> Cell>,
}

const fn number(name: &'static str, of: fn(&FlowRecord) -> Cell) -> Word {
    Word { name, kind: Kind::Number, of, or: None }
}

const fn address(name: &'static str, of: fn(&FlowRecord) -> Cell) -> Word {
    Word { name, kind: Kind::Address, of, or: None }
}

/// The element that routing tables know.
pub const EGRESS: &str = "egressInterface";

/// All of them.
pub const WORDS: [Word; 23] = [
    address("sourceIPv4Address", |flow| of_version(flow, true, source)),
    address("destinationIPv4Address", |flow| of_version(flow, true, destination)),
    address("sourceIPv6Address", |flow| of_version(flow, false, source)),
    address("destinationIPv6Address", |flow| of_version(flow, false, destination)),
    address("sourceAddress", source),
    address("destinationAddress", destination),
    Word { name: "host", kind: Kind::Address, of: source, or: Some(destination) },
    number("sourceTransportPort", source_port),
    number("destinationTransportPort", destination_port),
    Word { name: "port", kind: Kind::Number, of: source_port, or: Some(destination_port) },
    Word {
        name: "protocolIdentifier",
        kind: Kind::Protocol,
        of: |flow| Cell::Number(flow.key.protocol.into()),
        or: None,
    },
    number("ingressInterface", |flow| Cell::Number(flow.key.interface.into())),
    number(EGRESS, |flow| Cell::Number(flow.route.egress_interface.into())),
    number("flowDirection", |flow| Cell::Number(flow.key.direction.into())),
    number("ipVersion", |flow| Cell::Number(flow.key.ip_version.into())),
    number("ipClassOfService", |flow| Cell::Number(flow.key.class_of_service.into())),
    number("vlanId", |flow| Cell::Number(flow.key.vlan_id.into())),
    number("tcpControlBits", |flow| Cell::Number(flow.counters.tcp_control_bits.into())),
    number("packetDeltaCount", |flow| Cell::Number(flow.packets())),
    number("octetDeltaCount", |flow| Cell::Number(flow.octets())),
    number("flowStartMilliseconds", |flow| Cell::Number(flow.start.0)),
    number("flowEndMilliseconds", |flow| Cell::Number(flow.end.0)),
    number("flowDurationMilliseconds", |flow| Cell::Number(flow.end.0.saturating_sub(flow.start.0))),
];

/// Those that tell one flow from another in an answer.
pub const OF_A_FLOW: [&str; 10] = [
    "sourceAddress",
    "destinationAddress",
    "sourceTransportPort",
    "destinationTransportPort",
    "protocolIdentifier",
    "ingressInterface",
    "flowDirection",
    "ipClassOfService",
    "vlanId",
    "tcpControlBits",
];

/// The word of a name.
pub fn find(name: &str) -> Result<Word, QueryError> {
    let known = WORDS.iter().find(|word| word.name == name);
    known.copied().ok_or_else(|| QueryError::Word { given: name.to_owned() })
}

/// All names.
pub fn names() -> String {
    WORDS.map(|word| word.name).join(", ")
}

/// The number of a protocol's name, or as it is written.
pub fn protocol(text: &str) -> Option<u64> {
    let number = match text.to_ascii_lowercase().as_str() {
        "icmp" => 1,
        "igmp" => 2,
        "tcp" => 6,
        "udp" => 17,
        "gre" => 47,
        "esp" => 50,
        "icmpv6" => 58,
        "ospf" => 89,
        "sctp" => 132,
        _ => return text.parse::<u8>().ok().map(u64::from),
    };
    Some(number)
}

fn of_version(flow: &FlowRecord, is_ipv4: bool, of: fn(&FlowRecord) -> Cell) -> Cell {
    if flow.key.is_ipv4() == is_ipv4 { of(flow) } else { Cell::Absent }
}

fn source(flow: &FlowRecord) -> Cell {
    Cell::Address(ip(&flow.key, &flow.key.source_address))
}

fn destination(flow: &FlowRecord) -> Cell {
    Cell::Address(ip(&flow.key, &flow.key.destination_address))
}

/// An address of this key.
pub fn ip(key: &FlowKey, address: &Address) -> IpAddr {
    if key.is_ipv4() {
        IpAddr::V4(Ipv4Addr::from(address.ipv4_octets()))
    } else {
        IpAddr::V6(Ipv6Addr::from(address.octets()))
    }
}

fn source_port(flow: &FlowRecord) -> Cell {
    Cell::Number(flow.key.source_port.value().into())
}

fn destination_port(flow: &FlowRecord) -> Cell {
    Cell::Number(flow.key.destination_port.value().into())
}
