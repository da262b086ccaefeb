//! What is known of one packet, in words that both readers share; what is not there is zero and left out.

use std::collections::BTreeMap;

use netflow_common::{Address, Tunnel, WideCounters, WideKey};
use netflow_ebpf::packet::{LinkType, Wide, parse_inner};
use netflow_user::kernel::Measure;
use tests::judges::Layer;

/// Values by name.
pub type Facts = BTreeMap<&'static str, u128>;

/// Whose inside counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decapsulate {
    /// The outermost IP packet.
    None,
    /// The innermost one.
    All,
}

const LABELS: [&str; 10] = [
    "MPLS label 1",
    "MPLS label 2",
    "MPLS label 3",
    "MPLS label 4",
    "MPLS label 5",
    "MPLS label 6",
    "MPLS label 7",
    "MPLS label 8",
    "MPLS label 9",
    "MPLS label 10",
];

fn number_of(octets: &[u8]) -> u128 {
    octets.iter().fold(0, |number, octet| number << 8 | u128::from(*octet))
}

fn without_zeros(facts: impl IntoIterator<Item = (&'static str, u128)>) -> Facts {
    facts.into_iter().filter(|(_, value)| *value != 0).collect()
}

/// What this project reads; `None`: it is no flow's packet.
pub fn found(octets: &[u8], wire_length: usize, decapsulate: Decapsulate) -> Option<Facts> {
    let tunnels = if decapsulate == Decapsulate::All { u32::MAX } else { 0 };
    let measure = Measure { groups: u32::MAX, tunnels, ..Measure::DEFAULT };
    let mut entry = bytemuck::Zeroable::zeroed();
    let mut wide = Wide::over(measure, &mut entry);
    let packet = parse_inner(octets, LinkType::Ethernet, &mut wide).ok()?;
    let fragment = wide.fragment();
    Wide::over(measure, &mut entry).finish(
        &packet,
        fragment,
        &netflow_ebpf::packet::OnWire::one(&packet, wire_length),
        0,
    );
    Some(of_entry(&entry.key, &entry.delta))
}

fn of_entry(key: &WideKey, delta: &WideCounters) -> Facts {
    let (flow, first) = (&key.flow, &delta.first_packet);
    let address = |address: Address| {
        if flow.is_ipv4() { number_of(&address.ipv4_octets()) } else { number_of(&address.octets()) }
    };
    let mut facts = vec![
        ("frame length", delta.layer2_octets.into()),
        ("source MAC", number_of(&key.source_mac)),
        ("destination MAC", number_of(&key.destination_mac)),
        ("first packet's source MAC", number_of(&first.source_mac)),
        ("first packet's destination MAC", number_of(&first.destination_mac)),
        ("VLAN id", flow.vlan_id.into()),
        ("customer VLAN id", key.customer_vlan_id.into()),
        ("outer tag", first.outer_tag.into()),
        ("customer tag", first.customer_tag.into()),
        ("EtherType", first.ethernet_type.into()),
        ("MPLS label", key.mpls_label.into()),
        ("MPLS depth", first.mpls_depth.into()),
        ("IP version", flow.ip_version.into()),
        ("source address", address(flow.source_address)),
        ("destination address", address(flow.destination_address)),
        ("protocol", flow.protocol.into()),
        ("source port", flow.source_port.value().into()),
        ("destination port", flow.destination_port.value().into()),
        ("class of service", flow.class_of_service.into()),
        ("first packet's class of service", first.class_of_service.into()),
        ("all classes of service", delta.all_classes_of_service.into()),
        ("octets", delta.flow.octets.into()),
        ("minimum IP length", delta.minimum_ip_length.into()),
        ("maximum IP length", delta.maximum_ip_length.into()),
        ("TTL", first.ttl.into()),
        ("minimum TTL", delta.flow.minimum_ttl.into()),
        ("maximum TTL", delta.flow.maximum_ttl.into()),
        ("flow label", delta.flow.flow_label.into()),
        ("TCP control bits", delta.flow.tcp_control_bits.into()),
        ("TCP options", delta.tcp_options.into()),
        ("IPv4 options", delta.ipv4_options.into()),
        ("IPv6 extension headers", delta.ipv6_extension_headers.into()),
        ("IGMP type", first.igmp_type.into()),
        ("IPsec SPI", first.ipsec_spi.into()),
        ("fragments", delta.fragments.into()),
        ("fragment identification", first.fragment_identification.into()),
        ("fragment offset", first.fragment_offset.into()),
        ("fragment flags", first.fragment_flags.into()),
        ("tunnel", key.tunnel.into()),
        ("tunnel id", key.tunnel_id.into()),
    ];
    facts.extend(LABELS.into_iter().zip(first.mpls_labels.iter().map(|label| number_of(label))));
    without_zeros(facts)
}

/// What tshark reads; `None`: there is no readable IP header.
pub fn told(layers: &[Layer], decapsulate: Decapsulate) -> Option<Facts> {
    let readable = |layer: &&Layer| {
        let addresses = match layer.name.as_str() {
            "ip" => ["ip.src", "ip.dst"],
            "ipv6" => ["ipv6.src", "ipv6.dst"],
            _ => return false,
        };
        addresses.iter().all(|name| layer.number(name).is_some())
    };
    let outermost = layers.iter().position(|layer| matches!(layer.name.as_str(), "ip" | "ipv6"))?;
    let (link, behind) = layers.split_at(outermost);
    readable(&&behind[0]).then_some(())?;
    let mut facts = link_facts(link);
    let innermost = match decapsulate {
        Decapsulate::None => 0,
        Decapsulate::All => behind.iter().rposition(|layer| readable(&layer))?,
    };
    if innermost > 0 {
        facts.extend(tunnel_facts(&behind[..innermost]));
    }
    facts.extend(ip_facts(&behind[innermost..]));
    Some(without_zeros(facts))
}

fn link_facts(link: &[Layer]) -> Vec<(&'static str, u128)> {
    let layers = |name: &'static str| link.iter().filter(move |layer| layer.name == name);
    let first = |layer: &'static str, field| layers(layer).find_map(|layer| layer.number(field)).unwrap_or(0);
    let tags: Vec<u128> = link.iter().flat_map(tags).collect();
    let tag = |number: usize| tags.get(number).copied().unwrap_or(0);
    let types = link.iter().flat_map(|layer| {
        let kinds = |name: &str| matches!(name, "eth.type" | "vlan.etype" | "ieee8021ah.etype" | "llc.type");
        layer.numbers_where(kinds).map(|(_, kind)| kind)
    });
    let labels: Vec<u128> = layers("mpls")
        .map(|entry| {
            let bits = |name| entry.number(name).unwrap_or(0);
            bits("mpls.label") << 4 | bits("mpls.exp") << 1 | bits("mpls.bottom")
        })
        .collect();
    let mut facts = vec![
        ("frame length", frame_length(link)),
        ("source MAC", first("eth", "eth.src")),
        ("destination MAC", first("eth", "eth.dst")),
        ("first packet's source MAC", first("eth", "eth.src")),
        ("first packet's destination MAC", first("eth", "eth.dst")),
        ("VLAN id", tag(0) & 0xfff),
        ("customer VLAN id", tag(1) & 0xfff),
        ("outer tag", tag(0)),
        ("customer tag", tag(1)),
        ("EtherType", types.last().unwrap_or(0)),
        ("MPLS label", labels.first().map_or(0, |label| label >> 4)),
        ("MPLS depth", labels.len() as u128),
    ];
    facts.extend(LABELS.into_iter().zip(labels));
    facts
}

/// Of the general information, which every packet begins with.
fn frame_length(link: &[Layer]) -> u128 {
    link.first().and_then(|layer| layer.number("len")).unwrap_or(0)
}

/// Tags of one layer, outermost first: service tags may share one.
fn tags(layer: &Layer) -> Vec<u128> {
    let of = |names: &[&str]| -> Vec<u128> {
        layer.numbers_where(|name| names.contains(&name)).map(|(_, number)| number).collect()
    };
    let ids = of(&["vlan.id", "ieee8021ad.id", "ieee8021ad.svid", "ieee8021ad.cvid"]);
    let priorities = of(&["vlan.priority", "ieee8021ad.priority"]);
    let drops = of(&["vlan.dei", "ieee8021ad.dei"]);
    let tag = |((id, priority), drop): ((&u128, &u128), &u128)| priority << 13 | drop << 12 | id;
    ids.iter().zip(&priorities).zip(&drops).map(tag).collect()
}

/// Of what stands between the outermost IP header and the innermost one.
fn tunnel_facts(outer: &[Layer]) -> Vec<(&'static str, u128)> {
    let last_ip = outer.iter().rposition(|layer| matches!(layer.name.as_str(), "ip" | "ipv6"));
    let last = &outer[last_ip.unwrap_or(0)..];
    let number = |layer: &str, field: &str| {
        last.iter().find(|found| found.name == layer).map(|layer| layer.number(field).unwrap_or(0))
    };
    let is_bridged = last.iter().any(|layer| layer.name == "eth");
    let gre = if is_bridged { Tunnel::GreEthernet } else { Tunnel::Gre };
    let tunnels = [
        (Tunnel::Vxlan, number("vxlan", "vxlan.vni")),
        (Tunnel::Geneve, number("geneve", "geneve.vni")),
        (Tunnel::GtpU, number("gtp", "gtp.teid")),
        (gre, number("gre", "gre.key")),
    ];
    let (tunnel, id) =
        tunnels.into_iter().find_map(|(tunnel, id)| Some((tunnel, id?))).unwrap_or((Tunnel::IpInIp, 0));
    let mut facts = vec![("tunnel", tunnel as u128), ("tunnel id", id)];
    // The VLAN id is that of the last Ethernet header, wherever it stands.
    if let Some(bridged) = outer.iter().rposition(|layer| layer.name == "eth") {
        let inner = outer[bridged..].iter().flat_map(tags).next();
        facts.push(("VLAN id", inner.unwrap_or(0) & 0xfff));
    }
    facts
}

/// Of an IP header and what it carries.
fn ip_facts(layers: &[Layer]) -> Vec<(&'static str, u128)> {
    let (ip, behind) = (&layers[0], &layers[1..]);
    let mut facts = if ip.name == "ip" { ipv4_facts(ip) } else { ipv6_facts(ip, behind) };
    let fact = |name: &str| facts.iter().find(|(fact, _)| *fact == name).map_or(0, |(_, value)| *value);
    if fact("fragment offset") == 0 {
        let carried = transport_facts(fact("protocol"), behind);
        facts.extend(carried);
    }
    facts
}

fn ipv4_facts(ip: &Layer) -> Vec<(&'static str, u128)> {
    let bits = |name| ip.number(name).unwrap_or(0);
    let (offset, flags) = (bits("ip.frag_offset"), bits("ip.flags"));
    let options = ip.numbers("ip.opt.type").fold(0, |seen, kind| seen | 1 << (kind & 0x1f));
    let mut facts = vec![
        ("IP version", 4),
        ("source address", bits("ip.src")),
        ("destination address", bits("ip.dst")),
        ("protocol", bits("ip.proto")),
        ("IPv4 options", options),
        ("fragments", u128::from(offset != 0 || flags & 1 != 0)),
        ("fragment identification", bits("ip.id")),
        ("fragment offset", offset),
        ("fragment flags", flags << 5),
    ];
    facts.extend(common_facts(bits("ip.dsfield"), bits("ip.len"), bits("ip.ttl")));
    facts
}

fn common_facts(class: u128, length: u128, ttl: u128) -> [(&'static str, u128); 9] {
    [
        ("class of service", class),
        ("first packet's class of service", class),
        ("all classes of service", class),
        ("octets", length),
        ("minimum IP length", length),
        ("maximum IP length", length),
        ("TTL", ttl),
        ("minimum TTL", ttl),
        ("maximum TTL", ttl),
    ]
}

fn ipv6_facts(ip: &Layer, behind: &[Layer]) -> Vec<(&'static str, u128)> {
    let bits = |name| ip.number(name).unwrap_or(0);
    let next = |name: &str| {
        name.starts_with("ipv6.") && (name.ends_with(".nxt") || name.ends_with(".next"))
            || name == "ah.next_header"
    };
    let mut chain: Vec<u128> = ip.numbers_where(next).map(|(_, protocol)| protocol).collect();
    let mut spi = ip.numbers("ah.spi").last().unwrap_or(0);
    if let Some(header) = behind.first().filter(|layer| layer.name == "ah") {
        chain.extend(header.numbers("ah.next_header"));
        spi = header.number("ah.spi").unwrap_or(0);
    }
    // Of two fragment headers the inner one counts.
    let last = |name: &'static str| ip.numbers(name).last().unwrap_or(0);
    let (offset, more) = (last("ipv6.fraghdr.offset"), last("ipv6.fraghdr.more"));
    let mut facts = vec![
        ("IP version", 6),
        ("source address", bits("ipv6.src")),
        ("destination address", bits("ipv6.dst")),
        ("protocol", chain.last().copied().unwrap_or(0)),
        ("flow label", bits("ipv6.flow")),
        ("IPv6 extension headers", extension_headers(&chain, ip.numbers("ipv6.fraghdr.offset"))),
        ("IPsec SPI", spi),
        ("fragments", u128::from(offset != 0 || more != 0)),
        ("fragment identification", last("ipv6.fraghdr.ident")),
        ("fragment offset", offset),
        ("fragment flags", more << 5),
    ];
    facts.extend(common_facts(bits("ipv6.tclass"), 40 + bits("ipv6.plen"), bits("ipv6.hlim")));
    facts
}

/// The headers of a chain that are there: what a later fragment names stands in the first one.
fn extension_headers(chain: &[u128], mut fragment_offsets: impl Iterator<Item = u128>) -> u128 {
    let mut seen = 0;
    for protocol in chain {
        if *protocol != 44 {
            seen |= extension_header(*protocol);
            continue;
        }
        match fragment_offsets.next() {
            Some(0) => seen |= 1 << 4,
            Some(_) => return seen | 1 << 6,
            None => {}
        }
    }
    seen
}

/// Registry "IPFIX ipv6ExtensionHeaders Bits".
fn extension_header(protocol: u128) -> u128 {
    let bit = match protocol {
        60 => 0,
        0 => 1,
        59 => 2,
        43 => 5,
        135 => 7,
        50 => 8,
        51 => 9,
        139 => 10,
        140 => 11,
        253 => 12,
        254 => 13,
        _ => return 0,
    };
    1 << bit
}

fn transport_facts(protocol: u128, behind: &[Layer]) -> Vec<(&'static str, u128)> {
    let number = |layer: &str, field: &str| {
        let layer = behind.iter().find(|found| found.name == layer);
        layer.and_then(|layer| layer.number(field)).unwrap_or(0)
    };
    let ports = |layer: &str, source: &str, destination: &str| {
        vec![("source port", number(layer, source)), ("destination port", number(layer, destination))]
    };
    let message = |layer: &str, kind: &str, code: &str| {
        vec![("destination port", number(layer, kind) << 8 | number(layer, code))]
    };
    match protocol {
        1 => message("icmp", "icmp.type", "icmp.code"),
        2 => vec![("IGMP type", number("igmp", "igmp.type"))],
        6 => {
            let mut facts = ports("tcp", "tcp.srcport", "tcp.dstport");
            facts.push(("TCP control bits", number("tcp", "tcp.flags")));
            let header = behind.iter().find(|layer| layer.name == "tcp");
            let kinds = header.into_iter().flat_map(|header| header.numbers("tcp.option_kind"));
            let seen = kinds.filter(|kind| *kind < 64).fold(0, |seen, kind| seen | 1 << kind);
            facts.push(("TCP options", seen));
            facts
        }
        17 => ports("udp", "udp.srcport", "udp.dstport"),
        136 => ports("udplite", "udp.srcport", "udp.dstport"),
        33 => ports("dccp", "dccp.srcport", "dccp.dstport"),
        50 => vec![("IPsec SPI", number("esp", "esp.spi"))],
        51 => vec![("IPsec SPI", number("ah", "ah.spi"))],
        58 => message("icmpv6", "icmpv6.type", "icmpv6.code"),
        132 => ports("sctp", "sctp.srcport", "sctp.dstport"),
        _ => Vec::new(),
    }
}
