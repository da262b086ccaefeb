//! The Sets of a message, as RFC 7011 section 3.3 and RFC 3954 section 5 have them.

use netflow_user::message::Protocol;

const VARIABLE: u16 = 65_535;

/// Checks lengths, ids and padding of every Set. `lengths` says the lengths of a template's fields.
pub fn walk(protocol: Protocol, message: &[u8], lengths: impl Fn(u16) -> Option<Vec<u16>>) {
    let (header, of_templates) = match protocol {
        Protocol::Ipfix => (16, [2, 3]),
        Protocol::NetflowV9 => (20, [0, 1]),
    };
    let number = |octets: &[u8]| u16::from_be_bytes([octets[0], octets[1]]);
    let mut rest = &message[header..];
    // IPFIX-SET-2, IPFIX-SET-6, V9-FS-1: Sets fill the message exactly.
    while !rest.is_empty() {
        let (id, length) = (number(rest), usize::from(number(&rest[2..])));
        assert!(length > 4, "an empty Set");
        let (set, behind) = rest.split_at(length);
        rest = behind;
        // V9-FS-2
        assert_eq!(length % 4, 0);
        // IPFIX-SET-3, V9-FS-4
        assert!(of_templates.contains(&id) || id >= 256, "Set {id}");
        if id < 256 {
            continue;
        }
        let lengths = lengths(id).expect("its template came before");
        let shortest: usize =
            lengths.iter().map(|&length| if length == VARIABLE { 1 } else { length.into() }).sum();
        if lengths.contains(&VARIABLE) || shortest == 0 {
            continue;
        }
        // v9's options records have a scope of four octets before the fields.
        let shortest = if protocol == Protocol::NetflowV9 && (512..=514).contains(&id) {
            shortest + 4
        } else {
            shortest
        };
        let padding = (length - 4) % shortest;
        // IPFIX-SET-4, IPFIX-SET-5, V9-FS-3
        assert!(padding < 4 && padding < shortest, "{padding} octets of padding");
        assert!(set[length - padding..].iter().all(|&octet| octet == 0));
    }
}
