//! One flow, one line: for pipes and files. The words are shared with the screen.

use std::borrow::Cow;
use std::net::IpAddr;

use super::flow::DecodedFlow;
use super::value::Value;

/// The line above the flows.
pub(super) fn header() -> String {
    columns([
        "START",
        "SECONDS",
        "PROTO",
        "SOURCE -> DESTINATION",
        "VLAN",
        "TOS",
        "FLAGS",
        "PACKETS",
        "OCTETS",
        "END",
    ])
}

/// The line of one flow; what the exporter did not send is a dash. Of options data every field by its name.
pub(super) fn line(flow: &DecodedFlow) -> String {
    if let Some(id) = flow.options_template_id {
        let mut text = format!("options template {id} of domain {}:", flow.observation_domain_id);
        for (element, value) in &flow.fields {
            let value = match value {
                // Words of an exporter, with blanks in them.
                Value::Text(words) => format!("{words:?}"),
                other => other.to_string(),
            };
            text.push_str(&format!(" {}={value}", flow.name(*element)));
        }
        return text;
    }
    let start = flow.start().map(|time| time.to_string());
    let number = |value: Option<u64>| value.map_or(Cow::Borrowed("-"), |value| Cow::Owned(value.to_string()));
    columns([
        start.as_deref().unwrap_or("-"),
        &seconds(flow),
        &flow.protocol().map_or(Cow::Borrowed("-"), protocol),
        &endpoints(flow),
        &number(flow.vlan()),
        &class_of_service(flow.class_of_service()),
        &flags(flow.protocol(), flow.tcp_control_bits()),
        &number(flow.packets()),
        &number(flow.octets()),
        &flow.end_reason().map_or(Cow::Borrowed("-"), end_reason),
    ])
}

fn columns([start, seconds, proto, endpoints, vlan, tos, flags, packets, octets, end]: [&str; 10]) -> String {
    format!(
        "{start:<24} {seconds:>9} {proto:<6} {endpoints:<47} {vlan:>4} {tos:>4} {flags:<8} {packets:>10} {octets:>12} {end}"
    )
}

/// How long the flow lasted, in seconds.
fn seconds(flow: &DecodedFlow) -> Cow<'static, str> {
    let (Some(start), Some(end)) = (flow.start(), flow.end()) else { return Cow::Borrowed("-") };
    let millis = end.millis().saturating_sub(start.millis());
    Cow::Owned(format!("{}.{:03}", millis / 1000, millis % 1000))
}

/// `source:port -> destination:port`; ICMP has `type.code` where the destination's port stands.
pub(super) fn endpoints(flow: &DecodedFlow) -> String {
    let icmp = matches!(flow.protocol(), Some(1 | 58));
    let type_code =
        flow.icmp_type_code().filter(|_| icmp).map(|code| format!("{}.{}", code / 256, code % 256));
    let has_ports = matches!(flow.protocol(), Some(6 | 17 | 33 | 132 | 136));
    let port = |port: Option<u64>| {
        port.filter(|&port| has_ports || (!icmp && port > 0)).map(|port| port.to_string())
    };
    format!(
        "{} -> {}",
        endpoint(flow.source(), port(flow.source_port())),
        endpoint(flow.destination(), type_code.or_else(|| port(flow.destination_port())))
    )
}

fn endpoint(address: Option<IpAddr>, port: Option<String>) -> String {
    let address = match address {
        Some(IpAddr::V4(address)) => address.to_string(),
        Some(IpAddr::V6(address)) => format!("[{address}]"),
        None => "-".to_owned(),
    };
    match port {
        Some(port) => format!("{address}:{port}"),
        None => address,
    }
}

/// The names of the protocols seen most, the numbers of the others.
pub(super) fn protocol(number: u64) -> Cow<'static, str> {
    Cow::Borrowed(match number {
        0 => "hopopt",
        1 => "icmp",
        2 => "igmp",
        4 => "ipip",
        6 => "tcp",
        17 => "udp",
        33 => "dccp",
        41 => "ipv6",
        46 => "rsvp",
        47 => "gre",
        50 => "esp",
        51 => "ah",
        58 => "icmp6",
        88 => "eigrp",
        89 => "ospf",
        103 => "pim",
        112 => "vrrp",
        115 => "l2tp",
        132 => "sctp",
        136 => "udplit",
        other => return Cow::Owned(other.to_string()),
    })
}

pub(super) fn class_of_service(value: Option<u64>) -> Cow<'static, str> {
    value.map_or(Cow::Borrowed("-"), |value| Cow::Owned(format!("0x{value:02x}")))
}

/// CWR, ECE, URG, ACK, PSH, RST, SYN, FIN as letters, dots for those not seen (RFC 9565).
pub(super) fn flags(protocol: Option<u64>, bits: Option<u64>) -> Cow<'static, str> {
    let (Some(6), Some(bits)) = (protocol, bits) else { return Cow::Borrowed("-") };
    let letters = "CEUAPRSF".chars().enumerate();
    Cow::Owned(
        letters.map(|(place, letter)| if bits >> (7 - place) & 1 == 1 { letter } else { '.' }).collect(),
    )
}

/// flowEndReason in a word.
pub(super) fn end_reason(reason: u64) -> Cow<'static, str> {
    Cow::Borrowed(match reason {
        1 => "idle",
        2 => "active",
        3 => "end",
        4 => "forced",
        5 => "resources",
        other => return Cow::Owned(other.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_letters_in_header_order() {
        assert_eq!(flags(Some(6), Some(0x1b)), "...AP.SF");
        assert_eq!(flags(Some(6), Some(0xff)), "CEUAPRSF");
        assert_eq!(flags(Some(6), Some(0)), "........");
        assert_eq!(flags(Some(17), Some(0)), "-");
    }
}
