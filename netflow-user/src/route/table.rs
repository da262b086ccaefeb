//! One routing table of one family: prefixes, and for each the routes by metric.

use super::{
    prefix::{Family, Prefix},
    target::{Hop, Route, Routes, Target, Way},
    trie::Trie,
};

/// Where a new route stands among those of the same prefix and metric.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// Before them (`ip route prepend`, and `add`, where there is none).
    First,
    /// Behind them (`ip route append`, and what the kernel lists).
    Last,
    /// In the place of the first (`ip route replace`).
    Replace,
}

/// End of a list.
const NONE: u32 = u32::MAX;
/// A prefix with one route, as nearly all have, needs no list: this bit, and the route's number.
const ALONE: u32 = 1 << 31;

/// A route in a list.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Its number.
    route: u32,
    next: u32,
}

/// The table. What routes say is shared by all tables and handed in.
#[derive(Clone, Debug)]
pub(super) struct Table {
    family: Family,
    /// The value of a prefix is a route ([`ALONE`]) or the place of its first entry.
    trie: Trie,
    entries: Vec<Entry>,
    free: u32,
    routes: usize,
}

impl Table {
    pub(super) fn new(family: Family) -> Self {
        Self { family, trie: Trie::new(), entries: Vec::new(), free: NONE, routes: 0 }
    }

    /// How many routes it has.
    pub(super) fn routes(&self) -> usize {
        self.routes
    }

    /// Offers the routes that hold an address to `take` until it returns something: the longest prefix first, then
    /// the lowest metric. `take` gets the prefix length and a route's number.
    pub(super) fn find_map<T>(&self, address: u128, mut take: impl FnMut(u8, u32) -> Option<T>) -> Option<T> {
        self.trie.find_map(address, |length, value| {
            if value & ALONE != 0 {
                return take(length, value & !ALONE);
            }
            let mut at = value;
            while let Some(entry) = self.entries.get(at as usize) {
                if let Some(taken) = take(length, entry.route) {
                    return Some(taken);
                }
                at = entry.next;
            }
            None
        })
    }

    /// Adds a route. What the kernel tells twice (in its list and as news) stands here once.
    pub(super) fn add(&mut self, known: &mut Routes, prefix: Prefix, route: &Route, place: Place) {
        let Some(value) = self.trie.value(prefix) else {
            self.put(prefix, None, &[known.take(route)]);
            return;
        };
        let mut list = self.list(value);
        let start = list.partition_point(|number| known.route(*number).metric < route.metric);
        let end = list.partition_point(|number| known.route(*number).metric <= route.metric);
        let of_metric = &list[start..end];
        let first = (start < end).then_some(start);
        let find = |like: &dyn Fn(&Target) -> bool| {
            of_metric.iter().position(|number| like(&known.route(*number).target)).map(|at| start + at)
        };
        let mut target = route.target.clone();
        // The one it takes the place of, and where it goes if there is none.
        let (over, before) = match (self.family, place) {
            (Family::V4, Place::Replace) => (first, start),
            (Family::V4, Place::First) => (None, start),
            (Family::V4, Place::Last) => (find(&|other| other.is(&target)), end),
            (Family::V6, Place::Replace) => {
                let joinable = target.joinable_hops().is_some();
                (find(&|other| other.joinable_hops().is_some() == joinable).or(first), end)
            }
            (Family::V6, _) => {
                let joins = |other: &Target| other.kind == target.kind && other.joinable_hops().is_some();
                match find(&joins).filter(|_| target.joinable_hops().is_some()) {
                    Some(at) => {
                        target = joined(&known.route(list[at]).target, &target);
                        (Some(at), end)
                    }
                    None => (find(&|other| other.is(&target)), end),
                }
            }
        };
        let number = known.take(&Route { metric: route.metric, target: target.clone() });
        let at = match over {
            Some(at) => {
                known.release(std::mem::replace(&mut list[at], number));
                at
            }
            None => {
                list.insert(before, number);
                before
            }
        };
        let twin = list.iter().enumerate().position(|(index, number)| {
            let other = known.route(*number);
            index != at && other.metric == route.metric && other.target.is(&target)
        });
        if let Some(twin) = twin {
            known.release(list.remove(twin));
        }
        self.put(prefix, Some(value), &list);
    }

    /// Removes a route; whether it was there.
    pub(super) fn remove(&mut self, known: &mut Routes, prefix: Prefix, route: &Route) -> bool {
        let Some(value) = self.trie.value(prefix) else { return false };
        let mut list = self.list(value);
        let exact = list.iter().position(|number| {
            let other = known.route(*number);
            other.metric == route.metric && other.target.is(&route.target)
        });
        if let Some(at) = exact {
            known.release(list.remove(at));
            self.put(prefix, Some(value), &list);
            return true;
        }
        // Some of the hops of an IPv6 route.
        let Some(gone) = route.target.joinable_hops().filter(|_| self.family == Family::V6) else {
            return false;
        };
        let part = list.iter_mut().find_map(|number| {
            let Route { metric, target } = known.route(*number);
            let hops = target.joinable_hops().filter(|_| target.kind == route.target.kind)?;
            let has = |hop: &Hop| hops.iter().any(|other| other.is(hop));
            if *metric != route.metric || !gone.iter().all(has) {
                return None;
            }
            let left: Box<[Hop]> =
                hops.iter().filter(|hop| !gone.iter().any(|other| other.is(hop))).copied().collect();
            Some((number, Target { kind: target.kind, way: Way::Hops(left) }))
        });
        let Some((number, target)) = part else { return false };
        let left = known.take(&Route { metric: route.metric, target });
        known.release(std::mem::replace(number, left));
        self.put(prefix, Some(value), &list);
        true
    }

    /// Octets of memory.
    #[cfg(test)]
    pub(super) fn octets(&self) -> usize {
        self.trie.octets() + self.entries.capacity() * size_of::<Entry>()
    }

    /// The numbers of a prefix's routes.
    fn list(&self, value: u32) -> Vec<u32> {
        let mut list = Vec::with_capacity(4);
        if value & ALONE != 0 {
            list.push(value & !ALONE);
            return list;
        }
        let mut at = value;
        while let Some(entry) = self.entries.get(at as usize) {
            list.push(entry.route);
            at = entry.next;
        }
        list
    }

    /// Replaces the routes of a prefix.
    fn put(&mut self, prefix: Prefix, old: Option<u32>, list: &[u32]) {
        let mut at = match old {
            Some(value) if value & ALONE != 0 => {
                self.routes -= 1;
                NONE
            }
            value => value.unwrap_or(NONE),
        };
        while let Some(entry) = self.entries.get_mut(at as usize) {
            let next = std::mem::replace(&mut entry.next, self.free);
            self.free = at;
            self.routes -= 1;
            at = next;
        }
        self.routes += list.len();
        match list {
            [] => self.trie.remove(prefix),
            [route] => self.trie.insert(prefix, ALONE | route),
            list => {
                let head =
                    list.iter().rev().fold(NONE, |next, route| self.enter(Entry { route: *route, next }));
                self.trie.insert(prefix, head);
            }
        }
    }

    fn enter(&mut self, entry: Entry) -> u32 {
        if let Some(free) = self.entries.get_mut(self.free as usize) {
            let at = std::mem::replace(&mut self.free, free.next);
            *free = entry;
            return at;
        }
        self.entries.push(entry);
        (self.entries.len() - 1) as u32
    }
}

/// An IPv6 route with one more hop, as the news has it: the new one first. Known hops keep their order, so that the
/// first is that of the kernel's list.
fn joined(known: &Target, new: &Target) -> Target {
    let mut hops = new.joinable_hops().unwrap_or_default().to_vec();
    let known = known.joinable_hops().unwrap_or_default();
    hops.sort_by_key(|hop| known.iter().position(|other| other.is(hop)).unwrap_or(known.len()));
    Target { kind: new.kind, way: Way::Hops(hops.into()) }
}
