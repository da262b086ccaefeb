//! What this project reads otherwise than tshark, on purpose.

use crate::facts::Decapsulate;

/// A packet that is read otherwise.
pub struct Exception {
    /// A capture and its packet, counted from 1; or a frame of the tables, or several whose names begin so ("...").
    pub place: &'static str,
    /// What of it.
    pub what: What,
    /// Why; said by the test.
    pub reason: &'static str,
}

/// What is read otherwise.
pub enum What {
    /// One value: what this project finds, and what tshark tells.
    Value(&'static str, u128, u128),
    /// Some values.
    Values(&'static [&'static str]),
    /// Everything, where tunnels are looked into: tshark reads what is inside.
    Inside,
    /// Everything: one of them reads no packet.
    All,
}

impl Exception {
    /// Whether this value may differ so.
    pub fn allows(&self, place: &str, decapsulate: Decapsulate, name: &str, found: u128, told: u128) -> bool {
        let here =
            self.place.strip_suffix("...").map_or(self.place == place, |start| place.starts_with(start));
        here && match self.what {
            What::Value(value, as_found, as_told) => (value, as_found, as_told) == (name, found, told),
            What::Values(values) => values.contains(&name),
            What::Inside => decapsulate == Decapsulate::All,
            What::All => true,
        }
    }
}

const CONTROL_BITS: &str = "TCP control bits";

/// In the captures.
pub const OF_CAPTURES: &[Exception] = &[
    Exception {
        place: "ndpi-fuzz-2006-09-29-28586.pcap packet 16",
        what: What::Value("TCP options", 0x12, 0x02),
        reason: "option kind 4 states a length beyond the header's end: tshark names it in a text alone, here it is seen",
    },
    Exception {
        place: "ndpi-fuzz-2006-09-29-28586.pcap packet 111",
        what: What::Value(CONTROL_BITS, 0x010, 0),
        reason: "the IP length leaves 15 octets of the TCP header: the control bits are among them, tshark wants all 20",
    },
    Exception {
        place: "ndpi-ip-fragmented-garbage.pcap packet 1",
        what: What::Value(CONTROL_BITS, 0x023, 0),
        reason: "its TCP data offset is 4: tshark reads nothing behind it, here the bits are as observed (RFC 9565)",
    },
    Exception {
        place: "ndpi-ip-fragmented-garbage.pcap packet 940",
        what: What::Value(CONTROL_BITS, 0xa26, 0),
        reason: "its TCP data offset is 2: tshark reads nothing behind it, here the bits are as observed (RFC 9565)",
    },
];

const PORTS: [&str; 2] = ["source port", "destination port"];
/// Of what stands behind an IPv6 extension header.
const BEHIND: [&str; 9] = [
    "source port",
    "destination port",
    "protocol",
    "IPv6 extension headers",
    "IPsec SPI",
    "fragments",
    "fragment flags",
    "fragment identification",
    "fragment offset",
];

/// In the tables.
pub const OF_TABLES: &[Exception] = &[
    Exception { place: "5 tags of ...", what: What::All, reason: "four tags are read here: link_too_deep" },
    Exception { place: "6 tags of ...", what: What::All, reason: "four tags are read here: link_too_deep" },
    Exception { place: "7 tags of ...", what: What::All, reason: "four tags are read here: link_too_deep" },
    Exception { place: "11 labels...", what: What::All, reason: "ten labels are read here: link_too_deep" },
    Exception { place: "100 labels...", what: What::All, reason: "ten labels are read here: link_too_deep" },
    Exception { place: "SNAP within SNAP", what: What::All, reason: "tshark reads one SNAP header" },
    Exception {
        place: "SNAP with the largest length",
        what: What::All,
        reason: "to tshark lengths from 1501 on are unknown EtherTypes",
    },
    Exception {
        place: "an IPv4 length of 0",
        what: What::Values(&PORTS),
        reason: "to tshark it is a packet that the sending host had its network card cut up, with the length of the frame",
    },
    Exception {
        place: "an IPv4 length of 1",
        what: What::All,
        reason: "tshark reads nothing of a packet whose total length is below that of its header",
    },
    Exception {
        place: "an IPv4 length of 19",
        what: What::All,
        reason: "tshark reads nothing of a packet whose total length is below that of its header",
    },
    Exception {
        place: "an IPv4 length that ends in the options",
        what: What::All,
        reason: "tshark reads nothing of a packet whose total length is below that of its header",
    },
    Exception {
        place: "a jumbogram",
        what: What::Values(&["protocol"]),
        reason: "payload length 0: tshark ends at the hop-by-hop header",
    },
    Exception {
        place: "extension header 135 ...",
        what: What::Values(&BEHIND),
        reason: "tshark reads nothing behind a mobility header",
    },
    Exception {
        place: "extension header 139 ...",
        what: What::Values(&BEHIND),
        reason: "tshark reads nothing behind a host identity header",
    },
    Exception {
        place: "extension header 140 ...",
        what: What::Values(&BEHIND),
        reason: "tshark reads nothing behind a shim6 header",
    },
    Exception {
        place: "8 extension headers of 64 octets",
        what: What::Values(&BEHIND),
        reason: "headers are read within 512 octets here",
    },
    Exception {
        place: "8 extension headers of 2048 octets",
        what: What::Values(&BEHIND),
        reason: "headers are read within 512 octets here",
    },
    Exception {
        place: "9 extension headers of 64 octets",
        what: What::Values(&BEHIND),
        reason: "eight extension headers are read here, within 512 octets",
    },
    Exception {
        place: "4 extension headers...",
        what: What::Values(&BEHIND),
        reason: "tshark reads nothing behind the mobility header among them",
    },
    Exception {
        place: "5 extension headers...",
        what: What::Values(&BEHIND),
        reason: "tshark reads nothing behind the mobility header among them",
    },
    Exception {
        place: "6 extension headers...",
        what: What::Values(&BEHIND),
        reason: "tshark reads nothing behind the mobility header among them",
    },
    Exception {
        place: "7 extension headers...",
        what: What::Values(&BEHIND),
        reason: "tshark reads nothing behind the mobility header among them",
    },
    Exception {
        place: "8 extension headers...",
        what: What::Values(&BEHIND),
        reason: "tshark reads nothing behind the mobility header among them",
    },
    Exception {
        place: "9 extension headers...",
        what: What::Values(&BEHIND),
        reason: "tshark reads nothing behind the mobility header among them",
    },
    Exception {
        place: "12 extension headers...",
        what: What::Values(&BEHIND),
        reason: "tshark reads nothing behind the mobility header among them",
    },
    Exception {
        place: "a ninth header that is a fragment header",
        what: What::Values(&BEHIND),
        reason: "tshark reads nothing behind the mobility header among them",
    },
    Exception {
        place: "an extension header of 2048 octets",
        what: What::Values(&PORTS),
        reason: "headers are read within 512 octets here",
    },
    Exception {
        place: "a header behind octet 512",
        what: What::Values(&BEHIND),
        reason: "headers are read within 512 octets here",
    },
    Exception {
        place: "ICMPv6 that ends at octet 516",
        what: What::Values(&PORTS),
        reason: "headers are read within 512 octets here",
    },
    Exception {
        place: "control bits that end at octet 516",
        what: What::Values(&[CONTROL_BITS]),
        reason: "headers are read within 512 octets here",
    },
    Exception {
        place: "ports that end at octet 514",
        what: What::Values(&PORTS),
        reason: "headers are read within 512 octets here",
    },
    Exception {
        place: "SCTP, ports alone...",
        what: What::Values(&PORTS),
        reason: "tshark wants the whole common header",
    },
    Exception {
        place: "ICMP of two octets",
        what: What::Values(&PORTS),
        reason: "tshark wants the checksum, too",
    },
    Exception {
        place: "ICMPv6 of one octet",
        what: What::Values(&PORTS),
        reason: "a type without a code is none here",
    },
    Exception {
        place: "a TCP data offset of ...",
        what: What::Values(&[CONTROL_BITS]),
        reason: "tshark reads nothing behind a data offset below 5, here the bits are as observed (RFC 9565)",
    },
    Exception {
        place: "14 octets of TCP...",
        what: What::Values(&[CONTROL_BITS]),
        reason: "the control bits are among them, tshark wants all 20 octets",
    },
    Exception {
        place: "15 octets of TCP...",
        what: What::Values(&[CONTROL_BITS]),
        reason: "the control bits are among them, tshark wants all 20 octets",
    },
    Exception {
        place: "ERSPAN type ...",
        what: What::Inside,
        reason: "mirrored frames are no tunnel's: not entered here",
    },
    Exception {
        place: "VXLAN without a VNI",
        what: What::Inside,
        reason: "tshark does not ask for the I flag (RFC 7348 section 5)",
    },
];
