//! What the kernel says about its routing (rtnetlink(7)): messages to [`Change`]s, and the requests for lists.
//!
//! Read here and not by the crate that `interface` uses: that one knows no nexthop objects, allocates several times
//! for each of a million routes, and gives up a whole message for an attribute it cannot read.

use super::{
    attribute::{address, attribute, attributes_of, i32_at, left_aligned, text, u16_at, u32_at, via},
    fib::{Change, NextHop},
    link::Link,
    prefix::{Family, Prefix},
    rule::{Action, Rule},
    table::Place,
    target::{Hop, Kind, Route, Target, Way},
};

const AF_UNSPEC: u8 = 0;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_NEWRULE: u16 = 32;
const RTM_DELRULE: u16 = 33;
const RTM_NEWNEXTHOP: u16 = 104;
const RTM_DELNEXTHOP: u16 = 105;

/// The list that this message belongs to changed meanwhile.
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_APPEND: u16 = 0x800;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP: u16 = 0x300;

/// RTNH_F_DEAD.
const DEAD: u32 = 1;
/// RTM_F_CLONED: a cached route, none of the table's.
const CLONED: u32 = 0x200;
/// FIB_RULE_INVERT.
const INVERT: u32 = 2;
/// IFF_UP and IFF_LOWER_UP.
const WORKS: u32 = 0x1_0001;

/// What can be asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum List {
    Links,
    Rules(Family),
    NextHops,
    Routes(Family),
}

impl List {
    /// In the order in which they need one another.
    pub(super) const ALL: [Self; 6] = [
        Self::Links,
        Self::Rules(Family::V4),
        Self::Rules(Family::V6),
        Self::NextHops,
        Self::Routes(Family::V4),
        Self::Routes(Family::V6),
    ];

    /// Its name in an error.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Links => "interfaces",
            Self::Rules(_) => "rules",
            Self::NextHops => "nexthop objects",
            Self::Routes(_) => "routes",
        }
    }

    /// The request: a header, then one with the family and otherwise zero.
    pub(super) fn request(self, sequence: u32) -> Vec<u8> {
        let family = |family| if family == Family::V4 { AF_INET } else { AF_INET6 };
        // RTM_GETLINK, RTM_GETRULE, RTM_GETNEXTHOP, RTM_GETROUTE.
        let (kind, family, header): (u16, u8, u32) = match self {
            Self::Links => (18, AF_UNSPEC, 16),
            Self::Rules(of) => (34, family(of), 12),
            Self::NextHops => (106, AF_UNSPEC, 8),
            Self::Routes(of) => (26, family(of), 12),
        };
        let mut octets = Vec::new();
        octets.extend((16 + header).to_ne_bytes());
        octets.extend(kind.to_ne_bytes());
        octets.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
        octets.extend(sequence.to_ne_bytes());
        octets.extend(0_u32.to_ne_bytes());
        octets.push(family);
        octets.resize(16 + header as usize, 0);
        octets
    }
}

/// A netlink message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    kind: u16,
    flags: u16,
    pub(super) sequence: u32,
    payload: &'a [u8],
}

/// What a message is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Said {
    /// News, or an item of a list.
    Change(Change),
    /// Nothing that matters to routing.
    Nothing,
    /// The end of a list.
    Done,
    /// The request failed, with this errno.
    Failed(i32),
    /// It cannot be read.
    Unread,
}

/// The messages of a datagram. A length that cannot be ends the walk, with a message that cannot be read.
pub(super) fn messages(mut octets: &[u8]) -> impl Iterator<Item = Option<Message<'_>>> {
    std::iter::from_fn(move || {
        if octets.is_empty() {
            return None;
        }
        let length = u32_at(octets, 0).map_or(0, |length| length as usize);
        let Some(message) = (length >= 16).then(|| octets.get(..length)).flatten() else {
            octets = &[];
            return Some(None);
        };
        octets = octets.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Some(Message {
            kind: u16_at(message, 4)?,
            flags: u16_at(message, 6)?,
            sequence: u32_at(message, 8)?,
            payload: &message[16..],
        }))
    })
}

impl Message<'_> {
    /// Whether the list that it belongs to changed while it was made.
    pub(super) fn interrupted(&self) -> bool {
        self.flags & NLM_F_DUMP_INTR != 0
    }

    /// Reads it. In a list every route stands behind those of the same prefix before it.
    pub(super) fn read(&self, in_list: bool) -> Said {
        let place = match () {
            () if in_list || self.flags & NLM_F_APPEND != 0 => Place::Last,
            () if self.flags & NLM_F_REPLACE != 0 => Place::Replace,
            () => Place::First,
        };
        let said = match self.kind {
            // A list that ends with an error says so here.
            NLMSG_DONE => match i32_at(self.payload, 0) {
                Some(error) if error < 0 => Some(Said::Failed(-error)),
                _ => Some(Said::Done),
            },
            NLMSG_ERROR => i32_at(self.payload, 0).map(|error| Said::Failed(-error)),
            RTM_NEWROUTE | RTM_DELROUTE => route(self.payload, self.kind == RTM_NEWROUTE, place),
            RTM_NEWRULE | RTM_DELRULE => rule(self.payload, self.kind == RTM_NEWRULE),
            RTM_NEWLINK | RTM_DELLINK => link(self.payload, self.kind == RTM_NEWLINK),
            RTM_NEWNEXTHOP | RTM_DELNEXTHOP => next_hop(self.payload, self.kind == RTM_NEWNEXTHOP),
            // Routes that prefer it as their source go, untold.
            RTM_DELADDR => Some(Said::Change(Change::Silent)),
            _ => Some(Said::Nothing),
        };
        said.unwrap_or(Said::Unread)
    }
}

fn family(number: u8) -> Option<Family> {
    match number {
        AF_INET => Some(Family::V4),
        AF_INET6 => Some(Family::V6),
        _ => None,
    }
}

/// struct rtmsg and its attributes. `None`: cannot be read.
fn route(payload: &[u8], add: bool, place: Place) -> Option<Said> {
    let (header, attributes) = payload.split_at_checked(12)?;
    let [number, destination_length, source_length, tos, table, _, _, kind, ..] = *header else {
        return None;
    };
    let flags = u32_at(header, 8)?;
    let Some(family) = family(number) else { return Some(Said::Nothing) };
    // Routes for one ToS or for sources of a prefix are not looked at.
    let Some(kind) = Kind::from_number(kind).filter(|_| source_length == 0 && tos == 0) else {
        return Some(Said::Nothing);
    };
    if flags & CLONED != 0 {
        return Some(Said::Nothing);
    }
    let (mut table, mut metric, mut destination, mut object) = (u32::from(table), 0, 0, None);
    let mut hop = Hop { interface: 0, gateway: None, dead: flags & DEAD != 0 };
    let mut hops = None;
    for (kind, value) in attributes_of(attributes) {
        match kind {
            1 => destination = left_aligned(value, family)?,
            4 => hop.interface = u32_at(value, 0)?,
            5 => hop.gateway = Some(address(value)?),
            6 => metric = u32_at(value, 0)?,
            9 => hops = Some(multipath(value)?),
            15 => table = u32_at(value, 0)?,
            18 => hop.gateway = Some(via(value)?),
            30 => object = Some(u32_at(value, 0)?),
            _ => {}
        }
    }
    let way = match (object, hops) {
        (Some(id), _) => Way::Object(id),
        (None, Some(hops)) => Way::Hops(hops),
        (None, None) => Way::Hops(Box::new([hop])),
    };
    let prefix = Prefix::new(destination, destination_length.min(family.width()));
    let route = Route { metric, target: Target { kind, way } };
    Some(Said::Change(match add {
        true => Change::AddRoute { family, table, prefix, route, place },
        false => Change::RemoveRoute { family, table, prefix, route },
    }))
}

/// RTA_MULTIPATH: struct rtnexthop, each with attributes.
fn multipath(mut octets: &[u8]) -> Option<Box<[Hop]>> {
    let mut hops = Vec::new();
    while !octets.is_empty() {
        let length = usize::from(u16_at(octets, 0)?);
        let one = octets.get(..length)?;
        let mut hop =
            Hop { interface: u32_at(one, 4)?, gateway: None, dead: u32::from(*one.get(2)?) & DEAD != 0 };
        for (kind, value) in attributes_of(one.get(8..)?) {
            match kind {
                5 => hop.gateway = Some(address(value)?),
                18 => hop.gateway = Some(via(value)?),
                _ => {}
            }
        }
        hops.push(hop);
        octets = octets.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(hops.into())
}

/// struct fib_rule_hdr and its attributes.
fn rule(payload: &[u8], add: bool) -> Option<Said> {
    let (header, attributes) = payload.split_at_checked(12)?;
    let [number, to_length, from_length, tos, table, _, _, action, ..] = *header else { return None };
    let Some(family) = family(number) else { return Some(Said::Nothing) };
    let (mut table, mut go_to, mut vrf) = (u32::from(table), None, false);
    let (mut mark, mut mark_mask) = (0, None);
    let mut rule = Rule::plain(0, Action::Nothing);
    rule.invert = u32_at(header, 8)? & INVERT != 0;
    rule.unread = tos != 0;
    for (kind, value) in attributes_of(attributes) {
        match kind {
            1 => rule.to = Some(Prefix::new(left_aligned(value, family)?, to_length)),
            2 => rule.from = Some(Prefix::new(left_aligned(value, family)?, from_length)),
            3 => rule.interface = Some(text(value)),
            4 => go_to = Some(u32_at(value, 0)?),
            6 => rule.priority = u32_at(value, 0)?,
            10 => mark = u32_at(value, 0)?,
            14 => rule.suppress = u8::try_from(u32_at(value, 0)?).ok(),
            15 => table = u32_at(value, 0)?,
            16 => mark_mask = Some(u32_at(value, 0)?),
            // An outgoing interface: a packet that came in has none yet.
            17 => rule.elsewhere = true,
            19 => vrf = value.first().is_some_and(|vrf| *vrf != 0),
            // Users: packets that are forwarded are user 0's.
            20 => rule.elsewhere |= u32_at(value, 0)? != 0,
            // Tunnel id, interface group, protocol, ports, DSCP, flow label.
            12 | 22.. => rule.unread = true,
            13 => rule.unread |= u32_at(value, 0)? != u32::MAX,
            _ => {}
        }
    }
    rule.elsewhere |= mark & mark_mask.unwrap_or(u32::MAX) != 0;
    rule.action = match action {
        1 if vrf => Action::Vrf,
        1 => Action::Table(table),
        2 => Action::GoTo(go_to?),
        6..=8 => Action::Refuse,
        _ => Action::Nothing,
    };
    Some(Said::Change(match add {
        true => Change::AddRule { family, rule },
        false => Change::RemoveRule { family, rule },
    }))
}

/// struct ifinfomsg and its attributes.
fn link(payload: &[u8], add: bool) -> Option<Said> {
    let (header, attributes) = payload.split_at_checked(16)?;
    // Bridges tell about their ports in a family of their own.
    if header[0] != AF_UNSPEC {
        return Some(Said::Nothing);
    }
    let index = u32_at(header, 4)?;
    if !add {
        return Some(Said::Change(Change::RemoveLink { index }));
    }
    let mut link = Link { works: u32_at(header, 8)? & WORKS == WORKS, ..Link::default() };
    let (mut below, mut vlan_id) = (0, None);
    for (kind, value) in attributes_of(attributes) {
        match kind {
            3 => link.name = text(value),
            5 => below = u32_at(value, 0)?,
            10 => link.controller = u32_at(value, 0)?,
            18 => {
                // IFLA_INFO_KIND comes before IFLA_INFO_DATA.
                let mut what = String::new();
                for (kind, value) in attributes_of(value) {
                    match (kind, what.as_str()) {
                        (1, _) => what = text(value),
                        (2, "vrf") => link.vrf_table = attribute(value, 1).and_then(|value| u32_at(value, 0)),
                        (2, "vlan") => vlan_id = attribute(value, 1).and_then(|value| u16_at(value, 0)),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    link.vlan = vlan_id.filter(|_| below != 0).map(|id| (below, id));
    Some(Said::Change(Change::SetLink { index, link }))
}

/// struct nhmsg and its attributes.
fn next_hop(payload: &[u8], add: bool) -> Option<Said> {
    let (header, attributes) = payload.split_at_checked(8)?;
    let mut hop = Hop { interface: 0, gateway: None, dead: u32_at(header, 4)? & DEAD != 0 };
    let (mut id, mut group, mut blackhole) = (None, None, false);
    for (kind, value) in attributes_of(attributes) {
        match kind {
            1 => id = Some(u32_at(value, 0)?),
            2 => group = Some(value.chunks_exact(8).filter_map(|member| u32_at(member, 0)).collect()),
            4 => blackhole = true,
            5 => hop.interface = u32_at(value, 0)?,
            6 => hop.gateway = Some(address(value)?),
            _ => {}
        }
    }
    let id = id?;
    Some(Said::Change(match (add, group) {
        (false, _) => Change::RemoveNextHop { id },
        (true, Some(ids)) => Change::SetNextHop { id, next_hop: NextHop::Group(ids) },
        (true, None) if blackhole => Change::SetNextHop { id, next_hop: NextHop::Blackhole },
        (true, None) => Change::SetNextHop { id, next_hop: NextHop::Hop(hop) },
    }))
}
