//! Where routes lead to. Prefixes by the hundred thousand share a few routes: each is kept once.

use std::{collections::HashMap, net::IpAddr};

/// Types of routes (rtm_type).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub(super) enum Kind {
    /// Forwarded.
    Unicast,
    /// An address of this host.
    Local,
    /// Delivered here as broadcasts are.
    Broadcast,
    /// Delivered here.
    Anycast,
    /// Delivered to groups.
    Multicast,
    /// Dropped in silence.
    Blackhole,
    /// Dropped with an ICMP message.
    Unreachable,
    /// Dropped with another one.
    Prohibit,
    /// The search goes on with the next rule.
    Throw,
}

impl Kind {
    /// By its number in the kernel's interface; `None` for those that lead nowhere today (NAT, XRESOLVE).
    pub(super) fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Unicast,
            2 => Self::Local,
            3 => Self::Broadcast,
            4 => Self::Anycast,
            5 => Self::Multicast,
            6 => Self::Blackhole,
            7 => Self::Unreachable,
            8 => Self::Prohibit,
            9 => Self::Throw,
            _ => return None,
        })
    }
}

/// One way out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub(super) struct Hop {
    /// ifIndex; 0 where the route names none (blackholes).
    pub(super) interface: u32,
    /// The next router; `None` where the destination is on the link.
    pub(super) gateway: Option<IpAddr>,
    /// The kernel does not use it (RTNH_F_DEAD: its interface is down).
    pub(super) dead: bool,
}

impl Hop {
    /// Whether it is the same way, dead or not.
    pub(super) fn is(&self, other: &Self) -> bool {
        (self.interface, self.gateway) == (other.interface, other.gateway)
    }
}

/// How a route names its ways out.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub(super) enum Way {
    /// In itself: one, or several of equal cost.
    Hops(Box<[Hop]>),
    /// A nexthop object by its id (Linux 5.3).
    Object(u32),
}

/// What a route says beside its prefix and metric.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub(super) struct Target {
    pub(super) kind: Kind,
    pub(super) way: Way,
}

impl Target {
    /// Whether it is the same target, dead hops or not.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.kind == other.kind
            && match (&self.way, &other.way) {
                (Way::Hops(hops), Way::Hops(others)) => {
                    hops.len() == others.len() && hops.iter().zip(others).all(|(hop, other)| hop.is(other))
                }
                (way, other) => way == other,
            }
    }

    /// The hops of a target that IPv6 joins with others of the same metric: those by gateways.
    pub(super) fn joinable_hops(&self) -> Option<&[Hop]> {
        match &self.way {
            Way::Hops(hops) if hops.iter().all(|hop| hop.gateway.is_some()) => Some(hops),
            _ => None,
        }
    }
}

/// A route beside its table and prefix.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub(super) struct Route {
    /// RTA_PRIORITY: the lowest wins.
    pub(super) metric: u32,
    pub(super) target: Target,
}

/// What routes say, each by a number below 2^31.
#[derive(Clone, Debug, Default)]
pub(super) struct Routes {
    slots: Vec<Slot>,
    numbers: HashMap<Route, u32>,
    free: Vec<u32>,
}

#[derive(Clone, Debug)]
struct Slot {
    route: Route,
    prefixes: u32,
}

impl Routes {
    /// The number of a route, which one more prefix has now.
    pub(super) fn take(&mut self, route: &Route) -> u32 {
        if let Some(number) = self.numbers.get(route) {
            self.slots[*number as usize].prefixes += 1;
            return *number;
        }
        let slot = Slot { route: route.clone(), prefixes: 1 };
        let number = match self.free.pop() {
            Some(number) => {
                self.slots[number as usize] = slot;
                number
            }
            None => {
                self.slots.push(slot);
                (self.slots.len() - 1) as u32
            }
        };
        self.numbers.insert(route.clone(), number);
        number
    }

    /// A prefix has it no longer.
    pub(super) fn release(&mut self, number: u32) {
        let slot = &mut self.slots[number as usize];
        slot.prefixes -= 1;
        if slot.prefixes == 0 {
            self.numbers.remove(&slot.route);
            self.free.push(number);
        }
    }

    /// The route of a number.
    pub(super) fn route(&self, number: u32) -> &Route {
        &self.slots[number as usize].route
    }
}
