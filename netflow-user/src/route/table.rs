//! One routing table of one family: prefixes, and for each the routes by metric.

use super::{
    prefix::{Family, Prefix},
    target::{Hop, Target, Targets, Way},
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

/// A route beside its table and prefix.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Route {
    /// RTA_PRIORITY: the lowest wins.
    pub(super) metric: u32,
    pub(super) target: Target,
}

/// End of a list.
const NONE: u32 = u32::MAX;

/// A route in a list: 12 octets.
#[derive(Clone, Copy, Debug)]
struct Entry {
    metric: u32,
    target: u32,
    next: u32,
}

/// The table. Targets are shared by all tables and handed in.
#[derive(Clone, Debug)]
pub(super) struct Table {
    family: Family,
    /// The value of a prefix is the place of its first entry.
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
    /// the lowest metric. `take` gets the prefix length and a target's number.
    pub(super) fn find_map<T>(&self, address: u128, mut take: impl FnMut(u8, u32) -> Option<T>) -> Option<T> {
        self.trie.find_map(address, |length, head| {
            let mut at = head;
            while let Some(entry) = self.entries.get(at as usize) {
                if let Some(taken) = take(length, entry.target) {
                    return Some(taken);
                }
                at = entry.next;
            }
            None
        })
    }

    /// Adds a route. What the kernel tells twice (in its list and as news) stands here once.
    pub(super) fn add(&mut self, targets: &mut Targets, prefix: Prefix, route: &Route, place: Place) {
        let Some(head) = self.trie.value(prefix) else {
            let target = targets.take(&route.target);
            let at = self.enter(Entry { metric: route.metric, target, next: NONE });
            self.trie.insert(prefix, at);
            return;
        };
        let mut list = self.list(head);
        let start = list.partition_point(|(metric, _)| *metric < route.metric);
        let end = list.partition_point(|(metric, _)| *metric <= route.metric);
        let of_metric = &list[start..end];
        let first = (start < end).then_some(start);
        let find = |like: &dyn Fn(&Target) -> bool| {
            of_metric.iter().position(|entry| like(targets.target(entry.1))).map(|at| start + at)
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
                        target = joined(targets.target(list[at].1), &target);
                        (Some(at), end)
                    }
                    None => (find(&|other| other.is(&target)), end),
                }
            }
        };
        let number = targets.take(&target);
        let at = match over {
            Some(at) => {
                targets.release(std::mem::replace(&mut list[at].1, number));
                at
            }
            None => {
                list.insert(before, (route.metric, number));
                before
            }
        };
        let twin = list.iter().enumerate().position(|(index, entry)| {
            index != at && entry.0 == route.metric && targets.target(entry.1).is(&target)
        });
        if let Some(twin) = twin {
            targets.release(list.remove(twin).1);
        }
        self.put(prefix, head, &list);
    }

    /// Removes a route; whether it was there.
    pub(super) fn remove(&mut self, targets: &mut Targets, prefix: Prefix, route: &Route) -> bool {
        let Some(head) = self.trie.value(prefix) else { return false };
        let mut list = self.list(head);
        let exact = list
            .iter()
            .position(|entry| entry.0 == route.metric && targets.target(entry.1).is(&route.target));
        if let Some(at) = exact {
            targets.release(list.remove(at).1);
            self.put(prefix, head, &list);
            return true;
        }
        // Some of the hops of an IPv6 route.
        let Some(gone) = route.target.joinable_hops().filter(|_| self.family == Family::V6) else {
            return false;
        };
        let part = list.iter_mut().filter(|entry| entry.0 == route.metric).find_map(|entry| {
            let target = targets.target(entry.1);
            let hops = target.joinable_hops().filter(|_| target.kind == route.target.kind)?;
            let has = |hop: &Hop| hops.iter().any(|other| other.is(hop));
            if !gone.iter().all(has) {
                return None;
            }
            let left: Box<[Hop]> =
                hops.iter().filter(|hop| !gone.iter().any(|other| other.is(hop))).copied().collect();
            Some((entry, Target { kind: target.kind, way: Way::Hops(left) }))
        });
        let Some((entry, left)) = part else { return false };
        let number = targets.take(&left);
        targets.release(entry.1);
        entry.1 = number;
        self.put(prefix, head, &list);
        true
    }

    /// Octets of memory.
    #[cfg(test)]
    pub(super) fn octets(&self) -> usize {
        self.trie.octets() + self.entries.capacity() * size_of::<Entry>()
    }

    /// Metric and target of the routes in a list.
    fn list(&self, head: u32) -> Vec<(u32, u32)> {
        let mut list = Vec::with_capacity(4);
        let mut at = head;
        while let Some(entry) = self.entries.get(at as usize) {
            list.push((entry.metric, entry.target));
            at = entry.next;
        }
        list
    }

    /// Replaces the list of a prefix.
    fn put(&mut self, prefix: Prefix, old: u32, list: &[(u32, u32)]) {
        let mut at = old;
        while let Some(entry) = self.entries.get_mut(at as usize) {
            let next = std::mem::replace(&mut entry.next, self.free);
            self.free = at;
            self.routes -= 1;
            at = next;
        }
        let mut next = NONE;
        for (metric, target) in list.iter().rev() {
            next = self.enter(Entry { metric: *metric, target: *target, next });
        }
        if list.is_empty() {
            self.trie.remove(prefix);
        } else if old != next {
            self.trie.insert(prefix, next);
        }
    }

    fn enter(&mut self, entry: Entry) -> u32 {
        self.routes += 1;
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
