//! An interface as netlink describes it.

use rtnetlink::packet_route::link::{
    InfoData, InfoKind, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, LinkXdp,
};

/// An interface as it was when asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// Name, as `ip link` shows it.
    pub name: String,
    /// What the operator calls it (`ip link set NAME alias TEXT`): ifAlias, interfaceDescription.
    pub alias: Option<String>,
    /// ifIndex.
    pub index: u32,
    /// Administratively up.
    pub up: bool,
    /// Frames begin with an Ethernet header.
    pub ethernet: bool,
    /// Packets begin with the IP header: tun, wireguard, ppp and other tunnels.
    pub raw_ip: bool,
    /// The loopback device.
    pub loopback: bool,
    /// MTU in octets.
    pub mtu: u32,
    /// The bridge, bond or VRF that its packets go to, by index.
    pub(super) controller: Option<u32>,
    /// The device below it in the same namespace, by index: of a VLAN or a macvlan, say.
    pub(super) lower: Option<u32>,
    /// Its packets are, or have been, another device's, whose index may be unknown.
    pub(super) layered: Option<Layer>,
    /// Ids of the XDP programs on it.
    pub(super) programs: Vec<u32>,
}

/// Kinds of devices that only pass on what others receive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Layer {
    /// Made of other devices: a bridge, a bond, a VRF.
    Controller,
    /// Carried in the packets of another device, whichever that is: a tunnel.
    Tunnel,
}

impl Interface {
    /// Whether the meter can read what its packets begin with.
    pub fn is_readable(&self) -> bool {
        self.ethernet || self.raw_ip
    }

    /// Reads a link message; `None` if it tells a part only, as those of wireless events do.
    pub(super) fn new(message: &LinkMessage) -> Option<Self> {
        let mut found = Self {
            name: String::new(),
            alias: None,
            index: message.header.index,
            up: message.header.flags.contains(LinkFlags::Up),
            // The loopback device's frames have an Ethernet header, too.
            ethernet: matches!(
                message.header.link_layer_type,
                LinkLayerType::Ether | LinkLayerType::Loopback
            ),
            raw_ip: raw_ip(message.header.link_layer_type),
            loopback: message.header.link_layer_type == LinkLayerType::Loopback,
            mtu: 0,
            controller: None,
            lower: None,
            layered: None,
            programs: Vec::new(),
        };
        let (mut elsewhere, mut kind) = (false, None);
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(text) => found.name.clone_from(text),
                LinkAttribute::IfAlias(text) if !text.is_empty() => found.alias = Some(text.clone()),
                LinkAttribute::Mtu(octets) => found.mtu = *octets,
                LinkAttribute::Controller(index) => found.controller = Some(*index),
                LinkAttribute::Link(index) => found.lower = Some(*index),
                LinkAttribute::LinkNetNsId(_) => elsewhere = true,
                LinkAttribute::LinkInfo(infos) => {
                    for info in infos {
                        match info {
                            LinkInfo::Kind(of) => kind = Some(of.clone()),
                            // A VXLAN device does not tell the one below by the usual attribute.
                            LinkInfo::Data(InfoData::Vxlan(infos)) => {
                                found.lower = found.lower.or(infos.iter().find_map(below));
                            }
                            _ => {}
                        }
                    }
                }
                LinkAttribute::Xdp(attributes) => {
                    found.programs = attributes.iter().filter_map(program).collect();
                }
                _ => {}
            }
        }
        // What these name is their peer, which they do not build on.
        let pair = matches!(kind, Some(InfoKind::Veth | InfoKind::Netkit | InfoKind::Vxcan));
        // Of a device that builds on one of another namespace nothing else here has the packets.
        let here = found.lower.filter(|lower| !elsewhere && !pair && ![0, found.index].contains(lower));
        found.lower = here;
        found.layered = kind.and_then(|kind| layer(&kind, elsewhere));
        (!found.name.is_empty() && found.mtu > 0).then_some(found)
    }
}

fn layer(kind: &InfoKind, elsewhere: bool) -> Option<Layer> {
    match kind {
        InfoKind::Bridge | InfoKind::Bond | InfoKind::Team | InfoKind::Vrf => Some(Layer::Controller),
        InfoKind::BatAdv | InfoKind::Hsr => Some(Layer::Controller),
        InfoKind::Other(kind) if kind == "openvswitch" => Some(Layer::Controller),
        _ if elsewhere => None,
        InfoKind::Vxlan | InfoKind::Geneve | InfoKind::BareUdp | InfoKind::Gtp | InfoKind::Amt => {
            Some(Layer::Tunnel)
        }
        InfoKind::GreTap | InfoKind::GreTap6 | InfoKind::GreTun | InfoKind::GreTun6 => Some(Layer::Tunnel),
        InfoKind::ErSpan | InfoKind::Ip6ErSpan | InfoKind::Pfcp | InfoKind::Wireguard => Some(Layer::Tunnel),
        InfoKind::IpIp | InfoKind::Ip6Tnl | InfoKind::SitTun => Some(Layer::Tunnel),
        InfoKind::Vti | InfoKind::Vti6 | InfoKind::Xfrm => Some(Layer::Tunnel),
        // What arrives there was redirected from another device.
        InfoKind::Ifb => Some(Layer::Tunnel),
        _ => None,
    }
}

fn raw_ip(kind: LinkLayerType) -> bool {
    use LinkLayerType::{Ip6gre, Ipgre, None, Ppp, Rawip, Sit, Tunnel, Tunnel6};
    matches!(kind, None | Ppp | Tunnel | Tunnel6 | Sit | Ipgre | Ip6gre | Rawip)
}

fn below(info: &InfoVxlan) -> Option<u32> {
    match info {
        InfoVxlan::Link(index) => Some(*index),
        _ => None,
    }
}

fn program(attribute: &LinkXdp) -> Option<u32> {
    match attribute {
        LinkXdp::ProgId(id) | LinkXdp::DrvProgId(id) | LinkXdp::SkbProgId(id) | LinkXdp::HwProgId(id) => {
            Some(*id)
        }
        _ => None,
    }
}

#[cfg(test)]
impl Interface {
    /// An Ethernet interface that is up, for tests.
    pub(super) fn test(index: u32, name: &str) -> Self {
        Self::named(index, name)
    }

    /// The same for other rooms' tests.
    pub(crate) fn named(index: u32, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            alias: None,
            index,
            up: true,
            ethernet: true,
            raw_ip: false,
            loopback: name == "lo",
            mtu: 1500,
            controller: None,
            lower: None,
            layered: None,
            programs: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn link(attributes: Vec<LinkAttribute>) -> Interface {
        let mut message = LinkMessage::default();
        message.header.index = 7;
        message.header.link_layer_type = LinkLayerType::Ether;
        let always = vec![LinkAttribute::IfName("m0".to_owned()), LinkAttribute::Mtu(1500)];
        message.attributes = [always, attributes].concat();
        Interface::new(&message).unwrap()
    }

    fn kind(kind: InfoKind) -> LinkAttribute {
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)])
    }

    #[test]
    fn what_a_device_builds_on_is_read_of_its_link() {
        use LinkAttribute::{Link, LinkInfo as Info, LinkNetNsId};
        let vxlan =
            vec![LinkInfo::Kind(InfoKind::Vxlan), LinkInfo::Data(InfoData::Vxlan(vec![InfoVxlan::Link(3)]))];
        let (tunnel, controller) = (Some(Layer::Tunnel), Some(Layer::Controller));
        let cases = [
            ("a physical one", vec![], None, None),
            ("a VLAN", vec![Link(3), kind(InfoKind::Vlan)], Some(3), None),
            ("a macvlan", vec![Link(3), kind(InfoKind::MacVlan)], Some(3), None),
            (
                "one below in another namespace",
                vec![Link(3), LinkNetNsId(0), kind(InfoKind::MacVlan)],
                None,
                None,
            ),
            ("a pair", vec![Link(3), kind(InfoKind::Veth)], None, None),
            ("a pair over namespaces", vec![Link(3), LinkNetNsId(0), kind(InfoKind::Veth)], None, None),
            ("a bridge", vec![kind(InfoKind::Bridge)], None, controller),
            ("a bond", vec![kind(InfoKind::Bond)], None, controller),
            ("an Open vSwitch", vec![kind(InfoKind::Other("openvswitch".to_owned()))], None, controller),
            ("VXLAN", vec![Info(vxlan.clone())], Some(3), tunnel),
            ("VXLAN from elsewhere", vec![Info(vxlan), LinkNetNsId(1)], None, None),
            ("VXLAN over any", vec![kind(InfoKind::Vxlan)], None, tunnel),
            ("a tunnel", vec![Link(0), kind(InfoKind::GreTap)], None, tunnel),
            ("a tap of a machine", vec![kind(InfoKind::Tun)], None, None),
        ];
        for (what, attributes, lower, layered) in cases {
            let interface = link(attributes);
            assert_eq!((interface.lower, interface.layered), (lower, layered), "{what}");
        }
    }

    #[test]
    fn alias_and_programs_are_read() {
        let interface = link(vec![
            LinkAttribute::IfAlias("uplink".to_owned()),
            LinkAttribute::Xdp(vec![LinkXdp::Flags(4), LinkXdp::ProgId(17)]),
        ]);
        assert_eq!((interface.alias.as_deref(), &interface.programs[..]), (Some("uplink"), &[17][..]));
    }

    #[test]
    fn a_message_that_tells_a_part_only_is_none() {
        let mut message = LinkMessage::default();
        message.attributes = vec![LinkAttribute::IfName("wlan0".to_owned())];
        assert_eq!(Interface::new(&message), None);
    }
}
