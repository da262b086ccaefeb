//! The copy of the kernel's forwarding information: rules, tables, nexthop objects, interfaces.
//!
//! In: changes, as the kernel lists or tells them. Out: the table of a prefix and address, and what the kernel would
//! do with a packet. This module refuses to know netlink.

use std::{collections::HashMap, net::IpAddr};

use super::{
    link::{Link, Links},
    prefix::{Family, Prefix},
    rule::{self, Action, Rule},
    table::{Place, Table},
    target::{Kind, Route, Routes, Way},
};

/// A nexthop object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum NextHop {
    /// One way out.
    Hop(super::target::Hop),
    /// Packets are dropped.
    Blackhole,
    /// Several others, by id.
    Group(Vec<u32>),
}

/// What the kernel lists or tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Change {
    /// A route is there.
    AddRoute { family: Family, table: u32, prefix: Prefix, route: Route, place: Place },
    /// It is no more.
    RemoveRoute { family: Family, table: u32, prefix: Prefix, route: Route },
    /// A rule is there.
    AddRule { family: Family, rule: Rule },
    /// It is no more.
    RemoveRule { family: Family, rule: Rule },
    /// An interface is there or has changed.
    SetLink { index: u32, link: Link },
    /// It is no more.
    RemoveLink { index: u32 },
    /// A nexthop object is there or has changed.
    SetNextHop { id: u32, next_hop: NextHop },
    /// It is no more.
    RemoveNextHop { id: u32 },
    /// Something happened at which the kernel may change routes without a word.
    Silent,
}

/// Why the copy may not be the kernel's any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Doubt {
    /// Something was to be removed that is not known. Right behind a list that says nothing: it may have gone
    /// before the list came to its place.
    pub(super) unknown: bool,
    /// The kernel may have changed routes without a word.
    pub(super) silent: bool,
}

/// What becomes of a packet, and how long the prefix is that says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Found {
    pub(super) prefix_length: u8,
    pub(super) fate: Fate,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// Sent out.
    Forwarded { interface: u32, gateway: Option<IpAddr> },
    /// Delivered to this host.
    Consumed,
    /// Dropped.
    Refused,
    /// On with the next rule.
    Throw,
}

/// A packet to look up, its addresses left-aligned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query {
    pub(super) family: Family,
    pub(super) source: u128,
    pub(super) destination: u128,
    /// Where it enters IP; 0: nowhere known.
    pub(super) interface: u32,
    /// The VRF of that interface.
    pub(super) vrf: Option<super::link::Vrf>,
}

/// A rule with its names looked up.
#[derive(Clone, Debug)]
struct Ready {
    rule: Rule,
    /// ifIndex of `rule.interface`; `None` where there is no such interface.
    interface: Option<u32>,
    /// The place of the action's table in `tables`.
    table: usize,
}

/// Tables and rules of one family.
#[derive(Clone, Debug)]
struct Side {
    family: Family,
    rules: Vec<Rule>,
    ready: Vec<Ready>,
    tables: Vec<Table>,
    /// Table id to place in `tables`.
    places: HashMap<u32, usize>,
}

/// All of it.
#[derive(Clone, Debug)]
pub(super) struct Fib {
    pub(super) links: Links,
    next_hops: HashMap<u32, NextHop>,
    known: Routes,
    v4: Side,
    v6: Side,
    /// Names or rules have changed since `ready` was made.
    stale: bool,
}

/// Nexthop groups have no groups in them.
const NESTED: u32 = 2;

impl Fib {
    pub(super) fn new() -> Self {
        Self {
            links: Links::default(),
            next_hops: HashMap::new(),
            known: Routes::default(),
            v4: Side::new(Family::V4),
            v6: Side::new(Family::V6),
            stale: false,
        }
    }

    /// Applies changes in their order.
    pub(super) fn apply(&mut self, changes: impl IntoIterator<Item = Change>) -> Doubt {
        let mut doubt = Doubt::default();
        for change in changes {
            self.apply_one(change, &mut doubt);
        }
        if std::mem::take(&mut self.stale) {
            self.v4.prepare(&self.links);
            self.v6.prepare(&self.links);
        }
        doubt
    }

    fn apply_one(&mut self, change: Change, doubt: &mut Doubt) {
        match change {
            Change::AddRoute { family, table, prefix, route, place } => {
                let (known, side) = self.parts(family);
                let table = side.place(table);
                side.tables[table].add(known, prefix, &route, place);
            }
            Change::RemoveRoute { family, table, prefix, route } => {
                let (known, side) = self.parts(family);
                let table = side.place(table);
                doubt.unknown |= !side.tables[table].remove(known, prefix, &route);
            }
            Change::AddRule { family, rule } => {
                self.stale = true;
                rule::add(&mut self.parts(family).1.rules, rule);
            }
            Change::RemoveRule { family, rule } => {
                self.stale = true;
                doubt.unknown |= !rule::remove(&mut self.parts(family).1.rules, &rule);
            }
            Change::SetLink { index, link } => {
                self.stale = true;
                let works = link.works;
                doubt.silent |= self.links.set(index, link).is_some_and(|old| old.works != works);
            }
            Change::RemoveLink { index } => {
                self.stale = true;
                doubt.silent |= self.links.remove(index).is_some();
            }
            Change::SetNextHop { id, next_hop } => {
                self.next_hops.insert(id, next_hop);
            }
            // Its routes go with it.
            Change::RemoveNextHop { id } => doubt.silent |= self.next_hops.remove(&id).is_some(),
            Change::Silent => doubt.silent = true,
        }
    }

    fn parts(&mut self, family: Family) -> (&mut Routes, &mut Side) {
        let side = match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        };
        (&mut self.known, side)
    }

    /// How many routes there are.
    pub(super) fn routes(&self) -> usize {
        self.v4.tables.iter().chain(&self.v6.tables).map(Table::routes).sum()
    }

    /// Octets of memory of the tables.
    #[cfg(test)]
    pub(super) fn octets(&self) -> usize {
        self.v4.tables.iter().chain(&self.v6.tables).map(Table::octets).sum()
    }

    /// What the kernel would do with a packet; `None` where no route holds it.
    pub(super) fn look_up(&self, query: &Query) -> Option<Found> {
        let side = match query.family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        };
        let mut at = 0;
        while let Some(ready) = side.ready.get(at) {
            at += 1;
            if !ready.selects(query) {
                continue;
            }
            let table = match ready.rule.action {
                Action::Table(_) => ready.table,
                Action::Vrf => match query.vrf.and_then(|vrf| side.places.get(&vrf.table)) {
                    Some(table) => *table,
                    None => continue,
                },
                // Only forward: the kernel refuses others.
                Action::GoTo(priority) => {
                    let target = side.ready.partition_point(|other| other.rule.priority < priority);
                    let exists = side.ready.get(target).is_some_and(|other| other.rule.priority == priority);
                    at = if exists { at.max(target) } else { at };
                    continue;
                }
                Action::Nothing => continue,
                Action::Refuse => return Some(Found { prefix_length: 0, fate: Fate::Refused }),
            };
            let found = side.tables[table].find_map(query.destination, |prefix_length, route| {
                Some(Found { prefix_length, fate: self.fate(route)? })
            });
            match found {
                Some(Found { fate: Fate::Throw, .. }) | None => {}
                Some(found) if ready.rule.suppress.is_some_and(|length| found.prefix_length <= length) => {}
                Some(found) => return Some(found),
            }
        }
        None
    }

    /// What a route does; `None` where none of its ways can be gone.
    fn fate(&self, route: u32) -> Option<Fate> {
        let target = &self.known.route(route).target;
        match target.kind {
            Kind::Local | Kind::Broadcast | Kind::Anycast | Kind::Multicast => Some(Fate::Consumed),
            Kind::Blackhole | Kind::Unreachable | Kind::Prohibit => Some(Fate::Refused),
            Kind::Throw => Some(Fate::Throw),
            Kind::Unicast => match &target.way {
                Way::Hops(hops) => hops
                    .iter()
                    .find(|hop| !hop.dead)
                    .map(|hop| Fate::Forwarded { interface: hop.interface, gateway: hop.gateway }),
                Way::Object(id) => self.fate_of_next_hop(*id, NESTED),
            },
        }
    }

    fn fate_of_next_hop(&self, id: u32, depth: u32) -> Option<Fate> {
        match self.next_hops.get(&id)? {
            NextHop::Hop(hop) => {
                (!hop.dead).then_some(Fate::Forwarded { interface: hop.interface, gateway: hop.gateway })
            }
            NextHop::Blackhole => Some(Fate::Refused),
            NextHop::Group(ids) => {
                let depth = depth.checked_sub(1)?;
                ids.iter().find_map(|id| self.fate_of_next_hop(*id, depth))
            }
        }
    }
}

impl Side {
    fn new(family: Family) -> Self {
        Self { family, rules: Vec::new(), ready: Vec::new(), tables: Vec::new(), places: HashMap::new() }
    }

    /// The place of a table, made if it is new.
    fn place(&mut self, table: u32) -> usize {
        let (tables, family) = (&mut self.tables, self.family);
        *self.places.entry(table).or_insert_with(|| {
            tables.push(Table::new(family));
            tables.len() - 1
        })
    }

    fn prepare(&mut self, links: &Links) {
        let rules = std::mem::take(&mut self.rules);
        let read = rules.iter().filter(|rule| !rule.unread);
        self.ready = read
            .map(|rule| Ready {
                interface: rule.interface.as_deref().and_then(|name| links.index(name)),
                table: match rule.action {
                    Action::Table(table) => self.place(table),
                    _ => 0,
                },
                rule: rule.clone(),
            })
            .collect();
        self.rules = rules;
    }
}

impl Ready {
    fn selects(&self, query: &Query) -> bool {
        let rule = &self.rule;
        // The kernel takes the VRF device for the interface, too.
        let came_in_by =
            |index| index == query.interface || query.vrf.is_some_and(|vrf| vrf.interface == index);
        let holds = !rule.elsewhere
            && (rule.interface.is_none() || self.interface.is_some_and(came_in_by))
            && rule.from.is_none_or(|prefix| prefix.contains(query.source))
            && rule.to.is_none_or(|prefix| prefix.contains(query.destination))
            && (rule.action != Action::Vrf || query.vrf.is_some());
        holds != rule.invert
    }
}
