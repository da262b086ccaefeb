//! The frame table: what the packet parser makes of each frame, worked out by hand from the RFCs. Host parser and
//! kernel program are held against the same rows.

mod ipv4;
mod ipv6;
mod layers;
mod link;
mod transport;

use netflow_common::{Address, FlowKey, IpVersion, NetworkU16, Note, Ports, Refusal};
use netflow_ebpf::packet::{LinkType, Notes, Packet};

use crate::frames::ETHERNET_LENGTH;

use self::layers::{
    CLASS_OF_SERVICE, DESTINATION_PORT, DESTINATION_V4, DESTINATION_V6, FLOW_LABEL, HOP_LIMIT, SOURCE_PORT,
    SOURCE_V4, SOURCE_V6, TIME_TO_LIVE,
};

/// One row.
#[derive(Clone, Debug)]
pub struct FrameCase {
    /// What is special about the frame.
    pub name: String,
    /// What it begins with. The kernel program reads Ethernet.
    pub link: LinkType,
    /// Its octets.
    pub frame: Vec<u8>,
    /// What they mean.
    pub expected: Result<Expected, Refusal>,
}

/// What a flow packet contributes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expected {
    /// What the parser says.
    pub packet: Packet,
    /// Whether the IP header states more than the frame has, which the parser's caller works out.
    pub short_frame: bool,
}

/// All rows.
pub fn frame_table() -> Vec<FrameCase> {
    [link::cases(), ipv4::cases(), ipv6::cases(), transport::cases()].concat()
}

/// The frames of the table that begin with an Ethernet header, which the kernel takes in a test run: it refuses
/// frames that have less than the header (EINVAL), so these rows are the host's alone.
pub fn ethernet_table() -> Vec<FrameCase> {
    let mut cases = frame_table();
    cases.retain(|case| case.link == LinkType::Ethernet && case.frame.len() >= ETHERNET_LENGTH);
    cases
}

fn case(name: impl Into<String>, frame: Vec<u8>, expected: impl Into<Meaning>) -> FrameCase {
    linked(name, LinkType::Ethernet, frame, expected)
}

fn linked(
    name: impl Into<String>,
    link: LinkType,
    frame: Vec<u8>,
    expected: impl Into<Meaning>,
) -> FrameCase {
    FrameCase { name: name.into(), link, frame, expected: expected.into().0 }
}

struct Meaning(Result<Expected, Refusal>);

impl From<Expected> for Meaning {
    fn from(expected: Expected) -> Self {
        Self(Ok(expected))
    }
}

impl From<Refusal> for Meaning {
    fn from(refusal: Refusal) -> Self {
        Self(Err(refusal))
    }
}

/// An IPv4 packet of the table's addresses, whose header stands at `offset`.
fn ipv4(offset: u32, protocol: u8, octets: u32) -> Expected {
    Expected {
        packet: Packet {
            key: FlowKey {
                source_address: Address::from_ipv4(SOURCE_V4),
                destination_address: Address::from_ipv4(DESTINATION_V4),
                protocol,
                class_of_service: CLASS_OF_SERVICE,
                ip_version: IpVersion::V4,
                ..FlowKey::default()
            },
            octets,
            offset,
            flow_label: 0,
            tcp_control_bits: 0,
            ttl: TIME_TO_LIVE,
            notes: Notes::NONE,
        },
        short_frame: false,
    }
}

/// An IPv6 packet of the table's addresses, whose header stands at `offset`.
fn ipv6(offset: u32, protocol: u8, octets: u32) -> Expected {
    let mut expected = ipv4(offset, protocol, octets);
    let packet = &mut expected.packet;
    packet.key.source_address = Address::from_ipv6(SOURCE_V6);
    packet.key.destination_address = Address::from_ipv6(DESTINATION_V6);
    packet.key.ip_version = IpVersion::V6;
    packet.flow_label = FLOW_LABEL;
    packet.ttl = HOP_LIMIT;
    expected
}

impl Expected {
    /// It has the table's ports.
    fn ports(mut self) -> Self {
        self.packet.key.source_port = NetworkU16::new(SOURCE_PORT);
        self.packet.key.destination_port = NetworkU16::new(DESTINATION_PORT);
        self.packet.key.ports = Ports::PRESENT;
        self
    }

    fn icmp(mut self, kind: u8, code: u8) -> Self {
        self.packet.key.destination_port = NetworkU16::new(u16::from(kind) * 256 + u16::from(code));
        self.packet.key.ports = Ports::PRESENT;
        self
    }

    fn control_bits(mut self, bits: u16) -> Self {
        self.packet.tcp_control_bits = bits;
        self
    }

    fn vlan(mut self, id: u16) -> Self {
        self.packet.key.vlan_id = id;
        self
    }

    /// Frame or IP packet end before the ports.
    fn cut(mut self) -> Self {
        self.packet.key.ports = Ports::CUT;
        self.note(Note::TransportCut)
    }

    fn later_fragment(mut self) -> Self {
        self.packet.key.ports = Ports::LATER_FRAGMENT;
        self.note(Note::LaterFragment)
    }

    fn headers_unread(self) -> Self {
        self.note(Note::Ipv6HeadersUnread)
    }

    /// The header states more than the frame has.
    fn short(mut self) -> Self {
        self.short_frame = true;
        self
    }

    fn note(mut self, note: Note) -> Self {
        self.packet.notes = self.packet.notes.and(Notes::when(true, note));
        self
    }
}
